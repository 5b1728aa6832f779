// fuzz_arenaindex.c: where an address lies: arena, chunk, page, and the order of addresses; on layouts of several platforms and on made-up
// ones, against arithmetic with 128-bit integers. layout_check must let pass those layouts, and only those, whose equations hold.
#include "fuzz/fuzz.h"

#include <string.h>

#include "fuzz/layouts.h"
#include "gomem/mheap.h"
#include "gomem/sizeclasses.h"

__extension__ typedef unsigned __int128 wide;

typedef struct state {
	gomem_layout good;  // what addresses are tested with
	gomem_layout draft; // what is being changed
} state;

static wide power(unsigned n) {
	wide p = 1;
	while (n-- > 0 && p != 0) {
		p *= 2;
	}
	return p; // 0: more than 128 bits hold
}

static const wide numAddresses = (wide)1 << 64;

// ---- addresses

static wide offsetOf(const gomem_layout *l, uint64_t addr) {
	return (wide)(((wide)addr + numAddresses - l->arenaBaseOffset) % numAddresses);
}
static uint64_t addrAt(const gomem_layout *l, wide offset) {
	return (uint64_t)((offset + l->arenaBaseOffset) % numAddresses);
}

static void address(void *v, const uint64_t *a) {
	const gomem_layout *l = &((state *)v)->good;
	const wide offset = (wide)a[0] % power(l->heapAddrBits);
	const uint64_t addr = addrAt(l, offset);
	const wide page = power(l->pageShift), chunk = page * power(l->logPallocChunkPages);

	const arenaIdx ai = arenaIndex(l, (uintptr_t)addr);
	fuzz_equal("arenaIndex", ai, (uint64_t)(offset / l->heapArenaBytes));
	fuzz_equal("arenaBase", arenaBase(l, ai), addrAt(l, (wide)(offset - offset % l->heapArenaBytes)));
	fuzz_equal("l1", arenaIdx_l1(l, ai), (uint64_t)(offset / l->heapArenaBytes / power(l->arenaL2Bits)));
	fuzz_equal("l2", arenaIdx_l2(l, ai), (uint64_t)(offset / l->heapArenaBytes % power(l->arenaL2Bits)));
	fuzz_check(arenaIdx_l1(l, ai) < arenaL1Max, "l1 is an index of mheap.arenas");

	const chunkIdx ci = chunkIndex(l, (uintptr_t)addr);
	fuzz_equal("chunkIndex", ci, (uint64_t)(offset / chunk));
	fuzz_equal("chunkBase", chunkBase(l, ci), addrAt(l, offset - offset % chunk));
	fuzz_equal("chunkPageIndex", chunkPageIndex(l, (uintptr_t)addr), (uint64_t)(offset % chunk / page));
	fuzz_check(ci < power(l->pallocChunksL1Bits + l->pallocChunksL2Bits), "each chunk has its place in the two tables");
}

// levels: what one entry of each level of the tree covers.
static void levels(void *v, const uint64_t *a) {
	(void)a;
	const gomem_layout *l = &((state *)v)->good;
	const wide page = power(l->pageShift), chunk = page * power(l->logPallocChunkPages);
	wide covers = chunk;
	fuzz_equal("pageSize", layout_pageSize(l), (uint64_t)page);
	fuzz_equal("chunkBytes", layout_chunkBytes(l), (uint64_t)chunk);
	fuzz_equal("pagesPerArena", layout_pagesPerArena(l), (uint64_t)(l->heapArenaBytes / page));
	for (unsigned level = l->summaryLevels; level-- > 0;) {
		fuzz_equal("levelShift", (uint64_t)power(layout_levelShift(l, level)), (uint64_t)covers);
		fuzz_equal("levelLogPages", (uint64_t)power(layout_levelLogPages(l, level)), (uint64_t)(covers / page));
		if (level == 0) {
			fuzz_equal(
				"the most pages in a sum", (uint64_t)power(layout_logMaxPackedValue(l)), (uint64_t)(covers / page));
		}
		covers *= power(layout_levelBits(l, level));
	}
	fuzz_equal("the tree covers the address space", (uint64_t)covers, (uint64_t)power(l->heapAddrBits));
}

static void order(void *v, const uint64_t *a) {
	const gomem_layout *l = &((state *)v)->good;
	const uint64_t x = a[0], y = a[1];
	const wide ox = offsetOf(l, x), oy = offsetOf(l, y);
	fuzz_equal("lessThan", offAddr_lessThan(l, (offAddr){(size_t)x}, (offAddr){(size_t)y}), ox < oy);
	fuzz_equal("lessEqual", offAddr_lessEqual(l, (offAddr){(size_t)x}, (offAddr){(size_t)y}), ox <= oy);
	fuzz_equal("equal", offAddr_equal((offAddr){(size_t)x}, (offAddr){(size_t)y}), ox == oy);
	fuzz_equal("diff", offAddr_diff((offAddr){(size_t)x}, (offAddr){(size_t)y}),
		(uint64_t)((ox + numAddresses - oy) % numAddresses));
	fuzz_equal("add", offAddr_add((offAddr){(size_t)x}, (uintptr_t)y).a, (uint64_t)(((wide)x + y) % numAddresses));
	fuzz_equal("sub", offAddr_sub((offAddr){(size_t)x}, (uintptr_t)y).a,
		(uint64_t)(((wide)x + numAddresses - y) % numAddresses));
	fuzz_equal("minOffAddr", minOffAddr(l).a, addrAt(l, 0));
	fuzz_equal("maxOffAddr", maxOffAddr(l).a, addrAt(l, power(l->heapAddrBits) - 1));
}

// ---- layouts

static bool isPower(wide x) {
	while (x > 1 && x % 2 == 0) {
		x /= 2;
	}
	return x == 1;
}

static bool pagesHold(const gomem_layout *l) {
	const wide page = power(l->pageShift), widest = power(l->ptrSize == 4 ? 32 : 48);
	return (l->ptrSize == 4 || l->ptrSize == 8) && page >= 4096 && page <= 1 << 20 &&
		power(l->heapAddrBits) >= power(31) && power(l->heapAddrBits) <= widest && l->heapAddrBits < 128 &&
		l->logPallocChunkPages >= 6 && l->logPallocChunkPages <= 9 && isPower((wide)l->minPhysPageSize) &&
		isPower((wide)l->defaultPhysPageSize) && l->minPhysPageSize > 0 &&
		l->minPhysPageSize <= l->defaultPhysPageSize && l->defaultPhysPageSize <= l->maxPhysPageSize &&
		isPower((wide)l->maxPhysPageSize) && l->maxPhysPageSize >= page && l->maxPhysPageSize <= 64 * page;
}

// An arena is a whole number of chunks, its metadata has room for its pages, and the two tables reach each arena of the address space.
static bool arenasHold(const gomem_layout *l) {
	const wide page = power(l->pageShift), space = power(l->heapAddrBits), arena = (wide)l->heapArenaBytes;
	return arena == power(l->logHeapArenaBytes) && arena < space &&
		arena % (page * power(l->logPallocChunkPages)) == 0 && arena / page > 0 && arena / page <= 16384 &&
		l->arenaL1Bits <= 6 && (unsigned)l->arenaL1Bits + l->arenaL2Bits + l->logHeapArenaBytes == l->heapAddrBits &&
		l->arenaBaseOffset % arena == 0;
}

// A randomized base has bits above an arena's and within an address's, and eight of them count the hints. It is for hints of 64 bits.
static bool baseHolds(const gomem_layout *l) {
	return l->reserve <= 2 && l->firstArenaHint <= l->numArenaHints && l->numHeapArenaHints <= l->numArenaHints &&
		l->arenaHintShift <= 48 &&
		(!l->randomizeHeapBase ||
			(l->reserve != 2 && l->ptrSize == 8 && l->randHeapAddrBits >= l->logHeapArenaBytes &&
				l->randHeapAddrBits >= 8 && l->randHeapAddrBits <= l->heapAddrBits));
}

static bool treeHolds(const gomem_layout *l) {
	const wide page = power(l->pageShift);
	const unsigned logPages = l->logPallocChunkPages, chunkBits = l->pageShift + logPages;
	const unsigned below = (l->summaryLevels - 1u) * l->summaryLevelBits;
	return l->summaryLevels >= 1 && l->summaryLevels <= 5 && l->summaryL0Bits + below + chunkBits == l->heapAddrBits &&
		(logPages + below) * 3 < 64 &&
		(unsigned)l->pallocChunksL1Bits + l->pallocChunksL2Bits + chunkBits == l->heapAddrBits &&
		l->scavChunkHiOccPages <= power(logPages) && l->pagesPerReclaimerChunk != 0 &&
		l->heapArenaBytes / page % l->pagesPerReclaimerChunk == 0;
}

// The tables that lead from a size to its class have 129 and 249 entries.
static bool objectsHold(const gomem_layout *l) {
	return l->smallSizeDiv != 0 && l->largeSizeDiv != 0 && l->smallSizeMax % l->smallSizeDiv == 0 &&
		l->smallSizeMax / l->smallSizeDiv <= 128 && l->smallSizeMax >= 8 && l->maxSmallSize >= l->smallSizeMax &&
		(l->maxSmallSize - l->smallSizeMax) % l->largeSizeDiv == 0 &&
		(l->maxSmallSize - l->smallSizeMax) / l->largeSizeDiv <= 248 && l->tinySizeClass >= 1 &&
		l->tinySizeClass < 68 && isPower((wide)l->maxTinySize) && l->mallocHeaderSize == 8 &&
		l->minSizeForMallocHeader == (l->ptrSize == 8 ? 512u : 128u) &&
		l->spanInlineMarkBitsSize < power(l->pageShift) && l->spanInlineMarkBitsSize % 64 == 0;
}

static bool stacksHold(const gomem_layout *l) {
	return l->numStackOrders >= 1 && l->numStackOrders <= 4 && isPower((wide)l->fixedStack) &&
		isPower((wide)l->stackCacheSize) && (wide)l->fixedStack * 2 <= l->stackCacheSize &&
		l->fixedStack * power(l->numStackOrders) <= (wide)l->stackCacheSize * 2 &&
		l->stackCacheSize % power(l->pageShift) == 0;
}

static bool metadataHolds(const gomem_layout *l) {
	return l->fixAllocChunk >= 4096 && l->fixAllocChunk < power(32) && l->persistentChunkSize >= 128 << 10 &&
		(l->persistentChunkSize % l->maxPhysPageSize == 0 || l->maxPhysPageSize % l->persistentChunkSize == 0) &&
		l->fixAllocChunk * (wide)2 <= l->persistentChunkSize && isPower((wide)l->gcBitsChunkBytes) &&
		l->gcBitsChunkBytes >= 4096 && l->tagAddrBits >= 32 && l->tagAddrBits <= (l->ptrSize == 4 ? 48 : 57);
}

static bool allHold(const gomem_layout *l) {
	return pagesHold(l) && arenasHold(l) && baseHolds(l) && treeHolds(l) && objectsHold(l) && stacksHold(l) &&
		metadataHolds(l);
}

// judge asks for both verdicts; a good draft is what addresses are tested with from now on.
static void judge(state *s) {
	const char *broken = layout_check(&s->draft);
	if (allHold(&s->draft) != (broken == NULL)) {
		fuzz_fail("layout_check: gomem %s, oracle %s", broken != NULL ? broken : "accepts",
			broken != NULL ? "accepts" : "refuses");
	}
	if (broken == NULL) {
		s->good = s->draft;
	}
}

#define FIELD(name)                                                                                                    \
	{ offsetof(gomem_layout, name), sizeof(((gomem_layout *)NULL)->name) }
static const struct {
	size_t offset, bytes;
} fields[] = {
	FIELD(ptrSize),
	FIELD(pageShift),
	FIELD(heapAddrBits),
	FIELD(logHeapArenaBytes),
	FIELD(arenaL1Bits),
	FIELD(arenaL2Bits),
	FIELD(summaryLevels),
	FIELD(summaryLevelBits),
	FIELD(summaryL0Bits),
	FIELD(pallocChunksL1Bits),
	FIELD(pallocChunksL2Bits),
	FIELD(numStackOrders),
	FIELD(tinySizeClass),
	FIELD(randHeapAddrBits),
	FIELD(arenaBaseOffset),
	FIELD(heapArenaBytes),
	FIELD(maxTinySize),
	FIELD(maxSmallSize),
	FIELD(smallSizeDiv),
	FIELD(smallSizeMax),
	FIELD(largeSizeDiv),
	FIELD(mallocHeaderSize),
	FIELD(minSizeForMallocHeader),
	FIELD(spanInlineMarkBitsSize),
	FIELD(stackCacheSize),
	FIELD(fixedStack),
	FIELD(fixAllocChunk),
	FIELD(persistentChunkSize),
	FIELD(maxPhysPageSize),
	FIELD(gcBitsChunkBytes),
	FIELD(pagesPerReclaimerChunk),
	FIELD(scavChunkHiOccPages),
	FIELD(logPallocChunkPages),
	FIELD(minPhysPageSize),
	FIELD(defaultPhysPageSize),
	FIELD(reserve),
	FIELD(tagAddrBits),
	FIELD(numArenaHints),
	FIELD(numHeapArenaHints),
	FIELD(firstArenaHint),
	FIELD(arenaHintShift),
};
enum { numFields = sizeof fields / sizeof fields[0] };

static void set(void *v, const uint64_t *a) {
	state *s = v;
	memcpy((char *)&s->draft + fields[a[0]].offset, &a[1], fields[a[0]].bytes);
	judge(s);
}

// The operations below change several fields together, so that the equations between them go on to hold more often.

static void fit(state *s) {
	gomem_layout *l = &s->draft;
	const unsigned chunkBits = l->pageShift + (unsigned)l->logPallocChunkPages;
	l->arenaL2Bits = (uint8_t)(l->heapAddrBits - l->arenaL1Bits - l->logHeapArenaBytes);
	l->summaryL0Bits = (uint8_t)(l->heapAddrBits - (l->summaryLevels - 1u) * l->summaryLevelBits - chunkBits);
	l->pallocChunksL2Bits = (uint8_t)(l->heapAddrBits - l->pallocChunksL1Bits - chunkBits);
	l->heapArenaBytes = l->logHeapArenaBytes < 64 ? (uint64_t)1 << l->logHeapArenaBytes : 0;
	judge(s);
}

static void space(void *v, const uint64_t *a) {
	state *s = v;
	s->draft.heapAddrBits = (uint8_t)a[0];
	s->draft.randHeapAddrBits = (uint8_t)(a[0] - 1 - a[1]);
	fit(s);
}

static void arena(void *v, const uint64_t *a) {
	state *s = v;
	s->draft.logHeapArenaBytes = (uint8_t)a[0];
	s->draft.arenaL1Bits = (uint8_t)a[1];
	fit(s);
}

static void tree(void *v, const uint64_t *a) {
	state *s = v;
	s->draft.summaryLevels = (uint8_t)a[0];
	s->draft.summaryLevelBits = (uint8_t)a[1];
	s->draft.pallocChunksL1Bits = (uint8_t)a[2];
	fit(s);
}

static void page(void *v, const uint64_t *a) {
	state *s = v;
	s->draft.pageShift = (uint8_t)a[0];
	s->draft.maxPhysPageSize = (uint64_t)1 << a[1];
	s->draft.stackCacheSize = (uint64_t)1 << a[2];
	fit(s);
}

static void restart(void *v, const uint64_t *a) {
	state *s = v;
	s->draft = fuzz_any_platform(a[0]);
	fuzz_check(layout_platformName(FUZZ_PLATFORMS) == NULL, "FUZZ_PLATFORMS is the number of platforms");
	fuzz_check(layout_check(&s->draft) == NULL, "the layout of a platform");
	judge(s);
}

static void *begin(const uint64_t *config) {
	static state s;
	restart(&s, config);
	return &s;
}

static void end(void *v) { (void)v; }

static const fuzz_op_info ops[] = {
	{"address", {{"offset", 8, FUZZ_ANY, 0}}, address},
	{"levels", {{0}}, levels},
	{"order", {{"x", 8, FUZZ_WORD, 0}, {"y", 8, FUZZ_WORD, 0}}, order},
	{"set", {{"field", 1, FUZZ_ANY, numFields - 1}, {"value", 8, FUZZ_ANY, 0}}, set},
	{"space", {{"bits", 1, FUZZ_ANY, 66}, {"unused", 1, FUZZ_ANY, 3}}, space},
	{"arena", {{"log", 1, FUZZ_ANY, 48}, {"l1", 1, FUZZ_ANY, 9}}, arena},
	{"tree", {{"levels", 1, FUZZ_ANY, 6}, {"bits", 1, FUZZ_ANY, 16}, {"l1", 1, FUZZ_ANY, 20}}, tree},
	{"page", {{"log", 1, FUZZ_ANY, 22}, {"phys", 1, FUZZ_ANY, 30}, {"stacks", 1, FUZZ_ANY, 30}}, page},
	{"restart", {{"layout", 1, FUZZ_ANY, FUZZ_PLATFORMS - 1}}, restart},
};

FUZZ_TARGET(arenaindex) = {
	.name = "arenaindex",
	.what = "arena, chunk and order of addresses on many layouts, and layout_check, against 128-bit arithmetic",
	.config = {{"layout", 1, FUZZ_ANY, FUZZ_PLATFORMS - 1}},
	.ops = ops,
	.nops = sizeof ops / sizeof ops[0],
	.max_ops = 48,
	.begin = begin,
	.end = end,
	.small = true,
};
