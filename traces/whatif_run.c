// whatif_run.c: see whatif.h. Compiled against the run-time variant of the library: serves the requests of a recording with other constants.
//
// The recording is one total order of events. Each stream is a coroutine, as in the replay. An operation begins where it began in the
// recording, and *follows its path*, step by step in the recorded order among streams, as long as it takes the recorded steps. From the first
// step that the recording doesn't have it *leaves the path*: it runs to its end at once, and what the recording has for it is passed over. With
// the recorded constants no operation leaves its path, so that all decisions are the recorded ones.
//
// Inputs are translated: an object is the number of its malloc, a stack or work buffer the address that the recording gave it, a span one
// of its objects. Given inputs that stand inside an operation that has left its path are done where they stand.
#include "traces/whatif.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "gomem/mcache.h"
#include "traces/coro.h"

#include <uthash.h>

enum { STACK_BYTES = 256 << 10, NO_STREAM = 0xffff, REGION_BITS = 26, GRAIN_BITS = 12, ADDR_BITS = 48 };
enum { REGIONS = 1 << (ADDR_BITS - REGION_BITS), GRAINS = 1 << (REGION_BITS - GRAIN_BITS) };
enum { MAX_HURRIES = 1 << 16 };
static const uint64_t MAX_REQUEST = (uint64_t)1 << 41;

typedef struct whatif whatif;

typedef struct stream {
	whatif *w;
	coro *co;
	gomem_p *p;
	void (*job)(whatif *w, struct stream *s);
	struct stream *made; // the one made before it
	uint64_t recordedStack, stack, recordedManual, manual;
	uint16_t id;
	uint16_t depth; // operations that have begun and not ended
	bool off;       // the innermost operation has left the path
	bool hurried;   // all of them have, since another stream waits for a lock or for the end of all operations
	bool over;      // the recording has no more for its operation
	bool busy;      // waits for a lock
} stream;

// A slot that an object has.
typedef struct wslot {
	uint64_t asked; // 0: free
	uint32_t death, owner;
} wslot;

// A span of objects of the heap.
typedef struct wspan {
	uint64_t bytes, elemsize;
	uint32_t nelems;
	spanClass spc;
	wslot slot[];
} wspan;

// 64 MiB of the simulated address space.
typedef struct region {
	wspan *span[GRAINS]; // where it begins
	uint64_t resident[GRAINS / 64];
} region;

typedef struct moved { // a stack or a work buffer
	uint64_t recorded, mine;
	UT_hash_handle hh;
} moved;

struct whatif {
	const gmt_event *cur, *end;
	stream *running;
	uint64_t number; // of the event after the block's last
	gmt_reader *r;
	gmt_block block;
	gmt_event eof;
	gomem_heap *h;
	whatif_result *out;
	const whatif_lives *lives;
	const whatif_config *c;
	gomem_layout layout;
	whatif_progress progress;
	stream **streams; // by id
	stream *made;     // the last one
	stream system;    // what is not a stream of the recording: cycles that the trigger rule begins
	coro *main;
	gomem_lab lab;
	gomem_os os, *under;
	bool ended, failed;
	// the recorded heap, as far as it is needed
	uint64_t recordedInUse, recordedSwept, recordedBasis; // pages
	uint32_t recordedCycle;
	// this heap
	uint64_t sweepBasis; // pages in use when the sweep began
	uint32_t deadline;   // what died in a recorded cycle up to this one is dead
	bool cycleDue;
	uint64_t trigger;
	uint64_t mapped, stackBytes, rss;
	region **regions;
	moved *stacks, *manuals;
	uint64_t *targetAddr;           // by target, where its object is
	uint8_t *isTarget;              // by malloc, a bit each
	const whatif_target **byObject; // targets sorted by object
	whatif_class classes[WHATIF_SPAN_CLASSES], sum;
	double inUseSum, askedSum, slotWasteSum, freeSum, tailSum;
};

static const gomem_type wordType = {.size = 8, .ptr_bytes = 8, .ptr_mask = (const uint8_t[]){1}};

// ---- the end of a run

static uint64_t event_number(const whatif *w) { return w->number - (uint64_t)(w->end - w->cur); }

__attribute__((format(printf, 2, 3))) static void fail(whatif *w, const char *fmt, ...) {
	va_list ap;
	va_start(ap, fmt);
	if (!w->failed) {
		vsnprintf(w->out->error, sizeof(w->out->error), fmt, ap);
	}
	va_end(ap);
	w->failed = true;
}

// leave ends the run from within a coroutine.
static _Noreturn void leave(whatif *w) {
	coro_switch(w->running->co, w->main);
	abort();
}

static _Noreturn void on_throw(void *ctx, const char *msg) {
	whatif *w = ctx;
	fail(w, "event %" PRIu64 ": the allocator threw: %s", event_number(w), msg);
	leave(w);
}

// ---- the simulated OS: which physical pages have memory behind them

static region *region_of(whatif *w, uint64_t addr, bool make) {
	if (addr >> ADDR_BITS != 0) {
		return NULL;
	}
	region **at = &w->regions[addr >> REGION_BITS];
	if (*at == NULL && make) {
		*at = calloc(1, sizeof(**at));
		if (*at == NULL) {
			fail(w, "out of memory");
		}
	}
	return *at;
}

static unsigned grain_of(uint64_t addr) { return (unsigned)(addr >> GRAIN_BITS) & (GRAINS - 1); }

// hugeFault: a huge page of which nothing is resident, and which is mapped as a whole, gets memory as a whole.
static bool hugeFault(whatif *w, region *r, uint64_t addr) {
	const uint64_t size = (uint64_t)2 << 20, base = addr & ~(size - 1);
	uint64_t *words = &r->resident[grain_of(base) / 64];
	for (unsigned i = 0; i < size >> GRAIN_BITS >> 6; i++) {
		if (words[i] != 0) {
			return false;
		}
	}
	for (uint64_t a = base; a < base + size; a += 256 << 10) {
		if (mem_sim_state(w->under, (uintptr_t)a) < MEM_PREPARED) {
			return false;
		}
	}
	memset(words, 0xff, size >> GRAIN_BITS >> 3);
	w->rss += size;
	return true;
}

// touch writes [addr, addr+n). One bit stands for each physical page: that of its first grain.
static void touch(whatif *w, uint64_t addr, uint64_t n) {
	const uint64_t page = w->c->physPageSize;
	for (uint64_t a = addr & ~(page - 1); a < addr + n; a += page) {
		region *r = region_of(w, a, true);
		if (r == NULL) {
			return;
		}
		const unsigned g = grain_of(a);
		if ((r->resident[g / 64] >> g % 64 & 1) != 0) {
			continue;
		}
		w->out->faults++;
		if (!w->c->hugePages || !hugeFault(w, r, a)) {
			r->resident[g / 64] |= (uint64_t)1 << g % 64;
			w->rss += page;
		}
		if (w->rss > w->out->peakRSS) {
			w->out->peakRSS = w->rss;
		}
	}
}

static void untouch(whatif *w, uint64_t addr, uint64_t n) {
	const uint64_t page = w->c->physPageSize;
	for (uint64_t a = addr; a < addr + n; a += 1 << GRAIN_BITS) {
		region *r = region_of(w, a, false);
		const unsigned g = grain_of(a);
		if (r != NULL && (r->resident[g / 64] >> g % 64 & 1) != 0) {
			r->resident[g / 64] &= ~((uint64_t)1 << g % 64);
			w->rss -= a % page == 0 ? page : 0;
		}
	}
}

// ---- what is in the heap

static wspan **span_at(whatif *w, uint64_t base, bool make) {
	region *r = region_of(w, base, make);
	return r == NULL ? NULL : &r->span[grain_of(base)];
}

static wspan *span_get(whatif *w, uint64_t base) {
	wspan **at = span_at(w, base, false);
	return at == NULL ? NULL : *at;
}

static void count_span(whatif_class *c, const wspan *s, bool add) {
	const uint64_t slots = s->nelems * s->elemsize, tail = s->bytes - slots;
	c->spans += add ? 1u : UINT64_MAX;
	c->bytes += add ? s->bytes : 0 - s->bytes;
	c->freeSlots += add ? slots : 0 - slots;
	c->tail += add ? tail : 0 - tail;
}

static void count_object(whatif_class *c, const wspan *s, uint64_t asked, bool add) {
	const uint64_t waste = s->elemsize - asked;
	c->objects += add ? 1u : UINT64_MAX;
	c->asked += add ? asked : 0 - asked;
	c->slotWaste += add ? waste : 0 - waste;
	c->freeSlots += add ? 0 - s->elemsize : s->elemsize;
}

static void note_peak(whatif *w) {
	whatif_result *out = w->out;
	if (w->sum.bytes > out->sum.bytes) {
		memcpy(out->classes, w->classes, sizeof(out->classes));
		out->sum = w->sum;
		out->peakMalloc = out->mallocs;
	}
	// Another stream may be in the midst of a growth.
	const uint64_t released = sysMemStat_load(&w->h->stats.heapReleased);
	const uint64_t committed = w->mapped > released ? w->mapped - released : 0;
	out->peakCommitted = committed > out->peakCommitted ? committed : out->peakCommitted;
	out->peakStacks = w->stackBytes > out->peakStacks ? w->stackBytes : out->peakStacks;
}

static void on_spanInit(whatif *w, uint64_t a, const mspan *s, uint64_t npages) {
	const uint64_t bytes = npages << w->layout.pageShift;
	if ((a & 3) != spanAllocHeap) {
		w->stackBytes += (a & 3) == spanAllocStack ? bytes : 0;
		touch(w, mspan_base(s), bytes);
		note_peak(w);
		return;
	}
	wspan **at = span_at(w, mspan_base(s), true);
	wspan *side = at == NULL ? NULL : calloc(1, sizeof(*side) + s->nelems * sizeof(side->slot[0]));
	if (side == NULL) {
		fail(w, "out of memory");
		return;
	}
	side->bytes = bytes;
	side->elemsize = s->elemsize;
	side->nelems = s->nelems;
	side->spc = s->spanclass;
	free(*at);
	*at = side;
	count_span(&w->classes[side->spc], side, true);
	count_span(&w->sum, side, true);
	w->out->spansMade++;
	// Pointer bitmap and inline mark bits are written at once.
	const uint64_t end = mspan_base(s) + s->nelems * s->elemsize;
	if (end < mspan_base(s) + bytes && heapBitsInSpan(&w->layout, s->elemsize)) {
		touch(w, end, mspan_base(s) + bytes - end);
	}
	note_peak(w);
}

static void on_spanFree(whatif *w, uint64_t a, uint64_t base, uint64_t npages) {
	if (a != spanAllocHeap) {
		w->stackBytes -= a == spanAllocStack ? npages << w->layout.pageShift : 0;
		return;
	}
	wspan **at = span_at(w, base, false);
	if (at == NULL || *at == NULL) {
		return;
	}
	count_span(&w->classes[(*at)->spc], *at, false);
	count_span(&w->sum, *at, false);
	free(*at);
	*at = NULL;
}

static void drop_object(whatif *w, wspan *s, uint32_t i) {
	count_object(&w->classes[s->spc], s, s->slot[i].asked, false);
	count_object(&w->sum, s, s->slot[i].asked, false);
	s->slot[i].asked = s->slot[i].death = 0; // an input may still name its span by it
}

static void more_in_block(whatif_class *c, uint64_t n) {
	c->asked += n;
	c->slotWaste -= n;
}

static void note_malloc(whatif *w) {
	whatif_result *out = w->out;
	w->inUseSum += (double)w->sum.bytes;
	w->askedSum += (double)w->sum.asked;
	w->slotWasteSum += (double)w->sum.slotWaste;
	w->freeSum += (double)w->sum.freeSlots;
	w->tailSum += (double)w->sum.tail;
	const uint64_t every = w->lives->n / WHATIF_PLOT_POINTS + 1;
	if (out->mallocs % every == 0 && out->npoints < WHATIF_PLOT_POINTS) {
		out->points[out->npoints++] = (whatif_point){out->mallocs, w->sum.bytes, w->rss};
	}
}

// place_targets notes where an object is that an input will name.
static void place_targets(whatif *w, uint32_t number, uint64_t addr) {
	uint64_t lo = 0, hi = w->lives->ntargets;
	while (lo < hi) {
		const uint64_t mid = lo + (hi - lo) / 2;
		if (w->byObject[mid]->object < number) {
			lo = mid + 1;
		} else {
			hi = mid;
		}
	}
	for (; lo < w->lives->ntargets && w->byObject[lo]->object == number; lo++) {
		w->targetAddr[w->byObject[lo] - w->lives->targets] = addr;
	}
}

// place_object puts object number, of n bytes, into its slot.
static void place_object(whatif *w, uint32_t number, uint64_t n, unsigned path, uintptr_t addr) {
	mspan *m = spanOf(w->h, addr);
	wspan *s = m == NULL ? NULL : span_get(w, mspan_base(m));
	if (s == NULL) {
		fail(w, "event %" PRIu64 ": an object that lies in no span", event_number(w));
		return;
	}
	wslot *slot = &s->slot[(addr - mspan_base(m)) / s->elemsize];
	const uint32_t death = w->lives->death[number];
	if (path == GOMEM_PATH_TINY_HIT) {
		more_in_block(&w->classes[s->spc], n);
		more_in_block(&w->sum, n);
		slot->asked += n;
		slot->death = death > slot->death ? death : slot->death;
	} else {
		*slot = (wslot){.asked = n, .death = death, .owner = number};
		count_object(&w->classes[s->spc], s, n, true);
		count_object(&w->sum, s, n, true);
	}
	touch(w, addr, n);
	if ((w->isTarget[number / 8] >> number % 8 & 1) != 0) {
		place_targets(w, number, addr);
	}
	note_malloc(w);
}

// ---- the cursor

static bool load(whatif *w) {
	gmt_error err;
	int got = gmt_next(w->r, &w->block, &err);
	if (got < 0) {
		fail(w, "%s", err.text);
		return false;
	}
	if (got == 0 || w->block.n == 0) {
		w->eof = (gmt_event){.kind = EV_NONE, .stream = NO_STREAM};
		w->cur = &w->eof;
		w->end = &w->eof + 1;
		w->number++;
		w->ended = true;
		return true;
	}
	w->cur = w->block.events;
	w->end = w->cur + w->block.n;
	w->number = w->block.first + w->block.n;
	if (w->progress.call != NULL) {
		w->progress.call(w->progress.ctx, w->block.first, gmt_reader_events(w->r));
	}
	return true;
}

static stream *stream_of(whatif *w, uint16_t id) {
	stream *s = w->streams[id];
	if (s != NULL) {
		return s;
	}
	s = calloc(1, sizeof(*s));
	if (s == NULL) {
		fail(w, "out of memory");
		return NULL;
	}
	*s = (stream){.w = w, .id = id, .made = w->made};
	w->streams[id] = w->made = s;
	return s;
}

static void bind(whatif *w, moved **map, uint64_t *recorded, uint64_t *mine) {
	if (*recorded == 0 || *mine == 0) {
		return;
	}
	moved *m = NULL;
	HASH_FIND(hh, *map, recorded, sizeof(*recorded), m);
	if (m == NULL) {
		m = calloc(1, sizeof(*m));
		if (m == NULL) {
			fail(w, "out of memory");
			return;
		}
		m->recorded = *recorded;
		HASH_ADD(hh, *map, recorded, sizeof(m->recorded), m);
	}
	m->mine = *mine;
	*recorded = *mine = 0;
}

// unbind gives what the recorded address became, and forgets it. 0: it is not known.
static uint64_t unbind(whatif *w, moved **map, uint64_t recorded) {
	moved *m = NULL;
	HASH_FIND(hh, *map, &recorded, sizeof(recorded), m);
	if (m == NULL) {
		w->out->untranslated++;
		return 0;
	}
	const uint64_t mine = m->mine;
	HASH_DEL(*map, m);
	free(m);
	return mine;
}

// follow_recorded keeps what must be known of the recorded heap.
static void follow_recorded(whatif *w, const gmt_event *e) {
	stream *s;
	switch ((gomem_ev)e->kind) {
	case EV_SWEEP:
		w->recordedSwept += e->d & 0xffffffff;
		return;
	case EV_SWEEPGEN:
		w->recordedCycle++;
		w->recordedSwept = 0;
		w->recordedBasis = w->recordedInUse;
		return;
	case EV_SPANINIT:
		w->recordedInUse += (e->a & 3) == spanAllocHeap ? e->d & 0xffffffff : 0;
		if ((e->a & 3) == spanAllocWorkBuf && (s = stream_of(w, e->stream)) != NULL) {
			s->recordedManual = e->c;
			bind(w, &w->manuals, &s->recordedManual, &s->manual);
		}
		return;
	case EV_SPANFREE:
		w->recordedInUse -= e->a == spanAllocHeap ? e->d : 0;
		return;
	case EV_STACKEND:
		if ((s = stream_of(w, e->stream)) != NULL) {
			s->recordedStack = e->a;
			bind(w, &w->stacks, &s->recordedStack, &s->stack);
		}
		return;
	default:
		return;
	}
}

// pass moves the cursor on.
static void pass(whatif *w) {
	const uint64_t event = event_number(w);
	stream *s = w->ended ? NULL : w->streams[w->cur->stream];
	if (s != NULL) {
		s->over = (w->lives->isLast[event / 8] >> event % 8 & 1) != 0;
	}
	follow_recorded(w, w->cur);
	if (++w->cur == w->end && !w->ended) {
		(void)load(w);
	}
}

// ---- steps

static void do_op(whatif *w, stream *s);

static bool on_path(const stream *s) { return !s->off && !s->hurried; }

// stray takes the running operation off its path: it comes to another step than the recorded one, or to one more.
static void stray(whatif *w, const char *step) {
	stream *s = w->running;
	if (on_path(s) && w->out->first[0] == 0) {
		snprintf(w->out->first, sizeof(w->out->first), "event %" PRIu64 ": recorded %s, here %s", event_number(w),
			w->ended ? "nothing" : gmt_kind((gomem_ev)w->cur->kind)->name, step);
	}
	s->off = true;
}

// wait_turn returns with an event of the running stream's operation under the cursor, or off the path.
static void wait_turn(whatif *w) {
	stream *s = w->running;
	while (on_path(s)) {
		if (w->failed) {
			leave(w);
		}
		if (s->over) {
			stray(w, "one step more");
			return;
		}
		if (w->cur->stream != s->id || w->ended) {
			coro_switch(s->co, w->main);
			continue;
		}
		// A goroutine's stack may have to grow anywhere in an operation that runs on it.
		if (s->depth != 1 || (w->cur->kind != EV_STACKALLOC && w->cur->kind != EV_STACKFREE)) {
			return;
		}
		do_op(w, s);
	}
}

static bool next_is(whatif *w, gomem_ev k) {
	wait_turn(w);
	return on_path(w->running) && w->cur->kind == k;
}

static void on_turn(void *ctx, gomem_ev k) {
	whatif *w = ctx;
	wait_turn(w);
	if (k != EV_NONE && w->cur->kind != k) {
		stray(w, gmt_kind(k)->name);
	}
}

static void on_busy(void *ctx, const char *name) {
	whatif *w = ctx;
	(void)name;
	w->running->busy = true;
	coro_switch(w->running->co, w->main);
	if (w->failed) {
		leave(w);
	}
}

// compare counts a decision that stands under the cursor.
static void compare(whatif *w, const gmt_event *e, uint64_t a, uint64_t b, uint64_t c, uint64_t d) {
	const bool spanB = gmt_kind((gomem_ev)e->kind)->span_field == 'b';
	if (e->a == a && (spanB || e->b == b) && e->c == c && e->d == d) {
		w->out->same++;
		return;
	}
	if (w->out->first[0] == 0) {
		snprintf(w->out->first, sizeof(w->out->first),
			"event %" PRIu64 ", %s: recorded %#" PRIx64 " %#" PRIx64 " %#" PRIx64 " %#" PRIx64 ", here %#" PRIx64
			" %#" PRIx64 " %#" PRIx64 " %#" PRIx64,
			event_number(w), gmt_kind((gomem_ev)e->kind)->name, e->a, e->b, e->c, e->d, a, b, c, d);
	}
}

static void on_event(void *ctx, gomem_ev k, uint64_t a, uint64_t b, uint64_t c, uint64_t d) {
	whatif *w = ctx;
	if (next_is(w, k)) {
		compare(w, w->cur, a, b, c, d);
		pass(w);
	} else {
		stray(w, gmt_kind(k)->name);
	}
	switch (k) {
	case EV_SPANINIT:
		on_spanInit(w, a, (const mspan *)(uintptr_t)b, d & 0xffffffff);
		return;
	case EV_SPANFREE:
		on_spanFree(w, a, c, d);
		return;
	case EV_ARENA:
		w->out->reserved += b;
		return;
	case EV_PGROW:
		w->mapped += b;
		w->out->peakMapped = w->mapped;
		return;
	default:
		return;
	}
}

// ---- policy

static bool sweep_isOn(const gomem_heap *h) {
	return (atomic_load(&((gomem_heap *)(uintptr_t)h)->sweep.active.state) & sweepDrainedMask) == 0;
}

static bool policy_sweepActive(void *ctx, gomem_heap *h, gomem_p *p) {
	whatif *w = ctx;
	(void)p;
	if (!next_is(w, EV_SWEEPACTIVE)) {
		stray(w, "sweep-active");
		return sweep_isOn(h);
	}
	const bool active = w->cur->a != 0;
	pass(w);
	return active;
}

// is_behind: a smaller part of the heap was swept than in the recording.
static bool is_behind(const whatif *w) {
	const double mine = (double)atomic_load(&w->h->pagesSwept) * (double)w->recordedBasis;
	return mine < (double)w->recordedSwept * (double)w->sweepBasis;
}

// sweep_step: a recorded call of sweepone is one call here, and more where this heap is behind.
static void sweep_step(whatif *w, gomem_p *p) {
	uintptr_t swept = sweepone(w->h, p);
	if (!is_behind(w)) {
		return;
	}
	const bool off = w->running->off;
	w->running->off = true;
	while (swept != ~(uintptr_t)0 && is_behind(w)) {
		swept = sweepone(w->h, p);
	}
	w->running->off = off;
}

static void policy_deductSweepCredit(
	void *ctx, gomem_heap *h, gomem_p *p, uintptr_t spanBytes, uintptr_t callerSweepPages) {
	whatif *w = ctx;
	(void)h;
	(void)spanBytes;
	(void)callerSweepPages;
	while (next_is(w, EV_SWEEPONE)) {
		pass(w);
		sweep_step(w, p);
	}
}

// target_of gives what the input under the cursor names.
static const whatif_target *target_of(const whatif *w) {
	const uint64_t event = event_number(w);
	uint64_t lo = 0, hi = w->lives->ntargets;
	while (lo < hi) {
		const uint64_t mid = lo + (hi - lo) / 2;
		if (w->lives->targets[mid].event < event) {
			lo = mid + 1;
		} else {
			hi = mid;
		}
	}
	return lo < w->lives->ntargets && w->lives->targets[lo].event == event ? &w->lives->targets[lo] : NULL;
}

// target_span gives the span that holds the target's object; NULL: it is not there any more.
static mspan *target_span(whatif *w, const whatif_target *t) {
	const uint64_t addr = t == NULL ? 0 : w->targetAddr[t - w->lives->targets];
	mspan *m = addr == 0 ? NULL : spanOf(w->h, (uintptr_t)addr);
	// A page that is free still names the span it was in, whose structure may describe other pages by now.
	if (m == NULL || mspan_state(m) != mSpanInUse || addr < mspan_base(m) || addr >= m->limit) {
		return NULL;
	}
	const wspan *s = span_get(w, mspan_base(m));
	return s != NULL && s->slot[(addr - mspan_base(m)) / s->elemsize].owner == t->object ? m : NULL;
}

// reclaim_step: a span that never had an object is fresh, and nobody can take it for sweeping: nothing is tried here.
static void reclaim_step(whatif *w, gomem_p *p) {
	const whatif_target *t = target_of(w);
	mspan *s = target_span(w, t);
	pass(w);
	if (s != NULL) {
		mheap_reclaimSpan(w->h, p, s);
	} else if (t != NULL && t->object == WHATIF_NEVER && next_is(w, EV_ACQUIRE) && w->cur->a == 0) {
		w->out->same++;
		pass(w);
	}
}

static void policy_reclaim(void *ctx, gomem_heap *h, gomem_p *p, uintptr_t npages) {
	whatif *w = ctx;
	(void)h;
	(void)npages;
	while (next_is(w, EV_RECLAIM)) {
		reclaim_step(w, p);
	}
}

static void policy_loadMarks(void *ctx, gomem_heap *h, gomem_p *p, mspan *m) {
	whatif *w = ctx;
	(void)h;
	(void)p;
	wspan *s = span_get(w, mspan_base(m));
	memset(m->gcmarkBits, 0, (m->nelems + 63u) / 64 * 8);
	for (uint32_t i = 0; s != NULL && i < s->nelems; i++) {
		if (s->slot[i].asked == 0) {
			continue;
		}
		if (s->slot[i].death > w->deadline) {
			m->gcmarkBits[i / 8] |= (uint8_t)(1u << i % 8);
		} else {
			drop_object(w, s, i);
		}
	}
}

static void scavenge_step(whatif *w, gomem_p *p) {
	const uint64_t bytes = w->cur->a;
	const bool force = w->cur->b != 0;
	bool none;
	pass(w);
	pageAlloc_scavengeStep(&w->h->env, &w->h->pages, (uintptr_t)bytes, force, heapStats_of(w->h, p), &none);
}

// scavengeForLimit: as Go's allocSpan, an allocation that would pass the memory limit gives as much back to the OS first.
static void scavengeForLimit(whatif *w, gomem_p *p, uintptr_t scav) {
	const int64_t ready = atomic_load(&w->h->stats.mappedReady);
	const uint64_t use = (uint64_t)ready + scav;
	if (w->c->memoryLimit != 0 && use > w->c->memoryLimit) {
		w->running->off = true;
		pageAlloc_scavenge(
			&w->h->env, &w->h->pages, (uintptr_t)(use - w->c->memoryLimit), NULL, NULL, true, heapStats_of(w->h, p));
	}
}

static void policy_scavengeAssist(void *ctx, gomem_heap *h, gomem_p *p, uintptr_t scav, uintptr_t growth) {
	whatif *w = ctx;
	(void)h;
	(void)growth;
	while (next_is(w, EV_SCAVENGE)) {
		scavenge_step(w, p);
	}
	scavengeForLimit(w, p, scav);
}

static void policy_gcTrigger(void *ctx, gomem_heap *h, gomem_p *p) {
	whatif *w = ctx;
	(void)p;
	w->cycleDue |= w->c->paced && atomic_load(&h->stats.heapLive) >= w->trigger;
}

// ---- the OS

static whatif *whatif_of(gomem_os *os) { return (whatif *)(void *)((char *)os - offsetof(whatif, os)); }

static void *os_alloc(gomem_os *os, uintptr_t n) {
	whatif *w = whatif_of(os);
	w->out->systemCalls++;
	return w->under->alloc(w->under, n);
}

// os_reserve grants what the recorded OS granted, if it was asked the same, else the hint.
static void *os_reserve(gomem_os *os, void *hint, uintptr_t n, memUse use) {
	whatif *w = whatif_of(os);
	w->out->systemCalls++;
	if (use == MEM_META) {
		return w->under->reserve(w->under, hint, n, use);
	}
	if (next_is(w, EV_RESERVE) && w->cur->a == (uintptr_t)hint) {
		const gmt_event e = *w->cur;
		if (e.d == 0) {
			return NULL;
		}
		// sysReserveAligned trims: any address that leads to the granted one will do.
		const bool trimmed = e.c != 0 && e.c < n;
		hint = (void *)(uintptr_t)(trimmed ? e.d - w->os.physPageSize : e.d);
	}
	return w->under->reserve(w->under, hint, n, use);
}

static bool os_map(gomem_os *os, void *v, uintptr_t n) {
	whatif *w = whatif_of(os);
	w->out->systemCalls++;
	return w->under->map(w->under, v, n);
}
static bool os_used(gomem_os *os, void *v, uintptr_t n) { // no system call on Linux
	whatif *w = whatif_of(os);
	return w->under->used(w->under, v, n);
}
static bool os_unused(gomem_os *os, void *v, uintptr_t n) {
	whatif *w = whatif_of(os);
	w->out->systemCalls++;
	untouch(w, (uintptr_t)v, n);
	return w->under->unused(w->under, v, n);
}
static bool os_fault(gomem_os *os, void *v, uintptr_t n) {
	whatif *w = whatif_of(os);
	w->out->systemCalls++;
	return w->under->fault(w->under, v, n);
}
static bool os_free(gomem_os *os, void *v, uintptr_t n) {
	whatif *w = whatif_of(os);
	w->out->systemCalls++;
	return w->under->free(w->under, v, n);
}
static void os_hint(gomem_os *os, void *v, uintptr_t n) {
	(void)v;
	(void)n;
	whatif_of(os)->out->systemCalls++;
}
static bool os_collapse(gomem_os *os, void *v, uintptr_t n) {
	whatif *w = whatif_of(os);
	w->out->systemCalls++;
	return w->under->hugePageCollapse(w->under, v, n);
}

static bool make_os(whatif *w) {
	const gmt_header *head = gmt_reader_header(w->r);
	const memSimConfig cfg = {
		.physPageSize = (uintptr_t)w->c->physPageSize, .physHugePageSize = (uintptr_t)w->c->physHugePageSize};
	w->under = mem_sim_new(&cfg);
	if (w->under == NULL) {
		return false;
	}
	w->os = (gomem_os){
		.name = "what-if",
		.physPageSize = cfg.physPageSize,
		.physHugePageSize = cfg.physHugePageSize,
		.unusedKeepsContents = strstr(head->godebug, "madvdontneed=1") == NULL,
		.alloc = os_alloc,
		.reserve = os_reserve,
		.map = os_map,
		.used = os_used,
		.unused = os_unused,
		.fault = os_fault,
		.free = os_free,
		.hugePage = os_hint,
		.noHugePage = os_hint,
		.hugePageCollapse = os_collapse,
	};
	return true;
}

// ---- streams

// resume runs s until it waits for its turn, for a lock, or has nothing to do.
static void resume(whatif *w, stream *s) {
	w->running = s;
	s->busy = false;
	coro_switch(w->main, s->co);
}

// finish_others lets each operation that has begun, but that of except, run to its end.
static void finish_others(whatif *w, const stream *except) {
	int left = MAX_HURRIES;
	for (bool again = true; again && !w->failed;) {
		again = false;
		for (stream *s = w->made; s != NULL && !w->failed; s = s->made) {
			if (s == except || s->depth == 0) {
				continue;
			}
			s->hurried = true;
			resume(w, s);
			again |= s->depth != 0;
			if (--left == 0) {
				fail(w, "event %" PRIu64 ": operations wait for each other", event_number(w));
			}
		}
	}
}

static void run_stream(void *arg) {
	stream *s = arg;
	for (;;) {
		s->job(s->w, s);
		s->hurried = false;
		coro_switch(s->co, s->w->main);
	}
}

// begin starts a job on an idle stream.
static void begin(whatif *w, stream *s, void (*job)(whatif *, stream *)) {
	if (s->co == NULL) {
		s->co = coro_new(STACK_BYTES, run_stream, s);
	}
	if (s->co == NULL) {
		fail(w, "out of memory for a stream");
		return;
	}
	s->job = job;
	s->off = s->hurried = false;
	resume(w, s);
}

// settle lets the others go on until s has the lock that it waits for.
static void settle(whatif *w, stream *s) {
	while (s->busy && !w->failed) {
		finish_others(w, s);
		if (!w->failed) {
			resume(w, s);
		}
	}
}

// ---- operations

static void op_malloc(whatif *w, stream *s, bool whole) {
	const gmt_event e = *w->cur;
	const uint64_t number = w->out->mallocs;
	if (number >= w->lives->n || e.a == 0 || e.a > MAX_REQUEST) {
		fail(w, "event %" PRIu64 ": an allocation of %" PRIu64 " bytes", event_number(w), e.a);
		leave(w);
	}
	w->out->mallocs++;
	const uint64_t at = event_number(w);
	pass(w);
	unsigned path = 0;
	const uintptr_t addr =
		mallocgc(w->h, s->p, (uintptr_t)e.a, (e.b & 1) == 0 ? &wordType : NULL, (e.b & 2) != 0, &path);
	if (addr == 0) {
		fail(w, "event %" PRIu64 ": out of memory", at);
		leave(w);
	}
	place_object(w, (uint32_t)number, e.a, path, addr);
	if (whole) {
		compare(w, &e, e.a, e.b, path, addr);
	} else if (next_is(w, EV_MALLOCEND)) {
		compare(w, w->cur, path, addr, 0, 0);
		pass(w);
	}
}

static void op_stackalloc(whatif *w, stream *s) {
	const gmt_event e = *w->cur;
	if (e.a < 2048 || e.a > 1u << 30 || (e.a & (e.a - 1)) != 0) {
		fail(w, "event %" PRIu64 ": a stack of %" PRIu64 " bytes", event_number(w), e.a);
		leave(w);
	}
	s->recordedStack = s->stack = 0;
	pass(w);
	const uintptr_t addr = stackalloc(w->h, s->p, (uint32_t)e.a, e.b != 0);
	if (addr == 0) {
		fail(w, "event %" PRIu64 ": out of memory", event_number(w));
		leave(w);
	}
	w->out->stacks++;
	s->stack = addr;
	bind(w, &w->stacks, &s->recordedStack, &s->stack);
	if (next_is(w, EV_STACKEND)) {
		compare(w, w->cur, addr, 0, 0, 0);
		pass(w);
	}
}

static void op_stackfree(whatif *w, stream *s) {
	const gmt_event e = *w->cur;
	const uint64_t addr = unbind(w, &w->stacks, e.a);
	pass(w);
	if (addr != 0) {
		stackfree(w->h, s->p, (uintptr_t)addr, (uintptr_t)e.b, e.c != 0);
	}
}

static void op_allocmanual(whatif *w, stream *s) {
	const uint64_t pageSize = layout_pageSize(&w->layout), bytes = w->cur->a << 13;
	if (w->cur->a == 0 || w->cur->a > MAX_REQUEST >> 13) {
		fail(w, "event %" PRIu64 ": %" PRIu64 " pages", event_number(w), w->cur->a);
		leave(w);
	}
	s->recordedManual = s->manual = 0;
	pass(w);
	mspan *m = mheap_allocManual(w->h, s->p, (uintptr_t)((bytes + pageSize - 1) / pageSize), spanAllocWorkBuf);
	if (m == NULL) {
		fail(w, "event %" PRIu64 ": out of memory", event_number(w));
		leave(w);
	}
	s->manual = mspan_base(m);
	bind(w, &w->manuals, &s->recordedManual, &s->manual);
}

static void op_freemanual(whatif *w, stream *s) {
	const uint64_t base = unbind(w, &w->manuals, w->cur->a);
	pass(w);
	if (base != 0) {
		mheap_freeManual(w->h, s->p, spanOf(w->h, (uintptr_t)base), spanAllocWorkBuf);
	}
}

static gomem_p *other_p(whatif *w, uint64_t id) {
	const stream *s = id < GMT_STREAM_M ? w->streams[id] : NULL;
	if (s == NULL || s->p == NULL) {
		fail(w, "event %" PRIu64 ": P %" PRIu64 " does not exist", event_number(w), id);
		leave(w);
	}
	return s->p;
}

static void op_pinit(whatif *w, uint64_t id) {
	stream *s = id < GMT_STREAM_M ? stream_of(w, (uint16_t)id) : NULL;
	if (s == NULL || s->p != NULL) {
		fail(w, "event %" PRIu64 ": P %" PRIu64 " begins twice", event_number(w), id);
		leave(w);
	}
	pass(w);
	s->p = p_init(w->h, (int32_t)id);
	if (s->p == NULL) {
		fail(w, "out of memory for P %" PRIu64, id);
		leave(w);
	}
}

static void op_pdestroy(whatif *w, stream *s, uint64_t id) {
	gomem_p *p = other_p(w, id);
	pass(w);
	if (s->id == id) {
		fail(w, "event %" PRIu64 ": P %" PRIu64 " ends itself", event_number(w), id);
		leave(w);
	}
	p_destroy(w->h, s->p, p);
	w->streams[id]->p = NULL;
}

static void op_flushmcache(whatif *w, stream *s, gomem_p *p) {
	pass(w);
	mcache_releaseAll(w->h, s->p, p->mcache);
	stackcache_clear(w->h, s->p, p->mcache);
}

static void op_flushpcache(whatif *w, gomem_p *p) {
	pass(w);
	if (!pageCache_empty(&p->pcache)) {
		lockTurn(&w->h->env, &w->h->lock, EV_PCFLUSH);
		pageCache_flush(&w->h->env, &p->pcache, &w->h->pages, p->id);
		unlock(&w->h->env, &w->h->lock);
	}
}

// op_finishsweep: what is left to sweep, since this heap has other spans, is swept first.
static void op_finishsweep(whatif *w, stream *s) {
	pass(w);
	s->off = true;
	while (sweepone(w->h, s->p) != ~(uintptr_t)0) {
	}
	finishsweep_reset(w->h);
}

static void op_sweepgen(whatif *w) {
	pass(w);
	gcSweep(w->h);
	w->out->cycles++;
	w->deadline = w->recordedCycle;
	w->sweepBasis = atomic_load(&w->h->pagesInUse);
}

static void op_ensureswept(whatif *w, stream *s) {
	mspan *m = target_span(w, target_of(w));
	pass(w);
	if (m != NULL) {
		mspan_ensureSwept(w->h, s->p, m);
	}
}

static void do_other(whatif *w, stream *s) {
	const uint64_t a = w->cur->a;
	switch ((gomem_ev)w->cur->kind) {
	case EV_SWEEPONE:
		pass(w);
		sweep_step(w, s->p);
		return;
	case EV_RECLAIM:
		reclaim_step(w, s->p);
		return;
	case EV_ENSURESWEPT:
		op_ensureswept(w, s);
		return;
	case EV_SCAVENGE:
		scavenge_step(w, s->p);
		return;
	case EV_PREPARESWEEP:
		pass(w);
		mcache_prepareForSweep(w->h, s->p, other_p(w, a)->mcache);
		return;
	case EV_FLUSHMCACHE:
		op_flushmcache(w, s, other_p(w, a));
		return;
	case EV_FLUSHPCACHE:
		op_flushpcache(w, other_p(w, a));
		return;
	case EV_FREESTACKSPANS:
		pass(w);
		freeStackSpans(w->h, s->p);
		return;
	case EV_GCPHASE:
		pass(w);
		setGCPhase(w->h, (uint32_t)a);
		return;
	case EV_SWEEPGEN:
		op_sweepgen(w);
		return;
	case EV_FINISHSWEEP:
		op_finishsweep(w, s);
		return;
	case EV_NEXTGEN:
		pass(w);
		scavengeIndex_nextGen(&w->h->env, &w->h->pages.scav.index);
		return;
	case EV_PINIT:
		op_pinit(w, a);
		return;
	case EV_PDESTROY:
		op_pdestroy(w, s, a);
		return;
	default:
		pass(w);
	}
}

static void do_begun(whatif *w, stream *s) {
	if (s->p == NULL && s->id < GMT_STREAM_M) {
		fail(w, "event %" PRIu64 ": P %u acts before it begins or after its end", event_number(w), s->id);
		leave(w);
	}
	switch ((gomem_ev)w->cur->kind) {
	case EV_MALLOC:
		op_malloc(w, s, true);
		return;
	case EV_MALLOCBEGIN:
		op_malloc(w, s, false);
		return;
	case EV_STACKALLOC:
		op_stackalloc(w, s);
		return;
	case EV_STACKFREE:
		op_stackfree(w, s);
		return;
	case EV_ALLOCMANUAL:
		op_allocmanual(w, s);
		return;
	case EV_FREEMANUAL:
		op_freemanual(w, s);
		return;
	default:
		do_other(w, s);
	}
}

// do_op runs the operation under the cursor. It begins on the path, wherever the one is that it interrupts.
static void do_op(whatif *w, stream *s) {
	const bool off = s->off;
	s->off = false;
	s->depth++;
	do_begun(w, s);
	s->depth--;
	s->off = off;
}

static void make_heap(whatif *w, stream *s) {
	const gmt_header *head = gmt_reader_header(w->r);
	const gomem_policy policy = {
		.ctx = w,
		.sweepActive = w->c->paced ? NULL : policy_sweepActive,
		.deductSweepCredit = w->c->paced ? NULL : policy_deductSweepCredit,
		.reclaim = w->c->paced ? NULL : policy_reclaim,
		.loadMarks = policy_loadMarks,
		.scavengeAssist = policy_scavengeAssist,
		.gcTrigger = policy_gcTrigger,
	};
	w->lab = (gomem_lab){.ctx = w, .turn = on_turn, .event = on_event, .busy = on_busy};
	const gomem_config cfg = {
		.os = &w->os,
		.policy = &policy,
		.lab = &w->lab,
		.layout = &w->layout,
		.rand_seed = head->rand_seed,
		.no_randomized_base = !w->c->randomBase,
		.no_greentea = !w->c->greenTea,
		.throw_hook = on_throw,
		.throw_ctx = w,
	};
	s->depth++;
	w->h = gomem_heap_new_bare(&cfg);
	s->depth--;
	if (w->h == NULL) {
		fail(w, "the heap cannot be made: %s", strerror(errno));
	}
}

// ---- cycles by the trigger rule

// mark_all marks what lives; returns its bytes.
static uint64_t mark_all(whatif *w) {
	uint64_t live = 0;
	gcResetMarkState(w->h);
	for (intptr_t k = 0; k < w->h->allspans.len; k++) {
		mspan *m = w->h->allspans.p[k];
		const wspan *s = mspan_state(m) == mSpanInUse ? span_get(w, mspan_base(m)) : NULL;
		for (uint32_t i = 0; s != NULL && i < s->nelems; i++) {
			if (s->slot[i].asked != 0 && s->slot[i].death > w->deadline) {
				mspan_setMarked(w->h, m, i);
				live += s->elemsize;
			}
		}
	}
	return live;
}

// next_trigger is gcController's goal: heapminimum, or what lives and GOGC percent of it; with a memory limit not more than what the limit
// leaves beside everything else that is mapped, but at least a twentieth of what lives and 1 MiB.
static uint64_t next_trigger(const whatif *w, uint64_t live) {
	const whatif_config *c = w->c;
	const uint64_t least = ((uint64_t)4 << 20) * c->gogc / 100;
	uint64_t goal = live + (uint64_t)((double)live * (double)c->gogc / 100);
	goal = c->neverGC ? UINT64_MAX : goal < least ? least : goal;
	if (c->memoryLimit == 0) {
		return goal;
	}
	const uint64_t ready = w->h == NULL ? 0 : (uint64_t)atomic_load(&w->h->stats.mappedReady);
	const uint64_t heap =
		w->h == NULL ? 0 : sysMemStat_load(&w->h->stats.heapFree) + sysMemStat_load(&w->h->stats.heapInUse);
	const uint64_t beside = ready > heap ? ready - heap : 0;
	const uint64_t slack = c->memoryLimit / 100 * 3 > 1 << 20 ? c->memoryLimit / 100 * 3 : 1 << 20;
	const uint64_t room = c->memoryLimit > beside + slack ? c->memoryLimit - beside - slack : 0;
	const uint64_t floor = live + (live / 20 > 1 << 20 ? live / 20 : 1 << 20);
	const uint64_t limited = room > floor ? room : floor;
	return goal < limited ? goal : limited;
}

static void do_cycle(whatif *w, stream *s) {
	gomem_heap *h = w->h;
	s->off = true;
	s->depth++;
	finishsweep_m(h, NULL);
	w->deadline = w->recordedCycle + (w->c->earlyDeaths ? 1 : 0);
	const uint64_t live = mark_all(w);
	gcSweep(h);
	for (int32_t i = 0; i < h->nallp; i++) {
		if (p_isAlive(h->allp[i])) {
			mcache_prepareForSweep(h, NULL, h->allp[i]->mcache);
		}
	}
	scavengeIndex_nextGen(&h->env, &h->pages.scav.index);
	freeStackSpans(h, NULL);
	atomic_store(&h->stats.heapLive, live);
	w->trigger = next_trigger(w, live);
	gcPaceSweeper(h, w->trigger);
	w->out->cycles++;
	w->cycleDue = false;
	s->depth--;
}

// ---- the whole run

// is_cycles: kinds that belong to the recorded cycles.
static bool is_cycles(unsigned k) {
	return k == EV_SWEEPONE || k == EV_ENSURESWEPT || k == EV_RECLAIM || k == EV_PREPARESWEEP || k == EV_FLUSHMCACHE ||
		k == EV_FREESTACKSPANS || k == EV_GCPHASE || k == EV_SWEEPGEN || k == EV_FINISHSWEEP || k == EV_NEXTGEN;
}

static bool begins(const whatif *w, const gmt_event *e) {
	if (!gmt_kind((gomem_ev)e->kind)->input || e->kind == EV_SWEEPACTIVE) {
		return false;
	}
	return !w->c->paced || !is_cycles(e->kind);
}

// finish_stream lets the operation of s run to its end.
static void finish_stream(whatif *w, stream *s) {
	if (s != NULL && s->depth > 0) {
		s->hurried = true;
		resume(w, s);
		settle(w, s);
	}
}

// make_quiet: a cache is flushed, or a cycle begins. Go does so when nobody is in the midst of what it would disturb; here the operation of that
// P, or a sweep, may have been left behind, since it waits for a step that comes later.
static void make_quiet(whatif *w, const stream *s) {
	const gmt_event *e = w->cur;
	switch ((gomem_ev)e->kind) {
	case EV_PREPARESWEEP:
	case EV_FLUSHMCACHE:
	case EV_FLUSHPCACHE:
	case EV_PDESTROY:
		if (e->a < GMT_STREAM_M && e->a != s->id) {
			finish_stream(w, w->streams[e->a]);
		}
		return;
	case EV_FINISHSWEEP:
	case EV_SWEEPGEN:
		if ((atomic_load(&w->h->sweep.active.state) & ~sweepDrainedMask) != 0) {
			finish_others(w, s);
		}
		return;
	default:
		return;
	}
}

static void step(whatif *w) {
	if (w->cycleDue) {
		finish_others(w, NULL);
		if (!w->failed) {
			begin(w, &w->system, do_cycle);
		}
		return;
	}
	stream *s = stream_of(w, w->cur->stream);
	if (s == NULL) {
		return;
	}
	if (s->depth > 0) {
		resume(w, s);
		settle(w, s);
		return;
	}
	if (!begins(w, w->cur)) {
		pass(w);
		return;
	}
	make_quiet(w, s);
	if (!w->failed) {
		begin(w, s, do_op);
		settle(w, s);
	}
}

static int by_object(const void *a, const void *b) {
	const whatif_target *const *x = a, *const *y = b;
	return ((*x)->object > (*y)->object) - ((*x)->object < (*y)->object);
}

static bool start_targets(whatif *w) {
	const uint64_t n = w->lives->ntargets;
	w->targetAddr = calloc(n + 1, sizeof(*w->targetAddr));
	w->byObject = calloc(n + 1, sizeof(*w->byObject));
	w->isTarget = calloc(w->lives->n / 8 + 1, 1);
	if (w->targetAddr == NULL || w->byObject == NULL || w->isTarget == NULL) {
		return false;
	}
	for (uint64_t i = 0; i < n; i++) {
		const whatif_target *t = &w->lives->targets[i];
		w->byObject[i] = t;
		if (t->object < w->lives->n) {
			w->isTarget[t->object / 8] |= (uint8_t)(1u << t->object % 8);
		}
	}
	qsort((void *)w->byObject, n, sizeof(*w->byObject), by_object);
	return true;
}

static bool start(whatif *w) {
	w->streams = calloc(GMT_MAX_STREAMS, sizeof(*w->streams));
	w->regions = calloc(REGIONS, sizeof(*w->regions));
	w->main = coro_self();
	if (w->streams == NULL || w->regions == NULL || w->main == NULL || !start_targets(w) || !make_os(w)) {
		fail(w, "out of memory");
		return false;
	}
	w->system = (stream){.w = w, .id = NO_STREAM};
	w->trigger = next_trigger(w, 0);
	if (!load(w)) {
		return false;
	}
	if (w->ended) {
		fail(w, "the recording has no events");
		return false;
	}
	return true;
}

static void free_map(moved **map) {
	moved *m = *map;
	HASH_CLEAR(hh, *map);
	while (m != NULL) {
		moved *next = m->hh.next;
		free(m);
		m = next;
	}
}

static void free_all(whatif *w) {
	if (w->h != NULL) {
		w->h->env.lab = NULL;
		w->h->env.throwHook = NULL;
		gomem_heap_destroy(w->h);
	}
	for (stream *s = w->made, *next; s != NULL; s = next) {
		next = s->made;
		coro_free(s->co);
		free(s);
	}
	coro_free(w->system.co);
	coro_free(w->main);
	for (uint64_t i = 0; w->regions != NULL && i < REGIONS; i++) {
		for (unsigned g = 0; w->regions[i] != NULL && g < GRAINS; g++) {
			free(w->regions[i]->span[g]);
		}
		free(w->regions[i]);
	}
	free((void *)w->regions);
	free((void *)w->streams);
	free((void *)w->byObject);
	free(w->targetAddr);
	free(w->isTarget);
	free_map(&w->stacks);
	free_map(&w->manuals);
	if (w->under != NULL) {
		w->under->destroy(w->under);
	}
}

static void note_end(whatif *w) {
	whatif_result *out = w->out;
	const double n = out->mallocs == 0 ? 1 : (double)out->mallocs;
	out->meanInUse = w->inUseSum / n;
	out->meanAsked = w->askedSum / n;
	out->meanSlotWaste = w->slotWasteSum / n;
	out->meanFreeSlots = w->freeSum / n;
	out->meanTail = w->tailSum / n;
	out->endRSS = w->rss;
	for (unsigned i = 0; i < WHATIF_SPAN_CLASSES && i >> 1 < layout_numSizeClasses(&w->layout); i++) {
		out->classes[i].size = i >> 1 == 0 ? 0 : layout_classSize(&w->layout, i >> 1);
	}
	w->h->env.lab = NULL;
	const char *broken = gomem_heap_check(w->h);
	if (broken != NULL) {
		fail(w, "the heap is not sound at the end: %s", broken);
	}
}

static double seconds_now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int whatif_run(
	gmt_reader *r, const whatif_lives *lives, const whatif_config *c, whatif_progress progress, whatif_result *out) {
	const double began = seconds_now();
	memset(out, 0, sizeof(*out));
	whatif *w = calloc(1, sizeof(*w));
	if (w == NULL) {
		snprintf(out->error, sizeof(out->error), "out of memory");
		return -1;
	}
	w->r = r;
	w->lives = lives;
	w->c = c;
	w->layout = c->layout;
	w->layout.classes = c->ownClasses ? &c->classes : NULL;
	w->progress = progress;
	w->out = out;
	if (start(w)) {
		stream *first = stream_of(w, w->cur->stream);
		begin(w, first, make_heap);
		while (first->depth > 0 && !w->failed) { // with other constants it may have waited for another stream
			finish_others(w, NULL);
		}
		while (!w->failed && !w->ended) {
			step(w);
		}
		finish_others(w, NULL);
		if (!w->failed) {
			note_end(w);
		}
	}
	const int got = w->failed ? -1 : 0;
	free_all(w);
	free(w);
	out->seconds = seconds_now() - began;
	return got;
}
