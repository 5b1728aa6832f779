// gen_sizeclasses.c: computes the size classes and writes gomem/sizeclasses.h to standard output.
//
// Ports _mkmalloc/mksizeclasses.go. The rules:
//   1. Sizes are tried in steps of an alignment that grows with them (8; 16 from 32; an eighth from 128; 256 from 2048).
//   2. A span has the fewest pages that leave at most 1/8 of it unused at its end.
//   3. A size that gives as many objects a span as the class before replaces it: there is no use for both.
//   4. Each class then grows as far as its span allows, in steps of largeSizeDiv.
// Invariant: each table entry is recomputed by brute force before anything is printed.
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "gomem/layout.h"

enum { minHeapAlign = 8, lineWidth = 116 };

typedef struct sizeClass {
	uint64_t size;
	uint64_t npages;
} sizeClass;

typedef struct classTable {
	const gomem_layout *L;
	unsigned n;
	sizeClass class[numSizeClasses];
} classTable;

static _Noreturn void fail(const char *why, uint64_t n) {
	(void)fprintf(stderr, "gen_sizeclasses: %s (%llu)\n", why, (unsigned long long)n);
	exit(1);
}

static bool isPowerOfTwo(uint64_t x) { return x != 0 && (x & (x - 1)) == 0; }

static uint64_t nextAlign(uint64_t size, uint64_t align) {
	if (!isPowerOfTwo(size)) {
		return align;
	}
	if (size >= 2048) {
		return 256;
	}
	if (size >= 128) {
		return size / 8;
	}
	return size >= 32 ? 16 : align;
}

static uint64_t spanBytes(const classTable *t, const sizeClass *c) { return c->npages * layout_pageSize(t->L); }

static uint64_t objects(const classTable *t, const sizeClass *c) { return spanBytes(t, c) / c->size; }

// spanBytesFor is rule 2.
static uint64_t spanBytesFor(const classTable *t, uint64_t size) {
	uint64_t n = layout_pageSize(t->L);
	while (n % size > n / 8) {
		n += layout_pageSize(t->L);
	}
	return n;
}

static void addClass(classTable *t, uint64_t size) {
	sizeClass c = {.size = size, .npages = spanBytesFor(t, size) / layout_pageSize(t->L)};
	sizeClass *last = &t->class[t->n - 1];
	if (t->n > 1 && last->npages == c.npages && objects(t, last) == objects(t, &c)) {
		last->size = size;
		return;
	}
	if (t->n == numSizeClasses) {
		fail("more size classes than layout.h allows, at size", size);
	}
	t->class[t->n++] = c;
}

static void widenClass(const classTable *t, sizeClass *c) {
	uint64_t widest = spanBytes(t, c) / objects(t, c) / t->L->largeSizeDiv * t->L->largeSizeDiv;
	if (widest > c->size) {
		c->size = widest;
	}
}

static uint32_t divMagic(const sizeClass *c) { return c->size == 0 ? 0 : UINT32_MAX / (uint32_t)c->size + 1; }

// checkDivMagic: offset / size == offset * magic >> 32 for each offset in the span and its end.
static void checkDivMagic(const classTable *t, const sizeClass *c) {
	for (uint64_t n = 0; n <= spanBytes(t, c); n++) {
		if ((n * divMagic(c)) >> 32 != n / c->size) {
			fail("32 bits are not enough to divide by size", c->size);
		}
	}
}

static classTable makeClasses(const gomem_layout *L) {
	classTable t = {.L = L, .n = 1}; // class 0: large objects
	uint64_t align = minHeapAlign;
	for (uint64_t size = align; size <= L->maxSmallSize; size += align) {
		align = nextAlign(size, align);
		addClass(&t, size);
	}
	if (t.n != numSizeClasses) {
		fail("number of size classes", t.n);
	}
	for (unsigned i = 1; i < t.n; i++) {
		widenClass(&t, &t.class[i]);
		checkDivMagic(&t, &t.class[i]);
	}
	return t;
}

static unsigned sizeToClass(const classTable *t, uint64_t size) {
	for (unsigned i = 0; i < t->n; i++) {
		if (t->class[i].size >= size) {
			return i;
		}
	}
	fail("no class for size", size);
}

static uint64_t maxObjects(const classTable *t) {
	uint64_t most = 0;
	for (unsigned i = 1; i < t->n; i++) {
		uint64_t n = objects(t, &t->class[i]);
		most = n > most ? n : most;
	}
	return most;
}

static uint64_t maxPages(const classTable *t) {
	uint64_t most = 0;
	for (unsigned i = 1; i < t->n; i++) {
		most = t->class[i].npages > most ? t->class[i].npages : most;
	}
	return most;
}

// wasteBasisPoints: the part of a span that is lost in the worst case (each object one byte above the class before), in 1/10000.
static uint64_t wasteBasisPoints(const classTable *t, unsigned i) {
	const sizeClass *c = &t->class[i];
	uint64_t perObject = c->size - t->class[i - 1].size - 1;
	uint64_t tail = spanBytes(t, c) % c->size;
	return ((perObject * objects(t, c) + tail) * 10000 + spanBytes(t, c) / 2) / spanBytes(t, c);
}

static void printOverview(const classTable *t) {
	printf("//  class   size   span  objects  tail  worst waste\n");
	for (unsigned i = 1; i < t->n; i++) {
		const sizeClass *c = &t->class[i];
		uint64_t waste = wasteBasisPoints(t, i);
		printf("//  %5u  %5llu  %5llu  %7llu  %4llu  %8llu.%02llu%%\n", i, (unsigned long long)c->size,
			(unsigned long long)spanBytes(t, c), (unsigned long long)objects(t, c),
			(unsigned long long)(spanBytes(t, c) % c->size), (unsigned long long)(waste / 100),
			(unsigned long long)(waste % 100));
	}
}

typedef uint64_t (*entryFunc)(const classTable *t, unsigned i);

static uint64_t entrySize(const classTable *t, unsigned i) { return t->class[i].size; }

static uint64_t entryNpages(const classTable *t, unsigned i) { return t->class[i].npages; }

static uint64_t entryMagic(const classTable *t, unsigned i) { return divMagic(&t->class[i]); }

static uint64_t entrySmall(const classTable *t, unsigned i) { return sizeToClass(t, i * t->L->smallSizeDiv); }

static uint64_t entryLarge(const classTable *t, unsigned i) {
	return sizeToClass(t, t->L->smallSizeMax + i * t->L->largeSizeDiv);
}

static void printTable(const classTable *t, const char *type, const char *name, uint64_t n, entryFunc entry) {
	printf("\nstatic const %s %s[%llu] = {", type, name, (unsigned long long)n);
	int column = lineWidth;
	for (unsigned i = 0; i < n; i++) {
		char text[32];
		int len = snprintf(text, sizeof text, "%llu,", (unsigned long long)entry(t, i));
		if (column + 1 + len > lineWidth) {
			printf("\n\t%s", text);
			column = 4 + len;
			continue;
		}
		printf(" %s", text);
		column += 1 + len;
	}
	printf("\n};\n");
}

int main(void) {
	const gomem_layout *L = &layout_linux_amd64_go126;
	const classTable t = makeClasses(L);
	printf(
		"// sizeclasses.h (layer 0): the size classes. Generated by tools/gen_sizeclasses.c: do not edit.\n//\n"
		"// Ports internal/runtime/gc/sizeclasses.go. Class 0 stands for large objects. Invariants:\n"
		"//   size <= %llu:  class_to_size[size_to_class8[(size + %llu) / %llu]] is the smallest class >= size\n"
		"//   above that:    class_to_size[size_to_class128[(size - %llu + %llu) / %llu]] is the smallest class >= size\n"
		"//   offset / class_to_size[c] == offset * class_to_divmagic[c] >> 32 for each offset in a span of class c\n//\n",
		(unsigned long long)(L->smallSizeMax - 8), (unsigned long long)(L->smallSizeDiv - 1),
		(unsigned long long)L->smallSizeDiv, (unsigned long long)L->smallSizeMax,
		(unsigned long long)(L->largeSizeDiv - 1), (unsigned long long)L->largeSizeDiv);
	printOverview(&t);
	printf("#ifndef GOMEM_SIZECLASSES_H\n#define GOMEM_SIZECLASSES_H\n\n#include <stdint.h>\n\n");
	printf("enum { minHeapAlign = %d, maxObjsPerSpan = %llu, maxSizeClassNPages = %llu };\n", minHeapAlign,
		(unsigned long long)maxObjects(&t), (unsigned long long)maxPages(&t));
	printTable(&t, "uint16_t", "class_to_size", t.n, entrySize);
	printTable(&t, "uint8_t", "class_to_allocnpages", t.n, entryNpages);
	printTable(&t, "uint32_t", "class_to_divmagic", t.n, entryMagic);
	printTable(&t, "uint8_t", "size_to_class8", L->smallSizeMax / L->smallSizeDiv + 1, entrySmall);
	printTable(
		&t, "uint8_t", "size_to_class128", (L->maxSmallSize - L->smallSizeMax) / L->largeSizeDiv + 1, entryLarge);
	printf("\n#endif\n");
	return 0;
}
