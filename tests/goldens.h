// goldens.h: reads what Go's own allocator did and answered (tests/goldens/programs_test.go says how it is written), lets the port do the same
// and compares the answers. A stream is a file of goldens, or comes from a Go that runs now.
//
// Invariant: a stream is good only if its last line says how many programs and cases it has, and so many were run.
#ifndef GOMEM_TESTS_GOLDENS_H
#define GOMEM_TESTS_GOLDENS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { goldensKindsMax = 16, goldensNumbersMax = 160 };

typedef struct goldensCount {
	const char *kind;
	uint64_t programs, cases;
} goldensCount;

typedef enum goldensStatus { GOLDENS_EQUAL, GOLDENS_DIFFERENT, GOLDENS_BAD } goldensStatus;

typedef struct goldensResult {
	goldensStatus status;
	uint64_t seed;
	uint64_t programs, cases; // cases compared and equal
	goldensCount kinds[goldensKindsMax];
	unsigned nkinds;
	char go[64];        // the Go that answered
	char message[8192]; // what differs, or what is wrong with the stream
} goldensResult;

// goldens_run reads in to its end. tell, which may be NULL, is called before each program.
void goldens_run(FILE *in, goldensResult *r, void (*tell)(const goldensResult *r));

// ---- what the kinds (goldens_pages.c, goldens_objects.c) have from the reader (goldens.c)

typedef struct goldensNumbers {
	uint64_t v[goldensNumbersMax];
	unsigned n;
} goldensNumbers;

// An operation: its arguments, and where its answers go.
typedef struct goldensCall {
	const uint64_t *a;
	unsigned n;
	goldensNumbers answers;
} goldensCall;

static inline void goldens_answer(goldensCall *c, uint64_t v) {
	if (c->answers.n < goldensNumbersMax) {
		c->answers.v[c->answers.n++] = v;
	}
}

// goldens_digest folds a word into a digest, as GomemDigest does.
static inline uint64_t goldens_digest(uint64_t h, uint64_t v) {
	h = (h ^ v) * 0x9e3779b97f4a7c15u;
	return h ^ h >> 29;
}

typedef struct goldensOp {
	const char *name;
	unsigned least, most; // arguments
	void (*run)(void *state, goldensCall *c);
} goldensOp;

// A kind of programs. begin makes the state of a program, in which thrown may be called with it, and end frees it.
typedef struct goldensKind {
	const char *name;
	void *(*begin)(void (*thrown)(void *ctx, const char *msg), void *ctx);
	void (*end)(void *state);
	const goldensOp *ops; // up to one without a name
} goldensKind;

extern const goldensKind goldensBits, goldensBitrange, goldensSums, goldensPagecache, goldensPagealloc,
	goldensScavindex;
extern const goldensKind goldensRanges, goldensSizeclass, goldensSpanclass, goldensHeapbits, goldensArena;

#endif
