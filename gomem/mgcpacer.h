// mgcpacer.h (layer 6): when a cycle of garbage collection begins, and how hard allocations help with it.
//
// Ports gcControllerState of mgcpacer.go. It decides from counters alone: those that the allocator keeps (gomem_stats), and what the collector
// tells it when a cycle begins and ends.
//
// Invariants (gcController_check):
//   trigger <= heapGoal
//   heapMarked >= heapGoal  ->  trigger == heapGoal
//   else trigger >= heapMarked + (heapGoal - heapMarked) / 64 * 45
//   idle mark workers: 0 <= n <= max, unless max was lowered since
#ifndef GOMEM_MGCPACER_H
#define GOMEM_MGCPACER_H

#ifdef GOMEM_VARIANT
#include "gomem/variant.h"
#endif

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "gomem/mheap.h"

enum {
	gcCreditSlack = 2000,
	gcAssistTimeSlack = 5000,
	gcOverAssistWork = 64 << 10,
	defaultHeapMinimum = 4 << 20,
	sweepMinHeapDistance = 1 << 20,
	memoryLimitMinHeapGoalHeadroom = 1 << 20,
	memoryLimitHeapGoalHeadroomPercent = 3,
	triggerRatioDen = 64,
	minTriggerRatioNum = 45,
	maxTriggerRatioNum = 61,
	consMarkHistory = 4,
};

// The counters are atomic where Go's are. The rest changes with the world stopped or the heap locked.
typedef struct gcControllerState {
	gomem_env *env;
	gomem_stats *stats;           // heapLive, heapScan, heapFree, totalAlloc, totalFree, mappedReady
	_Atomic(int32_t) gcPercent;   // GOGC; -1: off
	_Atomic(int64_t) memoryLimit; // GOMEMLIMIT, bytes
	uint64_t heapMinimum;
	_Atomic(uint64_t) runway; // bytes that are probably allocated while a cycle marks
	double consMark;          // bytes allocated for each byte marked, by processor time
	double lastConsMark[consMarkHistory];
	_Atomic(uint64_t) gcPercentHeapGoal, sweepDistMinTrigger;
	uint64_t triggered; // heapLive when the cycle began; UINT64_MAX between cycles
	uint64_t lastHeapGoal, lastHeapScan, heapMarked;
	_Atomic(uint64_t) lastStackScan, maxStackScan, globalsScan;
	_Atomic(int64_t) heapScanWork, stackScanWork, globalsScanWork; // bytes scanned in this cycle
	_Atomic(int64_t) bgScanCredit;
	_Atomic(int64_t) assistTime, dedicatedMarkTime, fractionalMarkTime, idleMarkTime; // ns
	int64_t markStartTime;                                                            // ns
	_Atomic(int64_t) dedicatedMarkWorkersNeeded;
	_Atomic(uint64_t) idleMarkWorkers; // now: low half, at most: high half
	_Atomic(double) assistWorkPerByte, assistBytesPerWork;
	double fractionalUtilizationGoal;
	bool stopTheWorld; // GODEBUG=gcstoptheworld=1: all Ps mark
} gcControllerState;

// gcController_init: no cycle has run. stats is the heap's, and outlives c. gcPercent < 0: never, but for the memory limit.
void gcController_init(
	gcControllerState *c, gomem_env *env, gomem_stats *stats, int32_t gcPercent, int64_t memoryLimit);

// A cycle: startCycle when marking begins, revise as it goes, endCycle when it is over, then resetLive and commit. World stopped, but for revise.
// periodic: because no cycle began for two minutes (Go: gcTriggerTime).
void gcController_startCycle(gcControllerState *c, int64_t markStartTime, int32_t procs, bool periodic);
void gcController_revise(gcControllerState *c);
void gcController_endCycle(gcControllerState *c, int64_t now, int32_t procs);
void gcController_resetLive(gcControllerState *c, uint64_t bytesMarked);
// gcController_commit computes the goal and the runway anew: after a change of GOGC, the limit, or what is live.
void gcController_commit(gcControllerState *c, bool isSweepDone);

// gcControllerCommit commits, paces the sweeper of h, and gives the trigger of the next cycle. World stopped.
uint64_t gcControllerCommit(mheap *h, gcControllerState *c);

// gcController_heapGoal: heapLive is to stay below. gcController_trigger: at this heapLive the next cycle is to begin; *goal is the heap goal.
uint64_t gcController_heapGoal(gcControllerState *c);
uint64_t gcController_trigger(gcControllerState *c, uint64_t *goal);
// They return what was set before. commit comes after.
int32_t gcController_setGCPercent(gcControllerState *c, int32_t gcPercent);
int64_t gcController_setMemoryLimit(gcControllerState *c, int64_t memoryLimit);
void gcController_addGlobals(gcControllerState *c, int64_t bytes);
void gcController_addScannableStack(gcControllerState *c, int64_t bytes);

// How many workers mark on Ps that would be idle. A worker that begins is added, unless there are enough.
void gcController_setMaxIdleMarkWorkers(gcControllerState *c, int32_t max);
bool gcController_addIdleMarkWorker(gcControllerState *c);
bool gcController_needIdleMarkWorker(gcControllerState *c);
void gcController_removeIdleMarkWorker(gcControllerState *c);

// gcController_check gives the invariant that does not hold, NULL: all do.
const char *gcController_check(gcControllerState *c);

#endif
