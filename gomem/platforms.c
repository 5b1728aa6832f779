// platforms.c (layer 0): the layouts of all platforms that Go 1.26 runs on, by the rules of malloc.go, mheap.go, mpagealloc*.go, stack.go,
// tagptr_*.go and internal/goarch.
//
// A layout is made from that of linux/amd64 by what is special about a platform: its word, its address space, its operating system.
//
// Invariants (tests/test_platforms.c): layout_check accepts each layout; each field is what Go's type checker finds in the runtime for that
// platform (tests/data/platforms.golden).
#include "gomem/layout.h"

// As `go tool dist list` prints them. A name ending in ",sv39" is riscv64 where programs have 39 bits of addresses: Go sees that when it starts.
static const char *const names[] = {
	"aix/ppc64 go1.26",
	"android/386 go1.26",
	"android/amd64 go1.26",
	"android/arm go1.26",
	"android/arm64 go1.26",
	"darwin/amd64 go1.26",
	"darwin/arm64 go1.26",
	"dragonfly/amd64 go1.26",
	"freebsd/386 go1.26",
	"freebsd/amd64 go1.26",
	"freebsd/arm go1.26",
	"freebsd/arm64 go1.26",
	"illumos/amd64 go1.26",
	"ios/amd64 go1.26",
	"ios/arm64 go1.26",
	"js/wasm go1.26",
	"linux/386 go1.26",
	"linux/amd64 go1.26",
	"linux/arm go1.26",
	"linux/arm64 go1.26",
	"linux/loong64 go1.26",
	"linux/mips go1.26",
	"linux/mips64 go1.26",
	"linux/mips64le go1.26",
	"linux/mipsle go1.26",
	"linux/ppc64 go1.26",
	"linux/ppc64le go1.26",
	"linux/riscv64 go1.26",
	"linux/riscv64,sv39 go1.26",
	"linux/s390x go1.26",
	"netbsd/386 go1.26",
	"netbsd/amd64 go1.26",
	"netbsd/arm go1.26",
	"netbsd/arm64 go1.26",
	"openbsd/386 go1.26",
	"openbsd/amd64 go1.26",
	"openbsd/arm go1.26",
	"openbsd/arm64 go1.26",
	"openbsd/ppc64 go1.26",
	"openbsd/riscv64 go1.26",
	"openbsd/riscv64,sv39 go1.26",
	"plan9/386 go1.26",
	"plan9/amd64 go1.26",
	"plan9/arm go1.26",
	"solaris/amd64 go1.26",
	"wasip1/wasm go1.26",
	"windows/386 go1.26",
	"windows/amd64 go1.26",
	"windows/arm64 go1.26",
};
enum { numPlatforms = sizeof names / sizeof names[0] };

// ---- names: "GOOS/GOARCH[,VARIANT]", and after a blank the version of Go

// isWord tells whether the text before the next / or comma or blank is the word.
static bool isWord(const char *s, const char *word) {
	while (*word != 0 && *s == *word) {
		s++;
		word++;
	}
	return *word == 0 && (*s == 0 || *s == '/' || *s == ',' || *s == ' ');
}

static const char *after(const char *s, char c) {
	while (*s != 0 && *s != c) {
		s++;
	}
	return *s == 0 ? s : s + 1;
}

static bool isOS(const gomem_layout *L, const char *goos) { return isWord(L->name, goos); }
static bool isArch(const gomem_layout *L, const char *goarch) { return isWord(after(L->name, '/'), goarch); }
static bool isArm64iOS(const gomem_layout *L) { return isOS(L, "ios") && isArch(L, "arm64"); }
static bool isMips32(const gomem_layout *L) { return isArch(L, "mips") || isArch(L, "mipsle"); }
static bool isWasm(const gomem_layout *L) { return isArch(L, "wasm"); }
static bool is32bit(const gomem_layout *L) { return isArch(L, "386") || isArch(L, "arm") || isMips32(L); }

// ---- what is special about a platform

static void setWord(gomem_layout *L) {
	L->ptrSize = is32bit(L) ? 4 : 8;
	L->minSizeForMallocHeader = (uint64_t)L->ptrSize * L->ptrSize * 8;
	// WebAssembly has 64-bit words, but 4 GiB of memory.
	L->heapAddrBits = isArm64iOS(L) ? 40 : isMips32(L) ? 31 : is32bit(L) || isWasm(L) ? 32 : 48;
	L->tagAddrBits = L->ptrSize == 4               ? 32
		: isOS(L, "aix")                           ? 57
		: isArch(L, "riscv64")                     ? 56
		: isOS(L, "freebsd") && isArch(L, "amd64") ? 57
												   : 48 + 1;
}

static void setArenas(gomem_layout *L) {
	const bool small = L->ptrSize == 4 || isOS(L, "windows") || isArm64iOS(L);
	L->logHeapArenaBytes = isWasm(L) ? 19 : small ? 22 : 26;
	L->heapArenaBytes = (uint64_t)1 << L->logHeapArenaBytes;
	L->arenaL1Bits = isOS(L, "windows") && L->ptrSize == 8 ? 6 : 0;
	L->arenaL2Bits = (uint8_t)(L->heapAddrBits - L->logHeapArenaBytes - L->arenaL1Bits);
	// Addresses of amd64 are sign extended; mmap of AIX gives 0x0a00000000000000 and above.
	L->arenaBaseOffset = isArch(L, "amd64") ? 0xffff800000000000 : isOS(L, "aix") ? 0x0a00000000000000 : 0;
}

static void setPages(gomem_layout *L) {
	const bool narrow = L->heapAddrBits <= 32;
	L->logPallocChunkPages = isWasm(L) ? 6 : 9;
	L->scavChunkHiOccPages = layout_chunkPages(L) * 31 / 32;
	L->summaryLevels = narrow ? 4 : 5;
	L->summaryL0Bits =
		(uint8_t)(L->heapAddrBits - layout_logChunkBytes(L) - (L->summaryLevels - 1u) * L->summaryLevelBits);
	L->pallocChunksL1Bits = narrow ? 0 : 13;
	L->pallocChunksL2Bits = (uint8_t)(L->heapAddrBits - layout_logChunkBytes(L) - L->pallocChunksL1Bits);
	const uint64_t perArena = layout_pagesPerArena(L);
	L->pagesPerReclaimerChunk = perArena < 512 ? (uint32_t)perArena : 512;
}

static void setStacks(gomem_layout *L) {
	const uint64_t forOS = isOS(L, "windows") ? 4096 : isOS(L, "plan9") ? 512 : isArm64iOS(L) ? 1024 : 0;
	L->fixedStack = 2048;
	while (L->fixedStack < 2048 + forOS) {
		L->fixedStack *= 2;
	}
	L->numStackOrders = (uint8_t)(4 - (isOS(L, "windows") ? L->ptrSize / 4 : 0) - (isOS(L, "plan9") ? 1 : 0));
	L->physPageAlignedStacks = isOS(L, "openbsd");
}

static void setPlace(gomem_layout *L) {
	const bool sbrk = isOS(L, "plan9") || isWasm(L);
	L->reserve = sbrk ? LAYOUT_RESERVE_SBRK : isOS(L, "windows") ? LAYOUT_RESERVE_WHOLE : LAYOUT_RESERVE_TRIM;
	L->randomizeHeapBase = L->ptrSize == 8 && !sbrk;
	L->randHeapAddrBits = (uint8_t)(L->heapAddrBits - 1 - (isArch(L, "amd64") ? 1 : 0));
	if (sbrk || L->ptrSize == 4) {
		L->numArenaHints = 0;
		L->numHeapArenaHints = 0;
	}
	const bool sv39 = isWord(after(L->name, ','), "sv39");
	L->arenaHintShift = sv39 ? 32 : 40;
	L->firstArenaHint = isOS(L, "aix") ? 1 : 0;
	L->arenaHintBase = L->numArenaHints == 0 ? 0
		: isArm64iOS(L) || sv39              ? (uint64_t)0x13 << 28
		: isArch(L, "arm64")                 ? (uint64_t)0x40 << 32
		: isOS(L, "aix")                     ? (uint64_t)0xa0 << 52
											 : (uint64_t)0xc0 << 32;
}

static void setPhysPages(gomem_layout *L) {
	const bool big = isArch(L, "arm64") || isArch(L, "ppc64") || isArch(L, "ppc64le") || isArch(L, "arm") ||
		isMips32(L) || isWasm(L);
	const bool medium = isArch(L, "loong64") || isArch(L, "mips64") || isArch(L, "mips64le");
	L->defaultPhysPageSize = big ? 65536 : medium ? 16384 : 4096;
}

// ---- all of them

const char *layout_platformName(unsigned i) { return i < numPlatforms ? names[i] : NULL; }

// sameName: a is b, or b with its version left out.
static bool sameName(const char *a, const char *b) {
	while (*a != 0 && *a == *b) {
		a++;
		b++;
	}
	return *a == 0 && (*b == 0 || *b == ' ');
}

bool layout_ofPlatform(const char *name, gomem_layout *L) {
	for (unsigned i = 0; i < numPlatforms; i++) {
		if (!sameName(name, names[i])) {
			continue;
		}
		*L = layout_linux_amd64_go126;
		L->name = names[i];
		setWord(L);
		setArenas(L);
		setPages(L);
		setStacks(L);
		setPlace(L);
		setPhysPages(L);
		return true;
	}
	return false;
}
