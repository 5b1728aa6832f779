// mksizeclasses.h (layer 0): computes size classes from the rules and the constants of a layout.
//
// Ports _mkmalloc/mksizeclasses.go. tools/gen_sizeclasses.c writes gomem/sizeclasses.h with it; nothing of an allocator calls it. The rules:
//   1. Sizes are tried in steps of an alignment that grows with them.
//   2. A span has the fewest pages that leave at most 1/8 (tailDiv) of it unused at its end.
//   3. A size that gives as many objects a span as the class before replaces it: there is no use for both.
//   4. Each class then grows as far as its span allows, in steps of largeSizeDiv.
//
// Invariants of what it makes (sizeClasses_check tests them; options whose classes break one are refused):
//   class[i].size < class[i + 1].size, and the last one's >= maxSmallSize
//   sizeClasses_lookup(t, size) is the smallest class that holds size, for each size <= maxSmallSize
//   offset / size == offset * magic >> 32 for each offset in a span and its end
//   all entries fit the tables of sizeclasses.h: size 16 bits, npages and class numbers 8
#ifndef GOMEM_MKSIZECLASSES_H
#define GOMEM_MKSIZECLASSES_H

#ifdef GOMEM_VARIANT
#include "gomem/variant.h"
#endif

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct sizeClassOptions {
	uint64_t pageSize;
	uint64_t minHeapAlign;
	uint64_t maxSmallSize; // largest size that has a class
	uint64_t smallSizeDiv; // sizes up to smallSizeMax are looked up in steps of this, and no two classes lie within one
	uint64_t smallSizeMax;
	uint64_t largeSizeDiv; // those above in steps of this
	// How the alignment grows: from a power of two on that is not below one of these.
	uint64_t align16From;     // to 16
	uint64_t alignEighthFrom; // to an eighth of the size
	uint64_t alignMaxFrom;    // to alignMax
	uint64_t alignMax;
	uint64_t tailDiv; // at most this part of a span is unused at its end; 0: Go's 8
} sizeClassOptions;

enum { maxMadeClasses = 256 };

typedef struct sizeClass {
	uint64_t size;
	uint64_t npages;
} sizeClass;

typedef struct sizeClasses {
	sizeClassOptions opt;
	unsigned n; // with class 0, which stands for large objects
	sizeClass class[maxMadeClasses];
} sizeClasses;

// sizeClassOptions_go gives Go's options: those of linux/amd64, go1.26.
sizeClassOptions sizeClassOptions_go(void);
// makeClasses computes the classes. NULL: done; else why these options give none, and *at the size or number at which it was seen.
const char *makeClasses(const sizeClassOptions *opt, sizeClasses *t, uint64_t *at);
// sizeClasses_check tests the invariants; results as those of makeClasses.
const char *sizeClasses_check(const sizeClasses *t, uint64_t *at);

// The entries of the tables. A size is looked up in small if it is at most smallSizeMax - smallSizeDiv, else in large.
uint32_t sizeClasses_divMagic(const sizeClasses *t, unsigned class);
unsigned sizeClasses_small(const sizeClasses *t, uint64_t i);
unsigned sizeClasses_large(const sizeClasses *t, uint64_t i);
unsigned sizeClasses_lookup(const sizeClasses *t, uint64_t size);
static inline uint64_t sizeClasses_smallLen(const sizeClasses *t) {
	return t->opt.smallSizeMax / t->opt.smallSizeDiv + 1;
}
static inline uint64_t sizeClasses_largeLen(const sizeClasses *t) {
	return (t->opt.maxSmallSize - t->opt.smallSizeMax) / t->opt.largeSizeDiv + 1;
}

static inline uint64_t sizeClasses_spanBytes(const sizeClasses *t, unsigned class) {
	return t->class[class].npages * t->opt.pageSize;
}
static inline uint64_t sizeClasses_objects(const sizeClasses *t, unsigned class) {
	return sizeClasses_spanBytes(t, class) / t->class[class].size;
}

#endif
