// units.h: a benchmark whose units are timed one by one, with something untimed between them.
//
// Counters, ns a call: min, the fastest unit; low, one of 20 units was faster (of fewer: none); median, half of them were.
#ifndef GOMEM_BENCH_UNITS_H
#define GOMEM_BENCH_UNITS_H

#include <benchmark/benchmark.h>

#include <string.h>
#include <time.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <vector>

inline uint64_t now() {
	timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return uint64_t(t.tv_sec) * 1000000000 + uint64_t(t.tv_nsec);
}

// run times phase, which is n calls; prepare is not timed.
template <class Phase, class Prepare> void run(benchmark::State &state, size_t n, Phase phase, Prepare prepare) {
	std::vector<double> times;
	times.reserve(1 << 16);
	for (int i = 0; i < 3; i++) { // warm
		phase();
		prepare();
	}
	for (auto _ : state) {
		const uint64_t begin = now();
		phase();
		const uint64_t took = now() - begin;
		prepare();
		state.SetIterationTime(double(took) * 1e-9);
		times.push_back(double(took) / double(n));
	}
	std::sort(times.begin(), times.end());
	state.counters["min"] = times.front();
	state.counters["low"] = times[times.size() / 20];
	state.counters["median"] = times[times.size() / 2];
}

// units of each series: --units=N, the first argument.
inline int &units() {
	static int n = 400;
	return n;
}
inline void takeUnits(int &argc, char **&argv) {
	if (argc > 1 && strncmp(argv[1], "--units=", 8) == 0) {
		units() = std::max(1, atoi(argv[1] + 8));
		argv[1] = argv[0];
		argv++;
		argc--;
	}
}

#endif
