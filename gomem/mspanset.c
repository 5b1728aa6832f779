// mspanset.c (layer 2): the lock-free FIFO of spans. Ports mspanset.go.
//
// DEVIATION(D09): Go claims a slot and then makes the block it lies in. Here a push makes sure of the block first
// and then claims with a compare-and-swap, since a claim cannot be taken back when there is no memory for the block.
// Single-threaded, slots and blocks are the same.
//
// Invariants: as in mspanset.h, and: index never moves past spineLen * setBlockEntries; block->popped <
// setBlockEntries while the block is in the spine.
#include "gomem/mspanset.h"

#include "gomem/lfstack.h"
#include "gomem/persistentalloc.h"

typedef struct spanSetBlockHeader {
	lfnode node; // in the pool of free blocks
	_Atomic(uint32_t) popped;
} spanSetBlockHeader;

typedef struct spanSetBlock {
	spanSetBlockHeader h;
	uint8_t pad[tagAlign - sizeof(spanSetBlockHeader)];
	_Atomic(uintptr_t) spans[setBlockEntries];
} spanSetBlock;

_Static_assert(sizeof(spanSetBlock) == tagAlign + setBlockEntries * sizeof(uintptr_t), "Go's spanSetBlock");
_Static_assert(offsetof(spanSet, index) == 4 * sizeof(uintptr_t), "Go's spanSet");

typedef _Atomic(uintptr_t) spineEntry; // spanSetBlock *

static inline uint32_t indexHead(uint64_t v) { return (uint32_t)(v >> 32); }
static inline uint32_t indexTail(uint64_t v) { return (uint32_t)v; }

static spineEntry *loadSpine(spanSet *b) { return (spineEntry *)atomic_load_explicit(&b->spine, memory_order_acquire); }

static spanSetBlock *loadBlock(spineEntry *e) { return (spanSetBlock *)atomic_load_explicit(e, memory_order_acquire); }

static spanSetBlock *allocBlock(gomem_env *env) {
	lfnode *n = lfstack_pop(&env->spanSetBlockPool);
	if (n != NULL) {
		return (spanSetBlock *)n;
	}
	return persistentalloc(env, sizeof(spanSetBlock), tagAlign, &env->stats->gcMiscSys);
}

static void freeBlock(gomem_env *env, spanSetBlock *block) {
	atomic_store_explicit(&block->h.popped, 0, memory_order_relaxed);
	lfstack_push(env, &env->spanSetBlockPool, &block->h.node);
}

// copySpine copies entry by entry: a pop may clear one meanwhile. If the copy misses that, it keeps the address of a
// freed block below head, where nobody looks before a push has overwritten it.
static void copySpine(spineEntry *to, spineEntry *from, uintptr_t n) {
	for (uintptr_t i = 0; i < n; i++) {
		atomic_store_explicit(&to[i], atomic_load_explicit(&from[i], memory_order_relaxed), memory_order_relaxed);
	}
}

// growSpine doubles the spine; called under spineLock. The old one leaks, since a push with a lower index may still
// read it.
static bool growSpine(gomem_env *env, spanSet *b) {
	uintptr_t newCap = b->spineCap == 0 ? setInitSpineCap : b->spineCap * 2;
	spineEntry *spine = persistentalloc(env, newCap * sizeof(spineEntry), cacheLineSize, &env->stats->gcMiscSys);
	if (spine == NULL) {
		return false;
	}
	copySpine(spine, loadSpine(b), b->spineCap);
	atomic_store_explicit(&b->spine, (uintptr_t)spine, memory_order_release);
	b->spineCap = newCap;
	return true;
}

// addBlock appends a block; called under spineLock.
static bool addBlock(gomem_env *env, spanSet *b, uintptr_t spineLen) {
	if (spineLen == b->spineCap && !growSpine(env, b)) {
		return false;
	}
	spanSetBlock *block = allocBlock(env);
	if (block == NULL) {
		return false;
	}
	atomic_store_explicit(&loadSpine(b)[spineLen], (uintptr_t)block, memory_order_release);
	atomic_store_explicit(&b->spineLen, spineLen + 1, memory_order_release);
	return true;
}

// ensureBlock sees to it that block top exists. false: out of memory.
static bool ensureBlock(gomem_env *env, spanSet *b, uintptr_t top) {
	lock(env, &b->spineLock);
	uintptr_t spineLen = atomic_load_explicit(&b->spineLen, memory_order_relaxed);
	bool ok = top < spineLen || addBlock(env, b, spineLen);
	unlock(env, &b->spineLock);
	return ok;
}

// claimSlot advances the tail. false: out of memory.
static bool claimSlot(gomem_env *env, spanSet *b, uint32_t *slot) {
	uint64_t old = atomic_load_explicit(&b->index, memory_order_acquire);
	for (;;) {
		uint32_t tail = indexTail(old);
		if (tail == UINT32_MAX) {
			gomem_throw(env, "headTailIndex overflow");
		}
		uintptr_t top = tail / setBlockEntries;
		if (top >= atomic_load_explicit(&b->spineLen, memory_order_acquire) && !ensureBlock(env, b, top)) {
			return false;
		}
		if (atomic_compare_exchange_weak_explicit(
				&b->index, &old, old + 1, memory_order_acq_rel, memory_order_acquire)) {
			*slot = tail;
			return true;
		}
	}
}

bool spanSet_push(gomem_env *env, spanSet *b, struct mspan *s, uint32_t setID) {
	uint32_t slot;
	lab_turn(env, EV_PUSH);
	if (!claimSlot(env, b, &slot)) {
		return false;
	}
	spanSetBlock *block = loadBlock(&loadSpine(b)[slot / setBlockEntries]);
	atomic_store_explicit(&block->spans[slot % setBlockEntries], (uintptr_t)s, memory_order_release);
	lab_event(env, EV_PUSH, setID | (uint64_t)slot << 10, (uintptr_t)s, 0, 0);
	return true;
}

// claimHead advances the head. false: there is nothing to take. *head out: what it was.
static bool claimHead(spanSet *b, uint32_t *head) {
	uint64_t old = atomic_load_explicit(&b->index, memory_order_acquire);
	do {
		*head = indexHead(old);
		if (*head >= indexTail(old)) {
			return false;
		}
	} while (!atomic_compare_exchange_weak_explicit(
		&b->index, &old, old + ((uint64_t)1 << 32), memory_order_acq_rel, memory_order_acquire));
	return true;
}

// takeSlot empties a claimed slot. Who pops last from a block frees it: nobody else can be in it any more.
static struct mspan *takeSlot(gomem_env *env, spanSet *b, uint32_t head) {
	spineEntry *e = &loadSpine(b)[head / setBlockEntries];
	spanSetBlock *block = loadBlock(e);
	_Atomic(uintptr_t) *slot = &block->spans[head % setBlockEntries];
	uintptr_t s;
	do {
		s = atomic_load_explicit(slot, memory_order_acquire);
	} while (s == 0); // its push has claimed it and not yet stored
	atomic_store_explicit(slot, 0, memory_order_relaxed);
	if (atomic_fetch_add_explicit(&block->h.popped, 1, memory_order_acq_rel) + 1 == setBlockEntries) {
		atomic_store_explicit(e, 0, memory_order_release);
		freeBlock(env, block);
	}
	return (struct mspan *)s;
}

struct mspan *spanSet_pop(gomem_env *env, spanSet *b, uint32_t setID) {
	uint32_t head;
	lab_turn(env, EV_POP);
	struct mspan *s = claimHead(b, &head) ? takeSlot(env, b, head) : NULL;
	lab_event(env, EV_POP, setID | (uint64_t)head << 10, (uintptr_t)s, 0, 0);
	return s;
}

// dropLastBlock frees the block that holds both head and tail: it was not full, so that no pop has freed it.
static void dropLastBlock(gomem_env *env, spineEntry *e) {
	spanSetBlock *block = loadBlock(e);
	if (block == NULL) {
		return;
	}
	uint32_t popped = atomic_load_explicit(&block->h.popped, memory_order_relaxed);
	if (popped == 0) {
		gomem_throw(env, "span set block with unpopped elements found in reset");
	}
	if (popped == setBlockEntries) {
		gomem_throw(env, "fully empty unfreed span set block found in reset");
	}
	atomic_store_explicit(e, 0, memory_order_relaxed);
	freeBlock(env, block);
}

void spanSet_reset(gomem_env *env, spanSet *b) {
	uint64_t index = atomic_load_explicit(&b->index, memory_order_acquire);
	if (indexHead(index) < indexTail(index)) {
		gomem_throw(env, "attempt to clear non-empty span set");
	}
	uintptr_t top = indexHead(index) / setBlockEntries;
	if (top < atomic_load_explicit(&b->spineLen, memory_order_acquire)) {
		dropLastBlock(env, &loadSpine(b)[top]);
	}
	atomic_store_explicit(&b->index, 0, memory_order_release);
	atomic_store_explicit(&b->spineLen, 0, memory_order_release);
}

uint32_t spanSet_len(const spanSet *b) {
	uint64_t index = atomic_load_explicit(&((spanSet *)(uintptr_t)b)->index, memory_order_acquire);
	return indexTail(index) - indexHead(index);
}

struct mspan *spanSet_at(const spanSet *b, uint32_t k) {
	spanSet *set = (spanSet *)(uintptr_t)b;
	const uint64_t index = atomic_load_explicit(&set->index, memory_order_acquire);
	const uint64_t i = (uint64_t)indexHead(index) + k;
	if (i >= indexTail(index)) {
		return NULL;
	}
	spanSetBlock *block = loadBlock(&loadSpine(set)[i / setBlockEntries]);
	return (struct mspan *)atomic_load_explicit(&block->spans[i % setBlockEntries], memory_order_acquire);
}
