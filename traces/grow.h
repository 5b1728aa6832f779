// grow.h: arrays that grow by doubling.
#ifndef GOMEM_TRACES_GROW_H
#define GOMEM_TRACES_GROW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

// array_grow makes room in an array of n elements for one more: array is the address of the pointer to it, room how many it can hold. false: out
// of memory; it is as it was.
static inline bool array_grow(void *array, size_t *room, size_t n, size_t size) {
	if (n < *room) {
		return true;
	}
	size_t more = *room < 16 ? 16 : *room * 2;
	void *p; // pointers of other types are not to be written as one to void
	memcpy(&p, array, sizeof(p));
	p = realloc(p, more * size);
	if (p == NULL) {
		return false;
	}
	memcpy(array, &p, sizeof(p));
	*room = more;
	return true;
}

#endif
