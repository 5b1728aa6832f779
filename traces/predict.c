// predict.c: one step at a time: the port predicts, Go's answer is compared, the port's state becomes Go's. docs/PREDICT.md.
//
// Invariants: before each event the heap's spans are Go's, but for sweeps that freed nothing, which the trace does not tell
//   all == equal + late + adopted + mismatch, for each kind
//   a slot in `late` is allocated in the port's heap, or was since freed, and its object was not told yet
#include "traces/predict.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "traces/predict_heap.h"

enum {
	tinyClass = 5,
	tinyRing = 1024,
	maxRegions = 4,
	sweepBatch = 10,         // Go: sweepBatchSize
	maxLateTail = 16,        // free slots that a span may have left when its P asks for another
	idleAfter = 5000 * 1000, // ns after the world started: whoever ended the cycle has flushed the idle Ps by then
	progressEvery = 1 << 16,
};

const char *const predict_kind_names[PREDICT_KINDS] = {"tiny objects", "small objects", "large objects", "refills",
	"spans of small objects", "spans of large objects", "stacks and work buffers"};

// What the snapshot hides of a P's page cache.
enum { PCACHE_HIDDEN, PCACHE_ADOPTED, PCACHE_KNOWN };

typedef struct past_region {
	region_what what;
	uint64_t bytes; // swept, as the trace says
	uint64_t done;  // of these the port has swept so many already
	uint64_t last;  // the last span of which a free was told; 0: none
} past_region;

typedef struct p_state {
	uint64_t tinyLast;       // the block that was last shared; 0: none
	uint64_t tiny[tinyRing]; // blocks taken since, any of which may be the P's
	uint32_t ntiny;
	bool tinyKnown;
	bool running, toFlush;
	bool idle;     // its page cache is flushed too
	bool flushing; // its cache is being flushed: the classes below flushAt are
	int flushAt;
	uint8_t pcache;
	uint64_t block; // of its page cache, as the last single page that Go took from it tells
	bool sweeper;   // the background sweeper runs on it, and swept that many
	uint32_t swept;
	region_what region; // that it is in
	uint32_t chunks;    // that reclaim looks at before the next span is made
	uint32_t nregions;  // that ended since its last allocation
	past_region regions[maxRegions];
	uint64_t last, done; // of the region that it is in
} p_state;

typedef struct late_slot {
	uint64_t addr;
	UT_hash_handle hh;
	predict_mismatch by; // the decision that skipped it
	bool counted;        // that decision is among `equal`
} late_slot;

typedef struct predictor {
	predict_heap ph;
	gomem_heap *h;
	predict_sweeps sweeps;
	predict_result *out;
	const predict_options *opt;
	p_state *ps;
	snapshot snap;
	late_slot *late;
	uint32_t cycle, nextGroup, nextRegion;
	unsigned version;
	bool imported, begun, marking, early; // early: sweeps were told before the end of the cycle
	bool idlePending;                     // the idle Ps are still to be flushed
	uint64_t idleAt;                      // by when; 0: the world has not started since the cycle ended
	bool idling;                          // the idle Ps are flushed, idleNext of them are
	int32_t idleNext;
	uint64_t ender; // the M that ended the cycle
	uint64_t wanted;                      // base of a span to be swept
	bool wantedDone;
	uint64_t sweptBytes;
	uint32_t sweeperCut; // spans of a batch of the background sweeper that was preempted
	uint64_t kept; // base of a span without objects that Go did not free: mcentral swept it, and a P took it. 0: none
	spanClass keptClass;
	bool grew; // mcentral asked for a new span
	spanClass refilling;
	uint64_t passed[numSpanClasses]; // the last span that the port chose and Go did not
	gomem_p *running;
	const gotrace_event *e;
	jmp_buf threw;
	bool noMemory;
} predictor;

// ---- counts

static predict_mismatch describe(const predictor *pr, predict_kind kind, uint64_t predicted, const char *why) {
	return (predict_mismatch){.kind = kind,
		.event = pr->out->events,
		.offset = pr->e->offset,
		.p = pr->e->p,
		.class = pr->e->class,
		.predicted = predicted,
		.actual = pr->e->addr,
		.why = why};
}

static void listMismatch(predictor *pr, const predict_mismatch *m) {
	predict_result *r = pr->out;
	if (r->listed == pr->opt->mismatches) {
		return;
	}
	if (r->list == NULL) {
		r->list = calloc(pr->opt->mismatches, sizeof(*r->list));
	}
	if (r->list != NULL) {
		r->list[r->listed++] = *m;
	}
}

static void countEqual(predictor *pr, predict_kind kind) {
	pr->out->kinds[kind].all++;
	pr->out->kinds[kind].equal++;
}

static void countLate(predictor *pr, predict_kind kind) {
	pr->out->kinds[kind].all++;
	pr->out->kinds[kind].late++;
}

static void countAdopted(predictor *pr, predict_kind kind) {
	pr->out->kinds[kind].all++;
	pr->out->kinds[kind].adopted++;
}

static void countMismatch(predictor *pr, predict_kind kind, uint64_t predicted, const char *why) {
	const predict_mismatch m = describe(pr, kind, predicted, why);
	pr->out->kinds[kind].all++;
	pr->out->kinds[kind].mismatch++;
	listMismatch(pr, &m);
}

// ---- late objects

static late_slot *lateFind(predictor *pr, uint64_t addr) {
	late_slot *l = NULL;
	if (pr->late != NULL) {
		HASH_FIND(hh, pr->late, &addr, sizeof(addr), l);
	}
	return l;
}

static void lateAdd(predictor *pr, uint64_t addr, predict_kind kind, bool counted, const char *why) {
	if (lateFind(pr, addr) != NULL) {
		return;
	}
	late_slot *l = calloc(1, sizeof(*l));
	if (l == NULL) {
		pr->noMemory = true;
		return;
	}
	l->addr = addr;
	l->by = describe(pr, kind, addr, why);
	l->counted = counted;
	HASH_ADD(hh, pr->late, addr, sizeof(l->addr), l);
}

static bool lateTake(predictor *pr, uint64_t addr) {
	late_slot *l = lateFind(pr, addr);
	if (l == NULL) {
		return false;
	}
	HASH_DEL(pr->late, l);
	free(l);
	return true;
}

// lateEnd: an object that never came was none: what skipped its slot was no equal decision.
static void lateEnd(predictor *pr) {
	late_slot *l, *next;
	uint64_t lastEvent = UINT64_MAX;
	HASH_ITER(hh, pr->late, l, next) {
		predict_count *c = &pr->out->kinds[l->by.kind];
		if (l->counted && l->by.event != lastEvent && c->equal > 0) {
			c->equal--;
			c->mismatch++;
			listMismatch(pr, &l->by);
			lastEvent = l->by.event;
		}
		HASH_DEL(pr->late, l);
		free(l);
	}
}

// ---- what the trace knows of a sweep

static sweep_group *groupAt(predictor *pr, uint64_t base) {
	const page_info *pi = pages_at(&pr->ph.pages, base);
	sweep_group *g = pi == NULL || pi->group == 0 || pi->npages == 0 ? NULL : &pr->sweeps.groups[pi->group - 1];
	return g != NULL && g->cycle == pr->cycle ? g : NULL;
}

// showGroups makes the sweeps of this cycle known before they happen: their marks are an input.
static void showGroups(predictor *pr) {
	predict_sweeps *w = &pr->sweeps;
	for (; pr->nextGroup < w->len && w->groups[pr->nextGroup].cycle <= pr->cycle; pr->nextGroup++) {
		const sweep_group *g = &w->groups[pr->nextGroup];
		page_info *pi = g->how == SWEEP_CONTINUED ? NULL : pages_at(&pr->ph.pages, g->base);
		if (pi != NULL && g->cycle == pr->cycle) {
			pi->group = pr->nextGroup + 1;
		}
	}
}

static bool slotAllocated(const mspan *s, uintptr_t i) {
	return i < s->freeindex || (s->allocBits[i / 8] >> i % 8 & 1) != 0;
}

static void markAllocated(mspan *s) {
	const uintptr_t bytes = ((uintptr_t)s->nelems + 7) / 8;
	const uintptr_t whole = s->freeindex / 8;
	for (uintptr_t i = 0; i < bytes; i++) {
		s->gcmarkBits[i] = i < whole ? 0xff : s->allocBits[i];
	}
	if (whole < bytes) {
		s->gcmarkBits[whole] |= (uint8_t)((1u << s->freeindex % 8) - 1);
	}
	if (s->nelems % 8 != 0) {
		s->gcmarkBits[bytes - 1] &= (uint8_t)((1u << s->nelems % 8) - 1);
	}
}

static void unmarkFreed(predictor *pr, mspan *s, const sweep_group *g) {
	for (;;) {
		for (uint32_t k = 0; k < g->n; k++) {
			const uintptr_t offset = (uintptr_t)pr->sweeps.offsets[g->first + k] << 3;
			const uintptr_t i = spanClass_sizeclass(s->spanclass) == 0 ? 0 : offset / s->elemsize;
			if (i >= s->nelems) {
				continue;
			}
			if (!slotAllocated(s, i)) {
				// Taken before the cycle began, by a call that has not ended yet.
				lateAdd(pr, s->startAddr + i * s->elemsize, PREDICT_SMALL, false, "");
			}
			s->gcmarkBits[i / 8] &= (uint8_t) ~(1u << i % 8);
		}
		if (g->more == 0) {
			return;
		}
		g = &pr->sweeps.groups[g->more];
	}
}

// loadMarks: an object lives if the trace does not say that this sweep frees it.
static void loadMarks(void *ctx, gomem_heap *h, gomem_p *p, mspan *s) {
	(void)h;
	(void)p;
	predictor *pr = ctx;
	markAllocated(s);
	const sweep_group *g = groupAt(pr, s->startAddr);
	page_info *pi = pages_at(&pr->ph.pages, s->startAddr);
	if (g != NULL) {
		unmarkFreed(pr, s, g);
		pi->flags &= (uint8_t)~PAGE_HIDDEN;
		if (g->freed && !g->told) {
			pi->flags |= PAGE_FREED;
		}
	}
	if (g != NULL && !g->freed && spanClass_sizeclass(s->spanclass) != 0 && mspan_countAlloc(s) == 0) {
		pr->kept = s->startAddr;
		pr->keptClass = s->spanclass;
	}
	if (s->startAddr == pr->wanted) {
		pr->wantedDone = true;
	}
	pr->sweptBytes += s->npages << predictPageShift;
}

// ---- when: answered from the trace

// keepSpan: the port's sweeper came to a span before the P that took it, and freed it. It is made again.
static void keepSpan(predictor *pr) {
	const uint64_t base = pr->kept;
	if (base == 0) {
		return;
	}
	pr->kept = 0;
	page_info *pi = pages_at(&pr->ph.pages, base);
	if (span_at(pr->h, base) != NULL || pi == NULL || pi->npages == 0) {
		return;
	}
	mspan *s = mheap_alloc(pr->h, NULL, pi->npages, pr->keptClass);
	if (s == NULL || (s->startAddr != base && !span_move(&pr->ph, NULL, s, base, 0)) ||
		!mcentral_pushPartialSwept(pr->h, &pr->h->central[s->spanclass].mcentral, s)) {
		pr->noMemory = true;
	}
}

// toldLater: the trace comes to the sweep of s yet: so far it was not swept.
static sweep_group *toldLater(predictor *pr, const mspan *s) {
	sweep_group *g = s != NULL ? groupAt(pr, s->startAddr) : NULL;
	return g != NULL && !g->seen && !g->told ? g : NULL;
}

// putOff takes s out of its set until the trace comes to it: its turn has come, but another M that has it has not told yet.
static void putOff(predictor *pr, mspan *s, sweep_group *g) {
	span_putOff(pr->h, s);
	g->putOff = true;
}

// refillTook: mcentral has taken s from its set, for the P that allocates in it next.
static sweep_group *refillTook(predictor *pr, const mspan *s) {
	sweep_group *g = s != NULL ? groupAt(pr, s->startAddr) : NULL;
	return g != NULL && g->seen && g->how == SWEEP_BY_REFILL ? g : NULL;
}

// sweepOne sweeps the next span. What is told later ends it, or is passed over if a later one was surely swept.
static bool sweepOne(predictor *pr, gomem_p *p, bool passOver) {
	for (;;) {
		mspan *s = heap_nextUnswept(pr->h);
		sweep_group *later = toldLater(pr, s), *took = refillTook(pr, s);
		if (later != NULL && !passOver) {
			return false;
		}
		if (later == NULL && took == NULL) {
			break;
		}
		putOff(pr, s, later != NULL ? later : took);
	}
	const bool some = sweepone(pr->h, p) != ~(uintptr_t)0;
	keepSpan(pr);
	return some;
}

static bool isUnswept(const predictor *pr, mspan *s) { return atomic_load(&s->sweepgen) == pr->h->sweepgen - 2; }

// willSweep: mcentral finds no swept span of this class, and sweeps one that has nothing to free, as the trace says by being silent.
static bool willSweep(predictor *pr, spanClass spc, uint64_t bytes) {
	gomem_heap *h = pr->h;
	const uint64_t spanBytes = (uint64_t)class_to_allocnpages[spanClass_sizeclass(spc)] << predictPageShift;
	if (spanSet_len(mcentral_partialSwept(&h->central[spc].mcentral, h->sweepgen)) != 0 || bytes % spanBytes != 0) {
		return false;
	}
	const mspan *s = span_nextUnswept(h, spc, false);
	if (s != NULL) {
		return bytes == spanBytes && groupAt(pr, s->startAddr) == NULL;
	}
	s = span_nextUnswept(h, spc, true);
	return s != NULL && groupAt(pr, s->startAddr) == NULL;
}

// sweepCredit sweeps as many bytes as the trace says, and at least to the last span that had something to free.
static void sweepCredit(predictor *pr, gomem_p *p, const past_region *r) {
	const uint64_t until = pr->sweptBytes + (r->bytes > r->done ? r->bytes - r->done : 0);
	mspan *s = r->last != 0 ? span_at(pr->h, r->last) : NULL;
	pr->wanted = s != NULL && isUnswept(pr, s) ? r->last : 0;
	pr->wantedDone = pr->wanted == 0;
	while ((pr->sweptBytes < until || !pr->wantedDone) && sweepOne(pr, p, !pr->wantedDone)) {
	}
	pr->wanted = 0;
}

// sweepForCredit sweeps what the trace says was swept before mcentral looked for a span, or a large one was allocated. It gives the
// span that mcentral swept itself then; 0: none.
static uint64_t sweepForCredit(predictor *pr, gomem_p *p, uintptr_t callerSweepPages) {
	if (pr->ps[p->id].nregions == 0) {
		return 0;
	}
	p_state *ps = &pr->ps[p->id];
	const uint64_t own = callerSweepPages == 0 && ps->regions[ps->nregions - 1].what == REGION_REFILL ? ps->regions[ps->nregions - 1].last : 0;
	// The last region is mcentral's own, if the port's will sweep too.
	uint32_t n = ps->nregions;
	if (ps->regions[n - 1].what == REGION_RECLAIM) {
		n--;
	}
	if (n > 0 && callerSweepPages == 0 &&
		(ps->regions[n - 1].what == REGION_REFILL ||
			(ps->regions[n - 1].what == REGION_UNKNOWN && willSweep(pr, pr->refilling, ps->regions[n - 1].bytes)))) {
		n--;
	}
	for (uint32_t i = 0; i < n; i++) {
		if (ps->regions[i].what != REGION_RECLAIM) {
			sweepCredit(pr, p, &ps->regions[i]);
		}
	}
	ps->nregions = 0;
	return own;
}

// putOffTaken: mcentral gets none that another P sweeps later, or has taken and not told yet; and first of all its own.
static void putOffTaken(predictor *pr, spanClass spc, uint64_t own) {
	for (int full = 0; full < 2; full++) {
		for (;;) {
			mspan *s = span_nextUnswept(pr->h, spc, full != 0);
			sweep_group *g = toldLater(pr, s);
			g = g != NULL ? g : refillTook(pr, s);
			if (g == NULL || s->startAddr == own) {
				break;
			}
			putOff(pr, s, g);
		}
	}
	mspan *s = own != 0 ? span_at(pr->h, own) : NULL;
	sweep_group *g = s != NULL ? groupAt(pr, own) : NULL;
	if (g != NULL && g->putOff && isUnswept(pr, s) && !span_putOn(pr->h, s)) {
		pr->noMemory = true;
	}
}

// deductCredit is called before mcentral looks for a span, or a large one is allocated.
static void deductCredit(void *ctx, gomem_heap *h, gomem_p *p, uintptr_t spanBytes, uintptr_t callerSweepPages) {
	(void)spanBytes;
	predictor *pr = ctx;
	if (p == NULL) {
		return;
	}
	const uint64_t own = sweepForCredit(pr, p, callerSweepPages);
	if (callerSweepPages == 0 &&
		spanSet_len(mcentral_partialSwept(&h->central[pr->refilling].mcentral, h->sweepgen)) == 0) {
		putOffTaken(pr, pr->refilling, own);
	}
}

// isUnmarked: the page bitmap has no mark for s, that is not swept. Green Tea leaves it out where objects have no pointers or one is marked
// alone, unless an object was allocated while marking was on.
static bool isUnmarked(predictor *pr, mspan *s) {
	const sweep_group *g = groupAt(pr, s->startAddr);
	if (g != NULL) {
		return g->how == SWEEP_BY_RECLAIM;
	}
	const page_info *pi = pages_at(&pr->ph.pages, s->startAddr);
	if (!gcUsesSpanInlineMarkBits(&pr->h->env, s->elemsize) || pi == NULL || pi->black == pr->cycle) {
		return false;
	}
	return spanClass_noscan(s->spanclass) || s->allocCount == 1;
}

// reclaim looks at chunks of pages as Go does, and sweeps what is in use and not marked.
static void reclaim(predictor *pr, gomem_p *p, uint32_t chunks) {
	gomem_heap *h = pr->h;
	const uint64_t from = atomic_load(&h->reclaimIndex), to = from + (uint64_t)chunks * reclaimChunkPages;
	for (uint64_t i = from; i < to && i / predictPiecePages < (uint64_t)h->sweepArenas.len; i++) {
		heapArena *ha = mheap_arenaAt(h, h->sweepArenas.p[i / predictPiecePages]);
		const uint64_t page = i % predictPiecePages;
		if ((atomic_load(&ha->pageInUse[page / 8]) >> page % 8 & 1) == 0) {
			continue;
		}
		mspan *s = ha->spans[page];
		if (isUnswept(pr, s) && isUnmarked(pr, s)) {
			(void)mheap_reclaimSpan(h, p, s);
			keepSpan(pr);
		}
	}
	atomic_store(&h->reclaimIndex, to);
}

// growing: mcentral found nothing, or a large object is allocated. What the trace says is reclaimed first, is.
static void growing(void *ctx, gomem_heap *h, gomem_p *p, uintptr_t npages) {
	(void)h;
	(void)npages;
	predictor *pr = ctx;
	pr->grew = true;
	if (p != NULL && pr->ps != NULL && pr->ps[p->id].chunks != 0) {
		const uint32_t chunks = pr->ps[p->id].chunks;
		pr->ps[p->id].chunks = 0;
		reclaim(pr, p, chunks);
	}
}

static void noTrigger(void *ctx, gomem_heap *h, gomem_p *p) {
	(void)ctx;
	(void)h;
	(void)p;
}

// ---- cycles

// dropUnused: Go never has a cached span without an object. The port may, where it was told wrongly.
static void dropUnused(predictor *pr, gomem_p *p) {
	for (int i = 0; i < numSpanClasses; i++) {
		mspan *s = p->mcache->alloc[i];
		if (s != &pr->h->emptymspan && s->allocCount == 0) {
			span_uncache(pr->h, p, s);
			(void)mcentral_pushPartialSwept(pr->h, &pr->h->central[i].mcentral, s);
		}
	}
}

static void flushPcache(predictor *pr, gomem_p *p) {
	lock(&pr->h->env, &pr->h->lock);
	pageCache_flush(&pr->h->env, &p->pcache, &pr->h->pages, p->id);
	unlock(&pr->h->env, &pr->h->lock);
}

static void beginFlush(predictor *pr, gomem_p *p) {
	p_state *ps = &pr->ps[p->id];
	ps->flushing = true;
	ps->flushAt = 0;
	ps->tinyLast = 0;
	ps->ntiny = 0;
	ps->tinyKnown = true;
	dropUnused(pr, p);
}

static void endFlush(predictor *pr, gomem_p *p) {
	pr->ps[p->id].toFlush = false;
	pr->ps[p->id].flushing = false;
	(void)mcache_prepareForSweep(pr->h, p, p->mcache);
	keepSpan(pr);
	if (pr->ps[p->id].idle) {
		pr->ps[p->id].idle = false;
		flushPcache(pr, p);
		pr->ps[p->id].pcache = PCACHE_KNOWN;
	}
}

// flushP flushes what is left in p's cache.
static void flushP(predictor *pr, gomem_p *p) {
	if (!pr->ps[p->id].toFlush) {
		return;
	}
	if (!pr->ps[p->id].flushing) {
		beginFlush(pr, p);
	}
	endFlush(pr, p);
}

// isSwept: the trace has told all of a sweep.
static bool isSwept(const sweep_group *g) { return g->freed ? g->told : g->left == 0; }

// flushSome flushes p's cache, class after class, as far as the trace has come: other Ms do the same with other caches, and each span goes
// into its set at the end of its own sweep. false: there is more.
static bool flushSome(predictor *pr, gomem_p *p) {
	p_state *ps = &pr->ps[p->id];
	if (!ps->toFlush) {
		return true;
	}
	if (!ps->flushing) {
		beginFlush(pr, p);
	}
	for (; ps->flushAt < numSpanClasses; ps->flushAt++) {
		mspan *s = p->mcache->alloc[ps->flushAt];
		if (s == &pr->h->emptymspan) {
			continue;
		}
		const sweep_group *g = groupAt(pr, s->startAddr);
		if (g != NULL && !isSwept(g)) {
			return false;
		}
		p->mcache->alloc[ps->flushAt] = &pr->h->emptymspan;
		if (!mcentral_uncacheSpan(pr->h, p, &pr->h->central[s->spanclass].mcentral, s)) {
			pr->noMemory = true;
		}
		keepSpan(pr);
	}
	endFlush(pr, p);
	return true;
}

static void flushAll(predictor *pr) {
	for (int32_t i = 0; i < pr->h->nallp; i++) {
		flushP(pr, pr->h->allp[i]);
	}
}

static void forceSweep(predictor *pr, mspan *s) {
	atomic_store(&s->sweepgen, pr->h->sweepgen - 1);
	(void)mspan_sweep(pr->h, pr->running, s, false);
	keepSpan(pr);
}

// sweepPutOff: the cycle ends, and nothing is unswept any more.
static void sweepPutOff(predictor *pr) {
	const predict_sweeps *w = &pr->sweeps;
	for (uint32_t i = pr->nextGroup; i-- > 0 && w->groups[i].cycle == pr->cycle;) {
		mspan *s = w->groups[i].putOff ? span_at(pr->h, w->groups[i].base) : NULL;
		if (s != NULL && s->startAddr == w->groups[i].base && isUnswept(pr, s)) {
			forceSweep(pr, s);
		}
	}
}

static void finishSweep(predictor *pr) {
	flushAll(pr);
	for (int32_t i = 0; i < pr->h->nallp; i++) {
		pr->ps[i].sweeper = false;
		pr->ps[i].nregions = pr->ps[i].chunks = 0;
	}
	while (sweepone(pr->h, pr->running) != ~(uintptr_t)0) {
		keepSpan(pr);
	}
	sweepPutOff(pr);
	finishsweep_m(pr->h, pr->running);
	pr->marking = true;
}

static void beginSweeping(predictor *pr) {
	if (!pr->marking) {
		return;
	}
	pr->marking = false;
	pr->early = true;
	if (!heap_unhold(&pr->ph)) {
		pr->noMemory = true;
	}
	gcSweep(pr->h);
	pr->cycle++;
	pr->out->cycles++;
	showGroups(pr);
	for (int32_t i = 0; i < pr->h->nallp; i++) {
		pr->ps[i].toFlush = true;
		pr->ps[i].flushing = pr->ps[i].idle = false;
	}
	if (pr->running != NULL) {
		flushP(pr, pr->running);
	}
	pr->idling = false;
	pr->idlePending = true;
	pr->idleAt = 0;
}

// endCycle: a cycle that was under way when the trace began has no beginning.
static void endCycle(predictor *pr) {
	if (!pr->early && !pr->marking) {
		finishSweep(pr);
	}
	beginSweeping(pr);
	pr->early = false;
}

// flushIdle: who ended the cycle flushes the caches of Ps that did nothing since the world started again, and their page caches.
static void flushIdle(predictor *pr) {
	const int32_t n = pr->h->nallp;
	for (; pr->idling && pr->idleNext < n; pr->idleNext++) {
		// The list of idle Ps has had the last one first since go1.26.
		const int32_t i = pr->version >= 26 ? n - 1 - pr->idleNext : pr->idleNext;
		gomem_p *p = pr->h->allp[i];
		if (!pr->ps[i].toFlush || pr->ps[i].running || sweeps_acquired(&pr->sweeps, pr->cycle, i)) {
			continue;
		}
		pr->ps[i].idle = true;
		if (!flushSome(pr, p)) {
			return;
		}
	}
	pr->idling = false;
}

static void beginIdle(predictor *pr) {
	if (pr->idlePending) {
		pr->idlePending = false;
		pr->idling = true;
		pr->idleNext = 0;
	}
	flushIdle(pr);
}

// goOnFlushing: the trace has come further in some sweep.
static void goOnFlushing(predictor *pr) {
	for (int32_t i = 0; i < pr->h->nallp; i++) {
		if (pr->ps[i].flushing) {
			(void)flushSome(pr, pr->h->allp[i]);
		}
	}
	flushIdle(pr);
}

// ---- sweeps

static bool isHidden(predictor *pr, const mspan *s) {
	const page_info *pi = pages_at(&pr->ph.pages, s->startAddr);
	return pi != NULL && pi->npages != 0 && (pi->flags & PAGE_HIDDEN) != 0;
}

// sweepSpan sweeps s now, in the way Go came to it.
static void sweepSpan(predictor *pr, mspan *s, sweep_how how) {
	if (atomic_load(&s->sweepgen) == pr->h->sweepgen + 1) {
		gomem_p *owner = span_owner(pr->h, s);
		if (owner != NULL && owner != pr->running && pr->running != NULL && !pr->ps[owner->id].running && !pr->ps[owner->id].flushing) {
			beginIdle(pr);
		} else if (owner != NULL) {
			(void)flushSome(pr, owner);
		}
		return;
	}
	if (!isUnswept(pr, s)) {
		return;
	}
	// The first flush of a P may find spans that it had before the trace began.
	const sweep_group *g = groupAt(pr, s->startAddr);
	// Without a P only caches are flushed: whoever has it took it from one.
	if (how == SWEEP_BY_RECLAIM || isHidden(pr, s) || (g != NULL && g->putOff) || pr->running == NULL) {
		forceSweep(pr, s);
		return;
	}
	pr->wanted = s->startAddr;
	pr->wantedDone = false;
	while (!pr->wantedDone && sweepOne(pr, pr->running, true)) {
		if (pr->running != NULL) {
			pr->ps[pr->running->id].swept++;
		}
	}
	pr->wanted = 0;
	if (!pr->wantedDone) {
		forceSweep(pr, s);
	}
}

// sweeperEnd: the background sweeper stops after whole batches, or when nothing is left.
static void sweeperEnd(predictor *pr, gomem_p *p) {
	p_state *ps = &pr->ps[p->id];
	if (!ps->sweeper) {
		return;
	}
	ps->sweeper = false;
	pr->sweeperCut = toldLater(pr, heap_nextUnswept(pr->h)) != NULL ? ps->swept % sweepBatch : 0;
	while ((ps->swept == 0 || ps->swept % sweepBatch != 0) && sweepOne(pr, p, false)) {
		ps->swept++;
	}
}

static void onGoStart(predictor *pr, gomem_p *p, const gotrace_event *e) {
	if (p == NULL) {
		return;
	}
	sweeperEnd(pr, p);
	if (pr->sweeps.sweeper != 0 && e->n == pr->sweeps.sweeper && !pr->marking) {
		pr->ps[p->id].sweeper = true;
		pr->ps[p->id].swept = pr->sweeperCut;
		pr->sweeperCut = 0;
	}
}

// sweepInRegion sweeps s for credit, and counts what comes before it too: the rest is swept when the region has ended.
static void sweepInRegion(predictor *pr, mspan *s) {
	const uint64_t before = pr->sweptBytes;
	sweepSpan(pr, s, SWEEP_BY_CREDIT);
	if (pr->running != NULL) {
		pr->ps[pr->running->id].done += pr->sweptBytes - before;
	}
}

static void onObjectFree(predictor *pr, const gotrace_event *e) {
	beginSweeping(pr);
	mspan *s = span_at(pr->h, e->addr);
	if (s == NULL || mspan_state(s) != mSpanInUse) {
		return;
	}
	sweep_group *g = groupAt(pr, s->startAddr);
	if (g == NULL) {
		return;
	}
	g->left -= g->left > 0;
	const bool cached = atomic_load(&s->sweepgen) == pr->h->sweepgen + 1;
	if (cached && !g->seen && !g->freed) {
		sweepSpan(pr, s, (sweep_how)g->how);
	}
	if (g->seen || (g->left != 0 && !cached && pr->h->gomaxprocs > 1)) {
		return; // another M may sweep one of the class and end before this one
	}
	g->seen = true;
	if (pr->running != NULL) {
		pr->ps[pr->running->id].last = s->startAddr;
	}
	if (g->putOff && !g->freed && isUnswept(pr, s)) {
		if (g->how != SWEEP_BY_REFILL) {
			forceSweep(pr, s);
		}
		return;
	}
	if (g->freed || cached) {
		return;
	}
	if (g->how == SWEEP_BY_CREDIT) {
		sweepInRegion(pr, s);
		return;
	}
	if (g->how == SWEEP_BY_SWEEPER || (g->how == SWEEP_BY_RECLAIM && pr->h->gomaxprocs != 1)) {
		sweepSpan(pr, s, (sweep_how)g->how);
	}
}

static void onSpanFree(predictor *pr, const gotrace_event *e) {
	page_info *pi = pages_at(&pr->ph.pages, e->addr);
	if (pi != NULL && (pi->flags & PAGE_FREED) != 0) {
		pi->flags &= (uint8_t)~PAGE_FREED;
		if (span_at(pr->h, e->addr) == NULL) {
			pages_unspan(&pr->ph.pages, e->addr);
		}
		return;
	}
	mspan *s = span_at(pr->h, e->addr);
	if (s == NULL || s->startAddr != e->addr) {
		return;
	}
	if (mspan_state(s) == mSpanManual) {
		mheap_freeManual(pr->h, pr->running, s, spanAllocStack);
		pages_unspan(&pr->ph.pages, e->addr);
		return;
	}
	beginSweeping(pr);
	sweep_group *g = groupAt(pr, e->addr);
	if (g != NULL) {
		g->told = true;
	}
	if (g != NULL && g->how == SWEEP_BY_CREDIT) {
		sweepInRegion(pr, s);
	} else {
		sweepSpan(pr, s, g != NULL ? (sweep_how)g->how : SWEEP_BY_RECLAIM);
	}
	s = span_at(pr->h, e->addr);
	if (s != NULL && s->startAddr == e->addr) {
		span_discard(&pr->ph, pr->running, s);
	}
	pi = pages_at(&pr->ph.pages, e->addr);
	if (pi != NULL) {
		pi->flags &= (uint8_t)~PAGE_FREED;
	}
	pages_unspan(&pr->ph.pages, e->addr);
}

// ---- spans

static void unhide(predictor *pr, const mspan *s) {
	page_info *pi = pages_at(&pr->ph.pages, s->startAddr);
	if (pi != NULL) {
		pi->flags &= (uint8_t)~PAGE_HIDDEN;
	}
}

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

static predict_kind spanKind(uint16_t class) {
	return class == GOTRACE_MANUAL ? PREDICT_SPAN_MANUAL : class <= 1 ? PREDICT_SPAN_LARGE : PREDICT_SPAN_SMALL;
}

static mspan *allocSpan(predictor *pr, gomem_p *p, const gotrace_event *e) {
	if (e->class == GOTRACE_MANUAL) {
		return mheap_allocManual(pr->h, p, e->n, spanAllocStack);
	}
	if (e->class <= 1) {
		return mcache_allocLarge(pr->h, p, p != NULL ? p->mcache : NULL, e->n << predictPageShift, (e->class & 1) != 0);
	}
	return mheap_alloc(pr->h, p, e->n, (spanClass)e->class);
}

static bool usesCache(const gomem_p *p, uint64_t npages) { return p != NULL && npages < pageCachePages / 4; }

// pcacheRefilled: the cache that p allocates from is one that the port filled.
static void notePcache(predictor *pr, gomem_p *p, uint64_t before) {
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
	flushPcache(pr, p);
	pcache_adopt(&pr->ph, p, e->addr, 0, true);
	pr->ps[p->id].block = pcache_block(e->addr);
	countAdopted(pr, spanKind(e->class));
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

// someHidden: a P may still have pages in its cache that it had when the trace began.
static bool someHidden(const predictor *pr) {
	for (int32_t i = 0; i < pr->h->nallp; i++) {
		if (pr->ps[i].pcache != PCACHE_KNOWN) {
			return true;
		}
	}
	return false;
}

// wrongSpan puts s where Go has it, and says what that means.
static bool wrongSpan(predictor *pr, gomem_p *p, mspan *s, const gotrace_event *e) {
	const uint64_t predicted = s->startAddr;
	const predict_kind kind = spanKind(e->class);
	const bool unseen = someHidden(pr) && isUnseen(pr, predicted, e->n);
	const bool hiddenCache = usesCache(p, e->n) && pr->ps[p->id].pcache != PCACHE_KNOWN;
	if (unseen || hiddenCache || isHeldUnseen(pr, e->addr, e->n)) {
		countAdopted(pr, kind);
	} else {
		countMismatch(pr, kind, predicted, "the lowest free pages, of the P's page cache or the heap, are others");
	}
	// One page always comes from the page cache. Either the P still has the one that it had, and the port's was empty too early. Or Go took
	// another block: then the page that the port wanted is not free, but in the cache of some P.
	const uint64_t block = pcache_block(e->addr);
	const bool single = usesCache(p, e->n) && e->n == 1;
	const bool same = single && pr->ps[p->id].block == block && pcache_block(predicted) != block;
	if (!span_move(&pr->ph, p, s, e->addr, same || e->addr < predicted ? 0 : 1)) {
		return false;
	}
	if (single && p->pcache.base != block) {
		flushPcache(pr, p);
		pcache_adopt(&pr->ph, p, e->addr, same ? e->addr : 0, hiddenCache);
	}
	return true;
}

// placeSpan predicts the address of a span, compares it and moves it. NULL: out of memory.
static mspan *comparePlace(predictor *pr, gomem_p *p, mspan *s, const gotrace_event *e) {
	if (s == NULL) {
		return NULL;
	}
	if (s->startAddr == e->addr) {
		countEqual(pr, spanKind(e->class));
	} else if (!wrongSpan(pr, p, s, e)) {
		return NULL;
	}
	if (usesCache(p, e->n) && e->n == 1) {
		pr->ps[p->id].block = pcache_block(e->addr);
	}
	return s;
}

static mspan *placeSpan(predictor *pr, gomem_p *p, const gotrace_event *e) {
	if (usesCache(p, e->n) && pr->ps[p->id].pcache == PCACHE_HIDDEN) {
		return adoptPcache(pr, p, e);
	}
	const uint64_t before = p != NULL ? p->pcache.base : 0;
	mspan *s = allocSpan(pr, p, e);
	notePcache(pr, p, before);
	return comparePlace(pr, p, s, e);
}

// ---- refills

// retire: p takes another span of class spc. What is free in its span belongs to calls that have not ended, if it is little.
static void retire(predictor *pr, gomem_p *p, spanClass spc) {
	mspan *s = p->mcache->alloc[spc];
	unsigned left = (unsigned)s->nelems - s->allocCount;
	if (left == 0) {
		return;
	}
	if (left > maxLateTail) {
		countMismatch(pr, PREDICT_REFILL, s->startAddr, "the P's span has free slots, and the P took another one");
		span_uncache(pr->h, p, s);
		(void)mcentral_pushPartialSwept(pr->h, &pr->h->central[spc].mcentral, s);
		return;
	}
	for (; left > 0; left--) {
		const uint16_t i = mspan_nextFreeIndex(pr->h, s);
		if (i == s->nelems) {
			break;
		}
		s->allocCount++;
		lateAdd(pr, s->startAddr + i * s->elemsize, PREDICT_REFILL, true,
			"the span had a free slot left, and no object came for it");
	}
	s->allocCount = s->nelems;
}

// unrefill takes back what the port chose: x, p's span now. hold: it is not to be chosen again in this cycle. Else it stays the first,
// or goes behind the others if Go passed it over before.
static void unrefill(predictor *pr, gomem_p *p, mspan *x, bool hold) {
	span_uncache(pr->h, p, x);
	if (pr->grew) {
		span_unalloc(&pr->ph, p, x);
		return;
	}
	const bool again = pr->passed[x->spanclass] == x->startAddr;
	pr->passed[x->spanclass] = x->startAddr;
	const bool ok = hold ? span_hold(&pr->ph, x)
		: again          ? mcentral_pushPartialSwept(pr->h, &pr->h->central[x->spanclass].mcentral, x)
						 : span_putFirst(pr->h, x);
	if (!ok) {
		pr->noMemory = true;
	}
}

// refill lets the port choose p's next span of class spc.
static mspan *refill(predictor *pr, gomem_p *p, spanClass spc) {
	retire(pr, p, spc);
	pr->grew = false;
	pr->refilling = spc;
	if (!mcache_refill(pr->h, p, p->mcache, spc)) {
		pr->noMemory = true;
		return NULL;
	}
	return p->mcache->alloc[spc];
}

// grown: Go made a new span for p's cache.
static bool onGrow(predictor *pr, gomem_p *p, const gotrace_event *e) {
	const spanClass spc = (spanClass)e->class;
	const bool hiddenPages = pr->ps[p->id].pcache == PCACHE_HIDDEN;
	const uint64_t before = p->pcache.base;
	mspan *x = refill(pr, p, spc);
	if (x == NULL) {
		return false;
	}
	if (pr->grew) {
		countEqual(pr, PREDICT_REFILL);
		notePcache(pr, p, before);
		if (!hiddenPages || !usesCache(p, e->n)) {
			return comparePlace(pr, p, x, e) != NULL && heap_note(&pr->ph, x);
		}
		unrefill(pr, p, x, false);
		flushPcache(pr, p);
	} else {
		const bool hidden = isHidden(pr, x);
		if (hidden) {
			countAdopted(pr, PREDICT_REFILL);
		} else {
			countMismatch(
				pr, PREDICT_REFILL, x->startAddr, "mcentral has a span with free slots, and Go made a new one");
		}
		unrefill(pr, p, x, true);
	}
	mspan *s = placeSpan(pr, p, e);
	return s != NULL && heap_note(&pr->ph, s) && span_cache(&pr->ph, p, s);
}

static bool onSpanAlloc(predictor *pr, gomem_p *p, const gotrace_event *e) {
	const bool manual = e->class == GOTRACE_MANUAL;
	if (e->n == 0 || e->n > (uint64_t)1 << 24 || (!manual && e->class >= numSpanClasses) ||
		(!manual && e->class > 1 && class_to_allocnpages[e->class >> 1] != e->n)) {
		countMismatch(pr, spanKind(e->class), 0, "no span of this class has so many pages");
		return true;
	}
	if (!manual && e->class > 1 && p != NULL) {
		return onGrow(pr, p, e);
	}
	mspan *s = placeSpan(pr, p, e);
	if (s == NULL || !heap_note(&pr->ph, s)) {
		return false;
	}
	if (!manual && e->class <= 1) {
		s->freeindex = 1;
		s->allocCount = 1;
	} else if (!manual) {
		return mcentral_pushPartialSwept(pr->h, &pr->h->central[s->spanclass].mcentral, s);
	}
	return true;
}

// ---- objects

static void tinyTook(p_state *ps, uint64_t block) {
	if (ps->ntiny == tinyRing) {
		memmove(ps->tiny, ps->tiny + tinyRing / 2, tinyRing / 2 * sizeof(ps->tiny[0]));
		ps->ntiny = tinyRing / 2;
	}
	ps->tiny[ps->ntiny++] = block;
}

static bool tinyHas(const p_state *ps, uint64_t block) {
	if (ps->tinyLast == block) {
		return true;
	}
	for (uint32_t i = ps->ntiny; i-- > 0;) {
		if (ps->tiny[i] == block) {
			return true;
		}
	}
	return false;
}

static void tinyShared(p_state *ps, uint64_t block) {
	ps->tinyLast = block;
	ps->ntiny = 0;
	ps->tinyKnown = true;
}

// onShared: an object in a slot that is taken: a tiny block that is shared, or the event of an object that is told twice.
static void onShared(predictor *pr, gomem_p *p, uint64_t slot, predict_kind kind) {
	if (kind != PREDICT_TINY) {
		countMismatch(pr, kind, 0, "the slot is taken");
		return;
	}
	p_state *ps = &pr->ps[p->id];
	if (tinyHas(ps, slot)) {
		tinyShared(ps, slot);
		countEqual(pr, kind);
		return;
	}
	if (!ps->tinyKnown) {
		tinyShared(ps, slot);
		countAdopted(pr, kind);
		return;
	}
	for (int32_t i = 0; i < pr->h->nallp; i++) {
		if (tinyHas(&pr->ps[i], slot)) {
			countLate(pr, kind);
			return;
		}
	}
	countMismatch(pr, kind, ps->tinyLast, "the slot is taken, and no P has it as its tiny block");
}

// takeSlot allocates in p's span until slot i is reached: free slots before it belong to calls that have not ended.
static void takeSlot(predictor *pr, mspan *s, uintptr_t i, predict_kind kind, bool counted) {
	for (;;) {
		const uint16_t got = mspan_nextFreeIndex(pr->h, s);
		if (got == s->nelems) {
			return;
		}
		s->allocCount++;
		if (got == i) {
			return;
		}
		lateAdd(
			pr, s->startAddr + got * s->elemsize, kind, counted, "a lower slot was free, and no object came for it");
	}
}

static void tookSlot(predictor *pr, gomem_p *p, uint64_t slot, predict_kind kind) {
	if (kind == PREDICT_TINY) {
		tinyTook(&pr->ps[p->id], slot);
	}
}

// onOtherSpan: the object is not in p's span of the class.
static void onOtherSpan(predictor *pr, gomem_p *p, mspan *s, uintptr_t i, predict_kind kind) {
	const uint64_t slot = s->startAddr + i * s->elemsize;
	const uint32_t gen = atomic_load(&s->sweepgen);
	if (gen == pr->h->sweepgen + 3) {
		// Another P's span: the goroutine went on there between taking the slot and telling it.
		takeSlot(pr, s, i, kind, false);
		countLate(pr, kind);
		return;
	}
	mspan *x = refill(pr, p, s->spanclass);
	if (x == NULL) {
		return;
	}
	if (x == s) {
		countEqual(pr, PREDICT_REFILL);
		countEqual(pr, kind);
		takeSlot(pr, s, i, kind, true);
		unhide(pr, s);
		tookSlot(pr, p, slot, kind);
		return;
	}
	const bool hidden = isHidden(pr, x), adopted = hidden || isHidden(pr, s);
	if (adopted) {
		countAdopted(pr, PREDICT_REFILL);
		countAdopted(pr, kind);
	} else {
		const char *why = pr->grew ? "mcentral has no span with a free slot, and Go found one"
								   : "mcentral's next span is another one";
		countMismatch(pr, PREDICT_REFILL, x->startAddr, why);
		countMismatch(pr, kind, x->startAddr, why);
	}
	unrefill(pr, p, x, hidden);
	unhide(pr, s);
	if (span_cache(&pr->ph, p, s) && mspan_isFree(s, i)) {
		takeSlot(pr, s, i, kind, false);
		tookSlot(pr, p, slot, kind);
	}
}

static void onLarge(predictor *pr, const mspan *s, const gotrace_event *e) {
	if (e->addr == s->startAddr) {
		countEqual(pr, PREDICT_LARGE);
	} else {
		countMismatch(pr, PREDICT_LARGE, s->startAddr, "a large object begins where its span does");
	}
}

static void onObject(predictor *pr, gomem_p *p, const gotrace_event *e) {
	mspan *s = span_at(pr->h, e->addr);
	if (s == NULL || mspan_state(s) != mSpanInUse) {
		if (!lateTake(pr, e->addr & ~(uint64_t)7)) {
			countMismatch(pr, PREDICT_SMALL, 0, "there is no span");
		} else {
			countLate(pr, PREDICT_SMALL);
		}
		return;
	}
	if (spanClass_sizeclass(s->spanclass) == 0) {
		onLarge(pr, s, e);
		return;
	}
	if (pr->marking) {
		pages_at(&pr->ph.pages, s->startAddr)->black = pr->cycle + 1;
	}
	const predict_kind kind = s->spanclass == tinyClass ? PREDICT_TINY : PREDICT_SMALL;
	const uintptr_t i = mspan_objIndex(s, e->addr);
	if (p == NULL || i >= s->nelems) {
		countMismatch(pr, kind, 0, p == NULL ? "an object without a P" : "behind the last slot of the span");
		return;
	}
	const uint64_t slot = s->startAddr + i * s->elemsize;
	if (pr->late != NULL && lateTake(pr, slot)) {
		countLate(pr, kind);
		tookSlot(pr, p, slot, kind);
		return;
	}
	if (!isUnswept(pr, s) && !mspan_isFree(s, i)) {
		onShared(pr, p, slot, kind);
		return;
	}
	if (p->mcache->alloc[s->spanclass] == s) {
		countEqual(pr, kind);
		takeSlot(pr, s, i, kind, true);
		tookSlot(pr, p, slot, kind);
		return;
	}
	onOtherSpan(pr, p, s, i, kind);
}

// ---- events

static bool unsweptAtStart(void *ctx, uint64_t base) {
	predictor *pr = ctx;
	return groupAt(pr, base) != NULL;
}

static bool endSnapshot(predictor *pr, uint64_t minAddr, gmt_error *err) {
	predict_result *r = pr->out;
	r->snapshot_spans = pr->snap.nspans;
	r->snapshot_objects = pr->snap.nobjects;
	// The sweeps of the cycle that the trace began in must be known when the spans are sorted into swept and not.
	for (size_t i = 0; i < pr->snap.nspans; i++) {
		const snap_span *s = &pr->snap.spans[i];
		if (s->npages > 1 << 24 || !pages_span(&pr->ph.pages, s->addr, s->npages, s->class)) {
			(void)snprintf(err->text, sizeof(err->text), "out of memory, or a span of %" PRIu64 " pages", s->npages);
			return false;
		}
		pages_at(&pr->ph.pages, s->addr)->flags |= PAGE_HIDDEN;
	}
	showGroups(pr);
	const bool ok = heap_import(&pr->ph, &pr->snap, minAddr, unsweptAtStart, pr, err);
	snapshot_free(&pr->snap);
	pr->imported = ok;
	return ok;
}

static void onProcs(predictor *pr, const gotrace_event *e) {
	for (int32_t i = 0; i < pr->h->nallp; i++) {
		gomem_p *p = pr->h->allp[i];
		if ((uint64_t)i < e->n) {
			continue;
		}
		flushPcache(pr, p);
		flushP(pr, p);
		mcache_releaseAll(pr->h, p, p->mcache);
	}
}

static void onProc(predictor *pr, const gotrace_event *e) {
	if (e->p < 0 || e->p >= pr->h->nallp) {
		return;
	}
	pr->ps[e->p].running = e->kind == GOTRACE_PROC_START;
	sweeperEnd(pr, pr->h->allp[e->p]);
	if (e->kind == GOTRACE_PROC_START) {
		flushP(pr, pr->h->allp[e->p]);
	}
}

// onStop: Go flushes all caches before it reads statistics.
static void onStop(predictor *pr, const predict_source *src, const gotrace_event *e) {
	const char *why = src->string == NULL ? NULL : src->string(src->ctx, e->n);
	if (why == NULL || strcmp(why, "read mem stats") != 0) {
		return;
	}
	flushAll(pr);
	for (int32_t i = 0; i < pr->h->nallp; i++) {
		pr->ps[i].tinyLast = 0;
		pr->ps[i].ntiny = 0;
		pr->ps[i].tinyKnown = true;
		dropUnused(pr, pr->h->allp[i]);
		mcache_releaseAll(pr->h, pr->h->allp[i], pr->h->allp[i]->mcache);
	}
}

// onReclaim: mcentral looked for a span before, so that what reclaim sweeps must wait until the port's has looked too. With several Ps, others
// find it meanwhile.
static void onReclaim(predictor *pr, gomem_p *p, uint32_t chunks) {
	if (pr->h->gomaxprocs == 1) {
		pr->ps[p->id].chunks += chunks;
	} else {
		reclaim(pr, p, chunks);
	}
}

static void onRegion(predictor *pr, gomem_p *p, const gotrace_event *e) {
	if (e->kind == GOTRACE_SWEEP_BEGIN) {
		const uint32_t i = pr->nextRegion++;
		if (p != NULL) {
			pr->ps[p->id].last = pr->ps[p->id].done = 0;
			pr->ps[p->id].region = i < pr->sweeps.nregions ? (region_what)pr->sweeps.regions[i] : REGION_UNKNOWN;
			if (pr->ps[p->id].region == REGION_RECLAIM) {
				onReclaim(pr, p, pr->sweeps.chunks[i]);
			}
		}
		return;
	}
	if (p == NULL) {
		return;
	}
	p_state *ps = &pr->ps[p->id];
	if (ps->nregions == maxRegions) {
		memmove(ps->regions, ps->regions + 1, (maxRegions - 1) * sizeof(ps->regions[0]));
		ps->nregions--;
	}
	ps->regions[ps->nregions++] =
		(past_region){.what = ps->region, .bytes = e->addr, .done = ps->done, .last = ps->last};
}

// endedCycle: the M that ended the cycle does other things now, or it was long ago: it has flushed the idle Ps before.
static bool endedCycle(const predictor *pr, const gotrace_event *e) {
	if (!pr->idlePending || pr->idleAt == 0) {
		return false;
	}
	if (e->time > pr->idleAt) {
		return true;
	}
	if (e->m != pr->ender) {
		return false;
	}
	return e->kind == GOTRACE_OBJECT_ALLOC || e->kind == GOTRACE_SPAN_ALLOC || e->kind == GOTRACE_GO_START ||
		e->kind == GOTRACE_PROC_STOP;
}

static bool onTimed(predictor *pr, const predict_source *src, const gotrace_event *e) {
	gomem_p *p = e->p >= 0 && e->p < pr->h->nallp ? pr->h->allp[e->p] : NULL;
	pr->running = p;
	if (endedCycle(pr, e)) {
		beginIdle(pr);
	}
	if (p != NULL && e->kind != GOTRACE_PROC_STOP && e->kind != GOTRACE_OBJECT_FREE && e->kind != GOTRACE_SPAN_FREE) {
		flushP(pr, p);
	}
	if (p == NULL && e->next_p >= 0 && e->next_p < pr->h->nallp && !pr->marking) {
		(void)flushSome(pr, pr->h->allp[e->next_p]);
	}
	switch ((gotrace_kind)e->kind) {
	case GOTRACE_SPAN_ALLOC:
		return onSpanAlloc(pr, p, e);
	case GOTRACE_SPAN_FREE:
		onSpanFree(pr, e);
		goOnFlushing(pr);
		return true;
	case GOTRACE_OBJECT_ALLOC:
		onObject(pr, p, e);
		return true;
	case GOTRACE_OBJECT_FREE:
		onObjectFree(pr, e);
		goOnFlushing(pr);
		return true;
	case GOTRACE_GC_BEGIN:
		pr->begun = true;
		return true;
	case GOTRACE_STW_BEGIN:
		onStop(pr, src, e);
		return true;
	case GOTRACE_STW_END:
		if (pr->begun) {
			pr->begun = false;
			finishSweep(pr);
		}
		if (pr->idleAt == 0) {
			pr->idleAt = e->time + idleAfter;
		}
		return true;
	case GOTRACE_GC_END:
		pr->ender = e->m;
		endCycle(pr);
		return true;
	case GOTRACE_GO_START:
		onGoStart(pr, p, e);
		return true;
	case GOTRACE_SWEEP_BEGIN:
	case GOTRACE_SWEEP_END:
		onRegion(pr, p, e);
		return true;
	case GOTRACE_PROCS:
		onProcs(pr, e);
		return true;
	case GOTRACE_PROC_START:
	case GOTRACE_PROC_STOP:
		onProc(pr, e);
		return true;
	default:
		return true;
	}
}

static bool onEvent(predictor *pr, const predict_source *src, const gotrace_event *e, gmt_error *err) {
	switch ((gotrace_kind)e->kind) {
	case GOTRACE_SPAN:
		return snapshot_span(&pr->snap, e);
	case GOTRACE_OBJECT:
		return snapshot_object(&pr->snap, e->addr);
	case GOTRACE_STACK:
		return true;
	case GOTRACE_SNAPSHOT_END:
		return pr->imported || endSnapshot(pr, src->min_addr, err);
	default:
		if (!pr->imported && e->kind != GOTRACE_PROC_START && e->kind != GOTRACE_PROC_STOP) {
			return true; // the world is stopped until the snapshot ends
		}
		return onTimed(pr, src, e) && !pr->noMemory;
	}
}

// ---- a run

static _Noreturn void onThrow(void *ctx, const char *msg) {
	predictor *pr = ctx;
	(void)snprintf(pr->out->stopped, sizeof(pr->out->stopped),
		"event %" PRIu64 " at offset %" PRIu64 ": the port threw: %s", pr->out->events,
		pr->e != NULL ? pr->e->offset : 0, msg);
	longjmp(pr->threw, 1);
}

static bool makeHeap(predictor *pr) {
	const memSimConfig sim = {0};
	pr->ph.os = mem_sim_new(&sim);
	if (pr->ph.os == NULL) {
		return false;
	}
	const gomem_policy policy = {
		.ctx = pr,
		.deductSweepCredit = deductCredit,
		.reclaim = growing,
		.loadMarks = loadMarks,
		.gcTrigger = noTrigger,
	};
	const gomem_config cfg = {
		.os = pr->ph.os,
		.policy = &policy,
		.no_randomized_base = true,
		.no_greentea = pr->sweeps.noGreenTea,
		.rand_seed = 1,
		.throw_hook = onThrow,
		.throw_ctx = pr,
	};
	pr->h = pr->ph.h = gomem_heap_new(&cfg);
	const int32_t n = pr->sweeps.procs > 0 ? pr->sweeps.procs : 1;
	if (pr->h == NULL || n > numPsMax || !gomem_procresize(pr->h, n)) {
		return false;
	}
	pr->ps = calloc((size_t)n, sizeof(*pr->ps));
	pr->out->procs = n;
	pr->out->green_tea = !pr->sweeps.noGreenTea;
	return pr->ps != NULL;
}

static bool run(predictor *pr, const predict_source *src, gmt_error *err) {
	gotrace_event e;
	int got;
	pr->e = &e;
	err->text[0] = 0;
	while ((got = src->next(src->ctx, &e, err)) == 1) {
		if (e.kind < GOTRACE_KINDS) {
			pr->out->given[e.kind]++;
		}
		if (!onEvent(pr, src, &e, err)) {
			if (err->text[0] == 0) {
				(void)snprintf(err->text, sizeof(err->text), "out of memory");
			}
			return false;
		}
		pr->out->events++;
		if (pr->opt->progress != NULL && pr->out->events % progressEvery == 0) {
			pr->opt->progress(pr->opt->progress_ctx, pr->out->events);
		}
	}
	if (got == 0 && !pr->imported) {
		(void)snprintf(err->text, sizeof(err->text), "the trace has no snapshot of the heap");
		return false;
	}
	return got == 0;
}

static void predictorFree(predictor *pr) {
	gomem_heap_destroy(pr->h);
	if (pr->ph.os != NULL) {
		pr->ph.os->destroy(pr->ph.os);
	}
	pages_free(&pr->ph.pages);
	free(pr->ph.held.p);
	snapshot_free(&pr->snap);
	sweeps_free(&pr->sweeps);
	free(pr->ps);
	free(pr);
}

bool predict_run(const predict_source *src, const predict_options *opt, predict_result *out, gmt_error *err) {
	*out = (predict_result){0};
	predictor *pr = calloc(1, sizeof(*pr));
	if (pr == NULL) {
		(void)snprintf(err->text, sizeof(err->text), "out of memory");
		return false;
	}
	pr->out = out;
	pr->opt = opt;
	pr->version = src->version;
	volatile bool ok = sweeps_collect(src, &pr->sweeps, err) && src->rewind(src->ctx, err);
	if (ok && setjmp(pr->threw) == 0) {
		ok = makeHeap(pr);
		if (!ok) {
			(void)snprintf(err->text, sizeof(err->text), "out of memory");
		}
		ok = ok && run(pr, src, err);
	}
	lateEnd(pr);
	predictorFree(pr);
	return ok;
}

void predict_result_free(predict_result *r) {
	free(r->list);
	r->list = NULL;
	r->listed = 0;
}
