// fuzz_mallocgc_plain.c: what fuzz_mallocgc does, against the library that programs link: constant layout, no hooks.
#include "fuzz/heap_world.h"

FUZZ_TARGET(mallocgc_plain) = {
	.name = "mallocgc_plain",
	.what = "whole programs on the library as programs link it",
	.config = {WORLD_CONFIG},
	.ops = world_ops,
	.nops = WORLD_OPS,
	.max_ops = 64,
	.begin = world_begin,
	.after = world_after,
	.end = world_end,
};
