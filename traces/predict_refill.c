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

void pr_unrefill(predictor *pr, gomem_p *p, mspan *x, bool hold) {
	span_uncache(pr->h, p, x);
	if (pr->grew) {
		span_unalloc(&pr->ph, p, x);
		if (p->pcache.base != pr->pcacheBefore) {
			pr_flushPcache(pr, p); // it was filled for x
		}
		return;
	}
	const bool again = pr->passed[x->spanclass] == x->startAddr;
	pr->passed[x->spanclass] = x->startAddr;
	const bool ok = hold ? span_hold(&pr->ph, x)
		: again          ? mcentral_pushPartialSwept(pr->h, &pr->h->central[x->spanclass].mcentral, x)
						 : span_putFirst(pr->h, x);
	if (!ok) {
		pr->noMemory = true;
	}
}

mspan *pr_refill(predictor *pr, gomem_p *p, spanClass spc) {
	retire(pr, p, spc);
	pr->grew = false;
	pr->refilling = spc;
	pr->pcacheBefore = p->pcache.base;
	if (!mcache_refill(pr->h, p, p->mcache, spc)) {
		pr->noMemory = true;
		return NULL;
	}
	return p->mcache->alloc[spc];
}

// grown: Go made a new span for p's cache.
static bool onGrow(predictor *pr, gomem_p *p, const gotrace_event *e) {
	const spanClass spc = (spanClass)e->class;
	const bool hiddenPages = pr->ps[p->id].pcache == PCACHE_HIDDEN;
	const uint64_t before = p->pcache.base;
	mspan *x = pr_refill(pr, p, spc);
	if (x == NULL) {
		return false;
	}
	if (pr->grew) {
		pr_countEqual(pr, PREDICT_REFILL);
		pr_notePcache(pr, p, before);
		if (!hiddenPages || !pr_usesCache(p, e->n)) {
			return pr_comparePlace(pr, p, x, e) != NULL && heap_note(&pr->ph, x);
		}
		pr_unrefill(pr, p, x, false);
		pr_flushPcache(pr, p);
	} else {
		const bool hidden = pr_isHidden(pr, x);
		if (hidden) {
			pr_countAdopted(pr, PREDICT_REFILL);
		} else {
			pr_countMismatch(
				pr, PREDICT_REFILL, x->startAddr, "mcentral has a span with free slots, and Go made a new one");
		}
		pr_unrefill(pr, p, x, true);
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
