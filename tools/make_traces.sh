#!/usr/bin/env bash
# Makes the Go execution traces of traces/data/gotrace again, and its MANIFEST; with --large others, of millions of events, in build/traces.
# Needs Go 1.26, zstd and the command `gomem` ($GOMEM, or that of ./dev build).
#
# usage: make_traces.sh [-d DIR] [--large] [NAME...]     DIR: where to; NAME: traced-p1, ... (default: all)
#
# Each is made as docs/TRACES.md tells users to. Traces of older Go come from toolchains that the go command downloads.
# What comes out is never twice the same: time is in it.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
gomem=${GOMEM:-$root/build/release/gomem}
small=(traced-p1 traced-workers-p1 traced-p4 http-p4 json-p1 json-p4 types-p1 types-p4 compile-p1 compile-p4 go123-p4 go124-p4 go125-p4 noobjects-p4 esbuild-p1 esbuild-p4)
large=(json-large-p1 json-large-p4 compile-large-p4 esbuild-large-p4)
out=$root/traces/data/gotrace names=("${small[@]}") level=-12
while [ $# -gt 0 ]; do
	case $1 in
	-d) out=$2 && shift ;;
	--large) out=$root/build/traces names=("${large[@]}") level= ;;
	-*) sed -n 's/^# usage/usage/p' "$0" >&2 && exit 2 ;;
	*) break ;;
	esac
	shift
done
[ $# -eq 0 ] || names=("$@")

[ -x "$gomem" ] || { echo "make_traces.sh: there is no $gomem (./dev build makes it)" >&2; exit 2; }
for tool in go zstd; do
	command -v $tool >/dev/null || { echo "make_traces.sh: there is no $tool command in PATH" >&2; exit 2; }
done
gomem=$(realpath "$gomem")
mkdir -p "$out"
out=$(cd "$out" && pwd)
goroot=$(go env GOROOT)
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
export GODEBUG=traceallocfree=1 CGO_ENABLED=0 # without cgo the toolchains make no use of a C compiler
max_all=$((10 * 1024 * 1024))

# traced TOOLCHAIN PROCS ARGS...: the program of traces/programs/traced, built by a toolchain.
traced() {
	local toolchain=$1 procs=$2
	shift 2
	mkdir -p "$work/$toolchain"
	cp "$root/traces/programs/traced/main.go" "$work/$toolchain"
	# Frames must not name this machine's folders: -trimpath.
	printf 'module traced\n\ngo 1.22\n' >"$work/$toolchain/go.mod"
	(cd "$work/$toolchain" && GODEBUG='' GOTOOLCHAIN=$toolchain go build -trimpath -o traced .)
	GOMAXPROCS=$procs "$work/$toolchain/traced" -o "$work/trace" "$@"
}

# gotest PROCS PACKAGE PATTERN: tests of a package of Go's own.
gotest() {
	(cd "$goroot/src/$2" &&
		GOMAXPROCS=$1 go test -trimpath -count=1 -trace "$work/trace" -o "$work/package.test" -run "$3" . >"$work/log") ||
		{ cat "$work/log" >&2 && exit 1; }
}

# compile PROCS PACKAGE: the compiler compiles a package of Go's own.
compile() {
	local dir=$work/compile path file
	rm -rf "$dir"
	mkdir -p "$dir"
	(cd "$goroot/src" && GODEBUG='' go list -export -deps -f '{{if .Export}}{{.ImportPath}} {{.Export}}{{end}}' "$2") |
		while read -r path file; do
			echo "packagefile $path=$file"
		done >"$dir/importcfg"
	(cd "$goroot/src/$2" && GODEBUG='' go list -f '{{range .GoFiles}}{{.}} {{end}}' .) >"$dir/sources"
	# shellcheck disable=SC2046
	(cd "$goroot/src/$2" && GOMAXPROCS=$1 go tool compile -traceprofile "$work/trace" -o "$dir/out.a" -p "$2" -std -complete -pack -c="$1" \
		-importcfg "$dir/importcfg" $(cat "$dir/sources"))
}

# package NAME VERSION: a package of npm, as it is published, in $work/npm/NAME.
package() {
	local file=${1##*/}
	[ -d "$work/npm/$1" ] && return
	mkdir -p "$work/npm/$1"
	curl -fsSL "https://registry.npmjs.org/$1/-/$file-$2.tgz" | tar xz -C "$work/npm/$1" --strip-components=1
}

# esbuild PROCS FILE: the esbuild that npm installs (built with Go 1.23) bundles a file of a package.
esbuild() {
	package @esbuild/linux-x64 0.25.12
	package "${2%%/*}" "$3"
	(cd "$work/npm" && GOMAXPROCS=$1 @esbuild/linux-x64/bin/esbuild "$2" --bundle --minify --platform=node --packages=external \
		--log-level=error --trace="$work/trace" --outfile="$work/out.js")
}

make_one() {
	case $1 in
	traced-p1) traced local 1 -rounds 80 ;;
	traced-workers-p1) traced local 1 -rounds 20 -workers 6 ;;
	traced-p4) traced local 4 -rounds 20 -workers 6 ;;
	http-p4) traced local 4 -seconds 2 -rounds 1 -pause 30ms ;;
	json-p1) gotest 1 encoding/json 'TestMarshal$|TestIndent|TestEncoder' ;;
	json-p4) gotest 4 encoding/json 'TestUnmarshal$|TestDecoder|TestHTTPDecoding|TestRoundTrip' ;;
	types-p1) gotest 1 go/types 'TestValuesInfo|TestCheckExpr|TestInstantiate' ;;
	types-p4) gotest 4 go/types 'TestTypesInfo|TestInstantiate|TestTypeString' ;;
	compile-p1) compile 1 errors ;;
	compile-p4) compile 4 sort ;;
	go123-p4) traced go1.23.12 4 -rounds 20 -pause 30ms -workers 3 ;;
	go124-p4) traced go1.24.13 4 -rounds 20 -pause 60ms -workers 3 ;;
	go125-p4) traced go1.25.7 4 -rounds 20 -pause 60ms -workers 3 ;;
	noobjects-p4) GODEBUG='' traced local 4 -rounds 10 ;;
	esbuild-p1) esbuild 1 esbuild/lib/main.js 0.25.12 ;;
	esbuild-p4) esbuild 4 lodash-es/lodash.js 4.17.21 ;;
	esbuild-large-p4) esbuild 4 typescript/lib/typescript.js 5.9.3 ;;
	json-large-p1) gotest 1 encoding/json . ;;
	json-large-p4) gotest 4 encoding/json . ;;
	compile-large-p4) compile 4 go/types ;;
	*)
		echo "make_traces.sh: there is no trace $1" >&2
		exit 2
		;;
	esac
	if [ -n "$level" ]; then
		zstd -q -f $level "$work/trace" -o "$out/$1.trace.zst"
	else
		mv "$work/trace" "$out/$1.trace"
	fi
	echo "$1"
}

# info FILE FIELD: what `gomem info` says of it.
info() {
	"$gomem" info "$1" 2>/dev/null | sed -n "s/^$2  *//p"
}

manifest() {
	local file
	echo "# sha256	file	Go	GOMAXPROCS	generations	events (none: refused, there are no objects in it)"
	for file in "$out"/*.trace.zst; do
		printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$(sha256sum <"$file" | cut -d' ' -f1)" "${file##*/}" "$(info "$file" trace)" \
			"$(info "$file" GOMAXPROCS)" "$(info "$file" generations)" "$(info "$file" events)"
	done
}

for each in "${names[@]}"; do
	make_one "$each"
done
[ -n "$level" ] || exit 0
manifest >"$out/MANIFEST"
total=$(cat "$out"/*.trace.zst | wc -c)
[ "$total" -le $max_all ] || { echo "make_traces.sh: the traces have $total bytes together, more than $max_all" >&2; exit 1; }
