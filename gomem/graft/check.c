// check.c: with --check the linker puts these functions before those of the port that they are named after (ld --wrap): each tells Go what is about
// to be done and what came out. zz_graft_check.go does the same with Go's own code and compares.
#include "gomem/graft/graft.h"
#include "gomem/mpagealloc.h"

// In the order of graftOps in zz_graft_check.go.
enum {
	OP_ALLOC,
	OP_FREE,
	OP_FIND,
	OP_ALLOC_RANGE,
	OP_UPDATE,
	OP_PADDING,
	OP_GROW,
	OP_TO_CACHE,
	OP_FLUSH,
	OP_CACHE_ALLOC,
	OP_INDEX_FIND,
	OP_NEXT_GEN,
	OP_SCAVENGE,
	OP_CANDIDATE,
};

#define BEGIN(op, a, b, c) graft_call(env)->checkBegin(op, (uintptr_t)(a), (uintptr_t)(b), (uintptr_t)(c))
#define END(op, a, b, c, r, s)                                                                                         \
	graft_call(env)->checkEnd(op, (uintptr_t)(a), (uintptr_t)(b), (uintptr_t)(c), (uintptr_t)(r), (uintptr_t)(s))

uintptr_t __real_pageAlloc_alloc(gomem_env *env, pageAlloc *p, uintptr_t npages, uintptr_t *scav);
uintptr_t __wrap_pageAlloc_alloc(gomem_env *env, pageAlloc *p, uintptr_t npages, uintptr_t *scav) {
	BEGIN(OP_ALLOC, p, npages, 0);
	const uintptr_t addr = __real_pageAlloc_alloc(env, p, npages, scav);
	END(OP_ALLOC, p, npages, 0, addr, *scav);
	return addr;
}

void __real_pageAlloc_free(gomem_env *env, pageAlloc *p, uintptr_t base, uintptr_t npages);
void __wrap_pageAlloc_free(gomem_env *env, pageAlloc *p, uintptr_t base, uintptr_t npages) {
	BEGIN(OP_FREE, p, base, npages);
	__real_pageAlloc_free(env, p, base, npages);
	END(OP_FREE, p, base, npages, 0, 0);
}

uintptr_t __real_pageAlloc_find(gomem_env *env, pageAlloc *p, uintptr_t npages, offAddr *searchAddr);
uintptr_t __wrap_pageAlloc_find(gomem_env *env, pageAlloc *p, uintptr_t npages, offAddr *searchAddr) {
	BEGIN(OP_FIND, p, npages, 0);
	const uintptr_t addr = __real_pageAlloc_find(env, p, npages, searchAddr);
	END(OP_FIND, p, npages, 0, addr, searchAddr->a);
	return addr;
}

uintptr_t __real_pageAlloc_allocRange(gomem_env *env, pageAlloc *p, uintptr_t base, uintptr_t npages);
uintptr_t __wrap_pageAlloc_allocRange(gomem_env *env, pageAlloc *p, uintptr_t base, uintptr_t npages) {
	BEGIN(OP_ALLOC_RANGE, p, base, npages);
	const uintptr_t scav = __real_pageAlloc_allocRange(env, p, base, npages);
	END(OP_ALLOC_RANGE, p, base, npages, scav, 0);
	return scav;
}

void __real_pageAlloc_update(gomem_env *env, pageAlloc *p, uintptr_t base, uintptr_t npages, bool contig, bool alloc);
void __wrap_pageAlloc_update(gomem_env *env, pageAlloc *p, uintptr_t base, uintptr_t npages, bool contig, bool alloc) {
	BEGIN(OP_UPDATE, p, base, npages);
	__real_pageAlloc_update(env, p, base, npages, contig, alloc);
	END(OP_UPDATE, p, base, npages, contig, alloc);
}

void __real_pageAlloc_markRandomPaddingPages(gomem_env *env, pageAlloc *p, uintptr_t base, uintptr_t npages);
void __wrap_pageAlloc_markRandomPaddingPages(gomem_env *env, pageAlloc *p, uintptr_t base, uintptr_t npages) {
	BEGIN(OP_PADDING, p, base, npages);
	__real_pageAlloc_markRandomPaddingPages(env, p, base, npages);
	END(OP_PADDING, p, base, npages, 0, 0);
}

bool __real_pageAlloc_grow(gomem_env *env, pageAlloc *p, uintptr_t base, uintptr_t size);
bool __wrap_pageAlloc_grow(gomem_env *env, pageAlloc *p, uintptr_t base, uintptr_t size) {
	BEGIN(OP_GROW, p, base, size);
	const bool ok = __real_pageAlloc_grow(env, p, base, size);
	END(OP_GROW, p, base, size, ok, 0);
	return ok;
}

pageCache __real_pageAlloc_allocToCache(gomem_env *env, pageAlloc *p);
pageCache __wrap_pageAlloc_allocToCache(gomem_env *env, pageAlloc *p) {
	BEGIN(OP_TO_CACHE, p, 0, 0);
	const pageCache c = __real_pageAlloc_allocToCache(env, p);
	END(OP_TO_CACHE, p, &c, 0, 0, 0);
	return c;
}

void __real_pageCache_flush(gomem_env *env, pageCache *c, pageAlloc *p, int owner);
void __wrap_pageCache_flush(gomem_env *env, pageCache *c, pageAlloc *p, int owner) {
	const pageCache before = *c;
	BEGIN(OP_FLUSH, p, &before, c);
	__real_pageCache_flush(env, c, p, owner);
	END(OP_FLUSH, p, &before, c, 0, 0);
}

chunkIdx __real_scavengeIndex_find(gomem_env *env, scavengeIndex *s, bool force, unsigned *pageIdx);
chunkIdx __wrap_scavengeIndex_find(gomem_env *env, scavengeIndex *s, bool force, unsigned *pageIdx) {
	BEGIN(OP_INDEX_FIND, s, force, 0);
	const chunkIdx ci = __real_scavengeIndex_find(env, s, force, pageIdx);
	END(OP_INDEX_FIND, s, force, 0, ci, *pageIdx);
	return ci;
}

void __real_scavengeIndex_nextGen(gomem_env *env, scavengeIndex *s);
void __wrap_scavengeIndex_nextGen(gomem_env *env, scavengeIndex *s) {
	BEGIN(OP_NEXT_GEN, s, 0, 0);
	__real_scavengeIndex_nextGen(env, s);
	END(OP_NEXT_GEN, s, 0, 0, 0, 0);
}

// Between begin and end Go sees the heap lock taken and left (graftLock, graftUnlock), and the candidate (pageAlloc_update).
uintptr_t __real_pageAlloc_scavengeOne(
	gomem_env *env, pageAlloc *p, chunkIdx ci, unsigned searchIdx, uintptr_t max, heapStatsDelta *delta);
uintptr_t __wrap_pageAlloc_scavengeOne(
	gomem_env *env, pageAlloc *p, chunkIdx ci, unsigned searchIdx, uintptr_t max, heapStatsDelta *delta) {
	const uintptr_t args[] = {ci, searchIdx, max};
	BEGIN(OP_SCAVENGE, p, args, 0);
	const uintptr_t n = __real_pageAlloc_scavengeOne(env, p, ci, searchIdx, max, delta);
	END(OP_SCAVENGE, p, args, 0, n, 0);
	return n;
}

unsigned __real_pallocData_findScavengeCandidate(
	gomem_env *env, pallocData *m, unsigned searchIdx, uintptr_t minimum, uintptr_t max, unsigned *npages);
unsigned __wrap_pallocData_findScavengeCandidate(
	gomem_env *env, pallocData *m, unsigned searchIdx, uintptr_t minimum, uintptr_t max, unsigned *npages) {
	const uintptr_t args[] = {searchIdx, minimum, max};
	const unsigned i = __real_pallocData_findScavengeCandidate(env, m, searchIdx, minimum, max, npages);
	END(OP_CANDIDATE, m, args, 0, i, *npages);
	return i;
}
