// mgcsweep.c (layer 4): sweeping: what was not marked becomes free. Ports mgcsweep.go.
//
// A cycle begins by adding 2 to sweepgen, which makes every span unswept and every swept set an unswept set. Whoever raises
// a span's sweepgen from h->sweepgen - 2 to - 1 owns its sweep, once.
//
// Invariants: allocCount only falls at a sweep; marks of a span are a subset of its allocated slots (else: a zombie, thrown);
//   sweep.active counts sweepers, plus a bit when no unswept span is left in the sets; sweep.centralIndex only grows in a cycle.
#include "gomem/mbitmap.h"

// ---- sweep.active

sweepLocker activeSweep_begin(mheap *h) {
	activeSweep *a = &h->sweep.active;
	uint32_t state = atomic_load(&a->state);
	for (;;) {
		if ((state & sweepDrainedMask) != 0) {
			return (sweepLocker){h->sweepgen, false};
		}
		if (atomic_compare_exchange_weak(&a->state, &state, state + 1)) {
			return (sweepLocker){h->sweepgen, true};
		}
	}
}

void activeSweep_end(mheap *h, sweepLocker sl) {
	if (sl.sweepGen != h->sweepgen) {
		gomem_throw(&h->env, "sweeper left outstanding across sweep generations");
	}
	activeSweep *a = &h->sweep.active;
	if ((atomic_load(&a->state) & ~sweepDrainedMask) == 0) {
		gomem_throw(&h->env, "mismatched begin/end of activeSweep");
	}
	atomic_fetch_sub(&a->state, 1);
}

bool activeSweep_markDrained(mheap *h) {
	return (atomic_fetch_or(&h->sweep.active.state, sweepDrainedMask) & sweepDrainedMask) == 0;
}

bool activeSweep_isDone(mheap *h) { return atomic_load(&h->sweep.active.state) == sweepDrainedMask; }

bool isSweepDone(mheap *h) { return activeSweep_isDone(h); }

sweepLocker activeSweep_beginGiven(mheap *h) {
	if (h->policy.sweepActive == NULL) {
		return activeSweep_begin(h);
	}
	atomic_fetch_add(&h->sweep.active.state, 1);
	return (sweepLocker){h->sweepgen, true};
}

// ---- ownership

static bool tryAcquire(mheap *h, sweepLocker sl, mspan *s, unsigned reason) {
	// The state first: who frees a span has raised its sweepgen before.
	const bool inUse = mspan_state(s) == mSpanInUse;
	const uint32_t sg = atomic_load(&s->sweepgen);
	if (reason == 3 && !inUse) {
		if (sg != sl.sweepGen && sg != sl.sweepGen + 3) {
			gomem_throw(&h->env, "non in-use span in unswept list");
		}
		return false;
	}
	uint32_t unswept = sl.sweepGen - 2;
	return sg == unswept && atomic_compare_exchange_strong(&s->sweepgen, &unswept, sl.sweepGen - 1);
}

bool sweepLocker_tryAcquire(mheap *h, sweepLocker sl, mspan *s, unsigned reason) {
	if (!sl.valid) {
		gomem_throw(&h->env, "use of invalid sweepLocker");
	}
	lab_turn(&h->env, EV_ACQUIRE);
	bool ok = tryAcquire(h, sl, s, reason);
	lab_event(&h->env, EV_ACQUIRE, ok, (uintptr_t)s, reason, 0);
	return ok;
}

// ---- one span

// sweepZombies looks for marked objects that were free: from freeindex on, word by word. Behind nelems no bit is set.
static void sweepZombies(mheap *h, const mspan *s) {
	uint64_t mayBeFree = ~lowBits64(s->freeindex % 64);
	for (uintptr_t i = s->freeindex / 64 * 8; i < ((uintptr_t)s->nelems + 63) / 64 * 8; i += 8) {
		if ((loadBits64(s->gcmarkBits + i) & ~loadBits64(s->allocBits + i) & mayBeFree) != 0) {
			gomem_throw(&h->env, "found pointer to free object");
		}
		mayBeFree = ~(uint64_t)0;
	}
}

// sweepSpecials asks the policy about each unmarked object with specials, and drops those of objects that stay dead.
static void sweepSpecials(mheap *h, mspan *s) {
	if (s->specials == NULL) {
		return;
	}
	special **at = &s->specials;
	while (*at != NULL) {
		special *sp = *at;
		uintptr_t objIndex = sp->offset / s->elemsize;
		if (!mspan_isMarked(h, s, objIndex) && h->policy.reviveSpecial != NULL &&
			h->policy.reviveSpecial(h->policy.ctx, h, s, objIndex)) {
			s->gcmarkBits[objIndex / 8] |= (uint8_t)(1u << (objIndex % 8));
		}
		bool lives = mspan_isMarked(h, s, objIndex) || (s->gcmarkBits[objIndex / 8] >> (objIndex % 8) & 1) != 0;
		if (lives) {
			at = &sp->next;
		} else {
			*at = sp->next;
		}
	}
	if (s->specials == NULL) {
		spanHasNoSpecials(h, s);
	}
}

// retireDead tells sanitizers that what was not marked is nobody's.
static void retireDead(mheap *h, const mspan *s) {
	if (!poisonForbids && !poisonUndefines) {
		return;
	}
	for (uintptr_t i = 0; i < s->nelems; i++) {
		if ((s->gcmarkBits[i / 8] >> i % 8 & 1) == 0) {
			heapMem_retire(&h->env, mspan_base(s) + i * s->elemsize, s->elemsize);
		}
	}
}

// sweepPlace puts a swept span where it belongs. true: it had no live object and is free.
static bool sweepPlace(mheap *h, gomem_p *p, mspan *s, uint16_t nalloc, uint16_t nfreed) {
	mcentral *c = &h->central[s->spanclass].mcentral;
	bool small = spanClass_sizeclass(s->spanclass) != 0;
	if (small ? nalloc == 0 : nfreed != 0) {
		mheap_freeSpan(h, p, s);
		return true;
	}
	bool full = !small || nalloc == s->nelems;
	if (!(full ? mcentral_pushFullSwept(h, c, s) : mcentral_pushPartialSwept(h, c, s))) {
		gomem_throw(&h->env, "out of memory for a span set while sweeping");
	}
	return false;
}

static void sweepAccount(mheap *h, gomem_p *p, const mspan *s, uint16_t nfreed) {
	if (nfreed == 0) {
		return;
	}
	heapStatsDelta *d = heapStats_of(h, p);
	uint8_t sizeclass = spanClass_sizeclass(s->spanclass);
	if (sizeclass != 0) {
		heapStats_add(p, &d->smallFreeCount[sizeclass], nfreed);
	} else {
		heapStats_add(p, &d->largeFreeCount, 1);
		heapStats_add(p, &d->largeFree, s->elemsize);
	}
	atomic_fetch_add_explicit(&h->stats.totalFree, (uint64_t)nfreed * s->elemsize, memory_order_relaxed);
}

bool mspan_sweep(mheap *h, gomem_p *p, mspan *s, bool preserve) {
	gomem_env *env = &h->env;
	const uint32_t sweepgen = h->sweepgen;
	if (mspan_state(s) != mSpanInUse || atomic_load(&s->sweepgen) != sweepgen - 1) {
		gomem_throw(env, "mspan_sweep: bad span state");
	}
	atomic_fetch_add_explicit(&h->pagesSwept, s->npages, memory_order_relaxed);
	sweepSpecials(h, s);
	if (gcUsesSpanInlineMarkBits(env, s->elemsize)) {
		mspan_moveInlineMarks(h, s);
	}
	if (h->policy.loadMarks != NULL) {
		h->policy.loadMarks(h->policy.ctx, h, p, s);
	}
	sweepZombies(h, s);
	uint16_t nalloc = (uint16_t)mspan_countAlloc(&h->env, s);
	if (nalloc > s->allocCount) {
		gomem_throw(env, "sweep increased allocation count");
	}
	uint16_t nfreed = (uint16_t)(s->allocCount - nalloc);
	lab_event(env, EV_SWEEP,
		(uint64_t)preserve | (uint64_t)s->nelems << 1 | (uint64_t)s->allocCount << 17 | (uint64_t)s->freeindex << 33,
		(uintptr_t)s, mspan_base(s), s->npages | (uint64_t)nalloc << 32);
	gcBits *fresh = newMarkBits(env, &h->gcBitsArenas, s->nelems);
	if (fresh == NULL) {
		gomem_throw(env, "out of memory for mark bits while sweeping");
	}
	if (guardsBuilt && h->guardSweep != NULL) {
		h->guardSweep(h, s);
	}
	retireDead(h, s);
	s->allocCount = nalloc;
	s->freeindex = 0;
	s->freeIndexForScan = 0;
	s->allocBits = s->gcmarkBits;
	s->gcmarkBits = fresh;
	mspan_refillAllocCache(s, 0);
	atomic_store(&s->sweepgen, sweepgen);
	sweepAccount(h, p, s, nfreed);
	if (spanClass_sizeclass(s->spanclass) != 0 && nfreed > 0) {
		s->needzero = 1;
	}
	return preserve ? false : sweepPlace(h, p, s, nalloc, nfreed);
}

// ---- all spans

static void centralIndex_update(mheap *h, uint32_t sc) {
	lab_turn(&h->env, EV_SCUPDATE);
	uint32_t old = atomic_load(&h->sweep.centralIndex);
	while (old < sc && !atomic_compare_exchange_weak(&h->sweep.centralIndex, &old, sc)) {
	}
	lab_event(&h->env, EV_SCUPDATE, sc, 0, 0, 0);
}

mspan *mheap_nextSpanForSweep(mheap *h) {
	const unsigned unswept = 1 - h->sweepgen / 2 % 2;
	lab_turn(&h->env, EV_SCLOAD);
	uint32_t sc = atomic_load(&h->sweep.centralIndex);
	lab_event(&h->env, EV_SCLOAD, sc, 0, 0, 0);
	for (; sc < layout_numSweepClasses(layout_get(&h->env)); sc++) {
		spanClass spc = (spanClass)(sc >> 1);
		bool full = (sc & 1) == 0;
		mcentral *c = &h->central[spc].mcentral;
		spanSet *set = full ? &c->full[unswept] : &c->partial[unswept];
		mspan *s = spanSet_pop(&h->env, set, mcentral_setID(spc, full, unswept));
		if (s != NULL) {
			centralIndex_update(h, sc);
			return s;
		}
	}
	centralIndex_update(h, sweepClassDone);
	return NULL;
}

uintptr_t sweepone(mheap *h, gomem_p *p) {
	sweepLocker sl = activeSweep_beginGiven(h);
	if (!sl.valid) {
		return ~(uintptr_t)0;
	}
	uintptr_t npages = ~(uintptr_t)0;
	for (;;) {
		mspan *s = mheap_nextSpanForSweep(h);
		if (s == NULL) {
			activeSweep_markDrained(h);
			break;
		}
		if (!sweepLocker_tryAcquire(h, sl, s, 3)) {
			continue;
		}
		npages = s->npages;
		if (mspan_sweep(h, p, s, false)) {
			atomic_fetch_add(&h->reclaimCredit, npages);
		} else {
			npages = 0;
		}
		break;
	}
	activeSweep_end(h, sl);
	return npages;
}

void mspan_ensureSwept(mheap *h, gomem_p *p, mspan *s) {
	sweepLocker sl = activeSweep_beginGiven(h);
	if (sl.valid) {
		bool mine = sweepLocker_tryAcquire(h, sl, s, 4);
		if (mine) {
			mspan_sweep(h, p, s, false);
		}
		activeSweep_end(h, sl);
		if (mine) {
			return;
		}
	}
#if !GOMEM_LAB
	// Somebody else is sweeping it. (In a lab build that one cannot run meanwhile, and nobody depends on the wait.)
	for (;;) {
		uint32_t sg = atomic_load(&s->sweepgen);
		if (sg == sl.sweepGen || sg == sl.sweepGen + 3) {
			return;
		}
	}
#endif
}

// ---- pacing of sweeping against allocation

void deductSweepCredit(mheap *h, gomem_p *p, uintptr_t spanBytes, uintptr_t callerSweepPages) {
	const double pagesPerByte = atomic_load_explicit(&h->sweepPagesPerByte, memory_order_relaxed);
	if (pagesPerByte == 0) {
		return;
	}
	for (;;) {
		uint64_t sweptBasis = atomic_load(&h->pagesSweptBasis);
		uint64_t live = atomic_load(&h->stats.heapLive);
		uint64_t newHeapLive = spanBytes;
		if (h->sweepHeapLiveBasis < live) {
			newHeapLive += live - h->sweepHeapLiveBasis;
		}
		int64_t pagesTarget = (int64_t)(pagesPerByte * (double)newHeapLive) - (int64_t)callerSweepPages;
		bool basisMoved = false;
		while (!basisMoved && pagesTarget > (int64_t)(atomic_load(&h->pagesSwept) - sweptBasis)) {
			if (sweepone(h, p) == ~(uintptr_t)0) {
				atomic_store_explicit(&h->sweepPagesPerByte, 0, memory_order_relaxed);
				return;
			}
			basisMoved = atomic_load(&h->pagesSweptBasis) != sweptBasis;
		}
		if (!basisMoved) {
			return;
		}
	}
}

void gcPaceSweeper(mheap *h, uint64_t trigger) {
	const int64_t pageSize = (int64_t)layout_pageSize(layout_get(&h->env));
	if (isSweepDone(h)) {
		h->sweepPagesPerByte = 0;
		return;
	}
	uint64_t heapLiveBasis = atomic_load(&h->stats.heapLive);
	// Less 1 MiB, so that sweeping ends before the next cycle is due.
	int64_t heapDistance = (int64_t)trigger - (int64_t)heapLiveBasis - 1024 * 1024;
	if (heapDistance < pageSize) {
		heapDistance = pageSize;
	}
	uint64_t pagesSwept = atomic_load(&h->pagesSwept);
	int64_t sweepDistancePages = (int64_t)atomic_load(&h->pagesInUse) - (int64_t)pagesSwept;
	if (sweepDistancePages <= 0) {
		h->sweepPagesPerByte = 0;
		return;
	}
	h->sweepPagesPerByte = (double)sweepDistancePages / (double)heapDistance;
	h->sweepHeapLiveBasis = heapLiveBasis;
	atomic_store(&h->pagesSweptBasis, pagesSwept);
}

// ---- the ends of a cycle

void finishsweep_m(mheap *h, gomem_p *p) {
	while (sweepone(h, p) != ~(uintptr_t)0) {
	}
	if ((atomic_load(&h->sweep.active.state) & ~sweepDrainedMask) != 0) {
		gomem_throw(&h->env, "active sweepers found at start of mark phase");
	}
	finishsweep_reset(h);
}

void finishsweep_reset(mheap *h) {
	for (int i = 0; i < maxSpanClasses; i++) {
		mcentral *c = &h->central[i].mcentral;
		spanSet_reset(&h->env, mcentral_partialUnswept(c, h->sweepgen));
		spanSet_reset(&h->env, mcentral_fullUnswept(c, h->sweepgen));
	}
	nextMarkBitArenaEpoch(&h->env, &h->gcBitsArenas);
}

void gcResetMarkState(mheap *h) {
	for (intptr_t i = 0; i < h->heapArenas.len; i++) {
		heapArena *ha = mheap_arenaAt(h, h->heapArenas.p[i]);
		memset((void *)ha->pageMarks, 0, sizeof ha->pageMarks);
	}
}

void gcSweep(mheap *h) {
	if (atomic_load(&h->gcphase) != gcOff) {
		gomem_throw(&h->env, "gcSweep being done but phase is not GCoff");
	}
	lock(&h->env, &h->lock);
	h->sweepgen += 2;
	atomic_store(&h->sweep.active.state, 0);
	atomic_store(&h->pagesSwept, 0);
	h->sweepArenas = h->heapArenas;
	atomic_store(&h->reclaimIndex, 0);
	atomic_store(&h->reclaimCredit, 0);
	unlock(&h->env, &h->lock);
	atomic_store(&h->sweep.centralIndex, 0);
}

void setGCPhase(mheap *h, uint32_t phase) {
	atomic_store(&h->gcphase, phase);
	h->gcBlackenEnabled = phase == gcMark;
	for (int32_t i = 0; i < h->nallp; i++) {
		if (h->allp[i] != NULL) {
			p_setWays(h, h->allp[i]);
		}
	}
}
