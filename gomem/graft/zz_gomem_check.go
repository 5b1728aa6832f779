// zz_gomem_check.go: --check: every operation of the C functions is done by Go's own code as well. An additional file of package runtime.
//
// gomemCheckBegin notes what the operation may change; the C function runs; gomemCheckEnd keeps what came of it, puts the state back, runs Go's
// original function (orig_*: the bodies that the C functions replaced, zz_gomem_orig.go) on the same live heap, and compares all words. The
// first difference stops the program with both answers.
//
// Invariants: between begin and end of an operation on pages gomemChecker.lock is held, and the heap lock (scavengeIndex.find, which Go calls without, takes
// it here: a state that was put back for a moment is seen by nobody). An operation inside a checked one is not checked by itself.

package runtime

import (
	"internal/runtime/atomic"
	"unsafe"
)

const gomemChecks = true

// In the order of check.c.
const (
	gomemOpAlloc = iota
	gomemOpFree
	gomemOpFind
	gomemOpAllocRange
	gomemOpUpdate
	gomemOpPadding
	gomemOpGrow
	gomemOpToCache
	gomemOpFlush
	gomemOpCacheAlloc
	gomemOpIndexFind
	gomemOpNextGen
	gomemOpScavenge
	gomemOpCandidate
	gomemOpPush
	gomemOpPop
	gomemOpReset
	gomemOpSweep
	gomemOpNextFree
	gomemOpAllocSpan
	gomemOpFreeSpan
	gomemOpRefill
	gomemOpUncache
	gomemOpMarkBits
	gomemOpFixalloc
	gomemOpFixfree
	gomemOpEpoch
	gomemOps
)

var gomemOpNames = [gomemOps]string{"pageAlloc_alloc", "pageAlloc_free", "pageAlloc_find", "pageAlloc_allocRange", "pageAlloc_update",
	"pageAlloc_markRandomPaddingPages", "pageAlloc_grow", "pageAlloc_allocToCache", "pageCache_flush", "pageCache_alloc",
	"scavengeIndex_find", "scavengeIndex_nextGen", "pageAlloc_scavengeOne", "pallocData_findScavengeCandidate",
	"spanSet_push", "spanSet_pop", "spanSet_reset", "mspan_sweep", "mspan_nextFreeIndex", "mheap_allocSpan", "mheap_freeSpan",
	"mcache_refill", "mcentral_uncacheSpan", "newMarkBits", "fixalloc_alloc", "fixalloc_free", "nextMarkBitArenaEpoch"}

const gomemSnapWords = 1 << 17

// gomemSnap is the state of a range of pages: header, chunks with their index words, summaries.
type gomemSnap struct {
	n    int
	word [gomemSnapWords]uint64
}

var gomemChecker struct {
	lock          mutex
	owner         uintptr // *m; no pointers here: some callers may have no write barriers
	depth         int
	want          uintptr // address that Go would take
	base, npages  uintptr // the range that is watched
	whole         bool    // it fits
	index         scavengeIndex
	before, after gomemSnap
	counts        [gomemOps]atomic.Uint64
	inside        atomic.Uint64 // operations inside a checked one
}

// ---- the state of a range

const (
	gomemSave = iota
	gomemRestore
	gomemCompare
)

// gomemVisit saves, restores or compares all words that an operation on a range may change. It returns the first that differs, -1 if none does.
func (s *gomemSnap) visit(p *pageAlloc, base, npages uintptr, how int) int {
	n, diff := 0, -1
	word := func(w *uint64) {
		switch how {
		case gomemSave:
			s.word[n] = *w
		case gomemRestore:
			*w = s.word[n]
		case gomemCompare:
			if s.word[n] != *w && diff < 0 {
				diff = n
			}
		}
		n++
	}
	word((*uint64)(unsafe.Pointer(&p.searchAddr)))
	word((*uint64)(unsafe.Pointer(&p.scav.index.freeHWM)))
	word((*uint64)(unsafe.Pointer(&p.scav.index.searchAddrBg)))
	word((*uint64)(unsafe.Pointer(&p.scav.index.searchAddrForce)))
	if npages != 0 {
		limit := base + npages*pageSize
		for c := chunkIndex(base); c <= chunkIndex(limit-1); c++ {
			data := (*[2 * pallocChunkPages / 64]uint64)(unsafe.Pointer(p.chunkOf(c)))
			for i := range data {
				word(&data[i])
			}
			word((*uint64)(unsafe.Pointer(&p.scav.index.chunks[c])))
		}
		for l := range p.summary {
			lo, hi := addrsToSummaryRange(l, base, limit)
			for i := lo; i < hi; i++ {
				word((*uint64)(unsafe.Pointer(&p.summary[l][i])))
			}
		}
	}
	if how == gomemSave {
		s.n = n
	}
	return diff
}

// gomemWordName says what a word of a snapshot is.
func gomemWordName(p *pageAlloc, base, npages uintptr, n int) {
	header := [...]string{"searchAddr", "scav.index.freeHWM", "scav.index.searchAddrBg", "scav.index.searchAddrForce"}
	if n < len(header) {
		print(header[n])
		return
	}
	n -= len(header)
	limit := base + npages*pageSize
	first, last := chunkIndex(base), chunkIndex(limit-1)
	const per = 2*pallocChunkPages/64 + 1
	if n < per*int(last-first+1) {
		c, i := first+chunkIdx(n/per), n%per
		switch {
		case i < pallocChunkPages/64:
			print("pallocBits[", i, "] of chunk ", c)
		case i < per-1:
			print("scavenged[", i-pallocChunkPages/64, "] of chunk ", c)
		default:
			print("scav.index.chunks[", c, "]")
		}
		return
	}
	n -= per * int(last-first+1)
	for l := range p.summary {
		lo, hi := addrsToSummaryRange(l, base, limit)
		if n < hi-lo {
			print("summary[", l, "][", lo+n, "]")
			return
		}
		n -= hi - lo
	}
}

// ---- differences

func gomemDiffer(op uintptr, what string, c, g uintptr) {
	print("gomem graft --check: ", gomemOpNames[op], ": ", what, ": C ", hex(c), ", Go ", hex(g), "\n")
	throw("gomem: C and Go differ")
}

func gomemEqual(op uintptr, what string, c, g uintptr) {
	if c != g {
		gomemDiffer(op, what, c, g)
	}
}

func gomemCount(op uintptr) { gomemChecker.counts[op].Add(1) }

// gomemReport prints how many operations were compared, or appends that to the file $GOMEM_GRAFT_LOG.
func gomemReport() {
	k := &gomemChecker
	total := uint64(0)
	for i := range k.counts {
		total += k.counts[i].Load()
	}
	fd := int32(2)
	if path := gogetenv("GOMEM_GRAFT_LOG"); path != "" {
		name := append([]byte(path), 0)
		fd = open(&name[0], 0x441, 0666) // O_WRONLY|O_CREAT|O_APPEND
	}
	gp := getg()
	gp.writebuf = make([]byte, 0, 4096)
	print("gomem graft --check: ", total, " operations equal:")
	for i := range k.counts {
		if n := k.counts[i].Load(); n != 0 {
			print(" ", gomemOpNames[i], " ", n)
		}
	}
	print("\n")
	text := gp.writebuf
	gp.writebuf = nil
	write(uintptr(fd), unsafe.Pointer(&text[0]), int32(len(text)))
}

// ---- begin and end

// gomemChoose is where Go's alloc would take npages; it changes nothing.
func (p *pageAlloc) gomemChoose(npages uintptr) uintptr {
	if chunkIndex(p.searchAddr.addr()) >= p.end {
		return 0
	}
	if pallocChunkPages-chunkPageIndex(p.searchAddr.addr()) >= uint(npages) {
		i := chunkIndex(p.searchAddr.addr())
		if p.summary[len(p.summary)-1][i].max() >= uint(npages) {
			j, _ := p.chunkOf(i).orig_find(npages, chunkPageIndex(p.searchAddr.addr()))
			return chunkBase(i) + uintptr(j)*pageSize
		}
	}
	addr, _ := p.orig_find(npages)
	return addr
}

// gomemEnter takes the checker; false: this operation is part of another that is checked.
func gomemEnter() bool {
	k := &gomemChecker
	mp := uintptr(unsafe.Pointer(getg().m))
	if k.owner == mp {
		k.depth++
		return false
	}
	lock(&k.lock)
	k.owner = mp
	return true
}

// gomemLeave is the other end; false where gomemEnter was false.
func gomemLeave() bool {
	k := &gomemChecker
	if k.depth > 0 {
		k.depth--
		k.inside.Add(1)
		return false
	}
	return true
}

func gomemRelease() {
	k := &gomemChecker
	k.owner = 0
	unlock(&k.lock)
}

// watch notes the state of a range.
func (p *pageAlloc) gomemWatch(base, npages uintptr) {
	k := &gomemChecker
	k.base, k.npages = base, npages
	k.whole = npages/pallocChunkPages < gomemSnapWords/32
	if k.whole {
		k.before.visit(p, base, npages, gomemSave)
	}
}

// gomemAgain keeps what C made, and goes back to before.
func (p *pageAlloc) gomemAgain() {
	k := &gomemChecker
	k.after.visit(p, k.base, k.npages, gomemSave)
	k.before.visit(p, k.base, k.npages, gomemRestore)
}

// gomemSame compares what Go made with what C had made.
func (p *pageAlloc) gomemSame(op uintptr) {
	k := &gomemChecker
	n := k.after.visit(p, k.base, k.npages, gomemCompare)
	if n < 0 {
		return
	}
	c := k.after.word[n]
	k.after.visit(p, k.base, k.npages, gomemSave)
	print("gomem graft --check: ", gomemOpNames[op], "(", hex(k.base), ", ", k.npages, " pages): ")
	gomemWordName(p, k.base, k.npages, n)
	print(": C ", hex(uintptr(c)), ", Go ", hex(uintptr(k.after.word[n])), "\n")
	throw("gomem: C and Go differ")
}

func gomemCheckBegin(op, a, b, c uintptr) uintptr {
	if op >= gomemOpPush {
		return gomemSpanBegin(op, a, b, c)
	}
	if op == gomemOpScavenge {
		gomemScavengeBegin((*pageAlloc)(unsafe.Pointer(a)), (*[3]uintptr)(unsafe.Pointer(b)))
		return 0
	}
	if op == gomemOpIndexFind || op == gomemOpNextGen {
		gomemLockIndex(a)
	}
	if !gomemEnter() {
		return 0
	}
	k := &gomemChecker
	p := (*pageAlloc)(unsafe.Pointer(a))
	switch op {
	case gomemOpAlloc:
		k.want = p.gomemChoose(b)
		if k.want == 0 {
			b = 0
		}
		p.gomemWatch(k.want, b)
	case gomemOpFree, gomemOpAllocRange, gomemOpUpdate, gomemOpPadding:
		p.gomemWatch(b, c)
	case gomemOpToCache:
		k.want = p.gomemChoose(1)
		if k.want == 0 {
			p.gomemWatch(0, 0)
		} else {
			p.gomemWatch(alignDown(k.want, pageCachePages*pageSize), pageCachePages)
		}
	case gomemOpFlush:
		before := (*pageCache)(unsafe.Pointer(b))
		if before.empty() {
			p.gomemWatch(0, 0)
		} else {
			p.gomemWatch(before.base, pageCachePages)
		}
	case gomemOpGrow:
		p.gomemWatch(0, 0)
	case gomemOpIndexFind, gomemOpNextGen:
		memmove(unsafe.Pointer(&k.index), unsafe.Pointer(a), unsafe.Sizeof(k.index))
	}
	return 0
}

// gomemLockIndex takes the heap lock for an operation on the heap's index that Go does without it.
func gomemLockIndex(s uintptr) {
	if s == uintptr(unsafe.Pointer(&mheap_.pages.scav.index)) {
		lock(&mheap_.lock)
	}
}

func gomemUnlockIndex(s uintptr) {
	if s == uintptr(unsafe.Pointer(&mheap_.pages.scav.index)) {
		unlock(&mheap_.lock)
	}
}

func gomemCheckEnd(op, a, b, c, r, s uintptr) {
	if op >= gomemOpPush {
		gomemSpanEnd(op, a, b, c, r, s)
		return
	}
	if op == gomemOpScavenge {
		gomemScavengeEnd((*pageAlloc)(unsafe.Pointer(a)), r)
		return
	}
	if op == gomemOpCacheAlloc {
		gomemCheckCacheAlloc(*(*pageCache)(unsafe.Pointer(a)), (*pageCache)(unsafe.Pointer(b)), c, r, s)
		return
	}
	if op == gomemOpCandidate {
		args := (*[3]uintptr)(unsafe.Pointer(b))
		i, n := (*pallocData)(unsafe.Pointer(a)).orig_findScavengeCandidate(uint(args[0]), args[1], args[2])
		gomemEqual(op, "pages", s, uintptr(n))
		gomemEqual(op, "first page", r, uintptr(i))
		gomemCount(op)
		return
	}
	if gomemLeave() {
		gomemPagesEnd(op, a, b, c, r, s)
		gomemRelease()
		gomemCount(op)
	}
	if op == gomemOpIndexFind || op == gomemOpNextGen {
		gomemUnlockIndex(a)
	}
}

func gomemPagesEnd(op, a, b, c, r, s uintptr) {
	k := &gomemChecker
	p := (*pageAlloc)(unsafe.Pointer(a))
	switch op {
	case gomemOpFind:
		addr, search := p.orig_find(b)
		gomemEqual(op, "address", r, addr)
		gomemEqual(op, "searchAddr", s, search.addr())
		return
	case gomemOpIndexFind:
		live := (*scavengeIndex)(unsafe.Pointer(a))
		ci, page := k.index.orig_find(b&0xff != 0)
		gomemEqual(op, "chunk", r, uintptr(ci))
		gomemEqual(op, "page", s&0xffffffff, uintptr(page))
		gomemSameIndex(op, live, &k.index)
		return
	case gomemOpNextGen:
		k.index.orig_nextGen()
		gomemSameIndex(op, (*scavengeIndex)(unsafe.Pointer(a)), &k.index)
		return
	case gomemOpGrow:
		p.gomemCheckGrown(op, b, c)
		return
	}
	if op == gomemOpAlloc {
		gomemEqual(op, "address", r, k.want)
	}
	if !k.whole {
		p.gomemCheckSums(op, k.base, k.npages)
		return
	}
	p.gomemAgain()
	switch op {
	case gomemOpAlloc:
		addr, scav := p.orig_alloc(b)
		gomemEqual(op, "address", r, addr)
		gomemEqual(op, "scavenged bytes", s, scav)
	case gomemOpFree:
		p.orig_free(b, c)
	case gomemOpAllocRange:
		gomemEqual(op, "scavenged bytes", r, p.orig_allocRange(b, c))
	case gomemOpUpdate:
		p.orig_update(b, c, r&0xff != 0, s&0xff != 0)
	case gomemOpPadding:
		p.orig_markRandomPaddingPages(b, c)
	case gomemOpToCache:
		cc, gc := *(*pageCache)(unsafe.Pointer(b)), p.orig_allocToCache()
		gomemEqual(op, "base", cc.base, gc.base)
		gomemEqual(op, "cache", uintptr(cc.cache), uintptr(gc.cache))
		gomemEqual(op, "scav", uintptr(cc.scav), uintptr(gc.scav))
	case gomemOpFlush:
		before := *(*pageCache)(unsafe.Pointer(b))
		before.orig_flush(p)
		live := (*pageCache)(unsafe.Pointer(c))
		gomemEqual(op, "cache", uintptr(live.cache), uintptr(before.cache))
		gomemEqual(op, "base", live.base, before.base)
		gomemEqual(op, "scav", uintptr(live.scav), uintptr(before.scav))
	}
	p.gomemSame(op)
}

func gomemSameIndex(op uintptr, c, g *scavengeIndex) {
	gomemEqual(op, "searchAddrBg", uintptr(c.searchAddrBg.a.Load()), uintptr(g.searchAddrBg.a.Load()))
	gomemEqual(op, "searchAddrForce", uintptr(c.searchAddrForce.a.Load()), uintptr(g.searchAddrForce.a.Load()))
	gomemEqual(op, "freeHWM", c.freeHWM.addr(), g.freeHWM.addr())
	gomemEqual(op, "gen", uintptr(c.gen), uintptr(g.gen))
}

// gomemCheckSums compares the summaries of a range with what Go makes of the bits.
func (p *pageAlloc) gomemCheckSums(op, base, npages uintptr) {
	limit := base + npages*pageSize
	for c := chunkIndex(base); c <= chunkIndex(limit-1); c++ {
		gomemEqual(op, "leaf summary", uintptr(p.summary[summaryLevels-1][c]), uintptr(p.chunkOf(c).orig_summarize()))
	}
	for l := summaryLevels - 2; l >= 0; l-- {
		lo, hi := addrsToSummaryRange(l, base, limit)
		for i := lo; i < hi; i++ {
			sum := orig_mergeSummaries(p.summary[l+1][i<<levelBits[l+1]:(i+1)<<levelBits[l+1]], levelLogPages[l+1])
			gomemEqual(op, "summary", uintptr(p.summary[l][i]), uintptr(sum))
		}
	}
}

// gomemCheckGrown checks what grow is to leave behind; done by both it would map memory twice.
func (p *pageAlloc) gomemCheckGrown(op, base, size uintptr) {
	limit := alignUp(base+size, pallocChunkBytes)
	base = alignDown(base, pallocChunkBytes)
	search := offAddr{uintptr(gomemChecker.before.word[0])}
	if (offAddr{base}).lessThan(search) {
		search = offAddr{base}
	}
	gomemEqual(op, "searchAddr", p.searchAddr.addr(), search.addr())
	if p.start > chunkIndex(base) || p.end < chunkIndex(limit) || !p.inUse.contains(base) || !p.inUse.contains(limit-1) {
		gomemDiffer(op, "range not in start, end or inUse", base, limit)
	}
	for c := chunkIndex(base); c < chunkIndex(limit); c++ {
		gomemEqual(op, "scavenged pages of a new chunk", uintptr(p.chunkOf(c).scavenged.orig_popcntRange(0, pallocChunkPages)), pallocChunkPages)
		for i := uint(0); i < pallocChunkPages; i += 64 {
			gomemEqual(op, "pages in use of a new chunk", uintptr(p.chunkOf(c).pages64(i)), 0)
		}
		gomemEqual(op, "index word of a new chunk", uintptr(p.scav.index.chunks[c].value.Load()), 0)
	}
	p.gomemCheckSums(op, base, (limit-base)/pageSize)
}

// ---- scavengeOne: it takes and leaves the heap lock twice; the state is compared at each leave

type gomemScavenging struct {
	pages      uintptr // *pageAlloc
	ci         chunkIdx
	search     uint
	max        uintptr
	locks      int
	base, n    uint
	data       pallocData
	sums       [summaryLevels]pallocSum
	searchAddr offAddr
}

var gomemScav [256]struct {
	m uintptr // *m
	gomemScavenging
}

func gomemScavOf() *gomemScavenging {
	mp := getg().m
	if s := &gomemScav[mp.id&255]; s.m == uintptr(unsafe.Pointer(mp)) {
		return &s.gomemScavenging
	}
	return nil
}

func gomemScavengeBegin(p *pageAlloc, args *[3]uintptr) {
	mp := getg().m
	s := &gomemScav[mp.id&255]
	if s.m != 0 {
		return // another M has the place
	}
	s.m = uintptr(unsafe.Pointer(mp))
	s.gomemScavenging = gomemScavenging{pages: uintptr(unsafe.Pointer(p)), ci: chunkIdx(args[0]), search: uint(uint32(args[1])), max: args[2]}
}

func gomemScavengeEnd(p *pageAlloc, r uintptr) {
	s := gomemScavOf()
	if s == nil {
		return
	}
	gomemEqual(gomemOpScavenge, "bytes", r, uintptr(s.n)*pageSize)
	gomemScav[getg().m.id&255].m = 0
	gomemCount(gomemOpScavenge)
}

// locked: C has taken the heap lock.
func (s *gomemScavenging) locked() {
	p := (*pageAlloc)(unsafe.Pointer(s.pages))
	s.locks++
	s.data = *p.chunkOf(s.ci)
	s.searchAddr = p.searchAddr
	if s.locks != 1 {
		return
	}
	maxPages := s.max / pageSize
	if s.max%pageSize != 0 {
		maxPages++
	}
	minPages := max(physPageSize/pageSize, 1)
	if p.summary[len(p.summary)-1][s.ci].max() >= uint(minPages) {
		s.base, s.n = s.data.orig_findScavengeCandidate(s.search, minPages, maxPages)
	}
}

// unlocking: C is about to leave it.
func (s *gomemScavenging) unlocking() {
	p, op := (*pageAlloc)(unsafe.Pointer(s.pages)), uintptr(gomemOpScavenge)
	live := p.chunkOf(s.ci)
	switch {
	case s.n == 0:
		if sc := p.scav.index.chunks[s.ci].load(); !sc.isEmpty() {
			gomemDiffer(op, "chunk not marked empty", uintptr(s.ci), uintptr(s.ci))
		}
	case s.locks == 1:
		s.data.orig_allocRange(s.base, s.n)
	default:
		s.data.orig_free(s.base, s.n)
		s.data.scavenged.orig_setRange(s.base, s.n)
		if b := (offAddr{chunkBase(s.ci) + uintptr(s.base)*pageSize}); b.lessThan(s.searchAddr) {
			s.searchAddr = b
		}
	}
	gomemEqual(op, "searchAddr", p.searchAddr.addr(), s.searchAddr.addr())
	for i := uint(0); i < pallocChunkPages; i += 64 {
		gomemEqual(op, "pallocBits", uintptr(live.pages64(i)), uintptr(s.data.pages64(i)))
		gomemEqual(op, "scavenged", uintptr(live.scavenged.block64(i)), uintptr(s.data.scavenged.block64(i)))
	}
	p.gomemCheckSums(op, chunkBase(s.ci), pallocChunkPages)
}

// gomemCheckCacheAlloc does pageCache.alloc on a copy; c is as C left it.
func gomemCheckCacheAlloc(before pageCache, c *pageCache, npages, addr, scav uintptr) {
	op := uintptr(gomemOpCacheAlloc)
	a, s := before.orig_alloc(npages)
	gomemEqual(op, "address", addr, a)
	gomemEqual(op, "scavenged bytes", scav, s)
	gomemEqual(op, "cache", uintptr(c.cache), uintptr(before.cache))
	gomemEqual(op, "scav", uintptr(c.scav), uintptr(before.scav))
	gomemCount(op)
}
