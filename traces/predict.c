// predict.c: one step at a time: the port predicts, Go's answer is compared, the port's state becomes Go's. docs/PREDICT.md.
//
// Here the events are handed out to predict_*.c. Invariants: predict_state.h.
#include "traces/predict.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "traces/predict_state.h"

const char *const predict_kind_names[PREDICT_KINDS] = {"tiny objects", "small objects", "large objects", "refills",
	"spans of small objects", "spans of large objects", "stacks and work buffers"};

static bool unsweptAtStart(void *ctx, uint64_t base) {
	predictor *pr = ctx;
	return pr_groupAt(pr, base) != NULL;
}

static bool endSnapshot(predictor *pr, uint64_t minAddr, gmt_error *err) {
	predict_result *r = pr->out;
	r->snapshot_spans = pr->snap.nspans;
	r->snapshot_objects = pr->snap.nobjects;
	// The sweeps of the cycle that the trace began in must be known when the spans are sorted into swept and not.
	for (size_t i = 0; i < pr->snap.nspans; i++) {
		const snap_span *s = &pr->snap.spans[i];
		if (s->npages > 1 << 24 || !pages_span(&pr->ph.pages, s->addr, s->npages, s->class)) {
			(void)snprintf(err->text, sizeof(err->text), "out of memory, or a span of %" PRIu64 " pages", s->npages);
			return false;
		}
		pages_at(&pr->ph.pages, s->addr)->flags |= PAGE_HIDDEN;
	}
	pr_showGroups(pr);
	const bool ok = heap_import(&pr->ph, &pr->snap, minAddr, unsweptAtStart, pr, err);
	snapshot_free(&pr->snap);
	pr->imported = ok;
	return ok;
}

static void onProcs(predictor *pr, const gotrace_event *e) {
	for (int32_t i = 0; i < pr->h->nallp; i++) {
		gomem_p *p = pr->h->allp[i];
		if ((uint64_t)i < e->n) {
			continue;
		}
		pr_flushPcache(pr, p);
		pr_flushP(pr, p);
		pr_pushCached(pr, p);
		mcache_releaseAll(pr->h, p, p->mcache);
	}
}

static void onProc(predictor *pr, const gotrace_event *e) {
	if (e->p < 0 || e->p >= pr->h->nallp) {
		return;
	}
	pr->ps[e->p].running = e->kind == GOTRACE_PROC_START;
	pr_sweeperEnd(pr, pr->h->allp[e->p]);
	if (e->kind == GOTRACE_PROC_START) {
		pr_flushP(pr, pr->h->allp[e->p]);
	}
}

// onStop: Go flushes all caches before it reads statistics.
static void onStop(predictor *pr, const predict_source *src, const gotrace_event *e) {
	const char *why = src->string == NULL ? NULL : src->string(src->ctx, e->n);
	if (why == NULL || strcmp(why, "read mem stats") != 0) {
		return;
	}
	pr_flushAll(pr);
	for (int32_t i = 0; i < pr->h->nallp; i++) {
		pr->ps[i].tinyLast = 0;
		pr->ps[i].ntiny = 0;
		pr->ps[i].tinyKnown = true;
		pr_dropUnused(pr, pr->h->allp[i]);
		pr_pushCached(pr, pr->h->allp[i]);
		mcache_releaseAll(pr->h, pr->h->allp[i], pr->h->allp[i]->mcache);
	}
}

// seeP: p tells something. Invariant: seen[i] < seen[i + 1]
static void seeP(predictor *pr, int32_t p) {
	if (pr->ps[p].seen) {
		return;
	}
	pr->ps[p].seen = true;
	int32_t at = pr->nseen++;
	for (; at > 0 && pr->seen[at - 1] > p; at--) {
		pr->seen[at] = pr->seen[at - 1];
	}
	pr->seen[at] = p;
}

static bool onTimed(predictor *pr, const predict_source *src, const gotrace_event *e) {
	gomem_p *p = e->p >= 0 && e->p < pr->h->nallp ? pr->h->allp[e->p] : NULL;
	pr->running = p;
	if (p != NULL) {
		seeP(pr, p->id);
		pr_pushEvent(pr, p, e);
	}
	if (pr_endedCycle(pr, e)) {
		pr_beginIdle(pr);
	}
	if (p != NULL && e->kind != GOTRACE_PROC_STOP && e->kind != GOTRACE_OBJECT_FREE && e->kind != GOTRACE_SPAN_FREE) {
		pr_flushP(pr, p);
	}
	if (p == NULL && e->next_p >= 0 && e->next_p < pr->h->nallp && !pr->marking) {
		(void)pr_flushSome(pr, pr->h->allp[e->next_p]);
	}
	switch ((gotrace_kind)e->kind) {
	case GOTRACE_SPAN_ALLOC:
		return pr_onSpanAlloc(pr, p, e);
	case GOTRACE_SPAN_FREE:
		pr_onSpanFree(pr, e);
		pr_goOnFlushing(pr);
		return true;
	case GOTRACE_OBJECT_ALLOC:
		pr_onObject(pr, p, e);
		return true;
	case GOTRACE_OBJECT_FREE:
		pr_onObjectFree(pr, e);
		pr_goOnFlushing(pr);
		return true;
	case GOTRACE_GC_BEGIN:
		pr->begun = true;
		return true;
	case GOTRACE_STW_BEGIN:
		onStop(pr, src, e);
		return true;
	case GOTRACE_STW_END:
		if (pr->begun) {
			pr->begun = false;
			pr_finishSweep(pr);
		}
		if (pr->idleAt == 0) {
			pr->idleAt = e->time + idleAfter;
		}
		return true;
	case GOTRACE_GC_END:
		pr->ender = e->m;
		pr_endCycle(pr);
		return true;
	case GOTRACE_GO_START:
		pr_onGoStart(pr, p, e);
		return true;
	case GOTRACE_GO_STOP:
	case GOTRACE_HEAP_ALLOC:
		pr_onEarly(pr, p);
		return true;
	case GOTRACE_SWEEP_BEGIN:
	case GOTRACE_SWEEP_END:
		pr_onRegion(pr, p, e);
		return true;
	case GOTRACE_PROCS:
		onProcs(pr, e);
		return true;
	case GOTRACE_PROC_START:
	case GOTRACE_PROC_STOP:
		onProc(pr, e);
		return true;
	default:
		return true;
	}
}

static bool onEvent(predictor *pr, const predict_source *src, const gotrace_event *e, gmt_error *err) {
	switch ((gotrace_kind)e->kind) {
	case GOTRACE_SPAN:
		return snapshot_span(&pr->snap, e);
	case GOTRACE_OBJECT:
		return snapshot_object(&pr->snap, e->addr);
	case GOTRACE_STACK:
		return true;
	case GOTRACE_SNAPSHOT_END:
		return pr->imported || endSnapshot(pr, src->min_addr, err);
	default:
		if (!pr->imported && e->kind != GOTRACE_PROC_START && e->kind != GOTRACE_PROC_STOP) {
			return true; // the world is stopped until the snapshot ends
		}
		return onTimed(pr, src, e) && !pr->noMemory;
	}
}

static _Noreturn void onThrow(void *ctx, const char *msg) {
	predictor *pr = ctx;
	(void)snprintf(pr->out->stopped, sizeof(pr->out->stopped),
		"event %" PRIu64 " at offset %" PRIu64 ": the port threw: %s", pr->out->events,
		pr->e != NULL ? pr->e->offset : 0, msg);
	longjmp(pr->threw, 1);
}

static bool makeHeap(predictor *pr) {
	const memSimConfig sim = {0};
	pr->ph.os = mem_sim_new(&sim);
	if (pr->ph.os == NULL) {
		return false;
	}
	const gomem_policy policy = {
		.ctx = pr,
		.deductSweepCredit = pr_deductCredit,
		.reclaim = pr_growing,
		.loadMarks = pr_loadMarks,
		.gcTrigger = pr_noTrigger,
	};
	const gomem_config cfg = {
		.os = pr->ph.os,
		.policy = &policy,
		.no_randomized_base = true,
		.no_greentea = pr->sweeps.noGreenTea,
		.rand_seed = 1,
		.throw_hook = onThrow,
		.throw_ctx = pr,
	};
	pr->h = pr->ph.h = gomem_heap_new(&cfg);
	const int32_t n = pr->sweeps.procs > 0 ? pr->sweeps.procs : 1;
	if (pr->h == NULL || n > numPsMax || !gomem_procresize(pr->h, n)) {
		return false;
	}
	pr->ps = calloc((size_t)n, sizeof(*pr->ps));
	pr->hidden = calloc((size_t)n, sizeof(*pr->hidden));
	pr->seen = calloc((size_t)n, sizeof(*pr->seen));
	pr->out->procs = n;
	pr->out->green_tea = !pr->sweeps.noGreenTea;
	return pr->ps != NULL && pr->hidden != NULL && pr->seen != NULL;
}

static bool run(predictor *pr, const predict_source *src, gmt_error *err) {
	gotrace_event e;
	int got;
	pr->e = &e;
	err->text[0] = 0;
	while ((got = src->next(src->ctx, &e, err)) == 1) {
		if (e.kind < GOTRACE_KINDS) {
			pr->out->given[e.kind]++;
		}
		if (!onEvent(pr, src, &e, err)) {
			if (err->text[0] == 0) {
				(void)snprintf(err->text, sizeof(err->text), "out of memory");
			}
			return false;
		}
		pr->out->events++;
		if (pr->opt->progress != NULL && pr->out->events % progressEvery == 0) {
			pr->opt->progress(pr->opt->progress_ctx, pr->out->events);
		}
	}
	if (got == 0 && !pr->imported) {
		(void)snprintf(err->text, sizeof(err->text), "the trace has no snapshot of the heap");
		return false;
	}
	return got == 0;
}

static void predictorFree(predictor *pr) {
	gomem_heap_destroy(pr->h);
	if (pr->ph.os != NULL) {
		pr->ph.os->destroy(pr->ph.os);
	}
	pages_free(&pr->ph.pages);
	free(pr->ph.held.p);
	snapshot_free(&pr->snap);
	sweeps_free(&pr->sweeps);
	free(pr->ps);
	free(pr->hidden);
	free(pr->seen);
	free(pr);
}

bool predict_run(const predict_source *src, const predict_options *opt, predict_result *out, gmt_error *err) {
	*out = (predict_result){0};
	predictor *pr = calloc(1, sizeof(*pr));
	if (pr == NULL) {
		(void)snprintf(err->text, sizeof(err->text), "out of memory");
		return false;
	}
	pr->out = out;
	pr->opt = opt;
	pr->version = src->version;
	volatile bool ok = sweeps_collect(src, &pr->sweeps, err) && src->rewind(src->ctx, err);
	if (ok && setjmp(pr->threw) == 0) {
		ok = makeHeap(pr);
		if (!ok) {
			(void)snprintf(err->text, sizeof(err->text), "out of memory");
		}
		ok = ok && run(pr, src, err);
	}
	pr_endWaiting(pr);
	pr_lateEnd(pr);
	predictorFree(pr);
	return ok;
}

void predict_result_free(predict_result *r) {
	free(r->list);
	r->list = NULL;
	r->listed = 0;
}
