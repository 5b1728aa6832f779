// predict_order.c: which of two spans was first in its set, where the trace does not tell.
//
// Several Ms sweep at the same time. Where the windows of two pushes overlap, either may be the first: their order is an input, as it is in a
// recording, and it is read from the trace, by which of the spans Go takes first. That is counted: predict_result.orders, of so many `open`.
//
// Invariants: a span moves ahead of those only whose windows overlap its own; the port took the first one of its own set
//   one P does one thing after the other: of its pushes none is open, but for those that reclaim may have made before
#include "traces/predict_state.h"

static spanSet *sweptSet(predictor *pr, spanClass spc) {
	return mcentral_partialSwept(&pr->h->central[spc].mcentral, pr->h->sweepgen);
}

// flushOf gives the last push of s if the flush of a cache swept it in this cycle; else NULL.
static const push_window *flushOf(predictor *pr, const mspan *s) {
	const push_window *w = pr_pushOf(pr, s);
	return w != NULL && w->flush ? w : NULL;
}

// mayPrecede: a may come before b. What one P does comes in its order, but for what reclaim may have swept.
static bool mayPrecede(const push_window *a, const push_window *b) {
	return (a->by != b->by && a->since < b->until) || a->reclaimSince < b->until;
}

// overlap: either may come before the other, b as the port has it.
static bool overlap(const push_window *a, const push_window *b) {
	return a != NULL && b != NULL && mayPrecede(a, b) && (b->since <= a->until || b->reclaimSince <= a->until);
}

// isFlushedFirst: so says who flushed them: who ended the cycle flushes its own cache first, and those of idle Ps in the order of their list.
static bool isFlushedFirst(const predictor *pr, const push_window *a, const push_window *b) {
	if (a->by == pr->enderP || b->by == pr->enderP) {
		return a->by == pr->enderP;
	}
	return pr->ps[a->by].idleTold && pr->ps[b->by].idleTold && pr_idlePlace(pr, a->by) < pr_idlePlace(pr, b->by);
}

// isOpen: nothing tells that y, that stands before s, was put into its set first. Where the same P swept both, and nothing died in them, that is
// so if it was so for the sets of the cycle before.
static bool isOpen(predictor *pr, const mspan *s, const mspan *y) {
	const push_window *a = pr_pushOf(pr, s), *b = pr_pushOf(pr, y);
	if (a == NULL || b == NULL) {
		return false;
	}
	if (a->flush && b->flush && a->by != b->by && (isFlushedFirst(pr, a, b) || isFlushedFirst(pr, b, a))) {
		return false; // a port that has them otherwise is wrong
	}
	const bool inherited = a->by == b->by && !a->told && !b->told && !a->flush && !b->flush;
	return (inherited && overlap(pr_lastPushOf(pr, s), pr_lastPushOf(pr, y))) || overlap(a, b);
}

// A span that Go took before the one that the port had first: the flushes of two Ps swept them, in another order than the port's.
typedef struct flush_order {
	const push_window *first, *then;
} flush_order;

// isBehind: one, of the P of `then`, and other, behind it and of the P of `first`, are in the wrong order as well. Between two events of a
// flush an M sweeps one after the other those of which nothing is told, unless it is held up: what is shown of one of them goes for all.
static bool isBehind(predictor *pr, const flush_order *o, const mspan *one, const mspan *other) {
	const push_window *a = flushOf(pr, one), *b = flushOf(pr, other);
	return (!o->then->told && !a->told && a->since == o->then->since) ||
		(!o->first->told && !b->told && b->since == o->first->since);
}

// mayMove: nothing tells that s does not belong to place `at`.
static bool mayMove(predictor *pr, const spanSet *set, uint32_t at, const mspan *s) {
	const mspan *y;
	for (; (y = spanSet_at(set, at)) != s && y != NULL; at++) {
		if (!isOpen(pr, s, y)) {
			return false;
		}
	}
	return y == s;
}

// moveFlushed puts the span of class spc that the flush of one P swept before that of the other, if it is behind that.
static bool moveFlushed(predictor *pr, spanClass spc, const flush_order *o) {
	gomem_heap *h = pr->h;
	spanSet *set = sweptSet(pr, spc);
	const uint32_t id = mcentral_setID(spc, false, h->sweepgen / 2 % 2), n = spanSet_len(set);
	mspan *one = NULL, *other = NULL, *s;
	uint32_t at = 0;
	for (uint32_t i = 0; (s = spanSet_at(set, i)) != NULL && other == NULL; i++) {
		const push_window *of = flushOf(pr, s);
		at = of != NULL && of->by == o->then->by ? i : at;
		one = of != NULL && of->by == o->then->by ? s : one;
		other = of != NULL && of->by == o->first->by && one != NULL ? s : other;
	}
	if (other == NULL || !isBehind(pr, o, one, other) || !mayMove(pr, set, at, other)) {
		return true;
	}
	bool ok = true;
	for (uint32_t i = 0; i < n; i++) {
		s = spanSet_pop(&h->env, set, id);
		ok = (s != one || spanSet_push(&h->env, set, other, id)) && ok;
		ok = (s == other || spanSet_push(&h->env, set, s, id)) && ok;
	}
	return ok;
}

void pr_orderLearn(predictor *pr, const mspan *s, const mspan *x) {
	const flush_order o = {.first = flushOf(pr, s), .then = flushOf(pr, x)};
	if (o.first == NULL || o.then == NULL || o.first->by == o.then->by) {
		return;
	}
	for (int i = 0; i < numSpanClasses; i++) {
		if (!moveFlushed(pr, (spanClass)i, &o)) {
			pr->noMemory = true;
		}
	}
}

// isLater: nothing tells that the sweep of y had ended when p looked for a span.
static bool isLater(predictor *pr, const gomem_p *p, const mspan *y) {
	const push_window *b = pr_pushOf(pr, y);
	return b != NULL && b->by != p->id && pr->ps[p->id].otherBefore < b->until;
}

static void addAhead(waiting_refill *r, const mspan *y) {
	if (r->n < maxAhead) {
		r->ahead[r->n] = y->startAddr;
	}
	r->n++;
}

static bool mayWait(const predictor *pr, const waiting_refill *r) {
	return r->n == 0 || (r->n <= maxAhead && pr->h->gomaxprocs > 1);
}

// isUnsweptOpen: mcentral swept s, in which nothing died, before x, and before others that stood before s in the set of unswept ones. Nothing tells that
// these were put there first.
static bool isUnsweptOpen(predictor *pr, const gomem_p *p, const mspan *s, const mspan *x) {
	const push_window *a = pr_lastPushOf(pr, s), *w = pr_pushOf(pr, x);
	if (w == NULL || w->by != p->id || w->flush || w->told || !overlap(a, pr_lastPushOf(pr, x))) {
		return false;
	}
	const mspan *y;
	for (uint32_t i = 0; (y = span_unsweptAt(pr->h, s->spanclass, s->allocCount == s->nelems, i)) != NULL && y != s;
		 i++) {
		if (atomic_load(&y->sweepgen) == pr->h->sweepgen - 2 && y->spanclass == s->spanclass &&
			!overlap(a, pr_lastPushOf(pr, y))) {
			return false;
		}
	}
	return y == s;
}

// isReclaimedOpen: reclaim may have swept s, in which nothing died, before x and what else is swept.
static bool isReclaimedOpen(predictor *pr, const mspan *s, const mspan *x) {
	const push_window *a = pr_pushOf(pr, s);
	spanSet *set = sweptSet(pr, s->spanclass);
	for (uint32_t i = 0; x != NULL; i++) {
		const push_window *b = pr_pushOf(pr, x);
		if (a == NULL || b == NULL || a->reclaimSince >= b->until) {
			return false;
		}
		x = spanSet_at(set, i);
	}
	return true;
}

bool pr_orderOf(predictor *pr, const gomem_p *p, mspan *s, const mspan *x, waiting_refill *r) {
	const sweep_group *g = pr_groupAt(pr, s->startAddr);
	const bool unswept = pr_isUnswept(pr, s), swept = atomic_load(&s->sweepgen) == pr->h->sweepgen;
	const bool byMcentral = unswept && g != NULL && g->seen && g->how == SWEEP_BY_REFILL;
	*r = (waiting_refill){.p = p->id, .class = s->spanclass, .time = pr->e->time};
	if (unswept && g == NULL) {
		return isUnsweptOpen(pr, p, s, x) || isReclaimedOpen(pr, s, x);
	}
	if (!byMcentral && !swept) {
		return false;
	}
	spanSet *set = sweptSet(pr, s->spanclass);
	for (uint32_t i = 0; x != NULL && x != s; i++) {
		if (swept ? !isOpen(pr, s, x) : !isLater(pr, p, x)) {
			addAhead(r, x);
		}
		x = spanSet_at(set, i);
	}
	return (x == s || byMcentral) && mayWait(pr, r);
}

bool pr_orderLater(predictor *pr, const gomem_p *p, const mspan *x, waiting_refill *r) {
	if (!isLater(pr, p, x)) {
		addAhead(r, x);
	}
	return mayWait(pr, r);
}

// otherIsRight: Go might as well have taken another of the first spans of the set, or, if all of them may be later, none.
static bool otherIsRight(predictor *pr, const gomem_p *p, const mspan *x) {
	const spanSet *set = sweptSet(pr, x->spanclass);
	const mspan *s;
	bool later = isLater(pr, p, x);
	for (uint32_t i = 0; (s = spanSet_at(set, i)) != NULL && i < maxAhead; i++) {
		if (isOpen(pr, s, x) && mayMove(pr, set, 0, s)) {
			return true;
		}
		later = later && isLater(pr, p, s);
	}
	return later;
}

void pr_orderCount(predictor *pr, const gomem_p *p, const mspan *x) {
	if (otherIsRight(pr, p, x)) {
		pr->out->open++;
	}
}

void pr_orderRead(predictor *pr) {
	pr->out->open++;
	pr->out->orders++;
}
