// predict_flush.c: cycles begin and end, and caches are flushed.
//
// toFlush: the P's mcache holds spans of the last cycle; flushing: those of the classes below flushAt are swept.
#include "traces/predict_state.h"

void pr_dropUnused(predictor *pr, gomem_p *p) {
	for (int i = 0; i < numSpanClasses; i++) {
		mspan *s = p->mcache->alloc[i];
		if (s != &pr->h->emptymspan && s->allocCount == 0) {
			span_uncache(pr->h, p, s);
			pr_pushNow(pr, p, s);
			(void)mcentral_pushPartialSwept(pr->h, &pr->h->central[i].mcentral, s);
		}
	}
}

void pr_flushPcache(predictor *pr, gomem_p *p) {
	lock(&pr->h->env, &pr->h->lock);
	pageCache_flush(&pr->h->env, &p->pcache, &pr->h->pages, p->id);
	unlock(&pr->h->env, &pr->h->lock);
}

static void beginFlush(predictor *pr, gomem_p *p) {
	p_state *ps = &pr->ps[p->id];
	ps->flushing = true;
	ps->flushAt = 0;
	pr_pushBeginFlush(pr, ps);
	ps->tinyLast = 0;
	ps->ntiny = 0;
	ps->tinyKnown = true;
	pr_dropUnused(pr, p);
}

static void endFlush(predictor *pr, gomem_p *p) {
	pr->ps[p->id].toFlush = false;
	pr->ps[p->id].flushing = false;
	pr->flushed = p;
	(void)mcache_prepareForSweep(pr->h, p, p->mcache);
	pr->flushed = NULL;
	pr_keepSpan(pr);
	if (pr->ps[p->id].idle) {
		pr->ps[p->id].idle = false;
		pr_flushPcache(pr, p);
		pr->ps[p->id].pcache = PCACHE_KNOWN;
	}
}

// flushWhole flushes what is left in p's cache.
static void flushWhole(predictor *pr, gomem_p *p) {
	const p_state *ps = &pr->ps[p->id];
	if (ps->toFlush && !ps->flushing) {
		beginFlush(pr, p);
	}
	if (ps->toFlush) {
		endFlush(pr, p);
	}
}

void pr_flushP(predictor *pr, gomem_p *p) {
	flushWhole(pr, p);
	if (!pr_startsWorld(pr, p)) {
		pr_pushClose(pr, &pr->ps[p->id]);
	}
}

// tells: the event is a free in s.
static bool tells(const gotrace_event *e, const mspan *s) {
	return e->kind == GOTRACE_OBJECT_FREE && e->addr - s->startAddr < s->npages << predictPageShift;
}

// isSwept: the trace has told all of a sweep.
static bool isSwept(const sweep_group *g) { return g->freed ? g->told : g->left == 0; }

// flushTo flushes p's cache, class after class, up to a span whose sweep the trace has not told. through: it has swept that class at least.
static bool flushTo(predictor *pr, gomem_p *p, int through) {
	p_state *ps = &pr->ps[p->id];
	if (!ps->toFlush) {
		return true;
	}
	if (!ps->flushing) {
		beginFlush(pr, p);
	}
	for (; ps->flushAt < numSpanClasses; ps->flushAt++) {
		mspan *s = p->mcache->alloc[ps->flushAt];
		if (s == &pr->h->emptymspan) {
			continue;
		}
		sweep_group *g = pr_groupAt(pr, s->startAddr);
		ps->idleTold |= tells(pr->e, s) && pr->e->m == pr->ender;
		if (g != NULL && !isSwept(g) && (ps->flushAt > through || g->earliest > pr->e->time)) {
			if (tells(pr->e, s)) {
				pr_pushClose(pr, ps);
			}
			return false;
		}
		if (g != NULL && isSwept(g)) {
			pr_pushTold(pr, ps);
		} else if (g != NULL) {
			g->seen = true;
		}
		p->mcache->alloc[ps->flushAt] = &pr->h->emptymspan;
		pr->flushed = p;
		if (!mcentral_uncacheSpan(pr->h, p, &pr->h->central[s->spanclass].mcentral, s)) {
			pr->noMemory = true;
		}
		pr->flushed = NULL;
		pr_keepSpan(pr);
	}
	endFlush(pr, p);
	return true;
}

bool pr_flushSome(predictor *pr, gomem_p *p) { return flushTo(pr, p, -1); }

void pr_flushThrough(predictor *pr, gomem_p *p, spanClass spc) { (void)flushTo(pr, p, spc); }

void pr_flushAll(predictor *pr) {
	for (int32_t i = 0; i < pr->h->nallp; i++) {
		pr_flushP(pr, pr->h->allp[i]);
	}
}

// sweepPutOff: the cycle ends, and nothing is unswept any more.
static void sweepPutOff(predictor *pr) {
	const predict_sweeps *w = &pr->sweeps;
	for (uint32_t i = pr->nextGroup; i-- > 0 && w->groups[i].cycle == pr->cycle;) {
		mspan *s = w->groups[i].putOff ? span_at(pr->h, w->groups[i].base) : NULL;
		if (s != NULL && s->startAddr == w->groups[i].base && pr_isUnswept(pr, s)) {
			pr_forceSweep(pr, s);
		}
	}
}

void pr_finishSweep(predictor *pr) {
	pr_flushAll(pr);
	for (int32_t i = 0; i < pr->h->nallp; i++) {
		pr->ps[i].sweeper = false;
		pr->ps[i].nregions = pr->ps[i].chunks = 0;
		pr->ps[i].reclaimAt = pr->ps[i].reclaimEnd = 0;
	}
	while (sweepone(pr->h, pr->running) != ~(uintptr_t)0) {
		pr_keepSpan(pr);
	}
	sweepPutOff(pr);
	finishsweep_m(pr->h, pr->running);
	pr->marking = true;
}

// pr_idlePlace: the list of idle Ps has had the last one first since go1.26.
int32_t pr_idlePlace(const predictor *pr, int32_t k) { return pr->version >= 26 ? pr->h->nallp - 1 - k : k; }

// firstIdle gives the first P of the list, when `running` ended the cycle: whoever starts the world wakes an M up for it. -1: there is none.
static int32_t firstIdle(const predictor *pr) {
	for (int32_t k = 0; k < pr->h->nallp; k++) {
		const int32_t i = pr_idlePlace(pr, k);
		if (pr->running != NULL && i != pr->running->id) {
			return i;
		}
	}
	return -1;
}

void pr_beginSweeping(predictor *pr) {
	if (!pr->marking) {
		return;
	}
	pr->marking = false;
	pr->early = true;
	if (!heap_unhold(&pr->ph)) {
		pr->noMemory = true;
	}
	gcSweep(pr->h);
	pr->cycle++;
	pr_endWaiting(pr);
	pr->sweepingAt = pr->e->earliest;
	pr->out->cycles++;
	pr_showGroups(pr);
	for (int32_t i = 0; i < pr->h->nallp; i++) {
		pr->ps[i].toFlush = true;
		pr->ps[i].flushing = pr->ps[i].idle = false;
	}
	pr->enderP = pr->running != NULL ? pr->running->id : -1;
	if (pr->running != NULL) {
		flushWhole(pr, pr->running); // before its next event
	}
	pr->idling = false;
	pr->idlePending = true;
	pr->idleAt = 0;
	pr->woken = firstIdle(pr);
}

void pr_endCycle(predictor *pr) {
	if (!pr->early && !pr->marking) {
		pr_finishSweep(pr);
	}
	pr_beginSweeping(pr);
	pr->early = false;
}

// flushIdle: who ended the cycle flushes the caches of Ps that did nothing since the world started again, and their page caches.
static void flushIdle(predictor *pr) {
	for (; pr->idling && pr->idleNext < pr->h->nallp; pr->idleNext++) {
		const int32_t i = pr_idlePlace(pr, pr->idleNext);
		gomem_p *p = pr->h->allp[i];
		if (!pr->ps[i].toFlush || pr->ps[i].running || i == pr->woken || sweeps_acquired(&pr->sweeps, pr->cycle, i)) {
			continue;
		}
		pr->ps[i].idle = true;
		if (!pr_flushSome(pr, p)) {
			return;
		}
	}
	pr->idling = false;
}

void pr_beginIdle(predictor *pr) {
	if (pr->idlePending) {
		pr->idlePending = false;
		pr->idling = true;
		pr->idleNext = 0;
	}
	flushIdle(pr);
}

void pr_goOnFlushing(predictor *pr) {
	for (int32_t k = 0; k < pr->nseen; k++) {
		const int32_t i = pr->seen[k];
		if (pr->ps[i].flushing) {
			(void)pr_flushSome(pr, pr->h->allp[i]);
		}
	}
	flushIdle(pr);
}

bool pr_endedCycle(const predictor *pr, const gotrace_event *e) {
	if (!pr->idlePending || pr->idleAt == 0) {
		return false;
	}
	if (e->time > pr->idleAt) {
		return true;
	}
	if (e->m != pr->ender) {
		return false;
	}
	return e->kind == GOTRACE_OBJECT_ALLOC || e->kind == GOTRACE_SPAN_ALLOC || e->kind == GOTRACE_GO_START ||
		e->kind == GOTRACE_PROC_STOP;
}
