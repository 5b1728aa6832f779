// mranges.c (layer 2): address ranges and ordered sets of them. Ports mranges.go.
//
// Invariants: as in mranges.h, tested by addrRanges_check. The old array of a set that grew leaks; capacities double,
// so that the waste is bounded by what is in use.
#include "gomem/mranges.h"

#include "gomem/persistentalloc.h"

enum {
	initialCap = 16,
	linearSearchMax = 8, // candidates left when binary search gives way to a linear one
};

static uintptr_t baseOffset(const gomem_layout *L) { return (uintptr_t)L->arenaBaseOffset; }

addrRange makeAddrRange(gomem_env *env, uintptr_t base, uintptr_t limit) {
	uintptr_t off = baseOffset(layout_get(env));
	if ((base - off >= base) != (limit - off >= limit)) {
		gomem_throw(env, "addr range base and limit are not in the same memory segment");
	}
	return (addrRange){{base}, {limit}};
}

uintptr_t addrRange_size(const gomem_layout *L, addrRange a) {
	return offAddr_lessThan(L, a.base, a.limit) ? offAddr_diff(a.limit, a.base) : 0;
}

bool addrRange_contains(const gomem_layout *L, addrRange a, uintptr_t addr) {
	return offAddr_lessEqual(L, a.base, (offAddr){addr}) && offAddr_lessThan(L, (offAddr){addr}, a.limit);
}

addrRange addrRange_subtract(gomem_env *env, addrRange a, addrRange b) {
	const gomem_layout *L = layout_get(env);
	if (offAddr_lessEqual(L, b.base, a.base) && offAddr_lessEqual(L, a.limit, b.limit)) {
		return (addrRange){{0}, {0}};
	}
	if (offAddr_lessThan(L, a.base, b.base) && offAddr_lessThan(L, b.limit, a.limit)) {
		gomem_throw(env, "bad prune");
	}
	if (offAddr_lessThan(L, b.limit, a.limit) && offAddr_lessThan(L, a.base, b.limit)) {
		a.base = b.limit;
	} else if (offAddr_lessThan(L, a.base, b.base) && offAddr_lessThan(L, b.base, a.limit)) {
		a.limit = b.base;
	}
	return a;
}

bool addrRange_takeFromFront(const gomem_layout *L, addrRange *a, uintptr_t len, uint8_t align, uintptr_t *out) {
	(void)L;
	uintptr_t base = (uintptr_t)alignUp(a->base.a, align) + len;
	if (base > a->limit.a) {
		return false;
	}
	a->base = (offAddr){base};
	*out = base - len;
	return true;
}

bool addrRange_takeFromBack(const gomem_layout *L, addrRange *a, uintptr_t len, uint8_t align, uintptr_t *out) {
	(void)L;
	uintptr_t limit = (uintptr_t)alignDown(a->limit.a - len, align);
	if (a->base.a > limit) {
		return false;
	}
	a->limit = (offAddr){limit};
	*out = limit;
	return true;
}

addrRange addrRange_removeGreaterEqual(gomem_env *env, addrRange a, uintptr_t addr) {
	const gomem_layout *L = layout_get(env);
	if (offAddr_lessEqual(L, (offAddr){addr}, a.base)) {
		return (addrRange){{0}, {0}};
	}
	if (offAddr_lessEqual(L, a.limit, (offAddr){addr})) {
		return a;
	}
	return makeAddrRange(env, a.base.a, addr);
}

static int64_t toBox(const gomem_layout *L, uintptr_t addr) { return (int64_t)(addr - baseOffset(L)); }

void atomicOffAddr_Clear(const gomem_layout *L, atomicOffAddr *b) {
	int64_t lowest = toBox(L, minOffAddr(L).a);
	int64_t old = atomic_load(&b->a);
	while (old >= 0 && !atomic_compare_exchange_weak(&b->a, &old, lowest)) {
	}
}

void atomicOffAddr_StoreMin(const gomem_layout *L, atomicOffAddr *b, uintptr_t addr) {
	int64_t v = toBox(L, addr);
	int64_t old = atomic_load(&b->a);
	while (old >= v && !atomic_compare_exchange_weak(&b->a, &old, v)) {
	}
}

void atomicOffAddr_StoreUnmark(const gomem_layout *L, atomicOffAddr *b, uintptr_t markedAddr, uintptr_t newAddr) {
	int64_t old = -toBox(L, markedAddr);
	atomic_compare_exchange_strong(&b->a, &old, toBox(L, newAddr));
}

void atomicOffAddr_StoreMarked(const gomem_layout *L, atomicOffAddr *b, uintptr_t addr) {
	atomic_store(&b->a, -toBox(L, addr));
}

uintptr_t atomicOffAddr_Load(const gomem_layout *L, atomicOffAddr *b, bool *marked) {
	int64_t v = atomic_load(&b->a);
	*marked = v < 0;
	return (uintptr_t)(v < 0 ? -v : v) + baseOffset(L);
}

static addrRange *allocRanges(gomem_env *env, intptr_t cap, sysMemStat *stat) {
	return persistentalloc(env, sizeof(addrRange) * (uintptr_t)cap, sizeof(void *), stat);
}

static void copyRanges(addrRange *to, const addrRange *from, intptr_t n) {
	if (n > 0) { // an empty set may have no memory, and memmove must not be given NULL
		memmove(to, from, (uintptr_t)n * sizeof(addrRange));
	}
}

bool addrRanges_init(gomem_env *env, addrRanges *a, sysMemStat *sysStat) {
	*a = (addrRanges){.ranges = allocRanges(env, initialCap, sysStat), .sysStat = sysStat};
	a->cap = a->ranges != NULL ? initialCap : 0;
	return a->ranges != NULL;
}

intptr_t addrRanges_findSucc(gomem_env *env, const addrRanges *a, uintptr_t addr) {
	const gomem_layout *L = layout_get(env);
	offAddr base = {addr};
	intptr_t bot = 0, top = a->len;
	while (top - bot > linearSearchMax) {
		intptr_t i = (bot + top) / 2;
		if (addrRange_contains(L, a->ranges[i], addr)) {
			return i + 1;
		}
		if (offAddr_lessThan(L, base, a->ranges[i].base)) {
			top = i; // perhaps the successor, unless one before it is
		} else {
			bot = i + 1;
		}
	}
	while (bot < top && !offAddr_lessThan(L, base, a->ranges[bot].base)) {
		bot++;
	}
	return bot;
}

bool addrRanges_findAddrGreaterEqual(gomem_env *env, const addrRanges *a, uintptr_t addr, uintptr_t *out) {
	intptr_t i = addrRanges_findSucc(env, a, addr);
	if (i > 0 && addrRange_contains(layout_get(env), a->ranges[i - 1], addr)) {
		*out = addr;
		return true;
	}
	if (i < a->len) {
		*out = a->ranges[i].base.a;
		return true;
	}
	return false;
}

bool addrRanges_contains(gomem_env *env, const addrRanges *a, uintptr_t addr) {
	intptr_t i = addrRanges_findSucc(env, a, addr);
	return i > 0 && addrRange_contains(layout_get(env), a->ranges[i - 1], addr);
}

// insertRange makes r the i-th range. false: out of memory.
static bool insertRange(gomem_env *env, addrRanges *a, intptr_t i, addrRange r) {
	addrRange *to = a->ranges;
	if (a->len + 1 > a->cap) {
		to = allocRanges(env, a->cap * 2, a->sysStat);
		if (to == NULL) {
			return false;
		}
		copyRanges(to, a->ranges, i);
		a->cap *= 2;
	}
	copyRanges(&to[i + 1], &a->ranges[i], a->len - i);
	to[i] = r;
	a->ranges = to;
	a->len++;
	return true;
}

static void deleteRange(addrRanges *a, intptr_t i) {
	copyRanges(&a->ranges[i], &a->ranges[i + 1], a->len - i - 1);
	a->len--;
}

bool addrRanges_add(gomem_env *env, addrRanges *a, addrRange r) {
	uintptr_t size = addrRange_size(layout_get(env), r);
	if (size == 0) {
		gomem_throw(env, "attempted to add zero-sized address range");
	}
	intptr_t i = addrRanges_findSucc(env, a, r.base.a);
	bool coalescesDown = i > 0 && offAddr_equal(a->ranges[i - 1].limit, r.base);
	bool coalescesUp = i < a->len && offAddr_equal(r.limit, a->ranges[i].base);
	if (coalescesUp && coalescesDown) {
		a->ranges[i - 1].limit = a->ranges[i].limit;
		deleteRange(a, i);
	} else if (coalescesDown) {
		a->ranges[i - 1].limit = r.limit;
	} else if (coalescesUp) {
		a->ranges[i].base = r.base;
	} else if (!insertRange(env, a, i, r)) {
		return false;
	}
	a->totalBytes += size;
	return true;
}

addrRange addrRanges_removeLast(gomem_env *env, addrRanges *a, uintptr_t nBytes) {
	if (a->len == 0) {
		return (addrRange){{0}, {0}};
	}
	addrRange r = a->ranges[a->len - 1];
	uintptr_t size = addrRange_size(layout_get(env), r);
	if (size > nBytes) {
		offAddr newEnd = offAddr_sub(r.limit, nBytes);
		a->ranges[a->len - 1].limit = newEnd;
		a->totalBytes -= nBytes;
		return (addrRange){newEnd, r.limit};
	}
	a->len--;
	a->totalBytes -= size;
	return r;
}

void addrRanges_removeGreaterEqual(gomem_env *env, addrRanges *a, uintptr_t addr) {
	const gomem_layout *L = layout_get(env);
	intptr_t pivot = addrRanges_findSucc(env, a, addr);
	for (intptr_t i = pivot; i < a->len; i++) {
		a->totalBytes -= addrRange_size(L, a->ranges[i]);
	}
	a->len = pivot;
	if (pivot == 0 || !addrRange_contains(L, a->ranges[pivot - 1], addr)) {
		return;
	}
	addrRange *last = &a->ranges[pivot - 1];
	a->totalBytes -= addrRange_size(L, *last);
	*last = addrRange_removeGreaterEqual(env, *last, addr);
	uintptr_t left = addrRange_size(L, *last);
	a->totalBytes += left;
	if (left == 0) {
		a->len--;
	}
}

bool addrRanges_cloneInto(gomem_env *env, const addrRanges *a, addrRanges *b) {
	if (a->len > b->cap) {
		addrRange *ranges = allocRanges(env, a->cap, b->sysStat);
		if (ranges == NULL) {
			return false;
		}
		b->ranges = ranges;
		b->cap = a->cap;
	}
	b->len = a->len;
	b->totalBytes = a->totalBytes;
	copyRanges(b->ranges, a->ranges, a->len);
	return true;
}

void addrRanges_check(gomem_env *env, const addrRanges *a) {
	const gomem_layout *L = layout_get(env);
	uintptr_t total = 0;
	if (a->len < 0 || a->len > a->cap) {
		gomem_throw(env, "addrRanges: 0 <= len <= cap");
	}
	for (intptr_t i = 0; i < a->len; i++) {
		uintptr_t size = addrRange_size(L, a->ranges[i]);
		if (size == 0) {
			gomem_throw(env, "addrRanges: empty range");
		}
		if (i > 0 && !offAddr_lessThan(L, a->ranges[i - 1].limit, a->ranges[i].base)) {
			gomem_throw(env, "addrRanges: not sorted, disjoint and apart");
		}
		total += size;
	}
	if (total != a->totalBytes) {
		gomem_throw(env, "addrRanges: totalBytes == sum of sizes");
	}
}
