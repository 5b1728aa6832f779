#!/usr/bin/env python3
"""Checks the layers of gomem/.

usage: check_layers.py SOURCE_DIR [OBJECT...]

Each file names its layer in its first line: "// mranges.h (layer 2): ...". Checked:
  1. a file includes only files of its own layer and below, and only headers of gomem/ and the C library;
  2. the files of the freestanding layers include no header of the C library but those that need no library;
and of the OBJECTs, the compiled plain library:
  3. an object uses only symbols that its own layer or one below defines;
  4. a freestanding object uses nothing else but memory functions, and has no writable data and no thread-local storage."""
import re
import subprocess
import sys
from pathlib import Path

FREESTANDING = range(2, 5)
TOP = 6
HEADERS = {"stdatomic.h", "stdbool.h", "stddef.h", "stdint.h", "string.h", "limits.h", "stdalign.h"}
ALLOWED = {"memcpy", "memset", "memmove", "memcmp"}
# What compilers add by themselves: hardening that distributions switch on, position-independent code.
COMPILER = {"__memcpy_chk", "__memset_chk", "__memmove_chk", "__stack_chk_fail", "_GLOBAL_OFFSET_TABLE_"}
WRITABLE = re.compile(r"\.(data|bss|tdata|tbss)(?!\.rel\.ro)(\.|$)|COMMON")


def run(*argv):
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def layers(source, problems):
    table = {}
    for path in sorted([*source.glob("*.h"), *source.glob("*.c")]):
        first = path.read_text().split("\n", 1)[0]
        found = re.match(r"// %s \(layer (\d)\)" % re.escape(path.name), first)
        if not found or int(found.group(1)) > TOP:
            problems.append("%s: the first line must be \"// %s (layer N): what it is\"" % (path.name, path.name))
            continue
        table[path.name] = int(found.group(1))
    return table


def check_includes(source, table, problems):
    for name, layer in table.items():
        for line in (source / name).read_text().splitlines():
            found = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
            if not found:
                continue
            kind, target = found.groups()
            if kind == "<":
                if layer in FREESTANDING and target not in HEADERS:
                    problems.append("%s (layer %d, freestanding) includes <%s>" % (name, layer, target))
                continue
            if not target.startswith("gomem/"):
                problems.append("%s includes \"%s\": not of gomem/" % (name, target))
                continue
            other = table.get(target.removeprefix("gomem/"))
            if other is None:
                problems.append("%s includes \"%s\", which has no layer" % (name, target))
            elif other > layer:
                problems.append("%s (layer %d) includes %s (layer %d)" % (name, layer, target, other))


def symbols(obj):
    defined, used = set(), set()
    for line in run("nm", "-P", obj).splitlines():
        fields = line.split()
        if len(fields) < 2:
            continue
        if fields[1] in "Uwv":
            used.add(fields[0])
        elif fields[1].isupper():
            defined.add(fields[0])
    return defined, used


def writable_sections(obj):
    for line in run("size", "-A", "-d", obj).splitlines():
        fields = line.split()
        if len(fields) == 3 and fields[1].isdigit() and int(fields[1]) > 0 and WRITABLE.match(fields[0]):
            yield "%s (%s bytes)" % (fields[0], fields[1])


def check_objects(objects, table, problems):
    objs = {}
    for path in objects:
        name = Path(path).name.removesuffix(".o")
        if name not in table:
            problems.append("%s: no source of that name in gomem/" % path)
            continue
        objs[name] = (path, *symbols(path))
    home = {symbol: name for name, (_, defined, _) in objs.items() for symbol in defined}
    for name, (path, _, used) in sorted(objs.items()):
        layer = table[name]
        for symbol in sorted(used):
            if symbol in home:
                if table[home[symbol]] > layer:
                    problems.append("%s (layer %d) uses %s of %s (layer %d)" % (name, layer, symbol, home[symbol], table[home[symbol]]))
            elif layer in FREESTANDING and symbol not in ALLOWED | COMPILER:
                problems.append("%s (layer %d, freestanding) uses %s" % (name, layer, symbol))
        if layer in FREESTANDING:
            problems.extend("%s (layer %d, freestanding) has writable data: %s" % (name, layer, s) for s in writable_sections(path))


def main(argv):
    if not argv:
        sys.exit(__doc__)
    source = Path(argv[0]) / "gomem"
    problems = []
    table = layers(source, problems)
    check_includes(source, table, problems)
    check_objects(argv[1:], table, problems)
    for problem in problems:
        print(problem)
    if problems:
        sys.exit("%d problems" % len(problems))
    print("%d files in %d layers, %d objects: in order" % (len(table), len(set(table.values())), len(argv) - 1))


main(sys.argv[1:])
