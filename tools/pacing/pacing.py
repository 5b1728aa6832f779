#!/usr/bin/env python3
"""The same program in C on gomem and in Go, side by side: heap goal, live heap and resident memory over time.

usage: pacing.py PROGRAM [SECONDS] [PLOT.svg]

PROGRAM is build/release/lib/tools/pacing. Go's program is built from pacing.go. Both run at the same time."""
import subprocess
import sys
import tempfile
from pathlib import Path

COLUMNS = ("seconds", "goal", "live", "objects", "resident", "cycles")


def rows(text):
    return [dict(zip(COLUMNS, map(float, line.split()))) for line in text.splitlines()]


def mean(part, column):
    return sum(row[column] for row in part) / len(part)


def show(name, table, seconds):
    peak = [r for r in table if seconds * 0.15 <= r["seconds"] < seconds * 0.25]
    last = [r for r in table if r["seconds"] >= seconds * 0.9]
    late = [r for r in table if r["seconds"] >= seconds * 0.35]
    over = sum(r["objects"] > r["goal"] for r in late)
    print("%-6s at the peak: goal %6.1f, resident %6.1f MiB; at the end: goal %5.1f, live %5.1f, resident %6.1f MiB; %3d cycles; "
          "%d of %d samples after the peak above the goal" % (name, mean(peak, "goal"), mean(peak, "resident"), mean(last, "goal"),
          mean(last, "live"), mean(last, "resident"), table[-1]["cycles"], over, len(late)))


def line(table, column, seconds, top, colour, dashed):
    points = " ".join("%.1f,%.1f" % (60 + 720 * r["seconds"] / seconds, 330 - 300 * r[column] / top) for r in table)
    return '<polyline fill="none" stroke="%s" stroke-width="1.5"%s points="%s"/>' % (colour, ' stroke-dasharray="5 3"' if dashed else "", points)


def plot(c, go, seconds, path):
    top = 1.05 * max(r[k] for t in (c, go) for r in t for k in ("goal", "resident"))
    out = ['<svg xmlns="http://www.w3.org/2000/svg" width="800" height="380" font-family="sans-serif" font-size="12">',
           '<rect width="800" height="380" fill="white"/><path d="M60 30V330H780" fill="none" stroke="black"/>']
    for i in range(5):
        out.append('<text x="55" y="%d" text-anchor="end">%.0f</text>' % (334 - 75 * i, top * i / 4))
        out.append('<text x="%d" y="348" text-anchor="middle">%.0f s</text>' % (60 + 180 * i, seconds * i / 4))
    out.append('<text x="10" y="18">MiB</text>')
    for i, (label, table, column, colour, dashed) in enumerate((
            ("gomem: resident", c, "resident", "#c33", False), ("Go: resident", go, "resident", "#36c", False),
            ("gomem: heap goal", c, "goal", "#c33", True), ("Go: heap goal", go, "goal", "#36c", True))):
        out.append(line(table, column, seconds, top, colour, dashed))
        out.append('<text x="%d" y="370" fill="%s">%s%s</text>' % (70 + 180 * i, colour, "- - " if dashed else "&#8212; ", label))
    Path(path).write_text("\n".join(out + ["</svg>", ""]))


def main(argv):
    if not 1 <= len(argv) <= 3 or argv[0] in ("-h", "--help"):
        sys.exit(__doc__)
    seconds = float(argv[1]) if len(argv) > 1 else 120.0
    if seconds < 20:
        sys.exit("pacing.py: less than 20 seconds give too few samples")
    with tempfile.TemporaryDirectory() as tmp:
        go = tmp + "/pacing"
        try:
            subprocess.run(["go", "build", "-o", go, str(Path(__file__).with_name("pacing.go"))], check=True)
        except OSError:
            print("skipped: no Go here")
            sys.exit(77)
        running = [subprocess.Popen([p, str(seconds)], stdout=subprocess.PIPE, text=True) for p in (argv[0], go)]
        tables = [rows(p.communicate()[0]) for p in running]
        if any(p.returncode for p in running):
            sys.exit(1)
    show("gomem", tables[0], seconds)
    show("Go", tables[1], seconds)
    if len(argv) > 2:
        plot(*tables, seconds, argv[2])


main(sys.argv[1:])
