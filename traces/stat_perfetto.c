// stat_perfetto.c: a census in the Trace Event Format, which ui.perfetto.dev opens: counters, and GC cycles as slices.
//
// Its time is microseconds. A recording has no clock: there an event of the recording counts as a microsecond.
#include "traces/stat.h"

#include <string.h>

#include "traces/output.h"
#include "traces/show.h"

static double micros(const census_source *s, uint64_t at) { return s->trace ? (double)at / 1e3 : (double)at; }

static cJSON *event(cJSON *all, const char *phase, const char *name, double at) {
	cJSON *e = cJSON_CreateObject();
	(void)cJSON_AddItemToArray(all, e);
	(void)cJSON_AddStringToObject(e, "ph", phase);
	(void)cJSON_AddStringToObject(e, "name", name);
	(void)cJSON_AddNumberToObject(e, "pid", 1);
	(void)cJSON_AddNumberToObject(e, "tid", 1);
	(void)cJSON_AddNumberToObject(e, "ts", at);
	return e;
}

static void counter(cJSON *all, const char *name, double at, uint64_t value) {
	cJSON *args = cJSON_AddObjectToObject(event(all, "C", name, at), "args");
	(void)cJSON_AddNumberToObject(args, "bytes", (double)value);
}

static void named(cJSON *all, const char *what, const char *name) {
	cJSON *args = cJSON_AddObjectToObject(event(all, "M", what, 0), "args");
	(void)cJSON_AddStringToObject(args, "name", name);
}

static void add_counters(cJSON *all, const census_source *s) {
	const census *c = s->census;
	for (unsigned i = 0; i < c->nsamples; i++) {
		const census_sample *one = &c->samples[i];
		double at = micros(s, one->at);
		counter(all, "heap spans", at, one->span_bytes);
		counter(all, "slots taken", at, one->used_bytes);
		counter(all, "stack and work buffer spans", at, one->manual_bytes);
		counter(all, "allocated so far", at, one->taken_bytes);
		cJSON *args = cJSON_AddObjectToObject(event(all, "C", "objects", at), "args");
		(void)cJSON_AddNumberToObject(args, "count", (double)one->used);
	}
}

static void add_cycles(cJSON *all, const census_source *s) {
	const census *c = s->census;
	for (size_t i = 0; i < c->ngc; i++) {
		const census_cycle *g = &c->gc[i];
		uint64_t end = g->end != 0 ? g->end : c->at;
		cJSON *e = event(all, "X", "GC mark", micros(s, g->begin));
		(void)cJSON_AddNumberToObject(e, "dur", micros(s, end - g->begin));
		cJSON *args = cJSON_AddObjectToObject(e, "args");
		(void)cJSON_AddNumberToObject(args, "cycle", (double)(i + 1));
		(void)cJSON_AddNumberToObject(args, "bytes in slots as it began", (double)g->at_begin);
		(void)cJSON_AddNumberToObject(args, "least bytes in slots before the next", (double)g->least);
	}
}

bool stat_perfetto(const char *path, const char *input, const census_source *s, gmt_error *err) {
	cJSON *root = cJSON_CreateObject(), *all = cJSON_AddArrayToObject(root, "traceEvents");
	(void)cJSON_AddStringToObject(root, "displayTimeUnit", "ms");
	named(all, "process_name", s->program[0] != 0 ? s->program : "Go program");
	named(all, "thread_name", s->trace ? "GC" : "GC (1 us: one event of the recording)");
	add_cycles(all, s);
	add_counters(all, s);
	char *text = show_json(root);
	cJSON_Delete(root);
	output out;
	if (text == NULL) {
		(void)snprintf(err->text, sizeof(err->text), "out of memory");
		return false;
	}
	bool good = output_open(&out, path, input, err);
	if (good) {
		const bool put = fputs(text, out.f) >= 0;
		good = output_close(&out, put, err);
	}
	cJSON_free(text);
	return good;
}
