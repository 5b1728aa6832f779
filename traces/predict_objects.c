// predict_objects.c: which slot an object gets.
//
// Free slots below a P's last one belong to calls that have not ended: they are in `late`.
#include "traces/predict_state.h"

#include <string.h>

static void tinyTook(p_state *ps, uint64_t block) {
	if (ps->ntiny == tinyRing) {
		memmove(ps->tiny, ps->tiny + tinyRing / 2, tinyRing / 2 * sizeof(ps->tiny[0]));
		ps->ntiny = tinyRing / 2;
	}
	ps->tiny[ps->ntiny++] = block;
}

static bool tinyHas(const p_state *ps, uint64_t block) {
	if (ps->tinyLast == block) {
		return true;
	}
	for (uint32_t i = ps->ntiny; i-- > 0;) {
		if (ps->tiny[i] == block) {
			return true;
		}
	}
	return false;
}

static void tinyShared(p_state *ps, uint64_t block) {
	ps->tinyLast = block;
	ps->ntiny = 0;
	ps->tinyKnown = true;
}

// onShared: an object in a slot that is taken: a tiny block that is shared, or the event of an object that is told twice.
static void onShared(predictor *pr, gomem_p *p, uint64_t slot, predict_kind kind) {
	if (kind != PREDICT_TINY) {
		pr_countMismatch(pr, kind, 0, "the slot is taken");
		return;
	}
	p_state *ps = &pr->ps[p->id];
	if (tinyHas(ps, slot)) {
		tinyShared(ps, slot);
		pr_countEqual(pr, kind);
		return;
	}
	if (!ps->tinyKnown) {
		tinyShared(ps, slot);
		pr_countAdopted(pr, kind);
		return;
	}
	for (int32_t i = 0; i < pr->h->nallp; i++) {
		if (tinyHas(&pr->ps[i], slot)) {
			pr_countLate(pr, kind);
			return;
		}
	}
	pr_countMismatch(pr, kind, ps->tinyLast, "the slot is taken, and no P has it as its tiny block");
}

// takeSlot allocates in p's span until slot i is reached: free slots before it belong to calls that have not ended.
static void takeSlot(predictor *pr, mspan *s, uintptr_t i, predict_kind kind, bool counted) {
	for (;;) {
		const uint16_t got = mspan_nextFreeIndex(pr->h, s);
		if (got == s->nelems) {
			return;
		}
		s->allocCount++;
		if (got == i) {
			return;
		}
		pr_lateAdd(
			pr, s->startAddr + got * s->elemsize, kind, counted, "a lower slot was free, and no object came for it");
	}
}

static void tookSlot(predictor *pr, gomem_p *p, uint64_t slot, predict_kind kind) {
	if (kind == PREDICT_TINY) {
		tinyTook(&pr->ps[p->id], slot);
	}
}

// countOther: the port took x. r != NULL: that may be due to an order that is not told.
static void countOther(predictor *pr, predict_kind kind, const mspan *x, waiting_refill *r) {
	const char *why =
		pr->grew ? "mcentral has no span with a free slot, and Go found one" : "mcentral's next span is another one";
	if (r == NULL) {
		pr_countMismatch(pr, PREDICT_REFILL, x->startAddr, why);
		pr_countMismatch(pr, kind, x->startAddr, why);
	} else if (r->n == 0) {
		pr_orderRead(pr);
		pr_countEqual(pr, PREDICT_REFILL);
		pr_countEqual(pr, kind);
	} else {
		r->refill = pr_describe(pr, PREDICT_REFILL, x->startAddr, why);
		r->object = pr_describe(pr, kind, x->startAddr, why);
		pr_await(pr, r);
	}
}

// onOtherSpan: the object is not in p's span of the class.
static void onOtherSpan(predictor *pr, gomem_p *p, mspan *s, uintptr_t i, predict_kind kind) {
	const uint64_t slot = s->startAddr + i * s->elemsize;
	const uint32_t gen = atomic_load(&s->sweepgen);
	if (gen == pr->h->sweepgen + 3) {
		// Another P's span: the goroutine went on there between taking the slot and telling it.
		takeSlot(pr, s, i, kind, false);
		pr_countLate(pr, kind);
		return;
	}
	const bool evident = pr_sweptEvidently(pr, s);
	mspan *x = pr_refill(pr, p, s->spanclass);
	if (x == NULL) {
		return;
	}
	if (x == s) {
		pr_countEqual(pr, PREDICT_REFILL);
		pr_countEqual(pr, kind);
		takeSlot(pr, s, i, kind, true);
		if (evident) {
			pr_orderRead(pr);
		} else {
			pr_orderCount(pr, p, s);
		}
		pr_taken(pr, p, s);
		pr_unhide(pr, s);
		tookSlot(pr, p, slot, kind);
		return;
	}
	const bool hidden = pr_isHidden(pr, x), adopted = hidden || pr_isHidden(pr, s), grew = pr->grew;
	waiting_refill r = {0};
	pr_settle(pr);
	const bool open = !adopted && !grew && pr_tookFirst(pr, x) && pr_orderOf(pr, p, s, x, &r);
	if (adopted) {
		pr_countAdopted(pr, PREDICT_REFILL);
		pr_countAdopted(pr, kind);
	} else {
		countOther(pr, kind, x, open ? &r : NULL);
	}
	const bool stays = (adopted && !hidden) || (open && (r.n == 0 || pr->passed[x->spanclass] != x->startAddr));
	pr_unrefill(pr, p, x, hidden ? HELD : stays ? STAYS_FIRST : STAYS_FIRST_ONCE);
	pr_taken(pr, p, s);
	pr_unhide(pr, s);
	if (!grew && !adopted && r.n == 0) {
		pr_orderLearn(pr, s, x);
	}
	if (span_cache(&pr->ph, p, s) && mspan_isFree(s, i)) {
		takeSlot(pr, s, i, kind, open && r.n == 0);
		tookSlot(pr, p, slot, kind);
	}
}

static void onLarge(predictor *pr, const mspan *s, const gotrace_event *e) {
	if (e->addr == s->startAddr) {
		pr_countEqual(pr, PREDICT_LARGE);
	} else {
		pr_countMismatch(pr, PREDICT_LARGE, s->startAddr, "a large object begins where its span does");
	}
}

void pr_takeObject(predictor *pr, gomem_p *p, const gotrace_event *e) {
	mspan *s = span_at(pr->h, e->addr);
	if (s == NULL || mspan_state(s) != mSpanInUse) {
		if (!pr_lateTake(pr, e->addr & ~(uint64_t)7)) {
			pr_countMismatch(pr, PREDICT_SMALL, 0, "there is no span");
		} else {
			pr_countLate(pr, PREDICT_SMALL);
		}
		return;
	}
	if (spanClass_sizeclass(s->spanclass) == 0) {
		onLarge(pr, s, e);
		return;
	}
	const predict_kind kind = s->spanclass == tinyClass ? PREDICT_TINY : PREDICT_SMALL;
	const uintptr_t i = mspan_objIndex(s, (uintptr_t)e->addr);
	if (pr->marking && i < s->nelems && mspan_isFree(s, i)) { // a tiny object in a block that was there marks nothing
		pages_at(&pr->ph.pages, s->startAddr)->black = pr->cycle + 1;
	}
	if (p == NULL || i >= s->nelems) {
		pr_countMismatch(pr, kind, 0, p == NULL ? "an object without a P" : "behind the last slot of the span");
		return;
	}
	const uint64_t slot = s->startAddr + i * s->elemsize;
	if (pr->late != NULL && pr_lateTake(pr, slot)) {
		pr_countLate(pr, kind);
		tookSlot(pr, p, slot, kind);
		return;
	}
	if (!pr_isUnswept(pr, s) && !mspan_isFree(s, i)) {
		onShared(pr, p, slot, kind);
		return;
	}
	if (p->mcache->alloc[s->spanclass] == s) {
		pr_countEqual(pr, kind);
		takeSlot(pr, s, i, kind, true);
		tookSlot(pr, p, slot, kind);
		return;
	}
	onOtherSpan(pr, p, s, i, kind);
}

void pr_onObject(predictor *pr, gomem_p *p, const gotrace_event *e) {
	if (!pr_tookEarly(pr)) {
		pr_takeObject(pr, p, e);
	}
}
