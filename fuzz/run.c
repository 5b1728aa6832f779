// run.c: runs one input, and tells what failed: the operation, the reason, and the program as C.
//
// Invariant: while a program runs, current names it, and op is the operation under way (current.p->n: none).
#include "fuzz/fuzz.h"

#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuzz/fuzz_host.h"

// A process runs one input at a time; a crash can only be told from here.
static struct {
	const fuzz_target *t;
	const fuzz_program *p;
	unsigned op;
	bool told;
	void (*tellInput)(void);
	int code;         // to end the process with; 0: abort
	bool quick, skim; // an engine is there; slow checks only at the end
} current;

static void tellOp(void) {
	const fuzz_target *t = current.t;
	if (t == NULL || current.p == NULL || current.op >= current.p->n) {
		return;
	}
	const fuzz_op *op = &current.p->ops[current.op];
	const fuzz_op_info *info = &t->ops[op->kind];
	fprintf(stderr, "operation %u: %s(", current.op, info->name);
	for (unsigned i = 0; i < FUZZ_MAX_ARGS && info->args[i].name != NULL; i++) {
		fprintf(stderr, "%s%s=%llu", i > 0 ? ", " : "", info->args[i].name, (unsigned long long)op->a[i]);
	}
	fputs("): ", stderr);
}

// tellProgram prints the program up to the operation under way: what comes after has no part in it.
static void tellProgram(void) {
	if (current.told || current.p == NULL) {
		return;
	}
	static fuzz_program cut;
	cut = *current.p;
	cut.n = current.op < cut.n ? current.op + 1 : cut.n;
	fputs("\nthe program, for a unit test (tests/test_fuzz.c):\n\n", stderr);
	fuzz_print_c(current.t, &cut, stderr);
	fputc('\n', stderr);
}

// tellRest tells what follows the message, once.
static void tellRest(void) {
	tellProgram();
	if (!current.told && current.tellInput != NULL) {
		current.tellInput();
	}
	current.told = true;
}

static _Noreturn void leave(void) {
	tellRest();
	if (current.code != 0) {
		fflush(NULL);
		_exit(current.code);
	}
	abort();
}

void fuzz_fail(const char *fmt, ...) {
	fprintf(stderr, "\nfuzz_%s: ", current.t != NULL ? current.t->name : "?");
	tellOp();
	va_list ap;
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	leave();
}

void fuzz_unequal(const char *what, uint64_t port, uint64_t oracle) {
	fuzz_fail("%s: gomem %#llx, oracle %#llx", what, (unsigned long long)port, (unsigned long long)oracle);
}

void fuzz_thrown(void *guard, const char *msg) {
	fuzz_guard *g = guard;
	if (g == NULL || !g->armed) {
		fuzz_fail("thrown: %s", msg);
	}
	snprintf(g->msg, sizeof g->msg, "%s", msg);
	longjmp(g->back, 1);
}

bool fuzz_throws(fuzz_guard *g, void (*fn)(void *), void *arg) {
	g->armed = true;
	g->msg[0] = 0;
	const bool threw = setjmp(g->back) != 0;
	if (!threw) {
		fn(arg);
	}
	g->armed = false;
	return threw;
}

// ---- running

static jmp_buf givenUp;
static bool mayGiveUp; // givenUp is set, and the target can abandon

void fuzz_give_up(void) {
	if (!mayGiveUp) {
		fuzz_fail("given up where there is nothing to go back to");
	}
	longjmp(givenUp, 1);
}

static void run_ops(const fuzz_target *t, const fuzz_program *p, void *state) {
	for (unsigned i = 0; i < p->n; i++) {
		current.op = i;
		t->ops[p->ops[i].kind].run(state, p->ops[i].a);
		if (t->after != NULL) {
			t->after(state);
		}
	}
}

void fuzz_run_program(const fuzz_target *t, const fuzz_program *p) {
	current.t = t;
	current.p = p;
	current.op = p->n;
	void *const state = t->begin(p->config);
	if (setjmp(givenUp) == 0) {
		mayGiveUp = t->abandon != NULL;
		run_ops(t, p, state);
		current.op = p->n;
		t->end(state);
	} else {
		fuzz_host_obey();
		t->abandon(state);
	}
	mayGiveUp = false;
	current.p = NULL;
}

bool fuzz_thorough(void) { return !current.skim; }
bool fuzz_unhurried(void) { return !current.quick; }
void fuzz_be_quick(void) { current.quick = true; }

static uint64_t hash(const uint8_t *data, size_t n) {
	uint64_t h = n;
	for (size_t i = 0; i < n; i++) {
		h = (h ^ data[i]) * 0x100000001b3u;
	}
	return h ^ h >> 32;
}

size_t fuzz_run(const fuzz_target *t, const uint8_t *data, size_t n) {
	current.t = t;
	if (t->input != NULL) {
		t->input(data, n);
		return 1;
	}
	static fuzz_program p;
	fuzz_decode(t, data, n, &p);
	current.skim = current.quick && hash(data, n) % fuzzThorough != 0;
	fuzz_run_program(t, &p);
	current.skim = false;
	return p.n;
}

void fuzz_play(const fuzz_target *t, const uint64_t config[FUZZ_MAX_ARGS], const fuzz_step *steps) {
	static fuzz_program p;
	current.t = t;
	memcpy(p.config, config, sizeof p.config);
	p.n = 0;
	for (; steps->op != NULL; steps++) {
		unsigned kind = 0;
		while (kind < t->nops && strcmp(t->ops[kind].name, steps->op) != 0) {
			kind++;
		}
		if (kind == t->nops || p.n == FUZZ_MAX_OPS) {
			fuzz_fail("no operation %s, or too many", steps->op);
		}
		p.ops[p.n].kind = kind;
		memcpy(p.ops[p.n++].a, steps->a, sizeof steps->a);
	}
	fuzz_run_program(t, &p);
}

// ---- crashes

void fuzz_on_failure(void (*tellInput)(void), int code) {
	current.tellInput = tellInput;
	current.code = code;
}

// tellCrash tells what was running when something other than a comparison failed.
static void tellCrash(const char *what) {
	if (current.told) {
		return;
	}
	fprintf(stderr, "\nfuzz_%s: ", current.t != NULL ? current.t->name : "?");
	tellOp();
	fprintf(stderr, "%s\n", what);
	tellRest();
}

static void onSignal(int sig) {
	tellCrash(strsignal(sig));
	if (current.code != 0) {
		leave();
	}
	signal(sig, SIG_DFL);
	raise(sig);
}

// Sanitizers call these before they report, under every engine.
void __asan_on_error(void);
void __asan_on_error(void) { tellCrash("AddressSanitizer, see below"); }
void __ubsan_on_report(void);
void __ubsan_on_report(void) { tellCrash("undefined behavior, see below"); }

// A heap is a few blocks of 100 KiB in all: if many were held back for late use, each run would touch fresh pages. ASAN_OPTIONS goes before.
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "quarantine_size_mb=2:malloc_context_size=4"; }

// What has no call of its own, such as a leak at the end.
static void onDeath(void) {
	tellCrash("a sanitizer, see above");
	if (current.code != 0) {
		leave();
	}
}

// A sanitizer's runtime offers this; without one it is absent.
extern void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

void fuzz_catch_crashes(void) {
	signal(SIGABRT, onSignal);
	if (__sanitizer_set_death_callback != NULL) {
		__sanitizer_set_death_callback(onDeath);
		return;
	}
	static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
	for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
		signal(signals[i], onSignal);
	}
}
