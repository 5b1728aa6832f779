// heap.c: objects, the cycle of the collector, and the heap as a whole.
//
// The rules, in words:
//   small    an object takes the lowest free slot of the span of its kind that its P caches; with pointers and more than 512 bytes it stands
//            behind a header of 8 bytes (with 32-bit words: more than 128)
//   tiny     below 16 bytes, without pointers, objects share a slot of 16 bytes, one behind the other, aligned to 8, 4 or 2 if their size is; one
//            that does not fit begins another block, and of the two the one with more room left is gone on with
//   large    above 32760 bytes an object has a span of its own
//   again    an object that was given back is taken before any free slot of its kind; all are forgotten when the P's caches are flushed, those of
//            the kind of tiny blocks also when it gets another span of that kind
//   cycle    what is made while marking is on lives; so does what is in the blocks of tiny objects when it begins
//   zero     memory that was used before is cleared where that was asked for, and always if it has pointers
#include "oracle/heap.h"

#include <stdlib.h>
#include <string.h>

// ---- objects

proc *proc_of(oracle *o, int p) { return p < 0 ? NULL : &o->procs[p]; }

// publish: an object that is made while marking is on lives through the cycle.
static void publish(oracle *o, span *s, uint64_t slot) {
	s->allocated[slot] = true;
	s->used++;
	o->slot_allocs++;
	o->bytes_allocated += s->slot_size;
	if (o->phase != 0) {
		s->marked[slot] = true;
		s->page_marked = true;
	}
}

static uint64_t take_slot(oracle *o, proc *p, unsigned kind, span **of) {
	span *s = p->cached[kind];
	if (s == NULL || s->used == s->slots) {
		s = refill(o, p, kind);
	}
	*of = s;
	for (uint64_t i = 0; s != NULL && i < s->slots; i++) {
		if (!s->allocated[i]) {
			publish(o, s, i);
			return s->base + i * s->slot_size;
		}
	}
	return 0;
}

static void zero(const oracle *o, uint64_t addr, uint64_t n) {
	if (o->cfg.backed) {
		memset((void *)(uintptr_t)addr, 0, (size_t)n);
	}
}

static uint64_t align_tiny(const oracle *o, uint64_t at, uint64_t size) {
	const bool wide = size % 8 == 0 || (size == 12 && o->platform.word == 4); // 12 bytes may begin with 8
	const uint64_t align = wide ? 8 : size % 4 == 0 ? 4 : size % 2 == 0 ? 2 : 1;
	return round_up(at, align);
}

static uint64_t malloc_tiny(oracle *o, proc *p, uint64_t size) {
	const uint64_t at = align_tiny(o, p->tiny_used, size);
	if (p->tiny != 0 && at + size <= TINY) {
		p->tiny_used = at + size;
		o->tiny_hits++;
		return p->tiny + at;
	}
	span *s;
	const uint64_t addr = take_slot(o, p, TINY_CLASS * 2 + 1, &s);
	if (addr == 0) {
		return 0;
	}
	zero(o, addr, TINY);
	if (p->tiny == 0 || size < p->tiny_used) { // the block with more room left is gone on with
		p->tiny = addr;
		p->tiny_used = size;
	}
	return addr;
}

// take_back gives the last object of a kind that was given back; 0: none was.
static uint64_t take_back(oracle *o, proc *p, unsigned kind) {
	for (size_t i = p->nback; i-- > 0;) {
		if (p->back[i].kind != kind) {
			continue;
		}
		const uint64_t addr = p->back[i].addr;
		memmove(p->back + i, p->back + i + 1, (--p->nback - i) * sizeof *p->back);
		if (o->phase != 0) {
			oracle_mark(o, addr);
		}
		return addr;
	}
	return 0;
}

bool oracle_freegc(oracle *o, int p, uint64_t addr, uint64_t size, bool pointers) {
	proc *pp = p < 0 ? &o->boot : &o->procs[p];
	if (!o->cfg.freegc || pointers || size < TINY || size > MAX_SMALL) {
		return false;
	}
	if (pp->nback == pp->cap_back) {
		pp->cap_back = pp->cap_back * 2 + 16;
		pp->back = oracle_need(realloc(pp->back, pp->cap_back * sizeof *pp->back));
	}
	pp->back[pp->nback++] = (given_back){addr, oracle_sizes_class(&o->sizes, size) * 2 + 1};
	return true;
}

static uint64_t malloc_small(oracle *o, proc *p, uint64_t size, bool pointers, bool needzero) {
	const uint64_t header = pointers && size > largest_bitmap(o->platform.word) ? HEADER : 0;
	const unsigned class = oracle_sizes_class(&o->sizes, size + header);
	const uint64_t again = pointers ? 0 : take_back(o, p, class * 2 + 1);
	if (again != 0) {
		if (needzero) {
			zero(o, again, o->sizes.classes[class].size);
		}
		return again;
	}
	span *s;
	const uint64_t addr = take_slot(o, p, class * 2 + (pointers ? 0 : 1), &s);
	if (addr != 0 && (needzero || pointers) && s->needzero) {
		zero(o, addr, s->slot_size);
	}
	return addr == 0 ? 0 : addr + header;
}

static uint64_t malloc_large(oracle *o, proc *p, uint64_t size, bool pointers, bool needzero) {
	const uint64_t npages = round_up(size, PAGE) / PAGE;
	sweep_in_proportion(o, npages * PAGE, npages);
	span *s = fresh_span(o, p->alive ? p : NULL, pointers ? 0 : 1, npages, npages * PAGE, 1);
	if (s == NULL) {
		return 0;
	}
	s->limit = s->base + size;
	push_swept(o, s);
	publish(o, s, 0);
	o->large_allocs++;
	o->live += npages * PAGE;
	if ((needzero || pointers) && s->needzero) {
		zero(o, s->base, s->npages * PAGE);
	}
	return s->base;
}

uint64_t oracle_malloc(oracle *o, int p, uint64_t size, bool pointers, bool needzero) {
	proc *pp = p < 0 ? &o->boot : &o->procs[p];
	if (size == 0) {
		return 1;
	}
	if (size > MAX_SMALL) {
		return malloc_large(o, pp, size, pointers, needzero);
	}
	return size < TINY && !pointers ? malloc_tiny(o, pp, size) : malloc_small(o, pp, size, pointers, needzero);
}

uint64_t oracle_alloc_manual(oracle *o, int p, uint64_t npages) {
	span *s = take_span(o, proc_of(o, p), npages, false);
	if (s == NULL) {
		return 0;
	}
	s->manual = true;
	return s->base;
}

void oracle_free_manual(oracle *o, int p, uint64_t addr) {
	(void)p;
	free_span(o, span_at(o, addr));
}

// ---- the cycle

// When marking begins, so does it for the blocks that tiny objects will go on to share.
void oracle_set_phase(oracle *o, int phase) {
	o->phase = phase;
	for (int i = 0; phase == 1 && i < o->nprocs; i++) {
		if (o->procs[i].tiny != 0) {
			oracle_mark(o, o->procs[i].tiny);
		}
	}
}

void oracle_finish_sweep(oracle *o, int p) {
	while (oracle_sweep_one(o, p) != UINT64_MAX) {
	}
	for (size_t i = 0; i < o->spans.n; i++) {
		o->spans.v[i]->page_marked = false;
	}
}

bool oracle_mark(oracle *o, uint64_t addr) {
	span *s = span_at(o, addr);
	if (s == NULL || s->manual || addr >= s->limit) {
		return false;
	}
	const uint64_t slot = (addr - s->base) / s->slot_size;
	if (!s->allocated[slot]) {
		return false;
	}
	s->marked[slot] = true;
	s->page_marked = true;
	return true;
}

void oracle_start_sweep(oracle *o) {
	o->cycle++;
	o->swept_pages = 0;
	o->drained = false;
	o->sweep_index = 0;
	o->sweep_arenas = o->narenas;
	o->reclaim_page = 0;
	o->reclaim_credit = 0;
	oracle_scav_next_gen(o->pages);
}

void oracle_prepare_for_sweep(oracle *o, int p) {
	proc *pp = &o->procs[p];
	if (pp->prepared_in == o->cycle) {
		return;
	}
	release_all(o, pp);
	clear_stacks(o, pp);
	pp->prepared_in = o->cycle;
}

// ---- making

oracle *oracle_new(const oracle_config *cfg) {
	oracle *o = oracle_need(calloc(1, sizeof *o));
	o->cfg = *cfg;
	o->cfg.arena_bytes = cfg->arena_bytes != 0 ? cfg->arena_bytes : (uint64_t)64 << 20;
	o->cfg.phys_page = cfg->phys_page != 0 ? cfg->phys_page : 4096;
	static const oracle_platform linux_amd64 = {
		.word = 8,
		.lowest = 0xffff800000000000,
		.address_bits = 48,
		.random_bits = 46,
		.chunk_pages = 512,
		.reclaim_pages = 512,
		.hint = 0xc000000000,
		.hint_step = (uint64_t)1 << 40,
		.nhints = 64,
		.stack_min = 2048,
		.stack_orders = 4,
	};
	o->platform = cfg->platform != NULL ? *cfg->platform : linux_amd64;
	oracle_sizes_make(&o->sizes, PAGE, 32768);
	o->sizes.word = o->platform.word;
	const oracle_pages_config pages = {PAGE, o->cfg.phys_page, cfg->phys_huge_page, o->platform.chunk_pages};
	o->pages = oracle_need(oracle_pages_new(&pages));
	oracle_place_heap(o);
	return o;
}

static void free_lists(span_list *l, size_t n) {
	for (size_t i = 0; i < n; i++) {
		free(l[i].block);
	}
}

static void free_spans(span_list *l) {
	for (size_t i = 0; i < l->n; i++) {
		free(l->v[i]->allocated);
		free(l->v[i]->free_stacks);
		free(l->v[i]);
	}
	free(l->block);
}

void oracle_free(oracle *o) {
	free_spans(&o->spans);
	free_spans(&o->dead);
	free_lists(&o->partial[0][0], (size_t)KINDS * 2);
	free_lists(&o->full[0][0], (size_t)KINDS * 2);
	free_lists(o->stack_pool, STACK_ORDERS);
	free_lists(o->large_stacks, LARGE_STACKS);
	free(o->boot.back);
	for (unsigned i = 0; i < MAX_PROCS; i++) {
		free(o->procs[i].back);
	}
	free(o->arenas);
	oracle_pages_free(o->pages);
	free(o);
}

static void end_proc(oracle *o, proc *p) {
	if (!oracle_cache_is_empty(&p->pages)) {
		take_step(o, ORACLE_STEP_LOCK);
		oracle_cache_flush(o->pages, &p->pages);
	}
	release_all(o, p);
	clear_stacks(o, p);
	p->alive = false;
}

void oracle_procresize(oracle *o, int nprocs) {
	for (int i = o->nprocs; i < nprocs; i++) {
		const bool first = i == 0 && o->nprocs == 0;
		free(o->procs[i].back);
		o->procs[i] = first ? o->boot : (proc){.prepared_in = o->cycle};
		o->procs[i].alive = true;
		if (first) {
			o->boot.back = NULL;
		}
	}
	oracle_prepare_for_sweep(o, 0);
	for (int i = nprocs; i < o->nprocs; i++) {
		end_proc(o, &o->procs[i]);
	}
	o->nprocs = nprocs;
}

// ---- looking

bool oracle_span_of(const oracle *o, uint64_t addr, oracle_span_info *out) {
	const span *s = span_at(o, addr);
	if (s == NULL) {
		return false;
	}
	*out = (oracle_span_info){
		.base = s->base,
		.npages = s->npages,
		.slot_size = s->slot_size,
		.slots = s->slots,
		.allocated = s->used,
		.class = s->kind / 2,
		.noscan = s->kind % 2 != 0,
		.manual = s->manual,
		.needzero = s->needzero,
	};
	return true;
}

uint64_t oracle_find_object(const oracle *o, uint64_t addr) {
	const span *s = span_at(o, addr);
	if (s == NULL || s->manual || addr >= s->limit) {
		return 0;
	}
	return s->base + (addr - s->base) / s->slot_size * s->slot_size;
}

static void count_cached(const proc *p, uint64_t *scavenged, uint64_t *others) {
	for (unsigned i = 0; i < 64; i++) {
		*scavenged += p->pages.free[i] && p->pages.scavenged[i];
		*others += p->pages.free[i] && !p->pages.scavenged[i];
	}
}

uint64_t oracle_live(const oracle *o) { return o->live; }

void oracle_read_stats(const oracle *o, oracle_stats *out) {
	*out = (oracle_stats){
		.total_alloc = o->bytes_allocated,
		.total_free = o->bytes_freed,
		.mallocs = o->slot_allocs + o->tiny_hits,
		.frees = o->slot_frees + o->tiny_hits,
		.tiny_allocs = o->tiny_hits,
		.large_allocs = o->large_allocs,
	};
	uint64_t scavenged, others;
	oracle_pages_count(o->pages, &scavenged, &others);
	for (int i = 0; i < o->nprocs; i++) {
		count_cached(&o->procs[i], &scavenged, &others);
	}
	out->heap_free = others * PAGE;
	out->heap_released = (scavenged + o->padding) * PAGE;
	for (size_t i = 0; i < o->spans.n; i++) {
		const span *s = o->spans.v[i];
		if (s->live) {
			uint64_t *sum = !s->manual ? &out->heap_in_use
				: s->slot_size != 0    ? &out->stacks_in_use
									   : &out->manual_in_use;
			*sum += s->npages * PAGE;
		}
	}
}
