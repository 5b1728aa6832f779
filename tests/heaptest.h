// heaptest.h: what the tests of layers 4 and 5 share: a checked heap over a simulated OS, expected throws, types, cycles.
#ifndef GOMEM_TESTS_HEAPTEST_H
#define GOMEM_TESTS_HEAPTEST_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gomem/mcache.h"
#include "words.h"

typedef struct heapFix {
	gomem_os *os;
	gomem_heap *h;
	gomem_p *p;
	bool expected; // a throw comes back to heapFix_throws
	jmp_buf back;
	char msg[256]; // the last throw
} heapFix;

static inline void heapFix_thrown(void *ctx, const char *msg) {
	heapFix *f = ctx;
	snprintf(f->msg, sizeof f->msg, "%s", msg);
	if (!f->expected) {
		fprintf(stderr, "unexpected throw: %s\n", msg);
		abort();
	}
	longjmp(f->back, 1);
}

// heapFix_with makes a checked heap with the given configuration over a simulated OS.
static inline void heapFix_with(heapFix *f, memSimConfig sim, gomem_config cfg) {
	memset(f, 0, sizeof *f);
	f->os = mem_sim_new(&sim);
	assert_non_null(f->os);
	cfg.os = f->os;
	cfg.checked = true;
	cfg.throw_hook = heapFix_thrown;
	cfg.throw_ctx = f;
	cfg.rand_seed = cfg.rand_seed != 0 ? cfg.rand_seed : 42;
	f->h = gomem_heap_new(&cfg);
	assert_non_null(f->h);
	f->p = gomem_heap_p(f->h, 0);
	assert_non_null(f->p);
}

static inline void heapFix_init(heapFix *f) { heapFix_with(f, (memSimConfig){.backed = true}, (gomem_config){0}); }

static inline void heapFix_done(heapFix *f) {
	gomem_heap_destroy(f->h);
	f->os->destroy(f->os);
}

// heapFix_checked tests all invariants and names the one that does not hold.
static inline void heapFix_checked(heapFix *f) {
	const char *bad = gomem_heap_check(f->h);
	if (bad != NULL) {
		fail_msg("%s", bad);
	}
}

// heapFix_throws runs fn(arg) and says whether it threw; the message is in f->msg.
static inline bool heapFix_throws(heapFix *f, void (*fn)(void *), void *arg) {
	f->expected = true;
	f->msg[0] = 0;
	if (setjmp(f->back) == 0) {
		fn(arg);
		f->expected = false;
		return false;
	}
	f->expected = false;
	return true;
}

// ownByte looks at a byte of the heap that is gomem's own, or nobody's.
GOMEM_UNCHECKED static inline uint8_t ownByte(const void *p) { return *(const uint8_t *)p; }

static inline uint64_t nextRand(uint64_t *state) {
	uint64_t z = *state += 0x9e3779b97f4a7c15u;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

// A type all of whose words are pointers, of any size that is a multiple of 8 up to 64 KiB.
static inline gomem_type pointersType(uintptr_t size) {
	static _Atomic(uint8_t) ready;
	static uint8_t ones[1024];
	if (!ready) { // first called by one thread
		memset(ones, 0xff, sizeof ones);
		ready = 1;
	}
	return (gomem_type){.size = size, .ptr_bytes = size, .ptr_mask = ones};
}

// gcCycle: mark what the caller's function marks, sweep all, as Go does it.
static inline void gcCycle(heapFix *f, int nprocs, void (*mark)(void *), void *arg) {
	gomem_finishsweep(f->h, f->p);
	gomem_setGCPhase(f->h, gcMark);
	mark(arg);
	gomem_setGCPhase(f->h, gcMarkTermination);
	gomem_setGCPhase(f->h, gcOff);
	gomem_startsweep(f->h);
	for (int i = 0; i < nprocs; i++) {
		gomem_prepareForSweep(f->h, gomem_heap_p(f->h, i));
	}
	while (gomem_sweepone(f->h, f->p) != ~(uintptr_t)0) {
	}
	gomem_freeStackSpans(f->h, f->p);
}

static inline void markNothing(void *arg) { (void)arg; }

#endif
