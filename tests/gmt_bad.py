#!/usr/bin/env python3
"""gmt_bad.py: recordings made to do harm, whose hashes are right: each is refused with its reason and offset, exit code 2, by each command that reads
recordings, in memory and processor time that are measured and bounded. Numbers in header, index, end record and blocks that are too large,
overflow, or contradict each other; blocks that become more than they say. Raw logs of the recorder: test_import.c.

usage: gmt_bad.py     needs $GOMEM and the zstd command"""
import ctypes
import ctypes.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import gotrace_bad  # noqa: E402
from gotrace_make import Zstd  # noqa: E402

GOMEM = os.environ["GOMEM"]
ROOT = Path(os.environ["GOMEM_SOURCE_DIR"])
GOOD = (ROOT / "tests/controls/goroutines-p4.gmt").read_bytes()
MIB = 1 << 20
BOUND = 48 * MIB  # a block of 16 MiB raw, its events and marks, and the program
END, INDEX_FIXED = 40, 40
U64 = 2**64
# Names of cases that `gomem info` cannot tell from good ones.
ONLY_EVENTS_TELL = ("a block", "a bomb", "a frame", "one span too many", "block 1 with offset 29822", "block 1 with spans 487")

xxhash = ctypes.CDLL(ctypes.util.find_library("xxhash") or "libxxhash.so.0")
xxhash.XXH64.restype = ctypes.c_uint64
xxhash.XXH64.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint64]


def le(v, n):
    return (v % (1 << 8 * n)).to_bytes(n, "little")


def get(data, at, n):
    return int.from_bytes(data[at:at + n], "little")


def rehash(data, begin, end):
    """The hash behind [begin, end)."""
    part = bytes(data[begin:end])
    data[end:end + 8] = le(xxhash.XXH64(part, len(part), 0), 8)


HEADER = 16 + get(GOOD, 12, 4)
INDEX = get(GOOD, len(GOOD) - END + 16, 8)
INDEX_END = len(GOOD) - END - 8
FIRST = HEADER + 8
KINDS, PATHS = get(GOOD, INDEX + 4, 4), get(GOOD, INDEX + 8, 4)
SECOND = get(GOOD, INDEX_END - 24, 8)  # where the last of its two blocks begins
ENTRIES = INDEX + INDEX_FIXED + 8 * (KINDS + PATHS)


def header(at, v, n):
    data = bytearray(GOOD)
    data[at:at + n] = le(v, n)
    rehash(data, 0, HEADER)
    return data


def index(at, v, n=8):
    data = bytearray(GOOD)
    data[at:at + n] = le(v, n)
    rehash(data, INDEX, INDEX_END)
    return data


def end(at, v, n=8):
    data = bytearray(GOOD)
    data[len(data) - END + at:len(data) - END + at + n] = le(v, n)
    rehash(data, len(data) - END, len(data) - 8)
    return data


def first_block(change):
    """The first block with other bytes from its header on, as long as before."""
    data = bytearray(GOOD)
    stop = get(GOOD, ENTRIES + 24, 8) - 8 if get(GOOD, INDEX + 16, 8) > 1 else INDEX - 8
    block = change(bytearray(data[FIRST:stop]))
    if len(block) != stop - FIRST:
        raise AssertionError("a block of another length")
    data[FIRST:stop] = block
    rehash(data, FIRST, stop)
    return data


def with_frame(raw, frame):
    """A block of one frame, the rest of whose room a skippable frame would take: the reader wants one frame of all of it."""
    def change(block):
        room = len(block) - 24
        block[8:12] = le(raw, 4)
        block[24:] = (frame + bytes(room))[:room]
        return block
    return first_block(change)


def cases():
    for v in (0, 1, 2, 99, 2**31, 2**32 - 1):
        if v != get(GOOD, 8, 4):
            yield "format version %d" % v, header(8, v, 4)
    for v in (HEADER - 15, 16385, 2**31, 2**32 - 1):
        yield "a header of %d bytes" % v, header(12, v, 4)
    for at in (16, 16 + 2 + get(GOOD, 16, 2)):
        for v in (0xffff, 300):
            yield "a string of %d bytes in the header, at %d" % (v, at), header(at, v, 2)
    for v in (U64 - 1, 2**63, 2**60, len(GOOD) + 1, INDEX + 1, INDEX - 1, 0):
        yield "an index at %d" % v, end(16, v)
    for v in (U64 - 1, len(GOOD) - 1, 0):
        yield "a file of %d bytes" % v, end(24, v)
    for v in (0, 6, 2**32 - 1):
        yield "an end of kind %d" % v, end(4, v, 4)
    for what, at in (("blocks", INDEX + 16), ("events", INDEX + 24), ("spans", INDEX + 32)):
        for v in (U64 - 1, 2**63, 2**61, 2**32, get(GOOD, at, 8) + 1):
            more = v == get(GOOD, at, 8) + 1 and what == "spans"
            yield "one span too many" if more else "%d %s" % (v, what), index(at, v)
    for what, at in (("kinds", INDEX + 4), ("paths", INDEX + 8)):
        for v in (0, 2**32 - 1, get(GOOD, at, 4) + 1):
            yield "%d %s" % (v, what), index(at, v, 4)
    for kind in (1, 2, KINDS - 1):
        at = INDEX + INDEX_FIXED + 8 * kind
        for v in (U64 - 1, 2**63, get(GOOD, at, 8) + 1):
            yield "%d events of kind %d" % (v, kind), index(at, v)
    wrap = bytearray(GOOD)  # two counts whose sum overflows to what it was
    at = INDEX + INDEX_FIXED + 8
    wrap[at:at + 8] = le(get(GOOD, at, 8) + 2**63, 8)
    wrap[at + 8:at + 16] = le(get(GOOD, at + 8, 8) + 2**63, 8)
    rehash(wrap, INDEX, INDEX_END)
    yield "counts whose sum overflows", wrap
    for i, what in enumerate(("offset", "first event", "spans")):
        for entry in (0, 1):
            at = ENTRIES + 24 * entry + 8 * i
            if at + 8 <= INDEX_END:
                for v in (U64 - 1, 2**63, get(GOOD, at, 8) + 1):
                    yield "block %d with %s %d" % (entry, what, v), index(at, v)
    for what, at in (("magic", 0), ("events", 4), ("raw bytes", 8), ("bytes", 12)):
        for v in (0, 2**32 - 1, (16 << 20) + 1):
            yield "a block with %s %d" % (what, v), first_block(lambda b, at=at, v=v: b[:at] + le(v, 4) + b[at + 4:])
    yield "a block with first event 2^64 - 1", first_block(lambda b: b[:16] + le(U64 - 1, 8) + b[24:])
    yield "a block that is no frame", first_block(lambda b: b[:24] + bytes(len(b) - 24))
    yield "a block of one byte a million times", with_frame(16 << 20, Zstd().repeat(0, 1 << 30).done())
    yield "a block of 16 MiB of zeros", with_frame(16 << 20, Zstd().repeat(0, 16 << 20).done())
    sized = subprocess.run(["zstd", "-q19", "--content-size", "-c"], input=bytes(16 << 20), capture_output=True, check=True).stdout
    yield "a frame that knows its 16 MiB, followed by others", with_frame(16 << 20, sized)
    sized = subprocess.run(["zstd", "-q19", "--stream-size=%d" % (1 << 30), "-c"], input=bytes(1 << 30), capture_output=True, check=True).stdout
    yield "a bomb of 1 GiB", with_frame(1 << 30, sized)
    yield "a bomb of 1 GiB that says 16 MiB", with_frame(16 << 20, sized)


def main():
    if shutil.which("zstd") is None:
        print("SKIPPED: there is no zstd command")
        return 77
    tmp = Path(tempfile.mkdtemp())
    runner = gotrace_bad.Runner(tmp)
    failures, checks, files, most, left, kept = [], 0, 0, 0, 0, 0
    try:
        path = tmp / "bad.gmt"
        path.write_bytes(GOOD)
        for command in ("info", "replay"):
            checks += 1
            code, _, err, _ = runner.run(command, path)
            if code != 0:
                failures.append("the good one: %s: exit code %d, %s" % (command, code, err))
        for name, data in cases():
            files += 1
            path.write_bytes(bytes(data))
            for args in (["replay"], ["dump"], ["stat"], ["report", "-o", tmp / "x.html"], ["whatif"], ["info"]):
                checks += 1
                code, out, err, peak = runner.run(*args, path)
                most = max(most, peak)
                if code == 0 and args == ["info"] and name.startswith(ONLY_EVENTS_TELL):
                    left += 1 # it reads what frames the blocks, and not the events
                    continue
                if code != 2 or str(path) not in err or not err.strip():
                    failures.append("%s: %s: exit code %d: %s" % (name, args[0], code, err.strip()[:200]))
                if not gotrace_bad.SANITIZED and peak > BOUND:
                    failures.append("%s: %s: %d bytes of memory" % (name, args[0], peak))
            checks += 1
            code, out, err, peak = runner.run("replay", "--salvage", path)
            most = max(most, peak)
            good = code == 0 and "\nsalvaged " in out and "\nverdict    every decision equal" in out
            if good != (data[:SECOND] == GOOD[:SECOND]) or not good and (code, out) != (2, ""):
                failures.append("%s: replay --salvage: exit code %d: %s%s" % (name, code, out[:400], err[:200]))
            if not gotrace_bad.SANITIZED and peak > BOUND:
                failures.append("%s: replay --salvage: %d bytes of memory" % (name, peak))
            kept += code == 0
    finally:
        runner.stop()
        shutil.rmtree(tmp)
    for f in failures:
        print("FAILED " + f)
    print("%d recordings that do harm, %d of %d checks hold; not for `info` to tell: %d; --salvage replays of %d what is left; memory at most %.1f MiB of %d" % (
        files, checks - len(failures) - left, checks - left, left, kept, most / MIB, BOUND // MIB))
    return 1 if failures or not files else 0


if __name__ == "__main__":
    sys.exit(main())
