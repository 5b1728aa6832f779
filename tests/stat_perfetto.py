#!/usr/bin/env python3
"""Perfetto opens what `gomem stat --perfetto` writes: no error, no data lost, and each counter value, cycle, argument and name is there, at its time.

usage: stat_perfetto.py [FILE...]      needs $GOMEM and Perfetto's trace_processor_shell: $TRACE_PROCESSOR or in PATH; exits with 77 if there is none"""
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

GOMEM = os.environ["GOMEM"]
ROOT = Path(os.environ["GOMEM_SOURCE_DIR"])
COMPLAINTS = "select name, severity, value from stats where value != 0 and severity in ('error', 'data_loss')"
COUNTERS = "select t.name, c.ts, c.value from counter c join counter_track t on c.track_id = t.id"
SLICES = "select name, ts, dur from slice"
ARGUMENTS = "select s.ts, a.flat_key, a.display_value from slice s join args a using (arg_set_id)"
NAMES = "select name from process where pid = 1 union all select name from thread where tid = 1"


def find_processor():
    named = os.environ.get("TRACE_PROCESSOR")
    return named or shutil.which("trace_processor_shell")


def ask(processor, query, trace, work):
    """The rows that trace_processor_shell answers with."""
    (work / "query.sql").write_text(query)
    got = subprocess.run([processor, "-q", str(work / "query.sql"), str(trace)], capture_output=True, text=True)
    if got.returncode != 0:
        sys.exit("%s: %s" % (processor, got.stderr.strip()))
    return list(csv.reader(got.stdout.splitlines()))[1:]


def nanoseconds(micros):
    return round(micros * 1000)


def written(events):
    """What the file says, as Perfetto's tables put it."""
    counters, slices, arguments, names = [], [], [], []
    for e in events:
        if e["ph"] == "C":
            (key, value), = e["args"].items()
            counters.append(("%s %s" % (e["name"], key), nanoseconds(e["ts"]), float(value)))
        elif e["ph"] == "X":
            slices.append((e["name"], nanoseconds(e["ts"]), nanoseconds(e["dur"])))
            arguments += [(nanoseconds(e["ts"]), "args." + key, float(value)) for key, value in e["args"].items()]
        else:
            names.append((e["args"]["name"],))
    return {"counters": counters, "slices": slices, "arguments": arguments, "names": names}


def opened(processor, trace, work):
    return {"counters": [(n, int(at), float(v)) for n, at, v in ask(processor, COUNTERS, trace, work)],
            "slices": [(n, int(at), int(dur)) for n, at, dur in ask(processor, SLICES, trace, work)],
            "arguments": [(int(at), key, float(v)) for at, key, v in ask(processor, ARGUMENTS, trace, work)],
            "names": [tuple(row) for row in ask(processor, NAMES, trace, work)]}


def differences(processor, path, work):
    trace = work / "trace.json"
    subprocess.run([GOMEM, "stat", "--perfetto", str(trace), str(path)], stdout=subprocess.DEVNULL, check=True)
    found = ["Perfetto complains: %s (%s): %s" % tuple(row) for row in ask(processor, COMPLAINTS, trace, work)]
    want, got = written(json.loads(trace.read_text())["traceEvents"]), opened(processor, trace, work)
    for kind in want:
        missing, other = sorted(set(want[kind]) - set(got[kind])), sorted(set(got[kind]) - set(want[kind]))
        if len(want[kind]) != len(got[kind]) or missing or other:
            found.append("%d %s written, %d opened: without %s, with %s" %
                         (len(want[kind]), kind, len(got[kind]), missing[:3], other[:3]))
    print("%s: %s; %d differences" % (path.name, ", ".join("%d %s" % (len(rows), kind) for kind, rows in got.items()), len(found)))
    return found


def main(argv):
    processor = find_processor()
    if processor is None:
        print("skipped: there is no trace_processor_shell of Perfetto in PATH, and TRACE_PROCESSOR does not name one")
        return 77
    files = [Path(f) for f in argv] or sorted([*(ROOT / "traces/data").glob("*.gmt"), *(ROOT / "traces/data/gotrace").glob("*.zst")])
    found = []
    with tempfile.TemporaryDirectory() as work:
        for path in files:
            if path.name.startswith("noobjects"):
                continue
            found += differences(processor, path, Path(work))
    for one in found:
        print(one)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
