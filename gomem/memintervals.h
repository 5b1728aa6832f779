// memintervals.h (layer 1): a map from every address to a small value, kept as maximal intervals of equal value.
//
// The shadow map of checked builds (mem.c) and the simulated system (mem_sim.c) keep the state of address ranges in it.
// Its size follows the number of intervals, not of pages: 16 bytes each. Lookups take O(log n); a change of k intervals
// O(log n + k).
//
// Invariants: the first interval begins at 0; starts rise strictly; neighbours differ in value; no block is empty.
#ifndef GOMEM_MEMINTERVALS_H
#define GOMEM_MEMINTERVALS_H

#ifdef GOMEM_VARIANT
#include "gomem/variant.h"
#endif

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct memIntervals memIntervals;

// One interval: [lo, hi) has value v. The last one has hi == UINT64_MAX.
typedef struct memInterval {
	uint64_t lo, hi;
	uint8_t v;
} memInterval;

// memIntervals_new gives a map where every address has value 0. NULL: out of memory.
memIntervals *memIntervals_new(void);
void memIntervals_free(memIntervals *m);
// memIntervals_at gives the interval that holds addr.
memInterval memIntervals_at(const memIntervals *m, uint64_t addr);
// memIntervals_reserve makes the next n calls of memIntervals_set unable to fail. false: out of memory.
bool memIntervals_reserve(memIntervals *m, size_t n);
// memIntervals_set gives [lo, hi) the value v. false: out of memory, the map is unchanged.
bool memIntervals_set(memIntervals *m, uint64_t lo, uint64_t hi, uint8_t v);
// memIntervals_count gives the number of intervals.
size_t memIntervals_count(const memIntervals *m);
// memIntervals_check gives NULL if the invariants hold, else which does not.
const char *memIntervals_check(const memIntervals *m);

#endif
