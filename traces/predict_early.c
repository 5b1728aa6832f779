// predict_early.c: objects whose slot was taken before they are told: at the event that says so.
#include "traces/predict_state.h"

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

static void onEarly(predictor *pr, gomem_p *p, early_object *o) {
	mspan *s = span_at(pr->h, o->addr);
	if (s != NULL && mspan_state(s) == mSpanInUse && spanClass_sizeclass(s->spanclass) != 0 &&
		mspan_objIndex(s, (uintptr_t)o->addr) < s->nelems) {
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

bool pr_tookEarly(predictor *pr) {
	const predict_sweeps *w = &pr->sweeps;
	while (pr->nextTold < w->nearly && w->early[pr->nextTold].told < pr->out->events) {
		pr->nextTold++;
	}
	const early_object *o = pr->nextTold < w->nearly ? &w->early[pr->nextTold] : NULL;
	return o != NULL && o->told == pr->out->events && o->done;
}
