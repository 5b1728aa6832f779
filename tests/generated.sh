#!/usr/bin/env bash
# generated.sh GENERATOR FILE: the committed FILE is what GENERATOR writes.
set -eu
fresh=$(mktemp)
trap 'rm -f "$fresh"' EXIT
"$1" > "$fresh"
if ! diff -u "$2" "$fresh"; then
	echo "$2 is not what $(basename "$1") writes: ./dev generate"
	exit 1
fi
echo "$2: as generated, $(wc -l < "$2") lines"
