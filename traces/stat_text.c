// stat_text.c: the JSON of a census as tables for a terminal. All figures are those of the JSON.
#include "traces/show.h"
#include "traces/stat.h"

#include <inttypes.h>
#include <string.h>

static const cJSON *get(const cJSON *o, const char *name) { return cJSON_GetObjectItemCaseSensitive(o, name); }

static uint64_t num(const cJSON *o, const char *name) {
	const cJSON *v = get(o, name);
	return cJSON_IsNumber(v) && v->valuedouble > 0 ? (uint64_t)v->valuedouble : 0;
}

static const char *str(const cJSON *o, const char *name) {
	const char *s = cJSON_GetStringValue(get(o, name));
	return s == NULL ? "" : s;
}

static void print_at(FILE *out, const cJSON *json, uint64_t at) {
	char n[32];
	if (strcmp(str(json, "axis"), "ns") == 0) {
		(void)fprintf(out, "%.3f s", (double)at / 1e9);
	} else {
		(void)fprintf(out, "event %s", show_count(at, n));
	}
}

static void print_head(FILE *out, const cJSON *j) {
	char n[32];
	(void)fprintf(out, "file        ");
	show_text(out, str(j, "file"), 400);
	(void)fprintf(out, " (%s)\n", strcmp(str(j, "kind"), "trace") == 0 ? "a trace of stock Go" : "a recording");
	if (str(j, "program")[0] != 0) {
		(void)fprintf(out, "program     ");
		show_text(out, str(j, "program"), 100);
		(void)fprintf(out, "\n");
	}
	(void)fprintf(out, "recorded    %s", str(j, "go"));
	if (num(j, "gomaxprocs") != 0) {
		(void)fprintf(out, ", GOMAXPROCS %" PRIu64, num(j, "gomaxprocs"));
	}
	(void)fprintf(out, ", %s events", show_count(num(j, "events"), n));
	if (strcmp(str(j, "axis"), "ns") == 0) {
		(void)fprintf(out, ", %.3f s", (double)num(j, "length") / 1e9);
	}
	(void)fprintf(out, "\n");
	if (str(j, "salvaged")[0] != 0) {
		(void)fprintf(out, "salvaged    ");
		show_text(out, str(j, "salvaged"), SIZE_MAX);
		(void)fprintf(out, "\n");
	}
}

static void print_totals(FILE *out, const cJSON *j) {
	const cJSON *t = get(j, "totals"), *p = get(j, "peak");
	char a[32], b[32], c[32], d[32];
	(void)fprintf(
		out, "allocated   %s in %s slots", stat_bytes(num(t, "taken_bytes"), a), show_count(num(t, "taken"), b));
	if (num(t, "tiny") != 0) {
		(void)fprintf(out, ", and %s tiny objects put into slots that were there", show_count(num(t, "tiny"), c));
	}
	if (num(t, "at_start") != 0) {
		(void)fprintf(out, "\n            of these, %s in %s slots were there as the trace began",
			stat_bytes(num(t, "at_start_bytes"), a), show_count(num(t, "at_start"), b));
	}
	(void)fprintf(out, "\nfreed       %s in %s slots, by %s GC cycles\n", stat_bytes(num(t, "freed_bytes"), a),
		show_count(num(t, "freed"), b), show_count(num(t, "cycles"), c));
	(void)fprintf(
		out, "at the end  %s in %s slots\n", stat_bytes(num(t, "alive_bytes"), a), show_count(num(t, "alive"), b));
	(void)fprintf(
		out, "peak        %s in %s spans, at ", stat_bytes(num(p, "span_bytes"), a), show_count(num(p, "spans"), b));
	print_at(out, j, num(p, "at"));
	(void)fprintf(out, ": %s in slots, %s free slots, %s tails", stat_bytes(num(p, "used_bytes"), a),
		stat_bytes(num(p, "free_bytes"), b), stat_bytes(num(p, "tail_bytes"), c));
	if (get(p, "waste_bytes") != NULL) {
		(void)fprintf(out, "; %s asked for", stat_bytes(num(p, "requested_bytes"), d));
	}
	(void)fprintf(out, "\n            and %s of stack and work buffer spans\n", stat_bytes(num(p, "manual_bytes"), a));
}

// print_odd: what a file says that does not fit together, if there is any.
static void print_odd(FILE *out, const cJSON *j) {
	const cJSON *one, *odd = get(get(j, "totals"), "odd");
	const char *sep = "odd        ";
	char n[32];
	cJSON_ArrayForEach(one, odd) {
		if (num(odd, one->string) != 0) {
			(void)fprintf(out, "%s %s %s", sep, show_count(num(odd, one->string), n), one->string);
			sep = ",";
		}
	}
	(void)fprintf(out, "%s", sep[0] == ',' ? " (docs/REPORT.md)\n" : "");
}

static void print_findings(FILE *out, const cJSON *j) {
	const cJSON *one;
	(void)fprintf(out, "\nFINDINGS\n");
	cJSON_ArrayForEach(one, get(j, "findings")) {
		(void)fprintf(out, "  - ");
		show_text(out, str(one, "text"), 400);
		(void)fprintf(out, "\n");
	}
}

static void print_class(FILE *out, const cJSON *one, bool sizes) {
	const cJSON *p = get(one, "peak");
	char a[32], b[32], c[32], d[32], e[32], f[32];
	(void)fprintf(out, "  %-14s %8s %11s %12s %12s %4.0f %% %7" PRIu64 " %7" PRIu64 " %7" PRIu64 " %11s %10s",
		str(one, "name"), show_count(num(p, "spans"), a), stat_bytes(num(p, "span_bytes"), b),
		show_count(num(p, "slots"), c), show_count(num(p, "used"), d), stat_percent(num(p, "used"), num(p, "slots")),
		num(p, "full"), num(p, "partly"), num(p, "empty"), stat_bytes(num(p, "free_bytes"), e),
		stat_bytes(num(p, "tail_bytes"), f));
	if (sizes) {
		(void)fprintf(out, " %11s", stat_bytes(num(p, "waste_bytes"), a));
	}
	(void)fprintf(out, "\n");
}

// print_classes leaves out, unless all are wanted, those with less than half a percent of the spans' bytes.
static void print_classes(FILE *out, const cJSON *j, bool all) {
	const cJSON *one;
	bool sizes = strcmp(str(j, "kind"), "recording") == 0;
	uint64_t whole = num(get(j, "peak"), "span_bytes"), left = 0, bytes = 0;
	char n[32];
	(void)fprintf(out,
		"\nSPAN CLASSES at the peak: spans with all, some, no slots taken; bytes in free slots, in no slot%s\n",
		sizes ? ", in slots but not asked for" : "");
	(void)fprintf(out, "  %-14s %8s %11s %12s %12s %6s %7s %7s %7s %11s %10s%s\n", "class", "spans", "bytes", "slots",
		"taken", "taken", "full", "partly", "empty", "free slots", "tails", sizes ? "   not asked" : "");
	cJSON_ArrayForEach(one, get(j, "span_classes")) {
		uint64_t here = num(get(one, "peak"), "span_bytes");
		if (here != 0 && (all || here * 200 >= whole)) {
			print_class(out, one, sizes);
		} else if (here != 0) {
			left++, bytes += here;
		}
	}
	if (left != 0) {
		(void)fprintf(out, "  %" PRIu64 " smaller ones %19s  (--all)\n", left, stat_bytes(bytes, n));
	}
}

static void print_lives(FILE *out, const cJSON *j) {
	const cJSON *one, *t = get(j, "totals");
	char a[32], b[32];
	(void)fprintf(out, "\nLIFETIMES: the GC cycle after its birth that found an object dead\n");
	cJSON_ArrayForEach(one, get(j, "lives")) {
		if (num(one, "objects") != 0) {
			(void)fprintf(out, "  %-14s %14s slots %5.1f%% %12s %5.1f%%\n", str(one, "cycles"),
				show_count(num(one, "objects"), a), stat_percent(num(one, "objects"), num(t, "taken")),
				stat_bytes(num(one, "bytes"), b), stat_percent(num(one, "bytes"), num(t, "taken_bytes")));
		}
	}
	(void)fprintf(out, "  %-14s %14s slots %5.1f%% %12s %5.1f%%\n", "not found dead", show_count(num(t, "alive"), a),
		stat_percent(num(t, "alive"), num(t, "taken")), stat_bytes(num(t, "alive_bytes"), b),
		stat_percent(num(t, "alive_bytes"), num(t, "taken_bytes")));
}

static void print_pages(FILE *out, const cJSON *j) {
	const cJSON *one, *p = get(get(j, "peak"), "pages");
	char a[32], b[32];
	(void)fprintf(out, "\nPAGES at the peak: %s of address range, %s in spans, ",
		stat_bytes(num(p, "extent") * CENSUS_PAGE, a), stat_bytes(num(p, "spans") * CENSUS_PAGE, b));
	(void)fprintf(out, "%s free between them, the longest run %s\n", stat_bytes(num(p, "free") * CENSUS_PAGE, a),
		stat_bytes(num(p, "largest_run") * CENSUS_PAGE, b));
	cJSON_ArrayForEach(one, get(p, "runs")) {
		if (num(one, "runs") != 0) {
			(void)fprintf(out, "  runs of %-14s pages %8s runs %12s\n", str(one, "pages"),
				show_count(num(one, "runs"), a), stat_bytes(num(one, "free") * CENSUS_PAGE, b));
		}
	}
}

static void print_stacks(FILE *out, const cJSON *j) {
	const cJSON *one;
	char a[32], b[32], c[32];
	(void)fprintf(out, "\nSTACKS at the peak: %s in use\n", stat_bytes(num(get(j, "peak"), "stack_bytes"), a));
	cJSON_ArrayForEach(one, get(get(j, "peak"), "stacks")) {
		(void)fprintf(out, "  %10s %10s in use %14s taken so far\n", stat_bytes(num(one, "bytes"), a),
			show_count(num(one, "count"), b), show_count(num(one, "taken"), c));
	}
}

static void print_types(FILE *out, const cJSON *j, unsigned most) {
	const cJSON *one;
	unsigned n = 0;
	if (cJSON_GetArraySize(get(j, "types")) == 0) {
		(void)fprintf(out, "\nTYPES: a recording holds none; a trace of stock Go does (docs/REPORT.md)\n");
		return;
	}
	(void)fprintf(out,
		"\nTYPES by bytes at the peak (retained: free slots that their objects keep from going)\n  %11s %12s %12s %11s %12s %12s  type\n",
		"bytes", "slots", "retained", "bytes", "allocated", "bytes");
	cJSON_ArrayForEach(one, get(j, "types")) {
		char a[32], b[32], c[32], d[32], e[32], f[32];
		if (n++ == most) {
			(void)fprintf(out, "  ... and %d more (--types N)\n", cJSON_GetArraySize(get(j, "types")) - (int)most);
			return;
		}
		(void)fprintf(out, "  %11s %12s %12s %11s %12s %12s  ", stat_bytes(num(one, "used_bytes"), a),
			show_count(num(one, "used"), b), show_count(num(one, "retained_slots"), c),
			stat_bytes(num(one, "retained_bytes"), d), show_count(num(one, "taken"), e),
			stat_bytes(num(one, "taken_bytes"), f));
		show_text(out, str(one, "name"), 100);
		(void)fprintf(out, "\n");
	}
}

void stat_text(FILE *out, const cJSON *json, unsigned types, bool all) {
	print_head(out, json);
	print_totals(out, json);
	print_odd(out, json);
	print_findings(out, json);
	print_classes(out, json, all);
	print_lives(out, json);
	print_pages(out, json);
	print_stacks(out, json);
	print_types(out, json, types);
}
