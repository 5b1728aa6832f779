package runtime

/*
#include "tests/upstream/glue.h"
*/
import "C"

import (
	gort "runtime"
	"sync"
	"unsafe"
)

// The tests that look at the whole heap look at this one of gomem. What they allocate with new and make, the compiler gives to Go's own runtime:
// so the heap comes with a past (glue.c), of three cycles, the last of which need not be swept to its end, from heapPs Ps whose caches are not flushed.
const heapPs = 4

var heap = sync.OnceValue(func() *C.gomem_heap { return C.upstream_newHeap(heapPs) })

// GOMAXPROCS sets the number of Ps of both runtimes.
func GOMAXPROCS(n int) int {
	if n > 0 && !bool(C.gomem_procresize(heap(), C.int(n))) {
		panic("gomem_procresize failed")
	}
	return gort.GOMAXPROCS(n)
}

func CountPagesInUse() (pagesInUse, counted uintptr) {
	var a, b C.uintptr_t
	C.upstream_pagesInUse(heap(), &a, &b)
	if a == 0 {
		panic("the heap is empty")
	}
	return uintptr(a), uintptr(b)
}

func PageCachePagesLeaked() uintptr { return uintptr(C.upstream_leaked(heap())) }

type BitsMismatch struct {
	Base      uintptr
	Got, Want uint64
}

func CheckScavengedBitsCleared(mismatches []BitsMismatch) (n int, ok bool) {
	var from, base C.uintptr_t
	var got, want C.uint64_t
	for bool(C.upstream_mismatch(heap(), &from, &base, &got, &want)) {
		if n == len(mismatches) {
			return n, false
		}
		mismatches[n] = BitsMismatch{uintptr(base), uint64(got), uint64(want)}
		n++
	}
	return n, n == 0
}

func memStats(s C.upstreamStats) MemStats {
	return MemStats{
		Alloc:        uint64(s.alloc),
		TotalAlloc:   uint64(s.totalAlloc),
		Mallocs:      uint64(s.mallocs),
		Frees:        uint64(s.frees),
		HeapReleased: uint64(s.released),
	}
}

// ReadMemStatsSlow gives what gomem counts as it goes, and the same counted anew. gomem_memstats has no counts by size class: BySize is zero in both.
func ReadMemStatsSlow() (base, slow MemStats) {
	base, slow = memStats(C.upstream_readStats(heap())), memStats(C.upstream_countStats(heap()))
	if base.Alloc == 0 || base.Frees == 0 || base.HeapReleased == 0 {
		panic("the heap was not in use")
	}
	return base, slow
}

type MSpan struct{}

func AllocMSpan() *MSpan { return new(MSpan) }
func FreeMSpan(*MSpan)   {}
func MSpanCountAlloc(_ *MSpan, bits []byte) int {
	return int(C.upstream_countAlloc((*C.uint8_t)(unsafe.Pointer(&bits[0])), C.uint(len(bits))))
}
