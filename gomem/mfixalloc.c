// mfixalloc.c (layer 2): objects of one size out of persistentalloc. Ports mfixalloc.go.
//
// Invariants: as in mfixalloc.h; list holds freed objects, newest first.
#include "gomem/mfixalloc.h"

#include "gomem/persistentalloc.h"

void fixalloc_init(
	gomem_env *env, fixalloc *f, uintptr_t size, void (*first)(void *, void *), void *arg, sysMemStat *stat) {
	uintptr_t chunk = (uintptr_t)layout_get(env)->fixAllocChunk;
	if (size > chunk) {
		gomem_throw(env, "runtime: fixalloc size too large");
	}
	if (size < sizeof(mlink)) {
		size = sizeof(mlink);
	}
	*f = (fixalloc){
		.size = size,
		.first = first,
		.arg = arg,
		.nalloc = (uint32_t)(chunk / size * size),
		.stat = stat,
		.zero = true,
	};
}

static void *reuse(fixalloc *f) {
	mlink *v = f->list;
	f->list = v->next;
	f->inuse += f->size;
	if (f->zero) {
		memset(v, 0, f->size);
	}
	return v;
}

void *fixalloc_alloc(gomem_env *env, fixalloc *f) {
	if (f->size == 0) {
		gomem_throw(env, "runtime: use of FixAlloc_Alloc before FixAlloc_Init");
	}
	if (f->list != NULL) {
		return reuse(f);
	}
	if (f->nchunk < f->size) {
		void *chunk = persistentalloc(env, f->nalloc, 0, f->stat);
		if (chunk == NULL) {
			return NULL;
		}
		f->chunk = (uintptr_t)chunk;
		f->nchunk = f->nalloc;
	}
	void *v = (void *)f->chunk;
	if (f->first != NULL) {
		f->first(f->arg, v);
	}
	f->chunk += f->size;
	f->nchunk -= (uint32_t)f->size;
	f->inuse += f->size;
	return v;
}

void fixalloc_free(gomem_env *env, fixalloc *f, void *p) {
	(void)env;
	f->inuse -= f->size;
	mlink *v = p;
	v->next = f->list;
	f->list = v;
}
