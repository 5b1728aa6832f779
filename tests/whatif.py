#!/usr/bin/env python3
"""The command `gomem whatif`: what it refuses and why, its JSON, sweeps, tables of size classes in files, exit codes."""
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

GOMEM = os.environ["GOMEM"]
FILE = "tests/controls/goroutines-p4.gmt"
failures = 0


def run(*args):
    return subprocess.run([GOMEM, "whatif", *args], capture_output=True, text=True, stdin=subprocess.DEVNULL)


def check(good, what, got):
    global failures
    if not good:
        failures += 1
        print("FAILED: %s\n  exit %d\n  stdout %.300s\n  stderr %.600s" % (what, got.returncode, got.stdout, got.stderr))


def refused(words, *args):
    """Exit code 2, nothing on stdout, and a message with all these words: the option and the reason."""
    got = run(*args)
    good = got.returncode == 2 and got.stdout == "" and all(w in got.stderr for w in words)
    check(good, "refused %s, told %s" % (" ".join(args), words), got)


def refusals(folder):
    table = folder / "table"
    for option, value, reason in (
            ("--page-size", "5000", "power of two"), ("--page-size", "2KiB", "not from 4096"),
            ("--page-size", "64KiB", "32768"), ("--page-size", "big", "not a size"), ("--page-size", "8KiBx", "not a size"),
            ("--arena-size", "3MiB", "power of two"), ("--arena-size", "2GiB", "not from"),
            ("--arena-size", "1MiB", "512 to"), ("--arena-size", "512MiB", "pages"),
            ("--phys-page-size", "1024", "not from"), ("--thp", "maybe", "on or off"),
            ("--tiny-size", "24", "power of two"), ("--tiny-size", "4", "not from"),
            ("--gogc", "0", "percentage"), ("--gogc", "many", "percentage"), ("--memory-limit", "1", "1MiB"),
            ("--deaths", "never", "late or early"), ("--deaths", "early", "only with"), ("--green-tea", "yes", "on or off"), ("--page-cache", "1", "on or off"), ("--random-base", "", "value is missing"),
            ("--size-classes", "go1.5", "go1.15"), ("--size-classes", "go1.x", "go1.15"),
            ("--size-classes", "generated:foo=1", "align16-from"), ("--size-classes", "generated:tail", "NAME=NUMBER"),
            ("--size-classes", "generated:tail=64", "32 bits"), ("--size-classes", "generated:max-align=3", "power of two"),
            ("--size-classes", "generated:eighth-from=2048", "classes"),
            ("--size-classes", "no-such-file", "no file")):
        refused([option, reason], option, value, FILE)
    refused(["--page-size", "8KiB"], "--page-size", "16KiB", "--size-classes", "go1.20", FILE)
    refused(["--phys-page-size", "64 pages"], "--page-size", "4KiB", "--phys-page-size", "512KiB", FILE)
    for text, reason in (("8 1\n16 x\n", "line 2"), ("8\n16\n20\n", "line 3"), ("", "no classes"), ("8\n16\n", "largest"),
                         ("16 1\n8 1\n", "class"), ("8 1\n16 1\n1024 1\n32768 4\n", "headers begin"),
                         ("8 1\n16 1\n512 2\n32768 4\n", "one page")):
        table.write_text(text)
        refused(["--size-classes", reason], "--size-classes", str(table), FILE)
    refused(["--no-such", "no such option"], "--no-such", FILE)
    refused(["--page-size", "value is missing"], FILE, "--page-size")
    refused(["no recording"])
    refused(["one recording"], FILE, FILE)
    refused(["/no/such.gmt"], "/no/such.gmt")
    refused(["--sweep", "OPTION=A"], "--sweep", "page-size", FILE)
    refused(["--sweep", "--nothing"], "--sweep", "nothing=1", FILE)
    for values, number in (("gogc=", 1), ("gogc=50,,200", 2), ("gogc=,50", 1), ("gogc=50,200,", 3), ("gogc=50;;200", 2), ("gogc=,", 1)):
        refused(["--sweep --gogc", "value %d is empty" % number], "--sweep", values, FILE)
    refused(["--gogc many", "percentage"], "--sweep", "gogc=50,many", FILE)
    refused(["--sweep", "value is missing"], "--sweep=", FILE)
    refused(["--plot"], "--plot", "/no/such/folder/a.svg", FILE)
    bad = folder / "bad.gmt"
    bad.write_bytes(Path(FILE).read_bytes()[:5000])
    refused(["bad.gmt"], str(bad))


def results(folder):
    got = run("--json", FILE)
    check(got.returncode == 0, "recorded constants", got)
    one = json.loads(got.stdout)
    check(one["equal"] == one["decisions"] > 0, "all decisions equal", got)
    check(one["recorded"] == one["changed"], "no option: nothing changes", got)
    got = run("--json", "--page-size", "16KiB", FILE)
    two = json.loads(got.stdout)
    check(two["recorded"] == one["recorded"] and two["changed"] != one["changed"], "--page-size changes one side", got)
    for side in (two["recorded"], two["changed"]):
        for key, total in (("bytes", "peak_in_use"), ("asked", "peak_asked"), ("slot_waste", "peak_slot_waste"),
                           ("free_slots", "peak_free_slots"), ("tail", "peak_tail")):
            check(sum(c[key] for c in side["classes"]) == side[total], "sum of %s over classes" % key, got)
    # Go's own table in a file: nothing changes.
    table = folder / "go.txt"
    sizes = [line.split() for line in Path("gomem/sizeclasses.h").read_text().splitlines() if line.startswith("//  ")]
    table.write_text("# Go\n" + "".join("%s %d\n" % (s[2], int(s[3]) // 8192) for s in sizes if s[1].isdigit()))
    got = run("--json", "--size-classes", str(table), FILE)
    check(got.returncode == 0 and json.loads(got.stdout)["changed"] == one["recorded"], "Go's table from a file", got)
    got = run("--json", "--sweep", "page-size=8KiB,16KiB", "--plot", str(folder / "a.svg"), FILE)
    values = json.loads(got.stdout)["values"]
    check([v.pop("value") for v in values] == ["8KiB", "16KiB"], "values of a sweep", got)
    check(values == [one["recorded"], two["changed"]], "a sweep gives what single runs give", got)
    check((folder / "a.svg").read_text().count("<polyline") == 3, "plot of a sweep", got)
    check((folder / "a.svg").read_text().count("<circle") == 6, "points of a sweep", got)
    paced = "compare these lines with each other"
    got = run("--sweep", "gogc=" + ",".join(map(str, range(10, 310, 10))), "--plot", str(folder / "a.svg"), FILE)
    labels = re.findall(r">([^<]+)</text>", (folder / "a.svg").read_text())
    check({"10", "50", "290"} < set(labels) and "20" not in labels, "a plot of many values names some: %s" % labels, got)
    scale = [label for label in labels if label == "0" or label.endswith("iB")]
    check(len(scale) > 3 and all(re.fullmatch(r"0|[0-9]+ [KMG]iB", label) for label in scale), "a scale of round numbers: %s" % scale, got)
    check(paced in got.stdout, "what lines of paced cycles are to be compared with", got)
    got = run("--sweep", "page-size=16KiB", FILE)
    check(paced not in got.stdout, "cycles as recorded", got)
    swept, pair = got.stdout.splitlines()[-1].split(), run("--page-size", "16KiB", FILE).stdout
    check([swept[1], swept[2]] == [re.search(r"^%s.*\| +([0-9,]+)" % name, pair, re.M).group(1) for name in ("peak bytes in use", "mean bytes in use")],
          "a line of a sweep has the figures of the pair: %s" % swept, got)
    table.write_text("# " + "x" * 253 + "40\n")
    for path, why in ((table, "line 1: longer than"), ("/dev/zero", "not text")):
        got = run("--size-classes", str(path), FILE)
        check(got.returncode == 2 and why in got.stderr, "a table with long lines", got)
    got = run("--sweep", "gogc=1,3,100", FILE)  # the first cycle is due before there is a P
    check(got.returncode == 0 and "\n1 " in got.stdout, "hardly any garbage", got)
    got = run("--sweep", "size-classes=generated:tail=8,max-align=256;go1.15", FILE)
    check(got.returncode == 0 and "\ngo1.15 " in got.stdout and "\ngenerated:tail=8,max-align=256 " in got.stdout, "; separates", got)
    got = run("--no-green-tea", "--no-page-cache", "--plot", str(folder / "b.svg"), FILE)
    check(got.returncode == 0 and "--green-tea off --page-cache off" in got.stdout, "two options", got)
    check((folder / "b.svg").read_text().count("<polyline") == 2, "plot of bytes over time", got)
    check(">20,000</text>" in (folder / "b.svg").read_text(), "numbers of allocations", got)
    got = run("--help")
    check(got.returncode == 0 and all(o in got.stdout for o in ("--size-classes", "--gogc", "--sweep")), "--help", got)


def ranges(value, path=""):
    """All (where, low, high) in the JSON of a trace's results."""
    if isinstance(value, dict) and set(value) == {"low", "high"}:
        yield path, value["low"], value["high"]
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from ranges(inner, path + "." + key)
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from ranges(inner, "%s[%d]" % (path, i))


def check_side(side, what, got):
    every = list(ranges(side))
    check(len(every) > 100 and all(low <= high for _, low, high in every), "%s: low <= high" % what, got)
    for key, total in (("bytes", "peak_in_use"), ("asked", "peak_asked"), ("tail", "peak_tail")):
        for end, good in (("low", lambda a, b: a <= b), ("high", lambda a, b: a >= b)):
            classes = sum(c[key][end] for c in side["classes"])
            check(good(classes, side[total][end]), "%s: sum of %s of %s over classes" % (what, end, key), got)
    for mean, part in (("mean_in_use", "mean_asked"), ("peak_in_use", "peak_asked")):
        check(side[part]["high"] <= side[mean]["high"], "%s: %s in %s" % (what, part, mean), got)
    check(side["mean_asked"]["low"] < side["mean_asked"]["high"], "%s: sizes are not known" % what, got)
    check(side["untranslated"] == {"low": 0, "high": 0}, "%s: all that is freed was there" % what, got)


def near_go(one, what, got):
    """Go's own peak, told by the spans of the trace, is what the two runs enclose, but for 2 %: sweeps are told in part only."""
    go, peak = one["peak_in_use_of_go"], one["recorded"]["peak_in_use"]
    check(peak["low"] * 0.98 <= go <= peak["high"] * 1.02, "%s: Go's peak %d, here %s" % (what, go, peak), got)


def documented():
    """The table of docs/WHATIF.md: trace -> Go's peak, low..high."""
    rows = re.findall(r"^\| ([a-z0-9-]+) \| ([0-9,]+) \| ([0-9,]+)\.\.([0-9,]+) \|$", Path("docs/WHATIF.md").read_text(), re.M)
    return {name: tuple(int(n.replace(",", "")) for n in numbers) for name, *numbers in rows}


def trace_results(folder):
    table = documented()
    for name in TRACES:
        path = "traces/data/gotrace/%s.trace.zst" % name
        got = run("--json", path)
        check(got.returncode == 0 and got.stderr == "", name, got)
        one = json.loads(got.stdout)
        check(one["trace"] is True and one["addresses_compared"] is False and "equal" not in one, "%s: says what it is" % name, got)
        check(one["recorded"] == one["changed"], "%s: no option: nothing changes" % name, got)
        check(0 < one["exact_sizes"] < one["mallocs"], "%s: types tell some sizes" % name, got)
        check(one["recorded"]["gc_cycles"] == {"low": one["cycles"], "high": one["cycles"]}, "%s: cycles" % name, got)
        check_side(one["recorded"], name, got)
        near_go(one, name, got)
        peak = one["recorded"]["peak_in_use"]
        here = (one["peak_in_use_of_go"], peak["low"], peak["high"])
        check(table.pop(name, None) == here, "docs/WHATIF.md has the row of %s: %s" % (name, here), got)
    check(not table, "docs/WHATIF.md has no other rows: %s" % table, got)
    # Go's constants as options; and the negative control: others change something.
    same = [["--page-size", "8KiB"], ["--size-classes", "generated"], ["--size-classes", "go1.26"], ["--arena-size", "64MiB"],
            ["--tiny-size", "16", "--page-cache", "on", "--green-tea", "on"]]
    other = [["--page-size", "16KiB"], ["--size-classes", "go1.15"], ["--tiny-size", "64"], ["--page-cache", "off"],
             ["--green-tea", "off"], ["--gogc", "50"], ["--memory-limit", "8MiB"], ["--phys-page-size", "64KiB"], ["--thp", "on"]]
    base = json.loads(run("--json", TRACE).stdout)["recorded"]
    for options in same + other:
        got = run("--json", *options, TRACE)
        check(got.returncode == 0, " ".join(options), got)
        two = json.loads(got.stdout)
        check(two["recorded"] == base, "%s: the left side stays" % options, got)
        check((two["changed"] == base) == (options in same), "%s: the right side" % options, got)
        check_side(two["changed"], str(options), got)
    got = run("--json", "--gogc", "100", "--deaths", "early", TRACE)
    late = run("--json", "--gogc", "100", TRACE)
    early_mean = json.loads(got.stdout)["changed"]["mean_in_use"]
    late_mean = json.loads(late.stdout)["changed"]["mean_in_use"]
    check(early_mean["high"] < late_mean["low"], "early deaths: less memory than late ones", got)
    got = run("--json", "--sweep", "page-size=8KiB,16KiB", "--plot", str(folder / "t.svg"), TRACE)
    values = json.loads(got.stdout)["values"]
    check([v.pop("value") for v in values] == ["8KiB", "16KiB"], "values of a sweep of a trace", got)
    check(values[0] == base != values[1], "a sweep of a trace gives what single runs give", got)
    check((folder / "t.svg").read_text().count("<polyline") == 6, "plot of a sweep of a trace", got)
    got = run("--page-size", "16KiB", "--plot", str(folder / "u.svg"), TRACE)
    check((folder / "u.svg").read_text().count("<polyline") == 4, "plot of a trace", got)
    colours = re.findall(r'polyline fill="none" stroke="(#[0-9a-f]+)"', (folder / "u.svg").read_text())
    check(len(set(colours)) == 4, "each line has its colour", got)
    check(all(w in got.stdout for w in ("low..high", "slots, not sizes", "gomem replay", "Go's constants", "..")), "text", got)
    check("decisions" not in got.stdout, "no decision is compared", got)
    got = run("--sweep", "page-size=8KiB,16KiB", TRACE)
    lines = [line.split(None, 1) for line in got.stdout.splitlines()]
    check(len({line[1].replace(" ", "") for line in lines if line and line[0] in ("(Go's)", "8KiB")}) == 1, "a line of Go's value is Go's", got)


def trace_refusals(folder):
    refused(["--random-base", "recordings", "seed"], "--random-base", "off", TRACE)
    refused(["--random-base", "recordings"], "--sweep", "random-base=on,off", TRACE)
    refused(["--page-size", "power of two"], "--page-size", "5000", TRACE)
    for salvage in ([], ["--salvage"]):
        got = run(*salvage, "traces/data/gotrace/noobjects-p4.trace.zst")
        check(got.returncode == 2 and all(w in got.stderr for w in ("GODEBUG=traceallocfree=1", "without objects")) and "whole" not in got.stderr,
              "a trace without objects is not damaged, %s" % salvage, got)
    cut = folder / "cut.trace"
    whole = subprocess.run(["zstd", "-dcq", TRACE], capture_output=True, check=False).stdout
    if whole:
        cut.write_bytes(whole[:60000])
        refused(["cut.trace", "offset"], str(cut))


TRACES = sorted(p.name.split(".")[0] for p in Path("traces/data/gotrace").glob("*.zst") if "noobjects" not in p.name)
TRACE = "traces/data/gotrace/traced-p4.trace.zst"
with tempfile.TemporaryDirectory() as name:
    trace_refusals(Path(name))
    trace_results(Path(name))
    refusals(Path(name))
    results(Path(name))
print("%d failures" % failures)
sys.exit(1 if failures else 0)
