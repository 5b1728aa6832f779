#!/usr/bin/env bash
# The example of docs/GC.md: the page has the program as it is built, and the output that it has.
# usage: gc_example.sh PROGRAM
set -eu
page=$GOMEM_SOURCE_DIR/docs/GC.md
source=$GOMEM_SOURCE_DIR/tests/gc_example.c
output=$("$1")
lines=0
while IFS= read -r line; do
	grep -qxF -e "$line" "$page" || { echo "docs/GC.md does not have this line of the output: $line"; exit 1; }
	lines=$((lines + 1))
done <<<"$output"
[ "$lines" = 4 ] || { echo "$lines lines of output, 4 were expected"; exit 1; }
# shellcheck disable=SC2016
code=$(sed -n '/^```c$/,/^```$/p' "$page" | sed '1d;/^```$/,$d')
[ "$code" = "$(tail -n +2 "$source")" ] || { echo "docs/GC.md shows another program than tests/gc_example.c"; exit 1; }
echo "the program and $lines lines of output are as docs/GC.md has them"
