#!/usr/bin/env python3
"""Checks that fuzz/README.md has a row for each fuzz target, with what the target itself says that it compares; --write writes them. The
table is the end of the file.

usage: fuzz_readme.py SOURCE_DIR [--write]"""
import re
import sys
from pathlib import Path

HEAD = "| target | what is compared |\n|---|---|\n"


def targets(root):
    found = {}
    for path in sorted((root / "fuzz").glob("fuzz_*.c")):
        text = path.read_text()
        for name in re.findall(r"^FUZZ_TARGET\((\w+)\)", text, re.M):
            body = text[text.index("FUZZ_TARGET(%s)" % name):]
            what = re.search(r'\.what\s*=\s*((?:"[^"]*"\s*)+)', body)
            found[name] = "".join(re.findall(r'"([^"]*)"', what.group(1)))
    return found


def main(root, write):
    readme = root / "fuzz/README.md"
    text = readme.read_text()
    start = text.index(HEAD) + len(HEAD)
    rows = "".join("| `%s` | %s |\n" % row for row in sorted(targets(root).items()))
    if write:
        readme.write_text(text[:start] + rows)
        return 0
    have, want = set(text[start:].splitlines()), set(rows.splitlines())
    for row in sorted(want - have):
        print("missing: " + row)
    for row in sorted(have - want):
        print("too much: " + row)
    print("%d targets; ./dev generate sets the table right" % len(want))
    return 1 if have != want else 0


sys.exit(main(Path(sys.argv[1]), "--write" in sys.argv[2:]))
