// fuzz_pallocsum.c: sums of free pages, packed and merged, against bools.
//
// A bool stands for 1 << unit neighbouring pages, so that sums of every level of the tree are made from a few bools, up to the root's:
//   pages of a sum == 1 << (log + unit)   pages of all sums <= 1 << logMaxPackedValue
#include "fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "gomem/mpagealloc.h"

enum { maxLog = 6, maxSums = 8 };

typedef struct state {
	const gomem_layout *L;
	unsigned log, unit, n;
	bool used[maxSums << maxLog];
} state;

typedef struct sum {
	unsigned start, max, end;
} sum;

// sumOf counts free pages in bools [from, from + n).
static sum sumOf(const state *s, unsigned from, unsigned n) {
	sum r = {0};
	unsigned run = 0;
	for (unsigned i = 0; i < n; i++) {
		run = s->used[from + i] ? 0 : run + 1;
		r.max = run > r.max ? run : r.max;
		r.start = run == i + 1 ? run : r.start;
	}
	r.end = run;
	return (sum){r.start << s->unit, r.max << s->unit, r.end << s->unit};
}

// packed packs a sum, and looks at it again.
static pallocSum packed(const state *s, sum x) {
	const pallocSum p = packPallocSum(s->L, x.start, x.max, x.end);
	fuzz_equal("pallocSum_start", pallocSum_start(s->L, p), x.start);
	fuzz_equal("pallocSum_max", pallocSum_max(s->L, p), x.max);
	fuzz_equal("pallocSum_end", pallocSum_end(s->L, p), x.end);
	return p;
}

static void set(void *v, const uint64_t *a) {
	state *s = v;
	const unsigned all = s->n << s->log, i = (unsigned)a[0] % all;
	memset(&s->used[i], a[2] != 0, (size_t)(1 + a[1] < all - i ? 1 + a[1] : all - i));
}

// pack takes any three counts; if the longest run has all pages, so have the others.
static void pack(void *v, const uint64_t *a) {
	state *s = v;
	const unsigned full = 1u << layout_logMaxPackedValue(s->L);
	const sum x = {(unsigned)a[0] % full, (unsigned)a[1] % (full + 1), (unsigned)a[2] % full};
	packed(s, x.max == full ? (sum){full, full, full} : x);
}

static const gomem_layout *flatTree(void) {
	static gomem_layout L;
	L = layout_host;
	L.summaryLevels = 3;
	L.summaryLevelBits = 2;
	L.summaryL0Bits = (uint8_t)(L.heapAddrBits - layout_logChunkBytes(&L) - 2 * 2);
	fuzz_check(layout_check(&L) == NULL, "a layout that cannot be");
	return &L;
}

static void *begin(const uint64_t *config) {
	state *s = calloc(1, sizeof *s);
	fuzz_check(s != NULL, "out of memory");
	s->L = config[3] != 0 ? flatTree() : &layout_host;
	s->log = (unsigned)config[0];
	s->unit = (unsigned)config[1];
	s->n = 1 + (unsigned)config[2];
	while ((uint64_t)s->n << (s->log + s->unit) > (uint64_t)1 << layout_logMaxPackedValue(s->L)) {
		s->unit--;
	}
	return s;
}

static void after(void *v) {
	const state *s = v;
	pallocSum sums[maxSums];
	for (unsigned i = 0; i < s->n; i++) {
		sums[i] = packed(s, sumOf(s, i << s->log, 1u << s->log));
	}
	const sum want = sumOf(s, 0, s->n << s->log);
	const pallocSum merged = mergeSummaries(s->L, sums, s->n, s->log + s->unit);
	fuzz_equal("merged start", pallocSum_start(s->L, merged), want.start);
	fuzz_equal("merged max", pallocSum_max(s->L, merged), want.max);
	fuzz_equal("merged end", pallocSum_end(s->L, merged), want.end);
	fuzz_equal("merged sum", merged, packed(s, want));
}

static const fuzz_op_info ops[] = {
	{"set",
		{{"at", 2, FUZZ_INDEX, (maxSums << maxLog) - 1}, {"more", 2, FUZZ_PAGES, (maxSums << maxLog) - 1},
			{"use", 1, FUZZ_ANY, 1}},
		set},
	{"pack", {{"start", 3, FUZZ_ANY, 0}, {"max", 3, FUZZ_ANY, 0}, {"end", 3, FUZZ_ANY, 0}}, pack},
};

FUZZ_TARGET(pallocsum) = {
	.name = "pallocsum",
	.what = "packed and merged sums of free pages against bools",
	.config =
		{
			{"log", 1, FUZZ_ANY, maxLog},
			{"unit", 1, FUZZ_ANY, 21},
			{"sums", 1, FUZZ_ANY, maxSums - 1},
			{"flat", 1, FUZZ_ANY, 1},
		},
	.ops = ops,
	.nops = sizeof ops / sizeof ops[0],
	.max_ops = 32,
	.begin = begin,
	.after = after,
	.end = free,
	.small = true,
};
