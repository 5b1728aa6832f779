// mgcmark.c (layer 5): the mark phase: what lives. Ports the marking of mgcmark.go and mgcmark_greenteagc.go, findObject of mbitmap.go, and from
// mgc.go the order of a cycle.
//
// An object is white (unmarked), grey (marked, in a queue) or black (marked, and all that its pointers name is marked or grey). Roots are
// made grey, and what is grey is scanned until nothing is. Which words are pointers say the heap bits at the end of a span (objects of up
// to 512 bytes), a header before the object, or its span (large objects).
//
// Several Ps mark at once, each with a queue of its own (mgcwork.h): objects without inline mark bits, the last one first; and spans (Green Tea): a span
// stands there once, and while it does, others of its objects are marked; then all are scanned together. The object in its name is the one that
// brought it here. Which objects are marked does not depend on who marks them, and in which order; an object is scanned by more than one at worst.
//
// Invariants:
//   a grey object is in a queue, or its span is and inline `owned` says so, or `overflowed` says that grey ones must be looked for
//   inline scans <= inline marks: objects that were scanned, or never need be
//   when gcDrain returns (mgcmark_check): no object is grey, so each pointer in a marked object names a marked one, or nothing in the heap
//   marks <= allocated slots. A tiny block is one object: what lives in it keeps the rest
//
// There is no memory that marking cannot do without: a queue that cannot grow overflows.
#include <inttypes.h>
#include <stdio.h>

#include "gomem/mbitmap.h"
#include "gomem/mcache.h"

// ---- which object

// badPointer: the pointer at *(refBase + refOff) names what is no object.
static _Noreturn void badPointer(
	mheap *h, mspan *s, uintptr_t p, uintptr_t refBase, uintptr_t refOff, const char *what) {
	char *text = h->work.text;
	const size_t room = sizeof(h->work.text);
	size_t n = (size_t)snprintf(text, room,
		"found bad pointer in Go heap (incorrect use of unsafe or cgo?): %#" PRIxPTR " to %s, span.base()=%#" PRIxPTR
		" span.limit=%#" PRIxPTR " span.state=%u",
		p, what, mspan_base(s), s->limit, mspan_state(s));
	if (refBase != 0) {
		(void)snprintf(text + n, room - n, ", found at *(%#" PRIxPTR "+%#" PRIxPTR ")", refBase, refOff);
	}
	gomem_throw(&h->env, text);
}

// findObject gives the span of the object that p points into, and its number there. NULL: p is nil, or points to a stack or outside of
// the heap. A pointer to pages that are free, or behind the last object of a span, throws unless GODEBUG=invalidptr=0.
static mspan *findObject(mheap *h, uintptr_t p, uintptr_t refBase, uintptr_t refOff, uintptr_t *objIndex) {
	mspan *s = spanOf(h, p);
	if (s == NULL) {
		return NULL;
	}
	const uint8_t state = mspan_state(s);
	if (state != mSpanInUse || p < mspan_base(s) || p >= s->limit) {
		if (state != mSpanManual && h->invalidptr) {
			badPointer(h, s, p, refBase, refOff, state != mSpanInUse ? "unallocated span" : "unused region of span");
		}
		return NULL;
	}
	*objIndex = mspan_objIndex(s, p);
	// Go's gccheckmark=1. Without it the sweep finds the mark of a free slot.
	if (h->env.states != NULL && !h->work.concurrent && mspan_isFree(s, *objIndex)) {
		badPointer(h, s, p, refBase, refOff, "free object");
	}
	return s;
}

// ---- grey

// spanTryAcquire: the caller, who marked an object of s, is to queue it. Of two who come at once, and one who takes it out of his queue between
// the two steps, one is: whoever finds it unowned.
static bool spanTryAcquire(const mheap *h, const mspan *s) {
	const uint8_t owned = inlineOwned_load(h, s);
	if (owned == spanScanUnowned && inlineOwned_or(h, s, spanScanOneMark) == spanScanUnowned) {
		return true;
	}
	lab_turn(&h->env, EV_MARKTURN);
	return (owned & spanScanManyMark) == 0 && inlineOwned_or(h, s, spanScanManyMark) == spanScanUnowned;
}

// putSpan queues a span with inline mark bits, for its object objIndex. Where there is no room it stays unowned, with marks that were
// not scanned.
static void putSpan(mheap *h, gcWork *w, const mspan *s, uintptr_t objIndex) {
	lab_turn(&h->env, EV_MARKTURN);
	if (!spanTryAcquire(h, s)) {
		return;
	}
	// makeObjPtr: spans with inline mark bits are one page, aligned to its size.
	if (!spanQueue_put(&h->env, &h->work, w, mspan_base(s) | objIndex)) {
		(void)inlineOwned_release(h, s);
		atomic_store(&h->work.overflowed, true);
	}
}

// greyobject marks an object, and queues it if there may be pointers in it.
// DEVIATION(D23): the span is noted in pageMarks whatever it holds and however many of it are marked.
// DEVIATION(D24): Go's tryDeferToSpanScan does this for spans with inline mark bits by the page alone, without findObject.
static void greyobject(mheap *h, gcWork *w, mspan *s, uintptr_t objIndex) {
	if (mspan_isMarked(h, s, objIndex)) {
		return;
	}
	lab_turn(&h->env, EV_MARKTURN);
	if (!mspan_setMarked(h, s, objIndex)) {
		return; // somebody else has, meanwhile. Go's would scan it twice
	}
	w->bytesMarked += s->elemsize;
	if (spanClass_noscan(s->spanclass)) {
		return;
	}
	if (gcUsesSpanInlineMarkBits(&h->env, s->elemsize)) {
		putSpan(h, w, s, objIndex);
		return;
	}
	if (!gcWork_putObj(&h->env, &h->work, w, mspan_base(s) + objIndex * s->elemsize)) {
		atomic_store(&h->work.overflowed, true);
	}
}

// greyPointer: p was found at *(base + off).
static inline void greyPointer(mheap *h, gcWork *w, uintptr_t p, uintptr_t base, uintptr_t off) {
	if (p == 0) {
		return;
	}
	uintptr_t objIndex;
	mspan *s = findObject(h, p, base, off, &objIndex);
	if (s != NULL) {
		greyobject(h, w, s, objIndex);
	}
}

void shade(mheap *h, gcWork *w, uintptr_t b) { greyPointer(h, w, b, 0, 0); }

// ---- scanning

// scanMasked scans the words of [b, b + n) that ptrmask names. base is what holds them, for messages.
static void scanMasked(mheap *h, gcWork *w, uintptr_t b, uintptr_t n, const uint8_t *ptrmask, uintptr_t base) {
	const uintptr_t ptrSize = layout_get(&h->env)->ptrSize;
	for (uintptr_t i = 0; i + ptrSize <= n;) {
		unsigned bits = ptrmask[i / (ptrSize * 8)];
		if (bits == 0) {
			i += ptrSize * 8;
			continue;
		}
		for (unsigned j = 0; j < 8 && i + ptrSize <= n; j++, bits >>= 1, i += ptrSize) {
			if ((bits & 1) != 0) {
				greyPointer(h, w, heapMem_loadPointer(b + i), base, b + i - base);
			}
		}
	}
}

void scanblock(mheap *h, gcWork *w, uintptr_t b, uintptr_t n, const uint8_t *ptrmask) {
	scanMasked(h, w, b, n, ptrmask, b);
}

// scanConservative: any word may be a pointer, and may be none: free slots, and what lies outside of objects, is passed over. Objects that
// were made since marking began count as free here: they are marked, and may be half made.
void scanConservative(mheap *h, gcWork *w, uintptr_t b, uintptr_t n) {
	const uintptr_t ptrSize = layout_get(&h->env)->ptrSize;
	for (uintptr_t i = 0; i + ptrSize <= n; i += ptrSize) {
		uintptr_t val = heapMem_getWord(b + i);
		poison_defined((uintptr_t)&val, sizeof(val)); // whatever stands there
		mspan *s = spanOfHeap(h, val);
		if (s == NULL) {
			continue;
		}
		const uintptr_t objIndex = mspan_objIndex(s, val);
		if (!mspan_isFreeOrNewlyAllocated(s, objIndex)) {
			greyobject(h, w, s, objIndex);
		}
	}
}

// scanTyped scans [b, b + n), an array of typ; the last element may be cut off.
static void scanTyped(mheap *h, gcWork *w, uintptr_t b, uintptr_t n, const gomem_type *typ, uintptr_t obj) {
	if (typ == NULL) {
		return; // the object is not zero yet
	}
	for (uintptr_t at = 0; at < n; at += typ->size) {
		const uintptr_t left = n - at;
		scanMasked(h, w, b + at, left < typ->ptr_bytes ? left : typ->ptr_bytes, typ->ptr_mask, obj);
		w->heapScanWork += (int64_t)typ->ptr_bytes;
	}
}

static void scanObjectSmall(mheap *h, gcWork *w, const mspan *s, uintptr_t b) {
	const uintptr_t ptrSize = layout_get(&h->env)->ptrSize;
	uint64_t bits = heapBitsSmallForAddr(&h->env, s, b);
	w->heapScanWork += (int64_t)(bitLen64(bits) * ptrSize);
	for (; bits != 0; bits &= bits - 1) {
		const uintptr_t off = ctz64(bits) * ptrSize;
		greyPointer(h, w, heapMem_loadPointer(b + off), b, off);
	}
}

// scanObject scans the object at b. Large ones are not cut into oblets: there is nobody to share them with.
static void scanObject(mheap *h, gcWork *w, uintptr_t b) {
	const gomem_layout *L = layout_get(&h->env);
	mspan *s = spanOfUnchecked(h, b);
	if (spanClass_noscan(s->spanclass)) {
		gomem_throw(&h->env, "scanObject of a noscan object");
	}
	if (heapBitsInSpan(L, s->elemsize)) {
		scanObjectSmall(h, w, s, b);
		return;
	}
	if (spanClass_sizeclass(s->spanclass) == 0) {
		scanTyped(h, w, b, s->elemsize, mspan_loadLargeType(s), b);
		return;
	}
	const uintptr_t header = (uintptr_t)L->mallocHeaderSize;
	scanTyped(h, w, b + header, s->elemsize - header, (const gomem_type *)heapMem_getWord(b), b);
}

// scanMarked scans the objects of s, a span with inline mark bits, that are marked and were not scanned.
static void scanMarked(mheap *h, gcWork *w, const mspan *s) {
	for (uintptr_t i = 0; i < s->nelems; i += 64) {
		for (uint64_t toGrey = inlineScans_set(h, s, i); toGrey != 0; toGrey &= toGrey - 1) {
			scanObjectSmall(h, w, s, mspan_base(s) + (i + ctz64(toGrey)) * s->elemsize);
		}
	}
}

// scanSpan scans a span that was queued as p. If nobody else was marked meanwhile, it is the one object that p names.
static void scanSpan(mheap *h, gcWork *w, uintptr_t p) {
	const uintptr_t pageMask = (uintptr_t)layout_pageSize(layout_get(&h->env)) - 1;
	const mspan *s = spanOfUnchecked(h, p & ~pageMask);
	if (inlineOwned_release(h, s) != spanScanOneMark) {
		scanMarked(h, w, s);
		return;
	}
	const uintptr_t objIndex = p & pageMask;
	if (!mspan_isScanned(&h->env, s, objIndex)) {
		mspan_setScanned(&h->env, s, objIndex);
		scanObjectSmall(h, w, s, mspan_base(s) + objIndex * s->elemsize);
	}
}

// scanAgain scans all that is marked, grey or black: a queue overflowed.
static void scanAgain(mheap *h, gcWork *w) {
	for (intptr_t i = 0; i < h->allspans.len; i++) {
		mspan *s = h->allspans.p[i];
		if (mspan_state(s) != mSpanInUse || spanClass_noscan(s->spanclass)) {
			continue;
		}
		if (gcUsesSpanInlineMarkBits(&h->env, s->elemsize)) {
			scanMarked(h, w, s);
			continue;
		}
		for (uintptr_t n = 0; n < s->nelems; n++) {
			if (mspan_isMarked(h, s, n)) {
				scanObject(h, w, mspan_base(s) + n * s->elemsize);
			}
		}
	}
}

// drainOne scans an object or a span. false: nothing is to be found.
static bool drainOne(mheap *h, gcWork *w) {
	gomem_env *env = &h->env;
	gcWork_balance(env, &h->work, w);
	const uintptr_t b = gcWork_tryGetObj(env, &h->work, w);
	if (b != 0) {
		scanObject(h, w, b);
		return true;
	}
	uintptr_t s = gcWork_tryGetSpan(env, w);
	s = s != 0 ? s : gcWork_tryStealSpan(env, &h->work, w);
	if (s != 0) {
		scanSpan(h, w, s);
	}
	return s != 0;
}

int64_t gcDrainN(mheap *h, gcWork *w, int64_t scanWork) {
	const int64_t before = w->heapScanWork;
	int64_t done = 0, n = 0;
	// An object counts a byte at least, so that one without pointers cannot hold the caller up.
	for (; done + n < scanWork && drainOne(h, w); n++) {
		done = w->heapScanWork - before;
	}
	gcWork_tell(&h->work, w);
	return n == 0 ? -1 : done;
}

static void drainAll(mheap *h) {
	for (int32_t i = -1; i < h->work.ngcws; i++) {
		gcWork *w = work_gcw(&h->work, i);
		while (drainOne(h, w)) {
		}
		gcWork_tell(&h->work, w);
	}
}

void gcDrain(mheap *h) {
	drainAll(h);
	while (atomic_exchange(&h->work.overflowed, false)) {
		scanAgain(h, &h->work.gcw);
		drainAll(h);
	}
	work_free(&h->work);
}

// ---- roots

// gcMarkTinyAllocs marks the blocks that tiny objects are allocated from: what is put into one while marking is on must live.
static void gcMarkTinyAllocs(mheap *h) {
	for (int32_t i = 0; i < h->nallp; i++) {
		const mcache *c = p_isAlive(h->allp[i]) ? h->allp[i]->mcache : NULL;
		if (c != NULL && c->tiny != 0) {
			shade(h, &h->work.gcw, c->tiny);
		}
	}
}

void gcMarkStart(mheap *h) {
	gcWork_tell(&h->work, &h->work.gcw); // of a phase that ended without gcDrain: somebody else said what lives
	atomic_store(&h->work.bytesMarked, 0);
	atomic_store(&h->work.heapScanWork, 0);
	setGCPhase(h, gcMark);
	gcMarkTinyAllocs(h);
}

// markrootSpans scans objects with specials without marking them: one that is brought back needs what it points to.
static void markrootSpans(mheap *h, gcWork *w) {
	for (intptr_t i = 0; i < h->allspans.len; i++) {
		mspan *s = h->allspans.p[i];
		if (mspan_state(s) != mSpanInUse || s->specials == NULL || spanClass_noscan(s->spanclass)) {
			continue;
		}
		const uint32_t sg = atomic_load(&s->sweepgen);
		if (sg != h->sweepgen && sg != h->sweepgen + 3) {
			gomem_throw(&h->env, "gc: unswept span");
		}
		for (const special *sp = s->specials; sp != NULL; sp = sp->next) {
			scanObject(h, w, mspan_base(s) + sp->offset / s->elemsize * s->elemsize);
		}
	}
}

static void markroot(mheap *h, gcWork *w, const gomem_root *r) {
	if (r->ptr_mask != NULL) {
		scanblock(h, w, (uintptr_t)r->base, r->size, r->ptr_mask);
	} else {
		scanConservative(h, w, (uintptr_t)r->base, r->size);
	}
}

void gcGreyRoots(mheap *h, gcWork *w, const gomem_root *roots, size_t n) {
	for (size_t i = 0; i < n; i++) {
		markroot(h, w, &roots[i]);
	}
}

void gcMarkRoots(mheap *h, const gomem_root *roots, size_t n) {
	if (!h->env.backed) {
		gomem_throw(&h->env, "gcMarkRoots: the heap is addresses only");
	}
	if (atomic_load(&h->gcphase) != gcMark) {
		gomem_throw(&h->env, "gcMarkRoots: not in the mark phase");
	}
	if (h->policy.reviveSpecial != NULL) {
		markrootSpans(h, &h->work.gcw);
	}
	gcGreyRoots(h, &h->work.gcw, roots, n);
	gcDrain(h);
}

// ---- a cycle

// gcMarkTermination: what lives is what was marked (Go: gcMarkTermination, gcController.resetLive).
static void gcMarkTerminated(mheap *h) {
	setGCPhase(h, gcMarkTermination);
	atomic_store(&h->stats.heapLive, atomic_load(&h->work.bytesMarked));
	atomic_store(&h->stats.heapScan, (uint64_t)atomic_load(&h->work.heapScanWork));
	setGCPhase(h, gcOff);
	gcSweep(h);
	scavengeIndex_nextGen(&h->env, &h->pages.scav.index);
}

void collectGarbage(mheap *h, gomem_p *p, const gomem_root *roots, size_t n) {
	mcache_prepareAll(h, p);
	finishsweep_m(h, p);
	gcResetMarkState(h);
	gcMarkStart(h);
	gcMarkRoots(h, roots, n);
	gcMarkTerminated(h);
	freeStackSpans(h, p);
	mcache_prepareAll(h, p);
	while (sweepone(h, p) != ~(uintptr_t)0) {
	}
}

// ---- invariants

static const char *checkPointer(mheap *h, uintptr_t p) {
	mspan *s = spanOfHeap(h, p);
	return s == NULL || mspan_isMarked(h, s, mspan_objIndex(s, p)) ? NULL
																   : "mark: a marked object points to one that is not";
}

static const char *checkMarked(mheap *h, mspan *s, uintptr_t objIndex) {
	if (mspan_isFree(s, objIndex)) {
		return "mark: a free slot is marked";
	}
	if (spanClass_noscan(s->spanclass)) {
		return NULL;
	}
	if (gcUsesSpanInlineMarkBits(&h->env, s->elemsize) && !mspan_isScanned(&h->env, s, objIndex)) {
		return "mark: an object is grey";
	}
	const uintptr_t b = mspan_base(s) + objIndex * s->elemsize;
	const char *bad = NULL;
	for (uintptr_t at = b; at < b + s->elemsize && at < s->limit && bad == NULL; at += layout_get(&h->env)->ptrSize) {
		bad = heapBits_isPointer(h, at) ? checkPointer(h, heapMem_getWord(at)) : NULL;
	}
	return bad;
}

const char *mgcmark_check(mheap *h) {
	const char *bad = work_check(&h->work);
	for (intptr_t i = 0; i < h->allspans.len && bad == NULL; i++) {
		mspan *s = h->allspans.p[i];
		for (uintptr_t n = 0; mspan_state(s) == mSpanInUse && n < s->nelems && bad == NULL; n++) {
			bad = mspan_isMarked(h, s, n) ? checkMarked(h, s, n) : NULL;
		}
	}
	return bad;
}
