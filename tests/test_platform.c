// test_platform.c: locks exclude each other and wake sleepers; throw reaches the hook.
#include "memtest.h"

#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <time.h>

enum { threads = 8, rounds = 200000 };

typedef struct counter {
	gomem_env *env;
	mutex m;
	uint64_t n, inside;
} counter;

static void *countUp(void *arg) {
	counter *c = arg;
	for (int i = 0; i < rounds; i++) {
		lock(c->env, &c->m);
		c->inside++;
		if (c->inside != 1) {
			return NULL;
		}
		c->n++;
		if (i % 1000 == 0) {
			sched_yield(); // so that others come to sleep on the lock
		}
		c->inside--;
		unlock(c->env, &c->m);
	}
	return c;
}

static void TestLockExcludes(void **state) {
	(void)state;
	gomem_env env = {0};
	counter c = {.env = &env};
	void *args[threads];
	for (int i = 0; i < threads; i++) {
		args[i] = &c;
	}
	assert_true(memFix_runThreads(countUp, args, threads));
	assert_int_equal(c.n, threads * rounds);
	assert_int_equal(c.m.key, 0);
}

static void *lockOnce(void *arg) {
	counter *c = arg;
	lock(c->env, &c->m);
	c->n++;
	unlock(c->env, &c->m);
	return c;
}

// Sleepers cost no processor time and are all woken.
static void TestLockSleeps(void **state) {
	(void)state;
	gomem_env env = {0};
	counter c = {.env = &env};
	pthread_t t[threads];
	struct timespec before, after, nap = {.tv_nsec = 100000000};
	lock(&env, &c.m);
	assert_int_equal(c.m.key, 1);
	for (int i = 0; i < threads; i++) {
		assert_int_equal(pthread_create(&t[i], NULL, lockOnce, &c), 0);
	}
	nanosleep(&nap, NULL);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
	nanosleep(&nap, NULL);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
	assert_int_equal(c.m.key, 2);
	double used = (double)(after.tv_sec - before.tv_sec) + (double)(after.tv_nsec - before.tv_nsec) / 1e9;
	assert_true(used < 0.05);
	unlock(&env, &c.m);
	for (int i = 0; i < threads; i++) {
		pthread_join(t[i], NULL);
	}
	assert_int_equal(c.n, threads);
	assert_int_equal(c.m.key, 0);
}

static void unlockFree(void *arg) {
	memFix *f = arg;
	mutex m = {0};
	unlock(&f->env, &m);
}

static void TestUnlockOfUnlocked(void **state) {
	(void)state;
	memFix f;
	memFix_initSim(&f, (memSimConfig){0});
	assert_true(memFix_throws(&f, unlockFree, &f));
	assert_string_equal(f.msg, "unlock of unlocked lock");
	memFix_done(&f);
}

static void TestMutexIsGos(void **state) {
	(void)state;
	assert_int_equal(sizeof(mutex), sizeof(uintptr_t));
}

static void TestMulHigh(void **state) {
	(void)state;
	static const uint64_t known[][3] = {{0, UINT64_MAX, 0}, {UINT64_MAX, UINT64_MAX, UINT64_MAX - 1},
		{UINT64_MAX, 2, 1}, {(uint64_t)1 << 32, (uint64_t)1 << 32, 1}, {UINT32_MAX, UINT32_MAX, 0},
		{0x123456789abcdef0u, 0xfedcba9876543210u, 0x121fa00ad77d7422u}};
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		assert_true(mulHigh64(known[i][0], known[i][1]) == known[i][2]);
		assert_true(mulHalves64(known[i][0], known[i][1]) == known[i][2]);
	}
	// With 128-bit integers the two differ in how they are computed.
	uint64_t seed = 1;
	for (int i = 0; i < 1000000; i++) {
		const uint64_t x = memFix_rand(&seed) << (i % 3 * 16), y = memFix_rand(&seed) << (i % 5 * 8);
		if (mulHalves64(x, y) != mulHigh64(x, y)) {
			fail_msg("%" PRIx64 " * %" PRIx64, x, y);
		}
	}
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(TestLockExcludes),
		cmocka_unit_test(TestLockSleeps),
		cmocka_unit_test(TestUnlockOfUnlocked),
		cmocka_unit_test(TestMutexIsGos),
		cmocka_unit_test(TestMulHigh),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
