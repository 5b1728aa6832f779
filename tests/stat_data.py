#!/usr/bin/env python3
"""`gomem stat --json` of each bundled recording and trace: its equations hold, its totals are those of `gomem info`, and of small ones a model in
this file says the same from `gomem dump`: what is taken, freed, wasted, and the peak. Then the page, the Perfetto trace, exit codes.

usage: stat_data.py      needs $GOMEM"""
import base64
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

GOMEM = os.environ["GOMEM"]
ROOT = Path(os.environ["GOMEM_SOURCE_DIR"])
SANITIZED = bool(os.environ.get("GOMEM_SANITIZE"))
PAGE = 8192
SIZES = [0, 8, 16, 24, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224, 240, 256, 288, 320, 352, 384, 416, 448, 480, 512, 576,
         640, 704, 768, 896, 1024, 1152, 1280, 1408, 1536, 1792, 2048, 2304, 2688, 3072, 3200, 3456, 4096, 4864, 5376, 6144, 6528, 6784,
         6912, 8192, 9472, 9728, 10240, 10880, 12288, 13568, 14336, 16384, 18432, 19072, 20480, 21760, 24576, 27264, 28672, 32768]


def run(*argv):
    return subprocess.run([GOMEM, *map(str, argv)], capture_output=True, text=True)


def info(path):
    """Counts by kind of event, and of mallocs by path."""
    found = {}
    for line in run("info", path).stdout.splitlines():
        match = re.fullmatch(r"(?:  )?(.*?) +(\d+)", line)
        if match:
            found[match.group(1).strip()] = int(match.group(2))
    return found


def check(problems, what, got, want):
    if got != want:
        problems.append("%s is %s, not %s" % (what, got, want))


def equations(d, problems):
    t, end, peak = d["totals"], d["end"], d["peak"]
    check(problems, "taken - freed", t["taken"] - t["freed"], end["used"])
    check(problems, "taken - freed bytes", t["taken_bytes"] - t["freed_bytes"], end["used_bytes"])
    check(problems, "alive", t["alive_bytes"], end["used_bytes"])
    check(problems, "lives", sum(x["objects"] for x in d["lives"]), t["freed"])
    check(problems, "bytes of lives", sum(x["bytes"] for x in d["lives"]), t["freed_bytes"])
    for at in ("peak", "end"):
        s = d[at]
        sizes = ("waste_bytes",) if d["kind"] == "recording" else ()
        for key in ("spans", "span_bytes", "slots", "used", "used_bytes", "free_bytes", "tail_bytes", "full", "partly", "empty", *sizes):
            for view in ("span_classes", "size_classes") if at == "peak" else ("span_classes",):
                check(problems, "%s %s of %s" % (at, key, view), sum(c[at][key] for c in d[view]), s[key])
        check(problems, at + " span bytes", s["used_bytes"] + s["free_bytes"] + s["tail_bytes"], s["span_bytes"])
        if sizes:
            check(problems, at + " requested", s["used_bytes"] - s["waste_bytes"], s["requested_bytes"])
        check(problems, at + " fill", sum(s["fill"]), s["spans"])
        p = s["pages"]
        check(problems, at + " pages", p["spans"] + p["free"], p["extent"])
        check(problems, at + " runs", sum(r["free"] for r in p["runs"]), p["free"])
        check(problems, at + " pages of spans", p["spans"] * PAGE, s["span_bytes"] + s["manual_bytes"])
        check(problems, at + " stacks", sum(x["bytes"] * x["count"] for x in s["stacks"]), s["stack_bytes"])
    series = d["series"]
    # The column of the peak is sampled there, unless it is the last: that one is the end.
    if peak["at"] < series["at"][-2]:
        check(problems, "most span bytes of a sample", max(series["span_bytes"]), peak["span_bytes"])
    check(problems, "last sample", [series[k][-1] for k in ("span_bytes", "used_bytes", "taken_bytes")],
          [end["span_bytes"], end["used_bytes"], t["taken_bytes"]])
    for i in range(len(series["at"])):
        if sum(c["series"]["used"][i] for c in d["span_classes"]) != series["used"][i]:
            problems.append("slots of classes at sample %d" % i)
    if d["types"]:
        for key, want in (("used", peak["used"]), ("used_bytes", peak["used_bytes"]), ("taken", t["taken"]), ("taken_bytes", t["taken_bytes"]),
                          ("end_used", end["used"]), ("end_bytes", end["used_bytes"])):
            check(problems, key + " of types", sum(x[key] for x in d["types"]), want)
        # Each type's share is rounded. Free slots of spans without an object are nobody's.
        free = sum(c["peak"]["slots"] - c["peak"]["used"] - c["peak"]["empty"] * c["slots_per_span"] for c in d["span_classes"])
        if abs(sum(x["retained_slots"] for x in d["types"]) - free) > len(d["types"]):
            problems.append("retained slots are not the %d free ones" % free)
    # What go1.23 wrote has tiny objects freed and stacks that it never told of.
    if d["go"] != "go1.23 or go1.24":
        check(problems, "odd", {k: v for k, v in t["odd"].items() if v}, {})


def plane(d, name):
    coded = base64.b64decode(d["map"][name])
    cells = bytearray()
    for i in range(0, len(coded), 2):
        cells += bytes([coded[i + 1]]) * coded[i]
    return cells


def the_map(d, problems):
    """The last column, added up, is the state at the end; each cell is rounded."""
    m = d["map"]
    columns, rows = m["columns"], m["rows"]
    for name, want in (("spans", d["end"]["span_bytes"]), ("used", d["end"]["used_bytes"]), ("manual", d["end"]["manual_bytes"])):
        cells = plane(d, name)
        check(problems, "cells of " + name, len(cells), columns * rows)
        got = sum(cells[columns - 1::columns]) * m["row_bytes"] / m["full"]
        if abs(got - want) > rows * m["row_bytes"] / m["full"]:
            problems.append("the map's %s add up to %d bytes, not %d" % (name, got, want))


def against_info(d, counts, problems):
    t = d["totals"]
    paths = {k.split()[1]: v for k, v in counts.items() if k.startswith("malloc ") and len(k.split()) == 2}
    check(problems, "events", d["events"], counts["events"])
    check(problems, "slots taken", t["taken"], sum(v for k, v in paths.items() if k != "tiny-hit"))
    check(problems, "tiny objects", t["tiny"], paths.get("tiny-hit", 0))
    check(problems, "spans", t["made"] + t["manual_made"], counts["span-init"])
    check(problems, "stacks", t["stacks_taken"], counts["stack-end"])
    if not counts.get("sweepgen", 0) <= t["cycles"] <= counts.get("sweepgen", 0) + 1:
        problems.append("%d cycles, %d of sweeping" % (t["cycles"], counts["sweepgen"]))


class Model:
    """A heap as a dict of spans by page and a dict of slots: nothing shared with the C."""

    def __init__(self):
        self.page, self.pending, self.stack = {}, {}, {}
        self.start = self.manual = self.most_manual = 0
        self.taken = self.taken_bytes = self.freed = self.freed_bytes = self.waste = self.span_bytes = self.peak = self.tiny = 0

    def take(self, addr, size, path):
        span = self.page[addr // PAGE]
        slot = (addr - span["base"]) // span["size"]
        if path == "tiny-hit":
            left = span["slots"][slot]
            span["slots"][slot] = max(0, left - size)
            self.waste -= left - span["slots"][slot]
            self.tiny += 1
            return
        assert slot not in span["slots"] and slot < span["nelems"]
        assert (slot in span["back"]) == (path == "reuse")
        span["back"].discard(slot)
        span["slots"][slot] = span["size"] - size
        self.waste += span["size"] - size
        self.taken += 1
        self.taken_bytes += span["size"]

    def sweep(self, f):
        span = self.page[int(f["base"], 16) // PAGE]
        words = [int(w, 16) for w in f.get("marks", "").split(",") if w]
        every = not words and int(f["live"]) > 0
        for slot in list(span["slots"]):
            if not every and not (words and words[slot // 64] >> slot % 64 & 1):
                self.waste -= span["slots"].pop(slot)
                self.freed += 1
                self.freed_bytes += span["size"]
        # What was given back when it was marked already stays allocated.
        span["back"] = {s for s in span["back"] if every or words and words[s // 64] >> s % 64 & 1}
        assert len(span["slots"]) + len(span["back"]) == int(f["live"])

    def give_back(self, addr):
        span = self.page[addr // PAGE]
        slot = (addr - span["base"]) // span["size"]
        self.waste -= span["slots"].pop(slot)
        span["back"].add(slot)
        self.freed += 1
        self.freed_bytes += span["size"]

    def new_span(self, base, pages, class_, nelems):
        size = 0 if class_ is None else SIZES[class_ >> 1] or pages * PAGE
        span = {"base": base, "size": size, "pages": pages, "nelems": nelems, "slots": {}, "back": set()}
        for i in range(pages):
            self.page[base // PAGE + i] = span
        self.span_bytes += pages * PAGE if size else 0
        self.peak = max(self.peak, self.span_bytes)
        self.manual += 0 if size else pages * PAGE
        self.most_manual = max(self.most_manual, self.manual)

    def end_span(self, base):
        span = self.page[base // PAGE]
        for i in range(span["pages"]):
            del self.page[span["base"] // PAGE + i]
        self.span_bytes -= span["pages"] * PAGE if span["size"] else 0
        self.manual -= 0 if span["size"] else span["pages"] * PAGE

    def trace_line(self, line):
        """A line of the dump of a trace, which says what dies, but no sizes."""
        _, _, _, _, kind, *fields = re.sub(r"\(next P\d+\)", "", line, count=1).split()
        f = dict(x.split("=", 1) for x in fields if "=" in x)
        if kind not in ("span", "span-alloc", "span-free", "object", "object-alloc", "object-free"):
            return
        addr = int(f["addr"], 16)
        if kind in ("span", "span-alloc"):
            noscan = "noscan" in line.split()
            class_ = int(f["class"]) << 1 | noscan if "class" in f else None
            self.new_span(addr, int(f["pages"]), class_, 1024)
        elif kind == "span-free":
            self.end_span(addr)
        else:
            span = self.page[addr // PAGE]
            slot = (addr - span["base"]) // span["size"]
            if kind == "object-free":
                del span["slots"][slot]
                self.freed += 1
                self.freed_bytes += span["size"]
            elif slot in span["slots"]:
                self.tiny += 1
            else:
                span["slots"][slot] = 0
                self.taken += 1
                self.taken_bytes += span["size"]
                self.start += kind == "object"

    def line(self, line):
        _, stream, kind, *fields = line.split()
        f = dict(x.split("=", 1) for x in fields)
        if kind == "malloc":
            self.take(int(f["address"], 16), int(f["size"]), f["path"])
        elif kind == "freegc":
            self.give_back(int(f["address"], 16))
        elif kind == "malloc-begin":
            self.pending[stream] = int(f["size"])
        elif kind == "malloc-end":
            self.take(int(f["address"], 16), self.pending[stream], f["path"])
        elif kind == "span-init":
            heap = f["type"] == "0"
            self.new_span(int(f["base"], 16), int(f["npages"]), int(f["class"]) if heap else None, int(f["nelems"]))
        elif kind == "span-free":
            self.end_span(int(f["base"], 16))
        elif kind == "sweep":
            self.sweep(f)


def against_model(path, d, problems):
    m = Model()
    for line in run("dump", path).stdout.splitlines():
        (m.line if d["kind"] == "recording" else m.trace_line)(line)
    t, end = d["totals"], d["end"]
    check(problems, "model", [t["taken"], t["taken_bytes"], t["freed"], t["freed_bytes"], t["tiny"]],
          [m.taken, m.taken_bytes, m.freed, m.freed_bytes, m.tiny])
    check(problems, "model at the start", t["at_start"], m.start)
    check(problems, "model at the end", [end["span_bytes"], end.get("waste_bytes", 0), d["peak"]["span_bytes"]],
          [m.span_bytes, m.waste, m.peak])
    check(problems, "model: spans without objects", [t["most_manual_bytes"], end["manual_bytes"]], [m.most_manual, m.manual])
    # That stacks had their most at another moment than objects is told, and first if it is the most of all.
    told = [i for i, f in enumerate(d["findings"]) if "not at the peak" in f["text"]]
    wanted = m.most_manual >= 2 * d["peak"]["manual_bytes"] and m.most_manual * 5 >= m.peak
    check(problems, "finding of stacks", len(told), int(wanted))
    if path.name == "goroutines-p4.gmt":
        check(problems, "the first finding", (told, d["findings"][0]["bytes"]), ([0], m.most_manual))


def page(path, d, work, problems):
    out = Path(work) / "page.html"
    check(problems, "exit code of report", run("report", "-o", out, path).returncode, 0)
    text = out.read_text()
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    check(problems, "the page's JSON", json.loads(data.group(1)) == d, True)
    outside = text.replace(data.group(0), "")
    check(problems, "addresses of other files in the page", re.findall(r"""(?:src|href)\s*=\s*["'][^"']+|@import|url\(\s*["']?http""", outside), [])
    check(problems, "marks left in the template", re.findall(r"\{\{[\w.]+\}\}", outside), [])


def number(x, least=0):
    return isinstance(x, (int, float)) and not isinstance(x, bool) and least <= x < 2**63


def trace_event_format(root):
    """What breaks the rules of the Trace Event Format, as ui.perfetto.dev and chrome://tracing read it. Slices of a thread that overlap without
    one being inside the other are dropped there; a counter is a series of numbers."""
    wrong, ends = [], []
    if root.get("displayTimeUnit") not in ("ms", "ns") or not root["traceEvents"]:
        wrong.append("the root")
    for i, e in enumerate(root["traceEvents"]):
        args = e.get("args", {})
        good = isinstance(e.get("name"), str) and e["name"] != "" and isinstance(args, dict) and number(e.get("ts"))
        good = good and all(number(e.get(key)) and e[key] == int(e[key]) for key in ("pid", "tid"))
        phase = e.get("ph")
        if phase == "M":
            good = good and e["name"] in ("process_name", "thread_name") and isinstance(args.get("name"), str)
        elif phase == "C":
            good = good and len(args) == 1 and all(number(v) for v in args.values())
        elif phase == "X":
            good = good and number(e.get("dur"))
            begin, end = (round(e["ts"] * 1000), round((e["ts"] + e["dur"]) * 1000)) if good else (0, 0)
            while ends and ends[-1] <= begin:
                ends.pop()
            good = good and not (ends and ends[-1] < end)
            ends.append(end)
        else:
            good = False
        if not good:
            wrong.append("event %d: %s" % (i, json.dumps(e)[:200]))
    return wrong[:5]


def perfetto(path, d, work, problems):
    out = Path(work) / "perfetto.json"
    check(problems, "exit code of --perfetto", run("stat", "--perfetto", out, path).returncode, 0)
    root = json.loads(out.read_text())
    events = root["traceEvents"]
    check(problems, "the Trace Event Format", trace_event_format(root), [])
    check(problems, "slices", sum(e["ph"] == "X" for e in events), len(d["gc"]))
    spans = [e["args"]["bytes"] for e in events if e["ph"] == "C" and e["name"] == "heap spans"]
    check(problems, "counters", spans, d["series"]["span_bytes"])


def usage(problems):
    good = ROOT / "tests/controls/large-p2.gmt"
    for want, argv in ((2, ["stat"]), (2, ["stat", "/nonexistent"]), (2, ["stat", "--what", good]), (2, ["stat", good, good]),
                       (2, ["stat", "--types", "x", good]), (2, ["stat", "--pprof"]), (2, ["stat", ROOT / "README.md"]), (0, ["stat", "--help"]),
                       (2, ["stat", "--types", "3", good]), (2, ["report"]), (2, ["report", "-o"]), (2, ["report", "-o", "/nonexistent/x", good]),
                       (2, ["report", "--json", good]), (0, ["report", "--help"]), (2, ["stat", "--perfetto", "/nonexistent/x", good])):
        got = run(*argv)
        check(problems, "exit code of " + " ".join(map(str, argv)), got.returncode, want)
        check(problems, "a message of " + " ".join(map(str, argv)), bool(got.stderr), want != 0)


def main():
    files = sorted([*(ROOT / "traces/data").glob("*.gmt"), *(ROOT / "tests/controls").glob("*.gmt"), *(ROOT / "traces/data/gotrace").glob("*.zst")])
    if SANITIZED:
        files = [f for f in files if f.stat().st_size < 1 << 20]
        print("recordings of 1 MiB and more are left to the release build")
    failures = 0
    with tempfile.TemporaryDirectory() as work:
        for path in files:
            problems = []
            if path.name.startswith("noobjects"):
                got = run("stat", path)
                check(problems, "exit code", got.returncode, 2)
                check(problems, "the message says how", "traceallocfree" in got.stderr, True)
                failures += bool(problems)
                print("%s: %s" % (path.name, "; ".join(problems) or "refused"))
                continue
            d = json.loads(run("stat", "--json", path).stdout)
            equations(d, problems)
            the_map(d, problems)
            if d["kind"] == "recording":
                against_info(d, info(path), problems)
            if path.parent.name == "controls" or path.name in ("traced-p4.trace.zst", "http-p4.trace.zst", "go125-p4.trace.zst", "compile-p1.trace.zst"):
                against_model(path, d, problems)
                page(path, d, work, problems)
                perfetto(path, d, work, problems)
            failures += bool(problems)
            print("%s: %s" % (path.name, "; ".join(problems[:8]) or "%d slots, peak %d bytes: all equal" % (d["totals"]["taken"], d["peak"]["span_bytes"])))
        problems = []
        usage(problems)
        failures += bool(problems)
        print("usage: " + ("; ".join(problems) or "as it should be"))
    return 1 if failures or not files else 0


if __name__ == "__main__":
    sys.exit(main())
