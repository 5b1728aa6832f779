// fuzz_fixalloc.c: memory for metadata: persistentalloc, objects of one size out of it, and a bump allocator over a reserved range.
//
// The model says at which address each piece must stand: in the current chunk, at the next aligned offset; a freed object is the next one
// handed out. What was handed out is filled with a byte of its own and must stay so.
#include "fuzz/fuzz.h"

#include <stdlib.h>

#include "fuzz/fuzz_env.h"
#include "gomem/mfixalloc.h"
#include "gomem/persistentalloc.h"

enum { numAllocs = 4, maxPieces = 96 };
static const uint64_t chunkBytes = 256 << 10, bigBlock = 64 << 10, fixChunk = 16 << 10, linearBytes = 1 << 18,
					  word = sizeof(uintptr_t);

typedef struct piece {
	unsigned char *p;
	uint64_t size;
	uint8_t holds;
	int8_t owner; // an index of pools; -1: for ever
} piece;

typedef struct pool {
	fixalloc f;
	sysMemStat stat;
	uint64_t size;       // 0: not begun
	unsigned char *next; // of its chunk
	uint64_t room;       // bytes left in its chunk
	unsigned char *freed[maxPieces];
	unsigned nfreed;
	uint64_t live, fresh, firsts, chunks; // objects in use, ever made, seen by first; chunks taken
	bool zero;
} pool;

typedef struct state {
	fuzz_env e;
	pool pools[numAllocs];
	piece pieces[maxPieces];
	unsigned n;
	uint8_t fill;
	uint64_t chunk, off;   // the current chunk: its address, and the first free byte; 0: none
	uint64_t chunks, bigs; // chunks taken, bytes of blocks that are too big for one
	uint64_t small;        // bytes that chunks lost to a statistic of somebody
	sysMemStat stat;       // of persistent blocks
	uint64_t statBytes;
	linearAlloc linear;
	uint64_t linearBase, linearNext, linearMapped;
	sysMemStat linearStat;
	bool mapMemory;
	uint64_t physPage;
} state;

// ---- pieces

static bool allBytes(const unsigned char *p, uint64_t n, uint8_t value) {
	return p[0] == value && memcmp(p, p + 1, (size_t)(n - 1)) == 0;
}

// keep fills a piece, so that whoever overlaps it is found out.
static void keep(state *s, unsigned char *p, uint64_t size, int owner) {
	for (unsigned i = 0; i < s->n; i++) {
		const piece *q = &s->pieces[i];
		fuzz_check(p + size <= q->p || q->p + q->size <= p, "pieces do not overlap");
	}
	s->fill = (uint8_t)(s->fill % 255 + 1);
	memset(p, s->fill, (size_t)size);
	if (s->n < maxPieces) {
		s->pieces[s->n++] = (piece){p, size, s->fill, (int8_t)owner};
	}
}

static uint64_t up(uint64_t x, uint64_t align) { return (x + align - 1) / align * align; }

// ---- persistentalloc

// place gives the address of a block in the model; 0: it needs a new chunk.
static uint64_t place(const state *s, uint64_t size, uint64_t align) {
	const uint64_t p = up(s->chunk + s->off, align);
	return s->chunk != 0 && p + size <= s->chunk + chunkBytes ? p : 0;
}

// newChunk: the model cannot know where the system puts a chunk, so it looks, and trusts nothing else.
static void newChunk(state *s) {
	s->chunks++;
	s->chunk = s->e.env.globalAlloc.base;
	s->off = word;
	fuzz_equal("a chunk stands at a physical page", s->chunk % s->physPage, 0);
}

// expect compares a small block with the model. failed: whether the system refused.
static void expect(state *s, const void *p, uint64_t size, uint64_t align, bool failed) {
	uint64_t want = place(s, size, align);
	if (failed) {
		fuzz_check(p == NULL && want == 0, "only a new chunk can be refused");
		return;
	}
	if (want == 0) {
		newChunk(s);
		want = place(s, size, align);
	}
	fuzz_equal("the address of a block", (uint64_t)(uintptr_t)p, want);
	s->off = want + size - s->chunk;
}

// expectBig compares a block that is an allocation of its own: what it takes is remembered in three words of a chunk.
static void expectBig(state *s, const void *p, uint64_t size, uint64_t align) {
	if (p == NULL) {
		return;
	}
	fuzz_equal("alignment of a big block", (uint64_t)(uintptr_t)p % align, 0);
	const uint64_t bytes = align > s->physPage ? size + align : size;
	s->bigs += bytes;
	s->statBytes += bytes;
}

static void remember(state *s) {
	const uint64_t bytes = 3 * word;
	if (place(s, bytes, 8) == 0) {
		newChunk(s);
	}
	s->off = place(s, bytes, 8) + bytes - s->chunk;
}

static void persistent(void *v, const uint64_t *a) {
	state *s = v;
	const uint64_t size = 1 + a[0], align = a[1] == 0 ? 0 : (uint64_t)1 << (a[1] - 1),
				   effective = align == 0 ? 8 : align;
	const uint64_t failed = fuzz_os_failed();
	unsigned char *p = persistentalloc(&s->e.env, (uintptr_t)size, (uintptr_t)align, &s->stat);
	const bool refused = fuzz_os_failed() > failed;
	fuzz_equal("a block is refused only if the system refuses", p == NULL, refused);
	if (size >= bigBlock) {
		expectBig(s, p, size, effective);
		if (!refused) {
			remember(s);
		}
	} else {
		expect(s, p, size, effective, refused);
		s->statBytes += refused ? 0 : size;
		s->small += refused ? 0 : size;
	}
	if (p != NULL) {
		fuzz_check(allBytes(p, size, 0), "a block is zero");
		fuzz_equal("inPersistentAlloc", inPersistentAlloc(&s->e.env, (uintptr_t)p), size < bigBlock);
		keep(s, p, size, -1);
	}
}

typedef struct badCall {
	state *s;
	uintptr_t size, align;
} badCall;

static void doPersistent(void *arg) {
	const badCall *c = arg;
	persistentalloc(&c->s->e.env, c->size, c->align, &c->s->stat);
}
static void doInit(void *arg) {
	const badCall *c = arg;
	fixalloc f;
	fixalloc_init(&c->s->e.env, &f, c->size, NULL, NULL, &c->s->stat);
}

static void bad(void *v, const uint64_t *a) {
	state *s = v;
	badCall calls[] = {{s, 0, 8}, {s, 8, (size_t)(3 + 4 * a[0])}, {s, 8, (uintptr_t)16384 << a[0] % 8}};
	for (unsigned i = 0; i < 3; i++) {
		fuzz_check(fuzz_throws(&s->e.guard, doPersistent, &calls[i]),
			"persistentalloc of no bytes or with a bad alignment throws");
	}
	badCall tooLarge = {s, (size_t)(fixChunk + 1 + a[0]), 0}, fits = {s, (size_t)(fixChunk - a[0]), 0};
	fuzz_check(fuzz_throws(&s->e.guard, doInit, &tooLarge), "fixalloc_init of more than a chunk throws");
	fuzz_check(!fuzz_throws(&s->e.guard, doInit, &fits), "fixalloc_init of what fits a chunk does not throw");
}

// ---- fixalloc

static void onFirst(void *arg, void *p) {
	pool *t = arg;
	t->firsts++;
	fuzz_check(allBytes(p, t->size, 0), "an object that is new is zero");
}

// init begins a pool. Objects are whole words, as all of the allocator's are; what is smaller becomes one.
static void init(void *v, const uint64_t *a) {
	state *s = v;
	pool *t = &s->pools[a[0]];
	if (t->size != 0) {
		return;
	}
	const uint64_t size = a[1] < word ? a[1] : up(a[1], word);
	t->size = size < word ? word : size;
	t->zero = a[2] % 4 != 0;
	fixalloc_init(&s->e.env, &t->f, (uintptr_t)size, onFirst, t, &t->stat);
	t->f.zero = t->zero;
	fuzz_equal("nalloc", t->f.nalloc, fixChunk / t->size * t->size);
}

static bool refill(state *s, pool *t, uint64_t failed) {
	const bool refused = fuzz_os_failed() > failed;
	const uint64_t bytes = fixChunk / t->size * t->size;
	uint64_t want = place(s, bytes, 8);
	if (refused) {
		fuzz_equal("only a new chunk can be refused", want, 0);
		return false;
	}
	if (want == 0) {
		newChunk(s);
		want = place(s, bytes, 8);
	}
	s->off = want + bytes - s->chunk;
	s->small += bytes;
	t->next = (unsigned char *)(uintptr_t)want;
	t->room = bytes;
	t->chunks++;
	return true;
}

static void alloc(void *v, const uint64_t *a) {
	state *s = v;
	pool *t = &s->pools[a[0]];
	if (t->size == 0) {
		init(v, (const uint64_t[FUZZ_MAX_ARGS]){a[0], 160, 1});
	}
	const uint64_t failed = fuzz_os_failed();
	unsigned char *p = fixalloc_alloc(&s->e.env, &t->f);
	const bool reused = t->nfreed > 0;
	if (!reused && t->room < t->size && !refill(s, t, failed)) {
		fuzz_check(p == NULL, "no object without memory");
		return;
	}
	if (reused) {
		fuzz_check(p == t->freed[--t->nfreed], "the object freed last is the next");
	} else {
		fuzz_check(p == t->next, "the next object of the chunk");
		t->next += t->size;
		t->room -= t->size;
		t->fresh++;
	}
	fuzz_check((reused && !t->zero) || allBytes(p, t->size, 0), "an object is zero");
	t->live++;
	keep(s, p, t->size, (int)a[0]);
}

static void allocMany(void *v, const uint64_t *a) {
	for (uint64_t i = 0; i <= a[1]; i++) {
		alloc(v, a);
	}
}

// release frees the piece with this number, if it is an object.
static void release(void *v, const uint64_t *a) {
	state *s = v;
	if (s->n == 0) {
		return;
	}
	piece *q = &s->pieces[a[0] % s->n];
	if (q->owner < 0) {
		return;
	}
	pool *t = &s->pools[q->owner];
	fuzz_check(allBytes(q->p, q->size, q->holds), "contents of an object");
	fixalloc_free(&s->e.env, &t->f, q->p);
	t->freed[t->nfreed++] = q->p;
	t->live--;
	*q = s->pieces[--s->n];
}

// ---- linearAlloc

static void linear(void *v, const uint64_t *a) {
	state *s = v;
	const uint64_t size = (1 + a[0]) * 8, align = (uint64_t)8 << a[1], failed = fuzz_os_failed();
	const uint64_t want = up(s->linearNext, align);
	unsigned char *p = linearAlloc_alloc(&s->e.env, &s->linear, (uintptr_t)size, (uintptr_t)align, &s->linearStat);
	if (fuzz_os_failed() > failed) {
		fuzz_check(p == NULL && s->mapMemory, "no memory without the system's");
		return;
	}
	if (want + size > s->linearBase + linearBytes) {
		fuzz_check(p == NULL, "the range is used up");
		return;
	}
	fuzz_equal("the next address of the range", (uint64_t)(uintptr_t)p, want);
	s->linearNext = want + size;
	if (s->linearNext > s->linearMapped) {
		s->linearMapped = up(s->linearNext, s->physPage);
	}
	if (s->mapMemory) {
		fuzz_check(allBytes(p, size, 0), "memory of the range is zero");
		keep(s, p, size, -1);
	}
}

static void fail(void *v, const uint64_t *a) {
	(void)v;
	fuzz_os_fail(a[0], a[1]);
}

// ---- a run

static void after(void *v) {
	state *s = v;
	const uint64_t mapped = s->mapMemory ? s->linearMapped - s->linearBase : 0;
	fuzz_equal("statistic of blocks", sysMemStat_load(&s->stat), s->statBytes);
	fuzz_equal("other_sys", sysMemStat_load(&s->e.stats.other_sys), s->chunks * chunkBytes - s->small);
	fuzz_equal("statistic of the range", sysMemStat_load(&s->linearStat), mapped);
	fuzz_equal(
		"mappedReady", (uint64_t)atomic_load(&s->e.stats.mappedReady), s->chunks * chunkBytes + s->bigs + mapped);
	for (unsigned i = 0; i < numAllocs; i++) {
		const pool *t = &s->pools[i];
		if (t->size == 0) {
			continue;
		}
		fuzz_equal("inuse", t->f.inuse, t->live * t->size);
		fuzz_equal("bytes of chunks", sysMemStat_load(&t->stat), t->chunks * (fixChunk / t->size * t->size));
		fuzz_equal("calls of first", t->firsts, t->fresh);
	}
}

static void checkPieces(const state *s) {
	for (unsigned i = 0; i < s->n; i++) {
		fuzz_check(allBytes(s->pieces[i].p, s->pieces[i].size, s->pieces[i].holds), "contents of a piece");
	}
}

static void *begin(const uint64_t *config) {
	state *s = calloc(1, sizeof *s);
	fuzz_check(s != NULL, "out of memory");
	s->physPage = (uint64_t)4096 << 2 * config[0];
	s->mapMemory = config[1] == 0;
	fuzz_env_init(&s->e, NULL, &(fuzz_os_config){.physPageSize = (size_t)s->physPage});
	void *p = sysReserve(&s->e.env, NULL, linearBytes, MEM_META);
	fuzz_check(p != NULL, "no range");
	s->linearBase = s->linearNext = s->linearMapped = (uint64_t)(uintptr_t)p;
	linearAlloc_init(&s->linear, (uintptr_t)p, linearBytes, s->mapMemory);
	return s;
}

static void end(void *v) {
	state *s = v;
	checkPieces(s);
	persistentalloc_destroy(&s->e.env);
	const uint64_t mapped = s->mapMemory ? s->linearMapped - s->linearBase : 0;
	fuzz_equal("mappedReady when all is gone", (uint64_t)atomic_load(&s->e.stats.mappedReady), mapped);
	fuzz_check(!inPersistentAlloc(&s->e.env, (uintptr_t)s->chunk), "no chunk is left");
	fuzz_env_done(&s->e);
	free(s);
}

#define POOL                                                                                                           \
	{ "pool", 1, FUZZ_ANY, numAllocs - 1 }

static const fuzz_op_info ops[] = {
	{"init", {POOL, {"size", 2, FUZZ_SIZE, 2400}, {"zero", 1, FUZZ_ANY, 3}}, init},
	{"initlarge", {POOL, {"size", 2, FUZZ_SIZE, 16384}, {"zero", 1, FUZZ_ANY, 3}}, init},
	{"alloc", {POOL}, alloc},
	{"allocmany", {POOL, {"more", 1, FUZZ_ANY, 24}}, allocMany},
	{"free", {{"piece", 1, FUZZ_ANY, 0}}, release},
	{"persistent", {{"size", 2, FUZZ_SIZE, 0}, {"align", 1, FUZZ_ANY, 14}}, persistent},
	{"big", {{"size", 3, FUZZ_SIZE, 70000}, {"align", 1, FUZZ_ANY, 14}}, persistent},
	{"bad", {{"number", 1, FUZZ_ANY, 30}}, bad},
	{"linear", {{"words", 2, FUZZ_SIZE, 4096}, {"align", 1, FUZZ_ANY, 10}}, linear},
	{"fail", {{"nth", 1, FUZZ_ANY, 3}, {"more", 1, FUZZ_ANY, 3}}, fail},
};

FUZZ_TARGET(fixalloc) = {
	.name = "fixalloc",
	.what =
		"memory for metadata: places, contents and statistics against a bump allocator and a stack of freed objects",
	.config = {{"phys", 1, FUZZ_ANY, 2}, {"unmapped", 1, FUZZ_ANY, 3}},
	.ops = ops,
	.nops = sizeof ops / sizeof ops[0],
	.max_ops = 24,
	.begin = begin,
	.after = after,
	.end = end,
	.small = true,
};
