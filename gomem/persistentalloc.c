// persistentalloc.c (layer 2): memory that lives as long as the heap.
//
// Ports persistentalloc and linearAlloc of malloc.go.
//
// DEVIATION(D07): one current chunk for the environment, none for each P: metadata is not placed by P, and no
// decision of the allocator depends on where metadata stands.
// DEVIATION(D08): blocks that are too big for a chunk are remembered, since a heap can be destroyed here.
//
// Invariants: globalAlloc.off <= persistentChunkSize; the first word of a chunk is the address of the chunk before, 0
// at the end.
#include "gomem/persistentalloc.h"

#include "gomem/mem.h"

enum {
	maxBlock = 64 << 10, // from here on a block is an allocation of its own
	defaultAlign = 8,
};

struct persistentBlock {
	struct persistentBlock *next;
	void *p;
	uintptr_t size;
};

static uintptr_t chunkSize(const gomem_env *env) { return (uintptr_t)layout_get(env)->persistentChunkSize; }

static bool newChunk(gomem_env *env) {
	uintptr_t *chunk = sysAlloc(env, chunkSize(env), &env->stats->other_sys);
	if (chunk == NULL) {
		return false;
	}
	*chunk = env->persistentChunks;
	env->persistentChunks = (uintptr_t)chunk;
	env->globalAlloc.base = (uintptr_t)chunk;
	env->globalAlloc.off = sizeof(uintptr_t);
	return true;
}

// alignedOff is the first offset from a->off on whose address is a multiple of align.
static uintptr_t alignedOff(const persistentAlloc *a, uintptr_t align) {
	return (uintptr_t)alignUp(a->base + a->off, align) - a->base;
}

// allocFromChunk is called under globalAllocLock.
static void *allocFromChunk(gomem_env *env, uintptr_t size, uintptr_t align) {
	persistentAlloc *a = &env->globalAlloc;
	uintptr_t off = alignedOff(a, align);
	if (a->base == 0 || off + size > chunkSize(env)) {
		if (!newChunk(env)) {
			return NULL;
		}
		off = alignedOff(a, align);
	}
	a->off = off + size;
	return (void *)(a->base + off);
}

static void *allocBlock(gomem_env *env, uintptr_t size, uintptr_t align, sysMemStat *stat) {
	if (align > env->physPageSize) {
		size += align; // the OS aligns to its own page only
	}
	void *p = sysAlloc(env, size, stat);
	if (p == NULL) {
		return NULL;
	}
	lock(env, &env->globalAllocLock);
	struct persistentBlock *b = allocFromChunk(env, sizeof *b, defaultAlign);
	if (b != NULL) {
		*b = (struct persistentBlock){.next = env->persistentBlocks, .p = p, .size = size};
		env->persistentBlocks = b;
	}
	unlock(env, &env->globalAllocLock);
	if (b == NULL) {
		sysFree(env, p, size, stat);
		return NULL;
	}
	return (void *)(uintptr_t)alignUp((uintptr_t)p, align);
}

static void checkAlign(gomem_env *env, uintptr_t align) {
	if ((align & (align - 1)) != 0) {
		gomem_throw(env, "persistentalloc: align is not a power of 2");
	}
	if (align > layout_pageSize(layout_get(env))) {
		gomem_throw(env, "persistentalloc: align is too large");
	}
}

void *persistentalloc(gomem_env *env, uintptr_t size, uintptr_t align, sysMemStat *stat) {
	if (size == 0) {
		gomem_throw(env, "persistentalloc: size == 0");
	}
	if (align == 0) {
		align = defaultAlign;
	}
	checkAlign(env, align);
	if (size >= maxBlock) {
		return allocBlock(env, size, align, stat);
	}
	lock(env, &env->globalAllocLock);
	void *p = allocFromChunk(env, size, align);
	unlock(env, &env->globalAllocLock);
	if (p != NULL && stat != &env->stats->other_sys) {
		sysMemStat_add(stat, (int64_t)size);
		sysMemStat_add(&env->stats->other_sys, -(int64_t)size);
	}
	return p;
}

bool inPersistentAlloc(gomem_env *env, uintptr_t p) {
	bool in = false;
	lock(env, &env->globalAllocLock);
	for (uintptr_t chunk = env->persistentChunks; chunk != 0 && !in; chunk = *(const uintptr_t *)chunk) {
		in = p >= chunk && p - chunk < chunkSize(env);
	}
	unlock(env, &env->globalAllocLock);
	return in;
}

// All goes back to other_sys: the statistics that blocks were counted in belong to a heap that is gone.
void persistentalloc_destroy(gomem_env *env) {
	for (struct persistentBlock *b = env->persistentBlocks; b != NULL; b = b->next) {
		sysFree(env, b->p, b->size, &env->stats->other_sys);
	}
	env->persistentBlocks = NULL;
	for (uintptr_t chunk = env->persistentChunks; chunk != 0;) {
		uintptr_t before = *(const uintptr_t *)chunk;
		sysFree(env, (void *)chunk, chunkSize(env), &env->stats->other_sys);
		chunk = before;
	}
	env->persistentChunks = 0;
	env->globalAlloc = (persistentAlloc){0};
}

void linearAlloc_init(linearAlloc *l, uintptr_t base, uintptr_t size, bool mapMemory) {
	if (base + size < base) {
		size--; // the end of the address space must not wrap to 0
	}
	*l = (linearAlloc){.next = base, .mapped = base, .end = base + size, .mapMemory = mapMemory};
}

// mapUpTo makes [mapped, pEnd) Ready, if that is wanted. false: out of memory.
static bool mapUpTo(gomem_env *env, linearAlloc *l, uintptr_t pEnd, sysMemStat *stat) {
	void *v = (void *)l->mapped;
	uintptr_t n = pEnd - l->mapped;
	if (l->mapMemory) {
		if (!sysMap(env, v, n, stat)) {
			return false;
		}
		if (!sysUsed(env, v, n, n)) {
			sysUnmap(env, v, n, stat);
			return false;
		}
	}
	l->mapped = pEnd;
	return true;
}

void *linearAlloc_alloc(gomem_env *env, linearAlloc *l, uintptr_t size, uintptr_t align, sysMemStat *stat) {
	uintptr_t p = (uintptr_t)alignUp(l->next, align);
	if (p + size > l->end) {
		return NULL;
	}
	uintptr_t pEnd = (uintptr_t)alignUp(p + size - 1, env->physPageSize);
	if (pEnd > l->mapped && !mapUpTo(env, l, pEnd, stat)) {
		return NULL;
	}
	l->next = p + size;
	return (void *)p;
}
