// fuzz.h: what a fuzz target is made of. An input is a *program*: a configuration, then operations with arguments.
//
//   input  = config op*            op = kind (1 byte), arguments (each as many bytes as its fuzz_arg says, little endian)
//
// A target is a table of operations, and three functions: begin makes a state, end releases it, after tests it when an operation is
// done. Everything else (decoding, mutation, crossover, printing, libFuzzer's entry points, an ordinary main) is the same for all.
//
// Invariants: any bytes decode to a program; decode(encode(p)) == p; an argument is at most its max; running a program twice from
// begin takes the same decisions.
#ifndef GOMEM_FUZZ_FUZZ_H
#define GOMEM_FUZZ_FUZZ_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FUZZ_MAX_ARGS = 6, FUZZ_MAX_OPS = 400, fuzzThorough = 8 };

// Which values of an argument are worth trying: the borders that the mutator knows.
typedef enum fuzz_values {
	FUZZ_ANY,   // any number, small ones and powers of two more often
	FUZZ_SIZE,  // bytes of an object: size classes +- 1, tiny sizes, pages, large
	FUZZ_PAGES, // a count of pages: 1, 15, 16, 63..65, 511..513, 8191..8193
	FUZZ_INDEX, // an index: multiples of 64 and of 512, +- 1
	FUZZ_WORD,  // 64 bits: runs of ones, single bits, patterns
} fuzz_values;

typedef struct fuzz_arg {
	const char *name;   // NULL: there is none
	uint8_t bytes;      // 1 to 8: how it is stored
	fuzz_values values; // what the mutator tries
	uint64_t max;       // the value is reduced modulo max + 1; 0: whatever fits
} fuzz_arg;

typedef struct fuzz_op_info {
	const char *name;
	fuzz_arg args[FUZZ_MAX_ARGS];
	void (*run)(void *state, const uint64_t *a); // a: FUZZ_MAX_ARGS values, 0 for those that are not there
} fuzz_op_info;

typedef struct fuzz_target {
	const char *name;
	const char *what;               // one line for the list of targets: what is compared with what
	fuzz_arg config[FUZZ_MAX_ARGS]; // the world that the program begins in
	const fuzz_op_info *ops;
	unsigned nops; // at most 256
	unsigned
		max_ops; // a program has no more operations than this; 0: FUZZ_MAX_OPS. Small targets want about 50, to be fast
	void *(*begin)(const uint64_t *config); // the state of one run; fails with fuzz_fail
	void (*after)(void *state);             // after each operation; may be NULL
	void (*end)(void *state);
	void (*abandon)(void *state); // instead of end, after fuzz_give_up
	void (*input)(const uint8_t *data,
		size_t n); // a target that takes bytes as they are has this, and nothing above but the names
	bool small;    // a target of one component: 10,000 executions a second are expected, not 1,000
} fuzz_target;

// fuzz_max_ops: a program of t has no more operations.
static inline unsigned fuzz_max_ops(const fuzz_target *t) { return t->max_ops != 0 ? t->max_ops : FUZZ_MAX_OPS; }

// fuzz_target_NAME is defined in fuzz_NAME.c: FUZZ_TARGET(NAME) = {...};
#define FUZZ_TARGET(target)                                                                                            \
	extern const fuzz_target fuzz_target_##target;                                                                     \
	const fuzz_target fuzz_target_##target

// ---- failing. Each says which operation was running, prints the program as C, and ends the process

_Noreturn void fuzz_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
// fuzz_unequal reports two answers that should be the same.
_Noreturn void fuzz_unequal(const char *what, uint64_t port, uint64_t oracle);
static inline void fuzz_check(bool ok, const char *what) {
	if (__builtin_expect(!ok, false)) {
		fuzz_fail("%s", what);
	}
}
// fuzz_must fails with what a check of invariants says; NULL: they hold.
static inline void fuzz_must(const char *bad) {
	if (__builtin_expect(bad != NULL, false)) {
		fuzz_fail("%s", bad);
	}
}
static inline void fuzz_equal(const char *what, uint64_t port, uint64_t oracle) {
	if (__builtin_expect(port != oracle, false)) {
		fuzz_unequal(what, port, oracle);
	}
}

// fuzz_give_up ends the run under way without a failure: what is documented to end a program has happened. The target has abandon.
_Noreturn void fuzz_give_up(void);

// ---- throws that a target expects. Use fuzz_thrown as the throw hook, with a guard as its context (or NULL: never expected).
typedef struct fuzz_guard {
	jmp_buf back;
	bool armed;
	char msg[256]; // what was thrown last
} fuzz_guard;
void fuzz_thrown(void *guard, const char *msg);
// fuzz_throws runs fn(arg) and says whether it threw; what fn held is not released.
bool fuzz_throws(fuzz_guard *g, void (*fn)(void *), void *arg);

// ---- programs
typedef struct fuzz_op {
	unsigned kind;
	uint64_t a[FUZZ_MAX_ARGS];
} fuzz_op;
typedef struct fuzz_program {
	uint64_t config[FUZZ_MAX_ARGS];
	unsigned n;
	fuzz_op ops[FUZZ_MAX_OPS];
} fuzz_program;

// fuzz_decode reads a program; operations past the target's max_ops and a last one that is cut are dropped.
void fuzz_decode(const fuzz_target *t, const uint8_t *data, size_t n, fuzz_program *p);
// fuzz_encode gives the bytes written; what does not fit in max is left out.
size_t fuzz_encode(const fuzz_target *t, const fuzz_program *p, uint8_t *data, size_t max);
// fuzz_run_program runs a program from begin to end.
void fuzz_run_program(const fuzz_target *t, const fuzz_program *p);
// fuzz_thorough: this run makes slow checks after each operation, not only at the end. Every run does, unless an engine is there to be quick:
// then one input of fuzzThorough, always the same ones.
bool fuzz_thorough(void);
// fuzz_unhurried: there is no engine: the slowest checks can be made, too.
bool fuzz_unhurried(void);
// fuzz_be_quick: an engine is there.
void fuzz_be_quick(void);
// fuzz_run runs one input, whatever the target takes. Returns the number of operations.
size_t fuzz_run(const fuzz_target *t, const uint8_t *data, size_t n);

// A step of a program as C writes it; .op == NULL ends the list.
typedef struct fuzz_step {
	const char *op;
	uint64_t a[FUZZ_MAX_ARGS];
} fuzz_step;
// fuzz_play runs what a failure printed: paste it into a unit test.
void fuzz_play(const fuzz_target *t, const uint64_t config[FUZZ_MAX_ARGS], const fuzz_step *steps);

// fuzz_mutate changes a program in place, fuzz_cross makes one of two; both give the new size. For libFuzzer and for the driver.
size_t fuzz_mutate(const fuzz_target *t, uint8_t *data, size_t n, size_t max, uint32_t seed);
size_t fuzz_cross(const fuzz_target *t, const uint8_t *a, size_t na, const uint8_t *b, size_t nb, uint8_t *out,
	size_t max, uint32_t seed);
// fuzz_mutate_bytes changes bytes that are no program, where the engine offers no better way.
size_t fuzz_mutate_bytes(uint8_t *data, size_t n, size_t max, uint32_t seed);

// fuzz_shrink makes a program that fails small; fails says whether it still does.
void fuzz_shrink(const fuzz_target *t, fuzz_program *p, bool (*fails)(const fuzz_program *p, void *ctx), void *ctx);

// Printing: as text (one operation a line, what fuzz_parse reads) or as C.
#include <stdio.h>
void fuzz_print_text(const fuzz_target *t, const fuzz_program *p, FILE *out);
void fuzz_print_c(const fuzz_target *t, const fuzz_program *p, FILE *out);
// fuzz_parse reads what fuzz_print_text wrote. false: err tells the line and the reason.
bool fuzz_parse(const fuzz_target *t, const char *text, fuzz_program *p, char err[256]);

// fuzz_on_failure: tellInput (or NULL) is called once when a failure was printed, then the process ends with the code, or aborts if it is 0.
void fuzz_on_failure(void (*tellInput)(void), int code);
// fuzz_catch_crashes lets signals and sanitizers tell as much as a failed comparison.
void fuzz_catch_crashes(void);

// Random numbers from one seed (splitmix64), the same on every machine.
static inline uint64_t fuzz_random(uint64_t *state) {
	uint64_t z = *state += 0x9e3779b97f4a7c15u;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}
static inline uint64_t fuzz_below(uint64_t *state, uint64_t n) { return n == 0 ? 0 : fuzz_random(state) % n; }

#endif
