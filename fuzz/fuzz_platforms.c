// fuzz_platforms.c: whole programs on the layout of any platform. Heap memory is addresses only: those of 32-bit platforms, of wasm and of AIX are
// not this process's.
#include "fuzz/fuzz_platforms.h"

#include "fuzz/heap_world.h"
#include "fuzz/layouts.h"

enum { CONFIG_SEED, CONFIG_LAYOUT = 4 };

static fuzz_platforms_sum sum;

fuzz_platforms_sum fuzz_platforms_take(void) {
	const fuzz_platforms_sum taken = sum;
	sum = (fuzz_platforms_sum){0};
	return taken;
}

static void *begin(const uint64_t *config) {
	const gomem_layout L = fuzz_any_platform(config[CONFIG_LAYOUT]);
	world *w = world_begin_on(config, &L);
	if (L.physPageAlignedStacks) {
		// Go's first request is never a stack: those that want alignment trust the heap to have room for them when it has grown.
		world_malloc(w, (const uint64_t[FUZZ_MAX_ARGS]){0, 16, WORLD_NOSCAN});
	}
	return w;
}

static void after(void *v) {
	sum.operations++;
	world_after(v);
}

static void end(void *v) {
	const world *w = v;
	sum.programs++;
	sum.compared += w->compared + fuzz_os_placed();
	sum.placed += fuzz_os_placed();
	sum.arenas += (uint64_t)w->h->heapArenas.len;
	gomem_memstats stats;
	gomem_readmemstats(w->h, &stats);
	sum.mallocs += stats.mallocs;
	sum.cycles += w->h->sweepgen / 2;
	sum.refused += !w->compare;
	world_end(v);
}

FUZZ_TARGET(platforms) = {
	.name = "platforms",
	.what = "whole programs on the layout of each platform that Go runs on, as mallocgc",
	.config = {WORLD_CONFIG, {"layout", 1, FUZZ_ANY, FUZZ_PLATFORMS - 1}},
	.ops = world_ops + WORLD_OPS_OS_FAIL,
	.nops = WORLD_OPS - WORLD_OPS_OS_FAIL,
	.max_ops = 16,
	.begin = begin,
	.after = after,
	.end = end,
};
