// mcache.c (layer 5): a P's cache of spans. Ports mcache.go.
//
// Invariants (mcache_check): those at the head of mcache.h, and for a cached span
//   allocCountBeforeCache <= allocCount <= nelems; the difference was allocated from this cache and is not yet in the statistics.
#include "gomem/mcache.h"

static void addStat(_Atomic(uint64_t) *v, uint64_t n) { atomic_fetch_add_explicit(v, n, memory_order_relaxed); }

// gcController_update counts changes of the live heap and of what a scan has to look at (Go: gcController.update).
static void gcController_update(mheap *h, int64_t dHeapLive, int64_t dHeapScan) {
	if (dHeapLive != 0) {
		addStat(&h->stats.heapLive, (uint64_t)dHeapLive);
	}
	// While marking, heapScan stays what it was when the cycle began.
	if (!h->gcBlackenEnabled && dHeapScan != 0) {
		addStat(&h->stats.heapScan, (uint64_t)dHeapScan);
	}
}

mcache *allocmcache(mheap *h) {
	gomem_env *env = &h->env;
	lockTurn(env, &h->lock, EV_MCACHEALLOC);
	mcache *c = fixalloc_alloc(env, &h->cachealloc);
	if (c != NULL) {
		atomic_store(&c->flushGen, h->sweepgen);
		lab_event(env, EV_MCACHEALLOC, 0, 0, 0, 0);
	}
	unlock(env, &h->lock);
	if (c == NULL) {
		return NULL;
	}
	for (int i = 0; i < maxSpanClasses; i++) {
		c->alloc[i] = &h->emptymspan;
	}
	c->nextSample = nextSample(h);
	return c;
}

void freemcache(mheap *h, gomem_p *running, gomem_p *owner, mcache *c) {
	(void)owner;
	mcache_releaseAll(h, running, c);
	for (int i = 0; i < maxSpanClasses; i++) {
		if (c->alloc[i] != &h->emptymspan) {
			gomem_throw(&h->env, "out of memory for a span set while freeing an mcache");
		}
	}
	stackcache_clear(h, running, c);
	lock(&h->env, &h->lock);
	fixalloc_free(&h->env, &h->cachealloc, c);
	unlock(&h->env, &h->lock);
}

// uncache gives s, a span of class spc, back to its mcentral. false: out of memory, s is cached as before.
static bool uncache(mheap *h, gomem_p *running, spanClass spc, mspan *s) {
	if (mcentral_uncacheSpan(h, running, &h->central[spc].mcentral, s)) {
		return true;
	}
	atomic_store(&s->sweepgen, h->sweepgen + 3);
	return false;
}

// countSlotsUsed adds what was allocated from a cached span to the statistics.
static void countSlotsUsed(mheap *h, gomem_p *running, spanClass spc, uint64_t slotsUsed, uintptr_t elemsize) {
	heapStats_add(running, &heapStats_of(h, running)->smallAllocCount[spanClass_sizeclass(spc)], slotsUsed);
	addStat(&h->stats.totalAlloc, slotsUsed * elemsize);
}

static void flushTinyAllocs(mheap *h, gomem_p *running, mcache *c) {
	heapStats_add(running, &heapStats_of(h, running)->tinyAllocCount, c->tinyAllocs);
	c->tinyAllocs = 0;
}

// refillRelease gives the full span of class spc back.
static bool refillRelease(mheap *h, gomem_p *p, mcache *c, spanClass spc) {
	mspan *s = c->alloc[spc];
	if (s == &h->emptymspan) {
		return true;
	}
	if (atomic_load_explicit(&s->sweepgen, memory_order_relaxed) != h->sweepgen + 3) {
		gomem_throw(&h->env, "bad sweepgen in refill");
	}
	// Another P may take s as soon as it is uncached.
	const uint64_t slotsUsed = (uint64_t)s->allocCount - s->allocCountBeforeCache;
	const uintptr_t elemsize = s->elemsize;
	s->allocCountBeforeCache = 0;
	if (!uncache(h, p, spc, s)) {
		s->allocCountBeforeCache = (uint16_t)(s->allocCount - slotsUsed);
		return false;
	}
	c->alloc[spc] = &h->emptymspan;
	countSlotsUsed(h, p, spc, slotsUsed, elemsize);
	if (spc == tinySpanClass(layout_get(&h->env))) {
		flushTinyAllocs(h, p, c);
	}
	return true;
}

bool mcache_refill(mheap *h, gomem_p *p, mcache *c, spanClass spc) {
	gomem_env *env = &h->env;
	mspan *s = c->alloc[spc];
	lab_event(env, EV_REFILL, spc, s == &h->emptymspan ? 0 : (uintptr_t)s, 0, 0);
	if (s->allocCount != s->nelems) {
		gomem_throw(env, "refill of span with free space remaining");
	}
	if (spc == tinySpanClass(layout_get(env))) {
		c->reusableNoscan[spc] = 0; // tiny blocks are not made of reusable slots
	}
	if (mcache_hasReusableNoscan(c, spc)) {
		gomem_throw(env, "refill of span with reusable pointers remaining on pointer free list");
	}
	if (!refillRelease(h, p, c, spc)) {
		return false;
	}
	s = mcentral_cacheSpan(h, p, &h->central[spc].mcentral);
	if (s == NULL) {
		return false;
	}
	if (s->allocCount == s->nelems) {
		gomem_throw(env, "span has no free space");
	}
	// Cached: the sweeper must not touch it in the next cycle, which begins with the world stopped.
	atomic_store_explicit(&s->sweepgen, h->sweepgen + 3, memory_order_release);
	s->allocCountBeforeCache = s->allocCount;
	// All its free slots count as live until the span comes back.
	const uintptr_t usedBytes = s->allocCount * s->elemsize;
	gcController_update(h, (int64_t)((s->npages << layout_get(env)->pageShift) - usedBytes), (int64_t)c->scanAlloc);
	c->scanAlloc = 0;
	c->alloc[spc] = s;
	lab_event(env, EV_REFILLEND, spc | (uint64_t)s->freeindex << 8, (uintptr_t)s, s->allocCache,
		s->allocCount | (uint64_t)s->nelems << 16);
	return true;
}

mspan *mcache_allocLarge(mheap *h, gomem_p *p, mcache *c, uintptr_t size, bool noscan) {
	(void)c;
	const gomem_layout *L = layout_get(&h->env);
	const uintptr_t pageSize = (uintptr_t)layout_pageSize(L);
	// Go's callers keep to maxAlloc; here it is tested, so that no sum below can overflow.
	if (size > layout_maxAlloc(L)) {
		return NULL;
	}
	const uintptr_t npages = (size >> L->pageShift) + ((size & (pageSize - 1)) != 0 ? 1 : 0);
	const uintptr_t nbytes = npages << L->pageShift;
	if (h->policy.deductSweepCredit != NULL) {
		h->policy.deductSweepCredit(h->policy.ctx, h, p, nbytes, npages);
	} else {
		deductSweepCredit(h, p, nbytes, npages);
	}
	const spanClass spc = makeSpanClass(0, noscan);
	mspan *s = mheap_alloc(h, p, npages, spc);
	if (s == NULL) {
		return NULL;
	}
	// Listed for the sweeper at once: a large span is never cached.
	if (!mcentral_pushFullSwept(h, &h->central[spc].mcentral, s)) {
		mheap_freeSpan(h, p, s);
		return NULL;
	}
	heapStats_add(p, &heapStats_of(h, p)->largeAlloc, nbytes);
	heapStats_add(p, &heapStats_of(h, p)->largeAllocCount, 1);
	addStat(&h->stats.totalAlloc, nbytes);
	gcController_update(h, (int64_t)nbytes, 0);
	s->limit = mspan_base(s) + size;
	mspan_initHeapBits(h, s);
	return s;
}

// releaseSpan gives the cached span of class spc back; returns the change of the live heap.
static int64_t releaseSpan(mheap *h, gomem_p *running, mcache *c, spanClass spc) {
	mspan *s = c->alloc[spc];
	const uint64_t slotsUsed = (uint64_t)s->allocCount - s->allocCountBeforeCache;
	const uintptr_t elemsize = s->elemsize;
	const int64_t unused = (int64_t)(s->nelems - s->allocCount) * (int64_t)elemsize;
	// refill counted the free slots as live. If a cycle began since, heapLive was computed anew without them.
	const bool stale = atomic_load_explicit(&s->sweepgen, memory_order_relaxed) == h->sweepgen + 1;
	s->allocCountBeforeCache = 0;
	countSlotsUsed(h, running, spc, slotsUsed, elemsize);
	if (!uncache(h, running, spc, s)) {
		s->allocCountBeforeCache = s->allocCount;
		return 0;
	}
	c->alloc[spc] = &h->emptymspan;
	return stale ? 0 : -unused;
}

void mcache_releaseAll(mheap *h, gomem_p *running, mcache *c) {
	const int64_t scanAlloc = (int64_t)c->scanAlloc;
	c->scanAlloc = 0;
	int64_t dHeapLive = 0;
	for (int i = 0; i < maxSpanClasses; i++) {
		if (c->alloc[i] != &h->emptymspan) {
			dHeapLive += releaseSpan(h, running, c, (spanClass)i);
		}
	}
	c->tiny = 0;
	c->tinyoffset = 0;
	flushTinyAllocs(h, running, c);
	memset(c->reusableNoscan, 0, sizeof(c->reusableNoscan));
	gcController_update(h, dHeapLive, scanAlloc);
}

bool mcache_prepareForSweep(mheap *h, gomem_p *running, mcache *c) {
	const uint32_t sg = h->sweepgen;
	const uint32_t flushGen = atomic_load(&c->flushGen);
	if (flushGen == sg) {
		return false;
	}
	if (flushGen != sg - 2) {
		gomem_throw(&h->env, "bad flushGen");
	}
	mcache_releaseAll(h, running, c);
	stackcache_clear(h, running, c);
	atomic_store(&c->flushGen, sg);
	return true;
}

void mcache_prepareAll(mheap *h, gomem_p *running) {
	for (int32_t i = 0; i < h->nallp; i++) {
		if (p_isAlive(h->allp[i])) {
			(void)mcache_prepareForSweep(h, running, h->allp[i]->mcache);
		}
	}
}

// ---- objects that were given back

bool mcache_addReusableNoscan(mheap *h, mcache *c, spanClass spc, uintptr_t v) {
	if (!heapMem_store(&h->env, &h->side, v, c->reusableNoscan[spc])) {
		return false;
	}
	c->reusableNoscan[spc] = v;
	return true;
}

bool mcache_isReusable(mheap *h, const mcache *c, spanClass spc, uintptr_t v) {
	uintptr_t x = c->reusableNoscan[spc];
	while (x != 0 && x != v) {
		x = heapMem_load(&h->env, &h->side, x);
	}
	return x != 0;
}

// ---- invariants

static const char *checkReusable(mheap *h, const mcache *c, spanClass spc) {
	uintptr_t n = 0;
	const uintptr_t most = atomic_load(&h->pagesInUse) << layout_get(&h->env)->pageShift;
	for (uintptr_t x = c->reusableNoscan[spc]; x != 0; x = heapMem_load(&h->env, &h->side, x)) {
		mspan *s = spanOfHeap(h, x);
		if (s == NULL || s->spanclass != spc || (x - mspan_base(s)) % s->elemsize != 0) {
			return "mcache: a reusable object is not a slot of its class";
		}
		if (mspan_isFree(s, mspan_objIndex(s, x))) {
			return "mcache: a reusable object is a free slot";
		}
		n += s->elemsize;
		if (n > most) {
			return "mcache: a reusable object is listed twice";
		}
	}
	return h->runtimeFreegc && spanClass_noscan(spc) ? NULL : "mcache: there must be no reusable objects";
}

static const char *checkCachedSpan(mheap *h, mspan *s, int spc) {
	const uint32_t sg = atomic_load(&s->sweepgen);
	if (s->spanclass != spc || mspan_state(s) != mSpanInUse) {
		return "mcache: a cached span is not of its class";
	}
	if (sg != h->sweepgen + 3 && sg != h->sweepgen + 1) {
		return "mcache: a cached span is not marked as cached";
	}
	if (s->allocCountBeforeCache > s->allocCount || s->allocCount > s->nelems || s->freeindex > s->nelems) {
		return "mcache: counts of a cached span are out of order";
	}
	return NULL;
}

static const char *checkStackcache(mheap *h, const mcache *c, unsigned order) {
	const uintptr_t size = (uintptr_t)layout_get(&h->env)->fixedStack << order;
	uintptr_t bytes = 0;
	for (uintptr_t x = c->stackcache[order].list; x != 0; x = heapMem_load(&h->env, &h->side, x)) {
		mspan *s = spanOf(h, x);
		if (s == NULL || mspan_state(s) != mSpanManual || s->elemsize != size || (x - mspan_base(s)) % size != 0) {
			return "mcache: a cached stack is not a slot of a stack span";
		}
		bytes += size;
		if (bytes > c->stackcache[order].size) {
			break;
		}
	}
	return bytes == c->stackcache[order].size ? NULL : "mcache: stackcache size differs from its list";
}

const char *mcache_check(mheap *h, mcache *c) {
	const gomem_layout *L = layout_get(&h->env);
	if (c->tinyoffset > L->maxTinySize || c->tiny % L->maxTinySize != 0) {
		return "mcache: bad tiny block";
	}
	const char *bad = NULL;
	for (int i = 0; i < maxSpanClasses && bad == NULL; i++) {
		bad = c->alloc[i] == &h->emptymspan ? NULL : checkCachedSpan(h, c->alloc[i], i);
	}
	// What was listed before the cycle began may be swept by now; the lists go at the next use of the cache.
	const bool flushed = atomic_load(&c->flushGen) == h->sweepgen;
	for (int i = 0; i < maxSpanClasses && bad == NULL && flushed; i++) {
		bad = mcache_hasReusableNoscan(c, (spanClass)i) ? checkReusable(h, c, (spanClass)i) : NULL;
	}
	for (unsigned o = 0; o < L->numStackOrders && bad == NULL; o++) {
		bad = checkStackcache(h, c, o);
	}
	return bad;
}
