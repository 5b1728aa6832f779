// predict_pages.h: which span covers a page according to the trace, and the sweeps that the trace tells.
//
// A page table of the addresses of the trace, in pieces of 8192 pages. What a sweep freed decides what is allocated next, often before the
// trace says so: all sweeps are collected in a first pass.
//
// Invariants: a page is covered iff the entry `back` pages below it has npages > back; group - 1 is an index of predict_sweeps.groups
//   groups of a cycle and a span: one at most; groups stand in the order of their first event
#ifndef GOMEM_TRACES_PREDICT_PAGES_H
#define GOMEM_TRACES_PREDICT_PAGES_H

#include "traces/predict.h"

#include <uthash.h>

enum { reclaimChunkPages = 512 }; // Go: pagesPerReclaimerChunk
enum { predictPageShift = 13, predictPieceShift = 13, predictPiecePages = 1 << predictPieceShift };

enum {
	PAGE_SEEN = 1,  // was part of a span since the trace began: nothing before it matters any more
	PAGE_FREED = 2, // the span that begins here was freed by the port, Go's event is still to come
	PAGE_HIDDEN = 4 // the span that begins here is as the snapshot had it: its place in mcentral is not known
};

// When a span was put behind the others of one of mcentral's sets, as far as the trace tells: between these times.
typedef struct push_window {
	uint64_t since, until;
	uint64_t
		reclaimSince; // or since this time, if reclaim swept it, which is not told: it came to the span then; noReclaim: it did not
	uint32_t cycle; // cycles that had begun sweeping, + 1; 0: never
	int16_t by;     // by that P, or in the flush of its cache; -1: by an M without one
	bool flush;
	bool told; // something in it was freed
} push_window;

typedef struct page_info {
	uint32_t back;   // pages to the first one of the span
	uint32_t npages; // first page: pages of the span, 0: none begins here
	uint32_t group;  // first page: its sweep in this cycle; 0: none
	uint32_t
		black; // first page: the cycle before whose sweeping an object was allocated in the span, while marking was on
	uint16_t class; // first page
	uint8_t flags;
	uint64_t told;              // first pass: events before the last one that told of a span here
	push_window push, lastPush; // first page: the last one, and the last one of the cycle before that
} page_info;

static const uint64_t noReclaim = UINT64_MAX;
static const uint64_t windowOpen = UINT64_MAX; // of until: what comes next there has not been told

typedef struct page_piece {
	uint64_t number;
	UT_hash_handle hh;
	page_info pages[predictPiecePages];
} page_piece;

typedef struct page_table {
	page_piece *pieces, *last;
} page_table;

// pages_at gives the entry of a page, NULL where no span ever was.
page_info *pages_at(page_table *t, uint64_t addr);
bool pages_span(page_table *t, uint64_t base, uint64_t npages, uint16_t class);
void pages_unspan(page_table *t, uint64_t base);
// pages_base gives the base of the span that covers addr, 0: none.
uint64_t pages_base(page_table *t, uint64_t addr);
void pages_free(page_table *t);

// How Go came to sweep a span.
typedef enum sweep_how {
	SWEEP_BY_SWEEPER, // in the order of sweepone
	SWEEP_BY_REFILL,  // mcentral, for the P that took the span next
	SWEEP_BY_CREDIT,  // sweepone, for the allocation that follows
	SWEEP_BY_RECLAIM, // for its pages, out of order
	SWEEP_CONTINUED,  // more of a group before it
} sweep_how;

// What an allocation swept between GOTRACE_SWEEP_BEGIN and END. It may do so for its credit, then in mcentral, then to reclaim pages.
typedef enum region_what {
	REGION_UNKNOWN, // its stack is another one: who makes a goroutine allocates on the system's
	REGION_CREDIT,
	REGION_REFILL, // mcentral: the last span swept is the one that the allocation takes, or none is
	REGION_RECLAIM,
} region_what;

typedef struct sweep_region {
	region_what what;
	uint32_t chunks; // reclaim: of 512 pages that it looked at
	uint32_t first;  // its groups are among those from this one on
} sweep_region;

typedef struct sweep_group {
	uint64_t base;
	uint64_t earliest; // of its last free: it was told no earlier
	uint32_t first, n; // slots freed: predict_sweeps.offsets[first..first+n)
	uint32_t more;     // the next part: two Ms swept at the same time; 0: none
	uint32_t region;   // regions[region - 1]; 0: not swept by an allocation
	uint32_t cycle;    // cycles that had begun sweeping
	uint32_t left;     // second pass: slots that the trace comes to yet
	uint8_t how;       // sweep_how
	bool freed;        // the span too
	bool seen, told;   // second pass: the trace came to it, and to the end of its span
	bool putOff;       // second pass: its turn came before, and the trace tells it later: it is in no set
} sweep_group;

// A span that the trace frees without having told it: go1.23 does not tell a stack span that is made while the trace itself needs more stack.
// It was made between events `since` and `freed`.
typedef struct untold_span {
	uint64_t base;
	uint64_t since, freed;
	bool placed; // second pass: it is in the heap
} untold_span;
enum { untoldPages = 4 }; // what stacks of up to 32 KiB come from: how many there are is not told either

// mallocgc tells of an object at its end. Two things say that it took the slot before: it tells how large the heap is when it has got a span for a
// P's cache; and the stack of a goroutine that stops in mallocgc.
typedef struct early_object {
	uint64_t taken, told; // events: the slot was taken at, or before, the first one
	uint64_t addr;
	bool done; // second pass: it was taken
} early_object;
static const uint64_t notEarly = UINT64_MAX; // of taken

typedef struct predict_sweeps {
	sweep_group *groups;
	uint32_t len;
	size_t cap;
	uint16_t *offsets; // of slots in their spans, in words
	uint32_t noffsets;
	size_t capOffsets;
	sweep_region *regions; // of each GOTRACE_SWEEP_BEGIN
	uint32_t nregions;
	size_t capRegions;
	uint64_t *acquired; // cycle << 16 | P: who acquired that P flushed its cache, so that it was not idle
	uint32_t nacquired;
	size_t capAcquired;
	untold_span *untold; // by base, then by freed
	uint32_t nuntold;
	size_t capUntold;
	early_object *early;    // by told
	uint32_t *earlyByTaken; // indices of these by taken
	size_t capEarly;
	uint32_t nearly;
	int32_t procs;    // largest P + 1
	uint64_t sweeper; // the goroutine that sweeps in the background; 0: not known
	bool noGreenTea;  // an object lies where Green Tea has its mark bits
} predict_sweeps;

// sweeps_collect is the first pass. The table t is empty before and after.
bool sweeps_collect(const predict_source *src, predict_sweeps *out, gmt_error *err);
// sweeps_untold gives the untold span of base that is there, or comes yet, at event `now`; NULL: none.
untold_span *sweeps_untold(const predict_sweeps *w, uint64_t base, uint64_t now);
bool sweeps_acquired(const predict_sweeps *w, uint32_t cycle, int32_t p);
void sweeps_free(predict_sweeps *w);

#endif
