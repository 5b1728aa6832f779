// test_mem.c: the four states of memory: every call in every state, on Linux, on the simulated system and on breaks, simulated and the
// process's own; accounting; failures. Tests of breaks alone: test_sbrk.c.
//
// Witness: the prose of Go's mem.go, written down once more as a table of words.
#include "memtest.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "gomem/gomem.h"
#include "gomem/mheap.h"

enum { KiB = 1024, MiB = 1024 * KiB, page = 64 * KiB };

static const char *const stateWords[MEM_NSTATES] = {"None", "Reserved", "Prepared", "Ready"};

// What mem.go says of each call: the states it may find, and the state it leaves ("same": no change).
typedef struct prose {
	memCall call;
	const char *name, *from, *to;
} prose;
static const prose proseOf[MEM_NCALLS] = {
	{MEM_SYSALLOC, "sysAlloc", "None", "Ready"},
	{MEM_SYSFREE, "sysFree", "Reserved Prepared Ready", "None"},
	{MEM_SYSRESERVE, "sysReserve", "None", "Reserved"},
	{MEM_SYSUNRESERVE, "sysUnreserve", "Reserved", "None"},
	{MEM_SYSMAP, "sysMap", "Reserved", "Prepared"},
	{MEM_SYSUSED, "sysUsed", "Prepared Ready", "Ready"},
	{MEM_SYSUNUSED, "sysUnused", "Ready", "Prepared"},
	{MEM_SYSFAULT, "sysFault", "Ready", "Reserved"},
	{MEM_SYSHUGEPAGE, "sysHugePage", "Reserved Prepared Ready", "same"},
	{MEM_SYSNOHUGEPAGE, "sysNoHugePage", "Reserved Prepared Ready", "same"},
	{MEM_SYSHUGEPAGECOLLAPSE, "sysHugePageCollapse", "Reserved Prepared Ready", "same"},
	{MEM_SYSUNMAP, "sysUnmap", "Prepared", "Reserved"},         // not Go's
	{MEM_SYSPOPULATE, "sysPopulate", "Prepared Ready", "same"}, // nor are these
	{MEM_SYSUNPOPULATE, "sysUnpopulate", "Prepared", "same"},
};

static unsigned wantState(memCall call, memState s) {
	const prose *p = &proseOf[call];
	if (strstr(p->from, stateWords[s]) == NULL) {
		return MEM_NSTATES;
	}
	if (strcmp(p->to, "same") == 0) {
		return s;
	}
	unsigned to = 0;
	while (strcmp(stateWords[to], p->to) != 0) {
		to++;
	}
	return to;
}

static void TestTransitionTable(void **state) {
	(void)state;
	for (unsigned c = 0; c < MEM_NCALLS; c++) {
		assert_int_equal(proseOf[c].call, c);
		for (unsigned s = 0; s < MEM_NSTATES; s++) {
			assert_int_equal(memTransition[c][s], wantState((memCall)c, (memState)s));
		}
	}
}

// An OS that grants what it is told to: the only way to see sysAlloc and sysReserve get memory that is not None.
typedef struct liar {
	gomem_os os;
	gomem_os *real;
	void *grant;
} liar;
static void *liar_alloc(gomem_os *os, uintptr_t n) {
	(void)n;
	return ((liar *)os)->grant;
}
static void *liar_reserve(gomem_os *os, void *hint, uintptr_t n, memUse use) {
	(void)hint;
	(void)n;
	(void)use;
	return ((liar *)os)->grant;
}

typedef struct cell {
	memFix *f;
	memCall call;
	void *v;
	void *got;
} cell;

static void doCall(void *arg) {
	cell *c = arg;
	gomem_env *env = &c->f->env;
	sysMemStat *stat = &env->stats->gcMiscSys;
	switch (c->call) {
	case MEM_SYSALLOC:
		c->got = sysAlloc(env, page, stat);
		break;
	case MEM_SYSFREE:
		sysFree(env, c->v, page, stat);
		break;
	case MEM_SYSRESERVE: // at a break places cannot be chosen
		c->got = sysReserve(env, os_isSbrkPlatform(env->os) ? NULL : c->v, page, MEM_HEAP);
		break;
	case MEM_SYSUNRESERVE:
		sysUnreserve(env, c->v, page);
		break;
	case MEM_SYSMAP:
		assert_true(sysMap(env, c->v, page, stat));
		break;
	case MEM_SYSUSED:
		assert_true(sysUsed(env, c->v, page, page));
		break;
	case MEM_SYSUNUSED:
		sysUnused(env, c->v, page);
		break;
	case MEM_SYSFAULT:
		sysFault(env, c->v, page);
		break;
	case MEM_SYSHUGEPAGE:
		sysHugePage(env, c->v, page);
		break;
	case MEM_SYSNOHUGEPAGE:
		sysNoHugePage(env, c->v, page);
		break;
	case MEM_SYSHUGEPAGECOLLAPSE:
		sysHugePageCollapse(env, c->v, page);
		break;
	case MEM_SYSUNMAP:
		sysUnmap(env, c->v, page, stat);
		break;
	case MEM_SYSPOPULATE:
		sysPopulate(env, c->v, page);
		break;
	case MEM_SYSUNPOPULATE:
		sysUnpopulate(env, c->v, page);
		break;
	case MEM_NCALLS:
		fail();
	}
}

// inState gives a range in state s.
static void *inState(memFix *f, memState s) {
	unsigned char *v = sysReserve(&f->env, NULL, 3 * page, MEM_HEAP);
	assert_non_null(v);
	v += page;
	if (s == MEM_NONE) {
		sysUnreserve(&f->env, v - page, 3 * page);
		return v;
	}
	if (s >= MEM_PREPARED) {
		assert_true(sysMap(&f->env, v, page, &f->stats.other_sys));
	}
	if (s == MEM_READY) {
		assert_true(sysUsed(&f->env, v, page, page));
	}
	return v;
}

static void checkThrow(const memFix *f, const cell *c, memState s) {
	char at[40];
	snprintf(at, sizeof at, "memory at 0x%llx is %s", (unsigned long long)(uintptr_t)c->v, stateWords[s]);
	size_t n = strlen(proseOf[c->call].name);
	assert_memory_equal(f->msg, proseOf[c->call].name, n);
	assert_int_equal(f->msg[n], '(');
	assert_non_null(strstr(f->msg, at));
}

static void checkCell(memFix *f, memCall call, memState s, bool sim) {
	cell c = {.f = f, .call = call};
	c.v = inState(f, s);
	uintptr_t at = (uintptr_t)c.v;
	gomem_os *real = f->env.os;
	liar l = {.os = *real, .real = real, .grant = c.v};
	bool grants = call == MEM_SYSALLOC || call == MEM_SYSRESERVE;
	if (grants && s != MEM_NONE) {
		l.os.alloc = liar_alloc;
		l.os.reserve = liar_reserve;
		l.os.check = NULL;
		f->env.os = &l.os;
	}
	unsigned want = wantState(call, s);
	bool threw = memFix_throws(f, doCall, &c);
	f->env.os = real;
	if (grants && s == MEM_NONE) {
		assert_non_null(c.got);
		at = (uintptr_t)c.got;
	}
	assert_int_equal(threw, want == MEM_NSTATES);
	if (threw) {
		checkThrow(f, &c, s);
		want = s;
	}
	assert_int_equal(memStates_get(f->env.states, at), want);
	assert_int_equal(memStates_get(f->env.states, at + page - 1), want);
	if (sim) {
		assert_int_equal(mem_sim_state(real, at), want);
		assert_int_equal(mem_sim_state(real, at + page - 1), want);
	}
}

static void checkAllCells(gomem_os *os, bool sim) {
	memFix f;
	unsigned legal = 0, illegal = 0;
	memFix_init(&f, os);
	for (unsigned c = 0; c < MEM_NCALLS; c++) {
		for (unsigned s = 0; s < MEM_NSTATES; s++) {
			checkCell(&f, (memCall)c, (memState)s, sim);
			*(wantState((memCall)c, (memState)s) == MEM_NSTATES ? &illegal : &legal) += 1;
		}
	}
	printf("cells of the state table on %s, pages of %llu: %u of %u (%u legal, %u illegal, which threw)\n", os->name,
		(unsigned long long)os->physPageSize, legal + illegal, (unsigned)MEM_NCALLS * MEM_NSTATES, legal, illegal);
	memFix_done(&f);
}

static gomem_os *newSim(memSimConfig cfg) { return mem_sim_new(&cfg); }

static void TestEveryCellLinux(void **state) {
	(void)state;
	checkAllCells(mem_linux_new(), false);
}
static void TestEveryCellSim(void **state) {
	(void)state;
	checkAllCells(newSim((memSimConfig){0}), true);
	checkAllCells(newSim((memSimConfig){.physPageSize = 16 * KiB}), true);
	checkAllCells(newSim((memSimConfig){.physPageSize = 64 * KiB}), true);
}
static void TestEveryCellSimBacked(void **state) {
	(void)state;
	checkAllCells(newSim((memSimConfig){.backed = true}), true);
}

static gomem_os *newSbrk(memLinearConfig cfg) { return mem_sbrk_new(memLinear_sim(&cfg)); }
static gomem_os *newProcessBreak(void) { return mem_sbrk_new(memLinear_process()); }

static gomem_os *newLag(gomem_os *os) { return mem_lag_new(os, MiB); }

static void TestEveryCellLag(void **state) {
	(void)state;
	checkAllCells(newLag(mem_linux_new()), false);
	checkAllCells(newLag(newSim((memSimConfig){.backed = true})), false);
}

static void TestEveryCellSbrk(void **state) {
	(void)state;
	checkAllCells(newSbrk((memLinearConfig){0}), false);
	checkAllCells(newSbrk((memLinearConfig){.physPageSize = 64 * KiB}), false);
	checkAllCells(newProcessBreak(), false);
}

// An illegal call in the middle of a range is found, and nothing of the range has changed.
static void checkIllegalInTheMiddle(gomem_os *os) {
	memFix f;
	memFix_init(&f, os);
	unsigned char *v = sysReserve(&f.env, NULL, 3 * page, MEM_HEAP);
	assert_true(sysMap(&f.env, v, 3 * page, &f.stats.heapReleased));
	assert_true(sysUsed(&f.env, v, page / 2, page / 2));
	int64_t ready = memFix_mappedReady(&f);
	cell c = {.f = &f, .call = MEM_SYSUNUSED, .v = v};
	assert_true(memFix_throws(&f, doCall, &c));
	char want[64];
	snprintf(want, sizeof want, "memory at 0x%llx is Prepared", (unsigned long long)(uintptr_t)v + page / 2);
	assert_non_null(strstr(f.msg, want));
	assert_int_equal(memStates_get(f.env.states, (uintptr_t)v), MEM_READY);
	assert_int_equal(memFix_mappedReady(&f), ready);
	memFix_done(&f);
}

static void TestIllegalInTheMiddle(void **state) {
	(void)state;
	checkIllegalInTheMiddle(newSim((memSimConfig){0}));
	checkIllegalInTheMiddle(newSbrk((memLinearConfig){0}));
	checkIllegalInTheMiddle(newProcessBreak());
}

static void checkUnaligned(gomem_os *os) {
	static const struct {
		memCall call;
		const char *msg;
	} cases[] = {
		{MEM_SYSUNUSED, "unaligned sysUnused"},
		{MEM_SYSNOHUGEPAGE, "unaligned sysNoHugePageOS"},
		{MEM_SYSHUGEPAGECOLLAPSE, "unaligned sysHugePageCollapseOS"},
		{MEM_SYSPOPULATE, "unaligned sysPopulate"},
		{MEM_SYSUNPOPULATE, "unaligned sysUnpopulate"},
	};
	memFix f;
	memFix_init(&f, os);
	unsigned char *v = inState(&f, MEM_READY);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		cell c = {.f = &f, .call = cases[i].call, .v = v + 8};
		assert_true(memFix_throws(&f, doCall, &c));
		assert_string_equal(f.msg, cases[i].msg);
	}
	memFix_done(&f);
}

static void TestUnaligned(void **state) {
	(void)state;
	checkUnaligned(newSim((memSimConfig){0}));
	checkUnaligned(newSbrk((memLinearConfig){0}));
	checkUnaligned(newProcessBreak());
}

// ---- accounting

static void checkAccounting(gomem_os *os) {
	memFix f;
	memFix_init(&f, os);
	gomem_env *env = &f.env;
	sysMemStat *stat = &f.stats.heapReleased;

	void *meta = sysAlloc(env, page, &f.stats.gcMiscSys);
	assert_int_equal(sysMemStat_load(&f.stats.gcMiscSys), page);
	assert_int_equal(memFix_mappedReady(&f), page);

	unsigned char *v = sysReserve(env, NULL, 4 * page, MEM_HEAP);
	assert_int_equal(memFix_mappedReady(&f), page);
	assert_true(sysMap(env, v, 3 * page, stat));
	assert_int_equal(sysMemStat_load(stat), 3 * page);
	assert_int_equal(memFix_mappedReady(&f), page);
	assert_true(sysUsed(env, v, 2 * page, 2 * page));
	assert_int_equal(memFix_mappedReady(&f), 3 * page);
	assert_true(sysUsed(env, v, 3 * page, page)); // one page was Prepared, two were Ready
	assert_int_equal(memFix_mappedReady(&f), 4 * page);
	sysUnused(env, v + page, page);
	assert_int_equal(memFix_mappedReady(&f), 3 * page);
	sysHugePage(env, v, page);
	sysNoHugePage(env, v, page);
	sysHugePageCollapse(env, v, page);
	sysPopulate(env, v, 2 * page); // of which one is Prepared
	sysUnpopulate(env, v + page, page);
	assert_int_equal(memFix_mappedReady(&f), 3 * page);
	sysUnmap(env, v + page, page, stat);
	assert_int_equal(memFix_mappedReady(&f), 3 * page);
	assert_int_equal(sysMemStat_load(stat), 2 * page);
	assert_true(sysMap(env, v + page, page, stat));
	sysFault(env, v, page);
	assert_int_equal(memFix_mappedReady(&f), 2 * page);
	assert_int_equal(sysMemStat_load(stat), 3 * page);
	sysFree(env, v + 2 * page, page, stat);
	assert_int_equal(memFix_mappedReady(&f), page);
	assert_int_equal(sysMemStat_load(stat), 2 * page);
	sysUnreserve(env, v + 3 * page, page);
	assert_int_equal(memFix_mappedReady(&f), page);
	sysFree(env, meta, page, &f.stats.gcMiscSys);
	assert_int_equal(memFix_mappedReady(&f), 0);
	assert_int_equal(sysMemStat_load(&f.stats.gcMiscSys), 0);
	os->free(os, v, 2 * page);
	memFix_done(&f);
}

static void TestAccounting(void **state) {
	(void)state;
	checkAccounting(mem_linux_new());
	checkAccounting(newLag(mem_linux_new()));
	checkAccounting(newSim((memSimConfig){0}));
	checkAccounting(newSim((memSimConfig){.backed = true}));
	checkAccounting(newSbrk((memLinearConfig){0}));
	checkAccounting(newProcessBreak());
}

// runAll makes one of each call that can fail and stops at the first that does; returns how many succeeded.
static int runAll(memFix *f) {
	if (sysAlloc(&f->env, page, &f->stats.other_sys) == NULL) {
		return 0;
	}
	unsigned char *v = sysReserve(&f->env, NULL, page, MEM_HEAP);
	if (v == NULL) {
		return 1;
	}
	if (!sysMap(&f->env, v, page, &f->stats.heapReleased)) {
		assert_int_equal(memStates_get(f->env.states, (uintptr_t)v), MEM_RESERVED);
		return 2;
	}
	if (!sysUsed(&f->env, v, page, page)) {
		assert_int_equal(memStates_get(f->env.states, (uintptr_t)v), MEM_PREPARED);
		return 3;
	}
	return 4;
}

static void TestOutOfMemory(void **state) {
	(void)state;
	for (int nth = 1; nth <= 4; nth++) {
		memFix f;
		memFix_initSim(&f, (memSimConfig){.failNth = (uint64_t)nth});
		errno = 0;
		assert_int_equal(runAll(&f), nth - 1);
		assert_int_equal(errno, ENOMEM);
		assert_int_equal(mem_sim_calls(f.env.os), nth);
		assert_int_equal(sysMemStat_load(&f.stats.other_sys), nth > 1 ? page : 0);
		assert_int_equal(sysMemStat_load(&f.stats.heapReleased), nth > 3 ? page : 0);
		assert_int_equal(memFix_mappedReady(&f), nth > 1 ? page : 0);
		assert_int_equal(runAll(&f), 4);
		memFix_done(&f);
	}
}

// More than any system has.
static void checkTooMuch(gomem_os *os) {
	memFix f;
	memFix_init(&f, os);
	uintptr_t size;
	errno = 0;
	assert_null(sysAlloc(&f.env, wideWords ? (uintptr_t)((uint64_t)1 << 56) : UINTPTR_MAX - 65535, &f.stats.other_sys));
	assert_int_equal(errno, ENOMEM);
	assert_null(sysReserve(&f.env, NULL, wideWords ? (uintptr_t)((uint64_t)1 << 56) : UINTPTR_MAX - 65535, MEM_HEAP));
	assert_null(sysReserveAligned(&f.env, NULL, UINTPTR_MAX - page, 4 * page, &size, MEM_HEAP));
	assert_int_equal(size, 0);
	assert_int_equal(sysMemStat_load(&f.stats.other_sys), 0);
	assert_int_equal(memFix_mappedReady(&f), 0);
	memFix_done(&f);
}

static void TestTooMuch(void **state) {
	(void)state;
	checkTooMuch(mem_linux_new());
	checkTooMuch(newSbrk((memLinearConfig){0}));
	checkTooMuch(newProcessBreak());
}

// ---- aligned reservations

static void checkAligned(gomem_os *os, void *hint, bool sim) {
	memFix f;
	memFix_init(&f, os);
	const uintptr_t align = 4 * MiB, n = 6 * MiB;
	uintptr_t size;
	unsigned char *v = sysReserveAligned(&f.env, hint, n, align, &size, MEM_HEAP);
	assert_non_null(v);
	assert_int_equal((uintptr_t)v % align, 0);
	assert_true(size == n || size == n + align);
	if (hint != NULL && v == hint) {
		assert_int_equal(size, n + align);
	}
	assert_int_equal(memStates_get(f.env.states, (uintptr_t)v - 1), MEM_NONE);
	assert_int_equal(memStates_get(f.env.states, (uintptr_t)v), MEM_RESERVED);
	assert_int_equal(memStates_get(f.env.states, (uintptr_t)v + size - 1), MEM_RESERVED);
	assert_int_equal(memStates_get(f.env.states, (uintptr_t)v + size), MEM_NONE);
	if (sim) {
		assert_int_equal(mem_sim_bytes(os, MEM_HEAP, MEM_RESERVED), size);
	}
	assert_int_equal(memFix_mappedReady(&f), 0);
	sysUnreserve(&f.env, v, size);
	memFix_done(&f);
}

static void TestReserveAligned(void **state) {
	(void)state;
	checkAligned(mem_linux_new(), NULL, false);
	checkAligned(newSim((memSimConfig){0}), NULL, true);
	checkAligned(newSim((memSimConfig){.backed = true}), NULL, true);
	checkAligned(newSim((memSimConfig){0}), (void *)(uintptr_t)0xc000000000, true);
	checkAligned(newSim((memSimConfig){.moveNth = 1}), (void *)(uintptr_t)0xc000000000, true);
	checkAligned(newSbrk((memLinearConfig){0}), NULL, false);
	checkAligned(newProcessBreak(), NULL, false);
}

// ---- Linux

// readable says whether the kernel can read a byte at p.
static bool readable(const void *p) {
	int fds[2];
	assert_int_equal(pipe(fds), 0);
	bool ok = write(fds[1], p, 1) == 1;
	if (!ok) {
		assert_int_equal(errno, EFAULT);
	}
	close(fds[0]);
	close(fds[1]);
	return ok;
}

// At a break all memory is mapped, and what is unused or faults keeps what it holds until it is freed: as Go's mem_sbrk.go has it.
static void checkRealMemory(gomem_os *os) {
	memFix f;
	memFix_init(&f, os);
	const bool mapped = os_isSbrkPlatform(os);
	const bool lazily = os->unusedKeepsContents && !mapped; // the kernel takes it when it likes
	const int kept = mapped ? 7 : 0;
	unsigned char *v = sysReserve(&f.env, NULL, 2 * page, MEM_HEAP);
	assert_int_equal(readable(v), mapped);
	assert_true(sysMap(&f.env, v, page, &f.stats.heapReleased));
	assert_true(sysUsed(&f.env, v, page, page));
	assert_int_equal(readable(v + page), mapped);
	for (unsigned i = 0; i < page; i++) {
		assert_int_equal(v[i], 0);
	}
	memset(v, 7, page);
	sysUnused(&f.env, v, page / 2);
	assert_true(sysUsed(&f.env, v, page / 2, page / 2));
	assert_true(v[0] == kept || (lazily && v[0] == 7));
	assert_true(v[page / 2 - 1] == kept || (lazily && v[page / 2 - 1] == 7));
	assert_int_equal(v[page / 2], 7);
	sysFault(&f.env, v, page);
	assert_true(mapped || !readable(v)); // where it is, it is forbidden to sanitizers
	assert_true(sysMap(&f.env, v, page, &f.stats.heapReleased));
	assert_true(sysUsed(&f.env, v, page, page));
	assert_int_equal(v[page / 2], kept);
	sysFree(&f.env, v, 2 * page, &f.stats.heapReleased);
	assert_int_equal(readable(v), mapped);
	assert_true(!mapped || (v[0] == 0 && v[page / 2] == 0 && v[page - 1] == 0));
	unsigned char *m = sysAlloc(&f.env, 100, &f.stats.other_sys);
	assert_int_equal(m[99], 0);
	memset(m, 1, 100);
	sysFree(&f.env, m, 100, &f.stats.other_sys);
	memFix_done(&f);
}

static void TestRealMemory(void **state) {
	(void)state;
	checkRealMemory(mem_linux_new());
	checkRealMemory(mem_linux_new_free());
	checkRealMemory(newLag(mem_linux_new()));
	checkRealMemory(newLag(mem_linux_new_free()));
	checkRealMemory(newLag(newSim((memSimConfig){.backed = true})));
	checkRealMemory(newSim((memSimConfig){.backed = true}));
	checkRealMemory(newSbrk((memLinearConfig){0}));
	checkRealMemory(newProcessBreak());
}

static void TestLinuxPageSizes(void **state) {
	(void)state;
	gomem_os *os = mem_linux_new();
	assert_int_equal(os->physPageSize, sysconf(_SC_PAGESIZE));
	assert_int_equal(os->physHugePageSize & (os->physHugePageSize - 1), 0);
	assert_true(os->backed);
	os->destroy(os);
}

// Whether the kernel has a huge page or not, memory keeps what it holds.
static void TestLinuxHugePage(void **state) {
	(void)state;
	gomem_os *os = mem_linux_new();
	const uintptr_t size = os->physHugePageSize != 0 ? os->physHugePageSize : 2 * MiB;
	unsigned char *v = os->reserve(os, NULL, 2 * size, MEM_HEAP);
	assert_non_null(v);
	assert_true(os->map(os, v, 2 * size) && os->used(os, v, 2 * size));
	unsigned char *at = (unsigned char *)(uintptr_t)alignUp((uintptr_t)v, size);
	at[0] = 1;
	at[size - 1] = 2;
	const bool got = os->hugePageCollapse(os, at, size);
	assert_true(!got || os->physHugePageSize != 0);
	assert_int_equal(at[0] + at[size / 2] + at[size - 1], 3);
	assert_true(os->free(os, v, 2 * size));
	os->destroy(os);
}

// residentPages counts those of n bytes at v that have memory.
static uintptr_t residentPages(const gomem_os *os, void *v, uintptr_t n) {
	unsigned char in[64] = {0};
	const uintptr_t pages = n / os->physPageSize;
	assert_true(pages <= sizeof in && mincore(v, n, in) == 0);
	uintptr_t count = 0;
	for (uintptr_t i = 0; i < pages; i++) {
		count += in[i] & 1u;
	}
	return count;
}

// checkPopulate: all pages are there after one call, zero where they are new, and away again if they are not wanted; where the kernel has no such
// call, or passes over it as an emulator does, none come.
static void checkPopulate(gomem_os *os) {
	enum { pages = 64 };
	const uintptr_t page1 = os->physPageSize, n = pages * page1;
	unsigned char *v = os->reserve(os, NULL, n, MEM_HEAP);
	assert_non_null(v);
	assert_true(os->map(os, v, n) && os->used(os, v, n));
	v[0] = 7;
	const uintptr_t before = residentPages(os, v, n);
	(void)madvise(v + page1, page1, 23 /* MADV_POPULATE_WRITE */);
	const bool can = residentPages(os, v, n) > before;
	os->populate(os, v, n, true);
	assert_true(residentPages(os, v, n) == (can ? pages : before) || before > 1); // the kernel makes several at a time
	os->populate(os, v + n / 2, n / 2, false);
	assert_true(!can || residentPages(os, v, n) == pages / 2);
	assert_int_equal(v[0], 7);
	for (uintptr_t i = 1; i < n; i++) {
		assert_int_equal(v[i], 0);
	}
	assert_true(os->free(os, v, n));
	os->destroy(os);
}

static void TestLinuxPopulate(void **state) {
	(void)state;
	checkPopulate(mem_linux_new());
	checkPopulate(newLag(mem_linux_new()));
	checkPopulate(newLag(mem_linux_new_free()));
}

// What is given back by MADV_FREE is still there while nobody else wants memory.
static void TestLinuxFree(void **state) {
	(void)state;
	gomem_os *os = mem_linux_new_free();
	assert_true(os->unusedKeepsContents);
	enum { pages = 64 };
	const uintptr_t n = pages * os->physPageSize;
	unsigned char *v = os->reserve(os, NULL, n, MEM_HEAP);
	assert_non_null(v);
	assert_true(os->map(os, v, n) && os->used(os, v, n));
	memset(v, 7, n);
	assert_true(os->unused(os, v, n));
	unsigned kept = 0;
	for (uintptr_t i = 0; i < n; i += os->physPageSize) {
		assert_true(v[i] == 7 || v[i] == 0);
		kept += v[i] == 7;
	}
	assert_true(kept > 0);
	assert_true(os->free(os, v, n));
	os->destroy(os);
}

// ---- memory that is given back with a lag

typedef struct lagFix {
	gomem_os *os;
	unsigned char *v;
	uintptr_t page; // of the OS
	_Atomic(bool) stop;
} lagFix;

enum { lagPages = 1024 };

static void lagFix_init(lagFix *f, unsigned limit) {
	gomem_os *inner = mem_linux_new();
	assert_non_null(inner);
	atomic_init(&f->stop, false);
	f->page = inner->physPageSize;
	f->os = mem_lag_new(inner, limit * f->page);
	assert_non_null(f->os);
	f->v = f->os->reserve(f->os, NULL, lagPages * f->page, MEM_HEAP);
	assert_non_null(f->v);
	assert_true(f->os->map(f->os, f->v, lagPages * f->page));
	assert_true(f->os->used(f->os, f->v, lagPages * f->page));
	memset(f->v, 7, lagPages * f->page);
}

static void lagFix_done(lagFix *f) {
	assert_true(f->os->free(f->os, f->v, lagPages * f->page));
	assert_int_equal(mem_lag_bytes(f->os), 0);
	f->os->destroy(f->os);
}

static void lagUnused(lagFix *f, unsigned first, unsigned n) {
	assert_true(f->os->unused(f->os, f->v + first * f->page, n * f->page));
	assert_null(f->os->check(f->os));
}

// lagUsed says whether the pages were cleared, and writes to them.
static bool lagUsed(lagFix *f, unsigned first, unsigned n) {
	unsigned char *v = f->v + first * f->page;
	assert_true(f->os->used(f->os, v, n * f->page));
	assert_null(f->os->check(f->os));
	bool zero = true;
	for (uintptr_t i = 0; i < n * f->page; i++) {
		zero = zero && v[i] == 0;
	}
	memset(v, 7, n * f->page);
	return zero;
}

// isThere: the OS has given the pages memory.
static bool isThere(const lagFix *f, unsigned first, unsigned n) {
	unsigned char there[lagPages];
	assert_int_equal(mincore(f->v + first * f->page, n * f->page, there), 0);
	unsigned count = 0;
	for (unsigned i = 0; i < n; i++) {
		count += there[i] & 1;
	}
	assert_true(count == 0 || count == n);
	return count != 0;
}

static void TestLagOldestGoFirst(void **state) {
	(void)state;
	lagFix f;
	lagFix_init(&f, 16);
	lagUnused(&f, 0, 8);
	lagUnused(&f, 20, 8);
	assert_true(isThere(&f, 0, 8) && isThere(&f, 20, 8));
	assert_int_equal(mem_lag_bytes(f.os), 16 * f.page);
	lagUnused(&f, 40, 1);
	assert_true(!isThere(&f, 0, 8) && isThere(&f, 20, 8) && isThere(&f, 40, 1));
	assert_true(lagUsed(&f, 22, 2)); // out of the middle
	assert_int_equal(mem_lag_bytes(f.os), 7 * f.page);
	assert_true(lagUsed(&f, 0, 8));
	assert_false(lagUsed(&f, 19, 2)); // one of them was in use
	f.os->flush(f.os);
	assert_true(!isThere(&f, 21, 1) && !isThere(&f, 24, 4) && !isThere(&f, 40, 1) && isThere(&f, 22, 2));
	assert_int_equal(mem_lag_bytes(f.os), 0);
	lagUnused(&f, 100, 17); // more than the lag
	assert_false(isThere(&f, 100, 17));
	lagFix_done(&f);
}

// A range that is cut in two when there is no room for one more: what is right of the cut goes.
static void TestLagFull(void **state) {
	(void)state;
	lagFix f;
	lagFix_init(&f, 512);
	lagUnused(&f, 0, 5);
	for (unsigned i = 0; i < 255; i++) {
		lagUnused(&f, 10 + 2 * i, 1);
	}
	assert_true(isThere(&f, 0, 5) && isThere(&f, 10, 1));
	assert_true(lagUsed(&f, 2, 1));
	assert_true(isThere(&f, 0, 2) && !isThere(&f, 3, 2) && isThere(&f, 10, 1));
	lagUnused(&f, 900, 1); // no room: the oldest goes
	assert_true(!isThere(&f, 0, 2) && isThere(&f, 10, 1) && isThere(&f, 900, 1));
	assert_int_equal(mem_lag_bytes(f.os), 256 * f.page);
	lagFix_done(&f);
}

// Neighbours go together, up to an eighth of the lag; by which one they came first makes no difference.
static void TestLagNeighbours(void **state) {
	(void)state;
	for (unsigned down = 0; down < 2; down++) {
		lagFix f;
		lagFix_init(&f, 16);
		for (unsigned i = 0; i < 3; i++) {
			lagUnused(&f, down ? 12 - i : 10 + i, 1);
		}
		lagUnused(&f, 20, 13);
		lagUnused(&f, 40, 1);
		assert_true(!isThere(&f, down ? 11 : 10, 2) && isThere(&f, down ? 10 : 12, 1) && isThere(&f, 20, 13));
		lagFix_done(&f);
	}
}

// Physical pages larger than what is used again: whoever is first clears all of one.
static void TestLagLargePages(void **state) {
	(void)state;
	enum { half = 32 * KiB };
	gomem_os *os = newLag(newSim((memSimConfig){.physPageSize = 64 * KiB, .backed = true}));
	unsigned char *v = os->reserve(os, NULL, 4 * page, MEM_HEAP);
	assert_true(v != NULL && os->map(os, v, 4 * page) && os->used(os, v, 4 * page));
	memset(v, 7, 4 * page);
	assert_true(os->unused(os, v, 3 * page));
	assert_true(os->used(os, v + page + half, half));
	assert_int_equal(mem_lag_bytes(os), 2 * page);
	assert_null(os->check(os));
	assert_int_equal(v[page] + v[page + half] + v[2 * page - 1], 0);
	v[page + half] = 1;
	os->flush(os);
	assert_true(os->used(os, v + page, half));
	assert_int_equal(v[page] + v[page + half], 1);
	assert_true(os->free(os, v, 4 * page));
	os->destroy(os);
}

static void *flushAlways(void *arg) {
	lagFix *f = arg;
	while (!atomic_load(&f->stop)) {
		f->os->flush(f->os);
	}
	return NULL;
}

// What is used again while another thread flushes is zero, and stays as it is written.
static void TestLagFlushRace(void **state) {
	(void)state;
	lagFix f;
	lagFix_init(&f, 16);
	pthread_t flusher;
	assert_int_equal(pthread_create(&flusher, NULL, flushAlways, &f), 0);
	unsigned char wrong = 0;
	for (unsigned i = 0; i < 20000; i++) {
		unsigned char *at = f.v + i % 64 * f.page;
		volatile unsigned char *v = at;
		assert_true(f.os->unused(f.os, at, f.page));
		for (unsigned spin = 0; spin < i % 512; spin++) {
			wrong |= v[64 * f.page] != 7;
		}
		assert_true(f.os->used(f.os, at, f.page));
		wrong |= v[0] != 0;
		v[0] = 7;
		for (unsigned spin = 0; spin < 512; spin++) {
			wrong |= v[0] != 7;
		}
	}
	atomic_store(&f.stop, true);
	pthread_join(flusher, NULL);
	assert_int_equal(wrong, 0);
	lagFix_done(&f);
}

// keptBy: only a system with a lag has a flush.
static uintptr_t keptBy(const gomem_os *os) { return os->flush != NULL ? mem_lag_bytes(os) : 0; }

// A heap keeps 2 MiB, so many as it was told to, or none; and nothing when it is forced to give back.
static void TestLagOfHeap(void **state) {
	(void)state;
	const struct {
		int64_t lag;
		uintptr_t kept;
	} cases[] = {{0, 2 * MiB}, {128 * KiB, 128 * KiB}, {-1, 0}};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		gomem_heap *h = gomem_heap_new(&(gomem_config){.rand_seed = 1, .release_lag = cases[i].lag});
		assert_non_null(h);
		gomem_os *os = h->env.os;
		unsigned char *v = os->reserve(os, NULL, 4 * MiB, MEM_HEAP);
		assert_true(v != NULL && os->map(os, v, 4 * MiB) && os->used(os, v, 4 * MiB));
		for (uintptr_t at = 0; at < 4 * MiB; at += 2 * page) {
			assert_true(os->unused(os, v + at, page));
		}
		assert_int_equal(os->flush != NULL, cases[i].kept != 0);
		assert_int_equal(keptBy(os), cases[i].kept);
		(void)gomem_scavenge(h, gomem_heap_p(h, 0), 1, false);
		assert_int_equal(keptBy(os), cases[i].kept);
		(void)gomem_scavenge(h, gomem_heap_p(h, 0), 1, true);
		assert_int_equal(keptBy(os), 0);
		assert_true(os->free(os, v, 4 * MiB));
		gomem_heap_destroy(h);
	}
}

static void TestLinuxFixed(void **state) {
	(void)state;
	gomem_os *os = mem_linux_new_fixed();
	void *taken = os->reserve(os, NULL, page, MEM_HEAP);
	assert_non_null(taken);
	errno = 0;
	assert_null(os->reserve(os, taken, page, MEM_HEAP));
	assert_int_equal(errno, EEXIST);
	void *meta = os->reserve(os, taken, page, MEM_META);
	assert_non_null(meta);
	assert_ptr_not_equal(meta, taken);
	assert_true(os->free(os, taken, page));
	assert_ptr_equal(os->reserve(os, taken, page, MEM_HEAP), taken);
	os->free(os, taken, page);
	os->free(os, meta, page);
	os->destroy(os);
}

// Without fixed places a hint that is taken is a hint: the reservation goes elsewhere.
static void TestLinuxElsewhere(void **state) {
	(void)state;
	gomem_os *os = mem_linux_new();
	void *taken = os->reserve(os, NULL, page, MEM_HEAP);
	assert_non_null(taken);
	void *other = os->reserve(os, taken, page, MEM_HEAP);
	assert_non_null(other);
	assert_ptr_not_equal(other, taken);
	os->free(os, taken, page);
	os->free(os, other, page);
	os->destroy(os);
}

// ---- the simulated system

static void TestSimHints(void **state) {
	(void)state;
	onlyWide("it names places of 48-bit addresses");
	gomem_os *os = newSim((memSimConfig){0});
	void *hint = (void *)(uintptr_t)0xc000000000;
	assert_ptr_equal(os->reserve(os, hint, MiB, MEM_HEAP), hint);
	void *other = os->reserve(os, hint, MiB, MEM_HEAP);
	assert_non_null(other);
	assert_ptr_not_equal(other, hint);
	assert_true(os->free(os, hint, MiB));
	assert_ptr_equal(os->reserve(os, hint, MiB, MEM_HEAP), hint);
	// one byte of overlap is enough
	assert_ptr_not_equal(os->reserve(os, (void *)(uintptr_t)(0xc000000000 - MiB), MiB + 1, MEM_HEAP),
		(void *)(uintptr_t)(0xc000000000 - MiB));
	// past the end of the address space
	void *high = (void *)(uintptr_t)(((uintptr_t)((uint64_t)1 << 48)) - MiB);
	assert_ptr_not_equal(os->reserve(os, high, 2 * MiB, MEM_HEAP), high);
	assert_ptr_equal(os->reserve(os, high, MiB, MEM_HEAP), high);
	errno = 0;
	assert_null(os->reserve(os, NULL, ((uintptr_t)((uint64_t)1 << 48)) + 1, MEM_HEAP));
	assert_int_equal(errno, ENOMEM);
	os->destroy(os);
}

static void TestSimMoveAndOccupy(void **state) {
	(void)state;
	onlyWide("it names places of 48-bit addresses");
	gomem_os *os = newSim((memSimConfig){.moveNth = 2});
	void *a = (void *)(uintptr_t)0xc000000000, *b = (void *)(uintptr_t)0xd000000000,
		 *c = (void *)(uintptr_t)0xe000000000;
	assert_ptr_equal(os->reserve(os, a, MiB, MEM_HEAP), a);
	assert_ptr_not_equal(os->reserve(os, b, MiB, MEM_HEAP), b);
	assert_ptr_equal(os->reserve(os, b, MiB, MEM_HEAP), b);
	assert_true(mem_sim_occupy(os, (uintptr_t)c + 4096, 4096));
	assert_ptr_not_equal(os->reserve(os, c, MiB, MEM_HEAP), c);
	assert_ptr_equal(os->reserve(os, c, 4096, MEM_HEAP), c);
	assert_false(mem_sim_occupy(os, (uintptr_t)a, 1));
	assert_false(os->free(os, (void *)((uintptr_t)c + 4096), 4096));
	assert_int_equal(mem_sim_state(os, (uintptr_t)c + 4096), MEM_NONE);
	os->destroy(os);
}

static void TestSimDeterministic(void **state) {
	(void)state;
	void *got[2][20];
	for (int run = 0; run < 2; run++) {
		gomem_os *os = newSim((memSimConfig){0});
		for (int i = 0; i < 20; i++) {
			got[run][i] = os->reserve(os, NULL, (uintptr_t)(i + 1) * MiB, MEM_HEAP);
			assert_non_null(got[run][i]);
			assert_int_not_equal((uintptr_t)got[run][i] % (64 * MiB), 0);
		}
		os->destroy(os);
	}
	assert_memory_equal(got[0], got[1], sizeof got[0]);
}

static void TestSimMetadataIsReal(void **state) {
	(void)state;
	static const uintptr_t physSizes[] = {4 * KiB, 16 * KiB, 64 * KiB, 512 * KiB};
	for (size_t i = 0; i < sizeof physSizes / sizeof physSizes[0]; i++) {
		gomem_os *os = newSim((memSimConfig){.physPageSize = physSizes[i]});
		unsigned char *m = os->alloc(os, 100);
		assert_int_equal((uintptr_t)m % physSizes[i], 0);
		memset(m, 1, physSizes[i]);
		assert_int_equal(mem_sim_bytes(os, MEM_META, MEM_READY), physSizes[i]);
		unsigned char *r = os->reserve(os, NULL, 4 * physSizes[i], MEM_META);
		assert_int_equal((uintptr_t)r % physSizes[i], 0);
		assert_false(readable(r));
		assert_true(os->map(os, r + physSizes[i], physSizes[i]));
		assert_true(os->used(os, r + physSizes[i], physSizes[i]));
		memset(r + physSizes[i], 1, physSizes[i]);
		assert_false(readable(r));
		assert_false(os->map(os, r + 8, 8));
		assert_true(os->free(os, r, 4 * physSizes[i]));
		assert_false(readable(r + physSizes[i]));
		assert_int_equal(mem_sim_bytes(os, MEM_META, MEM_RESERVED), 0);
		os->destroy(os);
	}
}

// Destroying a system gives its memory back.
static void TestSimDestroy(void **state) {
	(void)state;
	gomem_os *os = newSim((memSimConfig){.backed = true});
	unsigned char *m = os->alloc(os, page);
	unsigned char *v = os->reserve(os, NULL, page, MEM_HEAP);
	assert_true(os->map(os, v, page));
	assert_true(readable(m) && readable(v));
	os->destroy(os);
	assert_false(readable(m));
	assert_false(readable(v));
}

static void TestSimBadConfig(void **state) {
	(void)state;
	static const memSimConfig bad[] = {
		{.physPageSize = 2048},
		{.physPageSize = 12288},
		{.physPageSize = 1 << 20},
		{.physHugePageSize = 3},
	};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		errno = 0;
		assert_null(mem_sim_new(&bad[i]));
		assert_int_equal(errno, EINVAL);
	}
}

// 100 GB in 200,000 scattered steps, against a plain array with a state for each page.
static void TestSimScattered(void **state) {
	(void)state;
	onlyWide("it names places of 48-bit addresses");
	enum { scatterPage = 8 * KiB, pages = 100 * 1000 * 128, steps = 200000 };
	memFix f;
	memFix_initSim(&f, (memSimConfig){0});
	unsigned char *v = sysReserve(&f.env, (void *)(uintptr_t)0xc000000000, (uintptr_t)pages * scatterPage, MEM_HEAP);
	assert_true(sysMap(&f.env, v, (uintptr_t)pages * scatterPage, &f.stats.heapReleased));
	uint8_t *ready = calloc(pages, 1);
	uint64_t seed = 1;
	uintptr_t nready = 0;
	for (int i = 0; i < steps; i++) {
		uintptr_t at = (uintptr_t)memFix_rand(&seed) % pages;
		uintptr_t n = 1 + memFix_rand(&seed) % 8;
		uint8_t was = ready[at];
		uintptr_t run = 0;
		while (run < n && at + run < pages && ready[at + run] == was) {
			ready[at + run++] = !was;
		}
		if (was) {
			sysUnused(&f.env, v + at * scatterPage, run * scatterPage);
			nready -= run;
		} else {
			assert_true(sysUsed(&f.env, v + at * scatterPage, run * scatterPage, run * scatterPage));
			nready += run;
		}
	}
	assert_int_equal(mem_sim_bytes(f.env.os, MEM_HEAP, MEM_READY), nready * scatterPage);
	assert_int_equal(memFix_mappedReady(&f), nready * scatterPage);
	for (uintptr_t i = 0; i < pages; i += 7) {
		assert_int_equal(mem_sim_state(f.env.os, (uintptr_t)v + i * scatterPage), ready[i] ? MEM_READY : MEM_PREPARED);
	}
	free(ready);
	memFix_done(&f);
}

int main(void) {
	mallopt(M_MMAP_THRESHOLD, 0); // the process's break is the tests'
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(TestTransitionTable),
		cmocka_unit_test(TestEveryCellLinux),
		cmocka_unit_test(TestEveryCellSim),
		cmocka_unit_test(TestEveryCellSimBacked),
		cmocka_unit_test(TestEveryCellLag),
		cmocka_unit_test(TestEveryCellSbrk),
		cmocka_unit_test(TestIllegalInTheMiddle),
		cmocka_unit_test(TestUnaligned),
		cmocka_unit_test(TestAccounting),
		cmocka_unit_test(TestOutOfMemory),
		cmocka_unit_test(TestTooMuch),
		cmocka_unit_test(TestReserveAligned),
		cmocka_unit_test(TestRealMemory),
		cmocka_unit_test(TestLinuxPageSizes),
		cmocka_unit_test(TestLinuxHugePage),
		cmocka_unit_test(TestLinuxPopulate),
		cmocka_unit_test(TestLinuxFree),
		cmocka_unit_test(TestLagOldestGoFirst),
		cmocka_unit_test(TestLagFull),
		cmocka_unit_test(TestLagNeighbours),
		cmocka_unit_test(TestLagLargePages),
		cmocka_unit_test(TestLagFlushRace),
		cmocka_unit_test(TestLagOfHeap),
		cmocka_unit_test(TestLinuxFixed),
		cmocka_unit_test(TestLinuxElsewhere),
		cmocka_unit_test(TestSimHints),
		cmocka_unit_test(TestSimMoveAndOccupy),
		cmocka_unit_test(TestSimDeterministic),
		cmocka_unit_test(TestSimMetadataIsReal),
		cmocka_unit_test(TestSimDestroy),
		cmocka_unit_test(TestSimBadConfig),
		cmocka_unit_test(TestSimScattered),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
