// bench_threads.cc: allocation by 1, 2 and 4 threads at once, the port beside the C allocators, and the port's spanSet.
//
// SERIES/SIZE/THREADS. Each thread allocates 16 MiB of objects, zeroed, which are kept until all threads are done; then they are freed (the
// port: by a cycle that marks nothing, and sweeps), untimed. spanSet: a span is pushed to and one popped from a set that all threads share.
// Threads are spread over the CPUs. Timed is from the first that begins, after all stood ready, until the last one is done. Counters: items a second of all threads together, the most
// (max) and the middle (median) of the runs.
#include <benchmark/benchmark.h>

#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <thread>

#include "bench/loops.h"

namespace {

const size_t bytes = 16 << 20;
const unsigned spans = 1 << 20;
int runs = 8; // of each series: --runs=N

struct Work {
	size_t items;                   // of a thread
	std::function<void(int)> timed; // by each thread
	std::function<void(int)> after; // the same
	std::function<void()> afterAll; // by one
};

// pin keeps a thread where it is told: or the scheduler may leave two on one CPU for as long as a run lasts.
void pin(int id) {
	cpu_set_t all, one;
	CPU_ZERO(&one);
	if (sched_getaffinity(0, sizeof(all), &all) != 0) {
		return;
	}
	int k = id % CPU_COUNT(&all), cpu = 0;
	while (!CPU_ISSET(cpu, &all) || k-- > 0) {
		cpu++;
	}
	CPU_SET(cpu, &one);
	pthread_setaffinity_np(pthread_self(), sizeof(one), &one);
}

double seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// run has n threads do the work, runs times.
void run(benchmark::State &state, int n, const Work &w) {
	pthread_barrier_t ready, done;
	pthread_barrier_init(&ready, nullptr, unsigned(n) + 1);
	pthread_barrier_init(&done, nullptr, unsigned(n) + 1);
	std::vector<std::thread> threads;
	std::vector<double> begin, end;
	begin.resize(size_t(n));
	end.resize(size_t(n));
	for (int id = 0; id < n; id++) {
		threads.emplace_back([&, id] {
			pin(id);
			for (int i = 0; i < runs + 1; i++) {
				pthread_barrier_wait(&ready);
				begin[size_t(id)] = seconds();
				w.timed(id);
				end[size_t(id)] = seconds();
				pthread_barrier_wait(&done);
				w.after(id);
				pthread_barrier_wait(&done);
			}
		});
	}
	std::vector<double> rates;
	auto once = [&] {
		pthread_barrier_wait(&ready);
		pthread_barrier_wait(&done);
		pthread_barrier_wait(&done);
		w.afterAll();
		return *std::max_element(end.begin(), end.end()) - *std::min_element(begin.begin(), begin.end());
	};
	once(); // warm
	for (auto _ : state) {
		const double took = once();
		state.SetIterationTime(took);
		rates.push_back(double(w.items) * n / took);
	}
	for (std::thread &t : threads) {
		t.join();
	}
	std::sort(rates.begin(), rates.end());
	state.counters["max"] = rates.back();
	state.counters["median"] = rates[rates.size() / 2];
}

void module(benchmark::State &state, int threads, const bench_module *m, size_t size) {
	std::vector<gomem_p *> ps;
	for (int i = 0; i < threads; i++) {
		ps.push_back(m->procs(m->heap, i));
	}
	const size_t n = bytes / size;
	std::vector<std::vector<void *>> got;
	got.resize(size_t(threads), std::vector<void *>(n));
	auto timed = [&](int id) {
		allocateByModule<true>(m->malloc, m->heap, ps[size_t(id)], size, nullptr, got[size_t(id)].data(), n);
	};
	run(state, threads, {n, timed, [](int) {}, [&] { m->cycle(m->heap, m->p, true); }});
}

void peer(benchmark::State &state, int threads, const Peer *a, size_t size) {
	const size_t n = bytes / size;
	std::vector<std::vector<void *>> got;
	got.resize(size_t(threads), std::vector<void *>(n));
	auto timed = [&](int id) { allocateByPeer<MEMSET>(a, size, got[size_t(id)].data(), n); };
	auto after = [&](int id) { freeByPeer(a, got[size_t(id)].data(), n); };
	run(state, threads, {n, timed, after, [] {}});
}

void spanSet(benchmark::State &state, int threads, const bench_module *m) {
	run(state, threads, {spans, [&](int) { m->pushPop(m->heap, spans); }, [](int) {}, [] {}});
}

template <class F> void add(const std::string &name, F f) {
	for (int threads : {1, 2, 4}) {
		benchmark::RegisterBenchmark(
			(name + "/" + std::to_string(threads)).c_str(), [f, threads](benchmark::State &s) { f(s, threads); })
			->UseManualTime()
			->Iterations(runs);
	}
}

} // namespace

int main(int argc, char **argv) {
	makeRoom(argv);
	if (argc > 1 && strncmp(argv[1], "--runs=", 7) == 0) {
		runs = std::max(1, atoi(argv[1] + 7));
		argv[1] = argv[0];
		argv++;
		argc--;
	}
	mallopt(M_TRIM_THRESHOLD, 256 << 20); // or glibc gives memory back between two runs
	const bench_module *g = loadModule(BENCH_GOMEM);
	std::vector<const Peer *> there;
	for (Peer &a : peers()) {
		if (load(a)) {
			there.push_back(&a);
		}
	}
	for (size_t size : {16, 64, 512}) {
		add("gomem/" + std::to_string(size), [=](benchmark::State &s, int threads) { module(s, threads, g, size); });
		for (const Peer *a : there) {
			add(a->name + ("/" + std::to_string(size)),
				[=](benchmark::State &s, int threads) { peer(s, threads, a, size); });
		}
	}
	add("spanSet/0", [=](benchmark::State &s, int threads) { spanSet(s, threads, g); });
	benchmark::Initialize(&argc, argv);
	if (benchmark::ReportUnrecognizedArguments(argc, argv)) {
		return 2;
	}
	benchmark::RunSpecifiedBenchmarks();
	return 0;
}
