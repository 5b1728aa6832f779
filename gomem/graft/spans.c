// spans.c: the functions that Go calls at level spans, and the steps where Go has a say: before a sweep, after a span was made or is about to be
// freed, sweeping in proportion, scavenging for an allocation.
//
// ld --wrap puts __wrap_mspan_sweep, __wrap_mheap_alloc and __wrap_mheap_freeSpan before the functions of these names wherever another file calls them.
#include "gomem/graft/graft.h"
#include "gomem/mcache.h"

static void credit(void *ctx, mheap *h, gomem_p *p, uintptr_t spanBytes, uintptr_t callerSweepPages) {
	(void)ctx;
	(void)p;
	graft_call(&h->env)->deductSweepCredit(spanBytes, callerSweepPages);
}

static void assist(void *ctx, mheap *h, gomem_p *p, uintptr_t scav, uintptr_t growth) {
	(void)ctx;
	(void)p;
	graft_call(&h->env)->scavengeAssist(scav, growth);
}

void graft_mheap_init(mheap *h) {
	h->policy.deductSweepCredit = credit;
	h->policy.scavengeAssist = assist;
	(void)mheap_init(h);
}

// Specials, tracing and user arenas are Go's: beginSweep does what comes before the marks are looked at; 0: and all the rest.
bool __real_mspan_sweep(mheap *h, gomem_p *p, mspan *s, bool preserve);
bool __wrap_mspan_sweep(mheap *h, gomem_p *p, mspan *s, bool preserve);
bool __wrap_mspan_sweep(mheap *h, gomem_p *p, mspan *s, bool preserve) {
	if (graft_call(&h->env)->beginSweep(s, preserve) == 0) {
		return false;
	}
	const bool freed = __real_mspan_sweep(h, p, s, preserve);
#ifdef GRAFT_CHECK
	graft_call(&h->env)->spanEvent(s, freed ? 3 : 2);
#endif
	return freed;
}

mspan *__real_mheap_alloc(mheap *h, gomem_p *p, uintptr_t npages, spanClass spc);
mspan *__wrap_mheap_alloc(mheap *h, gomem_p *p, uintptr_t npages, spanClass spc);
mspan *__wrap_mheap_alloc(mheap *h, gomem_p *p, uintptr_t npages, spanClass spc) {
	mspan *s = __real_mheap_alloc(h, p, npages, spc);
	graft_call(&h->env)->spanEvent(s, 0);
	return s;
}

void __real_mheap_freeSpan(mheap *h, gomem_p *p, mspan *s);
void __wrap_mheap_freeSpan(mheap *h, gomem_p *p, mspan *s);
void __wrap_mheap_freeSpan(mheap *h, gomem_p *p, mspan *s) {
	graft_call(&h->env)->spanEvent(s, 1);
	__real_mheap_freeSpan(h, p, s);
}

// ---- mheap

mspan *graft_mheap_alloc(mheap *h, gomem_p *p, uintptr_t npages, uintptr_t spc) {
	return mheap_alloc(h, p, npages, (spanClass)spc);
}
mspan *graft_mheap_allocManual(mheap *h, gomem_p *p, uintptr_t npages, uintptr_t typ) {
	return mheap_allocManual(h, p, npages, (spanAllocType)typ);
}
void graft_mheap_freeSpan(mheap *h, gomem_p *p, mspan *s) { mheap_freeSpan(h, p, s); }
void graft_mheap_freeManual(mheap *h, gomem_p *p, mspan *s, uintptr_t typ) {
	mheap_freeManual(h, p, s, (spanAllocType)typ);
}
graft_pair graft_mheap_sysAlloc(mheap *h, uintptr_t n, arenaHint **hintList, arenaList *list) {
	uintptr_t size = 0;
	const uintptr_t v = (uintptr_t)mheap_sysAlloc(h, n, hintList, list, &size);
	return (graft_pair){v, size};
}
uint64_t graft_mheap_allocNeedsZero(mheap *h, uintptr_t base, uintptr_t npage) {
	return mheap_allocNeedsZero(h, base, npage);
}

// ---- bits, sets, objects of one size

gcBits *graft_newMarkBits(mheap *h, uintptr_t nelems) { return newMarkBits(&h->env, &h->gcBitsArenas, nelems); }
void graft_nextMarkBitArenaEpoch(mheap *h) { nextMarkBitArenaEpoch(&h->env, &h->gcBitsArenas); }
void graft_fixalloc_init(gomem_env *env, fixalloc *f, uintptr_t size, sysMemStat *stat) {
	fixalloc_init(env, f, size, NULL, NULL, stat);
}
void *graft_fixalloc_alloc(gomem_env *env, fixalloc *f) { return fixalloc_alloc(env, f); }
void graft_fixalloc_free(gomem_env *env, fixalloc *f, void *p) { fixalloc_free(env, f, p); }
void graft_spanSet_push(gomem_env *env, spanSet *b, mspan *s, uintptr_t setID) {
	(void)spanSet_push(env, b, s, (uint32_t)setID);
}
mspan *graft_spanSet_pop(gomem_env *env, spanSet *b, uintptr_t setID) { return spanSet_pop(env, b, (uint32_t)setID); }
void graft_spanSet_reset(gomem_env *env, spanSet *b) { spanSet_reset(env, b); }

// ---- spans of objects

uint64_t graft_mspan_nextFreeIndex(mheap *h, mspan *s) { return mspan_nextFreeIndex(h, s); }
void graft_mspan_refillAllocCache(mspan *s, uintptr_t whichByte) { mspan_refillAllocCache(s, (uint16_t)whichByte); }
uint64_t graft_mspan_countAlloc(const mspan *s) {
	const gomem_env portable = {.hasPOPCNT = false};
	return mspan_countAlloc(&portable, s);
}
uint64_t graft_mcache_refill(mheap *h, gomem_p *p, mcache *c, uintptr_t spc) {
	return mcache_refill(h, p, c, (spanClass)spc);
}
void graft_mcentral_uncacheSpan(mheap *h, gomem_p *p, mcentral *c, mspan *s) { (void)mcentral_uncacheSpan(h, p, c, s); }
uint64_t graft_mspan_sweep(mheap *h, gomem_p *p, mspan *s, uintptr_t preserve) {
	return mspan_sweep(h, p, s, preserve != 0);
}
