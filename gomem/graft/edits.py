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
    ("put", "mheap.go", "type mheap struct {", "before", "\tunused *specialfinalizer // never set", "\tgomem gomemBeside // what the C functions keep beside Go's fields\n\n"),
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
    ("line", C, "\t\"internal/runtime/sys\"\n", ""),

    ("body", B, "func (b *pageBits) setRange(", system("gomemPageBitsSetRange(b, uintptr(i), uintptr(n))")),
    ("body", B, "func (b *pageBits) clearRange(", system("gomemPageBitsClearRange(b, uintptr(i), uintptr(n))")),
    ("body", B, "func (b *pageBits) popcntRange(", system("s = uint(gomemPageBitsPopcntRange(b, uintptr(i), uintptr(n)))") + "\treturn s\n"),
    ("body", B, "func (b *pallocBits) summarize(", system("sum = gomemPallocBitsSummarize(b)", "var sum pallocSum|sum")),
    ("body", B, "func (b *pallocBits) find(", system("i, next = gomemPallocBitsFind(b, npages, uintptr(searchIdx))", "var i, next uintptr|uint(i), uint(next)")),
    ("body", B, "func (b *pallocBits) find1(", system("i = gomemPallocBitsFind1(b, uintptr(searchIdx))", "var i uintptr|uint(i)")),
    ("body", B, "func (b *pallocBits) findSmallN(", system("i, next = gomemPallocBitsFindSmallN(b, npages, uintptr(searchIdx))", "var i, next uintptr|uint(i), uint(next)")),
    ("body", B, "func (b *pallocBits) findLargeN(", system("i, next = gomemPallocBitsFindLargeN(b, npages, uintptr(searchIdx))", "var i, next uintptr|uint(i), uint(next)")),
    ("body", B, "func findBitRange64(", system("i = gomemFindBitRange64(c, uint64(n))", "var i uint64|uint(i)")),
    ("line", B, "\nimport (\n\t\"internal/runtime/sys\"\n)\n", ""),

    ("body", S, "func (p *pageAlloc) scavengeOne(", "\tvar delta heapStatsDelta\n\tn := gomemPageAllocScavengeOne(%s, p, uintptr(ci), uintptr(searchIdx), max, &delta)\n\tgomemBookScavenged(&delta)\n\treturn n\n" % ENV),
    ("body", S, "func fillAligned(", system("x = gomemFillAligned(x, uint64(m))") + "\treturn x\n"),
    ("body", S, "func (m *pallocData) findScavengeCandidate(", system("i, n = gomemFindScavengeCandidate(%s, m, uintptr(searchIdx), minimum, max)" % ENV, "var i, n uintptr|uint(i), uint(n)")),
    ("body", S, "func (s *scavengeIndex) find(", system("ci, page = gomemScavengeIndexFind(%s, s, gomemBool(force))" % ENV, "var ci, page uintptr|chunkIdx(ci), uint(page)")),
    ("body", S, "func (s *scavengeIndex) alloc(", system("gomemScavengeIndexAlloc(%s, s, uintptr(ci), uintptr(npages))" % ENV)),
    ("body", S, "func (s *scavengeIndex) free(", system("gomemScavengeIndexFree(%s, s, uintptr(ci), uintptr(page), uintptr(npages))" % ENV)),
    ("body", S, "func (s *scavengeIndex) nextGen(", system("gomemScavengeIndexNextGen(%s, s)" % ENV)),
    ("body", S, "func (s *scavengeIndex) setEmpty(", system("gomemScavengeIndexSetEmpty(s, uintptr(ci))")),
    ("line", S, "\t\"internal/runtime/sys\"\n\t\"unsafe\"\n", ""),
    ("line", "mpagealloc_64bit.go", "import (\n\t\"unsafe\"\n)\n", ""),
]

# ---- --check: counts at the end of a program
CHECK = [
    ("put", "proc.go", "func runExitHooks(", "before", "\texithook.Run(code)\n", "\tdefer gomemReport()\n"),
]
