// test_mgcpacer.c: the pacer: goals and triggers by hand, and programs of many cycles that must come to rest.
//
// Witness: the rules of mgcpacer.go, in numbers worked out by hand; Go's own tests of its pacer run on the port in `./dev upstream`.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gomem/mgcpacer.h"

enum { MiB = 1 << 20 };

typedef struct world {
	gomem_env env;
	gomem_stats stats;
	gcControllerState c;
} world;

static world *begin(int32_t gcPercent, int64_t limit) {
	static world w;
	w = (world){0};
	gcController_init(&w.c, &w.env, &w.stats, gcPercent, limit);
	return &w;
}

static void marked(world *w, uint64_t bytes) {
	gcController_resetLive(&w->c, bytes);
	gcController_commit(&w->c, true);
}

static void checkTrigger(world *w, uint64_t trigger, uint64_t goal) {
	uint64_t g;
	assert_int_equal(gcController_trigger(&w->c, &g), trigger);
	assert_int_equal(g, goal);
	assert_int_equal(gcController_heapGoal(&w->c), goal);
	assert_null(gcController_check(&w->c));
}

static void testGoals(void **state) {
	(void)state;
	world *w = begin(100, INT64_MAX);
	checkTrigger(w, (4 * MiB) / 64 * 61, 4 * MiB); // nothing lives: the least heap
	marked(w, 10 * MiB);
	checkTrigger(w, 10 * MiB + (uint64_t)10 * MiB / 64 * 61, 20 * MiB);
	atomic_store(&w->c.stackScanWork, 2 * MiB);
	gcController_addGlobals(&w->c, 1 * MiB);
	marked(w, 10 * MiB);
	assert_int_equal(gcController_heapGoal(&w->c), 23 * MiB); // GOGC counts stacks and globals
	assert_int_equal(gcController_setGCPercent(&w->c, 50), 100);
	gcController_commit(&w->c, true);
	assert_int_equal(gcController_heapGoal(&w->c), 10 * MiB + 13 * MiB / 2);
	marked(w, 1000 * (uint64_t)MiB);
	uint64_t goal;
	const uint64_t trigger = gcController_trigger(&w->c, &goal);
	assert_int_equal(trigger, goal - 4 * MiB); // nearer than 61/64 of the way
	assert_int_equal(gcController_setGCPercent(&w->c, -7), 50);
	gcController_commit(&w->c, true);
	assert_int_equal(atomic_load(&w->c.gcPercent), -1);
	assert_true(gcController_heapGoal(&w->c) > (uint64_t)1 << 50);
}

static void testMinimum(void **state) {
	(void)state;
	world *w = begin(200, INT64_MAX);
	assert_int_equal(gcController_heapGoal(&w->c), 8 * MiB);
	(void)gcController_setGCPercent(&w->c, 10);
	gcController_commit(&w->c, true);
	assert_int_equal(gcController_heapGoal(&w->c), 4 * MiB * 10 / 100);
}

static void testUnswept(void **state) {
	(void)state;
	world *w = begin(10, INT64_MAX);
	gcController_resetLive(&w->c, 2 * MiB);
	gcController_commit(&w->c, false);
	checkTrigger(w, 3 * MiB, 3 * MiB); // 1 MiB on, to sweep; GOGC alone says 2.2 MiB
}

static void testMemoryLimit(void **state) {
	(void)state;
	world *w = begin(100, 64 * MiB);
	atomic_store(&w->stats.mappedReady, 50 * MiB);
	atomic_store(&w->stats.heapFree.v, 4 * MiB);
	atomic_store(&w->stats.totalAlloc, 70 * MiB);
	atomic_store(&w->stats.totalFree, 30 * MiB);
	marked(w, 30 * MiB);
	const uint64_t left = 58 * MiB, headroom = left / 100 * 3; // 6 MiB are beside the heap
	assert_int_equal(gcController_heapGoal(&w->c), left - headroom);
	assert_int_equal(gcController_setMemoryLimit(&w->c, -1), 64 * MiB); // asks only
	assert_int_equal(gcController_setMemoryLimit(&w->c, 8 * MiB), 64 * MiB);
	checkTrigger(w, 30 * MiB, 30 * MiB); // more lives than the limit has: cycle after cycle
	(void)gcController_setMemoryLimit(&w->c, 48 * MiB);
	assert_int_equal(
		gcController_heapGoal(&w->c), 40 * MiB - (uint64_t)40 * MiB / 100 * 3); // 2 MiB over the limit go off
}

static void testWorkers(void **state) {
	(void)state;
	static const struct {
		int32_t procs;
		int64_t dedicated;
		double fraction;
	} cases[] = {{1, 0, 0.25}, {2, 0, 0.25}, {3, 0, 0.25}, {4, 1, 0}, {5, 1, 0}, {6, 1, 0.5 / 6}, {7, 2, 0}, {8, 2, 0},
		{64, 16, 0}};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		world *w = begin(100, INT64_MAX);
		gcController_startCycle(&w->c, 0, cases[i].procs, false);
		assert_int_equal(atomic_load(&w->c.dedicatedMarkWorkersNeeded), cases[i].dedicated);
		assert_true(w->c.fractionalUtilizationGoal == cases[i].fraction);
		int32_t idle = 0;
		for (; gcController_addIdleMarkWorker(&w->c); idle++) {
		}
		assert_int_equal(idle, cases[i].procs - cases[i].dedicated);
		assert_false(gcController_needIdleMarkWorker(&w->c));
		gcController_removeIdleMarkWorker(&w->c);
		assert_true(gcController_needIdleMarkWorker(&w->c));
	}
}

static void testRevise(void **state) {
	(void)state;
	world *w = begin(100, INT64_MAX);
	atomic_store(&w->c.heapScanWork, 8 * MiB);
	marked(w, 10 * MiB);
	atomic_store(&w->stats.heapLive, 16 * MiB);
	atomic_store(&w->stats.heapScan, 12 * MiB);
	gcController_startCycle(&w->c, 0, 4, false);
	assert_true(atomic_load(&w->c.assistWorkPerByte) == (double)(8 * MiB) / (4 * MiB));
	atomic_store(&w->c.heapScanWork, 6 * MiB);
	gcController_revise(&w->c);
	assert_true(atomic_load(&w->c.assistWorkPerByte) == (double)(2 * MiB) / (4 * MiB));
	assert_true(atomic_load(&w->c.assistBytesPerWork) == (double)(4 * MiB) / (2 * MiB));
	atomic_store(&w->c.heapScanWork,
		9 * MiB); // more than the last cycle had: up to 12 MiB, and the goal moves half as far again
	gcController_revise(&w->c);
	assert_true(atomic_load(&w->c.assistWorkPerByte) == (double)(3 * MiB) / (6 * MiB));
	atomic_store(&w->stats.heapLive, 30 * MiB); // and is missed: 10 % more
	gcController_revise(&w->c);
	assert_true(atomic_load(&w->c.assistWorkPerByte) == (double)(3 * MiB)); // no room at all: one byte
}

// A program whose live heap stays: the trigger moves away from the goal by what is allocated while marking, and stays there.
static void testSteady(void **state) {
	(void)state;
	const double perMarked = 0.2; // bytes allocated while a byte is marked
	const uint64_t live = 100 * MiB;
	world *w = begin(100, INT64_MAX);
	atomic_store(&w->c.heapScanWork, (int64_t)live);
	marked(w, live);
	for (int cycle = 0; cycle < 12; cycle++) {
		uint64_t goal;
		const uint64_t trigger = gcController_trigger(&w->c, &goal);
		atomic_store(&w->stats.heapLive, trigger);
		gcController_startCycle(&w->c, 0, 4, false);
		const uint64_t during = (uint64_t)(perMarked * (double)live);
		atomic_fetch_add(&w->stats.heapLive, during);
		atomic_store(&w->c.heapScanWork, (int64_t)live);
		gcController_endCycle(&w->c, 1000, 4);
		if (cycle > 0) {
			assert_int_equal(trigger + during, goal);
		}
		assert_int_equal(w->c.lastHeapGoal, goal > trigger + (64 << 10) ? goal : trigger + (64 << 10));
		marked(w, live);
		assert_null(gcController_check(&w->c));
	}
	// consMark = allocated / marked * 0.25 / 0.75, and the largest of the last four counts
	assert_true(w->c.consMark == (double)(uint64_t)(perMarked * (double)live) * 0.25 / ((double)live * 0.75));
	w->c.lastConsMark[1] = 9;
	atomic_store(&w->stats.heapLive, 150 * MiB);
	gcController_startCycle(&w->c, 0, 4, false);
	atomic_fetch_add(&w->stats.heapLive, MiB);
	atomic_store(&w->c.heapScanWork, (int64_t)live);
	gcController_endCycle(&w->c, 1000, 4);
	assert_true(w->c.consMark == 9);
	assert_true(w->c.lastConsMark[0] == 9);
	marked(w, live);
	uint64_t goal;
	assert_int_equal(gcController_trigger(&w->c, &goal), live + live / 64 * 45); // a runway longer than the way
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(testGoals),
		cmocka_unit_test(testMinimum),
		cmocka_unit_test(testUnswept),
		cmocka_unit_test(testMemoryLimit),
		cmocka_unit_test(testWorkers),
		cmocka_unit_test(testRevise),
		cmocka_unit_test(testSteady),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
