"""Finds the installed Go, for the checks that compare with its source. Its absence is a visible skip (exit code 77)."""
import os
import re
import subprocess
import sys
from pathlib import Path

SKIP = 77
WANTED = "go1.26"


def candidates():
    if os.environ.get("GOROOT"):
        yield Path(os.environ["GOROOT"])
    try:
        out = subprocess.run(["go", "env", "GOROOT"], capture_output=True, text=True, check=True, timeout=60).stdout.strip()
        if out:
            yield Path(out)
    except (OSError, subprocess.SubprocessError):
        pass
    yield Path("/usr/local/go")


def version(root):
    try:
        return (root / "VERSION").read_text().split()[0]
    except (OSError, IndexError):
        return ""


def find():
    """The root of a Go 1.26.x, or None and the reason."""
    seen = []
    for root in candidates():
        v = version(root)
        if re.fullmatch(re.escape(WANTED) + r"(\.\d+)?", v) and (root / "src/runtime/mheap.go").is_file():
            return root, ""
        if v:
            seen.append("%s in %s" % (v, root))
    return None, "no %s.x is installed%s" % (WANTED, " (found " + ", ".join(seen) + ")" if seen else "")


def find_or_skip():
    root, why = find()
    if root is None:
        print("SKIPPED: " + why)
        sys.exit(SKIP)
    return root
