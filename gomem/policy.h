// policy.h (layer 0): when things happen that Go decides from pacing, scheduling or the collector. Which object, span or page is taken is never asked here.
//
// A heap without a policy decides from its own state, by Go's rules as far as they need no pacer. A replay answers from a recording, a fuzzer
// from its input.
#ifndef GOMEM_POLICY_H
#define GOMEM_POLICY_H

#include <stdbool.h>
#include <stdint.h>

struct gomem_heap;
struct gomem_p;
struct mspan;

// Each member may be NULL: then the native rule holds. ctx is passed through.
typedef struct gomem_policy {
	void *ctx;
	// May cacheSpan look at unswept spans? (Go: sweep.active.begin().valid)
	bool (*sweepActive)(void *ctx, struct gomem_heap *h, struct gomem_p *p);
	// Sweep in proportion to allocation (Go: deductSweepCredit); calls sweepone as often as it likes.
	void (*deductSweepCredit)(
		void *ctx, struct gomem_heap *h, struct gomem_p *p, uintptr_t spanBytes, uintptr_t callerSweepPages);
	// Reclaim npages before the heap grows (Go: mheap.reclaim); calls mheap_reclaimSpan as often as it likes.
	void (*reclaim)(void *ctx, struct gomem_heap *h, struct gomem_p *p, uintptr_t npages);
	// The marks of s are wanted now, in s->gcmarkBits: it is about to be swept.
	void (*loadMarks)(void *ctx, struct gomem_heap *h, struct gomem_p *p, struct mspan *s);
	// An object with specials is unmarked at sweep: true revives it. (Go: finalizers)
	bool (*reviveSpecial)(void *ctx, struct gomem_heap *h, struct mspan *s, uintptr_t objIndex);
	// After a span was allocated and the heap grew by growth bytes: scavenge now? (Go: the end of allocSpan)
	void (*scavengeAssist)(void *ctx, struct gomem_heap *h, struct gomem_p *p, uintptr_t scav, uintptr_t growth);
	// A refill or a large allocation ended: a GC cycle may be due. (Go: gcTriggerHeap)
	void (*gcTrigger)(void *ctx, struct gomem_heap *h, struct gomem_p *p);
	// An allocation of size bytes while marking is on, for which p has no credit left (Go: gcAssistAlloc).
	void (*assist)(void *ctx, struct gomem_heap *h, struct gomem_p *p, uintptr_t size);
} gomem_policy;

#endif
