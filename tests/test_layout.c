// test_layout.c: the host's layout holds, layouts of other platforms do, and each equation can be broken.
#include "memtest.h"

static void TestHostLayout(void **state) {
	(void)state;
	const gomem_layout *L = &layout_linux_amd64_go126;
	assert_null(layout_check(L));
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

// linux/386, windows/amd64, ios/arm64 as Go's malloc.go and mpagealloc_*.go have them.
static void TestOtherPlatforms(void **state) {
	(void)state;
	gomem_layout l = layout_linux_amd64_go126;
	l.ptrSize = 4;
	l.heapAddrBits = 32;
	l.randHeapAddrBits = 32;
	l.logHeapArenaBytes = 22;
	l.heapArenaBytes = 4 << 20;
	l.arenaL2Bits = 10;
	l.summaryLevels = 4;
	l.summaryL0Bits = 32 - 22 - 3 * 3;
	l.pallocChunksL1Bits = 0;
	l.pallocChunksL2Bits = 10;
	l.arenaBaseOffset = 0;
	l.minSizeForMallocHeader = 128;
	l.maxTinySize = 8;
	l.numStackOrders = 4;
	assert_null(layout_check(&l));

	l = layout_linux_amd64_go126;
	l.logHeapArenaBytes = 22;
	l.heapArenaBytes = 4 << 20;
	l.arenaL1Bits = 6;
	l.arenaL2Bits = 20;
	l.numStackOrders = 3;
	assert_null(layout_check(&l));

	l = layout_linux_amd64_go126;
	l.heapAddrBits = 40;
	l.randHeapAddrBits = 39;
	l.arenaL2Bits = 14;
	l.summaryL0Bits = 40 - 22 - 4 * 3;
	l.pallocChunksL2Bits = 40 - 22 - 13;
	l.arenaBaseOffset = 0;
	assert_null(layout_check(&l));
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
static void breakStackCache(gomem_layout *l) { l->stackCacheSize = 16 << 10; }
static void breakFixAlloc(gomem_layout *l) { l->fixAllocChunk = 1024; }
static void breakFixAlloc2(gomem_layout *l) { l->fixAllocChunk = 256 << 10; }
static void breakPersistent(gomem_layout *l) { l->persistentChunkSize = 64 << 10; }
static void breakPersistent2(gomem_layout *l) { l->persistentChunkSize = 300 << 10; }
static void breakGcBits(gomem_layout *l) { l->gcBitsChunkBytes = 60000; }

static void TestBrokenLayouts(void **state) {
	(void)state;
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
		{breakSmallArena, "multiple of pallocChunkPages"},
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
		cmocka_unit_test(TestOtherPlatforms),
		cmocka_unit_test(TestBrokenLayouts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
