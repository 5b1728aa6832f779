// world.c (layer 6): see world.h. Ports stopTheWorld of proc.go, mwbbuf.go, bgsweep and bgscavenge of mgcsweep.go and mgcscavenge.go, and the end of
// allocSpan (scavenging where a limit is near). The mark phase is in mgc.c.
//
// Who waits for a P gets one when somebody parks, the longest first; after 10 ms somebody who runs gives his away.
// Locks: mu says who runs and which Ps are idle; no lock of the heap is held when it is taken.
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>

#include "gomem/mgc.h"

enum { sweepBatch = 10 };
static const int64_t forcePreemptNS = 10000000;

int64_t world_now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * second + t.tv_nsec;
}

void world_waitUntil(gomem_world *w, int64_t when) {
	const struct timespec t = {.tv_sec = (time_t)(when / second), .tv_nsec = (long)(when % second)};
	pthread_cond_timedwait(&w->cond, &w->mu, &t);
}

// ---- what makes grey

void wbBufFlush1(gomem_world *w, gomem_thread *t, gcWork *gcw) {
	for (size_t i = 0; i < t->wbN; i++) {
		shade(w->h, gcw, t->wbBuf[i]);
	}
	t->wbN = 0;
}

// wbBufFlush: t has a P, or the caller mu.
static void wbBufFlush(gomem_thread *t) {
	if (t->wbN > 0) {
		wbBufFlush1(t->w, t, t->p != NULL ? gcWork_of(t->w, t->p) : &t->w->h->work.gcw);
	}
}

void world_scanThread(gomem_world *w, gomem_thread *t, gcWork *gcw) {
	if (!atomic_load(&t->scanned) && !atomic_exchange(&t->scanned, true)) {
		gcGreyRoots(w->h, gcw, t->roots, t->nroots);
	}
}

// ---- who runs. Under mu

static void updateLimiter(gomem_world *w, int64_t now) {
	if (gcCPULimiter_needUpdate(&w->limiter, now)) {
		gcCPULimiter_update(&w->limiter, now);
	}
}

gomem_p *world_takeP(gomem_world *w) {
	gomem_p *p = w->idle[--w->nidle];
	const int64_t now = world_now();
	limiterEvent_stop(&w->limiter, &worldP_of(w, p)->event, limiterEventIdle, now);
	updateLimiter(w, now);
	w->running++;
	return p;
}

void world_giveP(gomem_world *w, gomem_p *p) {
	const int64_t now = world_now();
	(void)limiterEvent_start(&worldP_of(w, p)->event, limiterEventIdle, now);
	updateLimiter(w, now);
	w->idle[w->nidle++] = p;
	w->running--;
	pthread_cond_broadcast(&w->cond);
}

static bool tryRun(gomem_world *w, gomem_thread *t) {
	if (w->stopping || w->nidle <= w->workersWaiting || (w->waiting != NULL && w->waiting != t)) {
		return false;
	}
	t->p = world_takeP(w);
	t->p->gcAssistBytes = t->gcAssistBytes;
	return true;
}

static void waitToRun(gomem_world *w, gomem_thread *t) {
	if (tryRun(w, t)) {
		return;
	}
	gomem_thread **at = &w->waiting;
	while (*at != NULL) {
		at = &(*at)->waitNext;
	}
	*at = t;
	t->waitNext = NULL;
	atomic_fetch_add(&w->nwaiting, 1);
	int64_t due = world_now() + forcePreemptNS;
	while (!tryRun(w, t)) {
		world_waitUntil(w, due);
		if (world_now() >= due) {
			want(w, wantP);
			due += forcePreemptNS;
		}
	}
	w->waiting = t->waitNext;
	atomic_fetch_sub(&w->nwaiting, 1);
	pthread_cond_broadcast(&w->cond);
}

// blacken makes the roots of t black if marking is on. What t makes then is black, and may be filled in without the barrier (promise 3): white
// roots could hide there. Under mu, which it lets go meanwhile; t has a P.
static void blacken(gomem_world *w, gomem_thread *t) {
	if (w->marking && !atomic_load(&t->scanned)) {
		pthread_mutex_unlock(&w->mu);
		world_scanThread(w, t, gcWork_of(w, t->p));
		pthread_mutex_lock(&w->mu);
	}
}

// Marking begins while nobody runs, so each thread comes by here before it does anything. DEVIATION(D34): so no thread runs with white roots.
void world_run(gomem_world *w, gomem_thread *t) {
	waitToRun(w, t);
	blacken(w, t);
}

void world_park(gomem_world *w, gomem_thread *t) {
	wbBufFlush(t);
	t->gcAssistBytes = t->p->gcAssistBytes;
	t->p->gcAssistBytes = 0;
	gomem_p *p = t->p;
	t->p = NULL;
	world_giveP(w, p);
}

void world_stopLocked(gomem_world *w) {
	while (w->stopping) {
		pthread_cond_wait(&w->cond, &w->mu);
	}
	w->stopping = true;
	want(w, wantStop);
	while (w->running > 0) {
		pthread_cond_wait(&w->cond, &w->mu);
	}
}

void world_startLocked(gomem_world *w) {
	w->stopping = false;
	wantNot(w, wantStop);
	pthread_cond_broadcast(&w->cond);
}

void world_workerRun(gomem_world *w) {
	pthread_mutex_lock(&w->mu);
	while (w->stopping) {
		pthread_cond_wait(&w->cond, &w->mu);
	}
	w->running++;
	pthread_mutex_unlock(&w->mu);
}

void world_workerPark(gomem_world *w) {
	pthread_mutex_lock(&w->mu);
	w->running--;
	pthread_cond_broadcast(&w->cond);
	pthread_mutex_unlock(&w->mu);
}

void world_workerSafepoint(gomem_world *w) {
	if ((atomic_load(&w->attention) & wantStop) != 0) {
		world_workerPark(w);
		world_workerRun(w);
	}
}

// ---- threads

gomem_thread *gomem_world_enter(gomem_world *w) {
	gomem_thread *t = calloc(1, sizeof(*t));
	if (t == NULL) {
		return NULL;
	}
	t->w = w;
	pthread_mutex_lock(&w->mu);
	waitToRun(w, t); // who walks over the threads of a stopped world does not hold mu
	t->next = w->threads;
	w->threads = t;
	blacken(w, t);
	pthread_mutex_unlock(&w->mu);
	return t;
}

void gomem_world_leave(gomem_thread *t) {
	gomem_world *w = t->w;
	pthread_mutex_lock(&w->mu);
	world_park(w, t);
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
	atomic_store(&t->scanned, false); // others were
	if (t->p != NULL) {
		blacken(t->w, t);
	}
	pthread_mutex_unlock(&t->w->mu);
}

// giveAway: what others want of a thread that runs. Under mu.
static void giveAway(gomem_world *w, gomem_thread *t) {
	if ((wanted(w) & wantFlush) != 0) {
		wbBufFlush(t);
		flushP(w, t->p);
		pthread_cond_broadcast(&w->cond);
	}
	const bool shared = (wanted(w) & wantP) != 0 && (w->nidle < w->workersWaiting || w->waiting != NULL);
	const bool yields = w->stopping || shared;
	if (yields) {
		world_park(w, t);
	}
	if (w->nidle >= w->workersWaiting) {
		wantNot(w, wantP);
	}
	if (yields) {
		world_run(w, t);
	}
}

static void safepointSlow(gomem_thread *t) {
	gomem_world *w = t->w;
	if ((wanted(w) & wantFraction) != 0) {
		gcMarkFraction(t);
	}
	if ((wanted(w) & (wantStop | wantP | wantFlush)) == 0) {
		return;
	}
	pthread_mutex_lock(&w->mu);
	giveAway(w, t);
	pthread_mutex_unlock(&w->mu);
}

void gomem_safepoint(gomem_thread *t) {
	if (__builtin_expect(atomic_load_explicit(&t->w->attention, memory_order_acquire) != 0, false)) {
		safepointSlow(t);
	}
}

void gomem_blocking_begin(gomem_thread *t) {
	pthread_mutex_lock(&t->w->mu);
	world_park(t->w, t);
	pthread_mutex_unlock(&t->w->mu);
}

void gomem_blocking_end(gomem_thread *t) {
	pthread_mutex_lock(&t->w->mu);
	world_run(t->w, t);
	pthread_mutex_unlock(&t->w->mu);
}

void *gomem_world_malloc(gomem_thread *t, size_t size, const gomem_type *typ, bool needzero) {
	gomem_safepoint(t);
	if (__builtin_expect(t->w->h->gcBlackenEnabled && t->p->gcAssistBytes < 0, false)) {
		gcAssistAlloc(t);
	}
	return gomem_mallocgc(t->w->h, t->p, size, typ, needzero);
}

void *gomem_read(void *const *slot) {
	return (void *)atomic_load_explicit((const _Atomic(uintptr_t) *)(const void *)slot, memory_order_acquire);
}

static void barrierFull(gomem_thread *t) {
	if (t->p != NULL) {
		wbBufFlush(t);
		enlistWorker(t->w, gcWork_of(t->w, t->p));
		return;
	}
	pthread_mutex_lock(&t->w->mu); // t has stopped the world
	wbBufFlush(t);
	pthread_mutex_unlock(&t->w->mu);
}

void gomem_write_barrier(gomem_thread *t, void **slot, void *ptr) {
	_Atomic(uintptr_t) *at = (_Atomic(uintptr_t) *)(void *)slot;
	if (__builtin_expect(t->w->h->gcBlackenEnabled && !t->w->cfg.no_barrier, false)) {
		if (t->wbN + 2 > wbBufEntries) {
			barrierFull(t);
		}
		t->wbBuf[t->wbN++] = atomic_load_explicit(at, memory_order_acquire);
		t->wbBuf[t->wbN++] = (uintptr_t)ptr;
	}
	atomic_store_explicit(at, (uintptr_t)ptr, memory_order_release);
}

void gomem_stopTheWorld(gomem_thread *t) {
	pthread_mutex_lock(&t->w->mu);
	world_park(t->w, t);
	world_stopLocked(t->w);
	pthread_mutex_unlock(&t->w->mu);
}

void gomem_startTheWorld(gomem_thread *t) {
	pthread_mutex_lock(&t->w->mu);
	world_startLocked(t->w);
	world_run(t->w, t);
	pthread_mutex_unlock(&t->w->mu);
}

// stopOutsideCycle stops the world when no collection runs (Go: stopTheWorldGC).
static void stopOutsideCycle(gomem_thread *t) {
	gomem_world *w = t->w;
	pthread_mutex_lock(&w->mu);
	world_park(w, t);
	for (;;) {
		while (w->cycleRunning) {
			pthread_cond_wait(&w->cond, &w->mu);
		}
		world_stopLocked(w);
		if (!w->cycleRunning) {
			break;
		}
		world_startLocked(w); // one began meanwhile
	}
	pthread_mutex_unlock(&w->mu);
}

void world_paceScavenger(gomem_world *w) {
	gcPaceScavenger(&w->goals, &w->h->stats, w->h->env.physPageSize, atomic_load(&w->gc.memoryLimit),
		gcController_heapGoal(&w->gc), w->gc.lastHeapGoal, w->lastHeapInUse);
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
		world_workerRun(w);
		for (int n = 1; sweepone(w->h, NULL) != ~(uintptr_t)0; n++) {
			world_workerSafepoint(w);
			if (n % sweepBatch == 0) {
				sched_yield();
			}
		}
		world_workerPark(w);
		pthread_mutex_lock(&w->mu);
		w->scavengeWanted = true;
		pthread_cond_broadcast(&w->cond);
	}
	pthread_mutex_unlock(&w->mu);
	return NULL;
}

static int64_t scavSleep(void *ctx, int64_t ns) {
	gomem_world *w = ctx;
	const int64_t begin = world_now();
	pthread_mutex_lock(&w->mu);
	while (!w->done && world_now() < begin + ns) {
		world_waitUntil(w, begin + ns);
	}
	pthread_mutex_unlock(&w->mu);
	return world_now() - begin;
}

static uintptr_t scavScavenge(void *ctx, uintptr_t nbytes, int64_t *ns) {
	gomem_world *w = ctx;
	world_workerRun(w);
	const int64_t begin = world_now();
	const uintptr_t r = pageAlloc_scavenge(&w->h->env, &w->h->pages, nbytes, NULL, NULL, false, &w->h->stats.heapStats);
	*ns = world_now() - begin;
	world_workerPark(w);
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

static bool limiting(void *arg) {
	gomem_world *w = arg;
	return gcCPULimiter_limiting(&w->limiter);
}

// scavengeAssist: what is given back at once, where the heap grew beyond its goal, or memory beyond its limit.
static void scavengeAssist(void *ctx, gomem_heap *h, gomem_p *p, uintptr_t scav, uintptr_t growth) {
	gomem_world *w = ctx;
	uint64_t bytesToScavenge = 0;
	bool force = false; // also what is likely to be used again
	const uint64_t limit = (uint64_t)atomic_load(&w->gc.memoryLimit);
	const uint64_t inuse = (uint64_t)atomic_load_explicit(&h->stats.mappedReady, memory_order_relaxed);
	if (!gcCPULimiter_limiting(&w->limiter) && inuse + scav > limit) {
		bytesToScavenge = inuse + scav - limit;
		force = true;
	}
	const uint64_t goal = atomic_load(&w->goals.gcPercentGoal);
	const uint64_t retained = heapRetained(&h->stats);
	if (goal != UINT64_MAX && growth > 0 && retained + growth > goal) {
		const uint64_t overage = retained + growth - goal;
		const uint64_t wanted = growth < overage ? growth : overage;
		bytesToScavenge = wanted > bytesToScavenge ? wanted : bytesToScavenge;
	}
	if (p == NULL || bytesToScavenge == 0) {
		return; // as in Go, somebody else will
	}
	limiterEvent *event = &worldP_of(w, p)->event;
	const bool track = limiterEvent_start(event, limiterEventScavengeAssist, world_now());
	pageAlloc_scavenge(&h->env, &h->pages, (uintptr_t)bytesToScavenge, limiting, w, force, heapStats_of(h, p));
	if (track) {
		limiterEvent_stop(&w->limiter, event, limiterEventScavengeAssist, world_now());
	}
}

// ---- a world

// collectIdle: all Ps are idle, and no others are.
static void collectIdle(gomem_world *w) {
	w->nidle = 0;
	for (int i = w->procs; i-- > 0;) {
		w->idle[w->nidle++] = w->h->allp[i];
		(void)limiterEvent_start(&w->ps[i]->event, limiterEventIdle, world_now());
	}
	for (int i = w->procs; i < w->nps; i++) {
		atomic_store(&w->ps[i]->event.stamp, 0);
	}
}

static bool grow(void *array, int n) {
	void **at = array;
	void *v = realloc(*at, (size_t)n * sizeof(void *));
	*at = v != NULL ? v : *at;
	return v != NULL;
}

// growPs makes room for n Ps, none of which marks.
static bool growPs(gomem_world *w, int n) {
	n = n > w->nps ? n : w->nps;
	if (!grow(&w->idle, n) || !grow(&w->ps, n) || !grow(&w->gcws, n) || !grow(&w->events, n)) {
		return false;
	}
	w->h->work.gcws = w->gcws;
	w->limiter.events = w->events;
	while (w->nps < n) {
		worldP *p = calloc(1, sizeof(*p));
		if (p == NULL) {
			return false;
		}
		p->gcw.id = w->nps;
		w->ps[w->nps] = p;
		w->gcws[w->nps] = &p->gcw;
		w->events[w->nps] = &p->event;
		w->h->work.ngcws = ++w->nps;
	}
	return true;
}

static bool setProcs(gomem_world *w, int n) {
	if (n <= 0 || n > numPsMax) {
		errno = EINVAL;
		return false;
	}
	if (!growPs(w, n) || !gomem_procresize(w->h, n)) {
		return false;
	}
	pthread_mutex_lock(&w->mu); // the collector is no thread of the world, and reads procs
	w->procs = n;
	collectIdle(w);
	pthread_mutex_unlock(&w->mu);
	gcCPULimiter_resetCapacity(&w->limiter, world_now(), n);
	return true;
}

// makeHeap: 0, or which errno.
static int makeHeap(gomem_world *w) {
	const gomem_policy policy = {
		.ctx = w, .gcTrigger = onTrigger, .assist = gcAssistHook, .scavengeAssist = scavengeAssist};
	w->cfg.heap.policy = &policy;
	w->h = gomem_heap_new(&w->cfg.heap);
	w->cfg.heap.policy = NULL;
	if (w->h == NULL) {
		return errno;
	}
	w->limiter.env = &w->h->env;
	atomic_store(&w->limiter.lastUpdate, world_now());
	if (!setProcs(w, w->cfg.procs > 0 ? w->cfg.procs : 1)) {
		return errno;
	}
	const int32_t gogc = w->cfg.gogc == 0 ? 100 : w->cfg.gogc;
	gcController_init(
		&w->gc, &w->h->env, &w->h->stats, gogc, w->cfg.memory_limit > 0 ? w->cfg.memory_limit : INT64_MAX);
	w->gc.stopTheWorld = w->cfg.gcstoptheworld;
	world_paceScavenger(w);
	const scavengerHooks hooks = {w, scavSleep, scavScavenge, scavShouldStop, scavProcs};
	scavenger_init(&w->scav, &w->h->env, w->h->env.physPageSize, hooks);
	return 0;
}

static bool startWorkers(gomem_world *w) {
	if (!gcBgMarkStartWorkers(w, 1)) { // the others when there is a cycle
		return false;
	}
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
}

gomem_world *gomem_world_new(const gomem_world_config *cfg) {
	gomem_world *w = calloc(1, sizeof(*w));
	if (w == NULL) {
		return NULL;
	}
	w->cfg = cfg != NULL ? *cfg : (gomem_world_config){0};
	w->lastGC = world_now();
	initLocks(w);
	int why = makeHeap(w);
	if (why == 0 && !startWorkers(w)) {
		why = ENOMEM;
	}
	if (why != 0) {
		gomem_world_destroy(w);
		errno = why;
		return NULL;
	}
	return w;
}

// joinMarkWorkers: a cycle that was under way has ended with the thread of the collector.
static void joinMarkWorkers(gomem_world *w) {
	pthread_mutex_lock(&w->mu);
	w->workersDone = true;
	pthread_cond_broadcast(&w->cond);
	pthread_mutex_unlock(&w->mu);
	for (int i = 0; i < w->nworkers; i++) {
		pthread_join(w->workers[i], NULL);
	}
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
	joinMarkWorkers(w);
	if (w->hasSweep) {
		pthread_join(w->sweepThread, NULL);
	}
	if (w->hasScav) {
		pthread_join(w->scavThread, NULL);
	}
	gomem_heap_destroy(w->h);
	for (int i = 0; i < w->nps; i++) {
		free(w->ps[i]);
	}
	free(w->ps);
	free(w->gcws);
	free(w->events);
	free(w->workers);
	pthread_cond_destroy(&w->cond);
	pthread_mutex_destroy(&w->mu);
	free(w->idle);
	free(w);
}

gomem_heap *gomem_world_heap(gomem_world *w) { return w->h; }

// ---- what a program asks for

void gomem_world_gc(gomem_thread *t) {
	gomem_world *w = t->w;
	pthread_mutex_lock(&w->mu);
	const uint64_t mine = ++w->forced;
	world_park(w, t);
	while (w->swept < mine) {
		pthread_cond_wait(&w->cond, &w->mu);
	}
	world_run(w, t);
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
			p_flushPages(h, h->allp[i]);
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
	world_paceScavenger(t->w);
	gomem_startTheWorld(t);
	return old;
}

int64_t gomem_setMemoryLimit(gomem_thread *t, int64_t bytes) {
	gomem_stopTheWorld(t);
	const int64_t old = gcController_setMemoryLimit(&t->w->gc, bytes);
	(void)gcControllerCommit(t->w->h, &t->w->gc);
	world_paceScavenger(t->w);
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
static uint64_t mLimited(const metricCtx *m) { return atomic_load(&m->w->limiter.lastEnabledCycle); }
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
	{"/gc/limiter/last-enabled:gc-cycle", mLimited},
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
	bad = bad != NULL ? bad : gcCPULimiter_check(&w->limiter);
	return bad != NULL ? bad : gomem_heap_check(w->h);
}
