// stat_find.c: what stands out in a census, in words. A finding weighs the bytes that it is about. Those about the peak come first, then
// those about the whole run.
#include "traces/show.h"
#include "traces/stat.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 10, CLASSES_TOLD = 4, TYPES_TOLD = 2 };
static const double FULL_ENOUGH = 85; // percent

typedef struct finding {
	const char *kind;
	uint64_t bytes;
	char text[400];
} finding;

typedef struct findings {
	finding all[MOST];
	unsigned n;
	uint64_t floor; // less is not worth a line
} findings;

static bool before(const char *kind, uint64_t bytes, const finding *other) {
	bool run = strcmp(kind, "lives") == 0, otherRun = strcmp(other->kind, "lives") == 0;
	return run == otherRun ? bytes > other->bytes : otherRun;
}

// add keeps the weightiest.
__attribute__((format(printf, 4, 5))) static void add(
	findings *f, const char *kind, uint64_t bytes, const char *fmt, ...) {
	unsigned i = f->n;
	if (bytes < f->floor || (i == MOST && !before(kind, bytes, &f->all[MOST - 1]))) {
		return;
	}
	i = i == MOST ? MOST - 1 : i;
	for (; i > 0 && before(kind, bytes, &f->all[i - 1]); i--) {
		f->all[i] = f->all[i - 1];
	}
	f->n += f->n < MOST;
	f->all[i].kind = kind;
	f->all[i].bytes = bytes;
	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(f->all[i].text, sizeof(f->all[i].text), fmt, ap);
	va_end(ap);
}

// Classes whose spans are far from full: the bytes of free slots.
static void find_classes(findings *f, const census *c) {
	uint32_t told[CENSUS_HEAP] = {0};
	for (unsigned n = 0; n < CLASSES_TOLD; n++) {
		unsigned best = CENSUS_HEAP;
		uint64_t most = 0;
		for (unsigned k = 2; k < CENSUS_HEAP; k++) {
			const census_class *p = &c->peak.classes[k];
			uint64_t bytes = p->slot_bytes - p->used_bytes;
			if (!told[k] && bytes > most && stat_percent(p->used, p->slots) < FULL_ENOUGH) {
				best = k;
				most = bytes;
			}
		}
		if (best == CENSUS_HEAP) {
			return;
		}
		told[best] = 1;
		const census_class *p = &c->peak.classes[best];
		char name[48], free[32], all[32], spans[32];
		add(f, "occupancy", most, "%s spans are %.0f %% full at the peak: %s of their %s are free slots (%s spans).",
			stat_class(best, name), stat_percent(p->used, p->slots), stat_bytes(most, free),
			stat_bytes(p->span_bytes, all), show_count(p->spans, spans));
	}
}

static void find_heap(findings *f, const census *c) {
	census_class p = census_sum(c->peak.classes, true);
	uint64_t free = p.slot_bytes - p.used_bytes;
	char a[32], b[32], n[32];
	add(f, "occupancy", free, "At the peak %.0f %% of the slots' bytes are taken: %s of %s in spans are free slots.",
		stat_percent(p.used_bytes, p.slot_bytes), stat_bytes(free, a), stat_bytes(p.span_bytes, b));
	uint64_t lonely = 0, bytes = 0;
	for (unsigned k = 2; k < CENSUS_HEAP; k++) {
		uint64_t spans = c->peak.lonely[k];
		const census_class *k1 = &c->peak.classes[k];
		lonely += spans;
		bytes += k1->spans == 0 ? 0 : spans * (k1->span_bytes / k1->spans);
	}
	add(f, "lonely", bytes, "%s spans with 8 slots or more are held by a single object at the peak: %s.",
		show_count(lonely, n), stat_bytes(bytes, a));
	uint64_t large = c->peak.classes[0].span_bytes + c->peak.classes[1].span_bytes;
	if (stat_percent(large, p.span_bytes) >= 20) {
		add(f, "large", large, "Objects above 32 KiB take %s, %.0f %% of the spans' bytes at the peak (%s objects).",
			stat_bytes(large, a), stat_percent(large, p.span_bytes),
			show_count(c->peak.classes[0].used + c->peak.classes[1].used, n));
	}
	add(f, "tail", stat_percent(p.tail, p.span_bytes) >= 3 ? p.tail : 0,
		"Ends of spans that hold no slot (tails, heap bits, mark bits) take %s at the peak, %.1f %% of the spans' bytes.",
		stat_bytes(p.tail, a), stat_percent(p.tail, p.span_bytes));
}

// Rounding up to a size class: the bytes of taken slots that nobody asked for.
static void find_waste(findings *f, const census_source *s) {
	if (s->trace) {
		return;
	}
	const census_class *k = s->census->peak.classes;
	census_class p = census_sum(k, true);
	unsigned worst = 0;
	for (unsigned i = 0; i < CENSUS_HEAP; i++) {
		worst = k[i].waste > k[worst].waste ? i : worst;
	}
	char a[32], b[32], name[48];
	add(f, "rounding", p.waste,
		"Rounding up to size classes costs %s at the peak, %.1f %% of the bytes in slots; most of it in %s (%s).",
		stat_bytes(p.waste, a), stat_percent(p.waste, p.used_bytes), stat_class(worst, name),
		stat_bytes(k[worst].waste, b));
}

static void find_pages(findings *f, const census *c) {
	const census_pages *p = &c->peak.pages;
	uint64_t bytes = p->free_pages * CENSUS_PAGE, n = 0, small = 0;
	for (unsigned i = 0; i < CENSUS_RUNS; i++) {
		n += p->runs[i];
		small += i < 3 ? p->run_pages[i] : 0;
	}
	char a[32], runs[32], b[32];
	if (stat_percent(p->free_pages, p->extent_pages) >= 1) {
		add(f, "pages", bytes,
			"Between spans %s lie free at the peak (%.1f %% of the address range), in %s runs, the longest %s; %.0f %% of it in runs "
			"shorter than 8 pages.",
			stat_bytes(bytes, a), stat_percent(p->free_pages, p->extent_pages), show_count(n, runs),
			stat_bytes(p->largest * CENSUS_PAGE, b), stat_percent(small, p->free_pages));
	}
}

static void find_lives(findings *f, const census *c) {
	census_class heap = census_sum(c->classes, true);
	const census_life *first = &c->lives[0];
	char a[32], b[32];
	if (heap.freed_bytes == 0) {
		return;
	}
	if (stat_percent(first->bytes, heap.taken_bytes) >= 50) {
		add(f, "lives", first->bytes,
			"%.0f %% of all bytes allocated (%s of %s) were garbage by the first GC cycle after their birth.",
			stat_percent(first->bytes, heap.taken_bytes), stat_bytes(first->bytes, a), stat_bytes(heap.taken_bytes, b));
	}
	if (stat_percent(heap.used_bytes, heap.taken_bytes) >= 20) {
		add(f, "lives", heap.used_bytes, "%.0f %% of all bytes allocated (%s) were still in their slots at the end.",
			stat_percent(heap.used_bytes, heap.taken_bytes), stat_bytes(heap.used_bytes, a));
	}
}

// find_mostStacks: the peak is that of the objects' spans. Stacks may have had theirs at another moment.
static void find_mostStacks(findings *f, const census_source *s) {
	const census *c = s->census;
	const census_class heap = census_sum(c->peak.classes, true), manual = census_sum(c->peak.classes, false);
	char a[32], b[32], n[32], at[48];
	if (c->most_manual < 2 * manual.span_bytes || stat_percent(c->most_manual, heap.span_bytes) < 20) {
		return;
	}
	if (s->trace) {
		(void)snprintf(at, sizeof(at), "%.3f s", (double)c->most_manual_at / 1e9);
	} else {
		(void)snprintf(at, sizeof(at), "event %s", show_count(c->most_manual_at, n));
	}
	add(f, "stacks", c->most_manual,
		"Stacks and work buffers had most spans at %s, not at the peak: %s; those of objects never had more than %s.",
		at, stat_bytes(c->most_manual, a), stat_bytes(heap.span_bytes, b));
}

static void find_stacks(findings *f, const census *c) {
	census_class heap = census_sum(c->peak.classes, true), manual = census_sum(c->peak.classes, false);
	uint64_t used = 0;
	for (unsigned i = 0; i < CENSUS_ORDERS; i++) {
		used += c->peak.stacks[i].count << i;
	}
	char a[32], b[32];
	if (stat_percent(manual.span_bytes, heap.span_bytes) >= 5) {
		add(f, "stacks", manual.span_bytes,
			"Stacks and work buffers take %s of spans at the peak, %.0f %% of what objects take; %s are stacks in use.",
			stat_bytes(manual.span_bytes, a), stat_percent(manual.span_bytes, heap.span_bytes), stat_bytes(used, b));
	}
}

// The types with the most bytes, and the one that keeps the most free slots.
static void find_types(findings *f, const census_source *s) {
	const census_state *p = &s->census->peak;
	uint64_t *bytes = calloc(s->ntypes + 1U, sizeof(*bytes)), *count = calloc(s->ntypes + 1U, sizeof(*count));
	census_class heap = census_sum(p->classes, true);
	for (uint64_t g = 0; bytes != NULL && count != NULL && g < p->ngroups; g++) {
		uint32_t t = p->groups[g].type <= s->ntypes ? p->groups[g].type : 0;
		bytes[t] += p->groups[g].used_bytes;
		count[t] += p->groups[g].used;
	}
	for (unsigned n = 0; bytes != NULL && count != NULL && n < TYPES_TOLD; n++) {
		uint32_t best = 1;
		for (uint32_t t = 1; t <= s->ntypes; t++) {
			best = bytes[t] > bytes[best] ? t : best;
		}
		char a[32], b[32];
		if (s->ntypes != 0 && bytes[best] != 0) {
			add(f, "type", bytes[best], "%.120s holds %s at the peak, %.0f %% of the bytes in slots: %s slots.",
				s->types[best].name, stat_bytes(bytes[best], a), stat_percent(bytes[best], heap.used_bytes),
				show_count(count[best], b));
			bytes[best] = 0;
		}
	}
	free(bytes);
	free(count);
}

cJSON *stat_findings(const census_source *s) {
	findings f = {.floor = census_sum(s->census->peak.classes, true).span_bytes / 100 + 1};
	find_classes(&f, s->census);
	find_heap(&f, s->census);
	find_waste(&f, s);
	find_pages(&f, s->census);
	find_lives(&f, s->census);
	find_stacks(&f, s->census);
	find_mostStacks(&f, s);
	find_types(&f, s);
	cJSON *a = cJSON_CreateArray();
	for (unsigned i = 0; i < f.n; i++) {
		cJSON *one = cJSON_CreateObject();
		(void)cJSON_AddItemToArray(a, one);
		(void)cJSON_AddStringToObject(one, "kind", f.all[i].kind);
		(void)cJSON_AddNumberToObject(one, "bytes", (double)f.all[i].bytes);
		(void)cJSON_AddStringToObject(one, "text", f.all[i].text);
	}
	return a;
}
