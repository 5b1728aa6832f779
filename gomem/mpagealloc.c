// mpagealloc.c (layer 3): the page allocator: a radix tree of summaries over the bitmaps of chunks.
//
// Ports mpagealloc.go and the pageAlloc half of mpagealloc_64bit.go.
//
// Level 0 of the tree is one block, the root; below, an entry of level l stands over a block of 1 << levelBits(l+1)
// entries. Memory for a level is reserved once for the whole address space and mapped where the heap grows.
// Invariants, tested by pageAlloc_check: those at the head of mpagealloc.h, and
//   summary[l] is mapped exactly where an entry's block has a part in inUse, rounded to physical pages
#include "gomem/mpagealloc.h"

#include "gomem/mem.h"

static inline uintptr_t chunksL2Size(const gomem_layout *L) { return sizeof(pallocData) << L->pallocChunksL2Bits; }
static inline pallocData *chunkOf(const gomem_layout *L, pageAlloc *p, chunkIdx ci) {
	return &p->chunks[chunkIdx_l1(L, ci)][chunkIdx_l2(L, ci)];
}
static inline pallocSum *leafSums(const gomem_layout *L, pageAlloc *p) { return p->summary[L->summaryLevels - 1].p; }

// ---- sums

typedef struct sumParts {
	unsigned start, max, end;
} sumParts;

static inline sumParts pallocSum_unpack(const gomem_layout *L, pallocSum s) {
	const unsigned bits = layout_logMaxPackedValue(L);
	const unsigned full = 1u << bits;
	if (s >> 63 != 0) {
		return (sumParts){full, full, full};
	}
	return (sumParts){
		(unsigned)s & (full - 1), (unsigned)(s >> bits) & (full - 1), (unsigned)(s >> 2 * bits) & (full - 1)};
}

static inline pallocSum mergeSums(
	const gomem_layout *L, const pallocSum *sums, unsigned n, unsigned logMaxPagesPerSum) {
	const unsigned whole = 1u << logMaxPagesPerSum;
	sumParts m = pallocSum_unpack(L, sums[0]);
	for (unsigned i = 1; i < n; i++) {
		const sumParts s = pallocSum_unpack(L, sums[i]);
		if (m.start == i << logMaxPagesPerSum) {
			m.start += s.start;
		}
		const unsigned across = m.end + s.start;
		const unsigned most = across > s.max ? across : s.max;
		m.max = most > m.max ? most : m.max;
		m.end = s.end == whole ? m.end + whole : s.end;
	}
	return packPallocSum(L, m.start, m.max, m.end);
}

pallocSum mergeSummaries(const gomem_layout *L, const pallocSum *sums, unsigned n, unsigned logMaxPagesPerSum) {
	return mergeSums(layout_fold(L), sums, n, logMaxPagesPerSum);
}

// ---- places in the tree

typedef struct sumRange {
	uintptr_t lo, hi; // entries [lo, hi)
} sumRange;

// limit may end within an entry or exactly at one's end: only the entry of the last byte counts.
static inline sumRange addrsToSummaryRange(const gomem_layout *L, unsigned level, uintptr_t base, uintptr_t limit) {
	return (sumRange){
		offAddrToLevelIndex(L, level, (offAddr){base}), offAddrToLevelIndex(L, level, (offAddr){limit - 1}) + 1};
}
static inline sumRange blockAlignSummaryRange(const gomem_layout *L, unsigned level, sumRange r) {
	const uintptr_t block = (uintptr_t)1 << layout_levelBits(L, level);
	return (sumRange){(uintptr_t)alignDown(r.lo, block), (uintptr_t)alignUp(r.hi, block)};
}
static inline uintptr_t levelEntries(const gomem_layout *L, unsigned level) {
	return (uintptr_t)1 << (L->heapAddrBits - layout_levelShift(L, level));
}
static inline uintptr_t levelBytes(const gomem_env *env, const gomem_layout *L, unsigned level) {
	return (uintptr_t)alignUp(levelEntries(L, level) * sizeof(pallocSum), env->physPageSize);
}

// ---- memory for the tree (mpagealloc_64bit.go)

static sumRange neededSums(const gomem_layout *L, unsigned level, addrRange r) {
	return blockAlignSummaryRange(L, level, addrsToSummaryRange(L, level, r.base.a, r.limit.a));
}

// sumPages gives the memory of entries r of a level, in whole physical pages.
static addrRange sumPages(const gomem_env *env, const pageAlloc *p, unsigned level, sumRange r) {
	const uintptr_t first = (uintptr_t)p->summary[level].p;
	return (addrRange){
		{first + (uintptr_t)alignDown(r.lo * sizeof(pallocSum), env->physPageSize)},
		{first + (uintptr_t)alignUp(r.hi * sizeof(pallocSum), env->physPageSize)},
	};
}

static addrRange sumPagesOf(
	const gomem_env *env, const gomem_layout *L, const pageAlloc *p, unsigned level, addrRange r) {
	return sumPages(env, p, level, neededSums(L, level, r));
}

bool pageAlloc_mapMeta(gomem_env *env, addrRange r, sysMemStat *stat) {
	const uintptr_t n = r.limit.a - r.base.a;
	void *const v = (void *)r.base.a;
	if (!sysMap(env, v, n, stat)) {
		return false;
	}
	if (sysUsed(env, v, n, n)) {
		return true;
	}
	sysUnmap(env, v, n, stat);
	return false;
}

void pageAlloc_unmapMeta(gomem_env *env, addrRange r, sysMemStat *stat) {
	const uintptr_t n = r.limit.a - r.base.a;
	sysFault(env, (void *)r.base.a, n);
	sysMemStat_add(stat, -(int64_t)n);
}

// DEVIATION(D20): on 32-bit platforms the tree and the index of the scavenger are reserved here and mapped as the heap grows, as on others.
static bool pageAlloc_sysInit(gomem_env *env, pageAlloc *p) {
	const gomem_layout *const L = layout_get(env);
	for (unsigned l = 0; l < L->summaryLevels; l++) {
		void *const r = sysReserve(env, NULL, levelBytes(env, L, l), MEM_META);
		if (r == NULL) {
			while (l-- > 0) {
				sysUnreserve(env, p->summary[l].p, levelBytes(env, L, l));
			}
			return false;
		}
		p->summary[l] = (pallocSumSlice){r, 0, (intptr_t)levelEntries(L, l)};
	}
	return true;
}

// What pageAlloc_sysGrow mapped at each level, to be taken back if the growth fails later.
typedef struct sumsMapped {
	addrRange level[maxSummaryLevels];
} sumsMapped;

static void pageAlloc_sysShrink(gomem_env *env, pageAlloc *p, const sumsMapped *m) {
	for (unsigned l = 0; l < maxSummaryLevels; l++) {
		const uintptr_t n = m->level[l].limit.a - m->level[l].base.a;
		if (n != 0) {
			pageAlloc_unmapMeta(env, m->level[l], p->sysStat);
			p->summaryMappedReady -= n;
		}
	}
}

static bool pageAlloc_sysGrow(gomem_env *env, pageAlloc *p, addrRange heap, sumsMapped *mapped) {
	const gomem_layout *const L = layout_get(env);
	const uint64_t chunkBytes = layout_chunkBytes(L);
	if ((heap.base.a & (chunkBytes - 1)) != 0 || (heap.limit.a & (chunkBytes - 1)) != 0) {
		gomem_throw(env, "sysGrow bounds not aligned to pallocChunkBytes");
	}
	*mapped = (sumsMapped){0};
	// A block of summaries may already be mapped for the range before or after the new one, and for no other.
	const intptr_t succ = addrRanges_findSucc(env, &p->inUse, heap.base.a);
	for (unsigned l = 0; l < L->summaryLevels; l++) {
		const sumRange sums = neededSums(L, l, heap);
		if ((intptr_t)sums.hi > p->summary[l].len) {
			p->summary[l].len = (intptr_t)sums.hi;
		}
		addrRange need = sumPages(env, p, l, sums);
		if (succ > 0) {
			need = addrRange_subtract(env, need, sumPagesOf(env, L, p, l, p->inUse.ranges[succ - 1]));
		}
		if (succ < p->inUse.len) {
			need = addrRange_subtract(env, need, sumPagesOf(env, L, p, l, p->inUse.ranges[succ]));
		}
		const uintptr_t n = addrRange_size(L, need);
		if (n == 0) {
			continue;
		}
		if (!pageAlloc_mapMeta(env, need, p->sysStat)) {
			pageAlloc_sysShrink(env, p, mapped);
			return false;
		}
		mapped->level[l] = need;
		p->summaryMappedReady += n;
	}
	return true;
}

// nextMappedSums walks over the memory mapped for a level: the part for inUse's i-th range that is not also the part
// for those before.
static addrRange nextMappedSums(gomem_env *env, pageAlloc *p, unsigned level, intptr_t i) {
	const gomem_layout *const L = layout_get(env);
	addrRange r = sumPagesOf(env, L, p, level, p->inUse.ranges[i]);
	if (i > 0) {
		const uintptr_t before = sumPagesOf(env, L, p, level, p->inUse.ranges[i - 1]).limit.a;
		r.base.a = before > r.base.a ? before : r.base.a;
	}
	return r;
}

// ---- init and grow

bool pageAlloc_init(gomem_env *env, pageAlloc *p, mutex *mheapLock, sysMemStat *sysStat, bool test) {
	const gomem_layout *const L = layout_get(env);
	if (layout_levelLogPages(L, 0) > layout_logMaxPackedValue(L)) {
		gomem_throw(env, "root level max pages doesn't fit in summary");
	}
	p->sysStat = sysStat;
	if (!addrRanges_init(env, &p->inUse, sysStat) || !pageAlloc_sysInit(env, p)) {
		return false;
	}
	p->searchAddr = maxOffAddr(L);
	p->mheapLock = mheapLock;
	p->test = test;
	const uintptr_t n = scavengeIndex_init(env, &p->scav.index, test, sysStat);
	if (n == ~(uintptr_t)0) {
		for (unsigned l = 0; l < L->summaryLevels; l++) {
			sysUnreserve(env, p->summary[l].p, levelBytes(env, L, l));
		}
		return false;
	}
	p->summaryMappedReady += n;
	return true;
}

void pageAlloc_destroy(gomem_env *env, pageAlloc *p) {
	const gomem_layout *const L = layout_get(env);
	if (p->scav.index.chunks == NULL) {
		return; // init failed, and gave back what it had
	}
	for (unsigned l = 0; l < L->summaryLevels; l++) {
		for (intptr_t i = 0; i < p->inUse.len; i++) {
			const addrRange r = nextMappedSums(env, p, l, i);
			if (r.limit.a > r.base.a) {
				pageAlloc_unmapMeta(env, r, p->sysStat);
			}
		}
		sysUnreserve(env, p->summary[l].p, levelBytes(env, L, l));
	}
	for (unsigned i = 0; i < pallocChunksL1Len; i++) {
		if (p->chunks[i] != NULL) {
			sysFree(env, p->chunks[i], chunksL2Size(L), p->sysStat);
		}
	}
	scavengeIndex_destroy(env, &p->scav.index, p->sysStat);
	memset(p, 0, sizeof *p);
}

pallocData *pageAlloc_chunkOf(const gomem_layout *L, pageAlloc *p, chunkIdx ci) {
	return chunkOf(layout_fold(L), p, ci);
}

pallocData *pageAlloc_tryChunkOf(const gomem_layout *L, pageAlloc *p, chunkIdx ci) {
	L = layout_fold(L);
	return p->chunks[chunkIdx_l1(L, ci)] == NULL ? NULL : chunkOf(L, p, ci);
}

// pageAlloc_growChunks makes the bitmaps of chunks [start, end) reachable. Those that it could make before memory ran
// out stay.
static bool pageAlloc_growChunks(gomem_env *env, pageAlloc *p, chunkIdx start, chunkIdx end) {
	const gomem_layout *const L = layout_get(env);
	for (uintptr_t i = chunkIdx_l1(L, start); i <= chunkIdx_l1(L, end - 1); i++) {
		if (p->chunks[i] != NULL) {
			continue;
		}
		void *const r = sysAlloc(env, chunksL2Size(L), p->sysStat);
		if (r == NULL) {
			return false;
		}
		if (!p->test) {
			if (p->chunkHugePages) {
				sysHugePage(env, r, chunksL2Size(L));
			} else {
				sysNoHugePage(env, r, chunksL2Size(L));
			}
		}
		p->chunks[i] = r;
	}
	return true;
}

// pageAlloc_growMeta obtains all memory that a growth needs, so that nothing can fail after it, and adds the range to
// inUse.
// DEVIATION(D11): Go throws where it gets none; here what was obtained is given back, or kept where a later
// growth finds it. Bitmaps are therefore made before inUse is changed.
static bool pageAlloc_growMeta(gomem_env *env, pageAlloc *p, addrRange r) {
	const gomem_layout *const L = layout_get(env);
	sumsMapped mapped;
	if (!pageAlloc_sysGrow(env, p, r, &mapped)) {
		return false;
	}
	const uintptr_t n = scavengeIndex_grow(env, &p->scav.index, r.base.a, r.limit.a, p->sysStat);
	if (n == ~(uintptr_t)0) {
		pageAlloc_sysShrink(env, p, &mapped);
		return false;
	}
	p->summaryMappedReady += n;
	if (!pageAlloc_growChunks(env, p, chunkIndex(L, r.base.a), chunkIndex(L, r.limit.a)) ||
		!addrRanges_add(env, &p->inUse, r)) {
		pageAlloc_sysShrink(env, p, &mapped);
		return false;
	}
	return true;
}

bool pageAlloc_grow(gomem_env *env, pageAlloc *p, uintptr_t base, uintptr_t size) {
	const gomem_layout *const L = layout_get(env);
	assertLockHeld(env, p->mheapLock);
	const uintptr_t limit = (uintptr_t)alignUp(base + size, layout_chunkBytes(L));
	base = (uintptr_t)alignDown(base, layout_chunkBytes(L));
	if (!pageAlloc_growMeta(env, p, makeAddrRange(env, base, limit))) {
		return false;
	}
	const chunkIdx start = chunkIndex(L, base), end = chunkIndex(L, limit);
	if (p->start == 0 || start < p->start) {
		p->start = start;
	}
	if (end > p->end) {
		p->end = end;
	}
	if (offAddr_lessThan(L, (offAddr){base}, p->searchAddr)) {
		p->searchAddr = (offAddr){base};
	}
	for (chunkIdx c = start; c < end; c++) {
		pageBits_setAll(&chunkOf(L, p, c)->scavenged); // new memory is not backed yet
	}
	pageAlloc_update(env, p, base, size >> L->pageShift, true, false);
	return true;
}

// The heap lock must not be held.
// DEVIATION(D12): Go clones inUse under the lock and then walks the original without it; here the clone is
// walked. If there is no memory for the clone, nothing changes: huge pages are only advice.
void pageAlloc_enableChunkHugePages(gomem_env *env, pageAlloc *p) {
	const gomem_layout *const L = layout_get(env);
	addrRanges inUse = {.sysStat = p->sysStat};
	lock(env, p->mheapLock);
	if (p->chunkHugePages || !addrRanges_cloneInto(env, &p->inUse, &inUse)) {
		unlock(env, p->mheapLock);
		return;
	}
	p->chunkHugePages = true;
	unlock(env, p->mheapLock);
	for (intptr_t r = 0; r < inUse.len; r++) {
		const uintptr_t last = chunkIdx_l1(L, chunkIndex(L, inUse.ranges[r].limit.a - 1));
		for (uintptr_t i = chunkIdx_l1(L, chunkIndex(L, inUse.ranges[r].base.a)); i < last; i++) {
			sysHugePage(env, p->chunks[i], chunksL2Size(L));
		}
	}
}

// ---- update, allocate, free

// pageAlloc_updateLeaves recomputes the sums of chunks [sc, ec] and tells whether one may have changed.
static inline bool pageAlloc_updateLeaves(
	const gomem_layout *L, pageAlloc *p, chunkIdx sc, chunkIdx ec, bool contig, bool alloc) {
	pallocSum *const sums = leafSums(L, p);
	if (sc == ec) {
		const pallocSum old = sums[sc];
		sums[sc] = pallocBits_summarize(L, &chunkOf(L, p, sc)->pallocBits);
		return sums[sc] != old;
	}
	if (!contig) {
		for (chunkIdx c = sc; c <= ec; c++) {
			sums[c] = pallocBits_summarize(L, &chunkOf(L, p, c)->pallocBits);
		}
		return true;
	}
	const pallocSum whole = alloc ? 0 : wholeChunk(L);
	sums[sc] = pallocBits_summarize(L, &chunkOf(L, p, sc)->pallocBits);
	for (chunkIdx c = sc + 1; c < ec; c++) {
		sums[c] = whole;
	}
	sums[ec] = pallocBits_summarize(L, &chunkOf(L, p, ec)->pallocBits);
	return true;
}

void pageAlloc_update(gomem_env *env, pageAlloc *p, uintptr_t base, uintptr_t npages, bool contig, bool alloc) {
	const gomem_layout *const L = layout_get(env);
	assertLockHeld(env, p->mheapLock);
	const uintptr_t limit = base + (npages << L->pageShift);
	bool changed = pageAlloc_updateLeaves(L, p, chunkIndex(L, base), chunkIndex(L, limit - 1), contig, alloc);
	for (unsigned l = L->summaryLevels - 1u; l > 0 && changed; l--) {
		const pallocSum *const below = p->summary[l].p;
		pallocSum *const sums = p->summary[l - 1].p;
		const unsigned logBlock = layout_levelBits(L, l);
		const sumRange r = addrsToSummaryRange(L, l - 1, base, limit);
		changed = false;
		for (uintptr_t i = r.lo; i < r.hi; i++) {
			const pallocSum sum = mergeSums(L, &below[i << logBlock], 1u << logBlock, layout_levelLogPages(L, l));
			changed |= sums[i] != sum;
			sums[i] = sum;
		}
	}
}

// A run of pages within one chunk.
typedef struct chunkRun {
	chunkIdx ci;
	unsigned page, npages;
} chunkRun;

// takeChunkRun cuts what lies in the first chunk off the front of [*base, *base + *npages pages).
static inline chunkRun takeChunkRun(const gomem_layout *L, uintptr_t *base, uintptr_t *npages) {
	const unsigned page = chunkPageIndex(L, *base);
	const uintptr_t room = (uintptr_t)layout_chunkPages(L) - page;
	const chunkRun r = {chunkIndex(L, *base), page, (unsigned)(*npages < room ? *npages : room)};
	*base += (uintptr_t)r.npages << L->pageShift;
	*npages -= r.npages;
	return r;
}

uintptr_t pageAlloc_allocRange(gomem_env *env, pageAlloc *p, uintptr_t base, uintptr_t npages) {
	const gomem_layout *const L = layout_get(env);
	assertLockHeld(env, p->mheapLock);
	uintptr_t scav = 0;
	for (uintptr_t at = base, left = npages; left > 0;) {
		const chunkRun r = takeChunkRun(L, &at, &left);
		pallocData *const chunk = chunkOf(L, p, r.ci);
		scav += pageBits_popcntRange(&chunk->scavenged, r.page, r.npages);
		pallocData_allocRange(chunk, r.page, r.npages);
		scavengeIndex_alloc(env, &p->scav.index, r.ci, r.npages);
	}
	pageAlloc_update(env, p, base, npages, true, true);
	return scav << L->pageShift;
}

// pageAlloc_findMappedAddr gives the first address of heap memory at or after addr. An arena that is mapped answers
// for all of its addresses.
static offAddr pageAlloc_findMappedAddr(gomem_env *env, pageAlloc *p, offAddr addr) {
	if (!p->test && env->arenaMapped != NULL && env->arenaMapped(env->arenaCtx, addr.a)) {
		return addr;
	}
	uintptr_t found;
	if (addrRanges_findAddrGreaterEqual(env, &p->inUse, addr.a, &found)) {
		return (offAddr){found};
	}
	return maxOffAddr(layout_get(env));
}

// Where the first free page of the heap must lie, both ends included. It narrows while a search goes down the tree.
typedef struct freeWindow {
	offAddr base, bound;
} freeWindow;

static inline void foundFree(gomem_env *env, const gomem_layout *L, freeWindow *w, offAddr addr, uintptr_t size) {
	const offAddr last = offAddr_add(addr, size - 1);
	if (offAddr_lessEqual(L, w->base, addr) && offAddr_lessEqual(L, last, w->bound)) {
		*w = (freeWindow){addr, last};
	} else if (!offAddr_lessThan(L, last, w->base) && !offAddr_lessThan(L, w->bound, addr)) {
		gomem_throw(env, "range partially overlaps");
	}
}

typedef enum levelResult { LEVEL_NONE, LEVEL_DESCEND, LEVEL_RUN } levelResult;

// pageAlloc_findInLevel searches the block that begins at entry i of a level. LEVEL_DESCEND: entry *at of the level
// has room within. LEVEL_RUN: a run across entries begins *at pages after the first page of entry i.
static inline levelResult pageAlloc_findInLevel(gomem_env *env, const gomem_layout *L, pageAlloc *p, unsigned level,
	uintptr_t i, uintptr_t npages, freeWindow *w, uintptr_t *at) {
	const uintptr_t block = (uintptr_t)1 << layout_levelBits(L, level);
	const unsigned logPages = layout_levelLogPages(L, level);
	const uintptr_t entryPages = (uintptr_t)1 << logPages;
	const pallocSum *const sums = &p->summary[level].p[i];
	const uintptr_t searchIdx = offAddrToLevelIndex(L, level, p->searchAddr);
	uintptr_t base = 0, size = 0; // the run of free pages that ends where entry j begins
	for (uintptr_t j = (searchIdx & ~(block - 1)) == i ? searchIdx & (block - 1) : 0; j < block; j++) {
		const pallocSum sum = sums[j];
		lab_look(env, level, i + j, sum);
		if (sum == 0) {
			size = 0;
			continue;
		}
		foundFree(env, L, w, levelIndexToOffAddr(L, level, i + j), entryPages << L->pageShift);
		const sumParts s = pallocSum_unpack(L, sum);
		if (size + s.start >= npages) {
			*at = size == 0 ? j << logPages : base;
			return LEVEL_RUN;
		}
		if (s.max >= npages) {
			*at = i + j;
			return LEVEL_DESCEND;
		}
		if (size == 0 || s.start < entryPages) {
			size = s.end;
			base = ((j + 1) << logPages) - size;
			continue;
		}
		size += entryPages;
	}
	return LEVEL_NONE;
}

// DEVIATION(D13): where the tree contradicts itself Go prints the block before it throws; a library has the
// message only.
uintptr_t pageAlloc_find(gomem_env *env, pageAlloc *p, uintptr_t npages, offAddr *searchAddr) {
	const gomem_layout *const L = layout_get(env);
	assertLockHeld(env, p->mheapLock);
	freeWindow w = {minOffAddr(L), maxOffAddr(L)};
	uintptr_t i = 0;
	for (unsigned l = 0; l < L->summaryLevels; l++) {
		i <<= layout_levelBits(L, l);
		uintptr_t at = 0;
		const levelResult r = pageAlloc_findInLevel(env, L, p, l, i, npages, &w, &at);
		if (r == LEVEL_RUN) {
			*searchAddr = pageAlloc_findMappedAddr(env, p, w.base);
			return offAddr_add(levelIndexToOffAddr(L, l, i), at << L->pageShift).a;
		}
		if (r == LEVEL_NONE && l == 0) {
			*searchAddr = maxOffAddr(L);
			return 0;
		}
		if (r == LEVEL_NONE) {
			gomem_throw(env, "bad summary data");
		}
		i = at;
	}
	const chunkIdx ci = i;
	unsigned searchIdx;
	const unsigned j = pallocBits_find(&chunkOf(L, p, ci)->pallocBits, npages, 0, &searchIdx);
	if (j == ~0u) {
		gomem_throw(env, "bad summary data");
	}
	const uintptr_t free = chunkBase(L, ci) + ((uintptr_t)searchIdx << L->pageShift);
	foundFree(env, L, &w, (offAddr){free}, chunkBase(L, ci + 1) - free);
	*searchAddr = pageAlloc_findMappedAddr(env, p, w.base);
	return chunkBase(L, ci) + ((uintptr_t)j << L->pageShift);
}

// pageAlloc_findAtSearchAddr looks for npages in the chunk of searchAddr only. 0: not there, or not sure.
static inline uintptr_t pageAlloc_findAtSearchAddr(
	gomem_env *env, const gomem_layout *L, pageAlloc *p, uintptr_t npages, offAddr *searchAddr) {
	const unsigned page = chunkPageIndex(L, p->searchAddr.a);
	const chunkIdx ci = chunkIndex(L, p->searchAddr.a);
	lab_look(env, L->summaryLevels - 1u, ci, leafSums(L, p)[ci]);
	if (layout_chunkPages(L) - page < npages || pallocSum_max(L, leafSums(L, p)[ci]) < npages) {
		return 0;
	}
	unsigned searchIdx;
	const unsigned j = pallocBits_find(&chunkOf(L, p, ci)->pallocBits, npages, page, &searchIdx);
	if (j == ~0u) {
		gomem_throw(env, "bad summary data");
	}
	*searchAddr = (offAddr){chunkBase(L, ci) + ((uintptr_t)searchIdx << L->pageShift)};
	return chunkBase(L, ci) + ((uintptr_t)j << L->pageShift);
}

uintptr_t pageAlloc_alloc(gomem_env *env, pageAlloc *p, uintptr_t npages, uintptr_t *scav) {
	const gomem_layout *const L = layout_get(env);
	assertLockHeld(env, p->mheapLock);
	*scav = 0;
	if (chunkIndex(L, p->searchAddr.a) >= p->end) {
		return 0; // no chunk lies there: the heap is full
	}
	offAddr searchAddr;
	uintptr_t addr = pageAlloc_findAtSearchAddr(env, L, p, npages, &searchAddr);
	if (addr == 0) {
		addr = pageAlloc_find(env, p, npages, &searchAddr);
	}
	if (addr == 0) {
		if (npages == 1) {
			p->searchAddr = maxOffAddr(L);
		}
		return 0;
	}
	*scav = pageAlloc_allocRange(env, p, addr, npages);
	if (offAddr_lessThan(L, p->searchAddr, searchAddr)) {
		p->searchAddr = searchAddr;
	}
	return addr;
}

void pageAlloc_free(gomem_env *env, pageAlloc *p, uintptr_t base, uintptr_t npages) {
	const gomem_layout *const L = layout_get(env);
	assertLockHeld(env, p->mheapLock);
	if (offAddr_lessThan(L, (offAddr){base}, p->searchAddr)) {
		p->searchAddr = (offAddr){base};
	}
	for (uintptr_t at = base, left = npages; left > 0;) {
		const chunkRun r = takeChunkRun(L, &at, &left);
		pallocBits_free(&chunkOf(L, p, r.ci)->pallocBits, r.page, r.npages);
		scavengeIndex_free(env, &p->scav.index, r.ci, r.page, r.npages);
	}
	pageAlloc_update(env, p, base, npages, true, false);
}

void pageAlloc_markRandomPaddingPages(gomem_env *env, pageAlloc *p, uintptr_t base, uintptr_t npages) {
	const gomem_layout *const L = layout_get(env);
	assertLockHeld(env, p->mheapLock);
	for (uintptr_t at = base, left = npages; left > 0;) {
		const chunkRun r = takeChunkRun(L, &at, &left);
		pallocData *const chunk = chunkOf(L, p, r.ci);
		pallocBits_allocRange(&chunk->pallocBits, r.page, r.npages);
		scavengeIndex_alloc(env, &p->scav.index, r.ci, r.npages);
		pageBits_setRange(&chunk->scavenged, r.page, r.npages);
	}
	pageAlloc_update(env, p, base, npages, true, true);
}

// ---- check

static void check(gomem_env *env, bool ok, const char *msg) {
	if (!ok) {
		gomem_throw(env, msg);
	}
}

static void checkSearchAddr(gomem_env *env, pageAlloc *p) {
	const gomem_layout *const L = layout_get(env);
	if (offAddr_equal(p->searchAddr, maxOffAddr(L))) {
		return;
	}
	const bool inArena = !p->test && env->arenaMapped != NULL && env->arenaMapped(env->arenaCtx, p->searchAddr.a);
	check(env, inArena || addrRanges_contains(env, &p->inUse, p->searchAddr.a),
		"pageAlloc: searchAddr outside of the heap");
}

// hasFreeBelow tells whether a page of chunk ci below searchAddr is free.
static bool hasFreeBelow(const gomem_layout *L, pageAlloc *p, chunkIdx ci) {
	const chunkIdx sc = chunkIndex(L, p->searchAddr.a);
	const unsigned below = ci < sc ? layout_chunkPages(L) : ci == sc ? chunkPageIndex(L, p->searchAddr.a) : 0;
	return below > 0 && pageBits_popcntRange(&chunkOf(L, p, ci)->pallocBits.b, 0, below) != below;
}

// checkChunk also counts the runs of pages both in use and scavenged; *last is whether the page before the chunk was
// such a page.
static void checkChunk(gomem_env *env, pageAlloc *p, chunkIdx ci, unsigned *paddingRuns, bool *last) {
	const gomem_layout *const L = layout_get(env);
	const pallocData *const chunk = chunkOf(L, p, ci);
	check(env, leafSums(L, p)[ci] == pallocBits_summarize(L, &chunk->pallocBits),
		"pageAlloc: leaf summary differs from its bitmap");
	check(env, !hasFreeBelow(L, p, ci), "pageAlloc: free page below searchAddr");
	const scavChunkData sc = unpackScavChunkData(atomic_load_explicit(&p->scav.index.chunks[ci], memory_order_acquire));
	check(env, sc.inUse == pageBits_popcntRange(&chunk->pallocBits.b, 0, layout_chunkPages(L)),
		"pageAlloc: scavenge index counts other pages in use than the bitmap");
	for (unsigned i = 0; i < layout_chunkPages(L) / 64; i++) {
		const uint64_t padding = chunk->pallocBits.b.x[i] & chunk->scavenged.x[i];
		*paddingRuns +=
			popcount64(padding & ~(padding << 1 | *last)); // a run begins where no page before belongs to it
		*last = padding >> 63 != 0;
	}
}

static void checkChunks(gomem_env *env, pageAlloc *p) {
	const gomem_layout *const L = layout_get(env);
	unsigned paddingRuns = 0;
	for (intptr_t r = 0; r < p->inUse.len; r++) {
		bool last = false;
		const chunkIdx end = chunkIndex(L, p->inUse.ranges[r].limit.a);
		for (chunkIdx ci = chunkIndex(L, p->inUse.ranges[r].base.a); ci < end; ci++) {
			checkChunk(env, p, ci, &paddingRuns, &last);
		}
	}
	check(env, paddingRuns <= 1, "pageAlloc: page in use is scavenged");
}

static void checkLevel(gomem_env *env, pageAlloc *p, unsigned level) {
	const gomem_layout *const L = layout_get(env);
	const unsigned logBlock = layout_levelBits(L, level + 1);
	for (intptr_t r = 0; r < p->inUse.len; r++) {
		const addrRange a = p->inUse.ranges[r];
		const sumRange s = addrsToSummaryRange(L, level, a.base.a, a.limit.a);
		check(env, (intptr_t)s.hi <= p->summary[level].len, "pageAlloc: summary level shorter than the heap");
		for (uintptr_t i = s.lo; i < s.hi; i++) {
			const pallocSum *const children = &p->summary[level + 1].p[i << logBlock];
			const pallocSum sum = mergeSums(L, children, 1u << logBlock, layout_levelLogPages(L, level + 1));
			check(env, p->summary[level].p[i] == sum, "pageAlloc: inner summary differs from its children");
		}
	}
}

static void checkMapped(gomem_env *env, pageAlloc *p) {
	const gomem_layout *const L = layout_get(env);
	uintptr_t mapped = scavengeIndex_mapped(&p->scav.index);
	for (unsigned l = 0; l < L->summaryLevels; l++) {
		for (intptr_t i = 0; i < p->inUse.len; i++) {
			const addrRange r = nextMappedSums(env, p, l, i);
			mapped += r.limit.a > r.base.a ? r.limit.a - r.base.a : 0;
		}
	}
	check(env, mapped == p->summaryMappedReady, "pageAlloc: summaryMappedReady differs from what is mapped");
}

void pageAlloc_check(gomem_env *env, pageAlloc *p) {
	const gomem_layout *const L = layout_get(env);
	addrRanges_check(env, &p->inUse);
	checkMapped(env, p);
	checkSearchAddr(env, p);
	if (p->inUse.len == 0) {
		check(env, p->start == 0 && p->end == 0, "pageAlloc: chunks known without a heap");
		return;
	}
	const addrRange *const r = p->inUse.ranges;
	check(env, p->start == chunkIndex(L, r[0].base.a), "pageAlloc: start differs from the first chunk");
	check(env, p->end == chunkIndex(L, r[p->inUse.len - 1].limit.a), "pageAlloc: end differs from the last chunk");
	scavengeIndex_check(env, &p->scav.index, p->start, p->end);
	checkChunks(env, p);
	for (unsigned l = L->summaryLevels - 1u; l-- > 0;) {
		checkLevel(env, p, l);
	}
}
