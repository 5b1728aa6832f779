// mem_sim.c (layer 1): a simulated operating system, deterministic, that fails or moves calls on request.
//
// Heap reservations live in a simulated address space of 48 bits (32 on hosts with 32-bit words): at their hint if it is free there, else one after the
// other from simFirst on. Unless the system is backed nothing stands behind them, so that a heap larger than the
// machine can be played. Metadata is always real memory. The state of every byte is kept as intervals: a heap of 100 GB
// costs nothing until its pages are scattered over states.
//
// Invariants: a range is in one state with one use; what is not None, nobody else is granted; SIM_REAL ranges, and no
// others, are mapped in the process.
#include "gomem/mem.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "gomem/memintervals.h"
#include "gomem/poison.h"

// The value of an interval: a memState, and what it is.
enum {
	SIM_STATE = 3,
	SIM_META = 4,
	SIM_REAL = 8,
	SIM_OCCUPIED = 16, // somebody else's
};

enum {
	simPlacements = 64, // places tried for a reservation before the system gives up
	simCollisions = 8,  // times that real memory may fall on simulated memory
	minPhysPageSize = 4096,
	maxSimPhysPageSize = 512 << 10,
};

#if UINTPTR_MAX > UINT32_MAX
static const uint64_t simFirst = 0x410000000000u; // above Go's randomized bases, below where Linux puts mappings
static const uint64_t simLimit = (uint64_t)1 << 48;
#else
static const uint64_t simFirst = 0x60000000u; // above the program and its break, below where Linux puts mappings
static const uint64_t simLimit = (uint64_t)1 << 32;
#endif

typedef struct memSim {
	gomem_os os;
	pthread_mutex_t mu;
	memIntervals *map;
	memSimConfig cfg;
	uint64_t calls, reservations;
	uint64_t next; // where the next reservation without a place of its own is tried
} memSim;

static memSim *lockSim(const gomem_os *os) {
	memSim *s = (memSim *)(uintptr_t)os;
	pthread_mutex_lock(&s->mu);
	return s;
}

static void unlockSim(memSim *s) { pthread_mutex_unlock(&s->mu); }

static uint64_t addrOf(const void *v) { return (uint64_t)(uintptr_t)v; }
static void *ptrOf(uint64_t a) { return (void *)(uintptr_t)a; }

// failsNow counts a call that can fail and says whether it does.
static bool failsNow(memSim *s) {
	if (++s->calls == s->cfg.failNth) {
		errno = ENOMEM;
		return true;
	}
	return false;
}

static bool setRange(memSim *s, uint64_t lo, uint64_t n, unsigned v) {
	if (memIntervals_set(s->map, lo, lo + n, (uint8_t)v)) {
		return true;
	}
	errno = ENOMEM;
	return false;
}

static bool rangeIsFree(const memSim *s, uint64_t lo, uint64_t n) {
	memInterval in = memIntervals_at(s->map, lo);
	return in.v == 0 && lo + n <= in.hi;
}

static uint64_t roundToPage(const memSim *s, uint64_t n) { return alignUp(n, s->cfg.physPageSize); }

static void *mapReal(void *v, uint64_t n, int prot, int flags) {
	if ((size_t)n != n) {
		return NULL;
	}
	void *p = mmap(v, (size_t)n, prot, MAP_ANONYMOUS | MAP_PRIVATE | MAP_NORESERVE | flags, -1, 0);
	return p == MAP_FAILED ? NULL : p;
}

static void unmapReal(void *v, uint64_t n) { munmap(v, (size_t)n); }

// mapAlignedReal maps n bytes of real memory at a multiple of the simulated page size.
static void *mapAlignedReal(const memSim *s, uint64_t n, int prot) {
	uint64_t align = s->cfg.physPageSize;
	unsigned char *p = mapReal(NULL, n + align, prot, 0);
	if (p == NULL) {
		return NULL;
	}
	uint64_t head = alignUp(addrOf(p), align) - addrOf(p);
	unsigned char *aligned = p + (size_t)head;
	if (head > 0) {
		unmapReal(p, head);
	}
	unmapReal(aligned + (size_t)n, align - head);
	return aligned;
}

// mapMeta maps real memory where the simulated address space is free; what falls on it is held until a better place was
// found.
static void *mapMeta(const memSim *s, uint64_t n, int prot, int tries) {
	void *p = mapAlignedReal(s, n, prot);
	if (p == NULL || rangeIsFree(s, addrOf(p), n)) {
		return p;
	}
	void *better = NULL;
	if (tries > 0) {
		better = mapMeta(s, n, prot, tries - 1);
	}
	unmapReal(p, n);
	return better;
}

// newMeta gives real memory of n bytes in the given state.
static void *newMeta(memSim *s, uint64_t n, memState state) {
	int prot = state == MEM_READY ? PROT_READ | PROT_WRITE : PROT_NONE;
	void *p = mapMeta(s, n, prot, simCollisions);
	if (p != NULL && !setRange(s, addrOf(p), n, (unsigned)state | SIM_META | SIM_REAL)) {
		unmapReal(p, n);
		p = NULL;
	}
	if (p == NULL) {
		errno = ENOMEM;
	}
	return p;
}

static bool sizeIsBad(uint64_t n) {
	if (n == 0) {
		errno = EINVAL;
		return true;
	}
	if (n > simLimit) {
		errno = ENOMEM;
		return true;
	}
	return false;
}

static void *sim_alloc(gomem_os *os, uintptr_t n) {
	memSim *s = lockSim(os);
	void *p = NULL;
	if (!failsNow(s) && !sizeIsBad(n)) {
		p = newMeta(s, roundToPage(s, n), MEM_READY);
	}
	unlockSim(s);
	return p;
}

// placeHeap reserves [addr, addr+n) of the simulated address space if it is free.
static bool placeHeap(memSim *s, uint64_t addr, uint64_t n) {
	if (addr == 0 || addr > simLimit - n || (addr & (s->cfg.physPageSize - 1)) != 0 || !rangeIsFree(s, addr, n)) {
		return false;
	}
	unsigned real = 0;
	if (s->cfg.backed) {
		void *p = mapReal(ptrOf(addr), n, PROT_NONE, 0);
		if (p == NULL) {
			return false;
		}
		if (p != ptrOf(addr)) {
			unmapReal(p, n);
			return false;
		}
		real = SIM_REAL;
	}
	if (setRange(s, addr, n, MEM_RESERVED | real)) {
		return true;
	}
	if (real != 0) {
		unmapReal(ptrOf(addr), n);
	}
	return false;
}

static void *noMemory(void) {
	errno = ENOMEM;
	return NULL;
}

// placeWhereReal leaves the choice to the real system: a sanitizer may have taken the simulated places.
static void *placeWhereReal(memSim *s, uint64_t n) {
	void *p = mapMeta(s, n, PROT_NONE, simCollisions);
	if (p == NULL) {
		return noMemory();
	}
	if (!setRange(s, addrOf(p), n, MEM_RESERVED | SIM_REAL)) {
		unmapReal(p, n);
		return NULL;
	}
	return p;
}

// placeAnywhere leaves one page free before each place, so that no place is aligned to more than a page by itself.
static void *placeAnywhere(memSim *s, uint64_t n) {
	for (int i = 0; i < simPlacements; i++) {
		uint64_t addr = s->next;
		if (addr > simLimit - n) {
			break;
		}
		if (placeHeap(s, addr, n)) {
			s->next = addr + n + s->cfg.physPageSize;
			return ptrOf(addr);
		}
		memInterval in = memIntervals_at(s->map, addr);
		uint64_t past = in.v != 0 ? in.hi : addr + n;
		s->next = alignUp(past, s->cfg.physPageSize) + s->cfg.physPageSize;
	}
	return s->cfg.backed ? placeWhereReal(s, n) : noMemory();
}

static void *reserveHeap(memSim *s, void *hint, uint64_t n) {
	bool moved = ++s->reservations == s->cfg.moveNth;
	if (hint != NULL && !moved && placeHeap(s, addrOf(hint), n)) {
		return hint;
	}
	return placeAnywhere(s, n);
}

static void *sim_reserve(gomem_os *os, void *hint, uintptr_t n, memUse use) {
	memSim *s = lockSim(os);
	void *p = NULL;
	if (!failsNow(s) && !sizeIsBad(n)) {
		uint64_t size = roundToPage(s, n);
		p = use == MEM_HEAP ? reserveHeap(s, hint, size) : newMeta(s, size, MEM_RESERVED);
	}
	unlockSim(s);
	return p;
}

// Bits of a set of states.
enum {
	IN_RESERVED = 1 << MEM_RESERVED,
	IN_PREPARED = 1 << MEM_PREPARED,
	IN_READY = 1 << MEM_READY,
};

// rangeKind gives what all of [lo, lo+n) is (SIM_META, SIM_REAL) if each byte is in one of the states; -1 if not.
static int rangeKind(const memSim *s, uint64_t lo, uint64_t n, unsigned states) {
	int kind = -1;
	for (uint64_t a = lo; a < lo + n;) {
		memInterval in = memIntervals_at(s->map, a);
		int k = in.v & ~SIM_STATE;
		if ((states >> (in.v & SIM_STATE) & 1) == 0 || (kind >= 0 && k != kind)) {
			kind = -1;
			break;
		}
		kind = k;
		a = in.hi;
	}
	if (kind < 0) {
		errno = EINVAL;
	}
	return kind;
}

static bool isAligned(const memSim *s, const void *v) {
	if ((addrOf(v) & (s->cfg.physPageSize - 1)) == 0) {
		return true;
	}
	errno = EINVAL;
	return false;
}

static bool doMap(memSim *s, void *v, uint64_t n) {
	if (failsNow(s) || !isAligned(s, v)) {
		return false;
	}
	n = roundToPage(s, n);
	int kind = rangeKind(s, addrOf(v), n, IN_RESERVED);
	if (kind < 0) {
		return false;
	}
	if (!memIntervals_reserve(s->map, 1)) {
		errno = ENOMEM;
		return false;
	}
	if ((kind & SIM_REAL) != 0 && mapReal(v, n, PROT_READ | PROT_WRITE, MAP_FIXED) == NULL) {
		return false;
	}
	return setRange(s, addrOf(v), n, (unsigned)kind | MEM_PREPARED);
}

static bool sim_map(gomem_os *os, void *v, uintptr_t n) {
	memSim *s = lockSim(os);
	bool ok = doMap(s, v, n);
	unlockSim(s);
	return ok;
}

// Only the pages asked for become Ready, also where the simulated page is larger: mem.h counts bytes.
static bool sim_used(gomem_os *os, void *v, uintptr_t n) {
	memSim *s = lockSim(os);
	bool ok = false;
	if (!failsNow(s)) {
		int kind = rangeKind(s, addrOf(v), n, IN_PREPARED | IN_READY);
		ok = kind >= 0 && setRange(s, addrOf(v), n, (unsigned)kind | MEM_READY);
	}
	unlockSim(s);
	return ok;
}

static bool doUnused(memSim *s, void *v, uint64_t n) {
	if (!isAligned(s, v) || roundToPage(s, n) != n) {
		errno = EINVAL;
		return false;
	}
	int kind = rangeKind(s, addrOf(v), n, IN_READY);
	if (kind < 0 || !setRange(s, addrOf(v), n, (unsigned)kind | MEM_PREPARED)) {
		return false;
	}
	if ((kind & SIM_REAL) != 0) {
		madvise(v, (size_t)n, MADV_DONTNEED);
	}
	return true;
}

static bool sim_unused(gomem_os *os, void *v, uintptr_t n) {
	memSim *s = lockSim(os);
	bool ok = doUnused(s, v, n);
	unlockSim(s);
	return ok;
}

static bool doFault(memSim *s, void *v, uint64_t n) {
	if (!isAligned(s, v)) {
		return false;
	}
	int kind = rangeKind(s, addrOf(v), n, IN_PREPARED | IN_READY);
	if (kind < 0 || !setRange(s, addrOf(v), n, (unsigned)kind | MEM_RESERVED)) {
		return false;
	}
	if ((kind & SIM_REAL) != 0) {
		const uintptr_t bytes = (uintptr_t)n;
		poison_forget((uintptr_t)v, bytes);
		mprotect(v, bytes, PROT_NONE);
		madvise(v, bytes, MADV_DONTNEED);
	}
	return true;
}

static bool sim_fault(gomem_os *os, void *v, uintptr_t n) {
	memSim *s = lockSim(os);
	bool ok = doFault(s, v, n);
	unlockSim(s);
	return ok;
}

static void freeReal(const memSim *s, uint64_t lo, uint64_t hi) {
	for (uint64_t a = lo; a < hi;) {
		memInterval in = memIntervals_at(s->map, a);
		uint64_t end = in.hi < hi ? in.hi : hi;
		if ((in.v & SIM_REAL) != 0) {
			if ((in.v & SIM_STATE) != MEM_RESERVED) {
				poison_forget((uintptr_t)a, (uintptr_t)(end - a));
			}
			unmapReal(ptrOf(a), end - a);
		}
		a = end;
	}
}

static bool isOccupied(const memSim *s, uint64_t lo, uint64_t hi) {
	for (uint64_t a = lo; a < hi;) {
		memInterval in = memIntervals_at(s->map, a);
		if ((in.v & SIM_OCCUPIED) != 0) {
			return true;
		}
		a = in.hi;
	}
	return false;
}

static bool doFree(memSim *s, void *v, uint64_t n) {
	n = roundToPage(s, n);
	uint64_t lo = addrOf(v);
	if (!isAligned(s, v) || isOccupied(s, lo, lo + n)) {
		errno = EINVAL;
		return false;
	}
	if (!memIntervals_reserve(s->map, 1)) {
		errno = ENOMEM;
		return false;
	}
	freeReal(s, lo, lo + n);
	return setRange(s, lo, n, MEM_NONE);
}

static bool sim_free(gomem_os *os, void *v, uintptr_t n) {
	memSim *s = lockSim(os);
	bool ok = doFree(s, v, n);
	unlockSim(s);
	return ok;
}

static void sim_hugePageHint(gomem_os *os, void *v, uintptr_t n) {
	(void)os;
	(void)v;
	(void)n;
}

static bool sim_hugePageCollapse(gomem_os *os, void *v, uintptr_t n) {
	(void)v;
	(void)n;
	return os->physHugePageSize != 0;
}

static void sim_destroy(gomem_os *os) {
	memSim *s = (memSim *)os;
	freeReal(s, 0, UINT64_MAX);
	memIntervals_free(s->map);
	pthread_mutex_destroy(&s->mu);
	free(s);
}

static bool configIsGood(const memSimConfig *c) {
	uintptr_t p = c->physPageSize, h = c->physHugePageSize;
	if (p < minPhysPageSize || p > maxSimPhysPageSize || (p & (p - 1)) != 0) {
		return false;
	}
	return (h & (h - 1)) == 0 && p >= (uintptr_t)sysconf(_SC_PAGESIZE);
}

static void fillOS(gomem_os *os, const memSimConfig *c) {
	*os = (gomem_os){
		.name = "sim",
		.physPageSize = c->physPageSize,
		.physHugePageSize = c->physHugePageSize,
		.backed = c->backed,
		.alloc = sim_alloc,
		.reserve = sim_reserve,
		.map = sim_map,
		.used = sim_used,
		.unused = sim_unused,
		.fault = sim_fault,
		.free = sim_free,
		.hugePage = sim_hugePageHint,
		.noHugePage = sim_hugePageHint,
		.hugePageCollapse = sim_hugePageCollapse,
		.destroy = sim_destroy,
	};
}

gomem_os *mem_sim_new(const memSimConfig *cfg) {
	memSimConfig c = cfg != NULL ? *cfg : (memSimConfig){0};
	if (c.physPageSize == 0) {
		c.physPageSize = minPhysPageSize;
	}
	memFaultConfig faults;
	if (c.failNth == 0 && c.moveNth == 0 && mem_fault_environment(&faults)) {
		c.failNth = faults.failNth;
		c.moveNth = faults.moveNth;
	}
	if (!configIsGood(&c)) {
		errno = EINVAL;
		return NULL;
	}
	memSim *s = calloc(1, sizeof *s);
	memIntervals *map = memIntervals_new();
	if (s == NULL || map == NULL || pthread_mutex_init(&s->mu, NULL) != 0) {
		memIntervals_free(map);
		free(s);
		errno = ENOMEM;
		return NULL;
	}
	s->map = map;
	s->cfg = c;
	s->next = simFirst + c.physPageSize;
	fillOS(&s->os, &c);
	return &s->os;
}

memState mem_sim_state(const gomem_os *os, uintptr_t addr) {
	memSim *s = lockSim(os);
	memState r = (memState)(memIntervals_at(s->map, addr).v & SIM_STATE);
	unlockSim(s);
	return r;
}

uint64_t mem_sim_bytes(const gomem_os *os, memUse use, memState state) {
	memSim *s = lockSim(os);
	uint64_t sum = 0;
	for (uint64_t a = 0; a < UINT64_MAX;) {
		memInterval in = memIntervals_at(s->map, a);
		memUse u = (in.v & SIM_META) != 0 ? MEM_META : MEM_HEAP;
		if ((memState)(in.v & SIM_STATE) == state && (state == MEM_NONE || u == use)) {
			sum += in.hi - in.lo;
		}
		a = in.hi;
	}
	unlockSim(s);
	return sum;
}

uint64_t mem_sim_calls(const gomem_os *os) {
	memSim *s = lockSim(os);
	uint64_t n = s->calls;
	unlockSim(s);
	return n;
}

bool mem_sim_occupy(gomem_os *os, uintptr_t addr, uintptr_t n) {
	memSim *s = lockSim(os);
	bool ok = n > 0 && rangeIsFree(s, addr, n) && setRange(s, addr, n, SIM_OCCUPIED);
	unlockSim(s);
	return ok;
}
