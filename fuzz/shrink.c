// shrink.c: makes a failing program small, so that one can read it: operations go, then arguments become 0 or smaller.
//
// Invariant: the program fails, by the judge's word, after each step as it did before.
#include "fuzz/fuzz.h"

#include <string.h>

typedef struct shrinker {
	const fuzz_target *t;
	fuzz_program *p;
	bool (*fails)(const fuzz_program *p, void *ctx);
	void *ctx;
} shrinker;

// dropRuns drops each run of len operations that is not needed. true: something went.
static bool dropRuns(shrinker *s, unsigned len) {
	static fuzz_program before;
	fuzz_program *p = s->p;
	bool dropped = false;
	for (unsigned at = 0; at + len <= p->n;) {
		before = *p;
		memmove(&p->ops[at], &p->ops[at + len], (p->n - at - len) * sizeof *p->ops);
		p->n -= len;
		if (s->fails(p, s->ctx)) {
			dropped = true;
		} else {
			*p = before;
			at += len;
		}
	}
	return dropped;
}

// lessen makes one argument as small as it may be: 0, else by halves, else by ones.
static void lessen(shrinker *s, uint64_t *arg) {
	for (uint64_t step = *arg; step > 0;) {
		const uint64_t before = *arg;
		*arg -= step;
		if (s->fails(s->p, s->ctx)) {
			step = step < *arg ? step : *arg;
		} else {
			*arg = before;
			step /= 2;
		}
	}
}

static void lessenAll(shrinker *s, const fuzz_arg *args, uint64_t *a) {
	for (unsigned i = 0; i < FUZZ_MAX_ARGS && args[i].name != NULL; i++) {
		lessen(s, &a[i]);
	}
}

void fuzz_shrink(const fuzz_target *t, fuzz_program *p, bool (*fails)(const fuzz_program *p, void *ctx), void *ctx) {
	shrinker s = {t, p, fails, ctx};
	for (bool again = true; again;) {
		again = false;
		for (unsigned len = p->n; len > 0; len /= 2) {
			again = dropRuns(&s, len) || again;
		}
	}
	lessenAll(&s, t->config, p->config);
	for (unsigned i = 0; i < p->n; i++) {
		lessenAll(&s, t->ops[p->ops[i].kind].args, p->ops[i].a);
	}
}
