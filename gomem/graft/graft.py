#!/usr/bin/env python3
"""graft.py [--level pages|spans] [--check] --sources DIR --goroot DIR --out DIR

Makes the overlay for `go build -overlay=OUT/overlay.json` that puts the C functions of gomem into Go's runtime. DIR of --sources holds gomem/. Nothing
is written but in OUT. `gomem graft` runs this; exit code 2 and one line that says what, if Go, the compiler or the sources do not fit.
"""
import argparse
import json
import os
import re
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import blob  # noqa: E402
import edits  # noqa: E402
from blob import Refused, run  # noqa: E402

VERSION = "go1.26.8"
SPANS = ["mheap.c", "mcentral.c", "mgcsweep.c", "mspanset.c", "mfixalloc.c", "gcbits.c", "mbitmap.c", "mcache.c", "lfstack.c", "persistentalloc.c"]
PAGES = ["mpallocbits.c", "mpagealloc.c", "mpagecache.c", "mgcscavenge.c", "mranges.c"]
HERE = os.path.dirname(os.path.abspath(__file__))


# ---- Go's sources

def check_version(goroot):
    try:
        with open(os.path.join(goroot, "VERSION")) as f:
            version = f.readline().strip()
    except OSError as e:
        raise Refused("no Go installation in %s: %s" % (goroot, e.strerror)) from None
    if version != VERSION:
        raise Refused("%s is %s; the port is of %s, and its functions fit no other runtime" % (goroot, version, VERSION))


class Runtime:
    """The files of package runtime, edited in memory."""

    def __init__(self, goroot):
        self.dir = os.path.join(goroot, "src", "runtime")
        self.files = {}  # where a file stands that is not Go's own any more
        self.text = {}

    def read(self, name):
        if name not in self.text:
            with open(self.files.get(name, os.path.join(self.dir, name))) as f:
                self.text[name] = f.read()
        return self.text[name]

    def extent(self, name, head):
        """Where the declaration that begins with head begins and ends, and its body."""
        text = self.read(name)
        if text.count("\n" + head) != 1:
            raise Refused("%s: \"%s\" is there %d times, not once" % (name, head, text.count("\n" + head)))
        start = text.index("\n" + head) + 1
        brace = text.index("{\n", start) + 2
        end = text.index("\n}\n", start) + 1
        return start, brace, end

    def body(self, name, head, new):
        _, brace, end = self.extent(name, head)
        text = self.text[name]
        self.text[name] = text[:brace] + new + text[end:]

    def put(self, name, head, how, old, new, n=1):
        start, _, end = self.extent(name, head)
        text = self.text[name]
        part = text[start:end]
        if part.count(old) != n:
            raise Refused("%s: in \"%s\": %r is there %d times, not %d" % (name, head, old, part.count(old), n))
        if how == "cut":  # the whole line that begins so
            at = part.index(old)
            part = part[:at] + new + part[part.index("\n", at) + 1:]
        else:
            part = part.replace(old, {"before": new + old, "after": old + new, "instead": new}[how])
        self.text[name] = text[:start] + part + text[end:]

    def cut(self, name, head, first, last):
        """Removes what begins with first and ends with last."""
        start, _, end = self.extent(name, head)
        text = self.text[name]
        part = text[start:end]
        if part.count(first) != 1 or last not in part[part.index(first):]:
            raise Refused("%s: in \"%s\": %r is not there" % (name, head, first))
        at = part.index(first)
        part = part[:at] + part[part.index(last, at) + len(last):]
        self.text[name] = text[:start] + part + text[end:]

    def name(self, name, head, new):
        start, _, _ = self.extent(name, head)
        text = self.text[name]
        self.text[name] = text[:start] + new + text[start + len(head):]

    def part(self, name, head, first, last):
        start, _, end = self.extent(name, head)
        part = self.text[name][start:end]
        if part.count(first) != 1 or part.count(last) != 1:
            raise Refused("%s: in \"%s\": %r or %r is not there once" % (name, head, first, last))
        return part[part.index(first):part.index(last)]

    def prune_imports(self):
        """An edited file imports what it still uses."""
        for name, text in self.text.items():
            at = text.index("import (")
            end = text.index("\n)\n", at)
            rest = re.sub(r"(?m)//.*$", "", text[end:])
            keep = [line for line in text[at:end].split("\n")
                    if not (m := re.match(r'\t(?:(\w+) )?"(?:.*/)?(\w+)"', line)) or m.group(1) == "_" or re.search(r"\b%s\." % (m.group(1) or m.group(2)), rest)]
            self.text[name] = text[:at] + "\n".join(keep) + text[end:]

    def line(self, name, old, new, n=1):
        text = self.read(name)
        if text.count(old) != n:
            raise Refused("%s: %r is there %d times, not %d" % (name, old, text.count(old), n))
        self.text[name] = text.replace(old, new)

    def apply(self, table):
        for what, *args in table:
            getattr(self, what)(*args)


# ---- Go's own functions, for --check

ORIGINALS = {
    "mpagealloc.go": ["(p *pageAlloc) update(", "(p *pageAlloc) allocRange(", "(p *pageAlloc) findMappedAddr(", "(p *pageAlloc) find(",
                      "(p *pageAlloc) alloc(", "(p *pageAlloc) free(", "(p *pageAlloc) markRandomPaddingPages(", "mergeSummaries("],
    "mpagecache.go": ["(c *pageCache) alloc(", "(c *pageCache) allocN(", "(c *pageCache) flush(", "(p *pageAlloc) allocToCache("],
    "mpallocbits.go": ["(b *pageBits) setRange(", "(b *pageBits) clearRange(", "(b *pageBits) popcntRange(", "(b *pallocBits) summarize(",
                       "(b *pallocBits) find(", "(b *pallocBits) find1(", "(b *pallocBits) findSmallN(", "(b *pallocBits) findLargeN(",
                       "(b *pallocBits) allocRange(", "(b *pallocBits) free(", "findBitRange64(", "(m *pallocData) allocRange("],
    "mgcscavenge.go": ["fillAligned(", "(m *pallocData) findScavengeCandidate(", "(s *scavengeIndex) find(", "(s *scavengeIndex) alloc(",
                       "(s *scavengeIndex) free(", "(s *scavengeIndex) nextGen(", "(sc *scavChunkData) alloc(", "(sc *scavChunkData) free("],
}


def parts_of(runtime, table):
    """Functions that are parts of Go's text."""
    text = ["// Parts of Go's own functions that stay Go's. Made by gomem graft.\n\npackage runtime\n\nimport \"unsafe\"\n\nvar _ unsafe.Pointer\n"]
    for new, name, head, first, last in table:
        part = runtime.part(name, head, first, last)
        text.append("\n" + new + re.sub(r"(?m)^\s*//.*\n", "", part) + "}\n")
    return "".join(text)


ORIGINALS_SPANS = {
    "mspanset.go": ["(b *spanSet) push(", "(b *spanSet) pop("],
    "mbitmap.go": ["(s *mspan) refillAllocCache(", "(s *mspan) nextFreeIndex("],
}


def originals(runtime, table):
    """The functions that the C functions replace, under names with orig_, calling each other."""
    names = {h.rsplit(" ", 1)[-1].rstrip("(") for heads in table.values() for h in heads}
    call = re.compile(r"(?<![\w])(%s)\(" % "|".join(sorted(names, key=len, reverse=True)))
    text = ["// Go's own functions, as they stand in its runtime, under other names. Made by gomem graft --check.\n\npackage runtime\n\n",
            "import (\n\t\"internal/cpu\"\n\t\"internal/goarch\"\n\t\"internal/runtime/sys\"\n\t\"unsafe\"\n)\n\n",
            "var _ unsafe.Pointer\nvar _ = sys.OnesCount64\nvar _ = goarch.PtrSize\nvar _ = cpu.CacheLineSize\n"]
    for name, heads in table.items():
        for head in heads:
            start, _, end = runtime.extent(name, "func " + head)
            body = re.sub(r"(?m)^\s*//.*\n", "", runtime.text[name][start:end + 2])
            text.append("\n" + call.sub(r"orig_\1(", body))
    return "".join(text)


# ---- the recorder

def recorder(args, runtime, out, files):
    """The recorder's overlay below this one: the C functions take the place of functions that it has changed."""
    if args.check:
        raise Refused("--record does not go with --check, which does each operation a second time")
    env = dict(os.environ, GOFLAGS="", GOWORK="off", GOEXPERIMENT="", GO111MODULE="on", GOTOOLCHAIN="local", CGO_ENABLED="0")
    sources = os.path.join(os.path.abspath(args.sources), "traces", "recorder")
    made = os.path.join(out, "recorder")
    run("go", "run", ".", "-record", os.path.join(sources, "zz_gomem_record.go"), args.goroot, made, cwd=os.path.join(sources, "overlay"), env=env)
    for path, to in json.loads(read(made, "overlay.json"))["Replace"].items():
        name = os.path.basename(path)
        runtime.files[name] = to
        runtime.read(name)
    files["zz_graft_record.go"] = read(os.path.abspath(args.sources), "gomem", "graft", "zz_graft_record.go")


# ---- layout

FIELD = re.compile(r'->LAYOUT ([^ ]+) ([^ ]+) \$?(\d+)')


def layout(cc, include, source, defines, work):
    """[(Go expression, what it is called, value)] that C has; the Go compiler compares."""
    out = os.path.join(work, "layout.s")
    run(cc, *blob.CFLAGS, *defines, "-I", include, "-o", out, source)
    with open(out) as f:
        return FIELD.findall(f.read())


def offsetof(name, field):
    """Go's Offsetof of a.b is counted from a."""
    path = field.split(".")
    places = ["Offsetof(graftLayout_%s.%s)" % (name, ".".join(path[:i + 1])) for i in range(len(path))]
    return places[0] if len(places) == 1 else "%s + unsafe.%s" % tuple(places)


def layout_go(fields):
    """Each line compiles only if Go has the same number."""
    text = ["package runtime\n\nimport \"unsafe\"\n\n// The layout of the C structures. Where Go's is another, the line does not compile.\nvar (\n"]
    types = sorted({name.split(".")[0] for name, field, _ in fields})
    text += ["\tgraftLayout_%s %s\n" % (t, t) for t in types if t[0].islower()]
    text.append(")\n\nconst (\n")
    for name, field, value in fields:
        what = "Sizeof(graftLayout_%s)" % name if field == "sizeof" else offsetof(name, field)
        text.append("\t_ = -uint((unsafe.%s) ^ %s) // %s.%s\n" % (what, value, name, field))
    text.append(")\n")
    return "".join(text)


# ---- all

def entries(text):
    """[(Go function, C function)] of the ENTER lines."""
    return re.findall(r"^ENTER\(·(\w+), gomem·(\w+)\)", text, re.M)


def read(*path):
    with open(os.path.join(*path)) as f:
        return f.read()


def make(args):
    goroot, out = os.path.abspath(args.goroot), os.path.abspath(args.out)
    check_version(goroot)
    work = os.path.join(out, "c")
    os.makedirs(work, exist_ok=True)
    include = os.path.abspath(args.sources)
    gomem = os.path.join(include, "gomem")
    glue = os.path.join(gomem, "graft")
    sources = [os.path.join(gomem, f) for f in PAGES] + [os.path.join(glue, f) for f in ("platform_go.c", "pages.c")]
    defines = []
    wraps = []
    assembly = read(glue, "zz_graft_amd64.s") + read(glue, "pages_amd64.s")
    level = read(glue, "zz_graft_%s.go" % args.level)
    files = {"zz_graft_graft.go": read(glue, "zz_graft_graft.go"), "zz_graft_level.go": level}
    runtime = Runtime(goroot)
    table = edits.COMMON + edits.PAGES
    if args.record:
        recorder(args, runtime, out, files)
        table = table + edits.RECORD
        defines.append("-DGOMEM_LAB=1")
    else:
        files["zz_graft_norecord.go"] = "package runtime\n\nfunc graftLabTurn() {}\n\nfunc graftLabEvent(ev, a, b, c, d uint64) {}\n"
    if args.level == "spans":
        sources += [os.path.join(gomem, f) for f in SPANS] + [os.path.join(glue, "spans.c")]
        wraps += re.findall(r"\n\S.*__wrap_(\w+)\(.*\{", read(glue, "spans.c"))
        assembly += read(glue, "spans_amd64.s")
        defines.append("-DGRAFT_SPANS")
        files["zz_graft_parts.go"] = parts_of(runtime, edits.PARTS)
        table = table + edits.SPANS + (edits.SPANS_RECORD if args.record else edits.SPANS_NORECORD)
        if args.record:
            sources.append(os.path.join(glue, "record_spans.c"))
            wraps += re.findall(r"__wrap_(\w+)\(", read(glue, "record_spans.c"))
    if args.check:
        sources.append(os.path.join(glue, "check.c"))
        wraps += re.findall(r"__wrap_(\w+)\(", read(glue, "check.c"))
        files["zz_graft_orig.go"] = originals(runtime, ORIGINALS)
        files["zz_graft_check.go"] = read(glue, "zz_graft_check.go")
        defines.append("-DGRAFT_CHECK")
        if args.level == "spans":
            sources.append(os.path.join(glue, "check_spans.c"))
            wraps += re.findall(r"__wrap_(\w+)\(", read(glue, "check_spans.c"))
            files["zz_graft_orig_spans.go"] = originals(runtime, ORIGINALS_SPANS)
            files["zz_graft_check_spans.go"] = read(glue, "zz_graft_check_spans.go")
        else:
            files["zz_graft_nospans.go"] = read(glue, "zz_graft_nospans.go")
        table = table + edits.CHECK
    else:
        files["zz_graft_nocheck.go"] = read(glue, "zz_graft_nocheck.go")
    runtime.apply(table)
    runtime.prune_imports()

    with open(os.path.join(work, "sources.txt"), "w") as f:
        f.write("".join(s + "\n" for s in sources))
    objects = blob.compile_all(args.cc, include, sources, defines, work)
    elf = blob.link(objects, [c for _, c in entries(assembly)], wraps, os.path.join(glue, "blob.ld"), work)
    parts, data = blob.emit(elf, os.path.join(out, "zz_graft_blob_amd64.s"))
    files["zz_graft_amd64.s"] = assembly
    files["zz_graft_offsets.go"] = "package runtime\n\nconst (\n\tgraftBytes = %d\n\tgraftSum   = %#x\n)\n\nvar graftOffsets = [...]uint32{%s}\n" % (
        len(data), blob.checksum(data), ", ".join(str(start) for _, start, _ in parts))
    files["zz_graft_layout.go"] = layout_go(layout(args.cc, include, os.path.join(glue, "layout.c"), defines, work))
    files.update(runtime.text)
    for name, text in files.items():
        with open(os.path.join(out, name), "w") as f:
            f.write(text)
    replace = {os.path.join(runtime.dir, n): os.path.join(out, n) for n in [*files, "zz_graft_blob_amd64.s"]}
    with open(os.path.join(out, "overlay.json"), "w") as f:
        json.dump({"Replace": replace}, f, indent=1)
    return parts, data


def go_env():
    names = ["GOVERSION", "GOOS", "GOARCH", "GOEXPERIMENT", "GOFLAGS", "GOROOT"]
    values = run("go", "env", *names).split("\n")
    env = dict(zip(names, values))
    if (env["GOOS"], env["GOARCH"]) != ("linux", "amd64"):
        raise Refused("%s/%s: only linux/amd64 has trampolines" % (env["GOOS"], env["GOARCH"]))
    for flag in ("race", "asan", "msan", "overlay"):
        if re.search(r"(^|[\s'\"])--?%s(=(?!false|0\b)|$|[\s'\"])" % flag, env["GOFLAGS"]):
            raise Refused("-%s in GOFLAGS does not go with the C functions" % flag)
    for experiment in ("arenas", "runtimefreegc", "sizespecializedmalloc"):
        if experiment in env["GOEXPERIMENT"].split(","):
            raise Refused("GOEXPERIMENT=%s does not go with the C functions" % experiment)
    return env


def check_command(command):
    """Where the go command's own flags begin."""
    if len(command) < 2 or os.path.basename(command[0]) != "go" or command[1] not in ("build", "run", "test"):
        raise Refused("after -- comes `go build`, `go run` or `go test`")
    for word in command[2:]:
        name = word.lstrip("-").split("=")[0]
        if word.startswith("-") and name in ("race", "asan", "msan", "overlay", "linkmode"):
            raise Refused("%s does not go with the C functions" % word)
        if word == "--" or word == "-args":
            break


def wait_for(go):
    """The go command removes its own directories if it is interrupted: by the terminal, or by this."""
    signal.signal(signal.SIGINT, lambda *_: None)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: go.send_signal(signal.SIGINT))
    status = go.wait()
    return 128 - status if status < 0 else status


def main():
    parser = argparse.ArgumentParser(prog="gomem graft", usage="gomem graft [OPTIONS] -- go build|run|test ARGS")
    parser.add_argument("--level", choices=["pages", "spans"], default="spans")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--source", "--sources", dest="sources", action="append", required=True)
    parser.add_argument("--goroot")
    parser.add_argument("--out", required=True)
    parser.add_argument("--keep")
    parser.add_argument("--cc", default=os.environ.get("CC", "gcc"))
    parser.add_argument("command", nargs="*")
    args = parser.parse_args()
    args.sources = args.sources[0]
    try:
        if args.command:
            check_command(args.command)
        env = go_env() if args.goroot is None or args.command else {}
        args.goroot = args.goroot or env["GOROOT"]
        args.out = args.keep or args.out
        parts, data = make(args)
    except Refused as e:
        print("gomem graft: %s" % e, file=sys.stderr)
        return 2
    if not args.command:
        print("%d functions, %d bytes" % (len(parts), len(data)))
        return 0
    overlay = "-overlay=" + os.path.join(os.path.abspath(args.out), "overlay.json")
    env = dict(os.environ, CGO_ENABLED="0", GOTOOLCHAIN="local")
    return wait_for(subprocess.Popen([*args.command[:2], overlay, *args.command[2:]], env=env))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
