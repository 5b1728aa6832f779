"""threads.py: what the fast path writes and what takes a lock, counted; and allocation by several threads at once."""
import json
import re
import subprocess

import report
import streams

COUNTED_PS = (2, 4, 8, 16)
THREADS = (1, 2, 4)


def one_line(command):
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def count(args):
    fast = [one_line([args.lib / "bench_counts", str(ps)]) for ps in COUNTED_PS]
    rows = [[got["ps"], got["fast"], got["fast_locks"], got["fast_read_modify_writes"], got["fast_writes"] / got["fast"],
             got["fast_lines"], got["passed_on"], sum(got["shared_lines"].values()),
             ", ".join(f"{n} {name}" for name, n in got["shared_lines"].items() if n) or "-",
             got["refill_locks"] / got["refills"]] for got in fast]
    report.table("fast path of mallocgc, counted (shared: a P wrote to the line, then another, then the first again, within a cycle)", rows,
                 ["Ps", "calls", "locks", "atomic rmw", "writes a call", "lines written", "passed on", "shared", "of them", "locks a refill"])
    for got in fast:
        shared = sum(got["shared_lines"].values())
        locks = got["fast_locks"] + got["fast_read_modify_writes"]
        report.bar("threads", f"{got['ps']} Ps: no lock and no shared line written in the fast path",
                   f"{locks} locks and atomic writes in {got['fast']:,} calls, {shared} of {got['fast_lines']:,} lines",
                   locks == 0 and shared == 0)
    locked = {}
    rows = []
    for name in ("gofmt-p1", "httpserver-p4"):
        for ps in (1, 4):
            got = locked[f"{name}/{ps}"] = one_line([args.lib / "bench_locks", streams.make(args, name), str(ps)])
            rows.append([name, ps, got["mallocs"], got["refills"], got["page_cache_hits"], got["page_heap"], got["locks"],
                         got["heap_locks"], got["mallocs"] / got["locks"], got["refills"] / got["locks"],
                         got["page_cache_hits"] / got["heap_locks"]])
    report.table("locks taken by recorded programs (scavenging and stacks left out)", rows,
                 ["recording", "Ps", "mallocs", "refills", "page cache hits", "by page heap", "locks", "heap locks",
                  "mallocs/lock", "refills/lock", "hits/heap lock"])
    return {"fast": fast, "locks": locked}


def throughput(args):
    """{series: {threads: items a second}}: the most of all runs"""
    out, best = args.out / "threads.json", {}
    how = ["--runs=2", "--benchmark_filter=/(64|0)/"] if args.quick else ["--runs=6"]
    for _ in range(args.rounds or (1 if args.quick else 3)):
        subprocess.run([args.lib / "bench_threads"] + how + ["--benchmark_enable_random_interleaving=true",
                        f"--benchmark_out={out}", "--benchmark_out_format=json"], capture_output=True, check=True)
        for entry in json.loads(out.read_text())["benchmarks"]:
            series, threads = re.match(r"(\w+/\d+)/(\d+)/", entry["name"]).groups()
            of = best.setdefault(series, {})
            of[int(threads)] = max(of.get(int(threads), 0), entry["max"])
    rows = [[series] + [of[n] / 1e6 for n in THREADS] + [of[n] / of[1] for n in THREADS[1:]] for series, of in best.items()]
    report.table("throughput, million items a second of all threads together", sorted(rows, key=lambda row: row[0].split("/")[::-1]),
                 ["series/size", "1 thread", "2", "4", "2 over 1", "4 over 1"])
    return best


def run(args):
    result = {"counted": count(args), "throughput": throughput(args)}
    charts = []
    for size in sorted({series.split('/')[1] for series in result["throughput"]} - {"0"}, key=int):
        of = [(f"{series.split('/')[0]}, {n} threads", values[n] / 1e6) for series, values in result["throughput"].items()
              if series.endswith(f"/{size}") for n in THREADS]
        charts.append(report.svg_bars(f"{size} B, zeroed: throughput", of, "gomem", "M/s"))
    return result, charts
