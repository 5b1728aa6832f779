// persistentalloc.h (layer 2): memory that lives as long as the heap. Ports persistentalloc and linearAlloc of malloc.go.
#ifndef GOMEM_PERSISTENTALLOC_H
#define GOMEM_PERSISTENTALLOC_H

#include "gomem/platform.h"

// persistentalloc gives size bytes, zeroed, at a multiple of align (0: 8; a power of two, at most a page). NULL: out of memory. Thread-safe.
void *persistentalloc(gomem_env *env, uintptr_t size, uintptr_t align, sysMemStat *stat);
bool inPersistentAlloc(gomem_env *env, uintptr_t p);
// persistentalloc_destroy gives all chunks, and all blocks that were too big for a chunk, back to the OS.
void persistentalloc_destroy(gomem_env *env);

// A bump allocator over one reserved range; with mapMemory the range goes from Reserved to Ready as it is used.
typedef struct linearAlloc {
	uintptr_t next, mapped, end;
	bool mapMemory;
} linearAlloc;
void linearAlloc_init(linearAlloc *l, uintptr_t base, uintptr_t size, bool mapMemory);
void *linearAlloc_alloc(gomem_env *env, linearAlloc *l, uintptr_t size, uintptr_t align, sysMemStat *stat);

#endif
