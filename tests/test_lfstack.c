// test_lfstack.c: the lock-free stack. The cases of Go's lfstack_test.go under their names, and tagged pointers.
#include "memtest.h"

#include "gomem/lfstack.h"

typedef struct MyNode {
	lfnode node;
	int data;
} MyNode;

static MyNode *allocMyNode(memFix *f, int data) {
	MyNode *n = persistentalloc(&f->env, sizeof *n, tagAlign, &f->stats.other_sys);
	assert_non_null(n);
	n->data = data;
	return n;
}

static void TestLFStack(void **state) {
	(void)state;
	memFix f;
	memFix_initSim(&f, (memSimConfig){0});
	lfstack s = 0;
	assert_null(lfstack_pop(&s));
	assert_true(lfstack_empty(&s));
	MyNode *a = allocMyNode(&f, 42), *b = allocMyNode(&f, 43);
	lfstack_push(&f.env, &s, &a->node);
	lfstack_push(&f.env, &s, &b->node);
	assert_false(lfstack_empty(&s));
	MyNode *got = (MyNode *)lfstack_pop(&s);
	assert_int_equal(got->data, 43);
	got = (MyNode *)lfstack_pop(&s);
	assert_int_equal(got->data, 42);
	assert_null(lfstack_pop(&s));
	assert_int_equal(s, 0);
	memFix_done(&f);
}

enum { nodes = 100, threads = 8, steps = 1000000 };

typedef struct worker {
	memFix *f;
	lfstack *stacks;
	uint64_t seed;
} worker;

static void *shuffle(void *arg) {
	worker *w = arg;
	for (int i = 0; i < steps; i++) {
		lfnode *n = lfstack_pop(&w->stacks[memFix_rand(&w->seed) % 2]);
		if (n != NULL) {
			lfstack_push(&w->f->env, &w->stacks[memFix_rand(&w->seed) % 2], n);
		}
	}
	return w;
}

static void TestLFStackStress(void **state) {
	(void)state;
	memFix f;
	memFix_initSim(&f, (memSimConfig){0});
	lfstack stacks[2] = {0, 0};
	bool seen[nodes] = {false};
	for (int i = 0; i < nodes; i++) {
		lfstack_push(&f.env, &stacks[i % 2], &allocMyNode(&f, i)->node);
	}
	worker w[threads];
	void *args[threads];
	for (int i = 0; i < threads; i++) {
		w[i] = (worker){&f, stacks, (uint64_t)i};
		args[i] = &w[i];
	}
	assert_true(memFix_runThreads(shuffle, args, threads));
	int count = 0;
	for (int i = 0; i < 2; i++) {
		for (MyNode *n; (n = (MyNode *)lfstack_pop(&stacks[i])) != NULL; count++) {
			assert_false(seen[n->data]);
			seen[n->data] = true;
		}
	}
	assert_int_equal(count, nodes);
	memFix_done(&f);
}

// A pop that slept while its node went away and came back must not succeed: the head differs in the count of pushes.
static void TestPushCount(void **state) {
	(void)state;
	memFix f;
	memFix_initSim(&f, (memSimConfig){0});
	lfstack s = 0;
	MyNode *a = allocMyNode(&f, 1);
	lfstack_push(&f.env, &s, &a->node);
	uint64_t before = s;
	assert_ptr_equal(lfstack_pop(&s), &a->node);
	lfstack_push(&f.env, &s, &a->node);
	assert_int_not_equal(s, before);
	assert_int_equal(taggedPointer_tag(s), 2);
	a->node.pushcnt = (uintptr_t)(((uint64_t)1 << tagBits) - 1); // the count wraps in the tag
	assert_ptr_equal(lfstack_pop(&s), &a->node);
	lfstack_push(&f.env, &s, &a->node);
	assert_int_equal(taggedPointer_tag(s), 0);
	assert_ptr_equal(lfstack_pop(&s), &a->node);
	memFix_done(&f);
}

typedef struct packing {
	memFix *f;
	uintptr_t addr, tag;
} packing;
static void pack(void *arg) {
	packing *p = arg;
	uint64_t t = taggedPointerPack(&p->f->env, (void *)p->addr, p->tag);
	assert_int_equal((uintptr_t)taggedPointer_pointer(t), p->addr);
	assert_int_equal(taggedPointer_tag(t), p->tag);
}

static void TestTaggedPointer(void **state) {
	(void)state;
	static const struct {
		uint64_t addr, tag;
		bool bad;
	} wide[] =
		{
			{0x200, 0, false}, {0xc000000000, 0xffffff, false}, {0x00007ffffffffe00, 1, false},
			{0x0000fffffffffe00, 1, false}, // arm64 in 48 bits
			{0xffff800000000000, 1, false}, // above the hole
			{0x300000, 0x1000000, true},    // tag too large
			{0x00c000000008, 1, true},      // not aligned
			{0x0002000000000000, 1, true},  // too high
		},
	  narrow[] = {{8, 0, false}, {0x200, 1, false}, {0xfffffff8, UINT32_MAX, false}, {0x80000000, 0x80000000, false}};
	memFix f;
	memFix_initSim(&f, (memSimConfig){0});
	const size_t n = wideWords ? sizeof wide / sizeof wide[0] : sizeof narrow / sizeof narrow[0];
	for (size_t i = 0; i < n; i++) {
		const uint64_t addr = wideWords ? wide[i].addr : narrow[i].addr, tag = wideWords ? wide[i].tag : narrow[i].tag;
		packing p = {&f, (uintptr_t)addr, (uintptr_t)tag};
		assert_int_equal(memFix_throws(&f, pack, &p), wideWords ? wide[i].bad : narrow[i].bad);
	}
	memFix_done(&f);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(TestLFStack),
		cmocka_unit_test(TestLFStackStress),
		cmocka_unit_test(TestPushCount),
		cmocka_unit_test(TestTaggedPointer),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
