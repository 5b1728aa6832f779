// linear.h: where memory stands that comes from a break (Plan 9, WebAssembly): the rule of placement, over one flag for each page.
#ifndef GOMEM_ORACLE_LINEAR_H
#define GOMEM_ORACLE_LINEAR_H

#include <stdint.h>

typedef struct oracle_linear oracle_linear;

// The memory begins at start, a multiple of page, and cannot reach past end. Aborts without memory for itself, as all of these do.
oracle_linear *oracle_linear_new(uint64_t start, uint64_t end, uint64_t page);
void oracle_linear_free(oracle_linear *l);

// The address of n bytes, 0: there is no room.
uint64_t oracle_linear_alloc(oracle_linear *l, uint64_t n);
uint64_t oracle_linear_alloc_at(oracle_linear *l, uint64_t at, uint64_t n); // at 0: anywhere
uint64_t oracle_linear_alloc_aligned(oracle_linear *l, uint64_t n, uint64_t align);
void oracle_linear_give_back(oracle_linear *l, uint64_t addr, uint64_t n);

uint64_t oracle_linear_break(const oracle_linear *l);
uint64_t oracle_linear_used(const oracle_linear *l); // bytes

#endif
