// goldens_pages.c: what the port answers to the goldens of layers 2 and 3: bits, summaries, page caches, the page allocator, the scavenge index,
// address ranges.
#include <stdlib.h>

#include "goldens.h"

#include "gomem/mem.h"
#include "gomem/mpagealloc.h"
#include "gomem/persistentalloc.h"

enum { caches = 4 };

// What programs of this file may need; each begins with all of it zero.
typedef struct pagesState {
	gomem_env env;
	gomem_stats stats;
	mutex heapLock;
	sysMemStat sysStat;
	heapStatsDelta delta;
	pallocData bits;
	pageCache cache[caches];
	pageAlloc pages;
	scavengeIndex index;
	addrRanges ranges, clone;
	atomicOffAddr atomic;
} pagesState;

static const gomem_layout *layoutOf(void) { return &layout_host; }

static void *beginBare(void (*thrown)(void *ctx, const char *msg), void *ctx) {
	pagesState *const s = calloc(1, sizeof *s);
	if (s != NULL) {
		s->env = (gomem_env){
			.layout = layoutOf(), .stats = &s->stats, .throwHook = thrown, .throwCtx = ctx, .physPageSize = 4096};
	}
	return s;
}

static void endBare(void *state) { free(state); }

static void *beginWithOS(void (*thrown)(void *ctx, const char *msg), void *ctx) {
	pagesState *const s = beginBare(thrown, ctx);
	if (s == NULL) {
		return NULL;
	}
	s->env.os = mem_sim_new(&(memSimConfig){0});
	if (s->env.os == NULL) {
		free(s);
		return NULL;
	}
	return s;
}

static void endWithOS(void *state) {
	pagesState *const s = state;
	persistentalloc_destroy(&s->env);
	s->env.os->destroy(s->env.os);
	free(s);
}

// ---- bits

// Go's "none" is the largest number of another width.
static uint64_t wide(unsigned i) { return i == ~0u ? (uint64_t)UINTPTR_MAX : i; }
static void answerSum(const pagesState *s, goldensCall *c) {
	goldens_answer(c, pallocBits_summarize(layoutOf(), &s->bits.pallocBits));
}

static void bits_word(void *state, goldensCall *c) {
	pagesState *const s = state;
	s->bits.pallocBits.b.x[c->a[0] & 7] = c->a[1];
	s->bits.scavenged.x[c->a[0] & 7] = c->a[2];
}
static void bits_alloc(void *state, goldensCall *c) {
	pagesState *const s = state;
	pallocData_allocRange(&s->bits, (unsigned)c->a[0], (unsigned)c->a[1]);
	answerSum(s, c);
}
static void bits_allocall(void *state, goldensCall *c) {
	pagesState *const s = state;
	pallocData_allocAll(&s->bits);
	answerSum(s, c);
}
static void bits_free(void *state, goldensCall *c) {
	pagesState *const s = state;
	pallocBits_free(&s->bits.pallocBits, (unsigned)c->a[0], (unsigned)c->a[1]);
	answerSum(s, c);
}
static void bits_free1(void *state, goldensCall *c) {
	pagesState *const s = state;
	pallocBits_free1(&s->bits.pallocBits, (unsigned)c->a[0]);
	answerSum(s, c);
}
static void bits_freeall(void *state, goldensCall *c) {
	pagesState *const s = state;
	pallocBits_freeAll(&s->bits.pallocBits);
	answerSum(s, c);
}
static void bits_find(void *state, goldensCall *c) {
	pagesState *const s = state;
	unsigned search;
	const unsigned at = pallocBits_find(&s->bits.pallocBits, (uintptr_t)c->a[0], (unsigned)c->a[1], &search);
	goldens_answer(c, wide(at));
	goldens_answer(c, wide(search));
}
static void bits_popcnt(void *state, goldensCall *c) {
	pagesState *const s = state;
	goldens_answer(c, pageBits_popcntRange(&s->bits.pallocBits.b, (unsigned)c->a[0], (unsigned)c->a[1]));
}
static void bits_scavset(void *state, goldensCall *c) {
	pagesState *const s = state;
	pageBits_setRange(&s->bits.scavenged, (unsigned)c->a[0], (unsigned)c->a[1]);
}
static void bits_scavclear(void *state, goldensCall *c) {
	pagesState *const s = state;
	pageBits_clearRange(&s->bits.scavenged, (unsigned)c->a[0], (unsigned)c->a[1]);
}
static void bits_candidate(void *state, goldensCall *c) {
	pagesState *const s = state;
	s->env.physHugePageSize = (uintptr_t)c->a[3];
	unsigned npages;
	const unsigned at = pallocData_findScavengeCandidate(
		&s->env, &s->bits, (unsigned)c->a[0], (uintptr_t)c->a[1], (uintptr_t)c->a[2], &npages);
	goldens_answer(c, at);
	goldens_answer(c, npages);
}
static void bits_pages64(void *state, goldensCall *c) {
	pagesState *const s = state;
	pallocBits_allocPages64(&s->bits.pallocBits, (unsigned)c->a[0], c->a[1]);
	goldens_answer(c, pallocBits_pages64(&s->bits.pallocBits, (unsigned)c->a[0]));
	answerSum(s, c);
}
static void bits_words(void *state, goldensCall *c) {
	pagesState *const s = state;
	for (unsigned i = 0; i < pallocChunkPages / 64; i++) {
		goldens_answer(c, s->bits.pallocBits.b.x[i]);
		goldens_answer(c, s->bits.scavenged.x[i]);
	}
}

static const goldensOp bitsOps[] = {
	{"word", 3, 3, bits_word},
	{"alloc", 2, 2, bits_alloc},
	{"allocall", 0, 0, bits_allocall},
	{"free", 2, 2, bits_free},
	{"free1", 1, 1, bits_free1},
	{"freeall", 0, 0, bits_freeall},
	{"find", 2, 2, bits_find},
	{"popcnt", 2, 2, bits_popcnt},
	{"scavset", 2, 2, bits_scavset},
	{"scavclear", 2, 2, bits_scavclear},
	{"candidate", 4, 4, bits_candidate},
	{"pages64", 2, 2, bits_pages64},
	{"words", 0, 0, bits_words},
	{NULL, 0, 0, NULL},
};
const goldensKind goldensBits = {"bits", beginBare, endBare, bitsOps};

static void bitrange_find(void *state, goldensCall *c) {
	(void)state;
	goldens_answer(c, findBitRange64(c->a[0], (unsigned)c->a[1]));
}
static void bitrange_fill(void *state, goldensCall *c) {
	(void)state;
	goldens_answer(c, fillAligned(c->a[0], (unsigned)c->a[1]));
}

static const goldensOp bitrangeOps[] = {
	{"findrange", 2, 2, bitrange_find},
	{"fill", 2, 2, bitrange_fill},
	{NULL, 0, 0, NULL},
};
const goldensKind goldensBitrange = {"bitrange", beginBare, endBare, bitrangeOps};

// ---- summaries

static void sums_pack(void *state, goldensCall *c) {
	(void)state;
	goldens_answer(c, packPallocSum(layoutOf(), (unsigned)c->a[0], (unsigned)c->a[1], (unsigned)c->a[2]));
}
// Go has two ways to take a summary apart, the port one.
static void sums_fields(void *state, goldensCall *c) {
	(void)state;
	for (int i = 0; i < 2; i++) {
		goldens_answer(c, pallocSum_start(layoutOf(), c->a[0]));
		goldens_answer(c, pallocSum_max(layoutOf(), c->a[0]));
		goldens_answer(c, pallocSum_end(layoutOf(), c->a[0]));
	}
}
static void sums_merge(void *state, goldensCall *c) {
	(void)state;
	goldens_answer(c, mergeSummaries(layoutOf(), &c->a[1], c->n - 1, (unsigned)c->a[0]));
}

static const goldensOp sumsOps[] = {
	{"pack", 3, 3, sums_pack},
	{"fields", 1, 1, sums_fields},
	{"merge", 2, goldensNumbersMax, sums_merge},
	{NULL, 0, 0, NULL},
};
const goldensKind goldensSums = {"sums", beginBare, endBare, sumsOps};

// ---- page caches

static void pagecache_cache(void *state, goldensCall *c) {
	pagesState *const s = state;
	s->cache[0] = (pageCache){.base = (size_t)c->a[0], .cache = c->a[1], .scav = c->a[2]};
	goldens_answer(c, pageCache_empty(&s->cache[0]));
}
static void answerTaken(const pagesState *s, goldensCall *c, uintptr_t addr, uintptr_t scav) {
	goldens_answer(c, addr);
	goldens_answer(c, scav);
	goldens_answer(c, s->cache[0].cache);
	goldens_answer(c, s->cache[0].scav);
}
static void pagecache_alloc(void *state, goldensCall *c) {
	pagesState *const s = state;
	uintptr_t scav;
	const uintptr_t addr = pageCache_alloc(layoutOf(), &s->cache[0], (uintptr_t)c->a[0], &scav);
	answerTaken(s, c, addr, scav);
}
static void pagecache_allocn(void *state, goldensCall *c) {
	pagesState *const s = state;
	uintptr_t scav;
	const uintptr_t addr = pageCache_allocN(layoutOf(), &s->cache[0], (uintptr_t)c->a[0], &scav);
	answerTaken(s, c, addr, scav);
}

static const goldensOp pagecacheOps[] = {
	{"cache", 3, 3, pagecache_cache},
	{"alloc", 1, 1, pagecache_alloc},
	{"allocn", 1, 1, pagecache_allocn},
	{NULL, 0, 0, NULL},
};
const goldensKind goldensPagecache = {"pagecache", beginBare, endBare, pagecacheOps};

// ---- the page allocator

static void *beginPages(void (*thrown)(void *ctx, const char *msg), void *ctx) {
	pagesState *const s = beginWithOS(thrown, ctx);
	if (s != NULL && !pageAlloc_init(&s->env, &s->pages, &s->heapLock, &s->sysStat, true)) {
		endWithOS(s);
		return NULL;
	}
	return s;
}
static void endPages(void *state) {
	pagesState *const s = state;
	pageAlloc_destroy(&s->env, &s->pages);
	endWithOS(s);
}

static void lockHeap(pagesState *s) { lock(&s->env, &s->heapLock); }
static void unlockHeap(pagesState *s) { unlock(&s->env, &s->heapLock); }
static void answerSearch(const pagesState *s, goldensCall *c) { goldens_answer(c, s->pages.searchAddr.a); }
static void answerBounds(const pagesState *s, goldensCall *c) {
	goldens_answer(c, s->pages.start);
	goldens_answer(c, s->pages.end);
	goldens_answer(c, (uint64_t)s->pages.inUse.len);
	goldens_answer(c, s->pages.inUse.totalBytes);
	goldens_answer(c, s->pages.summaryMappedReady);
}
// The cursors and what follows them; with bounds: where the index is mapped as well.
static void answerIndex(scavengeIndex *x, goldensCall *c, bool bounds) {
	if (bounds) {
		goldens_answer(c, atomic_load(&x->min));
		goldens_answer(c, atomic_load(&x->max));
		goldens_answer(c, atomic_load(&x->minHeapIdx));
	}
	goldens_answer(c, (uint64_t)atomic_load(&x->searchAddrBg.a));
	goldens_answer(c, (uint64_t)atomic_load(&x->searchAddrForce.a));
	goldens_answer(c, x->freeHWM.a);
	goldens_answer(c, atomic_load(&x->gen));
}

static void pages_grow(void *state, goldensCall *c) {
	pagesState *const s = state;
	lockHeap(s);
	if (!pageAlloc_grow(&s->env, &s->pages, (uintptr_t)c->a[0], (uintptr_t)c->a[1])) {
		gomem_throw(&s->env, "out of memory");
	}
	unlockHeap(s);
	answerBounds(s, c);
	answerSearch(s, c);
}
static void pages_padding(void *state, goldensCall *c) {
	pagesState *const s = state;
	lockHeap(s);
	pageAlloc_markRandomPaddingPages(&s->env, &s->pages, (uintptr_t)c->a[0], (uintptr_t)c->a[1]);
	unlockHeap(s);
	answerSearch(s, c);
}
static void pages_alloc(void *state, goldensCall *c) {
	pagesState *const s = state;
	lockHeap(s);
	uintptr_t scav;
	goldens_answer(c, pageAlloc_alloc(&s->env, &s->pages, (uintptr_t)c->a[0], &scav));
	unlockHeap(s);
	goldens_answer(c, scav);
	answerSearch(s, c);
}
static void pages_free(void *state, goldensCall *c) {
	pagesState *const s = state;
	lockHeap(s);
	pageAlloc_free(&s->env, &s->pages, (uintptr_t)c->a[0], (uintptr_t)c->a[1]);
	unlockHeap(s);
	answerSearch(s, c);
}
static void pages_find(void *state, goldensCall *c) {
	pagesState *const s = state;
	lockHeap(s);
	offAddr search;
	goldens_answer(c, pageAlloc_find(&s->env, &s->pages, (uintptr_t)c->a[0], &search));
	unlockHeap(s);
	goldens_answer(c, search.a);
}
static void pages_allocrange(void *state, goldensCall *c) {
	pagesState *const s = state;
	lockHeap(s);
	goldens_answer(c, pageAlloc_allocRange(&s->env, &s->pages, (uintptr_t)c->a[0], (uintptr_t)c->a[1]));
	unlockHeap(s);
}
static void pages_tocache(void *state, goldensCall *c) {
	pagesState *const s = state;
	pageCache *const pc = &s->cache[c->a[0] % caches];
	lockHeap(s);
	*pc = pageAlloc_allocToCache(&s->env, &s->pages);
	unlockHeap(s);
	goldens_answer(c, pc->base);
	goldens_answer(c, pc->cache);
	goldens_answer(c, pc->scav);
	answerSearch(s, c);
}
static void pages_cachealloc(void *state, goldensCall *c) {
	pagesState *const s = state;
	uintptr_t scav;
	goldens_answer(c, pageCache_alloc(layoutOf(), &s->cache[c->a[0] % caches], (uintptr_t)c->a[1], &scav));
	goldens_answer(c, scav);
}
static void pages_flush(void *state, goldensCall *c) {
	pagesState *const s = state;
	lockHeap(s);
	pageCache_flush(&s->env, &s->cache[c->a[0] % caches], &s->pages, 0);
	unlockHeap(s);
	answerSearch(s, c);
}
// The page sizes of the OS are other ones for this call only, as in Go.
static void pages_scavenge(void *state, goldensCall *c) {
	pagesState *const s = state;
	const uintptr_t phys = s->env.physPageSize, huge = s->env.physHugePageSize;
	s->env.physPageSize = (uintptr_t)c->a[2];
	s->env.physHugePageSize = (uintptr_t)c->a[3];
	goldens_answer(c, pageAlloc_scavenge(&s->env, &s->pages, (uintptr_t)c->a[0], NULL, NULL, c->a[1] != 0, &s->delta));
	s->env.physPageSize = phys;
	s->env.physHugePageSize = huge;
	answerSearch(s, c);
}
static void pages_scavfind(void *state, goldensCall *c) {
	pagesState *const s = state;
	unsigned page;
	goldens_answer(c, scavengeIndex_find(&s->env, &s->pages.scav.index, c->a[0] != 0, &page));
	goldens_answer(c, page);
}
static void pages_nextgen(void *state, goldensCall *c) {
	pagesState *const s = state;
	lockHeap(s);
	scavengeIndex_nextGen(&s->env, &s->pages.scav.index);
	unlockHeap(s);
	answerIndex(&s->pages.scav.index, c, true);
}
static void pages_bounds(void *state, goldensCall *c) { answerBounds(state, c); }
static void pages_index(void *state, goldensCall *c) {
	pagesState *const s = state;
	answerIndex(&s->pages.scav.index, c, true);
}

enum { digestRanges, digestAlloc, digestScav, digestIndex, digestLevels };
typedef struct digests {
	uint64_t d[digestLevels + maxSummaryLevels];
} digests;

static void digestChunks(pagesState *s, digests *d, addrRange r) {
	const gomem_layout *const L = layoutOf();
	for (chunkIdx ci = chunkIndex(L, r.base.a); ci < chunkIndex(L, r.limit.a); ci++) {
		const pallocData *const chunk = pageAlloc_chunkOf(L, &s->pages, ci);
		for (unsigned i = 0; i < pallocChunkPages / 64; i++) {
			d->d[digestAlloc] = goldens_digest(d->d[digestAlloc], chunk->pallocBits.b.x[i]);
			d->d[digestScav] = goldens_digest(d->d[digestScav], chunk->scavenged.x[i]);
		}
		d->d[digestIndex] = goldens_digest(d->d[digestIndex], atomic_load(&s->pages.scav.index.chunks[ci]));
	}
}
static void digestSums(pagesState *s, digests *d, addrRange r, unsigned level) {
	const gomem_layout *const L = layoutOf();
	const unsigned shift = layout_levelShift(L, level);
	const uint64_t offset = L->arenaBaseOffset;
	for (uint64_t i = (r.base.a - offset) >> shift; i <= (r.limit.a - 1 - offset) >> shift; i++) {
		d->d[digestLevels + level] = goldens_digest(d->d[digestLevels + level], s->pages.summary[level].p[i]);
	}
}
static void pages_digests(void *state, goldensCall *c) {
	pagesState *const s = state;
	digests d = {0};
	for (intptr_t k = 0; k < s->pages.inUse.len; k++) {
		const addrRange r = s->pages.inUse.ranges[k];
		d.d[digestRanges] = goldens_digest(goldens_digest(d.d[digestRanges], r.base.a), r.limit.a);
		digestChunks(s, &d, r);
		for (unsigned l = 0; l < layoutOf()->summaryLevels; l++) {
			digestSums(s, &d, r, l);
		}
	}
	for (unsigned i = 0; i < digestLevels + (unsigned)layoutOf()->summaryLevels; i++) {
		goldens_answer(c, d.d[i]);
	}
}

static const goldensOp pagesOps[] = {
	{"alloc", 1, 1, pages_alloc},
	{"free", 2, 2, pages_free},
	{"find", 1, 1, pages_find},
	{"allocrange", 2, 2, pages_allocrange},
	{"tocache", 1, 1, pages_tocache},
	{"cachealloc", 2, 2, pages_cachealloc},
	{"flush", 1, 1, pages_flush},
	{"scavenge", 4, 4, pages_scavenge},
	{"scavfind", 1, 1, pages_scavfind},
	{"nextgen", 0, 0, pages_nextgen},
	{"grow", 2, 2, pages_grow},
	{"padding", 2, 2, pages_padding},
	{"bounds", 0, 0, pages_bounds},
	{"index", 0, 0, pages_index},
	{"digests", 0, 0, pages_digests},
	{NULL, 0, 0, NULL},
};
const goldensKind goldensPagealloc = {"pagealloc", beginPages, endPages, pagesOps};

// ---- the scavenge index

static void *beginIndex(void (*thrown)(void *ctx, const char *msg), void *ctx) {
	pagesState *const s = beginWithOS(thrown, ctx);
	if (s != NULL && scavengeIndex_init(&s->env, &s->index, true, &s->sysStat) != 0) {
		endWithOS(s);
		return NULL;
	}
	return s;
}
static void endIndex(void *state) {
	pagesState *const s = state;
	scavengeIndex_destroy(&s->env, &s->index, &s->sysStat);
	endWithOS(s);
}

static void answerWord(const pagesState *s, goldensCall *c, chunkIdx ci) {
	goldens_answer(c, atomic_load(&s->index.chunks[ci]));
}
static void index_grow(void *state, goldensCall *c) {
	pagesState *const s = state;
	const uintptr_t mapped =
		scavengeIndex_grow(&s->env, &s->index, (uintptr_t)c->a[0], (uintptr_t)c->a[1], &s->sysStat);
	answerIndex(&s->index, c, true);
	goldens_answer(c, mapped);
}
static void index_alloc(void *state, goldensCall *c) {
	pagesState *const s = state;
	scavengeIndex_alloc(&s->env, &s->index, (chunkIdx)c->a[0], (unsigned)c->a[1]);
	answerWord(s, c, (chunkIdx)c->a[0]);
}
static void index_free(void *state, goldensCall *c) {
	pagesState *const s = state;
	scavengeIndex_free(&s->env, &s->index, (chunkIdx)c->a[0], (unsigned)c->a[1], (unsigned)c->a[2]);
	answerIndex(&s->index, c, false);
	answerWord(s, c, (chunkIdx)c->a[0]);
}
static void index_find(void *state, goldensCall *c) {
	pagesState *const s = state;
	unsigned page;
	const chunkIdx ci = scavengeIndex_find(&s->env, &s->index, c->a[0] != 0, &page);
	answerIndex(&s->index, c, false);
	goldens_answer(c, ci);
	goldens_answer(c, page);
}
static void index_nextgen(void *state, goldensCall *c) {
	pagesState *const s = state;
	scavengeIndex_nextGen(&s->env, &s->index);
	answerIndex(&s->index, c, true);
}
static void index_setempty(void *state, goldensCall *c) {
	pagesState *const s = state;
	scavengeIndex_setEmpty(&s->index, (chunkIdx)c->a[0]);
	answerWord(s, c, (chunkIdx)c->a[0]);
}
static void index_unpack(void *state, goldensCall *c) {
	(void)state;
	const scavChunkData sc = unpackScavChunkData(c->a[0]);
	goldens_answer(c, sc.inUse);
	goldens_answer(c, sc.lastInUse);
	goldens_answer(c, sc.gen);
	goldens_answer(c, sc.flags);
	goldens_answer(c, scavChunkData_pack(sc));
}
static void index_should(void *state, goldensCall *c) {
	(void)state;
	goldens_answer(
		c, scavChunkData_shouldScavenge(layoutOf(), unpackScavChunkData(c->a[0]), (uint32_t)c->a[1], c->a[2] != 0));
}

static const goldensOp indexOps[] = {
	{"grow", 2, 2, index_grow},
	{"alloc", 2, 2, index_alloc},
	{"free", 3, 3, index_free},
	{"find", 1, 1, index_find},
	{"nextgen", 0, 0, index_nextgen},
	{"setempty", 1, 1, index_setempty},
	{"unpack", 1, 1, index_unpack},
	{"should", 3, 3, index_should},
	{NULL, 0, 0, NULL},
};
const goldensKind goldensScavindex = {"scavindex", beginIndex, endIndex, indexOps};

// ---- address ranges

static void *beginRanges(void (*thrown)(void *ctx, const char *msg), void *ctx) {
	pagesState *const s = beginWithOS(thrown, ctx);
	if (s != NULL && !addrRanges_init(&s->env, &s->ranges, &s->sysStat)) {
		endWithOS(s);
		return NULL;
	}
	if (s != NULL) {
		s->clone.sysStat = &s->sysStat;
	}
	return s;
}

static void answerSet(const addrRanges *a, goldensCall *c) {
	uint64_t d = 0;
	for (intptr_t i = 0; i < a->len; i++) {
		d = goldens_digest(goldens_digest(d, a->ranges[i].base.a), a->ranges[i].limit.a);
	}
	goldens_answer(c, (uint64_t)a->len);
	goldens_answer(c, a->totalBytes);
	goldens_answer(c, d);
}
static void answerRange(addrRange r, goldensCall *c) {
	goldens_answer(c, r.base.a);
	goldens_answer(c, r.limit.a);
}
static addrRange rangeOf(pagesState *s, const goldensCall *c, unsigned i) {
	return makeAddrRange(&s->env, (uintptr_t)c->a[i], (uintptr_t)c->a[i + 1]);
}

static void ranges_add(void *state, goldensCall *c) {
	pagesState *const s = state;
	if (!addrRanges_add(&s->env, &s->ranges, rangeOf(s, c, 0))) {
		gomem_throw(&s->env, "out of memory");
	}
	answerSet(&s->ranges, c);
}
static void ranges_set(void *state, goldensCall *c) {
	pagesState *const s = state;
	answerSet(&s->ranges, c);
}
static void ranges_succ(void *state, goldensCall *c) {
	pagesState *const s = state;
	goldens_answer(c, (uint64_t)addrRanges_findSucc(&s->env, &s->ranges, (uintptr_t)c->a[0]));
	goldens_answer(c, addrRanges_contains(&s->env, &s->ranges, (uintptr_t)c->a[0]));
}
static void ranges_greater(void *state, goldensCall *c) {
	pagesState *const s = state;
	uintptr_t at = 0;
	const bool found = addrRanges_findAddrGreaterEqual(&s->env, &s->ranges, (uintptr_t)c->a[0], &at);
	goldens_answer(c, found ? at : 0);
	goldens_answer(c, found);
}
static void ranges_last(void *state, goldensCall *c) {
	pagesState *const s = state;
	answerRange(addrRanges_removeLast(&s->env, &s->ranges, (uintptr_t)c->a[0]), c);
	goldens_answer(c, (uint64_t)s->ranges.len);
	goldens_answer(c, s->ranges.totalBytes);
}
static void ranges_remove(void *state, goldensCall *c) {
	pagesState *const s = state;
	addrRanges_removeGreaterEqual(&s->env, &s->ranges, (uintptr_t)c->a[0]);
	answerSet(&s->ranges, c);
}
static void ranges_clone(void *state, goldensCall *c) {
	pagesState *const s = state;
	if (!addrRanges_cloneInto(&s->env, &s->ranges, &s->clone)) {
		gomem_throw(&s->env, "out of memory");
	}
	answerSet(&s->clone, c);
}
static void ranges_range(void *state, goldensCall *c) {
	const addrRange r = rangeOf(state, c, 0);
	goldens_answer(c, addrRange_size(layoutOf(), r));
	goldens_answer(c, addrRange_contains(layoutOf(), r, (uintptr_t)c->a[2]));
}
static void ranges_subtract(void *state, goldensCall *c) {
	pagesState *const s = state;
	answerRange(addrRange_subtract(&s->env, rangeOf(s, c, 0), rangeOf(s, c, 2)), c);
}
static void ranges_cut(void *state, goldensCall *c) {
	pagesState *const s = state;
	answerRange(addrRange_removeGreaterEqual(&s->env, rangeOf(s, c, 0), (uintptr_t)c->a[2]), c);
}
static void ranges_front(void *state, goldensCall *c) {
	addrRange r = rangeOf(state, c, 0);
	uintptr_t at = 0;
	const bool taken = addrRange_takeFromFront(layoutOf(), &r, (uintptr_t)c->a[2], (uint8_t)c->a[3], &at);
	goldens_answer(c, taken ? at : 0);
	goldens_answer(c, taken);
	answerRange(r, c);
}
static void ranges_back(void *state, goldensCall *c) {
	addrRange r = rangeOf(state, c, 0);
	uintptr_t at = 0;
	const bool taken = addrRange_takeFromBack(layoutOf(), &r, (uintptr_t)c->a[2], (uint8_t)c->a[3], &at);
	goldens_answer(c, taken ? at : 0);
	goldens_answer(c, taken);
	answerRange(r, c);
}

static void answerAtomic(pagesState *s, goldensCall *c) {
	bool marked;
	goldens_answer(c, atomicOffAddr_Load(layoutOf(), &s->atomic, &marked));
	goldens_answer(c, marked);
}
static void ranges_atomic(void *state, goldensCall *c) {
	(void)c;
	pagesState *const s = state;
	s->atomic = (atomicOffAddr){0};
}
static void ranges_aclear(void *state, goldensCall *c) {
	pagesState *const s = state;
	atomicOffAddr_Clear(layoutOf(), &s->atomic);
	answerAtomic(s, c);
}
static void ranges_amin(void *state, goldensCall *c) {
	pagesState *const s = state;
	atomicOffAddr_StoreMin(layoutOf(), &s->atomic, (uintptr_t)c->a[0]);
	answerAtomic(s, c);
}
static void ranges_amarked(void *state, goldensCall *c) {
	pagesState *const s = state;
	atomicOffAddr_StoreMarked(layoutOf(), &s->atomic, (uintptr_t)c->a[0]);
	answerAtomic(s, c);
}
static void ranges_aunmark(void *state, goldensCall *c) {
	pagesState *const s = state;
	atomicOffAddr_StoreUnmark(layoutOf(), &s->atomic, (uintptr_t)c->a[0], (uintptr_t)c->a[1]);
	answerAtomic(s, c);
}

static const goldensOp rangesOps[] = {
	{"add", 2, 2, ranges_add},
	{"set", 0, 0, ranges_set},
	{"succ", 1, 1, ranges_succ},
	{"greater", 1, 1, ranges_greater},
	{"last", 1, 1, ranges_last},
	{"remove", 1, 1, ranges_remove},
	{"clone", 0, 0, ranges_clone},
	{"range", 3, 3, ranges_range},
	{"subtract", 4, 4, ranges_subtract},
	{"cut", 3, 3, ranges_cut},
	{"front", 4, 4, ranges_front},
	{"back", 4, 4, ranges_back},
	{"atomic", 0, 0, ranges_atomic},
	{"aclear", 0, 0, ranges_aclear},
	{"amin", 1, 1, ranges_amin},
	{"amarked", 1, 1, ranges_amarked},
	{"aunmark", 2, 2, ranges_aunmark},
	{NULL, 0, 0, NULL},
};
const goldensKind goldensRanges = {"ranges", beginRanges, endWithOS, rangesOps};
