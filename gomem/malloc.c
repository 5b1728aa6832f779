// malloc.c (layer 5): objects. Ports malloc.go (mallocinit, mallocgc's five paths, the sampling countdown), msize.go and fastlog2.go.
// Most calls do not come here: mallocsized.c serves them by what their size class is.
//
//   tiny            noscan, < 16 bytes: objects share a 16-byte block
//   small noscan    a slot of a noscan span
//   small scan      a slot of a scan span; the pointer bitmap stands at the end of the span
//   ... with header a slot of a scan span, > 512 bytes: its first word points to the type
//   large           > 32760 bytes: a span of its own
// Of the second kind an object that freegc gave back is taken first.
// Sanitizers are told of the bytes asked for, not of the slot: who wants to use the rest of it asks for roundupsize bytes.
// Invariants: an object is zero before it is published where that was asked for; while marking is on, it is marked before mallocgc
// returns; outside of marking freeIndexForScan == freeindex after each allocation from a span.
#include <errno.h>

#include "gomem/guard.h"
#include "gomem/mbitmap.h"
#include "gomem/mcache.h"

// ---- start

// hintAddr is the i-th place where the heap may begin. base: the randomized base, unused if there is none.
static uintptr_t hintAddr(const gomem_env *env, uintptr_t base, unsigned i) {
	const gomem_layout *L = layout_get(env);
	if (!env->randomizeHeapBase) {
		return (uintptr_t)i << L->arenaHintShift | (uintptr_t)L->arenaHintBase;
	}
	// As in Go, the prefix goes to bits 38 to 45 while bits 40 to 47 are cleared for it.
	const unsigned prefixShift = L->randHeapAddrBits - 8u;
	const uintptr_t prefix = (uintptr_t)(uint8_t)((base >> prefixShift) + i) << prefixShift;
	return prefix | (base & ~((uintptr_t)0xff << (L->heapAddrBits - 8)));
}

static uintptr_t randomHeapBase(mheap *h) {
	const gomem_layout *L = layout_get(&h->env);
	const int topBits = L->randHeapAddrBits - L->logHeapArenaBytes;
	const uintptr_t base = (uintptr_t)mheap_nextHeapRandBits(h, topBits) << (L->randHeapAddrBits - topBits);
	return (uintptr_t)alignUp(base, L->heapArenaBytes);
}

static void reportHints(const gomem_env *env, unsigned list, const arenaHint *hint) {
	for (; hint != NULL; hint = hint->next) {
		lab_event(env, EV_HINT, list, hint->addr, 0, 0);
	}
}

static bool makeArenaHints(mheap *h) {
	gomem_env *env = &h->env;
	const gomem_layout *L = layout_get(env);
	const uintptr_t base = env->randomizeHeapBase ? randomHeapBase(h) : 0;
	const unsigned first = env->randomizeHeapBase ? 0 : L->firstArenaHint;
	for (unsigned i = L->numArenaHints; i-- > first;) {
		arenaHint **list = i < L->numHeapArenaHints ? &h->arenaHints : &h->userArenaHints;
		if (!mheap_pushHint(h, list, hintAddr(env, base, i), false)) {
			return false;
		}
	}
	reportHints(env, 0, h->arenaHints);
	reportHints(env, 1, h->userArenaHints);
	return true;
}

static bool reservesArena(const gomem_layout *L) { return L->ptrSize == 4 && L->reserve != LAYOUT_RESERVE_SBRK; }

// reserveArena is the start of 32-bit platforms: as much as the OS grants of the address space behind the program, and a hint behind that.
// DEVIATION(D02): metadata of arenas is not reserved up front.
static bool reserveArena(mheap *h) {
	gomem_env *env = &h->env;
	const gomem_layout *L = layout_get(env);
	uintptr_t p = (uintptr_t)alignUp(env->os->programEnd + programGap, L->heapArenaBytes);
	void *a = NULL;
	for (uintptr_t n = 512 << 20; a == NULL && n >= 128 << 20; n /= 2) {
		uintptr_t size;
		a = sysReserveAligned(env, (void *)p, n, (uintptr_t)L->heapArenaBytes, &size, MEM_HEAP);
		lab_event(env, EV_RESERVE, p, n, size, (uintptr_t)a);
		if (a != NULL) {
			linearAlloc_init(&h->arena, (uintptr_t)a, size, false);
			p = h->arena.end;
		}
	}
	if (!mheap_pushHint(h, &h->arenaHints, p, false) || !mheap_pushHint(h, &h->userArenaHints, p, false)) {
		return false;
	}
	reportHints(env, 0, h->arenaHints);
	reportHints(env, 1, h->userArenaHints);
	return true;
}

// checkSizeClasses tests what the paths of mallocgc take for granted.
static void checkSizeClasses(gomem_env *env) {
	const gomem_layout *L = layout_get(env);
	if (layout_classSize(L, L->tinySizeClass) != L->maxTinySize) {
		gomem_throw(env, "bad tinySizeClass");
	}
	unsigned c = 0;
	while (c < layout_numSizeClasses(L) && layout_classSize(L, c) != L->minSizeForMallocHeader) {
		if (layout_classPages(L, c) > 1) {
			gomem_throw(env, "expected all size classes up to min size for malloc header to fit in one-page spans");
		}
		c++;
	}
	if (c == layout_numSizeClasses(L)) {
		gomem_throw(env, "min size of malloc header is not a size class boundary");
	}
	if (L->minSizeForMallocHeader / L->ptrSize > 64) {
		gomem_throw(env, "max pointer bitmap size for headerless objects is too large");
	}
}

bool mallocinit(mheap *h) {
	gomem_env *env = &h->env;
	checkSizeClasses(env);
	h->sizedWays = sizedWays;
	h->fullWays = &fullWays;
	if (!mheap_init(h)) {
		return false;
	}
	fixalloc_init(env, &h->cachealloc, sizeof(mcache), NULL, NULL, &h->stats.mcache_sys);
	h->mcache0 = allocmcache(h);
	if (h->mcache0 == NULL) {
		return false;
	}
	if (os_isSbrkPlatform(env->os)) {
		return true; // a break rises where it is: nothing to hint at
	}
	return reservesArena(layout_get(env)) ? reserveArena(h) : makeArenaHints(h);
}

// ---- sampling

// The logarithms of 1 + i / 32 to base 2.
static const double fastlog2Table[33] = {0.0, 0.0443941193584535, 0.08746284125033943, 0.12928301694496647,
	0.16992500144231248, 0.2094533656289499, 0.24792751344358555, 0.28540221886224837, 0.3219280948873623,
	0.3575520046180837, 0.39231742277876036, 0.4262647547020979, 0.4594316186372973, 0.4918530963296748,
	0.5235619560570128, 0.5545888516776374, 0.5849625007211563, 0.6147098441152082, 0.6438561897747247,
	0.6724253419714956, 0.7004397181410922, 0.7279204545631992, 0.7548875021634686, 0.7813597135246596,
	0.8073549220576042, 0.8328900141647417, 0.8579809951275721, 0.8826430493618412, 0.9068905956085185,
	0.9307373375628862, 0.9541963103868752, 0.9772799234999164, 1.0};

// fastlog2: the exponent, and a mantissa interpolated between the entries of the table.
static double fastlog2(double x) {
	uint64_t bits;
	memcpy(&bits, &x, sizeof(bits));
	const int64_t exponent = (int64_t)(bits >> 52 & 0x7ff) - 1023;
	const unsigned i = (unsigned)(bits >> (52 - 5)) % 32;
	const uint64_t scale = (bits >> (52 - 5 - 20)) % (1u << 20);
	const double low = fastlog2Table[i];
	const double high = fastlog2Table[i + 1];
	return (double)exponent + low + (high - low) * (double)scale * (1.0 / (1 << 20));
}

// cheaprand is wyrand. DEVIATION(D03): one state for each heap, Go has one for each M.
static uint32_t cheaprand(mheap *h) {
	const uint64_t step = 0xa0761d6478bd642fu;
	const uint64_t x = atomic_fetch_add_explicit((_Atomic(uint64_t) *)&h->rand, step, memory_order_relaxed) + step;
	const uint64_t y = x ^ 0xe7037ed1a0b428dbu;
	return (uint32_t)(mulHigh64(x, y) ^ x * y);
}

static uint32_t cheaprandn(mheap *h, uint32_t n) { return (uint32_t)((uint64_t)cheaprand(h) * n >> 32); }

int32_t fastexprand(mheap *h, int64_t mean) {
	if (mean > 0x7000000) {
		mean = 0x7000000;
	}
	if (mean == 0) {
		return 0;
	}
	// An exponential distribution with this mean: -mean * ln(q / 2^26) for q uniform in 1..2^26.
	const int randomBitCount = 26;
	const uint32_t q = cheaprandn(h, (uint32_t)1 << randomBitCount) + 1;
	double qlog = fastlog2((double)q) - randomBitCount;
	if (qlog > 0) {
		qlog = 0;
	}
	const double minusLog2 = -0.6931471805599453;
	return (int32_t)(qlog * (minusLog2 * (double)mean)) + 1;
}

int64_t nextSample(mheap *h) {
	if (h->memProfRate == 0) {
		return INT64_MAX;
	}
	return h->memProfRate == 1 ? 0 : fastexprand(h, h->memProfRate);
}

void setMemProfileRate(mheap *h, int64_t rate) {
	h->memProfRate = rate;
	for (int32_t i = 0; i < h->nallp; i++) {
		if (p_isAlive(h->allp[i])) {
			h->allp[i]->mcache->nextSample = -1; // asks again at its next object
		}
	}
}

static __attribute__((noinline)) void profilealloc(mheap *h, mcache *c, uintptr_t x, uintptr_t size) {
	c->memProfRate = (intptr_t)h->memProfRate;
	c->nextSample = nextSample(h);
	if (h->sample != NULL) {
		h->sample(h->sampleCtx, (void *)x, size);
	}
}

// ---- a slot

// nextFreeFast takes the next free slot if allocCache knows it. 0: ask nextFree.
static inline __attribute__((always_inline)) uintptr_t nextFreeFast(mspan *s) {
	uint64_t rest;
	const uint32_t next = nextSlot(s, &rest);
	return next != 0 ? takeNextSlot(s, next, rest, s->elemsize) : 0;
}

// nextFree takes the next free slot of class spc, from a fresh span if need be; then *refilled is set. 0: out of memory.
static __attribute__((noinline)) uintptr_t nextFree(mheap *h, gomem_p *p, mcache *c, spanClass spc, bool *refilled) {
	gomem_env *env = &h->env;
	mspan *s = c->alloc[spc];
	uint16_t freeIndex = mspan_nextFreeIndex(h, s);
	if (freeIndex == s->nelems) {
		if (s->allocCount != s->nelems) {
			gomem_throw(env, "s->allocCount != s->nelems && freeIndex == s->nelems");
		}
		if (!mcache_refill(h, p, c, spc)) {
			return 0;
		}
		*refilled = true;
		s = c->alloc[spc];
		freeIndex = mspan_nextFreeIndex(h, s);
	}
	if (freeIndex >= s->nelems) {
		gomem_throw(env, "freeIndex is not valid");
	}
	mspan_countSlot(h, s);
	return mspan_base(s) + freeIndex * s->elemsize;
}

// A slot taken for an object.
typedef struct slot {
	uintptr_t addr; // 0: out of memory
	mspan *span;
	bool refilled; // then a GC cycle may be due
} slot;

static inline slot nextObject(mheap *h, gomem_p *p, mcache *c, spanClass spc) {
	slot t = {.span = c->alloc[spc], .refilled = false};
	t.addr = nextFreeFast(t.span);
	if (unlikely(t.addr == 0)) {
		t.addr = nextFree(h, p, c, spc, &t.refilled);
		t.span = c->alloc[spc];
	}
	if (guardsBuilt && t.addr != 0) {
		guard_taken(h, t.span, t.addr);
	}
	return t;
}

// ---- what every new object goes through

// gcmarknewobject: objects are allocated black while marking is on.
static __attribute__((noinline)) void gcmarknewobject(mheap *h, mspan *s, uintptr_t x) {
	const uintptr_t objIndex = mspan_objIndex(s, x);
	mspan_setScanned(&h->env, s, objIndex); // first: who sees the mark must not look inside
	mspan_setMarked(h, s, objIndex);
}

// publish makes x visible to the collector: its contents first, then the fact that the slot is in use.
static inline void publish(mheap *h, mcache *c, mspan *s, uintptr_t x, uintptr_t size) {
	atomic_thread_fence(memory_order_release);
	if (unlikely(atomic_load_explicit(&h->gcphase, memory_order_relaxed) != gcOff)) {
		gcmarknewobject(h, s, x);
	} else {
		s->freeIndexForScan = s->freeindex;
	}
	c->nextSample -= (int64_t)size;
	if (unlikely(c->nextSample < 0 || h->memProfRate != c->memProfRate)) {
		profilealloc(h, c, x, size);
	}
}

static void testGCTrigger(mheap *h, gomem_p *p) {
	if (h->policy.gcTrigger != NULL) {
		h->policy.gcTrigger(h->policy.ctx, h, p);
	}
}

static __attribute__((noinline)) void deductAssistCredit(mheap *h, gomem_p *p, uintptr_t size) {
	if (p != NULL) {
		p->gcAssistBytes -= (int64_t)size;
	}
	if (h->policy.assist != NULL && (p == NULL || p->gcAssistBytes < 0)) {
		h->policy.assist(h->policy.ctx, h, p, size);
	}
}

// ---- the five paths. *elemsize: bytes taken from the heap

static inline uintptr_t mallocgcTiny(
	mheap *h, gomem_p *p, mcache *c, uintptr_t size, uintptr_t *elemsize, unsigned *path) {
	const gomem_layout *L = layout_get(&h->env);
	const uintptr_t off = tinyAlign(L, c->tinyoffset, size);
	if (off + size <= L->maxTinySize && c->tiny != 0) {
		c->tinyoffset = off + size;
		c->tinyAllocs++;
		*elemsize = 0;
		*path = GOMEM_PATH_TINY_HIT;
		heapMem_grant(&h->env, c->tiny + off, size, true);
		return c->tiny + off;
	}
	*path = GOMEM_PATH_TINY_NEW;
	const slot t = nextObject(h, p, c, tinySpanClass(L));
	if (unlikely(t.addr == 0)) {
		return 0;
	}
	heapMem_clear(&h->env, t.addr, (uintptr_t)L->maxTinySize);
	heapMem_grant(&h->env, t.addr, size, true);
	// Go on with the block that has more room left.
	if (size < c->tinyoffset || c->tiny == 0) {
		c->tiny = t.addr;
		c->tinyoffset = size;
	}
	*elemsize = (uintptr_t)L->maxTinySize;
	publish(h, c, t.span, t.addr, *elemsize);
	if (unlikely(t.refilled)) {
		testGCTrigger(h, p);
	}
	return t.addr;
}

// nextReusableNoScan takes the object of class spc that was given back last; *span is its span if the caller has to mark it, else NULL.
static uintptr_t nextReusableNoScan(mheap *h, mcache *c, spanClass spc, mspan **span) {
	const uintptr_t v = c->reusableNoscan[spc];
	c->reusableNoscan[spc] = heapMem_load(&h->env, &h->side, v);
	*span = NULL;
	if (atomic_load_explicit(&h->gcphase, memory_order_relaxed) == gcOff) {
		return v;
	}
	mspan *s = c->alloc[spc];
	*span = mspan_base(s) <= v && v < s->limit ? s : spanOf(h, v);
	if (*span == NULL) {
		gomem_throw(&h->env, "nextReusableNoScan: nil span for pointer in reusable object free list");
	}
	return v;
}

// mallocgcSmallNoscanReuse: the slot is allocated already: no statistics, no samples, no assist, and the span's needzero says nothing of it.
static __attribute__((noinline)) uintptr_t mallocgcSmallNoscanReuse(
	mheap *h, gomem_p *p, mcache *c, spanClass spc, uintptr_t size, uintptr_t elemsize, bool needzero) {
	mspan *s;
	const uintptr_t x = nextReusableNoScan(h, c, spc, &s);
	if (guardsBuilt) {
		guard_taken(h, spanOf(h, x), x);
	}
	if (h->gcBlackenEnabled && p != NULL) {
		p->gcAssistBytes += (int64_t)elemsize;
	}
	if (needzero) {
		heapMem_clear(&h->env, x, elemsize);
	}
	heapMem_grant(&h->env, x, size, needzero);
	atomic_thread_fence(memory_order_release);
	if (s != NULL) {
		gcmarknewobject(h, s, x);
	}
	return x;
}

static inline uintptr_t mallocgcSmallNoscan(
	mheap *h, gomem_p *p, mcache *c, uintptr_t size, bool needzero, uintptr_t *elemsize, unsigned *path) {
	const gomem_layout *L = layout_get(&h->env);
	const uint8_t sizeclass = sizeToClass(L, size);
	const spanClass spc = makeSpanClass(sizeclass, true);
	if (unlikely(mcache_hasReusableNoscan(c, spc))) {
		*path = GOMEM_PATH_REUSE;
		*elemsize = layout_classSize(L, sizeclass);
		return mallocgcSmallNoscanReuse(h, p, c, spc, size, *elemsize, needzero);
	}
	const slot t = nextObject(h, p, c, spc);
	if (unlikely(t.addr == 0)) {
		return 0;
	}
	*elemsize = layout_classSize(L, sizeclass);
	if (needzero && t.span->needzero != 0) {
		heapMem_clear(&h->env, t.addr, *elemsize);
	}
	heapMem_grant(&h->env, t.addr, size, needzero);
	publish(h, c, t.span, t.addr, *elemsize);
	if (unlikely(t.refilled)) {
		testGCTrigger(h, p);
	}
	return t.addr;
}

static inline uintptr_t mallocgcSmallScanNoHeader(
	mheap *h, gomem_p *p, mcache *c, uintptr_t size, const gomem_type *typ, uintptr_t *elemsize) {
	const gomem_layout *L = layout_get(&h->env);
	const uint8_t sizeclass = layout_lookupSmall(L, (size + L->smallSizeDiv - 1) / L->smallSizeDiv);
	const slot t = nextObject(h, p, c, makeSpanClass(sizeclass, false));
	if (unlikely(t.addr == 0)) {
		return 0;
	}
	if (t.span->needzero != 0) {
		heapMem_clear(&h->env, t.addr, size);
	}
	heapMem_grant(&h->env, t.addr, size, true);
	// The bitmap of one-word objects was written when the span was made.
	c->scanAlloc += L->ptrSize == 8 && sizeclass == 1 ? 8 : writeHeapBitsSmall(&h->env, t.span, t.addr, size, typ);
	*elemsize = layout_classSize(L, sizeclass);
	publish(h, c, t.span, t.addr, *elemsize);
	if (unlikely(t.refilled)) {
		testGCTrigger(h, p);
	}
	return t.addr;
}

static inline uintptr_t mallocgcSmallScanHeader(
	mheap *h, gomem_p *p, mcache *c, uintptr_t size, const gomem_type *typ, uintptr_t *elemsize) {
	const gomem_layout *L = layout_get(&h->env);
	const uint8_t sizeclass = sizeToClass(L, size + (uintptr_t)L->mallocHeaderSize);
	const slot t = nextObject(h, p, c, makeSpanClass(sizeclass, false));
	if (unlikely(t.addr == 0)) {
		return 0;
	}
	*elemsize = layout_classSize(L, sizeclass);
	if (t.span->needzero != 0) {
		heapMem_clear(&h->env, t.addr, *elemsize);
	}
	const uintptr_t x = t.addr + (uintptr_t)L->mallocHeaderSize;
	heapMem_grant(&h->env, x, size, true);
	c->scanAlloc += heapSetTypeSmallHeader(h, x, *elemsize - (uintptr_t)L->mallocHeaderSize, typ, t.addr, t.span);
	publish(h, c, t.span, x, *elemsize);
	if (unlikely(t.refilled)) {
		testGCTrigger(h, p);
	}
	return x;
}

static __attribute__((noinline)) uintptr_t mallocgcLarge(
	mheap *h, gomem_p *p, mcache *c, uintptr_t size, const gomem_type *typ, bool needzero, uintptr_t *elemsize) {
	const bool noscan = typ == NULL || typ->ptr_bytes == 0;
	mspan *s = mcache_allocLarge(h, p, c, size, noscan);
	if (s == NULL) {
		return 0;
	}
	s->freeindex = 1;
	s->allocCount = 1;
	s->largeType = NULL; // a collector must not look inside before the memory is zero
	*elemsize = s->elemsize;
	const uintptr_t x = mspan_base(s);
	publish(h, c, s, x, *elemsize);
	testGCTrigger(h, p);
	if ((needzero || !noscan) && s->needzero != 0) {
		heapMem_clear(&h->env, x, *elemsize);
	}
	heapMem_grant(&h->env, x, size, needzero || !noscan);
	if (!noscan) {
		c->scanAlloc += heapSetTypeLarge(h, x, *elemsize, typ, s);
	}
	atomic_thread_fence(memory_order_release);
	return x;
}

static inline uintptr_t mallocgcPath(
	mheap *h, gomem_p *p, uintptr_t size, const gomem_type *typ, bool needzero, uintptr_t *elemsize, unsigned *path) {
	const gomem_layout *L = layout_get(&h->env);
	mcache *c = getMCache(h, p);
	if (unlikely(c == NULL)) {
		gomem_throw(&h->env, "mallocgc called without a P or outside bootstrapping");
	}
	if (unlikely(size > L->maxSmallSize - L->mallocHeaderSize)) {
		*path = GOMEM_PATH_LARGE;
		return mallocgcLarge(h, p, c, size, typ, needzero, elemsize);
	}
	if (typ == NULL || typ->ptr_bytes == 0) {
		if (size < L->maxTinySize) {
			return mallocgcTiny(h, p, c, size, elemsize, path);
		}
		*path = GOMEM_PATH_NOSCAN;
		return mallocgcSmallNoscan(h, p, c, size, needzero, elemsize, path);
	}
	if (heapBitsInSpan(L, size)) {
		*path = GOMEM_PATH_SCAN;
		return mallocgcSmallScanNoHeader(h, p, c, size, typ, elemsize);
	}
	*path = GOMEM_PATH_SCAN_HEADER;
	return mallocgcSmallScanHeader(h, p, c, size, typ, elemsize);
}

static inline uintptr_t mallocgcInline(
	mheap *h, gomem_p *p, uintptr_t size, const gomem_type *typ, bool needzero, unsigned *path) {
	if (unlikely(size == 0)) {
		*path = GOMEM_PATH_NOSCAN;
		return (uintptr_t)&h->zerobase;
	}
	if (unlikely(h->gcBlackenEnabled)) {
		deductAssistCredit(h, p, size);
	}
	uintptr_t elemsize;
	const uintptr_t x = mallocgcPath(h, p, size, typ, needzero, &elemsize, path);
	// What rounding up took is paid for as well.
	if (unlikely(h->gcBlackenEnabled) && x != 0 && elemsize != 0 && p != NULL) {
		p->gcAssistBytes -= (int64_t)(elemsize - size);
		p->gcMarkedBytes += elemsize;
	}
	return x;
}

uintptr_t mallocgcFull(mheap *h, gomem_p *p, uintptr_t size, const gomem_type *typ, bool needzero, unsigned *path) {
	unsigned unused;
	const uintptr_t x = mallocgcInline(h, p, size, typ, needzero, path != NULL ? path : &unused);
	if (unlikely(x == 0)) {
		errno = ENOMEM;
	}
	return x;
}

// DEVIATION(D21): Go throws at objects with pointers, which it does not take back yet. Here the answer is no.
// There is no stack of the caller to look for, and no clobberfree.
bool freegc(mheap *h, gomem_p *p, uintptr_t ptr, uintptr_t size, bool noscan) {
	const gomem_layout *L = layout_get(&h->env);
	if (!h->runtimeFreegc || !reusableSize(L, size) || !noscan) {
		return false;
	}
	if (ptr == 0) {
		gomem_throw(&h->env, "freegc nil");
	}
	mcache *c = getMCache(h, p);
	if (c == NULL) {
		gomem_throw(&h->env, "freegc called without a P or outside bootstrapping");
	}
	const uint8_t sizeclass = sizeToClass(L, size);
	heapMem_retire(&h->env, ptr, layout_classSize(L, sizeclass));
	return mcache_addReusableNoscan(h, c, makeSpanClass(sizeclass, true), ptr);
}

// ---- msize.go

uintptr_t roundupsize(mheap *h, uintptr_t size, bool noscan) {
	const gomem_layout *L = layout_get(&h->env);
	if (size <= L->maxSmallSize - L->mallocHeaderSize) {
		const uintptr_t header = !noscan && !heapBitsInSpan(L, size) ? (uintptr_t)L->mallocHeaderSize : 0;
		return layout_classSize(L, sizeToClass(L, size + header)) - header;
	}
	const uintptr_t pageMask = (uintptr_t)layout_pageSize(L) - 1;
	return size + pageMask < size ? size : (size + pageMask) & ~pageMask;
}
