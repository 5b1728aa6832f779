#!/usr/bin/env python3
"""Makes a release of what is committed: the tarball, its bill of materials (SPDX 2.3) and their checksums. The same commit gives the same bytes.

usage: ./dev release [VERSION] [--output FOLDER] [--allow-dirty]

VERSION must be that of CMakeLists.txt (v1.2.3 will do, too); it is there to say that it is this one that you mean. In FOLDER (dist):
  gomem-VERSION.tar.gz       git archive of the commit that is checked out
  gomem-VERSION.spdx.json    each file with its hashes; the parts in third_party, the dependencies in README.md, and their licences
  SHA256SUMS                 for sha256sum -c
The tree must be clean; --allow-dirty: what is not committed is left out. Exit code 2: refused, with the reason."""
import argparse
import datetime
import gzip
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# The dependencies by their names in README.md: licence, where it is from, and what it is to gomem. Those of third_party stand in its README.md.
DEPENDENCIES = {
    "libzstd": ("BSD-3-Clause OR GPL-2.0-only", "https://github.com/facebook/zstd", "DEPENDENCY_OF"),
    "zlib": ("Zlib", "https://zlib.net", "DEPENDENCY_OF"),
    "xxHash": ("BSD-2-Clause", "https://github.com/Cyan4973/xxHash", "DEPENDENCY_OF"),
    "uthash": ("BSD-1-Clause", "https://github.com/troydhanson/uthash", "BUILD_DEPENDENCY_OF"),
    "cJSON": ("MIT", "https://github.com/DaveGamble/cJSON", "DEPENDENCY_OF"),
    "protobuf-c": ("BSD-2-Clause", "https://github.com/protobuf-c/protobuf-c", "OPTIONAL_DEPENDENCY_OF"),
    "cmocka": ("Apache-2.0", "https://cmocka.org", "TEST_DEPENDENCY_OF"),
    "Google Benchmark": ("Apache-2.0", "https://github.com/google/benchmark", "DEV_DEPENDENCY_OF"),
    "Go 1.24 to 1.27": ("BSD-3-Clause", "https://go.dev/dl/", "OPTIONAL_DEPENDENCY_OF"),
    "golang.org/x/exp/trace": ("BSD-3-Clause", "https://pkg.go.dev/golang.org/x/exp/trace", "TEST_DEPENDENCY_OF"),
}
LICENCES = {"MIT": "MIT", "Apache 2.0": "Apache-2.0"}


class Refused(Exception):
    pass


def git(root, *args):
    got = subprocess.run(["git", "-C", str(root), "-c", "tar.umask=0022", *args], capture_output=True)
    if got.returncode != 0:
        raise Refused("git %s: %s" % (args[0], got.stderr.decode(errors="replace").strip()))
    return got.stdout


def table(text, file, first):
    """The rows of the table in text whose first column is called first."""
    lines = text.splitlines()
    starts = [i for i, line in enumerate(lines) if re.match(r"\| *%s *\|" % first, line)]
    if len(starts) != 1:
        raise Refused("%s: there are %d tables of %ss, one was expected" % (file, len(starts), first))
    rows = []
    for line in lines[starts[0] + 2:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip().strip("|").split("|")])
    return rows


def version_of(cmake, asked):
    found = re.search(r"^project\(gomem VERSION (\d+\.\d+\.\d+)\b", cmake, re.M)
    if not found:
        raise Refused("CMakeLists.txt names no version")
    if asked is not None and asked.removeprefix("v") != found[1]:
        raise Refused("CMakeLists.txt says version %s, not %s" % (found[1], asked))
    return found[1]


def third_party(files):
    """Name, version, licence, origin and folder of each part, from third_party/README.md."""
    parts = []
    for folder, origin, _, licence in table(files["third_party/README.md"].decode(), "third_party/README.md", "folder"):
        name = folder.strip("`")
        where = re.match(r"(github\.com/\S+) (.*?), ", origin)
        licence = licence.split(",")[0]
        if not where or licence not in LICENCES:
            raise Refused("third_party/README.md: the row of %s: no origin, or a licence that tools/release.py does not know" % name)
        parts.append((name, where[2], LICENCES[licence], "https://" + where[1], "third_party/%s/" % name))
    known = {part[4] for part in parts}
    for name in files:
        if name.startswith("third_party/") and name.count("/") > 1 and name.split("/")[1] not in {part[0] for part in parts}:
            raise Refused("%s: third_party/README.md has no row for it (it has %s)" % (name, " ".join(sorted(known))))
    return parts


def dependencies(files, parts):
    for row in table(files["README.md"].decode(), "README.md", "dependency"):
        if row[0] in {part[0] for part in parts}:
            continue
        if row[0] not in DEPENDENCIES:
            raise Refused("README.md: tools/release.py does not know the licence of the dependency %s" % row[0])
        yield (row[0], *DEPENDENCIES[row[0]])


def verification_code(names, sha1):
    return {"packageVerificationCodeValue": hashlib.sha1("".join(sorted(sha1[n] for n in names)).encode()).hexdigest()}


def reference(kind, name):
    return "SPDXRef-%s-%s" % (kind, re.sub(r"[^A-Za-z0-9.]+", "-", name))


def bill(files, version, tarball, tar_name, when):
    parts = third_party(files)
    sha1 = {name: hashlib.sha1(data).hexdigest() for name, data in files.items()}

    def licence_of(name):
        return next((part[2] for part in parts if name.startswith(part[4])), "BSD-3-Clause")

    ids = {name: "SPDXRef-File-%d" % i for i, name in enumerate(sorted(files))}
    packages = [{
        "SPDXID": "SPDXRef-Package-gomem", "name": "gomem", "versionInfo": version, "packageFileName": tar_name, "downloadLocation": "NOASSERTION",
        "filesAnalyzed": True, "packageVerificationCode": verification_code(files, sha1),
        "checksums": [{"algorithm": "SHA256", "checksumValue": hashlib.sha256(tarball).hexdigest()}],
        "licenseConcluded": " AND ".join(sorted({licence_of(name) for name in files})), "licenseDeclared": "BSD-3-Clause",
        "licenseInfoFromFiles": sorted({licence_of(name) for name in files}),
        "copyrightText": "Copyright (c) 2026 The gomem authors; Copyright 2009 The Go Authors", "primaryPackagePurpose": "SOURCE",
    }]
    relations = [("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-Package-gomem")]
    relations += [("SPDXRef-Package-gomem", "CONTAINS", ids[name]) for name in sorted(files)]
    for name, what, licence, origin, folder in parts:
        inside = [n for n in sorted(files) if n.startswith(folder)]
        packages.append({
            "SPDXID": reference("Package", name), "name": name, "versionInfo": what, "downloadLocation": origin, "filesAnalyzed": True,
            "packageVerificationCode": verification_code(inside, sha1), "licenseConcluded": licence, "licenseDeclared": licence,
            "licenseInfoFromFiles": [licence], "copyrightText": "NOASSERTION",
        })
        relations.append(("SPDXRef-Package-gomem", "CONTAINS", reference("Package", name)))
        relations += [(reference("Package", name), "CONTAINS", ids[n]) for n in inside]
    for name, licence, origin, relation in dependencies(files, parts):
        packages.append({
            "SPDXID": reference("Package", name), "name": name, "downloadLocation": origin, "filesAnalyzed": False,
            "licenseConcluded": licence, "licenseDeclared": licence, "copyrightText": "NOASSERTION",
        })
        relations.append((reference("Package", name), relation, "SPDXRef-Package-gomem"))
    return {
        "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": "gomem-" + version,
        "documentNamespace": "https://spdx.org/spdxdocs/gomem-%s-%s" % (version, hashlib.sha256(tarball).hexdigest()),
        "creationInfo": {"created": when, "creators": ["Organization: The gomem authors", "Tool: gomem-release"]},
        "packages": packages,
        "files": [{
            "SPDXID": ids[name], "fileName": "./" + name, "licenseConcluded": licence_of(name), "licenseInfoInFiles": ["NOASSERTION"],
            "copyrightText": "NOASSERTION",
            "checksums": [{"algorithm": "SHA1", "checksumValue": sha1[name]},
                          {"algorithm": "SHA256", "checksumValue": hashlib.sha256(data).hexdigest()}],
        } for name, data in sorted(files.items())],
        "relationships": [{"spdxElementId": a, "relationshipType": what, "relatedSpdxElement": b} for a, what, b in relations],
    }


def release(root, asked, allow_dirty):
    """The files of the release: name and content."""
    if Path(git(root, "rev-parse", "--show-toplevel").decode().strip()).resolve() != root:
        raise Refused("%s is not the top of a git repository" % root)
    dirty = git(root, "status", "--porcelain").decode().splitlines()
    if dirty and not allow_dirty:
        raise Refused("the tree is not clean, it has %d changes that are not committed, the first: %s" % (len(dirty), dirty[0]))
    version = version_of(git(root, "show", "HEAD:CMakeLists.txt").decode(), asked)
    name = "gomem-" + version
    tar = git(root, "archive", "--format=tar", "--prefix=%s/" % name, "HEAD")
    tarball = gzip.compress(tar, 9, mtime=0)
    with tarfile.open(fileobj=io.BytesIO(tar)) as members:
        files = {m.name.removeprefix(name + "/"): members.extractfile(m).read() for m in members if m.isreg()}
    when = datetime.datetime.fromtimestamp(int(git(root, "log", "-1", "--format=%ct")), datetime.timezone.utc)
    materials = bill(files, version, tarball, name + ".tar.gz", when.strftime("%Y-%m-%dT%H:%M:%SZ"))
    made = {name + ".tar.gz": tarball, name + ".spdx.json": json.dumps(materials, indent=1).encode() + b"\n"}
    made["SHA256SUMS"] = "".join("%s  %s\n" % (hashlib.sha256(data).hexdigest(), n) for n, data in sorted(made.items())).encode()
    return made


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, usage=argparse.SUPPRESS)
    parser.add_argument("version", nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("--output", default="dist", help=argparse.SUPPRESS)
    parser.add_argument("--allow-dirty", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--source", default=ROOT, type=lambda path: Path(path).resolve(), help=argparse.SUPPRESS)
    options = parser.parse_args()
    try:
        made = release(options.source, options.version, options.allow_dirty)
    except Refused as reason:
        print("release: %s" % reason, file=sys.stderr)
        return 2
    os.makedirs(options.output, exist_ok=True)
    for name, data in made.items():
        path = Path(options.output) / name
        path.write_bytes(data)
        print("%s  %d bytes" % (path, len(data)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
