// fuzz_mallocgc.c: whole programs: objects, stacks, pages, cycles of the collector, several Ps one after the other, and the world.
#include "fuzz/heap_world.h"

FUZZ_TARGET(mallocgc) = {
	.name = "mallocgc",
	.what = "whole programs: each address, span, step and OS call against the oracle",
	.config = {WORLD_CONFIG},
	.ops = world_ops,
	.nops = WORLD_OPS,
	.max_ops = 64,
	.begin = world_begin,
	.after = world_after,
	.end = world_end,
};
