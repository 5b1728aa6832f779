#!/usr/bin/env bash
# The preset afl: one target built with AFL++, and fuzzed for some seconds. Skipped where AFL++ is not installed.
set -euo pipefail
root=${GOMEM_SOURCE_DIR:-$(cd "$(dirname "$0")/.." && pwd)}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

skip() {
	echo "skipped: $*"
	exit 77
}

command -v afl-clang-fast >/dev/null || skip "afl++ is not installed"
command -v afl-fuzz >/dev/null || skip "afl++ is not installed"
echo 'int LLVMFuzzerTestOneInput(const char *data, unsigned long n) { return data && n ? 0 : 0; }' >"$dir/probe.c"
AFL_QUIET=1 afl-clang-fast -fsanitize=fuzzer "$dir/probe.c" -o "$dir/probe" 2>"$dir/log" ||
	skip "afl-clang-fast does not link -fsanitize=fuzzer: $(tail -n 1 "$dir/log")"

if ! { AFL_QUIET=1 cmake -S "$root" -B "$dir/build" --preset afl &&
	AFL_QUIET=1 cmake --build "$dir/build" --target fuzz_pallocbits; } >"$dir/log" 2>&1; then
	tail -n 30 "$dir/log"
	echo "FAILED: the preset afl does not build"
	exit 1
fi

unset ASAN_OPTIONS UBSAN_OPTIONS # what CTest sets is not for this
export AFL_NO_UI=1 AFL_SKIP_CPUFREQ=1 AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES=1 AFL_NO_AFFINITY=1
timeout 60 afl-fuzz -V 5 -i "$root/fuzz/corpus/pallocbits" -o "$dir/out" -- "$dir/build/fuzz/fuzz_pallocbits" >"$dir/log" 2>&1 </dev/null || {
	tail -n 30 "$dir/log"
	echo "FAILED: afl-fuzz"
	exit 1
}
stats=$dir/out/default/fuzzer_stats
field() { sed -n "s/^$1 *: //p" "$stats"; }
if [ "$(field execs_done)" -lt 1000 ] || ! grep -q persistent "$stats"; then
	cat "$stats"
	echo "FAILED: too few executions, or a process for each"
	exit 1
fi
echo "fuzz_pallocbits under AFL++: $(field execs_done) executions, $(field execs_per_sec) a second, $(field edges_found) edges"
