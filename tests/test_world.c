// Threads and what runs beside them (gomem/world.h): programs that lose an object without one half of the write barrier, the order of locks
// and Ps, metrics, memory given back.
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gomem/mgc.h"
#include "tests/heaptest.h"

enum { TRIES = 400, CHAIN = 20000 };

typedef struct pair {
	void *a, *b;
} pair;
static const uint8_t pairMask[] = {3};
static const gomem_type pairType = {sizeof(pair), sizeof(pair), pairMask};

typedef struct scene {
	gomem_world *w;
	gomem_thread *t;
	pair *global;   // a root of all threads
	void *local[2]; // roots of the thread of the test
	_Atomic(bool) collected;
} scene;

static void scene_begin(scene *s, gomem_world_config cfg) {
	static const uint8_t mask[] = {3};
	static gomem_root globals[1], locals[1];
	memset(s, 0, sizeof(*s));
	globals[0] = (gomem_root){&s->global, sizeof(s->global), mask};
	locals[0] = (gomem_root){s->local, sizeof(s->local), mask};
	cfg.globals = globals;
	cfg.nglobals = 1;
	cfg.heap.checked = true;
	cfg.gogc = cfg.gogc == 0 ? -1 : cfg.gogc;
	cfg.procs = cfg.procs == 0 ? 2 : cfg.procs;
	s->w = gomem_world_new(&cfg);
	assert_non_null(s->w);
	s->t = gomem_world_enter(s->w);
	assert_non_null(s->t);
	gomem_thread_roots(s->t, locals, 1);
}

static void scene_end(scene *s) {
	gomem_stopTheWorld(s->t);
	const char *bad = gomem_world_check(s->w);
	gomem_startTheWorld(s->t);
	gomem_world_leave(s->t);
	gomem_world_destroy(s->w);
	assert_null(bad);
}

static bool isLost(scene *s, uintptr_t x) {
	mspan *sp = spanOfHeap(gomem_world_heap(s->w), x);
	return sp == NULL || mspan_isFree(sp, mspan_objIndex(sp, x));
}

static void *collect(void *arg) {
	scene *s = arg;
	gomem_thread *t = gomem_world_enter(s->w);
	gomem_world_gc(t);
	gomem_world_leave(t);
	atomic_store(&s->collected, true);
	return NULL;
}

// begin_marking returns when marking is on, or was while this thread stood still; another thread collects.
static pthread_t begin_marking(scene *s) {
	pthread_t other;
	atomic_store(&s->collected, false);
	assert_int_equal(pthread_create(&other, NULL, collect, s), 0);
	while (!gomem_world_heap(s->w)->gcBlackenEnabled && !atomic_load(&s->collected)) {
		gomem_safepoint(s->t);
		sched_yield();
	}
	return other;
}

static void end_marking(scene *s, pthread_t other) {
	gomem_blocking_begin(s->t);
	pthread_join(other, NULL);
	gomem_blocking_end(s->t);
	while (gomem_sweepone(gomem_world_heap(s->w), gomem_thread_p(s->t)) != ~(uintptr_t)0) {
	}
}

static pair *make(scene *s) {
	pair *x = gomem_mallocgc(gomem_world_heap(s->w), gomem_thread_p(s->t), sizeof(pair), &pairType, true);
	assert_non_null(x);
	return x;
}

// make_chain gives the last of a list that begins at the global root: the collector comes to it at the end.
static pair *make_chain(scene *s) {
	pair *last = NULL;
	gomem_write_barrier(s->t, (void **)&s->global, NULL);
	for (int i = 0; i < CHAIN; i++) {
		pair *head = make(s);
		gomem_write_barrier(s->t, &head->a, s->global);
		gomem_write_barrier(s->t, (void **)&s->global, head);
		last = i == 0 ? head : last;
	}
	return last;
}

// insertion: the only pointer to an object goes from a thread's root into a new object, which is black. Go's threads may run with white roots, so its
// barrier makes grey what is stored; here roots are black before their thread runs, and the object is safe even without.
static bool insertion_loses(scene *s) {
	make_chain(s); // the collector has something to do before it looks at threads that stand still
	s->local[0] = make(s);
	gomem_write_barrier(s->t, &((pair *)s->local[0])->a, make(s)); // and what it alone points to
	const uintptr_t x = (uintptr_t)s->local[0], y = (uintptr_t)((pair *)s->local[0])->a;
	pthread_t other = begin_marking(s);
	pair *black = make(s);
	gomem_write_barrier(s->t, (void **)&s->global, black);
	gomem_write_barrier(s->t, &black->a, s->local[0]);
	s->local[0] = NULL;
	while (!atomic_load(
		&s->collected)) { // the buffer of the barrier is empty only when the world stops for the end of marking
		gomem_safepoint(s->t);
		sched_yield();
	}
	end_marking(s, other);
	return isLost(s, x) || isLost(s, y);
}

// deletion: the only pointer to an object goes from an object that is not scanned yet into a thread's root, which is black.
static bool deletion_loses(scene *s) {
	pair *last = make_chain(s);
	gomem_write_barrier(s->t, &last->b, make(s));
	const uintptr_t x = (uintptr_t)last->b;
	pthread_t other = begin_marking(s);
	gomem_safepoint(s->t);
	s->local[0] = gomem_read(&last->b);
	gomem_write_barrier(s->t, &last->b, NULL);
	end_marking(s, other);
	const bool lost = isLost(s, x);
	s->local[0] = NULL;
	gomem_write_barrier(s->t, (void **)&s->global, NULL);
	return lost;
}

static int times_lost(bool (*loses)(scene *), bool noBarrier, int tries, bool once) {
	scene s;
	scene_begin(&s, (gomem_world_config){.no_barrier = noBarrier});
	int lost = 0;
	for (int i = 0; i < tries && !(once && lost > 0); i++) {
		lost += loses(&s);
	}
	if (noBarrier && lost > 0) { // invariants of such a heap do not hold
		gomem_world_leave(s.t);
		gomem_world_destroy(s.w);
		return lost;
	}
	scene_end(&s);
	return lost;
}

static void test_insertion(void **state) {
	(void)state;
	assert_int_equal(times_lost(insertion_loses, false, TRIES / 10, false), 0);
}

static void test_deletion(void **state) {
	(void)state;
	const int with = times_lost(deletion_loses, false, TRIES / 10, false);
	assert_int_equal(with, 0);
	assert_int_equal(times_lost(deletion_loses, true, TRIES, true), 1);
	print_message("an object is lost without the barrier, %d of %d with it\n", with, TRIES / 10);
}

enum { PUSHERS = 3, PUSHES = 1500000, LIST = 2000, LEN_OF_CYCLE = 500 };

typedef struct cell {
	struct cell *next;
	uint64_t number;
} cell;
static const uint8_t cellMask[] = {1};
static const gomem_type cellType = {sizeof(cell), sizeof(void *), cellMask};

typedef struct pusher {
	scene *s;
	cell *head; // its only root
	bool collects;
	uint64_t lost;
} pusher;

// pushAll makes lists; the link of a new object is written as it is (promise 3 of world.h). What the root named before is behind it then, and
// the object is black: who runs with white roots while marking is on loses the rest of the list.
static void *pushAll(void *arg) {
	pusher *k = arg;
	static const uint8_t mask[] = {1};
	const gomem_root roots[] = {{&k->head, sizeof(k->head), mask}};
	gomem_thread *t = gomem_world_enter(k->s->w);
	gomem_thread_roots(t, roots, 1);
	for (uint64_t n = 1; n <= PUSHES && k->lost == 0; n++) {
		cell *x = gomem_world_malloc(t, sizeof(*x), &cellType, true);
		x->next = k->head;
		x->number = n;
		k->head = x;
		if (k->collects && n % LEN_OF_CYCLE == 0) {
			gomem_world_gc(t);
		}
		if (n % LIST == 0) {
			uint64_t want = n;
			for (const cell *y = k->head; y != NULL && k->lost == 0; y = y->next) {
				k->lost = y->number == want-- ? 0 : n;
			}
			k->head = NULL;
		}
	}
	gomem_world_leave(t);
	return NULL;
}

static void test_freshObjects(void **state) {
	(void)state;
	scene s;
	static pusher pushers[PUSHERS];
	pthread_t ids[PUSHERS];
	scene_begin(&s, (gomem_world_config){.gogc = 100});
	gomem_blocking_begin(s.t);
	for (int i = 0; i < PUSHERS; i++) {
		pushers[i] = (pusher){.s = &s, .collects = i == 0};
		assert_int_equal(pthread_create(&ids[i], NULL, pushAll, &pushers[i]), 0);
	}
	for (int i = 0; i < PUSHERS; i++) {
		pthread_join(ids[i], NULL);
		assert_int_equal(pushers[i].lost, 0);
	}
	gomem_blocking_end(s.t);
	scene_end(&s);
}

// What is allocated beyond the goal starts a collection, without anybody asking for it; the live heap is what the roots hold.
static void test_pacer(void **state) {
	(void)state;
	scene s;
	scene_begin(&s, (gomem_world_config){.gogc = 100});
	gomem_metric m[] = {{.name = "/gc/cycles/automatic:gc-cycles"}, {.name = "/gc/heap/live:bytes"},
		{.name = "/gc/heap/goal:bytes"}, {.name = "/no/such:name"}};
	do {
		for (int i = 0; i < 100000; i++) {
			s.local[0] = gomem_world_malloc(s.t, 64, NULL, false);
			assert_non_null(s.local[0]);
		}
		gomem_world_metrics(s.t, m, 4);
	} while (m[0].value < 5);
	assert_true(m[0].known && m[1].known && m[2].known && !m[3].known);
	assert_true(m[1].value < 4 << 20);
	assert_true(m[2].value >= 4 << 20);
	scene_end(&s);
}

static void test_freeOSMemory(void **state) {
	(void)state;
	scene s;
	scene_begin(&s, (gomem_world_config){.no_background = true});
	s.local[0] = gomem_world_malloc(s.t, 64 << 20, NULL, true);
	assert_non_null(s.local[0]);
	s.local[0] = NULL;
	gomem_freeOSMemory(s.t);
	gomem_metric m[] = {{.name = "/memory/classes/heap/released:bytes"}, {.name = "/memory/classes/heap/free:bytes"},
		{.name = "/gc/cycles/forced:gc-cycles"}};
	gomem_world_metrics(s.t, m, 3);
	assert_true(m[0].value >= 64 << 20);
	assert_int_equal(m[1].value, 0);
	assert_int_equal(m[2].value, 1);
	scene_end(&s);
}

static void test_procs(void **state) {
	(void)state;
	scene s;
	scene_begin(&s, (gomem_world_config){.procs = 1});
	gomem_metric m = {.name = "/sched/gomaxprocs:threads"};
	for (int n = 1; n < 9; n += 3) {
		assert_true(gomem_world_procs(s.t, n));
		gomem_world_metrics(s.t, &m, 1);
		assert_int_equal(m.value, n);
		s.local[0] = make(&s);
	}
	assert_true(gomem_world_procs(s.t, 1));
	gomem_world_gc(s.t);
	assert_false(isLost(&s, (uintptr_t)s.local[0]));
	scene_end(&s);
}

typedef struct busy {
	scene *s;
	_Atomic(bool) *stop;
	void *local[2];
} busy;

// keepBusy: a thread that makes garbage, and part of a tree that lives.
static void *keepBusy(void *arg) {
	busy *b = arg;
	static const uint8_t mask[] = {3};
	const gomem_root roots[] = {{b->local, sizeof(b->local), mask}};
	gomem_thread *t = gomem_world_enter(b->s->w);
	gomem_thread_roots(t, roots, 1);
	for (uint64_t i = 0; !atomic_load(b->stop); i++) {
		pair *x = gomem_world_malloc(t, sizeof(pair), &pairType, true);
		b->local[1] = x;
		gomem_write_barrier(t, &x->a, i % 50000 == 0 ? NULL : b->local[0]);
		b->local[0] = i % 2 == 0 ? x : b->local[0];
	}
	gomem_world_leave(t);
	return NULL;
}

enum { BUSY = 8 };

// With 8 Ps that are all wanted two dedicated workers mark at once, and threads in debt do; all Ps mark where the world is stopped.
static void marks_on(bool stopped, int markers) {
	scene s;
	static busy threads[BUSY];
	_Atomic(bool) stop = false;
	pthread_t ids[BUSY];
	scene_begin(&s, (gomem_world_config){.procs = 8, .gogc = 100, .gcstoptheworld = stopped});
	make_chain(&s);
	for (int i = 0; i < BUSY; i++) {
		threads[i] = (busy){.s = &s, .stop = &stop};
		assert_int_equal(pthread_create(&ids[i], NULL, keepBusy, &threads[i]), 0);
	}
	gomem_world *w = s.w;
	for (bool enough = false; !enough;) {
		gomem_stopTheWorld(s.t);
		const bool waited = stopped || atomic_load(&w->gc.assistTime) > 0;
		enough = w->cycles >= 5 && waited && w->mostMarkers >= markers && atomic_load(&w->gc.dedicatedMarkTime) > 0;
		assert_null(gomem_world_check(w));
		gomem_startTheWorld(s.t);
		gomem_blocking_begin(s.t);
		usleep(1000);
		gomem_blocking_end(s.t);
	}
	atomic_store(&stop, true);
	gomem_blocking_begin(s.t);
	for (int i = 0; i < BUSY; i++) {
		pthread_join(ids[i], NULL);
	}
	gomem_blocking_end(s.t);
	scene_end(&s);
}
static void test_markers(void **state) {
	(void)state;
	marks_on(false, 2);
	marks_on(true, 2);
}

// One P: nobody but a thread at its safepoints can mark, a quarter of the time; and idle workers while it waits.
static void test_fraction(void **state) {
	(void)state;
	scene s;
	scene_begin(&s, (gomem_world_config){.procs = 1, .gogc = 100});
	make_chain(&s);
	do {
		s.local[0] = gomem_world_malloc(s.t, sizeof(pair), &pairType, true);
		assert_non_null(s.local[0]);
		gomem_write_barrier(s.t, &((pair *)s.local[0])->a, s.local[1]);
		s.local[1] = s.w->cycles % 2 == 0 ? s.local[0] : NULL;
	} while (s.w->gc.fractionalMarkTime == 0 || s.w->cycles < 6);
	assert_int_equal(s.w->gc.dedicatedMarkTime, 0);
	const uint64_t before = s.w->cycles;
	gomem_world_gc(s.t);
	assert_true(s.w->gc.idleMarkTime > 0);
	assert_true(s.w->cycles > before);
	scene_end(&s);
}

// When collections have taken more than half of the processors, the limiter says so: nobody assists then, whatever the debt.
static void test_limiter(void **state) {
	(void)state;
	scene s;
	scene_begin(&s, (gomem_world_config){.procs = 2, .memory_limit = 1 << 20});
	gomem_metric m[] = {{.name = "/gc/limiter/last-enabled:gc-cycle"}, {.name = "/gc/cycles/total:gc-cycles"}};
	gomem_world_metrics(s.t, m, 1);
	assert_true(m[0].known && m[0].value == 0);
	gomem_world_gc(s.t);
	gcCPULimiter_addAssistTime(&s.w->limiter, 3600 * second);
	gcCPULimiter_update(&s.w->limiter, world_now());
	assert_true(gcCPULimiter_limiting(&s.w->limiter));
	gomem_p *p = gomem_thread_p(s.t);
	p->gcAssistBytes = -1000000;
	gcAssistHook(s.w, s.w->h, p, 0);
	assert_int_equal(p->gcAssistBytes, -1000000);
	gomem_world_metrics(s.t, m, 2);
	assert_int_equal(m[0].value, m[1].value + 1);
	p = gomem_thread_p(s.t);
	p->gcAssistBytes = 0;
	scene_end(&s);
}

static void test_limits(void **state) {
	(void)state;
	scene s;
	scene_begin(&s, (gomem_world_config){.gogc = 50, .memory_limit = 1 << 30});
	assert_int_equal(gomem_setGCPercent(s.t, 200), 50);
	assert_int_equal(gomem_setMemoryLimit(s.t, 2 << 20), 1 << 30);
	gomem_metric m[] = {{.name = "/gc/gogc:percent"}, {.name = "/gc/gomemlimit:bytes"}};
	gomem_world_metrics(s.t, m, 2);
	assert_int_equal(m[0].value, 200);
	assert_int_equal(m[1].value, 2 << 20);
	scene_end(&s);
}

// In checked builds a lock that is taken under one that Go takes after it is an error, whether or not another thread waits.
static void test_lock_order(void **state) {
	(void)state;
#ifndef GOMEM_CHECKED
	skip();
#endif
	heapFix f;
	heapFix_init(&f);
	gomem_env *env = &f.h->env;
	lock(env, &f.h->stackpool[0].mu);
	lock(env, &f.h->lock);
	unlock(env, &f.h->stackpool[0].mu);
	f.expected = true;
	if (setjmp(f.back) == 0) {
		lock(env, &f.h->gcBitsArenas.lock);
		fail();
	}
	assert_string_equal(f.msg, "lock ordering problem: gcBitsArenas taken while mheap is held");
	f.expected = false;
	unlock(env, &f.h->lock);
	heapFix_done(&f);
}

// ---- an OS that fails

typedef struct refusal {
	int err;
	bool lasting;
	unsigned step; // from one call that is refused to the next
} refusal;
// Under a sanitizer a world takes up to a third of a second, so a part of them is made (CMakeLists.txt): REFUSE_EVERY.
static const refusal refusals[] = {{ENOMEM, false, 1}, {ENOMEM, true, 1}, {EAGAIN, false, 7}, {EPERM, false, 7}};

// use goes through what a thread may ask of a world. What it does not get is NULL or false, and what it gets is zero where that was asked for.
static void use(gomem_world *w, void **shared) {
	gomem_thread *t = gomem_world_enter(w);
	assert_non_null(t);
	for (int round = 0; round < 2; round++) {
		for (unsigned i = 0; i < 1000; i++) {
			pair *x = gomem_world_malloc(t, sizeof(*x), &pairType, true);
			gomem_write_barrier(t, shared, x);
			const unsigned n = 1 + i * 7 % 2000;
			uint8_t *bytes = gomem_world_malloc(t, n, NULL, true);
			assert_true(bytes == NULL || (bytes[0] == 0 && bytes[n - 1] == 0));
			if (bytes != NULL) {
				memset(bytes, 0xff, n);
			}
		}
		(void)gomem_world_malloc(t, 5 << 20, NULL, true);
		gomem_world_gc(t);
		(void)gomem_world_procs(t, 2 + round * 3);
		(void)gomem_setMemoryLimit(t, 4 << 20);
		(void)gomem_setGCPercent(t, 50);
		gomem_freeOSMemory(t);
		gomem_blocking_begin(t);
		gomem_blocking_end(t);
	}
	gomem_stopTheWorld(t);
	const char *bad = gomem_world_check(w);
	gomem_startTheWorld(t);
	assert_null(bad);
	gomem_world_leave(t);
}

enum { NO_FAULT = 40, USED, NOT_MADE, THROWN, OUTCOMES };

// Where Go throws for want of memory (mark bits while sweeping), so does the port.
static _Noreturn void thrown(void *ctx, const char *msg) {
	(void)ctx;
	if (strncmp(msg, "out of memory", 13) == 0) {
		_exit(THROWN);
	}
	fprintf(stderr, "thrown: %s\n", msg);
	_exit(1);
}

static int fault_world(const memFaultConfig *fault) {
	static void *shared;
	static const uint8_t mask[] = {1};
	const gomem_root globals[] = {{&shared, sizeof(shared), mask}};
	gomem_os *os = mem_fault_new(mem_linux_new(), fault);
	assert_non_null(os);
	gomem_world *w = gomem_world_new(&(gomem_world_config){.procs = 3,
		.globals = globals,
		.nglobals = 1,
		.heap = {.checked = true, .os = os, .rand_seed = 7, .throw_hook = thrown}});
	if (w != NULL) {
		use(w, &shared);
		gomem_world_destroy(w);
	}
	const bool hit = mem_fault_hits(os) != 0;
	os->destroy(os);
	return !hit ? NO_FAULT : w != NULL ? USED : NOT_MADE;
}

// in_child: a throw ends the process. Whatever leaked, LeakSanitizer says at its exit.
static int in_child(const memFaultConfig *fault) {
	(void)fflush(NULL);
	const pid_t pid = fork();
	if (pid == 0) {
		exit(fault_world(fault));
	}
	int status = 0;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void test_faults(void **state) {
	(void)state;
	unsigned count[OUTCOMES] = {0};
	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		const refusal *r = &refusals[i];
		memFaultConfig fault = {.failNth = 1, .err = r->err, .lasting = r->lasting};
		int outcome;
		while ((outcome = in_child(&fault)) != NO_FAULT) {
			assert_in_range(outcome, USED, THROWN);
			count[outcome]++;
			fault.failNth += r->step * REFUSE_EVERY;
		}
	}
	print_message("worlds with an OS that fails: %u used and in order, %u not made, %u thrown for want of memory\n",
		count[USED], count[NOT_MADE], count[THROWN]);
	assert_true(count[USED] > 0 && count[NOT_MADE] > 0);
}

// NULL stands for zeros, and what is refused says why.
static void test_configs(void **state) {
	(void)state;
	gomem_world *w = gomem_world_new(NULL);
	assert_non_null(w);
	gomem_world_destroy(w);
	const int bad[] = {(1 << 15) + 1, INT_MAX};
	for (unsigned i = 0; i < 2; i++) {
		errno = 0;
		assert_null(gomem_world_new(&(gomem_world_config){.procs = bad[i]}));
		assert_int_equal(errno, EINVAL);
	}
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_configs),
		cmocka_unit_test(test_insertion),
		cmocka_unit_test(test_deletion),
		cmocka_unit_test(test_freshObjects),
		cmocka_unit_test(test_pacer),
		cmocka_unit_test(test_freeOSMemory),
		cmocka_unit_test(test_procs),
		cmocka_unit_test(test_markers),
		cmocka_unit_test(test_fraction),
		cmocka_unit_test(test_limiter),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_faults),
		cmocka_unit_test(test_lock_order),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
