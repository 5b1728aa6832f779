// layout.h (layer 0): every constant of the allocator, as a property of a platform and a Go version.
//
// Ports the constants of malloc.go, mheap.go, mpagealloc.go, mpagealloc_64bit.go, mpagecache.go, mgcscavenge.go,
// mspanset.go, stack.go and internal/runtime/gc/malloc.go. No other file of gomem/ may state one.
//
// Words: a *page* is the allocator's (8 KiB); a *physical page* is the OS's; a *chunk* is 512 pages (64 on wasm); an *arena* is
// a naturally aligned piece of address space (64 MiB here) with one heapArena of metadata.
//
// Invariants, checked below and by layout_check():
//   pageSize            == 1 << pageShift
//   pallocChunkBytes    == pageSize << logPallocChunkPages
//   pagesPerArena       == heapArenaBytes / pageSize, a multiple of a chunk's pages
//   1 << (arenaL1Bits + arenaL2Bits + logHeapArenaBytes) == 1 << heapAddrBits
//   summaryL0Bits + (summaryLevels - 1) * summaryLevelBits + logPallocChunkBytes == heapAddrBits
//
// A function reaches the constants through layout_get(env): in a build with a constant layout the compiler folds them,
// in a build with GOMEM_RUNTIME_LAYOUT they are read from the heap's own table.
#ifndef GOMEM_LAYOUT_H
#define GOMEM_LAYOUT_H

#ifdef GOMEM_VARIANT
#include "gomem/variant.h"
#endif

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Limits that size arrays in structures; a layout may use less, never more.
enum {
	numSizeClasses = 68,
	numSpanClasses = numSizeClasses << 1,
#ifdef GOMEM_RUNTIME_LAYOUT
	maxSizeClasses = 128, // a span class fits 8 bits
	maxPagesPerArena = 16384,
#else
	maxSizeClasses = numSizeClasses,
	maxPagesPerArena = sizeof(uintptr_t) == 8 ? 8192 : 512,
#endif
	maxSpanClasses = maxSizeClasses << 1,
	maxSummaryLevels = 5,
	maxArenaL1Bits = 6,
	numStackOrdersMax = 4,
	pallocChunkPages = 512, // of all platforms but wasm; a layout may have less
	logPallocChunkPages = 9,
	pageCachePages = 64,
	programGap = 256 << 10, // 32-bit platforms: bytes behind the program that the heap leaves free
	spanSetBlockEntries = 512,
	spanSetInitSpineCap = 256,
	cacheLineSize = 64,
	stackLargeClasses = 48 - 13, // Go: heapAddrBits - pageShift
	mspanCacheLen = 128,
	tagAlignBits = 9, // what is tagged stands at multiples of tagAlign
	tagAlign = 1 << tagAlignBits,
	// A tagged pointer of the host: significant bits of an address, lower bits that it leaves out, and what remains.
	tagAddrBits = sizeof(uintptr_t) == 8 ? 48 + 1 : 32,
	tagLeftOutBits = sizeof(uintptr_t) == 8 ? tagAlignBits : 0,
	tagBits = 64 - tagAddrBits + tagLeftOutBits,
};

// Tables of size classes that are not Go's (gomem/classes.h), for builds with a layout given at run time. n counts class 0. lookup8: by steps of
// smallSizeDiv up to smallSizeMax; lookup128: from there on by steps of largeSizeDiv up to maxSmallSize.
typedef struct gomem_size_classes {
	unsigned n;
	uint16_t size[128];
	uint8_t npages[128];
	uint32_t divmagic[128];
	uint8_t lookup8[129];
	uint8_t lookup128[249];
} gomem_size_classes;

// How the OS gives address space at a multiple of something.
typedef enum layoutReserve {
	LAYOUT_RESERVE_TRIM,  // more is reserved, what stands out is given back
	LAYOUT_RESERVE_WHOLE, // Windows: a reservation is given back as a whole, and made again at the aligned place
	LAYOUT_RESERVE_SBRK,  // there is one break, which grows: no hints, and never more than was asked for
} layoutReserve;

typedef struct gomem_layout {
	const char *name; // "linux/amd64 go1.26"
	uint8_t ptrSize;
	uint8_t pageShift;
	uint8_t heapAddrBits;
	uint8_t logHeapArenaBytes;
	uint8_t logPallocChunkPages;
	uint8_t arenaL1Bits;
	uint8_t arenaL2Bits;
	uint8_t summaryLevels;
	uint8_t summaryLevelBits;
	uint8_t summaryL0Bits;
	uint8_t pallocChunksL1Bits;
	uint8_t pallocChunksL2Bits;
	uint8_t numStackOrders;
	uint8_t tinySizeClass;
	uint8_t randHeapAddrBits;  // bits of a randomized heap base
	uint8_t numArenaHints;     // places where the heap may begin, heap and user arenas together
	uint8_t numHeapArenaHints; // the lowest of them are the heap's
	bool greenTea;             // GOEXPERIMENT=greenteagc: 128 bytes of inline mark bits in small spans
	bool randomizeHeapBase;    // GOEXPERIMENT=randomizedheapbase64
	bool physPageAlignedStacks;
	uint8_t reserve;     // layoutReserve
	uint8_t tagAddrBits; // significant bits of an address in a tagged pointer of the platform (lfstack has the host's)
	uint8_t arenaHintShift;   // distance of the hints if the heap base is not randomized
	uint8_t firstArenaHint;   // lower ones are left out
	uint64_t arenaHintBase;   // or'ed into each of these hints
	uint64_t arenaBaseOffset; // subtracted from an address before it is an index
	uint64_t heapArenaBytes;
	uint64_t maxTinySize;
	uint64_t maxSmallSize;           // largest size served from a size class (32768)
	uint64_t smallSizeDiv;           // 8
	uint64_t smallSizeMax;           // 1024
	uint64_t largeSizeDiv;           // 128
	uint64_t mallocHeaderSize;       // 8
	uint64_t minSizeForMallocHeader; // ptrSize * 64: from here on an object with pointers has a header
	uint64_t spanInlineMarkBitsSize; // 128
	uint64_t stackCacheSize;         // 32 KiB
	uint64_t fixedStack;             // 2 KiB: the smallest stack
	uint64_t fixAllocChunk;          // 16 KiB
	uint64_t persistentChunkSize;    // 256 KiB
	uint64_t minPhysPageSize;        // 4 KiB
	uint64_t maxPhysPageSize;        // 512 KiB
	uint64_t defaultPhysPageSize;    // the largest that the architecture is known for; the OS tells what it is
	uint64_t gcBitsChunkBytes;       // 64 KiB
	uint64_t minHeapForMetadataHugePages;
	uint32_t pagesPerReclaimerChunk;
	uint32_t scavChunkHiOccPages;      // 0.96875 * pallocChunkPages
	uint32_t pageCacheSpanPages;       // spans of fewer pages come from a P's page cache
	bool scavengedIsZero;              // a span whose pages were all given back to the OS needs no zeroing
	uint8_t stackLargeFirst;           // list of stackLarge for spans of one page
	const gomem_size_classes *classes; // NULL: Go's
} gomem_layout;

// What both platforms have in common that a table is compiled in for. (A macro, for an initializer that the compiler folds has nothing else.)
// clang-format off
#define LAYOUT_LINUX_GO126 \
	.pageShift = 13, \
	.logPallocChunkPages = logPallocChunkPages, \
	.arenaL1Bits = 0, \
	.summaryLevelBits = 3, \
	.numStackOrders = 4, \
	.tinySizeClass = 2, \
	.greenTea = true, \
	.physPageAlignedStacks = false, \
	.reserve = LAYOUT_RESERVE_TRIM, \
	.arenaHintShift = 40, \
	.firstArenaHint = 0, \
	.maxTinySize = 16, \
	.maxSmallSize = 32768, \
	.smallSizeDiv = 8, \
	.smallSizeMax = 1024, \
	.largeSizeDiv = 128, \
	.mallocHeaderSize = 8, \
	.spanInlineMarkBitsSize = 128, \
	.stackCacheSize = 32 << 10, \
	.fixedStack = 2048, \
	.fixAllocChunk = 16 << 10, \
	.persistentChunkSize = 256 << 10, \
	.minPhysPageSize = 4096, \
	.maxPhysPageSize = 512 << 10, \
	.defaultPhysPageSize = 4096, \
	.gcBitsChunkBytes = 64 << 10, \
	.minHeapForMetadataHugePages = 1u << 30, \
	.pagesPerReclaimerChunk = 512, \
	.scavChunkHiOccPages = 496, \
	.pageCacheSpanPages = pageCachePages / 4, \
	.scavengedIsZero = true, \
	.stackLargeFirst = 1, \
	.classes = NULL
// clang-format on

// Go on linux/amd64, go1.26, default experiments. greenTea and randomizeHeapBase may still differ by instance: they are experiments of the
// recorded program, so functions read them from the environment, not from here.
static const gomem_layout layout_linux_amd64_go126 = {
#ifndef GOMEM_FREESTANDING // an address in a table would have to be relocated
	.name = "linux/amd64 go1.26",
#endif
	.ptrSize = 8,
	.heapAddrBits = 48,
	.logHeapArenaBytes = 26,
	.arenaL2Bits = 22,
	.summaryLevels = 5,
	.summaryL0Bits = 48 - 22 - 4 * 3,
	.pallocChunksL1Bits = 13,
	.pallocChunksL2Bits = 48 - 22 - 13,
	.randHeapAddrBits = 46,
	.numArenaHints = 0x80,
	.numHeapArenaHints = 0x40,
	.randomizeHeapBase = true,
	.tagAddrBits = 48 + 1,
	.arenaHintBase = 0x00c0ull << 32,
	.arenaBaseOffset = 0xffff800000000000u,
	.heapArenaBytes = 64u << 20,
	.minSizeForMallocHeader = 512,
	LAYOUT_LINUX_GO126,
};

// Go on linux/386, go1.26.
static const gomem_layout layout_linux_386_go126 = {
#ifndef GOMEM_FREESTANDING // an address in a table would have to be relocated
	.name = "linux/386 go1.26",
#endif
	.ptrSize = 4,
	.heapAddrBits = 32,
	.logHeapArenaBytes = 22,
	.arenaL2Bits = 10,
	.summaryLevels = 4,
	.summaryL0Bits = 32 - 22 - 3 * 3,
	.pallocChunksL1Bits = 0,
	.pallocChunksL2Bits = 32 - 22,
	.randHeapAddrBits = 31,
	.numArenaHints = 0,
	.numHeapArenaHints = 0,
	.randomizeHeapBase = false,
	.tagAddrBits = 32,
	.arenaHintBase = 0,
	.arenaBaseOffset = 0,
	.heapArenaBytes = 4u << 20,
	.minSizeForMallocHeader = 128,
	LAYOUT_LINUX_GO126,
};

// The layout of builds with a constant one: that of the host's words. (An alias, for it is an address in tables, too.)
#if UINTPTR_MAX > UINT32_MAX
#define layout_host layout_linux_amd64_go126
#else
#define layout_host layout_linux_386_go126
#endif

// What differs between releases of Go in what the allocator decides (docs/VERSIONS.md); patch releases of one decide the same. A library with a
// constant layout is go1.26 alone.
typedef struct layout_version {
	const char *release; // "go1.24"
	const char *name;    // of its layout
	const char *name386; // of that of linux/386
	// Experiments that it has. Whether they are on is up to the program that was built.
	bool greenTea;
	bool randomizeHeapBase;
	bool sizeSpecializedMalloc;
	bool runtimeFreegc;
	bool scavengedIsZero;
	uint8_t stackLargeFirst;
} layout_version;

enum { numLayoutVersions = 4 };
static const layout_version layout_versions[numLayoutVersions] = {
	{
		.release = "go1.24",
		.name = "linux/amd64 go1.24",
		.name386 = "linux/386 go1.24",
	},
	{
		.release = "go1.25",
		.name = "linux/amd64 go1.25",
		.name386 = "linux/386 go1.25",
		.greenTea = true,
	},
	{
		.release = "go1.26",
		.name = "linux/amd64 go1.26",
		.name386 = "linux/386 go1.26",
		.greenTea = true,
		.randomizeHeapBase = true,
		.sizeSpecializedMalloc = true,
		.runtimeFreegc = true,
		.scavengedIsZero = true,
		.stackLargeFirst = 1,
	},
	{
		.release = "go1.27",
		.name = "linux/amd64 go1.27",
		.name386 = "linux/386 go1.27",
		.greenTea = true,
		.randomizeHeapBase = true,
		.sizeSpecializedMalloc = true,
		.runtimeFreegc = true,
		.scavengedIsZero = true,
		.stackLargeFirst = 1,
	},
};

// layout_versionOf finds the release of a version ("go1.24.11"); NULL: none of layout_versions.
const layout_version *layout_versionOf(const char *goversion);

// layout_ofVersion is the layout of a release on linux/386, or on linux/amd64, whose constants are those of all others that can be recorded. It has
// Green Tea and, where there are 64 bits, a randomized heap base, which a heap's configuration may switch off.
gomem_layout layout_ofVersion(const layout_version *v, const char *goarch);

static inline uint64_t layout_pageSize(const gomem_layout *L) { return (uint64_t)1 << L->pageShift; }
static inline unsigned layout_chunkPages(const gomem_layout *L) { return 1u << L->logPallocChunkPages; }
static inline unsigned layout_logChunkBytes(const gomem_layout *L) {
	return (unsigned)L->logPallocChunkPages + L->pageShift;
}
static inline uint64_t layout_chunkBytes(const gomem_layout *L) { return (uint64_t)1 << layout_logChunkBytes(L); }
static inline uint64_t layout_pagesPerArena(const gomem_layout *L) { return L->heapArenaBytes >> L->pageShift; }
// The radix tree: level 0 is the root. levelBits: log2 of entries per block; levelShift: log2 of bytes one entry covers;
// levelLogPages: log2 of pages one entry covers.
static inline unsigned layout_levelBits(const gomem_layout *L, unsigned level) {
	return level == 0 ? L->summaryL0Bits : L->summaryLevelBits;
}
static inline unsigned layout_levelShift(const gomem_layout *L, unsigned level) {
	return layout_logChunkBytes(L) + (L->summaryLevels - 1u - level) * L->summaryLevelBits;
}
static inline unsigned layout_levelLogPages(const gomem_layout *L, unsigned level) {
	return layout_levelShift(L, level) - L->pageShift;
}
static inline unsigned layout_logMaxPackedValue(const gomem_layout *L) {
	return (unsigned)L->logPallocChunkPages + (L->summaryLevels - 1u) * L->summaryLevelBits;
}
// The largest allocation: on 32-bit platforms the address space itself does not fit a word.
static inline uint64_t layout_maxAlloc(const gomem_layout *L) {
	return ((uint64_t)1 << L->heapAddrBits) - (L->ptrSize == 4 ? 1 : 0);
}
// Bits of a tag beside a pointer: those above an address and, in a 64-bit word, those that its alignment leaves.
static inline unsigned layout_tagBits(const gomem_layout *L) {
	return 64u - L->tagAddrBits + (L->ptrSize == 4 ? 0u : (unsigned)tagAlignBits);
}
// layout_uintptr gives x as a word of the platform holds it: 64-bit programs compute with the addresses of 32-bit platforms.
static inline uint64_t layout_uintptr(const gomem_layout *L, uint64_t x) { return L->ptrSize == 4 ? (uint32_t)x : x; }

// layout_check gives NULL if all equations hold, else the text of one that does not.
const char *layout_check(const gomem_layout *L);

// platforms.c: the layouts of all platforms. layout_platformName gives the name of the i-th, "aix/ppc64"; NULL: there are no more.
const char *layout_platformName(unsigned i);
// layout_ofPlatform makes the layout of a platform. false: there is no such platform.
bool layout_ofPlatform(const char *name, gomem_layout *L);

#endif
