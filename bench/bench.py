#!/usr/bin/env python3
"""bench.py: runs the benchmarks and Go in turns, prints a table with ratios, writes JSON and a page.

usage: bench.py [--quick] [--rounds N] [--out DIR] BENCH_MALLOC

Each round runs Go, Go with size specialised malloc, and bench_malloc; of a series the least over all rounds counts. A ratio is
another's time over the port's: above 1 the port is faster. DIR (build/bench) gets bench.json, bench.html, and what each round printed."""
import argparse
import html
import json
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import go_bench  # noqa: E402

PEERS = ["glibc", "jemalloc", "mimalloc", "tcmalloc", "snmalloc", "rpmalloc"]
SMALL = [size for size in go_bench.SIZES if size <= 512]


def build_go(out):
    """The two Go programs by name; empty without Go."""
    if shutil.which("go") is None:
        return {}
    folder = out / "go_source"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "main.go").write_text(go_bench.source())
    (folder / "go.mod").write_text("module bench\n\ngo 1.26\n")
    programs = {}
    for name, experiment in (("go", ""), ("go_ssm", "sizespecializedmalloc")):
        env = dict(os.environ, GOEXPERIMENT=experiment, GOFLAGS="", GOWORK="off")
        program = (out / name).resolve()
        made = subprocess.run(["go", "build", "-o", program, "."], cwd=folder, env=env, capture_output=True, text=True)
        if made.returncode != 0:
            print(f"skipped: {name}: {made.stderr.strip()}")
            continue
        programs[name] = program
    return programs


def keep(best, name, value):
    best[name] = min(value, best.get(name, math.inf))


def run_round(args, programs, best, number):
    millis = 15 if args.quick else 60
    for name, program in programs.items():
        text = subprocess.run([program, str(millis)], capture_output=True, text=True, check=True).stdout
        (args.out / f"{name}-{number}.txt").write_text(text)
        for line in text.splitlines():
            series, least, _ = line.split()
            kind, size = series.split("/")
            keep(best, f"{name}_{kind}/{size}", float(least))
    result = args.out / f"malloc-{number}.json"
    command = [args.bench, f"--units={200 if args.quick else 1000}", "--benchmark_enable_random_interleaving=true",
               f"--benchmark_out={result}", "--benchmark_out_format=json"]
    done = subprocess.run(command, capture_output=True, text=True)
    if number == 0:
        print("\n".join(line for line in done.stderr.splitlines() if line.startswith("skipped")))
    if done.returncode != 0:
        sys.exit(f"bench.py: {args.bench} failed:\n{done.stderr}")
    for entry in json.loads(result.read_text())["benchmarks"]:
        keep(best, re.sub(r"/(iterations:\d+|manual_time)", "", entry["name"]), entry["min"])


def peer_best(best, size):
    """(time, who) of the best peer's zeroed allocation of this size."""
    found = [(best[key], peer) for peer in PEERS for way in ("calloc", "memset")
             if (key := f"{peer}_{way}/{size}") in best]
    return min(found, default=(math.nan, "none"))


def geomean(values):
    values = [value for value in values if not math.isnan(value)]
    return math.exp(sum(map(math.log, values)) / len(values)) if values else math.nan


def table(title, rows, columns):
    print(f"\n{title}")
    print(" ".join(f"{column:>16}" for column in columns))
    for row in rows:
        print(" ".join(f"{value:16.2f}" if isinstance(value, float) else f"{value:>16}" for value in row))


def against_go(best, kind):
    rows, ratios = [], {}
    for size in go_bench.SIZES:
        mine = best[f"gomem_{kind}/{size}"]
        row = [str(size), mine]
        for other in ("go", "go_ssm"):
            theirs = best.get(f"{other}_{kind}/{size}", math.nan)
            row += [theirs, theirs / mine]
            ratios.setdefault(other, {})[size] = theirs / mine
        rows.append(row)
    table(f"allocation phase, {kind}, ns an object (what was freed is swept before)", rows,
          ["size", "gomem", "go", "go/gomem", "go ssm", "ssm/gomem"])
    for other, values in ratios.items():
        small = geomean([values[size] for size in SMALL])
        least = min(values, key=values.get)
        print(f"{other}/gomem: geometric mean of 8 B to 512 B {small:.2f}; least {values[least]:.2f} at {least} B")
    return ratios


def against_peers(best):
    rows, ratios = [], {}
    for size in go_bench.SIZES:
        mine = best[f"gomem_noscan_lazy/{size}"]
        time, who = peer_best(best, size)
        reference = best[f"reference_noscan/{size}"]
        rows.append([str(size), mine, time, who, mine / time, reference])
        ratios[size] = mine / time
    table("allocation phase, zeroed, ns an object (the port's sweep and refill inside; peers free outside)", rows,
          ["size", "gomem", "best peer", "which", "gomem/best", "reference"])
    rows = []
    for size in go_bench.SIZES:
        mine = best[f"gomem_noscan_cycle/{size}"]
        rows.append([str(size), mine] + [best.get(f"{peer}_cycle/{size}", math.nan) for peer in PEERS])
    table("allocate zeroed and free all, ns an object", rows, ["size", "gomem"] + PEERS)
    return ratios


# Go's own benchmarks of the same work, as its runtime's tests name them.
GO_NAMES = {f"summarize/{word}": f"PallocBitsSummarize/Unpacked{word}" for word in
            ("00", "F" * 16, "AA", "A" * 16, "80000000AAAAAAAA", "AAAAAAAA00000001")}
GO_NAMES |= {"countAlloc/64": "MSpanCountAlloc/bits=64",
            "countAlloc/128": "MSpanCountAlloc/bits=128", "countAlloc/256": "MSpanCountAlloc/bits=256",
            "countAlloc/512": "MSpanCountAlloc/bits=512", "countAlloc/1024": "MSpanCountAlloc/bits=1024"}


def build_go_tests(out):
    """The program of the tests of Go's runtime, which holds its benchmarks; None if it cannot be had."""
    program = (out / "runtime.test").resolve()
    if shutil.which("go") is None:
        return None
    made = subprocess.run(["go", "test", "-c", "-o", program, "runtime"], capture_output=True, text=True)
    if made.returncode != 0:
        print(f"skipped: Go's benchmarks of its runtime: {made.stderr.strip()[:300]}")
        return None
    return program


def run_go_tests(program, best):
    root = subprocess.run(["go", "env", "GOROOT"], capture_output=True, text=True, check=True).stdout.strip()
    text = subprocess.run([program, "-test.run=NONE", "-test.bench=PallocBitsSummarize|MSpanCountAlloc", "-test.benchtime=20ms"],
                          cwd=Path(root) / "src/runtime", capture_output=True, text=True).stdout
    for name, value in re.findall(r"^Benchmark(\S+?)(?:-\d+)?\s+\d+\s+([0-9.]+) ns/op", text, re.M):
        keep(best, f"gotest_{name}", float(value))


def page_level(best):
    rows = []
    for name in (key for key in GO_NAMES if key in best):
        theirs = best.get(f"gotest_{GO_NAMES[name]}", math.nan)
        rows.append([name, best[name], theirs, theirs / best[name]])
    table("page level and mark bits, ns a call", rows, ["what", "gomem", "go", "go/gomem"])


def page(best, out):
    """A page with bars: one chart for each size."""
    parts = ["<!doctype html><meta charset=utf-8><title>gomem bench</title><style>body{font:14px sans-serif;margin:2em}"
             "td{padding:1px 8px}.b{background:#4a7;height:12px}.g{background:#357}</style><h1>ns an object, least of all rounds</h1>"]
    for size in go_bench.SIZES:
        rows = sorted((value, name.split("/")[0]) for name, value in best.items() if name.endswith(f"/{size}")
                      and not name.startswith("countAlloc"))
        most = min(rows[-1][0], rows[0][0] * 20)
        parts.append(f"<h2>{size} B</h2><table>")
        for value, name in rows:
            kind = "b g" if name.startswith("gomem") else "b"
            width = int(400 * min(value / most, 1))
            parts.append(f"<tr><td>{html.escape(name)}<td>{value:.2f}<td><div class='{kind}' style='width:{width}px'></div>")
        parts.append("</table>")
    (out / "bench.html").write_text("".join(parts))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bench")
    parser.add_argument("--quick", action="store_true", help="two minutes")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--out", type=Path, default=Path("build/bench"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    programs = build_go(args.out)
    if not programs:
        print("skipped: Go (there is no go here): its columns say nan")
    best = {}
    go_tests = build_go_tests(args.out)
    for number in range(args.rounds or (2 if args.quick else 10)):
        run_round(args, programs, best, number)
        if go_tests is not None:
            run_go_tests(go_tests, best)
    result = {"least_ns": best, "go_over_gomem": {kind: against_go(best, kind) for kind in ("noscan", "pointers")},
              "gomem_over_best_peer": against_peers(best)}
    page_level(best)
    (args.out / "bench.json").write_text(json.dumps(result, indent=1) + "\n")
    page(best, args.out)
    print(f"\nwritten: {args.out}/bench.json {args.out}/bench.html")


if __name__ == "__main__":
    main()
