// fuzz_replay.c: a small recording of a real program (data/replay.gmt), edited, against the verdict that the edits deserve.
//
// Let i be the first event that differs from the recording's. All before it is as Go did it, so the replay gets there, and:
//   none differs                                         -> every decision is equal
//   the recording ends before it, its heap was made      -> every decision is equal
//   only answers of event i have other values            -> a difference
//   only marks differ, and there are more or fewer       -> a difference: the span's live objects were counted
//   an answer of another kind stands in place of one     -> a difference
// Else an input has changed, and what it leads to may be the same. Whatever the edits are, the replay ends, with an error or without.
#include "fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "traces/gmt_format.h"
#include "traces/replay.h"

enum { MAX_EVENTS = 4096, MAX_MARKS = 4096 };

// The bytes of the recording, and how many. FUZZ_REPLAY_GMT is its path. Hidden, for aarch64: see traces/coro.c; aligned, for s390x.
__asm__(".section .rodata\n"
		"	.p2align 4\n"
		"fuzz_replay_gmt:\n"
		"	.incbin \"" FUZZ_REPLAY_GMT "\"\n"
		".Lfuzz_replay_gmt_end:\n"
		"	.byte 0\n"
		"	.p2align 3\n"
		"fuzz_replay_gmt_bytes:\n"
		"	.quad .Lfuzz_replay_gmt_end - fuzz_replay_gmt\n"
		"	.previous\n");
extern __attribute__((visibility("hidden"))) const uint8_t fuzz_replay_gmt[];
extern __attribute__((visibility("hidden"))) const uint64_t fuzz_replay_gmt_bytes;

typedef struct recording {
	gmt_header header;
	uint32_t n;
	gmt_event ev[MAX_EVENTS];
	uint64_t marks[MAX_MARKS + GMT_MAX_MARK_WORDS]; // the rest: a sweep that claims more marks than it had finds some
	uint64_t spans;
} recording;

typedef struct state {
	recording r; // edited
	bool other;  // the header is not the recording's
} state;

static recording original; // read once
static uint32_t birth;     // events that the making of the heap takes

// The fields that are answers, as tests/negative.c has them.
static const char *const answers[EV_MAX] = {
	[EV_MALLOC] = "cd",
	[EV_SWEEPGEN] = "a",
	[EV_MALLOCEND] = "ab",
	[EV_STACKEND] = "a",
	[EV_REFILL] = "ab",
	[EV_REFILLEND] = "abcd",
	[EV_PUSH] = "ab",
	[EV_POP] = "ab",
	[EV_SCLOAD] = "a",
	[EV_SCUPDATE] = "a",
	[EV_ACQUIRE] = "abc",
	[EV_SWEEP] = "abcd",
	[EV_PCREFILL] = "abc",
	[EV_PALLOC] = "abcd",
	[EV_MSPANALLOC] = "b",
	[EV_PCALLOC] = "abc",
	[EV_PCFLUSH] = "abcd",
	[EV_NEEDZERO] = "abc",
	[EV_SPANINIT] = "abcd",
	[EV_SPANFREE] = "abcd",
	[EV_RESERVE] = "ab",
	[EV_ARENA] = "abc",
	[EV_PGROW] = "ab",
	[EV_RANDPAD] = "ab",
	[EV_SCAVFIND] = "ab",
	[EV_SCAVBEGIN] = "ab",
	[EV_SCAVEND] = "ab",
	[EV_SCAVEMPTY] = "a",
	[EV_SPOOLALLOC] = "ab",
	[EV_SPOOLFREE] = "ab",
	[EV_STACKSCAN] = "a",
	[EV_SLARGEPOP] = "ab",
	[EV_SLARGEPUSH] = "ab",
	[EV_HINT] = "ab",
};

static const gmt_kind_info *info(const gmt_event *e) { return gmt_kind((gomem_ev)e->kind); }

// ---- the recording

static void readOriginal(void) {
	recording *o = &original;
	gmt_error err;
	gmt_block b;
	gmt_reader *r = gmt_open_memory("replay.gmt", fuzz_replay_gmt, (size_t)fuzz_replay_gmt_bytes, &err);
	fuzz_check(r != NULL && gmt_reader_events(r) <= MAX_EVENTS, "data/replay.gmt cannot be read");
	fuzz_check(gmt_next(r, &b, &err) > 0 && b.n == gmt_reader_events(r) && b.nmarks <= MAX_MARKS,
		"data/replay.gmt has more than one block");
	o->header = *gmt_reader_header(r);
	o->spans = gmt_reader_spans(r);
	o->n = b.n;
	memcpy(o->ev, b.events, b.n * sizeof b.events[0]);
	memcpy(o->marks, b.marks, (size_t)(b.nmarks * sizeof b.marks[0]));
	gmt_close(r);
	while (!info(&o->ev[birth])->input) {
		birth++;
	}
}

static void *begin(const uint64_t *config) {
	(void)config;
	if (original.n == 0) {
		readOriginal();
	}
	static state s;
	s.r.header = original.header;
	s.r.n = original.n;
	memcpy(s.r.ev, original.ev, original.n * sizeof original.ev[0]);
	memcpy(s.r.marks, original.marks, sizeof original.marks);
	s.other = false;
	return &s;
}

// ---- edits

// place gives the index of the nth event of a kind, counted round; kind 0: of any kind. n: there is none.
static uint32_t place(const recording *r, uint64_t kind, uint64_t nth) {
	if (kind == EV_NONE) {
		return r->n == 0 ? 0 : (uint32_t)(nth % r->n);
	}
	uint32_t count = 0;
	for (uint32_t i = 0; i < r->n; i++) {
		count += r->ev[i].kind == kind;
	}
	if (count == 0) {
		return r->n;
	}
	for (uint32_t i = 0, left = (uint32_t)(nth % count);; i++) {
		if (r->ev[i].kind == kind && left-- == 0) {
			return i;
		}
	}
}

static uint32_t shorter(uint64_t a, uint32_t b) { return a < b ? (uint32_t)a : b; }

static void drop(void *v, const uint64_t *a) {
	recording *r = &((state *)v)->r;
	const uint32_t at = place(r, a[0], a[1]), n = shorter(a[2] + 1, r->n - at);
	memmove(&r->ev[at], &r->ev[at + n], (r->n - at - n) * sizeof r->ev[0]);
	r->n -= n;
}

// copyTo puts a copy of a run of events before another event.
static void copyTo(void *v, const uint64_t *a) {
	recording *r = &((state *)v)->r;
	gmt_event run[16];
	const uint32_t at = place(r, a[0], a[1]), to = place(r, a[2], a[3]);
	const uint32_t n = shorter(shorter(a[4] + 1, r->n - at), MAX_EVENTS - r->n);
	memcpy(run, &r->ev[at], n * sizeof run[0]);
	memmove(&r->ev[to + n], &r->ev[to], (r->n - to) * sizeof r->ev[0]);
	memcpy(&r->ev[to], run, n * sizeof run[0]);
	r->n += n;
}

static void swap(void *v, const uint64_t *a) {
	recording *r = &((state *)v)->r;
	const uint32_t i = place(r, a[0], a[1]), k = place(r, a[2], a[3]);
	if (i < r->n && k < r->n) {
		const gmt_event e = r->ev[i];
		r->ev[i] = r->ev[k];
		r->ev[k] = e;
	}
}

// put replaces an event by one that is changed, unless the format doesn't know such an event.
static void put(gmt_event *to, gmt_event e) {
	uint64_t *fields[] = {&e.a, &e.b, &e.c, &e.d};
	for (unsigned f = info(&e)->nargs; f < 4; f++) {
		*fields[f] = 0;
	}
	e.a = e.kind == EV_MSPANALLOC ? 0 : e.a;
	const uint32_t marks = e.kind == EV_SWEEP ? gmt_sweep_marks(e.a, e.d) : 0;
	if (marks <= GMT_MAX_MARK_WORDS) {
		e.nmarks = (uint8_t)marks;
		*to = e;
	}
}

static uint64_t *field(gmt_event *e, uint64_t f) {
	uint64_t *fields[] = {&e->a, &e->b, &e->c, &e->d};
	return info(e)->nargs == 0 ? NULL : fields[f % info(e)->nargs];
}

static void add(void *v, const uint64_t *a) {
	recording *r = &((state *)v)->r;
	const uint32_t at = place(r, a[0], a[1]);
	if (at < r->n && info(&r->ev[at])->nargs > 0) {
		gmt_event e = r->ev[at];
		*field(&e, a[2]) += a[3];
		put(&r->ev[at], e);
	}
}

static void set(void *v, const uint64_t *a) {
	recording *r = &((state *)v)->r;
	const uint32_t at = place(r, a[0], a[1]);
	if (at < r->n && info(&r->ev[at])->nargs > 0) {
		gmt_event e = r->ev[at];
		*field(&e, a[2]) = a[3];
		put(&r->ev[at], e);
	}
}

static void kind(void *v, const uint64_t *a) {
	recording *r = &((state *)v)->r;
	const uint32_t at = place(r, a[0], a[1]);
	if (at < r->n && a[2] != EV_NONE) {
		gmt_event e = r->ev[at];
		e.kind = (uint8_t)a[2];
		put(&r->ev[at], e);
	}
}

static void stream(void *v, const uint64_t *a) {
	recording *r = &((state *)v)->r;
	const uint32_t at = place(r, a[0], a[1]);
	if (at < r->n) {
		r->ev[at].stream = (uint16_t)a[2];
	}
}

static void flip(void *v, const uint64_t *a) {
	recording *r = &((state *)v)->r;
	const uint32_t at = place(r, EV_SWEEP, a[0]);
	const uint64_t nelems = at < r->n ? r->ev[at].a >> 1 & 0xffff : 0;
	if (at < r->n && r->ev[at].nmarks > 0) {
		r->marks[r->ev[at].mark_index + a[1] % nelems / 64] ^= (uint64_t)1 << a[1] % nelems % 64;
	}
}

static void cut(void *v, const uint64_t *a) {
	recording *r = &((state *)v)->r;
	r->n = shorter(a[0], r->n);
}

static void head(void *v, const uint64_t *a) {
	state *s = v;
	gmt_header *h = &s->r.header;
	uint64_t *numbers[] = {&h->rand_seed, &h->phys_page_size, &h->phys_huge_page_size, &h->page_size, &h->arena_bytes};
	bool *flags[] = {&h->randomize_heap_base, &h->green_tea, &h->size_specialized_malloc, &h->runtime_freegc};
	s->other = true;
	if (a[0] < 5) {
		*numbers[a[0]] = a[1];
	} else if (a[0] < 9) {
		*flags[a[0] - 5] = (a[1] & 1) != 0;
	} else {
		h->godebug[0] = 0; // madvdontneed=0
	}
}

// ---- replaying

// renumber names spans by their first appearance, as the format wants it.
static void renumber(recording *r) {
	static uint64_t numbers[MAX_EVENTS + 2];
	uint64_t given = 0;
	memset(numbers, 0, sizeof numbers);
	for (uint32_t i = 0; i < r->n; i++) {
		gmt_event *e = &r->ev[i];
		if (info(e)->span_field != 'b' || e->b == 0) {
			continue;
		}
		uint64_t *number = &numbers[e->b <= original.spans ? e->b : original.spans + 1];
		*number = *number == 0 ? ++given : *number;
		e->b = *number;
	}
}

static void replay(const recording *r, replay_result *res) {
	gmt_error err;
	const replay_options opt = {.max_heap = (uint64_t)1 << 30};
	const gmt_block block = {.n = r->n, .events = r->ev, .marks = r->marks, .nmarks = MAX_MARKS};
	gmt_reader *in = gmt_open_events(&r->header, &block, &err);
	fuzz_check(in != NULL, "out of memory");
	replay_run_lab(in, &opt, res);
	gmt_close(in);
}

// ---- the verdict that is due

static bool sameMarks(const recording *r, const gmt_event *e, const gmt_event *o) {
	return e->nmarks == o->nmarks &&
		memcmp(&r->marks[e->mark_index], &original.marks[o->mark_index], e->nmarks * sizeof r->marks[0]) == 0;
}

static unsigned countMarks(const recording *r, const gmt_event *e) {
	unsigned n = 0;
	for (unsigned i = 0; i < (e->a >> 1 & 0xffff); i++) {
		n += (unsigned)(r->marks[e->mark_index + i / 64] >> i % 64 & 1);
	}
	return n;
}

// otherFields names the fields that differ.
static const char *otherFields(const gmt_event *e, const gmt_event *o, char names[5]) {
	unsigned n = 0;
	const bool other[] = {e->a != o->a, e->b != o->b, e->c != o->c, e->d != o->d};
	for (unsigned f = 0; f < 4; f++) {
		if (other[f]) {
			names[n++] = (char)('a' + f);
		}
	}
	names[n] = 0;
	return names;
}

static bool same(const gmt_event *e, const gmt_event *o) {
	return e->kind == o->kind && e->stream == o->stream && e->a == o->a && e->b == o->b && e->c == o->c && e->d == o->d;
}

static uint32_t firstOther(const recording *r) {
	uint32_t i = 0;
	while (i < r->n && i < original.n && same(&r->ev[i], &original.ev[i]) &&
		(r->ev[i].nmarks == 0 || sameMarks(r, &r->ev[i], &original.ev[i]))) {
		i++;
	}
	return i;
}

typedef enum due { DUE_EQUAL, DUE_DIFFERENCE, DUE_ANY } due;

static due dueVerdict(const state *s) {
	const recording *r = &s->r;
	const uint32_t i = firstOther(r);
	if (s->other) {
		return DUE_ANY;
	}
	if (i == r->n) {
		return r->n >= birth ? DUE_EQUAL : DUE_ANY;
	}
	const gmt_event *e = &r->ev[i], *o = &original.ev[i];
	if (i == original.n || e->stream != o->stream) {
		return DUE_ANY;
	}
	if (e->kind != o->kind) {
		return !info(e)->input && !info(o)->input ? DUE_DIFFERENCE : DUE_ANY;
	}
	char names[5];
	otherFields(e, o, names);
	if (names[0] == 0) {
		return countMarks(r, e) != countMarks(&original, o) ? DUE_DIFFERENCE : DUE_ANY;
	}
	const char *known = answers[e->kind] != NULL ? answers[e->kind] : "";
	return strspn(names, known) == strlen(names) && sameMarks(r, e, o) ? DUE_DIFFERENCE : DUE_ANY;
}

static void checkResult(const state *s, const replay_result *res) {
	uint64_t compared = 0, bad = 0;
	const bool whole = firstOther(&s->r) == original.n && s->r.n == original.n && !s->other;
	for (unsigned k = 0; k < RK_MAX; k++) {
		const replay_count *c = &res->kinds[k];
		compared += c->equal + c->tainted + c->differ;
		bad += c->tainted + c->differ;
		fuzz_check((c->first[0] != 0) == (c->differ != 0), "a difference is described if there is one");
		fuzz_check(!whole || c->equal == c->total, "all decisions of the recording are compared");
	}
	fuzz_equal("decisions", compared, res->compared);
	fuzz_equal("events", res->events, s->r.n);
	const bool equal = bad == 0 && res->error[0] == 0 && !res->stopped;
	fuzz_check((res->status == REPLAY_EQUAL) == equal, "the verdict says whether all was equal");
	fuzz_check(res->status != REPLAY_BAD_INPUT || res->error[0] != 0, "bad input is explained");
}

static void end(void *v) {
	state *s = v;
	static replay_result res;
	renumber(&s->r);
	replay(&s->r, &res);
	checkResult(s, &res);
	const due verdict = dueVerdict(s);
	if (verdict == DUE_EQUAL && res.status != REPLAY_EQUAL) {
		fuzz_fail("%u events of the recording are not replayed equal: %s", s->r.n, res.error);
	}
	if (verdict == DUE_DIFFERENCE && res.status == REPLAY_EQUAL) {
		fuzz_fail(
			"event %u (%s) was changed, nobody noticed", firstOther(&s->r), info(&s->r.ev[firstOther(&s->r)])->name);
	}
}

#define KIND                                                                                                           \
	{ "kind", 1, FUZZ_ANY, EV_MAX - 1 }
#define NTH                                                                                                            \
	{ "nth", 2, FUZZ_ANY, 0 }
#define FIELD                                                                                                          \
	{ "field", 1, FUZZ_ANY, 3 }
#define MORE                                                                                                           \
	{ "more", 1, FUZZ_ANY, 15 }

static const fuzz_op_info ops[] = {
	{"drop", {KIND, NTH, MORE}, drop},
	{"copy", {KIND, NTH, {"to", 1, FUZZ_ANY, EV_MAX - 1}, {"tonth", 2, FUZZ_ANY, 0}, MORE}, copyTo},
	{"swap", {KIND, NTH, {"with", 1, FUZZ_ANY, EV_MAX - 1}, {"withnth", 2, FUZZ_ANY, 0}}, swap},
	{"add", {KIND, NTH, FIELD, {"delta", 8, FUZZ_WORD, 0}}, add},
	{"set", {KIND, NTH, FIELD, {"value", 8, FUZZ_SIZE, 0}}, set},
	{"kind", {KIND, NTH, {"as", 1, FUZZ_ANY, EV_MAX - 1}}, kind},
	{"stream", {KIND, NTH, {"as", 2, FUZZ_ANY, 0}}, stream},
	{"flip", {NTH, {"bit", 2, FUZZ_INDEX, 0}}, flip},
	{"cut", {{"events", 2, FUZZ_ANY, MAX_EVENTS}}, cut},
	{"head", {{"field", 1, FUZZ_ANY, 9}, {"value", 8, FUZZ_WORD, 0}}, head},
};

FUZZ_TARGET(replay) = {
	.name = "replay",
	.what = "an edited recording against the verdict that the edits deserve",
	.ops = ops,
	.nops = sizeof ops / sizeof ops[0],
	.max_ops = 8,
	.begin = begin,
	.end = end,
};
