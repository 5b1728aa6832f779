// world.h (layer 6): threads, and what runs beside them: stop-the-world, collections while the world runs, background sweeper and scavenger.
//
// A gomem_world is a heap whose Ps are handed to threads, and whose collections begin by themselves, as Go's do (GOGC, memory limit).
// A thread enters the world, gets a P, and from then on keeps three promises:
//   1. It calls gomem_safepoint now and then (gomem_world_malloc does so too), and stands between gomem_blocking_begin and _end where it waits.
//   2. What it holds is named by its roots at each safepoint and while it blocks. At a safepoint its P may become another one.
//   3. It stores pointers into objects and shared roots with gomem_write_barrier only. Words of an object that no other thread
//      knows yet, and that was made since the last safepoint, may be written as they are.
//
// Invariants:
//   a P is idle, or one thread that runs has it; while the world is stopped no thread runs, and all Ps are idle
//   while marking is on: roots of a thread that runs are black, also what they named before it ran; objects that are made are black
#ifndef GOMEM_WORLD_H
#define GOMEM_WORLD_H

#ifdef GOMEM_VARIANT
#include "gomem/variant.h"
#endif

#include "gomem/gomem.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct gomem_world gomem_world;   // a heap with threads
typedef struct gomem_thread gomem_thread; // one of them

// How a world is made. Zero is a good value for every field; NULL stands for zeros.
typedef struct gomem_world_config {
	gomem_config heap;         // its policy is the world's own
	int procs;                 // Ps; 0: one
	int gogc;                  // GOGC; 0: 100, negative: off
	int64_t memory_limit;      // GOMEMLIMIT, bytes; 0: none
	bool no_background;        // no sweeper and no scavenger of its own
	bool gcstoptheworld;       // GODEBUG=gcstoptheworld=1: mark with the world stopped
	bool no_barrier;           // for tests: gomem_write_barrier stores, and nothing else
	const gomem_root *globals; // roots of all threads; outlive the world
	size_t nglobals;           // how many
} gomem_world_config;

// NULL and errno on failure: EINVAL for more Ps than gomem_procresize takes, or a bad heap; ENOMEM, also where a thread cannot be made.
GOMEM_API gomem_world *gomem_world_new(const gomem_world_config *cfg);
// gomem_world_destroy: all threads have left.
GOMEM_API void gomem_world_destroy(gomem_world *w);
GOMEM_API gomem_heap *gomem_world_heap(gomem_world *w);

// gomem_world_enter makes the caller a thread of the world; waits for a P. NULL: out of memory.
GOMEM_API gomem_thread *gomem_world_enter(gomem_world *w);
GOMEM_API void gomem_world_leave(gomem_thread *t);
// gomem_thread_p: the P that t has until its next safepoint.
GOMEM_API gomem_p *gomem_thread_p(gomem_thread *t);
// gomem_thread_roots: from now on these, which stay where they are. What they name may change between safepoints.
GOMEM_API void gomem_thread_roots(gomem_thread *t, const gomem_root *roots, size_t n);
GOMEM_API void gomem_safepoint(gomem_thread *t);
// Between these t has no P and does not touch heap or roots (Go: entersyscall, exitsyscall).
GOMEM_API void gomem_blocking_begin(gomem_thread *t);
GOMEM_API void gomem_blocking_end(gomem_thread *t);

// gomem_world_malloc: a safepoint, then gomem_mallocgc.
GOMEM_API void *gomem_world_malloc(gomem_thread *t, size_t size, const gomem_type *typ, bool needzero);
// gomem_write_barrier stores ptr at *slot. While marking is on, what stood there and ptr become grey (Go's hybrid barrier: Yuasa, Dijkstra).
GOMEM_API void gomem_write_barrier(gomem_thread *t, void **slot, void *ptr);
// gomem_read loads a pointer that another thread may store.
GOMEM_API void *gomem_read(void *const *slot);

// gomem_stopTheWorld returns when no other thread runs; t is at a safepoint. All calls marked "world stopped" may be made then, with P 0.
GOMEM_API void gomem_stopTheWorld(gomem_thread *t);
GOMEM_API void gomem_startTheWorld(gomem_thread *t);

// gomem_world_gc runs a collection, and sweeps (Go: runtime.GC). A safepoint, as all that follow but gomem_world_metrics's reading of counters.
GOMEM_API void gomem_world_gc(gomem_thread *t);
// gomem_freeOSMemory collects and gives all free pages back (Go: debug.FreeOSMemory).
GOMEM_API void gomem_freeOSMemory(gomem_thread *t);
// gomem_world_procs sets the number of Ps (Go: GOMAXPROCS). false: out of memory.
GOMEM_API bool gomem_world_procs(gomem_thread *t, int n);
// They return what was set before (Go: debug.SetGCPercent, debug.SetMemoryLimit).
GOMEM_API int gomem_setGCPercent(gomem_thread *t, int gogc);
GOMEM_API int64_t gomem_setMemoryLimit(gomem_thread *t, int64_t bytes);

// Metrics by the names of Go's runtime/metrics. known: false if there is none of that name.
typedef struct gomem_metric {
	const char *name; // is given: "/gc/heap/live:bytes"
	uint64_t value;   // is answered
	bool known;       // is answered
} gomem_metric;
// gomem_world_metrics fills in value and known of n metrics.
GOMEM_API void gomem_world_metrics(gomem_thread *t, gomem_metric *m, size_t n);
// gomem_metric_name gives the i-th name that there is, NULL: there are no more.
GOMEM_API const char *gomem_metric_name(size_t i);

// gomem_world_check: what of the invariants does not hold; NULL: all hold. World stopped.
GOMEM_API const char *gomem_world_check(gomem_world *w);

#ifdef __cplusplus
}
#endif

#endif
