// main.c: the command `gomem`.
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"

enum { EXIT_USAGE = 2 };

typedef struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *usage;
	const char *what;
} command;

static const command commands[] = {
	{"replay", gomem_replay_main, "[--json] [--os real|sim] FILE...",
		"replay recordings and compare every decision with Go's"},
	{"whatif", gomem_whatif_main, "FILE [--page-size N] [--size-classes T] ...",
		"serve the requests of a recording with other constants, and compare memory, waste and system calls"},
	{"record", gomem_record_main, "[-o FILE.gmt] [--] PACKAGE [ARGS]",
		"build a Go program with the recorder in its runtime, and run it"},
	{"graft", gomem_graft_main, "[--level pages|spans] [--check] -- go build|run|test ARGS",
		"build a Go program whose runtime allocates with these C functions, and compare them with Go's as it runs"},
	{"stat", gomem_stat_main, "[--json] [--types N] [--pprof OUT.pb.gz] [--perfetto OUT] FILE",
		"a program's heap over time: occupancy by size class, types, lifetimes, fragmentation, findings"},
	{"report", gomem_report_main, "[-o OUT.html] FILE", "the same as a page: heap map over time, charts, tables"},
	{"info", gomem_info_main, "FILE...",
		"what a recording holds (program, Go version, events, how it ended), or a Go trace"},
	{"layout", gomem_layout_main, "[--json] [--all | GOOS/GOARCH...] [--address ADDR]",
		"the allocator's constants on each platform that Go runs on"},
	{"dump", gomem_dump_main, "FILE", "print the events of a recording or of a Go trace, one a line"},
	{"explain", gomem_explain_main, "SIZE [--scan] [--type NAME:SIZE:PTRBYTES] [--platform GOOS/GOARCH] [--again]",
		"one allocation told step by step, down to the system calls, and its end"},
	{"os", gomem_os_main, "[--sbrk] [--mib N]",
		"take a region of memory through its states: system calls, smaps and resident memory at each step"},
};
enum { numCommands = sizeof commands / sizeof commands[0] };

static void usage(FILE *out) {
	(void)fprintf(out, "gomem: Go's memory allocator in C, and the proof that it is the same allocator\n\nusage:\n");
	for (size_t i = 0; i < numCommands; i++) {
		(void)fprintf(out, "  gomem %s %s\n      %s\n", commands[i].name, commands[i].usage, commands[i].what);
	}
	(void)fprintf(out,
		"  gomem help [COMMAND]\n  gomem --version\n\n"
		"`gomem COMMAND --help` explains a command and all its options; --option VALUE and --option=VALUE are the same.\n"
		"exit code: 0 all equal or done, 1 a difference was found, 2 bad usage or bad input\n");
}

static const command *find(const char *name) {
	for (size_t i = 0; i < numCommands; i++) {
		if (strcmp(commands[i].name, name) == 0) {
			return &commands[i];
		}
	}
	return NULL;
}

static int unknown(const char *name) {
	(void)fprintf(stderr, "gomem: unknown command %s (gomem --help lists them)\n", name);
	return EXIT_USAGE;
}

// finish: what nobody can read was not done. Who fails has said why.
static int finish(const char *name, int code) {
	errno = 0;
	if ((fflush(stdout) == 0 && ferror(stdout) == 0) || code == EXIT_USAGE) {
		return code;
	}
	(void)fprintf(stderr, "gomem %s: cannot write: %s\n", name, strerror(errno != 0 ? errno : EIO));
	return EXIT_USAGE;
}

static int help(int argc, char **argv) {
	if (argc < 2) {
		usage(stdout);
		return 0;
	}
	const command *c = find(argv[1]);
	if (c == NULL) {
		return unknown(argv[1]);
	}
	char option[] = "--help";
	char *args[] = {argv[1], option, NULL};
	return c->run(2, args);
}

static int run(int argc, char **argv) {
	const char *name = argv[1];
	if (strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
		return help(argc - 1, argv + 1);
	}
	if (strcmp(name, "--version") == 0 || strcmp(name, "version") == 0) {
		printf("gomem %s (port of the allocator of go1.26)\n", GOMEM_VERSION);
		return 0;
	}
	const command *c = find(name);
	return c == NULL ? unknown(name) : c->run(argc - 1, argv + 1);
}

int main(int argc, char **argv) {
	if (argc < 2) {
		usage(stderr);
		return EXIT_USAGE;
	}
	return finish(argv[1], run(argc, argv));
}
