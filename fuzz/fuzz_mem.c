// fuzz_mem.c: the calls that move memory between None, Reserved, Prepared and Ready, over both simulated systems and a break, against one
// state for each physical page in a flat array.
//
// A legal call must succeed unless the system was told to fail, and an illegal one must throw and change nothing. Statistics are what the
// pages of the array add up to. sysFree counts what it is given as Ready and as counted in its statistic, whatever it was, as Go's does:
// that difference is kept as a drift.
#include "fuzz/fuzz.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuzz/fuzz_env.h"
#include "fuzz/fuzz_host.h"

enum { numPages = 24, maxBlocks = 8, maxAllocPages = 6, maxElsewhere = 4 };
typedef enum osKind { FUZZ_OS, SIM, SIM_BACKED, SBRK } osKind;

typedef struct page {
	memState state;
	bool occupied; // by somebody else: nobody is granted it
	bool taken;    // at a break: by metadata or a reservation elsewhere, which have no place of their own there
	uint8_t holds; // the byte that fills it; 0 after it was made Ready anew
} page;

typedef struct block { // of sysAlloc
	unsigned char *p;
	uint64_t n;
	uint8_t holds;
} block;

typedef struct reservation { // granted at another address than asked for
	uint64_t addr, n;
} reservation;

typedef struct state {
	fuzz_env e;
	osKind system;
	gomem_os *os;
	bool backed, keeps;
	uint64_t physPage, base;
	page pages[numPages];
	block blocks[maxBlocks];
	reservation elsewhere[maxElsewhere];
	unsigned oldest; // of elsewhere: the next one to be given back
	sysMemStat heapStat, metaStat;
	int64_t readyDrift, statDrift;
	uint64_t calls, failNth; // of the simulated system, fixed at its start
	uint64_t reservations, moveNth;
	bool willMove; // the next reservation is granted elsewhere
} state;

static bool isSim(const state *s) { return s->system == SIM || s->system == SIM_BACKED; }

// ---- the model

// legal says which states a call may find; next what it leaves.
static bool legal(memCall call, memState s) {
	switch (call) {
	case MEM_SYSALLOC:
	case MEM_SYSRESERVE:
		return s == MEM_NONE;
	case MEM_SYSUNRESERVE:
	case MEM_SYSMAP:
		return s == MEM_RESERVED;
	case MEM_SYSUSED:
	case MEM_SYSPOPULATE:
		return s == MEM_PREPARED || s == MEM_READY;
	case MEM_SYSUNMAP:
	case MEM_SYSUNPOPULATE:
		return s == MEM_PREPARED;
	case MEM_SYSUNUSED:
	case MEM_SYSFAULT:
		return s == MEM_READY;
	default: // what only gives a hint about huge pages, and sysFree: any state with an owner
		return s != MEM_NONE;
	}
}

static memState next(memCall call, memState s) {
	switch (call) {
	case MEM_SYSALLOC:
	case MEM_SYSUSED:
		return MEM_READY;
	case MEM_SYSMAP:
	case MEM_SYSUNUSED:
		return MEM_PREPARED;
	case MEM_SYSRESERVE:
	case MEM_SYSFAULT:
	case MEM_SYSUNMAP:
		return MEM_RESERVED;
	case MEM_SYSUNRESERVE:
	case MEM_SYSFREE:
		return MEM_NONE;
	default:
		return s;
	}
}

static uint64_t countPages(const state *s, uint64_t from, uint64_t n, memState st) {
	uint64_t count = 0;
	for (uint64_t i = from; i < from + n; i++) {
		count += s->pages[i].state == st;
	}
	return count;
}

static uint64_t cut(uint64_t from, uint64_t more) { return more < numPages - from ? 1 + more : numPages - from; }

static bool allLegal(const state *s, memCall call, uint64_t from, uint64_t n) {
	bool ok = true;
	for (uint64_t i = from; i < from + n; i++) {
		ok = ok && legal(call, s->pages[i].state);
	}
	return ok;
}

static bool isFree(const state *s, uint64_t from, uint64_t n) {
	bool ok = true;
	for (uint64_t i = from; i < from + n; i++) {
		ok = ok && s->pages[i].state == MEM_NONE && !s->pages[i].occupied;
	}
	return ok;
}

// afterwards gives a page its new state; its contents are gone when memory behind it was given back.
static void afterwards(const state *s, page *p, memCall call) {
	const memState before = p->state;
	p->state = next(call, before);
	// At a break nothing goes before the memory is given back.
	const bool stays = s->system == SBRK && p->state != MEM_NONE;
	const bool keeps = stays || p->state == before || (call == MEM_SYSUNUSED && s->keeps);
	if (p->state != MEM_READY && !keeps) {
		p->holds = 0;
	}
}

// ---- calls on a range

typedef struct call {
	state *s;
	memCall call;
	void *v;
	uint64_t n, prepared;
	bool ok; // what it returned
} call;

static void doCall(void *arg) {
	call *c = arg;
	gomem_env *env = &c->s->e.env;
	c->ok = true;
	switch (c->call) {
	case MEM_SYSFREE:
		sysFree(env, c->v, (uintptr_t)c->n, &c->s->heapStat);
		break;
	case MEM_SYSUNRESERVE:
		sysUnreserve(env, c->v, (uintptr_t)c->n);
		break;
	case MEM_SYSMAP:
		c->ok = sysMap(env, c->v, (uintptr_t)c->n, &c->s->heapStat);
		break;
	case MEM_SYSUSED:
		c->ok = sysUsed(env, c->v, (uintptr_t)c->n, (uintptr_t)c->prepared);
		break;
	case MEM_SYSUNUSED:
		sysUnused(env, c->v, (uintptr_t)c->n);
		break;
	case MEM_SYSFAULT:
		sysFault(env, c->v, (uintptr_t)c->n);
		break;
	case MEM_SYSHUGEPAGE:
		sysHugePage(env, c->v, (uintptr_t)c->n);
		break;
	case MEM_SYSNOHUGEPAGE:
		sysNoHugePage(env, c->v, (uintptr_t)c->n);
		break;
	case MEM_SYSHUGEPAGECOLLAPSE:
		c->ok = sysHugePageCollapse(env, c->v, (uintptr_t)c->n);
		break;
	case MEM_SYSPOPULATE:
		sysPopulate(env, c->v, (uintptr_t)c->n);
		break;
	case MEM_SYSUNPOPULATE:
		sysUnpopulate(env, c->v, (uintptr_t)c->n);
		break;
	default:
		sysUnmap(env, c->v, (uintptr_t)c->n, &c->s->heapStat);
		break;
	}
}

static void *addrOf(const state *s, uint64_t pageIndex) {
	return (void *)(uintptr_t)(s->base + pageIndex * s->physPage);
}

// A call can fail if the system is asked for something.
static bool canFail(memCall c) {
	return c == MEM_SYSALLOC || c == MEM_SYSRESERVE || c == MEM_SYSMAP || c == MEM_SYSUSED;
}

// failed says whether the call that was just made was told to fail.
static bool failed(state *s, uint64_t failedBefore) {
	s->calls++;
	return isSim(s) ? s->calls == s->failNth : fuzz_os_failed() > failedBefore;
}

static void account(state *s, const call *c, uint64_t from, uint64_t n) {
	const int64_t bytes = (int64_t)(n * s->physPage);
	if (c->call == MEM_SYSFREE) {
		s->readyDrift -= bytes - (int64_t)(countPages(s, from, n, MEM_READY) * s->physPage);
		s->statDrift -= (int64_t)(countPages(s, from, n, MEM_RESERVED) * s->physPage);
	}
	if (c->call == MEM_SYSFAULT) { // Ready memory goes on to be counted in its statistic
		s->statDrift += bytes;
	}
}

// take notes who has the pages of a block or of a reservation that lie in the array.
static void take(state *s, uint64_t addr, uint64_t n, bool taken) {
	for (uint64_t a = addr; s->system == SBRK && a < addr + n; a += s->physPage) {
		const uint64_t i = (a - s->base) / s->physPage;
		if (i < numPages) {
			s->pages[i].taken = taken;
			s->pages[i].holds = 0;
		}
	}
}

static bool anyTaken(const state *s, uint64_t from, uint64_t n) {
	bool any = false;
	for (uint64_t i = from; i < from + n; i++) {
		any = any || s->pages[i].taken;
	}
	return any;
}

static void range(state *s, memCall kind, uint64_t from, uint64_t n) {
	if (anyTaken(s, from, n)) {
		return;
	}
	call c = {.s = s, .call = kind, .v = addrOf(s, from), .n = n * s->physPage};
	c.prepared = countPages(s, from, n, MEM_PREPARED) * s->physPage;
	const uint64_t failedBefore = fuzz_os_failed();
	const bool threw = fuzz_throws(&s->e.guard, doCall, &c);
	if (!allLegal(s, kind, from, n)) {
		fuzz_check(threw, "an illegal call must throw");
		fuzz_check(strstr(s->e.guard.msg, "memory at") != NULL, "the throw names the state");
		return;
	}
	if (threw) {
		fuzz_fail("a legal call threw: %s", s->e.guard.msg);
	}
	const bool fails = canFail(kind) && failed(s, failedBefore);
	if (kind == MEM_SYSHUGEPAGECOLLAPSE) {
		fuzz_equal("sysHugePageCollapse", c.ok, s->os->physHugePageSize != 0);
	} else {
		fuzz_equal("the call succeeds", c.ok, !fails);
	}
	if (fails) {
		return;
	}
	account(s, &c, from, n);
	for (uint64_t i = from; i < from + n; i++) {
		afterwards(s, &s->pages[i], kind);
	}
}

static void change(void *v, const uint64_t *a) {
	static const memCall kinds[] = {MEM_SYSMAP, MEM_SYSUSED, MEM_SYSUNUSED, MEM_SYSFAULT, MEM_SYSFREE, MEM_SYSUNRESERVE,
		MEM_SYSUNMAP, MEM_SYSHUGEPAGE, MEM_SYSNOHUGEPAGE, MEM_SYSHUGEPAGECOLLAPSE, MEM_SYSPOPULATE, MEM_SYSUNPOPULATE};
	range(v, kinds[a[0]], a[1], cut(a[1], a[2]));
}

// ready takes a run of pages of one state all the way.
static void ready(void *v, const uint64_t *a) {
	state *s = v;
	uint64_t n = 1;
	const memState st = s->pages[a[0]].state;
	while (a[0] + n < numPages && n <= a[1] && s->pages[a[0] + n].state == st) {
		n++;
	}
	if (st == MEM_RESERVED) {
		range(s, MEM_SYSMAP, a[0], n);
	}
	if (s->pages[a[0]].state == MEM_PREPARED) {
		range(s, MEM_SYSUSED, a[0], n);
	}
}

// unaligned: calls that need whole physical pages throw before they look at the state.
static void unaligned(void *v, const uint64_t *a) {
	state *s = v;
	static const memCall kinds[] = {
		MEM_SYSUNUSED, MEM_SYSNOHUGEPAGE, MEM_SYSHUGEPAGECOLLAPSE, MEM_SYSPOPULATE, MEM_SYSUNPOPULATE};
	const uint64_t off = 1 + a[2] % (s->physPage - 1);
	call c = {.s = s, .call = kinds[a[0]], .v = (char *)addrOf(s, a[1]) + off, .n = s->physPage};
	fuzz_check(fuzz_throws(&s->e.guard, doCall, &c), "an unaligned address must throw");
	fuzz_check(strstr(s->e.guard.msg, "unaligned") != NULL, "the throw says unaligned");
	c = (call){.s = s, .call = MEM_SYSUNUSED, .v = addrOf(s, a[1]), .n = s->physPage - off};
	fuzz_check(fuzz_throws(&s->e.guard, doCall, &c), "an unaligned size must throw");
}

// ---- reservations

// granted says where a reservation at a hint is to go: there, or elsewhere.
static bool granted(state *s, uint64_t from, uint64_t n) {
	if (s->system == SBRK) {
		return (uint64_t)(uintptr_t)addrOf(s, from) == fuzz_os_break();
	}
	const bool moved = isSim(s) ? ++s->reservations == s->moveNth : s->willMove;
	s->willMove = false;
	return from + n <= numPages && !moved && isFree(s, from, n);
}

static bool inWindow(const state *s, uint64_t addr) {
	return addr >= s->base && addr < s->base + numPages * s->physPage;
}

static void unreserve(state *s, reservation *r) {
	if (r->n > 0) {
		fuzz_equal("state of a reservation", memStates_get(s->e.env.states, (uintptr_t)r->addr), MEM_RESERVED);
		sysUnreserve(&s->e.env, (void *)(uintptr_t)r->addr, (uintptr_t)r->n);
		fuzz_equal("its state afterwards", memStates_get(s->e.env.states, (uintptr_t)r->addr), MEM_NONE);
		take(s, r->addr, r->n, false);
	}
	*r = (reservation){0};
}

// checkElsewhere tests a reservation that was not granted at its hint. It is kept for a while: the next one must not overlap it.
static void checkElsewhere(state *s, void *p, uint64_t n) {
	const uint64_t addr = (uint64_t)(uintptr_t)p;
	fuzz_check(p != NULL && addr % s->physPage == 0, "a reservation elsewhere");
	fuzz_check(s->system == SBRK || (!inWindow(s, addr) && !inWindow(s, addr + n - 1)),
		"a reservation elsewhere is elsewhere");
	for (unsigned i = 0; i < maxElsewhere; i++) {
		const reservation *r = &s->elsewhere[i];
		fuzz_check(addr + n <= r->addr || r->addr + r->n <= addr, "reservations do not overlap");
	}
	unreserve(s, &s->elsewhere[s->oldest]);
	s->elsewhere[s->oldest] = (reservation){addr, n};
	take(s, addr, n, true);
	s->oldest = (s->oldest + 1) % maxElsewhere;
}

static void reserve(void *v, const uint64_t *a) {
	state *s = v;
	const uint64_t n = cut(a[0], a[1]), failedBefore = fuzz_os_failed();
	const bool atBreak = s->system == SBRK && granted(s, a[0], n);
	void *p = sysReserve(&s->e.env, addrOf(s, a[0]), (uintptr_t)(n * s->physPage), MEM_HEAP);
	if (failed(s, failedBefore)) {
		fuzz_check(p == NULL && errno == ENOMEM, "a reservation that fails gives NULL");
		return;
	}
	if (s->system == SBRK && !atBreak) {
		fuzz_check(p == NULL && errno == ENOMEM, "a hint that is not the break");
		return;
	}
	if (!atBreak && !granted(s, a[0], n)) {
		checkElsewhere(s, p, n * s->physPage);
		return;
	}
	fuzz_check(p == addrOf(s, a[0]), "a free hint is granted");
	for (uint64_t i = a[0]; i < a[0] + n; i++) {
		afterwards(s, &s->pages[i], MEM_SYSRESERVE);
	}
}

static void reserveAligned(void *v, const uint64_t *a) {
	state *s = v;
	const uint64_t pages = cut(a[0], a[1]), align = (uint64_t)1 << a[2], failedBefore = fuzz_os_failed();
	const uint64_t n = pages * s->physPage, alignBytes = align * s->physPage;
	uintptr_t size = 1;
	// A hint is given only if all of it lies in the array.
	void *hint = s->system != SBRK && a[0] + pages + align <= numPages ? addrOf(s, a[0]) : NULL;
	unsigned char *p = sysReserveAligned(&s->e.env, hint, (uintptr_t)n, (uintptr_t)alignBytes, &size, MEM_HEAP);
	if (failed(s, failedBefore)) {
		fuzz_check(p == NULL && size == 0, "a reservation that fails gives NULL");
		return;
	}
	const uint64_t addr = (uint64_t)(uintptr_t)p;
	fuzz_check(p != NULL && addr % alignBytes == 0, "an aligned reservation is aligned");
	if (s->system == SBRK || !granted(s, a[0], pages + align)) {
		fuzz_check(size == n || size == n + alignBytes, "bytes of an aligned reservation");
		checkElsewhere(s, p, size);
		return;
	}
	// The base of the window is a multiple of all alignments.
	const uint64_t first = (a[0] + align - 1) / align * align;
	fuzz_equal("the aligned address", addr, s->base + first * s->physPage);
	fuzz_equal("bytes of an aligned reservation", size, first == a[0] ? n + alignBytes : n);
	for (uint64_t i = first; i < first + size / s->physPage; i++) {
		afterwards(s, &s->pages[i], MEM_SYSRESERVE);
	}
}

static void tooMuch(void *v, const uint64_t *a) {
	state *s = v;
	uintptr_t size = 1;
	const uintptr_t n = UINTPTR_MAX - (uintptr_t)a[0];
	fuzz_check(sysReserveAligned(&s->e.env, NULL, n, 1 << 20, &size, MEM_HEAP) == NULL && size == 0,
		"more than the address space holds");
}

static void occupy(void *v, const uint64_t *a) {
	state *s = v;
	if (!isSim(s)) {
		return;
	}
	const uint64_t n = cut(a[0], a[1]);
	const bool expect = isFree(s, a[0], n);
	fuzz_equal(
		"mem_sim_occupy", mem_sim_occupy(s->os, (uintptr_t)addrOf(s, a[0]), (uintptr_t)(n * s->physPage)), expect);
	for (uint64_t i = a[0]; expect && i < a[0] + n; i++) {
		s->pages[i].occupied = true;
	}
}

// direct asks the simulated system itself for what it must refuse; nothing changes.
static void direct(void *v, const uint64_t *a) {
	state *s = v;
	if (!isSim(s)) {
		return;
	}
	gomem_os *os = s->os;
	char *p = addrOf(s, a[1]);
	const uint64_t n = s->physPage, tooLarge = ((uint64_t)1 << 48) + n;
	const memState st = s->pages[a[1]].state;
	errno = 0;
	bool did = false;
	switch (a[0]) {
	case 0:
	case 1: // nothing, or too much
		did = os->alloc(os, (uintptr_t)(a[0] == 0 ? 0 : tooLarge)) != NULL;
		s->calls++;
		break;
	case 2:
	case 3:
		did = os->reserve(os, p, (uintptr_t)(a[0] == 2 ? 0 : tooLarge), MEM_HEAP) != NULL;
		s->calls++;
		break;
	case 4:
		did = os->map(os, st == MEM_RESERVED ? p + 1 : p, (uintptr_t)n);
		s->calls++;
		break;
	case 5:
		did = st == MEM_PREPARED || st == MEM_READY ? false : os->used(os, p, (uintptr_t)n);
		s->calls += st == MEM_NONE || st == MEM_RESERVED;
		break;
	case 6:
		did = os->unused(os, st == MEM_READY ? p + 1 : p, (uintptr_t)n);
		break;
	case 7:
		did = os->unused(os, p, (uintptr_t)(n + 1));
		break;
	case 8:
		did = os->fault(os, st == MEM_PREPARED || st == MEM_READY ? p + 1 : p, (uintptr_t)n);
		break;
	default:
		did = !s->pages[a[1]].occupied && os->free(os, p + 1, (uintptr_t)n);
		did = did || (s->pages[a[1]].occupied && os->free(os, p, (uintptr_t)n));
		break;
	}
	fuzz_check(!did, "the system does what it must refuse");
}

// refused: the host has no memory for what the system or the map of states keeps.
static void refused(void *v, const uint64_t *a) {
	fuzz_host_refuse(a[1]);
	if (a[0] == 0) {
		gomem_state_map *m = memStates_new();
		fuzz_check((m == NULL) == fuzz_host_obey(), "a map of states without memory");
		memStates_free(m);
		return;
	}
	gomem_os *os = mem_sim_new(&(memSimConfig){.physPageSize = a[0] == 1 ? 12288 : 4096, .backed = a[0] == 3});
	const bool refusedNow = fuzz_host_obey();
	fuzz_check((os != NULL) == (a[0] != 1 && !refusedNow), "a system that cannot be");
	if (os == NULL) {
		return;
	}
	fuzz_host_refuse(a[1]);
	void *const meta = os->alloc(os, 4096);
	const bool noMeta = fuzz_host_obey();
	fuzz_check((meta == NULL) == noMeta, "metadata without memory");
	fuzz_host_refuse(a[1]);
	// Where the process has something already, a backed reservation goes elsewhere.
	void *const here = (void *)((uintptr_t)v & ~(uintptr_t)4095);
	void *const p = os->reserve(os, a[2] == 0 ? here : NULL, 4096, MEM_HEAP);
	const bool noPlace = fuzz_host_obey();
	fuzz_check(p != NULL || noPlace, "a reservation fails");
	fuzz_check(a[0] != 3 || p != here, "a reservation over the process's own memory");
	if (p != NULL) {
		fuzz_host_refuse(a[1]);
		const bool ok = os->map(os, p, 4096);
		fuzz_check(ok != fuzz_host_obey(), "map without memory");
		fuzz_check(mem_sim_state(os, (uintptr_t)p) == (ok ? MEM_PREPARED : MEM_RESERVED), "the state afterwards");
	}
	os->destroy(os);
}

// crowded: a system goes on where somebody else has the next place, until nothing is left.
static void crowded(void *v, const uint64_t *a) {
	(void)v;
	gomem_os *os = mem_sim_new(&(memSimConfig){.backed = a[0] == 1});
	fuzz_check(os != NULL, "out of memory");
	char *const p = os->reserve(os, NULL, 4096, MEM_HEAP);
	fuzz_check(p != NULL, "a reservation fails");
	for (uint64_t i = 0; i < a[1]; i++) {
		fuzz_check(mem_sim_occupy(os, (uintptr_t)((uintptr_t)p + 8192 * (1 + i)), 4096), "a free place is occupied");
	}
	const char *const q = os->reserve(os, NULL, 4096, MEM_HEAP);
	// It tries 64 places; then the real system chooses, if there is one.
	fuzz_check((q != NULL) == (a[1] < 64 || a[0] == 1), "a reservation among others'");
	// What is backed has the process's other memory in the way, too.
	fuzz_check(q == NULL || a[0] == 1 || q == p + 8192 * (1 + a[1]), "the first free place");
	const uintptr_t half = (uintptr_t)((uint64_t)1 << 47);
	errno = 0;
	fuzz_check(os->reserve(os, NULL, half, MEM_HEAP) == NULL || a[0] == 0, "half of all addresses, really");
	fuzz_check(os->reserve(os, NULL, half, MEM_HEAP) == NULL && errno == ENOMEM, "more than all addresses");
	os->destroy(os);
}

// linearConfig: the first three can be, the others cannot.
static memLinearConfig linearConfig(uint64_t i, const void *taken) {
	const memLinearConfig configs[] = {
		{.limit = 8 * 4096},
		{.limit = 4 << 20, .initial = 3 * 4096},
		{.physPageSize = 65536, .start = FUZZ_OS_LINEAR_END, .limit = 4 * 65536},
		{.limit = (uintptr_t)((uint64_t)1 << 60)}, // more than there is
		{.start = (uintptr_t)taken & ~(uintptr_t)4095, .limit = 4096},
		{.physPageSize = 12288},
		{.physPageSize = 2048},
		{.physPageSize = 1 << 20},
		{.limit = 100},
		{.limit = 4096, .initial = 8192},
		{.start = 100},
		{.limit = UINTPTR_MAX},
	};
	return configs[i];
}

// linear: what a linear memory, and the break over it, must refuse; and that they go on afterwards.
static void linear(void *v, const uint64_t *a) {
	memLinearConfig c = linearConfig(a[0], v);
	c.failNth = a[2];
	fuzz_host_refuse(a[1]);
	errno = 0;
	gomem_os *os = mem_sbrk_new(memLinear_sim(&c));
	const int err = errno;
	const bool refusedNow = fuzz_host_obey();
	fuzz_check((os != NULL) == (a[0] < 3 && !refusedNow), "a linear memory that cannot be");
	if (os == NULL) {
		fuzz_check(refusedNow || err == (a[0] == 3 ? ENOMEM : a[0] == 4 ? EEXIST : EINVAL), "why it cannot be");
		return;
	}
	const uintptr_t bytes = os->physPageSize, start = mem_sbrk_bloc(os);
	fuzz_check(
		os->alloc(os, 0) == NULL && os->reserveAligned(os, 1, bytes, MEM_HEAP) == NULL, "nothing, or no whole pages");
	fuzz_check(os->alloc(os, UINTPTR_MAX) == NULL && os->alloc(os, (uintptr_t)((uint64_t)1 << 61)) == NULL,
		"more than all addresses");
	fuzz_check(os->reserve(os, (void *)(start + bytes), bytes, MEM_HEAP) == NULL, "a hint that is not the break");
	fuzz_check(
		os->reserveAligned(os, (uintptr_t)((uint64_t)1 << 40), bytes, MEM_HEAP) == NULL, "more than the memory has");
	fuzz_check(mem_sbrk_refusal(os)[0] != 0, "why it was refused is told");
	unsigned failures = 0;
	uintptr_t had = 0;
	while (had < 8 * bytes && failures < 3) {
		unsigned char *p = os->alloc(os, bytes);
		failures += p == NULL;
		fuzz_check(p == NULL || (uintptr_t)p == start + had, "the break goes on where it was");
		had += p == NULL ? 0 : bytes;
	}
	fuzz_check(had == 8 * bytes || c.limit == 4 * bytes, "all that there is can be had");
	os->free(os, (void *)start, bytes);
	fuzz_must(mem_sbrk_checkContents(os));
	*(unsigned char *)(start + 100) = 1;
	fuzz_check(mem_sbrk_checkContents(os) != NULL, "free memory that is not zero is found");
	os->destroy(os);
}

// processBreak: the process's own, which somebody else may move. Nothing here may allocate: malloc may be who does.
static void processBreak(void *v, const uint64_t *a) {
	(void)v;
	memLinear *m = memLinear_process();
	fuzz_check(m != NULL, "nobody has the break");
	fuzz_check(memLinear_process() == NULL && errno == EBUSY, "one at a time");
	const uintptr_t n = (uintptr_t)((1 + a[0]) * m->physPageSize), brk = m->brk;
	fuzz_check(m->grow(m, brk + n) && m->brk == brk + n, "the break rises");
	memset((void *)brk, 1, n);
	fuzz_check(sbrk((intptr_t)n) != (void *)-1, "somebody else moves it");
	fuzz_check(!m->grow(m, brk + 2 * n) && errno == EBUSY && m->brk == brk + n, "a break that was moved");
	fuzz_check(strstr(m->refusal, "somebody else moved") != NULL, "why it was refused is told");
	if (a[1] != 0) {
		m->destroy(m); // theirs stays
		fuzz_check(sbrk(-(intptr_t)(2 * n)) == (void *)(brk + 2 * n), "what is somebody else's stays");
		return;
	}
	fuzz_check(sbrk(-(intptr_t)n) != (void *)-1, "somebody else moves it back");
	fuzz_check(m->grow(m, brk + 2 * n), "it goes on rising");
	fuzz_check(!m->grow(m, (uintptr_t)((uint64_t)1 << 62)) && errno == ENOMEM, "more than there is");
	m->destroy(m);
	fuzz_check((uintptr_t)sbrk(0) <= brk, "the break sinks again");
}

// ---- metadata, and contents

static bool allBytes(const unsigned char *p, uint64_t n, uint8_t value) {
	return p[0] == value && memcmp(p, p + 1, (size_t)(n - 1)) == 0;
}

static void alloc(void *v, const uint64_t *a) {
	state *s = v;
	block *b = &s->blocks[a[0]];
	if (b->p != NULL) {
		return;
	}
	const uint64_t n = (1 + a[1]) * s->physPage, failedBefore = fuzz_os_failed();
	unsigned char *p = sysAlloc(&s->e.env, (uintptr_t)n, &s->metaStat);
	if (failed(s, failedBefore)) {
		fuzz_check(p == NULL && errno == ENOMEM, "an allocation that fails gives NULL");
		return;
	}
	fuzz_check(p != NULL && (uint64_t)(uintptr_t)p % s->physPage == 0, "sysAlloc gives physical pages");
	fuzz_check(allBytes(p, n, 0), "sysAlloc gives zeroed memory");
	*b = (block){p, n, (uint8_t)(1 + a[0])};
	take(s, (uint64_t)(uintptr_t)p, n, true);
	memset(p, b->holds, (size_t)n);
}

static void freeBlock(state *s, block *b) {
	fuzz_check(allBytes(b->p, b->n, b->holds), "contents of a block of sysAlloc");
	sysFree(&s->e.env, b->p, (uintptr_t)b->n, &s->metaStat);
	take(s, (uint64_t)(uintptr_t)b->p, b->n, false);
	*b = (block){0};
}

static void freeAlloc(void *v, const uint64_t *a) {
	state *s = v;
	if (s->blocks[a[0]].p != NULL) {
		freeBlock(s, &s->blocks[a[0]]);
	}
}

static void checkContents(const state *s, uint64_t i) {
	if (s->backed && s->pages[i].state == MEM_READY) {
		fuzz_check(allBytes(addrOf(s, i), s->physPage, s->pages[i].holds), "contents of a Ready page");
	}
}

static void touch(void *v, const uint64_t *a) {
	state *s = v;
	checkContents(s, a[0]);
	if (s->backed && s->pages[a[0]].state == MEM_READY) {
		s->pages[a[0]].holds = (uint8_t)a[1];
		memset(addrOf(s, a[0]), (int)a[1], (size_t)s->physPage);
	}
}

static void fail(void *v, const uint64_t *a) {
	if (!isSim(v)) {
		fuzz_os_fail(a[0], a[1]);
	}
}

static void move(void *v, const uint64_t *a) {
	(void)a;
	state *s = v;
	if (s->system == FUZZ_OS) {
		s->willMove = true;
		fuzz_os_move(1, 0);
	}
}

// ---- a run

static void checkPage(const state *s, uint64_t i) {
	if (s->pages[i].taken) {
		return;
	}
	const uintptr_t first = (uintptr_t)addrOf(s, i), last = first + (uintptr_t)s->physPage - 1;
	fuzz_equal("state of a page", memStates_get(s->e.env.states, first), s->pages[i].state);
	fuzz_equal("state of a page", memStates_get(s->e.env.states, last), s->pages[i].state);
	if (poisonForbids && s->backed && s->pages[i].state == MEM_PREPARED) {
		fuzz_equal("Prepared memory is forbidden", poison_firstForbidden(first, 1), first);
		fuzz_equal("Prepared memory is forbidden", poison_firstForbidden(last, 1), last);
	}
	if (isSim(s)) {
		fuzz_equal("state in the system", mem_sim_state(s->os, first), s->pages[i].state);
	}
}

static void after(void *v) {
	state *s = v;
	uint64_t blocks = 0;
	for (unsigned i = 0; i < maxBlocks; i++) {
		blocks += s->blocks[i].n;
	}
	const int64_t prepared = (int64_t)(countPages(s, 0, numPages, MEM_PREPARED) * s->physPage);
	const int64_t heapReady = (int64_t)(countPages(s, 0, numPages, MEM_READY) * s->physPage);
	fuzz_equal("statistic of the heap", sysMemStat_load(&s->heapStat), (uint64_t)(prepared + heapReady + s->statDrift));
	fuzz_equal("statistic of metadata", sysMemStat_load(&s->metaStat), blocks);
	fuzz_equal("mappedReady", (uint64_t)atomic_load(&s->e.stats.mappedReady),
		(uint64_t)(heapReady + (int64_t)blocks + s->readyDrift));
	if (s->system == SBRK) {
		fuzz_must(s->os->check(s->os));
	}
	if (!isSim(s)) {
		return;
	}
	fuzz_equal("calls that can fail", mem_sim_calls(s->os), s->calls);
	fuzz_equal("Ready bytes of metadata", mem_sim_bytes(s->os, MEM_META, MEM_READY), blocks);
	uint64_t elsewhere = 0;
	for (unsigned i = 0; i < maxElsewhere; i++) {
		elsewhere += s->elsewhere[i].n;
	}
	for (memState st = MEM_RESERVED; st <= MEM_READY; st++) {
		const uint64_t bytes = countPages(s, 0, numPages, st) * s->physPage + (st == MEM_RESERVED ? elsewhere : 0);
		fuzz_equal("bytes in a state", mem_sim_bytes(s->os, MEM_HEAP, st), bytes);
	}
}

enum { CONFIG_SYSTEM, CONFIG_PHYS, CONFIG_FAIL, CONFIG_MOVE, CONFIG_BACKED, CONFIG_HUGE };

static void beginSystem(state *s, const uint64_t *config) {
	const uint64_t huge = config[CONFIG_HUGE] != 0 && s->system != SBRK ? 2 << 20 : 0;
	fuzz_env_init(&s->e, NULL,
		&(fuzz_os_config){
			.physPageSize = (size_t)s->physPage,
			.physHugePageSize = (size_t)huge,
			.backed = s->backed,
			.unusedKeepsContents = s->keeps,
			.sbrk = s->system == SBRK ? mem_sbrk_new : NULL,
		});
	s->os = s->e.env.os;
	if (!isSim(s)) {
		return;
	}
	s->failNth = config[CONFIG_FAIL];
	s->moveNth = config[CONFIG_MOVE];
	s->os = mem_sim_new(&(memSimConfig){
		.physPageSize = (size_t)s->physPage,
		.physHugePageSize = (size_t)huge,
		.backed = s->backed,
		.failNth = s->failNth,
		.moveNth = s->moveNth,
	});
	fuzz_check(s->os != NULL, "no simulated system");
	s->e.env.os = s->os;
}

static void *begin(const uint64_t *config) {
	state *s = calloc(1, sizeof *s);
	fuzz_check(s != NULL, "out of memory");
	const uint64_t kind = config[CONFIG_SYSTEM];
	s->system = kind < 8 ? FUZZ_OS : kind < 15 ? SIM : kind == 15 ? SIM_BACKED : SBRK;
	s->backed =
		s->system == SIM_BACKED || s->system == SBRK || (s->system == FUZZ_OS && config[CONFIG_BACKED] % 2 == 1);
	s->keeps = s->system == FUZZ_OS && config[CONFIG_BACKED] >= 2;
	s->physPage = (uint64_t)4096 << 2 * config[CONFIG_PHYS];
	// Between the places that fuzz_os has mapped for itself, if the memory is to be real.
	s->base = s->system == SBRK   ? FUZZ_OS_LINEAR
		: s->system == SIM_BACKED ? FUZZ_OS_BASE + ((uint64_t)1 << 37)
								  : FUZZ_OS_BASE;
	beginSystem(s, config);
	return s;
}

// heldPages counts what was not given back.
static uint64_t heldPages(const state *s) { return numPages - countPages(s, 0, numPages, MEM_NONE); }

static void end(void *v) {
	state *s = v;
	for (uint64_t i = 0; i < numPages; i++) {
		checkPage(s, i);
		checkContents(s, i);
	}
	for (unsigned i = 0; i < maxBlocks; i++) {
		if (s->blocks[i].p != NULL) {
			freeBlock(s, &s->blocks[i]);
		}
	}
	for (unsigned i = 0; i < maxElsewhere; i++) {
		unreserve(s, &s->elsewhere[i]);
	}
	fuzz_equal("bytes that are held at the end", s->system == SBRK ? fuzz_os_held() / s->physPage : 0,
		s->system == SBRK ? heldPages(s) : 0);
	fuzz_env_done(&s->e);
	if (isSim(s)) {
		s->os->destroy(s->os);
	}
	free(s);
}

#define PAGE                                                                                                           \
	{ "page", 1, FUZZ_ANY, numPages - 1 }
#define MORE                                                                                                           \
	{ "more", 1, FUZZ_ANY, numPages - 1 }
#define BLOCK                                                                                                          \
	{ "block", 1, FUZZ_ANY, maxBlocks - 1 }

static const fuzz_op_info ops[] = {
	{"reserve", {PAGE, MORE}, reserve},
	{"change", {{"call", 1, FUZZ_ANY, 11}, PAGE, MORE}, change},
	{"ready", {PAGE, MORE}, ready},
	{"unaligned", {{"call", 1, FUZZ_ANY, 4}, PAGE, {"off", 2, FUZZ_ANY, 0}}, unaligned},
	{"reservealigned", {PAGE, MORE, {"align", 1, FUZZ_ANY, 4}}, reserveAligned},
	{"toomuch", {{"less", 2, FUZZ_ANY, 0}}, tooMuch},
	{"occupy", {PAGE, MORE}, occupy},
	{"alloc", {BLOCK, {"more", 1, FUZZ_ANY, maxAllocPages - 1}}, alloc},
	{"free", {BLOCK}, freeAlloc},
	{"touch", {PAGE, {"byte", 1, FUZZ_ANY, 0}}, touch},
	{"fail", {{"nth", 1, FUZZ_ANY, 7}, {"more", 1, FUZZ_ANY, 3}}, fail},
	{"move", {{0}}, move},
	{"direct", {{"call", 1, FUZZ_ANY, 9}, PAGE}, direct},
	{"crowded", {{"backed", 1, FUZZ_ANY, 1}, {"others", 1, FUZZ_ANY, 70}}, crowded},
	{"refused", {{"what", 1, FUZZ_ANY, 3}, {"nth", 1, FUZZ_ANY, 12}, {"hint", 1, FUZZ_ANY, 1}}, refused},
	{"linear", {{"config", 1, FUZZ_ANY, 11}, {"nth", 1, FUZZ_ANY, 4}, {"fail", 1, FUZZ_ANY, 9}}, linear},
	{"processbreak", {{"more", 1, FUZZ_ANY, 7}, {"keep", 1, FUZZ_ANY, 1}}, processBreak},
};

FUZZ_TARGET(mem) = {
	.name = "mem",
	.what = "the states of memory over two simulated systems and a break against one state for each physical page",
	.config =
		{
			{"system", 1, FUZZ_ANY, 16},
			{"phys", 1, FUZZ_ANY, 2},
			{"failnth", 1, FUZZ_ANY, 31},
			{"moventh", 1, FUZZ_ANY, 7},
			{"backed", 1, FUZZ_ANY, 3},
			{"huge", 1, FUZZ_ANY, 1},
		},
	.ops = ops,
	.nops = sizeof ops / sizeof ops[0],
	.max_ops = 10,
	.begin = begin,
	.after = after,
	.end = end,
	.small = true,
};
