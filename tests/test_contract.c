// test_contract.c: the contract notices what it is there for: each complaint is provoked.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "oracle/contract.h"

enum { BYTES = 256 << 10 };

static uint64_t block(void) {
	void *p = calloc(1, BYTES);
	assert_non_null(p);
	return (uint64_t)(uintptr_t)p;
}

static void places(void **state) {
	(void)state;
	contract *c = contract_new(false, false);
	assert_null(contract_allocated(c, 0x1000, 64, 8, true));
	assert_non_null(contract_allocated(c, 0x1004, 8, 8, false));
	assert_non_null(contract_allocated(c, 0x1038, 16, 8, false));
	assert_non_null(contract_allocated(c, 0xff8, 16, 8, false));
	assert_null(contract_allocated(c, 0x1040, 8, 8, false));
	assert_null(contract_allocated(c, 0xff8, 8, 8, false));
	assert_non_null(contract_freed(c, 0x1008));
	assert_null(contract_freed(c, 0x1000));
	assert_null(contract_allocated(c, 0x1008, 8, 8, false));
	contract_free(c);
}

static void zeroes(void **state) {
	(void)state;
	const uint64_t p = block();
	contract *c = contract_new(true, false);
	((char *)(uintptr_t)p)[100000] = 1;
	assert_non_null(contract_allocated(c, p, BYTES, 8, true));
	assert_null(contract_allocated(c, p, BYTES, 8, false));
	contract_free(c);
	free((void *)(uintptr_t)p);
}

// changes says whether a byte of a block that changes is noticed.
static bool changes(bool whole, uint64_t n, uint64_t at) {
	const uint64_t p = block();
	contract *c = contract_new(true, whole);
	assert_null(contract_allocated(c, p, n, 8, false));
	assert_null(contract_check(c));
	((unsigned char *)(uintptr_t)p)[at] ^= 0xff;
	const bool noticed = contract_check(c) != NULL;
	assert_int_equal(contract_freed(c, p) != NULL, noticed);
	contract_free(c);
	free((void *)(uintptr_t)p);
	return noticed;
}

static void contents(void **state) {
	(void)state;
	const uint64_t sizes[] = {1, 8, 1000, 1024, 5000, 65536, BYTES};
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		const uint64_t n = sizes[i];
		for (uint64_t at = 0; at < n; at += 1 + n / 50) {
			assert_true(changes(true, n, at));
			assert_true(n >= 1024 || changes(false, n, at));
		}
		assert_true(changes(false, n, 0) && changes(false, n, n - 1));
	}
	assert_true(changes(false, BYTES, 1024 + 3));
	assert_false(changes(false, BYTES, 200000)); // why there is `whole`
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(places),
		cmocka_unit_test(zeroes),
		cmocka_unit_test(contents),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
