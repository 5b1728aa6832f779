#!/usr/bin/env bash
# version.sh GO: a program that is recorded now with that Go (go1.24.11) replays with every decision equal, as that release and, where others
# decide otherwise, not as those. Witness: that Go. The go command fetches it; skipped (77) where it can't.
set -uo pipefail
version=$1
gomem=${GOMEM:?}
release=${version%.*}
programs=$(cd "$(dirname "$0")/../traces/programs" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

command -v go >/dev/null || { echo "SKIPPED: there is no go command"; exit 77; }
cd "$work" || exit 1
if ! root=$(GOTOOLCHAIN=$version timeout 600 go env GOROOT 2>"$work/log") || [ ! -x "$root/bin/go" ]; then
	echo "SKIPPED: $version is not here and cannot be fetched: $(tail -n 1 "$work/log")"
	exit 77
fi
unset GOROOT GOFLAGS GOEXPERIMENT
export GOWORK=off
printf 'module version\n\ngo 1.24\n' >go.mod
cp -R "$programs/goroutines" .

fail() {
	echo "FAILED: $*"
	sed 's/^/    /' "$work/log"
	exit 1
}

# replayed FILE OPTIONS...: the headline's first words, and the exit code of a replay.
replayed() {
	"$gomem" replay --quiet "${@:2}" "$1" >"$work/log" 2>&1
	code=$?
	line=$(cat "$work/log")
}

check() {
	[ "$("$gomem" info "$1" | awk '$1 == "Go" {print $2}')" = "$version" ] || fail "$1 is not of $version"
	replayed "$1"
	[[ $code = 0 && $line = *"every decision equal ($release)"* ]] || fail "$1: exit code $code"
	echo "$line"
}

GOMAXPROCS=4 "$gomem" record --go "$root" -o named.gmt ./goroutines -n 400 >"$work/log" 2>&1 || fail "gomem record --go $root"
check named.gmt
# As GOTOOLCHAIN, or a toolchain line in go.mod, chooses it.
GOTOOLCHAIN=$version GOMAXPROCS=1 "$gomem" record -o chosen.gmt ./goroutines -n 400 >"$work/log" 2>&1 || fail "GOTOOLCHAIN=$version gomem record"
check chosen.gmt
case $release in
go1.24 | go1.25) other=go1.26 ;;
*) other=go1.25 ;;
esac
replayed named.gmt --go $other
[[ $code = 1 && $line = *"NOT EQUAL ($other)"* ]] || fail "as $other: exit code $code"
echo "$line"
