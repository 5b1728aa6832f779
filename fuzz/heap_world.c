// heap_world.c: see heap_world.h.
//
//   objects[i] is live: its memory is the program's, it is marked in each cycle, its contents stay
#include "fuzz/heap_world.h"

#include <stdlib.h>

#include "fuzz/fuzz_heap.h"
#include "fuzz/layouts.h"

// ---- types: of 1 to 12 words (24 of 32 bits), each with a pattern of pointers of its own

static const uint8_t masks[WORLD_TYPES][3] = {{1}, {3}, {5}, {2}, {0xff, 1}, {0x81}, {0xaa, 2}, {1, 2}};
enum { wordBytes = sizeof(uintptr_t) };

static const gomem_type types[WORLD_TYPES] = {
	{8, 8, masks[0]},
	{16, 16, masks[1]},
	{24, 24, masks[2]},
	{16, 16, masks[3]},
	{72, 72, masks[4]},
	{64, 64, masks[5]},
	{80, 80, masks[6]},
	{96, 80, masks[7]},
};

const gomem_type *world_type(uint64_t flags) { return &types[flags / 4 % WORLD_TYPES]; }

// ---- what the port did, for the oracle to repeat

int world_step_of(gomem_ev k) {
	switch (k) {
	case EV_MSPANALLOC:
	case EV_MCACHEALLOC: // structures of spans and of caches are no decisions: the oracle has none
	case EV_MARKTURN:    // nor has it an order of marking
		return -1;
	case EV_PUSH:
		return ORACLE_STEP_PUSH;
	case EV_POP:
		return ORACLE_STEP_POP;
	case EV_ACQUIRE:
		return ORACLE_STEP_ACQUIRE;
	case EV_SCLOAD:
	case EV_SCUPDATE:
		return ORACLE_STEP_INDEX;
	case EV_NEEDZERO:
		return ORACLE_STEP_ZEROED;
	case EV_SCAVFIND:
		return ORACLE_STEP_SCAV;
	default:
		return ORACLE_STEP_LOCK;
	}
}

static void on_turn(void *ctx, gomem_ev k) {
	world *w = ctx;
	const int step = world_step_of(k);
	if (step >= 0 && w->nsteps < WORLD_STEPS) {
		w->steps[w->nsteps++] = (uint8_t)step;
	}
}

void world_on_event(void *ctx, gomem_ev k, uint64_t a, uint64_t b, uint64_t c, uint64_t d) {
	(void)ctx;
	(void)k;
	(void)a;
	(void)b;
	(void)c;
	(void)d;
}

// same compares an answer of the port with the oracle's, and counts it.
static void same(world *w, const char *what, uint64_t port, uint64_t wanted) {
	fuzz_equal(what, port, wanted);
	w->compared++;
}

static void on_busy(void *ctx, const char *name) {
	(void)ctx;
	fuzz_fail("one thread asks for the lock %s twice", name);
}

// A build without hooks does not tell its steps.
static void oracle_step_taken(void *ctx, oracle_step step) {
	world *w = ctx;
	if (!GOMEM_LAB) {
		return;
	}
	if (w->oracle_step != NULL) {
		w->oracle_step(w->oracle_step_ctx, step);
		return;
	}
	if (w->step >= w->nsteps) {
		fuzz_fail("the oracle takes a step (%d) that gomem did not take", (int)step);
	}
	same(w, "step that Ps share", w->steps[w->step], step);
	w->step++;
}

void world_use_lab(world *w) { w->lab = (gomem_lab){w, on_turn, world_on_event, on_busy, NULL}; }

void world_oracle_steps(world *w, void (*step)(void *ctx, oracle_step step), void *ctx) {
	w->oracle_step = step;
	w->oracle_step_ctx = ctx;
}

static const fuzz_os_kind osKinds[] = {
	[ORACLE_OS_RESERVE] = FUZZ_OS_RESERVE,
	[ORACLE_OS_RESERVE_ALIGNED] = FUZZ_OS_RESERVE_ALIGNED,
	[ORACLE_OS_RELEASE] = FUZZ_OS_UNRESERVE,
	[ORACLE_OS_MAP] = FUZZ_OS_MAP,
	[ORACLE_OS_USED] = FUZZ_OS_USED,
	[ORACLE_OS_UNUSED] = FUZZ_OS_UNUSED,
};

// next_oscall gives the next call that the caller made; NULL: it made no more. Callers are compared one by one: a P of the port may wait between a
// step and a call for a lock that the oracle does not have.
static const fuzz_os_call *next_oscall(world *w) {
	size_t logged;
	const fuzz_os_call *log = fuzz_os_log(&logged);
	size_t *at = &w->oscall[w->caller];
	while (*at < logged && log[*at].caller != w->caller) {
		++*at;
	}
	return *at < logged ? &log[(*at)++] : NULL;
}

static uint64_t oracle_os(void *ctx, oracle_os_call call, uint64_t addr, uint64_t n) {
	world *w = ctx;
	const fuzz_os_call *did = next_oscall(w);
	if (did == NULL) {
		fuzz_fail("the oracle asks the OS (%d) for %#llx, %llu bytes; gomem did not", (int)call,
			(unsigned long long)addr, (unsigned long long)n);
	}
	w->oscalls++;
	same(w, "what was asked of the OS", did->kind, osKinds[call]);
	same(w, "address asked of the OS", did->addr, addr);
	same(w, "bytes asked of the OS", did->n, n);
	return did->got;
}

static void forget(world *w) {
	fuzz_os_forget();
	w->oscalls = 0;
	memset(w->oscall, 0, sizeof w->oscall);
	w->nsteps = 0;
	w->step = 0;
}

bool world_lost(world *w) {
	if (w->compare && fuzz_os_failed() > 0) {
		w->compare = false;
	}
	if (!w->compare) {
		forget(w);
	}
	return !w->compare;
}

void world_settle(world *w) {
	size_t logged;
	(void)fuzz_os_log(&logged);
	for (w->caller = 0; w->oscalls < logged && w->caller <= WORLD_PS; w->caller++) {
		const fuzz_os_call *more = next_oscall(w);
		if (more != NULL) {
			fuzz_fail("gomem asked the OS (%d) for %#llx, %llu bytes; the oracle does not", (int)more->kind,
				(unsigned long long)more->addr, (unsigned long long)more->n);
		}
	}
	w->caller = 0;
	if (w->step < w->nsteps) {
		fuzz_fail("gomem takes a step (%d) that the oracle does not take", w->steps[w->step]);
	}
	forget(w);
}

// ---- callbacks

// revives: an object that its special brings back does so each time.
static bool revives(void *ctx, uint64_t slot) {
	const world *w = ctx;
	for (size_t i = 0; i < w->nspecials; i++) {
		if (w->specials[i].revives && w->specials[i].slot == slot) {
			return true;
		}
	}
	return false;
}

static bool policy_revive(void *ctx, gomem_heap *h, struct mspan *s, uintptr_t objIndex) {
	(void)h;
	return revives(ctx, mspan_base(s) + objIndex * s->elemsize);
}

static void on_sample(void *ctx, void *obj, uintptr_t size) {
	(void)ctx;
	fuzz_check(obj != NULL && size > 0, "sample of nothing");
}

// on_throw: two cases of out of memory while sweeping throw, as in Go (docs/FIDELITY.md). The heap is lost then.
static void on_throw(void *ctx, const char *msg) {
	world *w = ctx;
	if (fuzz_os_failed() > 0 && strstr(msg, "while sweeping") != NULL && strstr(msg, "out of memory for ") == msg) {
		fuzz_give_up();
	}
	fuzz_thrown(&w->guard, msg);
}

// ---- begin and end

static const uintptr_t physPages[] = {4096, 8192, 16384, 65536, 4096, 524288};

static oracle_platform platform_of(const gomem_layout *L, const gomem_os *os) {
	return (oracle_platform){
		.word = L->ptrSize,
		.lowest = L->arenaBaseOffset,
		.address_bits = L->heapAddrBits,
		.random_bits = L->randHeapAddrBits,
		.chunk_pages = layout_chunkPages(L),
		.reclaim_pages = L->pagesPerReclaimerChunk,
		.hint = L->arenaHintBase,
		.hint_step = (uint64_t)1 << L->arenaHintShift,
		.nhints = L->numHeapArenaHints,
		.first_hint = L->firstArenaHint,
		.one_arena = L->ptrSize == 4 && L->reserve != LAYOUT_RESERVE_SBRK,
		.program_end = os->programEnd,
		.trims_both_ends = L->reserve == LAYOUT_RESERVE_SBRK,
		.reserves_again = L->reserve == LAYOUT_RESERVE_WHOLE,
		.stack_min = L->fixedStack,
		.stack_orders = L->numStackOrders,
		.aligned_stacks = L->physPageAlignedStacks,
	};
}

static void begin_oracle(world *w, uint64_t flags, uint64_t seed, const gomem_os *os) {
	const oracle_platform platform = platform_of(&w->layout, os);
	const oracle_config cfg = {
		.platform = &platform,
		.os = oracle_os,
		.os_ctx = w,
		.step = oracle_step_taken,
		.step_ctx = w,
		.revive = revives,
		.revive_ctx = w,
		.seed = seed,
		.no_randomized_base = (flags & WORLD_NO_RANDOM_BASE) != 0 || !w->layout.randomizeHeapBase,
		.sbrk = (flags & WORLD_SBRK) != 0,
		.no_green_tea = (flags & WORLD_NO_GREEN_TEA) != 0,
		.freegc = (flags & WORLD_FREEGC) != 0,
		.unused_keeps_contents = (flags & (WORLD_KEEPS_CONTENTS | WORLD_SBRK)) != 0,
		.arena_bytes = w->layout.heapArenaBytes,
		.phys_page = os->physPageSize,
		.phys_huge_page = os->physHugePageSize,
	};
	w->o = oracle_new(&cfg);
}

static gomem_layout small_arenas(void) {
	gomem_layout L = layout_host;
	L.name = "4 MB arenas, two levels of the arena map";
	L.logHeapArenaBytes = 22;
	L.heapArenaBytes = 4u << 20;
	L.arenaL1Bits = fuzzWideWords ? 6 : 4;
	L.arenaL2Bits = (uint8_t)(L.heapAddrBits - L.logHeapArenaBytes - L.arenaL1Bits);
	return L;
}

// flags_of makes sense of the flags: without a random base the heap begins where nothing real can stand. But memory from a break is real, and
// what it holds stays.
static uint64_t flags_of(uint64_t flags) {
	// A byte has no bit left: 128 and 4 together ask for a break.
	const uint64_t fromBreak = WORLD_FREEGC | WORLD_NO_RANDOM_BASE;
	if ((flags & WORLD_UNBACKED) == 0 && (flags & fromBreak) == fromBreak) {
		flags |= WORLD_SBRK;
	}
	return (flags & WORLD_UNBACKED) != 0 ? flags : flags & ~(uint64_t)WORLD_NO_RANDOM_BASE;
}

// The space for reservations: all that the layout has addresses for, but of amd64 the lower half, and nothing where this process has its own
// memory.
static void limit_addresses(const gomem_layout *L, fuzz_os_config *cfg) {
	const uint64_t ours = (uint64_t)0x7000 << 32;
	const bool signExtended = L->arenaBaseOffset >> 63 != 0;
	cfg->lowest = signExtended ? 0 : L->arenaBaseOffset;
	cfg->highest = cfg->lowest + ((uint64_t)1 << (L->heapAddrBits - (signExtended ? 1 : 0)));
	cfg->highest = cfg->lowest < ours && cfg->highest > ours ? ours : cfg->highest;
}

static void *begin(const uint64_t *config, uint64_t flags, uint64_t phys, const gomem_layout *L) {
	world *w = calloc(1, sizeof *w);
	fuzz_check(w != NULL, "out of memory");
	// Tables of which most is never touched: there is one world at a time.
	static world_object objects[WORLD_OBJECTS];
	static uint8_t steps[WORLD_STEPS];
	w->objects = objects;
	w->steps = steps;
	w->backed = (flags & WORLD_UNBACKED) == 0;
	w->compare = true;
	w->budget = WORLD_MANY;
	w->pages = w->backed ? WORLD_PAGES_REAL : config[2] == WORLD_VAST ? WORLD_PAGES_VAST : WORLD_PAGES;
	w->c = contract_new(w->backed, fuzz_unhurried());
	w->layout = *L;
	const bool runTimeLayout = layout_get(&(gomem_env){.layout = &w->layout}) == &w->layout;
	if (!runTimeLayout) {
		w->layout = layout_host;
	}
	fuzz_os_config system = {
		.physPageSize = (uintptr_t)phys,
		.physHugePageSize = (flags & WORLD_HUGE_PAGES) != 0 ? 2 << 20 : 0,
		.backed = w->backed,
		.unusedKeepsContents = (flags & WORLD_KEEPS_CONTENTS) != 0,
		.sbrk = (flags & WORLD_SBRK) != 0 ? mem_sbrk_new : NULL,
		.wide = w->layout.heapAddrBits > 32,
	};
	if (!w->backed) {
		limit_addresses(&w->layout, &system);
	}
	gomem_os *os = fuzz_os_begin(&system);
	os->programEnd = (uintptr_t)(w->backed ? FUZZ_OS_BASE + config[0] % 0x8000000 : 0x8048000 + config[0] % 0x40000000);
	// The lower bits of the seed decide offset and padding; hash them, so that a small number is as good as any.
	uint64_t state = config[0];
	const uint64_t low = fuzz_random(&state) >> 20;
	const uint64_t seed = config[0] == 0 ? FUZZ_OS_SEED | 1 : w->backed ? FUZZ_OS_SEED | low : fuzz_random(&state) | 1;
	w->policy = (gomem_policy){.ctx = w, .reviveSpecial = policy_revive};
	world_use_lab(w);
	const gomem_config cfg = {
		.os = os,
		.policy = &w->policy,
		.lab = &w->lab,
		.layout = runTimeLayout ? &w->layout : NULL,
		.rand_seed = seed,
		.no_randomized_base = (flags & WORLD_NO_RANDOM_BASE) != 0,
		.no_greentea = (flags & WORLD_NO_GREEN_TEA) != 0,
		.runtime_freegc = (flags & WORLD_FREEGC) != 0,
		.checked = true,
		.throw_hook = on_throw,
		.throw_ctx = w,
		.sample = (flags & WORLD_SAMPLES) != 0 ? on_sample : NULL,
		.sample_ctx = w,
		.sample_rate = 4096,
	};
	w->h = gomem_heap_new_bare(&cfg);
	fuzz_check(w->h != NULL, "a heap cannot be made");
	// Where the heap reserves at the start, the oracle does. Steps are taken later only.
	begin_oracle(w, flags, seed, os);
	w->nsteps = 0;
	world_settle(w);
	if (config[3] != 1) {
		world_procs(w, (const uint64_t[FUZZ_MAX_ARGS]){config[3]});
	}
	return w;
}

static gomem_layout layout_of(uint64_t flags) {
	if ((flags & WORLD_SBRK) != 0) {
		return fuzz_platform(fuzzWideWords ? "js/wasm" : "plan9/386");
	}
	return (flags & WORLD_SMALL_ARENAS) != 0 ? small_arenas() : layout_host;
}

void *world_begin(const uint64_t *config) {
	const uint64_t flags = flags_of(config[1]);
	const gomem_layout L = layout_of(flags);
	return begin(config, flags, physPages[config[2]], &L);
}

void *world_begin_on(const uint64_t *config, const gomem_layout *L) {
	const uint64_t phys = config[2] != 0 ? physPages[config[2]] : L->defaultPhysPageSize;
	const bool onBreak = L->reserve == LAYOUT_RESERVE_SBRK && (config[1] & WORLD_SMALL_ARENAS) == 0;
	return begin(config, flags_of(config[1] | WORLD_UNBACKED) | (onBreak ? WORLD_SBRK : 0), phys, L);
}

static void release(world *w) {
	oracle_free(w->o);
	contract_free(w->c);
	free(w);
}

void world_end(void *v) {
	world *w = v;
	fuzz_os_fail(0, 0);
	world_check(w);
	for (size_t i = 0; i < w->nobjects && fuzz_unhurried(); i++) {
		fuzz_heap_look_inside(w->h, w->objects[i].addr, w->objects[i].size);
	}
	gomem_heap_destroy(w->h);
	fuzz_equal("bytes that a heap that is gone holds", fuzz_os_held(), 0);
	release(w);
}

// Memory that came from the OS goes with the next fuzz_os_begin.
void world_abandon(void *v) {
	world *w = v;
	fuzz_heap_forget(w->h);
	release(w);
}

// ---- checks

void world_check(world *w) {
	fuzz_must(gomem_heap_check(w->h));
	fuzz_must(contract_check(w->c));
	world_read_stats(w, NULL);
}

void world_after(void *v) {
	world *w = v;
	if (fuzz_thorough()) {
		world_check(w);
	}
}

// ---- Ps

static void prepare(world *w, int id) {
	gomem_prepareForSweep(w->h, gomem_heap_p(w->h, id));
	if (!world_lost(w)) {
		oracle_prepare_for_sweep(w->o, id);
		world_settle(w);
	}
}

gomem_p *world_p(world *w, uint64_t n, int *id) {
	if (w->nprocs == 0) {
		*id = -1;
		return NULL;
	}
	*id = (int)(n % (unsigned)w->nprocs);
	prepare(w, *id);
	return gomem_heap_p(w->h, *id);
}

gomem_p *world_p_or_none(world *w, uint64_t n, bool none, int *id) {
	gomem_p *p = world_p(w, n, id);
	if (!none) {
		return p;
	}
	*id = -1;
	return NULL;
}

void world_procs(void *v, const uint64_t *a) {
	world *w = v;
	const int n = 1 + (int)a[0];
	if (w->marking) {
		return; // Go stops the world for it, and keeps it for after the cycle
	}
	if (w->nprocs > 0) {
		// Those that go are prepared like all others: the world was stopped at the end of the last cycle.
		for (int i = 0; i < w->nprocs; i++) {
			prepare(w, i);
		}
	}
	if (!gomem_procresize(w->h, n)) {
		fuzz_check(world_lost(w), "procresize fails though the OS did not");
		return;
	}
	if (!world_lost(w)) {
		oracle_procresize(w->o, n);
		world_settle(w);
	}
	w->nprocs = n;
}

void world_prepare(void *v, const uint64_t *a) {
	int id;
	world_p(v, a[0], &id);
}

// ---- objects

void world_add_object(world *w, uint64_t addr, uint64_t size, const gomem_type *typ, bool needzero) {
	fuzz_must(contract_allocated(w->c, addr, size, contract_align(size), needzero || typ != NULL));
	fuzz_check(w->nobjects < WORLD_OBJECTS, "room for an object");
	w->objects[w->nobjects++] = (world_object){addr, size, typ, w->marking};
}

// allocate asks both for an object. false: out of memory.
static bool allocate(world *w, gomem_p *p, int id, uint64_t size, uint64_t flags) {
	const bool pointers = (flags & WORLD_NOSCAN) == 0, needzero = (flags & WORLD_ZEROED) != 0;
	const gomem_type *typ = pointers ? world_type(flags) : NULL;
	if (pointers) {
		size = (size + typ->size - 1) / typ->size * typ->size;
	}
	const uintptr_t addr = (uintptr_t)gomem_mallocgc(w->h, p, (uintptr_t)size, typ, needzero);
	if (world_lost(w)) {
		if (addr != 0 && size != 0) {
			world_add_object(w, addr, size, typ, needzero);
		}
		return addr != 0;
	}
	const uint64_t want = oracle_malloc(w->o, id, size, pointers, needzero);
	world_settle(w);
	if (size == 0) {
		same(w, "an object without size", addr, (uintptr_t)&w->h->zerobase);
		return true;
	}
	same(w, "address of an object", addr, want);
	world_add_object(w, addr, size, typ, needzero);
	return true;
}

void world_malloc(void *v, const uint64_t *a) {
	world *w = v;
	int id;
	gomem_p *p = world_p(w, a[0], &id);
	allocate(w, p, id, a[1], a[2]);
}

void world_malloc_many(void *v, const uint64_t *a) {
	world *w = v;
	int id;
	gomem_p *p = world_p(w, a[0], &id);
	// Real memory is touched: not too much of it. And many objects take long: a program that has many has only a few more.
	const uint64_t most = w->backed ? (1 << 16) + 2 * a[1] : UINT64_MAX;
	const uint64_t cost = 1 + a[1] / 4096, all = w->budget / cost;
	const uint64_t n = a[3] < all ? a[3] : all;
	for (uint64_t i = 0; i < n && i * a[1] < most; i++) {
		if (!allocate(w, p, id, a[1], a[2])) {
			return;
		}
	}
	w->budget -= n * cost;
	w->budget = w->budget > WORLD_FEW * cost ? w->budget : WORLD_FEW * cost;
}

void world_malloc_tiny(void *v, const uint64_t *a) {
	world *w = v;
	int id;
	gomem_p *p = world_p(w, a[0], &id);
	for (uint64_t i = 0; i < a[2]; i++) {
		allocate(w, p, id, 1 + (a[1] + i * a[2]) % 15, WORLD_NOSCAN);
	}
}

uint64_t world_spend_pages(world *w, uint64_t n) {
	if (w->backed) {
		n %= WORLD_MANY_PAGES;
	}
	if (n > w->pages) {
		return n % (w->backed ? WORLD_MANY_REAL : WORLD_MANY_PAGES);
	}
	w->pages -= n;
	return n;
}

void world_malloc_large(void *v, const uint64_t *a) {
	world *w = v;
	int id;
	gomem_p *p = world_p(w, a[0], &id);
	const uint64_t pages = world_spend_pages(w, a[1]);
	// To clear real memory takes time: large ones are not asked to be zero.
	const uint64_t flags = w->backed && pages > 12 ? WORLD_NOSCAN : a[3];
	allocate(w, p, id, pages * 8192 + a[2], flags);
}

static void drop_at(world *w, size_t i) {
	fuzz_must(contract_freed(w->c, w->objects[i].addr));
	w->objects[i] = w->objects[--w->nobjects];
}

void world_drop(void *v, const uint64_t *a) {
	world *w = v;
	for (uint64_t i = 0; i < a[1] && w->nobjects > 0; i++) {
		drop_at(w, (size_t)((a[0] + i * 7) % w->nobjects));
	}
}

void world_drop_each(void *v, const uint64_t *a) {
	world *w = v;
	const size_t step = 1 + (size_t)a[0];
	for (size_t i = w->nobjects; i-- > 0;) {
		if (i % step == a[1] % step) {
			drop_at(w, i);
		}
	}
}

void world_rewrite(void *v, const uint64_t *a) {
	world *w = v;
	if (w->nobjects == 0) {
		return;
	}
	const world_object *obj = &w->objects[a[0] % w->nobjects];
	fuzz_must(contract_freed(w->c, obj->addr));
	fuzz_must(contract_allocated(w->c, obj->addr, obj->size, 1, false));
}

// ---- the cycle

// mark marks an object through a pointer into it.
static void mark(world *w, world_object *obj, uint64_t offset) {
	const uint64_t addr = obj->addr + offset % obj->size;
	fuzz_check(gomem_mark(w->h, (const void *)(uintptr_t)addr), "a live object cannot be marked");
	if (w->compare) {
		fuzz_check(oracle_mark(w->o, addr), "the oracle does not know a live object");
	}
	obj->marked = true;
}

// world_gc_finish ends the cycle that is under way.
static void world_gc_finish(world *w) {
	if (!w->marking) {
		return;
	}
	for (size_t i = 0; i < w->nobjects; i++) {
		if (!w->objects[i].marked) {
			mark(w, &w->objects[i], i * 3);
		}
	}
	w->marking = false;
	gomem_setGCPhase(w->h, gcMarkTermination);
	gomem_setGCPhase(w->h, gcOff);
	gomem_startsweep(w->h);
	if (!world_lost(w)) {
		oracle_set_phase(w->o, gcOff);
		oracle_start_sweep(w->o);
		world_settle(w);
	}
}

// An operation that has nothing to work on first makes it: a cycle, an object, a stack.
void world_gc_begin(void *v, const uint64_t *a) {
	world *w = v;
	int id;
	gomem_p *p = world_p(w, a[0], &id);
	if (p == NULL) {
		return;
	}
	world_gc_finish(w);
	for (int i = 0; i < w->nprocs; i++) {
		prepare(w, i);
	}
	gomem_finishsweep(w->h, p);
	gomem_setGCPhase(w->h, gcMark);
	if (!world_lost(w)) {
		oracle_finish_sweep(w->o, id);
		oracle_set_phase(w->o, gcMark);
		world_settle(w);
	}
	w->marking = true;
	for (size_t i = 0; i < w->nobjects; i++) {
		w->objects[i].marked = false;
	}
}

static void world_gc_need(world *w) {
	if (!w->marking) {
		world_gc_begin(w, (const uint64_t[FUZZ_MAX_ARGS]){0});
	}
}

void world_mark_some(void *v, const uint64_t *a) {
	world *w = v;
	world_gc_need(w);
	for (uint64_t i = 0; w->marking && w->nobjects > 0 && i < a[1]; i++) {
		mark(w, &w->objects[(a[0] + i) % w->nobjects], i * 8);
	}
}

static uint64_t near_object(const world *w, const uint64_t *a) {
	const uint64_t base = w->nobjects > 0 ? w->objects[a[0] % w->nobjects].addr : FUZZ_OS_BASE;
	return layout_uintptr(&w->layout, a[2] != 0 ? base - a[1] : base + a[1]);
}

void world_mark_wild(void *v, const uint64_t *a) {
	world *w = v;
	world_gc_need(w);
	const uint64_t addr = near_object(w, a);
	if (!w->marking || !w->compare) {
		return;
	}
	same(w, "mark of any address", gomem_mark(w->h, (const void *)(uintptr_t)addr), oracle_mark(w->o, addr));
}

void world_gc_end(void *v, const uint64_t *a) {
	world *w = v;
	if (!w->marking) {
		world_gc_begin(w, a);
	}
	world_gc_finish(w);
}

void world_gc(void *v, const uint64_t *a) {
	world *w = v;
	world_gc_begin(w, a);
	world_gc_end(w, a);
	if (a[1] != 0) {
		world_sweep(w, (const uint64_t[FUZZ_MAX_ARGS]){a[0], UINT64_MAX});
		world_free_stack_spans(w, a);
	}
}

void world_sweep(void *v, const uint64_t *a) {
	world *w = v;
	int id;
	gomem_p *p = world_p(w, a[0], &id);
	for (uint64_t i = 0; i < a[1]; i++) {
		const uintptr_t got = gomem_sweepone(w->h, p);
		if (!world_lost(w)) {
			same(w, "sweepone", got, (uintptr_t)oracle_sweep_one(w->o, id));
			world_settle(w);
		}
		if (got == ~(uintptr_t)0) {
			return;
		}
	}
}

void world_pace(void *v, const uint64_t *a) {
	world *w = v;
	if (isSweepDone(w->h)) { // a rate is set only where there is something to sweep
		world_gc(w, (const uint64_t[FUZZ_MAX_ARGS]){0});
	}
	const uint64_t trigger = atomic_load(&w->h->stats.heapLive) + a[0];
	gcPaceSweeper(w->h, trigger);
	if (!world_lost(w)) {
		oracle_pace(w->o, trigger);
	}
}

void world_special(void *v, const uint64_t *a) {
	world *w = v;
	if (w->nobjects == 0) {
		world_malloc(w, (const uint64_t[FUZZ_MAX_ARGS]){0, 48});
	}
	if (w->nobjects == 0 || w->nspecials == WORLD_SPECIALS) {
		return;
	}
	const uint64_t addr = w->objects[a[0] % w->nobjects].addr;
	const uint64_t slot = gomem_findObject(w->h, (uintptr_t)addr);
	for (size_t i = 0; i < w->nspecials; i++) {
		if (w->specials[i].slot == slot) {
			return; // one for each slot is enough, and those that revive stay for ever
		}
	}
	// A span that a P caches since before the cycle is waited for until that P flushes it.
	for (int i = 0; i < w->nprocs; i++) {
		prepare(w, i);
	}
	int id;
	gomem_p *p = world_p(w, a[0], &id);
	mspan *s = spanOf(w->h, (uintptr_t)addr);
	world_record *r = &w->specials[w->nspecials++];
	*r = (world_record){.slot = slot, .revives = a[1] != 0, .record = {.offset = (uintptr_t)addr - mspan_base(s)}};
	addspecial(w->h, p, s, &r->record);
	if (!world_lost(w)) {
		oracle_add_special(w->o, id, addr);
		world_settle(w);
	}
}

// ---- collections from roots: a graph is written into the objects for as long as one takes

typedef struct graph {
	uint64_t random;
	oracle_word words[WORLD_LINKS];
	uintptr_t before[WORLD_LINKS]; // what stood there
	size_t from[WORLD_LINKS];      // the objects that they stand in
	unsigned nwords;
	size_t picked;                                   // the object that was pointed into last
	uintptr_t exact[WORLD_ROOTS], wild[WORLD_ROOTS]; // roots with a mask, and without
	uint8_t mask[WORLD_ROOTS / 8];
	uint64_t reaching[2 * WORLD_ROOTS]; // what the roots hold that counts
	unsigned nreaching;
} graph;

// is_pointer_word: an object is an array of its type.
static bool is_pointer_word(const world_object *obj, uint64_t off) {
	if (obj->typ == NULL || off % obj->typ->size >= obj->typ->ptr_bytes) {
		return false;
	}
	const uint64_t word = off % obj->typ->size / wordBytes;
	return (obj->typ->ptr_mask[word / 8] >> word % 8 & 1) != 0;
}

static uint64_t into(const world *w, graph *g, size_t i) {
	g->picked = i;
	return w->objects[i].addr + fuzz_below(&g->random, w->objects[i].size);
}

static uint64_t into_object(const world *w, graph *g) {
	return into(w, g, (size_t)fuzz_below(&g->random, w->nobjects));
}

// pointer_value gives what a pointer word may hold: a pointer into an object or a stack, no pointer to the heap, or nil.
static uint64_t pointer_value(const world *w, graph *g) {
	const uint64_t how = fuzz_below(&g->random, 16);
	if (how == 0) {
		return fuzz_below(&g->random, 2) * (uintptr_t)w;
	}
	return how == 1 && w->nstacks > 0 ? w->stacks[fuzz_below(&g->random, w->nstacks)].addr : into_object(w, g);
}

// wild_value gives what any other word may hold: also pointers to what is free, near objects and far from them.
static uint64_t wild_value(const world *w, graph *g) {
	static const uint64_t reach[] = {64, 1024, 8192, 1 << 20, 1 << 26};
	const uint64_t far = fuzz_below(&g->random, reach[fuzz_below(&g->random, 5)]);
	const uint64_t near = into_object(w, g);
	const uint64_t how = fuzz_below(&g->random, 4);
	return how == 0 ? near : how == 1 ? near - far : how == 2 ? near + far : fuzz_random(&g->random);
}

static bool is_written(const graph *g, uint64_t at) {
	for (unsigned i = 0; i < g->nwords; i++) {
		if (g->words[i].at == at) {
			return true;
		}
	}
	return false;
}

// choose_word gives the offset of a word of obj: more often of one that holds a pointer, and of the last one.
static uint64_t choose_word(const world_object *obj, graph *g) {
	const uint64_t words = obj->size / wordBytes;
	uint64_t word = fuzz_below(&g->random, 4) == 0 ? words - 1 : fuzz_below(&g->random, words);
	for (unsigned tries = 0; tries < 4 && !is_pointer_word(obj, word * wordBytes); tries++) {
		word = tries % 2 == 0 && word > 0 ? word - 1 : fuzz_below(&g->random, words);
	}
	return word * wordBytes;
}

// write_links writes words into objects: chains, since what nothing points to shows nothing.
static void write_links(const world *w, graph *g, uint64_t n) {
	g->picked = (size_t)fuzz_below(&g->random, w->nobjects);
	for (uint64_t i = 0; i < n; i++) {
		const bool chained = fuzz_below(&g->random, 4) != 0;
		const size_t from = chained ? g->picked : (size_t)fuzz_below(&g->random, w->nobjects);
		const world_object *obj = &w->objects[from];
		const uint64_t off = obj->size < wordBytes ? 0 : choose_word(obj, g);
		oracle_word *to = &g->words[g->nwords];
		if (obj->size < wordBytes || is_written(g, obj->addr + off)) {
			g->picked = (size_t)fuzz_below(&g->random, w->nobjects);
			continue;
		}
		g->from[g->nwords] = from;
		*to = (oracle_word){.at = obj->addr + off, .pointer = is_pointer_word(obj, off)};
		const uintptr_t value = (uintptr_t)(to->pointer ? pointer_value(w, g) : wild_value(w, g));
		to->value = value;
		memcpy(&g->before[g->nwords++], (const void *)(uintptr_t)to->at, wordBytes);
		memcpy((void *)(uintptr_t)to->at, &value, wordBytes);
	}
}

// root_value: half of the roots point to where something was written.
static uint64_t root_value(const world *w, graph *g) {
	if (g->nwords > 0 && fuzz_below(&g->random, 2) != 0) {
		return into(w, g, g->from[fuzz_below(&g->random, g->nwords)]);
	}
	return pointer_value(w, g);
}

static void choose_roots(const world *w, graph *g, uint64_t n) {
	for (uint64_t i = 0; i < n; i++) {
		const bool named = fuzz_below(&g->random, 4) != 0;
		g->mask[i / 8] |= (uint8_t)(named << i % 8);
		g->exact[i] = (uintptr_t)(named ? root_value(w, g) : wild_value(w, g));
		g->wild[i] = (uintptr_t)wild_value(w, g);
		if (named) {
			g->reaching[g->nreaching++] = g->exact[i];
		}
		g->reaching[g->nreaching++] = g->wild[i];
	}
}

// lives says whether the port has an object at addr, after a sweep.
static bool lives(const world *w, uint64_t addr) {
	mspan *s = spanOfHeap(w->h, (uintptr_t)addr);
	return s != NULL && !mspan_isFree(s, mspan_objIndex(s, (uintptr_t)addr));
}

// The oracle's whole collection.
static void oracle_collect(world *w, const graph *g, int id) {
	oracle *o = w->o;
	for (int i = 0; i < w->nprocs; i++) {
		oracle_prepare_for_sweep(o, i);
	}
	oracle_finish_sweep(o, id);
	oracle_set_phase(o, gcMark);
	oracle_reach(o, g->reaching, g->nreaching, g->words, g->nwords);
	oracle_set_phase(o, gcOff);
	oracle_end_marking(o);
	oracle_start_sweep(o);
	oracle_free_stack_spans(o, id);
	for (int i = 0; i < w->nprocs; i++) {
		oracle_prepare_for_sweep(o, i);
	}
	while (oracle_sweep_one(o, id) != UINT64_MAX) {
	}
	world_settle(w);
}

// restore_links writes back what stood in objects that still are there.
static void restore_links(world *w, const graph *g) {
	for (unsigned i = 0; i < g->nwords; i++) {
		if (lives(w, g->words[i].at)) {
			memcpy((void *)(uintptr_t)g->words[i].at, &g->before[i], wordBytes);
		}
	}
}

// collect_whole: the objects that died may be anybody's memory when it returns.
static void collect_whole(world *w, gomem_p *p, int id, const graph *g, const gomem_root roots[2]) {
	gomem_gc(w->h, p, roots, 2);
	if (!world_lost(w)) {
		oracle_collect(w, g, id);
	}
	restore_links(w, g);
	for (size_t i = w->nobjects; i-- > 0;) {
		const uint64_t addr = w->objects[i].addr;
		const bool kept = lives(w, addr);
		if (w->compare) {
			fuzz_equal("an object is kept", kept, oracle_is_allocated(w->o, addr));
		}
		if (!kept) {
			fuzz_must(contract_collected(w->c, addr));
			w->objects[i] = w->objects[--w->nobjects];
		}
	}
}

// collect_by_steps leaves the sweep to others.
static void collect_by_steps(world *w, const graph *g, const gomem_root roots[2]) {
	gomem_markroots(w->h, roots, 2);
	if (fuzz_thorough()) {
		fuzz_must(mgcmark_check(w->h));
	}
	if (!world_lost(w)) {
		oracle_reach(w->o, g->reaching, g->nreaching, g->words, g->nwords);
		fuzz_equal("bytes that live", atomic_load(&w->h->work.bytesMarked), oracle_marked_bytes(w->o));
	}
	restore_links(w, g);
	for (size_t i = w->nobjects; i-- > 0;) {
		world_object *obj = &w->objects[i];
		obj->marked = gomem_isMarked(w->h, (const void *)(uintptr_t)obj->addr);
		if (w->compare) {
			fuzz_equal("an object is marked", obj->marked, oracle_is_marked(w->o, obj->addr));
		}
		if (!obj->marked) {
			drop_at(w, i);
		}
	}
	world_gc_finish(w);
}

void world_collect(void *v, const uint64_t *a) {
	world *w = v;
	int id;
	if (w->nobjects == 0) {
		world_malloc(w, (const uint64_t[FUZZ_MAX_ARGS]){a[0], 48});
	}
	gomem_p *p = world_p(w, a[0], &id);
	if (p == NULL || w->nobjects == 0 || !w->backed) {
		return; // what is addresses only has no pointers in it
	}
	world_gc_finish(w);
	p = world_p(w, a[0], &id);
	if (a[4] == 0) {
		world_gc_begin(w, a);
	}
	graph g = {.random = a[1]};
	write_links(w, &g, a[2]);
	choose_roots(w, &g, a[3]);
	const gomem_root roots[2] = {{g.exact, (size_t)a[3] * wordBytes, g.mask}, {g.wild, (size_t)a[3] * wordBytes, NULL}};
	if (a[4] != 0) {
		collect_whole(w, p, id, &g, roots);
	} else {
		collect_by_steps(w, &g, roots);
	}
}

// ---- objects that are given back

static bool has_special(const world *w, uint64_t slot) {
	for (size_t i = 0; i < w->nspecials; i++) {
		if (w->specials[i].slot == slot) {
			return true;
		}
	}
	return false;
}

static void free_one(world *w, gomem_p *p, int id, size_t i) {
	const world_object obj = w->objects[i];
	const bool pointers = obj.typ != NULL;
	if (has_special(w, gomem_findObject(w->h, (uintptr_t)obj.addr))) {
		return;
	}
	fuzz_must(contract_freed(w->c, obj.addr));
	const bool got = gomem_freegc(w->h, p, (void *)(uintptr_t)obj.addr, (uintptr_t)obj.size, !pointers);
	if (!world_lost(w)) {
		fuzz_equal("an object is taken back", got, oracle_freegc(w->o, id, obj.addr, obj.size, pointers));
		world_settle(w);
	}
	if (got) {
		w->objects[i] = w->objects[--w->nobjects];
	} else {
		fuzz_must(contract_allocated(w->c, obj.addr, obj.size, 1, false));
	}
}

void world_freegc(void *v, const uint64_t *a) {
	world *w = v;
	int id;
	if (w->nobjects == 0) {
		world_malloc_many(w, (const uint64_t[FUZZ_MAX_ARGS]){a[0], 48, WORLD_NOSCAN, 4});
	}
	gomem_p *p = world_p(w, a[0], &id);
	for (uint64_t k = 0; k <= a[2] && w->nobjects > 0; k++) {
		free_one(w, p, id, (size_t)((a[1] + k * 5) % w->nobjects));
	}
}

// ---- stacks and other pages

static world_stack take_from(world *w, world_stack *list, size_t *n, uint64_t which) {
	world_stack *at = &list[which % *n];
	const world_stack taken = *at;
	*at = list[--*n];
	fuzz_must(contract_freed(w->c, taken.addr));
	return taken;
}

world_stack world_take_stack(world *w, uint64_t which) { return take_from(w, w->stacks, &w->nstacks, which); }
world_stack world_take_manual(world *w, uint64_t which) { return take_from(w, w->manuals, &w->nmanuals, which); }

void world_add_stack(world *w, uint64_t addr, uint64_t n) {
	if (addr != 0) {
		fuzz_check(w->nstacks < WORLD_STACKS, "room for a stack");
		fuzz_must(contract_allocated(w->c, addr, n, w->layout.fixedStack, false));
		w->stacks[w->nstacks++] = (world_stack){addr, n};
	}
}

void world_add_manual(world *w, uint64_t addr, uint64_t npages) {
	if (addr != 0) {
		fuzz_check(w->nmanuals < WORLD_STACKS, "room for pages");
		fuzz_must(contract_allocated(w->c, addr, npages * 8192, 8192, false));
		w->manuals[w->nmanuals++] = (world_stack){addr, npages};
	}
}

void world_stackalloc(void *v, const uint64_t *a) {
	world *w = v;
	int id;
	gomem_p *p = world_p_or_none(w, a[0], a[2] == 2, &id);
	const uint32_t n = (uint32_t)w->layout.fixedStack << a[1];
	const uintptr_t addr = (uintptr_t)gomem_stackalloc(w->h, p, n, a[2] == 1);
	if (!world_lost(w)) {
		same(w, "address of a stack", addr, oracle_stackalloc(w->o, id, n, a[2] == 1));
		world_settle(w);
	}
	world_add_stack(w, addr, n);
}

void world_stackfree(void *v, const uint64_t *a) {
	world *w = v;
	int id;
	if (w->nstacks == 0) {
		world_stackalloc(w, (const uint64_t[FUZZ_MAX_ARGS]){a[0], a[1] % 9, a[2]});
	}
	gomem_p *p = world_p_or_none(w, a[0], a[2] == 2, &id);
	if (w->nstacks == 0) {
		return; // out of memory
	}
	const world_stack stack = world_take_stack(w, a[1]);
	gomem_stackfree(w->h, p, (void *)(uintptr_t)stack.addr, (uintptr_t)stack.n, a[2] == 1);
	if (!world_lost(w)) {
		oracle_stackfree(w->o, id, stack.addr, stack.n, a[2] == 1);
		world_settle(w);
	}
}

void world_free_stack_spans(void *v, const uint64_t *a) {
	world *w = v;
	int id;
	world_gc_finish(w); // Go does so after the cycle
	gomem_p *p = world_p(w, a[0], &id);
	gomem_freeStackSpans(w->h, p);
	if (!world_lost(w)) {
		oracle_free_stack_spans(w->o, id);
		world_settle(w);
	}
}

void world_manual(void *v, const uint64_t *a) {
	world *w = v;
	int id;
	gomem_p *p = world_p_or_none(w, a[0], a[2] != 0, &id);
	const uint64_t npages = 1 + world_spend_pages(w, a[1]);
	const uintptr_t addr = (uintptr_t)gomem_allocManual(w->h, p, (uintptr_t)npages);
	if (!world_lost(w)) {
		same(w, "address of pages", addr, oracle_alloc_manual(w->o, id, npages));
		world_settle(w);
	}
	world_add_manual(w, addr, npages);
}

void world_free_manual(void *v, const uint64_t *a) {
	world *w = v;
	int id;
	if (w->nmanuals == 0) {
		world_manual(w, a);
	}
	gomem_p *p = world_p(w, a[0], &id);
	if (w->nmanuals == 0) {
		return; // out of memory
	}
	const uint64_t addr = world_take_manual(w, a[1]).addr;
	gomem_freeManual(w->h, p, (void *)(uintptr_t)addr);
	if (!world_lost(w)) {
		oracle_free_manual(w->o, id, addr);
		world_settle(w);
	}
}

void world_scavenge(void *v, const uint64_t *a) {
	world *w = v;
	const uintptr_t got = gomem_scavenge(w->h, NULL, (uintptr_t)a[0], a[1] != 0);
	if (!world_lost(w)) {
		same(w, "bytes scavenged", got, oracle_scavenge(w->o, a[0], a[1] != 0));
		world_settle(w);
	}
}

// ---- looking

static void look_at(world *w, uint64_t addr) {
	gomem_span_info got;
	oracle_span_info want;
	const bool found = gomem_spanOf(w->h, (uintptr_t)addr, &got);
	same(w, "a span covers the address", found, oracle_span_of(w->o, addr, &want));
	same(w, "object at an address", gomem_findObject(w->h, (uintptr_t)addr), oracle_find_object(w->o, addr));
	if (!found) {
		return;
	}
	same(w, "base of a span", got.base, want.base);
	same(w, "pages of a span", got.npages, want.npages);
	same(w, "a span is manual", got.state == 2, want.manual);
	same(w, "a span needs zeroing", got.needzero, want.needzero);
	if (!want.manual) {
		same(w, "class of a span", got.spanclass, want.class * 2 + want.noscan);
		same(w, "bytes of a slot", got.elemsize, want.slot_size);
		same(w, "slots of a span", got.nelems, want.slots);
		same(w, "allocated slots of a span", got.alloc_count, want.allocated);
	}
}

void world_look(void *v, const uint64_t *a) {
	world *w = v;
	if (w->nobjects > 0) {
		const world_object *obj = &w->objects[a[0] % w->nobjects];
		fuzz_heap_look(w->h, obj->addr, obj->size);
	}
	if (w->compare) {
		look_at(w, near_object(w, a));
	}
}

void world_look_around(void *v, const uint64_t *a) {
	world *w = v;
	if (w->compare && w->h->heapArenas.len > 0) {
		const uint64_t page = arenaBase(&w->layout, w->h->heapArenas.p[0]) + a[0] * 8192;
		look_at(w, page);
		look_at(w, page - 1);
	}
}

void world_read_stats(void *v, const uint64_t *a) {
	world *w = v;
	(void)a;
	gomem_memstats got;
	gomem_readmemstats(w->h, &got);
	if (!w->compare) {
		return;
	}
	oracle_stats want;
	oracle_read_stats(w->o, &want);
	same(w, "heap_in_use", got.heap_in_use, want.heap_in_use);
	same(w, "heap_free", got.heap_free, want.heap_free);
	same(w, "heap_released", got.heap_released, want.heap_released);
	same(w, "stacks_in_use", got.stacks_in_use, want.stacks_in_use);
	same(w, "work_bufs", got.work_bufs, want.manual_in_use);
	same(w, "total_alloc", got.total_alloc, want.total_alloc);
	same(w, "total_free", got.total_free, want.total_free);
	same(w, "mallocs", got.mallocs, want.mallocs);
	same(w, "frees", got.frees, want.frees);
	same(w, "tiny_allocs", got.tiny_allocs, want.tiny_allocs);
	same(w, "large_allocs", got.large_allocs, want.large_allocs);
	same(w, "heapLive", atomic_load(&w->h->stats.heapLive), oracle_live(w->o));
}

// ---- the world

void world_huge_pages(void *v, const uint64_t *a) {
	world *w = v;
	(void)a;
	mheap_enableMetadataHugePages(w->h);
	world_lost(w);
}

void world_os_move(void *v, const uint64_t *a) {
	(void)v;
	fuzz_os_move(a[0], a[1]);
}

void world_os_fail(void *v, const uint64_t *a) {
	(void)v;
	fuzz_os_fail(a[0], a[1]);
}

// ---- all operations

const fuzz_op_info world_ops[WORLD_OPS] = {
	WORLD_OP_OS_FAIL,
	WORLD_OP_MALLOC,
	WORLD_OP_MALLOC_MANY,
	WORLD_OP_MALLOC_TINY,
	WORLD_OP_MALLOC_LARGE,
	WORLD_OP_DROP,
	WORLD_OP_DROP_EACH,
	WORLD_OP_GC_BEGIN,
	WORLD_OP_MARK_SOME,
	WORLD_OP_MARK_WILD,
	WORLD_OP_GC_END,
	WORLD_OP_GC,
	WORLD_OP_PREPARE,
	WORLD_OP_SWEEP,
	WORLD_OP_PACE,
	WORLD_OP_SPECIAL,
	WORLD_OP_STACKALLOC,
	WORLD_OP_STACKFREE,
	WORLD_OP_FREE_STACK_SPANS,
	WORLD_OP_MANUAL,
	WORLD_OP_FREE_MANUAL,
	WORLD_OP_SCAVENGE,
	WORLD_OP_PROCS,
	WORLD_OP_LOOK,
	WORLD_OP_LOOK_AROUND,
	WORLD_OP_STATS,
	WORLD_OP_REWRITE,
	WORLD_OP_HUGE_PAGES,
	WORLD_OP_OS_MOVE,
	WORLD_OP_COLLECT,
	WORLD_OP_FREEGC,
};
