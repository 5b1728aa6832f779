#!/usr/bin/env python3
"""Mutation testing of gomem/: do the fuzz targets, and the tests, notice when a line of the allocator is wrong?

usage: mutants.py [--n N] [--seed S] [--jobs J] [--file NAME.c] [--only ID] [--seconds T] [--again] [--checks]
       mutants.py --list | --report

  --n, --seed    how many mutants are drawn (150), and from which seed (1)
  --file, --only run a part of them      --again    also those that survived before
  --seconds      of fuzzing for a mutant that nothing else kills (60)
  --jobs         mutants at a time (the number of processors)
  --checks       draw from the functions too that only test invariants
  --list         print the mutants             --report   print the totals of what has run; 1 if they do not suffice

A mutant is one small change of gomem/*.c or *.h: an operator, a constant, a condition, a statement left out (mutant_sites.py). All
are compiled into one program, each switched on by GOMEM_MUTANT=number. Drawn evenly over files (by the root of their size) and functions
by a hash of the seed, so that a change of the sources changes few. One that does not compile, or compiles to the same object code, is not
counted. What may kill a mutant, in this order, is only what reaches its line when all is well:
  corpus     the fuzz targets replay their corpus and regressions (ordinary driver, checked build)
  test       unit tests, and `gomem replay` of the smallest recordings
  fuzzing    libFuzzer, ASan and UBSan, from the corpus
A program that takes three times as long as without a mutant, and some seconds, kills too. Results: tests/mutants/results.jsonl, kept while the
mutated file is the same. Survivors are explained in tests/mutants/survivors.md, under a heading "## ID"."""
import argparse
import concurrent.futures
import datetime
import hashlib
import json
import math
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import fuzz_inputs
from fuzz_inputs import FUZZ_OPTIONS, inputs, targets
from mutant_sites import DEFINES, apply, find_sites, mutated

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "build" / "mutants"
RESULTS = ROOT / "tests" / "mutants" / "results.jsonl"
SURVIVORS = ROOT / "tests" / "mutants" / "survivors.md"
CONTROLS = ROOT / "tests" / "controls"
BAR = 0.95
MAX_RSS = 3 << 30
MAX_OUTPUT = 1 << 26
SKIPPED = 77  # the exit code of a test that says that it cannot run here
STAGES = ("corpus", "test", "fuzzing")

HEADER = """#ifndef GOMEM_MUTANT_SWITCH
#define GOMEM_MUTANT_SWITCH
// gomem_mutant: the mutant that is on; 0: none; -1: none, and those whose place is reached are noted.
extern int gomem_mutant;
extern unsigned char gomem_mutant_reached[];
static inline int gomem_mutant_is(int i) {
	if (__builtin_expect(gomem_mutant <= 0, 0)) {
		if (gomem_mutant < 0) {
			gomem_mutant_reached[i] = 1;
		}
		return 0;
	}
	return gomem_mutant == i;
}
#endif
"""
SWITCH = """#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
enum { count = %d };
int gomem_mutant;
unsigned char gomem_mutant_reached[count + 1];
__attribute__((constructor)) static void begin(void) {
	const char *which = getenv("GOMEM_MUTANT");
	gomem_mutant = which != NULL ? atoi(which) : 0;
}
__attribute__((destructor)) static void end(void) {
	const char *path = getenv("GOMEM_MUTANTS_REACHED");
	int fd = gomem_mutant < 0 && path != NULL ? open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666) : -1;
	if (fd >= 0 && write(fd, gomem_mutant_reached, count + 1) != count + 1) {
		_exit(99);
	}
}
"""


def say(*words):
    print(*words, flush=True)


def digest(*words):
    return hashlib.sha256("\0".join(map(str, words)).encode()).hexdigest()


# ---- drawing

def draw_order(sites, seed):
    """The sites of one file in the order in which they are drawn: a function at a time, each function's in the order of a hash."""
    queues = {}
    for s in sorted(sites, key=lambda s: digest(seed, s.id)):
        queues.setdefault(s.function, []).append(s)
    functions = sorted(queues, key=lambda f: digest(seed, f))
    while functions:
        for f in functions:
            yield queues[f].pop(0)
        functions = [f for f in functions if queues[f]]


def quotas(sites, n):
    weights = {f: math.sqrt(len(s)) for f, s in sites.items() if s}
    total = sum(weights.values())
    return {f: min(len(sites[f]), max(2, math.ceil(n * w / total))) for f, w in weights.items()}


class Filter:
    """Tells mutants that are no mutants: they do not compile, or compile to the same object code (clang -O2, the fuzz targets' variant)."""

    def __init__(self, texts):
        self.texts = texts
        self.path = WORK / "filter.json"
        self.known = json.loads(self.path.read_text()) if self.path.exists() else {}
        self.headers = digest(*(texts[f] for f in sorted(texts) if f.endswith(".h")))
        self.everything = digest(*(texts[f] for f in sorted(texts)))
        self.originals = {}
        self.lock = threading.Lock()

    def compile(self, source, overlay):
        argv = ["clang", "-x", "c", "-std=c17", "-O2", "-w", "-c", "-include", str(ROOT / "gomem/variant.h"), "-DGOMEM_VARIANT=rt"]
        argv += ["-D" + d for d in DEFINES] + ["-I" + str(d) for d in [*overlay, ROOT]] + ["-o", "-", str(source)]
        done = subprocess.run(argv, capture_output=True)
        return done.stdout if done.returncode == 0 else None

    def original(self, name):
        if name not in self.originals:
            self.originals[name] = self.compile(ROOT / "gomem" / name, [])
        return self.originals[name]

    def users(self, name):
        """The files whose object code shows a change of name: itself, or those that include a header; its namesake first."""
        if name.endswith(".c"):
            return [name]
        return sorted((f for f in self.texts if f.endswith(".c")), key=lambda f: (Path(f).stem != Path(name).stem, f))

    def judge(self, site):
        with tempfile.TemporaryDirectory() as tmp:
            copy = Path(tmp) / "gomem" / site.file
            copy.parent.mkdir()
            copy.write_text(mutated(self.texts[site.file], site))
            for user in self.users(site.file):
                # Of the same name as the original: the name stands in the object.
                source = copy if user == site.file else ROOT / "gomem" / user
                changed = self.compile(source, [tmp])
                if changed is None:
                    return "does not compile"
                if self.same(changed, self.original(user)) is False:
                    return "mutant"
        return "same object code"

    @staticmethod
    def same(a, b):
        return a == b

    def verdict(self, site):
        seen = digest(self.headers, self.texts[site.file]) if site.file.endswith(".c") else self.everything
        key = digest(seen, site.id)
        if key not in self.known:
            result = self.judge(site)
            with self.lock:
                self.known[key] = result
        return self.known[key]

    def save(self):
        WORK.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(self.known))


def draw(sites, texts, n, seed, checks, jobs):
    """n mutants at least, and how many were discarded why."""
    pool = {f: [s for s in v if checks or not s.checker] for f, v in sites.items()}
    want = quotas(pool, n)
    keep = Filter(texts)
    discarded = {}

    def of_file(name):
        taken = []
        for s in draw_order(pool[name], seed):
            if len(taken) == want[name]:
                break
            verdict = keep.verdict(s)
            if verdict == "mutant":
                taken.append(s)
            else:
                discarded[verdict] = discarded.get(verdict, 0) + 1
        return taken

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool_of_threads:
        lists = list(pool_of_threads.map(of_file, want))
    keep.save()
    return sorted((s for v in lists for s in v), key=lambda s: (s.file, s.begin, s.id)), discarded


# ---- one program with all mutants

def render(text, begin, end, sites, number):
    """text[begin:end] with a switch at each of the sites. Sites are ordered by their begin, larger ones first."""
    out, at, i = [], begin, 0
    while i < len(sites):
        s = sites[i]
        inner = [t for t in sites[i + 1:] if t.begin < s.end]
        whole = render(text, s.begin, s.end, inner, number)
        on = "gomem_mutant_is(%d)" % number[s.id]
        out.append(text[at:s.begin])
        if s.statement:
            out.append("if (%s) {\n%s;\n} else {\n%s;\n}" % (on, apply(text, s), whole))
        else:
            out.append("(%s ? (%s) : %s(%s))" % (on, apply(text, s), s.orig, whole))
        at = s.end
        i += 1 + len(inner)
    return "".join(out) + text[at:end]


def switched(text, sites, number):
    ordered = sorted(sites, key=lambda s: (s.begin, -s.end, s.statement is False, s.id))
    return render(text, 0, len(text), ordered, number)


def write_if_changed(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def write_tree(mutants, texts, number):
    """A copy of the tree with the mutants in gomem/; all else are links."""
    source = WORK / "src"
    source.mkdir(parents=True, exist_ok=True)
    for entry in ROOT.iterdir():
        link = source / entry.name
        if entry.name not in ("gomem", "build", ".git") and not link.is_symlink():
            link.symlink_to(entry)
    (source / "gomem").mkdir(exist_ok=True)
    for path in (ROOT / "gomem").iterdir():
        if path.is_dir():
            if not (source / "gomem" / path.name).is_symlink():
                (source / "gomem" / path.name).symlink_to(path)
            continue
        of_file = [s for s in mutants if s.file == path.name]
        text = path.read_text()
        write_if_changed(source / "gomem" / path.name, switched(text, of_file, number) if of_file else text)
    write_if_changed(WORK / "mutant.h", HEADER)
    write_if_changed(WORK / "mutant.c", SWITCH % len(mutants))


def run_quietly(argv, **more):
    done = subprocess.run([str(a) for a in argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", **more)
    if done.returncode != 0:
        sys.exit("%s\nmutants.py: failed: %s" % (done.stdout[-6000:], " ".join(map(str, argv))))


def build(name, compiler, options, jobs):
    folder = WORK / name
    folder.mkdir(parents=True, exist_ok=True)
    run_quietly([compiler, "-c", "-O2", "-o", folder / "mutant.o", WORK / "mutant.c"])
    run_quietly(["cmake", "-S", WORK / "src", "-B", folder, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Debug", "-DGOMEM_CHECKED=ON",
                 "-DGOMEM_DEVELOPER=OFF", "-DCMAKE_C_COMPILER=" + compiler, "-DCMAKE_C_FLAGS=-w -include %s" % (WORK / "mutant.h"),
                 "-DCMAKE_EXE_LINKER_FLAGS=%s" % (folder / "mutant.o"), *options])
    # The linker does not know that mutant.o is an input.
    if (folder / "built").exists() and (folder / "built").read_text() != (WORK / "mutant.c").read_text():
        for program in [*folder.glob("fuzz/fuzz_*"), *folder.glob("lib/tests/test_*"), folder / "gomem"]:
            if program.is_file():
                program.unlink()
    run_quietly(["cmake", "--build", folder, "-j", jobs])
    (folder / "built").write_text((WORK / "mutant.c").read_text())


def build_all(jobs):
    say("building the mutants: checked, for corpora and tests")
    build("debug", "gcc", ["-DCMAKE_C_FLAGS_DEBUG=-O1 -g"], jobs)
    say("building the mutants: libFuzzer, ASan and UBSan")
    build("fuzz", "clang", ["-DCMAKE_C_FLAGS_DEBUG=-O2 -g", "-DGOMEM_SANITIZE=fuzzer-no-link,address,undefined",
                            "-DGOMEM_FUZZ_ENGINE=-fsanitize=fuzzer", "-DGOMEM_TESTS=OFF"], jobs)


# ---- running programs

def limits():
    os.setsid()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


running = set()  # process groups


def stop(*_):
    for pid in list(running):
        os.killpg(pid, signal.SIGKILL)
    os._exit(130)


def rss(pid):
    try:
        return int(Path("/proc/%d/statm" % pid).read_text().split()[1]) * resource.getpagesize()
    except (OSError, IndexError, ValueError):
        return 0


def run(argv, timeout, env, cwd=ROOT):
    """(exit code or the reason why it was ended, seconds, output)"""
    begun = time.monotonic()
    with tempfile.TemporaryFile() as out:
        p = subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=cwd,
                             env={**os.environ, **env}, preexec_fn=limits)
        running.add(p.pid)
        ended, pause = None, 0.002
        while p.poll() is None and ended is None:
            time.sleep(pause)
            pause = min(pause * 1.5, 0.1)
            if time.monotonic() - begun > timeout:
                ended = "timeout"
            elif rss(p.pid) > MAX_RSS:
                ended = "too much memory"
            elif os.fstat(out.fileno()).st_size > MAX_OUTPUT:
                ended = "too much output"
        try:
            os.killpg(p.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        code = p.wait()
        running.discard(p.pid)
        size = out.seek(0, os.SEEK_END)
        out.seek(max(0, size - (1 << 20)))
        return ended or code, time.monotonic() - begun, out.read().decode(errors="replace")


TELLING = (r"fuzz_\w+: .*", r".*SUMMARY: .*", r".*runtime error: .*", r"\[  ERROR   \].*", r".*\bdiffer.*", r".*throw.*", r".*rror.*")


def told(result, output):
    """The line of the output that says what was found."""
    lines = [l.strip() for l in output.splitlines() if l.strip()]
    for pattern in TELLING:
        for i, line in enumerate(lines):
            if re.match(pattern, line) and not re.search(r"inputs a second|Running with|0 differ", line):
                more = " " + lines[i + 1] if line.startswith("[  ERROR") and i + 1 < len(lines) else ""
                return (line + more)[:200]
    return ("exit %s" % result if isinstance(result, int) else result) + (": " + lines[-1][:160] if lines else "")


class Program:
    """Something that may kill a mutant by failing."""

    def __init__(self, stage, name, argv, env, cwd=ROOT):
        self.stage, self.name, self.argv, self.env, self.cwd = stage, name, argv, env, cwd
        self.seconds, self.reached = 0.0, set()

    def baseline(self, folder):
        notes = Path(folder) / ("%s-%s" % (self.stage, re.sub(r"\W", "_", self.name)))
        code, self.seconds, output = run(self.argv, 600, {**self.env, "GOMEM_MUTANT": "-1", "GOMEM_MUTANTS_REACHED": str(notes)}, self.cwd)
        if code == SKIPPED:
            return
        if code != 0:
            sys.exit("%s\nmutants.py: %s %s fails without a mutant: %s" % (output[-4000:], self.stage, self.name, code))
        self.reached = {i for i, c in enumerate(notes.read_bytes()) if c} if notes.exists() else set()

    def kill(self, number):
        """What it says if it kills, else None."""
        code, _, output = run(self.argv, 3 * self.seconds + 5, {**self.env, "GOMEM_MUTANT": str(number)}, self.cwd)
        return None if code == 0 else (told(code, output) if isinstance(code, int) else code)


def programs():
    found = []
    for name, corpus in fuzz_inputs.programs().items():
        # A target without inputs yet: a few random ones tell what it reaches.
        given = inputs(corpus) or ["--seconds", "2", "-o", os.devnull]
        found.append(Program("corpus", name, [WORK / "debug" / "fuzz" / ("fuzz_" + name), *given], {}))
    shown = subprocess.run(["ctest", "--test-dir", WORK / "debug", "--show-only=json-v1"], capture_output=True, text=True, check=True)
    for test in json.loads(shown.stdout)["tests"]:
        argv = test.get("command", [""])
        if "/lib/tests/test_" in argv[0]:
            properties = {p["name"]: p["value"] for p in test.get("properties", [])}
            env = dict(e.split("=", 1) for e in properties.get("ENVIRONMENT", []))
            found.append(Program("test", test["name"], argv, env, properties.get("WORKING_DIRECTORY", ROOT)))
    for recording in sorted(CONTROLS.glob("*.gmt")):
        found.append(Program("test", "replay " + recording.name, [WORK / "debug/gomem", "replay", recording], {}))
    smallest = min(CONTROLS.glob("*.gmt"), key=lambda p: p.stat().st_size)
    found.append(Program("test", "replay --os real " + smallest.name, [WORK / "debug/gomem", "replay", "--os", "real", smallest], {}))
    return found


def baselines(all_programs, jobs):
    with tempfile.TemporaryDirectory() as tmp, concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        list(pool.map(lambda p: p.baseline(tmp), all_programs))
    say("%d programs pass without a mutant" % len(all_programs))


# ---- killing

class Fuzzing:
    """Random inputs by libFuzzer, by the targets that reach a mutant's place, or else its file."""

    MAX_TARGETS = 6

    def __init__(self, corpus_programs, mutants, number, seconds):
        self.seconds = seconds
        self.by_mutant, self.by_file = {}, {}
        able = [p for p in corpus_programs if p.name in targets()]
        fastest = sorted(able, key=lambda p: (len(p.reached), p.name))  # a small target is about one component
        for p in fastest:
            for s in mutants:
                if number[s.id] in p.reached:
                    self.by_mutant.setdefault(s.id, []).append(p.name)
                    files = self.by_file.setdefault(s.file, [])
                    if p.name not in files:
                        files.append(p.name)

    def kill(self, site, number):
        able = (self.by_mutant.get(site.id) or self.by_file.get(site.file) or [])[:self.MAX_TARGETS]
        for t in able:
            seconds = max(1, round(self.seconds / len(able)))
            with tempfile.TemporaryDirectory() as tmp:
                argv = [WORK / "fuzz" / "fuzz" / ("fuzz_" + t), "-max_total_time=%d" % seconds, "-seed=1",
                        *FUZZ_OPTIONS, "-verbosity=0", "-artifact_prefix=%s/found-" % tmp, tmp, *inputs(t)]
                code, _, output = run(argv, 3 * seconds + 60, {"GOMEM_MUTANT": str(number)}, tmp)
            if code != 0:
                return t, told(code, output)
        return None


def kill(site, number, all_programs, fuzzing):
    """(stage, name, message) of what kills the mutant first, or None."""
    for stage in STAGES[:2]:
        able = [p for p in all_programs if p.stage == stage and number in p.reached]
        for p in sorted(able, key=lambda p: p.seconds):
            message = p.kill(number)
            if message is not None:
                return stage, p.name, message
    found = fuzzing.kill(site, number)
    return ("fuzzing", *found) if found else None


# ---- results

def load_results():
    if not RESULTS.exists():
        return {}
    entries = [json.loads(line) for line in RESULTS.read_text().splitlines() if line.strip()]
    return {e["id"]: e for e in entries}


def current(results, site, hashes):
    e = results.get(site.id)
    return e if e is not None and e["hash"] == hashes[site.file] else None


def entry_of(site, hashes, killed, seconds):
    e = {"id": site.id, "file": site.file, "line": site.line, "function": site.function, "operator": site.operator,
         "before": site.before, "after": site.after, "hash": hashes[site.file], "seconds": round(seconds, 1)}
    if site.checker:
        e["checker"] = True
    here = "%s/" % (WORK / "src")
    e["killed_by"] = None if killed is None else {"stage": killed[0], "name": killed[1], "message": killed[2].replace(here, "")}
    return e


def tidy(results, mutants, hashes):
    """Writes the results again, without those that nothing refers to, in the order of the sources."""
    keep = [e for e in (current(results, s, hashes) for s in mutants) if e is not None]
    RESULTS.write_text("".join(json.dumps(e) + "\n" for e in keep))


def explanations():
    """id -> text, from the headings of survivors.md."""
    found, name = {}, None
    for line in SURVIVORS.read_text().splitlines() if SURVIVORS.exists() else []:
        heading = re.match(r"## `?([^`\s]+)`?\s*$", line)
        if heading:
            name = heading.group(1)
            found[name] = ""
        elif name is not None:
            found[name] += line.strip() + " "
    return {k: v.strip() for k, v in found.items()}


def short(text, n=100):
    return text if len(text) <= n else text[:n - 3] + "..."


def describe(e):
    return "%s\n    gomem/%s:%d in %s\n    - %s\n    + %s" % (e["id"], e["file"], e["line"], e["function"], short(e["before"]), short(e["after"]))


def report(mutants, hashes):
    """Prints the totals. Returns the exit code."""
    results = load_results()
    done = [e for e in (current(results, s, hashes) for s in mutants) if e is not None]
    killed = [e for e in done if e["killed_by"]]
    survivors = [e for e in done if not e["killed_by"]]
    known = explanations()
    unexplained = [e for e in survivors if not known.get(e["id"])]
    if survivors:
        say("survivors:")
    for e in survivors:
        say(describe(e))
        say("    %s" % (known.get(e["id"]) or "NOT EXPLAINED in %s" % SURVIVORS.relative_to(ROOT)))
    for name in sorted(set(known) - {e["id"] for e in survivors}):
        say("explained, but no survivor: %s" % name)
    files = sorted({e["file"] for e in done})
    say("\n%-20s %8s %8s" % ("file", "mutants", "killed"))
    for f in files:
        say("%-20s %8d %8d" % (f, sum(e["file"] == f for e in done), sum(e["file"] == f for e in killed)))
    say()
    for stage in STAGES:
        of_stage = [e for e in killed if e["killed_by"]["stage"] == stage]
        say("killed by %-8s %4d" % (stage, len(of_stage)))
    rate = len(killed) / len(done) if done else 0.0
    say("%d mutants, %d killed (%.1f %%), %d survivors, %d not explained" % (
        len(done), len(killed), 100 * rate, len(survivors), len(unexplained)))
    if len(done) < len(mutants):
        say("%d more have not run (or their file changed)" % (len(mutants) - len(done)))
    return 0 if rate >= BAR and not unexplained and len(done) == len(mutants) else 1


# ---- main

def arguments():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--n", type=int, default=150)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--file")
    parser.add_argument("--only")
    parser.add_argument("--seconds", type=float, default=60)
    for flag in ("--again", "--checks", "--list", "--report"):
        parser.add_argument(flag, action="store_true")
    return parser.parse_args()


def selected(options, mutants, hashes):
    """The mutants to run now."""
    results = load_results()
    chosen = []
    for s in mutants:
        if (options.file and s.file != options.file) or (options.only and s.id != options.only):
            continue
        e = current(results, s, hashes)
        if options.only or e is None or (options.again and not e["killed_by"]):
            chosen.append(s)
    return chosen


def run_all(options, chosen, mutants, number, hashes):
    all_programs = programs()
    baselines(all_programs, options.jobs)
    fuzzing = Fuzzing([p for p in all_programs if p.stage == "corpus"], mutants, number, options.seconds)
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    lock, count = threading.Lock(), 0

    def one(site):
        nonlocal count
        begun = time.monotonic()
        killed = kill(site, number[site.id], all_programs, fuzzing)
        seconds = time.monotonic() - begun
        with lock, RESULTS.open("a") as out:
            out.write(json.dumps(entry_of(site, hashes, killed, seconds)) + "\n")
            count += 1
            what = "%s %s: %s" % killed if killed else "SURVIVES: - %s + %s" % (short(site.before, 60), short(site.after, 60))
            say("%3d/%d %5.1f s  %s:%d %s  %s" % (count, len(chosen), seconds, site.file, site.line, site.id.split(":", 1)[1], what))

    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(one, chosen))


def main():
    options = arguments()
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    say(datetime.datetime.now().strftime("%H:%M:%S"), "looking for places to mutate")
    sites, texts = find_sites(ROOT)
    hashes = {f: digest(t)[:16] for f, t in texts.items()}
    mutants, discarded = draw(sites, texts, options.n, options.seed, options.checks, options.jobs)
    number = {s.id: i + 1 for i, s in enumerate(mutants)}
    say("%d of %d possible mutants; discarded: %s" % (len(mutants), sum(map(len, sites.values())),
                                                      ", ".join("%d %s" % (n, why) for why, n in sorted(discarded.items())) or "none"))
    if options.list:
        for s in mutants:
            say("%d  %s:%d  %s  - %s  + %s%s" % (number[s.id], s.file, s.line, s.id, short(s.before, 60), short(s.after, 60),
                                                 "  (checker)" if s.checker else ""))
        return 0
    if options.report:
        return report(mutants, hashes)
    chosen = selected(options, mutants, hashes)
    if options.only and not chosen:
        sys.exit("mutants.py: no mutant %s (--list shows them)" % options.only)
    if chosen:
        write_tree(mutants, texts, number)
        build_all(options.jobs)
        run_all(options, chosen, mutants, number, hashes)
    if options.only or options.file:
        return 0
    tidy(load_results(), mutants, hashes)
    return report(mutants, hashes)


sys.exit(main())
