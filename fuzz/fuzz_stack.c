// fuzz_stack.c: stacks: a P's own, the pools, large ones, while the collector runs and not.
#include "fuzz/heap_world.h"

static const fuzz_op_info ops[] = {
	WORLD_OP_STACKALLOC,
	WORLD_OP_STACKFREE,
	WORLD_OP_FREE_STACK_SPANS,
	WORLD_OP_GC_BEGIN,
	WORLD_OP_GC_END,
	WORLD_OP_PREPARE,
	WORLD_OP_PROCS,
	WORLD_OP_MANUAL,
	WORLD_OP_FREE_MANUAL,
	WORLD_OP_MALLOC_MANY,
	WORLD_OP_DROP_EACH,
	WORLD_OP_LOOK_AROUND,
	WORLD_OP_STATS,
	WORLD_OP_GC,
	WORLD_OP_LOOK,
};

FUZZ_TARGET(stack) = {
	.name = "stack",
	.what = "stacks of all sizes, by several Ps, against the oracle",
	.ops = ops,
	.nops = sizeof ops / sizeof ops[0],
	WORLD_RUN,
};
