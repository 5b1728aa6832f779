// bgscavenge.c (layer 6): pacing of the background scavenger. Ports the first half of mgcscavenge.go. Invariants: bgscavenge.h.
#include "gomem/bgscavenge.h"

enum {
	retainExtraPercent = 10,         // of the heap, kept beyond what the next cycle needs
	scavengeQuantum = 64 << 10,      // bytes
	approxWorkedPerPhysPage = 10000, // ns, where the clock does not tell
};
static const double scavengePercent = 1;       // of one P's time
static const double reduceExtraPercent = 5;    // of the memory limit, given back below it
static const double minScavWorkTime = 1000000; // ns
static const double startingScavSleepRatio = 0.001;
static const double scavengeCostRatio = 0; // Go: more on Darwin, where page faults that follow cost more
static const int64_t cooldownAfterReset = 5000000000;

// ---- goals

uint64_t heapRetained(const gomem_stats *stats) {
	return sysMemStat_load(&stats->heapInUse) + sysMemStat_load(&stats->heapFree);
}

static uint64_t mappedReadyOf(const gomem_stats *stats) {
	return (uint64_t)atomic_load_explicit(&((gomem_stats *)(uintptr_t)stats)->mappedReady, memory_order_relaxed);
}

static uint64_t memoryLimitGoal(const gomem_stats *stats, int64_t memoryLimit) {
	const uint64_t goal = (uint64_t)((double)memoryLimit * (1 - reduceExtraPercent / 100.0));
	return mappedReadyOf(stats) <= goal ? UINT64_MAX : goal;
}

static uint64_t gcPercentGoal(
	const gomem_stats *stats, uint64_t physPageSize, uint64_t heapGoal, uint64_t lastHeapGoal, uint64_t lastHeapInUse) {
	if (lastHeapGoal == 0) {
		return UINT64_MAX;
	}
	uint64_t goal = (uint64_t)((double)lastHeapInUse * ((double)heapGoal / (double)lastHeapGoal));
	goal += goal / (100 / retainExtraPercent);
	goal = alignUp(goal, physPageSize);
	const uint64_t retained = heapRetained(stats);
	return retained <= goal || retained - goal < physPageSize ? UINT64_MAX : goal;
}

void gcPaceScavenger(scavengeGoals *g, const gomem_stats *stats, uint64_t physPageSize, int64_t memoryLimit,
	uint64_t heapGoal, uint64_t lastHeapGoal, uint64_t lastHeapInUse) {
	atomic_store(&g->memoryLimitGoal, memoryLimitGoal(stats, memoryLimit));
	atomic_store(&g->gcPercentGoal, gcPercentGoal(stats, physPageSize, heapGoal, lastHeapGoal, lastHeapInUse));
}

bool scavengeGoals_reached(scavengeGoals *g, const gomem_stats *stats) {
	return heapRetained(stats) <= atomic_load(&g->gcPercentGoal) &&
		mappedReadyOf(stats) <= atomic_load(&g->memoryLimitGoal);
}

// ---- the controller

static bool isFinite(double f) { return f - f == 0; }

double piController_next(piController *c, double input, double setpoint, double period, bool *ok) {
	*ok = false;
	const double raw = c->kp * (setpoint - input) + c->errIntegral;
	if (!isFinite(raw)) {
		c->errIntegral = 0;
		c->inputOverflow = true;
		return c->min;
	}
	const double output = raw < c->min ? c->min : raw > c->max ? c->max : raw;
	if (c->ti != 0 && c->tt != 0) {
		c->errIntegral += (c->kp * period / c->ti) * (setpoint - input) + (period / c->tt) * (output - raw);
		if (!isFinite(c->errIntegral)) {
			c->errIntegral = 0;
			c->errOverflow = true;
			return c->min;
		}
	}
	*ok = true;
	return output;
}

// ---- the scavenger

void scavenger_init(scavengerState *s, gomem_env *env, uint64_t physPageSize, scavengerHooks hooks) {
	*s = (scavengerState){
		.hooks = hooks,
		.env = env,
		.physPageSize = physPageSize,
		.sleepRatio = startingScavSleepRatio,
		.sleepController = {.kp = 0.3375, .ti = 3.2e6, .tt = 1e9, .min = 0.001, .max = 1000.0},
	};
}

uintptr_t scavenger_run(scavengerState *s, double *worked) {
	uintptr_t released = 0;
	*worked = 0;
	while (*worked < minScavWorkTime && !s->hooks.shouldStop(s->hooks.ctx)) {
		int64_t ns = 0;
		const uintptr_t r = s->hooks.scavenge(s->hooks.ctx, scavengeQuantum, &ns);
		const uint64_t approx = r / s->physPageSize * approxWorkedPerPhysPage;
		*worked += ns == 0 ? (double)approx : (double)ns;
		released += r;
		if (r < scavengeQuantum) {
			break;
		}
	}
	if (released > 0 && released < s->physPageSize) {
		gomem_throw(s->env, "released less than one physical page of memory");
	}
	return released;
}

// learn adjusts the ratio to how long the sleep really was.
static void learn(scavengerState *s, double slept, double worked) {
	const double ideal = scavengePercent / 100.0;
	const double fraction = worked / ((slept + worked) * (double)s->hooks.gomaxprocs(s->hooks.ctx));
	bool ok;
	s->sleepRatio = piController_next(&s->sleepController, fraction, ideal, slept + worked, &ok);
	if (!ok) {
		s->sleepRatio = startingScavSleepRatio;
		s->controllerCooldown = cooldownAfterReset;
		s->controllerResets++;
	}
}

void scavenger_sleep(scavengerState *s, double worked) {
	worked = worked < minScavWorkTime ? minScavWorkTime : worked;
	worked *= 1 + scavengeCostRatio;
	const int64_t slept = s->hooks.sleep(s->hooks.ctx, (int64_t)(worked / s->sleepRatio));
	if (s->controllerCooldown > 0) {
		const int64_t passed = slept + (int64_t)worked;
		s->controllerCooldown = passed > s->controllerCooldown ? 0 : s->controllerCooldown - passed;
		return;
	}
	learn(s, (double)slept, worked);
}
