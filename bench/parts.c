// parts.c: see parts.h. A page level part is a page allocator over a simulated OS; the others are of a heap of the process's own memory.
//
// fragmented: every second page is in use, all over the heap, and only its last chunk has a free run of runPages; not: all before that run is in
// use. So a search for that run goes to the end of the heap, and one for a page, where there is one, to its beginning.
#include "bench/parts.h"

#include <stdio.h>
#include <stdlib.h>

#include "gomem/mbitmap.h"
#include "gomem/mcache.h"

enum { runPages = 32 };

static _Noreturn void failed(const char *what) {
	(void)fprintf(stderr, "bench_parts: %s\n", what);
	exit(2);
}

// ---- pages

typedef struct pages {
	gomem_env env;
	gomem_stats stats;
	mutex heapLock;
	sysMemStat sysStat;
	heapStatsDelta delta;
	pageAlloc p;
	uintptr_t base, bytes;
	uint64_t sink;
} pages;

static const uintptr_t pagesBase = (uintptr_t)0xc000 << 22; // as Go's own tests have it

static bool addPages(pages *s, uintptr_t bytes) {
	if (!pageAlloc_grow(&s->env, &s->p, s->base + s->bytes, bytes)) {
		return false;
	}
	s->bytes += bytes;
	return true;
}

// fillChunk marks pages of a chunk; the sums are updated later, all at once.
static void fillChunk(pages *s, chunkIdx ci, bool fragmented, bool last) {
	pallocData *m = pageAlloc_chunkOf(layout_get(&s->env), &s->p, ci);
	pageBits_clearAll(&m->scavenged);
	for (unsigned i = 0; i < pallocChunkPages / 64; i++) {
		pallocBits_allocPages64(&m->pallocBits, i * 64, fragmented ? 0x5555555555555555 : ~(uint64_t)0);
	}
	if (last) {
		pallocBits_free(&m->pallocBits, pallocChunkPages - runPages, runPages);
	}
	const unsigned n = pageBits_popcntRange(&m->pallocBits.b, 0, pallocChunkPages);
	scavengeIndex_alloc(&s->env, &s->p.scav.index, ci, pallocChunkPages);
	scavengeIndex_free(&s->env, &s->p.scav.index, ci, 0, pallocChunkPages);
	scavengeIndex_alloc(&s->env, &s->p.scav.index, ci, n);
}

static void *pages_make(const bench_part *part) {
	pages *s = calloc(1, sizeof(*s));
	gomem_os *os = mem_sim_new(&(memSimConfig){0});
	if (s == NULL || os == NULL) {
		failed("out of memory");
	}
	s->env = (gomem_env){.layout = &layout_host, .os = os, .stats = &s->stats};
	s->env.physPageSize = os->physPageSize;
	s->base = pagesBase;
	if (!pageAlloc_init(&s->env, &s->p, &s->heapLock, &s->sysStat, true)) {
		failed("out of memory");
	}
	lock(&s->env, &s->heapLock);
	if (!addPages(s, part->n)) {
		failed("out of memory");
	}
	for (chunkIdx ci = s->p.start; ci < s->p.end; ci++) {
		fillChunk(s, ci, part->fragmented, ci == s->p.end - 1);
	}
	pageAlloc_update(&s->env, &s->p, s->base, s->bytes >> layout_get(&s->env)->pageShift, false, false);
	s->p.searchAddr = (offAddr){s->base};
	return s;
}

static void pages_end(void *ctx) {
	pages *s = ctx;
	unlock(&s->env, &s->heapLock);
	pageAlloc_destroy(&s->env, &s->p);
	s->env.os->destroy(s->env.os);
	free(s);
}

static void pages_find(void *ctx, unsigned calls) {
	pages *s = ctx;
	for (unsigned i = 0; i < calls; i++) {
		offAddr searchAddr;
		s->sink += pageAlloc_find(&s->env, &s->p, runPages, &searchAddr);
	}
	if (s->sink == 0) {
		failed("pages_find: the port refused");
	}
}

static void pages_allocFree(void *ctx, unsigned calls) {
	pages *s = ctx;
	for (unsigned i = 0; i < calls; i++) {
		uintptr_t scav;
		const uintptr_t x = pageAlloc_alloc(&s->env, &s->p, runPages, &scav);
		pageAlloc_free(&s->env, &s->p, x, runPages);
	}
}

static void pages_allocFreeOne(void *ctx, unsigned calls) {
	pages *s = ctx;
	for (unsigned i = 0; i < calls; i++) {
		uintptr_t scav;
		const uintptr_t x = pageAlloc_alloc(&s->env, &s->p, 1, &scav);
		pageAlloc_free(&s->env, &s->p, x, 1);
	}
}

static void pages_grow(void *ctx, unsigned calls) {
	pages *s = ctx;
	for (unsigned i = 0; i < calls; i++) {
		if (!addPages(s, (uintptr_t)64 << 20)) {
			failed("pages_grow: the port refused");
		}
	}
}

static void pages_cache(void *ctx, unsigned calls) {
	pages *s = ctx;
	for (unsigned i = 0; i < calls; i++) {
		pageCache c = pageAlloc_allocToCache(&s->env, &s->p);
		s->sink += c.cache;
		pageCache_flush(&s->env, &c, &s->p, 0);
	}
}

static void pages_cacheAlloc(void *ctx, unsigned calls) {
	pages *s = ctx;
	pageCache c = {.base = s->base};
	for (unsigned i = 0; i < calls; i++) {
		uintptr_t scav;
		c.cache = c.cache == 0 ? ~(uint64_t)0 : c.cache;
		s->sink += pageCache_alloc(layout_get(&s->env), &c, 1, &scav);
	}
}

static void pages_scavenge(void *ctx, unsigned calls) {
	pages *s = ctx;
	unlock(&s->env, &s->heapLock);
	for (unsigned i = 0; i < calls; i++) {
		bool done;
		s->sink += pageAlloc_scavengeStep(&s->env, &s->p, 64 << 10, true, &s->delta, &done);
		if (done) {
			failed("pages_scavenge: the port refused");
		}
	}
	lock(&s->env, &s->heapLock);
}

// ---- bits, as Go's own benchmarks have them

typedef struct bits {
	pallocBits chunk; // the same word eight times
	uint8_t marks[128];
	mspan span;
	gomem_env env;
	uint64_t sink;
} bits;

static void *bits_make(const bench_part *part) {
	bits *s = calloc(1, sizeof(*s));
	if (s == NULL) {
		failed("out of memory");
	}
	for (unsigned i = 0; i < pallocChunkPages / 64; i++) {
		s->chunk.b.x[i] = part->n;
	}
	memset(s->marks, 0x5a, sizeof(s->marks));
	s->span.nelems = (uint16_t)part->n;
	s->span.gcmarkBits = s->marks;
	s->env.hasPOPCNT = cpu_hasPOPCNT();
	return s;
}

static void bits_summarize(void *ctx, unsigned calls) {
	bits *s = ctx;
	for (unsigned i = 0; i < calls; i++) {
		s->sink += pallocBits_summarize(&layout_host, &s->chunk);
	}
}

static void bits_countAlloc(void *ctx, unsigned calls) {
	bits *s = ctx;
	for (unsigned i = 0; i < calls; i++) {
		s->sink += mspan_countAlloc(&s->env, &s->span);
	}
}

// ---- a heap

enum { liveObjects = 50000, treeWords = 8, addresses = 4096 };

typedef struct heap {
	gomem_heap *h;
	gomem_p *p;
	void **addresses; // of objects all over the heap
	void *root;
	mspan *span;
	void *object, *memory;
	uint64_t sink;
} heap;

static const uint8_t allPointers[] = {0xff};
static const gomem_type tree = {8 * treeWords, 8 * treeWords, allPointers};

static void collect(heap *s, bool sweep) {
	const gomem_root root = {(void *)&s->root, sizeof(s->root), NULL};
	gomem_finishsweep(s->h, s->p);
	gomem_setGCPhase(s->h, gcMark);
	gomem_markroots(s->h, &root, 1);
	gomem_setGCPhase(s->h, gcMarkTermination);
	gomem_setGCPhase(s->h, gcOff);
	gomem_startsweep(s->h);
	gomem_prepareForSweep(s->h, s->p);
	while (sweep && gomem_sweepone(s->h, s->p) != ~(uintptr_t)0) {
	}
}

static void *heap_makeWith(gomem_config cfg) {
	heap *s = calloc(1, sizeof(*s));
	if (s == NULL) {
		failed("out of memory");
	}
	// Always at the same place: one in 500 is aligned so that two calls of heap_scavenge release all there is, a huge page each.
	cfg.rand_seed = 0x9e3779b97f4a7c15;
	s->h = gomem_heap_new(&cfg);
	s->addresses = calloc(addresses, sizeof(*s->addresses));
	if (s->h == NULL || s->addresses == NULL) {
		failed("out of memory");
	}
	s->p = gomem_heap_p(s->h, 0);
	return s;
}

static void *heap_make(const bench_part *part) {
	(void)part;
	return heap_makeWith((gomem_config){0});
}

static void *heap_makeReusing(const bench_part *part) {
	(void)part;
	return heap_makeWith((gomem_config){.runtime_freegc = true});
}

static void heap_end(void *ctx) {
	heap *s = ctx;
	gomem_heap_destroy(s->h);
	free((void *)s->addresses);
	free(s);
}

static void heap_cycle(void *ctx) { collect(ctx, true); }

// One object to a span: each call is a refill, which takes a swept span, or pages and a span structure.
static void heap_refill(void *ctx, unsigned calls) {
	heap *s = ctx;
	for (unsigned i = 0; i < calls; i++) {
		s->sink += (uintptr_t)gomem_mallocgc(s->h, s->p, 8192, NULL, false);
	}
}

static void *heap_makeSpans(const bench_part *part) {
	heap *s = heap_make(part);
	for (unsigned i = 0; s != NULL && i < addresses; i++) { // 16 objects a span; one of them lives
		s->addresses[i] = gomem_mallocgc(s->h, s->p, 512, NULL, false);
	}
	if (s == NULL) {
		failed("out of memory");
	}
	gomem_finishsweep(s->h, s->p);
	for (unsigned i = 0; i < addresses; i += 8) {
		gomem_mark(s->h, s->addresses[i]);
	}
	gomem_startsweep(s->h);
	gomem_prepareForSweep(s->h, s->p);
	while (gomem_sweepone(s->h, s->p) != ~(uintptr_t)0) {
	}
	return s;
}

static void heap_mcentral(void *ctx, unsigned calls) {
	heap *s = ctx;
	const spanClass spc = makeSpanClass(sizeToClass(layout_get(&s->h->env), 512), true);
	mcentral *c = &s->h->central[spc].mcentral;
	for (unsigned i = 0; i < calls; i++) {
		mspan *m = mcentral_cacheSpan(s->h, s->p, c);
		if (m == NULL || m->allocCount == 0 || !mcentral_uncacheSpan(s->h, s->p, c, m)) {
			failed("heap_mcentral: the port refused");
		}
	}
}

static void heap_manual(void *ctx, unsigned calls) {
	heap *s = ctx;
	for (unsigned i = 0; i < calls; i++) {
		gomem_freeManual(s->h, s->p, gomem_allocManual(s->h, s->p, 4));
	}
}

// Addresses in 256 MiB, in an order that no cache foresees.
static void *heap_makeAddresses(const bench_part *part) {
	heap *s = heap_make(part);
	for (unsigned i = 0; s != NULL && i < addresses; i++) {
		s->addresses[i * 1001 % addresses] = gomem_mallocgc(s->h, s->p, 64 << 10, &tree, true);
	}
	return s;
}

static void heap_spanOf(void *ctx, unsigned calls) {
	heap *s = ctx;
	for (unsigned i = 0; i < calls; i++) {
		s->sink += spanOfHeap(s->h, (uintptr_t)s->addresses[i % addresses])->npages;
	}
}

static void *heap_makeObject(const bench_part *part) {
	heap *s = heap_make(part);
	if (s != NULL) {
		s->object = gomem_mallocgc(s->h, s->p, tree.size, &tree, true);
		s->span = spanOf(s->h, (uintptr_t)s->object);
	}
	return s;
}

static void heap_setType(void *ctx, unsigned calls) {
	heap *s = ctx;
	for (unsigned i = 0; i < calls; i++) {
		s->sink += heapSetTypeNoHeader(s->h, (uintptr_t)s->object, tree.size, &tree, s->span);
	}
}

static void heap_isPointer(void *ctx, unsigned calls) {
	heap *s = ctx;
	for (unsigned i = 0; i < calls; i++) {
		s->sink += heapBits_isPointer(s->h, (uintptr_t)s->object + i % treeWords * 8);
	}
}

static void heap_freegc(void *ctx, unsigned calls) {
	heap *s = ctx;
	for (unsigned i = 0; i < calls; i++) {
		void *x = gomem_mallocgc(s->h, s->p, 64, NULL, true);
		if (!gomem_freegc(s->h, s->p, x, 64, true)) {
			failed("heap_freegc: the port refused");
		}
	}
}

// A tree of liveObjects, each with treeWords pointers.
static void *heap_makeTree(const bench_part *part) {
	heap *s = heap_make(part);
	void ***all = calloc(liveObjects, sizeof(*all));
	if (s == NULL || all == NULL) {
		failed("out of memory");
	}
	for (unsigned i = 0; i < liveObjects; i++) {
		all[i] = gomem_mallocgc(s->h, s->p, tree.size, &tree, true);
		if (i > 0) {
			all[(i - 1) / treeWords][(i - 1) % treeWords] = (void *)all[i];
		}
	}
	s->root = (void *)all[0];
	free((void *)all);
	return s;
}

static void heap_wholeCycle(void *ctx, unsigned calls) {
	heap *s = ctx;
	for (unsigned i = 0; i < calls; i++) {
		s->sink += (uintptr_t)gomem_mallocgc(s->h, s->p, tree.size, &tree, true);
	}
	collect(s, true);
}

static void heap_mark(void *ctx, unsigned calls) {
	(void)calls;
	collect(ctx, false);
}

// Memory that was touched is given back, taken again and touched: what a scavenger and its victim pay.
static const uintptr_t regionBytes = 64 << 10;

static void *heap_makeRegion(const bench_part *part) {
	(void)part;
	heap *s = heap_makeWith((gomem_config){.release_lag = -1}); // or the OS would not hear of what is unused
	if (s == NULL) {
		failed("out of memory");
	}
	s->memory = sysReserve(&s->h->env, NULL, regionBytes, MEM_HEAP);
	const bool mapped = s->memory != NULL && sysMap(&s->h->env, s->memory, regionBytes, &s->h->stats.other_sys);
	if (!mapped || !sysUsed(&s->h->env, s->memory, regionBytes, regionBytes)) {
		failed("out of memory");
	}
	return s;
}

static void heap_endRegion(void *ctx) {
	heap *s = ctx;
	sysFree(&s->h->env, s->memory, regionBytes, &s->h->stats.other_sys);
	heap_end(s);
}

static void heap_region(void *ctx, unsigned calls) {
	heap *s = ctx;
	for (unsigned i = 0; i < calls; i++) {
		for (uintptr_t k = 0; k < regionBytes; k += s->h->env.physPageSize) {
			((volatile char *)s->memory)[k] = 1;
		}
		sysUnused(&s->h->env, s->memory, regionBytes);
		if (!sysUsed(&s->h->env, s->memory, regionBytes, regionBytes)) {
			failed("heap_region: the port refused");
		}
	}
}

static void heap_sysAlloc(void *ctx, unsigned calls) {
	heap *s = ctx;
	for (unsigned i = 0; i < calls; i++) {
		void *x = sysAlloc(&s->h->env, regionBytes, &s->h->stats.other_sys);
		if (x == NULL) {
			failed("heap_sysAlloc: the port refused");
		}
		sysFree(&s->h->env, x, regionBytes, &s->h->stats.other_sys);
	}
}

static void heap_hugePage(void *ctx, unsigned calls) {
	heap *s = ctx;
	for (unsigned i = 0; i < calls; i++) {
		sysHugePage(&s->h->env, s->memory, regionBytes);
		sysNoHugePage(&s->h->env, s->memory, regionBytes);
	}
}

static void heap_scavenge(void *ctx, unsigned calls) {
	heap *s = ctx;
	for (unsigned i = 0; i < calls; i++) {
		if (gomem_scavenge(s->h, s->p, 64 << 10, true) == 0) {
			failed("heap_scavenge: the port refused");
		}
	}
}

static void heap_again(void *ctx) { // 4 MiB that were touched are free
	heap *s = ctx;
	void *x = gomem_mallocgc(s->h, s->p, 4 << 20, NULL, false);
	if (x == NULL) {
		failed("heap_again: the port refused");
	}
	memset(x, 1, 4 << 20);
	collect(s, true);
}

static void *heap_makeFree(const bench_part *part) {
	heap *s = heap_make(part);
	if (s != NULL) {
		heap_again(s);
	}
	return s;
}

// ----

#define PAGES(what, calls, fn, size, bytes)                                                                            \
	{what "/" size, pages_make, fn, NULL, pages_end, bytes, calls, false}, {                                           \
		what "_fragmented/" size, pages_make, fn, NULL, pages_end, bytes, calls, true                                  \
	}
#define PAGES_OF(size, bytes)                                                                                          \
	PAGES("find", 200, pages_find, size, bytes), PAGES("alloc_free", 200, pages_allocFree, size, bytes),               \
		PAGES("alloc_free_one", 200, pages_allocFreeOne, size, bytes), PAGES("grow", 1, pages_grow, size, bytes)
#define SUMMARIZE(word)                                                                                                \
	{ "summarize/" #word, bits_make, bits_summarize, NULL, free, 0x##word##u, 1000, false }
#define COUNT(n)                                                                                                       \
	{ "countAlloc/" #n, bits_make, bits_countAlloc, NULL, free, n, 1000, false }
#define HEAP(name, make, calls, fn, again)                                                                             \
	{ name, make, fn, again, heap_end, 0, calls, false }

const bench_part *bench_parts(unsigned *n) {
	static const bench_part all[] = {
		SUMMARIZE(00),
		SUMMARIZE(FFFFFFFFFFFFFFFF),
		SUMMARIZE(AA),
		SUMMARIZE(AAAAAAAAAAAAAAAA),
		SUMMARIZE(80000000AAAAAAAA),
		SUMMARIZE(AAAAAAAA00000001),
		COUNT(64),
		COUNT(128),
		COUNT(256),
		COUNT(512),
		COUNT(1024),
		PAGES_OF("1GB", (uint64_t)1 << 30),
		PAGES_OF("64GB", (uint64_t)1 << 36),
		PAGES_OF("1TB", (uint64_t)1 << 40),
		{"page_cache_refill_flush", pages_make, pages_cache, NULL, pages_end, (uint64_t)1 << 30, 200, true},
		{"page_cache_alloc", pages_make, pages_cacheAlloc, NULL, pages_end, (uint64_t)1 << 30, 1000, true},
		{"scavenge_step_simulated", pages_make, pages_scavenge, NULL, pages_end, (uint64_t)1 << 30, 16, true},
		HEAP("scavenge_64KB", heap_makeFree, 16, heap_scavenge, heap_again),
		HEAP("refill", heap_make, 1000, heap_refill, heap_cycle),
		HEAP("mcentral_cache_uncache", heap_makeSpans, 200, heap_mcentral, NULL),
		HEAP("span_alloc_free_4_pages", heap_make, 200, heap_manual, NULL),
		HEAP("spanOf", heap_makeAddresses, addresses, heap_spanOf, NULL),
		HEAP("heapBits_write_64B", heap_makeObject, 1000, heap_setType, NULL),
		HEAP("heapBits_isPointer", heap_makeObject, 1000, heap_isPointer, NULL),
		HEAP("freegc_malloc_64B", heap_makeReusing, 1000, heap_freegc, NULL),
		{"sysUnused_sysUsed_touch_64KB", heap_makeRegion, heap_region, NULL, heap_endRegion, 0, 4, false},
		HEAP("sysAlloc_sysFree_64KB", heap_make, 4, heap_sysAlloc, NULL),
		{"sysHugePage_sysNoHugePage_64KB", heap_makeRegion, heap_hugePage, NULL, heap_endRegion, 0, 4, false},
		HEAP("cycle_alloc_mark_sweep", heap_makeTree, liveObjects, heap_wholeCycle, NULL),
		HEAP("mark_and_sweep_of_the_last", heap_makeTree, liveObjects, heap_mark, NULL),
	};
	*n = sizeof(all) / sizeof(all[0]);
	return all;
}
