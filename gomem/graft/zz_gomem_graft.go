// zz_gomem_graft.go: the port of gomem inside Go's runtime. An additional file of package runtime, added by `go build -overlay`.
//
// The C functions are those of gomem/*.c; graft.py puts calls of them in place of the bodies of Go's functions. They run on the system stack
// and call back here for locks, memory from the OS, accounting and throw.
//
// Invariants: mheap_.gomem is set up before the first call (gomemStart, in pageAlloc.init); the C functions stand in the program as graft.py
// assembled them, byte by byte and in this order (gomemVerify).

package runtime

import (
	"internal/goexperiment"
	"internal/runtime/atomic"
	"unsafe"
)

// gomemEnv is C's gomem_env.
type gomemEnv struct {
	layout                        uintptr
	os                            uintptr
	stats                         *gomemStats
	lab                           uintptr
	states                        uintptr
	throwHook                     uintptr
	throwCtx                      uintptr
	arenaMapped                   uintptr
	arenaCtx                      uintptr
	physPageSize                  uintptr
	physHugePageSize              uintptr
	backed                        bool
	needZeroAfterSysUnused        bool
	greenTea                      bool
	randomizeHeapBase             bool
	globalAllocLock               mutex
	globalAllocBase, globalAllocN uintptr
	persistentChunks              uintptr
	persistentBlocks              uintptr
	spanSetBlockPool              uint64
}

// gomemOS is C's graft_os: the functions of the OS layer that are asked for by address, and the callbacks.
type gomemOS struct {
	name                                      uintptr
	physPageSize, physHugePageSize            uintptr
	backed, staysMapped, unusedKeepsContents  bool
	alloc, reserve, mapp, used, unused, fault uintptr
	free, hugePage, noHugePage, collapse      uintptr
	destroy                                   uintptr
	call                                      [gomemCallbacks]uintptr
}

// gomemThunks are the callbacks in the order of C's graft_callbacks (zz_gomem_amd64.s).
const gomemCallbacks = 23

func gomemThunksAddr() *[gomemCallbacks]uintptr

// gomemStats is C's gomem_stats. gcController has it embedded, so that the counters of both languages are the same words.
type gomemStats struct {
	gomemStacksSys, gomemMspanSys, gomemMcacheSys, gomemBuckhashSys, gomemGcMiscSys, gomemOtherSys sysMemStat

	heapInUse    sysMemStat
	heapReleased sysMemStat
	heapFree     sysMemStat
	mappedReady  atomic.Uint64
	totalAlloc   atomic.Uint64
	totalFree    atomic.Uint64
	heapLive     atomic.Uint64
	heapScan     atomic.Uint64

	gomemHeapStats heapStatsDelta
}

func gomemFuncsAddr() *[len(gomemOffsets)]uintptr

// gomemVerify: the linker has left the C functions as they were assembled.
func gomemVerify() {
	funcs := gomemFuncsAddr()
	base := funcs[0]
	for i, offset := range gomemOffsets {
		if funcs[i]-base != uintptr(offset) {
			print("gomem: the linker put C function ", i, " at ", hex(funcs[i]-base), ", not at ", hex(offset), " behind the first (is -randlayout on?)\n")
			throw("gomem: C code is not in one piece")
		}
	}
	h := uint64(0xcbf29ce484222325)
	for i := uintptr(0); i < gomemBytes; i += 8 {
		h = (h ^ *(*uint64)(unsafe.Pointer(base + i))) * 0x100000001b3
	}
	if h != gomemSum {
		throw("gomem: C code differs from what was compiled")
	}
}

// gomemStart sets up the environment of the C functions.
func gomemStart() {
	g := &mheap_.gomem
	if g.env.physPageSize != 0 {
		return
	}
	gomemVerify()
	g.env.stats = &g.stats
	g.env.physPageSize = physPageSize
	g.env.physHugePageSize = physHugePageSize
	g.env.backed = true
	g.env.greenTea = goexperiment.GreenTeaGC
	g.env.randomizeHeapBase = goexperiment.RandomizedHeapBase64
	g.os.call = *gomemThunksAddr()
	gomemCStart(&g.env, &g.os, unsafe.Pointer(&mheap_.arenas[0]))
}

func gomemBool(b bool) uintptr {
	if b {
		return 1
	}
	return 0
}

// gomemStat maps a counter that C knows by its place in gomemStats to Go's.
func gomemStat(stat *sysMemStat) *sysMemStat {
	g := &mheap_.gomem.stats
	switch stat {
	case &g.gomemMspanSys:
		return &memstats.mspan_sys
	case &g.gomemMcacheSys:
		return &memstats.mcache_sys
	case &g.gomemGcMiscSys:
		return &memstats.gcMiscSys
	case &g.gomemOtherSys:
		return &memstats.other_sys
	}
	return stat
}

// ---- what C calls

func gomemLock(l *mutex) {
	lock(l)
	if gomemChecks {
		if s := gomemScavOf(); s != nil {
			s.locked()
		}
	}
}

func gomemUnlock(l *mutex) {
	if gomemChecks {
		if s := gomemScavOf(); s != nil {
			s.unlocking()
		}
	}
	unlock(l)
}

// gomemThrow says which C function found what; the traceback that throw prints names its callers.
func gomemThrow(msg *byte) {
	var pcs [3]uintptr
	n := callers(0, pcs[:])
	where := "?"
	for _, pc := range pcs[:n] {
		if f := findfunc(pc); f.valid() {
			if name := funcname(f); len(name) > 6 && name[:6] == "gomem." && name != "gomem.gomem_throw" {
				where = name
				break
			}
		}
	}
	print("gomem: ", where, ": ", gostringnocopy(msg), "\n")
	throw("the allocator in C found an inconsistency")
}

func gomemSysAlloc(n uintptr, stat *sysMemStat) unsafe.Pointer {
	return sysAlloc(n, gomemStat(stat), "gomem")
}

func gomemSysFree(v unsafe.Pointer, n uintptr, stat *sysMemStat) { sysFree(v, n, gomemStat(stat)) }

func gomemSysReserve(hint unsafe.Pointer, n, use uintptr) unsafe.Pointer {
	if use == 0 {
		return sysReserve(hint, n, "heap reservation")
	}
	return sysReserve(hint, n, "page summary")
}

func gomemSysUnreserve(v unsafe.Pointer, n uintptr) { sysUnreserve(v, n) }

func gomemSysReserveAligned(hint unsafe.Pointer, n, align uintptr, size *uintptr) unsafe.Pointer {
	v, got := sysReserveAligned(hint, n, align, "heap")
	*size = got
	return v
}

func gomemSysMap(v unsafe.Pointer, n uintptr, stat *sysMemStat) {
	sysMap(v, n, gomemStat(stat), "heap")
}
func gomemSysUsed(v unsafe.Pointer, n, prepared uintptr)   { sysUsed(v, n, prepared) }
func gomemSysUnused(v unsafe.Pointer, n uintptr)           { sysUnused(v, n) }
func gomemSysFault(v unsafe.Pointer, n uintptr)            { sysFault(v, n) }
func gomemSysHugePage(v unsafe.Pointer, n uintptr)         { sysHugePage(v, n) }
func gomemSysNoHugePage(v unsafe.Pointer, n uintptr)       { sysNoHugePage(v, n) }
func gomemSysHugePageCollapse(v unsafe.Pointer, n uintptr) { sysHugePageCollapse(v, n) }
func gomemSysAllocOS(n uintptr) unsafe.Pointer             { return sysAllocOS(n, "heap index") }

func gomemPersistentalloc(n, align uintptr, stat *sysMemStat) unsafe.Pointer {
	return persistentalloc(n, align, gomemStat(stat))
}

// ---- level pages

func gomemCStart(env *gomemEnv, os *gomemOS, arenas unsafe.Pointer)

// gomemNop does nothing: its time is that of a call.
func gomemNop(x uintptr) uintptr

//go:noescape
func gomemPageAllocInit(env *gomemEnv, p *pageAlloc, l *mutex, stat *sysMemStat, test uintptr)

//go:noescape
func gomemPageAllocGrow(env *gomemEnv, p *pageAlloc, base, size uintptr)

//go:noescape
func gomemPageAllocEnableChunkHugePages(env *gomemEnv, p *pageAlloc)

//go:noescape
func gomemPageAllocUpdate(env *gomemEnv, p *pageAlloc, base, npages, contig, alloc uintptr)

//go:noescape
func gomemPageAllocAllocRange(env *gomemEnv, p *pageAlloc, base, npages uintptr) uintptr

//go:noescape
func gomemPageAllocFind(env *gomemEnv, p *pageAlloc, npages uintptr) (addr, searchAddr uintptr)

//go:noescape
func gomemPageAllocAlloc(env *gomemEnv, p *pageAlloc, npages uintptr) (addr, scav uintptr)

//go:noescape
func gomemPageAllocFree(env *gomemEnv, p *pageAlloc, base, npages uintptr)

//go:noescape
func gomemPageAllocMarkRandomPaddingPages(env *gomemEnv, p *pageAlloc, base, npages uintptr)

//go:noescape
func gomemPageAllocAllocToCache(env *gomemEnv, p *pageAlloc, c *pageCache)

//go:noescape
func gomemPageAllocScavengeOne(env *gomemEnv, p *pageAlloc, ci, searchIdx, max uintptr, delta *heapStatsDelta) uintptr

//go:noescape
func gomemPageCacheAlloc(c *pageCache, npages uintptr) (addr, scav uintptr)

//go:noescape
func gomemPageCacheAllocN(c *pageCache, npages uintptr) (addr, scav uintptr)

//go:noescape
func gomemPageCacheFlush(env *gomemEnv, c *pageCache, p *pageAlloc)

//go:noescape
func gomemScavengeIndexFind(env *gomemEnv, s *scavengeIndex, force uintptr) (ci, pageIdx uintptr)

//go:noescape
func gomemScavengeIndexAlloc(env *gomemEnv, s *scavengeIndex, ci, npages uintptr)

//go:noescape
func gomemScavengeIndexFree(env *gomemEnv, s *scavengeIndex, ci, page, npages uintptr)

//go:noescape
func gomemScavengeIndexNextGen(env *gomemEnv, s *scavengeIndex)

//go:noescape
func gomemScavengeIndexSetEmpty(s *scavengeIndex, ci uintptr)

//go:noescape
func gomemFindScavengeCandidate(env *gomemEnv, m *pallocData, searchIdx, minimum, max uintptr) (i, npages uintptr)

func gomemFillAligned(x, m uint64) uint64

//go:noescape
func gomemPageBitsSetRange(b *pageBits, i, n uintptr)

//go:noescape
func gomemPageBitsClearRange(b *pageBits, i, n uintptr)

//go:noescape
func gomemPageBitsPopcntRange(b *pageBits, i, n uintptr) uintptr

//go:noescape
func gomemPallocBitsSummarize(b *pallocBits) pallocSum

//go:noescape
func gomemPallocBitsFind(b *pallocBits, npages, searchIdx uintptr) (i, next uintptr)

//go:noescape
func gomemPallocBitsFind1(b *pallocBits, searchIdx uintptr) uintptr

//go:noescape
func gomemPallocBitsFindSmallN(b *pallocBits, npages, searchIdx uintptr) (i, next uintptr)

//go:noescape
func gomemPallocBitsFindLargeN(b *pallocBits, npages, searchIdx uintptr) (i, next uintptr)

func gomemFindBitRange64(c, n uint64) uint64

//go:noescape
func gomemMergeSummaries(sums *pallocSum, n, logMaxPagesPerSum uintptr) pallocSum

// gomemBookScavenged books what scavengeOne has counted.
func gomemBookScavenged(d *heapStatsDelta) {
	if d.released == 0 {
		return
	}
	stats := memstats.heapStats.acquire()
	stats.committed += d.committed
	stats.released += d.released
	memstats.heapStats.release()
}
