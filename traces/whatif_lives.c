// whatif_lives.c: see whatif.h: when each object of a recording died. A shadow of the recorded heap, from the recorded answers alone.
//
// Invariants: of a span in use, slot[i] - 1 is the number of the malloc that took slot i; 0: it is free or was never taken.
//   A tiny object has no slot of its own: it dies with its block.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gomem/sizeclasses.h"
#include "traces/grow.h"
#include "traces/whatif.h"
#include "traces/whatif_pages.h"

typedef struct shadow_span {
	uint64_t base, elemsize;
	uint32_t nelems, npages;
	uint32_t dropped; // 1 + an object that a sweep took from it
	uint32_t slot[];
} shadow_span;

// What a stream is doing. Mallocs, stack allocations and work buffers have an event that ends them; other operations end where the next begins.
typedef struct op_seen {
	uint64_t last;    // 1 + number of its last event
	uint8_t kinds[2]; // operations with an end that have begun, one in another
	uint8_t depth;
} op_seen;

typedef struct shadow {
	whatif_lives *lives;
	gmt_error *err;
	uint64_t event, cap;
	size_t capTargets;
	uint32_t *block;   // by malloc: 1 + the malloc whose block it lies in; 0: its own
	uint32_t *pending; // by stream: 1 + the malloc that has begun and not ended
	op_seen *ops;      // by stream
	whatif_pages spans;
	gmt_block from;
} shadow;

static bool shadow_bad(shadow *w, const char *why) {
	snprintf(w->err->text, sizeof(w->err->text), "event %" PRIu64 ": %s", w->event, why);
	return false;
}

static shadow_span *shadow_spanOf(shadow *w, uint64_t addr) { return pages_span(&w->spans, addr); }

static void shadow_gone(whatif_pages *m, void *span) {
	shadow_span *s = span;
	pages_clear(m, s->base, s->npages, s);
	free(s);
}

// ---- what the recording says

static bool shadow_newMalloc(shadow *w, uint32_t *number) {
	whatif_lives *l = w->lives;
	if (l->n == w->cap) {
		uint64_t cap = w->cap == 0 ? 1 << 16 : w->cap * 2;
		uint32_t *death = realloc(l->death, (size_t)(cap * sizeof(*death)));
		l->death = death != NULL ? death : l->death;
		uint64_t *sweep = realloc(l->sweep, (size_t)(cap * sizeof(*sweep)));
		l->sweep = sweep != NULL ? sweep : l->sweep;
		uint32_t *block = realloc(w->block, (size_t)(cap * sizeof(*block)));
		w->block = block != NULL ? block : w->block;
		if (death == NULL || sweep == NULL || block == NULL || cap >= WHATIF_NEVER) {
			return shadow_bad(w, "out of memory");
		}
		w->cap = cap;
	}
	l->death[l->n] = WHATIF_NEVER;
	l->sweep[l->n] = 0;
	w->block[l->n] = 0;
	*number = (uint32_t)l->n++;
	return true;
}

static bool shadow_place(shadow *w, uint32_t number, uint64_t path, uint64_t addr) {
	shadow_span *s = shadow_spanOf(w, addr);
	uint64_t i = s == NULL || s->elemsize == 0 ? UINT64_MAX : (addr - s->base) / s->elemsize;
	if (s == NULL || i >= s->nelems) {
		return shadow_bad(w, "an object that lies in no span");
	}
	if (path == GOMEM_PATH_TINY_HIT) {
		w->block[number] = s->slot[i];
	} else {
		s->slot[i] = number + 1;
	}
	return true;
}

static bool shadow_init(shadow *w, const gmt_event *e) {
	const uint64_t spc = e->a >> 2 & 0xff, nelems = e->a >> 11, npages = e->d & 0xffffffff;
	if ((e->a & 3) != 0) {
		return true;
	}
	if (npages == 0 || npages > PAGES_MOST || spc >> 1 >= numSizeClasses || nelems > 1 << 16) {
		return shadow_bad(w, "a span out of range");
	}
	shadow_span *s = calloc(1, (size_t)(sizeof(*s) + nelems * sizeof(s->slot[0])));
	if (s == NULL) {
		return shadow_bad(w, "out of memory");
	}
	s->base = e->c;
	s->npages = (uint32_t)npages;
	s->nelems = (uint32_t)nelems;
	s->elemsize = spc >> 1 == 0 ? npages << PAGE_BITS : class_to_size[spc >> 1];
	const char *why = pages_enter(&w->spans, s->base, s->npages, s);
	if (why != NULL) {
		free(s);
		return shadow_bad(w, why);
	}
	return true;
}

static bool shadow_free(shadow *w, const gmt_event *e) {
	shadow_span *s = shadow_spanOf(w, e->c);
	if (e->a == 0 && (s == NULL || s->base != e->c)) {
		return shadow_bad(w, "a span that is freed and not there");
	}
	if (e->a != 0) {
		return true;
	}
	shadow_gone(&w->spans, s);
	return true;
}

static bool shadow_sweep(shadow *w, const gmt_event *e) {
	shadow_span *s = shadow_spanOf(w, e->c);
	if (s == NULL || s->base != e->c) {
		return shadow_bad(w, "a span that is swept and not there");
	}
	const uint64_t *marks = w->from.marks + e->mark_index;
	const bool all = e->nmarks == 0 && e->d >> 32 != 0;
	for (uint32_t i = 0; i < s->nelems; i++) {
		const bool lives = all || (i / 64 < e->nmarks && (marks[i / 64] >> i % 64 & 1) != 0);
		if (!lives && s->slot[i] != 0) {
			w->lives->death[s->slot[i] - 1] = w->lives->cycles;
			w->lives->sweep[s->slot[i] - 1] = w->event;
			s->dropped = s->slot[i];
			s->slot[i] = 0;
		}
	}
	return true;
}

static bool shadow_target(shadow *w, uint64_t base) {
	whatif_lives *l = w->lives;
	if (!array_grow(&l->targets, &w->capTargets, (size_t)l->ntargets, sizeof(*l->targets))) {
		return shadow_bad(w, "out of memory");
	}
	whatif_target t = {.event = w->event, .object = WHATIF_NEVER};
	const shadow_span *s = shadow_spanOf(w, base);
	for (uint32_t i = 0; s != NULL && i < s->nelems && t.object == WHATIF_NEVER; i++) {
		t.object = s->slot[i] != 0 ? s->slot[i] - 1 : WHATIF_NEVER;
	}
	if (t.object == WHATIF_NEVER && s != NULL && s->dropped != 0) {
		t.object = s->dropped - 1;
	}
	l->targets[l->ntargets++] = t;
	return true;
}

static bool op_ends(uint8_t kind, const gmt_event *e) {
	switch ((gomem_ev)kind) {
	case EV_MALLOCBEGIN:
		return e->kind == EV_MALLOCEND;
	case EV_STACKALLOC:
		return e->kind == EV_STACKEND;
	default:
		return e->kind == EV_SPANINIT && (e->a & 3) == 2;
	}
}

// shadow_ops finds the last event of each operation.
static void shadow_ops(shadow *w, const gmt_event *e) {
	op_seen *op = &w->ops[e->stream];
	if (op->depth == 0 && op->last != 0 && gmt_kind((gomem_ev)e->kind)->input && e->kind != EV_RECLAIM &&
		e->kind != EV_SWEEPACTIVE) {
		w->lives->isLast[(op->last - 1) / 8] |= (uint8_t)(1u << (op->last - 1) % 8);
	}
	op->last = w->event + 1;
	const bool hasEnd = e->kind == EV_MALLOCBEGIN || e->kind == EV_STACKALLOC || e->kind == EV_ALLOCMANUAL;
	if (hasEnd && op->depth < sizeof(op->kinds)) {
		op->kinds[op->depth++] = e->kind;
	} else if (op->depth > 0 && op_ends(op->kinds[op->depth - 1], e)) {
		op->depth--;
	}
}

static bool shadow_event(shadow *w, const gmt_event *e) {
	uint32_t number;
	shadow_ops(w, e);
	w->lives->answers += e->kind == EV_MALLOC || !gmt_kind((gomem_ev)e->kind)->input;
	switch ((gomem_ev)e->kind) {
	case EV_MALLOC:
		return shadow_newMalloc(w, &number) && shadow_place(w, number, e->c, e->d);
	case EV_MALLOCBEGIN:
		if (!shadow_newMalloc(w, &number)) {
			return false;
		}
		w->pending[e->stream] = number + 1;
		return true;
	case EV_MALLOCEND:
		number = w->pending[e->stream];
		w->pending[e->stream] = 0;
		return number != 0 ? shadow_place(w, number - 1, e->a, e->b)
						   : shadow_bad(w, "a malloc that ends and did not begin");
	case EV_SPANINIT:
		return shadow_init(w, e);
	case EV_SPANFREE:
		return shadow_free(w, e);
	case EV_SWEEPGEN:
		w->lives->cycles++;
		return true;
	case EV_SWEEP:
		return shadow_sweep(w, e);
	case EV_RECLAIM:
	case EV_ENSURESWEPT:
		return shadow_target(w, e->a);
	default:
		return true;
	}
}

static void shadow_end(shadow *w) {
	pages_free(&w->spans, shadow_gone);
	free(w->pending);
	free(w->ops);
	free(w->block);
}

static int shadow_readAll(shadow *w, gmt_reader *r) {
	const gmt_block *block = &w->from;
	for (;;) {
		int got = gmt_next(r, &w->from, w->err);
		if (got <= 0) {
			return got;
		}
		for (uint32_t i = 0; i < block->n; i++) {
			w->event = block->first + i;
			if (!shadow_event(w, &block->events[i])) {
				return -1;
			}
		}
	}
}

int whatif_read_lives(gmt_reader *r, whatif_lives *lives, gmt_error *err) {
	*lives = (whatif_lives){0};
	shadow w = {
		.lives = lives,
		.err = err,
		.pending = calloc(GMT_MAX_STREAMS, sizeof(uint32_t)),
		.ops = calloc(GMT_MAX_STREAMS, sizeof(op_seen)),
	};
	int got = -1;
	lives->isLast = calloc((size_t)(gmt_reader_events(r) / 8 + 1), 1);
	if (!pages_init(&w.spans) || w.pending == NULL || w.ops == NULL || lives->isLast == NULL) {
		(void)shadow_bad(&w, "out of memory");
	} else {
		got = shadow_readAll(&w, r);
	}
	for (uint64_t i = 0; got == 0 && w.block != NULL && i < lives->n; i++) {
		const uint64_t block = w.block[i] != 0 ? w.block[i] - 1 : i;
		lives->death[i] = lives->death[block];
		lives->sweep[i] = lives->sweep[block];
	}
	shadow_end(&w);
	if (got != 0) {
		whatif_lives_free(lives);
	}
	return got;
}

void whatif_lives_free(whatif_lives *lives) {
	free(lives->death);
	free(lives->sweep);
	free(lives->targets);
	free(lives->isLast);
	*lives = (whatif_lives){0};
}
