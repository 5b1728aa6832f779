// whatif.c: `gomem whatif`: a recording or a trace with its own constants and with others, side by side; tables and plots over values of one option.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/args.h"
#include "cli/commands.h"
#include "traces/gotrace.h"
#include "traces/output.h"
#include "traces/show.h"
#include "traces/whatif_print.h"

enum { OK = 0, DIFFERS = 1, BAD = 2, MAX_SWEEP = 8192, MAX_VALUES = WHATIF_PLOT_POINTS };

static const char usageHead[] =
	"usage: gomem whatif [OPTIONS] FILE\n"
	"\n"
	"Serves the requests of a recorded Go program twice: with the constants of the recording, where each decision must\n"
	"be the recorded one, and with those that you change, and prints memory, waste and system calls of both. What is\n"
	"modelled and what is assumed: docs/WHATIF.md. FILE is a recording (*.gmt), or an execution trace of stock Go\n"
	"(GODEBUG=traceallocfree=1, docs/TRACES.md): that has slots, not sizes, so that each figure is a range, low..high,\n"
	"of the smallest and the largest requests; its decisions are not compared (gomem replay does that).\n"
	"\n";

static const char usageTail[] =
	"\n"
	"  --sweep OPTION=A,B,C    a table over values of one option (values with commas in them: separate by ';')\n"
	"  --plot FILE.svg         a plot: of bytes in use over time, or of a sweep\n"
	"  --classes               print all size classes, not those with most waste\n"
	"  --json                  print one JSON object\n"
	"  --salvage               of a damaged file, take what is before the damage, and say how much that is\n"
	"\n"
	"Sizes are bytes, or end with KiB, MiB, GiB. Example:\n"
	"  gomem whatif --page-size 16KiB traces/data/gofmt-p1.gmt\n"
	"\n"
	"Exit status: 0 done, 1 with the recorded constants a decision was not the recorded one, 2 usage or bad input.\n";

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

// ---- runs

typedef struct sweep {
	char text[MAX_SWEEP]; // names and values are cut out of it
	char option[64];
	char *values[MAX_VALUES];
	unsigned n;
} sweep;

typedef struct session {
	const whatif_args *args;
	gmt_reader *r; // NULL: a trace of stock Go
	whatif_lives lives;
	whatif_trace trace;
	whatif_input in;
	whatif_config config, recordedConfig;
	whatif_outcome recorded, changed;
	sweep sweep;
	char left[640];
} session;

static int run_once(session *s, const whatif_config *c, bool largest, whatif_progress progress, whatif_result *out) {
	gmt_error err;
	if (s->r == NULL) {
		return whatif_run_trace(&s->trace, largest, c, progress, out);
	}
	if (gmt_seek(s->r, 0, &err) != 0) {
		snprintf(out->error, sizeof(out->error), "%s", err.text);
		return -1;
	}
	return whatif_run(s->r, &s->lives, c, progress, out);
}

static whatif_progress progress_of(show_progress *p) { return (whatif_progress){show_progress_on(), p}; }

static int run(session *s, const whatif_config *c, whatif_outcome *out, const char *with) {
	out->n = s->r == NULL ? 2 : 1;
	for (unsigned i = 0; i < out->n; i++) {
		show_progress shown = {0};
		const int got = run_once(s, c, i == 1, progress_of(&shown), &out->of[i]);
		show_progress_end(&shown);
		if (got != 0) {
			(void)fprintf(stderr, "gomem whatif: %s%s%s: %s\n", s->args->file, with[0] != 0 ? " with " : "", with,
				out->of[i].error);
			return BAD;
		}
	}
	return OK;
}

static int check_settings(const session *s, const setting *also) {
	char why[WHATIF_WHY];
	for (unsigned i = 0; s->r == NULL && i <= s->args->n; i++) {
		const setting *one = i < s->args->n ? &s->args->settings[i] : also;
		const char *no = one == NULL ? NULL : whatif_no_trace(one->option);
		if (no != NULL) {
			snprintf(why, sizeof(why), "%s: %s", one->option, no);
			return say_bad(why);
		}
	}
	return OK;
}

static int apply_settings(session *s, whatif_config *c, const setting *also) {
	char why[WHATIF_WHY];
	if (check_settings(s, also) != OK) {
		return BAD;
	}
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

// print_paced: what cycles by the pacer can be compared with.
static void print_paced(const session *s, const char *compare) {
	if (s->config.paced) {
		printf(
			"\nCycles of the changed side begin by the pacer. What died is known only as of the %u recorded cycles:\n"
			"%s (docs/WHATIF.md).\n",
			s->in.lives->cycles, compare);
	}
}

static void print_pair(session *s) {
	if (s->args->json) {
		cJSON *o = whatif_json_head(s->args, &s->in, &s->recorded);
		cJSON_AddItemToObject(o, "changed", whatif_json_outcome(&s->changed));
		show_object(o);
		return;
	}
	whatif_print_pair(s->args, &s->in, &s->recorded, &s->changed);
	print_paced(s, "compare with --gogc 100, not with the recorded side");
}

static int plot_pair(session *s) {
	static const char *const names[][2] = {
		{"recorded", "changed"}, {"Go's: low", "changed: low"}, {"Go's: high", "changed: high"}};
	char why[WHATIF_WHY];
	const unsigned runs = s->recorded.n;
	whatif_plot *p = calloc(1, sizeof(*p));
	if (p == NULL) {
		return say_bad("out of memory");
	}
	p->title = "bytes in use";
	p->x = "allocations";
	p->nlines = 2 * runs;
	for (unsigned k = 0; k < p->nlines; k++) {
		const whatif_result *r = &(k % 2 == 0 ? &s->recorded : &s->changed)->of[k / 2];
		whatif_line *line = &p->lines[k];
		line->name = names[runs == 1 ? 0 : 1 + k / 2][k % 2];
		line->n = r->npoints;
		for (unsigned i = 0; i < r->npoints; i++) {
			line->x[i] = (double)r->points[i].malloc;
			line->y[i] = (double)r->points[i].inUse;
		}
	}
	const char *no = whatif_draw(p, s->args->plot, why);
	free(p);
	return no == NULL ? OK : say_bad(no);
}

static int do_pair(session *s) {
	char with[128] = "the changed constants";
	if (apply_settings(s, &s->config, NULL) != OK || run(s, &s->config, &s->changed, with) != OK) {
		return BAD;
	}
	print_pair(s);
	return s->args->plot != NULL ? plot_pair(s) : OK;
}

// ---- a sweep

static int split_values(char *list, sweep *w) {
	char why[WHATIF_WHY];
	const char *separator = strchr(list, ';') != NULL ? ";" : ",";
	while (list != NULL) {
		char *v = strsep(&list, separator);
		if (*v == 0) {
			snprintf(why, sizeof(why), "--sweep %s: value %u is empty", w->option, w->n + 1);
			return say_bad(why);
		}
		if (w->n == MAX_VALUES) {
			snprintf(why, sizeof(why), "--sweep %s: more than %d values", w->option, MAX_VALUES);
			return say_bad(why);
		}
		w->values[w->n++] = v;
	}
	return OK;
}

static int parse_sweep(const char *arg, sweep *w) {
	char why[WHATIF_WHY];
	const int len = snprintf(w->text, sizeof(w->text), "%s", arg);
	char *eq = len >= MAX_SWEEP ? NULL : strchr(w->text, '=');
	if (eq == NULL) {
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
	return split_values(eq + 1, w);
}

static int sweep_width(const sweep *w) {
	size_t width = strlen(w->option) > 12 ? strlen(w->option) : 12;
	for (unsigned i = 0; i < w->n; i++) {
		width = strlen(w->values[i]) > width ? strlen(w->values[i]) : width;
	}
	return (int)width;
}

static void sweep_points(const whatif_outcome *o, whatif_plot *p, unsigned at) {
	for (unsigned k = 0; k < p->nlines; k++) {
		const whatif_result *r = &o->of[k / 3];
		const double y[3] = {(double)r->sum.bytes, r->meanInUse, (double)r->peakRSS};
		p->lines[k].x[at] = at;
		p->lines[k].y[at] = y[k % 3];
		p->lines[k].n = at + 1;
	}
}

static int sweep_run(session *s, sweep *w, cJSON *list, whatif_plot *p) {
	for (unsigned i = 0; i < w->n; i++) {
		const setting one = {w->option, w->values[i]};
		char with[192];
		snprintf(with, sizeof(with), "%s %.100s", one.option, one.value);
		if (apply_settings(s, &s->config, &one) != OK || run(s, &s->config, &s->changed, with) != OK) {
			return BAD;
		}
		if (list != NULL) {
			cJSON *o = whatif_json_outcome(&s->changed);
			cJSON_AddStringToObject(o, "value", one.value);
			cJSON_AddItemToArray(list, o);
		} else {
			whatif_print_line(sweep_width(w), one.value, &s->changed, &s->recorded);
		}
		sweep_points(&s->changed, p, i);
		p->names[i] = one.value;
	}
	return OK;
}

static void sweep_plot(const session *s, const sweep *w, whatif_plot *p) {
	static const char *const one[] = {"peak in use", "mean in use", "peak RSS"};
	static const char *const two[] = {"peak: low", "mean: low", "RSS: low", "peak: high", "mean: high", "RSS: high"};
	p->title = "bytes";
	p->x = w->option;
	p->nlines = 3 * s->recorded.n;
	for (unsigned k = 0; k < p->nlines; k++) {
		p->lines[k].name = s->recorded.n == 1 ? one[k] : two[k];
	}
}

// sweep_begin prints what comes before the values; with --json it gives what they are added to.
static cJSON *sweep_begin(const session *s, const sweep *w, cJSON **list) {
	if (s->args->json) {
		cJSON *o = whatif_json_head(s->args, &s->in, &s->recorded);
		cJSON_AddStringToObject(o, "sweep", w->option);
		*list = cJSON_AddArrayToObject(o, "values");
		return o;
	}
	whatif_print_head(s->args, &s->in, &s->recorded);
	whatif_print_columns(&s->in, sweep_width(w), w->option);
	whatif_print_line(sweep_width(w), s->r == NULL ? "(Go's)" : "(recorded)", &s->recorded, &s->recorded);
	return NULL;
}

static int do_sweep(session *s) {
	char why[WHATIF_WHY];
	whatif_plot *p = calloc(1, sizeof(*p));
	if (p == NULL) {
		return say_bad("out of memory");
	}
	cJSON *list = NULL;
	sweep_plot(s, &s->sweep, p);
	cJSON *o = sweep_begin(s, &s->sweep, &list);
	int status = sweep_run(s, &s->sweep, list, p);
	if (status == OK && o != NULL) {
		show_object(o);
	} else {
		cJSON_Delete(o);
	}
	if (status == OK && !s->args->json) {
		print_paced(s, "compare these lines with each other, not with the recorded one");
	}
	if (status == OK && s->args->plot != NULL) {
		const char *bad = whatif_draw(p, s->args->plot, why);
		status = bad == NULL ? OK : say_bad(bad);
	}
	free(p);
	return status;
}

// ---- the command

// takes_value reads an option with a value, and gives its name. NULL: it is none of these.
static const char *takes_value(int argc, char **argv, int *i, const char **value) {
	static const char *const own[] = {"--sweep", "--plot"};
	for (unsigned k = 0; k < 2; k++) {
		if (args_takes(argc, argv, i, own[k], value)) {
			return own[k];
		}
	}
	for (unsigned k = 0; k < whatif_noptions; k++) {
		if (args_takes(argc, argv, i, whatif_options[k].name, value)) {
			return whatif_options[k].name;
		}
	}
	return NULL;
}

// take_option reads the option at argv[*i]. OK, or BAD after a message.
static int take_option(whatif_args *args, int argc, char **argv, int *i) {
	char why[WHATIF_WHY];
	const char *a = argv[*i];
	if (strcmp(a, "--json") == 0) {
		args->json = true;
		return OK;
	}
	if (strcmp(a, "--salvage") == 0) {
		args->salvage = true;
		return OK;
	}
	if (strcmp(a, "--classes") == 0) {
		args->allClasses = true;
		return OK;
	}
	// The negations that are shortest to write.
	const setting negations[] = {{"--no-green-tea", "--green-tea"}, {"--no-page-cache", "--page-cache"}};
	for (unsigned k = 0; k < 2; k++) {
		if (strcmp(a, negations[k].option) == 0 && args->n < WHATIF_SETTINGS) {
			args->settings[args->n++] = (setting){negations[k].value, "off"};
			return OK;
		}
	}
	const char *value = NULL, *name = takes_value(argc, argv, i, &value);
	if (name == NULL) {
		snprintf(why, sizeof(why), "%.200s: no such option (gomem whatif --help lists them)", a);
		return say_bad(why);
	}
	if (value == NULL || args->n == WHATIF_SETTINGS) {
		snprintf(why, sizeof(why), "%s: %s", name, value == NULL ? "a value is missing" : "too many options");
		return say_bad(why);
	}
	if (strcmp(name, "--sweep") == 0) {
		args->sweep = value;
	} else if (strcmp(name, "--plot") == 0) {
		args->plot = value;
	} else {
		args->settings[args->n++] = (setting){name, value};
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
			return say_bad("one recording or trace at a time");
		} else {
			args->file = argv[i];
		}
	}
	return args->file != NULL ? OK : say_bad("no recording or trace given (gomem whatif --help)");
}

// can_write: nothing is written where there is something, and the file that is read is kept.
static bool can_write(const char *path, const char *input) {
	char why[WHATIF_WHY];
	gmt_error err;
	if (!output_keeps(path, input, &err)) {
		snprintf(why, sizeof(why), "--plot %.480s", err.text);
		return say_bad(why) == OK;
	}
	struct stat st;
	bool good = lstat(path, &st) == 0; // a link to nothing will show
	if (!good) {
		const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		good = fd >= 0 && close(fd) == 0 && unlink(path) == 0;
	} else if (stat(path, &st) == 0) {
		good = !S_ISDIR(st.st_mode) && access(path, W_OK) == 0;
		errno = S_ISDIR(st.st_mode) ? EISDIR : errno;
	}
	if (!good) {
		snprintf(why, sizeof(why), "--plot %.300s: %s", path, strerror(errno));
		(void)say_bad(why);
	}
	return good;
}

// said prints a reader's message, that may name the file or not.
static int said(const session *s, const gmt_error *err) {
	const bool named = strstr(err->text, s->args->file) != NULL;
	(void)fprintf(stderr, "gomem whatif: %s%s%s\n", named ? "" : s->args->file, named ? "" : ": ", err->text);
	return BAD;
}

static int check_sweep(session *s) {
	int status = parse_sweep(s->args->sweep, &s->sweep);
	for (unsigned i = 0; status == OK && i < s->sweep.n; i++) {
		const setting one = {s->sweep.option, s->sweep.values[i]};
		status = apply_settings(s, &s->config, &one);
	}
	return status;
}

// check_args: bad options are told before anything takes time.
static int check_args(session *s) {
	const bool swept = s->args->sweep != NULL;
	if (swept ? check_sweep(s) != OK : apply_settings(s, &s->config, NULL) != OK) {
		return BAD;
	}
	if (swept && s->args->allClasses) {
		return say_bad("--classes: not with --sweep, which prints one line for each value");
	}
	if (s->args->plot != NULL && strcmp(s->args->plot, "-") == 0) {
		return say_bad("--plot -: name a file; the comparison goes to standard output");
	}
	return s->args->plot == NULL || can_write(s->args->plot, s->args->file) ? OK : BAD;
}

static int do_runs(session *s) {
	if (run(s, &s->recordedConfig, &s->recorded, "") != OK) {
		return BAD;
	}
	return s->args->sweep != NULL ? do_sweep(s) : do_pair(s);
}

static void note_salvaged(session *s, uint64_t events, const char *why) {
	s->in.salvaged = why == NULL ? NULL : show_salvaged(events, why, s->left);
}

static int do_recording(session *s) {
	gmt_error err;
	char why[WHATIF_WHY];
	const gmt_header *head = gmt_reader_header(s->r);
	const char *no = whatif_unsupported(head);
	if (no != NULL) {
		snprintf(why, sizeof(why), "%.300s: %s", s->args->file, no);
		return say_bad(why);
	}
	s->in = (whatif_input){.head = head, .lives = &s->lives};
	note_salvaged(s, gmt_reader_events(s->r), gmt_reader_salvaged(s->r));
	whatif_config_recorded(&s->recordedConfig, head);
	if (check_args(s) != OK) {
		return BAD;
	}
	if (whatif_read_lives(s->r, &s->lives, &err) != 0) {
		return said(s, &err);
	}
	const int status = do_runs(s);
	if (status == OK && s->recorded.of[0].same != s->lives.answers) {
		(void)fprintf(stderr,
			"gomem whatif: %s: with the recorded constants not all decisions are the recorded ones: %s\n",
			s->args->file, s->recorded.of[0].first);
		return DIFFERS;
	}
	return status;
}

static int do_trace(session *s) {
	gmt_error err = {""};
	show_progress shown = {0};
	whatif_config_trace(&s->recordedConfig, &s->trace);
	if (check_args(s) != OK) {
		return BAD;
	}
	const bool good = whatif_read_trace(s->args->file, s->args->salvage, &s->trace, progress_of(&shown), &err);
	show_progress_end(&shown);
	if (!good) {
		return said(s, &err);
	}
	s->in = (whatif_input){.lives = &s->trace.lives, .trace = &s->trace};
	note_salvaged(s, s->trace.events, s->trace.salvaged);
	whatif_config_trace(&s->recordedConfig, &s->trace); // now it is known whether there is Green Tea
	return do_runs(s);
}

static int do_file(session *s) {
	gmt_error err;
	if (gotrace_is_file(s->args->file)) {
		return do_trace(s);
	}
	s->r = gmt_open_with(s->args->file, (gmt_options){.salvage = s->args->salvage}, &err);
	return s->r == NULL ? say_bad(err.text) : do_recording(s);
}

int gomem_whatif_main(int argc, char **argv) {
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			print_usage(stdout);
			return OK;
		}
	}
	whatif_args args = {0};
	if (parse_args(&args, argc, argv) != OK) {
		return BAD;
	}
	session *s = calloc(1, sizeof(*s));
	if (s == NULL) {
		return say_bad("out of memory");
	}
	s->args = &args;
	const int status = do_file(s);
	whatif_lives_free(&s->lives);
	whatif_trace_free(&s->trace);
	gmt_close(s->r);
	free(s);
	return status;
}
