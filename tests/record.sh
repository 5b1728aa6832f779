#!/usr/bin/env bash
# `gomem record` with real programs: exit codes, signals, a crash, exec, children, a full disk, and what it must refuse.
# Needs Go 1.26 and $GOMEM; exits with 77 if it cannot run.
set -u

gomem=${GOMEM:-}
[ -x "$gomem" ] || { echo "skipped: \$GOMEM is not there"; exit 77; }
gomem=$(realpath "$gomem")
case "$(GOTOOLCHAIN=local go env GOVERSION 2>/dev/null)" in
go1.26 | go1.26.*) ;;
*) echo "skipped: go1.26 is not installed"; exit 77 ;;
esac

work=$(mktemp -d)
mounted=""
# shellcheck disable=SC2317
cleanup() {
	[ -z "$mounted" ] || umount "$mounted"
	rm -rf "$work"
}
trap cleanup EXIT
export TMPDIR=$work/tmp
mkdir "$TMPDIR" "$work/prog" "$work/lib"
cd "$work/prog" || exit 1

cat >go.mod <<'END'
module prog

go 1.26
END
cat >main.go <<'END'
package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

var keep [1000][]byte

func work(n int) {
	for i := 0; i < n; i++ {
		keep[i%1000] = make([]byte, i%100)
	}
}

func main() {
	work(20000)
	switch os.Args[1] {
	case "exit":
		n, _ := strconv.Atoi(os.Args[2])
		os.Exit(n)
	case "panic":
		panic("as asked")
	case "kill":
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case "exec":
		syscall.Exec("/proc/self/exe", []string{"prog", "exit", "0"}, os.Environ())
	case "child":
		if err := exec.Command("/proc/self/exe", "exit", "0").Run(); err != nil {
			panic(err)
		}
	case "big":
		work(10000000)
	case "wait":
		c := make(chan os.Signal, 10)
		signal.Notify(c, os.Interrupt, syscall.SIGTERM)
		fmt.Println("ready")
		s := <-c
		n := 1
		for end := time.After(200 * time.Millisecond); ; {
			select {
			case <-c:
				n++
				continue
			case <-end:
			}
			break
		}
		fmt.Println("got", s, n)
		os.Exit(7)
	}
}
END
cat >main_test.go <<'END'
package main

import (
	"os"
	"testing"
)

func TestWork(t *testing.T) {
	if _, err := os.Stat("main_test.go"); err != nil {
		t.Fatal(err)
	}
	work(1000)
}
END

failed=0
fail() {
	echo "FAILED: $*"
	sed 's/^/    /' "$work/log"
	failed=1
}

# want CODE PATTERN ARGS...: gomem record ARGS exits with CODE and says PATTERN. run_path: its PATH.
want() {
	local code=$1 pattern=$2 got
	shift 2
	PATH=${run_path:-$PATH} "$gomem" record "$@" >"$work/log" 2>&1 </dev/null
	got=$?
	[ $got = "$code" ] || fail "record $*: exit code $got, not $code"
	grep -q -- "$pattern" "$work/log" || fail "record $*: no '$pattern' in the output"
}

# good FILE: it is a whole recording, for its owner only.
good() {
	"$gomem" info --verify "$1" >"$work/log" 2>&1 || fail "$1 is not a good recording"
	[ "$(stat -c %a "$1")" = 600 ] || fail "$1 has mode $(stat -c %a "$1")"
}

events_of() {
	"$gomem" info "$1" | awk '$1 == "events" {print $2}'
}

want 0 "the program exited with code 0" . exit 0
good prog.gmt
want 2 "prog.gmt exists" . exit 0
want 0 "exited with code 0" -f -v . exit 0
grep -q "go build" "$work/log" || fail "-v prints no commands"
# A link is not followed, neither to a file nor to where none is.
echo keep >target
ln -s target link.gmt
ln -s nowhere dangling.gmt
want 2 "link.gmt exists" -o link.gmt . exit 0
want 2 "link.gmt is not a regular file" -f -o link.gmt . exit 0
want 2 "dangling.gmt exists" -o dangling.gmt . exit 0
want 2 "dangling.gmt is not a regular file" -f -o dangling.gmt . exit 0
if [ "$(cat target)" != keep ] || [ -e nowhere ]; then
	fail "a link was followed"
fi
want 5 "exited with code 5" -o five.gmt -- . exit 5
good five.gmt
want 2 "exited with code 2" -o panic.gmt . panic
good panic.gmt
want 137 "ended by signal 9" -o kill.gmt . kill
good kill.gmt
[ "$(events_of kill.gmt)" -gt 20000 ] || fail "the recording of the killed program is too short"
want 2 "replaced itself" -o exec.gmt . exec
good exec.gmt
want 0 "exited with code 0" -o child.gmt . child
good child.gmt
[ "$(events_of child.gmt)" -lt 40000 ] || fail "the child wrote into the recording"
want 0 "exited with code 0" --test -o test.gmt . -test.run TestWork
good test.gmt
for _ in 1 2 3; do # the end of the program may cut a thread of the runtime's short: then the end of the log is missing
	rm -f prog.gmt.raw.* again.gmt
	want 0 "raw log: " -f --keep-raw . exit 0
	grep -q "the end of the log is missing" "$work/log" || break
done
want 0 "events" --raw prog.gmt.raw.* -o again.gmt
good again.gmt
want 0 "events" -f --raw prog.gmt.raw.* -o again.gmt
good again.gmt
cp again.gmt before.gmt
head -c 300000 prog.gmt.raw.* >cut.raw
want 2 "the end of the log is missing" -f --raw cut.raw -o again.gmt
good again.gmt
want 2 "not a raw log" -f --raw main.go -o before.gmt
good before.gmt
want 2 "is the program itself" -f -o main.go main.go
[ -s main.go ] || fail "record -f -o main.go main.go: the program is gone"
rm -f prog.gmt.raw.* cut.raw before.gmt
! find . -name ".gomem-record-*" | grep . || fail "record left a file beside its output"

# Signals: the program gets each once, and the recording closes.
for sig in INT TERM; do
	"$gomem" record -o "wait$sig.gmt" . wait >"$work/log" 2>&1 </dev/null &
	pid=$!
	for _ in $(seq 600); do
		grep -q ready "$work/log" && break
		sleep 0.1
	done
	kill -s $sig $pid
	wait $pid
	code=$?
	# A shell that runs this in the background has SIGINT ignored, and so have its children; the program sets its own handler.
	[ $code = 7 ] || fail "SIG$sig: exit code $code, not 7"
	grep -q "got .* 1$" "$work/log" || fail "SIG$sig did not reach the program exactly once"
	good "wait$sig.gmt"
done

want 2 "no package\|not a package\|directory not found\|go list" -o no.gmt ./nonexistent
want 2 "is package strings, not a program" -o no.gmt strings
want 2 "No such file" -o nodir/no.gmt . exit 0
want 2 "usage" -o no.gmt
want 2 "unknown option" --nonsense .
want 2 "needs a file name" -o
GOARCH=arm64 want 2 "linux/arm64 cannot be recorded" -o no.gmt .
GOOS=windows want 2 "windows/amd64 cannot be recorded" -o no.gmt .
GOFLAGS=-race want 2 "-race" -o no.gmt .
GOFLAGS="-mod=mod --asan=true" want 2 "-asan" -o no.gmt .
GOFLAGS="'-msan'" want 2 "-msan" -o no.gmt .
GOFLAGS=-race=false want 0 "code 0" -o norace.gmt . exit 0
GOEXPERIMENT=arenas want 2 "GOEXPERIMENT=arenas" -o no.gmt .
GOEXPERIMENT=nogreenteagc,runtimesecret want 2 "GOEXPERIMENT=runtimesecret" -o no.gmt .
run_path=/nonexistent want 2 "no go command" -o no.gmt .
mkdir "$work/bin"
# shellcheck disable=SC2016
printf '#!/bin/sh\nprintf "$GOMEM_TEST_VERSION\\nlinux\\namd64\\n\\n\\n/x\\n/y\\n"\n' >"$work/bin/go"
chmod +x "$work/bin/go"
for version in go1.23.4 go1.28 go1.240.1; do
	GOMEM_TEST_VERSION=$version run_path=$work/bin want 2 "$version .*/bin/go) cannot be recorded: .* Go 1.24 to 1.27" -o no.gmt .
	GOMEM_TEST_VERSION=$version want 2 "$version .*/bin/go) cannot be recorded" --go "$work/bin/go" -o no.gmt .
done
want 2 "neither a go command nor the folder" --go "$work/prog" -o no.gmt .
want 2 "--go needs a" --go
GOROOT=$work/prog want 2 "is no Go installation" -o no.gmt .
# Below GOMODCACHE, where the go command puts the Go that it fetches, -overlay is refused: gomem record goes round that.
mkdir -p "$work/cache/go1"
ln -s "$(go env GOROOT)" "$work/cache/go1/toolchain"
GOMODCACHE=$work/cache GOROOT=$work/cache/go1/toolchain want 0 "exited with code 0" -o module.gmt . exit 0
good module.gmt
echo 'func broken' >broken.go
want 2 "building . failed\|go list" -o no.gmt . exit 0
rm broken.go

# A full disk: the recording is valid up to there and says so.
mkdir small
if mount -t tmpfs -o size=24m none small 2>/dev/null; then
	mounted=$work/prog/small
	want 2 "recording stopped: No space left" -o small/full.gmt . big
	good small/full.gmt
	rm -f small/*
	head -c 24m /dev/zero >small/fill 2>/dev/null
	want 2 "No space left" -o small/full.gmt . big
	[ ! -e small/full.gmt ] || fail "half a recording stays on a full disk"
fi

[ ! -e no.gmt ] || fail "a refused program has a recording"
[ -z "$(find "$TMPDIR" -mindepth 1 -maxdepth 1 ! -name 'go-build*')" ] || fail "temporary files stay: $(ls -A "$TMPDIR")"
left=$(find . -name '*.raw.*')
[ -z "$left" ] || fail "raw logs stay: $left"
[ $failed = 0 ] && echo "all as expected"
exit $failed
