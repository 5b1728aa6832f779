// parts.h: parts of the port that are measured by themselves, called from inside: no door, no pointer.
#ifndef GOMEM_BENCH_PARTS_H
#define GOMEM_BENCH_PARTS_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct bench_part {
	const char *name;
	void *(*make)(const struct bench_part *part); // NULL: out of memory
	void (*unit)(void *ctx, unsigned calls);      // timed
	void (*again)(void *ctx);                     // between two units, not timed; may be NULL
	void (*end)(void *ctx);
	uint64_t n;     // bytes of heap, for the page level; a pattern of bits; a number of bits
	unsigned calls; // in a unit
	bool fragmented;
} bench_part;

const bench_part *bench_parts(unsigned *n);

#ifdef __cplusplus
}
#endif

#endif
