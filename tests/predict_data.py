#!/usr/bin/env python3
"""predict_data.py [--write]: each Go trace in the tree comes out as traces/data/gotrace/PREDICTED says, number by number.

Of objects at least 99.99 % are equal, and all of them where there is one P.
A line: file, kind, all, equal, late, adopted, mismatch; and at how many refills the trace does not tell which of two spans came first. --write makes the file anew (`./dev test` never does)."""
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(os.environ.get("GOMEM_SOURCE_DIR", "."))
GOMEM = os.environ.get("GOMEM", str(ROOT / "build/release/gomem"))
DATA = ROOT / "traces/data/gotrace"
COLUMNS = ("all", "equal", "late", "adopted", "mismatch")


def predict(path):
    run = subprocess.run([GOMEM, "replay", "--json", str(path)], capture_output=True, text=True)
    if run.returncode == 2:
        return 2, None
    return run.returncode, json.loads(run.stdout.splitlines()[-1])


def lines_of(path):
    code, verdict = predict(path)
    if verdict is None:
        return ["%s\trefused" % path.name]
    if "stopped" in verdict:
        return ["%s\tstopped: %s" % (path.name, verdict["stopped"])]
    wrong = sum(k["mismatch"] for k in verdict["kinds"].values())
    if code != (1 if wrong else 0):
        return ["%s\texit code %d with %d mismatches" % (path.name, code, wrong)]
    lines = []
    objects, least = verdict["objects"], 1 if verdict["ps"] == 1 else 0.9999
    if objects["equal"] < least * (objects["all"] - objects["adopted"]):
        lines.append("%s\tonly %s %% of the objects" % (path.name, objects["percent"]))
    for name, kind in verdict["kinds"].items():
        if kind["all"] != sum(kind[c] for c in COLUMNS[1:]):
            lines.append("%s\t%s\tdoes not add up" % (path.name, name))
        lines.append("\t".join([path.name, name] + [str(kind[c]) for c in COLUMNS]))
    lines.append("%s\torder not told\t%d\tnot the port's\t%d" % (path.name, verdict["open"], verdict["orders"]))
    return lines


def main():
    got = ["# file\tkind\t" + "\t".join(COLUMNS)]
    for path in sorted(DATA.glob("*.trace.zst")):
        got += lines_of(path)
    expected = DATA / "PREDICTED"
    if "--write" in sys.argv[1:]:
        expected.write_text("\n".join(got) + "\n")
        return 0
    want = expected.read_text().splitlines()
    if got == want:
        print("%d lines as expected" % len(got))
        return 0
    for line in sorted(set(want) - set(got)):
        print("- " + line)
    for line in sorted(set(got) - set(want)):
        print("+ " + line)
    return 1


sys.exit(main())
