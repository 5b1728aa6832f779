// mksizeclasses.c (layer 0): see mksizeclasses.h. Ports makeClasses and computeDivMagic of _mkmalloc/mksizeclasses.go.
#include "gomem/mksizeclasses.h"

#include "gomem/layout.h"

enum { maxSize16 = UINT16_MAX, maxPages8 = UINT8_MAX };
static const uint64_t maxPageSize = 1 << 20; // so that bytes of a span fit 32 bits

static bool isPowerOfTwo(uint64_t x) { return x != 0 && (x & (x - 1)) == 0; }

sizeClassOptions sizeClassOptions_go(void) {
	const gomem_layout *L = &layout_host;
	return (sizeClassOptions){
		.pageSize = layout_pageSize(L),
		.minHeapAlign = 8,
		.maxSmallSize = L->maxSmallSize,
		.smallSizeDiv = L->smallSizeDiv,
		.smallSizeMax = L->smallSizeMax,
		.largeSizeDiv = L->largeSizeDiv,
		.align16From = 32,
		.alignEighthFrom = 128,
		.alignMaxFrom = 2048,
		.alignMax = 256,
	};
}

// refuse says why there are no classes.
static const char *refuse(uint64_t *at, uint64_t n, const char *why) {
	*at = n;
	return why;
}

static const char *checkOptions(const sizeClassOptions *o, uint64_t *at) {
	if (!isPowerOfTwo(o->pageSize) || o->pageSize > maxPageSize) {
		return refuse(at, o->pageSize, "page size");
	}
	if (!isPowerOfTwo(o->minHeapAlign)) {
		return refuse(at, o->minHeapAlign, "an alignment must be a power of two");
	}
	if (!isPowerOfTwo(o->alignMax)) {
		return refuse(at, o->alignMax, "an alignment must be a power of two");
	}
	if (o->maxSmallSize > maxSize16) {
		return refuse(at, o->maxSmallSize, "a size class must fit 16 bits");
	}
	if (!isPowerOfTwo(o->smallSizeDiv) || !isPowerOfTwo(o->largeSizeDiv) || o->smallSizeDiv > o->largeSizeDiv) {
		return refuse(
			at, o->smallSizeDiv, "the steps of a table must be powers of two, the larger sizes' not below the others'");
	}
	if (o->smallSizeMax % o->smallSizeDiv != 0 || o->smallSizeMax < o->smallSizeDiv ||
		o->smallSizeMax > o->maxSmallSize || (o->maxSmallSize - o->smallSizeMax) % o->largeSizeDiv != 0) {
		return refuse(at, o->smallSizeMax, "the tables do not meet, or do not end at the largest small size");
	}
	return NULL;
}

static uint64_t nextAlign(const sizeClassOptions *o, uint64_t size, uint64_t align) {
	if (!isPowerOfTwo(size)) {
		return align;
	}
	if (size >= o->alignMaxFrom) {
		return o->alignMax;
	}
	if (size >= o->alignEighthFrom) {
		return size / 8;
	}
	return size >= o->align16From ? 16 : align;
}

// pagesFor is rule 2. 0: more than a table can say.
static uint64_t pagesFor(const sizeClassOptions *o, uint64_t size) {
	uint64_t npages = 1;
	const uint64_t div = o->tailDiv == 0 ? 8 : o->tailDiv;
	while (npages <= maxPages8 && npages * o->pageSize % size > npages * o->pageSize / div) {
		npages++;
	}
	return npages <= maxPages8 ? npages : 0;
}

static const char *addClass(sizeClasses *t, uint64_t size, uint64_t *at) {
	const sizeClass c = {.size = size, .npages = pagesFor(&t->opt, size)};
	if (c.npages == 0) {
		return refuse(at, size, "a span of more pages than fit 8 bits");
	}
	sizeClass *last = &t->class[t->n - 1];
	const uint64_t bytes = c.npages * t->opt.pageSize;
	if (t->n > 1 && last->npages == c.npages && bytes / last->size == bytes / size) {
		last->size = size;
		return NULL;
	}
	if (t->n == maxMadeClasses) {
		return refuse(at, size, "more size classes than fit 8 bits");
	}
	t->class[t->n++] = c;
	return NULL;
}

static void widenClass(sizeClasses *t, unsigned i) {
	const uint64_t div = t->opt.largeSizeDiv;
	const uint64_t widest = sizeClasses_spanBytes(t, i) / sizeClasses_objects(t, i) / div * div;
	if (widest > t->class[i].size) {
		t->class[i].size = widest;
	}
}

const char *makeClasses(const sizeClassOptions *opt, sizeClasses *t, uint64_t *at) {
	*t = (sizeClasses){.opt = *opt, .n = 1};
	const char *why = checkOptions(opt, at);
	uint64_t align = opt->minHeapAlign;
	for (uint64_t size = align; why == NULL && size <= opt->maxSmallSize; size += align) {
		align = nextAlign(opt, size, align);
		why = align == 0 ? refuse(at, size, "an eighth of this size is no alignment") : addClass(t, size, at);
	}
	for (unsigned i = 1; why == NULL && i < t->n; i++) {
		widenClass(t, i);
	}
	return why != NULL ? why : sizeClasses_check(t, at);
}

// ---- tables

uint32_t sizeClasses_divMagic(const sizeClasses *t, unsigned class) {
	const uint64_t size = t->class[class].size;
	return size == 0 ? 0 : UINT32_MAX / (uint32_t)size + 1;
}

static unsigned sizeToClass(const sizeClasses *t, uint64_t size) {
	unsigned i = 0;
	while (i < t->n && t->class[i].size < size) {
		i++;
	}
	return i;
}

unsigned sizeClasses_small(const sizeClasses *t, uint64_t i) { return sizeToClass(t, i * t->opt.smallSizeDiv); }

unsigned sizeClasses_large(const sizeClasses *t, uint64_t i) {
	return sizeToClass(t, t->opt.smallSizeMax + i * t->opt.largeSizeDiv);
}

unsigned sizeClasses_lookup(const sizeClasses *t, uint64_t size) {
	const sizeClassOptions *o = &t->opt;
	if (size + o->smallSizeDiv <= o->smallSizeMax) {
		return sizeClasses_small(t, (size + o->smallSizeDiv - 1) / o->smallSizeDiv);
	}
	// Sizes just below smallSizeMax wrap around, and back.
	return sizeClasses_large(t, (size - o->smallSizeMax + o->largeSizeDiv - 1) / o->largeSizeDiv);
}

// ---- invariants

// The lookup and the true answer both rise with the size: where each class begins and ends they agree, so they agree between.
static const char *checkLookup(const sizeClasses *t, unsigned i, uint64_t *at) {
	const uint64_t max = t->opt.maxSmallSize, size = t->class[i].size < max ? t->class[i].size : max;
	if (sizeClasses_lookup(t, t->class[i - 1].size + 1) != i || sizeClasses_lookup(t, size) != i) {
		return refuse(at, size, "the tables do not find the class of a size");
	}
	return NULL;
}

// magic * size is 2^32 or a little more. So a product is never too small; it is too large by what grows with the offset, which matters most
// in the last byte of an object: the last one decides, and the end of the span.
static const char *checkDivMagic(const sizeClasses *t, unsigned i, uint64_t *at) {
	const uint64_t size = t->class[i].size, magic = sizeClasses_divMagic(t, i);
	const uint64_t n = sizeClasses_objects(t, i), last = n * size - 1, end = sizeClasses_spanBytes(t, i);
	if (magic * size >> 32 != 1 || last * magic >> 32 != n - 1 || end * magic >> 32 != n) {
		return refuse(at, size, "32 bits are not enough to divide by this size");
	}
	return NULL;
}

const char *sizeClasses_check(const sizeClasses *t, uint64_t *at) {
	if (t->class[t->n - 1].size < t->opt.maxSmallSize) {
		return refuse(at, t->class[t->n - 1].size, "no class for the largest small size");
	}
	for (unsigned i = 1; i < t->n; i++) {
		const uint64_t size = t->class[i].size;
		if (size <= t->class[i - 1].size || t->class[i - 1].size >= t->opt.maxSmallSize) {
			return refuse(at, size, "a class that no size needs");
		}
		if (size > maxSize16) {
			return refuse(at, size, "a size class must fit 16 bits");
		}
		const char *why = checkLookup(t, i, at);
		why = why != NULL ? why : checkDivMagic(t, i, at);
		if (why != NULL) {
			return why;
		}
	}
	return NULL;
}
