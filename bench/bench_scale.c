// bench_scale.c: what allocation, growth and sweeping cost as a heap grows to 1 TB, in the simulated OS: only metadata is real memory.
//
// usage: bench_scale MOST      MOST: log2 of the largest heap, 20 (1 MB) to 40 (1 TB). Prints one line of JSON for each size.
//
// The heap is filled with objects of 1 MiB, from each size to four times that. Then, at that size, ns, the least of some tries:
//   grow    one MiB of the way there: arenas, page allocator, span
//   small   an object of 64 bytes, refills included
//   span    an object of 8 KiB: a span of its own
//   sweep   a span, in a cycle in which all objects live
//   free    a span, in a cycle in which every second object of 1 MiB died
//   find    a run of pages longer than the holes that those left: searched for over all of the heap
//   hole    one of the holes filled again
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "gomem/mcache.h"

enum { LEAST = 20, MOST = 40, TRIES = 5, SMALL = 10000, SPANS = 1000, RUNS = 32, FILLERS = 64 }; // FILLERS: of an arena
static const uintptr_t filler = 1 << 20;

typedef struct scale {
	gomem_heap *h;
	gomem_p *p;
	void **fillers;
	uint64_t n;
} scale;

static double now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static double least(double a, double b) { return b < a ? b : a; }

static void *take(scale *s, uintptr_t size) {
	void *x = gomem_mallocgc(s->h, s->p, size, NULL, false);
	if (x == NULL) {
		(void)fprintf(stderr, "bench_scale: out of memory\n");
		exit(2);
	}
	return x;
}

// cycle marks every step-th filler; gives ns a span of the sweep.
static double cycle(scale *s, uint64_t step) {
	gomem_finishsweep(s->h, s->p);
	for (uint64_t i = 0; i < s->n; i += step) {
		gomem_mark(s->h, s->fillers[i]);
	}
	gomem_startsweep(s->h);
	gomem_prepareForSweep(s->h, s->p);
	const double begin = now();
	uint64_t swept = 0;
	while (gomem_sweepone(s->h, s->p) != ~(uintptr_t)0) {
		swept++;
	}
	return (now() - begin) / (double)(swept > 0 ? swept : 1);
}

// grow fills the heap in parts, of an arena at least; gives ns a filler, of the fastest part.
static double grow(scale *s, uint64_t bytes) {
	const uint64_t end = bytes / filler;
	uint64_t part = (end - s->n) / 8 / FILLERS * FILLERS;
	part = part > 0 ? part : end - s->n;
	double ns = 1e18;
	while (s->n < end) {
		const uint64_t first = s->n, last = first + part < end ? first + part : end;
		const double begin = now();
		while (s->n < last) {
			s->fillers[s->n++] = take(s, filler);
		}
		ns = least(ns, (now() - begin) / (double)(last - first));
	}
	return ns;
}

// objects gives ns an object.
static double objects(scale *s, unsigned n, uintptr_t size) {
	double ns = 1e18;
	for (int k = 0; k < TRIES; k++) {
		const double begin = now();
		for (unsigned i = 0; i < n; i++) {
			take(s, size);
		}
		ns = least(ns, (now() - begin) / n);
	}
	return ns;
}

static double runs(scale *s, uintptr_t npages) {
	void *run[RUNS];
	double ns = 1e18;
	for (int k = 0; k < TRIES; k++) {
		const double begin = now();
		for (int i = 0; i < RUNS; i++) {
			run[i] = gomem_allocManual(s->h, s->p, npages);
		}
		ns = least(ns, (now() - begin) / (double)RUNS);
		for (int i = 0; i < RUNS; i++) {
			gomem_freeManual(s->h, s->p, run[i]);
		}
	}
	return ns;
}

static double fillHoles(scale *s) {
	double ns = 1e18;
	const uint64_t part = s->n / 2 / TRIES + 1;
	uint64_t k = 0;
	double begin = now();
	for (uint64_t i = 1; i < s->n; i += 2) {
		s->fillers[i] = take(s, filler);
		if (++k % part == 0) {
			ns = least(ns, (now() - begin) / (double)part);
			begin = now();
		}
	}
	return k % part == 0 ? ns : least(ns, (now() - begin) / (double)(k % part));
}

static void measure(scale *s, unsigned log2) {
	const double grown = grow(s, (uint64_t)1 << log2);
	(void)objects(s, SMALL, 64); // structures of spans are there now, and free after the cycle
	(void)objects(s, SPANS, 8192);
	(void)cycle(s, 1);
	const double small = objects(s, SMALL, 64), span = objects(s, SPANS, 8192);
	double sweep = 1e18;
	for (int k = 0; k < 3; k++) { // the first frees what was allocated just now
		const double took = cycle(s, 1);
		sweep = k > 0 ? least(sweep, took) : sweep;
	}
	const double freed = cycle(s, 2), found = runs(s, 2 * filler >> 13), hole = s->n > 1 ? fillHoles(s) : 0;
	printf("{\"log2\": %u, \"arenas\": %" PRIuPTR
		   ", \"grow\": %.1f, \"small\": %.2f, \"span\": %.1f, \"sweep\": %.1f, \"free\": "
		   "%.1f, \"find\": %.1f, \"hole\": %.1f}\n",
		log2, (uintptr_t)s->h->heapArenas.len, grown, small, span, sweep, freed, found, hole);
	(void)fflush(stdout);
}

int main(int argc, char **argv) {
	const int most = argc == 2 ? (int)strtol(argv[1], NULL, 10) : 0;
	if (most < LEAST || most > MOST) {
		(void)fprintf(stderr, "usage: bench_scale MOST      %d to %d\n", LEAST, MOST);
		return 2;
	}
	gomem_os *os = mem_sim_new(&(memSimConfig){0});
	scale s = {.fillers = malloc(((size_t)1 << most) / filler * sizeof(void *))};
	s.h = os == NULL ? NULL : gomem_heap_new(&(gomem_config){.os = os, .rand_seed = 42});
	if (s.h == NULL || s.fillers == NULL) {
		(void)fprintf(stderr, "bench_scale: out of memory\n");
		exit(2);
	}
	s.p = gomem_heap_p(s.h, 0);
	for (unsigned log2 = LEAST; log2 <= (unsigned)most; log2 += 2) {
		measure(&s, log2);
	}
	gomem_heap_destroy(s.h);
	os->destroy(os);
	free((void *)s.fillers);
	return 0;
}
