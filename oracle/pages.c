// pages.c: see pages.h. The rules, in words:
//
//   Taking    A run of n pages is taken at the lowest address where n neighbouring pages are free. Chunks that follow each other without a
//             gap are neighbours. A cache takes all free pages of the aligned 64 that the heap's first free page lies in, and then hands
//             out its own pages in the same way: lowest first.
//   Memory    New pages are scavenged: nothing backs them. Taking a page ends that. Padding stays in use and scavenged for ever.
//   Which     The scavenger looks at chunks from high addresses to low ones. A chunk is worth a look if a page of it was freed since it
//   chunk     was last found empty or was last full; unless forced, it must not be dense either: at least 31/32 of its pages in use, now or
//             when the last generation ended. Pages that are on their way to the OS count as free here.
//             One cursor for each kind of search tells from which page downwards there may be something. A free above the forced cursor
//             raises it at once; the other one is raised when a generation ends, to the highest page freed in it. A raised cursor is
//             marked. A search sinks its cursor to the last page of the chunk it found, if that is another chunk than the cursor's,
//             and then it is no longer marked. A search that finds nothing sets its cursor to nothing, but not a marked one.
//   Which     The highest run of pages that are free and not scavenged, in whole physical pages, at or below the 64 pages that the
//   pages     search's page lies in. From its top as many as were asked for, rounded up to physical pages, at least one. If a border of
//             huge pages lies in what is taken or at one of its ends, the huge page that its first page lies in is taken whole, if the run
//             has all of its lower pages: a huge page is not broken. If there is no run, the chunk is empty: not worth another look.
//
// Invariants: chunks are in address order and do not overlap; a chunk's counts are those of its pages; a page that is in use and
// scavenged is padding.
#include "oracle/pages.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { most_pages = 512, cache_pages = 64 }; // of a chunk; of a P's cache

typedef struct page {
	bool in_use, scavenged;
} page;

typedef struct chunk {
	uint64_t addr;
	unsigned nfree, nfree_scavenged; // of page[]
	unsigned taken;                  // pages in use, but for those on their way to the OS
	unsigned taken_last_gen;         // what taken was when the last generation ended
	bool has_free;                   // a page was freed since the chunk was last found empty or was last full
	page page[most_pages];
} chunk;

typedef struct cursor {
	uint64_t at; // the highest page worth a look; 0: nothing is
	bool marked;
} cursor;

struct oracle_pages {
	oracle_pages_config cfg;
	chunk *chunks;
	size_t n;
	cursor forced, background;
	uint64_t highest_freed; // in this generation; 0: none
};

static void must(bool ok, const char *what) {
	if (!ok) {
		fprintf(stderr, "oracle/pages: %s\n", what);
		abort();
	}
}

oracle_pages *oracle_pages_new(const oracle_pages_config *cfg) {
	oracle_pages *o = calloc(1, sizeof *o);
	if (o != NULL) {
		o->cfg = *cfg;
		o->cfg.chunk_pages = cfg->chunk_pages != 0 ? cfg->chunk_pages : most_pages;
	}
	return o;
}

void oracle_pages_free(oracle_pages *o) {
	if (o != NULL) {
		free(o->chunks);
		free(o);
	}
}

// ---- pages and chunks

static unsigned chunk_pages(const oracle_pages *o) { return (unsigned)o->cfg.chunk_pages; }
static uint64_t chunk_bytes(const oracle_pages *o) { return o->cfg.chunk_pages * o->cfg.page_size; }

static uint64_t page_addr(const oracle_pages *o, const chunk *c, unsigned i) { return c->addr + i * o->cfg.page_size; }

// chunk_of gives the chunk of an address; NULL: none.
static chunk *chunk_of(const oracle_pages *o, uint64_t addr) {
	for (size_t i = 0; i < o->n; i++) {
		if (addr >= o->chunks[i].addr && addr - o->chunks[i].addr < chunk_bytes(o)) {
			return &o->chunks[i];
		}
	}
	return NULL;
}

static void set_page(chunk *c, unsigned i, bool in_use, bool scavenged) {
	page *p = &c->page[i];
	if (!p->in_use) {
		c->nfree--;
		c->nfree_scavenged -= p->scavenged;
	}
	*p = (page){in_use, scavenged};
	if (!p->in_use) {
		c->nfree++;
		c->nfree_scavenged += p->scavenged;
	}
}

// A run of pages is worked on chunk by chunk: the part of it that lies in one chunk.
typedef struct part {
	chunk *c;
	unsigned first, n;
} part;

// next_part cuts the part in the first chunk off the front of a run.
static part next_part(const oracle_pages *o, uint64_t *addr, uint64_t *npages) {
	chunk *c = chunk_of(o, *addr);
	must(c != NULL, "a page that the heap does not have");
	const unsigned first = (unsigned)((*addr - c->addr) / o->cfg.page_size);
	const unsigned room = chunk_pages(o) - first;
	const unsigned n = *npages < room ? (unsigned)*npages : room;
	*addr += n * o->cfg.page_size;
	*npages -= n;
	return (part){c, first, n};
}

static void count_taken(const oracle_pages *o, chunk *c, unsigned n) {
	c->taken += n;
	if (c->taken == chunk_pages(o)) {
		c->has_free = false;
	}
}

static void count_freed(oracle_pages *o, chunk *c, unsigned n, unsigned highest) {
	c->taken -= n;
	c->has_free = true;
	const uint64_t addr = page_addr(o, c, highest);
	if (addr > o->highest_freed) {
		o->highest_freed = addr;
	}
	if (addr > o->forced.at) {
		o->forced = (cursor){addr, true};
	}
}

// ---- growing, taking, freeing

static void fresh_chunk(const oracle_pages *o, chunk *c, uint64_t addr) {
	*c = (chunk){.addr = addr, .nfree = chunk_pages(o), .nfree_scavenged = chunk_pages(o)};
	for (unsigned i = 0; i < chunk_pages(o); i++) {
		c->page[i].scavenged = true;
	}
}

void oracle_pages_grow(oracle_pages *o, uint64_t addr, uint64_t npages) {
	must(addr % chunk_bytes(o) == 0 && npages % chunk_pages(o) == 0, "only whole chunks can be added");
	const size_t more = (size_t)(npages / chunk_pages(o));
	size_t at = 0;
	while (at < o->n && o->chunks[at].addr < addr) {
		at++;
	}
	must(at == 0 || o->chunks[at - 1].addr + chunk_bytes(o) <= addr, "a chunk was added twice");
	must(at == o->n || addr + more * chunk_bytes(o) <= o->chunks[at].addr, "a chunk was added twice");
	chunk *longer = realloc(o->chunks, (o->n + more) * sizeof *longer);
	must(longer != NULL, "out of memory");
	o->chunks = longer;
	memmove(&o->chunks[at + more], &o->chunks[at], (o->n - at) * sizeof *o->chunks);
	o->n += more;
	for (size_t i = 0; i < more; i++) {
		fresh_chunk(o, &o->chunks[at + i], addr + i * chunk_bytes(o));
	}
}

void oracle_pages_pad(oracle_pages *o, uint64_t addr, uint64_t npages) {
	while (npages > 0) {
		const part p = next_part(o, &addr, &npages);
		for (unsigned i = p.first; i < p.first + p.n; i++) {
			must(!p.c->page[i].in_use, "a page in use cannot become padding");
			set_page(p.c, i, true, true);
		}
		count_taken(o, p.c, p.n);
	}
}

// run_in gives the first page of the chunk at which *run, the free pages up to it, reaches npages; a chunk's pages: none.
static unsigned run_in(const oracle_pages *o, const chunk *c, uint64_t npages, uint64_t *run) {
	if (c->nfree == 0) {
		*run = 0;
		return chunk_pages(o);
	}
	for (unsigned i = 0; i < chunk_pages(o); i++) {
		*run = c->page[i].in_use ? 0 : *run + 1;
		if (*run == npages) {
			return i;
		}
	}
	return chunk_pages(o);
}

uint64_t oracle_pages_find(const oracle_pages *o, uint64_t npages) {
	uint64_t run = 0;
	for (size_t i = 0; i < o->n; i++) {
		const chunk *c = &o->chunks[i];
		if (i > 0 && o->chunks[i - 1].addr + chunk_bytes(o) != c->addr) {
			run = 0;
		}
		const unsigned last = run_in(o, c, npages, &run);
		if (last < chunk_pages(o)) {
			return page_addr(o, c, last) - (npages - 1) * o->cfg.page_size;
		}
	}
	return 0;
}

uint64_t oracle_pages_take(oracle_pages *o, uint64_t addr, uint64_t npages) {
	uint64_t scavenged = 0;
	while (npages > 0) {
		const part p = next_part(o, &addr, &npages);
		for (unsigned i = p.first; i < p.first + p.n; i++) {
			must(!p.c->page[i].in_use, "a page was taken twice");
			scavenged += p.c->page[i].scavenged;
			set_page(p.c, i, true, false);
		}
		count_taken(o, p.c, p.n);
	}
	return scavenged;
}

uint64_t oracle_pages_alloc(oracle_pages *o, uint64_t npages, uint64_t *scav_pages) {
	const uint64_t addr = oracle_pages_find(o, npages);
	*scav_pages = addr != 0 ? oracle_pages_take(o, addr, npages) : 0;
	return addr;
}

void oracle_pages_release(oracle_pages *o, uint64_t addr, uint64_t npages) {
	while (npages > 0) {
		const part p = next_part(o, &addr, &npages);
		for (unsigned i = p.first; i < p.first + p.n; i++) {
			must(p.c->page[i].in_use && !p.c->page[i].scavenged, "a page was freed that nobody had taken");
			set_page(p.c, i, false, false);
		}
		count_freed(o, p.c, p.n, p.first + p.n - 1);
	}
}

// ---- caches

bool oracle_cache_is_empty(const oracle_cache *c) {
	for (unsigned i = 0; i < cache_pages; i++) {
		if (c->free[i]) {
			return false;
		}
	}
	return true;
}

// Padding among the 64 pages is known to the cache as scavenged, which changes nothing: it is not free.
void oracle_cache_fill(oracle_pages *o, oracle_cache *c) {
	memset(c, 0, sizeof *c);
	const uint64_t addr = oracle_pages_find(o, 1);
	if (addr == 0) {
		return;
	}
	c->base = addr - addr % (cache_pages * o->cfg.page_size);
	chunk *const k = chunk_of(o, c->base);
	const unsigned first = (unsigned)((c->base - k->addr) / o->cfg.page_size);
	unsigned n = 0;
	for (unsigned i = 0; i < cache_pages; i++) {
		const page p = k->page[first + i];
		c->free[i] = !p.in_use;
		c->scavenged[i] = p.scavenged;
		if (!p.in_use) {
			set_page(k, first + i, true, false);
			n++;
		}
	}
	count_taken(o, k, n);
}

uint64_t oracle_cache_take(const oracle_pages *o, oracle_cache *c, uint64_t npages, uint64_t *scav_pages) {
	*scav_pages = 0;
	uint64_t run = 0;
	for (unsigned i = 0; i < cache_pages; i++) {
		run = c->free[i] ? run + 1 : 0;
		if (run < npages) {
			continue;
		}
		const unsigned first = i + 1 - (unsigned)npages;
		for (unsigned k = first; k <= i; k++) {
			*scav_pages += c->scavenged[k];
			c->free[k] = c->scavenged[k] = false;
		}
		return c->base + first * o->cfg.page_size;
	}
	return 0;
}

void oracle_cache_flush(oracle_pages *o, oracle_cache *c) {
	if (oracle_cache_is_empty(c)) {
		return;
	}
	chunk *const k = chunk_of(o, c->base);
	const unsigned first = (unsigned)((c->base - k->addr) / o->cfg.page_size);
	unsigned n = 0, highest = 0;
	for (unsigned i = 0; i < cache_pages; i++) {
		if (c->free[i]) {
			set_page(k, first + i, false, c->scavenged[i]);
			highest = first + i;
			n++;
		}
	}
	count_freed(o, k, n, highest);
	memset(c, 0, sizeof *c);
}

// ---- scavenging

static bool worth_a_look(const oracle_pages *o, const chunk *c, bool force) {
	const unsigned dense = chunk_pages(o) * 31 / 32;
	return c->has_free && (force || (c->taken < dense && c->taken_last_gen < dense));
}

bool oracle_scav_find(oracle_pages *o, bool force, uint64_t *chunk_addr, unsigned *page_index) {
	cursor *const from = force ? &o->forced : &o->background;
	for (size_t i = o->n; from->at != 0 && i-- > 0;) {
		const chunk *c = &o->chunks[i];
		if (c->addr > from->at || !worth_a_look(o, c, force)) {
			continue;
		}
		if (from->at - c->addr >= chunk_bytes(o)) {
			*from = (cursor){page_addr(o, c, chunk_pages(o) - 1), false};
		}
		*chunk_addr = c->addr;
		*page_index = (unsigned)((from->at - c->addr) / o->cfg.page_size);
		return true;
	}
	if (!from->marked) {
		from->at = 0;
	}
	return false;
}

// A run of pages [first, first + n) of a chunk.
typedef struct run {
	unsigned first, n;
} run;

// can_go tells whether the physical page that begins at page i of the chunk, phys pages long, can be given back.
static bool can_go(const chunk *c, unsigned i, unsigned phys) {
	for (unsigned k = i; k < i + phys; k++) {
		if (c->page[k].in_use || c->page[k].scavenged) {
			return false;
		}
	}
	return true;
}

// highest_run gives the highest run of pages below limit that can be given back. n == 0: none.
static run highest_run(const chunk *c, unsigned limit, unsigned phys) {
	unsigned end = limit;
	while (end > 0 && !can_go(c, end - phys, phys)) {
		end -= phys;
	}
	unsigned first = end;
	while (first > 0 && can_go(c, first - phys, phys)) {
		first -= phys;
	}
	return (run){first, end - first};
}

static uint64_t round_up(uint64_t n, uint64_t to) { return (n + to - 1) / to * to; }

// keep_huge_page lowers the beginning of top, the upper part of all, so that no huge page is broken.
static run keep_huge_page(const oracle_pages *o, run all, run top) {
	if (o->cfg.phys_huge_page <= o->cfg.page_size || o->cfg.phys_huge_page <= o->cfg.phys_page) {
		return top;
	}
	const uint64_t huge = o->cfg.phys_huge_page / o->cfg.page_size;
	const unsigned end = top.first + top.n;
	const uint64_t border = round_up(top.first, huge);
	const unsigned below = (unsigned)(top.first / huge * huge);
	if (border > end || below < all.first) {
		return top;
	}
	return (run){below, end - below};
}

uint64_t oracle_scav_begin(
	oracle_pages *o, uint64_t chunk_addr, unsigned page_index, uint64_t max_bytes, uint64_t *addr) {
	chunk *const c = chunk_of(o, chunk_addr);
	must(c != NULL, "a chunk that the heap does not have");
	const uint64_t page_size = o->cfg.page_size;
	const unsigned phys = o->cfg.phys_page > page_size ? (unsigned)(o->cfg.phys_page / page_size) : 1;
	const run all = highest_run(c, (page_index / cache_pages + 1) * cache_pages, phys);
	if (all.n == 0) {
		c->has_free = false;
		return 0;
	}
	uint64_t most = max_bytes / page_size + (max_bytes % page_size != 0);
	most = most == 0 ? phys : most < all.n ? round_up(most, phys) : all.n;
	const run top = keep_huge_page(o, all, (run){all.first + all.n - (unsigned)most, (unsigned)most});
	for (unsigned i = top.first; i < top.first + top.n; i++) {
		set_page(c, i, true, false);
	}
	*addr = page_addr(o, c, top.first);
	return top.n;
}

void oracle_scav_end(oracle_pages *o, uint64_t addr, uint64_t npages) {
	const part p = next_part(o, &addr, &npages);
	must(npages == 0, "pages of two chunks were given back at once");
	for (unsigned i = p.first; i < p.first + p.n; i++) {
		set_page(p.c, i, false, true);
	}
}

void oracle_scav_next_gen(oracle_pages *o) {
	for (size_t i = 0; i < o->n; i++) {
		o->chunks[i].taken_last_gen = o->chunks[i].taken;
	}
	if (o->highest_freed > o->background.at) {
		o->background = (cursor){o->highest_freed, true};
	}
	o->highest_freed = 0;
}

// ---- looking

void oracle_pages_look(const oracle_pages *o, uint64_t addr, uint64_t npages, oracle_page *out) {
	while (npages > 0) {
		const part p = next_part(o, &addr, &npages);
		const page *from = &p.c->page[p.first];
		for (unsigned i = 0; i < p.n; i++) {
			*out++ = (oracle_page){true, from[i].in_use, from[i].scavenged};
		}
	}
}

oracle_page oracle_pages_at(const oracle_pages *o, uint64_t addr) {
	oracle_page p = {false, false, false};
	if (chunk_of(o, addr) != NULL) {
		oracle_pages_look(o, addr, 1, &p);
	}
	return p;
}

void oracle_pages_count(const oracle_pages *o, uint64_t *scavenged, uint64_t *not_scavenged) {
	*scavenged = *not_scavenged = 0;
	for (size_t i = 0; i < o->n; i++) {
		*scavenged += o->chunks[i].nfree_scavenged;
		*not_scavenged += o->chunks[i].nfree - o->chunks[i].nfree_scavenged;
	}
}
