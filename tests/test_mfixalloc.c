// test_mfixalloc.c: objects of one size: identity, reuse, zeroing, the first-time callback, accounting, out of memory.
#include "memtest.h"

#include "gomem/mfixalloc.h"

typedef struct firsts {
	void *last;
	int n;
} firsts;
static void countFirst(void *arg, void *p) {
	firsts *c = arg;
	c->last = p;
	c->n++;
}

static bool isZero(const unsigned char *p, size_t n) {
	for (size_t i = 0; i < n; i++) {
		if (p[i] != 0) {
			return false;
		}
	}
	return true;
}

// Objects stand one after the other in chunks of 16 KiB less what does not divide, and each is announced once.
static void TestChunks(void **state) {
	(void)state;
	enum { size = 168 }; // sizeof mspan
	memFix f;
	memFix_initSim(&f, (memSimConfig){0});
	firsts c = {0};
	fixalloc fa;
	fixalloc_init(&f.env, &fa, size, countFirst, &c, &f.stats.mspan_sys);
	assert_int_equal(fa.nalloc, 16384 / size * size);
	unsigned char *prev = NULL;
	for (unsigned i = 0; i < 3 * (16384 / size); i++) {
		unsigned char *p = fixalloc_alloc(&f.env, &fa);
		assert_ptr_equal(c.last, p);
		assert_int_equal(c.n, i + 1);
		assert_true(isZero(p, size));
		memset(p, 0xff, size);
		if (i % (16384 / size) != 0) {
			assert_ptr_equal(p, prev + size);
		}
		prev = p;
		assert_int_equal(fa.inuse, (i + 1) * size);
		assert_true(fa.nchunk < fa.nalloc + size);
	}
	assert_int_equal(sysMemStat_load(&f.stats.mspan_sys), 3 * fa.nalloc);
	memFix_done(&f);
}

static void TestReuse(void **state) {
	(void)state;
	memFix f;
	memFix_initSim(&f, (memSimConfig){0});
	firsts c = {0};
	fixalloc fa;
	fixalloc_init(&f.env, &fa, 64, countFirst, &c, &f.stats.mspan_sys);
	unsigned char *a = fixalloc_alloc(&f.env, &fa), *b = fixalloc_alloc(&f.env, &fa);
	memset(a, 1, 64);
	memset(b, 2, 64);
	fixalloc_free(&f.env, &fa, a);
	fixalloc_free(&f.env, &fa, b);
	assert_int_equal(fa.inuse, 0);
	assert_ptr_equal(fixalloc_alloc(&f.env, &fa), b);
	assert_true(isZero(b, 64));
	fa.zero = false;
	assert_ptr_equal(fixalloc_alloc(&f.env, &fa), a);
	assert_int_equal(a[63], 1); // all but the first word is as it was left
	assert_int_equal(c.n, 2);
	assert_int_equal(fa.inuse, 128);
	memFix_done(&f);
}

static void TestSmallSize(void **state) {
	(void)state;
	memFix f;
	memFix_initSim(&f, (memSimConfig){0});
	fixalloc fa;
	fixalloc_init(&f.env, &fa, 1, NULL, NULL, &f.stats.other_sys);
	assert_int_equal(fa.size, sizeof(mlink));
	memFix_done(&f);
}

static void initTooLarge(void *arg) {
	memFix *f = arg;
	fixalloc fa;
	fixalloc_init(&f->env, &fa, 16385, NULL, NULL, &f->stats.other_sys);
}
static void allocWithoutInit(void *arg) {
	memFix *f = arg;
	fixalloc fa = {0};
	fixalloc_alloc(&f->env, &fa);
}

static void TestMisuse(void **state) {
	(void)state;
	memFix f;
	memFix_initSim(&f, (memSimConfig){0});
	assert_true(memFix_throws(&f, initTooLarge, &f));
	assert_string_equal(f.msg, "runtime: fixalloc size too large");
	assert_true(memFix_throws(&f, allocWithoutInit, &f));
	memFix_done(&f);
}

static void TestOutOfMemory(void **state) {
	(void)state;
	memFix f;
	memFix_initSim(&f, (memSimConfig){.failNth = 1});
	fixalloc fa;
	firsts c = {0};
	fixalloc_init(&f.env, &fa, 64, countFirst, &c, &f.stats.mspan_sys);
	assert_null(fixalloc_alloc(&f.env, &fa));
	assert_int_equal(fa.inuse, 0);
	assert_int_equal(c.n, 0);
	assert_int_equal(sysMemStat_load(&f.stats.mspan_sys), 0);
	assert_non_null(fixalloc_alloc(&f.env, &fa));
	assert_int_equal(fa.inuse, 64);
	memFix_done(&f);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(TestChunks),
		cmocka_unit_test(TestReuse),
		cmocka_unit_test(TestSmallSize),
		cmocka_unit_test(TestMisuse),
		cmocka_unit_test(TestOutOfMemory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
