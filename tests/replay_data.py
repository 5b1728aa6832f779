#!/usr/bin/env python3
"""replay_data.py: every recording in the tree replays with every decision equal, each kind by itself; recordings of one P without yield points too,
and all in real memory, where objects that were to be zero are looked at. Each names the release of Go that it decided as. The recordings in
tests/controls are also replayed as each other release: equal if the two decide the same (docs/VERSIONS.md), else not."""
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

GOMEM = os.environ["GOMEM"]
ROOT = Path(os.environ["GOMEM_SOURCE_DIR"])
# Releases of Go in groups that decide the same; those with a recording in the tree.
RELEASES = [{"go1.24", "go1.25"}, {"go1.26", "go1.27"}]
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


def release_of(verdict):
    return ".".join(verdict.get("goversion", "").split(".")[:2])


def foreign(path, own):
    """Replays as each other release; what is wrong with each verdict."""
    for group in RELEASES:
        for release in sorted(group - {own}):
            code, verdict = replay(path, "--go", release)
            wrong = unequal(code, verdict)
            if verdict.get("replayed_as") != release:
                yield release, "replayed as %s: %s" % (verdict.get("replayed_as"), verdict.get("error"))
            elif own in group:
                yield release, wrong
            else:
                yield release, "" if code == 1 and verdict["differ"] > 0 else "not found to be another release's: exit code %d" % code


def main():
    files = sorted([*(ROOT / "traces/data").glob("*.gmt"), *(ROOT / "tests/controls").glob("*.gmt")])
    if SANITIZED:
        large = [f.name for f in files if f.stat().st_size >= 1 << 20]
        files = [f for f in files if f.name not in large]
        print("left to the release build, which is not sanitized: --os real, and " + ", ".join(large))
    failures, runs, others, seen, arches = 0, 0, 0, set(), Counter()
    for path in files:
        code, verdict = replay(path)
        release = release_of(verdict)
        seen.add(release)
        arches[verdict.get("goarch")] += 1
        # The library without yield points is go1.26 alone, and on the host's words.
        plain = verdict.get("gomaxprocs") == 1 and release == "go1.26" and verdict.get("goarch") == "amd64"
        modes = [(), ("--plain",), ("--os", "real")] if plain else [(), ("--os", "real")]
        # Under AddressSanitizer the recorded addresses may be its own: --os real then says so (exit code 2).
        if SANITIZED:
            modes = [m for m in modes if m != ("--os", "real")]
        for options in modes:
            if options:
                code, verdict = replay(path, *options)
            wrong = unequal(code, verdict)
            if not wrong and verdict.get("replayed_as") != release:
                wrong = "recorded with %s, replayed as %s" % (verdict.get("goversion"), verdict.get("replayed_as"))
            runs += 1
            failures += bool(wrong)
            print("%s %s: %s" % (path.name, " ".join(options), wrong or "%d of %d decisions" % (verdict["equal"], verdict["decisions"])))
        for other, wrong in foreign(path, release) if path.parent.name == "controls" else ():
            others += 1
            failures += bool(wrong)
            print("%s as %s: %s" % (path.name, other, wrong or "as it has to be"))
    missing = set().union(*RELEASES) - seen
    if missing:
        failures += 1
        print("no recording of " + ", ".join(sorted(missing)))
    if arches["386"] < 3:
        failures += 1
        print("%d recordings of linux/386, and there are to be three" % arches["386"])
    print("%d replays, %d more as another release; %d failures; releases: %s; of linux/386: %d" % (
        runs, others, failures, ", ".join(sorted(seen)), arches["386"]))
    return 1 if failures or not runs or not others else 0


if __name__ == "__main__":
    sys.exit(main())
