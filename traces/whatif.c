// whatif.c: `gomem whatif`: a recording with its own constants and with others, side by side; tables and plots over values of one option.
#include <cjson/cJSON.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/commands.h"
#include "traces/whatif.h"

enum {
	OK = 0,
	DIFFERS = 1,
	BAD = 2,
	MAX_SETTINGS = 64,
	MAX_SWEEP = 8192,
	MAX_VALUES = WHATIF_PLOT_POINTS,
	SHOWN_CLASSES = 12
};

static const char usageHead[] =
	"usage: gomem whatif [OPTIONS] FILE.gmt\n"
	"\n"
	"Serves the requests of a recorded Go program twice: with the constants of the recording, where each decision must\n"
	"be the recorded one, and with those that you change, and prints memory, waste and system calls of both. What is\n"
	"modelled and what is assumed: docs/WHATIF.md.\n"
	"\n";

static const char usageTail[] =
	"\n"
	"  --sweep OPTION=A,B,C    a table over values of one option (values with commas in them: separate by ';')\n"
	"  --plot FILE.svg         a plot: of bytes in use over time, or of a sweep\n"
	"  --classes               print all size classes, not those with most waste\n"
	"  --json                  print one JSON object\n"
	"\n"
	"Sizes are bytes, or end with KiB, MiB, GiB. Example:\n"
	"  gomem whatif --page-size 16KiB traces/data/gofmt-p1.gmt\n"
	"\n"
	"Exit status: 0 done, 1 with the recorded constants a decision was not the recorded one, 2 usage or bad input.\n";

typedef struct setting {
	const char *option, *value;
} setting;

typedef struct whatif_args {
	const char *file, *sweep, *plot;
	bool json, allClasses;
	setting settings[MAX_SETTINGS];
	unsigned n;
} whatif_args;

static void print_usage(FILE *out) {
	(void)fputs(usageHead, out);
	for (unsigned i = 0; i < whatif_noptions; i++) {
		const whatif_option *o = &whatif_options[i];
		char head[64];
		snprintf(head, sizeof(head), "%s %s", o->name, o->value);
		(void)fprintf(out, "  %-22s", head);
		for (const char *line = o->help; line != NULL;) {
			const char *end = strchr(line, '\n');
			const int len = end != NULL ? (int)(end - line) : (int)strlen(line);
			(void)fprintf(out, "%*s%.*s\n", line == o->help ? 2 : 26, "", len, line);
			line = end != NULL ? end + 1 : NULL;
		}
	}
	(void)fputs(usageTail, out);
}

static int say_bad(const char *why) {
	(void)fprintf(stderr, "gomem whatif: %s\n", why);
	return BAD;
}

// ---- numbers

static const char *with_commas(uint64_t n, char buf[32]) {
	char digits[24];
	int len = snprintf(digits, sizeof(digits), "%" PRIu64, n), out = 0;
	for (int i = 0; i < len; i++) {
		if (i > 0 && (len - i) % 3 == 0) {
			buf[out++] = ',';
		}
		buf[out++] = digits[i];
	}
	buf[out] = 0;
	return buf;
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

static const char *change_text(double from, double to, char buf[32]) {
	if (from == to) {
		return "";
	}
	if (from == 0) {
		snprintf(buf, 32, "new");
	} else {
		snprintf(buf, 32, "%+.2f %%", (to - from) / from * 100);
	}
	return buf;
}

// ---- text

// A size class on both sides, scan and noscan together.
typedef struct class_row {
	uint32_t size;
	whatif_class side[2];
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
	const uint64_t a = waste_of(&r->side[0]), b = waste_of(&r->side[1]);
	return a > b ? a : b;
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

static unsigned make_rows(const whatif_result *a, const whatif_result *b, class_row rows[2 * WHATIF_SPAN_CLASSES]) {
	unsigned n = 0;
	for (unsigned k = 0; k < 2; k++) {
		const whatif_result *r = k == 0 ? a : b;
		for (unsigned i = 0; i < WHATIF_SPAN_CLASSES; i++) {
			if (r->classes[i].spans == 0) {
				continue;
			}
			unsigned at = 0;
			while (at < n && rows[at].size != r->classes[i].size) {
				at++;
			}
			if (at == n) {
				rows[n++] = (class_row){.size = r->classes[i].size};
			}
			add_class(&rows[at].side[k], &r->classes[i]);
		}
	}
	return n;
}

static void print_side(const whatif_class *c) {
	char n[32];
	printf("  %7" PRIu64, c->spans);
	printf(" %9" PRIu64, c->objects);
	printf(" %11s", with_commas(c->slotWaste, n));
	printf(" %9s", with_commas(c->tail, n));
	printf(" %11s", with_commas(c->freeSlots, n));
}

static void print_row(const char *name, const whatif_class side[2]) {
	printf("%8s", name);
	print_side(&side[0]);
	printf("  |");
	print_side(&side[1]);
	printf("\n");
}

static void print_classes(const whatif_args *args, const whatif_result *a, const whatif_result *b) {
	static class_row rows[2 * WHATIF_SPAN_CLASSES];
	unsigned n = make_rows(a, b, rows), shown = n;
	qsort(rows, n, sizeof(rows[0]), by_waste);
	if (!args->allClasses && n > SHOWN_CLASSES) {
		shown = SHOWN_CLASSES;
	}
	qsort(rows, shown, sizeof(rows[0]), by_size);
	static const char columns[] = "    spans   objects  slot waste      tail  free slots";
	printf(
		"\nsize classes when most bytes were in use%s\n", shown < n ? " (those with most waste; --classes: all)" : "");
	printf("    size%s  |%s\n", columns, columns);
	for (unsigned i = 0; i < shown; i++) {
		char size[16] = "large";
		if (rows[i].size != 0) {
			snprintf(size, sizeof(size), "%u", rows[i].size);
		}
		print_row(size, rows[i].side);
	}
	const whatif_class sums[2] = {a->sum, b->sum};
	print_row("all", sums);
}

static void print_settings(const whatif_args *args) {
	for (unsigned i = 0; i < args->n; i++) {
		printf("%s%s %s", i == 0 ? "" : " ", args->settings[i].option, args->settings[i].value);
	}
	printf("%s", args->n == 0 ? "nothing" : "");
}

static void print_head(const whatif_args *args, const gmt_header *head, const whatif_lives *l, const whatif_result *a) {
	char n[32], m[32];
	printf("%s\n", args->file);
	printf("program    %s\n", head->command);
	printf("requests   %s allocations, %s stacks; deaths as %u recorded cycles found them\n",
		with_commas(a->mallocs, n), with_commas(a->stacks, m), l->cycles);
	printf("recorded   %s of %s decisions equal to Go's\n", with_commas(a->same, n), with_commas(l->answers, m));
}

static void print_metrics(const whatif_result *a, const whatif_result *b) {
	char n[32], m[32], change[32];
	printf("\n%-38s %15s | %15s\n", "", "recorded", "changed");
	for (unsigned i = 0; i < NMETRICS; i++) {
		const double x = metric_of(&metrics[i], a), y = metric_of(&metrics[i], b);
		printf("%-38s %15s | %15s  %s\n", metrics[i].name, with_commas((uint64_t)(x + 0.5), n),
			with_commas((uint64_t)(y + 0.5), m), change_text(x, y, change));
	}
}

// ---- JSON

static void json_class(cJSON *to, const whatif_class *c) {
	cJSON_AddNumberToObject(to, "spans", (double)c->spans);
	cJSON_AddNumberToObject(to, "bytes", (double)c->bytes);
	cJSON_AddNumberToObject(to, "objects", (double)c->objects);
	cJSON_AddNumberToObject(to, "asked", (double)c->asked);
	cJSON_AddNumberToObject(to, "slot_waste", (double)c->slotWaste);
	cJSON_AddNumberToObject(to, "free_slots", (double)c->freeSlots);
	cJSON_AddNumberToObject(to, "tail", (double)c->tail);
}

static cJSON *json_result(const whatif_result *r) {
	cJSON *o = cJSON_CreateObject();
	cJSON_AddNumberToObject(o, "same_decisions", (double)r->same);
	if (r->first[0] != 0) {
		cJSON_AddStringToObject(o, "first_other", r->first);
	}
	for (unsigned i = 0; i < NMETRICS; i++) {
		cJSON_AddNumberToObject(o, metrics[i].key, metric_of(&metrics[i], r));
	}
	cJSON *list = cJSON_AddArrayToObject(o, "classes");
	for (unsigned i = 0; i < WHATIF_SPAN_CLASSES; i++) {
		if (r->classes[i].spans == 0) {
			continue;
		}
		cJSON *one = cJSON_CreateObject();
		cJSON_AddNumberToObject(one, "size", r->classes[i].size);
		cJSON_AddBoolToObject(one, "noscan", (i & 1) != 0);
		json_class(one, &r->classes[i]);
		cJSON_AddItemToArray(list, one);
	}
	return o;
}

static cJSON *json_head(
	const whatif_args *args, const gmt_header *head, const whatif_lives *l, const whatif_result *a) {
	cJSON *o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "file", args->file);
	cJSON_AddStringToObject(o, "program", head->command);
	cJSON_AddNumberToObject(o, "mallocs", (double)a->mallocs);
	cJSON_AddNumberToObject(o, "decisions", (double)l->answers);
	cJSON_AddNumberToObject(o, "equal", (double)a->same);
	cJSON *options = cJSON_AddObjectToObject(o, "options");
	for (unsigned i = 0; i < args->n; i++) {
		cJSON_AddStringToObject(options, args->settings[i].option + 2, args->settings[i].value);
	}
	cJSON_AddItemToObject(o, "recorded", json_result(a));
	return o;
}

static void json_print(cJSON *o) {
	char *text = cJSON_PrintUnformatted(o);
	puts(text != NULL ? text : "{}");
	cJSON_free(text);
	cJSON_Delete(o);
}

// ---- progress, on a terminal only

static void show_progress(void *ctx, uint64_t done, uint64_t total) {
	struct timespec *last = ctx, now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	const double since = (double)(now.tv_sec - last->tv_sec) + (double)(now.tv_nsec - last->tv_nsec) / 1e9;
	if (since < 0.2) {
		return;
	}
	*last = now;
	(void)fprintf(stderr, "\r%3d %%", total == 0 ? 100 : (int)(done * 100 / total));
}

// ---- runs

typedef struct session {
	const whatif_args *args;
	gmt_reader *r;
	whatif_lives lives;
	whatif_config config, recordedConfig;
	whatif_result recorded, changed;
} session;

static int run(session *s, const whatif_config *c, whatif_result *out, const char *with) {
	gmt_error err;
	struct timespec shown = {0};
	const bool tty = isatty(STDERR_FILENO) != 0;
	if (gmt_seek(s->r, 0, &err) != 0) {
		return say_bad(err.text);
	}
	const whatif_progress progress = {tty ? show_progress : NULL, &shown};
	const int got = whatif_run(s->r, &s->lives, c, progress, out);
	if (shown.tv_sec != 0) {
		(void)fprintf(stderr, "\r     \r");
	}
	if (got != 0) {
		(void)fprintf(
			stderr, "gomem whatif: %s%s%s: %s\n", s->args->file, with[0] != 0 ? " with " : "", with, out->error);
		return BAD;
	}
	return OK;
}

static int apply_settings(session *s, whatif_config *c, const setting *also) {
	char why[WHATIF_WHY];
	*c = s->recordedConfig;
	const char *bad = NULL;
	for (unsigned i = 0; i < s->args->n && bad == NULL; i++) {
		bad = whatif_set(c, s->args->settings[i].option, s->args->settings[i].value, why);
	}
	if (bad == NULL && also != NULL) {
		bad = whatif_set(c, also->option, also->value, why);
	}
	bad = bad != NULL ? bad : whatif_settle(c, why);
	return bad == NULL ? OK : say_bad(bad);
}

static int print_pair(session *s) {
	const whatif_args *args = s->args;
	const whatif_result *a = &s->recorded, *b = &s->changed;
	const gmt_header *head = gmt_reader_header(s->r);
	if (args->json) {
		cJSON *o = json_head(args, head, &s->lives, a);
		cJSON_AddItemToObject(o, "changed", json_result(b));
		json_print(o);
		return OK;
	}
	char n[32];
	print_head(args, head, &s->lives, a);
	printf("changed    ");
	print_settings(args);
	printf(": %s of these decisions stay the same\n", with_commas(b->same, n));
	print_metrics(a, b);
	print_classes(args, a, b);
	if (s->config.paced) {
		printf(
			"\nCycles of the changed side begin by the trigger rule. What died is known only as of the %u recorded cycles:\n"
			"compare with --gogc 100, not with the recorded side (docs/WHATIF.md).\n",
			s->lives.cycles);
	}
	return OK;
}

static int plot_pair(session *s) {
	char why[WHATIF_WHY];
	whatif_plot p = {
		.title = "bytes in use", .x = "allocations", .nlines = 2, .lines = {{.name = "recorded"}, {.name = "changed"}}};
	for (unsigned k = 0; k < 2; k++) {
		const whatif_result *r = k == 0 ? &s->recorded : &s->changed;
		p.lines[k].n = r->npoints;
		for (unsigned i = 0; i < r->npoints; i++) {
			p.lines[k].x[i] = (double)r->points[i].malloc;
			p.lines[k].y[i] = (double)r->points[i].inUse;
		}
	}
	const char *bad = whatif_draw(&p, s->args->plot, why);
	return bad == NULL ? OK : say_bad(bad);
}

static int do_pair(session *s) {
	char with[128] = "the changed constants";
	if (apply_settings(s, &s->config, NULL) != OK || run(s, &s->config, &s->changed, with) != OK) {
		return BAD;
	}
	if (print_pair(s) != OK) {
		return BAD;
	}
	return s->args->plot != NULL ? plot_pair(s) : OK;
}

// ---- a sweep

typedef struct sweep {
	char text[MAX_SWEEP]; // names and values are cut out of it
	char option[64];
	char *values[MAX_VALUES];
	unsigned n;
} sweep;

static int parse_sweep(const char *arg, sweep *w) {
	char why[WHATIF_WHY];
	const int len = snprintf(w->text, sizeof(w->text), "%s", arg);
	char *eq = len >= MAX_SWEEP ? NULL : strchr(w->text, '=');
	if (eq == NULL || eq[1] == 0) {
		snprintf(why, sizeof(why), "--sweep %.200s: OPTION=A,B,C", arg);
		return say_bad(why);
	}
	*eq = 0;
	snprintf(w->option, sizeof(w->option), "--%.60s", strncmp(w->text, "--", 2) == 0 ? w->text + 2 : w->text);
	bool known = false;
	for (unsigned i = 0; i < whatif_noptions; i++) {
		known |= strcmp(whatif_options[i].name, w->option) == 0;
	}
	if (!known) {
		snprintf(why, sizeof(why), "--sweep %.200s: no option %s", arg, w->option);
		return say_bad(why);
	}
	const char *separator = strchr(eq + 1, ';') != NULL ? ";" : ",";
	char *save = NULL;
	for (char *v = strtok_r(eq + 1, separator, &save); v != NULL; v = strtok_r(NULL, separator, &save)) {
		if (w->n == MAX_VALUES) {
			snprintf(why, sizeof(why), "--sweep %s: more than %d values", w->option, MAX_VALUES);
			return say_bad(why);
		}
		w->values[w->n++] = v;
	}
	return OK;
}

static void print_sweep_line(int width, const char *value, const whatif_result *r, const whatif_result *base) {
	char n[32], change[32];
	const double x = base->meanInUse, y = r->meanInUse;
	printf("%-*s %13s", width, value, with_commas(r->sum.bytes, n));
	printf(" %13s", with_commas((uint64_t)y, n));
	printf(" %9s", change_text(x, y, change));
	printf(" %12s", with_commas((uint64_t)(r->meanSlotWaste + r->meanTail), n));
	printf(" %13s", with_commas(r->peakCommitted, n));
	printf(" %13s", with_commas(r->peakRSS, n));
	printf(" %9s", with_commas(r->faults, n));
	printf(" %7s", with_commas(r->systemCalls, n));
	printf(" %6s\n", with_commas(r->cycles, n));
}

static int sweep_width(const sweep *w) {
	size_t width = strlen(w->option) > 12 ? strlen(w->option) : 12;
	for (unsigned i = 0; i < w->n; i++) {
		width = strlen(w->values[i]) > width ? strlen(w->values[i]) : width;
	}
	return (int)width;
}

static int sweep_run(session *s, sweep *w, cJSON *list, whatif_plot *p) {
	int status = OK;
	for (unsigned i = 0; i < w->n && status == OK; i++) {
		const setting one = {w->option, w->values[i]};
		char with[192];
		snprintf(with, sizeof(with), "%s %.100s", one.option, one.value);
		if (apply_settings(s, &s->config, &one) != OK || run(s, &s->config, &s->changed, with) != OK) {
			return BAD;
		}
		if (list != NULL) {
			cJSON *o = json_result(&s->changed);
			cJSON_AddStringToObject(o, "value", one.value);
			cJSON_AddItemToArray(list, o);
		} else {
			print_sweep_line(sweep_width(w), one.value, &s->changed, &s->recorded);
		}
		const double y[3] = {(double)s->changed.sum.bytes, s->changed.meanInUse, (double)s->changed.peakRSS};
		for (unsigned k = 0; k < 3; k++) {
			p->lines[k].x[i] = i;
			p->lines[k].y[i] = y[k];
			p->lines[k].n = i + 1;
		}
		p->names[i] = one.value;
	}
	return status;
}

static int do_sweep(session *s) {
	sweep w = {.n = 0};
	char why[WHATIF_WHY];
	whatif_plot *p = calloc(1, sizeof(*p));
	int status = p == NULL ? say_bad("out of memory") : parse_sweep(s->args->sweep, &w);
	const gmt_header *head = gmt_reader_header(s->r);
	cJSON *o = NULL, *list = NULL;
	if (status == OK) {
		*p = (whatif_plot){.title = "bytes",
			.x = w.option,
			.nlines = 3,
			.lines = {{.name = "peak in use"}, {.name = "mean in use"}, {.name = "peak RSS"}}};
		if (s->args->json) {
			o = json_head(s->args, head, &s->lives, &s->recorded);
			cJSON_AddStringToObject(o, "sweep", w.option);
			list = cJSON_AddArrayToObject(o, "values");
		} else {
			print_head(s->args, head, &s->lives, &s->recorded);
			printf("\n%-*s %13s %13s %9s %12s %13s %13s %9s %7s %6s\n", sweep_width(&w), w.option, "peak in use",
				"mean in use", "", "mean waste", "committed", "peak RSS", "faults", "calls", "cycles");
			print_sweep_line(sweep_width(&w), "(recorded)", &s->recorded, &s->recorded);
		}
		status = sweep_run(s, &w, list, p);
	}
	if (status == OK && o != NULL) {
		json_print(o);
	} else {
		cJSON_Delete(o);
	}
	if (status == OK && s->args->plot != NULL) {
		const char *bad = whatif_draw(p, s->args->plot, why);
		status = bad == NULL ? OK : say_bad(bad);
	}
	free(p);
	return status;
}

// ---- the command

// take_option reads the option at argv[*i]. OK, or BAD after a message.
static int take_option(whatif_args *args, int argc, char **argv, int *i) {
	char why[WHATIF_WHY];
	const char *a = argv[*i];
	if (strcmp(a, "--json") == 0) {
		args->json = true;
		return OK;
	}
	if (strcmp(a, "--classes") == 0) {
		args->allClasses = true;
		return OK;
	}
	// The negations that are shortest to write.
	const setting negations[] = {{"--no-green-tea", "--green-tea"}, {"--no-page-cache", "--page-cache"}};
	for (unsigned k = 0; k < 2; k++) {
		if (strcmp(a, negations[k].option) == 0 && args->n < MAX_SETTINGS) {
			args->settings[args->n++] = (setting){negations[k].value, "off"};
			return OK;
		}
	}
	bool known = strcmp(a, "--sweep") == 0 || strcmp(a, "--plot") == 0;
	for (unsigned k = 0; k < whatif_noptions; k++) {
		known |= strcmp(a, whatif_options[k].name) == 0;
	}
	if (!known) {
		snprintf(why, sizeof(why), "%.200s: no such option (gomem whatif --help lists them)", a);
		return say_bad(why);
	}
	if (*i + 1 >= argc || args->n == MAX_SETTINGS) {
		snprintf(why, sizeof(why), "%s: %s", a, args->n == MAX_SETTINGS ? "too many options" : "a value is missing");
		return say_bad(why);
	}
	const char *value = argv[++*i];
	if (strcmp(a, "--sweep") == 0) {
		args->sweep = value;
	} else if (strcmp(a, "--plot") == 0) {
		args->plot = value;
	} else {
		args->settings[args->n++] = (setting){a, value};
	}
	return OK;
}

static int parse_args(whatif_args *args, int argc, char **argv) {
	for (int i = 1; i < argc; i++) {
		if (argv[i][0] == '-' && argv[i][1] != 0) {
			if (take_option(args, argc, argv, &i) != OK) {
				return BAD;
			}
		} else if (args->file != NULL) {
			return say_bad("one recording at a time");
		} else {
			args->file = argv[i];
		}
	}
	return args->file != NULL ? OK : say_bad("no recording given (gomem whatif --help)");
}

static bool can_write(const char *path) {
	char why[WHATIF_WHY];
	FILE *f = fopen(path, "w");
	if (f == NULL) {
		snprintf(why, sizeof(why), "--plot %.300s: %s", path, strerror(errno));
		(void)say_bad(why);
		return false;
	}
	return fclose(f) == 0;
}

static int do_session(session *s) {
	gmt_error err;
	char why[WHATIF_WHY];
	const char *no = whatif_unsupported(gmt_reader_header(s->r));
	if (no != NULL) {
		snprintf(why, sizeof(why), "%.300s: %s", s->args->file, no);
		return say_bad(why);
	}
	whatif_config_recorded(&s->recordedConfig, gmt_reader_header(s->r));
	// Bad options are told before anything takes time.
	if ((s->args->sweep == NULL && apply_settings(s, &s->config, NULL) != OK) ||
		(s->args->plot != NULL && !can_write(s->args->plot))) {
		return BAD;
	}
	if (whatif_read_lives(s->r, &s->lives, &err) != 0) {
		const bool named = strstr(err.text, s->args->file) != NULL;
		(void)fprintf(stderr, "gomem whatif: %s%s%s\n", named ? "" : s->args->file, named ? "" : ": ", err.text);
		return BAD;
	}
	if (run(s, &s->recordedConfig, &s->recorded, "") != OK) {
		return BAD;
	}
	const bool equal = s->recorded.same == s->lives.answers;
	const int status = s->args->sweep != NULL ? do_sweep(s) : do_pair(s);
	if (status == OK && !equal) {
		(void)fprintf(stderr,
			"gomem whatif: %s: with the recorded constants not all decisions are the recorded ones: %s\n",
			s->args->file, s->recorded.first);
		return DIFFERS;
	}
	return status;
}

int gomem_whatif_main(int argc, char **argv) {
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			print_usage(stdout);
			return OK;
		}
	}
	whatif_args args = {0};
	gmt_error err;
	if (parse_args(&args, argc, argv) != OK) {
		return BAD;
	}
	gmt_reader *r = gmt_open(args.file, &err);
	if (r == NULL) {
		return say_bad(err.text);
	}
	session *s = calloc(1, sizeof(*s));
	int status = BAD;
	if (s == NULL) {
		(void)say_bad("out of memory");
	} else {
		s->args = &args;
		s->r = r;
		status = do_session(s);
		whatif_lives_free(&s->lives);
	}
	free(s);
	gmt_close(r);
	if (fflush(stdout) != 0 || ferror(stdout) != 0) {
		(void)fprintf(stderr, "gomem whatif: cannot write: %s\n", strerror(errno));
		return BAD;
	}
	return status;
}
