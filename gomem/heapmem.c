// heapmem.c (layer 2): the side table of a heap whose memory cannot be touched.
//
// Linear probing over a power-of-two table; key 0 is an empty slot, since no heap word has address 0.
// Invariants: len * 4 <= cap * 3; a key stands between its home slot and the first empty slot after it.
#include "gomem/heapmem.h"
#include "gomem/mem.h"

enum { sideInitCap = 1024 };

static uintptr_t sideHome(const heapMemSide *side, uint64_t key) {
	return (uintptr_t)((key >> 3) * 0x9e3779b97f4a7c15u >> 20) & (side->cap - 1);
}

// sideSlot gives the slot of key, or the empty slot where it belongs.
static uintptr_t sideSlot(const heapMemSide *side, uint64_t key) {
	uintptr_t i = sideHome(side, key);
	while (side->keys[i] != 0 && side->keys[i] != key) {
		i = (i + 1) & (side->cap - 1);
	}
	return i;
}

static uintptr_t sideBytes(const heapMemSide *side) { return side->cap * 2 * sizeof(uint64_t); }

static void sideFree(gomem_env *env, heapMemSide *side) {
	if (side->cap != 0) {
		sysFree(env, side->keys, sideBytes(side), &env->stats->other_sys);
	}
}

static bool sideGrow(gomem_env *env, heapMemSide *side) {
	heapMemSide grown = {.len = side->len, .cap = side->cap == 0 ? sideInitCap : side->cap * 2};
	grown.keys = sysAlloc(env, sideBytes(&grown), &env->stats->other_sys);
	if (grown.keys == NULL) {
		return false;
	}
	grown.values = grown.keys + grown.cap;
	for (uintptr_t i = 0; i < side->cap; i++) {
		if (side->keys[i] != 0) {
			uintptr_t slot = sideSlot(&grown, side->keys[i]);
			grown.keys[slot] = side->keys[i];
			grown.values[slot] = side->values[i];
		}
	}
	sideFree(env, side);
	side->keys = grown.keys;
	side->values = grown.values;
	side->cap = grown.cap;
	return true;
}

static bool sidePut(gomem_env *env, heapMemSide *side, uintptr_t addr, uintptr_t v) {
	if (side->cap == 0 && !sideGrow(env, side)) {
		return false;
	}
	uintptr_t i = sideSlot(side, addr);
	if (side->keys[i] == 0) {
		if ((side->len + 1) * 4 > side->cap * 3) {
			if (!sideGrow(env, side)) {
				return false;
			}
			i = sideSlot(side, addr);
		}
		side->keys[i] = addr;
		side->len++;
	}
	side->values[i] = v;
	return true;
}

bool heapMem_storeSide(gomem_env *env, heapMemSide *side, uintptr_t addr, uintptr_t v) {
	lock(env, &side->lock);
	bool ok = sidePut(env, side, addr, v);
	unlock(env, &side->lock);
	return ok;
}

uintptr_t heapMem_loadSide(gomem_env *env, heapMemSide *side, uintptr_t addr) {
	lock(env, &side->lock);
	uintptr_t v = 0;
	if (side->cap != 0) {
		uintptr_t i = sideSlot(side, addr);
		v = side->keys[i] != 0 ? (uintptr_t)side->values[i] : 0;
	}
	unlock(env, &side->lock);
	return v;
}

void heapMem_destroy(gomem_env *env, heapMemSide *side) {
	sideFree(env, side);
	*side = (heapMemSide){0};
}
