// stress_world.c: threads that use one heap in every way at once, for a while.
//
// usage: stress_world [--threads N] [--seconds S] [--seed N] [--stop] [--no-barrier]
//
// Each thread makes nodes, links them into a table that all share and into each other, follows links of others, and tests each node that it
// meets: its number, and the block of bytes that belongs to it. Beside that it blocks, takes stacks and pages, collects, changes the number
// of Ps, gives memory back, reads metrics, stops the world and tests all invariants. A node that was freed too early is found by its number.
// With STRESS_FUZZ it is a fuzz target instead (fuzz_threads, where the compiler has libFuzzer): an input says what each thread does.
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "gomem/mheap.h"
#include "gomem/world.h"

enum { SHARED = 512, HELD = 16, MOST_THREADS = 64, LINKS = 3 };

typedef struct node {
	void *link[LINKS];
	uint8_t *bytes;
	uint64_t number, nbytes;
} node;
static const uint8_t nodeMask[] = {0x0f};
static const gomem_type nodeType = {sizeof(node), 4 * sizeof(void *), nodeMask};
static const uint8_t bigMask[128] = {0x0f}; // nodes in large slots: with a header, and in spans of their own
static const gomem_type headerType = {1024, 4 * sizeof(void *), bigMask};
static const gomem_type largeType = {40000, 4 * sizeof(void *), bigMask};

typedef struct stress {
	gomem_world *w;
	void *shared[SHARED];
	_Atomic(bool) stop;
	_Atomic(uint64_t) ops, nodes, bad, checks;
	int threads;
	uint64_t seed;
} stress;

typedef struct worker {
	stress *s;
	gomem_thread *t;
	void *held[HELD];
	uint64_t rand;
	const uint8_t *input; // what is drawn instead of random numbers, or NULL
	size_t left;
	bool over; // the input is
} worker;

static uint64_t draw(worker *k) {
	if (k->left < 2) {
		k->over = true;
		return 0;
	}
	const uint64_t x = k->input[0] | (uint64_t)k->input[1] << 8;
	k->input += 2;
	k->left -= 2;
	return x;
}

static uint64_t next(worker *k) {
	if (k->input != NULL) {
		return draw(k);
	}
	k->rand ^= k->rand << 13;
	k->rand ^= k->rand >> 7;
	k->rand ^= k->rand << 17;
	return k->rand;
}
static uint64_t below(worker *k, uint64_t n) { return next(k) % n; }

static uint64_t hash(uint64_t x) { return (x ^ x >> 31) * 0x9e3779b97f4a7c15u; }

static void test(worker *k, const node *n) {
	if (n == NULL) {
		return;
	}
	bool good = n->number == hash(n->nbytes) + (uintptr_t)n->bytes;
	for (uint64_t i = 0; good && i < n->nbytes; i += 97) {
		good = n->bytes[i] == (uint8_t)n->nbytes;
	}
	if (!good) {
		atomic_fetch_add(&k->s->bad, 1);
	}
	atomic_fetch_add_explicit(&k->s->checks, 1, memory_order_relaxed);
}

static void make(worker *k) {
	const uint64_t kind = below(k, 64);
	const gomem_type *type = kind == 0 ? &largeType : kind < 8 ? &headerType : &nodeType;
	node *n = gomem_world_malloc(k->t, type->size, type, true);
	k->held[0] = n; // the next allocation is a safepoint
	if (n == NULL) {
		return;
	}
	const uint64_t nbytes = 1 + below(k, below(k, 32) == 0 ? 70000 : 200);
	uint8_t *bytes = gomem_world_malloc(k->t, (size_t)nbytes, NULL, false);
	if (bytes == NULL) {
		abort();
	}
	memset(bytes, (int)(uint8_t)nbytes, (size_t)nbytes);
	n->nbytes = nbytes;
	n->number = hash(nbytes) + (uintptr_t)bytes;
	gomem_write_barrier(k->t, (void **)&n->bytes, bytes);
	for (int i = 0; i < LINKS; i++) {
		gomem_write_barrier(k->t, &n->link[i], k->held[below(k, HELD)]);
	}
	gomem_write_barrier(k->t, &k->s->shared[below(k, SHARED)], n);
	k->held[1 + below(k, HELD - 1)] = n;
	atomic_fetch_add_explicit(&k->s->nodes, 1, memory_order_relaxed);
}

static void walk(worker *k) {
	node *n = gomem_read(&k->s->shared[below(k, SHARED)]);
	for (int i = 0; i < 8 && n != NULL; i++) {
		test(k, n);
		k->held[below(k, HELD)] = n;
		n = gomem_read(&n->link[below(k, LINKS)]);
	}
}

// move takes a link out of the heap into a local variable: what only the deletion half of the barrier sees.
static void move(worker *k) {
	node *n = gomem_read(&k->s->shared[below(k, SHARED)]);
	if (n == NULL) {
		return;
	}
	void **slot = &n->link[below(k, LINKS)];
	k->held[below(k, HELD)] = gomem_read(slot);
	gomem_write_barrier(k->t, slot, below(k, 2) == 0 ? NULL : k->held[below(k, HELD)]);
}

static void drop(worker *k) {
	for (int i = 0; i < 4; i++) {
		gomem_write_barrier(k->t, &k->s->shared[below(k, SHARED)], NULL);
		k->held[below(k, HELD)] = NULL;
	}
}

static void stacks(worker *k) {
	const uint32_t n = 2048u << below(k, 7);
	gomem_heap *h = gomem_world_heap(k->s->w);
	void *stk = gomem_stackalloc(h, gomem_thread_p(k->t), n, false);
	void *pages = gomem_allocManual(h, gomem_thread_p(k->t), (uintptr_t)(1 + below(k, 40)));
	gomem_safepoint(k->t);
	if (stk != NULL) {
		gomem_stackfree(h, gomem_thread_p(k->t), stk, n, false);
	}
	if (pages != NULL) {
		gomem_freeManual(h, gomem_thread_p(k->t), pages);
	}
}

static void checkAll(worker *k) {
	gomem_stopTheWorld(k->t);
	const char *bad = gomem_world_check(k->s->w);
	if (bad != NULL) {
		fprintf(stderr, "stress_world: %s\n", bad);
		atomic_fetch_add(&k->s->bad, 1);
	}
	gomem_startTheWorld(k->t);
}

static void readMetrics(worker *k) {
	gomem_metric m[] = {{.name = "/gc/heap/goal:bytes"}, {.name = "/memory/classes/total:bytes"}};
	gomem_world_metrics(k->t, m, 2);
	if (!m[0].known || m[1].value == 0) {
		atomic_fetch_add(&k->s->bad, 1);
	}
}

enum { KINDS = 32, RARE = 16 };
#ifdef STRESS_FUZZ
// What libFuzzer is shown: each operation, by what the collector did meanwhile. The compiler's own counters would be races of their own.
static _Atomic(uint8_t) seen[4 * KINDS] __attribute__((section("__libfuzzer_extra_counters"), used));
static void see(worker *k, uint64_t kind) {
	gomem_heap *h = gomem_world_heap(k->s->w);
	const uint64_t state = (atomic_load(&h->gcphase) != 0 ? 1u : 0u) + (isSweepDone(h) ? 2u : 0u);
	atomic_fetch_add_explicit(&seen[state * KINDS + kind], 1, memory_order_relaxed);
}
#else
static void see(worker *k, uint64_t kind) {
	(void)k;
	(void)kind;
}
#endif

static void rare(worker *k) {
	const uint64_t kind = below(k, 12);
	see(k, RARE + kind);
	switch (kind) {
	case 0:
		gomem_world_gc(k->t);
		return;
	case 1:
		if (!gomem_world_procs(k->t, 1 + (int)below(k, (uint64_t)k->s->threads))) {
			abort();
		}
		return;
	case 2:
		checkAll(k);
		return;
	case 3:
		gomem_freeOSMemory(k->t);
		return;
	case 4:
		(void)gomem_setGCPercent(k->t, 25 + (int)below(k, 200));
		return;
	case 5:
		(void)gomem_setMemoryLimit(k->t, below(k, 2) == 0 ? INT64_MAX : 32 << 20);
		return;
	case 6:
		(void)gomem_scavenge(gomem_world_heap(k->s->w), gomem_thread_p(k->t), 1 << 20, false);
		return;
	case 7:
		readMetrics(k);
		return;
	default:
		gomem_blocking_begin(k->t);
		nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
		gomem_blocking_end(k->t);
	}
}

static void step(worker *k) {
	const uint64_t what = below(k, 1000);
	see(k, what / 100);
	if (what == 0) {
		rare(k);
	} else if (what < 20) {
		stacks(k);
	} else if (what < 60) {
		(void)gomem_sweepone(gomem_world_heap(k->s->w), gomem_thread_p(k->t));
		gomem_safepoint(k->t);
	} else if (what < 160) {
		drop(k);
	} else if (what < 400) {
		walk(k);
	} else if (what < 600) {
		move(k);
	} else {
		make(k);
	}
}

static void *work(void *arg) {
	worker *k = arg;
	static const uint8_t all[HELD / 8] = {0xff, 0xff};
	const gomem_root roots[] = {{k->held, sizeof(k->held), all}};
	k->t = gomem_world_enter(k->s->w);
	gomem_thread_roots(k->t, roots, 1);
	while (!atomic_load(&k->s->stop) && !k->over) {
		step(k);
		gomem_safepoint(k->t);
		atomic_fetch_add_explicit(&k->s->ops, 1, memory_order_relaxed);
		if (below(k, 20000) == 0) { // as threads that end and begin
			memset(k->held, 0, sizeof(k->held));
			gomem_world_leave(k->t);
			k->t = gomem_world_enter(k->s->w);
			gomem_thread_roots(k->t, roots, 1);
		}
	}
	gomem_world_leave(k->t);
	return NULL;
}

#ifdef STRESS_FUZZ
// An input is a byte of configuration, then what each of the threads draws, in equal parts.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
	static stress s;
	static worker workers[4];
	static uint8_t all[SHARED / 8];
	const unsigned config = n > 0 ? data[0] : 0;
	memset(&s, 0, sizeof(s));
	memset(all, 0xff, sizeof(all));
	s.threads = 2 + (int)(config % 3);
	const gomem_root globals[] = {{s.shared, sizeof(s.shared), all}};
	s.w = gomem_world_new(&(gomem_world_config){.procs = 1 + (int)(config / 4 % 4),
		.gcstoptheworld = (config & 16) != 0,
		.no_background = (config & 32) != 0,
		.heap = {.checked = true, .no_greentea = (config & 64) != 0, .rand_seed = 42},
		.globals = globals,
		.nglobals = 1});
	if (s.w == NULL) {
		return 0; // no thread or no memory
	}
	pthread_t threads[4];
	const size_t part = n > 0 ? (n - 1) / (size_t)s.threads : 0;
	for (int i = 0; i < s.threads; i++) {
		workers[i] = (worker){.s = &s, .input = data + (n > 0 ? 1 : 0) + (size_t)i * part, .left = part};
		if (pthread_create(&threads[i], NULL, work, &workers[i]) != 0) {
			abort();
		}
	}
	for (int i = 0; i < s.threads; i++) {
		pthread_join(threads[i], NULL);
	}
	worker last = {.s = &s, .t = gomem_world_enter(s.w), .rand = 1};
	gomem_world_gc(last.t);
	for (int i = 0; i < SHARED; i++) {
		test(&last, s.shared[i]);
	}
	checkAll(&last);
	gomem_world_leave(last.t);
	gomem_world_destroy(s.w);
	if (s.bad != 0) {
		abort();
	}
	return 0;
}
#else
// cycles: how many there were, and how many of them by the pacer.
static void cycles(stress *s, uint64_t *all, uint64_t *automatic) {
	gomem_thread *t = gomem_world_enter(s->w);
	gomem_metric m[] = {{.name = "/gc/cycles/total:gc-cycles"}, {.name = "/gc/cycles/automatic:gc-cycles"}};
	gomem_world_metrics(t, m, 2);
	gomem_world_leave(t);
	*all = m[0].value;
	*automatic = m[1].value;
}

static bool saidNothing(stress *s) {
	uint64_t all, automatic;
	cycles(s, &all, &automatic);
	return s->checks == 0 || all == 0;
}

static int report(stress *s, double seconds) {
	uint64_t all, automatic;
	cycles(s, &all, &automatic);
	printf(
		"%d threads x %.1f s = %.2f thread minutes, seed %llu: %llu operations, %llu nodes made, %llu tested, %llu cycles (%llu by the "
		"pacer), %llu findings\n",
		s->threads, seconds, s->threads * seconds / 60, (unsigned long long)s->seed, (unsigned long long)s->ops,
		(unsigned long long)s->nodes, (unsigned long long)s->checks, (unsigned long long)all,
		(unsigned long long)automatic, (unsigned long long)s->bad);
	return s->bad != 0 || s->checks == 0 || all == 0;
}

static double clockNow(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int play(stress *s, gomem_world_config cfg, double seconds) {
	static uint8_t all[SHARED / 8];
	memset(all, 0xff, sizeof(all));
	const gomem_root globals[] = {{s->shared, sizeof(s->shared), all}};
	cfg.heap.checked = true;
	cfg.procs = s->threads > 1 ? s->threads - 1 : 1;
	cfg.globals = globals;
	cfg.nglobals = 1;
	s->w = gomem_world_new(&cfg);
	if (s->w == NULL) {
		perror("stress_world");
		return 2;
	}
	pthread_t threads[MOST_THREADS];
	static worker workers[MOST_THREADS];
	const double begin = clockNow();
	for (int i = 0; i < s->threads; i++) {
		workers[i] = (worker){.s = s, .rand = hash(s->seed * MOST_THREADS + (uint64_t)i + 1) | 1};
		if (pthread_create(&threads[i], NULL, work, &workers[i]) != 0) {
			perror("stress_world");
			exit(2);
		}
	}
	const double patience = 60; // for a busy machine
	while (s->bad == 0 && (clockNow() - begin < seconds || (clockNow() - begin < patience && saidNothing(s)))) {
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	}
	atomic_store(&s->stop, true);
	for (int i = 0; i < s->threads; i++) {
		pthread_join(threads[i], NULL);
	}
	const int bad = report(s, clockNow() - begin);
	gomem_world_destroy(s->w);
	return bad;
}

int main(int argc, char **argv) {
	static stress s = {.threads = 4, .seed = 1};
	gomem_world_config cfg = {0};
	double seconds = 3;
	for (int i = 1; i < argc; i++) {
		const bool more = i + 1 < argc;
		if (strcmp(argv[i], "--threads") == 0 && more) {
			s.threads = (int)strtol(argv[++i], NULL, 10);
		} else if (strcmp(argv[i], "--seconds") == 0 && more) {
			seconds = strtod(argv[++i], NULL);
		} else if (strcmp(argv[i], "--seed") == 0 && more) {
			s.seed = strtoull(argv[++i], NULL, 10);
		} else if (strcmp(argv[i], "--stop") == 0) {
			cfg.gcstoptheworld = true;
		} else if (strcmp(argv[i], "--no-barrier") == 0) {
			cfg.no_barrier = true;
		} else {
			fprintf(stderr, "usage: stress_world [--threads N] [--seconds S] [--seed N] [--stop] [--no-barrier]\n");
			return 2;
		}
	}
	if (s.threads < 1 || s.threads > MOST_THREADS) {
		fprintf(stderr, "stress_world: 1 to %d threads\n", MOST_THREADS);
		return 2;
	}
	return play(&s, cfg, seconds);
}
#endif
