"""Breaks the port in one place at a time, and expects the goldens and the live comparison to notice (tools/goldens.py bite).

A bite is one change of the sources in gomem/, in a copy. With it the goldens of its kind must fail, and so must a stream of new programs of that
kind; without any, both must pass. The file of a bite must hold its text exactly once, so that a bite does not get lost when the port changes."""
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "build" / "bite"
# Enough programs that each bite shows in them.
PROGRAMS = 200
FLAGS = ["-std=c17", "-O1", "-g", "-D_GNU_SOURCE", "-pthread"]

# kind, name, file, text, what it becomes
BITES = (
    ("bits", "large runs", "mpallocbits.c", "if (size != 0 && s + size >= npages) {", "if (size != 0 && s + size > npages) {"),
    ("bits", "longest run", "mpallocbits.c", "if (most < 64 - 2) {", "if (most < 4) {"),
    ("bits", "scavenge candidate", "mgcscavenge.c", "if (hugePageBelow >= end - run) {", "if (hugePageBelow > end - run) {"),
    ("bitrange", "findBitRange64", "mpallocbits.c", "while (cut > width) {", "while (cut > width + 1) {"),
    ("bitrange", "fillAligned", "mgcscavenge.c", "0x7fff7fff7fff7fff,", "0x7fff7fff7ffe7fff,"),
    ("sums", "pack", "mpagealloc.h", "if (max == full) {", "if (start == full - 1) {"),
    ("sums", "merge", "mpagealloc.c", "m.end = s.end == whole ? m.end + whole : s.end;", "m.end = s.end;"),
    ("pagecache", "alloc", "mpagecache.c", "\tc->cache &= ~bit;\n\tc->scav &= ~bit;", "\tc->cache &= ~bit;"),
    ("pagecache", "allocN", "mpagecache.c", "\tc->cache &= ~mask;\n\tc->scav &= ~mask;", "\tc->cache &= ~mask;"),
    ("pagealloc", "search address", "mpagealloc.c", "*searchAddr = pageAlloc_findMappedAddr(env, p, w.base);\n\t\t\treturn",
     "*searchAddr = w.base;\n\t\t\treturn"),
    ("pagealloc", "free", "mpagealloc.c", "pallocBits_free(&chunkOf(L, p, r.ci)->pallocBits, r.page, r.npages);\n\t\tscavengeIndex_free",
     "pallocBits_free(&chunkOf(L, p, r.ci)->pallocBits, r.page, r.npages);\n\t\tpageBits_clearRange(&chunkOf(L, p, r.ci)->scavenged, 0, 1);\n"
     "\t\tscavengeIndex_free"),
    ("pagealloc", "grow", "mpagealloc.c", "if (end > p->end) {", "if (end > p->end + 1) {"),
    ("pagealloc", "cache", "mpagecache.c", "c.base + ((uintptr_t)(pageCachePages - 1) << L->pageShift)",
     "c.base + ((uintptr_t)(pageCachePages - 2) << L->pageShift)"),
    ("pagealloc", "scavenge", "mgcscavenge.c", "pageBits_setRange(&chunk->scavenged, base, npages);\n\tlab_event(env, EV_SCAVEND",
     "pageBits_setRange(&chunk->scavenged, base, 1);\n\tlab_event(env, EV_SCAVEND"),
    ("scavindex", "generation", "mgcscavenge.c", "sc->lastInUse = sc->inUse;", "sc->lastInUse = 0;"),
    ("scavindex", "cursor", "mgcscavenge.c", "atomicOffAddr_StoreMin(L, cursor, newSearchAddr);", "(void)newSearchAddr;"),
    ("scavindex", "density", "mgcscavenge.c", "return lastSparse && sc.inUse < L->scavChunkHiOccPages;",
     "return lastSparse && sc.inUse <= L->scavChunkHiOccPages;"),
    ("ranges", "successor", "mranges.c", "\t\t\treturn i + 1;\n", "\t\t\treturn i;\n"),
    ("ranges", "coalesce", "mranges.c", "bool coalescesUp = i < a->len && ", "bool coalescesUp = i + 1 < a->len && "),
    ("ranges", "marked address", "mranges.c", "while (old >= v && ", "while (old > v + 0x1000 && "),
    ("sizeclass", "class of a size", "mcache.h", "(size - L->smallSizeMax + L->largeSizeDiv - 1) / L->largeSizeDiv",
     "(size - L->smallSizeMax + L->largeSizeDiv) / L->largeSizeDiv"),
    ("sizeclass", "header", "mheap.h", "return userSize <= L->minSizeForMallocHeader;", "return userSize < L->minSizeForMallocHeader;"),
    ("spanclass", "noscan bit", "mheap.h", "(spanClass)(sizeclass << 1 | (noscan ? 1 : 0));", "(spanClass)(sizeclass << 1 | (noscan ? 0 : 1));"),
    ("heapbits", "second word", "mbitmap.h", "(loadBits64(dst + 8) & ~lowBits64(n - bits0)) | src >> bits0", "loadBits64(dst + 8) | src >> bits0"),
    ("heapbits", "arrays", "mbitmap.h", "for (uintptr_t i = typ->size; i <= lastElem; i += typ->size) {",
     "for (uintptr_t i = typ->size; i < lastElem; i += typ->size) {"),
    ("heapbits", "header", "mbitmap.c", "return typ != NULL && typeHasPointerAt(L, typ, off - (uintptr_t)L->mallocHeaderSize);",
     "return typ != NULL && typeHasPointerAt(L, typ, off);"),
    ("arena", "index", "mheap.h", "return (p - (uintptr_t)L->arenaBaseOffset) >> L->logHeapArenaBytes;", "return p >> L->logHeapArenaBytes;"),
    ("arena", "chunk", "mpagealloc.h", "return (unsigned)((p & (layout_chunkBytes(L) - 1)) >> L->pageShift);",
     "return (unsigned)((p & (layout_chunkBytes(L) - 2)) >> L->pageShift) & 255;"),
)
TESTS = ("goldens.c", "goldens_objects.c", "goldens_pages.c", "differential.c", "test_goldens.c")


class Tree:
    """A copy of gomem/ and of what compares it; compiles what a bite changed."""

    def __init__(self):
        shutil.rmtree(WORK, ignore_errors=True)
        shutil.copytree(ROOT / "gomem", WORK / "gomem")
        (WORK / "tests").mkdir()
        for name in (*TESTS, "goldens.h"):
            shutil.copy(ROOT / "tests" / name, WORK / "tests")
        self.cc = os.environ.get("CC", "cc")
        self.sources = [*sorted((WORK / "gomem").glob("*.c")), *(WORK / "tests" / t for t in TESTS)]
        self.compile(self.sources)

    def run(self, *argv):
        done = subprocess.run([str(a) for a in argv], cwd=WORK, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            sys.exit("%s\ngoldens.py: failed: %s" % (done.stdout[-4000:], " ".join(map(str, argv))))

    def compile(self, sources):
        jobs = max(1, os.cpu_count() or 1)
        for i in range(0, len(sources), jobs):
            running = [subprocess.Popen([self.cc, *FLAGS, "-I.", "-c", str(s), "-o", str(s.with_suffix(".o"))], cwd=WORK) for s in sources[i:i + jobs]]
            if any([p.wait() for p in running]):
                sys.exit("goldens.py: the copy does not compile")

    def link(self):
        objects = [s.with_suffix(".o") for s in self.sources]
        self.run(self.cc, *FLAGS, "-o", "differential", *(o for o in objects if o.name != "test_goldens.o"))
        self.run(self.cc, *FLAGS, "-o", "test_goldens", *(o for o in objects if o.name != "differential.o"), "-lcmocka", "-lzstd")

    def change(self, name, text):
        path = WORK / "gomem" / name
        path.write_text(text)
        self.compile(self.sources if path.suffix == ".h" else [path])
        self.link()


DIFFERENT = re.compile(r"seed \d+, kind (?P<kind>\w+), (?P<at>program \d+, operation \d+) \(line \d+\): answer (?P<answer>\d+) differs\n"
                       r"  operation (?P<operation>.*) =.*\n  Go       (?P<go>.*)\n  gomem    (?P<gomem>.*)")


def where(found):
    """The place of a difference, and the first two answers that differ."""
    i = int(found["answer"]) - 1
    go, gomem = found["go"].split(), found["gomem"].split()
    there = found["gomem"].strip() if "throws" in found["gomem"] else gomem[i] if i < len(gomem) else "none"
    return found["at"], "%s: answer %d: Go %s, gomem %s" % (found["operation"], i + 1, go[i] if i < len(go) else "none", there)


def goldens(kind):
    """None if the goldens of the kind pass, else the difference that the test found."""
    done = subprocess.run([str(WORK / "test_goldens")], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    if re.search(r"^\[       OK \] %s$" % kind, done.stdout, re.M):
        return None
    for found in DIFFERENT.finditer(done.stdout):
        if found["kind"] == kind:
            return where(found)
    sys.exit("%s\ngoldens.py: the goldens of %s neither pass nor differ" % (done.stdout, kind))


def live(ask_live, kind):
    """The same for new programs."""
    code, said = ask_live(str(WORK / "differential"), "-gomem.kind=" + kind, "-gomem.programs=%d" % PROGRAMS, "-gomem.seed=99")
    found = DIFFERENT.search(said)
    if code == 0:
        return None
    if code == 1 and found:
        return where(found)
    sys.exit("%s\ngoldens.py: a stream of %s ended with %d" % (said, kind, code))


def chosen(args):
    bites = [b for b in BITES if not args.names or b[0] in args.names or b[1] in args.names]
    if not bites:
        sys.exit("goldens.py: no such bite; --list shows them")
    for _, name, file, old, _ in bites:
        if (ROOT / "gomem" / file).read_text().count(old) != 1:
            sys.exit("goldens.py: bite %s: its text does not stand once in gomem/%s" % (name, file))
    return bites


def one(tree, bite, ask_live):
    kind, name, file, old, new = bite
    text = (ROOT / "gomem" / file).read_text()
    tree.change(file, text.replace(old, new))
    in_file, in_stream = goldens(kind), live(ask_live, kind)
    tree.change(file, text)
    print("%-10s %-21s gomem/%-15s goldens: %-29s live: %s" %
          (kind, name, file, in_file[0] if in_file else "MISSED", in_stream[0] if in_stream else "MISSED"), flush=True)
    if in_file:
        print("    " + in_file[1], flush=True)
    return bool(in_file and in_stream)


def main(args, ask_live):
    bites = chosen(args)
    if args.list:
        for kind, name, file, old, new in bites:
            print("%s, %s: gomem/%s\n    %s\n    %s" % (kind, name, file, old.replace("\n", "\n    "), new.replace("\n", "\n    ")))
        return 0
    tree = Tree()
    tree.link()
    kinds = list(dict.fromkeys(b[0] for b in bites))
    for kind in kinds:
        if goldens(kind) or live(ask_live, kind):
            sys.exit("goldens.py: %s: the unchanged copy fails" % kind)
    print("unchanged: %d of %d kinds pass, goldens and differential" % (len(kinds), len(kinds)), flush=True)
    noticed = sum(one(tree, b, ask_live) for b in bites)
    print("%d of %d bites noticed by both" % (noticed, len(bites)))
    return 0 if noticed == len(bites) else 1
