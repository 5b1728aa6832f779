#!/usr/bin/env python3
"""Bugs put into gomem/ on purpose, and how long fuzzing takes to find each.

usage: seeded.py [--jobs J] [--seconds T] [BUG...]     all bugs, or those; writes fuzz/seeded/RESULTS.md if it was all
       seeded.py --empty [...]                         without the tree's inputs, from an empty corpus; writes no file
       seeded.py --list | --check

A bug is a patch in fuzz/seeded/: a header (its name; "Like:", what a real bug of this kind does; "Targets:", those that should find it, the
best first), then a unified diff. Each is put into a copy of the tree, built as `./dev fuzz` does (libFuzzer, ASan, UBSan, checked), and
the targets run from their corpora, one after the other, until one finds it: T seconds (120) in all, of which the first target has half. A
target that is not in the tree is left out; if none is, all run. The seconds are those of fuzzing, without the build.

Found is a bug if the target says so (a line "fuzz_TARGET: ..."), a sanitizer does, the program dies of a signal, or it does not end in time.
Anything else that ends a session is not a find. So that it is the bug that was found, all targets first run over their inputs in the tree as it
is, and must pass.

--check: each patch applies and names itself.     Exit code 1: a bug was not found, or a patch does not apply."""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue

from fuzz_inputs import FUZZ_OPTIONS, ROOT, inputs, targets

SUMMARY = r"^SUMMARY: (?:(?:Address|Leak|Memory|Thread|UndefinedBehavior)Sanitizer: .*|libFuzzer: (?:deadly signal|timeout).*)$"

PATCHES = ROOT / "fuzz" / "seeded"
RESULTS = PATCHES / "RESULTS.md"
WORK = ROOT / "build" / "seeded"


def say(*words):
    print(*words, flush=True)


class Bug:
    def __init__(self, path):
        self.path, self.name = path, path.stem
        self.header, _, self.diff = path.read_text().partition("\n--- ")
        found = re.search(r"^Targets:(.*)$", self.header, re.M)
        named = found.group(1).split() if found else []
        self.targets = [t for t in named if t in targets()] or targets()
        self.files = re.findall(r"^\+\+\+ b/(\S+)", path.read_text(), re.M)

    def like(self):
        found = re.search(r"^Like:\s*(.*?)(?=^\S|\Z)", self.header, re.M | re.S)
        return " ".join(found.group(1).split()) if found else ""


def bugs(names):
    found = {p.stem: Bug(p) for p in sorted(PATCHES.glob("*.patch"))}
    for n in names:
        if n not in found:
            sys.exit("seeded.py: no bug %s (--list shows them)" % n)
    return [found[n] for n in names or sorted(found)]


def patch(bug, tree):
    return subprocess.run(["patch", "-p1", "--no-backup-if-mismatch", "-s", "-d", str(tree), "-i", str(bug.path)],
                          capture_output=True, text=True)


def check(chosen):
    """Whether each patch is in order. Returns the number of those that are not."""
    bad = 0
    for bug in chosen:
        why = []
        if bug.header.split("\n", 1)[0] != bug.name or not bug.like():
            why.append("the header does not say what it is")
        with tempfile.TemporaryDirectory() as tmp:
            shutil.copytree(ROOT / "gomem", Path(tmp) / "gomem")
            done = patch(bug, tmp)
            if done.returncode != 0 or not bug.files:
                why.append("does not apply: " + done.stdout.strip().replace("\n", "; "))
        if why:
            bad += 1
            say("%s: %s" % (bug.name, "; ".join(why)))
    say("%d of %d patches in order" % (len(chosen) - bad, len(chosen)))
    return bad


# ---- one bug

class Tree:
    """A copy of the tree, of which gomem/ can be patched, and its build folder."""

    def __init__(self, number):
        self.source, self.folder = WORK / str(number) / "src", WORK / str(number) / "build"
        self.source.mkdir(parents=True, exist_ok=True)
        for entry in ROOT.iterdir():
            link = self.source / entry.name
            if entry.name not in ("gomem", "build", ".git") and not link.is_symlink():
                link.symlink_to(entry)
        self.restore()

    def restore(self):
        """Writes only what differs, so that little is built again."""
        (self.source / "gomem").mkdir(exist_ok=True)
        for path in (p for p in (ROOT / "gomem").rglob("*") if p.is_file()):
            copy = self.source / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            if not copy.exists() or copy.read_bytes() != path.read_bytes():
                copy.write_bytes(path.read_bytes())

    def run(self, *argv):
        done = subprocess.run([str(a) for a in argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        if done.returncode != 0:
            sys.exit("%s\nseeded.py: failed: %s" % (done.stdout[-4000:], " ".join(map(str, argv))))

    def build(self, names):
        # As the preset `fuzz`, with another source folder.
        self.run("cmake", "-S", self.source, "-B", self.folder, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_C_COMPILER=clang",
                 "-DCMAKE_C_FLAGS_DEBUG=-O2 -g", "-DGOMEM_CHECKED=ON", "-DGOMEM_SANITIZE=fuzzer-no-link,address,undefined",
                 "-DGOMEM_FUZZ_ENGINE=-fsanitize=fuzzer", "-DGOMEM_TESTS=OFF", "-DGOMEM_DEVELOPER=OFF")
        self.run("cmake", "--build", self.folder, "--target", *("fuzz_" + t for t in names))

    def prove(self, names):
        """Ends the program unless the targets pass without a bug: then what is found afterwards is the bug."""
        self.restore()
        self.build(names)
        for target in names:
            with tempfile.TemporaryDirectory() as tmp:
                self.run(self.folder / "fuzz" / ("fuzz_" + target), "-runs=0", *FUZZ_OPTIONS, "-artifact_prefix=%s/found-" % tmp, tmp,
                         *inputs(target))

    def put_in(self, bug):
        self.restore()
        done = patch(bug, self.source)
        if done.returncode != 0:
            sys.exit("seeded.py: %s does not apply: %s" % (bug.name, done.stdout))
        self.build(bug.targets)

    def fuzz(self, target, seconds, seeds):
        """(found, seconds, executions, what it said)"""
        with tempfile.TemporaryDirectory() as tmp:
            argv = [self.folder / "fuzz" / ("fuzz_" + target), "-max_total_time=%d" % max(1, seconds), *FUZZ_OPTIONS, "-seed=1",
                    "-print_final_stats=1", "-artifact_prefix=%s/found-" % tmp, tmp, *seeds]
            begun = time.monotonic()
            try:
                done = subprocess.run([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                      text=True, errors="replace", cwd=tmp, timeout=3 * seconds + 60)
            except subprocess.TimeoutExpired:
                return True, time.monotonic() - begun, 0, "does not end"
        runs = [int(n) for n in re.findall(r"^#(\d+)\s", done.stdout, re.M)]
        runs += [int(n) for n in re.findall(r"^stat::number_of_executed_units: *(\d+)", done.stdout, re.M)]
        said = judge(target, done.returncode, done.stdout)
        if said is None and done.returncode != 0:
            say("%s: not a find, exit code %d: %s" % (target, done.returncode, done.stdout[-400:].strip()))
        return said is not None, time.monotonic() - begun, max(runs, default=0), said


def judge(target, code, output):
    """What a session says that found something; None: it did not."""
    if code == 0:
        return None
    found = re.search(r"^fuzz_%s: .*$" % target, output, re.M) or re.search(SUMMARY, output, re.M)
    if not found:
        return None
    return "does not end" if re.search(r"^SUMMARY: libFuzzer: timeout", output, re.M) else found.group(0)


def find(bug, tree, limit, empty):
    """(target, seconds, executions, message) of the first that finds it; target None: none did."""
    tree.put_in(bug)
    spent, executions = 0.0, 0
    for i, target in enumerate(bug.targets):
        left = len(bug.targets) - i - 1
        seconds = (limit - spent) / 2 if left and i == 0 else (limit - spent) / (left + 1)
        found, took, runs, said = tree.fuzz(target, seconds, [] if empty else inputs(target))
        spent, executions = spent + took, executions + runs
        if found:
            return target, spent, executions, said
    return None, spent, executions, "not found by: " + " ".join(bug.targets)


# ---- all bugs

HEAD = """# Seeded bugs

Written by `./dev seeded`: how long each bug of this folder takes to be found, from the corpora, on one core for each session
(libFuzzer, ASan, UBSan, checked build). The message is the first line of what the target says.

| bug | what it does | found by | seconds | executions | message |
|---|---|---|---:|---:|---|
"""


def cell(text):
    return text.replace("|", "\\|").replace("\n", " ")


def row(bug, result):
    target, seconds, executions, said = result
    return "| %s | %s | %s | %.1f | %d | %s |\n" % (
        bug.name, cell(bug.like()), target or "**nothing**", seconds, executions, cell(said[:160]))


def run_all(chosen, jobs, limit, empty):
    trees, needed = Queue(), sorted({t for bug in chosen for t in bug.targets})
    for i in range(jobs):
        trees.put(Tree(i + 1))
    trees.queue[0].prove(needed)
    lock, results = threading.Lock(), {}
    say("%-24s %-14s %8s %12s  %s" % ("bug", "found by", "seconds", "executions", "message"))

    def one(bug):
        tree = trees.get()
        try:
            result = find(bug, tree, limit, empty)
        finally:
            trees.put(tree)
        with lock:
            results[bug.name] = result
            say("%-24s %-14s %8.1f %12d  %s" % (bug.name, result[0] or "NOTHING", result[1], result[2], result[3][:140]))

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(one, chosen))
    return results


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--seconds", type=float, default=120)
    for flag in ("--list", "--check", "--empty"):
        parser.add_argument(flag, action="store_true")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    chosen = bugs(options.names)
    if options.list:
        for bug in chosen:
            say("%s (%s; %s)\n    %s" % (bug.name, " ".join(bug.files), " ".join(bug.targets), bug.like()))
        return 0
    if options.check:
        return 1 if check(chosen) else 0
    results = run_all(chosen, options.jobs, options.seconds, options.empty)
    if not options.names and not options.empty:
        RESULTS.write_text(HEAD + "".join(row(b, results[b.name]) for b in chosen))
    missed = [b.name for b in chosen if results[b.name][0] is None]
    say("%d of %d bugs found%s" % (len(chosen) - len(missed), len(chosen), ": not " + ", ".join(missed) if missed else ""))
    return 1 if missed else 0


sys.exit(main())
