#!/usr/bin/env python3
"""record_overhead.py [ROUNDS]: what recording costs a program, in CPU time (user and system), as a ratio to the same program built without the recorder.

Plain and recorded runs alternate, so that a busy machine is busy for both; the ratio of the medians and of the minima is printed."""
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import goroot

ROOT = Path(__file__).resolve().parent.parent
GOMEM = os.environ.get("GOMEM", str(ROOT / "build/release/gomem"))


def cpu():
    u = resource.getrusage(resource.RUSAGE_CHILDREN)
    return u.ru_utime + u.ru_stime


def plain(binary, args, cwd, env):
    before = cpu()
    subprocess.run([str(binary), *args], cwd=cwd, env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return cpu() - before


def recorded(out, package, args, cwd, env):
    run = subprocess.run([GOMEM, "record", "-v", "-f", "-o", str(out), "--", package, *args], cwd=cwd, env=env, check=True,
                         stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    return float(re.search(r"took ([\d.]+) s of CPU", run.stderr).group(1))


def measure(name, package, args, cwd, procs, rounds, tmp):
    env = dict(os.environ, GOMAXPROCS=str(procs))
    binary = tmp / ("plain-" + name)
    subprocess.run(["go", "build", "-o", str(binary), package], cwd=cwd, env=env, check=True)
    without, with_recorder = [], []
    for _ in range(rounds):
        without.append(plain(binary, args, cwd, env))
        with_recorder.append(recorded(tmp / "x.gmt", package, args, cwd, env))
    print("%-28s GOMAXPROCS=%-2d %6.2f s -> %6.2f s   ratio of medians %.2f, of minima %.2f" % (
        name, procs, statistics.median(without), statistics.median(with_recorder),
        statistics.median(with_recorder) / statistics.median(without), min(with_recorder) / min(without)))


def main():
    root = goroot.find_or_skip()
    if len(sys.argv) > 1 and not sys.argv[1].isdigit():
        sys.exit(__doc__)
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    tmp = Path(tempfile.mkdtemp())
    try:
        programs = ROOT / "traces/programs"
        measure("gofmt", "cmd/gofmt", ["-l", "encoding", "net"], root / "src", 1, rounds, tmp)
        measure("gofmt", "cmd/gofmt", ["-l", "encoding", "net"], root / "src", 4, rounds, tmp)
        measure("trees (allocates only)", "./trees", [], programs, 4, rounds, tmp)
        measure("goroutines", "./goroutines", [], programs, 16, rounds, tmp)
    finally:
        shutil.rmtree(tmp)


if __name__ == "__main__":
    main()
