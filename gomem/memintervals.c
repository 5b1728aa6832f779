// memintervals.c (layer 1): the interval map, as a sorted list of blocks of sorted interval starts.
//
// Each block holds up to blockCap starts; a full one is split, small neighbours are joined. An array with the first
// start of each block is searched before the block is. With the invariants of memintervals.h:
//   blocks[0].lo == 0, and that start is never removed;  1 <= blocks[i].b->n <= blockCap
//   blocks[i].lo == blocks[i].b->e[0].lo
//   count == sum of blocks[i].b->n
#include "gomem/memintervals.h"

#include <stdlib.h>
#include <string.h>

enum {
	blockCap = 254,
	startsPerSet = 2, // a set adds at most two starts: at lo and at hi
};

typedef struct start {
	uint64_t lo;
	uint8_t v;
} start;

typedef struct block {
	struct block *nextSpare;
	size_t n;
	start e[blockCap];
} block;

// A block and its first start, which is repeated here so that a search touches one block only.
typedef struct blockRef {
	uint64_t lo;
	block *b;
} blockRef;

struct memIntervals {
	blockRef *blocks;
	size_t nblocks, cap;
	size_t count;
	block *spares; // so that a split cannot fail half way
	size_t nspares;
};

// A place: start i of block b.
typedef struct place {
	size_t b, i;
} place;

memIntervals *memIntervals_new(void) {
	memIntervals *m = calloc(1, sizeof *m);
	if (m == NULL) {
		return NULL;
	}
	if (!memIntervals_reserve(m, 1)) {
		memIntervals_free(m);
		return NULL;
	}
	block *first = m->spares;
	m->spares = first->nextSpare;
	m->nspares--;
	first->n = 1;
	first->e[0] = (start){0};
	m->blocks[0] = (blockRef){0, first};
	m->nblocks = 1;
	m->count = 1;
	return m;
}

void memIntervals_free(memIntervals *m) {
	if (m == NULL) {
		return;
	}
	for (size_t i = 0; i < m->nblocks; i++) {
		free(m->blocks[i].b);
	}
	while (m->spares != NULL) {
		block *b = m->spares;
		m->spares = b->nextSpare;
		free(b);
	}
	free(m->blocks);
	free(m);
}

// findPlace gives the last start that is <= addr.
static place findPlace(const memIntervals *m, uint64_t addr) {
	size_t lo = 0, hi = m->nblocks;
	while (hi - lo > 1) {
		size_t mid = (lo + hi) / 2;
		if (m->blocks[mid].lo <= addr) {
			lo = mid;
		} else {
			hi = mid;
		}
	}
	const block *b = m->blocks[lo].b;
	size_t i = 0, end = b->n;
	while (end - i > 1) {
		size_t mid = (i + end) / 2;
		if (b->e[mid].lo <= addr) {
			i = mid;
		} else {
			end = mid;
		}
	}
	return (place){lo, i};
}

memInterval memIntervals_at(const memIntervals *m, uint64_t addr) {
	place p = findPlace(m, addr);
	const block *b = m->blocks[p.b].b;
	memInterval r = {.lo = b->e[p.i].lo, .hi = UINT64_MAX, .v = b->e[p.i].v};
	if (p.i + 1 < b->n) {
		r.hi = b->e[p.i + 1].lo;
	} else if (p.b + 1 < m->nblocks) {
		r.hi = m->blocks[p.b + 1].lo;
	}
	return r;
}

bool memIntervals_reserve(memIntervals *m, size_t n) {
	size_t want = n * startsPerSet;
	while (m->nspares < want) {
		block *b = malloc(sizeof *b);
		if (b == NULL) {
			return false;
		}
		b->nextSpare = m->spares;
		m->spares = b;
		m->nspares++;
	}
	if (m->nblocks + want <= m->cap) {
		return true;
	}
	size_t cap = m->cap * 2 + want;
	blockRef *blocks = realloc(m->blocks, cap * sizeof(blockRef));
	if (blocks == NULL) {
		return false;
	}
	m->blocks = blocks;
	m->cap = cap;
	return true;
}

static void insertBlock(memIntervals *m, size_t at, block *b) {
	memmove(&m->blocks[at + 1], &m->blocks[at], (m->nblocks - at) * sizeof(blockRef));
	m->blocks[at] = (blockRef){b->e[0].lo, b};
	m->nblocks++;
}

static void removeBlock(memIntervals *m, size_t at) {
	block *b = m->blocks[at].b;
	memmove(&m->blocks[at], &m->blocks[at + 1], (m->nblocks - at - 1) * sizeof(blockRef));
	m->nblocks--;
	if (m->nspares >= 2 * startsPerSet) {
		free(b);
		return;
	}
	b->nextSpare = m->spares;
	m->spares = b;
	m->nspares++;
}

static void splitBlock(memIntervals *m, size_t at) {
	block *b = m->blocks[at].b;
	block *fresh = m->spares;
	m->spares = fresh->nextSpare;
	m->nspares--;
	size_t keep = b->n / 2;
	fresh->n = b->n - keep;
	memcpy(fresh->e, &b->e[keep], fresh->n * sizeof(start));
	b->n = keep;
	insertBlock(m, at + 1, fresh);
}

static void joinWithNext(memIntervals *m, size_t at) {
	if (at + 1 >= m->nblocks) {
		return;
	}
	block *b = m->blocks[at].b;
	const block *next = m->blocks[at + 1].b;
	if (b->n + next->n > blockCap / 2) {
		return;
	}
	memcpy(&b->e[b->n], next->e, next->n * sizeof(start));
	b->n += next->n;
	removeBlock(m, at + 1);
}

// insertStart adds a start that is not in the map.
static void insertStart(memIntervals *m, uint64_t lo, uint8_t v) {
	place p = findPlace(m, lo);
	if (m->blocks[p.b].b->n == blockCap) {
		splitBlock(m, p.b);
		p = findPlace(m, lo);
	}
	block *b = m->blocks[p.b].b;
	size_t i = p.i + 1;
	memmove(&b->e[i + 1], &b->e[i], (b->n - i) * sizeof(start));
	b->e[i] = (start){.lo = lo, .v = v};
	b->n++;
	m->count++;
}

// removeStarts drops all starts in [lo, hi], but not the one at 0.
static void removeStarts(memIntervals *m, uint64_t lo, uint64_t hi) {
	place p = lo == 0 ? (place){0, 0} : findPlace(m, lo - 1);
	size_t b = p.b, i = p.i + 1;
	while (b < m->nblocks) {
		block *blk = m->blocks[b].b;
		size_t end = i;
		while (end < blk->n && blk->e[end].lo <= hi) {
			end++;
		}
		bool more = end == blk->n;
		memmove(&blk->e[i], &blk->e[end], (blk->n - end) * sizeof(start));
		blk->n -= end - i;
		m->count -= end - i;
		if (blk->n == 0) {
			removeBlock(m, b);
		} else {
			m->blocks[b++].lo = blk->e[0].lo;
		}
		i = 0;
		if (!more) {
			break;
		}
	}
	joinWithNext(m, p.b);
}

bool memIntervals_set(memIntervals *m, uint64_t lo, uint64_t hi, uint8_t v) {
	if (lo >= hi) {
		return true;
	}
	if (!memIntervals_reserve(m, 1)) {
		return false;
	}
	memInterval first = memIntervals_at(m, lo);
	if (first.v == v && first.hi >= hi) {
		return true;
	}
	uint8_t before = lo == first.lo && lo != 0 ? memIntervals_at(m, lo - 1).v : first.v;
	uint8_t after = hi == UINT64_MAX ? v : memIntervals_at(m, hi).v;
	removeStarts(m, lo, hi);
	if (lo == 0) {
		m->blocks[0].b->e[0].v = v;
	} else if (before != v) {
		insertStart(m, lo, v);
	}
	if (after != v) {
		insertStart(m, hi, after);
	}
	return true;
}

size_t memIntervals_count(const memIntervals *m) { return m->count; }

const char *memIntervals_check(const memIntervals *m) {
	size_t count = 0;
	const start *last = NULL;
	for (size_t b = 0; b < m->nblocks; b++) {
		const block *blk = m->blocks[b].b;
		if (blk->n == 0 || blk->n > blockCap) {
			return "1 <= starts in a block <= blockCap";
		}
		if (m->blocks[b].lo != blk->e[0].lo) {
			return "blocks[i].lo is the block's first start";
		}
		for (size_t i = 0; i < blk->n; i++) {
			if (last == NULL ? blk->e[i].lo != 0 : blk->e[i].lo <= last->lo) {
				return "starts rise from 0";
			}
			if (last != NULL && blk->e[i].v == last->v) {
				return "neighbours differ in value";
			}
			last = &blk->e[i];
		}
		count += blk->n;
	}
	return count == m->count ? NULL : "count == sum of starts";
}
