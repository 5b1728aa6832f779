// fuzz_pagealloc.c: the page allocator against a flat array of pages: heaps of several spaces, near and TBs apart; memory for
// metadata runs out.
#include "fuzz/fuzz_pages.h"

static void find(void *v, const uint64_t *a) {
	pagesWorld *w = v;
	const gomem_layout *L = worldLayout(w);
	if (chunkIndex(L, w->p.searchAddr.a) >= w->p.end) {
		return; // known to be full: nobody searches then
	}
	const uintptr_t npages = (uintptr_t)(1 + a[0]);
	offAddr searchAddr = {0};
	lockHeap(w);
	const uintptr_t addr = pageAlloc_find(&w->e.env, &w->p, npages, &searchAddr);
	unlockHeap(w);
	fuzz_equal("pageAlloc_find", addr, oracle_pages_find(w->o, npages));
	if (addr == 0) {
		fuzz_equal("searchAddr if nothing was found", searchAddr.a, maxOffAddr(L).a);
		return;
	}
	fuzz_check(searchAddr.a <= oracle_pages_find(w->o, 1), "pageAlloc_find: a free page lies below searchAddr");
}

static void hugePages(void *v, const uint64_t *a) {
	(void)a;
	pagesWorld *w = v;
	pageAlloc_enableChunkHugePages(&w->e.env, &w->p);
}

static void fail(void *v, const uint64_t *a) {
	(void)v;
	fuzz_os_fail(a[0], a[1]);
}

static void *begin(const uint64_t *config) {
	pagesWorld *w = worldBegin(config, true);
	if (config[3] > 0) {
		worldGrow(w, (uint64_t[]){0, 0, 0, config[3] - 1});
	}
	return w;
}

static const fuzz_op_info ops[] = {
	{"grow", GROW_ARGS(2, longGap), worldGrow},
	{"growLarge", GROW_ARGS(5, longGap), worldGrowLarge},
	{"alloc", {{"pages", 2, FUZZ_PAGES, 9999}}, worldAlloc},
	{"allocOne", {{NULL, 0, 0, 0}}, worldAlloc},
	{"free", FREE_ARGS, worldFree},
	{"range", PLACE_ARGS, worldRange},
	{"find", {{"pages", 2, FUZZ_PAGES, 9999}}, find},
	{"pad", PLACE_ARGS, worldPad},
	{"step", SCAV_ARGS, worldStep},
	{"nextGen", {{NULL, 0, 0, 0}}, worldNextGen},
	{"hugePages", {{NULL, 0, 0, 0}}, hugePages},
	{"fail", {{"n", 1, FUZZ_ANY, 20}, {"more", 1, FUZZ_ANY, 3}}, fail},
};

FUZZ_TARGET(pagealloc) = {
	.name = "pagealloc",
	.what = "the page allocator against a flat array of pages",
	.config = {PAGES_CONFIG, {"chunks", 1, FUZZ_ANY, 4}},
	.ops = ops,
	.nops = sizeof ops / sizeof ops[0],
	.max_ops = 64,
	.begin = begin,
	.after = worldAfter,
	.end = worldEnd,
};
