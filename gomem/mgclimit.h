// mgclimit.h (layer 6): the limit of processor time that collections may take: half of it. Ports mgclimit.go.
//
// A bucket fills with time of the collector and drains with time of the program. While it is full, nobody assists: the heap may grow beyond its
// goal and its limit, instead of a program that does nothing but collect.
//
// Invariants (gcCPULimiter_check):
//   fill <= capacity == nprocs * capacityPerProc
//   an event of a P is started by who has the P, and stopped by him, or by who takes the P from the idle ones
#ifndef GOMEM_MGCLIMIT_H
#define GOMEM_MGCLIMIT_H

#ifdef GOMEM_VARIANT
#include "gomem/variant.h"
#endif

#include "gomem/platform.h"

static const double gcBackgroundUtilization = 0.25;       // of the processors, for marking (Go: mgcpacer.go)
static const int64_t capacityPerProc = 1000000000;        // ns
static const int64_t gcCPULimiterUpdatePeriod = 10000000; // ns

typedef enum limiterEventType {
	limiterEventNone,
	limiterEventIdleMarkWork,   // an idle mark worker
	limiterEventMarkAssist,     // gcAssistAlloc
	limiterEventScavengeAssist, // at the end of allocSpan
	limiterEventIdle,           // nobody has the P
} limiterEventType;

// What a P does now, and since when.
typedef struct limiterEvent {
	_Atomic(uint64_t) stamp;
} limiterEvent;

typedef struct gcCPULimiterState {
	gomem_env *env;
	limiterEvent **events; // of all Ps; NULL: they are not asked
	int32_t nprocs;
	_Atomic(uint32_t) lock;
	_Atomic(bool) enabled;
	bool gcEnabled;     // marking is on
	bool transitioning; // the world is stopped, on the way from one to the other
	uint64_t fill, capacity;
	uint64_t overflow;                             // what went beyond capacity, in all
	_Atomic(int64_t) assistTimePool, idleTimePool; // since the last update
	_Atomic(int64_t) lastUpdate;
	_Atomic(uint32_t) lastEnabledCycle, numgc;
} gcCPULimiterState;

static inline bool gcCPULimiter_limiting(gcCPULimiterState *l) {
	return atomic_load_explicit(&l->enabled, memory_order_relaxed);
}
bool gcCPULimiter_needUpdate(gcCPULimiterState *l, int64_t now);
void gcCPULimiter_update(gcCPULimiterState *l, int64_t now);
void gcCPULimiter_addAssistTime(gcCPULimiterState *l, int64_t ns);
void gcCPULimiter_addIdleTime(gcCPULimiterState *l, int64_t ns);
// Marking begins or ends: start when the world has stopped, finish when it starts again. Nothing is updated between them.
void gcCPULimiter_startGCTransition(gcCPULimiterState *l, bool enableGC, int64_t now);
void gcCPULimiter_finishGCTransition(gcCPULimiterState *l, int64_t now);
// resetCapacity: another number of Ps. World stopped, no marking.
void gcCPULimiter_resetCapacity(gcCPULimiterState *l, int64_t now, int32_t nprocs);
const char *gcCPULimiter_check(gcCPULimiterState *l);

// limiterEvent_start: false if there is one already, which this time belongs to.
bool limiterEvent_start(limiterEvent *e, limiterEventType typ, int64_t now);
void limiterEvent_stop(gcCPULimiterState *l, limiterEvent *e, limiterEventType typ, int64_t now);

#endif
