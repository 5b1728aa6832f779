// mspanset.h (layer 2): a set of spans that many Ps push to and pop from without a lock. Ports mspanset.go.
//
// A FIFO: push takes the tail, pop the head. A spine of pointers to blocks of n slots; slot i is in block i / n.
//
// DEVIATION(D36): blocks and first spines are smaller than Go's. A heap has 272 sets, most of them with a few spans, and each block and spine that
// is begun is a page of real memory. Not in a lab build, whose memory is to be Go's (gomem whatif).
// Invariants: head <= tail; spineLen <= spineCap; a block is freed when all its slots were popped;
//   for head <= i < tail, slot i holds a span or is being written.
// push and pop may run at the same time as each other; reset may not.
#ifndef GOMEM_MSPANSET_H
#define GOMEM_MSPANSET_H

#include "gomem/platform.h"

struct mspan;
struct spanSetBlock;

enum {
#if GOMEM_LAB || defined(GRAFT_SPANS) // the latter: in Go's runtime, whose code goes through the blocks as well
	setBlockEntries = spanSetBlockEntries,
	setInitSpineCap = spanSetInitSpineCap,
#else
	setBlockEntries = 64,
	setInitSpineCap = 8,
#endif
};

// Go's fields, order and offsets.
typedef struct spanSet {
	mutex spineLock;
	_Atomic(uintptr_t) spine; // _Atomic(struct spanSetBlock *) *
	_Atomic(uintptr_t) spineLen;
	uintptr_t spineCap;      // under spineLock
	_Atomic(uint64_t) index; // head << 32 | tail
} spanSet;

// setID is the number that events use for this set. spanSet_push returns false when out of memory (the set is unchanged).
bool spanSet_push(gomem_env *env, spanSet *b, struct mspan *s, uint32_t setID);
// spanSet_pop gives the oldest span, or NULL.
struct mspan *spanSet_pop(gomem_env *env, spanSet *b, uint32_t setID);
// spanSet_reset empties the bookkeeping of an empty set; nobody else may use it meanwhile. Throws if the set is not empty.
void spanSet_reset(gomem_env *env, spanSet *b);
uint32_t spanSet_len(const spanSet *b);
// spanSet_at gives what the pop after k others would, and leaves it there; NULL: there are not so many. For tools: nobody else may push or
// pop meanwhile.
struct mspan *spanSet_at(const spanSet *b, uint32_t k);

#endif
