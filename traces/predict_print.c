// predict_print.c: `gomem replay` of a Go trace: what was predicted, what Go did, for people and as JSON.
#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "gomem/sizeclasses.h"
#include "traces/predict.h"
#include "traces/show.h"

typedef struct file_progress {
	predict_trace trace;
	show_progress_call *call;
	show_progress progress;
} file_progress;

static void fileProgress(void *ctx, uint64_t event) {
	(void)event;
	file_progress *f = ctx;
	uint64_t size;
	const uint64_t done = gotrace_read(f->trace.t, &size);
	f->call(&f->progress, done + (f->trace.passes > 1 ? size : 0), 2 * size);
}

static double now(void) {
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

// ---- sums

static predict_count sum(const predict_result *r, predict_kind from, predict_kind to) {
	predict_count c = {0};
	for (int k = (int)from; k <= (int)to; k++) {
		c.all += r->kinds[k].all;
		c.equal += r->kinds[k].equal;
		c.late += r->kinds[k].late;
		c.adopted += r->kinds[k].adopted;
		c.mismatch += r->kinds[k].mismatch;
	}
	return c;
}

static uint64_t mismatches(const predict_result *r) { return sum(r, 0, PREDICT_KINDS - 1).mismatch; }

static double percent(const predict_count *c) {
	const uint64_t of = c->all - c->adopted;
	return of == 0 ? 100.0 : 100.0 * (double)c->equal / (double)of;
}

// percentText never rounds up to 100.
static const char *percentText(const predict_count *c, char buf[32]) {
	if (c->equal == c->all - c->adopted) {
		return "100";
	}
	const double p = percent(c);
	(void)snprintf(buf, 32, "%.4f", p > 99.9999 ? 99.9999 : p);
	return buf;
}

// ---- text

static void printRow(const char *name, const predict_count *c) {
	char buf[32];
	printf("  %-24s %10" PRIu64 " %10" PRIu64 " %8" PRIu64 " %8" PRIu64 " %9" PRIu64 "  %9s %%\n", name, c->all,
		c->equal, c->late, c->adopted, c->mismatch, percentText(c, buf));
}

static const char *className(const predict_mismatch *m, char buf[48]) {
	if (m->kind == PREDICT_SPAN_MANUAL) {
		return "manual";
	}
	(void)snprintf(buf, 48, "%s", predict_kind_names[m->kind]);
	return buf;
}

static void printMismatch(const predict_mismatch *m) {
	char buf[48];
	printf("  event %" PRIu64 " at offset %" PRIu64 ", P %d, %s: predicted ", m->event, m->offset, m->p,
		className(m, buf));
	if (m->predicted != 0) {
		printf("0x%" PRIx64, m->predicted);
	} else {
		printf("nothing");
	}
	printf(", Go had 0x%" PRIx64 ": %s\n", m->actual, m->why);
}

static void printMismatches(const predict_result *r) {
	if (r->listed == 0) {
		return;
	}
	printf("\nmismatches, the first %" PRIu32 " of %" PRIu64 ":\n", r->listed, mismatches(r));
	for (uint32_t i = 0; i < r->listed; i++) {
		printMismatch(&r->list[i]);
	}
}

static const char *headline(const predict_result *r) {
	if (r->stopped[0] != 0) {
		return "STOPPED";
	}
	return mismatches(r) == 0 ? "as predicted" : "NOT ALL AS PREDICTED";
}

// salvagedText says what is left of a damaged trace. NULL: it is whole.
static const char *salvagedText(const predict_result *r, const gotrace *t, char buf[640]) {
	return gotrace_salvaged(t) == NULL ? NULL : show_salvaged(r->events, gotrace_salvaged(t), buf);
}

static void printOrders(const predict_result *r) {
	if (r->open == 0) {
		return;
	}
	printf("not told: which of two spans came first, at %" PRIu64 " refills", r->open);
	if (r->orders > 0) {
		printf("; Go's was not the port's at %" PRIu64 " of them: equal", r->orders);
	}
	printf("\n");
}

static void printText(const char *path, const predict_result *r, const gotrace *t, double seconds, bool quiet) {
	const predict_count objects = sum(r, PREDICT_TINY, PREDICT_LARGE),
						spans = sum(r, PREDICT_SPAN_SMALL, PREDICT_SPAN_MANUAL);
	char a[32], b[32], go[32], left[640];
	const char *salvaged = salvagedText(r, t, left);
	if (quiet) {
		printf("%s: %s: objects %s %%, spans %s %%, %" PRIu64 " mismatches, %" PRIu64 " events, %.2f s%s%s\n", path,
			headline(r), percentText(&objects, a), percentText(&spans, b), mismatches(r), r->events, seconds,
			salvaged != NULL ? "; salvaged: " : "", salvaged != NULL ? salvaged : "");
		return;
	}
	printf("%s\n", path);
	printf("trace      %s, %" PRId32 " Ps, %sgreenteagc, %" PRIu64 " events, %" PRIu64 " cycles\n",
		gotrace_go(gotrace_version(t), go), r->procs, r->green_tea ? "" : "no", r->events, r->cycles);
	if (salvaged != NULL) {
		printf("salvaged   %s\n", salvaged);
	}
	printf("at start   %" PRIu64 " spans, %" PRIu64 " objects\n", r->snapshot_spans, r->snapshot_objects);
	printf(
		"verdict    %s: objects %s %%, spans %s %%\n\n", headline(r), percentText(&objects, a), percentText(&spans, b));
	printf("  %-24s %10s %10s %8s %8s %9s\n", "", "all", "equal", "late", "adopted", "mismatch");
	for (int k = 0; k < PREDICT_KINDS; k++) {
		if (r->kinds[k].all != 0) {
			printRow(predict_kind_names[k], &r->kinds[k]);
		}
	}
	printMismatches(r);
	if (r->stopped[0] != 0) {
		printf("\nstopped: %s\n", r->stopped);
	}
	printf("\ngiven, not checked: %" PRIu64 " frees of objects, %" PRIu64
		   " of spans, sizes (by class), when caches are flushed",
		r->given[GOTRACE_OBJECT_FREE], r->given[GOTRACE_SPAN_FREE]);
	if (r->untold > 0) {
		printf(", %" PRIu64 " spans that the trace only frees", r->untold);
	}
	if (r->early > 0) {
		printf(", when %" PRIu64 " objects took their slots", r->early);
	}
	printf("\n");
	printOrders(r);
	printf("%.2f s, peak memory %" PRIu64 " KiB\n", seconds, show_peak_kib());
}

// ---- JSON

static void jsonCount(cJSON *to, const char *name, const predict_count *c) {
	cJSON *o = cJSON_AddObjectToObject(to, name);
	cJSON_AddNumberToObject(o, "all", (double)c->all);
	cJSON_AddNumberToObject(o, "equal", (double)c->equal);
	cJSON_AddNumberToObject(o, "late", (double)c->late);
	cJSON_AddNumberToObject(o, "adopted", (double)c->adopted);
	cJSON_AddNumberToObject(o, "mismatch", (double)c->mismatch);
	cJSON_AddNumberToObject(o, "percent", percent(c));
}

static void jsonMismatches(cJSON *o, const predict_result *r) {
	cJSON *list = cJSON_AddArrayToObject(o, "mismatches");
	for (uint32_t i = 0; i < r->listed; i++) {
		const predict_mismatch *m = &r->list[i];
		char predicted[32], actual[32];
		(void)snprintf(predicted, sizeof(predicted), "0x%" PRIx64, m->predicted);
		(void)snprintf(actual, sizeof(actual), "0x%" PRIx64, m->actual);
		cJSON *one = cJSON_CreateObject();
		cJSON_AddStringToObject(one, "kind", predict_kind_names[m->kind]);
		cJSON_AddNumberToObject(one, "event", (double)m->event);
		cJSON_AddNumberToObject(one, "offset", (double)m->offset);
		cJSON_AddNumberToObject(one, "p", m->p);
		cJSON_AddStringToObject(one, "predicted", predicted);
		cJSON_AddStringToObject(one, "actual", actual);
		cJSON_AddStringToObject(one, "why", m->why);
		cJSON_AddItemToArray(list, one);
	}
}

static void printJson(const char *path, const predict_result *r, const gotrace *t, double seconds) {
	cJSON *o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "file", path);
	cJSON_AddStringToObject(o, "status", headline(r));
	cJSON_AddNumberToObject(o, "version", gotrace_version(t));
	cJSON_AddNumberToObject(o, "ps", r->procs);
	cJSON_AddNumberToObject(o, "events", (double)r->events);
	cJSON_AddNumberToObject(o, "cycles", (double)r->cycles);
	const predict_count objects = sum(r, PREDICT_TINY, PREDICT_LARGE),
						spans = sum(r, PREDICT_SPAN_SMALL, PREDICT_SPAN_MANUAL);
	jsonCount(o, "objects", &objects);
	jsonCount(o, "spans", &spans);
	cJSON *kinds = cJSON_AddObjectToObject(o, "kinds");
	for (int k = 0; k < PREDICT_KINDS; k++) {
		jsonCount(kinds, predict_kind_names[k], &r->kinds[k]);
	}
	cJSON_AddNumberToObject(o, "open", (double)(r->open));
	cJSON_AddNumberToObject(o, "orders", (double)r->orders);
	jsonMismatches(o, r);
	if (r->stopped[0] != 0) {
		cJSON_AddStringToObject(o, "stopped", r->stopped);
	}
	char left[640];
	const char *salvaged = salvagedText(r, t, left);
	if (salvaged != NULL) {
		cJSON_AddStringToObject(o, "salvaged", salvaged);
	}
	cJSON_AddNumberToObject(o, "seconds", seconds);
	cJSON_AddNumberToObject(o, "peak_kib", (double)show_peak_kib());
	show_object(o);
}

// ---- one file

static int bad(const char *path, const char *why, bool json) {
	if (json) {
		cJSON *o = cJSON_CreateObject();
		cJSON_AddStringToObject(o, "file", path);
		cJSON_AddStringToObject(o, "status", "bad input");
		cJSON_AddStringToObject(o, "error", why);
		show_object(o);
	}
	const bool named = strstr(why, path) != NULL;
	(void)fprintf(stderr, "gomem replay: %s%s%s\n", named ? "" : path, named ? "" : ": ", why);
	return 2;
}

int predict_file(const char *path, const predict_file_options *opt) {
	gmt_error err;
	file_progress f = {
		.trace = {.path = path, .o = {.salvage = opt->salvage, .goroutines = true}}, .call = show_progress_on()};
	if (!predict_trace_open(&f.trace, &err)) {
		return bad(path, err.text, opt->json);
	}
	const predict_source src = predict_trace_source(&f.trace);
	const predict_options run = {
		.mismatches = opt->mismatches, .progress = f.call != NULL ? fileProgress : NULL, .progress_ctx = &f};
	predict_result r;
	const double began = now();
	const bool ok = predict_run(&src, &run, &r, &err);
	show_progress_end(&f.progress);
	int status = 2;
	if (!ok) {
		(void)bad(path, err.text, opt->json);
	} else if (opt->json) {
		printJson(path, &r, f.trace.t, now() - began);
	} else {
		printText(path, &r, f.trace.t, now() - began, opt->quiet);
	}
	if (ok) {
		status = mismatches(&r) != 0 || r.stopped[0] != 0 ? 1 : 0;
	}
	predict_result_free(&r);
	gotrace_close(f.trace.t);
	return status;
}
