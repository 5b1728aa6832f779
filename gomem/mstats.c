// mstats.c (layer 5): reading the statistics. Ports the reader's side of mstats.go.
//
// Invariants: mallocs - frees == objects in use, a tiny block counting once for each request it serves;
//   total_alloc - total_free == bytes of slots in use.
#include "gomem/mcache.h"

static uint64_t get(const _Atomic(uint64_t) *v) {
	return atomic_load_explicit((_Atomic(uint64_t) *)(uintptr_t)v, memory_order_relaxed);
}

// addDelta adds the counters of one P.
static void addDelta(gomem_memstats *out, const gomem_layout *L, const heapStatsDelta *d) {
	out->stacks_in_use += get(&d->inStacks);
	out->work_bufs += get(&d->inWorkBufs);
	out->tiny_allocs += get(&d->tinyAllocCount);
	out->large_allocs += get(&d->largeAllocCount);
	out->total_alloc += get(&d->largeAlloc);
	out->total_free += get(&d->largeFree);
	out->mallocs += get(&d->largeAllocCount);
	out->frees += get(&d->largeFreeCount);
	for (unsigned i = 0; i < layout_numSizeClasses(L); i++) {
		const uint64_t allocs = get(&d->smallAllocCount[i]);
		const uint64_t frees = get(&d->smallFreeCount[i]);
		out->mallocs += allocs;
		out->total_alloc += allocs * layout_classSize(L, i);
		out->frees += frees;
		out->total_free += frees * layout_classSize(L, i);
	}
}

// addCache adds what was allocated from cached spans and not counted yet. DEVIATION(D15): Go flushes the caches instead, which
// would change what is allocated next.
static void addCache(gomem_memstats *out, mheap *h, const mcache *c) {
	out->tiny_allocs += c->tinyAllocs;
	for (int i = 0; i < maxSpanClasses; i++) {
		const mspan *s = c->alloc[i];
		if (s != &h->emptymspan) {
			const uint64_t used = (uint64_t)s->allocCount - s->allocCountBeforeCache;
			out->mallocs += used;
			out->total_alloc += used * s->elemsize;
		}
	}
}

void readmemstats(mheap *h, gomem_memstats *out) {
	*out = (gomem_memstats){
		.heap_in_use = sysMemStat_load(&h->stats.heapInUse),
		.heap_free = sysMemStat_load(&h->stats.heapFree),
		.heap_released = sysMemStat_load(&h->stats.heapReleased),
		.mapped_ready = (uint64_t)atomic_load_explicit(&h->stats.mappedReady, memory_order_relaxed),
		.mspan_sys = sysMemStat_load(&h->stats.mspan_sys),
		.mcache_sys = sysMemStat_load(&h->stats.mcache_sys),
		.gc_misc_sys = sysMemStat_load(&h->stats.gcMiscSys),
		.other_sys = sysMemStat_load(&h->stats.other_sys),
	};
	const gomem_layout *L = layout_get(&h->env);
	addDelta(out, L, &h->stats.heapStats);
	if (h->mcache0 != NULL && (h->nallp == 0 || !p_isAlive(h->allp[0]))) {
		addCache(out, h, h->mcache0);
	}
	for (int32_t i = 0; i < h->nallp; i++) {
		if (p_isAlive(h->allp[i])) {
			addDelta(out, L, &h->allp[i]->stats);
			addCache(out, h, h->allp[i]->mcache);
		}
	}
	out->mallocs += out->tiny_allocs;
	out->frees += out->tiny_allocs;
}
