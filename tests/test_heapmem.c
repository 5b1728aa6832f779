// test_heapmem.c: the door to heap memory, real and in the side table.
#include "memtest.h"

#include "gomem/heapmem.h"

enum { nkeys = 20000 };

static uint64_t mix(uint64_t x) {
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	return (x ^ x >> 27) * 0x94d049bb133111ebu;
}

static const uintptr_t firstKey = (uintptr_t)0xc0000000u << (sizeof(uintptr_t) == 8 ? 8 : 0);

static uintptr_t keyAt(size_t i) { return firstKey + (uintptr_t)(mix(i) % nkeys) * 2048; }

// Words spread as stacks are, stored over and over, against a plain array.
static void test_sideTable(void **state) {
	(void)state;
	memFix f;
	memFix_initSim(&f, (memSimConfig){.backed = false});
	heapMemSide side = {0};
	uintptr_t *want = calloc(nkeys, sizeof *want);
	assert_int_equal(heapMem_load(&f.env, &side, keyAt(0)), 0);
	for (size_t i = 0; i < 5 * nkeys; i++) {
		const uintptr_t v = (uintptr_t)(i % 7 == 0 ? 0 : mix(i + 1));
		assert_true(heapMem_store(&f.env, &side, keyAt(i), v));
		want[mix(i) % nkeys] = v;
		assert_int_equal(heapMem_load(&f.env, &side, keyAt(i)), v);
	}
	for (size_t k = 0; k < nkeys; k++) {
		assert_int_equal(heapMem_load(&f.env, &side, firstKey + k * 2048), want[k]);
		assert_int_equal(heapMem_load(&f.env, &side, firstKey + 8 + k * 2048), 0);
	}
	assert_true(side.len <= nkeys && side.len * 4 <= side.cap * 3);
	heapMem_destroy(&f.env, &side);
	assert_int_equal(sysMemStat_load(&f.stats.other_sys), 0);
	free(want);
	memFix_done(&f);
}

// A table that cannot grow refuses new words, keeps what it has, and still takes words that it knows.
static void test_sideTableOutOfMemory(void **state) {
	(void)state;
	for (uint64_t n = 1; n <= 4; n++) {
		memFix f;
		memFix_initSim(&f, (memSimConfig){.backed = false, .failNth = n});
		heapMemSide side = {0};
		uintptr_t i = 1;
		while (heapMem_store(&f.env, &side, i * 8, i)) {
			i++;
		}
		assert_int_equal(side.len, i - 1);
		for (uintptr_t k = 1; k < i; k++) {
			assert_int_equal(heapMem_load(&f.env, &side, k * 8), k);
			assert_true(heapMem_store(&f.env, &side, k * 8, k + 1));
		}
		assert_int_equal(heapMem_load(&f.env, &side, i * 8), 0);
		assert_true(heapMem_store(&f.env, &side, i * 8, 5)); // there is memory again
		assert_int_equal(heapMem_load(&f.env, &side, i * 8), 5);
		heapMem_destroy(&f.env, &side);
		memFix_done(&f);
	}
}

static void test_backed(void **state) {
	(void)state;
	memFix f;
	memFix_initSim(&f, (memSimConfig){.backed = true});
	heapMemSide side = {0};
	uintptr_t words[3] = {1, 2, 3};
	assert_true(heapMem_store(&f.env, &side, (uintptr_t)&words[1], 77));
	assert_int_equal(words[1], 77);
	assert_int_equal(heapMem_load(&f.env, &side, (uintptr_t)&words[2]), 3);
	heapMem_clear(&f.env, (uintptr_t)&words[1], sizeof words[1]);
	heapMem_grant(&f.env, (uintptr_t)&words[1], sizeof words[1], true);
	assert_true(words[0] == 1 && words[1] == 0 && words[2] == 3);
	assert_int_equal(side.cap, 0);
	f.env.backed = false;
	heapMem_clear(&f.env, 0x1000, 100); // nothing there
	heapMem_destroy(&f.env, &side);
	memFix_done(&f);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sideTable),
		cmocka_unit_test(test_sideTableOutOfMemory),
		cmocka_unit_test(test_backed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
