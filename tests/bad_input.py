#!/usr/bin/env python3
"""bad_input.py: whatever is not a recording is refused with a clear error that names the file, exit code 2, in bounded memory and time;
so is a recording that was cut anywhere or has any byte changed, with the offset, unless --salvage keeps the blocks before it."""
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

GOMEM = os.environ["GOMEM"]
ROOT = Path(os.environ["GOMEM_SOURCE_DIR"])
GOOD = ROOT / "tests/controls/goroutines-p4.gmt"
MANY_BLOCKS = ROOT / "tests/controls/gofmt-p1.gmt"
PNG = bytes.fromhex("89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000a49444154789c6300010000050001")
MEMORY = 512 << 20

failures = []
checks = 0


def limited():
    if not os.environ.get("GOMEM_SANITIZE"):
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (60, 60))


def refused(what, path, *words, options=()):
    global checks
    checks += 1
    run = subprocess.run([GOMEM, "replay", *options, str(path)], capture_output=True, text=True, preexec_fn=limited)
    text = run.stderr.strip()
    lacks = [w for w in (str(path), *words) if w not in text]
    if run.returncode != 2 or lacks:
        failures.append("%s: exit code %d, lacks %s: %s" % (what, run.returncode, lacks, text[:300]))
    return text


def nonsense(tmp):
    def made(name, data):
        path = tmp / name
        path.write_bytes(data)
        return path

    both = "not a recording nor a Go trace"
    print(refused("empty file", made("empty.gmt", b""), both))
    print(refused("a PNG", made("picture.gmt", PNG), both))
    print(refused("a directory", tmp, both))
    print(refused("no file", tmp / "missing.gmt"))
    unreadable = made("unreadable.gmt", GOOD.read_bytes())
    unreadable.chmod(0)
    if os.geteuid() != 0:
        print(refused("an unreadable file", unreadable))
    else:
        print("not tried: an unreadable file (root reads everything)")
    zeros = tmp / "zeros.gmt"
    with open(zeros, "wb") as f:
        f.truncate(4 << 30)
    print(refused("4 GB of zeros", zeros))
    future = bytearray(GOOD.read_bytes())
    at = 8  # the version stands behind the magic (docs/FORMAT.md)
    future[at] = 99
    print(refused("a future version", made("future.gmt", bytes(future)), "version"))
    print(refused("a device", "/dev/null"))
    fifo = tmp / "fifo.gmt"
    os.mkfifo(fifo)
    print(refused("a pipe", fifo))


def located(what, text, at):
    """The offset named is that of the structure that holds the damage, so it does not lie behind it."""
    found = re.search(r"offset (\d+)", text)
    if not found or int(found.group(1)) > at:
        failures.append("%s: the error names another place: %s" % (what, text[:200]))


def damaged(tmp):
    data = GOOD.read_bytes()
    rng = random.Random(1)
    path = tmp / "damaged.gmt"
    for cut in [1, 7, 8, 40, len(data) // 2, len(data) - 1] + [rng.randrange(len(data)) for _ in range(40)]:
        path.write_bytes(data[:cut])
        located("cut at %d" % cut, refused("cut at %d" % cut, path, "offset"), cut)
    for at in [0, 8, 12, 100, len(data) - 1] + [rng.randrange(len(data)) for _ in range(150)]:
        flipped = bytearray(data)
        flipped[at] ^= 1 << rng.randrange(8)
        path.write_bytes(bytes(flipped))
        located("byte %d changed" % at, refused("byte %d changed" % at, path, "offset"), at)


def le(data, at):
    return int.from_bytes(data[at:at + 8], "little")


def blocks(data):
    """(end, number of the event behind it) of each block, from the index (docs/FORMAT.md)."""
    index = le(data, len(data) - 24)
    n, first = le(data, index + 16), len(data) - 48 - 24 * le(data, index + 16)
    entries = [(le(data, first + 24 * i), le(data, first + 24 * i + 8)) for i in range(n)]
    return entries[1:] + [(index, le(data, index + 24))]


def salvaged(tmp):
    """With --salvage each command takes the blocks before the damage, and says how many events that are and where the damage is."""
    global checks
    data = MANY_BLOCKS.read_bytes()
    ends = blocks(data)
    path, page = tmp / "salvaged.gmt", tmp / "page.html"
    rng = random.Random(2)
    places = [ends[0][0] - 1, ends[0][0], ends[2][0] + 30, ends[-1][0] - 1, ends[-1][0], len(data) - 1] + [rng.randrange(200, len(data)) for _ in range(2)]
    commands = (["replay"], ["replay", "--json"], ["stat"], ["stat", "--json"], ["whatif"], ["whatif", "--json"], ["info"], ["dump"], ["report", "-o", page])
    for cut, at in [(cut, at) for cut in (True, False) for at in places]:
        kept = max((events for end, events in ends if end <= at), default=0)
        damaged_data = data[:at] if cut else data[:at] + bytes([data[at] ^ 4]) + data[at + 1:]
        path.write_bytes(damaged_data)
        what = "%s at %d, --salvage" % ("cut" if cut else "changed", at)
        for args in commands:
            checks += 1
            page.write_text("")
            run = subprocess.run([GOMEM, *args, "--salvage", str(path)], capture_output=True, text=True, preexec_fn=limited)
            if kept == 0:
                if run.returncode != 2 or "--salvage: nothing that stands before it is whole" not in run.stderr:
                    failures.append("%s: %s: %d, %s" % (what, args, run.returncode, run.stderr[:200]))
                continue
            said = {"dump": run.stderr, "report": page.read_text() if args[0] == "report" else ""}.get(args[0], run.stdout)
            found = re.search(r'salvaged(?:":"|: | +)the first ([0-9,]+) events, not what follows: [^"]*offset (\d+)', said)
            if run.returncode != 0 or not found or int(found.group(1).replace(",", "")) != kept or int(found.group(2)) > at:
                failures.append("%s: %s: %d, not %d events: %s%s" % (what, args, run.returncode, kept, run.stderr[:200], said[:300]))
            if args == ["dump"] and run.stdout.count("\n") != kept:
                failures.append("%s: dump prints %d events of %d" % (what, run.stdout.count("\n"), kept))
        checks += 1
        run = subprocess.run([GOMEM, "replay", str(path)], capture_output=True, text=True)
        if ("(--salvage takes what is before it)" in run.stderr) != (kept > 0):
            failures.append("%s: what is said without it: %s" % (what, run.stderr))
    for args in commands:
        checks += 1
        run = subprocess.run([GOMEM, *args, "--salvage", str(MANY_BLOCKS)], capture_output=True, text=True)
        if run.returncode != 0 or "salvaged" in run.stdout + run.stderr or args[0] == "report" and '"salvaged":"' in page.read_text():
            failures.append("%s --salvage of a good recording: %d, %s" % (args, run.returncode, run.stderr[:200]))


def usage():
    global checks
    for args in ([], ["replay"], ["replay", "--nonsense", str(GOOD)], ["replay", "--os", "mars", str(GOOD)], ["nonsense"]):
        checks += 1
        run = subprocess.run([GOMEM, *args], capture_output=True, text=True)
        if run.returncode != 2 or not run.stderr:
            failures.append("gomem %s: exit code %d" % (" ".join(args), run.returncode))
    for args in (["--help"], ["replay", "--help"], ["record", "--help"], ["dump", "--help"], ["info", "--help"], ["--version"]):
        checks += 1
        run = subprocess.run([GOMEM, *args], capture_output=True, text=True)
        if run.returncode != 0 or not run.stdout:
            failures.append("gomem %s: exit code %d" % (" ".join(args), run.returncode))


def main():
    tmp = Path(tempfile.mkdtemp())
    try:
        nonsense(tmp)
        damaged(tmp)
        salvaged(tmp)
        usage()
    finally:
        shutil.rmtree(tmp)
    for f in failures:
        print("FAILED " + f)
    print("%d of %d refused as they should" % (checks - len(failures), checks))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
