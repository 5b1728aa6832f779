// whatif_measure.c: the figures of a what-if run: what lies in which span, and its bytes, at each moment, at the peak and in the mean.
//
// Invariants, after each event: of each span class, and of their sum: bytes == asked + slotWaste + freeSlots + tail
//   slot.asked != 0 iff the slot has an object that no sweep found dead yet; what is measured never changes what the heap decides
#include "traces/whatif_run.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static wspan **span_at(whatif *w, uint64_t base, bool make) {
	region *r = wi_region_of(w, base, make);
	return r == NULL ? NULL : &r->span[wi_grain_of(base)];
}

wspan *wi_span_get(whatif *w, uint64_t base) {
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

void wi_on_spanInit(whatif *w, uint64_t a, const mspan *s, uint64_t npages) {
	const uint64_t bytes = npages << w->layout.pageShift;
	if ((a & 3) != spanAllocHeap) {
		w->stackBytes += (a & 3) == spanAllocStack ? bytes : 0;
		wi_touch(w, mspan_base(s), bytes);
		note_peak(w);
		return;
	}
	wspan **at = span_at(w, mspan_base(s), true);
	wspan *side = at == NULL ? NULL : calloc(1, sizeof(*side) + s->nelems * sizeof(side->slot[0]));
	if (side == NULL) {
		wi_fail(w, "out of memory");
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
		wi_touch(w, end, mspan_base(s) + bytes - end);
	}
	note_peak(w);
}

void wi_on_spanFree(whatif *w, uint64_t a, uint64_t base, uint64_t npages) {
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

void wi_drop_object(whatif *w, wspan *s, uint32_t i) {
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

// wi_place_object puts object number, of n bytes, into its slot.
void wi_place_object(whatif *w, uint32_t number, uint64_t n, unsigned path, uintptr_t addr) {
	mspan *m = spanOf(w->h, addr);
	wspan *s = m == NULL ? NULL : wi_span_get(w, mspan_base(m));
	if (s == NULL) {
		wi_fail(w, "event %" PRIu64 ": an object that lies in no span", wi_event_number(w));
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
	wi_touch(w, addr, n);
	if ((w->isTarget[number / 8] >> number % 8 & 1) != 0) {
		place_targets(w, number, addr);
	}
	note_malloc(w);
}

void wi_restart(whatif *w) {
	whatif_result *out = w->out;
	const uint64_t reserved = out->reserved;
	memset(out, 0, sizeof(*out));
	out->reserved = reserved;
	out->peakMapped = w->mapped;
	out->peakRSS = w->rss;
	w->inUseSum = w->askedSum = w->slotWasteSum = w->freeSum = w->tailSum = 0;
	note_peak(w);
}

void wi_note_end(whatif *w) {
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
		wi_fail(w, "the heap is not sound at the end: %s", broken);
	}
}
