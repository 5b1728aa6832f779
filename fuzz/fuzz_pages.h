// fuzz_pages.h: a page allocator beside the oracle's pages: what the targets pagealloc, pagecache and scavenge share.
//
// Each operation asks both and compares the answers. Scavenging is followed by its events: the oracle takes its step when
// the allocator tells that it took its own.
//
// Invariants: runs[] are the pages in use that can be freed, without overlap; spaces[] are the heap, in any order.
// A full comparison (worldCompare) is made after every sixteenth operation, or each in a thorough run, after a growth that failed, and at
// the end.
#ifndef GOMEM_FUZZ_PAGES_H
#define GOMEM_FUZZ_PAGES_H

#include "fuzz/fuzz_env.h"
#include "gomem/mpagealloc.h"
#include "gomem/persistentalloc.h"
#include "oracle/pages.h"

enum { worldRuns = 512, worldSpaces = 64, worldChunks = 24, worldCaches = 4, compareEvery = 16 };

typedef struct pageRun {
	uintptr_t addr, n;
} pageRun;

typedef struct chunkSpace {
	chunkIdx first, n;
} chunkSpace;

// A scavenging that is under way; it may be interrupted by another one.
typedef struct scavenging {
	struct scavenging *outer;
	bool force;
	uintptr_t left; // bytes still wanted
	bool found;     // the last search found something:
	uint64_t chunk; // in this chunk
	unsigned page;
	uint64_t addr, npages; // on their way to the OS
	uint64_t released;     // bytes
	unsigned looked;       // chunks that searches found
} scavenging;

typedef struct pagesWorld {
	fuzz_env e;
	gomem_lab lab;
	mutex heapLock;
	sysMemStat sysStat;
	heapStatsDelta delta;
	pageAlloc p;
	oracle_pages *o;
	pageRun runs[worldRuns];
	unsigned nruns;
	chunkSpace spaces[worldSpaces];
	unsigned nspaces;
	unsigned nchunks;
	chunkIdx minChunk, maxChunk; // where the heap may lie
	pageCache caches[worldCaches];
	oracle_cache oracleCaches[worldCaches];
	uintptr_t padding; // pages
	scavenging *scav;
	void (*interrupt)(struct pagesWorld *w, gomem_ev point); // called where other Ps may run; NULL: they do not
	uint64_t ops;
} pagesWorld;

static inline const gomem_layout *worldLayout(const pagesWorld *w) { return w->e.env.layout; }
static inline uintptr_t pageBytes(const pagesWorld *w) { return (uintptr_t)layout_pageSize(worldLayout(w)); }

static inline void lockHeap(pagesWorld *w) { lock(&w->e.env, &w->heapLock); }
static inline void unlockHeap(pagesWorld *w) { unlock(&w->e.env, &w->heapLock); }

// ---- scavenging, told by events

static inline void onScavFind(pagesWorld *w, uint64_t ci, uint64_t page) {
	scavenging *s = w->scav;
	s->found = oracle_scav_find(w->o, s->force, &s->chunk, &s->page);
	s->looked += s->found;
	fuzz_equal(
		"scavengeIndex_find: chunk", ci == 0 ? 0 : chunkBase(worldLayout(w), (chunkIdx)ci), s->found ? s->chunk : 0);
	fuzz_equal("scavengeIndex_find: page", page, s->found ? s->page : 0);
}

static inline void onScavBegin(pagesWorld *w, uint64_t addr, uint64_t npages) {
	scavenging *s = w->scav;
	s->addr = 0;
	s->npages = oracle_scav_begin(w->o, s->chunk, s->page, s->left, &s->addr);
	fuzz_equal("pages to scavenge", npages, s->npages);
	fuzz_equal("address to scavenge", addr, s->addr);
	const uintptr_t n = (uintptr_t)s->npages * pageBytes(w);
	s->left -= n < s->left ? n : s->left;
	s->released += n;
	fuzz_os_forget();
}

// onUnused: the system was told, and of nothing else.
static inline void onUnused(pagesWorld *w) {
	size_t n;
	const fuzz_os_call *log = fuzz_os_log(&n);
	fuzz_equal("calls to the system for a scavenging", n, 1);
	fuzz_equal("kind of that call", log[0].kind, FUZZ_OS_UNUSED);
	fuzz_equal("address given back", log[0].addr, w->scav->addr);
	fuzz_equal("bytes given back", log[0].n, w->scav->npages * pageBytes(w));
}

static inline void onScavEnd(pagesWorld *w, uint64_t addr, uint64_t npages) {
	fuzz_equal("address scavenged", addr, w->scav->addr);
	fuzz_equal("pages scavenged", npages, w->scav->npages);
	oracle_scav_end(w->o, addr, npages);
}

static inline void onWorldEvent(void *ctx, gomem_ev k, uint64_t a, uint64_t b, uint64_t c, uint64_t d) {
	(void)c;
	(void)d;
	switch (k) {
	case EV_SCAVFIND:
		onScavFind(ctx, a, b);
		break;
	case EV_SCAVBEGIN:
		onScavBegin(ctx, a, b);
		break;
	case EV_SCAVEMPTY:
		onScavBegin(ctx, 0, 0);
		break;
	case EV_SCAVEND:
		onScavEnd(ctx, a, b);
		break;
	default:
		break;
	}
}

static inline void onWorldTurn(void *ctx, gomem_ev k) {
	pagesWorld *w = ctx;
	if (k == EV_SCAVEND && !w->p.test) {
		onUnused(w);
	}
	if (w->interrupt != NULL) {
		w->interrupt(w, k);
	}
}

static inline void onWorldBusy(void *ctx, const char *lock) {
	(void)ctx;
	fuzz_fail("%s is taken", lock);
}

// ---- begin and end

static inline fuzz_os_config worldSystem(uint64_t phys, uint64_t huge) {
	static const uintptr_t physSizes[] = {4 << 10, 8 << 10, 16 << 10, 64 << 10};
	static const uintptr_t hugeSizes[] = {0, 64 << 10, 2 << 20, 4 << 20, 32 << 20};
	return (fuzz_os_config){.physPageSize = physSizes[phys & 3], .physHugePageSize = hugeSizes[huge % 5]};
}

#define PAGES_CONFIG                                                                                                   \
	{"real", 1, FUZZ_ANY, 3}, {"phys", 1, FUZZ_ANY, 3}, { "huge", 1, FUZZ_ANY, 4 }

// worldBegin: config[0] == 3 is the address space of linux/amd64, others a small one; [1] and [2] the sizes of physical pages.
// test: no memory stands behind the heap, not even as far as the system knows.
static inline pagesWorld *worldBegin(const uint64_t *config, bool test) {
	static pagesWorld world; // of one run at a time
	pagesWorld *w = &world;
	memset(w, 0, sizeof *w);
	const fuzz_os_config sys = worldSystem(config[1], config[2]);
	fuzz_env_init(&w->e, config[0] == 3 ? NULL : smallSpace(), &sys);
	w->lab = (gomem_lab){w, onWorldTurn, onWorldEvent, onWorldBusy, NULL};
	w->e.env.lab = &w->lab;
	fuzz_check(pageAlloc_init(&w->e.env, &w->p, &w->heapLock, &w->sysStat, test), "pageAlloc_init failed");
	w->o = oracle_pages_new(&(oracle_pages_config){pageBytes(w), sys.physPageSize, sys.physHugePageSize, 0});
	fuzz_check(w->o != NULL, "out of memory");
	const gomem_layout *L = worldLayout(w);
	const chunkIdx chunks = (chunkIdx)1 << (L->heapAddrBits - layout_logChunkBytes(L));
	w->minChunk = config[0] == 3 ? chunks / 2 + 1 : 1; // the lower half is the kernel's
	w->maxChunk = chunks;
	return w;
}

// ---- comparing

static inline void compareChunk(pagesWorld *w, chunkIdx ci) {
	const gomem_layout *L = worldLayout(w);
	const pallocData *chunk = pageAlloc_chunkOf(L, &w->p, ci);
	oracle_page want[pallocChunkPages];
	oracle_pages_look(w->o, chunkBase(L, ci), pallocChunkPages, want);
	for (unsigned i = 0; i < pallocChunkPages; i++) {
		fuzz_equal("page in use", pageBits_get(&chunk->pallocBits.b, i), want[i].in_use);
		fuzz_equal("page scavenged", pageBits_get(&chunk->scavenged, i), want[i].scavenged);
	}
}

static inline void compareCaches(pagesWorld *w) {
	lockHeap(w);
	for (unsigned i = 0; i < worldCaches; i++) {
		const pageCache *c = &w->caches[i];
		const oracle_cache *want = &w->oracleCaches[i];
		fuzz_equal("cache is empty", pageCache_empty(c), oracle_cache_is_empty(want));
		for (unsigned k = 0; k < pageCachePages && !pageCache_empty(c); k++) {
			fuzz_equal("page in the cache", c->cache >> k & 1, want->free[k]);
			fuzz_equal("scavenged page in the cache", c->scav >> k & 1, want->scavenged[k]);
		}
		pageCache_check(&w->e.env, c, &w->p);
	}
	unlockHeap(w);
}

// compareStats: what is free and in caches was released, or it was not.
static inline void compareStats(pagesWorld *w) {
	uint64_t released, kept;
	oracle_pages_count(w->o, &released, &kept);
	for (unsigned i = 0; i < worldCaches * pageCachePages; i++) {
		const oracle_cache *c = &w->oracleCaches[i / pageCachePages];
		const unsigned k = i % pageCachePages;
		released += c->free[k] && c->scavenged[k];
		kept += c->free[k] && !c->scavenged[k];
	}
	fuzz_equal("heapReleased", sysMemStat_load(&w->e.stats.heapReleased), (released + w->padding) * pageBytes(w));
	fuzz_equal("heapFree", sysMemStat_load(&w->e.stats.heapFree), kept * pageBytes(w));
}

static inline void worldCompare(pagesWorld *w) {
	lockHeap(w);
	pageAlloc_check(&w->e.env, &w->p);
	unlockHeap(w);
	chunkIdx start = 0, end = 0;
	for (unsigned i = 0; i < w->nspaces; i++) {
		const chunkSpace s = w->spaces[i];
		start = i == 0 || s.first < start ? s.first : start;
		end = s.first + s.n > end ? s.first + s.n : end;
		for (chunkIdx ci = s.first; ci < s.first + s.n; ci++) {
			compareChunk(w, ci);
		}
	}
	fuzz_equal("first chunk", w->p.start, start);
	fuzz_equal("end of the last chunk", w->p.end, end);
	fuzz_equal("bytes of the heap", w->p.inUse.totalBytes, w->nchunks * layout_chunkBytes(worldLayout(w)));
	const uint64_t firstFree = oracle_pages_find(w->o, 1);
	fuzz_check(firstFree == 0 || w->p.searchAddr.a <= firstFree, "searchAddr is above the first free page");
	compareCaches(w);
	if (!w->p.test) {
		compareStats(w);
	}
}

static inline void worldAfter(void *v) {
	pagesWorld *w = v;
	if (++w->ops % compareEvery == 0 || fuzz_thorough()) {
		worldCompare(w);
	}
}

static inline void worldEnd(void *v) {
	pagesWorld *w = v;
	worldCompare(w);
	pageAlloc_destroy(&w->e.env, &w->p);
	persistentalloc_destroy(&w->e.env);
	oracle_pages_free(w->o);
	fuzz_env_done(&w->e);
}

// ---- growing

static inline bool isFreeSpace(const pagesWorld *w, chunkIdx first, chunkIdx n) {
	if (first < w->minChunk || first >= w->maxChunk || n > w->maxChunk - first) {
		return false;
	}
	for (unsigned i = 0; i < w->nspaces; i++) {
		const chunkSpace s = w->spaces[i];
		if (first < s.first + s.n && s.first < first + n) {
			return false;
		}
	}
	return true;
}

// heapMemory makes address space ready for a growth, as mheap does; what a test page allocator has needs none.
static inline void heapMemory(pagesWorld *w, uintptr_t addr, uintptr_t n) {
	if (w->p.test) {
		return;
	}
	void *at = (void *)addr;
	fuzz_check(sysReserve(&w->e.env, at, n, MEM_HEAP) == at, "address space for the heap");
	fuzz_check(sysMap(&w->e.env, at, n, &w->e.stats.heapReleased), "memory for the heap");
}

// tryGrow adds n chunks. false: out of memory, and nothing changed.
static inline bool tryGrow(pagesWorld *w, chunkIdx first, chunkIdx n) {
	const gomem_layout *L = worldLayout(w);
	const uintptr_t addr = chunkBase(L, first), size = (uintptr_t)(n * layout_chunkBytes(L));
	const uint64_t failed = fuzz_os_failed();
	heapMemory(w, addr, size);
	lockHeap(w);
	const bool ok = pageAlloc_grow(&w->e.env, &w->p, addr, size);
	unlockHeap(w);
	fuzz_check(ok || fuzz_os_failed() > failed, "a growth failed with memory left");
	if (ok) {
		oracle_pages_grow(w->o, addr, n * pallocChunkPages);
		w->spaces[w->nspaces++] = (chunkSpace){first, n};
		w->nchunks += (unsigned)n;
	}
	return ok;
}

// The scavenger looks at every chunk of a gap: where it works a lot, gaps are best short.
enum { shortGap = 1 << 12, longGap = (1 << 20) - 1 };

// growNear adds n chunks above or below a space that the heap has, behind a gap.
static inline void growNear(pagesWorld *w, uint64_t space, bool below, chunkIdx gap, chunkIdx n) {
	chunkIdx first = (w->minChunk + w->maxChunk) / 2;
	if (w->nspaces > 0) {
		const chunkSpace s = w->spaces[space % w->nspaces];
		first = below ? s.first - gap - n : s.first + s.n + gap;
	}
	if (w->nspaces == worldSpaces || w->nchunks + n > worldChunks || !isFreeSpace(w, first, n)) {
		return;
	}
	if (!tryGrow(w, first, n)) {
		worldCompare(w);
	}
}

#define GROW_ARGS(chunks, gap)                                                                                         \
	{                                                                                                                  \
		{"space", 1, FUZZ_ANY, worldSpaces - 1}, {"below", 1, FUZZ_ANY, 1}, {"gap", 3, FUZZ_ANY, gap}, {               \
			"chunks", 1, FUZZ_ANY, chunks                                                                              \
		}                                                                                                              \
	}

static inline void worldGrow(void *v, const uint64_t *a) {
	growNear(v, a[0], a[1] != 0, (chunkIdx)a[2], (chunkIdx)(1 + a[3]));
}
// worldGrowLarge makes room for more pages than an entry above the lowest level of the tree covers.
static inline void worldGrowLarge(void *v, const uint64_t *a) {
	growNear(v, a[0], a[1] != 0, (chunkIdx)a[2], (chunkIdx)(15 + a[3]));
}

// ---- pages

// pagesUsed does what mheap does with memory and statistics when pages are taken.
static inline void pagesUsed(pagesWorld *w, uintptr_t addr, uintptr_t npages, uintptr_t scav) {
	const uintptr_t n = npages * pageBytes(w);
	if (w->p.test) {
		return;
	}
	if (scav != 0) {
		fuzz_check(sysUsed(&w->e.env, (void *)addr, n, scav), "memory that was scavenged");
	}
	sysMemStat_add(&w->e.stats.heapReleased, -(int64_t)scav);
	sysMemStat_add(&w->e.stats.heapFree, -(int64_t)(n - scav));
}

static inline void addRun(pagesWorld *w, uintptr_t addr, uintptr_t npages) {
	if (npages > 0 && w->nruns < worldRuns) {
		w->runs[w->nruns++] = (pageRun){addr, npages};
	}
}

static inline void worldAlloc(void *v, const uint64_t *a) {
	pagesWorld *w = v;
	const uintptr_t npages = (uintptr_t)(1 + a[0]);
	uint64_t wantScav;
	const uint64_t want = oracle_pages_alloc(w->o, npages, &wantScav);
	uintptr_t scav;
	lockHeap(w);
	const uintptr_t addr = pageAlloc_alloc(&w->e.env, &w->p, npages, &scav);
	unlockHeap(w);
	fuzz_equal("pageAlloc_alloc", addr, want);
	fuzz_equal("scavenged bytes taken", scav, wantScav * pageBytes(w));
	if (addr != 0) {
		pagesUsed(w, addr, npages, scav);
		addRun(w, addr, npages);
	}
}

static inline void freePages(pagesWorld *w, uintptr_t addr, uintptr_t npages) {
	oracle_pages_release(w->o, addr, npages);
	lockHeap(w);
	pageAlloc_free(&w->e.env, &w->p, addr, npages);
	unlockHeap(w);
	if (!w->p.test) {
		sysMemStat_add(&w->e.stats.heapFree, (int64_t)(npages * pageBytes(w)));
	}
}

#define FREE_ARGS                                                                                                      \
	{                                                                                                                  \
		{"run", 2, FUZZ_ANY, worldRuns - 1}, {"from", 2, FUZZ_PAGES, 8192}, { "pages", 2, FUZZ_PAGES, 0xffff }         \
	}

// worldFree frees a part of a run: from a page on, so many pages, or all that are left.
static inline void worldFree(void *v, const uint64_t *a) {
	pagesWorld *w = v;
	if (w->nruns == 0) {
		return;
	}
	pageRun *at = &w->runs[a[0] % w->nruns];
	const pageRun r = *at;
	*at = w->runs[--w->nruns];
	const uintptr_t from = (uintptr_t)(a[1] < r.n ? a[1] : 0);
	const uintptr_t n = (uintptr_t)(a[2] != 0 && a[2] < r.n - from ? a[2] : r.n - from);
	freePages(w, r.addr + from * pageBytes(w), n);
	addRun(w, r.addr, from);
	addRun(w, r.addr + (from + n) * pageBytes(w), r.n - from - n);
}

// placeOf gives a page of the heap: one of a space's, counted from its first.
static inline uintptr_t placeOf(const pagesWorld *w, uint64_t space, uint64_t page) {
	const chunkSpace s = w->spaces[space % w->nspaces];
	return (uintptr_t)(chunkBase(worldLayout(w), s.first) + page % (s.n * pallocChunkPages) * pageBytes(w));
}

// freeFrom counts the free pages from addr on, at most npages. fresh: those that nothing stands behind.
static inline uintptr_t freeFrom(const pagesWorld *w, uintptr_t addr, uintptr_t npages, bool fresh) {
	uintptr_t n = 0;
	while (n < npages) {
		const oracle_page p = oracle_pages_at(w->o, addr + n * pageBytes(w));
		if (!p.known || p.in_use || (fresh && !p.scavenged)) {
			break;
		}
		n++;
	}
	return n;
}

#define PLACE_ARGS                                                                                                     \
	{                                                                                                                  \
		{"space", 1, FUZZ_ANY, worldSpaces - 1}, {"page", 2, FUZZ_INDEX, 20 * pallocChunkPages - 1}, {                 \
			"pages", 2, FUZZ_PAGES, 1500                                                                               \
		}                                                                                                              \
	}

// worldRange takes the free pages from a place on.
static inline void worldRange(void *v, const uint64_t *a) {
	pagesWorld *w = v;
	const uintptr_t addr = w->nspaces == 0 ? 0 : placeOf(w, a[0], a[1]);
	const uintptr_t n = addr == 0 ? 0 : freeFrom(w, addr, (uintptr_t)(1 + a[2]), false);
	if (n == 0) {
		return;
	}
	const uint64_t want = oracle_pages_take(w->o, addr, n);
	lockHeap(w);
	const uintptr_t scav = pageAlloc_allocRange(&w->e.env, &w->p, addr, n);
	unlockHeap(w);
	fuzz_equal("pageAlloc_allocRange: scavenged bytes", scav, want * pageBytes(w));
	pagesUsed(w, addr, n, scav);
	addRun(w, addr, n);
}

// worldPad takes pages for ever, as the heap does once, at its beginning. Statistics know fresh padding only.
static inline void worldPad(void *v, const uint64_t *a) {
	pagesWorld *w = v;
	const uintptr_t addr = w->nspaces == 0 || w->padding > 0 ? 0 : placeOf(w, a[0], a[1]);
	const uintptr_t n = addr == 0 ? 0 : freeFrom(w, addr, (uintptr_t)(1 + a[2]), !w->p.test);
	if (n == 0) {
		return;
	}
	w->padding = n;
	oracle_pages_pad(w->o, addr, n);
	lockHeap(w);
	pageAlloc_markRandomPaddingPages(&w->e.env, &w->p, addr, n);
	unlockHeap(w);
}

// ---- scavenging

static inline void beginScavenging(pagesWorld *w, scavenging *s, bool force, uintptr_t nbytes) {
	*s = (scavenging){.outer = w->scav, .force = force, .left = nbytes};
	w->scav = s;
}

#define SCAV_ARGS                                                                                                      \
	{                                                                                                                  \
		{"bytes", 4, FUZZ_SIZE, 0}, { "force", 1, FUZZ_ANY, 1 }                                                        \
	}

// worldStep looks at one chunk.
static inline void worldStep(void *v, const uint64_t *a) {
	pagesWorld *w = v;
	scavenging s;
	beginScavenging(w, &s, a[1] != 0, (uintptr_t)a[0]);
	bool done;
	const uintptr_t released = pageAlloc_scavengeStep(&w->e.env, &w->p, (uintptr_t)a[0], s.force, &w->delta, &done);
	w->scav = s.outer;
	fuzz_equal("nothing left to scavenge", done, !s.found);
	fuzz_equal("bytes released", released, s.released);
}

static inline void worldNextGen(void *v, const uint64_t *a) {
	(void)a;
	pagesWorld *w = v;
	oracle_scav_next_gen(w->o);
	lockHeap(w);
	scavengeIndex_nextGen(&w->e.env, &w->p.scav.index);
	unlockHeap(w);
}

// ---- caches

#define CACHE_ARG                                                                                                      \
	{ "cache", 1, FUZZ_ANY, worldCaches - 1 }

static inline void flushCache(pagesWorld *w, unsigned i) {
	oracle_cache_flush(w->o, &w->oracleCaches[i]);
	lockHeap(w);
	pageCache_flush(&w->e.env, &w->caches[i], &w->p, (int)i);
	unlockHeap(w);
	fuzz_check(pageCache_empty(&w->caches[i]), "a cache that was flushed has pages");
}

static inline void worldFlush(void *v, const uint64_t *a) { flushCache(v, (unsigned)a[0]); }

// worldFill fills a cache again; what it has is flushed before, as a P that goes idle does.
static inline void worldFill(void *v, const uint64_t *a) {
	pagesWorld *w = v;
	const unsigned i = (unsigned)a[0];
	flushCache(w, i);
	oracle_cache_fill(w->o, &w->oracleCaches[i]);
	lockHeap(w);
	w->caches[i] = pageAlloc_allocToCache(&w->e.env, &w->p);
	unlockHeap(w);
	fuzz_equal("base of the cache", w->caches[i].base, w->oracleCaches[i].base);
	compareCaches(w);
}

static inline void worldTake(void *v, const uint64_t *a) {
	pagesWorld *w = v;
	const unsigned i = (unsigned)a[0];
	const uintptr_t npages = (uintptr_t)(1 + a[1]);
	uint64_t wantScav;
	const uint64_t want = oracle_cache_take(w->o, &w->oracleCaches[i], npages, &wantScav);
	uintptr_t scav;
	const uintptr_t addr = pageCache_alloc(worldLayout(w), &w->caches[i], npages, &scav);
	fuzz_equal("pageCache_alloc", addr, want);
	fuzz_equal("scavenged bytes taken from a cache", scav, wantScav * pageBytes(w));
	if (addr != 0) {
		pagesUsed(w, addr, npages, scav);
		addRun(w, addr, npages);
	}
}

#endif
