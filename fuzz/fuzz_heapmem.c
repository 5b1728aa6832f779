// fuzz_heapmem.c: the side table of a heap whose memory cannot be touched, against a plain array of words.
#include "fuzz/fuzz.h"

#include <stdlib.h>

#include "fuzz/fuzz_env.h"
#include "gomem/heapmem.h"

enum { numWords = 2048, maxStores = 1600 };

typedef struct state {
	fuzz_env e;
	heapMemSide side;
	uint64_t base, stride; // bytes from one word of the array to the next
	uint64_t words[numWords];
	bool stored[numWords];
	uint64_t count;  // of words ever stored
	uint64_t budget; // stores that are left: a run must end soon
} state;

static uintptr_t addrOf(const state *s, uint64_t word) { return (uintptr_t)(s->base + word * s->stride); }

// store: only the first store of a word may need memory.
static void storeWord(state *s, uint64_t word, uintptr_t value) {
	const uint64_t failed = fuzz_os_failed();
	if (heapMem_store(&s->e.env, &s->side, addrOf(s, word), value)) {
		s->words[word] = value;
		s->count += !s->stored[word];
		s->stored[word] = true;
		return;
	}
	fuzz_check(!s->stored[word], "a word that was stored once can be stored again");
	fuzz_check(fuzz_os_failed() > failed, "a store fails only if the system does");
}

static void store(void *v, const uint64_t *a) { storeWord(v, a[0], (uintptr_t)a[1]); }

// storeMany stores words at equal distances: the table grows, and homes collide.
static void storeMany(void *v, const uint64_t *a) {
	const uint64_t step = 1 + a[2];
	state *s = v;
	for (uint64_t i = 0, word = a[0]; i < a[1] && word < numWords && s->budget > 0; i++, word += step) {
		s->budget--;
		storeWord(s, word, (uintptr_t)(a[3] + i));
	}
}

static void loadWord(state *s, uint64_t word) {
	fuzz_equal("a word", heapMem_load(&s->e.env, &s->side, addrOf(s, word)), s->words[word]);
}

static void load(void *v, const uint64_t *a) { loadWord(v, a[0]); }

static void fail(void *v, const uint64_t *a) {
	(void)v;
	fuzz_os_fail(a[0], a[1]);
}

static void destroy(void *v, const uint64_t *a) {
	(void)a;
	state *s = v;
	heapMem_destroy(&s->e.env, &s->side);
	fuzz_equal("other_sys of no table", sysMemStat_load(&s->e.stats.other_sys), 0);
	memset(s->words, 0, sizeof s->words);
	memset(s->stored, 0, sizeof s->stored);
	s->count = 0;
}

static void after(void *v) {
	const state *s = v;
	fuzz_equal("words in the table", s->side.len, s->count);
	fuzz_check(s->side.len * 4 <= s->side.cap * 3, "a quarter of the table is empty");
	fuzz_equal("other_sys", sysMemStat_load(&s->e.stats.other_sys), s->side.cap * 16);
	fuzz_equal("mappedReady", (uint64_t)atomic_load(&s->e.stats.mappedReady), s->side.cap * 16);
}

static void *begin(const uint64_t *config) {
	state *s = calloc(1, sizeof *s);
	fuzz_check(s != NULL, "out of memory");
	fuzz_env_init(&s->e, NULL, NULL);
	s->budget = maxStores;
	s->stride = (uint64_t)8 << config[0];
	s->base = FUZZ_OS_BASE + config[1] * 8192;
	return s;
}

static void end(void *v) {
	state *s = v;
	for (uint64_t word = 0; s->count > 0 && word < numWords; word += 1 + word % 3) {
		loadWord(s, word);
	}
	heapMem_destroy(&s->e.env, &s->side);
	fuzz_env_done(&s->e);
	free(s);
}

#define WORD                                                                                                           \
	{ "word", 2, FUZZ_INDEX, numWords - 1 }

static const fuzz_op_info ops[] = {
	{"store", {WORD, {"value", 8, FUZZ_WORD, 0}}, store},
	{"storemany", {WORD, {"words", 2, FUZZ_INDEX, 1000}, {"gap", 1, FUZZ_ANY, 9}, {"value", 8, FUZZ_WORD, 0}},
		storeMany},
	{"load", {WORD}, load},
	{"fail", {{"nth", 1, FUZZ_ANY, 3}, {"more", 1, FUZZ_ANY, 3}}, fail},
	{"destroy", {{0}}, destroy},
};

FUZZ_TARGET(heapmem) = {
	.name = "heapmem",
	.what = "the side table of heap memory against a plain array of words",
	.config = {{"stride", 1, FUZZ_ANY, 11}, {"base", 4, FUZZ_ANY, 0}},
	.ops = ops,
	.nops = sizeof ops / sizeof ops[0],
	.max_ops = 24,
	.begin = begin,
	.after = after,
	.end = end,
	.small = true,
};
