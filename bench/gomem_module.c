// gomem_module.c: the port, for the benchmarks.
#include "bench/module.h"
#include "gomem/mcache.h"

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
	m.heap = gomem_heap_new(&cfg);
	if (m.heap == NULL) {
		return NULL;
	}
	m.p = gomem_heap_p(m.heap, 0);
	m.malloc = gomem_mallocgc;
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
