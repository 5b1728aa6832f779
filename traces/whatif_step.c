// whatif_step.c: turns in a what-if run: the cursor in the recording, streams, whose turn it is, and what is compared with the recording.
//
// The recording is one total order of events. Each stream is a coroutine, as in the replay. An operation begins where it began in the
// recording, and *follows its path*, step by step in the recorded order among streams, as long as it takes the recorded steps. From the first
// step that the recording doesn't have it *leaves the path*: it runs to its end at once, and what the recording has for it is passed over. With
// the recorded constants no operation leaves its path, so that all decisions are the recorded ones.
//
// Invariants: one coroutine runs at a time, and it gives way only where it waits for a turn or a lock
//   an operation that is off its path waits for no turn; the cursor moves in wi_pass only
#include "traces/whatif_run.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

// ---- the end of a run

uint64_t wi_event_number(const whatif *w) { return w->number - (uint64_t)(w->end - w->cur); }

void wi_fail(whatif *w, const char *fmt, ...) {
	va_list ap;
	va_start(ap, fmt);
	if (!w->failed) {
		vsnprintf(w->out->error, sizeof(w->out->error), fmt, ap);
	}
	va_end(ap);
	w->failed = true;
}

// wi_leave ends the run from within a coroutine.
_Noreturn void wi_leave(whatif *w) {
	coro_switch(w->running->co, w->main);
	abort();
}

_Noreturn void wi_on_throw(void *ctx, const char *msg) {
	whatif *w = ctx;
	wi_fail(w, "event %" PRIu64 ": the allocator threw: %s", wi_event_number(w), msg);
	wi_leave(w);
}

// ---- the cursor

bool wi_load(whatif *w) {
	gmt_error err;
	int got = gmt_next(w->r, &w->block, &err);
	if (got < 0) {
		wi_fail(w, "%s", err.text);
		return false;
	}
	if (got == 0 || w->block.n == 0) {
		w->eof = (gmt_event){.kind = EV_NONE, .stream = NO_STREAM};
		w->cur = &w->eof;
		w->end = &w->eof + 1;
		w->number++;
		w->ended = true;
		return true;
	}
	w->cur = w->block.events;
	w->end = w->cur + w->block.n;
	w->number = w->block.first + w->block.n;
	if (w->progress.call != NULL) {
		w->progress.call(w->progress.ctx, w->block.first, gmt_reader_events(w->r));
	}
	return true;
}

stream *wi_stream_of(whatif *w, uint16_t id) {
	stream *s = w->streams[id];
	if (s != NULL) {
		return s;
	}
	s = calloc(1, sizeof(*s));
	if (s == NULL) {
		wi_fail(w, "out of memory");
		return NULL;
	}
	*s = (stream){.w = w, .id = id, .made = w->made};
	w->streams[id] = w->made = s;
	return s;
}

void wi_bind(whatif *w, moved **map, uint64_t *recorded, uint64_t *mine) {
	if (*recorded == 0 || *mine == 0) {
		return;
	}
	moved *m = NULL;
	HASH_FIND(hh, *map, recorded, sizeof(*recorded), m);
	if (m == NULL) {
		m = calloc(1, sizeof(*m));
		if (m == NULL) {
			wi_fail(w, "out of memory");
			return;
		}
		m->recorded = *recorded;
		HASH_ADD(hh, *map, recorded, sizeof(m->recorded), m);
	}
	m->mine = *mine;
	*recorded = *mine = 0;
}

// wi_unbind gives what the recorded address became, and forgets it. 0: it is not known.
uint64_t wi_unbind(whatif *w, moved **map, uint64_t recorded) {
	moved *m = NULL;
	HASH_FIND(hh, *map, &recorded, sizeof(recorded), m);
	if (m == NULL) {
		w->out->untranslated++;
		return 0;
	}
	const uint64_t mine = m->mine;
	HASH_DEL(*map, m);
	free(m);
	return mine;
}

// follow_recorded keeps what must be known of the recorded heap.
static void follow_recorded(whatif *w, const gmt_event *e) {
	stream *s;
	switch ((gomem_ev)e->kind) {
	case EV_SWEEP:
		w->recordedSwept += e->d & 0xffffffff;
		return;
	case EV_SWEEPGEN:
		w->recordedCycle++;
		w->recordedSwept = 0;
		w->recordedBasis = w->recordedInUse;
		return;
	case EV_SPANINIT:
		w->recordedInUse += (e->a & 3) == spanAllocHeap ? e->d & 0xffffffff : 0;
		if ((e->a & 3) == spanAllocWorkBuf && (s = wi_stream_of(w, e->stream)) != NULL) {
			s->recordedManual = e->c;
			wi_bind(w, &w->manuals, &s->recordedManual, &s->manual);
		}
		return;
	case EV_SPANFREE:
		w->recordedInUse -= e->a == spanAllocHeap ? e->d : 0;
		return;
	case EV_STACKEND:
		if ((s = wi_stream_of(w, e->stream)) != NULL) {
			s->recordedStack = e->a;
			wi_bind(w, &w->stacks, &s->recordedStack, &s->stack);
		}
		return;
	default:
		return;
	}
}

// wi_pass moves the cursor on.
void wi_pass(whatif *w) {
	const uint64_t event = wi_event_number(w);
	stream *s = w->ended ? NULL : w->streams[w->cur->stream];
	if (s != NULL) {
		s->over = (w->lives->isLast[event / 8] >> event % 8 & 1) != 0;
	}
	follow_recorded(w, w->cur);
	if (++w->cur == w->end && !w->ended) {
		(void)wi_load(w);
	}
}

// ---- steps

static bool on_path(const stream *s) { return !s->off && !s->hurried; }

// wi_stray takes the running operation off its path: it comes to another step than the recorded one, or to one more.
void wi_stray(whatif *w, const char *step) {
	stream *s = w->running;
	if (on_path(s) && w->out->first[0] == 0) {
		snprintf(w->out->first, sizeof(w->out->first), "event %" PRIu64 ": recorded %s, here %s", wi_event_number(w),
			w->ended ? "nothing" : gmt_kind((gomem_ev)w->cur->kind)->name, step);
	}
	s->off = true;
}

// wait_turn returns with an event of the running stream's operation under the cursor, or off the path.
static void wait_turn(whatif *w) {
	stream *s = w->running;
	while (on_path(s)) {
		if (w->failed) {
			wi_leave(w);
		}
		if (s->over) {
			wi_stray(w, "one step more");
			return;
		}
		if (w->cur->stream != s->id || w->ended) {
			coro_switch(s->co, w->main);
			continue;
		}
		// A goroutine's stack may have to grow anywhere in an operation that runs on it.
		if (s->depth != 1 || (w->cur->kind != EV_STACKALLOC && w->cur->kind != EV_STACKFREE)) {
			return;
		}
		wi_do_op(w, s);
	}
}

bool wi_next_is(whatif *w, gomem_ev k) {
	wait_turn(w);
	return on_path(w->running) && w->cur->kind == k;
}

void wi_on_turn(void *ctx, gomem_ev k) {
	whatif *w = ctx;
	wait_turn(w);
	if (k != EV_NONE && w->cur->kind != k) {
		wi_stray(w, gmt_kind(k)->name);
	}
}

void wi_on_busy(void *ctx, const char *name) {
	whatif *w = ctx;
	(void)name;
	w->running->busy = true;
	coro_switch(w->running->co, w->main);
	if (w->failed) {
		wi_leave(w);
	}
}

// wi_compare counts a decision that stands under the cursor.
void wi_compare(whatif *w, const gmt_event *e, uint64_t a, uint64_t b, uint64_t c, uint64_t d) {
	const bool spanB = gmt_kind((gomem_ev)e->kind)->span_field == 'b';
	if (e->a == a && (spanB || e->b == b) && e->c == c && e->d == d) {
		w->out->same++;
		return;
	}
	if (w->out->first[0] == 0) {
		snprintf(w->out->first, sizeof(w->out->first),
			"event %" PRIu64 ", %s: recorded %#" PRIx64 " %#" PRIx64 " %#" PRIx64 " %#" PRIx64 ", here %#" PRIx64
			" %#" PRIx64 " %#" PRIx64 " %#" PRIx64,
			wi_event_number(w), gmt_kind((gomem_ev)e->kind)->name, e->a, e->b, e->c, e->d, a, b, c, d);
	}
}

void wi_on_event(void *ctx, gomem_ev k, uint64_t a, uint64_t b, uint64_t c, uint64_t d) {
	whatif *w = ctx;
	if (wi_next_is(w, k)) {
		wi_compare(w, w->cur, a, b, c, d);
		wi_pass(w);
	} else {
		wi_stray(w, gmt_kind(k)->name);
	}
	switch (k) {
	case EV_SPANINIT:
		wi_on_spanInit(w, a, (const mspan *)(uintptr_t)b, d & 0xffffffff);
		return;
	case EV_SPANFREE:
		wi_on_spanFree(w, a, c, d);
		return;
	case EV_ARENA:
		w->out->reserved += b;
		return;
	case EV_PGROW:
		w->mapped += b;
		w->out->peakMapped = w->mapped;
		return;
	default:
		return;
	}
}

// ---- streams

// wi_resume runs s until it waits for its turn, for a lock, or has nothing to do.
void wi_resume(whatif *w, stream *s) {
	w->running = s;
	s->busy = false;
	coro_switch(w->main, s->co);
}

// wi_finish_others lets each operation that has begun, but that of except, run to its end.
void wi_finish_others(whatif *w, const stream *except) {
	int left = MAX_HURRIES;
	for (bool again = true; again && !w->failed;) {
		again = false;
		for (stream *s = w->made; s != NULL && !w->failed; s = s->made) {
			if (s == except || s->depth == 0) {
				continue;
			}
			s->hurried = true;
			wi_resume(w, s);
			again |= s->depth != 0;
			if (--left == 0) {
				wi_fail(w, "event %" PRIu64 ": operations wait for each other", wi_event_number(w));
			}
		}
	}
}

static void run_stream(void *arg) {
	stream *s = arg;
	for (;;) {
		s->job(s->w, s);
		s->hurried = false;
		coro_switch(s->co, s->w->main);
	}
}

// wi_begin starts a job on an idle stream.
void wi_begin(whatif *w, stream *s, void (*job)(whatif *, stream *)) {
	if (s->co == NULL) {
		s->co = coro_new(STACK_BYTES, run_stream, s);
	}
	if (s->co == NULL) {
		wi_fail(w, "out of memory for a stream");
		return;
	}
	s->job = job;
	s->off = s->hurried = false;
	wi_resume(w, s);
}

// wi_settle lets the others go on until s has the lock that it waits for.
void wi_settle(whatif *w, stream *s) {
	while (s->busy && !w->failed) {
		wi_finish_others(w, s);
		if (!w->failed) {
			wi_resume(w, s);
		}
	}
}
