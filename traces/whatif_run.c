// whatif_run.c: see whatif.h. Compiled against the run-time variant of the library: serves requests with other constants: the heap, the loop
// over a recording or the job for a trace, and the end.
//
// Invariants: each event of a recording is begun by wi_do_op, or passed; when the loop ends no operation is under way
#include "traces/whatif_run.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void make_heap(whatif *w, stream *s) {
	// A trace doesn't say what was reclaimed before the heap grew: that is left to Go's rule.
	const gomem_policy policy = {
		.ctx = w,
		.sweepActive = w->c->paced ? NULL : wi_policy_sweepActive,
		.deductSweepCredit = w->c->paced ? NULL : wi_policy_deductSweepCredit,
		.reclaim = w->c->paced || w->trace != NULL ? NULL : wi_policy_reclaim,
		.loadMarks = wi_policy_loadMarks,
		.scavengeAssist = wi_policy_scavengeAssist,
		.gcTrigger = wi_policy_gcTrigger,
	};
	w->lab = (gomem_lab){.ctx = w, .turn = wi_on_turn, .event = wi_on_event, .busy = wi_on_busy};
	const gomem_config cfg = {
		.os = &w->os,
		.policy = &policy,
		.lab = &w->lab,
		.layout = &w->layout,
		.rand_seed = w->randSeed,
		.no_randomized_base = !w->c->randomBase,
		.no_greentea = !w->c->greenTea,
		.throw_hook = wi_on_throw,
		.throw_ctx = w,
	};
	w->os.programEnd = w->trace == NULL ? (uintptr_t)gmt_program_end(w->cur, w->end) : 0;
	s->off = w->trace != NULL;
	s->depth++;
	w->h = gomem_heap_new_bare(&cfg);
	s->depth--;
	if (w->h == NULL) {
		wi_fail(w, "the heap cannot be made: %s", strerror(errno));
		return;
	}
	wi_pace(w);
}

// is_cycles: kinds that belong to the recorded cycles.
static bool is_cycles(unsigned k) {
	return k == EV_SWEEPONE || k == EV_ENSURESWEPT || k == EV_RECLAIM || k == EV_PREPARESWEEP || k == EV_FLUSHMCACHE ||
		k == EV_FREESTACKSPANS || k == EV_GCPHASE || k == EV_SWEEPGEN || k == EV_FINISHSWEEP || k == EV_NEXTGEN;
}

static bool begins(const whatif *w, const gmt_event *e) {
	if (!gmt_kind((gomem_ev)e->kind)->input || e->kind == EV_SWEEPACTIVE) {
		return false;
	}
	return !w->c->paced || !is_cycles(e->kind);
}

// finish_stream lets the operation of s run to its end.
static void finish_stream(whatif *w, stream *s) {
	if (s != NULL && s->depth > 0) {
		s->hurried = true;
		wi_resume(w, s);
		wi_settle(w, s);
	}
}

// make_quiet: a cache is flushed, or a cycle begins. Go does so when nobody is in the midst of what it would disturb; here the operation of that
// P, or a sweep, may have been left behind, since it waits for a step that comes later.
static void make_quiet(whatif *w, const stream *s) {
	const gmt_event *e = w->cur;
	switch ((gomem_ev)e->kind) {
	case EV_PREPARESWEEP:
	case EV_FLUSHMCACHE:
	case EV_FLUSHPCACHE:
	case EV_PDESTROY:
		if (e->a < GMT_STREAM_M && e->a != s->id) {
			finish_stream(w, w->streams[e->a]);
		}
		return;
	case EV_FINISHSWEEP:
	case EV_SWEEPGEN:
		if ((atomic_load(&w->h->sweep.active.state) & ~sweepDrainedMask) != 0) {
			wi_finish_others(w, s);
		}
		return;
	default:
		return;
	}
}

static void step(whatif *w) {
	if (w->cycleDue) {
		wi_finish_others(w, NULL);
		if (!w->failed) {
			wi_begin(w, &w->system, wi_do_cycle);
		}
		return;
	}
	stream *s = wi_stream_of(w, w->cur->stream);
	if (s == NULL) {
		return;
	}
	if (s->depth > 0) {
		wi_resume(w, s);
		wi_settle(w, s);
		return;
	}
	if (!begins(w, w->cur)) {
		wi_pass(w);
		return;
	}
	make_quiet(w, s);
	if (!w->failed) {
		wi_begin(w, s, wi_do_op);
		wi_settle(w, s);
	}
}

static int by_object(const void *a, const void *b) {
	const whatif_target *const *x = a, *const *y = b;
	return ((*x)->object > (*y)->object) - ((*x)->object < (*y)->object);
}

static bool start_targets(whatif *w) {
	const uint64_t n = w->lives->ntargets;
	w->targetAddr = calloc((size_t)(n + 1), sizeof(*w->targetAddr));
	w->byObject = calloc((size_t)(n + 1), sizeof(*w->byObject));
	w->isTarget = calloc((size_t)(w->lives->n / 8 + 1), 1);
	if (w->targetAddr == NULL || w->byObject == NULL || w->isTarget == NULL) {
		return false;
	}
	for (uint64_t i = 0; i < n; i++) {
		const whatif_target *t = &w->lives->targets[i];
		w->byObject[i] = t;
		if (t->object < w->lives->n) {
			w->isTarget[t->object / 8] |= (uint8_t)(1u << t->object % 8);
		}
	}
	qsort((void *)w->byObject, (size_t)n, sizeof(*w->byObject), by_object);
	return true;
}

static bool start(whatif *w) {
	w->streams = calloc(GMT_MAX_STREAMS, sizeof(*w->streams));
	w->regions = calloc(REGIONS, sizeof(*w->regions));
	w->main = coro_self();
	if (w->streams == NULL || w->regions == NULL || w->main == NULL || !start_targets(w) || !wi_make_os(w)) {
		wi_fail(w, "out of memory");
		return false;
	}
	w->system = (stream){.w = w, .id = NO_STREAM};
	if (w->trace != NULL) { // the cursor of a recording that has ended
		w->eof = (gmt_event){.kind = EV_NONE, .stream = NO_STREAM};
		w->cur = &w->eof;
		w->end = &w->eof + 1;
		w->ended = true;
		return true;
	}
	if (!wi_load(w)) {
		return false;
	}
	if (w->ended) {
		wi_fail(w, "the recording has no events");
		return false;
	}
	return true;
}

static void free_map(moved **map) {
	moved *m = *map;
	HASH_CLEAR(hh, *map);
	while (m != NULL) {
		moved *next = m->hh.next;
		free(m);
		m = next;
	}
}

static void free_all(whatif *w) {
	if (w->h != NULL) {
		w->h->env.lab = NULL;
		w->h->env.throwHook = NULL;
		gomem_heap_destroy(w->h);
	}
	for (stream *s = w->made, *next; s != NULL; s = next) {
		next = s->made;
		coro_free(s->co);
		free(s);
	}
	coro_free(w->system.co);
	coro_free(w->main);
	for (uint64_t i = 0; w->regions != NULL && i < REGIONS; i++) {
		for (unsigned g = 0; w->regions[i] != NULL && g < GRAINS; g++) {
			free(w->regions[i]->span[g]);
		}
		free(w->regions[i]);
	}
	free((void *)w->regions);
	free((void *)w->streams);
	free((void *)w->byObject);
	free(w->targetAddr);
	free(w->isTarget);
	free_map(&w->stacks);
	free_map(&w->manuals);
	if (w->under != NULL) {
		w->under->destroy(w->under);
	}
}

static double seconds_now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void run_recording(whatif *w) {
	stream *first = wi_stream_of(w, w->cur->stream);
	if (first == NULL) {
		return;
	}
	wi_begin(w, first, make_heap);
	while (first->depth > 0 && !w->failed) { // with other constants it may have waited for another stream
		wi_finish_others(w, NULL);
	}
	while (!w->failed && !w->ended) {
		step(w);
	}
	wi_finish_others(w, NULL);
}

// run_trace: nothing was recorded of a turn, so that one stream does all, each operation whole.
static void run_trace(whatif *w) {
	wi_begin(w, &w->system, make_heap);
	if (!w->failed) {
		wi_begin(w, &w->system, wi_serve_trace);
	}
	if (!w->failed && w->system.depth > 0) {
		wi_fail(w, "event %" PRIu64 ": an operation waits for itself", wi_event_number(w));
	}
}

// run serves the requests of from, which has those inputs set that say where they come from.
static int run(const whatif *from, const whatif_config *c, whatif_progress progress, whatif_result *out) {
	const double began = seconds_now();
	memset(out, 0, sizeof(*out));
	whatif *w = calloc(1, sizeof(*w));
	if (w == NULL) {
		snprintf(out->error, sizeof(out->error), "out of memory");
		return -1;
	}
	*w = *from;
	w->c = c;
	w->layout = c->layout;
	w->layout.classes = c->ownClasses ? &c->classes : NULL;
	w->progress = progress;
	w->out = out;
	if (start(w)) {
		(w->trace != NULL ? run_trace : run_recording)(w);
		if (!w->failed) {
			wi_note_end(w);
		}
	}
	const int got = w->failed ? -1 : 0;
	free_all(w);
	free(w);
	out->seconds = seconds_now() - began;
	return got;
}

int whatif_run(
	gmt_reader *r, const whatif_lives *lives, const whatif_config *c, whatif_progress progress, whatif_result *out) {
	const gmt_header *head = gmt_reader_header(r);
	const whatif from = {.r = r, .lives = lives, .godebug = head->godebug, .randSeed = head->rand_seed};
	return run(&from, c, progress, out);
}

int whatif_run_trace(
	const whatif_trace *t, bool largest, const whatif_config *c, whatif_progress progress, whatif_result *out) {
	const whatif from = {.trace = t, .largest = largest, .lives = &t->lives, .godebug = "", .randSeed = 1};
	return run(&from, c, progress, out);
}
