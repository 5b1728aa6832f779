// test_mspanset.c: the FIFO of spans: order, blocks and spines, reset, out of memory, many threads.
#include "memtest.h"

#include <sched.h>

#include "gomem/lfstack.h"
#include "gomem/mspanset.h"

// The set never looks into a span: any address but NULL will do.
static struct mspan *spanNo(uintptr_t i) { return (struct mspan *)(i + 1); }
static uintptr_t numberOf(const struct mspan *s) { return (uintptr_t)s - 1; }

static void push(memFix *f, spanSet *s, uintptr_t i) { assert_true(spanSet_push(&f->env, s, spanNo(i), 0)); }

static void TestFIFO(void **state) {
	(void)state;
	memFix f;
	memFix_initSim(&f, (memSimConfig){0});
	spanSet s = {0};
	uint64_t seed = 1;
	uintptr_t in = 0, out = 0;
	assert_null(spanSet_pop(&f.env, &s, 0));
	while (out < 20000) {
		for (uint64_t n = memFix_rand(&seed) % 1500; n > 0; n--) {
			push(&f, &s, in++);
		}
		for (uint64_t n = memFix_rand(&seed) % 1500; n > 0; n--) {
			struct mspan *got = spanSet_pop(&f.env, &s, 0);
			if (got == NULL) {
				assert_int_equal(in, out);
				break;
			}
			assert_int_equal(numberOf(got), out++);
		}
		assert_int_equal(spanSet_len(&s), in - out);
	}
	memFix_done(&f);
}

// spineBytes: of all spines that a set of so many blocks has had.
static uint64_t spineBytes(uintptr_t blocks) {
	uint64_t n = setInitSpineCap, all = n;
	for (; n < blocks; n *= 2) {
		all += 2 * n;
	}
	return all * sizeof(uintptr_t);
}

// Blocks come back: 100 blocks' worth pushed and popped one after the other need two.
static void TestBlocksAreRecycled(void **state) {
	(void)state;
	memFix f;
	memFix_initSim(&f, (memSimConfig){0});
	spanSet s = {0};
	for (uintptr_t i = 0; i < 100 * setBlockEntries; i++) {
		push(&f, &s, i);
		assert_int_equal(numberOf(spanSet_pop(&f.env, &s, 0)), i);
	}
	assert_int_equal(s.spineLen, 100);
	const uint64_t blockBytes = tagAlign + setBlockEntries * sizeof(uintptr_t);
	assert_int_equal(sysMemStat_load(&f.stats.gcMiscSys), spineBytes(100) + blockBytes);
	spanSet_reset(&f.env, &s);
	assert_int_equal(s.spineLen, 0);
	assert_int_equal(s.index, 0);
	assert_false(lfstack_empty(&f.env.spanSetBlockPool));
	for (int round = 0; round < 3; round++) {
		push(&f, &s, 7);
		assert_int_equal(numberOf(spanSet_pop(&f.env, &s, 0)), 7);
		spanSet_reset(&f.env, &s);
	}
	assert_int_equal(sysMemStat_load(&f.stats.gcMiscSys), spineBytes(100) + blockBytes);
	memFix_done(&f);
}

static void TestSpineGrows(void **state) {
	(void)state;
	enum { n = (setInitSpineCap * 2 + 1) * setBlockEntries };
	memFix f;
	memFix_initSim(&f, (memSimConfig){0});
	spanSet s = {0};
	for (uintptr_t i = 0; i < n; i++) {
		push(&f, &s, i);
	}
	assert_int_equal(s.spineCap, setInitSpineCap * 4);
	for (uintptr_t i = 0; i < n; i++) {
		assert_int_equal(numberOf(spanSet_pop(&f.env, &s, 0)), i);
	}
	spanSet_reset(&f.env, &s);
	assert_int_equal(s.spineCap, setInitSpineCap * 4);
	memFix_done(&f);
}

typedef struct setArg {
	memFix *f;
	spanSet *s;
} setArg;
static void resetSet(void *arg) {
	setArg *a = arg;
	spanSet_reset(&a->f->env, a->s);
}
static void pushOne(void *arg) {
	setArg *a = arg;
	spanSet_push(&a->f->env, a->s, spanNo(1), 0);
}

static void TestReset(void **state) {
	(void)state;
	memFix f;
	memFix_initSim(&f, (memSimConfig){0});
	spanSet s = {0};
	setArg arg = {&f, &s};
	spanSet_reset(&f.env, &s);
	push(&f, &s, 1);
	assert_true(memFix_throws(&f, resetSet, &arg));
	assert_string_equal(f.msg, "attempt to clear non-empty span set");
	assert_non_null(spanSet_pop(&f.env, &s, 0));
	spanSet_reset(&f.env, &s);
	for (uintptr_t i = 0; i < setBlockEntries; i++) { // a block that is exactly full is freed by its last pop
		push(&f, &s, i);
	}
	while (spanSet_pop(&f.env, &s, 0) != NULL) {
	}
	spanSet_reset(&f.env, &s);
	s.index = UINT32_MAX | (uint64_t)UINT32_MAX << 32;
	assert_true(memFix_throws(&f, pushOne, &arg));
	assert_string_equal(f.msg, "headTailIndex overflow");
	memFix_done(&f);
}

// Each allocation of a push fails once; the set is as before, and the next push succeeds.
static void TestOutOfMemory(void **state) {
	(void)state;
	onlyWide("pointers there are twice as large: the third allocation comes later");
	for (uint64_t nth = 1; nth <= 3; nth++) {
		memFix f;
		memFix_initSim(&f, (memSimConfig){.failNth = nth});
		spanSet s = {0};
		uintptr_t in = 0, failures = 0;
		while (in < 200 * spanSetBlockEntries) { // of any size of blocks, some chunks of memory
			uint64_t before = s.index;
			if (spanSet_push(&f.env, &s, spanNo(in), 0)) {
				in++;
				continue;
			}
			failures++;
			assert_int_equal(s.index, before);
			assert_int_equal(spanSet_len(&s), in);
		}
		assert_int_equal(failures, 1);
		for (uintptr_t i = 0; i < in; i++) {
			assert_int_equal(numberOf(spanSet_pop(&f.env, &s, 0)), i);
		}
		assert_null(spanSet_pop(&f.env, &s, 0));
		spanSet_reset(&f.env, &s);
		memFix_done(&f);
	}
}

// ---- threads

enum { pushers = 3, poppers = 3, perPusher = 700000 };

typedef struct shared {
	memFix *f;
	spanSet set;
	_Atomic(uint32_t) popped;
	_Atomic(uint8_t) seen[pushers * perPusher];
	_Atomic(int) disorder;
} shared;

typedef struct task {
	shared *s;
	uintptr_t id;
} task;

static void *pushAll(void *arg) {
	task *t = arg;
	for (uintptr_t i = 0; i < perPusher; i++) {
		if (!spanSet_push(&t->s->f->env, &t->s->set, spanNo(t->id * perPusher + i), 0)) {
			return NULL;
		}
	}
	return t;
}

// A popper sees the spans of each pusher in the order in which they were pushed.
static void *popAll(void *arg) {
	task *t = arg;
	uintptr_t next[pushers] = {0};
	while (atomic_load(&t->s->popped) < pushers * perPusher) {
		struct mspan *got = spanSet_pop(&t->s->f->env, &t->s->set, 0);
		if (got == NULL) {
			sched_yield();
			continue;
		}
		uintptr_t n = numberOf(got), who = n / perPusher;
		if (n % perPusher < next[who]) {
			atomic_fetch_add(&t->s->disorder, 1);
		}
		next[who] = n % perPusher + 1;
		atomic_fetch_add(&t->s->seen[n], 1);
		atomic_fetch_add(&t->s->popped, 1);
	}
	return t;
}

static void *pushOrPop(void *arg) {
	task *t = arg;
	return t->id < pushers ? pushAll(t) : popAll(t);
}

static void TestThreads(void **state) {
	(void)state;
	memFix f;
	memFix_initSim(&f, (memSimConfig){0});
	shared *s = calloc(1, sizeof *s);
	s->f = &f;
	task tasks[pushers + poppers];
	void *args[pushers + poppers];
	for (uintptr_t i = 0; i < pushers + poppers; i++) {
		tasks[i] = (task){s, i};
		args[i] = &tasks[i];
	}
	assert_true(memFix_runThreads(pushOrPop, args, pushers + poppers));
	for (uintptr_t i = 0; i < pushers * perPusher; i++) {
		assert_int_equal(s->seen[i], 1);
	}
	assert_int_equal(s->disorder, 0);
	assert_int_equal(spanSet_len(&s->set), 0);
	assert_int_equal(s->set.index >> 32, pushers * perPusher);
	assert_int_equal(s->set.spineLen, (pushers * perPusher + setBlockEntries - 1) / setBlockEntries);
	spanSet_reset(&f.env, &s->set);
	free(s);
	memFix_done(&f);
}

#if GOMEM_LAB
// ---- hooks of a lab build

typedef struct hooks {
	char log[256]; // t: turn, e: event
	uint64_t a, b;
} hooks;
static void onTurn(void *ctx, gomem_ev k) {
	hooks *h = ctx;
	size_t n = strlen(h->log);
	snprintf(h->log + n, sizeof h->log - n, "%s?", k == EV_PUSH ? "push" : "pop");
}
static void onEvent(void *ctx, gomem_ev k, uint64_t a, uint64_t b, uint64_t c, uint64_t d) {
	hooks *h = ctx;
	size_t n = strlen(h->log);
	(void)c;
	(void)d;
	snprintf(h->log + n, sizeof h->log - n, "%s!", k == EV_PUSH ? "push" : "pop");
	h->a = a;
	h->b = b;
}

static void TestLabHooks(void **state) {
	(void)state;
	memFix f;
	memFix_initSim(&f, (memSimConfig){0});
	hooks h = {0};
	gomem_lab lab = {.ctx = &h, .turn = onTurn, .event = onEvent};
	spanSet s = {0};
	f.env.lab = &lab;
	for (uintptr_t i = 0; i < 600; i++) {
		h.log[0] = 0;
		assert_true(spanSet_push(&f.env, &s, spanNo(i), 543));
		assert_string_equal(h.log, "push?push!");
		assert_int_equal(h.a, 543 | i << 10);
		assert_int_equal(h.b, i + 1);
	}
	for (uintptr_t i = 0; i <= 600; i++) {
		h.log[0] = 0;
		struct mspan *got = spanSet_pop(&f.env, &s, 543);
		assert_string_equal(h.log, "pop?pop!");
		assert_int_equal(h.a, 543 | i << 10);
		assert_int_equal(h.b, i < 600 ? i + 1 : 0);
		assert_int_equal(got == NULL, i == 600);
	}
	f.env.lab = NULL;
	memFix_done(&f);
}
#endif

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(TestFIFO),
		cmocka_unit_test(TestBlocksAreRecycled),
		cmocka_unit_test(TestSpineGrows),
		cmocka_unit_test(TestReset),
		cmocka_unit_test(TestOutOfMemory),
		cmocka_unit_test(TestThreads),
#if GOMEM_LAB
		cmocka_unit_test(TestLabHooks),
#endif
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
