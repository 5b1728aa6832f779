// predict_state.h: what the files of the predictor share. docs/PREDICT.md has the rules.
//
// Invariants: before each event the heap's spans are Go's, but for sweeps that freed nothing, which the trace does not tell
//   all == equal + late + adopted + mismatch, for each kind
#ifndef GOMEM_TRACES_PREDICT_STATE_H
#define GOMEM_TRACES_PREDICT_STATE_H

#include <setjmp.h>

#include "traces/predict_heap.h"

enum {
	tinyClass = 5,
	tinyRing = 1024,
	maxRegions = 4,
	spanBudget = 101,        // Go: how many spans mcentral looks at before it gives up
	sweepBatch = 10,         // Go: sweepBatchSize
	maxLateTail = 16,        // free slots that a span may have left when its P asks for another
	idleAfter = 5000 * 1000, // ns after the world started: whoever ended the cycle has flushed the idle Ps by then
	progressEvery = 1 << 16,
};

// What the snapshot hides of a P's page cache.
enum { PCACHE_HIDDEN, PCACHE_ADOPTED, PCACHE_KNOWN };

typedef struct past_region {
	region_what what;
	uint64_t bytes;        // swept, as the trace says
	uint64_t done;         // of these the port has swept so many already
	uint64_t last;         // the last span of which a free was told; 0: none
	uint64_t since, until; // time
} past_region;

typedef struct p_state {
	uint64_t tinyLast;       // the block that was last shared; 0: none
	uint64_t tiny[tinyRing]; // blocks taken since, any of which may be the P's
	uint32_t ntiny;
	bool tinyKnown;
	bool seen, running, toFlush;
	bool idle;     // its page cache is flushed too
	bool flushing; // its cache is being flushed: the classes below flushAt are
	int flushAt;
	bool byEnder;  // who ended the cycle flushes it, one idle P after the other
	bool idleTold; // it has told so
	page_info *
		open[numSpanClasses + 1]; // first pages of spans that it swept, or its flush: the next event there has not come
	uint32_t nopen;
	// Times:
	uint64_t flushSince;             // what its flush sweeps next is swept after that
	uint64_t lastEvent, quietSince;  // its last event, and the last one before the span that it tells of
	uint64_t sweeping;               // base of that span; 0: it tells of none
	uint64_t lastOther, otherBefore; // its last event that is not about sweeping, and the one before this event
	uint64_t regionSince;
	uint8_t pcache;
	uint64_t block; // of its page cache, as the last single page that Go took from it tells
	bool sweeper;   // the background sweeper runs on it, and swept that many
	uint32_t swept;
	region_what region;             // that it is in
	uint64_t reclaimAt, reclaimEnd; // what it reclaims: numbers of pages
	uint32_t chunks;                // that reclaim looks at before the next span is made
	uint32_t nregions;              // that ended since its last allocation
	past_region regions[maxRegions];
	uint64_t last, done; // of the region that it is in
} p_state;

typedef struct late_slot {
	uint64_t addr;
	UT_hash_handle hh;
	predict_mismatch by; // the decision that skipped it
	bool counted;        // that decision is among `equal`
} late_slot;

// A refill that is right if other Ps took the spans `ahead` before it, and tell it later.
enum { maxAhead = 8, maxSame = 64, maxWaiting = 256 };
typedef struct waiting_refill {
	int32_t p;
	spanClass class;
	bool grew;     // Go made a new span: there is no object yet
	uint64_t time; // it was no later
	uint32_t n;
	uint64_t ahead[maxAhead];
	predict_mismatch refill, object; // if it was wrong
} waiting_refill;

typedef struct predictor {
	predict_heap ph;
	gomem_heap *h;
	predict_sweeps sweeps;
	predict_result *out;
	const predict_options *opt;
	p_state *ps;
	int32_t *seen; // the Ps that told something, in order: one event may say that there are many more
	int32_t nseen;
	snapshot snap;
	late_slot *late;
	uint32_t cycle, nextGroup, nextRegion;
	uint32_t nextTaken, nextTold; // of sweeps.earlyByTaken, sweeps.early
	unsigned version;
	bool imported, begun, marking, early; // early: sweeps were told before the end of the cycle
	bool idlePending, idling;             // the idle Ps are still to be flushed; they are being flushed
	bool wantedDone, grew, noMemory;      // grew: mcentral asked for a new span
	uint64_t idleAt;        // by when they are flushed; 0: the world has not started since the cycle ended
	int32_t idleNext;       // so many places of the list of idle Ps are done
	int32_t woken;          // the P that an M was woken up for, when the world started after the cycle; -1: none
	uint64_t *hidden;       // blocks of pages that are in a page cache that the snapshot hides: one for each P at most
	uint64_t ender;         // the M that ended the cycle
	int32_t enderP;         // its P: the first that is flushed; -1: it had none
	uint64_t sweepingAt;    // time since which this cycle's spans are swept
	const gomem_p *flushed; // whose cache is flushed just now
	const past_region *region; // what is swept just now was swept then
	uint64_t wanted;           // base of a span to be swept
	uint64_t sweptBytes;
	uint32_t sweeperCut; // spans of a batch of the background sweeper that was preempted
	int32_t nhidden;
	uint64_t kept; // base of a span without objects that Go did not free: mcentral swept it, and a P took it. 0: none
	spanClass keptClass, refilling;  // refilling: of the cache that wants a span
	const mspan *first;              // that mcentral must take, if it does its work; NULL: a full one, or none
	uint64_t pcacheBefore;           // base of the page cache of the P before its refill
	uint64_t passed[numSpanClasses]; // the last span that the port chose and Go did not
	mspan *aside[2][spanBudget];     // unswept spans that mcentral shall not see: with free slots, and full ones
	uint32_t naside[2], nwaiting;
	waiting_refill waiting[maxWaiting];
	gomem_p *running;
	const gotrace_event *e;
	jmp_buf threw;
} predictor;

// ---- predict_count.c

void pr_countEqual(predictor *pr, predict_kind kind);
void pr_countLate(predictor *pr, predict_kind kind);
void pr_countAdopted(predictor *pr, predict_kind kind);
void pr_countMismatch(predictor *pr, predict_kind kind, uint64_t predicted, const char *why);
predict_mismatch pr_describe(const predictor *pr, predict_kind kind, uint64_t predicted, const char *why);
void pr_countDescribed(predictor *pr, const predict_mismatch *m);
void pr_lateAdd(predictor *pr, uint64_t addr, predict_kind kind, bool counted, const char *why);
bool pr_lateTake(predictor *pr, uint64_t addr);
// pr_lateEnd: an object that never came was none: what skipped its slot was no equal decision.
void pr_lateEnd(predictor *pr);

// ---- predict_marks.c

sweep_group *pr_groupAt(predictor *pr, uint64_t base);
// pr_showGroups makes the sweeps of this cycle known before they happen: their marks are an input.
void pr_showGroups(predictor *pr);
// pr_loadMarks: an object lives if the trace does not say that this sweep frees it.
void pr_loadMarks(void *ctx, gomem_heap *h, gomem_p *p, mspan *s);
// pr_keepSpan: the port's sweeper came to a span before the P that took it, and freed it. It is made again.
void pr_keepSpan(predictor *pr);
static inline bool pr_isUnswept(const predictor *pr, mspan *s) {
	return atomic_load(&s->sweepgen) == pr->h->sweepgen - 2;
}

// ---- predict_credit.c

// pr_reclaimUntil: p reclaims pages and comes to stop.
void pr_reclaimUntil(predictor *pr, gomem_p *p, const mspan *stop);
// pr_deductCredit is called before mcentral looks for a span, or a large one is allocated.
void pr_deductCredit(void *ctx, gomem_heap *h, gomem_p *p, uintptr_t spanBytes, uintptr_t callerSweepPages);
// pr_passedAhead: mcentral has looked.
void pr_passedAhead(predictor *pr);
// pr_growing: mcentral found nothing, or a large object is allocated. What the trace says is reclaimed first, is.
void pr_growing(void *ctx, gomem_heap *h, gomem_p *p, uintptr_t npages);
void pr_noTrigger(void *ctx, gomem_heap *h, gomem_p *p);
void pr_onRegion(predictor *pr, gomem_p *p, const gotrace_event *e);

// ---- predict_sweep.c

// pr_toldLater: the trace comes to the sweep of s yet: so far it was not swept.
sweep_group *pr_toldLater(predictor *pr, const mspan *s);
// pr_putOff takes s out of its set until the trace comes to it: its turn has come, but another M that has it has not told yet.
void pr_putOff(predictor *pr, mspan *s, sweep_group *g);
// pr_refillTook: mcentral has taken s from its set, for the P that allocates in it next.
sweep_group *pr_refillTook(predictor *pr, const mspan *s);
// pr_sweepOne sweeps the next span. What is told later ends it, or is passed over if a later one was surely swept.
bool pr_sweepOne(predictor *pr, gomem_p *p, bool passOver);
void pr_forceSweep(predictor *pr, mspan *s);
bool pr_isHidden(predictor *pr, const mspan *s);
// pr_sweptEvidently: Go took s out of mcentral. So the flush of the P that had it in the last cycle has come to it, or the background sweeper has,
// and tells it later, when it may have told it by now: its M is ahead of the clock. false: neither.
bool pr_sweptEvidently(predictor *pr, mspan *s);
// pr_sweeperEnd: the background sweeper stops after whole batches, or when nothing is left.
void pr_sweeperEnd(predictor *pr, gomem_p *p);
void pr_onGoStart(predictor *pr, gomem_p *p, const gotrace_event *e);
void pr_onObjectFree(predictor *pr, const gotrace_event *e);
void pr_onSpanFree(predictor *pr, const gotrace_event *e);
void pr_unhide(predictor *pr, const mspan *s);

// ---- predict_flush.c

// pr_dropUnused: Go never has a cached span without an object. The port may, where it was told wrongly.
void pr_dropUnused(predictor *pr, gomem_p *p);
void pr_flushPcache(predictor *pr, gomem_p *p);
// pr_flushP flushes what is left in p's cache.
void pr_flushP(predictor *pr, gomem_p *p);
// pr_flushSome flushes p's cache, class after class, as far as the trace has come: other Ms do the same with other caches, and each span goes
// into its set at the end of its own sweep. false: there is more.
bool pr_flushSome(predictor *pr, gomem_p *p);
// pr_flushThrough: that has come to class spc, and perhaps is told later.
void pr_flushThrough(predictor *pr, gomem_p *p, spanClass spc);
void pr_flushAll(predictor *pr);
void pr_finishSweep(predictor *pr);
void pr_beginSweeping(predictor *pr);
// pr_endCycle: a cycle that was under way when the trace began has no beginning.
void pr_endCycle(predictor *pr);
// pr_idlePlace gives the place of P k in the list of idle Ps, if all of them are, and the P at place k.
int32_t pr_idlePlace(const predictor *pr, int32_t k);
void pr_beginIdle(predictor *pr);
// pr_goOnFlushing: the trace has come further in some sweep.
void pr_goOnFlushing(predictor *pr);
// pr_endedCycle: the M that ended the cycle does other things now, or it was long ago: it has flushed the idle Ps before.
bool pr_endedCycle(const predictor *pr, const gotrace_event *e);

// ---- predict_push.c

// pr_startsWorld: p ended the cycle, and flushes its own cache when it starts the world, which it does now.
static inline bool pr_startsWorld(const predictor *pr, const gomem_p *p) {
	return p->id == pr->enderP && pr->idleAt == 0;
}
// pr_pushEvent: what p did before this event is over.
void pr_pushEvent(predictor *pr, gomem_p *p, const gotrace_event *e);
// pr_pushBeginFlush: the cache of the P is flushed from now on.
void pr_pushBeginFlush(predictor *pr, p_state *ps);
// pr_pushTold: a flush has come to a span of which the trace has told: what comes before it is over, what comes after it is not.
void pr_pushTold(predictor *pr, p_state *ps);
// pr_pushClose: what stands in ps->open is over.
void pr_pushClose(predictor *pr, p_state *ps);
// pr_pushSwept: the port sweeps the span. told: it has something to free, and the last of it was just told.
void pr_pushSwept(predictor *pr, page_info *pi, bool told);
// pr_pushRetired: p gives s, which is full, back to mcentral.
void pr_pushRetired(predictor *pr, const gomem_p *p, const mspan *s);
// pr_pushNow: s is put into its set at this event; pr_pushCached: so are all spans of p's cache.
void pr_pushNow(predictor *pr, const gomem_p *p, const mspan *s);
void pr_pushCached(predictor *pr, const gomem_p *p);
// pr_pushReclaimed: p reclaims pages and comes to s. It may have no mark, and be swept now, with nothing to free.
void pr_pushReclaimed(predictor *pr, const gomem_p *p, const mspan *s);
// pr_pushOf gives the last push of s in this cycle, pr_lastPushOf that in the cycle before. NULL: there was none.
const push_window *pr_pushOf(predictor *pr, const mspan *s);
const push_window *pr_lastPushOf(predictor *pr, const mspan *s);

// ---- predict_order.c

// pr_orderOf: Go took s for p, and the port x. false: that was wrong. Else it is right, if other Ps took the spans r->ahead before, which surely
// stood before s.
bool pr_orderOf(predictor *pr, const gomem_p *p, mspan *s, const mspan *x, waiting_refill *r);
// pr_orderLater: Go made a new span for p, and the port found x. false: that was wrong. Else it is right: x came later, or it is among r->ahead
// now.
bool pr_orderLater(predictor *pr, const gomem_p *p, const mspan *x, waiting_refill *r);
// pr_orderCount: p took x, as predicted. Counts whether another one would have been right, too. pr_orderRead: it was another one.
void pr_orderCount(predictor *pr, const gomem_p *p, const mspan *x);
void pr_orderRead(predictor *pr);
// pr_orderLearn: Go took s before x. If flushes swept them, so it is in the other classes that were swept with them.
void pr_orderLearn(predictor *pr, const mspan *s, const mspan *x);

// ---- predict_wait.c

// pr_await counts r when it is known whether other Ps took r->ahead.
void pr_await(predictor *pr, const waiting_refill *r);
// pr_taken: p has s now. It took it since its event before this one.
void pr_taken(predictor *pr, const gomem_p *p, const mspan *s);
// pr_settle counts as wrong what no P can tell any more, pr_endWaiting all that waits.
void pr_settle(predictor *pr);
void pr_endWaiting(predictor *pr);

// ---- predict_spans.c

predict_kind pr_spanKind(uint16_t class);
static inline bool pr_usesCache(const gomem_p *p, uint64_t npages) { return p != NULL && npages < pageCachePages / 4; }
// pr_notePcache: the cache that p allocates from is one that the port filled.
void pr_notePcache(predictor *pr, gomem_p *p, uint64_t before);
// pr_placeSpan predicts the address of a span, compares it and moves it. NULL: out of memory.
mspan *pr_comparePlace(predictor *pr, gomem_p *p, mspan *s, const gotrace_event *e);
mspan *pr_placeSpan(predictor *pr, gomem_p *p, const gotrace_event *e);

// ---- predict_refill.c

// pr_unrefill takes back what the port chose: x, p's span now.
typedef enum not_taken {
	STAYS_FIRST,      // that Go took another one says nothing of it
	STAYS_FIRST_ONCE, // it goes behind the others if Go passed it over before
	HELD,             // it is not to be chosen again in this cycle
} not_taken;
void pr_unrefill(predictor *pr, gomem_p *p, mspan *x, not_taken how);
// pr_tookFirst: x is the first of the port's own set. Else no order of pushes explains why Go took another one.
static inline bool pr_tookFirst(const predictor *pr, const mspan *x) { return pr->first == NULL || pr->first == x; }
// pr_refill lets the port choose p's next span of class spc.
mspan *pr_refill(predictor *pr, gomem_p *p, spanClass spc);
bool pr_onSpanAlloc(predictor *pr, gomem_p *p, const gotrace_event *e);

// ---- predict_objects.c

// pr_takeObject predicts the slot at e->addr, and takes it for p. pr_onObject: unless it was taken before it is told.
void pr_takeObject(predictor *pr, gomem_p *p, const gotrace_event *e);
void pr_onObject(predictor *pr, gomem_p *p, const gotrace_event *e);

// ---- predict_early.c

// pr_onEarly: at this event the slot of an object may be taken that is told later.
void pr_onEarly(predictor *pr, gomem_p *p);
// pr_tookEarly: the object of this event was taken before.
bool pr_tookEarly(predictor *pr);

#endif
