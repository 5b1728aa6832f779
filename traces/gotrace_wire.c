// gotrace_wire.c: batches and tables of a generation of a Go trace, and its events one by one. docs/TRACES.md describes the format.
//
//   bytes of a generation in memory == those of its batches of events and of strings   <= GT_MAX_GENERATION
//   a string that a stack mentions has a definition in the same generation, before it or after
#include <stdarg.h>
#include <stdio.h>

#include <xxhash.h>

#include "traces/gotrace_wire.h"

enum { CHUNK = 1 << 18, ALLOC_FREE = 1, TYPES_BATCH = 0, INFO_BATCH = 1, PAGE = 8192, ALIGN = 8 };

// 1 + the numbers after the time of a timed event, 0: no timed event. Go lists them in internal/trace/tracev2.
// clang-format off
static const uint8_t argsOf[256] = {
	[9] = 3, 3, 1, 4, 3,            // procs: change, start, stop, steal, status
	[14] = 4, 2, 3, 1, 1, 3,        // goroutines: create, create syscall, start, destroy, destroy syscall, stop
	[20] = 3, 4, 3, 1, 1, 4,        // block, unblock, syscall begin, end, end blocked, status
	[26] = 3, 1, 2, 3, 2,           // STW begin, end; GC active, begin, end
	[31] = 2, 2, 3, 2, 2, 1,        // sweep active, begin, end; mark assist active, begin, end
	[37] = 2, 2, 2, 5, 3, 4, 4, 5,  // heap alloc, goal; label; task begin, end; region begin, end; log
	[45] = 3, 3, 4, 5,              // since 1.23: switch, switch destroy, create blocked, status with stack
	[128] = 4, 4, 2, 3, 3, 2, 3, 3, 2,
};
// clang-format on

int gt_fail(gotrace *t, uint64_t offset, const char *fmt, ...) {
	char text[sizeof(t->err.text)];
	va_list args;
	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	t->failed = -1;
	t->damaged = offset != GMT_NO_OFFSET;
	return gmt_fail(&t->err, t->path, offset, "%s%s", text,
		t->in.kind != GT_PLAIN && offset != GMT_NO_OFFSET ? " (the offset is that of the uncompressed trace)" : "");
}

static int fail_memory(gotrace *t) { return gt_fail(t, GMT_NO_OFFSET, "out of memory"); }

// ---- maps

static size_t map_slot(const gt_map *m, uint64_t key) {
	uint64_t h = (key ^ m->seed) * 0x9e3779b97f4a7c15u;
	h = (h ^ h >> 32) * 0xd6e8feb86659fd93u;
	size_t i = (size_t)(h ^ h >> 32) & (m->room - 1);
	while (m->vals[i] != 0 && m->keys[i] != key) {
		i = (i + 1) & (m->room - 1);
	}
	return i;
}

static bool map_resize(gt_map *m, size_t room) {
	gt_map to = {malloc(room * sizeof(*m->keys)), calloc(room, sizeof(*m->vals)), room, m->n, m->seed};
	if (to.keys == NULL || to.vals == NULL) {
		gt_map_free(&to);
		return false;
	}
	for (size_t i = 0; i < m->room; i++) {
		if (m->vals[i] != 0) {
			size_t at = map_slot(&to, m->keys[i]);
			to.keys[at] = m->keys[i];
			to.vals[at] = m->vals[i];
		}
	}
	gt_map_free(m);
	*m = to;
	return true;
}

// gt_map_at gives the place of the value of a key: 0 if it is new. NULL: out of memory. Valid until the next call.
static uint64_t *gt_map_at(gt_map *m, uint64_t key) {
	if (m->n * 2 >= m->room) {
		m->seed = m->room == 0 ? (uint64_t)(uintptr_t)m * 0x9e3779b97f4a7c15u : m->seed;
		if (!map_resize(m, m->room == 0 ? 64 : m->room * 2)) {
			return NULL;
		}
	}
	size_t i = map_slot(m, key);
	if (m->vals[i] == 0) {
		m->keys[i] = key;
		m->n++; // the caller gives it a value
	}
	return &m->vals[i];
}

uint64_t gt_map_get(const gt_map *m, uint64_t key) { return m->room == 0 ? 0 : m->vals[map_slot(m, key)]; }

void gt_map_free(gt_map *m) {
	free(m->keys);
	free(m->vals);
	*m = (gt_map){0};
}

// gt_map_clear takes as long as it took to fill the map. A room that a generation left nearly empty is given back: many small generations
// behind a large one shall not each clear what that one needed.
static void gt_map_clear(gt_map *m) {
	if (m->n < m->room / 16) {
		gt_map_free(m);
	} else if (m->n > 0) {
		memset(m->vals, 0, m->room * sizeof(*m->vals));
		m->n = 0;
	}
}

// ---- events

static bool bad_event(gt_head *h, gt_walk *w, const char *why) {
	h->why = why;
	w->p = w->end;
	w->batch = 0;
	return true;
}

bool gt_decode(const gotrace *t, gt_walk *w, gt_head *h) {
	while (w->p == w->end) {
		if (w->batch == 0) {
			return false;
		}
		const gt_batch *b = &t->batches[w->batch - 1];
		w->p = b->p;
		w->end = b->p + b->n;
		w->time = w->earliest = b->time;
		w->batch = b->next;
		w->offset = b->offset + b->n;
	}
	h->offset = w->offset - (uint64_t)(w->end - w->p);
	h->time = w->time;
	h->type = *w->p;
	h->why = NULL;
	unsigned n = t->args[h->type];
	if (n == 0) {
		return bad_event(h, w, "this type of event is not defined");
	}
	uint64_t dt;
	const uint8_t *p = gt_varint(w->p + 1, w->end, &dt);
	for (unsigned i = 0; p != NULL && i + 1 < n; i++) {
		p = gt_varint(p, w->end, &h->a[i]);
	}
	if (p == NULL) {
		return bad_event(h, w, "the event is cut by the end of its batch, or has a number of more than 64 bits");
	}
	if (__builtin_add_overflow(w->time, dt, &w->time)) {
		return bad_event(h, w, "the time overflows");
	}
	w->earliest = dt == 1 ? w->earliest : w->time;
	h->time = w->time;
	h->earliest = w->earliest;
	w->p = p;
	return true;
}

// ---- tables

// What is read from a batch that is a table. p == NULL: it is not what it should be.
typedef struct cursor {
	const uint8_t *begin, *p, *end;
	uint64_t offset; // of begin
} cursor;

static uint64_t take(cursor *c) {
	uint64_t v = 0;
	if (c->p != NULL) {
		c->p = gt_varint(c->p, c->end, &v);
	}
	return v;
}

// take_bytes skips n bytes and gives the first. NULL: there are fewer.
static const uint8_t *take_bytes(cursor *c, uint64_t n) {
	const uint8_t *p = c->p;
	if (p == NULL || n > (uint64_t)(c->end - p)) {
		c->p = NULL;
		return NULL;
	}
	c->p += n;
	return p;
}

static int table_damaged(gotrace *t, const cursor *c, const uint8_t *at, const char *what) {
	return gt_fail(t, c->offset + (uint64_t)(at - c->begin), "the table of %s is damaged here", what);
}

// string_at gives the string with the id, made if it is not there. NULL: out of memory, or too many.
static gt_string *string_at(gotrace *t, uint64_t id, uint64_t offset) {
	uint64_t *place = gt_map_at(&t->string_ids, id);
	if (place == NULL) {
		(void)fail_memory(t);
		return NULL;
	}
	if (*place == 0) {
		if (t->nstrings == GT_MAX_STRINGS) {
			(void)gt_fail(t, offset, "more than %d strings in a generation", GT_MAX_STRINGS);
			return NULL;
		}
		if (!array_grow(&t->strings, &t->string_room, t->nstrings, sizeof(*t->strings))) {
			(void)fail_memory(t);
			return NULL;
		}
		*place = t->nstrings + 1;
		t->strings[t->nstrings++] = (gt_string){.id = id, .offset = offset};
	}
	return &t->strings[*place - 1];
}

static int read_strings(gotrace *t, cursor c) {
	while (c.p < c.end) {
		const uint8_t *at = c.p++;
		uint64_t id = take(&c);
		uint64_t n = take(&c);
		const uint8_t *text = take_bytes(&c, n);
		if (*at != GT_EV_STRING || text == NULL) {
			return table_damaged(t, &c, at, "strings");
		}
		t->counts[GT_EV_STRING]++;
		gt_string *s = string_at(t, id, c.offset + (uint64_t)(at - c.begin));
		if (s == NULL) {
			return -1;
		}
		if (s->p != NULL && (s->n != n || memcmp(s->p, text, (size_t)n) != 0)) {
			return gt_fail(t, c.offset + (uint64_t)(at - c.begin), "string %llu is defined twice, differently",
				(unsigned long long)id);
		}
		s->p = text;
		s->n = (uint32_t)n;
	}
	return 0;
}

// add_stack keeps a stack, if anybody asks for it. 0, or -1.
static int add_stack(gotrace *t, uint64_t id, const gt_stack *s, uint64_t offset) {
	if (!t->options.goroutines) {
		return 0;
	}
	if (t->nstacks == GT_MAX_STACKS) {
		return gt_fail(t, offset, "more than %d stacks in a generation", GT_MAX_STACKS);
	}
	uint64_t *place = gt_map_at(&t->stack_ids, id);
	if (place == NULL || !array_grow(&t->stacks, &t->stack_room, t->nstacks, sizeof(*t->stacks))) {
		return fail_memory(t);
	}
	t->stacks[t->nstacks++] = *s;
	*place = t->nstacks;
	return 0;
}

// read_stack reads what stands behind the tag of a stack, at `offset`.
static int read_stack(gotrace *t, cursor *c, uint64_t offset) {
	gt_stack s = {{0}};
	uint64_t id = take(c);
	uint64_t n = take(c);
	for (uint64_t i = 0; i < n && c->p != NULL; i++) {
		(void)take(c);
		uint64_t function = take(c);
		uint64_t file = take(c);
		(void)take(c);
		if (c->p == NULL) {
			return 0;
		}
		const gt_string *f = string_at(t, function, offset);
		if (f != NULL && i < GT_FRAMES) {
			s.functions[i] = (uint32_t)(f - t->strings) + 1;
		}
		if (f == NULL || string_at(t, file, offset) == NULL) {
			return -1;
		}
	}
	return c->p != NULL ? add_stack(t, id, &s, offset) : 0;
}

static int read_stacks(gotrace *t, cursor c) {
	while (c.p < c.end) {
		const uint8_t *at = c.p++;
		if (*at == GT_EV_STACK && read_stack(t, &c, c.offset + (uint64_t)(at - c.begin)) != 0) {
			return -1;
		}
		if (*at != GT_EV_STACK || c.p == NULL) {
			return table_damaged(t, &c, at, "stacks");
		}
		t->counts[GT_EV_STACK]++;
	}
	return 0;
}

static int read_samples(gotrace *t, cursor c) {
	while (c.p < c.end) {
		const uint8_t *at = c.p++;
		for (unsigned i = 0; i < 5; i++) {
			(void)take(&c);
		}
		if (*at != GT_EV_CPU_SAMPLE || c.p == NULL) {
			return table_damaged(t, &c, at, "CPU samples");
		}
		t->counts[GT_EV_CPU_SAMPLE]++;
	}
	return 0;
}

// read_clock reads a frequency, and since 1.25 more about clocks.
static int read_clock(gotrace *t, cursor c) {
	while (c.p < c.end) {
		const uint8_t *at = c.p++;
		unsigned n = *at == GT_EV_FREQUENCY ? 1 : *at == GT_EV_CLOCK && t->version >= 25 ? 4 : 0;
		uint64_t first = take(&c);
		for (unsigned i = 1; i < n; i++) {
			(void)take(&c);
		}
		if (n == 0 || c.p == NULL || (*at == GT_EV_FREQUENCY && first == 0)) {
			return table_damaged(t, &c, at, "clocks");
		}
		t->counts[*at]++;
		t->frequency = *at == GT_EV_FREQUENCY ? first : t->frequency;
	}
	return 0;
}

static bool same_type(const gotrace_type *a, const gotrace_type *b) {
	return a->addr == b->addr && a->size == b->size && a->ptrbytes == b->ptrbytes && strcmp(a->name, b->name) == 0;
}

// add_type gives a new type a number, *place. 0: out of memory, or too many; gt_fail has said so.
static uint64_t add_type(gotrace *t, const gotrace_type *type, uint64_t *place, uint64_t offset) {
	size_t n = strlen(type->name) + 1;
	if (t->ntypes == GT_MAX_TYPES || n > GT_MAX_TYPE_NAMES - t->type_names) {
		(void)gt_fail(
			t, offset, "more than %d types, or more than %d bytes of their names", GT_MAX_TYPES, GT_MAX_TYPE_NAMES);
		return 0;
	}
	char *name = malloc(n);
	if (name == NULL || !array_grow(&t->types, &t->type_room, t->ntypes, sizeof(*t->types))) {
		free(name);
		(void)fail_memory(t);
		return 0;
	}
	memcpy(name, type->name, n);
	t->type_names += n;
	t->types[t->ntypes] = *type;
	t->types[t->ntypes].name = name;
	*place = ++t->ntypes;
	return t->ntypes;
}

// type_number gives a type its number in the trace. 0: there is none; gt_fail has said why.
static uint64_t type_number(gotrace *t, const gotrace_type *type, uint64_t key, uint64_t offset) {
	for (;; key++) {
		uint64_t *place = gt_map_at(&t->type_hash, key);
		if (place == NULL) {
			(void)fail_memory(t);
			return 0;
		}
		if (*place == 0) {
			return add_type(t, type, place, offset);
		}
		if (same_type(&t->types[*place - 1], type)) {
			return *place;
		}
	}
}

// key_of is a hash of a type, by an address so that nobody can prepare types that collide.
static uint64_t key_of(const gotrace *t, const gotrace_type *type) {
	return XXH64(type->name, strlen(type->name), type->addr ^ type->size << 40 ^ (uint64_t)(uintptr_t)t);
}

static int read_types(gotrace *t, cursor c) {
	char name[GT_MAX_BATCH + 1];
	while (c.p < c.end) {
		const uint8_t *at = c.p;
		uint64_t offset = c.offset + (uint64_t)(at - c.begin);
		uint64_t id = take(&c);
		gotrace_type type = {.name = name, .addr = take(&c)};
		type.size = take(&c);
		type.ptrbytes = take(&c);
		uint64_t n = take(&c);
		const uint8_t *text = take_bytes(&c, n);
		if (text == NULL || id == 0 || type.ptrbytes > type.size) {
			return table_damaged(t, &c, at, "types");
		}
		for (uint64_t i = 0; i < n; i++) {
			name[i] = (char)(text[i] == 0 ? '?' : text[i]);
		}
		name[n] = 0;
		uint64_t number = type_number(t, &type, key_of(t, &type), offset);
		if (number == 0) {
			return -1;
		}
		uint64_t *place = gt_map_at(&t->type_ids, id);
		if (place == NULL) {
			return fail_memory(t);
		}
		if (*place != 0 && *place != number) {
			return gt_fail(t, offset, "type %llu is defined twice, differently", (unsigned long long)id);
		}
		*place = number;
	}
	return 0;
}

static int read_info(gotrace *t, cursor c) {
	uint64_t min = take(&c);
	uint64_t page = take(&c);
	uint64_t align = take(&c);
	uint64_t stack = take(&c);
	if (c.p != c.end || stack == 0 || (stack & (stack - 1)) != 0 || stack > 1 << 20) {
		return table_damaged(t, &c, c.begin, "what is needed to decode addresses");
	}
	if (page != PAGE || align != ALIGN) {
		return gt_fail(t, c.offset, "pages of %llu bytes and objects aligned to %llu: Go has 8192 and 8",
			(unsigned long long)page, (unsigned long long)align);
	}
	if (t->has_info) {
		return gt_fail(t, c.offset, "a second time what is needed to decode addresses: it stands once in a trace");
	}
	t->has_info = true;
	t->min_addr = min;
	t->fixed_stack = stack;
	return 0;
}

// ---- batches

// keep gives room for n bytes that stay until the generation has been told.
static uint8_t *keep(gotrace *t, size_t n) {
	if (t->chunk == NULL || t->chunk->used + n > CHUNK) {
		gt_chunk *next = t->chunk == NULL ? t->chunks : t->chunk->next;
		if (next == NULL) {
			next = malloc(sizeof(*next) + CHUNK);
			if (next == NULL) {
				return NULL;
			}
			next->next = NULL;
			*(t->chunk == NULL ? &t->chunks : &t->chunk->next) = next;
		}
		next->used = 0;
		t->chunk = next;
	}
	t->chunk->used += n;
	return t->chunk->bytes + t->chunk->used - n;
}

static int fail_read(gotrace *t, const char *why) {
	return gt_fail(t, t->in.offset, t->in.kind == GT_PLAIN ? "cannot read: %s" : "does not decompress: %s", why);
}

static int fail_cut(gotrace *t, const char *what) {
	return gt_fail(t, t->in.offset, "the trace is cut: it ends here, in the middle of %s", what);
}

// get_byte reads a byte: 1, 0 at the end of the file, -1.
static int get_byte(gotrace *t, uint8_t *to) {
	const char *why = NULL;
	int got = gt_input_more(&t->in, &why);
	if (got < 0) {
		return fail_read(t, why);
	}
	if (got > 0) {
		*to = *t->in.p++;
		t->in.offset++;
	}
	return got;
}

static int get_number(gotrace *t, uint64_t *to) {
	uint64_t at = t->in.offset;
	uint8_t bytes[10] = {0};
	for (unsigned n = 0; n < sizeof(bytes);) {
		int got = get_byte(t, &bytes[n]);
		if (got <= 0) {
			return got < 0 ? -1 : fail_cut(t, "the header of a batch");
		}
		if (bytes[n++] < 0x80) {
			return gt_varint(bytes, bytes + n, to) != NULL ? 0 : gt_fail(t, at, "a number of more than 64 bits");
		}
	}
	return gt_fail(t, at, "a number of more than 10 bytes");
}

// get_header reads what stands before the bytes of a batch, behind its tag.
static int get_header(gotrace *t, gt_header *h, uint8_t tag) {
	h->experiment = 0;
	if (tag == GT_EV_EXPERIMENTAL) {
		int got = get_byte(t, &h->experiment);
		if (got <= 0) {
			return got < 0 ? -1 : fail_cut(t, "the header of a batch");
		}
	}
	if (get_number(t, &h->gen) != 0 || get_number(t, &h->m) != 0 || get_number(t, &h->time) != 0 ||
		get_number(t, &h->n) != 0) {
		return -1;
	}
	if (h->n > GT_MAX_BATCH) {
		return gt_fail(
			t, h->at, "a batch of %llu bytes: there is none with more than %d", (unsigned long long)h->n, GT_MAX_BATCH);
	}
	return 0;
}

static int fail_batches(gotrace *t, const gt_header *h) {
	return gt_fail(t, h->at, "more than %d batches in a generation", GT_MAX_BATCHES);
}

// m_at gives the number of an M of the trace, + 1. 0: out of memory, or too many.
static uint32_t m_at(gotrace *t, uint64_t id) {
	uint64_t *place = gt_map_at(&t->m_ids, id);
	if (place == NULL) {
		(void)fail_memory(t);
		return 0;
	}
	if (*place == 0) {
		if (t->nms == GT_MAX_MS) {
			(void)gt_fail(t, t->in.offset, "more than %d threads", GT_MAX_MS);
			return 0;
		}
		if (!array_grow(&t->ms, &t->m_room, t->nms, sizeof(*t->ms))) {
			(void)fail_memory(t);
			return 0;
		}
		t->ms[t->nms++] = (gt_m){.id = id, .p = -1};
		*place = t->nms;
	}
	return (uint32_t)*place;
}

// check_new refuses a batch that was there before: Go's writer has a bug that writes some twice. The hash is by an address, as that of types is.
static int check_new(gotrace *t, const gt_header *h) {
	if (h->m == GT_NO_M || h->experiment != 0) {
		return 0;
	}
	if (t->nheaders == GT_MAX_BATCHES) {
		return fail_batches(t, h);
	}
	for (uint64_t key = XXH64((const uint64_t[]){h->m, h->time}, 16, (uint64_t)(uintptr_t)t);; key++) {
		uint64_t *place = gt_map_at(&t->places, key);
		if (place == NULL) {
			return fail_memory(t);
		}
		if (*place == 0) {
			*place = t->nheaders + 1;
			break;
		}
		if (t->headers[*place - 1].m == h->m && t->headers[*place - 1].time == h->time) {
			return gt_fail(t, h->at,
				"a batch of thread %llu that was there before: Go's runtime wrote its buffers twice and in a wrong order "
				"(a bug of it), so that no order of events can be known; please make the trace again",
				(unsigned long long)h->m);
		}
	}
	if (!array_grow(&t->headers, &t->header_room, t->nheaders, sizeof(*t->headers))) {
		return fail_memory(t);
	}
	t->headers[t->nheaders++] = (gt_place){h->m, h->time};
	return 0;
}

static int add_events(gotrace *t, const gt_header *h, const uint8_t *p, uint64_t offset) {
	uint32_t m = m_at(t, h->m);
	if (m == 0) {
		return -1;
	}
	if (t->nbatches == GT_MAX_BATCHES) {
		return fail_batches(t, h);
	}
	if (!array_grow(&t->batches, &t->batch_room, t->nbatches, sizeof(*t->batches)) ||
		!array_grow(&t->active, &t->active_room, t->nactive, sizeof(*t->active))) {
		return fail_memory(t);
	}
	t->batches[t->nbatches++] = (gt_batch){.p = p, .time = h->time, .offset = offset, .n = (uint32_t)h->n};
	gt_m *x = &t->ms[m - 1];
	if (x->last == 0) {
		t->active[t->nactive++] = m - 1;
	}
	*(x->last == 0 ? &x->first : &t->batches[x->last - 1].next) = (uint32_t)t->nbatches;
	x->last = (uint32_t)t->nbatches;
	return 0;
}

static int read_experiment(gotrace *t, const gt_header *h, cursor c) {
	t->counts[GT_EV_EXPERIMENTAL]++;
	if (h->experiment != ALLOC_FREE || h->n == 0) {
		return 0;
	}
	switch (*c.p++) {
	case INFO_BATCH:
		return read_info(t, c);
	case TYPES_BATCH:
		return read_types(t, c);
	default:
		return table_damaged(t, &c, c.begin, "the experiment AllocFree");
	}
}

// read_content reads the bytes of a batch. *kept: they are still needed when it has been read.
static int read_content(gotrace *t, const gt_header *h, cursor c, bool *kept) {
	if (h->experiment != 0) {
		return read_experiment(t, h, c);
	}
	t->counts[GT_EV_BATCH]++;
	if (h->n == 0) {
		return 0;
	}
	uint8_t first = *c.p++;
	t->counts[first] += first == GT_EV_STACKS || first == GT_EV_STRINGS || first == GT_EV_CPU_SAMPLES;
	switch (first) {
	case GT_EV_STACKS:
		return read_stacks(t, c);
	case GT_EV_STRINGS:
		*kept = true;
		return read_strings(t, c);
	case GT_EV_CPU_SAMPLES:
		return read_samples(t, c);
	case GT_EV_FREQUENCY:
		c.p--;
		return read_clock(t, c);
	case GT_EV_SYNC:
		t->counts[first]++;
		return read_clock(t, c);
	default:
		*kept = true;
		return add_events(t, h, c.begin, c.offset);
	}
}

static int read_batch(gotrace *t, const gt_header *h) {
	uint64_t offset = t->in.offset;
	if (t->bytes + h->n > GT_MAX_GENERATION) {
		return gt_fail(t, h->at, "a generation of more than %d bytes", GT_MAX_GENERATION);
	}
	uint8_t *p = keep(t, (size_t)h->n);
	size_t got = 0;
	const char *why = NULL;
	if (p == NULL) {
		return fail_memory(t);
	}
	if (gt_input_bytes(&t->in, p, (size_t)h->n, &got, &why) != 0) {
		return fail_read(t, why);
	}
	if (got < h->n) {
		return fail_cut(t, "a batch");
	}
	bool kept = false;
	if (check_new(t, h) != 0 || read_content(t, h, (cursor){p, p, p + h->n, offset}, &kept) != 0) {
		return -1;
	}
	t->bytes += kept ? h->n : 0;
	t->chunk->used -= kept ? 0 : (size_t)h->n;
	return 0;
}

// ---- generations

static void forget_generation(gotrace *t) {
	for (size_t i = 0; i < t->nactive; i++) {
		gt_m *m = &t->ms[t->active[i]];
		m->first = m->last = 0;
		m->peeked = false;
	}
	t->nactive = 0;
	gt_map_clear(&t->places);
	gt_map_clear(&t->string_ids);
	gt_map_clear(&t->stack_ids);
	gt_map_clear(&t->type_ids);
	t->nbatches = t->nheaders = t->nstrings = t->nstacks = 0;
	t->bytes = t->frequency = 0;
	t->chunk = NULL;
}

// check_strings: each string that is mentioned is defined. Number 0, the empty one, is by itself.
static int check_strings(gotrace *t) {
	for (size_t i = 0; i < t->nstrings; i++) {
		if (t->strings[i].p == NULL && t->strings[i].id != 0) {
			return gt_fail(t, t->strings[i].offset, "a stack names a string that no table of its generation defines");
		}
	}
	return 0;
}

static int end_generation(gotrace *t) {
	if (t->frequency == 0) {
		return gt_fail(t, t->in.offset, "generation %llu, which ends here, does not say how fast its clock runs",
			(unsigned long long)t->gen);
	}
	if (check_strings(t) != 0) {
		return -1;
	}
	t->generations++;
	return 1;
}

// end_of_file: what it means that the file ends where a batch could begin.
static int end_of_file(gotrace *t, bool begun) {
	if (!begun) {
		return 0;
	}
	if (t->version >= 26) {
		return gt_fail(
			t, t->in.offset, "the trace is cut: it ends here, before generation %llu does", (unsigned long long)t->gen);
	}
	return end_generation(t);
}

// next_header reads the header of the next batch: 1, 0 at the end of the file, 2 at the end of a generation, -1.
static int next_header(gotrace *t, gt_header *h) {
	uint8_t tag = 0;
	*h = (gt_header){.at = t->in.offset};
	int got = get_byte(t, &tag);
	if (got <= 0) {
		return got;
	}
	if (tag == GT_EV_END && t->version >= 26) {
		t->counts[tag]++;
		return 2;
	}
	if (tag != GT_EV_BATCH && !(tag == GT_EV_EXPERIMENTAL && t->version >= 23)) {
		return gt_fail(t, h->at, "no batch begins here (type %u)", tag);
	}
	return get_header(t, h, tag) == 0 ? 1 : -1;
}

// begins decides of a batch whether it is the first of a generation: 1, 0, or -1 if it can be in none.
static int begins(gotrace *t, const gt_header *h, bool begun) {
	if (h->gen == t->gen && begun) {
		return 0;
	}
	if (h->gen != 0 && (t->generations == 0 && !begun)) {
		return 1;
	}
	if (h->gen == t->gen + 1 && h->gen != 0 && !(begun && t->version >= 26)) {
		return 1;
	}
	return gt_fail(t, h->at, "a batch of generation %llu, among those of generation %llu: %s",
		(unsigned long long)h->gen, (unsigned long long)t->gen,
		"Go's runtime wrote its buffers in a wrong order (a bug of it), or the trace is cut");
}

int gt_read_generation(gotrace *t) {
	forget_generation(t);
	bool begun = t->spilled;
	gt_header h = t->spill;
	if (begun) {
		t->spilled = false;
		t->gen = h.gen;
		if (read_batch(t, &h) != 0) {
			return -1;
		}
	}
	for (;;) {
		int got = next_header(t, &h);
		if (got < 0) {
			return -1;
		}
		if (got == 0) {
			return end_of_file(t, begun);
		}
		if (got == 2) {
			if (!begun) {
				return gt_fail(t, h.at, "the end of a generation that has not begun");
			}
			return end_generation(t);
		}
		int first = begins(t, &h, begun);
		if (first < 0) {
			return -1;
		}
		if (first > 0 && begun) {
			t->spill = h;
			t->spilled = true;
			return end_generation(t);
		}
		begun = true;
		t->gen = h.gen;
		if (read_batch(t, &h) != 0) {
			return -1;
		}
	}
}

// ---- the beginning

static int not_a_trace(gotrace *t) {
	return gt_fail(t, 0, "not a Go execution trace: it does not begin with \"go 1.NN trace\"");
}

static int check_version(gotrace *t) {
	if (t->version < 22) {
		return gt_fail(t, 0, "a trace of the format of go1.%u: objects are in traces since go1.23", t->version);
	}
	if (t->version == 22) {
		return gt_fail(t, 0,
			"a trace of go1.22: objects are in traces since go1.23 (run with GODEBUG=traceallocfree=1); please make the trace "
			"with a newer Go");
	}
	if (t->version > 27) {
		return gt_fail(t, 0, "a trace of go1.%u: this program reads go1.23 to go1.27", t->version);
	}
	return 0;
}

static void set_args(gotrace *t) {
	unsigned last = t->version >= 23 ? 48 : 44;
	for (unsigned i = 0; i < 256; i++) {
		t->args[i] = i <= last || (i >= GT_EV_SPAN && t->version >= 23) ? argsOf[i] : 0;
	}
}

int gt_read_header(gotrace *t) {
	uint8_t h[GT_HEADER];
	size_t got = 0;
	const char *why = NULL;
	if (gt_input_bytes(&t->in, h, sizeof(h), &got, &why) != 0) {
		return fail_read(t, why);
	}
	if (got == 0) {
		return gt_fail(t, 0, "not a Go execution trace: it is empty (the program must call trace.Stop before it ends)");
	}
	if (got < sizeof(h) || memcmp(h, "go 1.", 5) != 0 || memcmp(h + 7, " trace\0\0", 9) != 0 || h[5] < '0' ||
		h[5] > '9' || h[6] < '0' || h[6] > '9') {
		return not_a_trace(t);
	}
	t->version = (unsigned)(h[5] - '0') * 10 + (unsigned)(h[6] - '0');
	set_args(t);
	return check_version(t);
}

// add_name gives a text a number, *place. 0: out of memory, or too many; gt_fail has said so.
static uint32_t add_name(gotrace *t, const gt_string *s, uint64_t *place, uint64_t offset) {
	if (t->nnames == GT_MAX_REASONS) {
		(void)gt_fail(t, offset, "more than %d reasons to stop the world", GT_MAX_REASONS);
		return 0;
	}
	char *name = calloc((size_t)s->n + 1, 1);
	if (name == NULL || !array_grow(&t->names, &t->name_room, t->nnames, sizeof(*t->names))) {
		free(name);
		(void)fail_memory(t);
		return 0;
	}
	memcpy(name, s->p, s->n);
	t->names[t->nnames++] = name;
	*place = t->nnames;
	return (uint32_t)t->nnames;
}

static bool same_text(const char *name, const gt_string *s) {
	return strlen(name) == s->n && memcmp(name, s->p, s->n) == 0;
}

uint32_t gt_number_of(gotrace *t, gt_string *s, uint64_t offset) {
	for (uint64_t key = XXH64(s->p, s->n, (uint64_t)(uintptr_t)t); s->number == 0; key++) {
		uint64_t *place = gt_map_at(&t->name_hash, key);
		if (place == NULL) {
			(void)fail_memory(t);
			return 0;
		}
		if (*place == 0) {
			s->number = add_name(t, s, place, offset);
			return s->number;
		}
		s->number = same_text(t->names[*place - 1], s) ? (uint32_t)*place : 0;
	}
	return s->number;
}
