// zz_graft_spans.go: level spans: the page heap, span sets, mcentral, refill and the sweep of a span are C; here is what Go adds. An additional file
// of package runtime.
//
// C counts statistics of the heap by P in the P's graftHeapStats; graftBook moves them to memstats.heapStats at the end of an operation, before the M can
// be stopped.

package runtime

import (
	"internal/runtime/atomic"
	"unsafe"
)

// graftP is C's gomem_p. It is embedded in p.
type graftP struct {
	graftWays  uintptr
	graftHeap  *mheap
	graftID    int32
	mcache     *mcache
	pcache     pageCache
	_          [2]uintptr // unusedFrom, populatedTo
	mspancache struct {
		len int
		buf [128]*mspan
	}
	graftHeapStats heapStatsDelta
	graftAssist    int64
	graftMarked    uint64
	graftUser      [2]uintptr
}

// graftBeside is what the C functions keep beside the fields of mheap, in the order of C's gomem_heap, and what Go keeps for them.
type graftBeside struct {
	env                       graftEnv
	policy                    [9]uintptr
	userArenaHints            uintptr
	heapRandSeed              uintptr
	heapRandSeedBitsRemaining int
	gcBitsArenas              [5]uintptr
	sweep                     struct {
		active       activeSweep
		centralIndex sweepClass
	}
	gcphase          uint32
	gcBlackenEnabled bool
	emptymspan       mspan
	_                [2]uintptr // hugePagesFrom, populateAhead: 0, for the OS is Go's to ask
	stats            graftStats
	// not in C
	os graftOS
}

//go:noescape
func graftMheapInit(h *mheap)

//go:noescape
func graftMheapAlloc(h *mheap, pp *graftP, npages, spc uintptr) *mspan

//go:noescape
func graftMheapAllocManual(h *mheap, pp *graftP, npages, typ uintptr) *mspan

//go:noescape
func graftMheapFreeSpan(h *mheap, pp *graftP, s *mspan)

//go:noescape
func graftMheapFreeManual(h *mheap, pp *graftP, s *mspan, typ uintptr)

//go:noescape
func graftMheapSysAlloc(h *mheap, n uintptr, hintList **arenaHint, arenaList *[]arenaIdx) (v, size uintptr)

//go:noescape
func graftMheapAllocNeedsZero(h *mheap, base, npage uintptr) uintptr

//go:noescape
func graftNewMarkBits(h *mheap, nelems uintptr) *gcBits

//go:noescape
func graftNextMarkBitArenaEpoch(h *mheap)

//go:noescape
func graftFixallocInit(env *graftEnv, f *fixalloc, size uintptr, stat *sysMemStat)

//go:noescape
func graftFixallocAlloc(env *graftEnv, f *fixalloc) uintptr

//go:noescape
func graftFixallocFree(env *graftEnv, f *fixalloc, p unsafe.Pointer)

//go:noescape
func graftSpanSetPush(env *graftEnv, b *spanSet, s *mspan, id uint64)

//go:noescape
func graftSpanSetPop(env *graftEnv, b *spanSet, id uint64) *mspan

//go:noescape
func graftSpanSetReset(env *graftEnv, b *spanSet)

//go:noescape
func graftNextFreeIndex(h *mheap, s *mspan) uintptr

//go:noescape
func graftRefillAllocCache(s *mspan, whichByte uintptr)

//go:noescape
func graftCountAlloc(s *mspan) uintptr

//go:noescape
func graftRefill(h *mheap, pp *graftP, c *mcache, spc uintptr) uintptr

//go:noescape
func graftUncacheSpan(h *mheap, pp *graftP, c *mcentral, s *mspan)

//go:noescape
func graftSweep(h *mheap, pp *graftP, s *mspan, preserve uintptr) uintptr

// graftGetP is the P of this M as C knows it, or nil.
func graftGetP() *graftP {
	if pp := getg().m.p.ptr(); pp != nil {
		pp.graftHeap = &mheap_
		return &pp.graftP
	}
	return nil
}

// graftBook moves what C has counted to Go's statistics: by P, and for callers without one.
func graftBook(pp *graftP) {
	graftBookDelta(&mheap_.gomem.stats.graftHeapStats)
	if pp != nil {
		graftBookDelta(&pp.graftHeapStats)
	}
}

func graftBookDelta(d *heapStatsDelta) {
	const words = unsafe.Sizeof(heapStatsDelta{}) / 8
	from := (*[words]uint64)(unsafe.Pointer(d))
	some := uint64(0)
	for i := range from {
		some |= from[i]
	}
	if some == 0 {
		return
	}
	to := (*[words]uint64)(unsafe.Pointer(memstats.heapStats.acquire()))
	for i := range from {
		if from[i] != 0 {
			atomic.Xadd64(&to[i], int64(atomic.Xchg64(&from[i], 0)))
		}
	}
	memstats.heapStats.release()
}

// ---- operations

// graftSweepTrace begins a range of sweeping in a trace, unless one is open. graftSweepTraceDone ends it.
func graftSweepTrace() bool {
	pp := getg().m.p.ptr()
	if pp == nil || pp.trace.maySweep {
		return false
	}
	trace := traceAcquire()
	if !trace.ok() {
		return false
	}
	trace.GCSweepStart()
	traceRelease(trace)
	return true
}

func graftSweepTraceDone(begun bool) {
	if !begun {
		return
	}
	if trace := traceAcquire(); trace.ok() {
		trace.GCSweepDone()
		traceRelease(trace)
	}
}

func graftAllocSpan(npages uintptr, spc spanClass) *mspan {
	pp := graftGetP()
	mheap_.gomem.env.needZeroAfterSysUnused = needZeroAfterSysUnused()
	begun := !isSweepDone() && graftSweepTrace()
	s := graftMheapAlloc(&mheap_, pp, npages, uintptr(spc))
	graftSweepTraceDone(begun)
	graftBook(pp)
	return s
}

//go:systemstack
func graftAllocManual(npages uintptr, typ spanAllocType) *mspan {
	pp := graftGetP()
	mheap_.gomem.env.needZeroAfterSysUnused = needZeroAfterSysUnused()
	s := graftMheapAllocManual(&mheap_, pp, npages, uintptr(typ))
	graftSpanEvent(s, 0)
	graftBook(pp)
	return s
}

//go:systemstack
func graftFreeManual(s *mspan, typ spanAllocType) {
	pp := graftGetP()
	graftSpanEvent(s, 1)
	graftMheapFreeManual(&mheap_, pp, s, uintptr(typ))
	graftBook(pp)
}

func graftRefillCache(c *mcache, spc spanClass) {
	pp := graftGetP()
	mheap_.gomem.env.needZeroAfterSysUnused = needZeroAfterSysUnused()
	mheap_.gomem.gcBlackenEnabled = gcBlackenEnabled != 0
	if spc == tinySpanClass {
		c.reusableNoscan[spc] = 0
	}
	if c.reusableNoscan[spc] != 0 {
		throw("refill of span with reusable pointers remaining on pointer free list")
	}
	if graftRefill(&mheap_, pp, c, uintptr(spc))&1 == 0 {
		throw("out of memory")
	}
	if getg().m.p != 0 && getg().m.p.ptr().trace.maySweep {
		graftSweepTraceDone(true)
	}
	graftBook(pp)
	if trace := traceAcquire(); trace.ok() {
		trace.HeapAlloc(gcController.heapLive.Load())
		traceRelease(trace)
	}
}

// graftFixalloc: C's recordspan counts on room in allspans, which only C's own callers have made.
func graftFixalloc(f *fixalloc) uintptr {
	h := &mheap_
	if f == &h.spanalloc && len(h.allspans) == cap(h.allspans) {
		n := max(64*1024/8, cap(h.allspans)*3/2)
		sp := slice{sysAlloc(uintptr(n)*8, &memstats.other_sys, "allspans array"), len(h.allspans), n}
		if sp.array == nil {
			throw("runtime: cannot allocate memory")
		}
		if old := h.allspans; len(old) > 0 {
			memmove(sp.array, unsafe.Pointer(&old[0]), uintptr(len(old))*8)
			sysFree(unsafe.Pointer(&old[0]), uintptr(cap(old))*8, &memstats.other_sys)
		}
		*(*notInHeapSlice)(unsafe.Pointer(&h.allspans)) = *(*notInHeapSlice)(unsafe.Pointer(&sp))
	}
	return graftFixallocAlloc(&h.gomem.env, f)
}

// sweep frees what is not marked in a span; true if the span itself was freed.
func (sl *sweepLocked) sweep(preserve bool) bool {
	gp := getg()
	if gp.m.locks == 0 && gp.m.mallocing == 0 && gp != gp.m.g0 {
		throw("mspan.sweep: m is not locked")
	}
	s := sl.mspan
	if !preserve {
		sl.mspan = nil
	}
	var freed uintptr
	systemstack(func() {
		pp := graftGetP()
		freed = graftSweep(&mheap_, pp, s, graftBool(preserve))
		graftBook(pp)
	})
	return freed&1 != 0
}

// ---- what C calls

func graftDeductSweepCredit(spanBytes, callerSweepPages uintptr) {
	deductSweepCredit(spanBytes, callerSweepPages)
	graftSweepTrace()
	if graftChecks {
		if w := graftMine(); w != nil {
			w.asked = true
		}
	}
}

func graftBeginSweep(s *mspan, preserve uintptr) uintptr {
	if s.isUserArenaChunk {
		sl := sweepLocked{s}
		sl.graftGoSweep(preserve&1 != 0)
		return 0
	}
	if s.state.get() != mSpanInUse || s.sweepgen != mheap_.sweepgen-1 {
		return 1 // C says so
	}
	if trace := traceAcquire(); trace.ok() {
		trace.GCSweepSpan(s.npages * pageSize)
		traceRelease(trace)
	}
	graftSweepSpecials(s)
	if traceEnabled() {
		marked := uintptr(0)
		mbits := s.markBitsForBase()
		for i := uintptr(0); i < uintptr(s.nelems); i++ {
			if mbits.isMarked() {
				marked++
			}
			mbits.advance()
		}
		if pp := getg().m.p.ptr(); pp != nil {
			pp.trace.reclaimed += (uintptr(s.allocCount) - marked) * s.elemsize
		}
	}
	if s.pinnerBits != nil {
		s.refreshPinnerBits()
	}
	if graftChecks {
		graftSweepBegin(s, preserve&1 != 0)
	}
	return 1
}

func graftSpanEvent(s *mspan, freed uintptr) {
	if graftChecks && s != nil {
		switch freed {
		case 0:
			graftSpanMade(s)
		case 1:
			graftSpanFreed(s)
		default:
			graftSweepEnd(s, freed == 3)
			return
		}
	}
	if s == nil || !traceAllocFreeEnabled() {
		return
	}
	trace := traceAcquire()
	if !trace.ok() {
		return
	}
	if freed != 0 {
		trace.SpanFree(s)
	} else {
		trace.SpanAlloc(s)
	}
	traceRelease(trace)
}
