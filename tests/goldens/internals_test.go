// internals_test.go: doors into package runtime for the programs of programs_test.go. An overlay puts it into the runtime's own tests, so that
// the code that answers is Go's, unchanged. tools/goldens.py builds it.
//
// Nothing here computes: each function calls one of Go's, or reads one of its fields. A digest stands for many words (GomemDigest).
// Some of Go's functions depend on the page sizes of the OS; GomemPages.Scavenge and GomemBits.Candidate take them as arguments and put them into
// the runtime's variables for the time of the call. That is safe on the system stack with GOMAXPROCS=1: nobody else reads them meanwhile.

package runtime

import (
	"internal/goarch"
	"internal/abi"
	"internal/runtime/gc"
	"unsafe"
)

// GomemDigest folds a word into a digest.
func GomemDigest(h, v uint64) uint64 {
	h = (h ^ v) * 0x9e3779b97f4a7c15
	return h ^ h>>29
}

func GomemSystem() (physPage uintptr, arch string, version string) {
	return physPageSize, GOOS + "/" + GOARCH, buildVersion
}

var gomemStat = &memstats.other_sys

func withPageSizes(phys, huge uintptr, fn func()) {
	systemstack(func() {
		p, h := physPageSize, physHugePageSize
		physPageSize, physHugePageSize = phys, huge
		fn()
		physPageSize, physHugePageSize = p, h
	})
}

// ---- bits

func GomemFindBitRange64(c uint64, n uint) uint { return findBitRange64(c, n) }
func GomemFillAligned(x uint64, m uint) uint64  { return fillAligned(x, m) }

type GomemBits struct{ d pallocData }

func (b *GomemBits) Alloc(i, n uint)                     { b.d.allocRange(i, n) }
func (b *GomemBits) AllocAll()                           { b.d.allocAll() }
func (b *GomemBits) Free(i, n uint)                      { b.d.pallocBits.free(i, n) }
func (b *GomemBits) Free1(i uint)                        { b.d.pallocBits.free1(i) }
func (b *GomemBits) FreeAll()                            { b.d.pallocBits.freeAll() }
func (b *GomemBits) Find(n uintptr, s uint) (uint, uint) { return b.d.pallocBits.find(n, s) }
func (b *GomemBits) Summarize() uint64                   { return uint64(b.d.pallocBits.summarize()) }
func (b *GomemBits) Popcnt(i, n uint) uint               { return (*pageBits)(&b.d.pallocBits).popcntRange(i, n) }
func (b *GomemBits) Pages64(i uint) uint64               { return b.d.pallocBits.pages64(i) }
func (b *GomemBits) AllocPages64(i uint, v uint64)       { b.d.pallocBits.allocPages64(i, v) }
func (b *GomemBits) ScavSet(i, n uint)                   { b.d.scavenged.setRange(i, n) }
func (b *GomemBits) ScavClear(i, n uint)                 { b.d.scavenged.clearRange(i, n) }
func (b *GomemBits) Word(i uint) (uint64, uint64)        { return b.d.pallocBits[i], b.d.scavenged[i] }
func (b *GomemBits) SetWord(i uint, alloc, scav uint64) {
	b.d.pallocBits[i], b.d.scavenged[i] = alloc, scav
}
func (b *GomemBits) Candidate(idx uint, min, max, huge uintptr) (i, n uint) {
	withPageSizes(4096, huge, func() { i, n = b.d.findScavengeCandidate(idx, min, max) })
	return
}

// ---- summaries

func GomemPack(start, max, end uint) uint64       { return uint64(packPallocSum(start, max, end)) }
func GomemUnpack(s uint64) (start, max, end uint) { return pallocSum(s).unpack() }
func GomemSumFields(s uint64) (start, max, end uint) {
	m := pallocSum(s)
	return m.start(), m.max(), m.end()
}
func GomemMerge(sums []uint64, log uint) uint64 {
	return uint64(mergeSummaries(unsafe.Slice((*pallocSum)(unsafe.SliceData(sums)), len(sums)), log))
}

// ---- page cache

type GomemCache struct{ c pageCache }

func (c *GomemCache) Set(base uintptr, cache, scav uint64) { c.c = pageCache{base, cache, scav} }
func (c *GomemCache) Get() (uintptr, uint64, uint64)       { return c.c.base, c.c.cache, c.c.scav }
func (c *GomemCache) Empty() bool                          { return c.c.empty() }
func (c *GomemCache) Alloc(n uintptr) (uintptr, uintptr)   { return c.c.alloc(n) }
func (c *GomemCache) AllocN(n uintptr) (uintptr, uintptr)  { return c.c.allocN(n) }

// ---- page allocator

type GomemPages struct {
	p      *pageAlloc
	Caches [4]GomemCache
}

func NewGomemPages() *GomemPages {
	g := new(GomemPages)
	g.p = new(pageAlloc)
	g.p.init(new(mutex), gomemStat, true)
	lockInit(g.p.mheapLock, lockRankMheap)
	return g
}

// Destroy gives the address space back, and takes from Go's accounts what was mapped.
func (g *GomemPages) Destroy() {
	p := g.p
	if goarch.PtrSize == 8 {
		for _, s := range p.summary {
			sysUnreserve(unsafe.Pointer(unsafe.SliceData(s)), uintptr(cap(s))*pallocSumBytes)
		}
	} else { // one after the other
		sysUnreserve(unsafe.Pointer(unsafe.SliceData(p.summary[0])), p.summaryMappedReady)
	}
	sysUnreserve(unsafe.Pointer(unsafe.SliceData(p.scav.index.chunks)), uintptr(cap(p.scav.index.chunks))*unsafe.Sizeof(atomicScavChunkData{}))
	gcController.mappedReady.Add(-int64(p.summaryMappedReady))
	gomemStat.add(-int64(p.summaryMappedReady))
	for i, c := range p.chunks {
		if c != nil {
			p.chunks[i] = nil
			sysFree(unsafe.Pointer(c), unsafe.Sizeof(*c), gomemStat)
		}
	}
}

func (g *GomemPages) locked(fn func()) {
	systemstack(func() {
		lock(g.p.mheapLock)
		fn()
		unlock(g.p.mheapLock)
	})
}

func (g *GomemPages) Grow(base, size uintptr) { g.locked(func() { g.p.grow(base, size) }) }
func (g *GomemPages) Alloc(n uintptr) (addr, scav uintptr) {
	g.locked(func() { addr, scav = g.p.alloc(n) })
	return
}
func (g *GomemPages) Free(base, n uintptr) { g.locked(func() { g.p.free(base, n) }) }
func (g *GomemPages) Find(n uintptr) (addr, search uintptr) {
	g.locked(func() {
		var s offAddr
		addr, s = g.p.find(n)
		search = s.addr()
	})
	return
}
func (g *GomemPages) AllocRange(base, n uintptr) (scav uintptr) {
	g.locked(func() { scav = g.p.allocRange(base, n) })
	return
}
func (g *GomemPages) Padding(base, n uintptr) {
	g.locked(func() { g.p.markRandomPaddingPages(base, n) })
}
func (g *GomemPages) ToCache(i int) { g.locked(func() { g.Caches[i].c = g.p.allocToCache() }) }
func (g *GomemPages) Flush(i int)   { g.locked(func() { g.Caches[i].c.flush(g.p) }) }
func (g *GomemPages) NextGen()      { g.locked(func() { g.p.scav.index.nextGen() }) }
func (g *GomemPages) ScavFind(force bool) (uint64, uint) {
	ci, i := g.p.scav.index.find(force)
	return uint64(ci), i
}
func (g *GomemPages) Scavenge(nbytes uintptr, force bool, phys, huge uintptr) (r uintptr) {
	withPageSizes(phys, huge, func() { r = g.p.scavenge(nbytes, nil, force) })
	return
}
func (g *GomemPages) SearchAddr() uintptr { return g.p.searchAddr.addr() }
func (g *GomemPages) Bounds() (start, end uint64, ranges int, total, mapped uintptr) {
	p := g.p
	return uint64(p.start), uint64(p.end), len(p.inUse.ranges), p.inUse.totalBytes, p.summaryMappedReady
}

// Digests: ranges in use, bits in use, scavenged bits, the words of the index, and each level of summaries.
func (g *GomemPages) Digests() (d [4 + summaryLevels]uint64) {
	p := g.p
	for _, r := range p.inUse.ranges {
		d[0] = GomemDigest(GomemDigest(d[0], uint64(r.base.addr())), uint64(r.limit.addr()))
		for ci := chunkIndex(r.base.addr()); ci < chunkIndex(r.limit.addr()); ci++ {
			c := p.chunkOf(ci)
			for w := range c.pallocBits {
				d[1] = GomemDigest(d[1], c.pallocBits[w])
				d[2] = GomemDigest(d[2], c.scavenged[w])
			}
			d[3] = GomemDigest(d[3], p.scav.index.chunks[ci].value.Load())
		}
		for l := range p.summary {
			lo, hi := addrsToSummaryRange(l, r.base.addr(), r.limit.addr())
			for i := lo; i < hi; i++ {
				d[4+l] = GomemDigest(d[4+l], uint64(p.summary[l][i]))
			}
		}
	}
	return
}

// Index gives the fields of the scavenge index beside its words.
func (g *GomemPages) Index() []uint64 { return indexFields(&g.p.scav.index) }

func indexFields(s *scavengeIndex) []uint64 {
	return []uint64{uint64(s.min.Load()), uint64(s.max.Load()), uint64(s.minHeapIdx.Load()), uint64(s.searchAddrBg.a.Load()),
		uint64(s.searchAddrForce.a.Load()), uint64(s.freeHWM.addr()), uint64(s.gen)}
}

// ---- scavenge index

type GomemIndex struct {
	i      scavengeIndex
	mapped uintptr
}

func NewGomemIndex() *GomemIndex {
	g := new(GomemIndex)
	g.mapped = g.i.init(true, gomemStat)
	return g
}
func (g *GomemIndex) Destroy() {
	sysUnreserve(unsafe.Pointer(unsafe.SliceData(g.i.chunks)), uintptr(cap(g.i.chunks))*unsafe.Sizeof(atomicScavChunkData{}))
	gcController.mappedReady.Add(-int64(g.mapped))
	gomemStat.add(-int64(g.mapped))
}
func (g *GomemIndex) Grow(base, limit uintptr) uintptr {
	var n uintptr
	systemstack(func() { n = g.i.grow(base, limit, gomemStat) })
	g.mapped += n
	return n
}
func (g *GomemIndex) Alloc(ci uint64, n uint)      { g.i.alloc(chunkIdx(ci), n) }
func (g *GomemIndex) Free(ci uint64, page, n uint) { g.i.free(chunkIdx(ci), page, n) }
func (g *GomemIndex) Find(force bool) (uint64, uint) {
	ci, i := g.i.find(force)
	return uint64(ci), i
}
func (g *GomemIndex) NextGen()              { g.i.nextGen() }
func (g *GomemIndex) SetEmpty(ci uint64)    { g.i.setEmpty(chunkIdx(ci)) }
func (g *GomemIndex) Word(ci uint64) uint64 { return g.i.chunks[ci].value.Load() }
func (g *GomemIndex) Fields() []uint64      { return indexFields(&g.i) }

func GomemUnpackChunk(w uint64) (inUse, lastInUse uint16, gen uint32, flags uint8, packed uint64) {
	sc := unpackScavChunkData(w)
	return sc.inUse, sc.lastInUse, sc.gen, uint8(sc.scavChunkFlags), sc.pack()
}
func GomemShouldScavenge(w uint64, gen uint32, force bool) bool {
	return unpackScavChunkData(w).shouldScavenge(gen, force)
}

// ---- address ranges

type GomemRange struct{ r addrRange }

func MakeGomemRange(base, limit uintptr) GomemRange   { return GomemRange{makeAddrRange(base, limit)} }
func (r GomemRange) Get() (uintptr, uintptr)          { return r.r.base.addr(), r.r.limit.addr() }
func (r GomemRange) Size() uintptr                    { return r.r.size() }
func (r GomemRange) Contains(addr uintptr) bool       { return r.r.contains(addr) }
func (r GomemRange) Subtract(o GomemRange) GomemRange { return GomemRange{r.r.subtract(o.r)} }
func (r GomemRange) RemoveGreaterEqual(addr uintptr) GomemRange {
	return GomemRange{r.r.removeGreaterEqual(addr)}
}
func (r *GomemRange) TakeFromFront(n uintptr, align uint8) (uintptr, bool) {
	return r.r.takeFromFront(n, align)
}
func (r *GomemRange) TakeFromBack(n uintptr, align uint8) (uintptr, bool) {
	return r.r.takeFromBack(n, align)
}

// Sets of ranges: a clone may be made of one.
type GomemRanges struct{ a, clone addrRanges }

func NewGomemRanges() *GomemRanges {
	g := new(GomemRanges)
	g.a.init(gomemStat)
	g.clone.sysStat = gomemStat
	return g
}
func (g *GomemRanges) Len() int                   { return len(g.a.ranges) }
func (g *GomemRanges) TotalBytes() uintptr        { return g.a.totalBytes }
func (g *GomemRanges) At(i int) GomemRange        { return GomemRange{g.a.ranges[i]} }
func (g *GomemRanges) FindSucc(addr uintptr) int  { return g.a.findSucc(addr) }
func (g *GomemRanges) Contains(addr uintptr) bool { return g.a.contains(addr) }
func (g *GomemRanges) FindAddrGreaterEqual(addr uintptr) (uintptr, bool) {
	return g.a.findAddrGreaterEqual(addr)
}
func (g *GomemRanges) Add(r GomemRange)                { g.a.add(r.r) }
func (g *GomemRanges) RemoveLast(n uintptr) GomemRange { return GomemRange{g.a.removeLast(n)} }
func (g *GomemRanges) RemoveGreaterEqual(addr uintptr) { g.a.removeGreaterEqual(addr) }
func (g *GomemRanges) CloneInto()                      { g.a.cloneInto(&g.clone) }
func (g *GomemRanges) Digest(clone bool) (n int, total uintptr, d uint64) {
	a := &g.a
	if clone {
		a = &g.clone
	}
	for _, r := range a.ranges {
		d = GomemDigest(GomemDigest(d, uint64(r.base.addr())), uint64(r.limit.addr()))
	}
	return len(a.ranges), a.totalBytes, d
}

// An address that threads move.
type GomemAtomic struct{ a atomicOffAddr }

func (b *GomemAtomic) Clear()                           { b.a.Clear() }
func (b *GomemAtomic) StoreMin(addr uintptr)            { b.a.StoreMin(addr) }
func (b *GomemAtomic) StoreMarked(addr uintptr)         { b.a.StoreMarked(addr) }
func (b *GomemAtomic) StoreUnmark(marked, addr uintptr) { b.a.StoreUnmark(marked, addr) }
func (b *GomemAtomic) Load() (uintptr, bool)            { return b.a.Load() }

// ---- classes

func GomemMakeSpanClass(class uint8, noscan bool) uint8 { return uint8(makeSpanClass(class, noscan)) }
func GomemSpanClass(c uint8) (class uint8, noscan bool) {
	return uint8(int8(spanClass(c).sizeclass())), spanClass(c).noscan()
}
func GomemRoundupsize(size uintptr, noscan bool) uintptr { return roundupsize(size, noscan) }
func GomemHeapBitsInSpan(size uintptr) bool              { return heapBitsInSpan(size) }
func GomemClass(c int) (size, npages uintptr, magic uint32) {
	return uintptr(gc.SizeClassToSize[c]), uintptr(gc.SizeClassToNPages[c]), gc.SizeClassToDivMagic[c]
}
func GomemNumClasses() int { return len(gc.SizeClassToSize) }

// GomemObjIndex divides by a class's size as a span does.
func GomemObjIndex(c int, off uintptr) uintptr {
	s := gomemSpan()
	s.divMul = gc.SizeClassToDivMagic[c]
	return s.objIndex(s.base() + off)
}

// ---- arenas and chunks

func GomemArena(p uintptr) (i, l1, l2, base uint64) {
	a := arenaIndex(p)
	return uint64(a), uint64(a.l1()), uint64(a.l2()), uint64(arenaBase(a))
}
func GomemChunk(p uintptr) (ci uint64, page uint, base uintptr, l1, l2 uint) {
	c := chunkIndex(p)
	return uint64(c), chunkPageIndex(p), chunkBase(c), c.l1(), c.l2()
}

// ---- heap bits

const (
	GomemTypes    = 256
	gomemMaskSize = 8192 / 8
)

// Types that nobody declared. They are never given back: an object's header may point to one, and an object that died may still be scanned.
// Objects are zero, so it does not matter which of them a scan takes for pointers.
var gomemTypes [GomemTypes]struct {
	typ  _type
	mask [gomemMaskSize + 8]byte
}

func GomemSetType(i int, size, ptrBytes uintptr, mask []byte) {
	t := &gomemTypes[i]
	clear(t.mask[:])
	copy(t.mask[:gomemMaskSize], mask)
	t.typ = _type{Size_: size, PtrBytes: ptrBytes, Align_: 8, FieldAlign_: 8, Kind_: abi.Struct, GCData: &t.mask[0]}
}

// GomemObject is what Go's heap knows of an object, and where it has pointers.
type GomemObject struct {
	SpanClass                     uint8
	ElemSize, NPages, NElems, Off uintptr
	DivMul                        uint32
	Pointers                      uint64 // words that hold one
	Mask                          uint64 // of the first 64 words
	Digest                        uint64 // of the words' numbers
}

// GomemMalloc allocates an object of type i, or without pointers if i < 0. Off: of the object in its slot. Pointers are looked for up to the end
// of the slot, or of the large object: what a span has behind its limit belongs to none (spanOfHeap).
func GomemMalloc(size uintptr, i int) (o GomemObject) {
	var typ *_type
	if i >= 0 {
		typ = &gomemTypes[i].typ
	}
	x := mallocgc(size, typ, true)
	s := spanOfHeap(uintptr(x))
	if s == nil {
		return
	}
	slot := s.base() + s.objIndex(uintptr(x))*s.elemsize
	o = GomemObject{SpanClass: uint8(s.spanclass), ElemSize: s.elemsize, NPages: s.npages, NElems: uintptr(s.nelems),
		Off: uintptr(x) - slot, DivMul: s.divMul}
	if !s.spanclass.noscan() {
		tp := s.typePointersOfUnchecked(slot)
		for {
			var addr uintptr
			if tp, addr = tp.next(min(slot+s.elemsize, s.limit)); addr == 0 {
				break
			}
			word := uint64(addr-uintptr(x)) / 8
			o.Pointers++
			if word < 64 {
				o.Mask |= 1 << word
			}
			o.Digest = GomemDigest(o.Digest, word)
		}
	}
	KeepAlive(x)
	return
}

// One page that stands for a span, so that what is in the whole bitmap is known.
var gomemPage struct {
	s   *mspan
	mem uintptr
}

func gomemSpan() *mspan {
	if gomemPage.s == nil {
		gomemPage.s = (*mspan)(persistentalloc(unsafe.Sizeof(mspan{}), 8, gomemStat))
		gomemPage.mem = alignUp(uintptr(persistentalloc(2*pageSize, pageSize, gomemStat)), pageSize)
	}
	s := gomemPage.s
	s.startAddr, s.npages = gomemPage.mem, 1
	return s
}

// GomemInitSpan makes the page a span of objects with pointers; what was in it before is fill, zero or not.
func GomemInitSpan(class uint8, fill byte) {
	s := gomemSpan()
	page := unsafe.Slice((*byte)(unsafe.Pointer(s.base())), pageSize)
	for i := range page {
		page[i] = fill
	}
	s.spanclass = makeSpanClass(class, false)
	s.elemsize = uintptr(gc.SizeClassToSize[class])
	s.needzero = 0
	if fill != 0 {
		s.needzero = 1
	}
	s.initHeapBits()
}

// GomemHeapBits gives the last words of the page: the bitmap, and the inline mark bits where the span has them.
func GomemHeapBits() []uint64 {
	s := gomemSpan()
	return unsafe.Slice((*uint64)(unsafe.Pointer(s.base()+pageSize-2*128)), 2*128/8)
}
func GomemWriteHeapBits(slot, dataSize uintptr, i int) (scan, bits uintptr) {
	s := gomemSpan()
	x := s.base() + slot*s.elemsize
	scan = heapSetTypeNoHeader(x, dataSize, &gomemTypes[i].typ, s)
	return scan, s.heapBitsSmallForAddr(x)
}
