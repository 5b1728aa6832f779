// test_labevents.c: the turns and events of layer 5, in their order, against docs/FORMAT.md. Built as the lab variant.
#include "heaptest.h"

enum { maxLog = 4096, turnFlag = 1 << 16 };

typedef struct entry {
	int kind; // an event, or turnFlag | the kind of a turn
	uint64_t a, b, c, d;
} entry;

typedef struct labFix {
	heapFix f;
	gomem_lab lab;
	size_t n;
	entry log[maxLog];
} labFix;

static void onTurn(void *ctx, gomem_ev k) {
	labFix *l = ctx;
	assert_true(l->n < maxLog);
	l->log[l->n++] = (entry){.kind = turnFlag | (int)k};
}

static void onEvent(void *ctx, gomem_ev k, uint64_t a, uint64_t b, uint64_t c, uint64_t d) {
	labFix *l = ctx;
	assert_true(l->n < maxLog);
	l->log[l->n++] = (entry){(int)k, a, b, c, d};
}

static void onBusy(void *ctx, const char *name) {
	(void)ctx;
	fail_msg("lock busy: %s", name);
}

static void labFix_init(labFix *l) {
	memset(l, 0, sizeof *l);
	l->lab = (gomem_lab){l, onTurn, onEvent, onBusy, NULL};
	heapFix_with(&l->f, (memSimConfig){.backed = true}, (gomem_config){.lab = &l->lab});
}

static void labFix_done(labFix *l) { heapFix_done(&l->f); }

// isOwn: the kinds that layer 5 emits. Those of the layers below come in between.
static bool isOwn(int kind) {
	switch (kind & ~turnFlag) {
	case EV_REFILL:
	case EV_REFILLEND:
	case EV_SPOOLALLOC:
	case EV_SPOOLFREE:
	case EV_STACKSCAN:
	case EV_SLARGEPOP:
	case EV_SLARGEPUSH:
	case EV_MCACHEALLOC:
	case EV_HINT:
		return true;
	default:
		return false;
	}
}

// expect takes the next own entry of the log from *i on.
static const entry *expect(const labFix *l, size_t *i, int kind, uint64_t a, uint64_t b) {
	while (*i < l->n && !isOwn(l->log[*i].kind)) {
		(*i)++;
	}
	assert_true(*i < l->n);
	const entry *e = &l->log[(*i)++];
	if (e->kind != kind || e->a != a || e->b != b) {
		fail_msg("kind %x a %lx b %lx, want kind %x a %lx b %lx", (unsigned)e->kind, (unsigned long)e->a,
			(unsigned long)e->b, (unsigned)kind, (unsigned long)a, (unsigned long)b);
	}
	return e;
}

static void expectEnd(const labFix *l, size_t i) {
	for (; i < l->n; i++) {
		assert_false(isOwn(l->log[i].kind));
	}
}

static unsigned count(const labFix *l, int kind) {
	unsigned n = 0;
	for (size_t i = 0; i < l->n; i++) {
		n += l->log[i].kind == kind;
	}
	return n;
}

static void test_start(void **state) {
	(void)state;
	onlyWide("there are 64 hints each for the heap and user arenas");
	static labFix l;
	labFix_init(&l);
	size_t i = 0;
	expect(&l, &i, turnFlag | EV_MCACHEALLOC, 0, 0);
	expect(&l, &i, EV_MCACHEALLOC, 0, 0);
	const arenaHint *hint = l.f.h->arenaHints;
	for (int list = 0; list < 2; list++) {
		for (int k = 0; k < 64; k++) {
			expect(&l, &i, EV_HINT, (uint64_t)list, hint->addr);
			hint = hint->next;
		}
		hint = l.f.h->userArenaHints;
	}
	expectEnd(&l, i); // P 0 takes mcache0
	l.n = i = 0;
	assert_true(gomem_procresize(l.f.h, 3));
	for (int k = 0; k < 2; k++) {
		expect(&l, &i, turnFlag | EV_MCACHEALLOC, 0, 0);
		expect(&l, &i, EV_MCACHEALLOC, 0, 0);
	}
	expectEnd(&l, i);
	labFix_done(&l);
}

static void test_refill(void **state) {
	(void)state;
	static labFix l;
	labFix_init(&l);
	const spanClass spc = 32 << 1 | 1; // 1024 bytes, 8 slots
	l.n = 0;
	unsigned path;
	for (int k = 0; k < 9; k++) {
		mallocgc(l.f.h, l.f.p, 1024, NULL, true, &path);
	}
	mspan *second = l.f.p->mcache->alloc[spc];
	size_t i = 0;
	expect(&l, &i, EV_REFILL, spc, 0);
	while (l.log[i].kind != EV_REFILLEND) {
		i++;
	}
	const entry *end = &l.log[i];
	const uint64_t first = end->b;
	assert_int_equal(end->a, spc); // freeindex 0
	assert_int_equal(end->c, ~(uint64_t)0);
	assert_int_equal(end->d, 8 << 16);
	i++;
	// Full, then pushed to the full swept set, then replaced.
	expect(&l, &i, EV_REFILL, spc, first);
	expect(&l, &i, EV_REFILLEND, spc, (uintptr_t)second);
	expectEnd(&l, i);
	assert_int_equal(count(&l, EV_PUSH), 1);
	assert_int_equal(count(&l, EV_MALLOC) + count(&l, EV_MALLOCBEGIN) + count(&l, EV_MALLOCEND), 0);
	labFix_done(&l);
}

static void test_stackpool(void **state) {
	(void)state;
	static labFix l;
	labFix_init(&l);
	l.n = 0;
	size_t i = 0;
	uintptr_t x[9];
	x[0] = stackalloc(l.f.h, l.f.p, 2048, false); // eight from the pool, in one section
	assert_int_equal(l.log[0].kind, turnFlag | EV_NONE);
	for (uint64_t k = 8; k-- > 0;) {
		expect(&l, &i, EV_SPOOLALLOC, 0, x[0] + k * 2048);
	}
	for (int k = 1; k < 8; k++) {
		x[k] = stackalloc(l.f.h, l.f.p, 2048, false);
	}
	expectEnd(&l, i); // from the cache
	for (int k = 0; k < 8; k++) {
		stackfree(l.f.h, l.f.p, x[k], 2048, false);
	}
	expectEnd(&l, i);
	i = l.n;
	gomem_setGCPhase(l.f.h, gcMark);
	stackcache_clear(l.f.h, l.f.p, l.f.p->mcache);
	assert_int_equal(l.log[i].kind, turnFlag | EV_NONE);
	for (int k = 7; k >= 0; k--) {
		expect(&l, &i, EV_SPOOLFREE, 0 | gcMark << 8, x[k]);
	}
	expectEnd(&l, i);
	i = l.n;
	stackcache_clear(l.f.h, l.f.p, l.f.p->mcache);
	assert_int_equal(l.n, i); // nothing to do, no turn
	gomem_setGCPhase(l.f.h, gcOff);
	freeStackSpans(l.f.h, l.f.p);
	for (uint64_t order = 0; order <= 4; order++) {
		expect(&l, &i, turnFlag | EV_STACKSCAN, 0, 0);
		expect(&l, &i, EV_STACKSCAN, order, 0);
	}
	expectEnd(&l, i);
	assert_int_equal(count(&l, EV_SPANFREE), 1);
	i = l.n;
	const uintptr_t y = stackalloc(l.f.h, l.f.p, 16384, true);
	expect(&l, &i, EV_SPOOLALLOC, 3, y);
	stackfree(l.f.h, l.f.p, y, 16384, true);
	expect(&l, &i, EV_SPOOLFREE, 3, y);
	expectEnd(&l, i);
	labFix_done(&l);
}

static void test_stackLarge(void **state) {
	(void)state;
	static labFix l;
	labFix_init(&l);
	l.n = 0;
	size_t i = 0;
	const uintptr_t x = stackalloc(l.f.h, l.f.p, 65536, false);
	expect(&l, &i, turnFlag | EV_SLARGEPOP, 0, 0);
	expect(&l, &i, EV_SLARGEPOP, 4, 0);
	stackfree(l.f.h, l.f.p, x, 65536, false);
	expectEnd(&l, i);
	const uintptr_t y = stackalloc(l.f.h, l.f.p, 65536, false);
	expect(&l, &i, turnFlag | EV_SLARGEPOP, 0, 0);
	expect(&l, &i, EV_SLARGEPOP, 4, 0);
	gomem_setGCPhase(l.f.h, gcMark);
	stackfree(l.f.h, l.f.p, y, 65536, false);
	expect(&l, &i, turnFlag | EV_SLARGEPUSH, 0, 0);
	expect(&l, &i, EV_SLARGEPUSH, 4, y);
	assert_int_equal(stackalloc(l.f.h, l.f.p, 65536, true), y);
	expect(&l, &i, turnFlag | EV_SLARGEPOP, 0, 0);
	expect(&l, &i, EV_SLARGEPOP, 4, y);
	expectEnd(&l, i);
	labFix_done(&l);
}

// A P that ends gives its page cache back under a turn of its own, but only if there is something in it.
static void test_pdestroy(void **state) {
	(void)state;
	static labFix l;
	labFix_init(&l);
	assert_true(gomem_procresize(l.f.h, 3));
	unsigned path;
	mallocgc(l.f.h, gomem_heap_p(l.f.h, 2), 100, NULL, true, &path); // the heap grows, the page cache found nothing
	mallocgc(l.f.h, gomem_heap_p(l.f.h, 2), 200, NULL, true, &path);
	l.n = 0;
	assert_true(gomem_procresize(l.f.h, 1));
	unsigned flushes = 0;
	for (size_t i = 0; i < l.n; i++) {
		if (l.log[i].kind == EV_PCFLUSH) {
			assert_int_equal(l.log[i].a, 2);
			assert_int_equal(l.log[i - 1].kind, turnFlag | EV_PCFLUSH);
			flushes++;
		}
	}
	assert_int_equal(flushes, 1);
	assert_int_equal(count(&l, turnFlag | EV_PCFLUSH), 1);
	labFix_done(&l);
}

// A lock that is taken asks the lab, which lets its owner go on.
typedef struct asked {
	mutex *m;
	const char *name;
	int times;
} asked;

static void releaseIt(void *ctx, const char *name) {
	asked *a = ctx;
	a->name = name;
	a->times++;
	a->m->key = 0;
}

static void test_busy(void **state) {
	(void)state;
	asked a = {0};
	const gomem_lab lab = {.ctx = &a, .busy = releaseIt};
	gomem_env env = {.lab = &lab};
	mutex other = {0};
	a.m = &env.globalAllocLock;
	lock(&env, a.m);
	lock(&env, a.m);
	assert_string_equal(a.name, "globalAlloc");
	a.m = &other;
	lock(&env, a.m);
	lock(&env, a.m);
	assert_string_equal(a.name, "mutex");
	assert_int_equal(a.times, 2);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_busy),
		cmocka_unit_test(test_start),
		cmocka_unit_test(test_refill),
		cmocka_unit_test(test_stackpool),
		cmocka_unit_test(test_stackLarge),
		cmocka_unit_test(test_pdestroy),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
