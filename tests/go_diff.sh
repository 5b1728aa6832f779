#!/usr/bin/env bash
# go_diff.sh: ./dev go-diff finds each kind of change between two releases of Go, and nothing where nothing has changed. Witness: a copy of
# Go's sources with changes of our own. Skipped (77) without a Go.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
command -v go >/dev/null || { echo "SKIPPED: there is no go command"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$(GOTOOLCHAIN=local go env GOROOT)
fake=$work/go
mkdir -p "$fake/src/internal/runtime"
cp "$root/VERSION" "$fake/VERSION"
cp -R "$root/src/runtime" "$fake/src/"
cp -R "$root/src/internal/runtime/gc" "$fake/src/internal/runtime/"
cp -R "$root/src/internal/buildcfg" "$root/src/internal/goexperiment" "$fake/src/internal/"
chmod -R u+w "$fake"
failed=0
fail() {
	echo "FAILED: $*"
	failed=1
}

GOTOOLCHAIN=local GOWORK=off GOFLAGS='' go build -C tools/go_diff -o "$work/go_diff" . || exit 1
# found CODE PATTERN: go_diff of the two ends with CODE, and PATTERN is a line of what it says.
found() {
	"$work/go_diff" . "$root" "$fake" >"$work/out" 2>&1
	local got=$?
	[ $got = "$1" ] || fail "exit code $got, not $1"
	grep -q -- "$2" "$work/out" || { fail "no line '$2'"; tail -n 30 "$work/out"; }
}

# change FILE SED: changes a file of the copy, which must differ then.
change() {
	sed -i.before "$2" "$fake/src/$1"
	! cmp -s "$fake/src/$1" "$fake/src/$1.before" || fail "sed $2 does not fit $1"
	rm "$fake/src/$1.before"
}

found 0 ', 0 changed, 0 new, 0 gone, 0 moved$'
change runtime/mheap.go 's|^\(func (h \*mheap) grow.*\)|// A comment.\n\1\n\t// Another one.\n|'
found 0 ', 0 changed, 0 new, 0 gone, 0 moved$'
change runtime/stack.go 's|^func stacklog2(.*|&\n\tn++|'
found 1 '^changed func  stack.go stacklog2 -> stacklog2$'
found 1 '^    +	n++$'
# shellcheck disable=SC2016
change runtime/mcache.go '$a func newcomer() {}'
found 1 '^new     func  mcache.go newcomer$'
change runtime/mgcscavenge.go 's|scavChunkHiOccFrac *= .*|scavChunkHiOccFrac = 0.5|'
found 1 '^changed const mgcscavenge.go scavChunkHiOccFrac$'
change runtime/mheap.go 's|^type mSpanList struct {|&\n\tlength int|'
found 1 '^changed type  mheap.go mSpanList$'
change runtime/mheap.go 's|^\tspanAllocStack .*|\tspanAllocOther\n&|'
found 1 '^new     const mheap.go spanAllocOther$'
found 1 '^changed const mheap.go spanAllocWorkBuf$'
change runtime/mgc.go 's|^func gcSweep(.*|&\n\tprintln()|'
found 1 '^changed func  mgc.go gcSweep \[the recorder edits it\]$'
change runtime/mgc.go 's|^func gcStart(.*|&\n\tprintln()|'
found 1 ', 6 changed, 2 new, 0 gone, 0 moved$' # gcStart is neither ported nor edited
change runtime/msize.go 's|^func roundupsize|func roundedupsize|'
found 1 '^gone    func  msize.go roundupsize -> roundupsize$'
line=$(grep -n '^func alignUp\|^func (l \*linearAlloc) init' "$fake/src/runtime/malloc.go" | tail -n 1 | cut -d: -f1)
sed -n "$line,/^}/p" "$fake/src/runtime/malloc.go" >>"$fake/src/runtime/mfixalloc.go"
sed -i "$line,/^}/d" "$fake/src/runtime/malloc.go"
found 1 '^moved   func  mfixalloc.go linearAlloc.init, was in malloc.go -> linearAlloc_init$'
echo 'package runtime' >"$fake/src/runtime/mnew.go"
found 1 '^new     file  runtime/mnew.go$'
change internal/buildcfg/exp.go 's|GreenTeaGC: *true|GreenTeaGC: false|'
found 1 '^changed func  internal/buildcfg/exp.go ParseGOEXPERIMENT$'
found 1 ', 7 changed, 3 new, 1 gone, 1 moved$'
echo 'func (' >>"$fake/src/runtime/mheap.go"
found 2 'mheap.go:.*expected'
[ $failed = 0 ] && echo "all as expected"
exit $failed
