#!/usr/bin/env bash
# test_recorder.sh: the recorder by itself. The overlay refuses what it does not know, and says what; a program that was built
# with it writes a raw log (traces/recorder/RAW.md) that is whole. Witness: the program, which counts what it asks for.
# Skipped (77) without a Go 1.26 on linux.
set -eu
GO=${GO:-go}
recorder=$(cd "$(dirname "$0")/../traces/recorder" && pwd)
export GOTOOLCHAIN=local GOFLAGS="" GOWORK=off GOEXPERIMENT=""

version=$("$GO" env GOVERSION 2> /dev/null) || version="no Go"
if [[ $version != go1.26* || $("$GO" env GOOS) != linux ]]; then
	echo "SKIPPED: needs go1.26 on linux, found: $version"
	exit 77
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
goroot=$("$GO" env GOROOT)

fail() {
	echo "FAILED: $*"
	exit 1
}

# refuses COMMAND... : it fails, and its message has the text in $want.
# shellcheck disable=SC2154 # callers set it before the command
refuses() {
	if "$@" > "$dir/out" 2>&1; then
		fail "$* was expected to fail with: $want"
	fi
	grep -qF -- "$want" "$dir/out" || fail "$(cat "$dir/out"), expected: $want"
}

"$GO" build -C "$recorder/overlay" -o "$dir/overlay" .

# A fake GOROOT: the real files, one of them changed.
fake=$dir/goroot
mkdir -p "$fake/src"
cp -r "$goroot/src/runtime" "$fake/src/runtime"
chmod -R u+w "$fake"
for other in go1.23.9 go1.28.1 go1.240; do
	echo $other > "$fake/VERSION"
	want="is $other; the recorder is made for go1.24 to go1.27 only" refuses "$dir/overlay" "$fake" "$dir/none"
done
# The edits of another release don't fit, and it says so.
echo go1.25.9 > "$fake/VERSION"
want="go1.25.9: mheap.go: func (h *mheap) initSpan(" refuses "$dir/overlay" "$fake" "$dir/none"
cp "$goroot/VERSION" "$fake/VERSION"
sed -i 's/c\.tinyAllocs++/c.tinyAllocs += 1/' "$fake/src/runtime/malloc.go"
want='malloc.go: func mallocgcTiny(' refuses "$dir/overlay" "$fake" "$dir/none"
want='c.tinyAllocs++' refuses "$dir/overlay" "$fake" "$dir/none"
[[ ! -e $dir/none ]] || fail "a refused overlay left something behind"

"$dir/overlay" "$goroot" "$dir/ov"

mkdir "$dir/prog" "$dir/check"
cat > "$dir/prog/go.mod" <<'GO'
module prog

go 1.26
GO
cat > "$dir/prog/main.go" <<'GO'
package main

import (
	"os"
	"os/exec"
	"sync"
)

var keep [8][][]byte

func main() {
	if len(os.Args) > 1 { // a child must leave its parent's log alone
		return
	}
	var wg sync.WaitGroup
	for g := range keep {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for range 5000 {
				keep[g] = append(keep[g], make([]byte, 1234))
				if len(keep[g]) == 100 {
					keep[g] = nil
				}
			}
		}()
	}
	wg.Wait()
	if err := exec.Command("/proc/self/exe", "child").Run(); err != nil {
		panic(err)
	}
}
GO
cat > "$dir/check/go.mod" <<'GO'
module check

go 1.26
GO
cat > "$dir/check/main.go" <<'GO'
// check LOG: the log is whole, and holds the 40000 allocations of 1234 bytes. The exit may cut a thread of the runtime's own short, at any
// instruction: each leaves at most a chunk that was never begun, and a turn that was taken and not told.
package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
)

const (
	evMalloc      = 1
	position      = 255
	header, chunk = 4096, 256 << 10
	running       = 5 // threads at the exit: GOMAXPROCS and sysmon
)

// Kinds of gomem/lab.h that take a turn.
var turn = []uint64{4, 12, 13, 14, 16, 17, 18, 19, 20, 21, 24, 27, 28, 29, 30, 31, 33, 34, 35, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48,
	49, 50, 51, 52, 53, 55}

func must(ok bool, format string, args ...any) {
	if !ok {
		fmt.Printf("FAILED: "+format+"\n", args...)
		os.Exit(1)
	}
}

func main() {
	data, err := os.ReadFile(os.Args[1])
	must(err == nil, "%v", err)
	word := func(at uint64) uint64 { return binary.LittleEndian.Uint64(data[at:]) }
	chunks, turns := word(40), word(48)
	must(word(16) == 1 && word(56) == 0, "state %d, stopped %d", word(16), word(56))
	must(chunks > 2 && chunks < 1000 && len(data) > header, "%d chunks in %d bytes", chunks, len(data))
	data = append(data, make([]byte, header+chunks*chunk)...) // of a chunk that is not begun the file may have nothing
	seen := make([]bool, turns)
	last := map[uint64]uint64{}    // of the stream: 1 + its last turn
	ordinal := map[uint64]uint64{} // of the stream: its next chunk
	asked, unbegun := 0, 0
	for i := range chunks {
		at := header + i*chunk
		end := at + chunk
		if word(at) == 0 {
			rest := data[at+24 : end]
			must(bytes.Count(rest, []byte{0}) == len(rest), "chunk %d has records and no magic", i)
			unbegun++
			continue
		}
		stream := word(at + 8)
		must(word(at) == 0x4b4e554843574152, "chunk %d has no magic", i)
		must(word(at+16) == ordinal[stream], "chunk %d: ordinal %d of stream %#x", i, word(at+16), stream)
		ordinal[stream]++
		for at += 32; at < end && word(at) != 0; {
			w := word(at)
			kind, n := w&0xff, w>>8&0xff
			must(n > 0 && at+n*8 <= end && (kind < 56 || kind == position), "record %#x at %#x", w, at)
			if kind == evMalloc && w>>32 == 1234 {
				asked++
			}
			if stream == 0xffff || slices.Contains(turn, kind) {
				t := word(at + n*8 - 8)
				must(t < turns && !seen[t] && t >= last[stream], "kind %d of stream %#x: turn %d", kind, stream, t)
				seen[t] = true
				last[stream] = t + 1
			}
			at += n * 8
		}
	}
	missing := 0
	for _, s := range seen {
		if !s {
			missing++
		}
	}
	must(unbegun <= running && missing <= running, "%d chunks are not begun, %d turns are missing", unbegun, missing)
	must(asked == 40000, "%d allocations of 1234 bytes", asked)
	fmt.Printf("%d streams, %d chunks (%d not begun), %d turns (%d missing), %d allocations of 1234 bytes\n", len(ordinal), chunks, unbegun,
		turns, missing, asked)
}
GO
"$GO" build -C "$dir/prog" -overlay "$dir/ov/overlay.json" -o "$dir/run" .
"$GO" build -C "$dir/check" -o "$dir/verdict" .

# The header page: magic, version, state, pid, bytes of a chunk. exec keeps the pid.
log=$dir/log
(
	pid=$BASHPID
	{
		printf 'GOMEMRAW\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0'
		printf '\\x%02x\\x%02x\\x%02x\\x%02x\\0\\0\\0\\0' $((pid & 255)) $((pid >> 8 & 255)) $((pid >> 16 & 255)) $((pid >> 24 & 255)) | xargs -0 printf
		printf '\0\0\4\0\0\0\0\0'
	} > "$log"
	truncate -s 4096 "$log"
	GOMEM_RECORD="$pid:$log" GOMAXPROCS=4 exec "$dir/run"
)
"$dir/verdict" "$log"
