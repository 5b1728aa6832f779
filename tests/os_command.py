#!/usr/bin/env python3
"""Runs `gomem os`, on mmap and on the process's break, and checks what must hold of its steps: states, system calls, mappings, resident memory.

usage: os_command.py   (GOMEM names the command)

Exit status: 0 all holds, 1 something does not, 77 the system forbids tracing (all else was checked)."""
import os
import re
import subprocess
import sys

GOMEM = os.environ.get("GOMEM", "build/release/gomem")
KB = 1024
problems = []
checked = 0


def must(ok, what):
    global checked
    checked += 1
    if not ok:
        problems.append(what)


def run(*args):
    return subprocess.run([GOMEM, "os", *args], capture_output=True, text=True)


class Step:
    def __init__(self, text):
        lines = text.splitlines()
        self.name = re.match(r"\d+\. ([^:]*):", lines[0]).group(1)
        self.state = self.only(lines, "state")
        self.calls = [line[11:] for line in lines if line.startswith("  syscall  ")]
        self.maps = [re.match(r"(\w+)-(\w+) (\S+) Size: (\d+) kB, Rss: (\d+) kB, AnonHugePages: (\d+) kB", line[11:]).groups()
                     for line in lines if line.startswith("  smaps    ")]
        self.perms = {m[2] for m in self.maps}
        self.size, self.rss, self.huge = (sum(int(m[i]) for m in self.maps) for i in (3, 4, 5))
        self.process = int(re.match(r"Rss: (\d+) kB", self.only(lines, "process")).group(1))

    @staticmethod
    def only(lines, label):
        found = [line[11:] for line in lines if line.startswith("  %-9s" % label)]
        assert len(found) == 1, (label, lines)
        return found[0]

    def made(self, pattern):
        return any(re.search(pattern, call) for call in self.calls)


NAMES = ["before", "sysReserveAligned", "sysMap", "sysUsed", "touch", "sysHugePage", "sysHugePageCollapse", "sysNoHugePage",
         "sysUnused, second half", "sysUnused, first half", "sysUsed, touch the first half", "sysFault", "sysUnreserve", "the end"]


def steps(args, mib):
    got = run(*args, "--mib", str(mib))
    must(got.returncode == 0 and got.stderr == "", "%s: exit code %d, %s" % (args, got.returncode, got.stderr))
    parsed = {s.name: s for s in map(Step, got.stdout.split("\n\n")[1:])}
    must(list(parsed) == NAMES, "%s: steps %s" % (args, list(parsed)))
    states = [s.state for s in parsed.values()]
    half = mib * KB // 2
    want = (["None", "Reserved", "Prepared"] + 5 * ["Ready"] + ["Ready %d kB, then Prepared %d kB" % (half, half), "Prepared", "Ready",
            "Reserved", "None", "None"])
    must(states == want, "%s: states %s" % (args, states))
    return parsed


def check_mmap(mib, traced):
    s = steps([], mib)
    n = mib * KB
    where = "mmap, %d MiB: " % mib
    for name in ("before", "sysUnreserve", "the end"):
        must(s[name].maps == [], where + name + ": no mapping")
    reserved = s["sysReserveAligned"]
    must(reserved.perms == {"---p"} and reserved.rss == 0 and reserved.size >= n, where + "Reserved: no access, Rss 0")
    for name in ("sysMap", "sysUsed"):
        must(s[name].perms == {"rw-p"} and s[name].rss == 0 and s[name].size >= n, where + name + ": access, Rss 0")
    for name in ("touch", "sysHugePage", "sysHugePageCollapse", "sysNoHugePage"):
        must(s[name].rss >= n and s[name].rss >= s[name].huge, where + name + ": all that was touched is resident")
    must(s["touch"].process >= s["sysUsed"].process + n, where + "the process has grown by what was touched")
    must(s["sysUnused, second half"].rss == n // 2, where + "half unused: half resident")
    must(s["sysUnused, first half"].rss == 0, where + "unused: Rss 0")
    must(s["sysUnused, first half"].perms == {"rw-p"}, where + "unused memory stays mapped")
    must(n // 2 <= s["sysUsed, touch the first half"].rss <= n, where + "touched again: resident again")
    must(s["sysFault"].perms == {"---p"} and s["sysFault"].rss == 0, where + "faulted: no access, Rss 0")
    # Sanitizers keep notes on an eighth.
    must(s["the end"].process <= s["before"].process + 512 + n // 8, where + "the process is as small as before")
    if not traced:
        return
    must(reserved.made(r"mmap\(0x0, %d, PROT_NONE, MAP_PRIVATE\|MAP_ANONYMOUS\)" % ((n + 2 * KB) * KB)), where + "mmap reserves")
    must(s["sysMap"].made(r"mmap\(0x\w+, %d, PROT_READ\|PROT_WRITE, MAP_PRIVATE\|MAP_FIXED\|MAP_ANONYMOUS\)" % (n * KB)), where + "mmap maps")
    for name in ("sysUsed", "touch", "sysUsed, touch the first half"):
        must(s[name].calls == ["none"], where + name + ": no system call")
    must(s["sysNoHugePage"].made(r"madvise\(0x\w+, %d, MADV_NOHUGEPAGE\)" % (n * KB)), where + "no huge pages")
    if s["sysHugePage"].calls != ["none"]:  # there are some
        must(s["sysHugePage"].made(r"madvise\(0x\w+, %d, MADV_HUGEPAGE\)" % (n * KB)), where + "huge pages")
        must(s["sysHugePageCollapse"].made(r"madvise\(0x\w+, %d, MADV_COLLAPSE\)" % (n * KB)), where + "huge pages now")
        done = s["sysHugePageCollapse"].made(r"MADV_COLLAPSE\) = 0")
        must(not done or s["sysHugePageCollapse"].huge == n, where + "collapsed: all of it is huge pages")
    for name in ("sysUnused, second half", "sysUnused, first half"):
        must(s[name].made(r"madvise\(0x\w+, %d, MADV_DONTNEED\) = 0" % (n * KB // 2)), where + name + ": MADV_DONTNEED")
    must(s["sysFault"].made(r"mprotect\(0x\w+, %d, PROT_NONE\) = 0" % (n * KB)), where + "mprotect faults")
    must(s["sysUnreserve"].made(r"munmap\(0x\w+, \d+\) = 0"), where + "munmap")


def brk_of(step, which):
    return int(re.findall(r"brk\(0x\w+\) = 0x(\w+)", " ".join(step.calls))[which], 16)


def check_sbrk(mib, traced):
    s = steps(["--sbrk"], mib)
    n = mib * KB
    where = "sbrk, %d MiB: " % mib
    # The mapping is the process's heap: what else is in it was there before.
    base = s["sysReserveAligned"].rss
    must(base < 1024, where + "Reserved: nothing resident but what there was")
    for name in NAMES[1:-1]:
        must(s[name].perms == {"rw-p"} and s[name].size >= n, where + name + ": always mapped")
    for name in ("sysMap", "sysUsed"):
        must(s[name].rss == base, where + name + ": nothing more is resident")
    for name in NAMES[NAMES.index("touch"):NAMES.index("sysUnreserve")]:
        must(s[name].rss >= n, where + name + ": what was touched stays resident, whatever is called")
    must(s["touch"].process >= s["sysUsed"].process + n, where + "the process has grown by what was touched")
    must(s["sysUnreserve"].rss <= base + 64, where + "given back: cleared, and no more resident")
    must(s["the end"].maps == [], where + "the break has sunk below the region")
    if not traced:
        return
    for name in NAMES[2:NAMES.index("sysUnreserve")]:
        must(s[name].calls == ["none"], where + name + ": no system call")
    raised = brk_of(s["sysReserveAligned"], -1) - brk_of(s["before"], -1)
    must(n * KB <= raised <= (n + 2 * KB) * KB + 4096, where + "brk rises by the region, and by what aligns it")
    must(brk_of(s["the end"], -1) - brk_of(s["before"], -1) in range(4097), where + "brk sinks to where it was")


def check_usage():
    for args in (["--mib"], ["--mib", "0"], ["--mib", "3"], ["--mib", "-2"], ["--mib", "x"], ["--mib", "5000"], ["--no"], ["FILE"]):
        got = run(*args)
        must(got.returncode == 2 and got.stdout == "" and got.stderr.startswith("gomem os: "), "bad usage %s" % args)
    got = run("--help")
    must(got.returncode == 0 and got.stdout.startswith("usage: gomem os") and "--sbrk" in got.stdout, "--help")


def main():
    refused = re.search(r"  syscall  not traced: (.*)", run().stdout)
    for mib in (2, 8, 64):
        check_mmap(mib, not refused)
        check_sbrk(mib, not refused)
    check_usage()
    for problem in problems:
        print("does not hold: " + problem)
    print("%d of %d relations hold" % (checked - len(problems), checked))
    if problems:
        sys.exit(1)
    if refused:
        print("skipped: system calls, which the system forbids to trace: " + refused.group(1))
        sys.exit(77)


main()
