// test_malloc.c: mallocgc's paths against the rules that define them, where the heap begins, sampling, and its calls to the policy.
#include "heaptest.h"

#include "gomem/mbitmap.h"

static uintptr_t mallocPath(heapFix *f, uintptr_t size, const gomem_type *typ, unsigned wantPath) {
	unsigned path;
	uintptr_t x = mallocgc(f->h, f->p, size, typ, true, &path);
	assert_true(x != 0);
	assert_int_equal(path, wantPath);
	return x;
}

// ---- tiny

// Two of sixteen one-byte objects at least share 8 bytes.
static void TestTinyAlloc(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	enum { n = 16 };
	uintptr_t chunks[n];
	unsigned distinct = 0;
	for (int i = 0; i < n; i++) {
		chunks[i] = (uintptr_t)gomem_mallocgc(f.h, f.p, 1, NULL, true) & ~(uintptr_t)7;
		bool seen = false;
		for (int k = 0; k < i; k++) {
			seen |= chunks[k] == chunks[i];
		}
		distinct += !seen;
	}
	assert_int_equal(distinct, 2);
	heapFix_done(&f);
}

// On 64-bit platforms a 12-byte object is aligned to 4 bytes only, and so fits behind a 4-byte one.
static void TestTinyAllocIssue37262(void **state) {
	(void)state;
	onlyWide("12 bytes are aligned to 8 there");
	heapFix f;
	heapFix_init(&f);
	uintptr_t x = 0;
	for (int i = 0; i < 16; i++) {
		x = (uintptr_t)gomem_mallocgc(f.h, f.p, 1, NULL, true);
		if ((x & 15) == 15) {
			break;
		}
	}
	assert_int_equal(x & 15, 15);
	x = (uintptr_t)gomem_mallocgc(f.h, f.p, 4, NULL, true);
	assert_int_equal(x & 15, 0);
	assert_int_equal(gomem_mallocgc(f.h, f.p, 12, NULL, true), x + 4);
	heapFix_done(&f);
}

// The tiny rule in plain words, replayed beside the allocator.
static void test_tinyRule(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	uint64_t rnd = 5;
	uintptr_t block = 0, used = 0;
	for (int i = 0; i < 20000; i++) {
		const uintptr_t size = (uintptr_t)(1 + nextRand(&rnd) % 15);
		uintptr_t align = 1;
		while (align < 8 && size % (align * 2) == 0) {
			align *= 2;
		}
		align = !wideWords && size == 12 ? 8 : align;
		unsigned path;
		const uintptr_t x = mallocgc(f.h, f.p, size, NULL, false, &path);
		const uintptr_t at = (used + align - 1) / align * align;
		if (block != 0 && at + size <= 16) {
			assert_int_equal(path, GOMEM_PATH_TINY_HIT);
			assert_int_equal(x, block + at);
			used = at + size;
		} else {
			assert_int_equal(path, GOMEM_PATH_TINY_NEW);
			assert_int_equal(x % 16, 0);
			for (uintptr_t k = 0; k < 16; k++) {
				assert_int_equal(ownByte((const void *)(x + k)), 0);
			}
			if (block == 0 || size < used) {
				block = x;
				used = size;
			}
		}
		memset((void *)x, 0xff, size);
	}
	heapFix_checked(&f);
	heapFix_done(&f);
}

// ---- small and large

static void test_zeroSize(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	assert_ptr_equal(gomem_mallocgc(f.h, f.p, 0, NULL, true), &f.h->zerobase);
	const gomem_type t = pointersType(8);
	assert_ptr_equal(gomem_mallocgc(f.h, NULL, 0, &t, true), &f.h->zerobase);
	heapFix_done(&f);
}

// What a collector would scan of one-word objects: a word each.
static void test_scanOfWords(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	const gomem_type t = pointersType(8);
	gomem_mallocgc(f.h, f.p, 8, &t, true); // refills, which takes what there was to the heap
	const uintptr_t before = f.p->mcache->scanAlloc;
	gomem_mallocgc(f.h, f.p, 8, &t, true);
	gomem_mallocgc(f.h, f.p, 8, &t, true);
	assert_int_equal(f.p->mcache->scanAlloc - before, 16);
	heapFix_done(&f);
}

static void test_paths(void **state) {
	(void)state;
	onlyWide("up to 512 bytes have no header where words have 64 bits, up to 128 here (replays have all paths)");
	heapFix f;
	heapFix_init(&f);
	const gomem_type ptrs = pointersType(8);
	const gomem_type none = {.size = 64};
	mallocPath(&f, 15, NULL, GOMEM_PATH_TINY_NEW);
	mallocPath(&f, 1, &none, GOMEM_PATH_TINY_HIT);
	mallocPath(&f, 16, NULL, GOMEM_PATH_NOSCAN);
	mallocPath(&f, 32760, &none, GOMEM_PATH_NOSCAN);
	mallocPath(&f, 32761, NULL, GOMEM_PATH_LARGE);
	mallocPath(&f, 8, &ptrs, GOMEM_PATH_SCAN);
	mallocPath(&f, 512, &ptrs, GOMEM_PATH_SCAN);
	mallocPath(&f, 520, &ptrs, GOMEM_PATH_SCAN_HEADER);
	mallocPath(&f, 32760, &ptrs, GOMEM_PATH_SCAN_HEADER);
	mallocPath(&f, 32768, &ptrs, GOMEM_PATH_LARGE);
	heapFix_done(&f);
}

static unsigned classOf(uintptr_t size) {
	unsigned c = 1;
	while (class_to_size[c] < size) {
		c++;
	}
	return c;
}

static uintptr_t powerOfTwoIn(uintptr_t n) { return n & (~n + 1); }

// Every small size: the smallest class that holds it, aligned as the class is; roundupsize says the same.
static void test_everySize(void **state) {
	(void)state;
	onlyWide("up to 512 bytes have no header where words have 64 bits, up to 128 here (replays have all paths)");
	heapFix f;
	heapFix_init(&f);
	const gomem_type ptrs = pointersType(8);
	for (uintptr_t size = 16; size <= 32760; size++) {
		uintptr_t x = mallocPath(&f, size, NULL, GOMEM_PATH_NOSCAN);
		const mspan *s = spanOf(f.h, x);
		const unsigned c = classOf(size);
		if (s->spanclass != makeSpanClass((uint8_t)c, true) || x % powerOfTwoIn(class_to_size[c]) % 8192 != 0) {
			fail_msg("size %lu: class %d address %lx", (unsigned long)size, s->spanclass / 2, (unsigned long)x);
		}
		assert_int_equal(roundupsize(f.h, size, true), class_to_size[c]);
		if (size % 8 != 0) {
			continue;
		}
		const uintptr_t header = size > 512 ? 8 : 0;
		x = mallocPath(&f, size, &ptrs, header != 0 ? GOMEM_PATH_SCAN_HEADER : GOMEM_PATH_SCAN);
		assert_int_equal(spanOf(f.h, x)->spanclass, makeSpanClass((uint8_t)classOf(size + header), false));
		assert_int_equal((x - header - mspan_base(spanOf(f.h, x))) % class_to_size[classOf(size + header)], 0);
		assert_int_equal(roundupsize(f.h, size, false), class_to_size[classOf(size + header)] - header);
	}
	assert_int_equal(roundupsize(f.h, 32761, true), 32768);
	assert_int_equal(roundupsize(f.h, 32769, true), 40960);
	assert_int_equal(roundupsize(f.h, 8192 * 5, false), 8192 * 5);
	assert_int_equal(roundupsize(f.h, ~(uintptr_t)0 - 5, true), ~(uintptr_t)0 - 5);
	heapFix_checked(&f);
	heapFix_done(&f);
}

static void test_large(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	const gomem_type t = pointersType(40000);
	uintptr_t x = mallocPath(&f, 40000, &t, GOMEM_PATH_LARGE);
	mspan *s = spanOf(f.h, x);
	assert_int_equal(mspan_base(s), x);
	assert_int_equal(s->spanclass, 0);
	assert_int_equal(s->npages, 5);
	assert_int_equal(s->limit, x + 40000);
	assert_ptr_equal(s->largeType, &t);
	assert_int_equal(s->freeindex, 1);
	assert_int_equal(s->freeIndexForScan, 1);
	assert_int_equal(s->allocCount, 1);
	assert_int_equal(f.p->mcache->scanAlloc, 40960);
	x = mallocPath(&f, 40000, NULL, GOMEM_PATH_LARGE);
	assert_null(spanOf(f.h, x)->largeType);
	heapFix_done(&f);
}

static void test_header(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	const gomem_type t = pointersType(1000);
	uintptr_t x = mallocPath(&f, 1000, &t, GOMEM_PATH_SCAN_HEADER);
	assert_int_equal(heapMem_getWord((uintptr_t)x - 8), (uintptr_t)&t);
	assert_int_equal(f.p->mcache->scanAlloc, 1024);
	heapFix_done(&f);
}

// Dirty slots and spans come back zero: all kinds of objects are filled, freed and taken again.
static void test_zeroing(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	static const uintptr_t sizes[] = {8, 16, 48, 512, 520, 1024, 9000, 32760, 40000, 300000};
	for (int round = 0; round < 3; round++) {
		for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
			const gomem_type t = pointersType(8);
			for (int i = 0; i < 40; i++) {
				const gomem_type *typ = i % 2 == 0 ? &t : NULL;
				uint8_t *x = gomem_mallocgc(f.h, f.p, sizes[k], typ, true);
				for (uintptr_t b = 0; b < sizes[k]; b++) {
					if (x[b] != 0) {
						fail_msg("round %d size %lu typ %d byte %lu", round, (unsigned long)sizes[k], typ != NULL,
							(unsigned long)b);
					}
				}
				memset(x, 0xa5, sizes[k]);
			}
		}
		gcCycle(&f, 1, markNothing, NULL);
		heapFix_checked(&f);
	}
	heapFix_done(&f);
}

// Without needzero dirty memory may come back, and does: nothing is cleared for nothing.
static void test_needzeroFalse(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	uint8_t *x = gomem_mallocgc(f.h, f.p, 4096, NULL, false);
	memset(x, 0xa5, 4096);
	gcCycle(&f, 1, markNothing, NULL);
	assert_ptr_equal(gomem_mallocgc(f.h, f.p, 4096, NULL, false), x);
	assert_int_equal(x[17], 0xa5);
	heapFix_done(&f);
}

// ---- marking

static void test_blackAllocation(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	const gomem_type ptrs = pointersType(8);
	uintptr_t white = mallocPath(&f, 48, &ptrs, GOMEM_PATH_SCAN);
	mspan *s = spanOf(f.h, white);
	assert_int_equal(s->freeIndexForScan, 1);
	gomem_setGCPhase(f.h, gcMark);
	uintptr_t black = mallocPath(&f, 48, &ptrs, GOMEM_PATH_SCAN);
	assert_ptr_equal(spanOf(f.h, black), s);
	assert_false(mspan_isMarked(f.h, s, 0));
	assert_true(mspan_isMarked(f.h, s, 1));
	assert_int_equal(ownByte(inlineScans(layout_get(&f.h->env), mspan_base(s))), 2); // not to be scanned either
	assert_int_equal(s->freeIndexForScan, 1);
	uintptr_t header = mallocPath(&f, 2000, &ptrs, GOMEM_PATH_SCAN_HEADER);
	assert_true(mspan_isMarked(f.h, spanOf(f.h, header), 0));
	uintptr_t large = mallocPath(&f, 100000, NULL, GOMEM_PATH_LARGE);
	assert_true(mspan_isMarked(f.h, spanOf(f.h, large), 0));
	assert_int_equal(spanOf(f.h, large)->freeIndexForScan, 0);
	uintptr_t tiny = mallocPath(&f, 3, NULL, GOMEM_PATH_TINY_NEW);
	assert_true(mspan_isMarked(f.h, spanOf(f.h, tiny), 0));
	gomem_setGCPhase(f.h, gcMarkTermination);
	black = mallocPath(&f, 48, &ptrs, GOMEM_PATH_SCAN);
	assert_true(mspan_isMarked(f.h, s, 2));
	gomem_setGCPhase(f.h, gcOff);
	white = mallocPath(&f, 48, &ptrs, GOMEM_PATH_SCAN);
	assert_int_equal(white, black + 48);
	assert_false(mspan_isMarked(f.h, s, 3));
	assert_int_equal(s->freeIndexForScan, 4);
	heapFix_done(&f);
}

// ---- the ways of mallocsized.c, for callers that know the size and those that do not

typedef void *allocator(gomem_heap *h, gomem_p *p, uintptr_t size, const gomem_type *typ, bool needzero);

static void *full(gomem_heap *h, gomem_p *p, uintptr_t size, const gomem_type *typ, bool needzero) {
	return (void *)mallocgcFull(h, p, size, typ, needzero, NULL);
}

static void *sized(gomem_heap *h, gomem_p *p, uintptr_t size, const gomem_type *typ, bool needzero) {
	return gomem_mallocgc_inline(h, p, size, typ, needzero);
}

// What an allocation leaves behind.
typedef struct made {
	uint64_t at, bits;                              // where, from the first object on; the pointer bits
	int64_t credit, untilSample, assists;           // after it
	uint64_t markedBytes, scanAlloc;                // after it
	int marked, pageMarked, notToBeScanned, unused; // no padding: compared byte by byte
} made;

// oneType is a type of n words, of which some hold pointers. Behind the last of these the mask says nothing, whatever is there.
static gomem_type oneType(unsigned n, uint64_t rnd, uint8_t *mask) {
	for (unsigned i = 0; i < 8; i++) {
		rnd = rnd * 6364136223846793005u + 1442695040888963407u;
		mask[i] = (uint8_t)(rnd >> 40);
	}
	const unsigned last = (unsigned)(rnd >> 33) % n;
	mask[last / 8] |= (uint8_t)(1u << last % 8);
	return (gomem_type){n * sizeof(uintptr_t), (last + 1) * sizeof(uintptr_t), mask};
}

// onDebt pays, for a while.
static void onDebt(void *ctx, gomem_heap *h, gomem_p *p, uintptr_t size) {
	(void)h;
	++*(int64_t *)ctx;
	p->gcAssistBytes += (int64_t)size + 3000;
}

static made madeOf(heapFix *fix, const void *x, uintptr_t size, const gomem_type *typ, int64_t assists) {
	const gomem_env *env = &fix->h->env;
	const mcache *c = fix->p->mcache;
	made m = {.credit = fix->p->gcAssistBytes,
		.untilSample = c->nextSample,
		.assists = assists,
		.markedBytes = fix->p->gcMarkedBytes,
		.scanAlloc = c->scanAlloc};
	mspan *s = spanOf(fix->h, (uintptr_t)x);
	const uintptr_t index = mspan_objIndex(s, (uintptr_t)x);
	const gomem_layout *L = layout_get(env);
	const uintptr_t page = (mspan_base(s) >> L->pageShift) % (uintptr_t)layout_pagesPerArena(L);
	m.marked = mspan_isMarked(fix->h, s, index);
	m.pageMarked = (heapArenaOf(fix->h, mspan_base(s))->pageMarks[page / 8] >> page % 8 & 1) != 0;
	m.notToBeScanned = gcUsesSpanInlineMarkBits(env, s->elemsize) && mspan_isScanned(env, s, index);
	if (typ != NULL && typ->ptr_bytes != 0 && heapBitsInSpan(L, size)) {
		m.bits = heapBitsSmallForAddr(env, s, (uintptr_t)x);
	}
	return m;
}

// requests asks for objects of all kinds in all phases of the collector; a cycle frees most of them. What came of each, in order.
static void requests(allocator *f, made *of, unsigned n, bool greenTea, bool withDebts) {
	heapFix fix;
	int64_t assists = 0;
	const gomem_policy policy = {.ctx = &assists, .assist = withDebts ? onDebt : NULL};
	heapFix_with(&fix, (memSimConfig){.backed = true},
		(gomem_config){.policy = &policy, .no_greentea = !greenTea, .rand_seed = 3, .sample_rate = 20000});
	uint8_t mask[8];
	const gomem_type words[] = {pointersType(8), pointersType(64), {.size = 24, .ptr_bytes = 0}};
	uint64_t rnd = 7, first = 0;
	for (unsigned i = 0; i < n; i++) {
		rnd = rnd * 6364136223846793005u + 1442695040888963407u;
		const unsigned kind = (unsigned)(rnd >> 60), more = (unsigned)(rnd >> 33);
		const gomem_type one = oneType(1 + more % (i % 2 == 0 ? 64 : 8), rnd, mask);
		const gomem_type *typ = kind < 3 ? &words[kind] : kind < 8 ? &one : NULL;
		const uintptr_t size = typ == &one ? one.size
			: typ != NULL                  ? typ->size * (1 + more % 9)
										   : 1 + more % (i % 2 == 0 ? 1100 : 100);
		if (i % 1000 == 500) {
			gomem_setGCPhase(fix.h, i / 1000 % 4 == 3 ? gcMarkTermination : gcMark);
		} else if (i % 1000 == 850) {
			gomem_finishsweep(fix.h, fix.p);
			gomem_setGCPhase(fix.h, gcOff);
			gomem_startsweep(fix.h);
			mcache_prepareAll(fix.h, fix.p);
		}
		const void *x = f(fix.h, fix.p, size, typ, i % 3 != 0);
		assert_non_null(x);
		first = i == 0 ? (uint64_t)(uintptr_t)x : first;
		of[i] = madeOf(&fix, x, size, typ, assists);
		of[i].at = (uint64_t)(uintptr_t)x - first;
	}
	heapFix_checked(&fix);
	heapFix_done(&fix);
}

static void sameRequests(bool greenTea, bool withDebts) {
	enum { n = 20000 };
	static made want[n], got[n];
	requests(full, want, n, greenTea, withDebts);
	assert_true(want[n - 1].markedBytes != 0 && (want[n - 1].assists != 0) == withDebts);
	allocator *const others[] = {gomem_mallocgc, sized};
	for (unsigned k = 0; k < 2; k++) {
		requests(others[k], got, n, greenTea, withDebts);
		for (unsigned i = 0; i < n; i++) {
			if (memcmp(&got[i], &want[i], sizeof(want[i])) != 0) {
				fail_msg(
					"object %u by %s: at %lx, not %lx; bits %lx, not %lx; credit %ld, not %ld; sample in %ld, not %ld; marked %d%d%d, not %d%d%d",
					i, k == 0 ? "gomem_mallocgc" : "gomem_mallocgc_inline", (unsigned long)got[i].at,
					(unsigned long)want[i].at, (unsigned long)got[i].bits, (unsigned long)want[i].bits,
					(long)got[i].credit, (long)want[i].credit, (long)got[i].untilSample, (long)want[i].untilSample,
					got[i].marked, got[i].pageMarked, got[i].notToBeScanned, want[i].marked, want[i].pageMarked,
					want[i].notToBeScanned);
			}
		}
	}
}

static void test_sized(void **state) {
	(void)state;
	for (unsigned k = 0; k < 4; k++) {
		sameRequests(k % 2 == 1, k >= 2);
	}
}

// ---- the policy

typedef struct calls {
	int triggers, assists, credits;
	uintptr_t lastAssist, lastCredit, lastPages;
} calls;

static void onTrigger(void *ctx, gomem_heap *h, gomem_p *p) {
	assert_true(h != NULL && p != NULL);
	((calls *)ctx)->triggers++;
}

static void onAssist(void *ctx, gomem_heap *h, gomem_p *p, uintptr_t size) {
	assert_true(h != NULL && p != NULL);
	((calls *)ctx)->assists++;
	((calls *)ctx)->lastAssist = size;
}

static void onCredit(void *ctx, gomem_heap *h, gomem_p *p, uintptr_t spanBytes, uintptr_t callerSweepPages) {
	assert_true(h != NULL && p != NULL);
	((calls *)ctx)->credits++;
	((calls *)ctx)->lastCredit = spanBytes;
	((calls *)ctx)->lastPages = callerSweepPages;
}

static void mallocOne(heapFix *f) { gomem_mallocgc(f->h, f->p, 100, NULL, true); }

static void test_policy(void **state) {
	(void)state;
	calls c = {0};
	const gomem_policy policy = {.ctx = &c, .gcTrigger = onTrigger, .assist = onAssist, .deductSweepCredit = onCredit};
	heapFix f;
	heapFix_with(&f, (memSimConfig){.backed = true}, (gomem_config){.policy = &policy});
	for (int i = 0; i < 8; i++) {
		mallocOne(&f); // the first of a class refills
	}
	assert_int_equal(c.triggers, 1);
	assert_int_equal(c.credits, 1);
	assert_int_equal(c.lastCredit, 8192);
	assert_int_equal(c.lastPages, 0);
	gomem_mallocgc(f.h, f.p, 100000, NULL, true);
	assert_int_equal(c.triggers, 2);
	assert_int_equal(c.lastCredit, 13 * 8192);
	assert_int_equal(c.lastPages, 13);
	assert_int_equal(c.assists, 0);
	assert_int_equal(f.p->gcAssistBytes, 0);
	gomem_setGCPhase(f.h, gcMark);
	mallocOne(&f);
	assert_int_equal(c.assists, 1);
	assert_int_equal(c.lastAssist, 100);
	assert_int_equal(f.p->gcAssistBytes, -112); // with what rounding up took
	gomem_setGCPhase(f.h, gcOff);
	heapFix_done(&f);
}

// ---- sampling

// What Go's fastexprand answers from cheaprand's state 42.
static void test_fastexprand(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	static const int32_t want[] = {
		75529, 750095, 928385, 855672, 1493587, 974650, 479298, 328916, 228174, 411980, 14486, 205349};
	f.h->rand = 42;
	for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
		assert_int_equal(fastexprand(f.h, 512 << 10), want[i]);
	}
	assert_int_equal(fastexprand(f.h, 1 << 30), 89706342);
	assert_int_equal(fastexprand(f.h, 1000), 472);
	assert_int_equal(fastexprand(f.h, 2), 3);
	assert_int_equal(fastexprand(f.h, 0), 0);
	assert_true(nextSample(f.h) == INT64_MAX);
	setMemProfileRate(f.h, 1);
	assert_int_equal(nextSample(f.h), 0);
	heapFix_done(&f);
}

typedef struct samples {
	uint64_t n, bytes;
} samples;

static void onSample(void *ctx, void *obj, uintptr_t size) {
	assert_non_null(obj);
	((samples *)ctx)->n++;
	((samples *)ctx)->bytes += size;
}

static void test_sampleEach(void **state) {
	(void)state;
	samples s = {0};
	heapFix f;
	heapFix_with(
		&f, (memSimConfig){.backed = true}, (gomem_config){.sample = onSample, .sample_ctx = &s, .sample_rate = 1});
	const gomem_type ptrs = pointersType(8);
	gomem_mallocgc(f.h, f.p, 17, NULL, true);
	gomem_mallocgc(f.h, f.p, 8, &ptrs, true);
	gomem_mallocgc(f.h, f.p, 600, &ptrs, true);
	gomem_mallocgc(f.h, f.p, 40000, NULL, true);
	assert_int_equal(s.n, 4);
	assert_int_equal(s.bytes, 24 + 8 + 640 + 40960);
	gomem_mallocgc(f.h, f.p, 3, NULL, true);
	assert_int_equal(s.n, 5);
	gomem_mallocgc(f.h, f.p, 3, NULL, true); // in the same block
	assert_int_equal(s.n, 5);
	heapFix_done(&f);
}

static void test_sampleMean(void **state) {
	(void)state;
	samples s = {0};
	heapFix f;
	heapFix_with(
		&f, (memSimConfig){.backed = true}, (gomem_config){.sample = onSample, .sample_ctx = &s, .sample_rate = 4096});
	for (int i = 0; i < 200000; i++) {
		gomem_mallocgc(f.h, f.p, 64, NULL, false);
	}
	const uint64_t want = 200000 * 64 / 4096;
	assert_true(s.n > want * 9 / 10 && s.n < want * 11 / 10);
	heapFix_done(&f);
}

// ---- where the heap begins

static uintptr_t hintAt(const arenaHint *hint, unsigned i) {
	while (i-- > 0) {
		assert_non_null(hint);
		hint = hint->next;
	}
	assert_non_null(hint);
	assert_false(hint->down);
	return hint->addr;
}

static unsigned countHints(const arenaHint *hint) { return hint == NULL ? 0 : 1 + countHints(hint->next); }

// Computed with the arithmetic of Go's mallocinit: hints 0, 1, 2, 63 of the heap, 0 and 63 of user arenas.
static void test_arenaHints(void **state) {
	(void)state;
	onlyWide("the heap begins behind the program, there are no random places (test_platforms has that)");
	static const struct {
		uint64_t seed;
		uint64_t want[6];
	} golden[] = {
		{0x123456789abcdef0,
			{0x48d14000000, 0x4cd14000000, 0x58d14000000, 0x14cd14000000, 0x148d14000000, 0x24cd14000000}},
		{0xffffffffffffffff,
			{0x3ffffc000000, 0xfffc000000, 0xfffc000000, 0xffffc000000, 0xffffc000000, 0x1ffffc000000}},
		{0xfedcba9876543210,
			{0x3fb72c000000, 0x3ff72c000000, 0xb72c000000, 0xff72c000000, 0xfb72c000000, 0x1ff72c000000}},
	};
	for (size_t k = 0; k < sizeof golden / sizeof golden[0]; k++) {
		heapFix f;
		heapFix_with(&f, (memSimConfig){.backed = false}, (gomem_config){.rand_seed = golden[k].seed});
		const gomem_heap *h = f.h;
		assert_int_equal(h->heapRandSeedBitsRemaining, 64 - 20);
		assert_int_equal(h->heapRandSeed, golden[k].seed << 20);
		const uint64_t got[] = {hintAt(h->arenaHints, 0), hintAt(h->arenaHints, 1), hintAt(h->arenaHints, 2),
			hintAt(h->arenaHints, 63), hintAt(h->userArenaHints, 0), hintAt(h->userArenaHints, 63)};
		assert_memory_equal(got, golden[k].want, sizeof got);
		assert_int_equal(countHints(h->arenaHints), 64);
		assert_int_equal(countHints(h->userArenaHints), 64);
		heapFix_done(&f);
	}
}

static void test_arenaHintsNotRandom(void **state) {
	(void)state;
	onlyWide("the heap begins behind the program, there are no hints in a row (test_platforms has that)");
	heapFix f;
	heapFix_with(&f, (memSimConfig){.backed = false}, (gomem_config){.no_randomized_base = true});
	for (unsigned i = 0; i < 64; i++) {
		assert_true(hintAt(f.h->arenaHints, i) == ((uint64_t)i << 40 | 0xc000000000));
		assert_true(hintAt(f.h->userArenaHints, i) == ((uint64_t)(i + 64) << 40 | 0xc000000000));
	}
	assert_int_equal(gomem_mallocgc(f.h, f.p, 16, NULL, true), 0xc000000000);
	heapFix_done(&f);
}

// Somebody else holds the next hints, one after the other: the heap goes on elsewhere and never into what is not its own.
static void TestArenaCollision(void **state) {
	(void)state;
	onlyWide("there are no hints in a row");
	heapFix f;
	heapFix_with(&f, (memSimConfig){.backed = false}, (gomem_config){0});
	arenaHint *hint = f.h->arenaHints;
	hint->next->next->next = NULL;
	uintptr_t disallowed[5][2];
	for (int i = 0; i < 5; i++) {
		hint = f.h->arenaHints;
		assert_non_null(hint);
		const uintptr_t start = hint->down ? hint->addr - (64 << 20) : hint->addr;
		disallowed[i][0] = start;
		disallowed[i][1] = start + (64 << 20);
		if (!mem_sim_occupy(f.os, start, 64 << 20)) {
			fail_msg("cannot occupy %lx", (unsigned long)start);
		}
		while (f.h->arenaHints == hint) {
			const uintptr_t x = (uintptr_t)gomem_mallocgc(f.h, f.p, 1 << 20, NULL, false);
			assert_true(x != 0);
			for (int k = 0; k <= i; k++) {
				assert_false(disallowed[k][0] <= x && x < disallowed[k][1]);
			}
		}
	}
	heapFix_checked(&f);
	heapFix_done(&f);
}

static void mallocBare(void *arg) { gomem_mallocgc(arg, NULL, 8, NULL, true); }

// A first procresize that finds no memory half way: P 0 has the cache that callers without a P use, which is counted once.
static void test_halfResized(void **state) {
	(void)state;
	heapFix f = {0};
	gomem_config cfg = {.rand_seed = 1, .throw_hook = heapFix_thrown, .throw_ctx = &f};
	f.os = mem_sim_new(&(memSimConfig){.backed = true});
	cfg.os = f.os;
	f.h = gomem_heap_new_bare(&cfg);
	assert_true(gomem_mallocgc(f.h, NULL, 48, NULL, true) != NULL);
	const uint64_t asked = mem_sim_calls(f.os);
	heapFix_done(&f);
	f.os = mem_sim_new(&(memSimConfig){.backed = true, .failNth = asked + 1});
	cfg.os = f.os;
	f.h = gomem_heap_new_bare(&cfg);
	assert_true(gomem_mallocgc(f.h, NULL, 48, NULL, true) != NULL);
	assert_false(gomem_procresize(f.h, 4000));
	gomem_memstats stats;
	gomem_readmemstats(f.h, &stats);
	assert_int_equal(stats.mallocs, 1);
	heapFix_done(&f);
}

static void test_withoutP(void **state) {
	(void)state;
	heapFix f = {0};
	f.os = mem_sim_new(&(memSimConfig){.backed = true});
	const gomem_config cfg = {.os = f.os, .rand_seed = 1, .throw_hook = heapFix_thrown, .throw_ctx = &f};
	f.h = gomem_heap_new_bare(&cfg);
	assert_non_null(f.h);
	assert_null(gomem_heap_p(f.h, 0));
	const uintptr_t x = (uintptr_t)gomem_mallocgc(f.h, NULL, 48, NULL, true);
	assert_true(x != 0);
	assert_true(gomem_procresize(f.h, 2));
	// P 0 goes on where callers without a P were.
	assert_ptr_equal(gomem_mallocgc(f.h, gomem_heap_p(f.h, 0), 48, NULL, true), x + 48);
	assert_true(heapFix_throws(&f, mallocBare, f.h));
	assert_string_equal(f.msg, "mallocgc called without a P or outside bootstrapping");
	heapFix_done(&f);
}

// ---- objects that are given back

static void freegc_init(heapFix *f) {
	heapFix_with(f, (memSimConfig){.backed = true}, (gomem_config){.runtime_freegc = true});
}

static bool giveBack(heapFix *f, uintptr_t x, uintptr_t size) {
	return gomem_freegc(f->h, f->p, (void *)x, size, true);
}

// Which sizes are taken back, and what is allocated then: the last one first, by class, with its own path.
static void test_freegcOrder(void **state) {
	(void)state;
	heapFix f;
	freegc_init(&f);
	static const uintptr_t sizes[] = {16, 17, 100, 512, 1025, 8192, 32760};
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		const uintptr_t size = sizes[i];
		const uintptr_t a = mallocPath(&f, size, NULL, GOMEM_PATH_NOSCAN),
						b = mallocPath(&f, size, NULL, GOMEM_PATH_NOSCAN);
		gomem_memstats before, after;
		gomem_readmemstats(f.h, &before);
		assert_true(giveBack(&f, a, size) && giveBack(&f, b, size));
		heapFix_checked(&f);
		assert_int_equal(mallocPath(&f, size, NULL, GOMEM_PATH_REUSE), b);
		assert_int_equal(mallocPath(&f, size, NULL, GOMEM_PATH_REUSE), a);
		gomem_readmemstats(f.h, &after);
		assert_memory_equal(&before, &after, sizeof before); // as if the objects had lived on
		mallocPath(&f, size, NULL, GOMEM_PATH_NOSCAN);
	}
	const gomem_type word = pointersType(8);
	char *scan = gomem_mallocgc(f.h, f.p, 64, &word, true);
	assert_false(gomem_freegc(f.h, f.p, scan, 64, false));
	assert_false(giveBack(&f, mallocPath(&f, 15, NULL, GOMEM_PATH_TINY_NEW), 15));
	assert_false(giveBack(&f, mallocPath(&f, 32761, NULL, GOMEM_PATH_LARGE), 32761));
	heapFix_done(&f);
	heapFix_init(&f);
	assert_false(giveBack(&f, mallocPath(&f, 64, NULL, GOMEM_PATH_NOSCAN), 64)); // not with this experiment
	heapFix_done(&f);
}

// needzero is kept though the span's own needzero says that it was never used.
static void test_freegcZeroes(void **state) {
	(void)state;
	heapFix f;
	freegc_init(&f);
	const uintptr_t x = mallocPath(&f, 1000, NULL, GOMEM_PATH_NOSCAN);
	if (x == 0) {
		fail();
		return;
	}
	memset((void *)x, 0xee, 1000);
	assert_true(giveBack(&f, x, 1000));
	assert_int_equal(mallocPath(&f, 1001, NULL, GOMEM_PATH_REUSE), x);
	const uint8_t *again = (const uint8_t *)x;
	for (int i = 0; i < 1001; i++) {
		assert_int_equal(again[i], 0);
	}
	heapFix_done(&f);
}

// Tiny blocks are not made of what was given back, and when they want another span, it is forgotten.
static void test_freegcTiny(void **state) {
	(void)state;
	heapFix f;
	freegc_init(&f);
	const uintptr_t x = mallocPath(&f, 16, NULL, GOMEM_PATH_NOSCAN);
	const mspan *s = spanOf(f.h, x);
	assert_true(giveBack(&f, x, 16));
	while (s->allocCount < s->nelems) {
		assert_int_not_equal((uintptr_t)gomem_mallocgc(f.h, f.p, 15, NULL, true), x);
	}
	assert_int_equal(f.p->mcache->reusableNoscan[5], x);
	mallocPath(&f, 15, NULL, GOMEM_PATH_TINY_NEW);
	assert_int_equal(f.p->mcache->reusableNoscan[5], 0);
	mallocPath(&f, 16, NULL, GOMEM_PATH_NOSCAN);
	heapFix_done(&f);
}

// While marking is on what is taken again is marked, also in a span that is not cached, and costs no assist.
static void test_freegcWhileMarking(void **state) {
	(void)state;
	heapFix f;
	freegc_init(&f);
	uintptr_t x[200];
	for (int i = 0; i < 200; i++) {
		x[i] = mallocPath(&f, 1000, NULL, GOMEM_PATH_NOSCAN);
	}
	gomem_finishsweep(f.h, f.p);
	gomem_setGCPhase(f.h, gcMark);
	const int64_t credit = f.p->gcAssistBytes;
	for (int i = 0; i < 200; i += 7) {
		assert_true(giveBack(&f, x[i], 1000));
		assert_false(gomem_isMarked(f.h, (void *)x[i]));
		assert_int_equal(mallocPath(&f, 1000, NULL, GOMEM_PATH_REUSE), x[i]);
		assert_true(gomem_isMarked(f.h, (void *)x[i]));
	}
	assert_int_equal(f.p->gcAssistBytes, credit);
	heapFix_done(&f);
}

// A cycle forgets what was given back; the sweep finds it.
static void test_freegcFlushed(void **state) {
	(void)state;
	heapFix f;
	freegc_init(&f);
	const uintptr_t x = mallocPath(&f, 48, NULL, GOMEM_PATH_NOSCAN);
	assert_true(giveBack(&f, x, 48));
	gcCycle(&f, 1, markNothing, NULL);
	heapFix_checked(&f);
	gomem_span_info info;
	assert_false(gomem_spanOf(f.h, x, &info));
	mallocPath(&f, 48, NULL, GOMEM_PATH_NOSCAN);
	heapFix_done(&f);
}

typedef struct badFree {
	heapFix *f;
	uintptr_t x, size;
} badFree;

static void freeBad(void *arg) {
	badFree *b = arg;
	giveBack(b->f, b->x, b->size);
}

static void test_freegcMisuse(void **state) {
	(void)state;
	heapFix f;
	freegc_init(&f);
	const gomem_type word = pointersType(8);
	const uintptr_t x = mallocPath(&f, 112, NULL, GOMEM_PATH_NOSCAN),
					gone = mallocPath(&f, 112, NULL, GOMEM_PATH_NOSCAN);
	const uintptr_t scan = (uintptr_t)gomem_mallocgc(f.h, f.p, 112, &word, true);
	assert_true(giveBack(&f, gone, 112));
	const struct {
		uintptr_t x, size;
		const char *says;
	} bad[] = {
		{0, 112, "freegc nil"}, {(uintptr_t)&f, 112, "gomem_freegc: not an object of the heap"},
		{x + 8, 112, "gomem_freegc: not the beginning of an object"},
		{x, 113, "gomem_freegc: not the size or kind that was allocated"},
		{scan, 112, "gomem_freegc: not the size or kind that was allocated"},
		{gone, 112, "gomem_freegc: the object is free already"},
		{gone + 112, 112, "gomem_freegc: the object is free already"}, // a free slot
	};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		badFree b = {&f, bad[i].x, bad[i].size};
		assert_true(heapFix_throws(&f, freeBad, &b));
		assert_string_equal(f.msg, bad[i].says);
	}
	heapFix_done(&f);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(TestTinyAlloc),
		cmocka_unit_test(TestTinyAllocIssue37262),
		cmocka_unit_test(test_tinyRule),
		cmocka_unit_test(test_zeroSize),
		cmocka_unit_test(test_scanOfWords),
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_everySize),
		cmocka_unit_test(test_large),
		cmocka_unit_test(test_header),
		cmocka_unit_test(test_zeroing),
		cmocka_unit_test(test_needzeroFalse),
		cmocka_unit_test(test_blackAllocation),
		cmocka_unit_test(test_sized),
		cmocka_unit_test(test_policy),
		cmocka_unit_test(test_fastexprand),
		cmocka_unit_test(test_sampleEach),
		cmocka_unit_test(test_sampleMean),
		cmocka_unit_test(test_arenaHints),
		cmocka_unit_test(test_arenaHintsNotRandom),
		cmocka_unit_test(TestArenaCollision),
		cmocka_unit_test(test_halfResized),
		cmocka_unit_test(test_withoutP),
		cmocka_unit_test(test_freegcOrder),
		cmocka_unit_test(test_freegcZeroes),
		cmocka_unit_test(test_freegcTiny),
		cmocka_unit_test(test_freegcWhileMarking),
		cmocka_unit_test(test_freegcFlushed),
		cmocka_unit_test(test_freegcMisuse),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
