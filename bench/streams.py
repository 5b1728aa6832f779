"""streams.py: requests of recorded programs, served by the port, the reference and its peers, each in a process of its own."""
import json
import subprocess

import report

QUICK = ["gofmt-p1", "jsonbench-p1", "esbuild-p4", "httpserver-p4"]
ALL = QUICK + ["compile-types-p4", "trees-p4", "large-p4", "goroutines-p16"]
PEERS = ["glibc", "jemalloc", "mimalloc", "tcmalloc", "tbbmalloc", "scudo", "snmalloc", "rpmalloc"]
# The port as it gives memory back: when Go does, the last 2 MiB a little later; at once; by MADV_FREE; not at all.
BUILDS = {"unmarked": "gomem", "now": "gomem+now", "free": "gomem+free", "kept": "gomem:keep"}
SECONDS = 3  # of the reference, which may be slow


def make(args, name):
    """The flattened recording, made again if the recording or the program that makes it is newer."""
    folder = args.out / "streams"
    folder.mkdir(parents=True, exist_ok=True)
    out, recording, maker = folder / f"{name}.stream", args.source / f"traces/data/{name}.gmt", args.lib / "stream_make"
    newest = max(recording.stat().st_mtime, maker.stat().st_mtime)
    if not out.exists() or out.stat().st_mtime < newest:
        subprocess.run([maker, recording, out], check=True)
    return out


def serve(args, stream, allocator):
    """None: the allocator is not here."""
    command = [args.lib / "bench_stream", stream, allocator, "--seconds", str(SECONDS if allocator == "reference" else 0)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 77:
        return None
    if done.returncode != 0:
        raise SystemExit(f"bench.py: {stream} by {allocator}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def measure(args, rounds):
    """{recording: {allocator: the least of all rounds, by figure}}"""
    missing, result = set(), {}
    names = QUICK if args.quick else ALL
    streams = {name: make(args, name) for name in names}
    everybody = ["none", *BUILDS.values()] + PEERS
    for number in range(rounds):
        more = ["reference"] + [peer + ":calloc" for peer in PEERS] if number == 0 or not args.quick else []
        # In turns, and each time another one first: whoever comes after a pause finds cold caches, and on a virtual machine memory that its host has taken.
        turns = everybody + more
        first = number * len(turns) // rounds
        for name in names:
            for who in turns[first:] + turns[:first]:
                got = None if who in missing else serve(args, streams[name], who)
                if got is None:
                    missing.add(who)
                    continue
                got["unmarked_ns"] = got["cpu_ns"] - got["mark_ns"]
                best = result.setdefault(name, {}).setdefault(who, got)
                for figure in ("cpu_ns", "wall_ns", "mark_ns", "unmarked_ns", "peak_rss", "faults"):
                    best[figure] = min(best[figure], got[figure])
    print("\n".join(f"skipped: {who}: not installed" for who in sorted(missing) if ":" not in who))
    return result


def per_request(of, figure="cpu_ns"):
    """ns a request, without what reading the stream and the program's own writing cost."""
    return lambda who: of[who][figure] / of[who]["requests"] - of["none"]["cpu_ns"] / of["none"]["requests"]


def best_peer(of):
    ns = per_request(of)
    return min((ns(who), who) for who in of if who.split(":")[0] in PEERS)


def peers_rss(of):
    """Of each peer the better of its two ways."""
    return {peer: min(of[who]["peak_rss"] for who in (peer, peer + ":calloc")) for peer in PEERS if peer in of}


def show(result):
    ratios = {key: [] for key in (*BUILDS, "marked", "rss")}
    for name, of in result.items():
        rows = []
        for who in of:
            if who == "none":
                continue
            got = of[who]
            partly = "" if got["requests"] == got["all_requests"] else f" {100 * got['requests'] / got['all_requests']:.0f} %"
            rows.append([who + partly, per_request(of)(who), per_request(of, "unmarked_ns")(who), got["peak_rss"] / 2**20,
                         got["peak_rss"] / got["peak_live"], got["faults"]])
        first = of["gomem"]
        report.table(f"{name}: {first['all_requests']:,} requests, {first['frees']:,} frees, {first['cycles']} cycles, at most "
                     f"{first['peak_live'] / 2**20:.1f} MiB in use; ns of CPU a request",
                     sorted(rows, key=lambda row: row[1]),
                     ["allocator", "time", "less marking", "peak RSS MiB", "RSS/in use", "page faults"])
        best, who = best_peer(of)
        middle = report.median(peers_rss(of).values())
        unmarked = per_request(of, "unmarked_ns")
        ratio = {key: unmarked(build) / best for key, build in BUILDS.items()}
        ratio |= {"marked": per_request(of)("gomem") / best, "rss": of["gomem"]["peak_rss"] / middle}
        print(f"gomem/{who}: {ratio['unmarked']:.2f} without marking, {ratio['now']:.2f} if all is given back at once, {ratio['free']:.2f} by MADV_FREE, {ratio['kept']:.2f} if nothing is given back, {ratio['marked']:.2f} with marking; "
              f"peak RSS over the median peer's {ratio['rss']:.2f}")
        report.bar("streams", f"{name}: time at most the best peer's", f"{ratio['unmarked']:.2f} of {who} "
                   f"({ratio['marked']:.2f} with marking)", ratio["unmarked"] <= 1)
        report.bar("streams", f"{name}: the same, given back by MADV_FREE (GODEBUG=madvdontneed=0)", f"{ratio['free']:.2f} of {who}", ratio["free"] <= 1)
        report.bar("streams", f"{name}: the same, nothing given back to the OS, as the peers do", f"{ratio['kept']:.2f} of {who}", ratio["kept"] <= 1)
        report.bar("streams", f"{name}: peak RSS at most the median peer's", f"{ratio['rss']:.2f}", ratio["rss"] <= 1)
        for key, value in ratio.items():
            ratios[key].append(value)
    print("\nall streams, geometric means: " + ", ".join(f"{key} {report.geomean(values):.2f}" for key, values in ratios.items()))


def charts(result):
    parts = []
    for name, of in result.items():
        ns = per_request(of)
        both = [(who, ns(who)) for who in of if who != "none"]
        both.append(("gomem without marking", per_request(of, "unmarked_ns")("gomem")))
        parts.append(report.svg_bars(f"{name}: CPU time a request", both, "gomem", "ns"))
        parts.append(report.svg_bars(f"{name}: peak RSS", [(who, got["peak_rss"] / 2**20) for who, got in of.items()
                                                         if who != "none"], "gomem", "MiB"))
    return parts


def run(args):
    result = measure(args, args.rounds or (2 if args.quick else 5))
    show(result)
    return result, charts(result)


