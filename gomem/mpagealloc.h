// mpagealloc.h (layer 3): the page allocator.
//
// Ports mpallocbits.go, mpagealloc.go, mpagealloc_64bit.go, mpagecache.go and the page-level half of mgcscavenge.go
// (structures and prototypes of those four; each has its own .c file).
//
// The heap's address space is cut into chunks of 512 pages, each with a bitmap (1 = in use) and a bitmap of scavenged
// pages. Above the chunks stands a radix tree of summaries: (start, max, end) = free pages at the start, the longest
// free run, free pages at the end.
// Invariants, tested by pageAlloc_check:
//   leaf summary of a chunk == pallocBits_summarize(its bits); inner summary == mergeSummaries(its children)
//   no free page lies below searchAddr, which is maxOffAddr or lies in the heap
//   scav.index.chunks[c].inUse == pages in use in c
//   a scavenged bit is only set on a free page, or on one of the padding pages, which are one run
//   [start, end) == chunks of inUse from its first to its last; summaryMappedReady == bytes mapped for summaries and index
// The third does not hold while a scavengeOne is under way.
// Everything but scavengeIndex_find and statistics is called under the heap lock.
#ifndef GOMEM_MPAGEALLOC_H
#define GOMEM_MPAGEALLOC_H

#include "gomem/mranges.h"

typedef uintptr_t chunkIdx;

typedef struct pageBits {
	uint64_t x[pallocChunkPages / 64];
} pageBits;
typedef struct pallocBits {
	pageBits b; // 1: in use
} pallocBits;
typedef struct pallocData {
	pallocBits pallocBits;
	pageBits scavenged;
} pallocData;

typedef uint64_t pallocSum;

// layout_fold gives L, as a constant where the layout is one.
static inline const gomem_layout *layout_fold(const gomem_layout *L) {
#ifdef GOMEM_RUNTIME_LAYOUT
	return L;
#else
	(void)L;
	return &layout_host;
#endif
}

// ---- mpallocbits.c. Ranges [i, i+n) are not empty and end within the 512 pages.
static inline unsigned pageBits_get(const pageBits *b, unsigned i) { return (unsigned)(b->x[i / 64] >> (i % 64)) & 1; }
static inline uint64_t pageBits_block64(const pageBits *b, unsigned i) { return b->x[i / 64]; }
static inline void pageBits_set(pageBits *b, unsigned i) { b->x[i / 64] |= (uint64_t)1 << (i % 64); }
static inline void pageBits_setBlock64(pageBits *b, unsigned i, uint64_t v) { b->x[i / 64] |= v; }
static inline void pageBits_clear(pageBits *b, unsigned i) { b->x[i / 64] &= ~((uint64_t)1 << (i % 64)); }
static inline void pageBits_clearBlock64(pageBits *b, unsigned i, uint64_t v) { b->x[i / 64] &= ~v; }
void pageBits_setRange(pageBits *b, unsigned i, unsigned n);
void pageBits_setAll(pageBits *b);
void pageBits_clearRange(pageBits *b, unsigned i, unsigned n);
void pageBits_clearAll(pageBits *b);
unsigned pageBits_popcntRange(const pageBits *b, unsigned i, unsigned n);
// It begins a line of the cache: where else, by chance, an empty chunk takes 3.5 to 5.7 ns.
pallocSum pallocBits_summarize(const gomem_layout *L, const pallocBits *b) __attribute__((aligned(cacheLineSize)));
// find: the first run of npages free pages at or after the 64-page block of searchIdx; ~0u if none. *newSearchIdx:
// the first free page seen, where a next search may start; ~0u if none. All pages before searchIdx in its block must
// be in use.
unsigned pallocBits_find(const pallocBits *b, uintptr_t npages, unsigned searchIdx, unsigned *newSearchIdx);
unsigned pallocBits_find1(const pallocBits *b, unsigned searchIdx);
unsigned pallocBits_findSmallN(const pallocBits *b, uintptr_t npages, unsigned searchIdx, unsigned *newSearchIdx);
unsigned pallocBits_findLargeN(const pallocBits *b, uintptr_t npages, unsigned searchIdx, unsigned *newSearchIdx);
void pallocBits_allocRange(pallocBits *b, unsigned i, unsigned n);
void pallocBits_allocAll(pallocBits *b);
static inline void pallocBits_free1(pallocBits *b, unsigned i) { pageBits_clear(&b->b, i); }
void pallocBits_free(pallocBits *b, unsigned i, unsigned n);
void pallocBits_freeAll(pallocBits *b);
static inline uint64_t pallocBits_pages64(const pallocBits *b, unsigned i) { return pageBits_block64(&b->b, i); }
static inline void pallocBits_allocPages64(pallocBits *b, unsigned i, uint64_t alloc) {
	pageBits_setBlock64(&b->b, i, alloc);
}
// findBitRange64: where the first n consecutive ones of c begin; 64 if there are none. 1 <= n <= 64.
unsigned findBitRange64(uint64_t c, unsigned n);
void pallocData_allocRange(pallocData *m, unsigned i, unsigned n); // also clears scavenged
void pallocData_allocAll(pallocData *m);

// Bits behind the pages of a smaller chunk are never reached: a search begins where the sums have a run, which lies before them.

// ---- sums: three counts of logMaxPackedValue bits each. One whose max, thus each, is 1 << logMaxPackedValue is bit 63.
static inline pallocSum packPallocSum(const gomem_layout *L, unsigned start, unsigned max, unsigned end) {
	const unsigned bits = layout_logMaxPackedValue(layout_fold(L));
	const uint64_t full = (uint64_t)1 << bits;
	if (max == full) {
		return (uint64_t)1 << 63;
	}
	return (start & (full - 1)) | (max & (full - 1)) << bits | (end & (full - 1)) << 2 * bits;
}
// The sum of a chunk without a page in use.
static inline pallocSum wholeChunk(const gomem_layout *L) {
	const unsigned n = layout_chunkPages(layout_fold(L));
	return packPallocSum(L, n, n, n);
}
static inline unsigned pallocSum_field(const gomem_layout *L, pallocSum s, unsigned i) {
	const unsigned bits = layout_logMaxPackedValue(layout_fold(L));
	if (s >> 63 != 0) {
		return 1u << bits;
	}
	return (unsigned)(s >> i * bits) & ((1u << bits) - 1);
}
static inline unsigned pallocSum_start(const gomem_layout *L, pallocSum s) { return pallocSum_field(L, s, 0); }
static inline unsigned pallocSum_max(const gomem_layout *L, pallocSum s) { return pallocSum_field(L, s, 1); }
static inline unsigned pallocSum_end(const gomem_layout *L, pallocSum s) { return pallocSum_field(L, s, 2); }
// mergeSummaries: the sum of n sums of neighbours, each of at most 1 << logMaxPagesPerSum pages.
pallocSum mergeSummaries(const gomem_layout *L, const pallocSum *sums, unsigned n, unsigned logMaxPagesPerSum);

static inline chunkIdx chunkIndex(const gomem_layout *L, uintptr_t p) {
	return (p - (uintptr_t)L->arenaBaseOffset) >> layout_logChunkBytes(L);
}
static inline uintptr_t chunkBase(const gomem_layout *L, chunkIdx ci) {
	return ((uintptr_t)ci << layout_logChunkBytes(L)) + (uintptr_t)L->arenaBaseOffset;
}
static inline uintptr_t chunkIdx_l1(const gomem_layout *L, chunkIdx ci) {
	return L->pallocChunksL1Bits == 0 ? 0 : (uintptr_t)ci >> L->pallocChunksL2Bits;
}
static inline uintptr_t chunkIdx_l2(const gomem_layout *L, chunkIdx ci) {
	return L->pallocChunksL1Bits == 0 ? (uintptr_t)ci : (uintptr_t)ci & (((uintptr_t)1 << L->pallocChunksL2Bits) - 1);
}
static inline uintptr_t offAddrToLevelIndex(const gomem_layout *L, unsigned level, offAddr addr) {
	return (addr.a - (uintptr_t)L->arenaBaseOffset) >> layout_levelShift(L, level);
}
static inline offAddr levelIndexToOffAddr(const gomem_layout *L, unsigned level, uintptr_t idx) {
	return (offAddr){(idx << layout_levelShift(L, level)) + (uintptr_t)L->arenaBaseOffset};
}
static inline unsigned chunkPageIndex(const gomem_layout *L, uintptr_t p) {
	return (unsigned)((p & (layout_chunkBytes(L) - 1)) >> L->pageShift);
}

// ---- the scavenge index (mgcscavenge.c)
typedef struct scavChunkData {
	uint16_t inUse;
	uint16_t lastInUse;
	uint32_t gen;
	uint8_t flags; // scavChunkHasFree
} scavChunkData;
enum { scavChunkHasFree = 1 };
scavChunkData unpackScavChunkData(uint64_t sc);
uint64_t scavChunkData_pack(scavChunkData sc);
bool scavChunkData_shouldScavenge(const gomem_layout *L, scavChunkData sc, uint32_t currGen, bool force);

// Go's fields and order: a slice of packed chunk data, mapped range, lowest heap chunk, two search addresses.
typedef struct scavengeIndex {
	_Atomic(uint64_t) *chunks;
	intptr_t chunksLen, chunksCap;
	_Atomic(uintptr_t) min, max;
	_Atomic(uintptr_t) minHeapIdx;
	atomicOffAddr searchAddrBg, searchAddrForce;
	offAddr freeHWM;
	_Atomic(uint32_t) gen;
	bool test;
} scavengeIndex;

typedef struct pallocSumSlice {
	pallocSum *p;
	intptr_t len, cap;
} pallocSumSlice;

enum { pallocChunksL1Len = 1 << 13 };

typedef struct pageAlloc {
	pallocSumSlice summary[maxSummaryLevels];
	pallocData *chunks[pallocChunksL1Len]; // second level tables of 1 << pallocChunksL2Bits
	offAddr searchAddr;
	chunkIdx start, end;
	addrRanges inUse;
	struct {
		scavengeIndex index;
		_Atomic(uintptr_t) releasedBg;
		_Atomic(uintptr_t) releasedEager;
	} scav;
	mutex *mheapLock;
	sysMemStat *sysStat;
	uintptr_t summaryMappedReady;
	bool chunkHugePages;
	bool test; // a page allocator without heap memory behind it
} pageAlloc;

// ---- mpagealloc.c
// pageAlloc_init: *p is zero. false: out of memory, *p may be used only for another init after it was zeroed.
bool pageAlloc_init(gomem_env *env, pageAlloc *p, mutex *mheapLock, sysMemStat *sysStat, bool test);
void pageAlloc_destroy(gomem_env *env, pageAlloc *p);
// pageAlloc_grow adds [base, base+size); false: out of memory for metadata, p is as before but for metadata that
// stays mapped.
bool pageAlloc_grow(gomem_env *env, pageAlloc *p, uintptr_t base, uintptr_t size);
void pageAlloc_enableChunkHugePages(gomem_env *env, pageAlloc *p);
void pageAlloc_update(gomem_env *env, pageAlloc *p, uintptr_t base, uintptr_t npages, bool contig, bool alloc);
// pageAlloc_allocRange marks pages in use; returns how many bytes of them were scavenged.
uintptr_t pageAlloc_allocRange(gomem_env *env, pageAlloc *p, uintptr_t base, uintptr_t npages);
// pageAlloc_find: the first free run of npages in address order, 0 if none; *searchAddr: no free page lies below it.
uintptr_t pageAlloc_find(gomem_env *env, pageAlloc *p, uintptr_t npages, offAddr *searchAddr);
// pageAlloc_alloc takes npages; *scav: bytes of them that were scavenged. 0 if there is no room.
uintptr_t pageAlloc_alloc(gomem_env *env, pageAlloc *p, uintptr_t npages, uintptr_t *scav);
void pageAlloc_free(gomem_env *env, pageAlloc *p, uintptr_t base, uintptr_t npages);
void pageAlloc_markRandomPaddingPages(gomem_env *env, pageAlloc *p, uintptr_t base, uintptr_t npages);
// Metadata memory: pageAlloc_mapMeta takes a range from Reserved to Ready, counted in stat; false: out of memory, the
// range is Reserved again. pageAlloc_unmapMeta takes it back.
bool pageAlloc_mapMeta(gomem_env *env, addrRange r, sysMemStat *stat);
void pageAlloc_unmapMeta(gomem_env *env, addrRange r, sysMemStat *stat);
pallocData *pageAlloc_chunkOf(const gomem_layout *L, pageAlloc *p, chunkIdx ci);
pallocData *pageAlloc_tryChunkOf(const gomem_layout *L, pageAlloc *p, chunkIdx ci);
// pageAlloc_check throws if an invariant at the head of this file does not hold. Slow.
void pageAlloc_check(gomem_env *env, pageAlloc *p);

// ---- mpagecache.c: 64 pages that a P owns and takes without the heap lock. Go's layout.
typedef struct pageCache {
	uintptr_t base;
	uint64_t cache; // 1: free
	uint64_t scav;  // 1: scavenged
} pageCache;
static inline bool pageCache_empty(const pageCache *c) { return c->cache == 0; }
uintptr_t pageCache_alloc(const gomem_layout *L, pageCache *c, uintptr_t npages, uintptr_t *scav);
uintptr_t pageCache_allocN(const gomem_layout *L, pageCache *c, uintptr_t npages, uintptr_t *scav);
// pageCache_flush gives the pages back. owner: the P id that events report.
void pageCache_flush(gomem_env *env, pageCache *c, pageAlloc *p, int owner);
pageCache pageAlloc_allocToCache(gomem_env *env, pageAlloc *p);
// pageCache_check throws if an invariant at the head of mpagecache.c does not hold.
void pageCache_check(gomem_env *env, const pageCache *c, pageAlloc *p);

// ---- mgcscavenge.c
// init and grow give the bytes that they mapped; ~0: out of memory.
uintptr_t scavengeIndex_init(gomem_env *env, scavengeIndex *s, bool test, sysMemStat *sysStat);
uintptr_t scavengeIndex_grow(gomem_env *env, scavengeIndex *s, uintptr_t base, uintptr_t limit, sysMemStat *sysStat);
void scavengeIndex_destroy(gomem_env *env, scavengeIndex *s, sysMemStat *sysStat);
uintptr_t scavengeIndex_mapped(const scavengeIndex *s); // bytes mapped
// scavengeIndex_check throws if the index does not cover chunks [start, end), the heap's first and last.
void scavengeIndex_check(gomem_env *env, const scavengeIndex *s, chunkIdx start, chunkIdx end);
chunkIdx scavengeIndex_find(gomem_env *env, scavengeIndex *s, bool force, unsigned *pageIdx); // 0: none
void scavengeIndex_alloc(gomem_env *env, scavengeIndex *s, chunkIdx ci, unsigned npages);
void scavengeIndex_free(gomem_env *env, scavengeIndex *s, chunkIdx ci, unsigned page, unsigned npages);
void scavengeIndex_nextGen(gomem_env *env, scavengeIndex *s);
void scavengeIndex_setEmpty(scavengeIndex *s, chunkIdx ci);
// fillAligned sets each m-aligned group of m bits that has a one to all ones. m: a power of two <= 64.
uint64_t fillAligned(uint64_t x, unsigned m);
// findScavengeCandidate: a run of free, unscavenged pages at or below searchIdx; returns its start, *npages its
// length (0: none).
unsigned pallocData_findScavengeCandidate(
	gomem_env *env, pallocData *m, unsigned searchIdx, uintptr_t minimum, uintptr_t max, unsigned *npages);
// pageAlloc_scavengeStep is one turn of scavenge's loop: find, then scavengeOne. *done: nothing was left to find.
// Returns bytes released. delta: the caller's statistics accumulator. Not under the heap lock.
uintptr_t pageAlloc_scavengeStep(
	gomem_env *env, pageAlloc *p, uintptr_t nbytes, bool force, heapStatsDelta *delta, bool *done);
// pageAlloc_scavenge releases at least nbytes if there is that much; shouldStop may be NULL.
uintptr_t pageAlloc_scavenge(gomem_env *env, pageAlloc *p, uintptr_t nbytes, bool (*shouldStop)(void *), void *arg,
	bool force, heapStatsDelta *delta);
uintptr_t pageAlloc_scavengeOne(
	gomem_env *env, pageAlloc *p, chunkIdx ci, unsigned searchIdx, uintptr_t max, heapStatsDelta *delta);

#endif
