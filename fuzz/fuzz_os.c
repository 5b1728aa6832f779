// fuzz_os.c: see fuzz_os.h.
//
//   metadata   bumped from one range, never given back before the next begin; zeroed then
//   heap       unbacked: addresses only. Backed: windows of real memory at fixed places; what was made Ready is zeroed and forbidden to
//              sanitizers when it is given back, at the latest at begin. Each window is opened as far as any run has mapped it
//   linear     metadata and heap from one window, as far as any run has raised the break; its pages go back at begin
#include "fuzz/fuzz_os.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "fuzz/fuzz.h"
#include "oracle/linear.h"

enum {
	maxCalls = 1 << 14,
	maxHeapRanges = 4096,
	numWindows = !fuzzWideWords ? 2
		: poisonUndefines       ? 4
								: 5,
	maxPieces = 32
};
static const uint64_t metaBytes = (uint64_t)1 << (fuzzWideWords ? 37 : 28);
static const uint64_t metaSmall = 256 << 10; // larger blocks, of which little is used, come from the upper half
static const uint64_t pieceGap = 64 << 10;
static const uint64_t zeroByHand = 256 << 10;
static const uint64_t windowBytes = fuzzWideWords ? (uint64_t)1 << 32 : 0x30000000;
static const uint64_t windowStep = (uint64_t)1 << 38; // from one of Go's hints to the next
// Where moved reservations go.
static const uint64_t elsewhere = !fuzzWideWords ? 0xb0000000u : poisonUndefines ? 0x2000000000u : 0x280000000000u;

typedef struct range {
	uint64_t lo, hi;
} range;
static const range nothing = {UINT64_MAX, 0};

// A few ranges that cover what was added to them: what is closer than pieceGap is one, and if there are too many, the last grows.
typedef struct pieces {
	range r[maxPieces];
	unsigned n;
} pieces;

static uint64_t addrOf(const void *v) { return (uint64_t)(uintptr_t)v; }
static range rangeOf(const void *v, uint64_t n) { return (range){addrOf(v), addrOf(v) + n}; }
static range hull(range a, range b) { return (range){a.lo < b.lo ? a.lo : b.lo, a.hi > b.hi ? a.hi : b.hi}; }
static range common(range a, range b) { return (range){a.lo > b.lo ? a.lo : b.lo, a.hi < b.hi ? a.hi : b.hi}; }

// The one system: its memory is the process's.
static struct {
	gomem_os os;
	fuzz_os_config cfg;
	unsigned char *meta;
	uint64_t small, big;       // next free byte of either half
	pieces dirtyMeta;          // of the upper half
	uint64_t metaHeld;         // bytes given out and not given back
	range heap[maxHeapRanges]; // reserved heap ranges, unordered
	unsigned nheap;
	uint64_t next;            // of elsewhere
	range open[numWindows];   // accessible, and but for dirty, zero and forbidden; for the whole life of the process
	pieces dirty[numWindows]; // was made Ready since begin
	uint64_t calls, failFrom, failTo, failed;
	uint64_t reservations, moveFrom, moveTo;
	fuzz_os_call log[maxCalls];
	size_t nlog;
	unsigned caller;
	memLinear linear;
	uint64_t linearOpen[2]; // not wide, wide: accessible up to here, for the whole life of the process
	gomem_os *brk;          // what serves where memory comes from a break, else NULL
	oracle_linear *want;    // the same by its rule
	uint64_t placed;
} sys;

static void die(const char *what) {
	perror(what);
	exit(2);
}

static uint64_t windowBase(unsigned w) { return w + 1 < numWindows ? FUZZ_OS_BASE + w * windowStep : elsewhere; }

// windowOf gives the window that holds [lo, hi), or numWindows.
static unsigned windowOf(uint64_t lo, uint64_t hi) {
	unsigned w = 0;
	while (w < numWindows && (lo < windowBase(w) || hi > windowBase(w) + windowBytes)) {
		w++;
	}
	return w;
}

static void *mapAt(uint64_t addr, uint64_t n, int prot) {
	const int flags = MAP_ANONYMOUS | MAP_PRIVATE | MAP_NORESERVE | (addr != 0 ? MAP_FIXED_NOREPLACE : 0);
	void *p = mmap((void *)(uintptr_t)addr, (size_t)n, prot, flags, -1, 0);
	return p == MAP_FAILED ? NULL : p;
}

static range linearOf(bool wide) {
	return wide ? (range){FUZZ_OS_WIDE, FUZZ_OS_WIDE + FUZZ_OS_WIDE_BYTES}
				: (range){FUZZ_OS_LINEAR, FUZZ_OS_LINEAR_END};
}

static void mapOnce(void) {
	if (sys.meta != NULL) {
		return;
	}
	sys.meta = mapAt(0, metaBytes, PROT_READ | PROT_WRITE);
	if (sys.meta == NULL) {
		die("fuzz_os: no address space for metadata");
	}
	// One physical page of any size divides the beginning.
	sys.meta += alignUp((uintptr_t)sys.meta, 1 << 21) - (uintptr_t)sys.meta;
	for (unsigned w = 0; w < numWindows; w++) {
		if (mapAt(windowBase(w), windowBytes, PROT_NONE) == NULL) {
			die("fuzz_os: no address space for the heap");
		}
		sys.open[w] = nothing;
	}
	for (unsigned wide = 0; wide < 2; wide++) {
		const range r = linearOf(wide != 0);
		if (mapAt(r.lo, r.hi - r.lo, PROT_NONE) == NULL) {
			die("fuzz_os: no address space for linear memory");
		}
		sys.linearOpen[wide] = r.lo;
	}
}

static bool isMeta(const void *v) {
	return (const unsigned char *)v >= sys.meta && (const unsigned char *)v < sys.meta + metaBytes;
}

static void logCall(fuzz_os_kind kind, uint64_t addr, uint64_t n, uint64_t got) {
	if (sys.nlog < maxCalls) {
		sys.log[sys.nlog++] = (fuzz_os_call){kind, addr, n, got, sys.caller};
	}
}

static bool failsNow(void) {
	sys.calls++;
	if (sys.failFrom == 0 || sys.calls < sys.failFrom || sys.calls > sys.failTo) {
		return false;
	}
	sys.failed++;
	errno = ENOMEM;
	return true;
}

static uint64_t roundUp(uint64_t n) { return alignUp(n, sys.cfg.physPageSize); }

// ---- what has to be zeroed

static void addDirty(pieces *p, range r) {
	range *d = p->r;
	unsigned i = 0;
	while (i < p->n && (r.lo > d[i].hi + pieceGap || d[i].lo > r.hi + pieceGap)) {
		i++;
	}
	if (i == maxPieces) {
		i--;
	} else if (i == p->n) {
		d[i] = nothing;
		p->n++;
	}
	d[i] = hull(d[i], r);
}

// Page faults cost more than writing zeros, unless little of the range was ever touched.
static void zero(range r) {
	void *v = (void *)(uintptr_t)r.lo;
	if (r.hi - r.lo <= zeroByHand) {
		memset(v, 0, (size_t)(r.hi - r.lo));
	} else {
		madvise(v, (size_t)(r.hi - r.lo), MADV_DONTNEED);
		poison_defined((uintptr_t)r.lo, (uintptr_t)(r.hi - r.lo));
	}
}

// ---- metadata

// takeMeta gives n bytes of a half: what is small is cleared whole, of the rest only what was dirtied.
static void *takeMeta(uint64_t n, bool reserved) {
	n = roundUp(n);
	uint64_t *next = !reserved && n <= metaSmall ? &sys.small : &sys.big;
	if (*next + n > (next == &sys.small ? metaBytes / 2 : metaBytes - (1 << 21))) {
		errno = ENOMEM;
		return NULL;
	}
	unsigned char *p = sys.meta + *next;
	*next += n;
	sys.metaHeld += n;
	if (!reserved && next == &sys.big) {
		addDirty(&sys.dirtyMeta, rangeOf(p, n));
	}
	return p;
}

static void clearMeta(void) {
	memset(sys.meta, 0, (size_t)sys.small);
	for (unsigned i = 0; i < sys.dirtyMeta.n; i++) {
		zero(sys.dirtyMeta.r[i]);
	}
	sys.dirtyMeta.n = 0;
	sys.metaHeld = 0;
	sys.small = 0;
	sys.big = metaBytes / 2;
}

// ---- heap address space

static bool isFree(uint64_t lo, uint64_t hi) {
	for (unsigned i = 0; i < sys.nheap; i++) {
		if (lo < sys.heap[i].hi && sys.heap[i].lo < hi) {
			return false;
		}
	}
	return true;
}

static bool place(uint64_t lo, uint64_t n) {
	if (lo == 0 || lo + n < lo || lo < sys.cfg.lowest || lo + n > sys.cfg.highest ||
		(lo & (sys.cfg.physPageSize - 1)) != 0 || sys.nheap == maxHeapRanges || !isFree(lo, lo + n)) {
		return false;
	}
	if (lo < addrOf(sys.meta) + metaBytes && addrOf(sys.meta) < lo + n) {
		return false;
	}
	if (sys.cfg.backed && windowOf(lo, lo + n) == numWindows) {
		return false;
	}
	sys.heap[sys.nheap++] = (range){lo, lo + n};
	return true;
}

// firstElsewhere: in a smaller address space, the upper half.
static uint64_t firstElsewhere(void) {
	const uint64_t gap = sys.cfg.physPageSize;
	const bool wide = sys.cfg.lowest <= elsewhere && elsewhere < sys.cfg.highest;
	return (wide ? elsewhere : sys.cfg.lowest + (sys.cfg.highest - sys.cfg.lowest) / 2) + gap;
}

// placeElsewhere goes on behind the last such place, and begins anew where that ends: what was given back is free again. 0: no room.
static uint64_t placeElsewhere(uint64_t n) {
	const uint64_t gap = sys.cfg.physPageSize; // stays free before each place, so that none is aligned by chance
	for (int rounds = 0; rounds < 2; rounds++) {
		while (!isFree(sys.next, sys.next + n)) {
			sys.next += gap + n;
		}
		const uint64_t at = sys.next;
		if (place(at, n)) {
			sys.next = at + n + gap;
			return at;
		}
		sys.next = firstElsewhere();
	}
	return 0;
}

static void *reserveHeap(uint64_t hint, uint64_t n) {
	sys.reservations++;
	const bool moved = sys.reservations >= sys.moveFrom && sys.reservations < sys.moveTo;
	if (!moved && place(hint, n)) {
		return (void *)(uintptr_t)hint;
	}
	const uint64_t at = placeElsewhere(n);
	if (at == 0) {
		sys.failed++;
		errno = ENOMEM;
	}
	return (void *)(uintptr_t)at;
}

// release takes [lo, hi) out of the reserved ranges.
static void release(uint64_t lo, uint64_t hi) {
	for (unsigned i = 0; i < sys.nheap;) {
		const range r = sys.heap[i];
		if (lo >= r.hi || r.lo >= hi) {
			i++;
			continue;
		}
		sys.heap[i] = sys.heap[--sys.nheap];
		if (r.lo < lo && sys.nheap < maxHeapRanges) {
			sys.heap[sys.nheap++] = (range){r.lo, lo};
		}
		if (hi < r.hi && sys.nheap < maxHeapRanges) {
			sys.heap[sys.nheap++] = (range){hi, r.hi};
		}
	}
}

// openWindow makes a range of window w accessible, but nobody's.
static void openWindow(unsigned w, range r) {
	const range old = sys.open[w], all = hull(old, r);
	if (old.lo <= r.lo && r.hi <= old.hi) {
		return;
	}
	if (mprotect((void *)(uintptr_t)all.lo, (size_t)(all.hi - all.lo), PROT_READ | PROT_WRITE) != 0) {
		die("fuzz_os: a window cannot be opened");
	}
	if (old.hi == 0) {
		poison_forbid((uintptr_t)all.lo, (uintptr_t)(all.hi - all.lo));
	} else {
		poison_forbid((uintptr_t)all.lo, (uintptr_t)(old.lo - all.lo));
		poison_forbid((uintptr_t)old.hi, (uintptr_t)(all.hi - old.hi));
	}
	sys.open[w] = all;
}

// wipe makes a range of a window as if it had never been Ready.
static void wipe(range r) {
	if (r.lo < r.hi) {
		poison_allow((uintptr_t)r.lo, (uintptr_t)(r.hi - r.lo));
		zero(r);
		poison_forbid((uintptr_t)r.lo, (uintptr_t)(r.hi - r.lo));
	}
}

// giveBack: what was made Ready of [lo, hi) is zero and forbidden again.
static void giveBack(uint64_t lo, uint64_t hi) {
	const unsigned w = windowOf(lo, hi);
	if (!sys.cfg.backed || w == numWindows) {
		return;
	}
	range *d = sys.dirty[w].r;
	for (unsigned i = 0; i < sys.dirty[w].n;) {
		wipe(common(d[i], (range){lo, hi}));
		if (lo <= d[i].lo && d[i].hi <= hi) {
			d[i] = d[--sys.dirty[w].n];
		} else {
			i++;
		}
	}
}

static void clearHeap(void) {
	for (unsigned w = 0; w < numWindows; w++) {
		for (unsigned i = 0; i < sys.dirty[w].n; i++) {
			wipe(sys.dirty[w].r[i]);
		}
		sys.dirty[w].n = 0;
	}
	sys.nheap = 0;
	sys.next = firstElsewhere();
}

// ---- the system's functions

static void *os_alloc(gomem_os *os, uintptr_t n) {
	(void)os;
	return failsNow() ? NULL : takeMeta(n, false);
}

static void *os_reserve(gomem_os *os, void *hint, uintptr_t n, memUse use) {
	(void)os;
	if (use == MEM_META) {
		return failsNow() ? NULL : takeMeta(n, true);
	}
	void *p = failsNow() ? NULL : reserveHeap(addrOf(hint), roundUp(n));
	logCall(FUZZ_OS_RESERVE, addrOf(hint), n, addrOf(p));
	return p;
}

static bool os_map(gomem_os *os, void *v, uintptr_t n) {
	(void)os;
	const bool ok = !failsNow();
	if (isMeta(v)) {
		addDirty(&sys.dirtyMeta, rangeOf(v, n));
		return ok;
	}
	const unsigned w = windowOf(addrOf(v), addrOf(v) + n);
	if (ok && sys.cfg.backed && w < numWindows) {
		openWindow(w, rangeOf(v, n));
	}
	logCall(FUZZ_OS_MAP, addrOf(v), n, ok);
	return ok;
}

static bool os_used(gomem_os *os, void *v, uintptr_t n) {
	(void)os;
	const bool ok = !failsNow();
	if (isMeta(v)) {
		return ok;
	}
	const unsigned w = windowOf(addrOf(v), addrOf(v) + n);
	if (ok && sys.cfg.backed && w < numWindows) {
		addDirty(&sys.dirty[w], rangeOf(v, n));
	}
	logCall(FUZZ_OS_USED, addrOf(v), n, ok);
	return ok;
}

static bool os_unused(gomem_os *os, void *v, uintptr_t n) {
	if (((addrOf(v) | n) & (os->physPageSize - 1)) != 0) {
		errno = EINVAL;
		return false;
	}
	if (!isMeta(v)) {
		if (!os->unusedKeepsContents) {
			giveBack(addrOf(v), addrOf(v) + n);
		}
		logCall(FUZZ_OS_UNUSED, addrOf(v), n, 1);
	}
	return true;
}

static bool os_fault(gomem_os *os, void *v, uintptr_t n) {
	(void)os;
	if (isMeta(v)) {
		zero(rangeOf(v, n)); // the next map must find zeros
		return true;
	}
	giveBack(addrOf(v), addrOf(v) + n);
	logCall(FUZZ_OS_FAULT, addrOf(v), n, 1);
	return true;
}

static bool os_free(gomem_os *os, void *v, uintptr_t n) {
	(void)os;
	if (isMeta(v)) {
		sys.metaHeld -= roundUp(n);
	} else {
		giveBack(addrOf(v), addrOf(v) + n);
		release(addrOf(v), addrOf(v) + roundUp(n));
		logCall(FUZZ_OS_UNRESERVE, addrOf(v), n, 1);
	}
	return true;
}

static void os_hugePage(gomem_os *os, void *v, uintptr_t n) {
	(void)os;
	(void)v;
	(void)n;
}

static bool os_collapse(gomem_os *os, void *v, uintptr_t n) {
	(void)v;
	(void)n;
	return os->physHugePageSize != 0;
}

GOMEM_UNCHECKED static bool isZero(range r) {
	uint64_t any = 0;
	for (uint64_t at = r.lo; at < r.hi; at += sizeof(uint64_t)) {
		any |= *(const uint64_t *)(uintptr_t)at;
	}
	return any == 0;
}

// os_populate: heap memory that is mapped; and what is not wanted after all, was never used.
static void os_populate(gomem_os *os, void *v, uintptr_t n, bool wanted) {
	(void)os;
	const range r = rangeOf(v, n);
	const unsigned w = windowOf(r.lo, r.hi);
	fuzz_check(w < numWindows && sys.open[w].lo <= r.lo && r.hi <= sys.open[w].hi, "what is populated is mapped");
	fuzz_check(wanted || isZero(r), "what is not wanted was never used");
}

// ---- memory from a break

static bool linear_grow(memLinear *m, uintptr_t brk) {
	uint64_t *open = &sys.linearOpen[sys.cfg.wide];
	if (brk > linearOf(sys.cfg.wide).hi) {
		errno = ENOMEM;
		return false;
	}
	if (brk > *open) {
		if (mprotect((void *)(uintptr_t)*open, (size_t)(brk - *open), PROT_READ | PROT_WRITE) != 0) {
			die("fuzz_os: linear memory cannot be opened");
		}
		*open = brk;
	}
	m->brk = brk;
	return true;
}

// linear_destroy: all that the break passed is as if new.
static void linear_destroy(memLinear *m) { zero((range){m->start, m->brk}); }

static bool isHeap(const void *v) {
	for (unsigned i = 0; i < sys.nheap; i++) {
		if (addrOf(v) >= sys.heap[i].lo && addrOf(v) < sys.heap[i].hi) {
			return true;
		}
	}
	return false;
}

// placed compares where something stands with the rule. What there is no room for counts as a call that failed.
static void *placed(void *p, uint64_t want, bool mustFit) {
	fuzz_equal("where memory from a break stands", addrOf(p), want);
	sys.placed++;
	sys.failed += p == NULL && mustFit;
	return p;
}

static void addHeap(void *p, uint64_t n) {
	if (p != NULL && sys.nheap < maxHeapRanges) {
		sys.heap[sys.nheap++] = rangeOf(p, roundUp(n));
	}
}

static void *brk_alloc(gomem_os *os, uintptr_t n) {
	(void)os;
	return failsNow() ? NULL : placed(sys.brk->alloc(sys.brk, n), oracle_linear_alloc(sys.want, n), true);
}

static void *brk_reserve(gomem_os *os, void *hint, uintptr_t n, memUse use) {
	(void)os;
	void *p = NULL;
	if (!failsNow()) {
		const bool mustFit = hint == NULL || addrOf(hint) == oracle_linear_break(sys.want);
		const uint64_t want = oracle_linear_alloc_at(sys.want, addrOf(hint), n);
		p = placed(sys.brk->reserve(sys.brk, hint, n, use), want, mustFit);
	}
	if (use == MEM_HEAP) {
		addHeap(p, n);
		logCall(FUZZ_OS_RESERVE, addrOf(hint), n, addrOf(p));
	}
	return p;
}

static void *brk_reserveAligned(gomem_os *os, uintptr_t n, uintptr_t align, memUse use) {
	(void)os;
	void *p = NULL;
	if (!failsNow()) {
		p = placed(
			sys.brk->reserveAligned(sys.brk, n, align, use), oracle_linear_alloc_aligned(sys.want, n, align), true);
	}
	if (use == MEM_HEAP) {
		addHeap(p, n);
		logCall(FUZZ_OS_RESERVE_ALIGNED, align, n, addrOf(p));
	}
	return p;
}

static bool brk_map(gomem_os *os, void *v, uintptr_t n) {
	(void)os;
	const bool ok = !failsNow() && sys.brk->map(sys.brk, v, n);
	if (isHeap(v)) {
		logCall(FUZZ_OS_MAP, addrOf(v), n, ok);
	}
	return ok;
}

static bool brk_used(gomem_os *os, void *v, uintptr_t n) {
	(void)os;
	const bool ok = !failsNow() && sys.brk->used(sys.brk, v, n);
	if (isHeap(v)) {
		logCall(FUZZ_OS_USED, addrOf(v), n, ok);
	}
	return ok;
}

static bool brk_unused(gomem_os *os, void *v, uintptr_t n) {
	(void)os;
	if (isHeap(v)) {
		logCall(FUZZ_OS_UNUSED, addrOf(v), n, 1);
	}
	return sys.brk->unused(sys.brk, v, n);
}

static bool brk_fault(gomem_os *os, void *v, uintptr_t n) {
	(void)os;
	if (isHeap(v)) {
		logCall(FUZZ_OS_FAULT, addrOf(v), n, 1);
	}
	return sys.brk->fault(sys.brk, v, n);
}

static bool brk_free(gomem_os *os, void *v, uintptr_t n) {
	(void)os;
	if (isHeap(v)) {
		release(addrOf(v), addrOf(v) + roundUp(n));
		logCall(FUZZ_OS_UNRESERVE, addrOf(v), n, 1);
	}
	oracle_linear_give_back(sys.want, addrOf(v), n);
	return sys.brk->free(sys.brk, v, n);
}

static const char *brk_check(gomem_os *os) {
	(void)os;
	return sys.brk->check(sys.brk);
}

static void endBreak(void) {
	if (sys.brk != NULL) {
		sys.brk->destroy(sys.brk);
		oracle_linear_free(sys.want);
		sys.brk = NULL;
		sys.want = NULL;
	}
}

static void beginBreak(void) {
	const range r = linearOf(sys.cfg.wide);
	sys.linear = (memLinear){
		.name = "fuzz",
		.physPageSize = sys.cfg.physPageSize,
		.start = (size_t)r.lo,
		.brk = (size_t)r.lo,
		.grow = linear_grow,
		.destroy = linear_destroy,
	};
	sys.brk = sys.cfg.sbrk(&sys.linear);
	if (sys.brk == NULL) {
		die("fuzz_os: no memory from a break");
	}
	sys.want = oracle_linear_new(r.lo, r.hi, sys.cfg.physPageSize);
	sys.os = *sys.brk;
	sys.os.backed = sys.cfg.backed;
	sys.os.alloc = brk_alloc;
	sys.os.reserve = brk_reserve;
	sys.os.reserveAligned = brk_reserveAligned;
	sys.os.map = brk_map;
	sys.os.used = brk_used;
	sys.os.unused = brk_unused;
	sys.os.fault = brk_fault;
	sys.os.free = brk_free;
	sys.os.check = brk_check;
	sys.os.destroy = NULL;
}

uint64_t fuzz_os_break(void) { return oracle_linear_break(sys.want); }

uint64_t fuzz_os_placed(void) { return sys.placed; }

gomem_os *fuzz_os_begin(const fuzz_os_config *cfg) {
	mapOnce();
	endBreak();
	clearMeta();
	sys.cfg = cfg != NULL ? *cfg : (fuzz_os_config){0};
	if (sys.cfg.highest == 0) {
		sys.cfg.highest = (uint64_t)1 << 47;
	}
	if (sys.cfg.physPageSize == 0) {
		sys.cfg.physPageSize = 4096;
	}
	clearHeap();
	sys.calls = sys.failFrom = sys.failTo = sys.failed = sys.placed = 0;
	sys.reservations = sys.moveFrom = sys.moveTo = 0;
	sys.caller = 0;
	sys.nlog = 0;
	sys.os = (gomem_os){
		.name = "fuzz",
		.physPageSize = sys.cfg.physPageSize,
		.physHugePageSize = sys.cfg.physHugePageSize,
		.backed = sys.cfg.backed,
		.staysMapped = true,
		.unusedKeepsContents = sys.cfg.unusedKeepsContents,
		.alloc = os_alloc,
		.reserve = os_reserve,
		.map = os_map,
		.used = os_used,
		.unused = os_unused,
		.fault = os_fault,
		.free = os_free,
		.hugePage = os_hugePage,
		.noHugePage = os_hugePage,
		.hugePageCollapse = os_collapse,
		.populate = os_populate,
	};
	if (sys.cfg.sbrk != NULL) {
		beginBreak();
	}
	return &sys.os;
}

void fuzz_os_fail(uint64_t n, uint64_t more) {
	sys.failFrom = n == 0 ? 0 : sys.calls + n;
	sys.failTo = sys.failFrom + more;
}

void fuzz_os_caller(unsigned caller) { sys.caller = caller; }

void fuzz_os_move(uint64_t n, uint64_t more) {
	sys.moveFrom = n == 0 ? 0 : sys.reservations + n;
	sys.moveTo = n == 0 ? 0 : sys.moveFrom + 1 + more;
}

uint64_t fuzz_os_held(void) {
	if (sys.want != NULL) {
		return oracle_linear_used(sys.want);
	}
	uint64_t sum = sys.metaHeld;
	for (unsigned i = 0; i < sys.nheap; i++) {
		sum += sys.heap[i].hi - sys.heap[i].lo;
	}
	return sum;
}

uint64_t fuzz_os_failed(void) { return sys.failed; }

const fuzz_os_call *fuzz_os_log(size_t *n) {
	*n = sys.nlog;
	return sys.log;
}

void fuzz_os_forget(void) { sys.nlog = 0; }
