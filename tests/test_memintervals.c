// test_memintervals.c: the interval map against an array with a value for each address.
#include "memtest.h"

#include "gomem/memintervals.h"

enum { space = 20000, steps = 30000 };

static void compare(const memIntervals *m, const uint8_t *want) {
	uint64_t a = 0;
	size_t n = 0;
	assert_null(memIntervals_check(m));
	while (a < space) {
		memInterval in = memIntervals_at(m, a);
		assert_int_equal(in.lo, a);
		for (; a < in.hi && a < space; a++) {
			assert_int_equal(in.v, want[a]);
		}
		n++;
	}
	size_t rest = memIntervals_at(m, space - 1).hi == UINT64_MAX ? 0 : 1;
	assert_int_equal(memIntervals_count(m), n + rest);
}

// size: how long a change may be; small ones make many blocks, large ones empty and join them.
static void randomSteps(memIntervals *m, uint8_t *want, uint64_t *seed, uint64_t size) {
	for (int i = 0; i < steps; i++) {
		uint64_t lo = memFix_rand(seed) % space;
		uint64_t hi = lo + memFix_rand(seed) % size;
		uint8_t v = (uint8_t)(memFix_rand(seed) % 4);
		if (hi > space) {
			hi = space;
		}
		assert_true(memIntervals_set(m, lo, hi, v));
		memset(want + lo, v, (size_t)(hi - lo));
		uint64_t at = memFix_rand(seed) % space;
		memInterval in = memIntervals_at(m, at);
		assert_int_equal(in.v, want[at]);
		assert_true(in.lo <= at && at < in.hi);
	}
	compare(m, want);
}

static void TestAgainstArray(void **state) {
	(void)state;
	static uint8_t want[space];
	static const uint64_t sizes[] = {4, 1000, 2, 20000, 3, 100};
	uint64_t seed = 1;
	memIntervals *m = memIntervals_new();
	assert_non_null(m);
	compare(m, want);
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		randomSteps(m, want, &seed, sizes[i]);
	}
	assert_true(memIntervals_set(m, 0, space, 0));
	assert_int_equal(memIntervals_count(m), 1);
	memIntervals_free(m);
}

// Every second address, upwards, downwards and from the middle: blocks split at both ends.
static void TestComb(void **state) {
	(void)state;
	enum { teeth = 5000 };
	for (int order = 0; order < 3; order++) {
		memIntervals *m = memIntervals_new();
		for (uint64_t i = 0; i < teeth; i++) {
			uint64_t at[] = {i, teeth - 1 - i, (i * 7919) % teeth};
			uint64_t lo = 2 * at[order] + 1;
			assert_true(memIntervals_set(m, lo, lo + 1, 1));
		}
		assert_null(memIntervals_check(m));
		assert_int_equal(memIntervals_count(m), 2 * teeth + 1);
		assert_true(memIntervals_set(m, 2, 2 * teeth - 2, 0));
		assert_null(memIntervals_check(m));
		assert_int_equal(memIntervals_count(m), 5);
		memIntervals_free(m);
	}
}

static void TestEdges(void **state) {
	(void)state;
	memIntervals *m = memIntervals_new();
	assert_true(memIntervals_set(m, 5, 5, 1));
	assert_int_equal(memIntervals_count(m), 1);
	assert_true(memIntervals_set(m, 0, 10, 1));
	assert_int_equal(memIntervals_at(m, 0).v, 1);
	assert_int_equal(memIntervals_at(m, 9).hi, 10);
	assert_int_equal(memIntervals_at(m, 10).v, 0);
	assert_true(memIntervals_set(m, UINT64_MAX - 10, UINT64_MAX, 2));
	assert_int_equal(memIntervals_at(m, UINT64_MAX).v, 2);
	assert_true(memIntervals_set(m, 0, UINT64_MAX, 0));
	assert_int_equal(memIntervals_count(m), 1);
	memIntervals_free(m);
	memIntervals_free(NULL);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(TestAgainstArray),
		cmocka_unit_test(TestComb),
		cmocka_unit_test(TestEdges),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
