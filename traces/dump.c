// dump.c: `gomem dump` and `gomem info`: what a recording holds, as text.
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/args.h"
#include "cli/commands.h"
#include "traces/gmt.h"
#include "traces/gotrace.h"
#include "traces/gotrace_info.h"
#include "traces/show.h"

enum { EXIT_BAD = 2 };

static const char dumpUsage[] =
	"usage: gomem dump [--from N] [--count N] [--salvage] FILE\n"
	"\n"
	"Prints the events of a recording (.gmt), one a line: number, stream (P3: P number 3; M1: the second M without a P), kind,\n"
	"fields. docs/FORMAT.md explains them. Or those of a Go execution trace: number, time, thread, P, kind, fields (docs/TRACES.md).\n"
	"Events are numbered from 0.\n"
	"\n"
	"  --from N    begin with event N\n"
	"  --count N   print N events at most\n"
	"  --salvage   of a damaged file, take what is before the damage, and say on stderr how much that is\n"
	"\n"
	"Exit status: 0 done, 2 bad usage or bad input.\n";

static const char infoUsage[] =
	"usage: gomem info [--verify] [--salvage] FILE...\n"
	"\n"
	"Prints what recordings (.gmt) hold: program, Go version, how it ended, events by kind; or Go execution traces\n"
	"(docs/TRACES.md), plain or compressed by gzip or zstd: Go version, generations, types, events by kind.\n"
	"\n"
	"  --verify    recordings: read all events as well: each hash and count is checked\n"
	"              traces, which are always read in full: count the events of each type of the format, too\n"
	"  --salvage   of a damaged file, take what is before the damage, and say how much that is\n"
	"\n"
	"Exit status: 0 done, 2 bad usage or bad input.\n";

// How the fields of each kind are printed: for each of a..d a list of parts "name:form" or "name:form<bits", lowest bits first; a field
// without a name is not printed. Forms: d number, x address or bits, s span, f malloc flags, p malloc path.
static const char *const forms[EV_MAX][4] = {
	[EV_MALLOC] = {"size:d", "flags:f", "path:p", "address:x"},
	[EV_MALLOCBEGIN] = {"size:d", "flags:f"},
	[EV_STACKALLOC] = {"bytes:d", "bypass:d"},
	[EV_STACKFREE] = {"address:x", "bytes:d", "bypass:d"},
	[EV_ALLOCMANUAL] = {"npages:d"},
	[EV_FREEMANUAL] = {"base:x"},
	[EV_ENSURESWEPT] = {"base:x"},
	[EV_RECLAIM] = {"base:x"},
	[EV_SWEEPACTIVE] = {"active:d"},
	[EV_SCAVENGE] = {"bytes:d", "force:d"},
	[EV_PREPARESWEEP] = {"p:d"},
	[EV_FLUSHMCACHE] = {"p:d"},
	[EV_FLUSHPCACHE] = {"p:d"},
	[EV_GCPHASE] = {"phase:d"},
	[EV_SWEEPGEN] = {"sweepgen:d"},
	[EV_PINIT] = {"p:d"},
	[EV_PDESTROY] = {"p:d"},
	[EV_FREEGC] = {"address:x", "size:d", "noscan:d"},
	[EV_MALLOCEND] = {"path:p", "address:x"},
	[EV_STACKEND] = {"address:x"},
	[EV_REFILL] = {"class:d", "old:s"},
	[EV_REFILLEND] = {"class:d<8 freeindex:d", "span:s", "cache:x", "count:d<16 nelems:d"},
	[EV_PUSH] = {"set:d<10 slot:d", "span:s"},
	[EV_POP] = {"set:d<10 slot:d", "span:s"},
	[EV_SCLOAD] = {"class:d"},
	[EV_SCUPDATE] = {"class:d"},
	[EV_ACQUIRE] = {"ok:d", "span:s", "reason:d"},
	[EV_SWEEP] = {"preserve:d<1 nelems:d<16 count:d<16 freeindex:d", "span:s", "base:x", "npages:d<32 live:d"},
	[EV_PCREFILL] = {"base:x", "cache:x", "scav:x"},
	[EV_PALLOC] = {"npages:d", "base:x", "scav:d", "search:x"},
	[EV_MSPANALLOC] = {NULL, "span:s"},
	[EV_PCALLOC] = {"npages:d", "base:x", "scav:d"},
	[EV_PCFLUSH] = {"p:d", "base:x", "cache:x", "scav:x"},
	[EV_NEEDZERO] = {"base:x", "npages:d", "needzero:d"},
	[EV_SPANINIT] = {"type:d<2 class:d<8 needzero:d<1 nelems:d", "span:s", "base:x", "npages:d<32 scavpages:d"},
	[EV_SPANFREE] = {"type:d", "span:s", "base:x", "npages:d"},
	[EV_RESERVE] = {"asked:x", "size:d", "aligned:d", "granted:x"},
	[EV_ARENA] = {"address:x", "size:d", "asked:d"},
	[EV_PGROW] = {"base:x", "size:d"},
	[EV_RANDPAD] = {"base:x", "npages:d"},
	[EV_SCAVFIND] = {"chunk:d", "page:d"},
	[EV_SCAVBEGIN] = {"base:x", "npages:d"},
	[EV_SCAVEND] = {"base:x", "npages:d"},
	[EV_SCAVEMPTY] = {"chunk:d"},
	[EV_SPOOLALLOC] = {"order:d", "address:x"},
	[EV_SPOOLFREE] = {"order:d<8 phase:d", "address:x"},
	[EV_STACKSCAN] = {"order:d"},
	[EV_SLARGEPOP] = {"log2:d", "address:x"},
	[EV_SLARGEPUSH] = {"log2:d", "address:x"},
	[EV_HINT] = {"list:d", "address:x"},
};

static const char *path_name(uint64_t path) {
	static const char *const names[] = {"tiny-hit", "tiny-new", "noscan", "scan", "scan-header", "large", "reuse"};
	return path < sizeof(names) / sizeof(names[0]) ? names[path] : "?";
}

static void print_value(char form, uint64_t v) {
	static const char *const flags[] = {"-", "noscan", "zero", "noscan,zero"};
	switch (form) {
	case 'x':
		printf("0x%" PRIx64, v);
		return;
	case 's':
		if (v == 0) {
			printf("none");
			return;
		}
		printf("#%" PRIu64, v);
		return;
	case 'p':
		printf("%s", path_name(v));
		return;
	case 'f':
		printf("%s", v < 4 ? flags[v] : "?");
		return;
	default:
		printf("%" PRIu64, v);
	}
}

// print_field prints one of a..d by its form.
static void print_field(const char *form, uint64_t v) {
	while (form != NULL && *form != 0) {
		size_t name = strcspn(form, ":");
		char how = form[name + 1];
		const char *rest = form + name + 2;
		uint64_t part = v;
		if (*rest == '<') {
			char *end = NULL;
			unsigned bits = (unsigned)strtoul(rest + 1, &end, 10) & 63;
			part = v & (((uint64_t)1 << bits) - 1);
			v >>= bits;
			rest = end;
		}
		printf(" %.*s=", (int)name, form);
		print_value(how, part);
		form = rest + strspn(rest, " ");
	}
}

static void print_event(uint64_t number, const gmt_block *b, const gmt_event *e) {
	bool m = e->stream >= GMT_STREAM_M;
	printf("%" PRIu64 " %c%u %s", number, m ? 'M' : 'P', m ? e->stream - GMT_STREAM_M : e->stream,
		gmt_kind((gomem_ev)e->kind)->name);
	const uint64_t fields[4] = {e->a, e->b, e->c, e->d};
	for (unsigned i = 0; i < 4; i++) {
		print_field(forms[e->kind][i], fields[i]);
	}
	for (unsigned i = 0; i < e->nmarks; i++) {
		printf("%s%016" PRIx64, i == 0 ? " marks=" : ",", b->marks[e->mark_index + i]);
	}
	(void)putchar('\n');
}

static bool parse_number(const char *text, uint64_t *to) {
	char *end = NULL;
	errno = 0;
	*to = strtoull(text, &end, 0);
	return errno == 0 && end != text && *end == 0 && strchr(text, '-') == NULL;
}

static int complain(const char *command, const char *text) {
	(void)fprintf(stderr, "gomem %s: %s\n", command, text);
	return EXIT_BAD;
}

static bool is_help(int argc, char **argv) {
	return argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0);
}

// print_events prints count events of r, which stands at a block that holds event from.
static int print_events(gmt_reader *r, uint64_t from, uint64_t count, gmt_error *err) {
	gmt_block b;
	int got = 1;
	while (count > 0 && !ferror(stdout) && (got = gmt_next(r, &b, err)) > 0) {
		for (uint32_t i = from > b.first ? (uint32_t)(from - b.first) : 0; i < b.n && count > 0; i++, count--) {
			print_event(b.first + i, &b, &b.events[i]);
		}
	}
	return got < 0 ? -1 : 0;
}

int gomem_dump_main(int argc, char **argv) {
	uint64_t from = 0;
	uint64_t count = UINT64_MAX;
	bool salvage = false;
	const char *file = NULL;
	if (is_help(argc, argv)) {
		(void)fputs(dumpUsage, stdout);
		return 0;
	}
	for (int i = 1; i < argc; i++) {
		const char *value = NULL;
		bool is_from = args_takes(argc, argv, &i, "--from", &value);
		if (is_from || args_takes(argc, argv, &i, "--count", &value)) {
			if (value == NULL || !parse_number(value, is_from ? &from : &count)) {
				return complain("dump", "--from and --count need a number");
			}
		} else if (strcmp(argv[i], "--salvage") == 0) {
			salvage = true;
		} else if (file == NULL && argv[i][0] != '-') {
			file = argv[i];
		} else {
			(void)fputs(dumpUsage, stderr);
			return EXIT_BAD;
		}
	}
	if (file == NULL) {
		(void)fputs(dumpUsage, stderr);
		return EXIT_BAD;
	}
	gmt_error err;
	if (gotrace_is_file(file)) {
		return gotrace_dump(file, from, count, salvage, &err) == 0 ? 0 : complain("dump", err.text);
	}
	gmt_reader *r = gmt_open_with(file, (gmt_options){.salvage = salvage}, &err);
	if (r == NULL) {
		return complain("dump", err.text);
	}
	if (gmt_reader_salvaged(r) != NULL) {
		show_left("dump", gmt_reader_events(r), gmt_reader_salvaged(r));
	}
	int result = from == 0 ? 0 : gmt_seek(r, from, &err);
	result = result == 0 ? print_events(r, from, count, &err) : result;
	gmt_close(r);
	return result == 0 ? 0 : complain("dump", err.text);
}

static void print_end(const gmt_reader *r) {
	uint64_t value = 0;
	switch (gmt_reader_end(r, &value)) {
	case GMT_END_EXIT:
		printf("end         the program exited with code %" PRIu64 "\n", value);
		return;
	case GMT_END_SIGNAL:
		printf("end         signal %" PRIu64 " (%s)\n", value, value < NSIG ? strsignal((int)value) : "?");
		return;
	case GMT_END_DISK:
		printf("end         recording stopped: the disk was full (%s)\n", value < 4096 ? strerror((int)value) : "?");
		return;
	case GMT_END_ERROR:
		printf("end         recording stopped: %s\n", value < 4096 ? strerror((int)value) : "?");
		return;
	case GMT_END_EXEC:
		printf("end         the program replaced itself by another (exec)\n");
		return;
	default:
		printf("end         not known\n");
	}
}

static void print_text(const char *label, const char *text) {
	printf("%-11s ", label);
	show_text(stdout, text, SIZE_MAX);
	(void)putchar('\n');
}

static void print_info(const gmt_reader *r) {
	const gmt_header *h = gmt_reader_header(r);
	print_text("program", h->command);
	print_text("Go", h->goversion);
	char platform[sizeof(h->goos) + sizeof(h->goarch)];
	(void)snprintf(platform, sizeof(platform), "%s/%s", h->goos, h->goarch);
	print_text("platform", platform);
	print_text("experiments", h->goexperiment[0] != 0 ? h->goexperiment : "none");
	print_text("GODEBUG", h->godebug[0] != 0 ? h->godebug : "none");
	printf("GOMAXPROCS  %" PRIu32 "\n", h->gomaxprocs);
	printf("pages       %" PRIu64 ", physical %" PRIu64 ", huge %" PRIu64 "; arenas %" PRIu64 "\n", h->page_size,
		h->phys_page_size, h->phys_huge_page_size, h->arena_bytes);
	printf("settings    randomized heap base %s, Green Tea %s, size-specialized malloc %s, runtime freegc %s\n",
		h->randomize_heap_base ? "on" : "off", h->green_tea ? "on" : "off", h->size_specialized_malloc ? "on" : "off",
		h->runtime_freegc ? "on" : "off");
	printf("seed        0x%016" PRIx64 "\n", h->rand_seed);
	print_end(r);
	if (gmt_reader_salvaged(r) != NULL) {
		char left[640];
		printf("salvaged    %s\n", show_salvaged(gmt_reader_events(r), gmt_reader_salvaged(r), left));
	}
	printf("events      %" PRIu64 "\n", gmt_reader_events(r));
	printf("spans       %" PRIu64 "\n", gmt_reader_spans(r));
	for (unsigned i = 0; i < EV_MAX; i++) {
		uint64_t n = gmt_reader_count(r, (gomem_ev)i);
		if (n != 0) {
			printf("  %-22s %12" PRIu64 "\n", gmt_kind((gomem_ev)i)->name, n);
		}
	}
	for (unsigned i = 0; i <= GOMEM_PATH_REUSE; i++) {
		if (gmt_reader_path_count(r, i) != 0) {
			printf("  malloc %-15s %12" PRIu64 "\n", path_name(i), gmt_reader_path_count(r, i));
		}
	}
}

typedef struct info_options {
	bool verify, salvage;
} info_options;

static int info_gotrace(const char *file, const info_options *o) {
	gmt_error err;
	print_text("file", file);
	return gotrace_info(file, o->verify, o->salvage, &err) == 0 ? 0 : complain("info", err.text);
}

static int info_file(const char *file, const info_options *o) {
	gmt_error err;
	if (gotrace_is_file(file)) {
		return info_gotrace(file, o);
	}
	gmt_reader *r = gmt_open_with(file, (gmt_options){.salvage = o->salvage}, &err);
	if (r == NULL) {
		return complain("info", err.text);
	}
	print_text("file", file);
	print_info(r);
	gmt_block b;
	int got = 0;
	while (o->verify && (got = gmt_next(r, &b, &err)) > 0) {
	}
	gmt_close(r);
	if (got < 0) {
		return complain("info", err.text);
	}
	if (o->verify) {
		printf("verified    all hashes and counts\n");
	}
	return 0;
}

// info_parse moves the files to argv[1] and what follows. Gives how many there are; 0: the usage is wrong.
static int info_parse(int argc, char **argv, info_options *o) {
	int files = 0;
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--verify") == 0) {
			o->verify = true;
		} else if (strcmp(argv[i], "--salvage") == 0) {
			o->salvage = true;
		} else if (argv[i][0] == '-') {
			return 0;
		} else {
			argv[++files] = argv[i];
		}
	}
	return files;
}

int gomem_info_main(int argc, char **argv) {
	if (is_help(argc, argv)) {
		(void)fputs(infoUsage, stdout);
		return 0;
	}
	info_options o = {0};
	int files = info_parse(argc, argv, &o), result = 0;
	if (files == 0) {
		(void)fputs(infoUsage, stderr);
		return EXIT_BAD;
	}
	for (int i = 1; i <= files; i++) {
		if (i > 1) {
			(void)putchar('\n');
		}
		int bad = info_file(argv[i], &o);
		result = bad != 0 ? bad : result;
	}
	return result;
}
