#!/bin/bash
# bench_smoke.sh BENCH_MALLOC: every series of the benchmarks runs to its end with two units. It says nothing of time.
set -eu
bench=$1
if [ ! -x "$bench" ]; then
	echo "skipped: $bench was not built: Google Benchmark or a C++ compiler is missing"
	exit 77
fi
out=$(mktemp)
trap 'rm -f "$out"' EXIT
"$bench" --units=2 --benchmark_filter='(/(8|64|1024|65536)|summarize/.*)/' --benchmark_format=csv >"$out" 2>/dev/null
for series in gomem_noscan gomem_dirty gomem_pointers gomem_noscan_lazy gomem_noscan_cycle reference_noscan glibc_calloc glibc_cycle; do
	for size in 8 64 1024 65536; do
		grep -q "^\"$series/$size/" "$out" || { echo "bench_smoke: $series/$size did not run"; exit 1; }
	done
done
grep -q '^"summarize/AA/' "$out" || { echo "bench_smoke: summarize/AA did not run"; exit 1; }
echo "$(grep -c '^"' "$out") series run"
