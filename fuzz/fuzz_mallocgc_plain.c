// fuzz_mallocgc_plain.c: what fuzz_mallocgc does, against the library that programs link: constant layout, no hooks.
#include "fuzz/heap_world.h"

FUZZ_TARGET(mallocgc_plain) = {
	.name = "mallocgc_plain",
	.what = "whole programs on the library as programs link it",
	.ops = world_ops + WORLD_OPS_OS_FAIL,
	.nops = WORLD_OPS - WORLD_OPS_OS_FAIL,
	WORLD_RUN,
};
