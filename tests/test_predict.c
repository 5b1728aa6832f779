// test_predict.c: predictions for Go traces: small traces made by hand, and a recorded one in which one event is altered.
//
// Witness: the rules of Go's allocator, by hand; and a trace that go1.26 wrote, of which every object and span is as predicted.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gomem/sizeclasses.h"
#include "traces/predict_pages.h"

enum { PAGE = 8192, SCAN48 = 10, TINY = 5, NELEMS48 = (PAGE - 128 - PAGE / 64) / 48, MAX_EVENTS = 4096 };
static const uint64_t heap = 0xc000000000;

// ---- traces made by hand

typedef struct script {
	gotrace_event events[MAX_EVENTS];
	size_t n, at;
} script;

static int scriptNext(void *ctx, gotrace_event *e, gmt_error *err) {
	(void)err;
	script *s = ctx;
	if (s->at == s->n) {
		return 0;
	}
	*e = s->events[s->at++];
	return 1;
}

static bool scriptRewind(void *ctx, gmt_error *err) {
	(void)err;
	((script *)ctx)->at = 0;
	return true;
}

static void add(script *s, gotrace_kind kind, uint64_t addr, uint64_t n, uint16_t class) {
	assert_true(s->n < MAX_EVENTS);
	s->events[s->n] = (gotrace_event){.kind = (uint8_t)kind,
		.addr = addr,
		.n = n,
		.class = class,
		.next_p = -1,
		.time = s->n,
		.earliest = s->n,
		.m = 1};
	s->n++;
}

// begin: a heap of one page of small objects, the first of which is taken.
static script *begin(void) {
	script *s = calloc(1, sizeof(*s));
	assert_non_null(s);
	add(s, GOTRACE_SPAN, heap, 1, SCAN48);
	add(s, GOTRACE_OBJECT, heap, 0, 0);
	add(s, GOTRACE_SNAPSHOT_END, 0, 0, 0);
	return s;
}

static void allocate(script *s, uint64_t addr) { add(s, GOTRACE_OBJECT_ALLOC, addr, 0, 0); }

static void allocateSlots(script *s, uint64_t base, unsigned from, unsigned to) {
	for (unsigned i = from; i < to; i++) {
		allocate(s, base + i * 48);
	}
}

static predict_result run(script *s) {
	const predict_source src = {.ctx = s, .next = scriptNext, .rewind = scriptRewind, .min_addr = heap, .version = 26};
	const predict_options opt = {.mismatches = 10};
	predict_result r;
	gmt_error err = {{0}};
	assert_true(predict_run(&src, &opt, &r, &err));
	assert_string_equal(r.stopped, "");
	for (int k = 0; k < PREDICT_KINDS; k++) {
		const predict_count *c = &r.kinds[k];
		assert_int_equal(c->all, c->equal + c->late + c->adopted + c->mismatch);
	}
	free(s);
	return r;
}

static void checkCount(
	const predict_result *r, predict_kind k, uint64_t equal, uint64_t late, uint64_t adopted, uint64_t mismatch) {
	assert_int_equal(r->kinds[k].equal, equal);
	assert_int_equal(r->kinds[k].late, late);
	assert_int_equal(r->kinds[k].adopted, adopted);
	assert_int_equal(r->kinds[k].mismatch, mismatch);
}

// checkOrder frees the result.
static void checkOrder(predict_result r, uint64_t orders, uint64_t refills, uint64_t objects) {
	assert_int_equal(r.orders, orders);
	assert_int_equal(r.kinds[PREDICT_REFILL].mismatch, refills);
	assert_int_equal(r.kinds[PREDICT_SMALL].mismatch, objects);
	predict_result_free(&r);
}

static void testLowestSlot(void **state) {
	(void)state;
	script *s = begin();
	allocateSlots(s, heap, 1, 4);
	predict_result r = run(s);
	checkCount(&r, PREDICT_SMALL, 3, 0, 0, 0);
	predict_result_free(&r);
}

static void testLate(void **state) {
	(void)state;
	script *s = begin();
	allocateSlots(s, heap, 1, 3);
	allocate(s, heap + 4 * 48);
	allocate(s, heap + 3 * 48);
	allocate(s, heap + 5 * 48);
	predict_result r = run(s);
	checkCount(&r, PREDICT_SMALL, 4, 1, 0, 0);
	predict_result_free(&r);
}

// on gives the last event an M and a P.
static void on(script *s, uint64_t m, int32_t p) {
	s->events[s->n - 1].m = m;
	s->events[s->n - 1].p = p;
}

static const int untold = -1;

// stopScript: goroutine g takes a slot of P 0 and stops there; another one takes the next slot; then g runs on P 1, and tells its own.
static script *stopScript(int where) {
	script *s = begin();
	add(s, GOTRACE_GO_START, 0, 7, 0);
	allocate(s, heap + 48);
	if (where != untold) {
		add(s, GOTRACE_GO_STOP, 0, (uint64_t)where, 0);
	}
	add(s, GOTRACE_GO_START, 0, 8, 0);
	allocate(s, heap + 3 * 48);
	add(s, GOTRACE_PROC_START, 0, 0, 0);
	on(s, 2, 1);
	add(s, GOTRACE_GO_START, 0, 7, 0);
	on(s, 2, 1);
	allocate(s, heap + 2 * 48);
	on(s, 2, 1);
	return s;
}

static void testToldAfterStop(void **state) {
	(void)state;
	predict_result r = run(stopScript(GOTRACE_IN_MALLOC));
	checkCount(&r, PREDICT_SMALL, 3, 0, 0, 0);
	assert_int_equal(r.early, 1);
	predict_result_free(&r);
	static const int others[] = {untold, GOTRACE_UNKNOWN, GOTRACE_ELSEWHERE};
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		r = run(stopScript(others[i]));
		checkCount(&r, PREDICT_SMALL, 2, 1, 0, 0);
		assert_int_equal(r.early, 0);
		predict_result_free(&r);
	}
}

// beginSpans: the snapshot has three spans with an object each; and one of tiny blocks behind them.
static script *beginSpans(bool withTiny) {
	script *s = calloc(1, sizeof(*s));
	assert_non_null(s);
	for (unsigned i = 0; i < (withTiny ? 4u : 3u); i++) {
		add(s, GOTRACE_SPAN, heap + i * PAGE, 1, i < 3 ? SCAN48 : TINY);
		add(s, GOTRACE_OBJECT, heap + i * PAGE, 0, 0);
	}
	add(s, GOTRACE_SNAPSHOT_END, 0, 0, 0);
	return s;
}

// otherRefills: P 1 begins, gets the second of these spans, and tells its object.
static void otherRefills(script *s) {
	add(s, GOTRACE_PROC_START, 0, 0, 0);
	on(s, 2, 1);
	add(s, GOTRACE_HEAP_ALLOC, 0, 1 << 20, 0);
	on(s, 2, 1);
	allocate(s, heap + PAGE + 48);
	on(s, 2, 1);
}

// refillScript: P 0 gets a span, says so, and tells its object after P 1 has got the next one.
static script *refillScript(bool tells) {
	script *s = beginSpans(false);
	if (tells) {
		add(s, GOTRACE_HEAP_ALLOC, 0, 1 << 20, 0);
	}
	otherRefills(s);
	allocate(s, heap + 48);
	return s;
}

static void testRefillToldBefore(void **state) {
	(void)state;
	predict_result r = run(refillScript(true));
	checkCount(&r, PREDICT_REFILL, 2, 0, 0, 0);
	checkCount(&r, PREDICT_SMALL, 2, 0, 0, 0);
	predict_result_free(&r);
	r = run(refillScript(false));
	checkCount(&r, PREDICT_REFILL, 0, 0, 2, 0); // the snapshot does not tell which of them is first
	predict_result_free(&r);
}

// P 0 gets a span and begins a cycle; it allocates and waits for that; P 1 gets the next span meanwhile.
static script *beginsCycleScript(gotrace_where where) {
	script *s = beginSpans(true);
	const uint64_t tiny = heap + (uint64_t)3 * PAGE;
	allocate(s, tiny + 16);
	add(s, GOTRACE_GO_START, 0, 7, 0);
	add(s, GOTRACE_HEAP_ALLOC, 0, 1 << 20, 0);
	allocate(s, tiny + 32);
	add(s, GOTRACE_GO_STOP, 0, (uint64_t)where, 0);
	otherRefills(s);
	add(s, GOTRACE_GO_START, 0, 7, 0);
	allocate(s, heap + 48);
	return s;
}

static void testBeginsCycle(void **state) {
	(void)state;
	predict_result r = run(beginsCycleScript(GOTRACE_IN_GC_START));
	checkCount(&r, PREDICT_REFILL, 3, 0, 0, 0);
	assert_int_equal(r.early, 2);
	predict_result_free(&r);
	r = run(beginsCycleScript(GOTRACE_ELSEWHERE));
	checkCount(&r, PREDICT_REFILL, 1, 0, 2, 0);
	predict_result_free(&r);
}

static void testNeverTold(void **state) {
	(void)state;
	script *s = begin();
	allocateSlots(s, heap, 1, 3);
	allocateSlots(s, heap, 4, 6);
	predict_result r = run(s);
	checkCount(&r, PREDICT_SMALL, 3, 0, 0, 1);
	assert_int_equal(r.listed, 1);
	assert_int_equal(r.list[0].predicted, heap + 3 * 48);
	assert_int_equal(r.list[0].actual, heap + 4 * 48);
	predict_result_free(&r);
}

// grow: the P fills its span and gets new ones; the lowest free pages are predicted.
static script *growScript(uint64_t second) {
	script *s = begin();
	allocateSlots(s, heap, 1, NELEMS48);
	add(s, GOTRACE_SPAN_ALLOC, heap + PAGE, 1, SCAN48); // shows where the page cache is
	allocateSlots(s, heap + PAGE, 0, NELEMS48);
	add(s, GOTRACE_SPAN_ALLOC, second, 1, SCAN48);
	allocateSlots(s, second, 0, 3);
	return s;
}

static void testSpans(void **state) {
	(void)state;
	predict_result r = run(growScript(heap + 2 * PAGE));
	checkCount(&r, PREDICT_SPAN_SMALL, 1, 0, 1, 0);
	checkCount(&r, PREDICT_REFILL, 3, 0, 0, 0);
	assert_int_equal(r.kinds[PREDICT_SMALL].mismatch, 0);
	predict_result_free(&r);
}

static void testRefillTooEarly(void **state) {
	(void)state;
	script *s = begin();
	allocateSlots(s, heap, 1, 4);
	add(s, GOTRACE_SPAN_ALLOC, heap + PAGE, 1, SCAN48);
	allocateSlots(s, heap + PAGE, 0, 2);
	predict_result r = run(s);
	assert_true(r.kinds[PREDICT_REFILL].mismatch >= 1);
	checkCount(&r, PREDICT_SMALL, 5, 0, 0, 0); // one difference does not cause the next
	predict_result_free(&r);
}

static void testTiny(void **state) {
	(void)state;
	script *s = calloc(1, sizeof(*s));
	assert_non_null(s);
	add(s, GOTRACE_SPAN, heap, 1, TINY);
	add(s, GOTRACE_OBJECT, heap, 0, 0);
	add(s, GOTRACE_SNAPSHOT_END, 0, 0, 0);
	allocate(s, heap + 16);
	allocate(s, heap + 16 + 8); // shares the block
	allocate(s, heap + 32);
	allocate(s, heap + 16); // the old block was kept
	allocate(s, heap);      // no P's block
	predict_result r = run(s);
	checkCount(&r, PREDICT_TINY, 4, 0, 0, 1);
	predict_result_free(&r);
}

// sweepScript: a cycle in which one slot dies; the P's cache is flushed, and the span comes back with that slot first.
static script *sweepScript(unsigned dead, unsigned next) {
	script *s = begin();
	allocateSlots(s, heap, 1, 20);
	add(s, GOTRACE_GC_BEGIN, 0, 1, 0);
	add(s, GOTRACE_STW_BEGIN, 0, 0, 0);
	add(s, GOTRACE_STW_END, 0, 0, 0);
	add(s, GOTRACE_STW_BEGIN, 0, 0, 0);
	add(s, GOTRACE_GC_END, 0, 2, 0);
	add(s, GOTRACE_OBJECT_FREE, heap + dead * 48, 0, 0);
	add(s, GOTRACE_STW_END, 0, 0, 0);
	allocate(s, heap + next * 48);
	allocate(s, heap + 20 * 48);
	return s;
}

static void testSweep(void **state) {
	(void)state;
	predict_result r = run(sweepScript(7, 7));
	checkCount(&r, PREDICT_SMALL, 21, 0, 0, 0);
	checkCount(&r, PREDICT_REFILL, 2, 0, 0, 0);
	assert_int_equal(r.cycles, 1);
	predict_result_free(&r);
	r = run(sweepScript(7, 21)); // not the slot that died
	assert_true(r.kinds[PREDICT_SMALL].mismatch >= 1);
	predict_result_free(&r);
}

static void cycle(script *s) {
	add(s, GOTRACE_GC_BEGIN, 0, 1, 0);
	add(s, GOTRACE_STW_BEGIN, 0, 0, 0);
	add(s, GOTRACE_STW_END, 0, 0, 0);
	add(s, GOTRACE_STW_BEGIN, 0, 0, 0);
	add(s, GOTRACE_GC_END, 0, 2, 0);
	add(s, GOTRACE_STW_END, 0, 0, 0);
}

// sweeps: an allocation sweeps n pages, among them the span of `dead`.
static void sweeps(script *s, gotrace_where where, uint64_t dead, uint64_t n) {
	add(s, GOTRACE_SWEEP_BEGIN, 0, where, 0);
	if (dead != 0) {
		add(s, GOTRACE_OBJECT_FREE, dead, 0, 0);
	}
	add(s, GOTRACE_SWEEP_END, n * PAGE, 0, 0);
}

static void refill(script *s, uint64_t addr) {
	add(s, GOTRACE_HEAP_ALLOC, 0, 1 << 20, 0);
	allocate(s, addr);
}

// mcentral takes span 0 from the unswept ones with free slots; spans 2 and 3, which are full, it leaves alone. Credit sweeps them, one for each
// allocation, before span 1, which has free slots and nothing to free.
static void testSweptOneByOne(void **state) {
	(void)state;
	const uint64_t other = heap + (uint64_t)16 * PAGE;
	script *s = begin();
	allocateSlots(s, heap, 1, NELEMS48);
	for (uint64_t i = 1; i < 5; i++) {
		add(s, GOTRACE_SPAN_ALLOC, heap + i * PAGE, 1, SCAN48);
		allocateSlots(s, heap + i * PAGE, 0, i < 4 ? NELEMS48 : NELEMS48 - 2);
	}
	cycle(s);
	sweeps(s, GOTRACE_IN_CREDIT, heap + 3 * 48, 1);
	sweeps(s, GOTRACE_IN_CREDIT, heap + PAGE + 4 * 48, 1);
	add(s, GOTRACE_SPAN_ALLOC, other, 1, SCAN48 + 2);
	allocate(s, other);
	cycle(s);
	allocateSlots(s, heap + 4 * (uint64_t)PAGE, NELEMS48 - 2, NELEMS48);
	sweeps(s, GOTRACE_IN_MCENTRAL, heap + 9 * 48, 1);
	refill(s, heap + 3 * 48);
	allocate(s, heap + 9 * 48);
	for (uint64_t i = 2; i < 4; i++) {
		sweeps(s, GOTRACE_IN_CREDIT, heap + i * PAGE + 5 * 48, 1);
		add(s, GOTRACE_SPAN_ALLOC, other + i * PAGE, 1, (uint16_t)(SCAN48 + 2 * i));
		allocate(s, other + i * PAGE);
	}
	refill(s, heap + 2 * PAGE + 5 * 48);
	refill(s, heap + 3 * PAGE + 5 * 48);
	sweeps(s, GOTRACE_IN_MCENTRAL, 0, 1);
	refill(s, heap + PAGE + 4 * 48);
	predict_result r = run(s);
	assert_int_equal(r.kinds[PREDICT_REFILL].mismatch, 0);
	assert_int_equal(r.kinds[PREDICT_SMALL].mismatch, 0);
	predict_result_free(&r);
}

// Whoever starts the world wakes an M up for the first idle P, since go1.26 the last one: it keeps its page cache when the others are flushed.
static void testWokenKeepsPages(void **state) {
	(void)state;
	script *s = begin();
	for (int32_t p = 1; p < 3; p++) {
		add(s, GOTRACE_SPAN_ALLOC, heap + (uint64_t)p * 64 * PAGE, 1, GOTRACE_MANUAL); // shows where its page cache is
		on(s, (uint64_t)p + 1, p);
	}
	cycle(s);
	add(s, GOTRACE_SPAN_FREE, heap + (uint64_t)64 * PAGE, 0, 0);
	add(s, GOTRACE_GO_START, 0, 7, 0); // who ended the cycle does something else
	add(s, GOTRACE_PROC_START, 0, 0, 0);
	on(s, 3, 2);
	add(s, GOTRACE_SPAN_ALLOC, heap + (uint64_t)129 * PAGE, 1, GOTRACE_MANUAL);
	on(s, 3, 2);
	predict_result r = run(s);
	checkCount(&r, PREDICT_SPAN_MANUAL, 1, 0, 2, 0);
	predict_result_free(&r);
}

// What an allocation sweeps for its credit goes behind what is swept already, even if the object then lies in it; what mcentral sweeps is taken.
static predict_result takenSpan(gotrace_where where, uint64_t taken) {
	script *s = begin();
	allocateSlots(s, heap, 1, NELEMS48);
	add(s, GOTRACE_SPAN_ALLOC, heap + PAGE, 1, SCAN48);
	allocateSlots(s, heap + PAGE, 0, 1);
	cycle(s); // span 1 has free slots, and its cache is flushed
	sweeps(s, where, heap + 9 * 48, 1);
	refill(s, taken);
	return run(s);
}

static void testSweptForCredit(void **state) {
	(void)state;
	predict_result r = takenSpan(GOTRACE_IN_CREDIT, heap + PAGE + 48);
	checkCount(&r, PREDICT_REFILL, 3, 0, 0, 0);
	predict_result_free(&r);
	r = takenSpan(GOTRACE_IN_CREDIT, heap + 9 * 48);
	checkCount(&r, PREDICT_REFILL, 2, 0, 0, 1);
	predict_result_free(&r);
}

// flushesFree: an M without a P frees, for the P that it takes next.
static void flushesFree(script *s, uint64_t addr, int32_t p) {
	add(s, GOTRACE_OBJECT_FREE, addr, 0, 0);
	on(s, (uint64_t)p + 1, -1);
	s->events[s->n - 1].next_p = p;
}

// flushScript: the caches of Ps 1 and 2 are flushed, with spans of three classes each. Of the third ones it is told, of that of P 2 first, by an M
// whose clock may have been ahead by then. Go takes those of P 1 first.
static predict_result flushScript(bool ahead) {
	static const uint16_t classes[] = {SCAN48, SCAN48 + 2, SCAN48 + 4};
	uint64_t bases[3][3] = {{0}};
	script *s = begin();
	for (int32_t p = 1; p < 3; p++) {
		for (int k = 0; k < 3; k++) {
			bases[p][k] = heap + (uint64_t)(p * 64 + k) * PAGE;
			add(s, GOTRACE_SPAN_ALLOC, bases[p][k], 1, classes[k]);
			on(s, (uint64_t)p + 1, p);
			for (unsigned i = 0; i < 3; i++) {
				allocate(s, bases[p][k] + (uint64_t)i * class_to_size[classes[k] >> 1]);
				on(s, (uint64_t)p + 1, p);
			}
		}
	}
	allocateSlots(s, heap, 1, NELEMS48);
	cycle(s);
	const uint64_t began = s->n;
	for (int32_t p = 2; p > 0; p--) {
		flushesFree(s, bases[p][2], p);
		flushesFree(s, bases[p][2] + class_to_size[classes[2] >> 1], p);
		if (ahead) {
			s->events[s->n - 1].earliest = began;
		}
		add(s, GOTRACE_PROC_START, 0, 0, 0);
		on(s, (uint64_t)p + 1, p);
	}
	refill(s, bases[1][0] + (uint64_t)3 * 48);
	refill(s, bases[1][1] + (uint64_t)3 * class_to_size[classes[1] >> 1]);
	refill(s, bases[1][2]);
	return run(s);
}

// Go's order in one class, which is not the port's, is that of the next one too: nothing is told in between. In the third class the frees tell it, but
// for a clock that was ahead.
static void testFlushOrder(void **state) {
	(void)state;
	checkOrder(flushScript(false), 1, 1, 1);
	checkOrder(flushScript(true), 2, 0, 0);
}

// fullSpans adds three to the one at the beginning of the heap, fills all, and a cycle ends.
static script *fullSpans(void) {
	script *s = begin();
	allocateSlots(s, heap, 1, NELEMS48);
	for (uint64_t i = 1; i < 4; i++) {
		add(s, GOTRACE_SPAN_ALLOC, heap + i * PAGE, 1, SCAN48);
		allocateSlots(s, heap + i * PAGE, 0, NELEMS48);
	}
	cycle(s);
	return s;
}

// grow: P 0 makes a fifth one.
static void grow(script *s) {
	add(s, GOTRACE_SPAN_ALLOC, heap + (uint64_t)4 * PAGE, 1, SCAN48);
	allocate(s, heap + (uint64_t)4 * PAGE);
}

// beginSwept: P 0 sweeps one span for its credit, that at `heap`, or two, then the one behind it. Slot 3 of one is free then, slot 4 of the other.
static script *beginSwept(int n) {
	const uint64_t other = heap + (uint64_t)16 * PAGE;
	script *s = fullSpans();
	sweeps(s, GOTRACE_IN_CREDIT, heap + 3 * 48, 1);
	if (n > 1) {
		sweeps(s, GOTRACE_IN_CREDIT, heap + PAGE + 4 * 48, 1);
	}
	add(s, GOTRACE_SPAN_ALLOC, other, 1, SCAN48 + 2);
	allocate(s, other);
	return s;
}

static void startsP1(script *s) {
	add(s, GOTRACE_PROC_START, 0, 0, 0);
	on(s, 2, 1);
}

// takenScript: P 0 takes the second of these spans, or a new one where there is but one, and then P 1 tells that it has the first one. It began
// before that, or after.
static predict_result takenScript(bool before, bool grows) {
	script *s = beginSwept(grows ? 1 : 2);
	if (before) {
		startsP1(s);
	}
	if (grows) {
		grow(s);
	} else {
		allocate(s, heap + PAGE + 4 * 48);
	}
	if (!before) {
		startsP1(s);
	}
	allocate(s, heap + 3 * 48);
	on(s, 2, 1);
	return run(s);
}

// A span that stood before another one was taken before: P 1 tells it later, and had nothing to tell since.
static void testTakenBefore(void **state) {
	(void)state;
	for (int grows = 0; grows < 2; grows++) {
		checkOrder(takenScript(true, grows != 0), 1, 0, 0);
		checkOrder(takenScript(false, grows != 0), 0, 1, grows != 0 ? 0 : 1);
	}
}

// sweptScript: P 1 frees a slot of the first span, in the background; then P 0 makes a new span, or mcentral sweeps another one for it. P 1 has told
// something else since, or not.
static predict_result sweptScript(bool since, bool grows) {
	script *s = fullSpans();
	startsP1(s);
	add(s, GOTRACE_OBJECT_FREE, heap + 3 * 48, 0, 0);
	on(s, 2, 1);
	if (since) {
		add(s, GOTRACE_GO_START, 0, 8, 0);
		on(s, 2, 1);
	}
	add(s, GOTRACE_GO_START, 0, 7, 0);
	if (grows) {
		grow(s);
	} else {
		sweeps(s, GOTRACE_IN_MCENTRAL, heap + PAGE + 4 * 48, 1);
		refill(s, heap + PAGE + 4 * 48);
	}
	return run(s);
}

// What an M frees is in its set when it tells something else: before, it may still sweep.
static void testSweptLater(void **state) {
	(void)state;
	for (int grows = 0; grows < 2; grows++) {
		checkOrder(sweptScript(false, grows != 0), 1, 0, 0);
		checkOrder(sweptScript(true, grows != 0), 0, 1, grows != 0 ? 0 : 1);
	}
}

static void testNoSnapshot(void **state) {
	(void)state;
	script *s = calloc(1, sizeof(*s));
	assert_non_null(s);
	allocate(s, heap);
	const predict_source src = {.ctx = s, .next = scriptNext, .rewind = scriptRewind, .min_addr = heap, .version = 26};
	const predict_options opt = {0};
	predict_result r;
	gmt_error err = {{0}};
	assert_false(predict_run(&src, &opt, &r, &err));
	assert_string_equal(err.text, "the trace has no snapshot of the heap");
	free(s);
}

// ---- one event of a recorded trace is altered

static const char *const oneP = "traces/data/gotrace/compile-p1.trace.zst";
static const char *const fourPs = "traces/data/gotrace/compile-p4.trace.zst";

typedef struct altered {
	const char *path;
	gotrace *t;
	page_table pages;
	predict_kind kind;
	unsigned countdown;
} altered;

static predict_kind kindOfSpan(uint16_t class) {
	return class == GOTRACE_MANUAL ? PREDICT_SPAN_MANUAL : class <= 1 ? PREDICT_SPAN_LARGE : PREDICT_SPAN_SMALL;
}

// alter moves what e tells of to a place where Go would not have put it.
static void alter(const altered *a, gotrace_event *e, uint16_t class) {
	if (e->kind == GOTRACE_SPAN_ALLOC) {
		e->addr += (uint64_t)16 << 20;
	} else if (a->kind == PREDICT_LARGE) {
		e->addr += 8;
	} else {
		e->addr += (uint64_t)3 * class_to_size[class >> 1];
	}
}

static bool isOfKind(altered *a, const gotrace_event *e, uint16_t *class) {
	if (e->kind == GOTRACE_SPAN_ALLOC) {
		return kindOfSpan(e->class) == a->kind;
	}
	const uint64_t base = e->kind == GOTRACE_OBJECT_ALLOC ? pages_base(&a->pages, e->addr) : 0;
	if (base == 0) {
		return false;
	}
	*class = pages_at(&a->pages, base)->class;
	return a->kind == (*class <= 1 ? PREDICT_LARGE : *class == TINY ? PREDICT_TINY : PREDICT_SMALL);
}

static int alteredNext(void *ctx, gotrace_event *e, gmt_error *err) {
	altered *a = ctx;
	const int got = gotrace_next(a->t, e, err);
	uint16_t class = 0;
	if (got == 1 && a->countdown != 0 && isOfKind(a, e, &class) && --a->countdown == 0) {
		alter(a, e, class);
	}
	if (got == 1 && (e->kind == GOTRACE_SPAN || e->kind == GOTRACE_SPAN_ALLOC)) {
		assert_true(pages_span(&a->pages, e->addr, e->n, e->class));
	}
	return got;
}

static unsigned countdown;

static bool alteredRewind(void *ctx, gmt_error *err) {
	altered *a = ctx;
	gotrace_close(a->t);
	pages_free(&a->pages);
	a->t = gotrace_open(a->path, (gotrace_options){.goroutines = true}, err);
	a->countdown = countdown;
	return a->t != NULL;
}

static predict_result runAltered(const char *path, predict_kind kind, unsigned nth) {
	gmt_error err = {{0}};
	altered a = {.path = path, .kind = kind};
	countdown = nth;
	assert_true(alteredRewind(&a, &err));
	const predict_source src = {.ctx = &a,
		.next = alteredNext,
		.rewind = alteredRewind,
		.min_addr = gotrace_min_addr(a.t),
		.version = gotrace_version(a.t)};
	const predict_options opt = {.mismatches = 5};
	predict_result r;
	assert_true(predict_run(&src, &opt, &r, &err));
	gotrace_close(a.t);
	pages_free(&a.pages);
	return r;
}

static uint64_t allMismatches(const predict_result *r) {
	uint64_t n = 0;
	for (int k = 0; k < PREDICT_KINDS; k++) {
		n += r->kinds[k].mismatch;
	}
	return n;
}

// checkAltered alters events, `times` as far into the trace as in the shortest one.
static void checkAltered(const char *path, unsigned times) {
	static const struct {
		predict_kind kind;
		unsigned nth;
	} cases[] = {{PREDICT_TINY, 200}, {PREDICT_SMALL, 500}, {PREDICT_LARGE, 1}, {PREDICT_SPAN_SMALL, 200},
		{PREDICT_SPAN_LARGE, 4}, {PREDICT_SPAN_MANUAL, 5}};
	predict_result whole = runAltered(path, PREDICT_TINY, 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const predict_kind kind = cases[i].kind;
		predict_result r = runAltered(path, kind, cases[i].nth * times);
		const bool found = r.kinds[kind].mismatch > whole.kinds[kind].mismatch;
		if (!found) {
			print_message("%s: %s: the altered event was not found\n", path, predict_kind_names[kind]);
		}
		assert_true(found);
		predict_result_free(&r);
	}
	predict_result_free(&whole);
}

static void testAltered(void **state) {
	(void)state;
	predict_result r = runAltered(oneP, PREDICT_TINY, 0);
	assert_int_equal(allMismatches(&r), 0);
	predict_result_free(&r);
	checkAltered(oneP, 1);
	checkAltered(fourPs, 3);
}

// testSilentPs: a P of a high number runs and tells nothing. It may yet tell that it took what each of the refills has passed over; they wait for it, and
// not one of them looks at all Ps. (With a look at each P for each of them this took 12 s.)
static void testSilentPs(void **state) {
	(void)state;
	enum { CLASSES = 4, EACH = 480, LAST_P = 4095 };
	static const uint16_t sizes[CLASSES] = {512, 1024, 2048, 4096};
	uint16_t class[CLASSES] = {0};
	script *s = calloc(1, sizeof(*s));
	assert_non_null(s);
	for (uint64_t k = 0; k < CLASSES; k++) {
		while (class_to_size[class[k] >> 1] != sizes[k]) {
			class[k] = (uint16_t)(class[k] + 2);
		}
		class[k] |= 1; // without pointers
		add(s, GOTRACE_SPAN, heap + k * PAGE, 1, class[k]);
		add(s, GOTRACE_OBJECT, heap + k * PAGE, 0, 0);
	}
	add(s, GOTRACE_SNAPSHOT_END, 0, 0, 0);
	add(s, GOTRACE_PROC_START, 0, 0, 0);
	on(s, 2, LAST_P);
	add(s, GOTRACE_GC_BEGIN, 0, 0, 0);
	add(s, GOTRACE_STW_END, 0, 0, 0);
	add(s, GOTRACE_GC_END, 0, 0, 0);
	add(s, GOTRACE_STW_END, 0, 0, 0);
	add(s, GOTRACE_SWEEP_BEGIN, 0, GOTRACE_IN_CREDIT, 0);
	for (uint64_t k = 0; k < CLASSES; k++) {
		add(s, GOTRACE_OBJECT_FREE, heap + k * PAGE, 0, 0);
	}
	add(s, GOTRACE_SWEEP_END, CLASSES * PAGE, 0, 0);
	for (uint64_t i = 0; i < (uint64_t)CLASSES * EACH; i++) {
		add(s, GOTRACE_SPAN_ALLOC, heap + (8 + i) * PAGE, 1, class[i % CLASSES]);
		add(s, GOTRACE_OBJECT_ALLOC, heap + (8 + i) * PAGE, 0, 0);
	}
	predict_result r = run(s);
	assert_int_equal(r.procs, LAST_P + 1);
	checkCount(&r, PREDICT_REFILL, 0, 0, 0, (uint64_t)CLASSES * EACH);
	predict_result_free(&r);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(testLowestSlot),
		cmocka_unit_test(testLate),
		cmocka_unit_test(testSilentPs),
		cmocka_unit_test(testToldAfterStop),
		cmocka_unit_test(testRefillToldBefore),
		cmocka_unit_test(testBeginsCycle),
		cmocka_unit_test(testNeverTold),
		cmocka_unit_test(testSpans),
		cmocka_unit_test(testRefillTooEarly),
		cmocka_unit_test(testTiny),
		cmocka_unit_test(testSweep),
		cmocka_unit_test(testSweptOneByOne),
		cmocka_unit_test(testSweptForCredit),
		cmocka_unit_test(testFlushOrder),
		cmocka_unit_test(testTakenBefore),
		cmocka_unit_test(testSweptLater),
		cmocka_unit_test(testWokenKeepsPages),
		cmocka_unit_test(testNoSnapshot),
		cmocka_unit_test(testAltered),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
