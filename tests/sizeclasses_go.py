#!/usr/bin/env python3
"""Compares gomem/sizeclasses.h with the tables of the installed Go. Witness: Go's own source. Skipped (77) without a Go 1.26."""
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))
import goroot  # noqa: E402

PAIRS = {
    "class_to_size": "SizeClassToSize",
    "class_to_allocnpages": "SizeClassToNPages",
    "class_to_divmagic": "SizeClassToDivMagic",
    "size_to_class8": "SizeToSizeClass8",
    "size_to_class128": "SizeToSizeClass128",
}


def value(text):
    text = text.strip()
    magic = re.fullmatch(r"\^uint32\(0\)\s*/\s*(\d+)\s*\+\s*1", text)
    return 0xFFFFFFFF // int(magic.group(1)) + 1 if magic else int(text)


def table(source, name):
    found = re.search(r"^(?:var|static const) [^\n]*\b%s\b[^{]*\{([^}]*)\}" % name, source, re.M)
    if not found:
        sys.exit("no table %s" % name)
    return [value(v) for v in found.group(1).split(",") if v.strip()]


def main():
    root = goroot.find_or_skip()
    go = (root / "src/internal/runtime/gc/sizeclasses.go").read_text()
    ours = (Path(__file__).resolve().parent.parent / "gomem/sizeclasses.h").read_text()
    bad = 0
    for c_name, go_name in PAIRS.items():
        a, b = table(ours, c_name), table(go, go_name)
        equal = sum(x == y for x, y in zip(a, b))
        print("%s: %d of %d equal to %s" % (c_name, equal, len(b), go_name))
        bad += a != b
    for c_name, go_name in (("minHeapAlign", "MinHeapAlign"), ("maxObjsPerSpan", "MaxObjsPerSpan"),
                            ("maxSizeClassNPages", "MaxSizeClassNPages")):
        a = int(re.search(r"%s = (\d+)" % c_name, ours).group(1))
        b = int(re.search(r"%s\s*= (\d+)" % go_name, go).group(1))
        print("%s: %d, Go %d" % (c_name, a, b))
        bad += a != b
    sys.exit(1 if bad else 0)


main()
