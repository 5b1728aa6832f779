// fuzz_mallocgc.c: whole programs: objects, stacks, pages, cycles of the collector, several Ps one after the other, and the world.
#include "fuzz/heap_world.h"

FUZZ_TARGET(mallocgc) = {
	.name = "mallocgc",
	.what = "whole programs: each address, span, step and OS call against the oracle",
	.ops = world_ops + WORLD_OPS_OS_FAIL,
	.nops = WORLD_OPS - WORLD_OPS_OS_FAIL,
	WORLD_RUN,
};
