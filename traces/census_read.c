// census_read.c: see census_read.h. A recording has all answers in it, so it is read, not replayed: spans from span-init and span-free,
// slots from the addresses of mallocs, deaths from the mark bits of sweeps. A trace says all of it, but not how many slots a span has:
// that is known after the first reading, by the slots that were ever taken.
#include "traces/census_read.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "traces/gotrace.h"

// No span has more pages, of small objects and of others: a made-up number costs no memory.
enum { STREAMS = 65536, MAX_SMALL_PAGES = 64, MAX_PAGES = 1 << 24 };

// What a stream has begun: its answer comes later.
typedef struct pending {
	uint64_t size, stack;
} pending;

typedef struct feed {
	census *c;
	pending *streams;
	const census_read_options *o;
	uint64_t done, total; // for progress, over both readings
	bool beyond;          // a slot was taken that a span with mark bits at its end (Green Tea) doesn't have
} feed;

static void malloc_done(census *c, uint64_t path, uint64_t addr, uint64_t size) {
	if (path == GOMEM_PATH_TINY_HIT) {
		census_take_tiny(c, addr, size);
	} else if (path == GOMEM_PATH_REUSE) {
		census_take_again(c, addr, size);
	} else {
		census_take(c, addr, size, 0);
	}
}

static void feed_span(census *c, const gmt_event *e) {
	unsigned type = (unsigned)(e->a & 3);
	unsigned class = type == 0 ? (unsigned)(e->a >> 2 & 255) : type == 1 ? CENSUS_STACK : CENSUS_WORK;
	// The counts are the file's word: no more slots than bytes, so that a made-up number costs no memory.
	uint64_t npages = e->d & 0xffffffff, nelems = type == 0 ? e->a >> 11 : 0;
	bool fits = type > 0 ||
		(class < CENSUS_HEAP && nelems <= 1024 && nelems * census_class_size(class) <= npages * CENSUS_PAGE);
	if (!fits || npages > MAX_PAGES || e->c % CENSUS_PAGE != 0) {
		c->odd.overlaps++;
		return;
	}
	census_span_begins(c, e->c, npages, class, (unsigned)nelems);
}

static void feed_sweep(census *c, const gmt_event *e, const gmt_block *b) {
	uint64_t before = e->a >> 17 & 0xffff;
	c->odd.counts += census_used(c, e->c) != before;
	census_sweep(c, e->c, e->nmarks != 0 ? b->marks + e->mark_index : NULL, e->nmarks, e->d >> 32 != 0);
	c->odd.counts += census_used(c, e->c) != e->d >> 32;
}

static void feed_event(feed *f, const gmt_event *e, const gmt_block *b) {
	census *c = f->c;
	pending *own = &f->streams[e->stream];
	switch ((gomem_ev)e->kind) {
	case EV_MALLOC:
		malloc_done(c, e->c, e->d, e->a);
		return;
	case EV_MALLOCBEGIN:
		own->size = e->a;
		return;
	case EV_MALLOCEND:
		malloc_done(c, e->a, e->b, own->size);
		return;
	case EV_FREEGC:
		census_give_back(c, e->a);
		return;
	case EV_SPANINIT:
		feed_span(c, e);
		return;
	case EV_SPANFREE:
		census_span_ends(c, e->c);
		return;
	case EV_SWEEP:
		feed_sweep(c, e, b);
		return;
	case EV_STACKALLOC:
		own->stack = e->a;
		return;
	case EV_STACKEND:
		census_stack_begins(c, e->a, own->stack);
		return;
	case EV_STACKFREE:
		census_stack_ends(c, e->a);
		return;
	case EV_GCPHASE:
		if (e->a == 1) {
			census_gc_begins(c);
		} else if (e->a == 0) {
			census_gc_ends(c);
		}
		return;
	default:
		return;
	}
}

static bool out_of_memory(const char *path, gmt_error *err) {
	(void)snprintf(err->text, sizeof(err->text), "%.400s: out of memory", path);
	return false;
}

static bool recording_events(feed *f, gmt_reader *r, gmt_error *err) {
	gmt_block b;
	int got;
	while ((got = gmt_next(r, &b, err)) > 0 && !f->c->failed) {
		for (uint32_t i = 0; i < b.n; i++) {
			census_at(f->c, b.first + i);
			feed_event(f, &b.events[i], &b);
		}
		f->done += b.n;
		if (f->o->progress != NULL) {
			f->o->progress(f->o->progress_ctx, f->done, f->total);
		}
	}
	census_finish(f->c, gmt_reader_events(r));
	return got >= 0;
}

static void note_salvaged(const char *why, census_source *to) {
	if (why != NULL) {
		(void)snprintf(to->salvaged, sizeof(to->salvaged), "%.500s", why);
	}
}

static void recording_about(const gmt_reader *r, census_source *to) {
	const gmt_header *h = gmt_reader_header(r);
	(void)snprintf(to->program, sizeof(to->program), "%.1000s", h->command);
	(void)snprintf(to->go, sizeof(to->go), "%s", h->goversion);
	to->gomaxprocs = h->gomaxprocs;
	to->greentea = h->green_tea;
	to->events = gmt_reader_events(r);
	note_salvaged(gmt_reader_salvaged(r), to);
}

// recording_read is one reading, with or without a plan.
static census *recording_read(const char *path, feed *f, const census_plan *plan, census_source *to, gmt_error *err) {
	gmt_reader *r = gmt_open_with(path, (gmt_options){.salvage = f->o->salvage}, err);
	if (r == NULL) {
		return NULL;
	}
	recording_about(r, to);
	f->total = 2 * gmt_reader_events(r);
	f->streams = calloc(STREAMS, sizeof(*f->streams));
	f->c = census_new(plan);
	bool good = f->c != NULL && f->streams != NULL;
	if (!good) {
		(void)out_of_memory(path, err);
	}
	good = good && recording_events(f, r, err);
	if (good && f->c->failed) {
		good = out_of_memory(path, err);
	}
	free(f->streams);
	gmt_close(r);
	if (!good) {
		census_free(f->c);
		return NULL;
	}
	return f->c;
}

// ---- traces

// trace_object: before the first reading is over, spans have all the slots that they can have.
static void trace_object(feed *f, const gotrace_event *e) {
	unsigned class = 0;
	uint64_t slot = census_slot(f->c, e->addr, &class);
	if (slot != UINT64_MAX) {
		f->beyond |= census_past_marks(class, slot * census_class_size(class));
	}
	census_take(f->c, e->addr, 0, e->type);
}

static void trace_event(feed *f, const gotrace_event *e, bool greentea) {
	census *c = f->c;
	unsigned class = e->class < CENSUS_HEAP ? e->class : CENSUS_MANUAL;
	bool span = e->kind == GOTRACE_SPAN || e->kind == GOTRACE_SPAN_ALLOC;
	if (span && e->n > (census_class_size(class) != 0 ? MAX_SMALL_PAGES : MAX_PAGES)) {
		c->odd.overlaps++;
		return;
	}
	switch ((gotrace_kind)e->kind) {
	case GOTRACE_SPAN:
	case GOTRACE_SPAN_ALLOC:
		census_span_begins(c, e->addr, e->n, class, census_class_slots(class, e->n, greentea));
		return;
	case GOTRACE_SPAN_FREE:
		census_span_ends(c, e->addr);
		return;
	case GOTRACE_OBJECT:
	case GOTRACE_OBJECT_ALLOC:
		trace_object(f, e);
		return;
	case GOTRACE_OBJECT_FREE:
		census_die(c, e->addr);
		return;
	case GOTRACE_STACK:
	case GOTRACE_STACK_ALLOC:
		census_stack_begins(c, e->addr, e->n);
		return;
	case GOTRACE_STACK_FREE:
		census_stack_ends(c, e->addr);
		return;
	case GOTRACE_GC_BEGIN:
		census_gc_begins(c);
		return;
	case GOTRACE_GC_END:
		census_gc_ends(c);
		return;
	default:
		return;
	}
}

static void trace_progress(feed *f, const gotrace *t) {
	uint64_t size = 0, done = gotrace_read(t, &size);
	if (f->o->progress != NULL) {
		f->o->progress(f->o->progress_ctx, f->done + done, 2 * size);
	}
}

// trace_events: the clock may step back, the axis does not.
static bool trace_events(feed *f, gotrace *t, census_source *to, gmt_error *err) {
	gotrace_event e;
	int got;
	uint64_t now = 0, n = 0;
	while ((got = gotrace_next(t, &e, err)) > 0 && !f->c->failed) {
		now = e.time > now ? e.time : now;
		census_at(f->c, now);
		trace_event(f, &e, to->greentea);
		if (e.kind == GOTRACE_SNAPSHOT_END) {
			to->start = f->c->used;
			to->start_bytes = f->c->used_bytes;
		}
		to->gomaxprocs = e.kind == GOTRACE_PROCS ? (unsigned)e.n : to->gomaxprocs;
		if (++n % 65536 == 0) {
			trace_progress(f, t);
		}
	}
	census_finish(f->c, now + 1);
	to->events = n;
	return got >= 0;
}

// trace_types copies the table: the names are the trace's.
static bool trace_types(const gotrace *t, census_source *to) {
	uint32_t n = gotrace_types(t);
	if (to->types != NULL) {
		return true;
	}
	to->types = calloc(n + 1U, sizeof(*to->types));
	to->ntypes = to->types == NULL ? 0 : n;
	for (uint32_t i = 1; i <= to->ntypes; i++) {
		const gotrace_type *type = gotrace_type_of(t, i);
		to->types[i].name = strdup(type->name);
		to->types[i].size = type->size;
		to->types[i].pointers = type->ptrbytes;
		if (to->types[i].name == NULL) {
			return false;
		}
	}
	return to->types != NULL;
}

static void trace_about(const gotrace *t, census_source *to) {
	(void)gotrace_go(gotrace_version(t), to->go);
	note_salvaged(gotrace_salvaged(t), to);
}

static census *trace_read(const char *path, feed *f, const census_plan *plan, census_source *to, gmt_error *err) {
	gotrace *t = gotrace_open(path, (gotrace_options){.salvage = f->o->salvage}, err);
	if (t == NULL) {
		return NULL;
	}
	// Mark bits at the end of spans came with go1.25, as an experiment.
	to->greentea = plan != NULL && gotrace_version(t) >= 25 && !f->beyond;
	to->trace = true;
	f->c = census_new(plan);
	bool good = f->c != NULL || out_of_memory(path, err);
	good = good && trace_events(f, t, to, err);
	if (good && (f->c->failed || (plan != NULL && !trace_types(t, to)))) {
		good = out_of_memory(path, err);
	}
	trace_about(t, to);
	uint64_t size = 0;
	f->done += gotrace_read(t, &size);
	gotrace_close(t);
	if (!good) {
		census_free(f->c);
		return NULL;
	}
	return f->c;
}

// ---- both

static census *read_once(const char *path, feed *f, const census_plan *plan, census_source *to, gmt_error *err) {
	return gotrace_is_file(path) ? trace_read(path, f, plan, to, err) : recording_read(path, f, plan, to, err);
}

static bool read_twice(const char *path, feed *f, census_source *to, gmt_error *err) {
	census *first = read_once(path, f, NULL, to, err);
	if (first == NULL) {
		return false;
	}
	bool planned = census_plan_from(first, f->o->columns, f->o->rows, &to->plan);
	census_free(first);
	if (!planned) {
		return out_of_memory(path, err);
	}
	to->census = read_once(path, f, &to->plan, to, err);
	return to->census != NULL;
}

bool census_read(const char *path, const census_read_options *o, census_source *to, gmt_error *err) {
	*to = (census_source){0};
	feed f = {.o = o};
	if (!read_twice(path, &f, to, err)) {
		census_source_free(to);
		return false;
	}
	const char *wrong = census_check(to->census);
	if (wrong != NULL) {
		(void)snprintf(err->text, sizeof(err->text), "%.400s: the census does not add up: %s", path, wrong);
		census_source_free(to);
		return false;
	}
	return true;
}

void census_source_free(census_source *s) {
	for (uint32_t i = 0; s->types != NULL && i <= s->ntypes; i++) {
		free(s->types[i].name);
	}
	free(s->types);
	census_free(s->census);
	census_plan_free(&s->plan);
	*s = (census_source){0};
}
