// test_faults.c: each public entry of gomem.h, and each n: the n-th call to the OS fails, or is granted elsewhere. Nothing leaks, the heap's
// check holds, what lived is intact, and the next call works.
//
// A case makes a heap in a state of its own, arms the fault, makes one call, and takes it back. n grows until the call makes fewer calls than n.
// With --sites the stack of each fault is printed, for tests/fault_sites.py: it holds them against all call sites in gomem/.
#include <execinfo.h>
#include <unistd.h>

#include "heaptest.h"

enum { OBJECTS = 64, FRAMES = 24 };

typedef struct faultCase faultCase;

// Of a case. MAY_THROW: the entry has no way to report, and throws "out of memory" as Go does.
enum { MAY_THROW = 1, NO_HEAP = 2, BARE = 4, UNBACKED = 8 };

typedef struct world {
	heapFix f;
	gomem_os *sim;
	const faultCase *c;
	uint8_t *kept[OBJECTS];
	void *arg;
	bool bare, none; // no P; no heap yet
} world;

typedef enum outcome { OK, FAILED } outcome;

struct faultCase {
	const char *entry, *state;
	void (*prepare)(world *w);
	outcome (*call)(world *w);
	unsigned flags;
	uintptr_t physPage; // 0: 4 KiB
};

static bool printSites;

static void onHit(void *ctx, const char *call, bool moved) {
	(void)ctx;
	if (!printSites) {
		return;
	}
	void *frames[FRAMES];
	const int n = backtrace(frames, FRAMES);
	char line[FRAMES * 20 + 64];
	int at = snprintf(line, sizeof line, "site %s %s", call, moved ? "moved" : "failed");
	for (int i = 2; i < n; i++) {
		at += snprintf(line + at, sizeof line - (size_t)at, " %p", frames[i]);
	}
	puts(line);
}

static void keep(world *w) {
	if (!w->f.os->backed) {
		return;
	}
	for (int i = 0; i < OBJECTS; i++) {
		const uintptr_t size = (uintptr_t)1 << i % 12;
		w->kept[i] = gomem_mallocgc(w->f.h, w->f.p, size, NULL, true);
		assert_non_null(w->kept[i]);
		memset(w->kept[i], i + 1, size);
	}
}

static void intact(const world *w) {
	for (int i = 0; i < OBJECTS && w->kept[i] != NULL; i++) {
		for (uintptr_t k = 0; k < (uintptr_t)1 << i % 12; k++) {
			assert_int_equal(w->kept[i][k], i + 1);
		}
	}
}

static void markKept(void *arg) {
	const world *w = arg;
	for (int i = 0; i < OBJECTS && w->kept[i] != NULL; i++) {
		gomem_mark(w->f.h, w->kept[i]);
	}
}

static outcome makeHeap(world *w) {
	const gomem_config cfg = {.os = w->f.os,
		.checked = true,
		.rand_seed = 42,
		.runtime_freegc = true,
		.throw_hook = heapFix_thrown,
		.throw_ctx = &w->f};
	w->f.h = w->bare ? gomem_heap_new_bare(&cfg) : gomem_heap_new(&cfg);
	return w->f.h != NULL ? OK : FAILED;
}

static void begin(world *w, const faultCase *c) {
	*w = (world){.c = c, .bare = (c->flags & BARE) != 0};
	w->sim = mem_sim_new(&(memSimConfig){
		.backed = (c->flags & UNBACKED) == 0, .physPageSize = c->physPage, .physHugePageSize = 2 << 20});
	w->f.os = mem_fault_new(w->sim, NULL);
	assert_non_null(w->f.os);
	if ((c->flags & NO_HEAP) != 0) {
		return;
	}
	assert_int_equal(makeHeap(w), OK);
	w->f.p = gomem_heap_p(w->f.h, 0);
	if (c->prepare != NULL) {
		c->prepare(w);
	}
}

static void end(world *w) {
	if (w->f.h != NULL) {
		gomem_heap_destroy(w->f.h);
	}
	for (int use = MEM_HEAP; use <= MEM_META; use++) {
		for (int s = MEM_RESERVED; s < MEM_NSTATES; s++) {
			if (mem_sim_bytes(w->sim, (memUse)use, (memState)s) != 0) {
				fail_msg("%s (%s): %llu bytes leaked in state %d", w->c->entry, w->c->state,
					(unsigned long long)mem_sim_bytes(w->sim, (memUse)use, (memState)s), s);
			}
		}
	}
	w->f.os->destroy(w->f.os);
}

// ---- states

static void fill(world *w, uintptr_t size, int n, const gomem_type *typ) {
	for (int i = 0; i < n; i++) {
		assert_non_null(gomem_mallocgc(w->f.h, w->f.p, size, typ, false));
	}
}

// The arena has not a page left.
static void arenaFull(world *w) {
	keep(w);
	fill(w, 60 << 20, 1, NULL);
	gomem_span_info info;
	while (mem_fault_calls(w->f.os) < 100000) {
		mem_fault_arm(w->f.os, NULL);
		void *p = gomem_allocManual(w->f.h, w->f.p, 1);
		assert_non_null(p);
		assert_true(gomem_spanOf(w->f.h, (uintptr_t)p, &info));
		if (w->f.h->arenas[0] != 0 && w->f.h->curArena.end - w->f.h->curArena.base < 8192 &&
			mem_fault_calls(w->f.os) > 0) {
			break;
		}
		if (mem_sim_bytes(w->sim, MEM_HEAP, MEM_READY) > (63 << 20)) {
			break;
		}
	}
}

static void scavenged(world *w) {
	keep(w);
	fill(w, 2 << 20, 4, NULL);
	gcCycle(&w->f, 1, markKept, w);
	gomem_scavenge(w->f.h, w->f.p, 64 << 20, true);
}

static void cycled(world *w) {
	keep(w);
	for (uintptr_t size = 16; size <= 32768; size *= 2) {
		fill(w, size, 40, NULL);
	}
	gomem_finishsweep(w->f.h, w->f.p);
	gomem_setGCPhase(w->f.h, gcMark);
	markKept(w);
	gomem_setGCPhase(w->f.h, gcMarkTermination);
	gomem_setGCPhase(w->f.h, gcOff);
}

static void sweeping(world *w) {
	cycled(w);
	gomem_startsweep(w->f.h);
}

static void preparedP(world *w) {
	sweeping(w);
	gomem_prepareForSweep(w->f.h, w->f.p);
}

static void manySpans(world *w) {
	keep(w);
	for (int i = 0; i < 700; i++) {
		fill(w, 40 << 10, 1, NULL);
	}
}

static void manyInFlight(world *w) {
	manySpans(w);
	cycled(w);
}

static void threePs(world *w) {
	keep(w);
	assert_true(gomem_procresize(w->f.h, 3));
	for (int i = 0; i < 3; i++) {
		gomem_mallocgc(w->f.h, gomem_heap_p(w->f.h, i), 100, NULL, true);
	}
}

static void oneStack(world *w) {
	keep(w);
	w->arg = gomem_stackalloc(w->f.h, w->f.p, 2048, false);
	assert_non_null(w->arg);
}

static void oneManual(world *w) {
	keep(w);
	w->arg = gomem_allocManual(w->f.h, w->f.p, 3);
	assert_non_null(w->arg);
}

static void oneObject(world *w) {
	keep(w);
	w->arg = gomem_mallocgc(w->f.h, w->f.p, 100, NULL, true);
	assert_non_null(w->arg);
}

static void occupied(world *w) {
	keep(w);
	for (arenaHint *hint = w->f.h->arenaHints; hint != NULL; hint = hint->next) {
		mem_sim_occupy(w->sim, hint->addr, (uintptr_t)1 << 30);
	}
}

// ---- calls

static outcome got(const void *p) { return p != NULL ? OK : FAILED; }

#define MALLOC(name, size, typ)                                                                                        \
	static outcome name(world *w) { return got(gomem_mallocgc(w->f.h, w->f.p, size, typ, true)); }
static uint8_t allOnes[1024]; // main fills it
static const gomem_type scanSmall = {64, 64, allOnes}, scanHeader = {1024, 1024, allOnes},
						scanLarge = {65536, 65536, allOnes};
MALLOC(mallocTiny, 7, NULL)
MALLOC(mallocNoscan, 208, NULL)
MALLOC(mallocScan, 64, &scanSmall)
MALLOC(mallocHeader, 1024, &scanHeader)
MALLOC(mallocLarge, 40 << 10, NULL)
MALLOC(mallocLargeScan, 65536, &scanLarge)
MALLOC(mallocBig, 70 << 20, NULL)
MALLOC(mallocHuge, 600 << 20, NULL)
MALLOC(mallocNothing, 0, NULL)

static outcome mallocMany(world *w) {
	for (int i = 0; i < 400; i++) {
		if (gomem_mallocgc(w->f.h, w->f.p, (uintptr_t)(i * 37 % 3000), NULL, true) == NULL) {
			return FAILED;
		}
	}
	return OK;
}
static outcome manualMany(world *w) {
	for (int i = 0; i < 950; i++) {
		if (gomem_allocManual(w->f.h, w->f.p, 9) == NULL) {
			return FAILED;
		}
	}
	return OK;
}
static outcome mallocWithoutP(world *w) { return got(gomem_mallocgc(w->f.h, NULL, 208, NULL, true)); }
static outcome stackSmall(world *w) { return got(gomem_stackalloc(w->f.h, w->f.p, 4096, false)); }
static outcome stackBypass(world *w) { return got(gomem_stackalloc(w->f.h, NULL, 8192, true)); }
static outcome stackLarge(world *w) { return got(gomem_stackalloc(w->f.h, w->f.p, 1 << 20, false)); }
static outcome manual(world *w) { return got(gomem_allocManual(w->f.h, w->f.p, 20)); }
static outcome procs(world *w) { return gomem_procresize(w->f.h, 300) ? OK : FAILED; }
static outcome fewerProcs(world *w) { return gomem_procresize(w->f.h, 1) ? OK : FAILED; }
static outcome stackFree(world *w) {
	if (w->arg != NULL) {
		gomem_stackfree(w->f.h, w->f.p, w->arg, 2048, true);
	}
	w->arg = NULL;
	return OK;
}
static outcome manualFree(world *w) {
	if (w->arg != NULL) {
		gomem_freeManual(w->f.h, w->f.p, w->arg);
	}
	w->arg = NULL;
	return OK;
}
static outcome objectFree(world *w) {
	if (w->arg != NULL) {
		assert_true(gomem_freegc(w->f.h, w->f.p, w->arg, 100, true));
	}
	w->arg = NULL;
	return OK;
}
static outcome phases(world *w) {
	gomem_setGCPhase(w->f.h, gcMark);
	gomem_setGCPhase(w->f.h, gcMarkTermination);
	gomem_setGCPhase(w->f.h, gcOff);
	return OK;
}
static outcome finish(world *w) {
	gomem_finishsweep(w->f.h, w->f.p);
	return OK;
}
static outcome start(world *w) {
	gomem_startsweep(w->f.h);
	return OK;
}
static outcome prepareP(world *w) {
	gomem_prepareForSweep(w->f.h, w->f.p);
	return OK;
}
static outcome sweepAll(world *w) {
	while (gomem_sweepone(w->f.h, w->f.p) != ~(uintptr_t)0) {
	}
	return OK;
}
static outcome stackSpans(world *w) {
	gomem_freeStackSpans(w->f.h, w->f.p);
	return OK;
}
static outcome scavenge(world *w) {
	gomem_scavenge(w->f.h, w->f.p, 1 << 20, true);
	return OK;
}
static outcome collect(world *w) {
	const gomem_root root = {w->kept, sizeof w->kept, NULL};
	gomem_gc(w->f.h, w->f.p, &root, 1);
	return OK;
}
static outcome markRoots(world *w) {
	const gomem_root root = {w->kept, sizeof w->kept, NULL};
	gomem_setGCPhase(w->f.h, gcMark);
	gomem_markroots(w->f.h, &root, 1);
	assert_true(gomem_isMarked(w->f.h, w->kept[0]));
	gomem_setGCPhase(w->f.h, gcMarkTermination);
	gomem_setGCPhase(w->f.h, gcOff);
	return OK;
}
static outcome look(world *w) {
	gomem_span_info info;
	gomem_memstats stats;
	assert_true(gomem_spanOf(w->f.h, (uintptr_t)w->kept[0], &info));
	assert_true(gomem_findObject(w->f.h, (uintptr_t)w->kept[0]) != 0);
	assert_true(gomem_mark(w->f.h, w->kept[0]));
	assert_ptr_equal(gomem_heap_p(w->f.h, 0), w->f.p);
	gomem_readmemstats(w->f.h, &stats);
	assert_null(gomem_heap_check(w->f.h));
	return OK;
}
static outcome hugePages(world *w) {
	mheap_enableMetadataHugePages(w->f.h);
	return OK;
}
static outcome destroy(world *w) {
	gomem_heap_destroy(w->f.h);
	w->f.h = NULL;
	w->none = true;
	return OK;
}

static const faultCase cases[] = {
	{"gomem_heap_new", "", NULL, makeHeap, NO_HEAP, 0},
	{"gomem_heap_new", "no backing", NULL, makeHeap, NO_HEAP | UNBACKED, 0},
	{"gomem_heap_new", "64 KiB pages", NULL, makeHeap, NO_HEAP, 65536},
	{"gomem_heap_new_bare", "", NULL, makeHeap, NO_HEAP | BARE, 0},
	{"gomem_heap_destroy", "objects", keep, destroy, 0, 0},
	{"gomem_procresize", "more", keep, procs, 0, 0},
	{"gomem_procresize", "fewer, in a cycle", threePs, fewerProcs, MAY_THROW, 0},
	{"gomem_mallocgc", "tiny, first", NULL, mallocTiny, 0, 0},
	{"gomem_mallocgc", "noscan, first", NULL, mallocNoscan, 0, 0},
	{"gomem_mallocgc", "noscan, no P", NULL, mallocWithoutP, BARE, 0},
	{"gomem_mallocgc", "scan, first", NULL, mallocScan, 0, 0},
	{"gomem_mallocgc", "header, first", NULL, mallocHeader, 0, 0},
	{"gomem_mallocgc", "large, first", NULL, mallocLarge, 0, 0},
	{"gomem_mallocgc", "large scan", keep, mallocLargeScan, 0, 0},
	{"gomem_mallocgc", "more than an arena", keep, mallocBig, 0, 0},
	{"gomem_mallocgc", "ten arenas", NULL, mallocHuge, UNBACKED, 0},
	{"gomem_mallocgc", "size 0", keep, mallocNothing, 0, 0},
	{"gomem_mallocgc", "arena full", arenaFull, mallocLarge, 0, 0},
	{"gomem_mallocgc", "scavenged pages", scavenged, mallocLarge, 0, 0},
	{"gomem_mallocgc", "hints taken", occupied, mallocBig, 0, 0},
	{"gomem_mallocgc", "no backing, many", NULL, mallocMany, UNBACKED, 0},
	{"gomem_mallocgc", "16 KiB pages", NULL, mallocMany, 0, 16384},
	{"gomem_mallocgc", "64 KiB pages", NULL, mallocMany, 0, 65536},
	{"gomem_mallocgc", "while sweeping", preparedP, mallocMany, MAY_THROW, 0},
	{"gomem_mallocgc", "many spans", manySpans, mallocMany, 0, 0},
	{"gomem_stackalloc", "cached", NULL, stackSmall, 0, 0},
	{"gomem_stackalloc", "no backing", NULL, stackSmall, UNBACKED, 0},
	{"gomem_stackalloc", "bypass", NULL, stackBypass, 0, 0},
	{"gomem_stackalloc", "large", keep, stackLarge, 0, 0},
	{"gomem_stackfree", "", oneStack, stackFree, 0, 0},
	{"gomem_allocManual", "first", NULL, manual, 0, 0},
	{"gomem_allocManual", "arena full", arenaFull, manual, 0, 0},
	{"gomem_allocManual", "many", NULL, manualMany, UNBACKED, 0},
	{"gomem_freeManual", "", oneManual, manualFree, 0, 0},
	{"gomem_freegc", "", oneObject, objectFree, 0, 0},
	{"gomem_gc", "", manySpans, collect, MAY_THROW, 0},
	{"gomem_setGCPhase", "", keep, phases, 0, 0},
	{"gomem_markroots", "", keep, markRoots, 0, 0},
	{"gomem_finishsweep", "unswept", sweeping, finish, MAY_THROW, 0},
	{"gomem_startsweep", "", cycled, start, 0, 0},
	{"gomem_prepareForSweep", "", sweeping, prepareP, MAY_THROW, 0},
	{"gomem_sweepone", "all", preparedP, sweepAll, MAY_THROW, 0},
	{"gomem_sweepone", "many spans", manyInFlight, sweepAll, MAY_THROW, 0},
	{"gomem_freeStackSpans", "", oneStack, stackSpans, 0, 0},
	{"gomem_scavenge", "", manySpans, scavenge, 0, 0},
	{"those that look", "", keep, look, 0, 0},
	{"mheap_enableMetadataHugePages", "", keep, hugePages, 0, 0},
};
enum { NCASES = sizeof cases / sizeof cases[0] };

typedef struct tally {
	uint64_t failed, moved, reported, without, thrown;
} tally;

typedef struct callArg {
	world *w;
	outcome o;
} callArg;

static void doCall(void *arg) {
	callArg *c = arg;
	errno = 0;
	c->o = c->w->c->call(c->w);
}

static void after(world *w) {
	if (w->f.h == NULL) {
		return;
	}
	const char *bad = gomem_heap_check(w->f.h);
	if (bad != NULL) {
		fail_msg("%s (%s): %s", w->c->entry, w->c->state, bad);
	}
	intact(w);
}

// tryOne: false: the call makes fewer calls to the OS than n.
static bool tryOne(const faultCase *c, memFaultConfig cfg, tally *t) {
	world w;
	begin(&w, c);
	cfg.hit = onHit;
	mem_fault_arm(w.f.os, &cfg);
	callArg a = {.w = &w};
	const bool threw = heapFix_throws(&w.f, doCall, &a);
	const int err = errno;
	const bool more = mem_fault_calls(w.f.os) >= (cfg.failNth != 0 ? cfg.failNth : cfg.moveNth);
	const bool fired = mem_fault_hits(w.f.os) != 0;
	mem_fault_arm(w.f.os, NULL);
	t->failed += fired && cfg.failNth != 0;
	t->moved += fired && cfg.moveNth != 0;
	if (threw) {
		if ((c->flags & MAY_THROW) == 0 || !fired || strstr(w.f.msg, "out of memory") == NULL) {
			fail_msg("%s (%s), call %llu: threw %s", c->entry, c->state,
				(unsigned long long)(cfg.failNth + cfg.moveNth), w.f.msg);
		}
		t->thrown++;
		end(&w);
		return more;
	}
	if (a.o == FAILED) {
		if (!fired || cfg.failNth == 0 || err != ENOMEM) {
			fail_msg("%s (%s): refused without a reason, errno %d", c->entry, c->state, err);
		}
		t->reported++;
	} else if (fired) {
		t->without++;
	}
	after(&w);
	if (!w.none && (w.f.h != NULL ? a.o == FAILED : true)) {
		assert_int_equal(c->call(&w), OK); // the next call works
		after(&w);
	}
	if (w.f.h != NULL && !w.bare) {
		w.f.p = gomem_heap_p(w.f.h, 0);
		gomem_prepareForSweep(w.f.h, w.f.p);
		assert_non_null(gomem_mallocgc(w.f.h, w.f.p, 500, NULL, true));
	}
	end(&w);
	return more;
}

static void runCase(const faultCase *c, tally *sum) {
	static const int errors[] = {ENOMEM, EAGAIN, EPERM};
	tally t = {0};
	for (size_t e = 0; e < 3; e++) {
		for (uint64_t n = 1; tryOne(c, (memFaultConfig){.failNth = n, .err = errors[e]}, &t); n++) {
		}
	}
	for (uint64_t n = 1; tryOne(c, (memFaultConfig){.failNth = n, .lasting = true}, &t); n++) {
	}
	for (uint64_t n = 1; tryOne(c, (memFaultConfig){.moveNth = n}, &t); n++) {
	}
	printf("%-30s %-20s %5llu %5llu %9llu %8llu %6llu\n", c->entry, c->state, (unsigned long long)t.failed,
		(unsigned long long)t.moved, (unsigned long long)t.reported, (unsigned long long)t.without,
		(unsigned long long)t.thrown);
	sum->failed += t.failed;
	sum->moved += t.moved;
	sum->reported += t.reported;
	sum->without += t.without;
	sum->thrown += t.thrown;
}

static void TestEveryEntryEveryCall(void **state) {
	(void)state;
	tally sum = {0};
	printf("%-30s %-20s %5s %5s %9s %8s %6s\n", "entry", "state", "fail", "move", "ENOMEM", "without", "throws");
	for (size_t i = 0; i < NCASES; i++) {
		runCase(&cases[i], &sum);
	}
	printf(
		"fault points tried: %llu failing (ENOMEM, EAGAIN, EPERM, lasting), %llu moving; %llu reported, %llu done without, "
		"%llu threw out of memory\n",
		(unsigned long long)sum.failed, (unsigned long long)sum.moved, (unsigned long long)sum.reported,
		(unsigned long long)sum.without, (unsigned long long)sum.thrown);
	assert_true(sum.failed > 1000 && sum.moved > 100);
}

int main(int argc, char **argv) {
	setvbuf(stdout, NULL, _IOLBF, 0);
	memset(allOnes, 0xff, sizeof allOnes);
	printSites = argc > 1 && strcmp(argv[1], "--sites") == 0;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(TestEveryEntryEveryCall),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
