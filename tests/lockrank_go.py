#!/usr/bin/env python3
"""The order of locks of gomem/lockrank.h against Go's own lockrank.go: each pair of ranks."""
import re
import subprocess
import sys
from pathlib import Path

try:
    goroot = subprocess.run(["go", "env", "GOROOT"], capture_output=True, text=True, check=True).stdout.strip()
except (OSError, subprocess.CalledProcessError):
    print("skipped: no Go here")
    sys.exit(77)
program = sys.argv[1]
text = (Path(goroot) / "src/runtime/lockrank.go").read_text()
order = text[text.index("var lockPartialOrder"):]
rows = {name: set(re.findall(r"lockRank(\w+)", row)) for name, row in re.findall(r"^\tlockRank(\w+):\s*\{(.*?)\},", order, re.M)}
pairs = bad = 0
for line in subprocess.run([program], capture_output=True, text=True, check=True).stdout.splitlines():
    held, taken, may = line.split()
    held, taken = (name[0].upper() + name[1:] for name in (held, taken))
    pairs += 1
    if (held in rows[taken]) != (may == "1"):
        bad += 1
        print("%s under %s: %s here, not so in Go" % (taken, held, "allowed" if may == "1" else "forbidden"))
print("%d of %d pairs of locks as in Go" % (pairs - bad, pairs))
sys.exit(1 if bad or pairs != 49 else 0)
