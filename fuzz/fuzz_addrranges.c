// fuzz_addrranges.c: address ranges, ordered sets of them and an address that threads move, against a plain set of small integers.
//
// The integers are cells: cell c stands for the bytes [at(c), at(c + 1)). The cells lie low, high, or around the middle of the offset address
// space, where addresses wrap around to 0 and a range must not go on: both sides of the middle are segments of their own.
#include "fuzz/fuzz.h"

#include <stdlib.h>

#include "fuzz/fuzz_env.h"
#include "fuzz/layouts.h"
#include "gomem/mranges.h"

enum { numCells = 384, middle = numCells / 2, numSets = 2 };

typedef struct state {
	fuzz_env e;
	gomem_layout layout;
	uint64_t base, cellSize;
	bool wraps; // the address of the middle cell is 0
	addrRanges sets[numSets];
	bool ready[numSets];
	bool in[numSets][numCells];
	sysMemStat stat;
	atomicOffAddr box;
	int64_t boxOffset; // what box holds
	bool boxMarked;
} state;

// ---- cells and addresses

static uintptr_t at(const state *s, uint64_t cell) { return (uintptr_t)(s->base + cell * s->cellSize); }

static uint64_t cut(uint64_t from, uint64_t n) { return n < numCells - from ? n : numCells - from; }

// sameSegment: does a range from cell lo up to, not including, cell hi stay on one side of the middle? Its limit counts as an address.
static bool sameSegment(const state *s, uint64_t lo, uint64_t hi) {
	return !s->wraps || (lo < middle) == (hi < middle);
}

static addrRange rangeOf(const state *s, uint64_t lo, uint64_t hi) { return (addrRange){{at(s, lo)}, {at(s, hi)}}; }

static void equalRange(const state *s, const char *what, addrRange got, uint64_t lo, uint64_t hi) {
	const bool nothing = lo >= hi;
	fuzz_equal(what, got.base.a, nothing ? 0 : at(s, lo));
	fuzz_equal(what, got.limit.a, nothing ? 0 : at(s, hi));
}

// ---- calls that may throw

typedef struct call {
	state *s;
	unsigned set;
	addrRange a, b, got;
	bool ok;
} call;

static void doMake(void *arg) {
	call *c = arg;
	c->got = makeAddrRange(&c->s->e.env, c->a.base.a, c->a.limit.a);
}
static void doSubtract(void *arg) {
	call *c = arg;
	c->got = addrRange_subtract(&c->s->e.env, c->a, c->b);
}
static void doAdd(void *arg) {
	call *c = arg;
	c->ok = addrRanges_add(&c->s->e.env, &c->s->sets[c->set], c->a);
}

static bool throws(call *c, void (*fn)(void *)) { return fuzz_throws(&c->s->e.guard, fn, c); }

// ---- one range

static void make(void *v, const uint64_t *a) {
	state *s = v;
	const uint64_t lo = a[0] < a[1] ? a[0] : a[1], hi = a[0] < a[1] ? a[1] : a[0];
	call c = {.s = s, .a = rangeOf(s, lo, hi)};
	fuzz_equal("makeAddrRange throws", throws(&c, doMake), !sameSegment(s, lo, hi));
	if (!sameSegment(s, lo, hi)) {
		return;
	}
	fuzz_equal("base", c.got.base.a, at(s, lo));
	fuzz_equal("limit", c.got.limit.a, at(s, hi));
	fuzz_equal("size", addrRange_size(&s->layout, c.got), (hi - lo) * s->cellSize);
	fuzz_equal("size of a reversed range", addrRange_size(&s->layout, rangeOf(s, hi, lo)), 0);
	for (uint64_t cell = lo > 0 ? lo - 1 : 0; cell <= hi && cell < numCells; cell++) {
		fuzz_equal("contains", addrRange_contains(&s->layout, c.got, at(s, cell)), cell >= lo && cell < hi);
		fuzz_equal("contains", addrRange_contains(&s->layout, c.got, at(s, cell + 1) - 1), cell >= lo && cell < hi);
	}
}

// subtract: what is left of a without b, if it is one range.
static void subtract(void *v, const uint64_t *a) {
	state *s = v;
	uint64_t lo = a[0], hi = a[0] + cut(a[0], 1 + a[1]);
	const uint64_t bLo = a[2], bHi = a[2] + cut(a[2], 1 + a[3]);
	call c = {.s = s, .a = rangeOf(s, lo, hi), .b = rangeOf(s, bLo, bHi)};
	const bool splits = lo < bLo && bHi < hi;
	fuzz_equal("subtract throws", throws(&c, doSubtract), splits);
	if (splits) {
		return;
	}
	while (lo < hi && lo >= bLo && lo < bHi) {
		lo++;
	}
	while (lo < hi && hi - 1 >= bLo && hi - 1 < bHi) {
		hi--;
	}
	equalRange(s, "subtract", c.got, lo, hi);
}

static void cutRange(void *v, const uint64_t *a) {
	state *s = v;
	const uint64_t lo = a[0], hi = a[0] + cut(a[0], 1 + a[1]);
	if (sameSegment(s, lo, hi)) {
		const addrRange got = addrRange_removeGreaterEqual(&s->e.env, rangeOf(s, lo, hi), at(s, a[2]));
		equalRange(s, "removeGreaterEqual of a range", got, lo, a[2] < hi ? a[2] : hi);
	}
}

// takeFrom takes len aligned bytes from the front or the back, found by trying one address after the other.
static void takeFrom(void *v, const uint64_t *a) {
	state *s = v;
	const uint64_t lo = a[0], hi = a[0] + cut(a[0], 1 + a[1]), len = a[2], align = (uint64_t)1 << a[3];
	const uint64_t base = at(s, lo), limit = at(s, hi);
	if (base >= limit || limit < len || base > UINTPTR_MAX - 4096 || limit > UINTPTR_MAX) {
		return; // address arithmetic would wrap
	}
	addrRange r = rangeOf(s, lo, hi);
	uintptr_t got = 0;
	uint64_t want = 0;
	bool fits = false;
	if (a[4] == 0) {
		for (want = base; want % align != 0; want++) {
		}
		fits = want <= limit && limit - want >= len;
		fuzz_equal(
			"takeFromFront", addrRange_takeFromFront(&s->layout, &r, (uintptr_t)len, (uint8_t)align, &got), fits);
		fuzz_equal("limit", r.limit.a, limit);
		fuzz_equal("base after takeFromFront", r.base.a, fits ? want + len : base);
	} else {
		for (want = limit - len; want % align != 0; want--) {
		}
		fits = want >= base;
		fuzz_equal("takeFromBack", addrRange_takeFromBack(&s->layout, &r, (uintptr_t)len, (uint8_t)align, &got), fits);
		fuzz_equal("base", r.base.a, base);
		fuzz_equal("limit after takeFromBack", r.limit.a, fits ? want : limit);
	}
	fuzz_equal("what was taken", got, fits ? want : 0);
}

// ---- sets

static bool begun(state *s, uint64_t i) {
	if (!s->ready[i]) {
		const uint64_t failed = fuzz_os_failed();
		s->ready[i] = addrRanges_init(&s->e.env, &s->sets[i], &s->stat);
		fuzz_equal("a set fails to begin if the system fails", !s->ready[i], fuzz_os_failed() > failed);
	}
	return s->ready[i];
}

static void addCells(state *s, unsigned i, uint64_t lo, uint64_t hi) {
	call c = {.s = s, .set = i, .a = rangeOf(s, lo, hi)};
	const uint64_t failed = fuzz_os_failed();
	const intptr_t cap = s->sets[i].cap;
	fuzz_equal("add throws for an empty range only", throws(&c, doAdd), lo == hi);
	if (lo == hi) {
		return;
	}
	fuzz_equal("add fails only if the system does", !c.ok, fuzz_os_failed() > failed);
	if (!c.ok) {
		fuzz_equal("a set that failed to grow", (uint64_t)s->sets[i].len, (uint64_t)cap);
		return;
	}
	for (uint64_t cell = lo; cell < hi; cell++) {
		s->in[i][cell] = true;
	}
}

// add takes the first free cells at or after a cell, as far as they are free and do not pass the middle.
static void add(void *v, const uint64_t *a) {
	state *s = v;
	const unsigned i = (unsigned)a[0];
	uint64_t lo = a[1];
	while (lo < numCells && s->in[i][lo]) {
		lo++;
	}
	uint64_t hi = lo;
	while (hi < numCells && hi - lo < a[2] && !s->in[i][hi] && sameSegment(s, lo, hi + 1)) {
		hi++;
	}
	if (begun(s, i)) {
		addCells(s, i, lo, hi);
	}
}

// comb adds single cells with gaps: as many ranges as can be.
static void comb(void *v, const uint64_t *a) {
	state *s = v;
	const unsigned i = (unsigned)a[0];
	uint64_t cell = a[1];
	for (uint64_t n = 0; begun(s, i) && n <= a[2] && cell + 1 < numCells; n++, cell += 2 + a[3]) {
		if (!s->in[i][cell] && sameSegment(s, cell, cell + 1)) {
			addCells(s, i, cell, cell + 1);
		}
	}
}

// rangesBefore counts the ranges that begin at or before a cell.
static uint64_t rangesBefore(const bool *in, uint64_t cell) {
	uint64_t n = 0;
	for (uint64_t c = 0; c <= cell && c < numCells; c++) {
		n += in[c] && (c == 0 || !in[c - 1]);
	}
	return n;
}

static void find(void *v, const uint64_t *a) {
	state *s = v;
	if (!begun(s, a[0])) {
		return;
	}
	const addrRanges *set = &s->sets[a[0]];
	const bool *in = s->in[a[0]];
	const uintptr_t addr = at(s, a[1]) + (uintptr_t)(a[2] % s->cellSize);
	fuzz_equal("findSucc", (uint64_t)addrRanges_findSucc(&s->e.env, set, addr), rangesBefore(in, a[1]));
	fuzz_equal("contains", addrRanges_contains(&s->e.env, set, addr), in[a[1]]);
	uint64_t next = a[1];
	while (next < numCells && !in[next]) {
		next++;
	}
	uintptr_t got = 0;
	const bool found = addrRanges_findAddrGreaterEqual(&s->e.env, set, addr, &got);
	fuzz_equal("findAddrGreaterEqual finds", found, next < numCells);
	if (found) {
		fuzz_equal("findAddrGreaterEqual", got, next == a[1] ? addr : at(s, next));
	}
}

static void removeLast(void *v, const uint64_t *a) {
	state *s = v;
	if (!begun(s, a[0])) {
		return;
	}
	bool *in = s->in[a[0]];
	uint64_t hi = numCells;
	while (hi > 0 && !in[hi - 1]) {
		hi--;
	}
	uint64_t lo = hi;
	while (lo > 0 && in[lo - 1] && hi - lo < a[1]) {
		in[--lo] = false;
	}
	const addrRange got = addrRanges_removeLast(&s->e.env, &s->sets[a[0]], (uintptr_t)(a[1] * s->cellSize));
	if (hi > 0 && a[1] == 0) { // nothing is taken: an empty range at the end
		fuzz_check(got.base.a == at(s, hi) && got.limit.a == at(s, hi), "removeLast of nothing");
		return;
	}
	equalRange(s, "removeLast", got, lo, hi);
}

static void removeFrom(void *v, const uint64_t *a) {
	state *s = v;
	if (!begun(s, a[0])) {
		return;
	}
	addrRanges_removeGreaterEqual(&s->e.env, &s->sets[a[0]], at(s, a[1]));
	memset(&s->in[a[0]][a[1]], false, (size_t)(numCells - a[1]));
}

static void clone(void *v, const uint64_t *a) {
	state *s = v;
	const uint64_t from = a[0], to = 1 - a[0];
	if (!begun(s, from) || !begun(s, to)) {
		return;
	}
	const uint64_t failed = fuzz_os_failed();
	const bool ok = addrRanges_cloneInto(&s->e.env, &s->sets[from], &s->sets[to]);
	fuzz_equal("cloneInto fails only if the system does", !ok, fuzz_os_failed() > failed);
	if (ok) {
		memcpy(s->in[to], s->in[from], sizeof s->in[to]);
	}
}

static void fail(void *v, const uint64_t *a) {
	(void)v;
	fuzz_os_fail(a[0], a[1]);
}

// ---- the address that threads move. The model: an offset, and whether it is marked. An offset of 0 cannot be marked.

static int64_t offsetOf(const state *s, uint64_t cell) {
	return (int64_t)(at(s, cell) - (uintptr_t)s->layout.arenaBaseOffset);
}

static void setBox(state *s, int64_t offset, bool marked) {
	s->boxOffset = offset;
	s->boxMarked = marked && offset != 0;
}

static void box(void *v, const uint64_t *a) {
	state *s = v;
	const gomem_layout *l = &s->layout;
	const int64_t one = offsetOf(s, a[1]), other = offsetOf(s, a[2]);
	switch (a[0]) {
	case 0:
		atomicOffAddr_Clear(l, &s->box);
		if (!s->boxMarked) {
			setBox(s, 0, false);
		}
		break;
	case 1:
		atomicOffAddr_StoreMin(l, &s->box, at(s, a[1]));
		if (!s->boxMarked && one < s->boxOffset) {
			setBox(s, one, false);
		}
		break;
	case 2:
		atomicOffAddr_StoreMarked(l, &s->box, at(s, a[1]));
		setBox(s, one, true);
		break;
	default:
		atomicOffAddr_StoreUnmark(l, &s->box, at(s, a[1]), at(s, a[2]));
		if ((s->boxMarked || s->boxOffset == 0) && s->boxOffset == one) {
			setBox(s, other, false);
		}
	}
	bool marked;
	const uintptr_t got = atomicOffAddr_Load(l, &s->box, &marked);
	fuzz_equal("atomicOffAddr is marked", marked, s->boxMarked);
	fuzz_equal("atomicOffAddr", (uint64_t)(got - (uintptr_t)l->arenaBaseOffset), (uint64_t)s->boxOffset);
}

// ---- a run

static void checkSet(state *s, unsigned i) {
	addrRanges_check(&s->e.env, &s->sets[i]);
	uint64_t n = 0, cells = 0;
	const bool *in = s->in[i];
	for (uint64_t lo = 0; lo < numCells; lo++) {
		cells += in[lo];
		if (!in[lo] || (lo > 0 && in[lo - 1])) {
			continue;
		}
		uint64_t hi = lo;
		while (hi < numCells && in[hi]) {
			hi++;
		}
		fuzz_check((intptr_t)n < s->sets[i].len, "a range is missing");
		equalRange(s, "a range of the set", s->sets[i].ranges[n++], lo, hi);
	}
	fuzz_equal("number of ranges", (uint64_t)s->sets[i].len, n);
	fuzz_equal("totalBytes", s->sets[i].totalBytes, cells * s->cellSize);
}

static void after(void *v) {
	state *s = v;
	for (unsigned i = 0; i < numSets; i++) {
		if (s->ready[i]) {
			checkSet(s, i);
		}
	}
	fuzz_equal("mappedReady is what the statistics add up to", (uint64_t)atomic_load(&s->e.stats.mappedReady),
		sysMemStat_load(&s->stat) + sysMemStat_load(&s->e.stats.other_sys));
}

enum { CONFIG_LAYOUT, CONFIG_PLACE, CONFIG_SHIFT };

static void *begin(const uint64_t *config) {
	state *s = calloc(1, sizeof *s);
	fuzz_check(s != NULL, "out of memory");
	s->layout = fuzz_layout(config[CONFIG_LAYOUT]);
	fuzz_env_init(&s->e, &s->layout, NULL);
	s->cellSize = (uint64_t)1 << config[CONFIG_SHIFT];
	const bool split = s->layout.arenaBaseOffset != 0;
	switch (config[CONFIG_PLACE]) {
	case 0: // the lowest addresses of the offset space but one arena, whose limit would be 0 on some platforms
		s->base = s->layout.arenaBaseOffset + s->layout.heapArenaBytes;
		break;
	case 1:
		s->base = 0xc000000000;
		break;
	case 2:
		s->wraps = split;
		s->base = split ? 0 - middle * s->cellSize : (uint64_t)1 << 30;
		break;
	default: // up to the highest address
		s->base = maxOffAddr(&s->layout).a - numCells * s->cellSize;
	}
	return s;
}

static void end(void *v) {
	state *s = v;
	fuzz_env_done(&s->e);
	free(s);
}

#define SET                                                                                                            \
	{ "set", 1, FUZZ_ANY, numSets - 1 }
#define CELL                                                                                                           \
	{ "cell", 2, FUZZ_INDEX, numCells - 1 }
#define CELLS                                                                                                          \
	{ "cells", 2, FUZZ_INDEX, numCells }

static const fuzz_op_info ops[] = {
	{"make", {CELL, CELL}, make},
	{"subtract", {CELL, CELLS, CELL, CELLS}, subtract},
	{"cut", {CELL, CELLS, CELL}, cutRange},
	{"take", {CELL, CELLS, {"len", 2, FUZZ_SIZE, 1000}, {"align", 1, FUZZ_ANY, 7}, {"back", 1, FUZZ_ANY, 1}}, takeFrom},
	{"add", {SET, CELL, CELLS}, add},
	{"comb", {SET, CELL, {"cells", 1, FUZZ_ANY, 80}, {"gap", 1, FUZZ_ANY, 3}}, comb},
	{"find", {SET, CELL, {"byte", 4, FUZZ_ANY, 0}}, find},
	{"removelast", {SET, CELLS}, removeLast},
	{"removefrom", {SET, CELL}, removeFrom},
	{"clone", {SET}, clone},
	{"fail", {{"nth", 1, FUZZ_ANY, 3}, {"more", 1, FUZZ_ANY, 3}}, fail},
	{"box", {{"op", 1, FUZZ_ANY, 3}, CELL, CELL}, box},
};

FUZZ_TARGET(addrranges) = {
	.name = "addrranges",
	.what = "address ranges and ordered sets of them against a set of small integers",
	.config = {{"layout", 1, FUZZ_ANY, FUZZ_LAYOUTS_64 - 1}, {"place", 1, FUZZ_ANY, 3}, {"shift", 1, FUZZ_ANY, 22}},
	.ops = ops,
	.nops = sizeof ops / sizeof ops[0],
	.max_ops = 24,
	.begin = begin,
	.after = after,
	.end = end,
	.small = true,
};
