// mem_linear.c (layer 1): linear memories for mem_sbrk.c: a simulated one, and the process's own break.
//
// The simulated one is real memory, reserved once and made accessible as the break rises. The process has one break, so that one owner at a
// time can have it; the kernel knows who moved it, and a growth that finds it elsewhere is refused: what lies between is somebody else's.
//
// Invariants: start and brk are multiples of the physical page; [start, brk) is accessible, and nothing that the owner did not write is there.
#include "gomem/mem.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { minPhysPageSize = 4096, maxLinearPhysPageSize = 512 << 10 };
static const uintptr_t defaultLimit = sizeof(uintptr_t) == 8 ? (uintptr_t)((uint64_t)16 << 30) : 512 << 20;

static bool refuse(memLinear *m, int err, const char *why, uintptr_t a, uintptr_t b) {
	snprintf(m->refusal, sizeof m->refusal, "%s: %#llx, %#llx", why, (unsigned long long)a, (unsigned long long)b);
	errno = err;
	return false;
}

// ---- simulated

typedef struct linearSim {
	memLinear m;
	void *mapped; // all of the reservation
	uintptr_t mappedBytes, end;
	uint64_t growths, failNth;
} linearSim;

static bool sim_grow(memLinear *m, uintptr_t brk) {
	linearSim *l = (linearSim *)m;
	if (++l->growths == l->failNth) {
		return refuse(m, ENOMEM, "the simulated system was told to refuse (break, wanted)", m->brk, brk);
	}
	if (brk > l->end) {
		return refuse(m, ENOMEM, "the linear memory ends (end, wanted)", l->end, brk);
	}
	if (mprotect((void *)m->brk, brk - m->brk, PROT_READ | PROT_WRITE) != 0) {
		return refuse(m, ENOMEM, "the system has no memory (break, wanted)", m->brk, brk);
	}
	m->brk = brk;
	return true;
}

static void sim_destroy(memLinear *m) {
	linearSim *l = (linearSim *)m;
	munmap(l->mapped, l->mappedBytes);
	free(l);
}

static bool configIsGood(const memLinearConfig *c) {
	const uintptr_t p = c->physPageSize;
	return p >= minPhysPageSize && p <= maxLinearPhysPageSize && (p & (p - 1)) == 0 &&
		p >= (uintptr_t)sysconf(_SC_PAGESIZE) && c->limit >= p && c->initial <= c->limit &&
		c->limit <= UINTPTR_MAX / 4 && c->start <= UINTPTR_MAX / 4 && ((c->start | c->initial) & (p - 1)) == 0;
}

// mapSim reserves the addresses: at start, or where there is room.
static bool mapSim(linearSim *l, const memLinearConfig *c) {
	void *const want = (void *)c->start;
	l->mappedBytes = c->limit + c->physPageSize;
	l->mapped = mmap(want, l->mappedBytes, PROT_NONE, MAP_ANONYMOUS | MAP_PRIVATE | MAP_NORESERVE, -1, 0);
	if (l->mapped == MAP_FAILED) {
		return false;
	}
	if (want != NULL && l->mapped != want) {
		munmap(l->mapped, l->mappedBytes);
		errno = EEXIST;
		return false;
	}
	l->m.start = (uintptr_t)alignUp((uintptr_t)l->mapped, c->physPageSize);
	l->m.brk = l->m.start;
	l->end = l->m.start + c->limit;
	return true;
}

memLinear *memLinear_sim(const memLinearConfig *cfg) {
	memLinearConfig c = cfg != NULL ? *cfg : (memLinearConfig){0};
	c.physPageSize = c.physPageSize != 0 ? c.physPageSize : minPhysPageSize;
	c.limit = c.limit != 0 ? c.limit : defaultLimit;
	if (!configIsGood(&c)) {
		errno = EINVAL;
		return NULL;
	}
	linearSim *l = calloc(1, sizeof *l);
	if (l == NULL || !mapSim(l, &c)) {
		const int err = l == NULL ? ENOMEM : errno;
		free(l);
		errno = err;
		return NULL;
	}
	l->m.name = "linear";
	l->m.physPageSize = c.physPageSize;
	l->m.grow = sim_grow;
	l->m.destroy = sim_destroy;
	if (c.initial > 0 && !sim_grow(&l->m, l->m.start + c.initial)) {
		sim_destroy(&l->m);
		errno = ENOMEM;
		return NULL;
	}
	l->growths = 0;
	l->failNth = c.failNth;
	return &l->m;
}

// ---- the process's break

// There is one in a process, whoever asks: the only state outside of an instance.
static atomic_flag breakTaken = ATOMIC_FLAG_INIT;

// processBreak: libc keeps the break in a variable, which is not moved by those who ask the kernel themselves.
static uintptr_t processBreak(void) { return (uintptr_t)syscall(SYS_brk, 0); }

static bool process_grow(memLinear *m, uintptr_t to) {
	const uintptr_t now = processBreak();
	if (now != m->brk) {
		return refuse(m, EBUSY, "somebody else moved the process's break (left at, found at)", m->brk, now);
	}
	// What libc believes must be right before it moves anything.
	const intptr_t n = (intptr_t)(to - now);
	const bool known = (uintptr_t)sbrk(0) == now || brk((void *)now) == 0;
	const uintptr_t got = known ? (uintptr_t)sbrk(n) : UINTPTR_MAX;
	if (got == UINTPTR_MAX) {
		return refuse(m, ENOMEM, "the system does not raise the process's break (break, wanted)", now, to);
	}
	if (got != now) { // moved between the two calls: ours is on top of theirs
		(void)sbrk(-n);
		return refuse(m, EBUSY, "somebody else moved the process's break (left at, found at)", now, got);
	}
	m->brk = to;
	return true;
}

// The break sinks again if ours is what ends there; else the pages alone go back.
static void process_destroy(memLinear *m) {
	const uintptr_t n = m->brk - m->start;
	const bool sank = processBreak() == m->brk && brk((void *)m->start) == 0;
	if (!sank && n > 0) {
		madvise((void *)m->start, n, MADV_DONTNEED);
	}
	free(m);
	atomic_flag_clear(&breakTaken);
}

memLinear *memLinear_process(void) {
	if (atomic_flag_test_and_set(&breakTaken)) {
		errno = EBUSY;
		return NULL;
	}
	memLinear *m = calloc(1, sizeof *m); // before the break is looked at: this may move it
	const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	if (m != NULL) {
		const uintptr_t now = processBreak();
		*m = (memLinear){"sbrk", page, (uintptr_t)alignUp(now, page), now, process_grow, process_destroy, {0}};
		if (m->start == now || process_grow(m, m->start)) {
			return m;
		}
	}
	free(m);
	atomic_flag_clear(&breakTaken);
	errno = ENOMEM;
	return NULL;
}
