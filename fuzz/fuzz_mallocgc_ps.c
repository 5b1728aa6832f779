// fuzz_mallocgc_ps.c: several Ps at the same time, under a schedule that the input gives.
//
// Operations are queued for each P; `go` runs all queues at once, and so does `all`, which first gives each P the same
// job. Each P is a coroutine, and at every step that Ps share the schedule says who goes on. The order of steps is
// written down, and the oracle's Ps, coroutines too, take their steps in just that order. So each address must be the
// same, whatever the interleaving.
//
//   order[i]  who took the i-th step, and which. A P that finds a lock taken gives its place in the order up, and takes a new one
#include <stdlib.h>

#include "fuzz/heap_world.h"
#include "traces/coro.h"

enum {
	QUEUE = 12,       // operations for each P between two `go`
	MANY = 40,        // objects of one operation
	ALL_MANY = 160,   // objects of a program's operations of many: then each gets one
	START = 100,      // steps that are none of the oracle's: a P begins
	VOID = 101,       // given up
	PATIENCE = 10000, // times that a P may find locks taken before it counts as a deadlock
	STACK_BYTES = 256 << 10,
	FEWEST_PS = 2,    // that a program begins with: one alone meets nobody
	STACK_ORDERS = 7, // 2 KB to 128 KB: those of the pools, and large ones
	PAGES = 1100,
	LARGE = 32 << 10,
	REAL_BYTES = 64 << 10, // that a job may get in many objects
};

typedef enum job_kind {
	JOB_MALLOC,
	JOB_SWEEP,
	JOB_STACKALLOC,
	JOB_STACKFREE,
	JOB_MANUAL,
	JOB_FREE_MANUAL,
	JOB_SCAVENGE,
	JOB_FREE_STACK_SPANS
} job_kind;

typedef struct job {
	job_kind kind;
	uint64_t size, flags, n, addr;
	uint64_t got[MANY], want[MANY];
} job;

typedef struct lane { // a P in a batch
	int id;
	job jobs[QUEUE];
	unsigned njobs;
	bool done;
	bool shared; // its last turn is a step that the oracle takes too
} lane;

typedef struct step {
	uint8_t lane, kind;
} step;

typedef struct batch {
	world *w;
	lane lanes[WORLD_PS];
	step order[WORLD_STEPS];
	size_t norder, cursor;
	uint64_t budget; // of ALL_MANY
	uint64_t schedule;
	int current; // lane that runs, -1: none
	bool oracle; // whose turn it is
	unsigned patience;
} batch;

// Coroutines live as long as the process: each waits for the next batch when it is done with one.
static struct {
	coro *home;
	coro *co[WORLD_PS];
	batch *b;
} pool;

static void run_jobs(batch *b, lane *l);

static _Noreturn void lane_main(void *arg) {
	const int i = (int)(intptr_t)arg;
	for (;;) {
		run_jobs(pool.b, &pool.b->lanes[i]);
		coro_switch(pool.co[i], pool.home);
	}
}

static void lane_enter(void *arg) { lane_main(arg); }

// runs notes who goes on: a lane, or the program itself (-1).
static void runs(batch *b, int who) {
	b->current = who;
	b->w->caller = (unsigned)(who + 1);
	fuzz_os_caller(b->w->caller);
}

static void go_to(batch *b, int from, int to) {
	runs(b, to);
	coro_switch(from < 0 ? pool.home : pool.co[from], pool.co[to]);
	runs(b, from);
}

// ---- the port's side: the schedule chooses

// choose gives a lane that is not done, and not `not`; -1: none.
static int choose(batch *b, int not ) {
	int ready[WORLD_PS], n = 0;
	for (int i = 0; i < WORLD_PS; i++) {
		if (b->lanes[i].njobs > 0 && !b->lanes[i].done && i != not ) {
			ready[n++] = i;
		}
	}
	return n == 0 ? -1 : ready[fuzz_below(&b->schedule, (uint64_t)n)];
}

static void write_down(batch *b, unsigned kind) {
	fuzz_check(b->norder < WORLD_STEPS, "more steps than a batch may have");
	b->order[b->norder++] = (step){(uint8_t)b->current, (uint8_t)kind};
}

static void on_turn(void *ctx, gomem_ev k) {
	batch *b = ctx;
	const int kind = world_step_of(k);
	b->lanes[b->current].shared = kind >= 0;
	if (kind < 0) {
		return;
	}
	const int me = b->current, next = choose(b, -1);
	if (next != me) {
		go_to(b, me, next);
	}
	write_down(b, (unsigned)kind);
}

// give_up takes back the last step of a lane.
static void give_up(batch *b, int me) {
	size_t last = b->norder;
	while (b->order[last - 1].lane != me || b->order[last - 1].kind == VOID) {
		last--;
	}
	fuzz_equal("only a locked section waits for a lock", b->order[last - 1].kind, ORACLE_STEP_LOCK);
	b->order[last - 1].kind = VOID;
}

// on_busy: the lock that this P's last turn was to take is held by a P that waits at a step of its own. The oracle knows
// nothing of the lock if it is only for the structure of a span: then there is no step to take again.
static void on_busy(void *ctx, const char *name) {
	batch *b = ctx;
	const int me = b->current, next = choose(b, me);
	if (next < 0 || ++b->patience > PATIENCE) {
		fuzz_fail("deadlock: P %d waits for the lock %s", b->lanes[me].id, name);
	}
	if (!b->lanes[me].shared) {
		go_to(b, me, next);
		return;
	}
	give_up(b, me);
	go_to(b, me, next);
	write_down(b, ORACLE_STEP_LOCK);
}

// ---- the oracle's side: the order is known

static step *next_step(batch *b) {
	while (b->cursor < b->norder && b->order[b->cursor].kind == VOID) {
		b->cursor++;
	}
	return b->cursor < b->norder ? &b->order[b->cursor] : NULL;
}

static void oracle_turn(void *ctx, oracle_step kind) {
	batch *b = ctx;
	const int me = b->current;
	for (;;) {
		const step *s = next_step(b);
		if (s == NULL) {
			fuzz_fail("P %d of the oracle takes a step (%d) that gomem did not take", b->lanes[me].id, (int)kind);
		}
		if (s->lane == me) {
			break;
		}
		if (b->lanes[s->lane].done) {
			fuzz_fail("P %d takes a step (%d) that the oracle does not take", b->lanes[s->lane].id, s->kind);
		}
		go_to(b, me, s->lane);
	}
	fuzz_equal("step that Ps share", b->order[b->cursor].kind, kind);
	b->cursor++;
}

// ---- jobs

static void port_job(world *w, gomem_p *p, job *j) {
	const bool pointers = (j->flags & WORLD_NOSCAN) == 0;
	switch (j->kind) {
	case JOB_MALLOC:
		for (uint64_t i = 0; i < j->n; i++) {
			j->got[i] = (uintptr_t)gomem_mallocgc(
				w->h, p, (uintptr_t)j->size, pointers ? world_type(j->flags) : NULL, (j->flags & WORLD_ZEROED) != 0);
		}
		return;
	case JOB_SWEEP:
		for (uint64_t i = 0; i < j->n; i++) {
			j->got[i] = gomem_sweepone(w->h, p);
		}
		return;
	case JOB_STACKALLOC:
		j->got[0] = (uintptr_t)gomem_stackalloc(w->h, p, (uint32_t)j->size, j->flags != 0);
		return;
	case JOB_STACKFREE:
		gomem_stackfree(w->h, p, (void *)(uintptr_t)j->addr, (uintptr_t)j->size, j->flags != 0);
		return;
	case JOB_MANUAL:
		j->got[0] = (uintptr_t)gomem_allocManual(w->h, p, (uintptr_t)j->size);
		return;
	case JOB_FREE_MANUAL:
		gomem_freeManual(w->h, p, (void *)(uintptr_t)j->addr);
		return;
	case JOB_SCAVENGE:
		j->got[0] = gomem_scavenge(w->h, p, (uintptr_t)j->size, j->flags != 0);
		return;
	case JOB_FREE_STACK_SPANS:
		if (!w->marking) {
			gomem_freeStackSpans(w->h, p);
		}
		return;
	}
}

static void oracle_job(const world *w, int id, job *j) {
	oracle *o = w->o;
	switch (j->kind) {
	case JOB_MALLOC:
		for (uint64_t i = 0; i < j->n; i++) {
			j->want[i] = oracle_malloc(o, id, j->size, (j->flags & WORLD_NOSCAN) == 0 ? world_type(j->flags) : NULL,
				(j->flags & WORLD_ZEROED) != 0);
		}
		return;
	case JOB_SWEEP:
		for (uint64_t i = 0; i < j->n; i++) {
			j->want[i] = oracle_sweep_one(o, id);
		}
		return;
	case JOB_STACKALLOC:
		j->want[0] = oracle_stackalloc(o, id, j->size, j->flags != 0);
		return;
	case JOB_STACKFREE:
		oracle_stackfree(o, id, j->addr, j->size, j->flags != 0);
		return;
	case JOB_MANUAL:
		j->want[0] = oracle_alloc_manual(o, id, j->size);
		return;
	case JOB_FREE_MANUAL:
		oracle_free_manual(o, id, j->addr);
		return;
	case JOB_SCAVENGE:
		j->want[0] = oracle_scavenge(o, j->size, j->flags != 0);
		return;
	case JOB_FREE_STACK_SPANS:
		if (!w->marking) {
			oracle_free_stack_spans(o, id);
		}
		return;
	}
}

// run_jobs is what a coroutine does in one half of a batch; when it ends somebody else goes on.
static void run_jobs(batch *b, lane *l) {
	if (b->oracle) {
		b->cursor++; // its START
		oracle_prepare_for_sweep(b->w->o, l->id);
		for (unsigned i = 0; i < l->njobs; i++) {
			oracle_job(b->w, l->id, &l->jobs[i]);
		}
	} else {
		write_down(b, START);
		gomem_p *p = gomem_heap_p(b->w->h, l->id);
		gomem_prepareForSweep(b->w->h, p);
		for (unsigned i = 0; i < l->njobs; i++) {
			port_job(b->w, p, &l->jobs[i]);
		}
	}
	l->done = true;
}

// ---- a batch

static void start_half(batch *b, bool forOracle) {
	b->oracle = forOracle;
	b->current = -1;
	for (unsigned i = 0; i < WORLD_PS; i++) {
		b->lanes[i].done = false;
	}
}

// run_port runs lanes until all are done. A lane that ends comes back here.
static void run_port(batch *b) {
	start_half(b, false);
	for (int next = choose(b, -1); next >= 0; next = choose(b, -1)) {
		go_to(b, -1, next);
	}
}

static void run_oracle(batch *b) {
	start_half(b, true);
	for (const step *s = next_step(b); s != NULL; s = next_step(b)) {
		if (b->lanes[s->lane].done) {
			fuzz_fail("P %d takes a step (%d) that the oracle does not take", b->lanes[s->lane].id, s->kind);
		}
		go_to(b, -1, s->lane);
	}
}

static void compare_job(world *w, const job *j) {
	const bool many = j->kind == JOB_MALLOC || j->kind == JOB_SWEEP;
	for (uint64_t i = 0; i < (many ? j->n : 1); i++) {
		fuzz_equal("answer of an interleaved operation", (uintptr_t)j->got[i], (uintptr_t)j->want[i]);
		if (j->kind == JOB_MALLOC && j->got[i] != 0) {
			const gomem_type *typ = (j->flags & WORLD_NOSCAN) == 0 ? world_type(j->flags) : NULL;
			world_add_object(w, j->got[i], j->size, typ, (j->flags & WORLD_ZEROED) != 0);
		}
	}
	if (j->kind == JOB_STACKALLOC) {
		world_add_stack(w, j->got[0], j->size);
	}
	if (j->kind == JOB_MANUAL) {
		world_add_manual(w, j->got[0], j->size);
	}
}

static void end_batch(batch *b) {
	world *w = b->w;
	for (unsigned i = 0; i < WORLD_PS; i++) {
		for (unsigned k = 0; k < b->lanes[i].njobs; k++) {
			compare_job(w, &b->lanes[i].jobs[k]);
		}
		b->lanes[i].njobs = 0;
		b->lanes[i].done = false;
	}
	world_settle(w);
}

static void make_pool(void) {
	if (pool.home != NULL) {
		return;
	}
	pool.home = coro_self();
	for (int i = 0; i < WORLD_PS; i++) {
		pool.co[i] = coro_new(STACK_BYTES, lane_enter, (void *)(intptr_t)i);
		fuzz_check(pool.co[i] != NULL, "no memory for a coroutine");
	}
	fuzz_check(pool.home != NULL, "no memory for a coroutine");
}

static batch *batch_of(void *v) { return ((world *)v)->extra; }

static unsigned busy_lanes(const batch *b) {
	unsigned n = 0;
	for (int i = 0; i < WORLD_PS; i++) {
		n += b->lanes[i].njobs > 0;
	}
	return n;
}

static bool can_be_done_twice(const job *j) {
	return j->kind != JOB_STACKFREE && j->kind != JOB_FREE_MANUAL && j->kind != JOB_FREE_STACK_SPANS;
}

// give_company: a P that would run alone meets nobody, so that its neighbour gets the same to do.
static void give_company(batch *b) {
	const int alone = choose(b, -1);
	if (b->w->nprocs < 2 || busy_lanes(b) != 1) {
		return;
	}
	const lane *from = &b->lanes[alone];
	lane *to = &b->lanes[(alone + 1) % b->w->nprocs];
	to->id = (alone + 1) % b->w->nprocs;
	for (unsigned i = 0; i < from->njobs; i++) {
		if (can_be_done_twice(&from->jobs[i])) {
			to->jobs[to->njobs++] = from->jobs[i];
		}
	}
}

static void go(void *v, const uint64_t *a) {
	batch *b = batch_of(v);
	world *w = b->w;
	if (choose(b, -1) < 0 || !w->compare) {
		return;
	}
	give_company(b);
	make_pool();
	pool.b = b;
	b->schedule = a[0];
	b->norder = b->cursor = 0;
	b->patience = 0;
	w->lab = (gomem_lab){b, on_turn, world_on_event, on_busy, NULL};
	run_port(b);
	world_use_lab(w);
	if (world_lost(w)) {
		fuzz_fail("the OS had no memory"); // nothing makes it fail here
	}
	world_oracle_steps(w, oracle_turn, b);
	run_oracle(b);
	world_oracle_steps(w, NULL, NULL);
	end_batch(b);
}

// ---- operations

// queue gives the next job of a P, or NULL if its queue is full or there are no Ps.
static job *queue(void *v, uint64_t p, job_kind kind) {
	batch *b = batch_of(v);
	if (b->w->nprocs == 0) {
		return NULL;
	}
	const int id = (int)(p % (unsigned)b->w->nprocs);
	lane *l = &b->lanes[id];
	l->id = id;
	if (l->njobs == QUEUE) {
		return NULL;
	}
	job *j = &l->jobs[l->njobs++];
	*j = (job){.kind = kind};
	return j;
}

static void queue_malloc(void *v, const uint64_t *a) {
	const world *w = v;
	job *j = queue(v, a[0], JOB_MALLOC);
	if (j != NULL) {
		const uint64_t unit = (a[2] & WORLD_NOSCAN) != 0 ? 1 : world_type(a[2])->size;
		j->size = (a[1] + unit) / unit * unit;
		j->flags = a[2];
		uint64_t most = w->backed ? REAL_BYTES / j->size : MANY; // real memory is touched
		most = most < batch_of(v)->budget ? most : batch_of(v)->budget;
		j->n = 1 + (a[3] < most ? a[3] : most);
		batch_of(v)->budget -= j->n - 1;
	}
}

// need_unswept begins a cycle's sweep if the last one is over: who sweeps then finds nothing, and meets nobody.
static void need_unswept(world *w, uint64_t p) {
	if (w->h->sweepgen != 0 && !isSweepDone(w->h)) {
		return;
	}
	if (w->nobjects == 0) {
		world_malloc(w, (const uint64_t[FUZZ_MAX_ARGS]){p, 1});
	}
	world_gc(w, (const uint64_t[FUZZ_MAX_ARGS]){p, 0});
}

static void queue_sweep(void *v, const uint64_t *a) {
	job *j = queue(v, a[0], JOB_SWEEP);
	if (j != NULL) {
		need_unswept(v, a[0]);
		j->n = 1 + a[1];
	}
}

static void queue_stackalloc(void *v, const uint64_t *a) {
	job *j = queue(v, a[0], JOB_STACKALLOC);
	if (j != NULL) {
		j->size = (uint64_t)2048 << a[1];
		j->flags = a[2];
	}
}

// queue_stackfree: a program that has no stack gets one first, at once, as what is queued has no address yet.
static void queue_stackfree(void *v, const uint64_t *a) {
	world *w = v;
	job *j = queue(v, a[0], JOB_STACKFREE);
	if (j != NULL) {
		if (w->nstacks == 0) {
			world_stackalloc(w, (const uint64_t[FUZZ_MAX_ARGS]){a[0], a[1] % STACK_ORDERS, a[2]});
		}
		const world_stack stack = world_take_stack(w, a[1]);
		j->addr = stack.addr;
		j->size = stack.n;
		j->flags = a[2];
	}
}

static void queue_manual(void *v, const uint64_t *a) {
	job *j = queue(v, a[0], JOB_MANUAL);
	if (j != NULL) {
		j->size = 1 + world_spend_pages(v, a[1]);
	}
}

static void queue_free_manual(void *v, const uint64_t *a) {
	world *w = v;
	job *j = queue(v, a[0], JOB_FREE_MANUAL);
	if (j != NULL) {
		if (w->nmanuals == 0) {
			world_manual(w, (const uint64_t[FUZZ_MAX_ARGS]){a[0], a[1]});
		}
		j->addr = world_take_manual(w, a[1]).addr;
	}
}

static void queue_scavenge(void *v, const uint64_t *a) {
	job *j = queue(v, a[0], JOB_SCAVENGE);
	if (j != NULL) {
		j->size = a[1];
		j->flags = a[2];
	}
}

// queue_free_stack_spans: Go does so after each cycle, while the program goes on. Nothing else takes a step of its own
// while it holds the lock of large stacks.
static void queue_free_stack_spans(void *v, const uint64_t *a) { queue(v, a[0], JOB_FREE_STACK_SPANS); }

typedef enum all_kind {
	ALL_MALLOC,
	ALL_LARGE,
	ALL_STACKALLOC,
	ALL_STACKFREE,
	ALL_SWEEP,
	ALL_MANUAL,
	ALL_FREE_MANUAL,
	ALL_SCAVENGE,
	ALL_KINDS
} all_kind;

// queue_kind queues a job for one P; the arguments of all stand for those of the operation that the kind names.
static void queue_kind(void *v, all_kind kind, uint64_t p, uint64_t size, uint64_t flags, uint64_t n) {
	const uint64_t flag = flags & 1; // bypass, or force
	switch (kind) {
	case ALL_MALLOC:
		queue_malloc(v, (const uint64_t[FUZZ_MAX_ARGS]){p, size, flags, n});
		return;
	case ALL_LARGE:
		size = 8 * (size % 1024) + 8192 * world_spend_pages(v, size / 1024);
		queue_malloc(v, (const uint64_t[FUZZ_MAX_ARGS]){p, LARGE + size, flags});
		return;
	case ALL_STACKALLOC:
		queue_stackalloc(v, (const uint64_t[FUZZ_MAX_ARGS]){p, size % STACK_ORDERS, flag});
		return;
	case ALL_STACKFREE:
		queue_stackfree(v, (const uint64_t[FUZZ_MAX_ARGS]){p, size, flag});
		return;
	case ALL_SWEEP:
		queue_sweep(v, (const uint64_t[FUZZ_MAX_ARGS]){p, n});
		return;
	case ALL_MANUAL:
		queue_manual(v, (const uint64_t[FUZZ_MAX_ARGS]){p, size % PAGES});
		return;
	case ALL_FREE_MANUAL:
		queue_free_manual(v, (const uint64_t[FUZZ_MAX_ARGS]){p, size});
		return;
	case ALL_SCAVENGE:
		queue_scavenge(v, (const uint64_t[FUZZ_MAX_ARGS]){p, size, flag});
		return;
	case ALL_KINDS:
		return;
	}
}

// all: each P has the same to do at the same time, so that they meet at the locks that it takes.
static void all(void *v, const uint64_t *a) {
	for (int p = 0; p < ((world *)v)->nprocs; p++) {
		queue_kind(v, (all_kind)a[0], (uint64_t)p, a[1], a[2], a[3]);
	}
	go(v, &a[4]);
}

// procs: what is queued for Ps that go is done first.
static void procs(void *v, const uint64_t *a) {
	go(v, (const uint64_t[FUZZ_MAX_ARGS]){a[0]});
	world_procs(v, a);
}

static void *begin(const uint64_t *config) {
	enum { BARE = 1 }; // a world has one P, or three and more, or none: only from none any number can be reached
	world *w = world_begin((const uint64_t[FUZZ_MAX_ARGS]){config[0], config[1], config[2], BARE});
	world_procs(w, (const uint64_t[FUZZ_MAX_ARGS]){FEWEST_PS - 1 + config[3]});
	w->budget = WORLD_MANY / 6; // the time is the batches'
	w->pages /= 2;
	static batch b; // most of it is never touched: the order and the queues are long
	b.w = w;
	b.norder = b.cursor = 0;
	b.budget = ALL_MANY;
	for (int i = 0; i < WORLD_PS; i++) {
		b.lanes[i].njobs = 0;
		b.lanes[i].done = false;
	}
	w->extra = &b;
	return w;
}

static void end(void *v) {
	go(v, (const uint64_t[FUZZ_MAX_ARGS]){0});
	world_end(v);
}

static const fuzz_op_info ops[] = {
	{"go", {{"schedule", 4, FUZZ_ANY, 0}}, go},
	{"queue_malloc", {WORLD_P, {"size", 2, FUZZ_SIZE, 40000}, WORLD_FLAGS, {"n", 1, FUZZ_ANY, MANY - 1}}, queue_malloc},
	{"queue_sweep", {WORLD_P, {"n", 1, FUZZ_ANY, MANY - 1}}, queue_sweep},
	{"queue_stackalloc", {WORLD_P, {"order", 1, FUZZ_ANY, STACK_ORDERS - 1}, {"bypass", 1, FUZZ_ANY, 1}},
		queue_stackalloc},
	{"queue_stackfree", {WORLD_P, {"stack", 1, FUZZ_ANY, 0}, {"bypass", 1, FUZZ_ANY, 1}}, queue_stackfree},
	{"queue_manual", {WORLD_P, {"pages", 2, FUZZ_PAGES, PAGES}}, queue_manual},
	{"queue_free_manual", {WORLD_P, {"which", 1, FUZZ_ANY, 0}}, queue_free_manual},
	{"queue_scavenge", {WORLD_P, {"bytes", 4, FUZZ_SIZE, 0}, {"force", 1, FUZZ_ANY, 1}}, queue_scavenge},
	{"procs", {{"n", 1, FUZZ_ANY, WORLD_PS - 1}}, procs},
	WORLD_OP_MALLOC_MANY,
	WORLD_OP_MALLOC_TINY,
	WORLD_OP_DROP,
	WORLD_OP_DROP_EACH,
	WORLD_OP_GC_BEGIN,
	WORLD_OP_GC_END,
	WORLD_OP_GC,
	WORLD_OP_SWEEP,
	WORLD_OP_PACE,
	WORLD_OP_STACKALLOC,
	WORLD_OP_FREE_STACK_SPANS,
	WORLD_OP_MANUAL,
	WORLD_OP_SCAVENGE,
	WORLD_OP_OS_MOVE,
	{"all",
		{{"kind", 1, FUZZ_ANY, ALL_KINDS - 1}, {"size", 2, FUZZ_SIZE, 40000}, WORLD_FLAGS, {"n", 1, FUZZ_ANY, MANY - 1},
			{"schedule", 4, FUZZ_ANY, 0}},
		all},
	{"queue_free_stack_spans", {WORLD_P}, queue_free_stack_spans},
};

FUZZ_TARGET(mallocgc_ps) = {
	.name = "mallocgc_ps",
	.what = "several Ps at once under a given schedule, the oracle's Ps in the same order of steps",
	// As WORLD_CONFIG, but the last tells how many Ps there are above the fewest.
	.config = {{"seed", 4, FUZZ_ANY, 0}, {"flags", 1, FUZZ_ANY, 0}, {"phys", 1, FUZZ_ANY, 5},
		{"more_ps", 1, FUZZ_ANY, WORLD_PS - FEWEST_PS}},
	.ops = ops,
	.nops = sizeof ops / sizeof ops[0],
	.max_ops = 16,
	.begin = begin,
	.after = world_after,
	.end = end,
};
