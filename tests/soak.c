// soak.c: a random load for as long as one likes: requests of recorded programs, on 1 to 8 Ps, physical pages of 4 to 64 KiB, with collections,
// stacks, pages, changes of the number of Ps, scavenging, and an OS that fails or moves calls at random.
//
// usage: soak MINUTES [--seed N] RECORDING...       episodes with seeds N, N + 1 and so on
//        soak --episode SEED RECORDING...           one episode again: what its seed says is all that it does
//
// After each fault and at the end of each episode the heap's check must hold, all objects be intact, and nothing be left of the heap in the end;
// the process must not grow. Exit code 1, with the seed, if not.
#include <errno.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "gomem/guard.h"
#include "traces/gmt.h"

enum { MOST_REQUESTS = 200000, MOST_LIVE = 4000, MOST_STREAMS = 16, MOST_SIZE = 4 << 20 };

typedef struct stream {
	uint64_t *requests; // size << 1 | noscan
	size_t n;
} stream;

typedef struct object {
	uint8_t *x;
	uintptr_t size;
	uint8_t tag; // 0: a scan object, all zero
} object;

typedef struct totals {
	uint64_t episodes, requests, faults, moves, refused, collections, thrown, checks;
} totals;

typedef struct soak {
	stream streams[MOST_STREAMS];
	size_t nstreams;
	uint64_t rnd, seed;
	gomem_os *os, *sim;
	gomem_heap *h;
	int nprocs;
	uintptr_t physPage;
	object live[MOST_LIVE];
	void *roots[MOST_LIVE];
	size_t n;
	struct {
		void *x;
		uint32_t size;
	} stacks[32];
	size_t nstacks;
	bool armed;
	jmp_buf back;
	char msg[600];
	totals t;
} soak;

static uint8_t masks[MOST_SIZE / 64];

static uint64_t random64(soak *s) {
	uint64_t z = s->rnd += 0x9e3779b97f4a7c15u;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}
static uint64_t below(soak *s, uint64_t n) { return random64(s) % n; }

static _Noreturn void failed(const soak *s, const char *what) {
	printf("FAILED: seed %llu: %s\nagain: soak --episode %llu RECORDING...\n", (unsigned long long)s->seed, what,
		(unsigned long long)s->seed);
	exit(1);
}

static void thrown(void *ctx, const char *msg) {
	soak *s = ctx;
	(void)snprintf(s->msg, sizeof s->msg, "%s", msg);
	longjmp(s->back, 1);
}

static bool load(const char *path, stream *to) {
	gmt_error err;
	gmt_reader *r = gmt_open(path, &err);
	if (r == NULL) {
		(void)fprintf(stderr, "%s\n", err.text);
		return false;
	}
	to->requests = malloc(MOST_REQUESTS * sizeof *to->requests);
	gmt_block b;
	while (to->requests != NULL && to->n < MOST_REQUESTS && gmt_next(r, &b, &err) == 1) {
		for (uint32_t i = 0; i < b.n && to->n < MOST_REQUESTS; i++) {
			const gmt_event *e = &b.events[i];
			if ((e->kind == EV_MALLOC || e->kind == EV_MALLOCBEGIN) && e->a > 0 && e->a <= MOST_SIZE) {
				to->requests[to->n++] = e->a << 1 | (e->b & 1);
			}
		}
	}
	gmt_close(r);
	return to->n > 0;
}

static gomem_p *anyP(soak *s) {
	gomem_p *p = gomem_heap_p(s->h, (int)below(s, (uint64_t)s->nprocs));
	gomem_prepareForSweep(s->h, p);
	return p;
}

static void check(soak *s) {
	const char *bad = gomem_heap_check(s->h);
	s->t.checks++;
	if (bad != NULL) {
		failed(s, bad);
	}
	for (size_t i = 0; i < s->n; i++) {
		const object *o = &s->live[i];
		if (o->x[0] != o->tag || o->x[o->size - 1] != o->tag || o->x[o->size / 2] != o->tag) {
			failed(s, "an object has changed");
		}
	}
}

static void disarm(soak *s) {
	if (s->armed) {
		s->t.faults += mem_fault_hits(s->os);
		mem_fault_arm(s->os, NULL);
		s->armed = false;
	}
}

static void arm(soak *s) {
	static const int errors[] = {ENOMEM, EAGAIN, EPERM};
	disarm(s);
	memFaultConfig cfg = {.err = errors[below(s, 3)], .lasting = below(s, 4) == 0};
	*(below(s, 3) == 0 ? &cfg.moveNth : &cfg.failNth) = 1 + below(s, 6);
	s->t.moves += cfg.moveNth != 0;
	mem_fault_arm(s->os, &cfg);
	s->armed = true;
}

// refused: a call said that there is no memory: a fault must have been the reason.
static void refused(soak *s) {
	if (errno != ENOMEM || !s->armed || mem_fault_hits(s->os) == 0) {
		failed(s, "refused without a reason");
	}
	s->t.refused++;
	disarm(s);
	check(s);
}

static void drop(soak *s, size_t i) { s->live[i] = s->live[--s->n]; }

static void request(soak *s, uint64_t r) {
	object o = {.size = (size_t)r >> 1, .tag = 0};
	static const gomem_type words = {8, 8, masks};
	const bool noscan = (r & 1) != 0 || o.size % 8 != 0;
	o.x = gomem_mallocgc(s->h, anyP(s), o.size, noscan ? NULL : &words, true);
	s->t.requests++;
	if (o.x == NULL) {
		refused(s);
		return;
	}
	if (o.x[0] != 0 || o.x[o.size - 1] != 0) {
		failed(s, "a new object is not zero");
	}
	if (noscan) {
		o.tag = (uint8_t)(1 + below(s, 255));
		o.x[0] = o.x[o.size - 1] = o.x[o.size / 2] = o.tag;
	}
	if (s->n == MOST_LIVE) {
		drop(s, (size_t)below(s, s->n));
	}
	s->live[s->n++] = o;
}

static void collect(soak *s) {
	for (size_t i = s->n; i-- > 0;) {
		if (below(s, 3) == 0) {
			drop(s, i);
		}
	}
	for (size_t i = 0; i < s->n; i++) {
		s->roots[i] = s->live[i].x;
	}
	const gomem_root root = {s->roots, s->n * sizeof s->roots[0], NULL};
	gomem_gc(s->h, anyP(s), &root, 1);
	s->t.collections++;
	check(s);
}

static void stacks(soak *s) {
	if (s->nstacks > 0 && (s->nstacks == 32 || below(s, 2) == 0)) {
		s->nstacks--;
		gomem_stackfree(s->h, anyP(s), s->stacks[s->nstacks].x, s->stacks[s->nstacks].size, below(s, 4) == 0);
		return;
	}
	const uint32_t size = 2048u << below(s, 7);
	void *x = gomem_stackalloc(s->h, anyP(s), size, below(s, 4) == 0);
	if (x == NULL) {
		refused(s);
		return;
	}
	s->stacks[s->nstacks].x = x;
	s->stacks[s->nstacks++].size = size;
}

static void other(soak *s) {
	switch (below(s, 12)) {
	case 0:
		collect(s);
		break;
	case 1:
		gomem_scavenge(s->h, anyP(s), (uintptr_t)below(s, 8 << 20), true);
		break;
	case 2: {
		const int n = (int)(1 + below(s, 8));
		if (gomem_procresize(s->h, n)) {
			s->nprocs = n;
		} else {
			refused(s);
		}
		break;
	}
	case 3: {
		void *x = gomem_allocManual(s->h, anyP(s), (uintptr_t)(1 + below(s, 40)));
		if (x != NULL) {
			gomem_freeManual(s->h, anyP(s), x);
		} else {
			refused(s);
		}
		break;
	}
	case 4:
	case 5:
	case 6:
		arm(s);
		break;
	default:
		stacks(s);
	}
}

static void play(soak *s) {
	const stream *from = &s->streams[below(s, s->nstreams)];
	const size_t n = (size_t)(500 + below(s, 8000));
	size_t at = (size_t)below(s, from->n);
	for (size_t i = 0; i < n; i++) {
		request(s, from->requests[at]);
		at = (at + 1) % from->n;
		if (below(s, 60) == 0) {
			other(s);
		}
	}
	disarm(s);
	check(s);
	s->n = 0;
	collect(s);
}

static bool begin(soak *s) {
	static const uintptr_t pages[] = {4096, 16384, 65536};
	s->physPage = pages[below(s, 3)];
	s->sim = mem_sim_new(&(memSimConfig){.backed = true, .physPageSize = s->physPage});
	s->os = mem_fault_new(s->sim, NULL);
	const gomem_config cfg = {.os = s->os,
		.checked = true,
		.hardened = guardsBuilt,
		.rand_seed = random64(s) | 1,
		.no_greentea = below(s, 4) == 0,
		.no_randomized_base = below(s, 4) == 0,
		.runtime_freegc = true,
		.throw_hook = thrown,
		.throw_ctx = s};
	s->h = gomem_heap_new(&cfg);
	s->nprocs = (int)(1 + below(s, 8));
	return s->h != NULL && gomem_procresize(s->h, s->nprocs);
}

static void episode(soak *s, uint64_t seed) {
	s->seed = s->rnd = seed;
	s->n = s->nstacks = 0;
	s->armed = false;
	if (!begin(s)) {
		failed(s, "no heap");
	}
	if (setjmp(s->back) == 0) {
		play(s);
	} else if (!s->armed || mem_fault_hits(s->os) == 0 || strncmp(s->msg, "out of memory", 13) != 0) {
		failed(s, s->msg); // only a sweep without memory may throw
	} else {
		s->t.thrown++;
		disarm(s);
	}
	gomem_heap_destroy(s->h);
	for (int use = MEM_HEAP; use <= MEM_META; use++) {
		for (int state = MEM_RESERVED; state < MEM_NSTATES; state++) {
			if (mem_sim_bytes(s->sim, (memUse)use, (memState)state) != 0) {
				failed(s, "memory was not given back");
			}
		}
	}
	s->os->destroy(s->os);
	s->t.episodes++;
}

static long residentKiB(void) {
	char line[128] = "";
	FILE *f = fopen("/proc/self/statm", "re");
	if (f == NULL) {
		return 0;
	}
	const bool read = fgets(line, sizeof line, f) != NULL;
	(void)fclose(f);
	const char *second = read ? strchr(line, ' ') : NULL;
	return second != NULL ? strtol(second, NULL, 10) * (sysconf(_SC_PAGESIZE) / 1024) : 0;
}

static double secondsNow(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

enum { WARM = 50, GROWTH_KIB = 16 << 10 };

static int run(soak *s, double minutes, uint64_t seed) {
	const double begun = secondsNow();
	long warm = 0, most = 0;
	while (secondsNow() - begun < minutes * 60) {
		episode(s, seed + s->t.episodes);
		const long now = residentKiB();
		if (s->t.episodes == WARM) {
			warm = now;
		}
		most = s->t.episodes > WARM && now > most ? now : most;
		if (isatty(1)) {
			printf(
				"\r\033[K%.1f minutes, %llu episodes", (secondsNow() - begun) / 60, (unsigned long long)s->t.episodes);
			(void)fflush(stdout);
		}
	}
	const totals *t = &s->t;
	printf(
		"%ssoak: %.1f minutes, %llu episodes (seeds %llu to %llu), %llu requests, %llu collections, %llu faults, %llu moves armed, %llu calls "
		"refused, %llu ended by a sweep without memory, %llu checks of heaps: no failure\n",
		isatty(1) ? "\r\033[K" : "", (secondsNow() - begun) / 60, (unsigned long long)t->episodes,
		(unsigned long long)seed, (unsigned long long)(seed + t->episodes - 1), (unsigned long long)t->requests,
		(unsigned long long)t->collections, (unsigned long long)t->faults, (unsigned long long)t->moves,
		(unsigned long long)t->refused, (unsigned long long)t->thrown, (unsigned long long)t->checks);
	if (t->episodes <= WARM) {
		printf("memory: fewer than %d episodes, not judged\n", WARM);
		return 0;
	}
	// AddressSanitizer has its shadow of each address that a heap ever had, and each heap has others.
	printf("memory: %ld KiB after %d episodes, at most %ld KiB after any later one%s\n", warm, WARM, most,
		poisonForbids ? "; not judged under AddressSanitizer" : "");
	return !poisonForbids && most > warm + GROWTH_KIB;
}

static int usage(void) {
	(void)fprintf(stderr, "usage: soak MINUTES [--seed N] RECORDING... | soak --episode SEED RECORDING...\n");
	return 2;
}

int main(int argc, char **argv) {
	static soak s;
	if (argc < 3) {
		return usage();
	}
	const bool one = strcmp(argv[1], "--episode") == 0;
	const bool seeded = !one && strcmp(argv[2], "--seed") == 0;
	const int first = one ? 3 : seeded ? 4 : 2;
	char *end = argv[1];
	const double minutes = one ? 0 : strtod(argv[1], &end);
	if (argc <= first || (!one && (*end != 0 || minutes <= 0))) {
		return usage();
	}
	uint64_t seed = 1;
	if (one || seeded) {
		seed = strtoull(argv[first - 1], &end, 10);
		if (*end != 0) {
			return usage();
		}
	}
	memset(masks, 0xff, sizeof masks);
	for (int i = first; i < argc && s.nstreams < MOST_STREAMS; i++) {
		if (!load(argv[i], &s.streams[s.nstreams++])) {
			return 2;
		}
	}
	if (!one) {
		return run(&s, minutes, seed);
	}
	episode(&s, seed);
	printf("episode %llu: %llu requests, no failure\n", (unsigned long long)seed, (unsigned long long)s.t.requests);
	return 0;
}
