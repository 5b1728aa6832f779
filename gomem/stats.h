// stats.h (layer 0): the allocator's counters.
//
// Ports sysMemStat and heapStatsDelta of mstats.go and the counters of gcController that the allocator writes (mgcpacer.go).
//
// Invariants, at rest (tested by gomem_heap_check):
//   heapInUse + heapFree + heapReleased == bytes of heap mapped (Prepared or Ready)
//   committed  == heapInUse + stacks + work buffers + heapFree,  released == heapReleased
//   mappedReady == heapInUse + heapFree + all sys stats that are Ready
#ifndef GOMEM_STATS_H
#define GOMEM_STATS_H

#include <stdatomic.h>
#include <stdint.h>

#include "gomem/layout.h"

// Bytes of memory obtained from the OS for one purpose, updated atomically.
typedef struct sysMemStat {
	_Atomic(uint64_t) v;
} sysMemStat;

// Changes of the heap's statistics, one accumulator for each P (and one for callers without a P); their sum is the truth.
typedef struct heapStatsDelta {
	_Atomic(int64_t) committed, released;
	_Atomic(uint64_t) inHeap, inStacks, inWorkBufs; // of one P they may be below 0
	_Atomic(uint64_t) tinyAllocCount;
	_Atomic(uint64_t) largeAlloc, largeAllocCount;
	_Atomic(uint64_t) smallAllocCount[maxSizeClasses];
	_Atomic(uint64_t) largeFree, largeFreeCount;
	_Atomic(uint64_t) smallFreeCount[maxSizeClasses];
} heapStatsDelta;

typedef struct gomem_stats {
	// memstats: metadata by purpose
	sysMemStat stacks_sys, mspan_sys, mcache_sys, buckhash_sys, gcMiscSys, other_sys;
	// gcController
	sysMemStat heapInUse, heapReleased, heapFree;
	_Atomic(int64_t) mappedReady;
	_Atomic(uint64_t) totalAlloc, totalFree;
	_Atomic(uint64_t) heapLive, heapScan;
	heapStatsDelta heapStats; // callers without a P, and Ps that were destroyed
} gomem_stats;

static inline void sysMemStat_add(sysMemStat *s, int64_t n) {
	atomic_fetch_add_explicit(&s->v, (uint64_t)n, memory_order_relaxed);
}
static inline uint64_t sysMemStat_load(const sysMemStat *s) {
	return atomic_load_explicit(&((sysMemStat *)(uintptr_t)s)->v, memory_order_relaxed);
}

#endif
