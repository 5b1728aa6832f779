// gomem_module.c: the port, for the benchmarks.
#include "bench/module.h"
#include "gomem/mheap.h"

static void *moduleMalloc(void *heap, void *p, uintptr_t size, const gomem_type *typ, bool needzero) {
	return gomem_mallocgc(heap, p, size, typ, needzero);
}

static void moduleCycle(void *heap, void *p, bool all) {
	gomem_finishsweep(heap, p);
	gomem_setGCPhase(heap, gcMarkTermination);
	gomem_setGCPhase(heap, gcOff);
	gomem_startsweep(heap);
	gomem_prepareForSweep(heap, p);
	while (all && gomem_sweepone(heap, p) != ~(uintptr_t)0) {
	}
}

static unsigned long moduleSummarize(const uint64_t *bits) {
	return pallocBits_summarize(&layout_linux_amd64_go126, (const pallocBits *)(const void *)bits);
}

static unsigned moduleCountAlloc(uint8_t *bits, unsigned n) {
	static mspan s;
	s.nelems = (uint16_t)n;
	s.gcmarkBits = bits;
	return mspan_countAlloc(&s);
}

BENCH_EXPORT const bench_module *bench_module_get(void);
const bench_module *bench_module_get(void) {
	static bench_module m;
	m.heap = gomem_heap_new(NULL);
	if (m.heap == NULL) {
		return NULL;
	}
	m.p = gomem_heap_p(m.heap, 0);
	m.malloc = moduleMalloc;
	m.cycle = moduleCycle;
	m.summarize = moduleSummarize;
	m.countAlloc = moduleCountAlloc;
	return &m;
}
