// test_mpagecache.c: the page cache of a P: Go's own cases (mpagecache_test.go), and a random run against plain sets.
#include "pages.h"

enum { sumsPerPhysPage = 4096 / 8 };

#define ALL (~(uint64_t)0)
#define LOW(n) (((uint64_t)1 << (n)) - 1)

static const memSimConfig smallPages = {.physPageSize = 4096};

// ---- TestPageCacheAlloc

typedef struct cacheAllocCase {
	const char *name;
	uint64_t cache, scav;
	struct {
		unsigned npages;
		int page;
		unsigned scav; // pages
	} hits[24];
} cacheAllocCase;

static const cacheAllocCase cacheAllocCases[] = {
	{"Empty", 0, 0,
		{{1, noPage, 0}, {2, noPage, 0}, {3, noPage, 0}, {4, noPage, 0}, {5, noPage, 0}, {11, noPage, 0},
			{12, noPage, 0}, {16, noPage, 0}, {27, noPage, 0}, {32, noPage, 0}, {43, noPage, 0}, {57, noPage, 0},
			{64, noPage, 0}, {121, noPage, 0}}},
	{"Lo1", 0x1, 0x1, {{1, 0, 1}, {1, noPage, 0}, {10, noPage, 0}}},
	{"Hi1", (uint64_t)1 << 63, 0x1, {{1, 63, 0}, {1, noPage, 0}, {10, noPage, 0}}},
	{"Swiss1", 0x20005555, 0x5505,
		{{2, noPage, 0}, {1, 0, 1}, {1, 2, 1}, {1, 4, 0}, {1, 6, 0}, {1, 8, 1}, {1, 10, 1}, {1, 12, 1}, {1, 14, 1},
			{1, 29, 0}, {1, noPage, 0}, {10, noPage, 0}}},
	{"Lo2", 0x3, (uint64_t)2 << 62, {{2, 0, 0}, {2, noPage, 0}, {1, noPage, 0}}},
	{"Hi2", (uint64_t)3 << 62, (uint64_t)3 << 62, {{2, 62, 2}, {2, noPage, 0}, {1, noPage, 0}}},
	{"Swiss2", (uint64_t)0x3333 << 31, (uint64_t)0x3030 << 31,
		{{2, 31, 0}, {2, 35, 2}, {2, 39, 0}, {2, 43, 2}, {2, noPage, 0}}},
	{"Hi53", LOW(53) << 10, LOW(16) << 10, {{53, 10, 16}, {53, noPage, 0}, {1, noPage, 0}}},
	{"Full53", ALL, LOW(16) << 10, {{53, 0, 16}, {53, noPage, 0}, {1, 53, 0}}},
	{"Full64", ALL, ALL, {{64, 0, 64}, {64, noPage, 0}, {1, noPage, 0}}},
	{"FullMixed", ALL, ALL,
		{{5, 0, 5}, {7, 5, 7}, {1, 12, 1}, {23, 13, 23}, {63, noPage, 0}, {3, 36, 3}, {3, 39, 3}, {3, 42, 3},
			{12, 45, 12}, {11, noPage, 0}, {4, 57, 4}, {4, noPage, 0}, {6, noPage, 0}, {36, noPage, 0}, {2, 61, 2},
			{3, noPage, 0}, {1, 63, 1}, {4, noPage, 0}, {2, noPage, 0}, {62, noPage, 0}, {1, noPage, 0}}},
};

static void testCacheAlloc(void **state) {
	const cacheAllocCase *const c = *state;
	pageCache cache = {.base = pageAddr(0), .cache = c->cache, .scav = c->scav};
	for (unsigned i = 0; i < 24 && c->hits[i].npages != 0; i++) {
		uintptr_t scav;
		assert_int_equal(pageCache_alloc(layoutOf(), &cache, c->hits[i].npages, &scav), pageAddr(c->hits[i].page));
		assert_int_equal(scav, c->hits[i].scav * pageSize);
	}
}

// ---- TestPageCacheFlush

static unsigned bitsToRanges(uint64_t bits, unsigned base, bitRange *r) {
	unsigned n = 0;
	for (unsigned i = 0; i < 64; i++) {
		if ((bits >> i & 1) == 0) {
			continue;
		}
		if (i == 0 || (bits >> (i - 1) & 1) == 0) {
			r[n++] = (bitRange){base + i, 0};
		}
		r[n - 1].n++;
	}
	return n;
}

static void flushOne(unsigned base, uint64_t cache, uint64_t scav) {
	testEnv *const t = testEnv_new(&smallPages);
	const heapBits before = {1, {{0, {{base, 64}}}}};
	const heapBits beforeScav = {1, {{0, {{0, 0}}}}};
	pageAlloc *const p = newPageAlloc(t, &before, &beforeScav, false);
	pageCache c = {.base = pageAddr(base), .cache = cache, .scav = scav};
	lockHeap(t);
	pageCache_check(&t->env, &c, p);
	pageCache_flush(&t->env, &c, p, 0);
	if (cache != 0) {
		assert_int_equal(c.base, 0);
		assert_int_equal(c.scav, 0);
	}
	assert_true(pageCache_empty(&c));
	pageAlloc_check(&t->env, p);
	unlockHeap(t);

	heapBits after = {1, {{0, {{0, 0}}}}}, afterScav = {1, {{0, {{0, 0}}}}};
	bitsToRanges(~cache, base, after.c[0].r);
	bitsToRanges(scav, base, afterScav.c[0].r);
	pageAlloc *const want = newPageAlloc(t, &after, &afterScav, false);
	assertPageAlloc(p, want);
	freePageAlloc(t, want);
	freePageAlloc(t, p);
	testEnv_free(t);
}

static void testCacheFlush(void **state) {
	(void)state;
	flushOne(0, 0, 0);
	flushOne(0, ALL, ALL);
	rng r = {8};
	for (unsigned i = 0; i < 100; i++) {
		const unsigned base = rngBelow(&r, P / 64) * 64;
		const uint64_t cache = rngNext(&r);
		flushOne(base, cache, rngNext(&r) & cache);
	}
}

// A flush tells the scavenge index as much as freeing its pages one by one, upwards, would.
static void testCacheFlushIndex(void **state) {
	(void)state;
	const gomem_layout *const L = layoutOf();
	rng r = {9};
	for (unsigned i = 0; i < 200; i++) {
		testEnv *const t = testEnv_new(&smallPages);
		const heapBits init = {1, {{0, {{0, P}}}}};
		pageAlloc *const a = newPageAlloc(t, &init, NULL, false), *const b = newPageAlloc(t, &init, NULL, false);
		const unsigned base = rngBelow(&r, P / 64) * 64;
		const unsigned before = rngBelow(&r, P);
		const uint64_t cache = rngNext(&r) | 1u << 7;
		lockHeap(t);
		for (unsigned k = 0; k < 2; k++) {
			pageAlloc *const p = k == 0 ? a : b;
			// As if the search had sunk to some page.
			bool marked;
			const uintptr_t at = atomicOffAddr_Load(L, &p->scav.index.searchAddrForce, &marked);
			atomicOffAddr_StoreUnmark(L, &p->scav.index.searchAddrForce, at, pageAddr(before));
			p->scav.index.freeHWM.a = pageAddr(before);
			scavengeIndex_nextGen(&t->env, &p->scav.index);
		}
		pageCache c = {.base = pageAddr(base), .cache = cache};
		pageCache_flush(&t->env, &c, a, 0);
		for (unsigned j = 0; j < 64; j++) {
			if ((cache >> j & 1) != 0) {
				pageAlloc_free(&t->env, b, pageAddr(base + j), 1);
			}
		}
		unlockHeap(t);
		assert_int_equal(
			atomic_load(&a->scav.index.chunks[BaseChunkIdx]), atomic_load(&b->scav.index.chunks[BaseChunkIdx]));
		assert_int_equal(atomic_load(&a->scav.index.searchAddrForce.a), atomic_load(&b->scav.index.searchAddrForce.a));
		assert_int_equal(atomic_load(&a->scav.index.searchAddrBg.a), atomic_load(&b->scav.index.searchAddrBg.a));
		assert_int_equal(a->scav.index.freeHWM.a, b->scav.index.freeHWM.a);
		assertPageAlloc(a, b);
		freePageAlloc(t, a);
		freePageAlloc(t, b);
		testEnv_free(t);
	}
}

// ---- TestPageAllocAllocToCache

typedef struct toCacheCase {
	const char *name;
	heapBits beforeAlloc, beforeScav, afterAlloc, afterScav;
	unsigned nhits;
	struct {
		int64_t page;
		uint64_t cache, scav;
	} hits[4];
} toCacheCase;

static const toCacheCase toCacheCases[] = {
	{"ManyArena", {3, {{0, {{0, P}}}, {1, {{0, P}}}, {2, {{0, P - 64}}}}},
		{3, {{0, {{0, P}}}, {1, {{0, P}}}, {2, {{0, 0}}}}}, {3, {{0, {{0, P}}}, {1, {{0, P}}}, {2, {{0, P}}}}},
		{0, {{0, {{0, 0}}}}}, 1, {{2 * P + P - 64, ALL, 0}}},
	{"Fail", {1, {{0, {{0, P}}}}}, {0, {{0, {{0, 0}}}}}, {1, {{0, {{0, P}}}}}, {0, {{0, {{0, 0}}}}}, 3,
		{{noPage, 0, 0}, {noPage, 0, 0}, {noPage, 0, 0}}},
	{"RetainScavBits", {1, {{0, {{0, 1}, {10, 2}}}}}, {1, {{0, {{0, 4}, {11, 1}}}}}, {1, {{0, {{0, 64}}}}},
		{1, {{0, {{0, 1}, {11, 1}}}}}, 1, {{0, ~(uint64_t)(0x1 | 0x3 << 10), 0x7 << 1}}},
	{"AllFree", {1, {{0, {{0, 0}}}}}, {1, {{0, {{1, 1}, {64, 64}}}}}, {1, {{0, {{0, 256}}}}}, {0, {{0, {{0, 0}}}}}, 4,
		{{0, ALL, 0x2}, {64, ALL, ALL}, {128, ALL, 0}, {192, ALL, 0}}},
	{"NotContiguous", {2, {{0, {{0, P}}}, {0xff, {{0, 0}}}}}, {2, {{0, {{0, P}}}, {0xff, {{31, 67}}}}},
		{2, {{0, {{0, P}}}, {0xff, {{0, 64}}}}}, {2, {{0, {{0, P}}}, {0xff, {{64, 34}}}}}, 1,
		{{0xff * P, ALL, LOW(33) << 31}}},
	{"First", {1, {{0, {{0, 32}, {33, 31}, {96, 32}}}}}, {1, {{0, {{1, 4}, {31, 5}, {66, 2}}}}}, {1, {{0, {{0, 128}}}}},
		{0, {{0, {{0, 0}}}}}, 2, {{0, (uint64_t)1 << 32, (uint64_t)1 << 32}, {64, LOW(32), 0x3 << 2}}},
	{"DiscontiguousMappedSumBoundary", {2, {{sumsPerPhysPage - 1, {{0, P - 1}}}, {bigJump, {{1, P - 1}}}}},
		{2, {{sumsPerPhysPage - 1, {{0, 0}}}, {bigJump, {{0, 0}}}}},
		{2, {{sumsPerPhysPage - 1, {{0, P}}}, {bigJump, {{0, P}}}}}, {0, {{0, {{0, 0}}}}}, 3,
		{{(sumsPerPhysPage - 1) * P + P - 64, (uint64_t)1 << 63, 0}, {(int64_t)bigJump * P, 1, 0}, {noPage, 0, 0}}},
};

static void testAllocToCache(void **state) {
	const toCacheCase *const c = *state;
	testEnv *const t = testEnv_new(&smallPages);
	pageAlloc *const p = newPageAlloc(t, &c->beforeAlloc, &c->beforeScav, false);
	for (unsigned i = 0; i < c->nhits; i++) {
		lockHeap(t);
		const pageCache got = pageAlloc_allocToCache(&t->env, p);
		pageCache_check(&t->env, &got, p);
		pageAlloc_check(&t->env, p);
		unlockHeap(t);
		assert_int_equal(got.base, pageAddr(c->hits[i].page));
		const uintptr_t last = got.base == 0 ? maxOffAddr(layoutOf()).a : got.base + 63 * pageSize;
		assert_int_equal(p->searchAddr.a, last);
		assert_int_equal(got.cache, c->hits[i].cache);
		assert_int_equal(got.scav, c->hits[i].scav);
	}
	pageAlloc *const want = newPageAlloc(t, &c->afterAlloc, &c->afterScav, false);
	assertPageAlloc(p, want);
	freePageAlloc(t, want);
	freePageAlloc(t, p);
	testEnv_free(t);
}

// ---- padding pages pass through a cache unchanged

static void testPaddingInCache(void **state) {
	(void)state;
	testEnv *const t = testEnv_new(&smallPages);
	const heapBits none = {0};
	pageAlloc *const p = newPageAlloc(t, &none, NULL, false);
	lockHeap(t);
	assert_true(pageAlloc_grow(&t->env, p, pageAddr(0), chunkBytes));
	pageAlloc_markRandomPaddingPages(&t->env, p, pageAddr(0), 5);
	const pallocData before = *pageAlloc_chunkOf(layoutOf(), p, BaseChunkIdx);
	pageCache c = pageAlloc_allocToCache(&t->env, p);
	assert_int_equal(c.cache, ALL << 5);
	assert_int_equal(c.scav, ALL);
	assert_int_equal(pageBits_block64(&pageAlloc_chunkOf(layoutOf(), p, BaseChunkIdx)->scavenged, 0), 0x1f);
	uintptr_t scav;
	assert_int_equal(pageCache_alloc(layoutOf(), &c, 1, &scav), pageAddr(5));
	assert_int_equal(scav, pageSize);
	pageCache_flush(&t->env, &c, p, 0);
	pageAlloc_free(&t->env, p, pageAddr(5), 1);
	pageBits_set(&pageAlloc_chunkOf(layoutOf(), p, BaseChunkIdx)->scavenged, 5);
	assert_memory_equal(pageAlloc_chunkOf(layoutOf(), p, BaseChunkIdx), &before, sizeof before);
	pageAlloc_check(&t->env, p);
	unlockHeap(t);
	freePageAlloc(t, p);
	testEnv_free(t);
}

// ---- what contradicts itself throws

#ifdef GOMEM_CHECKED
static const bool isChecked = true; // then a lock that nobody holds is noticed
#else
static const bool isChecked = false;
#endif

static bool throwsFromCache(testEnv *t, pageAlloc *p) {
	volatile bool thrown = true;
	t->throwExpected = true;
	if (setjmp(t->onThrow) == 0) {
		pageAlloc_allocToCache(&t->env, p);
		thrown = false;
	}
	t->throwExpected = false;
	return thrown;
}

static void testContradictions(void **state) {
	(void)state;
	testEnv *const t = testEnv_new(&smallPages);
	const heapBits none = {0};
	pageAlloc *const p = newPageAlloc(t, &none, NULL, false);
	assert_int_equal(throwsFromCache(t, p), isChecked); // without the lock, also where nothing can be had
	lockHeap(t);
	assert_true(pageAlloc_grow(&t->env, p, pageAddr(0), chunkBytes));
	// The summary says that a page is free, the bits say that none is.
	pageBits *const b = &pageAlloc_chunkOf(layoutOf(), p, BaseChunkIdx)->pallocBits.b;
	const pageBits before = *b;
	pageBits_setAll(b);
	assert_true(throwsFromCache(t, p));
	*b = before;
	unlockHeap(t);
	assert_int_equal(throwsFromCache(t, p), isChecked); // without the lock
	freePageAlloc(t, p);
	testEnv_free(t);
}

// ---- a random run against plain sets

enum { modelChunks = 3, modelPages = modelChunks * P, ncaches = 3 };

typedef struct model {
	bool used[modelPages];
	bool cached[ncaches][modelPages];
	bool byUser[modelPages];
} model;

static int model_find(const bool *isFree, unsigned n) {
	unsigned run = 0;
	for (unsigned i = 0; i < modelPages; i++) {
		run = isFree[i] ? run + 1 : 0;
		if (run == n) {
			return (int)(i + 1 - n);
		}
	}
	return noPage;
}

static int model_firstUnused(const model *m) {
	for (int i = 0; i < modelPages; i++) {
		if (!m->used[i]) {
			return i;
		}
	}
	return noPage;
}

static void refill(testEnv *t, pageAlloc *p, model *m, pageCache *c, bool *cached) {
	const int first = model_firstUnused(m);
	*c = pageAlloc_allocToCache(&t->env, p);
	assert_int_equal(c->base, first == noPage ? 0 : pageAddr(first / 64 * 64));
	for (int i = first / 64 * 64; first != noPage && i < first / 64 * 64 + 64; i++) {
		assert_int_equal(c->cache >> (i % 64) & 1, !m->used[i]);
		cached[i] = !m->used[i];
		m->used[i] = true;
	}
}

static void testRandom(void **state) {
	(void)state;
	for (uint64_t seed = 1; seed <= 4; seed++) {
		rng r = {seed};
		testEnv *const t = testEnv_new(&smallPages);
		const heapBits init = {3, {{0, {{0, 0}}}, {1, {{0, 0}}}, {2, {{0, 0}}}}};
		pageAlloc *const p = newPageAlloc(t, &init, NULL, false);
		model *const m = calloc(1, sizeof *m);
		assert_non_null(m);
		pageCache caches[ncaches] = {{0}};
		lockHeap(t);
		for (unsigned step = 0; step < 20000; step++) {
			const unsigned k = rngBelow(&r, ncaches);
			pageCache *const c = &caches[k];
			const unsigned op = rngBelow(&r, 20);
			if (op < (step / 2000 % 2 == 0 ? 10u : 6u)) {
				if (pageCache_empty(c)) {
					refill(t, p, m, c, m->cached[k]);
				}
				const unsigned n = 1 + rngBelow(&r, 16);
				const int want = model_find(m->cached[k], n);
				uintptr_t scav;
				assert_int_equal(pageCache_alloc(layoutOf(), c, n, &scav), pageAddr(want));
				for (int i = want; want != noPage && i < want + (int)n; i++) {
					m->cached[k][i] = false;
					m->byUser[i] = true;
				}
			} else if (op < 19) {
				for (unsigned i = rngBelow(&r, modelPages), end = i + 16; i < modelPages && i < end; i++) {
					if (m->byUser[i]) {
						pageAlloc_free(&t->env, p, pageAddr(i), 1);
						m->byUser[i] = m->used[i] = false;
					}
				}
			} else {
				pageCache_flush(&t->env, c, p, (int)k);
				for (unsigned i = 0; i < modelPages; i++) {
					m->used[i] &= !m->cached[k][i];
					m->cached[k][i] = false;
				}
			}
			if (step % 100 == 0) {
				pageAlloc_check(&t->env, p);
				for (unsigned i = 0; i < ncaches; i++) {
					pageCache_check(&t->env, &caches[i], p);
				}
			}
		}
		unlockHeap(t);
		free(m);
		freePageAlloc(t, p);
		testEnv_free(t);
	}
}

// ---- faults that must be noticed

static void testFault(void **state) {
	(void)state;
	testEnv *const t = testEnv_new(&smallPages);
	const heapBits init = {1, {{0, {{0, 3}}}}};
	pageAlloc *const p = newPageAlloc(t, &init, NULL, false);
	lockHeap(t);
	const pageCache good = pageAlloc_allocToCache(&t->env, p);
	pageCache_check(&t->env, &good, p);
	const pageCache bad[] = {
		{good.base + pageSize, good.cache, good.scav},
		{good.base + 64 * pageSize, 1, 0},
	};
	for (unsigned i = 0; i < 2; i++) {
		t->throwExpected = true;
		volatile bool thrown = true;
		if (setjmp(t->onThrow) == 0) {
			pageCache_check(&t->env, &bad[i], p);
			thrown = false;
		}
		assert_true(thrown);
	}
	unlockHeap(t);
	t->throwExpected = false;
	freePageAlloc(t, p);
	testEnv_free(t);
}

int main(void) {
	static cases c;
	ADD_CASES(&c, "TestPageCacheAlloc", testCacheAlloc, cacheAllocCases)
	addCase(&c, "TestPageCacheFlush", NULL, testCacheFlush, NULL);
	addCase(&c, "PageCacheFlushIndex", NULL, testCacheFlushIndex, NULL);
	ADD_CASES(&c, "TestPageAllocAllocToCache", testAllocToCache, toCacheCases)
	addCase(&c, "PaddingInCache", NULL, testPaddingInCache, NULL);
	addCase(&c, "Contradictions", NULL, testContradictions, NULL);
	addCase(&c, "Random", NULL, testRandom, NULL);
	addCase(&c, "Fault", NULL, testFault, NULL);
	return runCases("mpagecache", &c);
}
