// fuzz_sweeper.c: sweeping: by one P and by another, in proportion to allocation, before a refill, to reclaim pages, with specials.
#include "fuzz/heap_world.h"

static const fuzz_op_info ops[] = {
	WORLD_OP_MALLOC_MANY,
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
	WORLD_OP_LOOK,
	WORLD_OP_STATS,
};

FUZZ_TARGET(sweeper) = {
	.name = "sweeper",
	.what = "who sweeps which span, when, and what becomes free, against the oracle",
	.ops = ops,
	.nops = sizeof ops / sizeof ops[0],
	WORLD_RUN,
};
