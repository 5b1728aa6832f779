// test_mheap.c: spans, arenas, growth, the central lists and sweeping, on a simulated OS.
#include "heaptest.h"

enum { pageBytes = 8192, arenaBytes = 64 << 20, chunkPages = 512 };

static const spanClass spc1024 = 32 << 1 | 1; // 8 slots of 1024 bytes, noscan

static mspan *manual(heapFix *f, uintptr_t npages) { return mheap_allocManual(f->h, f->p, npages, spanAllocWorkBuf); }

static mspan *large(heapFix *f, uintptr_t npages) { return mheap_alloc(f->h, f->p, npages, makeSpanClass(0, true)); }

static uintptr_t alloc(heapFix *f, uintptr_t size) {
	unsigned path;
	return mallocgc(f->h, f->p, size, NULL, false, &path);
}

static void startCycle(heapFix *f) {
	finishsweep_m(f->h, f->p);
	gcSweep(f->h);
	mcache_prepareForSweep(f->h, f->p, f->p->mcache);
}

// ---- span classes and the arena index

static void test_spanClass(void **state) {
	(void)state;
	for (unsigned c = 0; c < numSizeClasses; c++) {
		for (int noscan = 0; noscan < 2; noscan++) {
			spanClass spc = makeSpanClass((uint8_t)c, noscan == 1);
			assert_int_equal(spanClass_sizeclass(spc), c);
			assert_int_equal(spanClass_noscan(spc), noscan);
			assert_int_equal(spc, c * 2 + (unsigned)noscan);
		}
	}
}

static void test_arenaIndexBorders(void **state) {
	(void)state;
	onlyWide("it names places of 48-bit addresses and arenas of 64 MiB");
	const gomem_layout *L = &layout_host;
	const uintptr_t low = (uintptr_t)L->arenaBaseOffset;
	assert_int_equal(arenaIndex(L, low), 0);
	assert_int_equal(arenaIndex(L, low + arenaBytes - 1), 0);
	assert_int_equal(arenaIndex(L, low + arenaBytes), 1);
	assert_int_equal(arenaIndex(L, 0), (uintptr_t)1 << 21);
	assert_int_equal(arenaIndex(L, (uintptr_t)0x00007fffffffffff), ((uintptr_t)1 << 22) - 1);
	for (arenaIdx i = 0; i < (arenaIdx)1 << 22; i += 4099) {
		assert_int_equal(arenaIndex(L, arenaBase(L, i)), i);
		assert_int_equal(arenaIdx_l1(L, i), 0);
		assert_int_equal(arenaIdx_l2(L, i), i);
	}
}

static void test_spanOf(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	mspan *s = large(&f, 3);
	const uintptr_t base = mspan_base(s), end = base + 3 * pageBytes;
	assert_ptr_equal(spanOf(f.h, base), s);
	assert_ptr_equal(spanOf(f.h, end - 1), s);
	assert_ptr_not_equal(spanOf(f.h, end), s);
	assert_ptr_not_equal(spanOf(f.h, base - 1), s);
	assert_ptr_equal(spanOfHeap(f.h, base), s);
	s->limit = base + 5000;
	assert_null(spanOfHeap(f.h, base + 5000)); // beyond the object
	assert_null(spanOf(f.h, 4096));
	assert_null(spanOf(f.h, 0));
	assert_null(spanOf(f.h, ~(uintptr_t)0));
	assert_null(spanOf(f.h, (uintptr_t)((uint64_t)1 << 50))); // outside the address space
	mspan *m = manual(&f, 2);
	assert_ptr_equal(spanOf(f.h, mspan_base(m)), m);
	assert_null(spanOfHeap(f.h, mspan_base(m)));
	heapFix_done(&f);
}

// ---- lists

static void test_mSpanList(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	gomem_env *env = &f.h->env;
	mspan s[4] = {0};
	mSpanList a, b;
	mSpanList_init(&a);
	mSpanList_init(&b);
	assert_true(mSpanList_isEmpty(&a));
	mSpanList_insert(env, &a, &s[0]);
	mSpanList_insert(env, &a, &s[1]);
	mSpanList_insertBack(env, &a, &s[2]);
	assert_ptr_equal(a.first, &s[1]);
	assert_ptr_equal(a.last, &s[2]);
	mSpanList_remove(env, &a, &s[0]); // from the middle
	assert_ptr_equal(s[1].next, &s[2]);
	assert_null(s[0].list);
	mSpanList_insert(env, &b, &s[3]);
	mSpanList_takeAll(&b, &a);
	assert_true(mSpanList_isEmpty(&a));
	assert_ptr_equal(b.first, &s[1]);
	assert_ptr_equal(b.last, &s[3]);
	assert_ptr_equal(s[1].list, &b);
	mSpanList_takeAll(&a, &b); // into an empty list
	assert_ptr_equal(a.last, &s[3]);
	heapFix_done(&f);
}

static void removeForeign(void *arg) {
	heapFix *f = arg;
	mSpanList l = {0};
	mspan s = {0};
	mSpanList_remove(&f->h->env, &l, &s);
}

static void insertTwice(void *arg) {
	heapFix *f = arg;
	static mSpanList l;
	static mspan s;
	mSpanList_init(&l);
	memset(&s, 0, sizeof s);
	mSpanList_insert(&f->h->env, &l, &s);
	mSpanList_insertBack(&f->h->env, &l, &s);
}

static void test_mSpanListMisuse(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	assert_true(heapFix_throws(&f, removeForeign, &f));
	assert_true(heapFix_throws(&f, insertTwice, &f));
	heapFix_done(&f);
}

// ---- growth and arenas

static void test_growByChunks(void **state) {
	(void)state;
	onlyWide("it names places of 48-bit addresses and arenas of 64 MiB");
	heapFix f;
	heapFix_with(&f, (memSimConfig){0}, (gomem_config){.no_randomized_base = true});
	mspan *s = manual(&f, 1);
	assert_int_equal(mspan_base(s), 0xc000000000); // the first hint
	assert_int_equal(f.h->curArena.base, 0xc000000000 + (uintptr_t)chunkPages * pageBytes);
	assert_int_equal(f.h->curArena.end, 0xc000000000 + arenaBytes);
	assert_int_equal(f.h->heapArenas.len, 1);
	// 600 pages do not fit in what is left of the first chunk: the heap grows by two.
	mspan *t = manual(&f, 600);
	assert_int_equal(mspan_base(t), 0xc000000000 + pageBytes);
	assert_int_equal(f.h->curArena.base, 0xc000000000 + 3 * (uintptr_t)chunkPages * pageBytes);
	// An arena and a bit: the second arena is adjacent, and the first is used up.
	mspan *u = manual(&f, 8192);
	assert_int_equal(f.h->heapArenas.len, 2);
	assert_int_equal(mspan_base(u), mspan_base(t) + 600 * pageBytes);
	assert_ptr_equal(spanOf(f.h, mspan_base(u) + 8191 * (uintptr_t)pageBytes), u); // across the border
	heapFix_checked(&f);
	heapFix_done(&f);
}

// The list of all spans moves when it is full: none is lost, and the old memory goes back.
static void test_allSpansGrow(void **state) {
	(void)state;
	onlyWide("it names places of 48-bit addresses and arenas of 64 MiB");
	heapFix f;
	heapFix_init(&f);
	enum { many = 13000, first = 8192 };
	static mspan *made[many];
	for (int i = 0; i < many; i++) {
		made[i] = manual(&f, 1);
		assert_int_equal(f.h->allspans.cap, i < first ? first : i < first * 3 / 2 ? first * 3 / 2 : first * 9 / 4);
	}
	int listed = 0; // structures are made in stock, so that the order is another
	for (intptr_t i = 0; i < f.h->allspans.len; i++) {
		listed += mspan_state(f.h->allspans.p[i]) == mSpanManual;
	}
	assert_int_equal(listed, many);
	for (int i = 0; i < many; i++) {
		assert_ptr_equal(spanOf(f.h, mspan_base(made[i])), made[i]);
	}
	heapFix_checked(&f);
	heapFix_done(&f);
}

static void test_randomizedBase(void **state) {
	(void)state;
	onlyWide("it names places of 48-bit addresses and arenas of 64 MiB");
	for (uint64_t seed = 1; seed < 200; seed += 7) {
		heapFix f;
		uint64_t r = seed;
		const uint64_t bits = nextRand(&r);
		heapFix_with(&f, (memSimConfig){0}, (gomem_config){.rand_seed = bits});
		// 20 bits placed the hints (46 - 26), 4 choose the chunk in the arena, 22 the padding.
		const uint64_t left = bits << 20;
		const uintptr_t hint = f.h->arenaHints->addr;
		mspan *s = manual(&f, 1);
		const uintptr_t chunk = hint + (uintptr_t)(left >> 60 << 22);
		const uintptr_t pad = (uintptr_t)(left << 4 >> 42 >> 13);
		assert_int_equal(mspan_base(s), chunk + pad * pageBytes);
		assert_int_equal(f.h->heapRandSeedBitsRemaining, 64 - 20 - 4 - 22);
		heapFix_checked(&f);
		heapFix_done(&f);
	}
}

static void test_hintRefused(void **state) {
	(void)state;
	onlyWide("it names places of 48-bit addresses and arenas of 64 MiB");
	heapFix f;
	heapFix_with(&f, (memSimConfig){0}, (gomem_config){.no_randomized_base = true});
	// Somebody else has what the first two hints name.
	assert_true(mem_sim_occupy(f.os, (uintptr_t)0xc000000000, arenaBytes));
	assert_true(mem_sim_occupy(f.os, (uintptr_t)0x1c000000000, arenaBytes));
	mspan *s = manual(&f, 1);
	assert_int_equal(mspan_base(s), 0x2c000000000);
	assert_int_equal(f.h->arenaHints->addr, 0x2c000000000 + arenaBytes); // the refused ones are gone
	heapFix_checked(&f);
	heapFix_done(&f);
}

static void test_discontiguousArenas(void **state) {
	(void)state;
	onlyWide("it names places of 48-bit addresses and arenas of 64 MiB");
	heapFix f;
	heapFix_with(&f, (memSimConfig){0}, (gomem_config){.no_randomized_base = true});
	mspan *s = manual(&f, 1);
	assert_int_equal(mspan_base(s), 0xc000000000);
	assert_true(mem_sim_occupy(f.os, (uintptr_t)0xc000000000 + arenaBytes, arenaBytes));
	// The rest of the first arena is handed out, the new arena lies elsewhere, and first fit still begins below.
	mspan *big = manual(&f, 8192);
	assert_int_equal(mspan_base(big), 0x1c000000000);
	mspan *t = manual(&f, 8191);
	assert_int_equal(mspan_base(t), 0xc000000000 + pageBytes);
	heapFix_checked(&f);
	heapFix_done(&f);
}

static void test_noHintLeft(void **state) {
	(void)state;
	onlyWide("it names places of 48-bit addresses and arenas of 64 MiB");
	heapFix f;
	heapFix_with(&f, (memSimConfig){0}, (gomem_config){.no_randomized_base = true});
	while (f.h->arenaHints != NULL) {
		assert_true(mem_sim_occupy(f.os, f.h->arenaHints->addr, arenaBytes));
		arenaHint *hint = f.h->arenaHints;
		f.h->arenaHints = hint->next;
		fixalloc_free(&f.h->env, &f.h->arenaHintAlloc, hint);
	}
	mspan *s = manual(&f, 1);
	assert_non_null(s);
	assert_int_equal(mspan_base(s) % arenaBytes, 0);
	// Two new hints: upwards first, then downwards.
	assert_non_null(f.h->arenaHints);
	assert_false(f.h->arenaHints->down);
	assert_true(f.h->arenaHints->next->down);
	assert_int_equal(f.h->arenaHints->next->addr, mspan_base(s));
	heapFix_checked(&f);
	heapFix_done(&f);
}

static void test_movedReservation(void **state) {
	(void)state;
	// The OS grants every one of the first reservations somewhere else; the hints are dropped one by one.
	for (uint64_t n = 1; n < 12; n++) {
		memSimConfig sim = {.moveNth = n};
		gomem_os *os = mem_sim_new(&sim);
		gomem_config cfg = {.os = os, .rand_seed = 7, .checked = true};
		gomem_heap *h = gomem_heap_new(&cfg);
		assert_non_null(h);
		assert_non_null(gomem_mallocgc(h, gomem_heap_p(h, 0), 100, NULL, true));
		assert_null(gomem_heap_check(h));
		gomem_heap_destroy(h);
		os->destroy(os);
	}
}

// ---- zeroing

static void test_needzero(void **state) {
	(void)state;
	heapFix f;
	heapFix_with(&f, (memSimConfig){0}, (gomem_config){.no_randomized_base = true});
	mspan *s = large(&f, 20);
	assert_int_equal(s->needzero, 0); // nobody was here before
	const uintptr_t base = mspan_base(s);
	assert_int_equal(heapArenaOf(f.h, base)->zeroedBase, 20 * pageBytes);
	mheap_freeSpan(f.h, f.p, s);
	s = large(&f, 20);
	assert_int_equal(mspan_base(s), base);
	assert_int_equal(s->needzero, 1);
	mheap_freeSpan(f.h, f.p, s);
	s = large(&f, 30); // 20 old pages, 10 new ones
	assert_int_equal(mspan_base(s), base);
	assert_int_equal(s->needzero, 1);
	mspan *t = large(&f, 20);
	assert_int_equal(t->needzero, 0);
	// Pages that are all back at the OS come zeroed, a mix does not.
	mheap_freeSpan(f.h, f.p, s);
	assert_int_equal(
		pageAlloc_scavenge(&f.h->env, &f.h->pages, 30 * pageBytes, NULL, NULL, true, &f.p->stats) >= 30 * pageBytes, 1);
	s = large(&f, 30);
	assert_int_equal(mspan_base(s), base);
	assert_int_equal(s->needzero, 0);
	// Unless the OS may hand them back as they were (GODEBUG=madvdontneed=0).
	f.h->env.needZeroAfterSysUnused = true;
	mheap_freeSpan(f.h, f.p, s);
	pageAlloc_scavenge(&f.h->env, &f.h->pages, 30 * pageBytes, NULL, NULL, true, &f.p->stats);
	s = large(&f, 30);
	assert_int_equal(mspan_base(s), base);
	assert_int_equal(s->needzero, 1);
	heapFix_checked(&f);
	heapFix_done(&f);
}

static void test_needzeroAcrossArenas(void **state) {
	(void)state;
	onlyWide("it names places of 48-bit addresses and arenas of 64 MiB");
	heapFix f;
	heapFix_with(&f, (memSimConfig){0}, (gomem_config){.no_randomized_base = true});
	mspan *s = large(&f, 8192 + 100);
	const uintptr_t base = mspan_base(s);
	assert_int_equal(heapArenaOf(f.h, base)->zeroedBase, arenaBytes);
	assert_int_equal(heapArenaOf(f.h, base + arenaBytes)->zeroedBase, 100 * pageBytes);
	heapFix_done(&f);
}

// ---- huge pages

static struct {
	uintptr_t at[64];
	unsigned n;
	bool refuses;
} huge;

static bool countHugePage(gomem_os *os, void *v, uintptr_t n) {
	assert_int_equal(n, os->physHugePageSize);
	assert_true(huge.n < 64);
	huge.at[huge.n++] = (uintptr_t)v;
	return !huge.refuses;
}

enum { hugePage = 2 << 20 };

// hugeHeap is a heap that notes what it asks for.
static void hugeHeap(heapFix *f, gomem_config cfg) {
	cfg.no_randomized_base = true; // so that two heaps have the same addresses
	heapFix_with(f, (memSimConfig){.backed = true, .physHugePageSize = hugePage}, cfg);
	f->os->hugePageCollapse = countHugePage;
	huge.n = 0;
	huge.refuses = false;
}

// fillTo makes spans of npages until bytes of the heap are in use. The sum of their addresses.
static uintptr_t fillTo(heapFix *f, uintptr_t bytes, uintptr_t npages) {
	uintptr_t sum = 0;
	while (f->h->stats.heapInUse.v < bytes) {
		sum += mspan_base(large(f, npages));
	}
	return sum;
}

// Each huge page behind the first 32 MiB is asked for once, when a span reaches it.
static void test_hugePages(void **state) {
	(void)state;
	heapFix f;
	hugeHeap(&f, (gomem_config){.no_huge_pages = true});
	const uintptr_t sum = fillTo(&f, 48 << 20, 3);
	assert_int_equal(huge.n, 0);
	heapFix_done(&f);
	hugeHeap(&f, (gomem_config){0});
	uintptr_t same = fillTo(&f, hugePagesMin, 3);
	assert_int_equal(huge.n, 0);
	const uintptr_t begin = mspan_base(large(&f, 3));
	same += begin + fillTo(&f, 48 << 20, 3);
	assert_int_equal(same, sum); // nothing is placed elsewhere
	assert_int_equal(huge.n, 8);
	for (unsigned i = 0; i < huge.n; i++) {
		assert_int_equal(huge.at[i], alignUp(begin, hugePage) + (uintptr_t)i * hugePage);
	}
	heapFix_checked(&f);
	heapFix_done(&f);
}

// hugePagesWanted: a heap over such a system grows by huge pages.
static bool hugePagesWanted(memSimConfig sim, bool never) {
	gomem_os *os = mem_sim_new(&sim);
	assert_non_null(os);
	os->hugePagesNever = never;
	gomem_heap *h = gomem_heap_new(&(gomem_config){.os = os, .rand_seed = 1});
	assert_non_null(h);
	const bool wanted = h->hugePagesFrom != 0;
	gomem_heap_destroy(h);
	os->destroy(os);
	return wanted;
}

static void test_hugePagesWanted(void **state) {
	(void)state;
	assert_true(hugePagesWanted((memSimConfig){.backed = true, .physHugePageSize = hugePage}, false));
	assert_false(hugePagesWanted((memSimConfig){.backed = true, .physHugePageSize = hugePage}, true));
	assert_false(hugePagesWanted((memSimConfig){.backed = true}, false)); // it has none
	assert_false(
		hugePagesWanted((memSimConfig){.physHugePageSize = hugePage}, false)); // nothing stands behind its addresses
}

// Not for what was in use before, nor for a span that is larger.
static void test_hugePagesNot(void **state) {
	(void)state;
	heapFix f;
	hugeHeap(&f, (gomem_config){0});
	fillTo(&f, hugePagesMin, 16);
	mspan *s = large(&f, 3 * hugePage / pageBytes);
	const uintptr_t base = mspan_base(s);
	assert_int_equal(huge.n, 0);
	mheap_freeSpan(f.h, f.p, s);
	pageAlloc_scavenge(&f.h->env, &f.h->pages, 3 * hugePage, NULL, NULL, true, &f.p->stats);
	assert_int_equal(mspan_base(large(&f, hugePage / pageBytes)), base); // in its place
	assert_int_equal(huge.n, 0);
	fillTo(&f, hugePagesMin + 4 * hugePage, 16); // and behind it
	assert_int_equal(huge.n, 1);
	heapFix_done(&f);
}

// A system that has none is asked again when the heap is four times as large.
static void test_hugePagesRefused(void **state) {
	(void)state;
	heapFix f;
	hugeHeap(&f, (gomem_config){0});
	huge.refuses = true;
	fillTo(&f, 3 * hugePagesMin, 16);
	assert_int_equal(huge.n, 1);
	fillTo(&f, 4 * hugePagesMin + 8 * hugePage, 16);
	assert_int_equal(huge.n, 2);
	heapFix_done(&f);
}

// ---- pages made ahead

enum { aheadPages = 2, aheadProcs = 4 };

static struct {
	gomem_heap *h;
	gomem_p *p;                // allocates now
	uintptr_t end[aheadProcs]; // of what was made for each last
	uint64_t made, away;       // bytes, each once
	unsigned n;
} toldAhead;

// notePopulated: what is made is a span, which was not made before, and pages behind it, all of them the P's; what is not wanted any more is in its cache.
static void notePopulated(gomem_os *os, void *v, uintptr_t n, bool wanted) {
	(void)os;
	const gomem_heap *h = toldAhead.h;
	const pageCache *c = &toldAhead.p->pcache;
	uintptr_t *end = &toldAhead.end[toldAhead.p->id];
	const uintptr_t span = wanted ? aheadPages : 0;
	const uintptr_t first = ((uintptr_t)v - c->base) / pageBytes, pages = n / pageBytes;
	assert_true(first + pages <= pageCachePages && pages > span);
	for (uintptr_t i = first + span; i < first + pages; i++) {
		assert_true((c->cache & c->scav) >> i & 1);
	}
	if (!wanted) {
		toldAhead.away += n;
		*end = (uintptr_t)v < *end ? (uintptr_t)v : *end;
		return;
	}
	const uint64_t more = (pages - span) * pageBytes, inUse = h->stats.heapInUse.v;
	assert_true(more <= h->populateAhead && more <= inUse / 16 / (uint64_t)h->gomaxprocs);
	assert_true((uintptr_t)v + span * pageBytes > *end || (uintptr_t)v < *end - pageCachePages * pageBytes);
	const bool overlaps = (uintptr_t)v < *end && *end < (uintptr_t)v + n;
	toldAhead.made += overlaps ? (uintptr_t)v + n - *end : n;
	*end = (uintptr_t)v + n;
	toldAhead.n++;
}

static void populatingHeap(heapFix *f, int nprocs, bool populates) {
	heapFix_with(f, (memSimConfig){.backed = true}, (gomem_config){.no_randomized_base = true, .no_huge_pages = true});
	f->os->populate = notePopulated;
	f->h->populateAhead = populates ? defaultPopulateAhead : 0;
	assert_true(gomem_procresize(f->h, nprocs));
	memset(&toldAhead, 0, sizeof toldAhead);
	toldAhead.h = f->h;
}

// growBySmall makes a span of aheadPages for small objects, on P id.
static mspan *growBySmall(heapFix *f, int id) {
	uint8_t c = 1;
	while (class_to_allocnpages[c] != aheadPages) {
		c++;
	}
	toldAhead.p = gomem_heap_p(f->h, id);
	mspan *s = mcentral_grow(f->h, toldAhead.p, &f->h->central[makeSpanClass(c, true)].mcentral);
	assert_non_null(s);
	return s;
}

// fillBySmall lets all Ps make spans in turns until bytes are in use. The sum of their addresses.
static uintptr_t fillBySmall(heapFix *f, uintptr_t bytes) {
	uintptr_t sum = 0;
	for (int i = 0; f->h->stats.heapInUse.v < bytes; i++) {
		sum += mspan_base(growBySmall(f, i % f->h->gomaxprocs));
	}
	return sum;
}

// Nearly all pages of a heap that grows are made ahead, and nothing is placed elsewhere.
static void test_populate(void **state) {
	(void)state;
	for (int nprocs = 1; nprocs <= aheadProcs; nprocs++) {
		heapFix f;
		populatingHeap(&f, nprocs, false);
		const uintptr_t sum = fillBySmall(&f, 24 << 20);
		assert_int_equal(toldAhead.n, 0);
		heapFix_done(&f);
		populatingHeap(&f, nprocs, true);
		assert_int_equal(fillBySmall(&f, 24 << 20), sum);
		assert_in_range(toldAhead.made, 22 << 20, (24 << 20) + (uint64_t)nprocs * defaultPopulateAhead);
		heapFix_checked(&f);
		heapFix_done(&f);
	}
}

// Not in a small heap, nor for large objects, nor for pages that were used before.
static void test_populateNot(void **state) {
	(void)state;
	heapFix f;
	populatingHeap(&f, 1, true);
	fillBySmall(&f, 16 * pageBytes - 1);
	assert_int_equal(toldAhead.n, 0);
	fillTo(&f, 8 << 20, 4);
	assert_int_equal(toldAhead.n, 0);
	mspan *s = large(&f, 512);
	const uintptr_t base = mspan_base(s);
	fillTo(&f, 24 << 20, 16);
	mheap_freeSpan(f.h, f.p, s);
	pageAlloc_scavenge(&f.h->env, &f.h->pages, 512 * pageBytes, NULL, NULL, true, &f.p->stats);
	for (uintptr_t at = 0; at < base;) { // the rest of the cache was never used
		at = mspan_base(growBySmall(&f, 0));
		toldAhead.n = at < base ? 0 : toldAhead.n;
	}
	while (mspan_base(growBySmall(&f, 0)) < base + 448 * pageBytes) {
	}
	assert_int_equal(toldAhead.n, 0);
	heapFix_done(&f);
}

// What was made ahead goes when the cache does.
static void test_populateFlush(void **state) {
	(void)state;
	heapFix f;
	populatingHeap(&f, 2, true);
	fillBySmall(&f, 8 << 20);
	while (pageCache_empty(&toldAhead.p->pcache) || toldAhead.end[toldAhead.p->id] != toldAhead.p->populatedTo) {
		growBySmall(&f, 1);
	}
	const gomem_p *p = toldAhead.p;
	uint64_t made = 0;
	for (unsigned i = 0; i < pageCachePages; i++) {
		const uintptr_t page = p->pcache.base + i * pageBytes;
		made += (p->pcache.cache >> i & 1) != 0 && page < p->populatedTo ? pageBytes : 0;
	}
	assert_true(made > 0);
	p_flushPages(f.h, toldAhead.p);
	assert_int_equal(toldAhead.away, made);
	p_flushPages(f.h, toldAhead.p); // there is nothing
	assert_int_equal(toldAhead.away, made);
	const unsigned n = toldAhead.n;
	growBySmall(&f, 1); // takes the same pages again
	assert_int_equal(toldAhead.n, n + 1);
	heapFix_checked(&f);
	heapFix_done(&f);
}

// A cache of pages that were used has nothing that was made ahead, though it is where the last one was.
static void test_populateUsedUp(void **state) {
	(void)state;
	heapFix f;
	populatingHeap(&f, 1, true);
	fillBySmall(&f, 8 << 20);
	while (!pageCache_empty(&f.p->pcache)) {
		growBySmall(&f, 0);
	}
	enum { n = pageCachePages / aheadPages };
	mspan *spans[n];
	for (unsigned i = 0; i < n; i++) {
		spans[i] = growBySmall(&f, 0);
	}
	assert_true(pageCache_empty(&f.p->pcache) && f.p->populatedTo != 0);
	const uintptr_t base = mspan_base(spans[0]);
	for (unsigned i = 0; i < n; i++) {
		mheap_freeSpan(f.h, f.p, spans[i]);
	}
	assert_int_equal(mspan_base(growBySmall(&f, 0)), base);
	assert_int_equal(f.p->pcache.base, base);
	p_flushPages(f.h, f.p);
	assert_int_equal(toldAhead.away, 0);
	heapFix_checked(&f);
	heapFix_done(&f);
}

// A heap whose first Ps there was no memory for has one P, and none that count.
static void test_populateHalfResized(void **state) {
	(void)state;
	heapFix f;
	populatingHeap(&f, 1, true);
	fillBySmall(&f, 8 << 20);
	f.h->gomaxprocs = 0;
	toldAhead.h = &(gomem_heap){.gomaxprocs = 1, .populateAhead = defaultPopulateAhead, .stats.heapInUse.v = 8 << 20};
	const unsigned n = toldAhead.n;
	while (toldAhead.n == n) {
		growBySmall(&f, 0);
	}
	f.h->gomaxprocs = 1;
	heapFix_done(&f);
}

// populateWanted: what a heap over such a system has made ahead.
static uintptr_t populateWanted(bool can, bool backed, uintptr_t physPageSize, int64_t bytes) {
	gomem_os *os = mem_sim_new(&(memSimConfig){.physPageSize = physPageSize, .backed = backed});
	assert_non_null(os);
	os->populate = can ? notePopulated : NULL;
	gomem_heap *h = gomem_heap_new(&(gomem_config){.os = os, .rand_seed = 1, .populate_ahead = bytes});
	assert_non_null(h);
	const uintptr_t wanted = h->populateAhead;
	gomem_heap_destroy(h);
	os->destroy(os);
	return wanted;
}

static void test_populateWanted(void **state) {
	(void)state;
	assert_int_equal(populateWanted(true, true, 4096, 0), 256 << 10);
	assert_int_equal(populateWanted(true, true, 4096, 1 << 20), 1 << 20);
	assert_int_equal(populateWanted(true, true, 4096, -1), 0);
	assert_int_equal(populateWanted(false, true, 4096, 0), 0);
	assert_int_equal(populateWanted(true, false, 4096, 0), 0);
	assert_int_equal(populateWanted(true, true, 65536, 0), 0); // pages of the heap are parts of one of the OS's
}

// ---- structures of spans

static void test_mspanCache(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	mspan *s = manual(&f, 1);
	// The first one took half a cache full; the last of them is used first.
	assert_int_equal(f.p->mspancache.len, mspanCacheLen / 2 - 1);
	mheap_freeManual(f.h, f.p, s, spanAllocWorkBuf);
	assert_int_equal(f.p->mspancache.len, mspanCacheLen / 2);
	assert_ptr_equal(manual(&f, 1), s);                           // last in, first out
	mspan *t = mheap_allocManual(f.h, NULL, 1, spanAllocWorkBuf); // without a P
	assert_int_equal(f.p->mspancache.len, mspanCacheLen / 2 - 1);
	mheap_freeManual(f.h, NULL, t, spanAllocWorkBuf);
	assert_ptr_equal(mheap_allocManual(f.h, NULL, 1, spanAllocWorkBuf), t);
	heapFix_done(&f);
}

static void freeTwice(void *arg) {
	heapFix *f = arg;
	mspan *s = manual(f, 1);
	mheap_freeManual(f->h, f->p, s, spanAllocWorkBuf);
	mheap_freeManual(f->h, f->p, s, spanAllocWorkBuf);
}

static void freeUsed(void *arg) {
	heapFix *f = arg;
	mspan *s = large(f, 1);
	s->allocCount = 1;
	mheap_freeSpan(f->h, f->p, s);
}

static void test_invalidFrees(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	assert_true(heapFix_throws(&f, freeTwice, &f));
	assert_string_equal(f.msg, "mheap_freeSpanLocked: invalid span state");
	heapFix_done(&f);
	heapFix_init(&f);
	assert_true(heapFix_throws(&f, freeUsed, &f));
	assert_string_equal(f.msg, "mheap_freeSpanLocked: invalid free");
	heapFix_done(&f);
}

static void test_nelemsGreenTea(void **state) {
	(void)state;
	onlyWide("heap bits take twice as much of a span");
	// size, noscan, with Green Tea, without
	static const struct {
		uintptr_t size;
		bool noscan;
		uint16_t greenTea, plain;
	} cases[] = {
		{8, true, 1024, 1024},
		{8, false, 1008, 1008},
		{16, true, 504, 512},
		{16, false, 496, 504},
		{24, false, 330, 336},
		{32, true, 252, 256},
		{32, false, 248, 252},
		{48, false, 165, 168},
		{64, true, 126, 128},
		{64, false, 124, 126},
		{512, true, 15, 16},
		{512, false, 15, 15},
		{576, true, 14, 14},
		{1024, false, 8, 8},
		{32768, true, 1, 1},
	};
	for (int greenTea = 0; greenTea < 2; greenTea++) {
		heapFix f;
		heapFix_with(&f, (memSimConfig){0}, (gomem_config){.no_greentea = greenTea == 0});
		for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
			uint8_t c = 1;
			while (class_to_size[c] < cases[i].size) {
				c++;
			}
			mspan *s = mheap_alloc(f.h, f.p, class_to_allocnpages[c], makeSpanClass(c, cases[i].noscan));
			assert_int_equal(s->nelems, greenTea == 1 ? cases[i].greenTea : cases[i].plain);
		}
		heapFix_done(&f);
	}
}

// ---- central lists and sweeping

static void test_cacheSpanOrder(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	mcentral *c = &f.h->central[spc1024].mcentral;
	mspan *a = mcentral_cacheSpan(f.h, f.p, c);
	mspan *b = mcentral_cacheSpan(f.h, f.p, c);
	a->allocCount = 1;
	b->allocCount = 1;
	assert_true(mcentral_uncacheSpan(f.h, f.p, c, a));
	assert_true(mcentral_uncacheSpan(f.h, f.p, c, b));
	assert_ptr_equal(mcentral_cacheSpan(f.h, f.p, c), a); // first in, first out
	b = mcentral_cacheSpan(f.h, f.p, c);
	b->allocCount = b->nelems;
	assert_true(mcentral_uncacheSpan(f.h, f.p, c, b));
	assert_int_equal(spanSet_len(mcentral_fullSwept(c, f.h->sweepgen)), 1);
	heapFix_done(&f);
}

static void test_cacheSpanSweeps(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	uintptr_t x[24];
	for (int i = 0; i < 24; i++) {
		x[i] = alloc(&f, 1024);
	}
	finishsweep_m(f.h, f.p);
	setGCPhase(f.h, gcMark);
	for (int i = 0; i < 24; i++) {
		if (i / 8 != 1 || i == 9) { // of the second span one object lives, of the others all
			assert_true(gomem_mark(f.h, (void *)x[i]));
		}
	}
	setGCPhase(f.h, gcOff);
	gcSweep(f.h);
	mcache_prepareForSweep(f.h, f.p, f.p->mcache);
	mcentral *c = &f.h->central[spc1024].mcentral;
	mspan *s = mcentral_cacheSpan(f.h, f.p, c);
	assert_int_equal(mspan_base(s), x[8]); // the first span was found full and pushed back
	assert_int_equal(s->allocCount, 1);
	assert_int_equal(s->needzero, 1);
	assert_int_equal(mspan_nextFreeIndex(f.h, s), 0);
	assert_int_equal(mspan_nextFreeIndex(f.h, s), 2); // slot 1 lives
	heapFix_done(&f);
}

static void test_cacheSpanBudget(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	for (int i = 0; i < 8 * 150; i++) {
		alloc(&f, 1024);
	}
	finishsweep_m(f.h, f.p);
	setGCPhase(f.h, gcMark);
	for (intptr_t i = 0; i < f.h->allspans.len; i++) {
		mspan *s = f.h->allspans.p[i];
		for (uintptr_t k = 0; mspan_state(s) == mSpanInUse && k < s->nelems; k++) {
			mspan_setMarked(f.h, s, k);
		}
	}
	setGCPhase(f.h, gcOff);
	gcSweep(f.h);
	mcache_prepareForSweep(f.h, f.p, f.p->mcache);
	// All 150 spans are full; after 101 of them cacheSpan asks for a fresh one.
	mcentral *c = &f.h->central[spc1024].mcentral;
	const uint32_t unswept = spanSet_len(mcentral_fullUnswept(c, f.h->sweepgen));
	mspan *s = mcentral_cacheSpan(f.h, f.p, c);
	assert_int_equal(s->allocCount, 0);
	assert_int_equal(unswept - spanSet_len(mcentral_fullUnswept(c, f.h->sweepgen)), 101);
	heapFix_done(&f);
}

static void test_sweepFrees(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	for (int i = 0; i < 100; i++) {
		alloc(&f, 1024);
		alloc(&f, 100000);
	}
	const uintptr_t inUse = f.h->pagesInUse;
	assert_true(inUse > 100);
	startCycle(&f);
	while (sweepone(f.h, f.p) != ~(uintptr_t)0) {
	}
	assert_true(isSweepDone(f.h));
	assert_int_equal(f.h->pagesInUse, 0);
	assert_int_equal(sweepone(f.h, f.p), ~(uintptr_t)0);
	heapFix_checked(&f);
	heapFix_done(&f);
}

static void test_tryAcquireOnce(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	alloc(&f, 100000);
	startCycle(&f);
	mspan *s = NULL;
	for (intptr_t i = 0; i < f.h->allspans.len; i++) {
		if (mspan_state(f.h->allspans.p[i]) == mSpanInUse) {
			s = f.h->allspans.p[i];
		}
	}
	sweepLocker sl = activeSweep_begin(f.h);
	assert_true(sl.valid);
	assert_true(sweepLocker_tryAcquire(f.h, sl, s, 1));
	assert_false(sweepLocker_tryAcquire(f.h, sl, s, 1));
	assert_true(mspan_sweep(f.h, f.p, s, false));
	activeSweep_end(f.h, sl);
	heapFix_done(&f);
}

static void test_ensureSwept(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	const uintptr_t x = alloc(&f, 100000);
	finishsweep_m(f.h, f.p);
	setGCPhase(f.h, gcMark);
	gomem_mark(f.h, (void *)x);
	setGCPhase(f.h, gcOff);
	gcSweep(f.h);
	mspan *s = spanOf(f.h, x);
	assert_int_equal(s->sweepgen, f.h->sweepgen - 2);
	mspan_ensureSwept(f.h, f.p, s);
	assert_int_equal(s->sweepgen, f.h->sweepgen);
	mspan_ensureSwept(f.h, f.p, s); // nothing to do
	heapFix_done(&f);
}

typedef struct marked {
	heapFix *f;
	uintptr_t size, index; // of a slot that was never allocated
} marked;

static void sweepZombie(void *arg) {
	const marked *m = arg;
	heapFix *f = m->f;
	mspan *s = spanOf(f->h, alloc(f, m->size));
	finishsweep_m(f->h, f->p);
	mspan_setMarked(f->h, s, m->index);
	gcSweep(f->h);
	mcache_prepareForSweep(f->h, f->p, f->p->mcache);
}

static void test_zombie(void **state) {
	(void)state;
	static const uintptr_t cases[][2] = {{1024, 5}, {1024, 1}, {64, 62}, {64, 63}, {64, 64}, {64, 125}, {16, 503}};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		heapFix f;
		heapFix_init(&f);
		marked m = {&f, cases[i][0], cases[i][1]};
		assert_true(heapFix_throws(&f, sweepZombie, &m));
		assert_string_equal(f.msg, "found pointer to free object");
		heapFix_done(&f);
	}
}

static bool reviveAll(void *ctx, gomem_heap *h, mspan *s, uintptr_t objIndex) {
	(void)h;
	(void)s;
	*(uintptr_t *)ctx = objIndex;
	return true;
}

static void test_specialsRevive(void **state) {
	(void)state;
	for (int revive = 0; revive < 2; revive++) {
		uintptr_t asked = 99;
		gomem_policy policy = {.ctx = &asked, .reviveSpecial = revive == 1 ? reviveAll : NULL};
		heapFix f;
		heapFix_with(&f, (memSimConfig){.backed = true}, (gomem_config){.policy = &policy});
		uintptr_t x = 0;
		for (int i = 0; i < 8; i++) {
			x = alloc(&f, 1024);
		}
		mspan *s = spanOf(f.h, x);
		special sp = {.offset = 3 * 1024, .kind = 2};
		addspecial(f.h, f.p, s, &sp);
		startCycle(&f);
		while (sweepone(f.h, f.p) != ~(uintptr_t)0) {
		}
		assert_int_equal(mspan_state(s), revive == 1 ? mSpanInUse : mSpanDead);
		if (revive == 1) {
			assert_int_equal(asked, 3);
			assert_int_equal(s->allocCount, 1);
			assert_ptr_equal(s->specials, &sp);
		}
		heapFix_done(&f);
	}
}

typedef struct acquiring {
	mheap *h;
	mspan *s;
} acquiring;

static void acquireUnswept(void *arg) {
	const acquiring *a = arg;
	sweepLocker_tryAcquire(a->h, (sweepLocker){a->h->sweepgen, true}, a->s, 3);
}

// A span that became a stack while a set of unswept spans still named it: no sweeper takes it, and it was swept, or cached.
static void test_acquireManual(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	mspan *s = manual(&f, 1);
	startCycle(&f);
	const sweepLocker sl = activeSweep_begin(f.h);
	for (uint32_t ahead = 0; ahead <= 3; ahead += 3) {
		atomic_store(&s->sweepgen, f.h->sweepgen + ahead);
		assert_false(sweepLocker_tryAcquire(f.h, sl, s, 3));
	}
	activeSweep_end(f.h, sl);
	atomic_store(&s->sweepgen, f.h->sweepgen - 2);
	acquiring a = {f.h, s};
	assert_true(heapFix_throws(&f, acquireUnswept, &a));
	assert_string_equal(f.msg, "non in-use span in unswept list");
	heapFix_done(&f);
}

static bool always(void *ctx, gomem_heap *h, gomem_p *p) {
	(void)ctx;
	(void)h;
	(void)p;
	return true;
}

// Sweepers are counted, also where a policy says that sweeping is on; the first to say that nothing is left is told so.
static void test_activeSweep(void **state) {
	(void)state;
	const gomem_policy policy = {.sweepActive = always};
	heapFix f;
	heapFix_with(&f, (memSimConfig){0}, (gomem_config){.policy = &policy, .no_randomized_base = true});
	startCycle(&f);
	assert_int_equal(atomic_load(&f.h->sweep.active.state), 0);
	const sweepLocker one = activeSweep_beginGiven(f.h), two = activeSweep_beginGiven(f.h);
	assert_true(one.valid && two.valid);
	assert_int_equal(atomic_load(&f.h->sweep.active.state), 2);
	assert_true(activeSweep_markDrained(f.h));
	assert_false(activeSweep_markDrained(f.h));
	assert_false(activeSweep_isDone(f.h));
	activeSweep_end(f.h, one);
	activeSweep_end(f.h, two);
	assert_true(activeSweep_isDone(f.h));
	heapFix_done(&f);
}

static void test_reclaim(void **state) {
	(void)state;
	heapFix f;
	heapFix_with(&f, (memSimConfig){0}, (gomem_config){.no_randomized_base = true});
	mspan *s[64];
	for (int i = 0; i < 64; i++) {
		s[i] = spanOf(f.h, alloc(&f, 100 << 10));
	}
	startCycle(&f);
	// Twenty pages are asked for: spans are reclaimed in address order until as many are free.
	mheap_reclaim(f.h, f.p, 20);
	int freed = 0;
	for (int i = 0; i < 64; i++) {
		freed += mspan_state(s[i]) == mSpanDead;
	}
	// A reclaimer works by chunks of 512 pages, so it finds more, and the rest is credit.
	assert_true(freed >= 2);
	assert_int_equal(f.h->reclaimCredit, (uintptr_t)freed * 13 - 20);
	const uintptr_t credit = f.h->reclaimCredit;
	mheap_reclaim(f.h, f.p, 5);
	assert_int_equal(f.h->reclaimCredit, credit - 5);
	heapFix_checked(&f);
	heapFix_done(&f);
}

static void test_deductSweepCredit(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	for (int i = 0; i < 400; i++) {
		alloc(&f, 40 << 10);
	}
	startCycle(&f);
	gcPaceSweeper(f.h, f.h->stats.heapLive + (4 << 20));
	assert_true(f.h->sweepPagesPerByte > 0);
	const uint64_t before = f.h->pagesSwept;
	deductSweepCredit(f.h, f.p, 1 << 20, 0);
	const uint64_t swept = f.h->pagesSwept - before;
	assert_true((double)swept >= f.h->sweepPagesPerByte * (1 << 20) - 1);
	assert_true(swept < 400 * 5);
	deductSweepCredit(f.h, f.p, 64 << 20, 0); // more than there is
	assert_true(isSweepDone(f.h));
	assert_true(f.h->sweepPagesPerByte == 0);
	heapFix_done(&f);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_spanClass),
		cmocka_unit_test(test_arenaIndexBorders),
		cmocka_unit_test(test_spanOf),
		cmocka_unit_test(test_mSpanList),
		cmocka_unit_test(test_mSpanListMisuse),
		cmocka_unit_test(test_growByChunks),
		cmocka_unit_test(test_allSpansGrow),
		cmocka_unit_test(test_randomizedBase),
		cmocka_unit_test(test_hintRefused),
		cmocka_unit_test(test_discontiguousArenas),
		cmocka_unit_test(test_noHintLeft),
		cmocka_unit_test(test_movedReservation),
		cmocka_unit_test(test_needzero),
		cmocka_unit_test(test_needzeroAcrossArenas),
		cmocka_unit_test(test_hugePages),
		cmocka_unit_test(test_hugePagesWanted),
		cmocka_unit_test(test_hugePagesNot),
		cmocka_unit_test(test_hugePagesRefused),
		cmocka_unit_test(test_populate),
		cmocka_unit_test(test_populateNot),
		cmocka_unit_test(test_populateFlush),
		cmocka_unit_test(test_populateUsedUp),
		cmocka_unit_test(test_populateHalfResized),
		cmocka_unit_test(test_populateWanted),
		cmocka_unit_test(test_mspanCache),
		cmocka_unit_test(test_invalidFrees),
		cmocka_unit_test(test_nelemsGreenTea),
		cmocka_unit_test(test_cacheSpanOrder),
		cmocka_unit_test(test_cacheSpanSweeps),
		cmocka_unit_test(test_cacheSpanBudget),
		cmocka_unit_test(test_sweepFrees),
		cmocka_unit_test(test_tryAcquireOnce),
		cmocka_unit_test(test_ensureSwept),
		cmocka_unit_test(test_zombie),
		cmocka_unit_test(test_specialsRevive),
		cmocka_unit_test(test_acquireManual),
		cmocka_unit_test(test_activeSweep),
		cmocka_unit_test(test_reclaim),
		cmocka_unit_test(test_deductSweepCredit),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
