#!/bin/bash
# bench_smoke.sh BENCH_MALLOC: every series of the benchmarks runs to its end with two units, and what they count is right. It says nothing
# of time. The other programs stand beside BENCH_MALLOC.
set -eu
bench=$1
if [ ! -x "$bench" ]; then
	echo "skipped: $bench was not built: Google Benchmark or a C++ compiler is missing"
	exit 77
fi
lib=$(dirname "$bench")
out=$(mktemp)
trap 'rm -f "$out" "$out".*' EXIT
"$bench" --units=2 --benchmark_filter='(/(8|64|1024|65536)|summarize/.*)/' --benchmark_format=csv >"$out" 2>/dev/null
for series in gomem_noscan gomem_dirty gomem_pointers gomem_noscan_lazy gomem_noscan_cycle reference_noscan glibc_calloc glibc_cycle; do
	for size in 8 64 1024 65536; do
		grep -q "^\"$series/$size/" "$out" || { echo "bench_smoke: $series/$size did not run"; exit 1; }
	done
done
grep -q '^"summarize/AA/' "$out" || { echo "bench_smoke: summarize/AA did not run"; exit 1; }
echo "$(grep -c '^"' "$out") series run"

# A stream: each object is found as it was left, by whoever serves it; all requests are served.
"$lib/stream_make" traces/data/go127-jsonbench-p1.gmt "$out.stream"
served() {
	"$lib/bench_stream" "$out.stream" "$1" --verify >"$out.json" 2>"$out.err" || return 1
	python3 -c '
import json, sys
got = json.load(open(sys.argv[1]))
assert got["requests"] == got["all_requests"] > 1000000 and got["frees"] > 0 and got["cycles"] > 0, got
assert got["peak_rss"] > got["peak_live"] > 0, got' "$out.json"
}
for who in gomem gomem:keep reference glibc glibc:calloc; do
	served "$who" || { cat "$out.err"; echo "bench_smoke: the stream was not served by $who"; exit 1; }
done
served nobody && { echo "bench_smoke: an allocator that there is not served the stream"; exit 1; }
"$lib/stream_make" "$out.json" "$out.bad" 2>/dev/null && { echo "bench_smoke: a stream was made of what is no recording"; exit 1; }
echo "a stream is served"
