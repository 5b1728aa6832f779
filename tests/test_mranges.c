// test_mranges.c: address ranges. The cases of Go's mranges_test.go under their names; each operation against a plain
// set of addresses; the offset address space; atomic offset addresses; out of memory.
#include "memtest.h"

#include "gomem/mranges.h"

enum { maxRanges = 256 };

typedef struct rangeList {
	addrRange r[maxRanges];
	intptr_t n;
} rangeList;

static const gomem_layout *layoutOf(void) { return &layout_host; }

static void append(gomem_env *env, rangeList *l, uintptr_t base, uintptr_t limit) {
	assert_true(l->n < maxRanges);
	l->r[l->n++] = makeAddrRange(env, base, limit);
}

static void validateAddrRanges(gomem_env *env, const addrRanges *a, const rangeList *want) {
	uintptr_t total = 0;
	addrRanges_check(env, a);
	assert_int_equal(a->len, want->n);
	for (intptr_t i = 0; i < want->n; i++) {
		assert_int_equal(a->ranges[i].base.a, want->r[i].base.a);
		assert_int_equal(a->ranges[i].limit.a, want->r[i].limit.a);
		total += want->r[i].limit.a - want->r[i].base.a;
	}
	assert_int_equal(a->totalBytes, total);
}

static void addAndValidate(gomem_env *env, addrRanges *a, uintptr_t base, uintptr_t limit, const rangeList *want) {
	assert_true(addrRanges_add(env, a, makeAddrRange(env, base, limit)));
	validateAddrRanges(env, a, want);
}

static void concat(rangeList *to, const rangeList *front, const rangeList *back) {
	*to = *front;
	for (intptr_t i = 0; i < back->n; i++) {
		to->r[to->n++] = back->r[i];
	}
}

static void TestAddrRangesAdd(void **state) {
	(void)state;
	memFix f;
	memFix_initSim(&f, (memSimConfig){0});
	gomem_env *env = &f.env;
	addrRanges a;
	assert_true(addrRanges_init(env, &a, &f.stats.gcMiscSys));
	rangeList want = {0};
	append(env, &want, 512, 1024);
	addAndValidate(env, &a, 512, 1024, &want); // the first
	want.r[0].limit.a = 2048;
	addAndValidate(env, &a, 1024, 2048, &want); // coalesces with the one below
	append(env, &want, 4096, 8192);
	addAndValidate(env, &a, 4096, 8192, &want); // apart
	want.r[1].base.a = 3776;
	addAndValidate(env, &a, 3776, 4096, &want); // coalesces with the one above
	want.r[0].limit.a = 8192;
	want.n = 1;
	addAndValidate(env, &a, 2048, 3776, &want); // coalesces with both
	for (uintptr_t i = 0; i < 64; i++) {        // many at the end: the array grows
		append(env, &want, 8192 + (i + 1) * 2048, 8192 + (i + 1) * 2048 + 10);
		addAndValidate(env, &a, 8192 + (i + 1) * 2048, 8192 + (i + 1) * 2048 + 10, &want);
	}
	rangeList bottom = {0}, all;
	for (uintptr_t i = 0; i < 63; i++) { // and at the start
		append(env, &bottom, 8 + i * 8, 8 + i * 8 + 4);
		concat(&all, &bottom, &want);
		addAndValidate(env, &a, 8 + i * 8, 8 + i * 8 + 4, &all);
	}
	memFix_done(&f);
}

static void TestAddrRangesFindSucc(void **state) {
	(void)state;
	enum { LARGE = -1, EMPTY = 0 };
	static const struct {
		const char *name;
		uintptr_t base;
		intptr_t expect;
		int n; // ranges, or LARGE
		uintptr_t ranges[3][2];
	} tests[] = {
		{"Empty", 12, 0, EMPTY, {{0}}},
		{"OneBefore", 12, 0, 1, {{14, 16}}},
		{"OneWithin", 14, 1, 1, {{14, 16}}},
		{"OneAfterLimit", 16, 1, 1, {{14, 16}}},
		{"OneAfter", 17, 1, 1, {{14, 16}}},
		{"ThreeBefore", 3, 0, 3, {{6, 10}, {12, 16}, {19, 22}}},
		{"ThreeAfter", 24, 3, 3, {{6, 10}, {12, 16}, {19, 22}}},
		{"ThreeBetween", 11, 1, 3, {{6, 10}, {12, 16}, {19, 22}}},
		{"ThreeWithin", 9, 1, 3, {{6, 10}, {12, 16}, {19, 22}}},
		{"Zero", 0, 1, 1, {{0, 10}}},
		{"Max", UINTPTR_MAX, 1, 1, {{UINTPTR_MAX - 5, UINTPTR_MAX}}},
		{"LargeBefore", 2, 0, LARGE, {{0}}},
		{"LargeAfter", 5 + 100 * 5 + 30, 100, LARGE, {{0}}},
		{"LargeBetweenLow", 14, 2, LARGE, {{0}}},
		{"LargeBetweenHigh", 249, 49, LARGE, {{0}}},
		{"LargeWithinLow", 25, 5, LARGE, {{0}}},
		{"LargeWithinHigh", 396, 79, LARGE, {{0}}},
		{"LargeWithinMiddle", 250, 50, LARGE, {{0}}},
	};
	memFix f;
	memFix_initSim(&f, (memSimConfig){0});
	rangeList large = {0};
	for (uintptr_t i = 0; i < 100; i++) {
		append(&f.env, &large, 5 + i * 5, 5 + i * 5 + 3);
	}
	for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++) {
		addrRanges a;
		assert_true(addrRanges_init(&f.env, &a, &f.stats.gcMiscSys));
		intptr_t n = tests[i].n == LARGE ? large.n : tests[i].n;
		for (intptr_t j = 0; j < n; j++) {
			addrRange r =
				tests[i].n == LARGE ? large.r[j] : makeAddrRange(&f.env, tests[i].ranges[j][0], tests[i].ranges[j][1]);
			assert_true(addrRanges_add(&f.env, &a, r));
		}
		intptr_t got = addrRanges_findSucc(&f.env, &a, tests[i].base);
		if (got != tests[i].expect) {
			fail_msg("%s: expected %ld, got %ld", tests[i].name, (long)tests[i].expect, (long)got);
		}
	}
	memFix_done(&f);
}

// ---- every operation against a set of addresses

enum { space = 400 };

typedef struct model {
	gomem_env *env;
	addrRanges a;
	uintptr_t at; // where address 0 of the set stands
	bool in[space];
} model;

static void compareModel(model *m) {
	uintptr_t total = 0;
	addrRanges_check(m->env, &m->a);
	for (uintptr_t i = 0; i < space; i++) {
		assert_int_equal(addrRanges_contains(m->env, &m->a, m->at + i), m->in[i]);
		total += m->in[i];
	}
	assert_int_equal(m->a.totalBytes, total);
	uintptr_t next = 0;
	bool any = false;
	for (uintptr_t i = space; i-- > 0;) {
		if (m->in[i]) {
			next = m->at + i;
			any = true;
		}
		uintptr_t got;
		assert_int_equal(addrRanges_findAddrGreaterEqual(m->env, &m->a, m->at + i, &got), any);
		if (any) {
			assert_int_equal(got, next);
		}
	}
}

static void modelAdd(model *m, uint64_t *seed) {
	uintptr_t lo = (uintptr_t)memFix_rand(seed) % space, n = (uintptr_t)(1 + memFix_rand(seed) % 6), hi = lo;
	while (hi < space && hi < lo + n && !m->in[hi]) {
		m->in[hi++] = true;
	}
	if (hi > lo) {
		assert_true(addrRanges_add(m->env, &m->a, makeAddrRange(m->env, m->at + lo, m->at + hi)));
	}
}

static void modelRemoveLast(model *m, uint64_t *seed) {
	uintptr_t n = (uintptr_t)(1 + memFix_rand(seed) % 5), hi = space;
	while (hi > 0 && !m->in[hi - 1]) {
		hi--;
	}
	uintptr_t lo = hi;
	while (lo > 0 && m->in[lo - 1] && hi - lo < n) {
		m->in[--lo] = false;
	}
	addrRange r = addrRanges_removeLast(m->env, &m->a, n);
	assert_int_equal(addrRange_size(layoutOf(), r), hi - lo);
	if (hi > lo) {
		assert_int_equal(r.base.a, m->at + lo);
	}
}

static void modelRemoveAbove(model *m, uint64_t *seed) {
	uintptr_t at = (uintptr_t)(space / 2 + memFix_rand(seed) % (space / 2));
	for (uintptr_t i = at; i < space; i++) {
		m->in[i] = false;
	}
	addrRanges_removeGreaterEqual(m->env, &m->a, m->at + at);
}

static void modelClone(model *m, addrRanges *b) {
	assert_true(addrRanges_cloneInto(m->env, &m->a, b));
	addrRanges_check(m->env, b);
	assert_int_equal(b->len, m->a.len);
	assert_ptr_not_equal(b->ranges, m->a.ranges);
	assert_memory_equal(b->ranges, m->a.ranges, (size_t)b->len * sizeof(addrRange));
	assert_int_equal(b->totalBytes, m->a.totalBytes);
}

// The second place is in the upper half of the address space, the first of the offset one.
static void TestAgainstSet(void **state) {
	(void)state;
	static const uintptr_t places[] = {(uintptr_t)0xc000000000, (uintptr_t)0xffff900000000000};
	for (size_t p = 0; p < sizeof places / sizeof places[0]; p++) {
		memFix f;
		memFix_initSim(&f, (memSimConfig){0});
		model m = {.env = &f.env, .at = places[p]};
		addrRanges b;
		assert_true(addrRanges_init(&f.env, &m.a, &f.stats.gcMiscSys));
		assert_true(addrRanges_init(&f.env, &b, &f.stats.gcMiscSys));
		uint64_t seed = p + 1;
		for (int i = 0; i < 3000; i++) {
			uint64_t what = memFix_rand(&seed) % 20;
			if (what < 14) {
				modelAdd(&m, &seed);
			} else if (what < 19) {
				modelRemoveLast(&m, &seed);
			} else {
				modelRemoveAbove(&m, &seed);
			}
			compareModel(&m);
			if (i % 50 == 0) {
				modelClone(&m, &b);
			}
		}
		addrRanges_removeGreaterEqual(&f.env, &m.a, minOffAddr(layoutOf()).a);
		assert_int_equal(m.a.len, 0);
		assert_int_equal(m.a.totalBytes, 0);
		memFix_done(&f);
	}
}

// ---- single ranges

typedef struct twoRanges {
	memFix *f;
	addrRange a, b;
} twoRanges;
static void subtractBoth(void *arg) {
	twoRanges *t = arg;
	t->a = addrRange_subtract(&t->f->env, t->a, t->b);
}
static void makeBoth(void *arg) {
	twoRanges *t = arg;
	t->a = makeAddrRange(&t->f->env, t->a.base.a, t->a.limit.a);
}
static void addFirst(void *arg) {
	twoRanges *t = arg;
	addrRanges r;
	addrRanges_init(&t->f->env, &r, &t->f->stats.gcMiscSys);
	addrRanges_add(&t->f->env, &r, t->a);
}

static void TestSubtract(void **state) {
	(void)state;
	static const struct {
		uintptr_t a[2], b[2], want[2];
	} tests[] = {
		{{10, 20}, {10, 20}, {0, 0}},
		{{10, 20}, {5, 25}, {0, 0}},
		{{10, 20}, {20, 30}, {10, 20}},
		{{10, 20}, {0, 10}, {10, 20}},
		{{10, 20}, {5, 15}, {15, 20}},
		{{10, 20}, {15, 30}, {10, 15}},
		{{10, 20}, {10, 15}, {15, 20}},
		{{10, 20}, {15, 20}, {10, 15}},
	};
	memFix f;
	memFix_initSim(&f, (memSimConfig){0});
	for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++) {
		addrRange r = addrRange_subtract(&f.env, makeAddrRange(&f.env, tests[i].a[0], tests[i].a[1]),
			makeAddrRange(&f.env, tests[i].b[0], tests[i].b[1]));
		assert_int_equal(r.base.a, tests[i].want[0]);
		assert_int_equal(r.limit.a, tests[i].want[1]);
	}
	twoRanges t = {&f, makeAddrRange(&f.env, 10, 20), makeAddrRange(&f.env, 12, 18)};
	assert_true(memFix_throws(&f, subtractBoth, &t));
	assert_string_equal(f.msg, "bad prune");
	memFix_done(&f);
}

static void TestTakeAndRemove(void **state) {
	(void)state;
	memFix f;
	memFix_initSim(&f, (memSimConfig){0});
	addrRange r = makeAddrRange(&f.env, 1001, 1100);
	uintptr_t got;
	assert_true(addrRange_takeFromFront(layoutOf(), &r, 10, 8, &got));
	assert_int_equal(got, 1008);
	assert_int_equal(r.base.a, 1018);
	assert_true(addrRange_takeFromBack(layoutOf(), &r, 10, 16, &got));
	assert_int_equal(got, 1088);
	assert_int_equal(r.limit.a, 1088);
	assert_false(addrRange_takeFromFront(layoutOf(), &r, 71, 1, &got));
	assert_false(addrRange_takeFromBack(layoutOf(), &r, 71, 1, &got));
	assert_true(addrRange_takeFromBack(layoutOf(), &r, 70, 1, &got));
	assert_int_equal(addrRange_size(layoutOf(), r), 0);

	r = makeAddrRange(&f.env, 100, 200);
	assert_int_equal(addrRange_size(layoutOf(), addrRange_removeGreaterEqual(&f.env, r, 100)), 0);
	assert_int_equal(addrRange_removeGreaterEqual(&f.env, r, 150).limit.a, 150);
	assert_int_equal(addrRange_removeGreaterEqual(&f.env, r, 200).limit.a, 200);
	memFix_done(&f);
}

static void TestThrows(void **state) {
	(void)state;
	onlyWide("addresses have no upper half that comes first");
	memFix f;
	memFix_initSim(&f, (memSimConfig){0});
	twoRanges t = {&f, {{0x1000}, {(uintptr_t)0xffff900000000000}}, {{0}, {0}}};
	assert_true(memFix_throws(&f, makeBoth, &t));
	assert_string_equal(f.msg, "addr range base and limit are not in the same memory segment");
	t.a = makeAddrRange(&f.env, 0x1000, 0x1000);
	assert_true(memFix_throws(&f, addFirst, &t));
	assert_string_equal(f.msg, "attempted to add zero-sized address range");
	memFix_done(&f);
}

// The upper half of the real address space comes first.
static void TestOffsetOrder(void **state) {
	(void)state;
	onlyWide("addresses have no upper half that comes first");
	const gomem_layout *L = layoutOf();
	assert_int_equal(minOffAddr(L).a, (uintptr_t)0xffff800000000000);
	assert_int_equal(maxOffAddr(L).a, (uintptr_t)0x00007fffffffffff);
	assert_true(offAddr_lessThan(L, (offAddr){UINTPTR_MAX}, (offAddr){0}));
	assert_false(offAddr_lessThan(L, (offAddr){0}, (offAddr){UINTPTR_MAX}));
	assert_true(offAddr_lessEqual(L, minOffAddr(L), maxOffAddr(L)));
}

static void TestAtomicOffAddr(void **state) {
	(void)state;
	const gomem_layout *L = layoutOf();
	const uintptr_t low = wideWords ? (uintptr_t)0xc000000000 : 0x60000000, high = low + 0x10000000;
	atomicOffAddr b = {0};
	bool marked;
	assert_int_equal(atomicOffAddr_Load(L, &b, &marked), minOffAddr(L).a);
	atomicOffAddr_StoreMarked(L, &b, high);
	assert_int_equal(atomicOffAddr_Load(L, &b, &marked), high);
	assert_true(marked);
	atomicOffAddr_StoreMin(L, &b, low); // a marked value stays
	atomicOffAddr_Clear(L, &b);
	assert_int_equal(atomicOffAddr_Load(L, &b, &marked), high);
	atomicOffAddr_StoreUnmark(L, &b, low, low); // not what is marked
	assert_int_equal(atomicOffAddr_Load(L, &b, &marked), high);
	atomicOffAddr_StoreUnmark(L, &b, high, high);
	assert_int_equal(atomicOffAddr_Load(L, &b, &marked), high);
	assert_false(marked);
	atomicOffAddr_StoreMin(L, &b, low);
	assert_int_equal(atomicOffAddr_Load(L, &b, &marked), low);
	atomicOffAddr_StoreMin(L, &b, high);
	assert_int_equal(atomicOffAddr_Load(L, &b, &marked), low);
	atomicOffAddr_Clear(L, &b);
	assert_int_equal(atomicOffAddr_Load(L, &b, &marked), minOffAddr(L).a);
}

static void TestOutOfMemory(void **state) {
	(void)state;
	memFix f;
	memFix_initSim(&f, (memSimConfig){.failNth = 2});
	addrRanges a, none;
	assert_true(addrRanges_init(&f.env, &a, &f.stats.gcMiscSys)); // call 1: the chunk
	// Sets so large that the array is a block of its own would take long: use up the chunk instead.
	while (f.env.globalAlloc.off + 16 * sizeof(addrRange) <= 256 * 1024) {
		assert_non_null(persistentalloc(&f.env, 16 * sizeof(addrRange), 8, &f.stats.gcMiscSys));
	}
	for (uintptr_t i = 0; i < 16; i++) {
		assert_true(addrRanges_add(&f.env, &a, makeAddrRange(&f.env, 100 * i + 100, 100 * i + 110)));
	}
	assert_false(addrRanges_add(&f.env, &a, makeAddrRange(&f.env, 10, 20))); // call 2
	addrRanges_check(&f.env, &a);
	assert_int_equal(a.len, 16);
	assert_false(addrRanges_contains(&f.env, &a, 10));
	assert_true(addrRanges_add(&f.env, &a, makeAddrRange(&f.env, 10, 20)));
	assert_int_equal(a.len, 17);
	memFix_done(&f);

	memFix_initSim(&f, (memSimConfig){.failNth = 1});
	assert_false(addrRanges_init(&f.env, &none, &f.stats.gcMiscSys));
	uintptr_t out;
	assert_false(addrRanges_findAddrGreaterEqual(&f.env, &none, 0, &out));
	memFix_done(&f);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(TestAddrRangesAdd),
		cmocka_unit_test(TestAddrRangesFindSucc),
		cmocka_unit_test(TestAgainstSet),
		cmocka_unit_test(TestSubtract),
		cmocka_unit_test(TestTakeAndRemove),
		cmocka_unit_test(TestThrows),
		cmocka_unit_test(TestOffsetOrder),
		cmocka_unit_test(TestAtomicOffAddr),
		cmocka_unit_test(TestOutOfMemory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
