#!/usr/bin/env python3
"""docs/PLATFORMS.md shows what the programs print. usage: platforms_doc.py LAB_PLATFORMS TEST_PLATFORMS [--write]

Compared: the table of `gomem layout --all`, the address that is looked up, the table of lab_platforms, and the figures of each check."""
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOC = ROOT / "docs/PLATFORMS.md"


def run(*argv):
    return subprocess.run(argv, cwd=ROOT, check=True, capture_output=True, text=True)


def blocks(gomem, lab):
    """What stands in the text blocks of the page, in their order."""
    return [run(gomem, "layout", "windows/amd64", "--address", "0xc000123456").stdout,
            run(gomem, "layout", "--all").stdout, lab]


def figures(lab, tests):
    found = [re.search(r"^%s: (\d+) of (\d+) equal on (\d+) platforms$" % what, tests, re.M) for what in ("constants", "addresses", "hints")]
    last = re.search(r"(\d+) layouts, none skipped: (\d+) operations, (\d+) comparisons", lab)
    return ["%s of %s on %s platforms" % m.groups() for m in found] + ["%s layouts, %s operations, %s comparisons" % last.groups()]


def main(lab_program, test_program, write):
    gomem = os.environ["GOMEM"]
    lab = run(lab_program).stdout
    tested = run(test_program)
    text = DOC.read_text()
    wanted, bad = blocks(gomem, lab), 0
    parts = re.split(r"(?<=```text\n)(.*?)(?=```\n)", text, flags=re.S)  # every second part is a block
    if len(parts) != 2 * len(wanted) + 1:
        sys.exit("%d blocks in the page, not %d" % (len(parts) // 2, len(wanted)))
    for at, want in enumerate(wanted):
        bad += parts[2 * at + 1] != want
        parts[2 * at + 1] = want
    text = "".join(parts)
    for number, figure in enumerate(figures(lab, tested.stdout + tested.stderr)):
        marks = ("CONSTANTS", "ADDRESSES", "HINTS", "LAB")
        if write:
            text = text.replace("| %s |" % marks[number], "| %s |" % figure)
        if "| %s |" % figure not in text:
            print("the page does not say: " + figure)
            bad += 1
    if write:
        DOC.write_text(text)
        return 0
    print("%d of %d blocks and figures are as printed" % (len(wanted) + 4 - bad, len(wanted) + 4))
    return 1 if bad else 0


sys.exit(main(sys.argv[1], sys.argv[2], "--write" in sys.argv[3:]))
