#!/usr/bin/env python3
"""gotrace_bad.py: damaged Go traces, made from those in the tree, and files made to do harm: each is refused with its message and offset, exit
code 2, by each command that reads traces; with --salvage what docs/TRACES.md says is left. Memory is measured, and stays below the bound there.

Go's own bug (batches twice, in a wrong order), cuts, events, tables and numbers that aren't any, older formats; little files that become
large; files whose work would grow with the square of their size if the reader took no care.

usage: gotrace_bad.py [WORD...]     needs $GOMEM and the zstd command; WORD: only cases whose name has it"""
import gzip
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))
from gotrace_make import END, NO_M, Zstd, batch, clock, event, header, number, numbers, records, start, take  # noqa: E402

GOMEM = os.environ["GOMEM"]
ROOT = Path(os.environ["GOMEM_SOURCE_DIR"])
SANITIZED = bool(os.environ.get("GOMEM_SANITIZE"))
MIB = 1 << 20
# The bound of docs/TRACES.md: bytes at most, for the program and its buffers; a byte of a generation; an entry of a table.
FIXED, EACH_BYTE, EACH_ENTRY = 16 * MIB, 1.25, 256
MAX_GENERATION, MAX_BATCHES, MAX_STRINGS, MAX_STACKS, MAX_TYPES, MAX_REASONS, MAX_MS = 1 << 30, 1 << 18, 1 << 20, 1 << 18, 1 << 18, 1 << 10, 1 << 17
EXPANSION, EXPANSION_FREE = 100, 64 * MIB
ARGS = {9: 2, 10: 2, 12: 3, 13: 2, 14: 3, 15: 1, 16: 2, 19: 2, 20: 2, 21: 3, 22: 2, 25: 3, 26: 2, 28: 1, 29: 2, 30: 1, 31: 1, 32: 1, 33: 2,
        34: 1, 35: 1, 37: 1, 38: 1, 39: 1, 45: 2, 46: 2, 47: 3, 48: 4, 128: 3, 129: 3, 130: 1, 131: 2, 132: 2, 133: 1, 134: 2, 135: 2, 136: 1}
AT_START = "not defined .type 60, thread [0-9]+., before all of what was there at the start has been told"


class Case:
    """A file, what is said of it, and at which offset (None: at some). left: generations that --salvage leaves; -1: events before the damage;
    None: nothing was there at the start. size: bytes of the trace that are read; entries: of its tables; good: it is no bad one after all; by: the command that refuses it first."""

    def __init__(self, name, data, words, offset, left=0, size=None, entries=0, suffix=".trace", good=False, by="info"):
        self.name, self.data, self.words, self.offset, self.left = name, data, words, offset, left
        self.size, self.entries, self.suffix, self.good, self.by = size or len(data), entries, suffix, good, by


# ---- a real trace, damaged

def plain(name):
    path = ROOT / "traces/data/gotrace" / (name + ".trace.zst")
    return subprocess.run(["zstd", "-dqc", str(path)], check=True, capture_output=True).stdout


def events(data, record):
    """(offset, type, offsets of its numbers, the time first)"""
    at = record.body
    while at < record.end:
        begin, kind, places = at, data[at], []
        at += 1
        for _ in range(1 + ARGS.get(kind, 0)):
            places.append(at)
            _, at = take(data, at)
        yield begin, kind, places


def timed(rs, gen):
    """Batches of events of a generation."""
    return [r for r in rs if r.tag == 1 and r.gen == gen and r.m != NO_M]


def find_event(data, rs, gen, kind, wanted=lambda places: True):
    for r in timed(rs, gen):
        for at, k, places in events(data, r):
            if k == kind and wanted(places):
                return r, at, places
    raise AssertionError("there is no event of type %d" % kind)


def with_number(data, record, at, value):
    """A number replaced by bytes of another length: the header of its batch says how many there are now."""
    _, end = take(data, at)
    body = data[record.body:at] + value + data[end:record.end]
    return data[:record.at] + batch(record.gen, record.m, record.time, body) + data[record.end:]


def twice(data, rs, gen, left):
    """What Go's bug makes of three full buffers: the first two once more."""
    a, b, c = timed(rs, gen)[:3]
    copy = data[:c.end] + data[a.at:a.end] + data[b.at:b.end] + data[c.end:]
    return Case("batches twice, in generation %d" % gen, copy, "a batch of thread %d that was there before" % a.m, c.end, left)


def damaged(version, data):
    rs = list(records(data))
    first, second = timed(rs, 1), timed(rs, 2)
    later = next(r.at for r in rs if r.gen == 2)
    yield twice(data, rs, 1, 0)
    yield twice(data, rs, 2, 1)
    lost = second[0]
    moved = data[first[1].at:first[1].end]
    yield Case("a batch of generation 1 in generation 2", data[:lost.end] + moved + data[lost.end:],
               "a batch of generation 1, among those of generation 2: Go's runtime wrote its buffers in a wrong order", lost.end, 1)
    early = data[:first[1].end] + data[lost.at:lost.end] + data[first[1].end:]
    if version >= 26:
        yield Case("a batch of generation 2 in generation 1", early, "a batch of generation 2, among those of generation 1", first[1].end)
        yield Case("an end without a beginning", data[:later] + END + data[later:], "the end of a generation that has not begun", later, 1)
    else:  # the generation seems to end there
        yield Case("a batch of generation 2 in generation 1", early, "(does not say how fast|no table|among those of)", None)
    yield Case("generation 2 before generation 1", data[:16] + data[later:] + data[16:later], "(among those of generation|without objects)", None)
    yield Case("a cut in a batch", data[:second[1].end - 5], "the trace is cut: it ends here, in the middle of a batch", second[1].end - 5, 1)
    yield Case("a cut in a header", data[:second[1].at + 3], "the trace is cut: it ends here, in the middle of the header of a batch", second[1].at + 3, 1)
    yield Case("a cut in generation 1", data[:first[1].end - 5], "the trace is cut: it ends here, in the middle of a batch", first[1].end - 5)
    if version >= 26:
        yield Case("a cut between batches", data[:second[1].at], "the trace is cut: it ends here, before generation 2 does", second[1].at, 1)
    tag = second[1].at
    yield Case("no batch", data[:tag] + b"\x63" + data[tag + 1:], r"no batch begins here \(type 99\)", tag, 1)
    _, at, _ = find_event(data, rs, 2, 132)
    yield Case("an event of no type", data[:at] + b"\x3c" + data[at + 1:], r"this type of event is not defined \(type 60, thread \d+\)", at, -1)
    r, _, places = find_event(data, rs, 2, 132, lambda places: data[places[2]] != 0)
    yield Case("an object of no type", with_number(data, r, places[2], number(2**40)), "an object of type %d, which no table of its generation" % 2**40, None, -1)
    r, at, places = find_event(data, rs, 2, 26)
    yield Case("a string that is nowhere", with_number(data, r, places[1], number(2**40)), "string %d, which no table" % 2**40, None, -1)
    r, at, places = find_event(data, rs, 2, 133)
    yield Case("a number of more than 64 bits", with_number(data, r, places[1], b"\xff" * 9 + b"\x02"), "a number of more than 64 bits", None, -1)
    at = second[1].at + 1
    yield Case("a header with a number of more than 64 bits", data[:at] + b"\xff" * 9 + b"\x02" + data[at:], "a number of more than 64 bits", at, 1)
    yield Case("a header with a number of more than 10 bytes", data[:at] + b"\x80" * 10 + data[at:], "a number of more than 10 bytes", at, 1)
    r, at, places = find_event(data, rs, 1, 128)
    yield Case("damage where what was there at the start begins", data[:at] + b"\x3c" + data[at + 1:], AT_START, at)
    at = [begin for begin, kind, _ in events(data, r) if kind == 131][50]
    yield Case("damage in what was there at the start", data[:at] + b"\x3c" + data[at + 1:], AT_START, at)


# ---- other formats

def formats(data):
    for version, words in ((21, "go1.21: objects are in traces since go1.23"), (22, "a trace of go1.22: objects are in traces since go1.23"),
                           (11, "go1.11: objects are in traces since go1.23"), (99, "a trace of go1.99: this program reads")):
        yield Case("a header of go1.%d" % version, header(version) + data[16:], words, 0)
    yield Case("a header cut short", data[:10], "", None)
    yield Case("a gzip file, cut", gzip.compress(data[:200000], 1, mtime=0)[:-3000], "the compressed file ends here, in the middle", None, suffix=".gz")
    spoilt = bytearray(gzip.compress(data, 1, mtime=0))
    spoilt[-6] ^= 1
    yield Case("a gzip file whose checksum is wrong", bytes(spoilt), "does not decompress: incorrect data check", None, 1, len(data), suffix=".gz")


# ---- files that do harm

def in_batches(items, first, wrap):
    """Batches of as many items as fit."""
    out, open_batch = [], bytearray(first)
    for item in items:
        if len(open_batch) + len(item) > 65536:
            out.append(wrap(bytes(open_batch), len(out)))
            open_batch = bytearray(first)
        open_batch += item
    return b"".join(out) + wrap(bytes(open_batch), len(out))


def strings(n, gen=1, text=lambda i: b""):
    return in_batches((b"\5" + numbers(i, len(text(i))) + text(i) for i in range(1, n + 1)), b"\4", lambda b, _: batch(gen, NO_M, 9, b))


def stacks(n, gen=1):
    """Each of one frame, whose strings are empty."""
    return in_batches((b"\3" + numbers(i, 1, 1, 0, 0, 1) for i in range(1, n + 1)), b"\2", lambda b, _: batch(gen, NO_M, 9, b))


def types(n, gen=1, name=b""):
    return in_batches((numbers(i, i, 0, 0, len(name)) + name for i in range(1, n + 1)), b"\0", lambda b, _: batch(gen, NO_M, 9, b, 1))


def bomb(batches, byte, experiment=None):
    """64 KiB of the trace for 40 bytes of the file. 0x11 0x11 is an event (a goroutine ends)."""
    z = Zstd().raw(start())
    for i in range(batches):
        z.raw(batch(1, 1, 5 + i, bytes(65536), experiment)[:-65536]).repeat(byte, 65536)
    return z.done()


def read_of(data):
    """How much of a bomb is uncompressed until it is noticed. The reader may be ahead in the file by a buffer."""
    return EXPANSION_FREE + EXPANSION * len(data) + MIB


def bombs():
    limit = "does not decompress: it becomes more than 64 MiB, and more than 100 times its size"
    for name, data in (("events", bomb(20000, 0x11)), ("what is not kept", bomb(200000, 0, 2))):
        yield Case("a zstd bomb of " + name, data, limit, None, 0, read_of(data), suffix=".zst")
    zeros = Zstd().raw(start()).repeat(0, 16 << 30).done()
    yield Case("a zstd bomb of zeros", zeros, r"no batch begins here \(type 0\)", len(start()), 0, MIB, suffix=".zst")
    head = batch(1, 1, 5, bytes(65536), 2)
    data = gzip.compress(start() + head * 6000, 9, mtime=0)
    yield Case("a gzip bomb", data, limit, None, 0, read_of(data), suffix=".gz")
    nested = gzip.compress(gzip.compress(bytes(256 * MIB), 1, mtime=0), 9, mtime=0)
    yield Case("gzip in gzip", nested, "(not a Go|not a|no)", None, 0, MIB, suffix=".gz")


def squares():
    begin = start()
    data = begin + b"".join(batch(1, 1, i + 5, b"") for i in range(MAX_BATCHES + 10))
    yield Case("many empty batches", data, "more than %d batches in a generation" % MAX_BATCHES, None, entries=MAX_BATCHES)
    data = begin + strings(MAX_STRINGS + 10)
    yield Case("many strings", data, "more than %d strings in a generation" % MAX_STRINGS, None, entries=MAX_STRINGS)
    data = begin + stacks(MAX_STACKS + 10) + END
    yield Case("many stacks", data, "more than %d stacks in a generation" % MAX_STACKS, None, entries=MAX_STACKS, by="replay")
    data = begin + types(MAX_TYPES + 10)
    yield Case("many types", data, "more than %d types, or more than" % MAX_TYPES, None, entries=MAX_TYPES)
    n = 50000
    reasons = in_batches((event(26, 1, i, 0) for i in range(1, n + 1)), b"", lambda b, i: batch(1, 1, 1000 + i, b))
    data = begin + strings(n, text=lambda i: b"%d" % i) + reasons + END
    yield Case("many reasons to stop the world", data, "more than %d reasons to stop the world" % MAX_REASONS, None, None, entries=n)
    data = begin + b"".join(batch(1, i, 5, event(17, 1)) for i in range(MAX_MS + 10))
    yield Case("many threads", data, "more than %d threads" % MAX_MS, None, entries=2 * MAX_MS) # a thread, and its batch
    # Their keys are the same if a key is time and thread, mixed without a secret.
    same = b"".join(batch(1, i, (i * 0x9e3779b97f4a7c15 ^ 12345) % 2**64, b"") for i in range(200000))
    yield Case("batches that collide", begin + same, "the trace is cut: it ends here, before generation 1 does", None, entries=200000)
    # After one generation with many threads or many strings, many that have nothing.
    small = b"".join(clock(g) + batch(g, NO_M, 9, b"\4\5\1\0") + END for g in range(2, 50000))
    data = begin + b"".join(batch(1, i, 5, event(17, 1)) for i in range(100000)) + strings(400000) + END + small
    yield Case("a large generation, then many small ones", data, "", None, entries=700000, good=True)


def large():
    """A generation that doesn't end: holes in the file are zeros. Nobody looks at events before the generation ends."""
    enough = 0
    if Path("/proc/meminfo").exists():
        enough = int(re.search(r"MemAvailable: +(\d+)", Path("/proc/meminfo").read_text()).group(1)) << 10
    if SANITIZED or enough < 3 << 30:
        print("NOT TRIED: a generation of more than 1 GiB (%s)" % ("sanitizers" if SANITIZED else "less than 3 GiB of memory are free"))
        return
    pieces = [(0, start())]
    at = len(start())
    for i in range(MAX_GENERATION // 65536 + 2):
        head = batch(1, 1, 5 + i, bytes(65536))[:-65536]
        pieces.append((at, head))
        at += len(head) + 65536
    yield Case("a generation of more than 1 GiB", (pieces, at), "a generation of more than %d bytes" % MAX_GENERATION, None, 0, MAX_GENERATION)


# ---- judging

failures = []
checks = 0
worst = 0.0


def write(path, data):
    if isinstance(data, bytes):
        path.write_bytes(data)
        return
    with open(path, "wb") as f:
        for at, piece in data[0]:
            f.seek(at)
            f.write(piece)
        f.truncate(data[1])


class Runner:
    """A small process that starts the command: the most memory of a process counts that of the one that it was before exec, too."""
    CODE = """
import json, os, resource, sys
for line in sys.stdin:
    args, out, err, limit = json.loads(line)
    pid = os.fork()
    if pid == 0:
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
        for path, fd in ((out, 1), (err, 2)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), fd)
        os.execv(args[0], args)
    _, status, usage = os.wait4(pid, 0)
    print(os.waitstatus_to_exitcode(status), usage.ru_maxrss * 1024, flush=True)
"""

    def __init__(self, tmp):
        self.out, self.err = tmp / "stdout", tmp / "stderr"
        self.process = subprocess.Popen([sys.executable, "-I", "-S", "-c", self.CODE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, *args):
        """Exit code, stdout, stderr, the most memory in bytes. The limit of CPU time only keeps a hang from lasting."""
        line = [[GOMEM, *map(str, args)], str(self.out), str(self.err), 300 if SANITIZED else 60]
        self.process.stdin.write(json.dumps(line) + "\n")
        self.process.stdin.flush()
        code, peak = map(int, self.process.stdout.readline().split())
        return code, *(f.read_text(errors="replace") for f in (self.out, self.err)), peak

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


def expect(case, what, good, seen):
    global checks
    checks += 1
    if not good:
        failures.append("%s: %s: %s" % (case.name, what, str(seen)[:300]))


def memory(case, what, peak):
    global worst
    if SANITIZED:
        return
    bound = FIXED + EACH_BYTE * min(case.size, MAX_GENERATION) + EACH_ENTRY * case.entries
    worst = max(worst, peak / bound)
    expect(case, what + ": memory", peak <= bound, "%d bytes, at most %d" % (peak, bound))


def refused(runner, case, path, args):
    code, _, err, peak = runner.run(*args, path)
    what = " ".join(map(str, args))
    text = err.strip()
    expect(case, what + ": exit code and message", code == 2 and str(path) in text and re.search(case.words, text), (code, text))
    found = re.search(r"offset (\d+)", text)
    if case.offset is not None:
        expect(case, what + ": offset %d" % case.offset, found and int(found.group(1)) == case.offset, text)
    memory(case, what, peak)
    return text, peak


def salvaged(runner, case, path):
    """What is left, as each command says: events of the generations before, or up to the damage; or nothing, and exit code 2."""
    counts = {}
    for args in (["replay", "--json"], ["stat", "--json"], ["whatif", "--json"], ["info"], ["dump"], ["report", "-o", path.with_suffix(".html")]):
        command = args[0]
        code, out, err, peak = runner.run(*args, "--salvage", path)
        memory(case, command + " --salvage", peak)
        if case.left == 0:
            why = any(w in err for w in ("nothing that stands before it is whole", "not a recording", "without objects"))
            expect(case, command + " --salvage leaves nothing", code == 2 and re.search(case.words, err) and why, (code, err))
            continue
        expect(case, command + " --salvage", code == 0 or code == 1 and command == "replay", (code, err))
        if code == 2:
            continue
        said = {"dump": err, "report": path.with_suffix(".html").read_text() if command == "report" else ""}.get(command, out)
        found = re.search(r'salvaged(?:":"|: | +)the first ([0-9,]+) events, not what follows: ([^"]*)', said)
        expect(case, command + " --salvage says how much and why", found and re.search(case.words, found.group(2)), said[:300])
        counts[command] = int(found.group(1).replace(",", "")) if found else 0
        if command == "dump":
            expect(case, "dump --salvage prints as many events as it says", counts["dump"] == out.count("\n"), (counts, out.count("\n")))
    counts.pop("replay", 0)  # it counts more kinds of events
    expect(case, "--salvage leaves events, each command as many", len(set(counts.values())) < 2 and 0 not in counts.values(), counts)


def judge(runner, case, tmp):
    path = tmp / ("bad" + case.suffix)
    write(path, case.data)
    if case.good:
        code, _, err, peak = runner.run("info", path)
        expect(case, "info", code == 0, (code, err))
        memory(case, "info", peak)
        print("%s: read; %.1f MiB" % (case.name, peak / MIB))
        return
    text, peak = refused(runner, case, path, [case.by])
    print("%s%s\n    %s" % (case.name, "" if SANITIZED else " (%.1f MiB)" % (peak / MIB), text.replace(str(tmp) + "/", "")))
    if isinstance(case.data, tuple):
        return # a gigabyte, once
    # What takes long takes so in the reader, which is the same for all.
    others = [["replay"]] if case.entries > 0 else [["dump"], ["replay"], ["stat"], ["report", "-o", tmp / "x.html"], ["whatif"]]
    for args in others:
        refused(runner, case, path, args)
    if case.left is not None and case.entries == 0:
        salvaged(runner, case, path)


def real(runner):
    """`gomem replay` of each trace in the tree, which holds a heap besides: four times the file, and what any program needs."""
    paths = sorted((ROOT / "traces/data/gotrace").glob("*.trace.zst"))
    for path in paths:
        code, _, err, peak = runner.run("replay", path)
        case = Case(path.name, b"", "", None)
        expect(case, "replay", code in (0, 1) or "traceallocfree=1" in err, (code, err))
        if not SANITIZED:
            expect(case, "replay: memory", peak <= FIXED + 4 * path.stat().st_size, "%d bytes for a file of %d" % (peak, path.stat().st_size))
    noobjects = ROOT / "traces/data/gotrace/noobjects-p4.trace.zst"
    code, out, err, _ = runner.run("replay", "--json", noobjects)
    told = json.loads(out or "{}")
    expect(Case(noobjects.name, b"", "", None), "replay --json of what is refused", code == 2 and told.get("status") == "bad input" and
           "traceallocfree=1" in told.get("error", "") and "traceallocfree=1" in err, (code, out, err))
    print("%d good traces: replayed, with memory of at most four times the file and %d MiB" % (len(paths), FIXED // MIB))


def main(words):
    if shutil.which("zstd") is None:
        print("SKIPPED: there is no zstd command")
        return 77
    tmp = Path(tempfile.mkdtemp())
    runner, n = Runner(tmp), 0
    try:
        new, old = plain("http-p4"), plain("go125-p4")
        for cases in (damaged(26, new), damaged(25, old), formats(new), bombs(), squares(), large()):
            for case in cases:
                if not words or any(w in case.name for w in words):
                    judge(runner, case, tmp)
                    n += 1
        if not words:
            real(runner)
    finally:
        runner.stop()
        shutil.rmtree(tmp)
    for f in failures:
        print("FAILED " + f)
    print("%d files, %d of %d checks hold%s" % (n, checks - len(failures), checks,
                                               "; memory not measured (sanitizers)" if SANITIZED else "; memory at most %.0f %% of the bound" % (100 * worst)))
    return 1 if failures or n == 0 else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
