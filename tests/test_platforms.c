// test_platforms.c: the layout of each platform that Go runs on, and what is computed with it, against tests/data/platforms.golden.
//
// The golden file holds what Go's type checker and Go's own functions say (tests/platforms/golden.go). Each of its constants must have an answer
// here, each platform must be in each part, and no platform may be missing on either side.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gomem/mcache.h"
#include "gomem/sizeclasses.h"
#include "words.h"

static const char goldenPath[] = "tests/data/platforms.golden";
enum { maxLine = 1 << 16, maxNames = 1 << 12 };

// ---- the golden file: blocks, each with a title, platforms and lines

typedef struct golden {
	FILE *f;
	char line[maxLine];
	char kind[32], names[maxNames]; // of the block that line is in
} golden;

static void golden_open(golden *g) {
	memset(g, 0, sizeof *g);
	g->f = fopen(goldenPath, "r");
	if (g->f == NULL) {
		fail_msg("%s cannot be read", goldenPath);
	}
}

// golden_next gives the next line of a block of that kind, or NULL.
static char *golden_next(golden *g, const char *kind) {
	while (fgets(g->line, maxLine, g->f) != NULL) {
		g->line[strcspn(g->line, "\n")] = 0;
		if (g->line[0] == '#') {
			continue;
		}
		const size_t n = strcspn(g->line, " ");
		const bool title = strncmp(g->line, "constants ", 10) == 0 || strncmp(g->line, "addresses ", 10) == 0 ||
			strncmp(g->line, "hints ", 6) == 0;
		if (title) {
			(void)snprintf(g->kind, sizeof g->kind, "%.*s", (int)n, g->line);
			(void)snprintf(g->names, sizeof g->names, "%.*s", maxNames - 1, g->line + n + 1);
		} else if (strcmp(g->kind, kind) == 0) {
			return g->line;
		}
	}
	return NULL;
}

// eachLayout calls check for the layout of each platform of the block.
static unsigned eachLayout(const golden *g, void (*check)(const gomem_layout *L, char *line, void *arg), void *arg) {
	static char names[maxNames], line[maxLine];
	memcpy(names, g->names, sizeof names);
	unsigned n = 0;
	char *rest = NULL;
	for (char *name = strtok_r(names, " ", &rest); name != NULL; name = strtok_r(NULL, " ", &rest), n++) {
		gomem_layout L;
		if (!layout_ofPlatform(name, &L)) {
			fail_msg("gomem does not know %s", name);
		}
		memcpy(line, g->line, sizeof line); // check may cut it
		check(&L, line, arg);
	}
	return n;
}

static unsigned numPlatforms(void) {
	unsigned n = 0;
	while (layout_platformName(n) != NULL) {
		n++;
	}
	return n;
}

// checkAllNamed fails unless the blocks of that kind name each platform once.
static void checkAllNamed(const char *kind) {
	golden g;
	golden_open(&g);
	char seen[maxNames] = "";
	unsigned n = 0;
	while (golden_next(&g, kind) != NULL) {
		if (strcmp(seen, g.names) == 0) {
			continue;
		}
		memcpy(seen, g.names, sizeof seen);
		for (const char *s = g.names; s != NULL; s = strchr(s + 1, ' ')) {
			n++;
		}
	}
	(void)fclose(g.f);
	assert_int_equal(n, numPlatforms());
}

// ---- constants

static uint64_t byName(const gomem_layout *L, const char *name, bool *known) {
	const struct {
		const char *name;
		uint64_t value;
	} all[] = {
		{"ptrSize", L->ptrSize},
		{"pageShift", L->pageShift},
		{"pageSize", layout_pageSize(L)},
		{"heapAddrBits", L->heapAddrBits},
		{"maxAlloc", layout_maxAlloc(L)},
		{"logHeapArenaBytes", L->logHeapArenaBytes},
		{"heapArenaBytes", L->heapArenaBytes},
		{"pagesPerArena", layout_pagesPerArena(L)},
		{"arenaL1Bits", L->arenaL1Bits},
		{"arenaL2Bits", L->arenaL2Bits},
		{"arenaL1Shift", L->arenaL2Bits},
		{"arenaBits", (uint64_t)L->arenaL1Bits + L->arenaL2Bits},
		{"arenaBaseOffset", L->arenaBaseOffset},
		{"logPallocChunkPages", L->logPallocChunkPages},
		{"pallocChunkPages", layout_chunkPages(L)},
		{"pallocChunkBytes", layout_chunkBytes(L)},
		{"pallocChunksL1Bits", L->pallocChunksL1Bits},
		{"pallocChunksL2Bits", L->pallocChunksL2Bits},
		{"summaryLevels", L->summaryLevels},
		{"summaryLevelBits", L->summaryLevelBits},
		{"summaryL0Bits", L->summaryL0Bits},
		{"logMaxPackedValue", layout_logMaxPackedValue(L)},
		{"pagesPerReclaimerChunk", L->pagesPerReclaimerChunk},
		{"scavChunkHiOccPages", L->scavChunkHiOccPages},
		{"pageCachePages", pageCachePages},
		{"minPhysPageSize", L->minPhysPageSize},
		{"maxPhysPageSize", L->maxPhysPageSize},
		{"maxPhysHugePageSize", layout_chunkBytes(L)},
		{"defaultPhysPageSize", L->defaultPhysPageSize},
		{"isSbrkPlatform", L->reserve == LAYOUT_RESERVE_SBRK},
		{"randomizeHeapBase", L->randomizeHeapBase},
		{"greenTea", L->greenTea},
		{"physPageAlignedStacks", L->physPageAlignedStacks},
		{"maxTinySize", L->maxTinySize},
		{"tinySizeClass", L->tinySizeClass},
		{"maxSmallSize", L->maxSmallSize},
		{"smallSizeDiv", L->smallSizeDiv},
		{"smallSizeMax", L->smallSizeMax},
		{"largeSizeDiv", L->largeSizeDiv},
		{"numSizeClasses", numSizeClasses},
		{"numSpanClasses", numSpanClasses},
		{"minHeapAlign", minHeapAlign},
		{"mallocHeaderSize", L->mallocHeaderSize},
		{"minSizeForMallocHeader", L->minSizeForMallocHeader},
		{"spanInlineMarkBitsSize", L->spanInlineMarkBitsSize},
		{"stackCacheSize", L->stackCacheSize},
		{"numStackOrders", L->numStackOrders},
		{"fixedStack", L->fixedStack},
		{"fixAllocChunk", L->fixAllocChunk},
		{"persistentChunkSize", L->persistentChunkSize},
		{"gcBitsChunkBytes", L->gcBitsChunkBytes},
		{"minHeapForMetadataHugePages", L->minHeapForMetadataHugePages},
		{"spanSetBlockEntries", spanSetBlockEntries},
		{"spanSetInitSpineCap", spanSetInitSpineCap},
		{"tagAlignBits", tagAlignBits},
		{"tagBits", layout_tagBits(L)},
		{"mspanCacheLen", mspanCacheLen},
		{"stackLargeClasses", (uint64_t)L->heapAddrBits - L->pageShift},
	};
	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
		if (strcmp(all[i].name, name) == 0) {
			*known = true;
			return all[i].value;
		}
	}
	*known = false;
	return 0;
}

typedef struct tally {
	unsigned equal, all;
} tally;

// equal counts one comparison, and tells the first that fails.
static void equal(tally *t, const gomem_layout *L, const char *what, uint64_t got, uint64_t want) {
	t->all++;
	t->equal += got == want;
	if (got != want && t->all - t->equal <= 10) {
		print_error(
			"%s: %s: gomem %#llx, Go %#llx\n", L->name, what, (unsigned long long)got, (unsigned long long)want);
	}
}

static void checkTable(const gomem_layout *L, char *name, char *rest, tally *t) {
	unsigned (*const of)(const gomem_layout *, unsigned) = strcmp(name, "levelBits") == 0 ? layout_levelBits
		: strcmp(name, "levelShift") == 0                                                 ? layout_levelShift
																						  : layout_levelLogPages;
	unsigned level = 0;
	for (char *v = strtok_r(NULL, " ", &rest); v != NULL; v = strtok_r(NULL, " ", &rest), level++) {
		equal(t, L, name, of(L, level), strtoull(v, NULL, 10));
	}
	equal(t, L, "levels", level, L->summaryLevels);
}

// compiledIn gives the layout of this name that builds with a constant one may have, or NULL.
static const gomem_layout *compiledIn(const char *name) {
	return strcmp(name, layout_linux_amd64_go126.name) == 0 ? &layout_linux_amd64_go126
		: strcmp(name, layout_linux_386_go126.name) == 0    ? &layout_linux_386_go126
															: NULL;
}

static void checkConstant(const gomem_layout *L, char *line, void *arg) {
	char *rest = NULL;
	char *name = strtok_r(line, " ", &rest);
	if (strncmp(name, "level", 5) == 0) {
		checkTable(L, name, rest, arg);
		return;
	}
	bool known;
	const uint64_t value = byName(L, name, &known);
	if (!known) {
		fail_msg("no answer for %s", name);
	}
	const uint64_t want = strtoull(strtok_r(NULL, " ", &rest), NULL, 10);
	equal(arg, L, name, value, want);
	const gomem_layout *compiled = compiledIn(L->name);
	if (compiled != NULL) {
		equal(arg, L, name, byName(compiled, name, &known), want);
	}
}

static void report(const char *what, const tally *t) {
	print_message("%s: %u of %u equal on %u platforms\n", what, t->equal, t->all, numPlatforms());
	assert_int_equal(t->equal, t->all);
}

static void TestConstants(void **state) {
	(void)state;
	golden g;
	golden_open(&g);
	tally t = {0, 0};
	while (golden_next(&g, "constants") != NULL) {
		eachLayout(&g, checkConstant, &t);
	}
	(void)fclose(g.f);
	checkAllNamed("constants");
	report("constants", &t);
}

// What is compiled in is what is derived; what Go names, TestConstants compares.
static void checkCompiledIn(const char *platform, const gomem_layout *compiled) {
	gomem_layout L;
	assert_true(layout_ofPlatform(platform, &L));
	assert_string_equal(L.name, compiled->name);
	assert_int_equal(L.randHeapAddrBits, compiled->randHeapAddrBits);
	assert_int_equal(L.numArenaHints, compiled->numArenaHints);
	assert_int_equal(L.numHeapArenaHints, compiled->numHeapArenaHints);
	assert_int_equal(L.randomizeHeapBase, compiled->randomizeHeapBase);
	assert_int_equal(L.reserve, compiled->reserve);
	assert_int_equal(L.arenaHintShift, compiled->arenaHintShift);
	assert_int_equal(L.firstArenaHint, compiled->firstArenaHint);
	assert_int_equal(L.arenaHintBase, compiled->arenaHintBase);
	assert_int_equal(L.pageCacheSpanPages, compiled->pageCacheSpanPages);
}

static void TestLayoutsHold(void **state) {
	(void)state;
	for (unsigned i = 0; layout_platformName(i) != NULL; i++) {
		gomem_layout L;
		assert_true(layout_ofPlatform(layout_platformName(i), &L));
		if (layout_check(&L) != NULL) {
			fail_msg("%s: %s", L.name, layout_check(&L));
		}
	}
	gomem_layout L;
	assert_false(layout_ofPlatform("linux", &L));
	assert_false(layout_ofPlatform("linux/amd6", &L));
	assert_false(layout_ofPlatform("linux/amd64 ", &L));
	assert_false(layout_ofPlatform("", &L));
	checkCompiledIn("linux/amd64", &layout_linux_amd64_go126);
	checkCompiledIn("linux/386", &layout_linux_386_go126);
}

// ---- addresses

typedef struct addressCheck {
	tally t;
	uint64_t next; // the address of the next line, that of the first behind the last
} addressCheck;

static void checkAddress(const gomem_layout *L, char *line, void *arg) {
	addressCheck *check = arg;
	tally *t = &check->t;
	enum { maxValues = 11 + 2 * maxSummaryLevels };
	uint64_t want[maxValues] = {0};
	unsigned n = 0;
	for (char *at = line; *at != 0 && n < maxValues; n++) {
		want[n] = strtoull(at, &at, 16);
	}
	assert_int_equal(n, 11 + 2 * L->summaryLevels);
	const uintptr_t p = (uintptr_t)want[0];
	const arenaIdx ai = arenaIndex(L, p);
	const chunkIdx ci = chunkIndex(L, p);
	equal(t, L, "arenaIndex", ai, want[1]);
	equal(t, L, "arenaBase", layout_uintptr(L, arenaBase(L, ai)), want[2]);
	equal(t, L, "arenaIdx.l1", arenaIdx_l1(L, ai), want[3]);
	equal(t, L, "arenaIdx.l2", arenaIdx_l2(L, ai), want[4]);
	equal(t, L, "chunkIndex", ci, want[5]);
	equal(t, L, "chunkBase", layout_uintptr(L, chunkBase(L, ci)), want[6]);
	equal(t, L, "chunkPageIndex", chunkPageIndex(L, p), want[7]);
	equal(t, L, "chunkIdx.l1", chunkIdx_l1(L, ci), want[8]);
	equal(t, L, "chunkIdx.l2", chunkIdx_l2(L, ci), want[9]);
	for (unsigned l = 0; l < L->summaryLevels; l++) {
		const uintptr_t i = offAddrToLevelIndex(L, l, (offAddr){p});
		equal(t, L, "offAddrToLevelIndex", i, want[10 + 2 * l]);
		equal(t, L, "levelIndexToOffAddr", layout_uintptr(L, levelIndexToOffAddr(L, l, i).a), want[11 + 2 * l]);
	}
	equal(t, L, "lessThan", offAddr_lessThan(L, (offAddr){(uintptr_t)check->next}, (offAddr){p}), want[n - 1]);
}

static void TestAddresses(void **state) {
	(void)state;
	onlyWide("it computes with the addresses of all platforms");
	golden g;
	golden_open(&g);
	addressCheck check = {{0, 0}, 0};
	static char held[maxLine], names[maxNames];
	uint64_t first = 0;
	unsigned lines = 0;
	for (char *line = golden_next(&g, "addresses");; line = golden_next(&g, "addresses")) {
		const bool more = line != NULL && strcmp(names, g.names) == 0;
		if (names[0] != 0) {
			golden at = {.f = g.f};
			memcpy(at.line, held, sizeof held);
			memcpy(at.names, names, sizeof names);
			check.next = more ? strtoull(line, NULL, 16) : first;
			eachLayout(&at, checkAddress, &check);
			lines++;
		}
		if (line == NULL) {
			break;
		}
		first = more ? first : strtoull(line, NULL, 16);
		memcpy(held, g.line, sizeof held);
		memcpy(names, g.names, sizeof names);
	}
	(void)fclose(g.f);
	checkAllNamed("addresses");
	print_message("addresses: %u lines\n", lines);
	report("addresses", &check.t);
}

// ---- hints: a heap is begun on each platform, over a system that refuses as much as Go's was refused

static struct {
	void *(*reserve)(gomem_os *os, void *hint, uintptr_t n, memUse use);
	unsigned refuse;
	char asked[256];
} os;

static void *osReserve(gomem_os *self, void *hint, uintptr_t n, memUse use) {
	if (use == MEM_META) {
		return os.reserve(self, hint, n, use);
	}
	const size_t at = strlen(os.asked);
	(void)snprintf(
		os.asked + at, sizeof os.asked - at, " %llx %llx", (unsigned long long)(uintptr_t)hint, (unsigned long long)n);
	if (os.refuse > 0) {
		os.refuse--;
		return NULL;
	}
	return hint;
}

static void onThrow(void *ctx, const char *msg) {
	(void)ctx;
	fail_msg("thrown: %s", msg);
}

// beginHeap makes the heap that a line "fixed", "seed S" or "end E refused R" tells of.
static gomem_heap *beginHeap(const gomem_layout *L, gomem_os *system, const char *how) {
	uint64_t seed = 1;
	os.refuse = 0;
	os.asked[0] = 0;
	const bool fixed = strcmp(how, "fixed") == 0;
	if (strncmp(how, "seed ", 5) == 0) {
		seed = strtoull(how + 5, NULL, 16);
	} else if (!fixed) {
		char *rest;
		system->programEnd = (uintptr_t)strtoull(how + strlen("end "), &rest, 16);
		assert_memory_equal(rest, " refused ", 9);
		os.refuse = (unsigned)strtoul(rest + 9, NULL, 10);
	}
	const gomem_config cfg = {
		.os = system, .layout = L, .rand_seed = seed, .no_randomized_base = fixed, .throw_hook = onThrow};
	gomem_heap *h = gomem_heap_new_bare(&cfg);
	assert_non_null(h);
	return h;
}

static void checkList(const gomem_layout *L, const arenaHint *hint, char *want, tally *t) {
	char *rest = NULL;
	(void)strtok_r(want, " ", &rest); // "heap" or "user"
	for (char *v = strtok_r(NULL, " ", &rest); v != NULL; v = strtok_r(NULL, " ", &rest)) {
		equal(t, L, "hint", hint != NULL ? hint->addr : UINT64_MAX, strtoull(v, NULL, 16));
		hint = hint != NULL ? hint->next : NULL;
	}
	equal(t, L, "a hint more than Go's", hint != NULL, false);
}

typedef struct begun {
	char how[64];
	tally t;
} begun;

static void checkHints(const gomem_layout *given, char *line, void *arg) {
	begun *b = arg;
	gomem_layout L = *given;
	gomem_os *system = mem_sim_new(&(memSimConfig){.physPageSize = (uintptr_t)L.defaultPhysPageSize});
	assert_non_null(system);
	os.reserve = system->reserve;
	system->reserve = osReserve;
	gomem_heap *h = beginHeap(&L, system, b->how);
	if (strncmp(line, "asked", 5) == 0) {
		equal(&b->t, &L, "asked of the OS", strcmp(os.asked, line + 5) == 0, true);
	} else if (strncmp(line, "arena", 5) == 0) {
		char *rest;
		const uint64_t lo = strtoull(line + strlen("arena "), &rest, 16), hi = strtoull(rest, NULL, 16);
		equal(&b->t, &L, "begin of the reserved arena", h->arena.next, lo);
		equal(&b->t, &L, "end of the reserved arena", h->arena.end, hi);
	} else {
		checkList(&L, strncmp(line, "heap", 4) == 0 ? h->arenaHints : h->userArenaHints, line, &b->t);
	}
	h->arena = (linearAlloc){0}; // the system does not know that it granted it
	gomem_heap_destroy(h);
	system->destroy(system);
}

static void TestHints(void **state) {
	(void)state;
	onlyWide("it computes with the addresses of all platforms");
	golden g;
	golden_open(&g);
	begun b = {.t = {0, 0}};
	unsigned heaps = 0;
	for (char *line = golden_next(&g, "hints"); line != NULL; line = golden_next(&g, "hints")) {
		if (strncmp(line, "fixed", 5) == 0 || strncmp(line, "seed", 4) == 0 || strncmp(line, "end", 3) == 0) {
			(void)snprintf(b.how, sizeof b.how, "%.*s", 60, line);
			continue;
		}
		heaps += eachLayout(&g, checkHints, &b);
	}
	(void)fclose(g.f);
	checkAllNamed("hints");
	print_message("hints: %u heaps begun\n", heaps);
	report("hints", &b.t);
}

// On wasm an arena has 512 KiB: what describes one must be small beside it.
static void TestSmallArenasHaveSmallMetadata(void **state) {
	(void)state;
	onlyWide("wasm has 64-bit words");
	enum { GROWTHS = 24, PAGES = 513 };
	gomem_layout L;
	assert_true(layout_ofPlatform("js/wasm", &L));
	gomem_os *system = mem_sbrk_new(memLinear_sim(&(memLinearConfig){
		.start = 0x10000000, .limit = (uintptr_t)128 << 20, .physPageSize = (uintptr_t)L.defaultPhysPageSize}));
	assert_non_null(system);
	gomem_heap *h = gomem_heap_new(&(gomem_config){.os = system, .layout = &L, .checked = true, .throw_hook = onThrow});
	assert_non_null(h);
	for (unsigned i = 0; i < GROWTHS; i++) { // 9 arenas each
		assert_non_null(gomem_allocManual(h, gomem_heap_p(h, 0), PAGES));
	}
	gomem_memstats m;
	gomem_readmemstats(h, &m);
	assert_true(m.gc_misc_sys < (uint64_t)4 << 20);
	assert_null(gomem_heap_check(h));
	gomem_heap_destroy(h);
	system->destroy(system);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(TestLayoutsHold),
		cmocka_unit_test(TestConstants),
		cmocka_unit_test(TestAddresses),
		cmocka_unit_test(TestHints),
		cmocka_unit_test(TestSmallArenasHaveSmallMetadata),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
