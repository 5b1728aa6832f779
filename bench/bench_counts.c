// bench_counts.c: what the fast path of mallocgc writes, and to which cache lines. No figure depends on time.
//
// usage: bench_counts [PS]      prints one line of JSON; 2 Ps if not said
//
// Ps (2 or more) allocate in random turns, one object without pointers and one with, of every size class up to 512 bytes and of some above; the
// port is compiled so that each write is told (counted.h). A call is *fast* if the P's span of that class was not exchanged by it. Counted
// for fast calls: mutexes taken, atomic read-modify-writes, writes, and *shared* cache lines: a P wrote to it, then another P, fast or not, then the
// first one again, all since the collector's last cycle. They are named after what lies there. A line that several Ps wrote to one after the other is
// *passed on*: a span that another P took over in a later cycle, or memory that went to the OS and came back as something else. Three cycles for each
// size free everything, so that spans go from P to P. The stack is left out: here it is one, of threads each has its own.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/counted.h"
#include "gomem/mcache.h"
#include "traces/grow.h"

enum { LINE = 64, SLOT_BITS = 22, SLOTS = 1 << SLOT_BITS, PS_MOST = 32, ROUNDS = 1000, CYCLES = 3 };

typedef struct line {
	uintptr_t at;                 // 0: none
	uint32_t all, last;           // since the cycle began: bit i: P i wrote to it; the bit of who did last
	uint32_t cycle;               // of these two
	bool fast, shared, severalPs; // in any cycle: a fast call wrote to it; see above; more than one P did
} line;

typedef struct counts {
	gomem_heap *h;
	int nps;
	uint32_t cycle;
	uint64_t random;
	line *lines;        // a hash table
	uintptr_t stack;    // an address in it
	uintptr_t *pending; // lines that the call wrote to
	size_t npending, room;
	uint64_t calls, fast, writes, rmw, locks, slowLocks, slowRmw;
} counts;

static void enter(counts *c, uintptr_t at, uint32_t bit, bool fast) {
	size_t i = (at / LINE * 0x9e3779b97f4a7c15u) >> (64 - SLOT_BITS);
	while (c->lines[i].at != 0 && c->lines[i].at != at) {
		i = (i + 1) % SLOTS;
	}
	line *l = &c->lines[i];
	l->severalPs |= l->last != 0 && l->last != bit;
	if (l->cycle != c->cycle) {
		l->all = l->last = 0;
		l->cycle = c->cycle;
	}
	l->at = at;
	l->shared |= l->last != bit && (l->all & bit) != 0;
	l->last = bit;
	l->all |= bit;
	l->fast |= fast;
}

static void written(void *ctx, uintptr_t addr) {
	counts *c = ctx;
	const uintptr_t stackBytes = 1 << 20;
	if (addr - (c->stack - stackBytes) < 2 * stackBytes) {
		return;
	}
	if (!array_grow(&c->pending, &c->room, c->npending, sizeof(*c->pending))) {
		abort();
	}
	c->pending[c->npending++] = addr & ~(uintptr_t)(LINE - 1);
}

static spanClass classOf(const gomem_heap *h, uintptr_t size, const gomem_type *typ) {
	const gomem_layout *L = layout_get(&h->env);
	if (typ == NULL && size < L->maxTinySize) {
		return tinySpanClass(L);
	}
	const bool header = typ != NULL && !heapBitsInSpan(L, size);
	return makeSpanClass(sizeToClass(L, size + (header ? L->mallocHeaderSize : 0)), typ == NULL);
}

static void call(counts *c, int id, uintptr_t size, const gomem_type *typ) {
	gomem_p *p = gomem_heap_p(c->h, id);
	const spanClass spc = classOf(c->h, size, typ);
	const mspan *before = p->mcache->alloc[spc];
	counted *t = counted_get();
	const counted start = *t;
	c->npending = 0;
	t->written = written;
	t->ctx = c;
	const void *x = gomem_mallocgc(c->h, p, size, typ, true);
	t->written = NULL;
	if (x == NULL) {
		(void)fprintf(stderr, "bench_counts: out of memory\n");
		exit(2);
	}
	const bool fast = p->mcache->alloc[spc] == before;
	for (size_t i = 0; i < c->npending; i++) {
		enter(c, c->pending[i], 1u << id, fast);
	}
	c->calls++;
	if (!fast) {
		c->slowLocks += t->locks - start.locks;
		c->slowRmw += t->rmw - start.rmw;
		return;
	}
	c->fast++;
	c->writes += t->writes - start.writes;
	c->rmw += t->rmw - start.rmw;
	c->locks += t->locks - start.locks;
}

static bool overlaps(uintptr_t at, const void *p, size_t n) {
	return at < (uintptr_t)p + n && (uintptr_t)p < at + LINE;
}

// what names the structures of a line.
static const char *what(const counts *c, uintptr_t at) {
	const gomem_heap *h = c->h;
	for (int i = 0; i < c->nps; i++) {
		if (overlaps(at, h->allp[i]->mcache, sizeof(mcache))) {
			return "mcache";
		}
		if (overlaps(at, h->allp[i], sizeof(gomem_p))) {
			return "p";
		}
	}
	for (intptr_t i = 0; i < h->allspans.len; i++) {
		if (overlaps(at, h->allspans.p[i], sizeof(mspan))) {
			return "mspan";
		}
	}
	return overlaps(at, h, sizeof(*h)) ? "heap" : "other";
}

static void report(const counts *c) {
	static const char *names[] = {"mcache", "p", "mspan", "heap", "other"};
	uint64_t lines = 0, passedOn = 0;
	uint64_t shared[5] = {0};
	for (size_t i = 0; i < SLOTS; i++) {
		const line *l = &c->lines[i];
		if (!l->fast) {
			continue;
		}
		lines++;
		passedOn += l->severalPs && !l->shared;
		if (!l->shared) {
			continue;
		}
		const char *name = what(c, l->at);
		for (int k = 0; k < 5; k++) {
			shared[k] += strcmp(name, names[k]) == 0;
		}
	}
	const uint64_t slow = c->calls - c->fast;
	printf("{\"ps\": %d, \"calls\": %" PRIu64 ", \"fast\": %" PRIu64 ", \"fast_locks\": %" PRIu64
		   ", \"fast_read_modify_writes\": %" PRIu64 ", \"fast_writes\": %" PRIu64 ", \"fast_lines\": %" PRIu64
		   ", \"passed_on\": %" PRIu64 ", \"refills\": %" PRIu64 ", \"refill_locks\": %" PRIu64
		   ", \"refill_read_modify_writes\": %" PRIu64 ", \"shared_lines\": {",
		c->nps, c->calls, c->fast, c->locks, c->rmw, c->writes, lines, passedOn, slow, c->slowLocks, c->slowRmw);
	for (int k = 0; k < 5; k++) {
		printf("%s\"%s\": %" PRIu64, k == 0 ? "" : ", ", names[k], shared[k]);
	}
	printf("}}\n");
}

// cycle frees everything, as spans are wanted or another cycle begins.
static void cycle(counts *c) {
	gomem_finishsweep(c->h, gomem_heap_p(c->h, 0));
	gomem_setGCPhase(c->h, 1);
	gomem_setGCPhase(c->h, 2);
	gomem_setGCPhase(c->h, 0);
	gomem_startsweep(c->h);
	for (int id = 0; id < c->nps; id++) {
		gomem_prepareForSweep(c->h, gomem_heap_p(c->h, id));
	}
	c->cycle++;
}

static void allocate(counts *c, uintptr_t size, const gomem_type *typ) {
	for (int i = 0; i < ROUNDS * c->nps; i++) {
		c->random = c->random * 6364136223846793005u + 1442695040888963407u;
		const int id = (int)((c->random >> 32) % (unsigned)c->nps);
		call(c, id, size, NULL);
		call(c, id, size, typ);
	}
}

int main(int argc, char **argv) {
	static counts c;
	static uint8_t mask[1024];
	static const uintptr_t sizes[] = {8, 16, 24, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224, 240, 256,
		288, 320, 352, 384, 416, 448, 480, 512, 1024, 2048, 4096};
	memset(mask, 0xff, sizeof(mask));
	c.stack = (uintptr_t)__builtin_frame_address(0);
	c.nps = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 2;
	c.lines = calloc(SLOTS, sizeof(*c.lines));
	c.h = gomem_heap_new(&(gomem_config){.rand_seed = 42});
	if (c.nps < 2 || c.nps > PS_MOST || c.lines == NULL || c.h == NULL || !gomem_procresize(c.h, c.nps)) {
		(void)fprintf(stderr, "usage: bench_counts [PS]      2 to %d\n", PS_MOST);
		return 2;
	}
	for (size_t k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
		const gomem_type typ = {sizes[k], sizes[k], mask};
		for (int i = 0; i < CYCLES; i++) {
			allocate(&c, sizes[k], &typ);
			cycle(&c);
		}
	}
	report(&c);
	return 0;
}
