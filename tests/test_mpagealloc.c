// test_mpagealloc.c: the page allocator: Go's own cases (mpagealloc_test.go), a random run against a flat bitmap, memory that
// runs out, and checks that must notice a fault.
#include "pages.h"

enum {
	smallOffset = 0x503,        // chunks: see DiscontiguousBadSearchAddr
	sumsPerPhysPage = 4096 / 8, // BaseChunkIdx is a multiple
};

static const memSimConfig smallPages = {.physPageSize = 4096};

static void checked(testEnv *t, pageAlloc *p) {
	lockHeap(t);
	pageAlloc_check(&t->env, p);
	unlockHeap(t);
}

static uintptr_t allocPages(testEnv *t, pageAlloc *p, uintptr_t npages, uintptr_t *scav) {
	lockHeap(t);
	const uintptr_t a = pageAlloc_alloc(&t->env, p, npages, scav);
	unlockHeap(t);
	return a;
}

static void freePages(testEnv *t, pageAlloc *p, uintptr_t base, uintptr_t npages) {
	lockHeap(t);
	pageAlloc_free(&t->env, p, base, npages);
	unlockHeap(t);
}

// ---- TestPageAllocGrow

typedef struct growCase {
	const char *name;
	unsigned nchunks, chunks[40];
	unsigned nranges;
	struct {
		unsigned base, limit; // chunks
	} inUse[40];
} growCase;

static const growCase growCases[] = {
	{"One", 1, {0}, 1, {{0, 1}}},
	{"Contiguous2", 2, {0, 1}, 1, {{0, 2}}},
	{"Contiguous5", 5, {0, 1, 2, 3, 4}, 1, {{0, 5}}},
	{"Discontiguous", 3, {0, 2, 4}, 3, {{0, 1}, {2, 3}, {4, 5}}},
	{"Mixed", 4, {0, 1, 2, 4}, 2, {{0, 3}, {4, 5}}},
	{"WildlyDiscontiguous", 4, {0, 1, 0x10, 0x21}, 3, {{0, 2}, {0x10, 0x11}, {0x21, 0x22}}},
	{"ManyDiscontiguous", 33,
		{0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32, 34, 36, 38, 40, 42, 44, 46, 48, 50, 52, 54, 56,
			58, 60, 62, 64},
		33,
		{{0, 1}, {2, 3}, {4, 5}, {6, 7}, {8, 9}, {10, 11}, {12, 13}, {14, 15}, {16, 17}, {18, 19}, {20, 21}, {22, 23},
			{24, 25}, {26, 27}, {28, 29}, {30, 31}, {32, 33}, {34, 35}, {36, 37}, {38, 39}, {40, 41}, {42, 43},
			{44, 45}, {46, 47}, {48, 49}, {50, 51}, {52, 53}, {54, 55}, {56, 57}, {58, 59}, {60, 61}, {62, 63},
			{64, 65}}},
	{"ExtremelyDiscontiguous", 2, {0, bigJump}, 2, {{0, 1}, {bigJump, bigJump + 1}}},
};

// order: 0 up, 1 down, 2 from both ends.
static unsigned pick(unsigned order, unsigned i, unsigned n) {
	if (order == 2) {
		return i % 2 == 0 ? i / 2 : n - 1 - i / 2;
	}
	return order == 0 ? i : n - 1 - i;
}

static void testGrow(void **state) {
	const growCase *const c = *state;
	for (unsigned order = 0; order < 3; order++) {
		testEnv *const t = testEnv_new(&smallPages);
		const heapBits none = {0};
		pageAlloc *const p = newPageAlloc(t, &none, NULL, false);
		for (unsigned i = 0; i < c->nchunks; i++) {
			lockHeap(t);
			assert_true(
				pageAlloc_grow(&t->env, p, pageAddr((int64_t)c->chunks[pick(order, i, c->nchunks)] * P), chunkBytes));
			unlockHeap(t);
			checked(t, p);
		}
		assert_int_equal(p->inUse.len, c->nranges);
		for (unsigned i = 0; i < c->nranges; i++) {
			assert_int_equal(p->inUse.ranges[i].base.a, pageAddr((int64_t)c->inUse[i].base * P));
			assert_int_equal(p->inUse.ranges[i].limit.a, pageAddr((int64_t)c->inUse[i].limit * P));
		}
		freePageAlloc(t, p);
		testEnv_free(t);
	}
}

// ---- TestPageAllocAlloc

typedef struct allocCase {
	const char *name;
	heapBits before, scav, after;
	struct {
		unsigned npages;
		int64_t page;
		unsigned scav; // pages
	} hits[8];
} allocCase;

static const allocCase allocCases[] = {
	{"AllFree1", {1, {{0, {{0, 0}}}}}, {1, {{0, {{0, 1}, {2, 2}}}}}, {1, {{0, {{0, 5}}}}},
		{{1, 0, 1}, {1, 1, 0}, {1, 2, 1}, {1, 3, 1}, {1, 4, 0}}},
	{"ManyArena1", {3, {{0, {{0, P}}}, {1, {{0, P}}}, {2, {{0, P - 1}}}}},
		{3, {{0, {{0, P}}}, {1, {{0, P}}}, {2, {{0, P}}}}}, {3, {{0, {{0, P}}}, {1, {{0, P}}}, {2, {{0, P}}}}},
		{{1, 2 * P + P - 1, 1}}},
	{"NotContiguous1", {2, {{0, {{0, P}}}, {0xff, {{0, 0}}}}}, {2, {{0, {{0, P}}}, {0xff, {{0, P}}}}},
		{2, {{0, {{0, P}}}, {0xff, {{0, 1}}}}}, {{1, 0xff * P, 1}}},
	{"AllFree2", {1, {{0, {{0, 0}}}}}, {1, {{0, {{0, 3}, {7, 1}}}}}, {1, {{0, {{0, 10}}}}},
		{{2, 0, 2}, {2, 2, 1}, {2, 4, 0}, {2, 6, 1}, {2, 8, 0}}},
	{"Straddle2", {2, {{0, {{0, P - 1}}}, {1, {{1, P - 1}}}}}, {2, {{0, {{P - 1, 1}}}, {1, {{0, 0}}}}},
		{2, {{0, {{0, P}}}, {1, {{0, P}}}}}, {{2, P - 1, 1}}},
	{"AllFree5", {1, {{0, {{0, 0}}}}}, {1, {{0, {{0, 8}, {9, 1}, {17, 5}}}}}, {1, {{0, {{0, 25}}}}},
		{{5, 0, 5}, {5, 5, 4}, {5, 10, 0}, {5, 15, 3}, {5, 20, 2}}},
	{"ExhaustPallocChunkPages-3", {1, {{0, {{0, 0}}}}}, {1, {{0, {{10, 1}}}}}, {1, {{0, {{0, P}}}}},
		{{P - 3, 0, 1}, {P - 3, noPage, 0}, {1, P - 3, 0}, {2, P - 2, 0}, {1, noPage, 0}, {P - 3, noPage, 0}}},
	{"AllFreePallocChunkPages", {1, {{0, {{0, 0}}}}}, {1, {{0, {{0, 1}, {P - 1, 1}}}}}, {1, {{0, {{0, P}}}}},
		{{P, 0, 2}, {P, noPage, 0}, {1, noPage, 0}}},
	{"StraddlePallocChunkPages+1", {2, {{0, {{0, P / 2}}}, {1, {{0, 0}}}}}, {2, {{0, {{0, P}}}, {1, {{0, P}}}}},
		{2, {{0, {{0, P}}}, {1, {{0, P / 2 + 2}}}}}, {{P + 1, P / 2, P + 1}, {P, noPage, 0}, {1, P + P / 2 + 1, 1}}},
	{"AllFreePallocChunkPages*2", {2, {{0, {{0, 0}}}, {1, {{0, 0}}}}}, {2, {{0, {{0, 0}}}, {1, {{0, 0}}}}},
		{2, {{0, {{0, P}}}, {1, {{0, P}}}}}, {{P * 2, 0, 0}, {P * 2, noPage, 0}, {1, noPage, 0}}},
	{"NotContiguousPallocChunkPages*2", {3, {{0, {{0, 0}}}, {0x40, {{0, 0}}}, {0x41, {{0, 0}}}}},
		{3, {{0, {{0, P}}}, {0x40, {{0, 0}}}, {0x41, {{0, 0}}}}},
		{3, {{0, {{0, 22}}}, {0x40, {{0, P}}}, {0x41, {{0, P}}}}}, {{P * 2, 0x40 * P, 0}, {21, 0, 21}, {1, 21, 1}}},
	{"StraddlePallocChunkPages*5/4", {4, {{0, {{0, P}}}, {1, {{0, P * 3 / 4}}}, {2, {{0, P * 3 / 4}}}, {3, {{0, 0}}}}},
		{4, {{0, {{0, P}}}, {1, {{P / 2, P / 4 + 1}}}, {2, {{P / 3, 1}}}, {3, {{P * 2 / 3, 1}}}}},
		{4, {{0, {{0, P}}}, {1, {{0, P * 3 / 4 + 1}}}, {2, {{0, P}}}, {3, {{0, P}}}}},
		{{P * 5 / 4, 2 * P + P * 3 / 4, 1}, {P * 5 / 4, noPage, 0}, {1, P + P * 3 / 4, 1}}},
	{"AllFree64", {1, {{0, {{0, 0}}}}}, {1, {{0, {{21, 1}, {63, 65}}}}}, {1, {{0, {{0, 192}}}}},
		{{64, 0, 2}, {64, 64, 64}, {64, 128, 0}}},
	{"AllFree65", {1, {{0, {{0, 0}}}}}, {1, {{0, {{129, 1}}}}}, {1, {{0, {{0, 195}}}}},
		{{65, 0, 0}, {65, 65, 1}, {65, 130, 0}}},
	{"StraddlePallocChunkPages", {2, {{0, {{0, P / 2}}}, {1, {{P / 2, P / 2}}}}}, {2, {{0, {{0, 0}}}, {1, {{3, 100}}}}},
		{2, {{0, {{0, P}}}, {1, {{0, P}}}}}, {{P, P / 2, 100}, {P, noPage, 0}, {1, noPage, 0}}},
	{"AllFreePallocChunkPages*7+5",
		{8,
			{{0, {{0, 0}}}, {1, {{0, 0}}}, {2, {{0, 0}}}, {3, {{0, 0}}}, {4, {{0, 0}}}, {5, {{0, 0}}}, {6, {{0, 0}}},
				{7, {{0, 0}}}}},
		{8,
			{{0, {{50, 1}}}, {1, {{31, 1}}}, {2, {{7, 1}}}, {3, {{200, 1}}}, {4, {{3, 1}}}, {5, {{51, 1}}},
				{6, {{20, 1}}}, {7, {{1, 1}}}}},
		{8,
			{{0, {{0, P}}}, {1, {{0, P}}}, {2, {{0, P}}}, {3, {{0, P}}}, {4, {{0, P}}}, {5, {{0, P}}}, {6, {{0, P}}},
				{7, {{0, 6}}}}},
		{{P * 7 + 5, 0, 8}, {P * 7 + 5, noPage, 0}, {1, 7 * P + 5, 0}}},
	{"StraddlePallocChunkPages*2", {3, {{0, {{0, P / 2}}}, {1, {{0, 0}}}, {2, {{P / 2, P / 2}}}}},
		{3, {{0, {{0, 7}}}, {1, {{3, 5}, {121, 10}}}, {2, {{P / 2 + 12, 2}}}}},
		{3, {{0, {{0, P}}}, {1, {{0, P}}}, {2, {{0, P}}}}}, {{P * 2, P / 2, 15}, {P * 2, noPage, 0}, {1, noPage, 0}}},
	// The first chunk's summary is the last of its physical page, and the next page is not mapped.
	{"DiscontiguousMappedSumBoundary", {2, {{sumsPerPhysPage - 1, {{0, 0}}}, {bigJump, {{0, 0}}}}},
		{2, {{sumsPerPhysPage - 1, {{0, 0}}}, {bigJump, {{0, 0}}}}},
		{2, {{sumsPerPhysPage - 1, {{0, P}}}, {bigJump, {{0, P}}}}},
		{{P - 1, (sumsPerPhysPage - 1) * P, 0}, {1, (sumsPerPhysPage - 1) * P + P - 1, 0}, {1, (int64_t)bigJump *P, 0},
			{P - 1, (int64_t)bigJump *P + 1, 0}, {1, noPage, 0}}},
	// A search that passes the second chunk finds a searchAddr where nothing is mapped (golang.org/issue/40191).
	{"DiscontiguousBadSearchAddr",
		{3, {{0, {{0, P - 1}}}, {bigJump + smallOffset, {{0, P - 10}, {P - 1, 1}}}, {2 * bigJump, {{0, 0}}}}},
		{3, {{0, {{0, 0}}}, {bigJump + smallOffset, {{0, 0}}}, {2 * bigJump, {{0, 0}}}}},
		{3, {{0, {{0, P}}}, {bigJump + smallOffset, {{0, P}}}, {2 * bigJump, {{0, 100}}}}},
		{{1, P - 1, 0}, {100, (int64_t)2 * bigJump *P, 0}, {9, (int64_t)(bigJump + smallOffset) * P + P - 10, 0}}},
	// The same where the search ends within the third chunk.
	{"DiscontiguousBadSearchAddrInChunk",
		{3, {{0, {{0, P - 1}}}, {bigJump + smallOffset, {{0, P - 10}, {P - 1, 1}}}, {2 * bigJump, {{0, 1}}}}},
		{3, {{0, {{0, 0}}}, {bigJump + smallOffset, {{0, 0}}}, {2 * bigJump, {{0, 0}}}}},
		{3, {{0, {{0, P}}}, {bigJump + smallOffset, {{0, P}}}, {2 * bigJump, {{0, 101}}}}},
		{{1, P - 1, 0}, {100, (int64_t)2 * bigJump *P + 1, 0}, {9, (int64_t)(bigJump + smallOffset) * P + P - 10, 0}}},
};

static void testAlloc(void **state) {
	const allocCase *const c = *state;
	for (unsigned reverse = 0; reverse < 2; reverse++) {
		testEnv *const t = testEnv_new(&smallPages);
		pageAlloc *const p = newPageAlloc(t, &c->before, &c->scav, reverse);
		for (unsigned i = 0; i < 8 && c->hits[i].npages != 0; i++) {
			uintptr_t scav;
			assert_int_equal(allocPages(t, p, c->hits[i].npages, &scav), pageAddr(c->hits[i].page));
			assert_int_equal(scav, c->hits[i].scav * pageSize);
			checked(t, p);
		}
		pageAlloc *const want = newPageAlloc(t, &c->after, &c->scav, !reverse);
		assertPageAlloc(p, want);
		freePageAlloc(t, want);
		freePageAlloc(t, p);
		testEnv_free(t);
	}
}

// ---- TestPageAllocExhaust

typedef struct exhaustCase {
	const char *name;
	unsigned npages;
} exhaustCase;

static const exhaustCase exhaustCases[] = {
	{"1", 1},
	{"2", 2},
	{"3", 3},
	{"4", 4},
	{"5", 5},
	{"8", 8},
	{"16", 16},
	{"64", 64},
	{"1024", 1024},
	{"1025", 1025},
	{"2048", 2048},
	{"2049", 2049},
};

static void testExhaust(void **state) {
	const unsigned npages = ((const exhaustCase *)*state)->npages;
	testEnv *const t = testEnv_new(&smallPages);
	const heapBits before = {4, {{0, {{0, 0}}}, {1, {{0, 0}}}, {2, {{0, 0}}}, {3, {{0, 0}}}}};
	pageAlloc *const p = newPageAlloc(t, &before, NULL, false);
	const unsigned n = P * 4 / npages;
	uintptr_t scav;
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(allocPages(t, p, npages, &scav), pageAddr((int64_t)i * npages));
	}
	// The first failure may have found out that all is full only if it was for one page.
	const bool knownFull = chunkIndex(layoutOf(), p->searchAddr.a) >= p->end;
	assert_int_equal(allocPages(t, p, npages, &scav), 0);
	const bool full = chunkIndex(layoutOf(), p->searchAddr.a) >= p->end;
	assert_int_equal(full, knownFull || npages == 1);
	assert_false(npages == 2049 && full);
	checked(t, p);

	heapBits after = before;
	for (unsigned c = 0, left = n * npages; c < 4 && left > 0; c++) {
		after.c[c].r[0].n = left < P ? left : P;
		left -= after.c[c].r[0].n;
	}
	pageAlloc *const want = newPageAlloc(t, &after, NULL, false);
	assertPageAlloc(p, want);
	freePageAlloc(t, want);
	freePageAlloc(t, p);
	testEnv_free(t);
}

// ---- TestPageAllocFree

typedef struct freeCase {
	const char *name;
	unsigned npages;
	heapBits before, after;
	unsigned nfrees;
	int64_t frees[8];
} freeCase;

static const freeCase freeCases[] = {
	{"Free1", 1, {1, {{0, {{0, P}}}}}, {1, {{0, {{5, P - 5}}}}}, 5, {0, 1, 2, 3, 4}},
	{"ManyArena1", 1, {3, {{0, {{0, P}}}, {1, {{0, P}}}, {2, {{0, P}}}}},
		{3, {{0, {{0, P / 2}, {P / 2 + 1, P / 2 - 1}}}, {1, {{1, P - 1}}}, {2, {{0, P - 1}}}}}, 3,
		{P / 2, P, 2 * P + P - 1}},
	{"Free2", 2, {1, {{0, {{0, P}}}}}, {1, {{0, {{10, P - 10}}}}}, 5, {0, 2, 4, 6, 8}},
	{"Straddle2", 2, {2, {{0, {{P - 1, 1}}}, {1, {{0, 1}}}}}, {2, {{0, {{0, 0}}}, {1, {{0, 0}}}}}, 1, {P - 1}},
	{"Free5", 5, {1, {{0, {{0, P}}}}}, {1, {{0, {{25, P - 25}}}}}, 5, {0, 5, 10, 15, 20}},
	{"FreePallocChunkPages", P, {1, {{0, {{0, P}}}}}, {1, {{0, {{0, 0}}}}}, 1, {0}},
	{"StraddlePallocChunkPages", P, {2, {{0, {{P / 2, P / 2}}}, {1, {{0, P / 2}}}}},
		{2, {{0, {{0, 0}}}, {1, {{0, 0}}}}}, 1, {P / 2}},
	{"StraddlePallocChunkPages+1", P + 1, {2, {{0, {{0, P}}}, {1, {{0, P}}}}},
		{2, {{0, {{0, P / 2}}}, {1, {{P / 2 + 1, P / 2 - 1}}}}}, 1, {P / 2}},
	{"FreePallocChunkPages*2", P * 2, {2, {{0, {{0, P}}}, {1, {{0, P}}}}}, {2, {{0, {{0, 0}}}, {1, {{0, 0}}}}}, 1, {0}},
	{"StraddlePallocChunkPages*2", P * 2, {3, {{0, {{0, P}}}, {1, {{0, P}}}, {2, {{0, P}}}}},
		{3, {{0, {{0, P / 2}}}, {1, {{0, 0}}}, {2, {{P / 2, P / 2}}}}}, 1, {P / 2}},
	{"AllFreePallocChunkPages*7+5", P * 7 + 5,
		{8,
			{{0, {{0, P}}}, {1, {{0, P}}}, {2, {{0, P}}}, {3, {{0, P}}}, {4, {{0, P}}}, {5, {{0, P}}}, {6, {{0, P}}},
				{7, {{0, P}}}}},
		{8,
			{{0, {{0, 0}}}, {1, {{0, 0}}}, {2, {{0, 0}}}, {3, {{0, 0}}}, {4, {{0, 0}}}, {5, {{0, 0}}}, {6, {{0, 0}}},
				{7, {{5, P - 5}}}}},
		1, {0}},
	{"Free64", 64, {1, {{0, {{0, P}}}}}, {1, {{0, {{192, P - 192}}}}}, 3, {0, 64, 128}},
	{"Free65", 65, {1, {{0, {{0, P}}}}}, {1, {{0, {{195, P - 195}}}}}, 3, {0, 65, 130}},
};

static void testFree(void **state) {
	const freeCase *const c = *state;
	testEnv *const t = testEnv_new(&smallPages);
	pageAlloc *const p = newPageAlloc(t, &c->before, NULL, false);
	for (unsigned i = 0; i < c->nfrees; i++) {
		freePages(t, p, pageAddr(c->frees[i]), c->npages);
		checked(t, p);
	}
	pageAlloc *const want = newPageAlloc(t, &c->after, NULL, false);
	assertPageAlloc(p, want);
	freePageAlloc(t, want);
	freePageAlloc(t, p);
	testEnv_free(t);
}

// ---- TestPageAllocAllocAndFree/Chunks8

static void testAllocAndFree(void **state) {
	(void)state;
	static const struct {
		bool alloc;
		unsigned npages;
	} hits[] = {{true, P * 8}, {false, P * 8}, {true, P * 8}, {false, P * 8}, {true, P * 8}, {false, P * 8}, {true, 1},
		{false, 1}, {true, P * 8}};
	testEnv *const t = testEnv_new(&smallPages);
	const heapBits init = {8,
		{{0, {{0, 0}}}, {1, {{0, 0}}}, {2, {{0, 0}}}, {3, {{0, 0}}}, {4, {{0, 0}}}, {5, {{0, 0}}}, {6, {{0, 0}}},
			{7, {{0, 0}}}}};
	pageAlloc *const p = newPageAlloc(t, &init, NULL, false);
	for (unsigned i = 0; i < sizeof hits / sizeof hits[0]; i++) {
		uintptr_t scav;
		if (hits[i].alloc) {
			assert_int_equal(allocPages(t, p, hits[i].npages, &scav), pageAddr(0));
		} else {
			freePages(t, p, pageAddr(0), hits[i].npages);
		}
		checked(t, p);
	}
	freePageAlloc(t, p);
	testEnv_free(t);
}

// ---- sums

static void testPackPallocSum(void **state) {
	(void)state;
	onlyWide("counts in a sum have 21 bits there, 18 here");
	const gomem_layout *const L = layoutOf();
	rng r = {6};
	for (unsigned i = 0; i < 10000; i++) {
		const unsigned start = rngBelow(&r, 1 << 21), max = rngBelow(&r, 1 << 21), end = rngBelow(&r, 1 << 21);
		const pallocSum s = packPallocSum(L, start, max, end);
		assert_int_equal(pallocSum_start(L, s), start);
		assert_int_equal(pallocSum_max(L, s), max);
		assert_int_equal(pallocSum_end(L, s), end);
	}
	const pallocSum full = packPallocSum(L, 1 << 21, 1 << 21, 1 << 21);
	assert_int_equal(full, (uint64_t)1 << 63);
	assert_int_equal(pallocSum_start(L, full), 1 << 21);
	assert_int_equal(pallocSum_max(L, full), 1 << 21);
	assert_int_equal(pallocSum_end(L, full), 1 << 21);
	assert_int_equal(packPallocSum(L, P, P, P), (uint64_t)P | (uint64_t)P << 21 | (uint64_t)P << 42);
}

// The sum of eight chunks' sums against a walk over their bits, and of eight sums of chunks against that of all 64.
static void testMergeSummaries(void **state) {
	(void)state;
	onlyWide("counts in a sum have 21 bits there, 18 here");
	const gomem_layout *const L = layoutOf();
	rng r = {7};
	for (unsigned i = 0; i < 3000; i++) {
		pallocSum leaf[64], inner[8];
		unsigned start = ~0u, max = 0, run = 0;
		for (unsigned c = 0; c < 64; c++) {
			pallocBits b = {0};
			const unsigned kind = rngBelow(&r, 4);
			for (unsigned n = kind == 0 ? 0 : rngBelow(&r, 3); n > 0; n--) {
				const unsigned at = rngBelow(&r, P);
				pallocBits_allocRange(&b, at, 1 + rngBelow(&r, P - at));
			}
			leaf[c] = pallocBits_summarize(L, &b);
			for (unsigned j = 0; j < P; j++) {
				const bool used = pageBits_get(&b.b, j) != 0;
				start = used && start == ~0u ? c * P + j : start;
				run = used ? 0 : run + 1;
				max = run > max ? run : max;
			}
		}
		for (unsigned c = 0; c < 8; c++) {
			inner[c] = mergeSummaries(L, &leaf[c * 8], 8, logPallocChunkPages);
		}
		const pallocSum all = mergeSummaries(L, inner, 8, logPallocChunkPages + 3);
		assert_int_equal(pallocSum_start(L, all), start == ~0u ? 64 * P : start);
		assert_int_equal(pallocSum_max(L, all), max);
		assert_int_equal(pallocSum_end(L, all), run);
	}
	pallocSum whole[8];
	for (unsigned c = 0; c < 8; c++) {
		whole[c] = packPallocSum(L, 1 << 18, 1 << 18, 1 << 18);
	}
	assert_int_equal(mergeSummaries(L, whole, 8, 18), (uint64_t)1 << 63);
}

// ---- a random run against a flat bitmap

enum { modelChunks = 40, modelPages = modelChunks * P, maxLive = 4000 };

typedef struct model {
	uint8_t used[modelPages]; // 1: in use, or not heap
	uint8_t scav[modelPages];
	uint8_t heap[modelChunks];
	struct {
		unsigned page, n;
	} live[maxLive];
	unsigned nlive;
} model;

static int64_t model_find(const model *m, unsigned n) {
	unsigned run = 0;
	for (unsigned i = 0; i < modelPages; i++) {
		run = m->used[i] ? 0 : run + 1;
		if (run == n) {
			return (int64_t)i + 1 - n;
		}
	}
	return noPage;
}

static unsigned model_take(model *m, unsigned page, unsigned n) {
	unsigned scav = 0;
	for (unsigned i = page; i < page + n; i++) {
		assert_false(m->used[i]);
		scav += m->scav[i];
		m->used[i] = 1;
		m->scav[i] = 0;
	}
	return scav;
}

static void model_grow(model *m, unsigned chunk, unsigned n) {
	memset(&m->heap[chunk], 1, n);
	memset(&m->used[chunk * P], 0, (size_t)n * P);
	memset(&m->scav[chunk * P], 1, (size_t)n * P);
}

static void model_assertEqual(const model *m, pageAlloc *p) {
	const gomem_layout *const L = layoutOf();
	for (unsigned c = 0; c < modelChunks; c++) {
		if (!m->heap[c]) {
			continue;
		}
		const pallocData *const d = pageAlloc_chunkOf(L, p, BaseChunkIdx + c);
		for (unsigned i = 0; i < P; i++) {
			assert_int_equal(pageBits_get(&d->pallocBits.b, i), m->used[c * P + i]);
			assert_int_equal(pageBits_get(&d->scavenged, i), m->scav[c * P + i]);
		}
	}
}

static unsigned randomSize(rng *r) {
	switch (rngBelow(r, 8)) {
	case 0:
	case 1:
	case 2:
		return 1 + rngBelow(r, 4);
	case 3:
	case 4:
		return 1 + rngBelow(r, 64);
	case 5:
	case 6:
		return 1 + rngBelow(r, 600);
	default:
		return 1 + rngBelow(r, 3 * P);
	}
}

static void randomAlloc(testEnv *t, pageAlloc *p, model *m, rng *r) {
	const unsigned n = randomSize(r);
	const int64_t want = model_find(m, n);
	uintptr_t scav;
	assert_int_equal(allocPages(t, p, n, &scav), pageAddr(want));
	if (want == noPage) {
		return;
	}
	assert_int_equal(scav, model_take(m, (unsigned)want, n) * pageSize);
	if (m->nlive < maxLive) {
		m->live[m->nlive].page = (unsigned)want;
		m->live[m->nlive++].n = n;
	}
}

static void randomFree(testEnv *t, pageAlloc *p, model *m, rng *r) {
	if (m->nlive == 0) {
		return;
	}
	const unsigned i = rngBelow(r, m->nlive);
	freePages(t, p, pageAddr(m->live[i].page), m->live[i].n);
	memset(&m->used[m->live[i].page], 0, m->live[i].n);
	m->live[i] = m->live[--m->nlive];
}

static void modelGrow(testEnv *t, pageAlloc *p, model *m, unsigned chunk, unsigned n) {
	lockHeap(t);
	assert_true(pageAlloc_grow(&t->env, p, pageAddr((int64_t)chunk * P), (uintptr_t)n * chunkBytes));
	unlockHeap(t);
	model_grow(m, chunk, n);
}

static void testRandom(void **state) {
	(void)state;
	static const struct {
		unsigned chunk, n;
	} growths[] = {{9, 1}, {10, 4}, {0, 3}, {30, 10}, {3, 2}, {20, 8}, {17, 3}};
	for (uint64_t seed = 1; seed <= 6; seed++) {
		rng r = {seed};
		testEnv *const t = testEnv_new(&smallPages);
		model *const m = calloc(1, sizeof *m);
		assert_non_null(m);
		memset(m->used, 1, sizeof m->used);
		const heapBits none = {0};
		pageAlloc *const p = newPageAlloc(t, &none, NULL, false);
		for (unsigned i = 0; i < 7000; i++) {
			if (i % 1000 == 0) {
				modelGrow(t, p, m, growths[i / 1000].chunk, growths[i / 1000].n);
			}
			// Fill and empty by turns, so that both a full and an almost empty heap are seen.
			if (rngBelow(&r, 10) < (i / 400 % 2 == 0 ? 7u : 3u)) {
				randomAlloc(t, p, m, &r);
			} else {
				randomFree(t, p, m, &r);
			}
			if (i % 50 == 0) {
				checked(t, p);
				model_assertEqual(m, p);
			}
		}
		while (m->nlive > 0) {
			randomFree(t, p, m, &r);
		}
		checked(t, p);
		freePageAlloc(t, p);
		free(m);
		testEnv_free(t);
	}
}

// ---- padding pages

static void testRandomPadding(void **state) {
	(void)state;
	testEnv *const t = testEnv_new(&smallPages);
	const heapBits none = {0};
	pageAlloc *const p = newPageAlloc(t, &none, NULL, false);
	lockHeap(t);
	assert_true(pageAlloc_grow(&t->env, p, pageAddr(0), 4 * (uintptr_t)chunkBytes));
	pageBits_clearRange(&pageAlloc_chunkOf(layoutOf(), p, BaseChunkIdx)->scavenged, 0, P);
	pageAlloc_markRandomPaddingPages(&t->env, p, pageAddr(3), 2 * P);
	pageBits_setRange(&pageAlloc_chunkOf(layoutOf(), p, BaseChunkIdx)->scavenged, 0, 3);
	unlockHeap(t);
	checked(t, p);
	uintptr_t scav;
	assert_int_equal(allocPages(t, p, 4, &scav), pageAddr(2 * P + 3));
	assert_int_equal(scav, 4 * pageSize);
	assert_int_equal(allocPages(t, p, 3, &scav), pageAddr(0));
	const gomem_layout *const L = layoutOf();
	for (unsigned i = 0; i < 2 * P; i++) {
		const pallocData *const d = pageAlloc_chunkOf(L, p, BaseChunkIdx + (3 + i) / P);
		assert_int_equal(pageBits_get(&d->scavenged, (3 + i) % P), 1);
		assert_int_equal(pageBits_get(&d->pallocBits.b, (3 + i) % P), 1);
	}
	checked(t, p);
	freePageAlloc(t, p);
	testEnv_free(t);
}

// ---- memory

static bool growSome(testEnv *t, pageAlloc *p) {
	static const int64_t chunks[] = {5, 6, 0, bigJump, bigJump - 600, 40000};
	for (unsigned i = 0; i < sizeof chunks / sizeof chunks[0]; i++) {
		const uintptr_t base = pageAddr(chunks[i] * P);
		uintptr_t found;
		if (addrRanges_findAddrGreaterEqual(&t->env, &p->inUse, base, &found) && found == base) {
			continue;
		}
		lockHeap(t);
		const intptr_t ranges = p->inUse.len;
		const bool ok = pageAlloc_grow(&t->env, p, base, chunkBytes);
		if (!ok) {
			assert_int_equal(p->inUse.len, ranges);
		}
		pageAlloc_check(&t->env, p);
		unlockHeap(t);
		if (!ok) {
			return false;
		}
	}
	return true;
}

// Every call to the system fails once. What failed can be tried again, and all memory goes back in the end.
static void testOutOfMemory(void **state) {
	(void)state;
	bool failed = true;
	unsigned failures = 0;
	for (uint64_t n = 1; failed; n++) {
		testEnv *const t = testEnv_new(&(memSimConfig){.physPageSize = 4096, .failNth = n});
		pageAlloc *p = calloc(1, sizeof *p);
		assert_non_null(p);
		failed = false;
		if (!pageAlloc_init(&t->env, p, &t->heapLock, &t->sysStat, true)) {
			failed = true;
			memset(p, 0, sizeof *p);
			assert_true(pageAlloc_init(&t->env, p, &t->heapLock, &t->sysStat, true));
		}
		if (!growSome(t, p)) {
			failed = true;
			assert_true(growSome(t, p));
		}
		failures += failed;
		uintptr_t scav;
		for (unsigned i = 0; i < 6 * P; i++) {
			assert_true(allocPages(t, p, 1, &scav) != 0);
		}
		assert_int_equal(allocPages(t, p, 1, &scav), 0);
		checked(t, p);
		// Reserved metadata and the array of ranges, which is of persistent memory, are not counted as mapped.
		assert_true(sysMemStat_load(&t->sysStat) >= p->summaryMappedReady);
		freePageAlloc(t, p);
		persistentalloc_destroy(&t->env);
		assert_int_equal(atomic_load(&t->stats.mappedReady), 0);
		for (unsigned s = MEM_RESERVED; s <= MEM_READY; s++) {
			assert_int_equal(mem_sim_bytes(t->env.os, MEM_META, (memState)s), 0);
		}
		testEnv_free(t);
	}
	assert_true(failures > 20);
}

static void testAccounting(void **state) {
	(void)state;
	onlyWide("the tree has a level more there");
	static const uintptr_t physPages[] = {4096, 16384, 65536};
	for (unsigned i = 0; i < 3; i++) {
		testEnv *const t = testEnv_new(&(memSimConfig){.physPageSize = physPages[i]});
		pageAlloc *const p = calloc(1, sizeof *p);
		assert_non_null(p);
		assert_true(pageAlloc_init(&t->env, p, &t->heapLock, &t->sysStat, true));
		const uint64_t before = mem_sim_bytes(t->env.os, MEM_META, MEM_READY);
		const uint64_t stat = sysMemStat_load(&t->sysStat);
		assert_int_equal(p->summaryMappedReady, 0);
		assert_true(growSome(t, p));
		uint64_t tables = 0;
		for (unsigned l1 = 0; l1 < pallocChunksL1Len; l1++) {
			tables += p->chunks[l1] != NULL;
		}
		assert_int_equal(tables, 4);
		const uint64_t tableBytes = tables * sizeof(pallocData) << layoutOf()->pallocChunksL2Bits;
		assert_int_equal(mem_sim_bytes(t->env.os, MEM_META, MEM_READY) - before, p->summaryMappedReady + tableBytes);
		assert_int_equal(sysMemStat_load(&t->sysStat) - stat, p->summaryMappedReady + tableBytes);
		assert_int_equal(atomic_load(&t->stats.mappedReady), mem_sim_bytes(t->env.os, MEM_META, MEM_READY));
		freePageAlloc(t, p);
		assert_int_equal(sysMemStat_load(&t->sysStat), stat);
		testEnv_free(t);
	}
}

static void testEnableChunkHugePages(void **state) {
	(void)state;
	testEnv *const t = testEnv_new(&(memSimConfig){.physPageSize = 4096, .physHugePageSize = 2 << 20});
	const heapBits init = {3, {{0, {{0, 0}}}, {7, {{0, 0}}}, {bigJump, {{0, 0}}}}};
	pageAlloc *const p = newPageAlloc(t, &init, NULL, false);
	pageAlloc_enableChunkHugePages(&t->env, p);
	assert_true(p->chunkHugePages);
	assert_int_equal(atomic_load(&t->heapLock.key), 0);
	const uintptr_t used = t->env.globalAlloc.off;
	pageAlloc_enableChunkHugePages(&t->env, p);
	assert_int_equal(t->env.globalAlloc.off, used);
	checked(t, p);
	freePageAlloc(t, p);
	testEnv_free(t);
}

// ---- faults that must be noticed

typedef struct faultCase {
	const char *name;
	void (*spoil)(testEnv *t, pageAlloc *p);
} faultCase;

static void spoilLeaf(testEnv *t, pageAlloc *p) {
	(void)t;
	p->summary[4].p[BaseChunkIdx] ^= 1;
}
static void spoilInner(testEnv *t, pageAlloc *p) {
	(void)t;
	p->summary[2].p[BaseChunkIdx >> 6] ^= 1;
}
static void spoilRoot(testEnv *t, pageAlloc *p) {
	(void)t;
	p->summary[0].p[BaseChunkIdx >> 12] ^= 1;
}
static void spoilSearchAddr(testEnv *t, pageAlloc *p) {
	(void)t;
	p->searchAddr.a += pageSize;
}
static void spoilSearchAddrOutside(testEnv *t, pageAlloc *p) {
	(void)t;
	p->searchAddr.a = pageAddr(2 * P);
}
static void spoilIndex(testEnv *t, pageAlloc *p) { scavengeIndex_alloc(&t->env, &p->scav.index, BaseChunkIdx, 1); }
static void spoilScavenged(testEnv *t, pageAlloc *p) {
	(void)t;
	pageBits_set(&pageAlloc_chunkOf(layoutOf(), p, BaseChunkIdx)->scavenged, 3);
	pageBits_set(&pageAlloc_chunkOf(layoutOf(), p, BaseChunkIdx)->scavenged, 5);
}
static void spoilMapped(testEnv *t, pageAlloc *p) {
	(void)t;
	p->summaryMappedReady += 4096;
}
static void spoilEnd(testEnv *t, pageAlloc *p) {
	(void)t;
	p->end++;
}
static void doubleFree(testEnv *t, pageAlloc *p) {
	for (unsigned i = 0; i < 2; i++) {
		pageAlloc_free(&t->env, p, pageAddr(0), 10);
	}
}
static const faultCase faultCases[] = {
	{"Leaf", spoilLeaf},
	{"Inner", spoilInner},
	{"Root", spoilRoot},
	{"SearchAddr", spoilSearchAddr},
	{"SearchAddrOutside", spoilSearchAddrOutside},
	{"Index", spoilIndex},
	{"Scavenged", spoilScavenged},
	{"Mapped", spoilMapped},
	{"End", spoilEnd},
	{"DoubleFree", doubleFree},
};

static void testFault(void **state) {
	onlyWide("the tree has a level more there");
	const faultCase *const c = *state;
	testEnv *const t = testEnv_new(&smallPages);
	const heapBits init = {2, {{0, {{0, 10}}}, {1, {{5, 1}}}}};
	pageAlloc *const p = newPageAlloc(t, &init, NULL, false);
	uintptr_t scav;
	assert_int_equal(allocPages(t, p, 1, &scav), pageAddr(10));
	assert_int_equal(allocPages(t, p, 1, &scav), pageAddr(11));
	freePages(t, p, pageAddr(11), 1);
	checked(t, p);
	lockHeap(t);
	t->throwExpected = true;
	volatile bool thrown = true;
	if (setjmp(t->onThrow) == 0) {
		c->spoil(t, p);
		pageAlloc_check(&t->env, p);
		thrown = false;
	}
	assert_true(thrown);
	testEnv_free(t);
	free(p);
}

int main(void) {
	static cases c;
	ADD_CASES(&c, "TestPageAllocGrow", testGrow, growCases)
	ADD_CASES(&c, "TestPageAllocAlloc", testAlloc, allocCases)
	ADD_CASES(&c, "TestPageAllocExhaust", testExhaust, exhaustCases)
	ADD_CASES(&c, "TestPageAllocFree", testFree, freeCases)
	addCase(&c, "TestPageAllocAllocAndFree", "Chunks8", testAllocAndFree, NULL);
	addCase(&c, "PackPallocSum", NULL, testPackPallocSum, NULL);
	addCase(&c, "MergeSummaries", NULL, testMergeSummaries, NULL);
	addCase(&c, "Random", NULL, testRandom, NULL);
	addCase(&c, "RandomPadding", NULL, testRandomPadding, NULL);
	addCase(&c, "OutOfMemory", NULL, testOutOfMemory, NULL);
	addCase(&c, "Accounting", NULL, testAccounting, NULL);
	addCase(&c, "EnableChunkHugePages", NULL, testEnableChunkHugePages, NULL);
	ADD_CASES(&c, "Fault", testFault, faultCases)
	return runCases("mpagealloc", &c);
}
