// predict_pages.c: the page table of a trace, and the first pass, which collects its sweeps. Invariants: predict_pages.h.
#include "traces/predict_pages.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "traces/census.h"
#include "traces/grow.h"

// ---- pages

static page_piece *findPiece(page_table *t, uint64_t number) {
	if (t->last != NULL && t->last->number == number) {
		return t->last;
	}
	page_piece *piece;
	HASH_FIND(hh, t->pieces, &number, sizeof(number), piece);
	if (piece != NULL) {
		t->last = piece;
	}
	return piece;
}

page_info *pages_at(page_table *t, uint64_t addr) {
	const uint64_t page = addr >> predictPageShift;
	page_piece *piece = findPiece(t, page >> predictPieceShift);
	return piece == NULL ? NULL : &piece->pages[page % predictPiecePages];
}

// pages_make makes the entry of a page. NULL: out of memory.
static page_info *pages_make(page_table *t, uint64_t addr) {
	page_info *pi = pages_at(t, addr);
	if (pi != NULL) {
		return pi;
	}
	page_piece *piece = calloc(1, sizeof(*piece));
	if (piece == NULL) {
		return NULL;
	}
	piece->number = addr >> (predictPageShift + predictPieceShift);
	HASH_ADD(hh, t->pieces, number, sizeof(piece->number), piece);
	return pages_at(t, addr);
}

bool pages_span(page_table *t, uint64_t base, uint64_t npages, uint16_t class) {
	for (uint64_t i = 0; i < npages; i++) {
		page_info *pi = pages_make(t, base + (i << predictPageShift));
		if (pi == NULL) {
			return false;
		}
		pi->back = (uint32_t)i;
		pi->npages = i == 0 ? (uint32_t)npages : 0;
		pi->flags |= PAGE_SEEN;
		if (i == 0) {
			pi->class = class;
			pi->group = 0;
			pi->black = 0;
			pi->push.cycle = pi->lastPush.cycle = 0;
			pi->flags &= (uint8_t)~PAGE_HIDDEN;
		}
	}
	return true;
}

void pages_unspan(page_table *t, uint64_t base) {
	page_info *pi = pages_at(t, base);
	if (pi != NULL) {
		pi->npages = 0;
	}
}

uint64_t pages_base(page_table *t, uint64_t addr) {
	const page_info *pi = pages_at(t, addr);
	if (pi == NULL) {
		return 0;
	}
	const uint64_t base = ((addr >> predictPageShift) - pi->back) << predictPageShift;
	const page_info *first = pages_at(t, base);
	return first != NULL && first->npages > pi->back ? base : 0;
}

void pages_free(page_table *t) {
	page_piece *piece = t->pieces;
	HASH_CLEAR(hh, t->pieces); // the list of its elements stays
	while (piece != NULL) {
		page_piece *const next = piece->hh.next;
		free(piece);
		piece = next;
	}
	*t = (page_table){0};
}

// ---- the first pass

// When the slot of an object was taken that was not told yet.
typedef struct taking {
	uint64_t event; // 0: there is none
	uint64_t outer; // and of the one that had begun before that; 0: none
	uint64_t own;   // it begins a cycle: that is told after the start of the world. 0: it does not
	uint32_t last;  // the object that was told last of those, in predict_sweeps.early, + 1; 0: none
} taking;

// What is known of a goroutine; if it stopped, another M may run it next.
typedef struct g_state {
	uint64_t g;
	UT_hash_handle hh;
	taking taking;
	uint32_t lastRegion, lastGroup; // these three as of an M
} g_state;

// What is known of an M: the sweep that it is in, and the region of sweeping.
typedef struct m_state {
	uint64_t m;
	UT_hash_handle hh;
	uint32_t open, tail; // group + 1 and its last part + 1; 0: none
	uint32_t region;     // 0: in none
	uint32_t lastRegion; // the region that ended before the next allocation, and its last group + 1
	uint32_t lastGroup;
	g_state *g; // that it runs; NULL: not known
	taking taking;
} m_state;

typedef struct collector {
	predict_sweeps *out;
	page_table pages;
	m_state *ms, *lastM;
	g_state *gs;
	uint32_t cycle;
	bool begun, marking, early; // early: sweeps were told before the end of the cycle
	uint64_t events;            // before this one
} collector;

static m_state *stateOf(collector *c, uint64_t m) {
	if (c->lastM != NULL && c->lastM->m == m) {
		return c->lastM;
	}
	m_state *s;
	HASH_FIND(hh, c->ms, &m, sizeof(m), s);
	if (s == NULL) {
		s = calloc(1, sizeof(*s));
		if (s == NULL) {
			return NULL;
		}
		s->m = m;
		HASH_ADD(hh, c->ms, m, sizeof(m), s);
	}
	c->lastM = s;
	return s;
}

static g_state *goroutineOf(collector *c, uint64_t g) {
	g_state *s;
	HASH_FIND(hh, c->gs, &g, sizeof(g), s);
	if (s == NULL) {
		s = calloc(1, sizeof(*s));
		if (s == NULL) {
			return NULL;
		}
		s->g = g;
		HASH_ADD(hh, c->gs, g, sizeof(g), s);
	}
	return s;
}

// grow makes room for one more element; their numbers have 32 bits.
static bool grow(void *array, size_t *room, uint32_t n, size_t size) {
	return n <= UINT32_MAX / 2 && array_grow(array, room, n, size);
}

// beginSweeping: the sweeps that follow are those of the next cycle.
static void beginSweeping(collector *c) {
	if (c->marking) {
		c->marking = false;
		c->early = true;
		c->cycle++;
	}
}

// endCycle: a cycle that was under way when the trace began has no beginning.
static void endCycle(collector *c) {
	c->marking = !c->early;
	beginSweeping(c);
	c->early = false;
}

static sweep_group *newGroup(collector *c, const m_state *m, uint64_t base, sweep_how how) {
	predict_sweeps *w = c->out;
	if (!grow(&w->groups, &w->cap, w->len, sizeof(*w->groups))) {
		return NULL;
	}
	w->groups[w->len] =
		(sweep_group){.base = base, .first = w->noffsets, .region = m->region, .cycle = c->cycle, .how = (uint8_t)how};
	return &w->groups[w->len++];
}

static sweep_how howSwept(const collector *c, const m_state *m) {
	if (m->region == 0) {
		return SWEEP_BY_SWEEPER;
	}
	const region_what what = c->out->regions[m->region - 1].what;
	return what == REGION_REFILL ? SWEEP_BY_REFILL : what == REGION_RECLAIM ? SWEEP_BY_RECLAIM : SWEEP_BY_CREDIT;
}

// groupOf gives the part of the group of base that the next slot goes to.
static sweep_group *groupOf(collector *c, m_state *m, uint64_t base) {
	predict_sweeps *w = c->out;
	const bool goesOn = m->open != 0 && w->groups[m->open - 1].base == base && w->groups[m->open - 1].cycle == c->cycle;
	if (!goesOn) {
		sweep_group *g = newGroup(c, m, base, howSwept(c, m));
		m->open = m->tail = w->len;
		return g;
	}
	sweep_group *tail = &w->groups[m->tail - 1];
	if (tail->first + tail->n == w->noffsets) {
		return tail;
	}
	// Another M's slots came between.
	if (newGroup(c, m, base, SWEEP_CONTINUED) == NULL) {
		return NULL;
	}
	w->groups[m->tail - 1].more = w->len - 1;
	m->tail = w->len;
	return &w->groups[w->len - 1];
}

static bool collectAcquired(collector *c, const gotrace_event *e) {
	predict_sweeps *w = c->out;
	if (e->p >= 0 || e->next_p < 0 || sweeps_acquired(w, c->cycle, e->next_p)) {
		return true;
	}
	if (!grow(&w->acquired, &w->capAcquired, w->nacquired, sizeof(*w->acquired))) {
		return false;
	}
	w->acquired[w->nacquired++] = (uint64_t)c->cycle << 16 | (uint64_t)e->next_p;
	return true;
}

static bool collectFree(collector *c, m_state *m, const gotrace_event *e) {
	beginSweeping(c);
	if (!collectAcquired(c, e)) {
		return false;
	}
	const uint64_t base = pages_base(&c->pages, e->addr);
	if (base == 0) {
		return true;
	}
	predict_sweeps *w = c->out;
	sweep_group *g = groupOf(c, m, base);
	if (g == NULL || !grow(&w->offsets, &w->capOffsets, w->noffsets, sizeof(*w->offsets))) {
		return false;
	}
	w->offsets[w->noffsets++] = (uint16_t)((e->addr - base) >> 3);
	g->n++;
	w->groups[m->open - 1].left++;
	w->groups[m->open - 1].earliest = e->earliest;
	return true;
}

static bool collectRegionBegin(collector *c, m_state *m, const gotrace_event *e) {
	static const region_what kinds[] = {[GOTRACE_IN_CREDIT] = REGION_CREDIT,
		[GOTRACE_IN_MCENTRAL] = REGION_REFILL,
		[GOTRACE_IN_RECLAIM] = REGION_RECLAIM};
	predict_sweeps *w = c->out;
	if (!grow(&w->regions, &w->capRegions, w->nregions, sizeof(*w->regions))) {
		return false;
	}
	const region_what what = e->n < sizeof(kinds) / sizeof(kinds[0]) ? kinds[e->n] : REGION_UNKNOWN;
	w->regions[w->nregions++] = (sweep_region){.what = what, .first = w->len};
	m->region = w->nregions;
	m->open = 0;
	return true;
}

// reclaimed: reclaim counts the pages that it looked at, whole chunks of them. Those of spans that it swept and did not free count once more.
static uint32_t reclaimed(uint64_t pages, uint64_t notFreed) {
	return pages > notFreed ? (uint32_t)((pages - notFreed) / reclaimChunkPages) : 0;
}

static void collectRegionEnd(collector *c, m_state *m, const gotrace_event *e) {
	predict_sweeps *w = c->out;
	if (m->region == 0) {
		return;
	}
	sweep_region *r = &w->regions[m->region - 1];
	uint64_t notFreed = 0;
	uint32_t last = 0, seen = 0;
	for (uint32_t i = r->first; i < w->len; i++) {
		const sweep_group *g = &w->groups[i];
		if (g->region != m->region || g->how == SWEEP_CONTINUED) {
			continue;
		}
		last = i + 1;
		seen++;
		notFreed += g->freed ? 0 : pages_at(&c->pages, g->base)->npages;
	}
	r->chunks = r->what == REGION_RECLAIM ? reclaimed(e->addr >> predictPageShift, notFreed) : 0;
	m->lastRegion = m->region;
	m->lastGroup = r->what != REGION_UNKNOWN || seen != 1
		? 0
		: last; // mcentral stops at the first span that has something to free
	m->region = 0;
	m->open = 0;
}

// checkGreenTea: an object that lies where the inline mark bits would be shows that there are none.
static void checkGreenTea(collector *c, const gotrace_event *e) {
	const uint64_t base = pages_base(&c->pages, e->addr);
	if (base != 0) {
		c->out->noGreenTea |= census_past_marks(pages_at(&c->pages, base)->class, e->addr - base);
	}
}

// collectAlloc: mcentral swept the span of the object, if that is the last one of a region of which nothing else is known.
static void collectAlloc(collector *c, m_state *m, const gotrace_event *e) {
	predict_sweeps *w = c->out;
	if (m->lastGroup != 0) {
		sweep_group *g = &w->groups[m->lastGroup - 1];
		if (!g->freed && pages_base(&c->pages, e->addr) == g->base) {
			g->how = SWEEP_BY_REFILL;
			w->regions[m->lastRegion - 1].what = REGION_REFILL;
		}
	}
	m->open = m->lastGroup = m->lastRegion = 0;
	checkGreenTea(c, e);
}

// collectEarly notes when the slot of an object was taken, if that was not at its event.
static bool collectEarly(collector *c, m_state *m, const gotrace_event *e) {
	predict_sweeps *w = c->out;
	if (m->taking.event == 0) {
		return true;
	}
	if (!grow(&w->early, &w->capEarly, w->nearly, sizeof(*w->early))) {
		return false;
	}
	w->early[w->nearly++] = (early_object){.taken = m->taking.event, .told = c->events, .addr = e->addr};
	m->taking.event = 0;
	m->taking.last = w->nearly;
	return true;
}

static void collectHeapAlloc(const collector *c, m_state *m) {
	m->taking.outer = m->taking.event;
	m->taking.event = c->events;
}

// notOuter: who begins a cycle allocates for that. What was told since it took a slot was not in that one.
static void notOuter(collector *c, taking *t) {
	if (t->event != 0) {
		return;
	}
	t->event = t->outer;
	t->outer = 0;
	if (t->event == 0 && t->last != 0) {
		early_object *o = &c->out->early[t->last - 1];
		t->event = o->taken;
		o->taken = notEarly;
	}
}

// beginTaking: it begins a cycle, which allocates: the mark workers, and what starts them.
static void beginTaking(collector *c, taking *t) {
	notOuter(c, t);
	*t = (taking){.own = t->event != 0 ? t->event : c->events};
}

static void endTaking(taking *t) {
	if (t->own != 0) {
		*t = (taking){.event = t->own};
	}
}

// stopTaking: m's goroutine stops there.
static void stopTaking(collector *c, taking *t, gotrace_where where) {
	if (where == GOTRACE_UNKNOWN || t->own != 0) {
		return;
	}
	if (where == GOTRACE_ELSEWHERE || where == GOTRACE_IN_SWEEPER) {
		*t = (taking){0};
		return;
	}
	if (where == GOTRACE_IN_GC_START) {
		notOuter(c, t);
	}
	t->event = t->event != 0 ? t->event : c->events;
	t->last = 0;
}

static void collectGoStop(collector *c, m_state *m, const gotrace_event *e) {
	g_state *g = m->g;
	if (g != NULL) {
		stopTaking(c, &m->taking, (gotrace_where)e->n);
		c->out->sweeper = e->n == GOTRACE_IN_SWEEPER ? g->g : c->out->sweeper;
		g->taking = m->taking;
		g->lastRegion = m->lastRegion;
		g->lastGroup = m->lastGroup;
	}
	m->lastGroup = m->lastRegion = 0;
	m->taking = (taking){0};
}

static bool collectGoStart(collector *c, m_state *m, const gotrace_event *e) {
	g_state *g = goroutineOf(c, e->n);
	if (g == NULL) {
		return false;
	}
	m->g = g;
	m->taking = g->taking;
	m->lastRegion = g->lastRegion;
	m->lastGroup = g->lastGroup;
	g->taking = (taking){0};
	g->lastRegion = g->lastGroup = 0;
	return true;
}

// noteTold: the trace tells of a span of n pages.
static void noteTold(collector *c, uint64_t base, uint64_t n) {
	for (uint64_t i = 0; i < n; i++) {
		pages_at(&c->pages, base + (i << predictPageShift))->told = c->events;
	}
}

static bool collectSpan(collector *c, m_state *m, const gotrace_event *e) {
	m->open = m->lastGroup = m->lastRegion = 0;
	if (!pages_span(&c->pages, e->addr, e->n, e->class)) {
		return false;
	}
	noteTold(c, e->addr, e->n);
	return true;
}

static bool collectUntold(collector *c, uint64_t base) {
	predict_sweeps *w = c->out;
	untold_span u = {.base = base, .freed = c->events};
	for (uint64_t i = 0; i < untoldPages; i++) {
		const uint64_t page = base + (i << predictPageShift);
		const page_info *pi = pages_at(&c->pages, page);
		if (pages_base(&c->pages, page) != 0) {
			return true; // it has fewer pages, and is no stack span
		}
		u.since = pi != NULL && pi->told > u.since ? pi->told : u.since;
	}
	if (!grow(&w->untold, &w->capUntold, w->nuntold, sizeof(*w->untold))) {
		return false;
	}
	w->untold[w->nuntold++] = u;
	return true;
}

static bool collectSpanFree(collector *c, m_state *m, const gotrace_event *e) {
	beginSweeping(c);
	if (m->open != 0 && c->out->groups[m->open - 1].base == e->addr) {
		c->out->groups[m->open - 1].freed = true;
	}
	m->open = 0;
	if (pages_base(&c->pages, e->addr) != e->addr) {
		return collectUntold(c, e->addr);
	}
	noteTold(c, e->addr, pages_at(&c->pages, e->addr)->npages);
	pages_unspan(&c->pages, e->addr);
	return true;
}

static bool collectEvent(collector *c, const gotrace_event *e) {
	m_state *m = stateOf(c, e->m);
	if (m == NULL) {
		return false;
	}
	if (e->p >= c->out->procs) {
		c->out->procs = e->p + 1;
	}
	switch ((gotrace_kind)e->kind) {
	case GOTRACE_SPAN:
	case GOTRACE_SPAN_ALLOC:
		return collectSpan(c, m, e);
	case GOTRACE_SPAN_FREE:
		return collectSpanFree(c, m, e);
	case GOTRACE_OBJECT:
		checkGreenTea(c, e);
		return true;
	case GOTRACE_OBJECT_ALLOC:
		collectAlloc(c, m, e);
		return collectEarly(c, m, e);
	case GOTRACE_OBJECT_FREE:
		return collectFree(c, m, e);
	case GOTRACE_GC_BEGIN:
		c->begun = true;
		if (e->addr == GOTRACE_IN_GC_START) {
			beginTaking(c, &m->taking);
		}
		return true;
	case GOTRACE_STW_END:
		endTaking(&m->taking);
		c->marking |= c->begun;
		c->begun = false;
		return true;
	case GOTRACE_GC_END:
		m->taking = (taking){0}; // caches are flushed, and that tells how large the heap is too
		endCycle(c);
		return true;
	case GOTRACE_GO_START:
		return collectGoStart(c, m, e);
	case GOTRACE_GO_STOP:
		collectGoStop(c, m, e);
		return true;
	case GOTRACE_HEAP_ALLOC:
		collectHeapAlloc(c, m);
		return true;
	case GOTRACE_SWEEP_BEGIN:
		return collectRegionBegin(c, m, e);
	case GOTRACE_SWEEP_END:
		collectRegionEnd(c, m, e);
		return true;
	default:
		return true;
	}
}

static void collectorFree(collector *c) {
	pages_free(&c->pages);
	m_state *m = c->ms;
	HASH_CLEAR(hh, c->ms);
	while (m != NULL) {
		m_state *const next = m->hh.next;
		free(m);
		m = next;
	}
	g_state *g = c->gs;
	HASH_CLEAR(hh, c->gs);
	while (g != NULL) {
		g_state *const next = g->hh.next;
		free(g);
		g = next;
	}
}

static int byBase(const void *a, const void *b) {
	const untold_span *x = a, *y = b;
	return x->base != y->base ? (x->base > y->base) - (x->base < y->base)
							  : (x->freed > y->freed) - (x->freed < y->freed);
}

static int byTaken(const void *a, const void *b) {
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

untold_span *sweeps_untold(const predict_sweeps *w, uint64_t base, uint64_t now) {
	uint32_t low = 0, high = w->nuntold; // all below low are before it, none from high on
	while (low < high) {
		const uint32_t mid = low + (high - low) / 2;
		const untold_span *u = &w->untold[mid];
		if (u->base < base || (u->base == base && u->freed <= now)) {
			low = mid + 1;
		} else {
			high = mid;
		}
	}
	untold_span *u = low < w->nuntold ? &w->untold[low] : NULL;
	return u != NULL && u->base == base && u->since <= now && !u->placed ? u : NULL;
}

// sortEarly makes the list by the event at which the slot was taken.
static bool sortEarly(predict_sweeps *w) {
	uint64_t(*keys)[2] = calloc((size_t)w->nearly + 1, sizeof(*keys));
	w->earlyByTaken = calloc((size_t)w->nearly + 1, sizeof(*w->earlyByTaken));
	const bool ok = keys != NULL && w->earlyByTaken != NULL;
	for (uint32_t i = 0; ok && i < w->nearly; i++) {
		keys[i][0] = w->early[i].taken;
		keys[i][1] = i;
	}
	if (ok) {
		qsort(keys, w->nearly, sizeof(*keys), byTaken);
	}
	for (uint32_t i = 0; ok && i < w->nearly; i++) {
		w->earlyByTaken[i] = (uint32_t)keys[i][1];
	}
	free(keys);
	return ok;
}

bool sweeps_collect(const predict_source *src, predict_sweeps *out, gmt_error *err) {
	collector c = {.out = out};
	out->noGreenTea = src->version < 26;
	gotrace_event e;
	int got;
	bool ok = true;
	while (ok && (got = src->next(src->ctx, &e, err)) == 1) {
		ok = collectEvent(&c, &e);
		c.events++;
		if (!ok) {
			(void)snprintf(err->text, sizeof(err->text), "out of memory");
		}
	}
	collectorFree(&c);
	if (out->nuntold > 0) {
		qsort(out->untold, out->nuntold, sizeof(*out->untold), byBase);
	}
	if (ok && got == 0 && !sortEarly(out)) {
		(void)snprintf(err->text, sizeof(err->text), "out of memory");
		ok = false;
	}
	return ok && got == 0;
}

bool sweeps_acquired(const predict_sweeps *w, uint32_t cycle, int32_t p) {
	const uint64_t key = (uint64_t)cycle << 16 | (uint64_t)p;
	for (uint32_t i = w->nacquired; i-- > 0;) {
		if (w->acquired[i] == key) {
			return true;
		}
	}
	return false;
}

void sweeps_free(predict_sweeps *w) {
	free(w->groups);
	free(w->offsets);
	free(w->regions);
	free(w->acquired);
	free(w->untold);
	free(w->early);
	free(w->earlyByTaken);
	*w = (predict_sweeps){0};
}
