// arenas.c: address space, and pages for spans.
//
// The rules, in words:
//   place    64 hints; without randomization 1 TiB apart from 0xc000000000 on. With it, the topmost bits of the seed (46 less the bits
//            of an arena's size) are the base; a hint's number is added to the base's bits 38 to 45, and bits 40 to 47 of the base are dropped
//   reserve  whole arenas at the first hint; a hint that the OS does not grant is dropped. Without hints: anywhere, aligned, and new hints
//            stand below and above that place
//   grow     whole chunks, from the current arena; what is left of an arena that is not continued becomes pages as well
//   first    the first growth skips a random number of chunks, unless what is asked for would not fit, and a random number of pages
//   pages    fewer than 16 come from the P's own, which are filled when they are used up; else the first run that fits
#include "oracle/heap.h"

#include <stdlib.h>
#include <string.h>

enum { HINTS = 64, BASE_BITS = 46, PREFIX_SHIFT = 38 };

static uint64_t os_call(oracle *o, oracle_os_call call, uint64_t addr, uint64_t n) {
	return o->cfg.os(o->cfg.os_ctx, call, addr, n);
}

static unsigned log2_of(uint64_t n) {
	unsigned i = 0;
	while ((uint64_t)1 << i < n) {
		i++;
	}
	return i;
}

// seed_bits takes the topmost n bits of the seed.
static uint64_t seed_bits(oracle *o, unsigned n) {
	const uint64_t bits = n == 0 ? 0 : o->seed >> (64 - n);
	o->seed <<= n;
	return bits;
}

static void add_hint(oracle *o, uint64_t addr, bool down) { o->hints[o->nhints++] = (hint){addr, down}; }

void oracle_place_heap(oracle *o) {
	o->seed = o->cfg.seed;
	const unsigned arena_bits = log2_of(o->cfg.arena_bytes);
	const uint64_t base = o->cfg.no_randomized_base ? 0 : seed_bits(o, BASE_BITS - arena_bits) << arena_bits;
	for (uint64_t i = HINTS; i-- > 0;) {
		if (o->cfg.no_randomized_base) {
			add_hint(o, 0xc000000000 + (i << 40), false);
			continue;
		}
		const uint64_t prefix = ((base >> PREFIX_SHIFT) + i) % 256 << PREFIX_SHIFT;
		const uint64_t rest = base % ((uint64_t)1 << 40);
		add_hint(o, prefix | rest, false);
	}
}

// ---- address space

static uint64_t reserve_at_hints(oracle *o, uint64_t n) {
	while (o->nhints > 0) {
		hint *h = &o->hints[o->nhints - 1];
		const uint64_t want = h->down ? h->addr - n : h->addr;
		const uint64_t got = os_call(o, ORACLE_OS_RESERVE, want, n);
		if (got == want) {
			h->addr = h->down ? want : want + n;
			return got;
		}
		if (got != 0) {
			os_call(o, ORACLE_OS_RELEASE, got, n);
		}
		o->nhints--;
	}
	return 0;
}

// reserve_anywhere asks for one arena more than needed and gives back what lies before and behind the aligned part.
static uint64_t reserve_anywhere(oracle *o, uint64_t *n) {
	const uint64_t align = o->cfg.arena_bytes;
	const uint64_t got = os_call(o, ORACLE_OS_RESERVE, 0, *n + align);
	if (got == 0) {
		return 0;
	}
	const uint64_t addr = round_up(got, align);
	if (addr == got) {
		*n += align;
	} else {
		os_call(o, ORACLE_OS_RELEASE, got, addr - got);
		os_call(o, ORACLE_OS_RELEASE, addr + *n, align - (addr - got));
	}
	add_hint(o, addr, true);
	add_hint(o, addr + *n, false);
	return addr;
}

static void add_arena(oracle *o, uint64_t base) {
	if (o->narenas == o->cap_arenas) {
		o->cap_arenas = o->cap_arenas * 2 + 16;
		o->arenas = oracle_need(realloc(o->arenas, o->cap_arenas * sizeof *o->arenas));
	}
	o->arenas[o->narenas++] = (arena){base, 0};
}

static bool add_pages(oracle *o, uint64_t addr, uint64_t n) {
	if (os_call(o, ORACLE_OS_MAP, addr, n) == 0) {
		return false;
	}
	oracle_pages_grow(o->pages, addr, n / PAGE);
	return true;
}

// next_arena makes room for ask bytes at o->cur.
static bool next_arena(oracle *o, uint64_t ask) {
	uint64_t n = round_up(ask, o->cfg.arena_bytes);
	uint64_t addr = reserve_at_hints(o, n);
	addr = addr != 0 ? addr : reserve_anywhere(o, &n);
	if (addr == 0) {
		return false;
	}
	for (uint64_t base = addr; base < addr + n; base += o->cfg.arena_bytes) {
		add_arena(o, base);
	}
	if (addr == o->cur_end) {
		o->cur_end += n;
		return true;
	}
	if (o->cur != o->cur_end && !add_pages(o, o->cur, o->cur_end - o->cur)) {
		return false;
	}
	o->cur = addr;
	o->cur_end = addr + n;
	if (!o->grown && !o->cfg.no_randomized_base) {
		const uint64_t chunk = CHUNK_PAGES * PAGE;
		const uint64_t skipped = seed_bits(o, log2_of(o->cfg.arena_bytes / chunk)) * chunk;
		o->cur += skipped + ask <= n ? skipped : 0;
	}
	return true;
}

static bool grow(oracle *o, uint64_t npages) {
	const uint64_t ask = round_up(npages, CHUNK_PAGES) * PAGE;
	if (o->cur + ask > o->cur_end && !next_arena(o, ask)) {
		return false;
	}
	const uint64_t addr = o->cur;
	o->cur += ask;
	if (!add_pages(o, addr, ask)) {
		return false;
	}
	if (!o->grown && !o->cfg.no_randomized_base) {
		o->padding = seed_bits(o, log2_of(CHUNK_PAGES * PAGE)) / PAGE;
		if (o->padding > 0) {
			oracle_pages_pad(o->pages, addr, o->padding);
		}
	}
	o->grown = true;
	return true;
}

// ---- pages

static uint64_t take_pages(oracle *o, proc *p, uint64_t npages, uint64_t *scavenged) {
	if (p != NULL && npages < PAGE_CACHE_BELOW) {
		if (oracle_cache_is_empty(&p->pages)) {
			take_step(o, ORACLE_STEP_LOCK);
			oracle_cache_fill(o->pages, &p->pages);
		}
		const uint64_t addr = oracle_cache_take(o->pages, &p->pages, npages, scavenged);
		if (addr != 0) {
			return addr;
		}
	}
	take_step(o, ORACLE_STEP_LOCK);
	uint64_t addr = oracle_pages_alloc(o->pages, npages, scavenged);
	// The padding of the first growth may have left too little; then the heap grows once more.
	while (addr == 0) {
		if (!grow(o, npages)) {
			return 0;
		}
		addr = oracle_pages_alloc(o->pages, npages, scavenged);
	}
	return addr;
}

// was_used tells whether any of the pages was used before, and notes that they are now.
static bool was_used(oracle *o, uint64_t addr, uint64_t n) {
	bool used = false;
	for (size_t i = 0; i < o->narenas; i++) {
		arena *a = &o->arenas[i];
		const uint64_t from = addr > a->base ? addr - a->base : 0;
		const uint64_t to = addr + n > a->base ? addr + n - a->base : 0;
		if (to == 0 || from >= o->cfg.arena_bytes) {
			continue;
		}
		const uint64_t end = to < o->cfg.arena_bytes ? to : o->cfg.arena_bytes;
		used = used || from < a->used;
		a->used = end > a->used ? end : a->used;
	}
	return used;
}

span *take_span(oracle *o, proc *p, uint64_t npages) {
	uint64_t scavenged = 0;
	const uint64_t addr = take_pages(o, p, npages, &scavenged);
	if (addr == 0 || (scavenged > 0 && os_call(o, ORACLE_OS_USED, addr, npages * PAGE) == 0)) {
		return NULL;
	}
	take_step(o, ORACLE_STEP_ZEROED);
	const bool used = was_used(o, addr, npages * PAGE);
	span *s = oracle_need(calloc(1, sizeof *s));
	s->base = addr;
	s->npages = npages;
	s->limit = addr + npages * PAGE;
	s->live = true;
	s->needzero = used && (o->cfg.unused_keeps_contents || scavenged < npages);
	s->swept_in = o->cycle;
	add_span(o, s);
	return s;
}

void free_span(oracle *o, span *s) {
	take_step(o, ORACLE_STEP_LOCK);
	drop_span(o, s);
	oracle_pages_release(o->pages, s->base, s->npages);
}

uint64_t oracle_scavenge(oracle *o, uint64_t nbytes, bool force) {
	uint64_t released = 0;
	while (released < nbytes) {
		uint64_t chunk, addr;
		unsigned page;
		take_step(o, ORACLE_STEP_SCAV);
		if (!oracle_scav_find(o->pages, force, &chunk, &page)) {
			break;
		}
		take_step(o, ORACLE_STEP_LOCK);
		const uint64_t npages = oracle_scav_begin(o->pages, chunk, page, nbytes - released, &addr);
		if (npages == 0) {
			continue;
		}
		os_call(o, ORACLE_OS_UNUSED, addr, npages * PAGE);
		take_step(o, ORACLE_STEP_LOCK);
		oracle_scav_end(o->pages, addr, npages);
		released += npages * PAGE;
	}
	return released;
}
