// fuzz_gcbits.c: mark and allocation bits: handed out zero, to one owner, for two cycles of the collector.
//
// The model counts arenas and the bytes left in the newest one; what is handed out is filled and must stay as it was filled until
// its time is over.
#include "fuzz/fuzz.h"

#include <stdlib.h>

#include "fuzz/fuzz_env.h"
#include "gomem/gcbits.h"

enum { maxBlocks = 64 };
static const uint64_t arenaBytes = 64 << 10, arenaHeader = 2 * sizeof(uintptr_t);

typedef struct block {
	gcBits *p;
	uint64_t bytes, epoch;
	uint8_t holds;
} block;

typedef struct state {
	fuzz_env e;
	gcBitsArenas arenas;
	block blocks[maxBlocks];
	unsigned n;
	uint64_t epoch;
	uint64_t room;                              // bytes left in the newest arena of this epoch
	uint64_t newest, current, previous, unused; // arenas in the four lists
} state;

static bool allBytes(const gcBits *p, uint64_t n, uint8_t value) {
	return n == 0 || (p[0] == value && memcmp(p, p + 1, (size_t)(n - 1)) == 0);
}

static void checkDisjoint(const state *s, const block *fresh) {
	for (unsigned i = 0; i < s->n; i++) {
		const block *b = &s->blocks[i];
		fuzz_check(fresh->p + fresh->bytes <= b->p || b->p + b->bytes <= fresh->p, "bits have one owner");
	}
}

static void newBits(void *v, const uint64_t *a) {
	state *s = v;
	const uint64_t failed = fuzz_os_failed(), bytes = (a[0] + 63) / 64 * 8;
	const bool needsArena = s->newest == 0 || s->room < bytes;
	gcBits *p = a[1] == 0 ? newMarkBits(&s->e.env, &s->arenas, (uintptr_t)a[0])
						  : newAllocBits(&s->e.env, &s->arenas, (uintptr_t)a[0]);
	if (fuzz_os_failed() > failed) {
		fuzz_check(needsArena && s->unused == 0, "the system is asked only if there is no room");
		fuzz_check(p == NULL, "no bits without memory");
		return;
	}
	fuzz_check(p != NULL && (uintptr_t)p % 8 == 0, "bits are whole words");
	if (needsArena) {
		s->unused -= s->unused > 0;
		s->newest++;
		s->room = arenaBytes - arenaHeader;
	}
	s->room -= bytes;
	fuzz_check(allBytes(p, bytes, 0), "bits are handed out as zero");
	block b = {p, bytes, s->epoch, (uint8_t)(1 + a[2])};
	checkDisjoint(s, &b);
	memset(p, b.holds, (size_t)bytes);
	if (s->n < maxBlocks) {
		s->blocks[s->n++] = b;
	}
}

static void many(void *v, const uint64_t *a) {
	for (uint64_t i = 0; i <= a[1]; i++) {
		newBits(v, (const uint64_t[FUZZ_MAX_ARGS]){a[0] + i, i % 2, a[2] + i});
	}
}

static void checkBlocks(const state *s) {
	for (unsigned i = 0; i < s->n; i++) {
		fuzz_check(allBytes(s->blocks[i].p, s->blocks[i].bytes, s->blocks[i].holds), "bits stay for two cycles");
	}
}

static void epoch(void *v, const uint64_t *a) {
	(void)a;
	state *s = v;
	checkBlocks(s);
	nextMarkBitArenaEpoch(&s->e.env, &s->arenas);
	s->epoch++;
	s->unused += s->previous;
	s->previous = s->current;
	s->current = s->newest;
	s->newest = 0;
	unsigned kept = 0;
	for (unsigned i = 0; i < s->n; i++) {
		if (s->blocks[i].epoch + 2 >= s->epoch) {
			s->blocks[kept++] = s->blocks[i];
		}
	}
	s->n = kept;
}

static void fail(void *v, const uint64_t *a) {
	(void)v;
	fuzz_os_fail(a[0], a[1]);
}

static uint64_t length(const gcBitsArena *a) {
	uint64_t n = 0;
	for (; a != NULL; a = a->next) {
		n++;
	}
	return n;
}

static void after(void *v) {
	state *s = v;
	const uint64_t bytes = (s->newest + s->current + s->previous + s->unused) * arenaBytes;
	fuzz_equal("gcMiscSys", sysMemStat_load(&s->e.stats.gcMiscSys), bytes);
	fuzz_equal("mappedReady", (uint64_t)atomic_load(&s->e.stats.mappedReady), bytes);
	fuzz_equal("arenas of this cycle", length((gcBitsArena *)atomic_load(&s->arenas.next)), s->newest);
	fuzz_equal("arenas of the last cycle", length(s->arenas.current), s->current);
	fuzz_equal("arenas of the cycle before", length(s->arenas.previous), s->previous);
	fuzz_equal("arenas in no use", length(s->arenas.free), s->unused);
}

static void *begin(const uint64_t *config) {
	(void)config;
	state *s = calloc(1, sizeof *s);
	fuzz_check(s != NULL, "out of memory");
	fuzz_env_init(&s->e, NULL, NULL);
	return s;
}

static void end(void *v) {
	state *s = v;
	checkBlocks(s);
	gcBitsArenas_destroy(&s->e.env, &s->arenas);
	fuzz_equal("gcMiscSys of nothing", sysMemStat_load(&s->e.stats.gcMiscSys), 0);
	fuzz_env_done(&s->e);
	free(s);
}

#define SLOTS                                                                                                          \
	{ "slots", 2, FUZZ_INDEX, 1024 }
#define BYTE                                                                                                           \
	{ "byte", 1, FUZZ_ANY, 200 }

static const fuzz_op_info ops[] = {
	{"new", {SLOTS, {"alloc", 1, FUZZ_ANY, 1}, BYTE}, newBits},
	{"large", {{"slots", 3, FUZZ_ANY, (64 * 1024 - 16) * 8}, {"alloc", 1, FUZZ_ANY, 1}, BYTE}, newBits},
	{"many", {SLOTS, {"more", 1, FUZZ_ANY, 50}, BYTE}, many},
	{"epoch", {{0}}, epoch},
	{"fail", {{"nth", 1, FUZZ_ANY, 3}, {"more", 1, FUZZ_ANY, 3}}, fail},
};

FUZZ_TARGET(gcbits) = {
	.name = "gcbits",
	.what = "mark bits are zero, have one owner and live two cycles; arenas against four counters",
	.ops = ops,
	.nops = sizeof ops / sizeof ops[0],
	.max_ops = 32,
	.begin = begin,
	.after = after,
	.end = end,
	.small = true,
};
