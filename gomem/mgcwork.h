// mgcwork.h (layer 4): what is grey: buffers of objects and rings of spans, of each P that marks, and what all share.
// Ports mgcwork.go, and spanQueue and spanSPMC of mgcmark_greenteagc.go.
//
//   objects  two buffers of a P's own, the last one in is the first one out; full ones go to a list that all take from
//   spans    Green Tea: a ring of a P's own, first in, first out; what is too much goes to a chain of rings that others steal from
//
// Invariants:
//   a buffer is in one list, or is one P's; those in `full` are not empty, those in `empty` are
//   of a chain: from tail to head each ring is older than its prev; a ring that is not the head is never put into again
//   memory that was taken in a mark phase stays until it ends: who sleeps with a pointer to a buffer or ring finds it there
#ifndef GOMEM_MGCWORK_H
#define GOMEM_MGCWORK_H

#include "gomem/lfstack.h"

enum {
	workbufSize = 2 << 10,
	workbufAlloc = 32 << 10, // bytes of buffers that are made at a time
	workbufObjs = (workbufSize - (int)sizeof(lfnode) - (int)sizeof(uintptr_t)) / (int)sizeof(uintptr_t),
	spanQueueRing = 256,
	ownBufs = 2,
};

typedef struct workbuf {
	lfnode node; // first; at multiples of tagAlign
	uintptr_t nobj;
	uintptr_t obj[workbufObjs];
} workbuf;
_Static_assert(sizeof(workbuf) == workbufSize, "Go's size");

// One P puts, all take.
typedef struct spanSPMC {
	_Atomic(uintptr_t) prev; // spanSPMC *: the next one to take from
	_Atomic(uint32_t) head, tail;
	uint32_t cap; // a power of 2
	_Atomic(uintptr_t) ring[];
} spanSPMC;

typedef struct spanQueue {
	uint32_t head, tail;
	uint32_t putsSinceDrain;
	spanSPMC *chainHead;          // put to
	_Atomic(uintptr_t) chainTail; // spanSPMC *: taken from
	uintptr_t ring[spanQueueRing];
} spanQueue;

// One user at a time, but for the chain.
typedef struct gcWork {
	int32_t id;             // of its P; -1: of who has none
	workbuf *wbuf1, *wbuf2; // or NULL
	uint64_t bytesMarked;   // by slots; not yet told
	int64_t heapScanWork;   // bytes that were looked at; not yet told
	bool flushedWork;       // something went to where others find it, since this was last cleared
	bool mayNeedWorker;     // ... and another one who marks might be of use
	spanQueue spanq;
} gcWork;

// Go's work.
typedef struct workType {
	lfstack full, empty;
	_Atomic(uintptr_t) taken; // memory of this mark phase, each piece begins with the address of the one before
	gcWork **gcws;            // of the Ps of a world, by their numbers
	int32_t ngcws;
	bool concurrent;          // the world runs while marking is on
	_Atomic(bool) overflowed; // something is grey and in no queue: there was no memory
	_Atomic(uint64_t) bytesMarked;
	_Atomic(int64_t) heapScanWork;
	gcWork gcw;                                 // of who has no P
	char text[256];                             // of a throw
	char own[ownBufs * workbufSize + tagAlign]; // buffers, also there if there is no memory
} workType;

// work_gcw gives the queues one by one: those of the Ps by their numbers from 0 on, and at -1 that of who has no P.
static inline gcWork *work_gcw(workType *all, int32_t i) { return i < 0 ? &all->gcw : all->gcws[i]; }

void work_init(workType *all);
// work_free gives the memory of a mark phase back. All queues are empty, nobody marks.
void work_free(workType *all);
const char *work_check(workType *all); // what of the queues is not empty. Nobody marks

// false: there is no memory.
bool gcWork_putObj(gomem_env *env, workType *all, gcWork *w, uintptr_t obj);
uintptr_t gcWork_tryGetObj(gomem_env *env, workType *all, gcWork *w); // 0: there is none, nor in `full`
bool spanQueue_put(gomem_env *env, workType *all, gcWork *w, uintptr_t s);
uintptr_t gcWork_tryGetSpan(gomem_env *env, gcWork *w);
uintptr_t gcWork_tryStealSpan(gomem_env *env, workType *all, gcWork *w);
// gcWork_balance gives others some of what w has, if they have nothing.
void gcWork_balance(gomem_env *env, workType *all, gcWork *w);
// gcWork_dispose makes all of w visible to others. What there is no memory for stays in w.
void gcWork_dispose(gomem_env *env, workType *all, gcWork *w);
void gcWork_tell(workType *all, gcWork *w); // bytesMarked, heapScanWork
bool gcWork_empty(gcWork *w);
bool gcMarkWorkAvailable(workType *all); // where others find it

#endif
