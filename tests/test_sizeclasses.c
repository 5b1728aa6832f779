// test_sizeclasses.c: the generated size classes. Witness: brute force over every size and every offset.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gomem/layout.h"
#include "gomem/sizeclasses.h"

static const gomem_layout *const L = &layout_host;

static unsigned smallestClass(uint64_t size) {
	for (unsigned c = 1; c < numSizeClasses; c++) {
		if (class_to_size[c] >= size) {
			return c;
		}
	}
	return numSizeClasses;
}

static unsigned classOf(uint64_t size) {
	if (size <= L->smallSizeMax - 8) {
		return size_to_class8[(size + L->smallSizeDiv - 1) / L->smallSizeDiv];
	}
	return size_to_class128[(size - L->smallSizeMax + L->largeSizeDiv - 1) / L->largeSizeDiv];
}

static void lengths(void **state) {
	(void)state;
	assert_int_equal(sizeof class_to_size / sizeof class_to_size[0], numSizeClasses);
	assert_int_equal(sizeof class_to_allocnpages / sizeof class_to_allocnpages[0], numSizeClasses);
	assert_int_equal(sizeof class_to_divmagic / sizeof class_to_divmagic[0], numSizeClasses);
	assert_int_equal(sizeof size_to_class8, L->smallSizeMax / L->smallSizeDiv + 1);
	assert_int_equal(sizeof size_to_class128, (L->maxSmallSize - L->smallSizeMax) / L->largeSizeDiv + 1);
}

static void smallest_class_for_every_size(void **state) {
	(void)state;
	for (uint64_t size = 1; size <= L->maxSmallSize; size++) {
		assert_int_equal(classOf(size), smallestClass(size));
	}
	assert_int_equal(classOf(0), 0);
}

// Both tables answer for the sizes where one ends and the other begins.
static void tables_meet(void **state) {
	(void)state;
	assert_int_equal(size_to_class8[L->smallSizeMax / L->smallSizeDiv], size_to_class128[0]);
	assert_int_equal(class_to_size[size_to_class128[0]], L->smallSizeMax);
}

static void divmagic_exact_for_every_offset(void **state) {
	(void)state;
	assert_int_equal(class_to_divmagic[0], 0);
	for (unsigned c = 1; c < numSizeClasses; c++) {
		uint64_t span = class_to_allocnpages[c] * layout_pageSize(L);
		for (uint64_t offset = 0; offset <= span; offset++) {
			assert_int_equal((offset * class_to_divmagic[c]) >> 32, offset / class_to_size[c]);
		}
	}
}

static void class_zero_is_empty(void **state) {
	(void)state;
	assert_int_equal(class_to_size[0], 0);
	assert_int_equal(class_to_allocnpages[0], 0);
}

static void sizes_rise_and_are_aligned(void **state) {
	(void)state;
	for (unsigned c = 1; c < numSizeClasses; c++) {
		uint64_t align = class_to_size[c] >= L->smallSizeMax ? L->largeSizeDiv : (uint64_t)minHeapAlign;
		assert_true(class_to_size[c] > class_to_size[c - 1]);
		assert_int_equal(class_to_size[c] % align, 0);
		assert_true(class_to_size[c] < 32 || class_to_size[c] % 16 == 0);
	}
	assert_int_equal(class_to_size[numSizeClasses - 1], L->maxSmallSize);
	assert_int_equal(class_to_size[L->tinySizeClass], L->maxTinySize);
}

static void spans_waste_at_most_an_eighth(void **state) {
	(void)state;
	for (unsigned c = 1; c < numSizeClasses; c++) {
		uint64_t span = class_to_allocnpages[c] * layout_pageSize(L);
		assert_true(span % class_to_size[c] <= span / 8);
		assert_true(span / class_to_size[c] >= 1);
	}
}

// No two classes serve the same number of objects from the same number of pages, and none could be larger for free.
static void no_class_is_redundant(void **state) {
	(void)state;
	for (unsigned c = 1; c < numSizeClasses; c++) {
		uint64_t span = class_to_allocnpages[c] * layout_pageSize(L);
		uint64_t objects = span / class_to_size[c];
		assert_true(class_to_size[c] + L->largeSizeDiv > span / objects);
		assert_true(class_to_allocnpages[c] != class_to_allocnpages[c - 1] || objects != span / class_to_size[c - 1]);
	}
}

static void limits_are_reached(void **state) {
	(void)state;
	uint64_t objects = 0;
	uint64_t pages = 0;
	for (unsigned c = 1; c < numSizeClasses; c++) {
		uint64_t n = class_to_allocnpages[c] * layout_pageSize(L) / class_to_size[c];
		objects = n > objects ? n : objects;
		pages = class_to_allocnpages[c] > pages ? class_to_allocnpages[c] : pages;
	}
	assert_int_equal(objects, maxObjsPerSpan);
	assert_int_equal(pages, maxSizeClassNPages);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lengths),
		cmocka_unit_test(smallest_class_for_every_size),
		cmocka_unit_test(tables_meet),
		cmocka_unit_test(divmagic_exact_for_every_offset),
		cmocka_unit_test(class_zero_is_empty),
		cmocka_unit_test(sizes_rise_and_are_aligned),
		cmocka_unit_test(spans_waste_at_most_an_eighth),
		cmocka_unit_test(no_class_is_redundant),
		cmocka_unit_test(limits_are_reached),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
