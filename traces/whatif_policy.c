// whatif_policy.c: what the heap of a what-if run asks of the world: sweeping ahead, marks, reclaiming, scavenging, when a cycle is due.
//
// Inputs are translated: a span is that which holds one of the objects of the recorded span.
//
// Invariants: an object is marked iff its death is later than the deadline of this cycle
//   a recorded input is taken when its operation is on its path, and else answered by this heap's own state
#include "traces/whatif_run.h"

#include <string.h>

static bool sweep_isOn(const gomem_heap *h) {
	return (atomic_load(&((gomem_heap *)(uintptr_t)h)->sweep.active.state) & sweepDrainedMask) == 0;
}

bool wi_policy_sweepActive(void *ctx, gomem_heap *h, gomem_p *p) {
	whatif *w = ctx;
	(void)p;
	if (!wi_next_is(w, EV_SWEEPACTIVE)) {
		wi_stray(w, "sweep-active");
		return sweep_isOn(h);
	}
	const bool active = w->cur->a != 0;
	wi_pass(w);
	return active;
}

// wi_is_behind: a smaller part of the heap was swept than in the recording.
bool wi_is_behind(const whatif *w) {
	const double mine = (double)atomic_load(&w->h->pagesSwept) * (double)w->recordedBasis;
	return mine < (double)w->recordedSwept * (double)w->sweepBasis;
}

// wi_sweep_step: a recorded call of sweepone is one call here, and more where this heap is behind.
void wi_sweep_step(whatif *w, gomem_p *p) {
	uintptr_t swept = sweepone(w->h, p);
	if (!wi_is_behind(w)) {
		return;
	}
	const bool off = w->running->off;
	w->running->off = true;
	while (swept != ~(uintptr_t)0 && wi_is_behind(w)) {
		swept = sweepone(w->h, p);
	}
	w->running->off = off;
}

void wi_policy_deductSweepCredit(
	void *ctx, gomem_heap *h, gomem_p *p, uintptr_t spanBytes, uintptr_t callerSweepPages) {
	whatif *w = ctx;
	(void)h;
	(void)spanBytes;
	(void)callerSweepPages;
	while (wi_next_is(w, EV_SWEEPONE)) {
		wi_pass(w);
		wi_sweep_step(w, p);
	}
}

// wi_target_of gives what the input under the cursor names.
const whatif_target *wi_target_of(const whatif *w) {
	const uint64_t event = wi_event_number(w);
	uint64_t lo = 0, hi = w->lives->ntargets;
	while (lo < hi) {
		const uint64_t mid = lo + (hi - lo) / 2;
		if (w->lives->targets[mid].event < event) {
			lo = mid + 1;
		} else {
			hi = mid;
		}
	}
	return lo < w->lives->ntargets && w->lives->targets[lo].event == event ? &w->lives->targets[lo] : NULL;
}

// wi_target_span gives the span that holds the target's object; NULL: it is not there any more.
mspan *wi_target_span(whatif *w, const whatif_target *t) {
	const uint64_t addr = t == NULL ? 0 : w->targetAddr[t - w->lives->targets];
	mspan *m = addr == 0 ? NULL : spanOf(w->h, (uintptr_t)addr);
	// A page that is free still names the span it was in, whose structure may describe other pages by now.
	if (m == NULL || mspan_state(m) != mSpanInUse || addr < mspan_base(m) || addr >= m->limit) {
		return NULL;
	}
	const wspan *s = wi_span_get(w, mspan_base(m));
	return s != NULL && s->slot[(addr - mspan_base(m)) / s->elemsize].owner == t->object ? m : NULL;
}

// wi_reclaim_step: a span that never had an object is fresh, and nobody can take it for sweeping: nothing is tried here.
void wi_reclaim_step(whatif *w, gomem_p *p) {
	const whatif_target *t = wi_target_of(w);
	mspan *s = wi_target_span(w, t);
	wi_pass(w);
	if (s != NULL) {
		mheap_reclaimSpan(w->h, p, s);
	} else if (t != NULL && t->object == WHATIF_NEVER && wi_next_is(w, EV_ACQUIRE) && w->cur->a == 0) {
		w->out->same++;
		wi_pass(w);
	}
}

void wi_policy_reclaim(void *ctx, gomem_heap *h, gomem_p *p, uintptr_t npages) {
	whatif *w = ctx;
	(void)h;
	(void)npages;
	while (wi_next_is(w, EV_RECLAIM)) {
		wi_reclaim_step(w, p);
	}
}

void wi_policy_loadMarks(void *ctx, gomem_heap *h, gomem_p *p, mspan *m) {
	whatif *w = ctx;
	(void)h;
	(void)p;
	wspan *s = wi_span_get(w, mspan_base(m));
	memset(m->gcmarkBits, 0, (m->nelems + 63u) / 64 * 8);
	for (uint32_t i = 0; s != NULL && i < s->nelems; i++) {
		if (s->slot[i].asked == 0) {
			continue;
		}
		if (s->slot[i].death > w->deadline) {
			m->gcmarkBits[i / 8] |= (uint8_t)(1u << i % 8);
		} else {
			wi_drop_object(w, s, i);
		}
	}
}

void wi_scavenge_step(whatif *w, gomem_p *p) {
	const uint64_t bytes = w->cur->a;
	const bool force = w->cur->b != 0;
	bool none;
	wi_pass(w);
	pageAlloc_scavengeStep(&w->h->env, &w->h->pages, (uintptr_t)bytes, force, heapStats_of(w->h, p), &none);
}

// scavengeForLimit: as Go's allocSpan, an allocation that would pass the memory limit gives as much back to the OS first.
static void scavengeForLimit(whatif *w, gomem_p *p, uintptr_t scav) {
	const int64_t ready = atomic_load(&w->h->stats.mappedReady);
	const uint64_t use = (uint64_t)ready + scav;
	if (w->c->memoryLimit != 0 && use > w->c->memoryLimit) {
		w->running->off = true;
		pageAlloc_scavenge(
			&w->h->env, &w->h->pages, (uintptr_t)(use - w->c->memoryLimit), NULL, NULL, true, heapStats_of(w->h, p));
	}
}

void wi_policy_scavengeAssist(void *ctx, gomem_heap *h, gomem_p *p, uintptr_t scav, uintptr_t growth) {
	whatif *w = ctx;
	(void)h;
	(void)growth;
	while (wi_next_is(w, EV_SCAVENGE)) {
		wi_scavenge_step(w, p);
	}
	scavengeForLimit(w, p, scav);
}

void wi_policy_gcTrigger(void *ctx, gomem_heap *h, gomem_p *p) {
	whatif *w = ctx;
	(void)p;
	// As in Go, no cycle begins before there is a P: mcache0 is flushed as that of P 0.
	w->cycleDue |= w->c->paced && h->nallp > 0 && atomic_load(&h->stats.heapLive) >= w->trigger;
}
