// gotrace.c: the events of a Go trace in one order, with their Ps and decoded addresses. docs/TRACES.md has the rules.
//
//   an M's events keep their order; between Ms the one whose next event is the earliest comes first, if equal that with the smaller number
//   all events of a generation come before those of the next
//   what was there at the start is told first, whatever the clock says: it was written while the world stood still
//   a P has at most one M, and an M at most one P
#include <stdio.h>

#include "traces/gotrace_wire.h"

enum { PAGE = 8192, ALIGN = 8, ADDRESS_BITS = 48, CLASSES = 136, MAX_STACK_ORDER = 40 };
static const uint64_t maxPages = (uint64_t)1 << (ADDRESS_BITS - 13);

// ---- the heap of Ms

static bool before(const gt_node *a, const gt_node *b) {
	return a->time != b->time ? a->time < b->time : a->id < b->id;
}

static void sift_down(gotrace *t, size_t i) {
	gt_node x = t->heap[i];
	for (;;) {
		size_t child = 2 * i + 1;
		if (child >= t->nheap) {
			break;
		}
		if (child + 1 < t->nheap && before(&t->heap[child + 1], &t->heap[child])) {
			child++;
		}
		if (!before(&t->heap[child], &x)) {
			break;
		}
		t->heap[i] = t->heap[child];
		i = child;
	}
	t->heap[i] = x;
}

static void begin_ms(gotrace *t) {
	for (size_t i = 0; i < t->nactive; i++) {
		gt_m *m = &t->ms[t->active[i]];
		m->walk = (gt_walk){.batch = m->first};
		m->live = gt_decode(t, &m->walk, &m->head);
	}
}

// begin_heap takes in all Ms that have events.
static int begin_heap(gotrace *t) {
	t->nheap = 0;
	for (size_t i = 0; i < t->nactive; i++) {
		const gt_m *m = &t->ms[t->active[i]];
		if (!m->live) {
			continue;
		}
		if (!array_grow(&t->heap, &t->heap_room, t->nheap, sizeof(*t->heap))) {
			return gt_fail(t, GMT_NO_OFFSET, "out of memory");
		}
		t->heap[t->nheap++] = (gt_node){m->head.time, m->id, t->active[i]};
	}
	for (size_t i = t->nheap / 2; i > 0; i--) {
		sift_down(t, i - 1);
	}
	return 0;
}

// advance reads the next event of the M on top.
static void advance(gotrace *t) {
	gt_m *m = &t->ms[t->heap[0].m];
	m->live = gt_decode(t, &m->walk, &m->head);
	if (m->live) {
		t->heap[0].time = m->head.time;
	} else {
		t->heap[0] = t->heap[--t->nheap];
	}
	if (t->nheap > 1) {
		sift_down(t, 0);
	}
}

// ---- what was there at the start

// snapshot_of counts the events of an M up to the last that tells what was there at the start. Those come before all other events of
// objects, so that looking ahead ends early on other Ms. *end: the event that ended it; ->why if that is damage, behind which more may stand.
static uint64_t snapshot_of(const gotrace *t, const gt_m *m, gt_head *end) {
	gt_walk w = {.batch = m->first};
	uint64_t last = 0;
	*end = (gt_head){0};
	for (uint64_t n = 1;
		 gt_decode(t, &w, end) && end->why == NULL && (end->type < GT_EV_SPAN || gt_is_snapshot(end->type)); n++) {
		last = gt_is_snapshot(end->type) ? n : last;
	}
	return last;
}

static int fail_snapshot(gotrace *t, const gt_head *h, uint64_t m) {
	return gt_fail(t, h->offset, "%s (type %u, thread %llu), before all of what was there at the start has been told",
		h->why, h->type, (unsigned long long)m);
}

// find_snapshot: without the whole of what was there at the start nothing can be said of what came later. So it is the end if damage may hide some of it.
static int find_snapshot(gotrace *t) {
	gt_head damage = {0};
	uint64_t damaged = 0;
	for (size_t i = 0; i < t->nactive; i++) {
		const gt_m *m = &t->ms[t->active[i]];
		gt_head end;
		uint64_t n = snapshot_of(t, m, &end);
		if (n > 0 && t->snap_left > 0) {
			return gt_fail(t, t->batches[m->first - 1].offset,
				"two threads (%llu, %llu) tell what was there at the start", (unsigned long long)t->ms[t->snap - 1].id,
				(unsigned long long)m->id);
		}
		if (n > 0) {
			t->snap = t->active[i] + 1;
			t->snap_left = n;
		}
		if (end.why != NULL && n > 0) {
			return fail_snapshot(t, &end, m->id);
		}
		if (end.why != NULL && damage.why == NULL) {
			damage = end;
			damaged = m->id;
		}
	}
	return damage.why != NULL && t->snap_left == 0 ? fail_snapshot(t, &damage, damaged) : 0;
}

// ---- Ps

// p_at gives a P its place. NULL: out of memory, or there is no such P.
static gt_p *p_at(gotrace *t, const gt_head *h) {
	uint64_t p = h->a[0];
	if (p >= GT_MAX_PS) {
		(void)gt_fail(t, h->offset, "P %llu: there are not so many", (unsigned long long)p);
		return NULL;
	}
	if (p >= t->p_room) {
		size_t room = t->p_room == 0 ? 64 : t->p_room;
		while (room <= p) {
			room *= 2;
		}
		gt_p *ps = realloc(t->ps, room * sizeof(*ps));
		if (ps == NULL) {
			(void)gt_fail(t, GMT_NO_OFFSET, "out of memory");
			return NULL;
		}
		memset(ps + t->p_room, 0, (room - t->p_room) * sizeof(*ps));
		t->ps = ps;
		t->p_room = room;
	}
	return &t->ps[p];
}

static void leave(gotrace *t, gt_m *m) {
	if (m->p >= 0) {
		t->ps[m->p].m = 0;
	}
	m->p = -1;
}

// enter gives an M a P. Whoever had either lost it: the event that says so has a later time, or is missing.
static void enter(gotrace *t, gt_m *m, gt_p *p) {
	leave(t, m);
	if (p->m != 0) {
		leave(t, &t->ms[p->m - 1]);
	}
	p->m = (uint32_t)(m - t->ms) + 1;
	m->p = (int32_t)(p - t->ps);
}

// ---- what a P's events wait for

// syscall_time: until when an M tells what it did before the system call in which it lost p; 0: it has told that, or it is not found.
static uint64_t syscall_time(const gotrace *t, const gt_m *m, uint64_t seq) {
	enum { AHEAD = 1 << 16 };
	gt_walk w = m->walk;
	gt_head h = m->head;
	uint64_t last = 0;
	bool there = m->live;
	for (int n = 0; there && h.why == NULL && n < AHEAD; n++) {
		last = h.time > last ? h.time : last;
		if (h.type == GT_EV_GO_SYSCALL_BEGIN && h.a[0] == seq) {
			return last;
		}
		there = gt_decode(t, &w, &h);
	}
	return 0;
}

// waits_until: a P is stolen in a system call, but the clock of the M that has it ran ahead of the thief's. So what that M did before comes first;
// and who gets the P waits for the thief. 0: it need not wait.
static uint64_t waits_until(gotrace *t, const gt_m *m) {
	const gt_head *h = &m->head;
	const uint64_t seq = h->a[1];
	const bool steal = h->type == GT_EV_PROC_STEAL, start = h->type == GT_EV_PROC_START;
	if (h->why != NULL || (!steal && !start) || h->a[0] >= t->p_room) {
		return 0;
	}
	gt_p *p = &t->ps[h->a[0]];
	if (p->gen != t->gen || seq < 2 || p->seq + 1 >= seq || p->m == 0) {
		return 0;
	}
	if (start) {
		return p->held + 1 == seq ? p->held_until + 1 : 0;
	}
	const gt_m *owner = &t->ms[p->m - 1];
	const uint64_t until = owner != m && owner->id == h->a[2] ? syscall_time(t, owner, seq - 1) : 0;
	if (until != 0) {
		p->held = seq;
		p->held_until = until + 1;
		return p->held_until;
	}
	return 0;
}

// hold_back lets the M on top wait; false: it need not.
static bool hold_back(gotrace *t) {
	gt_node *top = &t->heap[0];
	const gt_m *m = &t->ms[top->m];
	const uint64_t until = top->time == m->head.time ? waits_until(t, m) : 0;
	if (until <= top->time) {
		return false;
	}
	top->time = until;
	sift_down(t, 0);
	return true;
}

static int proc_start(gotrace *t, gt_m *m, gotrace_event *e) {
	gt_p *p = p_at(t, &m->head);
	if (p == NULL) {
		return -1;
	}
	p->gen = t->gen;
	p->seq = m->head.a[1];
	enter(t, m, p);
	e->p = m->p;
	e->kind = GOTRACE_PROC_START;
	return 1;
}

static int proc_status(gotrace *t, gt_m *m, gotrace_event *e) {
	enum { RUNNING = 1, SYSCALL = 3 };
	gt_p *p = p_at(t, &m->head);
	if (p == NULL) {
		return -1;
	}
	uint64_t status = m->head.a[1];
	if ((status != RUNNING && status != SYSCALL) || m->p == (int32_t)(p - t->ps) || m->id == GT_NO_M) {
		return 0;
	}
	enter(t, m, p);
	e->p = m->p;
	e->kind = GOTRACE_PROC_START;
	return 1;
}

static int proc_stop(gotrace *t, gt_m *m, gotrace_event *e) {
	if (m->p < 0) {
		return 0;
	}
	leave(t, m);
	e->kind = GOTRACE_PROC_STOP; // e->p: as it was
	return 1;
}

// proc_steal: a P goes away from an M in a system call. If the P has started again since, that said so already.
static int proc_steal(gotrace *t, gt_m *m, gotrace_event *e) {
	gt_p *p = p_at(t, &m->head);
	if (p == NULL) {
		return -1;
	}
	if (p->m == 0 || (p->gen == t->gen && m->head.a[1] <= p->seq)) {
		return 0;
	}
	if (t->ms[p->m - 1].id != m->head.a[2] && m->head.a[2] != GT_NO_M) {
		return 0;
	}
	p->gen = t->gen;
	p->seq = m->head.a[1];
	leave(t, &t->ms[p->m - 1]);
	e->p = (int32_t)(p - t->ps);
	e->kind = GOTRACE_PROC_STOP;
	return 1;
}

static int syscall_begin(gotrace *t, const gt_m *m) {
	if (m->p >= 0) {
		t->ps[m->p].gen = t->gen;
		t->ps[m->p].seq = m->head.a[0];
	}
	return 0;
}

// A flush frees, and says how much is live, before its P is known.
static bool in_flush(uint8_t type) {
	return type == GT_EV_OBJECT_FREE || type == GT_EV_SPAN_FREE || type == GT_EV_HEAP_ALLOC;
}

// next_p is the P that an M without one acquires next, with nothing but a flush before.
static int32_t next_p(const gotrace *t, gt_m *m) {
	if (!m->peeked) {
		gt_walk w = m->walk;
		gt_head h;
		bool there;
		while ((there = gt_decode(t, &w, &h)) && h.why == NULL && in_flush(h.type)) {
		}
		bool starts = there && h.why == NULL && h.type == GT_EV_PROC_START && h.a[0] < GT_MAX_PS;
		m->next_p = starts ? (int32_t)h.a[0] : -1;
		m->peeked = true;
	}
	return m->next_p;
}

// ---- events

// set_addr decodes an address. The lowest address of the heap may be undercut later: then the difference wraps around.
static int set_addr(gotrace *t, const gt_head *h, uint64_t unit, gotrace_event *e) {
	uint64_t offset;
	if (__builtin_mul_overflow(h->a[0], unit, &offset)) {
		return gt_fail(t, h->offset, "an address out of range (number %llu)", (unsigned long long)h->a[0]);
	}
	e->addr = t->min_addr + offset;
	if (e->addr == 0 || e->addr >> ADDRESS_BITS != 0) {
		return gt_fail(t, h->offset, "an address out of range (0x%llx)", (unsigned long long)e->addr);
	}
	return 1;
}

static int span(gotrace *t, const gt_head *h, gotrace_event *e) {
	uint64_t class = h->a[2] >> 1;
	bool manual = h->a[2] == 1;
	if (!manual && ((h->a[2] & 1) != 0 || class >= CLASSES)) {
		return gt_fail(t, h->offset, "a span of the kind %llu: there is none", (unsigned long long)h->a[2]);
	}
	if (h->a[1] == 0 || h->a[1] > maxPages) {
		return gt_fail(t, h->offset, "a span of %llu pages", (unsigned long long)h->a[1]);
	}
	e->n = h->a[1];
	e->class = (uint16_t)(manual ? GOTRACE_MANUAL : class);
	return set_addr(t, h, PAGE, e);
}

static int object(gotrace *t, const gt_head *h, gotrace_event *e) {
	uint64_t type = h->a[1] == 0 ? 0 : gt_map_get(&t->type_ids, h->a[1]);
	if (type == 0 && h->a[1] != 0) {
		return gt_fail(t, h->offset, "an object of type %llu, which no table of its generation defines",
			(unsigned long long)h->a[1]);
	}
	e->type = (uint32_t)type;
	return set_addr(t, h, ALIGN, e);
}

// stack: a goroutine that ended may have none: of the order 0, at address 0.
static int stack(gotrace *t, const gt_head *h, gotrace_event *e) {
	if (h->type == GT_EV_STACK_SNAP && h->a[1] == 0) {
		return 0;
	}
	if (h->a[1] == 0 || h->a[1] > MAX_STACK_ORDER) {
		return gt_fail(t, h->offset, "a stack of the order %llu", (unsigned long long)h->a[1]);
	}
	e->n = (uint64_t)1 << (h->a[1] - 1);
	return set_addr(t, h, t->fixed_stack, e);
}

static int memory_event(gotrace *t, const gt_head *h, gotrace_event *e) {
	e->kind = (uint8_t)(GOTRACE_SPAN + (h->type - GT_EV_SPAN));
	switch (h->type) {
	case GT_EV_SPAN:
	case GT_EV_SPAN_ALLOC:
		return span(t, h, e);
	case GT_EV_OBJECT:
	case GT_EV_OBJECT_ALLOC:
		return object(t, h, e);
	case GT_EV_STACK_SNAP:
	case GT_EV_STACK_ALLOC:
		return stack(t, h, e);
	default:
		return set_addr(t, h,
			h->type == GT_EV_SPAN_FREE         ? PAGE
				: h->type == GT_EV_OBJECT_FREE ? ALIGN
											   : t->fixed_stack,
			e);
	}
}

static int stw_begin(gotrace *t, const gt_head *h, gotrace_event *e) {
	e->kind = GOTRACE_STW_BEGIN;
	if (h->a[0] == 0) {
		return 1;
	}
	uint64_t place = gt_map_get(&t->string_ids, h->a[0]);
	if (place == 0) {
		return gt_fail(
			t, h->offset, "string %llu, which no table of this generation defines", (unsigned long long)h->a[0]);
	}
	uint32_t name = gt_number_of(t, &t->strings[place - 1], h->offset);
	if (name == 0) {
		return -1;
	}
	e->n = name;
	return 1;
}

static int number(gotrace_event *e, gotrace_kind kind, uint64_t n) {
	e->kind = (uint8_t)kind;
	e->n = n;
	return 1;
}

// ---- stacks

static const gt_stack *stack_of(const gotrace *t, uint64_t id) {
	const uint64_t place = gt_map_get(&t->stack_ids, id);
	const gt_stack *s = place != 0 ? &t->stacks[place - 1] : NULL;
	return s != NULL && s->functions[0] != 0 ? s : NULL;
}

// frame_of gives the number of the innermost frame whose function begins with name; GT_FRAMES: there is none.
static unsigned frame_of(const gotrace *t, const gt_stack *s, const char *name) {
	const size_t n = strlen(name);
	for (unsigned i = 0; i < GT_FRAMES && s->functions[i] != 0; i++) {
		const gt_string *f = &t->strings[s->functions[i] - 1];
		if (f->p != NULL && f->n >= n && memcmp(f->p, name, n) == 0) {
			return i;
		}
	}
	return GT_FRAMES;
}

// has_no_slot: mallocgc has not taken its slot yet in any of these functions.
static bool has_no_slot(const gotrace *t, const gt_stack *s, unsigned frame) {
	return frame == 0 || frame_of(t, s, "runtime.gcAssistAlloc") < frame ||
		frame_of(t, s, "runtime.deductAssistCredit") < frame || frame_of(t, s, "runtime.preMallocgcDebug") < frame;
}

// is_whole_mallocgc: the frame is mallocgc, and not one of its parts.
static bool is_whole_mallocgc(const gotrace *t, const gt_stack *s, unsigned frame) {
	return t->strings[s->functions[frame] - 1].n == strlen("runtime.mallocgc");
}

// stopped_where: since go1.24 the functions mallocgcTiny, ... take the slot, and begin a cycle; mallocgc tells of the object. In go1.23 it does all
// this, and tells before it begins a cycle.
static gotrace_where stopped_where(const gotrace *t, uint64_t id) {
	const gt_stack *s = stack_of(t, id);
	if (s == NULL) {
		return GOTRACE_UNKNOWN;
	}
	if (frame_of(t, s, "runtime.postMallocgcDebug") == 0) {
		return GOTRACE_IN_MALLOC;
	}
	if (frame_of(t, s, "runtime.bgsweep") != GT_FRAMES) {
		return GOTRACE_IN_SWEEPER;
	}
	const unsigned in = frame_of(t, s, "runtime.mallocgc");
	if (in == GT_FRAMES || is_whole_mallocgc(t, s, in) || has_no_slot(t, s, in)) {
		return GOTRACE_ELSEWHERE;
	}
	return frame_of(t, s, "runtime.gcStart") < in ? GOTRACE_IN_GC_START : GOTRACE_IN_MALLOC;
}

// begun_where: the stack of who begins a cycle is without gcStart.
static gotrace_where begun_where(const gotrace *t, uint64_t id) {
	const gt_stack *s = stack_of(t, id);
	const unsigned in = s != NULL ? frame_of(t, s, "runtime.mallocgc") : GT_FRAMES;
	return in == GT_FRAMES || is_whole_mallocgc(t, s, in) ? GOTRACE_ELSEWHERE : GOTRACE_IN_GC_START;
}

static gotrace_where swept_where(const gotrace *t, uint64_t id) {
	const gt_stack *s = stack_of(t, id);
	if (s == NULL) {
		return GOTRACE_UNKNOWN;
	}
	if (frame_of(t, s, "runtime.deductSweepCredit") != GT_FRAMES) {
		return GOTRACE_IN_CREDIT;
	}
	if (frame_of(t, s, "runtime.(*mheap).alloc") == 0) { // the rest is on another stack
		return GOTRACE_IN_RECLAIM;
	}
	return frame_of(t, s, "runtime.(*mcentral).cacheSpan") != GT_FRAMES ? GOTRACE_IN_MCENTRAL : GOTRACE_ELSEWHERE;
}

// other_event: 0 if it says nothing about memory.
static int other_event(gotrace *t, gt_m *m, gotrace_event *e) {
	const gt_head *h = &m->head;
	switch (h->type) {
	case GT_EV_PROCS_CHANGE:
		return number(e, GOTRACE_PROCS, h->a[0]);
	case GT_EV_PROC_START:
		return proc_start(t, m, e);
	case GT_EV_PROC_STOP:
		return proc_stop(t, m, e);
	case GT_EV_PROC_STEAL:
		return proc_steal(t, m, e);
	case GT_EV_PROC_STATUS:
		return proc_status(t, m, e);
	case GT_EV_GO_SYSCALL_BEGIN:
		return syscall_begin(t, m);
	case GT_EV_GO_START:
		return t->options.goroutines ? number(e, GOTRACE_GO_START, h->a[0]) : 0;
	case GT_EV_GO_STOP:
	case GT_EV_GO_BLOCK:
		return t->options.goroutines ? number(e, GOTRACE_GO_STOP, stopped_where(t, h->a[1])) : 0;
	case GT_EV_STW_BEGIN:
		return stw_begin(t, h, e);
	case GT_EV_STW_END:
		return number(e, GOTRACE_STW_END, 0);
	case GT_EV_GC_BEGIN:
		e->addr = t->options.goroutines ? (uint64_t)begun_where(t, h->a[1]) : GOTRACE_UNKNOWN;
		return number(e, GOTRACE_GC_BEGIN, h->a[0]);
	case GT_EV_GC_END:
		return number(e, GOTRACE_GC_END, h->a[0]);
	case GT_EV_SWEEP_BEGIN:
		return number(e, GOTRACE_SWEEP_BEGIN, swept_where(t, h->a[0]));
	case GT_EV_SWEEP_END:
		e->addr = h->a[0];
		return number(e, GOTRACE_SWEEP_END, h->a[1]);
	case GT_EV_HEAP_ALLOC:
		return number(e, GOTRACE_HEAP_ALLOC, h->a[0]);
	case GT_EV_HEAP_GOAL:
		return number(e, GOTRACE_HEAP_GOAL, h->a[0]);
	default:
		return 0;
	}
}

static uint64_t nanoseconds(const gotrace *t, uint64_t time) {
	if (time <= t->epoch) {
		return 0;
	}
	uint64_t ns;
	if (t->unit != 0 && !__builtin_mul_overflow(time - t->epoch, t->unit, &ns)) {
		return ns;
	}
	double d = (double)(time - t->epoch) * (1e9 / (double)t->frequency);
	return d < 1e18 ? (uint64_t)d : (uint64_t)1000000000000000000;
}

// tell makes an event of what an M did next: 1, 0 if it is of no interest, -1.
static int tell(gotrace *t, gt_m *m, gotrace_event *e) {
	const gt_head *h = &m->head;
	if (h->why != NULL) {
		return gt_fail(t, h->offset, "%s (type %u, thread %llu)", h->why, h->type, (unsigned long long)m->id);
	}
	t->counts[h->type]++;
	*e = (gotrace_event){.m = m->id,
		.p = m->p,
		.next_p = -1,
		.time = nanoseconds(t, h->time),
		.earliest = nanoseconds(t, h->earliest),
		.offset = h->offset};
	if (m->p < 0 && in_flush(h->type)) {
		e->next_p = next_p(t, m);
	} else {
		m->peeked = false;
	}
	if (h->type < GT_EV_SPAN) {
		return other_event(t, m, e);
	}
	if (gt_is_snapshot(h->type) && t->snap_left == 0) {
		return gt_fail(t, h->offset, "what was there at the start, among what came later (type %u)", h->type);
	}
	return memory_event(t, h, e);
}

// ---- generations

// begin_time makes the earliest batch of events of the first generation time 0.
static void begin_time(gotrace *t) {
	t->epoch = UINT64_MAX;
	for (size_t i = 0; i < t->nbatches; i++) {
		t->epoch = t->batches[i].time < t->epoch ? t->batches[i].time : t->epoch;
	}
}

static int no_objects(gotrace *t) {
	(void)gt_fail(t, t->in.offset,
		"a trace of go1.%u without objects: set GODEBUG=traceallocfree=1 in the environment of the program that writes the "
		"trace (e.g. GODEBUG=traceallocfree=1 go test -trace t.out); if it was set, the beginning is missing (flight "
		"recorder): generation %llu does not have it",
		t->version, (unsigned long long)t->gen);
	t->damaged = false;
	return -1;
}

// load reads a generation and begins to merge it: 1, 0 at the end, -1.
static int load(gotrace *t) {
	int got = gt_read_generation(t);
	if (got <= 0) {
		t->done = got == 0;
		return got;
	}
	uint64_t second = 1000000000;
	t->unit = second % t->frequency == 0 ? second / t->frequency : 0;
	if (t->generations == 1) {
		if (!t->has_info) {
			return no_objects(t);
		}
		begin_time(t);
		if (find_snapshot(t) != 0) {
			return -1;
		}
	}
	begin_ms(t);
	if (t->snap_left > 0) {
		return 1;
	}
	t->snap_end = !t->snap_told;
	return begin_heap(t) == 0 ? 1 : -1;
}

// tell_snapshot tells one of the events that come before all others.
static int tell_snapshot(gotrace *t, gotrace_event *e) {
	gt_m *m = &t->ms[t->snap - 1];
	int told = tell(t, m, e);
	if (told < 0) {
		return -1;
	}
	m->live = gt_decode(t, &m->walk, &m->head);
	if (--t->snap_left == 0) {
		t->snap_end = true;
		return begin_heap(t) == 0 ? told : -1;
	}
	return told;
}

static int next_event(gotrace *t, gotrace_event *e) {
	for (;;) {
		int told = 0;
		if (t->snap_left > 0) {
			told = tell_snapshot(t, e);
		} else if (t->snap_end) {
			t->snap_end = false;
			t->snap_told = true;
			*e = (gotrace_event){.kind = GOTRACE_SNAPSHOT_END,
				.p = -1,
				.next_p = -1,
				.m = GT_NO_M,
				.time = t->last_time,
				.offset = t->last_offset};
			return 1;
		} else if (t->nheap > 0 && hold_back(t)) {
			continue;
		} else if (t->nheap > 0) {
			told = tell(t, &t->ms[t->heap[0].m], e);
			if (told >= 0) {
				advance(t);
			}
		} else {
			int got = t->done ? 0 : load(t);
			if (got <= 0) {
				return got;
			}
		}
		if (told != 0) {
			return told;
		}
	}
}

// ---- the interface

// salvage makes a failure the end of the trace, if that was asked for and there is something to save.
static bool salvage(gotrace *t) {
	if (!t->options.salvage || !t->damaged || !t->snap_told) {
		return false;
	}
	t->salvaged = strdup(t->err.text);
	if (t->salvaged == NULL) {
		return false;
	}
	t->failed = 0;
	t->done = true;
	t->nheap = 0;
	return true;
}

// tell_failure: and whether something of the trace would remain.
static void tell_failure(const gotrace *t, gmt_error *err) {
	*err = t->err;
	if (t->damaged && t->options.salvage) {
		gmt_add(err, GMT_SALVAGE_EMPTY);
	} else if (t->damaged && t->snap_told) {
		gmt_add(err, GMT_SALVAGE_HELPS);
	}
}

int gotrace_next(gotrace *t, gotrace_event *e, gmt_error *err) {
	int told = t->failed;
	if (told == 0) {
		told = next_event(t, e);
	}
	if (told < 0 && salvage(t)) {
		told = 0;
	}
	if (told < 0) {
		tell_failure(t, err);
	} else if (told > 0) {
		t->last_time = e->time;
		t->last_offset = e->offset;
	}
	return told;
}

static bool begin(gotrace *t, const uint8_t *p, size_t n) {
	if (gt_input_open(&t->in, t->path, p, n, &t->err) != 0 || gt_read_header(t) != 0) {
		return false;
	}
	int got = load(t);
	if (got == 0) {
		(void)gt_fail(t, t->in.offset, "the trace is empty: the program must call trace.Stop before it ends");
	}
	return got > 0;
}

static gotrace *open_trace(const char *name, const uint8_t *p, size_t n, gotrace_options o, gmt_error *err) {
	gotrace *t = calloc(1, sizeof(*t));
	char *path = strdup(name);
	if (t == NULL || path == NULL) {
		(void)gmt_fail(err, name, GMT_NO_OFFSET, "out of memory");
		free(t);
		free(path);
		return NULL;
	}
	t->path = path;
	t->options = o;
	t->in.fd = -1;
	if (!begin(t, p, n)) {
		tell_failure(t, err);
		gotrace_close(t);
		return NULL;
	}
	return t;
}

gotrace *gotrace_open(const char *path, gotrace_options o, gmt_error *err) { return open_trace(path, NULL, 0, o, err); }

gotrace *gotrace_open_memory(const char *name, const uint8_t *p, size_t n, gotrace_options o, gmt_error *err) {
	static const uint8_t none;
	return open_trace(name, p == NULL ? &none : p, n, o, err);
}

void gotrace_close(gotrace *t) {
	if (t == NULL) {
		return;
	}
	gt_input_close(&t->in);
	for (gt_chunk *c = t->chunks; c != NULL;) {
		gt_chunk *next = c->next;
		free(c);
		c = next;
	}
	for (size_t i = 0; i < t->ntypes; i++) {
		free((void *)(uintptr_t)t->types[i].name);
	}
	for (size_t i = 0; i < t->nnames; i++) {
		free(t->names[i]);
	}
	gt_map *maps[] = {&t->places, &t->string_ids, &t->stack_ids, &t->type_ids, &t->m_ids, &t->type_hash, &t->name_hash};
	for (size_t i = 0; i < sizeof(maps) / sizeof(maps[0]); i++) {
		gt_map_free(maps[i]);
	}
	void *arrays[] = {t->path, t->batches, t->headers, t->strings, t->stacks, t->ms, t->active, t->ps, t->types,
		t->names, t->heap, t->salvaged};
	for (size_t i = 0; i < sizeof(arrays) / sizeof(arrays[0]); i++) {
		free(arrays[i]);
	}
	free(t);
}

const gotrace_type *gotrace_type_of(const gotrace *t, uint32_t type) {
	return type == 0 || type > t->ntypes ? NULL : &t->types[type - 1];
}

const char *gotrace_string(const gotrace *t, uint64_t number) {
	return number == 0 || number > t->nnames ? NULL : t->names[number - 1];
}

uint32_t gotrace_types(const gotrace *t) { return (uint32_t)t->ntypes; }
unsigned gotrace_version(const gotrace *t) { return t->version; }
uint64_t gotrace_generations(const gotrace *t) { return t->generations; }
uint64_t gotrace_min_addr(const gotrace *t) { return t->min_addr; }
const uint64_t *gotrace_counts(const gotrace *t) { return t->counts; }
const char *gotrace_salvaged(const gotrace *t) { return t->salvaged; }

uint64_t gotrace_read(const gotrace *t, uint64_t *size) {
	*size = t->in.size;
	return t->in.file;
}

static bool is_trace(const char *path, const uint8_t *p, size_t n) {
	static const char magic[] = "go 1.";
	uint8_t head[sizeof(magic)];
	size_t got = 0;
	const char *why = NULL;
	gmt_error err;
	gt_input in;
	bool opened = gt_input_open(&in, path, p, n, &err) == 0;
	if (opened) {
		(void)gt_input_bytes(&in, head, sizeof(magic) - 1, &got, &why);
	}
	// The beginning of a compressed file may not suffice to decompress anything.
	bool is = opened && memcmp(head, magic, got) == 0 && (in.kind != GT_PLAIN || got == sizeof(magic) - 1);
	gt_input_close(&in);
	return is;
}

bool gotrace_is(const uint8_t *p, size_t n) { return n > 0 && is_trace("", p, n); }
bool gotrace_is_file(const char *path) { return is_trace(path, NULL, 0); }

const char *gotrace_go(unsigned version, char buf[32]) {
	(void)snprintf(buf, 32, "go1.%u%s", version, version == 23 ? " or go1.24" : "");
	return buf;
}

const char *gotrace_kind_name(gotrace_kind k) {
	static const char *const names[GOTRACE_KINDS] = {
		[GOTRACE_SPAN] = "span",
		[GOTRACE_SPAN_ALLOC] = "span-alloc",
		[GOTRACE_SPAN_FREE] = "span-free",
		[GOTRACE_OBJECT] = "object",
		[GOTRACE_OBJECT_ALLOC] = "object-alloc",
		[GOTRACE_OBJECT_FREE] = "object-free",
		[GOTRACE_STACK] = "stack",
		[GOTRACE_STACK_ALLOC] = "stack-alloc",
		[GOTRACE_STACK_FREE] = "stack-free",
		[GOTRACE_SNAPSHOT_END] = "snapshot-end",
		[GOTRACE_GC_BEGIN] = "gc-begin",
		[GOTRACE_GC_END] = "gc-end",
		[GOTRACE_STW_BEGIN] = "stw-begin",
		[GOTRACE_STW_END] = "stw-end",
		[GOTRACE_SWEEP_BEGIN] = "sweep-begin",
		[GOTRACE_SWEEP_END] = "sweep-end",
		[GOTRACE_HEAP_ALLOC] = "heap-alloc",
		[GOTRACE_HEAP_GOAL] = "heap-goal",
		[GOTRACE_PROCS] = "procs",
		[GOTRACE_PROC_START] = "proc-start",
		[GOTRACE_PROC_STOP] = "proc-stop",
		[GOTRACE_GO_START] = "go-start",
		[GOTRACE_GO_STOP] = "go-stop",
	};
	return k < GOTRACE_KINDS ? names[k] : "?";
}
