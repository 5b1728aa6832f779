// test_census.c: the bookkeeping of a heap over time, by sequences made by hand.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "traces/census.h"
#include "traces/census_read.h"

#define PAGE(n) (UINT64_C(0xc000000000) + (uint64_t)(n)*CENSUS_PAGE)

enum { SCAN48 = 10, NOSCAN16 = 5, SCAN1024 = 64, LARGE = 1, SPAN48 = 165 };

static void good(census *c) {
	const char *wrong = census_check(c);
	if (wrong != NULL) {
		fail_msg("%s", wrong);
	}
}

static void test_class_slots(void **state) {
	(void)state;
	assert_int_equal(census_class_size(SCAN48), 48);
	assert_int_equal(census_class_slots(SCAN48, 1, true), SPAN48);
	assert_int_equal(census_class_slots(SCAN48, 1, false), 168);
	assert_int_equal(census_class_slots(NOSCAN16, 1, true), 504);
	assert_int_equal(census_class_slots(NOSCAN16, 1, false), 512);
	assert_int_equal(census_class_slots(SCAN1024, 1, true), 8);
	assert_int_equal(census_class_slots(2, 1, true), 1008); // 8 B: heap bits, no mark bits
	assert_int_equal(census_class_slots(LARGE, 7, true), 1);
	assert_int_equal(census_class_slots(CENSUS_STACK, 4, true), 0);
}

static void test_slots(void **state) {
	(void)state;
	census *c = census_new(NULL);
	census_at(c, 0);
	census_span_begins(c, PAGE(0), 1, SCAN48, SPAN48);
	census_take(c, PAGE(0), 40, 0);
	census_take(c, PAGE(0) + 48 + 8, 48, 0); // an address inside the slot
	good(c);
	const census_class *k = &c->classes[SCAN48];
	assert_int_equal(k->spans, 1);
	assert_int_equal(k->slots, SPAN48);
	assert_int_equal(k->used, 2);
	assert_int_equal(k->used_bytes, 96);
	assert_int_equal(k->waste, 8);
	assert_int_equal(k->tail, CENSUS_PAGE - SPAN48 * 48);
	assert_int_equal(k->partly, 1);
	assert_int_equal(census_used(c, PAGE(0)), 2);
	census_die(c, PAGE(0) + 48);
	good(c);
	assert_int_equal(k->used, 1);
	assert_int_equal(k->waste, 8);
	census_span_ends(c, PAGE(0)); // what is left in it dies
	good(c);
	assert_int_equal(k->spans, 0);
	assert_int_equal(k->freed, 2);
	assert_int_equal(k->taken_bytes, 96);
	assert_int_equal(k->partly, 0);
	census_free(c);
}

static void test_full(void **state) {
	(void)state;
	census *c = census_new(NULL);
	census_at(c, 0);
	census_span_begins(c, PAGE(0), 1, SCAN1024, 8);
	for (uint64_t i = 0; i < 8; i++) {
		assert_int_equal(c->classes[SCAN1024].full, 0);
		census_take(c, PAGE(0) + i * 1024 + 8, 1016, 0);
	}
	assert_int_equal(c->classes[SCAN1024].full, 1);
	assert_int_equal(c->classes[SCAN1024].partly, 0);
	good(c);
	census_die(c, PAGE(0));
	assert_int_equal(c->classes[SCAN1024].full, 0);
	assert_int_equal(c->classes[SCAN1024].partly, 1);
	good(c);
	census_free(c);
}

static void test_tiny(void **state) {
	(void)state;
	census *c = census_new(NULL);
	census_at(c, 0);
	census_span_begins(c, PAGE(0), 1, NOSCAN16, 504);
	census_take(c, PAGE(0), 3, 0);
	census_take_tiny(c, PAGE(0) + 4, 5);
	assert_int_equal(c->classes[NOSCAN16].used, 1);
	assert_int_equal(c->classes[NOSCAN16].waste, 8);
	assert_int_equal(c->tiny, 1);
	assert_int_equal(c->tiny_bytes, 5);
	// A trace has an allocation for each tiny object: in a slot that is taken.
	census_take(c, PAGE(0) + 8, 0, 0);
	assert_int_equal(c->tiny, 2);
	assert_int_equal(c->odd.twice, 0);
	good(c);
	census_free(c);
}

static void test_large_waste(void **state) {
	(void)state;
	census *c = census_new(NULL);
	census_at(c, 0);
	census_span_begins(c, PAGE(0), 5, LARGE, 1);
	good(c); // taken only when its malloc ends
	assert_int_equal(c->classes[LARGE].used, 0);
	census_take(c, PAGE(0), 33000, 0);
	assert_int_equal(c->classes[LARGE].used_bytes, 5 * CENSUS_PAGE);
	assert_int_equal(c->classes[LARGE].waste, 5 * CENSUS_PAGE - 33000);
	assert_int_equal(c->classes[LARGE].full, 1);
	good(c);
	census_free(c);
}

static void test_sweep_and_lives(void **state) {
	(void)state;
	census *c = census_new(NULL);
	census_at(c, 0);
	census_span_begins(c, PAGE(0), 1, SCAN48, SPAN48);
	for (uint64_t i = 0; i < 70; i++) {
		census_take(c, PAGE(0) + i * 48, 48, 0);
	}
	census_gc_begins(c);
	census_gc_ends(c);
	uint64_t marks[] = {UINT64_MAX - 1, 0x3f}; // slot 0 is not marked
	census_sweep(c, PAGE(0), marks, 2, true);
	assert_int_equal(c->used, 69);
	assert_int_equal(c->lives[0].objects, 1);
	census_take(c, PAGE(0), 48, 0); // born in cycle 1
	census_gc_begins(c);
	marks[0] = 1;
	marks[1] = 0;
	census_sweep(c, PAGE(0), marks, 2, true);
	assert_int_equal(c->used, 1);
	assert_int_equal(c->lives[1].objects, 69); // found dead in the second cycle after birth
	census_gc_begins(c);
	census_sweep(c, PAGE(0), NULL, 0, true); // all live
	assert_int_equal(c->used, 1);
	census_sweep(c, PAGE(0), NULL, 0, false); // none
	assert_int_equal(c->used, 0);
	assert_int_equal(c->lives[1].objects, 70); // born in 1, dead in 3
	assert_int_equal(c->lives[1].bytes, 70 * 48);
	good(c);
	assert_int_equal(c->ngc, 3);
	assert_int_equal(c->gc[1].at_begin, 70 * 48);
	assert_int_equal(c->gc[1].least, 48);
	census_free(c);
}

// Each bound of the table of lifetimes.
static void test_life_bounds(void **state) {
	(void)state;
	static const struct {
		unsigned cycles, row;
	} want[] = {{1, 0}, {2, 1}, {3, 2}, {4, 3}, {5, 4}, {8, 4}, {9, 5}, {16, 5}, {17, 6}, {32, 6}, {33, 7}, {64, 7},
		{65, 8}, {128, 8}, {129, 9}, {1000, 9}};
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		census *c = census_new(NULL);
		census_at(c, 0);
		census_span_begins(c, PAGE(0), 1, SCAN48, SPAN48);
		census_take(c, PAGE(0), 48, 0);
		for (unsigned n = 0; n < want[i].cycles; n++) {
			census_gc_begins(c);
		}
		census_die(c, PAGE(0));
		assert_int_equal(c->lives[want[i].row].objects, 1);
		good(c);
		census_free(c);
	}
}

static void test_odd(void **state) {
	(void)state;
	census *c = census_new(NULL);
	census_at(c, 0);
	census_take(c, PAGE(0), 8, 0);
	assert_int_equal(c->odd.stray, 1);
	census_span_begins(c, PAGE(0), 1, SCAN48, SPAN48);
	census_take(c, PAGE(0) + SPAN48 * 48, 8, 0); // behind the last slot
	assert_int_equal(c->odd.stray, 2);
	census_take(c, PAGE(0), 48, 0);
	census_take(c, PAGE(0), 48, 0);
	assert_int_equal(c->odd.twice, 1);
	census_die(c, PAGE(0) + 48);
	assert_int_equal(c->odd.unknown, 1);
	census_span_begins(c, PAGE(0), 2, LARGE, 1); // where a span is: that one goes
	assert_int_equal(c->odd.overlaps, 1);
	assert_int_equal(c->classes[SCAN48].spans, 0);
	census_stack_ends(c, PAGE(9));
	assert_int_equal(c->odd.stacks, 1);
	good(c);
	census_free(c);
}

static void test_stacks(void **state) {
	(void)state;
	census *c = census_new(NULL);
	census_at(c, 0);
	census_span_begins(c, PAGE(0), 4, CENSUS_STACK, 0);
	census_stack_begins(c, PAGE(0), 2048);
	census_stack_begins(c, PAGE(0) + 2048, 2048);
	census_stack_begins(c, PAGE(1), 8192);
	census_stack_ends(c, PAGE(0));
	assert_int_equal(c->stack_bytes, 2048 + 8192);
	assert_int_equal(c->stacks[11].count, 1);
	assert_int_equal(c->stacks[11].taken, 2);
	assert_int_equal(c->stacks[13].count, 1);
	assert_int_equal(c->span_bytes, 0); // not of the heap
	assert_int_equal(c->peak_bytes, 0);
	good(c);
	census_free(c);
}

// fill makes the same heap in both readings: three spans, a hole between the second and the third, then the first goes.
static void fill(census *c) {
	census_at(c, 0);
	census_span_begins(c, PAGE(8), 1, SCAN48, SPAN48);
	census_at(c, 10);
	census_take(c, PAGE(8), 48, 1);
	census_take(c, PAGE(8) + 48, 48, 2);
	census_at(c, 20);
	census_span_begins(c, PAGE(9), 1, CENSUS_STACK, 0);
	census_at(c, 30);
	census_span_begins(c, PAGE(13), 5, LARGE, 1);
	census_at(c, 40);
	census_take(c, PAGE(13), 0, 2); // the peak: as many bytes in spans, and more in slots
	census_at(c, 60);
	census_span_ends(c, PAGE(8));
	census_finish(c, 100);
}

static void test_two_readings(void **state) {
	(void)state;
	census *first = census_new(NULL);
	fill(first);
	good(first);
	census_plan plan;
	assert_true(census_plan_from(first, 10, 5, &plan));
	assert_int_equal(plan.end, 100);
	assert_int_equal(plan.nextents, 1);
	assert_int_equal(plan.extents[0].npages, 10);
	assert_int_equal(plan.columns, 10);
	assert_int_equal(plan.rows, 5);
	assert_int_equal(plan.row_pages, 2);
	assert_int_equal(first->peak_at, 40);
	census_free(first);

	census *c = census_new(&plan);
	fill(c);
	good(c);
	assert_int_equal(c->nsamples, 10);
	assert_int_equal(c->peak.at, 40);
	const census_pages *p = &c->peak.pages;
	assert_int_equal(p->extent_pages, 10);
	assert_int_equal(p->span_pages, 7);
	assert_int_equal(p->free_pages, 3);
	assert_int_equal(p->largest, 3);
	assert_int_equal(p->runs[1], 1); // 2-3
	assert_int_equal(c->peak.classes[SCAN48].used, 2);
	assert_int_equal(c->peak.retained_slots, SPAN48 - 2);
	assert_true(c->peak.retained[0] == (SPAN48 - 2) / 2.0); // shared by two types
	assert_int_equal(c->end.classes[SCAN48].spans, 0);
	assert_int_equal(c->end.classes[LARGE].used, 1);
	// The sample of 40..50 is that of the peak; the next one is at 60.
	assert_int_equal(c->samples[2].at, 30);
	assert_int_equal(c->samples[3].at, 40);
	assert_int_equal(c->samples[3].used_bytes, 96);
	assert_int_equal(c->samples[4].at, 40);
	assert_int_equal(c->samples[4].used_bytes, 96 + 5 * CENSUS_PAGE);
	assert_int_equal(c->samples[5].at, 60);
	assert_int_equal(c->samples[9].at, 100);
	assert_int_equal(c->samples[4].spans[SCAN48], 1);
	assert_int_equal(c->samples[9].spans[SCAN48], 0);
	assert_int_equal(c->samples[9].used_bytes, 5 * CENSUS_PAGE);
	// Row 0: a heap span of a page and a stack span; row 1: nothing; row 4: the large one.
	unsigned last = 9, mid = 4;
	assert_int_equal(c->map_spans[mid], CENSUS_MAP_FULL / 2);
	assert_int_equal(c->map_manual[mid], CENSUS_MAP_FULL / 2);
	assert_int_equal(c->map_spans[plan.columns + mid], 0);
	assert_int_equal(c->map_spans[last], 0);
	assert_int_equal(c->map_used[4 * plan.columns + last], CENSUS_MAP_FULL);
	census_free(c);
	census_plan_free(&plan);
}

// Chunks that follow one another are one extent, also with free pages between them; others are not. A span may lie in two.
static void test_extents(void **state) {
	(void)state;
	census *c = census_new(NULL);
	uint64_t chunk = 8192;
	census_at(c, 0);
	census_span_begins(c, PAGE(chunk - 2), 4, LARGE, 1);
	census_span_begins(c, PAGE(2 * chunk + 5), 1, SCAN48, SPAN48);
	census_span_begins(c, PAGE(9 * chunk + 7), 1, SCAN48, SPAN48);
	good(c);
	assert_int_equal(census_used(c, PAGE(chunk - 2)), 0);
	census_finish(c, 3);
	census_plan plan;
	assert_true(census_plan_from(c, 100, 100, &plan));
	assert_int_equal(plan.nextents, 2);
	assert_int_equal(plan.extents[0].first, PAGE(chunk - 2) / CENSUS_PAGE);
	assert_int_equal(plan.extents[0].npages, chunk + 8);
	assert_int_equal(plan.extents[1].offset, chunk + 8);
	assert_int_equal(plan.extents[1].npages, 1);
	assert_int_equal(plan.columns, 4); // no more than there are places
	census_span_ends(c, PAGE(chunk - 2));
	good(c);
	census_free(c);
	census_plan_free(&plan);
}

static void test_nothing(void **state) {
	(void)state;
	census *first = census_new(NULL);
	census_finish(first, 0);
	census_plan plan;
	assert_true(census_plan_from(first, 10, 10, &plan));
	assert_int_equal(plan.rows, 0);
	census *c = census_new(&plan);
	census_finish(c, 0);
	good(c);
	census_free(first);
	census_free(c);
	census_plan_free(&plan);
}

static void test_bad_file(void **state) {
	(void)state;
	census_source s;
	gmt_error err = {{0}};
	const census_read_options o = {.columns = 10, .rows = 10};
	assert_false(census_read("/nonexistent/file", &o, &s, &err));
	assert_non_null(strstr(err.text, "/nonexistent/file"));
	assert_false(census_read("traces/CMakeLists.txt", &o, &s, &err));
	assert_null(s.census);
}

// A recording adds up, and says the same of each sweep as the census: slots taken before it and after it.
static void test_recording(void **state) {
	(void)state;
	census_source s;
	gmt_error err;
	const census_read_options o = {.columns = 37, .rows = 41};
	if (!census_read("tests/controls/large-p2.gmt", &o, &s, &err)) {
		fail_msg("%s", err.text);
	}
	const census_odd none = {0};
	assert_memory_equal(&s.census->odd, &none, sizeof(none));
	assert_int_equal(s.census->nsamples, 37);
	assert_true(s.plan.rows <= 41);
	census_source_free(&s);
}

// What a file says cannot end the script element of the page that holds it.
static void test_page_escapes(void **state) {
	(void)state;
	const char *gomem = getenv("GOMEM");
	if (gomem == NULL) {
		skip();
	}
	char folder[] = "/tmp/gomem-test-census-XXXXXX", path[64], command[512], page[4096];
	assert_non_null(mkdtemp(folder));
	(void)snprintf(path, sizeof(path), "%s/a.gmt", folder);
	gmt_header h = {.goversion = "go1.26.8",
		.goos = "linux",
		.goarch = "amd64",
		.page_size = 8192,
		.phys_page_size = 4096,
		.arena_bytes = 1 << 26,
		.gomaxprocs = 1,
		.command = "a </script><script>alert(1)</script><!--"};
	gmt_error err;
	gmt_writer *w = gmt_create(path, &h, &err);
	assert_non_null(w);
	const gmt_event e = {.kind = EV_PINIT};
	assert_int_equal(gmt_write(w, &e, NULL, &err), 0);
	assert_int_equal(gmt_finish(w, GMT_END_EXIT, 0, &err), 0);
	(void)snprintf(
		command, sizeof(command), "'%s' report -o - %s | grep -c -e '</script><script>' -e '<!--'", gomem, path);
	FILE *out = popen(command, "r");
	assert_non_null(out);
	assert_non_null(fgets(page, sizeof(page), out));
	(void)pclose(out);
	assert_string_equal(page, "0\n");
	(void)remove(path);
	(void)remove(folder);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_class_slots),
		cmocka_unit_test(test_slots),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_tiny),
		cmocka_unit_test(test_large_waste),
		cmocka_unit_test(test_sweep_and_lives),
		cmocka_unit_test(test_life_bounds),
		cmocka_unit_test(test_odd),
		cmocka_unit_test(test_stacks),
		cmocka_unit_test(test_two_readings),
		cmocka_unit_test(test_extents),
		cmocka_unit_test(test_nothing),
		cmocka_unit_test(test_bad_file),
		cmocka_unit_test(test_recording),
		cmocka_unit_test(test_page_escapes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
