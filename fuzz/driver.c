// driver.c: a target as an ordinary program, in every build: replays inputs, shows them, makes random ones. No fuzzing engine.
#include "fuzz/fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

const fuzz_target *fuzz_this(void);
int LLVMFuzzerInitialize(int *argc, char ***argv);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed);
size_t LLVMFuzzerCustomCrossOver(
	const uint8_t *a, size_t na, const uint8_t *b, size_t nb, uint8_t *out, size_t max, unsigned seed);

enum { EXIT_FOUND = 1, EXIT_USAGE = 2, maxInput = 1 << 16, maxPool = 8192 };

typedef struct input {
	uint8_t *data;
	size_t n;
} input;

typedef struct run {
	const char *mode; // run, text, c, encode, shrink
	double seconds;
	uint64_t seed;
	const char *out;
	uint64_t inputs, ops;
	input pool[maxPool]; // what random inputs are made from
	size_t npool;
	bool ended;
	const char *path; // of the input under way
	uint8_t data[maxInput];
	size_t n;
} run;

static run theRun; // the report of a failure can only find it here

static void usage(FILE *out) {
	const fuzz_target *t = fuzz_this();
	fprintf(out,
		"fuzz_%s: %s\n\n"
		"usage:\n"
		"  fuzz_%s [FILE | DIR]...             run inputs\n"
		"  fuzz_%s --show FILE...              print inputs as text, one operation a line\n"
		"  fuzz_%s --c FILE...                 print inputs as C for a unit test\n"
		"  fuzz_%s --encode TEXT.txt -o FILE   make an input of text\n"
		"  fuzz_%s --shrink FILE -o FILE       make a failing input small, as long as this build fails\n"
		"  fuzz_%s --seconds N [--seed S] [DIR]...  run random inputs made from those in DIR; a failing one goes to -o FILE\n"
		"  fuzz_%s --ops                       list the operations and their arguments\n"
		"  fuzz_%s --info                      name, small or large, what is compared; tab-separated, for scripts\n"
		"exit code: 0 nothing found, 1 something was found, 2 bad usage or unreadable input\n",
		t->name, t->what, t->name, t->name, t->name, t->name, t->name, t->name, t->name, t->name);
}

static _Noreturn void bad(const char *path, const char *why) {
	fprintf(stderr, "fuzz_%s: %s: %s\n", fuzz_this()->name, path, why);
	exit(EXIT_USAGE);
}

static void writeFile(const char *path, const uint8_t *data, size_t n) {
	FILE *f = fopen(path, "wb");
	if (f == NULL || fwrite(data, 1, n, f) != n || fclose(f) != 0) {
		bad(path, strerror(errno));
	}
}

// tellInput says which input failed, and writes one that was made.
static void tellInput(void) {
	const run *r = &theRun;
	if (r->ended) { // a leak, found when the process ends
		return;
	}
	if (r->path != NULL) {
		fprintf(stderr, "input: %s\n", r->path);
		return;
	}
	const char *out = r->out != NULL ? r->out : "crash-input";
	writeFile(out, r->data, r->n);
	fprintf(stderr, "input: %s (%llu inputs before it, seed %llu)\n", out, (unsigned long long)r->inputs,
		(unsigned long long)r->seed);
}

static size_t readFile(const char *path, uint8_t *data, size_t max) {
	FILE *f = fopen(path, "rb");
	if (f == NULL) {
		bad(path, strerror(errno));
	}
	const size_t n = fread(data, 1, max, f);
	const int broken = ferror(f) ? errno : 0;
	fclose(f);
	if (broken != 0) {
		bad(path, strerror(broken));
	}
	return n;
}

static void show(const run *r) {
	const fuzz_target *t = fuzz_this();
	static fuzz_program p;
	if (t->ops == NULL) {
		for (size_t i = 0; i < r->n; i++) {
			printf("%02x%s", r->data[i], i % 32 == 31 || i + 1 == r->n ? "\n" : " ");
		}
		return;
	}
	fuzz_decode(t, r->data, r->n, &p);
	if (strcmp(r->mode, "c") == 0) {
		fuzz_print_c(t, &p, stdout);
	} else {
		fuzz_print_text(t, &p, stdout);
	}
}

static void encode(run *r) {
	static fuzz_program p;
	static char text[maxInput + 1];
	char err[256];
	memcpy(text, r->data, r->n);
	text[r->n < maxInput ? r->n : maxInput] = 0;
	if (fuzz_this()->ops == NULL || r->out == NULL) {
		bad(r->path, r->out == NULL ? "--encode needs -o FILE" : "this target has no operations");
	}
	if (!fuzz_parse(fuzz_this(), text, &p, err)) {
		bad(r->path, err);
	}
	writeFile(r->out, r->data, fuzz_encode(fuzz_this(), &p, r->data, maxInput));
}

// failsAlone runs a program in a process of its own. One that only takes long does not count.
static bool failsAlone(const fuzz_program *p, void *unused) {
	(void)unused;
	fflush(NULL);
	const pid_t child = fork();
	if (child == 0) {
		fuzz_on_failure(NULL, EXIT_FOUND);
		if (freopen("/dev/null", "w", stdout) == NULL || freopen("/dev/null", "w", stderr) == NULL) {
			_exit(0);
		}
		alarm(10);
		fuzz_run_program(fuzz_this(), p);
		_exit(0);
	}
	int status = 0;
	if (child < 0 || waitpid(child, &status, 0) != child) {
		return false;
	}
	return WIFSIGNALED(status) ? WTERMSIG(status) != SIGALRM : WEXITSTATUS(status) != 0;
}

static void shrink(run *r) {
	static fuzz_program p;
	if (fuzz_this()->ops == NULL || r->out == NULL) {
		bad(r->path,
			r->out == NULL ? "--shrink needs -o FILE"
						   : "this target has no operations; libFuzzer has -minimize_crash=1");
	}
	fuzz_decode(fuzz_this(), r->data, r->n, &p);
	if (!failsAlone(&p, NULL)) {
		bad(r->path, "does not fail in this build");
	}
	fuzz_shrink(fuzz_this(), &p, failsAlone, NULL);
	writeFile(r->out, r->data, fuzz_encode(fuzz_this(), &p, r->data, maxInput));
	fuzz_print_text(fuzz_this(), &p, stdout);
}

static void keep(run *r) {
	uint8_t *copy = r->npool < maxPool ? malloc(r->n + 1) : NULL;
	if (copy != NULL) {
		memcpy(copy, r->data, r->n);
		r->pool[r->npool++] = (input){copy, r->n};
	}
}

static void doFile(run *r, const char *path) {
	r->path = path;
	r->n = readFile(path, r->data, maxInput);
	if (strcmp(r->mode, "encode") == 0) {
		encode(r);
		return;
	}
	if (strcmp(r->mode, "shrink") == 0) {
		shrink(r);
		return;
	}
	if (strcmp(r->mode, "run") != 0) {
		show(r);
		return;
	}
	if (r->seconds > 0) {
		keep(r);
		return;
	}
	r->ops += fuzz_run(fuzz_this(), r->data, r->n);
	r->inputs++;
}

static int isVisible(const struct dirent *e) { return e->d_name[0] != '.'; }

// doPath does a file, or all files of a directory in the order of their names.
static void doPath(run *r, const char *path) {
	struct dirent **entries;
	const int n = scandir(path, &entries, isVisible, alphasort);
	if (n < 0) {
		doFile(r, path);
		return;
	}
	for (int i = 0; i < n; i++) {
		char *full = NULL;
		if (asprintf(&full, "%s/%s", path, entries[i]->d_name) < 0) {
			bad(path, "out of memory");
		}
		doPath(r, full);
		free(full);
		free(entries[i]);
	}
	free((void *)entries);
}

static double now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

// makeInput makes a random input from those of the pool, which grows a little.
static void makeInput(run *r, uint64_t *rnd) {
	const input *from = r->npool > 0 ? &r->pool[fuzz_below(rnd, r->npool)] : NULL;
	r->n = from != NULL ? from->n : 0;
	if (from != NULL) {
		memcpy(r->data, from->data, from->n);
	}
	if (fuzz_below(rnd, 4) == 0 && r->npool > 1) {
		const input *other = &r->pool[fuzz_below(rnd, r->npool)];
		r->n = LLVMFuzzerCustomCrossOver(
			from->data, from->n, other->data, other->n, r->data, maxInput, (unsigned)fuzz_random(rnd));
	}
	r->n = LLVMFuzzerCustomMutator(r->data, r->n, maxInput, (unsigned)fuzz_random(rnd));
	if (r->npool < 64 || (r->npool < maxPool && fuzz_below(rnd, 64) == 0)) {
		keep(r);
	}
}

static void runRandom(run *r) {
	uint64_t rnd = r->seed;
	r->path = NULL;
	r->n = 0;
	fuzz_run(fuzz_this(), r->data, r->n);
	for (const double end = now() + r->seconds; now() < end;) {
		makeInput(r, &rnd);
		r->ops += fuzz_run(fuzz_this(), r->data, r->n);
		r->inputs++;
	}
}

static void listOps(void) {
	const fuzz_target *t = fuzz_this();
	for (unsigned i = 0; i <= t->nops; i++) {
		const fuzz_arg *args = i == 0 ? t->config : t->ops[i - 1].args;
		printf("%s", i == 0 ? "config" : t->ops[i - 1].name);
		for (unsigned k = 0; k < FUZZ_MAX_ARGS && args[k].name != NULL; k++) {
			printf(" %s(", args[k].name);
			printf(args[k].max != 0 ? "0..%llu)" : "%llu bytes)",
				(unsigned long long)(args[k].max != 0 ? args[k].max : args[k].bytes));
		}
		putchar('\n');
	}
}

static const char *nextArg(int argc, char **argv, int *i) {
	if (++*i >= argc) {
		usage(stderr);
		exit(EXIT_USAGE);
	}
	return argv[*i];
}

static bool option(run *r, int argc, char **argv, int *i) {
	const char *a = argv[*i];
	if (a[0] != '-' || a[1] == 0) {
		return false;
	}
	if (strcmp(a, "--help") == 0 || strcmp(a, "-h") == 0) {
		usage(stdout);
		exit(0);
	}
	if (strcmp(a, "--ops") == 0) {
		listOps();
		exit(0);
	}
	if (strcmp(a, "--show") == 0) {
		r->mode = "text";
	} else if (strcmp(a, "--c") == 0) {
		r->mode = "c";
	} else if (strcmp(a, "--encode") == 0) {
		r->mode = "encode";
	} else if (strcmp(a, "--shrink") == 0) {
		r->mode = "shrink";
	} else if (strcmp(a, "-o") == 0) {
		r->out = nextArg(argc, argv, i);
	} else if (strcmp(a, "--seconds") == 0) {
		r->seconds = strtod(nextArg(argc, argv, i), NULL);
	} else if (strcmp(a, "--seed") == 0) {
		r->seed = strtoull(nextArg(argc, argv, i), NULL, 0);
	} else {
		usage(stderr);
		exit(EXIT_USAGE);
	}
	return true;
}

int main(int argc, char **argv) {
	LLVMFuzzerInitialize(&argc, &argv);
	run *r = &theRun;
	r->mode = "run";
	r->seed = 1;
	fuzz_on_failure(tellInput, EXIT_FOUND);
	int npaths = 0;
	for (int i = 1; i < argc; i++) {
		if (!option(r, argc, argv, &i)) {
			argv[npaths++] = argv[i];
		}
	}
	if (npaths == 0 && r->seconds <= 0) {
		usage(stderr);
		return EXIT_USAGE;
	}
	const double start = now();
	for (int i = 0; i < npaths; i++) {
		doPath(r, argv[i]);
	}
	if (r->seconds > 0) {
		runRandom(r);
	}
	if (strcmp(r->mode, "run") == 0) {
		printf("fuzz_%s: %llu inputs, %llu operations, %.0f inputs a second\n", fuzz_this()->name,
			(unsigned long long)r->inputs, (unsigned long long)r->ops, (double)r->inputs / (now() - start + 1e-9));
	}
	r->ended = true;
	for (size_t i = 0; i < r->npool; i++) {
		free(r->pool[i].data);
	}
	return 0;
}
