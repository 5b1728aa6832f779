// whatif_cycle.c: whole cycles of a what-if run that are not the recorded ones: marking what lives, and the trigger rule.
//
// Invariants: a cycle is one step, done when no operation is under way; after it nothing is unswept of the cycle before
//   the deadline never goes back
#include "traces/whatif_run.h"

// mark_all marks what lives; returns its bytes.
static uint64_t mark_all(whatif *w) {
	uint64_t live = 0;
	gcResetMarkState(w->h);
	for (intptr_t k = 0; k < w->h->allspans.len; k++) {
		mspan *m = w->h->allspans.p[k];
		const wspan *s = mspan_state(m) == mSpanInUse ? wi_span_get(w, mspan_base(m)) : NULL;
		for (uint32_t i = 0; s != NULL && i < s->nelems; i++) {
			if (s->slot[i].asked != 0 && s->slot[i].death > w->deadline) {
				mspan_setMarked(w->h, m, i);
				live += s->elemsize;
			}
		}
	}
	return live;
}

// wi_next_trigger is gcController's goal: heapminimum, or what lives and GOGC percent of it; with a memory limit not more than what the limit
// leaves beside everything else that is mapped, but at least a twentieth of what lives and 1 MiB.
uint64_t wi_next_trigger(const whatif *w, uint64_t live) {
	const whatif_config *c = w->c;
	const uint64_t least = ((uint64_t)4 << 20) * c->gogc / 100;
	uint64_t goal = live + (uint64_t)((double)live * (double)c->gogc / 100);
	goal = c->neverGC ? UINT64_MAX : goal < least ? least : goal;
	if (c->memoryLimit == 0) {
		return goal;
	}
	const uint64_t ready = w->h == NULL ? 0 : (uint64_t)atomic_load(&w->h->stats.mappedReady);
	const uint64_t heap =
		w->h == NULL ? 0 : sysMemStat_load(&w->h->stats.heapFree) + sysMemStat_load(&w->h->stats.heapInUse);
	const uint64_t beside = ready > heap ? ready - heap : 0;
	const uint64_t slack = c->memoryLimit / 100 * 3 > 1 << 20 ? c->memoryLimit / 100 * 3 : 1 << 20;
	const uint64_t room = c->memoryLimit > beside + slack ? c->memoryLimit - beside - slack : 0;
	const uint64_t floor = live + (live / 20 > 1 << 20 ? live / 20 : 1 << 20);
	const uint64_t limited = room > floor ? room : floor;
	return goal < limited ? goal : limited;
}

void wi_do_cycle(whatif *w, stream *s) {
	gomem_heap *h = w->h;
	s->off = true;
	s->depth++;
	finishsweep_m(h, NULL);
	w->deadline = w->recordedCycle + (w->c->earlyDeaths ? 1 : 0);
	const uint64_t live = mark_all(w);
	gcSweep(h);
	for (int32_t i = 0; i < h->nallp; i++) {
		if (p_isAlive(h->allp[i])) {
			mcache_prepareForSweep(h, NULL, h->allp[i]->mcache);
		}
	}
	scavengeIndex_nextGen(&h->env, &h->pages.scav.index);
	freeStackSpans(h, NULL);
	atomic_store(&h->stats.heapLive, live);
	w->trigger = wi_next_trigger(w, live);
	gcPaceSweeper(h, w->trigger);
	w->out->cycles++;
	w->cycleDue = false;
	s->depth--;
}
