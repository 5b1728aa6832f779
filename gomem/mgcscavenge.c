// mgcscavenge.c (layer 3): which pages go back to the OS, and their going.
//
// Ports the page level of mgcscavenge.go and the scavengeIndex half of mpagealloc_64bit.go; pacing is not here.
//
// The index has one word for each chunk: pages in use, pages in use when the last generation ended, generation,
// hasFree. A chunk with hasFree is looked at from the highest address down, by force or if it is not dense in this
// and the last generation. Two search addresses, one for each kind of search, sink while chunks turn out empty.
// Raising one marks it, so that a search that still knows the old address cannot sink it past the new one.
// Invariants, tested by scavengeIndex_check and pageAlloc_check:
//   min <= minHeapIdx == first chunk of the heap,  max >= one past its last chunk, the words of [min, max) are mapped
//   chunks[c].inUse == pages in use in c
// Writers hold the heap lock; scavengeIndex_find does not.
#include "gomem/mem.h"
#include "gomem/mpagealloc.h"

enum {
	logScavChunkInUseMax = logPallocChunkPages + 1,
	scavChunkInUseMask = (1 << logScavChunkInUseMax) - 1,
	scavChunkMaxFlags = 6,
	scavChunkFlagsMask = (1 << scavChunkMaxFlags) - 1,
	maxFillPages = 64, // fillAligned works on one word
};
static const uintptr_t outOfMemory = ~(uintptr_t)0;

// ---- a chunk's word

static inline scavChunkData unpackChunk(uint64_t sc) {
	return (scavChunkData){
		.inUse = (uint16_t)sc,
		.lastInUse = (uint16_t)(sc >> 16 & scavChunkInUseMask),
		.gen = (uint32_t)(sc >> 32),
		.flags = (uint8_t)(sc >> (16 + logScavChunkInUseMax) & scavChunkFlagsMask),
	};
}

static inline uint64_t packChunk(scavChunkData sc) {
	return sc.inUse | (uint64_t)sc.lastInUse << 16 | (uint64_t)sc.flags << (16 + logScavChunkInUseMax) |
		(uint64_t)sc.gen << 32;
}

scavChunkData unpackScavChunkData(uint64_t sc) { return unpackChunk(sc); }
uint64_t scavChunkData_pack(scavChunkData sc) { return packChunk(sc); }

static inline bool shouldScavenge(const gomem_layout *L, scavChunkData sc, uint32_t currGen, bool force) {
	if ((sc.flags & scavChunkHasFree) == 0) {
		return false;
	}
	if (force) {
		return true;
	}
	// A word of an older generation was not touched since: inUse is also what was in use when that generation ended.
	const bool lastSparse = sc.gen != currGen || sc.lastInUse < L->scavChunkHiOccPages;
	return lastSparse && sc.inUse < L->scavChunkHiOccPages;
}

bool scavChunkData_shouldScavenge(const gomem_layout *L, scavChunkData sc, uint32_t currGen, bool force) {
	return shouldScavenge(layout_fold(L), sc, currGen, force);
}

static inline scavChunkData loadChunk(const scavengeIndex *s, chunkIdx ci) {
	return unpackChunk(atomic_load_explicit(&s->chunks[ci], memory_order_acquire));
}
static inline void storeChunk(scavengeIndex *s, chunkIdx ci, scavChunkData sc) {
	atomic_store_explicit(&s->chunks[ci], packChunk(sc), memory_order_release);
}

// touchChunk: a change of sc in generation gen begins.
static inline void touchChunk(scavChunkData *sc, uint32_t gen) {
	if (sc->gen != gen) {
		sc->lastInUse = sc->inUse;
		sc->gen = gen;
	}
}

// ---- memory for the index

static inline uintptr_t indexEntries(const gomem_layout *L) {
	return (uintptr_t)1 << (L->heapAddrBits - layout_logChunkBytes(L));
}
// In a small address space the index is smaller than a large physical page.
static inline uintptr_t indexBytes(const gomem_env *env) {
	return (uintptr_t)alignUp(indexEntries(layout_get(env)) * sizeof(uint64_t), env->physPageSize);
}
static inline uintptr_t loadIdx(const _Atomic(uintptr_t) *a) { return atomic_load_explicit(a, memory_order_acquire); }

uintptr_t scavengeIndex_init(gomem_env *env, scavengeIndex *s, bool test, sysMemStat *sysStat) {
	(void)sysStat; // only Reserved so far
	const gomem_layout *const L = layout_get(env);
	const uintptr_t n = indexEntries(L);
	atomicOffAddr_Clear(L, &s->searchAddrBg);
	atomicOffAddr_Clear(L, &s->searchAddrForce);
	s->freeHWM = minOffAddr(L);
	s->test = test;
	s->chunks = sysReserve(env, NULL, indexBytes(env), MEM_META);
	if (s->chunks == NULL) {
		return outOfMemory;
	}
	s->chunksLen = (intptr_t)n;
	s->chunksCap = (intptr_t)n;
	return 0;
}

uintptr_t scavengeIndex_mapped(const scavengeIndex *s) {
	return (loadIdx(&s->max) - loadIdx(&s->min)) * sizeof *s->chunks;
}

void scavengeIndex_destroy(gomem_env *env, scavengeIndex *s, sysMemStat *sysStat) {
	const uintptr_t n = scavengeIndex_mapped(s);
	if (n != 0) {
		const uintptr_t first = (uintptr_t)&s->chunks[loadIdx(&s->min)];
		pageAlloc_unmapMeta(env, makeAddrRange(env, first, first + n), sysStat);
	}
	sysUnreserve(env, (void *)(uintptr_t)s->chunks, indexBytes(env));
}

// The index is mapped without gaps from the heap's lowest chunk to its highest.
static uintptr_t scavengeIndex_sysGrow(
	gomem_env *env, scavengeIndex *s, uintptr_t base, uintptr_t limit, sysMemStat *sysStat) {
	const gomem_layout *const L = layout_get(env);
	const uintptr_t size = sizeof *s->chunks;
	if (((base | limit) & (layout_chunkBytes(L) - 1)) != 0) {
		gomem_throw(env, "sysGrow bounds not aligned to pallocChunkBytes");
	}
	const uintptr_t haveMin = loadIdx(&s->min), haveMax = loadIdx(&s->max);
	uintptr_t needMin = (uintptr_t)alignDown(chunkIndex(L, base), env->physPageSize / size);
	uintptr_t needMax = (uintptr_t)alignUp(chunkIndex(L, limit), env->physPageSize / size);
	if (needMax < haveMin) {
		needMax = haveMin;
	}
	if (haveMax != 0 && needMin > haveMax) {
		needMin = haveMax;
	}
	const uintptr_t first = (uintptr_t)s->chunks;
	const addrRange have = makeAddrRange(env, first + haveMin * size, first + haveMax * size);
	const addrRange need =
		addrRange_subtract(env, makeAddrRange(env, first + needMin * size, first + needMax * size), have);
	const uintptr_t n = addrRange_size(L, need);
	if (n == 0) {
		return 0;
	}
	if (!pageAlloc_mapMeta(env, need, sysStat)) {
		return outOfMemory;
	}
	// A search may run: bounds follow the memory.
	if (haveMax == 0 || needMin < haveMin) {
		atomic_store_explicit(&s->min, needMin, memory_order_release);
	}
	if (needMax > haveMax) {
		atomic_store_explicit(&s->max, needMax, memory_order_release);
	}
	return n;
}

// DEVIATION(D35): with 32-bit words too. There Go has the whole index from the start.
// DEVIATION(D14): Go lowers minHeapIdx before it maps the words that a search would then read; here it follows.
uintptr_t scavengeIndex_grow(gomem_env *env, scavengeIndex *s, uintptr_t base, uintptr_t limit, sysMemStat *sysStat) {
	const uintptr_t n = scavengeIndex_sysGrow(env, s, base, limit, sysStat);
	if (n == outOfMemory) {
		return n;
	}
	const uintptr_t minHeapIdx = loadIdx(&s->minHeapIdx);
	const uintptr_t baseIdx = chunkIndex(layout_get(env), base);
	if (minHeapIdx == 0 || baseIdx < minHeapIdx) {
		atomic_store_explicit(&s->minHeapIdx, baseIdx, memory_order_release);
	}
	return n;
}

void scavengeIndex_check(gomem_env *env, const scavengeIndex *s, chunkIdx start, chunkIdx end) {
	if (loadIdx(&s->minHeapIdx) > start) {
		gomem_throw(env, "scavengeIndex: minHeapIdx is above the first chunk");
	}
	if (loadIdx(&s->min) > loadIdx(&s->minHeapIdx) || loadIdx(&s->max) < end) {
		gomem_throw(env, "scavengeIndex: chunks of the heap are not mapped");
	}
}

// ---- the index

chunkIdx scavengeIndex_find(gomem_env *env, scavengeIndex *s, bool force, unsigned *pageIdx) {
	const gomem_layout *const L = layout_get(env);
	atomicOffAddr *const cursor = force ? &s->searchAddrForce : &s->searchAddrBg;
	bool marked;
	const uintptr_t searchAddr = atomicOffAddr_Load(L, cursor, &marked);
	*pageIdx = 0;
	if (searchAddr == minOffAddr(L).a) {
		return 0;
	}
	const uint32_t gen = atomic_load_explicit(&s->gen, memory_order_relaxed);
	const chunkIdx min = loadIdx(&s->minHeapIdx);
	const chunkIdx start = chunkIndex(L, searchAddr);
	for (chunkIdx i = start; i >= min; i--) { // min > 0: chunk 0 is never mapped
		if (!shouldScavenge(L, loadChunk(s, i), gen, force)) {
			continue;
		}
		if (i == start) {
			*pageIdx = chunkPageIndex(L, searchAddr);
			return i;
		}
		const uintptr_t newSearchAddr = chunkBase(L, i + 1) - (uintptr_t)layout_pageSize(L);
		if (marked) {
			// If somebody raised or lowered it meanwhile, that stays: a worse start is better than a missed raise.
			atomicOffAddr_StoreUnmark(L, cursor, searchAddr, newSearchAddr);
		} else {
			atomicOffAddr_StoreMin(L, cursor, newSearchAddr);
		}
		*pageIdx = layout_chunkPages(L) - 1;
		return i;
	}
	atomicOffAddr_Clear(L, cursor);
	return 0;
}

void scavengeIndex_alloc(gomem_env *env, scavengeIndex *s, chunkIdx ci, unsigned npages) {
	const unsigned chunkPages = layout_chunkPages(layout_get(env));
	scavChunkData sc = loadChunk(s, ci);
	if (sc.inUse + npages > chunkPages) {
		gomem_throw(env, "too many pages allocated in chunk?");
	}
	touchChunk(&sc, atomic_load_explicit(&s->gen, memory_order_relaxed));
	sc.inUse = (uint16_t)(sc.inUse + npages);
	if (sc.inUse == chunkPages) {
		sc.flags &= (uint8_t)~scavChunkHasFree;
	}
	storeChunk(s, ci, sc);
}

void scavengeIndex_free(gomem_env *env, scavengeIndex *s, chunkIdx ci, unsigned page, unsigned npages) {
	const gomem_layout *const L = layout_get(env);
	scavChunkData sc = loadChunk(s, ci);
	if (sc.inUse < npages) {
		gomem_throw(env, "allocated pages below zero?");
	}
	touchChunk(&sc, atomic_load_explicit(&s->gen, memory_order_relaxed));
	sc.inUse = (uint16_t)(sc.inUse - npages);
	sc.flags |= scavChunkHasFree;
	storeChunk(s, ci, sc);

	const offAddr addr = {chunkBase(L, ci) + ((uintptr_t)(page + npages - 1) << L->pageShift)};
	if (offAddr_lessThan(L, s->freeHWM, addr)) {
		s->freeHWM = addr;
	}
	// Only searches change it at the same time, and only downwards: a stale value is too high, never too low.
	bool marked;
	if (offAddr_lessThan(L, (offAddr){atomicOffAddr_Load(L, &s->searchAddrForce, &marked)}, addr)) {
		atomicOffAddr_StoreMarked(L, &s->searchAddrForce, addr.a);
	}
}

void scavengeIndex_nextGen(gomem_env *env, scavengeIndex *s) {
	const gomem_layout *const L = layout_get(env);
	atomic_fetch_add_explicit(&s->gen, 1, memory_order_relaxed);
	bool marked;
	if (offAddr_lessThan(L, (offAddr){atomicOffAddr_Load(L, &s->searchAddrBg, &marked)}, s->freeHWM)) {
		atomicOffAddr_StoreMarked(L, &s->searchAddrBg, s->freeHWM.a);
	}
	s->freeHWM = minOffAddr(L);
}

void scavengeIndex_setEmpty(scavengeIndex *s, chunkIdx ci) {
	scavChunkData sc = loadChunk(s, ci);
	sc.flags &= (uint8_t)~scavChunkHasFree;
	storeChunk(s, ci, sc);
}

// ---- what to take from a chunk

uint64_t fillAligned(uint64_t x, unsigned m) {
	// For a group of 1, 2, 4, ... 64 bits: all but the highest bit of each group.
	static const uint64_t lowBits[8] = {
		0,
		0x5555555555555555,
		0x7777777777777777,
		0x7f7f7f7f7f7f7f7f,
		0x7fff7fff7fff7fff,
		0x7fffffff7fffffff,
		0x7fffffffffffffff,
	};
	if (m == 1) {
		return x;
	}
	const uint64_t c = lowBits[ctz64(m) & 7];
	// A group's low bits plus all ones carry into its highest bit unless they are 0. What is left is the highest bit
	// of each group of zeros, and the difference turns it into that group's low bits.
	const uint64_t zeroGroups = ~((((x & c) + c) | x) | c);
	return ~((zeroGroups - (zeroGroups >> (m - 1))) | zeroGroups);
}

// blocked has a one where a page is in use or scavenged, or shares a group of minimum pages with such a page.
static inline uint64_t blocked(const pallocData *m, unsigned word, unsigned minimum) {
	return fillAligned(m->scavenged.x[word] | m->pallocBits.b.x[word], minimum);
}

// lastFreeRun gives the length of the highest run of zeros of blocked() in words 0..word, and where it ends. 0: none.
static unsigned lastFreeRun(const pallocData *m, unsigned word, unsigned minimum, unsigned *end) {
	unsigned i = word + 1;
	uint64_t x = ~(uint64_t)0;
	while (i > 0 && x == ~(uint64_t)0) {
		i--;
		x = blocked(m, i, minimum);
	}
	if (x == ~(uint64_t)0) {
		return 0;
	}
	const unsigned above = clz64(~x);
	*end = i * 64 + 64 - above;
	if (x << above != 0) {
		return clz64(x << above);
	}
	unsigned run = 64 - above;
	for (x = 0; i > 0 && x == 0; i--) {
		x = blocked(m, i - 1, minimum);
		run += clz64(x);
	}
	return run;
}

unsigned pallocData_findScavengeCandidate(
	gomem_env *env, pallocData *m, unsigned searchIdx, uintptr_t minimum, uintptr_t max, unsigned *npages) {
	const gomem_layout *const L = layout_get(env);
	if (minimum == 0 || (minimum & (minimum - 1)) != 0) {
		gomem_throw(env, "min must be a non-zero power of 2");
	}
	if (minimum > L->maxPhysPageSize >> L->pageShift || minimum > maxFillPages) {
		gomem_throw(env, "min too large");
	}
	max = max == 0 ? minimum : (uintptr_t)alignUp(max, minimum);
	unsigned end = 0;
	const unsigned run = lastFreeRun(m, searchIdx / 64, (unsigned)minimum, &end);
	unsigned size = run < max ? run : (unsigned)max;
	unsigned start = end - size;
	*npages = size;
	if (size == 0 || env->physHugePageSize <= layout_pageSize(L) || env->physHugePageSize <= env->physPageSize) {
		return start;
	}
	// Do not break a huge page that is wholly in the run: take all of it.
	const uintptr_t hugePages = env->physHugePageSize >> L->pageShift;
	if (alignUp(start, hugePages) > end) {
		return start;
	}
	const unsigned hugePageBelow = (unsigned)alignDown(start, hugePages);
	if (hugePageBelow >= end - run) {
		*npages = size + (start - hugePageBelow);
		return hugePageBelow;
	}
	return start;
}

// ---- giving pages back

static void accountReleased(gomem_env *env, uintptr_t nbytes, heapStatsDelta *delta) {
	const int64_t n = (int64_t)nbytes;
	sysMemStat_add(&env->stats->heapReleased, n);
	sysMemStat_add(&env->stats->heapFree, -n);
	atomic_fetch_sub_explicit(&delta->committed, n, memory_order_relaxed);
	atomic_fetch_add_explicit(&delta->released, n, memory_order_relaxed);
}

// pageAlloc_takeCandidate marks pages of chunk ci that can be scavenged as in use, so that nobody takes them. The
// index is not told: they are not really allocated. Returns their number.
static unsigned pageAlloc_takeCandidate(
	gomem_env *env, pageAlloc *p, chunkIdx ci, unsigned searchIdx, uintptr_t max, unsigned *base) {
	const gomem_layout *const L = layout_get(env);
	// Not alignUp: max may be the largest number.
	const uintptr_t maxPages = (max >> L->pageShift) + ((max & (layout_pageSize(L) - 1)) != 0);
	const uintptr_t physPages = env->physPageSize >> L->pageShift;
	const uintptr_t minPages = physPages < 1 ? 1 : physPages;
	if (pallocSum_max(L, p->summary[L->summaryLevels - 1].p[ci]) < minPages) {
		return 0;
	}
	pallocData *const chunk = pageAlloc_chunkOf(L, p, ci);
	unsigned npages;
	*base = pallocData_findScavengeCandidate(env, chunk, searchIdx, minPages, maxPages, &npages);
	if (npages != 0) {
		pallocData_allocRange(chunk, *base, npages);
		pageAlloc_update(env, p, chunkBase(L, ci) + ((uintptr_t)*base << L->pageShift), npages, true, true);
	}
	return npages;
}

uintptr_t pageAlloc_scavengeOne(
	gomem_env *env, pageAlloc *p, chunkIdx ci, unsigned searchIdx, uintptr_t max, heapStatsDelta *delta) {
	const gomem_layout *const L = layout_get(env);
	lockTurn(env, p->mheapLock, EV_NONE);
	unsigned base = 0;
	const unsigned npages = pageAlloc_takeCandidate(env, p, ci, searchIdx, max, &base);
	if (npages == 0) {
		scavengeIndex_setEmpty(&p->scav.index, ci);
		lab_event(env, EV_SCAVEMPTY, ci, 0, 0, 0);
		unlock(env, p->mheapLock);
		return 0;
	}
	const uintptr_t addr = chunkBase(L, ci) + ((uintptr_t)base << L->pageShift);
	const uintptr_t nbytes = (uintptr_t)npages << L->pageShift;
	lab_event(env, EV_SCAVBEGIN, addr, npages, 0, 0);
	unlock(env, p->mheapLock);

	if (!p->test) {
		sysUnused(env, (void *)addr, nbytes);
		accountReleased(env, nbytes, delta);
	}

	lockTurn(env, p->mheapLock, EV_SCAVEND);
	if (offAddr_lessThan(L, (offAddr){addr}, p->searchAddr)) {
		p->searchAddr = (offAddr){addr};
	}
	pallocData *const chunk = pageAlloc_chunkOf(L, p, ci);
	pallocBits_free(&chunk->pallocBits, base, npages);
	pageAlloc_update(env, p, addr, npages, true, false);
	pageBits_setRange(&chunk->scavenged, base, npages);
	lab_event(env, EV_SCAVEND, addr, npages, 0, 0);
	unlock(env, p->mheapLock);
	return nbytes;
}

uintptr_t pageAlloc_scavengeStep(
	gomem_env *env, pageAlloc *p, uintptr_t nbytes, bool force, heapStatsDelta *delta, bool *done) {
	lab_turn(env, EV_SCAVFIND);
	unsigned pageIdx;
	const chunkIdx ci = scavengeIndex_find(env, &p->scav.index, force, &pageIdx);
	lab_event(env, EV_SCAVFIND, ci, pageIdx, 0, 0);
	*done = ci == 0;
	return ci == 0 ? 0 : pageAlloc_scavengeOne(env, p, ci, pageIdx, nbytes, delta);
}

uintptr_t pageAlloc_scavenge(gomem_env *env, pageAlloc *p, uintptr_t nbytes, bool (*shouldStop)(void *), void *arg,
	bool force, heapStatsDelta *delta) {
	uintptr_t released = 0;
	bool done = false;
	while (released < nbytes && !done) {
		released += pageAlloc_scavengeStep(env, p, nbytes - released, force, delta, &done);
		if (!done && shouldStop != NULL && shouldStop(arg)) {
			break;
		}
	}
	return released;
}
