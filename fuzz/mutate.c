// mutate.c: changes programs as somebody would who knows the allocator: operations are inserted, dropped, repeated, swapped and
// spliced; arguments move to the borders of their kind, or take the value of any operation's argument.
#include "fuzz/fuzz.h"

#include <string.h>

#include "gomem/sizeclasses.h"

typedef struct mutator {
	const fuzz_target *t;
	uint64_t rnd;
} mutator;

static uint64_t below(mutator *m, uint64_t n) { return fuzz_below(&m->rnd, n); }
static uint64_t pick(mutator *m, const uint64_t *v, size_t n) { return v[below(m, n)]; }

// near moves a border by -1, 0 or 1.
static uint64_t near(mutator *m, uint64_t v) { return v + below(m, 3) - 1; }

static uint64_t anyNumber(mutator *m) {
	switch (below(m, 4)) {
	case 0:
		return below(m, 8);
	case 1:
		return near(m, (uint64_t)1 << below(m, 64));
	case 2:
		return fuzz_random(&m->rnd) >> below(m, 64);
	default:
		return below(m, 256);
	}
}

static uint64_t someSize(mutator *m) {
	switch (below(m, 6)) {
	case 0:
		return below(m, 17);
	case 1:
		return near(m, 8192 * (1 + below(m, 40)));
	case 2:
		return near(m, 32768 - 8 * below(m, 3));
	case 3:
		return near(m, 512 + 8 * below(m, 3));
	default:
		return near(m, class_to_size[1 + below(m, sizeof class_to_size / sizeof class_to_size[0] - 1)]);
	}
}

static uint64_t somePages(mutator *m) {
	static const uint64_t borders[] = {
		1, 2, 4, 8, 15, 16, 17, 32, 63, 64, 65, 128, 511, 512, 513, 1023, 1024, 8191, 8192, 8193};
	return below(m, 3) == 0 ? below(m, 20) : pick(m, borders, sizeof borders / sizeof borders[0]);
}

static uint64_t someIndex(mutator *m) {
	switch (below(m, 3)) {
	case 0:
		return near(m, 64 * below(m, 9));
	case 1:
		return near(m, 512 * below(m, 17));
	default:
		return below(m, 64);
	}
}

static uint64_t someWord(mutator *m) {
	static const uint64_t patterns[] = {0, ~(uint64_t)0, 0x5555555555555555, 0xaaaaaaaaaaaaaaaa, 0xff00ff00ff00ff00,
		0x8000000000000000, 1, 0x8000000000000001, 0x7fffffffffffffff, 0xfffffffffffffffe, 0x00ffffffffffff00};
	switch (below(m, 4)) {
	case 0:
		return pick(m, patterns, sizeof patterns / sizeof patterns[0]);
	case 1: { // a run of ones or of zeros
		const unsigned at = (unsigned)below(m, 64), len = 1 + (unsigned)below(m, 64);
		const uint64_t run = (len == 64 ? ~(uint64_t)0 : ((uint64_t)1 << len) - 1) << at;
		return below(m, 2) == 0 ? run : ~run;
	}
	case 2: { // one bit in eight
		uint64_t sparse = fuzz_random(&m->rnd);
		sparse &= fuzz_random(&m->rnd);
		return sparse & fuzz_random(&m->rnd);
	}
	default:
		return fuzz_random(&m->rnd);
	}
}

static uint64_t someValue(mutator *m, const fuzz_arg *arg) {
	uint64_t v = 0;
	switch (arg->values) {
	case FUZZ_ANY:
		v = anyNumber(m);
		break;
	case FUZZ_SIZE:
		v = someSize(m);
		break;
	case FUZZ_PAGES:
		v = somePages(m);
		break;
	case FUZZ_INDEX:
		v = someIndex(m);
		break;
	case FUZZ_WORD:
		v = someWord(m);
		break;
	}
	if (arg->max != 0 && arg->max != UINT64_MAX && v > arg->max && below(m, 4) == 0) {
		v = near(m, arg->max);
	}
	return v;
}

static unsigned numArgs(const fuzz_arg *args) {
	unsigned n = 0;
	while (n < FUZZ_MAX_ARGS && args[n].name != NULL) {
		n++;
	}
	return n;
}

static void newArgs(mutator *m, const fuzz_arg *args, uint64_t *a) {
	for (unsigned i = 0; i < numArgs(args); i++) {
		a[i] = someValue(m, &args[i]);
	}
}

static void changeArg(mutator *m, const fuzz_arg *args, uint64_t *a) {
	const unsigned n = numArgs(args);
	if (n == 0) {
		return;
	}
	const unsigned i = (unsigned)below(m, n);
	switch (below(m, 4)) {
	case 0:
		a[i] += below(m, 2) == 0 ? 1 : ~(uint64_t)0;
		break;
	case 1:
		a[i] ^= (uint64_t)1 << below(m, args[i].bytes * 8u);
		break;
	default:
		a[i] = someValue(m, &args[i]);
	}
}

// share gives some arguments of op the value that an argument of that name has in another one: so that they meet in a size class, a P, a page.
static void share(mutator *m, const fuzz_op *other, fuzz_op *op) {
	const fuzz_arg *theirs = m->t->ops[other->kind].args, *ours = m->t->ops[op->kind].args;
	for (unsigned i = 0; i < numArgs(ours); i++) {
		for (unsigned j = 0; j < numArgs(theirs); j++) {
			if (strcmp(ours[i].name, theirs[j].name) == 0 && below(m, 2) == 0) {
				op->a[i] = other->a[j];
			}
		}
	}
}

static fuzz_op newOp(mutator *m) {
	fuzz_op op = {.kind = (unsigned)below(m, m->t->nops)};
	newArgs(m, m->t->ops[op.kind].args, op.a);
	return op;
}

// ---- changes of the list of operations

// insertOps puts n operations at place at; what passes the end falls off. ops may lie within p.
static void insertOps(fuzz_program *p, unsigned at, const fuzz_op *ops, unsigned n) {
	static fuzz_op copy[FUZZ_MAX_OPS];
	n = n < FUZZ_MAX_OPS - at ? n : FUZZ_MAX_OPS - at;
	memcpy(copy, ops, n * sizeof *ops);
	const unsigned room = FUZZ_MAX_OPS - at - n, tail = p->n - at < room ? p->n - at : room;
	memmove(&p->ops[at + n], &p->ops[at], tail * sizeof *p->ops);
	memcpy(&p->ops[at], copy, n * sizeof *copy);
	p->n = at + n + tail;
}

static void removeOps(fuzz_program *p, unsigned at, unsigned n) {
	memmove(&p->ops[at], &p->ops[at + n], (p->n - at - n) * sizeof *p->ops);
	p->n -= n;
}

// someRun gives a run of operations, short ones more often. p is not empty.
static unsigned someRun(mutator *m, const fuzz_program *p, unsigned *at) {
	*at = (unsigned)below(m, p->n);
	const unsigned most = p->n - *at, len = 1u + (unsigned)below(m, (uint64_t)1 << below(m, 6));
	return len < most ? len : most;
}

static void insertNew(mutator *m, fuzz_program *p) {
	fuzz_op fresh[8];
	const unsigned n = 1 + (unsigned)below(m, sizeof fresh / sizeof fresh[0]);
	for (unsigned i = 0; i < n; i++) {
		fresh[i] = newOp(m);
		if (p->n > 0) {
			share(m, &p->ops[below(m, p->n)], &fresh[i]);
		}
	}
	insertOps(p, (unsigned)below(m, p->n + 1u), fresh, n);
}

static void repeatRun(mutator *m, fuzz_program *p) {
	unsigned at;
	const unsigned n = someRun(m, p, &at);
	for (uint64_t times = 1 + below(m, (uint64_t)1 << below(m, 7)); times > 0 && p->n < FUZZ_MAX_OPS; times--) {
		insertOps(p, at, &p->ops[at], n);
	}
}

static void moveRun(mutator *m, fuzz_program *p) {
	static fuzz_op run[FUZZ_MAX_OPS];
	unsigned at;
	const unsigned n = someRun(m, p, &at);
	memcpy(run, &p->ops[at], n * sizeof *run);
	removeOps(p, at, n);
	insertOps(p, (unsigned)below(m, p->n + 1u), run, n);
}

static void swapTwo(mutator *m, fuzz_program *p) {
	const unsigned i = (unsigned)below(m, p->n), j = (unsigned)below(m, p->n);
	const fuzz_op op = p->ops[i];
	p->ops[i] = p->ops[j];
	p->ops[j] = op;
}

// copyArg gives an operation an argument of another one: so that they speak of the same object or page.
static void copyArg(mutator *m, fuzz_program *p) {
	const fuzz_op *from = &p->ops[below(m, p->n)];
	fuzz_op *to = &p->ops[below(m, p->n)];
	const unsigned nf = numArgs(m->t->ops[from->kind].args), nt = numArgs(m->t->ops[to->kind].args);
	if (nf > 0 && nt > 0) {
		to->a[below(m, nt)] = from->a[below(m, nf)];
	}
}

static void mutateOnce(mutator *m, fuzz_program *p) {
	if (p->n == 0) {
		insertNew(m, p);
		return;
	}
	unsigned at, n;
	switch (below(m, 12)) {
	case 0:
	case 1:
	case 2:
		insertNew(m, p);
		break;
	case 3:
		n = someRun(m, p, &at);
		removeOps(p, at, n);
		break;
	case 4:
		repeatRun(m, p);
		break;
	case 5:
		moveRun(m, p);
		break;
	case 6:
		swapTwo(m, p);
		break;
	case 7:
		copyArg(m, p);
		break;
	case 8:
		p->ops[below(m, p->n)] = newOp(m);
		break;
	case 9:
		changeArg(m, m->t->config, p->config);
		break;
	default:
		at = (unsigned)below(m, p->n);
		changeArg(m, m->t->ops[p->ops[at].kind].args, p->ops[at].a);
	}
}

// fit drops operations until there are as few as the target runs, so that the last ones are not always those that go.
static void fit(mutator *m, fuzz_program *p) {
	while (p->n > fuzz_max_ops(m->t)) {
		removeOps(p, (unsigned)below(m, p->n), 1);
	}
}

size_t fuzz_mutate(const fuzz_target *t, uint8_t *data, size_t n, size_t max, uint32_t seed) {
	static fuzz_program p;
	mutator m = {t, seed};
	fuzz_decode(t, data, n, &p);
	for (uint64_t times = 1 + below(&m, (uint64_t)1 << below(&m, 4)); times > 0; times--) {
		mutateOnce(&m, &p);
	}
	fit(&m, &p);
	return fuzz_encode(t, &p, data, max);
}

size_t fuzz_cross(const fuzz_target *t, const uint8_t *a, size_t na, const uint8_t *b, size_t nb, uint8_t *out,
	size_t max, uint32_t seed) {
	static fuzz_program p, q;
	mutator m = {t, seed};
	fuzz_decode(t, a, na, &p);
	fuzz_decode(t, b, nb, &q);
	if (q.n > 0) {
		unsigned at;
		const unsigned n = below(&m, 2) == 0 ? someRun(&m, &q, &at) : q.n - (at = (unsigned)below(&m, q.n));
		insertOps(&p, (unsigned)below(&m, p.n + 1u), &q.ops[at], n);
	}
	fit(&m, &p);
	return fuzz_encode(t, &p, out, max);
}

// ---- bytes as they are

static void changeByte(mutator *m, uint8_t *data, size_t n) {
	static const uint8_t borders[] = {0, 1, 0x7f, 0x80, 0xff};
	uint8_t *byte = &data[below(m, n)];
	switch (below(m, 3)) {
	case 0:
		*byte ^= (uint8_t)(1 << below(m, 8));
		break;
	case 1:
		*byte = borders[below(m, sizeof borders)];
		break;
	default:
		*byte = (uint8_t)fuzz_random(&m->rnd);
	}
}

static size_t insertBytes(mutator *m, uint8_t *data, size_t n, size_t max) {
	const size_t most = max - n < 16 ? max - n : 16, len = (size_t)below(m, most + 1), at = (size_t)below(m, n + 1);
	memmove(data + at + len, data + at, n - at);
	for (size_t i = at; i < at + len; i++) {
		data[i] = (uint8_t)fuzz_random(&m->rnd);
	}
	return n + len;
}

static size_t removeBytes(mutator *m, uint8_t *data, size_t n) {
	const size_t at = (size_t)below(m, n), len = 1 + (size_t)below(m, n - at < 16 ? n - at : 16);
	memmove(data + at, data + at + len, n - at - len);
	return n - len;
}

static void copyBytes(mutator *m, uint8_t *data, size_t n) {
	const size_t from = (size_t)below(m, n), to = (size_t)below(m, n), room = n - (from > to ? from : to);
	memmove(data + to, data + from, 1 + (size_t)below(m, room < 16 ? room : 16));
}

size_t fuzz_mutate_bytes(uint8_t *data, size_t n, size_t max, uint32_t seed) {
	mutator m = {NULL, seed};
	for (uint64_t times = 1 + below(&m, (uint64_t)1 << below(&m, 4)); times > 0; times--) {
		const uint64_t what = n == 0 ? 0 : below(&m, 6);
		if (what == 0) {
			n = insertBytes(&m, data, n, max);
		} else if (what == 1) {
			n = removeBytes(&m, data, n);
		} else if (what == 2) {
			copyBytes(&m, data, n);
		} else {
			changeByte(&m, data, n);
		}
	}
	return n;
}
