package runtime

/*
#include <stdlib.h>

#include "tests/upstream/glue.h"
*/
import "C"

import (
	gort "runtime"
	"unsafe"
)

type ChunkIdx uint

// BaseChunkIdx is the chunk of an address that is free on every platform of Go's tests.
var BaseChunkIdx = ChunkIdx(C.chunkIndex(layout, 0xc000*PallocChunkPages*PageSize))

func PageBase(c ChunkIdx, pageIdx uint) uintptr {
	return uintptr(C.chunkBase(layout, C.chunkIdx(c))) + uintptr(pageIdx)*PageSize
}

type PageCache struct{ c C.pageCache }

func NewPageCache(base uintptr, cache, scav uint64) PageCache {
	return PageCache{C.pageCache{base: C.uintptr_t(base), cache: C.uint64_t(cache), scav: C.uint64_t(scav)}}
}
func (c *PageCache) Empty() bool   { return bool(C.pageCache_empty(&c.c)) }
func (c *PageCache) Base() uintptr { return uintptr(c.c.base) }
func (c *PageCache) Cache() uint64 { return uint64(c.c.cache) }
func (c *PageCache) Scav() uint64  { return uint64(c.c.scav) }
func (c *PageCache) Alloc(npages uintptr) (uintptr, uintptr) {
	var scav C.uintptr_t
	addr := C.pageCache_alloc(layout, &c.c, C.uintptr_t(npages), &scav)
	return uintptr(addr), uintptr(scav)
}
func (c *PageCache) Flush(p *PageAlloc) { C.upstream_flush(env, p.s, &c.c) }

// PageAlloc is a page allocator of gomem over the process's own memory, with no heap behind its pages.
type PageAlloc struct{ s *C.upstreamPages }

// NewPageAlloc makes one of the given chunks: which of their pages are in use, and which are scavenged (none if scav is nil).
func NewPageAlloc(chunks, scav map[ChunkIdx][]BitRange) *PageAlloc {
	p := &PageAlloc{C.upstream_newPages(env)}
	for i, inUse := range chunks {
		ci := C.chunkIdx(i)
		C.upstream_beginChunk(env, p.s, ci)
		for _, r := range scav[i] {
			C.upstream_scavengedInChunk(p.s, ci, C.uint(r.I), C.uint(r.N))
		}
		for _, r := range inUse {
			C.upstream_inUseInChunk(env, p.s, ci, C.uint(r.I), C.uint(r.N))
		}
		C.upstream_endChunk(env, p.s, ci)
	}
	return p
}

func FreePageAlloc(p *PageAlloc) {
	C.upstream_freePages(env, p.s)
	p.s = nil
}

func (p *PageAlloc) Alloc(npages uintptr) (uintptr, uintptr) {
	var scav C.uintptr_t
	addr := C.upstream_alloc(env, p.s, C.uintptr_t(npages), &scav)
	return uintptr(addr), uintptr(scav)
}
func (p *PageAlloc) Free(base, npages uintptr) {
	C.upstream_free(env, p.s, C.uintptr_t(base), C.uintptr_t(npages))
}
func (p *PageAlloc) AllocToCache() PageCache { return PageCache{C.upstream_allocToCache(env, p.s)} }
func (p *PageAlloc) Scavenge(nbytes uintptr) uintptr {
	return uintptr(C.upstream_scavenge(env, p.s, C.uintptr_t(nbytes)))
}
func (p *PageAlloc) Bounds() (ChunkIdx, ChunkIdx) { return ChunkIdx(p.s.p.start), ChunkIdx(p.s.p.end) }
func (p *PageAlloc) InUse() []AddrRange           { return rangesOf(&p.s.p.inUse) }

// PallocData gives the chunk's bits in place; nil where no table was made for the chunk.
func (p *PageAlloc) PallocData(i ChunkIdx) *PallocData {
	return (*PallocData)(unsafe.Pointer(C.pageAlloc_tryChunkOf(layout, &p.s.p, C.chunkIdx(i))))
}

// ---- ranges of addresses

type AddrRange struct{ r C.addrRange }

func MakeAddrRange(base, limit uintptr) AddrRange {
	return AddrRange{C.makeAddrRange(env, C.uintptr_t(base), C.uintptr_t(limit))}
}
func (a AddrRange) Base() uintptr           { return uintptr(a.r.base.a) }
func (a AddrRange) Limit() uintptr          { return uintptr(a.r.limit.a) }
func (a AddrRange) Size() uintptr           { return uintptr(C.addrRange_size(layout, a.r)) }
func (a AddrRange) Equals(b AddrRange) bool { return a.r == b.r }

func rangesOf(a *C.addrRanges) []AddrRange {
	all := make([]AddrRange, 0, int(a.len))
	for _, r := range unsafe.Slice(a.ranges, int(a.len)) {
		all = append(all, AddrRange{r})
	}
	return all
}

// AddrRanges is gomem's addrRanges, which stays in C's memory.
type AddrRanges struct {
	a       *C.addrRanges
	mutable bool
}

func NewAddrRanges() AddrRanges {
	a := (*C.addrRanges)(C.calloc(1, C.sizeof_addrRanges))
	if !C.addrRanges_init(env, a, sys) {
		panic("addrRanges_init: no memory")
	}
	return AddrRanges{a, true}
}

// MakeAddrRanges gives ranges that are as they are: next to each other too. They can be searched only.
func MakeAddrRanges(ranges ...AddrRange) AddrRanges {
	a := (*C.addrRanges)(C.calloc(1, C.sizeof_addrRanges))
	n := len(ranges)
	a.ranges = (*C.addrRange)(C.calloc(C.size_t(max(n, 1)), C.sizeof_addrRange))
	a.len, a.cap = C.intptr_t(n), C.intptr_t(n)
	for i, r := range ranges {
		unsafe.Slice(a.ranges, n)[i] = r.r
		a.totalBytes += C.uintptr_t(r.Size())
	}
	return AddrRanges{a, false}
}

func (a *AddrRanges) Ranges() []AddrRange { return rangesOf(a.a) }
func (a *AddrRanges) TotalBytes() uintptr { return uintptr(a.a.totalBytes) }
func (a *AddrRanges) FindSucc(base uintptr) int {
	return int(C.addrRanges_findSucc(env, a.a, C.uintptr_t(base)))
}
func (a *AddrRanges) Add(r AddrRange) {
	if !a.mutable {
		panic("these ranges can be searched only")
	}
	if !C.addrRanges_add(env, a.a, r.r) {
		panic("addrRanges_add: no memory")
	}
}

// ---- the scavenge index by itself

type ScavengeIndex struct{ i *C.scavengeIndex }

func NewScavengeIndex(min, max ChunkIdx) *ScavengeIndex {
	s := &ScavengeIndex{C.upstream_newIndex(C.chunkIdx(min), C.chunkIdx(max))}
	gort.AddCleanup(s, func(i *C.scavengeIndex) { C.upstream_freeIndex(i) }, s.i)
	return s
}

func (s *ScavengeIndex) Find(force bool) (ChunkIdx, uint) {
	var pageIdx C.uint
	ci := C.scavengeIndex_find(env, s.i, C.bool(force), &pageIdx)
	gort.KeepAlive(s)
	return ChunkIdx(ci), uint(pageIdx)
}

// eachChunk calls f with the chunks of [base, limit), and which of their pages it covers.
func eachChunk(base, limit uintptr, f func(ci C.chunkIdx, first, n C.uint)) {
	for base < limit {
		ci := C.chunkIndex(layout, C.uintptr_t(base))
		first := C.chunkPageIndex(layout, C.uintptr_t(base))
		end := min(limit, uintptr(C.chunkBase(layout, ci+1)))
		f(ci, first, C.uint((end-base)/PageSize))
		base = end
	}
}
func (s *ScavengeIndex) AllocRange(base, limit uintptr) {
	eachChunk(base, limit, func(ci C.chunkIdx, _, n C.uint) { C.scavengeIndex_alloc(env, s.i, ci, n) })
}
func (s *ScavengeIndex) FreeRange(base, limit uintptr) {
	eachChunk(base, limit, func(ci C.chunkIdx, first, n C.uint) { C.scavengeIndex_free(env, s.i, ci, first, n) })
}
func (s *ScavengeIndex) ResetSearchAddrs()    { C.upstream_resetSearchAddrs(s.i) }
func (s *ScavengeIndex) NextGen()             { C.scavengeIndex_nextGen(env, s.i) }
func (s *ScavengeIndex) SetEmpty(ci ChunkIdx) { C.scavengeIndex_setEmpty(s.i, C.chunkIdx(ci)) }

func CheckPackScavChunkData(gen uint32, inUse, lastInUse uint16, flags uint8) bool {
	sc := C.scavChunkData{
		inUse:     C.uint16_t(inUse),
		lastInUse: C.uint16_t(lastInUse),
		gen:       C.uint32_t(gen),
		flags:     C.uint8_t(flags),
	}
	return C.unpackScavChunkData(C.scavChunkData_pack(sc)) == sc
}
