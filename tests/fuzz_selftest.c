// fuzz_selftest.c: a fuzz target with a planted bug, for the tests of the framework. A stack of numbers against a stack of numbers.
//
// The bug: with more than three numbers on it, a number above 900 comes back one too large.
#include "fuzz/fuzz.h"

#include <signal.h>
#include <stdlib.h>

enum { maxDepth = 16 };

typedef struct state {
	uint64_t values[maxDepth];
	unsigned depth;
} state;

static void push(void *v, const uint64_t *a) {
	state *s = v;
	if (s->depth < maxDepth) {
		s->values[s->depth++] = a[0];
	}
}

static uint64_t popWrongly(state *s) {
	const uint64_t value = s->values[s->depth - 1];
	return s->depth > 3 && value > 900 ? value + 1 : value;
}

static void pop(void *v, const uint64_t *a) {
	(void)a;
	state *s = v;
	if (s->depth == 0) {
		return;
	}
	const uint64_t got = popWrongly(s);
	s->depth--;
	fuzz_equal("the number on top", got, s->values[s->depth]);
}

// crash is there to be called: what a target does when it dies of something else than a comparison.
static void crash(void *v, const uint64_t *a) {
	(void)v;
	if (a[0] == 0xdead) {
		abort();
	}
	if (a[0] == 0xbad) {
		raise(SIGSEGV);
	}
}

static void swap(void *v, const uint64_t *a) {
	state *s = v;
	if (s->depth < 2) {
		return;
	}
	const uint64_t i = a[0] % s->depth, j = a[1] % s->depth, value = s->values[i];
	s->values[i] = s->values[j];
	s->values[j] = value;
}

static void *begin(const uint64_t *config) {
	state *s = calloc(1, sizeof *s);
	fuzz_check(s != NULL, "out of memory");
	push(s, config);
	return s;
}

static const fuzz_op_info ops[] = {
	{"push", {{"value", 2, FUZZ_ANY, 999}}, push},
	{"pop", {{0}}, pop},
	{"swap", {{"i", 1, FUZZ_INDEX, 0}, {"j", 8, FUZZ_WORD, 0}}, swap},
	{"crash", {{"code", 2, FUZZ_ANY, 0}}, crash},
};

FUZZ_TARGET(selftest) = {
	.name = "selftest",
	.what = "a stack with a planted bug against itself",
	.config = {{"bottom", 2, FUZZ_SIZE, 5000}},
	.ops = ops,
	.nops = sizeof ops / sizeof ops[0],
	.max_ops = 40,
	.begin = begin,
	.end = free,
	.small = true,
};
