// mgc.c (layer 6): cycles of a world (world.h): who marks when. Ports the order of a cycle and the mark workers of mgc.go, findRunnableGCWorker
// of mgcpacer.go, and the assists of mgcmark.go.
//
// A quarter of the Ps marks: dedicated workers, each on a P for as long as there is something to mark, if a quarter is a number of Ps; else
// each thread marks for a quarter of its time, at its safepoints. Idle workers mark on Ps that nobody wants. Who allocates in debt marks as well, or takes
// credit of what the workers did; where there is neither it waits for credit.
//
// Marking is over when no worker marks, nothing is to be found, and nothing was found when each P gave away what it had (Go: gcMarkDone).
#include "gomem/mgc.h"

#include <stdlib.h>

enum {
	drainSlice = 16 << 10, // bytes scanned before a worker looks up
	idleMarkWait = 200000, // ns, while threads are on their way to a safepoint
};
static const int64_t forcegcperiod = 120 * second;

// ---- credit and assists

// wholeOf: with GOGC=off the goal is as far as numbers go.
static int64_t wholeOf(double v) { return v < 0x1p61 ? (int64_t)v : (int64_t)1 << 61; }

static int64_t bytesFor(gcControllerState *c, int64_t work) {
	return wholeOf(atomic_load(&c->assistBytesPerWork) * (double)work);
}

// stealCredit takes up to work of what workers did in advance.
static int64_t stealCredit(gcControllerState *c, int64_t work) {
	const int64_t credit = atomic_load(&c->bgScanCredit);
	const int64_t stolen = credit <= 0 ? 0 : credit < work ? credit : work;
	atomic_fetch_sub(&c->bgScanCredit, stolen);
	return stolen;
}

static void unpark(gomem_world *w) {
	gomem_thread *t = w->assists;
	w->assists = t->assistNext;
	t->parked = false;
	pthread_cond_broadcast(&w->cond);
}

static void pushAssist(gomem_world *w, gomem_thread *t) {
	gomem_thread **at = &w->assists;
	while (*at != NULL) {
		at = &(*at)->assistNext;
	}
	*at = t;
	t->assistNext = NULL;
	t->parked = true;
	atomic_store(&w->someAssist, true);
}

// gcFlushBgCredit: what a worker scanned pays the debts of those who wait; the rest is for who comes.
static void gcFlushBgCredit(gomem_world *w, int64_t work) {
	if (!atomic_load(&w->someAssist)) {
		atomic_fetch_add(&w->gc.bgScanCredit, work);
		return;
	}
	pthread_mutex_lock(&w->mu);
	int64_t bytes = bytesFor(&w->gc, work);
	while (w->assists != NULL && bytes > 0) {
		gomem_thread *t = w->assists;
		if (bytes + t->gcAssistBytes >= 0) {
			bytes += t->gcAssistBytes;
			t->gcAssistBytes = 0;
			unpark(w);
			continue;
		}
		t->gcAssistBytes += bytes;
		bytes = 0;
		w->assists = t->assistNext; // large debts do not hold small ones up
		pushAssist(w, t);
	}
	atomic_store(&w->someAssist, w->assists != NULL);
	if (bytes > 0) {
		const double rest = atomic_load(&w->gc.assistWorkPerByte) * (double)bytes;
		atomic_fetch_add(&w->gc.bgScanCredit, rest < (double)work ? (int64_t)rest : work);
	}
	pthread_mutex_unlock(&w->mu);
}

static void gcWakeAllAssists(gomem_world *w) {
	while (w->assists != NULL) {
		unpark(w);
	}
	atomic_store(&w->someAssist, false);
}

// assistMark scans up to so many bytes; less where nothing is to be found.
static int64_t assistMark(gomem_world *w, gomem_p *p, int64_t work) {
	worldP *wp = worldP_of(w, p);
	const int64_t begin = world_now();
	const bool track = limiterEvent_start(&wp->event, limiterEventMarkAssist, begin);
	int64_t done = 0;
	while (done < work && !gcCPULimiter_limiting(&w->limiter)) {
		const int64_t left = work - done;
		const int64_t n = gcDrainN(w->h, &wp->gcw, left < drainSlice ? left : drainSlice);
		if (n < 0) {
			break;
		}
		done += n > 0 ? n : 1;
	}
	const int64_t end = world_now();
	if (track) {
		limiterEvent_stop(&w->limiter, &wp->event, limiterEventMarkAssist, end);
	}
	atomic_fetch_add(&w->gc.assistTime, end - begin);
	gcCPULimiter_update(&w->limiter, end);
	enlistWorker(w, &wp->gcw);
	return done;
}

// gcAssistAlloc1: false: p is still in debt, and there is nothing to mark.
static bool gcAssistAlloc1(gomem_world *w, gomem_p *p) {
	if (p->gcAssistBytes >= 0 || gcCPULimiter_limiting(&w->limiter)) {
		return true;
	}
	const int64_t debt = -p->gcAssistBytes;
	int64_t work = wholeOf(atomic_load(&w->gc.assistWorkPerByte) * (double)debt);
	work = work < gcOverAssistWork ? gcOverAssistWork : work;
	const int64_t stolen = stealCredit(&w->gc, work);
	p->gcAssistBytes += stolen == 0 ? 0 : 1 + bytesFor(&w->gc, stolen);
	if (stolen < work) {
		p->gcAssistBytes += 1 + bytesFor(&w->gc, assistMark(w, p, work - stolen));
	}
	return p->gcAssistBytes >= 0;
}

// gcParkAssist: false: there is credit again.
static bool gcParkAssist(gomem_thread *t) {
	gomem_world *w = t->w;
	pthread_mutex_lock(&w->mu);
	atomic_store(&w->someAssist, true); // first: who brings credit from now on, brings it under mu
	if (atomic_load(&w->gc.bgScanCredit) > 0) {
		atomic_store(&w->someAssist, w->assists != NULL);
		pthread_mutex_unlock(&w->mu);
		return false;
	}
	world_park(w, t);
	pushAssist(w, t);
	while (t->parked) {
		pthread_cond_wait(&w->cond, &w->mu);
	}
	world_run(w, t);
	pthread_mutex_unlock(&w->mu);
	return true;
}

void gcAssistAlloc(gomem_thread *t) {
	while (!gcAssistAlloc1(t->w, t->p)) {
		if (gcParkAssist(t)) {
			return;
		}
	}
}

// gcAssistHook is called in an allocation, which keeps its P: what is left of the debt is for the next gomem_world_malloc.
void gcAssistHook(void *ctx, gomem_heap *h, gomem_p *p, uintptr_t size) {
	(void)h;
	(void)size;
	if (p != NULL) {
		(void)gcAssistAlloc1(ctx, p);
	}
}

// ---- mark workers

typedef enum gcMarkWorkerMode { gcMarkWorkerDedicatedMode, gcMarkWorkerIdleMode } gcMarkWorkerMode;

// revise: whoever scanned something tells the pacer; the older of two figures never comes last.
static void revise(gomem_world *w) {
	const int64_t now = atomic_load(&w->h->work.heapScanWork);
	int64_t told = atomic_load(&w->gc.heapScanWork);
	while (told < now && !atomic_compare_exchange_weak(&w->gc.heapScanWork, &told, now)) {
	}
	gcController_revise(&w->gc);
}

// enlistWorker: there is something that another worker could take.
void enlistWorker(gomem_world *w, gcWork *gcw) {
	if (!gcw->mayNeedWorker) {
		return;
	}
	gcw->mayNeedWorker = false;
	if (atomic_load(&w->gc.dedicatedMarkWorkersNeeded) > 0 || gcController_needIdleMarkWorker(&w->gc)) {
		pthread_mutex_lock(&w->mu);
		pthread_cond_broadcast(&w->cond);
		pthread_mutex_unlock(&w->mu);
	}
}

static bool decIfPositive(_Atomic(int64_t) *v) {
	int64_t old = atomic_load(v);
	while (old > 0 && !atomic_compare_exchange_weak(v, &old, old - 1)) {
	}
	return old > 0;
}

// mayMark: workers stop with the world, but if it is stopped for them.
static bool mayMark(const gomem_world *w) { return w->marking && (!w->stopping || w->cfg.gcstoptheworld); }

// waitForP: a dedicated worker takes a P from who has it. NULL: the cycle is over. Under mu.
static gomem_p *waitForP(gomem_world *w) {
	const uint64_t cycle = w->cycles; // who wakes late may wake in the next one
	w->workersWaiting++;
	atomic_fetch_add(&w->nwaiting, 1);
	while (w->marking && w->cycles == cycle && (w->nidle == 0 || !mayMark(w))) {
		want(w, wantP);
		pthread_cond_wait(&w->cond, &w->mu);
	}
	w->workersWaiting--;
	atomic_fetch_sub(&w->nwaiting, 1);
	if (w->marking && w->cycles == cycle) {
		return world_takeP(w);
	}
	pthread_cond_broadcast(&w->cond); // a P was kept for the caller
	return NULL;
}

// findRunnableGCWorker: the P that the caller is to mark on. NULL: none, now. Under mu.
static gomem_p *findRunnableGCWorker(gomem_world *w, gcMarkWorkerMode *mode) {
	if (!mayMark(w) || !gcMarkWorkAvailable(&w->h->work)) {
		return NULL;
	}
	if (decIfPositive(&w->gc.dedicatedMarkWorkersNeeded)) {
		*mode = gcMarkWorkerDedicatedMode;
		return waitForP(w); // NULL: the next cycle counts anew
	}
	*mode = gcMarkWorkerIdleMode;
	const bool wantedByNobody = w->nidle > w->workersWaiting && w->waiting == NULL;
	return wantedByNobody && gcController_addIdleMarkWorker(&w->gc) ? world_takeP(w) : NULL;
}

static void markWorkerStop(gcControllerState *c, gcMarkWorkerMode mode, int64_t duration) {
	if (mode == gcMarkWorkerDedicatedMode) {
		atomic_fetch_add(&c->dedicatedMarkTime, duration);
		atomic_fetch_add(&c->dedicatedMarkWorkersNeeded, 1);
		return;
	}
	atomic_fetch_add(&c->idleMarkTime, duration);
	gcController_removeIdleMarkWorker(c);
}

static bool workerShouldStop(gomem_world *w, gcMarkWorkerMode mode) {
	if (w->cfg.gcstoptheworld) {
		return false;
	}
	return (wanted(w) & (wantStop | wantFlush)) != 0 || (mode == gcMarkWorkerIdleMode && atomic_load(&w->nwaiting) > 0);
}

// drainSome scans a slice. false: there was nothing to be found.
static bool drainSome(gomem_world *w, worldP *wp) {
	const int64_t n = gcDrainN(w->h, &wp->gcw, drainSlice);
	if (n < 0) {
		return false;
	}
	gcFlushBgCredit(w, n);
	revise(w);
	return true;
}

static void drainWorker(gomem_world *w, const gomem_p *p, gcMarkWorkerMode mode) {
	worldP *wp = worldP_of(w, p);
	const int64_t begin = world_now();
	const bool track = mode == gcMarkWorkerIdleMode && limiterEvent_start(&wp->event, limiterEventIdleMarkWork, begin);
	while (drainSome(w, wp)) {
		enlistWorker(w, &wp->gcw);
		if (workerShouldStop(w, mode)) {
			break;
		}
	}
	const int64_t end = world_now();
	if (track) {
		limiterEvent_stop(&w->limiter, &wp->event, limiterEventIdleMarkWork, end);
	}
	markWorkerStop(&w->gc, mode, end - begin);
}

static void *gcBgMarkWorker(void *arg) {
	gomem_world *w = arg;
	pthread_mutex_lock(&w->mu);
	while (!w->workersDone) {
		gcMarkWorkerMode mode;
		gomem_p *p = findRunnableGCWorker(w, &mode);
		if (p == NULL) {
			pthread_cond_wait(&w->cond, &w->mu);
			continue;
		}
		w->markers++;
		w->mostMarkers = w->markers > w->mostMarkers ? w->markers : w->mostMarkers;
		pthread_mutex_unlock(&w->mu);
		drainWorker(w, p, mode);
		pthread_mutex_lock(&w->mu);
		w->markers--;
		flushP(w, p);
		world_giveP(w, p);
	}
	pthread_mutex_unlock(&w->mu);
	return NULL;
}

bool gcBgMarkStartWorkers(gomem_world *w, int n) {
	while (w->nworkers < n) {
		pthread_t *workers = realloc(w->workers, (size_t)n * sizeof(*workers));
		if (workers == NULL) {
			return false;
		}
		w->workers = workers;
		if (pthread_create(&workers[w->nworkers], NULL, gcBgMarkWorker, w) != 0) {
			return false;
		}
		w->nworkers++;
	}
	return true;
}

// gcMarkFraction: the P of t marks until it has done a little more than its fraction.
void gcMarkFraction(gomem_thread *t) {
	gomem_world *w = t->w;
	worldP *wp = worldP_of(w, t->p);
	const int64_t begin = world_now(), had = atomic_load(&wp->fractionalMarkTime);
	int64_t now = begin;
	const double goal = w->gc.fractionalUtilizationGoal;
	if ((double)had > goal * (double)(now - w->gc.markStartTime) ||
		(gcWork_empty(&wp->gcw) && !gcMarkWorkAvailable(&w->h->work))) {
		return;
	}
	while (drainSome(w, wp)) {
		now = world_now();
		if ((wanted(w) & (wantStop | wantFlush)) != 0 ||
			(double)(had + now - begin) > 1.2 * goal * (double)(now - w->gc.markStartTime)) {
			break;
		}
	}
	atomic_fetch_add(&wp->fractionalMarkTime, now - begin);
	atomic_fetch_add(&w->gc.fractionalMarkTime, now - begin);
	enlistWorker(w, &wp->gcw);
}

// ---- a cycle

// startMarking: the world is stopped.
static void startMarking(gomem_world *w, bool periodic) {
	gomem_heap *h = w->h;
	gcCPULimiter_startGCTransition(&w->limiter, true, world_now());
	finishsweep_m(h, NULL);
	gcResetMarkState(h);
	gcController_startCycle(&w->gc, world_now(), w->procs, periodic);
	for (int i = 0; i < w->procs; i++) {
		h->allp[i]->gcAssistBytes = 0;
		h->allp[i]->gcMarkedBytes = 0;
		atomic_store(&w->ps[i]->fractionalMarkTime, 0);
	}
	for (gomem_thread *t = w->threads; t != NULL; t = t->next) {
		atomic_store(&t->scanned, false);
		t->gcAssistBytes = 0;
	}
	h->work.concurrent = !w->cfg.gcstoptheworld;
	gcMarkStart(h);
	gcGreyRoots(h, &h->work.gcw, w->cfg.globals, w->cfg.nglobals);
	gcWork_dispose(&h->env, &h->work, &h->work.gcw);
	if (w->gc.fractionalUtilizationGoal > 0) {
		want(w, wantFraction);
	}
	gcCPULimiter_finishGCTransition(&w->limiter, world_now());
}

void flushP(gomem_world *w, const gomem_p *p) {
	worldP *wp = worldP_of(w, p);
	gcWork_dispose(&w->h->env, &w->h->work, &wp->gcw);
	w->flushedWork = w->flushedWork || wp->gcw.flushedWork;
	wp->gcw.flushedWork = false;
	wp->flushGen = w->flushGen;
}

// greyRoots: roots of threads that stand still; false: some run whose roots are white. Under mu, nobody has stopped the world.
static bool greyRoots(gomem_world *w) {
	bool all = true;
	gcWork *gcw = &w->h->work.gcw;
	for (gomem_thread *t = w->threads; t != NULL; t = t->next) {
		if (t->p == NULL) {
			world_scanThread(w, t, gcw);
		}
		all = all && atomic_load(&t->scanned);
	}
	gcWork_dispose(&w->h->env, &w->h->work, gcw);
	return all;
}

// waitForMarkers returns when no worker marks and nothing is to be found. Under mu; the world runs then.
static void waitForMarkers(gomem_world *w) {
	for (;;) {
		if (!w->stopping) {
			const bool all = greyRoots(w), some = gcMarkWorkAvailable(&w->h->work);
			if (all && !some && w->markers == 0) {
				return;
			}
			if (some) {
				pthread_cond_broadcast(&w->cond);
			}
		}
		world_waitUntil(w, world_now() + idleMarkWait);
	}
}

// flushAll: each P gives away what it has, at the next safepoint of who has it (Go: forEachP). false: there was nothing. Under mu.
static bool flushAll(gomem_world *w) {
	w->flushGen++;
	w->flushedWork = false;
	want(w, wantFlush);
	for (bool all = false; !all;) {
		all = !w->stopping;
		for (int i = 0; i < w->nidle && all; i++) {
			flushP(w, w->idle[i]);
		}
		for (int i = 0; i < w->procs; i++) {
			all = all && w->ps[i]->flushGen == w->flushGen;
		}
		if (!all) {
			world_waitUntil(w, world_now() + idleMarkWait);
		}
	}
	wantNot(w, wantFlush);
	return w->flushedWork;
}

// leftOver: what barriers saw since then, and roots of threads that have come. The world is stopped.
static bool leftOver(gomem_world *w) {
	workType *work = &w->h->work;
	for (gomem_thread *t = w->threads; t != NULL; t = t->next) {
		wbBufFlush1(w, t, &work->gcw);
		world_scanThread(w, t, &work->gcw);
	}
	for (int i = -1; i < work->ngcws; i++) {
		gcWork_dispose(&w->h->env, work, work_gcw(work, i));
	}
	return gcMarkWorkAvailable(work);
}

// gcMarkDone returns when nothing is grey, with the world stopped. Under mu.
static void gcMarkDone(gomem_world *w) {
	for (;;) {
		waitForMarkers(w);
		if (flushAll(w)) {
			continue;
		}
		world_stopLocked(w);
		if (!leftOver(w)) {
			return;
		}
		world_startLocked(w);
	}
}

// markStopped: the world stays stopped, all Ps mark. Under mu.
static void markStopped(gomem_world *w) {
	while (leftOver(w) || w->markers > 0) {
		pthread_cond_broadcast(&w->cond);
		do {
			world_waitUntil(w, world_now() + idleMarkWait);
		} while (w->markers > 0);
	}
}

static void mark(gomem_world *w) {
	pthread_mutex_lock(&w->mu);
	w->marking = true;
	if (w->cfg.gcstoptheworld) {
		markStopped(w);
	} else {
		world_startLocked(w);
		world_waitUntil(w, world_now() + idleMarkWait); // who can run makes his roots black himself
		gcMarkDone(w);
	}
	w->marking = false;
	gcWakeAllAssists(w);
	pthread_cond_broadcast(&w->cond); // workers that wait for a P
	pthread_mutex_unlock(&w->mu);
}

// markTermination: the world is stopped.
static void markTermination(gomem_world *w) {
	gomem_heap *h = w->h;
	gcCPULimiter_startGCTransition(&w->limiter, false, world_now());
	gcDrain(h); // if there was no memory for a queue there is something
	wantNot(w, wantFraction);
	atomic_store(&w->gc.heapScanWork, atomic_load(&h->work.heapScanWork));
	gcController_endCycle(&w->gc, world_now(), w->procs);
	setGCPhase(h, gcMarkTermination);
	uint64_t marked = atomic_load(&h->work.bytesMarked);
	for (int i = 0; i < w->procs; i++) {
		marked += h->allp[i]->gcMarkedBytes;
	}
	gcController_resetLive(&w->gc, marked);
	setGCPhase(h, gcOff);
	h->work.concurrent = false;
}

static void startSweeping(gomem_world *w) {
	gomem_heap *h = w->h;
	w->lastHeapInUse = sysMemStat_load(&h->stats.heapInUse);
	gcSweep(h);
	scavengeIndex_nextGen(&h->env, &h->pages.scav.index);
	(void)gcControllerCommit(h, &w->gc);
	world_paceScavenger(w);
	freeStackSpans(h, NULL);
	mcache_prepareAll(w->h, NULL);
	atomic_store(&w->gcRequested, false);
	atomic_fetch_add(&w->limiter.numgc, 1);
	gcCPULimiter_finishGCTransition(&w->limiter, world_now());
}

static void sweepRest(gomem_world *w) {
	world_workerRun(w);
	while (sweepone(w->h, NULL) != ~(uintptr_t)0) {
		world_workerSafepoint(w);
	}
	world_workerPark(w);
}

// gcCycle runs on the thread of the collector. Under mu; it lets it go meanwhile.
static void gcCycle(gomem_world *w, bool periodic) {
	w->cyclesStarted = w->forced; // those who ask from now on want another one
	const uint64_t wanted = w->forced;
	const int procs = w->procs;
	pthread_mutex_unlock(&w->mu);
	(void)gcBgMarkStartWorkers(w, procs); // with fewer it takes longer
	sweepRest(w);
	pthread_mutex_lock(&w->mu);
	world_stopLocked(w);
	w->cycleRunning = true;
	pthread_mutex_unlock(&w->mu);
	startMarking(w, periodic);
	mark(w);
	markTermination(w);
	startSweeping(w);
	pthread_mutex_lock(&w->mu);
	w->lastGC = world_now();
	w->cycles++;
	w->cyclesForced += wanted > w->swept ? 1 : 0;
	w->swept = wanted;
	w->cycleRunning = false;
	w->sweepWanted = true;
	world_startLocked(w);
}

void *gcMain(void *arg) {
	gomem_world *w = arg;
	pthread_mutex_lock(&w->mu);
	while (!w->done) {
		const int64_t due = w->lastGC + forcegcperiod;
		const bool periodic = world_now() >= due && atomic_load(&w->gc.gcPercent) >= 0;
		if (w->forced > w->cyclesStarted || atomic_load(&w->gcRequested) || periodic) {
			gcCycle(w, periodic);
			continue;
		}
		world_waitUntil(w, due > world_now() ? due : world_now() + forcegcperiod);
	}
	pthread_mutex_unlock(&w->mu);
	return NULL;
}
