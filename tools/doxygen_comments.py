#!/usr/bin/env python3
"""Gives Doxygen the comments of a header as it wants them: `//` before something becomes `///`, and behind something `///<`.

usage: doxygen_comments.py HEADER   prints it

A comment that stands before several declarations, with no empty line between them, is of each. Lines stay lines, so that what Doxygen says of a
line is of that line. The comment that opens the file is the file's."""
import re
import sys


def convert(lines):
    out, comment, depth, head = [], [], 0, True
    for line in lines:
        own = re.match(r"(\s*)// ?(.*)$", line)
        if own and not own.group(2).startswith("----"):
            text = own.group(2)
            if head and not out:
                text = "@file %s %s" % (text.split(" ", 1)[0], text.split(": ", 1)[-1])
            comment = (comment if out and out[-1].lstrip().startswith("///") else []) + [text]
            out.append("%s/// %s" % (own.group(1), text))
            continue
        if not line.strip():
            comment, head = [], False
        declares = depth == 0 and re.match(r"[A-Za-z_].*[(;]", line) and not line.startswith(("typedef struct", "#", "extern"))
        if declares and comment and not head and not out[-1].lstrip().startswith("///"):
            line = "/** %s */ %s" % (" ".join(comment), line)
        behind = re.match(r"(.*[;{,]\s*)// ?(.*)$", line)
        out.append("%s///< %s" % behind.groups() if behind else line)
        depth += line.count("{") - line.count("}") - line.startswith('extern "C" {')
    return out


with open(sys.argv[1], encoding="utf-8") as header:
    print("\n".join(convert(header.read().split("\n"))), end="")
