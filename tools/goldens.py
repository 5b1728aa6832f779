#!/usr/bin/env python3
"""Answers of Go's own allocator, for the port to give as well (docs/GOLDENS.md).

usage: goldens.py make                   write tests/goldens/KIND.txt.zst again, and those of linux/386 in tests/goldens/386
       goldens.py check                  make them, and compare with those in the tree, byte for byte
       goldens.py differential [SECONDS] [--seed N] [--program K | --programs N] [--kind KIND]
                                         Go and the port run the same random programs, for SECONDS, or until interrupted
       goldens.py bite [NAME...] [--list]
                                         break the port in one place at a time: do the goldens and the differential notice?

A Go 1.26 on linux/amd64, which runs programs of linux/386 too, is asked by an overlay over the tests of its runtime (tests/goldens/*.go); the installation stays as it is. The program
that asks is kept in build/goldens. $GOMEM_DIFFERENTIAL names the port's side, build/release/lib/tests/differential by default.

Exit code 0: equal; 1: not; 2: could not be done; 77: there is no Go 1.26 here."""
import argparse
import hashlib
import json
import os
import platform
import re
import signal
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import goroot  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "tests" / "goldens"
WORK = ROOT / "build" / "goldens"
SOURCES = sorted(FOLDER.glob("*_test.go"))
MADE_BY = "go1.26.8"
KINDS = re.findall(r'^\t\{"(\w+)", \d+, \d+,', (FOLDER / "programs_test.go").read_text(), re.M)
# Of linux/386 there are none of three kinds: the port maps the index of scavenging as it is needed, and Go has it whole where words have 32 bits
# (docs/FIDELITY.md); and the programs of heap bits have 64-bit words.
PLATFORMS = {"amd64": KINDS, "386": [k for k in KINDS if k not in ("pagealloc", "scavindex", "heapbits")]}


def fail(why):
    print("goldens.py: " + why, file=sys.stderr)
    sys.exit(2)


# ---- Go's side

def environment():
    """What of the caller's environment changes how Go builds or runs is left out."""
    env = {k: v for k, v in os.environ.items() if not re.match(r"GO(FLAGS|OS|ARCH|AMD64|EXPERIMENT|DEBUG|GC|MEMLIMIT|MAXPROCS|WORK|ROOT)$", k)}
    return env | {"GOTOOLCHAIN": "local", "GOWORK": "off", "CGO_ENABLED": "0", "GOAMD64": "v1"}


def overlay(root, into):
    """The runtime's own tests are left out: they would only have to be compiled."""
    runtime = root / "src" / "runtime"
    replace = {str(p): "" for p in runtime.glob("*_test.go")}
    replace.update({str(runtime / ("gomem_" + p.name)): str(p) for p in SOURCES})
    path = into / "overlay.json"
    path.write_text(json.dumps({"Replace": replace}))
    return path


def asker(arch="amd64"):
    """The program that asks Go; built where there is none of these sources."""
    root = goroot.find_or_skip()
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        print("SKIPPED: the answers are those of linux/amd64")
        sys.exit(goroot.SKIP)
    name = hashlib.sha256(b"".join([goroot.version(root).encode(), str(root).encode(), *(p.read_bytes() for p in SOURCES)])).hexdigest()[:16]
    program = WORK / ("go-%s-%s.test" % (arch, name))
    if program.exists():
        return program
    WORK.mkdir(parents=True, exist_ok=True)
    new = WORK / ("new-%d.test" % os.getpid())
    done = subprocess.run([str(root / "bin" / "go"), "test", "-c", "-vet=off", "-overlay", str(overlay(root, WORK)), "-o", str(new), "runtime"],
                          cwd=root / "src" / "runtime", env=environment() | {"GOARCH": arch}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        fail("Go could not be asked:\n" + done.stdout)
    for old in WORK.glob("go-%s-*.test" % arch):
        old.unlink()
    new.rename(program)
    return program


def ask(*options, arch="amd64"):
    """Starts the asker. Returns it, and the descriptor from which its answers are read."""
    read, write = os.pipe()
    go = subprocess.Popen([str(asker(arch)), "-test.run=^TestGomemGoldens$", "-test.timeout=0", "-gomem.fd=%d" % write, *options], pass_fds=[write],
                          env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True)
    os.close(write)
    return go, read


def answered(go, stopped=False):
    """Waits for the asker. stopped: nobody reads what it writes any more."""
    said = go.communicate()[0].decode(errors="replace")
    if go.returncode != 0 and not (stopped and go.returncode == 3):
        fail("Go ended with %d:\n%s" % (go.returncode, said[-4000:]))


def text_of(arch, kind):
    go, read = ask("-gomem.kind=" + kind, "-gomem.whole", arch=arch)
    with os.fdopen(read, "rb") as f:
        text = f.read()
    answered(go)
    return text


# ---- files

def path_of(arch, kind):
    return FOLDER / ("" if arch == "amd64" else arch) / (kind + ".txt.zst")


def executes(arch):
    """Some kernels of amd64 do not execute programs with 32-bit words."""
    try:
        subprocess.run([str(asker(arch)), "-test.run=^$"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    except OSError as e:
        print("SKIPPED: goldens of linux/%s: %s" % (arch, e.strerror))
        return False
    return True


def files():
    return [(arch, kind) for arch, kinds in PLATFORMS.items() if arch == "amd64" or executes(arch) for kind in kinds]


def zstd(data, *options):
    try:
        return subprocess.run(["zstd", "-q", "-c", *options], input=data, stdout=subprocess.PIPE, check=True).stdout
    except (OSError, subprocess.SubprocessError) as e:
        fail("zstd: %s" % e)


def totals(text):
    end = text[text.rindex(b"\nend ") + 5:].split()
    return int(end[0], 16), int(end[1], 16)


def make(_):
    size = cases = 0
    for arch, kind in files():
        text, path = text_of(arch, kind), path_of(arch, kind)
        packed = zstd(text, "-19", "--check")
        same = path.exists() and path.read_bytes() == packed
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(packed)
        n = totals(text)
        print("%-5s %-10s %5d programs %7d cases %8d bytes%s" % (arch, kind, *n, len(packed), ", as before" if same else ""))
        size, cases = size + len(packed), cases + n[1]
    print("%-16s                %7d cases %8d bytes" % ("all", cases, size))
    return 0


def check(_):
    version = goroot.version(goroot.find_or_skip())
    if version != MADE_BY:
        print("SKIPPED: the goldens are those of %s, here is %s" % (MADE_BY, version))
        return goroot.SKIP
    equal, all_files = 0, files()
    for arch, kind in all_files:
        text, path = text_of(arch, kind), path_of(arch, kind)
        there = zstd(path.read_bytes(), "-d") if path.exists() else b""
        if text == there:
            equal += 1
            continue
        print("%s: not what Go answers now (%d bytes there, %d now)" % (path.relative_to(FOLDER), len(there), len(text)))
    print("goldens made again: %d of %d equal, byte for byte" % (equal, len(all_files)))
    return 0 if equal == len(all_files) else 1


# ---- both at once

def port():
    path = os.environ.get("GOMEM_DIFFERENTIAL", str(ROOT / "build/release/lib/tests/differential"))
    if not os.access(path, os.X_OK):
        fail("%s is not there: ./dev build" % path)
    return path


def compare(program, *options, quiet=False):
    """Returns the exit code of the port's side, and what it printed."""
    go, read = ask(*options)
    with os.fdopen(read, "rb") as f:
        c = subprocess.Popen([program], stdin=f, stdout=subprocess.PIPE, stderr=subprocess.STDOUT if quiet else None, text=True,
                             errors="replace", start_new_session=True)
    try:
        said = c.communicate()[0]
    except KeyboardInterrupt:
        go.send_signal(signal.SIGINT)  # it ends its stream
        said = c.communicate()[0]
    answered(go, stopped=c.returncode != 0)
    return c.returncode, said


def differential(args):
    options = ["-gomem.seed=%d" % args.seed, "-gomem.seconds=%d" % args.seconds, "-gomem.programs=%d" % args.programs]
    if args.program is not None:
        options += ["-gomem.first=%d" % args.program, "-gomem.programs=1"]
    if args.kind:
        if args.kind not in KINDS:
            fail("no kind %s; there are %s" % (args.kind, ", ".join(KINDS)))
        options.append("-gomem.kind=" + args.kind)
    code, said = compare(port(), *options)
    print(said, end="" if said.endswith("\n") else "\n")
    found = re.search(r"^DIFFERENT: seed (\d+), kind \w+, program (\d+),", said, re.M)
    if found:
        print("again: ./dev differential --seed %s --program %s%s" % (*found.groups(), " --kind " + args.kind if args.kind else ""))
    return code if code in (0, 1) else 2


def bite(args):
    import goldens_bite
    return goldens_bite.main(args, ask_live=lambda program, *options: compare(program, *options, quiet=True))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, usage=argparse.SUPPRESS)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    commands.add_parser("make").set_defaults(run=make)
    commands.add_parser("check").set_defaults(run=check)
    d = commands.add_parser("differential")
    d.add_argument("seconds", nargs="?", type=int, default=0, help="0: until interrupted")
    d.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "little"), help="another one each time where none is given")
    d.add_argument("--programs", type=int, default=0, help="stop after so many")
    d.add_argument("--program", type=int, help="only this one")
    d.add_argument("--kind", help="only this kind: " + ", ".join(KINDS))
    d.set_defaults(run=differential)
    b = commands.add_parser("bite")
    b.add_argument("names", nargs="*")
    b.add_argument("--list", action="store_true")
    b.set_defaults(run=bite)
    args = parser.parse_args()
    sys.exit(args.run(args))


if __name__ == "__main__":
    main()
