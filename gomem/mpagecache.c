// mpagecache.c (layer 3): 64 neighbouring pages of which a P owns those that were free. Ports mpagecache.go.
//
// Invariants of a pageCache, tested by pageCache_check:
//   base is a multiple of 64 pages
//   the pages of cache are in use in the pageAlloc, and those of cache & scav are not scavenged there
// scav may have more pages than cache: padding pages, which are scavenged and in use, are copied into it and back.
#include "gomem/mpagealloc.h"

uintptr_t pageCache_alloc(const gomem_layout *L, pageCache *c, uintptr_t npages, uintptr_t *scav) {
	L = layout_fold(L);
	*scav = 0;
	if (c->cache == 0) {
		return 0;
	}
	if (npages != 1) {
		return pageCache_allocN(L, c, npages, scav);
	}
	const unsigned i = (unsigned)__builtin_ctzll(c->cache);
	const uint64_t bit = (uint64_t)1 << i;
	*scav = (uintptr_t)(c->scav >> i & 1) << L->pageShift;
	c->cache &= ~bit;
	c->scav &= ~bit;
	return c->base + ((uintptr_t)i << L->pageShift);
}

uintptr_t pageCache_allocN(const gomem_layout *L, pageCache *c, uintptr_t npages, uintptr_t *scav) {
	L = layout_fold(L);
	*scav = 0;
	const unsigned i = npages > pageCachePages ? 64 : findBitRange64(c->cache, (unsigned)npages);
	if (i >= 64) {
		return 0;
	}
	const uint64_t mask = ~(uint64_t)0 >> (64 - npages) << i;
	*scav = (uintptr_t)popcount64(c->scav & mask) << L->pageShift;
	c->cache &= ~mask;
	c->scav &= ~mask;
	return c->base + ((uintptr_t)i << L->pageShift);
}

void pageCache_flush(gomem_env *env, pageCache *c, pageAlloc *p, int owner) {
	const gomem_layout *const L = layout_get(env);
	assertLockHeld(env, p->mheapLock);
	if (pageCache_empty(c)) {
		return;
	}
	lab_event(env, EV_PCFLUSH, (uint64_t)(int64_t)owner, c->base, c->cache, c->scav);
	const chunkIdx ci = chunkIndex(L, c->base);
	const unsigned pi = chunkPageIndex(L, c->base);
	pallocData *const chunk = pageAlloc_chunkOf(L, p, ci);
	pageBits_clearBlock64(&chunk->pallocBits.b, pi, c->cache);
	pageBits_setBlock64(&chunk->scavenged, pi, c->scav);
	// Go tells the index page by page, upwards: its state afterwards depends on their number and on the highest.
	const unsigned n = popcount64(c->cache), highest = bitLen64(c->cache) - 1;
	scavengeIndex_free(env, &p->scav.index, ci, pi + highest + 1 - n, n);
	if (offAddr_lessThan(L, (offAddr){c->base}, p->searchAddr)) {
		p->searchAddr = (offAddr){c->base};
	}
	pageAlloc_update(env, p, c->base, pageCachePages, false, false);
	*c = (pageCache){0};
}

// firstFreePage gives the first free page's address; 0 if there is none.
static uintptr_t firstFreePage(gomem_env *env, const gomem_layout *L, pageAlloc *p) {
	const chunkIdx ci = chunkIndex(L, p->searchAddr.a);
	lab_look(env, L->summaryLevels - 1u, ci, p->summary[L->summaryLevels - 1].p[ci]);
	if (p->summary[L->summaryLevels - 1].p[ci] == 0) {
		offAddr ignored;
		return pageAlloc_find(env, p, 1, &ignored);
	}
	const pallocData *const chunk = pageAlloc_chunkOf(L, p, ci);
	const unsigned j = pallocBits_find1(&chunk->pallocBits, chunkPageIndex(L, p->searchAddr.a));
	if (j == ~0u) {
		gomem_throw(env, "bad summary data");
	}
	return chunkBase(L, ci) + ((uintptr_t)j << L->pageShift);
}

pageCache pageAlloc_allocToCache(gomem_env *env, pageAlloc *p) {
	const gomem_layout *const L = layout_get(env);
	assertLockHeld(env, p->mheapLock);
	if (chunkIndex(L, p->searchAddr.a) >= p->end) {
		return (pageCache){0};
	}
	const uintptr_t addr = firstFreePage(env, L, p);
	if (addr == 0) {
		p->searchAddr = maxOffAddr(L);
		return (pageCache){0};
	}
	const chunkIdx ci = chunkIndex(L, addr);
	const unsigned page = chunkPageIndex(L, addr);
	pallocData *const chunk = pageAlloc_chunkOf(L, p, ci);
	const pageCache c = {
		.base = (uintptr_t)alignDown(addr, (uint64_t)pageCachePages << L->pageShift),
		.cache = ~pallocBits_pages64(&chunk->pallocBits, page),
		.scav = pageBits_block64(&chunk->scavenged, page),
	};
	pallocBits_allocPages64(&chunk->pallocBits, page, c.cache);
	pageBits_clearBlock64(&chunk->scavenged, page, c.cache & c.scav);
	pageAlloc_update(env, p, c.base, pageCachePages, false, true);
	scavengeIndex_alloc(env, &p->scav.index, ci, popcount64(c.cache));
	// All pages up to the cache's last are taken now. The page after it may not be heap memory, which searchAddr must
	// be.
	p->searchAddr = (offAddr){c.base + ((uintptr_t)(pageCachePages - 1) << L->pageShift)};
	return c;
}

void pageCache_check(gomem_env *env, const pageCache *c, pageAlloc *p) {
	const gomem_layout *const L = layout_get(env);
	if (pageCache_empty(c)) {
		return;
	}
	if (c->base != alignDown(c->base, (uint64_t)pageCachePages << L->pageShift)) {
		gomem_throw(env, "pageCache: base is not aligned");
	}
	const pallocData *const chunk = pageAlloc_chunkOf(L, p, chunkIndex(L, c->base));
	const unsigned page = chunkPageIndex(L, c->base);
	if ((c->cache & ~pallocBits_pages64(&chunk->pallocBits, page)) != 0) {
		gomem_throw(env, "pageCache: cached page is free in the page allocator");
	}
	if ((c->cache & c->scav & pageBits_block64(&chunk->scavenged, page)) != 0) {
		gomem_throw(env, "pageCache: cached page is scavenged in the page allocator too");
	}
}
