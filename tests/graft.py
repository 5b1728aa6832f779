#!/usr/bin/env python3
"""graft.py [--long] [PART...]: Go programs run on the port (docs/GRAFT.md). $GOMEM: the command.

Without --long: a program at both levels with --check, two seeded bugs, a recording, refusals, and that nothing else is linked in. --long, or PARTs by name:
  bugs      ten seeded bugs are each stopped, and who stops them
  runtime   Go's runtime tests at both levels, checked and not
  std       the tests of the standard library's packages, at both levels, checked and not
  esbuild   esbuild bundles three.js: the same output as with stock Go (both are fetched)
  programs  gofmt over GOROOT and the compiler on go/types: the same output as stock Go's
  stress    16 goroutines, thousands of cycles
  http      a server under load
  cost      times against stock Go's, in turns
  record    a recording of a program that runs on the port replays
Exit code 0: all as it should be, 1: not, 77: no go1.26.8 here (skipped).
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
GOMEM = os.environ.get("GOMEM", os.path.join(ROOT, "build", "release", "gomem"))
STRESS = os.path.join(ROOT, "tests", "data", "graft", "stress")
ENV = dict(os.environ, GOTOOLCHAIN="local", GOFLAGS="-buildvcs=false", GOWORK="off", GOEXPERIMENT="", CGO_ENABLED="0")
# seeded bug -> what must be named: the operation that differs, or the C function that throws
BUGS = {
    "stale-search-address": ["pageAlloc_free"],
    "summary-merge": ["pageAlloc_alloc", "pageAlloc_free", "pageAlloc_allocToCache", "pageAlloc_update", "pageAlloc_grow", "pageAlloc_find"],
    "page-cache-flush": ["pageCache_flush"],
    "lost-scavenged-bit": ["pageAlloc_scavengeOne"],
    "sweep-free-index": ["mspan_sweep"],
    "free-index-for-scan": ["mspan_sweep"],
    "needzero-after-sweep": ["mspan_sweep"],
    "greentea-nelems": ["mheap_allocSpan"],
    "mcentral-budget": ["mcache_refill"],
    "alloc-bits-word": ["mcache_refill"],
    "uncache-stale": ["mcentral_uncacheSpan"],
}
SHORT_BUGS = ["stale-search-address", "sweep-free-index"]
STD = """sort strings bytes strconv unicode unicode/utf8 bufio container/heap container/list container/ring math math/big math/bits math/rand math/rand/v2
 errors fmt io io/fs path path/filepath regexp regexp/syntax slices maps sync sync/atomic text/template text/tabwriter text/scanner time
 encoding/json encoding/xml encoding/gob encoding/base64 encoding/binary encoding/csv encoding/hex encoding/pem encoding/asn1 compress/flate compress/gzip
 compress/bzip2 archive/tar archive/zip crypto/sha256 crypto/md5 crypto/aes hash/crc32 hash/maphash html html/template image image/png image/jpeg go/ast
 go/parser go/printer go/scanner go/format go/token context log log/slog mime net/url net/netip net/http/cookiejar expvar index/suffixarray iter unique
 weak runtime/debug runtime/trace runtime/metrics internal/trace reflect os bufio""".split()

KINDS = [(level, check) for level in ("pages", "spans") for check in (False, True)]

failures = []
total = 0


def named(level, check):
    return level + (", checked" if check else "")


def say(*words):
    print(*words, flush=True)


def expect(ok, what):
    say("  %s %s" % ("ok    " if ok else "FAILED", what))
    if not ok:
        failures.append(what)


def run(argv, **kw):
    kw.setdefault("env", ENV)
    return subprocess.run(argv, text=True, capture_output=True, **kw)


def graft(level, check, *command, source=ROOT, cwd=None, env=None):
    return run([GOMEM, "graft", "--source", source, "--level", level, *(["--check"] if check else []), "--", "go", *command], cwd=cwd, env=env or ENV)


def counted(text):
    """How many operations a checked program compared; sums into the total."""
    global total
    n = sum(int(x) for x in re.findall(r"gomem graft --check: (\d+) operations equal", text))
    total += n
    return n


def build(tmp, level, check, package, name, cwd=None, source=ROOT):
    out = os.path.join(tmp, "%s-%s%s" % (name, level, "-check" if check else ""))
    done = graft(level, check, "build", "-o", out, package, cwd=cwd, source=source)
    if done.returncode != 0:
        say(done.stderr)
    return out if done.returncode == 0 else None


# ---- parts

def stress(tmp, levels, args, check=True):
    for level in levels:
        binary = build(tmp, level, check, ".", "stress", cwd=STRESS)
        done = run([binary, *args]) if binary else None
        good = done is not None and done.returncode == 0
        n = counted(done.stderr) if done else 0
        expect(good and (n > 0 or not check), "stress %s at level %s: %s; %d operations compared" % (
            " ".join(args), named(level, check), done.stderr.split("\n")[0] if done else "not built", n))
        if done is not None and not good:
            say(done.stderr[:3000])


def bugs(tmp, names):
    if os.environ.get("GRAFT_BUGS"):
        names = os.environ["GRAFT_BUGS"].split()
    for name in names:
        tree = os.path.join(tmp, "tree-" + name)
        shutil.copytree(os.path.join(ROOT, "gomem"), os.path.join(tree, "gomem"))
        patch = os.path.join(ROOT, "fuzz", "seeded", name + ".patch")
        applied = run(["patch", "-p1", "-s", "-i", patch], cwd=tree)
        binary = build(tmp, "spans", True, ".", "bug-" + name, cwd=STRESS, source=tree) if applied.returncode == 0 else None
        if binary is None:
            expect(False, "bug %s: %s" % (name, applied.stdout or "not built"))
            continue
        # The heap begins to be filled, then collected and given back: four workers, so that sets are long enough.
        done = run([binary, "8", "400", "60"])
        said = re.search(r"gomem(?: graft --check)?: (?:gomem\.)?([\w·.]+)[:(].*", done.stderr)
        named = said.group(1) if said and "fatal error: gomem" in done.stderr or said and "fatal error: the allocator in C" in done.stderr else ""
        expect(done.returncode != 0 and named in BUGS[name], "bug %s is stopped: %s" % (name, said.group(0) if named else done.stderr[:300]))


def linked_alone(tmp):
    """Every function of the block comes from the port or from gomem/graft; the port's sources are those of the library."""
    out = os.path.join(tmp, "kept")
    done = run([GOMEM, "graft", "--source", ROOT, "--keep", out, "--", "go", "version"])
    done = run([GOMEM, "graft", "--source", ROOT, "--keep", out, "--", "go", "build", "-o", os.path.join(tmp, "kept.bin"), "."], cwd=STRESS)
    with open(os.path.join(out, "c", "sources.txt")) as f:
        sources = [line.strip() for line in f]
    own = [s for s in sources if os.path.dirname(s) == os.path.join(ROOT, "gomem")]
    listed = open(os.path.join(ROOT, "gomem", "CMakeLists.txt")).read()
    expect(all(os.path.basename(s) in listed for s in own) and len(own) >= 15, "%d sources of the library are compiled" % len(own))
    defined = {}
    for s in sources:
        for line in run(["nm", "--defined-only", os.path.join(out, "c", os.path.basename(s)[:-2] + ".o")]).stdout.splitlines():
            f = line.split()
            if f[1] in "tT":
                defined.setdefault(f[2].replace(".", "_"), s)
    names = re.findall(r"(?m)^TEXT gomem·(?:\w+·)?(\w+)\(SB\)", open(os.path.join(out, "zz_graft_blob_amd64.s")).read())
    alien = [n for n in names if n not in defined and n != "rodata"]
    port = [n for n in names if defined.get(n, "").startswith(os.path.join(ROOT, "gomem") + os.sep) and "/gomem/graft/" not in defined.get(n, "")]
    expect(not alien, "%d C functions in the program: %d of gomem/*.c, %d of gomem/graft, others: %s" % (
        len(names) - 1, len(port), len(names) - 1 - len(port), alien or "none"))
    symbols = run(["go", "tool", "nm", os.path.join(tmp, "kept.bin")]).stdout
    expect(len(re.findall(r"T gomem\.", symbols)) == len(names), "each has a symbol of its own in the program")


def refusals(tmp):
    def refused(what, want, *argv, **kw):
        done = run([GOMEM, "graft", *argv], **kw)
        expect(done.returncode == 2 and want in done.stderr, "%s: %s" % (what, done.stderr.strip().split("\n")[0]))

    refused("another command", "go build", "--source", ROOT, "--", "go", "vet")
    refused("--record of a checked program", "--record does not go", "--source", ROOT, "--check", "--record", "--", "go", "build")
    refused("-race", "-race does not go", "--source", ROOT, "--", "go", "build", "-race")
    goroot = run(["go", "env", "GOROOT"]).stdout.strip()
    fake = os.path.join(tmp, "goroot")
    shutil.copytree(os.path.join(goroot, "src", "runtime"), os.path.join(fake, "src", "runtime"))
    version = os.path.join(fake, "VERSION")
    with open(version, "w") as f:
        f.write("go1.26.7\n")
    refused("another Go", "go1.26.7", "--source", ROOT, "--goroot", fake, "--", "go", "build")
    with open(version, "w") as f:
        f.write("go1.26.8\n")
    changed = os.path.join(fake, "src", "runtime", "mpagealloc.go")
    os.chmod(changed, 0o644)
    text = open(changed).read()
    with open(changed, "w") as f:
        f.write(text.replace("func (p *pageAlloc) free(", "func (p *pageAlloc) release("))
    refused("a function that is not there", "func (p *pageAlloc) free(", "--source", ROOT, "--goroot", fake, "--", "go", "build")
    tree = os.path.join(tmp, "layout")
    shutil.copytree(os.path.join(ROOT, "gomem"), os.path.join(tree, "gomem"))
    header = os.path.join(tree, "gomem", "mheap.h")
    text = open(header).read()
    with open(header, "w") as f:
        f.write(re.sub(r"_Static_assert\(sizeof\(void \*\) != 8 \|\|\s+\(sizeof\(mspan\).*?layout\"\);", "", text, flags=re.S)
                .replace("\tuint16_t nelems;\n\tuint16_t freeIndexForScan;", "\tuint16_t freeIndexForScan;\n\tuint16_t nelems;"))
    done = graft("spans", False, "build", "-o", os.path.join(tmp, "none"), ".", source=tree, cwd=STRESS)
    expect(done.returncode != 0 and "mspan.nelems" in done.stderr.replace("graftLayout_mspan", "mspan"), "another layout is named: %s" % (
        [line for line in done.stderr.split("\n") if "nelems" in line] or [done.stderr[:200]])[0])


def programs(tmp):
    goroot = run(["go", "env", "GOROOT"]).stdout.strip()
    src = os.path.join(goroot, "src")
    stock = os.path.join(tmp, "gofmt-stock")
    run(["go", "build", "-o", stock, "cmd/gofmt"])
    want = run([stock, "-d", "."], cwd=src)
    for level, check in KINDS:
        binary = build(tmp, level, check, "cmd/gofmt", "gofmt")
        got = run([binary, "-d", "."], cwd=src)
        n = counted(got.stderr)
        expect(got.stdout == want.stdout and re.sub(r"gomem graft --check.*\n", "", got.stderr) == want.stderr, "gofmt -d over GOROOT at level %s: %d bytes, the same as stock Go's; %d operations compared" % (
            named(level, check), len(got.stdout) + len(want.stderr), n))
    compiler(tmp, src)


def compile_types(tmp, src, binary, out):
    config = os.path.join(tmp, "importcfg")
    if not os.path.exists(config):
        listed = run(["go", "list", "-export", "-deps", "-f", "{{if .Export}}packagefile {{.ImportPath}}={{.Export}}{{end}}", "go/types"]).stdout
        with open(config, "w") as f:
            f.write("\n".join(line for line in listed.split("\n") if not line.startswith("packagefile go/types=")))
    files = run(["go", "list", "-f", '{{join .GoFiles "\\n"}}', "go/types"]).stdout.split()
    return run([binary, "-p", "go/types", "-std", "-c=4", "-trimpath", src, "-importcfg", config, "-o", out, *files], cwd=os.path.join(src, "go", "types"))


def compiler(tmp, src):
    stock = os.path.join(tmp, "compile-stock")
    run(["go", "build", "-o", stock, "cmd/compile"])
    done = compile_types(tmp, src, stock, os.path.join(tmp, "types-stock.o"))
    want = open(os.path.join(tmp, "types-stock.o"), "rb").read() if done.returncode == 0 else b""
    for level, check in KINDS:
        binary = build(tmp, level, check, "cmd/compile", "compile")
        out = os.path.join(tmp, "types.o")
        done = compile_types(tmp, src, binary, out)
        n = counted(done.stderr)
        got = open(out, "rb").read() if done.returncode == 0 else b"?"
        expect(want != b"" and got == want, "cmd/compile on go/types at level %s: %d bytes, the same as stock Go's; %d operations compared" % (
            named(level, check), len(got), n))


def tests_of(tmp, packages, level, check, what):
    log = os.path.join(tmp, "counts")
    if os.path.exists(log):
        os.unlink(log)
    begin = time.time()
    done = graft(level, check, "test", "-short", "-count=1", "-vet=off", "-timeout=30m", *packages, env=dict(ENV, GOMEM_GRAFT_LOG=log))
    n = counted(open(log).read()) if os.path.exists(log) else 0
    passed = len(re.findall(r"(?m)^ok ", done.stdout))
    failed = re.findall(r"(?m)^FAIL\t(\S+)", done.stdout)
    differ = "C and Go differ" in done.stdout + done.stderr
    expect(not differ and (not failed or what == "std"), "%s at level %s: %d packages pass, fail: %s; %d operations compared, %d s" % (
        what, named(level, check), passed, failed or "none", n, time.time() - begin))
    return failed


def std(tmp):
    failed = set()
    for level, check in KINDS:
        failed.update(tests_of(tmp, sorted(set(STD)), level, check, "std"))
    if failed:
        stock = run(["go", "test", "-short", "-count=1", "-vet=off", *sorted(failed)])
        also = re.findall(r"(?m)^FAIL\t(\S+)", stock.stdout)
        expect(failed <= set(also), "what fails also fails with stock Go: %s of %s" % (also, sorted(failed)))


def cost(tmp):
    """Ratios to stock Go, of runs that take turns: CPU seconds of the compiler on go/types, ns/op of benchmarks of package runtime."""
    src = os.path.join(run(["go", "env", "GOROOT"]).stdout.strip(), "src")
    kinds = ["stock", "stock again", "pages", "spans"]
    compilers, tests = {}, {}
    for kind in kinds[:1] + kinds[2:]:
        compilers[kind], tests[kind] = os.path.join(tmp, "compile-" + kind), os.path.join(tmp, "runtime-" + kind)
        for out, argv in ((compilers[kind], ["build", "-o", compilers[kind], "cmd/compile"]), (tests[kind], ["test", "-c", "-o", tests[kind], "runtime"])):
            done = run(["go", *argv]) if kind == "stock" else graft(kind, False, *argv)
            if done.returncode != 0:
                return expect(False, "not built: %s" % done.stderr[:500])
    compilers["stock again"], tests["stock again"] = compilers["stock"], tests["stock"]
    times = {}
    rounds = int(os.environ.get("GRAFT_ROUNDS", "9"))
    for _ in range(rounds):
        for kind in kinds:
            before = os.times()
            done = compile_types(tmp, src, compilers[kind], os.path.join(tmp, "cost.o"))
            after = os.times()
            expect_quiet(done.returncode == 0, "the compiler ends with %d" % done.returncode)
            times.setdefault(("cmd/compile go/types, CPU s", kind), []).append(
                after.children_user + after.children_system - before.children_user - before.children_system)
    names = "^Benchmark(Malloc8|Malloc16|Malloc2|MallocTypeInfo8|AllocatedLargeSlice|MakeSlice|NewEmptyMap|MakeMap|AppendGrowth|SetTypePtrSlice|GCWork|ScanStackNoLocals|PageAlloc|ReadMemStats|FindBitRange64|PallocBitsSummarize)"
    for _ in range(min(rounds, 5)):
        for kind in kinds:
            done = run([tests[kind], "-test.run=^$", "-test.bench=" + names, "-test.benchtime=50ms"], cwd=os.path.join(src, "runtime"))
            for name, ns in re.findall(r"(?m)^Benchmark(\S+?)(?:-\d+)?\s+\d+\s+([\d.]+) ns/op", done.stdout):
                times.setdefault((name, kind), []).append(float(ns))
    say("  %-44s %12s %s" % ("median; ratio to stock (lowest-highest)", "stock", "".join("%24s" % k for k in kinds[1:])))
    for name in dict.fromkeys(n for n, _ in times):
        stock = times[name, "stock"]
        line = "  %-44s %12.4g " % (name, sorted(stock)[len(stock) // 2])
        for kind in kinds[1:]:
            ratios = sorted(a / b for a, b in zip(times.get((name, kind), []), stock))
            line += "%24s" % ("%.2f (%.2f-%.2f)" % (ratios[len(ratios) // 2], ratios[0], ratios[-1]) if ratios else "-")
        say(line)


def expect_quiet(ok, what):
    if not ok:
        expect(ok, what)


ESBUILD, THREE = "0.25.5", "0.170.0"


def esbuild(tmp):
    """esbuild bundles three.js: the same output as with stock Go. Both are fetched."""
    done = run(["go", "mod", "download", "-json", "github.com/evanw/esbuild@v" + ESBUILD])
    if done.returncode != 0:
        return say("  SKIPPED: esbuild cannot be fetched: %s" % (done.stdout + done.stderr).strip()[:200])
    source = json.loads(done.stdout)["Dir"]
    archive = os.path.join(tmp, "three.tgz")
    try:
        urllib.request.urlretrieve("https://registry.npmjs.org/three/-/three-%s.tgz" % THREE, archive)
    except OSError as error:
        return say("  SKIPPED: three.js cannot be fetched: %s" % error)
    with tarfile.open(archive) as tar:
        tar.extractall(os.path.join(tmp, "three"))
    project = os.path.join(tmp, "three", "package")
    stock = os.path.join(tmp, "esbuild-stock")
    run(["go", "build", "-o", stock, "./cmd/esbuild"], cwd=source)
    binaries = {(level, check): build(tmp, level, check, "./cmd/esbuild", "esbuild", cwd=source) for level, check in KINDS}
    for options in ([], ["--minify"]):
        argv = ["src/Three.js", "--bundle", "--format=esm", "--log-level=error", *options]
        want = run([stock, *argv], cwd=project)
        for (level, check), binary in binaries.items():
            got = run([binary, *argv], cwd=project) if binary else None
            n = counted(got.stderr) if got else 0
            expect(got is not None and want.returncode == 0 and got.stdout == want.stdout, "esbuild %s bundles three.js %s%s at level %s: %d bytes, the same as stock Go's; %d operations compared" % (
                ESBUILD, THREE, ", minified" if options else "", named(level, check), len(want.stdout), n))


def http(tmp):
    server = os.path.join(ROOT, "tests", "data", "graft", "http")
    for level, check in KINDS:
        binary = build(tmp, level, check, ".", "http", cwd=server)
        done = run([binary, "300"]) if binary else None
        n = counted(done.stderr) if done else 0
        expect(done is not None and done.returncode == 0, "an HTTP server under load at level %s: %s; %d operations compared" % (
            named(level, check), done.stderr.split("\n")[0] if done else "not built", n))


def record(tmp, level, name, package, args, build_in=None, run_in=None, source=ROOT, equal=True):
    """A program that runs on the port is recorded, and the recording replays: every decision equal, or not."""
    binary, raw, gmt = (os.path.join(tmp, "record." + end) for end in ("bin", "raw", "gmt"))
    done = run([GOMEM, "graft", "--source", source, "--level", level, "--record", "--", "go", "build", "-o", binary, package], cwd=build_in)
    if done.returncode != 0:
        return expect(False, "%s --record at level %s: %s" % (name, level, done.stderr[:500]))
    for procs in ("1", "4"):
        for _ in range(3):  # the end of the program may cut a thread of the runtime's short that has taken a turn: then the log ends there
            with open(raw, "wb") as f:  # traces/recorder/RAW.md
                f.write((b"GOMEMRAW" + (1).to_bytes(8, "little")).ljust(32, b"\0") + (1 << 18).to_bytes(8, "little") + b"\0" * (4096 - 40))
            got = run(["sh", "-c", 'GOMEM_RECORD="$$:$0" exec "$@"', raw, binary, *args], cwd=run_in, env=dict(ENV, GOMAXPROCS=procs))
            made = run([GOMEM, "record", "-f", "-o", gmt, "--raw", raw])
            if "the end of the log is missing" not in made.stderr:
                break
            say("  once more: %s" % made.stderr.strip())
        replayed = run([GOMEM, "replay", gmt])
        verdict = re.search(r"verdict .*", replayed.stdout)
        whole = got.returncode == 0 and made.returncode == 0 and "is missing" not in made.stderr
        expect(whole and (replayed.returncode == 0) == equal and ("every decision equal" in replayed.stdout) == equal,
               "%s at level %s, GOMAXPROCS=%s, recorded and replayed: %s" % (
                   name, level, procs, verdict.group(0) if verdict else (got.stderr + made.stderr + replayed.stdout + replayed.stderr)[:500]))


def records(tmp):
    src = os.path.join(run(["go", "env", "GOROOT"]).stdout.strip(), "src")
    for level in ("pages", "spans"):
        record(tmp, level, "gofmt", "cmd/gofmt", ["-l", "encoding", "net", "cmd/compile/internal/ssa"], run_in=src)
        record(tmp, level, "stress 8 400 20", ".", ["8", "400", "20"], build_in=STRESS)
    tree = os.path.join(tmp, "tree-record")
    for part in ("gomem", os.path.join("traces", "recorder")):
        shutil.copytree(os.path.join(ROOT, part), os.path.join(tree, part))
    name = os.path.join(tree, "gomem", "mcache.c")
    text = open(name).read()
    with open(name, "w") as f:
        f.write(text.replace("\tlab_event(env, EV_REFILL, ", "\t(void)(env, EV_REFILL, "))
    record(tmp, "spans", "stress, whose refills are not logged,", ".", ["8", "60", "5"], build_in=STRESS, source=tree, equal=False)


def main():
    version = run(["go", "env", "GOVERSION"]) if shutil.which("go") else None
    if version is None or version.stdout.strip().split(" ")[0] != "go1.26.8" or os.uname().machine != "x86_64":
        say("SKIPPED: needs go1.26.8 on linux/amd64")
        return 77
    words = sys.argv[1:]
    if "--help" in words or "-h" in words:
        say(__doc__)
        return 0
    long = "--long" in words
    parts = [w for w in words if not w.startswith("-")]
    everything = ["alone", "refusals", "bugs", "stress", "programs", "record", "runtime", "std", "esbuild", "http"]
    if not parts:
        parts = everything if long else ["alone", "refusals", "short"]
    with tempfile.TemporaryDirectory() as tmp:
        for part in parts:
            say("%s:" % part)
            if part == "alone":
                linked_alone(tmp)
            elif part == "refusals":
                refusals(tmp)
            elif part == "short":
                stress(tmp, ["pages", "spans"], ["8", "60", "5"])
                bugs(tmp, SHORT_BUGS)
                record(tmp, "spans", "stress 8 60 5", ".", ["8", "60", "5"], build_in=STRESS)
            elif part == "bugs":
                bugs(tmp, list(BUGS))
            elif part == "stress":
                stress(tmp, ["pages", "spans"], ["16", "3000", "240"])
                stress(tmp, ["pages", "spans"], ["16", "3000", "120"], check=False)
            elif part == "programs":
                programs(tmp)
            elif part == "runtime":
                for level, check in KINDS:
                    tests_of(tmp, ["runtime"], level, check, "runtime")
            elif part == "record":
                records(tmp)
            elif part == "cost":
                cost(tmp)
            elif part == "http":
                http(tmp)
            elif part == "esbuild":
                esbuild(tmp)
            elif part == "std":
                std(tmp)
            else:
                say("there is no part %s" % part)
                return 2
    say("%d operations compared, %d failures" % (total, len(failures)))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
