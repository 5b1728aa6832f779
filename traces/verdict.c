// verdict.c: `gomem replay`: runs replays and says what came out, for people and as JSON.
#include <cjson/cJSON.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/args.h"
#include "cli/commands.h"
#include "traces/predict.h"
#include "traces/replay.h"
#include "traces/show.h"

static const char usageText[] =
	"usage: gomem replay [--json] [--os sim|real] [--plain] [--go RELEASE] [--quiet] [--mismatches N] [--salvage] FILE...\n"
	"\n"
	"Replays recordings of Go programs: the port is given what the program asked for, and each decision that it\n"
	"makes is compared with the one that Go's allocator made.\n"
	"A FILE may also be an execution trace of any Go program (GODEBUG=traceallocfree=1, runtime/trace): before each\n"
	"step the port predicts where the object or span goes, and what Go did is compared (docs/PREDICT.md).\n"
	"\n"
	"  --json      print one JSON object a file\n"
	"  --quiet     print one line a file\n"
	"  --salvage   of a damaged file, take what is before the damage, and say how much that is\n"
	"\n"
	"For recordings only:\n"
	"  --os sim    simulated memory (default): needs no more memory than metadata\n"
	"  --os real   map arenas at the recorded addresses, and check that zeroed objects are zero\n"
	"  --plain     use the library without yield points (recordings with GOMAXPROCS=1)\n"
	"  --go RELEASE     decide as this release of Go does (go1.24 to go1.27), not as the one that was recorded\n"
	"For traces only:\n"
	"  --mismatches N   describe the first N steps that were not as predicted (default 5)\n"
	"\n"
	"Exit status: 0 all decisions equal, 1 a difference was found, 2 usage or bad input.\n";

typedef struct verdict_options {
	replay_options replay;
	bool json, quiet, salvage;
	uint32_t mismatches;
	const char *recordings, *traces; // an option that applies to these only; NULL: none was given
} verdict_options;

enum { defaultMismatches = 5, maxMismatches = 1000 * 1000 };

// ---- sums

typedef struct tally {
	uint64_t total, equal, tainted, differ;
} tally;

static void tally_add(tally *t, const replay_count *c) {
	t->total += c->total;
	t->equal += c->equal;
	t->tainted += c->tainted;
	t->differ += c->differ;
}

static bool shown(const verdict_options *opt, int k) { return !opt->replay.plain || replay_infos[k].plain; }

static tally tally_all(const verdict_options *opt, const replay_result *res) {
	tally t = {0};
	for (int k = 0; k < RK_MAX; k++) {
		if (shown(opt, k)) {
			tally_add(&t, &res->kinds[k]);
		}
	}
	return t;
}

// The headline: objects by address, spans, arenas.
static void tally_headline(const replay_result *res, tally *objects, tally *spans, tally *arenas) {
	memset(objects, 0, sizeof(*objects));
	for (int k = RK_TINY_HIT; k <= RK_REUSE; k++) {
		tally_add(objects, &res->kinds[k]);
	}
	memset(spans, 0, sizeof(*spans));
	tally_add(spans, &res->kinds[RK_SPAN_BASE]);
	memset(arenas, 0, sizeof(*arenas));
	tally_add(arenas, &res->kinds[RK_ARENA]);
}

// ---- given, not checked

typedef struct given_info {
	gomem_ev kind;
	const char *name;
} given_info;

static const given_info givens[] = {
	{EV_MALLOC, "allocations (size, pointers or not, zeroed or not)"},
	{EV_FREEGC, "objects given back by freegc"},
	{EV_STACKALLOC, "stacks asked for"},
	{EV_STACKFREE, "stacks given back"},
	{EV_ALLOCMANUAL, "work buffers taken"},
	{EV_FREEMANUAL, "work buffers given back"},
	{EV_SWEEPONE, "calls of sweepone"},
	{EV_SWEEPACTIVE, "sweeping active or not"},
	{EV_RECLAIM, "reclaim targets"},
	{EV_ENSURESWEPT, "ensureSwept"},
	{EV_SCAVENGE, "scavenge requests"},
	{EV_PREPARESWEEP, "cache flushes"},
	{EV_GCPHASE, "GC phases"},
	{EV_SWEEPGEN, "cycles"},
	{EV_PINIT, "Ps begun"},
};
enum { NGIVENS = sizeof(givens) / sizeof(givens[0]) };

static uint64_t given_count(const replay_result *res, gomem_ev k) {
	uint64_t n = res->given[k];
	if (k == EV_MALLOC) {
		n += res->given[EV_MALLOCBEGIN];
	}
	if (k == EV_PREPARESWEEP) {
		n += res->given[EV_FLUSHMCACHE] + res->given[EV_FLUSHPCACHE];
	}
	return n;
}

// ---- text

// print_kind pads the total to a width, so that another column can follow; 0: none does.
static void print_kind(const replay_info *info, const replay_count *c, int width) {
	char n[32], m[32];
	const char *mark = c->equal == c->total ? " " : "*";
	printf(" %s %-43s %11s of %-*s", mark, info->name, show_count(c->equal, n), width, show_count(c->total, m));
}

static void print_kinds(const verdict_options *opt, const replay_result *res) {
	int list[RK_MAX], n = 0;
	for (int k = 0; k < RK_MAX; k++) {
		if (shown(opt, k) && res->kinds[k].total != 0) {
			list[n++] = k;
		}
	}
	int rows = (n + 1) / 2;
	for (int i = 0; i < rows; i++) {
		bool two = i + rows < n;
		print_kind(&replay_infos[list[i]], &res->kinds[list[i]], two ? 10 : 0);
		if (two) {
			print_kind(&replay_infos[list[i + rows]], &res->kinds[list[i + rows]], 0);
		}
		printf("\n");
	}
}

static void print_differences(const replay_result *res) {
	for (int k = 0; k < RK_MAX; k++) {
		const replay_count *c = &res->kinds[k];
		if (c->differ != 0) {
			printf("\n  %s: %" PRIu64 " differ. First: %s\n", replay_infos[k].name, c->differ, c->first);
		}
	}
	if (res->stopped) {
		printf("\n  stopped: %s\n  What follows event %" PRIu64 " was not compared.\n", res->error, res->stopped_at);
	}
}

static void print_given(const replay_result *res) {
	printf("given, not checked:");
	const char *sep = " ";
	char n[32];
	for (int i = 0; i < NGIVENS; i++) {
		uint64_t count = given_count(res, givens[i].kind);
		if (count != 0) {
			printf("%s%s %s", sep, show_count(count, n), givens[i].name);
			sep = ", ";
		}
	}
	printf("%s%s mark bitmaps\n", sep, show_count(res->given_marks, n));
}

static const char *end_text(gmt_end_kind end, uint64_t value, char buf[96]) {
	switch (end) {
	case GMT_END_EXIT:
		snprintf(buf, 96, "exit %" PRIu64, value);
		break;
	case GMT_END_SIGNAL:
		snprintf(buf, 96, "killed by signal %" PRIu64, value);
		break;
	case GMT_END_DISK:
		snprintf(buf, 96, "the recording stopped early: no space on disk");
		break;
	case GMT_END_ERROR:
		snprintf(buf, 96, "the recording stopped early: error %" PRIu64, value);
		break;
	case GMT_END_EXEC:
		snprintf(buf, 96, "the program replaced itself by exec");
		break;
	default:
		snprintf(buf, 96, "how the program ended is not known");
		break;
	}
	return buf;
}

static const char *salvaged_text(const gmt_reader *r, char buf[640]) {
	return show_salvaged(gmt_reader_events(r), gmt_reader_salvaged(r), buf);
}

static void print_head(const char *path, gmt_reader *r, const char *release) {
	const gmt_header *h = gmt_reader_header(r);
	uint64_t value;
	gmt_end_kind end = gmt_reader_end(r, &value);
	char n[32], ended[96];
	printf("%s\n", path);
	printf("program    ");
	show_text(stdout, h->command, SIZE_MAX);
	printf("\nrecorded   %s %s/%s, GOMAXPROCS %u, %sgreenteagc, %srandomizedheapbase64%s%s\n", h->goversion, h->goos,
		h->goarch, h->gomaxprocs, h->green_tea ? "" : "no", h->randomize_heap_base ? "" : "no",
		h->size_specialized_malloc ? ", sizespecializedmalloc" : "", h->runtime_freegc ? ", runtimefreegc" : "");
	printf("replayed   as %s\n", release);
	printf("events     %s; %s\n", show_count(gmt_reader_events(r), n), end_text(end, value, ended));
	char left[640];
	if (gmt_reader_salvaged(r) != NULL) {
		printf("salvaged   %s\n", salvaged_text(r, left));
	}
}

static const char *headline(const verdict_options *opt, const replay_result *res, const tally *all) {
	(void)opt;
	if (res->status == REPLAY_BAD_INPUT) {
		return "not replayed";
	}
	return res->status == REPLAY_EQUAL && all->equal == all->total ? "every decision equal" : "NOT EQUAL";
}

static void print_tally(const char *name, const tally *t) {
	char n[32], m[32];
	printf("  %s %s of %s", name, show_count(t->equal, n), show_count(t->total, m));
}

static void print_text(const verdict_options *opt, const char *path, gmt_reader *r, const replay_result *res) {
	tally all = tally_all(opt, res), objects, spans, arenas;
	tally_headline(res, &objects, &spans, &arenas);
	char n[32], left[640];
	if (opt->quiet) {
		printf("%s: %s (%s):", path, headline(opt, res, &all), res->release);
		print_tally("decisions", &all);
		printf("  %s events, %.2f s", show_count(res->events, n), res->seconds);
		printf("%s%s\n", gmt_reader_salvaged(r) != NULL ? "; salvaged: " : "",
			gmt_reader_salvaged(r) != NULL ? salvaged_text(r, left) : "");
		return;
	}
	print_head(path, r, res->release);
	printf("verdict    %s:", headline(opt, res, &all));
	print_tally("objects", &objects);
	if (!opt->replay.plain) {
		print_tally("spans", &spans);
		print_tally("arenas", &arenas);
	}
	print_tally("all decisions", &all);
	printf("\n\n");
	print_kinds(opt, res);
	print_differences(res);
	if (all.tainted != 0) {
		printf("\n  tainted: %s decisions equal, but after the first difference\n", show_count(all.tainted, n));
	}
	printf("\n");
	print_given(res);
	if (opt->replay.plain) {
		printf("without yield points: only what a caller sees is compared\n");
	}
	if (opt->replay.real_os) {
		printf("real memory: %s objects were to be zero", show_count(res->zero_checked, n));
		printf(" and were (%s bytes)\n", show_count(res->zero_bytes, n));
	}
	printf("%.2f s, ", res->seconds);
	if (!res->stopped && res->seconds > 0) {
		printf("%.1f million events a second, ", (double)res->events / res->seconds / 1e6);
	}
	printf("peak memory %s KiB\n", show_count(show_peak_kib(), n));
}

// ---- JSON

static void json_tally(cJSON *to, const tally *t) {
	cJSON_AddNumberToObject(to, "total", (double)t->total);
	cJSON_AddNumberToObject(to, "equal", (double)t->equal);
	cJSON_AddNumberToObject(to, "tainted", (double)t->tainted);
	cJSON_AddNumberToObject(to, "differ", (double)t->differ);
}

static void json_kinds(const verdict_options *opt, const replay_result *res, cJSON *kinds) {
	for (int k = 0; k < RK_MAX; k++) {
		if (!shown(opt, k)) {
			continue;
		}
		cJSON *one = cJSON_AddObjectToObject(kinds, replay_infos[k].key);
		tally t = {0};
		tally_add(&t, &res->kinds[k]);
		json_tally(one, &t);
		if (res->kinds[k].first[0] != 0) {
			cJSON_AddStringToObject(one, "first", res->kinds[k].first);
		}
	}
}

// print_json: r is NULL if the file was not opened.
static void print_json(const verdict_options *opt, const char *path, const gmt_reader *r, const replay_result *res) {
	static const char *const statuses[] = {"equal", "differs", "bad input"};
	tally all = tally_all(opt, res), objects, spans, arenas;
	tally_headline(res, &objects, &spans, &arenas);
	cJSON *o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "file", path);
	cJSON_AddStringToObject(o, "status", statuses[res->status]);
	if (res->error[0] != 0) {
		cJSON_AddStringToObject(o, "error", res->error);
	}
	if (r != NULL) {
		const gmt_header *h = gmt_reader_header(r);
		cJSON_AddStringToObject(o, "program", h->command);
		cJSON_AddStringToObject(o, "goversion", h->goversion);
		cJSON_AddStringToObject(o, "goarch", h->goarch);
		cJSON_AddNumberToObject(o, "gomaxprocs", h->gomaxprocs);
	}
	char left[640];
	if (r != NULL && gmt_reader_salvaged(r) != NULL) {
		cJSON_AddStringToObject(o, "salvaged", salvaged_text(r, left));
	}
	if (res->release != NULL) {
		cJSON_AddStringToObject(o, "replayed_as", res->release);
	}
	cJSON_AddNumberToObject(o, "events", (double)res->events);
	cJSON_AddNumberToObject(o, "decisions", (double)all.total);
	cJSON_AddNumberToObject(o, "equal", (double)all.equal);
	cJSON_AddNumberToObject(o, "tainted", (double)all.tainted);
	cJSON_AddNumberToObject(o, "differ", (double)all.differ);
	json_tally(cJSON_AddObjectToObject(o, "objects"), &objects);
	json_tally(cJSON_AddObjectToObject(o, "spans"), &spans);
	json_tally(cJSON_AddObjectToObject(o, "arenas"), &arenas);
	json_kinds(opt, res, cJSON_AddObjectToObject(o, "kinds"));
	cJSON *given = cJSON_AddObjectToObject(o, "given");
	for (int k = 0; k < EV_MAX; k++) {
		if (res->given[k] != 0) {
			cJSON_AddNumberToObject(given, gmt_kind((gomem_ev)k)->name, (double)res->given[k]);
		}
	}
	cJSON_AddNumberToObject(given, "marks", (double)res->given_marks);
	if (res->stopped) {
		cJSON_AddNumberToObject(o, "stopped_at", (double)res->stopped_at);
	}
	if (opt->replay.real_os) {
		cJSON_AddNumberToObject(o, "zero_checked", (double)res->zero_checked);
	}
	cJSON_AddNumberToObject(o, "seconds", res->seconds);
	cJSON_AddNumberToObject(o, "peak_kib", (double)show_peak_kib());
	show_object(o);
}

// ---- one file

static replay_status verdict_bad(const verdict_options *opt, const char *path, const char *why) {
	if (opt->json) {
		replay_result none = {.status = REPLAY_BAD_INPUT};
		snprintf(none.error, sizeof(none.error), "%s", why);
		print_json(opt, path, NULL, &none);
	}
	fprintf(stderr, "gomem replay: %s\n", why);
	return REPLAY_BAD_INPUT;
}

// verdict_trace does a Go trace.
static replay_status verdict_trace(const verdict_options *opt, const char *path) {
	const predict_file_options run = {
		.json = opt->json, .quiet = opt->quiet, .salvage = opt->salvage, .mismatches = opt->mismatches};
	const int status = predict_file(path, &run);
	return status == 0 ? REPLAY_EQUAL : status == 1 ? REPLAY_DIFFERS : REPLAY_BAD_INPUT;
}

// fits says whether the options have a meaning for this recording; else why not.
static bool fits(const verdict_options *opt, const char *path, const gmt_reader *r, char why[512]) {
	if (opt->traces != NULL) {
		(void)args_only(path, opt->traces, false, why);
		return false;
	}
	if (opt->replay.plain && gmt_reader_count(r, EV_PINIT) > 1) {
		snprintf(why, 512, "%.400s: several Ps: --plain replays recordings of one P", path);
		return false;
	}
	return true;
}

static replay_status verdict_file(const verdict_options *opt, const char *path) {
	char why[512];
	if (gotrace_is_file(path)) {
		return opt->recordings == NULL ? verdict_trace(opt, path)
									   : verdict_bad(opt, path, args_only(path, opt->recordings, true, why));
	}
	gmt_error err;
	gmt_reader *r = gmt_open_with(path, (gmt_options){.salvage = opt->salvage}, &err);
	if (r == NULL) {
		return verdict_bad(opt, path, err.text);
	}
	if (!fits(opt, path, r, why)) {
		gmt_close(r);
		return verdict_bad(opt, path, why);
	}
	replay_result *res = calloc(1, sizeof(*res));
	if (res == NULL) {
		gmt_close(r);
		return verdict_bad(opt, path, "out of memory");
	}
	show_progress progress = {0};
	replay_options run = opt->replay;
	run.progress = show_progress_on();
	run.progress_ctx = &progress;
	replay_run(r, &run, res);
	show_progress_end(&progress);
	tally all = tally_all(opt, res);
	// Not all compared is not equal, whatever the reason.
	if (res->status == REPLAY_EQUAL && all.equal != all.total) {
		res->status = REPLAY_DIFFERS;
	}
	replay_status status = res->status;
	if (opt->json) {
		print_json(opt, path, r, res);
	} else if (status != REPLAY_BAD_INPUT) {
		print_text(opt, path, r, res);
	}
	if (status == REPLAY_BAD_INPUT) {
		bool named = strstr(res->error, path) != NULL;
		fprintf(stderr, "gomem replay: %s%s%s\n", named ? "" : path, named ? "" : ": ", res->error);
	}
	free(res);
	gmt_close(r);
	return status;
}

static bool parse_count(const char *text, uint32_t *n) {
	char *end;
	const unsigned long v = strtoul(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end != 0 || v > maxMismatches) {
		return false;
	}
	*n = (uint32_t)v;
	return true;
}

static bool parse_os(const char *text, bool *real) {
	*real = strcmp(text, "real") == 0;
	return *real || strcmp(text, "sim") == 0;
}

// takes_value reads an option with a value. false: there is no such option, or its value is missing or wrong.
static bool takes_value(int argc, char **argv, int *i, verdict_options *opt) {
	const char *value = NULL;
	if (args_takes(argc, argv, i, "--mismatches", &value)) {
		opt->traces = "--mismatches";
		return value != NULL && parse_count(value, &opt->mismatches);
	}
	if (args_takes(argc, argv, i, "--go", &value)) {
		opt->recordings = "--go";
		opt->replay.release = value;
		return value != NULL && layout_versionOf(value) != NULL;
	}
	if (args_takes(argc, argv, i, "--os", &value)) {
		opt->recordings = "--os";
		return value != NULL && parse_os(value, &opt->replay.real_os);
	}
	return false;
}

// parse_option reads the option at argv[*i]. false: there is no such option, or its value is missing or wrong.
static bool parse_option(int argc, char **argv, int *i, verdict_options *opt) {
	const char *a = argv[*i];
	bool *const flag = strcmp(a, "--json") == 0 ? &opt->json
		: strcmp(a, "--quiet") == 0             ? &opt->quiet
		: strcmp(a, "--plain") == 0             ? &opt->replay.plain
		: strcmp(a, "--salvage") == 0           ? &opt->salvage
												: NULL;
	if (flag == NULL) {
		return takes_value(argc, argv, i, opt);
	}
	*flag = true;
	opt->recordings = opt->replay.plain ? "--plain" : opt->recordings;
	return true;
}

// parse_options moves the files to argv[1] and what follows, and returns how many there are; 0 to end with *status.
static int parse_options(int argc, char **argv, verdict_options *opt, int *status) {
	int files = 0;
	bool only_files = false;
	*status = REPLAY_BAD_INPUT;
	for (int i = 1; i < argc; i++) {
		const char *a = argv[i];
		if (only_files || a[0] != '-') {
			argv[++files] = argv[i];
		} else if (strcmp(a, "--") == 0) {
			only_files = true;
		} else if (strcmp(a, "--help") == 0 || strcmp(a, "-h") == 0) {
			fputs(usageText, stdout);
			*status = 0;
			return 0;
		} else if (!parse_option(argc, argv, &i, opt)) {
			fprintf(stderr, "gomem replay: unknown option, or a value is missing or wrong: %s%s%s\n%s", a,
				a != argv[i] ? " " : "", a != argv[i] ? argv[i] : "", usageText);
			return 0;
		}
	}
	if (files == 0) {
		fprintf(stderr, "gomem replay: no recording given\n%s", usageText);
	}
	return files;
}

int gomem_replay_main(int argc, char **argv) {
	verdict_options opt = {.mismatches = defaultMismatches};
	int status;
	const int files = parse_options(argc, argv, &opt, &status);
	if (files == 0) {
		return status;
	}
	status = REPLAY_EQUAL;
	for (int i = 1; i <= files; i++) {
		if (i > 1 && !opt.json && !opt.quiet) {
			printf("\n");
		}
		replay_status one = verdict_file(&opt, argv[i]);
		status = (int)one > status ? (int)one : status;
		// A verdict that nobody can read is not a good one.
		if (fflush(stdout) != 0 || ferror(stdout) != 0) {
			fprintf(stderr, "gomem replay: cannot write: %s\n", strerror(errno));
			return REPLAY_BAD_INPUT;
		}
	}
	return status;
}
