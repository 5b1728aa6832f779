#!/usr/bin/env python3
"""upstream.py: Go's own allocator tests, as they are installed with Go, run on gomem; and on Go's runtime, which says what there is to pass.

The test files are read from Go's source, only their imports are changed, and they are built with a package (tests/upstream/runtime) that answers
what Go's export_test.go answers, by gomem. tests.txt says which tests are run, and why the others are not. Good is: the same names in both runs,
subtests too, all passed, and each test of the files in tests.txt. Skipped (77) without a Go 1.26 for linux/amd64, cgo and a C compiler.

usage: upstream.py [--bite] [--names] [--keep FOLDER]
  --bite          also break gomem in one place at a time, in a copy, and see the tests that must notice fail
  --names         print the names of what passed
  --keep FOLDER   work in FOLDER and leave everything there"""
import argparse
import collections
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import goroot  # noqa: E402

MODULE = "gomem.test"
CFLAGS = "-std=c17 -O2 -g -D_GNU_SOURCE -DGOMEM_CHECKED".split()
LIBRARY = "libgomem_upstream.so"
RESULT = re.compile(r"^\s*--- (PASS|FAIL|SKIP): (\S+) \(")


class Problem(Exception):
    """What ends the program: code 1 if tests.txt and Go differ, else 2."""

    def __init__(self, text, code=2):
        super().__init__(text)
        self.code = code


def skip(why):
    print("SKIPPED: " + why)
    sys.exit(goroot.SKIP)


class Listed:
    """A file of tests.txt: which tests to run, which are left out and why."""

    def __init__(self, name):
        self.name, self.run, self.left = name, [], {}

    def check(self, text):
        """The names in tests.txt against those in the file."""
        there = re.findall(r"^func ((?:Test|Fuzz|Example)\w*)\(", text, re.M)
        if "*" in self.left:
            if self.run or len(self.left) > 1:
                raise Problem("tests.txt: %s: all is left out, and something is listed" % self.name)
            self.left = dict.fromkeys(there, self.left["*"])
        listed = self.run + list(self.left)
        for name in there:
            if listed.count(name) != 1:
                raise Problem("tests.txt: %s: %s is listed %d times" % (self.name, name, listed.count(name)), 1)
        for name in listed:
            if name not in there:
                raise Problem("tests.txt: %s: there is no test %s" % (self.name, name), 1)


def read_list(path):
    files = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        entry = re.fullmatch(r"\t(?:run (\w+)|left (\w+|\*): (.+))", line)
        if entry and files:
            run, left, why = entry.groups()
            if run in files[-1].run or left in files[-1].left:
                raise Problem("tests.txt:%d: listed twice" % number)
            if run:
                files[-1].run.append(run)
            else:
                files[-1].left[left] = why
        elif re.fullmatch(r"\S+_test\.go", line):
            files.append(Listed(line))
        else:
            raise Problem("tests.txt:%d: neither a test file, nor a tab and run NAME or left NAME: REASON" % number)
    return files


def rewrite(text):
    """Changes what is imported from runtime and internal/..., and nothing else. Gives the text, how many lines that were, and of how many."""
    lines, changed, inside = text.splitlines(keepends=True), 0, False
    for i, line in enumerate(lines):
        inside = line.startswith("import (") or inside and not line.startswith(")")
        if inside or line.startswith("import "):
            lines[i] = re.sub(r'"(runtime|internal/[\w/]+)"', r'"%s/\1"' % MODULE, line)
            changed += lines[i] != line
    return "".join(lines), changed, len(lines)


class Go:
    def __init__(self, root, work):
        self.root, self.work, self.cc = root, work, os.environ.get("CC") or "cc"
        self.command = str(root / "bin/go")
        self.env = dict(os.environ, GOTOOLCHAIN="local", GOFLAGS="", GOWORK="off", GO111MODULE="on", GOROOT=str(root))
        if not any(os.environ.get(v) for v in ("GOCACHE", "XDG_CACHE_HOME", "HOME")):
            self.env["GOCACHE"] = str(work / "cache")

    def usable(self):
        """None, or why Go cannot build with cgo here."""
        asked = self.ask("env", "GOOS", "GOARCH", "CGO_ENABLED", "GOEXPERIMENT")
        if asked.returncode != 0:
            return "go env: " + asked.stderr.strip()
        goos, goarch, cgo, experiment = asked.stdout.split("\n")[:4]
        if (goos, goarch) != ("linux", "amd64") or platform.machine() != "x86_64":
            return "the layout is that of linux/amd64, not of %s/%s" % (goos, goarch)
        if cgo != "1":
            return "cgo is off (CGO_ENABLED=%s)" % cgo
        if shutil.which(self.cc) is None:
            return "there is no C compiler %s" % self.cc
        return "GOEXPERIMENT is " + experiment if experiment else None

    def ask(self, *arguments, cwd=None):
        return subprocess.run([self.command, *arguments], capture_output=True, text=True, errors="replace", env=self.env, cwd=cwd)

    def build_ours(self, sources, library):
        self.env["CC"] = self.cc
        self.env["CGO_CFLAGS"] = "-O2 -D_GNU_SOURCE -DGOMEM_CHECKED '-I%s'" % sources
        self.env["CGO_LDFLAGS"] = "'-L%s' -l%s" % (library.parent, library.stem[3:])
        binary = self.work / "gomem.test"
        built = self.ask("test", "-c", "-vet=off", "-o", str(binary), "./runtime", cwd=self.work / "module")
        if built.returncode != 0:
            raise Problem("building Go's tests with gomem:\n" + built.stdout + built.stderr)
        return binary


def objects(cc, sources, folder):
    """Compiles gomem and the glue, each file to an object, and gives {source: object}."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [*sorted((sources / "gomem").glob("*.c")), *sorted((sources / "tests/upstream").glob("*.c"))]
    files = [f for f in files if f != sources / "gomem/malloc.c"]  # fastlog2.c includes it
    made = {f: folder / (f.parent.name + "-" + f.stem + ".o") for f in files}
    pending = list(made.items())
    running = []
    while pending or running:
        while pending and len(running) < (os.cpu_count() or 2):
            source, out = pending.pop()
            running.append((source, compile_one(cc, sources, source, out)))
        source, process = running.pop(0)
        said = process.communicate()[0]
        if process.returncode != 0:
            raise Problem("compiling %s:\n%s" % (source, said))
    return made


def compile_one(cc, sources, source, out):
    command = [cc, *CFLAGS, "-fPIC", "-I%s" % sources, "-c", str(source), "-o", str(out)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")


def link(cc, made, library):
    library.parent.mkdir(parents=True, exist_ok=True)
    command = [cc, "-shared", "-o", str(library), *map(str, made), "-lpthread", "-lm"]
    linked = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if linked.returncode != 0:
        raise Problem("linking gomem:\n" + linked.stderr)


def pattern(names):
    return "^(%s)$" % "|".join(names)


def results(text):
    """{name: PASS, FAIL or SKIP}, subtests too. The same name twice would be a defect of Go's test package."""
    found = {}
    for line in text.splitlines():
        m = RESULT.match(line)
        if m:
            found[m.group(2)] = m.group(1)
    return found


def run_ours(binary, library, names, work, timeout="300s", *more):
    env = dict(os.environ, LD_LIBRARY_PATH=str(library.parent))
    done = subprocess.run([str(binary), "-test.v", "-test.run", pattern(names), "-test.timeout", timeout, *more], cwd=work / "module/runtime",
                          env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    return done.returncode, done.stdout


def make_module(go, files, module):
    """The package and Go's tests, their imports changed. Gives (files, lines, changed lines)."""
    shutil.copytree(HERE / "runtime", module / "runtime")
    shutil.copytree(HERE / "internal", module / "internal")
    (module / "go.mod").write_text("module %s\n\ngo 1.26\n" % MODULE)
    count = [0, 0, 0]
    for f in files:
        if not f.run:
            continue
        text, changed, lines = rewrite((go.root / "src" / f.name).read_text())
        (module / "runtime" / Path(f.name).name).write_text(text)
        count = [count[0] + 1, count[1] + lines, count[2] + changed]
    return count


def by_file(files, ours):
    """A line for each file that is run."""
    owner = {name: f.name for f in files for name in f.run}
    passed = collections.Counter(owner[name.split("/")[0]] for name, r in ours.items() if r == "PASS")
    print("%-34s %16s %18s %9s" % ("file", "tests run", "passed with subs", "left out"))
    for f in files:
        if f.run:
            print("%-34s %9d of %3d %18d %9d" % (f.name, len(f.run), len(f.run) + len(f.left), passed[f.name], len(f.left)))


    run = [f for f in files if f.run]
    total = (sum(len(f.run) for f in run), sum(len(f.run) + len(f.left) for f in run), sum(passed.values()), sum(len(f.left) for f in run))
    print("%-34s %9d of %3d %18d %9d" % ("all", *total))


def left_out(files):
    print("\nleft out, %d of the same files and %d of files that no test is run of:" % (
        sum(len(f.left) for f in files if f.run), sum(len(f.left) for f in files if not f.run)))
    for f in files:
        reasons = collections.defaultdict(list)
        for name, why in f.left.items():
            reasons[why].append(name)
        for why, names in reasons.items():
            what = names[0] if len(names) == 1 else "%d tests" % len(names)
            print("  %s %s: %s" % (f.name, what, why))


def compare(names, code, ours, go_code, theirs):
    """The verdict: both lists of names and results."""
    good = code == 0 and go_code == 0 and ours == theirs and set(names) <= set(ours)
    for name in sorted(set(ours) | set(theirs)):
        a, b = ours.get(name, "not run"), theirs.get(name, "not run")
        if a != b or a != "PASS":
            print("%s: %s on gomem, %s on Go's runtime" % (name, a, b))
            good = False
    count = lambda r: "%d passed, %d failed, %d skipped" % tuple(sum(v == k for v in r.values()) for k in ("PASS", "FAIL", "SKIP"))  # noqa: E731
    print("Go's runtime  %s" % count(theirs))
    print("gomem         %s" % count(ours))
    print("names equal   %d of %d" % (len(set(ours) & set(theirs)), len(set(theirs))))
    return good


def read_bites(names):
    """The breaks of bites.txt: there is one for each test that is run."""
    bites = []
    for number, line in enumerate((HERE / "bites.txt").read_text().splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        fields = line.split("\t")
        if len(fields) != 4 or fields[0] not in names:
            raise Problem("bites.txt:%d: not a test that is run, a file, what stands there and what is put instead" % number)
        bites.append(fields)
    for name in names:
        if name not in (b[0] for b in bites):
            raise Problem("bites.txt: nothing is broken for %s" % name)
    return bites


def break_copy(go, made, folder, name, old, new):
    """The library from a copy of the sources, in which old of gomem/name is new."""
    for part in ("gomem", "tests/upstream"):
        shutil.copytree(ROOT / part, folder / part)
    source = folder / "gomem" / name
    text = source.read_text()
    if text.count(old) != 1:
        raise Problem("bites.txt: gomem/%s has %d times: %s" % (name, text.count(old), old))
    source.write_text(text.replace(old, new))
    builds = "tests/upstream/fastlog2.c" if name == "malloc.c" else "gomem/" + name
    process = compile_one(go.cc, folder, folder / builds, folder / "broken.o")
    said = process.communicate()[0]
    if process.returncode != 0:
        raise Problem("bites.txt: compiling %s:\n%s" % (source, said))
    library = folder / LIBRARY
    link(go.cc, [folder / "broken.o" if f == ROOT / builds else o for f, o in made.items()], library)
    return library


def bite(go, binary, made, names, work):
    """Breaks gomem in one place at a time. Gives whether each break was noticed: the test failed, or ended the program."""
    bites, noticed = read_bites(names), 0
    for test, name, old, new in bites:
        folder = work / "broken"
        library = break_copy(go, made, folder, name, old, new)
        code, said = run_ours(binary, library, [test], work, "60s", "-test.short")
        shutil.rmtree(folder)
        found = results(said)
        failed = sum(r == "FAIL" for r in found.values())
        good = code != 0 and found.get(test) != "PASS" and "=== RUN   %s\n" % test in said
        noticed += good
        print("%s  %s\n    gomem/%s: %s  ->  %s\n    %s" % ("noticed" if good else "MISSED ", test, name, old, new, complaint(said, failed)), flush=True)
    print("gomem broken in %d places, one at a time: %d noticed" % (len(bites), noticed))
    return noticed == len(bites)


def complaint(text, failed):
    """How a run with broken gomem ended, in a line."""
    said = [line.strip() for line in text.splitlines() if re.match(r"\s+\w+_test\.go:\d+: ", line)]
    if failed:
        return "%d failed; first: %s" % (failed, said[0] if said else "no message")
    ends = [line for line in text.splitlines() if line and not re.match(r"\s*(===|---)", line)]
    return "the program ended: " + ends[0] if ends else "no output"


def upstream(arguments, work):
    root = goroot.find_or_skip()
    go = Go(root, work)
    why = go.usable()
    if why:
        skip(why)
    files = read_list(HERE / "tests.txt")
    for f in files:
        path = root / "src" / f.name
        if not path.is_file():
            raise Problem("tests.txt: Go has no file %s" % f.name, 1)
        f.check(path.read_text())
    names = [name for f in files for name in f.run]

    # Into a file: nobody reads a pipe until gomem is built and has run, and `go test` does not wait that long for who must write to a full one.
    go_log = work / "go.log"
    with go_log.open("w") as log:
        theirs = subprocess.Popen([go.command, "test", "-count=1", "-v", "-timeout", "300s", "-run", pattern(names), "runtime"], env=dict(go.env),
                                  stdout=log, stderr=subprocess.STDOUT)
    try:
        taken = make_module(go, files, work / "module")
        library = work / "lib" / LIBRARY
        made = objects(go.cc, ROOT, work / "objects")
        link(go.cc, made.values(), library)
        binary = go.build_ours(ROOT, library)
        code, said = run_ours(binary, library, names, work)
    finally:
        theirs.wait()
    go_said = go_log.read_text(errors="replace")

    ours = results(said)
    print("%s, linux/amd64; gomem: constant layout, checked build" % goroot.version(root))
    print("%d of Go's test files, %d lines: %d lines changed, each an import\n" % tuple(taken))
    by_file(files, ours)
    left_out(files)
    print()
    good = compare(names, code, ours, theirs.returncode, results(go_said))
    if not good:
        print("---- gomem\n%s\n---- Go's runtime\n%s" % (said[-6000:], go_said[-3000:]))
    if arguments.names:
        print("\n".join(sorted(ours)))
    if good and arguments.bite:
        print()
        good = bite(go, binary, made, names, work)
    return 0 if good else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bite", action="store_true")
    parser.add_argument("--names", action="store_true")
    parser.add_argument("--keep", type=Path)
    arguments = parser.parse_args()
    try:
        if arguments.keep:
            arguments.keep.mkdir(parents=True)
            return upstream(arguments, arguments.keep.resolve())
        with tempfile.TemporaryDirectory(prefix="gomem-upstream-") as work:
            return upstream(arguments, Path(work))
    except Problem as e:
        print("upstream: %s" % e, file=sys.stderr)
        return e.code
    except FileExistsError as e:
        print("upstream: %s is there already" % e.filename, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
