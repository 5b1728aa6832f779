// predict_refill.c: which span a cache gets.
//
// A span that the port chose and Go did not is in no cache.
#include "traces/predict_state.h"

// retire: p takes another span of class spc. What is free in its span belongs to calls that have not ended, if it is little.
static void retire(predictor *pr, gomem_p *p, spanClass spc) {
	mspan *s = p->mcache->alloc[spc];
	unsigned left = (unsigned)s->nelems - s->allocCount;
	if (left == 0) {
		return;
	}
	if (left > maxLateTail) {
		pr_countMismatch(pr, PREDICT_REFILL, s->startAddr, "the P's span has free slots, and the P took another one");
		span_uncache(pr->h, p, s);
		pr_pushNow(pr, p, s);
		(void)mcentral_pushPartialSwept(pr->h, &pr->h->central[spc].mcentral, s);
		return;
	}
	for (; left > 0; left--) {
		const uint16_t i = mspan_nextFreeIndex(pr->h, s);
		if (i == s->nelems) {
			break;
		}
		s->allocCount++;
		pr_lateAdd(pr, s->startAddr + i * s->elemsize, PREDICT_REFILL, true,
			"the span had a free slot left, and no object came for it");
	}
	s->allocCount = s->nelems;
}

void pr_unrefill(predictor *pr, gomem_p *p, mspan *x, not_taken how) {
	span_uncache(pr->h, p, x);
	if (pr->grew) {
		span_unalloc(&pr->ph, p, x);
		if (p->pcache.base != pr->pcacheBefore) {
			pr_flushPcache(pr, p); // it was filled for x
		}
		return;
	}
	const bool again = how != STAYS_FIRST && pr->passed[x->spanclass] == x->startAddr;
	if (how != STAYS_FIRST) {
		pr->passed[x->spanclass] = x->startAddr;
	}
	const bool ok = how == HELD ? span_hold(&pr->ph, x)
		: again                 ? mcentral_pushPartialSwept(pr->h, &pr->h->central[x->spanclass].mcentral, x)
								: span_putFirst(pr->h, x);
	if (!ok) {
		pr->noMemory = true;
	}
}

mspan *pr_refill(predictor *pr, gomem_p *p, spanClass spc) {
	retire(pr, p, spc);
	pr->grew = false;
	pr->refilling = spc;
	pr->first = NULL;
	pr->pcacheBefore = p->pcache.base;
	if (p->mcache->alloc[spc] != &pr->h->emptymspan) {
		pr_pushRetired(pr, p, p->mcache->alloc[spc]);
	}
	const bool ok = mcache_refill(pr->h, p, p->mcache, spc);
	pr_passedAhead(pr);
	if (!ok) {
		pr->noMemory = true;
		return NULL;
	}
	return p->mcache->alloc[spc];
}

// refillGrowing lets the port choose, for p, where Go made a new span. What it finds in mcentral, and Go did not, is left out as long as that
// may be due to an order that is not told: r. NULL: out of memory.
static mspan *refillGrowing(predictor *pr, gomem_p *p, spanClass spc, waiting_refill *r, uint32_t *left) {
	mspan *passed[maxAhead], *x;
	uint32_t n = 0;
	pr_settle(pr);
	while ((x = pr_refill(pr, p, spc)) != NULL && !pr->grew && !pr_isHidden(pr, x) && n < maxAhead &&
		pr->passed[spc] != x->startAddr && pr_tookFirst(pr, x) && pr_orderLater(pr, p, x, r)) {
		span_uncache(pr->h, p, x);
		passed[n++] = x;
	}
	*left = n;
	while (n > 0) {
		if (!span_putFirst(pr->h, passed[--n])) {
			pr->noMemory = true;
		}
	}
	return x;
}

// countGrown: the port made a new span too, after it left so many out.
static void countGrown(predictor *pr, waiting_refill *r, uint32_t left, const char *why) {
	if (r->n != 0) {
		r->refill = pr_describe(pr, PREDICT_REFILL, r->ahead[0], why);
		pr_await(pr, r);
		return;
	}
	if (left != 0) {
		pr_orderRead(pr);
	}
	pr_countEqual(pr, PREDICT_REFILL);
}

// onGrow: Go made a new span for p's cache.
static bool onGrow(predictor *pr, gomem_p *p, const gotrace_event *e) {
	static const char why[] = "mcentral has a span with free slots, and Go made a new one";
	const bool hiddenPages = pr->ps[p->id].pcache == PCACHE_HIDDEN;
	const uint64_t before = p->pcache.base;
	waiting_refill r = {.p = p->id, .class = (spanClass)e->class, .time = e->time, .grew = true};
	uint32_t left;
	mspan *x = refillGrowing(pr, p, (spanClass)e->class, &r, &left);
	if (x == NULL) {
		return false;
	}
	if (pr->grew) {
		countGrown(pr, &r, left, why);
		pr_notePcache(pr, p, before);
		if (!hiddenPages || !pr_usesCache(p, e->n)) {
			return pr_comparePlace(pr, p, x, e) != NULL && heap_note(&pr->ph, x);
		}
		pr_unrefill(pr, p, x, STAYS_FIRST_ONCE);
		pr_flushPcache(pr, p);
	} else {
		const bool hidden = pr_isHidden(pr, x);
		if (hidden) {
			pr_countAdopted(pr, PREDICT_REFILL);
		} else {
			pr_countMismatch(pr, PREDICT_REFILL, x->startAddr, why);
		}
		pr_unrefill(pr, p, x, HELD);
	}
	mspan *s = pr_placeSpan(pr, p, e);
	return s != NULL && heap_note(&pr->ph, s) && span_cache(&pr->ph, p, s);
}

bool pr_onSpanAlloc(predictor *pr, gomem_p *p, const gotrace_event *e) {
	const bool manual = e->class == GOTRACE_MANUAL;
	if (e->n == 0 || e->n > (uint64_t)1 << 24 || (!manual && e->class >= numSpanClasses) ||
		(!manual && e->class > 1 && class_to_allocnpages[e->class >> 1] != e->n)) {
		pr_countMismatch(pr, pr_spanKind(e->class), 0, "no span of this class has so many pages");
		return true;
	}
	if (!manual && e->class > 1 && p != NULL) {
		return onGrow(pr, p, e);
	}
	mspan *s = pr_placeSpan(pr, p, e);
	if (s == NULL || !heap_note(&pr->ph, s)) {
		return false;
	}
	if (!manual && e->class <= 1) {
		s->freeindex = 1;
		s->allocCount = 1;
	} else if (!manual) {
		return mcentral_pushPartialSwept(pr->h, &pr->h->central[s->spanclass].mcentral, s);
	}
	return true;
}
