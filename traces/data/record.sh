#!/usr/bin/env bash
# Makes the recordings of this folder again, and MANIFEST. Needs Go and the command `gomem` ($GOMEM, or that of ./dev build).
#
# usage: record.sh [-d DIR] [NAME...]     DIR: where to (default: here); NAME: gofmt-p1, ... (default: all)
#
# The programs do the same work each time; which recording comes out depends on the scheduler and on the random heap base.
# All paths in the commands are relative: the work goes on in copies in a temporary folder, or in Go's own src.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
gomem=${GOMEM:-$here/../../build/release/gomem}
out=$here
while getopts d: option; do
	case $option in
	d) out=$OPTARG ;;
	*) exit 2 ;;
	esac
done
shift $((OPTIND - 1))
[ -x "$gomem" ] || { echo "record.sh: there is no $gomem (./dev build makes it)" >&2; exit 2; }
command -v go >/dev/null || { echo "record.sh: there is no go command in PATH" >&2; exit 2; }
gomem=$(realpath "$gomem")
mkdir -p "$out"
out=$(cd "$out" && pwd)
goroot=$(go env GOROOT)
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT

max_file=$((6 * 1024 * 1024))
max_all=$((40 * 1024 * 1024))
min_events=1000000

# Other releases than that in PATH are fetched by the go command. Which patch release it is stands in MANIFEST.
go_option=
with_go() {
	local root
	root=$(GOTOOLCHAIN=$1 go env GOROOT) || { echo "record.sh: there is no $1" >&2; exit 1; }
	go_option="--go $root"
	shift
	"$@"
	go_option=
}

# record PROCS DIR COMMAND...: the recording $name of COMMAND, run in DIR at GOMAXPROCS=PROCS. GOEXPERIMENT and GOARCH count.
record() {
	local procs=$1 dir=$2
	shift 2
	# shellcheck disable=SC2086
	(cd "$dir" && GOMAXPROCS=$procs "$gomem" record $go_option -f -o "$work/new.gmt" -- "$@" </dev/null >"$work/stdout") || {
		tail -n 20 "$work/stdout" >&2
		echo "record.sh: $name failed" >&2
		exit 1
	}
	chmod 644 "$work/new.gmt"
	mv "$work/new.gmt" "$out/$name.gmt"
}

# Sources of Go's own, without what gofmt would call an error.
gofmt() {
	record "$1" "$goroot/src" cmd/gofmt -l encoding net
}

# The compiler compiles go/types. It finds the packages that go/types imports in an importcfg with relative paths.
compile_types() {
	local dir=$work/types path file
	mkdir -p "$dir/pkg"
	cp "$goroot"/src/go/types/*.go "$dir"
	rm -f "$dir"/*_test.go "$dir/gotype.go"
	(cd "$goroot/src" && go list -export -deps -f '{{if .Export}}{{.ImportPath}} {{.Export}}{{end}}' go/types) |
		while read -r path file; do
			cp "$file" "$dir/pkg/${path//\//.}.a"
			echo "packagefile $path=pkg/${path//\//.}.a"
		done >"$dir/importcfg"
	local sources=("$dir"/*.go)
	record "$1" "$dir" cmd/compile -o types.a -p go/types -std -complete -pack -c=4 -importcfg importcfg "${sources[@]##*/}"
}

# programs makes a copy of the module with the programs, and goes by its go.sum.
programs() {
	[ -d "$work/programs" ] || cp -R "$here/../programs" "$work/programs"
}

program() {
	local procs=$1
	shift
	programs
	record "$procs" "$work/programs" "$@"
}

# A program of the folder that go1.24 can build.
older_program() {
	local procs=$1
	shift
	if [ ! -d "$work/older" ]; then
		mkdir "$work/older"
		printf 'module gomem.example/programs\n\ngo 1.24\n' >"$work/older/go.mod"
		cp -R "$here/../programs/goroutines" "$here/../programs/jsonbench" "$here/../programs/large" "$work/older"
	fi
	record "$procs" "$work/older" "$@"
}

# esbuild bundles its own scripts and TypeScript library, which come with its Go module: six copies of them.
esbuild() {
	local module=github.com/evanw/esbuild source copy inputs=()
	programs
	source=$(cd "$work/programs" && go mod download && go list -m -f '{{.Dir}}' $module)
	for copy in a b c d e f; do
		mkdir -p "$work/programs/in/$copy"
		cp -R "$source/scripts" "$source/lib" "$work/programs/in/$copy"
		chmod -R u+w "$work/programs/in/$copy"
		# These import what the module does not hold, or need a newer JavaScript than the target.
		(cd "$work/programs/in/$copy/scripts" && rm js-api-tests.js deno-tests.js test262-async.js)
		inputs+=("./in/$copy/scripts/*.js" "./in/$copy/lib/npm/*.ts")
	done
	record "$1" "$work/programs" $module/cmd/esbuild "${inputs[@]}" --bundle --platform=node --packages=external --minify \
		--sourcemap --target=es2018 --log-level=error --outdir=../bundles
}

# It is the compiler that has memory given back (GOEXPERIMENT=runtimefreegc), if it was built so: a copy is, and takes the place of Go's own.
appends() {
	local dir=$work/freegc off=$goroot/src/internal/goexperiment/exp_runtimefreegc_off.go
	mkdir -p "$dir"
	sed 's/= false/= true/; s/= 0/= 1/' "$off" >"$dir/on.go"
	echo "{\"Replace\": {\"$off\": \"$dir/on.go\"}}" >"$dir/overlay.json"
	(cd "$goroot/src" && go build -overlay "$dir/overlay.json" -o "$dir/compile" cmd/compile)
	# shellcheck disable=SC2016
	printf '#!/bin/sh\ncase $1 in */compile) shift; exec "%s" "$@" ;; esac\nexec "$@"\n' "$dir/compile" >"$dir/tool"
	chmod +x "$dir/tool"
	# Go's own compiler has the same name and version: what is built with this one must not stay in the user's cache.
	GOEXPERIMENT=runtimefreegc GOCACHE=$dir/cache GOFLAGS=-toolexec=$dir/tool program "$@"
}

make_one() {
	name=$1
	case $name in
	gofmt-p1) gofmt 1 ;;
	gofmt-norandbase-p1) GOEXPERIMENT=norandomizedheapbase64 gofmt 1 ;;
	gofmt-nogreentea-p4) GOEXPERIMENT=nogreenteagc gofmt 4 ;;
	compile-types-p4) compile_types 4 ;;
	esbuild-p4) esbuild 4 ;;
	httpserver-p4) program 4 ./httpserver ;;
	jsonbench-p1) program 1 ./jsonbench -rounds 8 ;;
	goroutines-p16) program 16 ./goroutines ;;
	large-p4) program 4 ./large -rounds 2 ;;
	trees-p4) program 4 ./trees ;;
	go124-goroutines-p8) with_go go1.24.11 older_program 8 ./goroutines -rounds 1 ;;
	go124-jsonbench-p1) with_go go1.24.11 older_program 1 ./jsonbench -rounds 4 ;;
	go124-large-p4) with_go go1.24.11 older_program 4 ./large -rounds 1 ;;
	go125-goroutines-p8) with_go go1.25.11 older_program 8 ./goroutines -rounds 1 ;;
	go125-greentea-jsonbench-p4) GOEXPERIMENT=greenteagc with_go go1.25.11 older_program 4 ./jsonbench -rounds 4 ;;
	go125-large-p4) with_go go1.25.11 older_program 4 ./large -rounds 1 ;;
	go127-goroutines-p8) with_go go1.27.3 older_program 8 ./goroutines -rounds 1 ;;
	go127-jsonbench-p1) with_go go1.27.3 older_program 1 ./jsonbench -rounds 4 ;;
	go127-large-p4) with_go go1.27.3 older_program 4 ./large -rounds 1 ;;
	appends-freegc-p4) appends 4 ./appends -rounds 5000 ;;
	linux386-jsonbench-p1) GOARCH=386 program 1 ./jsonbench -rounds 4 ;;
	linux386-large-p4) GOARCH=386 program 4 ./large -rounds 1 ;;
	linux386-trees-p4) GOARCH=386 program 4 ./trees ;;
	*)
		echo "record.sh: there is no recording $name" >&2
		exit 2
		;;
	esac
	check_one "$out/$name.gmt"
}

# info FILE FIELD: what `gomem info` says of it.
info() {
	"$gomem" info "$1" | sed -n "s/^$2  *//p"
}

# check_one FILE: the size is right, and each decision is equal.
check_one() {
	local size events
	size=$(stat -c %s "$1")
	events=$(info "$1" events)
	[ "$size" -le $max_file ] || { echo "record.sh: $1 has $size bytes, more than $max_file" >&2; exit 1; }
	[ "$events" -ge $min_events ] || { echo "record.sh: $1 has $events events, fewer than $min_events" >&2; exit 1; }
	"$gomem" replay --quiet "$1"
}

# One line a file, fields separated by tabs.
manifest() {
	local file
	echo "# sha256	file	events	Go	GOMAXPROCS	GOEXPERIMENT	end	command"
	for file in "$out"/*.gmt; do
		printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$(sha256sum <"$file" | cut -d' ' -f1)" "${file##*/}" "$(info "$file" events)" \
			"$(info "$file" Go)" "$(info "$file" GOMAXPROCS)" "$(info "$file" experiments)" "$(info "$file" end)" \
			"$(info "$file" program)"
	done
}

[ $# -gt 0 ] || set -- gofmt-p1 gofmt-norandbase-p1 gofmt-nogreentea-p4 compile-types-p4 esbuild-p4 httpserver-p4 \
	jsonbench-p1 goroutines-p16 large-p4 trees-p4 go124-goroutines-p8 go124-jsonbench-p1 go124-large-p4 go125-goroutines-p8 \
	go125-greentea-jsonbench-p4 go125-large-p4 go127-goroutines-p8 go127-jsonbench-p1 go127-large-p4 appends-freegc-p4 \
	linux386-jsonbench-p1 linux386-large-p4 linux386-trees-p4
for each; do
	make_one "$each"
done
manifest >"$work/MANIFEST"
mv "$work/MANIFEST" "$out/MANIFEST"
chmod 644 "$out/MANIFEST"
total=$(cat "$out"/*.gmt | wc -c)
[ "$total" -le $max_all ] || { echo "record.sh: the recordings have $total bytes together, more than $max_all" >&2; exit 1; }
