// fuzz_scavenge.c: what the scavenger gives back, in which order, while others take and free pages between its steps.
//
// Memory stands behind the heap as far as the system knows: what it was told to take back is compared with what the oracle
// would give back, and the map of states objects to pages that are given back while somebody has them.
// "interrupt" puts an operation where the heap lock is not held: between a search and the taking of pages, and while they
// are on their way to the system.
#include "fuzz/fuzz_pages.h"

enum { maxPending = 8, opInterrupt = 0, numOps = 12 };

typedef struct pending {
	bool onWay; // runs while pages are on their way; else after a search
	fuzz_op op;
} pending;

static pending queue[maxPending];
static unsigned queued;

static const fuzz_op_info ops[numOps];

static void runNested(pagesWorld *w, const fuzz_op *op) {
	uint64_t a[FUZZ_MAX_ARGS] = {0};
	for (unsigned i = 0; i + 2 < FUZZ_MAX_ARGS; i++) {
		const fuzz_arg *arg = &ops[op->kind].args[i];
		a[i] = arg->max != 0 ? op->a[i] % (arg->max + 1) : op->a[i];
	}
	ops[op->kind].run(w, a);
}

// interrupted runs what waits for this point. A nested scavenging may be interrupted in turn by what is left.
static void interrupted(pagesWorld *w, gomem_ev k) {
	if (k != EV_NONE && k != EV_SCAVEND) {
		return;
	}
	for (unsigned i = 0; i < queued;) {
		const pending p = queue[i];
		if (p.onWay != (k == EV_SCAVEND)) {
			i++;
			continue;
		}
		memmove(&queue[i], &queue[i + 1], (--queued - i) * sizeof *queue);
		runNested(w, &p.op);
		i = 0;
	}
}

static void interrupt(void *v, const uint64_t *a) {
	(void)v;
	if (a[1] != opInterrupt && queued < maxPending) {
		queue[queued++] = (pending){a[0] != 0, {(unsigned)a[1], {a[2], a[3], a[4], a[5]}}};
	}
}

typedef struct patience {
	unsigned chunks, asked;
} patience;

static bool shouldStop(void *v) {
	patience *p = v;
	return ++p->asked == p->chunks;
}

// scavenge gives back so many bytes, but looks at no more chunks than it is allowed to; 0: at all.
static void scavenge(void *v, const uint64_t *a) {
	pagesWorld *w = v;
	scavenging s;
	patience p = {.chunks = (unsigned)a[2]};
	beginScavenging(w, &s, a[1] != 0, (uintptr_t)a[0]);
	const uintptr_t released =
		pageAlloc_scavenge(&w->e.env, &w->p, (uintptr_t)a[0], a[2] == 0 ? NULL : shouldStop, &p, s.force, &w->delta);
	w->scav = s.outer;
	fuzz_equal("bytes released", released, s.released);
	if (a[2] != 0) {
		fuzz_equal("shouldStop was asked", p.asked, s.looked);
	}
	fuzz_check(released >= a[0] || (a[2] != 0 && p.asked == p.chunks) || !s.found,
		"a scavenging stopped with something left to look at");
}

static void *begin(const uint64_t *config) {
	pagesWorld *w = worldBegin(config, false);
	w->interrupt = interrupted;
	queued = 0;
	growNear(w, 0, false, 0, (chunkIdx)(1 + config[3]));
	return w;
}

static const fuzz_op_info ops[numOps] = {
	[opInterrupt] = {"interrupt",
		{{"onWay", 1, FUZZ_ANY, 1}, {"op", 1, FUZZ_ANY, numOps - 1}, {"a", 3, FUZZ_PAGES, 0}, {"b", 3, FUZZ_PAGES, 0},
			{"c", 3, FUZZ_ANY, 0}, {"d", 1, FUZZ_ANY, 0}},
		interrupt},
	{"scavenge", {{"bytes", 4, FUZZ_ANY, 0}, {"force", 1, FUZZ_ANY, 1}, {"chunks", 1, FUZZ_ANY, 3}}, scavenge},
	{"step", SCAV_ARGS, worldStep},
	{"nextGen", {{NULL, 0, 0, 0}}, worldNextGen},
	{"alloc", {{"pages", 2, FUZZ_PAGES, 1100}}, worldAlloc},
	{"free", FREE_ARGS, worldFree},
	{"range", PLACE_ARGS, worldRange},
	{"pad", PLACE_ARGS, worldPad},
	{"fill", {CACHE_ARG}, worldFill},
	{"take", {CACHE_ARG, {"pages", 1, FUZZ_PAGES, 79}}, worldTake},
	{"flush", {CACHE_ARG}, worldFlush},
	{"grow", GROW_ARGS(1, shortGap), worldGrow},
};

FUZZ_TARGET(scavenge) = {
	.name = "scavenge",
	.what = "pages given back to the system, interrupted by other operations, against a flat array of pages",
	.config = {PAGES_CONFIG, {"chunks", 1, FUZZ_ANY, 3}},
	.ops = ops,
	.nops = numOps,
	.max_ops = 64,
	.begin = begin,
	.after = worldAfter,
	.end = worldEnd,
};
