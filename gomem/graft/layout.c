// layout.c: offsets and sizes as the C compiler has them, as lines of its assembly that graft.py reads. Go's compiler compares them with its own.
#include "gomem/graft/graft.h"
#include "gomem/mpagealloc.h"

#define SIZE(go, c) __asm__ volatile("\n->LAYOUT " #go " sizeof %0" : : "i"(sizeof(c)))
#define OFFSET(go, gofield, c, field) __asm__ volatile("\n->LAYOUT " #go " " #gofield " %0" : : "i"(offsetof(c, field)))
#define SAME(type, field) OFFSET(type, field, type, field)

void graft_layout(void) {
	SIZE(mutex, mutex);
	SIZE(pallocData, pallocData);
	SIZE(pageCache, pageCache);
	SAME(pageCache, base);
	SAME(pageCache, cache);
	SAME(pageCache, scav);
	SIZE(addrRanges, addrRanges);
	SAME(addrRanges, ranges);
	SAME(addrRanges, totalBytes);
	SAME(addrRanges, sysStat);
	SIZE(scavengeIndex, scavengeIndex);
	SAME(scavengeIndex, chunks);
	SAME(scavengeIndex, min);
	SAME(scavengeIndex, max);
	SAME(scavengeIndex, minHeapIdx);
	SAME(scavengeIndex, searchAddrBg);
	SAME(scavengeIndex, searchAddrForce);
	SAME(scavengeIndex, freeHWM);
	SAME(scavengeIndex, gen);
	SAME(scavengeIndex, test);
	SIZE(pageAlloc, pageAlloc);
	SAME(pageAlloc, summary);
	SAME(pageAlloc, chunks);
	SAME(pageAlloc, searchAddr);
	SAME(pageAlloc, start);
	SAME(pageAlloc, end);
	SAME(pageAlloc, inUse);
	SAME(pageAlloc, scav);
	SAME(pageAlloc, mheapLock);
	SAME(pageAlloc, sysStat);
	SAME(pageAlloc, summaryMappedReady);
	SAME(pageAlloc, chunkHugePages);
	SAME(pageAlloc, test);
	SIZE(heapStatsDelta, heapStatsDelta);
	SAME(heapStatsDelta, committed);
	SAME(heapStatsDelta, released);
	SAME(heapStatsDelta, inHeap);
	SAME(heapStatsDelta, tinyAllocCount);
	SAME(heapStatsDelta, largeAlloc);
	SAME(heapStatsDelta, smallAllocCount);
	SAME(heapStatsDelta, largeFree);
	SAME(heapStatsDelta, smallFreeCount);

	SIZE(gomemEnv, gomem_env);
	OFFSET(gomemEnv, os, gomem_env, os);
	OFFSET(gomemEnv, stats, gomem_env, stats);
	OFFSET(gomemEnv, arenaMapped, gomem_env, arenaMapped);
	OFFSET(gomemEnv, physPageSize, gomem_env, physPageSize);
	OFFSET(gomemEnv, physHugePageSize, gomem_env, physHugePageSize);
	OFFSET(gomemEnv, backed, gomem_env, backed);
	OFFSET(gomemEnv, needZeroAfterSysUnused, gomem_env, needZeroAfterSysUnused);
	OFFSET(gomemEnv, greenTea, gomem_env, greenTea);
	OFFSET(gomemEnv, randomizeHeapBase, gomem_env, randomizeHeapBase);
	OFFSET(gomemEnv, spanSetBlockPool, gomem_env, spanSetBlockPool);
	SIZE(gomemOS, graft_os);
	OFFSET(gomemOS, alloc, graft_os, os.alloc);
	OFFSET(gomemOS, call, graft_os, call);
	SIZE(gomemStats, gomem_stats);
	OFFSET(gomemStats, gomemGcMiscSys, gomem_stats, gcMiscSys);
	OFFSET(gomemStats, heapInUse, gomem_stats, heapInUse);
	OFFSET(gomemStats, heapReleased, gomem_stats, heapReleased);
	OFFSET(gomemStats, heapFree, gomem_stats, heapFree);
	OFFSET(gomemStats, mappedReady, gomem_stats, mappedReady);
	OFFSET(gomemStats, totalAlloc, gomem_stats, totalAlloc);
	OFFSET(gomemStats, totalFree, gomem_stats, totalFree);
	OFFSET(gomemStats, heapLive, gomem_stats, heapLive);
	OFFSET(gomemStats, heapScan, gomem_stats, heapScan);
}
