// mem_over.c (layer 1): calls passed on to the system below.
//
// Invariant: as in mem_over.h.
#include "gomem/mem_over.h"

#include <errno.h>
#include <stdlib.h>

static gomem_os *innerOf(gomem_os *os) { return ((memOver *)os)->inner; }

static void *over_alloc(gomem_os *os, uintptr_t n) { return innerOf(os)->alloc(innerOf(os), n); }

static void *over_reserve(gomem_os *os, void *hint, uintptr_t n, memUse use) {
	return innerOf(os)->reserve(innerOf(os), hint, n, use);
}

static void *over_reserveAligned(gomem_os *os, uintptr_t n, uintptr_t align, memUse use) {
	return innerOf(os)->reserveAligned(innerOf(os), n, align, use);
}

static bool over_map(gomem_os *os, void *v, uintptr_t n) { return innerOf(os)->map(innerOf(os), v, n); }
static bool over_used(gomem_os *os, void *v, uintptr_t n) { return innerOf(os)->used(innerOf(os), v, n); }
static bool over_unused(gomem_os *os, void *v, uintptr_t n) { return innerOf(os)->unused(innerOf(os), v, n); }
static bool over_fault(gomem_os *os, void *v, uintptr_t n) { return innerOf(os)->fault(innerOf(os), v, n); }
static bool over_free(gomem_os *os, void *v, uintptr_t n) { return innerOf(os)->free(innerOf(os), v, n); }
static void over_hugePage(gomem_os *os, void *v, uintptr_t n) { innerOf(os)->hugePage(innerOf(os), v, n); }
static void over_noHugePage(gomem_os *os, void *v, uintptr_t n) { innerOf(os)->noHugePage(innerOf(os), v, n); }

static bool over_hugePageCollapse(gomem_os *os, void *v, uintptr_t n) {
	return innerOf(os)->hugePageCollapse(innerOf(os), v, n);
}

static void over_populate(gomem_os *os, void *v, uintptr_t n, bool wanted) {
	innerOf(os)->populate(innerOf(os), v, n, wanted);
}

static void over_flush(gomem_os *os) { innerOf(os)->flush(innerOf(os)); }

static const char *over_check(gomem_os *os) { return innerOf(os)->check(innerOf(os)); }

static void destroyInner(gomem_os *inner) {
	if (inner->destroy != NULL) {
		inner->destroy(inner);
	}
}

void memOver_destroy(gomem_os *os) {
	destroyInner(innerOf(os));
	free(os);
}

void *memOver_new(gomem_os *inner, size_t size) {
	if (inner == NULL) {
		return NULL;
	}
	memOver *o = calloc(1, size);
	if (o == NULL) {
		destroyInner(inner);
		errno = ENOMEM;
		return NULL;
	}
	o->inner = inner;
	o->os = *inner; // its properties; the calls are others
	o->os.alloc = over_alloc;
	o->os.reserve = over_reserve;
	o->os.reserveAligned = inner->reserveAligned != NULL ? over_reserveAligned : NULL;
	o->os.map = over_map;
	o->os.used = over_used;
	o->os.unused = over_unused;
	o->os.fault = over_fault;
	o->os.free = over_free;
	o->os.hugePage = over_hugePage;
	o->os.noHugePage = over_noHugePage;
	o->os.hugePageCollapse = over_hugePageCollapse;
	o->os.populate = inner->populate != NULL ? over_populate : NULL;
	o->os.flush = inner->flush != NULL ? over_flush : NULL;
	o->os.check = inner->check != NULL ? over_check : NULL;
	o->os.destroy = memOver_destroy;
	return o;
}
