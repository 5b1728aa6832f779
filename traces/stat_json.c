// stat_json.c: a census as JSON, see stat.h and docs/REPORT.md.
//
// Equations that hold in each output (tests/stat_data.py):
//   totals.taken_bytes - totals.freed_bytes == end.used_bytes       sum of classes == heap, for each field
//   span_bytes == used_bytes + free_bytes + tail_bytes              requested_bytes == used_bytes - waste_bytes
#include "traces/show.h"
#include "traces/stat.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void number(cJSON *to, const char *name, uint64_t n) { (void)cJSON_AddNumberToObject(to, name, (double)n); }

static void text(cJSON *to, const char *name, const char *s) { (void)cJSON_AddStringToObject(to, name, s); }

static void address(cJSON *to, const char *name, uint64_t a) {
	char hex[24];
	(void)snprintf(hex, sizeof(hex), "0x%" PRIx64, a);
	text(to, name, hex);
}

const char *stat_bytes(uint64_t n, char buf[32]) {
	static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
	double v = (double)n / 1024;
	unsigned u = 0;
	if (n < 1024) {
		(void)snprintf(buf, 32, "%u B", (unsigned)n);
		return buf;
	}
	for (; v >= 1023.95 && u < 3; u++) {
		v /= 1024;
	}
	(void)snprintf(buf, 32, "%.1f %s", v, units[u]);
	return buf;
}

const char *stat_class(unsigned class, char buf[48]) {
	static const char *const others[] = {"stacks", "work buffers", "stacks or work buffers"};
	if (class >= CENSUS_HEAP) {
		(void)snprintf(buf, 48, "%s", others[class - CENSUS_HEAP]);
		return buf;
	}
	const char *scan = (class & 1) != 0 ? "noscan" : "scan";
	if (class < 2) {
		(void)snprintf(buf, 48, "large %s", scan);
	} else {
		(void)snprintf(buf, 48, "%" PRIu64 " B %s", census_class_size(class), scan);
	}
	return buf;
}

// ---- a class, or a sum of classes

static void class_now(cJSON *to, const census_class *k, bool sizes) {
	number(to, "spans", k->spans);
	number(to, "span_bytes", k->span_bytes);
	number(to, "slots", k->slots);
	number(to, "used", k->used);
	number(to, "used_bytes", k->used_bytes);
	number(to, "free_bytes", k->slot_bytes - k->used_bytes);
	number(to, "tail_bytes", k->tail);
	number(to, "full", k->full);
	number(to, "partly", k->partly);
	number(to, "empty", k->spans - k->full - k->partly);
	if (sizes) {
		number(to, "waste_bytes", k->waste);
		number(to, "requested_bytes", k->used_bytes - k->waste);
	}
}

static void class_ever(cJSON *to, const census_class *k, bool sizes) {
	number(to, "made", k->made);
	number(to, "taken", k->taken);
	number(to, "taken_bytes", k->taken_bytes);
	number(to, "freed", k->freed);
	number(to, "freed_bytes", k->freed_bytes);
	if (sizes) {
		number(to, "taken_waste_bytes", k->taken_waste);
	}
}

static void fills(cJSON *to, const uint32_t *n) {
	cJSON *a = cJSON_AddArrayToObject(to, "fill");
	for (unsigned i = 0; i < CENSUS_FILLS; i++) {
		(void)cJSON_AddItemToArray(a, cJSON_CreateNumber(n[i]));
	}
}

static void class_series(cJSON *to, const census *c, unsigned class) {
	cJSON *series = cJSON_AddObjectToObject(to, "series"), *spans = cJSON_AddArrayToObject(series, "spans");
	cJSON *used = cJSON_AddArrayToObject(series, "used"),
		  *bytes = class < 2 ? cJSON_AddArrayToObject(series, "span_bytes") : NULL;
	for (unsigned i = 0; i < c->nsamples; i++) {
		const census_sample *s = &c->samples[i];
		(void)cJSON_AddItemToArray(spans, cJSON_CreateNumber(s->spans[class]));
		(void)cJSON_AddItemToArray(used, cJSON_CreateNumber(s->slots[class]));
		if (class < 2) {
			(void)cJSON_AddItemToArray(bytes, cJSON_CreateNumber((double)s->large_bytes[class]));
		}
	}
}

static void classes(cJSON *to, const census_source *s) {
	const census *c = s->census;
	cJSON *all = cJSON_AddArrayToObject(to, "span_classes");
	char name[48];
	for (unsigned k = 0; k < CENSUS_HEAP; k++) {
		if (c->classes[k].made == 0) {
			continue;
		}
		cJSON *one = cJSON_CreateObject();
		(void)cJSON_AddItemToArray(all, one);
		text(one, "name", stat_class(k, name));
		number(one, "class", k);
		number(one, "size", census_class_size(k));
		(void)cJSON_AddBoolToObject(one, "scan", (k & 1) == 0);
		number(one, "slots_per_span", c->slots_per_span[k]);
		class_ever(one, &c->classes[k], !s->trace);
		cJSON *peak = cJSON_AddObjectToObject(one, "peak");
		class_now(peak, &c->peak.classes[k], !s->trace);
		fills(peak, c->peak.fills[k]);
		number(peak, "lonely", c->peak.lonely[k]);
		class_now(cJSON_AddObjectToObject(one, "end"), &c->end.classes[k], !s->trace);
		class_series(one, c, k);
	}
}

static census_class class_pair(const census_class *k) {
	census_class two[CENSUS_KINDS] = {k[0], k[1]};
	return census_sum(two, true);
}

// Size classes: scan and noscan together.
static void size_classes(cJSON *to, const census_source *s) {
	const census *c = s->census;
	cJSON *all = cJSON_AddArrayToObject(to, "size_classes");
	for (unsigned k = 0; k < CENSUS_HEAP; k += 2) {
		census_class ever = class_pair(&c->classes[k]), peak = class_pair(&c->peak.classes[k]);
		if (ever.made == 0) {
			continue;
		}
		cJSON *one = cJSON_CreateObject();
		(void)cJSON_AddItemToArray(all, one);
		number(one, "size", census_class_size(k));
		class_ever(one, &ever, !s->trace);
		cJSON *now = cJSON_AddObjectToObject(one, "peak");
		class_now(now, &peak, !s->trace);
		uint32_t both[CENSUS_FILLS];
		for (unsigned i = 0; i < CENSUS_FILLS; i++) {
			both[i] = c->peak.fills[k][i] + c->peak.fills[k + 1][i];
		}
		fills(now, both);
		number(now, "lonely", (uint64_t)c->peak.lonely[k] + c->peak.lonely[k + 1]);
	}
}

// ---- the state at a moment

static void pages(cJSON *to, const census_pages *p) {
	cJSON *o = cJSON_AddObjectToObject(to, "pages");
	number(o, "extent", p->extent_pages);
	number(o, "spans", p->span_pages);
	number(o, "free", p->free_pages);
	number(o, "largest_run", p->largest);
	cJSON *runs = cJSON_AddArrayToObject(o, "runs");
	for (unsigned i = 0; i < CENSUS_RUNS; i++) {
		cJSON *one = cJSON_CreateObject();
		(void)cJSON_AddItemToArray(runs, one);
		text(one, "pages", census_run_name(i));
		number(one, "runs", p->runs[i]);
		number(one, "free", p->run_pages[i]);
	}
}

static void stacks(cJSON *to, const census_stacks *s) {
	cJSON *a = cJSON_AddArrayToObject(to, "stacks");
	for (unsigned i = 0; i < CENSUS_ORDERS; i++) {
		if (s[i].taken == 0) {
			continue;
		}
		cJSON *one = cJSON_CreateObject();
		(void)cJSON_AddItemToArray(a, one);
		number(one, "bytes", (uint64_t)1 << i);
		number(one, "count", s[i].count);
		number(one, "taken", s[i].taken);
	}
}

static void state(cJSON *to, const char *name, const census_source *s, const census_state *st) {
	cJSON *o = cJSON_AddObjectToObject(to, name);
	census_class heap = census_sum(st->classes, true), manual = census_sum(st->classes, false);
	uint64_t stackBytes = 0;
	for (unsigned i = 0; i < CENSUS_ORDERS; i++) {
		stackBytes += st->stacks[i].count << i;
	}
	number(o, "at", st->at);
	number(o, "cycles", st->cycles);
	class_now(o, &heap, !s->trace);
	number(o, "manual_bytes", manual.span_bytes);
	number(o, "stack_bytes", stackBytes);
	uint32_t sum[CENSUS_FILLS] = {0};
	uint64_t lonely = 0;
	for (unsigned k = 0; k < CENSUS_HEAP; k++) {
		lonely += st->lonely[k];
		for (unsigned i = 0; i < CENSUS_FILLS; i++) {
			sum[i] += st->fills[k][i];
		}
	}
	fills(o, sum);
	number(o, "lonely", lonely);
	pages(o, &st->pages);
	stacks(o, st->stacks);
}

// ---- types

typedef struct type_sum {
	uint32_t type;
	uint64_t used, used_bytes, taken, taken_bytes, end_used, end_bytes;
	double retained, retained_bytes;
} type_sum;

static int type_order(const void *a, const void *b) {
	const type_sum *x = a, *y = b;
	if (x->used_bytes != y->used_bytes) {
		return x->used_bytes < y->used_bytes ? 1 : -1;
	}
	if (x->taken_bytes != y->taken_bytes) {
		return x->taken_bytes < y->taken_bytes ? 1 : -1;
	}
	return x->type < y->type ? -1 : x->type > y->type;
}

static void type_add(type_sum *t, const census *c, uint64_t g) {
	const census_group *ever = c->groups[g];
	t->type = ever->type;
	t->taken += ever->taken, t->taken_bytes += ever->taken_bytes;
	t->end_used += ever->used, t->end_bytes += ever->used_bytes;
	if (g < c->peak.ngroups) {
		t->used += c->peak.groups[g].used, t->used_bytes += c->peak.groups[g].used_bytes;
		t->retained += c->peak.retained[g];
		t->retained_bytes += c->peak.retained[g] * (double)census_class_size(ever->class);
	}
}

static void type_json(cJSON *all, const census_source *s, const type_sum *t) {
	cJSON *one = cJSON_CreateObject();
	(void)cJSON_AddItemToArray(all, one);
	const census_type *type = t->type != 0 && t->type <= s->ntypes ? &s->types[t->type] : NULL;
	text(one, "name", type == NULL ? "(no type: strings, bytes, raw memory)" : type->name);
	number(one, "size", type == NULL ? 0 : type->size);
	number(one, "used", t->used);
	number(one, "used_bytes", t->used_bytes);
	number(one, "retained_slots", (uint64_t)(t->retained + 0.5));
	number(one, "retained_bytes", (uint64_t)(t->retained_bytes + 0.5));
	number(one, "taken", t->taken);
	number(one, "taken_bytes", t->taken_bytes);
	number(one, "end_used", t->end_used);
	number(one, "end_bytes", t->end_bytes);
}

static bool types(cJSON *to, const census_source *s) {
	cJSON *all = cJSON_AddArrayToObject(to, "types");
	const census *c = s->census;
	if (!s->trace) {
		return true;
	}
	type_sum *sums = calloc(s->ntypes + 1U, sizeof(*sums));
	if (sums == NULL) {
		return false;
	}
	for (uint32_t g = 0; g < c->ngroups; g++) {
		type_add(&sums[c->groups[g]->type <= s->ntypes ? c->groups[g]->type : 0], c, g);
	}
	qsort(sums, s->ntypes + 1U, sizeof(*sums), type_order);
	for (uint32_t i = 0; i <= s->ntypes; i++) {
		if (sums[i].taken != 0) {
			type_json(all, s, &sums[i]);
		}
	}
	free(sums);
	return true;
}

// ---- over time

static void sample_series(cJSON *to, const char *name, const census *c, size_t offset) {
	cJSON *a = cJSON_AddArrayToObject(to, name);
	for (unsigned i = 0; i < c->nsamples; i++) {
		uint64_t v;
		memcpy(&v, (const char *)&c->samples[i] + offset, sizeof(v));
		(void)cJSON_AddItemToArray(a, cJSON_CreateNumber((double)v));
	}
}

static void series(cJSON *to, const census_source *s) {
	cJSON *o = cJSON_AddObjectToObject(to, "series");
	const census *c = s->census;
	sample_series(o, "at", c, offsetof(census_sample, at));
	sample_series(o, "span_bytes", c, offsetof(census_sample, span_bytes));
	sample_series(o, "used_bytes", c, offsetof(census_sample, used_bytes));
	if (!s->trace) {
		sample_series(o, "waste_bytes", c, offsetof(census_sample, waste));
	}
	sample_series(o, "used", c, offsetof(census_sample, used));
	sample_series(o, "manual_bytes", c, offsetof(census_sample, manual_bytes));
	sample_series(o, "stack_bytes", c, offsetof(census_sample, stack_bytes));
	sample_series(o, "stacks", c, offsetof(census_sample, stacks));
	sample_series(o, "extent_bytes", c, offsetof(census_sample, extent_bytes));
	sample_series(o, "taken", c, offsetof(census_sample, taken));
	sample_series(o, "taken_bytes", c, offsetof(census_sample, taken_bytes));
	sample_series(o, "freed_bytes", c, offsetof(census_sample, freed_bytes));
	sample_series(o, "cycles", c, offsetof(census_sample, cycles));
}

static void cycles(cJSON *to, const census *c) {
	cJSON *a = cJSON_AddArrayToObject(to, "gc");
	for (size_t i = 0; i < c->ngc; i++) {
		cJSON *one = cJSON_CreateObject();
		(void)cJSON_AddItemToArray(a, one);
		number(one, "begin", c->gc[i].begin);
		number(one, "end", c->gc[i].end != 0 ? c->gc[i].end : c->at);
		number(one, "used_bytes", c->gc[i].at_begin);
		number(one, "least_bytes", c->gc[i].least);
		number(one, "most_bytes", c->gc[i].most);
	}
}

static void lives(cJSON *to, const census *c) {
	cJSON *a = cJSON_AddArrayToObject(to, "lives");
	for (unsigned i = 0; i < CENSUS_LIVES; i++) {
		cJSON *one = cJSON_CreateObject();
		(void)cJSON_AddItemToArray(a, one);
		text(one, "cycles", census_life_name(i));
		number(one, "objects", c->lives[i].objects);
		number(one, "bytes", c->lives[i].bytes);
	}
}

// ---- the map

// runs codes cells as pairs of bytes: how often (1..255), and the value.
static size_t runs(const uint8_t *cells, size_t n, uint8_t *out) {
	size_t len = 0;
	for (size_t i = 0; i < n;) {
		size_t k = 1;
		while (k < 255 && i + k < n && cells[i + k] == cells[i]) {
			k++;
		}
		out[len++] = (uint8_t)k;
		out[len++] = cells[i];
		i += k;
	}
	return len;
}

static void base64(const uint8_t *in, size_t n, char *out) {
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=";
	for (size_t i = 0; i < n; i += 3) {
		uint32_t v = (uint32_t)in[i] << 16 | (i + 1 < n ? (uint32_t)in[i + 1] << 8 : 0) | (i + 2 < n ? in[i + 2] : 0U);
		*out++ = digits[v >> 18];
		*out++ = digits[v >> 12 & 63];
		*out++ = digits[i + 1 < n ? v >> 6 & 63 : 64];
		*out++ = digits[i + 2 < n ? v & 63 : 64];
	}
	*out = 0;
}

static bool plane(cJSON *to, const char *name, const uint8_t *cells, size_t n) {
	uint8_t *coded = malloc(2 * n + 1);
	char *digits = malloc((2 * n + 2) / 3 * 4 + 1);
	if (coded != NULL && digits != NULL) {
		base64(coded, runs(cells, n, coded), digits);
		text(to, name, digits);
	}
	bool good = coded != NULL && digits != NULL;
	free(coded);
	free(digits);
	return good;
}

static bool map(cJSON *to, const census_source *s) {
	cJSON *o = cJSON_AddObjectToObject(to, "map");
	const census_plan *plan = &s->plan;
	size_t cells = (size_t)plan->columns * plan->rows;
	number(o, "columns", plan->columns);
	number(o, "rows", plan->rows);
	number(o, "row_bytes", plan->row_pages * CENSUS_PAGE);
	number(o, "full", CENSUS_MAP_FULL);
	cJSON *extents = cJSON_AddArrayToObject(o, "extents");
	for (size_t i = 0; i < plan->nextents; i++) {
		cJSON *one = cJSON_CreateObject();
		(void)cJSON_AddItemToArray(extents, one);
		address(one, "base", plan->extents[i].first * CENSUS_PAGE);
		number(one, "bytes", plan->extents[i].npages * CENSUS_PAGE);
		number(one, "offset", plan->extents[i].offset * CENSUS_PAGE);
	}
	return plane(o, "spans", s->census->map_spans, cells) && plane(o, "used", s->census->map_used, cells) &&
		plane(o, "manual", s->census->map_manual, cells);
}

// ---- all of it

static void about(cJSON *to, const char *path, const census_source *s) {
	const char *name = strrchr(path, '/');
	text(to, "file", name == NULL ? path : name + 1);
	text(to, "kind", s->trace ? "trace" : "recording");
	text(to, "program", s->program);
	text(to, "go", s->go);
	if (s->gomaxprocs != 0) {
		number(to, "gomaxprocs", s->gomaxprocs);
	}
	(void)cJSON_AddBoolToObject(to, "greentea", s->greentea);
	text(to, "axis", s->trace ? "ns" : "event");
	number(to, "length", s->plan.end);
	number(to, "events", s->events);
	if (s->salvaged[0] != 0) {
		char left[640];
		text(to, "salvaged", show_salvaged(s->events, s->salvaged, left));
	}
}

static uint64_t stacks_taken(const census *c) {
	uint64_t n = 0;
	for (unsigned i = 0; i < CENSUS_ORDERS; i++) {
		n += c->stacks[i].taken;
	}
	return n;
}

static void totals(cJSON *to, const census_source *s) {
	const census *c = s->census;
	cJSON *o = cJSON_AddObjectToObject(to, "totals");
	census_class heap = census_sum(c->classes, true);
	class_ever(o, &heap, !s->trace);
	number(o, "at_start", s->start);
	number(o, "at_start_bytes", s->start_bytes);
	number(o, "manual_made", census_sum(c->classes, false).made);
	number(o, "stacks_taken", stacks_taken(c));
	number(o, "tiny", c->tiny);
	number(o, "tiny_bytes", c->tiny_bytes);
	number(o, "cycles", c->cycles);
	number(o, "most_used_bytes", c->most_used);
	number(o, "most_used_at", c->most_used_at);
	number(o, "most_manual_bytes", c->most_manual);
	number(o, "most_manual_at", c->most_manual_at);
	number(o, "alive", heap.used);
	number(o, "alive_bytes", heap.used_bytes);
	cJSON *odd = cJSON_AddObjectToObject(o, "odd");
	number(odd, "stray", c->odd.stray);
	number(odd, "twice", c->odd.twice);
	number(odd, "unknown", c->odd.unknown);
	number(odd, "overlaps", c->odd.overlaps);
	number(odd, "stacks", c->odd.stacks);
	number(odd, "counts", c->odd.counts);
}

cJSON *stat_json(const char *path, const census_source *s) {
	cJSON *o = cJSON_CreateObject();
	if (o == NULL) {
		return NULL;
	}
	about(o, path, s);
	totals(o, s);
	(void)cJSON_AddItemToObject(o, "findings", stat_findings(s));
	state(o, "peak", s, &s->census->peak);
	state(o, "end", s, &s->census->end);
	classes(o, s);
	size_classes(o, s);
	bool good = types(o, s);
	lives(o, s->census);
	cycles(o, s->census);
	series(o, s);
	if (!good || !map(o, s)) {
		cJSON_Delete(o);
		return NULL;
	}
	return o;
}
