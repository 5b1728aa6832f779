// fuzz_mallocgc_oom.c: whole programs while the operating system refuses calls: nothing crashes, nothing is lost, the heap's invariants hold,
// what was allocated stays intact, and what fails says so.
#include "fuzz/heap_world.h"

FUZZ_TARGET(mallocgc_oom) = {
	.name = "mallocgc_oom",
	.what = "whole programs with a failing OS: the contract of any allocator, and the heap's invariants",
	.ops = world_ops,
	.nops = WORLD_OPS,
	WORLD_RUN,
	.abandon = world_abandon,
};
