// platform.c (layer 0): locks and throw for a hosted program on Linux (futex, stdio).
//
// Invariants of a mutex (the futex word is the half of key that holds its low 32 bits):
//   0 free; 1 taken and nobody sleeps; 2 taken and somebody may sleep, so that the holder wakes one when it leaves.
#include "gomem/platform.h"

#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifdef GOMEM_CHECKED
#include "gomem/lockrank.h"

// What the thread holds, the last one taken at the end.
enum { mostLocksHeld = 10 };
static _Thread_local struct {
	const mutex *m[mostLocksHeld];
	int rank[mostLocksHeld], n;
} locksHeld;
#endif

enum {
	activeSpin = 4, // as in lock_spinbit.go
	activeSpinPauses = 30,
};

void gomem_throw(gomem_env *env, const char *msg) {
#ifdef GOMEM_CHECKED
	locksHeld.n = 0; // a hook may jump out of everything
#endif
	if (env != NULL && env->throwHook != NULL) {
		env->throwHook(env->throwCtx, msg);
	}
	fprintf(stderr, "fatal error: %s\n", msg);
	abort();
}

static inline void cpuPause(void) {
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

static void *futexWord(mutex *m) {
	unsigned char *p = (unsigned char *)&m->key;
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	p += sizeof m->key - sizeof(uint32_t);
#endif
	return p;
}

// tryLock takes a lock that looks free.
static bool tryLock(mutex *m) {
	uintptr_t unlocked = 0;
	return atomic_load_explicit(&m->key, memory_order_relaxed) == 0 &&
		atomic_compare_exchange_strong_explicit(&m->key, &unlocked, 1, memory_order_acquire, memory_order_relaxed);
}

static bool spinForLock(mutex *m) {
	for (int i = 0; i < activeSpin; i++) {
		if (tryLock(m)) {
			return true;
		}
		for (int j = 0; j < activeSpinPauses; j++) {
			cpuPause();
		}
	}
	return tryLock(m);
}

static const char *lockName(const gomem_env *env, const mutex *m) {
	return m == &env->globalAllocLock ? "globalAlloc" : "mutex";
}

// ---- the order of locks

#ifdef GOMEM_CHECKED
// A lab runs Ps as coroutines of one thread: who holds what is not known by the thread.
static bool asksRank(const gomem_env *env) { return env != NULL && env->lockRank != NULL && env->lab == NULL; }

void lockWithRankMayAcquire(gomem_env *env, mutex *m) {
	if (!asksRank(env)) {
		return;
	}
	const int rank = env->lockRank(env, m);
	const int n = locksHeld.n;
	if (n > 0 && !lockRank_mayFollow(rank, locksHeld.rank[n - 1])) {
		static _Thread_local char text[128];
		(void)snprintf(text, sizeof(text), "lock ordering problem: %s taken while %s is held", lockRank_name(rank),
			lockRank_name(locksHeld.rank[n - 1]));
		gomem_throw(env, text);
	}
	if (n == mostLocksHeld) {
		gomem_throw(env, "too many locks held concurrently for rank checking");
	}
	locksHeld.m[n] = m;
	locksHeld.rank[n] = rank;
	locksHeld.n++;
}

void unlockWithRank(gomem_env *env, mutex *m) {
	if (!asksRank(env)) {
		return;
	}
	int i = locksHeld.n - 1;
	while (i >= 0 && locksHeld.m[i] != m) {
		i--;
	}
	if (i < 0) {
		return; // taken before ranks were asked for
	}
	for (; i + 1 < locksHeld.n; i++) {
		locksHeld.m[i] = locksHeld.m[i + 1];
		locksHeld.rank[i] = locksHeld.rank[i + 1];
	}
	locksHeld.n--;
}
#endif

void lockSlow(gomem_env *env, mutex *m) {
	if (GOMEM_LAB && env != NULL && env->lab != NULL) {
		while (!tryLock(m)) {
			env->lab->busy(env->lab->ctx, lockName(env, m));
		}
		return;
	}
	if (spinForLock(m)) {
		return;
	}
	while (atomic_exchange_explicit(&m->key, 2, memory_order_acquire) != 0) {
		syscall(SYS_futex, futexWord(m), FUTEX_WAIT_PRIVATE, 2, NULL, NULL, 0);
	}
}

void unlockSlow(gomem_env *env, mutex *m, uintptr_t old) {
	if (old == 0) {
		gomem_throw(env, "unlock of unlocked lock");
	}
	syscall(SYS_futex, futexWord(m), FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}
