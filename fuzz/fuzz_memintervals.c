// fuzz_memintervals.c: the map of intervals against one byte for each address.
//
// The addresses are cells of one size; the last cell ends the address space. There are more cells than a block of intervals has room for, so
// that blocks are split and joined.
#include "fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "fuzz/fuzz_host.h"
#include "gomem/memintervals.h"

enum { numCells = 768 };

typedef struct state {
	memIntervals *m;
	uint64_t cellSize;
	uint8_t cells[numCells];
	size_t runs; // of equal neighbours in cells
} state;

// addrOf gives the first address of a cell; that behind the last one is the end of the map.
static uint64_t addrOf(const state *s, uint64_t cell) { return cell == numCells ? UINT64_MAX : cell * s->cellSize; }

// borders counts the cells of [lo, hi] that differ from the one before.
static size_t borders(const state *s, uint64_t lo, uint64_t hi) {
	size_t n = 0;
	for (uint64_t i = lo > 0 ? lo : 1; i <= hi && i < numCells; i++) {
		n += s->cells[i] != s->cells[i - 1];
	}
	return n;
}

static void setCells(state *s, uint64_t lo, uint64_t hi, uint8_t value) {
	fuzz_check(memIntervals_set(s->m, addrOf(s, lo), addrOf(s, hi), value), "out of memory");
	if (lo < hi) {
		s->runs -= borders(s, lo, hi);
		memset(s->cells + lo, value, (size_t)(hi - lo));
		s->runs += borders(s, lo, hi);
	}
}

static void set(void *v, const uint64_t *a) {
	state *s = v;
	const uint64_t hi = a[0] + a[1];
	setCells(s, a[0], hi < numCells ? hi : numCells, (uint8_t)a[2]);
}

// reversed: an empty range changes nothing, also if it ends before it begins.
static void reversed(void *v, const uint64_t *a) {
	state *s = v;
	const uint64_t lo = a[0] > a[1] ? a[0] : a[1], hi = a[0] > a[1] ? a[1] : a[0];
	fuzz_check(memIntervals_set(s->m, addrOf(s, lo), addrOf(s, hi), (uint8_t)a[2]), "out of memory");
}

// comb sets each step-th cell from one on: as many intervals as can be.
static void comb(void *v, const uint64_t *a) {
	state *s = v;
	for (uint64_t n = 0, cell = a[0]; n < a[1] && cell < numCells; n++, cell += 2 + a[2]) {
		setCells(s, cell, cell + 1, (uint8_t)a[3]);
	}
}

// refused: without memory nothing changes, and a map cannot be made.
static void refused(void *v, const uint64_t *a) {
	state *s = v;
	const uint64_t lo = a[0] < a[1] ? a[0] : a[1], hi = a[0] < a[1] ? a[1] : a[0];
	fuzz_host_refuse(a[3]);
	memIntervals *m = memIntervals_new();
	fuzz_check((m == NULL) == fuzz_host_obey(), "a map without memory");
	memIntervals_free(m);
	fuzz_host_refuse(1);
	const bool ok = memIntervals_set(s->m, addrOf(s, lo), addrOf(s, hi), (uint8_t)a[2]);
	fuzz_check(fuzz_host_obey() || ok, "a set fails that needed no memory");
	if (ok) {
		setCells(s, lo, hi, (uint8_t)a[2]);
	}
}

static void reserve(void *v, const uint64_t *a) {
	state *s = v;
	fuzz_check(memIntervals_reserve(s->m, (size_t)a[0]), "out of memory");
}

// checkAt compares the interval of an address with the run that its cell lies in.
static void checkAt(const state *s, uint64_t cell, uint64_t offset) {
	uint64_t lo = cell, hi = cell + 1;
	while (lo > 0 && s->cells[lo - 1] == s->cells[cell]) {
		lo--;
	}
	while (hi < numCells && s->cells[hi] == s->cells[cell]) {
		hi++;
	}
	const memInterval in = memIntervals_at(s->m, addrOf(s, cell) + offset % s->cellSize);
	fuzz_equal("value", in.v, s->cells[cell]);
	fuzz_equal("lo", in.lo, addrOf(s, lo));
	fuzz_equal("hi", in.hi, addrOf(s, hi));
}

static void at(void *v, const uint64_t *a) {
	const state *s = v;
	checkAt(s, a[0], a[1]);
	checkAt(s, numCells - 1, UINT64_MAX);
}

static void after(void *v) {
	const state *s = v;
	const char *broken = memIntervals_check(s->m);
	fuzz_check(broken == NULL, broken);
	fuzz_equal("number of intervals", memIntervals_count(s->m), s->runs);
}

static void *begin(const uint64_t *config) {
	state *s = calloc(1, sizeof *s);
	fuzz_check(s != NULL, "out of memory");
	s->m = memIntervals_new();
	fuzz_check(s->m != NULL, "out of memory");
	s->runs = 1;
	s->cellSize = config[0] == 0 ? UINT64_MAX / numCells : config[0] * 4096;
	return s;
}

static void end(void *v) {
	state *s = v;
	for (uint64_t cell = 0; cell < numCells;) {
		const memInterval in = memIntervals_at(s->m, addrOf(s, cell));
		fuzz_equal("lo of the next interval", in.lo, addrOf(s, cell));
		while (cell < numCells && addrOf(s, cell) < in.hi) {
			fuzz_equal("value of a cell", in.v, s->cells[cell++]);
		}
	}
	memIntervals_free(s->m);
	free(s);
}

#define CELL                                                                                                           \
	{ "cell", 2, FUZZ_INDEX, numCells - 1 }
#define VALUE                                                                                                          \
	{ "value", 1, FUZZ_ANY, 3 }

static const fuzz_op_info ops[] = {
	{"set", {CELL, {"cells", 2, FUZZ_INDEX, numCells}, VALUE}, set},
	{"comb", {CELL, {"cells", 1, FUZZ_ANY, 150}, {"gap", 1, FUZZ_ANY, 7}, VALUE}, comb},
	{"reversed", {CELL, CELL, VALUE}, reversed},
	{"reserve", {{"sets", 1, FUZZ_ANY, 4}}, reserve},
	{"at", {CELL, {"offset", 8, FUZZ_ANY, 0}}, at},
	{"refused", {CELL, CELL, VALUE, {"nth", 1, FUZZ_ANY, 7}}, refused},
};

FUZZ_TARGET(memintervals) = {
	.name = "memintervals",
	.what = "the map of intervals against one byte for each address",
	.config = {{"cellsize", 1, FUZZ_ANY, 0}},
	.ops = ops,
	.nops = sizeof ops / sizeof ops[0],
	.max_ops = 8,
	.begin = begin,
	.after = after,
	.end = end,
	.small = true,
};
