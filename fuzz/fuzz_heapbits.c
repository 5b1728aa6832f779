// fuzz_heapbits.c: which words of the heap hold pointers, against one bool for each word of each span.
//
// Objects of types with any pointer mask, alone and as arrays, are allocated from a real heap whose memory can be touched, filled, and swept.
// A word's bool is what its type says: in a span with a bitmap it stays as it was written until the slot is taken again; behind a header and
// in a large object the type repeats up to the end of the slot. Nothing else may change: not a neighbour's bits, not its contents.
#include "fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "fuzz/fuzz_os.h"
#include "fuzz/layouts.h"
#include "gomem/mcache.h"
#include "oracle/sizes.h"

enum { maxOps = 24, maxTypes = maxOps + 2, maxWords = 640, maxObjects = 256, maxSpans = 128, maxRepeat = 8 };
static const uint64_t largest = 32760, word = sizeof(uintptr_t), bitmapMax = 8 * sizeof(uintptr_t) * sizeof(uintptr_t),
					  maxBytes = 128 << 10, pageSize = 8192;

typedef struct type {
	gomem_type t;
	uint8_t mask[maxWords / 8];
	bool pointer[maxWords];
} type;

typedef struct span {
	uint64_t base, slotSize, words;
	uint64_t live; // objects
	bool header;   // or large: a free slot says nothing
	bool *pointer; // NULL: objects without pointers
} span;

typedef struct object {
	uint8_t *p;
	uint64_t size;
	unsigned span;
	uint8_t holds;
} object;

typedef struct state {
	gomem_heap *h;
	gomem_p *p;
	gomem_layout layout;
	bool greenTea;
	const oracle_sizes *sizes;
	type types[maxTypes];
	unsigned ntypes;
	span spans[maxSpans];
	unsigned nspans;
	object objects[maxObjects];
	unsigned nobjects;
	uint64_t bytes; // ever allocated
} state;

// ---- types

static void addType(state *s, uint64_t words, uint64_t even, uint64_t odd) {
	if (s->ntypes == maxTypes) {
		return;
	}
	type *t = &s->types[s->ntypes++];
	*t = (type){.t = {.size = (size_t)(words * word), .ptr_mask = t->mask}};
	for (uint64_t i = 0; i < words; i++) {
		t->pointer[i] = ((i / 64 % 2 == 0 ? even : odd) >> i % 64 & 1) != 0;
		if (t->pointer[i]) {
			t->mask[i / 8] = (uint8_t)(t->mask[i / 8] | 1u << i % 8);
			t->t.ptr_bytes = (uintptr_t)((i + 1) * word);
		}
	}
}

static void newType(void *v, const uint64_t *a) { addType(v, 1 + a[0], a[1], a[2]); }

// ---- the model of a span

static bool allBytes(const uint8_t *p, uint64_t n, uint8_t value) {
	return p[0] == value && memcmp(p, p + 1, (size_t)(n - 1)) == 0;
}

// spanAt gives the span at this address in the model, a new one if the heap has made one.
static unsigned spanAt(state *s, uint64_t addr, uint64_t slotSize, bool scan, uint64_t npages) {
	for (unsigned i = 0; i < s->nspans; i++) {
		const span *sp = &s->spans[i];
		if (addr >= sp->base && addr < sp->base + sp->words * word) {
			fuzz_equal("size of the slots of a span", sp->slotSize, slotSize);
			fuzz_equal("a span is for one kind of objects", sp->pointer != NULL, scan);
			return i;
		}
	}
	gomem_span_info info;
	fuzz_check(gomem_spanOf(s->h, (uintptr_t)addr, &info), "an object lies in a span");
	fuzz_equal("pages of a span", info.npages, npages);
	fuzz_equal("elemsize of a span", info.elemsize, slotSize);
	fuzz_check(s->nspans < maxSpans, "too many spans for this target");
	span *sp = &s->spans[s->nspans];
	*sp = (span){
		.base = info.base, .slotSize = slotSize, .words = npages * pageSize / word, .header = slotSize > bitmapMax};
	sp->pointer = scan ? calloc((size_t)sp->words, sizeof(bool)) : NULL;
	fuzz_check(!scan || sp->pointer != NULL, "out of memory");
	if (scan && slotSize == 8 && word == 8) {
		memset(sp->pointer, true, (size_t)sp->words); // an object of one word with a pointer is a pointer
	}
	return s->nspans++;
}

// describe writes the bools of an object's slot.
static void describe(span *sp, uint64_t addr, const type *t, uint64_t size) {
	const uint64_t slot = (addr - sp->base) / sp->slotSize * sp->slotSize, typeWords = t->t.size / word;
	const uint64_t first = (addr - sp->base - slot) / word; // 1 behind a header
	for (uint64_t i = 0; i < sp->slotSize / word; i++) {
		const bool in = i >= first && (sp->header || i - first < size / word);
		sp->pointer[slot / word + i] = in && t->pointer[(i - first) % typeWords];
	}
}

static void checkWords(const state *s, const span *sp, uint64_t from, uint64_t to) {
	for (uint64_t i = from; i < to; i++) {
		fuzz_equal(
			"a word holds a pointer", heapBits_isPointer(s->h, (uintptr_t)(sp->base + i * word)), sp->pointer[i]);
	}
}

// checkSlot compares the words of the slot that holds an address.
static void checkSlot(const state *s, const span *sp, uint64_t slot) {
	if (sp->pointer == NULL) {
		fuzz_check(!heapBits_isPointer(s->h, (uintptr_t)(sp->base + slot)), "no pointers in a span without");
		return;
	}
	const uint64_t words = sp->slotSize / word, start = words < 128 ? words : 128;
	checkWords(s, sp, slot / word, slot / word + start);
	for (uint64_t i = start; i < words; i += 13) { // far from the beginning of a large slot some are left out
		checkWords(s, sp, slot / word + i, slot / word + i + 1);
	}
}

static uint64_t slotsOf(const state *s, const span *sp) {
	if (sp->slotSize > largest + 8) {
		return 1;
	}
	const unsigned class = oracle_sizes_class(s->sizes, sp->slotSize);
	return oracle_sizes_slots(s->sizes, class, sp->pointer == NULL, s->greenTea);
}

// ---- allocating

typedef struct plan { // what an allocation must be like
	uint64_t slotSize, npages, header, scanned;
	bool scan;
} plan;

static plan planFor(const state *s, const type *t, uint64_t size) {
	plan p = {.scan = t->t.ptr_bytes != 0};
	if (size > largest) {
		p.npages = (size + pageSize - 1) / pageSize;
		p.slotSize = p.npages * pageSize;
		p.scanned = p.scan ? p.slotSize : 0;
		return p;
	}
	p.header = p.scan && size > bitmapMax ? 8 : 0;
	const oracle_size_class *c = &s->sizes->classes[oracle_sizes_class(s->sizes, size + p.header)];
	p.slotSize = c->size;
	p.npages = c->npages;
	// Behind a header all may have to be looked at, else what lies before the last pointer. An array of single pointers counts as one, in Go.
	const uint64_t before = t->t.size == word ? 0 : size - t->t.size;
	p.scanned = !p.scan ? 0 : p.header != 0 ? p.slotSize : before + t->t.ptr_bytes;
	return p;
}

static uint64_t scanCount(const state *s) { return atomic_load(&s->h->stats.heapScan) + s->p->mcache->scanAlloc; }

static void checkNew(state *s, uint8_t *x, const type *t, uint64_t size, const plan *p) {
	const uint64_t addr = (uint64_t)(uintptr_t)x;
	fuzz_check(allBytes(x, size, 0), "a new object is zero");
	const unsigned i = spanAt(s, addr, p->slotSize, p->scan, p->npages);
	span *sp = &s->spans[i];
	fuzz_equal("place in its slot", (addr - sp->base) % sp->slotSize, p->header);
	sp->live++;
	if (p->scan) {
		describe(sp, addr, t, size);
	}
	const uint64_t slot = addr - p->header - sp->base;
	if (size > largest) { // no word behind what was asked for belongs to a large object
		for (uint64_t k = 0; k < sp->words; k += k < 128 ? 1 : 13) {
			const bool want = p->scan && k * word < size && sp->pointer[k];
			fuzz_equal("a word of a large object", heapBits_isPointer(s->h, (uintptr_t)(addr + k * word)), want);
		}
	} else {
		checkSlot(s, sp, slot);
	}
	if (!sp->header && p->scan) { // what its neighbours have next to it, also those that are free
		const uint64_t end = (slot + sp->slotSize) / word, spanEnd = slotsOf(s, sp) * sp->slotSize / word;
		checkWords(s, sp, slot < 4 * word ? 0 : slot / word - 4, slot / word);
		checkWords(s, sp, end, end + 4 < spanEnd ? end + 4 : spanEnd);
	}
	s->objects[s->nobjects] = (object){x, size, i, (uint8_t)(1 + s->nobjects % 255)};
	memset(x, s->objects[s->nobjects++].holds, (size_t)size);
}

static void allocOne(state *s, const type *t, uint64_t size) {
	if (s->nobjects == maxObjects || s->bytes + size > maxBytes || (t->t.ptr_bytes == 0 && size < 16)) {
		return; // tiny objects share a slot: others test that
	}
	s->bytes += size;
	const plan p = planFor(s, t, size);
	const uint64_t failed = fuzz_os_failed(), scanned = scanCount(s);
	uint8_t *x = gomem_mallocgc(s->h, s->p, (uintptr_t)size, &t->t, true);
	if (x == NULL) {
		fuzz_check(fuzz_os_failed() > failed, "no object only if the system has no memory");
		return;
	}
	fuzz_equal("bytes that a scan has to look at", scanCount(s) - scanned, p.scanned);
	checkNew(s, x, t, size, &p);
}

static void alloc(void *v, const uint64_t *a) {
	state *s = v;
	const type *t = &s->types[a[0] % s->ntypes];
	for (uint64_t i = 0; i <= a[2]; i++) {
		allocOne(s, t, t->t.size * (1 + a[1]));
	}
}

// ---- sweeping

static void checkAll(const state *s) {
	for (unsigned i = 0; i < s->nobjects; i++) {
		const object *o = &s->objects[i];
		const span *sp = &s->spans[o->span];
		fuzz_check(allBytes(o->p, o->size, o->holds), "contents of an object");
		if (sp->header && o->size <= largest) {
			const uint64_t off = (uint64_t)(uintptr_t)o->p - sp->base;
			checkSlot(s, sp, off / sp->slotSize * sp->slotSize);
		}
	}
	for (unsigned i = 0; i < s->nspans; i++) {
		const span *sp = &s->spans[i];
		// Some of the slots, others each time: those around an object were looked at when it was made.
		for (uint64_t k = s->nobjects % 7; !sp->header && k < slotsOf(s, sp); k += 7) {
			checkSlot(s, sp, k * sp->slotSize);
		}
	}
}

static void sweepHeap(state *s, uint64_t keepEach) {
	gomem_finishsweep(s->h, s->p);
	gomem_setGCPhase(s->h, gcMark);
	for (unsigned i = 0; keepEach > 0 && i < s->nobjects; i++) {
		if (i % keepEach == 0) {
			fuzz_check(gomem_mark(s->h, s->objects[i].p), "an object can be marked");
		}
	}
	gomem_setGCPhase(s->h, gcMarkTermination);
	gomem_setGCPhase(s->h, gcOff);
	gomem_startsweep(s->h);
	gomem_prepareForSweep(s->h, s->p);
	while (gomem_sweepone(s->h, s->p) != ~(uintptr_t)0) {
	}
}

// dropDead forgets objects that were not kept, and spans that have none left.
static void dropDead(state *s, uint64_t keepEach) {
	unsigned kept = 0;
	for (unsigned i = 0; i < s->nobjects; i++) {
		if (keepEach > 0 && i % keepEach == 0) {
			s->objects[kept++] = s->objects[i];
		} else {
			s->spans[s->objects[i].span].live--;
		}
	}
	s->nobjects = kept;
	unsigned moved[maxSpans], n = 0;
	for (unsigned i = 0; i < s->nspans; i++) {
		moved[i] = n;
		if (s->spans[i].live > 0) {
			s->spans[n++] = s->spans[i];
		} else {
			free(s->spans[i].pointer);
		}
	}
	s->nspans = n;
	for (unsigned i = 0; i < kept; i++) {
		s->objects[i].span = moved[s->objects[i].span];
	}
}

// cycle sweeps all but each keep-th object; 0: all.
static void cycle(void *v, const uint64_t *a) {
	state *s = v;
	fuzz_os_fail(0, 0);
	checkAll(s);
	sweepHeap(s, a[0]);
	dropDead(s, a[0]);
}

static void scavenge(void *v, const uint64_t *a) {
	state *s = v;
	gomem_scavenge(s->h, s->p, (uintptr_t)(a[0] * pageSize), true);
}

static void fail(void *v, const uint64_t *a) {
	(void)v;
	fuzz_os_fail(a[0], a[1]);
}

// ---- a run

enum { CONFIG_LAYOUT, CONFIG_GREENTEA, CONFIG_PHYS, CONFIG_KEEPS, CONFIG_SEED };

static void *begin(const uint64_t *config) {
	state *s = calloc(1, sizeof *s);
	fuzz_check(s != NULL, "out of memory");
	static oracle_sizes sizes;
	if (sizes.n == 0) {
		oracle_sizes_make(&sizes, pageSize, 32768);
		sizes.word = word;
	}
	s->sizes = &sizes;
	s->layout = fuzz_layout(config[CONFIG_LAYOUT]);
	s->greenTea = config[CONFIG_GREENTEA] != 0;
	// One more bit of a random base, on arm64, moves it up.
	const unsigned moreBits = s->layout.randHeapAddrBits > layout_host.randHeapAddrBits ? 1 : 0;
	const gomem_config cfg = {
		.os = fuzz_os_begin(&(fuzz_os_config){
			.physPageSize = (uintptr_t)4096 << 2 * config[CONFIG_PHYS],
			.backed = true,
			.unusedKeepsContents = config[CONFIG_KEEPS] != 0,
		}),
		.layout = &s->layout,
		.rand_seed = FUZZ_OS_SEED >> moreBits | config[CONFIG_SEED],
		.no_greentea = !s->greenTea,
		.checked = true,
		.throw_hook = fuzz_thrown,
	};
	s->h = gomem_heap_new(&cfg);
	fuzz_check(s->h != NULL, "no heap");
	s->p = gomem_heap_p(s->h, 0);
	addType(s, 1, 1, 0);
	addType(s, 3, 5, 0);
	return s;
}

static void end(void *v) {
	state *s = v;
	checkAll(s);
	const char *broken = gomem_heap_check(s->h);
	fuzz_check(broken == NULL, broken);
	gomem_heap_destroy(s->h);
	fuzz_equal("bytes that a heap that is gone holds", fuzz_os_held(), 0);
	for (unsigned i = 0; i < s->nspans; i++) {
		free(s->spans[i].pointer);
	}
	free(s);
}

#define MASKS                                                                                                          \
	{"even", 8, FUZZ_WORD, 0}, { "odd", 8, FUZZ_WORD, 0 }
#define REPEAT                                                                                                         \
	{ "more", 1, FUZZ_ANY, maxRepeat - 1 }

static const fuzz_op_info ops[] = {
	{"type", {{"words", 1, FUZZ_ANY, 63}, MASKS}, newType},
	{"largetype", {{"words", 2, FUZZ_INDEX, maxWords - 1}, MASKS}, newType},
	{"alloc", {{"type", 1, FUZZ_ANY, 7}, {"elems", 1, FUZZ_ANY, 31}, REPEAT}, alloc},
	{"array", {{"type", 1, FUZZ_ANY, 7}, {"elems", 2, FUZZ_SIZE, 8000}, {"more", 1, FUZZ_ANY, 1}}, alloc},
	{"cycle", {{"keep", 1, FUZZ_ANY, 7}}, cycle},
	{"scavenge", {{"pages", 2, FUZZ_PAGES, 1024}}, scavenge},
	{"fail", {{"nth", 1, FUZZ_ANY, 7}, {"more", 1, FUZZ_ANY, 3}}, fail},
};

FUZZ_TARGET(heapbits) = {
	.name = "heapbits",
	.what = "which words hold pointers against one bool for each word of each span",
	.config =
		{
			{"layout", 1, FUZZ_ANY, FUZZ_LINUX_ARM64},
			{"greentea", 1, FUZZ_ANY, 1},
			{"phys", 1, FUZZ_ANY, 2},
			{"keeps", 1, FUZZ_ANY, 1},
			{"seed", 5, FUZZ_ANY, 0},
		},
	.ops = ops,
	.nops = sizeof ops / sizeof ops[0],
	.max_ops = maxOps,
	.begin = begin,
	.end = end,
};
