// zz_graft_check_spans.go: --check at level spans. An additional file of package runtime.
//
// Sets: Go's own push and pop run on the same set after the state was put back (all pushes and pops pass one lock here). nextFreeIndex and
// refillAllocCache: Go's own run on a copy of the span. A sweep, an allocated span, a refill: the results are compared with what Go's functions say of
// the state before (marks, tables, formulas). A sweep is compared when the span leaves the sweeper's hands: as it is pushed, freed or kept.

package runtime

import (
	"internal/goarch"
	"internal/runtime/atomic"
	"internal/runtime/gc"
	"unsafe"
)

var graftSetLock mutex

// What is under way on an M.
type graftUnderWay struct {
	m uintptr // *m; no pointer: some callers may have no write barriers
	// a set, under graftSetLock
	index  uint64
	slot   uintptr // *mspan
	popped uint32
	// a sweep
	swept    uintptr // *mspan
	preserve bool
	nalloc   uint16
	nfreed   uint16
	marks    [16]uint64
	oldMarks uintptr // *gcBits
	needzero uint8
	// a span that is uncached, and whether it was cached before the cycle began
	uncaching uintptr
	stale     bool
	// a refill: the sets asked, in order
	refilling             bool
	asked                 bool // Go's credit is done: pops from here on are cacheSpan's
	spc                   spanClass
	pops, budget          int
	partialNone, fullNone bool
	found                 bool
}

var graftMs [512]graftUnderWay

// graftMine is the record of this M, nil if another M has the place.
func graftMine() *graftUnderWay {
	mp := getg().m
	w := &graftMs[mp.id&511]
	if w.m == 0 {
		w.m = uintptr(unsafe.Pointer(mp))
	}
	if w.m != uintptr(unsafe.Pointer(mp)) {
		return nil
	}
	return w
}

// graftSetOf says which set of which class b is.
func graftSetOf(b *spanSet) (spc int, full bool, which int) {
	first := uintptr(unsafe.Pointer(&mheap_.central[0]))
	size := unsafe.Sizeof(mheap_.central[0])
	off := uintptr(unsafe.Pointer(b)) - first
	if off >= size*numSpanClasses {
		return -1, false, 0
	}
	c := &mheap_.central[off/size].mcentral
	for i := 0; i < 2; i++ {
		if b == &c.partial[i] {
			return int(off / size), false, i
		}
		if b == &c.full[i] {
			return int(off / size), true, i
		}
	}
	return -1, false, 0
}

func graftSpanBegin(op, a, b, c uintptr) uintptr {
	switch op {
	case graftOpPush:
		graftPushBegin((*spanSet)(unsafe.Pointer(a)), (*mspan)(unsafe.Pointer(b)))
	case graftOpPop:
		graftPopBegin((*spanSet)(unsafe.Pointer(a)))
	case graftOpUncache:
		if w := graftMine(); w != nil {
			w.uncaching, w.stale = a, (*mspan)(unsafe.Pointer(a)).sweepgen == mheap_.sweepgen+1
		}
	case graftOpRefill:
		if w := graftMine(); w != nil {
			w.refilling, w.asked, w.found = true, false, false
			w.spc, w.pops, w.budget = spanClass(b), 0, 100
			w.partialNone, w.fullNone = false, false
		}
	}
	return 0
}

func graftSpanEnd(op, a, b, c, r, s uintptr) {
	switch op {
	case graftOpPush:
		graftPushEnd((*spanSet)(unsafe.Pointer(a)), (*mspan)(unsafe.Pointer(b)))
	case graftOpPop:
		graftPopEnd((*spanSet)(unsafe.Pointer(a)), (*mspan)(unsafe.Pointer(r)))
	case graftOpReset:
		set := (*spanSet)(unsafe.Pointer(a))
		graftEqual(op, "index", uintptr(set.index.load()), 0)
		graftEqual(op, "spineLen", set.spineLen.Load(), 0)
		graftCount(op)
	case graftOpUncache:
		if w := graftMine(); w != nil {
			w.uncaching = 0
		}
		graftCount(op)
	case graftOpNextFree:
		before := (*mspan)(unsafe.Pointer(a))
		live := (*mspan)(unsafe.Pointer(b))
		graftEqual(op, "index", r&0xffff, uintptr(before.orig_nextFreeIndex()))
		graftEqual(op, "freeindex", uintptr(live.freeindex), uintptr(before.freeindex))
		graftEqual(op, "allocCache", uintptr(live.allocCache), uintptr(before.allocCache))
		graftCount(op)
	case graftOpRefill:
		graftRefillEnd((*mcache)(unsafe.Pointer(a)), spanClass(b), (*mspan)(unsafe.Pointer(c)))
	case graftOpMarkBits:
		graftMarkBitsEnd(r, b)
	case graftOpFixalloc:
		graftFixallocEnd((*fixalloc)(unsafe.Pointer(a)), (*fixalloc)(unsafe.Pointer(b)), c, r)
	case graftOpFixfree:
		before, live := (*fixalloc)(unsafe.Pointer(a)), (*fixalloc)(unsafe.Pointer(b))
		graftEqual(op, "list", uintptr(unsafe.Pointer(live.list)), c)
		graftEqual(op, "next", *(*uintptr)(unsafe.Pointer(c)), uintptr(unsafe.Pointer(before.list)))
		graftEqual(op, "inuse", live.inuse, before.inuse-before.size)
		graftCount(op)
	}
}

// ---- sets

func (b *spanSet) graftSlot(i uint32) (*spanSetBlock, *atomicMSpanPointer) {
	if uintptr(i/spanSetBlockEntries) >= b.spineLen.Load() {
		return nil, nil
	}
	block := b.spine.Load().lookup(uintptr(i / spanSetBlockEntries)).Load()
	if block == nil {
		return nil, nil
	}
	return block, &block.spans[i%spanSetBlockEntries]
}

func graftPushBegin(b *spanSet, s *mspan) {
	op := uintptr(graftOpPush)
	if spc, full, which := graftSetOf(b); spc >= 0 {
		graftEqual(op, "span class of the set", uintptr(spc), uintptr(s.spanclass))
		graftEqual(op, "swept set", uintptr(which), uintptr(mheap_.sweepgen/2%2))
		graftEqual(op, "sweepgen of the span", uintptr(s.sweepgen), uintptr(mheap_.sweepgen))
		wantFull := s.allocCount == s.nelems || s.spanclass.sizeclass() == 0
		graftEqual(op, "full set", graftBool(full), graftBool(wantFull))
	}
	if w := graftMine(); w != nil && w.uncaching == uintptr(unsafe.Pointer(s)) && w.stale && w.swept != w.uncaching {
		graftDiffer(graftOpUncache, "a span cached before the cycle is listed unswept", uintptr(s.sweepgen), uintptr(mheap_.sweepgen-1))
	}
	if w := graftMine(); w != nil && w.swept == uintptr(unsafe.Pointer(s)) {
		if w.nalloc == 0 && s.spanclass.sizeclass() != 0 {
			graftDiffer(graftOpSweep, "an empty span was listed, not freed", uintptr(unsafe.Pointer(s)), 0)
		}
		w.graftSweptNow()
	}
	lock(&graftSetLock)
	if w := graftMine(); w != nil {
		w.index = uint64(b.index.load())
	}
}

func graftPushEnd(b *spanSet, s *mspan) {
	op := uintptr(graftOpPush)
	w := graftMine()
	if w == nil {
		unlock(&graftSetLock)
		return
	}
	after := uint64(b.index.load())
	_, slot := b.graftSlot(uint32(w.index))
	if slot == nil || slot.Load() != s {
		graftDiffer(op, "span not in its slot", uintptr(uint32(w.index)), uintptr(unsafe.Pointer(s)))
	}
	// Once more by Go.
	slot.StoreNoWB(nil)
	b.index.u.Store(w.index)
	b.orig_push(s)
	graftEqual(op, "index", uintptr(after), uintptr(b.index.load()))
	graftEqual(op, "span in the slot", uintptr(unsafe.Pointer(s)), uintptr(unsafe.Pointer(slot.Load())))
	unlock(&graftSetLock)
	graftCount(op)
}

func graftPopBegin(b *spanSet) {
	lock(&graftSetLock)
	w := graftMine()
	if w == nil {
		return
	}
	w.index = uint64(b.index.load())
	w.slot = 0
	head, tail := b.index.load().split()
	if head < tail {
		block, slot := b.graftSlot(head)
		w.slot, w.popped = uintptr(unsafe.Pointer(slot.Load())), block.popped.Load()
	}
}

func graftPopEnd(b *spanSet, s *mspan) {
	op := uintptr(graftOpPop)
	w := graftMine()
	if w == nil {
		unlock(&graftSetLock)
		return
	}
	graftEqual(op, "span", uintptr(unsafe.Pointer(s)), w.slot)
	after := uint64(b.index.load())
	if s != nil && w.popped+1 < spanSetBlockEntries {
		block, slot := b.graftSlot(uint32(w.index >> 32))
		popped := block.popped.Load()
		slot.StoreNoWB(s)
		block.popped.Store(w.popped)
		b.index.u.Store(w.index)
		graftEqual(op, "span", uintptr(unsafe.Pointer(s)), uintptr(unsafe.Pointer(b.orig_pop())))
		graftEqual(op, "popped", uintptr(popped), uintptr(block.popped.Load()))
		graftEqual(op, "index", uintptr(after), uintptr(b.index.load()))
	} else if s != nil {
		if b.spine.Load().lookup(uintptr(uint32(w.index>>32)/spanSetBlockEntries)).Load() != nil {
			graftDiffer(op, "an empty block stays in the spine", uintptr(w.index>>32), 0)
		}
		graftEqual(op, "index", uintptr(after), uintptr(w.index+1<<32))
	} else {
		graftEqual(op, "index", uintptr(after), uintptr(w.index))
	}
	unlock(&graftSetLock)
	graftCount(op)
	w.graftAsked(b, s)
}

// ---- refill: cacheSpan asks the swept partial set, then unswept partial ones, then unswept full ones, 101 at most, and only then grows

func (w *graftUnderWay) graftAsked(b *spanSet, s *mspan) {
	if !w.refilling || !w.asked {
		return
	}
	op := uintptr(graftOpRefill)
	spc, full, which := graftSetOf(b)
	if spc < 0 || spanClass(spc) != w.spc {
		return
	}
	swept := which == int(mheap_.sweepgen/2%2)
	w.pops++
	switch {
	case w.found:
		graftDiffer(op, "a set is asked after a span was found", uintptr(w.pops), 0)
	case w.pops == 1:
		if !swept || full {
			graftDiffer(op, "the swept partial set is not asked first", graftBool(full), graftBool(swept))
		}
		w.found = s != nil
	case swept:
		graftDiffer(op, "a swept set is asked again", uintptr(w.pops), 0)
	default:
		if full && !w.partialNone && w.budget >= 0 {
			graftDiffer(op, "the full set is asked before the partial set is empty", uintptr(w.pops), 0)
		}
		if w.budget < 0 {
			graftDiffer(op, "more spans were looked at than Go would", uintptr(w.pops), 101)
		}
		if s == nil {
			w.partialNone = w.partialNone || !full
			w.fullNone = w.fullNone || full
		} else {
			w.budget--
		}
	}
}

// graftGrows: cacheSpan takes a fresh span.
func (w *graftUnderWay) graftGrows() {
	op := uintptr(graftOpRefill)
	if w.pops == 0 || w.found {
		graftDiffer(op, "grows though a set has a span", uintptr(w.pops), 0)
	}
	if w.pops > 1 && !(w.partialNone && w.fullNone) && w.budget >= 0 {
		graftDiffer(op, "grows before the unswept sets are empty or the budget is spent; budget left", 0, uintptr(w.budget))
	}
	w.found = true
}

func graftRefillEnd(c *mcache, spc spanClass, t *mspan) {
	op := uintptr(graftOpRefill)
	w := graftMine()
	if w != nil {
		w.refilling = false
	}
	s := c.alloc[spc]
	graftEqual(op, "span class", uintptr(s.spanclass), uintptr(spc))
	graftEqual(op, "sweepgen", uintptr(s.sweepgen), uintptr(mheap_.sweepgen+3))
	graftEqual(op, "allocCountBeforeCache", uintptr(s.allocCountBeforeCache), uintptr(s.allocCount))
	graftEqual(op, "scanAlloc", c.scanAlloc, 0)
	t.orig_refillAllocCache((t.freeindex &^ 63) / 8)
	t.allocCache >>= t.freeindex % 64
	graftEqual(op, "allocCache", uintptr(s.allocCache), uintptr(t.allocCache))
	if t.orig_nextFreeIndex() >= s.nelems {
		graftDiffer(op, "the span has no free slot", uintptr(unsafe.Pointer(s)), 0)
	}
	graftCount(op)
}

// ---- sweep

func graftSweepBegin(s *mspan, preserve bool) {
	w := graftMine()
	if w == nil {
		return
	}
	w.swept, w.preserve, w.oldMarks, w.needzero = uintptr(unsafe.Pointer(s)), preserve, uintptr(unsafe.Pointer(s.gcmarkBits)), s.needzero
	w.marks, w.nalloc = [16]uint64{}, 0
	mbits := s.markBitsForBase()
	for i := uintptr(0); i < uintptr(s.nelems); i++ {
		if mbits.isMarked() {
			w.nalloc++
			w.marks[i/64] |= 1 << (i % 64)
		}
		mbits.advance()
	}
	w.nfreed = s.allocCount - w.nalloc
	if s.spanclass.sizeclass() != 0 && w.nfreed > 0 {
		w.needzero = 1
	}
}

// graftSweptNow: the span is as the sweep leaves it.
func (w *graftUnderWay) graftSweptNow() {
	op, s := uintptr(graftOpSweep), (*mspan)(unsafe.Pointer(w.swept))
	w.swept = 0
	graftEqual(op, "allocCount", uintptr(s.allocCount), uintptr(w.nalloc))
	graftEqual(op, "freeindex", uintptr(s.freeindex), 0)
	graftEqual(op, "freeIndexForScan", uintptr(s.freeIndexForScan), 0)
	graftEqual(op, "needzero", uintptr(s.needzero), uintptr(w.needzero))
	graftEqual(op, "sweepgen", uintptr(s.sweepgen), uintptr(mheap_.sweepgen))
	graftEqual(op, "allocBits", uintptr(unsafe.Pointer(s.allocBits)), w.oldMarks)
	for i := uintptr(0); i < (uintptr(s.nelems)+63)/64; i++ {
		graftEqual(op, "a word of allocBits", uintptr(*(*uint64)(unsafe.Pointer(s.allocBits.bytep(i * 8)))), uintptr(w.marks[i]))
		graftEqual(op, "a word of gcmarkBits", uintptr(*(*uint64)(unsafe.Pointer(s.gcmarkBits.bytep(i * 8)))), 0)
	}
	graftEqual(op, "allocCache", uintptr(s.allocCache), uintptr(^w.marks[0]))
	if gcUsesSpanInlineMarkBits(s.elemsize) {
		imb := s.inlineMarkBits()
		graftEqual(op, "class in the inline mark bits", uintptr(imb.class), uintptr(s.spanclass))
		for i := range imb.marks {
			graftEqual(op, "inline mark bits", uintptr(imb.marks[i]), 0)
		}
	}
	graftCount(op)
}

// graftSweepEnd: sweep is about to return.
func graftSweepEnd(s *mspan, freed bool) {
	w := graftMine()
	if w == nil || w.swept != uintptr(unsafe.Pointer(s)) {
		return
	}
	if !w.preserve {
		graftDiffer(graftOpSweep, "a swept span was neither listed nor freed", uintptr(unsafe.Pointer(s)), 0)
	}
	w.graftSweptNow()
}

// graftSpanFreed: a span is about to be freed.
func graftSpanFreed(s *mspan) {
	if w := graftMine(); w != nil && w.swept == uintptr(unsafe.Pointer(s)) {
		if s.spanclass.sizeclass() != 0 && w.nalloc != 0 || s.spanclass.sizeclass() == 0 && w.nfreed == 0 {
			graftDiffer(graftOpSweep, "a span with live objects is freed", uintptr(unsafe.Pointer(s)), uintptr(w.nalloc))
		}
		w.graftSweptNow()
	}
	graftCount(graftOpFreeSpan)
}

// ---- a new span

func graftSpanMade(s *mspan) {
	if w := graftMine(); w != nil && w.refilling && w.asked {
		w.graftGrows()
	}
	op := uintptr(graftOpAllocSpan)
	nbytes := s.npages * pageSize
	for p := s.base(); p < s.base()+nbytes; p += pageSize {
		graftEqual(op, "span of a page", uintptr(unsafe.Pointer(spanOf(p))), uintptr(unsafe.Pointer(s)))
	}
	graftEqual(op, "allocCount", uintptr(s.allocCount), 0)
	graftEqual(op, "freeindex", uintptr(s.freeindex), 0)
	graftEqual(op, "specials", uintptr(unsafe.Pointer(s.specials)), 0)
	if s.state.get() == mSpanManual {
		graftEqual(op, "nelems", uintptr(s.nelems), 0)
		graftEqual(op, "limit", s.limit, s.base()+nbytes)
		graftCount(op)
		return
	}
	elemsize, nelems, div := nbytes, uintptr(1), uint32(0)
	if class := s.spanclass.sizeclass(); class != 0 {
		elemsize = uintptr(gc.SizeClassToSize[class])
		reserve := uintptr(0)
		if gcUsesSpanInlineMarkBits(elemsize) {
			reserve += unsafe.Sizeof(spanInlineMarkBits{})
		}
		if heapBitsInSpan(elemsize) && !s.spanclass.noscan() {
			reserve += nbytes / goarch.PtrSize / 8
		}
		nelems = (nbytes - reserve) / elemsize
		div = gc.SizeClassToDivMagic[class]
		graftEqual(op, "pages of the class", s.npages, uintptr(gc.SizeClassToNPages[class]))
	}
	graftEqual(op, "elemsize", s.elemsize, elemsize)
	graftEqual(op, "nelems", uintptr(s.nelems), nelems)
	graftEqual(op, "divMul", uintptr(s.divMul), uintptr(div))
	graftEqual(op, "limit", s.limit, s.base()+elemsize*nelems)
	graftEqual(op, "allocCache", uintptr(s.allocCache), ^uintptr(0))
	graftEqual(op, "state", uintptr(s.state.get()), uintptr(mSpanInUse))
	graftEqual(op, "sweepgen", uintptr(s.sweepgen), uintptr(mheap_.sweepgen))
	arena, i, mask := pageIndexOf(s.base())
	graftEqual(op, "pageInUse", uintptr(atomic.Load8(&arena.pageInUse[i])&mask), uintptr(mask))
	inline := uint8(0)
	if gcUsesSpanInlineMarkBits(elemsize) {
		inline = mask
	}
	graftEqual(op, "pageUseSpanInlineMarkBits", uintptr(atomic.Load8(&arena.pageUseSpanInlineMarkBits[i])&mask), uintptr(inline))
	if s.allocBits == s.gcmarkBits {
		graftDiffer(op, "allocBits is gcmarkBits", uintptr(unsafe.Pointer(s.allocBits)), 0)
	}
	graftCount(op)
}

// ---- mark bits and objects of one size

func graftMarkBitsEnd(bits, nelems uintptr) {
	op := uintptr(graftOpMarkBits)
	graftEqual(op, "alignment", bits%8, 0)
	for i := uintptr(0); i < (nelems+63)/64; i++ {
		graftEqual(op, "a word of new bits", uintptr(*(*uint64)(unsafe.Pointer(bits + i*8))), 0)
	}
	graftCount(op)
}

func graftFixallocEnd(before, live *fixalloc, next, v uintptr) {
	op := uintptr(graftOpFixalloc)
	graftEqual(op, "inuse", live.inuse, before.inuse+before.size)
	switch {
	case before.list != nil:
		graftEqual(op, "object", v, uintptr(unsafe.Pointer(before.list)))
		graftEqual(op, "list", uintptr(unsafe.Pointer(live.list)), next)
		graftEqual(op, "chunk", live.chunk, before.chunk)
	case uintptr(before.nchunk) >= before.size:
		graftEqual(op, "object", v, before.chunk)
		graftEqual(op, "chunk", live.chunk, before.chunk+before.size)
		graftEqual(op, "nchunk", uintptr(live.nchunk), uintptr(before.nchunk)-before.size)
	default:
		graftEqual(op, "chunk", live.chunk, v+before.size)
		graftEqual(op, "nchunk", uintptr(live.nchunk), uintptr(live.nalloc)-before.size)
	}
	if before.zero {
		for i := uintptr(0); i < before.size; i += 8 {
			graftEqual(op, "a word of an object", *(*uintptr)(unsafe.Pointer(v + i)), 0)
		}
	}
	graftCount(op)
}
