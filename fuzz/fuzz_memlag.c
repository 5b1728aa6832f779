// fuzz_memlag.c: memory given back with a lag, against one state for each page.
//
// The system below is an array, whose pages are small so that there are many. A page has the state that the heap sees, and the one that the
// system below was told: a page is kept if it is Prepared for the one and Ready for the other.
#include "fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "gomem/mem.h"

enum {
	pageBytes = 16,
	numPages = 640,
	maxRanges = 256, // that are kept apart: with more, a page may go before its time
	mergesFrom = 16, // pages of lag from which on neighbours become one range, whose pages go together
};

typedef enum pageState { NONE, PREPARED, READY } pageState;

typedef struct state {
	gomem_os below;
	gomem_os *os;
	uint64_t limit; // pages
	pageState seen[numPages], told[numPages];
	uint64_t since[numPages]; // a kept page: when it was given back
	uint64_t kept;            // pages
	uint64_t now, given, newestGiven;
	bool refuses; // used fails
	uint64_t memory[numPages][2] __attribute__((aligned(pageBytes)));
} state;

static state *stateOf(gomem_os *os) { return (state *)(void *)os; }

static uint64_t pageOf(const state *s, const void *v) { return ((uintptr_t)v - (uintptr_t)s->memory) / pageBytes; }

static uintptr_t bytesOf(uint64_t pages) { return (uintptr_t)pages * pageBytes; }

static bool isKept(const state *s, uint64_t i) { return s->seen[i] == PREPARED && s->told[i] == READY; }

// ---- the system below

static bool belowUsed(gomem_os *os, void *v, uintptr_t n) {
	state *s = stateOf(os);
	if (s->refuses) {
		return false;
	}
	for (uint64_t i = pageOf(s, v), end = i + (n + pageBytes - 1) / pageBytes; i < end; i++) {
		fuzz_check(s->told[i] != NONE, "used, and not mapped");
		s->told[i] = READY;
	}
	return true;
}

static bool belowUnused(gomem_os *os, void *v, uintptr_t n) {
	state *s = stateOf(os);
	for (uint64_t i = pageOf(s, v), end = i + n / pageBytes; i < end; i++) {
		fuzz_check(s->seen[i] != READY, "a page that is in use was given back");
		fuzz_equal("told of a page that is given back", s->told[i], READY);
		s->told[i] = PREPARED;
		s->kept--;
		if (!os->unusedKeepsContents) {
			memset(s->memory[i], 0, pageBytes);
		}
		s->newestGiven = s->since[i] > s->newestGiven ? s->since[i] : s->newestGiven;
		s->given++;
	}
	return true;
}

static bool belowNone(gomem_os *os, void *v, uintptr_t n) {
	state *s = stateOf(os);
	for (uint64_t i = pageOf(s, v), end = i + n / pageBytes; i < end; i++) {
		s->kept -= isKept(s, i);
		s->told[i] = NONE;
		memset(s->memory[i], 0, pageBytes);
	}
	return true;
}

// ---- operations

// runOf gives how many pages from first on, at most n, are in the state least or one behind it.
static uint64_t runOf(const state *s, uint64_t first, uint64_t n, pageState least) {
	uint64_t i = first;
	while (i < numPages && i < first + n && s->seen[i] >= least) {
		i++;
	}
	return i - first;
}

static uint64_t keptAmong(const state *s, uint64_t first, uint64_t n) {
	uint64_t kept = 0;
	for (uint64_t i = first; i < first + n; i++) {
		kept += isKept(s, i);
	}
	return kept;
}

static uint64_t oldestKept(const state *s) {
	uint64_t oldest = UINT64_MAX;
	for (uint64_t i = 0; i < numPages; i++) {
		if (isKept(s, i) && s->since[i] < oldest) {
			oldest = s->since[i];
		}
	}
	return oldest;
}

static void unusedRun(state *s, uint64_t first, uint64_t n) {
	n = runOf(s, first, n, READY);
	if (n == 0) {
		return;
	}
	s->now++;
	const uint64_t kept = s->kept;
	for (uint64_t i = first; i < first + n; i++) {
		s->seen[i] = PREPARED;
		s->since[i] = s->now;
	}
	s->kept += n;
	s->given = s->newestGiven = 0;
	fuzz_check(s->os->unused(s->os, s->memory[first], bytesOf(n)), "unused");
	fuzz_check(n <= s->limit || s->given == n, "more than the lag was kept");
	if (n <= s->limit && s->given != 0) {
		fuzz_check(
			s->limit >= mergesFrom || s->newestGiven <= oldestKept(s), "what was given back first does not go first");
		fuzz_check(kept + n > s->limit || kept >= maxRanges, "a page went without need");
	}
}

static void unused(void *v, const uint64_t *a) { unusedRun(v, a[0], a[1]); }

// combUnused gives back pages that are not neighbours: as many ranges as can be.
static void combUnused(void *v, const uint64_t *a) {
	for (uint64_t i = a[0], n = 0; i < numPages && n < a[1]; i += 2 + a[2], n++) {
		unusedRun(v, i, 1);
	}
}

static uint64_t patternOf(uint64_t i) { return (i % 255 + 1) * 0x0101010101010101; } // no byte is zero

// checkContents: what comes back is zero, or as the system below keeps it; what was in use is as it was left.
static void checkContents(const state *s, uint64_t i) {
	const bool fresh = s->seen[i] == PREPARED;
	for (unsigned j = 0; j < 2; j++) {
		const uint64_t word = s->memory[i][j];
		const bool asLeft = word == patternOf(i), mayBe = !fresh || s->below.unusedKeepsContents;
		fuzz_check((fresh && word == 0) || (mayBe && asLeft), "a page that is used again holds something");
	}
}

static void usedRun(state *s, uint64_t first, uint64_t n) {
	n = runOf(s, first, n, PREPARED);
	if (n == 0) {
		return;
	}
	const uint64_t kept = keptAmong(s, first, n);
	const bool ok = s->os->used(s->os, s->memory[first], bytesOf(n));
	fuzz_equal("used", ok, !s->refuses);
	if (!ok) {
		return;
	}
	s->kept -= kept;
	for (uint64_t i = first; i < first + n; i++) {
		checkContents(s, i);
		s->seen[i] = READY;
		s->memory[i][0] = s->memory[i][1] = patternOf(i);
	}
}

static void used(void *v, const uint64_t *a) { usedRun(v, a[0], a[1]); }

static void combUsed(void *v, const uint64_t *a) {
	for (uint64_t i = a[0], n = 0; i < numPages && n < a[1]; i += 2 + a[2], n++) {
		usedRun(v, i, 1);
	}
}

// halves: one half of a page is used again, and the other one later, as where heap pages are smaller than physical ones.
static void halves(void *v, const uint64_t *a) {
	state *s = v;
	const uint64_t i = a[0], half = a[1];
	if (s->seen[i] != PREPARED || s->below.unusedKeepsContents) {
		return;
	}
	s->kept -= isKept(s, i);
	s->seen[i] = READY;
	fuzz_check(s->os->used(s->os, &s->memory[i][half], pageBytes / 2), "used");
	fuzz_equal("a half that is used again", s->memory[i][half], 0);
	s->memory[i][half] = patternOf(i);
	if (a[2] != 0) {
		s->os->flush(s->os);
	}
	fuzz_check(s->os->used(s->os, &s->memory[i][1 - half], pageBytes / 2), "used");
	fuzz_equal("the other half", s->memory[i][1 - half], 0);
	fuzz_equal("the half in use", s->memory[i][half], patternOf(i));
	s->memory[i][1 - half] = patternOf(i);
}

static void refusedUsed(void *v, const uint64_t *a) {
	state *s = v;
	s->refuses = true;
	usedRun(s, a[0], a[1]);
	s->refuses = false;
}

// gone takes pages away, kept ones and others.
static void gone(state *s, uint64_t first, uint64_t n, bool (*call)(gomem_os *, void *, uintptr_t)) {
	n = runOf(s, first, n, PREPARED);
	if (n == 0) {
		return;
	}
	const uint64_t kept = s->kept;
	s->given = 0;
	fuzz_check(call(s->os, s->memory[first], bytesOf(n)), "the memory stays");
	fuzz_check(s->given == 0 || kept >= maxRanges, "pages given back where memory goes");
	for (uint64_t i = first; i < first + n; i++) {
		s->seen[i] = NONE;
	}
}

static void fault(void *v, const uint64_t *a) { gone(v, a[0], a[1], ((state *)v)->os->fault); }
static void freed(void *v, const uint64_t *a) { gone(v, a[0], a[1], ((state *)v)->os->free); }

static void map(void *v, const uint64_t *a) {
	state *s = v;
	for (uint64_t i = a[0]; i < a[0] + a[1] && i < numPages; i++) {
		if (s->seen[i] == NONE) {
			s->seen[i] = s->told[i] = PREPARED;
		}
	}
}

static void flush(void *v, const uint64_t *a) {
	state *s = v;
	(void)a;
	s->os->flush(s->os);
	fuzz_equal("pages kept after a flush", s->kept, 0);
}

static void after(void *v) {
	state *s = v;
	if (fuzz_thorough()) {
		fuzz_must(s->os->check(s->os));
		fuzz_equal("pages kept, counted", s->kept, keptAmong(s, 0, numPages));
	}
	fuzz_equal("bytes kept", mem_lag_bytes(s->os), bytesOf(s->kept));
	fuzz_check(s->kept <= s->limit, "more is kept than the lag");
}

static void *begin(const uint64_t *config) {
	state *s = aligned_alloc(_Alignof(state), sizeof *s);
	fuzz_check(s != NULL, "out of memory");
	memset(s, 0, sizeof *s);
	s->limit = config[0];
	s->below = (gomem_os){
		.physPageSize = pageBytes,
		.unusedKeepsContents = config[1] != 0,
		.used = belowUsed,
		.unused = belowUnused,
		.fault = belowNone,
		.free = belowNone,
	};
	s->os = mem_lag_new(&s->below, bytesOf(s->limit));
	fuzz_check(s->os != NULL, "out of memory");
	for (unsigned i = 0; i < numPages; i++) {
		s->seen[i] = s->told[i] = PREPARED;
	}
	usedRun(s, 0, numPages);
	return s;
}

static void end(void *v) {
	state *s = v;
	usedRun(s, 0, numPages);
	s->os->destroy(s->os);
	free(s);
}

#define PAGE                                                                                                           \
	{ "page", 2, FUZZ_INDEX, numPages - 1 }
#define PAGES                                                                                                          \
	{ "pages", 1, FUZZ_INDEX, 200 }
#define GAP                                                                                                            \
	{ "gap", 1, FUZZ_ANY, 3 }

static const fuzz_op_info ops[] = {
	{"unused", {PAGE, PAGES}, unused},
	{"used", {PAGE, PAGES}, used},
	{"comb_unused", {PAGE, {"pages", 2, FUZZ_INDEX, 320}, GAP}, combUnused},
	{"comb_used", {PAGE, {"pages", 1, FUZZ_ANY, 31}, GAP}, combUsed},
	{"used_refused", {PAGE, PAGES}, refusedUsed},
	{"fault", {PAGE, PAGES}, fault},
	{"free", {PAGE, PAGES}, freed},
	{"map", {PAGE, PAGES}, map},
	{"flush", {{0}}, flush},
	{"halves", {PAGE, {"half", 1, FUZZ_ANY, 1}, {"flush", 1, FUZZ_ANY, 1}}, halves},
};

FUZZ_TARGET(memlag) = {
	.name = "memlag",
	.what = "memory given back with a lag against one state for each page",
	.config = {{"limit", 2, FUZZ_INDEX, numPages}, {"free", 1, FUZZ_ANY, 1}},
	.ops = ops,
	.nops = sizeof ops / sizeof ops[0],
	.max_ops = 8,
	.begin = begin,
	.after = after,
	.end = end,
	.small = true,
};
