// fuzz_scavindex.c: the scavenge index alone against a plain list of chunks, in any order of calls; and its packed words.
//
// The model, in words: a chunk is worth a look if it has a free page and, unless forced, fewer than 496 pages in use, now and when the
// last generation ended. A search goes from its cursor downwards. Frees raise the forced cursor, the end of a generation the other one, to
// the highest page freed in it; raising marks. A search sinks its cursor to the last page of the chunk it found, unmarked; one
// that finds nothing ends it, if it is not marked.
#include "fuzz/fuzz_env.h"
#include "gomem/mpagealloc.h"
#include "gomem/persistentalloc.h"

enum { numSlots = 48, firstChunk = 1000, dense = 496, wordBytes = 8 };

typedef struct slot {
	bool known, hasFree;
	unsigned inUse, lastInUse;
} slot;

typedef struct cursor {
	uint64_t at; // 0: nothing
	bool marked;
} cursor;

typedef struct state {
	fuzz_env e;
	scavengeIndex s;
	sysMemStat sysStat;
	slot slots[numSlots];
	cursor forced, background;
	uint64_t highestFreed;
	uint64_t stride;           // chunks from one slot to the next
	uint64_t mapMin, mapMax;   // chunks whose words are mapped
	uint64_t lowest, end;      // of the heap
	uint64_t badSlot, badPage; // of a call that may throw
	uint64_t badPages;
} state;

static chunkIdx chunkOf(const state *s, uint64_t i) { return (chunkIdx)(firstChunk + i * s->stride); }
static uint64_t slotAddr(const state *s, uint64_t i) { return chunkBase(s->e.env.layout, chunkOf(s, i)); }
static uint64_t pageAddr(const state *s, uint64_t i, uint64_t page) {
	return slotAddr(s, i) + (page << s->e.env.layout->pageShift);
}

// knownSlot gives a slot of the heap at or after i, wrapping around; numSlots: the heap is empty.
static unsigned knownSlot(const state *s, uint64_t i) {
	for (unsigned k = 0; k < numSlots; k++) {
		const unsigned at = (unsigned)(i + k) % numSlots;
		if (s->slots[at].known) {
			return at;
		}
	}
	return numSlots;
}

// ---- growing

static uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }
static uint64_t most(uint64_t a, uint64_t b) { return a > b ? a : b; }

static void growOne(state *s, unsigned i) {
	const gomem_layout *L = s->e.env.layout;
	const uint64_t base = slotAddr(s, i), limit = base + layout_chunkBytes(L), failed = fuzz_os_failed();
	const uintptr_t got = scavengeIndex_grow(&s->e.env, &s->s, (uintptr_t)base, (uintptr_t)limit, &s->sysStat);
	if (got == ~(uintptr_t)0) {
		fuzz_check(fuzz_os_failed() > failed, "a growth failed with memory left");
		fuzz_equal("bytes mapped", scavengeIndex_mapped(&s->s), (s->mapMax - s->mapMin) * wordBytes);
		return;
	}
	const uint64_t had = s->mapMax - s->mapMin, perPage = s->e.env.physPageSize / wordBytes, ci = chunkOf(s, i);
	const uint64_t from = ci / perPage * perPage, to = ci / perPage * perPage + perPage;
	s->mapMin = had == 0 ? from : least(s->mapMin, from);
	s->mapMax = had == 0 ? to : most(s->mapMax, to);
	fuzz_equal("bytes that a growth mapped", got, (s->mapMax - s->mapMin - had) * wordBytes);
	s->lowest = s->lowest == 0 ? ci : least(s->lowest, ci);
	s->end = most(s->end, ci + 1);
	s->slots[i].known = true;
}

static void grow(void *v, const uint64_t *a) {
	state *s = v;
	for (uint64_t i = a[0]; i <= a[0] + a[1] && i < numSlots; i++) {
		if (!s->slots[i].known) {
			growOne(s, (unsigned)i);
		}
	}
}

static void fail(void *v, const uint64_t *a) {
	(void)v;
	fuzz_os_fail(a[0], 0);
}

// ---- pages taken and freed

static void callAlloc(void *v) {
	state *s = v;
	scavengeIndex_alloc(&s->e.env, &s->s, chunkOf(s, s->badSlot), (unsigned)s->badPages);
}

static void callFree(void *v) {
	state *s = v;
	scavengeIndex_free(&s->e.env, &s->s, chunkOf(s, s->badSlot), (unsigned)s->badPage, (unsigned)s->badPages);
}

static void allocPages(void *v, const uint64_t *a) {
	state *s = v;
	const unsigned i = knownSlot(s, a[0]);
	if (i == numSlots) {
		return;
	}
	s->badSlot = i;
	s->badPages = 1 + a[1];
	slot *c = &s->slots[i];
	const bool fits = c->inUse + s->badPages <= pallocChunkPages;
	fuzz_equal("scavengeIndex_alloc throws", fuzz_throws(&s->e.guard, callAlloc, s), !fits);
	if (fits) {
		c->inUse += (unsigned)s->badPages;
		c->hasFree = c->hasFree && c->inUse < pallocChunkPages;
	}
}

static void freePages(void *v, const uint64_t *a) {
	state *s = v;
	const unsigned i = knownSlot(s, a[0]);
	if (i == numSlots) {
		return;
	}
	s->badSlot = i;
	s->badPage = a[1];
	s->badPages = least(1 + a[2], pallocChunkPages - a[1]);
	slot *c = &s->slots[i];
	const bool fits = c->inUse >= s->badPages;
	fuzz_equal("scavengeIndex_free throws", fuzz_throws(&s->e.guard, callFree, s), !fits);
	if (!fits) {
		return;
	}
	c->inUse -= (unsigned)s->badPages;
	c->hasFree = true;
	const uint64_t last = pageAddr(s, i, s->badPage + s->badPages - 1);
	s->highestFreed = most(s->highestFreed, last);
	if (last > s->forced.at) {
		s->forced = (cursor){last, true};
	}
}

static void nextGen(void *v, const uint64_t *a) {
	(void)a;
	state *s = v;
	scavengeIndex_nextGen(&s->e.env, &s->s);
	for (unsigned i = 0; i < numSlots; i++) {
		s->slots[i].lastInUse = s->slots[i].inUse;
	}
	if (s->highestFreed > s->background.at) {
		s->background = (cursor){s->highestFreed, true};
	}
	s->highestFreed = 0;
}

static void setEmpty(void *v, const uint64_t *a) {
	state *s = v;
	const unsigned i = knownSlot(s, a[0]);
	if (i < numSlots) {
		scavengeIndex_setEmpty(&s->s, chunkOf(s, i));
		s->slots[i].hasFree = false;
	}
}

// ---- searching

// wantedSlot gives the slot that a search finds, and sinks the cursor; numSlots: none.
static unsigned wantedSlot(state *s, cursor *at, bool force) {
	for (unsigned i = numSlots; at->at != 0 && i-- > 0;) {
		const slot *c = &s->slots[i];
		const bool worth = c->hasFree && (force || (c->inUse < dense && c->lastInUse < dense));
		if (slotAddr(s, i) > at->at || !worth) {
			continue;
		}
		if (at->at > pageAddr(s, i, pallocChunkPages - 1)) {
			*at = (cursor){pageAddr(s, i, pallocChunkPages - 1), false};
		}
		return i;
	}
	at->at = at->marked ? at->at : 0;
	return numSlots;
}

static void find(void *v, const uint64_t *a) {
	state *s = v;
	cursor *at = a[0] != 0 ? &s->forced : &s->background;
	const unsigned i = wantedSlot(s, at, a[0] != 0);
	unsigned page;
	const chunkIdx ci = scavengeIndex_find(&s->e.env, &s->s, a[0] != 0, &page);
	fuzz_equal("scavengeIndex_find: chunk", ci, i == numSlots ? 0 : chunkOf(s, i));
	fuzz_equal(
		"scavengeIndex_find: page", page, i == numSlots ? 0 : (at->at - slotAddr(s, i)) >> s->e.env.layout->pageShift);
}

// ---- words

static void words(void *v, const uint64_t *a) {
	(void)v;
	const scavChunkData d = {(uint16_t)a[0], (uint16_t)a[1], (uint32_t)a[2], (uint8_t)a[3]};
	const scavChunkData got = unpackScavChunkData(scavChunkData_pack(d));
	fuzz_equal("inUse", got.inUse, d.inUse);
	fuzz_equal("lastInUse", got.lastInUse, d.lastInUse);
	fuzz_equal("gen", got.gen, d.gen);
	fuzz_equal("flags", got.flags, d.flags);
	const uint32_t gen = (uint32_t)(a[2] + a[4]);
	const bool hasFree = (d.flags & scavChunkHasFree) != 0;
	// What was in use in an older generation is still in use: nothing changed since.
	const bool sparse = d.inUse < dense && (gen != d.gen || d.lastInUse < dense);
	fuzz_equal(
		"shouldScavenge", scavChunkData_shouldScavenge(smallSpace(), d, gen, a[5] != 0), hasFree && (sparse || a[5]));
}

static void unpack(void *v, const uint64_t *a) {
	(void)v;
	fuzz_equal("a word packed again", scavChunkData_pack(unpackScavChunkData(a[0])), a[0]);
}

// ---- begin and end

static void *begin(const uint64_t *config) {
	static state theState;
	state *s = &theState;
	memset(s, 0, sizeof *s);
	fuzz_env_init(&s->e, smallSpace(), &(fuzz_os_config){.physPageSize = config[1] != 0 ? 16 << 10 : 4 << 10});
	s->stride = 1 + config[0];
	fuzz_equal("scavengeIndex_init", scavengeIndex_init(&s->e.env, &s->s, true, &s->sysStat), 0);
	atomic_store(&s->s.gen, (uint32_t)(0 - config[2])); // generations may wrap around
	return s;
}

static void compareCursor(const state *s, const char *what, atomicOffAddr *got, cursor want) {
	bool marked;
	const gomem_layout *L = s->e.env.layout;
	const uint64_t addr = atomicOffAddr_Load(L, got, &marked);
	fuzz_equal(what, addr == minOffAddr(L).a ? 0 : addr, want.at);
	fuzz_equal("a cursor is marked", marked, want.marked);
}

static void after(void *v) {
	state *s = v;
	compareCursor(s, "forced cursor", &s->s.searchAddrForce, s->forced);
	compareCursor(s, "background cursor", &s->s.searchAddrBg, s->background);
	if (s->end != 0) {
		scavengeIndex_check(&s->e.env, &s->s, (chunkIdx)s->lowest, (chunkIdx)s->end);
	}
	for (unsigned i = 0; i < numSlots; i++) {
		const slot *c = &s->slots[i];
		if (c->known) {
			const scavChunkData d = unpackScavChunkData(atomic_load(&s->s.chunks[chunkOf(s, i)]));
			fuzz_equal("pages in use", d.inUse, c->inUse);
			fuzz_equal("has free pages", d.flags & scavChunkHasFree, c->hasFree);
		}
	}
}

static void end(void *v) {
	state *s = v;
	fuzz_os_fail(0, 0);
	scavengeIndex_destroy(&s->e.env, &s->s, &s->sysStat);
	fuzz_equal("bytes left in the statistic", sysMemStat_load(&s->sysStat), 0);
	fuzz_env_done(&s->e);
}

#define SLOT                                                                                                           \
	{ "slot", 1, FUZZ_ANY, numSlots - 1 }
#define MORE                                                                                                           \
	{ "more", 2, FUZZ_PAGES, pallocChunkPages - 1 }

static const fuzz_op_info ops[] = {
	{"grow", {SLOT, {"more", 1, FUZZ_ANY, 7}}, grow},
	{"fail", {{"n", 1, FUZZ_ANY, 3}}, fail},
	{"alloc", {SLOT, MORE}, allocPages},
	{"free", {SLOT, {"page", 2, FUZZ_INDEX, pallocChunkPages - 1}, MORE}, freePages},
	{"nextGen", {{NULL, 0, 0, 0}}, nextGen},
	{"setEmpty", {SLOT}, setEmpty},
	{"find", {{"force", 1, FUZZ_ANY, 1}}, find},
	{"words",
		{{"inUse", 2, FUZZ_PAGES, pallocChunkPages}, {"lastInUse", 2, FUZZ_PAGES, pallocChunkPages},
			{"gen", 4, FUZZ_ANY, 0}, {"flags", 1, FUZZ_ANY, 63}, {"later", 1, FUZZ_ANY, 2}, {"force", 1, FUZZ_ANY, 1}},
		words},
	{"unpack", {{"word", 8, FUZZ_WORD, 0}}, unpack},
};

FUZZ_TARGET(scavindex) = {
	.name = "scavindex",
	.what = "the scavenge index alone against a list of chunks",
	.config = {{"stride", 2, FUZZ_ANY, 299}, {"phys", 1, FUZZ_ANY, 1}, {"gen", 1, FUZZ_ANY, 2}},
	.ops = ops,
	.nops = sizeof ops / sizeof ops[0],
	.max_ops = 48,
	.begin = begin,
	.after = after,
	.end = end,
	.small = true,
};
