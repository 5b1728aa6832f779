// test_layout.c: the two layouts that are compiled in hold, and each equation can be broken. Those of other platforms: test_platforms.c.
#include "memtest.h"

static void TestHostLayout(void **state) {
	(void)state;
	assert_int_equal(layout_host.ptrSize, sizeof(uintptr_t));
	assert_int_equal(layout_tagBits(&layout_host), tagBits);
}

static void Test64(void **state) {
	(void)state;
	const gomem_layout *L = &layout_linux_amd64_go126;
	assert_true(!wideWords || layout_check(L) == NULL); // tables of a narrow build are smaller
	assert_int_equal(layout_pageSize(L), 8192);
	assert_int_equal(layout_chunkBytes(L), 4 << 20);
	assert_int_equal(layout_pagesPerArena(L), 8192);
	static const unsigned bits[] = {14, 3, 3, 3, 3}, shift[] = {34, 31, 28, 25, 22}, pages[] = {21, 18, 15, 12, 9};
	for (unsigned l = 0; l < L->summaryLevels; l++) {
		assert_int_equal(layout_levelBits(L, l), bits[l]);
		assert_int_equal(layout_levelShift(L, l), shift[l]);
		assert_int_equal(layout_levelLogPages(L, l), pages[l]);
	}
	assert_int_equal(layout_logMaxPackedValue(L), 21);
}

static void Test32(void **state) {
	(void)state;
	const gomem_layout *L = &layout_linux_386_go126;
	assert_null(layout_check(L));
	assert_int_equal(layout_pageSize(L), 8192);
	assert_int_equal(layout_chunkBytes(L), 4 << 20);
	assert_int_equal(layout_pagesPerArena(L), 512);
	static const unsigned bits[] = {1, 3, 3, 3}, shift[] = {31, 28, 25, 22}, pages[] = {18, 15, 12, 9};
	for (unsigned l = 0; l < L->summaryLevels; l++) {
		assert_int_equal(layout_levelBits(L, l), bits[l]);
		assert_int_equal(layout_levelShift(L, l), shift[l]);
		assert_int_equal(layout_levelLogPages(L, l), pages[l]);
	}
	assert_int_equal(layout_logMaxPackedValue(L), 18);
	assert_true(layout_maxAlloc(L) == UINT32_MAX);
}

typedef void (*breaker)(gomem_layout *l);
static void breakPtrSize(gomem_layout *l) { l->ptrSize = 6; }
static void breakPageShift(gomem_layout *l) { l->pageShift = 30; }
static void breakHeapAddrBits(gomem_layout *l) { l->heapAddrBits = 60; }
static void breakMaxPhysPageSize(gomem_layout *l) { l->maxPhysPageSize = 4096; }
static void breakMaxPhysPageSize2(gomem_layout *l) { l->maxPhysPageSize = 1 << 20; }
static void breakHeapArenaBytes(gomem_layout *l) { l->heapArenaBytes *= 2; }
static void breakSmallArena(gomem_layout *l) {
	l->logHeapArenaBytes = 21;
	l->heapArenaBytes = 2 << 20;
	l->arenaL2Bits = 27;
}
static void breakArenaBits(gomem_layout *l) { l->arenaL2Bits++; }
static void breakArenaBaseOffset(gomem_layout *l) { l->arenaBaseOffset += 4096; }
static void breakSummaryLevels(gomem_layout *l) { l->summaryLevels = 6; }
static void breakSummaryL0(gomem_layout *l) { l->summaryL0Bits--; }
static void breakPacked(gomem_layout *l) {
	l->summaryLevelBits = 4;
	l->summaryL0Bits = 10;
}
static void breakChunksL2(gomem_layout *l) { l->pallocChunksL2Bits++; }
static void breakHiOcc(gomem_layout *l) { l->scavChunkHiOccPages = 513; }
static void breakReclaimer(gomem_layout *l) { l->pagesPerReclaimerChunk = 500; }
static void breakSmallSizeMax(gomem_layout *l) { l->smallSizeMax = 1020; }
static void breakMaxSmallSize(gomem_layout *l) { l->maxSmallSize = 32700; }
static void breakTiny(gomem_layout *l) { l->maxTinySize = 24; }
static void breakHeaderSize(gomem_layout *l) { l->mallocHeaderSize = 16; }
static void breakHeaderMin(gomem_layout *l) { l->minSizeForMallocHeader = 256; }
static void breakInlineBits(gomem_layout *l) { l->spanInlineMarkBitsSize = 100; }
static void breakStackOrders(gomem_layout *l) { l->numStackOrders = 5; }
static void breakFixedStack(gomem_layout *l) { l->fixedStack = 3000; }
static void breakStackCache(gomem_layout *l) { l->stackCacheSize = 8 << 10; }
static void breakFixAlloc(gomem_layout *l) { l->fixAllocChunk = 1024; }
static void breakFixAlloc2(gomem_layout *l) { l->fixAllocChunk = 256 << 10; }
static void breakPersistent(gomem_layout *l) { l->persistentChunkSize = 64 << 10; }
static void breakPersistent2(gomem_layout *l) { l->persistentChunkSize = 300 << 10; }
static void breakNarrow(gomem_layout *l) { l->ptrSize = 4; }
static void breakChunk(gomem_layout *l) { l->logPallocChunkPages = 5; }
static void breakBigChunk(gomem_layout *l) { l->logPallocChunkPages = 10; }
static void breakMinPhysPageSize(gomem_layout *l) { l->minPhysPageSize = 8192; }
static void breakDefaultPhysPageSize(gomem_layout *l) { l->defaultPhysPageSize = 12288; }
static void breakReserve(gomem_layout *l) { l->reserve = LAYOUT_RESERVE_SBRK; }
static void breakReserve2(gomem_layout *l) { l->reserve = 3; }
static void breakFirstHint(gomem_layout *l) { l->firstArenaHint = 0x81; }
static void breakHeapHints(gomem_layout *l) { l->numHeapArenaHints = 0x81; }
static void breakHintShift(gomem_layout *l) { l->arenaHintShift = 64; }
static void breakOrders(gomem_layout *l) { l->fixedStack = 8192; }
static void breakTag(gomem_layout *l) { l->tagAddrBits = 58; }
static void breakGcBits(gomem_layout *l) { l->gcBitsChunkBytes = 60000; }

static void TestBrokenLayouts(void **state) {
	(void)state;
	onlyWide("the layout that is broken has tables that do not fit here");
	static const struct {
		breaker apply;
		const char *says; // in the answer
	} tests[] = {
		{breakPtrSize, "ptrSize"},
		{breakPageShift, "pageShift"},
		{breakHeapAddrBits, "heapAddrBits"},
		{breakMaxPhysPageSize, "maxPhysPageSize"},
		{breakMaxPhysPageSize2, "maxPhysPageSize <="},
		{breakHeapArenaBytes, "heapArenaBytes == 1 <<"},
		{breakSmallArena, "multiple of a chunk's pages"},
		{breakArenaBits, "arenaL2Bits"},
		{breakArenaBaseOffset, "arenaBaseOffset"},
		{breakSummaryLevels, "maxSummaryLevels"},
		{breakSummaryL0, "summaryL0Bits"},
		{breakPacked, "logMaxPackedValue"},
		{breakChunksL2, "pallocChunksL2Bits"},
		{breakHiOcc, "scavChunkHiOccPages"},
		{breakReclaimer, "pagesPerReclaimerChunk"},
		{breakSmallSizeMax, "smallSizeMax is"},
		{breakMaxSmallSize, "maxSmallSize"},
		{breakTiny, "maxTinySize"},
		{breakHeaderSize, "mallocHeaderSize"},
		{breakHeaderMin, "minSizeForMallocHeader"},
		{breakInlineBits, "spanInlineMarkBitsSize"},
		{breakStackOrders, "numStackOrders"},
		{breakFixedStack, "fixedStack"},
		{breakStackCache, "<= stackCacheSize"},
		{breakFixAlloc, "fixAllocChunk fits"},
		{breakFixAlloc2, "persistentChunkSize / 2"},
		{breakPersistent, "persistentChunkSize holds"},
		{breakPersistent2, "divide one another"},
		{breakGcBits, "gcBitsChunkBytes"},
		{breakNarrow, "fits ptrSize bytes"},
		{breakChunk, "pages of a chunk <="},
		{breakBigChunk, "pages of a chunk <="},
		{breakMinPhysPageSize, "minPhysPageSize <="},
		{breakDefaultPhysPageSize, "defaultPhysPageSize <="},
		{breakReserve, "needs hints"},
		{breakReserve2, "needs hints"},
		{breakFirstHint, "firstArenaHint"},
		{breakHeapHints, "numHeapArenaHints"},
		{breakHintShift, "arenaHintShift"},
		{breakOrders, "numStackOrders - 1"},
		{breakTag, "a tag has 16 bits"},
	};
	for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++) {
		gomem_layout l = layout_linux_amd64_go126;
		tests[i].apply(&l);
		const char *got = layout_check(&l);
		if (got == NULL || strstr(got, tests[i].says) == NULL) {
			fail_msg("%s: got %s", tests[i].says, got == NULL ? "nothing" : got);
		}
	}
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(TestHostLayout),
		cmocka_unit_test(Test64),
		cmocka_unit_test(Test32),
		cmocka_unit_test(TestBrokenLayouts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
