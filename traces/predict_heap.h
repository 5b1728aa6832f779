// predict_heap.h: the port's heap beside a trace: taking over a snapshot, and making its state Go's after a difference.
//
// Everything that decides is the port's. What stands here only moves spans and pages to where Go has them.
//
// Invariants: a span of the trace is an mspan in use, or manual, at the same base with as many pages and the same class
//   allocCount == allocated slots; a slot is allocated iff it is below freeindex or its allocBit is set
//   held spans are swept and in no set; they go back before a cycle begins
#ifndef GOMEM_TRACES_PREDICT_HEAP_H
#define GOMEM_TRACES_PREDICT_HEAP_H

#include "gomem/mcache.h"
#include "traces/predict_pages.h"

typedef struct snap_span {
	uint64_t addr, npages;
	uint16_t class;
} snap_span;

typedef struct snapshot {
	snap_span *spans;
	size_t nspans, capSpans;
	uint64_t *objects;
	size_t nobjects, capObjects;
} snapshot;

typedef struct span_list {
	mspan **p;
	size_t len, cap;
} span_list;

typedef struct predict_heap {
	gomem_heap *h;
	gomem_os *os;
	page_table pages;
	span_list held;
} predict_heap;

bool snapshot_span(snapshot *s, const gotrace_event *e);
bool snapshot_object(snapshot *s, uint64_t addr);
void snapshot_free(snapshot *s);
// heap_import makes the spans and objects of s. unswept says of a span that the trace sweeps it before the first cycle.
// false: out of memory or not a heap; err says which.
bool heap_import(predict_heap *ph, snapshot *s, uint64_t minAddr, bool (*unswept)(void *ctx, uint64_t base), void *ctx,
	gmt_error *err);

// span_at gives the live span that covers addr, NULL: none.
mspan *span_at(gomem_heap *h, uint64_t addr);
// span_owner: the P whose cache has s, NULL: none.
gomem_p *span_owner(gomem_heap *h, mspan *s);
// heap_note writes s into the page table.
bool heap_note(predict_heap *ph, mspan *s);
// span_move takes s, which the port put elsewhere, to newBase. keep: so many pages where it was stay out of use.
bool span_move(predict_heap *ph, gomem_p *p, mspan *s, uint64_t newBase, uint64_t keep);
// page_isHeld: the page is in use, in no span, and in no P's page cache.
bool page_isHeld(predict_heap *ph, uint64_t page);
// span_unalloc gives back a span that the port just made.
void span_unalloc(predict_heap *ph, gomem_p *p, mspan *s);
// span_discard ends a span that Go does not have any more.
void span_discard(predict_heap *ph, gomem_p *p, mspan *s);
// span_uncache takes s out of p's cache; it is swept and in no set.
void span_uncache(gomem_heap *h, gomem_p *p, mspan *s);
// span_cache makes s p's span of its class, wherever it was. false: it has no free slot.
bool span_cache(predict_heap *ph, gomem_p *p, mspan *s);
// span_putFirst makes s the next one that mcentral takes; span_hold keeps it from being taken in this cycle.
bool span_putFirst(gomem_heap *h, mspan *s);
bool span_hold(predict_heap *ph, mspan *s);
bool heap_unhold(predict_heap *ph);
// span_nextUnswept is what mcentral sweeps first, heap_nextUnswept what sweepone does; NULL: there is none. What was swept out of order leaves
// the set, as when it is popped.
mspan *span_nextUnswept(gomem_heap *h, spanClass spc, bool full);
mspan *heap_nextUnswept(gomem_heap *h);
// span_putOff takes s, one of the above, out of its set: somebody else is about to sweep it. span_putOn makes it the first one again.
void span_putOff(gomem_heap *h, mspan *s);
// span_unsweptAt gives the span at place k of the set of unswept ones, swept by now or not. NULL: there are not so many.
mspan *span_unsweptAt(gomem_heap *h, spanClass spc, bool full, uint32_t k);
// span_takeOut takes those out of that set that pass a test, at most `max` of them, as long as fewer than `look` that do not stand before them, and
// gives how many: spans. span_putBack puts them before all others, in this order; false: out of memory.
typedef struct span_test {
	bool (*test)(void *ctx, mspan *s);
	void *ctx;
} span_test;
uint32_t span_takeOut(
	gomem_heap *h, spanClass spc, bool full, uint32_t look, const span_test *out, mspan **spans, uint32_t max);
bool span_putBack(gomem_heap *h, spanClass spc, bool full, mspan *const *spans, uint32_t n);
bool span_putOn(gomem_heap *h, mspan *s);
// pcache_adopt makes the block around base p's page cache: what is free in it from `from` on. unseen: only pages that were never in a span.
void pcache_adopt(predict_heap *ph, gomem_p *p, uint64_t base, uint64_t from, bool unseen);
// pcache_extend puts what is free from `from` to below `to` into p's page cache, whose block has it.
void pcache_extend(predict_heap *ph, gomem_p *p, uint64_t from, uint64_t to);
// pcache_dropBelow gives what p's page cache has below addr back to the heap.
void pcache_dropBelow(predict_heap *ph, gomem_p *p, uint64_t addr);
static inline uint64_t pcache_block(uint64_t base) {
	return alignDown(base, (uint64_t)pageCachePages << predictPageShift);
}

#endif
