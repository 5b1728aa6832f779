#!/usr/bin/env python3
"""Runs the commands of README.md, CONTRIBUTING.md and docs/*.md, and compares what they print with what stands there.

usage: docs_commands.py [--list] [FILE...]      GOMEM names the command

A fence of commands is one of
  ```sh         a command a line
  ```console    lines "$ COMMAND", each followed by its output; a line "..." stands for any lines
with, where it is due,
  skip="WHY"    it is not run here, and counted as skipped
  needs="go"    it is run where a Go 1.26 is, else counted as skipped
All others are ```text, ```c, ```go and the like, and must not hold a command; nor may a line that is indented by four.
What is not run must at least be there: each `./dev COMMAND`, each `gomem COMMAND` and its options are looked up in the help; so are those in the text.
Links to files lead somewhere, and docs/README.md has a line for each page.
Commands run in a scratch directory, where each file of the tree is at its place and what they write stays; `gomem` is in PATH. prog.gmt and
t.out there stand for the reader's own recording and trace.

Exit status: 0 all as written, 1 something is not."""
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import goroot  # noqa: E402

GOMEM = Path(os.environ.get("GOMEM", ROOT / "build/release/gomem")).resolve()
PAGES = ["README.md", "CONTRIBUTING.md", *("docs/" + p.name for p in sorted((ROOT / "docs").glob("*.md")))]
OTHERS = {"text", "c", "go", "cmake", "json", "diff"}
SUBCOMMANDS = "replay|whatif|record|graft|stat|report|info|layout|dump|explain|os|help|--help"
COMMAND = re.compile(r"\s*(?:\$ |(?:[A-Z_]+=\S+ )*(?:(?:build/release/)?gomem (?:%s)(?: |$)|\./dev |ctest |cmake |go (?:build|run|test|tool) |git clone ))" % SUBCOMMANDS)
OWN = {"prog.gmt": "tests/controls/gofmt-p1.gmt", "t.out": "traces/data/gotrace/json-p1.trace.zst"}
LIMIT = 240  # seconds for one command


class Fence:
    def __init__(self, page, number, info):
        self.page, self.number, self.lines = page, number, []
        self.kind, _, rest = info.partition(" ")
        self.attributes = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        self.rest = re.sub(r'\w+="[^"]*"', "", rest).strip()

    def where(self):
        return "%s:%d" % (self.page, self.number)


def fences(page, text, problems):
    """The fences of a page; commands that stand outside of one are problems."""
    fence = None
    for number, line in enumerate(text.splitlines(), 1):
        mark = re.match(r"\s*```(.*)$", line)
        if mark and fence is None:
            fence = Fence(page, number, mark.group(1).strip())
            indent = len(line) - len(line.lstrip())
        elif mark:
            yield fence
            fence = None
        elif fence is not None:
            fence.lines.append(line[indent:] if not line[:indent].strip() else line)
        elif line.startswith("    ") and COMMAND.match(line):
            problems.append("%s:%d: a command that is not in a fence: %s" % (page, number, line.strip()))
    if fence is not None:
        problems.append("%s: the fence has no end" % fence.where())


def steps(fence):
    """(command, expected lines or None) of a fence."""
    out = []
    for line in fence.lines:
        if fence.kind == "sh":
            if out and out[-1][0].endswith("\\"):
                out[-1] = (out[-1][0][:-1] + line.strip(), None)
            elif line.strip() and not line.lstrip().startswith("#"):
                out.append((line, None))
        elif line.startswith("$ "):
            out.append((line[2:], []))
        elif out:
            out[-1][1].append(line)
    return out


VOLATILE = [(re.compile(p), r) for p, r in (
    (r"\d+\.\d+ s(, \d+\.\d+ million events a second)?, peak memory [\d,]+ KiB", "TIME"), (r"\b0x7[ef][0-9a-f]{10}\b", "ADDRESS"))]


def plain(lines):
    out = []
    for line in lines:
        for pattern, name in VOLATILE:
            line = pattern.sub(name, line)
        out.append(line.rstrip())
    while out and not out[-1]:
        out.pop()
    return out


def alike(want, got):
    """want has "..." for any lines."""
    parts, at = [[]], 0
    for line in want:
        if line.strip() == "...":
            parts.append([])
        else:
            parts[-1].append(line)
    for n, part in enumerate(parts):
        first, last = n == 0, n == len(parts) - 1
        places = [at] if first else range(at, len(got) - len(part) + 1)
        if last and not first:
            places = [len(got) - len(part)] if len(got) - len(part) >= at else []
        place = next((p for p in places if got[p:p + len(part)] == part), None)
        if place is None or (first and last and len(got) != len(part)):
            return False
        at = place + len(part)
    return True


class Known:
    """What ./dev and gomem have, by their help."""
    def __init__(self):
        self.dev = subprocess.run([ROOT / "dev", "help"], capture_output=True, text=True, check=True).stdout
        self.help = {}

    def of(self, sub):
        if sub not in self.help:
            got = subprocess.run([GOMEM, "help", sub], capture_output=True, text=True)
            self.help[sub] = got.stdout if got.returncode == 0 else None
        return self.help[sub]

    def missing(self, command):
        """The first thing in a command that does not exist; None: all does."""
        command = re.sub(r"\s#.*", "", command)
        for sub in re.findall(r"\./dev ([\w-]+)", command):
            if not re.search(r"^  %s\b" % re.escape(sub), self.dev, re.M):
                return "./dev " + sub
        for sub, rest in re.findall(r"(?:^|[\s;&(])(?:build/release/)?gomem ([a-z]\w*)([^|&;>#\n`]*)", command):
            if self.of(sub) is None:
                return "gomem " + sub
            for option in re.findall(r"(?<!\S)(--[a-z][\w-]*)", rest.split(" -- ")[0]):
                if option != "--help" and not re.search(re.escape(option) + r"(?![\w-])", self.of(sub)):
                    return "gomem %s %s" % (sub, option)
        return None


class Runner:
    def __init__(self, scratch):
        self.known = Known()
        self.scratch, self.problems, self.skipped = scratch, [], []
        self.ran = self.compared = self.linked = 0
        self.go, self.why = goroot.find()

    def prepare(self):
        for entry in ROOT.iterdir():
            if entry.name not in ("build", ".git"):
                (self.scratch / entry.name).symlink_to(entry)
        (self.scratch / "build/release").mkdir(parents=True)
        for name in ("gomem", "lib"):
            (self.scratch / "build/release" / name).symlink_to(GOMEM.parent / name)
        for name, source in OWN.items():
            if source.endswith(".zst"):
                subprocess.run(["zstd", "-dqf", str(ROOT / source), "-o", str(self.scratch / name)], check=True)
            else:
                shutil.copy(ROOT / source, self.scratch / name)

    def run(self, fence, command, want):
        env = dict(os.environ, PATH="%s:%s" % (self.scratch / "build/release", os.environ["PATH"]))
        try:
            got = subprocess.run(["bash", "-c", command], cwd=self.scratch, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, text=True, errors="replace", timeout=LIMIT)
        except subprocess.TimeoutExpired:
            self.problems.append("%s: not done after %d s: %s" % (fence.where(), LIMIT, command))
            return
        self.ran += 1
        code = int(fence.attributes.get("exit", 0))
        if got.returncode != code:
            self.problems.append("%s: exit code %d: %s\n%s" % (fence.where(), got.returncode, command, got.stdout[-600:]))
            return
        want = None if want is None else plain(want)
        if want:
            self.compared += 1
            if not alike(want, plain(got.stdout.splitlines())):
                self.problems.append("%s: prints something else: %s\n%s" % (fence.where(), command, got.stdout[:3000]))

    def fence(self, fence):
        if fence.kind not in ("sh", "console"):
            self.other(fence)
            return
        todo = steps(fence)
        if not todo or fence.rest or set(fence.attributes) - {"skip", "needs", "exit"}:
            self.problems.append("%s: no command, or the info string is wrong" % fence.where())
        for command, _ in todo:
            missing = self.known.missing(command)
            if missing:
                self.problems.append("%s: there is no %s: %s" % (fence.where(), missing, command))
        why = fence.attributes.get("skip")
        if why is None and fence.attributes.get("needs") == "go" and self.go is None:
            why = self.why
        if why is not None:
            self.skipped += [(fence.where(), command, why) for command, _ in todo]
            return
        for command, want in todo:
            self.run(fence, command, want)

    def other(self, fence):
        if fence.kind not in OTHERS:
            self.problems.append("%s: a fence is sh, console, or one of %s, not %r" % (fence.where(), ", ".join(sorted(OTHERS)), fence.kind))
        for line in fence.lines if fence.kind == "text" else []:
            if COMMAND.match(line):
                self.problems.append("%s: a command in a fence of text: %s" % (fence.where(), line))

    def links(self, name, text):
        prose = re.sub(r"```.*?```", "", text, flags=re.S)
        for target in re.findall(r"\]\(([^)#\s:]+)(?:#[^)]*)?\)", prose):
            self.linked += 1
            if not ((ROOT / name).parent / target).exists():
                self.problems.append("%s: a link to %s, which is not there" % (name, target))
        if name == "docs/README.md":
            for page in (ROOT / "docs").glob("*.md"):
                if page.name != "README.md" and "](%s)" % page.name not in text:
                    self.problems.append("docs/README.md has no line for " + page.name)

    def page(self, name, text):
        self.links(name, text)
        for fence in fences(name, text, self.problems):
            self.fence(fence)
        for number, line in enumerate(text.splitlines(), 1):
            for inline in re.findall(r"`(gomem [a-z][^`]*)`", line):
                missing = self.known.missing(inline)
                if missing:
                    self.problems.append("%s:%d: there is no %s" % (name, number, missing))


BROKEN = [("wrong command", "```sh\ngomem explain x\n```"), ("no such command", "```sh\ngomem explian 8\n```"),
          ("wrong output", "```console\n$ gomem explain 0\nsomething\n```"), ("wrong end", "```console\n$ echo a; echo b\na\n...\nc\n```"),
          ("output is missing", "```console\n$ echo a; echo b\na\n```"), ("command in text", "```text\n$ gomem explain 8\n```"),
          ("command in no fence", "    gomem explain 8"), ("unknown fence", "```\nx\n```"), ("no end", "```sh\necho"),
          ("no such option, not run", "```sh skip=\"x\"\ngomem replay --jsno x.gmt\n```"), ("no such ./dev, not run", "```sh skip=\"x\"\n./dev tset\n```"),
          ("no such command in the text", "say `gomem explian 8`"), ("a link to nowhere", "[x](NOWHERE.md)"), ("typo in the info string", "```sh skpi=\"x\"\necho\n```")]


def self_test(runner):
    """Each broken page must be noticed, and a good one not."""
    for what, text in BROKEN:
        inner = Runner(runner.scratch)
        inner.page("broken", text)
        if not inner.problems:
            runner.problems.append("not noticed: " + what)
    inner = Runner(runner.scratch)
    inner.page("good", "```console\n$ printf 'a\\nb\\nc\\n'\na\n...\nc\n$ true\n```\n```sh skip=\"why\"\nfalse\n```")
    if inner.problems or (inner.ran, inner.compared, len(inner.skipped)) != (2, 1, 1):
        runner.problems.append("a good page: %s" % inner.problems)


def main(argv):
    pages = [a for a in argv if not a.startswith("-")] or PAGES
    with tempfile.TemporaryDirectory(prefix="gomem-docs-") as scratch:
        runner = Runner(Path(scratch))
        runner.prepare()
        self_test(runner)
        for name in pages:
            runner.page(name, (ROOT / name).read_text())
    for problem in runner.problems:
        print(problem)
    reasons = {}
    for where, command, why in runner.skipped:
        reasons.setdefault(why, []).append((where, command))
    for why, some in sorted(reasons.items()):
        print("skipped %3d: %s" % (len(some), why))
        for where, command in some if "--list" in argv else []:
            print("    %s  %s" % (where, command))
    print("%d commands run, %d outputs compared, %d skipped, %d links followed, %d problems; %d of %d planted mistakes noticed" % (
        runner.ran, runner.compared, len(runner.skipped), runner.linked, len(runner.problems),
        len(BROKEN) - sum(p.startswith("not noticed") for p in runner.problems), len(BROKEN)))
    return 1 if runner.problems else 0


sys.exit(main(sys.argv[1:]))
