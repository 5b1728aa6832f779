#!/usr/bin/env python3
"""bad_input.py: whatever is not a recording is refused with a clear error that names the file, exit code 2, in bounded memory and time;
so is a recording that was cut anywhere or has any byte changed, with the offset."""
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

    print(refused("empty file", made("empty.gmt", b"")))
    print(refused("a PNG", made("picture.gmt", PNG)))
    print(refused("a directory", tmp))
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
        usage()
    finally:
        shutil.rmtree(tmp)
    for f in failures:
        print("FAILED " + f)
    print("%d of %d refused as they should" % (checks - len(failures), checks))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
