// mheap.h (layer 4): spans, arenas and the page heap. Ports mheap.go, mcentral.go, mgcsweep.go, spanclass and the P's share of runtime2.go.
//
//   mspan      a run of pages with one use: objects of one size class, one large object, or manual memory (stacks, work buffers)
//   heapArena  metadata of 64 MiB of address space: which span each page belongs to, and page bitmaps
//   mcentral   the spans of one span class: (partial, full) x (swept, unswept) sets, which trade places when sweepgen grows by 2
//   gomem_p    a P: an mcache (layer 5), a page cache and a cache of mspan structures, used by one thread at a time
//
// Invariants of a span in use, tested by mheap_check:
//   base % pageSize == 0, limit == base + nelems * elemsize (small) or base + size (large), limit <= base + npages * pageSize
//   freeindex <= nelems, allocCount <= nelems
//   spans[page] == s for its first and last page, and for all its pages while it is in use
//   sweepgen == h->sweepgen - 2: needs sweeping; - 1: being swept; + 0: swept; + 1: cached before the cycle began; + 3: swept, then cached
// mspan, heapArena, mcentral, spanSet and pageCache keep Go's fields, order and offsets; but for heapArena where the layout is given at run time.
#ifndef GOMEM_MHEAP_H
#define GOMEM_MHEAP_H

#include "gomem/classes.h"
#include "gomem/gcbits.h"
#include "gomem/gomem.h"
#include "gomem/heapmem.h"
#include "gomem/mem.h"
#include "gomem/mfixalloc.h"
#include "gomem/mgcwork.h"
#include "gomem/mpagealloc.h"
#include "gomem/mspanset.h"
#include "gomem/persistentalloc.h"
#include "gomem/policy.h"

typedef struct gomem_heap mheap;
typedef struct mspan mspan;
typedef struct mcache mcache; // layer 5
typedef struct gomem_guard gomem_guard;

// ---- span class: size class << 1 | noscan
typedef uint8_t spanClass;
static inline spanClass makeSpanClass(uint8_t sizeclass, bool noscan) {
	return (spanClass)(sizeclass << 1 | (noscan ? 1 : 0));
}
static inline uint8_t spanClass_sizeclass(spanClass c) { return (uint8_t)(c >> 1); }
static inline bool spanClass_noscan(spanClass c) { return (c & 1) != 0; }
static inline spanClass tinySpanClass(const gomem_layout *L) { return makeSpanClass(L->tinySizeClass, true); }

typedef struct mSpanList {
	mspan *first, *last;
} mSpanList;
void mSpanList_init(mSpanList *l);
void mSpanList_remove(gomem_env *env, mSpanList *l, mspan *s);
static inline bool mSpanList_isEmpty(const mSpanList *l) { return l->first == NULL; }
void mSpanList_insert(gomem_env *env, mSpanList *l, mspan *s);
void mSpanList_insertBack(gomem_env *env, mSpanList *l, mspan *s);
void mSpanList_takeAll(mSpanList *l, mSpanList *other);

enum { mSpanDead = 0, mSpanInUse = 1, mSpanManual = 2 };
typedef enum spanAllocType { spanAllocHeap, spanAllocStack, spanAllocWorkBuf } spanAllocType;
static inline bool spanAllocType_manual(spanAllocType t) { return t != spanAllocHeap; }

typedef struct special {
	struct special *next;
	uintptr_t offset; // of the object in its span
	uint8_t kind;
} special;

struct mspan {
	mspan *next, *prev;
	mSpanList *list;
	uintptr_t startAddr;
	uintptr_t npages;
	uintptr_t manualFreeList; // free stacks of a stack span
	uint16_t freeindex;       // where the search for a free slot goes on
	uint16_t nelems;
	uint16_t freeIndexForScan;
	uint64_t allocCache; // ~allocBits from freeindex on
	gcBits *allocBits;
	gcBits *gcmarkBits;
	gcBits *pinnerBits;
	_Atomic(uint32_t) sweepgen;
	uint32_t divMul;
	uint16_t allocCount;
	spanClass spanclass;
	_Atomic(uint8_t) state;
	uint8_t needzero;
	bool isUserArenaChunk;
	uint16_t allocCountBeforeCache;
	uintptr_t elemsize;
	uintptr_t limit;
	mutex speciallock;
	special *specials;
	addrRange userArenaChunkFree;
	const gomem_type *largeType;
};
_Static_assert(sizeof(void *) != 8 ||
		(sizeof(mspan) == 160 && offsetof(mspan, freeindex) == 48 && offsetof(mspan, allocCache) == 56 &&
			offsetof(mspan, sweepgen) == 88 && offsetof(mspan, spanclass) == 98 && offsetof(mspan, elemsize) == 104 &&
			offsetof(mspan, specials) == 128 && offsetof(mspan, largeType) == 152),
	"mspan keeps Go's layout");

static inline uintptr_t mspan_base(const mspan *s) { return s->startAddr; }
static inline uint8_t mspan_state(mspan *s) { return atomic_load_explicit(&s->state, memory_order_acquire); }

typedef struct heapArena {
#ifndef GOMEM_RUNTIME_LAYOUT
	mspan *spans[maxPagesPerArena];
#endif
	_Atomic(uint8_t) pageInUse[maxPagesPerArena / 8]; // bit of a span's first page: the span is in use
	_Atomic(uint8_t) pageMarks[maxPagesPerArena / 8]; // ... some object of it is marked
	_Atomic(uint8_t) pageSpecials[maxPagesPerArena / 8];
	_Atomic(uint8_t) pageUseSpanInlineMarkBits[maxPagesPerArena / 8];
	void *checkmarks;
	_Atomic(uintptr_t) zeroedBase; // from here on the arena was never used, so it is zero
#ifdef GOMEM_RUNTIME_LAYOUT
	mspan *spans[maxPagesPerArena]; // at the end: there are no more than the layout has pages in an arena
#endif
} heapArena;

// heapArena_size: bytes that an arena's metadata takes.
static inline uintptr_t heapArena_size(const gomem_layout *L) {
#ifdef GOMEM_RUNTIME_LAYOUT
	return offsetof(heapArena, spans) + (uintptr_t)layout_pagesPerArena(L) * sizeof(mspan *);
#else
	(void)L;
	return sizeof(heapArena);
#endif
}

typedef struct arenaHint {
	uintptr_t addr;
	bool down;
	struct arenaHint *next;
} arenaHint;

typedef uintptr_t arenaIdx;
static inline arenaIdx arenaIndex(const gomem_layout *L, uintptr_t p) {
	return (p - (uintptr_t)L->arenaBaseOffset) >> L->logHeapArenaBytes;
}
static inline uintptr_t arenaBase(const gomem_layout *L, arenaIdx i) {
	return ((uintptr_t)i << L->logHeapArenaBytes) + (uintptr_t)L->arenaBaseOffset;
}
static inline uintptr_t arenaIdx_l1(const gomem_layout *L, arenaIdx i) {
	return L->arenaL1Bits == 0 ? 0 : i >> L->arenaL2Bits;
}
static inline uintptr_t arenaIdx_l2(const gomem_layout *L, arenaIdx i) {
	return L->arenaL1Bits == 0 ? i : i & (((uintptr_t)1 << L->arenaL2Bits) - 1);
}
typedef struct arenaList {
	arenaIdx *p;
	intptr_t len, cap;
} arenaList;

typedef struct mcentral {
	spanClass spanclass;
	spanSet partial[2];
	spanSet full[2];
} mcentral;
typedef union centralPadded { // keeps two mcentrals off one cache line
	mcentral mcentral;
	uint8_t pad[192];
} centralPadded;

// sweep.active: how many sweepers run, and whether the unswept sets are drained.
static inline uint32_t layout_numSweepClasses(const gomem_layout *L) { return layout_numSizeClasses(L) * 4; }
static const uint32_t sweepClassDone = ~0u;
static const uint32_t sweepDrainedMask = 1u << 31;
typedef struct activeSweep {
	_Atomic(uint32_t) state; // sweepers | sweepDrainedMask
} activeSweep;
typedef struct sweepLocker {
	uint32_t sweepGen;
	bool valid;
} sweepLocker;

typedef struct stackpoolItem {
	mutex mu;
	mSpanList span;
	uint8_t pad[cacheLineSize - sizeof(mutex) - sizeof(mSpanList)];
} stackpoolItem;

// Guards against misuse (guard.h, layer 5) are in checked and in hardened builds.
#if defined(GOMEM_CHECKED) || defined(GOMEM_HARDENED)
enum { guardsBuilt = true };
#else
enum { guardsBuilt = false };
#endif

struct gomem_p {
	const gomem_ways *ways; // first, for gomem_mallocgc_inline
	mheap *h;
	int32_t id;
	mcache *mcache;
	pageCache pcache;
	uintptr_t unusedFrom;  // pages of pcache from here on were never in a span
	uintptr_t populatedTo; // and what was made ahead ends here; 0: nothing was
	struct {
		intptr_t len;
		mspan *buf[mspanCacheLen];
	} mspancache;
	heapStatsDelta stats;
	int64_t gcAssistBytes;   // credit of the code that runs on this P
	uint64_t gcMarkedBytes;  // of slots that were taken on this P since marking began
	_Atomic(uintptr_t) user; // of a guarded heap: the thread that uses it; 0: none
	const char *userCall;    // and the call that it is in
};

enum { gcOff = 0, gcMark = 1, gcMarkTermination = 2 };
enum { defaultPopulateAhead = 256 << 10 };
enum { hugePagesMin = 32 << 20 }; // hugePagesFrom at first: a huge page of 2 MiB is a 16th of the heap then
enum {
#ifdef GOMEM_RUNTIME_LAYOUT
	arenaL1Max = 1 << maxArenaL1Bits,
#else
	arenaL1Max = 1, // linux/amd64 has one level
#endif
	numPsMax = 1 << 15
};

struct gomem_heap {
	// Go's mheap: its fields, order and offsets up to arenaHintAlloc
	mutex lock;
	pageAlloc pages;
	uint32_t sweepgen;
	struct {
		mspan **p;
		intptr_t len, cap;
	} allspans;
	_Atomic(uintptr_t) pagesInUse;
	_Atomic(uint64_t) pagesSwept, pagesSweptBasis;
	uint64_t sweepHeapLiveBasis;
	_Atomic(double) sweepPagesPerByte;
	_Atomic(uint64_t) reclaimIndex;
	_Atomic(uintptr_t) reclaimCredit;
	uint8_t arenasApart[cacheLineSize];
	_Atomic(uintptr_t) arenas[arenaL1Max]; // second level tables: _Atomic(heapArena *)[1 << arenaL2Bits]
	bool arenasHugePages;
	linearAlloc heapArenaAlloc;
	arenaHint *arenaHints;
	linearAlloc arena;
	arenaList heapArenas;
	arenaList userArenaArenas; // Go's only
	arenaList sweepArenas;
	arenaList markArenas; // Go's only
	struct {
		uintptr_t base, end;
	} curArena;
	centralPadded central[maxSpanClasses];
	fixalloc spanalloc, spanSPMCAlloc, cachealloc, specialAllocs[10]; // the second and the last are Go's only
	mutex speciallock;                                                // Go's only
	fixalloc arenaHintAlloc;
	// beside Go's mheap: the surroundings, and what Go keeps in other globals
	gomem_env env;
	gomem_policy policy;
	arenaHint *userArenaHints;
	uint64_t heapRandSeed;
	intptr_t heapRandSeedBitsRemaining;
	gcBitsArenas gcBitsArenas;
	struct {
		activeSweep active;
		_Atomic(uint32_t) centralIndex;
	} sweep;
	_Atomic(uint32_t) gcphase;
	bool gcBlackenEnabled;
	mspan emptymspan;                 // what an empty mcache slot points to
	_Atomic(uintptr_t) hugePagesFrom; // bytes in use from which the heap grows by huge pages; 0: never
	uintptr_t populateAhead;          // bytes that a P has backed before it needs them, at most; 0: none
	gomem_stats stats;
	// behind here is nothing of a heap inside of Go
	stackpoolItem stackpool[numStackOrdersMax];
	struct {
		mutex lock;
		mSpanList free[stackLargeClasses];
	} stackLarge;
	heapMemSide side;
	mcache *mcache0;
	gomem_p **allp;
	int32_t nallp, gomaxprocs;
	void (*sample)(void *ctx, void *obj, uintptr_t size);
	void *sampleCtx;
	int64_t memProfRate;
	uint64_t rand;     // state of cheaprand
	uint64_t zerobase; // the address of every object of size 0
	const gomem_ways *sizedWays,
		*fullWays; // of layer 5: mallocsized.c's four, by waysOf, and those that lead to mallocgcFull
	bool ownsOS;
	bool runtimeFreegc; // GOEXPERIMENT=runtimefreegc
	bool invalidptr;    // GODEBUG=invalidptr=1
	workType work;      // of the mark phase (layer 5, mgcmark.c)
	gomem_guard *guard; // layer 5, guard.h; NULL: not guarded
	void (*guardSweep)(mheap *h, const mspan *s);
};

// waysOf: which of sizedWays serve while marking is off or on, without or with inline marks.
static inline unsigned waysOf(bool marking, bool greenTea) { return (marking ? 2u : 0u) + (greenTea ? 1u : 0u); }
// p_wantedWays: fullWays in mark termination, where freegc gives something back, where somebody guards, and where heap memory can't be touched.
// (A lab build may have another heap: the ways are to be tested there.)
static inline const gomem_ways *p_wantedWays(const gomem_heap *h, const gomem_p *pp) {
	const bool guarded = guardsBuilt && h->guard != NULL;
	if (h->runtimeFreegc || guarded || pp->mcache == NULL || !(GOMEM_LAB || h->env.backed)) {
		return h->fullWays;
	}
	const uint32_t phase = atomic_load_explicit(&h->gcphase, memory_order_relaxed);
	return phase == gcMarkTermination ? h->fullWays : &h->sizedWays[waysOf(phase == gcMark, h->env.greenTea)];
}
// p_setWays: the phase of the collector, or pp's mcache, has changed. World stopped.
static inline void p_setWays(const gomem_heap *h, gomem_p *pp) { pp->ways = p_wantedWays(h, pp); }

// heapStats_of gives the accumulator of p, or the heap's own for callers without a P.
static inline heapStatsDelta *heapStats_of(mheap *h, gomem_p *p) { return p != NULL ? &p->stats : &h->stats.heapStats; }
// heapStats_add adds n to a counter of heapStats_of(h, p). Nobody but the user of p writes to those of p, so that no locked instruction is needed.
static inline void heapStats_add(const gomem_p *p, _Atomic(uint64_t) *v, uint64_t n) {
	if (p == NULL) {
		atomic_fetch_add_explicit(v, n, memory_order_relaxed);
		return;
	}
	atomic_store_explicit(v, atomic_load_explicit(v, memory_order_relaxed) + n, memory_order_relaxed);
}

// ---- mheap.c. p is the P of the caller, or NULL.
bool mheap_init(mheap *h); // mheap.init; false: out of memory
void mheap_destroy(mheap *h);
mspan *mheap_alloc(mheap *h, gomem_p *p, uintptr_t npages, spanClass spc); // NULL: out of memory, as for the next two
mspan *mheap_allocManual(mheap *h, gomem_p *p, uintptr_t npages, spanAllocType typ);
mspan *mheap_allocSpan(mheap *h, gomem_p *p, uintptr_t npages, spanAllocType typ, spanClass spc);
void mheap_freeSpan(mheap *h, gomem_p *p, mspan *s);
void mheap_freeManual(mheap *h, gomem_p *p, mspan *s, spanAllocType typ);
void mheap_reclaim(mheap *h, gomem_p *p, uintptr_t npage); // Go's own rule
// mheap_reclaimSpan is one step of reclaimChunk, for a policy: try to acquire s and sweep it. Not under the heap lock.
bool mheap_reclaimSpan(mheap *h, gomem_p *p, mspan *s);
uintptr_t mheap_grow(mheap *h, uintptr_t npage, bool *ok);
void *mheap_sysAlloc(mheap *h, uintptr_t n, arenaHint **hintList, arenaList *list, uintptr_t *size);
bool mheap_pushHint(mheap *h, arenaHint **list, uintptr_t addr, bool down); // false: out of memory
bool mheap_allocNeedsZero(mheap *h, uintptr_t base, uintptr_t npage);
void mheap_enableMetadataHugePages(mheap *h);
uint64_t mheap_nextHeapRandBits(mheap *h, int bits);
mspan *spanOf(mheap *h, uintptr_t p);          // any span whose pages cover p, dead ones too; NULL: none
mspan *spanOfUnchecked(mheap *h, uintptr_t p); // p is known to lie in the heap
mspan *spanOfHeap(mheap *h, uintptr_t p);      // a span in use with base <= p < limit
heapArena *heapArenaOf(mheap *h, uintptr_t p);
heapArena *mheap_arenaAt(mheap *h, arenaIdx ai);
void spanHasSpecials(mheap *h, mspan *s);
void spanHasNoSpecials(mheap *h, mspan *s);
void addspecial(mheap *h, gomem_p *p, mspan *s, special *sp); // sorted by offset, then kind
const char *mheap_check(mheap *h);
// setID of a spanSet in events: spanClass * 4 + {partial[0], partial[1], full[0], full[1]}
static inline uint32_t mcentral_setID(spanClass spc, bool full, unsigned which) {
	return (uint32_t)spc * 4 + (full ? 2u : 0u) + which;
}

// ---- mcentral.c
void mcentral_init(mcentral *c, spanClass spc);
spanSet *mcentral_partialUnswept(mcentral *c, uint32_t sweepgen);
spanSet *mcentral_partialSwept(mcentral *c, uint32_t sweepgen);
spanSet *mcentral_fullUnswept(mcentral *c, uint32_t sweepgen);
spanSet *mcentral_fullSwept(mcentral *c, uint32_t sweepgen);
mspan *mcentral_cacheSpan(mheap *h, gomem_p *p, mcentral *c); // a span with a free slot; NULL: out of memory
bool mcentral_uncacheSpan(mheap *h, gomem_p *p, mcentral *c, mspan *s);
mspan *mcentral_grow(mheap *h, gomem_p *p, mcentral *c);
bool mcentral_pushPartialSwept(mheap *h, mcentral *c, mspan *s);
bool mcentral_pushFullSwept(mheap *h, mcentral *c, mspan *s);

// ---- mgcsweep.c
sweepLocker activeSweep_begin(mheap *h);
// activeSweep_beginGiven begins a step of which the policy, if there is one, said that sweeping was active.
sweepLocker activeSweep_beginGiven(mheap *h);
void activeSweep_end(mheap *h, sweepLocker sl);
bool activeSweep_markDrained(mheap *h);
bool activeSweep_isDone(mheap *h);
bool isSweepDone(mheap *h);
// sweepLocker_tryAcquire takes the right to sweep s. reason: as in EV_ACQUIRE.
bool sweepLocker_tryAcquire(mheap *h, sweepLocker sl, mspan *s, unsigned reason);
uintptr_t sweepone(mheap *h, gomem_p *p); // ~0: nothing left
mspan *mheap_nextSpanForSweep(mheap *h);
bool mspan_sweep(mheap *h, gomem_p *p, mspan *s, bool preserve); // true: the span was freed
void mspan_ensureSwept(mheap *h, gomem_p *p, mspan *s);
void deductSweepCredit(mheap *h, gomem_p *p, uintptr_t spanBytes, uintptr_t callerSweepPages); // Go's own rule
void gcPaceSweeper(mheap *h, uint64_t trigger);
void finishsweep_m(mheap *h, gomem_p *p);
void finishsweep_reset(mheap *h); // its second half: all unswept sets are empty
void gcResetMarkState(mheap *h);  // no page has marks any more (Go: mgc.go); before marking
void gcSweep(mheap *h);           // begins a cycle
void setGCPhase(mheap *h, uint32_t phase);

// ---- mbitmap.c (layer 4)
static inline bool heapBitsInSpan(const gomem_layout *L, uintptr_t userSize) {
	return userSize <= L->minSizeForMallocHeader;
}
static inline bool fitsInlineMarkBits(const gomem_layout *L, uintptr_t size) {
	return size >= 16 && heapBitsInSpan(L, size);
}
static inline bool gcUsesSpanInlineMarkBits(const gomem_env *env, uintptr_t size) {
	return env->greenTea && fitsInlineMarkBits(layout_get(env), size);
}
void mspan_initHeapBits(mheap *h, mspan *s);
uint16_t mspan_nextFreeIndex(mheap *h, mspan *s);
void mspan_refillAllocCache(mspan *s, uint16_t whichByte);
bool mspan_isFree(const mspan *s, uintptr_t index);
uintptr_t mspan_objIndex(const mspan *s, uintptr_t p);
static inline bool cpu_hasPOPCNT(void) {
#ifndef __x86_64__
	return true; // nothing to ask for
#elif !defined(GOMEM_FREESTANDING)
	return __builtin_cpu_supports("popcnt");
#else
	return false;
#endif
}
unsigned mspan_countAlloc(const gomem_env *env, const mspan *s); // set bits of gcmarkBits; s is in use
// isFreeOrNewlyAllocated: free slots, and slots taken since marking began. The latter were marked when they were taken.
bool mspan_isFreeOrNewlyAllocated(const mspan *s, uintptr_t index);
bool mspan_isMarked(mheap *h, mspan *s, uintptr_t objIndex);
bool mspan_setMarked(mheap *h, mspan *s, uintptr_t objIndex); // atomic; also pageMarks. true: it was not marked before
void mspan_markPage(mheap *h, const mspan *s);                // pageMarks alone
void mspan_moveInlineMarks(mheap *h, mspan *s);               // into gcmarkBits
// heapSetType*: write the pointer bitmap or header of a new object; return bytes that a scan has to look at.
uintptr_t heapSetTypeNoHeader(mheap *h, uintptr_t x, uintptr_t dataSize, const gomem_type *typ, mspan *s);
uintptr_t heapSetTypeSmallHeader(
	mheap *h, uintptr_t x, uintptr_t dataSize, const gomem_type *typ, uintptr_t header, mspan *s);
uintptr_t heapSetTypeLarge(mheap *h, uintptr_t x, uintptr_t dataSize, const gomem_type *typ, mspan *s);
const gomem_type *mspan_loadLargeType(mspan *s); // NULL: not set yet
// heapBits_isPointer: does word addr of an object with pointers hold one? For collectors and tests.
bool heapBits_isPointer(mheap *h, uintptr_t addr);

#endif
