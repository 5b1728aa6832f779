// test_mcache.c: refill, flushing, large spans and what is counted on the way.
#include "heaptest.h"

enum { pageBytes = 8192 };

static const spanClass spc48 = 5 << 1 | 1;    // 48 bytes, noscan: 167 or 168 slots
static const spanClass spc1024 = 32 << 1 | 1; // 8 slots

static uintptr_t alloc(heapFix *f, uintptr_t size) {
	unsigned path;
	return mallocgc(f->h, f->p, size, NULL, false, &path);
}

static uint64_t smallAllocs(heapFix *f, int sizeclass) {
	return f->p->stats.smallAllocCount[sizeclass] + f->h->stats.heapStats.smallAllocCount[sizeclass];
}

static void test_fresh(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	mcache *c = f.p->mcache;
	for (int i = 0; i < numSpanClasses; i++) {
		assert_ptr_equal(c->alloc[i], &f.h->emptymspan);
	}
	assert_int_equal(c->nextSample, INT64_MAX);
	assert_int_equal(c->flushGen, f.h->sweepgen);
	assert_null(f.h->mcache0); // P 0 has it
	heapFix_checked(&f);
	heapFix_done(&f);
}

static void refill1024(void *arg) {
	heapFix *f = arg;
	mcache_refill(f->h, f->p, f->p->mcache, spc1024);
}

static void test_refill(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	mcache *c = f.p->mcache;
	c->scanAlloc = 100;
	const uint64_t scan = f.h->stats.heapScan;
	const uint64_t live = f.h->stats.heapLive;
	assert_true(mcache_refill(f.h, f.p, c, spc1024));
	mspan *s = c->alloc[spc1024];
	assert_int_equal(s->nelems, 8);
	assert_int_equal(s->sweepgen, f.h->sweepgen + 3);
	assert_int_equal(s->allocCount, 0);
	assert_int_equal(f.h->stats.heapLive - live, pageBytes); // a cached span counts as full
	assert_int_equal(f.h->stats.heapScan - scan, 100);
	assert_int_equal(c->scanAlloc, 0);

	assert_true(heapFix_throws(&f, refill1024, &f));
	assert_string_equal(f.msg, "refill of span with free space remaining");

	for (unsigned i = 0; i < 8; i++) {
		assert_int_equal(alloc(&f, 1024), mspan_base(s) + i * 1024);
	}
	assert_ptr_equal(c->alloc[spc1024], s);
	assert_int_equal(smallAllocs(&f, 32), 0); // counted when the span leaves
	assert_int_equal(f.h->stats.totalAlloc, 0);
	alloc(&f, 1024);
	assert_ptr_not_equal(c->alloc[spc1024], s);
	assert_int_equal(smallAllocs(&f, 32), 8);
	assert_int_equal(f.h->stats.totalAlloc, pageBytes);
	assert_int_equal(s->sweepgen, f.h->sweepgen);
	assert_int_equal(s->allocCountBeforeCache, 0);
	assert_int_equal(spanSet_len(mcentral_fullSwept(&f.h->central[spc1024].mcentral, f.h->sweepgen)), 1);

	s->sweepgen = f.h->sweepgen; // as if it were not cached
	mspan *cached = c->alloc[spc1024];
	cached->allocCount = cached->nelems;
	cached->sweepgen = f.h->sweepgen;
	assert_true(heapFix_throws(&f, refill1024, &f));
	assert_string_equal(f.msg, "bad sweepgen in refill");
	heapFix_done(&f);
}

// The tiny class counts the requests that its blocks served when its span is replaced.
static void test_refillTiny(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	for (int i = 0; i < 504 * 4; i++) {
		alloc(&f, 4);
	}
	assert_int_equal(f.p->mcache->tinyAllocs, 504 * 3);
	assert_int_equal(f.p->stats.tinyAllocCount, 0);
	alloc(&f, 4);
	assert_int_equal(f.p->mcache->tinyAllocs, 0);
	assert_int_equal(f.p->stats.tinyAllocCount, 504 * 3);
	heapFix_done(&f);
}

static void test_releaseAll(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	mcache *c = f.p->mcache;
	alloc(&f, 1);
	alloc(&f, 1);
	uintptr_t x = alloc(&f, 48);
	mspan *s = c->alloc[spc48];
	c->scanAlloc = 5;
	const uint64_t scan = f.h->stats.heapScan;
	mcache_releaseAll(f.h, f.p, c);
	assert_int_equal(f.h->stats.heapScan - scan, 5);
	assert_ptr_equal(c->alloc[spc48], &f.h->emptymspan);
	assert_true(c->tiny == 0 && c->tinyoffset == 0 && c->tinyAllocs == 0 && c->scanAlloc == 0);
	assert_int_equal(f.p->stats.tinyAllocCount, 1);
	assert_int_equal(smallAllocs(&f, 5), 1);
	assert_int_equal(smallAllocs(&f, 2), 1);
	assert_int_equal(f.h->stats.totalAlloc, 48 + 16);
	// Of the two spans only what is in use is live, and the tail that no slot covers.
	const uintptr_t tails = 2 * pageBytes - s->nelems * 48u - 504 * 16;
	assert_int_equal(f.h->stats.heapLive, 48 + 16 + tails);
	assert_int_equal(spanSet_len(mcentral_partialSwept(&f.h->central[spc48].mcentral, f.h->sweepgen)), 1);
	heapFix_checked(&f);
	// The span comes back, and goes on behind the slot in use.
	assert_int_equal(alloc(&f, 48), x + 48);
	assert_ptr_equal(c->alloc[spc48], s);
	assert_int_equal(s->allocCountBeforeCache, 1);
	mcache_releaseAll(f.h, f.p, c);
	assert_int_equal(smallAllocs(&f, 5), 2);
	heapFix_done(&f);
}

static void prepare(void *arg) {
	heapFix *f = arg;
	mcache_prepareForSweep(f->h, f->p, f->p->mcache);
}

static void test_prepareForSweep(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	mcache *c = f.p->mcache;
	assert_false(mcache_prepareForSweep(f.h, f.p, c));
	uintptr_t keep = alloc(&f, 48);
	alloc(&f, 48);
	uintptr_t stk = stackalloc(f.h, f.p, 2048, false);
	stackfree(f.h, f.p, stk, 2048, false);
	assert_true(c->stackcache[0].list != 0);
	const uint64_t live = f.h->stats.heapLive;
	mspan_setMarked(f.h, spanOf(f.h, keep), 0);
	gomem_startsweep(f.h);
	assert_int_equal(c->alloc[spc48]->sweepgen, f.h->sweepgen + 1);
	heapFix_checked(&f);
	assert_true(mcache_prepareForSweep(f.h, f.p, c));
	assert_false(mcache_prepareForSweep(f.h, f.p, c));
	assert_int_equal(c->flushGen, f.h->sweepgen);
	assert_int_equal(f.h->stats.heapLive, live); // a span cached before the cycle began is not in the new count
	assert_ptr_equal(c->alloc[spc48], &f.h->emptymspan);
	assert_int_equal(c->stackcache[0].list, 0);
	assert_int_equal(c->stackcache[0].size, 0);
	// It was swept on the way: one object lives.
	mspan *s = spanOf(f.h, keep);
	assert_int_equal(s->sweepgen, f.h->sweepgen);
	assert_int_equal(s->allocCount, 1);
	heapFix_checked(&f);
	c->flushGen = f.h->sweepgen - 4;
	assert_true(heapFix_throws(&f, prepare, &f));
	assert_string_equal(f.msg, "bad flushGen");
	heapFix_done(&f);
}

static void test_allocLarge(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	mcache *c = f.p->mcache;
	const spanClass spc = makeSpanClass(0, true);
	mspan *s = mcache_allocLarge(f.h, f.p, c, 5 * pageBytes + 1, true);
	assert_int_equal(s->npages, 6);
	assert_int_equal(s->elemsize, 6 * pageBytes);
	assert_int_equal(s->limit, mspan_base(s) + 5 * pageBytes + 1);
	assert_int_equal(s->nelems, 1);
	assert_int_equal(f.p->stats.largeAlloc, 6 * pageBytes);
	assert_int_equal(f.p->stats.largeAllocCount, 1);
	assert_int_equal(f.h->stats.totalAlloc, 6 * pageBytes);
	assert_int_equal(f.h->stats.heapLive, 6 * pageBytes);
	assert_int_equal(spanSet_len(mcentral_fullSwept(&f.h->central[spc].mcentral, f.h->sweepgen)), 1);
	assert_null(mcache_allocLarge(f.h, f.p, c, ~(uintptr_t)0, true));
	assert_null(mcache_allocLarge(f.h, f.p, c, ~(uintptr_t)0 - pageBytes, true));
	assert_null(mcache_allocLarge(f.h, f.p, c, UINTPTR_MAX / 16 * 15, true));
	heapFix_done(&f);
}

static void test_allocmcache(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	assert_true(gomem_procresize(f.h, 2));
	gomem_p *p1 = gomem_heap_p(f.h, 1);
	mcache *c = p1->mcache;
	const uintptr_t inuse = f.h->cachealloc.inuse;
	unsigned path;
	assert_true(mallocgc(f.h, p1, 100, NULL, true, &path) != 0);
	assert_true(stackalloc(f.h, p1, 2048, false) != 0);
	assert_true(mallocgc(f.h, p1, 50000, NULL, true, &path) != 0);
	assert_false(pageCache_empty(&p1->pcache));
	heapFix_checked(&f);
	gomem_memstats before, after;
	gomem_readmemstats(f.h, &before);
	assert_true(gomem_procresize(f.h, 1));
	// What the P counted and held is not lost with it: its stack cache had one half of a span.
	gomem_readmemstats(f.h, &after);
	after.gc_misc_sys = before.gc_misc_sys; // sets of spans took memory for their slots
	after.other_sys = before.other_sys;
	assert_memory_equal(&after, &before, sizeof after);
	assert_true(pageCache_empty(&p1->pcache));
	assert_int_equal(p1->mspancache.len, 0);
	assert_null(gomem_heap_p(f.h, 1));
	assert_int_equal(f.h->cachealloc.inuse, inuse - sizeof(mcache));
	assert_int_equal(smallAllocs(&f, 9), 1); // counted by the P that ended the other
	heapFix_checked(&f);
	assert_true(gomem_procresize(f.h, 2));
	assert_ptr_equal(gomem_heap_p(f.h, 1)->mcache, c);
	assert_ptr_equal(c->alloc[spc48], &f.h->emptymspan);
	assert_int_equal(c->tiny, 0);
	heapFix_done(&f);
}

// Every call to the OS fails once: a refill that found no memory leaves the empty span and a heap that works.
static void test_refillOutOfMemory(void **state) {
	(void)state;
	for (uint64_t n = 1;; n++) {
		heapFix f = {0};
		f.os = mem_sim_new(&(memSimConfig){.backed = true, .failNth = n});
		gomem_config cfg = {
			.os = f.os, .checked = true, .rand_seed = 42, .throw_hook = heapFix_thrown, .throw_ctx = &f};
		f.h = gomem_heap_new(&cfg);
		if (f.h == NULL) {
			assert_int_equal(errno, ENOMEM);
			f.os->destroy(f.os);
			continue;
		}
		f.p = gomem_heap_p(f.h, 0);
		const bool ok = mcache_refill(f.h, f.p, f.p->mcache, spc1024);
		if (!ok) {
			assert_ptr_equal(f.p->mcache->alloc[spc1024], &f.h->emptymspan);
			heapFix_checked(&f);
		}
		assert_true(alloc(&f, 1024) != 0);
		heapFix_checked(&f);
		const bool done = mem_sim_calls(f.os) < n;
		heapFix_done(&f);
		if (done) {
			assert_true(n > 10);
			return;
		}
	}
}

static void *refuse(gomem_os *os, uintptr_t n) {
	(void)os;
	(void)n;
	errno = ENOMEM;
	return NULL;
}

// The set that a full span belongs in cannot grow: the span stays cached, and the next refill tries again.
static void test_uncacheOutOfMemory(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	mcache *c = f.p->mcache;
	uintptr_t x = 0;
	for (int i = 0; i < 8; i++) {
		if (i == 3) {
			mcache_releaseAll(f.h, f.p, c);
		}
		x = alloc(&f, 1024);
	}
	mspan *s = c->alloc[spc1024];
	assert_int_equal(s->allocCount, 8);
	assert_int_equal(s->allocCountBeforeCache, 3);
	void *(*const osAlloc)(gomem_os *, uintptr_t) = f.os->alloc;
	f.os->alloc = refuse;
	while (persistentalloc(&f.h->env, 8, 8, &f.h->stats.other_sys) != NULL) {
	}
	assert_false(mcache_refill(f.h, f.p, c, spc1024));
	assert_ptr_equal(c->alloc[spc1024], s);
	assert_int_equal(s->sweepgen, f.h->sweepgen + 3);
	assert_int_equal(s->allocCountBeforeCache, 3);
	assert_int_equal(smallAllocs(&f, 32), 3);
	assert_int_equal(alloc(&f, 1024), 0);
	mcache_releaseAll(f.h, f.p, c);
	assert_ptr_equal(c->alloc[spc1024], s);
	assert_int_equal(smallAllocs(&f, 32), 8);
	heapFix_checked(&f);
	f.os->alloc = osAlloc;
	assert_int_equal(alloc(&f, 1024), x + 1024);
	assert_int_equal(s->sweepgen, f.h->sweepgen);
	assert_int_equal(smallAllocs(&f, 32), 8); // once
	heapFix_checked(&f);
	heapFix_done(&f);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fresh),
		cmocka_unit_test(test_refill),
		cmocka_unit_test(test_refillTiny),
		cmocka_unit_test(test_releaseAll),
		cmocka_unit_test(test_prepareForSweep),
		cmocka_unit_test(test_allocLarge),
		cmocka_unit_test(test_allocmcache),
		cmocka_unit_test(test_refillOutOfMemory),
		cmocka_unit_test(test_uncacheOutOfMemory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
