#!/usr/bin/env python3
"""struct_offsets.py PROGRAM: the structures that Go's collector reads have the same layout in C and in Go.

PROGRAM prints the offsets in C; Go's are in the go_asm.h that its compiler writes for package runtime.
"""
import os
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools"))
import goroot  # noqa: E402


def go(root, *args):
    return subprocess.run([os.path.join(root, "bin", "go"), *args], check=True, text=True, capture_output=True,
                          cwd=os.path.join(root, "src", "runtime"),
                          env=dict(os.environ, GOOS="linux", GOARCH="amd64", GOFLAGS="", GOTOOLCHAIN="local", GOWORK="off")).stdout


def go_asm(root):
    with tempfile.TemporaryDirectory() as tmp:
        config = os.path.join(tmp, "importcfg")
        with open(config, "w", encoding="utf-8") as f:
            f.write(go(root, "list", "-export", "-deps", "-f", "{{if .Export}}packagefile {{.ImportPath}}={{.Export}}{{end}}", "runtime"))
        header = os.path.join(tmp, "go_asm.h")
        symabis = os.path.join(tmp, "symabis")
        open(header, "w", encoding="utf-8").close()
        assembly = go(root, "list", "-f", '{{join .SFiles "\\n"}}', "runtime").split()
        go(root, "tool", "asm", "-p", "runtime", "-I", tmp, "-I", os.path.join(root, "pkg", "include"), "-D", "GOOS_linux",
           "-D", "GOARCH_amd64", "-D", "GOAMD64_v1", "-gensymabis", "-o", symabis, *assembly)
        files = go(root, "list", "-f", '{{join .GoFiles "\\n"}}', "runtime").split()
        go(root, "tool", "compile", "-p", "runtime", "-std", "-+", "-importcfg", config, "-symabis", symabis, "-asmhdr", header,
           "-o", os.path.join(tmp, "runtime.o"), *files)
        with open(header, encoding="utf-8") as f:
            return dict(re.findall(r"^#define (\w+) (\d+)$", f.read(), re.M))


def main():
    root = goroot.find_or_skip()
    ours = dict(line.split() for line in subprocess.run([sys.argv[1]], check=True, text=True, capture_output=True).stdout.splitlines())
    theirs = go_asm(root)
    wrong = [f"{name}: {at} in C, {theirs.get(name, 'unknown')} in Go" for name, at in ours.items() if theirs.get(name) != at]
    print("\n".join(wrong))
    print(f"{len(ours) - len(wrong)} of {len(ours)} offsets equal")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
