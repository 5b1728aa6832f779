#!/usr/bin/env python3
"""./dev release: the same bytes twice, sums that hold, a bill of materials that names each file of the tarball, and a library that the tarball builds.

The release is of what is committed here. Skipped (77) without git, or where this is not a repository. needs $GOMEM_SOURCE_DIR and $CC"""
import hashlib
import json
import os
import re
import sys
import tarfile
import tempfile
from pathlib import Path

from checks import check, end, run

ROOT = Path(os.environ["GOMEM_SOURCE_DIR"]).resolve()


def make(output, *args, mask=0o022, zone="UTC"):
    old = os.umask(mask)
    got = run(sys.executable, "-B", ROOT / "tools/release.py", "--output", output, *args, env={**os.environ, "TZ": zone})
    os.umask(old)
    return got


def sums_hold(folder):
    return run("sha256sum", "--strict", "-c", "SHA256SUMS", cwd=folder).returncode == 0


def hashes(data):
    return {"SHA1": hashlib.sha1(data).hexdigest(), "SHA256": hashlib.sha256(data).hexdigest()}


def hashes_inside(tarball):
    with tarfile.open(tarball) as members:
        return {"./" + m.name.split("/", 1)[1]: hashes(members.extractfile(m).read()) for m in members if m.isreg()}


def complaints(bill, tar_sum, inside, version):
    """What is wrong with the bill of materials, where inside are the files of the tarball and tar_sum is its own hash; written from SPDX 2.3, not from what makes it."""
    bad = []

    def need(what, good):
        if not good:
            bad.append(what)

    need("header", (bill["spdxVersion"], bill["dataLicense"], bill["SPDXID"]) == ("SPDX-2.3", "CC0-1.0", "SPDXRef-DOCUMENT"))
    need("namespace", re.fullmatch(r"https://[^#\s]+", bill["documentNamespace"]))
    need("created", re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", bill["creationInfo"]["created"]))
    need("creators", bill["creationInfo"]["creators"] and all(re.match("(Tool|Person|Organization): ", c) for c in bill["creationInfo"]["creators"]))
    ids = [bill["SPDXID"]] + [item["SPDXID"] for item in bill["packages"] + bill["files"]]
    need("an id twice", len(ids) == len(set(ids)))
    need("form of an id", all(re.fullmatch(r"SPDXRef-[A-Za-z0-9.-]+", i) for i in ids))
    for relation in bill["relationships"]:
        need("relation to nothing: %s" % relation, {relation["spdxElementId"], relation["relatedSpdxElement"]} <= set(ids))
    listed = {f["fileName"]: {c["algorithm"]: c["checksumValue"] for c in f["checksums"]} for f in bill["files"]}
    need("files: %s" % sorted(set(inside) ^ set(listed))[:3], set(inside) == set(listed) and len(listed) == len(bill["files"]))
    need("hashes: %s" % [n for n in inside if listed.get(n) != inside[n]][:3], listed == inside)
    names = {f["SPDXID"]: f["fileName"] for f in bill["files"]}
    packages = {p["name"]: p for p in bill["packages"]}
    for package in bill["packages"]:
        if not package["filesAnalyzed"]:
            continue
        own = [names[r["relatedSpdxElement"]] for r in bill["relationships"]
               if r["spdxElementId"] == package["SPDXID"] and r["relationshipType"] == "CONTAINS" and r["relatedSpdxElement"] in names]
        code = hashlib.sha1("".join(sorted(inside[n]["SHA1"] for n in own if n in inside)).encode()).hexdigest()
        need("%s contains no file" % package["name"], own)
        need("verification code of %s" % package["name"], code == package["packageVerificationCode"]["packageVerificationCodeValue"])
        if package["name"] != "gomem":
            prefix = "./third_party/%s/" % package["name"]
            need("files of %s" % package["name"], set(own) == {n for n in inside if n.startswith(prefix)})
    gomem = packages["gomem"]
    need("version", gomem["versionInfo"] == version and bill["name"] == "gomem-" + version)
    need("sum of the tarball", gomem["checksums"] == [{"algorithm": "SHA256", "checksumValue": tar_sum}])
    need("licence of gomem", gomem["licenseDeclared"] == "BSD-3-Clause")
    need("third_party", {p: packages[p]["licenseDeclared"] for p in ("uPlot", "pprof")} == {"uPlot": "MIT", "pprof": "Apache-2.0"})
    readme = (ROOT / "README.md").read_text().split("| dependency | why |\n", 1)[1].split("\n\n")[0].splitlines()[1:]
    wanted = {row.split("|")[1].strip() for row in readme}
    need("dependencies: %s" % sorted(wanted - set(packages)), wanted and wanted <= set(packages))
    for package in bill["packages"]:
        need("fields of %s" % package["name"], package["downloadLocation"] and package["licenseConcluded"] and package["licenseDeclared"])
    return bad


def damaged(bill):
    """Bills with one mistake each: the check finds it."""
    def one(name, change):
        copy = json.loads(json.dumps(bill))
        change(copy)
        return name, copy
    yield one("a file is missing", lambda b: b["files"].pop())
    yield one("a wrong hash", lambda b: b["files"][0]["checksums"][1].update(checksumValue="0" * 64))
    yield one("a wrong verification code", lambda b: b["packages"][1]["packageVerificationCode"].update(packageVerificationCodeValue="0" * 40))
    yield one("a dependency is missing", lambda b: b["packages"][-1].update(name="other"))
    yield one("a wrong licence", lambda b: b["packages"][1].update(licenseDeclared="BSD-3-Clause"))
    yield one("a relation to nothing", lambda b: b["relationships"][1].update(relatedSpdxElement="SPDXRef-none"))
    yield one("an id twice", lambda b: b["files"][1].update(SPDXID=b["files"][0]["SPDXID"]))


def refusals(work):
    """In a small repository: what is refused, and why."""
    small = work / "small"
    (small / "third_party/part").mkdir(parents=True)
    (small / "CMakeLists.txt").write_text("project(gomem VERSION 1.2.3 LANGUAGES C)\n")
    (small / "README.md").write_text("| dependency | why |\n|---|---|\n| zlib | reads |\n")
    (small / "third_party/README.md").write_text("| folder | from | what | licence |\n|---|---|---|---|\n"
                                                 "| `part` | github.com/a/part 1.0, all | it | MIT, `part/LICENSE` |\n")
    (small / "third_party/part/LICENSE").write_text("MIT\n")

    def commit():
        who = ["-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false"]
        got = run("git", *who, "commit", "-q", "--allow-empty", "-m", "test", cwd=small)
        assert got.returncode == 0, got.stderr

    def told(what, reason, *args):
        got = make(work / "refused", "--source", small, *args)
        check("refused: %s" % what, got.returncode == 2 and reason in got.stderr and not (work / "refused").exists(), got.stdout + got.stderr)

    told("no repository", "not a git repository")
    run("git", "init", "-q", small)
    run("git", "add", "-A", cwd=small)
    commit()
    got = make(work / "accepted", "v1.2.3", "--source", small)
    check("a small release with the version of its tag", got.returncode == 0 and (work / "accepted/gomem-1.2.3.tar.gz").exists(), got.stderr)
    told("another version", "CMakeLists.txt says version 1.2.3, not 1.2.4", "1.2.4")
    (small / "new").write_text("new\n")
    told("a file that is not committed", "the tree is not clean, it has 1 changes")
    (small / "new").unlink()
    for file, old, new, reason in [("README.md", "zlib", "libnew", "does not know the licence of the dependency libnew"),
                                   ("third_party/README.md", "MIT,", "GPL,", "a licence that tools/release.py does not know"),
                                   ("third_party/README.md", "`part` |", "`other` |", "third_party/part/LICENSE: third_party/README.md has no row"),
                                   ("CMakeLists.txt", "VERSION 1.2.3", "", "names no version")]:
        text = (small / file).read_text()
        (small / file).write_text(text.replace(old, new))
        run("git", "add", "-A", cwd=small)
        commit()
        told("%s without %s" % (file, old), reason)
        (small / file).write_text(text)


def builds(work, tarball, name):
    with tarfile.open(tarball) as members:
        members.extractall(work / "unpacked")
    source = work / "unpacked" / name
    compiler = os.environ.get("CC", "cc")
    got = run("cmake", "-S", source, "-B", work / "build", "-G", "Ninja", "-DGOMEM_TOOLS=OFF", "-DCMAKE_C_COMPILER=" + compiler)
    got = got if got.returncode else run("cmake", "--build", work / "build")
    check("the unpacked tarball builds the library", got.returncode == 0, got.stdout + got.stderr)
    program = work / "gc_example"
    got = run(compiler, "-std=c17", "-O2", "-I", source, source / "tests/gc_example.c", work / "build/lib/gomem/libgomem.a", "-lpthread", "-o", program)
    got = got if got.returncode else run(program)
    check("a program on it runs", got.returncode == 0 and "cycle 1000" in got.stdout, got.stdout + got.stderr)


def main():
    try:
        top = run("git", "-C", ROOT, "rev-parse", "--show-toplevel")
    except FileNotFoundError:
        print("skipped: git is not installed")
        return 77
    if top.returncode != 0 or Path(top.stdout.strip()).resolve() != ROOT:
        print("skipped: this is not a git repository")
        return 77
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        got = make(work / "a", "--allow-dirty")
        check("a release is made", got.returncode == 0, got.stderr)
        if got.returncode != 0:
            return 1
        make(work / "b", "--allow-dirty", mask=0o077, zone="Asia/Tokyo")
        made = sorted(p.name for p in (work / "a").iterdir())
        name = made[1].removesuffix(".spdx.json")
        check("its files", made == ["SHA256SUMS", name + ".spdx.json", name + ".tar.gz"], made)
        check("the same bytes with another umask and time zone", all((work / "a" / n).read_bytes() == (work / "b" / n).read_bytes() for n in made))
        check("the sums hold", sums_hold(work / "a"))
        listed = [line.split("  ")[1] for line in (work / "a/SHA256SUMS").read_text().splitlines()]
        check("there is a sum of each file", listed == made[1:], listed)
        tarball = work / "a" / (name + ".tar.gz")
        bill = json.loads((work / "a" / (name + ".spdx.json")).read_text())
        version = name.removeprefix("gomem-")
        facts = hashes(tarball.read_bytes())["SHA256"], hashes_inside(tarball), version
        bad = complaints(bill, *facts)
        check("the bill of materials: %d files, %d packages" % (len(bill["files"]), len(bill["packages"])), not bad, bad)
        for mistake, copy in damaged(bill):
            check("noticed in the bill: %s" % mistake, complaints(copy, *facts))
        builds(work, tarball, name)
        data = bytearray((work / "b" / (name + ".tar.gz")).read_bytes())
        data[len(data) // 2] ^= 1
        (work / "b" / (name + ".tar.gz")).write_bytes(data)
        check("noticed by the sums: one bit of the tarball", not sums_hold(work / "b"))
        refusals(work)
    return end()


if __name__ == "__main__":
    sys.exit(main())
