// memtest.h: what the tests of layers 0 to 2 share: an environment over a given OS, and throws that a test expects.
#ifndef GOMEM_TESTS_MEMTEST_H
#define GOMEM_TESTS_MEMTEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>

#include "gomem/mem.h"
#include "gomem/persistentalloc.h"
#include "words.h"

typedef struct memFix {
	gomem_env env;
	gomem_stats stats;
	bool expected; // a throw comes back to memFix_throws
	jmp_buf back;
	char msg[256]; // the last throw
} memFix;

static inline void memFix_thrown(void *ctx, const char *msg) {
	memFix *f = ctx;
	snprintf(f->msg, sizeof f->msg, "%s", msg);
	if (!f->expected) {
		fprintf(stderr, "unexpected throw: %s\n", msg);
		abort();
	}
	longjmp(f->back, 1);
}

// memFix_init makes an environment with a map of states. The environment owns os.
static inline void memFix_init(memFix *f, gomem_os *os) {
	memset(f, 0, sizeof *f);
	assert_non_null(os);
	f->env.layout = &layout_host;
	f->env.os = os;
	f->env.stats = &f->stats;
	f->env.states = memStates_new();
	f->env.throwHook = memFix_thrown;
	f->env.throwCtx = f;
	f->env.physPageSize = os->physPageSize;
	f->env.physHugePageSize = os->physHugePageSize;
	f->env.backed = os->backed;
	assert_non_null(f->env.states);
}

static inline void memFix_initSim(memFix *f, memSimConfig cfg) { memFix_init(f, mem_sim_new(&cfg)); }

static inline void memFix_done(memFix *f) {
	persistentalloc_destroy(&f->env);
	memStates_free(f->env.states);
	f->env.os->destroy(f->env.os);
}

// memFix_throws runs fn(arg) and says whether it threw; the message is in f->msg.
static inline bool memFix_throws(memFix *f, void (*fn)(void *), void *arg) {
	f->msg[0] = 0;
	f->expected = true;
	if (setjmp(f->back) == 0) {
		fn(arg);
		f->expected = false;
		return false;
	}
	f->expected = false;
	return true;
}

static inline int64_t memFix_mappedReady(memFix *f) { return atomic_load(&f->stats.mappedReady); }

// memFix_totalSys sums all statistics of memory obtained from the OS for metadata.
static inline int64_t memFix_totalSys(const memFix *f) {
	const gomem_stats *s = &f->stats;
	return (int64_t)(sysMemStat_load(&s->stacks_sys) + sysMemStat_load(&s->mspan_sys) +
		sysMemStat_load(&s->mcache_sys) + sysMemStat_load(&s->buckhash_sys) + sysMemStat_load(&s->gcMiscSys) +
		sysMemStat_load(&s->other_sys));
}

// memFix_runThreads runs fn(args[i]) on n threads that start together, and says whether none returned NULL.
typedef struct memFix_thread {
	pthread_t id;
	pthread_barrier_t *start;
	void *(*fn)(void *);
	void *arg;
} memFix_thread;
static inline void *memFix_threadMain(void *arg) {
	memFix_thread *t = arg;
	pthread_barrier_wait(t->start);
	return t->fn(t->arg);
}
static inline bool memFix_runThreads(void *(*fn)(void *), void *const *args, unsigned n) {
	pthread_barrier_t start;
	memFix_thread *t = calloc(n, sizeof *t);
	bool ok = true;
	assert_non_null(t);
	assert_int_equal(pthread_barrier_init(&start, NULL, n), 0);
	for (unsigned i = 0; i < n; i++) {
		t[i].start = &start;
		t[i].fn = fn;
		t[i].arg = args[i];
		assert_int_equal(pthread_create(&t[i].id, NULL, memFix_threadMain, &t[i]), 0);
	}
	for (unsigned i = 0; i < n; i++) {
		void *r = NULL;
		pthread_join(t[i].id, &r);
		ok = ok && r != NULL;
	}
	pthread_barrier_destroy(&start);
	free(t);
	return ok;
}

// Random numbers, the same in each run.
static inline uint64_t memFix_rand(uint64_t *state) {
	uint64_t z = (*state += 0x9e3779b97f4a7c15u);
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

#endif
