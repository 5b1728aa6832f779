// linear.c: see linear.h.
//
// The rules, in words:
//   sizes    whole pages
//   take     of the runs of free pages below the break the lowest that is long enough; of it the end. None is: the break rises
//   at       where the break is, and nowhere else: the break rises
//   aligned  a run that is long enough for the size and one alignment; of its end of that length the first aligned part. None is: the break
//            rises to past the first aligned place at or above it; the pages between are free
//   free     what ends at the break, to the byte, lowers it; all else becomes free pages
#include "oracle/linear.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "oracle/heap.h"

struct oracle_linear {
	uint64_t start, end, page;
	uint64_t brk;  // pages from start on
	bool *used;    // of each page below the break
	uint64_t room; // in used
};

oracle_linear *oracle_linear_new(uint64_t start, uint64_t end, uint64_t page) {
	oracle_linear *l = oracle_need(calloc(1, sizeof *l));
	l->start = start;
	l->end = end;
	l->page = page;
	return l;
}

void oracle_linear_free(oracle_linear *l) {
	if (l != NULL) {
		free(l->used);
		free(l);
	}
}

static uint64_t address(const oracle_linear *l, uint64_t i) { return l->start + i * l->page; }
static uint64_t pages_of(const oracle_linear *l, uint64_t n) { return n / l->page + (n % l->page != 0); }

static void mark(oracle_linear *l, uint64_t i, uint64_t n, bool used) {
	memset(l->used + i, used, (size_t)(n * sizeof *l->used));
}

// raise_to makes pages below `to` ours, free ones. false: there is no room.
static bool raise_to(oracle_linear *l, uint64_t to) {
	if (to > (l->end - l->start) / l->page) {
		return false;
	}
	if (to > l->room) {
		l->room = to * 2;
		l->used = oracle_need(realloc(l->used, (size_t)(l->room * sizeof *l->used)));
	}
	mark(l, l->brk, to - l->brk, false);
	l->brk = to;
	return true;
}

// end_of_run gives the last n pages of the lowest run that has so many; UINT64_MAX: none has.
static uint64_t end_of_run(const oracle_linear *l, uint64_t n) {
	uint64_t length = 0;
	for (uint64_t i = 0; i <= l->brk; i++) {
		if (i < l->brk && !l->used[i]) {
			length++;
			continue;
		}
		if (length >= n) {
			return i - n;
		}
		length = 0;
	}
	return UINT64_MAX;
}

static uint64_t take_at_break(oracle_linear *l, uint64_t first, uint64_t n) {
	if (n > UINT64_MAX / 2 || !raise_to(l, first + n)) {
		return 0;
	}
	mark(l, first, n, true);
	return address(l, first);
}

uint64_t oracle_linear_alloc(oracle_linear *l, uint64_t n) {
	const uint64_t pages = pages_of(l, n), at = end_of_run(l, pages);
	if (at == UINT64_MAX) {
		return take_at_break(l, l->brk, pages);
	}
	mark(l, at, pages, true);
	return address(l, at);
}

uint64_t oracle_linear_alloc_at(oracle_linear *l, uint64_t at, uint64_t n) {
	if (at == 0) {
		return oracle_linear_alloc(l, n);
	}
	return at == oracle_linear_break(l) ? take_at_break(l, l->brk, pages_of(l, n)) : 0;
}

uint64_t oracle_linear_alloc_aligned(oracle_linear *l, uint64_t n, uint64_t align) {
	const uint64_t run = end_of_run(l, pages_of(l, n + align));
	const uint64_t from = run == UINT64_MAX ? l->brk : run;
	const uint64_t first = (round_up(address(l, from), align) - l->start) / l->page;
	if (run == UINT64_MAX) {
		return take_at_break(l, first, pages_of(l, n));
	}
	mark(l, first, pages_of(l, n), true);
	return address(l, first);
}

void oracle_linear_give_back(oracle_linear *l, uint64_t addr, uint64_t n) {
	const uint64_t first = (addr - l->start) / l->page;
	if (addr + n == oracle_linear_break(l)) {
		l->brk = first;
		return;
	}
	mark(l, first, pages_of(l, n), false);
}

uint64_t oracle_linear_break(const oracle_linear *l) { return address(l, l->brk); }

uint64_t oracle_linear_used(const oracle_linear *l) {
	uint64_t pages = 0;
	for (uint64_t i = 0; i < l->brk; i++) {
		pages += l->used[i];
	}
	return pages * l->page;
}
