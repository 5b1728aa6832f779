// predict_wait.c: refills that are right if another P took a span before, and tells it later.
//
// mallocgc tells an object at its end. If P 1 gets the second span of a set and tells it, P 0 may have got the first one before. It had nothing to tell
// then: its event before that lies before P 1's, and when it tells, it has that span.
//
// Invariants: n != 0 of each that waits, the oldest is the first; in the end each was counted as equal or as a mismatch
#include "traces/predict_state.h"

#include <string.h>

// end counts one that waits, and takes it out.
static void end(predictor *pr, uint32_t i, bool equal) {
	const waiting_refill *r = &pr->waiting[i];
	if (equal) {
		pr_orderRead(pr);
		pr_countEqual(pr, PREDICT_REFILL);
	} else {
		pr_countDescribed(pr, &r->refill);
	}
	if (equal && !r->grew) {
		pr_countEqual(pr, r->object.kind);
	} else if (!r->grew) {
		pr_countDescribed(pr, &r->object);
	}
	pr->nwaiting--;
	memmove(&pr->waiting[i], &pr->waiting[i + 1], (pr->nwaiting - i) * sizeof(*r));
}

// giveUp counts one that waits as wrong; what stood ahead of it goes behind if it is passed over again.
static void giveUp(predictor *pr, uint32_t i) {
	pr->passed[pr->waiting[i].class] = pr->waiting[i].ahead[0];
	end(pr, i, false);
}

void pr_await(predictor *pr, const waiting_refill *r) {
	uint32_t same = 0, oldest = 0;
	for (uint32_t i = pr->nwaiting; i-- > 0;) {
		if (pr->waiting[i].ahead[0] == r->ahead[0]) {
			same++;
			oldest = i;
		}
	}
	// A P that computes tells nothing for long.
	if (same == maxSame || pr->nwaiting == maxWaiting) {
		giveUp(pr, same == maxSame ? oldest : 0);
	}
	pr->waiting[pr->nwaiting++] = *r;
}

// aheadOf gives the place of base in r->ahead, r->n if it is not there.
static uint32_t aheadOf(const waiting_refill *r, uint64_t base) {
	uint32_t k = 0;
	while (k < r->n && r->ahead[k] != base) {
		k++;
	}
	return k;
}

// The P that told something else before its last event than of sweeping, the longest ago, of those that run; and when it did, and the next one.
typedef struct behind {
	int32_t p; // -1: none runs
	uint64_t first, second;
} behind;

static behind furthestBehind(const predictor *pr) {
	behind b = {.p = -1, .first = UINT64_MAX, .second = UINT64_MAX};
	for (int32_t k = 0; k < pr->nseen; k++) {
		const int32_t i = pr->seen[k];
		const uint64_t at = pr->ps[i].running ? pr->ps[i].otherBefore : UINT64_MAX;
		if (at < b.first) {
			b = (behind){.p = i, .first = at, .second = b.first};
		} else if (at < b.second) {
			b.second = at;
		}
	}
	return b;
}

// mayTell: some P may still tell that it took a span before r.
static bool mayTell(const behind *b, const waiting_refill *r) {
	return (b->p == r->p ? b->second : b->first) < r->time;
}

void pr_settle(predictor *pr) {
	if (pr->nwaiting == 0) {
		return;
	}
	const behind b = furthestBehind(pr);
	for (uint32_t i = pr->nwaiting; i-- > 0;) {
		if (!mayTell(&b, &pr->waiting[i])) {
			giveUp(pr, i);
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
		if (p->id == r->p || pr->ps[p->id].otherBefore >= r->time) {
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
