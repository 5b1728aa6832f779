// zz_graft_check.go: --check: every operation of the C functions is done by Go's own code as well. An additional file of package runtime.
//
// graftCheckBegin notes what the operation may change; the C function runs; graftCheckEnd keeps what came of it, puts the state back, runs Go's
// original function (orig_*: the bodies that the C functions replaced, zz_graft_orig.go) on the same live heap, and compares all words. The
// first difference stops the program with both answers.
//
// Invariants: between begin and end of an operation on pages graftChecker.lock is held, and the heap lock (scavengeIndex.find, which Go calls without, takes
// it here: a state that was put back for a moment is seen by nobody). An operation inside a checked one is not checked by itself.

package runtime

import (
	"internal/runtime/atomic"
	"unsafe"
)

const graftChecks = true

// In the order of check.c.
const (
	graftOpAlloc = iota
	graftOpFree
	graftOpFind
	graftOpAllocRange
	graftOpUpdate
	graftOpPadding
	graftOpGrow
	graftOpToCache
	graftOpFlush
	graftOpCacheAlloc
	graftOpIndexFind
	graftOpNextGen
	graftOpScavenge
	graftOpCandidate
	graftOpPush
	graftOpPop
	graftOpReset
	graftOpSweep
	graftOpNextFree
	graftOpAllocSpan
	graftOpFreeSpan
	graftOpRefill
	graftOpUncache
	graftOpMarkBits
	graftOpFixalloc
	graftOpFixfree
	graftOpEpoch
	graftOps
)

var graftOpNames = [graftOps]string{"pageAlloc_alloc", "pageAlloc_free", "pageAlloc_find", "pageAlloc_allocRange", "pageAlloc_update",
	"pageAlloc_markRandomPaddingPages", "pageAlloc_grow", "pageAlloc_allocToCache", "pageCache_flush", "pageCache_alloc",
	"scavengeIndex_find", "scavengeIndex_nextGen", "pageAlloc_scavengeOne", "pallocData_findScavengeCandidate",
	"spanSet_push", "spanSet_pop", "spanSet_reset", "mspan_sweep", "mspan_nextFreeIndex", "mheap_allocSpan", "mheap_freeSpan",
	"mcache_refill", "mcentral_uncacheSpan", "newMarkBits", "fixalloc_alloc", "fixalloc_free", "nextMarkBitArenaEpoch"}

const graftSnapWords = 1 << 17

// graftSnap is the state of a range of pages: header, chunks with their index words, summaries.
type graftSnap struct {
	n    int
	word [graftSnapWords]uint64
}

var graftChecker struct {
	lock          mutex
	owner         uintptr // *m; no pointers here: some callers may have no write barriers
	depth         int
	want          uintptr // address that Go would take
	base, npages  uintptr // the range that is watched
	whole         bool    // it fits
	index         scavengeIndex
	before, after graftSnap
	counts        [graftOps]atomic.Uint64
	inside        atomic.Uint64 // operations inside a checked one
}

// ---- the state of a range

const (
	graftSave = iota
	graftRestore
	graftCompare
)

// graftVisit saves, restores or compares all words that an operation on a range may change. It returns the first that differs, -1 if none does.
func (s *graftSnap) visit(p *pageAlloc, base, npages uintptr, how int) int {
	n, diff := 0, -1
	word := func(w *uint64) {
		switch how {
		case graftSave:
			s.word[n] = *w
		case graftRestore:
			*w = s.word[n]
		case graftCompare:
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
	if how == graftSave {
		s.n = n
	}
	return diff
}

// graftWordName says what a word of a snapshot is.
func graftWordName(p *pageAlloc, base, npages uintptr, n int) {
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

func graftDiffer(op uintptr, what string, c, g uintptr) {
	print("gomem graft --check: ", graftOpNames[op], ": ", what, ": C ", hex(c), ", Go ", hex(g), "\n")
	throw("gomem: C and Go differ")
}

func graftEqual(op uintptr, what string, c, g uintptr) {
	if c != g {
		graftDiffer(op, what, c, g)
	}
}

func graftCount(op uintptr) { graftChecker.counts[op].Add(1) }

// graftReport prints how many operations were compared, or appends that to the file $GOMEM_GRAFT_LOG.
func graftReport() {
	k := &graftChecker
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
			print(" ", graftOpNames[i], " ", n)
		}
	}
	print("\n")
	text := gp.writebuf
	gp.writebuf = nil
	write(uintptr(fd), unsafe.Pointer(&text[0]), int32(len(text)))
}

// ---- begin and end

// graftChoose is where Go's alloc would take npages; it changes nothing.
func (p *pageAlloc) graftChoose(npages uintptr) uintptr {
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

// graftEnter takes the checker; false: this operation is part of another that is checked.
func graftEnter() bool {
	k := &graftChecker
	mp := uintptr(unsafe.Pointer(getg().m))
	if k.owner == mp {
		k.depth++
		return false
	}
	lock(&k.lock)
	k.owner = mp
	return true
}

// graftLeave is the other end; false where graftEnter was false.
func graftLeave() bool {
	k := &graftChecker
	if k.depth > 0 {
		k.depth--
		k.inside.Add(1)
		return false
	}
	return true
}

func graftRelease() {
	k := &graftChecker
	k.owner = 0
	unlock(&k.lock)
}

// watch notes the state of a range.
func (p *pageAlloc) graftWatch(base, npages uintptr) {
	k := &graftChecker
	k.base, k.npages = base, npages
	k.whole = npages/pallocChunkPages < graftSnapWords/32
	if k.whole {
		k.before.visit(p, base, npages, graftSave)
	}
}

// graftAgain keeps what C made, and goes back to before.
func (p *pageAlloc) graftAgain() {
	k := &graftChecker
	k.after.visit(p, k.base, k.npages, graftSave)
	k.before.visit(p, k.base, k.npages, graftRestore)
}

// graftSame compares what Go made with what C had made.
func (p *pageAlloc) graftSame(op uintptr) {
	k := &graftChecker
	n := k.after.visit(p, k.base, k.npages, graftCompare)
	if n < 0 {
		return
	}
	c := k.after.word[n]
	k.after.visit(p, k.base, k.npages, graftSave)
	print("gomem graft --check: ", graftOpNames[op], "(", hex(k.base), ", ", k.npages, " pages): ")
	graftWordName(p, k.base, k.npages, n)
	print(": C ", hex(uintptr(c)), ", Go ", hex(uintptr(k.after.word[n])), "\n")
	throw("gomem: C and Go differ")
}

func graftCheckBegin(op, a, b, c uintptr) uintptr {
	if op >= graftOpPush {
		return graftSpanBegin(op, a, b, c)
	}
	if op == graftOpScavenge {
		graftScavengeBegin((*pageAlloc)(unsafe.Pointer(a)), (*[3]uintptr)(unsafe.Pointer(b)))
		return 0
	}
	if op == graftOpIndexFind || op == graftOpNextGen {
		graftLockIndex(a)
	}
	if !graftEnter() {
		return 0
	}
	k := &graftChecker
	p := (*pageAlloc)(unsafe.Pointer(a))
	switch op {
	case graftOpAlloc:
		k.want = p.graftChoose(b)
		if k.want == 0 {
			b = 0
		}
		p.graftWatch(k.want, b)
	case graftOpFree, graftOpAllocRange, graftOpUpdate, graftOpPadding:
		p.graftWatch(b, c)
	case graftOpToCache:
		k.want = p.graftChoose(1)
		if k.want == 0 {
			p.graftWatch(0, 0)
		} else {
			p.graftWatch(alignDown(k.want, pageCachePages*pageSize), pageCachePages)
		}
	case graftOpFlush:
		before := (*pageCache)(unsafe.Pointer(b))
		if before.empty() {
			p.graftWatch(0, 0)
		} else {
			p.graftWatch(before.base, pageCachePages)
		}
	case graftOpGrow:
		p.graftWatch(0, 0)
	case graftOpIndexFind, graftOpNextGen:
		memmove(unsafe.Pointer(&k.index), unsafe.Pointer(a), unsafe.Sizeof(k.index))
	}
	return 0
}

// graftLockIndex takes the heap lock for an operation on the heap's index that Go does without it.
func graftLockIndex(s uintptr) {
	if s == uintptr(unsafe.Pointer(&mheap_.pages.scav.index)) {
		lock(&mheap_.lock)
	}
}

func graftUnlockIndex(s uintptr) {
	if s == uintptr(unsafe.Pointer(&mheap_.pages.scav.index)) {
		unlock(&mheap_.lock)
	}
}

func graftCheckEnd(op, a, b, c, r, s uintptr) {
	if op >= graftOpPush {
		graftSpanEnd(op, a, b, c, r, s)
		return
	}
	if op == graftOpScavenge {
		graftScavengeEnd((*pageAlloc)(unsafe.Pointer(a)), r)
		return
	}
	if op == graftOpCacheAlloc {
		graftCheckCacheAlloc(*(*pageCache)(unsafe.Pointer(a)), (*pageCache)(unsafe.Pointer(b)), c, r, s)
		return
	}
	if op == graftOpCandidate {
		args := (*[3]uintptr)(unsafe.Pointer(b))
		i, n := (*pallocData)(unsafe.Pointer(a)).orig_findScavengeCandidate(uint(args[0]), args[1], args[2])
		graftEqual(op, "pages", s, uintptr(n))
		graftEqual(op, "first page", r, uintptr(i))
		graftCount(op)
		return
	}
	if graftLeave() {
		graftPagesEnd(op, a, b, c, r, s)
		graftRelease()
		graftCount(op)
	}
	if op == graftOpIndexFind || op == graftOpNextGen {
		graftUnlockIndex(a)
	}
}

func graftPagesEnd(op, a, b, c, r, s uintptr) {
	k := &graftChecker
	p := (*pageAlloc)(unsafe.Pointer(a))
	switch op {
	case graftOpFind:
		addr, search := p.orig_find(b)
		graftEqual(op, "address", r, addr)
		graftEqual(op, "searchAddr", s, search.addr())
		return
	case graftOpIndexFind:
		live := (*scavengeIndex)(unsafe.Pointer(a))
		ci, page := k.index.orig_find(b&0xff != 0)
		graftEqual(op, "chunk", r, uintptr(ci))
		graftEqual(op, "page", s&0xffffffff, uintptr(page))
		graftSameIndex(op, live, &k.index)
		return
	case graftOpNextGen:
		k.index.orig_nextGen()
		graftSameIndex(op, (*scavengeIndex)(unsafe.Pointer(a)), &k.index)
		return
	case graftOpGrow:
		p.graftCheckGrown(op, b, c)
		return
	}
	if op == graftOpAlloc {
		graftEqual(op, "address", r, k.want)
	}
	if !k.whole {
		p.graftCheckSums(op, k.base, k.npages)
		return
	}
	p.graftAgain()
	switch op {
	case graftOpAlloc:
		addr, scav := p.orig_alloc(b)
		graftEqual(op, "address", r, addr)
		graftEqual(op, "scavenged bytes", s, scav)
	case graftOpFree:
		p.orig_free(b, c)
	case graftOpAllocRange:
		graftEqual(op, "scavenged bytes", r, p.orig_allocRange(b, c))
	case graftOpUpdate:
		p.orig_update(b, c, r&0xff != 0, s&0xff != 0)
	case graftOpPadding:
		p.orig_markRandomPaddingPages(b, c)
	case graftOpToCache:
		cc, gc := *(*pageCache)(unsafe.Pointer(b)), p.orig_allocToCache()
		graftEqual(op, "base", cc.base, gc.base)
		graftEqual(op, "cache", uintptr(cc.cache), uintptr(gc.cache))
		graftEqual(op, "scav", uintptr(cc.scav), uintptr(gc.scav))
	case graftOpFlush:
		before := *(*pageCache)(unsafe.Pointer(b))
		before.orig_flush(p)
		live := (*pageCache)(unsafe.Pointer(c))
		graftEqual(op, "cache", uintptr(live.cache), uintptr(before.cache))
		graftEqual(op, "base", live.base, before.base)
		graftEqual(op, "scav", uintptr(live.scav), uintptr(before.scav))
	}
	p.graftSame(op)
}

func graftSameIndex(op uintptr, c, g *scavengeIndex) {
	graftEqual(op, "searchAddrBg", uintptr(c.searchAddrBg.a.Load()), uintptr(g.searchAddrBg.a.Load()))
	graftEqual(op, "searchAddrForce", uintptr(c.searchAddrForce.a.Load()), uintptr(g.searchAddrForce.a.Load()))
	graftEqual(op, "freeHWM", c.freeHWM.addr(), g.freeHWM.addr())
	graftEqual(op, "gen", uintptr(c.gen), uintptr(g.gen))
}

// graftCheckSums compares the summaries of a range with what Go makes of the bits.
func (p *pageAlloc) graftCheckSums(op, base, npages uintptr) {
	limit := base + npages*pageSize
	for c := chunkIndex(base); c <= chunkIndex(limit-1); c++ {
		graftEqual(op, "leaf summary", uintptr(p.summary[summaryLevels-1][c]), uintptr(p.chunkOf(c).orig_summarize()))
	}
	for l := summaryLevels - 2; l >= 0; l-- {
		lo, hi := addrsToSummaryRange(l, base, limit)
		for i := lo; i < hi; i++ {
			sum := orig_mergeSummaries(p.summary[l+1][i<<levelBits[l+1]:(i+1)<<levelBits[l+1]], levelLogPages[l+1])
			graftEqual(op, "summary", uintptr(p.summary[l][i]), uintptr(sum))
		}
	}
}

// graftCheckGrown checks what grow is to leave behind; done by both it would map memory twice.
func (p *pageAlloc) graftCheckGrown(op, base, size uintptr) {
	limit := alignUp(base+size, pallocChunkBytes)
	base = alignDown(base, pallocChunkBytes)
	search := offAddr{uintptr(graftChecker.before.word[0])}
	if (offAddr{base}).lessThan(search) {
		search = offAddr{base}
	}
	graftEqual(op, "searchAddr", p.searchAddr.addr(), search.addr())
	if p.start > chunkIndex(base) || p.end < chunkIndex(limit) || !p.inUse.contains(base) || !p.inUse.contains(limit-1) {
		graftDiffer(op, "range not in start, end or inUse", base, limit)
	}
	for c := chunkIndex(base); c < chunkIndex(limit); c++ {
		graftEqual(op, "scavenged pages of a new chunk", uintptr(p.chunkOf(c).scavenged.orig_popcntRange(0, pallocChunkPages)), pallocChunkPages)
		for i := uint(0); i < pallocChunkPages; i += 64 {
			graftEqual(op, "pages in use of a new chunk", uintptr(p.chunkOf(c).pages64(i)), 0)
		}
		graftEqual(op, "index word of a new chunk", uintptr(p.scav.index.chunks[c].value.Load()), 0)
	}
	p.graftCheckSums(op, base, (limit-base)/pageSize)
}

// ---- scavengeOne: it takes and leaves the heap lock twice; the state is compared at each leave

type graftScavenging struct {
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

var graftScav [256]struct {
	m uintptr // *m
	graftScavenging
}

func graftScavOf() *graftScavenging {
	mp := getg().m
	if s := &graftScav[mp.id&255]; s.m == uintptr(unsafe.Pointer(mp)) {
		return &s.graftScavenging
	}
	return nil
}

func graftScavengeBegin(p *pageAlloc, args *[3]uintptr) {
	mp := getg().m
	s := &graftScav[mp.id&255]
	if s.m != 0 {
		return // another M has the place
	}
	s.m = uintptr(unsafe.Pointer(mp))
	s.graftScavenging = graftScavenging{pages: uintptr(unsafe.Pointer(p)), ci: chunkIdx(args[0]), search: uint(uint32(args[1])), max: args[2]}
}

func graftScavengeEnd(p *pageAlloc, r uintptr) {
	s := graftScavOf()
	if s == nil {
		return
	}
	graftEqual(graftOpScavenge, "bytes", r, uintptr(s.n)*pageSize)
	graftScav[getg().m.id&255].m = 0
	graftCount(graftOpScavenge)
}

// locked: C has taken the heap lock.
func (s *graftScavenging) locked() {
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
func (s *graftScavenging) unlocking() {
	p, op := (*pageAlloc)(unsafe.Pointer(s.pages)), uintptr(graftOpScavenge)
	live := p.chunkOf(s.ci)
	switch {
	case s.n == 0:
		if sc := p.scav.index.chunks[s.ci].load(); !sc.isEmpty() {
			graftDiffer(op, "chunk not marked empty", uintptr(s.ci), uintptr(s.ci))
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
	graftEqual(op, "searchAddr", p.searchAddr.addr(), s.searchAddr.addr())
	for i := uint(0); i < pallocChunkPages; i += 64 {
		graftEqual(op, "pallocBits", uintptr(live.pages64(i)), uintptr(s.data.pages64(i)))
		graftEqual(op, "scavenged", uintptr(live.scavenged.block64(i)), uintptr(s.data.scavenged.block64(i)))
	}
	p.graftCheckSums(op, chunkBase(s.ci), pallocChunkPages)
}

// graftCheckCacheAlloc does pageCache.alloc on a copy; c is as C left it.
func graftCheckCacheAlloc(before pageCache, c *pageCache, npages, addr, scav uintptr) {
	op := uintptr(graftOpCacheAlloc)
	a, s := before.orig_alloc(npages)
	graftEqual(op, "address", addr, a)
	graftEqual(op, "scavenged bytes", scav, s)
	graftEqual(op, "cache", uintptr(c.cache), uintptr(before.cache))
	graftEqual(op, "scav", uintptr(c.scav), uintptr(before.scav))
	graftCount(op)
}
