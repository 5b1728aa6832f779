// pages.h: the pages of a heap, in the plainest way: an array with two bools for each page of the address space that the heap grew by,
// in address order. Every question is answered by looking at each page in turn.
//
// A *page* is the allocator's (8 KiB), a *chunk* is 512 pages (or less). A page is free or in use; a free page may be scavenged: given back to the OS.
// Addresses are numbers; nothing stands behind them.
#ifndef GOMEM_ORACLE_PAGES_H
#define GOMEM_ORACLE_PAGES_H

#include <stdbool.h>
#include <stdint.h>

typedef struct oracle_pages oracle_pages;

typedef struct oracle_pages_config {
	uint64_t page_size;      // 8192
	uint64_t phys_page;      // bytes of a physical page
	uint64_t phys_huge_page; // 0: none, or larger than a chunk: of no use to the scavenger
	uint64_t chunk_pages;    // 0: 512, the most
} oracle_pages_config;

oracle_pages *oracle_pages_new(const oracle_pages_config *cfg); // NULL: out of memory
void oracle_pages_free(oracle_pages *o);

// oracle_pages_grow adds whole chunks: free and scavenged pages.
void oracle_pages_grow(oracle_pages *o, uint64_t addr, uint64_t npages);
// oracle_pages_pad takes pages for ever: in use, and scavenged.
void oracle_pages_pad(oracle_pages *o, uint64_t addr, uint64_t npages);
// oracle_pages_find gives the lowest address of a run of npages free pages; 0: none.
uint64_t oracle_pages_find(const oracle_pages *o, uint64_t npages);
// oracle_pages_take makes free pages used ones; returns how many of them were scavenged, and are so no more.
uint64_t oracle_pages_take(oracle_pages *o, uint64_t addr, uint64_t npages);
// oracle_pages_alloc finds and takes. 0: none.
uint64_t oracle_pages_alloc(oracle_pages *o, uint64_t npages, uint64_t *scav_pages);
void oracle_pages_release(oracle_pages *o, uint64_t addr, uint64_t npages);

// A P's cache: 64 neighbouring pages, of which it owns those that were free. They count as in use.
typedef struct oracle_cache {
	uint64_t base; // a multiple of 64 pages
	bool free[64], scavenged[64];
} oracle_cache;
bool oracle_cache_is_empty(const oracle_cache *c);
// oracle_cache_fill takes all free pages of the 64 that the first free page of the heap lies in; none: the cache stays empty.
void oracle_cache_fill(oracle_pages *o, oracle_cache *c);
uint64_t oracle_cache_take(
	const oracle_pages *o, oracle_cache *c, uint64_t npages, uint64_t *scav_pages); // 0: no such run
void oracle_cache_flush(oracle_pages *o, oracle_cache *c);

// Scavenging, as two steps with the pages taken in between: which chunk, and from which page of it downwards, is looked at next; then the run
// of pages that is given back. force: dense chunks too.
bool oracle_scav_find(
	oracle_pages *o, bool force, uint64_t *chunk_addr, unsigned *page); // false: nothing left to look at
// oracle_scav_begin gives the number of pages, from *addr on, that are given back: they look used until oracle_scav_end. max_bytes: more
// only to complete a physical or huge page. 0: none, and the chunk is not looked at again before a page of it is freed.
uint64_t oracle_scav_begin(oracle_pages *o, uint64_t chunk_addr, unsigned page, uint64_t max_bytes, uint64_t *addr);
void oracle_scav_end(oracle_pages *o, uint64_t addr, uint64_t npages);
// oracle_scav_next_gen: a cycle of the collector began.
void oracle_scav_next_gen(oracle_pages *o);

// Looking.
typedef struct oracle_page {
	bool known, in_use, scavenged;
} oracle_page;
oracle_page oracle_pages_at(const oracle_pages *o, uint64_t addr);
// oracle_pages_look gives npages pages of the heap from addr on.
void oracle_pages_look(const oracle_pages *o, uint64_t addr, uint64_t npages, oracle_page *out);
// oracle_pages_count counts free pages: those scavenged, and those not. Pages in caches are not free.
void oracle_pages_count(const oracle_pages *o, uint64_t *scavenged, uint64_t *not_scavenged);

#endif
