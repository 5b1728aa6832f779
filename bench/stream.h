// stream.h: a recorded program's requests as the benchmarks read them, flattened once by stream_make so that reading costs next to nothing.
//
// A file is a stream_head and head.words words of 32 bits. An operation is a word, stream_op in its low 4 bits and a value above; what
// follows it stands beside the operation. Objects have numbers below head.ids, which are used again after a FREE.
#ifndef GOMEM_BENCH_STREAM_H
#define GOMEM_BENCH_STREAM_H

#include <stdint.h>

enum { STREAM_MAGIC = 0x31545347, STREAM_BITS = 4 };

typedef enum stream_op {
	STREAM_MALLOC,   // number of the object; then: size, cycle that found it dead (~0: none)
	STREAM_ZEROED,   // the same, and the memory is zero
	STREAM_POINTERS, // the same, and the object has pointers
	STREAM_FREE,     // number of the object: the recorded sweep of its span found it dead here
	STREAM_FINISH,   // sweeping of the last cycle ends
	STREAM_PHASE,    // of the collector
	STREAM_CYCLE,    // its number, from 1 on: a cycle has marked what lives, and sweeping begins
	STREAM_SWEEP,    // a span is to be swept
	STREAM_SCAVENGE, // then: bytes << 1 | force
} stream_op;

typedef struct stream_head {
	uint32_t magic, ids, cycles, procs;
	uint64_t words, mallocs, frees;
	uint64_t bytes;    // asked for, all together
	uint64_t peakLive; // bytes asked for that were not yet freed, at the most
} stream_head;

#endif
