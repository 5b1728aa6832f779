// fuzz_mcentral.c: the spans of a class on their way between Ps and the sets: refills, flushes, partly filled spans.
#include "fuzz/heap_world.h"

static const fuzz_op_info ops[] = {
	WORLD_OP_MALLOC_MANY,
	WORLD_OP_MALLOC,
	WORLD_OP_DROP,
	WORLD_OP_DROP_EACH,
	WORLD_OP_GC,
	WORLD_OP_GC_BEGIN,
	WORLD_OP_GC_END,
	WORLD_OP_PREPARE,
	WORLD_OP_SWEEP,
	WORLD_OP_PROCS,
	WORLD_OP_LOOK,
	WORLD_OP_STATS,
};

FUZZ_TARGET(mcentral) = {
	.name = "mcentral",
	.what = "refills from the four sets of a class, by several Ps, against the oracle's queues",
	.ops = ops,
	.nops = sizeof ops / sizeof ops[0],
	WORLD_RUN,
};
