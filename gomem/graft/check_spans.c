// check_spans.c: as check.c, at level spans.
#include "gomem/graft/graft.h"
#include "gomem/mcache.h"

// In the order of zz_graft_check.go.
enum {
	OP_PUSH = 14,
	OP_POP,
	OP_RESET,
	OP_SWEEP,
	OP_NEXT_FREE,
	OP_ALLOC_SPAN,
	OP_FREE_SPAN,
	OP_REFILL,
	OP_UNCACHE,
	OP_MARK_BITS,
	OP_FIXALLOC,
	OP_FIXFREE
};

#define BEGIN(op, a, b, c) graft_call(env)->checkBegin(op, (uintptr_t)(a), (uintptr_t)(b), (uintptr_t)(c))
#define END(op, a, b, c, r, s)                                                                                         \
	graft_call(env)->checkEnd(op, (uintptr_t)(a), (uintptr_t)(b), (uintptr_t)(c), (uintptr_t)(r), (uintptr_t)(s))

bool __real_spanSet_push(gomem_env *env, spanSet *b, struct mspan *s, uint32_t setID);
bool __wrap_spanSet_push(gomem_env *env, spanSet *b, struct mspan *s, uint32_t setID) {
	BEGIN(OP_PUSH, b, s, 0);
	const bool ok = __real_spanSet_push(env, b, s, setID);
	END(OP_PUSH, b, s, 0, ok, 0);
	return ok;
}

struct mspan *__real_spanSet_pop(gomem_env *env, spanSet *b, uint32_t setID);
struct mspan *__wrap_spanSet_pop(gomem_env *env, spanSet *b, uint32_t setID) {
	BEGIN(OP_POP, b, 0, 0);
	struct mspan *s = __real_spanSet_pop(env, b, setID);
	END(OP_POP, b, 0, 0, s, 0);
	return s;
}

void __real_spanSet_reset(gomem_env *env, spanSet *b);
void __wrap_spanSet_reset(gomem_env *env, spanSet *b) {
	__real_spanSet_reset(env, b);
	END(OP_RESET, b, 0, 0, 0, 0);
}

uint16_t __real_mspan_nextFreeIndex(mheap *h, mspan *s);
uint16_t __wrap_mspan_nextFreeIndex(mheap *h, mspan *s) {
	gomem_env *const env = &h->env;
	const mspan before = *s;
	const uint16_t i = __real_mspan_nextFreeIndex(h, s);
	END(OP_NEXT_FREE, &before, s, 0, i, 0);
	return i;
}

bool __real_mcache_refill(mheap *h, gomem_p *p, mcache *c, spanClass spc);
bool __wrap_mcache_refill(mheap *h, gomem_p *p, mcache *c, spanClass spc) {
	gomem_env *const env = &h->env;
	BEGIN(OP_REFILL, c, spc, 0);
	const bool ok = __real_mcache_refill(h, p, c, spc);
	mspan copy = *c->alloc[spc]; // for Go's own functions to work on
	END(OP_REFILL, c, spc, &copy, ok, 0);
	return ok;
}

gcBits *__real_newMarkBits(gomem_env *env, gcBitsArenas *a, uintptr_t nelems);
gcBits *__wrap_newMarkBits(gomem_env *env, gcBitsArenas *a, uintptr_t nelems) {
	gcBits *const bits = __real_newMarkBits(env, a, nelems);
	END(OP_MARK_BITS, a, nelems, 0, bits, 0);
	return bits;
}
gcBits *__wrap_newAllocBits(gomem_env *env, gcBitsArenas *a, uintptr_t nelems) {
	return __wrap_newMarkBits(env, a, nelems);
}

void *__real_fixalloc_alloc(gomem_env *env, fixalloc *f);
void *__wrap_fixalloc_alloc(gomem_env *env, fixalloc *f) {
	const fixalloc before = *f;
	const uintptr_t next = f->list != NULL ? (uintptr_t)f->list->next : 0;
	void *const v = __real_fixalloc_alloc(env, f);
	END(OP_FIXALLOC, &before, f, next, v, 0);
	return v;
}

void __real_fixalloc_free(gomem_env *env, fixalloc *f, void *p);
void __wrap_fixalloc_free(gomem_env *env, fixalloc *f, void *p) {
	const fixalloc before = *f;
	__real_fixalloc_free(env, f, p);
	END(OP_FIXFREE, &before, f, p, 0, 0);
}

// The heap's own caches lie in a P; others (pages.c) come without a layout, and Go compares them itself.
uintptr_t __real_pageCache_alloc(const gomem_layout *L, pageCache *c, uintptr_t npages, uintptr_t *scav);
uintptr_t __wrap_pageCache_alloc(const gomem_layout *L, pageCache *c, uintptr_t npages, uintptr_t *scav) {
	const pageCache before = *c;
	const uintptr_t base = __real_pageCache_alloc(L, c, npages, scav);
	if (L != NULL) {
		gomem_env *const env = &((gomem_p *)(void *)((char *)c - offsetof(gomem_p, pcache)))->h->env;
		END(9, &before, c, npages, base, *scav);
	}
	return base;
}

bool __real_mcentral_uncacheSpan(mheap *h, gomem_p *p, mcentral *c, mspan *s);
bool __wrap_mcentral_uncacheSpan(mheap *h, gomem_p *p, mcentral *c, mspan *s) {
	gomem_env *const env = &h->env;
	BEGIN(OP_UNCACHE, s, 0, 0);
	const bool ok = __real_mcentral_uncacheSpan(h, p, c, s);
	END(OP_UNCACHE, s, 0, 0, ok, 0);
	return ok;
}
