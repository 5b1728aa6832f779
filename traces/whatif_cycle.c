// whatif_cycle.c: whole cycles of a what-if run that are not the recorded ones: marking what lives, and the pacer.
//
// Invariants: a cycle is one step, done when no operation is under way; after it nothing is unswept of the cycle before
//   the deadline never goes back
#include "traces/whatif_run.h"

// mark_all marks what lives; returns its bytes. What a scan of it looks at is work done, as the pacer counts it.
static uint64_t mark_all(whatif *w) {
	uint64_t live = 0, scanned = 0;
	gcResetMarkState(w->h);
	for (intptr_t k = 0; k < w->h->allspans.len; k++) {
		mspan *m = w->h->allspans.p[k];
		const wspan *s = mspan_state(m) == mSpanInUse ? wi_span_get(w, mspan_base(m)) : NULL;
		for (uint32_t i = 0; s != NULL && i < s->nelems; i++) {
			if (s->slot[i].asked != 0 && s->slot[i].death > w->deadline) {
				mspan_setMarked(w->h, m, i);
				live += s->elemsize;
				scanned += spanClass_noscan(m->spanclass) ? 0 : s->elemsize;
			}
		}
	}
	atomic_store(&w->pacer.heapScanWork, (int64_t)scanned);
	return live;
}

void wi_pace(whatif *w) {
	const whatif_config *c = w->c;
	const int64_t limit = c->memoryLimit == 0 || c->memoryLimit > INT64_MAX ? INT64_MAX : (int64_t)c->memoryLimit;
	gcController_init(&w->pacer, &w->h->env, &w->h->stats, c->neverGC ? -1 : (int32_t)c->gogc, limit);
	uint64_t goal;
	w->trigger = gcController_trigger(&w->pacer, &goal);
}

// notAtOnce: if more lives than the limit has, Go's collector runs all the time, and its limiter leaves half of the CPU to the program. Here a cycle
// takes no time: the program gets a twentieth of what lives.
static uint64_t notAtOnce(const whatif *w, uint64_t trigger, uint64_t live) {
	const uint64_t floor = live + (live / 20 > 1 << 20 ? live / 20 : 1 << 20);
	return w->c->memoryLimit != 0 && trigger < floor ? floor : trigger;
}

void wi_do_cycle(whatif *w, stream *s) {
	gomem_heap *h = w->h;
	s->off = true;
	s->depth++;
	finishsweep_m(h, NULL);
	gcController_startCycle(&w->pacer, 0, h->gomaxprocs, false);
	w->deadline = w->recordedCycle + (w->c->earlyDeaths ? 1 : 0);
	const uint64_t live = mark_all(w);
	gcController_endCycle(&w->pacer, 0, h->gomaxprocs);
	gcSweep(h);
	mcache_prepareAll(h, NULL);
	scavengeIndex_nextGen(&h->env, &h->pages.scav.index);
	freeStackSpans(h, NULL);
	gcController_resetLive(&w->pacer, live);
	w->trigger = notAtOnce(w, gcControllerCommit(h, &w->pacer), live);
	w->out->cycles++;
	w->cycleDue = false;
	s->depth--;
}
