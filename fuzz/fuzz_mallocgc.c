// fuzz_mallocgc.c: whole programs: objects, stacks, pages, cycles of the collector, several Ps one after the other, and the world.
#include "fuzz/heap_world.h"

static const fuzz_op_info ops[] = {
	WORLD_OP_MALLOC,
	WORLD_OP_MALLOC_MANY,
	WORLD_OP_MALLOC_TINY,
	WORLD_OP_MALLOC_LARGE,
	WORLD_OP_DROP,
	WORLD_OP_DROP_EACH,
	WORLD_OP_GC_BEGIN,
	WORLD_OP_MARK_SOME,
	WORLD_OP_MARK_WILD,
	WORLD_OP_GC_END,
	WORLD_OP_GC,
	WORLD_OP_PREPARE,
	WORLD_OP_SWEEP,
	WORLD_OP_PACE,
	WORLD_OP_SPECIAL,
	WORLD_OP_STACKALLOC,
	WORLD_OP_STACKFREE,
	WORLD_OP_FREE_STACK_SPANS,
	WORLD_OP_MANUAL,
	WORLD_OP_FREE_MANUAL,
	WORLD_OP_SCAVENGE,
	WORLD_OP_PROCS,
	WORLD_OP_LOOK,
	WORLD_OP_LOOK_AROUND,
	WORLD_OP_STATS,
	WORLD_OP_REWRITE,
	WORLD_OP_HUGE_PAGES,
	WORLD_OP_OS_MOVE,
};

FUZZ_TARGET(mallocgc) = {
	.name = "mallocgc",
	.what = "whole programs: each address, span, step and OS call against the oracle",
	.config = {WORLD_CONFIG},
	.ops = ops,
	.nops = sizeof ops / sizeof ops[0],
	.begin = world_begin,
	.after = world_after,
	.end = world_end,
};
