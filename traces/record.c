// record.c: `gomem record`: builds a Go program with the recorder in its runtime, runs it, and turns its raw log into a recording.
//
// Nothing of the user's Go installation or module changes: the edits reach the compiler by -overlay, all files lie in a temporary
// directory (0700), the raw log beside the output. Signals are blocked in this process and taken by sigwaitinfo: whatever
// arrives while the program runs is passed on to it, and the recording is converted before this process ends.
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/args.h"
#include "cli/commands.h"
#include "traces/gmt_format.h"
#include "traces/output.h"
#include "traces/record.h"

static const char usageText[] =
	"usage: gomem record [-o FILE.gmt] [-f] [--go PATH] [--test] [-v] [--keep-raw] [--] PACKAGE [ARGS...]\n"
	"       gomem record -o FILE.gmt [-f] --raw FILE.raw\n"
	"\n"
	"Builds the Go program PACKAGE (a main package as `go build` names it) with a Go (1.24 to 1.27) and a recorder in its\n"
	"runtime, runs it with ARGS, and writes what its memory allocator was asked and answered to a recording.\n"
	"\n"
	"  -o FILE.gmt  the recording (default: the package's last name with .gmt, in the current directory)\n"
	"  -f           replace FILE.gmt if it exists\n"
	"  --go PATH    use this Go: a go command, or the folder of an installation (default: $GOROOT, then the go in $PATH; of\n"
	"               these two, GOTOOLCHAIN and go.mod may choose another, as with `go build`)\n"
	"  --test       record the test binary of PACKAGE; it runs in the package's directory, as with `go test`\n"
	"  -v           print the commands that are run\n"
	"  --keep-raw   keep the raw log\n"
	"  --raw FILE   convert a raw log that was left behind, instead of running a program\n"
	"\n"
	"Build flags come from GOFLAGS (-race, -asan, -msan and -overlay are refused). Child processes of the program are not\n"
	"recorded. SIGINT, SIGTERM, SIGHUP and SIGQUIT reach the program; a program that ends by a signal leaves a valid recording.\n"
	"\n"
	"Exit status: that of the program (128 + N after signal N); 2 if nothing could be recorded, or not to the program's end.\n"
	"With --raw: 0; 2 if nothing could be converted, or if the end of the log is missing.\n";

enum {
	EXIT_BAD = 2,
	RAW_HEADER = 4096,
	RAW_CHUNK = 262144,
	TEXT = 65536,
	RESERVE_BYTES = 8 << 20,
};

// Where the raw file holds disk space back for the recording, far behind anything that a program can log: if the program
// fills the disk, this is given back before the conversion.
#define RESERVE_AT ((off_t)1 << 42)

typedef struct options {
	const char *out;
	const char *package;
	char **args;     // of the program, NULL at the end
	const char *raw; // to convert; NULL: run a program
	const char *go;  // NULL: $GOROOT or $PATH
	bool force, test, verbose, keep_raw;
} options;

typedef struct recording {
	options opt;
	sigset_t old_mask, wait_mask;
	int interrupted; // by this signal; 0: no
	char go[PATH_MAX];
	char version[64], experiment[256], goroot[PATH_MAX];
	char envGoroot[PATH_MAX + 16]; // GOROOT=..., for the go command; empty: as it is
	bool local;                    // the go command must not choose another one
	bool module;                   // goroot was downloaded as a module
	char temp[PATH_MAX];           // directory; empty: not made
	char binary[PATH_MAX + 512];
	char dir[PATH_MAX]; // where the program runs; empty: here
	char out[PATH_MAX];
	char raw[PATH_MAX];
	int status; // of the program, as waitpid tells it
	double cpu; // seconds of CPU that it took, with its children
} recording;

__attribute__((format(printf, 1, 2))) static int complain(const char *fmt, ...) {
	va_list ap;
	va_start(ap, fmt);
	(void)fputs("gomem record: ", stderr);
	(void)vfprintf(stderr, fmt, ap);
	(void)fputc('\n', stderr);
	va_end(ap);
	return EXIT_BAD;
}

// format writes to a buffer; false if the text is too long for it.
__attribute__((format(printf, 3, 4))) static bool format(char *to, size_t room, const char *fmt, ...) {
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(to, room, fmt, ap);
	va_end(ap);
	return n >= 0 && (size_t)n < room;
}

// ---- running commands

typedef struct command {
	const char *argv[16];
	const char *dir;    // NULL: here
	const char *env[8]; // NAME=VALUE
	bool capture;       // its standard output goes to text
	char text[TEXT];
} command;

// in_foreground tells whether the terminal's signals reach this process.
static bool in_foreground(void) {
	int tty = open("/dev/tty", O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (tty < 0) {
		return false;
	}
	bool yes = tcgetpgrp(tty) == getpgrp();
	(void)close(tty);
	return yes;
}

static void pass_on(recording *r, pid_t child, const siginfo_t *si) {
	r->interrupted = si->si_signo;
	// What the kernel sends comes from the terminal, to each process of the group: the child has it already.
	if (si->si_code != SI_KERNEL) {
		(void)kill(child, si->si_signo);
	}
}

// wait_for waits until the child has ended, and passes signals on to it.
static int wait_for(recording *r, pid_t child) {
	int status = 0;
	for (;;) {
		pid_t got = waitpid(child, &status, WNOHANG);
		if (got == child || (got < 0 && errno != EINTR)) {
			return got == child ? status : -1;
		}
		siginfo_t si;
		if (sigwaitinfo(&r->wait_mask, &si) > 0 && si.si_signo != SIGCHLD) {
			pass_on(r, child, &si);
		}
	}
}

static void print_command(const command *c) {
	(void)fputs("gomem record:", stderr);
	for (size_t i = 0; c->argv[i] != NULL; i++) {
		(void)fprintf(stderr, " %s", c->argv[i]);
	}
	(void)fputc('\n', stderr);
}

// The program's own settings are not for the go command: GODEBUG=sbrk=1 would break it.
static void drop_settings(void) {
	static const char *const settings[] = {"GODEBUG", "GOGC", "GOMEMLIMIT", "GOMAXPROCS"};
	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
		(void)unsetenv(settings[i]);
	}
}

static _Noreturn void run_child(const recording *r, const command *c, int out) {
	drop_settings();
	if (r->local) {
		// GOROOT, if set, may be another Go's: this one finds its own.
		(void)unsetenv("GOROOT");
		(void)putenv("GOTOOLCHAIN=local");
	}
	if (r->envGoroot[0] != 0) {
		(void)putenv((char *)(uintptr_t)r->envGoroot);
	}
	for (size_t i = 0; c->env[i] != NULL; i++) {
		(void)putenv((char *)(uintptr_t)c->env[i]);
	}
	if ((c->dir == NULL || chdir(c->dir) == 0) && (out < 0 || dup2(out, STDOUT_FILENO) >= 0)) {
		(void)sigprocmask(SIG_SETMASK, &r->old_mask, NULL);
		(void)execv(c->argv[0], (char **)(uintptr_t)c->argv);
	}
	(void)complain("cannot run %s: %s", c->argv[0], strerror(errno));
	_exit(127);
}

static void read_all(int fd, char *text) {
	size_t n = 0;
	ssize_t got;
	while ((got = read(fd, text + n, TEXT - 1 - n)) > 0 || (got < 0 && errno == EINTR)) {
		n += got > 0 ? (size_t)got : 0;
		if (n == TEXT - 1) {
			break;
		}
	}
	text[n] = 0;
}

// run_command returns true if the command ended with 0.
static bool run_command(recording *r, command *c) {
	int fds[2] = {-1, -1};
	if (r->opt.verbose) {
		print_command(c);
	}
	if (c->capture && pipe2(fds, O_CLOEXEC) != 0) {
		(void)complain("pipe: %s", strerror(errno));
		return false;
	}
	pid_t pid = fork();
	if (pid == 0) {
		run_child(r, c, fds[1]);
	}
	if (c->capture) {
		(void)close(fds[1]);
	}
	if (pid > 0 && c->capture) {
		read_all(fds[0], c->text);
	}
	if (c->capture) {
		(void)close(fds[0]);
	}
	if (pid < 0) {
		(void)complain("fork: %s", strerror(errno));
		return false;
	}
	int status = wait_for(r, pid);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 && r->interrupted == 0;
}

// ---- the Go installation

static bool is_command(const char *path) {
	struct stat st;
	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

static bool find_in_path(char *to, size_t room) {
	const char *path = getenv("PATH");
	for (const char *p = path; p != NULL && *p != 0;) {
		size_t n = strcspn(p, ":");
		if (n > 0 && format(to, room, "%.*s/go", (int)n, p) && is_command(to)) {
			return true;
		}
		p += n + (p[n] == ':' ? 1 : 0);
	}
	return false;
}

// find_in_goroot finds the go command of an installation.
static bool find_in_goroot(const char *goroot, char *to, size_t room) {
	return format(to, room, "%s/bin/go", goroot) && is_command(to);
}

// find_go finds the go command: r->go is an absolute path. 0 if there is one.
static int find_go(recording *r) {
	const char *named = r->opt.go;
	const char *goroot = getenv("GOROOT");
	if (named != NULL) {
		char real[PATH_MAX];
		bool found = realpath(named, real) != NULL &&
			(find_in_goroot(real, r->go, sizeof(r->go)) ||
				(is_command(real) && format(r->go, sizeof(r->go), "%s", real)));
		r->local = true;
		return found ? 0 : complain("--go %s: neither a go command nor the folder of a Go installation", named);
	}
	if (goroot != NULL && goroot[0] != 0) {
		return find_in_goroot(goroot, r->go, sizeof(r->go)) ? 0 : complain("GOROOT=%s is no Go installation", goroot);
	}
	return find_in_path(r->go, sizeof(r->go))
		? 0
		: complain("there is no go command in PATH: recording needs Go 1.24 to 1.27 (https://go.dev/dl, or --go PATH)");
}

// next_line cuts a line from a text.
static char *next_line(char **text) {
	char *line = *text;
	size_t n = strcspn(line, "\n");
	*text = line + n + (line[n] == '\n' ? 1 : 0);
	line[n] = 0;
	return line;
}

// version_ok: the releases of recorder/overlay/releases.go.
static bool version_ok(const char *v) {
	static const char *const releases[] = {"go1.24", "go1.25", "go1.26", "go1.27"};
	for (size_t i = 0; i < sizeof(releases) / sizeof(releases[0]); i++) {
		size_t n = strlen(releases[i]);
		if (strncmp(v, releases[i], n) == 0 && (v[n] == 0 || v[n] == '.' || v[n] == ' ' || v[n] == '-')) {
			return true;
		}
	}
	return false;
}

// has_word finds a word in a list.
static bool has_word(const char *list, const char *separators, const char *word) {
	size_t n = strlen(word);
	for (const char *p = list; *p != 0;) {
		size_t len = strcspn(p, separators);
		if (len == n && strncmp(p, word, n) == 0) {
			return true;
		}
		p += len;
		p += strspn(p, separators);
	}
	return false;
}

// has_flag finds a build flag in GOFLAGS: -race, --race, -race=true.
static bool has_flag(const char *flags, const char *name) {
	static const char separators[] = " \t'\"";
	for (const char *p = flags + strspn(flags, separators); *p != 0;) {
		size_t len = strcspn(p, separators);
		const char *word = p + (strncmp(p, "--", 2) == 0 ? 2 : 1);
		size_t n = strlen(name);
		if (*p == '-' && strncmp(word, name, n) == 0) {
			bool plain = word + n == p + len;
			bool off = strncmp(word + n, "=false", 6) == 0 || strncmp(word + n, "=0", 2) == 0;
			if (plain || (word[n] == '=' && !off)) {
				return true;
			}
		}
		p += len;
		p += strspn(p, separators);
	}
	return false;
}

static int check_settings(const char *goos, const char *goarch, const char *experiment, const char *flags) {
	static const char *const experiments[] = {"arenas", "runtimesecret"};
	static const char *const refused[] = {"race", "asan", "msan", "overlay"};
	if (strcmp(goos, "linux") != 0 || (strcmp(goarch, "amd64") != 0 && strcmp(goarch, "386") != 0)) {
		return complain("%s/%s cannot be recorded: only linux/amd64 and linux/386 can", goos, goarch);
	}
	for (size_t i = 0; i < sizeof(experiments) / sizeof(experiments[0]); i++) {
		if (has_word(experiment, ",", experiments[i])) {
			return complain("GOEXPERIMENT=%s cannot be recorded", experiments[i]);
		}
	}
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		if (has_flag(flags, refused[i])) {
			return complain("a program built with -%s (in GOFLAGS) cannot be recorded", refused[i]);
		}
	}
	return 0;
}

static int check_go(recording *r) {
	struct utsname u;
	if (uname(&u) != 0 || strcmp(u.sysname, "Linux") != 0 || strcmp(u.machine, "x86_64") != 0) {
		return complain("on %s/%s nothing can be recorded: only on linux/amd64", u.sysname, u.machine);
	}
	int bad = find_go(r);
	if (bad != 0) {
		return bad;
	}
	static command c;
	c = (command){
		.argv = {r->go, "env", "GOVERSION", "GOOS", "GOARCH", "GOEXPERIMENT", "GOFLAGS", "GOROOT", "GOMODCACHE"},
		.capture = true};
	if (!run_command(r, &c)) {
		return complain("`%s env` failed", r->go);
	}
	char *text = c.text;
	const char *version = next_line(&text);
	const char *goos = next_line(&text);
	const char *goarch = next_line(&text);
	const char *experiment = next_line(&text);
	const char *flags = next_line(&text);
	const char *goroot = next_line(&text);
	const char *cache = next_line(&text);
	if (!version_ok(version)) {
		return complain(
			"%s (%s) cannot be recorded: the recorder is made for Go 1.24 to 1.27 (--go PATH, or GOTOOLCHAIN)", version,
			r->go);
	}
	size_t n = strlen(cache);
	r->module = n > 0 && strncmp(goroot, cache, n) == 0 && goroot[n] == '/';
	if (!format(r->version, sizeof(r->version), "%.*s", (int)strcspn(version, " "), version) ||
		!format(r->experiment, sizeof(r->experiment), "%s", experiment) ||
		!format(r->goroot, sizeof(r->goroot), "%s", goroot)) {
		return complain("`go env` prints lines that are too long");
	}
	return check_settings(goos, goarch, experiment, flags);
}

// ---- building

static int make_parents(const char *path) {
	char dir[PATH_MAX];
	for (const char *p = strchr(path + 1, '/'); p != NULL; p = strchr(p + 1, '/')) {
		if (!format(dir, sizeof(dir), "%.*s", (int)(p - path), path) || (mkdir(dir, 0700) != 0 && errno != EEXIST)) {
			return -1;
		}
	}
	return 0;
}

static int unpack(const char *path, const record_file *f) {
	int fd = make_parents(path) == 0 ? open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600) : -1;
	if (fd < 0) {
		return -1;
	}
	ssize_t got = write(fd, f->data, f->size);
	return close(fd) == 0 && got == (ssize_t)f->size ? 0 : -1;
}

// link_goroot: `go build -overlay` refuses to change files below GOMODCACHE, where the go command puts the Go that it downloads. By a
// link they have another name, and the modules of the program are found as ever.
static int link_goroot(recording *r) {
	char link[PATH_MAX + 16];
	if (!format(link, sizeof(link), "%s/goroot", r->temp) || symlink(r->goroot, link) != 0 ||
		!format(r->goroot, sizeof(r->goroot), "%s", link) || !find_in_goroot(r->goroot, r->go, sizeof(r->go)) ||
		!format(r->envGoroot, sizeof(r->envGoroot), "GOROOT=%s", r->goroot)) {
		return -1;
	}
	r->local = true;
	return 0;
}

// make_temp makes the temporary directory with the recorder's sources.
static int make_temp(recording *r) {
	const char *base = getenv("TMPDIR");
	if (!format(r->temp, sizeof(r->temp), "%s/gomem-record-XXXXXX", base != NULL && base[0] == '/' ? base : "/tmp") ||
		mkdtemp(r->temp) == NULL) {
		int e = errno;
		r->temp[0] = 0;
		return complain("cannot make a temporary directory: %s", strerror(e));
	}
	char here[PATH_MAX];
	const size_t n = strlen(r->goroot);
	if (r->module && getcwd(here, sizeof(here)) != NULL && strncmp(here, r->goroot, n) == 0 &&
		(here[n] == 0 || here[n] == '/')) {
		return complain(
			"this folder belongs to a Go that was downloaded as a module, where -overlay is refused: start from another folder");
	}
	if (r->module && link_goroot(r) != 0) {
		return complain("cannot make a link to %s: %s", r->goroot, strerror(errno));
	}
	for (size_t i = 0; i < record_nfiles; i++) {
		char path[PATH_MAX + 256];
		if (!format(path, sizeof(path), "%s/recorder/%s", r->temp, record_files[i].name) ||
			unpack(path, &record_files[i]) != 0) {
			return complain("cannot write %s: %s", path, strerror(errno));
		}
	}
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void remove_temp(const recording *r) {
	if (r->temp[0] != 0) {
		(void)nftw(r->temp, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	}
}

// check_package asks go what the package is: its name and its directory.
static int check_package(recording *r) {
	static command c;
	c = (command){.argv = {r->go, "list", "-f", "{{.Name}}\n{{.Dir}}", "--", r->opt.package}, .capture = true};
	if (!run_command(r, &c)) {
		return complain("`go list %s` failed", r->opt.package);
	}
	char *text = c.text;
	const char *name = next_line(&text);
	const char *dir = next_line(&text);
	if (*text != 0) {
		return complain("%s names several packages: one can be recorded", r->opt.package);
	}
	if (!r->opt.test && strcmp(name, "main") != 0) {
		return complain("%s is package %s, not a program (--test records its tests)", r->opt.package, name);
	}
	if (r->opt.test && !format(r->dir, sizeof(r->dir), "%s", dir)) {
		return complain("the package's path is too long");
	}
	return 0;
}

static int make_overlay(recording *r) {
	static command c;
	char dir[PATH_MAX + 32];
	char out[PATH_MAX + 32];
	bool ok =
		format(dir, sizeof(dir), "%s/recorder/overlay", r->temp) && format(out, sizeof(out), "%s/overlay", r->temp);
	c = (command){
		.argv = {r->go, "run", ".", "-record", "../zz_gomem_record.go", r->goroot, out},
		.dir = dir,
		.env = {"GOFLAGS=", "GOWORK=off", "GOEXPERIMENT=", "GO111MODULE=on", "GOTOOLCHAIN=local", "CGO_ENABLED=0",
			"GOARCH="},
		.capture = true,
	};
	if (!ok || !run_command(r, &c)) {
		return complain("the recorder cannot be put into %s (%s)", r->version, r->goroot);
	}
	return 0;
}

static int build(recording *r) {
	static command c;
	char overlay[PATH_MAX + 64];
	const char *name = strrchr(r->opt.package, '/');
	name = name == NULL ? r->opt.package : name + 1;
	bool plain = name[0] != 0 && name[0] != '.';
	size_t len = strcspn(name, "@");
	len = len > 3 && strncmp(name + len - 3, ".go", 3) == 0 ? len - 3 : len;
	if (!format(overlay, sizeof(overlay), "-overlay=%s/overlay/overlay.json", r->temp) ||
		!format(r->binary, sizeof(r->binary), "%s/bin/%.*s%s", r->temp, plain ? (int)len : 7, plain ? name : "program",
			r->opt.test ? ".test" : "")) {
		return complain("a path is too long");
	}
	if (r->opt.test) {
		c = (command){.argv = {r->go, "test", "-c", overlay, "-o", r->binary, r->opt.package}};
	} else {
		c = (command){.argv = {r->go, "build", overlay, "-o", r->binary, "--", r->opt.package}};
	}
	(void)fprintf(stderr, "gomem record: building %s with %s and the recorder\n", r->opt.package, r->version);
	if (!run_command(r, &c)) {
		return complain("building %s failed", r->opt.package);
	}
	if (access(r->binary, X_OK) != 0) {
		return complain("%s has no %s", r->opt.package, r->opt.test ? "tests" : "program");
	}
	return 0;
}

// ---- running

static double seconds(struct timeval t) { return (double)t.tv_sec + (double)t.tv_usec / 1e6; }

static double cpu_seconds(const struct rusage *u) { return seconds(u->ru_utime) + seconds(u->ru_stime); }

// default_name is the last name of the package with .gmt.
static bool default_name(const options *opt, char *to, size_t room) {
	char buf[PATH_MAX];
	if (!format(buf, sizeof(buf), "%s", opt->package)) {
		return false;
	}
	char *name = basename(buf);
	if (name[0] == '.' || name[0] == '/') {
		char real[PATH_MAX];
		if (realpath(opt->package, real) == NULL || !format(buf, sizeof(buf), "%s", real)) {
			return format(to, room, "program.gmt");
		}
		name = basename(buf);
	}
	size_t n = strcspn(name, "@");
	n = n > 3 && strncmp(name + n - 3, ".go", 3) == 0 ? n - 3 : n;
	return format(to, room, "%.*s%s.gmt", (int)n, name, opt->test ? ".test" : "");
}

static int check_out(recording *r) {
	struct stat st;
	bool ok = r->opt.out != NULL ? format(r->out, sizeof(r->out), "%s", r->opt.out)
								 : default_name(&r->opt, r->out, sizeof(r->out));
	if (!ok || strlen(r->out) > PATH_MAX - 32) {
		return complain("the output's path is too long");
	}
	char dir[PATH_MAX];
	(void)format(dir, sizeof(dir), "%s", r->out);
	if (stat(dirname(dir), &st) != 0) {
		return complain("%s: %s", r->out, strerror(errno));
	}
	if (lstat(r->out, &st) == 0 && !r->opt.force) {
		return complain("%s exists (-f replaces it)", r->out);
	}
	if (lstat(r->out, &st) == 0 && !S_ISREG(st.st_mode)) {
		return complain("%s is not a regular file", r->out);
	}
	if (r->opt.package != NULL && output_is(r->out, r->opt.package)) {
		return complain("%s is the program itself", r->out);
	}
	return 0;
}

// make_raw creates the raw log beside the output, with its header page.
static int make_raw(recording *r) {
	char dir[PATH_MAX];
	char real[PATH_MAX];
	char base[PATH_MAX];
	(void)format(dir, sizeof(dir), "%s", r->out);
	(void)format(base, sizeof(base), "%s", r->out);
	if (realpath(dirname(dir), real) == NULL) {
		return complain("%s: %s", r->out, strerror(errno));
	}
	if (!format(r->raw, sizeof(r->raw), "%s/%s.raw.XXXXXX", real, basename(base))) {
		return complain("the output's path is too long");
	}
	int fd = mkostemp(r->raw, O_CLOEXEC); // O_EXCL, 0600
	if (fd < 0) {
		int e = errno;
		r->raw[0] = 0;
		return complain("cannot create a file beside %s: %s", r->out, strerror(e));
	}
	uint8_t page[RAW_HEADER] = "GOMEMRAW";
	(void)gmt_put64(page + 8, 1);
	(void)gmt_put64(page + 32, RAW_CHUNK);
	ssize_t got = write(fd, page, sizeof(page));
	int e = got < 0 ? errno : ENOSPC;
	(void)fallocate(fd, FALLOC_FL_KEEP_SIZE, RESERVE_AT, RESERVE_BYTES);
	if (close(fd) != 0 || got != (ssize_t)sizeof(page)) {
		return complain("cannot write %s: %s", r->raw, strerror(e));
	}
	return 0;
}

static _Noreturn void run_program(const recording *r, bool own_group) {
	static char env[PATH_MAX + 64];
	// The package's place in the arguments takes the program's name: what follows it are the program's arguments.
	char **argv = r->opt.args - 1;
	argv[0] = (char *)(uintptr_t)r->binary;
	if (own_group) {
		(void)setpgid(0, 0);
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	}
	(void)format(env, sizeof(env), "GOMEM_RECORD=%ld:%s", (long)getpid(), r->raw);
	if (putenv(env) == 0 && (r->dir[0] == 0 || chdir(r->dir) == 0)) {
		(void)sigprocmask(SIG_SETMASK, &r->old_mask, NULL);
		(void)execv(r->binary, argv);
	}
	(void)complain("cannot run %s: %s", r->binary, strerror(errno));
	_exit(127);
}

static int run(recording *r) {
	// A terminal sends its signals to the program as well, if that is in the same group. Elsewhere a signal to this group would
	// reach the program twice (directly and passed on), so it gets a group of its own.
	bool own_group = !in_foreground();
	pid_t pid = fork();
	if (pid < 0) {
		return complain("fork: %s", strerror(errno));
	}
	if (pid == 0) {
		run_program(r, own_group);
	}
	struct rusage before, after;
	(void)getrusage(RUSAGE_CHILDREN, &before);
	r->status = wait_for(r, pid);
	(void)getrusage(RUSAGE_CHILDREN, &after);
	r->cpu = cpu_seconds(&after) - cpu_seconds(&before);
	return 0;
}

// ---- converting

static void append(char *to, size_t room, const char *text) {
	size_t n = strlen(to);
	(void)format(to + n, room - n, "%s", text);
}

// append_word appends an argument as a shell would need it.
static void append_word(char *to, size_t room, const char *word) {
	static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=./:,@%^";
	append(to, room, to[0] == 0 ? "" : " ");
	if (word[0] != 0 && word[strspn(word, safe)] == 0) {
		append(to, room, word);
		return;
	}
	append(to, room, "'");
	for (; *word != 0; word++) {
		char c[8] = {*word};
		if (*word == '\'') {
			(void)format(c, sizeof(c), "'\\''");
		} else if ((unsigned char)*word < ' ' || *word == 127) {
			c[0] = '?';
		}
		append(to, room, c);
	}
	append(to, room, "'");
}

static gmt_header make_header(const recording *r) {
	gmt_header h = {.goos = "linux"};
	(void)format(h.goversion, sizeof(h.goversion), "%s", r->version);
	(void)format(h.goexperiment, sizeof(h.goexperiment), "%s", r->experiment);
	if (r->opt.raw != NULL) {
		append_word(h.command, sizeof(h.command), r->opt.raw);
		return h;
	}
	append_word(h.command, sizeof(h.command), r->opt.package);
	for (char **a = r->opt.args; *a != NULL; a++) {
		append_word(h.command, sizeof(h.command), *a);
	}
	return h;
}

// tell_end writes how the recording ended.
static void tell_end(char *to, size_t room, gmt_end_kind end, uint64_t value) {
	switch (end) {
	case GMT_END_EXIT:
		(void)format(to, room, "the program exited with code %" PRIu64, value);
		return;
	case GMT_END_SIGNAL:
		(void)format(to, room, "the program was ended by signal %" PRIu64 " (%s)", value,
			value < NSIG ? strsignal((int)value) : "?");
		return;
	case GMT_END_DISK:
		(void)format(to, room, "recording stopped: %s", strerror((int)value));
		return;
	case GMT_END_ERROR:
		(void)format(to, room, "the recorder stopped: %s",
			value == EOPNOTSUPP       ? "the program uses user arenas"
				: value == EOWNERDEAD ? "how the program ended is not known"
									  : strerror((int)value));
		return;
	default:
		(void)format(to, room, "the program replaced itself by another (exec)");
	}
}

static void release_reserve(const char *path) {
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		(void)fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, RESERVE_AT, RESERVE_BYTES);
		(void)close(fd);
	}
}

static uint64_t raw_state(const char *path) {
	uint8_t word[8] = {0};
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || pread(fd, word, sizeof(word), 16) != (ssize_t)sizeof(word)) {
		return 0;
	}
	(void)close(fd);
	return gmt_get64(word);
}

static int never_started(const recording *r) {
	char how[256];
	tell_end(how, sizeof(how), WIFSIGNALED(r->status) ? GMT_END_SIGNAL : GMT_END_EXIT,
		(uint64_t)(WIFSIGNALED(r->status) ? WTERMSIG(r->status) : WEXITSTATUS(r->status)));
	return complain(
		"nothing was recorded, %s: it ended before its runtime was up, or it could not open %s", how, r->raw);
}

// import converts the log. What -f says may be replaced stays until there is something to replace it.
static int import(recording *r, const char *raw, const gmt_header *h, gmt_end_kind end, uint64_t value,
	gmt_import *found, gmt_error *err) {
	struct stat st;
	if (!r->opt.force || lstat(r->out, &st) != 0) {
		return gmt_import_raw(raw, r->out, h, end, value, found, err);
	}
	char dir[PATH_MAX], made[PATH_MAX + 32];
	(void)format(dir, sizeof(dir), "%s", r->out);
	(void)format(made, sizeof(made), "%s/.gomem-record-%ld", dirname(dir), (long)getpid());
	(void)unlink(made); // a process of that number was killed
	if (gmt_import_raw(raw, made, h, end, value, found, err) != 0) {
		return -1;
	}
	if (rename(made, r->out) != 0) {
		(void)snprintf(err->text, sizeof(err->text), "cannot replace %.300s: %s", r->out, strerror(errno));
		(void)unlink(made);
		return -1;
	}
	return 0;
}

// convert makes the recording. *whole: of a program that was run just now: how it ended is known (its end may have cut a thread short in its last
// step, which is told); of a log that was left behind: nothing is missing at its end.
static int convert(recording *r, const char *raw, bool *whole) {
	gmt_header h = make_header(r);
	gmt_error err = {""};
	gmt_import found = {0};
	gmt_end_kind end = WIFSIGNALED(r->status) ? GMT_END_SIGNAL : GMT_END_EXIT;
	uint64_t value = (uint64_t)(WIFSIGNALED(r->status) ? WTERMSIG(r->status) : WEXITSTATUS(r->status));
	if (r->opt.raw != NULL) {
		end = GMT_END_ERROR;
		value = EOWNERDEAD;
	}
	if (import(r, raw, &h, end, value, &found, &err) != 0) {
		(void)complain("%s", err.text);
		return r->opt.raw != NULL
			? EXIT_BAD
			: complain("no recording was made; the raw log is kept: %s (convert it with --raw)", raw);
	}
	gmt_reader *reader = gmt_open(r->out, &err);
	struct stat st;
	if (reader == NULL || stat(r->out, &st) != 0) {
		return complain("%s", reader == NULL ? err.text : strerror(errno));
	}
	end = gmt_reader_end(reader, &value);
	gmt_close(reader);
	char how[256];
	tell_end(how, sizeof(how), end, value);
	(void)fprintf(stderr, "gomem record: %s: %" PRIu64 " events, %lld bytes, %.2f bytes an event; %s\n", r->out,
		found.events, (long long)st.st_size, found.events == 0 ? 0.0 : (double)st.st_size / (double)found.events, how);
	if (r->opt.verbose) {
		(void)fprintf(stderr, "gomem record: the program took %.3f s of CPU\n", r->cpu);
	}
	if (found.cut) {
		(void)complain("the end of the log is missing: the recording holds %" PRIu64 " of %" PRIu64 " turns",
			found.turns, found.turns_claimed);
	}
	*whole = r->opt.raw != NULL ? !found.cut : end == GMT_END_EXIT || end == GMT_END_SIGNAL;
	return 0;
}

static int record(recording *r) {
	int bad = 0;
	if ((bad = check_out(r)) != 0 || (bad = check_go(r)) != 0 || (bad = make_temp(r)) != 0 ||
		(bad = check_package(r)) != 0 || (bad = make_overlay(r)) != 0 || (bad = build(r)) != 0 ||
		(bad = make_raw(r)) != 0) {
		return r->interrupted != 0 ? 128 + r->interrupted : bad;
	}
	if ((bad = run(r)) != 0) {
		return bad;
	}
	bool keep = r->opt.keep_raw;
	bool whole = false;
	if (raw_state(r->raw) == 0) {
		bad = never_started(r);
	} else {
		release_reserve(r->raw);
		bad = convert(r, r->raw, &whole);
		keep |= bad != 0;
	}
	if (keep) {
		(void)fprintf(stderr, "gomem record: raw log: %s\n", r->raw);
		r->raw[0] = 0;
	}
	if (bad != 0 || !whole) {
		return EXIT_BAD;
	}
	return WIFSIGNALED(r->status) ? 128 + WTERMSIG(r->status) : WEXITSTATUS(r->status);
}

// ---- options

static int parse_options(options *opt, int argc, char **argv) {
	int i = 1;
	for (; i < argc && argv[i][0] == '-'; i++) {
		const char *a = argv[i], *value = "";
		if (strcmp(a, "--") == 0) {
			i++;
			break;
		}
		if (args_takes(argc, argv, &i, "-o", &value)) {
			opt->out = value;
		} else if (args_takes(argc, argv, &i, "--go", &value)) {
			opt->go = value;
		} else if (args_takes(argc, argv, &i, "--raw", &value)) {
			opt->raw = value;
		} else if (strcmp(a, "-f") == 0) {
			opt->force = true;
		} else if (strcmp(a, "--test") == 0) {
			opt->test = true;
		} else if (strcmp(a, "-v") == 0) {
			opt->verbose = true;
		} else if (strcmp(a, "--keep-raw") == 0) {
			opt->keep_raw = true;
		} else {
			return complain("unknown option %s (gomem record --help)", a);
		}
		if (value == NULL) {
			return complain("%s needs a %s", a, a[2] == 'g' ? "path" : "file name");
		}
	}
	opt->package = i < argc ? argv[i] : NULL;
	opt->args = argv + (i < argc ? i + 1 : argc);
	if ((opt->package == NULL) == (opt->raw == NULL) || (opt->package != NULL && opt->package[0] == 0)) {
		(void)fputs(usageText, stderr);
		return EXIT_BAD;
	}
	if (opt->raw != NULL && opt->out == NULL) {
		return complain("--raw needs -o FILE.gmt");
	}
	return 0;
}

int gomem_record_main(int argc, char **argv) {
	static recording r;
	if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
		(void)fputs(usageText, stdout);
		return 0;
	}
	int bad = parse_options(&r.opt, argc, argv);
	if (bad != 0) {
		return bad;
	}
	static const int waited[] = {SIGCHLD, SIGINT, SIGTERM, SIGHUP, SIGQUIT};
	(void)sigemptyset(&r.wait_mask);
	for (size_t i = 0; i < sizeof(waited) / sizeof(waited[0]); i++) {
		(void)sigaddset(&r.wait_mask, waited[i]);
	}
	// A broken pipe or a file size limit is an error code here, so that the conversion goes on or fails with a message.
	sigset_t block = r.wait_mask;
	(void)sigaddset(&block, SIGPIPE);
	(void)sigaddset(&block, SIGXFSZ);
	(void)signal(SIGCHLD, SIG_DFL);
	(void)sigprocmask(SIG_BLOCK, &block, &r.old_mask);
	int result = 0;
	if (r.opt.raw != NULL) {
		result = check_out(&r);
		gmt_error err;
		if (result == 0 && !output_keeps(r.out, r.opt.raw, &err)) {
			result = complain("%s", err.text);
		}
		bool whole = false;
		result = result != 0 ? result : convert(&r, r.opt.raw, &whole);
		result = result == 0 && !whole ? EXIT_BAD : result;
	} else {
		result = record(&r);
	}
	if (r.raw[0] != 0) {
		(void)unlink(r.raw);
	}
	remove_temp(&r);
	return result;
}
