#!/usr/bin/env python3
"""Writes what is generated in the documentation, or checks that it is what would be written.

usage: make_docs.py [--check]      GOMEM names the command (build/release/gomem)

  docs/FIRST_ALLOCATION.md  after <!-- explain ARGS; N -->     section N of what `gomem explain ARGS` prints (0: before the first, words: the last)
  docs/STATES.md            after <!-- os --table -->         the table of states
  docs/READING.md           after <!-- route -->, <!-- functions -->  from tools/go_functions.txt and the sources, with links

With --check links may be off by some lines: sources change more often than one wants to read them here."""
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GOMEM = os.environ.get("GOMEM", str(ROOT / "build/release/gomem"))
SLACK = 40  # lines that a link may be off

# What to read first: each function, and what to see there.
ROUTE = [
    ("mallocgcInline", "the door: size 0, the mark phase, then one of five paths"),
    ("mallocgcTiny", "objects below 16 bytes share a block"),
    ("mallocgcSmallNoscan", "size class, span class, a slot; zero it, publish it"),
    ("nextFreeFast", "the next free slot is a trailing zero count away"),
    ("mcache_refill", "the P's span is full: give it back, get another"),
    ("mcentral_cacheSpan", "swept with room? unswept with room? a fresh one"),
    ("mheap_allocSpan", "pages from the P's page cache, or from the page heap under its lock"),
    ("pageAlloc_find", "down the radix tree to the first run of free pages"),
    ("mheap_grow", "the heap gets another piece of an arena"),
    ("mheap_sysAlloc", "an arena: at a hint, and its metadata"),
    ("sysMap", "states of memory, each call checked against docs/STATES.md"),
    ("gcDrain", "mark: what is reached"),
    ("mspan_sweep", "mark bits become allocBits: what was not reached is free"),
    ("mheap_freeSpanLocked", "an empty span's pages go back to the page heap"),
    ("pageAlloc_scavengeOne", "free pages go back to the operating system"),
]


def run(*args):
    return subprocess.run([GOMEM, *args], check=True, capture_output=True, text=True).stdout


# ---- runs

def section(text, which):
    parts = re.split(r"\n(?=\d+\. |Words\n)", text)
    if which == "words":
        return parts[-1].partition("\n")[2].rstrip("\n") + "\n"
    return (parts[0] if which == "0" else next(p for p in parts if p.startswith(which + ". "))).rstrip("\n") + "\n"


def fill_blocks(text):
    def block(found):
        args, which = found.group(1).split(), found.group(2)
        return "%s\n```text\n%s```" % (found.group(0).split("\n")[0], section(run("explain", *args), which))
    return re.sub(r"<!-- explain (.*?); (\w+) -->\n```text\n.*?```", block, text, flags=re.S)


# ---- functions

def definitions():
    """Where each function of gomem/ is defined: its body, not a prototype."""
    found = {}
    for path in sorted([*(ROOT / "gomem").glob("*.h"), *(ROOT / "gomem").glob("*.c")]):
        text = re.sub(r"__attribute__\(\(.*?\)\) ?|_Atomic\([^()]*(?:\([^()]*\))?[^()]*\) ?", "", path.read_text())
        lines = text.splitlines()
        for number, line in enumerate(lines, 1):
            start = re.match(r"[A-Za-z_][\w\s*]*?\b(\w+)\(", line)
            if not start or line.startswith(("typedef", "#")):
                continue
            head = line
            for more in lines[number:number + 6]:
                if "{" in head or head.rstrip().endswith(";"):
                    break
                head += more
            if "{" in head and not head.split("{")[0].rstrip().endswith((";", "=")):
                found.setdefault(start.group(1), (path.name, number))
    return found


def link(name, where):
    if name not in where:
        sys.exit("make_docs.py: no definition of %s in gomem/" % name)
    return "[`%s`](../gomem/%s#L%d)" % (name, *where[name])


def route(where):
    return "".join("%d. %s: %s.\n" % (n, link(name, where), what) for n, (name, what) in enumerate(ROUTE, 1))


def functions(where):
    files = {}
    for line in (ROOT / "tools/go_functions.txt").read_text().splitlines():
        found = re.fullmatch(r"(\S+) (\S+) -> (\S.*)", line)
        if found:
            files.setdefault(found.group(1), []).append(found.groups()[1:])
    out = ""
    for name, rows in files.items():
        twins = [(f, a) for f, a in rows if not re.match(r"left out|inline|DEVIATION", a)]
        others = [(f, a) for f, a in rows if re.match(r"left out|inline|DEVIATION", a)]
        out += "\n### %s\n" % name
        if twins:
            out += "| Go | C |\n|---|---|\n"
            out += "".join("| `%s` | %s |\n" % (f, ", ".join(link(t, where) for t in re.split(r",\s*", a))) for f, a in twins)
        for kind, words in (("inline", "Too small for a function of its own"), ("DEVIATION", "Done otherwise ([FIDELITY.md](FIDELITY.md))"),
                            ("left out", "Left out")):
            some = ["`%s` (%s)" % (f, re.sub(r"^(inline|left out): ", "", a)) for f, a in others if a.startswith(kind)]
            if some:
                out += "\n%s: %s.\n" % (words, "; ".join(some))
    return out.lstrip("\n")


def between(text, name, body):
    return re.sub(r"<!-- %s -->\n.*?<!-- end of %s -->" % (name, name), lambda _: "<!-- %s -->\n%s<!-- end of %s -->" % (name, body, name), text,
                  flags=re.S)


# ---- pages

def made(path, where):
    text = path.read_text()
    if path.name == "FIRST_ALLOCATION.md":
        return fill_blocks(text)
    if path.name == "STATES.md":
        return between(text, "os --table", run("os", "--table"))
    return between(between(text, "route", route(where)), "functions", functions(where))


def same(have, want):
    """Equal but for the line numbers of links, which must be near."""
    number = re.compile(r"#L(\d+)")
    lines = list(zip(map(int, number.findall(have)), map(int, number.findall(want))))
    return number.sub("", have) == number.sub("", want) and all(abs(a - b) <= SLACK for a, b in lines)


def main(check):
    if check and os.sysconf("SC_PAGESIZE") != 4096:
        print("SKIPPED: physical pages of %d bytes; the pages show those of 4096" % os.sysconf("SC_PAGESIZE"))
        return 77
    where, bad = definitions(), 0
    for name in ("FIRST_ALLOCATION.md", "STATES.md", "READING.md"):
        path = ROOT / "docs" / name
        want = made(path, where)
        if not check:
            path.write_text(want)
        elif not same(path.read_text(), want):
            print("docs/%s is not what is generated now: ./dev docs writes it" % name)
            bad += 1
    print("%d of 3 pages as generated" % (3 - bad) if check else "3 pages written")
    return 1 if bad else 0


sys.exit(main("--check" in sys.argv[1:]))
