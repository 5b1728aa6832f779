// lab_schedules.c: each order in which a few Ps can take the steps that they share, up to a number of preemptions.
//
// usage: lab_schedules [PREEMPTIONS]
//
// Each scene makes a heap, gives two or three Ps something to do and runs them as coroutines: before each step that Ps share (lab.h) it is
// chosen who goes on. Depth first, the next run differs in its last choice that has another. A P that goes on while another could is no
// preemption; neither is a choice where one ended or found a lock taken. After each run the invariants of all layers must hold, and what
// the scene promises. A finding names its schedule.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gomem/mcache.h"
#include "gomem/mem.h"
#include "traces/coro.h"

enum { LANES = 3, DEPTH = 4096, PATIENCE = 20000, STACK_BYTES = 256 << 10, OBJECTS = 64, SIZE = 16, SLOTS = 504 };

typedef struct choice {
	uint8_t taken, of;
} choice;

typedef struct explorer explorer;
typedef struct scene {
	const char *name;
	int lanes;
	bool backed; // heap memory is real
	void (*prepare)(explorer *e);
	void (*lane)(explorer *e, int i);
	const char *(*check)(explorer *e); // NULL: good
} scene;

struct explorer {
	const scene *scene;
	gomem_os *os;
	gomem_heap *h;
	gomem_lab lab;
	coro *home, *co[LANES];
	int current; // -1: none
	bool done[LANES];
	choice path[DEPTH];
	int depth, known; // choices made in this run; of these given
	int preemptions, most;
	unsigned patience;
	uint64_t schedules, steps;
	int deepest;
	// of the scenes
	uintptr_t got[LANES][OBJECTS];
	int n[LANES];
	mspan spans[12], *unswept[4];
	uintptr_t kept[4]; // objects that are marked
	gcWork gcws[LANES], *gcwList[LANES];
	void *roots[LANES], *live[OBJECTS];
	int nlive;
	uint64_t bytes; // of what is live
};

static _Noreturn void finding(explorer *e, const char *what) {
	printf("finding: %s: %s, in schedule %llu:", e->scene->name, what, (unsigned long long)e->schedules + 1);
	for (int i = 0; i < e->depth; i++) {
		if (e->path[i].of > 1) {
			printf(" %d/%d", e->path[i].taken, e->path[i].of);
		}
	}
	printf("\n");
	exit(1);
}

// choose gives one of n; 0 is to be the one that needs no preemption.
static int choose(explorer *e, int n) {
	if (e->depth == DEPTH) {
		finding(e, "a run without end");
	}
	choice *c = &e->path[e->depth];
	if (e->depth >= e->known) {
		*c = (choice){0, (uint8_t)n};
		e->known = e->depth + 1;
	}
	if (c->of != n) {
		finding(e, "two runs of the same schedule differ");
	}
	e->depth++;
	return c->taken;
}

static void go_to(explorer *e, int to) {
	const int from = e->current;
	e->current = to;
	coro_switch(from < 0 ? e->home : e->co[from], to < 0 ? e->home : e->co[to]);
	e->current = from;
}

// others lists lanes that could go on, but for not; in order after it.
static int others(const explorer *e, int not, int *list) {
	int n = 0;
	for (int k = 1; k <= e->scene->lanes; k++) {
		const int i = (not +k) % e->scene->lanes;
		if (i != not &&!e->done[i]) {
			list[n++] = i;
		}
	}
	return n;
}

static void on_turn(void *ctx, gomem_ev k) {
	(void)k;
	explorer *e = ctx;
	if (e->current < 0) {
		return;
	}
	e->steps++;
	int list[LANES];
	const int n = others(e, e->current, list);
	const int c = choose(e, e->preemptions < e->most ? n + 1 : 1);
	if (c > 0) {
		e->preemptions++;
		go_to(e, list[c - 1]);
	}
}

static void on_event(void *ctx, gomem_ev k, uint64_t a, uint64_t b, uint64_t c, uint64_t d) {
	(void)ctx, (void)k, (void)a, (void)b, (void)c, (void)d;
}

static void on_busy(void *ctx, const char *lock) {
	explorer *e = ctx;
	int list[LANES];
	const int n = e->current < 0 ? 0 : others(e, e->current, list);
	if (n == 0 || ++e->patience > PATIENCE) {
		finding(e, lock);
	}
	go_to(e, list[e->patience % (unsigned)n]); // who holds it gets there in time: nothing is chosen
}

static void on_throw(void *ctx, const char *msg) { finding(ctx, msg); }

static explorer *theExplorer(void) {
	static explorer e;
	return &e;
}

static void lane_main(void *arg) {
	explorer *e = theExplorer();
	const int me = (int)(intptr_t)arg;
	for (;;) {
		e->scene->lane(e, me);
		e->done[me] = true;
		int list[LANES];
		const int n = others(e, me, list);
		go_to(e, n == 0 ? -1 : list[choose(e, n)]);
	}
}

static gomem_p *p_of(explorer *e, int i) { return gomem_heap_p(e->h, i); }

static void run_once(explorer *e) {
	e->os = mem_sim_new(&(memSimConfig){.backed = e->scene->backed});
	e->lab = (gomem_lab){e, on_turn, on_event, on_busy, NULL};
	e->h = e->os == NULL
		? NULL
		: gomem_heap_new(&(gomem_config){
			  .os = e->os, .lab = &e->lab, .checked = true, .rand_seed = 42, .throw_hook = on_throw, .throw_ctx = e});
	if (e->h == NULL || !gomem_procresize(e->h, e->scene->lanes)) {
		exit(2);
	}
	e->depth = e->preemptions = 0;
	e->patience = 0;
	memset(e->done, 0, sizeof(e->done));
	memset(e->n, 0, sizeof(e->n));
	e->scene->prepare(e);
	go_to(e, choose(e, e->scene->lanes));
	const char *bad = e->scene->check(e);
	if (bad == NULL) {
		bad = gomem_heap_check(e->h);
	}
	if (bad != NULL) {
		finding(e, bad);
	}
	gomem_heap_destroy(e->h);
	e->os->destroy(e->os);
	e->schedules++;
	e->deepest = e->depth > e->deepest ? e->depth : e->deepest;
}

// another: the next path; false: there is none.
static bool another(explorer *e) {
	e->known = e->depth;
	while (e->known > 0) {
		choice *c = &e->path[e->known - 1];
		if (c->taken + 1 < c->of) {
			c->taken++;
			return true;
		}
		e->known--;
	}
	return false;
}

// ---- what scenes promise

static int by_address(const void *a, const void *b) {
	const uintptr_t x = *(const uintptr_t *)a, y = *(const uintptr_t *)b;
	return x < y ? -1 : x > y;
}

static void take(explorer *e, int lane, uintptr_t x) {
	if (x == 0 || e->n[lane] == OBJECTS) {
		finding(e, "no memory");
	}
	e->got[lane][e->n[lane]++] = x;
}

static const char *all_different(explorer *e, int *total) {
	static uintptr_t all[LANES * OBJECTS];
	int n = 0;
	for (int i = 0; i < e->scene->lanes; i++) {
		memcpy(all + n, e->got[i], (size_t)e->n[i] * sizeof(all[0]));
		n += e->n[i];
	}
	qsort(all, (size_t)n, sizeof(all[0]), by_address);
	*total = n;
	for (int i = 1; i < n; i++) {
		if (all[i] == all[i - 1]) {
			return "two Ps were given the same";
		}
	}
	return NULL;
}

static const char *different(explorer *e) {
	int n;
	return all_different(e, &n);
}

// ---- scenes

// Spans go through one set: each comes out once, and none is lost.
static spanSet *the_set(explorer *e) { return &e->h->central[3].mcentral.partial[0]; }
static void set_prepare(explorer *e) { (void)e; }
static void set_lane(explorer *e, int i) {
	for (int k = 0; k < 2; k++) {
		if (!spanSet_push(&e->h->env, the_set(e), &e->spans[2 * i + k], 0)) {
			exit(2);
		}
		mspan *s = spanSet_pop(&e->h->env, the_set(e), 0);
		if (s != NULL) {
			take(e, i, (uintptr_t)s);
		}
	}
}
static const char *set_check(explorer *e) {
	for (mspan *s; (s = spanSet_pop(&e->h->env, the_set(e), 0)) != NULL;) {
		take(e, 0, (uintptr_t)s);
	}
	spanSet_reset(&e->h->env, the_set(e));
	int n;
	const char *bad = all_different(e, &n);
	return bad != NULL ? bad : n == 2 * e->scene->lanes ? NULL : "a span was lost";
}

// Spans of the last cycle: one P sweeps, one looks for a span with room, one reclaims.
static void sweep_prepare(explorer *e) {
	gomem_p *p = p_of(e, 0);
	for (int i = 0; i < 4 * SLOTS; i++) { // four spans, and an object of each lives on
		const uintptr_t x = (uintptr_t)gomem_mallocgc(e->h, p, SIZE, NULL, false);
		if (i % SLOTS == 0) {
			e->kept[i / SLOTS] = x;
			e->unswept[i / SLOTS] = spanOfHeap(e->h, x);
		}
	}
	for (int i = 0; i < e->scene->lanes; i++) {
		gomem_prepareForSweep(e->h, p_of(e, i));
	}
	gomem_setGCPhase(e->h, gcMark);
	for (int i = 0; i < 4; i++) {
		(void)gomem_mark(e->h, (void *)e->kept[i]);
	}
	gomem_setGCPhase(e->h, gcMarkTermination);
	gomem_setGCPhase(e->h, gcOff);
	gomem_startsweep(e->h);
	for (int i = 0; i < e->scene->lanes; i++) {
		gomem_prepareForSweep(e->h, p_of(e, i));
	}
}
static void sweep_lane(explorer *e, int i) {
	if (i == 0) {
		for (int k = 0; k < 2; k++) {
			(void)gomem_sweepone(e->h, p_of(e, i));
		}
		return;
	}
	if (i == 1) {
		take(e, i, (uintptr_t)gomem_mallocgc(e->h, p_of(e, i), SIZE, NULL, false));
	}
	if (i == e->scene->lanes - 1) {
		for (int k = 0; k < 2; k++) {
			(void)mheap_reclaimSpan(e->h, p_of(e, i), e->unswept[k]);
		}
	}
}

static const char *sweep_check(explorer *e) {
	while (gomem_sweepone(e->h, p_of(e, 0)) != ~(uintptr_t)0) {
	}
	for (int i = 0; i < 4; i++) {
		mspan *s = spanOfHeap(e->h, e->kept[i]);
		if (s == NULL || mspan_isFree(s, mspan_objIndex(s, e->kept[i]))) {
			return "a marked object was freed";
		}
	}
	return different(e);
}

// Pages out of caches that are filled and flushed.
static void pages_prepare(explorer *e) { (void)e; }
static void pages_lane(explorer *e, int i) {
	gomem_p *p = p_of(e, i);
	for (int k = 0; k < 2; k++) {
		void *a = gomem_allocManual(e->h, p, 1 + (uintptr_t)k);
		take(e, i, (uintptr_t)a);
		lockTurn(&e->h->env, &e->h->lock, EV_PCFLUSH);
		pageCache_flush(&e->h->env, &p->pcache, &e->h->pages, p->id);
		unlock(&e->h->env, &e->h->lock);
		if (k == 0 && i == 1) {
			e->n[i]--;
			gomem_freeManual(e->h, p, a);
		}
	}
}

// Ps that mark one graph, each from a root of its own. All that is live is marked, once, and nothing is grey at the end.
enum { SMALL_WORDS = 2, BIG_BYTES = 600, FAN = 6 };
static const uint8_t allWords[16] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
static void **mark_object(explorer *e, uintptr_t words) {
	const gomem_type type = {words * sizeof(void *), words * sizeof(void *), allWords};
	static gomem_type kept[2]; // objects with a header name their type
	gomem_type *t = &kept[words > SMALL_WORDS];
	*t = type;
	void **x = gomem_mallocgc(e->h, p_of(e, 0), words * sizeof(void *), t, true);
	mspan *s = spanOfHeap(e->h, (uintptr_t)x);
	e->live[e->nlive++] = x;
	e->bytes += s->elemsize;
	return x;
}
static void mark_begin(explorer *e) {
	for (int i = 0; i < e->scene->lanes; i++) {
		gomem_prepareForSweep(e->h, p_of(e, i));
		memset(&e->gcws[i], 0, sizeof(e->gcws[i]));
		e->gcws[i].id = i;
		e->gcwList[i] = &e->gcws[i];
	}
	e->h->work.gcws = e->gcwList;
	e->h->work.ngcws = e->scene->lanes;
	gomem_setGCPhase(e->h, gcMark);
}
// Small objects, of spans that are queued whole: each lane's root points to two in the same span, which point to one that all share.
static void mark_small(explorer *e) {
	e->nlive = 0;
	e->bytes = 0;
	void **shared = mark_object(e, SMALL_WORDS);
	for (int i = 0; i < e->scene->lanes; i++) {
		void **root = mark_object(e, SMALL_WORDS);
		root[0] = mark_object(e, SMALL_WORDS);
		((void **)root[0])[1] = shared;
		root[1] = shared;
		e->roots[i] = root;
	}
	mark_begin(e);
}
// Larger ones, queued one by one: a fan that one lane finds, and gives others half of.
static void mark_fan(explorer *e) {
	e->nlive = 0;
	e->bytes = 0;
	void **fan = mark_object(e, BIG_BYTES / sizeof(void *));
	for (int i = 0; i < FAN; i++) {
		void **x = mark_object(e, BIG_BYTES / sizeof(void *));
		fan[i] = x;
		x[0] = fan;
	}
	for (int i = 0; i < e->scene->lanes; i++) {
		e->roots[i] = i == 0 ? fan : fan[FAN - 1];
	}
	mark_begin(e);
}
static void mark_lane(explorer *e, int i) {
	static const uint8_t one[] = {1};
	const gomem_root root = {&e->roots[i], sizeof(e->roots[i]), one};
	gcGreyRoots(e->h, &e->gcws[i], &root, 1);
	while (gcDrainN(e->h, &e->gcws[i], 64) >= 0) {
	}
	gcWork_dispose(&e->h->env, &e->h->work, &e->gcws[i]);
}
// The same where what is found is given away at once, so that all is stolen.
static void mark_stealing(explorer *e, int i) {
	static const uint8_t one[] = {1};
	const gomem_root root = {&e->roots[i], sizeof(e->roots[i]), one};
	gcGreyRoots(e->h, &e->gcws[i], &root, 1);
	do {
		gcWork_dispose(&e->h->env, &e->h->work, &e->gcws[i]);
	} while (gcDrainN(e->h, &e->gcws[i], 1) >= 0);
}
static const char *mark_check(explorer *e) {
	if (gcMarkWorkAvailable(&e->h->work)) {
		return "all went home, and there is work left";
	}
	const char *bad = mgcmark_check(e->h);
	for (int i = 0; i < e->nlive && bad == NULL; i++) {
		bad = gomem_isMarked(e->h, e->live[i]) ? NULL : "a live object is not marked";
	}
	gcDrain(e->h);
	if (bad == NULL && atomic_load(&e->h->work.bytesMarked) != e->bytes) {
		bad = "bytes were counted twice, or not";
	}
	e->h->work.ngcws = 0;
	gomem_setGCPhase(e->h, gcMarkTermination);
	gomem_setGCPhase(e->h, gcOff);
	gomem_startsweep(e->h);
	for (int i = 0; i < e->scene->lanes; i++) {
		gomem_prepareForSweep(e->h, p_of(e, i));
	}
	return bad;
}

static const scene scenes[] = {
	{"spanSet push and pop", 2, false, set_prepare, set_lane, set_check},
	{"spanSet push and pop", 3, false, set_prepare, set_lane, set_check},
	{"sweepone, cacheSpan and reclaim", 2, false, sweep_prepare, sweep_lane, sweep_check},
	{"sweepone, cacheSpan and reclaim", 3, false, sweep_prepare, sweep_lane, sweep_check},
	{"page caches filled and flushed", 2, false, pages_prepare, pages_lane, different},
	{"page caches filled and flushed", 3, false, pages_prepare, pages_lane, different},
	{"marking, spans", 2, true, mark_small, mark_lane, mark_check},
	{"marking, spans", 3, true, mark_small, mark_lane, mark_check},
	{"marking, spans that are stolen", 2, true, mark_small, mark_stealing, mark_check},
	{"marking, objects", 2, true, mark_fan, mark_lane, mark_check},
	{"marking, objects", 3, true, mark_fan, mark_lane, mark_check},
};

int main(int argc, char **argv) {
	explorer *e = theExplorer();
	e->most = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 2;
	e->current = -1;
	e->home = coro_self();
	for (int i = 0; i < LANES; i++) {
		e->co[i] = coro_new(STACK_BYTES, lane_main, (void *)(intptr_t)i);
		if (e->co[i] == NULL) {
			return 2;
		}
	}
	uint64_t all = 0;
	for (size_t i = 0; i < sizeof(scenes) / sizeof(scenes[0]); i++) {
		e->scene = &scenes[i];
		e->schedules = e->steps = 0;
		e->known = e->deepest = 0;
		do {
			run_once(e);
		} while (another(e));
		printf("%s, %d Ps: %llu schedules with at most %d preemptions, %.1f steps each\n", e->scene->name,
			e->scene->lanes, (unsigned long long)e->schedules, e->most, (double)e->steps / (double)e->schedules);
		all += e->schedules;
	}
	printf("%llu schedules, 0 findings\n", (unsigned long long)all);
	return 0;
}
