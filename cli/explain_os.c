// explain_os.c: the operating system of `gomem explain`: the process's own or a simulated one, and a log of what is asked of it.
//
// gomem/mem_linux.c is compiled into this file once more, with system calls that are told: what is printed was really called.
//
// Invariants: states holds for each byte the state that the calls so far gave it by memTransition; log->os has the answers of log->inner.
#undef mem_linux_new
#undef mem_linux_new_fixed
#undef mem_linux_new_free
#define mem_linux_new explain_mem_linux_new
#define mem_linux_new_fixed explain_mem_linux_new_fixed
#define mem_linux_new_free explain_mem_linux_new_free

#include "cli/explain.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

static explainLog *told; // by the system calls, which have no argument to carry it; the command is one thread

static void tell(sysCall nr, const void *asked, size_t n, int prot, int flags, const void *at, bool ok) {
	const int err = errno;
	item *t = explainLog_add(told, ITEM_SYSCALL);
	t->nr = nr;
	t->asked = (uintptr_t)asked;
	t->n = n;
	t->prot = prot;
	t->flags = flags;
	t->at = (uintptr_t)at;
	t->ok = ok;
	errno = err;
}

static void *told_mmap(void *v, size_t n, int prot, int flags, int fd, off_t off) {
	void *p = mmap(v, n, prot, flags, fd, off);
	tell(SYSCALL_MMAP, v, n, prot, flags, p, p != MAP_FAILED);
	return p;
}

static int told_munmap(void *v, size_t n) {
	const int r = munmap(v, n);
	tell(SYSCALL_MUNMAP, v, n, 0, 0, v, r == 0);
	return r;
}

static int told_madvise(void *v, size_t n, int advice) {
	const int r = madvise(v, n, advice);
	tell(SYSCALL_MADVISE, v, n, 0, advice, v, r == 0);
	return r;
}

static int told_mprotect(void *v, size_t n, int prot) {
	const int r = mprotect(v, n, prot);
	tell(SYSCALL_MPROTECT, v, n, prot, 0, v, r == 0);
	return r;
}

#define mmap told_mmap
#define munmap told_munmap
#define madvise told_madvise
#define mprotect told_mprotect
#include "gomem/mem_linux.c" // NOLINT(bugprone-suspicious-include): its system calls are to be told
#undef mmap
#undef munmap
#undef madvise
#undef mprotect

// ---- the log

item *explainLog_add(explainLog *log, itemKind kind) {
	static item spare;
	item *t = &spare;
	if (log->n < maxItems) {
		t = &log->items[log->n++];
	} else {
		log->full = true;
	}
	*t = (item){.kind = kind};
	return t;
}

unsigned explainLog_meta(const explainLog *log, uintptr_t addr, uint64_t *offset) {
	for (unsigned i = 0; i < log->nmeta; i++) {
		const metaRange *m = &log->meta[i];
		if (addr >= m->at && addr - m->at < m->n) {
			*offset = addr - m->at;
			return i + 1;
		}
	}
	return 0;
}

static void addMeta(explainLog *log, const void *p, uint64_t n) {
	if (p != NULL && log->nmeta < maxMeta) {
		log->meta[log->nmeta++] = (metaRange){(uintptr_t)p, n};
	}
}

// ---- states

// moved notes a call on [v, v+n), and the states before and after.
static item *moved(explainLog *log, memCall call, const void *v, uint64_t n) {
	item *t = explainLog_add(log, ITEM_OS);
	const uint64_t lo = (uintptr_t)v;
	const memInterval in = memIntervals_at(log->states, lo);
	t->call = call;
	t->asked = t->at = (uintptr_t)v;
	t->n = n;
	t->ok = true;
	t->before = (memState)in.v;
	t->mixed = in.hi < lo + n;
	return t;
}

// settle gives the range its state after a call that was done.
static void settle(explainLog *log, item *t, bool ok) {
	t->ok = ok;
	t->then = t->before;
	if (!ok) {
		return;
	}
	const unsigned then = memTransition[t->call][t->before];
	t->then = (memState)then;
	if (then != MEM_NSTATES && !memIntervals_set(log->states, t->at, t->at + t->n, (uint8_t)then)) {
		log->full = true;
	}
}

const char *explainLog_check(const explainLog *log) {
	const gomem_state_map *map = log->h->env.states;
	for (unsigned i = 0; map != NULL && i < log->n; i++) {
		const item *t = &log->items[i];
		if (t->kind != ITEM_OS || !t->ok) {
			continue;
		}
		const memInterval seen = memIntervals_at(log->states, t->at);
		const memState have = memStates_get(map, t->at);
		// The second level of the arena index is asked of the system itself, as memory for metadata that nobody counts.
		if (have != (memState)seen.v && have != MEM_NONE) {
			return "the heap's map of states is not what the calls have made";
		}
	}
	return NULL;
}

// ---- calls

static explainLog *logOf(gomem_os *os) { return (explainLog *)(void *)((char *)os - offsetof(explainLog, os)); }

static void *logged_alloc(gomem_os *os, uintptr_t n) {
	explainLog *log = logOf(os);
	item *t = moved(log, MEM_SYSALLOC, NULL, n);
	void *p = log->inner->alloc(log->inner, n);
	addMeta(log, p, n);
	t->at = (uintptr_t)p;
	t->before = (memState)memIntervals_at(log->states, t->at).v;
	t->mixed = false;
	settle(log, t, p != NULL);
	return p;
}

static void *granted(explainLog *log, item *t, void *p, memUse use) {
	if (use == MEM_META) {
		addMeta(log, p, t->n);
	}
	t->at = (uintptr_t)p;
	t->before = (memState)memIntervals_at(log->states, t->at).v;
	t->mixed = false;
	settle(log, t, p != NULL);
	return p;
}

// place finds room in a simulated heap: where it was asked for, or behind what was placed last.
static void *place(explainLog *log, uintptr_t hint, uintptr_t n) {
	const memInterval in = memIntervals_at(log->states, hint);
	if (hint != 0 && in.v == MEM_NONE && n <= in.hi - hint) {
		return (void *)hint;
	}
	const uintptr_t p = log->brk;
	log->brk += n;
	return (void *)p;
}

static void *logged_reserve(gomem_os *os, void *hint, uintptr_t n, memUse use) {
	explainLog *log = logOf(os);
	item *t = moved(log, MEM_SYSRESERVE, hint, n);
	const bool simulated = use == MEM_HEAP && !os->backed;
	void *p = simulated ? place(log, (uintptr_t)hint, n) : log->inner->reserve(log->inner, hint, n, use);
	return granted(log, t, p, use);
}

// logged_reserveAligned is of platforms with a break: the heap's memory lies where the break is.
static void *logged_reserveAligned(gomem_os *os, uintptr_t n, uintptr_t align, memUse use) {
	explainLog *log = logOf(os);
	item *t = moved(log, MEM_SYSRESERVE, NULL, n);
	if (use == MEM_META) { // a simulated system has it elsewhere
		const uintptr_t p = (uintptr_t)log->inner->reserve(log->inner, NULL, n + align, use);
		return granted(log, t, p == 0 ? NULL : (void *)(uintptr_t)alignUp(p, align), use);
	}
	log->brk = (uintptr_t)alignUp(log->brk, align);
	return granted(log, t, place(log, 0, n), use);
}

// isSimulated: an address of a heap that is nothing but addresses; of metadata there is memory.
static bool isSimulated(const explainLog *log, const void *v) {
	uint64_t ignored;
	return !log->os.backed && explainLog_meta(log, (uintptr_t)v, &ignored) == 0;
}

static bool logged(gomem_os *os, memCall call, bool (*f)(gomem_os *os, void *v, uintptr_t n), void *v, uintptr_t n) {
	explainLog *log = logOf(os);
	item *t = moved(log, call, v, n);
	const bool ok = isSimulated(log, v) || f(log->inner, v, n);
	settle(log, t, ok);
	return ok;
}

static bool logged_map(gomem_os *os, void *v, uintptr_t n) {
	return logged(os, MEM_SYSMAP, logOf(os)->inner->map, v, n);
}
static bool logged_used(gomem_os *os, void *v, uintptr_t n) {
	return logged(os, MEM_SYSUSED, logOf(os)->inner->used, v, n);
}
static bool logged_unused(gomem_os *os, void *v, uintptr_t n) {
	return logged(os, MEM_SYSUNUSED, logOf(os)->inner->unused, v, n);
}
static bool logged_fault(gomem_os *os, void *v, uintptr_t n) {
	return logged(os, MEM_SYSFAULT, logOf(os)->inner->fault, v, n);
}

static bool logged_free(gomem_os *os, void *v, uintptr_t n) {
	explainLog *log = logOf(os);
	item *t = moved(log, MEM_SYSFREE, v, n);
	if (t->before == MEM_RESERVED) {
		t->call = MEM_SYSUNRESERVE;
	}
	const bool ok = isSimulated(log, v) || log->inner->free(log->inner, v, n);
	settle(log, t, ok);
	return ok;
}

static void logged_hugePage(gomem_os *os, void *v, uintptr_t n) {
	explainLog *log = logOf(os);
	item *t = moved(log, MEM_SYSHUGEPAGE, v, n);
	if (!isSimulated(log, v)) {
		log->inner->hugePage(log->inner, v, n);
	}
	settle(log, t, true);
}

static void logged_noHugePage(gomem_os *os, void *v, uintptr_t n) {
	explainLog *log = logOf(os);
	item *t = moved(log, MEM_SYSNOHUGEPAGE, v, n);
	if (!isSimulated(log, v)) {
		log->inner->noHugePage(log->inner, v, n);
	}
	settle(log, t, true);
}

static bool logged_hugePageCollapse(gomem_os *os, void *v, uintptr_t n) {
	return logged(os, MEM_SYSHUGEPAGECOLLAPSE, logOf(os)->inner->hugePageCollapse, v, n);
}

static const char *logged_check(gomem_os *os) {
	const gomem_os *inner = logOf(os)->inner;
	return inner->check != NULL ? inner->check(logOf(os)->inner) : NULL;
}

// ---- the heap's decisions

static void onTurn(void *ctx, gomem_ev k) {
	(void)ctx;
	(void)k;
}

static void onBusy(void *ctx, const char *lock) {
	(void)ctx;
	(void)lock;
}

// namesSpan: argument b of such an event is a span.
static bool namesSpan(gomem_ev k) {
	switch (k) {
	case EV_REFILL:
	case EV_REFILLEND:
	case EV_PUSH:
	case EV_POP:
	case EV_ACQUIRE:
	case EV_SWEEP:
	case EV_SPANINIT:
	case EV_SPANFREE:
		return true;
	default:
		return false;
	}
}

// countScavenged: of the pages of [base, base+size), those that are scavenged.
static uint64_t countScavenged(mheap *h, uintptr_t base, uint64_t size) {
	const gomem_layout *L = h->env.layout;
	uint64_t n = 0;
	for (uint64_t at = 0; at < size; at += layout_pageSize(L)) {
		const pallocData *chunk = pageAlloc_chunkOf(L, &h->pages, chunkIndex(L, base + (uintptr_t)at));
		n += pageBits_get(&chunk->scavenged, chunkPageIndex(L, base + (uintptr_t)at));
	}
	return n;
}

static void onEvent(void *ctx, gomem_ev k, uint64_t a, uint64_t b, uint64_t c, uint64_t d) {
	explainLog *log = ctx;
	item *t = explainLog_add(log, ITEM_EVENT);
	t->ev = k;
	t->a = a;
	t->b = b;
	t->c = c;
	t->d = d;
	if (log->h != NULL) {
		t->heapGen = log->h->sweepgen;
		t->n = k == EV_PGROW ? countScavenged(log->h, (uintptr_t)a, b) : 0;
	}
	if (namesSpan(k) && b != 0) {
		mspan *s = (mspan *)(uintptr_t)b;
		t->spanBase = mspan_base(s);
		t->spanGen = atomic_load(&s->sweepgen);
	}
}

// onLook: a row of summaries without a free page is one item, from entry b to entry d.
static void onLook(void *ctx, unsigned level, uint64_t i, uint64_t sum) {
	explainLog *log = ctx;
	item *last = log->n > 0 ? &log->items[log->n - 1] : NULL;
	if (sum == 0 && last != NULL && last->kind == ITEM_LOOK && last->a == level && last->c == 0 && last->d + 1 == i) {
		last->d = i;
		return;
	}
	item *t = explainLog_add(log, ITEM_LOOK);
	t->a = level;
	t->b = t->d = i;
	t->c = sum;
}

// ---- all of it

static gomem_os *innerOf(const gomem_layout *L, bool real) {
	if (real) {
		return explain_mem_linux_new();
	}
	return mem_sim_new(&(memSimConfig){.physPageSize = (uintptr_t)L->defaultPhysPageSize});
}

static const uintptr_t firstBreak = 16 << 20;

bool explainLog_init(explainLog *log, const gomem_layout *L, bool real) {
	told = log;
	log->states = memIntervals_new();
	log->inner = innerOf(L, real);
	if (log->states == NULL || log->inner == NULL) {
		return false;
	}
	// AIX gives addresses from where its index begins; others have low ones too.
	log->brk = firstBreak +
		(arenaIndex(L, firstBreak) >> (L->arenaL1Bits + L->arenaL2Bits) == 0 ? 0 : (uintptr_t)L->arenaBaseOffset);
	log->lab = (gomem_lab){.ctx = log, .turn = onTurn, .event = onEvent, .busy = onBusy, .look = onLook};
	log->os = (gomem_os){
		.name = log->inner->name,
		.physPageSize = log->inner->physPageSize,
		.physHugePageSize = log->inner->physHugePageSize,
		.backed = log->inner->backed,
		.staysMapped = log->inner->staysMapped,
		.unusedKeepsContents = log->inner->unusedKeepsContents,
		.alloc = logged_alloc,
		.reserve = logged_reserve,
		.reserveAligned = L->reserve == LAYOUT_RESERVE_SBRK ? logged_reserveAligned : NULL,
		.map = logged_map,
		.used = logged_used,
		.unused = logged_unused,
		.fault = logged_fault,
		.free = logged_free,
		.hugePage = logged_hugePage,
		.noHugePage = logged_noHugePage,
		.hugePageCollapse = logged_hugePageCollapse,
		.check = logged_check,
	};
	return true;
}

void explainLog_destroy(explainLog *log) {
	if (log->inner != NULL && log->inner->destroy != NULL) {
		log->inner->destroy(log->inner);
	}
	memIntervals_free(log->states);
}
