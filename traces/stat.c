// stat.c: `gomem stat` and `gomem report`: a heap over time, as text, JSON, a profile, a Perfetto trace, or a page.
#include "traces/stat.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "cli/args.h"
#include "cli/commands.h"
#include "traces/output.h"
#include "traces/report.h"
#include "traces/show.h"

enum { EXIT_BAD = 2, COLUMNS = 480, ROWS = 320, TYPES_SHOWN = 15 };

static const char statUsage[] =
	"usage: gomem stat [options] FILE\n"
	"\n"
	"What a Go program's heap looked like over time. FILE is a recording (gomem record), or a trace that stock Go >= 1.23\n"
	"wrote with GODEBUG=traceallocfree=1. Prints findings, span classes, lifetimes, pages, stacks, and types (traces only).\n"
	"\n"
	"  --json             print all of it as JSON: what `gomem report` shows, map and series as well (docs/REPORT.md)\n"
	"  --all              small span classes as well\n"
	"  --types N          rows in the table of types (15); traces only: a recording has none\n"
	"  --pprof OUT.pb.gz  write a profile for `go tool pprof`: in-use (at the peak) and allocated objects and bytes\n"
	"  --perfetto OUT     write counters and GC cycles for ui.perfetto.dev, as JSON\n"
	"  --salvage          of a damaged file, take what is before the damage, and say how much that is\n"
	"\n"
	"Exit status: 0 done, 2 bad usage or bad input.\n";

static const char reportUsage[] =
	"usage: gomem report [--salvage] [-o OUT.html] FILE\n"
	"\n"
	"Writes one page about a Go program's heap: map of addresses over time, bytes in use, occupancy by size class, types,\n"
	"lifetimes, pages, stacks, findings. It needs no network and no other file. FILE is a recording (gomem record), or a\n"
	"trace that stock Go >= 1.23 wrote with GODEBUG=traceallocfree=1.\n"
	"\n"
	"  -o OUT.html   where to (report.html)\n"
	"  --salvage     of a damaged file, take what is before the damage, and say how much that is\n"
	"\n"
	"Exit status: 0 done, 2 bad usage or bad input.\n";

typedef struct stat_options {
	const char *file, *pprof, *perfetto, *out;
	unsigned types;
	bool json, all, salvage, help;
	bool traces; // an option was given that applies to traces only: --types
} stat_options;

static int complain(const char *command, const char *text) {
	(void)fprintf(stderr, "gomem %s: %s\n", command, text);
	return EXIT_BAD;
}

static bool read_file(const stat_options *o, census_source *to, gmt_error *err) {
	show_progress progress = {0};
	census_read_options options = {.columns = COLUMNS,
		.rows = ROWS,
		.salvage = o->salvage,
		.progress = show_progress_on(),
		.progress_ctx = &progress};
	bool good = census_read(o->file, &options, to, err);
	show_progress_end(&progress);
	return good;
}

// ---- options

static bool parse_types(const char *text, unsigned *to) {
	char *end = NULL;
	unsigned long n = strtoul(text, &end, 10);
	*to = (unsigned)n;
	return end != text && *end == 0 && n <= 1000000 && text[0] != '-';
}

// takes_value reads an option with a value. 1: done, 0: another option, -1: its value is missing or wrong.
static int takes_value(int argc, char **argv, int *i, stat_options *o, bool report) {
	const char *value = NULL;
	if (report) {
		if (!args_takes(argc, argv, i, "-o", &value)) {
			return 0;
		}
		o->out = value;
	} else if (args_takes(argc, argv, i, "--pprof", &value)) {
		o->pprof = value;
	} else if (args_takes(argc, argv, i, "--perfetto", &value)) {
		o->perfetto = value;
	} else if (args_takes(argc, argv, i, "--types", &value)) {
		o->traces = true;
		return value != NULL && parse_types(value, &o->types) ? 1 : -1;
	} else {
		return 0;
	}
	return value != NULL ? 1 : -1;
}

static bool parse(int argc, char **argv, stat_options *o, bool report) {
	bool files = false;
	for (int i = 1; i < argc; i++) {
		const char *a = argv[i];
		int value = files ? 0 : takes_value(argc, argv, &i, o, report);
		if (value < 0) {
			return false;
		}
		if (value > 0) {
			continue;
		}
		if (!files && strcmp(a, "--") == 0) {
			files = true;
		} else if (!files && (strcmp(a, "--help") == 0 || strcmp(a, "-h") == 0)) {
			o->help = true;
			return true;
		} else if (!files && strcmp(a, "--salvage") == 0) {
			o->salvage = true;
		} else if (!files && !report && strcmp(a, "--json") == 0) {
			o->json = true;
		} else if (!files && !report && strcmp(a, "--all") == 0) {
			o->all = true;
		} else if (o->file == NULL && (files || a[0] != '-')) {
			o->file = a;
		} else {
			return false;
		}
	}
	return o->file != NULL;
}

// ---- stat

static int print_json(const cJSON *json) {
	char *text = show_json(json);
	if (text == NULL) {
		return complain("stat", "out of memory");
	}
	(void)puts(text);
	cJSON_free(text);
	return 0;
}

static bool isDash(const char *path) { return path != NULL && strcmp(path, "-") == 0; }

static int stat_print(const stat_options *o, const census_source *s) {
	cJSON *json = stat_json(o->file, s);
	if (json == NULL) {
		return complain("stat", "out of memory");
	}
	int result = 0;
	if (o->json) {
		result = print_json(json);
	} else {
		stat_text(stdout, json, o->types, o->all);
	}
	cJSON_Delete(json);
	return result;
}

int gomem_stat_main(int argc, char **argv) {
	stat_options o = {.types = TYPES_SHOWN};
	if (!parse(argc, argv, &o, false)) {
		(void)fprintf(
			stderr, "gomem stat: one file is needed; or an option is unknown or lacks its value\n%s", statUsage);
		return EXIT_BAD;
	}
	if (o.help) {
		(void)fputs(statUsage, stdout);
		return 0;
	}
	if (isDash(o.pprof) || isDash(o.perfetto)) {
		return complain("stat", "-: name a file; the tables go to standard output");
	}
	if (o.pprof != NULL && o.perfetto != NULL && strcmp(o.pprof, o.perfetto) == 0) {
		return complain("stat", "--pprof and --perfetto name the same file");
	}
	gmt_error err;
	census_source s;
	if (!read_file(&o, &s, &err)) {
		return complain("stat", err.text);
	}
	if (o.traces && !s.trace) {
		census_source_free(&s);
		return complain("stat", args_only(o.file, "--types", false, err.text));
	}
	bool good = (o.pprof == NULL || stat_pprof(o.pprof, o.file, &s, &err)) &&
		(o.perfetto == NULL || stat_perfetto(o.perfetto, o.file, &s, &err));
	int result = good ? stat_print(&o, &s) : complain("stat", err.text);
	census_source_free(&s);
	return result;
}

// ---- report

static const report_file *part(const char *name) {
	for (size_t i = 0; i < report_nfiles; i++) {
		if (strcmp(report_files[i].name, name) == 0) {
			return &report_files[i];
		}
	}
	return NULL;
}

// put_json writes the JSON so that nothing in it ends the script element: every < is written as \u003c, which means the same in JSON.
static void put_json(FILE *out, const char *json) {
	for (; *json != 0; json++) {
		if (*json == '<') {
			(void)fputs("\\u003c", out);
		} else {
			(void)fputc(*json, out);
		}
	}
}

// put_page writes the template; where it has {{NAME}}, that file stands, or for {{DATA}} the JSON.
static bool put_page(FILE *out, const report_file *page, const char *json) {
	const char *p = (const char *)page->data, *end = p + page->size;
	while (p < end) {
		const char *mark = memmem(p, (size_t)(end - p), "{{", 2);
		const char *close = mark == NULL ? NULL : memmem(mark, (size_t)(end - mark), "}}", 2);
		if (close == NULL) {
			(void)fwrite(p, 1, (size_t)(end - p), out);
			return true;
		}
		(void)fwrite(p, 1, (size_t)(mark - p), out);
		char name[64];
		(void)snprintf(name, sizeof(name), "%.*s", (int)(close - mark - 2), mark + 2);
		const report_file *other = part(name);
		if (strcmp(name, "DATA") == 0) {
			put_json(out, json);
		} else if (other != NULL) {
			(void)fwrite(other->data, 1, other->size, out);
		} else {
			return false;
		}
		p = close + 2;
	}
	return true;
}

static int report_write(const stat_options *o, const census_source *s) {
	const char *path = o->out == NULL ? "report.html" : o->out;
	cJSON *json = stat_json(o->file, s);
	char *text = show_json(json);
	cJSON_Delete(json);
	if (text == NULL) {
		return complain("report", "out of memory");
	}
	if (isDash(path)) {
		(void)put_page(stdout, part("report.html"), text); // if it can't be written, the command's end says so
		cJSON_free(text);
		return 0;
	}
	output out;
	gmt_error err;
	bool good = output_open(&out, path, o->file, &err);
	if (good) {
		const bool put = put_page(out.f, part("report.html"), text);
		good = output_close(&out, put, &err);
	}
	cJSON_free(text);
	if (!good) {
		return complain("report", err.text);
	}
	(void)printf("%s\n", path);
	return 0;
}

int gomem_report_main(int argc, char **argv) {
	stat_options o = {0};
	if (!parse(argc, argv, &o, true)) {
		(void)fprintf(
			stderr, "gomem report: one file is needed; or an option is unknown or lacks its value\n%s", reportUsage);
		return EXIT_BAD;
	}
	if (o.help) {
		(void)fputs(reportUsage, stdout);
		return 0;
	}
	gmt_error err;
	census_source s;
	if (!read_file(&o, &s, &err)) {
		return complain("report", err.text);
	}
	int result = report_write(&o, &s);
	census_source_free(&s);
	return result;
}
