// world.c (layer 6): see world.h. Ports what surrounds the allocator in mgc.go (the order of a cycle), mwbbuf.go, bgsweep and bgscavenge of
// mgcsweep.go and mgcscavenge.go, stopTheWorld of proc.go, and the end of allocSpan (scavenging where a limit is near).
//
// One thread marks. Others help where they allocate faster than it marks (gcAssistAlloc), and bring what their barriers saw.
// Locks: mu before markMu; neither is taken while a lock of the heap is held.
//   mu      who runs, which Ps are idle, requests
//   markMu  the queues of the mark phase
#include "gomem/world.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>

#include "gomem/bgscavenge.h"
#include "gomem/mcache.h"
#include "gomem/mgcpacer.h"

enum {
	wbBufEntries = 512,
	drainSlice = 64 << 10, // bytes scanned while others wait for the queues
	sweepBatch = 10,
	idleMarkWait = 200000, // ns, while threads are on their way to a safepoint
};
static const int64_t second = 1000000000;
static const int64_t forcegcperiod = 120 * second;

struct gomem_thread {
	gomem_world *w;
	gomem_thread *next;
	gomem_p *p; // NULL: it does not run
	const gomem_root *roots;
	size_t nroots;
	bool scanned; // its roots are black; under markMu
	size_t wbN;
	uintptr_t wbBuf[wbBufEntries];
};

struct gomem_world {
	gomem_heap *h;
	gomem_world_config cfg;
	gcControllerState gc;
	scavengeGoals goals;
	scavengerState scav;
	uint64_t lastHeapInUse;
	pthread_mutex_t mu, markMu;
	pthread_cond_t cond; // any change under mu
	gomem_thread *threads;
	gomem_p **idle;
	int nidle, procs;
	int running; // threads with a P, and background workers that are not at a safepoint
	bool stopping, cycleRunning, done, sweepWanted, scavengeWanted;
	_Atomic(uint32_t) attention; // reasons to stop at a safepoint
	_Atomic(uint32_t) markWaiters;
	_Atomic(bool) gcRequested;
	uint64_t forced; // requests by gomem_world_gc
	uint64_t cyclesStarted, cycles, cyclesForced;
	uint64_t swept; // cycles whose sweep is over
	int64_t lastGC;
	uint64_t released; // by the background scavenger
	pthread_t gcThread, sweepThread, scavThread;
	bool hasGC, hasSweep, hasScav;
};

enum { wantStop = 1, wantRoots = 2 };

static int64_t now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * second + t.tv_nsec;
}

static void want(gomem_world *w, uint32_t why) { atomic_fetch_or(&w->attention, why); }
static void wantNot(gomem_world *w, uint32_t why) { atomic_fetch_and(&w->attention, ~why); }

// waitUntil waits for a change, or until a time of now().
static void waitUntil(gomem_world *w, int64_t when) {
	const struct timespec t = {.tv_sec = when / second, .tv_nsec = when % second};
	pthread_cond_timedwait(&w->cond, &w->mu, &t);
}

// ---- the queues of the mark phase

// lockMark: others than the mark worker, which lets them pass.
static void lockMark(gomem_world *w) {
	atomic_fetch_add(&w->markWaiters, 1);
	pthread_mutex_lock(&w->markMu);
	atomic_fetch_sub(&w->markWaiters, 1);
}

static void unlockMark(gomem_world *w) { pthread_mutex_unlock(&w->markMu); }

static void wbBufFlush1(gomem_world *w, gomem_thread *t) {
	for (size_t i = 0; i < t->wbN; i++) {
		shade(w->h, t->wbBuf[i]);
	}
	t->wbN = 0;
}

static void wbBufFlush(gomem_thread *t) {
	if (t->wbN > 0) {
		lockMark(t->w);
		wbBufFlush1(t->w, t);
		unlockMark(t->w);
	}
}

// scanThread makes the roots of t black. It is at a safepoint.
static void scanThread(gomem_world *w, gomem_thread *t) {
	lockMark(w);
	if (!t->scanned) {
		t->scanned = true;
		gcGreyRoots(w->h, t->roots, t->nroots);
	}
	unlockMark(w);
}

// ---- who runs. Under mu

static bool tryRun(gomem_world *w, gomem_thread *t) {
	if (w->stopping || w->nidle == 0) {
		return false;
	}
	t->p = w->idle[--w->nidle];
	w->running++;
	return true;
}

static void run(gomem_world *w, gomem_thread *t) {
	while (!tryRun(w, t)) {
		pthread_cond_wait(&w->cond, &w->mu);
	}
}

static void park(gomem_world *w, gomem_thread *t) {
	wbBufFlush(t);
	w->idle[w->nidle++] = t->p;
	t->p = NULL;
	w->running--;
	pthread_cond_broadcast(&w->cond);
}

static void stopLocked(gomem_world *w) {
	while (w->stopping) {
		pthread_cond_wait(&w->cond, &w->mu);
	}
	w->stopping = true;
	want(w, wantStop);
	while (w->running > 0) {
		pthread_cond_wait(&w->cond, &w->mu);
	}
}

static void startLocked(gomem_world *w) {
	w->stopping = false;
	wantNot(w, wantStop);
	pthread_cond_broadcast(&w->cond);
}

// Background workers run without a P.
static void workerRun(gomem_world *w) {
	pthread_mutex_lock(&w->mu);
	while (w->stopping) {
		pthread_cond_wait(&w->cond, &w->mu);
	}
	w->running++;
	pthread_mutex_unlock(&w->mu);
}

static void workerPark(gomem_world *w) {
	pthread_mutex_lock(&w->mu);
	w->running--;
	pthread_cond_broadcast(&w->cond);
	pthread_mutex_unlock(&w->mu);
}

static void workerSafepoint(gomem_world *w) {
	if ((atomic_load(&w->attention) & wantStop) != 0) {
		workerPark(w);
		workerRun(w);
	}
}

static void stopForWorker(gomem_world *w) {
	pthread_mutex_lock(&w->mu);
	stopLocked(w);
	pthread_mutex_unlock(&w->mu);
}

static void startForWorker(gomem_world *w) {
	pthread_mutex_lock(&w->mu);
	startLocked(w);
	pthread_mutex_unlock(&w->mu);
}

// ---- threads

gomem_thread *gomem_world_enter(gomem_world *w) {
	gomem_thread *t = calloc(1, sizeof(*t));
	if (t == NULL) {
		return NULL;
	}
	t->w = w;
	pthread_mutex_lock(&w->mu);
	run(w, t);
	t->next = w->threads;
	w->threads = t;
	pthread_mutex_unlock(&w->mu);
	return t;
}

void gomem_world_leave(gomem_thread *t) {
	gomem_world *w = t->w;
	pthread_mutex_lock(&w->mu);
	park(w, t);
	gomem_thread **at = &w->threads;
	while (*at != t) {
		at = &(*at)->next;
	}
	*at = t->next;
	pthread_mutex_unlock(&w->mu);
	free(t);
}

gomem_p *gomem_thread_p(gomem_thread *t) { return t->p; }

void gomem_thread_roots(gomem_thread *t, const gomem_root *roots, size_t n) {
	pthread_mutex_lock(&t->w->mu);
	t->roots = roots;
	t->nroots = n;
	pthread_mutex_unlock(&t->w->mu);
}

static void safepointSlow(gomem_thread *t) {
	gomem_world *w = t->w;
	if ((atomic_load(&w->attention) & wantRoots) != 0) {
		scanThread(w, t);
	}
	if ((atomic_load(&w->attention) & wantStop) == 0) {
		return;
	}
	pthread_mutex_lock(&w->mu);
	park(w, t);
	run(w, t);
	pthread_mutex_unlock(&w->mu);
}

void gomem_safepoint(gomem_thread *t) {
	if (__builtin_expect(atomic_load_explicit(&t->w->attention, memory_order_acquire) != 0, false)) {
		safepointSlow(t);
	}
}

void gomem_blocking_begin(gomem_thread *t) {
	pthread_mutex_lock(&t->w->mu);
	park(t->w, t);
	pthread_mutex_unlock(&t->w->mu);
}

void gomem_blocking_end(gomem_thread *t) {
	pthread_mutex_lock(&t->w->mu);
	run(t->w, t);
	pthread_mutex_unlock(&t->w->mu);
}

void *gomem_world_malloc(gomem_thread *t, size_t size, const gomem_type *typ, bool needzero) {
	gomem_safepoint(t);
	return gomem_mallocgc(t->w->h, t->p, size, typ, needzero);
}

void *gomem_read(void *const *slot) {
	return (void *)atomic_load_explicit((const _Atomic(uintptr_t) *)(const void *)slot, memory_order_acquire);
}

void gomem_write_barrier(gomem_thread *t, void **slot, void *ptr) {
	_Atomic(uintptr_t) *at = (_Atomic(uintptr_t) *)(void *)slot;
	if (__builtin_expect(t->w->h->gcBlackenEnabled && !t->w->cfg.no_barrier, false)) {
		if (t->wbN + 2 > wbBufEntries) {
			wbBufFlush(t);
		}
		t->wbBuf[t->wbN++] = atomic_load_explicit(at, memory_order_acquire);
		t->wbBuf[t->wbN++] = (uintptr_t)ptr;
	}
	atomic_store_explicit(at, (uintptr_t)ptr, memory_order_release);
}

void gomem_stopTheWorld(gomem_thread *t) {
	pthread_mutex_lock(&t->w->mu);
	park(t->w, t);
	stopLocked(t->w);
	pthread_mutex_unlock(&t->w->mu);
}

void gomem_startTheWorld(gomem_thread *t) {
	pthread_mutex_lock(&t->w->mu);
	startLocked(t->w);
	run(t->w, t);
	pthread_mutex_unlock(&t->w->mu);
}

// stopOutsideCycle stops the world when no collection runs (Go: stopTheWorldGC).
static void stopOutsideCycle(gomem_thread *t) {
	gomem_world *w = t->w;
	pthread_mutex_lock(&w->mu);
	park(w, t);
	for (;;) {
		while (w->cycleRunning) {
			pthread_cond_wait(&w->cond, &w->mu);
		}
		stopLocked(w);
		if (!w->cycleRunning) {
			break;
		}
		startLocked(w); // one began meanwhile
	}
	pthread_mutex_unlock(&w->mu);
}

// ---- a cycle

static void startMarking(gomem_world *w, bool periodic) {
	gomem_heap *h = w->h;
	finishsweep_m(h, NULL);
	gcResetMarkState(h);
	gcController_startCycle(&w->gc, now(), w->procs, periodic);
	for (int i = 0; i < w->procs; i++) {
		h->allp[i]->gcAssistBytes = 0;
		h->allp[i]->gcMarkedBytes = 0;
	}
	for (gomem_thread *t = w->threads; t != NULL; t = t->next) {
		t->scanned = false;
	}
	h->gcw.concurrent = !w->cfg.gcstoptheworld;
	gcMarkStart(h);
	gcGreyRoots(h, w->cfg.globals, w->cfg.nglobals);
	want(w, wantRoots);
}

// scanParked makes the roots of threads that stand still black; false: some still run with white ones. Takes mu.
static bool scanParked(gomem_world *w) {
	bool all = true;
	pthread_mutex_lock(&w->mu);
	for (gomem_thread *t = w->threads; t != NULL; t = t->next) {
		if (t->p == NULL) {
			scanThread(w, t);
		}
		lockMark(w);
		all = all && t->scanned;
		unlockMark(w);
	}
	pthread_mutex_unlock(&w->mu);
	return all;
}

// drainSome returns bytes scanned.
static int64_t drainSome(gomem_world *w) {
	pthread_mutex_lock(&w->markMu);
	const int64_t done = gcDrainN(w->h, drainSlice);
	const bool more = done > 0 || gcHasWork(w->h);
	atomic_store(&w->gc.heapScanWork, (int64_t)w->h->gcw.heapScanWork);
	atomic_fetch_add(&w->gc.bgScanCredit, done);
	gcController_revise(&w->gc);
	pthread_mutex_unlock(&w->markMu);
	while (atomic_load(&w->markWaiters) > 0 && more) {
		sched_yield();
	}
	return more ? done + 1 : 0;
}

// markConcurrently returns when nothing is grey and all roots are black; what barriers saw meanwhile is in their buffers.
static void markConcurrently(gomem_world *w) {
	bool all = false;
	while (!all || drainSome(w) > 0) {
		while (drainSome(w) > 0) {
			workerSafepoint(w);
		}
		all = scanParked(w);
		if (!all) {
			workerPark(w);
			pthread_mutex_lock(&w->mu);
			waitUntil(w, now() + idleMarkWait);
			pthread_mutex_unlock(&w->mu);
			workerRun(w);
		}
	}
}

// markTermination: the world is stopped, so all buffers are empty.
static void markTermination(gomem_world *w) {
	gomem_heap *h = w->h;
	for (gomem_thread *t = w->threads; t != NULL; t = t->next) {
		wbBufFlush(t);
		scanThread(w, t);
	}
	gcDrain(h);
	wantNot(w, wantRoots);
	atomic_store(&w->gc.heapScanWork, (int64_t)h->gcw.heapScanWork);
	gcController_endCycle(&w->gc, now(), w->procs);
	setGCPhase(h, gcMarkTermination);
	uint64_t marked = h->gcw.bytesMarked;
	for (int i = 0; i < w->procs; i++) {
		marked += h->allp[i]->gcMarkedBytes;
	}
	gcController_resetLive(&w->gc, marked);
	setGCPhase(h, gcOff);
	h->gcw.concurrent = false;
}

static void paceScavenger(gomem_world *w) {
	gcPaceScavenger(&w->goals, &w->h->stats, w->h->env.physPageSize, atomic_load(&w->gc.memoryLimit),
		gcController_heapGoal(&w->gc), w->gc.lastHeapGoal, w->lastHeapInUse);
}

static void startSweeping(gomem_world *w) {
	gomem_heap *h = w->h;
	w->lastHeapInUse = sysMemStat_load(&h->stats.heapInUse);
	gcSweep(h);
	scavengeIndex_nextGen(&h->env, &h->pages.scav.index);
	(void)gcControllerCommit(h, &w->gc);
	paceScavenger(w);
	freeStackSpans(h, NULL);
	mcache_prepareAll(w->h, NULL);
	atomic_store(&w->gcRequested, false);
}

static void sweepRest(gomem_world *w) {
	workerRun(w);
	while (sweepone(w->h, NULL) != ~(uintptr_t)0) {
		workerSafepoint(w);
	}
	workerPark(w);
}

// gcCycle runs on the thread of the collector. Under mu; it lets it go meanwhile.
static void gcCycle(gomem_world *w, bool periodic) {
	w->cyclesStarted = w->forced; // those who ask from now on want another one
	const uint64_t wanted = w->forced;
	pthread_mutex_unlock(&w->mu);
	sweepRest(w);
	pthread_mutex_lock(&w->mu);
	stopLocked(w);
	w->cycleRunning = true;
	pthread_mutex_unlock(&w->mu);
	startMarking(w, periodic);
	if (!w->cfg.gcstoptheworld) {
		startForWorker(w);
		workerRun(w);
		markConcurrently(w);
		workerPark(w);
		stopForWorker(w);
	}
	markTermination(w);
	startSweeping(w);
	pthread_mutex_lock(&w->mu);
	w->lastGC = now();
	w->cycles++;
	w->cyclesForced += wanted > w->swept ? 1 : 0;
	w->swept = wanted;
	w->cycleRunning = false;
	w->sweepWanted = true;
	startLocked(w);
}

static void *gcMain(void *arg) {
	gomem_world *w = arg;
	pthread_mutex_lock(&w->mu);
	while (!w->done) {
		const int64_t due = w->lastGC + forcegcperiod;
		const bool periodic = now() >= due && atomic_load(&w->gc.gcPercent) >= 0;
		if (w->forced > w->cyclesStarted || atomic_load(&w->gcRequested) || periodic) {
			gcCycle(w, periodic);
			continue;
		}
		waitUntil(w, due > now() ? due : now() + forcegcperiod);
	}
	pthread_mutex_unlock(&w->mu);
	return NULL;
}

// ---- background workers

static void *bgsweep(void *arg) {
	gomem_world *w = arg;
	pthread_mutex_lock(&w->mu);
	while (!w->done) {
		if (!w->sweepWanted) {
			pthread_cond_wait(&w->cond, &w->mu);
			continue;
		}
		w->sweepWanted = false;
		pthread_mutex_unlock(&w->mu);
		workerRun(w);
		for (int n = 1; sweepone(w->h, NULL) != ~(uintptr_t)0; n++) {
			workerSafepoint(w);
			if (n % sweepBatch == 0) {
				sched_yield();
			}
		}
		workerPark(w);
		pthread_mutex_lock(&w->mu);
		w->scavengeWanted = true;
		pthread_cond_broadcast(&w->cond);
	}
	pthread_mutex_unlock(&w->mu);
	return NULL;
}

static int64_t scavSleep(void *ctx, int64_t ns) {
	gomem_world *w = ctx;
	const int64_t begin = now();
	pthread_mutex_lock(&w->mu);
	while (!w->done && now() < begin + ns) {
		waitUntil(w, begin + ns);
	}
	pthread_mutex_unlock(&w->mu);
	return now() - begin;
}

static uintptr_t scavScavenge(void *ctx, uintptr_t nbytes, int64_t *ns) {
	gomem_world *w = ctx;
	workerRun(w);
	const int64_t begin = now();
	const uintptr_t r = pageAlloc_scavenge(&w->h->env, &w->h->pages, nbytes, NULL, NULL, false, &w->h->stats.heapStats);
	*ns = now() - begin;
	workerPark(w);
	return r;
}

static bool scavShouldStop(void *ctx) {
	gomem_world *w = ctx;
	return scavengeGoals_reached(&w->goals, &w->h->stats);
}

static int32_t scavProcs(void *ctx) {
	gomem_world *w = ctx;
	pthread_mutex_lock(&w->mu);
	const int n = w->procs;
	pthread_mutex_unlock(&w->mu);
	return n;
}

static void *bgscavenge(void *arg) {
	gomem_world *w = arg;
	pthread_mutex_lock(&w->mu);
	while (!w->done) {
		if (!w->scavengeWanted) {
			pthread_cond_wait(&w->cond, &w->mu);
			continue;
		}
		w->scavengeWanted = false;
		pthread_mutex_unlock(&w->mu);
		double worked;
		const uintptr_t released = scavenger_run(&w->scav, &worked);
		if (released > 0) {
			scavenger_sleep(&w->scav, worked);
		}
		pthread_mutex_lock(&w->mu);
		w->released += released;
		w->scavengeWanted = w->scavengeWanted || released > 0;
	}
	pthread_mutex_unlock(&w->mu);
	return NULL;
}

// ---- what the heap asks

static void onTrigger(void *ctx, gomem_heap *h, gomem_p *p) {
	(void)p;
	gomem_world *w = ctx;
	if (h->gcBlackenEnabled || atomic_load_explicit(&w->gcRequested, memory_order_relaxed)) {
		return;
	}
	uint64_t goal;
	if (atomic_load_explicit(&h->stats.heapLive, memory_order_relaxed) < gcController_trigger(&w->gc, &goal) ||
		atomic_exchange(&w->gcRequested, true)) {
		return;
	}
	pthread_mutex_lock(&w->mu);
	pthread_cond_broadcast(&w->cond);
	pthread_mutex_unlock(&w->mu);
}

// stealCredit takes up to work of what the mark worker did in advance.
static int64_t stealCredit(gcControllerState *c, int64_t work) {
	const int64_t credit = atomic_load(&c->bgScanCredit);
	const int64_t stolen = credit <= 0 ? 0 : credit < work ? credit : work;
	atomic_fetch_sub(&c->bgScanCredit, stolen);
	return stolen;
}

// gcAssistAlloc: who allocates in debt marks. Where there is nothing to mark he goes on: Go parks him until there is.
static void gcAssistAlloc(void *ctx, gomem_heap *h, gomem_p *p, uintptr_t size) {
	(void)size;
	gomem_world *w = ctx;
	if (p == NULL || p->gcAssistBytes >= 0) {
		return;
	}
	int64_t debt = -p->gcAssistBytes;
	int64_t work = (int64_t)(atomic_load(&w->gc.assistWorkPerByte) * (double)debt);
	if (work < gcOverAssistWork) {
		work = gcOverAssistWork;
		const double paid = atomic_load(&w->gc.assistBytesPerWork) * (double)work;
		debt = paid < 0x1p62 ? (int64_t)paid : (int64_t)1 << 62; // with GOGC=off the goal is as far as numbers go
	}
	p->gcAssistBytes += debt + 1;
	work -= stealCredit(&w->gc, work);
	if (work <= 0) {
		return;
	}
	const int64_t begin = now();
	lockMark(w);
	(void)gcDrainN(h, work);
	unlockMark(w);
	atomic_fetch_add(&w->gc.assistTime, now() - begin);
}

// scavengeAssist: what is given back at once, where the heap grew beyond its goal, or memory beyond its limit.
static void scavengeAssist(void *ctx, gomem_heap *h, gomem_p *p, uintptr_t scav, uintptr_t growth) {
	gomem_world *w = ctx;
	uint64_t bytesToScavenge = 0;
	const uint64_t limit = (uint64_t)atomic_load(&w->gc.memoryLimit);
	const uint64_t inuse = (uint64_t)atomic_load_explicit(&h->stats.mappedReady, memory_order_relaxed);
	if (inuse + scav > limit) {
		bytesToScavenge = inuse + scav - limit;
	}
	const uint64_t goal = atomic_load(&w->goals.gcPercentGoal);
	const uint64_t retained = heapRetained(&h->stats);
	if (goal != UINT64_MAX && growth > 0 && retained + growth > goal) {
		const uint64_t overage = retained + growth - goal;
		const uint64_t wanted = growth < overage ? growth : overage;
		bytesToScavenge = wanted > bytesToScavenge ? wanted : bytesToScavenge;
	}
	if (bytesToScavenge > 0) {
		pageAlloc_scavenge(&h->env, &h->pages, (uintptr_t)bytesToScavenge, NULL, NULL, true, heapStats_of(h, p));
	}
}

// ---- a world

static void collectIdle(gomem_world *w) {
	w->nidle = 0;
	for (int i = w->procs; i-- > 0;) {
		w->idle[w->nidle++] = w->h->allp[i];
	}
}

static bool setProcs(gomem_world *w, int n) {
	gomem_p **idle = realloc(w->idle, (size_t)(n > w->procs ? n : w->procs) * sizeof(*idle));
	if (idle == NULL) {
		return false;
	}
	w->idle = idle;
	if (!gomem_procresize(w->h, n)) {
		return false;
	}
	w->procs = n;
	collectIdle(w);
	return true;
}

static bool makeHeap(gomem_world *w) {
	const gomem_policy policy = {
		.ctx = w, .gcTrigger = onTrigger, .assist = gcAssistAlloc, .scavengeAssist = scavengeAssist};
	w->cfg.heap.policy = &policy;
	w->h = gomem_heap_new(&w->cfg.heap);
	w->cfg.heap.policy = NULL;
	if (w->h == NULL || !setProcs(w, w->cfg.procs > 0 ? w->cfg.procs : 1)) {
		return false;
	}
	const int32_t gogc = w->cfg.gogc == 0 ? 100 : w->cfg.gogc;
	gcController_init(
		&w->gc, &w->h->env, &w->h->stats, gogc, w->cfg.memory_limit > 0 ? w->cfg.memory_limit : INT64_MAX);
	paceScavenger(w);
	const scavengerHooks hooks = {w, scavSleep, scavScavenge, scavShouldStop, scavProcs};
	scavenger_init(&w->scav, &w->h->env, w->h->env.physPageSize, hooks);
	return true;
}

static bool startWorkers(gomem_world *w) {
	w->hasGC = pthread_create(&w->gcThread, NULL, gcMain, w) == 0;
	if (w->cfg.no_background) {
		return w->hasGC;
	}
	w->hasSweep = pthread_create(&w->sweepThread, NULL, bgsweep, w) == 0;
	w->hasScav = pthread_create(&w->scavThread, NULL, bgscavenge, w) == 0;
	return w->hasGC && w->hasSweep && w->hasScav;
}

static void initLocks(gomem_world *w) {
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&w->cond, &attr);
	pthread_condattr_destroy(&attr);
	pthread_mutex_init(&w->mu, NULL);
	pthread_mutex_init(&w->markMu, NULL);
}

gomem_world *gomem_world_new(const gomem_world_config *cfg) {
	gomem_world *w = calloc(1, sizeof(*w));
	if (w == NULL) {
		return NULL;
	}
	w->cfg = *cfg;
	w->lastGC = now();
	initLocks(w);
	if (!makeHeap(w) || !startWorkers(w)) {
		gomem_world_destroy(w);
		errno = ENOMEM;
		return NULL;
	}
	return w;
}

void gomem_world_destroy(gomem_world *w) {
	if (w == NULL) {
		return;
	}
	pthread_mutex_lock(&w->mu);
	w->done = true;
	pthread_cond_broadcast(&w->cond);
	pthread_mutex_unlock(&w->mu);
	if (w->hasGC) {
		pthread_join(w->gcThread, NULL);
	}
	if (w->hasSweep) {
		pthread_join(w->sweepThread, NULL);
	}
	if (w->hasScav) {
		pthread_join(w->scavThread, NULL);
	}
	gomem_heap_destroy(w->h);
	pthread_cond_destroy(&w->cond);
	pthread_mutex_destroy(&w->mu);
	pthread_mutex_destroy(&w->markMu);
	free(w->idle);
	free(w);
}

gomem_heap *gomem_world_heap(gomem_world *w) { return w->h; }

// ---- what a program asks for

void gomem_world_gc(gomem_thread *t) {
	gomem_world *w = t->w;
	pthread_mutex_lock(&w->mu);
	const uint64_t mine = ++w->forced;
	park(w, t);
	while (w->swept < mine) {
		pthread_cond_wait(&w->cond, &w->mu);
	}
	run(w, t);
	pthread_mutex_unlock(&w->mu);
	while (gomem_sweepone(w->h, t->p) != ~(uintptr_t)0) {
		gomem_safepoint(t);
	}
}

void gomem_freeOSMemory(gomem_thread *t) {
	gomem_world_gc(t);
	gomem_heap *h = t->w->h;
	gomem_stopTheWorld(t); // Go flushes page caches too: scavengeAll
	for (int32_t i = 0; i < h->nallp; i++) {
		if (p_isAlive(h->allp[i])) {
			lock(&h->env, &h->lock);
			pageCache_flush(&h->env, &h->allp[i]->pcache, &h->pages, h->allp[i]->id);
			unlock(&h->env, &h->lock);
		}
	}
	(void)gomem_scavenge(h, NULL, UINTPTR_MAX, true);
	gomem_startTheWorld(t);
}

bool gomem_world_procs(gomem_thread *t, int n) {
	stopOutsideCycle(t);
	const bool ok = setProcs(t->w, n);
	gomem_startTheWorld(t);
	return ok;
}

int gomem_setGCPercent(gomem_thread *t, int gogc) {
	gomem_stopTheWorld(t);
	const int old = gcController_setGCPercent(&t->w->gc, gogc);
	(void)gcControllerCommit(t->w->h, &t->w->gc);
	paceScavenger(t->w);
	gomem_startTheWorld(t);
	return old;
}

int64_t gomem_setMemoryLimit(gomem_thread *t, int64_t bytes) {
	gomem_stopTheWorld(t);
	const int64_t old = gcController_setMemoryLimit(&t->w->gc, bytes);
	(void)gcControllerCommit(t->w->h, &t->w->gc);
	paceScavenger(t->w);
	gomem_startTheWorld(t);
	return old;
}

// ---- metrics

typedef struct metricCtx {
	gomem_world *w;
	gomem_memstats s;
} metricCtx;

static uint64_t mCyclesAuto(const metricCtx *m) { return m->w->cycles - m->w->cyclesForced; }
static uint64_t mCyclesForced(const metricCtx *m) { return m->w->cyclesForced; }
static uint64_t mCycles(const metricCtx *m) { return m->w->cycles; }
static uint64_t mGogc(const metricCtx *m) { return (uint64_t)(int64_t)atomic_load(&m->w->gc.gcPercent); }
static uint64_t mLimit(const metricCtx *m) { return (uint64_t)atomic_load(&m->w->gc.memoryLimit); }
static uint64_t mAllocBytes(const metricCtx *m) { return m->s.total_alloc; }
static uint64_t mAllocs(const metricCtx *m) { return m->s.mallocs - m->s.tiny_allocs; }
static uint64_t mFreeBytes(const metricCtx *m) { return m->s.total_free; }
static uint64_t mFrees(const metricCtx *m) { return m->s.frees - m->s.tiny_allocs; }
static uint64_t mGoal(const metricCtx *m) { return gcController_heapGoal(&m->w->gc); }
static uint64_t mLive(const metricCtx *m) { return m->w->gc.heapMarked; }
static uint64_t mObjects(const metricCtx *m) { return mAllocs(m) - mFrees(m); }
static uint64_t mTiny(const metricCtx *m) { return m->s.tiny_allocs; }
static uint64_t mScanHeap(const metricCtx *m) { return m->w->gc.lastHeapScan; }
static uint64_t mHeapFree(const metricCtx *m) { return m->s.heap_free; }
static uint64_t mHeapObjects(const metricCtx *m) { return m->s.total_alloc - m->s.total_free; }
static uint64_t mHeapReleased(const metricCtx *m) { return m->s.heap_released; }
static uint64_t mHeapUnused(const metricCtx *m) { return m->s.heap_in_use - mHeapObjects(m); }
static uint64_t mStacks(const metricCtx *m) { return m->s.stacks_in_use; }
static uint64_t mProcs(const metricCtx *m) { return (uint64_t)m->w->procs; }
static uint64_t mTotal(const metricCtx *m) {
	return m->s.heap_in_use + m->s.heap_free + m->s.heap_released + m->s.stacks_in_use + m->s.work_bufs +
		m->s.mspan_sys + m->s.mcache_sys + m->s.gc_misc_sys + m->s.other_sys;
}

static const struct {
	const char *name;
	uint64_t (*get)(const metricCtx *m);
} metrics[] = {
	{"/gc/cycles/automatic:gc-cycles", mCyclesAuto},
	{"/gc/cycles/forced:gc-cycles", mCyclesForced},
	{"/gc/cycles/total:gc-cycles", mCycles},
	{"/gc/gogc:percent", mGogc},
	{"/gc/gomemlimit:bytes", mLimit},
	{"/gc/heap/allocs:bytes", mAllocBytes},
	{"/gc/heap/allocs:objects", mAllocs},
	{"/gc/heap/frees:bytes", mFreeBytes},
	{"/gc/heap/frees:objects", mFrees},
	{"/gc/heap/goal:bytes", mGoal},
	{"/gc/heap/live:bytes", mLive},
	{"/gc/heap/objects:objects", mObjects},
	{"/gc/heap/tiny/allocs:objects", mTiny},
	{"/gc/scan/heap:bytes", mScanHeap},
	{"/memory/classes/heap/free:bytes", mHeapFree},
	{"/memory/classes/heap/objects:bytes", mHeapObjects},
	{"/memory/classes/heap/released:bytes", mHeapReleased},
	{"/memory/classes/heap/stacks:bytes", mStacks},
	{"/memory/classes/heap/unused:bytes", mHeapUnused},
	{"/memory/classes/total:bytes", mTotal},
	{"/sched/gomaxprocs:threads", mProcs},
};

const char *gomem_metric_name(size_t i) { return i < sizeof(metrics) / sizeof(metrics[0]) ? metrics[i].name : NULL; }

void gomem_world_metrics(gomem_thread *t, gomem_metric *m, size_t n) {
	metricCtx ctx = {.w = t->w};
	gomem_stopTheWorld(t);
	gomem_readmemstats(t->w->h, &ctx.s);
	for (size_t i = 0; i < n; i++) {
		m[i].known = false;
		for (size_t k = 0; gomem_metric_name(k) != NULL && !m[i].known; k++) {
			m[i].known = strcmp(m[i].name, metrics[k].name) == 0;
			m[i].value = m[i].known ? metrics[k].get(&ctx) : 0;
		}
	}
	gomem_startTheWorld(t);
}

const char *gomem_world_check(gomem_world *w) {
	if (w->running != 0 || w->nidle != w->procs) {
		return "world: a thread runs, or has a P";
	}
	const char *bad = gcController_check(&w->gc);
	return bad != NULL ? bad : gomem_heap_check(w->h);
}
