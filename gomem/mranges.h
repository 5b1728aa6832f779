// mranges.h (layer 2): address ranges and ordered sets of them. Ports mranges.go.
//
// An offset address orders addresses by (a - arenaBaseOffset), so that the address space is linear on every platform.
// Invariants of addrRanges: sorted by base, pairwise disjoint, not even adjacent; totalBytes == sum of sizes.
#ifndef GOMEM_MRANGES_H
#define GOMEM_MRANGES_H

#include "gomem/platform.h"

typedef struct offAddr {
	uintptr_t a;
} offAddr;

static inline offAddr minOffAddr(const gomem_layout *L) { return (offAddr){(uintptr_t)L->arenaBaseOffset}; }
static inline offAddr maxOffAddr(const gomem_layout *L) {
	return (offAddr){(uintptr_t)((((uint64_t)1 << L->heapAddrBits) - 1) + L->arenaBaseOffset)};
}
static inline offAddr offAddr_add(offAddr l, uintptr_t n) { return (offAddr){l.a + n}; }
static inline offAddr offAddr_sub(offAddr l, uintptr_t n) { return (offAddr){l.a - n}; }
static inline uintptr_t offAddr_diff(offAddr l, offAddr r) { return l.a - r.a; }
static inline bool offAddr_lessThan(const gomem_layout *L, offAddr l, offAddr r) {
	return l.a - (uintptr_t)L->arenaBaseOffset < r.a - (uintptr_t)L->arenaBaseOffset;
}
static inline bool offAddr_lessEqual(const gomem_layout *L, offAddr l, offAddr r) {
	return l.a - (uintptr_t)L->arenaBaseOffset <= r.a - (uintptr_t)L->arenaBaseOffset;
}
static inline bool offAddr_equal(offAddr l, offAddr r) { return l.a == r.a; }

// An address that threads move atomically; a negative value is an unmarked address, as in Go.
typedef struct atomicOffAddr {
	_Atomic(int64_t) a;
} atomicOffAddr;
void atomicOffAddr_Clear(const gomem_layout *L, atomicOffAddr *b);
void atomicOffAddr_StoreMin(const gomem_layout *L, atomicOffAddr *b, uintptr_t addr);
void atomicOffAddr_StoreUnmark(const gomem_layout *L, atomicOffAddr *b, uintptr_t markedAddr, uintptr_t newAddr);
void atomicOffAddr_StoreMarked(const gomem_layout *L, atomicOffAddr *b, uintptr_t addr);
uintptr_t atomicOffAddr_Load(const gomem_layout *L, atomicOffAddr *b, bool *marked);

// [base, limit)
typedef struct addrRange {
	offAddr base, limit;
} addrRange;
addrRange makeAddrRange(gomem_env *env, uintptr_t base, uintptr_t limit);
uintptr_t addrRange_size(const gomem_layout *L, addrRange a);
bool addrRange_contains(const gomem_layout *L, addrRange a, uintptr_t addr);
addrRange addrRange_subtract(gomem_env *env, addrRange a, addrRange b);
bool addrRange_takeFromFront(const gomem_layout *L, addrRange *a, uintptr_t len, uint8_t align, uintptr_t *out);
bool addrRange_takeFromBack(const gomem_layout *L, addrRange *a, uintptr_t len, uint8_t align, uintptr_t *out);
addrRange addrRange_removeGreaterEqual(gomem_env *env, addrRange a, uintptr_t addr);

// Go's layout: a slice of ranges, its total, its statistic.
typedef struct addrRanges {
	addrRange *ranges;
	intptr_t len, cap;
	uintptr_t totalBytes;
	sysMemStat *sysStat;
} addrRanges;
bool addrRanges_init(
	gomem_env *env, addrRanges *a, sysMemStat *sysStat); // false: out of memory, as for add and cloneInto
intptr_t addrRanges_findSucc(gomem_env *env, const addrRanges *a, uintptr_t addr);
bool addrRanges_findAddrGreaterEqual(gomem_env *env, const addrRanges *a, uintptr_t addr, uintptr_t *out);
bool addrRanges_contains(gomem_env *env, const addrRanges *a, uintptr_t addr);
bool addrRanges_add(gomem_env *env, addrRanges *a, addrRange r);
addrRange addrRanges_removeLast(gomem_env *env, addrRanges *a, uintptr_t nBytes);
void addrRanges_removeGreaterEqual(gomem_env *env, addrRanges *a, uintptr_t addr);
bool addrRanges_cloneInto(gomem_env *env, const addrRanges *a, addrRanges *b);
// addrRanges_check throws if an invariant at the head of this file does not hold.
void addrRanges_check(gomem_env *env, const addrRanges *a);

#endif
