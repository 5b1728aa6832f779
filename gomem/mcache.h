// mcache.h (layer 5): a P's cache of spans, the tiny block and the stack cache. Ports mcache.go and the prototypes of malloc.go and stack.go.
//
// Invariants: alloc[i] is &h->emptymspan or a span of class i with sweepgen == h->sweepgen + 3 (or + 1 after a cycle began);
//   tinyoffset <= 16, and tiny == 0 or 16-byte aligned; stackcache[o].size == bytes of the stacks in its list;
//   reusableNoscan[i] lists allocated slots of noscan spans of class i, each once; empty unless the heap has runtimeFreegc.
// One user at a time. Keeps Go's fields, order and offsets.
#ifndef GOMEM_MCACHE_H
#define GOMEM_MCACHE_H

#include "gomem/mheap.h"

typedef struct stackfreelist {
	uintptr_t list; // first free stack, linked through its first word
	uintptr_t size; // bytes
} stackfreelist;

struct mcache {
	int64_t nextSample;
	intptr_t memProfRate;
	uintptr_t scanAlloc;
	uintptr_t tiny;
	uintptr_t tinyoffset;
	uintptr_t tinyAllocs;
	mspan *alloc[maxSpanClasses];
	uintptr_t reusableNoscan[maxSpanClasses]; // objects given back by freegc, linked through their first words
	stackfreelist stackcache[numStackOrdersMax];
	_Atomic(uint32_t) flushGen;
};
_Static_assert((int)maxSizeClasses != (int)numSizeClasses || sizeof(void *) != 8 ||
		(offsetof(mcache, tiny) == 24 && offsetof(mcache, alloc) == 48 && offsetof(mcache, reusableNoscan) == 1136 &&
			offsetof(mcache, stackcache) == 2224 && sizeof(mcache) == 2296),
	"mcache keeps Go's layout");

mcache *allocmcache(mheap *h); // NULL: out of memory
void freemcache(mheap *h, gomem_p *running, gomem_p *owner, mcache *c);
// refill replaces the full span of class spc. false: out of memory, the cache has the empty span there.
bool mcache_refill(mheap *h, gomem_p *p, mcache *c, spanClass spc);
mspan *mcache_allocLarge(mheap *h, gomem_p *p, mcache *c, uintptr_t size, bool noscan);
// releaseAll and prepareForSweep: running is the P of the caller, whose stream makes the calls below; c may belong to another P.
void mcache_releaseAll(mheap *h, gomem_p *running, mcache *c);
// prepareForSweep: true if there was something to do.
bool mcache_prepareForSweep(mheap *h, gomem_p *running, mcache *c);
// mcache_prepareAll does it for each P. World stopped.
void mcache_prepareAll(mheap *h, gomem_p *running);
// addReusableNoscan puts the slot v of class spc first in its list. false: out of memory, v stays where it was.
bool mcache_addReusableNoscan(mheap *h, mcache *c, spanClass spc, uintptr_t v);
static inline bool mcache_hasReusableNoscan(const mcache *c, spanClass spc) { return c->reusableNoscan[spc] != 0; }
bool mcache_isReusable(mheap *h, const mcache *c, spanClass spc, uintptr_t v); // is v in the list of class spc?
static inline mcache *getMCache(mheap *h, gomem_p *p) { return p == NULL ? h->mcache0 : p->mcache; }
// mcache_check tests the invariants at the head of this file. World stopped. NULL if all hold.
const char *mcache_check(mheap *h, mcache *c);

// ---- malloc.c
bool mallocinit(mheap *h);
// mallocgcFull is mallocgc with all that can happen on the way (see gomem_mallocgc). The address; 0: out of memory, and errno says so. *path: how
// it was served (lab.h); path may be NULL.
uintptr_t mallocgcFull(mheap *h, gomem_p *p, uintptr_t size, const gomem_type *typ, bool needzero, unsigned *path);
// reusableSize: objects of such sizes can be given back.
static inline bool reusableSize(const gomem_layout *L, uintptr_t size) {
	return size >= L->maxTinySize && size <= L->maxSmallSize - L->mallocHeaderSize;
}
// freegc: see gomem_freegc.
bool freegc(mheap *h, gomem_p *p, uintptr_t ptr, uintptr_t size, bool noscan);
// sizeToClass: the smallest size class that holds size bytes, which is at most maxSmallSize.
static inline uint8_t sizeToClass(const gomem_layout *L, uintptr_t size) {
	if (size <= L->smallSizeMax - 8) {
		return layout_lookupSmall(L, (size + L->smallSizeDiv - 1) / L->smallSizeDiv);
	}
	return layout_lookupLarge(L, (size - L->smallSizeMax + L->largeSizeDiv - 1) / L->largeSizeDiv);
}
// roundupsize gives what mallocgc really allocates for size, less metadata (Go: msize.go).
uintptr_t roundupsize(mheap *h, uintptr_t size, bool noscan);
// nextSample draws how many bytes may be allocated until the next sample.
int64_t nextSample(mheap *h);
// setMemProfileRate: so many bytes on average from one sample to the next (Go: MemProfileRate). World stopped.
void setMemProfileRate(mheap *h, int64_t rate);
int32_t fastexprand(mheap *h, int64_t mean);

static inline bool unlikely(bool x) { return __builtin_expect(x, false); }
static inline bool likely(bool x) { return __builtin_expect(x, true); }
// tinyAlign gives the offset in its block at which a tiny object may begin.
static inline uintptr_t tinyAlign(const gomem_layout *L, uintptr_t off, uintptr_t size) {
	if ((size & 7) == 0) {
		return (uintptr_t)alignUp(off, 8);
	}
	if (L->ptrSize == 4 && size == 12) {
		return (uintptr_t)alignUp(off, 8); // it may hold a 64-bit integer
	}
	if ((size & 3) == 0) {
		return (uintptr_t)alignUp(off, 4);
	}
	return (size & 1) == 0 ? (uintptr_t)alignUp(off, 2) : off;
}

// nextSlot gives the index behind the next free slot of s if it is among the 64 that allocCache knows, else 0. *rest: allocCache without it.
static inline __attribute__((always_inline)) uint32_t nextSlot(const mspan *s, uint64_t *rest) {
	const uint64_t cache = s->allocCache;
	if (unlikely(cache == 0)) {
		return 0;
	}
	const unsigned theBit = (unsigned)__builtin_ctzll(cache);
	const uint32_t next = s->freeindex + theBit + 1u;
	if (unlikely((uint16_t)next > s->nelems) || unlikely(next % 64 == 0)) { // the latter: allocCache is to be filled
		return 0;
	}
	*rest = cache >> 1 >> theBit;
	return next;
}
// takeNextSlot takes the slot before next, which nextSlot found. The address.
static inline __attribute__((always_inline)) uintptr_t takeNextSlot(
	mspan *s, uint32_t next, uint64_t rest, uintptr_t elemsize) {
	const uintptr_t x = mspan_base(s) + (uintptr_t)(next - 1) * elemsize;
	s->allocCache = rest;
	s->freeindex = (uint16_t)next;
	s->allocCount++;
	return x;
}
// mspan_countSlot counts a slot that mspan_nextFreeIndex gave.
static inline void mspan_countSlot(mheap *h, mspan *s) {
	s->allocCount++;
	if (s->allocCount > s->nelems) {
		gomem_throw(&h->env, "s->allocCount > s->nelems");
	}
}

// ---- mallocsized.c
extern const gomem_ways sizedWays[4], fullWays;
// mallocgc decides what mallocgcFull would.
uintptr_t mallocgc(mheap *h, gomem_p *p, uintptr_t size, const gomem_type *typ, bool needzero, unsigned *path);

// ---- mgcmark.c. Heap memory must be backed. w is the queue of the caller's P; of who has none, &h->work.gcw
void shade(mheap *h, gcWork *w, uintptr_t b); // makes the object that b points into grey
// scanblock: the words of [b, b + n) that ptrmask names are pointers. scanConservative: each word may be one.
void scanblock(mheap *h, gcWork *w, uintptr_t b, uintptr_t n, const uint8_t *ptrmask);
void scanConservative(mheap *h, gcWork *w, uintptr_t b, uintptr_t n);
void gcMarkStart(mheap *h); // the mark phase begins: with the blocks that tiny objects will be put into
void gcGreyRoots(mheap *h, gcWork *w, const gomem_root *roots, size_t n);
// gcDrainN scans about so many bytes, from w, then from what others gave away; returns how many, -1: there was nothing to be found.
int64_t gcDrainN(mheap *h, gcWork *w, int64_t scanWork);
void gcDrain(mheap *h);                                        // scans until nothing is grey. World stopped
void gcMarkRoots(mheap *h, const gomem_root *roots, size_t n); // see gomem_markroots
void collectGarbage(mheap *h, gomem_p *p, const gomem_root *roots, size_t n); // see gomem_gc
// mgcmark_check tests the invariants at the head of mgcmark.c, after gcDrain and before a sweep. Slow. NULL if all hold.
const char *mgcmark_check(mheap *h);

// ---- proc.c: the allocator's part of proc.go
gomem_p *p_init(mheap *h, int32_t id); // NULL: out of memory. Ps are made in any order and kept in h->allp
void p_destroy(mheap *h, gomem_p *running, gomem_p *pp);
// p_flushPages gives the pages of pp's cache back, and what was made ahead of them to the OS. World stopped, or nobody uses pp.
void p_flushPages(mheap *h, gomem_p *pp);
static inline bool p_isAlive(const gomem_p *pp) { return pp != NULL && pp->mcache != NULL; }
bool procresize(mheap *h, int32_t nprocs); // false: out of memory, the number of Ps is as before

// ---- stack.c
void stackinit(mheap *h);
uintptr_t stackalloc(mheap *h, gomem_p *p, uint32_t n, bool bypass); // 0: out of memory
void stackfree(mheap *h, gomem_p *p, uintptr_t v, uintptr_t n, bool bypass);
void stackcache_clear(mheap *h, gomem_p *running, mcache *c);
void freeStackSpans(mheap *h, gomem_p *p);
// stack_isFree says whether the stack at x, a slot of s or all of it, is in a free list of its pool, or in p's cache (NULL: not asked).
bool stack_isFree(mheap *h, gomem_p *p, mspan *s, uintptr_t x);
// stack_check tests the invariants at the head of stack.c. World stopped. NULL if all hold.
const char *stack_check(mheap *h);

// ---- mstats.c
void readmemstats(mheap *h, gomem_memstats *out);

#endif
