// struct_offsets.c: prints "struct_field offset" for the structures that keep Go's layout; tests/struct_offsets.py compares them with
// what Go's compiler says.
#include <stdio.h>

#include "gomem/mcache.h"

typedef struct offset {
	const char *name;
	size_t at;
} offset;

#define FIELD(type, field)                                                                                             \
	{ #type "_" #field, offsetof(type, field) }
#define SIZE(type)                                                                                                     \
	{ #type "__size", sizeof(type) }

static const offset offsets[] = {
	SIZE(mspan),
	FIELD(mspan, next),
	FIELD(mspan, prev),
	FIELD(mspan, list),
	FIELD(mspan, startAddr),
	FIELD(mspan, npages),
	FIELD(mspan, manualFreeList),
	FIELD(mspan, freeindex),
	FIELD(mspan, nelems),
	FIELD(mspan, freeIndexForScan),
	FIELD(mspan, allocCache),
	FIELD(mspan, allocBits),
	FIELD(mspan, gcmarkBits),
	FIELD(mspan, pinnerBits),
	FIELD(mspan, sweepgen),
	FIELD(mspan, divMul),
	FIELD(mspan, allocCount),
	FIELD(mspan, spanclass),
	FIELD(mspan, state),
	FIELD(mspan, needzero),
	FIELD(mspan, isUserArenaChunk),
	FIELD(mspan, allocCountBeforeCache),
	FIELD(mspan, elemsize),
	FIELD(mspan, limit),
	FIELD(mspan, speciallock),
	FIELD(mspan, specials),
	FIELD(mspan, userArenaChunkFree),
	FIELD(mspan, largeType),
	SIZE(heapArena),
	FIELD(heapArena, spans),
	FIELD(heapArena, pageInUse),
	FIELD(heapArena, pageMarks),
	FIELD(heapArena, pageSpecials),
	FIELD(heapArena, pageUseSpanInlineMarkBits),
	FIELD(heapArena, checkmarks),
	FIELD(heapArena, zeroedBase),
	SIZE(mcentral),
	FIELD(mcentral, spanclass),
	FIELD(mcentral, partial),
	FIELD(mcentral, full),
	SIZE(spanSet),
	FIELD(spanSet, spineLock),
	FIELD(spanSet, spine),
	FIELD(spanSet, spineLen),
	FIELD(spanSet, spineCap),
	FIELD(spanSet, index),
	SIZE(mcache),
	FIELD(mcache, nextSample),
	FIELD(mcache, memProfRate),
	FIELD(mcache, scanAlloc),
	FIELD(mcache, tiny),
	FIELD(mcache, tinyoffset),
	FIELD(mcache, tinyAllocs),
	FIELD(mcache, alloc),
	FIELD(mcache, reusableNoscan),
	FIELD(mcache, stackcache),
	FIELD(mcache, flushGen),
	SIZE(pageCache),
	FIELD(pageCache, base),
	FIELD(pageCache, cache),
	FIELD(pageCache, scav),
	SIZE(pageAlloc),
	FIELD(pageAlloc, summary),
	FIELD(pageAlloc, chunks),
	FIELD(pageAlloc, searchAddr),
	FIELD(pageAlloc, start),
	FIELD(pageAlloc, end),
	FIELD(pageAlloc, inUse),
	FIELD(pageAlloc, scav),
	FIELD(pageAlloc, mheapLock),
	FIELD(pageAlloc, sysStat),
	FIELD(pageAlloc, summaryMappedReady),
	FIELD(pageAlloc, chunkHugePages),
	FIELD(pageAlloc, test),
	SIZE(scavengeIndex),
	FIELD(scavengeIndex, chunks),
	FIELD(scavengeIndex, min),
	FIELD(scavengeIndex, max),
	FIELD(scavengeIndex, minHeapIdx),
	FIELD(scavengeIndex, searchAddrBg),
	FIELD(scavengeIndex, searchAddrForce),
	FIELD(scavengeIndex, freeHWM),
	FIELD(scavengeIndex, gen),
	FIELD(scavengeIndex, test),
	SIZE(addrRanges),
	FIELD(addrRanges, ranges),
	FIELD(addrRanges, totalBytes),
	FIELD(addrRanges, sysStat),
	SIZE(pallocData),
	FIELD(pallocData, scavenged),
};

int main(void) {
	for (size_t i = 0; i < sizeof offsets / sizeof offsets[0]; i++) {
		printf("%s %zu\n", offsets[i].name, offsets[i].at);
	}
	return 0;
}
