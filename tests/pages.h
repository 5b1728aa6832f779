// pages.h: what the tests of layer 3 share: an environment, page allocators made from tables, tables as test cases.
//
// A table names chunks and pages by their distance from BaseChunkIdx, the first chunk of Go's own tests.
#ifndef GOMEM_TESTS_PAGES_H
#define GOMEM_TESTS_PAGES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gomem/mem.h"
#include "gomem/mpagealloc.h"
#include "gomem/persistentalloc.h"
#include "words.h"

enum {
	P = pallocChunkPages,
	pageShift = 13,
	pageSize = 1 << pageShift,
	chunkBytes = P * pageSize,
	BaseChunkIdx = wideWords ? 0x200c000 : 0x100, // chunkIndex(0xc000 * 4 MiB); with 32-bit words of 0x100 * 4 MiB
	bigJump = wideWords ? 0x100000 : 0x80,        // chunks; 4 TiB or 512 MiB
	noPage = -1,
	maxTableChunks = 8,
	maxTableRanges = 32,
	maxCases = 256,
};

static inline const gomem_layout *layoutOf(void) { return &layout_host; }

// pageAddr gives the address of a page counted from the first one of BaseChunkIdx; 0 for noPage.
static inline uintptr_t pageAddr(int64_t page) {
	return page == noPage ? 0 : chunkBase(layoutOf(), BaseChunkIdx) + (uintptr_t)(page << pageShift);
}

// ---- random numbers, the same in each run

typedef struct rng {
	uint64_t s;
} rng;

static inline uint64_t rngNext(rng *r) {
	r->s += 0x9e3779b97f4a7c15u;
	uint64_t z = r->s;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}
static inline unsigned rngBelow(rng *r, unsigned n) { return (unsigned)(rngNext(r) % n); }

// ---- an environment over a simulated system

typedef struct testEnv {
	gomem_env env;
	gomem_stats stats;
	mutex heapLock;
	sysMemStat sysStat;
	heapStatsDelta delta;
	jmp_buf onThrow;
	bool throwExpected;
} testEnv;

static inline void testEnv_throw(void *ctx, const char *msg) {
	testEnv *const t = ctx;
	if (t->throwExpected) {
		longjmp(t->onThrow, 1);
	}
	fail_msg("thrown: %s", msg);
}

static inline testEnv *testEnv_new(const memSimConfig *cfg) {
	testEnv *const t = calloc(1, sizeof *t);
	assert_non_null(t);
	gomem_os *const os = mem_sim_new(cfg);
	assert_non_null(os);
	t->env = (gomem_env){
		.layout = layoutOf(),
		.os = os,
		.stats = &t->stats,
		.states = memStates_new(),
		.throwHook = testEnv_throw,
		.throwCtx = t,
		.physPageSize = os->physPageSize,
		.physHugePageSize = os->physHugePageSize,
	};
	assert_non_null(t->env.states);
	return t;
}

static inline void testEnv_free(testEnv *t) {
	persistentalloc_destroy(&t->env);
	memStates_free(t->env.states);
	t->env.os->destroy(t->env.os);
	free(t);
}

static inline void lockHeap(testEnv *t) { lock(&t->env, &t->heapLock); }
static inline void unlockHeap(testEnv *t) { unlock(&t->env, &t->heapLock); }

// ---- tables

typedef struct bitRange {
	unsigned i, n;
} bitRange;

// Ranges that follow the first empty one are not looked at.
typedef struct chunkBits {
	unsigned chunk;
	bitRange r[maxTableRanges];
} chunkBits;

typedef struct heapBits {
	unsigned n;
	chunkBits c[maxTableChunks];
} heapBits;

static inline void setRanges(pageBits *b, const bitRange *r) {
	for (unsigned i = 0; i < maxTableRanges && r[i].n != 0; i++) {
		pageBits_setRange(b, r[i].i, r[i].n);
	}
}

static inline const chunkBits *chunkOfTable(const heapBits *h, unsigned chunk) {
	for (unsigned i = 0; h != NULL && i < h->n; i++) {
		if (h->c[i].chunk == chunk) {
			return &h->c[i];
		}
	}
	return NULL;
}

static inline void addTableChunk(testEnv *t, pageAlloc *p, const chunkBits *alloc, const heapBits *scav) {
	const gomem_layout *const L = layoutOf();
	const chunkIdx ci = BaseChunkIdx + alloc->chunk;
	assert_true(pageAlloc_grow(&t->env, p, chunkBase(L, ci), chunkBytes));
	pallocData *const chunk = pageAlloc_chunkOf(L, p, ci);
	pageBits_clearAll(&chunk->scavenged);
	// To the index all pages look as if they had been used once.
	scavengeIndex_alloc(&t->env, &p->scav.index, ci, P);
	scavengeIndex_free(&t->env, &p->scav.index, ci, 0, P);
	const chunkBits *const s = chunkOfTable(scav, alloc->chunk);
	if (s != NULL) {
		setRanges(&chunk->scavenged, s->r);
	}
	for (unsigned i = 0; i < maxTableRanges && alloc->r[i].n != 0; i++) {
		pallocData_allocRange(chunk, alloc->r[i].i, alloc->r[i].n);
		scavengeIndex_alloc(&t->env, &p->scav.index, ci, alloc->r[i].n);
	}
	pageAlloc_update(&t->env, p, chunkBase(L, ci), P, false, false);
}

// newPageAlloc makes a page allocator with the chunks of alloc, in that order or the reverse one. scav may be NULL.
static inline pageAlloc *newPageAlloc(testEnv *t, const heapBits *alloc, const heapBits *scav, bool reverse) {
	pageAlloc *const p = calloc(1, sizeof *p);
	assert_non_null(p);
	assert_true(pageAlloc_init(&t->env, p, &t->heapLock, &t->sysStat, true));
	for (unsigned l = 0; l < layoutOf()->summaryLevels; l++) {
		assert_int_equal(p->summary[l].len, 0);
	}
	lockHeap(t);
	for (unsigned i = 0; i < alloc->n; i++) {
		addTableChunk(t, p, &alloc->c[reverse ? alloc->n - 1 - i : i], scav);
	}
	unlockHeap(t);
	return p;
}

static inline void freePageAlloc(testEnv *t, pageAlloc *p) {
	pageAlloc_destroy(&t->env, p);
	free(p);
}

static inline void assertPageBits(const pageBits *got, const pageBits *want, const char *what, chunkIdx ci) {
	for (unsigned i = 0; i < P; i++) {
		if (pageBits_get(got, i) != pageBits_get(want, i)) {
			fail_msg("chunk %ld, %s bit %u: got %u", (long)ci - BaseChunkIdx, what, i, pageBits_get(got, i));
		}
	}
}

// assertPageAlloc compares bounds, bitmaps and leaf sums.
static inline void assertPageAlloc(pageAlloc *got, pageAlloc *want) {
	const gomem_layout *const L = layoutOf();
	assert_int_equal(got->start, want->start);
	assert_int_equal(got->end, want->end);
	for (chunkIdx ci = want->start; ci < want->end; ci++) {
		const pallocData *const g = pageAlloc_tryChunkOf(L, got, ci);
		const pallocData *const w = pageAlloc_tryChunkOf(L, want, ci);
		assert_int_equal(g == NULL, w == NULL);
		if (g == NULL || w == NULL) {
			ci |= ((chunkIdx)1 << L->pallocChunksL2Bits) - 1; // none of the table's chunks has bits
		} else if (memcmp(g, w, sizeof *w) != 0) {
			assertPageBits(&g->pallocBits.b, &w->pallocBits.b, "alloc", ci);
			assertPageBits(&g->scavenged, &w->scavenged, "scavenged", ci);
		}
	}
}

// ---- cases: a table's rows as tests with the rows' names

typedef struct cases {
	struct CMUnitTest tests[maxCases];
	char names[maxCases][80];
	size_t n;
} cases;

// farCase stands for rows whose chunks lie further apart than 32-bit addresses reach.
static inline void farCase(void **state) {
	(void)state;
	onlyWide("its chunks lie terabytes apart; Go has it with 64-bit words only");
}

static inline bool isFar(const char *name) {
	return strstr(name, "/DiscontiguousMappedSumBoundary") != NULL || strstr(name, "/DiscontiguousBad") != NULL ||
		strstr(name, "/ScavAllVeryDiscontiguous") != NULL;
}

// addCase adds a case GROUP/NAME, or GROUP if name is NULL; fn finds row in *state.
static inline void addCase(cases *c, const char *group, const char *name, CMUnitTestFunction fn, const void *row) {
	assert_true(c->n < maxCases);
	char *const full = c->names[c->n];
	const int len =
		snprintf(full, sizeof c->names[0], "%s%s%s", group, name != NULL ? "/" : "", name != NULL ? name : "");
	assert_in_range(len, 1, sizeof c->names[0] - 1);
	fn = !wideWords && isFar(full) ? farCase : fn;
	c->tests[c->n++] = (struct CMUnitTest){.name = full, .test_func = fn, .initial_state = (void *)(uintptr_t)row};
}

// ADD_CASES adds a case for each row of a table; a row has a name.
#define ADD_CASES(c, group, fn, table)                                                                                 \
	for (size_t i = 0; i < sizeof(table) / sizeof(table)[0]; i++) {                                                    \
		addCase(c, group, (table)[i].name, fn, &(table)[i]);                                                           \
	}

static inline int runCases(const char *program, const cases *c) {
	return _cmocka_run_group_tests(program, c->tests, c->n, NULL, NULL);
}

#endif
