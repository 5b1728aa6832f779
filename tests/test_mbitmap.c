// test_mbitmap.c: free slots, mark bits, and pointer bits, each against its definition.
#include "heaptest.h"

#include "gomem/mbitmap.h"

// ---- free slots

typedef struct bitsFix {
	heapFix f;
	mspan s;
	uint8_t alloc[maxObjsPerSpan / 8 + 8];
} bitsFix;

static void bitsFix_init(bitsFix *b, uint16_t nelems) {
	memset(&b->s, 0, sizeof b->s);
	memset(b->alloc, 0, sizeof b->alloc);
	b->s.nelems = nelems;
	b->s.allocBits = b->alloc;
}

// takeAll takes every free slot and compares each with a linear search.
static void takeAll(bitsFix *b) {
	mspan_refillAllocCache(&b->s, 0);
	for (unsigned i = 0; i <= b->s.nelems; i++) {
		if (i < b->s.nelems && (b->alloc[i / 8] >> i % 8 & 1) != 0) {
			assert_false(mspan_isFree(&b->s, i));
			continue;
		}
		assert_true(i == b->s.nelems || mspan_isFree(&b->s, i));
		assert_int_equal(mspan_nextFreeIndex(b->f.h, &b->s), i);
		if (i < b->s.nelems) {
			assert_false(mspan_isFree(&b->s, i));
			assert_int_equal(b->s.freeindex, i + 1);
		}
	}
	assert_int_equal(b->s.freeindex, b->s.nelems);
	assert_int_equal(mspan_nextFreeIndex(b->f.h, &b->s), b->s.nelems);
}

static void test_nextFreeIndex(void **state) {
	(void)state;
	bitsFix b;
	heapFix_init(&b.f);
	uint64_t rnd = 1;
	static const uint16_t sizes[] = {1, 2, 8, 63, 64, 65, 127, 128, 129, 504, 511, 512, 1008, 1023, 1024};
	for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
		for (unsigned density = 0; density <= 8; density++) {
			bitsFix_init(&b, sizes[k]);
			for (unsigned i = 0; i < sizes[k]; i++) {
				if (nextRand(&rnd) % 8 < density) {
					b.alloc[i / 8] |= (uint8_t)(1u << i % 8);
				}
			}
			takeAll(&b);
		}
	}
	heapFix_done(&b.f);
}

static void nextFreeOf(void *arg) {
	bitsFix *b = arg;
	mspan_nextFreeIndex(b->f.h, &b->s);
}

static void test_nextFreeIndexThrows(void **state) {
	(void)state;
	bitsFix b;
	heapFix_init(&b.f);
	bitsFix_init(&b, 10);
	b.s.freeindex = 11;
	assert_true(heapFix_throws(&b.f, nextFreeOf, &b));
	assert_string_equal(b.f.msg, "s->freeindex > s->nelems");
	heapFix_done(&b.f);
}

static void test_countAlloc(void **state) {
	(void)state;
	uint8_t marks[136] = {0}, none[136] = {0};
	mspan s = {.gcmarkBits = marks};
	unsigned want = 0;
	for (unsigned i = 0; i < 1024; i += 1 + i % 7) {
		marks[i / 8] |= (uint8_t)(1u << i % 8);
		want++;
	}
	const gomem_env envs[] = {{.hasPOPCNT = false}, {.hasPOPCNT = cpu_hasPOPCNT()}};
	for (unsigned i = 0; i < 2; i++) {
		s.nelems = 1024;
		assert_int_equal(mspan_countAlloc(&envs[i], &s), want);
		s.nelems = 1; // bits are counted in words of 64
		assert_int_equal(mspan_countAlloc(&envs[i], &s), popcount64(loadBits64(marks)));
		s.gcmarkBits = none;
		s.nelems = 1024;
		assert_int_equal(mspan_countAlloc(&envs[i], &s), 0);
		s.gcmarkBits = marks;
	}
}

// objIndex must divide exactly, for each class and each offset.
static void test_objIndex(void **state) {
	(void)state;
	for (int c = 1; c < numSizeClasses; c++) {
		const uintptr_t size = class_to_size[c];
		const uintptr_t bytes = (uintptr_t)class_to_allocnpages[c] * 8192;
		mspan s = {.startAddr = (uintptr_t)0xc000000000, .elemsize = size, .divMul = class_to_divmagic[c]};
		for (uintptr_t off = 0; off <= bytes; off++) {
			if (mspan_objIndex(&s, s.startAddr + off) != off / size) {
				fail_msg("class %d offset %lu", c, (unsigned long)off);
			}
		}
	}
}

// ---- mark bits

static mspan *spanWith(heapFix *f, uintptr_t size, const gomem_type *typ) {
	unsigned path;
	uintptr_t x = mallocgc(f->h, f->p, size, typ, true, &path);
	assert_true(x != 0);
	mspan *s = spanOf(f->h, x);
	assert_non_null(s);
	return s;
}

static bool pageMarked(heapFix *f, const mspan *s) {
	heapArena *ha = heapArenaOf(f->h, mspan_base(s));
	uintptr_t page = mspan_base(s) / 8192 % maxPagesPerArena;
	return (ha->pageMarks[page / 8] >> page % 8 & 1) != 0;
}

// Every third slot is marked; nothing else may change, and the marks must arrive in gcmarkBits.
static void checkMarks(heapFix *f, mspan *s, bool wantInline) {
	assert_int_equal(gcUsesSpanInlineMarkBits(&f->h->env, s->elemsize), wantInline);
	assert_false(pageMarked(f, s));
	for (unsigned i = 0; i < s->nelems; i += 3) {
		assert_false(mspan_isMarked(f->h, s, i));
		mspan_setMarked(f->h, s, i);
	}
	assert_true(pageMarked(f, s));
	for (unsigned i = 0; i < s->nelems; i++) {
		assert_int_equal(mspan_isMarked(f->h, s, i), i % 3 == 0);
	}
	const uint8_t *end = (const uint8_t *)(mspan_base(s) + 8192);
	if (wantInline && f->h->env.backed) {
		assert_int_equal(mspan_countAlloc(&f->h->env, s), 0);
		assert_int_equal(ownByte(&end[-1]), s->spanclass);
		assert_int_equal(ownByte(&end[-64]), 0x49);
		assert_int_equal(ownByte(&end[-65]), 0); // owned
		assert_int_equal(ownByte(&end[-128]), 0);
		mspan_moveInlineMarks(f->h, s);
		for (int i = 1; i < 128; i++) {
			assert_int_equal(ownByte(&end[-1 - i]), 0);
		}
		assert_int_equal(ownByte(&end[-1]), s->spanclass);
		assert_false(mspan_isMarked(f->h, s, 0));
	}
	for (unsigned i = 0; i < s->nelems; i++) {
		assert_int_equal(s->gcmarkBits[i / 8] >> i % 8 & 1, i % 3 == 0);
	}
	assert_int_equal(mspan_countAlloc(&f->h->env, s), (s->nelems + 2) / 3);
}

static void test_inlineMarks(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	const gomem_type ptrs = pointersType(16);
	mspan *s = spanWith(&f, 16, NULL);
	assert_int_equal(s->nelems, 504);
	checkMarks(&f, s, true);
	s = spanWith(&f, 16, &ptrs);
	assert_int_equal(s->nelems, wideWords ? 496 : 488); // heap bits of words half as large
	checkMarks(&f, s, true);
	const uintptr_t last = (uintptr_t)layout_host.minSizeForMallocHeader;
	checkMarks(&f, spanWith(&f, last, NULL), true);
	checkMarks(&f, spanWith(&f, last + 1, NULL), false);
	const gomem_type one = pointersType(8);
	s = spanWith(&f, 8, &one);
	assert_int_equal(s->nelems, wideWords ? 1008 : 992);
	checkMarks(&f, s, false);
	heapFix_done(&f);
}

static void test_inlineMarksMergeIntoBits(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	mspan *s = spanWith(&f, 48, NULL);
	s->gcmarkBits[2] = 0x80;
	mspan_setMarked(f.h, s, 0);
	mspan_moveInlineMarks(f.h, s);
	assert_int_equal(s->gcmarkBits[0], 1);
	assert_int_equal(s->gcmarkBits[2], 0x80);
	heapFix_done(&f);
}

static void test_marksWithoutGreenTea(void **state) {
	(void)state;
	heapFix f;
	heapFix_with(&f, (memSimConfig){.backed = true}, (gomem_config){.no_greentea = true});
	mspan *s = spanWith(&f, 16, NULL);
	assert_int_equal(s->nelems, 512);
	checkMarks(&f, s, false);
	heapFix_done(&f);
}

static void test_marksUnbacked(void **state) {
	(void)state;
	heapFix f;
	heapFix_with(&f, (memSimConfig){.backed = false}, (gomem_config){0});
	checkMarks(&f, spanWith(&f, 16, NULL), true);
	heapFix_done(&f);
}

// ---- pointer bits

enum { maxMaskWords = 64 };

typedef struct maskedType {
	gomem_type typ;
	uint8_t mask[maxMaskWords / 8];
} maskedType;

// A random type of the given size: some words are pointers, the last of them ends ptr_bytes. Bits behind it may be set: nobody may look.
static void randomType(maskedType *t, uintptr_t size, uint64_t *rnd) {
	const unsigned words = (unsigned)(size / 8);
	const unsigned ptrWords = 1 + (unsigned)(nextRand(rnd) % words);
	uint64_t mask = nextRand(rnd) | (uint64_t)1 << (ptrWords - 1);
	memcpy(t->mask, &mask, sizeof mask);
	t->typ = (gomem_type){.size = size, .ptr_bytes = ptrWords * 8, .ptr_mask = t->mask};
}

static bool wantPointer(const gomem_type *t, uintptr_t off) {
	off %= t->size;
	return off < t->ptr_bytes && (t->ptr_mask[off / 8 / 8] >> off / 8 % 8 & 1) != 0;
}

typedef struct placed {
	uintptr_t x, size;
	maskedType t;
} placed;

// Objects that fill several spans of each class, as arrays of random types; all bits are compared when the last was written.
static void test_heapSetTypeNoHeader(void **state) {
	(void)state;
	onlyWide("its types have words of 8 bytes");
	heapFix f;
	heapFix_init(&f);
	uint64_t rnd = 7;
	enum { n = 1200 };
	placed *objs = calloc(n, sizeof *objs);
	for (int c = 2; class_to_size[c] <= 512; c++) {
		for (int i = 0; i < n; i++) {
			placed *o = &objs[i];
			const uintptr_t low = (class_to_size[c - 1] + 8u) & ~(uintptr_t)7;
			uintptr_t want = (uintptr_t)(low + nextRand(&rnd) % ((class_to_size[c] - low) / 8 + 1) * 8);
			const uintptr_t count = 1 + nextRand(&rnd) % 4;
			const uintptr_t elem = want / count / 8 * 8 == 0 ? 8 : want / count / 8 * 8;
			o->size = want / elem * elem;
			if (o->size < low) {
				o->size = want;
			}
			randomType(&o->t, o->size == want && want % elem != 0 ? want : elem, &rnd);
			if (o->t.typ.size == 8) {
				o->t.typ.ptr_bytes = 8;
				o->t.mask[0] = 1;
			}
			unsigned path;
			o->x = mallocgc(f.h, f.p, o->size, &o->t.typ, true, &path);
			assert_int_equal(path, GOMEM_PATH_SCAN);
		}
		for (int i = 0; i < n; i++) {
			const placed *o = &objs[i];
			const uintptr_t elemsize = spanOf(f.h, o->x)->elemsize;
			for (uintptr_t off = 0; off < elemsize; off += 8) {
				if (heapBits_isPointer(f.h, o->x + off) != (off < o->size && wantPointer(&o->t.typ, off))) {
					fail_msg("class %d size %lu type %lu offset %lu", c, (unsigned long)o->size,
						(unsigned long)o->t.typ.size, (unsigned long)off);
				}
			}
		}
	}
	free(objs);
	heapFix_checked(&f);
	heapFix_done(&f);
}

// What is scanned of an object: up to the last pointer of its last element; all of it if it has a header.
static void test_scanSize(void **state) {
	(void)state;
	onlyWide("its types have words of 8 bytes");
	heapFix f;
	heapFix_init(&f);
	uint8_t mask = 1;
	gomem_type typ = {.size = 24, .ptr_bytes = 8, .ptr_mask = &mask};
	mspan *s = spanWith(&f, 96, &typ);
	assert_int_equal(heapSetTypeNoHeader(f.h, mspan_base(s), 24, &typ, s), 8);
	assert_int_equal(heapSetTypeNoHeader(f.h, mspan_base(s), 96, &typ, s), 80);
	typ.size = 8;
	assert_int_equal(heapSetTypeNoHeader(f.h, mspan_base(s), 96, &typ, s), 8);
	const gomem_type big = pointersType(1000);
	s = spanWith(&f, 1000, &big);
	uintptr_t header = mspan_base(s) + s->elemsize * 2;
	assert_int_equal(heapSetTypeSmallHeader(f.h, header + 8, 1000, &big, header, s), 1024);
	assert_int_equal(heapMem_getWord(header), (uintptr_t)&big);
	heapFix_done(&f);
}

static void expectMask(heapFix *f, uintptr_t size, uintptr_t typeSize, const char *mask) {
	uint8_t bits[maxMaskWords / 8] = {0};
	gomem_type typ = {.size = typeSize, .ptr_mask = bits};
	for (unsigned i = 0; i < typeSize / 8; i++) {
		if (mask[i] == 'p') {
			bits[i / 8] |= (uint8_t)(1u << i % 8);
			typ.ptr_bytes = (i + 1) * 8;
		}
	}
	for (int i = 0; i < 10; i++) {
		unsigned path;
		uintptr_t x = mallocgc(f->h, f->p, size, &typ, true, &path);
		for (unsigned w = 0; w < size / 8; w++) {
			assert_int_equal(heapBits_isPointer(f->h, x + w * 8), mask[w] == 'p');
			assert_int_equal(heapBits_isPointer(f->h, x + w * 8 + 7), mask[w] == 'p');
		}
	}
}

// The types of Go's test, as Go's compiler describes them on amd64.
static void TestGCInfo(void **state) {
	(void)state;
	onlyWide("its types have words of 8 bytes");
	heapFix f;
	heapFix_init(&f);
	expectMask(&f, 8, 8, "p");
	expectMask(&f, 80, 8, "pppppppppp");
	expectMask(&f, 48, 48, "-p-p-p");
	expectMask(&f, 192, 48, "-p-p-p-p-p-p-p-p-p-p-p-p");
	expectMask(&f, 48, 48, "p-p-p-");
	expectMask(&f, 96, 96, "p---p-----p-");
	expectMask(&f, 16, 16, "p-");
	expectMask(&f, 24, 24, "p--");
	expectMask(&f, 16, 16, "-p");
	heapFix_done(&f);
}

// Objects whose type stands in a header or in the span: the bitmap repeats up to the end of the slot.
static void test_heapBitsOfTypedSpans(void **state) {
	(void)state;
	onlyWide("its types have words of 8 bytes");
	heapFix f;
	heapFix_init(&f);
	uint64_t rnd = 3;
	static const uintptr_t sizes[] = {520, 1016, 2048, 9000, 32760, 32768, 100000, 1 << 20};
	for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
		maskedType t;
		randomType(&t, (uintptr_t)(8 * (1 + nextRand(&rnd) % 64)), &rnd);
		unsigned path;
		uintptr_t x = mallocgc(f.h, f.p, sizes[k], &t.typ, true, &path);
		assert_int_equal(path, sizes[k] > 32760 ? GOMEM_PATH_LARGE : GOMEM_PATH_SCAN_HEADER);
		for (uintptr_t off = 0; off < sizes[k]; off += 8) {
			assert_int_equal(heapBits_isPointer(f.h, x + off), wantPointer(&t.typ, off));
		}
		assert_false(path == GOMEM_PATH_SCAN_HEADER && heapBits_isPointer(f.h, x - 8));
	}
	unsigned path;
	assert_false(heapBits_isPointer(f.h, mallocgc(f.h, f.p, 64, NULL, true, &path)));
	assert_false(heapBits_isPointer(f.h, (uintptr_t)&f));
	heapFix_done(&f);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nextFreeIndex),
		cmocka_unit_test(test_nextFreeIndexThrows),
		cmocka_unit_test(test_countAlloc),
		cmocka_unit_test(test_objIndex),
		cmocka_unit_test(test_inlineMarks),
		cmocka_unit_test(test_inlineMarksMergeIntoBits),
		cmocka_unit_test(test_marksWithoutGreenTea),
		cmocka_unit_test(test_marksUnbacked),
		cmocka_unit_test(test_heapSetTypeNoHeader),
		cmocka_unit_test(test_scanSize),
		cmocka_unit_test(TestGCInfo),
		cmocka_unit_test(test_heapBitsOfTypedSpans),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
