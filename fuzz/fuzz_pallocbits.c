// fuzz_pallocbits.c: the bitmap of one chunk against 512 bools.
//
// This is the example of fuzz/README.md: the shortest target that has everything.
#include "fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "gomem/mpagealloc.h"

typedef struct state {
	pallocBits bits;
	bool used[pallocChunkPages];
} state;

static const gomem_layout *const L = &layout_host;

// cut makes 1 + more pages from page i end within the chunk.
static unsigned cut(unsigned i, uint64_t more) {
	return more < pallocChunkPages - i ? 1 + (unsigned)more : pallocChunkPages - i;
}

static void setPages(state *s, unsigned i, unsigned n, bool used) { memset(&s->used[i], used, n); }

static void allocRange(void *v, const uint64_t *a) {
	state *s = v;
	const unsigned i = (unsigned)a[0], n = cut(i, a[1]);
	pallocBits_allocRange(&s->bits, i, n);
	setPages(s, i, n, true);
}

static void freeRange(void *v, const uint64_t *a) {
	state *s = v;
	const unsigned i = (unsigned)a[0], n = cut(i, a[1]);
	pallocBits_free(&s->bits, i, n);
	setPages(s, i, n, false);
}

static unsigned firstFit(const state *s, unsigned from, unsigned n) {
	unsigned run = 0;
	for (unsigned i = from; i < pallocChunkPages; i++) {
		run = s->used[i] ? 0 : run + 1;
		if (run == n) {
			return i + 1 - n;
		}
	}
	return ~0u;
}

// find searches from the 64 pages that a page lies in.
static void find(void *v, const uint64_t *a) {
	state *s = v;
	const unsigned block = (unsigned)a[0] / 64 * 64, n = 1 + (unsigned)a[1], first = firstFit(s, block, 1);
	const unsigned searchIdx = first < block + 64 ? first : block; // all pages of the block below it are in use
	unsigned newSearchIdx;
	fuzz_equal("pallocBits_find", pallocBits_find(&s->bits, n, searchIdx, &newSearchIdx), firstFit(s, block, n));
	fuzz_equal("first free page", newSearchIdx, first);
}

// findRange64 searches a word for ones.
static void findRange64(void *v, const uint64_t *a) {
	(void)v;
	unsigned run = 0, want = 64;
	for (unsigned i = 0; i < 64 && want == 64; i++) {
		run = a[0] >> i & 1 ? run + 1 : 0;
		want = run == 1 + a[1] ? i - (unsigned)a[1] : 64;
	}
	fuzz_equal("findBitRange64", findBitRange64(a[0], 1 + (unsigned)a[1]), want);
}

// block64 takes or frees some of 64 pages at once.
static void block64(void *v, const uint64_t *a) {
	state *s = v;
	const unsigned block = (unsigned)a[0] * 64;
	if (a[2] != 0) {
		pallocBits_allocPages64(&s->bits, block, a[1]);
	} else {
		pageBits_clearBlock64(&s->bits.b, block, a[1]);
	}
	for (unsigned i = 0; i < 64; i++) {
		setPages(s, block + i, a[1] >> i & 1, a[2] != 0);
		fuzz_equal("page of a block", pallocBits_pages64(&s->bits, block) >> i & 1, s->used[block + i]);
	}
}

static void all(void *v, const uint64_t *a) {
	state *s = v;
	if (a[0] != 0) {
		pallocBits_allocAll(&s->bits);
	} else {
		pallocBits_freeAll(&s->bits);
	}
	setPages(s, 0, pallocChunkPages, a[0] != 0);
}

static void popcnt(void *v, const uint64_t *a) {
	state *s = v;
	const unsigned i = (unsigned)a[0], n = cut(i, a[1]);
	unsigned want = 0;
	for (unsigned k = i; k < i + n; k++) {
		want += s->used[k];
	}
	fuzz_equal("popcntRange", pageBits_popcntRange(&s->bits.b, i, n), want);
}

static void *begin(const uint64_t *config) {
	(void)config;
	state *s = calloc(1, sizeof *s);
	fuzz_check(s != NULL, "out of memory");
	return s;
}

static void after(void *v) {
	const state *s = v;
	unsigned start = 0, max = 0, run = 0;
	for (unsigned i = 0; i < pallocChunkPages; i++) {
		fuzz_equal("page in use", pageBits_get(&s->bits.b, i), s->used[i]);
		run = s->used[i] ? 0 : run + 1;
		max = run > max ? run : max;
		start += run == i + 1;
	}
	const pallocSum sum = pallocBits_summarize(L, &s->bits);
	fuzz_equal("free pages at the start", pallocSum_start(L, sum), start);
	fuzz_equal("longest run", pallocSum_max(L, sum), max);
	fuzz_equal("free pages at the end", pallocSum_end(L, sum), run);
}

#define PAGE                                                                                                           \
	{ "page", 2, FUZZ_INDEX, pallocChunkPages - 1 }
#define MORE                                                                                                           \
	{ "more", 2, FUZZ_PAGES, pallocChunkPages - 1 }

static const fuzz_op_info ops[] = {
	{"alloc", {PAGE, MORE}, allocRange},
	{"free", {PAGE, MORE}, freeRange},
	{"find", {PAGE, MORE}, find},
	{"findRange64", {{"word", 8, FUZZ_WORD, 0}, {"more", 1, FUZZ_ANY, 63}}, findRange64},
	{"block64", {{"block", 1, FUZZ_ANY, 7}, {"pages", 8, FUZZ_WORD, 0}, {"use", 1, FUZZ_ANY, 1}}, block64},
	{"all", {{"use", 1, FUZZ_ANY, 1}}, all},
	{"popcnt", {PAGE, MORE}, popcnt},
};

FUZZ_TARGET(pallocbits) = {
	.name = "pallocbits",
	.what = "the bitmap of one chunk against 512 bools",
	.ops = ops,
	.nops = sizeof ops / sizeof ops[0],
	.max_ops = 48,
	.begin = begin,
	.after = after,
	.end = free,
	.small = true,
};
