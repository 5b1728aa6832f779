// mfixalloc.h (layer 2): a free-list allocator of objects of one size, out of persistentalloc. Ports mfixalloc.go.
//
// Invariants: inuse == size * objects handed out and not freed; nalloc == fixAllocChunk / size * size; nchunk < nalloc + size.
// The caller serialises.
#ifndef GOMEM_MFIXALLOC_H
#define GOMEM_MFIXALLOC_H

#include "gomem/platform.h"

typedef struct mlink {
	struct mlink *next;
} mlink;

typedef struct fixalloc {
	uintptr_t size;
	void (*first)(void *arg, void *p); // called the first time an object is handed out
	void *arg;
	mlink *list;
	uintptr_t chunk;
	uint32_t nchunk; // bytes left in chunk
	uint32_t nalloc; // bytes of a new chunk
	uintptr_t inuse;
	sysMemStat *stat;
	bool zero; // zero objects that are handed out again
} fixalloc;

void fixalloc_init(
	gomem_env *env, fixalloc *f, uintptr_t size, void (*first)(void *, void *), void *arg, sysMemStat *stat);
// fixalloc_alloc gives an object, zeroed if f->zero. NULL: out of memory.
void *fixalloc_alloc(gomem_env *env, fixalloc *f);
void fixalloc_free(gomem_env *env, fixalloc *f, void *p);

#endif
