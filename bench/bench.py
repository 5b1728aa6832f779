#!/usr/bin/env python3
"""bench.py: runs the benchmarks and Go in turns, prints tables with ratios and bars met or missed, writes JSON and a page.

Of a series the least over all rounds counts: the machine may be busy. DIR (build/bench) gets bench.json, bench.html, and what each
round printed. LIB is the folder that the benchmarks were built in.

parts: malloc   allocation by size, beside Go and the peers
       streams  requests of recorded programs, beside the peers
       threads  locks and cache lines of the fast path, counted; several threads at once
       parts    pages, spans, marks, the OS, whole cycles: one by one, beside Go's benchmarks of its runtime
       scale    allocation, growth and sweeping in a heap of 1 MB to 1 TB, in the simulated OS
       faith    what hooks, checks, AddressSanitizer and replaying cost; reading and importing"""
import argparse
import json
import math
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import faith  # noqa: E402
import go_bench  # noqa: E402
import parts  # noqa: E402
import report  # noqa: E402
import scale  # noqa: E402
import streams  # noqa: E402
import threads  # noqa: E402
from report import geomean, keep, table  # noqa: E402

PEERS = streams.PEERS
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


def run_round(args, programs, best, number):
    millis = 15 if args.quick else 60
    for name, program in programs.items():
        text = subprocess.run([program, str(millis)], capture_output=True, text=True, check=True).stdout
        (args.out / f"{name}-{number}.txt").write_text(text)
        for line in text.splitlines():
            series, low, _ = line.split()
            kind, size = series.split("/")
            keep(best, f"{name}_{kind}/{size}", float(low))
    result = args.out / f"malloc-{number}.json"
    command = [args.lib / "bench_malloc", f"--units={200 if args.quick else 1000}", "--benchmark_enable_random_interleaving=true",
               f"--benchmark_out={result}", "--benchmark_out_format=json"]
    done = subprocess.run(command, capture_output=True, text=True)
    if number == 0:
        print("\n".join(line for line in done.stderr.splitlines() if line.startswith("skipped")))
    if done.returncode != 0:
        sys.exit(f"bench.py: bench_malloc failed:\n{done.stderr}")
    for entry in json.loads(result.read_text())["benchmarks"]:
        keep(best, re.sub(r"/(iterations:\d+|manual_time)", "", entry["name"]), entry["low"])


# Ways to call the port: what is behind the name of a series, and in the name of a bar.
WAYS = {"": "gomem_mallocgc", "_inline": "gomem_mallocgc_inline", "_sized": "size known to both compilers"}


def peer_best(best, size):
    """(time, who) of the best peer's zeroed allocation of this size."""
    found = [(best[key], peer) for peer in PEERS for way in ("calloc", "memset")
             if (key := f"{peer}_{way}/{size}") in best]
    return min(found, default=(math.nan, "none"))


def against_go(best, kind):
    """Go's new(T) names its type where it is compiled; so does the loop of _sized, and Go's default build does not use it."""
    rows, ratios = [], {}
    for size in go_bench.SIZES:
        row = [str(size)]
        for way in WAYS:
            mine = best[f"gomem_{kind}{way}/{size}"]
            row.append(mine)
            for other in ("go", "go_ssm"):
                ratios.setdefault(other + "/gomem" + way, {})[size] = best.get(f"{other}_{kind}/{size}", math.nan) / mine
        for other in ("go", "go_ssm"):
            row += [best.get(f"{other}_{kind}/{size}", math.nan)] + [ratios[f"{other}/gomem{way}"][size] for way in WAYS]
        rows.append(row)
    table(f"allocation phase, {kind}, ns an object (what was freed is swept before; inline: gomem_mallocgc_inline; sized: and the compiler knows the size)",
          rows, ["size", "gomem", "inline", "sized", "go", "/gomem", "/inline", "/sized", "go ssm", "/gomem", "/inline", "/sized"])
    for what, values in ratios.items():
        small = geomean([values[size] for size in SMALL])
        least = min(values, key=values.get)
        print(f"{what}: geometric mean of 8 B to 512 B {small:.2f}; least {values[least]:.2f} at {least} B")
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


def malloc_charts(best):
    parts = []
    for size in go_bench.SIZES:
        rows = [(name.split("/")[0], value) for name, value in best.items()
                if name.endswith(f"/{size}")]
        parts.append(report.svg_bars(f"{size} B", rows, "gomem", "ns"))
    return parts


def malloc_bars(ratios, peers):
    for other, kind, asked in (("go", "noscan", 3), ("go", "pointers", 2.5), ("go_ssm", "noscan", 2), ("go_ssm", "pointers", 2)):
        for way, known in WAYS.items():
            all_sizes = ratios[kind][f"{other}/gomem{way}"]
            found = geomean([all_sizes[size] for size in SMALL])
            if math.isnan(found):
                continue
            report.bar("malloc", f"{other}/gomem, {kind}, {known}, geometric mean of 8 B to 512 B: {asked}", f"{found:.2f}", found >= asked)
            least = min(all_sizes.values())
            report.bar("malloc", f"no size slower than {other}, {kind}, {known}", f"{least:.2f} at least", least >= 1)
    small = max(peers[size] for size in SMALL)
    report.bar("malloc", "gomem/best peer, zeroed, to 512 B: at most 1.25", f"{small:.2f} at most", small <= 1.25)
    large = max(value for size, value in peers.items() if size >= 1024)
    report.bar("malloc", "gomem/best peer, zeroed, from 1 KB: at most 1", f"{large:.2f} at most", large <= 1)

def run_malloc(args):
    programs = build_go(args.out)
    if not programs:
        print("skipped: Go (there is no go here): its columns say nan")
    best = {}
    for number in range(args.rounds or (2 if args.quick else 10)):
        run_round(args, programs, best, number)
    ratios = {kind: against_go(best, kind) for kind in ("noscan", "pointers")}
    peers = against_peers(best)
    malloc_bars(ratios, peers)
    return {"least_ns": best, "go_over_gomem": ratios, "gomem_over_best_peer": peers}, malloc_charts(best)


PARTS = {"malloc": run_malloc, "streams": streams.run, "threads": threads.run, "parts": parts.run,
         "scale": scale.run, "faith": faith.run}


def write_page(out, chosen):
    """The charts of each part stand in a file of its own, so that those of a run before can be kept."""
    rows = "".join(f"<tr><td>{part}<td>{asked}<td>{found}<td>{report.WORDS[met]}" for part, asked, found, met in report.BARS)
    text = "".join(f"<h2>{part}</h2>{(out / f'charts-{part}.html').read_text()}" for part in PARTS if part in chosen)
    (out / "bench.html").write_text("<!doctype html><meta charset=utf-8><title>gomem bench</title>"
                                    "<style>body{font:14px sans-serif;margin:2em}td{padding:1px 8px}</style>"
                                    f"<h1>gomem bench</h1><table>{rows}</table>{text}")


def machine():
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return {"cpu": cpu.group(1) if cpu else "", "cpus": os.cpu_count(), "kernel": os.uname().release,
            "load": os.getloadavg()[0]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lib", type=Path)
    parser.add_argument("--quick", action="store_true", help="two minutes")
    parser.add_argument("--rounds", type=int, help="of each part")
    parser.add_argument("--only", metavar="PART[,PART]", help="these parts")
    parser.add_argument("--keep", action="store_true", help="what DIR has of the other parts stays in the tables of bars and the files")
    parser.add_argument("--out", type=Path, default=Path("build/bench"), metavar="DIR")
    args = parser.parse_args()
    args.gomem = args.lib.parent.parent / "gomem"
    args.source = Path(__file__).resolve().parent.parent
    chosen = args.only.split(",") if args.only else list(PARTS)
    unknown = [part for part in chosen if part not in PARTS]
    if unknown:
        parser.error(f"no part {unknown[0]}: there are {', '.join(PARTS)}")
    args.out.mkdir(parents=True, exist_ok=True)
    file = args.out / "bench.json"
    result = json.loads(file.read_text()) if args.keep and file.exists() else {}
    report.BARS += [bar for bar in result.get("bars", []) if bar[0] not in chosen]
    result |= {"machine": machine(), "quick": args.quick}
    for part in chosen:
        begin = time.monotonic()
        result[part], charts = PARTS[part](args)
        (args.out / f"charts-{part}.html").write_text("".join(charts))
        print(f"\n{part}: {time.monotonic() - begin:.0f} s")
    report.BARS.sort(key=lambda bar: list(PARTS).index(bar[0]))
    report.print_bars()
    result["bars"] = report.BARS
    file.write_text(json.dumps(result, indent=1) + "\n")
    write_page(args.out, result)
    print(f"\nwritten: {args.out}/bench.json {args.out}/bench.html")


if __name__ == "__main__":
    main()
