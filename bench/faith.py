"""faith.py: what faithfulness costs: hooks for a replay, checks, AddressSanitizer, replaying; and how fast recordings are read and imported."""
import json
import re
import resource
import shutil
import subprocess

import report
import streams

STREAMS = ("gofmt-p1", "httpserver-p4")
# (program, allocator): which build serves a stream
BUILDS = (("bench_stream", "none"), ("bench_stream", "gomem"), ("bench_stream", "gomem+lab"), ("bench_stream", "gomem+hooks"),
          ("bench_stream", "gomem+checked"), ("bench_stream_asan", "none"), ("bench_stream_asan", "gomem+asan_untold"),
          ("bench_stream_asan", "gomem+asan"))
# (what, of which program, over which program)
RATIOS = (("lab build, no hooks / plain", "gomem+lab", "gomem"), ("lab build, hooks that do nothing / plain", "gomem+hooks", "gomem"),
          ("checked build / plain", "gomem+checked", "gomem"), ("ASan, told of each object / plain", "gomem+asan", "gomem"),
          ("ASan, told of each object / ASan, told of none", "gomem+asan", "gomem+asan_untold"))
WAYS = (("bench_replay", "read"), ("bench_replay", "plain"), ("bench_replay", "lab"), ("bench_replay", "real"),
        ("bench_replay_checked", "lab"))
RECORDINGS = ("gofmt-p1", "jsonbench-p1")


def one_line(*command):
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def serve(args, name, best):
    stream = streams.make(args, name)
    for program, allocator in BUILDS:
        got = one_line(args.lib / program, stream, allocator)
        key = program + "/" + allocator if allocator == "none" else allocator
        report.keep(best, f"{name}/{key}", got["cpu_ns"] / got["requests"])


def ratio(best, name, over, under):
    """Of the time that the port takes, marking included: what reading the stream costs is left out of both."""
    def cost(build):
        none = "bench_stream_asan/none" if "asan" in build else "bench_stream/none"
        return best[f"{name}/{build}"] - best[f"{name}/{none}"]
    return cost(over) / cost(under)


def raw_log(args):
    """A raw log of the recorder, made once; None: it takes Go to make one."""
    path = args.out / "import.raw"
    if path.exists():
        return path
    if shutil.which("go") is None:
        print("skipped: import (there is no go here to record with)")
        return None
    out = (args.out / "import.gmt").resolve()
    done = subprocess.run([args.gomem.resolve(), "record", "--keep-raw", "-f", "-o", out, "--", "./jsonbench", "-rounds", "4"],
                          cwd=args.source / "traces/programs", capture_output=True, text=True)
    found = re.search(r"raw log: (.*)", done.stderr)
    if done.returncode != 0 or found is None:
        print(f"skipped: import: {done.stderr.strip()[-300:]}")
        return None
    shutil.move(found.group(1), path)
    return path


def import_raw(args, path, best):
    """Events a second of CPU."""
    out = args.out / "import.gmt"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([args.gomem, "record", "-f", "-o", out, "--raw", path], capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    took = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    events = int(re.search(r"(\d+) events", done.stderr).group(1))
    report.keep(best, "import", took * 1e9 / events)


def run(args):
    best, raw = {}, raw_log(args)
    for _ in range(args.rounds or (2 if args.quick else 5)):
        for name in STREAMS:
            serve(args, name, best)
        for name in RECORDINGS:
            for program, way in WAYS:
                got = one_line(args.lib / program, args.source / f"traces/data/{name}.gmt", way)
                report.keep(best, f"{name}/{program}/{way}", got["cpu_ns"] / got["events"])
        if raw is not None:
            import_raw(args, raw, best)
    result = {what: {name: ratio(best, name, over, under) for name in STREAMS} for what, over, under in RATIOS}
    report.table("what faithfulness costs: requests of recorded programs, ratios of CPU time",
                 [[what] + [of[name] for name in STREAMS] for what, of in result.items()], ["build"] + list(STREAMS))
    rows = []
    for program, way in WAYS:
        cost = [best[f"{name}/{program}/{way}"] for name in RECORDINGS]
        base = [best[f"{name}/bench_replay/plain"] for name in RECORDINGS]
        rows.append([way + (", checked build" if program.endswith("checked") else "")] + [1e3 / ns for ns in cost]
                    + [ns / of for ns, of in zip(cost, base)])
    if "import" in best:
        rows.append(["import of a raw log", 1e3 / best["import"], "", "", ""])
    report.table("reading, replaying, importing: million events a second of CPU; time over the plain replay's", rows,
                 ["what"] + list(RECORDINGS) + [f"{name}, ratio" for name in RECORDINGS])
    print("read: decoded only; plain, lab: every decision compared, by the build without and with yield points; real: memory at the "
          "recorded addresses, zeroed objects looked at")
    for what, of in result.items():
        report.bar("faith", what, " ".join(f"{value:.2f}" for value in of.values()), None)
    charts = [report.svg_bars(f"{name}: ns of CPU a request", [(key.split("/", 1)[1], value) for key, value in best.items()
                                                             if key.startswith(name + "/") and "replay" not in key], "gomem", "ns")
              for name in STREAMS]
    return {"ns": best, "ratios": result}, charts
