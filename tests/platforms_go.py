#!/usr/bin/env python3
"""The constants of all platforms, asked of the installed Go again: tests/data/platforms.golden must come out byte for byte, and runtimes that run
here must say the same. Witness: Go's type checker, Go's own functions (tests/platforms/golden.go). Skipped (77) without a Go 1.26."""
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import goroot  # noqa: E402

GOLDEN = ROOT / "tests/data/platforms.golden"


def main():
    root = goroot.find_or_skip()
    env = dict(os.environ, PATH="%s%s%s" % (root / "bin", os.pathsep, os.environ.get("PATH", "")), GOTOOLCHAIN="local", GOFLAGS="", GOWORK="off")
    go = ["go", "run", "tests/platforms/golden.go", "tests/platforms/real.go"]
    made = subprocess.run(go, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        sys.exit(made.stderr)
    got, want = made.stdout.splitlines(True), GOLDEN.read_text().splitlines(True)
    if got[0] != want[0]:
        print("the golden file is of another Go 1.26: %sand that of the installed one begins: %s" % (want[0], got[0]), end="")
    equal = sum(a == b for a, b in zip(got[1:], want[1:]))
    print("%d of %d lines of %s come out again" % (equal, len(want) - 1, GOLDEN.name))
    for number, (a, b) in enumerate(zip(got[1:], want[1:]), 2):
        if a != b:
            print("line %d: Go says %r, the file %r" % (number, a[:120], b[:120]))
            break
    real = subprocess.run(go + ["-run", str(GOLDEN)], cwd=ROOT, env=env, check=False)
    sys.exit(got[1:] != want[1:] or real.returncode != 0)


if __name__ == "__main__":
    main()
