// fuzz_sizeclass.c: the size class tables and rounding up, against classes derived by rule.
#include "fuzz/fuzz.h"

#include "gomem/mcache.h"
#include "oracle/sizes.h"

typedef struct state {
	oracle_sizes sizes;
	mheap *h; // only its layout is there: rounding up needs no more
} state;

static const gomem_layout *const L = &layout_host;
static const uint64_t largest = 32768, header = 8, headerFrom = sizeof(uintptr_t) == 8 ? 512 : 128;

static uint64_t roundUp(const state *s, uint64_t size, bool noscan) {
	const uint64_t extra = !noscan && size > headerFrom ? header : 0;
	if (size > largest - header) {
		const uint64_t tail = size % 8192;
		return tail == 0 || size > UINT64_MAX - 8191 ? size : size - tail + 8192;
	}
	return size == 0 ? 0 : s->sizes.classes[oracle_sizes_class(&s->sizes, size + extra)].size - extra;
}

static void size(void *v, const uint64_t *a) {
	const state *s = v;
	const uintptr_t bytes = (uintptr_t)a[0];
	for (int noscan = 0; noscan < 2; noscan++) {
		const uint64_t want = roundUp(s, bytes, noscan != 0);
		// What a word does not hold is not rounded.
		fuzz_equal("roundupsize", roundupsize(s->h, bytes, noscan != 0), want > UINTPTR_MAX ? bytes : want);
	}
}

// class tests the entries of one class, and those of both tables that lead to it from a size.
static void class(void *v, const uint64_t *a) {
	const state *s = v;
	const oracle_size_class *c = &s->sizes.classes[a[0]];
	fuzz_equal("number of classes", numSizeClasses, s->sizes.n);
	fuzz_equal("class_to_size", class_to_size[a[0]], c->size);
	fuzz_equal("class_to_allocnpages", class_to_allocnpages[a[0]], c->npages);
	if (a[0] == 0) {
		fuzz_equal("class_to_divmagic", class_to_divmagic[0], 0);
	}
}

static void small(void *v, const uint64_t *a) {
	const state *s = v;
	const uint64_t bytes = a[0] * 8;
	fuzz_equal("size_to_class8", size_to_class8[a[0]], bytes == 0 ? 0 : oracle_sizes_class(&s->sizes, bytes));
}

static void medium(void *v, const uint64_t *a) {
	const state *s = v;
	fuzz_equal("size_to_class128", size_to_class128[a[0]], oracle_sizes_class(&s->sizes, 1024 + a[0] * 128));
}

// divide: an offset in a span of the class by the size of its slots, with the multiplication that the allocator does instead.
static void divide(void *v, const uint64_t *a) {
	const state *s = v;
	const uint64_t c = 1 + a[0], offset = a[1] % (s->sizes.classes[c].npages * 8192 + 1);
	fuzz_equal("offset / size", offset * class_to_divmagic[c] >> 32, offset / s->sizes.classes[c].size);
}

static void *begin(const uint64_t *config) {
	(void)config;
	static state s;
	static mheap h;
	if (s.h == NULL) {
		oracle_sizes_make(&s.sizes, 8192, largest);
		h.env.layout = L;
		s.h = &h;
	}
	return &s;
}

static void end(void *v) { (void)v; }

static const fuzz_op_info ops[] = {
	{"size", {{"bytes", 3, FUZZ_SIZE, 0}}, size},
	{"huge", {{"bytes", 8, FUZZ_ANY, 0}}, size},
	{"class", {{"class", 1, FUZZ_ANY, numSizeClasses - 1}}, class},
	{"small", {{"eighth", 1, FUZZ_ANY, 128}}, small},
	{"medium", {{"step", 1, FUZZ_ANY, 248}}, medium},
	{"divide", {{"class", 1, FUZZ_ANY, numSizeClasses - 2}, {"offset", 3, FUZZ_SIZE, 0}}, divide},
};

FUZZ_TARGET(sizeclass) = {
	.name = "sizeclass",
	.what = "size class tables and rounding up against classes derived by rule",
	.ops = ops,
	.nops = sizeof ops / sizeof ops[0],
	.max_ops = 48,
	.begin = begin,
	.end = end,
	.small = true,
};
