// test_stack.c: stack pools, the stack cache of a P and large stacks: which address comes next, and what goes back when.
#include "heaptest.h"

enum { kib = 1024, spanBytes = 32 * kib };

static uintptr_t take(heapFix *f, uint32_t n) {
	uintptr_t x = stackalloc(f->h, f->p, n, false);
	assert_true(x != 0);
	return x;
}

static uintptr_t takeBypassing(heapFix *f, uint32_t n) {
	uintptr_t x = stackalloc(f->h, f->p, n, true);
	assert_true(x != 0);
	return x;
}

static int64_t stacksInUse(heapFix *f) {
	gomem_memstats m;
	gomem_readmemstats(f->h, &m);
	return (int64_t)m.stacks_in_use;
}

// A fresh span is handed out from its highest slot down; without a cache each stack comes from there.
static void test_poolOrder(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	for (unsigned order = 0; order < 3; order++) {
		const uint32_t size = 2048u << order;
		const uintptr_t top = takeBypassing(&f, size);
		const uintptr_t base = top + size - spanBytes;
		assert_int_equal(base % 8192, 0);
		mspan *s = spanOf(f.h, top);
		assert_int_equal(mspan_base(s), base);
		assert_int_equal(s->elemsize, size);
		for (unsigned i = 2; i <= spanBytes / size; i++) {
			assert_ptr_equal(f.h->stackpool[order].span.first, s);
			assert_int_equal(takeBypassing(&f, size), base + spanBytes - i * size);
			heapFix_checked(&f);
		}
		assert_null(f.h->stackpool[order].span.first); // full
		// Last in, first out; the span is listed again.
		stackfree(f.h, f.p, base + size, size, true);
		stackfree(f.h, f.p, base, size, true);
		assert_ptr_equal(f.h->stackpool[order].span.first, s);
		assert_int_equal(s->allocCount, spanBytes / size - 2);
		assert_int_equal(takeBypassing(&f, size), base);
		assert_int_equal(takeBypassing(&f, size), base + size);
	}
	heapFix_done(&f);
}

// A refill takes half a cache from the pool and hands it out in the opposite order.
static void test_cacheRefill(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	const stackfreelist *list = &f.p->mcache->stackcache[0];
	const uintptr_t first = take(&f, 2048);
	const uintptr_t base = first - spanBytes / 2;
	assert_int_equal(base % 8192, 0);
	assert_int_equal(list->size, 14 * kib);
	for (unsigned i = 1; i < 8; i++) {
		assert_int_equal(take(&f, 2048), first + i * 2048);
		heapFix_checked(&f);
	}
	assert_int_equal(list->size, 0);
	assert_int_equal(list->list, 0);
	for (unsigned i = 0; i < 8; i++) {
		assert_int_equal(take(&f, 2048), base + i * 2048);
	}
	assert_int_equal(spanOf(f.h, base)->allocCount, 16);
	heapFix_done(&f);
}

// The check of a cache whose list runs in a circle comes to an end.
static void test_cacheCircle(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	assert_true(take(&f, 2048) != 0);
	const uintptr_t x = f.p->mcache->stackcache[0].list;
	const uintptr_t next = heapMem_load(&f.h->env, &f.h->side, x);
	assert_true(heapMem_store(&f.h->env, &f.h->side, x, x));
	assert_string_equal(mcache_check(f.h, f.p->mcache), "mcache: stackcache size differs from its list");
	assert_true(heapMem_store(&f.h->env, &f.h->side, x, next));
	heapFix_checked(&f);
	heapFix_done(&f);
}

// A full cache is emptied to one half before the next stack goes in.
static void test_cacheRelease(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	const stackfreelist *list = &f.p->mcache->stackcache[1];
	uintptr_t x[17];
	for (int i = 0; i < 17; i++) {
		x[i] = take(&f, 4096);
	}
	assert_int_equal(list->size, 12 * kib); // 5 refills of 4
	mspan *s0 = spanOf(f.h, x[0]);
	for (int i = 0; i < 5; i++) {
		stackfree(f.h, f.p, x[i], 4096, false);
	}
	assert_int_equal(list->size, 32 * kib);
	assert_int_equal(list->list, x[4]);
	assert_int_equal(s0->allocCount, 8);
	stackfree(f.h, f.p, x[5], 4096, false);
	assert_int_equal(list->size, 20 * kib);
	assert_int_equal(list->list, x[5]);
	assert_int_equal(s0->allocCount, 4); // x[4], x[3], x[2], x[1] went back
	assert_int_equal(s0->manualFreeList, x[1]);
	heapFix_checked(&f);
	assert_int_equal(take(&f, 4096), x[5]);
	assert_int_equal(take(&f, 4096), x[0]);
	heapFix_done(&f);
}

static bool isStackSpan(heapFix *f, uintptr_t x) {
	gomem_span_info info;
	return gomem_spanOf(f->h, x, &info) && info.state == mSpanManual;
}

// Without a GC a span goes back with its last stack; while one runs it stays until freeStackSpans.
static void test_emptySpans(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	uintptr_t a = takeBypassing(&f, 16 * kib), b = takeBypassing(&f, 16 * kib);
	assert_int_equal(stacksInUse(&f), spanBytes);
	stackfree(f.h, f.p, a, 16 * kib, true);
	assert_true(isStackSpan(&f, a));
	stackfree(f.h, f.p, b, 16 * kib, true);
	assert_false(isStackSpan(&f, a));
	assert_int_equal(stacksInUse(&f), 0);
	assert_null(f.h->stackpool[3].span.first);

	a = takeBypassing(&f, 16 * kib);
	gomem_setGCPhase(f.h, gcMark);
	stackfree(f.h, f.p, a, 16 * kib, true);
	assert_true(isStackSpan(&f, a));
	assert_non_null(f.h->stackpool[3].span.first);
	assert_int_equal(takeBypassing(&f, 16 * kib), a);
	stackfree(f.h, f.p, a, 16 * kib, true);
	uintptr_t other = takeBypassing(&f, 2048);
	gomem_setGCPhase(f.h, gcOff);
	freeStackSpans(f.h, f.p);
	assert_false(isStackSpan(&f, a));
	assert_true(isStackSpan(&f, other));
	assert_null(f.h->stackpool[3].span.first);
	assert_non_null(f.h->stackpool[0].span.first);
	assert_int_equal(stacksInUse(&f), spanBytes);
	heapFix_checked(&f);
	heapFix_done(&f);
}

static void test_large(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	uintptr_t a = take(&f, 64 * kib);
	mspan *s = spanOf(f.h, a);
	assert_int_equal(mspan_base(s), a);
	assert_int_equal(s->npages, 8);
	assert_int_equal(s->elemsize, 64 * kib);
	stackfree(f.h, f.p, a, 64 * kib, false);
	assert_int_equal(stacksInUse(&f), 0);

	a = take(&f, 64 * kib);
	uintptr_t b = take(&f, 64 * kib), c = take(&f, 128 * kib);
	gomem_setGCPhase(f.h, gcMark);
	stackfree(f.h, f.p, a, 64 * kib, false);
	stackfree(f.h, f.p, c, 128 * kib, true);
	stackfree(f.h, f.p, b, 64 * kib, false);
	assert_int_equal(stacksInUse(&f), 256 * kib);
	assert_int_equal(mspan_base(f.h->stackLarge.free[4].first), b);
	heapFix_checked(&f);
	assert_int_equal(take(&f, 64 * kib), b); // the last one freed, of that size
	assert_int_equal(take(&f, 64 * kib), a);
	assert_null(f.h->stackLarge.free[4].first);
	assert_int_equal(mspan_base(f.h->stackLarge.free[5].first), c);
	gomem_setGCPhase(f.h, gcOff);
	gomem_freeStackSpans(f.h, f.p);
	assert_null(f.h->stackLarge.free[5].first);
	assert_int_equal(stacksInUse(&f), 128 * kib);
	heapFix_checked(&f);
	heapFix_done(&f);
}

// The boundary: below 32 KiB a pool, from there on a span.
static void test_sizes(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	assert_int_equal(spanOf(f.h, take(&f, 16 * kib))->elemsize, 16 * kib);
	mspan *s = spanOf(f.h, take(&f, 32 * kib));
	assert_int_equal(s->elemsize, 32 * kib);
	assert_int_equal(s->npages, 4);
	assert_null(gomem_stackalloc(f.h, f.p, 3000, false));
	assert_int_equal(errno, EINVAL);
	assert_null(gomem_stackalloc(f.h, f.p, 1024, false));
	assert_null(gomem_stackalloc(f.h, f.p, 0, false));
	heapFix_done(&f);
}

static void freeNotPower(void *arg) { stackfree(((heapFix *)arg)->h, NULL, 0x1000, 3000, false); }
static void allocNotPower(void *arg) { stackalloc(((heapFix *)arg)->h, NULL, 3000, false); }
static void freeObject(void *arg) {
	heapFix *f = arg;
	stackfree(f->h, NULL, (uintptr_t)gomem_mallocgc(f->h, f->p, 2048, NULL, true), 2048, true);
}
static void freeLargeObject(void *arg) {
	heapFix *f = arg;
	stackfree(f->h, NULL, (uintptr_t)gomem_mallocgc(f->h, f->p, 65536, NULL, true), 65536, true);
}

static void test_mistakes(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	assert_true(heapFix_throws(&f, allocNotPower, &f));
	assert_true(heapFix_throws(&f, freeNotPower, &f));
	assert_true(heapFix_throws(&f, freeLargeObject, &f));
	assert_string_equal(f.msg, "bad span state");
	assert_true(heapFix_throws(&f, freeObject, &f));
	assert_string_equal(f.msg, "freeing stack not in a stack span");
	heapFix_done(&f);
}

static void test_cacheClear(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	uintptr_t x[4];
	for (unsigned o = 0; o < 4; o++) {
		x[o] = take(&f, 2048u << o);
		stackfree(f.h, f.p, x[o], 2048u << o, false);
	}
	assert_int_equal(stacksInUse(&f), 4 * spanBytes);
	stackcache_clear(f.h, f.p, f.p->mcache);
	assert_int_equal(stacksInUse(&f), 0);
	for (unsigned o = 0; o < 4; o++) {
		assert_int_equal(f.p->mcache->stackcache[o].list | f.p->mcache->stackcache[o].size, 0);
		assert_false(isStackSpan(&f, x[o]));
	}
	heapFix_done(&f);
}

static uintptr_t heapBegin(heapFix *f) { return arenaBase(layout_get(&f->h->env), f->h->heapArenas.p[0]); }

// The same operations on an unbacked heap give the same places: links are in the side table.
static void playStacks(bool backed, uintptr_t *out, size_t n) {
	heapFix f;
	heapFix_with(&f, (memSimConfig){.backed = backed}, (gomem_config){0});
	uint64_t rnd = 11;
	struct {
		uintptr_t x;
		uint32_t size;
	} live[64] = {0};
	for (size_t i = 0; i < n; i++) {
		const size_t k = nextRand(&rnd) % 64;
		const bool bypass = nextRand(&rnd) % 4 == 0;
		if (nextRand(&rnd) % 500 == 0) {
			gomem_setGCPhase(f.h, gcMark - f.h->gcphase);
			if (f.h->gcphase == gcOff) {
				freeStackSpans(f.h, f.p);
			}
		}
		if (live[k].x != 0) {
			stackfree(f.h, f.p, live[k].x, live[k].size, bypass);
			live[k].x = 0;
		} else {
			live[k].size = 2048u << nextRand(&rnd) % 7;
			live[k].x = stackalloc(f.h, f.p, live[k].size, bypass);
		}
		out[i] = live[k].x != 0 ? live[k].x - heapBegin(&f) : 0;
		if (i % 256 == 0) {
			heapFix_checked(&f);
		}
	}
	heapFix_done(&f);
}

static void test_unbacked(void **state) {
	(void)state;
	enum { n = 20000 };
	uintptr_t *a = calloc(n, sizeof *a), *b = calloc(n, sizeof *b);
	playStacks(true, a, n);
	playStacks(false, b, n);
	assert_memory_equal(a, b, n * sizeof *a);
	free(a);
	free(b);
}

// Stacks of many sizes live side by side, keep their contents, and leave nothing behind.
static void TestStackMem(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	enum { batchSize = 32, batchCount = 64 };
	int64_t consumed = 0;
	uint64_t rnd = 17;
	for (int b = 0; b < batchCount; b++) {
		struct {
			uint8_t *x;
			uint32_t size;
		} stk[batchSize];
		for (int i = 0; i < batchSize; i++) {
			stk[i].size = 2048u << nextRand(&rnd) % 8;
			stk[i].x = gomem_stackalloc(f.h, f.p, stk[i].size, false);
			memset(stk[i].x, i, stk[i].size);
		}
		const int64_t now = stacksInUse(&f);
		consumed = now > consumed ? now : consumed;
		for (int i = 0; i < batchSize; i++) {
			for (uint32_t k = 0; k < stk[i].size; k += 512) {
				assert_int_equal(stk[i].x[k], i);
			}
			assert_int_equal(stk[i].x[stk[i].size - 1], i);
			gomem_stackfree(f.h, f.p, stk[i].x, stk[i].size, false);
		}
		heapFix_checked(&f);
	}
	assert_true(consumed <= (int64_t)8 * batchSize * 128 * kib);
	assert_true(stacksInUse(&f) <= 4 * 8 * spanBytes);
	stackcache_clear(f.h, f.p, f.p->mcache);
	assert_int_equal(stacksInUse(&f), 0);
	heapFix_done(&f);
}

// Each call to the OS fails once.
static void test_outOfMemory(void **state) {
	(void)state;
	for (int backed = 0; backed < 2; backed++) {
		bool done = false;
		for (uint64_t n = 1; !done; n++) {
			heapFix f = {0};
			f.os = mem_sim_new(&(memSimConfig){.backed = backed != 0, .failNth = n});
			const gomem_config cfg = {
				.os = f.os, .checked = true, .rand_seed = 42, .throw_hook = heapFix_thrown, .throw_ctx = &f};
			f.h = gomem_heap_new(&cfg);
			if (f.h == NULL) {
				assert_int_equal(errno, ENOMEM);
				f.os->destroy(f.os);
				continue;
			}
			f.p = gomem_heap_p(f.h, 0);
			int failed = 0;
			for (int i = 0; i < 600; i++) {
				errno = 0;
				void *x = gomem_stackalloc(f.h, f.p, 2048u << i % 6, i % 3 == 0);
				if (x == NULL) {
					assert_int_equal(errno, ENOMEM);
					failed++;
					heapFix_checked(&f);
				}
			}
			heapFix_checked(&f);
			assert_true(failed <= 1);
			done = mem_sim_calls(f.os) < n;
			heapFix_done(&f);
		}
	}
}

typedef struct misuse {
	heapFix *f;
	void *stk;
	uintptr_t n;
} misuse;

static void freeStack(void *arg) {
	misuse *m = arg;
	gomem_stackfree(m->f->h, m->f->p, m->stk, m->n, false);
}

static void test_misuse(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	char *stk = gomem_stackalloc(f.h, f.p, 4096, false);
	char *large = gomem_stackalloc(f.h, f.p, 65536, false);
	void *obj = gomem_mallocgc(f.h, f.p, 4096, NULL, true);
	const misuse wrong[] = {
		{&f, stk, 2048}, {&f, stk + 64, 4096}, {&f, obj, 4096}, {&f, large + 8192, 65536}, {&f, &f, 4096}};
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		misuse m = wrong[i];
		assert_true(heapFix_throws(&f, freeStack, &m));
	}
	misuse good = {&f, stk, 4096};
	assert_false(heapFix_throws(&f, freeStack, &good));
	assert_true(heapFix_throws(&f, freeStack, &good)); // twice
	assert_string_equal(f.msg, "gomem_stackfree: the stack is free already");
	misuse goodLarge = {&f, large, 65536};
	assert_false(heapFix_throws(&f, freeStack, &goodLarge));
	assert_true(heapFix_throws(&f, freeStack, &goodLarge));
	heapFix_checked(&f);
	heapFix_done(&f);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_misuse),
		cmocka_unit_test(test_poolOrder),
		cmocka_unit_test(test_cacheRefill),
		cmocka_unit_test(test_cacheCircle),
		cmocka_unit_test(test_cacheRelease),
		cmocka_unit_test(test_emptySpans),
		cmocka_unit_test(test_large),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_mistakes),
		cmocka_unit_test(test_cacheClear),
		cmocka_unit_test(test_unbacked),
		cmocka_unit_test(TestStackMem),
		cmocka_unit_test(test_outOfMemory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
