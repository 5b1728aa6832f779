// test_gcbits.c: arenas of mark bits: alignment, zeroing, the four lists over epochs, threads, out of memory.
#include "memtest.h"

#include "gomem/gcbits.h"

enum { arena = 64 * 1024, room = arena - 2 * sizeof(uintptr_t) };

static bool isZero(const gcBits *p, uintptr_t n) {
	for (uintptr_t i = 0; i < n; i++) {
		if (p[i] != 0) {
			return false;
		}
	}
	return true;
}

static uintptr_t listLen(const gcBitsArena *a) {
	uintptr_t n = 0;
	for (; a != NULL; a = a->next) {
		n++;
	}
	return n;
}

static void checkLists(gcBitsArenas *a, uintptr_t freeLen, uintptr_t next, uintptr_t current, uintptr_t previous) {
	assert_int_equal(listLen(a->free), freeLen);
	assert_int_equal(listLen((gcBitsArena *)atomic_load(&a->next)), next);
	assert_int_equal(listLen(a->current), current);
	assert_int_equal(listLen(a->previous), previous);
}

static void TestSizes(void **state) {
	(void)state;
	static const struct {
		uintptr_t nelems, bytes;
	} tests[] = {{1, 8}, {63, 8}, {64, 8}, {65, 16}, {512, 64}, {1024, 128}};
	memFix f;
	memFix_initSim(&f, (memSimConfig){0});
	gcBitsArenas a = {0};
	uintptr_t at = 0;
	for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++) {
		gcBits *p = i % 2 == 0 ? newMarkBits(&f.env, &a, tests[i].nelems) : newAllocBits(&f.env, &a, tests[i].nelems);
		gcBitsArena *head = (gcBitsArena *)atomic_load(&a.next);
		assert_int_equal((uintptr_t)p % 8, 0);
		assert_ptr_equal(p, &head->bits[at]);
		assert_true(isZero(p, tests[i].bytes));
		memset(p, 0xff, tests[i].bytes);
		at += tests[i].bytes;
		assert_int_equal(head->free, at);
	}
	assert_int_equal(sysMemStat_load(&f.stats.gcMiscSys), arena);
	gcBitsArenas_destroy(&f.env, &a);
	assert_int_equal(sysMemStat_load(&f.stats.gcMiscSys), 0);
	memFix_done(&f);
}

// fill takes n arenas' worth of bits and dirties them.
static void fill(memFix *f, gcBitsArenas *a, int n) {
	for (int i = 0; i < n * (room / 128); i++) {
		gcBits *p = newMarkBits(&f->env, a, 1024);
		assert_true(isZero(p, 128));
		memset(p, 0xff, 128);
	}
}

static void TestEpochs(void **state) {
	(void)state;
	memFix f;
	memFix_initSim(&f, (memSimConfig){0});
	gcBitsArenas a = {0};
	nextMarkBitArenaEpoch(&f.env, &a);
	checkLists(&a, 0, 0, 0, 0);
	fill(&f, &a, 3);
	checkLists(&a, 0, 3, 0, 0);
	nextMarkBitArenaEpoch(&f.env, &a);
	checkLists(&a, 0, 0, 3, 0);
	fill(&f, &a, 2);
	nextMarkBitArenaEpoch(&f.env, &a);
	checkLists(&a, 0, 0, 2, 3);
	fill(&f, &a, 1);
	nextMarkBitArenaEpoch(&f.env, &a);
	checkLists(&a, 3, 0, 1, 2);
	gcBitsArena *reused = a.free;
	fill(&f, &a, 2); // zeroed again: fill looks
	checkLists(&a, 1, 2, 1, 2);
	assert_ptr_equal(((gcBitsArena *)atomic_load(&a.next))->next, reused);
	nextMarkBitArenaEpoch(&f.env, &a);
	checkLists(&a, 3, 0, 2, 1);
	assert_int_equal(sysMemStat_load(&f.stats.gcMiscSys), 6 * arena);
	gcBitsArenas_destroy(&f.env, &a);
	checkLists(&a, 0, 0, 0, 0);
	assert_int_equal(mem_sim_bytes(f.env.os, MEM_META, MEM_READY), 0);
	memFix_done(&f);
}

// What does not fit goes to a fresh arena; the old one keeps its rest for smaller requests only while it is the head.
static void TestRest(void **state) {
	(void)state;
	memFix f;
	memFix_initSim(&f, (memSimConfig){0});
	gcBitsArenas a = {0};
	gcBits *first = newMarkBits(&f.env, &a, (room - 8) * 8);
	gcBits *last = newMarkBits(&f.env, &a, 64);
	assert_ptr_equal(last, first + room - 8);
	newMarkBits(&f.env, &a, 1);
	checkLists(&a, 0, 2, 0, 0);
	newMarkBits(&f.env, &a, room * 8);
	checkLists(&a, 0, 3, 0, 0);
	gcBitsArenas_destroy(&f.env, &a);
	memFix_done(&f);
}

static void tooMany(void *arg) {
	memFix *f = arg;
	gcBitsArenas a = {0};
	newMarkBits(&f->env, &a, room * 8 + 1);
}

static void TestOverflow(void **state) {
	(void)state;
	memFix f;
	memFix_initSim(&f, (memSimConfig){0});
	assert_true(memFix_throws(&f, tooMany, &f));
	assert_string_equal(f.msg, "markBits overflow");
	memFix_done(&f);
}

static void TestOutOfMemory(void **state) {
	(void)state;
	memFix f;
	memFix_initSim(&f, (memSimConfig){.failNth = 2});
	gcBitsArenas a = {0};
	fill(&f, &a, 1);
	assert_null(newMarkBits(&f.env, &a, 1024));
	assert_int_equal(a.lock.key, 0);
	checkLists(&a, 0, 1, 0, 0);
	assert_non_null(newMarkBits(&f.env, &a, 1024));
	checkLists(&a, 0, 2, 0, 0);
	gcBitsArenas_destroy(&f.env, &a);
	memFix_done(&f);
}

enum { threads = 4, perThread = 2500, rounds = 60 };
typedef struct worker {
	memFix *f;
	gcBitsArenas *a;
} worker;

// Large requests: an arena is full after 64 of them, so that threads meet at its end and at the making of the next.
static void *takeBits(void *arg) {
	worker *w = arg;
	for (int i = 0; i < perThread; i++) {
		gcBits *p = newMarkBits(&w->f->env, w->a, 8 * 1000);
		if (p == NULL || !isZero(p, 1000)) {
			return NULL;
		}
		memset(p, 0xff, 1000); // whoever gets the same bits sees it
	}
	return w;
}

// In each round all arenas come back through the free list.
static void TestThreads(void **state) {
	(void)state;
	memFix f;
	memFix_initSim(&f, (memSimConfig){0});
	gcBitsArenas a = {0};
	worker w = {&f, &a};
	void *args[threads] = {&w, &w, &w, &w};
	for (int i = 0; i < rounds; i++) {
		assert_true(memFix_runThreads(takeBits, args, threads));
		for (int j = 0; j < 3; j++) {
			nextMarkBitArenaEpoch(&f.env, &a);
		}
		assert_int_equal(sysMemStat_load(&f.stats.gcMiscSys), listLen(a.free) * arena); // none was lost
		assert_true(listLen(a.free) * (room / 1000) >= threads * perThread);
	}
	gcBitsArenas_destroy(&f.env, &a);
	memFix_done(&f);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(TestSizes),
		cmocka_unit_test(TestEpochs),
		cmocka_unit_test(TestRest),
		cmocka_unit_test(TestOverflow),
		cmocka_unit_test(TestOutOfMemory),
		cmocka_unit_test(TestThreads),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
