// counted.h: what a library compiled with -fsanitize=thread writes, told by the calls that the compiler puts before each access.
//
// There is no sanitizer: counted.c has these calls, and counts. So nothing of the library's source has to know of it. Zeroing by memset is
// not seen: it goes to the object that is handed out.
#ifndef GOMEM_BENCH_COUNTED_H
#define GOMEM_BENCH_COUNTED_H

#include <stdbool.h>
#include <stdint.h>

typedef struct counted {
	uint64_t writes;    // stores, and the following
	uint64_t rmw;       // atomic read-modify-writes: each takes a cache line for itself
	uint64_t locks;     // of these, the ones that took a mutex of the port: 64 bits that were 0 and are 1
	uint64_t heapLocks; // of these, those at heapLock
	uintptr_t heapLock;
	void (*written)(void *ctx, uintptr_t addr); // is told of each write; may be NULL
	void *ctx;
} counted;

counted *counted_get(void); // of the only thread

#endif
