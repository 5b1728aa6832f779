#!/usr/bin/env python3
"""cross.py: the tests on other machines' processors, emulated by qemu-user (./dev cross, docs/CROSS.md). i386 is not emulated: an amd64 machine
executes it, and qemu-i386 stops all threads for each atomic operation on 64 bits, so that tests with threads have no end within minutes.

For each architecture: libraries from Debian's packages unpacked in build/cross-ARCH/sysroot, the build by tools/cross/toolchain.cmake, the unit
tests, goldens and fuzz corpora by ctest, and recordings replayed, equal to the last decision. What cannot be done here is named and counted as
skipped. Exit codes: 0 all passed, 1 something failed, 2 usage."""
import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Debian's name of the architecture, the compiler's, the folder of its libraries, Debian's release that has them, and what qemu is called.
ARCHES = {
    "aarch64": ("arm64", "aarch64-linux-gnu", "aarch64-linux-gnu", "bookworm", "qemu-aarch64"),
    "s390x": ("s390x", "s390x-linux-gnu", "s390x-linux-gnu", "bookworm", "qemu-s390x"),
    "riscv64": ("riscv64", "riscv64-linux-gnu", "riscv64-linux-gnu", "trixie", "qemu-riscv64"),
    "i386": ("i386", "i686-linux-gnu", "i386-linux-gnu", "bookworm", "qemu-i386"),
}
LIBRARIES = ["libzstd-dev", "libzstd1", "zlib1g-dev", "zlib1g", "libxxhash-dev", "libxxhash0", "libcjson-dev", "libcjson1", "libcmocka-dev",
             "libcmocka0", "uthash-dev", "libprotobuf-c-dev", "libprotobuf-c1"]
# Debian 12 has a compiler and a C library for riscv64, but no other libraries: these are of Debian 13, and so is the C library they run with.
# Its gcc 12 has no atomic operations on bytes without libatomic.
WITH_LIBC = {"riscv64": ["libc6", "libatomic1"]}
# Go's own programs for 386 compute with SSE2 (GO386=sse2); what the x87 computes is not rounded to 64 bits.
FLAGS = {"i386": "-msse2 -mfpmath=sse"}
# Of one P and of several, of several releases, made with and without Green Tea; of programs with 32-bit words.
RECORDINGS = ["traces/data/jsonbench-p1.gmt", "traces/data/large-p4.gmt", "traces/data/go125-greentea-jsonbench-p4.gmt",
              "traces/data/go127-large-p4.gmt"]
RECORDINGS_32 = ["traces/data/linux386-jsonbench-p1.gmt", "traces/data/linux386-large-p4.gmt", "traces/data/linux386-trees-p4.gmt"]
# Architectures with 32-bit words: they replay the recordings of linux/386, refuse all others, and leave out what is about 64-bit addresses.
NARROW = {"i386"}
# What says nothing here.
NOT_EMULATED = {"limits": "it would limit the emulator's memory, not the program's",
                "faults": "it takes terabytes of addresses, in whose pages qemu-user looks for room one by one: no end within minutes"}
# What is about 64-bit addresses as a whole; single tests say so themselves (tests/words.h).
WIDE = {"predict": "Go's traces in it have 64-bit addresses",
        "predict_bite": "Go's traces in it have 64-bit addresses",
        "replay": "it changes recordings that have 64-bit addresses; those of linux/386 are replayed below",
        "whatif": "it works on recordings that have 64-bit addresses"}
# Fuzz targets and why; the others run, whole heaps are compared with the oracle everywhere.
WIDE_FUZZ = {
    **dict.fromkeys(["pagealloc", "pagecache", "scavenge", "scavindex"], "its pages lie in an address space of 64 GiB"),
    **dict.fromkeys(["api", "mem"], "its memory lies where a process of 32 bits has none"),
    "replay": "it changes a recording that has 64-bit addresses"}
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


class Failure(Exception):
    """What is printed for an architecture that could not be built."""


def run(what, command, **options):
    done = subprocess.run([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False, **options)
    if done.returncode != 0:
        raise Failure("%s failed:\n%s" % (what, "\n".join(done.stdout.splitlines()[-30:])))
    return done.stdout


def relink(root):
    """Absolute links of packages lead to the host: they are made relative to the sysroot."""
    for link in root.rglob("*"):
        if link.is_symlink() and os.readlink(link).startswith("/"):
            target = root / os.readlink(link).lstrip("/")
            link.unlink()
            link.symlink_to(os.path.relpath(target, link.parent))


def sysroot(build, deb, release, extra):
    """The libraries of the architecture, with a state of apt of their own: nothing is installed on the host."""
    root, work, done = build / "sysroot", build / "apt", build / "sysroot.done"
    packages = LIBRARIES + extra
    if done.exists() and done.read_text() == " ".join(packages):
        return root
    shutil.rmtree(root, ignore_errors=True)
    shutil.rmtree(work, ignore_errors=True)
    for part in ("state/lists/partial", "cache/archives/partial"):
        (work / part).mkdir(parents=True)
    root.mkdir(parents=True)
    (work / "state/status").touch()
    (work / "sources.list").write_text("deb [signed-by=%s] http://deb.debian.org/debian %s main\n" % (KEYRING, release))
    settings = {"APT::Architecture": deb, "APT::Architectures::": deb, "Dir::State": work / "state", "Dir::State::status": work / "state/status",
                "Dir::Cache": work / "cache", "Dir::Etc::sourceparts": "/dev/null", "Dir::Etc::sourcelist": work / "sources.list",
                "APT::Sandbox::User": "root"}
    apt = ["apt-get", "-q"] + [word for k, v in settings.items() for word in ("-o", "%s=%s" % (k, v))]
    run("asking for Debian's packages", [*apt, "update"])
    run("fetching libraries", [*apt, "download", *packages], cwd=work)
    for package in sorted(work.glob("*.deb")):
        run("unpacking", ["dpkg-deb", "-x", package, root])
    relink(root)
    if not (root / "lib").exists():  # where everything is in /usr, the loader is still asked for in /lib
        (root / "lib").symlink_to("usr/lib")
    shutil.rmtree(work)
    done.write_text(" ".join(packages))
    return root


def compile_for(arch, build):
    deb, triplet, libdir, release, qemu = ARCHES[arch]
    own = WITH_LIBC.get(arch, [])
    root = sysroot(build, deb, release, own)
    loader = root if own else Path("/usr") / triplet
    settings = {"CMAKE_BUILD_TYPE": "Release", "CMAKE_C_FLAGS": FLAGS.get(arch, ""), "GOMEM_PROCESSOR": arch, "GOMEM_TRIPLET": triplet, "GOMEM_LIBDIR": libdir, "GOMEM_SYSROOT": root,
                "GOMEM_QEMU": shutil.which(qemu), "GOMEM_LOADER": loader, "GOMEM_INSTALL": "OFF", "GOMEM_SHARED": "OFF",
                "CMAKE_EXE_LINKER_FLAGS": "-Wl,--allow-shlib-undefined" if own else "",
                "CMAKE_C_STANDARD_LIBRARIES": "-latomic" if own else ""}
    run("configuring", ["cmake", "-S", ROOT, "-B", build, "-G", "Ninja", "--toolchain", ROOT / "tools/cross/toolchain.cmake",
                        *("-D%s=%s" % (k, v) for k, v in settings.items())])
    run("building", ["cmake", "--build", build, "-j", os.cpu_count() or 2])
    path = ":".join(str(root / lib / libdir) for lib in ("usr/lib", "lib"))
    if arch == "i386":
        return [str(loader / "lib/ld-linux.so.2"), "--library-path", "%s:%s" % (loader / "lib", path)]
    return [shutil.which(qemu), "-L", str(loader), "-E", "LD_LIBRARY_PATH=" + path]


class Totals:
    def __init__(self, arch):
        self.arch, self.passed, self.failed, self.skipped = arch, 0, 0, 0

    def add(self, name, status, why=""):
        setattr(self, status, getattr(self, status) + 1)
        if status != "passed":
            print("%s: %s/%s%s" % (status.upper() if status == "failed" else status, self.arch, name, ": " + why if why else ""), flush=True)

    def __str__(self):
        return "%-8s %d passed, %d failed, %d skipped" % (self.arch, self.passed, self.failed, self.skipped)


def cases(build, totals, label, select):
    """The tests that are programs of this architecture; those in Python and shell are the host's affair."""
    junit = build / "junit.xml"
    junit.unlink(missing_ok=True)
    log = build / ("ctest-%s.log" % label.replace(" ", "-"))
    with open(log, "w", encoding="utf-8") as out:
        subprocess.run(["ctest", "--test-dir", str(build), *select, "-j", str(os.cpu_count() or 2), "--output-on-failure",
                        "--test-output-size-passed", "1000000", "--output-junit", str(junit)], stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, check=False)
    if not junit.exists():
        raise Failure("no tests ran, see %s" % log.relative_to(ROOT))
    seen = list(ET.parse(junit).getroot().iter("testcase"))
    if not seen:
        raise Failure("no tests ran, see %s" % log.relative_to(ROOT))
    before = totals.failed
    for case in seen:
        # ctest says notrun of those that skip themselves, and of those whose program is not there.
        skip = case.find("skipped")
        output = case.findtext("system-out") or ""
        if case.get("status") == "run":
            totals.add(case.get("name"), "passed")
            for part in sorted(set(re.findall(r"^\[  SKIPPED \] (\S+)$", output, re.MULTILINE))):
                totals.add("%s: %s" % (case.get("name"), part), "skipped")
        elif skip is not None and "SKIP_" in (skip.get("message") or ""):
            totals.add(case.get("name"), "skipped", output.strip().splitlines()[-1] if output.strip() else "")
        else:
            totals.add(case.get("name"), "failed")
    print("%s: %d tests of %s%s" % (totals.arch, len(seen), label, ", see %s" % log.relative_to(ROOT) if totals.failed > before else ""), flush=True)


def refused(emulate, build, totals):
    """Addresses of 64 bits do not fit: a recording that has them is refused with a reason and exit code 2."""
    done = subprocess.run([*emulate, str(build / "gomem"), "replay", str(ROOT / RECORDINGS[0])], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, check=False, timeout=600)
    right = done.returncode == 2 and "32-bit words" in done.stderr
    totals.add(RECORDINGS[0] + " is refused", "passed" if right else "failed", "exit code %d, %s" % (done.returncode, done.stderr.strip()))


def replays(emulate, build, totals):
    if totals.arch in NARROW:
        refused(emulate, build, totals)
    for name in RECORDINGS_32 + ([] if totals.arch in NARROW else RECORDINGS):
        try:
            done = subprocess.run([*emulate, str(build / "gomem"), "replay", "--json", str(ROOT / name)], stdin=subprocess.DEVNULL,
                                  capture_output=True, text=True, check=False, timeout=600)
        except subprocess.TimeoutExpired:
            totals.add(name, "failed", "still not done after 10 minutes")
            continue
        lines = done.stdout.splitlines()
        verdict = json.loads(lines[-1]) if lines else {}
        whole = verdict.get("status") == "equal" and verdict["decisions"] > 0 and verdict["equal"] == verdict["decisions"]
        if done.returncode != 0 or not whole:
            wrong = "%s of %s decisions" % (verdict.get("equal"), verdict.get("decisions")) if lines else done.stderr.strip()
            totals.add(name, "failed", "exit code %d, %s" % (done.returncode, wrong))
            continue
        totals.add(name, "passed")
        print("%s: %s: %d of %d decisions equal" % (totals.arch, name, verdict["equal"], verdict["decisions"]), flush=True)


def one(arch):
    build, totals = ROOT / "build" / ("cross-" + arch), Totals(arch)
    build.mkdir(parents=True, exist_ok=True)
    try:
        emulate = compile_for(arch, build)
        left_out = {**NOT_EMULATED, **(WIDE if arch in NARROW else {})}
        cases(build, totals, "unit tests and goldens", ["-L", "^unit$", "-E", "^(%s)$" % "|".join(left_out)])
        for name, why in left_out.items():
            totals.add(name, "skipped", why)
        wide = WIDE_FUZZ if arch in NARROW else {}
        cases(build, totals, "fuzz corpora", ["-R", "^fuzz_", "-LE", "^unit$", "-E", "^fuzz_(%s)$" % "|".join(["driver", "readme", *wide])])
        for name, why in wide.items():
            totals.add("fuzz_" + name, "skipped", why)
        replays(emulate, build, totals)
    except Failure as e:
        totals.add("build and tests", "failed", str(e))
    return totals


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    known = list(ARCHES)
    parser.add_argument("arch", nargs="*", help="of " + ", ".join(known))
    wanted = parser.parse_args().arch or known
    for arch in wanted:
        if arch not in known:
            parser.error("there is no %s; there are %s" % (arch, ", ".join(known)))
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            parser.error("%s is missing: the libraries of other architectures are Debian's packages" % tool)
    everything = [one(arch) for arch in wanted]
    for totals in everything:
        print(totals)
    return 1 if any(t.failed or not t.passed for t in everything) else 0


if __name__ == "__main__":
    sys.exit(main())
