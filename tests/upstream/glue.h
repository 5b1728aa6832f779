// glue.h: what the Go package of tests/upstream cannot say in Go: page allocators and an index as Go's tests want them made, and a heap that
// was in use, with what Go's tests ask of it.
//
// Nothing here decides anything: what a test sees was decided in gomem/.
#ifndef GOMEM_UPSTREAM_GLUE_H
#define GOMEM_UPSTREAM_GLUE_H

#include "gomem/bgscavenge.h"
#include "gomem/gomem.h"
#include "gomem/lfstack.h"
#include "gomem/mcache.h"
#include "gomem/mem.h"
#include "gomem/mgcpacer.h"
#include "gomem/mpagealloc.h"
#include "gomem/persistentalloc.h"

// An environment over the process's own memory, with each address range's state checked.
gomem_env *upstream_env(void);

// ---- a page allocator without heap memory behind it, and the lock that its callers hold
typedef struct upstreamPages {
	pageAlloc p;
	mutex heapLock;
	heapStatsDelta delta;
} upstreamPages;
upstreamPages *upstream_newPages(gomem_env *env);
void upstream_freePages(gomem_env *env, upstreamPages *s);
// A chunk is begun, gets its scavenged pages, then its pages in use, and is ended. Ranges of no page are left out.
void upstream_beginChunk(gomem_env *env, upstreamPages *s, chunkIdx ci);
void upstream_scavengedInChunk(upstreamPages *s, chunkIdx ci, unsigned i, unsigned n);
void upstream_inUseInChunk(gomem_env *env, upstreamPages *s, chunkIdx ci, unsigned i, unsigned n);
void upstream_endChunk(gomem_env *env, upstreamPages *s, chunkIdx ci);
uintptr_t upstream_alloc(gomem_env *env, upstreamPages *s, uintptr_t npages, uintptr_t *scav);
void upstream_free(gomem_env *env, upstreamPages *s, uintptr_t base, uintptr_t npages);
pageCache upstream_allocToCache(gomem_env *env, upstreamPages *s);
void upstream_flush(gomem_env *env, upstreamPages *s, pageCache *c);
uintptr_t upstream_scavenge(gomem_env *env, upstreamPages *s, uintptr_t nbytes);

// ---- a scavenge index by itself, of chunks [min, max)
scavengeIndex *upstream_newIndex(chunkIdx min, chunkIdx max);
void upstream_freeIndex(scavengeIndex *s);
void upstream_resetSearchAddrs(scavengeIndex *s);

// ---- a pacer without a heap: the counters that a heap would keep are the test's
typedef struct upstreamController {
	gcControllerState c;
	gomem_stats stats;
} upstreamController;
upstreamController *upstream_newController(gomem_env *env, int32_t gcPercent, int64_t memoryLimit);
void upstream_freeController(upstreamController *c);
// A cycle begins at its trigger, with so much on stacks and in globals, after scannableFrac of what was allocated since the last one may be scanned.
void upstream_startCycle(
	upstreamController *c, uint64_t stackSize, uint64_t globalsSize, double scannableFrac, int32_t gomaxprocs);
// Differences since the last call.
typedef struct upstreamRevise {
	int64_t heapLive, heapScan, heapScanWork, stackScanWork, globalsScanWork;
} upstreamRevise;
void upstream_revise(upstreamController *c, upstreamRevise d);
void upstream_endCycle(
	upstreamController *c, uint64_t bytesMarked, int64_t assistTime, int64_t elapsed, int32_t gomaxprocs);
uint64_t upstream_heapLive(upstreamController *c);
double upstream_assistWorkPerByte(upstreamController *c);

// ---- a background scavenger, all of whose hooks are the test's: s is the first of their parameters.
typedef struct upstreamScavenger {
	scavengerState s;
	uintptr_t test; // what the test knows it by
} upstreamScavenger;
upstreamScavenger *upstream_newScavenger(gomem_env *env, uintptr_t test, int64_t (*sleep)(void *s, int64_t ns),
	uintptr_t (*scavenge)(void *s, uintptr_t nbytes, int64_t *ns), bool (*shouldStop)(void *s),
	int32_t (*gomaxprocs)(void *s));
void upstream_freeScavenger(upstreamScavenger *s);

// ---- stacks: nodes stand outside Go's heap, heads need not
void upstream_push(gomem_env *env, uint64_t *head, void *node);
void *upstream_pop(uint64_t *head);
void upstream_validateNode(gomem_env *env, const void *node);

// ---- a heap that was in use: objects of all kinds from nprocs Ps in turn, stacks, work buffers, and cycles that are swept and scavenged.
gomem_heap *upstream_newHeap(int nprocs);
void upstream_pagesInUse(gomem_heap *h, uintptr_t *pagesInUse, uintptr_t *counted);
// upstream_leaked counts pages in the caches of Ps that are gone.
uintptr_t upstream_leaked(gomem_heap *h);
// upstream_mismatch gives the first 64 pages of which some are both in use and scavenged, at *from pages after the heap's begin or later, and moves
// *from behind them. false: there are none.
bool upstream_mismatch(gomem_heap *h, uintptr_t *from, uintptr_t *base, uint64_t *got, uint64_t *want);
// The same figures twice: by gomem_readmemstats, and counted from spans, bitmaps and page caches. Frees are read in both.
typedef struct upstreamStats {
	uint64_t alloc, totalAlloc, mallocs, frees, released;
} upstreamStats;
upstreamStats upstream_readStats(gomem_heap *h);
upstreamStats upstream_countStats(gomem_heap *h);
unsigned upstream_countAlloc(uint8_t *bits, unsigned nbytes);

// fastlog2.c
double upstream_fastlog2(double x);

#endif
