// zz_gomem_spans.go: level spans: the page heap, span sets, mcentral, refill and the sweep of a span are C; here is what Go adds. An additional file
// of package runtime.
//
// C counts statistics of the heap by P in the P's gomemHeapStats; gomemBook moves them to memstats.heapStats at the end of an operation, before the M can
// be stopped.

package runtime

import (
	"internal/runtime/atomic"
	"unsafe"
)

// gomemP is C's gomem_p. It is embedded in p.
type gomemP struct {
	gomemHeap  *mheap
	gomemID    int32
	mcache     *mcache
	pcache     pageCache
	mspancache struct {
		len int
		buf [128]*mspan
	}
	gomemHeapStats heapStatsDelta
	gomemAssist    int64
}

// gomemBeside is what the C functions keep beside the fields of mheap, in the order of C's gomem_heap, and what Go keeps for them.
type gomemBeside struct {
	env                       gomemEnv
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
	stats            gomemStats
	// not in C
	os gomemOS
}

//go:noescape
func gomemMheapInit(h *mheap)

//go:noescape
func gomemMheapAlloc(h *mheap, pp *gomemP, npages, spc uintptr) *mspan

//go:noescape
func gomemMheapAllocManual(h *mheap, pp *gomemP, npages, typ uintptr) *mspan

//go:noescape
func gomemMheapFreeSpan(h *mheap, pp *gomemP, s *mspan)

//go:noescape
func gomemMheapFreeManual(h *mheap, pp *gomemP, s *mspan, typ uintptr)

//go:noescape
func gomemMheapSysAlloc(h *mheap, n uintptr, hintList **arenaHint, arenaList *[]arenaIdx) (v, size uintptr)

//go:noescape
func gomemMheapAllocNeedsZero(h *mheap, base, npage uintptr) uintptr

//go:noescape
func gomemNewMarkBits(h *mheap, nelems uintptr) *gcBits

//go:noescape
func gomemNextMarkBitArenaEpoch(h *mheap)

//go:noescape
func gomemFixallocInit(env *gomemEnv, f *fixalloc, size uintptr, stat *sysMemStat)

//go:noescape
func gomemFixallocAlloc(env *gomemEnv, f *fixalloc) uintptr

//go:noescape
func gomemFixallocFree(env *gomemEnv, f *fixalloc, p unsafe.Pointer)

//go:noescape
func gomemSpanSetPush(env *gomemEnv, b *spanSet, s *mspan)

//go:noescape
func gomemSpanSetPop(env *gomemEnv, b *spanSet) *mspan

//go:noescape
func gomemSpanSetReset(env *gomemEnv, b *spanSet)

//go:noescape
func gomemNextFreeIndex(h *mheap, s *mspan) uintptr

//go:noescape
func gomemRefillAllocCache(s *mspan, whichByte uintptr)

//go:noescape
func gomemCountAlloc(s *mspan) uintptr

//go:noescape
func gomemRefill(h *mheap, pp *gomemP, c *mcache, spc uintptr) uintptr

//go:noescape
func gomemUncacheSpan(h *mheap, pp *gomemP, c *mcentral, s *mspan)

//go:noescape
func gomemSweep(h *mheap, pp *gomemP, s *mspan, preserve uintptr) uintptr

// gomemGetP is the P of this M as C knows it, or nil.
func gomemGetP() *gomemP {
	if pp := getg().m.p.ptr(); pp != nil {
		pp.gomemHeap = &mheap_
		return &pp.gomemP
	}
	return nil
}

// gomemBook moves what C has counted to Go's statistics: by P, and for callers without one.
func gomemBook(pp *gomemP) {
	gomemBookDelta(&mheap_.gomem.stats.gomemHeapStats)
	if pp != nil {
		gomemBookDelta(&pp.gomemHeapStats)
	}
}

func gomemBookDelta(d *heapStatsDelta) {
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

// gomemSweepTrace begins a range of sweeping in a trace, unless one is open. gomemSweepTraceDone ends it.
func gomemSweepTrace() bool {
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

func gomemSweepTraceDone(begun bool) {
	if !begun {
		return
	}
	if trace := traceAcquire(); trace.ok() {
		trace.GCSweepDone()
		traceRelease(trace)
	}
}

func gomemAllocSpan(npages uintptr, spc spanClass) *mspan {
	pp := gomemGetP()
	mheap_.gomem.env.needZeroAfterSysUnused = needZeroAfterSysUnused()
	begun := !isSweepDone() && gomemSweepTrace()
	s := gomemMheapAlloc(&mheap_, pp, npages, uintptr(spc))
	gomemSweepTraceDone(begun)
	gomemBook(pp)
	return s
}

//go:systemstack
func gomemAllocManual(npages uintptr, typ spanAllocType) *mspan {
	pp := gomemGetP()
	mheap_.gomem.env.needZeroAfterSysUnused = needZeroAfterSysUnused()
	s := gomemMheapAllocManual(&mheap_, pp, npages, uintptr(typ))
	gomemSpanEvent(s, 0)
	gomemBook(pp)
	return s
}

//go:systemstack
func gomemFreeManual(s *mspan, typ spanAllocType) {
	pp := gomemGetP()
	gomemSpanEvent(s, 1)
	gomemMheapFreeManual(&mheap_, pp, s, uintptr(typ))
	gomemBook(pp)
}

func gomemRefillCache(c *mcache, spc spanClass) {
	pp := gomemGetP()
	mheap_.gomem.env.needZeroAfterSysUnused = needZeroAfterSysUnused()
	mheap_.gomem.gcBlackenEnabled = gcBlackenEnabled != 0
	if spc == tinySpanClass {
		c.reusableNoscan[spc] = 0
	}
	if c.reusableNoscan[spc] != 0 {
		throw("refill of span with reusable pointers remaining on pointer free list")
	}
	if gomemRefill(&mheap_, pp, c, uintptr(spc))&1 == 0 {
		throw("out of memory")
	}
	if getg().m.p != 0 && getg().m.p.ptr().trace.maySweep {
		gomemSweepTraceDone(true)
	}
	gomemBook(pp)
	if trace := traceAcquire(); trace.ok() {
		trace.HeapAlloc(gcController.heapLive.Load())
		traceRelease(trace)
	}
}

// gomemFixalloc: C's recordspan counts on room in allspans, which only C's own callers have made.
func gomemFixalloc(f *fixalloc) uintptr {
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
	return gomemFixallocAlloc(&h.gomem.env, f)
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
		pp := gomemGetP()
		freed = gomemSweep(&mheap_, pp, s, gomemBool(preserve))
		gomemBook(pp)
	})
	return freed&1 != 0
}

// ---- what C calls

func gomemDeductSweepCredit(spanBytes, callerSweepPages uintptr) {
	deductSweepCredit(spanBytes, callerSweepPages)
	gomemSweepTrace()
	if gomemChecks {
		if w := gomemMine(); w != nil {
			w.asked = true
		}
	}
}

func gomemBeginSweep(s *mspan, preserve uintptr) uintptr {
	if s.isUserArenaChunk {
		sl := sweepLocked{s}
		sl.gomemGoSweep(preserve&1 != 0)
		return 0
	}
	if s.state.get() != mSpanInUse || s.sweepgen != mheap_.sweepgen-1 {
		return 1 // C says so
	}
	if trace := traceAcquire(); trace.ok() {
		trace.GCSweepSpan(s.npages * pageSize)
		traceRelease(trace)
	}
	gomemSweepSpecials(s)
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
	if gomemChecks {
		gomemSweepBegin(s, preserve&1 != 0)
	}
	return 1
}

func gomemSpanEvent(s *mspan, freed uintptr) {
	if gomemChecks && s != nil {
		switch freed {
		case 0:
			gomemSpanMade(s)
		case 1:
			gomemSpanFreed(s)
		default:
			gomemSweepEnd(s, freed == 3)
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
