#!/usr/bin/env python3
"""escape_go.py: traces/programs/escape: the types that go to the heap, as the compiler says (go build -gcflags=-m), are those in its trace, as
`gomem stat --json` says; and each with as many objects as the program makes. Both again with the program altered: what moves, moves in both.
docs/ESCAPE.md shows what comes out here.

usage: escape_go.py     needs $GOMEM; exits with 77 if there is no Go 1.26"""
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

GOMEM = os.environ["GOMEM"]
ROOT = Path(os.environ["GOMEM_SOURCE_DIR"])
sys.path.insert(0, str(ROOT / "tools"))
import goroot  # noqa: E402

N = 1000
GROUPS = {
    "heap": "To the heap, says the compiler.",
    "stack": "On the stack, says the compiler.",
    "later": "On the stack, says the compiler, but for slices that turn out to have more than 32 bytes.",
    "unseen": "To the heap, says the compiler, but the trace has no object of the type.",
}
# Alterations of the program, and what they move.
ALTERED = (
    ("func newInlined(", "//go:noinline\nfunc newInlined("),
    ("func readOnly(p *passedDown) int { ", "func readOnly(p *passedDown) int { anyone = p; "),
    ("\tglobal = &inGlobal{}\n\tglobal.v[0] = i\n", "\tx := &inGlobal{}\n\tx.v[i%13] = i\n"),
)
TO_HEAP, TO_STACK = {"inlined", "passedDown"}, {"inGlobal"}
failures = 0


def check(good, what):
    global failures
    if not good:
        failures += 1
        print("FAILED: " + what)


def differ(what, got, wanted):
    """Why two sets of types are not the same; empty if they are."""
    return "; ".join("%s: %s %s" % (what, word, " ".join(sorted(names)))
                     for word, names in (("too many:", got - wanted), ("missing:", wanted - got)) if names)


def same(what, got, wanted):
    check(got == wanted, differ(what, got, wanted))


def groups(source):
    """The types of each `type (...)`, by the comment above it."""
    found = {}
    for comment, body in re.findall(r"^// ([^\n]*)\ntype \(\n(.*?)^\)", source, re.M | re.S):
        found[comment] = set(re.findall(r"^\t(\w+) +struct\{", body, re.M))
    return {name: found[comment] for name, comment in GROUPS.items()}


def function_of(lines, number):
    """The first and the last line, from 0, of the function that a line stands in; None outside of functions."""
    first = number
    while first > 0 and not lines[first].startswith("func "):
        if lines[first].startswith("}"):
            return None
        first -= 1
    if not lines[first].startswith("func "):
        return None
    last = first
    while not lines[last].startswith("}") and not (last == first and lines[last].endswith("}")):
        last += 1
    return (first, last) if number <= last else None


def type_of(text, lines, number, types):
    """The type that a line of -m is about, by the expression or the variable that it names; None: of another type than these."""
    what = re.sub(r"^moved to heap: | escapes to heap$| does not escape$", "", text)
    found = re.fullmatch(r"&?(\w+)\{.*\}|new\((\w+)\)|make\(\[\](\w+), .*\)", what)
    name = next(filter(None, found.groups()), None) if found else None
    if what == "append":
        name = re.search(r"append\(\w+, (\w+)\{", lines[number]).group(1)
    where = function_of(lines, number)
    if name is None and where and re.fullmatch(r"\w+", what):
        body = "\n".join(lines[where[0]:number + 1])
        name = (re.findall(r"\b%s := &?(\w+)\{|\bvar %s (\w+)" % (what, what), body) or [None])[-1]
        name = name and (name[0] or name[1])
        check(name is not None or not text.startswith("moved"), "what is the type of %s in line %d?" % (what, number + 1))
    return name if name in types else None


def compiler(output, source, types):
    """What -m says: the types that escape, those it says do not, and of each its line."""
    lines, heap, stack, said = source.splitlines(), set(), set(), {}
    messages = [(int(number) - 1, text, whole) for whole, number, text in
                re.findall(r"^(escape/main\.go:(\d+):\d+: (.*))$", output, re.M)]
    # The lines about a function that is inlined are about the copy that stands alone, which nobody calls here.
    alone = [function_of(lines, number) for number, text, _ in messages
             if text.startswith("can inline") and lines[number].startswith("func ")]
    for number, text, whole in messages:
        if not re.search(r"^moved to heap: | escapes to heap$| does not escape$", text):
            continue
        if function_of(lines, number) in alone:
            continue
        name = type_of(text, lines, number, types)
        if name is not None:
            (stack if text.endswith("does not escape") else heap).add(name)
            said[name] = whole
    return heap, stack - heap, said


def traced(program, folder, types):
    """How many slots were taken for objects of each type, as `gomem stat` says."""
    trace = folder / "trace"
    subprocess.run([program, "-o", trace, "-n", str(N)], check=True, capture_output=True, env=dict(os.environ, GODEBUG="traceallocfree=1"))
    stat = json.loads(subprocess.run([GOMEM, "stat", "--json", trace], check=True, capture_output=True, text=True).stdout)
    names = {"main." + t: t for t in types}
    return {names[t["name"]]: t["taken"] for t in stat["types"] if t["name"] in names}


def build_and_trace(go, folder, source, types):
    (folder / "escape").mkdir(parents=True)
    (folder / "go.mod").write_text("module programs\n\ngo 1.26\n")
    (folder / "escape/main.go").write_text(source)
    env = dict(os.environ, CGO_ENABLED="0", GOFLAGS="", GOEXPERIMENT="", GOWORK="off", GOPROXY="off", GOTOOLCHAIN="local", GO111MODULE="on")
    if "HOME" not in env and "GOCACHE" not in env:
        env["GOCACHE"] = str(folder / "cache")
    got = subprocess.run([go, "build", "-gcflags=-m", "-o", folder / "program", "./escape"], cwd=folder, env=env, capture_output=True, text=True)
    if got.returncode != 0:
        raise RuntimeError(got.stderr)
    return (*compiler(got.stderr, source, types), traced(folder / "program", folder, types))


def check_doc(said, counts, types):
    """Each type has its row in the document, with the compiler's line and with or without objects in the trace."""
    rows = re.findall(r"^\| `(\w+)` \| [^|]* \| (.*?) \| ?([\d,]*) \|$", (ROOT / "docs/ESCAPE.md").read_text(), re.M)
    same("types in docs/ESCAPE.md", {name for name, _, _ in rows}, types)
    for name, line, count in rows:
        wanted = said.get(name)
        check(wanted is None and "`" not in line or line == "`%s`" % wanted, "docs/ESCAPE.md: %s: %s; -m says %s" % (name, line, wanted))
        check(bool(count) == (name in counts), "docs/ESCAPE.md: %s: %s objects; the trace has %d" % (name, count or "no", counts.get(name, 0)))


def main():
    go = str(goroot.find_or_skip() / "bin/go")
    source = (ROOT / "traces/programs/escape/main.go").read_text()
    group = groups(source)
    types = set().union(*group.values())
    decided = group["heap"] | group["stack"]
    with tempfile.TemporaryDirectory() as work:
        heap, stack, said, counts = build_and_trace(go, Path(work) / "as-is", source, types)
        same("to the heap, says -m", heap, group["heap"] | group["unseen"])
        check(stack <= group["stack"] | group["later"] and group["later"] <= stack, "on the stack, says -m: " + " ".join(sorted(stack)))
        same("in the trace, of the types that the compiler decides on", counts.keys() & decided, heap & decided)
        same("in the trace", set(counts), group["heap"] | group["later"])
        for name, count in counts.items():
            check(count >= N, "%s: %d objects, fewer than %d" % (name, count, N))
        check_doc(said, counts, types)

        altered = source
        for old, new in ALTERED:
            check(altered.count(old) == 1, "not once in the program: " + old)
            altered = altered.replace(old, new)
        heap2, _, _, counts2 = build_and_trace(go, Path(work) / "altered", altered, types)
        same("altered: to the heap, says -m", heap2 & decided, (heap & decided | TO_HEAP) - TO_STACK)
        same("altered: in the trace", counts2.keys() & decided, heap2 & decided)
        # One program's compiler and the other's trace: this must be seen.
        why = differ("crossed", counts2.keys() & decided, heap & decided)
        check(all(name in why for name in TO_HEAP | TO_STACK), "the trace of another program passes: " + why)
    if failures:
        print("%d failures" % failures)
        return 1
    print("%d types: %d on the heap as -m says, %d as the run has it; %d on the stack; %d moved in both" % (
        len(types), len(group["heap"]), len(group["later"]), len(group["stack"]), len(TO_HEAP | TO_STACK)))
    return 0


sys.exit(main())
