// replay.c: see replay.h. Compiled against the lab library (GOMEM_LAB=1), its variant with a layout given at run time
// (GOMEM_RUNTIME_LAYOUT) and the plain one.
//
// The recording is one total order of events. In a lab build each stream (a P, or an M without one) is a coroutine. It owns the cursor
// when the next event is its own; whoever needs the cursor and does not own it switches to the owner. So an operation is
// suspended at a step exactly where another stream's step came first. Answers are reported by the library's hooks and compared with the event
// under the cursor; inputs inside an operation (which span to reclaim, what the OS granted, mark bits) are read there.
//
// A decision with another value is counted and the replay goes on, tainted. A decision of another kind, a step that cannot be
// taken, or an internal inconsistency ends it: what follows could only be compared by resynchronising.
//
// A plain build has no hooks: operations run whole, answers that nobody outside sees are skipped.
#include "traces/replay.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "gomem/mbitmap.h"
#include "gomem/mcache.h"
#include "traces/coro.h"

#include <uthash.h>

enum { REPLAY_STACK_BYTES = 256 << 10, NO_STREAM = 0xffff };
// More address space than any recorded program had; a file that asks for more is refused before metadata for it is made.
static const uint64_t DEFAULT_MAX_HEAP = (uint64_t)1 << 41;

typedef struct replay replay;

typedef struct stream {
	replay *rp;
	coro *co;
	gomem_p *p;
	uint16_t id;
	uint16_t depth;      // operations that have begun and not ended
	struct stream *made; // the one made before it
} stream;

typedef struct span_seen {
	const void *span;
	UT_hash_handle hh;
} span_seen;

struct replay {
	const gmt_event *cur, *end;
	stream *running;
	uint64_t number; // of the event after the block's last
	gmt_reader *r;
	gmt_block block;
	gmt_event eof;
	gomem_heap *h;
	replay_result *out;
	const replay_options *opt;
	const gomem_layout *layout; // NULL: the library's own
	stream **streams;           // by id
	stream *made;               // the last one
	coro *main;
	const void **spans; // by number
	uint32_t nspans, capspans;
	span_seen *seen;
	gomem_lab lab;
	gomem_os os;     // what the heap sees
	gomem_os *under; // where memory comes from
	uint64_t reserved, max_heap;
	bool tainted, done;
	bool unborn; // the heap's making came beside the recording; it is finished first, so that it can be released
};

static const gomem_type wordType = {.size = 8, .ptr_bytes = 8, .ptr_mask = (const uint8_t[]){1}};

// ---- the cursor

static uint64_t event_number(const replay *rp) { return rp->number - (uint64_t)(rp->end - rp->cur); }

static _Noreturn void replay_leave(replay *rp) {
	rp->done = true;
	coro_switch(rp->running->co, rp->main);
	abort();
}

static void replay_vsay(replay *rp, const char *fmt, va_list ap) {
	if (rp->out->error[0] == 0) {
		vsnprintf(rp->out->error, sizeof(rp->out->error), fmt, ap);
	}
}

// replay_stop ends a replay that cannot go on beside the recording.
__attribute__((format(printf, 2, 3))) static _Noreturn void replay_stop(replay *rp, const char *fmt, ...) {
	va_list ap;
	va_start(ap, fmt);
	replay_vsay(rp, fmt, ap);
	va_end(ap);
	rp->out->stopped = true;
	rp->out->stopped_at = event_number(rp);
	if (rp->out->status == REPLAY_EQUAL) {
		rp->out->status = REPLAY_DIFFERS;
	}
	replay_leave(rp);
}

__attribute__((format(printf, 2, 3))) static _Noreturn void replay_bad(replay *rp, const char *fmt, ...) {
	va_list ap;
	va_start(ap, fmt);
	replay_vsay(rp, fmt, ap);
	va_end(ap);
	rp->out->status = REPLAY_BAD_INPUT;
	replay_leave(rp);
}

// replay_load makes the next block current, or the end. false: bad input.
static bool replay_load(replay *rp, gmt_error *err) {
	int got = gmt_next(rp->r, &rp->block, err);
	if (got < 0) {
		return false;
	}
	if (got == 0 || rp->block.n == 0) {
		rp->eof = (gmt_event){.kind = EV_NONE, .stream = NO_STREAM};
		rp->cur = &rp->eof;
		rp->end = &rp->eof + 1;
		rp->number++;
		rp->done = true;
		return true;
	}
	rp->cur = rp->block.events;
	rp->end = rp->cur + rp->block.n;
	rp->number = rp->block.first + rp->block.n;
	if (rp->opt->progress != NULL) {
		rp->opt->progress(rp->opt->progress_ctx, rp->block.first, rp->out->events);
	}
	return true;
}

static void replay_advance(replay *rp) {
	if (++rp->cur != rp->end) {
		return;
	}
	gmt_error err;
	if (!replay_load(rp, &err)) {
		replay_bad(rp, "%s", err.text);
	}
}

static const char *kind_name(unsigned k) {
	const gmt_kind_info *info = k < EV_MAX ? gmt_kind((gomem_ev)k) : NULL;
	return info != NULL && info->name != NULL ? info->name : "?";
}

static const char *stream_name(const replay *rp, uint16_t id, char buf[32]) {
	(void)rp;
	if (id >= GMT_STREAM_M) {
		snprintf(buf, 32, "M %u without a P", id - GMT_STREAM_M);
	} else {
		snprintf(buf, 32, "P %u", id);
	}
	return buf;
}

// ---- differences

static void describe_span(replay *rp, uintptr_t addr, char *buf, size_t n) {
	gomem_span_info s;
	if (rp->h == NULL || addr == 0 || !gomem_spanOf(rp->h, addr, &s)) {
		snprintf(buf, n, "no span");
		return;
	}
	snprintf(buf, n,
		"span %#" PRIxPTR " of %" PRIuPTR " pages, class %u%s, %" PRIuPTR "/%" PRIuPTR " allocated, state %u", s.base,
		s.npages, s.spanclass >> 1, (s.spanclass & 1) != 0 ? " noscan" : "", s.alloc_count, s.nelems, s.state);
}

static void replay_differs(
	replay *rp, replay_kind k, uint64_t at, const char *what, uint64_t expected, uint64_t actual, uintptr_t addr) {
	replay_count *c = &rp->out->kinds[k];
	c->differ++;
	if (c->first[0] == 0) {
		char who[32], span[256];
		describe_span(rp, addr, span, sizeof(span));
		snprintf(c->first, sizeof(c->first),
			"event %" PRIu64 ", %s: %s: expected %#" PRIx64 ", got %#" PRIx64 " (%s)%s", at,
			stream_name(rp, rp->running->id, who), what, expected, actual, span, rp->tainted ? " [tainted]" : "");
	}
	rp->tainted = true;
	if (rp->out->status == REPLAY_EQUAL) {
		rp->out->status = REPLAY_DIFFERS;
	}
}

static inline void replay_counted(replay *rp, replay_kind k, bool ok, uint64_t at, const char *what, uint64_t expected,
	uint64_t actual, uintptr_t addr) {
	rp->out->compared++;
	if (!ok) {
		replay_differs(rp, k, at, what, expected, actual, addr);
	} else if (rp->tainted) {
		rp->out->kinds[k].tainted++;
	} else {
		rp->out->kinds[k].equal++;
	}
}

static inline void replay_compare(
	replay *rp, replay_kind k, const char *what, uint64_t expected, uint64_t actual, uintptr_t addr) {
	replay_counted(rp, k, expected == actual, event_number(rp), what, expected, actual, addr);
}

// ---- turns

static void run_stream(void *arg);
static void replay_op(replay *rp, stream *s);

// A goroutine's stack may have to grow anywhere in an operation that runs on it: these two may come inside any other,
// but not inside each other.
static inline bool replay_interrupted(const replay *rp) {
	return rp->running->depth == 1 && (rp->cur->kind == EV_STACKALLOC || rp->cur->kind == EV_STACKFREE);
}

static stream *replay_stream(replay *rp, uint16_t id) {
	stream *s = rp->streams[id];
	if (s != NULL) {
		return s;
	}
	s = calloc(1, sizeof(*s));
	if (s == NULL) {
		return NULL;
	}
	*s = (stream){.rp = rp, .id = id, .made = rp->made};
	rp->streams[id] = rp->made = s;
	return s;
}

#if GOMEM_LAB

static void replay_wait_slow(replay *rp) {
	stream *me = rp->running;
	while (rp->cur->stream != me->id) {
		if (rp->done) {
			replay_leave(rp);
		}
		stream *next = replay_stream(rp, rp->cur->stream);
		if (next != NULL && next->co == NULL) {
			next->co = coro_new(REPLAY_STACK_BYTES, run_stream, next);
		}
		if (next == NULL || next->co == NULL) {
			replay_bad(rp, "event %" PRIu64 ": out of memory for another stream", event_number(rp));
		}
		rp->running = next;
		coro_switch(me->co, next->co);
	}
}

// replay_wait returns when the event under the cursor belongs to the running stream and to the operation that it is in.
static inline void replay_wait(replay *rp) {
	for (;;) {
		if (rp->cur->stream != rp->running->id) {
			replay_wait_slow(rp);
		}
		if (!replay_interrupted(rp)) {
			return;
		}
		replay_op(rp, rp->running);
	}
}

// replay_expects: while the heap is made, an event of another stream or kind is noted and nothing more is compared.
static bool replay_expects(replay *rp, gomem_ev k) {
	if (!rp->unborn && rp->cur->stream == rp->running->id && (k == EV_NONE || rp->cur->kind == k)) {
		return true;
	}
	rp->unborn = true;
	return false;
}

static void lab_on_turn(void *ctx, gomem_ev k) {
	replay *rp = ctx;
	if (rp->h == NULL) {
		(void)replay_expects(rp, k);
		return;
	}
	replay_wait(rp);
	if (k != EV_NONE && rp->cur->kind != k) {
		char who[32];
		replay_stop(rp, "event %" PRIu64 ", %s: the port comes to %s, the recording has %s", event_number(rp),
			stream_name(rp, rp->running->id, who), kind_name(k), kind_name(rp->cur->kind));
	}
}

static void lab_on_busy(void *ctx, const char *name) {
	replay *rp = ctx;
	char who[32];
	replay_stop(rp, "event %" PRIu64 ", %s: wants %s, which another stream holds", event_number(rp),
		stream_name(rp, rp->running->id, who), name);
}

// span_equal holds the numbers of the recording and the port's structures against each other: one to one, for good.
static bool span_equal(replay *rp, uint64_t number, const void *span) {
	if (number == 0 || span == NULL) {
		return number == 0 && span == NULL;
	}
	if (number >= rp->capspans) {
		uint32_t cap = rp->capspans == 0 ? 4096 : rp->capspans;
		while (cap <= number) {
			cap *= 2;
		}
		const void **grown = realloc(rp->spans, cap * sizeof(*grown));
		if (grown == NULL) {
			replay_bad(rp, "event %" PRIu64 ": out of memory for spans", event_number(rp));
		}
		memset(grown + rp->capspans, 0, (cap - rp->capspans) * sizeof(*grown));
		rp->spans = grown;
		rp->capspans = cap;
	}
	if (rp->spans[number] != NULL) {
		return rp->spans[number] == span;
	}
	span_seen *known = NULL;
	HASH_FIND_PTR(rp->seen, &span, known);
	if (known != NULL) {
		return false;
	}
	known = malloc(sizeof(*known));
	if (known == NULL) {
		replay_bad(rp, "event %" PRIu64 ": out of memory for spans", event_number(rp));
	}
	known->span = span;
	HASH_ADD_PTR(rp->seen, span, known);
	rp->spans[number] = span;
	return true;
}

static uintptr_t span_addr(const void *span) { return span == NULL ? 0 : mspan_base(span); }

static void compare_span(
	replay *rp, replay_kind k, const char *what, uint64_t expectedA, uint64_t a, uint64_t number, const void *span) {
	bool ok = expectedA == a && span_equal(rp, number, span);
	if (expectedA == a) {
		replay_counted(rp, k, ok, event_number(rp), what, number, (uintptr_t)span, span_addr(span));
	} else {
		replay_counted(rp, k, ok, event_number(rp), what, expectedA, a, span_addr(span));
	}
}

static void compare_spaninit(replay *rp, const gmt_event *e, uint64_t a, const void *span, uint64_t c, uint64_t d) {
	uint64_t typeAndClass = 0x3ff, np = 0xffffffff;
	bool ok = (e->a & typeAndClass) == (a & typeAndClass) && (e->d & np) == (d & np) && span_equal(rp, e->b, span);
	replay_counted(rp, RK_SPAN_BASE, ok && e->c == c, event_number(rp), "base of a new span", e->c, c, (uintptr_t)c);
	replay_compare(rp, RK_SPAN_NELEMS, "objects of a new span", e->a >> 11, a >> 11, (uintptr_t)c);
	replay_compare(rp, RK_SPAN_NEEDZERO, "needzero of a new span", e->a >> 10 & 1, a >> 10 & 1, (uintptr_t)c);
	replay_compare(rp, RK_SPAN_SCAV, "scavenged pages of a new span", e->d >> 32, d >> 32, (uintptr_t)c);
}

// compare4 counts one decision of several values; the first that differs is shown.
static void compare4(replay *rp, replay_kind k, const char *what, const gmt_event *e, uint64_t a, uint64_t b,
	uint64_t c, uint64_t d, uintptr_t addr) {
	const uint64_t expected[] = {e->a, e->b, e->c, e->d}, actual[] = {a, b, c, d};
	int i = 0;
	while (i < 3 && expected[i] == actual[i]) {
		i++;
	}
	replay_counted(rp, k, expected[i] == actual[i], event_number(rp), what, expected[i], actual[i], addr);
}

// Answers whose values are compared as they stand.
typedef struct plain_answer {
	const char *what; // NULL: not such an answer
	replay_kind kind;
	char addr; // the field that is an address in a span, to describe it; 0: none
} plain_answer;

static const plain_answer plainAnswers[EV_MAX] = {
	[EV_PCREFILL] = {"page cache refill", RK_PCREFILL, 0},
	[EV_PCALLOC] = {"pages from the page cache", RK_PCALLOC, 'b'},
	[EV_PCFLUSH] = {"page cache flush", RK_PCFLUSH, 0},
	[EV_NEEDZERO] = {"arena used before", RK_ZEROED, 'a'},
	[EV_RESERVE] = {"address asked of the OS", RK_RESERVE, 0},
	[EV_ARENA] = {"arena", RK_ARENA, 0},
	[EV_PGROW] = {"heap growth", RK_GROW, 0},
	[EV_RANDPAD] = {"padding pages", RK_PAD, 0},
	[EV_SCAVFIND] = {"chunk to scavenge", RK_SCAV_FIND, 0},
	[EV_SCAVBEGIN] = {"pages to release", RK_SCAV_PAGES, 0},
	[EV_SCAVEND] = {"pages to release", RK_SCAV_PAGES, 0},
	[EV_SCAVEMPTY] = {"chunk without candidates", RK_SCAV_EMPTY, 0},
	[EV_SPOOLALLOC] = {"stack from the pool", RK_SPOOL_ALLOC, 'b'},
	[EV_SPOOLFREE] = {"stack to the pool", RK_SPOOL_FREE, 'b'},
	[EV_STACKSCAN] = {"stack spans looked at", RK_STACKSCAN, 0},
	[EV_SLARGEPOP] = {"large stack", RK_SLARGE, 'b'},
	[EV_SLARGEPUSH] = {"large stack", RK_SLARGE, 'b'},
	[EV_HINT] = {"hint", RK_HINT, 0},
	[EV_MCACHEALLOC] = {"mcache", RK_MCACHE, 0},
};

static void compare_answer(replay *rp, const gmt_event *e, uint64_t a, uint64_t b, uint64_t c, uint64_t d) {
	const void *span = (const void *)(uintptr_t)b;
	const uint64_t setMask = 1023;
	const plain_answer *plain = &plainAnswers[e->kind];
	if (plain->what != NULL) {
		uintptr_t addr = (uintptr_t)(plain->addr == 'a' ? a : plain->addr == 'b' ? b : 0);
		compare4(rp, plain->kind, plain->what, e, a, b, c, d, addr);
		return;
	}
	switch ((gomem_ev)e->kind) {
	case EV_REFILL:
		compare_span(rp, RK_REFILL, "refill: old span", e->a, a, e->b, span);
		return;
	case EV_REFILLEND:
		compare_span(rp, RK_REFILL_SPAN, "refill: span", e->a & 0xff, a & 0xff, e->b, span);
		replay_counted(rp, RK_REFILL_CACHE, e->a == a && e->c == c && e->d == d, event_number(rp), "refill: allocCache",
			e->c, c, span_addr(span));
		return;
	case EV_PUSH:
		compare_span(rp, RK_PLACEMENT, "pushed to set", e->a & setMask, a & setMask, e->b, span);
		replay_compare(rp, RK_PUSH_SLOT, "slot of a push", e->a >> 10, a >> 10, span_addr(span));
		return;
	case EV_POP:
		compare_span(rp, RK_POP, "popped from set", e->a & setMask, a & setMask, e->b, span);
		replay_compare(rp, RK_POP_SLOT, "slot of a pop", e->a >> 10, a >> 10, span_addr(span));
		return;
	case EV_SCLOAD:
	case EV_SCUPDATE:
		replay_compare(rp, RK_CENTRAL_INDEX, "central index", e->a, a, 0);
		return;
	case EV_ACQUIRE:
		if (e->a == a && e->c == c) {
			compare_span(rp, RK_ACQUIRE, "ownership", a, a, e->b, span);
		} else {
			compare4(rp, RK_ACQUIRE, "ownership", e, a, e->b, c, e->d, span_addr(span));
		}
		return;
	case EV_SWEEP:
		if (!span_equal(rp, e->b, span)) {
			replay_counted(rp, RK_SWEEP, false, event_number(rp), "span swept", e->b, b, span_addr(span));
			return;
		}
		compare4(rp, RK_SWEEP, "sweep", e, a, e->b, c, d, span_addr(span));
		return;
	case EV_PALLOC:
		replay_counted(rp, RK_PALLOC, e->a == a && e->b == b, event_number(rp), "pages", e->a == a ? e->b : e->a,
			e->a == a ? b : a, (uintptr_t)b);
		replay_counted(rp, RK_PALLOC_SEARCH, e->c == c && e->d == d, event_number(rp), "search address",
			e->c == c ? e->d : e->c, e->c == c ? d : c, (uintptr_t)b);
		return;
	case EV_MSPANALLOC:
		compare_span(rp, RK_MSPAN, "span structure", e->a, a, e->b, span);
		return;
	case EV_SPANINIT:
		compare_spaninit(rp, e, a, span, c, d);
		return;
	case EV_SPANFREE:
		if (e->a == a && e->c == c && e->d == d) {
			compare_span(rp, RK_SPANFREE, "span freed", e->c, c, e->b, span);
		} else {
			compare4(rp, RK_SPANFREE, "span freed", e, a, e->b, c, d, (uintptr_t)c);
		}
		return;
	default:
		replay_stop(rp, "event %" PRIu64 ": %s is not an answer", event_number(rp), kind_name(e->kind));
	}
}

static void lab_on_event(void *ctx, gomem_ev k, uint64_t a, uint64_t b, uint64_t c, uint64_t d) {
	replay *rp = ctx;
	lab_on_turn(rp, k);
	if (rp->unborn) {
		return;
	}
	compare_answer(rp, rp->cur, a, b, c, d);
	replay_advance(rp);
}

// replay_next_is: is the next event of the running stream of this kind?
static bool replay_next_is(replay *rp, gomem_ev k) {
	replay_wait(rp);
	return rp->cur->kind == k;
}

// replay_begins_with: the same while the heap is made.
static bool replay_begins_with(replay *rp, gomem_ev k) { return replay_expects(rp, k); }

#else // a plain build

static bool plain_stops_at(const gmt_event *e) {
	return e->kind == EV_NONE || e->kind == EV_MALLOCEND || e->kind == EV_STACKEND || e->kind == EV_SWEEP ||
		e->kind == EV_RESERVE || gmt_kind((gomem_ev)e->kind)->input;
}

// plain_settle skips answers that a plain build does not report, up to the running stream's next input or end of operation. An operation of another
// stream that comes first is run whole.
static void plain_settle(replay *rp, bool inside) {
	while (rp->cur->kind != EV_NONE) {
		if (rp->cur->stream != rp->running->id && plain_stops_at(rp->cur)) {
			if (!inside || rp->cur->kind == EV_SWEEP || rp->cur->kind == EV_RESERVE) {
				return;
			}
			stream *me = rp->running;
			stream *other = replay_stream(rp, rp->cur->stream);
			if (other == NULL) {
				replay_bad(rp, "event %" PRIu64 ": out of memory for another stream", event_number(rp));
			}
			rp->running = other;
			other->co = me->co;
			replay_op(rp, other);
			rp->running = me;
			continue;
		}
		if (inside && rp->cur->stream == rp->running->id && replay_interrupted(rp)) {
			replay_op(rp, rp->running);
			continue;
		}
		if (plain_stops_at(rp->cur)) {
			return;
		}
		replay_advance(rp);
	}
	if (inside) {
		replay_leave(rp); // the recording ends inside an operation
	}
}

// A sweep that nobody asked marks for, or a reservation, is an answer that ends a search for another kind.
static bool replay_next_is(replay *rp, gomem_ev k) {
	plain_settle(rp, true);
	return rp->cur->kind == k && rp->cur->stream == rp->running->id;
}

static bool replay_begins_with(replay *rp, gomem_ev k) {
	plain_settle(rp, false);
	rp->unborn = rp->unborn || rp->cur->kind != k;
	return !rp->unborn;
}

static void replay_wait(replay *rp) { plain_settle(rp, true); }

#endif

// ---- policy: what the recording gives inside an operation

static bool policy_sweepActive(void *ctx, gomem_heap *h, gomem_p *p) {
	replay *rp = ctx;
	(void)h;
	(void)p;
	if (!replay_next_is(rp, EV_SWEEPACTIVE)) {
		replay_stop(rp, "event %" PRIu64 ": cacheSpan asks whether sweeping is active, the recording has %s",
			event_number(rp), kind_name(rp->cur->kind));
	}
	bool active = rp->cur->a != 0;
	rp->out->given[EV_SWEEPACTIVE]++;
	replay_advance(rp);
	return active;
}

static void policy_deductSweepCredit(
	void *ctx, gomem_heap *h, gomem_p *p, uintptr_t spanBytes, uintptr_t callerSweepPages) {
	replay *rp = ctx;
	(void)spanBytes;
	(void)callerSweepPages;
	while (replay_next_is(rp, EV_SWEEPONE)) {
		rp->out->given[EV_SWEEPONE]++;
		replay_advance(rp);
		sweepone(h, p);
	}
}

static mspan *span_at(replay *rp, uint64_t base, uint8_t state) {
	mspan *s = base >> 48 == 0 ? spanOf(rp->h, (uintptr_t)base) : NULL;
	if (s == NULL || mspan_base(s) != base || mspan_state(s) != state) {
		replay_stop(rp, "event %" PRIu64 ": %s names a span at %#" PRIx64 ", the port has none there", event_number(rp),
			kind_name(rp->cur->kind), base);
	}
	return s;
}

static void policy_reclaim(void *ctx, gomem_heap *h, gomem_p *p, uintptr_t npages) {
	replay *rp = ctx;
	(void)npages;
	while (replay_next_is(rp, EV_RECLAIM)) {
		mspan *s = span_at(rp, rp->cur->a, mSpanInUse);
		rp->out->given[EV_RECLAIM]++;
		replay_advance(rp);
		mheap_reclaimSpan(h, p, s);
	}
}

static void policy_loadMarks(void *ctx, gomem_heap *h, gomem_p *p, mspan *s) {
	replay *rp = ctx;
	(void)h;
	(void)p;
	if (!replay_next_is(rp, EV_SWEEP)) {
		replay_stop(rp, "event %" PRIu64 ": the port sweeps span %#" PRIxPTR ", the recording has %s", event_number(rp),
			mspan_base(s), kind_name(rp->cur->kind));
	}
	const gmt_event *e = rp->cur;
	unsigned words = (s->nelems + 63u) / 64;
	bool all = e->nmarks == 0 && e->d >> 32 != 0;
	for (unsigned i = 0; i < words; i++) {
		uint64_t w = all ? ~(uint64_t)0 : i < e->nmarks ? rp->block.marks[e->mark_index + i] : 0;
		unsigned left = s->nelems - i * 64u;
		storeBits64(s->gcmarkBits + 8 * i, left >= 64 ? w : w & lowBits64(left));
	}
	rp->out->given_marks += e->nmarks != 0;
#if !GOMEM_LAB
	replay_advance(rp);
#endif
}

// scavenge_step does the request under the cursor.
static void scavenge_step(replay *rp, gomem_p *p) {
	uint64_t bytes = rp->cur->a;
	bool force = rp->cur->b != 0, none;
	replay_advance(rp);
	pageAlloc_scavengeStep(&rp->h->env, &rp->h->pages, (uintptr_t)bytes, force, heapStats_of(rp->h, p), &none);
}

static void policy_scavengeAssist(void *ctx, gomem_heap *h, gomem_p *p, uintptr_t scav, uintptr_t growth) {
	replay *rp = ctx;
	(void)h;
	(void)scav;
	(void)growth;
	while (replay_next_is(rp, EV_SCAVENGE)) {
		rp->out->given[EV_SCAVENGE]++;
		scavenge_step(rp, p);
	}
}

// A replay does not start cycles: they are inputs.
static void policy_gcTrigger(void *ctx, gomem_heap *h, gomem_p *p) {
	(void)ctx;
	(void)h;
	(void)p;
}

// ---- the OS: grants what the recorded one granted

static void *os_alloc(gomem_os *os, uintptr_t n) {
	replay *rp = (replay *)((char *)os - offsetof(replay, os));
	return rp->under->alloc(rp->under, n);
}

static void *os_grant(replay *rp, void *hint, uintptr_t n, uint64_t granted) {
	if (granted == 0) {
		return NULL;
	}
	rp->reserved += n;
	if (rp->h == NULL && (granted + n > rp->max_heap || n > rp->max_heap)) {
		rp->unborn = true;
		return NULL;
	}
	if (granted >> 47 != 0 || rp->reserved > rp->max_heap || n > rp->max_heap) {
		replay_bad(rp, "event %" PRIu64 ": a reservation of %#" PRIxPTR " bytes at %#" PRIx64 " is out of range",
			event_number(rp), n, granted);
	}
	void *v = rp->under->reserve(rp->under, (void *)(uintptr_t)granted, n, MEM_HEAP);
	if ((uintptr_t)v != granted) {
		replay_bad(rp, "event %" PRIu64 ": the address range [%#" PRIx64 ", %#" PRIx64 ") is taken in this process%s",
			event_number(rp), granted, granted + n, rp->opt->real_os ? "; use --os sim" : "");
	}
	(void)hint;
	return v;
}

static void *os_reserve(gomem_os *os, void *hint, uintptr_t n, memUse use) {
	replay *rp = (replay *)((char *)os - offsetof(replay, os));
	if (use == MEM_META) {
		return rp->under->reserve(rp->under, hint, n, use);
	}
	if (rp->h == NULL && !replay_begins_with(rp, EV_RESERVE)) {
		return NULL;
	}
	if (!replay_next_is(rp, EV_RESERVE)) {
		replay_stop(rp, "event %" PRIu64 ": the port reserves address space, the recording has %s", event_number(rp),
			kind_name(rp->cur->kind));
	}
	gmt_event e = *rp->cur;
	uintptr_t at = (uintptr_t)e.d;
	if (e.c != 0 && e.c < n) {
		// sysReserveAligned trims: any address that leads to the granted one will do.
		at = e.d == 0 ? 0 : (uintptr_t)(e.d - rp->os.physPageSize);
	}
#if !GOMEM_LAB
	replay_compare(rp, RK_RESERVE, "address asked of the OS", e.a, (uintptr_t)hint, 0);
	replay_advance(rp);
#endif
	return os_grant(rp, hint, n, at);
}

static bool os_map(gomem_os *os, void *v, uintptr_t n) {
	replay *rp = (replay *)((char *)os - offsetof(replay, os));
	return rp->under->map(rp->under, v, n);
}
static bool os_used(gomem_os *os, void *v, uintptr_t n) {
	replay *rp = (replay *)((char *)os - offsetof(replay, os));
	return rp->under->used(rp->under, v, n);
}
static bool os_unused(gomem_os *os, void *v, uintptr_t n) {
	replay *rp = (replay *)((char *)os - offsetof(replay, os));
	return rp->under->unused(rp->under, v, n);
}
static bool os_fault(gomem_os *os, void *v, uintptr_t n) {
	replay *rp = (replay *)((char *)os - offsetof(replay, os));
	return rp->under->fault(rp->under, v, n);
}
static bool os_free(gomem_os *os, void *v, uintptr_t n) {
	replay *rp = (replay *)((char *)os - offsetof(replay, os));
	return rp->under->free(rp->under, v, n);
}
static void os_hugePage(gomem_os *os, void *v, uintptr_t n) {
	replay *rp = (replay *)((char *)os - offsetof(replay, os));
	rp->under->hugePage(rp->under, v, n);
}
static void os_noHugePage(gomem_os *os, void *v, uintptr_t n) {
	replay *rp = (replay *)((char *)os - offsetof(replay, os));
	rp->under->noHugePage(rp->under, v, n);
}
static bool os_collapse(gomem_os *os, void *v, uintptr_t n) {
	replay *rp = (replay *)((char *)os - offsetof(replay, os));
	return rp->under->hugePageCollapse(rp->under, v, n);
}

static bool replay_make_os(replay *rp, const gmt_header *head) {
	memSimConfig cfg = {
		.physPageSize = (uintptr_t)head->phys_page_size, .physHugePageSize = (uintptr_t)head->phys_huge_page_size};
	rp->under = rp->opt->real_os ? mem_linux_new_fixed() : mem_sim_new(&cfg);
	if (rp->under == NULL) {
		return false;
	}
	rp->os = (gomem_os){
		.name = "replay",
		.physPageSize = (uintptr_t)head->phys_page_size,
		.physHugePageSize = (uintptr_t)head->phys_huge_page_size,
		.backed = rp->opt->real_os,
		// The setting is 1 unless GODEBUG said otherwise, and settings that are 0 are not listed.
		.unusedKeepsContents = strstr(head->godebug, "madvdontneed=1") == NULL,
		.alloc = os_alloc,
		.reserve = os_reserve,
		.map = os_map,
		.used = os_used,
		.unused = os_unused,
		.fault = os_fault,
		.free = os_free,
		.hugePage = os_hugePage,
		.noHugePage = os_noHugePage,
		.hugePageCollapse = os_collapse,
	};
	return true;
}

// ---- operations

static _Noreturn void replay_throw(void *ctx, const char *msg) {
	replay *rp = ctx;
	char who[32];
	replay_stop(
		rp, "event %" PRIu64 ", %s: the port threw: %s", event_number(rp), stream_name(rp, rp->running->id, who), msg);
}

static bool all_zero(const uint8_t *p, uintptr_t n) {
	for (; n >= 8; p += 8, n -= 8) {
		uint64_t w;
		memcpy(&w, p, 8);
		if (w != 0) {
			return false;
		}
	}
	for (; n > 0; p++, n--) {
		if (*p != 0) {
			return false;
		}
	}
	return true;
}

// check_zeroed looks at a new object in real memory, then fills it, so that its successor in the slot shows whether it was zeroed.
static void check_zeroed(replay *rp, uintptr_t addr, uintptr_t size, bool needzero, bool scan, unsigned path) {
	if (needzero && path != GOMEM_PATH_TINY_HIT) {
		rp->out->zero_checked++;
		rp->out->zero_bytes += size;
		if (!all_zero((const uint8_t *)addr, size)) {
			replay_stop(rp, "event %" PRIu64 ": object %#" PRIxPTR " of %" PRIuPTR " bytes was to be zero and is not",
				event_number(rp), addr, size);
		}
	}
	(void)scan;
	memset((void *)addr, 0xa5, size);
}

static const replay_kind kindOfPath[] = {
	RK_TINY_HIT, RK_TINY_NEW, RK_NOSCAN, RK_SCAN, RK_SCAN_HEADER, RK_LARGE, RK_REUSE};

static void compare_object(
	replay *rp, uint64_t at, uint64_t wantPath, uint64_t wantAddr, unsigned path, uintptr_t addr) {
	if (wantPath <= GOMEM_PATH_TINY_NEW) {
		replay_counted(rp, RK_TINY_CHOICE, path == wantPath, at, "tiny block", wantPath, path, addr);
	}
	if (wantPath > GOMEM_PATH_REUSE) {
		replay_stop(rp, "event %" PRIu64 ": a malloc path that is not replayed (%" PRIu64 ")", at, wantPath);
	}
	replay_counted(rp, kindOfPath[wantPath], path == wantPath && addr == wantAddr, at, "address of an object", wantAddr,
		addr, addr);
}

// needMemory: Go had memory there. That the port had none is no decision of its own.
static void needMemory(replay *rp, uint64_t at, uintptr_t addr) {
	if (addr == 0) {
		replay_bad(rp, "event %" PRIu64 ": out of memory", at);
	}
}

static inline void op_malloc(replay *rp, stream *s, bool whole) {
	const uint64_t at = event_number(rp);
	const uint64_t size = rp->cur->a, flags = rp->cur->b, wantPath = rp->cur->c, wantAddr = rp->cur->d;
	const bool scan = (flags & 1) == 0;
	if (size == 0 || size > rp->max_heap) {
		replay_bad(rp, "event %" PRIu64 ": an allocation of %" PRIu64 " bytes", at, size);
	}
	replay_advance(rp);
	unsigned path = 0;
	uintptr_t addr = mallocgc(rp->h, s->p, (uintptr_t)size, scan ? &wordType : NULL, (flags & 2) != 0, &path);
	needMemory(rp, at, addr);
	if (whole) {
		compare_object(rp, at, wantPath, wantAddr, path, addr);
	} else {
		replay_wait(rp);
		if (rp->cur->kind != EV_MALLOCEND) {
			replay_stop(rp, "event %" PRIu64 ": the port's malloc ended, the recording has %s", event_number(rp),
				kind_name(rp->cur->kind));
		}
		compare_object(rp, event_number(rp), rp->cur->a, rp->cur->b, path, addr);
		replay_advance(rp);
	}
	if (rp->opt->real_os) {
		check_zeroed(rp, addr, (uintptr_t)size, (flags & 2) != 0, scan, path);
	}
}

// op_freegc: what the recording gives back must be an object of the port.
static void op_freegc(replay *rp, stream *s) {
	const uint64_t v = rp->cur->a, size = rp->cur->b;
	const bool noscan = rp->cur->c != 0;
	const gomem_layout *L = layout_get(&rp->h->env);
	if (!noscan || !rp->h->runtimeFreegc || !reusableSize(L, (uintptr_t)size)) {
		replay_bad(
			rp, "event %" PRIu64 ": freegc of %" PRIu64 " bytes, which Go does not take back", event_number(rp), size);
	}
	const spanClass spc = makeSpanClass(sizeToClass(L, (uintptr_t)size), true);
	mspan *span = v >> 47 == 0 ? spanOfHeap(rp->h, (uintptr_t)v) : NULL;
	if (span == NULL || span->spanclass != spc || (v - mspan_base(span)) % span->elemsize != 0 ||
		mspan_isFree(span, mspan_objIndex(span, (uintptr_t)v))) {
		replay_stop(rp, "event %" PRIu64 ": the port has no object of %" PRIu64 " bytes at %#" PRIx64, event_number(rp),
			size, v);
	}
	replay_advance(rp);
	if (!freegc(rp->h, s->p, (uintptr_t)v, (uintptr_t)size, noscan)) {
		replay_bad(rp, "out of memory for an object that is given back");
	}
}

static void op_stackalloc(replay *rp, stream *s) {
	uint64_t n = rp->cur->a;
	bool bypass = rp->cur->b != 0;
	if (n < 2048 || n > (1u << 30) || (n & (n - 1)) != 0) {
		replay_bad(rp, "event %" PRIu64 ": a stack of %" PRIu64 " bytes", event_number(rp), n);
	}
	const uint64_t at = event_number(rp);
	replay_advance(rp);
	uintptr_t addr = stackalloc(rp->h, s->p, (uint32_t)n, bypass);
	needMemory(rp, at, addr);
	replay_wait(rp);
	if (rp->cur->kind != EV_STACKEND) {
		replay_stop(rp, "event %" PRIu64 ": the port's stackalloc ended, the recording has %s", event_number(rp),
			kind_name(rp->cur->kind));
	}
	replay_compare(rp, RK_STACK, "address of a stack", rp->cur->a, addr, addr);
	replay_advance(rp);
}

static void op_stackfree(replay *rp, stream *s) {
	uint64_t v = rp->cur->a, n = rp->cur->b;
	bool bypass = rp->cur->c != 0;
	mspan *span = v >> 47 == 0 ? spanOf(rp->h, (uintptr_t)v) : NULL;
	if (span == NULL || mspan_state(span) != mSpanManual || span->elemsize != n || n == 0 ||
		(v - mspan_base(span)) % n != 0 || span->allocCount == 0) {
		// A large stack has no allocCount: its span is the stack.
		bool large = span != NULL && mspan_state(span) == mSpanManual && span->elemsize == n && n >= 32768 &&
			mspan_base(span) == v;
		if (!large) {
			replay_stop(rp, "event %" PRIu64 ": the port has no stack of %#" PRIx64 " bytes at %#" PRIx64,
				event_number(rp), n, v);
		}
	}
	replay_advance(rp);
	stackfree(rp->h, s->p, (uintptr_t)v, (uintptr_t)n, bypass);
}

static gomem_p *other_p(replay *rp, uint64_t id) {
	stream *s = id < GMT_STREAM_M ? rp->streams[id] : NULL;
	if (s == NULL || s->p == NULL) {
		replay_stop(rp, "event %" PRIu64 ": %s names P %" PRIu64 ", which does not exist", event_number(rp),
			kind_name(rp->cur->kind), id);
	}
	return s->p;
}

static void op_pinit(replay *rp, uint64_t id) {
	stream *s = id < GMT_STREAM_M ? replay_stream(rp, (uint16_t)id) : NULL;
	if (s == NULL || s->p != NULL) {
		replay_stop(rp, "event %" PRIu64 ": P %" PRIu64 " begins twice", event_number(rp), id);
	}
	replay_advance(rp);
	s->p = p_init(rp->h, (int32_t)id);
	if (s->p == NULL) {
		replay_bad(rp, "out of memory for P %" PRIu64, id);
	}
}

static void op_flushpcache(replay *rp, uint64_t id) {
	gomem_p *p = other_p(rp, id);
	replay_advance(rp);
	lockTurn(&rp->h->env, &rp->h->lock, EV_PCFLUSH);
	pageCache_flush(&rp->h->env, &p->pcache, &rp->h->pages, (int)id);
	unlock(&rp->h->env, &rp->h->lock);
}

static void op_pdestroy(replay *rp, stream *s, uint64_t id) {
	gomem_p *p = other_p(rp, id);
	if (s->id == id) {
		replay_stop(rp, "event %" PRIu64 ": P %" PRIu64 " ends itself", event_number(rp), id);
	}
	replay_advance(rp);
	p_destroy(rp->h, s->p, p);
	rp->streams[id]->p = NULL;
}

static void op_preparesweep(replay *rp, stream *s, uint64_t id) {
	gomem_p *p = other_p(rp, id);
	uint64_t at = event_number(rp);
	replay_advance(rp);
	if (!mcache_prepareForSweep(rp->h, s->p, p->mcache)) {
		replay_stop(rp, "event %" PRIu64 ": the cache of P %" PRIu64 " has nothing to flush", at, id);
	}
}

static void op_sweepgen(replay *rp) {
	uint64_t want = rp->cur->a;
	gcSweep(rp->h);
	replay_compare(rp, RK_SWEEPGEN, "sweep generation", want, rp->h->sweepgen, 0);
	replay_advance(rp);
}

static void op_allocmanual(replay *rp, stream *s) {
	uint64_t npages = rp->cur->a;
	if (npages == 0 || npages > rp->max_heap >> 13) {
		replay_bad(rp, "event %" PRIu64 ": %" PRIu64 " pages", event_number(rp), npages);
	}
	replay_advance(rp);
	mheap_allocManual(rp->h, s->p, (uintptr_t)npages, spanAllocWorkBuf);
}

static void op_freemanual(replay *rp, stream *s) {
	mspan *span = span_at(rp, rp->cur->a, mSpanManual);
	replay_advance(rp);
	mheap_freeManual(rp->h, s->p, span, spanAllocWorkBuf);
}

static void op_ensureswept(replay *rp, stream *s) {
	mspan *span = span_at(rp, rp->cur->a, mSpanInUse);
	replay_advance(rp);
	mspan_ensureSwept(rp->h, s->p, span);
}

static void op_flushmcache(replay *rp, stream *s, uint64_t id) {
	gomem_p *p = other_p(rp, id);
	replay_advance(rp);
	mcache_releaseAll(rp->h, s->p, p->mcache);
	stackcache_clear(rp->h, s->p, p->mcache);
}

static void replay_begin(replay *rp, stream *s) {
	const uint8_t kind = rp->cur->kind;
	const uint64_t a = rp->cur->a;
	if (s->p == NULL && s->id < GMT_STREAM_M) {
		replay_stop(rp, "event %" PRIu64 ": P %u acts before it begins or after its end", event_number(rp), s->id);
	}
	if (kind < EV_MAX) {
		rp->out->given[kind]++;
	}
	switch ((gomem_ev)kind) {
	case EV_MALLOC:
		op_malloc(rp, s, true);
		return;
	case EV_MALLOCBEGIN:
		op_malloc(rp, s, false);
		return;
	case EV_FREEGC:
		op_freegc(rp, s);
		return;
	case EV_STACKALLOC:
		op_stackalloc(rp, s);
		return;
	case EV_STACKFREE:
		op_stackfree(rp, s);
		return;
	case EV_ALLOCMANUAL:
		op_allocmanual(rp, s);
		return;
	case EV_FREEMANUAL:
		op_freemanual(rp, s);
		return;
	case EV_SWEEPONE:
		replay_advance(rp);
		sweepone(rp->h, s->p);
		return;
	case EV_ENSURESWEPT:
		op_ensureswept(rp, s);
		return;
	case EV_SCAVENGE:
		scavenge_step(rp, s->p);
		return;
	case EV_PREPARESWEEP:
		op_preparesweep(rp, s, a);
		return;
	case EV_FLUSHMCACHE:
		op_flushmcache(rp, s, a);
		return;
	case EV_FLUSHPCACHE:
		op_flushpcache(rp, a);
		return;
	case EV_FREESTACKSPANS:
		replay_advance(rp);
		freeStackSpans(rp->h, s->p);
		return;
	case EV_GCPHASE:
		replay_advance(rp);
		setGCPhase(rp->h, (uint32_t)a);
		return;
	case EV_SWEEPGEN:
		op_sweepgen(rp);
		return;
	case EV_FINISHSWEEP:
		replay_advance(rp);
		finishsweep_reset(rp->h);
		return;
	case EV_NEXTGEN:
		replay_advance(rp);
		scavengeIndex_nextGen(&rp->h->env, &rp->h->pages.scav.index);
		return;
	case EV_PINIT:
		op_pinit(rp, a);
		return;
	case EV_PDESTROY:
		op_pdestroy(rp, s, a);
		return;
	default:
		break;
	}
	char who[32];
	replay_stop(rp, "event %" PRIu64 ", %s: the port is between operations, the recording has %s", event_number(rp),
		stream_name(rp, s->id, who), kind_name(kind));
}

// replay_op runs the operation that begins under the cursor.
static void replay_op(replay *rp, stream *s) {
	s->depth++;
	replay_begin(rp, s);
	s->depth--;
}

// ---- the whole replay

static const gomem_layout *replay_layout(const replay *rp) { return rp->layout != NULL ? rp->layout : &layout_host; }

static void replay_make_heap(replay *rp) {
	const gmt_header *head = gmt_reader_header(rp->r);
	gomem_policy policy = {
		.ctx = rp,
		.sweepActive = policy_sweepActive,
		.deductSweepCredit = policy_deductSweepCredit,
		.reclaim = policy_reclaim,
		.loadMarks = policy_loadMarks,
		.scavengeAssist = policy_scavengeAssist,
		.gcTrigger = policy_gcTrigger,
	};
#if GOMEM_LAB
	rp->lab = (gomem_lab){.ctx = rp, .turn = lab_on_turn, .event = lab_on_event, .busy = lab_on_busy};
#endif
	gomem_config cfg = {
		.os = &rp->os,
		.policy = &policy,
		.lab = &rp->lab,
		.rand_seed = head->rand_seed,
		.no_randomized_base = !head->randomize_heap_base,
		.no_greentea = !head->green_tea,
		.layout = rp->layout,
		.runtime_freegc = head->runtime_freegc,
		.throw_hook = replay_throw,
		.throw_ctx = rp,
	};
	rp->os.programEnd = (uintptr_t)gmt_program_end(rp->cur, rp->end);
	rp->h = gomem_heap_new_bare(&cfg);
	if (rp->h == NULL) {
		replay_bad(rp, "the heap cannot be made: %s", strerror(errno));
	}
	if (rp->unborn) {
		replay_stop(rp, "event %" PRIu64 ": the recording does not begin with the start of an allocator, but with %s",
			event_number(rp), kind_name(rp->cur->kind));
	}
}

static void run_stream(void *arg) {
	stream *s = arg;
	replay *rp = s->rp;
	if (rp->h == NULL) {
		replay_make_heap(rp);
	}
#if GOMEM_LAB
	for (;;) {
		replay_wait(rp);
		replay_op(rp, s);
	}
#else
	for (;;) {
		plain_settle(rp, false);
		if (rp->cur->kind == EV_NONE) {
			replay_leave(rp);
		}
		stream *next = replay_stream(rp, rp->cur->stream);
		if (next == NULL) {
			replay_bad(rp, "out of memory");
		}
		next->co = s->co;
		rp->running = next;
		replay_op(rp, next);
	}
#endif
}

static void replay_count_totals(gmt_reader *r, replay_result *out) {
	for (int k = 0; k < RK_MAX; k++) {
		const replay_info *info = &replay_infos[k];
		uint64_t n = 0;
		for (int i = 0; i < 2; i++) {
			n += info->events[i] != EV_NONE ? gmt_reader_count(r, (gomem_ev)info->events[i]) : 0;
			n += info->paths[i] >= 0 ? gmt_reader_path_count(r, (unsigned)info->paths[i]) : 0;
		}
		out->kinds[k].total = n;
	}
}

static void replay_free(replay *rp) {
	for (stream *s = rp->made, *next; s != NULL; s = next) {
		next = s->made;
#if GOMEM_LAB
		coro_free(s->co);
#endif
		free(s);
	}
	free((void *)rp->streams);
	span_seen *s = rp->seen;
	HASH_CLEAR(hh, rp->seen);
	while (s != NULL) {
		span_seen *next = s->hh.next;
		free(s);
		s = next;
	}
	free((void *)rp->spans);
	coro_free(rp->main);
	if (rp->under != NULL && rp->under->destroy != NULL) {
		rp->under->destroy(rp->under);
	}
}

// replay_unsupported names what this replay cannot follow yet; NULL: nothing.
static const char *replay_unsupported(const gmt_header *head, const gomem_layout *L) {
	if (head->page_size != layout_pageSize(L) || head->arena_bytes != L->heapArenaBytes) {
		return "the page or arena size is not that of its platform";
	}
	if (head->phys_page_size < 4096 || head->phys_page_size > 512 << 10 ||
		(head->phys_page_size & (head->phys_page_size - 1)) != 0) {
		return "the physical page size is out of range";
	}
	if ((head->phys_huge_page_size & (head->phys_huge_page_size - 1)) != 0 ||
		head->phys_huge_page_size > (uint64_t)1 << 30) {
		return "the huge page size is out of range";
	}
	return NULL;
}

static bool replay_start(replay *rp) {
	gmt_error err;
	const gmt_header *head = gmt_reader_header(rp->r);
	const char *no = replay_unsupported(head, replay_layout(rp));
	if (no != NULL) {
		snprintf(rp->out->error, sizeof(rp->out->error), "%s", no);
		return false;
	}
	rp->streams = calloc(GMT_MAX_STREAMS, sizeof(*rp->streams));
	rp->main = coro_self();
	if (rp->streams == NULL || rp->main == NULL || !replay_make_os(rp, head)) {
		snprintf(rp->out->error, sizeof(rp->out->error), "out of memory");
		return false;
	}
	if (!replay_load(rp, &err)) {
		snprintf(rp->out->error, sizeof(rp->out->error), "%s", err.text);
		return false;
	}
	if (rp->done) {
		snprintf(rp->out->error, sizeof(rp->out->error), "the recording has no events");
		return false;
	}
	stream *first = replay_stream(rp, rp->cur->stream);
	first->co = coro_new(REPLAY_STACK_BYTES, run_stream, first);
	if (first->co == NULL) {
		snprintf(rp->out->error, sizeof(rp->out->error), "out of memory");
		return false;
	}
	rp->running = first;
	return true;
}

static void replay_run_with(gmt_reader *r, const replay_options *opt, const gomem_layout *L, replay_result *out) {
	struct timespec t0, t1;
	clock_gettime(CLOCK_MONOTONIC, &t0);
	memset(out, 0, sizeof(*out));
	out->events = gmt_reader_events(r);
	replay_count_totals(r, out);
	replay *rp = calloc(1, sizeof(*rp));
	if (rp == NULL) {
		out->status = REPLAY_BAD_INPUT;
		snprintf(out->error, sizeof(out->error), "out of memory");
		return;
	}
	rp->r = r;
	rp->opt = opt;
	rp->layout = L;
	rp->max_heap = opt->max_heap != 0 ? opt->max_heap : DEFAULT_MAX_HEAP;
	rp->max_heap =
		rp->max_heap < layout_maxAlloc(replay_layout(rp)) ? rp->max_heap : layout_maxAlloc(replay_layout(rp));
	rp->out = out;
	if (replay_start(rp)) {
#if !GOMEM_LAB
		coro *only = rp->running->co;
#endif
		coro_switch(rp->main, rp->running->co);
#if !GOMEM_LAB
		coro_free(only);
#endif
	} else {
		out->status = REPLAY_BAD_INPUT;
	}
	out->peak_arena_bytes = rp->reserved;
	if (rp->h != NULL) {
		rp->h->env.lab = NULL; // nobody takes turns any more
		rp->h->env.throwHook = NULL;
		gomem_heap_destroy(rp->h);
	}
	replay_free(rp);
	free(rp);
	clock_gettime(CLOCK_MONOTONIC, &t1);
	out->seconds = (double)(t1.tv_sec - t0.tv_sec) + (double)(t1.tv_nsec - t0.tv_nsec) / 1e9;
}

#ifdef GOMEM_RUNTIME_LAYOUT
void replay_run_rt(gmt_reader *r, const replay_options *opt, const gomem_layout *L, replay_result *out) {
	replay_run_with(r, opt, L, out);
}
#elif GOMEM_LAB
void replay_run_lab(gmt_reader *r, const replay_options *opt, replay_result *out) {
	replay_run_with(r, opt, NULL, out);
}
#else
void replay_run_plain(gmt_reader *r, const replay_options *opt, replay_result *out) {
	replay_run_with(r, opt, NULL, out);
}
#endif
