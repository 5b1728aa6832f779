// platform.h (layer 0): what the allocator needs from its surroundings, and the environment that carries it.
//
// Every function of layers 1 to 4 reaches locks, the OS, statistics and throw through a gomem_env: one for each heap.
// platform.c implements this file for a hosted program (futex, stdio); a freestanding build brings its own.
//
// Invariants: a mutex is free iff key == 0. An environment does not change after its heap was made, but for stats.
#ifndef GOMEM_PLATFORM_H
#define GOMEM_PLATFORM_H

#ifdef GOMEM_VARIANT
#include "gomem/variant.h" // gives each function a prefix, so that variants link into one program
#endif

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "gomem/lab.h"
#include "gomem/layout.h"
#include "gomem/stats.h"

// As large as Go's mutex on 64-bit platforms, so that structures keep Go's layout. Zero is unlocked.
typedef struct mutex {
	_Atomic(uintptr_t) key;
} mutex;

typedef struct gomem_os gomem_os; // layer 1: mem.h
typedef struct gomem_state_map gomem_state_map;

typedef struct persistentAlloc {
	uintptr_t base;
	uintptr_t off;
} persistentAlloc;

struct gomem_env;
typedef struct gomem_env {
	const gomem_layout *layout;
	gomem_os *os;
	gomem_stats *stats;
	const gomem_lab *lab;                          // hooks of a lab build, or NULL
	gomem_state_map *states;                       // checked builds: the state of each address range, or NULL
	void (*throwHook)(void *ctx, const char *msg); // internal inconsistency; does not return
	void *throwCtx;
	bool (*arenaMapped)(
		void *ctx, uintptr_t addr); // whether addr lies in an arena of the heap; NULL where there are no arenas
	void *arenaCtx;
	int (*lockRank)(const struct gomem_env *env, const mutex *m); // checked builds: see lockrank.h; NULL: not asked
	uintptr_t physPageSize;
	uintptr_t physHugePageSize;  // 0: none
	bool backed;                 // heap memory can be touched
	bool needZeroAfterSysUnused; // the OS may hand back pages with their old contents (GODEBUG=madvdontneed=0)
	bool greenTea;               // small spans carry inline mark bits
	bool hasPOPCNT;              // the CPU has the instruction (Go: x86HasPOPCNT)
	bool randomizeHeapBase;
	mutex globalAllocLock; // guards globalAlloc and persistentChunks
	persistentAlloc globalAlloc;
	uintptr_t persistentChunks;               // newest chunk; each begins with the address of the one before
	struct persistentBlock *persistentBlocks; // blocks too big for a chunk, newest first; under globalAllocLock
	_Atomic(uint64_t) spanSetBlockPool;       // lfstack of free spanSet blocks
} gomem_env;

// layout_get gives the constants of env: folded by the compiler where the layout is constant.
static inline const gomem_layout *layout_get(const gomem_env *env) {
#ifdef GOMEM_RUNTIME_LAYOUT
	return env->layout;
#else
	(void)env;
	return &layout_host;
#endif
}

// gomem_throw reports an internal inconsistency and does not return.
_Noreturn void gomem_throw(gomem_env *env, const char *msg);

// lock and unlock: a plain mutual exclusion that may sleep. In a lab build lab->busy is told of a taken lock.
#ifdef GOMEM_FREESTANDING
void lock(gomem_env *env, mutex *m);
void unlock(gomem_env *env, mutex *m);
#else
// The low half of a key: 0 free, 1 taken, 2 taken and somebody may sleep on it.
void lockSlow(gomem_env *env, mutex *m);
void unlockSlow(gomem_env *env, mutex *m, uintptr_t old);
// Checked builds: the order of locks (Go: lockrank_on.go). Before m is taken, and when it is let go.
#ifdef GOMEM_CHECKED
void lockWithRankMayAcquire(gomem_env *env, mutex *m);
void unlockWithRank(gomem_env *env, mutex *m);
#else
static inline void lockWithRankMayAcquire(gomem_env *env, mutex *m) {
	(void)env;
	(void)m;
}
static inline void unlockWithRank(gomem_env *env, mutex *m) {
	(void)env;
	(void)m;
}
#endif
static inline void lock(gomem_env *env, mutex *m) {
	lockWithRankMayAcquire(env, m);
	uintptr_t unlocked = 0;
	if (!atomic_compare_exchange_strong_explicit(&m->key, &unlocked, 1, memory_order_acquire, memory_order_relaxed)) {
		lockSlow(env, m);
	}
}
static inline void unlock(gomem_env *env, mutex *m) {
	unlockWithRank(env, m);
	uintptr_t old = atomic_exchange_explicit(&m->key, 0, memory_order_release);
	if (old != 1) {
		unlockSlow(env, m, old);
	}
}
#endif
// assertLockHeld throws in checked builds if nobody holds m.
static inline void assertLockHeld(gomem_env *env, mutex *m) {
#ifdef GOMEM_CHECKED
	if (atomic_load_explicit(&m->key, memory_order_relaxed) == 0) {
		gomem_throw(env, "lock not held");
	}
#else
	(void)env;
	(void)m;
#endif
}

static inline void lab_turn(const gomem_env *env, gomem_ev k) {
#if GOMEM_LAB
	if (env->lab != NULL) {
		env->lab->turn(env->lab->ctx, k);
	}
#else
	(void)env;
	(void)k;
#endif
}

static inline void lab_event(const gomem_env *env, gomem_ev k, uint64_t a, uint64_t b, uint64_t c, uint64_t d) {
#if GOMEM_LAB
	if (env->lab != NULL) {
		env->lab->event(env->lab->ctx, k, a, b, c, d);
	}
#else
	(void)env;
	(void)k;
	(void)a;
	(void)b;
	(void)c;
	(void)d;
#endif
}

static inline void lab_look(const gomem_env *env, unsigned level, uint64_t i, uint64_t sum) {
#if GOMEM_LAB
	if (env->lab != NULL && env->lab->look != NULL) {
		env->lab->look(env->lab->ctx, level, i, sum);
	}
#else
	(void)env;
	(void)level;
	(void)i;
	(void)sum;
#endif
}

// lockTurn: the lock of a section whose first event is of kind k (EV_NONE: any kind).
static inline void lockTurn(gomem_env *env, mutex *m, gomem_ev k) {
	lab_turn(env, k);
	lock(env, m);
}

static inline uint64_t alignUp(uint64_t n, uint64_t a) { return (n + a - 1) & ~(a - 1); }
static inline uint64_t alignDown(uint64_t n, uint64_t a) { return n & ~(a - 1); }
// Number of trailing or leading zero bits; 64 for 0.
static inline unsigned ctz64(uint64_t x) { return x == 0 ? 64u : (unsigned)__builtin_ctzll(x); }
static inline unsigned clz64(uint64_t x) { return x == 0 ? 64u : (unsigned)__builtin_clzll(x); }
// Not the compiler's own: without a machine instruction for it that is a call into its library.
static inline unsigned popcount64(uint64_t x) {
	x -= x >> 1 & 0x5555555555555555u;
	x = (x & 0x3333333333333333u) + (x >> 2 & 0x3333333333333333u);
	x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fu;
	return (unsigned)((x * 0x0101010101010101u) >> 56);
}
static inline unsigned bitLen64(uint64_t x) { return 64u - clz64(x); }

// mulHigh64 gives the upper half of a product of 128 bits. mulHalves64 is the same where the compiler has no such integers: from products of
// halves, of which the two in the middle carry into the upper half.
static inline uint64_t mulHalves64(uint64_t x, uint64_t y) {
	const uint64_t x0 = (uint32_t)x, x1 = x >> 32, y0 = (uint32_t)y, y1 = y >> 32;
	const uint64_t middle = x1 * y0 + (x0 * y0 >> 32);
	return x1 * y1 + (middle >> 32) + ((x0 * y1 + (uint32_t)middle) >> 32);
}
#ifdef __SIZEOF_INT128__
__extension__ typedef unsigned __int128 uint128;
static inline uint64_t mulHigh64(uint64_t x, uint64_t y) { return (uint64_t)((uint128)x * y >> 64); }
#else
static inline uint64_t mulHigh64(uint64_t x, uint64_t y) { return mulHalves64(x, y); }
#endif

#endif
