// bench_malloc.cc: allocation by size, the port beside the reference and the C allocators, each loaded by dlopen and called by a pointer.
//
// A unit is a batch of 256 KiB (4 objects at least) of which only the named phase is timed. Reported as counters, ns an object:
//   min  the fastest batch      low  one of 20 batches was faster      median  half of them were
// Names: SERIES/SIZE. gomem_noscan: memory without pointers, zeroed; gomem_dirty: not zeroed; gomem_pointers: every word a pointer. What
// was freed is swept before the timed phase, as Go's runtime.GC() does; with _lazy the sweep is inside. _inline: by gomem_mallocgc_inline; _sized:
// by it, and the compiler knows the size, as it does in Go's new(T). _cycle: allocate, and free all: for the port a cycle of the collector with
// nothing marked.
#include <benchmark/benchmark.h>

#include <malloc.h>
#include <string.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "bench/loops.h"
#include "bench/units.h"

namespace {

const size_t sizes[] = {8, 16, 24, 32, 48, 64, 96, 128, 256, 512, 1024, 4096, 32768, 65536};
const size_t batchBytes = 256 << 10;

size_t batch(size_t size) { return std::max<size_t>(4, batchBytes / size); }

// How a series allocates.
enum How : unsigned {
	ZERO = 1,
	LAZY = 2,   // the sweep is inside
	WHOLE = 4,  // and the cycle
	INLINE = 8, // the caller finds the way
	SIZED = 16, // and the compiler knows the size
	SLOW = 32,  // the reference: few objects and few units
	BLACK = 64  // while marking is on
};

struct Series {
	const char *name;
	const bench_module *m;
	const gomem_type *typ;
	unsigned how;
};

void module(benchmark::State &state, const Series &s, size_t size) {
	const bench_module *m = s.m;
	const gomem_type *typ = s.typ;
	const bool zero = (s.how & ZERO) != 0, sized = (s.how & SIZED) != 0;
	const size_t n = (s.how & SLOW) != 0 ? std::min<size_t>(64, batch(size)) : batch(size);
	std::vector<void *> got(n);
	auto allocate = [&] {
		if (sized) {
			m->sized(m->heap, m->p, size, typ != nullptr, n);
			return;
		}
		if ((s.how & INLINE) != 0) {
			m->inlined(m->heap, m->p, size, typ, n);
			return;
		}
		(zero ? allocateByModule<true> : allocateByModule<false>)(m->malloc, m->heap, m->p, size, typ, got.data(), n);
	};
	auto cycle = [&] {
		m->cycle(m->heap, m->p, (s.how & LAZY) == 0);
		if ((s.how & BLACK) != 0) { // what was allocated black lives until the next cycle
			m->cycle(m->heap, m->p, true);
			m->phase(m->heap, 1);
		}
	};
	if (m->malloc(m->heap, m->p, size, typ, zero) == nullptr) {
		state.SkipWithError("out of memory");
		return;
	}
	if (sized && !m->sized(m->heap, m->p, size, typ != nullptr, 1)) {
		state.SkipWithError("no such size");
		return;
	}
	if ((s.how & WHOLE) != 0) {
		run(
			state, n,
			[&] {
				allocate();
				cycle();
			},
			[] {});
		return;
	}
	run(state, n, allocate, cycle);
	m->cycle(m->heap, m->p, true); // marking is off for the next
}

void peer(benchmark::State &state, const Peer *a, size_t size, PeerWay way, bool whole) {
	const size_t n = batch(size);
	std::vector<void *> got(n);
	auto loop = way == CALLOC ? allocateByPeer<CALLOC> : way == MEMSET ? allocateByPeer<MEMSET> : allocateByPeer<DIRTY>;
	auto allocate = [&] { loop(a, size, got.data(), n); };
	auto release = [&] { freeByPeer(a, got.data(), n); };
	if (whole) {
		run(
			state, n,
			[&] {
				allocate();
				release();
			},
			[] {});
		return;
	}
	run(state, n, allocate, release);
}

template <class F> void add(const std::string &name, F f, bool slow = false) {
	benchmark::RegisterBenchmark(name.c_str(), f)
		->UseManualTime()
		->Unit(benchmark::kNanosecond)
		->Iterations(slow ? 3 : units());
}

void addModules(size_t size, const bench_module *g, const bench_module *o) {
	static const uint8_t allPointers[8192] = {0};
	static uint8_t *mask = nullptr;
	if (mask == nullptr) {
		mask = (uint8_t *)malloc(sizeof(allPointers));
		memset(mask, 0xff, sizeof(allPointers));
	}
	const gomem_type *typ = new gomem_type{size, size, mask};
	const std::string tail = "/" + std::to_string(size);
	const Series all[] = {
		{"gomem_noscan", g, nullptr, ZERO},
		{"gomem_noscan_inline", g, nullptr, ZERO | INLINE},
		{"gomem_noscan_sized", g, nullptr, ZERO | SIZED},
		{"gomem_dirty", g, nullptr, 0},
		{"gomem_pointers", g, typ, ZERO},
		{"gomem_pointers_inline", g, typ, ZERO | INLINE},
		{"gomem_pointers_sized", g, typ, ZERO | SIZED},
		{"gomem_noscan_black", g, nullptr, ZERO | BLACK},
		{"gomem_pointers_black", g, typ, ZERO | BLACK},
		{"gomem_noscan_lazy", g, nullptr, ZERO | LAZY},
		{"gomem_pointers_lazy", g, typ, ZERO | LAZY},
		{"gomem_noscan_cycle", g, nullptr, ZERO | LAZY | WHOLE},
		{"reference_noscan", o, nullptr, ZERO | LAZY | SLOW},
	};
	for (const Series &s : all) {
		add(
			s.name + tail, [s, size](benchmark::State &st) { module(st, s, size); }, (s.how & SLOW) != 0);
	}
}

void addPeer(size_t size, const Peer *a) {
	const std::string tail = "/" + std::to_string(size);
	const std::string name = a->name;
	add(name + "_calloc" + tail, [a, size](benchmark::State &st) { peer(st, a, size, CALLOC, false); });
	add(name + "_memset" + tail, [a, size](benchmark::State &st) { peer(st, a, size, MEMSET, false); });
	add(name + "_dirty" + tail, [a, size](benchmark::State &st) { peer(st, a, size, DIRTY, false); });
	add(name + "_cycle" + tail, [a, size](benchmark::State &st) { peer(st, a, size, MEMSET, true); });
}

} // namespace

int main(int argc, char **argv) {
	makeRoom(argv);
	// Or glibc gives memory back between two batches.
	mallopt(M_TRIM_THRESHOLD, 64 << 20);
	mallopt(M_MMAP_THRESHOLD, 1 << 20);
	takeUnits(argc, argv);
	const bench_module *g = loadModule(BENCH_GOMEM);
	const bench_module *o = loadModule(BENCH_ORACLE);
	std::vector<const Peer *> there;
	for (Peer &a : peers()) {
		if (load(a)) {
			there.push_back(&a);
		}
	}
	for (size_t size : sizes) {
		addModules(size, g, o);
		for (const Peer *a : there) {
			addPeer(size, a);
		}
	}
	benchmark::Initialize(&argc, argv);
	if (benchmark::ReportUnrecognizedArguments(argc, argv)) {
		return 2;
	}
	benchmark::RunSpecifiedBenchmarks();
	return 0;
}
