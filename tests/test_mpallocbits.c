// test_mpallocbits.c: the bitmaps of a chunk: Go's own cases (mpallocbits_test.go), and random ones against plain loops.
#include "pages.h"

enum { none = -1 };

static void makeBits(pallocBits *b, const bitRange *r) {
	memset(b, 0, sizeof *b);
	setRanges(&b->b, r);
}

static void invert(pallocBits *b) {
	for (unsigned i = 0; i < P / 64; i++) {
		b->b.x[i] = ~b->b.x[i];
	}
}

static void randomBits(rng *r, pageBits *b) {
	for (unsigned i = 0; i < P / 64; i++) {
		const uint64_t x = rngNext(r), y = rngNext(r), z = rngNext(r);
		const uint64_t kinds[] = {x, x & y & z, x | y | z, 0, ~(uint64_t)0, x & ~(x << 1), ~(uint64_t)0 << (x & 63), 0};
		b->x[i] = kinds[rngBelow(r, 8)];
	}
}

// ---- TestPallocBitsAllocRange

typedef struct allocRangeCase {
	const char *name;
	bitRange range;
	uint64_t want[P / 64];
} allocRangeCase;

#define ALL (~(uint64_t)0)

static const allocRangeCase allocRangeCases[] = {
	{"OneLow", {0, 1}, {0x1}},
	{"OneHigh", {P - 1, 1}, {0, 0, 0, 0, 0, 0, 0, (uint64_t)1 << 63}},
	{"Inner", {129, 5}, {0, 0, 0x3e}},
	{"Aligned", {128, 128}, {0, 0, ALL, ALL}},
	{"Begin", {0, 321}, {ALL, ALL, ALL, ALL, ALL, 0x1}},
	{"End", {P - (64 * 3 + 1), 64 * 3 + 1}, {0, 0, 0, 0, (uint64_t)1 << 63, ALL, ALL, ALL}},
	{"All", {0, P}, {ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL}},
};

static void testAllocRange(void **state) {
	const allocRangeCase *const c = *state;
	pallocBits b = {0};
	pallocBits_allocRange(&b, c->range.i, c->range.n);
	assert_memory_equal(b.b.x, c->want, sizeof c->want);
}

// ---- TestMallocBitsPopcntRange

typedef struct popcntCase {
	const char *name;
	bitRange init[maxTableRanges];
	struct {
		unsigned i, n, want;
	} tests[16];
} popcntCase;

static const popcntCase popcntCases[] = {
	{"None", {{0, 0}}, {{0, 1, 0}, {5, 3, 0}, {2, 11, 0}, {P / 4 + 1, P / 2, 0}, {0, P, 0}}},
	{"All", {{0, P}}, {{0, 1, 1}, {5, 3, 3}, {2, 11, 11}, {P / 4 + 1, P / 2, P / 2}, {0, P, P}}},
	{"Half", {{P / 2, P / 2}},
		{{0, 1, 0}, {5, 3, 0}, {2, 11, 0}, {P / 2 - 1, 1, 0}, {P / 2, 1, 1}, {P / 2 + 10, 1, 1}, {P / 2 - 1, 2, 1},
			{P / 4, P / 4, 0}, {P / 4, P / 4 + 1, 1}, {P / 4 + 1, P / 2, P / 4 + 1}, {0, P, P / 2}}},
	{"OddBound", {{0, 111}},
		{{0, 1, 1}, {5, 3, 3}, {2, 11, 11}, {110, 2, 1}, {99, 50, 12}, {110, 1, 1}, {111, 1, 0}, {99, 1, 1},
			{120, 1, 0}, {P / 2, P / 2, 0}, {0, P, 111}}},
	{"Scattered",
		{{1, 3}, {5, 1}, {7, 1}, {10, 2}, {13, 1}, {15, 4}, {21, 1}, {23, 1}, {26, 2}, {30, 5}, {36, 2}, {40, 3},
			{44, 6}, {51, 1}, {53, 2}, {58, 3}, {63, 1}, {67, 2}, {71, 10}, {84, 1}, {89, 7}, {99, 2}, {103, 1},
			{107, 2}, {111, 1}, {113, 1}, {115, 1}, {118, 1}, {120, 2}, {125, 5}},
		{{0, 11, 6}, {0, 64, 39}, {13, 64, 40}, {64, 64, 34}, {0, 128, 73}, {1, 128, 74}, {0, P, 75}}},
};

static void testPopcntRange(void **state) {
	const popcntCase *const c = *state;
	pallocBits b;
	makeBits(&b, c->init);
	for (unsigned i = 0; i < 16 && c->tests[i].n != 0; i++) {
		assert_int_equal(pageBits_popcntRange(&b.b, c->tests[i].i, c->tests[i].n), c->tests[i].want);
	}
}

// ---- TestPallocBitsSummarize

typedef struct summarizeCase {
	const char *name;
	bitRange free[maxTableRanges];
	unsigned start, max, end;
} summarizeCase;

static const summarizeCase summarizeCases[] = {
	{"NoneFree", {{0, 0}}, 0, 0, 0},
	{"OnlyStart", {{0, 10}}, 10, 10, 0},
	{"OnlyEnd", {{P - 40, 40}}, 0, 40, 40},
	{"StartAndEnd", {{0, 11}, {P - 23, 23}}, 11, 23, 23},
	{"StartMaxEnd", {{0, 4}, {50, 100}, {P - 4, 4}}, 4, 100, 4},
	{"OnlyMax", {{1, 20}, {35, 241}, {P - 50, 30}}, 0, 241, 0},
	{"MultiMax", {{35, 2}, {40, 5}, {100, 5}}, 0, 5, 0},
	{"One", {{2, 1}}, 0, 1, 0},
	{"AllFree", {{0, P}}, P, P, P},
};

static void assertSum(pallocSum got, unsigned start, unsigned max, unsigned end) {
	const gomem_layout *const L = layoutOf();
	assert_int_equal(pallocSum_start(L, got), start);
	assert_int_equal(pallocSum_max(L, got), max);
	assert_int_equal(pallocSum_end(L, got), end);
}

static void testSummarize(void **state) {
	const summarizeCase *const c = *state;
	pallocBits b;
	makeBits(&b, c->free);
	invert(&b);
	assertSum(pallocBits_summarize(layoutOf(), &b), c->start, c->max, c->end);
}

static void assertSummarizeAsSlow(const pallocBits *b) {
	unsigned start = P, max = 0, run = 0;
	for (unsigned i = 0; i < P; i++) {
		run = pageBits_get(&b->b, i) ? 0 : run + 1;
		max = run > max ? run : max;
		if (pageBits_get(&b->b, i) && start == P) {
			start = i;
		}
	}
	assertSum(pallocBits_summarize(layoutOf(), b), start, max, run);
}

static void testSummarizeRandom(void **state) {
	(void)state;
	rng r = {1};
	for (unsigned i = 0; i < 20000; i++) {
		pallocBits b;
		randomBits(&r, &b.b);
		assertSummarizeAsSlow(&b);
	}
}

// The patterns of Go's BenchmarkPallocBitsSummarize, and every word with two runs of zeros.
static void testSummarizePatterns(void **state) {
	(void)state;
	const uint64_t patterns[] = {
		0,
		ALL,
		0xaa,
		0xaaaaaaaaaaaaaaaa,
		0x80000000aaaaaaaa,
		0xaaaaaaaa00000001,
		0xbbbbbbbbbbbbbbbb,
		0x80000000bbbbbbbb,
		0xbbbbbbbb00000001,
		0xcccccccccccccccc,
		0x4444444444444444,
		0x4040404040404040,
		0x4000400040004000,
		0x1000404044ccaaff,
	};
	for (unsigned i = 0; i < sizeof patterns / sizeof patterns[0]; i++) {
		pallocBits b;
		for (unsigned j = 0; j < P / 64; j++) {
			b.b.x[j] = patterns[i];
		}
		assertSummarizeAsSlow(&b);
	}
	// The longest run is at the start, or within a word and as long as can be.
	for (unsigned first = 50; first < 70; first++) {
		for (unsigned inner = 50; inner < 63; inner++) {
			pallocBits b;
			pallocBits_allocAll(&b);
			pallocBits_free(&b, 0, first);
			pallocBits_free(&b, 3 * 64 + 1, inner);
			assertSummarizeAsSlow(&b);
		}
	}
	for (unsigned mid = 1; mid < 63; mid++) {
		for (unsigned top = mid + 1; top < 64; top++) {
			pallocBits b;
			pallocBits_allocAll(&b);
			b.b.x[3] = 1 | (uint64_t)1 << mid | (uint64_t)1 << top;
			assertSummarizeAsSlow(&b);
		}
	}
}

// ---- TestPallocBitsAlloc

typedef struct bitsAllocCase {
	const char *name;
	unsigned npages;
	bitRange before[maxTableRanges], after[maxTableRanges];
	int nhits, hits[8];
} bitsAllocCase;

static const bitsAllocCase bitsAllocCases[] = {
	{"AllFree1", 1, {{0, 0}}, {{0, 6}}, 6, {0, 1, 2, 3, 4, 5}},
	{"AllFree2", 2, {{0, 0}}, {{0, 12}}, 6, {0, 2, 4, 6, 8, 10}},
	{"AllFree5", 5, {{0, 0}}, {{0, 25}}, 5, {0, 5, 10, 15, 20}},
	{"NoneFree1", 1, {{0, P}}, {{0, P}}, 2, {none, none}},
	{"NoneFree2", 2, {{0, P}}, {{0, P}}, 2, {none, none}},
	{"NoneFree5", 5, {{0, P}}, {{0, P}}, 2, {none, none}},
	{"NoneFree65", 65, {{0, P}}, {{0, P}}, 2, {none, none}},
	{"ExactFit1", 1, {{0, P / 2 - 3}, {P / 2 - 2, P / 2 + 2}}, {{0, P}}, 2, {P / 2 - 3, none}},
	{"ExactFit2", 2, {{0, P / 2 - 3}, {P / 2 - 1, P / 2 + 1}}, {{0, P}}, 2, {P / 2 - 3, none}},
	{"ExactFit5", 5, {{0, P / 2 - 3}, {P / 2 + 2, P / 2 - 2}}, {{0, P}}, 2, {P / 2 - 3, none}},
	{"AllFree64", 64, {{0, 0}}, {{0, 192}}, 3, {0, 64, 128}},
	{"AllFree65", 65, {{0, 0}}, {{0, 195}}, 3, {0, 65, 130}},
	{"SomeFree64", 64, {{0, 32}, {64, 32}, {100, P - 100}}, {{0, 32}, {64, 32}, {100, P - 100}}, 1, {none}},
	{"ExactFit65", 65, {{0, P / 2 - 31}, {P / 2 + 34, P / 2 - 34}}, {{0, P}}, 2, {P / 2 - 31, none}},
	{"SomeFree161", 161, {{0, 185}, {331, 1}}, {{0, 185}, {331, 162}}, 1, {332}},
};

static void testBitsAlloc(void **state) {
	const bitsAllocCase *const c = *state;
	pallocBits b, want;
	makeBits(&b, c->before);
	for (int i = 0; i < c->nhits; i++) {
		unsigned searchIdx;
		const unsigned at = pallocBits_find(&b, c->npages, 0, &searchIdx);
		assert_int_equal((int)at, c->hits[i]);
		if (c->hits[i] != none) {
			pallocBits_allocRange(&b, at, c->npages);
		}
	}
	makeBits(&want, c->after);
	assertPageBits(&b.b, &want.b, "alloc", BaseChunkIdx);
}

// ---- TestPallocBitsFree

typedef struct bitsFreeCase {
	const char *name;
	unsigned npages;
	bitRange beforeInv[maxTableRanges], afterInv[maxTableRanges];
	unsigned nfrees, frees[8];
} bitsFreeCase;

static const bitsFreeCase bitsFreeCases[] = {
	{"NoneFree1", 1, {{0, 0}}, {{0, 6}}, 6, {0, 1, 2, 3, 4, 5}},
	{"NoneFree2", 2, {{0, 0}}, {{0, 12}}, 6, {0, 2, 4, 6, 8, 10}},
	{"NoneFree5", 5, {{0, 0}}, {{0, 25}}, 5, {0, 5, 10, 15, 20}},
	{"SomeFree", 1, {{0, 32}, {64, 32}, {100, 1}}, {{0, 33}, {64, 32}, {100, 1}}, 1, {32}},
	{"NoneFree64", 64, {{0, 0}}, {{0, 192}}, 3, {0, 64, 128}},
	{"NoneFree65", 65, {{0, 0}}, {{0, 195}}, 3, {0, 65, 130}},
};

static void testBitsFree(void **state) {
	const bitsFreeCase *const c = *state;
	pallocBits b, want;
	makeBits(&b, c->beforeInv);
	invert(&b);
	for (unsigned i = 0; i < c->nfrees; i++) {
		pallocBits_free(&b, c->frees[i], c->npages);
	}
	makeBits(&want, c->afterInv);
	invert(&want);
	assertPageBits(&b.b, &want.b, "alloc", BaseChunkIdx);
}

// ---- TestFindBitRange64

static void testFindBitRange64(void **state) {
	(void)state;
	for (unsigned i = 1; i <= 64; i++) {
		assert_int_equal(findBitRange64(ALL, i), 0);
		assert_true(findBitRange64(0, i) >= 64);
	}
	assert_int_equal(findBitRange64(0x8000000000000000, 1), 63);
	assert_int_equal(findBitRange64(0xc000010001010000, 2), 62);
	assert_int_equal(findBitRange64(0xc000010001030000, 2), 16);
	assert_int_equal(findBitRange64(0xe000030001030000, 3), 61);
	assert_int_equal(findBitRange64(0xe000030001070000, 3), 16);
	assert_int_equal(findBitRange64(0xffff03ff01070000, 16), 48);
	assert_int_equal(findBitRange64(0xffff03ff0107ffff, 16), 0);
	assert_true(findBitRange64(0x0fff03ff01079fff, 16) >= 64);
}

static unsigned slowFindRun(const pageBits *b, unsigned pages, unsigned from, unsigned n, unsigned bit) {
	unsigned run = 0;
	for (unsigned i = from; i < pages; i++) {
		run = pageBits_get(b, i) == bit ? run + 1 : 0;
		if (run == n) {
			return i + 1 - n;
		}
	}
	return ~0u;
}

static void testFindBitRange64Random(void **state) {
	(void)state;
	rng r = {2};
	for (unsigned i = 0; i < 200000; i++) {
		pageBits b;
		randomBits(&r, &b);
		const unsigned n = 1 + rngBelow(&r, 64);
		const unsigned want = slowFindRun(&b, 64, 0, n, 1);
		assert_int_equal(findBitRange64(b.x[0], n), want == ~0u ? 64 : want);
	}
}

// ---- more than Go tests

// find against a plain search: the run and where the next search may start.
static void testFindRandom(void **state) {
	(void)state;
	rng r = {3};
	for (unsigned i = 0; i < 100000; i++) {
		pallocBits b;
		randomBits(&r, &b.b);
		const unsigned from = rngBelow(&r, P);
		if (from > 0) {
			pallocBits_allocRange(&b, 0, from); // as below a searchAddr
		}
		const unsigned n = rngBelow(&r, 3) == 0 ? 1 : 1 + rngBelow(&r, rngBelow(&r, 2) == 0 ? 64 : P);
		unsigned searchIdx;
		assert_int_equal(pallocBits_find(&b, n, from, &searchIdx), slowFindRun(&b.b, P, from, n, 0));
		assert_int_equal(searchIdx, slowFindRun(&b.b, P, from, 1, 0));
	}
}

static void testRangesRandom(void **state) {
	(void)state;
	rng r = {4};
	for (unsigned i = 0; i < 20000; i++) {
		pageBits b, set, cleared;
		randomBits(&r, &b);
		const unsigned at = rngBelow(&r, P), n = 1 + rngBelow(&r, P - at);
		unsigned count = 0;
		set = cleared = b;
		for (unsigned j = at; j < at + n; j++) {
			count += pageBits_get(&b, j);
			pageBits_set(&set, j);
			pageBits_clear(&cleared, j);
		}
		assert_int_equal(pageBits_popcntRange(&b, at, n), count);
		pageBits got = b;
		pageBits_setRange(&got, at, n);
		assert_memory_equal(&got, &set, sizeof got);
		got = b;
		pageBits_clearRange(&got, at, n);
		assert_memory_equal(&got, &cleared, sizeof got);
	}
}

static void testBlocks(void **state) {
	(void)state;
	rng r = {5};
	pallocData d;
	randomBits(&r, &d.pallocBits.b);
	pageBits_setAll(&d.scavenged);
	const pallocData before = d;
	pallocBits_allocPages64(&d.pallocBits, 3 * 64 + 17, 0xf0f0);
	assert_int_equal(pallocBits_pages64(&d.pallocBits, 3 * 64), before.pallocBits.b.x[3] | 0xf0f0);
	pageBits_clearBlock64(&d.scavenged, 64, 0xff);
	assert_int_equal(pageBits_block64(&d.scavenged, 127), ALL << 8);
	pallocData_allocRange(&d, 100, 200);
	assert_int_equal(pageBits_popcntRange(&d.pallocBits.b, 100, 200), 200);
	assert_int_equal(pageBits_popcntRange(&d.scavenged, 100, 200), 0);
	assert_int_equal(pageBits_get(&d.scavenged, 99), 1);
	assert_int_equal(pageBits_get(&d.scavenged, 300), 1);
	pallocData_allocAll(&d);
	assert_int_equal(pageBits_popcntRange(&d.pallocBits.b, 0, P), P);
	assert_int_equal(pageBits_popcntRange(&d.scavenged, 0, P), 0);
	pallocBits_free1(&d.pallocBits, 77);
	assert_int_equal(pallocBits_find1(&d.pallocBits, 0), 77);
	pallocBits_freeAll(&d.pallocBits);
	assert_int_equal(pageBits_popcntRange(&d.pallocBits.b, 0, P), 0);
}

int main(void) {
	static cases c;
	ADD_CASES(&c, "TestPallocBitsAllocRange", testAllocRange, allocRangeCases)
	ADD_CASES(&c, "TestMallocBitsPopcntRange", testPopcntRange, popcntCases)
	addCase(&c, "TestPallocBitsSummarizeRandom", NULL, testSummarizeRandom, NULL);
	addCase(&c, "TestPallocBitsSummarizePatterns", NULL, testSummarizePatterns, NULL);
	ADD_CASES(&c, "TestPallocBitsSummarize", testSummarize, summarizeCases)
	ADD_CASES(&c, "TestPallocBitsAlloc", testBitsAlloc, bitsAllocCases)
	ADD_CASES(&c, "TestPallocBitsFree", testBitsFree, bitsFreeCases)
	addCase(&c, "TestFindBitRange64", NULL, testFindBitRange64, NULL);
	addCase(&c, "FindBitRange64Random", NULL, testFindBitRange64Random, NULL);
	addCase(&c, "FindRandom", NULL, testFindRandom, NULL);
	addCase(&c, "RangesRandom", NULL, testRangesRandom, NULL);
	addCase(&c, "Blocks", NULL, testBlocks, NULL);
	return runCases("mpallocbits", &c);
}
