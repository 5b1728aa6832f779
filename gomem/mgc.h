// mgc.h (layer 6): the inside of a world (world.h): threads and Ps are world.c's, cycles, mark workers and assists mgc.c's.
//
// Invariants: as in world.h;
//   a P is idle, or one thread or one mark worker has it, who alone uses its gcWork. Without a P that of the heap is used, under mu
//   marking: h->gcBlackenEnabled, but for moments when the world is stopped
#ifndef GOMEM_MGC_H
#define GOMEM_MGC_H

#include "gomem/world.h"

#include <pthread.h>

#include "gomem/bgscavenge.h"
#include "gomem/mcache.h"
#include "gomem/mgclimit.h"
#include "gomem/mgcpacer.h"

enum { wbBufEntries = 512 };
static const int64_t second = 1000000000;

struct gomem_thread {
	gomem_world *w;
	gomem_thread *next;
	gomem_p *p; // NULL: it does not run
	const gomem_root *roots;
	size_t nroots;
	_Atomic(bool) scanned;    // its roots are black, or about to be
	gomem_thread *waitNext;   // of those who wait for a P
	gomem_thread *assistNext; // of those who are in debt
	bool parked;              // ... and wait for credit
	int64_t gcAssistBytes;    // while it has no P
	size_t wbN;
	uintptr_t wbBuf[wbBufEntries];
};

// What a world keeps of a P.
typedef struct worldP {
	gcWork gcw;
	limiterEvent event;
	_Atomic(int64_t) fractionalMarkTime; // ns, in this cycle
	uint64_t flushGen;
} worldP;

// Under mu where nothing else is said.
struct gomem_world {
	gomem_heap *h;
	gomem_world_config cfg;
	gcControllerState gc;
	gcCPULimiterState limiter;
	scavengeGoals goals;
	scavengerState scav;
	uint64_t lastHeapInUse;
	pthread_mutex_t mu;
	pthread_cond_t cond; // any change under mu
	gomem_thread *threads;
	worldP **ps; // by number; also of Ps that ended. They change with the world stopped
	gcWork **gcws;
	limiterEvent **events;
	gomem_p **idle;
	int nps, nidle, procs;
	int running;           // threads and mark workers with a P, and background workers that are not at a safepoint
	gomem_thread *waiting; // for a P, the longest first
	int workersWaiting;    // dedicated ones, for a P: they come first
	_Atomic(int) nwaiting; // both
	bool stopping, cycleRunning, done, workersDone, sweepWanted, scavengeWanted;
	_Atomic(bool) gcRequested;
	_Atomic(uint32_t) attention; // reasons to stop at a safepoint
	uint64_t forced;             // requests by gomem_world_gc
	uint64_t cyclesStarted, cycles, cyclesForced;
	uint64_t swept; // cycles whose sweep is over
	int64_t lastGC;
	uint64_t released; // by the background scavenger
	pthread_t gcThread, sweepThread, scavThread;
	bool hasGC, hasSweep, hasScav;
	// the mark phase
	bool marking;
	int markers, mostMarkers; // workers that mark now, and at once since there is a world
	pthread_t *workers;       // of the thread of the collector
	int nworkers;
	gomem_thread *assists; // who wait for credit, the longest first
	uint64_t flushGen;     // of the last time that all Ps gave away what they had
	bool flushedWork;      // ... and had something
	_Atomic(bool) someAssist;
};

// wantP: somebody waits for a P that others have had long enough; wantFlush: Ps are to give away what is grey; wantFraction: who runs is to
// mark for a fraction of his time.
enum { wantStop = 1, wantP = 2, wantFlush = 4, wantFraction = 8 };

static inline void want(gomem_world *w, uint32_t why) { atomic_fetch_or(&w->attention, why); }
static inline void wantNot(gomem_world *w, uint32_t why) { atomic_fetch_and(&w->attention, ~why); }
static inline uint32_t wanted(gomem_world *w) { return atomic_load_explicit(&w->attention, memory_order_acquire); }
static inline worldP *worldP_of(gomem_world *w, const gomem_p *p) { return w->ps[p->id]; }
static inline gcWork *gcWork_of(gomem_world *w, const gomem_p *p) { return &w->ps[p->id]->gcw; }

// ---- world.c
int64_t world_now(void);                            // ns
void world_waitUntil(gomem_world *w, int64_t when); // for a change, or until when. Under mu, as the next eight
gomem_p *world_takeP(gomem_world *w);               // there is one
void world_giveP(gomem_world *w, gomem_p *p);
void world_run(gomem_world *w, gomem_thread *t); // waits for a P
void world_park(gomem_world *w, gomem_thread *t);
void world_stopLocked(gomem_world *w);
void world_startLocked(gomem_world *w);
void wbBufFlush1(gomem_world *w, gomem_thread *t, gcWork *gcw);
void world_scanThread(gomem_world *w, gomem_thread *t, gcWork *gcw);
// Background workers run without a P.
void world_workerRun(gomem_world *w);
void world_workerPark(gomem_world *w);
void world_workerSafepoint(gomem_world *w);
void world_paceScavenger(gomem_world *w);

// ---- mgc.c
void *gcMain(void *arg); // the thread of the collector
bool gcBgMarkStartWorkers(gomem_world *w, int n);
// flushP gives away what p has. Under mu.
void flushP(gomem_world *w, const gomem_p *p);
void gcMarkFraction(gomem_thread *t); // what a fractional worker on the P of t would do now
void gcAssistAlloc(gomem_thread *t);  // t, who is in debt, marks, and waits for credit if there is nothing to mark
void gcAssistHook(void *ctx, gomem_heap *h, gomem_p *p, uintptr_t size);
void enlistWorker(gomem_world *w, gcWork *gcw);

#endif
