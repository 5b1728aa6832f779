// programs_test.go: random programs, run by Go's own allocator (internals_test.go), written down with Go's answers. tools/goldens.py builds and
// runs it; tests/goldens.c reads what it writes, and lets the port answer.
//
//	gomem goldens 1 go1.26.8 linux/amd64 seed N   which Go, which seed
//	kind NAME                                     of the programs that follow
//	program INDEX                                 begins one, with nothing left of the one before
//	NAME ARGUMENT... = ANSWER...                  one operation; numbers are hexadecimal. Without "=": nothing to compare
//	end PROGRAMS CASES                            the last line; a case is a line with answers
//
// A program depends on the seed, its kind and its index, and on nothing else: the same arguments give the same bytes.

package runtime_test

import (
	"bufio"
	"flag"
	"fmt"
	"math/bits"
	"os"
	"os/signal"
	. "runtime"
	"runtime/debug"
	"strconv"
	"testing"
	"time"
)

var (
	goldensFd       = flag.Int("gomem.fd", -1, "file descriptor to write to")
	goldensKind     = flag.String("gomem.kind", "", "only programs of this kind")
	goldensSeed     = flag.Uint64("gomem.seed", 1, "seed")
	goldensFirst    = flag.Uint64("gomem.first", 0, "index of the first program")
	goldensPrograms = flag.Uint64("gomem.programs", 0, "how many programs; 0: as many as a file has")
	goldensSeconds  = flag.Int("gomem.seconds", 0, "stop after so many seconds")
	goldensWhole    = flag.Bool("gomem.whole", false, "programs that together go through all sizes and classes")
)

type kind struct {
	name   string
	inFile uint64 // programs in the file of goldens
	often  int    // of how many programs of a stream, in a row of all
	run    func(g *gen, index uint64)
}

var kinds = []kind{
	{"bits", 200, 4, bitsProgram},
	{"bitrange", 40, 1, bitrangeProgram},
	{"sums", 40, 1, sumsProgram},
	{"pagecache", 60, 2, pagecacheProgram},
	{"pagealloc", 250, 8, pageallocProgram},
	{"scavindex", 100, 3, scavindexProgram},
	{"ranges", 80, 3, rangesProgram},
	{"sizeclass", 41, 1, sizeclassProgram},
	{"spanclass", 1, 1, spanclassProgram},
	{"heapbits", 300, 4, heapbitsProgram},
	{"arena", 8, 1, arenaProgram},
}

// ---- random numbers and lines

type gen struct {
	out             *bufio.Writer
	line            []byte
	state           uint64
	programs, cases uint64
}

func (g *gen) seed(seed uint64, kind string, index uint64) {
	h := seed
	for _, c := range []byte(kind) {
		h = GomemDigest(h, uint64(c))
	}
	g.state = GomemDigest(h, index)
}
func (g *gen) rand() uint64 {
	g.state += 0x9e3779b97f4a7c15
	z := g.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
func (g *gen) below(n int) int         { return int(g.rand() % uint64(n)) }
func (g *gen) between(lo, hi int) int  { return lo + g.below(hi-lo+1) }
func (g *gen) chance(percent int) bool { return g.below(100) < percent }
func pick[T any](g *gen, from ...T) T  { return from[g.below(len(from))] }
func (g *gen) bitRange() (i, n uint) {
	i = uint(g.below(512))
	most := pick(g, 1, 4, 16, 64, 512)
	n = uint(min(g.between(1, most), 512-int(i)))
	return
}

// word gives 64 bits: few or many ones, runs of ones, or anything.
func (g *gen) word() uint64 {
	switch g.below(8) {
	case 0:
		return 0
	case 1:
		return ^uint64(0)
	case 2:
		return g.rand() & g.rand() & g.rand()
	case 3:
		return g.rand() | g.rand() | g.rand()
	case 4, 5:
		var w uint64
		for range g.between(1, 4) {
			w |= ^uint64(0) >> g.below(64) << g.below(64)
		}
		return w
	}
	return g.rand()
}

func u[T ~int | ~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~uintptr | ~int64](v T) uint64 {
	return uint64(v)
}
func b(v bool) uint64 {
	if v {
		return 1
	}
	return 0
}

func (g *gen) numbers(v []uint64) {
	for _, n := range v {
		g.line = append(g.line, ' ')
		g.line = strconv.AppendUint(g.line, n, 16)
	}
}
func (g *gen) put() {
	g.line = append(g.line, '\n')
	if _, err := g.out.Write(g.line); err != nil {
		os.Exit(3) // whoever reads has seen enough
	}
	g.line = g.line[:0]
}

// op writes an operation with its arguments; is adds the answers.
func (g *gen) op(name string, args ...uint64) *gen {
	g.line = append(g.line, name...)
	g.numbers(args)
	return g
}
func (g *gen) is(answers ...uint64) {
	g.line = append(g.line, " ="...)
	g.numbers(answers)
	g.put()
	g.cases++
}

// ---- bits of one chunk

func bitsProgram(g *gen, _ uint64) {
	var c GomemBits
	if g.chance(30) {
		for i := range uint(8) {
			alloc := g.word()
			scav := g.word() &^ alloc
			c.SetWord(i, alloc, scav)
			g.op("word", u(i), alloc, scav).put()
		}
	}
	for range g.between(10, 60) {
		i, n := g.bitRange()
		switch g.below(12) {
		case 0, 1:
			c.Alloc(i, n)
			g.op("alloc", u(i), u(n)).is(c.Summarize())
		case 2:
			c.Free(i, n)
			g.op("free", u(i), u(n)).is(c.Summarize())
		case 3, 4:
			npages := pick(g, uintptr(1), uintptr(n), uintptr(g.between(1, 64)), uintptr(g.between(1, 512)))
			if g.chance(40) { // just what there is, or one too many
				start, longest, end := GomemSumFields(c.Summarize())
				npages = uintptr(max(1, min(512, pick(g, start, longest, longest, end)+uint(g.below(2)))))
			}
			at, search := c.Find(npages, i)
			g.op("find", u(npages), u(i)).is(u(at), u(search))
		case 5:
			g.op("popcnt", u(i), u(n)).is(u(c.Popcnt(i, n)))
		case 6:
			c.ScavSet(i, n)
			g.op("scavset", u(i), u(n)).put()
		case 7:
			c.ScavClear(i, n)
			g.op("scavclear", u(i), u(n)).put()
		case 8, 9:
			least := uintptr(1) << g.below(7)
			most := uintptr(g.between(0, 512))
			huge := pick(g, uintptr(0), 64<<10, 2<<20, 4<<20, 512<<20)
			at, npages := c.Candidate(i, least, most, huge)
			g.op("candidate", u(i), u(least), u(most), u(huge)).is(u(at), u(npages))
		case 10:
			v := g.word()
			c.AllocPages64(i, v)
			g.op("pages64", u(i), v).is(c.Pages64(i), c.Summarize())
		case 11:
			switch g.below(8) {
			case 0:
				c.AllocAll()
				g.op("allocall").is(c.Summarize())
			case 1:
				c.FreeAll()
				g.op("freeall").is(c.Summarize())
			default:
				c.Free1(i)
				g.op("free1", u(i)).is(c.Summarize())
			}
		}
	}
	var words []uint64
	for i := range uint(8) {
		alloc, scav := c.Word(i)
		words = append(words, alloc, scav)
	}
	g.op("words").is(words...)
}

func bitrangeProgram(g *gen, _ uint64) {
	for range 40 {
		c, n := g.word(), uint(g.between(1, pick(g, 4, 16, 64)))
		g.op("findrange", c, u(n)).is(u(GomemFindBitRange64(c, n)))
		m := uint(1) << g.below(7)
		x := g.word()
		g.op("fill", x, u(m)).is(GomemFillAligned(x, m))
	}
}

// ---- summaries

const logChunk = 9

// sum gives the summary of 1 << log pages of which runs are free.
func (g *gen) sum(log uint) uint64 {
	whole := uint(1) << log
	switch g.below(6) {
	case 0:
		return GomemPack(whole, whole, whole)
	case 1:
		return 0
	}
	start := uint(g.below(int(whole))) >> g.below(int(log)+1)
	end := uint(g.below(int(whole-start))) >> g.below(int(log)+1)
	longest := max(start, end)
	if room := whole - start - end; room > 2 {
		longest = max(longest, uint(g.below(int(room-1)))>>g.below(4)) // a used page on either side
	}
	return GomemPack(start, longest, end)
}

func sumsProgram(g *gen, _ uint64) {
	for range 10 {
		log := uint(g.between(logChunk, 21))
		s := g.sum(log)
		start, longest, end := GomemSumFields(s)
		g.op("pack", u(start), u(longest), u(end)).is(GomemPack(start, longest, end))
		a, c, d := GomemUnpack(s)
		g.op("fields", s).is(u(start), u(longest), u(end), u(a), u(c), u(d))
	}
	for range 12 {
		log := uint(pick(g, 9, 12, 15, 18))
		sums := make([]uint64, 8)
		for i := range sums {
			sums[i] = g.sum(log)
		}
		g.op("merge", append([]uint64{u(log)}, sums...)...).is(GomemMerge(sums, log))
	}
}

// ---- addresses of the platform that answers

const is64 = ^uintptr(0)>>63 == 1

func byWord(on64, on32 uint64) uintptr {
	if is64 {
		return uintptr(on64)
	}
	return uintptr(on32)
}

// indexBase is the address of chunk 0.
var indexBase = byWord(0xffff800000000000, 0)

// ---- 64 pages of a P

func pagecacheProgram(g *gen, _ uint64) {
	for range g.between(1, 4) {
		var c GomemCache
		base := byWord(0xc000000000, 0x40000000) + uintptr(g.below(1<<12))*64*8192
		cache := g.word()
		scav := pick(g, g.word(), g.word()&cache)
		c.Set(base, cache, scav)
		g.op("cache", u(base), cache, scav).is(b(c.Empty()))
		for range g.between(1, 40) {
			n := uintptr(pick(g, 1, 1, g.between(1, 8), g.between(1, 64)))
			name := "alloc"
			var addr, released uintptr
			if g.chance(20) {
				name = "allocn"
				addr, released = c.AllocN(n)
			} else {
				addr, released = c.Alloc(n)
			}
			_, cache, scav := c.Get()
			g.op(name, u(n)).is(u(addr), u(released), cache, scav)
		}
	}
}

// ---- the page allocator

const (
	pageSize   = 8192
	chunkBytes = 512 * pageSize
)

type run struct{ base, n uintptr }

type pages struct {
	*gen
	p        *GomemPages
	heap     []run // chunks
	live     []run // pages
	firstPad bool
	freed    uintptr // pages of the last run that was freed
}

func pageallocProgram(g *gen, index uint64) {
	p := &pages{gen: g, p: NewGomemPages(), firstPad: g.chance(30)}
	p.grow()
	for i := range g.between(20, 160) {
		p.step()
		if i%48 == 47 {
			p.all()
		}
	}
	p.all()
	p.p.Destroy()
}

// free: no chunk of [lo, hi) is in the heap, and it may be there. A range must not go through address 0, which lies in the middle.
func (p *pages) free(lo, hi uintptr) bool {
	const zero = 1 << 25
	if is64 && lo <= zero && hi >= zero || lo == 0 || hi >= byWord(1<<26, 1<<10) || lo > hi {
		return false
	}
	for _, r := range p.heap {
		if lo < r.base+r.n && r.base < hi {
			return false
		}
	}
	return true
}

// place gives n chunks that are not in the heap: beside it, a little away, or far away.
func (p *pages) place(n uintptr) uintptr {
	const first = 0x2000000 + 0xc000 // chunk of 0xc000 times 4 MiB
	if len(p.heap) == 0 {
		at := pick(p.gen, first, first, first+uintptr(p.below(1000)), 0x2000000+1, 0x3000)
		return byWord(uint64(at), uint64(1+at%512))
	}
	for range 20 {
		r := p.heap[p.below(len(p.heap))]
		gap := pick(p.gen, 0, 0, uintptr(p.between(1, 8)), 16, uintptr(p.between(1, 1<<13)))
		if p.chance(1) {
			gap = 1 << p.between(14, 17)
		}
		at := r.base + r.n + gap
		if p.chance(30) {
			at = r.base - gap - n
		}
		if p.free(at, at+n) {
			return at
		}
	}
	return 0
}

func (p *pages) grow() {
	n := uintptr(pick(p.gen, 1, 1, p.between(1, 4), p.between(1, 16), 16, p.between(16, 80)))
	ci := p.place(n)
	if ci == 0 {
		return
	}
	p.heap = append(p.heap, run{ci, n})
	base := ci*chunkBytes + indexBase
	p.p.Grow(base, n*chunkBytes)
	start, end, ranges, total, mapped := p.p.Bounds()
	p.op("grow", u(base), u(n*chunkBytes)).is(start, end, u(ranges), u(total), u(mapped), u(p.p.SearchAddr()))
	if p.firstPad {
		p.firstPad = false
		pad := uintptr(p.between(1, int(min(n*512-1, 4096))))
		p.p.Padding(base, pad)
		p.op("padding", u(base), u(pad)).is(u(p.p.SearchAddr()))
	}
}

func (p *pages) npages() uintptr {
	if p.freed != 0 && p.chance(15) {
		return p.freed // it may fit just there
	}
	return uintptr(pick(p.gen, 1, p.between(1, 4), p.between(1, 16), p.between(1, 16), p.between(17, 64), p.between(65, 600), p.between(1, 4096)))
}

func (p *pages) took(addr, n uintptr) {
	if addr != 0 {
		p.live = append(p.live, run{addr, n})
	}
}

func (p *pages) step() {
	switch k := p.below(100); {
	case k < 34:
		n := p.npages()
		addr, scav := p.p.Alloc(n)
		p.took(addr, n)
		p.op("alloc", u(n)).is(u(addr), u(scav), u(p.p.SearchAddr()))
	case k < 58:
		p.release()
	case k < 63:
		p.grow()
	case k < 66:
		n := p.npages()
		addr, search := p.p.Find(n)
		p.op("find", u(n)).is(u(addr), u(search))
	case k < 70:
		p.allocRange()
	case k < 86:
		p.cache()
	case k < 93:
		nbytes := pick(p.gen, uintptr(1), uintptr(p.between(1, 64))*pageSize, uintptr(p.between(1, 1000000)), ^uintptr(0))
		force := p.chance(60)
		phys := pick(p.gen, uintptr(4096), 4096, 8192, 16384, 65536)
		huge := pick(p.gen, uintptr(0), 2<<20, 2<<20, 4<<20, 512<<20)
		r := p.p.Scavenge(nbytes, force, phys, huge)
		p.op("scavenge", u(nbytes), b(force), u(phys), u(huge)).is(u(r), u(p.p.SearchAddr()))
	case k < 96:
		force := p.chance(50)
		ci, page := p.p.ScavFind(force)
		p.op("scavfind", b(force)).is(ci, u(page))
	default:
		p.p.NextGen()
		p.op("nextgen").is(p.p.Index()...)
	}
}

// release frees a run, or a part of it.
func (p *pages) release() {
	if len(p.live) == 0 {
		return
	}
	i := p.below(len(p.live))
	r := p.live[i]
	if r.n > 1 && p.chance(20) {
		from := uintptr(p.below(int(r.n)))
		n := uintptr(p.between(1, int(r.n-from)))
		p.live[i].n = from
		p.took(r.base+(from+n)*pageSize, r.n-from-n)
		r = run{r.base + from*pageSize, n}
	} else {
		p.live[i].n = 0
	}
	if p.live[i].n == 0 {
		p.live[i] = p.live[len(p.live)-1]
		p.live = p.live[:len(p.live)-1]
	}
	for j := 0; j < len(p.live); j++ { // took may have added an empty run
		if p.live[j].n == 0 {
			p.live = append(p.live[:j], p.live[j+1:]...)
			j--
		}
	}
	p.freed = r.n
	p.p.Free(r.base, r.n)
	p.op("free", u(r.base), u(r.n)).is(u(p.p.SearchAddr()))
}

func (p *pages) allocRange() {
	n := p.npages()
	addr, _ := p.p.Find(n)
	if addr == 0 {
		return
	}
	from := uintptr(p.below(int(n)))
	addr, n = addr+from*pageSize, n-from
	scav := p.p.AllocRange(addr, n)
	p.took(addr, n)
	p.op("allocrange", u(addr), u(n)).is(u(scav))
}

func (p *pages) cache() {
	i := p.below(len(p.p.Caches))
	c := &p.p.Caches[i]
	switch {
	case c.Empty():
		p.p.ToCache(i)
		base, cache, scav := c.Get()
		p.op("tocache", u(i)).is(u(base), cache, scav, u(p.p.SearchAddr()))
	case p.chance(25):
		p.p.Flush(i)
		p.op("flush", u(i)).is(u(p.p.SearchAddr()))
	default:
		n := uintptr(pick(p.gen, 1, p.between(1, 15)))
		addr, scav := c.Alloc(n)
		p.took(addr, n)
		p.op("cachealloc", u(i), u(n)).is(u(addr), u(scav))
	}
}

func (p *pages) all() {
	start, end, ranges, total, mapped := p.p.Bounds()
	d := p.p.Digests()
	p.op("bounds").is(start, end, u(ranges), u(total), u(mapped))
	p.op("digests").is(d[:]...)
	p.op("index").is(p.p.Index()...)
}

// ---- the scavenge index by itself

func scavindexProgram(g *gen, _ uint64) {
	x := NewGomemIndex()
	var chunks []uint64
	base := uint64(0x2000000) + pick(g, uint64(0xc000), uint64(g.between(1, 1<<12)))
	base = uint64(byWord(base, 1+base%256))
	grow := func() {
		n := uint64(pick(g, 1, 16, g.between(1, 40)))
		if !is64 && base+n > 1<<10 { // behind the last address
			return
		}
		lo, hi := uintptr(base)*chunkBytes+indexBase, uintptr(base+n)*chunkBytes+indexBase
		mapped := x.Grow(lo, hi)
		g.op("grow", u(lo), u(hi)).is(append(x.Fields(), u(mapped))...)
		for ci := base; ci < base+n; ci++ {
			chunks = append(chunks, ci)
		}
		base += n + uint64(pick(g, 0, g.between(0, 20), g.between(0, 2000)))
	}
	grow()
	const dense = 496 // pages in use from which on a chunk is left alone
	for range g.between(20, 120) {
		ci := chunks[g.below(len(chunks))]
		inUse, _, _, _, _ := GomemUnpackChunk(x.Word(ci))
		switch k := g.below(100); {
		case k < 35 && inUse < 512:
			n := uint(g.between(1, 512-int(inUse)))
			if g.chance(30) {
				n = 512 - uint(inUse)
			} else if near := dense - 1 + g.below(3) - int(inUse); near > 0 {
				n = uint(near)
			}
			x.Alloc(ci, n)
			g.op("alloc", ci, u(n)).is(x.Word(ci))
		case k < 65 && inUse > 0:
			n := uint(g.between(1, int(inUse)))
			page := uint(g.between(0, 512-int(n)))
			x.Free(ci, page, n)
			g.op("free", ci, u(page), u(n)).is(append(x.Fields()[3:], x.Word(ci))...)
		case k < 80:
			force := g.chance(50)
			at, page := x.Find(force)
			g.op("find", b(force)).is(append(x.Fields()[3:], at, u(page))...)
		case k < 88:
			x.NextGen()
			g.op("nextgen").is(x.Fields()...)
		case k < 94:
			x.SetEmpty(ci)
			g.op("setempty", ci).is(x.Word(ci))
		case k < 96:
			grow()
		default:
			w := x.Word(ci)
			switch g.below(3) {
			case 0:
				w = g.rand()
			case 1:
				w = w&^(0xffff|0x3ff<<16) | uint64(dense-1+g.below(3)) | uint64(dense-1+g.below(3))<<16
			}
			used, last, gen, flags, packed := GomemUnpackChunk(w)
			g.op("unpack", w).is(u(used), u(last), u(gen), u(flags), packed)
			now := pick(g, gen, gen+1, uint32(g.below(4)))
			force := g.chance(50)
			g.op("should", w, u(now), b(force)).is(b(GomemShouldScavenge(w, now, force)))
		}
	}
	x.Destroy()
}

// ---- address ranges

func rangesProgram(g *gen, _ uint64) {
	lowest := pick(g, byWord(0xc000000000, 0x40000000), byWord(0xffff800000000000, 0x80000000), byWord(0x7fffffe00000, 0x7fe00000),
		byWord(0xfffffffffff00000, 0xfff00000), 0x1000)
	const step = 0x1000
	places := pick(g, 20, 60, 200)
	at := func() uintptr { return lowest + uintptr(g.below(places))*step }
	set := NewGomemRanges()
	say := func() {
		n, total, d := set.Digest(false)
		g.is(u(n), u(total), d)
	}
	for range g.between(10, 100) {
		addr := at() + uintptr(pick(g, 0, 0, 1, step-1))
		switch k := g.below(100); {
		case k < 45:
			base := at()
			r := MakeGomemRange(base, base+uintptr(g.between(1, 4))*step)
			_, limit := r.Get()
			overlaps := false
			for i := range set.Len() {
				lo, hi := set.At(i).Get()
				overlaps = overlaps || base < hi && lo < limit
			}
			if !overlaps {
				set.Add(r)
				g.op("add", u(base), u(limit)).put2(say)
			}
		case k < 60:
			g.op("succ", u(addr)).is(u(set.FindSucc(addr)), b(set.Contains(addr)))
		case k < 70:
			if set.Len() > 0 {
				a, ok := set.FindAddrGreaterEqual(addr)
				g.op("greater", u(addr)).is(u(a), b(ok))
			}
		case k < 74:
			n := uintptr(g.between(0, 6)) * step
			base, limit := set.RemoveLast(n).Get()
			g.op("last", u(n)).is(u(base), u(limit), u(set.Len()), u(set.TotalBytes()))
		case k < 76:
			set.RemoveGreaterEqual(addr)
			g.op("remove", u(addr)).put2(say)
		case k < 80:
			set.CloneInto()
			n, total, d := set.Digest(true)
			g.op("clone").is(u(n), u(total), d)
		case k < 90:
			rangeOp(g, at, addr)
		default:
			atomicOps(g, at)
		}
	}
	g.op("set").put2(say)
}

// put2 lets say add the answers.
func (g *gen) put2(say func()) { say() }

func rangeOp(g *gen, at func() uintptr, addr uintptr) {
	base, other := at(), at()
	limit, otherLimit := base+uintptr(g.between(0, 5))*0x1000, other+uintptr(g.between(0, 5))*0x1000
	r, o := MakeGomemRange(base, limit), MakeGomemRange(other, otherLimit)
	g.op("range", u(base), u(limit), u(addr)).is(u(r.Size()), b(r.Contains(addr)))
	if !(base < other && otherLimit < limit) {
		lo, hi := r.Subtract(o).Get()
		g.op("subtract", u(base), u(limit), u(other), u(otherLimit)).is(u(lo), u(hi))
	}
	lo, hi := r.RemoveGreaterEqual(addr).Get()
	g.op("cut", u(base), u(limit), u(addr)).is(u(lo), u(hi))
	n, align := uintptr(g.between(0, 0x5000)), uint8(1)<<g.below(8)
	base += uintptr(g.below(300))
	limit += 300
	front := MakeGomemRange(base, limit)
	got, ok := front.TakeFromFront(n, align)
	lo, hi = front.Get()
	g.op("front", u(base), u(limit), u(n), u(align)).is(u(got), b(ok), u(lo), u(hi))
	back := MakeGomemRange(base, limit)
	got, ok = back.TakeFromBack(n, align)
	lo, hi = back.Get()
	g.op("back", u(base), u(limit), u(n), u(align)).is(u(got), b(ok), u(lo), u(hi))
}

func atomicOps(g *gen, at func() uintptr) {
	var a GomemAtomic
	g.op("atomic").put()
	for range g.between(3, 10) {
		addr := at()
		switch g.below(4) {
		case 0:
			a.Clear()
			g.op("aclear")
		case 1:
			a.StoreMin(addr)
			g.op("amin", u(addr))
		case 2:
			a.StoreMarked(addr)
			g.op("amarked", u(addr))
		default:
			marked, _ := a.Load()
			if g.chance(30) {
				marked = at()
			}
			a.StoreUnmark(marked, addr)
			g.op("aunmark", u(marked), u(addr))
		}
		v, marked := a.Load()
		g.is(u(v), b(marked))
	}
}

// ---- size classes

func sizeOp(g *gen, size uintptr, noscan bool) {
	i := -1
	if !noscan {
		i = 0
	}
	o := GomemMalloc(size, i)
	if noscan && size < 16 {
		o.Off = 0 // in a block that others use too
	}
	g.op("size", u(size), b(noscan)).is(u(GomemRoundupsize(size, noscan)), u(o.SpanClass), u(o.ElemSize), u(o.NPages), u(o.NElems),
		u(o.DivMul), u(o.Off), b(GomemHeapBitsInSpan(size)))
}

func classOp(g *gen, c int) {
	size, npages, magic := GomemClass(c)
	g.op("class", u(c)).is(u(size), u(npages), u(magic))
	for range 4 {
		off := uintptr(g.below(int(max(npages, 1)) * pageSize))
		g.op("index", u(c), u(off)).is(u(GomemObjIndex(c, off)))
	}
}

func sizeclassProgram(g *gen, index uint64) {
	GomemSetType(0, 8, 8, []byte{1})
	if *goldensWhole {
		for size := index * 1024; size < min((index+1)*1024, 40<<10+1); size++ {
			sizeOp(g, uintptr(size), true)
			sizeOp(g, uintptr(size), false)
		}
		for c := range GomemNumClasses() {
			if uint64(c)%40 == index {
				classOp(g, c)
			}
		}
		return
	}
	for range 30 {
		sizeOp(g, uintptr(g.below(pick(g, 64, 1100, 4096, 34000, 40<<10, 1<<20))), g.chance(50))
	}
	for range 4 {
		classOp(g, g.below(GomemNumClasses()))
	}
}

func spanclassProgram(g *gen, _ uint64) {
	makeOp := func(class uint8, noscan bool) {
		g.op("make", u(class), b(noscan)).is(u(GomemMakeSpanClass(class, noscan)))
	}
	ofOp := func(c uint8) {
		class, noscan := GomemSpanClass(c)
		g.op("of", u(c)).is(u(class), b(noscan))
	}
	if *goldensWhole {
		for i := range 256 {
			makeOp(uint8(i/2), i%2 != 0)
			ofOp(uint8(i))
		}
		return
	}
	for range 8 {
		makeOp(uint8(g.below(128)), g.chance(50))
		ofOp(uint8(g.below(256)))
	}
}

// ---- heap bits

type goType struct{ size, ptrBytes uintptr }

// typeOp declares type i, of at most most words.
func typeOp(g *gen, i int, most int) goType {
	words := g.between(1, most)
	few := [4]uint64{g.word(), g.word(), g.rand(), ^uint64(0)}
	mask := make([]uint64, (words+63)/64)
	for j := range mask {
		mask[j] = few[g.below(4)]
		if j < 4 && g.chance(50) {
			mask[j] = g.word()
		}
	}
	last := len(mask) - 1
	if words%64 != 0 {
		mask[last] &= 1<<(words%64) - 1
	}
	if g.chance(50) && words > 64 {
		clear(mask[g.below(len(mask)):]) // ends with words that are no pointers
	}
	ptrWords := 0
	for j, w := range mask {
		if w != 0 {
			ptrWords = j*64 + bits.Len64(w)
		}
	}
	if ptrWords == 0 {
		mask[0], ptrWords = 1, 1
	}
	bytes := make([]byte, 8*len(mask))
	for j := range bytes {
		bytes[j] = byte(mask[j/8] >> (j % 8 * 8))
	}
	t := goType{uintptr(words) * 8, uintptr(ptrWords) * 8}
	GomemSetType(i, t.size, t.ptrBytes, bytes)
	g.op("type", append([]uint64{u(i), u(t.size), u(t.ptrBytes)}, mask...)...).put()
	return t
}

func heapbitsProgram(g *gen, index uint64) {
	// The types of several programs are known at a time, in turn: objects of earlier ones may not be dead yet.
	const perProgram = 8
	first := int(index % (GomemTypes / perProgram) * perProgram)
	var types [perProgram]goType
	for i := range types {
		types[i] = typeOp(g, first+i, pick(g, 3, 8, 64, 64, 64, 300, 300, pick(g, 300, 4096, 8192)))
	}
	mallocOp := func() {
		i := g.below(perProgram)
		t := types[i]
		n := uintptr(1)
		if room := pick(g, 512, 512, 2048, 32<<10, 100<<10) / int(t.size); room > 1 {
			n = uintptr(g.between(1, room))
		}
		o := GomemMalloc(n*t.size, first+i)
		g.op("malloc", u(n*t.size), u(first+i)).is(u(o.SpanClass), u(o.ElemSize), u(o.NPages), u(o.NElems), u(o.Off), o.Pointers, o.Mask, o.Digest)
	}
	for range g.between(4, 10) {
		mallocOp()
	}
	class := g.between(1, 27) // up to 512 bytes
	size, _, _ := GomemClass(class)
	for size > 512 {
		class--
		size, _, _ = GomemClass(class)
	}
	bitmap := func() uint64 {
		var d uint64
		for _, w := range GomemHeapBits() {
			d = GomemDigest(d, w)
		}
		return d
	}
	fill := pick(g, uint64(0), 0, 0xff, u(g.between(1, 254)))
	GomemInitSpan(uint8(class), uint8(fill))
	words := GomemHeapBits()
	g.op("span", u(class), fill).is(words[0], words[15], words[16], words[31], bitmap())
	slots := int((8192 - 256) / size)
	for range g.between(4, 40) {
		i := g.below(perProgram)
		t := types[i]
		if t.size > size {
			continue
		}
		n := uintptr(g.between(1, int(size/t.size)))
		slot := uintptr(g.below(slots))
		scan, word := GomemWriteHeapBits(slot, n*t.size, first+i)
		g.op("write", u(slot), u(n*t.size), u(first+i)).is(u(scan), u(word), bitmap())
	}
}

// ---- arenas and chunks

func arenaProgram(g *gen, _ uint64) {
	for range 40 {
		p := uintptr(int64(g.rand()<<16) >> 16 >> pick(g, 0, 0, 0, 1, 8))
		i, l1, l2, base := GomemArena(p)
		g.op("arena", u(p)).is(i, l1, l2, base)
		ci, page, chunk, _, _ := GomemChunk(p)
		g.op("chunk", u(p)).is(ci, u(page), u(chunk))
	}
}

// ---- what is run

func (g *gen) program(k *kind, seed, index uint64) {
	g.seed(seed, k.name, index)
	g.op("program", index).put()
	g.programs++
	k.run(g, index)
}

func (g *gen) kind(name string) {
	g.op("kind " + name).put()
}

// file writes the programs of one kind.
func (g *gen) file(k *kind) {
	n := *goldensPrograms
	if n == 0 {
		n = k.inFile
	}
	g.kind(k.name)
	for i := range n {
		g.program(k, *goldensSeed, *goldensFirst+i)
	}
}

// stream writes programs of all kinds in turn, each kind as often as its row says.
func (g *gen) stream() {
	var row []*kind
	for i := range kinds {
		for range kinds[i].often {
			row = append(row, &kinds[i])
		}
	}
	deadline := time.Now().Add(time.Duration(*goldensSeconds) * time.Second)
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt)
	var last *kind
	for i := uint64(0); *goldensPrograms == 0 || i < *goldensPrograms; i++ {
		if len(stop) > 0 || *goldensSeconds > 0 && !time.Now().Before(deadline) {
			break
		}
		index := *goldensFirst + i
		k := row[index%uint64(len(row))]
		if k != last {
			g.kind(k.name)
			last = k
		}
		g.program(k, *goldensSeed, index)
	}
}

func TestGomemGoldens(t *testing.T) {
	if *goldensFd < 0 {
		t.Skip("no -gomem.fd")
	}
	phys, platform, version := GomemSystem()
	if phys != 4096 || platform != "linux/amd64" && platform != "linux/386" {
		t.Fatalf("%s with physical pages of %d bytes: not what goldens are made on", platform, phys)
	}
	defer GOMAXPROCS(GOMAXPROCS(1))
	MemProfileRate = 0
	debug.SetMaxThreads(100)
	file := os.NewFile(uintptr(*goldensFd), "goldens")
	g := &gen{out: bufio.NewWriterSize(file, 1<<16)}
	fmt.Fprintf(g.out, "gomem goldens 1 %s %s seed %x\n", version, platform, *goldensSeed)
	found := *goldensKind == ""
	if found {
		g.stream()
	}
	for i := range kinds {
		if kinds[i].name == *goldensKind {
			g.file(&kinds[i])
			found = true
		}
	}
	if !found {
		t.Fatalf("no kind %s", *goldensKind)
	}
	fmt.Fprintf(g.out, "end %x %x\n", g.programs, g.cases)
	if err := g.out.Flush(); err != nil {
		os.Exit(3)
	}
}
