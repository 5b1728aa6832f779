"""scale.py: what allocation, growth and sweeping cost as a heap grows from 1 MB to 1 TB in the simulated OS."""
import json
import math
import subprocess

import report

WHAT = {"small": "64 bytes", "span": "8 KiB, a span", "find": "pages, all searched", "hole": "1 MiB into a hole", "grow": "growth by 1 MiB",
        "sweep": "sweep, a span that lives", "free": "sweep, half of them die"}
# log2 of the size from which a cost is followed: at smaller ones there are no more than some spans to share the fixed cost of a cycle,
# and the first arena is there.
BASE = {"sweep": 26, "free": 26, "grow": 28, "hole": 24}
MOST = 40
FLAT = 0.1  # cost grows with this power of the size at the most: a search over all of the heap would have 1


def size_name(log2):
    return f"{2 ** (log2 % 10)} {('MB', 'GB', 'TB')[log2 // 10 - 2]}"


def run(args):
    best = {}
    for _ in range(args.rounds or (1 if args.quick else 3)):
        done = subprocess.run([args.lib / "bench_scale", str(MOST)], capture_output=True, text=True, check=True)
        for point in map(json.loads, done.stdout.splitlines()):
            of = best.setdefault(point.pop("log2"), point)
            of.update({key: min(of[key], value) for key, value in point.items()})
    report.table("a heap that grows in the simulated OS, ns (least of all runs)",
                 [[size_name(log2), of["arenas"]] + [of[key] for key in WHAT] for log2, of in best.items()],
                 ["heap", "arenas"] + list(WHAT))
    print("; ".join(f"{key}: {text}" for key, text in WHAT.items()))
    rows, exponents = [], {}
    for key, text in WHAT.items():
        base = BASE.get(key, 22)
        ratio = best[MOST][key] / best[base][key]
        exponents[key] = math.log2(ratio) / (MOST - base)
        rows.append([text, size_name(base), ratio, exponents[key]])
        report.bar("scale", f"{text}: flat or logarithmic (power at most {FLAT}) from {size_name(base)} to {size_name(MOST)}",
                   f"{ratio:.2f} times, power {exponents[key]:.3f}", exponents[key] <= FLAT)
    report.table(f"from there to {size_name(MOST)}", rows, ["cost of", "from", "times", "power of the size"])
    lines = {text: [(2.0**log2, of[key]) for log2, of in best.items() if of[key] > 0 and log2 >= BASE.get(key, 22)]
             for key, text in WHAT.items()}
    chart = report.svg_lines("What a heap's size costs", lines, "bytes in use", "ns", {2.0**log2: size_name(log2) for log2 in range(20, 41, 4)})
    (args.out / "scale.svg").write_text(chart[chart.index("<svg"):])
    return {"ns": best, "power": exponents}, [chart]
