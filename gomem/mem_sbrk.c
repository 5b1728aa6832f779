// mem_sbrk.c (layer 1): memory from a break that only rises, as on Plan 9 and WebAssembly.
//
// Ports mem_sbrk.go, and sbrk of mem_wasm.go and mem_plan9.go, which differ in how the system is asked: that is memLinear.grow.
// The heap's own break, bloc, sinks when memory below it is given back; the system's, blocMax, does not. What is given back
// elsewhere goes to a free list, from which the lowest block that is large enough serves: its end is taken. A reservation at an address is
// granted at bloc only. The other calls do nothing: all memory below the break is mapped, and Reserved memory can be touched.
//
// The list's links stand in the free memory itself. As in Go, what is given back is cleared at once, so that all memory handed out is zero.
// DEVIATION(D31): large ranges are cleared by giving their pages back (madvise), not by writing zeros.
// DEVIATION(D32): sizes that Go never asks for (none at all, those that wrap around, aligned ones of no whole pages) are refused.
//
// Invariants: start <= bloc <= blocMax; blocks of the list are whole physical pages below bloc, in ascending order, and do not touch;
// all bytes of a block behind its header are zero, as are those from bloc to blocMax.
#include "gomem/mem.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "gomem/poison.h"

typedef struct memHdr {
	uintptr_t next; // the block behind this one; 0: none
	uintptr_t size;
} memHdr;

typedef struct memSbrk {
	gomem_os os;
	memLinear *linear;
	pthread_mutex_t memlock;
	uintptr_t bloc, blocMax;
	uintptr_t memFreelist; // the lowest block; 0: none
} memSbrk;

enum { zeroByHand = 64 << 10 }; // more than that: new pages are cheaper

static memSbrk *lockMem(const gomem_os *os) {
	memSbrk *s = (memSbrk *)(uintptr_t)os;
	pthread_mutex_lock(&s->memlock);
	return s;
}

static void unlockMem(memSbrk *s) { pthread_mutex_unlock(&s->memlock); }

static memHdr *headerAt(uintptr_t p) { return (memHdr *)p; }

static uintptr_t memRound(const memSbrk *s, uintptr_t n) { return (uintptr_t)alignUp(n, s->os.physPageSize); }

static bool sizeIsBad(const memSbrk *s, uintptr_t n) {
	if (n == 0) {
		errno = EINVAL;
		return true;
	}
	if (n > UINTPTR_MAX / 2 || memRound(s, n) > UINTPTR_MAX - s->bloc) {
		errno = ENOMEM;
		return true;
	}
	return false;
}

// clearMem: whole physical pages become zero, and nobody is forbidden to touch them.
static void clearMem(uintptr_t p, uintptr_t n) {
	poison_forget(p, n);
	if (n <= zeroByHand || madvise((void *)p, n, MADV_DONTNEED) != 0) {
		memset((void *)p, 0, n);
	}
	poison_defined(p, n);
}

// ---- the break

// sbrk raises the break by n bytes and gives where it was; 0: the system refuses.
static uintptr_t sbrkMem(memSbrk *s, uintptr_t n) {
	const uintptr_t bl = s->bloc;
	n = memRound(s, n);
	if (bl + n > s->blocMax) {
		if (!s->linear->grow(s->linear, bl + n)) {
			return 0;
		}
		s->blocMax = bl + n;
	}
	s->bloc += n;
	return bl;
}

// ---- the free list

// memAllocNoGrow takes n bytes from the list; 0: no block is large enough.
static uintptr_t memAllocNoGrow(memSbrk *s, uintptr_t n) {
	n = memRound(s, n);
	uintptr_t *link = &s->memFreelist;
	while (*link != 0 && headerAt(*link)->size < n) {
		link = &headerAt(*link)->next;
	}
	if (*link == 0) {
		return 0;
	}
	memHdr *block = headerAt(*link);
	uintptr_t p = *link;
	if (block->size == n) {
		*link = block->next;
	} else {
		block->size -= n;
		p += block->size;
	}
	*headerAt(p) = (memHdr){0};
	return p;
}

static uintptr_t memAlloc(memSbrk *s, uintptr_t n) {
	const uintptr_t p = memAllocNoGrow(s, n);
	return p != 0 ? p : sbrkMem(s, n);
}

// joinNext makes one of a block and the next one, if they touch.
static void joinNext(uintptr_t p) {
	memHdr *block = headerAt(p);
	if (block->next == 0 || p + block->size != block->next) {
		return;
	}
	memHdr *next = headerAt(block->next);
	*block = (memHdr){next->next, block->size + next->size};
	*next = (memHdr){0};
}

// memFree puts [p, p+n) into the list.
static void memFree(memSbrk *s, uintptr_t p, uintptr_t n) {
	n = memRound(s, n);
	clearMem(p, n);
	uintptr_t before = 0, behind = s->memFreelist;
	while (behind != 0 && behind < p) {
		before = behind;
		behind = headerAt(behind)->next;
	}
	*headerAt(p) = (memHdr){behind, n};
	joinNext(p);
	if (before == 0) {
		s->memFreelist = p;
		return;
	}
	headerAt(before)->next = p;
	joinNext(before);
}

static const char *memCheck(const memSbrk *s) {
	const uintptr_t page = s->os.physPageSize;
	if (s->bloc < s->linear->start || s->bloc > s->blocMax || ((s->bloc | s->blocMax) & (page - 1)) != 0) {
		return "mem: bad break";
	}
	uintptr_t end = 0;
	for (uintptr_t p = s->memFreelist; p != 0; p = headerAt(p)->next) {
		if (p < s->linear->start || p >= s->bloc) {
			return "mem: block outside of memory";
		}
		const uintptr_t size = headerAt(p)->size;
		if (p < end) {
			return headerAt(p)->next == p ? "mem: infinite loop" : "mem: unordered list, or overlapping blocks";
		}
		if (p == end) {
			return "mem: neighbours that are not one block";
		}
		if (size == 0 || ((p | size) & (page - 1)) != 0 || size > s->bloc - p) {
			return "mem: bad size of a block";
		}
		end = p + size;
	}
	return NULL;
}

// ---- the system's functions

static void *sbrk_alloc(gomem_os *os, uintptr_t n) {
	memSbrk *s = lockMem(os);
	const uintptr_t p = sizeIsBad(s, n) ? 0 : memAlloc(s, n);
	unlockMem(s);
	return (void *)p;
}

static void *sbrk_reserve(gomem_os *os, void *hint, uintptr_t n, memUse use) {
	(void)use;
	memSbrk *s = lockMem(os);
	uintptr_t p = 0;
	if (!sizeIsBad(s, n)) {
		if ((uintptr_t)hint == s->bloc) {
			p = sbrkMem(s, n);
		} else if (hint == NULL) {
			p = memAlloc(s, n);
		} else {
			errno = EEXIST;
		}
	}
	unlockMem(s);
	return (void *)p;
}

// reserveFromList takes an aligned range out of a block with room for any alignment, and gives back what lies around it.
static uintptr_t reserveFromList(memSbrk *s, uintptr_t n, uintptr_t align) {
	const uintptr_t base = memAllocNoGrow(s, n + align);
	if (base == 0) {
		return 0;
	}
	const uintptr_t start = (uintptr_t)alignUp(base, align), head = start - base;
	if (head > 0) {
		memFree(s, base, head);
	}
	if (head < align) {
		memFree(s, start + n, align - head);
	}
	return start;
}

// reserveAtBreak raises the break to past an aligned range; what is skipped for that becomes free.
static uintptr_t reserveAtBreak(memSbrk *s, uintptr_t n, uintptr_t align) {
	const uintptr_t start = (uintptr_t)alignUp(s->bloc, align);
	const uintptr_t was = sbrkMem(s, start + n - s->bloc);
	if (was == 0) {
		return 0;
	}
	if (start > was) {
		memFree(s, was, start - was);
	}
	return start;
}

// sysReserveAlignedSbrk.
static void *sbrk_reserveAligned(gomem_os *os, uintptr_t n, uintptr_t align, memUse use) {
	(void)use;
	memSbrk *s = lockMem(os);
	uintptr_t p = 0;
	if (((n | align) & (os->physPageSize - 1)) != 0) {
		errno = EINVAL;
	} else if (!sizeIsBad(s, n) && !sizeIsBad(s, n + align)) {
		p = reserveFromList(s, n, align);
		p = p != 0 ? p : reserveAtBreak(s, n, align);
	}
	unlockMem(s);
	return (void *)p;
}

static bool sbrk_free(gomem_os *os, void *v, uintptr_t n) {
	memSbrk *s = lockMem(os);
	const uintptr_t p = (uintptr_t)v;
	if (p + n == s->bloc) {
		clearMem(p, n);
		s->bloc -= n;
	} else {
		memFree(s, p, n);
	}
	unlockMem(s);
	return true;
}

static bool sbrk_nothing(gomem_os *os, void *v, uintptr_t n) {
	(void)os;
	(void)v;
	(void)n;
	return true;
}

static void sbrk_noHint(gomem_os *os, void *v, uintptr_t n) { (void)sbrk_nothing(os, v, n); }

static bool sbrk_hugePageCollapse(gomem_os *os, void *v, uintptr_t n) { return !sbrk_nothing(os, v, n); }

// sbrk_fault: the memory stays, but sanitizers report who touches it.
static bool sbrk_fault(gomem_os *os, void *v, uintptr_t n) {
	(void)os;
	poison_forbid((uintptr_t)v, n);
	return true;
}

static const char *sbrk_check(gomem_os *os) {
	memSbrk *s = lockMem(os);
	const char *bad = memCheck(s);
	unlockMem(s);
	return bad;
}

static void sbrk_destroy(gomem_os *os) {
	memSbrk *s = (memSbrk *)os;
	poison_forget(s->linear->start, s->blocMax - s->linear->start);
	s->linear->destroy(s->linear);
	pthread_mutex_destroy(&s->memlock);
	free(s);
}

static gomem_os sbrkOS(const memLinear *m) {
	return (gomem_os){
		.name = m->name,
		.physPageSize = m->physPageSize,
		.backed = true,
		.unusedKeepsContents = true,
		.alloc = sbrk_alloc,
		.reserve = sbrk_reserve,
		.reserveAligned = sbrk_reserveAligned,
		.map = sbrk_nothing,
		.used = sbrk_nothing,
		.unused = sbrk_nothing,
		.fault = sbrk_fault,
		.free = sbrk_free,
		.hugePage = sbrk_noHint,
		.noHugePage = sbrk_noHint,
		.hugePageCollapse = sbrk_hugePageCollapse,
		.check = sbrk_check,
		.destroy = sbrk_destroy,
	};
}

// initBloc.
gomem_os *mem_sbrk_new(memLinear *m) {
	if (m == NULL) {
		return NULL;
	}
	memSbrk *s = calloc(1, sizeof *s);
	if (s == NULL || pthread_mutex_init(&s->memlock, NULL) != 0) {
		free(s);
		m->destroy(m);
		errno = ENOMEM;
		return NULL;
	}
	s->os = sbrkOS(m);
	s->linear = m;
	s->bloc = memRound(s, m->start);
	s->blocMax = m->brk > s->bloc ? m->brk : s->bloc;
	return &s->os;
}

uintptr_t mem_sbrk_bloc(const gomem_os *os) {
	memSbrk *s = lockMem(os);
	const uintptr_t bloc = s->bloc;
	unlockMem(s);
	return bloc;
}

const char *mem_sbrk_refusal(const gomem_os *os) { return ((const memSbrk *)os)->linear->refusal; }

static bool isZero(uintptr_t from, uintptr_t to) {
	const unsigned char *p = (const unsigned char *)from;
	return from == to || (p[0] == 0 && memcmp(p, p + 1, to - from - 1) == 0);
}

const char *mem_sbrk_checkContents(const gomem_os *os) {
	memSbrk *s = lockMem(os);
	const char *bad = memCheck(s);
	for (uintptr_t p = s->memFreelist; bad == NULL && p != 0; p = headerAt(p)->next) {
		bad = isZero(p + sizeof(memHdr), p + headerAt(p)->size) ? NULL : "mem: uninitialised memory";
	}
	if (bad == NULL && !isZero(s->bloc, s->blocMax)) {
		bad = "mem: uninitialised memory above the break";
	}
	unlockMem(s);
	return bad;
}
