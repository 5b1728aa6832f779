// mem.c (layer 1): the calls that move address ranges between the four states, their accounting and their check.
//
// Ports mem.go. DEVIATION(D04): Go's caller throws when the OS has no memory; here a call that fails for want of
// memory, or of permission to have more, leaves statistics and states as they were and reports it with errno ENOMEM. Any other refusal by
// the OS is an inconsistency and throws.
//
// Invariants: as in mem.h. With env->states, states[a] of every byte a == the state that the calls so far gave it.
#include "gomem/mem.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "gomem/memintervals.h"
#include "gomem/poison.h"

enum { X = MEM_NSTATES }; // illegal

// Rows: calls. Columns: None, Reserved, Prepared, Ready. sysFree takes any state that has an owner; sysUsed may cover
// bytes that are Ready already; the three hints about huge pages need a mapping, sysPopulate memory. They change no state.
const uint8_t memTransition[MEM_NCALLS][MEM_NSTATES] = {
	[MEM_SYSALLOC] = {MEM_READY, X, X, X},
	[MEM_SYSFREE] = {X, MEM_NONE, MEM_NONE, MEM_NONE},
	[MEM_SYSRESERVE] = {MEM_RESERVED, X, X, X},
	[MEM_SYSUNRESERVE] = {X, MEM_NONE, X, X},
	[MEM_SYSMAP] = {X, MEM_PREPARED, X, X},
	[MEM_SYSUSED] = {X, X, MEM_READY, MEM_READY},
	[MEM_SYSUNUSED] = {X, X, X, MEM_PREPARED},
	[MEM_SYSFAULT] = {X, X, X, MEM_RESERVED},
	[MEM_SYSHUGEPAGE] = {X, MEM_RESERVED, MEM_PREPARED, MEM_READY},
	[MEM_SYSNOHUGEPAGE] = {X, MEM_RESERVED, MEM_PREPARED, MEM_READY},
	[MEM_SYSHUGEPAGECOLLAPSE] = {X, MEM_RESERVED, MEM_PREPARED, MEM_READY},
	[MEM_SYSUNMAP] = {X, X, MEM_RESERVED, X},
	[MEM_SYSPOPULATE] = {X, X, MEM_PREPARED, MEM_READY},
	[MEM_SYSUNPOPULATE] = {X, X, MEM_PREPARED, X},
};

const char *const memCallNames[MEM_NCALLS] = {
	"sysAlloc",
	"sysFree",
	"sysReserve",
	"sysUnreserve",
	"sysMap",
	"sysUsed",
	"sysUnused",
	"sysFault",
	"sysHugePage",
	"sysNoHugePage",
	"sysHugePageCollapse",
	"sysUnmap",
	"sysPopulate",
	"sysUnpopulate",
};
const char *const memStateNames[MEM_NSTATES] = {"None", "Reserved", "Prepared", "Ready"};

struct gomem_state_map {
	pthread_mutex_t mu;
	memIntervals *map;
};

gomem_state_map *memStates_new(void) {
	gomem_state_map *m = malloc(sizeof *m);
	if (m == NULL) {
		return NULL;
	}
	m->map = memIntervals_new();
	if (m->map == NULL || pthread_mutex_init(&m->mu, NULL) != 0) {
		memIntervals_free(m->map);
		free(m);
		return NULL;
	}
	return m;
}

void memStates_free(gomem_state_map *m) {
	if (m == NULL) {
		return;
	}
	memIntervals_free(m->map);
	pthread_mutex_destroy(&m->mu);
	free(m);
}

memState memStates_get(const gomem_state_map *m, uintptr_t addr) {
	pthread_mutex_t *mu = &((gomem_state_map *)(uintptr_t)m)->mu;
	pthread_mutex_lock(mu);
	memState s = (memState)memIntervals_at(m->map, addr).v;
	pthread_mutex_unlock(mu);
	return s;
}

static void throwIllegal(gomem_env *env, memCall call, memState s, uint64_t addr, const void *v, uintptr_t n) {
	char msg[160];
	snprintf(msg, sizeof msg, "%s(0x%llx, %llu): memory at 0x%llx is %s", memCallNames[call],
		(unsigned long long)(uintptr_t)v, (unsigned long long)n, (unsigned long long)addr, memStateNames[s]);
	gomem_throw(env, msg);
}

// checkCall throws if call is illegal for some byte of [v, v+n).
static void checkCall(gomem_env *env, memCall call, const void *v, uintptr_t n) {
	if (env->states == NULL) {
		return;
	}
	uint64_t end = (uint64_t)(uintptr_t)v + n;
	for (uint64_t a = (uintptr_t)v; a < end;) {
		pthread_mutex_lock(&env->states->mu);
		memInterval in = memIntervals_at(env->states->map, a);
		pthread_mutex_unlock(&env->states->mu);
		if (memTransition[call][in.v] == X) {
			throwIllegal(env, call, (memState)in.v, a, v, n);
		}
		a = in.hi;
	}
}

static void setState(gomem_env *env, const void *v, uintptr_t n, memState s) {
	if (env->states == NULL) {
		return;
	}
	pthread_mutex_lock(&env->states->mu);
	bool ok = memIntervals_set(env->states->map, (uintptr_t)v, (uint64_t)(uintptr_t)v + n, (uint8_t)s);
	pthread_mutex_unlock(&env->states->mu);
	if (!ok) {
		gomem_throw(env, "out of memory in the map of memory states");
	}
}

// checkOS throws if the system's own invariants do not hold (Go: memCheck with memDebug).
static void checkOS(gomem_env *env) {
	if (env->states == NULL || env->os->check == NULL) {
		return;
	}
	const char *bad = env->os->check(env->os);
	if (bad != NULL) {
		gomem_throw(env, bad);
	}
}

static void addMappedReady(gomem_env *env, int64_t n) {
	atomic_fetch_add_explicit(&env->stats->mappedReady, n, memory_order_relaxed);
}

static void needAligned(gomem_env *env, uintptr_t x, const char *msg) {
	if ((x & (env->physPageSize - 1)) != 0) {
		gomem_throw(env, msg);
	}
}

// isRefusal: the OS has no memory for this process, or grants it none (limits of locked memory, security modules).
static bool isRefusal(int err) { return err == ENOMEM || err == EAGAIN || err == EPERM || err == EACCES; }

void *sysAlloc(gomem_env *env, uintptr_t n, sysMemStat *stat) {
	sysMemStat_add(stat, (int64_t)n);
	addMappedReady(env, (int64_t)n);
	void *p = env->os->alloc(env->os, n);
	if (p == NULL) {
		sysMemStat_add(stat, -(int64_t)n);
		addMappedReady(env, -(int64_t)n);
		errno = ENOMEM;
		return NULL;
	}
	checkOS(env);
	checkCall(env, MEM_SYSALLOC, p, n);
	setState(env, p, n, MEM_READY);
	return p;
}

void sysUnused(gomem_env *env, void *v, uintptr_t n) {
	needAligned(env, (uintptr_t)v | n, "unaligned sysUnused");
	checkCall(env, MEM_SYSUNUSED, v, n);
	addMappedReady(env, -(int64_t)n);
	if (!env->os->unused(env->os, v, n)) {
		gomem_throw(env, "runtime: cannot release pages in address space");
	}
	if (env->backed) {
		poison_forbid((uintptr_t)v, n);
	}
	setState(env, v, n, MEM_PREPARED);
}

bool sysUsed(gomem_env *env, void *v, uintptr_t n, uintptr_t prepared) {
	checkCall(env, MEM_SYSUSED, v, n);
	addMappedReady(env, (int64_t)prepared);
	if (env->os->used(env->os, v, n)) {
		if (env->backed) {
			poison_allow((uintptr_t)v, n);
		}
		setState(env, v, n, MEM_READY);
		return true;
	}
	addMappedReady(env, -(int64_t)prepared);
	if (!isRefusal(errno)) {
		gomem_throw(env, "runtime: cannot remap pages in address space");
	}
	errno = ENOMEM;
	return false;
}

void sysHugePage(gomem_env *env, void *v, uintptr_t n) {
	checkCall(env, MEM_SYSHUGEPAGE, v, n);
	env->os->hugePage(env->os, v, n);
}

void sysNoHugePage(gomem_env *env, void *v, uintptr_t n) {
	needAligned(env, (uintptr_t)v, "unaligned sysNoHugePageOS");
	checkCall(env, MEM_SYSNOHUGEPAGE, v, n);
	env->os->noHugePage(env->os, v, n);
}

bool sysHugePageCollapse(gomem_env *env, void *v, uintptr_t n) {
	needAligned(env, (uintptr_t)v, "unaligned sysHugePageCollapseOS");
	checkCall(env, MEM_SYSHUGEPAGECOLLAPSE, v, n);
	return env->os->hugePageCollapse(env->os, v, n);
}

static void populate(gomem_env *env, memCall call, void *v, uintptr_t n) {
	checkCall(env, call, v, n);
	if (env->os->populate != NULL) {
		env->os->populate(env->os, v, n, call == MEM_SYSPOPULATE);
	}
}

void sysPopulate(gomem_env *env, void *v, uintptr_t n) {
	needAligned(env, (uintptr_t)v, "unaligned sysPopulate");
	populate(env, MEM_SYSPOPULATE, v, n);
}

void sysUnpopulate(gomem_env *env, void *v, uintptr_t n) {
	needAligned(env, (uintptr_t)v, "unaligned sysUnpopulate");
	populate(env, MEM_SYSUNPOPULATE, v, n);
}

// osFree returns [v, v+n) to the OS. The state goes first: once the OS has the range, another thread may be given it.
static void osFree(gomem_env *env, void *v, uintptr_t n) {
	setState(env, v, n, MEM_NONE);
	env->os->free(env->os, v, n);
	checkOS(env);
}

void sysFree(gomem_env *env, void *v, uintptr_t n, sysMemStat *stat) {
	checkCall(env, MEM_SYSFREE, v, n);
	sysMemStat_add(stat, -(int64_t)n);
	addMappedReady(env, -(int64_t)n);
	osFree(env, v, n);
}

static void faultOrThrow(gomem_env *env, void *v, uintptr_t n) {
	if (!env->os->fault(env->os, v, n)) {
		gomem_throw(env, "runtime: cannot protect pages in address space");
	}
}

void sysFault(gomem_env *env, void *v, uintptr_t n) {
	checkCall(env, MEM_SYSFAULT, v, n);
	addMappedReady(env, -(int64_t)n);
	faultOrThrow(env, v, n);
	setState(env, v, n, MEM_RESERVED);
}

static void *reserved(gomem_env *env, void *p, uintptr_t n) {
	if (p == NULL) {
		errno = ENOMEM;
		return NULL;
	}
	checkOS(env);
	checkCall(env, MEM_SYSRESERVE, p, n);
	setState(env, p, n, MEM_RESERVED);
	return p;
}

void *sysReserve(gomem_env *env, void *hint, uintptr_t n, memUse use) {
	return reserved(env, env->os->reserve(env->os, hint, n, use), n);
}

void sysUnreserve(gomem_env *env, void *v, uintptr_t n) {
	checkCall(env, MEM_SYSUNRESERVE, v, n);
	osFree(env, v, n);
}

// reserveTrimmed reserves more than n bytes and gives back what stands out; *size is what is left.
static void *reserveTrimmed(
	gomem_env *env, unsigned char *p, uintptr_t n, uintptr_t align, uintptr_t *size, layoutReserve how) {
	const uintptr_t head = (uintptr_t)alignUp((uintptr_t)p, align) - (uintptr_t)p;
	if (head == 0 && how != LAYOUT_RESERVE_SBRK) {
		*size = n + align;
		return p;
	}
	if (head > 0) {
		osFree(env, p, head);
	}
	osFree(env, p + head + n, align - head);
	*size = n;
	return p + head;
}

// reserveFromBreak asks for an aligned place as such: what lies before it goes to the break's free list.
static void *reserveFromBreak(gomem_env *env, void *hint, uintptr_t n, uintptr_t align, uintptr_t *size, memUse use) {
	if (hint != NULL) {
		gomem_throw(env, "unexpected heap arena hint on sbrk platform");
	}
	void *v = reserved(env, env->os->reserveAligned(env->os, n, align, use), n);
	*size = v != NULL ? n : 0;
	return v;
}

// On Windows somebody else may take the address space between two calls: Go gives up after 100 tries.
enum { maxReserveRetries = 100 };

// DEVIATION(D19): with the layout of a platform that has a break, but on an OS layer that has none, more is asked for, as on other platforms, and
// both ends are given back.
void *sysReserveAligned(gomem_env *env, void *hint, uintptr_t n, uintptr_t align, uintptr_t *size, memUse use) {
	const layoutReserve how = layout_get(env)->reserve;
	*size = 0;
	if (layout_uintptr(layout_get(env), n + align) < n) {
		errno = ENOMEM;
		return NULL;
	}
	if (os_isSbrkPlatform(env->os)) {
		return reserveFromBreak(env, hint, n, align, size, use);
	}
	for (int retries = 0; retries < maxReserveRetries; retries++) {
		unsigned char *p = sysReserve(env, hint, n + align, use);
		const uintptr_t head = (uintptr_t)alignUp((uintptr_t)p, align) - (uintptr_t)p;
		if (p == NULL) {
			return NULL;
		}
		if (how != LAYOUT_RESERVE_WHOLE || head == 0) {
			return reserveTrimmed(env, p, n, align, size, how);
		}
		sysUnreserve(env, p, n + align);
		void *again = sysReserve(env, p + head, n, use);
		if (again == p + head) {
			*size = n;
			return again;
		}
		if (again != NULL) {
			sysUnreserve(env, again, n);
		}
	}
	errno = ENOMEM;
	return NULL;
}

bool sysMap(gomem_env *env, void *v, uintptr_t n, sysMemStat *stat) {
	checkCall(env, MEM_SYSMAP, v, n);
	sysMemStat_add(stat, (int64_t)n);
	if (env->os->map(env->os, v, n)) {
		if (env->backed && !env->os->staysMapped) {
			poison_forbid((uintptr_t)v, n);
		}
		setState(env, v, n, MEM_PREPARED);
		return true;
	}
	sysMemStat_add(stat, -(int64_t)n);
	if (!isRefusal(errno)) {
		gomem_throw(env, "runtime: cannot map pages in arena address space");
	}
	errno = ENOMEM;
	return false;
}

// DEVIATION(D10): mem.go foresees a call from Prepared to Reserved and does not have it; sysFault would count bytes
// as no longer Ready that never were.
void sysUnmap(gomem_env *env, void *v, uintptr_t n, sysMemStat *stat) {
	checkCall(env, MEM_SYSUNMAP, v, n);
	sysMemStat_add(stat, -(int64_t)n);
	faultOrThrow(env, v, n);
	setState(env, v, n, MEM_RESERVED);
}
