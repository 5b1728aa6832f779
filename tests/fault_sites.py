#!/usr/bin/env python3
"""Every call in gomem/ that asks the OS for memory was made to fail and, where memory may lie elsewhere, was granted elsewhere.

usage: fault_sites.py SOURCE_DIR TEST_FAULTS      TEST_FAULTS: the test of faults, built without -O2 (which loses frames of tail calls)

The call sites are read from the sources, the places of faults from the stacks that the test prints."""
import re
import subprocess
import sys
from pathlib import Path

ASKS = {"sysAlloc": ("alloc", True), "sysReserve": ("reserve", True), "sysReserveAligned": ("reserve", True), "sysMap": ("map", False),
        "sysUsed": ("used", False)}
# Call sites that no fault can reach, and why.
UNREACHED = {
    ("malloc.c", "sysReserveAligned", 1): "first arena of 32-bit heaps: no layout of a plain build",
    ("mem.c", "sysReserve", 2): "second reservation of platforms that cannot give back a part (Windows): no layout of a plain build",
    ("persistentalloc.c", "sysMap", 1): "linear allocator of 32-bit heaps: no layout of a plain build",
    ("persistentalloc.c", "sysUsed", 1): "linear allocator of 32-bit heaps: no layout of a plain build",
}


def sites(source):
    """(file, function called, which of them in the file): lines"""
    found = {}
    for path in sorted(source.glob("gomem/*.c")):
        if path.name in ("mem_sim.c", "mem_linux.c", "mem_fault.c"):
            continue
        seen = {}
        for number, line in enumerate(path.read_text().splitlines(), 1):
            for name in re.findall(r"\b(sys(?:Alloc|ReserveAligned|Reserve|Map|Used))\(env|\b(sys(?:Alloc|ReserveAligned|Reserve|Map|Used))\(&h->env",
                                   line):
                name = name[0] or name[1]
                if re.match(r"(void \*|bool )", line):
                    continue  # its definition
                seen[name] = seen.get(name, 0) + 1
                found[(path.name, name, seen[name])] = number
    return found


def main(argv):
    source, test = Path(argv[0]), argv[1]
    run = subprocess.run(["setarch", "-R", test, "--sites"], capture_output=True, text=True)
    if run.returncode != 0:
        print(run.stdout[-2000:] + run.stderr[-2000:])
        return 1
    stacks = {}
    for line in run.stdout.splitlines():
        if line.startswith("site "):
            _, call, what, *frames = line.split()
            stacks.setdefault((call, what), set()).update(frames)
    head = subprocess.run(["readelf", "-hW", test], capture_output=True, text=True, check=True).stdout
    base = 0x555555554000 if "DYN" in head else 0
    addresses = sorted({int(f, 16) for frames in stacks.values() for f in frames})
    asked = "\n".join("%x" % (a - base - 1) for a in addresses if 0 < a - base < 1 << 28)
    known = [a for a in addresses if 0 < a - base < 1 << 28]
    out = subprocess.run(["addr2line", "-a", "-i", "-e", test], input=asked, capture_output=True, text=True, check=True).stdout
    places, at = {}, -1
    for line in out.splitlines():
        if line.startswith("0x"):
            at += 1
            places[known[at]] = set()
            continue
        found = re.match(r".*/gomem/([^/:]+):(\d+)", line)
        if found:
            places[known[at]].add((found.group(1), int(found.group(2))))
    hit = {key: set().union(*(places.get(int(f, 16), set()) for f in frames)) for key, frames in stacks.items()}
    total = failed = moving = moved = 0
    problems = []
    for (name, function, nth), number in sorted(sites(source).items()):
        call, moves = ASKS[function]
        line_hit = lambda what: any((name, n) in hit.get((call, what), set()) for n in range(number, number + 3))
        f, m = line_hit("failed"), line_hit("moved")
        why = UNREACHED.get((name, function, nth))
        print("%-20s %4d  %-18s %-8s %-8s %s" % (name, number, function, "failed" if f else "-", "moved" if m else "-" if moves else "", why or ""))
        if why:
            if f:
                problems.append("%s:%d is reached after all" % (name, number))
            continue
        total, failed = total + 1, failed + f
        moving, moved = moving + moves, moved + (m and moves)
        if not f or (moves and not m):
            problems.append("%s:%d: %s was not tried" % (name, number, function))
    for problem in problems:
        print("FAILED " + problem)
    print("call sites of the OS: %d of %d failing, %d of %d moving; %d cannot be reached here" % (failed, total, moved, moving, len(UNREACHED)))
    return 1 if problems or total == 0 else 0


sys.exit(main(sys.argv[1:]))
