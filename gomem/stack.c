// stack.c (layer 5): stacks of goroutines. Ports the allocator of stack.go.
//
// Stacks below 32 KiB are slots of 32 KiB spans, in orders 0..3 of 2 KiB << order: a P's stackcache holds some, the stackpool of an order
// lists the spans that have a free slot. Larger stacks are spans of their own. Free slots are linked through their first word.
//
// Invariants (stack_check): a span is in stackpool[order].span iff manualFreeList != 0;
//   its slots == allocCount + length of manualFreeList; slots in a P's stackcache count as allocated;
//   while no GC runs, no listed span has allocCount == 0 but those that a GC left (freeStackSpans);
//   stackLarge.free[i] holds spans with bitLen(npages) == i.
#include "gomem/mcache.h"

static uintptr_t loadLink(mheap *h, uintptr_t x) { return heapMem_load(&h->env, &h->side, x); }

// A slot's link was stored when its span was made, so storing it again cannot fail.
static void storeLink(mheap *h, uintptr_t x, uintptr_t next) {
	if (!heapMem_store(&h->env, &h->side, x, next)) {
		gomem_throw(&h->env, "a free stack cannot be linked");
	}
}

static bool gcIsOff(mheap *h) { return atomic_load_explicit(&h->gcphase, memory_order_relaxed) == gcOff; }

void stackinit(mheap *h) {
	const gomem_layout *L = layout_get(&h->env);
	if ((L->stackCacheSize & (layout_pageSize(L) - 1)) != 0) {
		gomem_throw(&h->env, "cache size must be a multiple of page size");
	}
	for (int i = 0; i < numStackOrdersMax; i++) {
		mSpanList_init(&h->stackpool[i].span);
	}
	for (int i = 0; i < stackLargeClasses; i++) {
		mSpanList_init(&h->stackLarge.free[i]);
	}
}

// stacklog2 is the list of stackLarge for spans of n pages: the logarithm of n up to go1.25, one more since.
static unsigned stacklog2(const gomem_layout *L, uintptr_t n) {
	return n == 0 ? 0 : bitLen64(n) - 1u + L->stackLargeFirst;
}

// ---- the pools. The caller holds the pool's lock

// stackpoolgrow makes a span of free slots, linked so that the highest is taken first. NULL: out of memory.
static mspan *stackpoolgrow(mheap *h, gomem_p *p, unsigned order) {
	const gomem_layout *L = layout_get(&h->env);
	mspan *s = mheap_allocManual(h, p, (uintptr_t)(L->stackCacheSize >> L->pageShift), spanAllocStack);
	if (s == NULL) {
		return NULL;
	}
	if (s->allocCount != 0 || s->manualFreeList != 0) {
		gomem_throw(&h->env, "bad allocCount or manualFreeList of a fresh stack span");
	}
	s->elemsize = (uintptr_t)L->fixedStack << order;
	heapMem_retire(&h->env, mspan_base(s), (uintptr_t)L->stackCacheSize);
	for (uintptr_t i = 0; i < L->stackCacheSize; i += s->elemsize) {
		const uintptr_t x = mspan_base(s) + i;
		if (!heapMem_store(&h->env, &h->side, x, s->manualFreeList)) {
			s->manualFreeList = 0;
			mheap_freeManual(h, p, s, spanAllocStack);
			return NULL;
		}
		s->manualFreeList = x;
	}
	mSpanList_insert(&h->env, &h->stackpool[order].span, s);
	return s;
}

// stackpoolalloc takes a stack of the order. 0: out of memory.
static uintptr_t stackpoolalloc(mheap *h, gomem_p *p, unsigned order) {
	mSpanList *list = &h->stackpool[order].span;
	mspan *s = list->first;
	if (s == NULL) {
		s = stackpoolgrow(h, p, order);
		if (s == NULL) {
			return 0;
		}
	}
	const uintptr_t x = s->manualFreeList;
	if (x == 0) {
		gomem_throw(&h->env, "span has no free stacks");
	}
	s->manualFreeList = loadLink(h, x);
	s->allocCount++;
	if (s->manualFreeList == 0) {
		mSpanList_remove(&h->env, list, s);
	}
	lab_event(&h->env, EV_SPOOLALLOC, order, x, 0, 0);
	return x;
}

// stackpoolfree gives a stack of the order back; its span too if that was the last one and no GC runs.
static void stackpoolfree(mheap *h, gomem_p *p, uintptr_t x, unsigned order) {
	mSpanList *list = &h->stackpool[order].span;
	lab_event(&h->env, EV_SPOOLFREE, order | (uint64_t)atomic_load(&h->gcphase) << 8, x, 0, 0);
	mspan *s = spanOfUnchecked(h, x);
	if (mspan_state(s) != mSpanManual) {
		gomem_throw(&h->env, "freeing stack not in a stack span");
	}
	if (s->manualFreeList == 0) {
		mSpanList_insert(&h->env, list, s);
	}
	storeLink(h, x, s->manualFreeList);
	s->manualFreeList = x;
	s->allocCount--;
	// While a GC runs the span stays: as a heap span it would be in the collector's way. freeStackSpans will find it.
	if (gcIsOff(h) && s->allocCount == 0) {
		mSpanList_remove(&h->env, list, s);
		s->manualFreeList = 0;
		mheap_freeManual(h, p, s, spanAllocStack);
	}
}

// ---- a P's cache

static uintptr_t halfCache(mheap *h) { return (uintptr_t)layout_get(&h->env)->stackCacheSize / 2; }

// stackcacherefill fills half the cache of an order. The list stays empty if there is no memory.
static void stackcacherefill(mheap *h, gomem_p *p, mcache *c, unsigned order) {
	stackfreelist fresh = {0, 0};
	lockTurn(&h->env, &h->stackpool[order].mu, EV_NONE);
	while (fresh.size < halfCache(h)) {
		const uintptr_t x = stackpoolalloc(h, p, order);
		if (x == 0) {
			break;
		}
		storeLink(h, x, fresh.list);
		fresh.list = x;
		fresh.size += (uintptr_t)layout_get(&h->env)->fixedStack << order;
	}
	unlock(&h->env, &h->stackpool[order].mu);
	c->stackcache[order] = fresh;
}

// stackcacherelease empties the cache of an order to one half.
static void stackcacherelease(mheap *h, gomem_p *p, mcache *c, unsigned order) {
	stackfreelist rest = c->stackcache[order];
	lockTurn(&h->env, &h->stackpool[order].mu, EV_NONE);
	while (rest.size > halfCache(h)) {
		const uintptr_t next = loadLink(h, rest.list);
		stackpoolfree(h, p, rest.list, order);
		rest.list = next;
		rest.size -= (uintptr_t)layout_get(&h->env)->fixedStack << order;
	}
	unlock(&h->env, &h->stackpool[order].mu);
	c->stackcache[order] = rest;
}

void stackcache_clear(mheap *h, gomem_p *running, mcache *c) {
	for (unsigned order = 0; order < layout_get(&h->env)->numStackOrders; order++) {
		uintptr_t x = c->stackcache[order].list;
		if (x == 0) {
			continue;
		}
		lockTurn(&h->env, &h->stackpool[order].mu, EV_NONE);
		while (x != 0) {
			const uintptr_t next = loadLink(h, x);
			stackpoolfree(h, running, x, order);
			x = next;
		}
		c->stackcache[order] = (stackfreelist){0, 0};
		unlock(&h->env, &h->stackpool[order].mu);
	}
}

// ---- stacks

static bool isSmallStack(const gomem_layout *L, uintptr_t n) {
	return n < L->fixedStack << L->numStackOrders && n < L->stackCacheSize;
}

static unsigned stackOrder(const gomem_layout *L, uintptr_t n) {
	unsigned order = 0;
	while (n > L->fixedStack) {
		order++;
		n >>= 1;
	}
	return order;
}

static uintptr_t stackallocPool(mheap *h, gomem_p *p, unsigned order) {
	lockTurn(&h->env, &h->stackpool[order].mu, EV_NONE);
	const uintptr_t x = stackpoolalloc(h, p, order);
	unlock(&h->env, &h->stackpool[order].mu);
	return x;
}

static uintptr_t stackallocCached(mheap *h, gomem_p *p, unsigned order, uintptr_t n) {
	mcache *c = p->mcache;
	uintptr_t x = c->stackcache[order].list;
	if (x == 0) {
		stackcacherefill(h, p, c, order);
		x = c->stackcache[order].list;
		if (x == 0) {
			return 0;
		}
	}
	c->stackcache[order].list = loadLink(h, x);
	c->stackcache[order].size -= n;
	return x;
}

// stackLargePop takes a free span that a GC kept from its list, or NULL.
static mspan *stackLargePop(mheap *h, unsigned log2npage) {
	gomem_env *env = &h->env;
	mSpanList *list = &h->stackLarge.free[log2npage];
	lockTurn(env, &h->stackLarge.lock, EV_SLARGEPOP);
	mspan *s = list->first;
	if (s != NULL) {
		mSpanList_remove(env, list, s);
	}
	lab_event(env, EV_SLARGEPOP, log2npage, s == NULL ? 0 : mspan_base(s), 0, 0);
	unlock(env, &h->stackLarge.lock);
	return s;
}

static uintptr_t stackallocLarge(mheap *h, gomem_p *p, uintptr_t n) {
	const gomem_layout *L = layout_get(&h->env);
	const uintptr_t npage = n >> L->pageShift;
	mspan *s = stackLargePop(h, stacklog2(L, npage));
	if (s == NULL) {
		s = mheap_allocManual(h, p, npage, spanAllocStack);
		if (s == NULL) {
			return 0;
		}
		s->elemsize = n;
	}
	return mspan_base(s);
}

static uintptr_t stackallocAny(mheap *h, gomem_p *p, uint32_t n, bool bypass) {
	const gomem_layout *L = layout_get(&h->env);
	if (!isSmallStack(L, n)) {
		return stackallocLarge(h, p, n);
	}
	const unsigned order = stackOrder(L, n);
	return p == NULL || bypass ? stackallocPool(h, p, order) : stackallocCached(h, p, order, n);
}

uintptr_t stackalloc(mheap *h, gomem_p *p, uint32_t n, bool bypass) {
	if ((n & (n - 1)) != 0) {
		gomem_throw(&h->env, "stack size not a power of 2");
	}
	const uintptr_t x = stackallocAny(h, p, n, bypass);
	if (x != 0) {
		heapMem_grant(&h->env, x, n, false);
	}
	return x;
}

static void stackfreePool(mheap *h, gomem_p *p, uintptr_t x, unsigned order) {
	lockTurn(&h->env, &h->stackpool[order].mu, EV_NONE);
	stackpoolfree(h, p, x, order);
	unlock(&h->env, &h->stackpool[order].mu);
}

static void stackfreeCached(mheap *h, gomem_p *p, uintptr_t x, unsigned order, uintptr_t n) {
	mcache *c = p->mcache;
	if (c->stackcache[order].size >= layout_get(&h->env)->stackCacheSize) {
		stackcacherelease(h, p, c, order);
	}
	storeLink(h, x, c->stackcache[order].list);
	c->stackcache[order].list = x;
	c->stackcache[order].size += n;
}

static void stackfreeLarge(mheap *h, gomem_p *p, uintptr_t v) {
	gomem_env *env = &h->env;
	mspan *s = spanOfUnchecked(h, v);
	if (mspan_state(s) != mSpanManual) {
		gomem_throw(env, "bad span state");
	}
	if (gcIsOff(h)) {
		mheap_freeManual(h, p, s, spanAllocStack);
		return;
	}
	// As in stackpoolfree, the span must not become a heap span now.
	const unsigned log2npage = stacklog2(layout_get(env), s->npages);
	lockTurn(env, &h->stackLarge.lock, EV_SLARGEPUSH);
	mSpanList_insert(env, &h->stackLarge.free[log2npage], s);
	lab_event(env, EV_SLARGEPUSH, log2npage, v, 0, 0);
	unlock(env, &h->stackLarge.lock);
}

void stackfree(mheap *h, gomem_p *p, uintptr_t v, uintptr_t n, bool bypass) {
	const gomem_layout *L = layout_get(&h->env);
	if ((n & (n - 1)) != 0) {
		gomem_throw(&h->env, "stack not a power of 2");
	}
	heapMem_retire(&h->env, v, n);
	if (!isSmallStack(L, n)) {
		stackfreeLarge(h, p, v);
		return;
	}
	const unsigned order = stackOrder(L, n);
	if (p == NULL || bypass) {
		stackfreePool(h, p, v, order);
	} else {
		stackfreeCached(h, p, v, order, n);
	}
}

// ---- misuse

// isLinked looks for x among the first stacks of a free list.
static bool isLinked(mheap *h, uintptr_t list, uintptr_t x, uintptr_t most) {
	for (; list != 0 && most > 0; most--) {
		if (list == x) {
			return true;
		}
		list = loadLink(h, list);
	}
	return false;
}

bool stack_isFree(mheap *h, gomem_p *p, mspan *s, uintptr_t x) {
	const gomem_layout *L = layout_get(&h->env);
	const uintptr_t n = s->elemsize;
	const bool small = isSmallStack(L, n);
	const unsigned order = small ? stackOrder(L, n) : 0;
	mutex *mu = small ? &h->stackpool[order].mu : &h->stackLarge.lock;
	lock(&h->env, mu);
	// A large one is listed until the collector ends.
	const bool isFree = small ? isLinked(h, s->manualFreeList, x, (uintptr_t)L->stackCacheSize / n) : s->list != NULL;
	unlock(&h->env, mu);
	if (isFree || !small || p == NULL) {
		return isFree;
	}
	const stackfreelist *cached = &p->mcache->stackcache[order];
	return isLinked(h, cached->list, x, cached->size / n);
}

// ---- the end of a GC

static void freePoolSpans(mheap *h, gomem_p *p, unsigned order) {
	mSpanList *list = &h->stackpool[order].span;
	lockTurn(&h->env, &h->stackpool[order].mu, EV_STACKSCAN);
	lab_event(&h->env, EV_STACKSCAN, order, 0, 0, 0);
	for (mspan *s = list->first, *next; s != NULL; s = next) {
		next = s->next;
		if (s->allocCount == 0) {
			mSpanList_remove(&h->env, list, s);
			s->manualFreeList = 0;
			mheap_freeManual(h, p, s, spanAllocStack);
		}
	}
	unlock(&h->env, &h->stackpool[order].mu);
}

void freeStackSpans(mheap *h, gomem_p *p) {
	for (unsigned order = 0; order < layout_get(&h->env)->numStackOrders; order++) {
		freePoolSpans(h, p, order);
	}
	lockTurn(&h->env, &h->stackLarge.lock, EV_STACKSCAN);
	lab_event(&h->env, EV_STACKSCAN, numStackOrdersMax, 0, 0, 0);
	for (int i = 0; i < stackLargeClasses; i++) {
		mSpanList *list = &h->stackLarge.free[i];
		while (list->first != NULL) {
			mspan *s = list->first;
			mSpanList_remove(&h->env, list, s);
			mheap_freeManual(h, p, s, spanAllocStack);
		}
	}
	unlock(&h->env, &h->stackLarge.lock);
}

// ---- invariants

static const char *checkPoolSpan(mheap *h, mspan *s, unsigned order) {
	const gomem_layout *L = layout_get(&h->env);
	if (mspan_state(s) != mSpanManual || s->elemsize != (uintptr_t)L->fixedStack << order) {
		return "stackpool: a listed span is not a stack span of its order";
	}
	if (s->manualFreeList == 0) {
		return "stackpool: a listed span has no free stack";
	}
	const uintptr_t slots = (uintptr_t)L->stackCacheSize / s->elemsize;
	uintptr_t used = s->allocCount;
	for (uintptr_t x = s->manualFreeList; x != 0 && used <= slots; x = loadLink(h, x)) {
		if (x < mspan_base(s) || x - mspan_base(s) >= L->stackCacheSize || (x - mspan_base(s)) % s->elemsize != 0) {
			return "stackpool: a free stack is not a slot of its span";
		}
		used++;
	}
	return used == slots ? NULL : "stackpool: allocated and free stacks of a span do not add up";
}

const char *stack_check(mheap *h) {
	for (unsigned o = 0; o < layout_get(&h->env)->numStackOrders; o++) {
		for (mspan *s = h->stackpool[o].span.first; s != NULL; s = s->next) {
			const char *bad = checkPoolSpan(h, s, o);
			if (bad != NULL) {
				return bad;
			}
		}
	}
	for (unsigned i = 0; i < stackLargeClasses; i++) {
		for (mspan *s = h->stackLarge.free[i].first; s != NULL; s = s->next) {
			if (mspan_state(s) != mSpanManual || stacklog2(layout_get(&h->env), s->npages) != i) {
				return "stackLarge: a span is in the wrong list";
			}
		}
	}
	return NULL;
}
