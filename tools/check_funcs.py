#!/usr/bin/env python3
"""Checks the map from Go's functions to their C twins, tools/go_functions.txt.

usage: check_funcs.py SOURCE_DIR            check
       check_funcs.py SOURCE_DIR --propose  print the lines that are missing, with the twins found by name

A line is FILE FUNCTION -> ANSWER; the answer is one of
  name[, name...]            functions of gomem/
  DEVIATION(Dnn)[: remark]   done otherwise: the mark stands in gomem/
  inline: where              too small for a function of its own: where it went (also: folded into a twin)
  left out: reason
Checked: each twin is defined in gomem/; the marks in gomem/ are those in the table of docs/FIDELITY.md; and where a Go 1.26 is
there, that the list has each function of the ported files, and none that Go does not have. Without a Go this is said."""
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import goroot  # noqa: E402

FILES = [
    "malloc", "mheap", "mcentral", "mcache", "mgcsweep", "mpagealloc", "mpagealloc_64bit", "mpallocbits", "mpagecache",
    "mgcscavenge", "mgcpacer", "mgclimit", "mgcwork", "mspanset", "mfixalloc", "mranges", "mem", "mem_linux", "mem_sbrk", "mem_wasm",
    "mem_plan9", "lfstack", "stack", "msize", "mbitmap", "mgcmark",
    "mgcmark_greenteagc", "_mkmalloc/mksizeclasses",
]


def plain_code(text):
    text = re.sub(r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"", " ", text, flags=re.S)
    return re.sub(r"__attribute__\(\(.*?\)\)|_Atomic\([^()]*\)", " ", text)


def c_functions(root):
    names, marks = set(), set()
    for path in sorted([*(root / "gomem").glob("*.h"), *(root / "gomem").glob("*.c")]):
        text = path.read_text()
        marks.update(re.findall(r"DEVIATION\(([\w-]+)\)", text))
        names.update(re.findall(r"^[A-Za-z_][\w\s*()]*?\b(\w+)\([^;{}]*\)\s*\{", plain_code(text), re.M))
    return names, marks


def go_functions(goroot_path):
    for name in FILES:
        text = (goroot_path / "src/runtime" / (name + ".go")).read_text()
        for line in text.splitlines():
            found = re.match(r"func (?:\((?:\w+\s+)?\*?(\w+)(?:\[[^\]]*\])?\) )?(\w+)(?:\[[^\]]*\])?\(", line)
            if found:
                receiver, func = found.groups()
                yield name + ".go", (receiver + "." if receiver else "") + func


def listed(path, problems):
    table = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        found = re.fullmatch(r"(\S+) (\S+) -> (\S.*)", line)
        if not found:
            problems.append("line %d: not FILE FUNCTION -> ANSWER" % number)
            continue
        key = (found.group(1), found.group(2))
        if key in table:
            problems.append("line %d: %s %s stands there twice" % (number, *key))
        table[key] = found.group(3)
    return table


def check_answer(key, answer, names, marks, problems):
    where = "%s %s" % key
    mark = re.fullmatch(r"DEVIATION\(([\w-]+)\)(: .+)?", answer)
    if mark:
        if mark.group(1) not in marks:
            problems.append("%s: no DEVIATION(%s) in gomem/" % (where, mark.group(1)))
        return "deviations"
    if re.fullmatch(r"inline: .{3,}", answer):
        return "inline"
    if re.fullmatch(r"left out: .{3,}", answer):
        return "left out"
    for twin in re.split(r",\s*", answer):
        if twin not in names:
            problems.append("%s: no function %s in gomem/" % (where, twin))
    return "twins"


def propose(go, table, names):
    for file, func in go:
        if (file, func) in table:
            continue
        receiver, _, method = func.rpartition(".")
        guesses = [receiver + "_" + method, method] if receiver else [func]
        twin = next((g for g in guesses if g in names), "?")
        print("%s %s -> %s" % (file, func, twin))


def main(argv):
    if not argv:
        sys.exit(__doc__)
    root = Path(argv[0])
    path = root / "tools/go_functions.txt"
    problems = []
    names, marks = c_functions(root)
    table = listed(path, problems) if path.exists() else {}
    go_root, why = goroot.find()
    go = list(go_functions(go_root)) if go_root else None
    if "--propose" in argv:
        propose(go or sys.exit(why), table, names)
        return
    explained = set(re.findall(r"^\| ([\w-]*\d) \|", (root / "docs/FIDELITY.md").read_text(), re.M))
    problems.extend("DEVIATION(%s) is not in docs/FIDELITY.md" % m for m in sorted(marks - explained))
    problems.extend("docs/FIDELITY.md explains %s, which is no mark in gomem/" % m for m in sorted(explained - marks))
    count = {}
    for key, answer in table.items():
        kind = check_answer(key, answer, names, marks, problems)
        count[kind] = count.get(kind, 0) + 1
    if go is not None:
        problems.extend("%s %s is not in the list" % k for k in go if k not in table)
        known = set(go)
        problems.extend("%s %s: Go has no such function" % k for k in table if k not in known)
    for problem in problems:
        print(problem)
    summary = ", ".join("%d %s" % (n, kind) for kind, n in sorted(count.items()))
    print("%d functions of Go: %s" % (len(table), summary))
    print("compared with the source of %s" % goroot.version(go_root) if go_root else "not compared with Go: " + why)
    sys.exit("%d problems" % len(problems) if problems else 0)


main(sys.argv[1:])
