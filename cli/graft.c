// graft.c: `gomem graft`: a Go program whose runtime allocates with the port.
//
// The sources of the port and the tool that puts them into Go's runtime (gomem/graft/graft.py) are inside this binary, or taken from a source
// tree. They are unpacked into a temporary directory, which is removed at the end; the tool runs the go command with an overlay.
#include "cli/graft.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/args.h"
#include "cli/commands.h"

static const char usageText[] =
	"usage: gomem graft [--level pages|spans] [--check] [--source DIR] [--keep DIR] -- go build|run|test ARGS...\n"
	"\n"
	"Runs `go build`, `go run` or `go test` with a Go runtime that allocates with gomem's own C functions: gomem/*.c, compiled as they are,\n"
	"stand in the program in place of Go's page and span code. The Go installation is only read; no cgo. Needs go1.26.8 on linux/amd64, gcc,\n"
	"binutils and python3.\n"
	"\n"
	"  --level pages   bitmaps, summaries, page allocator, page caches, scavenge index and scavengeOne\n"
	"  --level spans   the same, and spans: allocation, growth, free lists, mcentral, refill, sweeping (default)\n"
	"  --check         compare each operation on the live heap with Go's own code; the first difference stops the program\n"
	"                  with both answers, and counts are printed at its end\n"
	"  --source DIR    take the C sources from this source tree, not from inside this command: change a line and see what it does\n"
	"  --keep DIR      leave the overlay in DIR (go build -overlay=DIR/overlay.json)\n"
	"  --record        combine with the recorder of `gomem record`; run the program as traces/recorder/RAW.md says\n"
	"\n"
	"Exit status: that of the go command; 2 if Go, its version or platform, a function or a structure does not fit.\n";

enum { EXIT_BAD = 2, MAX_ARGS = 4096 };

static int complain(const char *what, const char *name) {
	(void)fprintf(stderr, "gomem graft: %s%s%s\n", what, name != NULL ? " " : "", name != NULL ? name : "");
	return EXIT_BAD;
}

static int make_parents(const char *path) {
	char dir[PATH_MAX];
	for (const char *p = strchr(path + 1, '/'); p != NULL; p = strchr(p + 1, '/')) {
		(void)snprintf(dir, sizeof(dir), "%.*s", (int)(p - path), path);
		if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
			return -1;
		}
	}
	return 0;
}

static bool unpack(const char *top, const graft_file *f) {
	char path[PATH_MAX];
	const int n = snprintf(path, sizeof(path), "%s/%s", top, f->name);
	if (n < 0 || (size_t)n >= sizeof(path) || make_parents(path) != 0) {
		return false;
	}
	const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0) {
		return false;
	}
	const ssize_t got = write(fd, f->data, f->size);
	return close(fd) == 0 && got == (ssize_t)f->size;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static volatile sig_atomic_t toolPid; // its process, or 0

static void passOn(int sig) {
	if (toolPid > 0) {
		(void)kill((pid_t)toolPid, sig);
	}
}

// run_tool waits for the end of the tool whatever comes, so that the temporary directory can be removed. The terminal sends its signals to the
// tool as well; others are passed on.
static int run_tool(char **argv) {
	(void)signal(SIGINT, SIG_IGN);
	(void)signal(SIGQUIT, SIG_IGN);
	const struct sigaction pass = {.sa_handler = passOn, .sa_flags = SA_RESTART};
	(void)sigaction(SIGTERM, &pass, NULL);
	(void)sigaction(SIGHUP, &pass, NULL);
	const pid_t pid = fork();
	if (pid == 0) {
		(void)signal(SIGTERM, SIG_DFL);
		(void)signal(SIGHUP, SIG_DFL);
		(void)signal(SIGINT, SIG_DFL);
		(void)signal(SIGQUIT, SIG_DFL);
		(void)execvp(argv[0], argv);
		(void)complain("cannot run python3:", strerror(errno));
		_exit(EXIT_BAD);
	}
	toolPid = pid;
	int status = 0;
	if (pid < 0 || waitpid(pid, &status, 0) != pid) {
		return complain("cannot run python3:", strerror(errno));
	}
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

// run_in unpacks into temp what is needed, and runs the tool with the arguments of the command.
static int run_in(const char *temp, const char *source, int argc, char **argv) {
	static char top[PATH_MAX + 32], tool[PATH_MAX + 64], work[PATH_MAX + 32];
	if (source != NULL && realpath(source, top) == NULL) {
		(void)snprintf(tool, sizeof(tool), "--source %s:", source);
		return complain(tool, strerror(errno));
	}
	if (source == NULL) {
		(void)snprintf(top, sizeof(top), "%s/source", temp);
		for (size_t i = 0; i < graft_nfiles; i++) {
			if (!unpack(top, &graft_files[i])) {
				return complain("cannot write the sources:", strerror(errno));
			}
		}
	}
	(void)snprintf(tool, sizeof(tool), "%s/gomem/graft/graft.py", top);
	(void)snprintf(work, sizeof(work), "%s/overlay", temp);
	if (access(tool, R_OK) != 0) {
		return complain("no source tree of gomem:", top);
	}
	static const char *args[MAX_ARGS];
	const char *const head[] = {"python3", "-B", tool, "--sources", top, "--out", work};
	int n = 0;
	for (size_t i = 0; i < sizeof(head) / sizeof(head[0]); i++) {
		args[n++] = head[i];
	}
	for (int i = 1; i < argc; i++) {
		args[n++] = argv[i];
	}
	return run_tool((char **)(uintptr_t)args);
}

int gomem_graft_main(int argc, char **argv) {
	const char *source = NULL;
	if (argc < 2 || argc > MAX_ARGS / 2) {
		(void)fputs(usageText, stderr);
		return EXIT_BAD;
	}
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			(void)fputs(usageText, stdout);
			return 0;
		}
		const char *keep = "";
		if ((args_takes(argc, argv, &i, "--source", &source) && source == NULL) ||
			(args_takes(argc, argv, &i, "--keep", &keep) && keep == NULL)) {
			return complain("--source and --keep need a folder", NULL);
		}
	}
	char temp[PATH_MAX];
	const char *const base = getenv("TMPDIR");
	(void)snprintf(temp, sizeof(temp), "%s/gomem-graft-XXXXXX", base != NULL && base[0] == '/' ? base : "/tmp");
	if (mkdtemp(temp) == NULL) {
		return complain("cannot make a temporary directory:", strerror(errno));
	}
	const int result = run_in(temp, source, argc, argv);
	(void)nftw(temp, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return result;
}
