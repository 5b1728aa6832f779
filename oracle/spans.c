// spans.c: spans of objects: sets, sweeping, and what a P allocates from.
//
// The rules, in words:
//   sets     a span that nobody caches waits in a set of its kind: partial if it has a free slot, full if not; of each there is one for spans swept in this
//            cycle and one for the others. When a cycle begins, they change places
//   refill   the first partial swept span; else the first unswept one that has room when it is swept, partial before full, but after 101
//            were looked at, or when sweeping is over, a fresh one
//   sweep    what is not marked becomes free. A span without objects is freed; else it goes to the set of swept spans that it belongs to
//   all      sweeping goes through the kinds: for each the full set, then the partial set
//   reclaim  before the heap gives out pages for objects, it sweeps spans without marks, 512 pages of address space at a time, until as
//            many pages were freed as are wanted; what it, or sweeping, frees beyond that is credit for later
//   pace     where a rate is set, a refill or a large object sweeps first, until as many pages were swept as the growth of the heap asks for
#include "oracle/heap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *oracle_need(void *p) {
	if (p == NULL) {
		fputs("oracle: out of memory\n", stderr);
		abort();
	}
	return p;
}

// ---- lists

void list_add(span_list *l, span *s) {
	if (l->n == l->cap) {
		l->cap = l->n * 2 + 8;
		span **fresh = oracle_need(malloc(l->cap * sizeof(span *)));
		for (size_t i = 0; i < l->n; i++) {
			fresh[i] = l->v[i];
		}
		free(l->block);
		l->v = l->block = fresh;
	}
	l->v[l->n++] = s;
}

// Sanitizers' memmove takes a byte at a time; these loops do not.
static void remove_at(span_list *l, size_t i) {
	l->n--;
	for (; i < l->n; i++) {
		l->v[i] = l->v[i + 1];
	}
}

static span *list_take_first(span_list *l) {
	if (l->n == 0) {
		return NULL;
	}
	l->n--;
	l->cap--;
	return *l->v++;
}

void list_remove(span_list *l, const span *s) {
	for (size_t i = 0; i < l->n; i++) {
		if (l->v[i] == s) {
			remove_at(l, i);
			return;
		}
	}
}

// ---- the spans that live, in address order

// place_of gives how many of them begin at or below addr.
static size_t place_of(const oracle *o, uint64_t addr) {
	size_t lo = 0, hi = o->spans.n;
	while (lo < hi) {
		const size_t mid = (lo + hi) / 2;
		if (o->spans.v[mid]->base <= addr) {
			lo = mid + 1;
		} else {
			hi = mid;
		}
	}
	return lo;
}

void add_span(oracle *o, span *s) {
	const size_t at = place_of(o, s->base);
	list_add(&o->spans, s);
	for (size_t i = o->spans.n - 1; i > at; i--) {
		o->spans.v[i] = o->spans.v[i - 1];
	}
	o->spans.v[at] = s;
}

void drop_span(oracle *o, span *s) {
	s->live = false;
	remove_at(&o->spans, place_of(o, s->base) - 1);
	list_add(&o->dead, s);
}

span *span_at(const oracle *o, uint64_t addr) {
	const size_t n = place_of(o, addr);
	span *s = n > 0 ? o->spans.v[n - 1] : NULL;
	return s != NULL && addr - s->base < s->npages * PAGE ? s : NULL;
}

// ---- sets

static span_list *swept_set(oracle *o, unsigned kind, bool full) {
	return full ? &o->full[kind][o->cycle % 2] : &o->partial[kind][o->cycle % 2];
}
static span_list *unswept_set(oracle *o, unsigned kind, bool full) {
	return full ? &o->full[kind][(o->cycle + 1) % 2] : &o->partial[kind][(o->cycle + 1) % 2];
}

void push_swept(oracle *o, span *s) {
	const bool full = s->kind < 2 || s->used == s->slots;
	take_step(o, ORACLE_STEP_PUSH);
	list_add(swept_set(o, s->kind, full), s);
}

static span *pop(oracle *o, span_list *set) {
	take_step(o, ORACLE_STEP_POP);
	return list_take_first(set);
}

// ---- sweeping

// acquire takes the right to sweep s: it was not swept in this cycle, and nobody caches or sweeps it.
static bool acquire(oracle *o, span *s) {
	take_step(o, ORACLE_STEP_ACQUIRE);
	if (!s->live || s->manual || s->cached || s->sweeping || s->swept_in == o->cycle) {
		return false;
	}
	s->sweeping = true;
	return true;
}

static bool revives(const oracle *o, const span *s, uint64_t slot) {
	return s->special[slot] && o->cfg.revive != NULL && o->cfg.revive(o->cfg.revive_ctx, s->base + slot * s->slot_size);
}

// sweep: true: nothing lived in s, and it was freed. keep: it is the caller's, whatever lives in it.
static bool sweep(oracle *o, span *s, bool keep) {
	uint64_t freed = 0;
	o->swept_pages += s->npages;
	for (uint64_t i = 0; i < s->slots; i++) {
		s->marked[i] = s->marked[i] || (s->allocated[i] && revives(o, s, i));
		s->special[i] = s->special[i] && s->marked[i];
	}
	for (uint64_t i = 0; i < s->slots; i++) {
		freed += s->allocated[i] && !s->marked[i];
		s->allocated[i] = s->marked[i];
		s->marked[i] = false;
	}
	s->used -= freed;
	s->sweeping = false;
	s->swept_in = o->cycle;
	s->needzero = s->needzero || (freed > 0 && s->kind >= 2);
	o->slot_frees += freed;
	o->bytes_freed += freed * s->slot_size;
	if (keep) {
		return false;
	}
	if (s->used == 0) {
		free_span(o, s);
		return true;
	}
	push_swept(o, s);
	return false;
}

static span *next_unswept(oracle *o) {
	take_step(o, ORACLE_STEP_INDEX);
	for (unsigned i = o->sweep_index; i < 2 * KINDS; i++) {
		span *s = pop(o, unswept_set(o, i / 2, i % 2 == 0));
		if (s != NULL) {
			take_step(o, ORACLE_STEP_INDEX);
			o->sweep_index = i > o->sweep_index ? i : o->sweep_index;
			return s;
		}
	}
	take_step(o, ORACLE_STEP_INDEX);
	o->sweep_index = 2 * KINDS;
	return NULL;
}

// begin_sweeping: whoever began before all was swept goes on; false: too late.
static bool begin_sweeping(oracle *o) {
	o->sweepers += !o->drained;
	return !o->drained;
}

static void end_sweeping(oracle *o) { o->sweepers--; }

// sweeping_is_over: nothing is left, and nobody is still at it.
static bool sweeping_is_over(const oracle *o) { return o->drained && o->sweepers == 0; }

static span *acquire_next(oracle *o) {
	for (;;) {
		span *s = next_unswept(o);
		if (s == NULL) {
			o->drained = true;
			return NULL;
		}
		if (acquire(o, s)) {
			return s;
		}
	}
}

uint64_t oracle_sweep_one(oracle *o, int p) {
	(void)p;
	if (!begin_sweeping(o)) {
		return UINT64_MAX;
	}
	span *s = acquire_next(o);
	uint64_t freed = UINT64_MAX;
	if (s != NULL) {
		const uint64_t npages = s->npages;
		freed = sweep(o, s, false) ? npages : 0;
		o->reclaim_credit += freed;
	}
	end_sweeping(o);
	return freed;
}

void oracle_pace(oracle *o, uint64_t trigger) {
	uint64_t in_use = 0;
	for (size_t i = 0; i < o->spans.n; i++) {
		in_use += o->spans.v[i]->manual ? 0 : o->spans.v[i]->npages;
	}
	o->sweep_pages_per_byte = 0;
	if (sweeping_is_over(o) || in_use <= o->swept_pages) {
		return;
	}
	int64_t distance = (int64_t)(trigger - o->live) - (1 << 20); // sweeping shall end 1 MiB before the next cycle
	distance = distance < PAGE ? PAGE : distance;
	o->sweep_pages_per_byte = (double)(in_use - o->swept_pages) / (double)distance;
	o->live_basis = o->live;
	o->swept_basis = o->swept_pages;
}

void sweep_in_proportion(oracle *o, uint64_t bytes, uint64_t pages) {
	if (o->sweep_pages_per_byte <= 0) {
		return;
	}
	const uint64_t growth = bytes + (o->live > o->live_basis ? o->live - o->live_basis : 0);
	const int64_t target = (int64_t)(o->sweep_pages_per_byte * (double)growth) - (int64_t)pages;
	while (target > (int64_t)(o->swept_pages - o->swept_basis)) {
		if (oracle_sweep_one(o, -1) == UINT64_MAX) {
			o->sweep_pages_per_byte = 0;
			return;
		}
	}
}

void oracle_add_special(oracle *o, int p, uint64_t addr) {
	(void)p;
	span *s = span_at(o, addr);
	if (begin_sweeping(o)) {
		if (acquire(o, s)) {
			sweep(o, s, false);
		}
		end_sweeping(o);
	}
	s->special[(addr - s->base) / s->slot_size] = true;
}

// look_at notes which spans of objects without marks begin in n pages, each at the number of its page.
static bool look_at(const oracle *o, uint64_t addr, uint64_t n, span *found[]) {
	bool any = false;
	memset(found, 0, (size_t)(n * sizeof *found));
	for (size_t i = place_of(o, addr - 1); i < o->spans.n && o->spans.v[i]->base < addr + n * PAGE; i++) {
		span *s = o->spans.v[i];
		if (!s->manual && !s->page_marked) {
			found[(s->base - addr) / PAGE] = s;
			any = true;
		}
	}
	return any;
}

// reclaim_eight looks at 8 pages at once, and again when one of their spans was swept: others may have changed them meanwhile.
static uint64_t reclaim_eight(oracle *o, uint64_t addr) {
	span *found[8];
	uint64_t freed = 0;
	look_at(o, addr, 8, found);
	for (unsigned i = 0; i < 8; i++) {
		if (found[i] == NULL || !acquire(o, found[i])) {
			continue;
		}
		const uint64_t npages = found[i]->npages;
		freed += sweep(o, found[i], false) ? npages : 0;
		take_step(o, ORACLE_STEP_LOCK);
		look_at(o, addr, 8, found);
	}
	return freed;
}

// reclaim_pages sweeps the spans without marks that begin in one step's pages; returns the pages that became free.
static uint64_t reclaim_pages(oracle *o, uint64_t page) {
	const uint64_t arena_pages = o->cfg.arena_bytes / PAGE;
	const uint64_t addr = o->arenas[page / arena_pages].base + page % arena_pages * PAGE;
	const uint64_t n = o->platform.reclaim_pages;
	span *found[RECLAIM_MOST];
	uint64_t freed = 0;
	if (!begin_sweeping(o)) {
		return 0;
	}
	for (uint64_t i = 0; look_at(o, addr, n, found) && i < n; i += 8) {
		freed += reclaim_eight(o, addr + i * PAGE);
	}
	end_sweeping(o);
	return freed;
}

static void reclaim(oracle *o, uint64_t npages) {
	const uint64_t arena_pages = o->cfg.arena_bytes / PAGE;
	bool locked = false;
	while (npages > 0 && o->reclaim_page != UINT64_MAX) {
		if (o->reclaim_credit > 0) {
			const uint64_t take = o->reclaim_credit < npages ? o->reclaim_credit : npages;
			o->reclaim_credit -= take;
			npages -= take;
			continue;
		}
		const uint64_t page = o->reclaim_page;
		if (page / arena_pages >= o->sweep_arenas) {
			o->reclaim_page = UINT64_MAX;
			return;
		}
		o->reclaim_page += o->platform.reclaim_pages;
		if (!locked) {
			take_step(o, ORACLE_STEP_LOCK);
			locked = true;
		}
		const uint64_t freed = reclaim_pages(o, page);
		o->reclaim_credit += freed > npages ? freed - npages : 0;
		npages -= freed < npages ? freed : npages;
	}
}

// ---- spans of objects

span *fresh_span(oracle *o, proc *p, unsigned kind, uint64_t npages, uint64_t slot_size, uint64_t slots) {
	if (!sweeping_is_over(o)) {
		reclaim(o, npages);
	}
	span *s = take_span(o, p, npages, false);
	if (s == NULL) {
		return NULL;
	}
	s->kind = kind;
	s->slot_size = slot_size;
	s->slots = slots;
	s->limit = s->base + slots * slot_size;
	s->allocated = oracle_need(calloc((size_t)(3 * slots), sizeof(bool)));
	s->marked = s->allocated + slots;
	s->special = s->marked + slots;
	return s;
}

static span *sweep_until_room(oracle *o, unsigned kind) {
	unsigned looked = 0;
	for (int full = 0; full < 2; full++) {
		for (; looked < SETS_LOOKED_AT; looked++) {
			span *s = pop(o, unswept_set(o, kind, full != 0));
			if (s == NULL) {
				break;
			}
			if (!acquire(o, s)) {
				continue;
			}
			sweep(o, s, true);
			if (s->used < s->slots) {
				return s;
			}
			push_swept(o, s);
		}
	}
	return NULL;
}

static span *take_unswept(oracle *o, unsigned kind) {
	if (!begin_sweeping(o)) {
		return NULL;
	}
	span *s = sweep_until_room(o, kind);
	end_sweeping(o);
	return s;
}

// uncache gives a span back that a P allocated from. What was not allocated of it is not live, but a new cycle counts anew.
static void uncache(oracle *o, span *s) {
	s->cached = false;
	o->live -= s->swept_in == o->cycle ? (s->slots - s->used) * s->slot_size : 0;
	if (s->swept_in != o->cycle) {
		sweep(o, s, false); // it was cached when the cycle began: nobody else could
		return;
	}
	push_swept(o, s);
}

static void forget_back(proc *p, unsigned kind) {
	size_t n = 0;
	for (size_t i = 0; i < p->nback; i++) {
		if (p->back[i].kind != kind) {
			p->back[n++] = p->back[i];
		}
	}
	p->nback = n;
}

span *refill(oracle *o, proc *p, unsigned kind) {
	if (kind == TINY_CLASS * 2 + 1) {
		forget_back(p, kind);
	}
	if (p->cached[kind] != NULL) {
		uncache(o, p->cached[kind]);
		p->cached[kind] = NULL;
	}
	sweep_in_proportion(o, o->sizes.classes[kind / 2].npages * PAGE, 0);
	span *s = pop(o, swept_set(o, kind, false));
	s = s != NULL ? s : take_unswept(o, kind);
	if (s == NULL) {
		const unsigned class = kind / 2;
		const oracle_size_class *c = &o->sizes.classes[class];
		const uint64_t slots = oracle_sizes_slots(&o->sizes, class, kind % 2 != 0, !o->cfg.no_green_tea);
		s = fresh_span(o, p->alive ? p : NULL, kind, c->npages, c->size, slots);
	}
	if (s != NULL) {
		s->cached = true;
		p->cached[kind] = s;
		o->live += s->npages * PAGE - s->used * s->slot_size;
	}
	return s;
}

void release_all(oracle *o, proc *p) {
	for (unsigned kind = 0; kind < KINDS; kind++) {
		if (p->cached[kind] != NULL) {
			uncache(o, p->cached[kind]);
			p->cached[kind] = NULL;
		}
	}
	p->tiny = 0;
	p->tiny_used = 0;
	p->nback = 0;
}
