#!/usr/bin/env python3
"""goldens_go.py PROGRAM: Go makes the goldens of the tree again, byte for byte; and Go and the port run the same new programs, with equal answers.

PROGRAM is the port's side. Skipped (77) without a Go 1.26. Longer: ./dev differential."""
import os
import subprocess
import sys
from pathlib import Path

TOOL = Path(__file__).resolve().parent.parent / "tools" / "goldens.py"
SKIP = 77
# Seeds that no other run has; few programs, so that it takes seconds with sanitizers too.
RUNS = (["check"], ["differential", "--programs", "2000", "--seed", "20"])


def main():
    env = dict(os.environ, GOMEM_DIFFERENTIAL=sys.argv[1])
    codes = [subprocess.run([sys.executable, "-B", str(TOOL), *run], env=env).returncode for run in RUNS]
    bad = [c for c in codes if c not in (0, SKIP)]
    return bad[0] if bad else max(codes)


sys.exit(main())
