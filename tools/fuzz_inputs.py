"""The fuzz targets of the tree, their inputs, and what libFuzzer is told. Used by fuzz.py, mutants.py, coverage.py and seeded.py."""
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# What is reached is rare up to 32 times, not 255: libFuzzer looks through all that is rare for each thing that an input reaches.
FUZZ_OPTIONS = ["-max_len=8192", "-len_control=0", "-timeout=20", "-rss_limit_mb=2560",
                "-entropic_feature_frequency_threshold=32"]


def targets(root=ROOT):
    """In the order of fuzz/CMakeLists.txt."""
    return re.findall(r"^gomem_fuzz\((\w+)", (root / "fuzz/CMakeLists.txt").read_text(), re.M)


def programs(root=ROOT):
    """All programs made of targets, and whose inputs each takes: {"pallocbits": "pallocbits", "mallocgc_plain": "mallocgc", ...}."""
    more = re.findall(r"^gomem_fuzz_test\((\w+) (\w+)\)", (root / "fuzz/CMakeLists.txt").read_text(), re.M)
    return {**{t: t for t in targets(root)}, **dict(more)}


def inputs(target):
    """Folders: what was merged, what was written by hand, what once failed."""
    return [d for d in (ROOT / "fuzz" / kind / target for kind in ("corpus", "seeds", "regressions")) if d.is_dir()]
