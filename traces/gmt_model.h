// gmt_model.h (private to gmt_*.c): how the events of a block become columns of numbers, and back.
//
// One description serves both directions: each function here is compiled once with enc true (fields go into columns) and once with enc
// false (columns give fields). A field is coded against what the same recording said before in the same block: never against what an
// allocator would do. Registers start at zero in each block, so each block decodes on its own.
//
//   decode(encode(e)) == e   whatever the registers hold: they only make the numbers small
//
// Everything here is part of format version 1: a change of any prediction changes the format.
#ifndef GOMEM_TRACES_GMT_MODEL_H
#define GOMEM_TRACES_GMT_MODEL_H

#include <stdlib.h>

#include "traces/gmt_format.h"

enum {
	GMT_DICT = 64, // ops from here on: mallocs of the block's dictionary
	GMT_DICT_MAX = 256 - GMT_DICT,
	GMT_OP_STREAM = 0, // the next event is of another stream
	GMT_CTX_MAX = 256, // streams with registers of their own in a block; the last is shared by all further ones
	GMT_SETS = 1024,
	GMT_SPANS = 1 << 14, // spans whose last mention is remembered
	GMT_STACK_ORDERS = 32,
	GMT_STACK_DEPTH = 8,
	GMT_SIZES = 68,
};

// Columns. Fields without a column of their own use COL_FIELD(kind, field).
enum {
	COL_OP,
	COL_STREAM,
	COL_DICT,
	COL_ADDR,                // one for each path, 0..7
	COL_WIDE = COL_ADDR + 8, // 8 bytes a number: what no prediction helps
	COL_MARKS,               // 8 bytes a word
	COL_RESERVED,
	COL_SWEEP_ALLOC,
	COL_SWEEP_FREEINDEX,
	COL_SWEEP_NALLOC,
	COL_SWEEP_OTHER,
	COL_INIT_NELEMS,
	COL_INIT_SCAV,
	COL_PUSH_SLOT,
	COL_POP_SLOT,
	COL_REFILL_INDEX,
	COL_REFILL_NELEMS,
	COL_FIELD0,
	COL_MAX = COL_FIELD0 + 4 * (int)EV_MAX,
};
_Static_assert((int)EV_MAX <= (int)GMT_DICT, "an op is a kind or a dictionary entry");

typedef struct gmt_col {
	uint8_t *p, *end; // next byte, end of the column (decoding) or of its room (encoding)
	uint8_t *buf;
} gmt_col;

// A size class of one stream: where its next object is expected.
typedef struct gmt_class {
	uint64_t next;
} gmt_class;

typedef struct gmt_ctx {
	gmt_class cls[256];    // by span class
	uint64_t cur[256];     // span of the last refill, by span class
	uint64_t tiny_end;     // end of the last tiny object
	uint64_t size, flags;  // of the EV_MALLOCBEGIN
	uint64_t spc;          // of the last EV_REFILL
	uint64_t span;         // mentioned last
	uint64_t base, npages; // of the last pages taken
	uint64_t pcache;       // where the page cache gave pages last
	uint64_t address;      // mentioned last in an operation
	uint64_t stack_bytes;
	uint64_t stacks[GMT_STACK_ORDERS][GMT_STACK_DEPTH]; // freed last, by log2 of their size
} gmt_ctx;

typedef struct gmt_span {
	uint64_t epoch; // the block in which it was mentioned: older ones count as unknown
	uint64_t number, base, npages, nelems;
	uint64_t mark, nmarks; // index of the first word and words of the marks of its last sweep
} gmt_span;

// A malloc of the dictionary.
typedef struct gmt_shape {
	uint64_t size;
	uint64_t next_mask; // tiny: alignment - 1
	uint32_t stride;
	uint8_t flags, path, spc, offset;
} gmt_shape;

typedef struct gmt_codec {
	gmt_col cols[COL_MAX];
	bool bad; // decoding: a column ended early or a number is out of range. encoding: no memory
	uint64_t epoch;
	uint64_t *marks;
	uint64_t nmarks;
	gmt_ctx *ctx;  // of the current stream
	gmt_ctx **all; // GMT_CTX_MAX, NULL before they are first needed
	uint32_t nctx;
	uint16_t stream;
	uint8_t *slot;                          // by gmt_slot_index of a stream: 1 + its place in all; 0: none yet
	uint32_t slots;                         // a power of two; streams beyond it have no registers yet
	uint64_t last[COL_MAX];                 // last value of a field, whatever its stream
	uint64_t push[GMT_SETS], pop[GMT_SETS]; // next slot, by set
	gmt_span *spans;                        // span_room, by number
	uint64_t span_room;                     // a power of two: GMT_SPANS, or max_span < span_room
	uint64_t max_span;                      // spans named so far
	uint32_t ndict;
	gmt_shape dict[GMT_DICT_MAX];
} gmt_codec;

#define GMT_INLINE static inline __attribute__((always_inline))

// ---- numbers

GMT_INLINE uint64_t gmt_zz(uint64_t v) { return v << 1 ^ (uint64_t) - (int64_t)(v >> 63); }
GMT_INLINE uint64_t gmt_unzz(uint64_t v) { return v >> 1 ^ (uint64_t) - (int64_t)(v & 1); }

bool gmt_col_grow(gmt_col *k);
uint64_t gmt_col_get_slow(gmt_codec *c, gmt_col *k);

GMT_INLINE void gmt_col_put(gmt_codec *c, gmt_col *k, uint64_t v) {
	if (k->end - k->p < 10 && !gmt_col_grow(k)) {
		c->bad = true;
		return;
	}
	while (v >= 0x80) {
		*k->p++ = (uint8_t)(v | 0x80);
		v >>= 7;
	}
	*k->p++ = (uint8_t)v;
}

GMT_INLINE uint64_t gmt_col_get(gmt_codec *c, gmt_col *k) {
	if (k->p < k->end && *k->p < 0x80) {
		return *k->p++;
	}
	return gmt_col_get_slow(c, k);
}

// A number in its column.
GMT_INLINE uint64_t gmt_io(gmt_codec *c, bool enc, unsigned col, uint64_t v) {
	if (!enc) {
		return gmt_col_get(c, &c->cols[col]);
	}
	gmt_col_put(c, &c->cols[col], v);
	return v;
}

// Eight bytes in a column.
GMT_INLINE uint64_t gmt_io_wide(gmt_codec *c, bool enc, unsigned col, uint64_t v) {
	gmt_col *k = &c->cols[col];
	if (enc) {
		if (k->end - k->p < 10 && !gmt_col_grow(k)) {
			c->bad = true;
			return v;
		}
		k->p = gmt_put64(k->p, v);
		return v;
	}
	if (k->end - k->p < 8) {
		c->bad = true;
		return 0;
	}
	k->p += 8;
	return gmt_get64(k->p - 8);
}

// A number near pred.
GMT_INLINE uint64_t gmt_io_delta(gmt_codec *c, bool enc, unsigned col, uint64_t v, uint64_t pred) {
	return pred + gmt_unzz(gmt_io(c, enc, col, gmt_zz(v - pred)));
}

// A number near the last one of the same column.
GMT_INLINE uint64_t gmt_io_last(gmt_codec *c, bool enc, unsigned col, uint64_t v) {
	return c->last[col] = gmt_io_delta(c, enc, col, v, c->last[col]);
}

// A word that is equal to pred, or else eight bytes.
GMT_INLINE uint64_t gmt_io_word(gmt_codec *c, bool enc, unsigned col, uint64_t v, uint64_t pred) {
	if (gmt_io(c, enc, col, v != pred) == 0) {
		return pred;
	}
	return gmt_io_wide(c, enc, COL_WIDE, v);
}

// An address whose distance from pred is mostly a multiple of stride: even codes are multiples, odd ones bytes, 1 eight bytes.
GMT_INLINE uint64_t gmt_io_addr(gmt_codec *c, bool enc, unsigned col, uint64_t v, uint64_t pred, uint64_t stride) {
	uint64_t code = 0;
	if (enc) {
		int64_t d = (int64_t)(v - pred);
		bool near = d < (int64_t)1 << 52 && d > -((int64_t)1 << 52);
		if (near && d % (int64_t)stride == 0) {
			code = gmt_zz((uint64_t)(d / (int64_t)stride)) << 1;
		} else {
			code = near ? gmt_zz((uint64_t)d) << 1 | 1 : 1;
		}
	}
	code = gmt_io(c, enc, col, code);
	if (code == 0) {
		return pred;
	}
	if ((code & 1) == 0) {
		return pred + gmt_unzz(code >> 1) * stride;
	}
	return code == 1 ? gmt_io_wide(c, enc, COL_WIDE, v) : pred + gmt_unzz(code >> 1);
}

// ---- registers

GMT_INLINE gmt_span *gmt_span_of(gmt_codec *c, uint64_t number) {
	gmt_span *s = &c->spans[number & (c->span_room - 1)];
	if (s->number != number || s->epoch != c->epoch) {
		*s = (gmt_span){.epoch = c->epoch, .number = number};
	}
	return s;
}

// gmt_span_grow makes the table large enough for max_span. false: out of memory.
bool gmt_span_grow(gmt_codec *c);

// A span number: 0 the expected one, 1 none, 2 a new one, else 3 + distance from the expected one.
GMT_INLINE uint64_t gmt_io_span(gmt_codec *c, bool enc, unsigned col, uint64_t v, uint64_t pred) {
	uint64_t code = 0;
	if (enc && v != pred) {
		code = v == 0 ? 1 : v == c->max_span + 1 ? 2 : 3 + gmt_zz(v - pred);
	}
	code = gmt_io(c, enc, col, code);
	v = code == 0 ? pred : code == 1 ? 0 : code == 2 ? c->max_span + 1 : pred + gmt_unzz(code - 3);
	if (v > c->max_span) {
		if (v != c->max_span + 1 || v > GMT_MAX_SPANS) {
			c->bad = true;
			return 0;
		}
		c->max_span = v;
		c->bad |= v >= c->span_room && !gmt_span_grow(c);
	}
	c->ctx->span = v != 0 ? v : c->ctx->span;
	return v;
}

// The size classes by which addresses are grouped: a constant of the format. Another table would cost bytes, not correctness.
extern const uint16_t gmt_sizes[GMT_SIZES];
void gmt_shape_init(gmt_shape *s, uint64_t size, uint64_t flags, uint64_t path);

// The address that a malloc returned.
GMT_INLINE uint64_t gmt_io_malloc(gmt_codec *c, bool enc, const gmt_shape *s, uint64_t v) {
	gmt_ctx *x = c->ctx;
	if (s->path == GOMEM_PATH_TINY_HIT) {
		v = gmt_io_addr(c, enc, COL_ADDR, v, (x->tiny_end + s->next_mask) & ~s->next_mask, 1);
		x->tiny_end = v + s->size;
		return v;
	}
	if (s->path == GOMEM_PATH_LARGE) {
		return gmt_io_addr(c, enc, COL_ADDR + GOMEM_PATH_LARGE, v, x->base, 8192);
	}
	gmt_class *k = &x->cls[s->spc];
	v = gmt_io_addr(c, enc, COL_ADDR + s->path, v, k->next + s->offset, s->stride);
	k->next = v - s->offset + s->stride;
	if (s->path == GOMEM_PATH_TINY_NEW && (x->tiny_end == 0 || s->size <= ((x->tiny_end - 1) & 15))) {
		x->tiny_end = v + s->size;
	}
	return v;
}

#define COL_FIELD(k, f) ((unsigned)COL_FIELD0 + 4u * (unsigned)(k) + (unsigned)(f))

// ---- kinds

// Fields without any relation to others: small numbers.
GMT_INLINE void gmt_io_plain(gmt_codec *c, bool enc, gmt_event *e, unsigned nargs) {
	uint64_t *f[4] = {&e->a, &e->b, &e->c, &e->d};
	for (unsigned i = 0; i < nargs; i++) {
		*f[i] = gmt_io(c, enc, COL_FIELD(e->kind, i), *f[i]);
	}
}

GMT_INLINE gmt_ctx *gmt_stack_list(gmt_ctx *x, uint64_t bytes, uint64_t **list) {
	unsigned order = bytes == 0 ? 0 : 63 - (unsigned)__builtin_clzll(bytes);
	*list = x->stacks[order & (GMT_STACK_ORDERS - 1)];
	return x;
}

// A stack address: taken from the stacks that this stream freed last (code 1 + place), else 0 and near the last one.
GMT_INLINE uint64_t gmt_io_stack(gmt_codec *c, bool enc, uint64_t v) {
	uint64_t *list;
	gmt_ctx *x = gmt_stack_list(c->ctx, c->ctx->stack_bytes, &list);
	uint64_t code = 0;
	for (unsigned i = 0; enc && i < GMT_STACK_DEPTH && code == 0; i++) {
		code = list[i] == v && v != 0 ? i + 1 : 0;
	}
	code = gmt_io(c, enc, COL_FIELD(EV_STACKEND, 0), code);
	if (code == 0 || code > GMT_STACK_DEPTH) {
		c->bad |= code != 0;
		return x->address = gmt_io_delta(c, enc, COL_FIELD(EV_STACKEND, 1), v, x->address);
	}
	v = list[code - 1];
	memmove(&list[code - 1], &list[code], (size_t)((GMT_STACK_DEPTH - code) * sizeof(list[0])));
	list[GMT_STACK_DEPTH - 1] = 0;
	return x->address = v;
}

GMT_INLINE void gmt_io_operation(gmt_codec *c, bool enc, gmt_event *e) {
	gmt_ctx *x = c->ctx;
	unsigned k = e->kind;
	uint64_t *list;
	switch (k) {
	case EV_MALLOC: // a size that is not in the dictionary
	{
		gmt_shape s;
		gmt_io_plain(c, enc, e, 3);
		gmt_shape_init(&s, e->a, e->b, e->c);
		e->d = gmt_io_malloc(c, enc, &s, e->d);
		return;
	}
	case EV_MALLOCBEGIN:
		gmt_io_plain(c, enc, e, 2);
		x->size = e->a;
		x->flags = e->b;
		return;
	case EV_STACKALLOC:
		gmt_io_plain(c, enc, e, 2);
		x->stack_bytes = e->a;
		return;
	case EV_STACKFREE:
		e->b = gmt_io(c, enc, COL_FIELD(k, 1), e->b);
		e->c = gmt_io(c, enc, COL_FIELD(k, 2), e->c);
		e->a = x->address = gmt_io_delta(c, enc, COL_FIELD(k, 0), e->a, x->address);
		gmt_stack_list(x, e->b, &list);
		memmove(list + 1, list, (GMT_STACK_DEPTH - 1) * sizeof(list[0]));
		list[0] = e->a;
		return;
	case EV_FREEMANUAL:
	case EV_ENSURESWEPT:
	case EV_RECLAIM:
	case EV_SWEEPGEN:
		e->a = gmt_io_last(c, enc, COL_FIELD(k, 0), e->a);
		return;
	case EV_FREEGC:
		e->a = gmt_io_last(c, enc, COL_FIELD(k, 0), e->a);
		e->b = gmt_io(c, enc, COL_FIELD(k, 1), e->b);
		e->c = gmt_io(c, enc, COL_FIELD(k, 2), e->c);
		return;
	case EV_SWEEPONE:
	case EV_FREESTACKSPANS:
	case EV_FINISHSWEEP:
	case EV_NEXTGEN:
		return;
	case EV_SCAVENGE:
		gmt_io_plain(c, enc, e, 2);
		return;
	default: // EV_ALLOCMANUAL, EV_SWEEPACTIVE, EV_PREPARESWEEP, EV_FLUSHMCACHE, EV_FLUSHPCACHE, EV_GCPHASE, EV_PINIT, EV_PDESTROY
		gmt_io_plain(c, enc, e, 1);
		return;
	}
}

// The fields of EV_SWEEP, and its mark bits.
GMT_INLINE void gmt_io_sweep(gmt_codec *c, bool enc, gmt_event *e) {
	e->b = gmt_io_span(c, enc, COL_FIELD(EV_SWEEP, 1), e->b, c->ctx->span);
	gmt_span *s = gmt_span_of(c, e->b);
	uint64_t low = gmt_io(c, enc, COL_FIELD(EV_SWEEP, 0), e->a & 0x1ffff);
	uint64_t nelems = low >> 1 & 0xffff;
	uint64_t count = gmt_io_delta(c, enc, COL_SWEEP_ALLOC, e->a >> 17 & 0xffff, nelems);
	uint64_t index = gmt_io_delta(c, enc, COL_SWEEP_FREEINDEX, e->a >> 33, count);
	if (!enc) {
		c->bad |= low > 0x1ffff || count > 0xffff || index > (uint64_t)1 << 31;
		e->a = low | count << 17 | index << 33;
	}
	e->c = s->base =
		gmt_io_delta(c, enc, COL_FIELD(EV_SWEEP, 2), e->c, s->base != 0 ? s->base : c->last[COL_FIELD(EV_SWEEP, 2)]);
	c->last[COL_FIELD(EV_SWEEP, 2)] = e->c;
	uint64_t npages = gmt_io(c, enc, COL_FIELD(EV_SWEEP, 3), e->d & 0xffffffff);
	// Live objects: 0 none, 1 all, 2 as many as mark bits, 3 another number.
	uint64_t nalloc = e->d >> 32;
	uint64_t how = 0;
	if (enc) {
		uint64_t bits = 0;
		for (unsigned i = 0; i < e->nmarks; i++) {
			bits += (unsigned)__builtin_popcountll(c->marks[e->mark_index + i]);
		}
		how = nalloc == 0 ? 0 : nalloc == nelems ? 1 : e->nmarks != 0 && nalloc == bits ? 2 : 3;
	}
	how = gmt_io(c, enc, COL_SWEEP_NALLOC, how);
	if (how == 3) {
		nalloc = gmt_io(c, enc, COL_SWEEP_OTHER, nalloc);
	}
	if (enc) {
		for (unsigned i = 0; i < e->nmarks; i++) {
			gmt_io_wide(c, enc, COL_MARKS, c->marks[e->mark_index + i]);
		}
	} else {
		c->bad |= npages > 0xffffffff || nalloc > 0xffffffff || how > 3;
		uint64_t n = how == 2 ? (nelems + 63) / 64 : how == 3 ? gmt_sweep_marks(e->a, nalloc << 32) : 0;
		if (n > GMT_MAX_MARK_WORDS || c->bad) {
			c->bad = true;
			return;
		}
		e->nmarks = (uint8_t)n;
		e->mark_index = (uint32_t)c->nmarks;
		uint64_t bits = 0;
		for (unsigned i = 0; i < n; i++) {
			uint64_t w = gmt_io_wide(c, enc, COL_MARKS, 0);
			bits += (unsigned)__builtin_popcountll(w);
			c->marks[c->nmarks++] = w;
		}
		nalloc = how == 0 ? 0 : how == 1 ? nelems : how == 2 ? bits : nalloc;
		e->d = npages | nalloc << 32;
		c->bad |= n != gmt_sweep_marks(e->a, e->d);
	}
	s->mark = e->mark_index;
	s->nmarks = e->nmarks;
	s->npages = npages;
	s->nelems = nelems;
}

GMT_INLINE void gmt_io_refillend(gmt_codec *c, bool enc, gmt_event *e) {
	gmt_ctx *x = c->ctx;
	uint64_t spc = gmt_io(c, enc, COL_FIELD(EV_REFILLEND, 0), (e->a & 0xff) ^ (x->spc & 0xff)) ^ (x->spc & 0xff);
	uint64_t index = gmt_io(c, enc, COL_REFILL_INDEX, e->a >> 8);
	if (!enc) {
		c->bad |= spc > 0xff || index >> 56 != 0;
		e->a = (spc & 0xff) | index << 8;
	}
	spc &= 0xff;
	e->b = x->cur[spc] = gmt_io_span(c, enc, COL_FIELD(EV_REFILLEND, 1), e->b, x->span);
	gmt_span *s = gmt_span_of(c, e->b);
	// The cache that the marks of its last sweep give, all free if there were none.
	uint64_t cache = ~(uint64_t)0;
	if (index / 64 < s->nmarks) {
		cache = ~c->marks[s->mark + index / 64] >> (index & 63);
	}
	e->c = gmt_io_word(c, enc, COL_FIELD(EV_REFILLEND, 2), e->c, cache);
	uint64_t nelems = gmt_io_delta(c, enc, COL_REFILL_NELEMS, e->d >> 16, s->nelems);
	uint64_t count = gmt_io(c, enc, COL_FIELD(EV_REFILLEND, 3), e->d & 0xffff);
	if (!enc) {
		c->bad |= count > 0xffff || nelems >> 48 != 0;
		e->d = count | nelems << 16;
	}
	s->nelems = nelems;
	uint64_t stride = gmt_sizes[(spc >> 1) % GMT_SIZES];
	x->cls[spc].next = s->base + index * stride;
}

GMT_INLINE void gmt_io_set(gmt_codec *c, bool enc, gmt_event *e, unsigned slots, uint64_t *next) {
	unsigned k = e->kind;
	uint64_t set = gmt_io(c, enc, COL_FIELD(k, 0), e->a & (GMT_SETS - 1));
	if (set >= GMT_SETS) {
		c->bad = true;
		return;
	}
	uint64_t slot = gmt_io_delta(c, enc, slots, e->a >> 10, next[set]);
	next[set] = slot + 1;
	c->bad |= slot >> 54 != 0;
	e->a = set | slot << 10;
	uint64_t pred = k == EV_PUSH ? c->ctx->span : c->last[COL_FIELD(k, 1)];
	e->b = gmt_io_span(c, enc, COL_FIELD(k, 1), e->b, pred);
	c->last[COL_FIELD(k, 1)] = e->b != 0 ? e->b : c->last[COL_FIELD(k, 1)];
}

GMT_INLINE void gmt_io_answer(gmt_codec *c, bool enc, gmt_event *e) {
	gmt_ctx *x = c->ctx;
	unsigned k = e->kind;
	switch (k) {
	case EV_MALLOCEND: {
		gmt_shape s;
		e->a = gmt_io(c, enc, COL_FIELD(k, 0), e->a);
		gmt_shape_init(&s, x->size, x->flags, e->a);
		e->b = gmt_io_malloc(c, enc, &s, e->b);
		return;
	}
	case EV_STACKEND:
		e->a = gmt_io_stack(c, enc, e->a);
		return;
	case EV_REFILL:
		e->a = x->spc = gmt_io(c, enc, COL_FIELD(k, 0), e->a);
		e->b = gmt_io_span(c, enc, COL_FIELD(k, 1), e->b, x->cur[e->a & 0xff]);
		return;
	case EV_REFILLEND:
		gmt_io_refillend(c, enc, e);
		return;
	case EV_PUSH:
		gmt_io_set(c, enc, e, COL_PUSH_SLOT, c->push);
		return;
	case EV_POP:
		gmt_io_set(c, enc, e, COL_POP_SLOT, c->pop);
		return;
	case EV_ACQUIRE:
		e->b = gmt_io_span(c, enc, COL_FIELD(k, 1), e->b, x->span);
		e->a = gmt_io(c, enc, COL_FIELD(k, 0), e->a);
		e->c = gmt_io(c, enc, COL_FIELD(k, 2), e->c);
		return;
	case EV_SWEEP:
		gmt_io_sweep(c, enc, e);
		return;
	default: // EV_SCLOAD, EV_SCUPDATE, EV_SCAVEMPTY, EV_STACKSCAN, EV_MCACHEALLOC
		if (k != EV_MCACHEALLOC) {
			e->a = gmt_io_last(c, enc, COL_FIELD(k, 0), e->a);
		}
		return;
	}
}

GMT_INLINE void gmt_io_pages(gmt_codec *c, bool enc, gmt_event *e) {
	gmt_ctx *x = c->ctx;
	unsigned k = e->kind;
	switch (k) {
	case EV_PCREFILL:
		e->a = gmt_io_last(c, enc, COL_FIELD(k, 0), e->a);
		e->b = gmt_io_word(c, enc, COL_FIELD(k, 1), e->b, ~(uint64_t)0);
		e->c = gmt_io_word(c, enc, COL_FIELD(k, 2), e->c, 0);
		x->pcache = e->a;
		return;
	case EV_PALLOC:
		e->a = x->npages = gmt_io(c, enc, COL_FIELD(k, 0), e->a);
		e->b = x->base = gmt_io_addr(c, enc, COL_FIELD(k, 1), e->b, c->last[COL_FIELD(k, 1)], 8192);
		e->c = gmt_io(c, enc, COL_FIELD(k, 2), e->c);
		e->d = gmt_io_addr(c, enc, COL_FIELD(k, 3), e->d, c->last[COL_FIELD(k, 3)], 8192);
		c->last[COL_FIELD(k, 1)] = e->b + e->a * 8192;
		c->last[COL_FIELD(k, 3)] = e->d;
		return;
	case EV_PCALLOC:
		e->a = x->npages = gmt_io(c, enc, COL_FIELD(k, 0), e->a);
		e->b = x->base = gmt_io_addr(c, enc, COL_FIELD(k, 1), e->b, x->pcache, 8192);
		e->c = gmt_io(c, enc, COL_FIELD(k, 2), e->c);
		x->pcache = e->b != 0 ? e->b + e->a * 8192 : x->pcache;
		return;
	case EV_PCFLUSH:
		e->a = gmt_io(c, enc, COL_FIELD(k, 0), e->a);
		e->b = gmt_io_addr(c, enc, COL_FIELD(k, 1), e->b, x->pcache, 8192);
		e->c = gmt_io_word(c, enc, COL_FIELD(k, 2), e->c, 0);
		e->d = gmt_io_word(c, enc, COL_FIELD(k, 3), e->d, 0);
		return;
	default: // EV_NEEDZERO, and with an address in a: EV_PGROW, EV_RANDPAD, EV_SCAVBEGIN, EV_SCAVEND
		e->a = gmt_io_addr(c, enc, COL_FIELD(k, 0), e->a, x->base, 8192);
		e->b = gmt_io_delta(c, enc, COL_FIELD(k, 1), e->b, k == EV_NEEDZERO ? x->npages : 0);
		if (k == EV_NEEDZERO) {
			e->c = gmt_io(c, enc, COL_FIELD(k, 2), e->c);
		} else {
			x->base = e->a;
		}
		return;
	}
}

GMT_INLINE void gmt_io_spans(gmt_codec *c, bool enc, gmt_event *e) {
	gmt_ctx *x = c->ctx;
	unsigned k = e->kind;
	gmt_span *s;
	switch (k) {
	case EV_MSPANALLOC:
		e->b = gmt_io_span(c, enc, COL_FIELD(k, 1), e->b, c->last[COL_FIELD(k, 1)]);
		e->a = gmt_io(c, enc, COL_FIELD(k, 0), e->a);
		c->bad |= e->a != 0;
		c->last[COL_FIELD(k, 1)] = e->b + 1;
		return;
	case EV_SPANINIT: {
		uint64_t low = gmt_io(c, enc, COL_FIELD(k, 0), e->a & 0x7ff);
		uint64_t nelems = gmt_io(c, enc, COL_INIT_NELEMS, e->a >> 11);
		e->b = gmt_io_span(c, enc, COL_FIELD(k, 1), e->b, x->span);
		s = gmt_span_of(c, e->b);
		e->c = x->base = s->base = gmt_io_addr(c, enc, COL_FIELD(k, 2), e->c, x->base, 8192);
		uint64_t npages = gmt_io_delta(c, enc, COL_FIELD(k, 3), e->d & 0xffffffff, x->npages);
		uint64_t scav = gmt_io(c, enc, COL_INIT_SCAV, e->d >> 32);
		if (!enc) {
			c->bad |= low > 0x7ff || nelems >> 53 != 0 || npages >> 32 != 0 || scav >> 32 != 0;
			e->a = low | nelems << 11;
			e->d = npages | scav << 32;
		}
		s->npages = npages;
		s->nelems = nelems;
		s->nmarks = 0;
		return;
	}
	default: // EV_SPANFREE
		e->a = gmt_io(c, enc, COL_FIELD(k, 0), e->a);
		e->b = gmt_io_span(c, enc, COL_FIELD(k, 1), e->b, x->span);
		s = gmt_span_of(c, e->b);
		e->c = gmt_io_addr(c, enc, COL_FIELD(k, 2), e->c, s->base != 0 ? s->base : x->base, 8192);
		e->d = gmt_io_delta(c, enc, COL_FIELD(k, 3), e->d, s->npages);
		x->base = e->c;
		return;
	}
}

GMT_INLINE void gmt_io_rest(gmt_codec *c, bool enc, gmt_event *e) {
	gmt_ctx *x = c->ctx;
	unsigned k = e->kind;
	switch (k) {
	case EV_RESERVE:
		e->a = gmt_io_last(c, enc, COL_FIELD(k, 0), e->a);
		e->b = gmt_io(c, enc, COL_FIELD(k, 1), e->b);
		e->c = gmt_io(c, enc, COL_FIELD(k, 2), e->c);
		e->d = gmt_io_delta(c, enc, COL_FIELD(k, 3), e->d, e->a);
		return;
	case EV_ARENA:
		e->a = gmt_io_last(c, enc, COL_FIELD(k, 0), e->a);
		e->b = gmt_io(c, enc, COL_FIELD(k, 1), e->b);
		e->c = gmt_io(c, enc, COL_FIELD(k, 2), e->c);
		return;
	case EV_SCAVFIND:
		e->a = gmt_io_last(c, enc, COL_FIELD(k, 0), e->a);
		e->b = gmt_io_last(c, enc, COL_FIELD(k, 1), e->b);
		return;
	default: // EV_SPOOLALLOC, EV_SPOOLFREE, EV_SLARGEPOP, EV_SLARGEPUSH, EV_HINT
		e->a = gmt_io(c, enc, COL_FIELD(k, 0), e->a);
		e->b = gmt_io_last(c, enc, COL_FIELD(k, 1), e->b);
		if (k == EV_SPOOLALLOC || k == EV_SLARGEPOP) {
			x->address = e->b;
		}
		return;
	}
}

// gmt_io_event codes the fields of one event; kind, stream and (encoding) nmarks and mark_index are set.
GMT_INLINE void gmt_io_event(gmt_codec *c, bool enc, gmt_event *e) {
	switch (e->kind) {
	case EV_PCREFILL:
	case EV_PALLOC:
	case EV_PCALLOC:
	case EV_PCFLUSH:
	case EV_NEEDZERO:
	case EV_PGROW:
	case EV_RANDPAD:
	case EV_SCAVBEGIN:
	case EV_SCAVEND:
		gmt_io_pages(c, enc, e);
		return;
	case EV_MSPANALLOC:
	case EV_SPANINIT:
	case EV_SPANFREE:
		gmt_io_spans(c, enc, e);
		return;
	case EV_RESERVE:
	case EV_ARENA:
	case EV_SCAVFIND:
	case EV_SPOOLALLOC:
	case EV_SPOOLFREE:
	case EV_SLARGEPOP:
	case EV_SLARGEPUSH:
	case EV_HINT:
		gmt_io_rest(c, enc, e);
		return;
	default:
		if (e->kind < EV_MALLOCEND) {
			gmt_io_operation(c, enc, e);
		} else {
			gmt_io_answer(c, enc, e);
		}
	}
}

// gmt_ctx_clear makes registers zero. false: out of memory.
bool gmt_ctx_clear(gmt_codec *c, uint32_t i);

// Streams are numbered from both 0 and GMT_STREAM_M on: this numbers them from 0 on, by turns.
GMT_INLINE uint32_t gmt_slot_index(uint16_t stream) {
	return (uint32_t)(stream & (GMT_STREAM_M - 1)) << 1 | stream / GMT_STREAM_M;
}

// gmt_slot_grow makes the table large enough for the index. false: out of memory.
bool gmt_slot_grow(gmt_codec *c, uint32_t index);

// gmt_enter makes the stream current; c->bad: there is no memory for its registers.
GMT_INLINE void gmt_enter(gmt_codec *c, uint16_t stream) {
	uint32_t at = gmt_slot_index(stream);
	if (at >= c->slots && !gmt_slot_grow(c, at)) {
		c->bad = true;
		return;
	}
	if (c->slot[at] == 0) {
		uint32_t i = c->nctx < GMT_CTX_MAX - 1 ? c->nctx++ : GMT_CTX_MAX - 2;
		c->slot[at] = (uint8_t)(i + 1);
		if (!gmt_ctx_clear(c, i)) {
			c->slot[at] = 0;
			c->bad = true;
			return;
		}
	}
	c->stream = stream;
	c->ctx = c->all[c->slot[at] - 1];
}

bool gmt_codec_init(gmt_codec *c);
void gmt_codec_free(gmt_codec *c);
// gmt_codec_begin resets the registers: a block begins. spans: numbers used before it. c->bad: out of memory.
void gmt_codec_begin(gmt_codec *c, uint64_t spans);

#endif
