// whatif_serve.c: the operations of a what-if run: each input of the recording, done in this heap.
//
// Inputs are translated: an object is the number of its malloc, a stack or work buffer the address that the recording gave it. Given inputs
// that stand inside an operation that has left its path are done where they stand.
//
// Invariants: an operation passes its own event first, so that what follows under the cursor is its first step
//   mallocs are done in the recorded order, each once: its number is how many were before it
#include "traces/whatif_run.h"

#include <inttypes.h>

static void op_malloc(whatif *w, stream *s, bool whole) {
	const gmt_event e = *w->cur;
	const uint64_t number = w->out->mallocs;
	if (number >= w->lives->n || e.a == 0 || e.a > MAX_REQUEST) {
		wi_fail(w, "event %" PRIu64 ": an allocation of %" PRIu64 " bytes", wi_event_number(w), e.a);
		wi_leave(w);
	}
	w->out->mallocs++;
	const uint64_t at = wi_event_number(w);
	wi_pass(w);
	unsigned path = 0;
	const uintptr_t addr =
		mallocgc(w->h, s->p, (uintptr_t)e.a, (e.b & 1) == 0 ? &wordType : NULL, (e.b & 2) != 0, &path);
	if (addr == 0) {
		wi_fail(w, "event %" PRIu64 ": out of memory", at);
		wi_leave(w);
	}
	wi_place_object(w, (uint32_t)number, e.a, path, addr);
	if (whole) {
		wi_compare(w, &e, e.a, e.b, path, addr);
	} else if (wi_next_is(w, EV_MALLOCEND)) {
		wi_compare(w, w->cur, path, addr, 0, 0);
		wi_pass(w);
	}
}

static void op_stackalloc(whatif *w, stream *s) {
	const gmt_event e = *w->cur;
	if (e.a < 2048 || e.a > 1u << 30 || (e.a & (e.a - 1)) != 0) {
		wi_fail(w, "event %" PRIu64 ": a stack of %" PRIu64 " bytes", wi_event_number(w), e.a);
		wi_leave(w);
	}
	s->recordedStack = s->stack = 0;
	wi_pass(w);
	const uintptr_t addr = stackalloc(w->h, s->p, (uint32_t)e.a, e.b != 0);
	if (addr == 0) {
		wi_fail(w, "event %" PRIu64 ": out of memory", wi_event_number(w));
		wi_leave(w);
	}
	w->out->stacks++;
	s->stack = addr;
	wi_bind(w, &w->stacks, &s->recordedStack, &s->stack);
	if (wi_next_is(w, EV_STACKEND)) {
		wi_compare(w, w->cur, addr, 0, 0, 0);
		wi_pass(w);
	}
}

static void op_stackfree(whatif *w, stream *s) {
	const gmt_event e = *w->cur;
	const uint64_t addr = wi_unbind(w, &w->stacks, e.a);
	wi_pass(w);
	if (addr != 0) {
		stackfree(w->h, s->p, (uintptr_t)addr, (uintptr_t)e.b, e.c != 0);
	}
}

static void op_allocmanual(whatif *w, stream *s) {
	const uint64_t pageSize = layout_pageSize(&w->layout), bytes = w->cur->a << 13;
	if (w->cur->a == 0 || w->cur->a > MAX_REQUEST >> 13) {
		wi_fail(w, "event %" PRIu64 ": %" PRIu64 " pages", wi_event_number(w), w->cur->a);
		wi_leave(w);
	}
	s->recordedManual = s->manual = 0;
	wi_pass(w);
	mspan *m = mheap_allocManual(w->h, s->p, (uintptr_t)((bytes + pageSize - 1) / pageSize), spanAllocWorkBuf);
	if (m == NULL) {
		wi_fail(w, "event %" PRIu64 ": out of memory", wi_event_number(w));
		wi_leave(w);
	}
	s->manual = mspan_base(m);
	wi_bind(w, &w->manuals, &s->recordedManual, &s->manual);
}

static void op_freemanual(whatif *w, stream *s) {
	const uint64_t base = wi_unbind(w, &w->manuals, w->cur->a);
	wi_pass(w);
	if (base != 0) {
		mheap_freeManual(w->h, s->p, spanOf(w->h, (uintptr_t)base), spanAllocWorkBuf);
	}
}

static gomem_p *other_p(whatif *w, uint64_t id) {
	const stream *s = id < GMT_STREAM_M ? w->streams[id] : NULL;
	if (s == NULL || s->p == NULL) {
		wi_fail(w, "event %" PRIu64 ": P %" PRIu64 " does not exist", wi_event_number(w), id);
		wi_leave(w);
	}
	return s->p;
}

static void op_pinit(whatif *w, uint64_t id) {
	stream *s = id < GMT_STREAM_M ? wi_stream_of(w, (uint16_t)id) : NULL;
	if (s == NULL || s->p != NULL) {
		wi_fail(w, "event %" PRIu64 ": P %" PRIu64 " begins twice", wi_event_number(w), id);
		wi_leave(w);
	}
	wi_pass(w);
	s->p = p_init(w->h, (int32_t)id);
	if (s->p == NULL) {
		wi_fail(w, "out of memory for P %" PRIu64, id);
		wi_leave(w);
	}
}

static void op_pdestroy(whatif *w, stream *s, uint64_t id) {
	gomem_p *p = other_p(w, id);
	wi_pass(w);
	if (s->id == id) {
		wi_fail(w, "event %" PRIu64 ": P %" PRIu64 " ends itself", wi_event_number(w), id);
		wi_leave(w);
	}
	p_destroy(w->h, s->p, p);
	w->streams[id]->p = NULL;
}

static void op_flushmcache(whatif *w, stream *s, gomem_p *p) {
	wi_pass(w);
	mcache_releaseAll(w->h, s->p, p->mcache);
	stackcache_clear(w->h, s->p, p->mcache);
}

static void op_flushpcache(whatif *w, gomem_p *p) {
	wi_pass(w);
	if (!pageCache_empty(&p->pcache)) {
		lockTurn(&w->h->env, &w->h->lock, EV_PCFLUSH);
		pageCache_flush(&w->h->env, &p->pcache, &w->h->pages, p->id);
		unlock(&w->h->env, &w->h->lock);
	}
}

// op_finishsweep: what is left to sweep, since this heap has other spans, is swept first.
static void op_finishsweep(whatif *w, stream *s) {
	wi_pass(w);
	s->off = true;
	while (sweepone(w->h, s->p) != ~(uintptr_t)0) {
	}
	finishsweep_reset(w->h);
}

static void op_sweepgen(whatif *w) {
	wi_pass(w);
	gcSweep(w->h);
	w->out->cycles++;
	w->deadline = w->recordedCycle;
	w->sweepBasis = atomic_load(&w->h->pagesInUse);
}

static void op_ensureswept(whatif *w, stream *s) {
	mspan *m = wi_target_span(w, wi_target_of(w));
	wi_pass(w);
	if (m != NULL) {
		mspan_ensureSwept(w->h, s->p, m);
	}
}

static void do_other(whatif *w, stream *s) {
	const uint64_t a = w->cur->a;
	switch ((gomem_ev)w->cur->kind) {
	case EV_SWEEPONE:
		wi_pass(w);
		wi_sweep_step(w, s->p);
		return;
	case EV_RECLAIM:
		wi_reclaim_step(w, s->p);
		return;
	case EV_ENSURESWEPT:
		op_ensureswept(w, s);
		return;
	case EV_SCAVENGE:
		wi_scavenge_step(w, s->p);
		return;
	case EV_PREPARESWEEP:
		wi_pass(w);
		mcache_prepareForSweep(w->h, s->p, other_p(w, a)->mcache);
		return;
	case EV_FLUSHMCACHE:
		op_flushmcache(w, s, other_p(w, a));
		return;
	case EV_FLUSHPCACHE:
		op_flushpcache(w, other_p(w, a));
		return;
	case EV_FREESTACKSPANS:
		wi_pass(w);
		freeStackSpans(w->h, s->p);
		return;
	case EV_GCPHASE:
		wi_pass(w);
		setGCPhase(w->h, (uint32_t)a);
		return;
	case EV_SWEEPGEN:
		op_sweepgen(w);
		return;
	case EV_FINISHSWEEP:
		op_finishsweep(w, s);
		return;
	case EV_NEXTGEN:
		wi_pass(w);
		scavengeIndex_nextGen(&w->h->env, &w->h->pages.scav.index);
		return;
	case EV_PINIT:
		op_pinit(w, a);
		return;
	case EV_PDESTROY:
		op_pdestroy(w, s, a);
		return;
	default:
		wi_pass(w);
	}
}

static void do_begun(whatif *w, stream *s) {
	if (s->p == NULL && s->id < GMT_STREAM_M) {
		wi_fail(w, "event %" PRIu64 ": P %u acts before it begins or after its end", wi_event_number(w), s->id);
		wi_leave(w);
	}
	switch ((gomem_ev)w->cur->kind) {
	case EV_MALLOC:
		op_malloc(w, s, true);
		return;
	case EV_MALLOCBEGIN:
		op_malloc(w, s, false);
		return;
	case EV_STACKALLOC:
		op_stackalloc(w, s);
		return;
	case EV_STACKFREE:
		op_stackfree(w, s);
		return;
	case EV_ALLOCMANUAL:
		op_allocmanual(w, s);
		return;
	case EV_FREEMANUAL:
		op_freemanual(w, s);
		return;
	default:
		do_other(w, s);
	}
}

// wi_do_op runs the operation under the cursor. It begins on the path, wherever the one is that it interrupts.
void wi_do_op(whatif *w, stream *s) {
	const bool off = s->off;
	s->off = false;
	s->depth++;
	do_begun(w, s);
	s->depth--;
	s->off = off;
}
