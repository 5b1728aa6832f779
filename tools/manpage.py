#!/usr/bin/env python3
"""Writes docs/gomem.1 from what the command says of itself, or checks that it still is that.

usage: manpage.py [--write]      needs $GOMEM and $GOMEM_SOURCE_DIR"""
import os
import re
import subprocess
import sys
from pathlib import Path

GOMEM = os.environ["GOMEM"]
PAGE = Path(os.environ["GOMEM_SOURCE_DIR"]) / "docs/gomem.1"


def said(*args):
    return subprocess.run([GOMEM, *args, "--help"], capture_output=True, text=True, check=True).stdout


def verbatim(text):
    lines = [line.replace("\\", "\\e").replace("-", "\\-") for line in text.strip("\n").splitlines()]
    return ".nf\n" + "\n".join("\\&" + line if line.startswith((".", "'")) else line for line in lines) + "\n.fi\n"


def page():
    whole = said()
    title, _, rest = whole.partition("\n\n")
    name, _, what = title.partition(": ")
    commands = re.findall(r"^  gomem (\w+)", rest, re.M)
    version = subprocess.run([GOMEM, "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    text = '.\\" Written by tools/manpage.py from the help of the command.\n'
    text += '.TH GOMEM 1 "" "gomem %s" "User Commands"\n' % version
    text += ".SH NAME\n%s \\- %s\n.SH SYNOPSIS\n%s" % (name, what, verbatim(rest))
    text += ".SH COMMANDS\n"
    for command in commands:
        if command != "help":
            text += ".SS gomem %s\n%s" % (command, verbatim(said(command)))
    return text + ".SH EXIT STATUS\n0: all equal, or done. 1: a difference was found. 2: bad usage or bad input.\n"


def main(argv):
    text = page()
    if argv == ["--write"]:
        PAGE.write_text(text)
        return 0
    if not PAGE.exists() or PAGE.read_text() != text:
        print("docs/gomem.1 is not what the command says of itself: ./dev generate")
        return 1
    print("docs/gomem.1: %d lines, as the command says" % text.count("\n"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
