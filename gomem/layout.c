// layout.c (layer 0): the equations that a layout must satisfy.
//
// layout_check is what stands between a layout given at run time and the code that trusts it: shifts stay below 64,
// tables fit the arrays that layout.h sizes, and the arena index, the chunk index and the radix tree all cover the same
// addresses.
#include "gomem/layout.h"

#include <string.h>

#include "gomem/classes.h"

static bool powerOfTwo(uint64_t x) { return x != 0 && (x & (x - 1)) == 0; }

static const char *checkPages(const gomem_layout *L) {
	if (L->ptrSize != 4 && L->ptrSize != 8) {
		return "ptrSize == 4 || ptrSize == 8";
	}
	if (L->pageShift < 12 || L->pageShift > 20) {
		return "12 <= pageShift <= 20";
	}
	if (L->heapAddrBits < 31 || L->heapAddrBits > 48) {
		return "31 <= heapAddrBits <= 48";
	}
	if (L->ptrSize == 4 && L->heapAddrBits > 32) {
		return "an address fits ptrSize bytes";
	}
	if (pallocChunkPages != 1 << logPallocChunkPages || L->logPallocChunkPages < 6 ||
		L->logPallocChunkPages > logPallocChunkPages) {
		return "64 <= pages of a chunk <= pallocChunkPages";
	}
	if (!powerOfTwo(L->minPhysPageSize) || L->minPhysPageSize > L->defaultPhysPageSize ||
		!powerOfTwo(L->defaultPhysPageSize) || L->defaultPhysPageSize > L->maxPhysPageSize) {
		return "minPhysPageSize <= defaultPhysPageSize <= maxPhysPageSize, powers of two";
	}
	if (!powerOfTwo(L->maxPhysPageSize) || L->maxPhysPageSize < layout_pageSize(L)) {
		return "maxPhysPageSize is a power of two >= pageSize";
	}
	if (L->maxPhysPageSize > layout_pageSize(L) * 64) {
		return "maxPhysPageSize <= 64 * pageSize";
	}
	return NULL;
}

static const char *checkArenas(const gomem_layout *L) {
	if (L->logHeapArenaBytes >= L->heapAddrBits || L->heapArenaBytes != (uint64_t)1 << L->logHeapArenaBytes) {
		return "heapArenaBytes == 1 << logHeapArenaBytes";
	}
	if (layout_pagesPerArena(L) == 0 || layout_pagesPerArena(L) % layout_chunkPages(L) != 0) {
		return "heapArenaBytes / pageSize is a multiple of a chunk's pages";
	}
	if (layout_pagesPerArena(L) > maxPagesPerArena || L->arenaL1Bits > maxArenaL1Bits) {
		return "pagesPerArena <= maxPagesPerArena, arenaL1Bits <= maxArenaL1Bits";
	}
	if ((unsigned)L->arenaL1Bits + L->arenaL2Bits + L->logHeapArenaBytes != L->heapAddrBits) {
		return "arenaL1Bits + arenaL2Bits + logHeapArenaBytes == heapAddrBits";
	}
	if (L->arenaBaseOffset % L->heapArenaBytes != 0) {
		return "arenaBaseOffset is a multiple of heapArenaBytes";
	}
	if (L->randomizeHeapBase && (L->randHeapAddrBits < L->logHeapArenaBytes || L->randHeapAddrBits > L->heapAddrBits)) {
		return "logHeapArenaBytes <= randHeapAddrBits <= heapAddrBits";
	}
	if (L->reserve > LAYOUT_RESERVE_SBRK || (L->reserve == LAYOUT_RESERVE_SBRK && L->randomizeHeapBase) ||
		(L->ptrSize == 4 && L->randomizeHeapBase)) {
		return "a randomized base needs hints";
	}
	if (L->firstArenaHint > L->numArenaHints || L->numHeapArenaHints > L->numArenaHints || L->arenaHintShift > 48) {
		return "firstArenaHint, numHeapArenaHints <= numArenaHints, arenaHintShift <= 48";
	}
	return NULL;
}

static const char *checkTree(const gomem_layout *L) {
	if (L->summaryLevels < 1 || L->summaryLevels > maxSummaryLevels) {
		return "1 <= summaryLevels <= maxSummaryLevels";
	}
	if (L->summaryL0Bits + (L->summaryLevels - 1u) * L->summaryLevelBits + layout_logChunkBytes(L) != L->heapAddrBits) {
		return "summaryL0Bits + (summaryLevels - 1) * summaryLevelBits + logPallocChunkBytes == heapAddrBits";
	}
	if (layout_logMaxPackedValue(L) > 21) {
		return "three values of logMaxPackedValue bits fit one word";
	}
	if ((unsigned)L->pallocChunksL1Bits + L->pallocChunksL2Bits + layout_logChunkBytes(L) != L->heapAddrBits) {
		return "pallocChunksL1Bits + pallocChunksL2Bits + logPallocChunkBytes == heapAddrBits";
	}
	if (L->scavChunkHiOccPages > layout_chunkPages(L)) {
		return "scavChunkHiOccPages <= pages of a chunk";
	}
	if (L->pagesPerReclaimerChunk == 0 || layout_pagesPerArena(L) % L->pagesPerReclaimerChunk != 0) {
		return "pagesPerArena is a multiple of pagesPerReclaimerChunk";
	}
	return NULL;
}

static const char *checkObjects(const gomem_layout *L) {
	const uint64_t small = sizeof size_to_class8 / sizeof size_to_class8[0];
	const uint64_t medium = sizeof size_to_class128 / sizeof size_to_class128[0];
	if (L->smallSizeDiv == 0 || L->largeSizeDiv == 0 || L->smallSizeMax % L->smallSizeDiv != 0) {
		return "smallSizeMax is a multiple of smallSizeDiv";
	}
	if (L->maxSmallSize < L->smallSizeMax || (L->maxSmallSize - L->smallSizeMax) % L->largeSizeDiv != 0) {
		return "maxSmallSize - smallSizeMax is a multiple of largeSizeDiv";
	}
	if (L->smallSizeMax < 8 || L->smallSizeMax / L->smallSizeDiv >= small ||
		(L->maxSmallSize - L->smallSizeMax) / L->largeSizeDiv >= medium) {
		return "each size up to maxSmallSize has its entry in the tables of size classes";
	}
	if (L->tinySizeClass == 0 || L->tinySizeClass >= layout_numSizeClasses(L) || !powerOfTwo(L->maxTinySize)) {
		return "maxTinySize is a power of two and tinySizeClass a size class";
	}
	if (L->mallocHeaderSize != 8) {
		return "mallocHeaderSize == 8";
	}
	if (L->minSizeForMallocHeader != (uint64_t)L->ptrSize * L->ptrSize * 8) {
		return "minSizeForMallocHeader == ptrSize * pointers in one word of heap bits";
	}
	if (L->spanInlineMarkBitsSize >= layout_pageSize(L) || L->spanInlineMarkBitsSize % 64 != 0) {
		return "spanInlineMarkBitsSize is a multiple of 64 below pageSize";
	}
	return NULL;
}

static const char *checkStacksAndMetadata(const gomem_layout *L) {
	if (L->numStackOrders == 0 || L->numStackOrders > numStackOrdersMax) {
		return "1 <= numStackOrders <= numStackOrdersMax";
	}
	if (!powerOfTwo(L->fixedStack) || !powerOfTwo(L->stackCacheSize)) {
		return "fixedStack and stackCacheSize are powers of two";
	}
	// On ios/arm64 and windows/386 the last order would be as large as the cache: it is there, and nobody takes from it.
	if (L->fixedStack > L->stackCacheSize >> 1 || L->fixedStack > L->stackCacheSize >> (L->numStackOrders - 1u) ||
		L->stackCacheSize % layout_pageSize(L) != 0) {
		return "fixedStack << (numStackOrders - 1) <= stackCacheSize, a multiple of pageSize";
	}
	if (L->fixAllocChunk > UINT32_MAX || L->fixAllocChunk < 4096) {
		return "fixAllocChunk fits 32 bits";
	}
	if (L->persistentChunkSize < 128 << 10) {
		return "persistentChunkSize holds every block below 64 KiB, whatever its alignment";
	}
	if (L->persistentChunkSize % L->maxPhysPageSize != 0 && L->maxPhysPageSize % L->persistentChunkSize != 0) {
		return "persistentChunkSize and maxPhysPageSize divide one another";
	}
	if (L->fixAllocChunk > L->persistentChunkSize / 2) {
		return "fixAllocChunk <= persistentChunkSize / 2";
	}
	if (L->tagAddrBits < 32 || L->tagAddrBits > 64 || layout_tagBits(L) < 16) {
		return "a tag has 16 bits";
	}
	if (!powerOfTwo(L->gcBitsChunkBytes) || L->gcBitsChunkBytes < 4096) {
		return "gcBitsChunkBytes is a power of two >= 4096";
	}
	return NULL;
}

static const char *checkVersion(const gomem_layout *L) {
	return L->stackLargeFirst > 1 ? "stackLargeFirst <= 1" : NULL;
}

const char *layout_check(const gomem_layout *L) {
	const char *(*const checks[])(const gomem_layout *) = {
		checkPages,
		checkArenas,
		checkTree,
		checkObjects,
		checkStacksAndMetadata,
		checkVersion,
	};
	for (size_t i = 0; i < sizeof checks / sizeof checks[0]; i++) {
		const char *broken = checks[i](L);
		if (broken != NULL) {
			return broken;
		}
	}
	return NULL;
}

const layout_version *layout_versionOf(const char *goversion) {
	for (size_t i = 0; i < numLayoutVersions; i++) {
		const layout_version *v = &layout_versions[i];
		const size_t n = strlen(v->release);
		// "go1.24", "go1.24.11", "go1.24-devel", "go1.24 X:greenteagc", but not "go1.240".
		if (strncmp(goversion, v->release, n) == 0 && (goversion[n] < '0' || goversion[n] > '9')) {
			return v;
		}
	}
	return NULL;
}

gomem_layout layout_ofVersion(const layout_version *v, const char *goarch) {
	const bool is386 = strcmp(goarch, "386") == 0;
	gomem_layout L = is386 ? layout_linux_386_go126 : layout_linux_amd64_go126;
	L.name = is386 ? v->name386 : v->name;
	L.scavengedIsZero = v->scavengedIsZero;
	L.stackLargeFirst = v->stackLargeFirst;
	return L;
}
