#!/usr/bin/env python3
"""options.py: in each command that has options with a value, --option VALUE and --option=VALUE are the same; no value, or an empty one, is refused,
exit code 2; and what follows a program's name or -- is the program's. Options that have no meaning for recordings, or for traces, are refused for these."""
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from checks import check, end, run  # noqa: E402

GOMEM = os.environ["GOMEM"]
RECORDING, TRACE = "tests/controls/goroutines-p4.gmt", "traces/data/gotrace/traced-p1.trace.zst"
# Time and memory that a run took.
MEASURED = re.compile(r'[0-9.]+ s(, [0-9.]+ million events a second)?, peak memory [0-9,]+ KiB|"(seconds|peak_kib)":[0-9.]+')


def same(command, option, value, *rest):
    """The same output; and it says that the option did something."""
    apart, joined = run(GOMEM, command, option, value, *rest), run(GOMEM, command, option + "=" + value, *rest)
    none = run(GOMEM, command, *rest)
    outs = [MEASURED.sub("", r.stdout) for r in (apart, joined, none)]
    check("%s %s=%s" % (command, option, value), apart.returncode == joined.returncode < 2 and outs[0] == outs[1] != outs[2],
          (apart.returncode, joined.returncode, apart.stderr, joined.stderr, outs[0][:200], outs[1][:200]))
    for bad in ([*rest, option], [option + "=", *rest], [option, "", *rest]):
        got = run(GOMEM, command, *bad)
        check("%s %s" % (command, bad), got.returncode == 2 and got.stderr and not got.stdout, (got.returncode, got.stdout[:200], got.stderr))


def files(command, option, folder, *rest):
    """An option that names a file to write."""
    a, b = folder / "a", folder / "b"
    apart, joined = run(GOMEM, command, option, a, *rest), run(GOMEM, command, "%s=%s" % (option, b), *rest)
    check("%s %s=FILE" % (command, option), apart.returncode == joined.returncode == 0 and a.read_bytes() == b.read_bytes(), (apart, joined))
    for f in (a, b):
        f.unlink(missing_ok=True)
    got = run(GOMEM, command, option + "=", *rest)
    check("%s %s= is refused" % (command, option), got.returncode == 2 and got.stderr, got)


def one_kind_only():
    """Options that have no meaning for a kind of file are refused for it, and for the other kind they are not."""
    for command, options, fits, other in (
            ("replay", ["--os", "sim"], RECORDING, TRACE), ("replay", ["--os=real"], RECORDING, TRACE), ("replay", ["--go", "go1.26"], RECORDING, TRACE),
            ("replay", ["--plain"], "tests/controls/appends-p1.gmt", TRACE), ("replay", ["--mismatches", "5"], TRACE, RECORDING),
            ("stat", ["--types", "15"], TRACE, RECORDING), ("whatif", ["--random-base", "on"], RECORDING, TRACE)):
        got = run(GOMEM, command, *options, other)
        name = options[0].split("=")[0]
        check("%s %s %s: refused" % (command, options, other), got.returncode == 2 and not got.stdout and name in got.stderr and "only" in got.stderr, got)
        got = run(GOMEM, command, *options, fits)
        check("%s %s %s" % (command, options, fits), got.returncode == 0, got)
    got = run(GOMEM, "replay", "--quiet", "--os", "sim", TRACE, RECORDING)
    check("replay: the files of the right kind are replayed", got.returncode == 2 and "every decision equal" in got.stdout and got.stdout.count("\n") == 1, got)
    got = run(GOMEM, "replay", "--json", "--os", "sim", TRACE)
    check("replay --json says so, too", '"status":"bad input"' in got.stdout and "recordings only" in got.stdout, got)


def main():
    os.chdir(os.environ["GOMEM_SOURCE_DIR"])
    same("replay", "--os", "real", RECORDING)
    same("replay", "--go", "go1.25", "tests/controls/appends-p1.gmt")
    same("replay", "--mismatches", "0", "traces/data/gotrace/http-p4.trace.zst")
    same("whatif", "--page-size", "16KiB", RECORDING)
    same("whatif", "--size-classes", "generated:tail=6,align16-from=64", RECORDING)
    same("whatif", "--sweep", "page-size=8KiB,16KiB", RECORDING)
    same("stat", "--types", "3", TRACE)
    same("dump", "--count", "3", RECORDING)
    same("dump", "--from", "9000", RECORDING)
    same("layout", "--address", "0x8400000", "linux/386")
    same("explain", "--type", "node:24:8", "48")
    same("explain", "--platform", "linux/386", "48")
    sizes = [re.findall(r"Size: [0-9]+ kB", run(GOMEM, "os", *args).stdout)[:1] for args in (["--mib", "2"], ["--mib=2"], ["--mib=4"])]
    check("os --mib=2", [] != sizes[0] == sizes[1] != sizes[2], sizes)
    for bad in (["--mib="], ["--mib"]):
        got = run(GOMEM, "os", *bad)
        check("os %s" % bad, got.returncode == 2 and "--mib" in got.stderr, got)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files("stat", "--perfetto", folder, RECORDING)
        files("report", "-o", folder, RECORDING)
        files("whatif", "--plot", folder, RECORDING)
    for command, option in (("stat", "--pprof"), ("stat", "--perfetto"), ("whatif", "--plot")):
        got = run(GOMEM, command, option, "-", RECORDING)
        check("%s %s -" % (command, option), got.returncode == 2 and "name a file" in got.stderr and not got.stdout and not Path("-").exists(), got)
    got = run(GOMEM, "whatif", "--classes", "--sweep", "page-size=8KiB,16KiB", RECORDING)
    check("whatif --classes --sweep is refused", got.returncode == 2 and "--sweep" in got.stderr and not got.stdout, got)
    for command, option in (("record", "--go"), ("record", "--raw"), ("record", "-o"), ("graft", "--source"), ("graft", "--keep")):
        for bad in ([option + "="], [option]):
            got = run(GOMEM, command, *bad)
            check("%s %s is refused" % (command, bad), got.returncode == 2 and re.search("needs? a", got.stderr), got)
    got = run(GOMEM, "record", "--go=/no/such/go", "-o", "/no/such/folder/x.gmt", "prog", "--go=y")
    check("record --go=PATH", got.returncode == 2 and "/no/such" in got.stderr and "--go=y" not in got.stderr, got)
    got = run(GOMEM, "graft", "--source=/no/such/tree", "--", "go", "build", "--source=other")
    check("graft --source=DIR, of its own options only", got.returncode == 2 and "--source /no/such/tree:" in got.stderr, got)
    one_kind_only()
    behind, before = run(GOMEM, "replay", RECORDING, "--json"), run(GOMEM, "replay", "--json", RECORDING)
    check("replay: an option behind the file", MEASURED.sub("", behind.stdout) == MEASURED.sub("", before.stdout) != "", (before, behind))
    got = run(GOMEM, "replay", "--json", "--", "--quiet")
    check("replay: what follows -- is a file", got.returncode == 2 and "--quiet: cannot open" in got.stderr, got)
    return end()


if __name__ == "__main__":
    sys.exit(main())
