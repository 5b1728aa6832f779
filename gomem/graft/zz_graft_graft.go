// zz_graft_graft.go: the port of gomem inside Go's runtime. An additional file of package runtime, added by `go build -overlay`.
//
// The C functions are those of gomem/*.c; graft.py puts calls of them in place of the bodies of Go's functions. They run on the system stack
// and call back here for locks, memory from the OS, accounting and throw.
//
// Invariants: mheap_.gomem is set up before the first call (graftStart, in pageAlloc.init); the C functions stand in the program as graft.py
// assembled them, byte by byte and in this order (graftVerify).

package runtime

import (
	"internal/goexperiment"
	"internal/runtime/atomic"
	"unsafe"
)

// graftEnv is C's gomem_env.
type graftEnv struct {
	layout                        uintptr
	os                            uintptr
	stats                         *graftStats
	lab                           uintptr
	states                        uintptr
	throwHook                     uintptr
	throwCtx                      uintptr
	arenaMapped                   uintptr
	arenaCtx                      uintptr
	lockRank                      uintptr
	physPageSize                  uintptr
	physHugePageSize              uintptr
	backed                        bool
	needZeroAfterSysUnused        bool
	greenTea                      bool
	hasPOPCNT                     bool // not asked for: the CPU's flags are not known yet
	randomizeHeapBase             bool
	globalAllocLock               mutex
	globalAllocBase, globalAllocN uintptr
	persistentChunks              uintptr
	persistentBlocks              uintptr
	spanSetBlockPool              uint64
}

// graftOS is C's graft_os: the functions of the OS layer that are asked for by address, and the callbacks.
type graftOS struct {
	name                                       uintptr
	physPageSize, physHugePageSize, programEnd uintptr
	backed, staysMapped, unusedKeepsContents   bool
	hugePagesNever                             bool
	alloc, reserve, reserveAligned             uintptr
	mapp, used, unused, fault                  uintptr
	free, hugePage, noHugePage, collapse       uintptr
	populate, flush, check, destroy            uintptr
	call                                       [graftCallbacks]uintptr
	lab                                        [5]uintptr
}

// graftThunks are the callbacks in the order of C's graft_callbacks (zz_graft_amd64.s).
const graftCallbacks = 25

func graftThunksAddr() *[graftCallbacks]uintptr

// graftStats is C's gomem_stats. gcController has it embedded, so that the counters of both languages are the same words.
type graftStats struct {
	graftStacksSys, graftMspanSys, graftMcacheSys, graftBuckhashSys, graftGcMiscSys, graftOtherSys sysMemStat

	heapInUse    sysMemStat
	heapReleased sysMemStat
	heapFree     sysMemStat
	mappedReady  atomic.Uint64
	totalAlloc   atomic.Uint64
	totalFree    atomic.Uint64
	heapLive     atomic.Uint64
	heapScan     atomic.Uint64

	graftHeapStats heapStatsDelta
}

func graftFuncsAddr() *[len(graftOffsets)]uintptr

// graftVerify: the linker has left the C functions as they were assembled.
func graftVerify() {
	funcs := graftFuncsAddr()
	base := funcs[0]
	for i, offset := range graftOffsets {
		if funcs[i]-base != uintptr(offset) {
			print("gomem: the linker put C function ", i, " at ", hex(funcs[i]-base), ", not at ", hex(offset), " behind the first (is -randlayout on?)\n")
			throw("gomem: C code is not in one piece")
		}
	}
	h := uint64(0xcbf29ce484222325)
	for i := uintptr(0); i < graftBytes; i += 8 {
		h = (h ^ *(*uint64)(unsafe.Pointer(base + i))) * 0x100000001b3
	}
	if h != graftSum {
		throw("gomem: C code differs from what was compiled")
	}
}

// graftStart sets up the environment of the C functions.
func graftStart() {
	g := &mheap_.gomem
	if g.env.physPageSize != 0 {
		return
	}
	graftVerify()
	g.env.stats = &g.stats
	g.env.physPageSize = physPageSize
	g.env.physHugePageSize = physHugePageSize
	g.env.backed = true
	g.env.greenTea = goexperiment.GreenTeaGC
	g.env.randomizeHeapBase = goexperiment.RandomizedHeapBase64
	g.os.call = *graftThunksAddr()
	graftCStart(&g.env, &g.os, unsafe.Pointer(&mheap_.arenas[0]))
}

func graftBool(b bool) uintptr {
	if b {
		return 1
	}
	return 0
}

// graftStat maps a counter that C knows by its place in graftStats to Go's.
func graftStat(stat *sysMemStat) *sysMemStat {
	g := &mheap_.gomem.stats
	switch stat {
	case &g.graftMspanSys:
		return &memstats.mspan_sys
	case &g.graftMcacheSys:
		return &memstats.mcache_sys
	case &g.graftGcMiscSys:
		return &memstats.gcMiscSys
	case &g.graftOtherSys:
		return &memstats.other_sys
	}
	return stat
}

// ---- what C calls

func graftLock(l *mutex) {
	lock(l)
	if graftChecks {
		if s := graftScavOf(); s != nil {
			s.locked()
		}
	}
}

func graftUnlock(l *mutex) {
	if graftChecks {
		if s := graftScavOf(); s != nil {
			s.unlocking()
		}
	}
	unlock(l)
}

// graftThrow says which C function found what; the traceback that throw prints names its callers.
func graftThrow(msg *byte) {
	var pcs [8]uintptr
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

func graftSysAlloc(n uintptr, stat *sysMemStat) unsafe.Pointer {
	return sysAlloc(n, graftStat(stat), "gomem")
}

func graftSysFree(v unsafe.Pointer, n uintptr, stat *sysMemStat) { sysFree(v, n, graftStat(stat)) }

func graftSysReserve(hint unsafe.Pointer, n, use uintptr) unsafe.Pointer {
	if use == 0 {
		return sysReserve(hint, n, "heap reservation")
	}
	return sysReserve(hint, n, "page summary")
}

func graftSysUnreserve(v unsafe.Pointer, n uintptr) { sysUnreserve(v, n) }

func graftSysReserveAligned(hint unsafe.Pointer, n, align uintptr, size *uintptr) unsafe.Pointer {
	v, got := sysReserveAligned(hint, n, align, "heap")
	*size = got
	return v
}

func graftSysMap(v unsafe.Pointer, n uintptr, stat *sysMemStat) {
	sysMap(v, n, graftStat(stat), "heap")
}
func graftSysUsed(v unsafe.Pointer, n, prepared uintptr)   { sysUsed(v, n, prepared) }
func graftSysUnused(v unsafe.Pointer, n uintptr)           { sysUnused(v, n) }
func graftSysFault(v unsafe.Pointer, n uintptr)            { sysFault(v, n) }
func graftSysHugePage(v unsafe.Pointer, n uintptr)         { sysHugePage(v, n) }
func graftSysNoHugePage(v unsafe.Pointer, n uintptr)       { sysNoHugePage(v, n) }
func graftSysHugePageCollapse(v unsafe.Pointer, n uintptr) { sysHugePageCollapse(v, n) }
func graftSysAllocOS(n uintptr) unsafe.Pointer             { return sysAllocOS(n, "heap index") }

func graftPersistentalloc(n, align uintptr, stat *sysMemStat) unsafe.Pointer {
	return persistentalloc(n, align, graftStat(stat))
}

// ---- level pages

func graftCStart(env *graftEnv, os *graftOS, arenas unsafe.Pointer)

// graftNop does nothing: its time is that of a call.
func graftNop(x uintptr) uintptr

//go:noescape
func graftPageAllocInit(env *graftEnv, p *pageAlloc, l *mutex, stat *sysMemStat, test uintptr)

//go:noescape
func graftPageAllocGrow(env *graftEnv, p *pageAlloc, base, size uintptr)

//go:noescape
func graftPageAllocEnableChunkHugePages(env *graftEnv, p *pageAlloc)

//go:noescape
func graftPageAllocUpdate(env *graftEnv, p *pageAlloc, base, npages, contig, alloc uintptr)

//go:noescape
func graftPageAllocAllocRange(env *graftEnv, p *pageAlloc, base, npages uintptr) uintptr

//go:noescape
func graftPageAllocFind(env *graftEnv, p *pageAlloc, npages uintptr) (addr, searchAddr uintptr)

//go:noescape
func graftPageAllocAlloc(env *graftEnv, p *pageAlloc, npages uintptr) (addr, scav uintptr)

//go:noescape
func graftPageAllocFree(env *graftEnv, p *pageAlloc, base, npages uintptr)

//go:noescape
func graftPageAllocMarkRandomPaddingPages(env *graftEnv, p *pageAlloc, base, npages uintptr)

//go:noescape
func graftPageAllocAllocToCache(env *graftEnv, p *pageAlloc, c *pageCache)

//go:noescape
func graftPageAllocScavengeOne(env *graftEnv, p *pageAlloc, ci, searchIdx, max uintptr, delta *heapStatsDelta) uintptr

//go:noescape
func graftPageCacheAlloc(c *pageCache, npages uintptr) (addr, scav uintptr)

//go:noescape
func graftPageCacheAllocN(c *pageCache, npages uintptr) (addr, scav uintptr)

//go:noescape
func graftPageCacheFlush(env *graftEnv, c *pageCache, p *pageAlloc)

//go:noescape
func graftScavengeIndexFind(env *graftEnv, s *scavengeIndex, force uintptr) (ci, pageIdx uintptr)

//go:noescape
func graftScavengeIndexAlloc(env *graftEnv, s *scavengeIndex, ci, npages uintptr)

//go:noescape
func graftScavengeIndexFree(env *graftEnv, s *scavengeIndex, ci, page, npages uintptr)

//go:noescape
func graftScavengeIndexNextGen(env *graftEnv, s *scavengeIndex)

//go:noescape
func graftScavengeIndexSetEmpty(s *scavengeIndex, ci uintptr)

//go:noescape
func graftFindScavengeCandidate(env *graftEnv, m *pallocData, searchIdx, minimum, max uintptr) (i, npages uintptr)

func graftFillAligned(x, m uint64) uint64

//go:noescape
func graftPageBitsSetRange(b *pageBits, i, n uintptr)

//go:noescape
func graftPageBitsClearRange(b *pageBits, i, n uintptr)

//go:noescape
func graftPageBitsPopcntRange(b *pageBits, i, n uintptr) uintptr

//go:noescape
func graftPallocBitsSummarize(b *pallocBits) pallocSum

//go:noescape
func graftPallocBitsFind(b *pallocBits, npages, searchIdx uintptr) (i, next uintptr)

//go:noescape
func graftPallocBitsFind1(b *pallocBits, searchIdx uintptr) uintptr

//go:noescape
func graftPallocBitsFindSmallN(b *pallocBits, npages, searchIdx uintptr) (i, next uintptr)

//go:noescape
func graftPallocBitsFindLargeN(b *pallocBits, npages, searchIdx uintptr) (i, next uintptr)

func graftFindBitRange64(c, n uint64) uint64

//go:noescape
func graftMergeSummaries(sums *pallocSum, n, logMaxPagesPerSum uintptr) pallocSum

// graftBookScavenged books what scavengeOne has counted.
func graftBookScavenged(d *heapStatsDelta) {
	if d.released == 0 {
		return
	}
	stats := memstats.heapStats.acquire()
	stats.committed += d.committed
	stats.released += d.released
	memstats.heapStats.release()
}
