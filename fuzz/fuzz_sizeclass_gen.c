// fuzz_sizeclass_gen.c: the generator of size classes with any options, against the oracle's rule and against brute force.
//
//   accepted                         -> every entry of every table is right, size by size and object by object
//   the options are Go's but for the page size and the largest small size
//                                    -> the classes are the oracle's; refused only if those break what the tables need
//   refused                          -> it says why
#include "fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "gomem/mksizeclasses.h"
#include "oracle/sizes.h"

enum { OPTIONS = 10, MOST_ORACLE = 32768 }; // those that Go has

typedef struct state {
	sizeClassOptions opt;
	sizeClasses t;
} state;

static uint64_t *option(sizeClassOptions *o, uint64_t i) {
	uint64_t *all[OPTIONS] = {&o->pageSize, &o->maxSmallSize, &o->minHeapAlign, &o->smallSizeDiv, &o->smallSizeMax,
		&o->largeSizeDiv, &o->align16From, &o->alignEighthFrom, &o->alignMaxFrom, &o->alignMax};
	return all[i];
}

static void *begin(const uint64_t *config) {
	(void)config;
	static state s;
	s.opt = sizeClassOptions_go();
	return &s;
}

static void set(void *v, const uint64_t *a) { *option(&((state *)v)->opt, a[0]) = a[1]; }

static void power(void *v, const uint64_t *a) { *option(&((state *)v)->opt, a[0]) = (uint64_t)1 << a[1]; }

static void more(void *v, const uint64_t *a) { *option(&((state *)v)->opt, a[0]) += a[1] - 128; }

// world sets what the oracle can be asked about.
static void world(void *v, const uint64_t *a) {
	state *s = v;
	s->opt = sizeClassOptions_go();
	s->opt.pageSize = (uint64_t)1 << (8 + a[0]);
	s->opt.maxSmallSize = 1024 + 128 * a[1];
}

// ---- brute force

static unsigned smallest(const sizeClasses *t, uint64_t size) {
	unsigned i = 0;
	while (i < t->n && t->class[i].size < size) {
		i++;
	}
	return i;
}

// lookUp finds the class of a size as Go does, in a table whose entries are made here.
static unsigned lookUp(const sizeClasses *t, uint64_t size) {
	const sizeClassOptions *o = &t->opt;
	if (size + o->smallSizeDiv <= o->smallSizeMax) {
		const uint64_t i = (size + o->smallSizeDiv - 1) / o->smallSizeDiv, entry = smallest(t, i * o->smallSizeDiv);
		fuzz_check(i < sizeClasses_smallLen(t), "the table of small sizes has this entry");
		fuzz_equal("entry of the table of small sizes", sizeClasses_small(t, i), entry);
		return (unsigned)entry;
	}
	const uint64_t over = size <= o->smallSizeMax ? 0 : size - o->smallSizeMax;
	const uint64_t i = (over + o->largeSizeDiv - 1) / o->largeSizeDiv,
				   entry = smallest(t, o->smallSizeMax + i * o->largeSizeDiv);
	fuzz_check(i < sizeClasses_largeLen(t), "the table of large sizes has this entry");
	fuzz_equal("entry of the table of large sizes", sizeClasses_large(t, i), entry);
	return (unsigned)entry;
}

// checkSizes looks at the sizes around which the class changes, and some between: what is found rises with the size, as it should.
static void checkSizes(const sizeClasses *t) {
	const uint64_t max = t->opt.maxSmallSize;
	fuzz_check(t->class[t->n - 1].size >= max, "the largest small size has a class");
	for (unsigned i = 1; i < t->n; i++) {
		const uint64_t first = t->class[i - 1].size + 1, last = t->class[i].size < max ? t->class[i].size : max;
		const uint64_t sizes[] = {first, first + (last - first) / 2, last};
		for (unsigned k = 0; k < 3; k++) {
			fuzz_equal("class of a size", lookUp(t, sizes[k]), i);
			fuzz_equal("class that is looked up", sizeClasses_lookup(t, sizes[k]), i);
		}
	}
}

// checkDivision looks at the offsets where the quotient changes: both sides rise with the offset.
static void checkDivision(const sizeClasses *t, unsigned i) {
	const uint64_t size = t->class[i].size, bytes = t->class[i].npages * t->opt.pageSize;
	const uint64_t magic = sizeClasses_divMagic(t, i);
	for (uint64_t end = size; end <= bytes; end += size) {
		if (((end - 1) * magic) >> 32 != (end - 1) / size || (end * magic) >> 32 != end / size) {
			fuzz_fail("offset %llu / %llu by multiplication", (unsigned long long)end, (unsigned long long)size);
		}
	}
	fuzz_equal("number of the last byte", (bytes * magic) >> 32, bytes / size);
}

static void checkClass(const sizeClasses *t, unsigned i) {
	const sizeClass *c = &t->class[i];
	const uint64_t bytes = c->npages * t->opt.pageSize;
	fuzz_check(c->size > t->class[i - 1].size && c->size <= UINT16_MAX && c->npages > 0 && c->npages <= UINT8_MAX,
		"a class is larger than the one before, and fits the tables");
	fuzz_check(bytes % c->size <= bytes / 8, "at most 1/8 of a span is unused at its end");
	fuzz_check(bytes / (bytes / c->size) < c->size + t->opt.largeSizeDiv, "a class is as large as its span allows");
	checkDivision(t, i);
}

// ---- the oracle

static bool sameRule(const sizeClassOptions *o) {
	sizeClassOptions go = sizeClassOptions_go();
	go.pageSize = o->pageSize;
	go.maxSmallSize = o->maxSmallSize;
	const bool power2 = o->pageSize != 0 && (o->pageSize & (o->pageSize - 1)) == 0;
	return memcmp(&go, o, sizeof go) == 0 && power2 && o->pageSize >= 256 && o->pageSize <= 1 << 20 &&
		o->maxSmallSize >= 1024 && o->maxSmallSize <= MOST_ORACLE && o->maxSmallSize % 128 == 0;
}

// usable says whether the oracle's classes fit Go's tables.
static bool usable(const oracle_sizes *s) {
	for (unsigned i = 1; i < s->n; i++) {
		const oracle_size_class *c = &s->classes[i];
		const bool aligned = c->size % (c->size > 1024 ? 128 : 8) == 0;
		const bool needed = c->size > c[-1].size && c[-1].size < s->max_small;
		if (c->npages > UINT8_MAX || !aligned || !needed) {
			return false;
		}
		const uint64_t magic = UINT32_MAX / c->size + 1, bytes = c->npages * s->page_size;
		for (uint64_t end = c->size; end <= bytes + c->size; end += c->size) {
			const uint64_t last = end - 1 < bytes ? end - 1 : bytes;
			if ((last * magic) >> 32 != last / c->size) {
				return false;
			}
		}
	}
	return s->classes[s->n - 1].size >= s->max_small;
}

static void checkOracle(const state *s, const char *why) {
	static oracle_sizes o;
	oracle_sizes_make(&o, s->opt.pageSize, s->opt.maxSmallSize);
	if (why != NULL) {
		if (usable(&o)) {
			fuzz_fail("refused (%s), but there are such classes", why);
		}
		return;
	}
	fuzz_equal("classes", s->t.n, o.n);
	for (unsigned i = 1; i < o.n; i++) {
		fuzz_equal("size of a class", s->t.class[i].size, o.classes[i].size);
		fuzz_equal("pages of a span", s->t.class[i].npages, o.classes[i].npages);
	}
}

static void end(void *v) {
	state *s = v;
	uint64_t at = 0;
	const char *why = makeClasses(&s->opt, &s->t, &at);
	fuzz_check(why == NULL || why[0] != 0, "a refusal says why");
	if (sameRule(&s->opt)) {
		checkOracle(s, why);
	}
	if (why != NULL) {
		return;
	}
	for (unsigned i = 1; i < s->t.n; i++) {
		checkClass(&s->t, i);
	}
	checkSizes(&s->t);
}

#define OPTION                                                                                                         \
	{ "option", 1, FUZZ_ANY, OPTIONS - 1 }

static const fuzz_op_info ops[] = {
	{"set", {OPTION, {"value", 8, FUZZ_SIZE, 0}}, set},
	{"power", {OPTION, {"log2", 1, FUZZ_ANY, 63}}, power},
	{"more", {OPTION, {"more128", 1, FUZZ_ANY, 255}}, more},
	{"world", {{"page", 1, FUZZ_ANY, 12}, {"small", 1, FUZZ_ANY, 247}}, world},
};

FUZZ_TARGET(sizeclass_gen) = {
	.name = "sizeclass_gen",
	.what = "size classes computed with any options against the oracle's rule and brute force",
	.ops = ops,
	.nops = sizeof ops / sizeof ops[0],
	.max_ops = 6,
	.begin = begin,
	.end = end,
};
