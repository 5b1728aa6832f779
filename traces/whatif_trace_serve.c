// whatif_trace_serve.c: serves the requests of a stock Go trace in a what-if run.
//
// A trace has no turns: each operation runs whole, off the path, in the trace's order. What was there at the start is allocated first, gaps
// too, which cycle 0 frees; figures begin after that.
//
// Invariants: in cycle c the sweep has come as far through this heap's pages as the trace's through what it found dead
//   with the pacer, cycles and sweeps of the trace are passed over, but for what they tell of deaths
#include "traces/whatif_run.h"

#include <inttypes.h>

enum { PROGRESS_EVERY = 1 << 16 };

static gomem_p *get_p(whatif *w, uint16_t id) {
	gomem_heap *h = w->h;
	gomem_p *p = id < h->nallp && p_isAlive(h->allp[id]) ? h->allp[id] : p_init(h, id);
	if (p == NULL) {
		wi_fail(w, "out of memory for P %u", id);
		wi_leave(w);
	}
	return p;
}

static void serve_malloc(whatif *w, const whatif_op *op) {
	const uint64_t n = w->largest ? op->high : op->low;
	unsigned path = 0;
	w->out->mallocs++;
	const uintptr_t addr = mallocgc(w->h, get_p(w, op->p), (uintptr_t)n, op->scan ? &wordType : NULL, true, &path);
	if (addr == 0) {
		wi_fail(w, "event %" PRIu64 ": out of memory", wi_event_number(w));
		wi_leave(w);
	}
	wi_place_object(w, op->n, n, path, addr);
}

static void serve_manual(whatif *w, const whatif_op *op) {
	const uint64_t pageSize = layout_pageSize(&w->layout);
	const uintptr_t npages = (uintptr_t)((op->low + pageSize - 1) / pageSize);
	mspan *m = mheap_allocManual(w->h, get_p(w, op->p), npages, spanAllocStack);
	if (m == NULL) {
		wi_fail(w, "event %" PRIu64 ": out of memory", wi_event_number(w));
		wi_leave(w);
	}
	uint64_t number = op->n, base = mspan_base(m);
	w->out->stacks++;
	wi_bind(w, &w->manuals, &number, &base);
}

static void serve_manualFree(whatif *w, const whatif_op *op) {
	const uint64_t base = wi_unbind(w, &w->manuals, op->n);
	if (base != 0) {
		mheap_freeManual(w->h, get_p(w, op->p), spanOf(w->h, (uintptr_t)base), spanAllocStack);
	}
}

// serve_swept lets the sweep catch up with the trace's.
static void serve_swept(whatif *w, const whatif_op *op) {
	gomem_p *p = get_p(w, op->p);
	w->recordedSwept += op->n;
	while (!w->c->paced && wi_is_behind(w) && sweepone(w->h, p) != ~(uintptr_t)0) {
	}
}

static void serve_cycle(whatif *w, stream *s, uint32_t cycle) {
	w->recordedCycle = cycle;
	if (w->c->paced) {
		return;
	}
	wi_do_cycle(w, s);
	w->recordedSwept = 0;
	w->recordedBasis = w->trace->freed[cycle];
	w->sweepBasis = atomic_load(&w->h->pagesInUse);
}

static void serve_procs(whatif *w, uint32_t n) {
	gomem_p *first = get_p(w, 0);
	for (int32_t i = (int32_t)n; n > 0 && i < w->h->nallp; i++) {
		if (p_isAlive(w->h->allp[i])) {
			p_destroy(w->h, first, w->h->allp[i]);
		}
	}
}

static void serve_one(whatif *w, stream *s, const whatif_op *op) {
	w->number++;
	switch ((whatif_op_kind)op->kind) {
	case WHATIF_MALLOC:
		serve_malloc(w, op);
		return;
	case WHATIF_MANUAL:
		serve_manual(w, op);
		return;
	case WHATIF_MANUAL_FREE:
		serve_manualFree(w, op);
		return;
	case WHATIF_SWEPT:
		serve_swept(w, op);
		return;
	case WHATIF_CYCLE:
		serve_cycle(w, s, op->n);
		return;
	case WHATIF_PROCS:
		serve_procs(w, op->n);
		return;
	}
}

// sweep_all: what a cycle has left.
static void sweep_all(whatif *w) {
	gomem_p *p = get_p(w, 0);
	while (sweepone(w->h, p) != ~(uintptr_t)0) {
	}
}

// serve_start makes the heap that the trace begins with. A sweep that was under way then goes on.
static void serve_start(whatif *w, stream *s) {
	const whatif_trace *t = w->trace;
	for (uint64_t i = 0; i < t->nstart && !w->failed; i++) {
		serve_one(w, s, &t->start[i]);
	}
	wi_do_cycle(w, s);
	sweep_all(w);
	serve_cycle(w, s, 1);
	if (t->freed[1] == 0) {
		sweep_all(w);
	}
	wi_restart(w);
}

void wi_serve_trace(whatif *w, stream *s) {
	const whatif_trace *t = w->trace;
	s->off = true;
	s->depth++;
	serve_start(w, s);
	for (uint64_t i = 0; i < t->nops && !w->failed; i++) {
		if (w->cycleDue) {
			wi_do_cycle(w, s);
		}
		serve_one(w, s, &t->ops[i]);
		if (i % PROGRESS_EVERY == 0 && w->progress.call != NULL) {
			w->progress.call(w->progress.ctx, i, t->nops);
		}
	}
	s->depth--;
}
