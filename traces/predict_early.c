// predict_early.c: objects whose slot was taken before they are told.
//
// Those that got a span for their P's cache are taken at the event that says so. Those that are told first when their goroutine runs again may have
// been taken before it stopped, or after: the port says what the slot would have been at each of the two moments. Here is the first.
#include "traces/predict_state.h"

// isNext: slot i is the lowest free one of s from its freeindex on.
static bool isNext(const mspan *s, uintptr_t i) {
	if (i < s->freeindex || !mspan_isFree(s, i)) {
		return false;
	}
	for (uintptr_t k = s->freeindex; k < i; k++) {
		if (mspan_isFree(s, k)) {
			return false;
		}
	}
	return true;
}

// takeObject takes the slot at addr now, as if it were told.
static void takeObject(predictor *pr, gomem_p *p, early_object *o) {
	const gotrace_event *now = pr->e;
	gotrace_event told = *now;
	told.addr = o->addr;
	pr->e = &told;
	pr_takeObject(pr, p, &told);
	pr->e = now;
	o->done = true;
	pr->out->early++;
}

// isPredicted: p's span has that slot next, or it is a tiny block that p may have.
static bool isPredicted(predictor *pr, gomem_p *p, const mspan *s, uintptr_t i) {
	if (s->spanclass == tinyClass && !mspan_isFree(s, i)) {
		return pr_hasTiny(pr, p, s->startAddr + i * s->elemsize);
	}
	return p->mcache->alloc[s->spanclass] == s && isNext(s, i);
}

static void onEarly(predictor *pr, gomem_p *p, early_object *o) {
	mspan *s = span_at(pr->h, o->addr);
	if (s == NULL || mspan_state(s) != mSpanInUse || spanClass_sizeclass(s->spanclass) == 0) {
		return;
	}
	const uintptr_t i = mspan_objIndex(s, o->addr);
	if (i < s->nelems && (o->refilled || isPredicted(pr, p, s, i))) {
		takeObject(pr, p, o);
	}
}

void pr_onEarly(predictor *pr, gomem_p *p) {
	const predict_sweeps *w = &pr->sweeps;
	while (pr->nextTaken < w->nearly && w->early[w->earlyByTaken[pr->nextTaken]].taken < pr->out->events) {
		pr->nextTaken++;
	}
	if (p == NULL || pr->nextTaken == w->nearly) {
		return;
	}
	early_object *o = &w->early[w->earlyByTaken[pr->nextTaken]];
	if (o->taken == pr->out->events) {
		onEarly(pr, p, o);
	}
}

bool pr_tookEarly(predictor *pr, gomem_p *p) {
	const predict_sweeps *w = &pr->sweeps;
	while (pr->nextTold < w->nearly && w->early[pr->nextTold].told < pr->out->events) {
		pr->nextTold++;
	}
	const early_object *o = pr->nextTold < w->nearly ? &w->early[pr->nextTold] : NULL;
	if (o == NULL || o->told != pr->out->events || !o->done) {
		return false;
	}
	// Which of the two moments it was, is not known: it may be p's tiny block since now.
	const mspan *s = o->refilled || p == NULL ? NULL : span_at(pr->h, o->addr);
	if (s != NULL && s->spanclass == tinyClass && mspan_objIndex(s, o->addr) < s->nelems) {
		pr_tookTiny(pr, p, s->startAddr + mspan_objIndex(s, o->addr) * s->elemsize);
	}
	return true;
}
