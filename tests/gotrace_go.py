#!/usr/bin/env python3
"""gotrace_go.py: Go's own reader as the witness for traces/data/gotrace: as many events of each type (go tool trace -d=wire); and each event of
objects, spans and stacks in the same order on its thread, on the same P (-d=parsed).

A free without a P counts as that of no P, as Go has it. Skipped (77) without a Go 1.26 or the zstd command.

usage: gotrace_go.py [FILE...]     needs $GOMEM; plain traces, or compressed by zstd"""
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
# Types of events of the format, from 1 on.
NAMES = """EventBatch Stacks Stack Strings String CPUSamples CPUSample Frequency ProcsChange ProcStart ProcStop ProcSteal ProcStatus GoCreate
GoCreateSyscall GoStart GoDestroy GoDestroySyscall GoStop GoBlock GoUnblock GoSyscallBegin GoSyscallEnd GoSyscallEndBlocked GoStatus STWBegin
STWEnd GCActive GCBegin GCEnd GCSweepActive GCSweepBegin GCSweepEnd GCMarkAssistActive GCMarkAssistBegin GCMarkAssistEnd HeapAlloc HeapGoal
GoLabel UserTaskBegin UserTaskEnd UserRegionBegin UserRegionEnd UserLog GoSwitch GoSwitchDestroy GoCreateBlocked GoStatusStack
ExperimentalBatch Sync ClockSnapshot EndOfGeneration""".split()
MEMORY = """Span SpanAlloc SpanFree HeapObject HeapObjectAlloc HeapObjectFree GoroutineStack GoroutineStackAlloc GoroutineStackFree""".split()
NUMBERS = {name: i + 1 for i, name in enumerate(NAMES)} | {name: i + 128 for i, name in enumerate(MEMORY)}
KINDS = dict(zip("span span-alloc span-free object object-alloc object-free stack stack-alloc stack-free".split(), MEMORY))
UNITS = dict(zip(MEMORY, (8192, 8192, 8192, 8, 8, 8, 2048, 2048, 2048)))


def lines(*command):
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace") as p:
        yield from p.stdout
        err = p.stderr.read()
        if p.wait() != 0:
            raise RuntimeError("%s: %s" % (" ".join(command), err.strip()))


def go_counts(go, plain):
    """What -d=wire counts. Under an older version it knows no events of memory: in the copy it reads, the header says 1.26."""
    counts = collections.Counter()
    copy = plain + ".26"
    Path(copy).write_bytes(b"go 1.26" + Path(plain).read_bytes()[7:])
    for line in lines(go, "tool", "trace", "-d=wire", copy):
        name = line.split(None, 1)[0] if line[:1].isalpha() else ""
        if name in NUMBERS:
            counts[NUMBERS[name]] += 1
        elif name not in ("", "Trace"):
            raise RuntimeError("what is a " + name)
    return counts


def our_counts(text):
    counts = collections.Counter()
    for line in text[text.index("raw events by type"):].splitlines()[1:]:
        number, n = line.split()
        counts[int(number)] = int(n)
    return counts


def go_events(go, plain):
    """Of each thread: events of memory in order, as (kind, number, P)."""
    threads = collections.defaultdict(list)
    pattern = re.compile(r"M=(-?\d+) P=(-?\d+) .*Experimental .* Name=(\w+) Args=\[id=(?:Value\{Uint64\()?(\d+)(.*)")
    for line in lines(go, "tool", "trace", "-d=parsed", plain):
        found = pattern.match(line)
        if found is None:
            continue
        m, p, name, number, rest = found.groups()
        if name == "GoroutineStack" and re.search(r"order=(Value\{Uint64\()?0\b", rest):
            continue  # a goroutine that has ended
        threads[m].append((name, int(number), int(p)))
    return threads


def our_events(file, base):
    threads = collections.defaultdict(list)
    for line in lines(GOMEM, "dump", file):
        fields = line.split()
        p = [i for i, f in enumerate(fields[:4]) if f.startswith("P")][0]
        rest = fields[p + 1:]
        if rest[0] == "P1)" or fields[p].startswith("P-("):
            rest = rest[1:]
        if rest[0] not in KINDS:
            continue
        name = KINDS[rest[0]]
        number = (int(rest[1].split("=")[1], 16) - base) % 2**64 // UNITS[name]
        threads[fields[2][1:]].append((name, number, -1 if fields[p][1] == "-" else int(fields[p][1:])))
    return threads


def check(go, file, work):
    plain = os.path.join(work, "trace")
    if file.endswith(".zst"):
        subprocess.run(["zstd", "-dqf", file, "-o", os.path.join(work, "trace")], check=True)
    else:
        shutil.copy(file, os.path.join(work, "trace"))
    got = subprocess.run([GOMEM, "info", "--verify", file], capture_output=True, text=True)
    if got.returncode == 2 and "traceallocfree=1" in got.stderr:
        if set(go_counts(go, plain)) & set(range(128, 137)):
            return "refused, but Go finds objects in it"
        print("%s: without objects, as Go says too" % os.path.basename(file))
        return None
    if got.returncode != 0:
        return got.stderr.strip()
    ours, gos = our_counts(got.stdout), go_counts(go, plain)
    for number in sorted(set(ours) | set(gos)):
        if ours[number] != gos[number]:
            return "type %d: %d events, Go's reader has %d" % (number, ours[number], gos[number])
    base = int(re.search(r"heap +from (\w+)", got.stdout).group(1), 16)
    mine, theirs = our_events(file, base), go_events(go, plain)
    for m in sorted(set(mine) | set(theirs)):
        for i, (a, b) in enumerate(zip(mine[m], theirs[m])):
            if a != b:
                return "thread %s, event %d of memory: %s, Go's reader has %s" % (m, i, a, b)
        if len(mine[m]) != len(theirs[m]):
            return "thread %s: %d events of memory, Go's reader has %d" % (m, len(mine[m]), len(theirs[m]))
    print("%s: %d events of %d types, %d of memory on %d threads: as Go reads them" % (
        os.path.basename(file), sum(ours.values()), len(ours), sum(map(len, mine.values())), len(mine)))
    return None


def main(files):
    root = goroot.find_or_skip()
    if shutil.which("zstd") is None:
        print("SKIPPED: there is no zstd command")
        return goroot.SKIP
    files = files or sorted(map(str, (ROOT / "traces/data/gotrace").glob("*.trace.zst")))
    bad = 0
    with tempfile.TemporaryDirectory() as work:
        for file in files:
            why = check(str(root / "bin/go"), file, work)
            if why is not None:
                print("%s: %s" % (os.path.basename(file), why))
                bad += 1
    print("%d traces, %d differ" % (len(files), bad))
    return 1 if bad or not files else 0


sys.exit(main(sys.argv[1:]))
