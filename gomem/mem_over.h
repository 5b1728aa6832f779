// mem_over.h (layer 1): the beginning of a system over another one, which passes each call on. Who makes one puts his own functions in place of some.
//
// Invariant: os has the properties of inner, and no call that inner has not.
#ifndef GOMEM_MEM_OVER_H
#define GOMEM_MEM_OVER_H

#include "gomem/mem.h"

// The first field of such a system.
typedef struct memOver {
	gomem_os os;
	gomem_os *inner;
} memOver;

// memOver_new makes one of size bytes, the rest of them zero. The inner system is its own, and destroyed with it. NULL: out of memory, and inner is
// destroyed; or inner is NULL.
void *memOver_new(gomem_os *inner, size_t size);
// memOver_destroy is its destroy: the inner system's, and the memory of this one is free.
void memOver_destroy(gomem_os *os);

#endif
