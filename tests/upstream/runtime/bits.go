package runtime

/*
#include "tests/upstream/glue.h"
*/
import "C"

import "unsafe"

// layout is passed where gomem wants one; its constants are folded in.
var layout = env.layout

// noPage is what gomem answers where there is no page; Go answers with all ones too, of 64 bits.
const noPage = ^C.uint(0)

func page(i C.uint) uint {
	if i == noPage {
		return ^uint(0)
	}
	return uint(i)
}

type PallocSum C.pallocSum

func PackPallocSum(start, max, end uint) PallocSum {
	return PallocSum(C.packPallocSum(layout, C.uint(start), C.uint(max), C.uint(end)))
}
func (m PallocSum) Start() uint { return uint(C.pallocSum_start(layout, C.pallocSum(m))) }
func (m PallocSum) Max() uint   { return uint(C.pallocSum_max(layout, C.pallocSum(m))) }
func (m PallocSum) End() uint   { return uint(C.pallocSum_end(layout, C.pallocSum(m))) }

type BitRange struct {
	I, N uint
}

// PallocBits has the layout of gomem's pallocBits and pageBits.
type PallocBits [PallocChunkPages / 64]uint64

func (b *PallocBits) bits() *C.pallocBits { return (*C.pallocBits)(unsafe.Pointer(b)) }

func (b *PallocBits) Find(npages uintptr, searchIdx uint) (uint, uint) {
	var next C.uint
	i := C.pallocBits_find(b.bits(), C.uintptr_t(npages), C.uint(searchIdx), &next)
	return page(i), page(next)
}
func (b *PallocBits) AllocRange(i, n uint) { C.pallocBits_allocRange(b.bits(), C.uint(i), C.uint(n)) }
func (b *PallocBits) Free(i, n uint)       { C.pallocBits_free(b.bits(), C.uint(i), C.uint(n)) }
func (b *PallocBits) Summarize() PallocSum {
	return PallocSum(C.pallocBits_summarize(layout, b.bits()))
}
func (b *PallocBits) PopcntRange(i, n uint) uint {
	return uint(C.pageBits_popcntRange(&b.bits().b, C.uint(i), C.uint(n)))
}

// inUse is the witness of what follows: not gomem's.
func (b *PallocBits) inUse(i uint) bool { return b[i/64]>>(i%64)&1 != 0 }

// SummarizeSlow sums bit by bit, in Go.
func SummarizeSlow(b *PallocBits) PallocSum {
	const n = PallocChunkPages
	var start, most, run uint
	seen := false
	for i := uint(0); i < n; i++ {
		if b.inUse(i) {
			seen = true
			run = 0
			continue
		}
		run++
		most = max(most, run)
		if !seen {
			start = run
		}
	}
	return PackPallocSum(start, most, run)
}

// DiffPallocBits gives the runs of bits in which a and b differ.
func DiffPallocBits(a, b *PallocBits) []BitRange {
	var runs []BitRange
	for i := uint(0); i < PallocChunkPages; i++ {
		if a.inUse(i) == b.inUse(i) {
			continue
		}
		if last := len(runs) - 1; last >= 0 && runs[last].I+runs[last].N == i {
			runs[last].N++
		} else {
			runs = append(runs, BitRange{i, 1})
		}
	}
	return runs
}

func StringifyPallocBits(b *PallocBits, r BitRange) string {
	text := make([]byte, 0, r.N)
	for i := r.I; i < r.I+r.N; i++ {
		if b.inUse(i) {
			text = append(text, '1')
		} else {
			text = append(text, '0')
		}
	}
	return string(text)
}

func FindBitRange64(c uint64, n uint) uint { return uint(C.findBitRange64(C.uint64_t(c), C.uint(n))) }
func FillAligned(x uint64, m uint) uint64  { return uint64(C.fillAligned(C.uint64_t(x), C.uint(m))) }

// PallocData is gomem's pallocData, in Go's memory or in gomem's.
type PallocData struct{ d C.pallocData }

func (d *PallocData) AllocRange(i, n uint) { C.pallocData_allocRange(&d.d, C.uint(i), C.uint(n)) }
func (d *PallocData) ScavengedSetRange(i, n uint) {
	C.pageBits_setRange(&d.d.scavenged, C.uint(i), C.uint(n))
}
func (d *PallocData) PallocBits() *PallocBits { return (*PallocBits)(unsafe.Pointer(&d.d.pallocBits)) }
func (d *PallocData) Scavenged() *PallocBits  { return (*PallocBits)(unsafe.Pointer(&d.d.scavenged)) }
func (d *PallocData) FindScavengeCandidate(searchIdx uint, min, max uintptr) (uint, uint) {
	var n C.uint
	i := C.pallocData_findScavengeCandidate(env, &d.d, C.uint(searchIdx), C.uintptr_t(min), C.uintptr_t(max), &n)
	return uint(i), uint(n)
}
