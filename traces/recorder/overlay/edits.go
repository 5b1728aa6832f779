package main

// edit changes the text of one function, or of each of a family of functions.
//
// fn is how the function's line begins, without "func ". It names a family if it ends with "*": then funcs is how many there
// must be. old must stand exactly n times in each of them (0: once). since and until are the first and the last go1.N that the
// edit is for (0: no bound).
type edit struct {
	file         string
	fn           string
	how          how
	old          string
	text         string
	n            int
	funcs        int
	since, until int
}

// how tells what happens to old.
type how int

const (
	before  how = iota // text is put before it
	after              // text is put after it
	instead            // text takes its place
)

// edits is everything that is changed in package runtime of go1.24 to go1.27. The functions called are those of zz_gomem_record.go.
var edits = []edit{
	// ---- start
	{until: 24, file: "malloc.go", fn: "mallocinit()", how: before, old: "\tif class_to_size[_TinySizeClass] != _TinySize {\n",
		text: "\tgomemInit()\n"},
	{since: 25, file: "malloc.go", fn: "mallocinit()", how: before, old: "\tif gc.SizeClassToSize[tinySizeClass] != maxTinySize {\n",
		text: "\tgomemInit()\n"},
	{since: 26, file: "malloc.go", fn: "mallocinit()", how: after,
		old:  "heapRandSeed, heapRandSeedBitsRemaining = uintptr(bootstrapRand()), 64\n",
		text: "\t\t\tgomemSeed(heapRandSeed)\n"},
	// The reservation at the start of 32-bit programs.
	{until: 24, file: "malloc.go", fn: "mallocinit()", how: after,
		old: "\t\t\ta, size := sysReserveAligned(unsafe.Pointer(p), arenaSize, heapArenaBytes)\n", text: "\t\t\tgomemReserve(p, arenaSize, size, a)\n"},
	{since: 25, file: "malloc.go", fn: "mallocinit()", how: after,
		old:  "\t\t\ta, size := sysReserveAligned(unsafe.Pointer(p), arenaSize, heapArenaBytes, \"heap reservation\")\n",
		text: "\t\t\tgomemReserve(p, arenaSize, size, a)\n"},
	{until: 24, file: "malloc.go", fn: "mallocinit()", how: after, old: "\tgcController.memoryLimit.Store(maxInt64)\n",
		text: "\tgomemReady()\n"},
	{since: 25, file: "malloc.go", fn: "mallocinit()", how: after, old: "\tgcController.memoryLimit.Store(math.MaxInt64)\n",
		text: "\tgomemReady()\n"},
	{file: "proc.go", fn: "procresize(", how: after, old: "\told := gomaxprocs\n", text: "\tgomemProcs(old, nprocs)\n"},
	{file: "proc.go", fn: "(pp *p) init(", how: before, old: "\tpp.id = id\n", text: "\tgomemPInit(pp, id)\n"},
	{file: "proc.go", fn: "(pp *p) destroy()", how: after, old: "\tpp.deferpool = pp.deferpoolbuf[:0]\n",
		text: "\tgomemPDestroy(pp)\n"}, // not at its start: moving the timers may allocate
	{file: "arena.go", fn: "(h *mheap) allocUserArenaChunk()", how: before, old: "\tvar s *mspan\n", text: "\tgomemUserArena()\n"},

	// ---- malloc: at the end of each path, where the object is taken and the M is still acquired; before each slow step
	{file: "malloc.go", fn: "mallocgcTiny(", how: after, old: "\t\tc.tinyAllocs++\n",
		text: "\t\tif gomemOn {\n\t\t\tgomemMalloc(mp, gomemPathTinyHit|gomemNoscan|gomemNeedzero, size, uintptr(x))\n\t\t}\n"},
	{file: "malloc.go", fn: "mallocgcTiny(", how: before, old: "\t\tv, span, checkGCTrigger = c.nextFree(",
		text: "\t\tif gomemOn {\n\t\t\tgomemMallocBegin(gomemNoscan|gomemNeedzero, size)\n\t\t}\n"},
	{file: "malloc.go", fn: "mallocgcTiny(", how: before, old: "\tc.nextSample -= ",
		text: "\tif gomemOn {\n\t\tgomemMalloc(mp, gomemPathTinyNew|gomemNoscan|gomemNeedzero, size, uintptr(x))\n\t}\n"},

	{file: "malloc.go", fn: "mallocgcSmallNoscan(", how: before, old: "\tmp := acquirem()\n", text: "\tgomemSize := size\n"},
	{since: 26, file: "malloc.go", fn: "mallocgcSmallNoscan(", how: after, old: "\t\tx := mallocgcSmallNoscanReuse(c, span, spc, size, needzero)\n",
		text: "\t\tif gomemOn {\n\t\t\tgomemMalloc(mp, gomemPathReuse|gomemNoscan|gomemZero(needzero), gomemSize, uintptr(x))\n\t\t}\n"},
	{file: "malloc.go", fn: "mallocgcSmallNoscan(", how: before, old: "\t\tv, span, checkGCTrigger = c.nextFree(",
		text: "\t\tif gomemOn {\n\t\t\tgomemMallocBegin(gomemNoscan|gomemZero(needzero), gomemSize)\n\t\t}\n"},
	{file: "malloc.go", fn: "mallocgcSmallNoscan(", how: before, old: "\tc.nextSample -= ",
		text: "\tif gomemOn {\n\t\tgomemMalloc(mp, gomemPathNoscan|gomemNoscan|gomemZero(needzero), gomemSize, uintptr(x))\n\t}\n"},

	{file: "malloc.go", fn: "mallocgcSmallScanNoHeader(", how: before, old: "\tmp := acquirem()\n", text: "\tgomemSize := size\n"},
	{file: "malloc.go", fn: "mallocgcSmallScanNoHeader(", how: before, old: "\t\tv, span, checkGCTrigger = c.nextFree(",
		text: "\t\tif gomemOn {\n\t\t\tgomemMallocBegin(gomemNeedzero, gomemSize)\n\t\t}\n"},
	{file: "malloc.go", fn: "mallocgcSmallScanNoHeader(", how: before, old: "\tc.nextSample -= ",
		text: "\tif gomemOn {\n\t\tgomemMalloc(mp, gomemPathScan|gomemNeedzero, gomemSize, uintptr(x))\n\t}\n"},

	{file: "malloc.go", fn: "mallocgcSmallScanHeader(", how: before, old: "\tmp := acquirem()\n", text: "\tgomemSize := size\n"},
	{file: "malloc.go", fn: "mallocgcSmallScanHeader(", how: before, old: "\t\tv, span, checkGCTrigger = c.nextFree(",
		text: "\t\tif gomemOn {\n\t\t\tgomemMallocBegin(gomemNeedzero, gomemSize)\n\t\t}\n"},
	{file: "malloc.go", fn: "mallocgcSmallScanHeader(", how: before, old: "\tc.nextSample -= ",
		text: "\tif gomemOn {\n\t\tgomemMalloc(mp, gomemPathScanHeader|gomemNeedzero, gomemSize, uintptr(x))\n\t}\n"},

	{file: "malloc.go", fn: "mallocgcLarge(", how: before, old: "\tmp := acquirem()\n", text: "\tgomemSize := size\n"},
	{file: "malloc.go", fn: "mallocgcLarge(", how: before, old: "\tspan := c.allocLarge(",
		text: "\tif gomemOn {\n\t\tgomemMallocBegin(gomemPointers(typ)|gomemZero(needzero), gomemSize)\n\t}\n"},
	{file: "malloc.go", fn: "mallocgcLarge(", how: instead, old: "c.allocLarge(", text: "c.gomemAllocLarge("},
	{file: "malloc.go", fn: "mallocgcLarge(", how: before, old: "\tc.nextSample -= ",
		text: "\tif gomemOn {\n\t\tgomemMalloc(mp, gomemPathLarge|gomemPointers(typ)|gomemZero(needzero), gomemSize, uintptr(x))\n\t}\n"},

	{since: 26, file: "malloc.go", fn: "freegc(", how: before, old: "\tv := uintptr(ptr)\n", text: "\tgomemFreeGC(ptr, size, noscan)\n"},

	// ---- the same in the generated functions (GOEXPERIMENT=sizespecializedmalloc; on by default since go1.27)
	{since: 26, until: 26, file: "malloc_generated.go", fn: "mallocgcTinySize*", funcs: 15, how: after, old: "\t\tc.tinyAllocs++\n",
		text: "\t\tif gomemOn {\n\t\t\tgomemMalloc(mp, gomemPathTinyHit|gomemNoscan|gomemNeedzero, size, uintptr(x))\n\t\t}\n"},
	{since: 26, until: 26, file: "malloc_generated.go", fn: "mallocgcTinySize*", funcs: 15, how: before, old: "\t\tv, span, checkGCTrigger = c.nextFree(",
		text: "\t\tif gomemOn {\n\t\t\tgomemMallocBegin(gomemNoscan|gomemNeedzero, size)\n\t\t}\n"},
	{since: 26, until: 26, file: "malloc_generated.go", fn: "mallocgcTinySize*", funcs: 15, how: before, old: "\tc.nextSample -= ",
		text: "\tif gomemOn {\n\t\tgomemMalloc(mp, gomemPathTinyNew|gomemNoscan|gomemNeedzero, size, uintptr(x))\n\t}\n"},

	{since: 26, until: 26, file: "malloc_generated.go", fn: "mallocgcSmallNoScanSC*", funcs: 25, how: after,
		old:  "\t\tv := mallocgcSmallNoscanReuse(c, span, spc, elemsize, needzero)\n",
		text: "\t\tif gomemOn {\n\t\t\tgomemMalloc(mp, gomemPathReuse|gomemNoscan|gomemZero(needzero), size, uintptr(v))\n\t\t}\n"},
	{since: 26, until: 26, file: "malloc_generated.go", fn: "mallocgcSmallNoScanSC*", funcs: 25, how: before, old: "\t\tv, span, checkGCTrigger = c.nextFree(",
		text: "\t\tif gomemOn {\n\t\t\tgomemMallocBegin(gomemNoscan|gomemZero(needzero), size)\n\t\t}\n"},
	{since: 26, until: 26, file: "malloc_generated.go", fn: "mallocgcSmallNoScanSC*", funcs: 25, how: before, old: "\tc.nextSample -= ",
		text: "\tif gomemOn {\n\t\tgomemMalloc(mp, gomemPathNoscan|gomemNoscan|gomemZero(needzero), size, uintptr(x))\n\t}\n"},

	{since: 26, until: 26, file: "malloc_generated.go", fn: "mallocgcSmallScanNoHeaderSC*", funcs: 26, how: before, old: "\t\tv, span, checkGCTrigger = c.nextFree(",
		text: "\t\tif gomemOn {\n\t\t\tgomemMallocBegin(gomemNeedzero, size)\n\t\t}\n"},
	{since: 26, until: 26, file: "malloc_generated.go", fn: "mallocgcSmallScanNoHeaderSC*", funcs: 26, how: before, old: "\tc.nextSample -= ",
		text: "\tif gomemOn {\n\t\tgomemMalloc(mp, gomemPathScan|gomemNeedzero, size, uintptr(x))\n\t}\n"},

	{since: 27, file: "malloc_generated.go", fn: "mallocgcTiny*", funcs: 2, how: after, old: "\t\tc.tinyAllocs++\n",
		text: "\t\tif gomemOn {\n\t\t\tgomemMalloc(mp, gomemPathTinyHit|gomemNoscan|gomemNeedzero, size, uintptr(x))\n\t\t}\n"},
	{since: 27, file: "malloc_generated.go", fn: "mallocgcTiny*", funcs: 2, how: before, old: "\t\tv, span, checkGCTrigger = c.nextFree(",
		text: "\t\tif gomemOn {\n\t\t\tgomemMallocBegin(gomemNoscan|gomemNeedzero, size)\n\t\t}\n"},
	{since: 27, file: "malloc_generated.go", fn: "mallocgcTiny*", funcs: 2, how: before, old: "\tc.nextSample -= ",
		text: "\tif gomemOn {\n\t\tgomemMalloc(mp, gomemPathTinyNew|gomemNoscan|gomemNeedzero, size, uintptr(x))\n\t}\n"},

	{since: 27, file: "malloc_generated.go", fn: "mallocgcSmallNoScanS*", funcs: 7, how: after, old: "\t\tx = mallocgcSmallNoscanReuse(c, span, spc, elemsize, needzero)\n",
		text: "\t\tif gomemOn {\n\t\t\tgomemMalloc(mp, gomemPathReuse|gomemNoscan|gomemZero(needzero), size, uintptr(x))\n\t\t}\n"},
	{since: 27, file: "malloc_generated.go", fn: "mallocgcSmallNoScanS*", funcs: 7, how: before, old: "\t\t\tv, span, checkGCTrigger = c.nextFree(",
		text: "\t\t\tif gomemOn {\n\t\t\t\tgomemMallocBegin(gomemNoscan|gomemZero(needzero), size)\n\t\t\t}\n"},
	{since: 27, file: "malloc_generated.go", fn: "mallocgcSmallNoScanS*", funcs: 7, how: before, old: "\tc.nextSample -= ",
		text: "\tif gomemOn {\n\t\tgomemMalloc(mp, gomemPathNoscan|gomemNoscan|gomemZero(needzero), size, uintptr(x))\n\t}\n"},

	{since: 27, file: "malloc_generated.go", fn: "mallocgcSmallScanNoHeaderSC*", funcs: 7, how: before, old: "\t\t\tv, span, checkGCTrigger = c.nextFree(",
		text: "\t\t\tif gomemOn {\n\t\t\t\tgomemMallocBegin(gomemNeedzero, size)\n\t\t\t}\n"},
	{since: 27, file: "malloc_generated.go", fn: "mallocgcSmallScanNoHeaderSC*", funcs: 7, how: before, old: "\tc.nextSample -= ",
		text: "\tif gomemOn {\n\t\tgomemMalloc(mp, gomemPathScan|gomemNeedzero, size, uintptr(x))\n\t}\n"},
	{since: 27, file: "malloc_generated.go", fn: "mallocgcSmallScanSlowPath(", how: before, old: "\t\t\tv, span, checkGCTrigger = c.nextFree(",
		text: "\t\t\tif gomemOn {\n\t\t\t\tgomemMallocBegin(gomemNeedzero, size)\n\t\t\t}\n"},
	{since: 27, file: "malloc_generated.go", fn: "mallocgcSmallScanSlowPath(", how: before, old: "\tc.nextSample -= ",
		text: "\tif gomemOn {\n\t\tgomemMalloc(mp, gomemPathScan|gomemNeedzero, size, uintptr(x))\n\t}\n"},

	// ---- mcache
	{file: "malloc.go", fn: "(c *mcache) nextFree(", how: instead, old: "\t\tc.refill(spc)\n", text: "\t\tc.gomemRefill(spc)\n"},
	{file: "mcache.go", fn: "(c *mcache) refill(", how: after, old: "\ts := c.alloc[spc]\n", text: "\tgomemRefillBegin(spc, s)\n"},
	{file: "mcache.go", fn: "(c *mcache) refill(", how: after, old: "\tc.alloc[spc] = s\n", text: "\tgomemRefillEnd(spc, s)\n"},
	{file: "mcache.go", fn: "allocmcache()", how: after, old: "\t\tc.flushGen.Store(mheap_.sweepgen)\n", text: "\t\tgomemMCacheAlloc()\n"},
	{file: "mcache.go", fn: "(c *mcache) prepareForSweep()", how: before, old: "\tc.releaseAll()\n", text: "\tgomemPrepareSweep(c)\n"},
	{file: "mstats.go", fn: "flushmcache(", how: before, old: "\tc.releaseAll()\n", text: "\tgomemFlushMCache(p)\n"},

	// ---- span sets: the slot is claimed under the recorder's lock
	{file: "mspanset.go", fn: "(b *spanSet) push(", how: instead, old: "uintptr(b.index.incTail().tail() - 1)",
		text: "b.gomemPushSlot(s)"},
	{file: "mspanset.go", fn: "(b *spanSet) pop()", how: before, old: "\tvar head, tail uint32\n",
		text: "\tif gomemOn && gomemIsCentral(b) {\n\t\treturn b.gomemPop()\n\t}\n"},
	{file: "mspanset.go", fn: "(b *spanSet) pop()", how: before,
		old:  "\ttop, bottom := head/spanSetBlockEntries, head%spanSetBlockEntries\n",
		text: "\treturn b.gomemPopSlot(head)\n}\n\n// gomemPopSlot is the second half of pop.\nfunc (b *spanSet) gomemPopSlot(head uint32) *mspan {\n"},

	// ---- sweeping
	{file: "mcentral.go", fn: "(c *mcentral) cacheSpan()", how: after, old: "\tsl = sweep.active.begin()\n", text: "\tgomemSweepActive(sl)\n"},
	{file: "mcentral.go", fn: "(c *mcentral) cacheSpan()", how: instead, n: 2, old: "sl.tryAcquire(s)",
		text: "sl.gomemAcquire(s, gomemByCacheSpan)"},
	{file: "mheap.go", fn: "(h *mheap) reclaimChunk(", how: instead, old: "sl.tryAcquire(s)",
		text: "sl.gomemAcquire(s, gomemByReclaim)"},
	{file: "mgcsweep.go", fn: "(s *mspan) ensureSwept()", how: instead, old: "sl.tryAcquire(s)",
		text: "sl.gomemAcquire(s, gomemByEnsureSwept)"},
	{file: "mgcsweep.go", fn: "sweepone()", how: before, old: "\tnpages := ^uintptr(0)\n", text: "\tgomemSweepOne()\n"},
	{file: "mgcsweep.go", fn: "sweepone()", how: instead, old: "\t\tif state := s.state.get(); state != mSpanInUse {\n",
		text: "\t\tgomemLocked, gomemOK, state := sl.gomemAcquireAny(s, gomemBySweepOne)\n\t\tif state != mSpanInUse {\n"},
	{file: "mgcsweep.go", fn: "sweepone()", how: instead, old: "if s, ok := sl.tryAcquire(s); ok {",
		text: "if s, ok := gomemLocked, gomemOK; ok {"},
	{file: "mgcsweep.go", fn: "sweepone()", how: instead, old: "\nfunc sweepone()", text: "\nfunc sweeponeGo()"},
	{file: "mgcsweep.go", fn: "(s *mspan) ensureSwept()", how: instead, old: "\nfunc (s *mspan) ensureSwept()",
		text: "\nfunc (s *mspan) ensureSweptGo()"},
	{file: "mgcsweep.go", fn: "(h *mheap) nextSpanForSweep()", how: instead, old: "sweep.centralIndex.load()", text: "gomemSCLoad()"},
	{file: "mgcsweep.go", fn: "(h *mheap) nextSpanForSweep()", how: instead, n: 2, old: "sweep.centralIndex.update(", text: "gomemSCUpdate("},
	{file: "mgcsweep.go", fn: "(sl *sweepLocked) sweep(", how: before, old: "\ts.allocCount = nalloc\n", text: "\tgomemSweep(s, nalloc, preserve)\n"},

	// ---- collection cycle
	{file: "mgc.go", fn: "setGCPhase(", how: after, old: "\twriteBarrier.enabled = gcphase == _GCmark || gcphase == _GCmarktermination\n",
		text: "\tgomemGCPhase(x)\n"},
	{file: "mgc.go", fn: "gcSweep(", how: after, old: "\tmheap_.sweepgen += 2\n", text: "\tgomemSweepGen()\n"},
	{file: "mgcsweep.go", fn: "finishsweep_m()", how: before, old: "\tsg := mheap_.sweepgen\n", text: "\tgomemFinishSweep()\n"},
	{file: "mgc.go", fn: "gcMarkTermination(", how: before, old: "\tmheap_.pages.scav.index.nextGen()\n", text: "\tgomemNextGen()\n"},
	{file: "mgc.go", fn: "gcMarkTermination(", how: after, old: "\t\tif pp.status == _Pidle {\n", text: "\t\t\tgomemFlushPCache(pp)\n"},

	// ---- pages and spans
	{file: "mheap.go", fn: "(h *mheap) allocSpan(", how: after, old: "\t\t\t*c = h.pages.allocToCache()\n", text: "\t\t\tgomemPCRefill(c)\n"},
	{file: "mheap.go", fn: "(h *mheap) allocSpan(", how: after, old: "\t\tbase, scav = c.alloc(npages)\n",
		text: "\t\tgomemPCAlloc(npages, base, scav)\n"},
	{file: "mheap.go", fn: "(h *mheap) allocSpan(", how: after, old: "\n\t\tbase, scav = h.pages.alloc(npages)\n",
		text: "\t\tgomemPAlloc(npages, base, scav)\n"},
	{file: "mheap.go", fn: "(h *mheap) allocSpan(", how: after, old: "\n\t\t\tbase, scav = h.pages.alloc(npages)\n",
		text: "\t\t\tgomemPAlloc(npages, base, scav)\n"},
	{file: "mheap.go", fn: "(h *mheap) allocSpan(", how: after, old: "\t\ts = h.allocMSpanLocked()\n", text: "\t\tgomemMSpanAlloc(s)\n"},
	{file: "mheap.go", fn: "(h *mheap) initSpan(", how: instead, old: "h.allocNeedsZero(base, npages)",
		text: "h.gomemAllocNeedsZero(base, npages)"},
	// Before go1.26 initSpan is not told how much of the span was scavenged.
	{until: 25, file: "mheap.go", fn: "(h *mheap) initSpan(", how: instead, old: "base, npages uintptr) {", text: "base, npages, scav uintptr) {"},
	{until: 25, file: "mheap.go", fn: "(h *mheap) allocSpan(", how: instead, old: "h.initSpan(s, typ, spanclass, base, npages)",
		text: "h.initSpan(s, typ, spanclass, base, npages, scav)"},
	{until: 25, file: "arena.go", fn: "(h *mheap) allocUserArenaChunk()", how: instead, old: "base, userArenaChunkPages)",
		text: "base, userArenaChunkPages, userArenaChunkBytes)"},
	{file: "mheap.go", fn: "(h *mheap) initSpan(", how: after, old: "\tpublicationBarrier()\n", text: "\tgomemSpanInit(s, typ, spanclass, scav)\n"},
	{file: "mheap.go", fn: "(h *mheap) freeSpanLocked(", how: before, old: "\th.pages.free(s.base(), s.npages)\n", text: "\tgomemSpanFree(s, typ)\n"},
	{file: "mheap.go", fn: "(h *mheap) allocManual(", how: before, old: "\treturn h.allocSpan(npages, typ, 0)\n",
		text: "\tgomemAllocManual(npages, typ)\n"},
	{file: "mheap.go", fn: "(h *mheap) freeManual(", how: before, old: "\ts.needzero = 1\n", text: "\tgomemFreeManual(s, typ)\n"},
	{until: 24, file: "mheap.go", fn: "(h *mheap) grow(", how: after, old: "av, asize := h.sysAlloc(ask, &h.arenaHints, true)\n",
		text: "\t\tgomemArena(av, asize, ask)\n"},
	{since: 25, file: "mheap.go", fn: "(h *mheap) grow(", how: after, old: "av, asize := h.sysAlloc(ask, &h.arenaHints, &h.heapArenas)\n",
		text: "\t\tgomemArena(av, asize, ask)\n"},
	{file: "mheap.go", fn: "(h *mheap) grow(", how: after, old: "\t\t\t\th.pages.grow(h.curArena.base, size)\n",
		text: "\t\t\t\tgomemPGrow(h.curArena.base, size)\n"},
	{file: "mheap.go", fn: "(h *mheap) grow(", how: after, old: "\th.pages.grow(v, nBase-v)\n", text: "\tgomemPGrow(v, nBase-v)\n"},
	{since: 26, file: "mheap.go", fn: "(h *mheap) grow(", how: after, old: "\t\t\th.pages.markRandomPaddingPages(v, randNumPages)\n",
		text: "\t\t\tgomemRandPad(v, randNumPages)\n"},
	{until: 24, file: "malloc.go", fn: "(h *mheap) sysAlloc(", how: after, old: "\t\t\tv = sysReserve(unsafe.Pointer(p), n)\n",
		text: "\t\t\tgomemReserve(p, n, 0, v)\n"},
	{until: 24, file: "malloc.go", fn: "(h *mheap) sysAlloc(", how: after, old: "\t\tv, size = sysReserveAligned(nil, n, heapArenaBytes)\n",
		text: "\t\tgomemReserve(0, n, size, v)\n"},
	{since: 25, file: "malloc.go", fn: "(h *mheap) sysAlloc(", how: after, old: "\t\t\tv = sysReserve(unsafe.Pointer(p), n, \"heap reservation\")\n",
		text: "\t\t\tgomemReserve(p, n, 0, v)\n"},
	{since: 25, file: "malloc.go", fn: "(h *mheap) sysAlloc(", how: after, old: "\t\tv, size = sysReserveAligned(nil, n, heapArenaBytes, \"heap\")\n",
		text: "\t\tgomemReserve(0, n, size, v)\n"},
	{file: "mpagecache.go", fn: "(c *pageCache) flush(", how: before, old: "\tci := chunkIndex(c.base)\n", text: "\tgomemPCFlush(c, p)\n"},

	// ---- scavenging: each step on one P, find under the heap lock
	{file: "mgcscavenge.go", fn: "(p *pageAlloc) scavenge(", how: instead, old: "\t\tci, pageIdx := p.scav.index.find(force)\n\t\tif ci == 0 {\n",
		text: "\t\tgomemM := acquirem()\n\t\tci, pageIdx := p.gomemFind(nbytes-released, force)\n\t\tif ci == 0 {\n\t\t\treleasem(gomemM)\n"},
	{file: "mgcscavenge.go", fn: "(p *pageAlloc) scavenge(", how: before, old: "\t\tif shouldStop != nil && shouldStop() {\n",
		text: "\t\treleasem(gomemM)\n"},
	{file: "mgcscavenge.go", fn: "(p *pageAlloc) scavengeOne(", how: after, old: "\t\t\tp.update(addr, uintptr(npages), true, true)\n",
		text: "\t\t\tgomemScav(p, gomemEvScavBegin, 2, uint64(addr), uint64(npages))\n"},
	{file: "mgcscavenge.go", fn: "(p *pageAlloc) scavengeOne(", how: after, old: "\t\t\tp.chunkOf(ci).scavenged.setRange(base, npages)\n",
		text: "\t\t\tgomemScav(p, gomemEvScavEnd, 2, uint64(addr), uint64(npages))\n"},
	{file: "mgcscavenge.go", fn: "(p *pageAlloc) scavengeOne(", how: after, old: "\tp.scav.index.setEmpty(ci)\n",
		text: "\tgomemScav(p, gomemEvScavEmpty, 1, uint64(ci), 0)\n"},

	// ---- stacks
	{file: "stack.go", fn: "stackalloc(", how: before, old: "\tvar v unsafe.Pointer\n", text: "\tgomemStackAlloc(n)\n"},
	{file: "stack.go", fn: "stackalloc(", how: before, old: "\n\treturn stack{uintptr(v), uintptr(v) + uintptr(n)}\n",
		text: "\n\tgomemStackEnd(v)"},
	{file: "stack.go", fn: "stackalloc(", how: before, old: "\t\tunlock(&stackLarge.lock)\n", text: "\t\tgomemStackLargePop(log2npage, s)\n"},
	{file: "stack.go", fn: "stackfree(", how: before, old: "\tif n < fixedStack<<_NumStackOrders && n < _StackCacheSize {\n",
		text: "\tgomemStackFree(v, n)\n"},
	{file: "stack.go", fn: "stackfree(", how: after, old: "\t\t\tstackLarge.free[log2npage].insert(s)\n",
		text: "\t\t\tgomemStack(gomemEvSLargePush, uint64(log2npage), s.startAddr)\n"},
	{file: "stack.go", fn: "stackpoolalloc(", how: before, old: "\treturn x\n",
		text: "\tgomemStack(gomemEvSpoolAlloc, uint64(order), uintptr(x))\n"},
	{file: "stack.go", fn: "stackpoolfree(", how: before, old: "\ts := spanOfUnchecked(uintptr(x))\n",
		text: "\tgomemStack(gomemEvSpoolFree, uint64(order)|uint64(gcphase)<<8, uintptr(x))\n"},
	{file: "stack.go", fn: "freeStackSpans()", how: before, old: "\t// Scan stack pools for empty stack spans.\n",
		text: "\tgomemFreeStackSpans()\n"},
	{file: "stack.go", fn: "freeStackSpans()", how: after, old: "\t\tlock(&stackpool[order].item.mu)\n", text: "\t\tgomemStackScan(order)\n"},
	{file: "stack.go", fn: "freeStackSpans()", how: after, old: "\tlock(&stackLarge.lock)\n", text: "\tgomemStackScan(len(stackpool))\n"},
}
