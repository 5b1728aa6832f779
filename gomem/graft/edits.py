"""edits.py: what is changed in go1.26.8's package runtime, by level.

("body", file, "how the function's line begins", text)  the function's body becomes text
("put", file, fn, how, old, text[, n])                   within a function: text before, after or instead of old, which stands n times (1)
("line", file, old, text[, n])                           anywhere in a file: text instead of old, which stands n times (1)
An edit that does not fit exactly is an error that names it.
"""


def system(call, result=""):
    """A body that runs call on the system stack; result: declarations before, return after."""
    before, _, after = result.partition("|")
    text = ("\t%s\n" % before if before else "") + "\tsystemstack(func() {\n\t\t%s\n\t})\n" % call
    return text + ("\treturn %s\n" % after if after else "")


# ---- both levels
COMMON = [
    ("put", "mheap.go", "type mheap struct {", "after", "\tarenaHintAlloc             fixalloc // allocator for arenaHints\n", "\tgomem gomemBeside // what the C functions keep beside Go's fields\n"),
    # The counters that both languages write are in gomemStats.
    ("put", "mgcpacer.go", "type gcControllerState struct {", "cut", "\theapLive atomic.Uint64\n", ""),
    ("put", "mgcpacer.go", "type gcControllerState struct {", "cut", "\theapScan atomic.Uint64\n", ""),
    ("put", "mgcpacer.go", "type gcControllerState struct {", "cut", "\theapInUse    sysMemStat ", ""),
    ("put", "mgcpacer.go", "type gcControllerState struct {", "cut", "\theapReleased sysMemStat ", ""),
    ("put", "mgcpacer.go", "type gcControllerState struct {", "cut", "\theapFree     sysMemStat ", ""),
    ("put", "mgcpacer.go", "type gcControllerState struct {", "cut", "\ttotalAlloc   atomic.Uint64 ", ""),
    ("put", "mgcpacer.go", "type gcControllerState struct {", "cut", "\ttotalFree    atomic.Uint64 ", ""),
    ("put", "mgcpacer.go", "type gcControllerState struct {", "cut", "\tmappedReady  atomic.Uint64 ", "\t*gomemStats\n"),
    ("line", "mgcpacer.go", "var gcController gcControllerState\n", "var gcController = gcControllerState{gomemStats: &mheap_.gomem.stats}\n"),
    ("put", "mgcpacer.go", "func (c *gcControllerState) init(", "before", "\tc.heapMinimum = defaultHeapMinimum\n",
     "\tif c.gomemStats == nil {\n\t\tc.gomemStats = new(gomemStats) // in a test\n\t}\n"),
]

# ---- level pages
A, C, B, S = "mpagealloc.go", "mpagecache.go", "mpallocbits.go", "mgcscavenge.go"
ENV = "&mheap_.gomem.env"
HELD = "\tassertLockHeld(p.mheapLock)\n"
PAGES = [
    ("body", A, "func (p *pageAlloc) init(", system("gomemStart()\n\t\tgomemPageAllocInit(%s, p, mheapLock, sysStat, gomemBool(test))" % ENV)),
    ("body", A, "func (p *pageAlloc) grow(", HELD + system("gomemPageAllocGrow(%s, p, base, size)" % ENV)),
    ("body", A, "func (p *pageAlloc) enableChunkHugePages(", "\tgomemPageAllocEnableChunkHugePages(%s, p)\n" % ENV),
    ("body", A, "func (p *pageAlloc) update(", HELD + system("gomemPageAllocUpdate(%s, p, base, npages, gomemBool(contig), gomemBool(alloc))" % ENV)),
    ("body", A, "func (p *pageAlloc) allocRange(", HELD + system("scav = gomemPageAllocAllocRange(%s, p, base, npages)" % ENV, "var scav uintptr|scav")),
    ("body", A, "func (p *pageAlloc) find(", HELD + system("addr, search = gomemPageAllocFind(%s, p, npages)" % ENV, "var addr, search uintptr|addr, offAddr{search}")),
    ("body", A, "func (p *pageAlloc) findMappedAddr(", "\tthrow(\"findMappedAddr is in C\")\n\treturn addr\n"),
    ("body", A, "func (p *pageAlloc) alloc(", HELD + "\treturn gomemPageAllocAlloc(%s, p, npages)\n" % ENV),
    ("body", A, "func (p *pageAlloc) free(", HELD + "\tgomemPageAllocFree(%s, p, base, npages)\n" % ENV),
    ("body", A, "func (p *pageAlloc) markRandomPaddingPages(", HELD + system("gomemPageAllocMarkRandomPaddingPages(%s, p, base, npages)" % ENV)),
    ("body", A, "func mergeSummaries(", system("sum = gomemMergeSummaries(&sums[0], uintptr(len(sums)), uintptr(logMaxPagesPerSum))", "var sum pallocSum|sum")),
    ("body", "mpagealloc_64bit.go", "func (p *pageAlloc) sysInit(", "\tthrow(\"sysInit is in C\")\n"),
    ("body", "mpagealloc_64bit.go", "func (p *pageAlloc) sysGrow(", "\tthrow(\"sysGrow is in C\")\n"),
    ("body", "mpagealloc_64bit.go", "func (s *scavengeIndex) sysGrow(", "\tthrow(\"sysGrow is in C\")\n\treturn 0\n"),
    ("body", "mpagealloc_64bit.go", "func (s *scavengeIndex) sysInit(", "\tthrow(\"sysInit is in C\")\n\treturn 0\n"),

    ("body", C, "func (c *pageCache) alloc(", "\tbefore := *c\n" + system("addr, scav = gomemPageCacheAlloc(c, npages)", "var addr, scav uintptr|") +
     "\tif gomemChecks {\n\t\tgomemCheckCacheAlloc(before, c, npages, addr, scav)\n\t}\n\treturn addr, scav\n"),
    ("body", C, "func (c *pageCache) allocN(", system("addr, scav = gomemPageCacheAllocN(c, npages)", "var addr, scav uintptr|addr, scav")),
    ("body", C, "func (c *pageCache) flush(", HELD + "\tgomemPageCacheFlush(%s, c, p)\n" % ENV),
    ("body", C, "func (p *pageAlloc) allocToCache(", HELD + "\tvar c pageCache\n\tgomemPageAllocAllocToCache(%s, p, &c)\n\treturn c\n" % ENV),

    ("body", B, "func (b *pageBits) setRange(", system("gomemPageBitsSetRange(b, uintptr(i), uintptr(n))")),
    ("body", B, "func (b *pageBits) clearRange(", system("gomemPageBitsClearRange(b, uintptr(i), uintptr(n))")),
    ("body", B, "func (b *pageBits) popcntRange(", system("s = uint(gomemPageBitsPopcntRange(b, uintptr(i), uintptr(n)))") + "\treturn s\n"),
    ("body", B, "func (b *pallocBits) summarize(", system("sum = gomemPallocBitsSummarize(b)", "var sum pallocSum|sum")),
    ("body", B, "func (b *pallocBits) find(", system("i, next = gomemPallocBitsFind(b, npages, uintptr(searchIdx))", "var i, next uintptr|uint(i), uint(next)")),
    ("body", B, "func (b *pallocBits) find1(", system("i = gomemPallocBitsFind1(b, uintptr(searchIdx))", "var i uintptr|uint(i)")),
    ("body", B, "func (b *pallocBits) findSmallN(", system("i, next = gomemPallocBitsFindSmallN(b, npages, uintptr(searchIdx))", "var i, next uintptr|uint(i), uint(next)")),
    ("body", B, "func (b *pallocBits) findLargeN(", system("i, next = gomemPallocBitsFindLargeN(b, npages, uintptr(searchIdx))", "var i, next uintptr|uint(i), uint(next)")),
    ("body", B, "func findBitRange64(", system("i = gomemFindBitRange64(c, uint64(n))", "var i uint64|uint(i)")),

    ("body", S, "func (p *pageAlloc) scavengeOne(", "\tvar delta heapStatsDelta\n\tn := gomemPageAllocScavengeOne(%s, p, uintptr(ci), uintptr(searchIdx), max, &delta)\n\tgomemBookScavenged(&delta)\n\treturn n\n" % ENV),
    ("body", S, "func fillAligned(", system("x = gomemFillAligned(x, uint64(m))") + "\treturn x\n"),
    ("body", S, "func (m *pallocData) findScavengeCandidate(", system("i, n = gomemFindScavengeCandidate(%s, m, uintptr(searchIdx), minimum, max)" % ENV, "var i, n uintptr|uint(i), uint(n)")),
    ("body", S, "func (s *scavengeIndex) find(", system("ci, page = gomemScavengeIndexFind(%s, s, gomemBool(force))" % ENV, "var ci, page uintptr|chunkIdx(ci), uint(page)")),
    ("body", S, "func (s *scavengeIndex) alloc(", system("gomemScavengeIndexAlloc(%s, s, uintptr(ci), uintptr(npages))" % ENV)),
    ("body", S, "func (s *scavengeIndex) free(", system("gomemScavengeIndexFree(%s, s, uintptr(ci), uintptr(page), uintptr(npages))" % ENV)),
    ("body", S, "func (s *scavengeIndex) nextGen(", system("gomemScavengeIndexNextGen(%s, s)" % ENV)),
    ("body", S, "func (s *scavengeIndex) setEmpty(", system("gomemScavengeIndexSetEmpty(s, uintptr(ci))")),
]

# ---- level spans
H, G, W, M = "mheap.go", "mgc.go", "mgcsweep.go", "mbitmap.go"
THROW = "\tthrow(\"gomem: this is done in C\")\n"
SPANS = [
    # What C has elsewhere is the same word for Go.
    ("put", "runtime2.go", "type p struct {", "instead", "\tmcache      *mcache\n\tpcache      pageCache\n", "\tgomemP      // mcache, pcache and mspancache, in C's order\n"),
    ("cut", "runtime2.go", "type p struct {", "\tmspancache struct {\n", "\t\tbuf [128]*mspan\n\t}\n"),
    ("line", "malloc.go", "\tif bits > heapRandSeedBitsRemaining {\n", "\tif bits > mheap_.gomem.heapRandSeedBitsRemaining {\n"),
    ("line", "malloc.go", "\tr := heapRandSeed >> (64 - bits)\n\theapRandSeed <<= bits\n\theapRandSeedBitsRemaining -= bits\n",
     "\tr := mheap_.gomem.heapRandSeed >> (64 - bits)\n\tmheap_.gomem.heapRandSeed <<= bits\n\tmheap_.gomem.heapRandSeedBitsRemaining -= bits\n"),
    ("line", "malloc.go", "\t\t\theapRandSeed, heapRandSeedBitsRemaining = ", "\t\t\tmheap_.gomem.heapRandSeed, mheap_.gomem.heapRandSeedBitsRemaining = "),
    ("line", "mcache.go", "&emptymspan", "&mheap_.gomem.emptymspan", 4),
    ("line", "mcentral.go", "sweep.active.", "mheap_.gomem.sweep.active.", 4),
    ("line", G, "sweep.active.", "mheap_.gomem.sweep.active.", 4),
    ("line", G, "sweep.centralIndex.", "mheap_.gomem.sweep.centralIndex."),
    ("line", W, "\tsl := sweep.active.", "\tsl := mheap_.gomem.sweep.active.", 2),
    ("line", W, "\tif sweep.active.sweepers", "\tif mheap_.gomem.sweep.active.sweepers"),
    ("line", W, "noMoreWork = sweep.active.", "noMoreWork = mheap_.gomem.sweep.active."),
    ("line", W, "\tsweep.active.end(sl)\n", "\tmheap_.gomem.sweep.active.end(sl)\n", 3),
    ("line", W, "return sweep.active.isDone()", "return mheap_.gomem.sweep.active.isDone()"),
    ("line", W, "sc := sweep.centralIndex.", "sc := mheap_.gomem.sweep.centralIndex."),
    ("line", W, "\tsweep.centralIndex.update", "\tmheap_.gomem.sweep.centralIndex.update", 2),
    ("line", H, "sweep.active.", "mheap_.gomem.sweep.active.", 2),

    # mheap
    ("put", H, "func (h *mheap) init(", "before", "\tlockInit(&h.lock, lockRankMheap)\n", "\tgomemStart()\n"),
    ("put", H, "func (h *mheap) init(", "cut", "\th.spanalloc.init(", ""),
    ("put", H, "func (h *mheap) init(", "cut", "\th.arenaHintAlloc.init(", ""),
    ("put", H, "func (h *mheap) init(", "cut", "\th.spanalloc.zero = false", ""),
    ("put", H, "func (h *mheap) init(", "instead", "\th.pages.init(&h.lock, &memstats.gcMiscSys, false)\n", "\tgomemMheapInit(h)\n"),
    ("body", H, "func (h *mheap) alloc(", "\tvar s *mspan\n\tsystemstack(func() { s = gomemAllocSpan(npages, spanclass) })\n\treturn s\n"),
    ("body", H, "func (h *mheap) allocManual(", "\treturn gomemAllocManual(npages, typ)\n"),
    ("body", H, "func (h *mheap) allocSpan(", THROW + "\treturn nil\n"),
    ("body", H, "func (h *mheap) allocNeedsZero(", system("needZero = gomemMheapAllocNeedsZero(h, base, npage)&1 != 0") + "\treturn needZero\n"),
    ("body", H, "func (h *mheap) grow(", THROW + "\treturn 0, false\n"),
    ("body", H, "func (h *mheap) reclaim(", THROW),
    ("body", H, "func (h *mheap) reclaimChunk(", THROW + "\treturn 0\n"),
    ("body", H, "func (h *mheap) freeSpan(", "\tsystemstack(func() {\n\t\tpp := gomemGetP()\n\t\tgomemMheapFreeSpan(h, pp, s)\n\t\tgomemBook(pp)\n\t})\n"),
    ("body", H, "func (h *mheap) freeManual(", "\tgomemFreeManual(s, typ)\n"),
    ("body", H, "func (h *mheap) freeSpanLocked(", THROW),
    ("body", "malloc.go", "func (h *mheap) sysAlloc(", system("addr, size = gomemMheapSysAlloc(h, n, hintList, arenaList)", "var addr uintptr|unsafe.Pointer(addr), size")),
    ("body", H, "func newMarkBits(", system("bits = gomemNewMarkBits(&mheap_, nelems)", "var bits *gcBits|bits")),
    ("body", H, "func nextMarkBitArenaEpoch(", system("gomemNextMarkBitArenaEpoch(&mheap_)")),

    # objects of one size, sets, lists by class, caches
    ("body", "mfixalloc.go", "func (f *fixalloc) init(", system("gomemFixallocInit(&mheap_.gomem.env, f, size, stat)")),
    ("body", "mfixalloc.go", "func (f *fixalloc) alloc(", system("p = gomemFixalloc(f)", "var p uintptr|unsafe.Pointer(p)")),
    ("body", "mfixalloc.go", "func (f *fixalloc) free(", system("gomemFixallocFree(&mheap_.gomem.env, f, p)")),
    ("body", "mspanset.go", "func (b *spanSet) push(", system("gomemSpanSetPush(&mheap_.gomem.env, b, s)")),
    ("body", "mspanset.go", "func (b *spanSet) pop(", system("s = gomemSpanSetPop(&mheap_.gomem.env, b)", "var s *mspan|s")),
    ("body", "mspanset.go", "func (b *spanSet) reset(", system("gomemSpanSetReset(&mheap_.gomem.env, b)")),
    ("body", "mcentral.go", "func (c *mcentral) cacheSpan(", THROW + "\treturn nil\n"),
    ("body", "mcentral.go", "func (c *mcentral) grow(", THROW + "\treturn nil\n"),
    ("body", "mcentral.go", "func (c *mcentral) uncacheSpan(", "\tsystemstack(func() {\n\t\tpp := gomemGetP()\n\t\tgomemUncacheSpan(&mheap_, pp, c, s)\n\t\tgomemBook(pp)\n\t})\n"),
    ("body", "mcache.go", "func (c *mcache) refill(", "\tsystemstack(func() { gomemRefillCache(c, spc) })\n"),
    ("body", M, "func (s *mspan) refillAllocCache(", system("gomemRefillAllocCache(s, uintptr(whichByte))")),
    ("body", M, "func (s *mspan) nextFreeIndex(", system("i = gomemNextFreeIndex(&mheap_, s)", "var i uintptr|uint16(i)")),
    ("body", M, "func (s *mspan) countAlloc(", system("n = gomemCountAlloc(s)", "var n uintptr|int(n)")),

    # the sweep of a span: what Go does before the marks are looked at, and pacing, are Go's own text in functions of their own
    ("name", W, "func (sl *sweepLocked) sweep(", "func (sl *sweepLocked) gomemGoSweep("),
]
# (function made of a part of Go's text, file, function, first line, line behind the last)
PARTS = [
    ("func gomemScavengeAssist(scav, growth uintptr) {\n\th := &mheap_\n\tpp := getg().m.p.ptr()\n", H, "func (h *mheap) allocSpan(",
     "\tbytesToScavenge := uintptr(0)\n", "\t// Initialize the span.\n"),
    ("func gomemSweepSpecials(s *mspan) {\n\tsize := s.elemsize\n", W, "func (sl *sweepLocked) sweep(",
     "\thadSpecials := s.specials != nil\n", "\t// Copy over and clear the inline mark bits if necessary.\n"),
]

# ---- --check: counts at the end of a program
CHECK = [
    ("put", "proc.go", "func runExitHooks(", "before", "\texithook.Run(code)\n", "\tdefer gomemReport()\n"),
]
