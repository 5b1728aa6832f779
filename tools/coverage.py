#!/usr/bin/env python3
"""What the fuzz targets reach of gomem/: their corpora and regressions, replayed, and nothing else.

usage: coverage.py [--jobs J] [--no-run] [--branches]

Builds the targets with clang's coverage in build/coverage (checked), replays, and prints lines and branch outcomes by file: a line or an
outcome is reached if any target reaches it in any variant of the library. Below 95 % of the lines or 90 % of the branches, or with a line
unreached that nobody explained, the exit code is 1. The sources with marks: build/coverage/html/index.html.

tests/coverage/excluded.txt lists what does not count, with the reason; it is printed all the same. A file, or blocks of lines that nothing
reaches, together with the outcomes that lead there:

    FILE: REASON
    FILE:FUNCTION | TEXT OF EACH LINE | REASON

TEXT is a line without its indentation; * in FILE, FUNCTION or TEXT stands for anything; braces need no mention.
tests/coverage/unreached.txt explains the rest, a block of lines by one of its lines. It still counts as not reached:

    FILE:FUNCTION | TEXT OF A LINE | REASON

--no-run: the report once more, from the last run.   --branches: also the outcomes that are not reached"""
import argparse
import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fuzz_inputs import ROOT, inputs, programs

WORK = ROOT / "build" / "coverage"
EXCLUDED = ROOT / "tests" / "coverage" / "excluded.txt"
UNREACHED = ROOT / "tests" / "coverage" / "unreached.txt"
NO_CODE = {"variant.h", "sizeclasses.h"}  # generated names and numbers
LINES_BAR, BRANCHES_BAR = 0.95, 0.90
PREFIXES = re.compile(r"^(?:[\w.]+:)?(?:rt_|lab_)?")
FLAGS = "-fprofile-instr-generate -fcoverage-mapping"


def run(argv, **more):
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, errors="replace", **more)
    if done.returncode != 0:
        sys.exit("%s%s\ncoverage.py: failed: %s" % (done.stdout[-3000:], done.stderr[-3000:], " ".join(map(str, argv))))
    return done.stdout


def tool(name):
    """llvm-NAME of the clang in use: one of another version cannot read its files."""
    version = re.search(r"version (\d+)", run(["clang", "--version"])).group(1)
    beside = Path(os.path.realpath(shutil.which("clang"))).parent / name
    path = shutil.which(str(beside)) or shutil.which("%s-%s" % (name, version))
    return path or sys.exit("coverage.py: there is no %s for clang %s: install llvm-%s" % (name, version, version))


# ---- build and run

def build(jobs):
    run(["cmake", "-S", ROOT, "-B", WORK, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Debug", "-DGOMEM_CHECKED=ON", "-DGOMEM_TESTS=OFF",
         "-DCMAKE_C_COMPILER=clang", "-DCMAKE_C_FLAGS_DEBUG=-O1 -g", "-DCMAKE_C_FLAGS=" + FLAGS])
    run(["cmake", "--build", WORK, "-j", jobs, "--target", "fuzz_targets"])


def replay(jobs):
    for old in WORK.glob("raw/*.profraw"):
        old.unlink()
    (WORK / "raw").mkdir(exist_ok=True)

    def one(name):
        given = inputs(programs()[name])
        if not given:
            print("no inputs: fuzz_%s" % name)
            return
        run([WORK / "fuzz" / ("fuzz_" + name), *given],
            env={**os.environ, "LLVM_PROFILE_FILE": str(WORK / "raw" / (name + ".profraw"))})

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(one, programs()))
    raw = sorted(WORK.glob("raw/*.profraw"))
    if not raw:
        sys.exit("coverage.py: no target has inputs in fuzz/corpus")
    run([tool("llvm-profdata"), "merge", "-sparse", "-o", WORK / "all.profdata", *raw])


def cov(command, *more):
    first, *others = [WORK / "fuzz" / ("fuzz_" + name) for name in programs()]
    objects = [first] + ["-object=%s" % p for p in others]
    return [tool("llvm-cov"), command, *objects, "-instr-profile=%s" % (WORK / "all.profdata"), *more, str(ROOT / "gomem")]


# ---- reading what llvm-cov knows

class File:
    def __init__(self, name):
        self.name = name
        self.lines = {}  # number -> times
        self.branches = {}  # (place, outcome) -> times
        self.functions = {}  # name -> (first line, last line)

    def function_at(self, line):
        inner = [(last - first, name) for name, (first, last) in self.functions.items() if first <= line <= last]
        return min(inner)[1] if inner else "?"


def name_of(path):
    """"mheap.c" of a path in gomem/, else None."""
    path = Path(path)
    return path.name if path.parent == ROOT / "gomem" and path.name not in NO_CODE else None


def read_lines(files):
    """llvm-cov's own count of each line, merged over programs and variants."""
    name = None
    for line in run(cov("export", "-format=lcov")).splitlines():
        if line.startswith("SF:"):
            name = name_of(line[3:])
        elif line.startswith("DA:") and name:
            number, times = line[3:].split(",")[:2]
            files.setdefault(name, File(name)).lines[int(number)] = int(times)


def read_branches(files):
    """Each outcome of each condition. The same place occurs once for each program, variant and file that includes a header."""
    data = json.loads(run(cov("export")))["data"][0]
    for f in data["files"]:
        name = name_of(f["filename"])
        for b in f.get("branches", []) if name else []:
            table, place = files.setdefault(name, File(name)).branches, tuple(b[:4])
            for outcome, times in ((True, b[4]), (False, b[5])):
                table[place, outcome] = table.get((place, outcome), 0) + times
    for fn in data["functions"]:
        name = name_of(fn["filenames"][0])
        if name in files:
            spans = [r for r in fn["regions"] if r[5] == 0]  # of the file itself, not of a macro's
            files[name].functions[PREFIXES.sub("", fn["name"])] = (min(r[0] for r in spans), max(r[2] for r in spans))


# ---- what is explained

def read_table(path, n, separator):
    """The lines with n fields, of a file whose lines all have a reason at their end."""
    rows = []
    for i, line in enumerate(path.read_text().splitlines() if path.exists() else [], 1):
        if not line.strip() or line.startswith("#"):
            continue
        fields = [f.strip() for f in line.split(separator, n - 1)]
        if not all(fields):
            sys.exit("%s:%d: a field is empty" % (path.relative_to(ROOT), i))
        if len(fields) == n and (separator == " | " or " | " not in line):
            rows.append(fields)
    return rows


def matches(pattern, text):
    """Only * is special."""
    return fnmatch.fnmatchcase(text, re.sub(r"([\[?])", r"[\1]", pattern))


def named(row, f, function):
    return matches(row[0], "%s:%s" % (f.name, function))


def explains(row, f, block):
    function, lines = block
    return named(row, f, function) and any(matches(row[1], text) for _, text in lines)


def excludes(row, f, block):
    """Whether all lines of the block are of this kind."""
    function, lines = block
    code = [text for _, text in lines if text.strip("{} ")]
    return named(row, f, function) and code and all(matches(row[1], text) for text in code)


def leading_to(f, source, line):
    """The outcomes, none of them reached, of the condition before a block that begins at line."""
    first = line - 1
    while first > 1 and not re.search(r"\b(if|for|while|switch|case|default)\b", source[first - 1]):
        first -= 1
    return [k for k, times in f.branches.items() if times == 0 and first <= k[0][0] < line]


def exclude(counted):
    """Takes out what does not count. Returns (row, lines, outcomes) of each row."""
    rows = [r for r in read_table(EXCLUDED, 3, " | ")]
    numbers = [[0, 0] for _ in rows]
    for f in counted:
        source = (ROOT / "gomem" / f.name).read_text().splitlines()
        for block in unreached(f):
            why = next((i for i, r in enumerate(rows) if excludes(r, f, block)), None)
            if why is None:
                continue
            outcomes = leading_to(f, source, block[1][0][0])
            numbers[why][0] += len(block[1])
            numbers[why][1] += len(outcomes)
            for line, _ in block[1]:
                del f.lines[line]
            for k in outcomes:
                del f.branches[k]
    return [(r, *n) for r, n in zip(rows, numbers)]


def unreached(f):
    """Blocks of lines of code that nothing reached: (function, [(line, text)])."""
    source = (ROOT / "gomem" / f.name).read_text().splitlines()
    blocks, after = [], False
    for line in sorted(f.lines):
        if f.lines[line] > 0:
            after = False
            continue
        function = f.function_at(line)
        if not after or blocks[-1][0] != function:
            blocks.append((function, []))
        blocks[-1][1].append((line, source[line - 1].strip()))
        after = True
    return blocks


# ---- the report

def percent(table):
    hit, total = sum(1 for n in table.values() if n > 0), len(table)
    return hit, total, 100.0 * hit / total if total else 100.0


def row(name, lines, branches):
    print("%-20s %6d of %6d %6.1f %%   %6d of %6d %6.1f %%" % (name, *percent(lines), *percent(branches)))


def total(files, attribute):
    return {(f.name, k): n for f in files for k, n in getattr(f, attribute).items()}


def print_table(counted, excluded, rules, before):
    print("%-20s %25s   %25s" % ("file", "lines", "branch outcomes"))
    for f in counted:
        row(f.name, f.lines, f.branches)
    lines, branches = total(counted, "lines"), total(counted, "branches")
    row("all", lines, branches)
    row("with all lines", *before)
    print("\nnot counted (tests/coverage/excluded.txt):")
    for (where, text, reason), nlines, noutcomes in rules:
        print("%d lines and the %d outcomes that lead to them, %s | %s\n    %s" % (nlines, noutcomes, where, text, reason))
    for f, reason in excluded:
        row(f.name, f.lines, f.branches)
        print("    %s" % reason)
    return percent(lines)[2] / 100, percent(branches)[2] / 100


def print_unreached(counted):
    """Returns the number of lines that nobody explained."""
    rows = read_table(UNREACHED, 3, " | ")
    used, bad = set(), 0
    print("\nlines that no input reaches:")
    for f in counted:
        for block in unreached(f):
            why = next((i for i, r in enumerate(rows) if explains(r, f, block)), None)
            used.add(why)
            bad += len(block[1]) if why is None else 0
            print("  %s:%s  %s" % (f.name, block[0], "NOT EXPLAINED" if why is None else rows[why][2]))
            for line, text in block[1]:
                print("    %5d  %s" % (line, text))
    for i, r in enumerate(rows):
        if i not in used:
            print("explained, but reached or gone: %s" % " | ".join(r[:2]))
    return bad


def print_branches(counted):
    print("\noutcomes that no input reaches:")
    for f in counted:
        source = (ROOT / "gomem" / f.name).read_text().splitlines()
        for (place, outcome), times in sorted(f.branches.items()):
            if times == 0:
                line, column, last, end = place
                condition = source[line - 1][column - 1:end - 1 if last == line else None]
                print("  %s:%d %s: %s is never %s" % (f.name, line, f.function_at(line), condition, str(outcome).lower()))


def report(branches_too):
    files = {}
    read_lines(files)
    read_branches(files)
    reasons = dict(read_table(EXCLUDED, 2, ": "))
    counted = [files[n] for n in sorted(files) if n not in reasons and files[n].lines]
    excluded = [(files[n], reasons[n]) for n in sorted(files) if n in reasons]
    before = total(counted, "lines"), total(counted, "branches")
    rules = exclude(counted)
    lines, branches = print_table(counted, excluded, rules, before)
    if branches_too:
        print_branches(counted)
    bad = print_unreached(counted)
    run(cov("show", "-format=html", "-show-branches=count", "-output-dir=%s" % (WORK / "html")))
    print("\nlines %.1f %% (bar %.0f), branch outcomes %.1f %% (bar %.0f), lines neither reached nor explained: %d" % (
        100 * lines, 100 * LINES_BAR, 100 * branches, 100 * BRANCHES_BAR, bad))
    print("build/coverage/html/index.html")
    return 0 if lines >= LINES_BAR and branches >= BRANCHES_BAR and bad == 0 else 1


def main():
    parser = argparse.ArgumentParser(usage=__doc__.replace("%", "%%"))
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    for flag in ("--no-run", "--branches"):
        parser.add_argument(flag, action="store_true")
    options = parser.parse_args()
    if not options.no_run:
        build(options.jobs)
        replay(options.jobs)
    return report(options.branches)


sys.exit(main())
