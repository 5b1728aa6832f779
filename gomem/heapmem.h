// heapmem.h (layer 2): the one door to memory inside the heap's own spans.
//
// Go keeps free-list links of stacks, malloc headers, heap bits and inline mark bits inside the heap. Where heap memory is backed they are
// really there. Where it is not (a simulated OS without backing), links live in a side table and everything else is skipped.
//
// Sanitizers are told here whose memory it is. All of the heap is nobody's (forbidden, undefined) but what was granted to the program:
// free pages and slots, what a slot has beyond the bytes asked for, and gomem's own words are not the program's to touch. gomem reaches
// its words by the functions below, which are not checked.
//
// Invariants: heapMem_load(a) gives what heapMem_store(a) last stored, for the same word.
//   allowed bytes of the heap == objects, as large as they were asked for; stacks and manual spans in use
#ifndef GOMEM_HEAPMEM_H
#define GOMEM_HEAPMEM_H

#include "gomem/platform.h"
#include "gomem/poison.h"

// The side table: an open-addressing map from word address to value; grows, never shrinks.
typedef struct heapMemSide {
	mutex lock;
	uint64_t *keys, *values;
	uintptr_t len, cap;
} heapMemSide;

uintptr_t heapMem_loadSide(gomem_env *env, heapMemSide *side, uintptr_t addr);
bool heapMem_storeSide(gomem_env *env, heapMemSide *side, uintptr_t addr, uintptr_t v);
void heapMem_destroy(gomem_env *env, heapMemSide *side);

// A word that is really there.
GOMEM_UNCHECKED static inline uintptr_t heapMem_getWord(uintptr_t addr) {
	uintptr_t v;
	memcpy(&v, (const void *)addr, sizeof(v));
	return v;
}
// A pointer that the program may change meanwhile (gomem_write_barrier).
GOMEM_UNCHECKED static inline uintptr_t heapMem_loadPointer(uintptr_t addr) {
	return atomic_load_explicit((const _Atomic(uintptr_t) *)addr, memory_order_acquire);
}
GOMEM_UNCHECKED static inline void heapMem_putWord(uintptr_t addr, uintptr_t v) { memcpy((void *)addr, &v, sizeof(v)); }

static inline uintptr_t heapMem_load(gomem_env *env, heapMemSide *side, uintptr_t addr) {
	return env->backed ? heapMem_getWord(addr) : heapMem_loadSide(env, side, addr);
}

// heapMem_store: false if the side table could not grow. A word that was stored once can always be stored again.
static inline bool heapMem_store(gomem_env *env, heapMemSide *side, uintptr_t addr, uintptr_t v) {
	if (!env->backed) {
		return heapMem_storeSide(env, side, addr, v);
	}
	heapMem_putWord(addr, v);
	return true;
}

// unknown gives n so that the compiler does not know what it is. For a memset of many known sizes gcc makes an instruction that begins slowly (rep stos).
static inline __attribute__((always_inline)) uintptr_t unknown(uintptr_t n) {
	__asm__("" : "+r"(n));
	return n;
}

// heapMem_fill sets each of n bytes that are nobody's, and stay so; nothing where the heap is not backed.
static inline void heapMem_fill(const gomem_env *env, uintptr_t addr, int byte, uintptr_t n) {
	if (env->backed) {
		poison_allow(addr, n);
		memset((void *)addr, byte, unknown(n));
		poison_forbid(addr, n);
	}
}
static inline void heapMem_clear(const gomem_env *env, uintptr_t addr, uintptr_t n) { heapMem_fill(env, addr, 0, n); }
// heapMem_isZero: n bytes that are nobody's are known to be zero without having been written.
static inline void heapMem_isZero(const gomem_env *env, uintptr_t addr, uintptr_t n) {
	if (env->backed) {
		poison_defined(addr, n);
	}
}

// heapMem_grant: n bytes are the program's now. zero: it may rely on their being zero.
static inline void heapMem_grant(const gomem_env *env, uintptr_t addr, uintptr_t n, bool zero) {
	if (!env->backed) {
		return;
	}
	poison_allow(addr, n);
	if (zero) {
		poison_defined(addr, n);
	} else {
		poison_undefined(addr, n);
	}
}
// heapMem_retire: n bytes are nobody's any more.
static inline void heapMem_retire(const gomem_env *env, uintptr_t addr, uintptr_t n) {
	if (env->backed) {
		poison_forbid(addr, n);
		poison_undefined(addr, n);
	}
}

#endif
