// gcbits.c (layer 2): arenas of mark and allocation bits. Ports gcBits and gcBitsArena of mheap.go.
//
// Invariants: as in gcbits.h; what tryAlloc hands out lies in [0, bitsLen). Threads that find an arena too full may
// push its free past bitsLen, as in Go.
#include "gomem/gcbits.h"

#include "gomem/mem.h"

static uintptr_t arenaBytes(const gomem_env *env) { return (uintptr_t)layout_get(env)->gcBitsChunkBytes; }
static uintptr_t bitsLen(const gomem_env *env) { return arenaBytes(env) - offsetof(gcBitsArena, bits); }

static gcBitsArena *loadNext(gcBitsArenas *a) {
	return (gcBitsArena *)atomic_load_explicit(&a->next, memory_order_acquire);
}

static void storeNext(gcBitsArenas *a, gcBitsArena *b) {
	atomic_store_explicit(&a->next, (uintptr_t)b, memory_order_release);
}

// tryAlloc takes bytes from b, or returns NULL if there is no room. Thread-safe.
static gcBits *tryAlloc(const gomem_env *env, gcBitsArena *b, uintptr_t bytes) {
	if (b == NULL || atomic_load_explicit(&b->free, memory_order_relaxed) + bytes > bitsLen(env)) {
		return NULL;
	}
	uintptr_t start = atomic_fetch_add_explicit(&b->free, bytes, memory_order_relaxed);
	if (start + bytes > bitsLen(env)) {
		return NULL;
	}
	return &b->bits[start];
}

// newArenaMayUnlock gives a zeroed arena; it may release and take the lock again. NULL: out of memory.
static gcBitsArena *newArenaMayUnlock(gomem_env *env, gcBitsArenas *a) {
	gcBitsArena *b = a->free;
	if (b != NULL) {
		a->free = b->next;
		memset(b, 0, arenaBytes(env));
		return b;
	}
	unlock(env, &a->lock);
	b = sysAlloc(env, arenaBytes(env), &env->stats->gcMiscSys);
	lock(env, &a->lock);
	return b;
}

// allocLocked allocates under the lock: from the head arena, which may be another than before, or from a new one.
static gcBits *allocLocked(gomem_env *env, gcBitsArenas *a, uintptr_t bytes) {
	gcBits *p = tryAlloc(env, loadNext(a), bytes);
	if (p != NULL) {
		return p;
	}
	gcBitsArena *fresh = newArenaMayUnlock(env, a);
	p = tryAlloc(env, loadNext(a), bytes);
	if (fresh == NULL) {
		return p;
	}
	if (p != NULL) {
		fresh->next = a->free;
		a->free = fresh;
		return p;
	}
	p = tryAlloc(env, fresh, bytes);
	if (p == NULL) {
		gomem_throw(env, "markBits overflow");
	}
	fresh->next = loadNext(a);
	storeNext(a, fresh);
	return p;
}

gcBits *newMarkBits(gomem_env *env, gcBitsArenas *a, uintptr_t nelems) {
	uintptr_t bytes = (nelems + 63) / 64 * 8;
	gcBits *p = tryAlloc(env, loadNext(a), bytes);
	if (p != NULL) {
		return p;
	}
	lock(env, &a->lock);
	p = allocLocked(env, a, bytes);
	unlock(env, &a->lock);
	return p;
}

gcBits *newAllocBits(gomem_env *env, gcBitsArenas *a, uintptr_t nelems) { return newMarkBits(env, a, nelems); }

void nextMarkBitArenaEpoch(gomem_env *env, gcBitsArenas *a) {
	lock(env, &a->lock);
	if (a->previous != NULL) {
		gcBitsArena *last = a->previous;
		while (last->next != NULL) {
			last = last->next;
		}
		last->next = a->free;
		a->free = a->previous;
	}
	a->previous = a->current;
	a->current = loadNext(a);
	storeNext(a, NULL);
	unlock(env, &a->lock);
}

static void freeList(gomem_env *env, gcBitsArena *b) {
	while (b != NULL) {
		gcBitsArena *next = b->next;
		sysFree(env, b, arenaBytes(env), &env->stats->gcMiscSys);
		b = next;
	}
}

void gcBitsArenas_destroy(gomem_env *env, gcBitsArenas *a) {
	freeList(env, a->free);
	freeList(env, loadNext(a));
	freeList(env, a->current);
	freeList(env, a->previous);
	storeNext(a, NULL);
	a->free = a->current = a->previous = NULL;
}
