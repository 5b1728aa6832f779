// arenas.c: address space, and pages for spans.
//
// The rules, in words:
// (numbers are those of linux/amd64; oracle_platform has those of others)
//   place    64 hints; without randomization 1 TiB apart from 0xc000000000 on. With it, the topmost bits of the seed (46 less the bits
//            of an arena's size) are the base; a hint's number is added to the base's bits 38 to 45, and bits 40 to 47 of the base are dropped.
//            With 32-bit words: 512, 256 or 128 MiB, whatever the OS grants, of the space behind the program, and a hint behind that
//   reserve  whole arenas of what was reserved at the start, else at the first hint; a hint that the OS does not grant, or behind which there are
//            no addresses, is dropped. Without hints: anywhere, aligned, and new hints stand below and above that place
//   break    where memory comes from a break there are no hints at first, nothing random, and an aligned place is asked for as such
//   grow     whole chunks, from the current arena; what is left of an arena that is not continued becomes pages as well
//   first    the first growth skips a random number of chunks, unless what is asked for would not fit, and a random number of pages
//   pages    fewer than 16 come from the P's own, which are filled when they are used up; else the first run that fits
#include "oracle/heap.h"

#include <stdlib.h>
#include <string.h>

enum { PROGRAM_GAP = 256 << 10, PREFIX_BITS = 8 };

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

static uint64_t reserve_aligned(oracle *o, uint64_t at, uint64_t *n);

// reserve_one takes a large part of a small address space at once.
static void reserve_one(oracle *o) {
	uint64_t behind = round_up(o->platform.program_end + PROGRAM_GAP, o->cfg.arena_bytes);
	for (uint64_t n = 512 << 20; n >= 128 << 20 && o->one == 0; n /= 2) {
		uint64_t got = n;
		o->one = reserve_aligned(o, behind, &got);
		o->one_end = o->one + got;
	}
	if (o->one != 0) {
		behind = o->one_end;
	} else {
		o->one_end = 0;
	}
	add_hint(o, behind, false);
}

void oracle_place_heap(oracle *o) {
	const oracle_platform *p = &o->platform;
	if (o->cfg.sbrk) {
		o->seed = o->cfg.seed;
		o->cfg.no_randomized_base = true;
		return;
	}
	if (p->one_arena) {
		reserve_one(o);
		return;
	}
	o->seed = o->cfg.seed;
	const unsigned arena_bits = log2_of(o->cfg.arena_bytes);
	const uint64_t base =
		o->cfg.no_randomized_base ? 0 : seed_bits(o, (unsigned)p->random_bits - arena_bits) << arena_bits;
	const unsigned least = o->cfg.no_randomized_base ? p->first_hint : 0;
	for (uint64_t i = p->nhints; i-- > least;) {
		if (o->cfg.no_randomized_base) {
			add_hint(o, p->hint | i * p->hint_step, false); // of sv39 each second one is the one before
			continue;
		}
		const unsigned shift = (unsigned)p->random_bits - PREFIX_BITS;
		const uint64_t prefix = ((base >> shift) + i) % 256 << shift;
		const uint64_t rest = base % ((uint64_t)1 << (p->address_bits - PREFIX_BITS));
		add_hint(o, prefix | rest, false);
	}
}

// ---- address space

// is_address tells whether [addr, addr + n) can be the heap's.
static bool is_address(const oracle *o, uint64_t addr, uint64_t n) {
	if (o->platform.word == 4 && addr + n >= (uint64_t)1 << 32) {
		return false; // the end must fit a word, too
	}
	return addr + n >= addr && addr + n - 1 - o->platform.lowest < (uint64_t)1 << o->platform.address_bits;
}

static uint64_t reserve_at_hints(oracle *o, uint64_t n) {
	while (o->nhints > 0) {
		hint *h = &o->hints[o->nhints - 1];
		const uint64_t want = h->down ? h->addr - n : h->addr;
		const uint64_t got = is_address(o, want, n) ? os_call(o, ORACLE_OS_RESERVE, want, n) : 0;
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

// reserve_aligned asks for one arena more than needed, at an address or anywhere (0), and gives back what lies before and behind the aligned part.
static uint64_t reserve_aligned(oracle *o, uint64_t at, uint64_t *n) {
	const uint64_t align = o->cfg.arena_bytes;
	for (int tries = 0; tries < 100; tries++) {
		const uint64_t got = os_call(o, ORACLE_OS_RESERVE, at, *n + align);
		const uint64_t addr = round_up(got, align);
		if (got == 0) {
			return 0;
		}
		if (addr == got && !o->platform.trims_both_ends) {
			*n += align;
			return addr;
		}
		if (!o->platform.reserves_again) {
			if (addr > got) {
				os_call(o, ORACLE_OS_RELEASE, got, addr - got);
			}
			os_call(o, ORACLE_OS_RELEASE, addr + *n, align - (addr - got));
			return addr;
		}
		os_call(o, ORACLE_OS_RELEASE, got, *n + align);
		const uint64_t again = os_call(o, ORACLE_OS_RESERVE, addr, *n);
		if (again == addr) {
			return addr;
		}
		if (again != 0) {
			os_call(o, ORACLE_OS_RELEASE, again, *n);
		}
	}
	return 0;
}

static uint64_t reserve_anywhere(oracle *o, uint64_t *n) {
	const uint64_t addr =
		o->cfg.sbrk ? os_call(o, ORACLE_OS_RESERVE_ALIGNED, o->cfg.arena_bytes, *n) : reserve_aligned(o, 0, n);
	if (addr != 0) {
		add_hint(o, addr, true);
		add_hint(o, addr + *n, false);
	}
	return addr;
}

// reserve_rest takes n bytes of what was reserved at the start.
static uint64_t reserve_rest(oracle *o, uint64_t n) {
	const uint64_t addr = o->one;
	if (addr == 0 || addr + n > o->one_end) {
		return 0;
	}
	o->one += n;
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
	uint64_t addr = reserve_rest(o, n);
	addr = addr != 0 ? addr : reserve_at_hints(o, n);
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
		const uint64_t chunk = o->platform.chunk_pages * PAGE;
		const uint64_t skipped = seed_bits(o, log2_of(o->cfg.arena_bytes / chunk)) * chunk;
		o->cur += skipped + ask <= n ? skipped : 0;
	}
	return true;
}

static bool grow(oracle *o, uint64_t npages) {
	const uint64_t ask = round_up(npages, o->platform.chunk_pages) * PAGE;
	if (o->cur + ask > o->cur_end && !next_arena(o, ask)) {
		return false;
	}
	const uint64_t addr = o->cur;
	o->cur += ask;
	if (!add_pages(o, addr, ask)) {
		return false;
	}
	if (!o->grown && !o->cfg.no_randomized_base) {
		o->padding = seed_bits(o, log2_of(o->platform.chunk_pages * PAGE)) / PAGE;
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

// take_aligned finds room for a physical page more, and takes from its first border on.
static uint64_t take_aligned(oracle *o, uint64_t npages, uint64_t *scavenged) {
	const uint64_t room = npages + o->cfg.phys_page / PAGE;
	take_step(o, ORACLE_STEP_LOCK);
	uint64_t addr = oracle_pages_find(o->pages, room);
	if (addr == 0) {
		if (!grow(o, room)) {
			return 0;
		}
		addr = oracle_pages_find(o->pages, room);
	}
	addr = round_up(addr, o->cfg.phys_page);
	*scavenged = oracle_pages_take(o->pages, addr, npages);
	return addr;
}

span *take_span(oracle *o, proc *p, uint64_t npages, bool stacks) {
	const bool aligned = stacks && o->platform.aligned_stacks && o->cfg.phys_page > PAGE;
	uint64_t scavenged = 0;
	const uint64_t addr = aligned ? take_aligned(o, npages, &scavenged) : take_pages(o, p, npages, &scavenged);
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
