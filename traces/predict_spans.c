// predict_spans.c: where a span lies.
//
// After each event the span is where Go has it.
#include "traces/predict_state.h"

// isUnseen: some page was not in a span since the trace began: it may have been in a page cache, or given out at random.
static bool isUnseen(predictor *pr, uint64_t base, uint64_t npages) {
	for (uint64_t i = 0; i < npages; i++) {
		const page_info *pi = pages_at(&pr->ph.pages, base + (i << predictPageShift));
		if (pi == NULL || (pi->flags & PAGE_SEEN) == 0) {
			return true;
		}
	}
	return false;
}

predict_kind pr_spanKind(uint16_t class) {
	return class == GOTRACE_MANUAL ? PREDICT_SPAN_MANUAL : class <= 1 ? PREDICT_SPAN_LARGE : PREDICT_SPAN_SMALL;
}

static mspan *allocSpan(predictor *pr, gomem_p *p, const gotrace_event *e) {
	if (e->class == GOTRACE_MANUAL) {
		return mheap_allocManual(pr->h, p, (uintptr_t)e->n, spanAllocStack);
	}
	if (e->class <= 1) {
		return mcache_allocLarge(
			pr->h, p, p != NULL ? p->mcache : NULL, (uintptr_t)(e->n << predictPageShift), (e->class & 1) != 0);
	}
	return mheap_alloc(pr->h, p, (uintptr_t)e->n, (spanClass)e->class);
}

void pr_notePcache(predictor *pr, gomem_p *p, uint64_t before) {
	if (p != NULL && pr->ps[p->id].pcache == PCACHE_ADOPTED && p->pcache.base != before) {
		pr->ps[p->id].pcache = PCACHE_KNOWN;
	}
}

// adoptPcache: the first span of a P shows where its page cache is.
static mspan *adoptPcache(predictor *pr, gomem_p *p, const gotrace_event *e) {
	pr->ps[p->id].pcache = PCACHE_ADOPTED;
	mspan *s = allocSpan(pr, NULL, e);
	if (s == NULL) {
		return NULL;
	}
	if (s->startAddr != e->addr && !span_move(&pr->ph, NULL, s, e->addr, 0)) {
		return NULL;
	}
	pr_flushPcache(pr, p);
	pcache_adopt(&pr->ph, p, e->addr, 0, true);
	pr->ps[p->id].block = pcache_block(e->addr);
	pr_countAdopted(pr, pr_spanKind(e->class));
	return s;
}

// isHeldUnseen: a page was never in a span, and is not free, because Go passed it over earlier: it was in a page cache when the trace began.
static bool isHeldUnseen(predictor *pr, uint64_t base, uint64_t npages) {
	for (uint64_t i = 0; i < npages; i++) {
		const uint64_t page = base + (i << predictPageShift);
		if (isUnseen(pr, page, 1) && page_isHeld(&pr->ph, page)) {
			return true;
		}
	}
	return false;
}

// mayHide: a P may still have the page in its cache, that it had when the trace began. Each has one block of pages at most.
static bool mayHide(predictor *pr, uint64_t page) {
	const uint64_t block = pcache_block(page);
	int32_t hidden = 0;
	for (int32_t i = 0; i < pr->h->nallp; i++) {
		hidden += pr->ps[i].pcache != PCACHE_KNOWN;
	}
	for (int32_t i = 0; i < pr->nhidden; i++) {
		if (pr->hidden[i] == block) {
			return hidden > 0;
		}
	}
	if (pr->nhidden >= hidden) {
		return false;
	}
	pr->hidden[pr->nhidden++] = block;
	return true;
}

// wrongSpan puts s where Go has it, and says what that means.
static bool wrongSpan(predictor *pr, gomem_p *p, mspan *s, const gotrace_event *e) {
	const uint64_t predicted = s->startAddr;
	const predict_kind kind = pr_spanKind(e->class);
	const bool unseen = isUnseen(pr, predicted, e->n) && mayHide(pr, predicted);
	const bool hiddenCache = pr_usesCache(p, e->n) && pr->ps[p->id].pcache != PCACHE_KNOWN;
	if (unseen || hiddenCache || isHeldUnseen(pr, e->addr, e->n)) {
		pr_countAdopted(pr, kind);
	} else {
		pr_countMismatch(pr, kind, predicted, "the lowest free pages, of the P's page cache or the heap, are others");
	}
	// One page always comes from the page cache. Either the P still has the one that it had, and the port's was empty too early. Or Go took
	// another block: then the page that the port wanted is not free, but in the cache of some P.
	const uint64_t block = pcache_block(e->addr);
	const bool single = pr_usesCache(p, e->n) && e->n == 1;
	const bool same = single && pr->ps[p->id].block == block && pcache_block(predicted) != block;
	if (!span_move(&pr->ph, p, s, e->addr, same || e->addr < predicted ? 0 : 1)) {
		return false;
	}
	if (single && p->pcache.base == block) {
		// The lowest page of a cache is taken: Go's has none below, they were freed after it was filled.
		pcache_dropBelow(&pr->ph, p, e->addr);
		// And if the port's had none so low, Go's was filled later than the port's: it has all that was free.
		pcache_extend(&pr->ph, p, e->addr, predicted);
	}
	if (single && p->pcache.base != block) {
		pr_flushPcache(pr, p);
		pcache_adopt(&pr->ph, p, e->addr, same ? e->addr : 0, hiddenCache);
	}
	return true;
}

// untoldAt gives an untold span that has some of the n pages from base on.
static untold_span *untoldAt(predictor *pr, uint64_t base, uint64_t n) {
	const uint64_t before = (untoldPages - 1) << predictPageShift;
	for (uint64_t at = base - before; at < base + (n << predictPageShift); at += (uint64_t)1 << predictPageShift) {
		untold_span *u = sweeps_untold(&pr->sweeps, at, pr->out->events);
		if (u != NULL) {
			return u;
		}
	}
	return NULL;
}

static bool overlaps(const mspan *s, const untold_span *u) {
	return s->startAddr < u->base + ((uint64_t)untoldPages << predictPageShift) &&
		u->base < s->startAddr + (s->npages << predictPageShift);
}

// nextBest gives the place that the port has for s if the pages of u are taken. 0: out of memory.
static uint64_t nextBest(predictor *pr, gomem_p *p, const mspan *s, const untold_span *u) {
	mspan *tried[untoldPages + 1] = {NULL};
	unsigned n = 0;
	do {
		tried[n] = mheap_allocManual(pr->h, p, s->npages, spanAllocStack);
	} while (tried[n] != NULL && overlaps(tried[n], u) && ++n < sizeof tried / sizeof tried[0] - 1);
	const uint64_t base = tried[n] != NULL ? tried[n]->startAddr : 0;
	for (unsigned i = 0; i <= n; i++) {
		if (tried[i] != NULL) {
			span_unalloc(&pr->ph, p, tried[i]);
		}
	}
	return base;
}

// placeUntold: the port would hand out pages of a span that the trace frees later without having told it. It was made before.
static bool placeUntold(predictor *pr, gomem_p *p, mspan *s, untold_span *u) {
	const uint64_t base = nextBest(pr, p, s, u);
	if (base == 0 || !span_move(&pr->ph, p, s, base, 0)) {
		return false;
	}
	mspan *m = mheap_allocManual(pr->h, NULL, untoldPages, spanAllocStack);
	if (m == NULL || (m->startAddr != u->base && !span_move(&pr->ph, NULL, m, u->base, 0))) {
		return false;
	}
	u->placed = true;
	pr->out->untold++;
	return heap_note(&pr->ph, m);
}

mspan *pr_comparePlace(predictor *pr, gomem_p *p, mspan *s, const gotrace_event *e) {
	if (s == NULL) {
		return NULL;
	}
	for (untold_span *u; (u = untoldAt(pr, s->startAddr, s->npages)) != NULL;) {
		if (!placeUntold(pr, p, s, u)) {
			return NULL;
		}
	}
	if (s->startAddr == e->addr) {
		pr_countEqual(pr, pr_spanKind(e->class));
	} else if (!wrongSpan(pr, p, s, e)) {
		return NULL;
	}
	if (pr_usesCache(p, e->n) && e->n == 1) {
		pr->ps[p->id].block = pcache_block(e->addr);
	}
	return s;
}

mspan *pr_placeSpan(predictor *pr, gomem_p *p, const gotrace_event *e) {
	if (pr_usesCache(p, e->n) && pr->ps[p->id].pcache == PCACHE_HIDDEN) {
		return adoptPcache(pr, p, e);
	}
	const uint64_t before = p != NULL ? p->pcache.base : 0;
	mspan *s = allocSpan(pr, p, e);
	pr_notePcache(pr, p, before);
	return pr_comparePlace(pr, p, s, e);
}
