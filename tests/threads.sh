#!/usr/bin/env bash
# The tests that run threads, under ThreadSanitizer (preset tsan; gcc's does not know fences): what the oracle cannot see is a lock that is missing.
set -euo pipefail
root=${GOMEM_SOURCE_DIR:-$(cd "$(dirname "$0")/.." && pwd)}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
unset ASAN_OPTIONS UBSAN_OPTIONS # what CTest sets is not for this

echo 'int main(void) { return 0; }' >"$dir/probe.c"
if ! clang -fsanitize=thread "$dir/probe.c" -o "$dir/probe" 2>/dev/null || ! "$dir/probe" 2>/dev/null; then
	echo "skipped: clang -fsanitize=thread does not work here"
	exit 77
fi
tests="test_gomem test_mspanset test_mgcscavenge test_platform test_world"
# shellcheck disable=SC2086
if ! { cmake -S "$root" -B "$dir/build" --preset tsan && cmake --build "$dir/build" --target $tests; } >"$dir/log" 2>&1; then
	tail -n 30 "$dir/log"
	echo "FAILED: the preset tsan does not build"
	exit 1
fi
for test in $tests; do
	if ! "$dir/build/lib/tests/$test" >"$dir/log" 2>&1; then
		cat "$dir/log"
		echo "FAILED: $test under ThreadSanitizer"
		exit 1
	fi
	echo "$test: $(grep -c '^\[       OK \]' "$dir/log") tests, no race"
done
if ! cmake --build "$dir/build" --target stress_world >"$dir/log" 2>&1; then
	tail -n 30 "$dir/log"
	exit 1
fi
for how in "--seconds 8" "--seconds 4 --threads 6 --seed 2" "--seconds 3 --stop --seed 3"; do
	# shellcheck disable=SC2086
	"$dir/build/lib/tests/stress_world" $how || exit 1
done
