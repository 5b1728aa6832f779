// fuzz_spanclass.c: span classes, how many slots a span has, which slot an address lies in, and the search for a free slot.
//
// The spans are real: a heap for each layout, with and without inline marks, gives one of each class. They are made once; a program that
// changes a span works on a copy with allocation bits of its own.
#include "fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "fuzz/layouts.h"
#include "gomem/mcache.h"
#include "oracle/sizes.h"

enum { maxSlots = 1024 };

typedef struct world {
	gomem_layout layout;
	mheap *h;
	bool greenTea;
	mspan *spans[numSpanClasses]; // the two of class 0 are large objects
	oracle_sizes sizes;
} world;

typedef struct state {
	world *w;
	const mspan *span; // of the class last looked at
	uint64_t slots;
	mspan copy;
	_Alignas(8) uint8_t bits[maxSlots / 8];
	bool taken[maxSlots];
} state;

static const uint64_t largePages = 5;

static void makeWorld(world *w, uint64_t layout, bool greenTea) {
	w->layout = fuzz_layout(layout);
	w->greenTea = greenTea;
	oracle_sizes_make(&w->sizes, 8192, 32768);
	w->sizes.word = w->layout.ptrSize;
	const gomem_config cfg = {
		.os = mem_sim_new(NULL),
		.layout = &w->layout,
		.rand_seed = 0x123456789abcdef,
		.no_greentea = !greenTea,
		.checked = true,
		.throw_hook = fuzz_thrown,
	};
	w->h = cfg.os != NULL ? gomem_heap_new(&cfg) : NULL;
	fuzz_check(w->h != NULL, "no heap");
	for (unsigned c = 0; c < numSpanClasses; c++) {
		const uint64_t npages = c < 2 ? largePages : w->sizes.classes[c / 2].npages;
		w->spans[c] =
			mheap_alloc(w->h, gomem_heap_p(w->h, 0), (uintptr_t)npages, makeSpanClass((uint8_t)(c / 2), c % 2 == 1));
		fuzz_check(w->spans[c] != NULL, "no span");
	}
}

static uint64_t slotSize(const world *w, const mspan *span) {
	return span->spanclass < 2 ? largePages * 8192 : w->sizes.classes[span->spanclass / 2].size;
}

static void look(void *v, const uint64_t *a) {
	state *s = v;
	const world *w = s->w;
	s->span = w->spans[a[0]];
	const bool noscan = a[0] % 2 == 1;
	const uint64_t class = a[0] / 2;
	s->slots = class == 0 ? 1 : oracle_sizes_slots(&w->sizes, (unsigned)class, noscan, w->greenTea);
	fuzz_equal("makeSpanClass", makeSpanClass((uint8_t) class, noscan), class * 2 + noscan);
	fuzz_equal("spanclass of a span", s->span->spanclass, a[0]);
	fuzz_equal("spanClass_sizeclass", spanClass_sizeclass(s->span->spanclass), class);
	fuzz_equal("spanClass_noscan", spanClass_noscan(s->span->spanclass), noscan);
	fuzz_equal("elemsize", s->span->elemsize, slotSize(w, s->span));
	fuzz_equal("nelems", s->span->nelems, s->slots);
	fuzz_equal("limit", s->span->limit, s->span->startAddr + s->slots * s->span->elemsize);
	fuzz_equal("tinySpanClass", tinySpanClass(&w->layout), 2 * 2 + 1);
	memset(s->taken, false, sizeof s->taken);
}

// offset: which slot an address in the span, also behind its last slot, belongs to.
static void offset(void *v, const uint64_t *a) {
	const state *s = v;
	const uint64_t size = slotSize(s->w, s->span), bytes = s->span->npages * 8192;
	const uint64_t off = a[0] % bytes;
	fuzz_equal("objIndex", mspan_objIndex(s->span, (uintptr_t)(s->span->startAddr + off)), off / size);
	fuzz_check(spanOf(s->w->h, (uintptr_t)(s->span->startAddr + off)) == s->span, "spanOf an address of the span");
	const bool inSlot = off < s->slots * size;
	fuzz_check(
		(spanOfHeap(s->w->h, (uintptr_t)(s->span->startAddr + off)) == s->span) == inSlot, "spanOfHeap: slots only");
	const uint64_t found = gomem_findObject(s->w->h, (uintptr_t)(s->span->startAddr + off));
	fuzz_equal("findObject", found, inSlot ? s->span->startAddr + off / size * size : 0);
}

static void take(void *v, const uint64_t *a) {
	state *s = v;
	for (unsigned i = 0; i < 64 && a[0] * 64 + i < maxSlots; i++) {
		s->taken[a[0] * 64 + i] = (a[1] >> i & 1) != 0;
	}
}

// search: from slot a[0] on, the free slots come in order and none is left out.
static void search(void *v, const uint64_t *a) {
	state *s = v;
	mspan *c = &s->copy;
	memset(s->bits, 0, sizeof s->bits);
	for (unsigned i = 0; i < maxSlots; i++) {
		s->bits[i / 8] |= (uint8_t)(s->taken[i] << i % 8);
	}
	memcpy(c, s->span, sizeof *c);
	c->allocBits = (gcBits *)s->bits;
	const uint64_t from = a[0] % s->slots;
	c->freeindex = (uint16_t)from;
	mspan_refillAllocCache(c, (uint16_t)(from / 64 * 8));
	c->allocCache >>= from % 64;
	for (uint64_t i = 0; i < s->slots; i++) {
		fuzz_equal("isFree", mspan_isFree(c, (uintptr_t)i), i >= from && !s->taken[i]);
	}
	for (uint64_t i = from; i < s->slots; i++) {
		if (!s->taken[i]) {
			fuzz_equal("nextFreeIndex", mspan_nextFreeIndex(s->w->h, c), i);
		}
	}
	fuzz_equal("nextFreeIndex at the end", mspan_nextFreeIndex(s->w->h, c), s->slots);
	fuzz_equal("freeindex at the end", c->freeindex, s->slots);
}

// count: how many of the slots are marked.
static void count(void *v, const uint64_t *a) {
	(void)a;
	state *s = v;
	uint64_t marked = 0;
	memset(s->bits, 0, sizeof s->bits);
	for (unsigned i = 0; i < s->slots; i++) {
		s->bits[i / 8] |= (uint8_t)(s->taken[i] << i % 8);
		marked += s->taken[i];
	}
	memcpy(&s->copy, s->span, sizeof s->copy);
	s->copy.gcmarkBits = (gcBits *)s->bits;
	const gomem_env portable = {.hasPOPCNT = false};
	fuzz_equal("countAlloc", mspan_countAlloc(&s->w->h->env, &s->copy), marked);
	fuzz_equal("countAlloc without POPCNT", mspan_countAlloc(&portable, &s->copy), marked);
}

static void *begin(const uint64_t *config) {
	static world worlds[FUZZ_LAYOUTS_64][2];
	static state s;
	world *w = &worlds[config[0]][config[1]];
	if (w->h == NULL) {
		makeWorld(w, config[0], config[1] != 0);
	}
	s.w = w;
	look(&s, (const uint64_t[FUZZ_MAX_ARGS]){2});
	return &s;
}

static void end(void *v) { (void)v; }

static const fuzz_op_info ops[] = {
	{"look", {{"spanclass", 1, FUZZ_ANY, numSpanClasses - 1}}, look},
	{"offset", {{"offset", 3, FUZZ_SIZE, 0}}, offset},
	{"take", {{"word", 1, FUZZ_ANY, maxSlots / 64 - 1}, {"slots", 8, FUZZ_WORD, 0}}, take},
	{"search", {{"from", 2, FUZZ_INDEX, maxSlots - 1}}, search},
	{"count", {{0}}, count},
};

FUZZ_TARGET(spanclass) = {
	.name = "spanclass",
	.what = "slots of a span, the slot of an address and the search for free slots against division and bools",
	.config = {{"layout", 1, FUZZ_ANY, FUZZ_LAYOUTS_64 - 1}, {"greentea", 1, FUZZ_ANY, 1}},
	.ops = ops,
	.nops = sizeof ops / sizeof ops[0],
	.max_ops = 24,
	.begin = begin,
	.end = end,
	.small = true,
};
