// test_gomem.c: the public interface: what any allocator owes its caller, kept through cycles of marking and sweeping, with one P and
// with two, on the process's own memory and on a simulated OS, also when memory runs out at each single call.
#include <pthread.h>

#include "heaptest.h"

// ---- a model: the objects that live

typedef struct object {
	uint8_t *x;
	uintptr_t size;
	const gomem_type *typ;
	uint64_t tag;
} object;

typedef struct model {
	heapFix *f;
	gomem_p *p;
	uint64_t rnd;
	object *objs;
	size_t n, cap;
} model;

static const uintptr_t maxObject = 200000;

static void model_init(model *m, heapFix *f, gomem_p *p, uint64_t seed) {
	*m = (model){.f = f, .p = p, .rnd = seed, .cap = 4096};
	m->objs = calloc(m->cap, sizeof *m->objs);
	assert_non_null(m->objs);
}

static uintptr_t randomSize(uint64_t *rnd) {
	switch (nextRand(rnd) % 16) {
	case 0:
		return (uintptr_t)(1 + nextRand(rnd) % maxObject);
	case 1:
	case 2:
		return 1 + nextRand(rnd) % 32768;
	case 3:
	case 4:
	case 5:
		return (uintptr_t)(1 + nextRand(rnd) % 15);
	default:
		return 1 + nextRand(rnd) % 1024;
	}
}

// The first and the last bytes of an object hold its tag: what reaches into a neighbour is seen there.
static void stamp(const object *o) {
	for (uintptr_t i = 0; i<o->size; i += o->size> 64 ? o->size - 32 : 1) {
		for (uintptr_t k = i; k < o->size && k < i + 32; k++) {
			o->x[k] = (uint8_t)(o->tag >> k % 8 * 8);
		}
	}
}

static bool intact(const object *o) {
	for (uintptr_t i = 0; i<o->size; i += o->size> 64 ? o->size - 32 : 1) {
		for (uintptr_t k = i; k < o->size && k < i + 32; k++) {
			if (o->x[k] != (uint8_t)(o->tag >> k % 8 * 8)) {
				return false;
			}
		}
	}
	return true;
}

static uintptr_t wantAlign(uintptr_t size, bool pointers) {
	if (pointers || size % 8 == 0 || size >= 16) {
		return 8;
	}
	return size % 4 == 0 ? 4 : size % 2 == 0 ? 2 : 1;
}

// model_alloc allocates an object and tests what can be tested at once. false: out of memory.
static bool model_alloc(model *m, const gomem_type *ptrs) {
	object o = {.size = randomSize(&m->rnd), .tag = nextRand(&m->rnd)};
	if (nextRand(&m->rnd) % 2 == 0) {
		o.size = (o.size + 7) & ~(uintptr_t)7;
		o.typ = ptrs;
	}
	const bool needzero = nextRand(&m->rnd) % 4 != 0;
	o.x = gomem_mallocgc(m->f->h, m->p, o.size, o.typ, needzero);
	if (o.x == NULL) {
		return false;
	}
	assert_int_equal((uintptr_t)o.x % wantAlign(o.size, o.typ != NULL), 0);
	for (uintptr_t i = 0; (needzero || o.typ != NULL) && i < o.size; i++) {
		if (o.x[i] != 0) {
			fail_msg("%p of %lu bytes: byte %lu is not zero", (void *)o.x, (unsigned long)o.size, (unsigned long)i);
		}
	}
	stamp(&o);
	if (m->n == m->cap) {
		m->cap *= 2;
		m->objs = realloc(m->objs, m->cap * sizeof *m->objs);
		assert_non_null(m->objs);
	}
	m->objs[m->n++] = o;
	return true;
}

static void model_checkContents(const model *m) {
	for (size_t i = 0; i < m->n; i++) {
		const object *o = &m->objs[i];
		if (!intact(o)) {
			fail_msg("object %p of %lu bytes has changed", (void *)o->x, (unsigned long)o->size);
		}
		const uintptr_t base = gomem_findObject(m->f->h, (uintptr_t)o->x + o->size - 1);
		assert_true(base != 0 && base <= (uintptr_t)o->x);
	}
}

// model_check: the world is stopped.
static void model_check(const model *m) {
	model_checkContents(m);
	for (size_t i = 0; i < m->n; i++) {
		const object *o = &m->objs[i];
		const uintptr_t inside = (uintptr_t)o->x + o->size / 2;
		const uintptr_t base = gomem_findObject(m->f->h, inside);
		gomem_span_info info;
		assert_true(gomem_spanOf(m->f->h, inside, &info));
		assert_int_equal(info.state, 1);
		assert_true(base >= info.base && (base - info.base) % info.elemsize == 0);
		assert_true(base <= (uintptr_t)o->x && (uintptr_t)o->x + o->size <= base + info.elemsize);
		assert_int_equal(info.spanclass & 1, o->typ == NULL);
	}
}

// model_drop forgets about one object of n.
static void model_drop(model *m, unsigned n) {
	size_t k = 0;
	for (size_t i = 0; i < m->n; i++) {
		if (nextRand(&m->rnd) % n != 0) {
			m->objs[k++] = m->objs[i];
		}
	}
	m->n = k;
}

static void model_mark(void *arg) {
	model *m = arg;
	for (size_t i = 0; i < m->n; i++) {
		assert_true(gomem_mark(m->f->h, m->objs[i].x + nextRand(&m->rnd) % m->objs[i].size));
	}
}

static void model_done(model *m) { free(m->objs); }

// ---- cycles

static void playCycles(heapFix *f, int cycles, int perCycle) {
	const gomem_type ptrs = pointersType(8);
	model m;
	model_init(&m, f, f->p, 23);
	for (int c = 0; c < cycles; c++) {
		for (int i = 0; i < perCycle; i++) {
			assert_true(model_alloc(&m, &ptrs));
		}
		model_check(&m);
		model_drop(&m, 2);
		gcCycle(f, 1, model_mark, &m);
		heapFix_checked(f);
		model_check(&m);
		gomem_memstats s;
		gomem_readmemstats(f->h, &s);
		// Objects of the model that share a tiny block count as one.
		assert_true(s.mallocs - s.frees <= m.n);
		if (c % 3 == 2) {
			gomem_scavenge(f->h, f->p, 1 << 20, true);
			heapFix_checked(f);
		}
	}
	m.n = 0;
	gcCycle(f, 1, model_mark, &m);
	gomem_memstats s;
	gomem_readmemstats(f->h, &s);
	assert_int_equal(s.heap_in_use, 0);
	assert_int_equal(s.mallocs, s.frees);
	assert_int_equal(s.total_alloc, s.total_free);
	heapFix_checked(f);
	model_done(&m);
}

static void test_cycles(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	playCycles(&f, 12, 1500);
	heapFix_done(&f);
}

static void test_cyclesWithoutGreenTea(void **state) {
	(void)state;
	heapFix f;
	heapFix_with(&f, (memSimConfig){.backed = true, .physPageSize = 16384},
		(gomem_config){.no_greentea = true, .no_randomized_base = true});
	playCycles(&f, 6, 1000);
	heapFix_done(&f);
}

// The process's own memory, as a program uses it.
static void test_cyclesLinux(void **state) {
	(void)state;
	heapFix f = {0};
	const gomem_config cfg = {.checked = true, .throw_hook = heapFix_thrown, .throw_ctx = &f};
	f.h = gomem_heap_new(&cfg);
	assert_non_null(f.h);
	f.p = gomem_heap_p(f.h, 0);
	playCycles(&f, 6, 1000);
	gomem_heap_destroy(f.h);
}

static void test_defaults(void **state) {
	(void)state;
	gomem_heap *h = gomem_heap_new(NULL);
	assert_non_null(h);
	gomem_p *p = gomem_heap_p(h, 0);
	assert_null(gomem_heap_p(h, 1));
	assert_null(gomem_heap_p(h, -1));
	memset(gomem_mallocgc(h, p, 100, NULL, true), 1, 100);
	assert_null(gomem_heap_check(h));
	gomem_heap_destroy(h);
	gomem_heap_destroy(NULL);
}

static void test_badPageSize(void **state) {
	(void)state;
	gomem_os *os = mem_sim_new(&(memSimConfig){.backed = true});
	const uintptr_t bad[] = {0, 2048, 12288, 1 << 20};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		os->physPageSize = bad[i];
		const gomem_config cfg = {.os = os};
		errno = 0;
		assert_null(gomem_heap_new(&cfg));
		assert_int_equal(errno, EINVAL);
	}
	os->physPageSize = 4096;
	os->destroy(os);
}

// ---- what mark and find say about odd addresses

static void test_mark(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	uint8_t *x = gomem_mallocgc(f.h, f.p, 100, NULL, true);
	uint8_t *large = gomem_mallocgc(f.h, f.p, 100000, NULL, true);
	void *stk = gomem_stackalloc(f.h, f.p, 2048, false);
	int local;
	gomem_setGCPhase(f.h, gcMark);
	assert_true(gomem_mark(f.h, x + 99));
	assert_true(gomem_mark(f.h, x));
	assert_false(gomem_mark(f.h, x + 112)); // a free slot
	assert_true(gomem_mark(f.h, large + 99999));
	assert_false(gomem_mark(f.h, large + 100000)); // behind the object
	assert_false(gomem_mark(f.h, stk));
	assert_false(gomem_mark(f.h, &local));
	assert_false(gomem_mark(f.h, NULL));
	uint8_t *fresh = gomem_mallocgc(f.h, f.p, 100, NULL, true);
	assert_ptr_equal(fresh, x + 112);
	assert_true(gomem_mark(f.h, fresh));
	assert_false(gomem_mark(f.h, fresh + 112));
	gomem_setGCPhase(f.h, gcOff);
	assert_int_equal(gomem_findObject(f.h, (uintptr_t)x + 111), (uintptr_t)x);
	assert_int_equal(gomem_findObject(f.h, (uintptr_t)stk), 0);
	assert_int_equal(gomem_findObject(f.h, (uintptr_t)&local), 0);
	gomem_span_info info;
	assert_true(gomem_spanOf(f.h, (uintptr_t)stk, &info));
	assert_int_equal(info.state, 2);
	assert_false(gomem_spanOf(f.h, (uintptr_t)&local, &info));
	heapFix_done(&f);
}

// What is black stays although nobody marks it; what was freed is handed out again, lowest slot first.
static void test_reuse(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	uint8_t *x[10];
	for (int i = 0; i < 10; i++) {
		x[i] = gomem_mallocgc(f.h, f.p, 200, NULL, true);
	}
	gomem_finishsweep(f.h, f.p);
	gomem_setGCPhase(f.h, gcMark);
	for (int i = 0; i < 10; i += 2) {
		assert_true(gomem_mark(f.h, x[i]));
	}
	uint8_t *black = gomem_mallocgc(f.h, f.p, 200, NULL, true);
	gomem_setGCPhase(f.h, gcOff);
	gomem_startsweep(f.h);
	gomem_prepareForSweep(f.h, f.p);
	gomem_span_info info;
	assert_true(gomem_spanOf(f.h, (uintptr_t)x[0], &info));
	assert_int_equal(info.alloc_count, 6);
	assert_true(info.needzero);
	for (int i = 1; i < 10; i += 2) {
		assert_ptr_equal(gomem_mallocgc(f.h, f.p, 200, NULL, true), x[i]);
	}
	assert_ptr_equal(gomem_mallocgc(f.h, f.p, 200, NULL, true), black + 208);
	heapFix_done(&f);
}

static void test_manual(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	gomem_memstats s;
	void *a = gomem_allocManual(f.h, f.p, 4), *b = gomem_allocManual(f.h, NULL, 100);
	memset(a, 1, 4 * 8192);
	memset(b, 2, 100 * 8192);
	gomem_readmemstats(f.h, &s);
	assert_int_equal(s.work_bufs, 104 * 8192);
	assert_int_equal(s.heap_in_use, 0);
	gomem_freeManual(f.h, f.p, a);
	gomem_freeManual(f.h, f.p, b);
	gomem_readmemstats(f.h, &s);
	assert_int_equal(s.work_bufs, 0);
	assert_null(gomem_allocManual(f.h, f.p, 0));
	assert_int_equal(errno, EINVAL);
	assert_null(gomem_allocManual(f.h, f.p, ~(uintptr_t)0 >> 13));
	assert_int_equal(errno, ENOMEM);
	assert_null(gomem_mallocgc(f.h, f.p, UINTPTR_MAX / 16 * 15, NULL, true));
	assert_int_equal(errno, ENOMEM);
	heapFix_checked(&f);
	heapFix_done(&f);
}

static void freeWildManual(void *arg) {
	heapFix *f = arg;
	gomem_freeManual(f->h, f->p, gomem_mallocgc(f->h, f->p, 8192, NULL, true));
}

static void test_mistakes(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	assert_true(heapFix_throws(&f, freeWildManual, &f));
	assert_string_equal(f.msg, "gomem_freeManual: not the base of a manual span");
	assert_false(gomem_procresize(f.h, 0));
	assert_int_equal(errno, EINVAL);
	heapFix_done(&f);
}

// ---- statistics

// The sums that Go's readmemstats_m holds against each other.
static void TestReadMemStats(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	assert_true(gomem_procresize(f.h, 2));
	const gomem_type ptrs = pointersType(8);
	model m;
	model_init(&m, &f, gomem_heap_p(f.h, 1), 31);
	for (int round = 0; round < 4; round++) {
		for (int i = 0; i < 800; i++) {
			model_alloc(&m, &ptrs);
			gomem_stackfree(f.h, f.p, gomem_stackalloc(f.h, f.p, 4096, i % 2 == 0), 4096, i % 3 == 0);
		}
		gomem_stackalloc(f.h, f.p, 2048, false);
		gomem_allocManual(f.h, f.p, 3);
		model_drop(&m, 3);
		gcCycle(&f, 2, model_mark, &m);
		gomem_scavenge(f.h, f.p, 4 << 20, true);
		gomem_memstats s;
		gomem_readmemstats(f.h, &s);
		int64_t committed = f.h->stats.heapStats.committed, released = f.h->stats.heapStats.released;
		uint64_t inHeap = f.h->stats.heapStats.inHeap;
		for (int i = 0; i < 2; i++) {
			const heapStatsDelta *d = &gomem_heap_p(f.h, i)->stats;
			committed += d->committed;
			released += d->released;
			inHeap += d->inHeap;
		}
		assert_int_equal(s.heap_in_use, inHeap);
		assert_int_equal(s.heap_released, released);
		assert_int_equal(s.heap_in_use + s.heap_free, (uint64_t)committed - s.stacks_in_use - s.work_bufs);
		assert_int_equal(f.h->stats.totalAlloc, s.total_alloc);
		assert_int_equal(f.h->stats.totalFree, s.total_free);
		const uint64_t mapped = s.heap_in_use + s.heap_free + s.heap_released + s.mspan_sys + s.mcache_sys +
			s.gc_misc_sys + s.other_sys + s.stacks_in_use + s.work_bufs + sysMemStat_load(&f.h->stats.stacks_sys) +
			sysMemStat_load(&f.h->stats.buckhash_sys);
		assert_int_equal(s.mapped_ready, mapped - s.heap_released);
		assert_true(s.heap_released > 0);
		heapFix_checked(&f);
	}
	model_done(&m);
	heapFix_done(&f);
}

// Allocations are counted at once, before any cache is flushed.
static void TestMemStats(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	gomem_memstats a, b;
	gomem_readmemstats(f.h, &a);
	for (int i = 0; i < 5; i++) {
		gomem_mallocgc(f.h, f.p, 100, NULL, true);
		gomem_mallocgc(f.h, f.p, 5, NULL, true);
	}
	gomem_mallocgc(f.h, f.p, 50000, NULL, true);
	gomem_readmemstats(f.h, &b);
	assert_int_equal(b.mallocs - a.mallocs, 11);
	assert_int_equal(b.tiny_allocs, 3);
	assert_int_equal(b.large_allocs, 1);
	assert_int_equal(b.total_alloc - a.total_alloc, 5 * 112 + 2 * 16 + 57344);
	assert_int_equal(b.heap_in_use, 8192 * 2 + 57344);
	gomem_startsweep(f.h);
	gomem_prepareForSweep(f.h, f.p);
	gomem_readmemstats(f.h, &a);
	assert_int_equal(a.mallocs, b.mallocs);
	assert_int_equal(a.total_alloc, b.total_alloc);
	assert_int_equal(a.frees, 7 + 3); // the small ones: the large span was not swept yet
	heapFix_done(&f);
}

// What a cache holds and nobody has counted yet is counted, whatever its span class.
static void test_statsOfCaches(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	mcache *c = f.p->mcache;
	gomem_memstats before, after;
	gomem_readmemstats(f.h, &before);
	for (int i = 0; i < numSpanClasses; i++) {
		mspan *const was = c->alloc[i];
		mspan cached = {.elemsize = 48, .allocCount = 5, .allocCountBeforeCache = 2};
		c->alloc[i] = &cached;
		gomem_readmemstats(f.h, &after);
		c->alloc[i] = was;
		assert_int_equal(after.mallocs - before.mallocs, 3);
		assert_int_equal(after.total_alloc - before.total_alloc, 3 * 48);
	}
	heapFix_done(&f);
}

// ---- two Ps

typedef struct worker {
	model m;
	int rounds;
} worker;

static void *work(void *arg) {
	worker *w = arg;
	const gomem_type ptrs = pointersType(8);
	for (int r = 0; r < w->rounds; r++) {
		gomem_prepareForSweep(w->m.f->h, w->m.p);
		for (int i = 0; i < 300; i++) {
			assert_true(model_alloc(&w->m, &ptrs));
			void *stk = gomem_stackalloc(w->m.f->h, w->m.p, 2048u << i % 5, i % 7 == 0);
			memset(stk, i, 2048);
			gomem_stackfree(w->m.f->h, w->m.p, stk, 2048u << i % 5, i % 3 == 0);
			if (i % 20 == 0) {
				gomem_sweepone(w->m.f->h, w->m.p);
			}
		}
		model_checkContents(&w->m);
		model_drop(&w->m, 3);
	}
	return NULL;
}

static void markWorkers(void *arg) {
	worker *w = arg;
	model_mark(&w[0].m);
	model_mark(&w[1].m);
}

static void test_twoPs(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	assert_true(gomem_procresize(f.h, 2));
	worker w[2];
	(void)pointersType(8);
	for (int i = 0; i < 2; i++) {
		model_init(&w[i].m, &f, gomem_heap_p(f.h, i), 100 + (uint64_t)i);
		w[i].rounds = 2;
	}
	for (int c = 0; c < 6; c++) {
		pthread_t t[2];
		for (int i = 0; i < 2; i++) {
			assert_int_equal(pthread_create(&t[i], NULL, work, &w[i]), 0);
		}
		for (int i = 0; i < 2; i++) {
			pthread_join(t[i], NULL);
		}
		heapFix_checked(&f);
		gomem_finishsweep(f.h, f.p);
		gomem_setGCPhase(f.h, gcMark);
		markWorkers(w);
		gomem_setGCPhase(f.h, gcOff);
		gomem_startsweep(f.h); // swept while the next round runs
	}
	assert_true(gomem_procresize(f.h, 1));
	heapFix_checked(&f);
	model_check(&w[0].m);
	model_check(&w[1].m); // the objects of a P outlive it
	model_done(&w[0].m);
	model_done(&w[1].m);
	heapFix_done(&f);
}

static void test_procresize(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	for (int n = 1; n <= 9; n = n * 2 + 1) {
		assert_true(gomem_procresize(f.h, n));
		for (int i = 0; i < n; i++) {
			gomem_p *p = gomem_heap_p(f.h, i);
			assert_non_null(p);
			for (uintptr_t size = 1; size < 3000; size += 100) {
				assert_non_null(gomem_mallocgc(f.h, p, size, NULL, true));
			}
			gomem_stackalloc(f.h, p, 2048, false);
		}
		assert_null(gomem_heap_p(f.h, n));
		heapFix_checked(&f);
	}
	gomem_startsweep(f.h);
	assert_true(gomem_procresize(f.h, 1)); // in the middle of a cycle: the caches are flushed and swept
	for (int i = 1; i < 9; i++) {
		assert_null(gomem_heap_p(f.h, i));
	}
	heapFix_checked(&f);
	gcCycle(&f, 1, markNothing, NULL);
	gomem_memstats s;
	gomem_readmemstats(f.h, &s);
	assert_int_equal(s.heap_in_use, 0);
	heapFix_done(&f);
}

// ---- out of memory

// playOOM allocates; each call that fails says so, and leaves a heap that holds its invariants. Returns how many failed.
static int playOOM(heapFix *f, model *m, const gomem_type *ptrs) {
	int failed = 0;
	for (int i = 0; i < 400; i++) {
		errno = 0;
		if (!model_alloc(m, ptrs)) {
			assert_int_equal(errno, ENOMEM);
			heapFix_checked(f);
			failed++;
		}
	}
	if (!gomem_procresize(f->h, 3)) {
		assert_int_equal(errno, ENOMEM);
		assert_null(gomem_heap_p(f->h, 1));
		heapFix_checked(f);
		failed++;
		assert_true(gomem_procresize(f->h, 3));
	}
	model_check(m);
	return failed;
}

typedef struct oomCycle {
	heapFix *f;
	model *m;
} oomCycle;

static void playOOMCycle(void *arg) {
	oomCycle *c = arg;
	gcCycle(c->f, 3, model_mark, c->m);
}

// The n-th call to the OS fails, for every n.
static void test_outOfMemory(void **state) {
	(void)state;
	const gomem_type ptrs = pointersType(8);
	bool done = false;
	int seen = 0;
	for (uint64_t n = 1; !done; n++) {
		heapFix f = {0};
		f.os = mem_sim_new(&(memSimConfig){.backed = true, .failNth = n});
		const gomem_config cfg = {
			.os = f.os, .checked = true, .rand_seed = 42, .throw_hook = heapFix_thrown, .throw_ctx = &f};
		f.h = gomem_heap_new(&cfg);
		if (f.h == NULL) {
			assert_int_equal(errno, ENOMEM);
			f.os->destroy(f.os);
			continue;
		}
		f.p = gomem_heap_p(f.h, 0);
		model m;
		model_init(&m, &f, f.p, 77);
		const int failed = playOOM(&f, &m, &ptrs);
		assert_true(failed <= 1);
		seen += failed;
		oomCycle c = {&f, &m};
		// A sweep that finds no memory for mark bits cannot go on.
		if (heapFix_throws(&f, playOOMCycle, &c)) {
			assert_memory_equal(f.msg, "out of memory", 13);
		} else {
			model_check(&m);
			heapFix_checked(&f);
		}
		done = mem_sim_calls(f.os) < n;
		model_done(&m);
		heapFix_done(&f);
	}
	assert_true(seen > 20);
}

static void *(*simReserve)(gomem_os *os, void *hint, uintptr_t n, memUse use);

static void *refuseHeap(gomem_os *os, void *hint, uintptr_t n, memUse use) {
	if (use == MEM_HEAP) {
		errno = ENOMEM;
		return NULL;
	}
	return simReserve(os, hint, n, use);
}

// The OS has no more address space: what the heap has is used up to the last page, and again after a cycle.
static void test_exhaustion(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	assert_non_null(gomem_mallocgc(f.h, f.p, 1 << 20, NULL, true));
	simReserve = f.os->reserve;
	f.os->reserve = refuseHeap;
	uintptr_t got[2] = {0, 0};
	for (int round = 0; round < 2; round++) {
		for (uintptr_t size = 16 << 20; size >= 8192;) {
			errno = 0;
			if (gomem_mallocgc(f.h, f.p, size, NULL, false) == NULL) {
				assert_int_equal(errno, ENOMEM);
				heapFix_checked(&f);
				size /= 2;
			} else {
				got[round] += size;
			}
		}
		gomem_memstats s;
		gomem_readmemstats(f.h, &s);
		assert_true(s.heap_free + s.heap_released < 64 * 8192); // at most what a page cache holds
		assert_null(gomem_stackalloc(f.h, f.p, 32768, true));
		assert_int_equal(errno, ENOMEM);
		gcCycle(&f, 1, markNothing, NULL);
	}
	assert_true(got[0] > 56 << 20 && got[1] >= got[0]);
	f.os->reserve = simReserve;
	assert_non_null(gomem_mallocgc(f.h, f.p, 100 << 20, NULL, true));
	heapFix_checked(&f);
	heapFix_done(&f);
}

// ---- a heap without memory behind it

static void test_unbacked(void **state) {
	(void)state;
	heapFix f;
	heapFix_with(&f, (memSimConfig){.backed = false}, (gomem_config){0});
	const gomem_type ptrs = pointersType(8);
	uint64_t rnd = 9;
	for (int c = 0; c < 4; c++) {
		void *keep = NULL;
		for (int i = 0; i < 3000; i++) {
			const uintptr_t size = randomSize(&rnd);
			keep = gomem_mallocgc(f.h, f.p, (size + 7) & ~(uintptr_t)7, i % 2 == 0 ? &ptrs : NULL, true);
			assert_non_null(keep);
		}
		gomem_finishsweep(f.h, f.p);
		gomem_setGCPhase(f.h, gcMark);
		assert_true(gomem_mark(f.h, keep));
		// The block that tiny objects go to next lives too.
		const uintptr_t tiny = f.p->mcache->tiny;
		assert_true(tiny != 0);
		const unsigned live = 1 + (gomem_findObject(f.h, (uintptr_t)keep) != tiny);
		gomem_setGCPhase(f.h, gcOff);
		gomem_startsweep(f.h);
		gomem_prepareForSweep(f.h, f.p);
		while (gomem_sweepone(f.h, f.p) != ~(uintptr_t)0) {
		}
		gomem_memstats s;
		gomem_readmemstats(f.h, &s);
		assert_int_equal(s.mallocs - s.frees, live);
		heapFix_checked(&f);
	}
	heapFix_done(&f);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_cycles),
		cmocka_unit_test(test_cyclesWithoutGreenTea),
		cmocka_unit_test(test_cyclesLinux),
		cmocka_unit_test(test_badPageSize),
		cmocka_unit_test(test_mark),
		cmocka_unit_test(test_reuse),
		cmocka_unit_test(test_manual),
		cmocka_unit_test(test_mistakes),
		cmocka_unit_test(TestReadMemStats),
		cmocka_unit_test(TestMemStats),
		cmocka_unit_test(test_statsOfCaches),
		cmocka_unit_test(test_twoPs),
		cmocka_unit_test(test_procresize),
		cmocka_unit_test(test_outOfMemory),
		cmocka_unit_test(test_exhaustion),
		cmocka_unit_test(test_unbacked),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
