#!/usr/bin/env python3
"""The page of `gomem report` escapes what comes from a trace: a real trace, and a recording, whose names of types and command line are pieces of HTML, ends
of script elements, quotes and control characters, make the same elements as the unchanged ones, and show the names as they are.

usage: report_escape.py     needs $GOMEM and the zstd command; where Chromium is, the page runs there too"""
import ctypes
import ctypes.util
import html.parser
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))
import report_page  # noqa: E402
from gotrace_make import records, take  # noqa: E402

GOMEM = os.environ["GOMEM"]
ROOT = Path(os.environ["GOMEM_SOURCE_DIR"])
TRACE, RECORDING = ROOT / "traces/data/gotrace/json-p1.trace.zst", ROOT / "tests/controls/goroutines-p4.gmt"
NAMES = [b"</script><script>document.title='owned'</script>", b"<img src=x onerror=document.title='owned'>", b"\"'`><b>bold</b>&lt;&amp;",
         b"<!--<script>", b"]]></style><svg onload=alert(1)>", b"a\x01\x02\x1b[31m\x7f\n\r\tb", b"\\u003c/script\\u003e${1}", b"</textarea></title><h1>"]


def fitted(name, n):
    return (name + b"_" * n)[:n]


def hostile(data):
    """The trace with other names of types, each as long as before; and how many were changed."""
    out, changed = bytearray(data), 0
    for r in records(data):
        if r.tag != 49 or r.experiment != 1 or r.end <= r.body or data[r.body] != 0:
            continue
        at = r.body + 1
        while at < r.end:
            for _ in range(4):
                _, at = take(data, at)
            n, at = take(data, at)
            if n >= 12 and at + n <= r.end:
                out[at:at + n] = fitted(NAMES[changed % len(NAMES)], n)
                changed += 1
            at += n
    return bytes(out), changed


TERMINAL = b"\x1b]0;owned\x07\x1b[31mred\x1b[2J\x7f"  # what a terminal would obey


def hostile_recording(data, name):
    """The recording with another command line of the same length, and the header's hash."""
    n = int.from_bytes(data[12:16], "little")
    at = 16
    for _ in range(4):
        at += 2 + int.from_bytes(data[at:at + 2], "little")
    length = int.from_bytes(data[at:at + 2], "little")
    out = bytearray(data)
    out[at + 2:at + 2 + length] = fitted(name, length)
    xxhash = ctypes.CDLL(ctypes.util.find_library("xxhash") or "libxxhash.so.0")
    xxhash.XXH64.restype = ctypes.c_uint64
    xxhash.XXH64.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint64]
    out[16 + n:24 + n] = xxhash.XXH64(bytes(out[:16 + n]), 16 + n, 0).to_bytes(8, "little")
    return bytes(out), fitted(name, length).decode()


class Elements(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.data, self.script = [], [], False

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, tuple(sorted(name for name, _ in attrs))))
        self.script = tag == "script" and ("type", "application/json") in attrs

    def handle_data(self, data):
        if self.script:
            self.data.append(data)


def parsed(page):
    e = Elements()
    e.feed(page)
    return e


def report(path, out):
    subprocess.run([GOMEM, "report", "-o", str(out), str(path)], check=True, stdout=subprocess.DEVNULL)
    return parsed(out.read_text(errors="surrogateescape"))


def main():
    if shutil.which("zstd") is None:
        print("SKIPPED: there is no zstd command")
        return 77
    failures, checks = [], 0

    def expect(what, good, got=""):
        nonlocal checks
        checks += 1
        if not good:
            failures.append("%s: %s" % (what, str(got)[:300]))

    with tempfile.TemporaryDirectory() as work:
        tmp = Path(work)
        plain = subprocess.run(["zstd", "-dqc", str(TRACE)], check=True, capture_output=True).stdout
        bad, changed = hostile(plain)
        expect("names of types were changed", changed >= len(NAMES), changed)
        recording, command = hostile_recording(RECORDING.read_bytes(), NAMES[1])
        cases = (("trace", plain, bad, "<"), ("recording", RECORDING.read_bytes(), recording, command))
        for name, good_data, bad_data, shown in cases:
            files = [tmp / ("good-%s.gmt" % name), tmp / ("bad-%s.gmt" % name)]
            files[0].write_bytes(good_data)
            files[1].write_bytes(bad_data)
            good, evil = (report(f, f.with_suffix(".html")) for f in files)
            expect(name + ": the same elements", good.tags == evil.tags, set(evil.tags) ^ set(good.tags))
            text = "".join(evil.data)
            expect(name + ": no < in the data", "<" not in text and text != "", re.findall(r"<.{20}", text))
            try:
                json.loads(text)
            except ValueError as error:
                expect(name + ": the data are JSON", False, error)
            said = subprocess.run([GOMEM, "stat", "--json", str(files[1])], check=True, capture_output=True).stdout
            loaded = json.dumps(json.loads(said), ensure_ascii=False)
            expect(name + ": stat has the names", json.dumps(shown, ensure_ascii=False)[1:-1] in loaded, loaded[:200])
            for control in (b"\x01", b"\x1b", b"\x7f"):
                expect(name + ": no control characters in what is printed", control not in said.replace(b"\n", b"").replace(b"\t", b"") or control == b"\x7f")
            types = [] if files[1].suffix == ".gmt" else ["--types", "1000"]
            text = subprocess.run([GOMEM, "stat", *types, str(files[1])], check=True, capture_output=True).stdout
            expect(name + ": stat writes no escape sequences", b"\x1b" not in text and b"\x01" not in text)
        loud = tmp / "loud.gmt"
        loud.write_bytes(hostile_recording(RECORDING.read_bytes(), TERMINAL)[0])
        for command in ("info", "stat", "replay", "whatif"):
            got = subprocess.run([GOMEM, command, str(loud)], capture_output=True, check=False)
            expect(command + ": what is printed moves no cursor", got.returncode == 0 and b"owned" in got.stdout, got.stderr)
            text = got.stdout + got.stderr
            expect(command + ": no control characters", not set(text) & ({*range(32), 127} - {9, 10}), text)
        program = next((p for p in map(shutil.which, report_page.BROWSERS) if p), None)
        if program is None:
            print("NOT TRIED: in a browser (there is no Chromium)")
        else:
            browser = report_page.Browser(program, work + "/profile")
            for name, *_ in cases:
                page = (tmp / ("bad-%s.gmt" % name)).with_suffix(".html")
                said, bad = report_page.visit(browser, page, 1280, False, None)
                expect(name + ": the page runs, and nothing else does", not bad and said and said["ready"] == "1" and not said["resources"], bad)
            browser.close()
    for f in failures:
        print("FAILED " + f)
    print("report of hostile names: %d names of types, %d of %d checks hold" % (changed, checks - len(failures), checks))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
