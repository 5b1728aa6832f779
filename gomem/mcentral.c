// mcentral.c (layer 4): the spans of one span class. Ports mcentral.go.
//
// A span that is swept is in at most one of the two swept sets, or cached by a P. An unswept set may still name a span that is not its own any more, for
// somebody else has swept it: whoever pops it fails to acquire it, and drops it. After sweepgen grows by 2 the swept sets are the unswept ones.
// cacheSpan looks at most at 101 unswept spans (a budget of 100, spent to below zero, as in Go) before it asks the page heap for a fresh one.
#include "gomem/mheap.h"

static unsigned sweptIndex(uint32_t sweepgen) { return sweepgen / 2 % 2; }

void mcentral_init(mcentral *c, spanClass spc) { c->spanclass = spc; }

spanSet *mcentral_partialUnswept(mcentral *c, uint32_t sweepgen) { return &c->partial[1 - sweptIndex(sweepgen)]; }
spanSet *mcentral_partialSwept(mcentral *c, uint32_t sweepgen) { return &c->partial[sweptIndex(sweepgen)]; }
spanSet *mcentral_fullUnswept(mcentral *c, uint32_t sweepgen) { return &c->full[1 - sweptIndex(sweepgen)]; }
spanSet *mcentral_fullSwept(mcentral *c, uint32_t sweepgen) { return &c->full[sweptIndex(sweepgen)]; }

bool mcentral_pushPartialSwept(mheap *h, mcentral *c, mspan *s) {
	unsigned i = sweptIndex(h->sweepgen);
	return spanSet_push(&h->env, &c->partial[i], s, mcentral_setID(c->spanclass, false, i));
}

bool mcentral_pushFullSwept(mheap *h, mcentral *c, mspan *s) {
	unsigned i = sweptIndex(h->sweepgen);
	return spanSet_push(&h->env, &c->full[i], s, mcentral_setID(c->spanclass, true, i));
}

static mspan *popPartial(mheap *h, mcentral *c, unsigned i) {
	return spanSet_pop(&h->env, &c->partial[i], mcentral_setID(c->spanclass, false, i));
}

static mspan *popFull(mheap *h, mcentral *c, unsigned i) {
	return spanSet_pop(&h->env, &c->full[i], mcentral_setID(c->spanclass, true, i));
}

// cacheUnswept sweeps spans of the last cycle until one has a free slot, or the budget is spent.
static mspan *cacheUnswept(mheap *h, gomem_p *p, mcentral *c, sweepLocker sl) {
	const unsigned unswept = 1 - sweptIndex(h->sweepgen);
	int spanBudget = 100;
	for (; spanBudget >= 0; spanBudget--) {
		mspan *s = popPartial(h, c, unswept);
		if (s == NULL) {
			break;
		}
		if (sweepLocker_tryAcquire(h, sl, s, 1)) {
			mspan_sweep(h, p, s, true);
			return s;
		}
	}
	for (; spanBudget >= 0; spanBudget--) {
		mspan *s = popFull(h, c, unswept);
		if (s == NULL) {
			break;
		}
		if (!sweepLocker_tryAcquire(h, sl, s, 1)) {
			continue;
		}
		mspan_sweep(h, p, s, true);
		uint16_t freeIndex = mspan_nextFreeIndex(h, s);
		if (freeIndex != s->nelems) {
			s->freeindex = freeIndex;
			return s;
		}
		if (!mcentral_pushFullSwept(h, c, s)) {
			gomem_throw(&h->env, "out of memory for a span set while sweeping");
		}
	}
	return NULL;
}

static mspan *findSpan(mheap *h, gomem_p *p, mcentral *c) {
	mspan *s = popPartial(h, c, sweptIndex(h->sweepgen));
	if (s != NULL) {
		return s;
	}
	bool active = h->policy.sweepActive == NULL || h->policy.sweepActive(h->policy.ctx, h, p);
	sweepLocker sl = active ? activeSweep_beginGiven(h) : (sweepLocker){h->sweepgen, false};
	if (sl.valid) {
		s = cacheUnswept(h, p, c, sl);
		activeSweep_end(h, sl);
	}
	return s != NULL ? s : mcentral_grow(h, p, c);
}

mspan *mcentral_cacheSpan(mheap *h, gomem_p *p, mcentral *c) {
	const gomem_layout *L = layout_get(&h->env);
	uintptr_t spanBytes = (uintptr_t)layout_classPages(L, spanClass_sizeclass(c->spanclass)) << L->pageShift;
	if (h->policy.deductSweepCredit != NULL) {
		h->policy.deductSweepCredit(h->policy.ctx, h, p, spanBytes, 0);
	} else {
		deductSweepCredit(h, p, spanBytes, 0);
	}
	mspan *s = findSpan(h, p, c);
	if (s == NULL) {
		return NULL;
	}
	if (s->freeindex == s->nelems || s->allocCount == s->nelems) {
		gomem_throw(&h->env, "span has no free objects");
	}
	mspan_refillAllocCache(s, (uint16_t)((s->freeindex & ~63u) / 8));
	s->allocCache >>= s->freeindex % 64;
	return s;
}

bool mcentral_uncacheSpan(mheap *h, gomem_p *p, mcentral *c, mspan *s) {
	if (s->allocCount == 0) {
		gomem_throw(&h->env, "uncaching span but s->allocCount == 0");
	}
	uint32_t sg = h->sweepgen;
	if (atomic_load_explicit(&s->sweepgen, memory_order_relaxed) == sg + 1) {
		// Cached before this cycle began: nobody else could sweep it.
		atomic_store(&s->sweepgen, sg - 1);
		mspan_sweep(h, p, s, false);
		return true;
	}
	// Who gets it from the set sees this.
	atomic_store_explicit(&s->sweepgen, sg, memory_order_release);
	return s->allocCount < s->nelems ? mcentral_pushPartialSwept(h, c, s) : mcentral_pushFullSwept(h, c, s);
}

mspan *mcentral_grow(mheap *h, gomem_p *p, mcentral *c) {
	mspan *s =
		mheap_alloc(h, p, layout_classPages(layout_get(&h->env), spanClass_sizeclass(c->spanclass)), c->spanclass);
	if (s != NULL) {
		mspan_initHeapBits(h, s);
	}
	return s;
}
