// predict_heap.c: spans and pages of the port's heap are put where Go has them. Invariants: predict_heap.h.
#include "traces/predict_heap.h"

#include <stdio.h>
#include <stdlib.h>

#include "traces/grow.h"

static const uint64_t arenaSize = (uint64_t)predictPiecePages << predictPageShift;

// ---- what the snapshot said

bool snapshot_span(snapshot *s, const gotrace_event *e) {
	if (!array_grow(&s->spans, &s->capSpans, s->nspans, sizeof(*s->spans))) {
		return false;
	}
	s->spans[s->nspans++] = (snap_span){e->addr, e->n, e->class};
	return true;
}

bool snapshot_object(snapshot *s, uint64_t addr) {
	if (!array_grow(&s->objects, &s->capObjects, s->nobjects, sizeof(*s->objects))) {
		return false;
	}
	s->objects[s->nobjects++] = addr;
	return true;
}

void snapshot_free(snapshot *s) {
	free(s->spans);
	free(s->objects);
	*s = (snapshot){0};
}

// ---- spans

mspan *span_at(gomem_heap *h, uint64_t addr) {
	mspan *s = spanOf(h, (uintptr_t)addr);
	if (s == NULL || mspan_state(s) == mSpanDead || addr < s->startAddr ||
		addr - s->startAddr >= s->npages << predictPageShift) {
		return NULL;
	}
	return s;
}

gomem_p *span_owner(gomem_heap *h, mspan *s) {
	for (int32_t i = 0; i < h->nallp; i++) {
		gomem_p *p = h->allp[i];
		if (p_isAlive(p) && p->mcache->alloc[s->spanclass] == s) {
			return p;
		}
	}
	return NULL;
}

bool heap_note(predict_heap *ph, mspan *s) {
	const uint16_t class = mspan_state(s) == mSpanManual ? GOTRACE_MANUAL : s->spanclass;
	return pages_span(&ph->pages, s->startAddr, s->npages, class);
}

// ---- sets of mcentral

// setRemove takes s out of a set. The others keep their order.
static bool setRemove(gomem_heap *h, spanSet *set, mspan *s, uint32_t id) {
	bool found = false;
	for (uint32_t n = spanSet_len(set); n > 0; n--) {
		mspan *one = spanSet_pop(&h->env, set, id);
		if (one == s) {
			found = true;
		} else {
			(void)spanSet_push(&h->env, set, one, id);
		}
	}
	return found;
}

static unsigned sweptOf(const gomem_heap *h) { return h->sweepgen / 2 % 2; }

static void setsRemove(gomem_heap *h, mspan *s) {
	mcentral *c = &h->central[s->spanclass].mcentral;
	for (unsigned i = 0; i < 2; i++) {
		(void)setRemove(h, &c->partial[i], s, mcentral_setID(s->spanclass, false, i));
		(void)setRemove(h, &c->full[i], s, mcentral_setID(s->spanclass, true, i));
	}
}

// One of mcentral's sets, and how the log of decisions calls it.
typedef struct named_set {
	spanSet *set;
	uint32_t id;
} named_set;

static named_set unsweptSet(gomem_heap *h, spanClass spc, bool full) {
	mcentral *c = &h->central[spc].mcentral;
	const unsigned i = 1 - sweptOf(h);
	return (named_set){full ? &c->full[i] : &c->partial[i], mcentral_setID(spc, full, i)};
}

// setPutFirst puts n spans before all others, in this order. false: out of memory.
static bool setPutFirst(gomem_heap *h, named_set to, mspan *const *spans, uint32_t n) {
	const uint32_t others = spanSet_len(to.set);
	bool ok = true;
	for (uint32_t k = 0; k < n; k++) {
		ok = spanSet_push(&h->env, to.set, spans[k], to.id) && ok;
	}
	for (uint32_t k = 0; n > 0 && k < others; k++) {
		(void)spanSet_push(&h->env, to.set, spanSet_pop(&h->env, to.set, to.id), to.id);
	}
	return ok;
}

bool span_putFirst(gomem_heap *h, mspan *s) {
	const unsigned i = sweptOf(h);
	const named_set swept = {&h->central[s->spanclass].mcentral.partial[i], mcentral_setID(s->spanclass, false, i)};
	return setPutFirst(h, swept, &s, 1);
}

// span_nextUnswept drops what was swept out of order, as when it is popped.
mspan *span_nextUnswept(gomem_heap *h, spanClass spc, bool full) {
	const named_set unswept = unsweptSet(h, spc, full);
	mspan *s;
	while ((s = spanSet_at(unswept.set, 0)) != NULL) {
		if (mspan_state(s) == mSpanInUse && s->spanclass == spc && atomic_load(&s->sweepgen) == h->sweepgen - 2) {
			return s;
		}
		(void)spanSet_pop(&h->env, unswept.set, unswept.id);
	}
	return NULL;
}

mspan *heap_nextUnswept(gomem_heap *h) {
	for (uint32_t sc = atomic_load(&h->sweep.centralIndex); sc < numSpanClasses * 2; sc++) {
		mspan *s = span_nextUnswept(h, (spanClass)(sc >> 1), (sc & 1) == 0);
		if (s != NULL) {
			return s;
		}
	}
	return NULL;
}

void span_putOff(gomem_heap *h, mspan *s) {
	for (unsigned full = 0; full < 2; full++) {
		const named_set unswept = unsweptSet(h, s->spanclass, full != 0);
		if (spanSet_at(unswept.set, 0) == s) {
			(void)spanSet_pop(&h->env, unswept.set, unswept.id);
		} else {
			(void)setRemove(h, unswept.set, s, unswept.id);
		}
	}
}

mspan *span_unsweptAt(gomem_heap *h, spanClass spc, bool full, uint32_t k) {
	return spanSet_at(unsweptSet(h, spc, full).set, k);
}

uint32_t span_takeOut(
	gomem_heap *h, spanClass spc, bool full, uint32_t look, const span_test *out, mspan **spans, uint32_t max) {
	const named_set unswept = unsweptSet(h, spc, full);
	spanSet *const set = unswept.set;
	const uint32_t n = spanSet_len(set);
	uint32_t first = 0, taken = 0;
	while (first < look && first < n && !out->test(out->ctx, spanSet_at(set, first))) {
		first++;
	}
	if (first == look || first == n) {
		return 0;
	}
	for (uint32_t k = 0; k < n; k++) {
		mspan *s = spanSet_pop(&h->env, set, unswept.id);
		if (k >= first && k - taken < look && taken < max && out->test(out->ctx, s)) {
			spans[taken++] = s;
		} else {
			(void)spanSet_push(&h->env, set, s, unswept.id);
		}
	}
	return taken;
}

bool span_putBack(gomem_heap *h, spanClass spc, bool full, mspan *const *spans, uint32_t n) {
	return setPutFirst(h, unsweptSet(h, spc, full), spans, n);
}

bool span_putOn(gomem_heap *h, mspan *s) {
	atomic_fetch_and(&h->sweep.active.state, ~sweepDrainedMask); // the sweep has not come to the end while there is s
	return setPutFirst(h, unsweptSet(h, s->spanclass, s->allocCount == s->nelems), &s, 1);
}

bool span_hold(predict_heap *ph, mspan *s) {
	if (!array_grow(&ph->held.p, &ph->held.cap, ph->held.len, sizeof(mspan *))) {
		return false;
	}
	ph->held.p[ph->held.len++] = s;
	return true;
}

static bool heldRemove(predict_heap *ph, mspan *s) {
	for (size_t i = 0; i < ph->held.len; i++) {
		if (ph->held.p[i] == s) {
			ph->held.p[i] = ph->held.p[--ph->held.len];
			return true;
		}
	}
	return false;
}

bool heap_unhold(predict_heap *ph) {
	bool ok = true;
	for (size_t i = 0; i < ph->held.len; i++) {
		mspan *s = ph->held.p[i];
		mcentral *c = &ph->h->central[s->spanclass].mcentral;
		ok = (s->allocCount < s->nelems ? mcentral_pushPartialSwept : mcentral_pushFullSwept)(ph->h, c, s) && ok;
	}
	ph->held.len = 0;
	return ok;
}

void span_uncache(gomem_heap *h, gomem_p *p, mspan *s) {
	p->mcache->alloc[s->spanclass] = &h->emptymspan;
	s->allocCountBeforeCache = 0;
	atomic_store(&s->sweepgen, h->sweepgen);
}

// spanTake takes s from wherever it is; then it is swept and in no set.
static void spanTake(predict_heap *ph, gomem_p *p, mspan *s) {
	gomem_heap *h = ph->h;
	gomem_p *owner = span_owner(h, s);
	if (owner != NULL) {
		span_uncache(h, owner, s);
		return;
	}
	if (atomic_load(&s->sweepgen) == h->sweepgen - 2) {
		atomic_store(&s->sweepgen, h->sweepgen - 1);
		(void)mspan_sweep(h, p, s, true);
		return; // what is left in the unswept set is skipped there
	}
	if (!heldRemove(ph, s)) {
		const unsigned i = sweptOf(h);
		mcentral *c = &h->central[s->spanclass].mcentral;
		if (!setRemove(h, &c->partial[i], s, mcentral_setID(s->spanclass, false, i))) {
			(void)setRemove(h, &c->full[i], s, mcentral_setID(s->spanclass, true, i));
		}
	}
}

bool span_cache(predict_heap *ph, gomem_p *p, mspan *s) {
	gomem_heap *h = ph->h;
	spanTake(ph, p, s);
	if (s->allocCount == s->nelems) {
		(void)mcentral_pushFullSwept(h, &h->central[s->spanclass].mcentral, s);
		return false;
	}
	// As at the end of cacheSpan and refill.
	mspan_refillAllocCache(s, (uint16_t)((s->freeindex & ~63u) / 8));
	s->allocCache >>= s->freeindex % 64;
	atomic_store(&s->sweepgen, h->sweepgen + 3);
	s->allocCountBeforeCache = s->allocCount;
	p->mcache->alloc[s->spanclass] = s;
	return true;
}

// ---- pages

static void setPageInUse(gomem_heap *h, uint64_t base, bool inUse) {
	heapArena *ha = heapArenaOf(h, (uintptr_t)base);
	const uint64_t page = (base >> predictPageShift) % predictPiecePages;
	const uint8_t mask = (uint8_t)(1u << page % 8);
	if (inUse) {
		atomic_fetch_or(&ha->pageInUse[page / 8], mask);
	} else {
		atomic_fetch_and(&ha->pageInUse[page / 8], (uint8_t)~mask);
	}
}

// ensureGrown lets the heap grow until it has [base, base+n).
static bool ensureGrown(gomem_heap *h, uint64_t base, uint64_t n) {
	bool ok = true;
	lock(&h->env, &h->lock);
	while (ok) {
		if (heapArenaOf(h, (uintptr_t)base) != NULL && base < h->curArena.end && base + n <= h->curArena.base) {
			break;
		}
		const bool older =
			heapArenaOf(h, (uintptr_t)base) != NULL && (base < h->curArena.base || base >= h->curArena.end);
		if (older &&
			pageAlloc_tryChunkOf(layout_get(&h->env), &h->pages, chunkIndex(layout_get(&h->env), (uintptr_t)base)) !=
				NULL) {
			break;
		}
		if (heapArenaOf(h, (uintptr_t)base) == NULL && alignDown(base, arenaSize) != h->curArena.end &&
			h->arenaHints != NULL) {
			h->arenaHints->addr = (uintptr_t)alignDown(base, arenaSize);
		}
		(void)mheap_grow(h, pallocChunkPages, &ok);
	}
	unlock(&h->env, &h->lock);
	return ok;
}

static gomem_p *cacheWith(gomem_heap *h, uint64_t page) {
	for (int32_t i = 0; i < h->nallp; i++) {
		gomem_p *p = h->allp[i];
		if (!p_isAlive(p) || pageCache_empty(&p->pcache)) {
			continue;
		}
		const uint64_t k = (page - p->pcache.base) >> predictPageShift;
		if (page >= p->pcache.base && k < pageCachePages && (p->pcache.cache >> k & 1) != 0) {
			return p;
		}
	}
	return NULL;
}

bool page_isHeld(predict_heap *ph, uint64_t page) {
	gomem_heap *h = ph->h;
	const gomem_layout *L = layout_get(&h->env);
	const pallocData *chunk = heapArenaOf(h, (uintptr_t)page) == NULL
		? NULL
		: pageAlloc_tryChunkOf(L, &h->pages, chunkIndex(L, (uintptr_t)page));
	return chunk != NULL && pageBits_get(&chunk->pallocBits.b, chunkPageIndex(L, (uintptr_t)page)) != 0 &&
		cacheWith(h, page) == NULL && span_at(h, page) == NULL;
}

static void claimPage(gomem_heap *h, uint64_t page) {
	gomem_p *p = cacheWith(h, page);
	if (p != NULL) {
		const uint64_t bit = (uint64_t)1 << ((page - p->pcache.base) >> predictPageShift);
		p->pcache.cache &= ~bit;
		p->pcache.scav &= ~bit;
		return;
	}
	const gomem_layout *L = layout_get(&h->env);
	pallocData *chunk = pageAlloc_tryChunkOf(L, &h->pages, chunkIndex(L, (uintptr_t)page));
	if (chunk != NULL && pageBits_get(&chunk->pallocBits.b, chunkPageIndex(L, (uintptr_t)page)) == 0) {
		(void)pageAlloc_allocRange(&h->env, &h->pages, (uintptr_t)page, 1);
	}
}

// givePages is the opposite of what allocSpan did: a page of p's cache goes back there.
static void givePages(gomem_heap *h, gomem_p *p, uint64_t base, uint64_t npages) {
	if (p != NULL && p->pcache.base != 0 && base >= p->pcache.base &&
		base + (npages << predictPageShift) <= p->pcache.base + ((uint64_t)pageCachePages << predictPageShift)) {
		const uint64_t mask = (npages == 64 ? ~(uint64_t)0 : ((uint64_t)1 << npages) - 1);
		p->pcache.cache |= mask << ((base - p->pcache.base) >> predictPageShift);
		return;
	}
	lock(&h->env, &h->lock);
	pageAlloc_free(&h->env, &h->pages, (uintptr_t)base, (uintptr_t)npages);
	unlock(&h->env, &h->lock);
}

void pcache_adopt(predict_heap *ph, gomem_p *p, uint64_t base, uint64_t from, bool unseen) {
	gomem_heap *h = ph->h;
	const gomem_layout *L = layout_get(&h->env);
	const uint64_t block = pcache_block(base);
	const pallocData *chunk = pageAlloc_tryChunkOf(L, &h->pages, chunkIndex(L, (uintptr_t)block));
	if (chunk == NULL) {
		return;
	}
	const uint64_t inUse = pageBits_block64(&chunk->pallocBits.b, chunkPageIndex(L, (uintptr_t)block));
	uint64_t cache = 0;
	lock(&h->env, &h->lock);
	for (unsigned i = 0; i < pageCachePages; i++) {
		const uint64_t page = block + ((uint64_t)i << predictPageShift);
		const page_info *pi = pages_at(&ph->pages, page);
		const bool seen = pi != NULL && (pi->flags & PAGE_SEEN) != 0;
		const bool held = page > base && page_isHeld(ph, page);
		if (page >= from && !(unseen && seen) && ((inUse >> i & 1) == 0 || held)) {
			claimPage(h, page);
			cache |= (uint64_t)1 << i;
		}
	}
	unlock(&h->env, &h->lock);
	p->pcache = (pageCache){.base = (uintptr_t)block, .cache = cache};
}

void pcache_extend(predict_heap *ph, gomem_p *p, uint64_t from, uint64_t to) {
	gomem_heap *h = ph->h;
	const gomem_layout *L = layout_get(&h->env);
	const pallocData *chunk = pageAlloc_tryChunkOf(L, &h->pages, chunkIndex(L, p->pcache.base));
	if (chunk == NULL) {
		return;
	}
	const uint64_t inUse = pageBits_block64(&chunk->pallocBits.b, chunkPageIndex(L, p->pcache.base));
	lock(&h->env, &h->lock);
	for (unsigned i = 0; i < pageCachePages; i++) {
		const uint64_t page = p->pcache.base + ((uint64_t)i << predictPageShift);
		if (page >= from && page < to && (inUse >> i & 1) == 0) {
			claimPage(h, page);
			p->pcache.cache |= (uint64_t)1 << i;
		}
	}
	unlock(&h->env, &h->lock);
}

void pcache_dropBelow(predict_heap *ph, gomem_p *p, uint64_t addr) {
	gomem_heap *h = ph->h;
	lock(&h->env, &h->lock);
	for (unsigned i = 0; i < pageCachePages; i++) {
		const uint64_t page = p->pcache.base + ((uint64_t)i << predictPageShift), bit = (uint64_t)1 << i;
		if (page < addr && (p->pcache.cache & bit) != 0) {
			p->pcache.cache &= ~bit;
			p->pcache.scav &= ~bit;
			pageAlloc_free(&h->env, &h->pages, (uintptr_t)page, 1);
		}
	}
	unlock(&h->env, &h->lock);
}

// ---- moving and ending spans

static void setSpans(gomem_heap *h, mspan *s) {
	for (uint64_t i = 0; i < s->npages; i++) {
		const uint64_t page = s->startAddr + (i << predictPageShift);
		heapArenaOf(h, (uintptr_t)page)->spans[(page >> predictPageShift) % predictPiecePages] = s;
	}
}

void span_discard(predict_heap *ph, gomem_p *p, mspan *s) {
	gomem_heap *h = ph->h;
	pages_unspan(&ph->pages, s->startAddr);
	if (mspan_state(s) == mSpanManual) {
		mheap_freeManual(h, p, s, spanAllocStack);
		return;
	}
	gomem_p *owner = span_owner(h, s);
	if (owner != NULL) {
		owner->mcache->alloc[s->spanclass] = &h->emptymspan;
	}
	(void)heldRemove(ph, s);
	setsRemove(h, s);
	s->allocCount = 0;
	s->allocCountBeforeCache = 0;
	atomic_store(&s->sweepgen, h->sweepgen);
	mheap_freeSpan(h, p, s);
}

// evict ends what the port still has in [base, base+n): Go must have freed it.
static void evict(predict_heap *ph, gomem_p *p, const mspan *keep, uint64_t base, uint64_t npages) {
	for (uint64_t i = 0; i < npages; i++) {
		mspan *s = span_at(ph->h, base + (i << predictPageShift));
		if (s == NULL || s == keep) {
			continue;
		}
		page_info *pi = pages_at(&ph->pages, s->startAddr);
		if (pi != NULL) {
			pi->flags |= PAGE_FREED;
		}
		span_discard(ph, p, s);
	}
}

bool span_move(predict_heap *ph, gomem_p *p, mspan *s, uint64_t newBase, uint64_t keep) {
	gomem_heap *h = ph->h;
	const uint64_t old = s->startAddr;
	const uint64_t used = s->limit - old;
	const bool heap = mspan_state(s) == mSpanInUse;
	if (!ensureGrown(h, newBase, s->npages << predictPageShift)) {
		return false;
	}
	if (heap) {
		setPageInUse(h, old, false);
	}
	evict(ph, p, s, newBase, s->npages);
	if (keep < s->npages) {
		givePages(h, p, old + (keep << predictPageShift), s->npages - keep);
	}
	lock(&h->env, &h->lock);
	for (uint64_t i = 0; i < s->npages; i++) {
		claimPage(h, newBase + (i << predictPageShift));
	}
	unlock(&h->env, &h->lock);
	s->startAddr = (uintptr_t)newBase;
	s->limit = (uintptr_t)(newBase + used);
	setSpans(h, s);
	if (heap) {
		setPageInUse(h, newBase, true);
	}
	return true;
}

void span_unalloc(predict_heap *ph, gomem_p *p, mspan *s) {
	gomem_heap *h = ph->h;
	const uint64_t base = s->startAddr, npages = s->npages;
	const pageCache before = p != NULL ? p->pcache : (pageCache){0};
	s->allocCount = 0;
	atomic_store(&s->sweepgen, h->sweepgen);
	mheap_freeSpan(h, p, s);
	const uint64_t end = before.base + ((uint64_t)pageCachePages << predictPageShift);
	if (before.base == 0 || base < before.base || base + (npages << predictPageShift) > end) {
		return;
	}
	// It came from p's page cache and goes back there.
	lock(&h->env, &h->lock);
	(void)pageAlloc_allocRange(&h->env, &h->pages, (uintptr_t)base, (uintptr_t)npages);
	unlock(&h->env, &h->lock);
	givePages(h, p, base, npages);
}

// ---- the snapshot

static int byAddr(const void *a, const void *b) {
	const uint64_t x = ((const snap_span *)a)->addr, y = ((const snap_span *)b)->addr;
	return (x > y) - (x < y);
}

typedef struct importer {
	predict_heap *ph;
	uint64_t at; // all pages below are in use
	span_list gaps;
	bool padding; // nothing but padding came so far
	uint64_t paddingEnd;
} importer;

// takeGap puts a manual span over npages pages that the trace has no span for.
static bool takeGap(importer *im, uint64_t npages) {
	mspan *s = mheap_allocManual(im->ph->h, NULL, (uintptr_t)npages, spanAllocStack);
	if (s == NULL || s->startAddr != im->at) {
		return false;
	}
	im->at += npages << predictPageShift;
	if (im->padding) {
		im->paddingEnd = im->at; // never free
	}
	if (!array_grow(&im->gaps.p, &im->gaps.cap, im->gaps.len, sizeof(mspan *))) {
		return false;
	}
	im->gaps.p[im->gaps.len++] = s;
	return true;
}

// gapTo takes what lies before the next span. A new arena that does not follow the last one begins at its own base.
static bool gapTo(importer *im, uint64_t addr) {
	gomem_heap *h = im->ph->h;
	const uint64_t end = h->curArena.end;
	if (end != 0 && addr >= end && alignDown(addr, arenaSize) != end) {
		if (im->at < end && !takeGap(im, (end - im->at) >> predictPageShift)) {
			return false;
		}
		im->at = alignDown(addr, arenaSize);
		h->arenaHints->addr = (uintptr_t)im->at;
	}
	return addr == im->at || takeGap(im, (addr - im->at) >> predictPageShift);
}

static bool importSpan(importer *im, const snap_span *sp) {
	gomem_heap *h = im->ph->h;
	if (sp->addr < im->at || sp->npages == 0 || sp->npages > (uint64_t)1 << 24 || !gapTo(im, sp->addr)) {
		return false;
	}
	im->padding = false;
	const bool manual = sp->class == GOTRACE_MANUAL;
	if (!manual &&
		(sp->class >= numSpanClasses || (sp->class > 1 && class_to_allocnpages[sp->class >> 1] != sp->npages))) {
		return false;
	}
	mspan *s = manual ? mheap_allocManual(h, NULL, (uintptr_t)sp->npages, spanAllocStack)
					  : mheap_alloc(h, NULL, (uintptr_t)sp->npages, (spanClass)sp->class);
	if (s == NULL || s->startAddr != sp->addr) {
		return false;
	}
	im->at += sp->npages << predictPageShift;
	return true;
}

static void importObject(gomem_heap *h, uint64_t addr) {
	mspan *s = span_at(h, addr);
	if (s == NULL || mspan_state(s) != mSpanInUse) {
		return;
	}
	if (spanClass_sizeclass(s->spanclass) == 0) {
		s->freeindex = 1;
		s->allocCount = 1;
		return;
	}
	const uintptr_t i = mspan_objIndex(s, (uintptr_t)addr);
	if (i < s->nelems && (s->allocBits[i / 8] >> i % 8 & 1) == 0) {
		s->allocBits[i / 8] |= (uint8_t)(1u << i % 8);
		s->allocCount++;
	}
}

static bool placeImported(gomem_heap *h, mspan *s, bool unswept) {
	mcentral *c = &h->central[s->spanclass].mcentral;
	const bool full = s->allocCount == s->nelems || spanClass_sizeclass(s->spanclass) == 0;
	if (!unswept) {
		atomic_store(&s->sweepgen, h->sweepgen);
		mspan_refillAllocCache(s, 0);
		return full ? mcentral_pushFullSwept(h, c, s) : mcentral_pushPartialSwept(h, c, s);
	}
	spanSet *set = full ? mcentral_fullUnswept(c, h->sweepgen) : mcentral_partialUnswept(c, h->sweepgen);
	return spanSet_push(&h->env, set, s, mcentral_setID(s->spanclass, full, 1 - sweptOf(h)));
}

static bool importAll(importer *im, snapshot *s, bool (*unswept)(void *ctx, uint64_t base), void *ctx) {
	gomem_heap *h = im->ph->h;
	for (size_t i = 0; i < s->nspans; i++) {
		if (!importSpan(im, &s->spans[i])) {
			return false;
		}
	}
	for (size_t i = 0; i < s->nobjects; i++) {
		importObject(h, s->objects[i]);
	}
	gcSweep(h);
	for (int32_t i = 0; i < h->nallp; i++) {
		(void)mcache_prepareForSweep(h, h->allp[i], h->allp[i]->mcache);
	}
	for (size_t i = 0; i < s->nspans; i++) {
		mspan *one = span_at(h, s->spans[i].addr);
		if (mspan_state(one) == mSpanInUse && !placeImported(h, one, unswept(ctx, one->startAddr))) {
			return false;
		}
	}
	for (size_t i = 0; i < im->gaps.len; i++) {
		mspan *gap = im->gaps.p[i];
		const uint64_t base = gap->startAddr, npages = gap->npages;
		mheap_freeManual(h, NULL, gap, spanAllocStack);
		if (base < im->paddingEnd) {
			lock(&h->env, &h->lock);
			(void)pageAlloc_allocRange(&h->env, &h->pages, (uintptr_t)base, (uintptr_t)npages);
			unlock(&h->env, &h->lock);
		}
	}
	return true;
}

bool heap_import(predict_heap *ph, snapshot *s, uint64_t minAddr, bool (*unswept)(void *ctx, uint64_t base), void *ctx,
	gmt_error *err) {
	if (s->nspans == 0) {
		(void)snprintf(err->text, sizeof(err->text), "the trace has no snapshot of the heap");
		return false;
	}
	qsort(s->spans, s->nspans, sizeof(*s->spans), byAddr);
	importer im = {
		.ph = ph, .at = alignDown(minAddr < s->spans[0].addr ? minAddr : s->spans[0].addr, arenaSize), .padding = true};
	ph->h->arenaHints->addr = (uintptr_t)im.at;
	const bool ok = importAll(&im, s, unswept, ctx);
	free(im.gaps.p);
	if (!ok) {
		(void)snprintf(err->text, sizeof(err->text), "the spans of the snapshot do not make a heap, or out of memory");
	}
	return ok;
}
