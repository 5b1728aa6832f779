// gomem.c (layer 5): the public interface of gomem.h: making and ending a heap, and thin doors to the layers.
//
// Invariants: a heap that is handed out passed mallocinit; what a failed start took is given back.
#include <errno.h>
#include <setjmp.h>
#include <stdlib.h>
#include <sys/random.h>

#include "gomem/guard.h"
#include "gomem/lockrank.h"
#include "gomem/mcache.h"

enum { defaultSampleRate = 512 << 10 };

// ---- a heap

static const char *checkPageSizes(const gomem_layout *L, const gomem_os *os) {
	const uintptr_t page = os->physPageSize;
	if (page < L->minPhysPageSize || page > L->maxPhysPageSize || (page & (page - 1)) != 0) {
		return "bad system page size";
	}
	return (os->physHugePageSize & (os->physHugePageSize - 1)) != 0 ? "bad system huge page size" : NULL;
}

// lockRankOf: all locks of a heap stand in it, but for those of spans' special records.
static int lockRankOf(const gomem_env *env, const mutex *m) {
	const gomem_heap *h = (const gomem_heap *)(const void *)((const char *)env - offsetof(gomem_heap, env));
	const char *at = (const char *)m;
	if (m == &h->lock) {
		return lockRankMheap;
	}
	if (m == &env->globalAllocLock) {
		return lockRankGlobalAlloc;
	}
	if (m == &h->gcBitsArenas.lock) {
		return lockRankGcBitsArenas;
	}
	if (m == &h->stackLarge.lock) {
		return lockRankStackLarge;
	}
	if (m == &h->side.lock) {
		return lockRankSide;
	}
	if (at >= (const char *)h->stackpool && at < (const char *)(h->stackpool + numStackOrdersMax)) {
		return lockRankStackpool;
	}
	if (at >= (const char *)h->central && at < (const char *)(h->central + maxSpanClasses)) {
		return lockRankSpanSetSpine;
	}
	return lockRankMspanSpecial;
}

// bytesOf: what a number of bytes in a configuration stands for: 0 for the default, less for none.
static uintptr_t bytesOf(int64_t configured, uintptr_t defaultBytes) {
	if (configured <= 0) {
		return configured == 0 ? defaultBytes : 0;
	}
	return (uint64_t)configured < UINTPTR_MAX ? (uintptr_t)configured : UINTPTR_MAX;
}

static gomem_os *ownOS(const gomem_config *cfg) {
	enum { defaultReleaseLag = 2 << 20 };
	gomem_os *os = cfg->madv_free ? mem_linux_new_free() : mem_linux_new();
	const uintptr_t lag = bytesOf(cfg->release_lag, defaultReleaseLag);
	return lag == 0 ? os : mem_lag_new(os, lag);
}

static bool envInit(gomem_heap *h, const gomem_config *cfg) {
	gomem_env *env = &h->env;
	env->layout = cfg->layout != NULL ? cfg->layout : &layout_host;
	const gomem_layout *L = layout_get(env);
	if (L != env->layout || layout_check(L) != NULL || L->ptrSize > sizeof(uintptr_t)) {
		errno = EINVAL;
		return false;
	}
	env->stats = &h->stats;
	env->lockRank = lockRankOf;
	env->lab = cfg->lab;
	env->throwHook = cfg->throw_hook;
	env->throwCtx = cfg->throw_ctx;
	env->greenTea = L->greenTea && !cfg->no_greentea;
	env->hasPOPCNT = cpu_hasPOPCNT();
	h->runtimeFreegc = cfg->runtime_freegc;
	h->invalidptr = !cfg->no_invalidptr;
	work_init(&h->work);
	h->ownsOS = cfg->os == NULL;
	env->os = h->ownsOS ? ownOS(cfg) : cfg->os;
	if (env->os == NULL) {
		return false;
	}
	if (checkPageSizes(L, env->os) != NULL) {
		errno = EINVAL;
		return false;
	}
	env->randomizeHeapBase = L->randomizeHeapBase && !cfg->no_randomized_base && !os_isSbrkPlatform(env->os);
	env->backed = env->os->backed;
	env->needZeroAfterSysUnused = env->os->unusedKeepsContents;
	env->physPageSize = env->os->physPageSize;
	// A huge page larger than a chunk is of no use to the scavenger.
	env->physHugePageSize = env->os->physHugePageSize <= layout_chunkBytes(L) ? env->os->physHugePageSize : 0;
	env->states = cfg->checked ? memStates_new() : NULL;
	return !cfg->checked || env->states != NULL;
}

static bool randInit(gomem_heap *h, uint64_t seed) {
	if (seed == 0 && getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed)) {
		return false;
	}
	h->rand = seed;
	if (h->env.randomizeHeapBase) {
		h->heapRandSeed = seed;
		h->heapRandSeedBitsRemaining = 64;
	}
	return true;
}

static void sampleInit(gomem_heap *h, const gomem_config *cfg) {
	if (cfg->sample == NULL) {
		return;
	}
	h->sample = cfg->sample;
	h->sampleCtx = cfg->sample_ctx;
	h->memProfRate = cfg->sample_rate != 0 ? cfg->sample_rate : defaultSampleRate;
}

// guardInit: heaps of which each step is watched by a lab, and those that cannot be touched, have no guard.
static bool guardInit(gomem_heap *h, const gomem_config *cfg) {
	if (cfg->hardened && !guardsBuilt) {
		errno = EINVAL;
		return false;
	}
	if (!(cfg->hardened || guardsAlways) || cfg->lab != NULL || !h->env.backed) {
		return true;
	}
	h->guard = guard_new();
	h->guardSweep = guard_sweep;
	return h->guard != NULL;
}

static bool wantsHugePages(const gomem_config *cfg, const gomem_env *env) {
	return !GOMEM_LAB && !cfg->no_huge_pages && env->backed && !env->os->hugePagesNever &&
		env->physHugePageSize > env->physPageSize;
}

// canPopulate: pages of the OS must not be larger than the heap's, or what is ahead would not be whole ones.
static bool canPopulate(const gomem_env *env) {
	return !GOMEM_LAB && env->backed && env->os->populate != NULL &&
		env->physPageSize <= layout_pageSize(layout_get(env));
}

static bool heapInit(gomem_heap *h, const gomem_config *cfg) {
	if (!envInit(h, cfg) || !randInit(h, cfg->rand_seed)) {
		return false;
	}
	if (wantsHugePages(cfg, &h->env)) {
		h->hugePagesFrom = hugePagesMin;
	}
	if (canPopulate(&h->env)) {
		h->populateAhead = bytesOf(cfg->populate_ahead, defaultPopulateAhead);
	}
	if (cfg->policy != NULL) {
		h->policy = *cfg->policy;
	}
	sampleInit(h, cfg);
	if (!guardInit(h, cfg)) {
		return false;
	}
	stackinit(h);
	return mallocinit(h);
}

gomem_heap *gomem_heap_new_bare(const gomem_config *cfg) {
	static const gomem_config native = {0};
	const size_t size = (size_t)alignUp(sizeof(gomem_heap), cacheLineSize);
	gomem_heap *h = aligned_alloc(cacheLineSize, size);
	if (h == NULL) {
		return NULL;
	}
	memset(h, 0, size);
	errno = 0;
	if (!heapInit(h, cfg != NULL ? cfg : &native)) {
		const int err = errno == EINVAL ? EINVAL : ENOMEM;
		gomem_heap_destroy(h);
		errno = err;
		return NULL;
	}
	return h;
}

gomem_heap *gomem_heap_new(const gomem_config *cfg) {
	gomem_heap *h = gomem_heap_new_bare(cfg);
	if (h != NULL && !gomem_procresize(h, 1)) {
		gomem_heap_destroy(h);
		errno = ENOMEM;
		return NULL;
	}
	return h;
}

void gomem_heap_destroy(gomem_heap *h) {
	if (h == NULL) {
		return;
	}
	guard_enter(h, NULL, "gomem_heap_destroy");
	gomem_os *os = h->env.os;
	if (os != NULL) {
		mheap_destroy(h);
	}
	if (h->env.states != NULL) {
		memStates_free(h->env.states);
	}
	if (h->ownsOS && os != NULL && os->destroy != NULL) {
		os->destroy(os);
	}
	for (int32_t i = 0; i < h->nallp; i++) {
		free(h->allp[i]);
	}
	free(h->allp);
	work_free(&h->work);
	if (h->guard != NULL) {
		guard_retireHeap(h);
		return;
	}
	free(h);
}

bool gomem_procresize(gomem_heap *h, int nprocs) {
	guard_enter(h, NULL, "gomem_procresize");
	if (nprocs <= 0 || nprocs > numPsMax) {
		errno = EINVAL;
		return false;
	}
	if (!procresize(h, nprocs)) {
		errno = ENOMEM;
		return false;
	}
	return true;
}

gomem_p *gomem_heap_p(gomem_heap *h, int id) {
	guard_enter(h, NULL, "gomem_heap_p");
	return id >= 0 && id < h->nallp && p_isAlive(h->allp[id]) ? h->allp[id] : NULL;
}

// ---- memory

static void *orENOMEM(uintptr_t x) {
	if (x == 0) {
		errno = ENOMEM;
	}
	return (void *)x;
}

// misused throws what, with what a guarded heap knows of addr.
static _Noreturn void misused(gomem_heap *h, const char *what, uintptr_t addr) {
	if (h->guard != NULL) {
		guard_throw(h, what, addr);
	}
	gomem_throw(&h->env, what);
}

// freeMisuse says what is wrong with giving back ptr, of a size that freegc takes; NULL: nothing. For checked heaps.
static const char *freeMisuse(gomem_heap *h, gomem_p *p, uintptr_t ptr, uintptr_t size) {
	const gomem_layout *L = layout_get(&h->env);
	mspan *s = spanOfHeap(h, ptr);
	if (s == NULL) {
		return "gomem_freegc: not an object of the heap";
	}
	const uintptr_t objIndex = mspan_objIndex(s, ptr);
	if (ptr != mspan_base(s) + objIndex * s->elemsize) {
		return "gomem_freegc: not the beginning of an object";
	}
	const spanClass spc = makeSpanClass(sizeToClass(L, size), true);
	if (s->spanclass != spc) {
		return "gomem_freegc: not the size or kind that was allocated";
	}
	const bool again = mspan_isFree(s, objIndex) || mcache_isReusable(h, getMCache(h, p), spc, ptr);
	return again ? "gomem_freegc: the object is free already" : NULL;
}

bool gomem_freegc(gomem_heap *h, gomem_p *p, void *ptr, uintptr_t size, bool noscan) {
	const bool entered = guard_enter(h, p, "gomem_freegc");
	const bool asked = (h->env.states != NULL || h->guard != NULL) && ptr != NULL && getMCache(h, p) != NULL;
	if (asked && noscan && h->runtimeFreegc && reusableSize(layout_get(&h->env), size)) {
		const char *misuse = freeMisuse(h, p, (uintptr_t)ptr, size);
		if (misuse != NULL) {
			misused(h, misuse, (uintptr_t)ptr);
		}
		if (h->guard != NULL) {
			guard_freegc(h, p, (uintptr_t)ptr, size);
		}
	}
	const bool freed = freegc(h, p, (uintptr_t)ptr, size, noscan);
	guard_leave(p, entered);
	return freed;
}

static bool isStackSize(gomem_heap *h, uintptr_t n) {
	return n >= layout_get(&h->env)->fixedStack && (n & (n - 1)) == 0;
}

void *gomem_stackalloc(gomem_heap *h, gomem_p *p, uint32_t n, bool bypass) {
	if (!isStackSize(h, n)) {
		errno = EINVAL;
		return NULL;
	}
	const bool entered = guard_enter(h, p, "gomem_stackalloc");
	void *stk = orENOMEM(stackalloc(h, p, n, bypass));
	guard_leave(p, entered);
	return stk;
}

// stackMisuse says what is wrong with giving back the stack of n bytes at x; NULL: nothing. For checked heaps.
static const char *stackMisuse(gomem_heap *h, gomem_p *p, uintptr_t x, uintptr_t n) {
	mspan *s = spanOf(h, x);
	if (s == NULL || mspan_state(s) != mSpanManual) {
		return "gomem_stackfree: not a stack";
	}
	if (s->elemsize != n || (x - mspan_base(s)) % n != 0) {
		return "gomem_stackfree: not the beginning of a stack of that size";
	}
	return stack_isFree(h, p, s, x) ? "gomem_stackfree: the stack is free already" : NULL;
}

void gomem_stackfree(gomem_heap *h, gomem_p *p, void *stk, uintptr_t n, bool bypass) {
	if (!isStackSize(h, n)) {
		gomem_throw(&h->env, "gomem_stackfree: not the size of a stack");
	}
	const bool entered = guard_enter(h, p, "gomem_stackfree");
	// The hooks of a lab would take the locks of this check for decisions.
	const bool asked = (h->env.states != NULL || h->guard != NULL) && h->env.lab == NULL;
	const char *misuse = asked ? stackMisuse(h, p, (uintptr_t)stk, n) : NULL;
	if (misuse != NULL) {
		misused(h, misuse, (uintptr_t)stk);
	}
	stackfree(h, p, (uintptr_t)stk, n, bypass);
	guard_leave(p, entered);
}

void *gomem_allocManual(gomem_heap *h, gomem_p *p, uintptr_t npages) {
	if (npages == 0) {
		errno = EINVAL;
		return NULL;
	}
	const gomem_layout *L = layout_get(&h->env);
	if (npages > (uintptr_t)1 << (L->heapAddrBits - L->pageShift)) {
		return orENOMEM(0);
	}
	const bool entered = guard_enter(h, p, "gomem_allocManual");
	mspan *s = mheap_allocManual(h, p, npages, spanAllocWorkBuf);
	guard_leave(p, entered);
	return orENOMEM(s == NULL ? 0 : mspan_base(s));
}

void gomem_freeManual(gomem_heap *h, gomem_p *p, void *base) {
	const bool entered = guard_enter(h, p, "gomem_freeManual");
	mspan *s = spanOf(h, (uintptr_t)base);
	if (s == NULL || mspan_state(s) != mSpanManual || mspan_base(s) != (uintptr_t)base) {
		misused(h, "gomem_freeManual: not the base of a manual span", (uintptr_t)base);
	}
	mheap_freeManual(h, p, s, spanAllocWorkBuf);
	guard_leave(p, entered);
}

uintptr_t gomem_scavenge(gomem_heap *h, gomem_p *p, uintptr_t nbytes, bool force) {
	guard_enter(h, NULL, "gomem_scavenge");
	const uintptr_t released = pageAlloc_scavenge(&h->env, &h->pages, nbytes, NULL, NULL, force, heapStats_of(h, p));
	if (force && h->env.os->flush != NULL) {
		h->env.os->flush(h->env.os);
	}
	return released;
}

// ---- the cycle

void gomem_setGCPhase(gomem_heap *h, uint32_t phase) {
	guard_enter(h, NULL, "gomem_setGCPhase");
	if (phase == gcMark) {
		gcMarkStart(h);
		return;
	}
	setGCPhase(h, phase);
}

void gomem_finishsweep(gomem_heap *h, gomem_p *p) {
	const bool entered = guard_enter(h, p, "gomem_finishsweep");
	finishsweep_m(h, p);
	gcResetMarkState(h);
	guard_leave(p, entered);
}

void gomem_startsweep(gomem_heap *h) {
	guard_enter(h, NULL, "gomem_startsweep");
	gcSweep(h);
	// The heap is at its peak now: what is free at the next one counts as idle to the scavenger.
	scavengeIndex_nextGen(&h->env, &h->pages.scav.index);
}

void gomem_prepareForSweep(gomem_heap *h, gomem_p *p) {
	const bool entered = guard_enter(h, p, "gomem_prepareForSweep");
	mcache_prepareForSweep(h, p, p->mcache);
	guard_leave(p, entered);
}

uintptr_t gomem_sweepone(gomem_heap *h, gomem_p *p) {
	const bool entered = guard_enter(h, p, "gomem_sweepone");
	const uintptr_t npages = sweepone(h, p);
	guard_leave(p, entered);
	return npages;
}

void gomem_freeStackSpans(gomem_heap *h, gomem_p *p) {
	const bool entered = guard_enter(h, p, "gomem_freeStackSpans");
	freeStackSpans(h, p);
	guard_leave(p, entered);
}

bool gomem_mark(gomem_heap *h, const void *p) {
	guard_enter(h, NULL, "gomem_mark");
	mspan *s = spanOfHeap(h, (uintptr_t)p);
	if (s == NULL) {
		return false;
	}
	const uintptr_t objIndex = mspan_objIndex(s, (uintptr_t)p);
	if (mspan_isMarked(h, s, objIndex)) {
		return true;
	}
	if (mspan_isFreeOrNewlyAllocated(s, objIndex)) {
		return false;
	}
	mspan_setMarked(h, s, objIndex);
	return true;
}

void gomem_markroots(gomem_heap *h, const gomem_root *roots, size_t n) { gcMarkRoots(h, roots, n); }

bool gomem_isMarked(gomem_heap *h, const void *p) {
	mspan *s = spanOfHeap(h, (uintptr_t)p);
	return s != NULL && mspan_isMarked(h, s, mspan_objIndex(s, (uintptr_t)p));
}

void gomem_gc(gomem_heap *h, gomem_p *p, const gomem_root *roots, size_t n) {
	const bool entered = guard_enter(h, p, "gomem_gc");
	collectGarbage(h, p, roots, n);
	guard_leave(p, entered);
}

// ---- looking

bool gomem_spanOf(gomem_heap *h, uintptr_t addr, gomem_span_info *out) {
	guard_enter(h, NULL, "gomem_spanOf");
	mspan *s = spanOf(h, addr);
	// A page that is free still names the span it was in, whose structure may describe other pages by now.
	if (s == NULL || mspan_state(s) == mSpanDead || addr < mspan_base(s) ||
		addr - mspan_base(s) >= s->npages << layout_get(&h->env)->pageShift) {
		return false;
	}
	*out = (gomem_span_info){
		.base = mspan_base(s),
		.npages = s->npages,
		.elemsize = s->elemsize,
		.nelems = s->nelems,
		.alloc_count = s->allocCount,
		.spanclass = s->spanclass,
		.state = mspan_state(s),
		.needzero = s->needzero != 0,
	};
	return true;
}

uintptr_t gomem_findObject(gomem_heap *h, uintptr_t addr) {
	guard_enter(h, NULL, "gomem_findObject");
	mspan *s = spanOfHeap(h, addr);
	return s == NULL ? 0 : mspan_base(s) + mspan_objIndex(s, addr) * s->elemsize;
}

void gomem_readmemstats(gomem_heap *h, gomem_memstats *out) {
	guard_enter(h, NULL, "gomem_readmemstats");
	readmemstats(h, out);
}

// ---- checks

static const char *checkCaches(gomem_heap *h) {
	const char *bad = h->mcache0 != NULL ? mcache_check(h, h->mcache0) : NULL;
	for (int32_t i = 0; i < h->nallp && bad == NULL; i++) {
		const gomem_p *p = h->allp[i];
		if (p_isAlive(p)) {
			bad = p->ways == p_wantedWays(h, p) ? mcache_check(h, p->mcache) : "P: ways do not follow the phase";
		}
	}
	return bad;
}

typedef struct checkCtx {
	jmp_buf env;
	const char *msg;
} checkCtx;

static void checkThrew(void *ctx, const char *msg) {
	checkCtx *c = ctx;
	c->msg = msg;
	longjmp(c->env, 1);
}

// checkPages: pageAlloc_check throws, so for its time a throw comes back here.
static const char *checkPages(gomem_heap *h, checkCtx *ctx) {
	if (setjmp(ctx->env) == 0) {
		pageAlloc_check(&h->env, &h->pages);
	}
	return ctx->msg;
}

const char *gomem_heap_check(gomem_heap *h) {
	guard_enter(h, NULL, "gomem_heap_check");
	checkCtx ctx = {.msg = NULL};
	void (*const throwHook)(void *, const char *) = h->env.throwHook;
	void *const throwCtx = h->env.throwCtx;
	h->env.throwHook = checkThrew;
	h->env.throwCtx = &ctx;
	lock(&h->env, &h->lock);
	const char *bad = checkPages(h, &ctx);
	unlock(&h->env, &h->lock);
	h->env.throwHook = throwHook;
	h->env.throwCtx = throwCtx;
	if (bad == NULL) {
		bad = mheap_check(h);
	}
	if (bad == NULL) {
		bad = checkCaches(h);
	}
	return bad != NULL ? bad : stack_check(h);
}
