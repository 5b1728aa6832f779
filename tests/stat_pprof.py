#!/usr/bin/env python3
"""`gomem stat --pprof` writes what `go tool pprof` reads: the same totals, for each kind of value, and the same sum for each size class.

usage: stat_pprof.py [FILE...]      needs $GOMEM and Go; exits with 77 if there is none"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

GOMEM = os.environ["GOMEM"]
ROOT = Path(os.environ["GOMEM_SOURCE_DIR"])


def top(profile, index):
    """pprof's total, and the cumulated value of each frame, as bytes or counts."""
    env = dict(os.environ, PPROF_TMPDIR=str(profile.parent))
    got = subprocess.run(["go", "tool", "pprof", "-top", "-nodecount=100000", "-nodefraction=0", "-unit=B", "-sample_index=" + index, str(profile)],
                         capture_output=True, text=True, env=env, check=True).stdout
    total = re.search(r"of (\d+)(?:B)? total", got)
    rows = {}
    for line in got.splitlines():
        match = re.fullmatch(r" *\d+B? +\S+% +\S+% +(\d+)B? +\S+%  (.*)", line)
        if match:
            rows[match.group(2)] = int(match.group(1))
    return int(total.group(1)) if total else 0, rows


def main(argv):
    if shutil.which("go") is None:
        print("skipped: there is no Go")
        return 77
    files = [Path(f) for f in argv] or [ROOT / "traces/data/jsonbench-p1.gmt", ROOT / "traces/data/gotrace/compile-p4.trace.zst"]
    failures = 0
    with tempfile.TemporaryDirectory() as work:
        for path in files:
            profile = Path(work) / "p.pb.gz"
            run = subprocess.run([GOMEM, "stat", "--json", "--pprof", str(profile), str(path)], capture_output=True, text=True)
            if "built without" in run.stderr:
                print("skipped: " + run.stderr.strip())
                return 77
            d = json.loads(run.stdout)
            t, p = d["totals"], d["peak"]
            for index, want, of in (("alloc_objects", t["taken"], lambda c: c["taken"]), ("alloc_space", t["taken_bytes"], lambda c: c["taken_bytes"]),
                                    ("inuse_objects", p["used"], lambda c: c["peak"]["used"]),
                                    ("inuse_space", p["used_bytes"], lambda c: c["peak"]["used_bytes"])):
                total, rows = top(profile, index)
                wrong = [c["name"] for c in d["span_classes"] if rows.get(c["name"], 0) != of(c)]
                failures += total != want or bool(wrong)
                print("%s %s: pprof says %d, the JSON %d; %d classes, %d differ" % (path.name, index, total, want, len(d["span_classes"]), len(wrong)))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
