// bgscavenge.h (layer 6): how much memory the background scavenger gives back, and how fast.
//
// Ports the pacing half of mgcscavenge.go: gcPaceScavenger, scavengerState and its PI controller. Which pages go is decided in mgcscavenge.c.
//
// Invariants:
//   min <= what piController_next returns <= max
//   a run works 1 ms at least, unless it should stop or found less than 64 KiB; after it the scavenger sleeps about 100 times as long on each P
//   memoryLimitGoal == UINT64_MAX, or 95 % of the memory limit;  gcPercentGoal is a multiple of the physical page, or UINT64_MAX
#ifndef GOMEM_BGSCAVENGE_H
#define GOMEM_BGSCAVENGE_H

#ifdef GOMEM_VARIANT
#include "gomem/variant.h"
#endif

#include "gomem/mheap.h"

// What is to be reached: bytes of heap that are not given back, and of all memory that is mapped and ready. UINT64_MAX: nothing is to be done.
typedef struct scavengeGoals {
	_Atomic(uint64_t) gcPercentGoal, memoryLimitGoal;
} scavengeGoals;

// heapRetained: bytes of heap that the OS backs.
uint64_t heapRetained(const gomem_stats *stats);
// gcPaceScavenger sets the goals anew, after the heap goal or the limit changed. lastHeapGoal: of the cycle that ended, 0: none did;
// lastHeapInUse: bytes of spans in use when it ended. physPageSize in bytes. World stopped or heap locked.
void gcPaceScavenger(scavengeGoals *g, const gomem_stats *stats, uint64_t physPageSize, int64_t memoryLimit,
	uint64_t heapGoal, uint64_t lastHeapGoal, uint64_t lastHeapInUse);
// scavengeGoals_reached: both are.
bool scavengeGoals_reached(scavengeGoals *g, const gomem_stats *stats);

// A PI controller with back-calculation: the integral is pulled back while the output is at a bound.
typedef struct piController {
	double kp, ti, tt; // proportional constant, integral time, reset time; ns
	double min, max;   // of the output
	double errIntegral;
	bool errOverflow, inputOverflow; // ever
} piController;

// piController_next gives the output, with the input measured over period ns. *ok false: a number overflowed, the controller begins anew, min is returned.
double piController_next(piController *c, double input, double setpoint, double period, bool *ok);

typedef struct scavengerHooks {
	void *ctx;
	int64_t (*sleep)(void *ctx, int64_t ns); // returns how long it was, ns
	uintptr_t (*scavenge)(
		void *ctx, uintptr_t nbytes, int64_t *ns); // returns bytes released; *ns: how long it took, 0: not known
	bool (*shouldStop)(void *ctx);                 // the goals are reached
	int32_t (*gomaxprocs)(void *ctx);
} scavengerHooks;

typedef struct scavengerState {
	scavengerHooks hooks;
	gomem_env *env;
	uint64_t physPageSize;
	double sleepRatio; // time to work : time to sleep
	piController sleepController;
	int64_t controllerCooldown; // ns until the controller is used again
	uint64_t controllerResets;
} scavengerState;

void scavenger_init(scavengerState *s, gomem_env *env, uint64_t physPageSize, scavengerHooks hooks);
// scavenger_run scavenges for a millisecond. Returns bytes released, 0: there is nothing to do until the goals change. *worked: ns.
uintptr_t scavenger_run(scavengerState *s, double *worked);
// scavenger_sleep sleeps so long that the work takes 1 % of one P's time, and learns from how long that was.
void scavenger_sleep(scavengerState *s, double worked);

#endif
