// test_predict_bite.c: a port that chooses other spans is found out, though the order of some pushes is read from the trace.
//
// Witness: traces that Go wrote. The linker puts wrappers around functions of the port (see CMakeLists.txt): within mcentral_cacheSpan a pop of a
// set of swept spans gives another span than the first one; within the flush of a cache a push puts the span before the others.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "gomem/mheap.h"
#include "traces/predict.h"

typedef enum mutation { NONE, SECOND, LAST, FRONT } mutation;

static struct {
	mutation how;
	mcentral *in;      // mcentral_cacheSpan looks in its sets
	mcentral *to;      // mcentral_uncacheSpan puts a span into one of its sets
	uint32_t sweepgen; // of that heap
	uint64_t altered;  // so many times a span was taken from another place, or put there
} wrapped;

mspan *__real_mcentral_cacheSpan(mheap *h, gomem_p *p, mcentral *c);
mspan *__wrap_mcentral_cacheSpan(mheap *h, gomem_p *p, mcentral *c);
struct mspan *__real_spanSet_pop(gomem_env *env, spanSet *b, uint32_t setID);
struct mspan *__wrap_spanSet_pop(gomem_env *env, spanSet *b, uint32_t setID);
bool __real_mcentral_uncacheSpan(mheap *h, gomem_p *p, mcentral *c, mspan *s);
bool __wrap_mcentral_uncacheSpan(mheap *h, gomem_p *p, mcentral *c, mspan *s);
bool __real_spanSet_push(gomem_env *env, spanSet *b, struct mspan *s, uint32_t setID);
bool __wrap_spanSet_push(gomem_env *env, spanSet *b, struct mspan *s, uint32_t setID);

mspan *__wrap_mcentral_cacheSpan(mheap *h, gomem_p *p, mcentral *c) {
	wrapped.in = c;
	wrapped.sweepgen = h->sweepgen;
	mspan *s = __real_mcentral_cacheSpan(h, p, c);
	wrapped.in = NULL;
	return s;
}

struct mspan *__wrap_spanSet_pop(gomem_env *env, spanSet *b, uint32_t setID) {
	const uint32_t n = spanSet_len(b);
	if ((wrapped.how != SECOND && wrapped.how != LAST) || n < 2 || wrapped.in == NULL ||
		b != mcentral_partialSwept(wrapped.in, wrapped.sweepgen)) {
		return __real_spanSet_pop(env, b, setID);
	}
	// All go round once, but for one.
	const uint32_t at = wrapped.how == SECOND ? 1 : n - 1;
	struct mspan *taken = NULL;
	for (uint32_t i = 0; i < n; i++) {
		struct mspan *s = __real_spanSet_pop(env, b, setID);
		if (i == at) {
			taken = s;
		} else {
			assert_true(__real_spanSet_push(env, b, s, setID));
		}
	}
	wrapped.altered++;
	return taken;
}

bool __wrap_mcentral_uncacheSpan(mheap *h, gomem_p *p, mcentral *c, mspan *s) {
	wrapped.to = c;
	wrapped.sweepgen = h->sweepgen;
	const bool ok = __real_mcentral_uncacheSpan(h, p, c, s);
	wrapped.to = NULL;
	return ok;
}

bool __wrap_spanSet_push(gomem_env *env, spanSet *b, struct mspan *s, uint32_t setID) {
	const uint32_t n = spanSet_len(b);
	if (!__real_spanSet_push(env, b, s, setID)) {
		return false;
	}
	if (wrapped.how != FRONT || n == 0 || wrapped.to == NULL ||
		b != mcentral_partialSwept(wrapped.to, wrapped.sweepgen)) {
		return true;
	}
	for (uint32_t i = 0; i < n; i++) {
		assert_true(__real_spanSet_push(env, b, __real_spanSet_pop(env, b, setID), setID));
	}
	wrapped.altered++;
	return true;
}

static predict_result run(const char *path, mutation how) {
	gmt_error err = {{0}};
	predict_trace f = {.path = path, .o = {.goroutines = true}};
	assert_true(predict_trace_open(&f, &err));
	const predict_source src = predict_trace_source(&f);
	const predict_options opt = {0};
	predict_result r;
	wrapped.how = how;
	wrapped.altered = 0;
	assert_true(predict_run(&src, &opt, &r, &err));
	wrapped.how = NONE;
	gotrace_close(f.t);
	return r;
}

// checkBites: the refills that come out otherwise are mismatches; at most one of fifty is excused by an order that the trace does not tell.
static void checkBites(const char *path, mutation how) {
	predict_result right = run(path, NONE), wrong = run(path, how);
	const uint64_t found = wrong.kinds[PREDICT_REFILL].mismatch, before = right.kinds[PREDICT_REFILL].mismatch;
	static const char *const what[] = {[SECOND] = "taken: the second of two or more",
		[LAST] = "taken: the last",
		[FRONT] = "flushed: put before others"};
	print_message("%s: %s, %llu times: %llu mismatches (before: %llu), %llu excused (%llu)\n", path, what[how],
		(unsigned long long)wrapped.altered, (unsigned long long)found, (unsigned long long)before,
		(unsigned long long)wrong.orders, (unsigned long long)right.orders);
	assert_true(found >= before + 30);
	assert_true(50 * wrong.orders <= found);
	predict_result_free(&right);
	predict_result_free(&wrong);
}

static void checkTrace(const char *name, mutation how) {
	char path[96];
	(void)snprintf(path, sizeof(path), "traces/data/gotrace/%s.trace.zst", name);
	checkBites(path, how);
}

static void test_otherSpanIsFound(void **state) {
	(void)state;
	static const char *const traces[] = {
		"http-p4", "json-p4", "traced-p4", "types-p4", "go125-p4", "traced-workers-p1"};
	for (size_t i = 0; i < sizeof(traces) / sizeof(traces[0]); i++) {
		checkTrace(traces[i], SECOND);
		checkTrace(traces[i], LAST);
	}
}

static void test_otherPlaceIsFound(void **state) {
	(void)state;
	static const char *const traces[] = {"http-p4", "traced-p4", "types-p4", "go125-p4"};
	for (size_t i = 0; i < sizeof(traces) / sizeof(traces[0]); i++) {
		checkTrace(traces[i], FRONT);
	}
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_otherSpanIsFound),
		cmocka_unit_test(test_otherPlaceIsFound),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
