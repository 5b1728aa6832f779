// fuzz_contradict.c: a heap that contradicts itself, or is asked for what it must not do, throws, and says why, before it does harm.
//
// A program names one contradiction after some allocations. It is made, the call that must notice it is made, and the run ends there: the
// heap is lost.
#include "fuzz/fuzz.h"

#include <errno.h>
#include <stdlib.h>

#include "fuzz/fuzz_heap.h"
#include "fuzz/fuzz_os.h"

// The objects that a program makes are of other classes than those that contradictions are about.
typedef struct state {
	gomem_heap *h;
	gomem_p *p;
	mcache *c;
	gomem_env *env;
	mspan *objects, *pages; // eight slots of 1 KiB, one of which is taken; two manual pages
	uintptr_t stack;
	gomem_layout other; // for a contradiction in the layout
	gomem_os broken;
	fuzz_guard guard;
} state;

enum { spc1024 = 32 << 1 | 1, pageBytes = 8192 };

static void mallocSome(state *s) { gomem_mallocgc(s->h, s->p, 1024, NULL, false); }
static mcentral *central(state *s) { return &s->h->central[spc1024].mcentral; }

// ---- spans of objects

static void fullButNotCounted(state *s) {
	s->objects->freeindex = s->objects->nelems;
	s->objects->allocCache = 0;
	mallocSome(s);
}

// The last slot of 64 is not taken by the fast path, which does not count.
static void countedButNotFull(state *s) {
	mspan *sp;
	do {
		sp = spanOf(s->h, (uintptr_t)gomem_mallocgc(s->h, s->p, 64, NULL, false));
	} while (sp->freeindex % 64 != 63);
	sp->allocCount = sp->nelems;
	gomem_mallocgc(s->h, s->p, 64, NULL, false);
}

static void freeIndexBehind(state *s) {
	s->objects->freeindex = (uint16_t)(s->objects->nelems + 1);
	s->objects->allocCache = 0;
	mallocSome(s);
}

static void noP(state *s) { gomem_mallocgc(s->h, NULL, 8, NULL, false); }

static void refillWithRoom(state *s) { mcache_refill(s->h, s->p, s->c, spc1024); }

static void refillOfUncached(state *s) {
	s->objects->allocCount = s->objects->nelems;
	atomic_store(&s->objects->sweepgen, s->h->sweepgen);
	mcache_refill(s->h, s->p, s->c, spc1024);
}

static void uncacheEmpty(state *s) {
	s->objects->allocCount = 0;
	mcentral_uncacheSpan(s->h, s->p, central(s), s->objects);
}

static void flushedLongAgo(state *s) {
	atomic_store(&s->c->flushGen, s->h->sweepgen + 5);
	mcache_prepareForSweep(s->h, s->p, s->c);
}

static void freeInUse(state *s) { mheap_freeSpan(s->h, s->p, s->objects); }

static void freeDead(state *s) {
	atomic_store(&s->objects->state, mSpanDead);
	mheap_freeSpan(s->h, s->p, s->objects);
}

// ---- sweeping

static void sweepTwice(state *s) { mspan_sweep(s->h, s->p, s->objects, false); }

static void moreLiveThanThereWere(state *s) {
	mspan *sp = s->objects;
	sp->freeindex = sp->nelems;
	sp->allocCount = 1;
	memset(sp->gcmarkBits, 0xff, 1);
	atomic_store(&sp->sweepgen, s->h->sweepgen - 1);
	mspan_sweep(s->h, s->p, sp, false);
}

static void sweeperOfAnotherCycle(state *s) { activeSweep_end(s->h, (sweepLocker){s->h->sweepgen - 2, true}); }
static void sweeperThatDidNotBegin(state *s) {
	atomic_store(&s->h->sweep.active.state, 0);
	activeSweep_end(s->h, (sweepLocker){s->h->sweepgen, true});
}

static void sweeperThatGoesOn(state *s) {
	atomic_fetch_add(&s->h->sweep.active.state, 1);
	finishsweep_m(s->h, s->p);
}

static void acquireWithoutRight(state *s) {
	sweepLocker_tryAcquire(s->h, (sweepLocker){s->h->sweepgen, false}, s->objects, 1);
}

static void acquireManual(state *s) {
	atomic_store(&s->pages->sweepgen, s->h->sweepgen - 2);
	sweepLocker_tryAcquire(s->h, (sweepLocker){s->h->sweepgen, true}, s->pages, 3);
}

// ---- lists and sets of spans

static void removeFromAnotherList(state *s) {
	mSpanList l;
	mSpanList_init(&l);
	mSpanList_remove(s->env, &l, s->pages);
}

static void insertTwice(state *s) {
	mSpanList l;
	mSpanList_init(&l);
	mSpanList_insert(s->env, &l, s->pages);
	mSpanList_insert(s->env, &l, s->pages);
}

static void setOverflows(state *s) {
	spanSet set = {0};
	set.index = UINT32_MAX;
	spanSet_push(s->env, &set, s->pages, 0);
}

static void resetWithUnpopped(state *s) {
	spanSet set = {0};
	spanSet_push(s->env, &set, s->pages, 0);
	set.index = (uint64_t)1 << 32 | 1;
	spanSet_reset(s->env, &set);
}

// ---- manual spans and stacks

static void manualObjects(state *s) { mheap_allocManual(s->h, s->p, 1, spanAllocHeap); }

static void freeStacksInUse(state *s) {
	s->pages->allocCount = 1;
	mheap_freeManual(s->h, s->p, s->pages, spanAllocStack);
}

static void poolWithoutStacks(state *s) {
	spanOf(s->h, s->stack)->manualFreeList = 0;
	stackalloc(s->h, s->p, 2048, true);
}

static void stackOfObjects(state *s) { stackfree(s->h, s->p, mspan_base(s->objects), 2048, true); }
static void largeStackOfObjects(state *s) { stackfree(s->h, s->p, mspan_base(s->objects), 65536, true); }
static void oddStack(state *s) { stackalloc(s->h, s->p, 3000, true); }
static void oddStackBack(state *s) { stackfree(s->h, s->p, s->stack, 3000, true); }

// ---- pages

static pallocData *chunkOfPages(state *s) {
	return pageAlloc_chunkOf(layout_get(s->env), &s->h->pages, chunkIndex(layout_get(s->env), mspan_base(s->pages)));
}

static void allocPages(state *s, uintptr_t n) {
	uintptr_t scav;
	lock(s->env, &s->h->lock);
	pageAlloc_alloc(s->env, &s->h->pages, n, &scav);
}

// The sums say that a page is free, the bits say that none is.
static void fullChunk(state *s) {
	pageBits_setAll(&chunkOfPages(s)->pallocBits.b);
	s->h->pages.searchAddr =
		(offAddr){chunkBase(layout_get(s->env), chunkIndex(layout_get(s->env), mspan_base(s->pages)))};
	allocPages(s, 1);
}

static void fullChunkFromTheTop(state *s) {
	pageBits_setAll(&chunkOfPages(s)->pallocBits.b);
	const gomem_layout *L = layout_get(s->env);
	// From the last page of the chunk on there is no room for two: the search goes down the tree.
	const uintptr_t base = chunkBase(L, chunkIndex(L, mspan_base(s->pages)));
	s->h->pages.searchAddr = (offAddr){base + (pallocChunkPages - 1) * (uintptr_t)pageBytes};
	allocPages(s, 2);
}

static void sumsOfNothing(state *s) {
	const gomem_layout *L = layout_get(s->env);
	pallocSumSlice *leaves = &s->h->pages.summary[L->summaryLevels - 1];
	leaves->p[chunkIndex(L, mspan_base(s->pages))] = 0;
	allocPages(s, 100);
}

static void cacheOutOfPlace(state *s) {
	const pageCache c = {.base = mspan_base(s->pages) + 1, .cache = 1};
	pageCache_check(s->env, &c, &s->h->pages);
}

static uintptr_t blockOfPages(state *s) { return mspan_base(s->pages) & ~(uintptr_t)(64 * pageBytes - 1); }

static void cacheOfFreePages(state *s) {
	pageBits_clearAll(&chunkOfPages(s)->pallocBits.b);
	const pageCache c = {.base = blockOfPages(s), .cache = 1};
	pageCache_check(s->env, &c, &s->h->pages);
}

static void cacheOfScavengedPages(state *s) {
	pageBits_setAll(&chunkOfPages(s)->pallocBits.b);
	pageBits_setAll(&chunkOfPages(s)->scavenged);
	const pageCache c = {.base = blockOfPages(s), .cache = 1, .scav = 1};
	pageCache_check(s->env, &c, &s->h->pages);
}

static void checkRanges(state *s, intptr_t len, uintptr_t from, uintptr_t to, uintptr_t total) {
	addrRange two[2] = {makeAddrRange(s->env, 0x1000, 0x2000), makeAddrRange(s->env, from, to)};
	const addrRanges a = {.ranges = two, .len = len, .cap = 2, .totalBytes = total};
	addrRanges_check(s->env, &a);
}
static void tooManyRanges(state *s) { checkRanges(s, 3, 0x3000, 0x4000, 0x2000); }
static void emptyRange(state *s) { checkRanges(s, 2, 0x3000, 0x3000, 0x1000); }
static void touchingRanges(state *s) { checkRanges(s, 2, 0x2000, 0x3000, 0x2000); }
static void bytesOfRanges(state *s) { checkRanges(s, 2, 0x3000, 0x4000, 0x1000); }

// ---- metadata, locks, Ps, the start

static void allocBeforeInit(state *s) {
	fixalloc f = {0};
	fixalloc_alloc(s->env, &f);
}

static void unlockTwice(state *s) {
	mutex m = {0};
	unlock(s->env, &m);
}

static void withoutLock(state *s) {
	mutex m = {0};
	assertLockHeld(s->env, &m);
}

static void badId(state *s) { p_init(s->h, -1); }
static void noPs(state *s) { procresize(s->h, 0); }

static void noFirstCache(state *s) {
	s->p->mcache = NULL;
	p_init(s->h, 0);
}

static void endWhileMarking(state *s) {
	atomic_store(&s->h->gcphase, gcMark);
	p_destroy(s->h, s->p, s->p);
}

static gomem_layout *otherLayout(state *s) {
	s->other = *layout_get(s->env);
	s->env->layout = &s->other;
	return &s->other;
}

static void tinyIsNoClass(state *s) {
	otherLayout(s)->tinySizeClass = 3;
	mallocinit(s->h);
}
static void headerIsNoClass(state *s) {
	otherLayout(s)->minSizeForMallocHeader = 520;
	mallocinit(s->h);
}
static void headerOfLargeBitmaps(state *s) {
	otherLayout(s)->minSizeForMallocHeader = 576;
	mallocinit(s->h);
}
static void oddStackCache(state *s) {
	otherLayout(s)->stackCacheSize = 2048;
	stackinit(s->h);
}

// ---- an OS that refuses what cannot be refused

static bool refuse(gomem_os *os, void *v, uintptr_t n) {
	(void)os;
	(void)v;
	(void)n;
	errno = EINVAL;
	return false;
}

static void *breakOS(state *s) {
	s->broken = *s->env->os;
	s->broken.map = s->broken.used = s->broken.unused = s->broken.fault = refuse;
	s->env->os = &s->broken;
	return (void *)mspan_base(s->pages);
}
static void cannotRelease(state *s) { sysUnused(s->env, breakOS(s), pageBytes); }
static void cannotRemap(state *s) { sysUsed(s->env, breakOS(s), pageBytes, 0); }
static void cannotProtect(state *s) { sysFault(s->env, breakOS(s), pageBytes); }
static void cannotMap(state *s) { sysMap(s->env, breakOS(s), pageBytes, &s->h->stats.other_sys); }

typedef struct contradiction {
	void (*make)(state *s);
	const char *says;
} contradiction;

#ifdef GOMEM_CHECKED
static const bool isChecked = true;
#else
static const bool isChecked = false;
#endif

static const contradiction contradictions[] = {
	{fullButNotCounted, "s->allocCount != s->nelems && freeIndex == s->nelems"},
	{countedButNotFull, "s->allocCount > s->nelems"},
	{freeIndexBehind, "s->freeindex > s->nelems"},
	{noP, "mallocgc called without a P"},
	{refillWithRoom, "refill of span with free space remaining"},
	{refillOfUncached, "bad sweepgen in refill"},
	{uncacheEmpty, "uncaching span but s->allocCount == 0"},
	{flushedLongAgo, "bad flushGen"},
	{freeInUse, "mheap_freeSpanLocked: invalid free"},
	{freeDead, "mheap_freeSpanLocked: invalid span state"},
	{sweepTwice, "mspan_sweep: bad span state"},
	{moreLiveThanThereWere, "sweep increased allocation count"},
	{sweeperOfAnotherCycle, "sweeper left outstanding"},
	{sweeperThatDidNotBegin, "mismatched begin/end"},
	{sweeperThatGoesOn, "active sweepers found"},
	{acquireWithoutRight, "use of invalid sweepLocker"},
	{acquireManual, "non in-use span in unswept list"},
	{removeFromAnotherList, "mSpanList_remove"},
	{insertTwice, "mSpanList_insert"},
	{setOverflows, "headTailIndex overflow"},
	{resetWithUnpopped, "unpopped elements"},
	{manualObjects, "non-manually-managed type"},
	{freeStacksInUse, "invalid stack free"},
	{poolWithoutStacks, "span has no free stacks"},
	{stackOfObjects, "freeing stack not in a stack span"},
	{largeStackOfObjects, "bad span state"},
	{oddStack, "stack size not a power of 2"},
	{oddStackBack, "stack not a power of 2"},
	{fullChunk, "bad summary data"},
	{fullChunkFromTheTop, "bad summary data"},
	{sumsOfNothing, "bad summary data"},
	{cacheOutOfPlace, "base is not aligned"},
	{cacheOfFreePages, "cached page is free"},
	{cacheOfScavengedPages, "cached page is scavenged"},
	{tooManyRanges, "0 <= len <= cap"},
	{emptyRange, "empty range"},
	{touchingRanges, "not sorted, disjoint and apart"},
	{bytesOfRanges, "totalBytes == sum of sizes"},
	{allocBeforeInit, "before FixAlloc_Init"},
	{unlockTwice, "unlock of unlocked lock"},
	{withoutLock, "lock not held"},
	{badId, "p_init: bad id"},
	{noPs, "procresize: invalid arg"},
	{noFirstCache, "missing mcache"},
	{endWhileMarking, "P destroyed while GC is running"},
	{tinyIsNoClass, "bad tinySizeClass"},
	{headerIsNoClass, "expected all size classes up to min size for malloc header"},
	{headerOfLargeBitmaps, "max pointer bitmap size"},
	{oddStackCache, "cache size must be a multiple of page size"},
	{cannotRelease, "cannot release pages"},
	{cannotRemap, "cannot remap pages"},
	{cannotProtect, "cannot protect pages"},
	{cannotMap, "cannot map pages"},
};
enum { numContradictions = sizeof contradictions / sizeof contradictions[0] };

// ---- a run

static void onThrow(void *ctx, const char *msg) {
	state *s = ctx;
	fuzz_thrown(&s->guard, msg);
}

static void *begin(const uint64_t *config) {
	state *s = calloc(1, sizeof *s);
	fuzz_check(s != NULL, "out of memory");
	const gomem_config cfg = {
		.os = fuzz_os_begin(&(fuzz_os_config){.backed = true}),
		.rand_seed = FUZZ_OS_SEED | 1,
		.no_greentea = (config[0] & 1) != 0,
		.throw_hook = onThrow,
		.throw_ctx = s,
	};
	s->h = gomem_heap_new(&cfg);
	fuzz_check(s->h != NULL, "no heap");
	s->env = &s->h->env;
	s->p = gomem_heap_p(s->h, 0);
	s->c = s->p->mcache;
	s->objects = spanOf(s->h, (uintptr_t)gomem_mallocgc(s->h, s->p, 1024, NULL, false));
	s->pages = mheap_allocManual(s->h, s->p, 2, spanAllocWorkBuf);
	s->stack = stackalloc(s->h, s->p, 2048, true);
	fuzz_check(s->objects != NULL && s->pages != NULL && s->stack != 0, "out of memory");
	return s;
}

static void allocate(void *v, const uint64_t *a) {
	state *s = v;
	fuzz_check(gomem_mallocgc(s->h, s->p, (uintptr_t)a[0], NULL, a[1] != 0) != NULL, "out of memory");
}

typedef struct making {
	state *s;
	const contradiction *c;
} making;

static void make(void *arg) {
	const making *m = arg;
	m->c->make(m->s);
}

static void contradict(void *v, const uint64_t *a) {
	state *s = v;
	making m = {s, &contradictions[a[0]]};
	if (m.c->make == withoutLock && !isChecked) {
		return; // only checked builds ask who holds a lock
	}
	if (!fuzz_throws(&s->guard, make, &m)) {
		fuzz_fail("it is not noticed: %s", m.c->says);
	}
	if (strstr(s->guard.msg, m.c->says) == NULL) {
		fuzz_fail("noticed as something else: %s, not %s", s->guard.msg, m.c->says);
	}
	fuzz_give_up();
}

static void end(void *v) {
	state *s = v;
	gomem_heap_destroy(s->h);
	fuzz_equal("bytes that a heap that is gone holds", fuzz_os_held(), 0);
	free(s);
}

static void abandon(void *v) {
	state *s = v;
	fuzz_heap_forget(s->h);
	free(s);
}

static const fuzz_op_info ops[] = {
	{"malloc", {{"size", 2, FUZZ_SIZE, 896}, {"zero", 1, FUZZ_ANY, 1}}, allocate},
	{"contradict", {{"which", 1, FUZZ_ANY, numContradictions - 1}}, contradict},
};

FUZZ_TARGET(contradict) = {
	.name = "contradict",
	.what = "what contradicts itself, or must not be asked for, throws and says why",
	.config = {{"nogreentea", 1, FUZZ_ANY, 1}},
	.ops = ops,
	.nops = sizeof ops / sizeof ops[0],
	.max_ops = 8,
	.begin = begin,
	.end = end,
	.abandon = abandon,
};
