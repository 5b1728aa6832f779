// predict_marks.c: what the trace knows of the sweep of a span.
//
// A group of this cycle is found at its span; marks are all that it does not free.
#include "traces/predict_state.h"

sweep_group *pr_groupAt(predictor *pr, uint64_t base) {
	const page_info *pi = pages_at(&pr->ph.pages, base);
	sweep_group *g = pi == NULL || pi->group == 0 || pi->npages == 0 ? NULL : &pr->sweeps.groups[pi->group - 1];
	return g != NULL && g->cycle == pr->cycle ? g : NULL;
}

void pr_showGroups(predictor *pr) {
	predict_sweeps *w = &pr->sweeps;
	for (; pr->nextGroup < w->len && w->groups[pr->nextGroup].cycle <= pr->cycle; pr->nextGroup++) {
		const sweep_group *g = &w->groups[pr->nextGroup];
		page_info *pi = g->how == SWEEP_CONTINUED ? NULL : pages_at(&pr->ph.pages, g->base);
		if (pi != NULL && g->cycle == pr->cycle) {
			pi->group = pr->nextGroup + 1;
		}
	}
}

static bool slotAllocated(const mspan *s, uintptr_t i) {
	return i < s->freeindex || (s->allocBits[i / 8] >> i % 8 & 1) != 0;
}

static void markAllocated(mspan *s) {
	const uintptr_t bytes = ((uintptr_t)s->nelems + 7) / 8;
	const uintptr_t whole = s->freeindex / 8;
	for (uintptr_t i = 0; i < bytes; i++) {
		s->gcmarkBits[i] = i < whole ? 0xff : s->allocBits[i];
	}
	if (whole < bytes) {
		s->gcmarkBits[whole] |= (uint8_t)((1u << s->freeindex % 8) - 1);
	}
	if (s->nelems % 8 != 0) {
		s->gcmarkBits[bytes - 1] &= (uint8_t)((1u << s->nelems % 8) - 1);
	}
}

static void unmarkFreed(predictor *pr, mspan *s, const sweep_group *g) {
	for (;;) {
		for (uint32_t k = 0; k < g->n; k++) {
			const uintptr_t offset = (uintptr_t)pr->sweeps.offsets[g->first + k] << 3;
			const uintptr_t i = spanClass_sizeclass(s->spanclass) == 0 ? 0 : offset / s->elemsize;
			if (i >= s->nelems) {
				continue;
			}
			if (!slotAllocated(s, i)) {
				// Taken before the cycle began, by a call that has not ended yet.
				pr_lateAdd(pr, s->startAddr + i * s->elemsize, PREDICT_SMALL, false, "");
			}
			s->gcmarkBits[i / 8] &= (uint8_t) ~(1u << i % 8);
		}
		if (g->more == 0) {
			return;
		}
		g = &pr->sweeps.groups[g->more];
	}
}

void pr_loadMarks(void *ctx, gomem_heap *h, gomem_p *p, mspan *s) {
	(void)p;
	predictor *pr = ctx;
	markAllocated(s);
	const sweep_group *g = pr_groupAt(pr, s->startAddr);
	page_info *pi = pages_at(&pr->ph.pages, s->startAddr);
	if (pi != NULL) {
		pr_pushSwept(pr, pi, g != NULL);
	}
	if (pi != NULL && g != NULL) {
		unmarkFreed(pr, s, g);
		pi->flags &= (uint8_t)~PAGE_HIDDEN;
		if (g->freed && !g->told) {
			pi->flags |= PAGE_FREED;
		}
	}
	if (g != NULL && !g->freed && spanClass_sizeclass(s->spanclass) != 0 && mspan_countAlloc(&h->env, s) == 0) {
		pr->kept = s->startAddr;
		pr->keptClass = s->spanclass;
	}
	if (s->startAddr == pr->wanted) {
		pr->wantedDone = true;
	}
	pr->sweptBytes += s->npages << predictPageShift;
}

void pr_keepSpan(predictor *pr) {
	const uint64_t base = pr->kept;
	if (base == 0) {
		return;
	}
	pr->kept = 0;
	page_info *pi = pages_at(&pr->ph.pages, base);
	if (span_at(pr->h, base) != NULL || pi == NULL || pi->npages == 0) {
		return;
	}
	mspan *s = mheap_alloc(pr->h, NULL, pi->npages, pr->keptClass);
	if (s == NULL || (s->startAddr != base && !span_move(&pr->ph, NULL, s, base, 0)) ||
		!mcentral_pushPartialSwept(pr->h, &pr->h->central[s->spanclass].mcentral, s)) {
		pr->noMemory = true;
	}
}
