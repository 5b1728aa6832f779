// fuzz_pagecache.c: the page caches of several Ps against arrays of 64 bools, over one page allocator that is used directly
// and scavenged too.
#include "fuzz/fuzz_pages.h"

static void *begin(const uint64_t *config) {
	pagesWorld *w = worldBegin(config, true);
	growNear(w, 0, false, 0, (chunkIdx)(1 + config[3]));
	return w;
}

static const fuzz_op_info ops[] = {
	{"fill", {CACHE_ARG}, worldFill},
	{"take", {CACHE_ARG, {"pages", 1, FUZZ_PAGES, 79}}, worldTake},
	{"takeOne", {CACHE_ARG}, worldTake},
	{"flush", {CACHE_ARG}, worldFlush},
	{"alloc", {{"pages", 2, FUZZ_PAGES, 1100}}, worldAlloc},
	{"free", FREE_ARGS, worldFree},
	{"range", PLACE_ARGS, worldRange},
	{"pad", PLACE_ARGS, worldPad},
	{"grow", GROW_ARGS(1, shortGap), worldGrow},
	{"step", SCAV_ARGS, worldStep},
	{"nextGen", {{NULL, 0, 0, 0}}, worldNextGen},
};

FUZZ_TARGET(pagecache) = {
	.name = "pagecache",
	.what = "page caches over one page allocator against arrays of bools",
	.config = {PAGES_CONFIG, {"chunks", 1, FUZZ_ANY, 2}},
	.ops = ops,
	.nops = sizeof ops / sizeof ops[0],
	.max_ops = 64,
	.begin = begin,
	.after = worldAfter,
	.end = worldEnd,
};
