// goldens_objects.c: what the port answers to the goldens of layers 4 and 5: size classes, span classes, heap bits, arenas and chunks.
#include <stdlib.h>

#include "goldens.h"

#include "gomem/mbitmap.h"
#include "gomem/mcache.h"

enum { numTypes = 256, maxMaskWords = 128, fakePage = 8192, endOfPage = 256 };

typedef struct goldenType {
	gomem_type typ;
	uint8_t mask[8 * maxMaskWords];
} goldenType;

// A heap, types, and one page that stands for a span.
typedef struct objectsState {
	gomem_os *os;
	gomem_heap *h;
	gomem_p *p;
	goldenType types[numTypes];
	mspan span;
	uint8_t *page;
} objectsState;

static const gomem_layout *layoutOf(void) { return &layout_host; }

static void endObjects(void *state) {
	objectsState *const s = state;
	if (s->h != NULL) {
		gomem_heap_destroy(s->h);
	}
	if (s->os != NULL) {
		s->os->destroy(s->os);
	}
	if (s->page != NULL) {
		poison_allow((uintptr_t)s->page, fakePage);
		free(s->page);
	}
	free(s);
}

static objectsState *beginHeap(void (*thrown)(void *ctx, const char *msg), void *ctx, bool backed) {
	objectsState *const s = calloc(1, sizeof *s);
	if (s == NULL) {
		return NULL;
	}
	s->os = mem_sim_new(&(memSimConfig){.backed = backed});
	s->page = aligned_alloc(fakePage, fakePage);
	if (s->os != NULL) {
		s->h = gomem_heap_new(&(gomem_config){.os = s->os, .rand_seed = 1, .throw_hook = thrown, .throw_ctx = ctx});
	}
	if (s->h == NULL || s->page == NULL) {
		endObjects(s);
		return NULL;
	}
	s->p = gomem_heap_p(s->h, 0);
	return s;
}
static void *beginBacked(void (*thrown)(void *ctx, const char *msg), void *ctx) { return beginHeap(thrown, ctx, true); }
static void *beginUnbacked(void (*thrown)(void *ctx, const char *msg), void *ctx) {
	return beginHeap(thrown, ctx, false);
}

// ---- size classes

static uint64_t offsetInSlot(const mspan *s, uintptr_t x) {
	return x - (mspan_base(s) + mspan_objIndex(s, x) * s->elemsize);
}

static void sizeclass_size(void *state, goldensCall *c) {
	static const uint8_t onePointer = 1;
	static const gomem_type pointer = {.size = 8, .ptr_bytes = 8, .ptr_mask = &onePointer};
	objectsState *const st = state;
	const uintptr_t size = (uintptr_t)c->a[0];
	const bool noscan = c->a[1] != 0;
	const uintptr_t x = (uintptr_t)gomem_mallocgc(st->h, st->p, size, noscan ? NULL : &pointer, true);
	const mspan none = {.startAddr = 0};
	const mspan *s = spanOfHeap(st->h, x);
	const bool there = s != NULL;
	s = there ? s : &none;
	goldens_answer(c, roundupsize(st->h, size, noscan));
	goldens_answer(c, s->spanclass);
	goldens_answer(c, s->elemsize);
	goldens_answer(c, s->npages);
	goldens_answer(c, s->nelems);
	goldens_answer(c, s->divMul);
	// Where in its block a tiny object begins depends on those before it.
	goldens_answer(c, !there || (noscan && size < layoutOf()->maxTinySize) ? 0 : offsetInSlot(s, x));
	goldens_answer(c, heapBitsInSpan(layoutOf(), size));
}
static void sizeclass_class(void *state, goldensCall *c) {
	(void)state;
	const unsigned class = (unsigned)c->a[0];
	goldens_answer(c, class < numSizeClasses ? layout_classSize(layoutOf(), class) : 0);
	goldens_answer(c, class < numSizeClasses ? layout_classPages(layoutOf(), class) : 0);
	goldens_answer(c, class < numSizeClasses ? layout_classDivMagic(layoutOf(), class) : 0);
}
static void sizeclass_index(void *state, goldensCall *c) {
	(void)state;
	const unsigned class = (unsigned)c->a[0] % numSizeClasses;
	const mspan s = {.startAddr = (uintptr_t)4 << 20, .divMul = layout_classDivMagic(layoutOf(), class)};
	goldens_answer(c, mspan_objIndex(&s, (uintptr_t)(s.startAddr + c->a[1])));
}

static const goldensOp sizeclassOps[] = {
	{"size", 2, 2, sizeclass_size},
	{"class", 1, 1, sizeclass_class},
	{"index", 2, 2, sizeclass_index},
	{NULL, 0, 0, NULL},
};
const goldensKind goldensSizeclass = {"sizeclass", beginUnbacked, endObjects, sizeclassOps};

static void *beginNothing(void (*thrown)(void *ctx, const char *msg), void *ctx) {
	(void)thrown;
	(void)ctx;
	return malloc(1);
}

static void spanclass_make(void *state, goldensCall *c) {
	(void)state;
	goldens_answer(c, makeSpanClass((uint8_t)c->a[0], c->a[1] != 0));
}
static void spanclass_of(void *state, goldensCall *c) {
	(void)state;
	goldens_answer(c, spanClass_sizeclass((spanClass)c->a[0]));
	goldens_answer(c, spanClass_noscan((spanClass)c->a[0]));
}

static const goldensOp spanclassOps[] = {
	{"make", 2, 2, spanclass_make},
	{"of", 1, 1, spanclass_of},
	{NULL, 0, 0, NULL},
};
const goldensKind goldensSpanclass = {"spanclass", beginNothing, free, spanclassOps};

// ---- heap bits

static goldenType *typeOf(objectsState *s, uint64_t i) { return &s->types[i % numTypes]; }

static void heapbits_type(void *state, goldensCall *c) {
	goldenType *const t = typeOf(state, c->a[0]);
	t->typ = (gomem_type){.size = (size_t)c->a[1], .ptr_bytes = (size_t)c->a[2], .ptr_mask = t->mask};
	memset(t->mask, 0, sizeof t->mask);
	for (unsigned i = 0; i < c->n - 3 && i < maxMaskWords; i++) {
		for (unsigned b = 0; b < 8; b++) {
			t->mask[8 * i + b] = (uint8_t)(c->a[3 + i] >> 8 * b);
		}
	}
}

// answerPointers: how many words of the object's slot, or of a large object, hold pointers, which of the first 64, and a digest of all their numbers.
static void answerPointers(gomem_heap *h, const mspan *s, uintptr_t x, goldensCall *c) {
	uint64_t pointers = 0, first = 0, digest = 0;
	const uintptr_t end = (uintptr_t)(x - offsetInSlot(s, x) + s->elemsize);
	const uintptr_t limit = end < s->limit ? end : s->limit;
	for (uint64_t word = 0; x + 8 * word < limit; word++) {
		if (heapBits_isPointer(h, (uintptr_t)(x + 8 * word))) {
			pointers++;
			first |= word < 64 ? (uint64_t)1 << word : 0;
			digest = goldens_digest(digest, word);
		}
	}
	goldens_answer(c, pointers);
	goldens_answer(c, first);
	goldens_answer(c, digest);
}
static void heapbits_malloc(void *state, goldensCall *c) {
	objectsState *const st = state;
	const uintptr_t x = (uintptr_t)gomem_mallocgc(st->h, st->p, (uintptr_t)c->a[0], &typeOf(st, c->a[1])->typ, true);
	const mspan *const s = spanOfHeap(st->h, x);
	if (s == NULL) {
		return;
	}
	goldens_answer(c, s->spanclass);
	goldens_answer(c, s->elemsize);
	goldens_answer(c, s->npages);
	goldens_answer(c, s->nelems);
	goldens_answer(c, offsetInSlot(s, x));
	answerPointers(st->h, s, x, c);
}

// bitmapWord gives one of the last words of the page: the bitmap, and the inline mark bits where the span has them.
static uint64_t bitmapWord(const objectsState *s, unsigned i) {
	return loadBits64(s->page + fakePage - endOfPage + (size_t)8 * i);
}
static uint64_t bitmapDigest(const objectsState *s) {
	uint64_t d = 0;
	for (unsigned i = 0; i < endOfPage / 8; i++) {
		d = goldens_digest(d, bitmapWord(s, i));
	}
	return d;
}
static void heapbits_span(void *state, goldensCall *c) {
	objectsState *const s = state;
	const uint8_t class = (uint8_t)(c->a[0] % numSizeClasses);
	poison_allow((uintptr_t)s->page, fakePage);
	memset(s->page, (int)c->a[1], fakePage);
	s->span = (mspan){.startAddr = (uintptr_t)s->page,
		.npages = 1,
		.spanclass = makeSpanClass(class, false),
		.elemsize = layout_classSize(layoutOf(), class),
		.needzero = c->a[1] != 0};
	mspan_initHeapBits(s->h, &s->span);
	goldens_answer(c, bitmapWord(s, 0));
	goldens_answer(c, bitmapWord(s, 15));
	goldens_answer(c, bitmapWord(s, 16));
	goldens_answer(c, bitmapWord(s, 31));
	goldens_answer(c, bitmapDigest(s));
}
// slotBits gives the pointer bits of a slot of the page.
static uint64_t slotBits(const objectsState *s, uintptr_t slot) {
	uintptr_t size;
	const uint8_t *const bitmap =
		(const uint8_t *)spanHeapBitsRange(&s->h->env, mspan_base(&s->span), fakePage, s->span.elemsize, &size);
	uint64_t bits = 0;
	for (uintptr_t i = 0; i < s->span.elemsize / 8; i++) {
		const uintptr_t bit = slot * (s->span.elemsize / 8) + i;
		bits |= (loadBits64(bitmap + bit / 64 * 8) >> bit % 64 & 1) << i;
	}
	return bits;
}
static void heapbits_write(void *state, goldensCall *c) {
	objectsState *const s = state;
	const uintptr_t x = (uintptr_t)(mspan_base(&s->span) + c->a[0] * s->span.elemsize);
	goldens_answer(c, heapSetTypeNoHeader(s->h, x, (uintptr_t)c->a[1], &typeOf(s, c->a[2])->typ, &s->span));
	goldens_answer(c, slotBits(s, (uintptr_t)c->a[0]));
	goldens_answer(c, bitmapDigest(s));
}

static const goldensOp heapbitsOps[] = {
	{"type", 4, goldensNumbersMax, heapbits_type},
	{"malloc", 2, 2, heapbits_malloc},
	{"span", 2, 2, heapbits_span},
	{"write", 3, 3, heapbits_write},
	{NULL, 0, 0, NULL},
};
const goldensKind goldensHeapbits = {"heapbits", beginBacked, endObjects, heapbitsOps};

// ---- arenas and chunks

static void arena_arena(void *state, goldensCall *c) {
	(void)state;
	const arenaIdx i = arenaIndex(layoutOf(), (uintptr_t)c->a[0]);
	goldens_answer(c, i);
	goldens_answer(c, arenaIdx_l1(layoutOf(), i));
	goldens_answer(c, arenaIdx_l2(layoutOf(), i));
	goldens_answer(c, arenaBase(layoutOf(), i));
}
static void arena_chunk(void *state, goldensCall *c) {
	(void)state;
	const chunkIdx ci = chunkIndex(layoutOf(), (uintptr_t)c->a[0]);
	goldens_answer(c, ci);
	goldens_answer(c, chunkPageIndex(layoutOf(), (uintptr_t)c->a[0]));
	goldens_answer(c, chunkBase(layoutOf(), ci));
}

static const goldensOp arenaOps[] = {
	{"arena", 1, 1, arena_arena},
	{"chunk", 1, 1, arena_chunk},
	{NULL, 0, 0, NULL},
};
const goldensKind goldensArena = {"arena", beginNothing, free, arenaOps};
