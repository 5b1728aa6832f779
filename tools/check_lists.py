#!/usr/bin/env python3
"""Checks that each source file is built: each .c file of a folder stands in the CMakeLists.txt beside it, each test script and
each file of the recorder, which the command carries inside, too.

usage: check_lists.py SOURCE_DIR"""
import re
import sys
from pathlib import Path

FOLDERS = ("gomem", "traces", "cli", "tools", "tests", "oracle", "fuzz", "bench")


def mentioned(path, text):
    if path.name in text:
        return True
    program = re.fullmatch(r"(test|fuzz)_(\w+)\.c", path.name)
    return bool(program and re.search(r"gomem_%s\(%s\b" % program.groups(), text))


def main(root):
    problems, n = 0, 0
    for folder in FOLDERS:
        lists = root / folder / "CMakeLists.txt"
        if not lists.exists():
            continue
        text = re.sub(r"#.*", "", lists.read_text())
        files = list((root / folder).glob("*.c"))
        if folder == "tests":
            files += [*(root / folder).glob("*.sh"), *(root / folder).glob("*.py")]
        if folder == "traces":
            files += [p for p in (root / "traces/recorder").rglob("*") if p.suffix in (".go", ".s", ".mod")]
        for path in sorted(files):
            n += 1
            if not mentioned(path, text):
                print("%s/%s stands in no list of %s/CMakeLists.txt" % (folder, path.name, folder))
                problems += 1
    print("%d files, %d not listed" % (n, problems))
    sys.exit(1 if problems else 0)


main(Path(sys.argv[1]))
