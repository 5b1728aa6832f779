// layouts.h: layouts of several platforms, as Go's malloc.go and mpagealloc_*.go have them, for targets that run with more than the host's.
//
// Invariant: layout_check accepts each (fuzz_arenaindex tests it).
#ifndef GOMEM_FUZZ_LAYOUTS_H
#define GOMEM_FUZZ_LAYOUTS_H

#include "gomem/layout.h"

enum { FUZZ_LINUX_AMD64, FUZZ_WINDOWS_AMD64, FUZZ_LINUX_ARM64, FUZZ_IOS_ARM64, FUZZ_LINUX_386, FUZZ_LAYOUTS };
enum { FUZZ_LAYOUTS_64 = FUZZ_LINUX_386 }; // those before have 64-bit words: a heap can be made with them

static inline gomem_layout fuzz_layout(uint64_t i) {
	gomem_layout l = layout_linux_amd64_go126;
	switch (i) {
	case FUZZ_WINDOWS_AMD64: // small arenas, a first level of the arena map
		l.name = "windows/amd64 go1.26";
		l.logHeapArenaBytes = 22;
		l.heapArenaBytes = 4u << 20;
		l.arenaL1Bits = 6;
		l.arenaL2Bits = 20;
		l.numStackOrders = 3;
		break;
	case FUZZ_LINUX_ARM64: // the address space begins at 0
		l.name = "linux/arm64 go1.26";
		l.randHeapAddrBits = 47;
		l.arenaBaseOffset = 0;
		break;
	case FUZZ_IOS_ARM64:
		l.name = "ios/arm64 go1.26";
		l.heapAddrBits = 40;
		l.randHeapAddrBits = 39;
		l.logHeapArenaBytes = 22;
		l.heapArenaBytes = 4u << 20;
		l.arenaL2Bits = 18;
		l.summaryL0Bits = 40 - 22 - 4 * 3;
		l.pallocChunksL2Bits = 40 - 22 - 13;
		l.arenaBaseOffset = 0;
		break;
	case FUZZ_LINUX_386:
		l.name = "linux/386 go1.26";
		l.ptrSize = 4;
		l.heapAddrBits = 32;
		l.randomizeHeapBase = false;
		l.logHeapArenaBytes = 22;
		l.heapArenaBytes = 4u << 20;
		l.arenaL2Bits = 10;
		l.summaryLevels = 4;
		l.summaryL0Bits = 32 - 22 - 3 * 3;
		l.pallocChunksL1Bits = 0;
		l.pallocChunksL2Bits = 10;
		l.arenaBaseOffset = 0;
		l.minSizeForMallocHeader = 128;
		break;
	default:
		break;
	}
	return l;
}

#endif
