// predict_wait.c: refills that are right if another P took a span before, and tells it later.
//
// mallocgc tells an object at its end. If P 1 gets the second span of a set and tells it, P 0 may have got the first one before. It had nothing to tell
// then: its event before that lies before P 1's, and when it tells, it has that span.
//
// Invariants: n != 0 of each that waits; in the end each was counted as equal or as a mismatch
#include "traces/predict_state.h"

#include "traces/grow.h"

void pr_await(predictor *pr, const waiting_refill *r) {
	if (!array_grow(&pr->waiting, &pr->capWaiting, pr->nwaiting, sizeof(*r))) {
		pr->noMemory = true;
		return;
	}
	pr->waiting[pr->nwaiting++] = *r;
}

// end counts one that waits, and takes it out.
static void end(predictor *pr, uint32_t i, bool equal) {
	const waiting_refill *r = &pr->waiting[i];
	if (equal) {
		pr->out->orders++;
		pr_countEqual(pr, PREDICT_REFILL);
	} else {
		pr_countDescribed(pr, &r->refill);
	}
	if (equal && !r->grew) {
		pr_countEqual(pr, r->object.kind);
	} else if (!r->grew) {
		pr_countDescribed(pr, &r->object);
	}
	pr->waiting[i] = pr->waiting[--pr->nwaiting];
}

// aheadOf gives the place of base in r->ahead, r->n if it is not there.
static uint32_t aheadOf(const waiting_refill *r, uint64_t base) {
	uint32_t k = 0;
	while (k < r->n && r->ahead[k] != base) {
		k++;
	}
	return k;
}

// mayTell: some P may still tell that it took a span before r.
static bool mayTell(const predictor *pr, const waiting_refill *r) {
	for (int32_t i = 0; i < pr->h->nallp; i++) {
		if (i != r->p && pr->ps[i].running && pr->ps[i].lookSince < r->time) {
			return true;
		}
	}
	return false;
}

void pr_settle(predictor *pr) {
	for (uint32_t i = pr->nwaiting; i-- > 0;) {
		if (!mayTell(pr, &pr->waiting[i])) {
			pr->passed[pr->waiting[i].class] = pr->waiting[i].ahead[0];
			end(pr, i, false);
		}
	}
}

void pr_taken(predictor *pr, const gomem_p *p, const mspan *s) {
	for (uint32_t i = pr->nwaiting; i-- > 0;) {
		waiting_refill *r = &pr->waiting[i];
		const uint32_t k = aheadOf(r, s->startAddr);
		if (k == r->n) {
			continue;
		}
		if (p->id == r->p || pr->ps[p->id].lookSince >= r->time) {
			end(pr, i, false);
			continue;
		}
		r->ahead[k] = r->ahead[--r->n];
		if (r->n == 0) {
			end(pr, i, true);
		}
	}
}

void pr_endWaiting(predictor *pr) {
	while (pr->nwaiting != 0) {
		end(pr, pr->nwaiting - 1, false);
	}
}
