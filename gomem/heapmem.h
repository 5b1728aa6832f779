// heapmem.h (layer 2): the one door to memory inside the heap's own spans.
//
// Go keeps free-list links of stacks, malloc headers, heap bits and inline mark bits inside the heap. Where heap memory is backed they are
// really there. Where it is not (a simulated OS without backing), links live in a side table and everything else is skipped.
//
// Invariant: heapMem_load(a) gives what heapMem_store(a) last stored, for the same word.
#ifndef GOMEM_HEAPMEM_H
#define GOMEM_HEAPMEM_H

#include "gomem/platform.h"

// The side table: an open-addressing map from word address to value; grows, never shrinks.
typedef struct heapMemSide {
	mutex lock;
	uint64_t *keys, *values;
	uintptr_t len, cap;
} heapMemSide;

uintptr_t heapMem_loadSide(gomem_env *env, heapMemSide *side, uintptr_t addr);
bool heapMem_storeSide(gomem_env *env, heapMemSide *side, uintptr_t addr, uintptr_t v);
void heapMem_destroy(gomem_env *env, heapMemSide *side);

static inline uintptr_t heapMem_load(gomem_env *env, heapMemSide *side, uintptr_t addr) {
	if (!env->backed) {
		return heapMem_loadSide(env, side, addr);
	}
	uintptr_t v;
	memcpy(&v, (const void *)addr, sizeof(v));
	return v;
}

// heapMem_store: false if the side table could not grow. A word that was stored once can always be stored again.
static inline bool heapMem_store(gomem_env *env, heapMemSide *side, uintptr_t addr, uintptr_t v) {
	if (!env->backed) {
		return heapMem_storeSide(env, side, addr, v);
	}
	memcpy((void *)addr, &v, sizeof(v));
	return true;
}

// heapMem_clear zeroes n bytes of heap memory; nothing where the heap is not backed.
static inline void heapMem_clear(const gomem_env *env, uintptr_t addr, uintptr_t n) {
	if (env->backed) {
		memset((void *)addr, 0, n);
	}
}

#endif
