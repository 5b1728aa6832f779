// whatif_print.c: see whatif_print.h.
//
// Invariants: a figure's low is the smaller of its two values, whichever run it is of: with larger requests there is less slot waste
//   of a recording no figure is a range, in text and in JSON
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "traces/gotrace.h"
#include "traces/show.h"
#include "traces/whatif_print.h"

enum { SHOWN_CLASSES = 12 };

// ---- numbers

typedef struct range {
	double low, high;
} range;

typedef struct text {
	char s[80];
} text;

static range range_of(double a, double b) { return a < b ? (range){a, b} : (range){b, a}; }

static text range_text(range r, double round) {
	char a[32], b[32];
	text t;
	(void)show_count((uint64_t)(r.low + round), a);
	(void)show_count((uint64_t)(r.high + round), b);
	snprintf(t.s, sizeof(t.s), strcmp(a, b) == 0 ? "%s" : "%s..%s", a, b);
	return t;
}

static text plain_text(range r) {
	text t;
	snprintf(t.s, sizeof(t.s), r.low == r.high ? "%.0f" : "%.0f..%.0f", r.low, r.high);
	return t;
}

// A figure of a result.
typedef struct metric {
	const char *name, *key;
	size_t at;
	bool mean; // a double
} metric;

#define AT(field) offsetof(whatif_result, field)
static const metric metrics[] = {
	{"peak bytes in use (spans of objects)", "peak_in_use", AT(sum.bytes), false},
	{"  asked for by the program", "peak_asked", AT(sum.asked), false},
	{"  slot waste (rounding up, headers)", "peak_slot_waste", AT(sum.slotWaste), false},
	{"  free slots", "peak_free_slots", AT(sum.freeSlots), false},
	{"  tail waste (rest of spans, bitmaps)", "peak_tail", AT(sum.tail), false},
	{"mean bytes in use", "mean_in_use", AT(meanInUse), true},
	{"  asked for by the program", "mean_asked", AT(meanAsked), true},
	{"  slot waste", "mean_slot_waste", AT(meanSlotWaste), true},
	{"  free slots", "mean_free_slots", AT(meanFreeSlots), true},
	{"  tail waste", "mean_tail", AT(meanTail), true},
	{"peak bytes of stack spans", "peak_stacks", AT(peakStacks), false},
	{"peak committed (not given back)", "peak_committed", AT(peakCommitted), false},
	{"peak mapped", "peak_mapped", AT(peakMapped), false},
	{"arenas (address space)", "arenas", AT(reserved), false},
	{"peak RSS", "peak_rss", AT(peakRSS), false},
	{"RSS at the end", "end_rss", AT(endRSS), false},
	{"spans of objects made", "spans", AT(spansMade), false},
	{"system calls", "system_calls", AT(systemCalls), false},
	{"page faults", "page_faults", AT(faults), false},
	{"GC cycles", "gc_cycles", AT(cycles), false},
	{"inputs without a counterpart", "untranslated", AT(untranslated), false},
};
enum { NMETRICS = sizeof(metrics) / sizeof(metrics[0]) };

static double metric_of(const metric *m, const whatif_result *r) {
	const char *at = (const char *)r + m->at;
	if (m->mean) {
		double v;
		memcpy(&v, at, sizeof(v));
		return v;
	}
	uint64_t v;
	memcpy(&v, at, sizeof(v));
	return (double)v;
}

static range metric_range(const metric *m, const whatif_outcome *o) {
	return range_of(metric_of(m, &o->of[0]), metric_of(m, &o->of[o->n - 1]));
}

static double percent(double from, double to) { return from == 0 ? 0 : (to - from) / from * 100; }

// change_text compares runs with the same requests.
static text change_text(double from, double to, double from2, double to2) {
	text t = {""};
	if (from == to && from2 == to2) {
		return t;
	}
	if ((from == 0 && to != 0) || (from2 == 0 && to2 != 0)) {
		snprintf(t.s, sizeof(t.s), "new");
		return t;
	}
	const range r = range_of(percent(from, to), percent(from2, to2));
	text low, high;
	snprintf(low.s, sizeof(low.s), "%+.2f", r.low);
	snprintf(high.s, sizeof(high.s), "%+.2f", r.high);
	if (strcmp(low.s, high.s) == 0) {
		snprintf(t.s, sizeof(t.s), "%.20s %%", low.s);
	} else {
		snprintf(t.s, sizeof(t.s), "%.20s..%.20s %%", low.s, high.s);
	}
	return t;
}

static text metric_change(const metric *m, const whatif_outcome *a, const whatif_outcome *b) {
	return change_text(metric_of(m, &a->of[0]), metric_of(m, &b->of[0]), metric_of(m, &a->of[a->n - 1]),
		metric_of(m, &b->of[b->n - 1]));
}

// ---- text

// A size class on both sides, of each run; scan and noscan together.
typedef struct class_row {
	uint32_t size;
	whatif_class side[2][2];
} class_row;

static void add_class(whatif_class *to, const whatif_class *c) {
	to->spans += c->spans;
	to->bytes += c->bytes;
	to->objects += c->objects;
	to->asked += c->asked;
	to->slotWaste += c->slotWaste;
	to->freeSlots += c->freeSlots;
	to->tail += c->tail;
}

static uint64_t waste_of(const whatif_class *c) { return c->slotWaste + c->tail; }

static uint64_t row_waste(const class_row *r) {
	uint64_t most = 0;
	for (unsigned k = 0; k < 4; k++) {
		const uint64_t n = waste_of(&r->side[k / 2][k % 2]);
		most = n > most ? n : most;
	}
	return most;
}

static int by_waste(const void *a, const void *b) {
	const uint64_t x = row_waste(a), y = row_waste(b);
	return (x < y) - (x > y);
}

static int by_size(const void *a, const void *b) {
	const class_row *x = a, *y = b;
	const uint32_t p = x->size == 0 ? UINT32_MAX : x->size, q = y->size == 0 ? UINT32_MAX : y->size;
	return (p > q) - (p < q);
}

static void add_rows(const whatif_result *r, unsigned k, unsigned run, class_row *rows, unsigned *n) {
	for (unsigned i = 0; i < WHATIF_SPAN_CLASSES; i++) {
		if (r->classes[i].spans == 0) {
			continue;
		}
		unsigned at = 0;
		while (at < *n && rows[at].size != r->classes[i].size) {
			at++;
		}
		if (at == *n) {
			rows[(*n)++] = (class_row){.size = r->classes[i].size};
		}
		add_class(&rows[at].side[k][run], &r->classes[i]);
	}
}

static void print_side(const whatif_class *c) {
	char n[32];
	printf("  %7" PRIu64, c->spans);
	printf(" %9" PRIu64, c->objects);
	printf(" %11s", show_count(c->slotWaste, n));
	printf(" %9s", show_count(c->tail, n));
	printf(" %11s", show_count(c->freeSlots, n));
}

static range between(uint64_t a, uint64_t b) { return range_of((double)a, (double)b); }

static void print_sideRange(const whatif_class c[2]) {
	printf("  %11s", plain_text(between(c[0].spans, c[1].spans)).s);
	printf(" %15s", plain_text(between(c[0].objects, c[1].objects)).s);
	printf(" %23s", range_text(between(c[0].slotWaste, c[1].slotWaste), 0).s);
	printf(" %19s", range_text(between(c[0].tail, c[1].tail), 0).s);
	printf(" %21s", range_text(between(c[0].freeSlots, c[1].freeSlots), 0).s);
}

static const char *row_name(const class_row *r, char name[16]) {
	snprintf(name, 16, "%u", r->size);
	return r->size == 0 ? "large" : name;
}

static void print_both(const char *name, const class_row *r) {
	printf("%8s", name);
	print_side(&r->side[0][0]);
	printf("  |");
	print_side(&r->side[1][0]);
	printf("\n");
}

// print_ranges: a side at a time, since ranges are wide.
static void print_ranges(const class_row *rows, unsigned n, const class_row *sums) {
	static const char *const sides[] = {"Go's constants", "changed"};
	char name[16];
	for (unsigned k = 0; k < 2; k++) {
		printf("%s\n    size  %11s %15s %23s %19s %21s\n", sides[k], "spans", "objects", "slot waste", "tail",
			"free slots");
		for (unsigned i = 0; i < n; i++) {
			printf("%8s", row_name(&rows[i], name));
			print_sideRange(rows[i].side[k]);
			printf("\n");
		}
		printf("%8s", "all");
		print_sideRange(sums->side[k]);
		printf("\n");
	}
}

static void print_classes(const whatif_args *args, const whatif_outcome *a, const whatif_outcome *b) {
	static class_row rows[4 * WHATIF_SPAN_CLASSES];
	class_row sums = {0};
	unsigned n = 0;
	for (unsigned run = 0; run < a->n; run++) {
		add_rows(&a->of[run], 0, run, rows, &n);
		add_rows(&b->of[run], 1, run, rows, &n);
		sums.side[0][run] = a->of[run].sum;
		sums.side[1][run] = b->of[run].sum;
	}
	unsigned shown = n;
	qsort(rows, n, sizeof(rows[0]), by_waste);
	if (!args->allClasses && n > SHOWN_CLASSES) {
		shown = SHOWN_CLASSES;
	}
	qsort(rows, shown, sizeof(rows[0]), by_size);
	printf(
		"\nsize classes when most bytes were in use%s\n", shown < n ? " (those with most waste; --classes: all)" : "");
	if (a->n == 2) {
		print_ranges(rows, shown, &sums);
		return;
	}
	static const char columns[] = "    spans   objects  slot waste      tail  free slots";
	printf("    size%s  |%s\n", columns, columns);
	for (unsigned i = 0; i < shown; i++) {
		char name[16];
		print_both(row_name(&rows[i], name), &rows[i]);
	}
	print_both("all", &sums);
}

static void print_settings(const whatif_args *args) {
	for (unsigned i = 0; i < args->n; i++) {
		printf("%s%s %s", i == 0 ? "" : " ", args->settings[i].option, args->settings[i].value);
	}
	printf("%s", args->n == 0 ? "nothing" : "");
}

static void print_traceHead(const whatif_trace *t) {
	char n[32], m[32];
	printf("trace      %s, %u Ps\n", gotrace_go(t->version, n), t->procs);
	printf("requests   %s allocations, %s objects at the start; deaths as %u cycles found them\n",
		show_count(t->mallocs, n), show_count(t->startObjects, m), t->cycles);
	printf(
		"sizes      a trace has slots, not sizes: figures are low..high of two runs, with the smallest size that slot\n"
		"           and type allow, and with the largest; %s requests have one size only\n",
		show_count(t->exact, n));
	printf("Go had     %s peak bytes in use; addresses are not compared here: `gomem replay` does that\n",
		show_count(t->peakInUse, n));
}

void whatif_print_head(const whatif_args *args, const whatif_input *in, const whatif_outcome *recorded) {
	const whatif_result *a = &recorded->of[0];
	char n[32], m[32];
	printf("%s\n", args->file);
	if (in->salvaged != NULL) {
		printf("salvaged   %s\n", in->salvaged);
	}
	if (in->head == NULL) {
		print_traceHead(in->trace);
		return;
	}
	printf("program    ");
	show_text(stdout, in->head->command, SIZE_MAX);
	printf("\nrequests   %s allocations, %s stacks; deaths as %u recorded cycles found them\n",
		show_count(a->mallocs, n), show_count(a->stacks, m), in->lives->cycles);
	printf("recorded   %s of %s decisions equal to Go's\n", show_count(a->same, n), show_count(in->lives->answers, m));
}

static void print_metrics(const whatif_outcome *a, const whatif_outcome *b) {
	const int width = a->n == 2 ? 25 : 15;
	printf("\n%-38s %*s | %*s\n", "", width, a->n == 2 ? "Go's constants" : "recorded", width, "changed");
	for (unsigned i = 0; i < NMETRICS; i++) {
		const metric *m = &metrics[i];
		printf("%-38s %*s |", m->name, width, range_text(metric_range(m, a), 0.5).s);
		printf(" %*s  %s\n", width, range_text(metric_range(m, b), 0.5).s, metric_change(m, a, b).s);
	}
}

static void print_changed(const whatif_args *args, const whatif_input *in, const whatif_outcome *changed) {
	char n[32];
	printf("changed    ");
	print_settings(args);
	if (in->head == NULL) {
		printf("\n");
		return;
	}
	printf(": %s of these decisions stay the same\n", show_count(changed->of[0].same, n));
}

void whatif_print_pair(
	const whatif_args *args, const whatif_input *in, const whatif_outcome *recorded, const whatif_outcome *changed) {
	whatif_print_head(args, in, recorded);
	print_changed(args, in, changed);
	print_metrics(recorded, changed);
	print_classes(args, recorded, changed);
}

// ---- a table over values

static const int oneWidths[] = {13, 13, 9, 12, 13, 13, 9, 7, 6}, rangeWidths[] = {23, 23, 18, 21, 23, 23, 15, 9, 6};

void whatif_print_columns(const whatif_input *in, int width, const char *option) {
	static const char *const names[] = {
		"peak in use", "mean in use", "", "mean waste", "committed", "peak RSS", "faults", "calls", "cycles"};
	const int *widths = in->head == NULL ? rangeWidths : oneWidths;
	printf("\n%-*s", width, option);
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		printf(" %*s", widths[i], names[i]);
	}
	printf("\n");
}

void whatif_print_line(int width, const char *value, const whatif_outcome *o, const whatif_outcome *recorded) {
	const whatif_result *a = &o->of[0], *b = &o->of[o->n - 1], *x = &recorded->of[0], *y = &recorded->of[o->n - 1];
	const int *widths = o->n == 2 ? rangeWidths : oneWidths;
	const double waste = a->meanSlotWaste + a->meanTail, waste2 = b->meanSlotWaste + b->meanTail;
	const text columns[] = {range_text(between(a->sum.bytes, b->sum.bytes), 0),
		range_text(range_of(a->meanInUse, b->meanInUse), 0.5),
		change_text(x->meanInUse, a->meanInUse, y->meanInUse, b->meanInUse), range_text(range_of(waste, waste2), 0.5),
		range_text(between(a->peakCommitted, b->peakCommitted), 0), range_text(between(a->peakRSS, b->peakRSS), 0),
		range_text(between(a->faults, b->faults), 0), range_text(between(a->systemCalls, b->systemCalls), 0),
		range_text(between(a->cycles, b->cycles), 0)};
	printf("%-*s", width, value);
	for (unsigned i = 0; i < sizeof(columns) / sizeof(columns[0]); i++) {
		printf(" %*s", widths[i], columns[i].s);
	}
	printf("\n");
}

// ---- JSON

// add_figure: a number, or of two runs an object with low and high.
static void add_figure(cJSON *to, const char *key, range r, unsigned runs) {
	if (runs == 1) {
		cJSON_AddNumberToObject(to, key, r.low);
		return;
	}
	cJSON *o = cJSON_AddObjectToObject(to, key);
	cJSON_AddNumberToObject(o, "low", r.low);
	cJSON_AddNumberToObject(o, "high", r.high);
}

static void json_class(cJSON *to, const whatif_class *a, const whatif_class *b, unsigned runs) {
	add_figure(to, "spans", between(a->spans, b->spans), runs);
	add_figure(to, "bytes", between(a->bytes, b->bytes), runs);
	add_figure(to, "objects", between(a->objects, b->objects), runs);
	add_figure(to, "asked", between(a->asked, b->asked), runs);
	add_figure(to, "slot_waste", between(a->slotWaste, b->slotWaste), runs);
	add_figure(to, "free_slots", between(a->freeSlots, b->freeSlots), runs);
	add_figure(to, "tail", between(a->tail, b->tail), runs);
}

cJSON *whatif_json_outcome(const whatif_outcome *outcome) {
	const whatif_result *r = &outcome->of[0], *last = &outcome->of[outcome->n - 1];
	cJSON *o = cJSON_CreateObject();
	if (outcome->n == 1) {
		cJSON_AddNumberToObject(o, "same_decisions", (double)r->same);
	}
	if (r->first[0] != 0) {
		cJSON_AddStringToObject(o, "first_other", r->first);
	}
	for (unsigned i = 0; i < NMETRICS; i++) {
		add_figure(o, metrics[i].key, metric_range(&metrics[i], outcome), outcome->n);
	}
	cJSON *list = cJSON_AddArrayToObject(o, "classes");
	for (unsigned i = 0; i < WHATIF_SPAN_CLASSES; i++) {
		if (r->classes[i].spans == 0 && last->classes[i].spans == 0) {
			continue;
		}
		cJSON *one = cJSON_CreateObject();
		cJSON_AddNumberToObject(one, "size", r->classes[i].size);
		cJSON_AddBoolToObject(one, "noscan", (i & 1) != 0);
		json_class(one, &r->classes[i], &last->classes[i], outcome->n);
		cJSON_AddItemToArray(list, one);
	}
	return o;
}

static void json_trace(cJSON *o, const whatif_trace *t) {
	char go[32];
	cJSON_AddBoolToObject(o, "trace", true);
	cJSON_AddStringToObject(o, "go", gotrace_go(t->version, go));
	cJSON_AddNumberToObject(o, "gomaxprocs", t->procs);
	cJSON_AddNumberToObject(o, "mallocs", (double)t->mallocs);
	cJSON_AddNumberToObject(o, "start_objects", (double)t->startObjects);
	cJSON_AddNumberToObject(o, "exact_sizes", (double)t->exact);
	cJSON_AddNumberToObject(o, "told_late", (double)t->late);
	cJSON_AddNumberToObject(o, "cycles", t->cycles);
	cJSON_AddNumberToObject(o, "peak_in_use_of_go", (double)t->peakInUse);
	cJSON_AddBoolToObject(o, "addresses_compared", false);
}

cJSON *whatif_json_head(const whatif_args *args, const whatif_input *in, const whatif_outcome *recorded) {
	cJSON *o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "file", args->file);
	if (in->salvaged != NULL) {
		cJSON_AddStringToObject(o, "salvaged", in->salvaged);
	}
	if (in->head == NULL) {
		json_trace(o, in->trace);
	} else {
		cJSON_AddStringToObject(o, "program", in->head->command);
		cJSON_AddNumberToObject(o, "mallocs", (double)recorded->of[0].mallocs);
		cJSON_AddNumberToObject(o, "decisions", (double)in->lives->answers);
		cJSON_AddNumberToObject(o, "equal", (double)recorded->of[0].same);
	}
	cJSON *options = cJSON_AddObjectToObject(o, "options");
	for (unsigned i = 0; i < args->n; i++) {
		cJSON_AddStringToObject(options, args->settings[i].option + 2, args->settings[i].value);
	}
	cJSON_AddItemToObject(o, "recorded", whatif_json_outcome(recorded));
	return o;
}
