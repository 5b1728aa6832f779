#!/usr/bin/env python3
"""Sessions of the fuzz targets that are built with libFuzzer. `./dev fuzz` builds them and calls this.

usage: fuzz.py [TARGET...] [SECONDS]          fuzz, SECONDS (60) for each target; exit code 1: something was found
       fuzz.py --merge [TARGET...] [--max N]  the smallest corpus that reaches what all inputs reach, at most N (120) files a target,
                                              into fuzz/corpus
       fuzz.py --speed [TARGET...] [SECONDS]  executions a second of each target alone on one core; exit code 1: one is below its bar,
                                              or fails
       fuzz.py --list;  fuzz.py --hours     what there is;  how long each target was fuzzed so far, and on which commits (fuzz/hours.tsv)

All targets: as many at a time as there are cores. Fewer targets than cores: libFuzzer's fork mode shares the cores among them.
New inputs and what was found stay in build/fuzz-work/TARGET; the seeds are fuzz/corpus/TARGET, fuzz/seeds/TARGET and fuzz/regressions/TARGET. X_plain has the
programs of X, and so its seeds."""
import argparse
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fuzz_inputs import FUZZ_OPTIONS, ROOT, inputs

BINARIES = ROOT / "build/fuzz/fuzz"
WORK = ROOT / "build/fuzz-work"
HOURS = ROOT / "fuzz/hours.tsv"
BAR = {"small": 10000, "large": 1000}
INTERRUPTED = 72  # libFuzzer's exit code after Ctrl-C
FOUND = ("crash-", "oom-", "timeout-", "leak-")


def cores():
    return len(os.sched_getaffinity(0))


def shown(path):
    return os.path.relpath(path, ROOT)


def table(head, rows):
    """Prints rows of strings; the first column and the last are text, the others numbers."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    for row in [head, *rows]:
        cells = [cell.rjust(width) for cell, width in zip(row, widths)]
        cells[0], cells[-1] = row[0].ljust(widths[0]), row[-1]
        print("  ".join(cells).rstrip())


class Target:
    def __init__(self, name):
        self.name = name
        self.binary = BINARIES / ("fuzz_" + name)
        self.work = WORK / name
        self.corpus = self.work / "corpus"
        self.artifacts = self.work / "artifacts"
        self.log = self.work / "log"
        self.tree = ROOT / "fuzz/corpus" / name.removesuffix("_plain")
        self.seeds = inputs(self.tree.name)
        _, self.size, self.what = self.run("--info").stdout.rstrip("\n").split("\t")

    def run(self, *args, timeout=None):
        return subprocess.run([self.binary, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, errors="replace", timeout=timeout)


def targets(names):
    if not names:
        names = sorted(p.name.removeprefix("fuzz_") for p in BINARIES.glob("fuzz_*") if os.access(p, os.X_OK))
    for name in names:
        if not (BINARIES / ("fuzz_" + name)).exists():
            print("fuzz: there is no target %s; ./dev fuzz --list" % name, file=sys.stderr)
            sys.exit(2)
    return [Target(name) for name in names]


class Session:
    """One run of one target under libFuzzer."""

    def __init__(self, target, seconds, forks):
        self.target, self.seconds, self.forks = target, seconds, forks
        self.executions = self.edges = self.inputs = 0
        target.corpus.mkdir(parents=True, exist_ok=True)
        target.artifacts.mkdir(exist_ok=True)
        self.began = time.time()
        self.elapsed = 0.0
        args = [target.binary, "-max_total_time=%d" % seconds, *FUZZ_OPTIONS, "-print_final_stats=1",
                "-artifact_prefix=%s/" % target.artifacts]
        if forks > 1:
            args += ["-fork=%d" % forks, "-ignore_crashes=0", "-ignore_timeouts=0", "-ignore_ooms=0"]
        with open(target.log, "wb") as log:
            self.process = subprocess.Popen([*args, target.corpus, *target.seeds], stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=subprocess.STDOUT, start_new_session=True, cwd=target.work)

    def look(self):
        """Reads how far the session is. True: it has ended."""
        ended = self.process.poll() is not None
        self.elapsed = time.time() - self.began
        with open(self.target.log, "rb") as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - 200000))
            text = log.read().decode(errors="replace")
        self.read(text)
        if ended and self.forks > 1 and not self.found():
            # In fork mode edges are counted otherwise.
            self.read(self.target.run("-runs=0", self.target.corpus, *self.target.seeds, timeout=600).stdout, ours=False)
        return ended

    def read(self, text, ours=True):
        for count, edges, inputs in re.findall(r"^#(\d+):?\s.*?cov: (\d+) .*?corp: (\d+)", text, re.M):
            self.executions = int(count) if ours else self.executions
            self.edges, self.inputs = int(edges), int(inputs)
        for count in re.findall(r"^stat::number_of_executed_units: (\d+)", text, re.M) if ours else ():
            self.executions = max(self.executions, int(count))

    def stop(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, 15)
            self.process.wait()

    def found(self):
        return sorted(p for p in self.target.artifacts.iterdir()
                      if p.name.startswith(FOUND) and p.stat().st_mtime >= self.began - 1)

    def failed(self):
        return self.process.returncode not in (None, 0, -15, INTERRUPTED) or bool(self.found())

    def row(self):
        rate = self.executions / max(self.elapsed, 0.1)
        found = str(len(self.found()) or "FAILED") if self.failed() else "-"
        return [self.target.name, "%d" % self.executions, "%.0f" % rate, "%d" % self.edges, "%d" % self.inputs, found]


def first_line(target, text):
    for pattern in (r"^fuzz_%s: .*" % target.name, r".*runtime error: .*", r".*ERROR: .*"):
        match = re.search(pattern, text, re.M)
        if match:
            return match.group(0)
    return None


def tell(session, most=3):
    """Says what was found, the smallest inputs first, and how to look at it."""
    target, found = session.target, session.found()
    for path in sorted(found, key=lambda p: (p.stat().st_size, p.name))[:most]:
        try:
            said = first_line(target, target.run(path, timeout=60).stdout)
        except subprocess.TimeoutExpired:
            said = "runs for more than 60 s"
        print("\n%s\n  %s" % (shown(path), said or "does not fail alone; see %s" % shown(target.log)))
        print("  ./dev fuzz --show %s %s    (--shrink: make it small; --c: as C for a unit test)" % (target.name, shown(path)))
    if len(found) > most:
        print("\nand %d more in %s" % (len(found) - most, shown(target.artifacts)))
    if not found:
        print("\n%s ended with exit code %d; see %s" % (target.name, session.process.returncode, shown(target.log)))


def account(done):
    """Adds the sessions to fuzz/hours.tsv: what was fuzzed for how long, on which commit (+: and changes)."""
    told = subprocess.run(["git", "describe", "--always", "--dirty=+", "--exclude=*"], cwd=ROOT, capture_output=True, text=True)
    commit = told.stdout.strip() if told.returncode == 0 else "unknown"
    with HOURS.open("a") as f:
        for s in done:
            f.write("%s\t%s\t%s\t%d\t%d\n" % (time.strftime("%Y-%m-%d"), commit, s.target.name, s.elapsed, s.executions))


def hours():
    """The total of each target and of all, with the commits."""
    total = {}
    for line in HOURS.read_text().splitlines()[1:]:
        _, commit, name, seconds, executions = line.split("\t")
        t = total.setdefault(name, [0, 0, []])
        t[0], t[1], t[2] = t[0] + int(seconds), t[1] + int(executions), t[2] + [commit] * (commit not in t[2])
    rows = [[name, "%.2f" % (t[0] / 3600), "%d" % t[1], " ".join(t[2])] for name, t in sorted(total.items())]
    rows.append(["all", "%.2f" % (sum(t[0] for t in total.values()) / 3600), "%d" % sum(t[1] for t in total.values()), ""])
    table(["target", "hours", "executions", "commits"], rows)


def fuzz(chosen, seconds):
    at_once = min(len(chosen), cores())
    forks = max(1, cores() // at_once)
    waiting, running, done = list(chosen), [], []
    terminal = sys.stdout.isatty()
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                running.append(Session(waiting.pop(0), seconds, forks))
            time.sleep(0.2)
            for session in [s for s in running if s.look()]:
                running.remove(session)
                done.append(session)
            if terminal:
                now = "; ".join("%s %ds, %d runs, %d edges" % (s.target.name, s.elapsed, s.executions, s.edges) for s in running)
                width = shutil.get_terminal_size().columns - 1
                print("\r\033[K" + ("%d of %d: %s" % (len(done), len(chosen), now))[:width], end="", flush=True)
    except KeyboardInterrupt:
        done += running
    finally:
        for session in running:
            session.stop()
    if terminal:
        print("\r\033[K", end="")
    done.sort(key=lambda s: s.target.name)
    account(done)
    table(["target", "executions", "a second", "edges", "corpus", "found"], [s.row() for s in done])
    for session in [s for s in done if s.failed()]:
        tell(session)
    return any(s.failed() for s in done)


def cpu_seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def speed(chosen, seconds):
    """Executions a second of processor time: what else runs on the machine counts little."""
    rows, failed, below = [], [], False
    for target in chosen:
        if sys.stdout.isatty():
            print("\r\033[K%s" % target.name, end="", flush=True)
        before = cpu_seconds()
        # New inputs are many at first: their files are not to be waited for.
        with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as fresh:
            done = target.run("-max_total_time=%d" % seconds, *FUZZ_OPTIONS, "-seed=1", "-print_final_stats=1",
                              "-artifact_prefix=%s/" % fresh, fresh, *target.seeds)
        runs = re.findall(r"^stat::number_of_executed_units: +(\d+)", done.stdout, re.M)
        rate, bar = int(runs[-1]) / (cpu_seconds() - before) if runs else 0, BAR[target.size]
        below = below or rate < bar
        verdict = "ok" if rate >= bar else "below"
        if done.returncode != 0:
            verdict = "FAILED"
            failed.append("%s: %s" % (target.name, first_line(target, done.stdout) or "exit code %d" % done.returncode))
        rows.append([target.name, "%.0f" % rate, "%d" % bar, verdict])
    if sys.stdout.isatty():
        print("\r\033[K", end="")
    table(["target", "a second", "bar", ""], rows)
    for line in failed:
        print("\n" + line)
    return below or bool(failed)


def features(control):
    """Reads libFuzzer's control file of a merge: the features of each file that ran."""
    lines = control.read_text(errors="replace").split("\n")
    count = int(lines[0])
    files = [Path(line) for line in lines[2:2 + count]]
    reached = {}
    for line in lines[2 + count:]:
        word, *rest = line.split(" ")
        if word == "FT" and rest:
            reached[files[int(rest[0])]] = {int(f) for f in rest[1:] if f}
    return reached


def cover(reached, most):
    """Chooses files until all features are reached: the one that adds most first, of equals the smallest. At most `most`."""
    missing = set().union(*reached.values())
    left, chosen = dict(reached), []
    size = {path: path.stat().st_size for path in left}
    while missing and left and len(chosen) < most:
        best = max(left, key=lambda path: (len(left[path] & missing), -size[path], path.name))
        missing -= left.pop(best)
        chosen.append(best)
    return chosen, len(missing)


def merge(chosen, most):
    rows = []
    for target in chosen:
        tree = target.tree
        if tree.name != target.name:
            rows.append([target.name, "", "", "", "part of %s" % tree.name])
            continue
        sources = [d for d in (tree, target.corpus, WORK / (target.name + "_plain") / "corpus") if d.is_dir()]
        if not any(p.is_file() for d in sources for p in d.iterdir()):
            rows.append([target.name, "0", "0", "0", "no inputs yet"])
            continue
        with tempfile.TemporaryDirectory() as fresh:
            control = Path(fresh, "control")
            Path(fresh, "out").mkdir()
            done = target.run("-merge=1", "-set_cover_merge=1", "-merge_control_file=%s" % control, *FUZZ_OPTIONS,
                              "-artifact_prefix=%s/" % fresh, Path(fresh, "out"), *sources)
            if done.returncode != 0:
                sys.exit("fuzz: merging %s failed:\n%s" % (target.name, done.stdout[-2000:]))
            reached = features(control)
        files, missing = cover(reached, most)
        kept = {path.name: path.read_bytes() for path in files}
        tree.mkdir(parents=True, exist_ok=True)
        for path in tree.iterdir():
            if path.name not in kept:
                path.unlink()
        for name, data in kept.items():
            (tree / name).write_bytes(data)
        total = len(set().union(*reached.values()))
        rows.append([target.name, "%d" % len(reached), "%d" % len(kept), "%d" % sum(map(len, kept.values())),
                     "%d of %d features" % (total - missing, total)])
    table(["target", "inputs", "kept", "bytes", "reached"], rows)


def interrupt(*_):
    raise KeyboardInterrupt  # as Ctrl-C: sessions of libFuzzer are ended


def number(text):
    if not re.fullmatch(r"[1-9][0-9]{0,8}", text):  # libFuzzer reads more as a few, or as none, which stands for ever
        raise argparse.ArgumentTypeError("%s is not a number from 1 to 999999999" % text)
    return int(text)


def main():
    parser = argparse.ArgumentParser(prog="./dev fuzz", usage="see ./dev fuzz --help", add_help=False)
    parser.add_argument("--help", "-h", action="store_true")
    parser.add_argument("--merge", action="store_true")
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--hours", action="store_true")
    parser.add_argument("--max", type=number, default=120)
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, interrupt)
    if args.help:
        print(__doc__.split("\n\n", 1)[1].replace("fuzz.py", "./dev fuzz"))
        return 0
    if args.hours:
        return hours()
    names, seconds = args.names, None
    if names and re.fullmatch(r"[0-9]+", names[-1]):
        try:
            seconds = number(names.pop())
        except argparse.ArgumentTypeError as e:
            parser.error(str(e))
    chosen = targets(names)
    if args.list:
        table(["target", "", "what"], [[t.name, t.size, t.what] for t in chosen])
        return 0
    if args.merge:
        return merge(chosen, args.max)
    if args.speed:
        return speed(chosen, seconds or 10)
    return fuzz(chosen, seconds or 60)


found = True
try:
    found = main()
    sys.stdout.flush()
except BrokenPipeError:  # whoever reads has seen enough
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
except KeyboardInterrupt:
    sys.exit(130)
sys.exit(1 if found else 0)
