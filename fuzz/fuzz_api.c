// fuzz_api.c: the public interface: heaps of all configurations over all systems, also wrong ones, while the host refuses memory; arguments
// that make no sense; policies and samples; and whether the heap's own checks see what is broken on purpose.
//
// There is no model of addresses here: what a call promises in gomem.h is tested, and the contract of any allocator.
#include "fuzz/fuzz.h"

#include <errno.h>
#include <stdlib.h>

#include "fuzz/fuzz_heap.h"
#include "fuzz/fuzz_host.h"
#include "fuzz/fuzz_os.h"
#include "fuzz/layouts.h"
#include "oracle/contract.h"

enum { maxObjects = 512, maxBlocks = 64, maxProcs = 6, RATES = 6 };

// Over which system; what is not named here is FUZZ_OS, backed.
enum { OS_UNBACKED = 5, OS_SIM, OS_SIM_BACKED, OS_LINUX, OS_SBRK, OS_KINDS };

enum {
	CHECKED = 1,
	NO_GREEN_TEA = 2,
	NO_RANDOM_BASE = 4,
	POLICY = 8,
	SAMPLES = 16,
	BARE = 32,
	HUGE_PAGES = 64,
	NO_SEED = 128,
};

// What can be wrong with a configuration.
enum { PAGE_TOO_SMALL = 1, PAGE_TOO_LARGE, PAGE_ODD, HUGE_PAGE_ODD, LAYOUT_BAD, WRONGS };

typedef struct block { // a stack, or pages
	uintptr_t addr, n;
} block;

typedef struct state {
	gomem_heap *h; // NULL: it could not be made
	gomem_os *os;  // of a simulated system; NULL: another one
	gomem_os odd;  // fuzz_os, perhaps with something wrong
	contract *c;
	fuzz_guard guard;
	gomem_layout layout;
	gomem_policy policy;
	bool checked, backed, marking;
	int nprocs;
	int64_t rate;
	uint64_t samples, assists;
	uintptr_t sampled; // address of the last sample
	block objects[maxObjects], stacks[maxBlocks], manuals[maxBlocks];
	unsigned nobjects, nstacks, nmanuals;
} state;

// ---- callbacks

static void onThrow(void *ctx, const char *msg) {
	state *s = ctx;
	if (strstr(msg, "out of memory") != NULL && !s->guard.armed) {
		fuzz_give_up(); // while sweeping, or in the map of states: documented to end the program
	}
	fuzz_thrown(&s->guard, msg);
}

static void onSample(void *ctx, void *obj, uintptr_t size) {
	state *s = ctx;
	fuzz_check(obj != NULL && size > 0, "a sample of nothing");
	s->sampled = (uintptr_t)obj;
	s->samples++;
}

// reclaimSome sweeps the first unswept spans: one that has no marked object is free then.
static void reclaimSome(void *ctx, gomem_heap *h, gomem_p *p, uintptr_t npages) {
	(void)ctx;
	(void)npages;
	for (intptr_t i = 0, n = 0; i < h->allspans.len && n < 4; i++) {
		mspan *s = h->allspans.p[i];
		if (mspan_state(s) == mSpanInUse && atomic_load(&s->sweepgen) == h->sweepgen - 2) {
			n++;
			if (mheap_reclaimSpan(h, p, s)) {
				fuzz_check(mspan_state(s) == mSpanDead, "a span that was reclaimed is free");
			}
		}
	}
}

static void scavengeAssist(void *ctx, gomem_heap *h, gomem_p *p, uintptr_t scav, uintptr_t growth) {
	(void)ctx;
	(void)scav;
	gomem_scavenge(h, p, growth / 8, true);
}

// gcTrigger is asked when the allocation is over, and the caches are in order.
static void gcTrigger(void *ctx, gomem_heap *h, gomem_p *p) {
	(void)ctx;
	fuzz_check(p == NULL || p->mcache != NULL, "a trigger without a cache");
	fuzz_check(atomic_load(&h->stats.heapLive) > 0, "a trigger of a heap where nothing lives");
}

static void assist(void *ctx, gomem_heap *h, gomem_p *p, uintptr_t size) {
	(void)p;
	state *s = ctx;
	fuzz_check(s->marking && atomic_load(&h->gcphase) != gcOff, "an assist while nobody marks");
	fuzz_check(size > 0, "an assist for nothing");
	s->assists++;
}

// ---- begin

enum { ALIGNED_STACKS = FUZZ_IOS_ARM64, LAYOUTS }; // the layouts before have 48 bits of address space, like fuzz_os

static gomem_layout layoutOf(uint64_t i) {
	gomem_layout L = fuzz_layout(i % LAYOUTS == ALIGNED_STACKS ? FUZZ_LINUX_AMD64 : i % LAYOUTS);
	L.physPageAlignedStacks = i % LAYOUTS == ALIGNED_STACKS; // OpenBSD
	return L;
}

static gomem_os *systemOf(state *s, uint64_t kind, uint64_t wrong, uint64_t flags, uint64_t phys) {
	static const uintptr_t physPages[] = {4096, 16384, 65536, 8192};
	const uintptr_t page = physPages[phys % 4];
	const uintptr_t huge = (flags & HUGE_PAGES) != 0 ? 2 << 20 : 0;
	if (wrong == 0 && kind == OS_LINUX) {
		return NULL;
	}
	if (wrong == 0 && (kind == OS_SIM || kind == OS_SIM_BACKED)) {
		s->os = mem_sim_new(
			&(memSimConfig){.physPageSize = page, .physHugePageSize = huge, .backed = kind == OS_SIM_BACKED});
		fuzz_check(s->os != NULL, "a simulated system");
		return s->os;
	}
	if (wrong == 0 && kind == OS_SBRK) {
		// Behind what fuzz_os has.
		s->os = mem_sbrk_new(memLinear_sim(&(memLinearConfig){
			.physPageSize = page,
			.start = FUZZ_OS_LINEAR_END,
			.limit = 192 << 20, // max_ops times the most pages, each with a gap
			.initial = (flags & HUGE_PAGES) != 0 ? 1 << 20 : 0,
		}));
		fuzz_check(s->os != NULL, "a linear memory");
		return s->os;
	}
	gomem_os *os =
		fuzz_os_begin(&(fuzz_os_config){.physPageSize = page, .physHugePageSize = huge, .backed = kind != OS_UNBACKED});
	static const uintptr_t badPages[WRONGS] = {[PAGE_TOO_SMALL] = 2048, [PAGE_TOO_LARGE] = 1 << 20, [PAGE_ODD] = 12288};
	s->odd = *os;
	if (badPages[wrong] != 0) {
		s->odd.physPageSize = badPages[wrong];
	}
	if (wrong == HUGE_PAGE_ODD) {
		s->odd.physHugePageSize = 3 << 20;
	}
	return &s->odd;
}

// makeHeap makes the heap that the configuration describes, or sees that it is refused for the right reason.
static void makeHeap(state *s, const gomem_config *cfg, bool bare, bool wrong, uint64_t refuse, uint64_t fail) {
	errno = 0;
	fuzz_host_refuse(refuse);
	fuzz_os_fail(fail, 0);
	s->h = bare ? gomem_heap_new_bare(cfg) : gomem_heap_new(cfg);
	const int err = errno;
	const bool failed = cfg->os != NULL && s->os == NULL && fuzz_os_failed() > 0;
	const bool refused = fuzz_host_obey() || failed;
	fuzz_os_fail(0, 0);
	fuzz_check(!refused || s->h == NULL, "a heap was made though memory for it was refused");
	if (s->h == NULL) {
		fuzz_check(wrong || refused, "a heap cannot be made");
		fuzz_check(err == ENOMEM || (wrong && err == EINVAL), "why a heap cannot be made");
		fuzz_check(err == EINVAL || refused, "out of memory where there is some");
		if (cfg->os != NULL && s->os == NULL) {
			fuzz_equal("bytes that a heap that was not made holds", fuzz_os_held(), 0);
		}
	}
	fuzz_check(!wrong || s->h == NULL, "a heap was made of what cannot be");
}

static void *begin(const uint64_t *config) {
	static const int64_t rates[RATES] = {0, 1, 512, (int64_t)1 << 40, 3, 4096};
	const uint64_t kind = config[0] % OS_KINDS, flags = config[1], wrong = config[4] < WRONGS ? config[4] : 0;
	state *s = calloc(1, sizeof *s);
	fuzz_check(s != NULL, "out of memory");
	gomem_os *os = systemOf(s, kind, wrong, flags, config[2] / LAYOUTS);
	s->backed = kind != OS_UNBACKED && (os == NULL || os->backed);
	s->c = contract_new(s->backed, fuzz_unhurried());
	s->checked = (flags & CHECKED) != 0;
	// Real systems are told to map arenas: small ones, mostly.
	const bool real = kind == OS_LINUX || kind == OS_SIM_BACKED;
	s->layout = real && config[2] != 0 ? fuzz_layout(FUZZ_WINDOWS_AMD64) : layoutOf(config[2]);
	if (kind == OS_SBRK) {
		s->layout = fuzz_platform("js/wasm");
	}
	if (wrong == LAYOUT_BAD) {
		s->layout.arenaL2Bits++;
	}
	s->rate = rates[config[5] % RATES];
	s->policy = (gomem_policy){
		.ctx = s,
		.reclaim = reclaimSome,
		.scavengeAssist = scavengeAssist,
		.gcTrigger = gcTrigger,
		.assist = assist,
	};
	const uint64_t seed = (flags & NO_SEED) != 0 && os == NULL ? 0 : FUZZ_OS_SEED | 1;
	const gomem_config cfg = {
		.os = os,
		.policy = (flags & POLICY) != 0 ? &s->policy : NULL,
		.layout = &s->layout,
		.rand_seed = seed,
		// What is backed stands where the seed says.
		.no_randomized_base = (flags & NO_RANDOM_BASE) != 0 && (!s->backed || os == NULL),
		.no_greentea = (flags & NO_GREEN_TEA) != 0,
		.checked = s->checked,
		.hardened = guardsBuilt && config[5] >= RATES,
		.throw_hook = onThrow,
		.throw_ctx = s,
		.sample = (flags & SAMPLES) != 0 ? onSample : NULL,
		.sample_ctx = s,
		.sample_rate = s->rate,
	};
	const bool bare = (flags & BARE) != 0;
	// Later a checked heap throws when its map of states gets no memory: no state can be left unknown.
	const uint64_t refusable = s->checked ? 6 : 64, refuse = config[3] <= refusable ? config[3] : 0;
	makeHeap(s, &cfg, bare, wrong != 0, refuse, config[3] > 64 && config[3] < 192 ? config[3] - 64 : 0);
	if (seed == 0) {
		// It could stand anywhere, and what sanitizers note of heaps that stood somewhere would fill the memory.
		gomem_heap_destroy(s->h);
		s->h = NULL;
	}
	s->nprocs = s->h == NULL || bare ? 0 : 1;
	return s;
}

// ---- end

static void release(state *s) {
	if (s->os != NULL) {
		s->os->destroy(s->os);
	}
	contract_free(s->c);
	free(s);
}

static void checkAll(const state *s) {
	fuzz_must(contract_check(s->c));
	if (s->h != NULL) {
		fuzz_must(gomem_heap_check(s->h));
	}
}

static void after(void *v) {
	if (fuzz_thorough()) {
		checkAll(v);
	}
}

static void end(void *v) {
	state *s = v;
	const bool onFuzzOS = s->h != NULL && s->os == NULL && !s->h->ownsOS;
	fuzz_os_fail(0, 0);
	checkAll(s);
	gomem_heap_destroy(s->h);
	if (onFuzzOS) {
		fuzz_equal("bytes that a heap that is gone holds", fuzz_os_held(), 0);
	}
	release(s);
}

// What the process's own system gave is lost with a heap that threw.
static void abandon(void *v) {
	state *s = v;
	fuzz_heap_forget(s->h);
	release(s);
}

// ---- Ps

static gomem_p *pOf(state *s, uint64_t n) {
	if (s->nprocs == 0) {
		return NULL;
	}
	gomem_p *p = gomem_heap_p(s->h, (int)(n % (unsigned)s->nprocs));
	gomem_prepareForSweep(s->h, p);
	return p;
}

// mayFail: the system refused something since it had refused `before`. The process's own system is taken to have what is asked of it.
static bool mayFail(const state *s, uint64_t before) {
	return s->os == NULL && !s->h->ownsOS && fuzz_os_failed() > before;
}

static void procs(void *v, const uint64_t *a) {
	state *s = v;
	// Small numbers mostly, 0 and below, and too many.
	const int n = a[0] == 255 ? numPsMax + 1 : (int)(a[0] % 9) - 2;
	if (s->h == NULL || s->marking || n > maxProcs) {
		if (s->h != NULL && n > maxProcs) {
			errno = 0;
			fuzz_check(!gomem_procresize(s->h, n) && errno == EINVAL, "more Ps than there can be");
		}
		return;
	}
	for (int i = 0; i < s->nprocs; i++) {
		pOf(s, (uint64_t)i);
	}
	errno = 0;
	const uint64_t failed = fuzz_os_failed();
	fuzz_host_refuse(s->h->ownsOS ? 0 : a[1]);
	const bool ok = gomem_procresize(s->h, n);
	const int err = errno;
	const bool refused = fuzz_host_obey() || mayFail(s, failed);
	if (n <= 0) {
		fuzz_check(!ok && err == EINVAL, "a heap without Ps");
		return;
	}
	fuzz_check(ok || (refused && err == ENOMEM), "procresize fails");
	s->nprocs = ok ? n : s->nprocs;
	for (int i = -2; i < maxProcs + 3; i++) {
		const gomem_p *p = gomem_heap_p(s->h, i);
		// A heap whose first P could not be made is as it was.
		fuzz_check((p != NULL) == (i >= 0 && i < s->nprocs) || (i == 0 && s->nprocs == 0), "which Ps there are");
	}
}

// ---- objects

static const uint8_t pointerMask[] = {0x0a};
static const gomem_type pointers = {.size = 32, .ptr_bytes = 32, .ptr_mask = pointerMask};

static void allocate(void *v, const uint64_t *a) {
	state *s = v;
	if (s->h == NULL || s->nobjects == maxObjects) {
		return;
	}
	const bool scan = (a[2] & 1) != 0, zeroed = scan || (a[2] & 2) != 0;
	const uintptr_t size = (uintptr_t)(scan ? (a[1] + 31) / 32 * 32 : a[1]);
	if ((a[2] & 4) != 0) {
		errno = 0;
		const bool wide = s->layout.heapAddrBits < 8 * sizeof(uintptr_t);
		const uintptr_t tooLarge = wide ? ((uintptr_t)1 << s->layout.heapAddrBits) + 32 + size : UINTPTR_MAX - size;
		fuzz_check(gomem_mallocgc(s->h, pOf(s, a[0]), tooLarge, NULL, true) == NULL && errno == ENOMEM,
			"more than all addresses");
	}
	const uint64_t samples = s->samples, assists = s->assists, failed = fuzz_os_failed();
	errno = 0;
	const uintptr_t x = (uintptr_t)gomem_mallocgc(s->h, pOf(s, a[0]), size, scan ? &pointers : NULL, zeroed);
	if (x == 0) {
		fuzz_check(errno == ENOMEM && mayFail(s, failed), "out of memory where there is some");
		return;
	}
	if (size == 0) {
		fuzz_check(gomem_findObject(s->h, x) == 0, "no object lies where those without size are");
		return;
	}
	fuzz_must(contract_allocated(s->c, x, size, contract_align(size), zeroed));
	const bool inTinyBlock = !scan && size < 16; // samples are taken of blocks
	if (s->h->sample != NULL && s->rate == 1 && s->nprocs > 0 && !inTinyBlock) {
		fuzz_check(s->samples == samples + 1 && s->sampled == x, "each object is sampled");
	}
	fuzz_check(s->assists == assists || s->assists == assists + 1, "an object asks for one assist");
	s->objects[s->nobjects++] = (block){x, size};
}

static void drop(void *v, const uint64_t *a) {
	state *s = v;
	for (uint64_t n = 0; n <= a[1] && s->nobjects > 0; n++) {
		const unsigned i = (unsigned)(a[0] % s->nobjects);
		fuzz_must(contract_freed(s->c, s->objects[i].addr));
		s->objects[i] = s->objects[--s->nobjects];
	}
}

static void look(void *v, const uint64_t *a) {
	state *s = v;
	if (s->h == NULL || s->nobjects == 0) {
		return;
	}
	const block *b = &s->objects[a[0] % s->nobjects];
	const uintptr_t inside = b->addr + (uintptr_t)(a[1] % b->n);
	const gomem_span_info span = fuzz_heap_look(s->h, b->addr, b->n);
	const uintptr_t base = gomem_findObject(s->h, inside);
	fuzz_equal("slot inside of an object", base, gomem_findObject(s->h, b->addr));
	fuzz_equal("slots lie one after the other", (base - span.base) % span.elemsize, 0);
	// Behind the last slot there is no object.
	const uintptr_t tail = span.base + span.nelems * span.elemsize;
	const uintptr_t pageEnd = span.base + (span.npages << s->layout.pageShift);
	if (tail < pageEnd) {
		fuzz_check(!gomem_mark(s->h, (void *)tail), "what lies behind the last slot is no object");
	}
	fuzz_check(!gomem_mark(s->h, (void *)(uintptr_t)a[2]), "an address that is nobody's");
}

// ---- the cycle

static void markLive(state *s) {
	for (unsigned i = 0; i < s->nobjects; i++) {
		fuzz_check(gomem_mark(s->h, (void *)s->objects[i].addr), "a live object can be marked");
	}
}

static void gcBegin(void *v, const uint64_t *a) {
	state *s = v;
	if (s->h == NULL || s->marking || s->nprocs == 0) { // nobody collects before there are Ps
		return;
	}
	gomem_finishsweep(s->h, pOf(s, a[0]));
	s->marking = true;
	gomem_setGCPhase(s->h, gcMark);
	markLive(s);
}

static void gcEnd(void *v, const uint64_t *a) {
	state *s = v;
	if (s->h == NULL || !s->marking) {
		return;
	}
	markLive(s);
	gomem_setGCPhase(s->h, gcMarkTermination);
	gomem_setGCPhase(s->h, gcOff);
	s->marking = false;
	gomem_startsweep(s->h);
	for (int i = 0; i < s->nprocs; i++) {
		gomem_prepareForSweep(s->h, gomem_heap_p(s->h, i));
	}
	gomem_freeStackSpans(s->h, pOf(s, a[0]));
}

static void sweep(void *v, const uint64_t *a) {
	state *s = v;
	for (uint64_t n = 0; s->h != NULL && !s->marking && n < a[1]; n++) {
		if (gomem_sweepone(s->h, pOf(s, a[0])) == ~(uintptr_t)0) {
			return;
		}
	}
}

static void scavenge(void *v, const uint64_t *a) {
	state *s = v;
	if (s->h != NULL) {
		const uintptr_t got = gomem_scavenge(s->h, pOf(s, a[0]), (uintptr_t)a[1], (a[2] & 1) != 0);
		fuzz_check(got % s->h->env.physPageSize == 0, "whole physical pages are scavenged");
	}
}

// ---- stacks and pages

static void stackAlloc(void *v, const uint64_t *a) {
	state *s = v;
	const uint32_t n = (uint32_t)(a[3] % 4 == 0 ? a[1] : s->layout.fixedStack << a[1] % 7);
	if (s->h == NULL || s->nstacks == maxBlocks || n > 1 << 20) {
		return;
	}
	errno = 0;
	const uint64_t failed = fuzz_os_failed();
	void *x = gomem_stackalloc(s->h, pOf(s, a[0]), n, (a[2] & 1) != 0);
	if (n < s->layout.fixedStack || (n & (n - 1)) != 0) {
		fuzz_check(x == NULL && errno == EINVAL, "no size of a stack");
		return;
	}
	if (x == NULL) {
		fuzz_check(errno == ENOMEM && mayFail(s, failed), "out of memory where there is some");
		return;
	}
	gomem_span_info span;
	fuzz_check(gomem_spanOf(s->h, (uintptr_t)x, &span) && span.state == mSpanManual, "the span of a stack");
	const uintptr_t align = s->layout.physPageAlignedStacks ? s->h->env.physPageSize : 1;
	fuzz_equal("stacks are aligned to physical pages where the system wants it", span.base % align, 0);
	fuzz_must(contract_allocated(s->c, (uintptr_t)x, n, s->layout.fixedStack, false));
	s->stacks[s->nstacks++] = (block){(uintptr_t)x, n};
}

typedef struct giveBack {
	state *s;
	gomem_p *p;
	uintptr_t addr, n;
	bool bypass;
} giveBack;

static void freeStack(void *arg) {
	const giveBack *g = arg;
	gomem_stackfree(g->s->h, g->p, (void *)g->addr, g->n, g->bypass);
}

static void freePages(void *arg) {
	const giveBack *g = arg;
	gomem_freeManual(g->s->h, g->p, (void *)g->addr);
}

// throws: a misuse is told by the door, before anything was changed or locked.
static void throws(state *s, void (*fn)(void *), giveBack g, const char *what) {
	fuzz_check(fuzz_throws(&s->guard, fn, &g), what);
	if (strncmp(s->guard.msg, "gomem_", 6) != 0) {
		fuzz_fail("%s: thrown too late: %s", what, s->guard.msg);
	}
}

static void stackFree(void *v, const uint64_t *a) {
	state *s = v;
	if (s->h != NULL && s->nstacks == 0) {
		stackAlloc(s, (const uint64_t[FUZZ_MAX_ARGS]){a[0], a[1], a[2], 1});
	}
	if (s->h == NULL || s->nstacks == 0) {
		return;
	}
	const unsigned i = (unsigned)(a[1] % s->nstacks);
	giveBack g = {s, pOf(s, a[0]), s->stacks[i].addr, s->stacks[i].n, (a[2] & 1) != 0};
	throws(
		s, freeStack, (giveBack){s, g.p, g.addr, (uintptr_t)s->layout.fixedStack + 1, g.bypass}, "no size of a stack");
	if (s->checked) {
		throws(s, freeStack, (giveBack){s, g.p, g.addr + 8, g.n, g.bypass}, "not the beginning of a stack");
		throws(s, freeStack, (giveBack){s, g.p, g.addr, 2 * g.n, g.bypass}, "a stack of another size");
		throws(s, freeStack, (giveBack){s, g.p, (uintptr_t)a[3], g.n, g.bypass}, "no stack at all");
	}
	fuzz_must(contract_freed(s->c, g.addr));
	freeStack(&g);
	s->stacks[i] = s->stacks[--s->nstacks];
	// It is free: in the P's cache, in the pool, waiting for the end of the cycle, or its pages are.
	if (s->checked) {
		throws(s, freeStack, g, "a stack that is free already");
	}
}

static void manual(void *v, const uint64_t *a) {
	state *s = v;
	if (s->h == NULL || s->nmanuals == maxBlocks) {
		return;
	}
	// What is neither few nor too many would be real memory.
	const uintptr_t tooMany = ((uintptr_t)1 << (s->layout.heapAddrBits - s->layout.pageShift)) + 1;
	const uintptr_t npages = a[2] % 8 == 0 ? tooMany + (uintptr_t)(a[3] % (UINTPTR_MAX - tooMany)) : (uintptr_t)a[1];
	errno = 0;
	const uint64_t failed = fuzz_os_failed();
	void *x = gomem_allocManual(s->h, pOf(s, a[0]), npages);
	if (npages == 0) {
		fuzz_check(x == NULL && errno == EINVAL, "no pages");
		return;
	}
	if (npages >= tooMany) {
		fuzz_check(x == NULL && errno == ENOMEM, "more pages than there are");
		return;
	}
	if (x == NULL) {
		fuzz_check(errno == ENOMEM && mayFail(s, failed), "out of memory where there is some");
		return;
	}
	fuzz_must(contract_allocated(s->c, (uintptr_t)x, npages << s->layout.pageShift, 1u << s->layout.pageShift, false));
	s->manuals[s->nmanuals++] = (block){(uintptr_t)x, npages};
}

static void freeManual(void *v, const uint64_t *a) {
	state *s = v;
	if (s->h != NULL && s->nmanuals == 0) {
		manual(s, (const uint64_t[FUZZ_MAX_ARGS]){a[0], 1 + a[1] % 20, 1});
	}
	if (s->h == NULL || s->nmanuals == 0) {
		return;
	}
	const unsigned i = (unsigned)(a[1] % s->nmanuals);
	giveBack g = {s, pOf(s, a[0]), s->manuals[i].addr, 0, false};
	throws(s, freePages, (giveBack){s, g.p, g.addr + 8, 0, false}, "not the base of a manual span");
	throws(s, freePages, (giveBack){s, g.p, (uintptr_t)a[2], 0, false}, "no span at all");
	fuzz_must(contract_freed(s->c, g.addr));
	freePages(&g);
	s->manuals[i] = s->manuals[--s->nmanuals];
}

// ---- what is broken is seen

static mspan *spanOfObject(state *s, uint64_t which) {
	return s->nobjects == 0 ? NULL : spanOf(s->h, s->objects[which % s->nobjects].addr);
}

static void sees(state *s, const char *what) {
	if (gomem_heap_check(s->h) == NULL) {
		fuzz_fail("gomem_heap_check does not see: %s", what);
	}
}

static void breakSpan(state *s, mspan *sp, uint64_t how) {
	const mspan good = {.freeindex = sp->freeindex, .freeIndexForScan = sp->freeIndexForScan, .limit = sp->limit};
	const uint32_t sweepgen = atomic_load(&sp->sweepgen);
	switch (how) {
	case 0:
		sp->freeindex = (uint16_t)(sp->nelems + 1);
		sees(s, "free index behind the slots");
		break;
	case 1:
		sp->freeIndexForScan = (uint16_t)(sp->freeindex + 1);
		sees(s, "free index of scans");
		break;
	case 2:
		sp->limit += (uintptr_t)1 << 5 * sizeof(uintptr_t);
		sees(s, "limit");
		break;
	default:
		atomic_store(&sp->sweepgen, sweepgen + 7);
		sees(s, "sweepgen");
		break;
	}
	sp->freeindex = good.freeindex;
	sp->freeIndexForScan = good.freeIndexForScan;
	sp->limit = good.limit;
	atomic_store(&sp->sweepgen, sweepgen);
}

static void breakPages(state *s, mspan *sp) {
	pallocData *chunk = pageAlloc_chunkOf(&s->layout, &s->h->pages, chunkIndex(&s->layout, mspan_base(sp)));
	const unsigned page = chunkPageIndex(&s->layout, mspan_base(sp));
	chunk->pallocBits.b.x[page / 64] ^= (uint64_t)1 << page % 64;
	sees(s, "a page in use that is free");
	chunk->pallocBits.b.x[page / 64] ^= (uint64_t)1 << page % 64;
}

static void breakHeap(state *s, uint64_t how) {
	mcache *c = s->nprocs > 0 ? gomem_heap_p(s->h, 0)->mcache : s->h->mcache0;
	const mcache good = *c;
	switch (how) {
	case 0:
		atomic_fetch_add(&s->h->pagesInUse, 1);
		sees(s, "pages in use");
		atomic_fetch_sub(&s->h->pagesInUse, 1);
		break;
	case 1:
		sysMemStat_add(&s->h->stats.heapInUse, 8192);
		sees(s, "bytes in use");
		sysMemStat_add(&s->h->stats.heapInUse, -8192);
		break;
	case 2:
		c->tinyoffset = 17;
		sees(s, "offset in the tiny block");
		break;
	case 3:
		c->stackcache[1].size += 4096;
		sees(s, "more bytes of stacks than stacks");
		break;
	default:
		c->stackcache[0].size -= (uintptr_t)s->layout.fixedStack;
		sees(s, "fewer bytes of stacks than stacks");
		break;
	}
	*c = good;
}

static void breakStacks(state *s, uint64_t which) {
	mspan *sp = NULL;
	for (unsigned i = 0; i < s->layout.numStackOrders && sp == NULL; i++) {
		sp = s->h->stackpool[(which + i) % s->layout.numStackOrders].span.first;
	}
	if (sp == NULL) {
		return;
	}
	sp->allocCount++;
	sees(s, "stacks of a span");
	sp->allocCount--;
}

static void breakSomething(void *v, const uint64_t *a) {
	state *s = v;
	if (s->h == NULL) {
		return;
	}
	fuzz_must(gomem_heap_check(s->h));
	mspan *sp = spanOfObject(s, a[1]);
	if (a[0] < 4 && sp != NULL) {
		breakSpan(s, sp, a[0]);
	} else if (a[0] == 4 && sp != NULL) {
		breakPages(s, sp);
	} else if (a[0] >= 5 && a[0] < 10) {
		breakHeap(s, a[0] - 5);
	} else {
		breakStacks(s, a[1]);
	}
	fuzz_must(gomem_heap_check(s->h));
}

static void fail(void *v, const uint64_t *a) {
	const state *s = v;
	if (s->h != NULL && s->os == NULL && !s->h->ownsOS) {
		fuzz_os_fail(a[0], a[1]);
	}
}

#define P                                                                                                              \
	{ "p", 1, FUZZ_ANY, maxProcs - 1 }
#define WHICH                                                                                                          \
	{ "which", 2, FUZZ_ANY, 0 }
#define WILD                                                                                                           \
	{ "wild", 6, FUZZ_ANY, 0xffffffff }

static const fuzz_op_info ops[] = {
	{"malloc", {P, {"size", 3, FUZZ_SIZE, 100000}, {"flags", 1, FUZZ_ANY, 7}}, allocate},
	{"drop", {WHICH, {"more", 1, FUZZ_ANY, 0}}, drop},
	{"look", {WHICH, {"offset", 3, FUZZ_ANY, 0}, WILD}, look},
	{"gc_begin", {P}, gcBegin},
	{"gc_end", {P}, gcEnd},
	{"sweep", {P, {"n", 1, FUZZ_ANY, 40}}, sweep},
	{"scavenge", {P, {"bytes", 4, FUZZ_SIZE, 0}, {"force", 1, FUZZ_ANY, 1}}, scavenge},
	{"procs", {{"n", 1, FUZZ_ANY, 0}, {"refuse", 1, FUZZ_ANY, 7}}, procs},
	{"stackalloc", {P, {"n", 4, FUZZ_SIZE, 0}, {"bypass", 1, FUZZ_ANY, 1}, {"odd", 1, FUZZ_ANY, 3}}, stackAlloc},
	{"stackfree", {P, WHICH, {"bypass", 1, FUZZ_ANY, 1}, WILD}, stackFree},
	{"manual", {P, {"pages", 2, FUZZ_PAGES, 600}, {"odd", 1, FUZZ_ANY, 7}, {"any", 8, FUZZ_ANY, 0}}, manual},
	{"free_manual", {P, WHICH, WILD}, freeManual},
	{"break", {{"what", 1, FUZZ_ANY, 10}, WHICH}, breakSomething},
	{"os_fail", {{"n", 1, FUZZ_ANY, 60}, {"more", 1, FUZZ_ANY, 3}}, fail},
};

FUZZ_TARGET(api) = {
	.name = "api",
	.what =
		"the public interface: all configurations and systems, senseless arguments, refused memory, checks that must bite",
	.config =
		{
			{"os", 1, FUZZ_ANY, OS_KINDS - 1},
			{"flags", 1, FUZZ_ANY, 0},
			{"layout", 1, FUZZ_ANY, 4 * LAYOUTS - 1} /* and physical page */,
			{"refuse", 1, FUZZ_ANY, 0},
			{"wrong", 1, FUZZ_ANY, 31},
			{"rate", 1, FUZZ_ANY, 2 * RATES - 1} /* and hardened or not */,
		},
	.ops = ops,
	.nops = sizeof ops / sizeof ops[0],
	.max_ops = 24,
	.begin = begin,
	.after = after,
	.end = end,
	.abandon = abandon,
};
