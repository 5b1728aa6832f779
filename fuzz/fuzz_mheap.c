// fuzz_mheap.c: the page heap: spans of pages, growth, arenas at hints and elsewhere, page caches, scavenging.
#include "fuzz/heap_world.h"

static const fuzz_op_info ops[] = {
	WORLD_OP_MANUAL,
	WORLD_OP_FREE_MANUAL,
	WORLD_OP_MALLOC_LARGE,
	WORLD_OP_DROP,
	WORLD_OP_GC,
	WORLD_OP_SWEEP,
	WORLD_OP_SCAVENGE,
	WORLD_OP_PROCS,
	WORLD_OP_PREPARE,
	WORLD_OP_LOOK,
	WORLD_OP_LOOK_AROUND,
	WORLD_OP_STATS,
	WORLD_OP_OS_MOVE,
	WORLD_OP_HUGE_PAGES,
};

FUZZ_TARGET(mheap) = {
	.name = "mheap",
	.what = "the page heap: spans of pages, growth, arenas, page caches, against the oracle",
	.ops = ops,
	.nops = sizeof ops / sizeof ops[0],
	WORLD_RUN,
};
