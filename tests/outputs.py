#!/usr/bin/env python3
"""outputs.py: what the commands write. A file that is read is never written over, by no name; what cannot be written whole leaves what was there, and
nothing beside it; output that nobody can read is an error, exit code 2, that says why; JSON is UTF-8 whatever files are called."""
import hashlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from checks import check, end, run  # noqa: E402

GOMEM = os.environ["GOMEM"]
RECORDING, TRACE = Path("tests/controls/goroutines-p4.gmt"), Path("traces/data/gotrace/traced-p1.trace.zst")
WRITERS = (("report", "-o"), ("stat", "--perfetto"), ("stat", "--pprof"), ("whatif", "--plot", "--page-size", "16KiB"))


def refused(got):
    return "would replace the file that is read" in got.stderr or "protobuf-c" in got.stderr


def digest(path):
    return hashlib.sha256(path.read_bytes()).digest()


def keeps_input(folder):
    for source in (RECORDING, TRACE):
        file, link, hard = folder / source.name, folder / "link", folder / "hard"
        shutil.copy(source, file)
        link.symlink_to(file.name)
        os.link(file, hard)
        before, names = digest(file), sorted(os.listdir(folder))
        for command, option, *more in WRITERS:
            for out in (file, link, hard):
                got = run(GOMEM, command, option, out, *more, file)
                check("%s %s %s of %s: refused, and nothing lost" % (command, option, out.name, file.name),
                      got.returncode == 2 and refused(got) and digest(file) == before and sorted(os.listdir(folder)) == names, got)
        hard.unlink()
        for command, option, *more in WRITERS:
            got = run(GOMEM, command, option, file, *more, file)
            check("%s %s %s, the only name: refused" % (command, option, file.name), got.returncode == 2 and refused(got) and digest(file) == before, got)
        file.unlink()
        link.unlink()


def through_links(folder):
    """What a link leads to is written, and the link stays."""
    link, target = folder / "link", folder / "target"
    link.symlink_to("target")
    for command, option, *more in WRITERS:
        got = run(GOMEM, command, option, link, *more, RECORDING)
        check("%s %s to a link to nothing" % (command, option), got.returncode == 0 and link.is_symlink() and target.stat().st_size > 0 or "protobuf-c" in got.stderr, got)
        target.unlink(missing_ok=True)
    link.unlink()
    link.symlink_to("nowhere/target")
    for command, option, *more in WRITERS:
        got = run(GOMEM, command, option, link, *more, RECORDING)
        check("%s %s to a link to no folder" % (command, option), got.returncode == 2 and got.stderr and link.is_symlink(), got)
    link.unlink()
    got = run(GOMEM, "stat", "--pprof", "x", "--perfetto", "x", RECORDING)
    check("two outputs in one file are refused", got.returncode == 2 and "the same file" in got.stderr and not Path("x").exists(), got)


def killed(folder):
    """Nothing is left of what was being made."""
    for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        for _ in range(20):
            process = subprocess.Popen([GOMEM, "report", "-o", folder / "r.html", RECORDING], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while process.poll() is None and not os.listdir(folder):
                pass
            process.send_signal(sig)
            process.wait()
            left = set(os.listdir(folder)) - {"r.html"}
            if left or process.returncode == -sig:
                break
            (folder / "r.html").unlink(missing_ok=True)
        check("report ended by %s leaves nothing half made" % sig.name, not left, (left, process.returncode))
        (folder / "r.html").unlink(missing_ok=True)


def small_files():
    resource.setrlimit(resource.RLIMIT_FSIZE, (512, 512))


def keeps_old(folder):
    """A file that cannot be written whole: what was there stays."""
    for command, option, *more in WRITERS:
        out = folder / "out"
        for old in ("what was there", None):
            out.unlink(missing_ok=True)
            if old:
                out.write_text(old)
            got = run(GOMEM, command, option, out, *more, RECORDING, preexec_fn=small_files)
            left = sorted(os.listdir(folder))
            there = out.read_text() if out.exists() else None
            check("%s %s with no room: exit code 2 and a reason, %s" % (command, option, "the old file" if old else "no file"),
                  got.returncode == 2 and (": File too large" in got.stderr or "protobuf-c" in got.stderr) and there == old and left == ["out"] * bool(old),
                  (got, left, there))
    out.unlink(missing_ok=True)
    got = run(GOMEM, "report", "-o", out, RECORDING)
    check("what is written is there, with a usual mode", got.returncode == 0 and out.stat().st_mode & 0o777 == 0o666 & ~umask(), got)
    page = out.read_bytes()
    out.write_text("what was there")
    out.chmod(0o640)
    got = run(GOMEM, "report", "-o", out, RECORDING)
    check("a file that is replaced keeps its mode", got.returncode == 0 and out.stat().st_mode & 0o777 == 0o640 and out.read_bytes() == page, got)
    check("nothing is left beside", os.listdir(folder) == ["out"], os.listdir(folder))
    out.unlink()


def umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def raw_logs(folder):
    bad, out = folder / "no.raw", folder / "x.gmt"
    bad.write_text("no log")
    out.write_text("what was there")
    got = run(GOMEM, "record", "-f", "--raw", bad, "-o", out)
    check("record -f --raw of no log: what -f would replace is there", got.returncode == 2 and out.read_text() == "what was there", got)
    got = run(GOMEM, "record", "-f", "--raw", bad, "-o", bad)
    check("record -f --raw X -o X: refused", got.returncode == 2 and bad.read_text() == "no log" and "would replace" in got.stderr, got)
    check("record leaves nothing beside", sorted(os.listdir(folder)) == ["no.raw", "x.gmt"], os.listdir(folder))
    bad.unlink()
    out.unlink()


def unread():
    full = open("/dev/full", "w")
    for args in (["dump", RECORDING], ["dump", TRACE], ["dump", "--count", "3", TRACE], ["info", RECORDING], ["stat", RECORDING], ["report", "-o", "-", RECORDING],
                 ["replay", RECORDING], ["replay", TRACE], ["whatif", "--page-size", "16KiB", RECORDING], ["layout"], ["layout", "--all"], ["os", "--table"],
                 ["explain", "100"], ["--help"], ["--version"], ["help", "dump"], *([c, "--help"] for c in ("record", "replay", "whatif", "stat", "graft"))):
        got = run_to(full, *args)
        check("%s >/dev/full: exit code 2, and why" % args, got.returncode == 2 and "cannot write: No space left on device" in got.stderr, got)
    got = run(GOMEM, "dump", "--from", "99999999999", TRACE)
    check("dump --from an event that a trace does not have", got.returncode == 2 and "there is no event 99999999999: the trace has" in got.stderr, got)


def run_to(stdout, *args):
    return subprocess.run([GOMEM, *map(str, args)], stdout=stdout, stderr=subprocess.PIPE, text=True)


def is_utf8(folder):
    for name, shown in ((b"\xff\xc0\xaf.gmt", "???.gmt"), ("\u00fc\U0001f600.gmt".encode(), "\u00fc\U0001f600.gmt"), (b"\xed\xa0\x80.gmt", "???.gmt"), (b"\xe2\x82.gmt", "??.gmt")):
        file = os.path.join(os.fsencode(folder), name)
        shutil.copy(RECORDING, file)
        for command, *more in (("replay", "--json"), ("stat", "--json"), ("whatif", "--json", "--page-size", "16KiB"), ("report", "-o", "-")):
            with tempfile.TemporaryFile() as out:
                code = run_to(out, command, *more, os.fsdecode(file)).returncode
                out.seek(0)
                text = out.read()
            try:
                good = shown in (text.decode() if command == "report" else os.path.basename(json.loads(text.decode())["file"]))
            except ValueError:  # no UTF-8, or no JSON
                good = False
            check("%s %s of %r" % (command, " ".join(more), name), code == 0 and good, text[:300])
        os.unlink(file)


def main():
    with tempfile.TemporaryDirectory() as folder:
        for part in (keeps_input, keeps_old, through_links, killed, raw_logs, is_utf8):
            part(Path(folder))
    unread()
    return end()


sys.exit(main())
