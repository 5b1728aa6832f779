// predict_credit.c: what an allocation sweeps: for its credit, in mcentral, to reclaim pages.
//
// What the trace tells later was not swept yet; bytes swept are those of SweepEnd.
#include "traces/predict_state.h"

#include <string.h>

// sweepCredit sweeps as many bytes as the trace says, and at least to the last span that had something to free.
static void sweepCredit(predictor *pr, gomem_p *p, const past_region *r) {
	const uint64_t until = pr->sweptBytes + (r->bytes > r->done ? r->bytes - r->done : 0);
	mspan *s = r->last != 0 ? span_at(pr->h, r->last) : NULL;
	pr->wanted = s != NULL && pr_isUnswept(pr, s) ? r->last : 0;
	pr->wantedDone = pr->wanted == 0;
	pr->region = r;
	while ((pr->sweptBytes < until || !pr->wantedDone) && pr_sweepOne(pr, p, !pr->wantedDone)) {
	}
	pr->wanted = 0;
	pr->region = NULL;
}

// sweepForCredit sweeps what the trace says was swept before mcentral looked for a span, or a large one was allocated. It gives the
// span that mcentral swept itself then; 0: none.
static uint64_t sweepForCredit(predictor *pr, gomem_p *p, uintptr_t callerSweepPages) {
	if (pr->ps[p->id].nregions == 0) {
		return 0;
	}
	p_state *ps = &pr->ps[p->id];
	const uint64_t own = callerSweepPages == 0 && ps->regions[ps->nregions - 1].what == REGION_REFILL
		? ps->regions[ps->nregions - 1].last
		: 0;
	// The last region is mcentral's own, if the port's will sweep too.
	uint32_t n = ps->nregions;
	if (ps->regions[n - 1].what == REGION_RECLAIM) {
		n--;
	}
	if (n > 0 && callerSweepPages == 0 && ps->regions[n - 1].what == REGION_REFILL) {
		n--;
	}
	for (uint32_t i = 0; i < n; i++) {
		if (ps->regions[i].what != REGION_RECLAIM) {
			sweepCredit(pr, p, &ps->regions[i]);
		}
	}
	ps->nregions = 0;
	return own;
}

// putOffAhead: mcentral swept `own` first of those that have something to free. One before it that the trace tells later is elsewhere in Go's set.
static void putOffAhead(predictor *pr, const mspan *own) {
	const unsigned inFull = own->allocCount == own->nelems;
	for (unsigned full = 0; full <= inFull; full++) {
		mspan *s;
		for (uint32_t k = 0;
			 k < spanBudget && (s = span_unsweptAt(pr->h, own->spanclass, full != 0, k)) != NULL && s != own;) {
			sweep_group *g = s->spanclass == own->spanclass && pr_isUnswept(pr, s) ? pr_toldLater(pr, s) : NULL;
			if (g != NULL) {
				pr_putOff(pr, s, g);
			} else {
				k++;
			}
		}
	}
}

static bool isToldLater(void *ctx, mspan *s) {
	predictor *pr = ctx;
	return s->spanclass == pr->refilling && pr_isUnswept(pr, s) && pr_toldLater(pr, s) != NULL;
}

// passAhead: mcentral sweeps nothing that has something to free. What the trace tells later stands aside while it looks.
static void passAhead(predictor *pr, spanClass spc) {
	const span_test later = {isToldLater, pr};
	for (unsigned full = 0; full <= 1; full++) {
		pr->naside[full] = span_takeOut(pr->h, spc, full != 0, spanBudget, &later, pr->aside[full], spanBudget);
	}
}

void pr_passedAhead(predictor *pr) {
	for (unsigned full = 0; full <= 1; full++) {
		if (!span_putBack(pr->h, pr->refilling, full != 0, pr->aside[full], pr->naside[full])) {
			pr->noMemory = true;
		}
		pr->naside[full] = 0;
	}
}

// putOffFirst takes out of a set what is first in it, as long as another P sweeps that later, or has taken it and not told yet. false: nothing is left.
static bool putOffFirst(predictor *pr, spanClass spc, bool full, uint64_t own) {
	mspan *s;
	while ((s = span_nextUnswept(pr->h, spc, full)) != NULL) {
		sweep_group *g = pr_toldLater(pr, s);
		g = g != NULL ? g : pr_refillTook(pr, s);
		if (g == NULL || s->startAddr == own) {
			return true;
		}
		pr_putOff(pr, s, g);
	}
	return false;
}

// putOffTaken: mcentral gets none that is swept later; and first of all its own.
static void putOffTaken(predictor *pr, spanClass spc, uint64_t own) {
	if (!putOffFirst(pr, spc, false, own)) {
		(void)putOffFirst(pr, spc, true, own);
	}
	mspan *s = own != 0 ? span_at(pr->h, own) : NULL;
	sweep_group *g = s != NULL ? pr_groupAt(pr, own) : NULL;
	if (g != NULL && g->putOff && pr_isUnswept(pr, s) && !span_putOn(pr->h, s)) {
		pr->noMemory = true;
	}
	if (s != NULL && pr_isUnswept(pr, s)) {
		putOffAhead(pr, s);
	} else if (s == NULL && pr->h->gomaxprocs > 1) {
		passAhead(pr, spc);
	}
}

void pr_deductCredit(void *ctx, gomem_heap *h, gomem_p *p, uintptr_t spanBytes, uintptr_t callerSweepPages) {
	(void)spanBytes;
	predictor *pr = ctx;
	if (p == NULL) {
		return;
	}
	const uint64_t own = sweepForCredit(pr, p, callerSweepPages);
	if (callerSweepPages != 0) {
		return;
	}
	pr->first = spanSet_at(mcentral_partialSwept(&h->central[pr->refilling].mcentral, h->sweepgen), 0);
	if (pr->first == NULL) {
		putOffTaken(pr, pr->refilling, own);
		pr->first = span_nextUnswept(h, pr->refilling, false);
	}
}

// isUnmarked: the page bitmap has no mark for s, that is not swept. Green Tea leaves it out where objects have no pointers or one is marked
// alone, unless an object was allocated while marking was on.
static bool isUnmarked(predictor *pr, mspan *s) {
	const sweep_group *g = pr_groupAt(pr, s->startAddr);
	if (g != NULL) {
		return g->how == SWEEP_BY_RECLAIM;
	}
	const page_info *pi = pages_at(&pr->ph.pages, s->startAddr);
	if (!gcUsesSpanInlineMarkBits(&pr->h->env, s->elemsize) || pi == NULL || pi->black == pr->cycle) {
		return false;
	}
	return spanClass_noscan(s->spanclass) || s->allocCount == 1;
}

// mayBeUnmarked: Green Tea leaves the mark out too where all objects were marked and scanned one after the other.
static bool mayBeUnmarked(predictor *pr, mspan *s) {
	const page_info *pi = pages_at(&pr->ph.pages, s->startAddr);
	return gcUsesSpanInlineMarkBits(&pr->h->env, s->elemsize) && pr_groupAt(pr, s->startAddr) == NULL && pi != NULL &&
		pi->black != pr->cycle && !spanClass_noscan(s->spanclass);
}

static mspan *reclaimedSpan(predictor *pr, uint64_t i) {
	gomem_heap *h = pr->h;
	if (i / predictPiecePages >= (uint64_t)h->sweepArenas.len) {
		return NULL;
	}
	heapArena *ha = mheap_arenaAt(h, h->sweepArenas.p[i / predictPiecePages]);
	const uint64_t page = i % predictPiecePages;
	return (atomic_load(&ha->pageInUse[page / 8]) >> page % 8 & 1) != 0 ? ha->spans[page] : NULL;
}

// reclaimUntil goes on with what p reclaims, until it comes to stop; NULL: to the end. What is told later is passed over.
static void reclaimUntil(predictor *pr, gomem_p *p, const mspan *stop) {
	p_state *ps = &pr->ps[p->id];
	for (; ps->reclaimAt < ps->reclaimEnd; ps->reclaimAt++) {
		mspan *s = reclaimedSpan(pr, ps->reclaimAt);
		if (s != NULL && s == stop) {
			return;
		}
		if (s != NULL && pr_isUnswept(pr, s) && mayBeUnmarked(pr, s)) {
			pr_pushReclaimed(pr, p, s);
		}
		if (s == NULL || !pr_isUnswept(pr, s) || !isUnmarked(pr, s) ||
			(pr->h->gomaxprocs > 1 && pr_toldLater(pr, s) != NULL)) {
			continue;
		}
		(void)mheap_reclaimSpan(pr->h, p, s);
		pr_keepSpan(pr);
	}
}

void pr_reclaimUntil(predictor *pr, gomem_p *p, const mspan *stop) {
	const p_state *ps = &pr->ps[p->id];
	for (uint64_t i = ps->reclaimAt; i < ps->reclaimEnd; i++) {
		if (reclaimedSpan(pr, i) == stop) {
			reclaimUntil(pr, p, stop);
			return;
		}
	}
}

// beginReclaim takes the next chunks of pages for p.
static void beginReclaim(predictor *pr, gomem_p *p, uint32_t chunks) {
	p_state *ps = &pr->ps[p->id];
	reclaimUntil(pr, p, NULL);
	ps->reclaimAt = atomic_load(&pr->h->reclaimIndex);
	ps->reclaimEnd = ps->reclaimAt + (uint64_t)chunks * reclaimChunkPages;
	atomic_store(&pr->h->reclaimIndex, ps->reclaimEnd);
}

void pr_growing(void *ctx, gomem_heap *h, gomem_p *p, uintptr_t npages) {
	(void)h;
	(void)npages;
	predictor *pr = ctx;
	pr->grew = true;
	if (p != NULL && pr->ps != NULL && pr->ps[p->id].chunks != 0) {
		const uint32_t chunks = pr->ps[p->id].chunks;
		pr->ps[p->id].chunks = 0;
		beginReclaim(pr, p, chunks);
		reclaimUntil(pr, p, NULL);
	}
}

void pr_noTrigger(void *ctx, gomem_heap *h, gomem_p *p) {
	(void)ctx;
	(void)h;
	(void)p;
}

// onReclaim: mcentral looked for a span before, so that what reclaim sweeps must wait until the port's has looked too. With several Ps, others
// find it meanwhile.
static void onReclaim(predictor *pr, gomem_p *p, uint32_t chunks) {
	if (pr->h->gomaxprocs == 1) {
		pr->ps[p->id].chunks += chunks;
	} else {
		beginReclaim(pr, p, chunks);
	}
}

void pr_onRegion(predictor *pr, gomem_p *p, const gotrace_event *e) {
	if (e->kind == GOTRACE_SWEEP_BEGIN) {
		const uint32_t i = pr->nextRegion++;
		if (p != NULL) {
			pr->ps[p->id].last = pr->ps[p->id].done = 0;
			pr->ps[p->id].regionSince = e->earliest;
			const sweep_region *r = i < pr->sweeps.nregions ? &pr->sweeps.regions[i] : NULL;
			pr->ps[p->id].region = r != NULL ? r->what : REGION_UNKNOWN;
			if (pr->ps[p->id].region == REGION_RECLAIM) {
				onReclaim(pr, p, r->chunks);
			}
		}
		return;
	}
	if (p == NULL) {
		return;
	}
	reclaimUntil(pr, p, NULL);
	p_state *ps = &pr->ps[p->id];
	if (ps->nregions == maxRegions) {
		memmove(ps->regions, ps->regions + 1, (maxRegions - 1) * sizeof(ps->regions[0]));
		ps->nregions--;
	}
	ps->regions[ps->nregions++] = (past_region){.what = ps->region,
		.bytes = e->addr,
		.done = ps->done,
		.last = ps->last,
		.since = ps->regionSince,
		.until = e->time};
}
