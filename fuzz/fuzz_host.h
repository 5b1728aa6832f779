// fuzz_host.h: the host refuses memory: the n-th of the calls malloc, calloc, realloc, aligned_alloc, mmap and getrandom that code under test
// makes. The linker puts itself between (-Wl,--wrap): nothing is compiled differently.
//
// Invariant: nothing is refused but between fuzz_host_refuse and fuzz_host_obey. What a target needs for itself it asks for outside.
#ifndef GOMEM_FUZZ_HOST_H
#define GOMEM_FUZZ_HOST_H

#include <stdbool.h>
#include <stdint.h>

// The n-th call from now on is refused (1: the next; 0: none).
void fuzz_host_refuse(uint64_t n);
// fuzz_host_obey ends that, and says whether a call was refused.
bool fuzz_host_obey(void);

#endif
