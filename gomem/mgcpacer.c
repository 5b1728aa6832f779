// mgcpacer.c (layer 6): the pacer: heap goal, trigger, and the ratio of marking to allocation. Ports mgcpacer.go.
//
// Go runs marking on a quarter of the processors, and begins a cycle so early that it ends when the heap reaches its goal. Which P runs a
// mark worker is decided in mgc.c. Invariants: mgcpacer.h.
#include "gomem/mgcpacer.h"

#include "gomem/mgclimit.h"

static const double gcGoalUtilization = 0.25;

static uint64_t load64(_Atomic(uint64_t) *v) { return atomic_load_explicit(v, memory_order_relaxed); }
static int64_t loadI64(_Atomic(int64_t) *v) { return atomic_load_explicit(v, memory_order_relaxed); }

// toUint64, toInt64 convert as Go does on amd64: what does not fit is 2^63, and -2^63.
static uint64_t toUint64(double f) {
	if (f > -0x1p63 && f < 0x1p63) {
		return (uint64_t)(int64_t)f;
	}
	return f >= 0x1p63 && f < 0x1p64 ? (uint64_t)f : (uint64_t)1 << 63;
}

static int64_t toInt64(double f) { return f > -0x1p63 && f < 0x1p63 ? (int64_t)f : INT64_MIN; }

static uint64_t max64(uint64_t a, uint64_t b) { return a > b ? a : b; }
static uint64_t min64(uint64_t a, uint64_t b) { return a < b ? a : b; }

void gcController_init(
	gcControllerState *c, gomem_env *env, gomem_stats *stats, int32_t gcPercent, int64_t memoryLimit) {
	*c = (gcControllerState){.env = env, .stats = stats, .heapMinimum = defaultHeapMinimum, .triggered = UINT64_MAX};
	(void)gcController_setGCPercent(c, gcPercent);
	(void)gcController_setMemoryLimit(c, memoryLimit);
	gcController_commit(c, true);
}

// ---- a cycle

// planWorkers: so many whole Ps mark, and all Ps a fraction of their time if whole ones come to more than 30 % too few or too many.
static int64_t planWorkers(gcControllerState *c, int32_t procs) {
	const double goal = (double)procs * gcBackgroundUtilization;
	int64_t dedicated = (int64_t)(goal + 0.5);
	const double error = (double)dedicated / goal - 1;
	const double maxError = 0.3;
	c->fractionalUtilizationGoal = 0;
	if (c->stopTheWorld) {
		return procs;
	}
	if (error < -maxError || error > maxError) {
		dedicated -= (double)dedicated > goal ? 1 : 0;
		c->fractionalUtilizationGoal = (goal - (double)dedicated) / (double)procs;
	}
	return dedicated;
}

void gcController_startCycle(gcControllerState *c, int64_t markStartTime, int32_t procs, bool periodic) {
	atomic_store(&c->heapScanWork, 0);
	atomic_store(&c->stackScanWork, 0);
	atomic_store(&c->globalsScanWork, 0);
	atomic_store(&c->bgScanCredit, 0);
	atomic_store(&c->assistTime, 0);
	atomic_store(&c->dedicatedMarkTime, 0);
	atomic_store(&c->fractionalMarkTime, 0);
	atomic_store(&c->idleMarkTime, 0);
	c->markStartTime = markStartTime;
	c->triggered = load64(&c->stats->heapLive);
	const int64_t dedicated = planWorkers(c, procs);
	const int32_t idle = periodic ? (dedicated > 0 ? 0 : 1) : procs - (int32_t)dedicated;
	gcController_setMaxIdleMarkWorkers(c, idle);
	atomic_store(&c->dedicatedMarkWorkersNeeded, dedicated);
	gcController_revise(c);
}

static int64_t scanWorkDone(gcControllerState *c) {
	return loadI64(&c->heapScanWork) + loadI64(&c->stackScanWork) + loadI64(&c->globalsScanWork);
}

// lastScan: what the last cycle scanned, and the globals.
static uint64_t lastScan(gcControllerState *c) {
	return c->lastHeapScan + load64(&c->lastStackScan) + load64(&c->globalsScan);
}

typedef struct markPlan {
	int64_t heapGoal;
	int64_t scanWork; // expected in this cycle
} markPlan;

// extend: there is more to scan than in the last cycle: the goal moves on as the work does, up to the goal that would follow from this one.
static markPlan extend(gcControllerState *c, markPlan plan, int64_t maxScanWork) {
	int32_t gcPercent = atomic_load(&c->gcPercent);
	gcPercent = gcPercent < 0 ? 100000 : gcPercent;
	const double perWork = (double)(plan.heapGoal - (int64_t)c->triggered) / (double)plan.scanWork;
	const int64_t extended = (int64_t)((uint64_t)toInt64(perWork * (double)maxScanWork) + c->triggered);
	const int64_t hard = toInt64((1.0 + (double)gcPercent / 100.0) * (double)plan.heapGoal);
	return (markPlan){.heapGoal = extended > hard ? hard : extended, .scanWork = maxScanWork};
}

void gcController_revise(gcControllerState *c) {
	const int64_t live = (int64_t)load64(&c->stats->heapLive);
	const int64_t work = scanWorkDone(c);
	const int64_t maxScanWork =
		(int64_t)(load64(&c->stats->heapScan) + load64(&c->maxStackScan) + load64(&c->globalsScan));
	markPlan plan = {.heapGoal = (int64_t)gcController_heapGoal(c), .scanWork = (int64_t)lastScan(c)};
	if (work > plan.scanWork) {
		plan = extend(c, plan, maxScanWork);
	}
	if (live > plan.heapGoal) {
		const double maxOvershoot = 1.1; // the goal was missed: a hard one, 10 % on
		plan = (markPlan){.heapGoal = toInt64((double)plan.heapGoal * maxOvershoot), .scanWork = maxScanWork};
	}
	int64_t workLeft = plan.scanWork - work;
	workLeft = workLeft < 1000 ? 1000 : workLeft;
	int64_t heapLeft = (int64_t)((uint64_t)plan.heapGoal - (uint64_t)live);
	heapLeft = heapLeft <= 0 ? 1 : heapLeft;
	atomic_store(&c->assistWorkPerByte, (double)workLeft / (double)heapLeft);
	atomic_store(&c->assistBytesPerWork, (double)heapLeft / (double)workLeft);
}

// remember: the largest ratio of the last cycles counts.
static void remember(gcControllerState *c, double consMark) {
	c->consMark = consMark;
	for (int i = 0; i < consMarkHistory; i++) {
		c->consMark = c->lastConsMark[i] > c->consMark ? c->lastConsMark[i] : c->consMark;
	}
	for (int i = 0; i < consMarkHistory - 1; i++) {
		c->lastConsMark[i] = c->lastConsMark[i + 1];
	}
	c->lastConsMark[consMarkHistory - 1] = consMark;
}

void gcController_endCycle(gcControllerState *c, int64_t now, int32_t procs) {
	c->lastHeapGoal = gcController_heapGoal(c);
	const int64_t duration = now - c->markStartTime;
	const double all = (double)(duration * procs);
	const double utilization = gcBackgroundUtilization + (duration > 0 ? (double)loadI64(&c->assistTime) / all : 0);
	const uint64_t live = load64(&c->stats->heapLive);
	if (live <= c->triggered) {
		return; // nothing was allocated: this cycle says nothing of the ratio
	}
	const double idle = duration > 0 ? (double)loadI64(&c->idleMarkTime) / all : 0;
	remember(c, ((double)(live - c->triggered) * (utilization + idle)) / ((double)scanWorkDone(c) * (1 - utilization)));
}

void gcController_resetLive(gcControllerState *c, uint64_t bytesMarked) {
	const uint64_t scanned = (uint64_t)loadI64(&c->heapScanWork);
	c->heapMarked = bytesMarked;
	atomic_store(&c->stats->heapLive, bytesMarked);
	atomic_store(&c->stats->heapScan, scanned);
	c->lastHeapScan = scanned;
	atomic_store(&c->lastStackScan, (uint64_t)loadI64(&c->stackScanWork));
	c->triggered = UINT64_MAX;
}

void gcController_commit(gcControllerState *c, bool isSweepDone) {
	// While spans are unswept, a cycle is not to begin before they can be swept in proportion to allocation.
	atomic_store(&c->sweepDistMinTrigger, isSweepDone ? 0 : load64(&c->stats->heapLive) + sweepMinHeapDistance);
	const int32_t gcPercent = atomic_load(&c->gcPercent);
	uint64_t goal = UINT64_MAX;
	if (gcPercent >= 0) {
		const uint64_t scanned = c->heapMarked + load64(&c->lastStackScan) + load64(&c->globalsScan);
		goal = c->heapMarked + scanned * (uint64_t)gcPercent / 100;
	}
	atomic_store(&c->gcPercentHeapGoal, max64(goal, c->heapMinimum));
	const double ratio = c->consMark * (1 - gcGoalUtilization) / gcGoalUtilization;
	atomic_store(&c->runway, toUint64(ratio * (double)lastScan(c)));
}

// ---- goal and trigger

// memoryLimitHeapGoal: what the limit leaves beside everything else that is mapped, less some headroom; what lives, if that is more.
static uint64_t memoryLimitHeapGoal(gcControllerState *c) {
	uint64_t heapFree, heapAlloc, mappedReady;
	do { // they do not change together
		heapFree = sysMemStat_load(&c->stats->heapFree);
		heapAlloc = load64(&c->stats->totalAlloc) - load64(&c->stats->totalFree);
		mappedReady = (uint64_t)loadI64(&c->stats->mappedReady);
	} while (heapFree + heapAlloc > mappedReady);
	const uint64_t limit = (uint64_t)loadI64(&c->memoryLimit);
	const uint64_t beside = mappedReady - heapFree - heapAlloc;
	const uint64_t overage = mappedReady > limit ? mappedReady - limit : 0;
	if (beside + overage >= limit) {
		return c->heapMarked;
	}
	uint64_t goal = limit - (beside + overage);
	const uint64_t headroom = max64(goal / 100 * memoryLimitHeapGoalHeadroomPercent, memoryLimitMinHeapGoalHeadroom);
	goal = goal < headroom || goal - headroom < headroom ? headroom : goal - headroom;
	return max64(goal, c->heapMarked);
}

// heapGoalInternal: *minTrigger is the least trigger that sweeping allows.
static uint64_t heapGoalInternal(gcControllerState *c, uint64_t *minTrigger) {
	const uint64_t goal = load64(&c->gcPercentHeapGoal);
	const uint64_t limited = memoryLimitHeapGoal(c);
	*minTrigger = 0;
	if (limited < goal) {
		return limited;
	}
	*minTrigger = load64(&c->sweepDistMinTrigger);
	const uint64_t minRunway = 64 << 10;
	const uint64_t swept = max64(goal, *minTrigger);
	return c->triggered != UINT64_MAX ? max64(swept, c->triggered + minRunway) : swept;
}

uint64_t gcController_heapGoal(gcControllerState *c) {
	uint64_t minTrigger;
	return heapGoalInternal(c, &minTrigger);
}

static uint64_t between(const gcControllerState *c, uint64_t goal, uint64_t num) {
	return (goal - c->heapMarked) / triggerRatioDen * num + c->heapMarked;
}

uint64_t gcController_trigger(gcControllerState *c, uint64_t *heapGoal) {
	uint64_t minTrigger;
	const uint64_t goal = *heapGoal = heapGoalInternal(c, &minTrigger);
	if (c->heapMarked >= goal) {
		return goal; // only the memory limit can do that
	}
	minTrigger = max64(max64(minTrigger, c->heapMarked), between(c, goal, minTriggerRatioNum));
	// Large heaps: the last 5 % of the way to the goal may be more than a small heap in all.
	uint64_t maxTrigger = between(c, goal, maxTriggerRatioNum);
	if (goal > defaultHeapMinimum) {
		maxTrigger = max64(maxTrigger, goal - defaultHeapMinimum);
	}
	maxTrigger = max64(maxTrigger, minTrigger);
	const uint64_t runway = load64(&c->runway);
	const uint64_t trigger = min64(max64(runway > goal ? minTrigger : goal - runway, minTrigger), maxTrigger);
	if (trigger > goal) {
		gomem_throw(c->env, "produced a trigger greater than the heap goal");
	}
	return trigger;
}

uint64_t gcControllerCommit(mheap *h, gcControllerState *c) {
	gcController_commit(c, isSweepDone(h));
	if (atomic_load(&h->gcphase) != gcOff) {
		gcController_revise(c);
	}
	uint64_t goal;
	const uint64_t trigger = gcController_trigger(c, &goal);
	gcPaceSweeper(h, trigger);
	return trigger;
}

// ---- settings

int32_t gcController_setGCPercent(gcControllerState *c, int32_t gcPercent) {
	const int32_t before = atomic_load(&c->gcPercent);
	const int32_t now = gcPercent < 0 ? -1 : gcPercent;
	c->heapMinimum = (uint64_t)defaultHeapMinimum * (uint64_t)(int64_t)now / 100;
	atomic_store(&c->gcPercent, now);
	return before;
}

int64_t gcController_setMemoryLimit(gcControllerState *c, int64_t memoryLimit) {
	const int64_t before = atomic_load(&c->memoryLimit);
	if (memoryLimit >= 0) {
		atomic_store(&c->memoryLimit, memoryLimit);
	}
	return before;
}

void gcController_addGlobals(gcControllerState *c, int64_t bytes) {
	atomic_fetch_add(&c->globalsScan, (uint64_t)bytes);
}

void gcController_addScannableStack(gcControllerState *c, int64_t bytes) {
	atomic_fetch_add(&c->maxStackScan, (uint64_t)bytes);
}

// ---- mark workers on idle Ps

typedef struct idleWorkers {
	int32_t n, max;
} idleWorkers;

static idleWorkers idleUnpack(uint64_t v) {
	return (idleWorkers){.n = (int32_t)(uint32_t)v, .max = (int32_t)(v >> 32)};
}
static uint64_t idlePack(int32_t n, int32_t max) { return (uint64_t)(uint32_t)n | (uint64_t)(uint32_t)max << 32; }

bool gcController_addIdleMarkWorker(gcControllerState *c) {
	uint64_t old = atomic_load(&c->idleMarkWorkers);
	idleWorkers w;
	do {
		w = idleUnpack(old);
		if (w.n >= w.max) {
			return false;
		}
	} while (!atomic_compare_exchange_weak(&c->idleMarkWorkers, &old, idlePack(w.n + 1, w.max)));
	return true;
}

bool gcController_needIdleMarkWorker(gcControllerState *c) {
	const idleWorkers w = idleUnpack(atomic_load(&c->idleMarkWorkers));
	return w.n < w.max;
}

void gcController_removeIdleMarkWorker(gcControllerState *c) {
	uint64_t old = atomic_load(&c->idleMarkWorkers);
	idleWorkers w;
	do {
		w = idleUnpack(old);
		if (w.n - 1 < 0) {
			gomem_throw(c->env, "negative idle mark workers");
		}
	} while (!atomic_compare_exchange_weak(&c->idleMarkWorkers, &old, idlePack(w.n - 1, w.max)));
}

void gcController_setMaxIdleMarkWorkers(gcControllerState *c, int32_t max) {
	uint64_t old = atomic_load(&c->idleMarkWorkers);
	while (!atomic_compare_exchange_weak(&c->idleMarkWorkers, &old, idlePack(idleUnpack(old).n, max))) {
	}
}

// ---- invariants

const char *gcController_check(gcControllerState *c) {
	uint64_t goal;
	const uint64_t trigger = gcController_trigger(c, &goal);
	if (trigger > goal) {
		return "trigger <= heapGoal";
	}
	if (c->heapMarked >= goal && trigger != goal) {
		return "heapMarked >= heapGoal -> trigger == heapGoal";
	}
	if (c->heapMarked < goal && trigger < between(c, goal, minTriggerRatioNum)) {
		return "trigger >= heapMarked + (heapGoal - heapMarked) / 64 * 45";
	}
	return idleUnpack(atomic_load(&c->idleMarkWorkers)).n < 0 ? "0 <= n" : NULL;
}
