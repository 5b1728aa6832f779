// bench_locks.c: how often the requests of a recorded program (stream.h) take a lock, and for what. No figure depends on time.
//
// usage: bench_locks STREAM [PS]      prints one line of JSON; 1 P if not said
//
// Ps serve 64 requests each, in turns. The port is the lab variant, whose events say what it does, compiled so that each mutex taken is told
// (counted.h). Stacks are left out.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/counted.h"
#include "bench/stream.h"
#include "gomem/mcache.h"

typedef struct object {
	void *x;
	uint32_t death;
} object;

typedef struct locks {
	gomem_heap *h;
	int nps;
	object *objects;
	uint32_t ids;
	uint64_t mallocs, events[EV_MAX], empty[EV_MAX]; // empty: of those, the ones that found nothing
} locks;

static void turn(void *ctx, gomem_ev k) {
	(void)ctx;
	(void)k;
}

static void event(void *ctx, gomem_ev k, uint64_t a, uint64_t b, uint64_t c, uint64_t d) {
	locks *l = ctx;
	(void)a;
	(void)c;
	(void)d;
	l->events[k]++;
	l->empty[k] += b == 0;
}

static _Noreturn void bad(const char *what) {
	(void)fprintf(stderr, "bench_locks: %s\n", what);
	exit(2);
}

static uint32_t *readStream(const char *path, stream_head *head) {
	FILE *f = fopen(path, "rb");
	uint32_t *words = NULL;
	if (f != NULL && fread(head, sizeof(*head), 1, f) == 1 && head->magic == STREAM_MAGIC) {
		words = malloc(head->words * sizeof(*words));
		if (words != NULL && fread(words, sizeof(*words), head->words, f) != head->words) {
			bad("the stream is cut off");
		}
	}
	if (f != NULL) {
		(void)fclose(f);
	}
	return words;
}

static void cycle(locks *l, uint32_t number) {
	for (uint32_t i = 0; i < l->ids; i++) {
		if (l->objects[i].x != NULL && l->objects[i].death > number) {
			gomem_mark(l->h, l->objects[i].x);
		}
	}
	gomem_startsweep(l->h);
	for (int i = 0; i < l->nps; i++) {
		gomem_prepareForSweep(l->h, gomem_heap_p(l->h, i));
	}
}

static void allocate(locks *l, gomem_p *p, stream_op op, uint32_t id, const uint32_t *rest) {
	static const uint8_t mask[] = {1};
	static const gomem_type word = {8, 8, mask};
	void *x = gomem_mallocgc(l->h, p, rest[0], op == STREAM_POINTERS ? &word : NULL, op != STREAM_MALLOC);
	if (x == NULL) {
		bad("out of memory");
	}
	l->objects[id] = (object){x, rest[1]};
	l->mallocs++;
}

static void serve(locks *l, const uint32_t *at, const uint32_t *end) {
	while (at < end) {
		const stream_op op = (stream_op)(*at & ((1 << STREAM_BITS) - 1));
		const uint32_t value = *at++ >> STREAM_BITS;
		gomem_p *p = gomem_heap_p(l->h, (int)(l->mallocs / 64 % (uint64_t)l->nps));
		switch (op) {
		case STREAM_MALLOC:
		case STREAM_ZEROED:
		case STREAM_POINTERS:
			allocate(l, p, op, value, at);
			at += 2;
			break;
		case STREAM_FREE:
			l->objects[value].x = NULL;
			break;
		case STREAM_FINISH:
			gomem_finishsweep(l->h, p);
			break;
		case STREAM_PHASE:
			gomem_setGCPhase(l->h, value);
			break;
		case STREAM_CYCLE:
			cycle(l, value);
			break;
		case STREAM_SWEEP:
			gomem_sweepone(l->h, p);
			break;
		case STREAM_SCAVENGE: // its locks are its own matter
			at++;
			break;
		}
	}
}

int main(int argc, char **argv) {
	stream_head head;
	locks l = {.nps = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 1};
	uint32_t *words = argc > 1 ? readStream(argv[1], &head) : NULL;
	const gomem_lab lab = {.ctx = &l, .turn = turn, .event = event};
	l.h = gomem_heap_new(&(gomem_config){.rand_seed = 42, .lab = &lab});
	if (words == NULL || l.nps < 1 || l.h == NULL || !gomem_procresize(l.h, l.nps)) {
		bad("usage: bench_locks STREAM [PS]");
	}
	l.objects = calloc(head.ids, sizeof(*l.objects));
	l.ids = head.ids;
	if (l.objects == NULL) {
		bad("out of memory");
	}
	memset(l.events, 0, sizeof(l.events));
	memset(l.empty, 0, sizeof(l.empty));
	counted *t = counted_get();
	t->heapLock = (uintptr_t)&l.h->lock;
	t->locks = t->heapLocks = 0;
	serve(&l, words, words + head.words);
	const uint64_t hits = l.events[EV_PCALLOC] - l.empty[EV_PCALLOC];
	printf("{\"ps\": %d, \"mallocs\": %" PRIu64 ", \"refills\": %" PRIu64 ", \"spans_made\": %" PRIu64
		   ", \"page_cache_hits\": %" PRIu64 ", \"page_cache_refills\": %" PRIu64 ", \"page_heap\": %" PRIu64
		   ", \"locks\": %" PRIu64 ", \"heap_locks\": %" PRIu64 "}\n",
		l.nps, l.mallocs, l.events[EV_REFILL], l.events[EV_SPANINIT], hits, l.events[EV_PCREFILL], l.events[EV_PALLOC],
		t->locks, t->heapLocks);
	free(l.objects);
	free(words);
	gomem_heap_destroy(l.h);
	return 0;
}
