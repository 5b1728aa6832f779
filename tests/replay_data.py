#!/usr/bin/env python3
"""replay_data.py: every recording in the tree replays with every decision equal, each kind by itself; recordings of one P without yield points too,
and all in real memory, where objects that were to be zero are looked at."""
import json
import os
import subprocess
import sys
from pathlib import Path

GOMEM = os.environ["GOMEM"]
ROOT = Path(os.environ["GOMEM_SOURCE_DIR"])
SANITIZED = bool(os.environ.get("GOMEM_SANITIZE"))


def replay(path, *options):
    run = subprocess.run([GOMEM, "replay", "--json", *options, str(path)], capture_output=True, text=True)
    lines = run.stdout.splitlines()
    return run.returncode, json.loads(lines[-1]) if lines else {"error": run.stderr}


def unequal(code, verdict):
    """What is wrong with a verdict; empty if nothing."""
    if code != 0 or verdict.get("status") != "equal":
        return "exit code %d, %s %s" % (code, verdict.get("status"), verdict.get("error", ""))
    if verdict["decisions"] == 0 or verdict["equal"] != verdict["decisions"]:
        return "%d of %d decisions" % (verdict["equal"], verdict["decisions"])
    bad = [k for k, v in verdict["kinds"].items() if v["equal"] != v["total"]]
    return "kinds " + ", ".join(bad) if bad else ""


def main():
    files = sorted([*(ROOT / "traces/data").glob("*.gmt"), *(ROOT / "tests/controls").glob("*.gmt")])
    if SANITIZED:
        large = [f.name for f in files if f.stat().st_size >= 1 << 20]
        files = [f for f in files if f.name not in large]
        print("left to the release build, which is not sanitized: --os real, and " + ", ".join(large))
    failures, runs = 0, 0
    for path in files:
        code, verdict = replay(path)
        modes = [(), ("--os", "real")] if verdict.get("gomaxprocs") != 1 else [(), ("--plain",), ("--os", "real")]
        # Under AddressSanitizer the recorded addresses may be its own: --os real then says so (exit code 2).
        if SANITIZED:
            modes = [m for m in modes if m != ("--os", "real")]
        for options in modes:
            if options:
                code, verdict = replay(path, *options)
            wrong = unequal(code, verdict)
            runs += 1
            failures += bool(wrong)
            print("%s %s: %s" % (path.name, " ".join(options), wrong or "%d of %d decisions" % (verdict["equal"], verdict["decisions"])))
    print("%d of %d replays equal" % (runs - failures, runs))
    return 1 if failures or not runs else 0


if __name__ == "__main__":
    sys.exit(main())
