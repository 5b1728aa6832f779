// fuzz_platforms.h: what the target platforms did, for tests/lab_platforms.c.
#ifndef GOMEM_FUZZ_PLATFORMS_H
#define GOMEM_FUZZ_PLATFORMS_H

#include <stdint.h>

typedef struct fuzz_platforms_sum {
	uint64_t programs, operations, compared, arenas, mallocs, cycles;
	uint64_t placed;  // of compared: where memory from a break stands
	uint64_t refused; // programs that had all addresses there are: from there on nothing is compared with the oracle
} fuzz_platforms_sum;

// fuzz_platforms_take gives what was done since it was last called.
fuzz_platforms_sum fuzz_platforms_take(void);

#endif
