// test_fuzz.c: the framework of the fuzz targets, and programs that found a bug once (at the end: paste yours there).
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fuzz/fuzz.h"

extern const fuzz_target fuzz_target_selftest, fuzz_target_pallocbits;

enum { rounds = 2000, maxBytes = 8192 };

static const fuzz_target *const targets[] = {&fuzz_target_selftest, &fuzz_target_pallocbits};
enum { ntargets = sizeof targets / sizeof targets[0] };

static unsigned numArgs(const fuzz_arg *args) {
	unsigned n = 0;
	while (n < FUZZ_MAX_ARGS && args[n].name != NULL) {
		n++;
	}
	return n;
}

static void assertWithin(const fuzz_arg *args, const uint64_t *a) {
	for (unsigned i = 0; i < FUZZ_MAX_ARGS; i++) {
		if (i >= numArgs(args)) {
			assert_int_equal(a[i], 0);
			continue;
		}
		if (args[i].max != 0) {
			assert_true(a[i] <= args[i].max);
		}
		if (args[i].bytes < 8) {
			assert_true(a[i] >> args[i].bytes * 8 == 0);
		}
	}
}

static void assertValid(const fuzz_target *t, const fuzz_program *p) {
	assert_true(p->n <= t->max_ops);
	assertWithin(t->config, p->config);
	for (unsigned i = 0; i < p->n; i++) {
		assert_true(p->ops[i].kind < t->nops);
		assertWithin(t->ops[p->ops[i].kind].args, p->ops[i].a);
	}
}

static void assertSame(const fuzz_program *p, const fuzz_program *q) {
	assert_int_equal(p->n, q->n);
	assert_memory_equal(p->config, q->config, sizeof p->config);
	for (unsigned i = 0; i < p->n; i++) {
		assert_int_equal(p->ops[i].kind, q->ops[i].kind);
		assert_memory_equal(p->ops[i].a, q->ops[i].a, sizeof p->ops[i].a);
	}
}

static size_t randomBytes(uint64_t *rnd, uint8_t *data, size_t max) {
	const size_t n = (size_t)fuzz_below(rnd, max + 1);
	for (size_t i = 0; i < n; i++) {
		data[i] = (uint8_t)fuzz_random(rnd);
	}
	return n;
}

static void test_bytes_decode_and_encode(void **state) {
	(void)state;
	static uint8_t data[1024], again[maxBytes];
	static fuzz_program p, q;
	uint64_t rnd = 1;
	for (unsigned i = 0; i < rounds; i++) {
		const fuzz_target *t = targets[i % ntargets];
		const size_t n = randomBytes(&rnd, data, i < 100 ? 8 : sizeof data);
		fuzz_decode(t, data, n, &p);
		assertValid(t, &p);
		const size_t m = fuzz_encode(t, &p, again, sizeof again);
		fuzz_decode(t, again, m, &q);
		assertSame(&p, &q);
		assert_true(fuzz_encode(t, &q, data, sizeof data) == m && memcmp(data, again, m) == 0);
	}
}

static void test_encode_keeps_to_max(void **state) {
	(void)state;
	static uint8_t data[512], out[512];
	static fuzz_program p, q;
	uint64_t rnd = 2;
	for (unsigned i = 0; i < rounds; i++) {
		const fuzz_target *t = targets[i % ntargets];
		fuzz_decode(t, data, randomBytes(&rnd, data, sizeof data), &p);
		const size_t max = (size_t)fuzz_below(&rnd, 300);
		memset(out, 0x5a, sizeof out);
		const size_t n = fuzz_encode(t, &p, out, max);
		assert_true(n <= max);
		for (size_t k = max; k < sizeof out; k++) {
			assert_int_equal(out[k], 0x5a);
		}
		// What fits is the front of the program.
		fuzz_decode(t, out, n, &q);
		assert_true(q.n <= p.n);
		p.n = q.n;
		if (n > 0) {
			assertSame(&p, &q);
		}
	}
}

static void test_text_prints_and_parses(void **state) {
	(void)state;
	static uint8_t data[1024];
	static fuzz_program p, q;
	uint64_t rnd = 3;
	for (unsigned i = 0; i < rounds; i++) {
		const fuzz_target *t = targets[i % ntargets];
		fuzz_decode(t, data, randomBytes(&rnd, data, sizeof data), &p);
		char *text = NULL, err[256];
		size_t len = 0;
		FILE *f = open_memstream(&text, &len);
		assert_non_null(f);
		fuzz_print_text(t, &p, f);
		fclose(f);
		if (!fuzz_parse(t, text, &q, err)) {
			fail_msg("%s in:\n%s", err, text);
		}
		assertSame(&p, &q);
		free(text);
	}
}

static void test_parse_says_what_is_wrong(void **state) {
	(void)state;
	static const struct {
		const char *text, *err;
	} cases[] = {
		{"config\npush 1\nshove 2\n", "line 3: no such operation"},
		{"push value=1000\n", "line 1: a number that is larger than the argument may be"},
		{"\n# a comment\npush 1 2\n", "line 3: more arguments than the operation has"},
		{"push 1\npop\nswap j=1\n", "line 3: not a number, or not the argument that stands at this place"},
		{"push x\n", "line 1: not a number, or not the argument that stands at this place"},
		{"config bottom=5001", "line 1: a number that is larger than the argument may be"},
	};
	static fuzz_program p;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char err[256] = "";
		assert_false(fuzz_parse(&fuzz_target_selftest, cases[i].text, &p, err));
		assert_string_equal(err, cases[i].err);
	}
	char err[256] = "";
	assert_true(
		fuzz_parse(&fuzz_target_selftest, " push 0x3e7 # all of it\r\n\nswap i=255 0xffffffffffffffff", &p, err));
	assert_int_equal(p.n, 2);
	assert_int_equal(p.ops[0].a[0], 999);
	assert_true(p.ops[1].a[0] == 255 && p.ops[1].a[1] == UINT64_MAX);
}

static void test_printed_c(void **state) {
	(void)state;
	static fuzz_program p;
	char err[256], *c = NULL;
	size_t len = 0;
	assert_true(fuzz_parse(&fuzz_target_selftest, "config 7\npush 5\nswap 0 0x100000000\npop\n", &p, err));
	FILE *f = open_memstream(&c, &len);
	assert_non_null(f);
	fuzz_print_c(&fuzz_target_selftest, &p, f);
	fclose(f);
	assert_string_equal(c,
		"\tfuzz_play(&fuzz_target_selftest, (const uint64_t[FUZZ_MAX_ARGS]){7},\n"
		"\t\t(const fuzz_step[]){\n"
		"\t\t\t{\"push\", {5}},\n"
		"\t\t\t{\"swap\", {0, 0x100000000}},\n"
		"\t\t\t{\"pop\", {0}},\n"
		"\t\t\t{0},\n"
		"\t\t});\n");
	free(c);
}

// ---- what fuzz_play runs: a target that writes down what it is told

static struct {
	uint64_t config;
	unsigned n, afters, ends;
	struct {
		char name;
		uint64_t a[2];
	} ops[8];
} seen;

static void see(char name, const uint64_t *a) {
	seen.ops[seen.n].name = name;
	memcpy(seen.ops[seen.n++].a, a, sizeof seen.ops[0].a);
}
static void seeA(void *v, const uint64_t *a) {
	(void)v;
	see('a', a);
}
static void seeB(void *v, const uint64_t *a) {
	(void)v;
	see('b', a);
}
static void *seeBegin(const uint64_t *config) {
	memset(&seen, 0, sizeof seen);
	seen.config = config[0];
	return &seen;
}
static void seeAfter(void *v) {
	(void)v;
	seen.afters++;
}
static void seeEnd(void *v) {
	(void)v;
	seen.ends++;
}

static void test_play_runs_each_step(void **state) {
	(void)state;
	static const fuzz_op_info ops[] = {
		{"a", {{"x", 4, FUZZ_ANY, 0}}, seeA},
		{"b", {{"x", 8, FUZZ_ANY, 0}, {"y", 1, FUZZ_ANY, 9}}, seeB},
	};
	static const fuzz_target t = {.name = "seen",
		.config = {{"c", 2, FUZZ_ANY, 0}},
		.ops = ops,
		.nops = 2,
		.begin = seeBegin,
		.after = seeAfter,
		.end = seeEnd};
	fuzz_play(&t, (const uint64_t[FUZZ_MAX_ARGS]){40},
		(const fuzz_step[]){
			{"b", {0x100000000, 9}},
			{"a", {1}},
			{0},
		});
	assert_int_equal(seen.config, 40);
	assert_int_equal(seen.n, 2);
	assert_int_equal(seen.afters, 2);
	assert_int_equal(seen.ends, 1);
	assert_true(seen.ops[0].name == 'b' && seen.ops[0].a[0] == 0x100000000 && seen.ops[0].a[1] == 9);
	assert_true(seen.ops[1].name == 'a' && seen.ops[1].a[0] == 1);
}

// ---- mutation

static void test_mutations_are_programs(void **state) {
	(void)state;
	static uint8_t data[maxBytes], twice[maxBytes];
	static fuzz_program p;
	for (size_t k = 0; k < ntargets; k++) {
		const fuzz_target *t = targets[k];
		size_t n = 0, longest = 0;
		for (uint32_t seed = 1; seed <= rounds; seed++) {
			const size_t max = seed % 7 == 0 ? 100 : sizeof data;
			memcpy(twice, data, n);
			const size_t m = fuzz_mutate(t, twice, n, max, seed);
			n = fuzz_mutate(t, data, n, max, seed);
			assert_true(n <= max);
			assert_true(n == m && memcmp(data, twice, n) == 0); // the same seed, the same program
			fuzz_decode(t, data, n, &p);
			assertValid(t, &p);
			assert_true(fuzz_encode(t, &p, twice, sizeof twice) == n && memcmp(data, twice, n) == 0);
			longest = p.n > longest ? p.n : longest;
		}
		assert_int_equal(longest, t->max_ops);
	}
}

static void test_crossover_is_a_program(void **state) {
	(void)state;
	static uint8_t a[512], b[512], out[maxBytes], twice[maxBytes];
	static fuzz_program p;
	uint64_t rnd = 5;
	for (uint32_t seed = 1; seed <= rounds; seed++) {
		const fuzz_target *t = targets[seed % ntargets];
		const size_t na = randomBytes(&rnd, a, sizeof a), nb = randomBytes(&rnd, b, sizeof b);
		const size_t max = 1 + (size_t)fuzz_below(&rnd, sizeof out);
		const size_t n = fuzz_cross(t, a, na, b, nb, out, max, seed);
		assert_true(n <= max);
		assert_true(fuzz_cross(t, a, na, b, nb, twice, max, seed) == n && memcmp(out, twice, n) == 0);
		fuzz_decode(t, out, n, &p);
		assertValid(t, &p);
	}
}

// Every kind of operation and of value comes up, and so do the borders.
static void test_mutations_reach_everything(void **state) {
	(void)state;
	static uint8_t data[maxBytes];
	static fuzz_program p;
	const fuzz_target *t = &fuzz_target_selftest;
	unsigned kinds[4] = {0}, greatest = 0, zero = 0, ones = 0;
	for (uint32_t seed = 1; seed <= rounds; seed++) {
		fuzz_decode(t, data, fuzz_mutate(t, data, 0, sizeof data, seed), &p);
		for (unsigned i = 0; i < p.n; i++) {
			kinds[p.ops[i].kind]++;
			greatest += p.ops[i].kind == 0 && p.ops[i].a[0] == 999;
			zero += p.ops[i].kind == 0 && p.ops[i].a[0] == 0;
			ones += p.ops[i].kind == 2 && p.ops[i].a[1] == UINT64_MAX;
		}
	}
	for (unsigned i = 0; i < t->nops; i++) {
		assert_true(kinds[i] > rounds / 10);
	}
	assert_true(greatest > 0 && zero > 0 && ones > 0);
}

static void test_bytes_mutate(void **state) {
	(void)state;
	static uint8_t data[256], twice[256];
	size_t n = 0, longest = 0;
	bool seenByte[256] = {false};
	for (uint32_t seed = 1; seed <= rounds; seed++) {
		memcpy(twice, data, n);
		const size_t m = fuzz_mutate_bytes(twice, n, 200, seed);
		n = fuzz_mutate_bytes(data, n, 200, seed);
		assert_true(n <= 200);
		assert_true(n == m && memcmp(data, twice, n) == 0);
		longest = n > longest ? n : longest;
		for (size_t i = 0; i < n; i++) {
			seenByte[data[i]] = true;
		}
	}
	assert_true(longest > 100);
	for (unsigned i = 0; i < 256; i++) {
		assert_true(seenByte[i]);
	}
}

// ---- shrinking

// needs: a push of more than 900 somewhere after a swap.
static bool needs(const fuzz_program *p, void *ctx) {
	++*(unsigned *)ctx;
	bool swapped = false;
	for (unsigned i = 0; i < p->n; i++) {
		if (p->ops[i].kind == 0 && p->ops[i].a[0] > 900 && swapped) {
			return true;
		}
		swapped = swapped || p->ops[i].kind == 2;
	}
	return false;
}

static void test_shrink(void **state) {
	(void)state;
	static uint8_t data[maxBytes];
	static fuzz_program p;
	unsigned shrunk = 0;
	for (uint32_t seed = 1; seed <= rounds; seed++) {
		unsigned asked = 0;
		fuzz_decode(&fuzz_target_selftest, data, fuzz_mutate(&fuzz_target_selftest, data, 0, sizeof data, seed), &p);
		if (!needs(&p, &asked)) {
			continue;
		}
		fuzz_shrink(&fuzz_target_selftest, &p, needs, &asked);
		assert_true(asked < 1000);
		assert_int_equal(p.n, 2);
		assert_int_equal(p.config[0], 0);
		assert_true(p.ops[0].kind == 2 && p.ops[0].a[0] == 0 && p.ops[0].a[1] == 0);
		assert_true(p.ops[1].kind == 0 && p.ops[1].a[0] == 901);
		shrunk++;
	}
	assert_true(shrunk > 10);
}

// ---- throws

typedef struct thrower {
	fuzz_guard *g;
	const char *msg;
	unsigned steps;
} thrower;

static void throwing(void *v) {
	thrower *t = v;
	t->steps++;
	if (t->msg != NULL) {
		fuzz_thrown(t->g, t->msg);
	}
	t->steps++;
}

static void test_throws(void **state) {
	(void)state;
	fuzz_guard g = {0};
	thrower quiet = {&g, NULL, 0}, loud = {&g, "bad pointer in the free list", 0};
	assert_false(fuzz_throws(&g, throwing, &quiet));
	assert_int_equal(quiet.steps, 2);
	assert_true(fuzz_throws(&g, throwing, &loud));
	assert_int_equal(loud.steps, 1);
	assert_string_equal(g.msg, "bad pointer in the free list");
	assert_false(g.armed);
	assert_false(fuzz_throws(&g, throwing, &quiet));
	assert_string_equal(g.msg, "");
}

// ---- programs that found a bug once. Paste what a failure prints; fuzz/README.md tells how.

// The longest run ends where the chunk ends: the sum is of three parts, and each is the whole chunk or none of it.
static void test_pallocbits_whole_chunk(void **state) {
	(void)state;
	fuzz_play(&fuzz_target_pallocbits, (const uint64_t[FUZZ_MAX_ARGS]){0},
		(const fuzz_step[]){
			{"alloc", {0, 511}},
			{"find", {0}},
			{"free", {448, 63}},
			{"find", {63}},
			{"find", {64}},
			{"popcnt", {447, 64}},
			{0},
		});
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bytes_decode_and_encode),
		cmocka_unit_test(test_encode_keeps_to_max),
		cmocka_unit_test(test_text_prints_and_parses),
		cmocka_unit_test(test_parse_says_what_is_wrong),
		cmocka_unit_test(test_printed_c),
		cmocka_unit_test(test_play_runs_each_step),
		cmocka_unit_test(test_mutations_are_programs),
		cmocka_unit_test(test_crossover_is_a_program),
		cmocka_unit_test(test_mutations_reach_everything),
		cmocka_unit_test(test_bytes_mutate),
		cmocka_unit_test(test_shrink),
		cmocka_unit_test(test_throws),
		cmocka_unit_test(test_pallocbits_whole_chunk),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
