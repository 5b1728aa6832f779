// test_bgscavenge.c: pacing of the background scavenger, with a clock of its own.
//
// Witness: the rules of mgcscavenge.go in numbers worked out by hand; Go's own TestScavenger runs on the port in `./dev upstream`.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gomem/bgscavenge.h"

enum { MiB = 1 << 20, QUANTUM = 64 << 10 };

static void testGoals(void **state) {
	(void)state;
	static gomem_stats stats;
	scavengeGoals g;
	stats = (gomem_stats){0};
	atomic_store(&stats.heapInUse.v, 60 * MiB);
	atomic_store(&stats.heapFree.v, 40 * MiB);
	atomic_store(&stats.mappedReady, 110 * MiB);
	assert_int_equal(heapRetained(&stats), 100 * MiB);

	gcPaceScavenger(&g, &stats, 4096, INT64_MAX, 80 * MiB, 0, 50 * MiB);
	assert_true(scavengeGoals_reached(&g, &stats)); // no cycle has ended
	assert_int_equal(atomic_load(&g.gcPercentGoal), UINT64_MAX);
	assert_int_equal(atomic_load(&g.memoryLimitGoal), UINT64_MAX);

	gcPaceScavenger(&g, &stats, 4096, INT64_MAX, 80 * MiB, 100 * MiB, 50 * MiB);
	assert_int_equal(atomic_load(&g.gcPercentGoal), 44 * MiB); // 50 MiB * 0.8, and 10 % more
	assert_false(scavengeGoals_reached(&g, &stats));
	gcPaceScavenger(&g, &stats, 4096, INT64_MAX, 80 * MiB + 1, 100 * MiB, 50 * MiB);
	assert_int_equal(atomic_load(&g.gcPercentGoal) % 4096, 0);
	gcPaceScavenger(&g, &stats, 4096, INT64_MAX, 200 * MiB, 100 * MiB, 50 * MiB);
	assert_int_equal(atomic_load(&g.gcPercentGoal), UINT64_MAX); // 110 MiB would be kept

	gcPaceScavenger(&g, &stats, 4096, 100 * MiB, 200 * MiB, 100 * MiB, 50 * MiB);
	assert_int_equal(atomic_load(&g.memoryLimitGoal), 95 * MiB);
	assert_false(scavengeGoals_reached(&g, &stats));
	atomic_store(&stats.mappedReady, 95 * MiB);
	assert_true(scavengeGoals_reached(&g, &stats));
	gcPaceScavenger(&g, &stats, 4096, 100 * MiB, 200 * MiB, 100 * MiB, 50 * MiB);
	assert_int_equal(atomic_load(&g.memoryLimitGoal), UINT64_MAX);
}

static void testController(void **state) {
	(void)state;
	bool ok;
	piController c = {.kp = 0.5, .ti = 10, .tt = 20, .min = -1, .max = 1};
	assert_true(piController_next(&c, 0, 1, 10, &ok) == 0.5 && ok);
	assert_true(c.errIntegral == 0.5); // (kp * period / ti) * error
	assert_true(piController_next(&c, 0, 1, 10, &ok) == 1 && ok);
	assert_true(piController_next(&c, 0, 1, 10, &ok) == 1 && ok); // at the bound
	assert_true(c.errIntegral == 1.0 + 0.5 + 0.5 * (1 - 1.5));    // pulled back
	assert_true(piController_next(&c, 100, 1, 10, &ok) == -1 && ok);
	assert_true(piController_next(&c, -INFINITY, 1, 10, &ok) == -1 && !ok);
	assert_true(c.inputOverflow && !c.errOverflow && c.errIntegral == 0);
	assert_true(piController_next(&c, 0, 1, INFINITY, &ok) == -1 && !ok);
	assert_true(c.errOverflow && c.errIntegral == 0);
}

// A world in which 64 KiB take `cost` ns, and a sleep is late by `late` ns.
typedef struct clockWorld {
	int64_t cost, late, worked, slept;
	uint64_t left;
	int32_t procs;
} clockWorld;

static int64_t onSleep(void *ctx, int64_t ns) {
	clockWorld *w = ctx;
	w->slept += ns + w->late;
	return ns + w->late;
}

static uintptr_t onScavenge(void *ctx, uintptr_t nbytes, int64_t *ns) {
	clockWorld *w = ctx;
	const uint64_t n = w->left < nbytes ? w->left : nbytes;
	w->left -= n;
	w->worked += w->cost;
	*ns = w->cost;
	return (uintptr_t)n;
}

static bool onStop(void *ctx) { return ((const clockWorld *)ctx)->left == 0; }
static int32_t onProcs(void *ctx) { return ((const clockWorld *)ctx)->procs; }

static scavengerState start(clockWorld *w) {
	scavengerState s;
	const scavengerHooks hooks = {
		.ctx = w, .sleep = onSleep, .scavenge = onScavenge, .shouldStop = onStop, .gomaxprocs = onProcs};
	static gomem_env env;
	scavenger_init(&s, &env, 4096, hooks);
	return s;
}

// The scavenger takes 1 % of the time of all Ps, however late its sleeps are (with one P its sleeps swing about what they should be, as in Go).
static void testShare(void **state) {
	(void)state;
	static const clockWorld worlds[] = {
		{.cost = 100000, .procs = 1},
		{.cost = 100000, .procs = 8},
		{.cost = 3000000, .procs = 4},
		{.cost = 20000, .late = 500000, .procs = 4},
		{.cost = 200000, .late = 20000000, .procs = 2},
	};
	for (size_t i = 0; i < sizeof(worlds) / sizeof(worlds[0]); i++) {
		clockWorld w = worlds[i];
		w.left = (uint64_t)1 << 50;
		scavengerState s = start(&w);
		for (int k = 0; k < 40000; k++) {
			double worked;
			if (k == 20000) { // the controller has come to rest
				w.worked = w.slept = 0;
			}
			assert_int_equal(scavenger_run(&s, &worked) % QUANTUM, 0);
			assert_true(worked >= 1e6);
			scavenger_sleep(&s, worked);
		}
		const double share = (double)w.worked / ((double)(w.worked + w.slept) * w.procs);
		assert_true(share > 0.0095 && share < 0.0105);
		assert_int_equal(s.controllerResets, 0);
	}
}

static void testStops(void **state) {
	(void)state;
	clockWorld w = {.cost = 100000, .procs = 1, .left = 100 << 10};
	scavengerState s = start(&w);
	double worked;
	assert_int_equal(scavenger_run(&s, &worked), 100 << 10); // all there is: 64 and 36 KiB
	assert_true(worked == 200000);
	assert_int_equal(scavenger_run(&s, &worked), 0);
	assert_true(worked == 0);
	w = (clockWorld){.cost = 0, .procs = 1, .left = (uint64_t)1 << 40}; // a clock that stands: 10 us a physical page
	assert_int_equal(scavenger_run(&s, &worked), 7 * QUANTUM);
	assert_true(worked == 7 * 16 * 10000.0);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(testGoals),
		cmocka_unit_test(testController),
		cmocka_unit_test(testShare),
		cmocka_unit_test(testStops),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
