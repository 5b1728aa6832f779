// pages.c: the functions that Go calls at level pages, in the shape that the trampolines pass: words in, at most two words out.
#include "gomem/graft/graft.h"
#include "gomem/mpagealloc.h"

// Go's arenas[0]: an arena is mapped iff it has metadata.
static bool arenaMapped(void *ctx, uintptr_t addr) {
	const gomem_layout *const L = &layout_linux_amd64_go126;
	void ***const l2 = ctx;
	const uintptr_t i = (addr - (uintptr_t)L->arenaBaseOffset) >> L->logHeapArenaBytes;
	return i >> L->arenaL2Bits == 0 && *l2 != NULL && (*l2)[i] != NULL;
}

static void *osAlloc(gomem_os *os, uintptr_t n) { return ((graft_os *)(void *)os)->call.sysAllocOS(n); }
static void osHugePage(gomem_os *os, void *v, uintptr_t n) { ((graft_os *)(void *)os)->call.sysHugePage(v, n); }
static void osNoHugePage(gomem_os *os, void *v, uintptr_t n) { ((graft_os *)(void *)os)->call.sysNoHugePage(v, n); }

#if GOMEM_LAB
// A section under one of Go's locks takes its turns there, with its events. The steps that have none are made under the recorder's.
static void labTurn(void *ctx, gomem_ev k) {
	if (k == EV_PUSH || k == EV_POP || k == EV_ACQUIRE || k == EV_NEEDZERO) {
		((graft_os *)ctx)->call.labTurn();
	}
}
static void labEvent(void *ctx, gomem_ev k, uint64_t a, uint64_t b, uint64_t c, uint64_t d) {
	((graft_os *)ctx)->call.labEvent(k, a, b, c, d);
}
#endif

// graft_start completes an environment that Go has filled in: what is an address of C code. arenas: &mheap_.arenas[0].
void graft_start(gomem_env *env, graft_os *os, void *arenas) {
	env->os = &os->os;
	os->os.alloc = osAlloc;
	os->os.hugePage = osHugePage;
	os->os.noHugePage = osNoHugePage;
	env->arenaMapped = arenaMapped;
	env->arenaCtx = arenas;
#if GOMEM_LAB
	os->lab = (gomem_lab){.ctx = os, .turn = labTurn, .event = labEvent};
	env->lab = &os->lab;
#endif
}

uint64_t graft_nop(uint64_t x) { return x; }

// ---- pageAlloc

void graft_pageAlloc_init(gomem_env *env, pageAlloc *p, mutex *mheapLock, sysMemStat *stat, uint64_t test) {
	(void)pageAlloc_init(env, p, mheapLock, stat, test != 0); // Go throws where there is no memory
}
void graft_pageAlloc_grow(gomem_env *env, pageAlloc *p, uintptr_t base, uintptr_t size) {
	(void)pageAlloc_grow(env, p, base, size);
}
void graft_pageAlloc_enableChunkHugePages(gomem_env *env, pageAlloc *p) { pageAlloc_enableChunkHugePages(env, p); }
void graft_pageAlloc_update(
	gomem_env *env, pageAlloc *p, uintptr_t base, uintptr_t npages, uint64_t contig, uint64_t alloc) {
	pageAlloc_update(env, p, base, npages, contig != 0, alloc != 0);
}
uint64_t graft_pageAlloc_allocRange(gomem_env *env, pageAlloc *p, uintptr_t base, uintptr_t npages) {
	return pageAlloc_allocRange(env, p, base, npages);
}
graft_pair graft_pageAlloc_find(gomem_env *env, pageAlloc *p, uintptr_t npages) {
	offAddr searchAddr;
	const uintptr_t addr = pageAlloc_find(env, p, npages, &searchAddr);
	return (graft_pair){addr, searchAddr.a};
}
graft_pair graft_pageAlloc_alloc(gomem_env *env, pageAlloc *p, uintptr_t npages) {
	uintptr_t scav;
	const uintptr_t addr = pageAlloc_alloc(env, p, npages, &scav);
	return (graft_pair){addr, scav};
}
void graft_pageAlloc_free(gomem_env *env, pageAlloc *p, uintptr_t base, uintptr_t npages) {
	pageAlloc_free(env, p, base, npages);
}
void graft_pageAlloc_markRandomPaddingPages(gomem_env *env, pageAlloc *p, uintptr_t base, uintptr_t npages) {
	pageAlloc_markRandomPaddingPages(env, p, base, npages);
}
void graft_pageAlloc_allocToCache(gomem_env *env, pageAlloc *p, pageCache *c) { *c = pageAlloc_allocToCache(env, p); }
uint64_t graft_pageAlloc_scavengeOne(
	gomem_env *env, pageAlloc *p, chunkIdx ci, uintptr_t searchIdx, uintptr_t max, heapStatsDelta *delta) {
	return pageAlloc_scavengeOne(env, p, ci, (unsigned)searchIdx, max, delta);
}

// ---- pageCache

graft_pair graft_pageCache_alloc(pageCache *c, uintptr_t npages) {
	uintptr_t scav;
	const uintptr_t addr = pageCache_alloc(NULL, c, npages, &scav); // the layout is a constant
	return (graft_pair){addr, scav};
}
graft_pair graft_pageCache_allocN(pageCache *c, uintptr_t npages) {
	uintptr_t scav;
	const uintptr_t addr = pageCache_allocN(&layout_linux_amd64_go126, c, npages, &scav);
	return (graft_pair){addr, scav};
}
void graft_pageCache_flush(gomem_env *env, pageCache *c, pageAlloc *p) { pageCache_flush(env, c, p, 0); }

// ---- scavengeIndex and candidates

graft_pair graft_scavengeIndex_find(gomem_env *env, scavengeIndex *s, uint64_t force) {
	unsigned pageIdx;
	const chunkIdx ci = scavengeIndex_find(env, s, force != 0, &pageIdx);
	return (graft_pair){ci, pageIdx};
}
void graft_scavengeIndex_alloc(gomem_env *env, scavengeIndex *s, chunkIdx ci, uintptr_t npages) {
	scavengeIndex_alloc(env, s, ci, (unsigned)npages);
}
void graft_scavengeIndex_free(gomem_env *env, scavengeIndex *s, chunkIdx ci, uintptr_t page, uintptr_t npages) {
	scavengeIndex_free(env, s, ci, (unsigned)page, (unsigned)npages);
}
void graft_scavengeIndex_nextGen(gomem_env *env, scavengeIndex *s) { scavengeIndex_nextGen(env, s); }
void graft_scavengeIndex_setEmpty(scavengeIndex *s, chunkIdx ci) { scavengeIndex_setEmpty(s, ci); }
graft_pair graft_pallocData_findScavengeCandidate(
	gomem_env *env, pallocData *m, uintptr_t searchIdx, uintptr_t minimum, uintptr_t max) {
	unsigned npages;
	const unsigned i = pallocData_findScavengeCandidate(env, m, (unsigned)searchIdx, minimum, max, &npages);
	return (graft_pair){i, npages};
}
uint64_t graft_fillAligned(uint64_t x, uint64_t m) { return fillAligned(x, (unsigned)m); }

// ---- bits and sums. Go's uint has 64 bits, "none" is all ones.

static uint64_t wide(unsigned i) { return i == ~0u ? ~(uint64_t)0 : i; }

void graft_pageBits_setRange(pageBits *b, uintptr_t i, uintptr_t n) { pageBits_setRange(b, (unsigned)i, (unsigned)n); }
void graft_pageBits_clearRange(pageBits *b, uintptr_t i, uintptr_t n) {
	pageBits_clearRange(b, (unsigned)i, (unsigned)n);
}
uint64_t graft_pageBits_popcntRange(pageBits *b, uintptr_t i, uintptr_t n) {
	return pageBits_popcntRange(b, (unsigned)i, (unsigned)n);
}
uint64_t graft_pallocBits_summarize(const pallocBits *b) { return pallocBits_summarize(&layout_linux_amd64_go126, b); }
graft_pair graft_pallocBits_find(const pallocBits *b, uintptr_t npages, uintptr_t searchIdx) {
	unsigned next;
	const unsigned i = pallocBits_find(b, npages, (unsigned)searchIdx, &next);
	return (graft_pair){wide(i), wide(next)};
}
uint64_t graft_pallocBits_find1(const pallocBits *b, uintptr_t searchIdx) {
	return wide(pallocBits_find1(b, (unsigned)searchIdx));
}
graft_pair graft_pallocBits_findSmallN(const pallocBits *b, uintptr_t npages, uintptr_t searchIdx) {
	unsigned next;
	const unsigned i = pallocBits_findSmallN(b, npages, (unsigned)searchIdx, &next);
	return (graft_pair){wide(i), wide(next)};
}
graft_pair graft_pallocBits_findLargeN(const pallocBits *b, uintptr_t npages, uintptr_t searchIdx) {
	unsigned next;
	const unsigned i = pallocBits_findLargeN(b, npages, (unsigned)searchIdx, &next);
	return (graft_pair){wide(i), wide(next)};
}
uint64_t graft_findBitRange64(uint64_t c, uint64_t n) { return findBitRange64(c, (unsigned)n); }
uint64_t graft_mergeSummaries(const pallocSum *sums, uintptr_t n, uintptr_t logMaxPagesPerSum) {
	return mergeSummaries(&layout_linux_amd64_go126, sums, (unsigned)n, (unsigned)logMaxPagesPerSum);
}
