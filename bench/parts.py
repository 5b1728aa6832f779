"""parts.py: pages, spans, marks, the OS and whole cycles, one by one, beside the benchmarks of Go's runtime in the same run."""
import json
import math
import re
import shutil
import subprocess
from pathlib import Path

import go_pages
import report

# What is the same work in Go, by the names of its benchmarks: its own, and those of go_pages.py.
GO_NAMES = {f"summarize/{word}": f"PallocBitsSummarize/Unpacked{word}" for word in
            ("00", "F" * 16, "AA", "A" * 16, "80000000AAAAAAAA", "AAAAAAAA00000001")}
GO_NAMES |= {f"countAlloc/{n}": f"MSpanCountAlloc/bits={n}" for n in (64, 128, 256, 512, 1024)}
GO_NAMES |= {f"{what}{kind}/{size}": f"Gomem/{what}{kind}/{size}" for what in go_pages.SERIES
             for kind in ("", "_fragmented") for size in ("1GB", "64GB", "1TB")}
BARS = {"summarize": "PallocBitsSummarize", "countAlloc": "MSpanCountAlloc", "find_fragmented/64GB": "find in a fragmented 64 GB heap"}
MEDIAN = ("grow",)  # whose least is that of a call which has nothing to do


def go_root():
    return subprocess.run(["go", "env", "GOROOT"], capture_output=True, text=True, check=True).stdout.strip()


def build_go_tests(out):
    """The program of the tests of Go's runtime, which holds its benchmarks; None if it cannot be had."""
    if shutil.which("go") is None:
        print("skipped: Go's benchmarks of its runtime (there is no go here): their columns say nan")
        return None
    program = (out / "runtime.test").resolve()
    made = subprocess.run(["go", "test", "-c", "-overlay", go_pages.overlay(out, go_root()), "-o", program, "runtime"],
                          capture_output=True, text=True)
    if made.returncode != 0:
        print(f"skipped: Go's benchmarks of its runtime: {made.stderr.strip()[:300]}")
        return None
    return program


def run_go_tests(program, best):
    done = subprocess.run([program, "-test.run=NONE", "-test.bench=PallocBitsSummarize|MSpanCountAlloc|Gomem", "-test.benchtime=20ms"],
                          cwd=Path(go_root()) / "src/runtime", capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"bench.py: Go's benchmarks failed:\n{done.stdout[-300:]}{done.stderr[-300:]}")
    for name, value in re.findall(r"^Benchmark(\S+?)(?:-\d+)?\s+\d+\s+([0-9.]+) ns/op", done.stdout, re.M):
        report.keep(best, name, float(value))


def run_ours(args, best):
    out = args.out / "parts.json"
    done = subprocess.run([args.lib / "bench_parts", f"--units={100 if args.quick else 400}", "--benchmark_enable_random_interleaving=true",
                           f"--benchmark_out={out}", "--benchmark_out_format=json"], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"bench.py: bench_parts failed ({done.returncode}):\n{done.stderr}")
    for entry in json.loads(out.read_text())["benchmarks"]:
        name = re.sub(r"/(iterations:\d+|manual_time)", "", entry["name"])
        if entry.get("error_occurred"):
            raise SystemExit(f"bench.py: {name}: {entry['error_message']}")
        report.keep(best, name, entry["median" if name.startswith(MEDIAN) else "min"])


def run(args):
    program = build_go_tests(args.out)
    ours, theirs = {}, {}
    for _ in range(args.rounds or (2 if args.quick else 5)):
        run_ours(args, ours)
        if program is not None:
            run_go_tests(program, theirs)
    ratio = {name: theirs[GO_NAMES[name]] / value for name, value in ours.items() if GO_NAMES.get(name) in theirs}
    rows = [[name, value, theirs.get(GO_NAMES.get(name), math.nan), ratio.get(name, math.nan)] for name, value in sorted(ours.items())]
    report.table("pages, spans, marks, the OS, ns a call (cycles: ns an object; grow: 64 MiB)", rows, ["what", "gomem", "go", "go/gomem"])
    for prefix, what in BARS.items():
        found = [value for name, value in ratio.items() if name.startswith(prefix)]
        if found:
            report.bar("parts", f"Go over gomem, {what}: 1.3", f"{min(found):.2f} to {max(found):.2f}" if len(found) > 1
                       else f"{found[0]:.2f}", min(found) >= 1.3)
    charts = [report.svg_bars(name, [("gomem", ours[name]), ("go", theirs[GO_NAMES[name]])], "gomem", "ns") for name in ratio]
    return {"gomem_ns": ours, "go_ns": theirs, "go_over_gomem": ratio}, charts
