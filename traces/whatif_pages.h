// whatif_pages.h: which span covers a page of 8 KiB, for shadows of the recorded heap. Two levels: arenas, and their pages.
//
// Invariants: a page has one span at the most; addresses have 47 bits; an arena is there once one of its pages had a span
#ifndef GOMEM_TRACES_WHATIF_PAGES_H
#define GOMEM_TRACES_WHATIF_PAGES_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

enum { PAGE_BITS = 13, PAGES_ARENA_BITS = 26, PAGES_ADDR_BITS = 47 };
enum { PAGES_MOST = 1 << 24 }; // of a span
enum { PAGES_ARENAS = 1 << (PAGES_ADDR_BITS - PAGES_ARENA_BITS), PAGES_IN_ARENA = 1 << (PAGES_ARENA_BITS - PAGE_BITS) };

typedef struct pages_arena {
	void *span[PAGES_IN_ARENA];
} pages_arena;

typedef struct whatif_pages {
	pages_arena **arenas; // PAGES_ARENAS
} whatif_pages;

static inline bool pages_init(whatif_pages *m) {
	m->arenas = calloc(PAGES_ARENAS, sizeof(pages_arena *));
	return m->arenas != NULL;
}

// pages_place gives where the span of a page stands. NULL: out of range, or nothing is there and none is to be made, or there is no memory.
static inline void **pages_place(whatif_pages *m, uint64_t addr, bool make) {
	if (addr >> PAGES_ADDR_BITS != 0) {
		return NULL;
	}
	pages_arena **a = &m->arenas[addr >> PAGES_ARENA_BITS];
	if (*a == NULL && make) {
		*a = calloc(1, sizeof(**a));
	}
	return *a == NULL ? NULL : &(*a)->span[addr >> PAGE_BITS & (PAGES_IN_ARENA - 1)];
}

static inline void *pages_span(whatif_pages *m, uint64_t addr) {
	void **at = pages_place(m, addr, false);
	return at == NULL ? NULL : *at;
}

// pages_clear takes a span out of the pages that are still its own.
static inline void pages_clear(whatif_pages *m, uint64_t base, uint64_t npages, const void *span) {
	for (uint64_t i = 0; i < npages; i++) {
		void **at = pages_place(m, base + (i << PAGE_BITS), false);
		if (at != NULL && *at == span) {
			*at = NULL;
		}
	}
}

// pages_enter puts a span into its pages. NULL: good; else why not, and it is in none.
static inline const char *pages_enter(whatif_pages *m, uint64_t base, uint64_t npages, void *span) {
	for (uint64_t i = 0; i < npages; i++) {
		void **at = pages_place(m, base + (i << PAGE_BITS), true);
		if (at == NULL || *at != NULL) {
			pages_clear(m, base, npages, span);
			return at == NULL ? "out of memory, or a span out of range" : "two spans in one place";
		}
		*at = span;
	}
	return NULL;
}

// pages_free ends the table. gone is called once for each span, and takes it out of its pages.
static inline void pages_free(whatif_pages *m, void (*gone)(whatif_pages *m, void *span)) {
	for (uint64_t i = 0; m->arenas != NULL && i < PAGES_ARENAS; i++) {
		for (unsigned k = 0; m->arenas[i] != NULL && k < PAGES_IN_ARENA; k++) {
			if (m->arenas[i]->span[k] != NULL) {
				gone(m, m->arenas[i]->span[k]);
			}
		}
		free(m->arenas[i]);
	}
	free((void *)m->arenas);
	m->arenas = NULL;
}

#endif
