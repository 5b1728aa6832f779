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
    ("put", "mheap.go", "type mheap struct {", "after", "\tarenaHintAlloc             fixalloc // allocator for arenaHints\n", "\tgomem graftBeside // what the C functions keep beside Go's fields\n"),
    # The counters that both languages write are in graftStats.
    ("put", "mgcpacer.go", "type gcControllerState struct {", "cut", "\theapLive atomic.Uint64\n", ""),
    ("put", "mgcpacer.go", "type gcControllerState struct {", "cut", "\theapScan atomic.Uint64\n", ""),
    ("put", "mgcpacer.go", "type gcControllerState struct {", "cut", "\theapInUse    sysMemStat ", ""),
    ("put", "mgcpacer.go", "type gcControllerState struct {", "cut", "\theapReleased sysMemStat ", ""),
    ("put", "mgcpacer.go", "type gcControllerState struct {", "cut", "\theapFree     sysMemStat ", ""),
    ("put", "mgcpacer.go", "type gcControllerState struct {", "cut", "\ttotalAlloc   atomic.Uint64 ", ""),
    ("put", "mgcpacer.go", "type gcControllerState struct {", "cut", "\ttotalFree    atomic.Uint64 ", ""),
    ("put", "mgcpacer.go", "type gcControllerState struct {", "cut", "\tmappedReady  atomic.Uint64 ", "\t*graftStats\n"),
    ("line", "mgcpacer.go", "var gcController gcControllerState\n", "var gcController = gcControllerState{graftStats: &mheap_.gomem.stats}\n"),
    ("put", "mgcpacer.go", "func (c *gcControllerState) init(", "before", "\tc.heapMinimum = defaultHeapMinimum\n",
     "\tif c.graftStats == nil {\n\t\tc.graftStats = new(graftStats) // in a test\n\t}\n"),
]

# ---- level pages
A, C, B, S = "mpagealloc.go", "mpagecache.go", "mpallocbits.go", "mgcscavenge.go"
ENV = "&mheap_.gomem.env"
HELD = "\tassertLockHeld(p.mheapLock)\n"
PAGES = [
    ("body", A, "func (p *pageAlloc) init(", system("graftStart()\n\t\tgraftPageAllocInit(%s, p, mheapLock, sysStat, graftBool(test))" % ENV)),
    ("body", A, "func (p *pageAlloc) grow(", HELD + system("graftPageAllocGrow(%s, p, base, size)" % ENV)),
    ("body", A, "func (p *pageAlloc) enableChunkHugePages(", "\tgraftPageAllocEnableChunkHugePages(%s, p)\n" % ENV),
    ("body", A, "func (p *pageAlloc) update(", HELD + system("graftPageAllocUpdate(%s, p, base, npages, graftBool(contig), graftBool(alloc))" % ENV)),
    ("body", A, "func (p *pageAlloc) allocRange(", HELD + system("scav = graftPageAllocAllocRange(%s, p, base, npages)" % ENV, "var scav uintptr|scav")),
    ("body", A, "func (p *pageAlloc) find(", HELD + system("addr, search = graftPageAllocFind(%s, p, npages)" % ENV, "var addr, search uintptr|addr, offAddr{search}")),
    ("body", A, "func (p *pageAlloc) findMappedAddr(", "\tthrow(\"findMappedAddr is in C\")\n\treturn addr\n"),
    ("body", A, "func (p *pageAlloc) alloc(", HELD + "\treturn graftPageAllocAlloc(%s, p, npages)\n" % ENV),
    ("body", A, "func (p *pageAlloc) free(", HELD + "\tgraftPageAllocFree(%s, p, base, npages)\n" % ENV),
    ("body", A, "func (p *pageAlloc) markRandomPaddingPages(", HELD + system("graftPageAllocMarkRandomPaddingPages(%s, p, base, npages)" % ENV)),
    ("body", A, "func mergeSummaries(", system("sum = graftMergeSummaries(&sums[0], uintptr(len(sums)), uintptr(logMaxPagesPerSum))", "var sum pallocSum|sum")),
    ("body", "mpagealloc_64bit.go", "func (p *pageAlloc) sysInit(", "\tthrow(\"sysInit is in C\")\n"),
    ("body", "mpagealloc_64bit.go", "func (p *pageAlloc) sysGrow(", "\tthrow(\"sysGrow is in C\")\n"),
    ("body", "mpagealloc_64bit.go", "func (s *scavengeIndex) sysGrow(", "\tthrow(\"sysGrow is in C\")\n\treturn 0\n"),
    ("body", "mpagealloc_64bit.go", "func (s *scavengeIndex) sysInit(", "\tthrow(\"sysInit is in C\")\n\treturn 0\n"),

    ("body", C, "func (c *pageCache) alloc(", "\tbefore := *c\n" + system("addr, scav = graftPageCacheAlloc(c, npages)", "var addr, scav uintptr|") +
     "\tif graftChecks {\n\t\tgraftCheckCacheAlloc(before, c, npages, addr, scav)\n\t}\n\treturn addr, scav\n"),
    ("body", C, "func (c *pageCache) allocN(", system("addr, scav = graftPageCacheAllocN(c, npages)", "var addr, scav uintptr|addr, scav")),
    ("body", C, "func (c *pageCache) flush(", HELD + "\tgraftPageCacheFlush(%s, c, p)\n" % ENV),
    ("body", C, "func (p *pageAlloc) allocToCache(", HELD + "\tvar c pageCache\n\tgraftPageAllocAllocToCache(%s, p, &c)\n\treturn c\n" % ENV),

    ("body", B, "func (b *pageBits) setRange(", system("graftPageBitsSetRange(b, uintptr(i), uintptr(n))")),
    ("body", B, "func (b *pageBits) clearRange(", system("graftPageBitsClearRange(b, uintptr(i), uintptr(n))")),
    ("body", B, "func (b *pageBits) popcntRange(", system("s = uint(graftPageBitsPopcntRange(b, uintptr(i), uintptr(n)))") + "\treturn s\n"),
    ("body", B, "func (b *pallocBits) summarize(", system("sum = graftPallocBitsSummarize(b)", "var sum pallocSum|sum")),
    ("body", B, "func (b *pallocBits) find(", system("i, next = graftPallocBitsFind(b, npages, uintptr(searchIdx))", "var i, next uintptr|uint(i), uint(next)")),
    ("body", B, "func (b *pallocBits) find1(", system("i = graftPallocBitsFind1(b, uintptr(searchIdx))", "var i uintptr|uint(i)")),
    ("body", B, "func (b *pallocBits) findSmallN(", system("i, next = graftPallocBitsFindSmallN(b, npages, uintptr(searchIdx))", "var i, next uintptr|uint(i), uint(next)")),
    ("body", B, "func (b *pallocBits) findLargeN(", system("i, next = graftPallocBitsFindLargeN(b, npages, uintptr(searchIdx))", "var i, next uintptr|uint(i), uint(next)")),
    ("body", B, "func findBitRange64(", system("i = graftFindBitRange64(c, uint64(n))", "var i uint64|uint(i)")),

    ("body", S, "func (p *pageAlloc) scavengeOne(", "\tvar delta heapStatsDelta\n\tn := graftPageAllocScavengeOne(%s, p, uintptr(ci), uintptr(searchIdx), max, &delta)\n\tgraftBookScavenged(&delta)\n\treturn n\n" % ENV),
    ("body", S, "func fillAligned(", system("x = graftFillAligned(x, uint64(m))") + "\treturn x\n"),
    ("body", S, "func (m *pallocData) findScavengeCandidate(", system("i, n = graftFindScavengeCandidate(%s, m, uintptr(searchIdx), minimum, max)" % ENV, "var i, n uintptr|uint(i), uint(n)")),
    ("body", S, "func (s *scavengeIndex) find(", system("ci, page = graftScavengeIndexFind(%s, s, graftBool(force))" % ENV, "var ci, page uintptr|chunkIdx(ci), uint(page)")),
    ("body", S, "func (s *scavengeIndex) alloc(", system("graftScavengeIndexAlloc(%s, s, uintptr(ci), uintptr(npages))" % ENV)),
    ("body", S, "func (s *scavengeIndex) free(", system("graftScavengeIndexFree(%s, s, uintptr(ci), uintptr(page), uintptr(npages))" % ENV)),
    ("body", S, "func (s *scavengeIndex) nextGen(", system("graftScavengeIndexNextGen(%s, s)" % ENV)),
    ("body", S, "func (s *scavengeIndex) setEmpty(", system("graftScavengeIndexSetEmpty(s, uintptr(ci))")),
]

# ---- level spans
H, G, W, M = "mheap.go", "mgc.go", "mgcsweep.go", "mbitmap.go"
THROW = "\tthrow(\"gomem: this is done in C\")\n"
SPANS = [
    # What C has elsewhere is the same word for Go.
    ("put", "runtime2.go", "type p struct {", "instead", "\tmcache      *mcache\n\tpcache      pageCache\n", "\tgraftP      // mcache, pcache and mspancache, in C's order\n"),
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
    ("line", H, "sweep.active.", "mheap_.gomem.sweep.active.", 2),

    # mheap
    ("put", H, "func (h *mheap) init(", "before", "\tlockInit(&h.lock, lockRankMheap)\n", "\tgraftStart()\n"),
    ("put", H, "func (h *mheap) init(", "cut", "\th.spanalloc.init(", ""),
    ("put", H, "func (h *mheap) init(", "cut", "\th.arenaHintAlloc.init(", ""),
    ("put", H, "func (h *mheap) init(", "cut", "\th.spanalloc.zero = false", ""),
    ("put", H, "func (h *mheap) init(", "instead", "\th.pages.init(&h.lock, &memstats.gcMiscSys, false)\n", "\tgraftMheapInit(h)\n"),
    ("body", H, "func (h *mheap) alloc(", "\tvar s *mspan\n\tsystemstack(func() { s = graftAllocSpan(npages, spanclass) })\n\treturn s\n"),
    ("body", H, "func (h *mheap) allocManual(", "\treturn graftAllocManual(npages, typ)\n"),
    ("body", H, "func (h *mheap) allocSpan(", THROW + "\treturn nil\n"),
    ("body", H, "func (h *mheap) allocNeedsZero(", system("needZero = graftMheapAllocNeedsZero(h, base, npage)&1 != 0") + "\treturn needZero\n"),
    ("body", H, "func (h *mheap) grow(", THROW + "\treturn 0, false\n"),
    ("body", H, "func (h *mheap) reclaim(", THROW),
    ("body", H, "func (h *mheap) reclaimChunk(", THROW + "\treturn 0\n"),
    ("body", H, "func (h *mheap) freeSpan(", "\tsystemstack(func() {\n\t\tpp := graftGetP()\n\t\tgraftMheapFreeSpan(h, pp, s)\n\t\tgraftBook(pp)\n\t})\n"),
    ("body", H, "func (h *mheap) freeManual(", "\tgraftFreeManual(s, typ)\n"),
    ("body", H, "func (h *mheap) freeSpanLocked(", THROW),
    ("body", "malloc.go", "func (h *mheap) sysAlloc(", system("addr, size = graftMheapSysAlloc(h, n, hintList, arenaList)", "var addr uintptr|unsafe.Pointer(addr), size")),
    ("body", H, "func newMarkBits(", system("bits = graftNewMarkBits(&mheap_, nelems)", "var bits *gcBits|bits")),
    ("body", H, "func nextMarkBitArenaEpoch(", system("graftNextMarkBitArenaEpoch(&mheap_)")),

    # objects of one size, sets, lists by class, caches
    ("body", "mfixalloc.go", "func (f *fixalloc) init(", system("graftFixallocInit(&mheap_.gomem.env, f, size, stat)")),
    ("body", "mfixalloc.go", "func (f *fixalloc) alloc(", system("p = graftFixalloc(f)", "var p uintptr|unsafe.Pointer(p)")),
    ("body", "mfixalloc.go", "func (f *fixalloc) free(", system("graftFixallocFree(&mheap_.gomem.env, f, p)")),
    ("body", "mspanset.go", "func (b *spanSet) push(", system("graftSpanSetPush(&mheap_.gomem.env, b, s, 0)")),
    ("body", "mspanset.go", "func (b *spanSet) pop(", system("s = graftSpanSetPop(&mheap_.gomem.env, b, 0)", "var s *mspan|s")),
    ("body", "mspanset.go", "func (b *spanSet) reset(", system("graftSpanSetReset(&mheap_.gomem.env, b)")),
    ("body", "mcentral.go", "func (c *mcentral) cacheSpan(", THROW + "\treturn nil\n"),
    ("body", "mcentral.go", "func (c *mcentral) grow(", THROW + "\treturn nil\n"),
    ("body", "mcentral.go", "func (c *mcentral) uncacheSpan(", "\tsystemstack(func() {\n\t\tpp := graftGetP()\n\t\tgraftUncacheSpan(&mheap_, pp, c, s)\n\t\tgraftBook(pp)\n\t})\n"),
    ("body", "mcache.go", "func (c *mcache) refill(", "\tsystemstack(func() { graftRefillCache(c, spc) })\n"),
    ("body", M, "func (s *mspan) refillAllocCache(", system("graftRefillAllocCache(s, uintptr(whichByte))")),
    ("body", M, "func (s *mspan) nextFreeIndex(", system("i = graftNextFreeIndex(&mheap_, s)", "var i uintptr|uint16(i)")),
    ("body", M, "func (s *mspan) countAlloc(", system("n = graftCountAlloc(s)", "var n uintptr|int(n)")),

    # the sweep of a span: what Go does before the marks are looked at, and pacing, are Go's own text in functions of their own
    ("name", W, "func (sl *sweepLocked) sweep(", "func (sl *sweepLocked) graftGoSweep("),
]
# without --record; else the recorder has these places
SPANS_NORECORD = [
    ("line", W, "sc := sweep.centralIndex.", "sc := mheap_.gomem.sweep.centralIndex."),
    ("line", W, "\tsweep.centralIndex.update", "\tmheap_.gomem.sweep.centralIndex.update", 2),
]
# (function made of a part of Go's text, file, function, first line, line behind the last)
PARTS = [
    ("func graftScavengeAssist(scav, growth uintptr) {\n\th := &mheap_\n\tpp := getg().m.p.ptr()\n", H, "func (h *mheap) allocSpan(",
     "\tbytesToScavenge := uintptr(0)\n", "\t// Initialize the span.\n"),
    ("func graftSweepSpecials(s *mspan) {\n\tsize := s.elemsize\n", W, "func (sl *sweepLocked) sweep(",
     "\thadSpecials := s.specials != nil\n", "\t// Copy over and clear the inline mark bits if necessary.\n"),
]

# ---- --check: counts at the end of a program
CHECK = [
    ("put", "proc.go", "func runExitHooks(", "before", "\texithook.Run(code)\n", "\tdefer graftReport()\n"),
]

# ---- --record: what the recorder put into functions that are C now, and the C functions don't tell
RECORD = [
    ("put", C, "func (c *pageCache) flush(", "before", "\tgraftPageCacheFlush(", "\tif !c.empty() {\n\t\tgomemPCFlush(c, p)\n\t}\n"),
]
# also at level spans; and the recorder reads what C has elsewhere
R = "zz_gomem_record.go"
SPANS_RECORD = [
    ("line", R, "&sweep.centralIndex", "&mheap_.gomem.sweep.centralIndex", 2),
    ("line", R, "&emptymspan", "&mheap_.gomem.emptymspan"),
    ("line", "malloc.go", "gomemSeed(heapRandSeed)", "gomemSeed(mheap_.gomem.heapRandSeed)"),
    ("put", H, "func (h *mheap) allocManual(", "before", "\treturn graftAllocManual(", "\tgomemAllocManual(npages, typ)\n"),
    ("put", H, "func (h *mheap) freeManual(", "before", "\tgraftFreeManual(", "\tgomemFreeManual(s, typ)\n"),
    ("put", "mspanset.go", "func (b *spanSet) push(", "instead", ", 0)", ", gomemSetID(b))"),
    ("put", "mspanset.go", "func (b *spanSet) pop(", "instead", ", 0)", ", gomemSetID(b))"),
]
