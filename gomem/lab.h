// lab.h (layer 0): the hooks of a lab build (GOMEM_LAB=1): turns and events.
//
// A *turn* is asked for before a step whose order among Ps decides its outcome (a section under the heap lock, a spanSet
// slot claim, a sweep acquisition, ...). An *event* reports what the port decided. A replay gives turns in recorded order and
// compares events; a fuzzer explores orders. In a plain build both compile to nothing.
//
// The kinds and the meaning of their arguments are those of docs/FORMAT.md, and the recorder inside Go logs the same
// kinds at the same places.
#ifndef GOMEM_LAB_H
#define GOMEM_LAB_H

#include <stdint.h>

#ifndef GOMEM_LAB
#define GOMEM_LAB 0
#endif

// Role of an event. top: begins an operation (an input of the replay). given: an input inside an operation.
// All others are answers. "turn": a lab build asks for the turn before the step. sN: mspan, by identity.
typedef enum gomem_ev {
	EV_NONE = 0,
	// ---- operations (inputs)
	EV_MALLOC = 1,     // top: a=size b=noscan|needzero<<1  answer: c=path d=address (whole fast call)
	EV_MALLOCBEGIN,    // top: a=size b=noscan|needzero<<1; ends with EV_MALLOCEND
	EV_STACKALLOC,     // top: a=bytes b=bypass (1: no per-P cache); ends with EV_STACKEND
	EV_STACKFREE,      // top, turn: a=address b=bytes c=bypass (a stack may be freed on another P than it was taken on)
	EV_ALLOCMANUAL,    // top: a=npages (work buffers); ends at its EV_SPANINIT
	EV_FREEMANUAL,     // top: a=base of the span (work buffers)
	EV_SWEEPONE,       // top or given (deductSweepCredit): one call of sweepone that found sweeping active
	EV_ENSURESWEPT,    // top: a=base of the span; sweeping was active
	EV_RECLAIM,        // given: a=base of the span that reclaimChunk tries to acquire
	EV_SWEEPACTIVE,    // given: a=1 if cacheSpan may look at unswept spans
	EV_SCAVENGE,       // top or given (after allocSpan): a=bytes wanted b=force; one find + scavengeOne
	EV_PREPARESWEEP,   // top, turn: a=P id whose mcache.prepareForSweep had work to do
	EV_FLUSHMCACHE,    // top, turn: a=P id (releaseAll + stackcache_clear, world stopped)
	EV_FLUSHPCACHE,    // top, turn: a=P id (idle P's page cache, not empty)
	EV_FREESTACKSPANS, // top
	EV_GCPHASE,        // top, turn: a=phase (0 off, 1 mark, 2 mark termination)
	EV_SWEEPGEN,       // top, turn: gcSweep's start of a cycle  answer: a=new sweepgen
	EV_FINISHSWEEP,    // top, turn: unswept sets reset, mark bit arenas rotated
	EV_NEXTGEN,        // top, turn: scavengeIndex.nextGen
	EV_PINIT,          // top, turn: a=P id
	EV_PDESTROY,       // top, turn: a=P id
	EV_FREEGC, // top, turn: a=address b=size c=noscan (GOEXPERIMENT=runtimefreegc; it may have been allocated on another P)
	// ---- answers
	EV_MALLOCEND, // a=path b=address
	EV_STACKEND,  // turn: a=address
	EV_REFILL,    // a=spanClass b=old span (0: none)                                   [span]
	EV_REFILLEND, // a=spanClass|freeindex<<8 b=span c=allocCache d=allocCount|nelems<<16  [span]
	EV_PUSH,      // turn: a=set|slot<<10 b=span       set = spc*4 + {0,1 partial[0,1]; 2,3 full[0,1]}
	EV_POP,       // turn: a=set|slot<<10 b=span (0: empty)
	EV_SCLOAD,    // turn: a=sweep.centralIndex read
	EV_SCUPDATE,  // turn: a=sweep.centralIndex raised to
	EV_ACQUIRE,   // turn: a=ok b=span c=reason (1 cacheSpan 2 reclaim 3 sweepone 4 ensureSwept)
	EV_SWEEP, // a=preserve|nelems<<1|allocCount before<<17|freeindex<<33 b=span c=base d=npages|nalloc<<32; given: mark bits
	EV_PCREFILL,   // turn: a=base b=cache c=scav
	EV_PALLOC,     // turn: a=npages b=base (0: none) c=scav bytes d=searchAddr after
	EV_MSPANALLOC, // turn: b=span, taken under the heap lock
	EV_PCALLOC,    // a=npages b=base (0: none) c=scav bytes
	EV_PCFLUSH,    // turn: a=P id b=base c=cache d=scav
	EV_NEEDZERO,   // turn: a=base b=npages c=needzero (zeroedBase section)
	EV_SPANINIT,   // turn: a=type|spc<<2|needzero<<10|nelems<<11 b=span c=base d=npages | scav pages << 32
	EV_SPANFREE,   // turn: a=type b=span c=base d=npages
	EV_RESERVE, // turn: a=address asked b=size c=0, or for sysReserveAligned the size granted; given: c, d=address granted (0: none)
	EV_ARENA,      // turn: a=address b=size c=asked
	EV_PGROW,      // turn: a=base b=size
	EV_RANDPAD,    // turn: a=base b=npages
	EV_SCAVFIND,   // turn: a=chunk index (0: none) b=page index
	EV_SCAVBEGIN,  // turn: a=base b=npages
	EV_SCAVEND,    // turn: a=base b=npages
	EV_SCAVEMPTY,  // turn: a=chunk index set empty
	EV_SPOOLALLOC, // turn: a=order b=address
	EV_SPOOLFREE,  // turn: a=order|phase<<8 b=address
	EV_STACKSCAN,  // turn: a=order (0..3 stackpool, 4 stackLarge): a section of freeStackSpans
	EV_SLARGEPOP,  // turn: a=log2 class b=address (0: empty)
	EV_SLARGEPUSH, // turn: a=log2 class b=address
	EV_HINT, // a=list (0 heap, 1 user arenas) b=address; one for each hint after mallocinit, first to be tried first
	EV_MCACHEALLOC, // turn: an mcache was taken (inside EV_PINIT; at start for mcache0)
	EV_MAX,
	EV_MARKTURN =
		EV_MAX // turn: a step of marking. No recording has it: which objects are marked does not depend on the order
} gomem_ev;

// How mallocgc served a request: EV_MALLOC.c and EV_MALLOCEND.a.
enum {
	GOMEM_PATH_TINY_HIT = 0,
	GOMEM_PATH_TINY_NEW = 1,
	GOMEM_PATH_NOSCAN = 2,
	GOMEM_PATH_SCAN = 3,
	GOMEM_PATH_SCAN_HEADER = 4,
	GOMEM_PATH_LARGE = 5,
	GOMEM_PATH_REUSE = 6,
};

// The hooks. turn() returns when the running stream may take a step whose first event is of kind k (EV_NONE: any kind); event() takes a
// decision. busy() is told that a lock is taken: a replay, whose recorded order says that it must be free, does not return; a fuzzer lets
// others run, and the lock is tried again.
typedef struct gomem_lab {
	void *ctx;
	void (*turn)(void *ctx, gomem_ev k);
	void (*event)(void *ctx, gomem_ev k, uint64_t a, uint64_t b, uint64_t c, uint64_t d);
	void (*busy)(void *ctx, const char *lock);
	// look() is told of each summary that a search for pages reads: entry i of a level of the radix tree. NULL: nobody is.
	void (*look)(void *ctx, unsigned level, uint64_t i, uint64_t sum);
} gomem_lab;

#endif
