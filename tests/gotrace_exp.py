#!/usr/bin/env python3
"""gotrace_exp.py: golang.org/x/exp/trace as a witness for traces/data/gotrace: as many events of each kind.

The package tells events of scheduling by what they change, gives three for a switch between coroutines, and keeps tables to itself.
RELATIONS says what of it is the sum of which of our raw types; UNTOLD which types it doesn't show. A kind or type in neither fails the test.
A trace made now (tests/gotrace_exp/kinds) has the kinds that those in the tree lack.
Skipped (77) without a Go 1.26, the zstd command, or the package (tests/gotrace_exp/go.mod pins it; the go command downloads it).

usage: gotrace_exp.py [FILE...]     needs $GOMEM; plain traces, or compressed by zstd"""
import collections
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import goroot  # noqa: E402

GOMEM = os.environ.get("GOMEM", str(ROOT / "build/release/gomem"))
READER = ROOT / "tests/gotrace_exp"
FREQUENCY, CLOCK, END, DESTROY_SYSCALL, EXPERIMENTAL = 8, 51, 52, 18, 49
STATE = "(?:Runnable|Running|Waiting|Syscall)"

# What the package prints (a pattern for all of a line), and the raw types that add up to it.
RELATIONS = [(re.compile(pattern), types) for pattern, *types in (
    (r"StackSample", 7),
    (r"Metric\t/sched/gomaxprocs:threads", 9),
    (r"Metric\t/memory/classes/heap/objects:bytes", 37),
    (r"Metric\t/gc/heap/goal:bytes", 38),
    (r"StateTransition\tP Idle>Running", 10),
    # Stop, steal, status. That a P was stolen after its M had gone (idle before) looks like a status.
    (r"StateTransition\tP (?:Undetermined|NotExist)>(?:Idle|Running)|StateTransition\tP (?:Running>Idle|(Idle|Running)>\1)", 11, 12, 13),
    (r"StateTransition\tG NotExist>Runnable", 14),
    (r"StateTransition\tG NotExist>Syscall", 15),
    # A switch (45, 46) is three events: the next coroutine can run; this one waits, or is no more; the next one runs.
    (r"StateTransition\tG Runnable>Running", 16, 45, 46),
    (r"StateTransition\tG Running>NotExist", 17, 46),
    (r"StateTransition\tG Syscall>NotExist", 18),
    (r"StateTransition\tG Running>Runnable", 19),
    (r"StateTransition\tG Running>Waiting", 20, 45),
    (r"StateTransition\tG Waiting>Runnable", 21, 45, 46),
    (r"StateTransition\tG Running>Syscall", 22),
    (r"StateTransition\tG Syscall>Running", 23),
    (r"StateTransition\tG Syscall>Runnable", 24),
    (r"StateTransition\tG Undetermined>%s|StateTransition\tG (%s)>\1" % (STATE, STATE), 25, 48), # a status, with or without a stack
    (r"RangeBegin\tstop-the-world", 26),
    (r"RangeEnd\tstop-the-world", 27),
    (r"RangeActive\tGC concurrent mark phase", 28),
    (r"RangeBegin\tGC concurrent mark phase", 29),
    (r"RangeEnd\tGC concurrent mark phase", 30),
    (r"RangeActive\tGC incremental sweep", 31),
    (r"RangeBegin\tGC incremental sweep", 32),
    (r"RangeEnd\tGC incremental sweep", 33),
    (r"RangeActive\tGC mark assist", 34),
    (r"RangeBegin\tGC mark assist", 35),
    (r"RangeEnd\tGC mark assist", 36),
    (r"Label", 39),
    (r"TaskBegin", 40),
    (r"TaskEnd", 41),
    (r"RegionBegin", 42),
    (r"RegionEnd", 43),
    (r"Log", 44),
    (r"StateTransition\tG NotExist>Waiting", 47),
    (r"batches\t\w+", EXPERIMENTAL), # they hang on the Sync of their generation
    (r"clocks", CLOCK), # as well
    (r"Experimental\tAllocFree Span", 128),
    (r"Experimental\tAllocFree SpanAlloc", 129),
    (r"Experimental\tAllocFree SpanFree", 130),
    (r"Experimental\tAllocFree HeapObject", 131),
    (r"Experimental\tAllocFree HeapObjectAlloc", 132),
    (r"Experimental\tAllocFree HeapObjectFree", 133),
    (r"Experimental\tAllocFree GoroutineStack", 134),
    (r"Experimental\tAllocFree GoroutineStackAlloc", 135),
    (r"Experimental\tAllocFree GoroutineStackFree", 136),
)]
# Sync: one before each generation, and one at the end. Of type 8 and, since 1.26, 52 each generation has one.
SYNC = "Sync"
UNTOLD = {
    1: "batches are merged",
    2: "a table, looked up when an event is asked for its stack",
    3: "an entry of that table, told only through events that refer to it",
    4: "a table, looked up when an event is asked for a text",
    5: "an entry of that table, told only through events that refer to it",
    6: "batches of samples are merged; the samples themselves are compared",
    50: "the batch around a frequency and a clock; these are compared",
}
# Traces in the tree that the package refuses, and a part of its reason. (None: it reads go1.22 to go1.26.)
REFUSED = {}


class Problem(Exception):
    pass


def build(go, work):
    """The programs of READER, built. Nothing if the package cannot be had; what is wrong with the programs themselves is an error."""
    env = dict(os.environ, GOTOOLCHAIN="local", GOFLAGS="-mod=readonly", GOWORK="off", GODEBUG="", CGO_ENABLED="0")
    got = subprocess.run([go, "mod", "download", "golang.org/x/exp"], cwd=READER, env=env, capture_output=True, text=True)
    if got.returncode != 0:
        if re.search("checksum|SECURITY|go.sum|go.mod", got.stderr):
            raise Problem(got.stderr.strip())
        print("SKIPPED: golang.org/x/exp/trace cannot be had: " + (got.stderr.strip().splitlines() or ["?"])[-1])
        return None
    got = subprocess.run([go, "build", "-o", work, "./..."], cwd=READER, env=env, capture_output=True, text=True)
    if got.returncode != 0:
        raise Problem(got.stderr.strip())
    return os.path.join(work, "gotrace_exp")


def record(work):
    """A trace of the program that makes rare kinds. Go's runtime may write its buffers twice (docs/TRACES.md): then once more."""
    file = os.path.join(work, "made now")
    for _ in range(5):
        env = dict(os.environ, GODEBUG="traceallocfree=1", GOMAXPROCS="4")
        subprocess.run([os.path.join(work, "kinds"), file], env=env, check=True)
        got = subprocess.run([GOMEM, "info", file], capture_output=True, text=True)
        if "a bug of it" not in got.stderr:
            return file
        print("made again: " + got.stderr.strip())
    raise Problem("five traces in a row are damaged")


def their_counts(program, plain):
    """What the package has of each kind, or why it refuses the trace."""
    got = subprocess.run([program, plain], capture_output=True, text=True)
    if got.returncode == 3:
        return None, got.stderr.strip()
    if got.returncode != 0:
        raise Problem("the reader: " + got.stderr.strip())
    return {key: int(n) for n, key in (line.split("\t", 1) for line in got.stdout.splitlines())}, ""


def our_counts(text):
    raw = text[text.index("raw events by type"):].splitlines()[1:]
    counts = collections.Counter({int(number): int(n) for number, n in map(str.split, raw)})
    return counts, int(re.search(r"^generations +(\d+)", text, re.M).group(1)), int(re.search(r"^trace +go1\.(\d+)", text, re.M).group(1))


def differences(theirs, ours, generations, version):
    """Yields what differs, for each relation; then kinds and types that no relation knows."""
    left, known = dict(theirs), {FREQUENCY, END, *UNTOLD}
    for pattern, types in RELATIONS:
        keys = [key for key in left if pattern.fullmatch(key)]
        got, want = sum(left.pop(key) for key in keys), sum(ours[t] for t in types)
        known.update(types)
        if types == [11, 12, 13] and ours[DESTROY_SYSCALL] > 0:
            print("    not compared: procs that stop (the package makes up a steal if a goroutine of cgo ends with its P)")
        elif got != want:
            yield "%s: the package has %d, types %s add up to %d" % (pattern.pattern, got, types, want)
    syncs = left.pop(SYNC, 0)
    for what, n in (("generations", generations), ("type 8", ours[FREQUENCY])) + ((("type 52", ours[END]),) if version >= 26 else ()):
        if syncs != n + 1:
            yield "Sync: the package has %d, and %d %s" % (syncs, n, what)
    for key in left:
        yield "the package tells %d of a kind that is new: %s" % (left[key], key)
    for number in sorted(set(ours) - known):
        yield "type %d is in no relation" % number


def plain_copy(file, work):
    plain = os.path.join(work, "trace")
    if file.endswith(".zst"):
        subprocess.run(["zstd", "-dqf", file, "-o", plain], check=True)
    else:
        shutil.copy(file, plain)
    return plain


def check(program, file, work, seen):
    """Prints what was compared; yields what is wrong."""
    name = os.path.basename(file)
    theirs, why = their_counts(program, plain_copy(file, work))
    refused = REFUSED.get(name)
    if theirs is None or refused is not None:
        if theirs is None and refused is not None and refused in why:
            print("%s: NOT COMPARED: the package refuses it, as expected: %s" % (name, why))
        else:
            yield "the package %s" % ("refuses it: " + why if theirs is None else "reads it, and was expected to refuse it")
        return
    got = subprocess.run([GOMEM, "info", "--verify", file], capture_output=True, text=True)
    if got.returncode == 2 and "traceallocfree=1" in got.stderr:
        objects = [key for key in theirs if key.startswith("Experimental")]
        if objects:
            yield "refused, but the package finds objects in it"
        print("%s: without objects, as the package says too" % name)
        return
    if got.returncode != 0:
        yield got.stderr.strip()
        return
    ours, generations, version = our_counts(got.stdout)
    seen.update(ours)
    events = sum(n for key, n in theirs.items() if key != "clocks" and not key.startswith("batches"))
    problems = list(differences(theirs, ours, generations, version))
    print("%s: the package has %d events of %d kinds; %d differences" % (name, events, len(theirs), len(problems)))
    yield from problems


def main(files):
    root = goroot.find_or_skip()
    if shutil.which("zstd") is None:
        print("SKIPPED: there is no zstd command")
        return goroot.SKIP
    bad, seen = 0, collections.Counter()
    with tempfile.TemporaryDirectory() as work:
        program = build(str(root / "bin/go"), work)
        if program is None:
            return goroot.SKIP
        files = files or sorted(map(str, (ROOT / "traces/data/gotrace").glob("*.trace.zst"))) + [record(work)]
        for file in files:
            problems = list(check(program, file, work, seen))
            bad += bool(problems)
            for problem in problems:
                print("%s: %s" % (os.path.basename(file), problem))
    for number, why in sorted(UNTOLD.items()):
        print("type %d (%d in all) has no counterpart in the package: %s" % (number, seen[number], why))
    absent = [t for _, types in RELATIONS for t in types if seen[t] == 0]
    print("compared, but none in these traces: types %s" % ", ".join(map(str, sorted(set(absent)))))
    print("%d traces, %d differ" % (len(files), bad))
    return 1 if bad or not files else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Problem as problem:
        sys.exit("FAILED: %s" % problem)
