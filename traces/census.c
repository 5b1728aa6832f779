// census.c: see census.h.
//
// Spans are found by a table of chunks of 64 MiB, each with a pointer for each of its pages. A slot keeps its group (0: free), the
// cycle in which it was taken and the bytes that were not asked for.
#include "traces/census.h"

#include <stdlib.h>
#include <string.h>

#include "gomem/sizeclasses.h"
#include "traces/grow.h"

// A table that cannot grow does not take the element, and the census is of no use any more.
#define HASH_NONFATAL_OOM 1
#define uthash_nonfatal_oom(element) (c->failed = true)
#include <uthash.h>

enum { CHUNK_SHIFT = 26, CHUNK_PAGES = 1 << (CHUNK_SHIFT - 13), LONELY_SLOTS = 8 };

typedef struct slot {
	uint32_t group, born, waste;
} slot;

struct census_span {
	uint64_t base, npages;
	uint64_t used, used_bytes;
	uint32_t nelems;
	uint32_t back; // slots that freegc gave back: nothing lives in them, but the allocator counts them
	uint16_t class;
	slot slots[];
};

struct census_chunk {
	uint64_t key;     // address >> CHUNK_SHIFT
	int64_t row_page; // page in the map of the chunk's first page
	uint32_t lo, hi;  // pages that were ever in a span: [lo, hi)
	UT_hash_handle hh;
	census_span *pages[CHUNK_PAGES];
};

struct census_stack {
	uint64_t addr, bytes;
	UT_hash_handle hh;
};

struct census_key {
	uint64_t key; // type << 8 | class
	uint32_t group;
	UT_hash_handle hh;
};

// ---- classes

// Sizes of which a span ends with mark bits, if there are any; up to the larger one the heap bits stand in it, too.
enum { LEAST_MARKED = 16, MOST_MARKED = 512 };

uint64_t census_class_size(unsigned class) { return class < CENSUS_HEAP ? class_to_size[class >> 1] : 0; }

unsigned census_class_slots(unsigned class, uint64_t npages, bool greentea) {
	uint64_t size = census_class_size(class), bytes = npages * CENSUS_PAGE;
	if (class >= CENSUS_HEAP) {
		return 0;
	}
	if (size == 0) {
		return 1;
	}
	if (size <= MOST_MARKED && (class & 1) == 0) {
		bytes -= bytes / 64;
	}
	if (greentea && size >= LEAST_MARKED && size <= MOST_MARKED) {
		bytes -= 128;
	}
	return (unsigned)(bytes / size);
}

bool census_past_marks(unsigned class, uint64_t offset) {
	uint64_t size = census_class_size(class);
	return size >= LEAST_MARKED && size <= MOST_MARKED &&
		offset / size >= census_class_slots(class, class_to_allocnpages[class >> 1], true);
}

census_class census_sum(const census_class *classes, bool heap) {
	census_class sum = {0};
	for (unsigned k = heap ? 0 : CENSUS_HEAP; k < (heap ? CENSUS_HEAP : CENSUS_KINDS); k++) {
		const census_class *one = &classes[k];
		sum.spans += one->spans, sum.span_bytes += one->span_bytes, sum.slots += one->slots;
		sum.slot_bytes += one->slot_bytes, sum.tail += one->tail, sum.used += one->used;
		sum.used_bytes += one->used_bytes, sum.waste += one->waste, sum.partly += one->partly, sum.full += one->full;
		sum.made += one->made, sum.taken += one->taken, sum.taken_bytes += one->taken_bytes;
		sum.taken_waste += one->taken_waste, sum.freed += one->freed, sum.freed_bytes += one->freed_bytes;
	}
	return sum;
}

static unsigned log2_of(uint64_t n) { return n == 0 ? 0 : 63U - (unsigned)__builtin_clzll(n); }

static unsigned life_of(uint64_t cycles) {
	if (cycles <= 4) {
		return cycles == 0 ? 0 : (unsigned)cycles - 1;
	}
	unsigned i = log2_of(cycles - 1) + 2; // 5..8: 4, 9..16: 5
	return i < CENSUS_LIVES ? i : CENSUS_LIVES - 1;
}

const char *census_life_name(unsigned i) {
	static const char *const names[CENSUS_LIVES] = {
		"1", "2", "3", "4", "5-8", "9-16", "17-32", "33-64", "65-128", "129 and more"};
	return names[i];
}

static unsigned run_of(uint64_t pages) {
	unsigned i = log2_of(pages);
	return i < CENSUS_RUNS ? i : CENSUS_RUNS - 1;
}

const char *census_run_name(unsigned i) {
	static const char *const names[CENSUS_RUNS] = {"1", "2-3", "4-7", "8-15", "16-31", "32-63", "64-127", "128-255",
		"256-511", "512-1023", "1024-2047", "2048 and more"};
	return names[i];
}

static unsigned fill_of(uint64_t used, uint64_t nelems) {
	if (used == 0) {
		return 0;
	}
	return used >= nelems ? CENSUS_FILLS - 1 : 1 + (unsigned)((used * 10 - 1) / nelems);
}

// ---- pages

static census_chunk *chunk_find(census *c, uint64_t addr) {
	uint64_t key = addr >> CHUNK_SHIFT;
	if (c->last != NULL && c->last->key == key) {
		return c->last;
	}
	census_chunk *chunk = NULL;
	HASH_FIND(hh, c->chunks, &key, sizeof(key), chunk);
	if (chunk != NULL) {
		c->last = chunk;
	}
	return chunk;
}

static int64_t chunk_row_page(const census *c, uint64_t key) {
	const census_plan *plan = c->plan;
	uint64_t first = key * CHUNK_PAGES;
	for (size_t i = 0; plan != NULL && i < plan->nextents; i++) {
		const census_extent *e = &plan->extents[i];
		if (first < e->first + e->npages && first + CHUNK_PAGES > e->first) {
			return (int64_t)(e->offset + first - e->first);
		}
	}
	return -(int64_t)CHUNK_PAGES;
}

static census_chunk *chunk_make(census *c, uint64_t addr) {
	census_chunk *chunk = chunk_find(c, addr);
	if (chunk != NULL) {
		return chunk;
	}
	chunk = calloc(1, sizeof(*chunk));
	if (chunk == NULL) {
		c->failed = true;
		return NULL;
	}
	chunk->key = addr >> CHUNK_SHIFT;
	chunk->lo = CHUNK_PAGES;
	chunk->row_page = chunk_row_page(c, chunk->key);
	HASH_ADD(hh, c->chunks, key, sizeof(chunk->key), chunk);
	if (c->failed) {
		free(chunk);
		return NULL;
	}
	return chunk;
}

static census_span *span_find(census *c, uint64_t addr) {
	census_chunk *chunk = chunk_find(c, addr);
	return chunk == NULL ? NULL : chunk->pages[addr / CENSUS_PAGE % CHUNK_PAGES];
}

// pages_set makes s the span of its pages, or takes it away. false: out of memory.
static bool pages_set(census *c, const census_span *s, census_span *to) {
	census_chunk *chunk = NULL;
	for (uint64_t i = 0; i < s->npages; i++) {
		uint64_t addr = s->base + i * CENSUS_PAGE;
		uint32_t page = (uint32_t)(addr / CENSUS_PAGE % CHUNK_PAGES);
		if (i == 0 || page == 0) {
			chunk = chunk_make(c, addr);
		}
		if (chunk == NULL) {
			return false;
		}
		chunk->pages[page] = to;
		chunk->lo = page < chunk->lo ? page : chunk->lo;
		chunk->hi = page >= chunk->hi ? page + 1 : chunk->hi;
	}
	return true;
}

static int chunk_order(const census_chunk *a, const census_chunk *b) { return a->key < b->key ? -1 : a->key > b->key; }

// ---- groups

static uint32_t group_add(census *c, uint32_t type, unsigned class) {
	if (!array_grow(&c->groups, &c->capgroups, c->ngroups, sizeof(*c->groups))) {
		c->failed = true;
		return 0;
	}
	census_group *g = calloc(1, sizeof(*g));
	if (g == NULL) {
		c->failed = true;
		return 0;
	}
	*g = (census_group){.type = type, .class = (uint16_t) class};
	c->groups[c->ngroups] = g;
	return ++c->ngroups;
}

// group_of gives the number of a group, from 1 on; 0: out of memory.
static uint32_t group_of(census *c, uint32_t type, unsigned class) {
	if (type == 0) {
		if (c->by_class[class] == 0) {
			c->by_class[class] = group_add(c, 0, class);
		}
		return c->by_class[class];
	}
	uint64_t key = (uint64_t)type << 8 | class;
	census_key *k = NULL;
	HASH_FIND(hh, c->keys, &key, sizeof(key), k);
	if (k != NULL) {
		return k->group;
	}
	k = malloc(sizeof(*k));
	uint32_t group = group_add(c, type, class);
	if (k == NULL || group == 0) {
		free(k);
		c->failed = true;
		return 0;
	}
	k->key = key;
	k->group = group;
	HASH_ADD(hh, c->keys, key, sizeof(key), k);
	return group;
}

// ---- spans

// span_counts adds the span to, or takes it from, the counts of partly filled and full ones.
static void span_counts(census_class *k, const census_span *s, bool add) {
	uint64_t one = add ? 1 : (uint64_t)-1;
	if (s->nelems != 0 && s->used == s->nelems) {
		k->full += one;
	} else if (s->used != 0) {
		k->partly += one;
	}
}

// The peak: the most bytes in spans, and then in slots. A large object's span is there before its slot is taken.
static void peak_update(census *c) {
	if (c->span_bytes > c->peak_bytes || (c->span_bytes == c->peak_bytes && c->used_bytes > c->peak_used)) {
		c->peak_bytes = c->span_bytes;
		c->peak_used = c->used_bytes;
		c->peak_step = c->step;
		c->peak_at = c->at;
	}
}

static void most_manual_update(census *c) {
	if (c->manual_bytes > c->most_manual) {
		c->most_manual = c->manual_bytes;
		c->most_manual_at = c->at;
	}
}

void census_span_begins(census *c, uint64_t base, uint64_t npages, unsigned class, unsigned nelems) {
	if (npages == 0 || class >= CENSUS_KINDS) {
		return;
	}
	for (uint64_t i = 0; i < npages; i++) {
		census_span *old = span_find(c, base + i * CENSUS_PAGE);
		if (old != NULL) {
			c->odd.overlaps++;
			census_span_ends(c, old->base);
		}
	}
	// The table of pages keeps it.
	census_span *s = calloc(1, sizeof(*s) + nelems * sizeof(s->slots[0]));
	if (s == NULL) {
		c->failed = true;
		return;
	}
	s->base = base;
	s->npages = npages;
	s->nelems = nelems;
	s->class = (uint16_t) class;
	if (!pages_set(c, s, s)) {
		(void)pages_set(c, s, NULL);
		free(s);
		return;
	}
	// The table of pages keeps s. NOLINTNEXTLINE(clang-analyzer-unix.Malloc)
	const uint64_t bytes = npages * CENSUS_PAGE;
	const uint64_t size = census_class_size(class);
	uint64_t slot_bytes = class >= CENSUS_HEAP ? 0 : size == 0 ? bytes : size * nelems;
	census_class *k = &c->classes[class];
	if (class < CENSUS_HEAP) {
		c->slots_per_span[class] = nelems;
	}
	k->spans++, k->made++;
	k->span_bytes += bytes, k->slots += nelems, k->slot_bytes += slot_bytes;
	k->tail += class < CENSUS_HEAP ? bytes - slot_bytes : 0;
	c->span_bytes += class < CENSUS_HEAP ? bytes : 0;
	c->manual_bytes += class < CENSUS_HEAP ? 0 : bytes;
	peak_update(c);
	most_manual_update(c);
}

static uint64_t slot_size(const census_span *s) {
	uint64_t size = census_class_size(s->class);
	return size == 0 ? s->npages * CENSUS_PAGE : size;
}

static void slot_dies(census *c, census_span *s, slot *o) {
	census_class *k = &c->classes[s->class];
	census_group *g = c->groups[o->group - 1];
	uint64_t bytes = slot_size(s);
	uint64_t lived = c->cycles - o->born;
	span_counts(k, s, false);
	s->used--, s->used_bytes -= bytes;
	span_counts(k, s, true);
	k->used--, k->used_bytes -= bytes, k->waste -= o->waste;
	k->freed++, k->freed_bytes += bytes;
	g->used--, g->used_bytes -= bytes;
	c->used--, c->used_bytes -= bytes;
	census_life *life = &c->lives[life_of(lived)];
	life->objects++, life->bytes += bytes;
	o->group = 0;
	if (c->ngc != 0 && c->used_bytes < c->gc[c->ngc - 1].least) {
		c->gc[c->ngc - 1].least = c->used_bytes;
	}
}

void census_span_ends(census *c, uint64_t base) {
	census_span *s = span_find(c, base);
	if (s == NULL || s->base != base) {
		c->odd.unknown++;
		return;
	}
	for (uint32_t i = 0; i < s->nelems; i++) {
		if (s->slots[i].group != 0) {
			slot_dies(c, s, &s->slots[i]);
		}
	}
	uint64_t bytes = s->npages * CENSUS_PAGE, size = census_class_size(s->class);
	uint64_t slot_bytes = s->class >= CENSUS_HEAP ? 0 : size == 0 ? bytes : size * s->nelems;
	census_class *k = &c->classes[s->class];
	k->spans--, k->span_bytes -= bytes, k->slots -= s->nelems, k->slot_bytes -= slot_bytes;
	k->tail -= s->class < CENSUS_HEAP ? bytes - slot_bytes : 0;
	c->span_bytes -= s->class < CENSUS_HEAP ? bytes : 0;
	c->manual_bytes -= s->class < CENSUS_HEAP ? 0 : bytes;
	(void)pages_set(c, s, NULL);
	free(s);
}

// ---- slots

static slot *slot_find(census *c, uint64_t addr, census_span **span) {
	census_span *s = span_find(c, addr);
	if (s == NULL || s->nelems == 0) {
		return NULL;
	}
	uint64_t size = census_class_size(s->class);
	uint64_t i = size == 0 ? 0 : (addr - s->base) / size;
	*span = s;
	return i < s->nelems ? &s->slots[i] : NULL;
}

uint64_t census_slot(census *c, uint64_t addr, unsigned *class) {
	census_span *s = NULL;
	slot *o = slot_find(c, addr, &s);
	if (o == NULL) {
		return UINT64_MAX;
	}
	*class = s->class;
	return (uint64_t)(o - s->slots);
}

static void most_used_update(census *c) {
	if (c->used_bytes > c->most_used) {
		c->most_used = c->used_bytes;
		c->most_used_at = c->at;
	}
	if (c->ngc != 0 && c->used_bytes > c->gc[c->ngc - 1].most) {
		c->gc[c->ngc - 1].most = c->used_bytes;
	}
}

void census_take(census *c, uint64_t addr, uint64_t size, uint32_t type) {
	census_span *s = NULL;
	slot *o = slot_find(c, addr, &s);
	if (o == NULL) {
		c->odd.stray++;
		return;
	}
	if (o->group != 0) {
		// Traces have an event for each tiny object: the block is there already.
		if (s->class == 5) {
			c->tiny++;
		} else {
			c->odd.twice++;
		}
		return;
	}
	uint32_t group = group_of(c, type, s->class);
	if (group == 0) {
		return;
	}
	uint64_t bytes = slot_size(s);
	*o = (slot){.group = group, .born = (uint32_t)c->cycles};
	census_class *k = &c->classes[s->class];
	if (size != 0 && size <= bytes) {
		o->waste = (uint32_t)(bytes - size);
		k->waste += o->waste, k->taken_waste += o->waste;
		c->waste_known++;
	}
	span_counts(k, s, false);
	s->used++, s->used_bytes += bytes;
	span_counts(k, s, true);
	k->used++, k->used_bytes += bytes, k->taken++, k->taken_bytes += bytes;
	census_group *g = c->groups[group - 1];
	g->used++, g->used_bytes += bytes, g->taken++, g->taken_bytes += bytes;
	c->used++, c->used_bytes += bytes;
	most_used_update(c);
	peak_update(c);
}

void census_take_tiny(census *c, uint64_t addr, uint64_t size) {
	census_span *s = NULL;
	slot *o = slot_find(c, addr, &s);
	if (o == NULL || o->group == 0) {
		c->odd.stray++;
		return;
	}
	census_class *k = &c->classes[s->class];
	uint32_t filled = size < o->waste ? (uint32_t)size : o->waste;
	o->waste -= filled, k->waste -= filled, k->taken_waste -= filled;
	c->tiny++, c->tiny_bytes += size;
}

void census_die(census *c, uint64_t addr) {
	census_span *s = NULL;
	slot *o = slot_find(c, addr, &s);
	if (o == NULL || o->group == 0) {
		c->odd.unknown++;
		return;
	}
	slot_dies(c, s, o);
}

void census_give_back(census *c, uint64_t addr) {
	census_span *s = NULL;
	slot *o = slot_find(c, addr, &s);
	if (o != NULL && o->group != 0) {
		s->back++;
	}
	census_die(c, addr);
}

void census_take_again(census *c, uint64_t addr, uint64_t size) {
	census_span *s = NULL;
	if (slot_find(c, addr, &s) != NULL && s->back > 0) {
		s->back--;
	} else {
		c->odd.unknown++;
	}
	census_take(c, addr, size, 0);
}

uint64_t census_used(census *c, uint64_t base) {
	const census_span *s = span_find(c, base);
	return s == NULL || s->base != base ? UINT64_MAX : s->used + s->back;
}

void census_sweep(census *c, uint64_t base, const uint64_t *marks, unsigned nmarks, bool all) {
	census_span *s = span_find(c, base);
	if (s == NULL || s->base != base) {
		c->odd.stray++;
		return;
	}
	s->back = 0;
	for (uint32_t i = 0; i < s->nelems; i++) {
		bool live = marks == NULL ? all : i / 64 < nmarks && (marks[i / 64] >> i % 64 & 1) != 0;
		if (!live && s->slots[i].group != 0) {
			slot_dies(c, s, &s->slots[i]);
		}
		s->back += live && s->slots[i].group == 0; // marked before it was given back
	}
}

// ---- stacks

void census_stack_begins(census *c, uint64_t addr, uint64_t bytes) {
	census_stack *s = NULL;
	HASH_FIND(hh, c->stack_at, &addr, sizeof(addr), s);
	if (s != NULL) {
		c->odd.stacks++;
		census_stack_ends(c, addr);
	}
	s = malloc(sizeof(*s));
	if (s == NULL) {
		c->failed = true;
		return;
	}
	s->addr = addr;
	s->bytes = bytes;
	HASH_ADD(hh, c->stack_at, addr, sizeof(addr), s);
	unsigned order = log2_of(bytes) % CENSUS_ORDERS;
	c->stacks[order].count++, c->stacks[order].taken++;
	c->stack_bytes += bytes;
}

void census_stack_ends(census *c, uint64_t addr) {
	census_stack *s = NULL;
	HASH_FIND(hh, c->stack_at, &addr, sizeof(addr), s);
	if (s == NULL) {
		c->odd.stacks++;
		return;
	}
	c->stacks[log2_of(s->bytes) % CENSUS_ORDERS].count--;
	c->stack_bytes -= s->bytes;
	HASH_DELETE(hh, c->stack_at, s);
	free(s);
}

// ---- cycles

void census_gc_begins(census *c) {
	c->cycles++;
	if (!array_grow(&c->gc, &c->capgc, c->ngc, sizeof(*c->gc))) {
		c->failed = true;
		return;
	}
	c->gc[c->ngc++] =
		(census_cycle){.begin = c->at, .at_begin = c->used_bytes, .least = c->used_bytes, .most = c->used_bytes};
}

void census_gc_ends(census *c) {
	if (c->ngc != 0 && c->gc[c->ngc - 1].end == 0) {
		c->gc[c->ngc - 1].end = c->at;
	}
}

// ---- walks: all pages in the order of addresses, as spans and free runs

typedef struct walk {
	void (*span)(void *ctx, census *c, const census_span *s);
	void *ctx;
	census_pages pages;
	uint64_t run;  // free pages just before the place
	uint64_t next; // the place: page number
	bool in;       // in an extent
} walk;

static void walk_run_ends(walk *w) {
	if (w->run == 0) {
		return;
	}
	w->pages.runs[run_of(w->run)]++;
	w->pages.run_pages[run_of(w->run)] += w->run;
	w->pages.free_pages += w->run;
	w->pages.largest = w->run > w->pages.largest ? w->run : w->pages.largest;
	w->run = 0;
}

static void walk_chunk(walk *w, census *c, census_chunk *chunk) {
	uint64_t first = chunk->key * CHUNK_PAGES;
	uint32_t i = chunk->lo;
	// Without a whole chunk between them, what lies between two chunks' spans is free, else it is another extent.
	if (w->in && first < w->next + CHUNK_PAGES) {
		uint64_t gap = first + i > w->next ? first + i - w->next : 0;
		w->run += gap;
		w->pages.extent_pages += gap;
	} else {
		walk_run_ends(w);
	}
	w->in = true;
	w->pages.extent_pages += chunk->hi - chunk->lo;
	while (i < chunk->hi) {
		const census_span *s = chunk->pages[i];
		if (s == NULL) {
			w->run++, i++;
			continue;
		}
		walk_run_ends(w);
		uint64_t from = first + i, end = s->base / CENSUS_PAGE + s->npages;
		if (s->base / CENSUS_PAGE == from) {
			w->pages.span_pages += s->npages;
			w->span(w->ctx, c, s);
		}
		i = end >= first + CHUNK_PAGES ? CHUNK_PAGES : (uint32_t)(end - first);
	}
	w->next = first + chunk->hi;
}

static census_pages walk_all(census *c, void (*span)(void *ctx, census *c, const census_span *s), void *ctx) {
	walk w = {.span = span, .ctx = ctx};
	HASH_SRT(hh, c->chunks, chunk_order);
	for (census_chunk *chunk = c->chunks; chunk != NULL; chunk = chunk->hh.next) {
		if (chunk->lo < chunk->hi) {
			walk_chunk(&w, c, chunk);
		}
	}
	walk_run_ends(&w);
	return w.pages;
}

// ---- the state at a moment

static void state_span(void *ctx, census *c, const census_span *s) {
	census_state *st = ctx;
	(void)c;
	if (s->class >= CENSUS_HEAP) {
		return;
	}
	st->fills[s->class][fill_of(s->used, s->nelems)]++;
	st->lonely[s->class] += s->used == 1 && s->nelems >= LONELY_SLOTS;
	if (s->used == 0 || s->used == s->nelems) {
		return;
	}
	double share = (double)(s->nelems - s->used) / (double)s->used;
	st->retained_slots += s->nelems - s->used;
	for (uint32_t i = 0; i < s->nelems; i++) {
		if (s->slots[i].group != 0) {
			st->retained[s->slots[i].group - 1] += share;
		}
	}
}

static void state_free(census_state *st) {
	free(st->groups);
	free(st->retained);
	*st = (census_state){0};
}

static void state_take(census *c, census_state *st) {
	state_free(st);
	st->at = c->at;
	st->step = c->step;
	st->cycles = c->cycles;
	memcpy(st->classes, c->classes, sizeof(st->classes));
	memcpy(st->stacks, c->stacks, sizeof(st->stacks));
	st->groups = calloc(c->ngroups + 1U, sizeof(*st->groups));
	st->retained = calloc(c->ngroups + 1U, sizeof(*st->retained));
	if (st->groups == NULL || st->retained == NULL) {
		c->failed = true;
		return;
	}
	st->ngroups = c->ngroups;
	for (uint32_t i = 0; i < c->ngroups; i++) {
		st->groups[i] = *c->groups[i];
	}
	st->pages = walk_all(c, state_span, st);
}

// ---- samples

// map_span adds a span's bytes to the rows that it lies in.
static void map_span(void *ctx, census *c, const census_span *s) {
	const census_plan *plan = c->plan;
	census_chunk *chunk = chunk_find(c, s->base);
	int64_t first = chunk->row_page + (int64_t)(s->base / CENSUS_PAGE % CHUNK_PAGES);
	(void)ctx;
	for (uint64_t done = 0; first >= 0 && done < s->npages;) {
		uint64_t page = (uint64_t)first + done, row = page / plan->row_pages;
		uint64_t here = plan->row_pages - page % plan->row_pages;
		here = here < s->npages - done ? here : s->npages - done;
		done += here;
		if (row >= plan->rows) {
			return;
		}
		uint64_t *sums = &c->row_sums[row * 3];
		sums[s->class < CENSUS_HEAP ? 0 : 2] += here * CENSUS_PAGE;
		sums[1] += s->used_bytes * here / s->npages;
	}
}

static uint8_t map_value(uint64_t bytes, uint64_t all) {
	uint64_t v = (bytes * CENSUS_MAP_FULL + all / 2) / all;
	return bytes != 0 && v == 0 ? 1 : v > CENSUS_MAP_FULL ? CENSUS_MAP_FULL : (uint8_t)v;
}

static void map_column(census *c, unsigned column) {
	const census_plan *plan = c->plan;
	uint64_t all = plan->row_pages * CENSUS_PAGE;
	for (unsigned row = 0; row < plan->rows; row++) {
		size_t cell = (size_t)row * plan->columns + column;
		c->map_spans[cell] = map_value(c->row_sums[row * 3], all);
		c->map_used[cell] = map_value(c->row_sums[row * 3 + 1], all);
		c->map_manual[cell] = map_value(c->row_sums[row * 3 + 2], all);
	}
}

static void sample_take(census *c, uint64_t at) {
	unsigned column = c->nsamples++;
	census_sample *s = &c->samples[column];
	census_class heap = census_sum(c->classes, true), manual = census_sum(c->classes, false);
	memset(c->row_sums, 0, (size_t)c->plan->rows * 3 * sizeof(*c->row_sums));
	census_pages pages = walk_all(c, map_span, NULL);
	map_column(c, column);
	*s = (census_sample){.at = at, .span_bytes = heap.span_bytes, .used_bytes = heap.used_bytes, .waste = heap.waste};
	s->used = heap.used, s->manual_bytes = manual.span_bytes, s->stack_bytes = c->stack_bytes;
	s->taken = heap.taken, s->taken_bytes = heap.taken_bytes, s->freed_bytes = heap.freed_bytes;
	s->cycles = c->cycles, s->extent_bytes = pages.extent_pages * CENSUS_PAGE;
	for (unsigned i = 0; i < CENSUS_ORDERS; i++) {
		s->stacks += c->stacks[i].count;
	}
	s->large_bytes[0] = c->classes[0].span_bytes, s->large_bytes[1] = c->classes[1].span_bytes;
	for (unsigned k = 0; k < CENSUS_HEAP; k++) {
		s->spans[k] = (uint32_t)c->classes[k].spans;
		s->slots[k] = (uint32_t)c->classes[k].used;
	}
}

// sample_due: where the next sample is taken, unless the peak comes first: then its column is sampled there.
static uint64_t sample_due(const census *c) {
	const census_plan *plan = c->plan;
	uint64_t i = c->nsamples + 1U;
	return plan->end / plan->columns * i + plan->end % plan->columns * i / plan->columns;
}

// plan_follow: the heap is as the last event left it, and stays so until at.
static void plan_follow(census *c, uint64_t at) {
	if (c->step == c->plan->peak_step && c->peak.groups == NULL) {
		state_take(c, &c->peak);
		if (c->nsamples + 1 < c->plan->columns) {
			sample_take(c, c->at);
		}
	}
	while (c->nsamples < c->plan->columns && sample_due(c) <= at) {
		sample_take(c, sample_due(c));
	}
}

void census_at(census *c, uint64_t at) {
	if (c->plan != NULL) {
		plan_follow(c, at);
	}
	c->at = at;
	c->step++;
}

void census_finish(census *c, uint64_t at) {
	census_at(c, at);
	if (c->plan != NULL) {
		state_take(c, &c->end);
	}
}

// ---- making and releasing

static bool samples_make(census *c) {
	size_t columns = c->plan->columns, cells = columns * c->plan->rows;
	c->samples = calloc(columns, sizeof(*c->samples));
	c->map_spans = calloc(cells + 1, 1);
	c->map_used = calloc(cells + 1, 1);
	c->map_manual = calloc(cells + 1, 1);
	c->row_sums = calloc((size_t)c->plan->rows * 3 + 1, sizeof(*c->row_sums));
	return c->samples != NULL && c->map_spans != NULL && c->map_used != NULL && c->map_manual != NULL &&
		c->row_sums != NULL;
}

census *census_new(const census_plan *plan) {
	census *c = calloc(1, sizeof(*c));
	if (c == NULL) {
		return NULL;
	}
	c->plan = plan;
	if (plan != NULL && !samples_make(c)) {
		census_free(c);
		return NULL;
	}
	return c;
}

static void spans_free(census *c, const census_chunk *chunk) {
	for (uint32_t i = chunk->lo; i < chunk->hi; i++) {
		census_span *s = chunk->pages[i];
		if (s != NULL) {
			(void)pages_set(c, s, NULL);
			free(s);
		}
	}
}

void census_free(census *c) {
	if (c == NULL) {
		return;
	}
	for (census_chunk *chunk = c->chunks; chunk != NULL; chunk = chunk->hh.next) {
		spans_free(c, chunk);
	}
	// A table that is cleared leaves the elements, and the order of them.
	census_chunk *chunk = c->chunks;
	census_stack *st = c->stack_at;
	census_key *k = c->keys;
	HASH_CLEAR(hh, c->chunks);
	HASH_CLEAR(hh, c->stack_at);
	HASH_CLEAR(hh, c->keys);
	for (census_chunk *next; chunk != NULL; chunk = next) {
		next = chunk->hh.next;
		free(chunk);
	}
	for (census_stack *next; st != NULL; st = next) {
		next = st->hh.next;
		free(st);
	}
	for (census_key *next; k != NULL; k = next) {
		next = k->hh.next;
		free(k);
	}
	for (uint32_t i = 0; i < c->ngroups; i++) {
		free(c->groups[i]);
	}
	state_free(&c->peak);
	state_free(&c->end);
	free(c->groups), free(c->gc), free(c->samples), free(c->row_sums);
	free(c->map_spans), free(c->map_used), free(c->map_manual);
	free(c);
}

static int chunk_pointer_order(const void *a, const void *b) {
	return chunk_order(*(census_chunk *const *)a, *(census_chunk *const *)b);
}

// extents_from joins the chunks that follow one another.
static void extents_from(census_chunk **chunks, size_t n, census_plan *plan) {
	uint64_t offset = 0;
	for (size_t i = 0; i < n; i++) {
		uint64_t lo = chunks[i]->key * CHUNK_PAGES + chunks[i]->lo, hi = chunks[i]->key * CHUNK_PAGES + chunks[i]->hi;
		census_extent *e = plan->nextents == 0 ? NULL : &plan->extents[plan->nextents - 1];
		if (e != NULL && chunks[i]->key * CHUNK_PAGES < e->first + e->npages + CHUNK_PAGES) {
			offset += hi - (e->first + e->npages);
			e->npages = hi - e->first;
			continue;
		}
		plan->extents[plan->nextents++] = (census_extent){.first = lo, .npages = hi - lo, .offset = offset};
		offset += hi - lo;
	}
}

bool census_plan_from(const census *first, unsigned columns, unsigned rows, census_plan *plan) {
	*plan = (census_plan){.end = first->at, .peak_step = first->peak_step};
	size_t n = 0;
	census_chunk **chunks = calloc(HASH_COUNT(first->chunks) + 1U, sizeof(*chunks));
	plan->extents = calloc(HASH_COUNT(first->chunks) + 1U, sizeof(*plan->extents));
	if (chunks == NULL || plan->extents == NULL) {
		free(chunks);
		census_plan_free(plan);
		return false;
	}
	for (census_chunk *chunk = first->chunks; chunk != NULL; chunk = chunk->hh.next) {
		if (chunk->lo < chunk->hi) {
			chunks[n++] = chunk;
		}
	}
	qsort(chunks, n, sizeof(census_chunk *), chunk_pointer_order);
	extents_from(chunks, n, plan);
	free(chunks);
	const census_extent *e = plan->nextents == 0 ? NULL : &plan->extents[plan->nextents - 1];
	uint64_t pages = e == NULL ? 0 : e->offset + e->npages;
	plan->columns = plan->end < columns ? (unsigned)plan->end + 1 : columns;
	plan->row_pages = pages / rows + (pages % rows != 0);
	plan->row_pages += plan->row_pages == 0;
	plan->rows = (unsigned)((pages + plan->row_pages - 1) / plan->row_pages);
	return true;
}

void census_plan_free(census_plan *plan) {
	free(plan->extents);
	*plan = (census_plan){0};
}

// ---- invariants

typedef struct recount {
	census_class classes[CENSUS_KINDS];
	uint64_t *used; // by group
	bool bad;
} recount;

static void recount_span(void *ctx, census *c, const census_span *s) {
	recount *r = ctx;
	census_class *k = &r->classes[s->class];
	uint64_t used = 0;
	for (uint32_t i = 0; i < s->nelems; i++) {
		const slot *o = &s->slots[i];
		if (o->group == 0) {
			continue;
		}
		used++;
		r->used[o->group - 1]++;
		k->waste += o->waste;
		r->bad |= o->waste >= slot_size(s) && o->waste != 0;
		r->bad |= c->groups[o->group - 1]->class != s->class || o->born > c->cycles;
	}
	r->bad |= used != s->used || s->used_bytes != used * slot_size(s);
	k->spans++, k->span_bytes += s->npages * CENSUS_PAGE, k->slots += s->nelems, k->used += used;
	k->used_bytes += s->used_bytes;
	span_counts(k, s, true);
}

static const char *check_class(const census_class *k, const census_class *re, unsigned class) {
	uint64_t size = census_class_size(class);
	if (k->spans != re->spans || k->span_bytes != re->span_bytes || k->slots != re->slots || k->used != re->used ||
		k->used_bytes != re->used_bytes || k->waste != re->waste || k->partly != re->partly || k->full != re->full) {
		return "a class is the sum of its spans";
	}
	if (class < CENSUS_HEAP && k->span_bytes != k->slot_bytes + k->tail) {
		return "span bytes == slot bytes + tail";
	}
	if (size != 0 && k->slot_bytes != k->slots * size) {
		return "slot bytes == slots * size";
	}
	if (k->used != k->taken - k->freed || k->used_bytes != k->taken_bytes - k->freed_bytes || k->used > k->slots) {
		return "used == taken - freed <= slots";
	}
	return k->partly + k->full > k->spans ? "partly + full <= spans" : NULL;
}

static const char *check_groups(const census *c, const recount *r) {
	census_class sums[CENSUS_KINDS] = {0};
	for (uint32_t i = 0; i < c->ngroups; i++) {
		const census_group *g = c->groups[i];
		census_class *k = &sums[g->class];
		k->used += g->used, k->used_bytes += g->used_bytes, k->taken += g->taken, k->taken_bytes += g->taken_bytes;
		if (g->used != r->used[i]) {
			return "a group is the sum of its slots";
		}
	}
	for (unsigned k = 0; k < CENSUS_KINDS; k++) {
		const census_class *a = &sums[k], *b = &c->classes[k];
		if (a->used != b->used || a->used_bytes != b->used_bytes || a->taken != b->taken ||
			a->taken_bytes != b->taken_bytes) {
			return "a class is the sum of its groups";
		}
	}
	return NULL;
}

static const char *check_state(const census_state *st) {
	double retained = 0;
	uint64_t spans = 0;
	for (uint64_t i = 0; i < st->ngroups; i++) {
		retained += st->retained[i];
	}
	for (unsigned k = 0; k < CENSUS_HEAP; k++) {
		for (unsigned i = 0; i < CENSUS_FILLS; i++) {
			spans += st->fills[k][i];
		}
	}
	double off = retained - (double)st->retained_slots;
	if (off > 1e-6 * retained + 0.5 || off < -1e-6 * retained - 0.5) {
		return "retained slots of groups add up";
	}
	census_class heap = census_sum(st->classes, true), manual = census_sum(st->classes, false);
	if (spans != heap.spans) {
		return "spans by fill add up";
	}
	bool pages = st->pages.span_pages * CENSUS_PAGE == heap.span_bytes + manual.span_bytes &&
		st->pages.span_pages + st->pages.free_pages == st->pages.extent_pages;
	return pages ? NULL : "pages of spans and free runs add up";
}

static const char *check_sums(const census *c) {
	census_class heap = census_sum(c->classes, true);
	uint64_t objects = 0, bytes = 0, stacks = 0;
	for (unsigned i = 0; i < CENSUS_LIVES; i++) {
		objects += c->lives[i].objects, bytes += c->lives[i].bytes;
	}
	for (census_stack *s = c->stack_at; s != NULL; s = s->hh.next) {
		stacks += s->bytes;
	}
	if (objects != heap.freed || bytes != heap.freed_bytes) {
		return "lives add up to what was freed";
	}
	if (heap.span_bytes != c->span_bytes || heap.used_bytes != c->used_bytes || heap.used != c->used) {
		return "classes add up to the heap";
	}
	if (census_sum(c->classes, false).span_bytes != c->manual_bytes || c->manual_bytes > c->most_manual) {
		return "spans without objects add up";
	}
	return stacks == c->stack_bytes ? NULL : "stacks add up";
}

const char *census_check(census *c) {
	if (c->failed) {
		return "out of memory";
	}
	recount r = {.used = calloc(c->ngroups + 1U, sizeof(uint64_t))};
	if (r.used == NULL) {
		return "out of memory";
	}
	census_pages pages = walk_all(c, recount_span, &r);
	const char *wrong = r.bad ? "a span is the sum of its slots" : NULL;
	for (unsigned k = 0; k < CENSUS_KINDS && wrong == NULL; k++) {
		wrong = check_class(&c->classes[k], &r.classes[k], k);
	}
	wrong = wrong != NULL ? wrong : check_groups(c, &r);
	wrong = wrong != NULL ? wrong : check_sums(c);
	free(r.used);
	if (wrong == NULL && pages.span_pages + pages.free_pages != pages.extent_pages) {
		return "pages of spans and free runs add up";
	}
	if (wrong == NULL && c->peak.groups != NULL) {
		wrong = check_state(&c->peak);
	}
	return wrong == NULL && c->end.groups != NULL ? check_state(&c->end) : wrong;
}
