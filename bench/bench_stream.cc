// bench_stream.cc: the requests of a recorded program (stream.h), served by one allocator in one process.
//
// usage: bench_stream STREAM ALLOCATOR [--verify] [--seconds N]
//
// ALLOCATOR: gomem, gomem+BUILD (of the module bench_BUILD.so), gomem:keep (no memory is given back to the OS), reference, the name of a peer (malloc, and memset where the request was for zeroed memory), PEER:calloc, or none: one
// block for all requests, which shows what the reading of the stream costs. Prints one line of JSON. --verify: each object is found as it
// was left. --seconds: stops then (the reference is slow).
//
// A peer frees an object where the recorded sweep found it dead. For the port the same object is only forgotten: at each recorded cycle what
// lives is marked, by address, and spans are swept where the recording swept. What the program wrote is not in a recording: each object gets a
// few bytes at its start and one in each further 4 KiB, by whoever serves it. Stacks are left out. All Ps of the recording are one thread, and one P.
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include <cinttypes>

#include "bench/peers.h"
#include "bench/stream.h"

namespace {

struct Object {
	uint8_t *x;
	uint32_t size, death;
};

struct Run {
	const stream_head *head;
	const uint32_t *at, *end;
	Object *objects;
	bool verify;
	double seconds;
	uint64_t done, markNs; // requests; time of marking
};

const uint64_t second = 1000000000;

uint64_t clockOf(clockid_t id) {
	timespec t;
	clock_gettime(id, &t);
	return uint64_t(t.tv_sec) * second + uint64_t(t.tv_nsec);
}
uint64_t cpu() { return clockOf(CLOCK_PROCESS_CPUTIME_ID); }

uint64_t statusKiB(const char *name) {
	FILE *f = fopen("/proc/self/status", "r");
	char line[256];
	uint64_t value = 0;
	while (f != nullptr && fgets(line, sizeof(line), f) != nullptr) {
		if (strncmp(line, name, strlen(name)) == 0) {
			value = strtoull(line + strlen(name) + 1, nullptr, 10);
		}
	}
	if (f != nullptr) {
		fclose(f);
	}
	return value;
}

[[noreturn]] void bad(const char *what, const char *why) {
	fprintf(stderr, "bench_stream: %s: %s\n", what, why);
	exit(2);
}

// The program's own writing. The first word says whose the object is.
void touch(const Object &o, uint32_t id) {
	for (uint32_t i = 4096; i < o.size; i += 4096) {
		o.x[i] = uint8_t(id);
	}
	memcpy(o.x, &id, o.size < sizeof(id) ? o.size : sizeof(id));
}

void check(const Object &o, uint32_t id) {
	for (uint32_t i = 4096; i < o.size; i += 4096) {
		if (o.x[i] != uint8_t(id)) {
			bad("verify", "an object has changed");
		}
	}
	if (memcmp(o.x, &id, o.size < sizeof(id) ? o.size : sizeof(id)) != 0) {
		bad("verify", "an object has changed");
	}
}

void checkZero(const Object &o) {
	for (uint32_t i = 0; i < o.size; i++) {
		if (o.x[i] != 0) {
			bad("verify", "an object is not zero");
		}
	}
}

// serve reads the stream. A: malloc(op, size), free(x), and op(op, value) for the rest; untilFreed: objects are there until then.
template <class A> void serve(Run &r, A &a) {
	const uint64_t deadline = r.seconds > 0 ? clockOf(CLOCK_MONOTONIC) + uint64_t(r.seconds * double(second)) : 0;
	const uint32_t *at = r.at;
	uint64_t done = 0;
	while (at < r.end) {
		const stream_op op = stream_op(*at & ((1 << STREAM_BITS) - 1));
		const uint32_t value = *at++ >> STREAM_BITS;
		if (op <= STREAM_POINTERS) {
			Object &o = r.objects[value];
			o = {nullptr, at[0], at[1]};
			at += 2;
			o.x = static_cast<uint8_t *>(a.malloc(op, o.size));
			if (o.x == nullptr) {
				bad("malloc", "out of memory");
			}
			if (r.verify && op != STREAM_MALLOC && o.size < 65536) {
				checkZero(o);
			}
			touch(o, value);
			if (++done % 256 == 0 && deadline != 0 && clockOf(CLOCK_MONOTONIC) > deadline) {
				break;
			}
		} else if (op == STREAM_FREE) {
			if (r.verify && A::untilFreed) {
				check(r.objects[value], value);
			}
			a.free(r.objects[value].x);
			r.objects[value].x = nullptr;
		} else {
			at += op == STREAM_SCAVENGE;
			a.op(r, op, op == STREAM_SCAVENGE ? at[-1] : value);
		}
	}
	r.done = done;
}

struct None {
	static const bool untilFreed = false;
	uint8_t *block;
	void *malloc(stream_op, uint32_t) { return block; }
	void free(void *) {}
	void op(Run &, stream_op, uint32_t) {}
};

template <bool useCalloc> struct ByPeer {
	static const bool untilFreed = true;
	void *(*mallocOf)(size_t);
	void *(*callocOf)(size_t, size_t);
	void (*freeOf)(void *);
	void *malloc(stream_op op, uint32_t size) {
		if (useCalloc && op != STREAM_MALLOC) {
			return callocOf(1, size);
		}
		void *x = mallocOf(size);
		return op == STREAM_MALLOC ? x : memset(x, 0, size);
	}
	void free(void *x) { freeOf(x); }
	void op(Run &, stream_op, uint32_t) {}
};

struct ByModule {
	static const bool untilFreed = false; // only until the sweep: what lives is looked at when it is marked
	const bench_module *m;
	gomem_heap *heap;
	gomem_p *p;
	bool keep;
	void *(*mallocOf)(gomem_heap *, gomem_p *, uintptr_t, const gomem_type *, bool);
	gomem_type types[513]; // by words: all of them pointers; 0: one word, for what is larger
	void *malloc(stream_op op, uint32_t size) {
		const gomem_type *typ = nullptr;
		if (op == STREAM_POINTERS) {
			typ = &types[size / 8 < 513 ? size / 8 : 0];
		}
		return mallocOf(heap, p, size, typ, op != STREAM_MALLOC);
	}
	void free(void *) {}
	void markLive(Run &r, uint32_t cycle) {
		const uint64_t begin = cpu();
		for (uint32_t i = 0; i < r.head->ids; i++) {
			const Object &o = r.objects[i];
			if (o.x == nullptr || o.death <= cycle) {
				continue;
			}
			if (!m->mark(heap, o.x)) {
				bad("mark", "an object that lives is not in the heap");
			}
			if (r.verify) {
				check(o, i);
			}
		}
		r.markNs += cpu() - begin;
	}
	void op(Run &r, stream_op op, uint32_t value) {
		switch (op) {
		case STREAM_FINISH:
			return m->finish(heap, p);
		case STREAM_PHASE:
			return m->phase(heap, value);
		case STREAM_CYCLE:
			markLive(r, value);
			return m->start(heap, p);
		case STREAM_SWEEP:
			return m->sweepOne(heap, p);
		case STREAM_SCAVENGE:
			return keep ? void() : m->scavenge(heap, p, value >> 1, (value & 1) != 0);
		default:
			bad("stream", "an operation that there is not");
		}
	}
};

void *fill(size_t n) {
	void *p = mmap(nullptr, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (p == MAP_FAILED) {
		bad("mmap", "out of memory");
	}
	return p;
}

void open(Run &r, const char *path) {
	const int fd = ::open(path, O_RDONLY);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) != 0 || size_t(st.st_size) < sizeof(stream_head)) {
		bad(path, "no stream");
	}
	const void *p = mmap(nullptr, size_t(st.st_size), PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
	if (p == MAP_FAILED) {
		bad(path, "cannot be mapped");
	}
	r.head = static_cast<const stream_head *>(p);
	if (r.head->magic != STREAM_MAGIC || r.head->words != (size_t(st.st_size) - sizeof(stream_head)) / 4) {
		bad(path, "not a stream of this version: make it again with stream_make");
	}
	r.at = reinterpret_cast<const uint32_t *>(r.head + 1);
	r.end = r.at + r.head->words;
	r.objects = static_cast<Object *>(fill((size_t(r.head->ids) + 1) * sizeof(Object)));
}

uint64_t faults() {
	rusage u;
	getrusage(RUSAGE_SELF, &u);
	return uint64_t(u.ru_minflt + u.ru_majflt);
}

template <class A> void measure(Run &r, A &a, const char *name) {
	FILE *clear = fopen("/proc/self/clear_refs", "w");
	const bool cleared = clear != nullptr && fputs("5", clear) >= 0 && fclose(clear) == 0; // VmHWM starts anew
	const uint64_t rss = statusKiB("VmRSS:"), before = faults();
	const uint64_t wall = clockOf(CLOCK_MONOTONIC), begin = cpu();
	serve(r, a);
	const uint64_t took = cpu() - begin, wallTook = clockOf(CLOCK_MONOTONIC) - wall;
	const uint64_t faulted = faults() - before, peak = statusKiB("VmHWM:");
	printf("{\"allocator\": \"%s\", \"requests\": %" PRIu64 ", \"all_requests\": %" PRIu64 ", \"frees\": %" PRIu64
		   ", \"cycles\": %u, \"procs\": %u, \"cpu_ns\": %" PRIu64 ", \"wall_ns\": %" PRIu64 ", \"mark_ns\": %" PRIu64
		   ", \"peak_rss\": %" PRIu64 ", \"faults\": %" PRIu64 ", \"bytes\": %" PRIu64 ", \"peak_live\": %" PRIu64
		   ", \"peak_is_exact\": %s}\n",
		name, r.done, r.head->mallocs, r.head->frees, r.head->cycles, r.head->procs, took, wallTook, r.markNs,
		(peak - rss) * 1024, faulted, r.head->bytes, r.head->peakLive, cleared ? "true" : "false");
}

void runModule(Run &r, const char *file, const char *name) {
	static uint8_t mask[513];
	memset(mask, 0xff, sizeof(mask));
	const bench_module *m = loadModule(file);
	static ByModule a = {m, m->heap, m->p, strchr(name, ':') != nullptr, m->malloc, {}};
	for (uint32_t i = 0; i < 513; i++) {
		const uintptr_t bytes = i == 0 ? 8 : uintptr_t(i) * 8;
		a.types[i] = {bytes, bytes, mask};
	}
	measure(r, a, name);
}

template <bool useCalloc> void runPeer(Run &r, const Peer &p, const char *name) {
	ByPeer<useCalloc> a = {p.malloc, p.calloc, p.free};
	measure(r, a, name);
}

uint32_t largest(const Run &r) {
	uint32_t most = 0;
	for (const uint32_t *at = r.at; at < r.end;) {
		const uint32_t op = *at & ((1 << STREAM_BITS) - 1);
		most = op <= STREAM_POINTERS && at[1] > most ? at[1] : most;
		at += op <= STREAM_POINTERS ? 3 : op == STREAM_SCAVENGE ? 2 : 1;
	}
	return most;
}

void run(Run &r, const std::string &name) {
	if (name == "none") {
		None a = {static_cast<uint8_t *>(fill(largest(r) + 8))};
		return measure(r, a, "none");
	}
	if (name.compare(0, 6, "gomem+") == 0) {
		return runModule(r, (std::string(BENCH_LIB "/bench_") + name.substr(6) + ".so").c_str(), name.c_str());
	}
	if (name == "gomem" || name == "gomem:keep" || name == "reference") {
		return runModule(r, name == "reference" ? BENCH_ORACLE : BENCH_GOMEM, name.c_str());
	}
	const bool byCalloc = name.size() > 7 && name.substr(name.size() - 7) == ":calloc";
	for (Peer &p : peers()) {
		if (name == p.name + std::string(byCalloc ? ":calloc" : "")) {
			if (!load(p)) {
				exit(77);
			}
			return byCalloc ? runPeer<true>(r, p, name.c_str()) : runPeer<false>(r, p, name.c_str());
		}
	}
	bad(name.c_str(), "no such allocator");
}

} // namespace

int main(int argc, char **argv) {
	makeRoom(argv);
	Run r = {};
	for (int i = 3; i < argc; i++) {
		r.verify |= strcmp(argv[i], "--verify") == 0;
		if (strcmp(argv[i], "--seconds") == 0 && i + 1 < argc) {
			r.seconds = atof(argv[++i]);
		}
	}
	if (argc < 3) {
		fprintf(stderr, "usage: bench_stream STREAM ALLOCATOR [--verify] [--seconds N]\n");
		return 2;
	}
	open(r, argv[1]);
	run(r, argv[2]);
	return 0;
}
