// test_mgcscavenge.c: the scavenge index and the scavenger's page level: Go's own cases (mgcscavenge_test.go), random runs against
// plain loops, the states of the memory behind, and searches beside allocation.
#include <pthread.h>

#include "pages.h"

#define ALL (~(uint64_t)0)

static const memSimConfig smallPages = {.physPageSize = 4096};

// ---- TestFillAligned

static uint64_t fillAlignedSlow(uint64_t x, unsigned m) {
	uint64_t out = 0;
	for (unsigned i = 0; i < 64; i += m) {
		const uint64_t group = ALL >> (64 - m) << i;
		out |= (x & group) != 0 ? group : 0;
	}
	return out;
}

static void testFillAligned(void **state) {
	(void)state;
	rng r = {10};
	for (unsigned m = 1; m <= 64; m *= 2) {
		const uint64_t tests[] = {
			0x0000000000000000,
			0x00000000ffffffff,
			0xffffffff00000000,
			0x8000000000000001,
			0xf00000000000000f,
			0xf00000010050000f,
			0xffffffffffffffff,
			0x0000000000000001,
			0x0000000000000002,
			0x0000000000000008,
			(uint64_t)1 << (m - 1),
			m == 64 ? 0 : (uint64_t)1 << (m & 63),
			0xb02b9effcf137016,
			0x3975a076a9fbff18,
			0x0f8c88ec3b81506e,
			0x60f14d80ef2fa0e6,
		};
		for (unsigned i = 0; i < sizeof tests / sizeof tests[0]; i++) {
			assert_int_equal(fillAligned(tests[i], m), fillAlignedSlow(tests[i], m));
		}
		for (unsigned i = 0; i < 1000; i++) {
			const uint64_t x = rngNext(&r);
			assert_int_equal(fillAligned(x, m), fillAlignedSlow(x, m));
			uint64_t groups = 0;
			for (unsigned n = 0; n < 64; n += m) {
				groups |= (rngNext(&r) & 1) != 0 ? (rngNext(&r) & ALL >> (64 - m)) << n : 0;
			}
			assert_int_equal(fillAligned(groups, m), fillAlignedSlow(groups, m));
		}
	}
}

// ---- TestPallocDataFindScavengeCandidate

typedef struct candidateCase {
	char name[40];
	bitRange alloc[4], scavenged[4];
	unsigned min, max;
	bitRange want;
	unsigned hugePages; // pages in a huge page; 0: the case holds with and without
} candidateCase;

static candidateCase candidates[maxCases];
static size_t ncandidates;

static candidateCase *newCandidate(const char *name, unsigned min, unsigned max, bitRange want) {
	candidateCase *const c = &candidates[ncandidates++];
	snprintf(c->name, sizeof c->name, "%s", name);
	c->min = min;
	c->max = max;
	c->want = want;
	return c;
}

static candidateCase *newMinCandidate(const char *name, unsigned m, unsigned max, bitRange want) {
	candidateCase *const c = newCandidate("", m, max, want);
	snprintf(c->name, sizeof c->name, "%sMin%u", name, m);
	return c;
}

static void setAlloc(candidateCase *c, bitRange a, bitRange b, bitRange d, bitRange e) {
	const bitRange r[4] = {a, b, d, e};
	memcpy(c->alloc, r, sizeof r);
}

static const bitRange no = {0, 0};

static void makeMinCandidates(unsigned m) {
	candidateCase *c;
	newMinCandidate("AllFree", m, P, (bitRange){0, P});
	c = newMinCandidate("AllScavenged", m, P, no);
	c->scavenged[0] = (bitRange){0, P};
	c = newMinCandidate("NoneFree", m, P, no);
	c->alloc[0] = (bitRange){0, P};
	c->scavenged[0] = (bitRange){P / 2, P / 2};
	c = newMinCandidate("StartFree", m, P, (bitRange){0, m});
	c->alloc[0] = (bitRange){m, P - m};
	c = newMinCandidate("EndFree", m, P, (bitRange){P - m, m});
	c->alloc[0] = (bitRange){0, P - m};
	c = newMinCandidate("Straddle64", m, 2 * m, (bitRange){64 - m, 2 * m});
	setAlloc(c, (bitRange){0, 64 - m}, (bitRange){64 + m, P - (64 + m)}, no, no);
	if (m == 64) {
		setAlloc(c, (bitRange){64 + m, P - (64 + m)}, no, no, no);
	}
	c = newMinCandidate("BottomEdge64WithFull", m, 3 * m, (bitRange){128, 3 * m});
	setAlloc(c, (bitRange){64, 64}, (bitRange){128 + 3 * m, P - (128 + 3 * m)}, no, no);
	c->scavenged[0] = (bitRange){1, 10};
	c = newMinCandidate("BottomEdge64WithPocket", m, 3 * m, (bitRange){128, 3 * m});
	setAlloc(c, (bitRange){64, 62}, (bitRange){127, 1}, (bitRange){128 + 3 * m, P - (128 + 3 * m)}, no);
	c->scavenged[0] = (bitRange){1, 10};
	c = newMinCandidate("Max0", m, 0, (bitRange){P - m, m});
	c->scavenged[0] = (bitRange){0, P - m};
	if (m <= 8) {
		c = newMinCandidate("OneFree", m, P, (bitRange){40, m});
		setAlloc(c, (bitRange){0, 40}, (bitRange){40 + m, P - (40 + m)}, no, no);
		c = newMinCandidate("OneScavenged", m, P, no);
		setAlloc(c, (bitRange){0, 40}, (bitRange){40 + m, P - (40 + m)}, no, no);
		c->scavenged[0] = (bitRange){40, 1};
	}
	if (m == 1) {
		return;
	}
	c = newMinCandidate("MaxUnaligned", m, m - 2, (bitRange){P - m, m});
	c->scavenged[0] = (bitRange){0, P - (m * 2 - 1)};
	const bitRange below = {0, 64 - m};
	c = newMinCandidate("SkipSmall", m, m, (bitRange){64 - m, m});
	setAlloc(c, m == 64 ? (bitRange){64, 5} : below, m == 64 ? (bitRange){70, 11} : (bitRange){64, 5},
		m == 64 ? (bitRange){82, P - 82} : (bitRange){70, 11}, m == 64 ? no : (bitRange){82, P - 82});
	c = newMinCandidate("SkipMisaligned", m, m, (bitRange){64 - m, m});
	setAlloc(c, m == 64 ? (bitRange){64, 63} : below, m == 64 ? (bitRange){127 + m, P - (127 + m)} : (bitRange){64, 63},
		m == 64 ? no : (bitRange){127 + m, P - (127 + m)}, no);
	c = newMinCandidate("MaxLessThan", m, 1, (bitRange){P - m, m});
	c->scavenged[0] = (bitRange){0, P - m};
}

static void makeHugePageCandidates(unsigned bits) {
	candidateCase *c;
	if (bits == P) {
		newCandidate("PreserveHugePageAll", 1, 1, (bitRange){0, P})->hugePages = bits;
		return;
	}
	if (bits > P) {
		newCandidate("PreserveHugePageNone", 1, 1, (bitRange){P - 1, 1})->hugePages = bits;
		return;
	}
	c = newCandidate("PreserveHugePageBottom", 1, 3, (bitRange){0, bits + 2});
	c->alloc[0] = (bitRange){bits + 2, P - (bits + 2)};
	c->hugePages = bits;
	if (3 * bits < P) {
		c = newCandidate("PreserveHugePageMiddle", 1, 12, (bitRange){bits, bits + 10});
		setAlloc(c, (bitRange){0, bits - 10}, (bitRange){2 * bits + 10, P - (2 * bits + 10)}, no, no);
		c->hugePages = bits;
	}
	c = newCandidate("PreserveHugePageTop", 1, 1, (bitRange){P - bits, bits});
	c->alloc[0] = (bitRange){0, P - bits};
	c->hugePages = bits;
}

static void makeCandidates(void) {
	candidateCase *c = newCandidate("MixedMin1", 1, P, (bitRange){41, 1});
	setAlloc(c, (bitRange){0, 40}, (bitRange){42, P - 42}, no, no);
	c->scavenged[0] = (bitRange){0, 41};
	c->scavenged[1] = (bitRange){42, P - 42};
	c = newCandidate("MultiMin1", 1, P, (bitRange){85, 1});
	setAlloc(c, (bitRange){0, 63}, (bitRange){65, 20}, (bitRange){87, P - 87}, no);
	c->scavenged[0] = (bitRange){86, 1};
	for (unsigned m = 1; m <= 64; m *= 2) {
		makeMinCandidates(m);
	}
	for (unsigned bits = 64; bits <= 2 * P; bits *= 2) {
		makeHugePageCandidates(bits);
	}
}

static void assertCandidate(gomem_env *env, const candidateCase *c) {
	pallocData d = {0};
	for (unsigned i = 0; i < 4; i++) {
		if (c->alloc[i].n != 0) {
			pallocData_allocRange(&d, c->alloc[i].i, c->alloc[i].n);
		}
	}
	for (unsigned i = 0; i < 4; i++) {
		if (c->scavenged[i].n != 0) {
			pageBits_setRange(&d.scavenged, c->scavenged[i].i, c->scavenged[i].n);
		}
	}
	unsigned npages;
	const unsigned start = pallocData_findScavengeCandidate(env, &d, P - 1, c->min, c->max, &npages);
	assert_int_equal(npages, c->want.n);
	if (npages != 0) {
		assert_int_equal(start, c->want.i);
	}
}

static void testFindCandidate(void **state) {
	const candidateCase *const c = *state;
	testEnv *const t = testEnv_new(&smallPages);
	t->env.physHugePageSize = (uintptr_t)c->hugePages << pageShift;
	assertCandidate(&t->env, c);
	if (c->hugePages == 0) {
		t->env.physHugePageSize = 2 << 20;
		assertCandidate(&t->env, c);
	}
	testEnv_free(t);
}

// slowCandidate says the same in words: the highest run of whole free groups, cut from its top to max, and grown down to the
// start of a huge page that the cut would break.
static unsigned slowCandidate(
	const pallocData *d, unsigned searchIdx, unsigned min, unsigned max, unsigned huge, bitRange *r) {
	bool blocked[P] = {false};
	for (unsigned i = 0; i < P; i++) {
		blocked[i / min * min] |= pageBits_get(&d->pallocBits.b, i) || pageBits_get(&d->scavenged, i);
	}
	int end = (int)(searchIdx / 64 * 64 + 64);
	while (end > 0 && blocked[(unsigned)(end - 1) / min * min]) {
		end--;
	}
	int low = end;
	while (low > 0 && !blocked[(unsigned)(low - 1) / min * min]) {
		low--;
	}
	const unsigned run = (unsigned)(end - low);
	max = max == 0 ? min : (max + min - 1) / min * min;
	unsigned start = (unsigned)end - (run < max ? run : max);
	if (run != 0 && huge > 1 && (start + huge - 1) / huge * huge <= (unsigned)end &&
		start / huge * huge >= (unsigned)low) {
		start = start / huge * huge;
	}
	*r = (bitRange){start, (unsigned)end - start};
	return r->n;
}

static void testFindCandidateRandom(void **state) {
	(void)state;
	testEnv *const t = testEnv_new(&smallPages);
	rng r = {11};
	unsigned found = 0;
	for (unsigned i = 0; i < 60000; i++) {
		pallocData d = {0};
		for (unsigned n = rngBelow(&r, 12); n > 0; n--) {
			const unsigned at = rngBelow(&r, P), len = 1 + rngBelow(&r, rngBelow(&r, 4) == 0 ? P - at : 1);
			pageBits_setRange(rngBelow(&r, 2) == 0 ? &d.scavenged : &d.pallocBits.b, at, len);
		}
		const unsigned min = 1u << rngBelow(&r, 7), max = rngBelow(&r, 3) == 0 ? P : rngBelow(&r, 100);
		const unsigned huge = rngBelow(&r, 2) == 0 ? 0 : 2u << rngBelow(&r, 9);
		// A page of the system is no larger than a huge one.
		t->env.physHugePageSize = huge > min ? (uintptr_t)huge << pageShift : 0;
		const unsigned from = rngBelow(&r, P);
		bitRange want;
		slowCandidate(&d, from, min, max, huge > min ? huge : 0, &want);
		unsigned npages;
		const unsigned start = pallocData_findScavengeCandidate(&t->env, &d, from, min, max, &npages);
		assert_int_equal(npages, want.n);
		if (npages != 0) {
			assert_int_equal(start, want.i);
			found++;
		}
	}
	assert_true(found > 10000);
	testEnv_free(t);
}

// ---- TestPageAllocScavenge

typedef struct scavengeCase {
	char name[40];
	unsigned nexpect;
	heapBits alloc, scav, after;
	struct {
		uintptr_t request, expect;
	} expect[4];
	uintptr_t physPageSize;
} scavengeCase;

static scavengeCase scavenges[maxCases];
static size_t nscavenges;

static void newScavenge(const char *name, uintptr_t phys, heapBits alloc, heapBits scav, heapBits after, unsigned n,
	const uintptr_t (*expect)[2]) {
	scavengeCase *const c = &scavenges[nscavenges++];
	*c = (scavengeCase){.alloc = alloc, .scav = scav, .after = after, .nexpect = n, .physPageSize = phys};
	snprintf(c->name, sizeof c->name, "%s/phys=%zu", name, (size_t)phys);
	for (unsigned i = 0; i < n; i++) {
		c->expect[i].request = expect[i][0];
		c->expect[i].expect = expect[i][1];
	}
}

static void makeScavenges(uintptr_t phys) {
	const unsigned m = phys < pageSize ? 1 : (unsigned)(phys / pageSize);
	const uintptr_t mb = (uintptr_t)m * pageSize, max = ~(uintptr_t)0;
	const heapBits one = {1, {{0, {{0, 0}}}}}, oneAll = {1, {{0, {{0, P}}}}};
	const heapBits three = {3, {{0, {{0, 0}}}, {1, {{0, 0}}}, {2, {{0, 0}}}}};
	const heapBits threeAll = {3, {{0, {{0, P}}}, {1, {{0, P}}}, {2, {{0, P}}}}};
	const heapBits outer = {3, {{0, {{0, P}}}, {1, {{0, 0}}}, {2, {{0, P}}}}};
	const heapBits inner = {3, {{0, {{0, 0}}}, {1, {{0, P}}}, {2, {{0, 0}}}}};
	const heapBits middle = {1, {{0, {{m, P - 2 * m}}}}};
	newScavenge("AllFreeUnscavExhaust", phys, three, three, threeAll, 1,
		(const uintptr_t[][2]){{max, 3 * (uintptr_t)chunkBytes}});
	newScavenge("NoneFreeUnscavExhaust", phys, outer, inner, inner, 1, (const uintptr_t[][2]){{max, 0}});
	newScavenge("ScavHighestPageFirst", phys, one, middle, (heapBits){1, {{0, {{m, P - m}}}}}, 1,
		(const uintptr_t[][2]){{1, mb}});
	newScavenge("ScavMultiple", phys, one, middle, oneAll, 2, (const uintptr_t[][2]){{mb, mb}, {mb, mb}});
	newScavenge("ScavMultiple2", phys, (heapBits){2, {{0, {{0, 0}}}, {1, {{0, 0}}}}},
		(heapBits){2, {{0, {{m, P - 2 * m}}}, {1, {{0, P - 2 * m}}}}}, (heapBits){2, {{0, {{0, P}}}, {1, {{0, P}}}}}, 3,
		(const uintptr_t[][2]){{2 * mb, 2 * mb}, {mb, mb}, {mb, mb}});
	newScavenge("ScavDiscontiguous", phys, (heapBits){2, {{0, {{0, 0}}}, {0xe, {{0, 0}}}}},
		(heapBits){2, {{0, {{m, P - 2 * m}}}, {0xe, {{2 * m, P - 2 * m}}}}},
		(heapBits){2, {{0, {{0, P}}}, {0xe, {{0, P}}}}}, 3,
		(const uintptr_t[][2]){{2 * mb, 2 * mb}, {max, 2 * mb}, {max, 0}});
	newScavenge("ScavAllVeryDiscontiguous", phys, (heapBits){2, {{0, {{0, 0}}}, {0x1000, {{0, 0}}}}},
		(heapBits){2, {{0, {{0, 0}}}, {0x1000, {{0, 0}}}}}, (heapBits){2, {{0, {{0, P}}}, {0x1000, {{0, P}}}}}, 2,
		(const uintptr_t[][2]){{max, 2 * (uintptr_t)chunkBytes}, {max, 0}});
}

static void testScavenge(void **state) {
	const scavengeCase *const c = *state;
	for (unsigned huge = 0; huge < 2; huge++) {
		testEnv *const t =
			testEnv_new(&(memSimConfig){.physPageSize = c->physPageSize, .physHugePageSize = huge == 0 ? 0 : 2u << 20});
		pageAlloc *const p = newPageAlloc(t, &c->alloc, &c->scav, false);
		for (unsigned i = 0; i < c->nexpect; i++) {
			const uintptr_t got = pageAlloc_scavenge(&t->env, p, c->expect[i].request, NULL, NULL, true, &t->delta);
			assert_int_equal(got, c->expect[i].expect);
		}
		pageAlloc *const want = newPageAlloc(t, &c->alloc, &c->after, false);
		assertPageAlloc(p, want);
		freePageAlloc(t, want);
		freePageAlloc(t, p);
		testEnv_free(t);
	}
}

static bool stopAtSecond(void *arg) {
	unsigned *const calls = arg;
	return ++*calls == 2;
}

static void testScavengeShouldStop(void **state) {
	(void)state;
	testEnv *const t = testEnv_new(&smallPages);
	const heapBits init = {1, {{0, {{10, 1}, {20, 1}, {30, 1}}}}};
	pageAlloc *const p = newPageAlloc(t, &init, NULL, false);
	unsigned calls = 0;
	const uintptr_t got = pageAlloc_scavenge(&t->env, p, ~(uintptr_t)0, stopAtSecond, &calls, true, &t->delta);
	assert_int_equal(got, (uintptr_t)(P - 31 + 9) * pageSize);
	assert_int_equal(calls, 2);
	freePageAlloc(t, p);
	testEnv_free(t);
}

// ---- TestScavengeIndex

typedef struct indexTest {
	testEnv *t;
	scavengeIndex s;
	bool force;
} indexTest;

static void eachChunk(indexTest *x, int64_t base, int64_t limit, bool isFree) {
	while (base < limit) {
		const unsigned page = (unsigned)(base % P);
		const unsigned n = limit - base < P - page ? (unsigned)(limit - base) : P - page;
		const chunkIdx ci = BaseChunkIdx + (chunkIdx)(base / P);
		if (isFree) {
			scavengeIndex_free(&x->t->env, &x->s, ci, page, n);
		} else {
			scavengeIndex_alloc(&x->t->env, &x->s, ci, n);
		}
		base += n;
	}
}

static void mark(indexTest *x, int64_t base, int64_t limit) {
	eachChunk(x, base, limit, false);
	eachChunk(x, base, limit, true);
}

static void assertFinds(indexTest *x, int64_t chunk, unsigned offset) {
	unsigned got;
	const chunkIdx ci = scavengeIndex_find(&x->t->env, &x->s, x->force, &got);
	assert_int_equal(ci, chunk == noPage ? 0 : BaseChunkIdx + chunk);
	assert_int_equal(got, offset);
	if (ci != 0) {
		scavengeIndex_setEmpty(&x->s, ci);
	}
}

static void resetSearchAddr(atomicOffAddr *a) {
	const gomem_layout *const L = layoutOf();
	bool marked;
	const uintptr_t addr = atomicOffAddr_Load(L, a, &marked);
	if (marked) {
		atomicOffAddr_StoreUnmark(L, a, addr, addr);
	}
	atomicOffAddr_Clear(L, a);
}

// All of 64 chunks dense in the last generation, and empty to the scavenger.
static void indexTest_init(indexTest *x, bool force) {
	memset(x, 0, sizeof *x);
	x->t = testEnv_new(&smallPages);
	x->force = force;
	gomem_env *const env = &x->t->env;
	assert_int_equal(scavengeIndex_init(env, &x->s, true, &x->t->sysStat), 0);
	assert_int_equal(scavengeIndex_grow(env, &x->s, pageAddr(0), pageAddr(64 * P), &x->t->sysStat), 4096);
	eachChunk(x, 0, 64 * P, false);
	scavengeIndex_nextGen(env, &x->s);
	eachChunk(x, 0, 64 * P, true);
	for (unsigned i = 0; i < 64; i++) {
		scavengeIndex_setEmpty(&x->s, BaseChunkIdx + i);
	}
	resetSearchAddr(&x->s.searchAddrBg);
	resetSearchAddr(&x->s.searchAddrForce);
	x->s.freeHWM = minOffAddr(layoutOf());
}

static void indexTest_free(indexTest *x) {
	scavengeIndex_destroy(&x->t->env, &x->s, &x->t->sysStat);
	assert_int_equal(sysMemStat_load(&x->t->sysStat), 0);
	testEnv_free(x->t);
}

// What is marked; then the first find, and after it one for the last page of each chunk from `down` to `to`.
typedef struct indexCase {
	const char *name;
	struct {
		int base, limit;
	} marks[2];
	int chunk;
	unsigned offset;
	int down, to;
} indexCase;

static const indexCase indexCases[] = {
	{"Uninitialized", {{0, 0}}, noPage, 0, -1, 0},
	{"OnePage", {{3, 4}}, 0, 3, -1, 0},
	{"FirstPage", {{0, 1}}, 0, 0, -1, 0},
	{"SeveralPages", {{9, 14}}, 0, 13, -1, 0},
	{"WholeChunk", {{0, P}}, 0, P - 1, -1, 0},
	{"LastPage", {{P - 1, P}}, 0, P - 1, -1, 0},
	{"SevenChunksOffset", {{6 * P + 11, 13 * P + 15}}, 13, 14, 12, 6},
	{"ThirtyTwoChunks", {{0, 32 * P}}, 31, P - 1, 30, 0},
	{"ThirtyTwoChunksOffset", {{3 * P, 35 * P}}, 34, P - 1, 33, 3},
	{"MarkIdempotentOneChunk", {{0, P}, {0, P}}, 0, P - 1, -1, 0},
	{"MarkIdempotentThirtyTwoChunks", {{0, 32 * P}, {0, 32 * P}}, 31, P - 1, 30, 0},
	{"MarkIdempotentThirtyTwoChunksOffset", {{4 * P, 31 * P}, {5 * P, 36 * P}}, 35, P - 1, 34, 4},
	{"TwoChunks", {{128, P + 128}}, 1, 127, 0, 0},
	{"TwoChunksOffset", {{7 * P + 128, 8 * P + 129}}, 8, 128, 7, 7},
};

static void findAll(indexTest *x, const indexCase *c) {
	assertFinds(x, c->chunk, c->offset);
	for (int i = c->down; i >= c->to; i--) {
		assertFinds(x, i, P - 1);
	}
	assertFinds(x, noPage, 0);
}

static void testIndexBg(void **state) {
	const indexCase *const c = *state;
	indexTest x;
	indexTest_init(&x, false);
	mark(&x, c->marks[0].base, c->marks[0].limit);
	mark(&x, c->marks[1].base, c->marks[1].limit);
	assertFinds(&x, noPage, 0);
	scavengeIndex_nextGen(&x.t->env, &x.s);
	findAll(&x, c);
	indexTest_free(&x);
}

static void testIndexForce(void **state) {
	const indexCase *const c = *state;
	indexTest x;
	indexTest_init(&x, true);
	mark(&x, c->marks[0].base, c->marks[0].limit);
	mark(&x, c->marks[1].base, c->marks[1].limit);
	findAll(&x, c);
	indexTest_free(&x);
}

// Each of 32 chunks marked by itself.
static void testIndexMark(void **state) {
	const bool force = *state != NULL;
	indexTest x;
	indexTest_init(&x, force);
	for (int i = 0; i < 32; i++) {
		mark(&x, i * P, (i + 1) * P);
	}
	if (!force) {
		assertFinds(&x, noPage, 0);
		scavengeIndex_nextGen(&x.t->env, &x.s);
	}
	for (int i = 31; i >= 0; i--) {
		assertFinds(&x, i, P - 1);
	}
	assertFinds(&x, noPage, 0);
	indexTest_free(&x);
}

static void testIndexMarkInterleaved(void **state) {
	const bool force = *state != NULL;
	indexTest x;
	indexTest_init(&x, force);
	for (int i = 0; i < 32; i++) {
		mark(&x, i * P, (i + 1) * P);
		if (!force) {
			scavengeIndex_nextGen(&x.t->env, &x.s);
		}
		assertFinds(&x, i, P - 1);
	}
	assertFinds(&x, noPage, 0);
	indexTest_free(&x);
}

// ---- TestScavChunkDataPack, and shouldScavenge in full

static void testChunkDataPack(void **state) {
	(void)state;
	const scavChunkData words[] = {
		{.gen = 1918237402, .inUse = 512, .lastInUse = 512, .flags = 3},
		{.gen = ~0u, .inUse = 12, .lastInUse = 0, .flags = 0},
		{.gen = 0, .inUse = 0, .lastInUse = 512, .flags = 0x3f},
	};
	for (unsigned i = 0; i < 3; i++) {
		const scavChunkData got = unpackScavChunkData(scavChunkData_pack(words[i]));
		assert_int_equal(got.gen, words[i].gen);
		assert_int_equal(got.inUse, words[i].inUse);
		assert_int_equal(got.lastInUse, words[i].lastInUse);
		assert_int_equal(got.flags, words[i].flags);
	}
	assert_int_equal(
		scavChunkData_pack((scavChunkData){.inUse = 1, .lastInUse = 2, .gen = 3, .flags = 1}), 0x304020001);
}

static void testShouldScavenge(void **state) {
	(void)state;
	const gomem_layout *const L = layoutOf();
	assert_int_equal(L->scavChunkHiOccPages, 496);
	const scavChunkData sparse = {.inUse = 495, .lastInUse = 495, .gen = 7, .flags = scavChunkHasFree};
	scavChunkData sc = sparse;
	assert_true(scavChunkData_shouldScavenge(L, sc, 7, false));
	sc.inUse = 496;
	assert_false(scavChunkData_shouldScavenge(L, sc, 7, false));
	assert_false(scavChunkData_shouldScavenge(L, sc, 8, false));
	assert_true(scavChunkData_shouldScavenge(L, sc, 7, true));
	sc = sparse;
	sc.lastInUse = 496;
	assert_false(scavChunkData_shouldScavenge(L, sc, 7, false));
	assert_true(scavChunkData_shouldScavenge(L, sc, 8, false));
	assert_true(scavChunkData_shouldScavenge(L, sc, 7, true));
	sc = sparse;
	sc.flags = 0;
	assert_false(scavChunkData_shouldScavenge(L, sc, 7, false));
	assert_false(scavChunkData_shouldScavenge(L, sc, 8, true));
}

// In the background a chunk is left alone while it is dense, and for the generation after one at whose end it was.
static void testGenerations(void **state) {
	(void)state;
	testEnv *const t = testEnv_new(&smallPages);
	const heapBits init = {1, {{0, {{0, 0}}}}};
	pageAlloc *const p = newPageAlloc(t, &init, NULL, false);
	scavengeIndex *const s = &p->scav.index;
	unsigned page;
	scavengeIndex_nextGen(&t->env, s);
	scavengeIndex_alloc(&t->env, s, BaseChunkIdx, 500);
	scavengeIndex_free(&t->env, s, BaseChunkIdx, 0, 100);
	scavengeIndex_nextGen(&t->env, s);
	assert_int_equal(scavengeIndex_find(&t->env, s, false, &page), BaseChunkIdx);
	scavengeIndex_alloc(&t->env, s, BaseChunkIdx, 100);
	assert_int_equal(scavengeIndex_find(&t->env, s, false, &page), 0);
	scavengeIndex_free(&t->env, s, BaseChunkIdx, 0, 100);
	scavengeIndex_nextGen(&t->env, s);
	assert_int_equal(scavengeIndex_find(&t->env, s, false, &page), BaseChunkIdx);
	assert_int_equal(page, P - 1);
	scavengeIndex_alloc(&t->env, s, BaseChunkIdx, 110);
	scavengeIndex_nextGen(&t->env, s);
	scavengeIndex_free(&t->env, s, BaseChunkIdx, 0, 110);
	assert_int_equal(scavengeIndex_find(&t->env, s, false, &page), 0);
	scavengeIndex_nextGen(&t->env, s);
	assert_int_equal(scavengeIndex_find(&t->env, s, false, &page), BaseChunkIdx);
	freePageAlloc(t, p);
	testEnv_free(t);
}

static void testIndexDetails(void **state) {
	(void)state;
	const gomem_layout *const L = layoutOf();
	testEnv *const t = testEnv_new(&smallPages);
	const heapBits init = {3, {{0, {{0, 0}}}, {1, {{0, 0}}}, {2, {{0, 0}}}}};
	pageAlloc *const p = newPageAlloc(t, &init, NULL, false);
	scavengeIndex *const s = &p->scav.index;
	// A full chunk has nothing to scavenge.
	assert_int_equal(unpackScavChunkData(atomic_load(&s->chunks[BaseChunkIdx])).flags, scavChunkHasFree);
	scavengeIndex_alloc(&t->env, s, BaseChunkIdx, P);
	assert_int_equal(unpackScavChunkData(atomic_load(&s->chunks[BaseChunkIdx])).flags, 0);
	scavengeIndex_free(&t->env, s, BaseChunkIdx, 3, 7);
	assert_int_equal(unpackScavChunkData(atomic_load(&s->chunks[BaseChunkIdx])).flags, scavChunkHasFree);
	assert_int_equal(unpackScavChunkData(atomic_load(&s->chunks[BaseChunkIdx])).inUse, P - 7);
	// What was freed in a generation raises the background search once.
	bool marked;
	assert_int_equal(s->freeHWM.a, pageAddr(3 * P - 1));
	scavengeIndex_nextGen(&t->env, s);
	assert_int_equal(s->freeHWM.a, minOffAddr(L).a);
	assert_int_equal(atomicOffAddr_Load(L, &s->searchAddrBg, &marked), pageAddr(3 * P - 1));
	assert_true(marked);
	// A search that moves down unmarks the address that it moves.
	unsigned page;
	scavengeIndex_setEmpty(s, BaseChunkIdx + 2);
	assert_int_equal(scavengeIndex_find(&t->env, s, true, &page), BaseChunkIdx + 1);
	assert_int_equal(atomicOffAddr_Load(L, &s->searchAddrForce, &marked), pageAddr(2 * P - 1));
	assert_false(marked);
	scavengeIndex_setEmpty(s, BaseChunkIdx + 1);
	assert_int_equal(scavengeIndex_find(&t->env, s, true, &page), BaseChunkIdx);
	assert_int_equal(page, P - 1);
	assert_int_equal(atomicOffAddr_Load(L, &s->searchAddrForce, &marked), pageAddr(P - 1));
	assert_false(marked);
	scavengeIndex_free(&t->env, s, BaseChunkIdx, 20, 1);
	assert_int_equal(atomicOffAddr_Load(L, &s->searchAddrForce, &marked), pageAddr(P - 1));
	assert_false(marked);
	freePageAlloc(t, p);
	testEnv_free(t);
}

// ---- a heap with simulated memory behind: a page is Ready if and only if it is not scavenged

enum { heapChunks = 6, heapPages = heapChunks * P, maxSpans = 3000, ncaches = 2 };

typedef struct heap {
	testEnv *t;
	pageAlloc *p;
	rng r;
	pageCache caches[ncaches];
	struct {
		uintptr_t base;
		unsigned npages;
	} spans[maxSpans];
	unsigned nspans;
	uint64_t released;
} heap;

static void heap_init(heap *h, uint64_t seed, uintptr_t physPageSize) {
	memset(h, 0, sizeof *h);
	h->r.s = seed;
	h->t = testEnv_new(&(memSimConfig){.physPageSize = physPageSize});
	gomem_env *const env = &h->t->env;
	h->p = calloc(1, sizeof *h->p);
	assert_non_null(h->p);
	assert_true(pageAlloc_init(env, h->p, &h->t->heapLock, &h->t->sysStat, false));
	void *const at = (void *)pageAddr(0);
	const uintptr_t n = (uintptr_t)heapPages * pageSize;
	assert_ptr_equal(sysReserve(env, at, n, MEM_HEAP), at);
	assert_true(sysMap(env, at, n, &h->t->stats.heapReleased));
	lockHeap(h->t);
	assert_true(pageAlloc_grow(env, h->p, pageAddr(0), n));
	unlockHeap(h->t);
}

static void heap_free(heap *h) {
	pageAlloc_destroy(&h->t->env, h->p);
	free(h->p);
	testEnv_free(h->t);
}

// use does what a heap does with pages that it takes.
static void heap_use(heap *h, uintptr_t base, unsigned npages, uintptr_t scav) {
	const int64_t n = (int64_t)npages * pageSize, s = (int64_t)scav;
	assert_true(h->nspans < maxSpans);
	h->spans[h->nspans].base = base;
	h->spans[h->nspans++].npages = npages;
	if (scav != 0) {
		assert_true(sysUsed(&h->t->env, (void *)base, (uintptr_t)n, scav));
		sysMemStat_add(&h->t->stats.heapReleased, -s);
	}
	sysMemStat_add(&h->t->stats.heapFree, s - n);
	sysMemStat_add(&h->t->stats.heapInUse, n);
}

static void heap_step(heap *h) {
	gomem_env *const env = &h->t->env;
	const unsigned op = rngBelow(&h->r, 100);
	const unsigned npages = 1 + rngBelow(&h->r, rngBelow(&h->r, 8) == 0 ? 900 : 15);
	uintptr_t scav, base = 0;
	lockHeap(h->t);
	if (op < 45 && npages < 16) {
		pageCache *const c = &h->caches[op % ncaches];
		if (pageCache_empty(c)) {
			*c = pageAlloc_allocToCache(env, h->p);
		}
		base = pageCache_alloc(layoutOf(), c, npages, &scav);
	}
	if (op < 45 && base == 0) {
		base = pageAlloc_alloc(env, h->p, npages, &scav);
	}
	if (base != 0 && h->nspans < maxSpans) {
		heap_use(h, base, npages, scav);
	} else if (op >= 45 && op < 96 && h->nspans > 0) {
		const unsigned i = rngBelow(&h->r, h->nspans);
		const int64_t n = (int64_t)h->spans[i].npages * pageSize;
		sysMemStat_add(&h->t->stats.heapInUse, -n);
		sysMemStat_add(&h->t->stats.heapFree, n);
		pageAlloc_free(env, h->p, h->spans[i].base, h->spans[i].npages);
		h->spans[i] = h->spans[--h->nspans];
	} else if (op == 96) {
		pageCache_flush(env, &h->caches[0], h->p, 0);
	} else if (op == 97) {
		scavengeIndex_nextGen(env, &h->p->scav.index);
	}
	unlockHeap(h->t);
	if (op >= 98) {
		const uintptr_t want = rngBelow(&h->r, 8) == 0 ? ~(uintptr_t)0 : 1 + rngBelow(&h->r, 64 * pageSize);
		h->released += pageAlloc_scavenge(env, h->p, want, NULL, NULL, op == 98, &h->t->delta);
	}
}

static bool heap_isScavenged(const heap *h, unsigned page) {
	for (unsigned k = 0; k < ncaches; k++) {
		const uintptr_t i = (pageAddr(page) - h->caches[k].base) >> pageShift;
		if (i < 64 && (h->caches[k].cache >> i & 1) != 0) {
			return (h->caches[k].scav >> i & 1) != 0;
		}
	}
	return pageBits_get(&pageAlloc_chunkOf(layoutOf(), h->p, BaseChunkIdx + page / P)->scavenged, page % P) != 0;
}

static void heap_check(heap *h) {
	lockHeap(h->t);
	pageAlloc_check(&h->t->env, h->p);
	uint64_t ready = 0;
	for (unsigned i = 0; i < heapPages; i++) {
		const bool scavenged = heap_isScavenged(h, i);
		assert_int_equal(mem_sim_state(h->t->env.os, pageAddr(i)), scavenged ? MEM_PREPARED : MEM_READY);
		ready += scavenged ? 0 : pageSize;
	}
	unlockHeap(h->t);
	const gomem_stats *const s = &h->t->stats;
	assert_int_equal(sysMemStat_load(&s->heapInUse) + sysMemStat_load(&s->heapFree), ready);
	assert_int_equal(sysMemStat_load(&s->heapReleased), (uint64_t)heapPages * pageSize - ready);
	assert_int_equal(atomic_load(&s->mappedReady), ready + mem_sim_bytes(h->t->env.os, MEM_META, MEM_READY));
	assert_int_equal(atomic_load(&h->t->delta.released), h->released);
	assert_int_equal(atomic_load(&h->t->delta.committed), -(int64_t)h->released);
}

static void runHeap(uintptr_t physPageSize) {
	for (uint64_t seed = 1; seed <= 3; seed++) {
		heap *const h = malloc(sizeof *h);
		assert_non_null(h);
		heap_init(h, seed, physPageSize);
		// A span below the size of a physical page would share one with pages that are scavenged.
		for (unsigned i = 0; i < 8000; i++) {
			heap_step(h);
			if (i % 200 == 0) {
				heap_check(h);
			}
		}
		// By force, all that is free goes, in runs as long as a physical page or not at all.
		h->released += pageAlloc_scavenge(&h->t->env, h->p, ~(uintptr_t)0, NULL, NULL, true, &h->t->delta);
		heap_check(h);
		for (unsigned i = 0; physPageSize <= pageSize && i < heapPages; i++) {
			const pallocData *const d = pageAlloc_chunkOf(layoutOf(), h->p, BaseChunkIdx + i / P);
			assert_int_equal(pageBits_get(&d->pallocBits.b, i % P) + pageBits_get(&d->scavenged, i % P), 1);
		}
		assert_true(h->released > heapPages * (uint64_t)pageSize);
		heap_free(h);
		free(h);
	}
}

// While pages are on their way to the system nobody gets them, and the page allocator may find out that it is full.
static heap *duringUnused;
static bool (*realUnused)(gomem_os *os, void *v, uintptr_t n);

static bool allocDuringUnused(gomem_os *os, void *v, uintptr_t n) {
	uintptr_t scav;
	lockHeap(duringUnused->t);
	assert_int_equal(pageAlloc_alloc(&duringUnused->t->env, duringUnused->p, 1, &scav), 0);
	assert_int_equal(duringUnused->p->searchAddr.a, maxOffAddr(layoutOf()).a);
	unlockHeap(duringUnused->t);
	return realUnused(os, v, n);
}

static void testAllocDuringScavenge(void **state) {
	(void)state;
	heap *const h = malloc(sizeof *h);
	assert_non_null(h);
	heap_init(h, 1, 4096);
	gomem_env *const env = &h->t->env;
	uintptr_t scav;
	lockHeap(h->t);
	assert_int_equal(pageAlloc_alloc(env, h->p, heapPages, &scav), pageAddr(0));
	assert_true(sysUsed(env, (void *)pageAddr(0), (uintptr_t)heapPages * pageSize, scav));
	pageAlloc_free(env, h->p, pageAddr(700), 1);
	unlockHeap(h->t);
	duringUnused = h;
	realUnused = env->os->unused;
	env->os->unused = allocDuringUnused;
	assert_int_equal(pageAlloc_scavenge(env, h->p, 1, NULL, NULL, true, &h->t->delta), pageSize);
	lockHeap(h->t);
	pageAlloc_check(env, h->p);
	assert_int_equal(pageAlloc_alloc(env, h->p, 1, &scav), pageAddr(700));
	assert_int_equal(scav, pageSize);
	unlockHeap(h->t);
	heap_free(h);
	free(h);
}

static void testMemoryStates(void **state) {
	(void)state;
	runHeap(4096);
	runHeap(8192);
	runHeap(16384);
	runHeap(65536);
}

// ---- searches beside allocation

enum { nthreads = 4, opsPerThread = 6000 };

typedef struct worker {
	pthread_t thread;
	testEnv *t;
	pageAlloc *p;
	uint64_t seed;
} worker;

static void *work(void *arg) {
	worker *const w = arg;
	gomem_env *const env = &w->t->env;
	rng r = {w->seed};
	uintptr_t mine[64] = {0};
	heapStatsDelta delta = {0};
	for (unsigned i = 0; i < opsPerThread; i++) {
		const unsigned k = rngBelow(&r, 64), n = 1 + k;
		if (rngBelow(&r, 16) == 0) {
			pageAlloc_scavenge(env, w->p, 1 + rngBelow(&r, 40 * pageSize), NULL, NULL, rngBelow(&r, 2) == 0, &delta);
			continue;
		}
		uintptr_t scav;
		lock(env, w->p->mheapLock);
		if (mine[k] == 0) {
			mine[k] = pageAlloc_alloc(env, w->p, n, &scav);
		} else {
			pageAlloc_free(env, w->p, mine[k], n);
			mine[k] = 0;
		}
		if (rngBelow(&r, 50) == 0) {
			scavengeIndex_nextGen(env, &w->p->scav.index);
		}
		unlock(env, w->p->mheapLock);
	}
	lock(env, w->p->mheapLock);
	for (unsigned k = 0; k < 64; k++) {
		if (mine[k] != 0) {
			pageAlloc_free(env, w->p, mine[k], 1 + k);
		}
	}
	unlock(env, w->p->mheapLock);
	return NULL;
}

static void testThreads(void **state) {
	(void)state;
	testEnv *const t = testEnv_new(&smallPages);
	const heapBits init = {4, {{0, {{0, 0}}}, {1, {{0, 0}}}, {2, {{0, 0}}}, {9, {{0, 0}}}}};
	pageAlloc *const p = newPageAlloc(t, &init, NULL, false);
	worker w[nthreads];
	for (unsigned i = 0; i < nthreads; i++) {
		w[i] = (worker){.t = t, .p = p, .seed = i + 1};
		assert_int_equal(pthread_create(&w[i].thread, NULL, work, &w[i]), 0);
	}
	for (unsigned i = 0; i < nthreads; i++) {
		pthread_join(w[i].thread, NULL);
	}
	lockHeap(t);
	pageAlloc_check(&t->env, p);
	uintptr_t scav;
	assert_int_equal(pageAlloc_alloc(&t->env, p, 3 * P, &scav), pageAddr(0));
	assert_int_equal(pageAlloc_alloc(&t->env, p, P, &scav), pageAddr(9 * P));
	unlockHeap(t);
	freePageAlloc(t, p);
	testEnv_free(t);
}

// ---- faults that must be noticed

typedef struct faultCase {
	const char *name;
	void (*act)(testEnv *t, pageAlloc *p);
} faultCase;

static void freeTooMuch(testEnv *t, pageAlloc *p) { scavengeIndex_free(&t->env, &p->scav.index, BaseChunkIdx, 0, 11); }
static void allocTooMuch(testEnv *t, pageAlloc *p) {
	scavengeIndex_alloc(&t->env, &p->scav.index, BaseChunkIdx, P - 9);
}
static void minZero(testEnv *t, pageAlloc *p) {
	unsigned n;
	pallocData_findScavengeCandidate(&t->env, pageAlloc_chunkOf(layoutOf(), p, BaseChunkIdx), P - 1, 0, 1, &n);
}
static void minOdd(testEnv *t, pageAlloc *p) {
	unsigned n;
	pallocData_findScavengeCandidate(&t->env, pageAlloc_chunkOf(layoutOf(), p, BaseChunkIdx), P - 1, 3, 1, &n);
}
static void minLarge(testEnv *t, pageAlloc *p) {
	unsigned n;
	pallocData_findScavengeCandidate(&t->env, pageAlloc_chunkOf(layoutOf(), p, BaseChunkIdx), P - 1, 128, 1, &n);
}
static void indexTooShort(testEnv *t, pageAlloc *p) {
	scavengeIndex_check(&t->env, &p->scav.index, p->start, p->end + 512);
}

static const faultCase faultCases[] = {
	{"FreeTooMuch", freeTooMuch},
	{"AllocTooMuch", allocTooMuch},
	{"MinZero", minZero},
	{"MinOdd", minOdd},
	{"MinLarge", minLarge},
	{"IndexTooShort", indexTooShort},
};

static void testFault(void **state) {
	const faultCase *const c = *state;
	testEnv *const t = testEnv_new(&smallPages);
	const heapBits init = {1, {{0, {{0, 10}}}}};
	pageAlloc *const p = newPageAlloc(t, &init, NULL, false);
	t->throwExpected = true;
	volatile bool thrown = true;
	if (setjmp(t->onThrow) == 0) {
		c->act(t, p);
		thrown = false;
	}
	assert_true(thrown);
	t->throwExpected = false;
	freePageAlloc(t, p);
	testEnv_free(t);
}

int main(void) {
	static cases c;
	static char forced;
	makeCandidates();
	makeScavenges(4096);
	makeScavenges(16384);
	makeScavenges(65536);
	addCase(&c, "TestFillAligned", NULL, testFillAligned, NULL);
	for (size_t i = 0; i < ncandidates; i++) {
		addCase(&c, "TestPallocDataFindScavengeCandidate", candidates[i].name, testFindCandidate, &candidates[i]);
	}
	addCase(&c, "PallocDataFindScavengeCandidateRandom", NULL, testFindCandidateRandom, NULL);
	for (size_t i = 0; i < nscavenges; i++) {
		addCase(&c, "TestPageAllocScavenge", scavenges[i].name, testScavenge, &scavenges[i]);
	}
	addCase(&c, "PageAllocScavengeShouldStop", NULL, testScavengeShouldStop, NULL);
	ADD_CASES(&c, "TestScavengeIndex/Bg", testIndexBg, indexCases)
	ADD_CASES(&c, "TestScavengeIndex/Force", testIndexForce, indexCases)
	addCase(&c, "TestScavengeIndex/Bg", "Mark", testIndexMark, NULL);
	addCase(&c, "TestScavengeIndex/Force", "Mark", testIndexMark, &forced);
	addCase(&c, "TestScavengeIndex/Bg", "MarkInterleaved", testIndexMarkInterleaved, NULL);
	addCase(&c, "TestScavengeIndex/Force", "MarkInterleaved", testIndexMarkInterleaved, &forced);
	addCase(&c, "TestScavChunkDataPack", NULL, testChunkDataPack, NULL);
	addCase(&c, "ShouldScavenge", NULL, testShouldScavenge, NULL);
	addCase(&c, "Generations", NULL, testGenerations, NULL);
	addCase(&c, "IndexDetails", NULL, testIndexDetails, NULL);
	addCase(&c, "AllocDuringScavenge", NULL, testAllocDuringScavenge, NULL);
	addCase(&c, "MemoryStates", NULL, testMemoryStates, NULL);
	addCase(&c, "Threads", NULL, testThreads, NULL);
	ADD_CASES(&c, "Fault", testFault, faultCases)
	return runCases("mgcscavenge", &c);
}
