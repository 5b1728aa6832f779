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
"$bench" --units=2 --benchmark_filter='/(8|64|1024|65536)/' --benchmark_format=csv >"$out" 2>/dev/null
for series in gomem_noscan gomem_dirty gomem_pointers gomem_noscan_lazy gomem_noscan_cycle reference_noscan glibc_calloc glibc_cycle; do
	for size in 8 64 1024 65536; do
		grep -q "^\"$series/$size/" "$out" || { echo "bench_smoke: $series/$size did not run"; exit 1; }
	done
done
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
for who in gomem gomem+now gomem+free gomem:keep reference glibc glibc:calloc; do
	served "$who" || { cat "$out.err"; echo "bench_smoke: the stream was not served by $who"; exit 1; }
done
served nobody && { echo "bench_smoke: an allocator that there is not served the stream"; exit 1; }
"$lib/stream_make" "$out.json" "$out.bad" 2>/dev/null && { echo "bench_smoke: a stream was made of what is no recording"; exit 1; }
echo "a stream is served"

# The fast path takes no lock and modifies nothing atomically; what a P alone has, no other writes to; refills do take locks.
for ps in 2 8; do
	"$lib/bench_counts" "$ps" | python3 -c '
import json, sys
got = json.load(sys.stdin)
assert got["fast"] > 10 * got["refills"] > 0 and got["refill_locks"] > 0 and got["fast_writes"] > got["fast"], got
assert got["fast_locks"] == got["fast_read_modify_writes"] == 0, got
shared = got["shared_lines"]
assert shared["mcache"] == shared["p"] == shared["heap"] == shared["other"] == 0, got'
done
for ps in 1 4; do
	"$lib/bench_locks" "$out.stream" "$ps" | python3 -c '
import json, sys
got = json.load(sys.stdin)
assert 0 < got["heap_locks"] < got["locks"] < got["mallocs"] / 10, got
assert 0 < got["page_cache_refills"] < got["page_cache_hits"] < got["refills"], got'
done
"$lib/bench_threads" --runs=1 --benchmark_filter='(gomem/512|spanSet/0)/2/' --benchmark_format=csv >"$out" 2>/dev/null
[ "$(grep -c '^"' "$out")" = 2 ] || { echo "bench_smoke: threads did not run"; exit 1; }
echo "the fast path takes no lock"

"$lib/bench_parts" --units=2 --benchmark_format=csv >"$out" 2>"$out.err" || { cat "$out.err"; echo "bench_smoke: bench_parts"; exit 1; }
! grep -q ',true,' "$out" || { grep ',true,' "$out"; echo "bench_smoke: a part failed"; exit 1; }
for part in summarize/AA countAlloc/1024 find_fragmented/64GB alloc_free/1TB grow/1GB refill spanOf cycle_alloc_mark_sweep; do
	grep -q "^\"$part/" "$out" || { echo "bench_smoke: $part did not run"; exit 1; }
done
echo "$(grep -c '^"' "$out") parts run"

"$lib/bench_scale" 30 | python3 -c '
import json, sys
got = [json.loads(line) for line in sys.stdin]
assert [point["log2"] for point in got] == [20, 22, 24, 26, 28, 30] and got[-1]["arenas"] == 17, got
assert all(point[what] > 0 for point in got[1:] for what in ("grow", "small", "span", "sweep", "free", "find", "hole")), got'
echo "a heap grows"

for build in lab hooks checked; do
	served "gomem+$build" || { cat "$out.err"; echo "bench_smoke: the stream was not served by gomem+$build"; exit 1; }
done
for build in asan asan_untold; do
	"$lib/bench_stream_asan" "$out.stream" "gomem+$build" --verify >/dev/null || { echo "bench_smoke: gomem+$build"; exit 1; }
done
for way in read lab plain real; do
	"$lib/bench_replay" traces/data/jsonbench-p1.gmt $way >"$out" || { echo "bench_smoke: replay, $way"; exit 1; }
done
"$lib/bench_replay_checked" traces/data/jsonbench-p1.gmt lab >"$out"
"$lib/bench_replay" "$out" read 2>/dev/null && { echo "bench_smoke: what is no recording was read"; exit 1; }
echo "builds and replays run"
