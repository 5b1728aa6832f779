#!/usr/bin/env python3
"""What `cmake --install` installs serves a C and a C++ program, in each way that one may ask for it; and gomem as a part of another project is the
library alone.

usage: install.py BUILD_FOLDER      needs $GOMEM_SOURCE_DIR"""
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

from checks import check, end, run

ROOT = Path(os.environ["GOMEM_SOURCE_DIR"])
HERE = ROOT / "tests/install"


def must(*args, **kwargs):
    got = run(*args, **kwargs)
    if got.returncode != 0:
        sys.exit("%s: exit code %d\n%s%s" % (" ".join(map(str, args)), got.returncode, got.stdout, got.stderr))
    return got.stdout


def works(what, program, library=None):
    """The program runs, and is linked with the library that it asked for."""
    got = run(program)
    check(what, got.returncode == 0 and got.stdout == "kept\n", got.stdout + got.stderr)
    if library is not None:
        needed = re.findall(r"NEEDED.*\[(.*)\]", must("readelf", "-d", program))
        check(what + ": " + ("libgomem.so.0" if library == "shared" else "no libgomem.so"),
              ("libgomem.so.0" in needed) == (library == "shared"), needed)


def with_cmake(work, how, prefix=None, shared=False):
    name = "%s, %s" % (how, "shared" if shared else "static")
    build = work / name.replace(", ", "-")
    options = ["-DHOW=" + how, "-DGOMEM_SOURCE=%s" % ROOT, "-DBUILD_SHARED_LIBS=%s" % ("ON" if shared else "OFF"), "-DCMAKE_BUILD_TYPE=Release"]
    if prefix is not None:
        options.append("-DCMAKE_PREFIX_PATH=%s" % prefix)
    must("cmake", "-S", HERE, "-B", build, "-G", "Ninja", *options)
    must("cmake", "--build", build)
    library = ("shared" if shared else "static") if prefix is not None else None
    works("C, %s" % name, build / "consumer_c", library)
    works("C++, %s" % name, build / "consumer_cc", library)
    return build


def with_pkg_config(work, prefix, shared):
    pc = next(prefix.glob("**/gomem.pc"))
    env = dict(os.environ, PKG_CONFIG_PATH=str(pc.parent))
    flags = must("pkg-config", "--cflags", "--libs", *([] if shared else ["--static"]), "gomem", env=env).split()
    libdir = pc.parent.parent
    if shared:
        flags.append("-Wl,-rpath,%s" % libdir)
    else:
        flags = [str(libdir / "libgomem.a") if f == "-lgomem" else f for f in flags]
    for compiler, standard, language in (("cc", "c17", "c"), ("c++", "c++17", "c++")):
        program = work / ("pc-%s-%s" % (standard, shared))
        must(compiler, "-std=" + standard, "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-x", language, HERE / "consumer.c", "-x", "none", "-o", program,
             *flags)
        works("%s, pkg-config, %s" % (language.upper(), "shared" if shared else "static"), program, "shared" if shared else "static")


def library_alone(build):
    """A project that contains gomem gets no more than the library: nothing else is built, or looked for, and warnings are no errors."""
    found = re.findall(r"^(?:ZSTD|CJSON|XXHASH|CMOCKA|benchmark|PROTOBUF|ZLIB|Python3)\w*", (build / "CMakeCache.txt").read_text(), re.M | re.I)
    check("nothing else is looked for", not found, found)
    built = sorted(p.name for p in build.glob("**/*.a"))
    check("one library is built", built == ["libgomem.a"], built)
    commands = must("ninja", "-C", build, "-t", "commands")
    check("warnings are no errors", "-Werror" not in commands)
    check("no tests", not (build / "gomem/lib/tests").exists() and not list(build.glob("_deps/**/lib/tests")))


def public_names():
    names = set()
    for header in ("gomem.h", "world.h"):
        names |= set(re.findall(r"^GOMEM_API [^(]*?(\w+)\(", (ROOT / "gomem" / header).read_text(), re.M))
    return names


def symbols(prefix):
    library = next(prefix.glob("**/libgomem.so"))
    shown = {line.split()[-1].split("@")[0] for line in must("nm", "-D", "--defined-only", library).splitlines()}
    names = public_names()
    check("the shared library shows the %d names of its headers, and no other" % len(names), shown == names, sorted(shown ^ names))
    soname = re.search(r"SONAME.*\[(.*)\]", must("readelf", "-d", library)).group(1)
    check("its soname is libgomem.so.0", soname == "libgomem.so.0", soname)
    check("its file has the whole version", library.resolve().name == "libgomem.so.0.1.0", library.resolve())


def headers(prefix):
    for header in sorted((prefix / "include/gomem").iterdir()):
        for language, standard in (("c", "c17"), ("c++", "c++17")):
            got = run("c++" if language == "c++" else "cc", "-std=" + standard, "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror",
                      "-I", prefix / "include", "-fsyntax-only", "-x", language, header)
            check("%s compiles alone, as %s" % (header.name, standard.upper()), got.returncode == 0, got.stderr)


def command(prefix):
    program = prefix / "bin/gomem"
    got = run(program, "replay", ROOT / "tests/controls/goroutines-p4.gmt")
    check("the installed command replays", got.returncode == 0 and "every decision equal" in got.stdout, got.stdout + got.stderr)
    page = prefix / "share/man/man1/gomem.1"
    check("its page is there", page.exists())
    if shutil.which("man") is not None:
        got = run("man", "-l", "--warnings", page, env=dict(os.environ, MANROFFSEQ="", LC_ALL="C.UTF-8"))
        check("man shows it without a warning", "gomem explain" in got.stdout and got.stderr == "", got.stderr)
    for line, wants in (("gomem re", ["record", "replay", "report"]), ("gomem layout --j", ["--json"]), ("gomem replay --mis", ["--mismatches"]),
                        *(("gomem %s --sal" % c, ["--salvage"]) for c in ("whatif", "info", "dump"))):
        script = 'PATH=%s:$PATH; . %s; COMP_WORDS=(%s); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _gomem gomem "${COMP_WORDS[COMP_CWORD]}"; echo "${COMPREPLY[@]}"'
        got = run("bash", "-c", script % (program.parent, prefix / "share/bash-completion/completions/gomem", line))
        check("bash completes %s" % line, sorted(got.stdout.split()) == wants, got.stdout + got.stderr)
    if shutil.which("fish") is None:
        return
    (program.parent / "map-of-it.svg").touch()
    for line, wants in (("gomem whatif --sal", ["--salvage"]), ("gomem whatif --plot=map-o", ["--plot=map-of-it.svg"]), ("gomem stat map-o", ["map-of-it.svg"])):
        script = "source %s; complete -C '%s'" % (prefix / "share/fish/vendor_completions.d/gomem.fish", line)
        got = run("fish", "-c", script, cwd=program.parent, env=dict(os.environ, PATH="%s:%s" % (program.parent, os.environ["PATH"])))
        check("fish completes %s" % line, got.stdout.split() == wants, got.stdout + got.stderr)


def main(argv):
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        must("cmake", "--install", argv[0], "--prefix", work / "built")
        # Where it was installed to is not where it is used.
        prefix = (work / "built").rename(work / "moved")
        headers(prefix)
        symbols(prefix)
        command(prefix)
        for shared in (False, True):
            with_cmake(work, "package", prefix, shared)
            if shutil.which("pkg-config") is not None:
                with_pkg_config(work, prefix, shared)
        for how in ("subdirectory", "fetch"):
            library_alone(with_cmake(work, how))
    return end("" if shutil.which("pkg-config") else "; pkg-config is not there: not asked")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
