#!/usr/bin/env python3
"""fresh_recording.py: where Go 1.26 is, record programs now, each by the commands that a user would type, and replay them: every decision equal.
Also: children of the program do not write into its recording, a signal leaves a valid recording that says so, and so does a full disk."""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

GOMEM = os.environ["GOMEM"]
ROOT = Path(os.environ["GOMEM_SOURCE_DIR"])
sys.path.insert(0, str(ROOT / "tools"))
import goroot  # noqa: E402

CHILD = """package main

import (
	"fmt"
	"os"
	"os/exec"
)

var sink [][]byte

func main() {
	if len(os.Args) > 1 {
		for i := range 100000 {
			sink = append(sink, make([]byte, i%100))
		}
		return
	}
	if err := exec.Command(os.Args[0], "child").Run(); err != nil {
		panic(err)
	}
	fmt.Println("parent")
}
"""

WAITS = """package main

import (
	"fmt"
	"time"
)

var sink [][]byte

func main() {
	for i := range 200000 {
		sink = append(sink, make([]byte, i%100))
	}
	fmt.Println("ready")
	time.Sleep(time.Hour)
}
"""

failures = []


def check(what, ok, detail=""):
    print("%s %s %s" % ("ok    " if ok else "FAILED", what, detail))
    if not ok:
        failures.append(what)


def replayed(path):
    run = subprocess.run([GOMEM, "replay", "--json", str(path)], capture_output=True, text=True)
    if run.returncode != 0:
        return None, run.stdout + run.stderr
    verdict = json.loads(run.stdout)
    return verdict, "%d of %d decisions, %d events" % (verdict["equal"], verdict["decisions"], verdict["events"])


def record(out, *args, cwd=None, env=None):
    return subprocess.run([GOMEM, "record", "-o", str(out), *args], capture_output=True, text=True, cwd=cwd, env=dict(os.environ, **(env or {})))


def module(tmp, name, source):
    folder = tmp / name
    folder.mkdir()
    (folder / "go.mod").write_text("module example.com/%s\n\ngo 1.26\n" % name)
    (folder / "main.go").write_text(source)
    return folder


def programs(tmp, root):
    for procs in ("1", "4"):
        out = tmp / ("gofmt-%s.gmt" % procs)
        run = record(out, "--", "cmd/gofmt", "-l", "sort", "strconv", "go/printer", cwd=root / "src", env={"GOMAXPROCS": procs})
        verdict, text = replayed(out)
        check("gofmt at GOMAXPROCS=%s" % procs, run.returncode == 0 and verdict is not None and verdict["equal"] == verdict["decisions"], text)
    out = tmp / "goroutines.gmt"
    run = record(out, "--", "./goroutines", "-n", "300", cwd=ROOT / "traces/programs", env={"GOMAXPROCS": "16"})
    check("goroutines at GOMAXPROCS=16", run.returncode == 0 and replayed(out)[0] is not None, replayed(out)[1])
    out = tmp / "goroutines-386.gmt"
    run = record(out, "--", "./goroutines", "-n", "300", cwd=ROOT / "traces/programs", env={"GOARCH": "386", "GOMAXPROCS": "4"})
    if "exec format error" in run.stderr:
        print("not tried: GOARCH=386 (this machine does not execute its programs)")
    else:
        verdict, text = replayed(out)
        check("goroutines with GOARCH=386", run.returncode == 0 and verdict is not None and verdict["goarch"] == "386", text + run.stderr[-200:])
    out = tmp / "sort.gmt"
    run = record(out, "--test", "sort", "-test.run=Stable|Heap", cwd=root / "src")
    check("test binary of sort", run.returncode == 0 and replayed(out)[0] is not None, replayed(out)[1] + run.stderr[-200:])


def children(tmp):
    folder = module(tmp, "child", CHILD)
    out = tmp / "child.gmt"
    run = record(out, "--", ".", cwd=folder)
    verdict, text = replayed(out)
    check("children write nothing", run.returncode == 0 and verdict is not None and verdict["events"] < 50000, text)
    check("the program's output is its own", run.stdout == "parent\n", repr(run.stdout))


def interrupted(tmp, name, sig, wanted):
    folder = module(tmp, name, WAITS)
    out = tmp / (name + ".gmt")
    run = subprocess.Popen([GOMEM, "record", "-o", str(out), "--", "."], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    run.stdout.readline()
    if sig == signal.SIGKILL:
        children_of = subprocess.run(["pgrep", "-P", str(run.pid)], capture_output=True, text=True).stdout.split()
        os.kill(int(children_of[-1]), sig)
    else:
        run.send_signal(sig)
    code = run.wait(60)
    run.stdout.close()
    run.stderr.close()
    verdict, text = replayed(out)
    info = subprocess.run([GOMEM, "info", str(out)], capture_output=True, text=True).stdout
    check(name, code == wanted and verdict is not None and "signal %d" % sig in info.replace("by signal", "signal"), "exit code %d, %s" % (code, text))


def full_disk(tmp):
    if os.geteuid() != 0:
        print("not tried: a full disk (needs root to mount one)")
        return
    disk = tmp / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True).returncode != 0:
        print("not tried: a full disk (no mount here)")
        return
    try:
        folder = module(tmp, "fills", CHILD.replace('len(os.Args) > 1', 'len(os.Args) > 0'))
        out = disk / "full.gmt"
        run = record(out, "--", ".", cwd=folder)
        verdict, text = replayed(out)
        said = "disk" in run.stderr or "space" in run.stderr
        check("a full disk", run.returncode == 2 and said and (verdict is not None or not out.exists()), run.stderr.strip()[-200:] + " " + text[:100])
    finally:
        subprocess.run(["umount", str(disk)], check=False)


def refusals(tmp):
    folder = module(tmp, "refused", CHILD)
    out = tmp / "refused.gmt"
    for name, args, env, word in (
        ("no such package", ["--", "./nothing"], {}, "nothing"),
        ("not a main package", ["--", "sort"], {}, "not a program"),
        ("-race", ["--", "."], {"GOFLAGS": "-race"}, "race"),
        ("GOEXPERIMENT=arenas", ["--", "."], {"GOEXPERIMENT": "arenas"}, "arenas"),
        ("no Go", ["--", "."], {"PATH": str(folder)}, "go"),
        ("another platform", ["--", "."], {"GOOS": "windows"}, "windows"),
    ):
        run = record(out, *args, cwd=folder, env=env)
        check("refused: " + name, run.returncode == 2 and word in run.stderr and not out.exists(), run.stderr.strip().splitlines()[-1][:150])
    out.write_text("mine")
    run = record(out, "--", ".", cwd=folder)
    check("refused: the output exists", run.returncode == 2 and out.read_text() == "mine", run.stderr.strip()[:150])


def main():
    root = goroot.find_or_skip()
    os.environ["PATH"] = str(root / "bin") + os.pathsep + os.environ["PATH"]
    if os.environ.get("GOMEM_SANITIZE"):
        print("SKIPPED: the release build records")
        return goroot.SKIP
    tmp = Path(tempfile.mkdtemp())
    begin = time.time()
    try:
        programs(tmp, root)
        children(tmp)
        interrupted(tmp, "interrupt", signal.SIGINT, 130)
        interrupted(tmp, "terminate", signal.SIGTERM, 143)
        interrupted(tmp, "kill", signal.SIGKILL, 137)
        full_disk(tmp)
        refusals(tmp)
    finally:
        shutil.rmtree(tmp)
    print("%d failed, %.0f s" % (len(failures), time.time() - begin))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
