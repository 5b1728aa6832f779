// test_persistentalloc.c: blocks in chunks, blocks of their own, statistics, destruction, out of memory; linearAlloc.
#include "memtest.h"

enum { KiB = 1024, chunk = 256 * KiB };

typedef struct misuse {
	memFix *f;
	uintptr_t size, align;
} misuse;
static void allocMisuse(void *arg) {
	misuse *m = arg;
	persistentalloc(&m->f->env, m->size, m->align, &m->f->stats.other_sys);
}

static void TestSmallBlocks(void **state) {
	(void)state;
	memFix f;
	memFix_initSim(&f, (memSimConfig){0});
	uint64_t seed = 1;
	uintptr_t end = 0, sum = 0;
	for (int i = 0; i < 2000; i++) {
		uintptr_t size = (uintptr_t)(1 + memFix_rand(&seed) % 3000);
		uintptr_t align = memFix_rand(&seed) % 4 == 0 ? 0 : (uintptr_t)1 << memFix_rand(&seed) % 14;
		unsigned char *p = persistentalloc(&f.env, size, align, &f.stats.gcMiscSys);
		assert_non_null(p);
		assert_int_equal((uintptr_t)p % (align == 0 ? 8 : align), 0);
		for (uintptr_t j = 0; j < size; j++) {
			assert_int_equal(p[j], 0);
		}
		memset(p, 0xff, size);
		uintptr_t base = f.env.globalAlloc.base;
		assert_true((uintptr_t)p >= base + 8 && (uintptr_t)p + size <= base + chunk);
		assert_true((uintptr_t)p >= end || end > base + chunk || end < base);
		end = (uintptr_t)p + size;
		sum += size;
		assert_true(inPersistentAlloc(&f.env, (uintptr_t)p));
	}
	assert_int_equal(sysMemStat_load(&f.stats.gcMiscSys), sum);
	assert_int_equal(memFix_totalSys(&f) % chunk, 0);
	assert_int_equal(memFix_mappedReady(&f), memFix_totalSys(&f));
	assert_true(memFix_totalSys(&f) >= (int64_t)sum);
	assert_false(inPersistentAlloc(&f.env, (uintptr_t)&f));
	memFix_done(&f);
}

static void TestOwnBlocks(void **state) {
	(void)state;
	memFix f;
	memFix_initSim(&f, (memSimConfig){0});
	unsigned char *below = persistentalloc(&f.env, 64 * KiB - 1, 0, &f.stats.gcMiscSys);
	assert_true(inPersistentAlloc(&f.env, (uintptr_t)below));
	assert_int_equal(memFix_totalSys(&f), chunk);
	unsigned char *own = persistentalloc(&f.env, 64 * KiB, 0, &f.stats.gcMiscSys);
	assert_false(inPersistentAlloc(&f.env, (uintptr_t)own));
	assert_int_equal(memFix_totalSys(&f), chunk + 64 * KiB);
	assert_int_equal(sysMemStat_load(&f.stats.gcMiscSys), 128 * KiB - 1);
	for (int i = 0; i < 10; i++) {
		assert_int_equal((uintptr_t)persistentalloc(&f.env, 100 * KiB, 8192, &f.stats.gcMiscSys) % 8192, 0);
	}
	memFix_done(&f);
}

static void TestDestroy(void **state) {
	(void)state;
	memFix f;
	memFix_initSim(&f, (memSimConfig){0});
	for (int i = 0; i < 50; i++) {
		memset(persistentalloc(&f.env, 30 * KiB, 0, &f.stats.gcMiscSys), 1, 30 * KiB);
		memset(persistentalloc(&f.env, 90 * KiB, 0, &f.stats.mspan_sys), 1, 90 * KiB);
	}
	persistentalloc_destroy(&f.env);
	assert_int_equal(mem_sim_bytes(f.env.os, MEM_META, MEM_READY), 0);
	assert_int_equal(memFix_totalSys(&f), 0);
	assert_int_equal(memFix_mappedReady(&f), 0);
	assert_non_null(persistentalloc(&f.env, 8, 0, &f.stats.other_sys));
	memFix_done(&f);
}

static void TestMisuse(void **state) {
	(void)state;
	static const struct {
		uintptr_t size, align;
		const char *msg;
	} cases[] = {
		{0, 8, "persistentalloc: size == 0"},
		{8, 24, "persistentalloc: align is not a power of 2"},
		{8, 16384, "persistentalloc: align is too large"},
	};
	memFix f;
	memFix_initSim(&f, (memSimConfig){0});
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		misuse m = {&f, cases[i].size, cases[i].align};
		assert_true(memFix_throws(&f, allocMisuse, &m));
		assert_string_equal(f.msg, cases[i].msg);
	}
	memFix_done(&f);
}

static void TestOutOfMemory(void **state) {
	(void)state;
	for (uint64_t nth = 1; nth <= 3; nth++) {
		memFix f;
		memFix_initSim(&f, (memSimConfig){.failNth = nth});
		// a chunk for the small block, the large block, and on failure both again
		void *small = persistentalloc(&f.env, 100, 0, &f.stats.gcMiscSys);
		assert_int_equal(small == NULL, nth == 1);
		void *large = persistentalloc(&f.env, 100 * KiB, 0, &f.stats.gcMiscSys);
		assert_int_equal(large == NULL, nth == 2);
		int64_t want = (nth == 2 ? 0 : 100 * KiB) + chunk;
		assert_int_equal(memFix_totalSys(&f), want);
		assert_int_equal(memFix_mappedReady(&f), want);
		persistentalloc_destroy(&f.env);
		assert_int_equal(mem_sim_bytes(f.env.os, MEM_META, MEM_READY), 0);
		memFix_done(&f);
	}
}

// A large block that nothing could remember is given back.
static void TestOutOfMemoryForTheNote(void **state) {
	(void)state;
	memFix f;
	memFix_initSim(&f, (memSimConfig){.failNth = 2});
	assert_null(persistentalloc(&f.env, 100 * KiB, 0, &f.stats.gcMiscSys));
	assert_int_equal(memFix_totalSys(&f), 0);
	assert_int_equal(memFix_mappedReady(&f), 0);
	assert_int_equal(mem_sim_bytes(f.env.os, MEM_META, MEM_READY), 0);
	memFix_done(&f);
}

enum { threads = 4, perThread = 60000 };
static void *allocMany(void *arg) {
	memFix *f = arg;
	for (uintptr_t i = 0; i < perThread; i++) {
		uintptr_t *p = persistentalloc(&f->env, 64, 64, &f->stats.gcMiscSys);
		if (p == NULL || p[0] != 0 || p[7] != 0) {
			return NULL;
		}
		p[0] = p[7] = i + 1;
	}
	return f;
}

static void TestThreads(void **state) {
	(void)state;
	memFix f;
	memFix_initSim(&f, (memSimConfig){0});
	void *args[threads] = {&f, &f, &f, &f};
	assert_true(memFix_runThreads(allocMany, args, threads));
	assert_int_equal(sysMemStat_load(&f.stats.gcMiscSys), threads * perThread * 64);
	memFix_done(&f);
}

// ---- linearAlloc

static void TestLinearAlloc(void **state) {
	(void)state;
	memFix f;
	memFix_initSim(&f, (memSimConfig){.backed = true});
	unsigned char *v = sysReserve(&f.env, NULL, 16 * KiB, MEM_HEAP);
	linearAlloc l;
	linearAlloc_init(&l, (uintptr_t)v, 16 * KiB, true);
	unsigned char *a = linearAlloc_alloc(&f.env, &l, 100, 8, &f.stats.gcMiscSys);
	assert_ptr_equal(a, v);
	assert_int_equal(memStates_get(f.env.states, (uintptr_t)v + 4095), MEM_READY);
	assert_int_equal(memStates_get(f.env.states, (uintptr_t)v + 4096), MEM_RESERVED);
	memset(a, 1, 4096);
	assert_ptr_equal(linearAlloc_alloc(&f.env, &l, 8, 64, &f.stats.gcMiscSys), v + 128);
	assert_ptr_equal(linearAlloc_alloc(&f.env, &l, 8192, 4096, &f.stats.gcMiscSys), v + 4096);
	assert_int_equal(sysMemStat_load(&f.stats.gcMiscSys), 12 * KiB);
	assert_int_equal(memFix_mappedReady(&f), 12 * KiB);
	assert_null(linearAlloc_alloc(&f.env, &l, 4097, 1, &f.stats.gcMiscSys));
	assert_ptr_equal(linearAlloc_alloc(&f.env, &l, 4096, 1, &f.stats.gcMiscSys), v + 12 * KiB);
	assert_null(linearAlloc_alloc(&f.env, &l, 1, 1, &f.stats.gcMiscSys));
	linearAlloc_init(&l, UINTPTR_MAX - 4095, 4096, false);
	assert_int_equal(l.end, UINTPTR_MAX);
	memFix_done(&f);
}

static void TestLinearAllocWithoutMapping(void **state) {
	(void)state;
	memFix f;
	memFix_initSim(&f, (memSimConfig){0});
	linearAlloc l;
	linearAlloc_init(&l, 0x10000, 8192, false);
	assert_int_equal((uintptr_t)linearAlloc_alloc(&f.env, &l, 5000, 8, &f.stats.gcMiscSys), 0x10000);
	assert_int_equal(l.mapped, 0x12000);
	assert_int_equal(mem_sim_calls(f.env.os), 0);
	assert_int_equal(sysMemStat_load(&f.stats.gcMiscSys), 0);
	memFix_done(&f);
}

static void TestLinearAllocOutOfMemory(void **state) {
	(void)state;
	for (uint64_t nth = 2; nth <= 3; nth++) { // call 1 is the reservation
		memFix f;
		memFix_initSim(&f, (memSimConfig){.failNth = nth});
		unsigned char *v = sysReserve(&f.env, NULL, 8192, MEM_HEAP);
		linearAlloc l;
		linearAlloc_init(&l, (uintptr_t)v, 8192, true);
		assert_null(linearAlloc_alloc(&f.env, &l, 8, 8, &f.stats.gcMiscSys));
		assert_int_equal(memStates_get(f.env.states, (uintptr_t)v), MEM_RESERVED);
		assert_int_equal(sysMemStat_load(&f.stats.gcMiscSys), 0);
		assert_int_equal(memFix_mappedReady(&f), 0);
		assert_ptr_equal(linearAlloc_alloc(&f.env, &l, 8, 8, &f.stats.gcMiscSys), v);
		memFix_done(&f);
	}
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(TestSmallBlocks),
		cmocka_unit_test(TestOwnBlocks),
		cmocka_unit_test(TestDestroy),
		cmocka_unit_test(TestMisuse),
		cmocka_unit_test(TestOutOfMemory),
		cmocka_unit_test(TestOutOfMemoryForTheNote),
		cmocka_unit_test(TestThreads),
		cmocka_unit_test(TestLinearAlloc),
		cmocka_unit_test(TestLinearAllocWithoutMapping),
		cmocka_unit_test(TestLinearAllocOutOfMemory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
