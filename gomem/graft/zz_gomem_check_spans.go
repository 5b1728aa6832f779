// zz_gomem_check_spans.go: --check at level spans. An additional file of package runtime.
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

var gomemSetLock mutex

// What is under way on an M.
type gomemUnderWay struct {
	m uintptr // *m; no pointer: some callers may have no write barriers
	// a set, under gomemSetLock
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
	// a refill: the sets asked, in order
	refilling             bool
	asked                 bool // Go's credit is done: pops from here on are cacheSpan's
	spc                   spanClass
	pops, budget          int
	partialNone, fullNone bool
	found                 bool
}

var gomemMs [512]gomemUnderWay

// gomemMine is the record of this M, nil if another M has the place.
func gomemMine() *gomemUnderWay {
	mp := getg().m
	w := &gomemMs[mp.id&511]
	if w.m == 0 {
		w.m = uintptr(unsafe.Pointer(mp))
	}
	if w.m != uintptr(unsafe.Pointer(mp)) {
		return nil
	}
	return w
}

// gomemSetOf says which set of which class b is.
func gomemSetOf(b *spanSet) (spc int, full bool, which int) {
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

func gomemSpanBegin(op, a, b, c uintptr) uintptr {
	switch op {
	case gomemOpPush:
		gomemPushBegin((*spanSet)(unsafe.Pointer(a)), (*mspan)(unsafe.Pointer(b)))
	case gomemOpPop:
		gomemPopBegin((*spanSet)(unsafe.Pointer(a)))
	case gomemOpRefill:
		if w := gomemMine(); w != nil {
			w.refilling, w.asked, w.found = true, false, false
			w.spc, w.pops, w.budget = spanClass(b), 0, 100
			w.partialNone, w.fullNone = false, false
		}
	}
	return 0
}

func gomemSpanEnd(op, a, b, c, r, s uintptr) {
	switch op {
	case gomemOpPush:
		gomemPushEnd((*spanSet)(unsafe.Pointer(a)), (*mspan)(unsafe.Pointer(b)))
	case gomemOpPop:
		gomemPopEnd((*spanSet)(unsafe.Pointer(a)), (*mspan)(unsafe.Pointer(r)))
	case gomemOpReset:
		set := (*spanSet)(unsafe.Pointer(a))
		gomemEqual(op, "index", uintptr(set.index.load()), 0)
		gomemEqual(op, "spineLen", set.spineLen.Load(), 0)
		gomemCount(op)
	case gomemOpNextFree:
		before := (*mspan)(unsafe.Pointer(a))
		live := (*mspan)(unsafe.Pointer(b))
		gomemEqual(op, "index", r&0xffff, uintptr(before.orig_nextFreeIndex()))
		gomemEqual(op, "freeindex", uintptr(live.freeindex), uintptr(before.freeindex))
		gomemEqual(op, "allocCache", uintptr(live.allocCache), uintptr(before.allocCache))
		gomemCount(op)
	case gomemOpRefill:
		gomemRefillEnd((*mcache)(unsafe.Pointer(a)), spanClass(b), (*mspan)(unsafe.Pointer(c)))
	case gomemOpMarkBits:
		gomemMarkBitsEnd(r, b)
	case gomemOpFixalloc:
		gomemFixallocEnd((*fixalloc)(unsafe.Pointer(a)), (*fixalloc)(unsafe.Pointer(b)), c, r)
	case gomemOpFixfree:
		before, live := (*fixalloc)(unsafe.Pointer(a)), (*fixalloc)(unsafe.Pointer(b))
		gomemEqual(op, "list", uintptr(unsafe.Pointer(live.list)), c)
		gomemEqual(op, "next", *(*uintptr)(unsafe.Pointer(c)), uintptr(unsafe.Pointer(before.list)))
		gomemEqual(op, "inuse", live.inuse, before.inuse-before.size)
		gomemCount(op)
	}
}

// ---- sets

func (b *spanSet) gomemSlot(i uint32) (*spanSetBlock, *atomicMSpanPointer) {
	if uintptr(i/spanSetBlockEntries) >= b.spineLen.Load() {
		return nil, nil
	}
	block := b.spine.Load().lookup(uintptr(i / spanSetBlockEntries)).Load()
	if block == nil {
		return nil, nil
	}
	return block, &block.spans[i%spanSetBlockEntries]
}

func gomemPushBegin(b *spanSet, s *mspan) {
	op := uintptr(gomemOpPush)
	if spc, full, which := gomemSetOf(b); spc >= 0 {
		gomemEqual(op, "span class of the set", uintptr(spc), uintptr(s.spanclass))
		gomemEqual(op, "swept set", uintptr(which), uintptr(mheap_.sweepgen/2%2))
		gomemEqual(op, "sweepgen of the span", uintptr(s.sweepgen), uintptr(mheap_.sweepgen))
		wantFull := s.allocCount == s.nelems || s.spanclass.sizeclass() == 0
		gomemEqual(op, "full set", gomemBool(full), gomemBool(wantFull))
	}
	if w := gomemMine(); w != nil && w.swept == uintptr(unsafe.Pointer(s)) {
		if w.nalloc == 0 && s.spanclass.sizeclass() != 0 {
			gomemDiffer(gomemOpSweep, "an empty span was listed, not freed", uintptr(unsafe.Pointer(s)), 0)
		}
		w.gomemSweptNow()
	}
	lock(&gomemSetLock)
	if w := gomemMine(); w != nil {
		w.index = uint64(b.index.load())
	}
}

func gomemPushEnd(b *spanSet, s *mspan) {
	op := uintptr(gomemOpPush)
	w := gomemMine()
	if w == nil {
		unlock(&gomemSetLock)
		return
	}
	after := uint64(b.index.load())
	_, slot := b.gomemSlot(uint32(w.index))
	if slot == nil || slot.Load() != s {
		gomemDiffer(op, "span not in its slot", uintptr(uint32(w.index)), uintptr(unsafe.Pointer(s)))
	}
	// Once more by Go.
	slot.StoreNoWB(nil)
	b.index.u.Store(w.index)
	b.orig_push(s)
	gomemEqual(op, "index", uintptr(after), uintptr(b.index.load()))
	gomemEqual(op, "span in the slot", uintptr(unsafe.Pointer(s)), uintptr(unsafe.Pointer(slot.Load())))
	unlock(&gomemSetLock)
	gomemCount(op)
}

func gomemPopBegin(b *spanSet) {
	lock(&gomemSetLock)
	w := gomemMine()
	if w == nil {
		return
	}
	w.index = uint64(b.index.load())
	w.slot = 0
	head, tail := b.index.load().split()
	if head < tail {
		block, slot := b.gomemSlot(head)
		w.slot, w.popped = uintptr(unsafe.Pointer(slot.Load())), block.popped.Load()
	}
}

func gomemPopEnd(b *spanSet, s *mspan) {
	op := uintptr(gomemOpPop)
	w := gomemMine()
	if w == nil {
		unlock(&gomemSetLock)
		return
	}
	gomemEqual(op, "span", uintptr(unsafe.Pointer(s)), w.slot)
	after := uint64(b.index.load())
	if s != nil && w.popped+1 < spanSetBlockEntries {
		block, slot := b.gomemSlot(uint32(w.index >> 32))
		popped := block.popped.Load()
		slot.StoreNoWB(s)
		block.popped.Store(w.popped)
		b.index.u.Store(w.index)
		gomemEqual(op, "span", uintptr(unsafe.Pointer(s)), uintptr(unsafe.Pointer(b.orig_pop())))
		gomemEqual(op, "popped", uintptr(popped), uintptr(block.popped.Load()))
		gomemEqual(op, "index", uintptr(after), uintptr(b.index.load()))
	} else if s != nil {
		if b.spine.Load().lookup(uintptr(uint32(w.index>>32)/spanSetBlockEntries)).Load() != nil {
			gomemDiffer(op, "an empty block stays in the spine", uintptr(w.index>>32), 0)
		}
		gomemEqual(op, "index", uintptr(after), uintptr(w.index+1<<32))
	} else {
		gomemEqual(op, "index", uintptr(after), uintptr(w.index))
	}
	unlock(&gomemSetLock)
	gomemCount(op)
	w.gomemAsked(b, s)
}

// ---- refill: cacheSpan asks the swept partial set, then unswept partial ones, then unswept full ones, 101 at most, and only then grows

func (w *gomemUnderWay) gomemAsked(b *spanSet, s *mspan) {
	if !w.refilling || !w.asked {
		return
	}
	op := uintptr(gomemOpRefill)
	spc, full, which := gomemSetOf(b)
	if spc < 0 || spanClass(spc) != w.spc {
		return
	}
	swept := which == int(mheap_.sweepgen/2%2)
	w.pops++
	switch {
	case w.found:
		gomemDiffer(op, "a set is asked after a span was found", uintptr(w.pops), 0)
	case w.pops == 1:
		if !swept || full {
			gomemDiffer(op, "the swept partial set is not asked first", gomemBool(full), gomemBool(swept))
		}
		w.found = s != nil
	case swept:
		gomemDiffer(op, "a swept set is asked again", uintptr(w.pops), 0)
	default:
		if full && !w.partialNone && w.budget >= 0 {
			gomemDiffer(op, "the full set is asked before the partial set is empty", uintptr(w.pops), 0)
		}
		if w.budget < 0 {
			gomemDiffer(op, "more spans were looked at than Go would", uintptr(w.pops), 101)
		}
		if s == nil {
			w.partialNone = w.partialNone || !full
			w.fullNone = w.fullNone || full
		} else {
			w.budget--
		}
	}
}

// gomemGrows: cacheSpan takes a fresh span.
func (w *gomemUnderWay) gomemGrows() {
	op := uintptr(gomemOpRefill)
	if w.pops == 0 || w.found {
		gomemDiffer(op, "grows though a set has a span", uintptr(w.pops), 0)
	}
	if w.pops > 1 && !(w.partialNone && w.fullNone) && w.budget >= 0 {
		gomemDiffer(op, "grows before the unswept sets are empty or the budget is spent; budget left", 0, uintptr(w.budget))
	}
	w.found = true
}

func gomemRefillEnd(c *mcache, spc spanClass, t *mspan) {
	op := uintptr(gomemOpRefill)
	w := gomemMine()
	if w != nil {
		w.refilling = false
	}
	s := c.alloc[spc]
	gomemEqual(op, "span class", uintptr(s.spanclass), uintptr(spc))
	gomemEqual(op, "sweepgen", uintptr(s.sweepgen), uintptr(mheap_.sweepgen+3))
	gomemEqual(op, "allocCountBeforeCache", uintptr(s.allocCountBeforeCache), uintptr(s.allocCount))
	gomemEqual(op, "scanAlloc", c.scanAlloc, 0)
	t.orig_refillAllocCache((t.freeindex &^ 63) / 8)
	t.allocCache >>= t.freeindex % 64
	gomemEqual(op, "allocCache", uintptr(s.allocCache), uintptr(t.allocCache))
	if t.orig_nextFreeIndex() >= s.nelems {
		gomemDiffer(op, "the span has no free slot", uintptr(unsafe.Pointer(s)), 0)
	}
	gomemCount(op)
}

// ---- sweep

func gomemSweepBegin(s *mspan, preserve bool) {
	w := gomemMine()
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

// gomemSweptNow: the span is as the sweep leaves it.
func (w *gomemUnderWay) gomemSweptNow() {
	op, s := uintptr(gomemOpSweep), (*mspan)(unsafe.Pointer(w.swept))
	w.swept = 0
	gomemEqual(op, "allocCount", uintptr(s.allocCount), uintptr(w.nalloc))
	gomemEqual(op, "freeindex", uintptr(s.freeindex), 0)
	gomemEqual(op, "freeIndexForScan", uintptr(s.freeIndexForScan), 0)
	gomemEqual(op, "needzero", uintptr(s.needzero), uintptr(w.needzero))
	gomemEqual(op, "sweepgen", uintptr(s.sweepgen), uintptr(mheap_.sweepgen))
	gomemEqual(op, "allocBits", uintptr(unsafe.Pointer(s.allocBits)), w.oldMarks)
	for i := uintptr(0); i < (uintptr(s.nelems)+63)/64; i++ {
		gomemEqual(op, "a word of allocBits", uintptr(*(*uint64)(unsafe.Pointer(s.allocBits.bytep(i * 8)))), uintptr(w.marks[i]))
		gomemEqual(op, "a word of gcmarkBits", uintptr(*(*uint64)(unsafe.Pointer(s.gcmarkBits.bytep(i * 8)))), 0)
	}
	gomemEqual(op, "allocCache", uintptr(s.allocCache), uintptr(^w.marks[0]))
	if gcUsesSpanInlineMarkBits(s.elemsize) {
		imb := s.inlineMarkBits()
		gomemEqual(op, "class in the inline mark bits", uintptr(imb.class), uintptr(s.spanclass))
		for i := range imb.marks {
			gomemEqual(op, "inline mark bits", uintptr(imb.marks[i]), 0)
		}
	}
	gomemCount(op)
}

// gomemSweepEnd: sweep is about to return.
func gomemSweepEnd(s *mspan, freed bool) {
	w := gomemMine()
	if w == nil || w.swept != uintptr(unsafe.Pointer(s)) {
		return
	}
	if !w.preserve {
		gomemDiffer(gomemOpSweep, "a swept span was neither listed nor freed", uintptr(unsafe.Pointer(s)), 0)
	}
	w.gomemSweptNow()
}

// gomemSpanFreed: a span is about to be freed.
func gomemSpanFreed(s *mspan) {
	if w := gomemMine(); w != nil && w.swept == uintptr(unsafe.Pointer(s)) {
		if s.spanclass.sizeclass() != 0 && w.nalloc != 0 || s.spanclass.sizeclass() == 0 && w.nfreed == 0 {
			gomemDiffer(gomemOpSweep, "a span with live objects is freed", uintptr(unsafe.Pointer(s)), uintptr(w.nalloc))
		}
		w.gomemSweptNow()
	}
	gomemCount(gomemOpFreeSpan)
}

// ---- a new span

func gomemSpanMade(s *mspan) {
	if w := gomemMine(); w != nil && w.refilling && w.asked {
		w.gomemGrows()
	}
	op := uintptr(gomemOpAllocSpan)
	nbytes := s.npages * pageSize
	for p := s.base(); p < s.base()+nbytes; p += pageSize {
		gomemEqual(op, "span of a page", uintptr(unsafe.Pointer(spanOf(p))), uintptr(unsafe.Pointer(s)))
	}
	gomemEqual(op, "allocCount", uintptr(s.allocCount), 0)
	gomemEqual(op, "freeindex", uintptr(s.freeindex), 0)
	gomemEqual(op, "specials", uintptr(unsafe.Pointer(s.specials)), 0)
	if s.state.get() == mSpanManual {
		gomemEqual(op, "nelems", uintptr(s.nelems), 0)
		gomemEqual(op, "limit", s.limit, s.base()+nbytes)
		gomemCount(op)
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
		gomemEqual(op, "pages of the class", s.npages, uintptr(gc.SizeClassToNPages[class]))
	}
	gomemEqual(op, "elemsize", s.elemsize, elemsize)
	gomemEqual(op, "nelems", uintptr(s.nelems), nelems)
	gomemEqual(op, "divMul", uintptr(s.divMul), uintptr(div))
	gomemEqual(op, "limit", s.limit, s.base()+elemsize*nelems)
	gomemEqual(op, "allocCache", uintptr(s.allocCache), ^uintptr(0))
	gomemEqual(op, "state", uintptr(s.state.get()), uintptr(mSpanInUse))
	gomemEqual(op, "sweepgen", uintptr(s.sweepgen), uintptr(mheap_.sweepgen))
	arena, i, mask := pageIndexOf(s.base())
	gomemEqual(op, "pageInUse", uintptr(atomic.Load8(&arena.pageInUse[i])&mask), uintptr(mask))
	inline := uint8(0)
	if gcUsesSpanInlineMarkBits(elemsize) {
		inline = mask
	}
	gomemEqual(op, "pageUseSpanInlineMarkBits", uintptr(atomic.Load8(&arena.pageUseSpanInlineMarkBits[i])&mask), uintptr(inline))
	if s.allocBits == s.gcmarkBits {
		gomemDiffer(op, "allocBits is gcmarkBits", uintptr(unsafe.Pointer(s.allocBits)), 0)
	}
	gomemCount(op)
}

// ---- mark bits and objects of one size

func gomemMarkBitsEnd(bits, nelems uintptr) {
	op := uintptr(gomemOpMarkBits)
	gomemEqual(op, "alignment", bits%8, 0)
	for i := uintptr(0); i < (nelems+63)/64; i++ {
		gomemEqual(op, "a word of new bits", uintptr(*(*uint64)(unsafe.Pointer(bits + i*8))), 0)
	}
	gomemCount(op)
}

func gomemFixallocEnd(before, live *fixalloc, next, v uintptr) {
	op := uintptr(gomemOpFixalloc)
	gomemEqual(op, "inuse", live.inuse, before.inuse+before.size)
	switch {
	case before.list != nil:
		gomemEqual(op, "object", v, uintptr(unsafe.Pointer(before.list)))
		gomemEqual(op, "list", uintptr(unsafe.Pointer(live.list)), next)
		gomemEqual(op, "chunk", live.chunk, before.chunk)
	case uintptr(before.nchunk) >= before.size:
		gomemEqual(op, "object", v, before.chunk)
		gomemEqual(op, "chunk", live.chunk, before.chunk+before.size)
		gomemEqual(op, "nchunk", uintptr(live.nchunk), uintptr(before.nchunk)-before.size)
	default:
		gomemEqual(op, "chunk", live.chunk, v+before.size)
		gomemEqual(op, "nchunk", uintptr(live.nchunk), uintptr(live.nalloc)-before.size)
	}
	if before.zero {
		for i := uintptr(0); i < before.size; i += 8 {
			gomemEqual(op, "a word of an object", *(*uintptr)(unsafe.Pointer(v + i)), 0)
		}
	}
	gomemCount(op)
}
