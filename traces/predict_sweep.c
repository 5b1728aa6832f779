// predict_sweep.c: sweeps, one after the other as the trace tells them.
//
// A span with something to free is swept when the trace has told all of it.
#include "traces/predict_state.h"

sweep_group *pr_toldLater(predictor *pr, const mspan *s) {
	sweep_group *g = s != NULL ? pr_groupAt(pr, s->startAddr) : NULL;
	return g != NULL && !g->told && ((g->freed && pr->h->gomaxprocs > 1) || !g->seen) ? g : NULL;
}

void pr_putOff(predictor *pr, mspan *s, sweep_group *g) {
	span_putOff(pr->h, s);
	g->putOff = true;
}

sweep_group *pr_refillTook(predictor *pr, const mspan *s) {
	sweep_group *g = s != NULL ? pr_groupAt(pr, s->startAddr) : NULL;
	return g != NULL && g->seen && g->how == SWEEP_BY_REFILL ? g : NULL;
}

bool pr_sweepOne(predictor *pr, gomem_p *p, bool passOver) {
	for (;;) {
		mspan *s = heap_nextUnswept(pr->h);
		sweep_group *later = pr_toldLater(pr, s), *took = pr_refillTook(pr, s);
		if (later != NULL && !passOver) {
			return false;
		}
		if (later == NULL && took == NULL) {
			break;
		}
		pr_putOff(pr, s, later != NULL ? later : took);
	}
	const bool some = sweepone(pr->h, p) != ~(uintptr_t)0;
	pr_keepSpan(pr);
	return some;
}

void pr_forceSweep(predictor *pr, mspan *s) {
	atomic_store(&s->sweepgen, pr->h->sweepgen - 1);
	(void)mspan_sweep(pr->h, pr->running, s, false);
	pr_keepSpan(pr);
}

bool pr_isHidden(predictor *pr, const mspan *s) {
	const page_info *pi = pages_at(&pr->ph.pages, s->startAddr);
	return pi != NULL && pi->npages != 0 && (pi->flags & PAGE_HIDDEN) != 0;
}

// sweepSpan sweeps s now, in the way Go came to it.
static void sweepSpan(predictor *pr, mspan *s, sweep_how how) {
	if (atomic_load(&s->sweepgen) == pr->h->sweepgen + 1) {
		gomem_p *owner = span_owner(pr->h, s);
		if (owner != NULL && owner != pr->running && pr->running != NULL && !pr->ps[owner->id].running &&
			!pr->ps[owner->id].flushing && owner->id != pr->woken) {
			pr_beginIdle(pr);
		} else if (owner != NULL) {
			(void)pr_flushSome(pr, owner);
		}
		return;
	}
	if (!pr_isUnswept(pr, s)) {
		return;
	}
	// The first flush of a P may find spans that it had before the trace began.
	const sweep_group *g = pr_groupAt(pr, s->startAddr);
	// Without a P only caches are flushed: whoever has it took it from one.
	if (how == SWEEP_BY_RECLAIM || pr_isHidden(pr, s) || (g != NULL && g->putOff) || pr->running == NULL) {
		pr_forceSweep(pr, s);
		return;
	}
	pr->wanted = s->startAddr;
	pr->wantedDone = false;
	while (!pr->wantedDone && pr_sweepOne(pr, pr->running, true)) {
		if (pr->running != NULL) {
			pr->ps[pr->running->id].swept++;
		}
	}
	pr->wanted = 0;
	if (!pr->wantedDone) {
		pr_forceSweep(pr, s);
	}
}

// sweeperP gives the P that the background sweeper runs on; NULL: it does not run.
static gomem_p *sweeperP(predictor *pr) {
	for (int32_t k = 0; k < pr->nseen; k++) {
		const int32_t i = pr->seen[k];
		if (pr->ps[i].sweeper) {
			return pr->h->allp[i];
		}
	}
	return NULL;
}

bool pr_sweptEvidently(predictor *pr, mspan *s) {
	if (pr->h->gomaxprocs == 1) {
		return false;
	}
	gomem_p *owner = atomic_load(&s->sweepgen) == pr->h->sweepgen + 1 ? span_owner(pr->h, s) : NULL;
	if (owner != NULL) {
		pr_flushThrough(pr, owner, s->spanclass);
		return atomic_load(&s->sweepgen) == pr->h->sweepgen;
	}
	sweep_group *g = pr_isUnswept(pr, s) ? pr_groupAt(pr, s->startAddr) : NULL;
	gomem_p *const running = pr->running, *const sweeper = g != NULL ? sweeperP(pr) : NULL;
	if (sweeper == NULL || g->seen || g->how != SWEEP_BY_SWEEPER || g->earliest > pr->e->time) {
		return false;
	}
	g->seen = true;
	pr->running = sweeper;
	sweepSpan(pr, s, SWEEP_BY_SWEEPER);
	pr->running = running;
	return true;
}

void pr_sweeperEnd(predictor *pr, gomem_p *p) {
	p_state *ps = &pr->ps[p->id];
	if (!ps->sweeper) {
		return;
	}
	ps->sweeper = false;
	pr->sweeperCut = pr_toldLater(pr, heap_nextUnswept(pr->h)) != NULL ? ps->swept % sweepBatch : 0;
	while ((ps->swept == 0 || ps->swept % sweepBatch != 0) && pr_sweepOne(pr, p, false)) {
		ps->swept++;
	}
}

void pr_onGoStart(predictor *pr, gomem_p *p, const gotrace_event *e) {
	if (p == NULL) {
		return;
	}
	pr_sweeperEnd(pr, p);
	if (pr->sweeps.sweeper != 0 && e->n == pr->sweeps.sweeper && !pr->marking) {
		pr->ps[p->id].sweeper = true;
		pr->ps[p->id].swept = pr->sweeperCut;
		pr->sweeperCut = 0;
	}
}

// sweepInRegion sweeps s for credit, and counts what comes before it too: the rest is swept when the region has ended.
static void sweepInRegion(predictor *pr, mspan *s) {
	const uint64_t before = pr->sweptBytes;
	sweepSpan(pr, s, SWEEP_BY_CREDIT);
	if (pr->running != NULL) {
		pr->ps[pr->running->id].done += pr->sweptBytes - before;
	}
}

void pr_onObjectFree(predictor *pr, const gotrace_event *e) {
	pr_beginSweeping(pr);
	mspan *s = span_at(pr->h, e->addr);
	if (s == NULL || mspan_state(s) != mSpanInUse) {
		return;
	}
	sweep_group *g = pr_groupAt(pr, s->startAddr);
	if (g == NULL) {
		return;
	}
	g->left -= g->left > 0;
	const bool cached = atomic_load(&s->sweepgen) == pr->h->sweepgen + 1;
	if (cached && !g->seen && !g->freed) {
		sweepSpan(pr, s, (sweep_how)g->how);
	}
	if (g->seen || (g->left != 0 && !cached && pr->h->gomaxprocs > 1)) {
		return; // another M may sweep one of the class and end before this one
	}
	g->seen = true;
	if (pr->running != NULL) {
		pr->ps[pr->running->id].last = s->startAddr;
	}
	if (g->how == SWEEP_BY_RECLAIM && pr->running != NULL && pr->h->gomaxprocs > 1) {
		pr_reclaimUntil(pr, pr->running, s);
	}
	if (g->freed || cached) {
		return;
	}
	if (g->putOff && g->how == SWEEP_BY_RECLAIM && pr_isUnswept(pr, s)) {
		pr_forceSweep(pr, s);
		return;
	}
	if (g->how == SWEEP_BY_CREDIT) {
		sweepInRegion(pr, s);
		return;
	}
	if (g->how == SWEEP_BY_SWEEPER || (g->how == SWEEP_BY_RECLAIM && pr->h->gomaxprocs != 1)) {
		sweepSpan(pr, s, (sweep_how)g->how);
	}
}

void pr_onSpanFree(predictor *pr, const gotrace_event *e) {
	page_info *pi = pages_at(&pr->ph.pages, e->addr);
	if (pi != NULL && (pi->flags & PAGE_FREED) != 0) {
		pi->flags &= (uint8_t)~PAGE_FREED;
		if (span_at(pr->h, e->addr) == NULL) {
			pages_unspan(&pr->ph.pages, e->addr);
		}
		return;
	}
	mspan *s = span_at(pr->h, e->addr);
	if (s == NULL || s->startAddr != e->addr) {
		return;
	}
	if (mspan_state(s) == mSpanManual) {
		mheap_freeManual(pr->h, pr->running, s, spanAllocStack);
		pages_unspan(&pr->ph.pages, e->addr);
		return;
	}
	pr_beginSweeping(pr);
	sweep_group *g = pr_groupAt(pr, e->addr);
	if (g != NULL) {
		g->told = true;
	}
	if (g != NULL && g->how == SWEEP_BY_CREDIT) {
		sweepInRegion(pr, s);
	} else {
		sweepSpan(pr, s, g != NULL ? (sweep_how)g->how : SWEEP_BY_RECLAIM);
	}
	s = span_at(pr->h, e->addr);
	if (s != NULL && s->startAddr == e->addr) {
		span_discard(&pr->ph, pr->running, s);
	}
	pi = pages_at(&pr->ph.pages, e->addr);
	if (pi != NULL) {
		pi->flags &= (uint8_t)~PAGE_FREED;
	}
	pages_unspan(&pr->ph.pages, e->addr);
}

void pr_unhide(predictor *pr, const mspan *s) {
	page_info *pi = pages_at(&pr->ph.pages, s->startAddr);
	if (pi != NULL) {
		pi->flags &= (uint8_t)~PAGE_HIDDEN;
	}
}
