#!/bin/bash
# The pages of the public header, without a warning; and a call without a comment is noticed.
set -eu
command -v doxygen >/dev/null || {
	echo "SKIPPED: no doxygen"
	exit 77
}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

pages() { # HEADER...
	(cat docs/Doxyfile && echo "OUTPUT_DIRECTORY = $tmp" && echo "INPUT = $*") | doxygen - 2>&1
}

pages gomem/gomem.h gomem/world.h >"$tmp/said" || {
	cat "$tmp/said"
	exit 1
}
! [ -s "$tmp/said" ] || {
	cat "$tmp/said"
	exit 1
}
calls=$(grep -cE '^(GOMEM_API )?[a-z].*\bgomem_[a-zA-Z_]+\(.*\);' gomem/gomem.h)
for name in $(grep -ohE '\bgomem_[a-zA-Z_]+\(' gomem/gomem.h | tr -d '(' | sort -u); do
	grep -rq "$name" "$tmp/html/gomem_8h.html" || {
		echo "$name is on no page"
		exit 1
	}
done
sed 's|^// gomem_mark marks.*||' gomem/gomem.h >"$tmp/gomem.h"
if pages "$tmp/gomem.h" >"$tmp/said"; then
	echo "a call without a comment was not noticed"
	exit 1
fi
grep -q 'gomem_mark' "$tmp/said"
echo "gomem.h and world.h: no warning; $calls calls of gomem.h"
