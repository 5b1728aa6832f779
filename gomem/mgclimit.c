// mgclimit.c (layer 6): see mgclimit.h.
#include "gomem/mgclimit.h"

// ---- events

enum { limiterEventBits = 3 };
static const uint64_t limiterEventTypeMask = ((uint64_t)(1 << limiterEventBits) - 1) << (64 - limiterEventBits);

static uint64_t makeStamp(limiterEventType typ, int64_t now) {
	return (uint64_t)typ << (64 - limiterEventBits) | ((uint64_t)now & ~limiterEventTypeMask);
}
static limiterEventType typeOf(uint64_t stamp) { return (limiterEventType)(stamp >> (64 - limiterEventBits)); }
// since: the high bits of a time that a stamp does not have are those of now. 0: now is older.
static int64_t since(uint64_t stamp, int64_t now) {
	const int64_t start = (int64_t)(((uint64_t)now & limiterEventTypeMask) | (stamp & ~limiterEventTypeMask));
	return now < start ? 0 : now - start;
}

bool limiterEvent_start(limiterEvent *e, limiterEventType typ, int64_t now) {
	if (typeOf(atomic_load(&e->stamp)) != limiterEventNone) {
		return false;
	}
	atomic_store(&e->stamp, makeStamp(typ, now));
	return true;
}

// consume gives the time of an event that is not over, which goes on from now.
static limiterEventType consume(limiterEvent *e, int64_t now, int64_t *duration) {
	uint64_t old = atomic_load(&e->stamp);
	limiterEventType typ;
	do {
		typ = typeOf(old);
		*duration = typ == limiterEventNone ? 0 : since(old, now);
		if (*duration == 0) {
			return limiterEventNone;
		}
	} while (!atomic_compare_exchange_weak(&e->stamp, &old, makeStamp(typ, now)));
	return typ;
}

void limiterEvent_stop(gcCPULimiterState *l, limiterEvent *e, limiterEventType typ, int64_t now) {
	const uint64_t stamp = atomic_exchange(&e->stamp, 0);
	if (typeOf(stamp) != typ) {
		gomem_throw(l->env, "limiterEvent.stop: found wrong event in p's limiter event slot");
	}
	const int64_t duration = since(stamp, now);
	if (typ == limiterEventIdle || typ == limiterEventIdleMarkWork) {
		gcCPULimiter_addIdleTime(l, duration);
	} else {
		gcCPULimiter_addAssistTime(l, duration);
	}
}

void gcCPULimiter_addAssistTime(gcCPULimiterState *l, int64_t ns) { atomic_fetch_add(&l->assistTimePool, ns); }
void gcCPULimiter_addIdleTime(gcCPULimiterState *l, int64_t ns) { atomic_fetch_add(&l->idleTimePool, ns); }

// ---- the bucket. Under lock

static bool tryLock(gcCPULimiterState *l) {
	uint32_t free = 0;
	return atomic_compare_exchange_strong(&l->lock, &free, 1);
}

static void unlockLimiter(gcCPULimiterState *l) {
	if (atomic_exchange(&l->lock, 0) != 1) {
		gomem_throw(l->env, "double unlock");
	}
}

static void enable(gcCPULimiterState *l) {
	atomic_store(&l->enabled, true);
	atomic_store(&l->lastEnabledCycle, atomic_load(&l->numgc) + 1);
}

static void accumulate(gcCPULimiterState *l, int64_t mutatorTime, int64_t gcTime) {
	const uint64_t headroom = l->capacity - l->fill;
	const bool enabled = headroom == 0;
	const int64_t change = gcTime - mutatorTime;
	if (change > 0 && headroom <= (uint64_t)change) {
		l->overflow += (uint64_t)change - headroom;
		l->fill = l->capacity;
		if (!enabled) {
			enable(l);
		}
		return;
	}
	l->fill = change < 0 && l->fill <= (uint64_t)-change ? 0 : l->fill + (uint64_t)change;
	if (change != 0 && enabled) {
		atomic_store(&l->enabled, false);
	}
}

// drainEvents: time of events that go on belongs to this window as far as they went.
static void drainEvents(gcCPULimiterState *l, int64_t now, int64_t *assistTime, int64_t *idleTime) {
	for (int32_t i = 0; l->events != NULL && i < l->nprocs; i++) {
		int64_t duration;
		switch (consume(l->events[i], now, &duration)) {
		case limiterEventIdle:
		case limiterEventIdleMarkWork:
			*idleTime += duration;
			break;
		case limiterEventMarkAssist:
		case limiterEventScavengeAssist:
			*assistTime += duration;
			break;
		default:
			break;
		}
	}
}

static void updateLocked(gcCPULimiterState *l, int64_t now) {
	const int64_t lastUpdate = atomic_load(&l->lastUpdate);
	if (now < lastUpdate) {
		return;
	}
	const int64_t all = (now - lastUpdate) * l->nprocs;
	atomic_store(&l->lastUpdate, now);
	int64_t assistTime = atomic_exchange(&l->assistTimePool, 0);
	int64_t idleTime = atomic_exchange(&l->idleTimePool, 0);
	drainEvents(l, now, &assistTime, &idleTime);
	const int64_t gcTime = assistTime + (l->gcEnabled ? (int64_t)((double)all * gcBackgroundUtilization) : 0);
	accumulate(l, all - idleTime - gcTime, gcTime);
}

bool gcCPULimiter_needUpdate(gcCPULimiterState *l, int64_t now) {
	return now - atomic_load(&l->lastUpdate) > gcCPULimiterUpdatePeriod;
}

// Who comes while another one updates goes on: what he brought is in the pools.
void gcCPULimiter_update(gcCPULimiterState *l, int64_t now) {
	if (!tryLock(l)) {
		return;
	}
	if (l->transitioning) {
		gomem_throw(l->env, "update during transition");
	}
	updateLocked(l, now);
	unlockLimiter(l);
}

void gcCPULimiter_startGCTransition(gcCPULimiterState *l, bool enableGC, int64_t now) {
	if (!tryLock(l)) {
		gomem_throw(l->env, "failed to acquire lock to start a GC transition");
	}
	if (l->gcEnabled == enableGC) {
		gomem_throw(l->env, "transitioning GC to the same state as before?");
	}
	updateLocked(l, now);
	l->gcEnabled = enableGC;
	l->transitioning = true;
}

void gcCPULimiter_finishGCTransition(gcCPULimiterState *l, int64_t now) {
	if (!l->transitioning) {
		gomem_throw(l->env, "finishGCTransition called without starting one?");
	}
	const int64_t lastUpdate = atomic_load(&l->lastUpdate);
	if (now >= lastUpdate) {
		accumulate(l, 0, (now - lastUpdate) * l->nprocs); // nobody else could use the processors
	}
	atomic_store(&l->lastUpdate, now);
	l->transitioning = false;
	unlockLimiter(l);
}

void gcCPULimiter_resetCapacity(gcCPULimiterState *l, int64_t now, int32_t nprocs) {
	if (!tryLock(l)) {
		gomem_throw(l->env, "failed to acquire lock to reset capacity");
	}
	updateLocked(l, now);
	l->nprocs = nprocs;
	l->capacity = (uint64_t)nprocs * (uint64_t)capacityPerProc;
	if (l->fill > l->capacity) {
		l->fill = l->capacity;
		enable(l);
	} else if (l->fill < l->capacity) {
		atomic_store(&l->enabled, false);
	}
	unlockLimiter(l);
}

const char *gcCPULimiter_check(gcCPULimiterState *l) {
	if (l->fill > l->capacity) {
		return "limiter: fill <= capacity";
	}
	return l->capacity == (uint64_t)l->nprocs * (uint64_t)capacityPerProc
		? NULL
		: "limiter: capacity == nprocs * capacityPerProc";
}
