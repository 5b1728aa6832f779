// gomem_module.c: the port, for the benchmarks.
#include "bench/module.h"
#include "gomem/mcache.h"

// allocateSized allocates n objects of size bytes, with pointers in all words or in none. Where it is inlined, size is a constant.
static inline __attribute__((always_inline)) bool allocateSized(
	gomem_heap *h, gomem_p *p, uintptr_t size, const gomem_type *typ, size_t n) {
	for (size_t i = 0; i < n; i++) {
		const void *x = gomem_mallocgc_inline(h, p, size, typ, true);
		__asm__ volatile("" : : "r"(x) : "memory");
	}
	return true;
}

static void moduleInlined(gomem_heap *h, gomem_p *p, size_t size, const gomem_type *typ, size_t n) {
	for (size_t i = 0; i < n; i++) {
		__asm__ volatile("" : "+r"(size), "+r"(typ)); // nothing is known of them
		const void *x = gomem_mallocgc_inline(h, p, size, typ, true);
		__asm__ volatile("" : : "r"(x) : "memory");
	}
}

#define SIZES(X) X(8) X(16) X(24) X(32) X(48) X(64) X(96) X(128) X(256) X(512) X(1024) X(4096) X(32768) X(65536)
#define SIZED_CASE(size)                                                                                               \
	case size: {                                                                                                       \
		static const gomem_type all##size = {size, size, ones};                                                        \
		return pointers ? allocateSized(h, p, size, &all##size, n) : allocateSized(h, p, size, NULL, n);               \
	}

static bool moduleSized(gomem_heap *h, gomem_p *p, size_t size, bool pointers, size_t n) {
#define FF8 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff
#define FF64 FF8, FF8, FF8, FF8, FF8, FF8, FF8, FF8
#define FF512 FF64, FF64, FF64, FF64, FF64, FF64, FF64, FF64
	static const uint8_t ones[65536 / 64] = {FF512, FF512};
	switch (size) { SIZES(SIZED_CASE) }
	return false;
}

static void moduleFinish(void *heap, void *p) { gomem_finishsweep(heap, p); }

static void modulePhase(void *heap, unsigned phase) { gomem_setGCPhase(heap, phase); }

static bool moduleMark(void *heap, void *x) { return gomem_mark(heap, x); }

static void moduleStart(void *heap, void *p) {
	gomem_startsweep(heap);
	mcache_prepareAll(heap, p);
}

static gomem_p *moduleProcs(void *heap, int id) {
	const gomem_heap *h = heap;
	return id < h->gomaxprocs || gomem_procresize(heap, id + 1) ? gomem_heap_p(heap, id) : NULL;
}

static void modulePushPop(void *heap, unsigned n) {
	static spanSet set;
	static mspan span;
	gomem_heap *h = heap;
	for (unsigned i = 0; i < n; i++) {
		if (!spanSet_push(&h->env, &set, &span, 0) || spanSet_pop(&h->env, &set, 0) == NULL) {
			gomem_throw(&h->env, "a set of spans lost one");
		}
	}
}

static void moduleSweepOne(void *heap, void *p) { gomem_sweepone(heap, p); }

static void moduleScavenge(void *heap, void *p, uint64_t bytes, bool force) {
	gomem_heap *h = heap;
	bool done;
	pageAlloc_scavengeStep(&h->env, &h->pages, bytes, force, heapStats_of(h, p), &done);
}

static void moduleCycle(void *heap, void *p, bool all) {
	moduleFinish(heap, p);
	modulePhase(heap, gcMarkTermination);
	modulePhase(heap, gcOff);
	moduleStart(heap, p);
	while (all && gomem_sweepone(heap, p) != ~(uintptr_t)0) {
	}
}

#ifdef BENCH_HOOKS
static void hookTurn(void *ctx, gomem_ev k) {
	(void)ctx;
	(void)k;
}

static void hookEvent(void *ctx, gomem_ev k, uint64_t a, uint64_t b, uint64_t c, uint64_t d) {
	(void)ctx;
	(void)k;
	(void)a;
	(void)b;
	(void)c;
	(void)d;
}
#endif

BENCH_EXPORT const bench_module *bench_module_get(void);
const bench_module *bench_module_get(void) {
	static bench_module m;
	gomem_config cfg = {0};
#ifdef BENCH_HOOKS
	static const gomem_lab hooks = {.turn = hookTurn, .event = hookEvent};
	cfg.lab = &hooks;
#endif
#ifdef GOMEM_CHECKED
	cfg.checked = true;
#endif
#ifdef BENCH_FREE
	cfg.madv_free = true;
#endif
#ifdef BENCH_NOW
	cfg.release_lag = -1;
#endif
	m.heap = gomem_heap_new(&cfg);
	if (m.heap == NULL) {
		return NULL;
	}
	m.p = gomem_heap_p(m.heap, 0);
	m.malloc = gomem_mallocgc;
	m.inlined = moduleInlined;
	m.sized = moduleSized;
	m.cycle = moduleCycle;
	m.finish = moduleFinish;
	m.phase = modulePhase;
	m.mark = moduleMark;
	m.start = moduleStart;
	m.sweepOne = moduleSweepOne;
	m.scavenge = moduleScavenge;
	m.procs = moduleProcs;
	m.pushPop = modulePushPop;
	return &m;
}
