#!/usr/bin/env bash
# traces/data/MANIFEST and the recordings agree: hash, events, header, end; sizes and numbers are within the limits. So do traces/data/gotrace/MANIFEST
# and the Go traces.
set -euo pipefail
cd "$(dirname "$0")/../traces/data"

bad=0
complain() {
	echo "manifest: $*"
	bad=1
}

# field FILE NAME: what `gomem info` says of it.
field() {
	"$GOMEM" info "$1" | sed -n "s/^$2  *//p"
}

# check_fields FILE: `gomem info` says of it what stands in the lines NAME|VALUE on standard input.
check_fields() {
	local name want got
	while IFS='|' read -r name want; do
		got=$(field "$1" "$name")
		[ "$got" = "$want" ] || complain "$1: $name is $got, the MANIFEST says $want"
	done
}

files=0 total=0 most=0 several=0 one=0
while IFS=$'\t' read -r hash file events go procs experiments end command; do
	[ "${hash:0:1}" != "#" ] || continue
	files=$((files + 1))
	if [ ! -f "$file" ]; then
		complain "$file is missing"
		continue
	fi
	size=$(stat -c %s "$file")
	total=$((total + size))
	[ "$size" -le $((6 << 20)) ] || complain "$file has $size bytes"
	[ "$(sha256sum <"$file")" = "$hash  -" ] || complain "$file: its sha256 is another"
	[ "$events" -ge 1000000 ] || complain "$file has only $events events"
	[ "$events" -le "$most" ] || most=$events
	[ "$procs" -lt 4 ] || several=1
	[ "$procs" -ne 1 ] || one=1
	"$GOMEM" info --verify "$file" >/dev/null || complain "$file cannot be read"
	check_fields "$file" <<-END
		events|$events
		Go|$go
		GOMAXPROCS|$procs
		experiments|$experiments
		end|$end
		program|$command
	END
done <MANIFEST

for file in *.gmt; do
	grep -q "	$file	" MANIFEST || complain "$file is not in MANIFEST"
done
[ "$files" -ge 8 ] || complain "there are only $files recordings"
[ "$total" -le $((40 << 20)) ] || complain "all recordings have $total bytes"
[ "$most" -ge 4000000 ] || complain "no recording has 4 million events"
[ "$one$several" = 11 ] || complain "recordings with one P and with four or more are needed"
echo "manifest: $files recordings, $total bytes"

cd gotrace
files=0 total=0
while IFS=$'\t' read -r hash file go procs generations events; do
	[ "${hash:0:1}" != "#" ] || continue
	files=$((files + 1))
	if [ ! -f "$file" ]; then
		complain "$file is missing"
		continue
	fi
	total=$((total + $(stat -c %s "$file")))
	[ "$(sha256sum <"$file")" = "$hash  -" ] || complain "$file: its sha256 is another"
	if [ -z "$go" ]; then
		"$GOMEM" info "$file" >/dev/null 2>&1 && complain "$file: there are objects in it, the MANIFEST says none"
		continue
	fi
	check_fields "$file" <<-END
		trace|$go
		GOMAXPROCS|$procs
		generations|$generations
		events|$events
	END
done <MANIFEST
for file in *.trace.zst; do
	grep -q "	$file	" MANIFEST || complain "$file is not in MANIFEST"
done
[ "$files" -ge 15 ] || complain "there are only $files Go traces"
[ "$total" -le $((10 << 20)) ] || complain "all Go traces have $total bytes"
echo "manifest: $files Go traces, $total bytes"
exit $bad
