// mheap.c (layer 4): the page heap: spans of pages, arenas, growth. Ports mheap.go and the address-space half of malloc.go.
//
// Pages for a span come from the P's page cache (fewer than 16 pages), else from the page allocator under the heap lock, else the heap
// grows: a whole number of chunks from the current arena, or new arenas at the next hint. The invariants stand in mheap.h.
#include "gomem/mheap.h"

#include "gomem/mbitmap.h"

// ---- lists of spans

void mSpanList_init(mSpanList *l) {
	l->first = NULL;
	l->last = NULL;
}

void mSpanList_remove(gomem_env *env, mSpanList *l, mspan *s) {
	if (s->list != l) {
		gomem_throw(env, "mSpanList_remove: span is not in this list");
	}
	if (l->first == s) {
		l->first = s->next;
	} else {
		s->prev->next = s->next;
	}
	if (l->last == s) {
		l->last = s->prev;
	} else {
		s->next->prev = s->prev;
	}
	s->next = NULL;
	s->prev = NULL;
	s->list = NULL;
}

static void mSpanList_claim(gomem_env *env, mSpanList *l, mspan *s) {
	if (s->next != NULL || s->prev != NULL || s->list != NULL) {
		gomem_throw(env, "mSpanList_insert: span is in a list already");
	}
	s->list = l;
}

void mSpanList_insert(gomem_env *env, mSpanList *l, mspan *s) {
	mSpanList_claim(env, l, s);
	s->next = l->first;
	if (l->first != NULL) {
		l->first->prev = s;
	} else {
		l->last = s;
	}
	l->first = s;
}

void mSpanList_insertBack(gomem_env *env, mSpanList *l, mspan *s) {
	mSpanList_claim(env, l, s);
	s->prev = l->last;
	if (l->last != NULL) {
		l->last->next = s;
	} else {
		l->first = s;
	}
	l->last = s;
}

void mSpanList_takeAll(mSpanList *l, mSpanList *other) {
	if (mSpanList_isEmpty(other)) {
		return;
	}
	for (mspan *s = other->first; s != NULL; s = s->next) {
		s->list = l;
	}
	if (mSpanList_isEmpty(l)) {
		*l = *other;
	} else {
		other->last->next = l->first;
		l->first->prev = other->last;
		l->first = other->first;
	}
	mSpanList_init(other);
}

// ---- the arena index

static _Atomic(heapArena *) *mheap_l2(mheap *h, uintptr_t l1) {
	return (_Atomic(heapArena *) *)atomic_load_explicit(&h->arenas[l1], memory_order_acquire);
}

heapArena *mheap_arenaAt(mheap *h, arenaIdx ai) {
	const gomem_layout *L = layout_get(&h->env);
	if (ai >> (L->arenaL1Bits + L->arenaL2Bits) != 0) {
		return NULL;
	}
	_Atomic(heapArena *) *l2 = mheap_l2(h, arenaIdx_l1(L, ai));
	if (l2 == NULL) {
		return NULL;
	}
	return atomic_load_explicit(&l2[arenaIdx_l2(L, ai)], memory_order_acquire);
}

heapArena *heapArenaOf(mheap *h, uintptr_t p) { return mheap_arenaAt(h, arenaIndex(layout_get(&h->env), p)); }

static inline uintptr_t arenaPage(const gomem_layout *L, uintptr_t p) {
	return (p >> L->pageShift) & ((uintptr_t)layout_pagesPerArena(L) - 1);
}

mspan *spanOf(mheap *h, uintptr_t p) {
	heapArena *ha = heapArenaOf(h, p);
	return ha == NULL ? NULL : ha->spans[arenaPage(layout_get(&h->env), p)];
}

mspan *spanOfUnchecked(mheap *h, uintptr_t p) {
	const gomem_layout *L = layout_get(&h->env);
	arenaIdx ai = arenaIndex(L, p);
	heapArena *ha = atomic_load_explicit(&mheap_l2(h, arenaIdx_l1(L, ai))[arenaIdx_l2(L, ai)], memory_order_relaxed);
	return ha->spans[arenaPage(L, p)];
}

mspan *spanOfHeap(mheap *h, uintptr_t p) {
	mspan *s = spanOf(h, p);
	if (s == NULL || mspan_state(s) != mSpanInUse || p < mspan_base(s) || p >= s->limit) {
		return NULL;
	}
	return s;
}

// A bit of one of heapArena's page bitmaps, for the page at p.
typedef struct pageBit {
	uintptr_t index;
	uint8_t mask;
} pageBit;
static pageBit pageBit_of(const gomem_layout *L, uintptr_t p) {
	uintptr_t page = arenaPage(L, p);
	return (pageBit){page / 8, (uint8_t)(1u << (page % 8))};
}

void spanHasSpecials(mheap *h, mspan *s) {
	pageBit b = pageBit_of(layout_get(&h->env), mspan_base(s));
	atomic_fetch_or(&heapArenaOf(h, mspan_base(s))->pageSpecials[b.index], b.mask);
}

void spanHasNoSpecials(mheap *h, mspan *s) {
	pageBit b = pageBit_of(layout_get(&h->env), mspan_base(s));
	atomic_fetch_and(&heapArenaOf(h, mspan_base(s))->pageSpecials[b.index], (uint8_t)~b.mask);
}

void addspecial(mheap *h, gomem_p *p, mspan *s, special *sp) {
	mspan_ensureSwept(h, p, s);
	lock(&h->env, &s->speciallock);
	special **at = &s->specials;
	while (*at != NULL && ((*at)->offset < sp->offset || ((*at)->offset == sp->offset && (*at)->kind < sp->kind))) {
		at = &(*at)->next;
	}
	sp->next = *at;
	*at = sp;
	spanHasSpecials(h, s);
	unlock(&h->env, &s->speciallock);
}

// ---- set-up

// mheap_roomForSpan makes sure that recordspan, which cannot fail, has room for n more spans.
static bool mheap_roomForSpan(mheap *h, intptr_t n) {
	if (h->allspans.len + n <= h->allspans.cap) {
		return true;
	}
	intptr_t cap = 64 * 1024 / (intptr_t)sizeof(mspan *);
	if (cap < h->allspans.cap * 3 / 2) {
		cap = h->allspans.cap * 3 / 2;
	}
	mspan **fresh = sysAlloc(&h->env, (uintptr_t)cap * sizeof(mspan *), &h->stats.other_sys);
	if (fresh == NULL) {
		return false;
	}
	if (h->allspans.len > 0) {
		memcpy(fresh, h->allspans.p, (size_t)h->allspans.len * sizeof(mspan *));
		sysFree(&h->env, h->allspans.p, (uintptr_t)h->allspans.cap * sizeof(mspan *), &h->stats.other_sys);
	}
	h->allspans.p = fresh;
	h->allspans.cap = cap;
	return true;
}

static void recordspan(void *vh, void *p) {
	mheap *h = vh;
	h->allspans.p[h->allspans.len++] = p;
}

static bool mheap_arenaMapped(void *ctx, uintptr_t addr) { return heapArenaOf(ctx, addr) != NULL; }

bool mheap_init(mheap *h) {
	gomem_env *env = &h->env;
	env->arenaMapped = mheap_arenaMapped;
	env->arenaCtx = h;
	fixalloc_init(env, &h->spanalloc, sizeof(mspan), recordspan, h, &h->stats.mspan_sys);
	// A span's structure keeps its contents when it is handed out again: stale pointers may still read its sweepgen.
	h->spanalloc.zero = false;
	fixalloc_init(env, &h->arenaHintAlloc, sizeof(arenaHint), NULL, NULL, &h->stats.other_sys);
	for (int i = 0; i < maxSpanClasses; i++) {
		mcentral_init(&h->central[i].mcentral, (spanClass)i);
	}
	return pageAlloc_init(env, &h->pages, &h->lock, &h->stats.gcMiscSys, false);
}

static uintptr_t arenaL2Size(const gomem_layout *L) { return sizeof(heapArena *) << L->arenaL2Bits; }

// mheap_freeArenas returns each arena's address space, arenas that touch in one call.
static void mheap_freeArenas(mheap *h) {
	const gomem_layout *L = layout_get(&h->env);
	sysMemStat ignored = {0};
	for (intptr_t i = 0; i < h->heapArenas.len; i++) {
		uintptr_t base = arenaBase(L, h->heapArenas.p[i]);
		sysFree(&h->env, (void *)base, (uintptr_t)L->heapArenaBytes, &ignored);
	}
	if (h->arena.end > h->arena.next) { // what 32-bit platforms reserve and did not use
		sysFree(&h->env, (void *)h->arena.next, h->arena.end - h->arena.next, &ignored);
	}
}

void mheap_destroy(mheap *h) {
	gomem_env *env = &h->env;
	mheap_freeArenas(h);
	for (int i = 0; i < arenaL1Max; i++) {
		void *l2 = (void *)mheap_l2(h, (uintptr_t)i);
		if (l2 != NULL) {
			env->os->free(env->os, l2, arenaL2Size(layout_get(env)));
		}
	}
	if (h->allspans.p != NULL) {
		sysFree(env, h->allspans.p, (uintptr_t)h->allspans.cap * sizeof(mspan *), &h->stats.other_sys);
	}
	heapMem_destroy(env, &h->side);
	gcBitsArenas_destroy(env, &h->gcBitsArenas);
	pageAlloc_destroy(env, &h->pages);
	persistentalloc_destroy(env);
}

uint64_t mheap_nextHeapRandBits(mheap *h, int bits) {
	if (bits > h->heapRandSeedBitsRemaining) {
		gomem_throw(&h->env, "not enough heapRandSeed bits remaining");
	}
	if (bits == 0) {
		return 0; // an arena of one chunk has no bits to draw; a shift by 64 is 0 in Go, and undefined here
	}
	uint64_t r = h->heapRandSeed >> (64 - bits);
	h->heapRandSeed <<= bits;
	h->heapRandSeedBitsRemaining -= bits;
	return r;
}

// ---- address space

static bool arenaList_append(mheap *h, arenaList *list, arenaIdx ai) {
	if (list->len == list->cap) {
		uintptr_t size = 2 * (uintptr_t)list->cap * sizeof(arenaIdx);
		if (size == 0) {
			size = h->env.physPageSize;
		}
		// The old array stays: sweepArenas may be a snapshot of it.
		arenaIdx *fresh = persistentalloc(&h->env, size, sizeof(arenaIdx), &h->stats.gcMiscSys);
		if (fresh == NULL) {
			return false;
		}
		if (list->len > 0) {
			memcpy(fresh, list->p, (size_t)list->len * sizeof(arenaIdx));
		}
		list->p = fresh;
		list->cap = (intptr_t)(size / sizeof(arenaIdx));
	}
	list->p[list->len++] = ai;
	return true;
}

static _Atomic(heapArena *) *mheap_l2OrNew(mheap *h, uintptr_t l1) {
	_Atomic(heapArena *) *l2 = mheap_l2(h, l1);
	if (l2 != NULL) {
		return l2;
	}
	gomem_env *env = &h->env;
	uintptr_t size = arenaL2Size(layout_get(env));
	l2 = env->os->alloc(env->os, size);
	if (l2 == NULL) {
		return NULL;
	}
	if (h->arenasHugePages) {
		env->os->hugePage(env->os, (void *)l2, size);
	} else {
		env->os->noHugePage(env->os, (void *)l2, size);
	}
	atomic_store_explicit(&h->arenas[l1], (uintptr_t)l2, memory_order_release);
	return l2;
}

// mheap_newArena makes the metadata of one arena.
static bool mheap_newArena(mheap *h, arenaIdx ri, arenaList *list) {
	const gomem_layout *L = layout_get(&h->env);
	_Atomic(heapArena *) *l2 = mheap_l2OrNew(h, arenaIdx_l1(L, ri));
	if (l2 == NULL) {
		return false;
	}
	_Atomic(heapArena *) *slot = &l2[arenaIdx_l2(L, ri)];
	if (atomic_load_explicit(slot, memory_order_relaxed) != NULL) {
		gomem_throw(&h->env, "arena already initialized");
	}
	const uintptr_t size = heapArena_size(L);
	heapArena *r = linearAlloc_alloc(&h->env, &h->heapArenaAlloc, size, sizeof(void *), &h->stats.gcMiscSys);
	if (r == NULL) {
		r = persistentalloc(&h->env, size, sizeof(void *), &h->stats.gcMiscSys);
	}
	if (r == NULL || !arenaList_append(h, list, ri)) {
		return false;
	}
	atomic_store_explicit(slot, r, memory_order_release);
	return true;
}

bool mheap_pushHint(mheap *h, arenaHint **list, uintptr_t addr, bool down) {
	arenaHint *hint = fixalloc_alloc(&h->env, &h->arenaHintAlloc);
	if (hint == NULL) {
		return false;
	}
	*hint = (arenaHint){.addr = addr, .down = down, .next = *list};
	*list = hint;
	return true;
}

// mheap_reserveAtHints tries the hints in order and drops those that the OS refuses. NULL: none is left.
static void *mheap_reserveAtHints(mheap *h, uintptr_t n, arenaHint **hintList) {
	const gomem_layout *L = layout_get(&h->env);
	while (*hintList != NULL) {
		arenaHint *hint = *hintList;
		uintptr_t p = hint->down ? hint->addr - n : hint->addr;
		void *v = NULL;
		if (layout_uintptr(L, p + n) >= p && arenaIndex(L, p + n - 1) >> (L->arenaL1Bits + L->arenaL2Bits) == 0) {
			v = sysReserve(&h->env, (void *)p, n, MEM_HEAP);
			lab_event(&h->env, EV_RESERVE, p, n, 0, (uintptr_t)v);
		}
		if (v != NULL && (uintptr_t)v == p) {
			hint->addr = hint->down ? p : p + n;
			return v;
		}
		if (v != NULL) {
			sysUnreserve(&h->env, v, n);
		}
		*hintList = hint->next;
		fixalloc_free(&h->env, &h->arenaHintAlloc, hint);
	}
	return NULL;
}

// mheap_reserveAnywhere takes what the OS gives, and continues there next time, upwards and then downwards.
static void *mheap_reserveAnywhere(mheap *h, uintptr_t n, uintptr_t *size) {
	const gomem_layout *L = layout_get(&h->env);
	void *v = sysReserveAligned(&h->env, NULL, n, (uintptr_t)L->heapArenaBytes, size, MEM_HEAP);
	lab_event(&h->env, EV_RESERVE, 0, n, *size, (uintptr_t)v);
	if (v == NULL) {
		return NULL;
	}
	if (!mheap_pushHint(h, &h->arenaHints, (uintptr_t)v, true) ||
		!mheap_pushHint(h, &h->arenaHints, (uintptr_t)v + *size, false)) {
		sysUnreserve(&h->env, v, *size);
		return NULL;
	}
	return v;
}

static const char *badArenaRange(const gomem_layout *L, uintptr_t p, uintptr_t size) {
	unsigned bits = (unsigned)L->arenaL1Bits + L->arenaL2Bits;
	if (layout_uintptr(L, p + size) < p) {
		return "memory reservation exceeds address space limit: region exceeds uintptr range";
	}
	if (arenaIndex(L, p) >> bits != 0) {
		return "memory reservation exceeds address space limit: base outside usable address space";
	}
	if (arenaIndex(L, p + size - 1) >> bits != 0) {
		return "memory reservation exceeds address space limit: end outside usable address space";
	}
	if ((p & (uintptr_t)(L->heapArenaBytes - 1)) != 0) {
		return "misrounded allocation in sysAlloc";
	}
	return NULL;
}

void *mheap_sysAlloc(mheap *h, uintptr_t n, arenaHint **hintList, arenaList *list, uintptr_t *size) {
	const gomem_layout *L = layout_get(&h->env);
	assertLockHeld(&h->env, &h->lock);
	uintptr_t asked = n;
	n = (uintptr_t)alignUp(n, L->heapArenaBytes);
	*size = n;
	void *v = NULL;
	if (hintList == &h->arenaHints) {
		v = linearAlloc_alloc(&h->env, &h->arena, n, (uintptr_t)L->heapArenaBytes, &h->stats.heapReleased);
	}
	if (v == NULL) {
		v = mheap_reserveAtHints(h, n, hintList);
	}
	if (v == NULL) {
		v = mheap_reserveAnywhere(h, n, size);
	}
	if (v == NULL) {
		return NULL;
	}
	const char *bad = badArenaRange(L, (uintptr_t)v, *size);
	if (bad != NULL) {
		gomem_throw(&h->env, bad);
	}
	arenaIdx last = arenaIndex(L, (uintptr_t)v + *size - 1);
	for (arenaIdx ri = arenaIndex(L, (uintptr_t)v); ri <= last; ri++) {
		if (!mheap_newArena(h, ri, list)) {
			// DEVIATION(D01): Go throws. Arenas that have metadata stay in the index, unused; the rest goes back.
			uintptr_t done = arenaBase(L, ri) - (uintptr_t)v;
			sysUnreserve(&h->env, (void *)arenaBase(L, ri), *size - done);
			return NULL;
		}
	}
	lab_event(&h->env, EV_ARENA, (uintptr_t)v, *size, asked, 0);
	return v;
}

void mheap_enableMetadataHugePages(mheap *h) {
	gomem_env *env = &h->env;
	pageAlloc_enableChunkHugePages(env, &h->pages);
	lock(env, &h->lock);
	bool already = h->arenasHugePages;
	h->arenasHugePages = true;
	unlock(env, &h->lock);
	if (already) {
		return;
	}
	for (int i = 0; i < arenaL1Max; i++) {
		void *l2 = (void *)mheap_l2(h, (uintptr_t)i);
		if (l2 != NULL) {
			env->os->hugePage(env->os, l2, arenaL2Size(layout_get(env)));
		}
	}
}

// ---- growth

// mheap_addPages hands [base, base+size) of the current arena to the page allocator. false: it stays Reserved.
static bool mheap_addPages(mheap *h, uintptr_t base, uintptr_t size) {
	gomem_env *env = &h->env;
	if (!sysMap(env, (void *)base, size, &h->stats.heapReleased)) {
		return false;
	}
	if (!pageAlloc_grow(env, &h->pages, base, size)) {
		sysUnmap(env, (void *)base, size, &h->stats.heapReleased);
		return false;
	}
	atomic_fetch_add_explicit(&h->stats.heapStats.released, (int64_t)size, memory_order_relaxed);
	lab_event(env, EV_PGROW, base, size, 0, 0);
	return true;
}

// mheap_nextArena makes a new arena the current one; *grown: bytes of the old one that were handed out with it.
static bool mheap_nextArena(mheap *h, uintptr_t ask, bool firstGrow, uintptr_t *grown) {
	const gomem_layout *L = layout_get(&h->env);
	uintptr_t asize = 0;
	uintptr_t av = (uintptr_t)mheap_sysAlloc(h, ask, &h->arenaHints, &h->heapArenas, &asize);
	if (av == 0) {
		return false;
	}
	if (av == h->curArena.end) {
		h->curArena.end = av + asize;
		return true;
	}
	uintptr_t rest = h->curArena.end - h->curArena.base;
	if (rest != 0) {
		if (!mheap_addPages(h, h->curArena.base, rest)) {
			return false;
		}
		*grown += rest;
	}
	h->curArena.base = av;
	h->curArena.end = av + asize;
	if (firstGrow && h->env.randomizeHeapBase) {
		uint64_t offset = mheap_nextHeapRandBits(h, (int)(L->logHeapArenaBytes - layout_logChunkBytes(L)));
		uint64_t base = h->curArena.base | (offset << layout_logChunkBytes(L));
		// DEVIATION(D17): Go's first growth is one chunk and always fits behind the offset. Here the first request may be large.
		if (base + ask <= h->curArena.end) {
			h->curArena.base = (uintptr_t)base;
		}
	}
	return true;
}

static void mheap_padRandomly(mheap *h, uintptr_t v) {
	const gomem_layout *L = layout_get(&h->env);
	uintptr_t npages = (uintptr_t)(mheap_nextHeapRandBits(h, (int)layout_logChunkBytes(L)) >> L->pageShift);
	if (npages == 0) {
		return;
	}
	pageAlloc_markRandomPaddingPages(&h->env, &h->pages, v, npages);
	lab_event(&h->env, EV_RANDPAD, v, npages, 0, 0);
}

uintptr_t mheap_grow(mheap *h, uintptr_t npage, bool *ok) {
	const gomem_layout *L = layout_get(&h->env);
	assertLockHeld(&h->env, &h->lock);
	*ok = false;
	bool firstGrow = h->curArena.base == 0;
	const uint64_t whole = alignUp(npage, layout_chunkPages(L)) << L->pageShift;
	const uintptr_t ask = (uintptr_t)whole;
	if (ask != whole) {
		return 0; // more than a word holds
	}
	uintptr_t totalGrowth = 0;
	uintptr_t end = h->curArena.base + ask;
	uintptr_t nBase = (uintptr_t)alignUp(end, h->env.physPageSize);
	if (nBase > h->curArena.end || end < h->curArena.base) {
		if (!mheap_nextArena(h, ask, firstGrow, &totalGrowth)) {
			return 0;
		}
		nBase = (uintptr_t)alignUp(h->curArena.base + ask, h->env.physPageSize);
	}
	uintptr_t v = h->curArena.base;
	if (!mheap_addPages(h, v, nBase - v)) {
		return 0;
	}
	h->curArena.base = nBase;
	if (firstGrow && h->env.randomizeHeapBase) {
		mheap_padRandomly(h, v);
	}
	*ok = true;
	return totalGrowth + (nBase - v);
}

// ---- structures of spans

static mspan *mheap_tryAllocMSpan(gomem_p *p) {
	if (p == NULL || p->mspancache.len == 0) {
		return NULL;
	}
	return p->mspancache.buf[--p->mspancache.len];
}

static mspan *mheap_newMSpan(mheap *h) {
	return mheap_roomForSpan(h, 1) ? fixalloc_alloc(&h->env, &h->spanalloc) : NULL;
}

static mspan *mheap_allocMSpanLocked(mheap *h, gomem_p *p) {
	assertLockHeld(&h->env, &h->lock);
	if (p == NULL) {
		return mheap_newMSpan(h);
	}
	if (p->mspancache.len == 0) {
		const intptr_t refillCount = mspanCacheLen / 2;
		while (p->mspancache.len < refillCount) {
			mspan *s = mheap_newMSpan(h);
			if (s == NULL) {
				break;
			}
			p->mspancache.buf[p->mspancache.len++] = s;
		}
	}
	return mheap_tryAllocMSpan(p);
}

static void mheap_freeMSpanLocked(mheap *h, gomem_p *p, mspan *s) {
	assertLockHeld(&h->env, &h->lock);
	if (p != NULL && p->mspancache.len < mspanCacheLen) {
		p->mspancache.buf[p->mspancache.len++] = s;
		return;
	}
	fixalloc_free(&h->env, &h->spanalloc, s);
}

// ---- allocation of spans

bool mheap_allocNeedsZero(mheap *h, uintptr_t base, uintptr_t npage) {
	const gomem_layout *L = layout_get(&h->env);
	const uintptr_t arenaBytes = (uintptr_t)L->heapArenaBytes;
	bool needZero = false;
	while (npage > 0) {
		heapArena *ha = heapArenaOf(h, base);
		uintptr_t zeroedBase = atomic_load(&ha->zeroedBase);
		uintptr_t from = base & (arenaBytes - 1);
		if (from < zeroedBase) {
			needZero = true;
		}
		uintptr_t to = from + (npage << L->pageShift);
		if (to > arenaBytes) {
			to = arenaBytes;
		}
		while (to > zeroedBase) {
			if (atomic_compare_exchange_strong(&ha->zeroedBase, &zeroedBase, to)) {
				break;
			}
			if (zeroedBase <= to && zeroedBase > from) {
				gomem_throw(&h->env, "potentially overlapping in-use allocations detected");
			}
		}
		base += to - from;
		npage -= (to - from) >> L->pageShift;
	}
	return needZero;
}

// firstUnused: the place in addr's arena from which on nothing was in a span before.
static uintptr_t firstUnused(mheap *h, uintptr_t addr) {
	const uintptr_t arenaBytes = (uintptr_t)layout_get(&h->env)->heapArenaBytes;
	return (uintptr_t)alignDown(addr, arenaBytes) + atomic_load(&heapArenaOf(h, addr)->zeroedBase);
}

static void mheap_setSpans(mheap *h, uintptr_t base, uintptr_t npage, mspan *s) {
	const gomem_layout *L = layout_get(&h->env);
	heapArena *ha = heapArenaOf(h, base);
	for (uintptr_t n = 0; n < npage; n++) {
		uintptr_t i = arenaPage(L, base + (n << L->pageShift));
		if (i == 0) {
			ha = heapArenaOf(h, base + (n << L->pageShift));
		}
		ha->spans[i] = s;
	}
}

static void mspan_init(const gomem_layout *L, mspan *s, uintptr_t base, uintptr_t npages) {
	s->next = NULL;
	s->prev = NULL;
	s->list = NULL;
	s->startAddr = base;
	s->npages = npages;
	s->limit = base + (npages << L->pageShift);
	s->allocCount = 0;
	s->spanclass = 0;
	s->elemsize = 0;
	atomic_store_explicit(&s->speciallock.key, 0, memory_order_relaxed);
	s->specials = NULL;
	s->needzero = 0;
	s->freeindex = 0;
	s->freeIndexForScan = 0;
	s->allocBits = NULL;
	s->gcmarkBits = NULL;
	s->pinnerBits = NULL;
	atomic_store_explicit(&s->state, mSpanDead, memory_order_release);
}

// spanElems: how many objects of a size class fit in a span, beside its inline mark bits and heap bits.
static uint16_t spanElems(const gomem_env *env, uintptr_t nbytes, uintptr_t elemsize, bool noscan) {
	const gomem_layout *L = layout_get(env);
	uintptr_t reserve = 0;
	if (gcUsesSpanInlineMarkBits(env, elemsize)) {
		reserve += (uintptr_t)L->spanInlineMarkBitsSize;
	}
	if (!noscan && heapBitsInSpan(L, elemsize)) {
		reserve += nbytes / L->ptrSize / 8;
	}
	return (uint16_t)((nbytes - reserve) / elemsize);
}

static bool mheap_initObjects(mheap *h, mspan *s, spanClass spc, uintptr_t nbytes) {
	gomem_env *env = &h->env;
	uint8_t sizeclass = spanClass_sizeclass(spc);
	s->spanclass = spc;
	if (sizeclass == 0) {
		s->elemsize = nbytes;
		s->nelems = 1;
		s->divMul = 0;
	} else {
		s->elemsize = layout_classSize(layout_get(env), sizeclass);
		s->nelems = spanElems(env, nbytes, s->elemsize, spanClass_noscan(spc));
		s->divMul = layout_classDivMagic(layout_get(env), sizeclass);
	}
	s->freeindex = 0;
	s->freeIndexForScan = 0;
	s->allocCache = ~(uint64_t)0;
	s->gcmarkBits = newMarkBits(env, &h->gcBitsArenas, s->nelems);
	s->allocBits = newAllocBits(env, &h->gcBitsArenas, s->nelems);
	if (s->gcmarkBits == NULL || s->allocBits == NULL) {
		return false;
	}
	s->limit = mspan_base(s) + s->elemsize * s->nelems;
	atomic_store_explicit(&s->sweepgen, h->sweepgen, memory_order_release);
	atomic_store_explicit(&s->state, mSpanInUse, memory_order_release); // who sees it sees all of the above
	return true;
}

static void mheap_publishObjects(mheap *h, mspan *s) {
	const gomem_layout *L = layout_get(&h->env);
	heapArena *ha = heapArenaOf(h, mspan_base(s));
	pageBit b = pageBit_of(L, mspan_base(s));
	atomic_fetch_or(&ha->pageInUse[b.index], b.mask);
	if (gcUsesSpanInlineMarkBits(&h->env, s->elemsize)) {
		atomic_fetch_or(&ha->pageUseSpanInlineMarkBits[b.index], b.mask);
	}
	atomic_fetch_add(&h->pagesInUse, s->npages);
}

// mheap_initSpan makes s a span of its type. false: no memory for mark bits; s is dead.
static bool mheap_initSpan(
	mheap *h, mspan *s, spanAllocType typ, spanClass spc, uintptr_t base, uintptr_t npages, uintptr_t scav) {
	gomem_env *env = &h->env;
	const gomem_layout *L = layout_get(env);
	uintptr_t nbytes = npages << L->pageShift;
	mspan_init(L, s, base, npages);
	lab_turn(env, EV_NEEDZERO);
	bool needZero = mheap_allocNeedsZero(h, base, npages);
	lab_event(env, EV_NEEDZERO, base, npages, needZero, 0);
	const bool fresh = L->scavengedIsZero && !env->needZeroAfterSysUnused && scav == nbytes;
	if (needZero && !fresh) {
		s->needzero = 1;
	}
	if (spanAllocType_manual(typ)) {
		s->manualFreeList = 0;
		s->nelems = 0;
		atomic_store(&s->state, mSpanManual);
	} else if (!mheap_initObjects(h, s, spc, nbytes)) {
		return false;
	}
	mheap_setSpans(h, base, npages, s);
	if (!spanAllocType_manual(typ)) {
		mheap_publishObjects(h, s);
	}
	atomic_thread_fence(memory_order_release);
	lab_event(env, EV_SPANINIT,
		(uint64_t)typ | (uint64_t)spc << 2 | (uint64_t)s->needzero << 10 | (uint64_t)s->nelems << 11, (uintptr_t)s,
		base, npages | (uint64_t)(scav >> L->pageShift) << 32);
	return true;
}

static _Atomic(uint64_t) *heapStats_ofType(heapStatsDelta *d, spanAllocType typ) {
	switch (typ) {
	case spanAllocHeap:
		return &d->inHeap;
	case spanAllocStack:
		return &d->inStacks;
	case spanAllocWorkBuf:
		return &d->inWorkBufs;
	}
	return &d->inHeap;
}

// mheap_takeHugePage has the OS back by a huge page what lies behind the heap's frontier, when a span reaches it, so that it need not do so page by
// page. DEVIATION(D37): Go leaves it to the OS. Chunks are not smaller than a huge page, so that all of it is mapped. Not for a span that is larger:
// a program may have asked for more than it will touch. Where the OS has none at hand, it is asked again when the heap is four times as large.
static void mheap_takeHugePage(mheap *h, uintptr_t base, uintptr_t nbytes) {
	const uintptr_t size = h->env.physHugePageSize;
	const uintptr_t from = atomic_load_explicit(&h->hugePagesFrom, memory_order_relaxed);
	const uintptr_t inUse = (uintptr_t)atomic_load_explicit(&h->stats.heapInUse.v, memory_order_relaxed);
	if (from == 0 || inUse < from || nbytes > size) {
		return;
	}
	const uintptr_t at = (uintptr_t)alignUp(base, size);
	if (at >= base + nbytes || at < firstUnused(h, at)) {
		return;
	}
	heapMem_putWord(at, 0); // it is zero; but without a page there is nothing to be made huge
	if (!sysHugePageCollapse(&h->env, (void *)at, size)) {
		atomic_store_explicit(&h->hugePagesFrom, 4 * inUse, memory_order_relaxed);
	}
}

// pagesAhead: so many pages behind a span of its page cache p may have backed together with it.
static uintptr_t pagesAhead(const mheap *h, const gomem_p *p, uintptr_t base, uintptr_t npages) {
	const uintptr_t shift = layout_get(&h->env)->pageShift;
	const uintptr_t behind = ((base - p->pcache.base) >> shift) + npages; // their place in the cache
	if (behind >= pageCachePages) {
		return 0;
	}
	const uintptr_t inUse = (uintptr_t)atomic_load_explicit(&h->stats.heapInUse.v, memory_order_relaxed);
	const uintptr_t share = inUse / 16 / (uintptr_t)(h->gomaxprocs > 0 ? h->gomaxprocs : 1);
	const uintptr_t most = (share < h->populateAhead ? share : h->populateAhead) >> shift;
	const uintptr_t run = ctz64(~((p->pcache.cache & p->pcache.scav) >> behind));
	return run < most ? run : most;
}

// mheap_populate has the OS back a span of p's page cache that was never in use, together with some of the pages that p will take next: one call takes
// less time than a page fault for each. DEVIATION(D39): Go waits for the faults. Only for small objects: a program may have asked for a larger one than it
// will touch.
static void mheap_populate(mheap *h, gomem_p *p, uintptr_t base, uintptr_t nbytes) {
	const uintptr_t shift = layout_get(&h->env)->pageShift;
	if (base + nbytes <= p->populatedTo || base < p->unusedFrom) {
		return;
	}
	const uintptr_t ahead = pagesAhead(h, p, base, nbytes >> shift);
	if (ahead == 0) {
		return;
	}
	p->populatedTo = base + nbytes + (ahead << shift);
	sysPopulate(&h->env, (void *)base, p->populatedTo - base);
}

// mheap_commit makes the scav released bytes of pages just taken Ready. false: the OS refuses; then the pages are not handed out again.
static bool mheap_commit(mheap *h, gomem_p *p, uintptr_t base, uintptr_t nbytes, uintptr_t scav) {
	if (scav == 0) {
		return true;
	}
	if (!sysUsed(&h->env, (void *)base, nbytes, scav)) {
		return false;
	}
	mheap_takeHugePage(h, base, nbytes);
	heapMem_retire(&h->env, base, nbytes); // Ready, and still nobody's
	sysMemStat_add(&h->stats.heapReleased, -(int64_t)scav);
	sysMemStat_add(&h->stats.heapFree, (int64_t)scav);
	heapStatsDelta *d = heapStats_of(h, p);
	atomic_fetch_add_explicit(&d->committed, (int64_t)scav, memory_order_relaxed);
	atomic_fetch_add_explicit(&d->released, -(int64_t)scav, memory_order_relaxed);
	return true;
}

// mheap_accountAlloc counts pages that leave the free state.
static void mheap_accountAlloc(mheap *h, gomem_p *p, uintptr_t nbytes, spanAllocType typ) {
	sysMemStat_add(&h->stats.heapFree, -(int64_t)nbytes);
	if (typ == spanAllocHeap) {
		sysMemStat_add(&h->stats.heapInUse, (int64_t)nbytes);
	}
	heapStats_add(p, heapStats_ofType(heapStats_of(h, p), typ), nbytes);
}

static void mheap_accountFree(mheap *h, gomem_p *p, uintptr_t nbytes, spanAllocType typ) {
	sysMemStat_add(&h->stats.heapFree, (int64_t)nbytes);
	if (typ == spanAllocHeap) {
		sysMemStat_add(&h->stats.heapInUse, -(int64_t)nbytes);
	}
	heapStats_add(p, heapStats_ofType(heapStats_of(h, p), typ), -(uint64_t)nbytes);
}

// mheap_giveBack undoes an allocation that found no memory for its metadata. s and, if it is 0, base may be missing.
static mspan *mheap_giveBack(mheap *h, gomem_p *p, mspan *s, uintptr_t base, uintptr_t npages) {
	gomem_env *env = &h->env;
	lock(env, &h->lock);
	if (base != 0) {
		pageAlloc_free(env, &h->pages, base, npages);
	}
	if (s != NULL) {
		mheap_freeMSpanLocked(h, p, s);
	}
	unlock(env, &h->lock);
	return NULL;
}

// mheap_takeCached serves a small request from p's page cache. 0: no run of that length is there.
static uintptr_t mheap_takeCached(mheap *h, gomem_p *p, uintptr_t npages, uintptr_t *scav) {
	gomem_env *env = &h->env;
	pageCache *c = &p->pcache;
	if (pageCache_empty(c)) {
		lockTurn(env, &h->lock, EV_PCREFILL);
		*c = pageAlloc_allocToCache(env, &h->pages);
		p->unusedFrom = pageCache_empty(c) ? 0 : firstUnused(h, c->base);
		p->populatedTo = 0;
		lab_event(env, EV_PCREFILL, c->base, c->cache, c->scav, 0);
		unlock(env, &h->lock);
	}
	uintptr_t base = pageCache_alloc(layout_get(env), c, npages, scav);
	lab_event(env, EV_PCALLOC, npages, base, *scav, 0);
	return base;
}

static uintptr_t mheap_takePages(mheap *h, uintptr_t npages, uintptr_t *scav) {
	gomem_env *env = &h->env;
	uintptr_t base = pageAlloc_alloc(env, &h->pages, npages, scav);
	lab_event(env, EV_PALLOC, npages, base, *scav, h->pages.searchAddr.a);
	return base;
}

// mheap_findFree looks for npages and takes none.
// DEVIATION(D18): behind the last chunk nothing is free. Go searches there too, in summaries that may not be mapped.
static uintptr_t mheap_findFree(mheap *h, uintptr_t npages) {
	offAddr ignored;
	const bool full = chunkIndex(layout_get(&h->env), h->pages.searchAddr.a) >= h->pages.end;
	return full ? 0 : pageAlloc_find(&h->env, &h->pages, npages, &ignored);
}

// mheap_takeAligned serves stacks on systems that want them aligned to physical pages.
static uintptr_t mheap_takeAligned(mheap *h, uintptr_t npages, uintptr_t *scav, uintptr_t *growth) {
	gomem_env *env = &h->env;
	uintptr_t extra = env->physPageSize >> layout_get(env)->pageShift;
	uintptr_t base = mheap_findFree(h, npages + extra);
	if (base == 0) {
		bool ok;
		*growth = mheap_grow(h, npages + extra, &ok);
		if (!ok) {
			return 0;
		}
		base = mheap_findFree(h, npages + extra);
		if (base == 0) {
			gomem_throw(env, "grew heap, but no adequate free space found");
		}
	}
	base = (uintptr_t)alignUp(base, env->physPageSize);
	*scav = pageAlloc_allocRange(env, &h->pages, base, npages);
	return base;
}

static uintptr_t mheap_takeLocked(mheap *h, uintptr_t npages, uintptr_t *scav, uintptr_t *growth) {
	uintptr_t base = mheap_takePages(h, npages, scav);
	// DEVIATION(D17): a second growth only after the heap's first, whose random padding can leave too few pages. Go's first
	// request is for one page, which always fits.
	for (int growths = 0; base == 0; growths++) {
		if (growths == 2) {
			gomem_throw(&h->env, "grew heap, but no adequate free space found");
		}
		bool ok;
		*growth += mheap_grow(h, npages, &ok);
		if (!ok) {
			return 0;
		}
		base = mheap_takePages(h, npages, scav);
	}
	return base;
}

mspan *mheap_allocSpan(mheap *h, gomem_p *p, uintptr_t npages, spanAllocType typ, spanClass spc) {
	gomem_env *env = &h->env;
	const gomem_layout *L = layout_get(env);
	uintptr_t base = 0, scav = 0, growth = 0;
	mspan *s = NULL;
	bool aligned = L->physPageAlignedStacks && typ == spanAllocStack && layout_pageSize(L) < env->physPageSize;
	if (!aligned && p != NULL && npages < L->pageCacheSpanPages) {
		base = mheap_takeCached(h, p, npages, &scav);
		if (base != 0) {
			s = mheap_tryAllocMSpan(p);
		}
	}
	if (s == NULL) {
		lockTurn(env, &h->lock, base == 0 ? EV_NONE : EV_MSPANALLOC);
		if (aligned) {
			base = mheap_takeAligned(h, npages, &scav, &growth);
		} else if (base == 0) {
			base = mheap_takeLocked(h, npages, &scav, &growth);
		}
		if (base != 0) {
			s = mheap_allocMSpanLocked(h, p);
			lab_event(env, EV_MSPANALLOC, 0, (uintptr_t)s, 0, 0);
		}
		unlock(env, &h->lock);
	}
	if (base == 0) {
		return NULL;
	}
	if (s != NULL && h->policy.scavengeAssist != NULL) {
		h->policy.scavengeAssist(h->policy.ctx, h, p, scav, growth);
	}
	const uintptr_t nbytes = npages << L->pageShift;
	if (!mheap_commit(h, p, base, nbytes, scav)) {
		return mheap_giveBack(h, p, s, 0, 0);
	}
	if (scav != 0 && p != NULL && spanClass_sizeclass(spc) != 0 && h->populateAhead != 0) {
		mheap_populate(h, p, base, nbytes);
	}
	if (s == NULL || !mheap_initSpan(h, s, typ, spc, base, npages, scav)) {
		return mheap_giveBack(h, p, s, base, npages);
	}
	mheap_accountAlloc(h, p, nbytes, typ);
	return s;
}

mspan *mheap_alloc(mheap *h, gomem_p *p, uintptr_t npages, spanClass spc) {
	if (h->policy.reclaim != NULL) {
		h->policy.reclaim(h->policy.ctx, h, p, npages);
	} else if (!isSweepDone(h)) {
		mheap_reclaim(h, p, npages);
	}
	return mheap_allocSpan(h, p, npages, spanAllocHeap, spc);
}

mspan *mheap_allocManual(mheap *h, gomem_p *p, uintptr_t npages, spanAllocType typ) {
	if (!spanAllocType_manual(typ)) {
		gomem_throw(&h->env, "manual span allocation called with non-manually-managed type");
	}
	mspan *s = mheap_allocSpan(h, p, npages, typ, 0);
	if (s != NULL) {
		heapMem_grant(&h->env, mspan_base(s), npages << layout_get(&h->env)->pageShift, false);
	}
	return s;
}

// ---- freeing

static void mheap_retireObjects(mheap *h, mspan *s) {
	const gomem_layout *L = layout_get(&h->env);
	if (s->allocCount != 0 || atomic_load(&s->sweepgen) != h->sweepgen) {
		gomem_throw(&h->env, "mheap_freeSpanLocked: invalid free");
	}
	atomic_fetch_sub(&h->pagesInUse, s->npages);
	heapArena *ha = heapArenaOf(h, mspan_base(s));
	pageBit b = pageBit_of(L, mspan_base(s));
	atomic_fetch_and(&ha->pageInUse[b.index], (uint8_t)~b.mask);
	if (gcUsesSpanInlineMarkBits(&h->env, s->elemsize)) {
		atomic_fetch_and(&ha->pageUseSpanInlineMarkBits[b.index], (uint8_t)~b.mask);
	}
}

static void mheap_freeSpanLocked(mheap *h, gomem_p *p, mspan *s, spanAllocType typ) {
	gomem_env *env = &h->env;
	assertLockHeld(env, &h->lock);
	lab_event(env, EV_SPANFREE, (uint64_t)typ, (uintptr_t)s, mspan_base(s), s->npages);
	switch (mspan_state(s)) {
	case mSpanManual:
		if (s->allocCount != 0) {
			gomem_throw(env, "mheap_freeSpanLocked: invalid stack free");
		}
		break;
	case mSpanInUse:
		mheap_retireObjects(h, s);
		break;
	default:
		gomem_throw(env, "mheap_freeSpanLocked: invalid span state");
	}
	const uintptr_t nbytes = s->npages << layout_get(env)->pageShift;
	mheap_accountFree(h, p, nbytes, typ);
	heapMem_retire(env, mspan_base(s), nbytes);
	pageAlloc_free(env, &h->pages, mspan_base(s), s->npages);
	atomic_store(&s->state, mSpanDead);
	mheap_freeMSpanLocked(h, p, s);
}

void mheap_freeSpan(mheap *h, gomem_p *p, mspan *s) {
	lockTurn(&h->env, &h->lock, EV_SPANFREE);
	mheap_freeSpanLocked(h, p, s, spanAllocHeap);
	unlock(&h->env, &h->lock);
}

void mheap_freeManual(mheap *h, gomem_p *p, mspan *s, spanAllocType typ) {
	s->needzero = 1;
	lockTurn(&h->env, &h->lock, EV_SPANFREE);
	mheap_freeSpanLocked(h, p, s, typ);
	unlock(&h->env, &h->lock);
}

// ---- reclaiming pages before the heap grows

bool mheap_reclaimSpan(mheap *h, gomem_p *p, mspan *s) {
	sweepLocker sl = activeSweep_beginGiven(h);
	if (!sl.valid) {
		return false;
	}
	bool freed = sweepLocker_tryAcquire(h, sl, s, 2) && mspan_sweep(h, p, s, false);
	activeSweep_end(h, sl);
	return freed;
}

// reclaimByte sweeps the spans that begin in 8 pages, are in use and have no marked object. Called and left with the heap lock held.
static uintptr_t reclaimByte(mheap *h, gomem_p *p, sweepLocker sl, heapArena *ha, uintptr_t byte) {
	uintptr_t nFreed = 0;
	uint8_t unmarked = (uint8_t)(atomic_load(&ha->pageInUse[byte]) & ~atomic_load(&ha->pageMarks[byte]));
	for (unsigned j = 0; j < 8 && unmarked != 0; j++) {
		if ((unmarked & (1u << j)) == 0) {
			continue;
		}
		mspan *s = ha->spans[byte * 8 + j];
		if (!sweepLocker_tryAcquire(h, sl, s, 2)) {
			continue;
		}
		uintptr_t npages = s->npages;
		unlock(&h->env, &h->lock);
		if (mspan_sweep(h, p, s, false)) {
			nFreed += npages;
		}
		lockTurn(&h->env, &h->lock, EV_NONE);
		unmarked = (uint8_t)(atomic_load(&ha->pageInUse[byte]) & ~atomic_load(&ha->pageMarks[byte]));
	}
	return nFreed;
}

// anyUnmarked: a span that is in use, and has no marked object, begins in one of 64 pages, which begin with those of byte first. (Go looks at 8 pages at a
// time. Most of an arena is not in use, or marked.)
static inline bool anyUnmarked(const heapArena *ha, uintptr_t first) {
	const uint64_t inUse = loadBits64InOrder((const uint8_t *)&ha->pageInUse[first]);
	return (inUse & ~loadBits64InOrder((const uint8_t *)&ha->pageMarks[first])) != 0;
}

static uintptr_t mheap_reclaimChunk(mheap *h, gomem_p *p, uintptr_t pageIdx, uintptr_t n) {
	const gomem_layout *L = layout_get(&h->env);
	uintptr_t nFreed = 0;
	sweepLocker sl = activeSweep_begin(h);
	if (!sl.valid) {
		return 0;
	}
	const uintptr_t pagesPerArena = (uintptr_t)layout_pagesPerArena(L);
	for (uintptr_t i = pageIdx; i < pageIdx + n; i += 64) {
		heapArena *ha = mheap_arenaAt(h, h->sweepArenas.p[i / pagesPerArena]);
		const uintptr_t first = i % pagesPerArena / 8;
		for (unsigned j = 0; j < 8 && anyUnmarked(ha, first); j++) {
			nFreed += reclaimByte(h, p, sl, ha, first + j);
		}
	}
	activeSweep_end(h, sl);
	return nFreed;
}

void mheap_reclaim(mheap *h, gomem_p *p, uintptr_t npage) {
	const gomem_layout *L = layout_get(&h->env);
	const uint64_t done = (uint64_t)1 << 63;
	if (atomic_load(&h->reclaimIndex) >= done) {
		return;
	}
	bool locked = false;
	while (npage > 0) {
		uintptr_t credit = atomic_load(&h->reclaimCredit);
		if (credit > 0) {
			uintptr_t take = credit < npage ? credit : npage;
			if (atomic_compare_exchange_strong(&h->reclaimCredit, &credit, credit - take)) {
				npage -= take;
			}
			continue;
		}
		uint64_t idx = atomic_fetch_add(&h->reclaimIndex, L->pagesPerReclaimerChunk);
		if (idx / layout_pagesPerArena(L) >= (uint64_t)h->sweepArenas.len) {
			atomic_store(&h->reclaimIndex, done);
			break;
		}
		if (!locked) {
			lockTurn(&h->env, &h->lock, EV_NONE);
			locked = true;
		}
		uintptr_t nfound = mheap_reclaimChunk(h, p, (uintptr_t)idx, L->pagesPerReclaimerChunk);
		if (nfound <= npage) {
			npage -= nfound;
		} else {
			atomic_fetch_add(&h->reclaimCredit, nfound - npage);
			npage = 0;
		}
	}
	if (locked) {
		unlock(&h->env, &h->lock);
	}
}

// ---- invariants

// mspan_hasItsPages: spans[page] == s for all pages of s.
static bool mspan_hasItsPages(mheap *h, const mspan *s) {
	const gomem_layout *L = layout_get(&h->env);
	uintptr_t base = mspan_base(s);
	for (uintptr_t left = s->npages; left > 0;) {
		const heapArena *ha = heapArenaOf(h, base);
		const uintptr_t page = arenaPage(L, base), room = (uintptr_t)layout_pagesPerArena(L) - page;
		const uintptr_t n = left < room ? left : room;
		for (uintptr_t i = page; i < page + n; i++) {
			if (ha == NULL || ha->spans[i] != s) {
				return false;
			}
		}
		left -= n;
		base += n << L->pageShift;
	}
	return true;
}

static const char *mspan_check(mheap *h, mspan *s) {
	const gomem_layout *L = layout_get(&h->env);
	if (mspan_state(s) == mSpanDead) {
		return NULL;
	}
	uintptr_t base = mspan_base(s);
	if ((base & (layout_pageSize(L) - 1)) != 0) {
		return "span base is not a multiple of the page size";
	}
	if (s->limit > base + (s->npages << L->pageShift)) {
		return "span limit lies beyond its pages";
	}
	if (!mspan_hasItsPages(h, s)) {
		return "a page of a span belongs to another span";
	}
	if (mspan_state(s) != mSpanInUse) {
		return NULL;
	}
	if (s->freeindex > s->nelems || s->allocCount > s->nelems) {
		return "freeindex or allocCount exceeds nelems";
	}
	if (s->freeIndexForScan > s->freeindex) {
		return "a conservative scan would take free slots for objects";
	}
	uint32_t behind = h->sweepgen + 3 - atomic_load(&s->sweepgen);
	if (behind > 5) {
		return "span sweepgen is out of range";
	}
	if (spanClass_sizeclass(s->spanclass) != 0 && s->limit != base + s->elemsize * s->nelems) {
		return "span limit is not base + nelems * elemsize";
	}
	const pageBit b = pageBit_of(L, base);
	const bool marked = (atomic_load(&heapArenaOf(h, base)->pageSpecials[b.index]) & b.mask) != 0;
	return marked == (s->specials != NULL) ? NULL : "pageSpecials does not say whether a span has specials";
}

const char *mheap_check(mheap *h) {
	const gomem_layout *L = layout_get(&h->env);
	uintptr_t pagesInUse = 0;
	for (intptr_t i = 0; i < h->allspans.len; i++) {
		mspan *s = h->allspans.p[i];
		const char *bad = mspan_check(h, s);
		if (bad != NULL) {
			return bad;
		}
		if (mspan_state(s) == mSpanInUse) {
			pagesInUse += s->npages;
		}
	}
	if (pagesInUse != atomic_load(&h->pagesInUse)) {
		return "pagesInUse is not the sum over spans in use";
	}
	if (sysMemStat_load(&h->stats.heapInUse) != (uint64_t)pagesInUse << L->pageShift) {
		return "heapInUse is not the size of spans in use";
	}
	return NULL;
}
