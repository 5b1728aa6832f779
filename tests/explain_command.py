#!/usr/bin/env python3
"""Runs `gomem explain` for sizes, types and platforms, and checks its figures against what follows from the constants of the platform and Go's
size classes alone: class, rounding, header, slots, addresses, arena index, chunk, entries of the radix tree, states of memory, sums.

usage: explain_command.py   (GOMEM names the command)

Exit status: 0 all holds, 1 something does not."""
import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GOMEM = os.environ.get("GOMEM", "build/release/gomem")
UNITS = {"byte": 1, "bytes": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
problems = []
checked = 0
where = ""


def must(ok, what):
    global checked
    checked += 1
    if not ok:
        problems.append("%s: %s" % (where, what))


def equal(got, want, what):
    must(got == want, "%s: %s, not %s" % (what, got, want))


def run(*args):
    return subprocess.run([GOMEM, "explain", *map(str, args)], cwd=ROOT, capture_output=True, text=True)


def size_classes():
    text = (ROOT / "gomem/sizeclasses.h").read_text()
    return [[int(n) for n in re.search(r"%s\[68\] = \{(.*?)\}" % name, text, re.S).group(1).replace("\n", " ").split(",") if n.strip()]
            for name in ("class_to_size", "class_to_allocnpages")]


SIZES, PAGES = size_classes()
LAYOUTS = {each["platform"]: each for each in json.loads(subprocess.run([GOMEM, "layout", "--json", "--all"], capture_output=True, text=True,
                                                                         check=True).stdout)}


def nbytes(text):
    number, unit = text.split()
    return int(number) * UNITS[unit]


def one(pattern, text, what):
    found = re.findall(pattern, text, re.M)
    equal(len(found), 1, "lines of %s" % what)
    groups = re.compile(pattern).groups
    return found[0] if found else ("0",) * groups if groups > 1 else "0"


# ---- what must follow from the request

class Want:
    def __init__(self, size, pointers, L):
        word = L["ptrSize"]
        self.kind = ("zerobase" if size == 0 else "large:" if size > L["maxSmallSize"] - L["mallocHeaderSize"] else "small, scan, with a header"
                     if pointers and size > L["minSizeForMallocHeader"] else "small, scan: " if pointers else
                     "tiny" if size < L["maxTinySize"] else "small, noscan")
        self.header = L["mallocHeaderSize"] if self.kind.endswith("header") else 0
        if size == 0:
            return
        page = L["pageSize"]
        if self.kind == "large:":
            self.sizeclass, self.npages, self.nelems = 0, (size + page - 1) // page, 1
            self.elemsize = self.npages * page
        else:
            taken = 16 if self.kind == "tiny" else size + self.header
            self.sizeclass = next(c for c in range(1, 68) if SIZES[c] >= taken)
            self.elemsize, self.npages = SIZES[self.sizeclass], PAGES[self.sizeclass]
            span = self.npages * page
            small = self.elemsize <= L["minSizeForMallocHeader"]
            room = span - (span // word // 8 if small and pointers else 0) - (128 if small and self.elemsize >= 16 else 0)
            self.nelems = room // self.elemsize
        self.spanclass = self.sizeclass << 1 | (not pointers)


# ---- states of memory

RULES = {"sysAlloc": {"None": "Ready"}, "sysReserve": {"None": "Reserved"}, "sysMap": {"Reserved": "Prepared"}, "sysUsed": {"Prepared": "Ready"},
         "sysUnused": {"Ready": "Prepared"}, "sysUnreserve": {"Reserved": "None"}, "sysFree": {s: "None" for s in ("Prepared", "Ready")}}


def check_memory(text, real):
    """Each call moves memory as Go's mem.go says; what is Ready in the end is what the heap counts; each call has the system call that it needs."""
    lines = [line for line in text.splitlines() if not line.strip().startswith("...")]
    ready = 0
    for at, line in enumerate(lines):
        call = re.match(r"      (sys\w+)\((\S+), (\d+ \w+)\)  (?:stays (\w+)|(\w+) -> (\w+)): (.*)$", line)
        if not call:
            must(not line.startswith("      sys"), "a call for memory that cannot be read: " + line)
            continue
        name, addr, n, stays, before, after, what = call.groups()
        if stays is None:
            equal(after, RULES.get(name, {}).get(before), "%s of memory that is %s" % (name, before))
            if not what.startswith("arena index"):  # of which the heap does not count
                ready += nbytes(n) * ((after == "Ready") - (before == "Ready"))
        under = lines[at + 1] if at + 1 < len(lines) else ""
        made = re.match(r"          (\w+)\((\S+), (\d+)(.*)\) = (\S+)$", under)
        needs = {"sysReserve": "mmap", "sysAlloc": "mmap", "sysMap": "mmap", "sysUnused": "madvise", "sysUnreserve": "munmap",
                 "sysNoHugePage": "madvise"}.get(name) if real else None
        equal(made.group(1) if made else None, needs, "system call under " + line.strip())
        if made and needs:
            equal(int(made.group(3)), nbytes(n), "bytes of the system call under " + line.strip())
            equal(made.group(5), addr if needs == "mmap" else "0", "result of the system call under " + line.strip())
            if name in ("sysReserve", "sysMap"):
                must(("PROT_NONE" in under) == (name == "sysReserve"), "protection: " + under)
            if name == "sysUnused":
                must("MADV_DONTNEED" in under, "advice: " + under)
    return ready


# ---- one run

def address_figures(text, L, x):
    """The object's arena, chunk and page, computed with Python's integers."""
    mask = (1 << 64) - 1
    offset = int(L["arenaBaseOffset"], 0)
    rel = (x - offset) & mask
    index = rel // L["heapArenaBytes"]
    l2 = L["arenaL2Bits"]
    got = one(r"^  arena index  .* = (\d+): L1 (\d+), L2 (\d+)$", text, "arena index")
    equal(tuple(map(int, got)), (index, index >> l2 if L["arenaL1Bits"] else 0, index & ((1 << l2) - 1) if L["arenaL1Bits"] else index),
          "arena index")
    page = rel % L["heapArenaBytes"] // L["pageSize"]
    equal(one(r"^  heapArena    of (\S+) on: page (\d+) of it (.*)$", text, "heapArena"),
          ("%#x" % ((index * L["heapArenaBytes"] + offset) & mask), str(page), "belongs to this span"), "heapArena")
    chunk = rel // L["pallocChunkBytes"]
    equal(one(r"^  chunk        (\d+), page (\d+): (.*)$", text, "chunk"),
          (str(chunk), str(rel % L["pallocChunkBytes"] // L["pageSize"]), "in use, not scavenged"), "chunk")
    levels = re.findall(r"^    level (\d), entry (\d+) of (\d+) pages:", text, re.M)
    equal(len(levels), L["summaryLevels"], "levels of the radix tree")
    for level, entry, pages in levels:
        below = L["summaryLevels"] - 1 - int(level)
        equal((int(entry), int(pages)), (chunk >> 3 * below, L["pallocChunkPages"] << 3 * below), "level " + level)


def check_object(text, want, L, size, ptr_words, real):
    for grown, pages in re.findall(r"^    the page heap grows by (\d+ \w+) at \S+; (\d+) pages of it scavenged$", text, re.M):
        equal(int(pages), nbytes(grown) // L["pageSize"], "pages that the page heap grows by, and those scavenged")
    must("the page heap grows by" in text, "the page heap grows")
    base = int(one(r"^    a span is made at (\S+): (\d+) pages?, span class (\d+), (\d+) slots?, known to be zero", text, "the span")[0], 16)
    equal(one(r"^    a span is made at \S+: (\d+) pages?, span class (\d+), (\d+) slots?,", text, "the span"),
          (str(want.npages), str(want.spanclass), str(want.nelems)), "the span")
    x = int(one(r"^    the object is at (\S+), slot 0 of the span at \S+$", text, "the object"), 16)
    equal(x, base + want.header, "the object's address")
    equal(one(r"^  span class   (\d+ = .*)$", text, "span class"), "%d = %d << 1 | %d, binary %s %d: size class %d, %s" % (
        want.spanclass, want.sizeclass, want.spanclass & 1, format(want.sizeclass, "07b"), want.spanclass & 1, want.sizeclass,
        "noscan" if want.spanclass & 1 else "scan"), "span class")
    rounded = one(r"^  rounded to   (.*)$", text, "rounding")
    must(("%d bytes: size class %d," % (want.elemsize, want.sizeclass) in rounded) if want.sizeclass else
         nbytes(rounded.split(":")[0]) == want.elemsize, "rounded to " + rounded)
    address_figures(text, L, x)
    if real and want.kind.startswith("small, scan: "):
        bits = one(r"^               of this object: ([01]+)", text, "heap bits")
        words = min(want.elemsize // L["ptrSize"], 32)
        equal(bits, "".join("1" if i < size // L["ptrSize"] and ptr_words(i) else "0" for i in range(words)), "heap bits")
    if real and want.header:
        must("holds the address of the type" in text, "the header holds the type")


def check_end(text, want):
    freed = want.kind != "tiny"
    must(("its mark bit is 0" if freed else "its mark bit is 1") in text, "mark bit")
    must(("is in no span any more" if freed else "is still that of an object") in text, "the object is gone")
    memory = re.findall(r"^  memory       in use (\d+ \w+), free (\d+ \w+), given back or never used (\d+ \w+);", text, re.M)
    sums = {sum(map(nbytes, each)) for each in memory}
    equal(len(sums), 1, "sums of pages in use, free, and given back: %s" % sorted(sums))
    equal(nbytes(memory[0][0]), want.npages * 8192, "in use after the allocation")
    equal(nbytes(memory[-1][0]), 0 if freed else want.npages * 8192, "in use at the end")
    released = nbytes(one(r"^  released     (\d+ \w+)$", text, "released"))
    equal(nbytes(memory[-2][1]) - nbytes(memory[-1][1]), released, "free bytes that were released")
    return released


WORDS = re.compile(r"\b(?:[a-z]+[A-Z]\w*|PROT_\w+|MAP_\w+|MADV_\w+|mcaches?|mcentrals?|mspans?|spans?|slots?|arenas?|chunks?|summar(?:y|ies)|noscan|scan|"
                   r"swept|unswept|sweep|sweepgen|freeindex|scavenged|scavenger|padding pages?|page cache|page heap|radix tree|heap bits|header|mark bits?|"
                   r"tiny block|zerobase|refill|partial|full|large object|size class|span class|madvise|m?unmap|mmap|pages?|metadata|root)\b")


def check_words(text):
    """Each word of Go's in the narration has its line at the end."""
    body, _, end = text.partition("\nWords\n")
    explained = set(re.findall(r"^  (\S(?:\S| \S)*?)  +\S", end, re.M))
    singular = {"summaries": "summary", "unswept": "swept", "spanClass": "span class", "sysReserveAligned": "sysReserve"}
    for found in sorted(set(WORDS.findall(body))):
        name = singular.get(found, found)
        must(name in explained or name.rstrip("s") in explained, "no line for the word " + found)


def check(size, *args, platform=None, ptr_words=None):
    global where
    argv = [size, *args] + (["--platform", platform] if platform else [])
    where = " ".join(map(str, argv))
    got = run(*argv)
    equal((got.returncode, got.stderr), (0, ""), "exit code and errors")
    text, L = got.stdout, LAYOUTS[platform or "linux/amd64"]
    want = Want(size, ptr_words is not None, L)
    must(("  kind         " + ("nothing" if size == 0 else want.kind)) in text, "kind " + want.kind)
    check_words(text)
    must("left out" not in text, "nothing is left out")
    ready = check_memory(text, platform is None)
    shown = re.findall(r"Ready with all metadata: (\d+ \w+)$", text, re.M)
    must(shown and nbytes(shown[-1]) == ready, "Ready in the end: %s, by the calls %d" % (shown[-1:], ready))
    if size > 0:
        check_object(text.split("The second allocation")[0], want, L, size, ptr_words, platform is None)
        released = check_end(text, want)
        whole = L["defaultPhysPageSize"] <= L["pageSize"] or want.npages * L["pageSize"] >= 2 * L["defaultPhysPageSize"]
        must(released > 0 or not whole or want.kind == "tiny", "pages went back to the operating system")
    return text


def check_transitions():
    """What the words say of a call is what the table of states says."""
    global where
    where = "words and os --table"
    source = (ROOT / "cli/explain_words.c").read_text()
    table = subprocess.run([GOMEM, "os", "--table"], capture_output=True, text=True, check=True).stdout.splitlines()
    states = ("None", "Reserved", "Prepared", "Ready")
    for row in table[2:]:
        name, *after = [cell.strip() for cell in row.strip("| ").split("|")]
        moves = {before: to for before, to in zip(states, after) if to not in ("-", "stays")}
        said = re.search(r'"%s",\s*"(.*?)"' % name, source)
        if name in ("sysUnmap", "sysPopulate", "sysUnpopulate"):  # gomem's own, when memory runs out and where the heap grows
            continue
        must(said is not None, "no line for " + name)
        if name != "sysFree" and moves:
            (before, to), = moves.items()
            must(said.group(1).startswith("%s -> %s" % (before, to)), "%s: %s, by the table %s" % (name, said.group(1), moves))
        elif moves:
            must(said.group(1) == "any state -> None" and set(moves.values()) == {"None"}, "sysFree")


def check_again():
    global where
    text = check(100, "--again")
    counts = [list(map(int, re.findall(r"(\d+) [a-z]", line))) for line in re.findall(r"^  the (?:first|second) .*$", text, re.M)]
    equal(len(counts), 2, "lines of counts")
    must(all(n > 0 for n in counts[0]), "the first takes steps of each kind: %s" % counts[0])
    equal(counts[1], [0, 0, 0, 0, 0], "the second takes none")
    must("slot 1 of the span" in text, "the second has the next slot")
    equal(text, check(100, "--again"), "a second run")
    # A span of its own each: the second finds the arena there.
    large = check(40000, "--again")
    first, second = [list(map(int, re.findall(r"(\d+) [a-z]", line))) for line in re.findall(r"^  the (?:first|second) .*$", large, re.M)]
    must(0 < second[0] < first[0] and second[3] < first[3], "the second large object takes fewer steps: %s, %s" % (first, second))


BAD = [([], "SIZE"), (["x"], "x"), (["-1"], "-1"), (["12", "13"], "13"), (["12q"], "12q"), (["99999999999999999999"], "99999999999999999999"),
       (["18446744073709551615"], "18446744073709551615"), (["17179869184GiB"], "17179869184GiB"), (["8", "--platform", "linux/vax"], "linux/vax"),
       (["8", "--platform"], "--platform"), (["8", "--type"], "--type"), (["8", "--type", "T:8"], "T:8"), (["8", "--type", ":8:8"], ":8:8"),
       (["8", "--type", "T:8:16"], "T:8:16"), (["8", "--type", "T:0:0"], "T:0:0"), (["12", "--type", "T:8:8"], "T:8:8"), (["8", "--type", "T:x:8"], "T:x:8"),
       (["7", "--scan"], "7"), (["0", "--scan"], "0"), (["8", "--scan", "--type", "T:8:8"], "--scan and --type"), (["8", "--bogus"], "--bogus"),
       (["12", "--type", "T:12:12"], "T:12:12"), (["5GiB", "--platform", "linux/386"], "5GiB"), (["100TiB"], "100TiB"), (["200000GiB"], "200000GiB")]


def check_bad():
    global where
    for args, named in BAD:
        where = "bad: " + " ".join(args)
        got = run(*args)
        equal((got.returncode, got.stdout), (2, ""), "exit code and output")
        must(got.stderr.startswith("gomem explain: %s: " % named) and got.stderr.count("\n") == 1, "message: " + got.stderr)
    where = "--help"
    must(run("--help").returncode == 0 and "--again" in run("--help").stdout, "help")


def main():
    for size in (0, 1, 8, 15, 16, 17, 100, 512, 513, 1024, 1025, 8192, 32760, 32761, 32768, 100000, 1 << 20):
        check(size)
    for size in (8, 16, 24, 512, 520, 1024, 32752, 32760, 32768, 1 << 20):
        check(size, "--scan", ptr_words=lambda i: True)
    check(48, "--type", "node:24:8", ptr_words=lambda i: i % 3 == 0)
    check(48, "--type", "node:24:16", ptr_words=lambda i: i % 3 < 2)
    check(48, "--type", "bytes:6:0")
    check(1024, "--type", "page:1024:16", ptr_words=lambda i: i < 2)
    check(8 << 20, "--scan", ptr_words=lambda i: True)
    check_transitions()
    check_again()
    for platform in LAYOUTS:
        check(100, platform=platform)
        check(64, "--scan", platform=platform, ptr_words=lambda i: True)
    for platform in ("linux/386", "windows/amd64", "js/wasm", "aix/ppc64", "plan9/amd64", "ios/arm64"):
        for size in (5, 136, 600, 40000):
            check(size, platform=platform)
        check(600, "--scan", platform=platform, ptr_words=lambda i: True)
    check_bad()
    for problem in problems[:40]:
        print(problem)
    print("%d of %d checks hold" % (checked - len(problems), checked))
    return 1 if problems else 0


sys.exit(main())
