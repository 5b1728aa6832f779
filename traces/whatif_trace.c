// whatif_trace.c: see whatif.h: the requests of a stock Go trace. A shadow of Go's heap, from what the trace says came and went.
//
// A cycle's sweep begins where the trace says that the cycle ended, or earlier, at the first object found dead after the world was
// stopped for the cycle: a thread may tell that before another tells the end.
//
// Invariants: of a span, slot[i].owner - 1 is the number of the object in slot i; 0: it is free; EARLY: its object is not told yet, and dead
//   a tiny object has no slot of its own: it dies with its block
//   numbers rise with the trace: deaths are kept by number, since objects at the start are sorted by address afterwards
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gomem/sizeclasses.h"
#include "traces/census.h"
#include "traces/gotrace.h"
#include "traces/grow.h"
#include "traces/whatif.h"
#include "traces/whatif_pages.h"

enum { MAX_PS = 1 << 15, MAX_OPS = 1 << 30 };
enum { TINY_CLASS = 5, TINY_BLOCK = 16, MAX_HEADERLESS = 512, HEADER = 8, MAX_SMALL = 32768 - HEADER };
enum { PROGRESS_EVERY = 1 << 16, MANUAL = GOTRACE_MANUAL };
static const uint32_t EARLY = UINT32_MAX;

typedef struct tslot {
	uint32_t owner;
	uint32_t op; // 1 + index of its request; 0: it was there at the start
} tslot;

typedef struct tspan {
	uint64_t base, npages, elemsize;
	uint32_t nelems, manual; // manual: its number
	uint32_t owed;           // ends of spans that were here before, told late
	uint16_t class;
	tslot slot[];
} tspan;

// What was there at the start.
typedef struct start_object {
	uint64_t addr;
	uint32_t number, type;
} start_object;

typedef struct start_span {
	uint64_t addr, npages;
	uint32_t manual;
	uint16_t class;
} start_span;

typedef struct list {
	void *p;
	size_t n, cap;
} list;

typedef struct reading {
	whatif_trace *t;
	gotrace *from;
	gmt_error *err;
	const char *path;
	const gotrace_event *e;
	whatif_pages pages;
	list ops, start, deaths, blocks,
		freed;           // whatif_op, whatif_op, uint32_t by number, same: 1 + the number of the block, by cycle
	list spans, objects; // start_span, start_object
	uint64_t inUse;
	uint32_t cycle, manuals;
	bool started, stopping, marking, early; // early: the cycle's sweep began before its end was told
	bool beyond;                            // a slot was taken that a span with inline mark bits doesn't have
} reading;

static bool bad(reading *r, const char *why) {
	if (r->e != NULL) {
		snprintf(r->err->text, sizeof(r->err->text), "%.400s: offset %" PRIu64 ": %s", r->path, r->e->offset, why);
	} else {
		snprintf(r->err->text, sizeof(r->err->text), "%.400s: %s", r->path, why);
	}
	return false;
}

// add gives room for one more, zeroed; NULL: out of memory.
static void *add(reading *r, list *l, size_t size) {
	if (l->n >= MAX_OPS || !array_grow(&l->p, &l->cap, l->n, size) || l->p == NULL) {
		(void)bad(r, "out of memory");
		return NULL;
	}
	return memset((char *)l->p + size * l->n++, 0, size);
}

// ---- spans

static tspan *span_of(reading *r, uint64_t addr) { return pages_span(&r->pages, addr); }

static void span_end(whatif_pages *m, void *span) {
	tspan *s = span;
	pages_clear(m, s->base, s->npages, s);
	free(s);
}

static tspan *span_new(reading *r, const gotrace_event *e) {
	const bool manual = e->class == MANUAL;
	const bool fits = e->n != 0 && e->n <= PAGES_MOST && (manual || e->class >> 1 < numSizeClasses) &&
		(manual || e->class >> 1 == 0 || e->n == class_to_allocnpages[e->class >> 1]);
	if (!fits) {
		(void)bad(r, "a span out of range");
		return NULL;
	}
	const uint64_t bytes = e->n << PAGE_BITS,
				   elemsize = manual || e->class >> 1 == 0 ? bytes : class_to_size[e->class >> 1];
	const uint64_t nelems = manual ? 0 : bytes / elemsize;
	tspan *s = calloc(1, (size_t)(sizeof(*s) + nelems * sizeof(s->slot[0])));
	if (s == NULL) {
		(void)bad(r, "out of memory");
		return NULL;
	}
	*s = (tspan){.base = e->addr, .npages = e->n, .elemsize = elemsize, .nelems = (uint32_t)nelems, .class = e->class};
	const char *why = pages_enter(&r->pages, s->base, s->npages, s);
	if (why != NULL) {
		free(s);
		(void)bad(r, why);
		return NULL;
	}
	s->manual = manual ? ++r->manuals : 0;
	r->inUse += manual ? 0 : bytes;
	if (r->started && r->inUse > r->t->peakInUse) {
		r->t->peakInUse = r->inUse;
	}
	return s;
}

// ---- sizes

// range_of: what a slot of this class may have been asked for. Pointers come in words, so that objects with some do.
static void range_of(const tspan *s, uint64_t *low, uint64_t *high) {
	const unsigned class = s->class >> 1;
	const bool scan = (s->class & 1) == 0;
	const uint64_t header = scan && class != 0 && class_to_size[class] > MAX_HEADERLESS ? HEADER : 0;
	const uint64_t below = class == 0 ? (s->npages - 1) << PAGE_BITS : class_to_size[class - 1];
	*high = s->elemsize - header;
	*low = below < header ? 1 : below - header + 1;
	if (header != 0 && *low <= MAX_HEADERLESS) {
		*low = MAX_HEADERLESS + 1;
	}
	if (class == 0 && *low <= MAX_SMALL) {
		*low = MAX_SMALL + 1;
	} else if (class != 0 && *high > MAX_SMALL) {
		*high = MAX_SMALL;
	}
	if (s->class == TINY_CLASS) {
		*low = 1;
	}
	*low = scan ? (*low + 7) & ~(uint64_t)7 : *low;
}

// narrow: what has a type is one or more of it.
static void narrow(const reading *r, uint32_t type, uint64_t *low, uint64_t *high) {
	const uint64_t size = type == 0 ? 0 : gotrace_type_of(r->from, type)->size;
	if (size == 0 || size > *high) {
		return;
	}
	const uint64_t least = (*low + size - 1) / size * size, most = *high / size * size;
	if (least <= most) {
		*low = least;
		*high = most;
	}
}

// ---- events

static whatif_op *add_op(reading *r, whatif_op_kind kind) {
	whatif_op *op = add(r, &r->ops, sizeof(*op));
	if (op == NULL) {
		return NULL;
	}
	const int32_t p = r->e->p >= 0 ? r->e->p : r->e->next_p;
	op->kind = (uint8_t)kind;
	op->p = p > 0 && p < MAX_PS ? (uint16_t)p : 0; // what a thread without a P tells late, P 0 does
	return op;
}

// begin_sweep: what was found dead from here on died in the next cycle.
static bool begin_sweep(reading *r) {
	if (!r->marking) {
		return true;
	}
	r->marking = false;
	r->early = true;
	whatif_op *op = add_op(r, WHATIF_CYCLE);
	uint32_t *freed = add(r, &r->freed, sizeof(*freed));
	if (op == NULL || freed == NULL) {
		return false;
	}
	op->n = ++r->cycle;
	return true;
}

static bool end_cycle(reading *r) {
	if (!r->early) {
		r->marking = true; // the cycle had begun before the trace did
	}
	const bool ok = begin_sweep(r);
	r->early = false;
	return ok;
}

static bool new_number(reading *r, uint32_t block, uint32_t *number) {
	uint32_t *death = add(r, &r->deaths, sizeof(*death)), *of = add(r, &r->blocks, sizeof(*of));
	if (death == NULL || of == NULL) {
		return false;
	}
	*death = WHATIF_NEVER;
	*of = block;
	*number = (uint32_t)r->deaths.n - 1;
	return true;
}

static void die(reading *r, uint32_t number) { ((uint32_t *)r->deaths.p)[number] = r->cycle; }

static tslot *slot_of(reading *r, const tspan *s, uint64_t addr) {
	const uint64_t i = s == NULL || s->class == MANUAL ? UINT64_MAX : (addr - s->base) / s->elemsize;
	if (s == NULL || i >= s->nelems) {
		return NULL;
	}
	r->beyond |= census_past_marks(s->class, addr - s->base);
	return (tslot *)&s->slot[i];
}

static bool on_startObject(reading *r, const gotrace_event *e) {
	start_object *o = add(r, &r->objects, sizeof(*o));
	if (o == NULL || !new_number(r, 0, &o->number)) {
		return false;
	}
	o->addr = e->addr;
	o->type = e->type;
	return true;
}

static bool on_startSpan(reading *r, const gotrace_event *e) {
	start_span *s = add(r, &r->spans, sizeof(*s));
	const tspan *made = s == NULL ? NULL : span_new(r, e);
	if (made == NULL) {
		return false;
	}
	*s = (start_span){.addr = e->addr, .npages = e->n, .manual = made->manual, .class = e->class};
	return true;
}

// shares: the block has a tiny object already, so that no one in it has 16 bytes; one that lies in its second half has 8 at most.
static void shares(reading *r, const tslot *slot, uint64_t addr, uint64_t *high) {
	whatif_op *first = slot->op == 0 ? NULL : &((whatif_op *)r->ops.p)[slot->op - 1];
	if (first != NULL && first->high == TINY_BLOCK && first->low < TINY_BLOCK) {
		first->high = TINY_BLOCK - 1;
	}
	const uint64_t room = addr % TINY_BLOCK >= 8 ? 8 : TINY_BLOCK - 1;
	*high = *high < room ? *high : room;
}

static bool on_object(reading *r, const gotrace_event *e) {
	const tspan *s = span_of(r, e->addr);
	tslot *slot = slot_of(r, s, e->addr);
	if (slot == NULL) {
		r->t->late++; // its span is gone already: it was dead when it was told
		return true;
	}
	const bool tiny = s->class == TINY_CLASS && slot->owner != 0 && slot->owner != EARLY;
	uint32_t number;
	whatif_op *op = add_op(r, WHATIF_MALLOC);
	if (op == NULL || !new_number(r, tiny ? slot->owner : 0, &number)) {
		return false;
	}
	range_of(s, &op->low, &op->high);
	if (tiny) {
		shares(r, slot, e->addr, &op->high);
	}
	narrow(r, e->type, &op->low, &op->high);
	op->scan = (s->class & 1) == 0;
	op->n = number;
	r->t->mallocs++;
	if (slot->owner == EARLY) {
		r->t->late++;
		die(r, number);
		*slot = (tslot){0};
	} else if (!tiny) {
		*slot = (tslot){.owner = number + 1, .op = (uint32_t)r->ops.n};
	}
	return true;
}

static bool note_swept(reading *r) {
	((uint32_t *)r->freed.p)[r->cycle]++;
	whatif_op *last = r->ops.n == 0 ? NULL : &((whatif_op *)r->ops.p)[r->ops.n - 1];
	if (last == NULL || last->kind != WHATIF_SWEPT) {
		last = add_op(r, WHATIF_SWEPT);
	}
	if (last == NULL) {
		return false;
	}
	last->n++;
	return true;
}

static bool on_objectFree(reading *r, const gotrace_event *e) {
	tslot *slot = slot_of(r, span_of(r, e->addr), e->addr);
	if (!begin_sweep(r)) {
		return false;
	}
	if (slot == NULL) {
		return true;
	}
	if (slot->owner == 0 || slot->owner == EARLY) {
		slot->owner = EARLY;
		return true;
	}
	die(r, slot->owner - 1);
	*slot = (tslot){0};
	return note_swept(r);
}

static bool span_gone(reading *r, tspan *s) {
	if (s->class != MANUAL && !begin_sweep(r)) {
		return false;
	}
	whatif_op *op = s->class == MANUAL ? add_op(r, WHATIF_MANUAL_FREE) : NULL;
	if (op != NULL) {
		op->n = s->manual;
	}
	for (uint32_t i = 0; i < s->nelems; i++) {
		if (s->slot[i].owner != 0 && s->slot[i].owner != EARLY) {
			die(r, s->slot[i].owner - 1);
		}
	}
	r->inUse -= s->class == MANUAL ? 0 : s->npages << PAGE_BITS;
	const bool ok = s->class != MANUAL || op != NULL;
	span_end(&r->pages, s);
	return ok;
}

static bool on_spanFree(reading *r, const gotrace_event *e) {
	tspan *s = span_of(r, e->addr);
	if (s == NULL || s->base != e->addr) {
		return true; // its beginning was not told: so in some traces of go1.23
	}
	if (s->owed > 0) {
		s->owed--;
		return true;
	}
	return span_gone(r, s);
}

// clear_place ends spans that lie where e has a new one: another thread tells their end later. *owed: ends of spans that begin there.
static bool clear_place(reading *r, const gotrace_event *e, uint32_t *owed) {
	for (uint64_t i = 0; i < e->n && i < PAGES_MOST; i++) {
		tspan *s = span_of(r, e->addr + (i << PAGE_BITS));
		if (s == NULL) {
			continue;
		}
		*owed += s->base == e->addr ? s->owed + 1 : 0;
		if (!span_gone(r, s)) {
			return false;
		}
	}
	return true;
}

static bool on_spanAlloc(reading *r, const gotrace_event *e) {
	uint32_t owed = 0;
	tspan *s = clear_place(r, e, &owed) ? span_new(r, e) : NULL;
	if (s == NULL) {
		return false;
	}
	s->owed = owed;
	if (s->class != MANUAL) {
		return true;
	}
	whatif_op *op = add_op(r, WHATIF_MANUAL);
	if (op == NULL) {
		return false;
	}
	op->low = op->high = s->npages << PAGE_BITS;
	op->n = s->manual;
	return true;
}

static bool on_procs(reading *r, const gotrace_event *e) {
	whatif_op *op = e->n == 0 || e->n > MAX_PS ? NULL : add_op(r, WHATIF_PROCS);
	if (op == NULL) {
		return e->n != 0 && e->n <= MAX_PS ? false : bad(r, "GOMAXPROCS out of range");
	}
	op->n = (uint32_t)e->n;
	r->t->procs = op->n > r->t->procs ? op->n : r->t->procs;
	return true;
}

static bool on_snapshotEnd(reading *r) {
	const start_object *o = r->objects.p;
	for (size_t i = 0; !r->started && i < r->objects.n; i++) {
		tslot *slot = slot_of(r, span_of(r, o[i].addr), o[i].addr);
		if (slot == NULL) {
			return bad(r, "an object at the start that lies in no span");
		}
		slot->owner = o[i].number + 1;
	}
	r->started = true;
	r->t->peakInUse = r->inUse;
	return true;
}

static bool on_event(reading *r, const gotrace_event *e) {
	switch ((gotrace_kind)e->kind) {
	case GOTRACE_SPAN:
		return on_startSpan(r, e);
	case GOTRACE_OBJECT:
		return on_startObject(r, e);
	case GOTRACE_SNAPSHOT_END:
		return on_snapshotEnd(r);
	case GOTRACE_SPAN_ALLOC:
		return on_spanAlloc(r, e);
	case GOTRACE_SPAN_FREE:
		return on_spanFree(r, e);
	case GOTRACE_OBJECT_ALLOC:
		return on_object(r, e);
	case GOTRACE_OBJECT_FREE:
		return on_objectFree(r, e);
	case GOTRACE_PROCS:
		return on_procs(r, e);
	case GOTRACE_GC_BEGIN:
		r->stopping = true;
		return true;
	case GOTRACE_STW_END:
		r->marking |= r->stopping;
		r->stopping = false;
		return true;
	case GOTRACE_GC_END:
		return end_cycle(r);
	default:
		return true;
	}
}

// ---- what was there at the start, by address

static int by_spanAddr(const void *a, const void *b) {
	const start_span *x = a, *y = b;
	return (x->addr > y->addr) - (x->addr < y->addr);
}

static int by_objectAddr(const void *a, const void *b) {
	const start_object *x = a, *y = b;
	return (x->addr > y->addr) - (x->addr < y->addr);
}

// fill_slot: a gap has all bytes that fit. So has a block of 16 bytes: how many tiny objects share it was told before the trace began.
static bool fill_slot(reading *r, const tspan *s, const start_object *o) {
	whatif_op *op = add(r, &r->start, sizeof(*op));
	uint32_t gap;
	if (op == NULL || (o == NULL && !new_number(r, 0, &gap))) {
		return false;
	}
	op->kind = WHATIF_MALLOC;
	range_of(s, &op->low, &op->high);
	if (o == NULL || s->class == TINY_CLASS) {
		op->low = op->high;
	} else {
		narrow(r, o->type, &op->low, &op->high);
	}
	op->scan = (s->class & 1) == 0;
	op->n = o == NULL ? gap : o->number;
	if (o == NULL) {
		((uint32_t *)r->deaths.p)[gap] = 0;
	}
	return true;
}

static bool fill_span(reading *r, const start_span *from, const start_object **o, const start_object *end) {
	const tspan s = {.npages = from->npages,
		.class = from->class,
		.elemsize = from->class >> 1 == 0 ? from->npages << PAGE_BITS : class_to_size[from->class >> 1]};
	const unsigned slots = census_class_slots(from->class, from->npages, r->t->greenTea);
	for (unsigned i = 0; i < slots; i++) {
		const uint64_t next = from->addr + (i + 1) * s.elemsize;
		const bool taken = *o < end && (*o)->addr < next;
		if (!fill_slot(r, &s, taken ? *o : NULL)) {
			return false;
		}
		while (*o < end && (*o)->addr < next) {
			(*o)++;
		}
	}
	return true;
}

static bool fill_start(reading *r) {
	const start_object *o = r->objects.p, *end = o + r->objects.n;
	const start_span *spans = r->spans.p;
	if (r->objects.n > 0) {
		qsort(r->objects.p, r->objects.n, sizeof(*o), by_objectAddr);
	}
	if (r->spans.n > 0) {
		qsort(r->spans.p, r->spans.n, sizeof(*spans), by_spanAddr);
	}
	for (size_t i = 0; i < r->spans.n; i++) {
		if (spans[i].class != MANUAL) {
			if (!fill_span(r, &spans[i], &o, end)) {
				return false;
			}
			continue;
		}
		whatif_op *op = add(r, &r->start, sizeof(*op));
		if (op == NULL) {
			return false;
		}
		*op = (whatif_op){.kind = WHATIF_MANUAL, .low = spans[i].npages << PAGE_BITS, .n = spans[i].manual};
	}
	return true;
}

// ---- the whole trace

static bool note_salvaged(reading *r) {
	const char *why = gotrace_salvaged(r->from);
	r->t->salvaged = why == NULL ? NULL : strdup(why);
	return why == NULL || r->t->salvaged != NULL || bad(r, "out of memory");
}

static bool read_events(reading *r, whatif_progress progress) {
	gotrace_event e;
	int got;
	for (uint64_t n = 1; (got = gotrace_next(r->from, &e, r->err)) > 0; n++) {
		r->e = &e;
		r->t->events = n;
		if (!on_event(r, &e)) {
			return false;
		}
		if (n % PROGRESS_EVERY == 0 && progress.call != NULL) {
			uint64_t size = 0;
			const uint64_t done = gotrace_read(r->from, &size);
			progress.call(progress.ctx, done, size);
		}
	}
	r->e = NULL;
	return got == 0 && note_salvaged(r) && (r->started || bad(r, "the trace has no snapshot of the heap"));
}

static void take_lists(reading *r) {
	whatif_trace *t = r->t;
	const whatif_op *ops = r->ops.p;
	t->ops = r->ops.p;
	t->nops = r->ops.n;
	t->start = r->start.p;
	t->nstart = r->start.n;
	t->startObjects = r->objects.n;
	t->freed = r->freed.p;
	t->cycles = t->lives.cycles = r->cycle - 1;
	t->lives.n = r->deaths.n;
	t->lives.death = r->deaths.p;
	const uint32_t *block = r->blocks.p;
	for (size_t i = 0; i < r->deaths.n; i++) {
		t->lives.death[i] = block[i] != 0 ? t->lives.death[block[i] - 1] : t->lives.death[i];
	}
	for (size_t i = 0; i < r->ops.n; i++) {
		t->exact += ops[i].kind == WHATIF_MALLOC && ops[i].low == ops[i].high;
	}
	r->ops.p = r->start.p = r->freed.p = r->deaths.p = NULL;
}

static bool read_all(reading *r, whatif_progress progress) {
	r->cycle = 1;
	if (!pages_init(&r->pages) || add(r, &r->freed, sizeof(uint32_t)) == NULL ||
		add(r, &r->freed, sizeof(uint32_t)) == NULL) {
		return bad(r, "out of memory");
	}
	if (!read_events(r, progress)) {
		return false;
	}
	// Inline mark bits came with go1.25, as an experiment.
	r->t->version = gotrace_version(r->from);
	r->t->greenTea = r->t->version >= 25 && !r->beyond;
	return fill_start(r);
}

bool whatif_read_trace(const char *path, bool salvage, whatif_trace *t, whatif_progress progress, gmt_error *err) {
	*t = (whatif_trace){0};
	reading r = {.t = t, .err = err, .path = path};
	r.from = gotrace_open(path, (gotrace_options){.salvage = salvage}, err);
	if (r.from == NULL) {
		return false;
	}
	const bool ok = read_all(&r, progress);
	if (ok) {
		take_lists(&r);
	}
	pages_free(&r.pages, span_end);
	free(r.ops.p);
	free(r.start.p);
	free(r.deaths.p);
	free(r.blocks.p);
	free(r.freed.p);
	free(r.spans.p);
	free(r.objects.p);
	gotrace_close(r.from);
	return ok;
}

void whatif_trace_free(whatif_trace *t) {
	free(t->ops);
	free(t->start);
	free(t->freed);
	free(t->lives.death);
	free(t->salvaged);
	*t = (whatif_trace){0};
}
