// test_mgclimit.c: the limit of the collector's processor time, with a clock of the test: Go's TestGCCPULimiter, and what it leaves out: events of Ps.
#include "gomem/mgclimit.h"
#include "tests/heaptest.h"

enum { PROCS = 14 };
static const int64_t ms = 1000000, us = 1000;

typedef struct fix {
	gcCPULimiterState l;
	int64_t ticks;
} fix;

static int64_t advance(fix *f, int64_t ns) { return f->ticks += ns; }
static void update(fix *f, int64_t ns) {
	gcCPULimiter_update(&f->l, advance(f, ns));
	assert_null(gcCPULimiter_check(&f->l));
}
// assist: a fraction of all processors for ns, on top of the quarter that workers have.
static void assist(fix *f, int64_t ns, double fraction) {
	gcCPULimiter_addAssistTime(&f->l, (int64_t)(fraction * (double)(ns * PROCS)));
	update(f, ns);
}
static void expect(fix *f, uint64_t fill, bool limiting, uint64_t overflow) {
	assert_int_equal(f->l.fill, fill);
	assert_int_equal(gcCPULimiter_limiting(&f->l), limiting);
	assert_int_equal(f->l.overflow, overflow);
}

static void fills_and_drains(fix *f, uint64_t before) {
	gcCPULimiterState *l = &f->l;
	const uint64_t full = (uint64_t)capacityPerProc * PROCS;
	assert_int_equal(l->capacity, full);
	update(f, 10 * ms);
	update(f, 3600 * 1000 * ms);
	expect(f, 0, false, before); // only the program ran

	assert_false(gcCPULimiter_needUpdate(l, advance(f, gcCPULimiterUpdatePeriod / 2)));
	assert_true(gcCPULimiter_needUpdate(l, advance(f, gcCPULimiterUpdatePeriod)));
	update(f, 0);
	assert_false(gcCPULimiter_needUpdate(l, advance(f, 0)));

	gcCPULimiter_startGCTransition(l, true, advance(f, 109 * ms));
	const int64_t pause = 2 * ms + us;
	gcCPULimiter_finishGCTransition(l, advance(f, pause));
	expect(f, (uint64_t)pause * PROCS, false, before);
	update(f, 2 * (pause - 1)); // a quarter of the time fills, three quarters drain
	expect(f, PROCS, false, before);
	update(f, 2 * PROCS * capacityPerProc);
	expect(f, 0, false, before);

	assist(f, 10 * ms, 0.25); // half of all: the bucket stands still
	expect(f, 0, false, before);
	assist(f, ms, 0.75); // all of it
	expect(f, (uint64_t)ms * PROCS, false, before);
	assist(f, capacityPerProc - ms, 0.75);
	expect(f, full, true, before); // exactly full
	assist(f, 1000 * ms, 0.25);
	expect(f, full, true, before);
	assist(f, capacityPerProc, 0);
	expect(f, full / 2, false, before);
	assist(f, capacityPerProc, 0.75);
	const uint64_t half = full / 2;
	expect(f, full, true, before + half);

	gcCPULimiter_addAssistTime(l, (int64_t)(0.75 * (double)(ms * PROCS)));
	gcCPULimiter_startGCTransition(l, false, advance(f, ms));
	expect(f, full, true, before + half + (uint64_t)ms * PROCS);
	gcCPULimiter_finishGCTransition(l, advance(f, 5 * ms));
	const uint64_t overflow = before + half + (uint64_t)(6 * ms) * PROCS;
	expect(f, full, true, overflow);

	gcCPULimiter_resetCapacity(l, advance(f, 0), PROCS + 10); // more Ps: there is room again
	expect(f, full, false, overflow);
	gcCPULimiter_resetCapacity(l, advance(f, 0), PROCS - 10);
	expect(f, l->capacity, true, overflow);
	gcCPULimiter_resetCapacity(l, advance(f, capacityPerProc * PROCS), PROCS);
	expect(f, 0, false, overflow);
}

static void TestGCCPULimiter(void **state) {
	(void)state;
	fix f = {0};
	gcCPULimiter_resetCapacity(&f.l, 0, PROCS);
	fills_and_drains(&f, 0);
	fills_and_drains(&f, f.l.overflow); // nothing is left of the first time
}

// What a P does counts as far as it went, also while it goes on; idle time is nobody's.
static void events(void **state) {
	(void)state;
	fix f = {.ticks = ms};
	limiterEvent e[4] = {0}, *all[4] = {&e[0], &e[1], &e[2], &e[3]};
	f.l.events = all;
	atomic_store(&f.l.lastUpdate, f.ticks);
	gcCPULimiter_resetCapacity(&f.l, f.ticks, 4);
	assert_true(limiterEvent_start(&e[0], limiterEventMarkAssist, f.ticks));
	assert_false(limiterEvent_start(&e[0], limiterEventScavengeAssist, f.ticks));
	assert_true(limiterEvent_start(&e[1], limiterEventIdle, f.ticks));
	assert_true(limiterEvent_start(&e[2], limiterEventScavengeAssist, f.ticks));
	assert_true(limiterEvent_start(&e[3], limiterEventIdleMarkWork, f.ticks));
	update(&f, 10 * ms); // 20 ms of assists, 20 ms idle, no time of the program
	expect(&f, (uint64_t)(20 * ms), false, 0);
	advance(&f, 10 * ms);
	limiterEvent_stop(&f.l, &e[0], limiterEventMarkAssist, f.ticks); // what came since is in the pools
	limiterEvent_stop(&f.l, &e[1], limiterEventIdle, f.ticks);
	limiterEvent_stop(&f.l, &e[2], limiterEventScavengeAssist, f.ticks);
	limiterEvent_stop(&f.l, &e[3], limiterEventIdleMarkWork, f.ticks);
	update(&f, 0);
	expect(&f, (uint64_t)(40 * ms), false, 0);
	update(&f, 10 * ms); // four Ps of the program
	expect(&f, 0, false, 0);
}

// Marking takes a quarter, and says in which cycle the limit was reached.
static void cycle(void **state) {
	(void)state;
	fix f = {0};
	atomic_store(&f.l.numgc, 6);
	gcCPULimiter_resetCapacity(&f.l, 0, 4);
	gcCPULimiter_startGCTransition(&f.l, true, advance(&f, ms));
	gcCPULimiter_finishGCTransition(&f.l, advance(&f, 999 * ms));
	assert_int_equal(f.l.lastEnabledCycle, 0);
	gcCPULimiter_startGCTransition(&f.l, false, advance(&f, 0));
	gcCPULimiter_finishGCTransition(&f.l, advance(&f, 1 * ms));
	expect(&f, 4 * (uint64_t)capacityPerProc, true, 0);
	assert_int_equal(f.l.lastEnabledCycle, 7);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(TestGCCPULimiter),
		cmocka_unit_test(events),
		cmocka_unit_test(cycle),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
