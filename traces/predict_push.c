// predict_push.c: when a span was put into one of mcentral's sets, as far as the trace tells.
//
// A span goes behind the others of a set at the end of its sweep, or when its P has filled it. What the trace tells of that comes before, a free, or
// later, what the M does next: there is a window of time in which it happened. An event itself has one: gotrace_event.earliest.
//
// Invariants: since <= until; what one P did lies in windows that follow each other, or in the same one
#include "traces/predict_state.h"

void pr_pushClose(predictor *pr, p_state *ps) {
	for (uint32_t i = 0; i < ps->nopen; i++) {
		push_window *w = &ps->open[i]->push;
		if (w->by == ps - pr->ps && w->until == windowOpen) { // else it was pushed again since
			w->until = pr->e->time;
		}
	}
	ps->nopen = 0;
}

static void addOpen(predictor *pr, p_state *ps, page_info *pi) {
	if (ps->nopen == sizeof(ps->open) / sizeof(ps->open[0])) {
		pr_pushClose(pr, ps);
	}
	pi->push.until = windowOpen;
	ps->open[ps->nopen++] = pi;
}

void pr_pushBeginFlush(predictor *pr, p_state *ps) {
	pr_pushClose(pr, ps);
	ps->flushSince = pr->sweepingAt;
	ps->byEnder = ps->idle;
	ps->idleTold = false;
}

void pr_pushTold(predictor *pr, p_state *ps) {
	pr_pushClose(pr, ps);
	ps->flushSince = pr->e->earliest;
}

// closeEnder: who ended the cycle does something else than flushing the caches of idle Ps.
static void closeEnder(predictor *pr) {
	for (int32_t k = 0; k < pr->nseen; k++) {
		const int32_t i = pr->seen[k];
		if (pr->ps[i].byEnder && !pr->ps[i].flushing) {
			pr_pushClose(pr, &pr->ps[i]);
		}
	}
}

// sweeping gives the span that a free tells of; 0: the event is something else.
static uint64_t sweeping(predictor *pr, const gotrace_event *e) {
	return e->kind == GOTRACE_OBJECT_FREE ? pages_base(&pr->ph.pages, e->addr)
		: e->kind == GOTRACE_SPAN_FREE    ? e->addr
										  : 0;
}

void pr_pushEvent(predictor *pr, gomem_p *p, const gotrace_event *e) {
	p_state *ps = &pr->ps[p->id];
	if (!pr_startsWorld(pr, p) || e->kind == GOTRACE_STW_END) {
		pr_pushClose(pr, ps);
	}
	const uint64_t base = sweeping(pr, e);
	if (base == 0 || base != ps->sweeping) {
		ps->quietSince = ps->lastEvent;
	}
	ps->sweeping = base;
	ps->lastEvent = e->earliest;
	ps->otherBefore = ps->lastOther;
	if (base == 0 && e->kind != GOTRACE_SWEEP_BEGIN && e->kind != GOTRACE_SWEEP_END) {
		ps->lastOther = e->earliest;
	}
	if (e->m == pr->ender && base == 0) {
		closeEnder(pr);
	}
}

// beginPush keeps the push of the cycle before.
static push_window *beginPush(predictor *pr, page_info *pi, const gomem_p *p) {
	if (pi->push.cycle != pr->cycle + 1) {
		pi->lastPush = pi->push;
	}
	pi->push = (push_window){.since = pr->e->earliest,
		.until = pr->e->time,
		.reclaimSince = pi->push.cycle == pr->cycle + 1 ? pi->push.reclaimSince : noReclaim,
		.cycle = pr->cycle + 1,
		.by = (int16_t)(p != NULL ? p->id : -1)};
	return &pi->push;
}

void pr_pushSwept(predictor *pr, page_info *pi, bool told) {
	const gomem_p *p = pr->flushed != NULL ? pr->flushed : pr->running;
	push_window *w = beginPush(pr, pi, p);
	w->told = told;
	if (p == NULL) {
		return;
	}
	p_state *ps = &pr->ps[p->id];
	if (pr->flushed != NULL) {
		w->flush = true;
		w->since = ps->flushSince;
		addOpen(pr, ps, pi);
	} else if (told) {
		addOpen(pr, ps, pi);
	} else if (pr->region != NULL) {
		w->since = pr->region->since;
		w->until = pr->region->until;
	} else {
		w->since = ps->quietSince;
	}
}

void pr_pushRetired(predictor *pr, const gomem_p *p, const mspan *s) {
	page_info *pi = pages_at(&pr->ph.pages, s->startAddr);
	if (pi != NULL) {
		beginPush(pr, pi, p)->since = pr->ps[p->id].otherBefore;
	}
}

void pr_pushNow(predictor *pr, const gomem_p *p, const mspan *s) {
	page_info *pi = pages_at(&pr->ph.pages, s->startAddr);
	if (pi != NULL) {
		(void)beginPush(pr, pi, p);
	}
}

void pr_pushCached(predictor *pr, const gomem_p *p) {
	for (int i = 0; i < numSpanClasses; i++) {
		if (p->mcache->alloc[i] != &pr->h->emptymspan) {
			pr_pushNow(pr, p, p->mcache->alloc[i]);
		}
	}
}

void pr_pushReclaimed(predictor *pr, const gomem_p *p, const mspan *s) {
	page_info *pi = pages_at(&pr->ph.pages, s->startAddr);
	if (pi != NULL && pi->push.cycle != pr->cycle + 1) {
		beginPush(pr, pi, p)->reclaimSince = pr->ps[p->id].regionSince;
	}
}

const push_window *pr_pushOf(predictor *pr, const mspan *s) {
	const page_info *pi = pages_at(&pr->ph.pages, s->startAddr);
	return pi != NULL && pi->npages != 0 && pi->push.cycle == pr->cycle + 1 ? &pi->push : NULL;
}

const push_window *pr_lastPushOf(predictor *pr, const mspan *s) {
	const page_info *pi = pages_at(&pr->ph.pages, s->startAddr);
	if (pi == NULL || pi->npages == 0) {
		return NULL;
	}
	return pi->push.cycle == pr->cycle ? &pi->push : pi->lastPush.cycle == pr->cycle ? &pi->lastPush : NULL;
}
