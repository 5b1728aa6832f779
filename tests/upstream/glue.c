// glue.c: see glue.h.
//
// Where Go's tests need more than a call of gomem/, this file makes the same steps as Go's own test package does, in C. A failure to
// get memory ends the program: a test has no use for it.
#include "tests/upstream/glue.h"

#include <stdio.h>
#include <stdlib.h>

static const gomem_layout *const L = &layout_linux_amd64_go126;

static void *must(void *p, const char *what) {
	if (p == NULL) {
		fprintf(stderr, "upstream: no memory for %s\n", what);
		abort();
	}
	return p;
}

static void mustBe(bool ok, const char *what) {
	if (!ok) {
		fprintf(stderr, "upstream: %s\n", what);
		abort();
	}
}

gomem_env *upstream_env(void) {
	gomem_env *const env = must(calloc(1, sizeof *env), "an environment");
	env->layout = L;
	env->os = must(mem_linux_new(), "the system");
	env->stats = must(calloc(1, sizeof *env->stats), "statistics");
	env->states = must(memStates_new(), "states");
	env->physPageSize = env->os->physPageSize;
	env->physHugePageSize = env->os->physHugePageSize <= layout_chunkBytes(L) ? env->os->physHugePageSize : 0;
	return env;
}

// ---- page allocators

upstreamPages *upstream_newPages(gomem_env *env) {
	upstreamPages *const s = must(calloc(1, sizeof *s), "a page allocator");
	mustBe(pageAlloc_init(env, &s->p, &s->heapLock, &env->stats->other_sys, true), "pageAlloc_init failed");
	return s;
}

void upstream_freePages(gomem_env *env, upstreamPages *s) {
	pageAlloc_destroy(env, &s->p);
	free(s);
}

void upstream_beginChunk(gomem_env *env, upstreamPages *s, chunkIdx ci) {
	lock(env, &s->heapLock);
	mustBe(pageAlloc_grow(env, &s->p, chunkBase(L, ci), (uintptr_t)layout_chunkBytes(L)), "pageAlloc_grow failed");
	unlock(env, &s->heapLock);
	// Growth leaves all pages scavenged; to the index they shall look as if they had been in use.
	pageBits_clearRange(&pageAlloc_chunkOf(L, &s->p, ci)->scavenged, 0, pallocChunkPages);
	scavengeIndex_alloc(env, &s->p.scav.index, ci, pallocChunkPages);
	scavengeIndex_free(env, &s->p.scav.index, ci, 0, pallocChunkPages);
}

void upstream_scavengedInChunk(upstreamPages *s, chunkIdx ci, unsigned i, unsigned n) {
	if (n != 0) {
		pageBits_setRange(&pageAlloc_chunkOf(L, &s->p, ci)->scavenged, i, n);
	}
}

void upstream_inUseInChunk(gomem_env *env, upstreamPages *s, chunkIdx ci, unsigned i, unsigned n) {
	if (n != 0) {
		pallocData_allocRange(pageAlloc_chunkOf(L, &s->p, ci), i, n);
		scavengeIndex_alloc(env, &s->p.scav.index, ci, n);
	}
}

void upstream_endChunk(gomem_env *env, upstreamPages *s, chunkIdx ci) {
	lock(env, &s->heapLock);
	pageAlloc_update(env, &s->p, chunkBase(L, ci), pallocChunkPages, false, false);
	unlock(env, &s->heapLock);
}

uintptr_t upstream_alloc(gomem_env *env, upstreamPages *s, uintptr_t npages, uintptr_t *scav) {
	lock(env, &s->heapLock);
	const uintptr_t addr = pageAlloc_alloc(env, &s->p, npages, scav);
	unlock(env, &s->heapLock);
	return addr;
}

void upstream_free(gomem_env *env, upstreamPages *s, uintptr_t base, uintptr_t npages) {
	lock(env, &s->heapLock);
	pageAlloc_free(env, &s->p, base, npages);
	unlock(env, &s->heapLock);
}

pageCache upstream_allocToCache(gomem_env *env, upstreamPages *s) {
	lock(env, &s->heapLock);
	const pageCache c = pageAlloc_allocToCache(env, &s->p);
	unlock(env, &s->heapLock);
	return c;
}

void upstream_flush(gomem_env *env, upstreamPages *s, pageCache *c) {
	lock(env, &s->heapLock);
	pageCache_flush(env, c, &s->p, -1);
	unlock(env, &s->heapLock);
}

uintptr_t upstream_scavenge(gomem_env *env, upstreamPages *s, uintptr_t nbytes) {
	return pageAlloc_scavenge(env, &s->p, nbytes, NULL, NULL, true, &s->delta);
}

// ---- an index

// Chunks are numbered from the address space's begin: most of the table is never touched.
scavengeIndex *upstream_newIndex(chunkIdx min, chunkIdx max) {
	scavengeIndex *const s = must(calloc(1, sizeof *s), "an index");
	s->chunks = must(calloc(max, sizeof *s->chunks), "an index");
	s->chunksLen = s->chunksCap = (intptr_t)max;
	atomic_store(&s->min, min);
	atomic_store(&s->max, max);
	atomic_store(&s->minHeapIdx, min);
	s->test = true;
	return s;
}

void upstream_freeIndex(scavengeIndex *s) {
	free((void *)(uintptr_t)s->chunks);
	free(s);
}

static void resetSearchAddr(atomicOffAddr *a) {
	bool marked = false;
	const uintptr_t addr = atomicOffAddr_Load(L, a, &marked);
	if (marked) {
		atomicOffAddr_StoreUnmark(L, a, addr, addr);
	}
	atomicOffAddr_Clear(L, a);
}

void upstream_resetSearchAddrs(scavengeIndex *s) {
	resetSearchAddr(&s->searchAddrBg);
	resetSearchAddr(&s->searchAddrForce);
	s->freeHWM = minOffAddr(L);
}

// ---- a pacer

upstreamController *upstream_newController(gomem_env *env, int32_t gcPercent, int64_t memoryLimit) {
	upstreamController *const c = must(calloc(1, sizeof *c), "a pacer");
	gcController_init(&c->c, env, &c->stats, gcPercent, memoryLimit);
	return c;
}

void upstream_freeController(upstreamController *c) { free(c); }

void upstream_startCycle(
	upstreamController *c, uint64_t stackSize, uint64_t globalsSize, double scannableFrac, int32_t gomaxprocs) {
	uint64_t goal;
	uint64_t trigger = gcController_trigger(&c->c, &goal);
	trigger = c->c.heapMarked > trigger ? c->c.heapMarked : trigger;
	atomic_store(&c->c.maxStackScan, stackSize);
	atomic_store(&c->c.globalsScan, globalsSize);
	atomic_store(&c->stats.heapLive, trigger);
	atomic_fetch_add(&c->stats.heapScan, (uint64_t)(int64_t)((double)(trigger - c->c.heapMarked) * scannableFrac));
	gcController_startCycle(&c->c, 0, gomaxprocs, false);
}

void upstream_revise(upstreamController *c, upstreamRevise d) {
	atomic_fetch_add(&c->stats.heapLive, (uint64_t)d.heapLive);
	atomic_fetch_add(&c->stats.heapScan, (uint64_t)d.heapScan);
	atomic_fetch_add(&c->c.heapScanWork, d.heapScanWork);
	atomic_fetch_add(&c->c.stackScanWork, d.stackScanWork);
	atomic_fetch_add(&c->c.globalsScanWork, d.globalsScanWork);
	gcController_revise(&c->c);
}

void upstream_endCycle(
	upstreamController *c, uint64_t bytesMarked, int64_t assistTime, int64_t elapsed, int32_t gomaxprocs) {
	atomic_store(&c->c.assistTime, assistTime);
	gcController_endCycle(&c->c, elapsed, gomaxprocs);
	gcController_resetLive(&c->c, bytesMarked);
	gcController_commit(&c->c, false);
	const char *const broken = gcController_check(&c->c);
	mustBe(broken == NULL, broken);
}

uint64_t upstream_heapLive(upstreamController *c) { return atomic_load(&c->stats.heapLive); }

double upstream_assistWorkPerByte(upstreamController *c) { return atomic_load(&c->c.assistWorkPerByte); }

// ---- a background scavenger

upstreamScavenger *upstream_newScavenger(gomem_env *env, uintptr_t test, int64_t (*sleep)(void *s, int64_t ns),
	uintptr_t (*scavenge)(void *s, uintptr_t nbytes, int64_t *ns), bool (*shouldStop)(void *s),
	int32_t (*gomaxprocs)(void *s)) {
	upstreamScavenger *const s = must(calloc(1, sizeof *s), "a scavenger");
	s->test = test;
	scavenger_init(&s->s, env, env->physPageSize,
		(scavengerHooks){
			.ctx = s, .sleep = sleep, .scavenge = scavenge, .shouldStop = shouldStop, .gomaxprocs = gomaxprocs});
	return s;
}

void upstream_freeScavenger(upstreamScavenger *s) { free(s); }

// ---- stacks

void upstream_push(gomem_env *env, uint64_t *head, void *node) { lfstack_push(env, (lfstack *)head, node); }

void *upstream_pop(uint64_t *head) { return lfstack_pop((lfstack *)head); }

void upstream_validateNode(gomem_env *env, const void *node) {
	taggedPointerPack(env, node, ((uintptr_t)((uint64_t)1 << tagBits)) - 1);
}

// ---- a heap that was in use

enum { liveObjects = 4096, operations = 60000, cycles = 4 };

typedef struct load {
	gomem_heap *h;
	int nprocs;
	uint64_t random;
	void *live[liveObjects];
} load;

// rnd: a number below n, from a generator whose numbers are the same in each run.
static unsigned rnd(load *l, unsigned n) {
	l->random = l->random * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)((l->random >> 33) % n);
}

static gomem_p *randomP(load *l) { return gomem_heap_p(l->h, (int)rnd(l, (unsigned)l->nprocs)); }

static void *allocObject(load *l) {
	static const uint8_t mask[64] = {0x55, 0xff, 0x01, 0x80};
	static const gomem_type types[] = {
		{.size = 8, .ptr_bytes = 8, .ptr_mask = mask},
		{.size = 48, .ptr_bytes = 40, .ptr_mask = mask},
		{.size = 512, .ptr_bytes = 192, .ptr_mask = mask},
		{.size = 1008, .ptr_bytes = 192, .ptr_mask = mask},
		{.size = 4096, .ptr_bytes = 192, .ptr_mask = mask},
		{.size = 65536, .ptr_bytes = 192, .ptr_mask = mask},
	};
	const unsigned kind = rnd(l, 256);
	gomem_p *const p = randomP(l);
	if (kind < 96) {
		return gomem_mallocgc(l->h, p, 1 + rnd(l, 15), NULL, true);
	}
	if (kind < 176) {
		return gomem_mallocgc(l->h, p, 16 + rnd(l, 1 << rnd(l, 15)), NULL, rnd(l, 2) != 0);
	}
	if (kind < 254) {
		const gomem_type *const typ = &types[rnd(l, 5)];
		return gomem_mallocgc(l->h, p, typ->size, typ, true);
	}
	const gomem_type *const large = rnd(l, 2) != 0 ? &types[5] : NULL;
	return gomem_mallocgc(l->h, p, large != NULL ? large->size : 32768 + rnd(l, 1 << 20), large, true);
}

static void useStacksAndWorkBufs(load *l) {
	gomem_p *const p = randomP(l);
	const uint32_t n = 2048u << rnd(l, 6);
	void *const stk = must(gomem_stackalloc(l->h, p, n, rnd(l, 4) == 0), "a stack");
	void *const buf = must(gomem_allocManual(l->h, p, 1 + rnd(l, 8)), "a work buffer");
	gomem_stackfree(l->h, randomP(l), stk, n, rnd(l, 4) == 0);
	gomem_freeManual(l->h, p, buf);
}

// Half of the objects live on. A part of the sweep is left to the allocations of the next cycle.
static void collect(load *l) {
	gomem_p *const p0 = gomem_heap_p(l->h, 0);
	gomem_finishsweep(l->h, p0);
	gomem_setGCPhase(l->h, gcMark);
	for (unsigned i = 0; i < liveObjects; i += 2) {
		mustBe(l->live[i] == NULL || gomem_mark(l->h, l->live[i]), "an object is not found");
		l->live[i + 1] = NULL;
	}
	gomem_setGCPhase(l->h, gcOff);
	gomem_startsweep(l->h);
	for (int i = 0; i < l->nprocs; i++) {
		gomem_prepareForSweep(l->h, gomem_heap_p(l->h, i));
	}
	for (unsigned n = rnd(l, 2000); n > 0 && gomem_sweepone(l->h, p0) != ~(uintptr_t)0; n--) {
	}
	gomem_freeStackSpans(l->h, p0);
	gomem_scavenge(l->h, p0, 8u << 20, true);
}

gomem_heap *upstream_newHeap(int nprocs) {
	// Without random padding no page may be both in use and scavenged: a test of that need not allow for it.
	const gomem_config cfg = {.no_randomized_base = true, .checked = true, .rand_seed = 1};
	load *const l = must(calloc(1, sizeof *l), "a load");
	l->h = must(gomem_heap_new(&cfg), "a heap");
	l->nprocs = nprocs;
	l->random = 1;
	mustBe(gomem_procresize(l->h, nprocs), "gomem_procresize failed");
	for (int c = 0; c < cycles; c++) {
		for (int i = 0; i < operations; i++) {
			l->live[rnd(l, liveObjects)] = must(allocObject(l), "an object");
			if (i % 64 == 0) {
				useStacksAndWorkBufs(l);
			}
		}
		if (c + 1 < cycles) {
			collect(l);
		}
	}
	gomem_heap *const h = l->h;
	free(l);
	return h;
}

void upstream_pagesInUse(gomem_heap *h, uintptr_t *pagesInUse, uintptr_t *counted) {
	*pagesInUse = atomic_load(&h->pagesInUse);
	*counted = 0;
	for (intptr_t i = 0; i < h->allspans.len; i++) {
		mspan *const s = h->allspans.p[i];
		*counted += mspan_state(s) == mSpanInUse ? s->npages : 0;
	}
}

uintptr_t upstream_leaked(gomem_heap *h) {
	uintptr_t leaked = 0;
	for (int32_t i = h->gomaxprocs; i < h->nallp; i++) {
		leaked += h->allp[i] != NULL ? popcount64(h->allp[i]->pcache.cache) : 0;
	}
	return leaked;
}

bool upstream_mismatch(gomem_heap *h, uintptr_t *from, uintptr_t *base, uint64_t *got, uint64_t *want) {
	const chunkIdx start = h->pages.start, end = h->pages.end;
	while (start + *from / pallocChunkPages < end) {
		const chunkIdx ci = start + *from / pallocChunkPages;
		const unsigned i = (unsigned)(*from % pallocChunkPages);
		const pallocData *const chunk = pageAlloc_tryChunkOf(L, &h->pages, ci);
		*base = chunkBase(L, ci) + ((uintptr_t)i << L->pageShift);
		*from += 64;
		if (chunk == NULL) {
			continue;
		}
		*got = pageBits_block64(&chunk->scavenged, i);
		*want = *got & ~pageBits_block64(&chunk->pallocBits.b, i);
		if (*got != *want) {
			return true;
		}
	}
	return false;
}

upstreamStats upstream_readStats(gomem_heap *h) {
	gomem_memstats m;
	gomem_readmemstats(h, &m);
	return (upstreamStats){
		.alloc = m.total_alloc - m.total_free,
		.totalAlloc = m.total_alloc,
		.mallocs = m.mallocs,
		.frees = m.frees,
		.released = m.heap_released,
	};
}

static void countSpans(gomem_heap *h, upstreamStats *out) {
	for (intptr_t i = 0; i < h->allspans.len; i++) {
		mspan *const s = h->allspans.p[i];
		if (mspan_state(s) == mSpanInUse) {
			const uint64_t n = spanClass_sizeclass(s->spanclass) == 0 ? 1 : s->allocCount;
			out->mallocs += n;
			out->alloc += n * s->elemsize;
		}
	}
}

static uint64_t countReleased(gomem_heap *h) {
	uint64_t pages = 0;
	for (chunkIdx ci = h->pages.start; ci < h->pages.end; ci++) {
		const pallocData *const chunk = pageAlloc_tryChunkOf(L, &h->pages, ci);
		pages += chunk != NULL ? pageBits_popcntRange(&chunk->scavenged, 0, pallocChunkPages) : 0;
	}
	for (int32_t i = 0; i < h->gomaxprocs; i++) {
		const pageCache *const c = &h->allp[i]->pcache;
		pages += popcount64(c->cache & c->scav);
	}
	return pages << L->pageShift;
}

upstreamStats upstream_countStats(gomem_heap *h) {
	upstreamStats out = {0};
	gomem_memstats m;
	gomem_readmemstats(h, &m);
	countSpans(h, &out);
	out.frees = m.frees;
	out.mallocs += m.frees;
	out.totalAlloc = out.alloc + m.total_free;
	out.released = countReleased(h);
	return out;
}

unsigned upstream_countAlloc(uint8_t *bits, unsigned nbytes) {
	const gomem_env env = {.hasPOPCNT = false};
	mspan s = {.nelems = (uint16_t)(nbytes * 8), .gcmarkBits = (gcBits *)(void *)bits};
	return mspan_countAlloc(&env, &s);
}
