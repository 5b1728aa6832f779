// gotrace_info.c: `gomem info` of a Go trace: what it holds, as text.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "traces/gmt_format.h"
#include "traces/gotrace.h"
#include "traces/gotrace_info.h"
#include "traces/show.h"

typedef struct facts {
	uint64_t events, kinds[GOTRACE_KINDS];
	uint64_t last;         // time
	uint64_t min, max;     // GOMAXPROCS, 0: not told
	uint64_t without_p;    // objects freed or allocated by an M without a P, and it acquires none next
	uint64_t flushed;      // and it does
	uint64_t typed, pages; // objects with a type; pages of spans, those at the start too
} facts;

static void count(facts *f, const gotrace_event *e) {
	f->events++;
	f->kinds[e->kind]++;
	f->last = e->time > f->last ? e->time : f->last;
	switch ((gotrace_kind)e->kind) {
	case GOTRACE_PROCS:
		f->min = f->min == 0 || e->n < f->min ? e->n : f->min;
		f->max = e->n > f->max ? e->n : f->max;
		return;
	case GOTRACE_OBJECT_ALLOC:
		f->typed += e->type != 0;
		f->without_p += e->p < 0;
		return;
	case GOTRACE_OBJECT_FREE:
		f->without_p += e->p < 0 && e->next_p < 0;
		f->flushed += e->p < 0 && e->next_p >= 0;
		return;
	default:
		return;
	}
}

static void print(const gotrace *t, const facts *f) {
	char go[32];
	printf("trace       %s\n", gotrace_go(gotrace_version(t), go));
	if (gotrace_salvaged(t) != NULL) {
		char left[640];
		printf("salvaged    %s\n", show_salvaged(f->events, gotrace_salvaged(t), left));
	}
	printf("generations %" PRIu64 "\n", gotrace_generations(t));
	printf("time        %.3f s\n", (double)f->last / 1e9);
	printf("GOMAXPROCS  %" PRIu64, f->min);
	if (f->max != f->min) {
		printf(" to %" PRIu64, f->max);
	}
	printf("\nheap        from 0x%" PRIx64 " on\n", gotrace_min_addr(t));
	printf("types       %" PRIu32 "; %" PRIu64 " of the allocated objects have one\n", gotrace_types(t), f->typed);
	printf("events      %" PRIu64 "\n", f->events);
	for (unsigned i = 0; i < GOTRACE_KINDS; i++) {
		if (f->kinds[i] != 0) {
			printf("  %-22s %12" PRIu64 "\n", gotrace_kind_name((gotrace_kind)i), f->kinds[i]);
		}
	}
	if (f->flushed != 0) {
		printf("  freed while a P was acquired %6" PRIu64 "\n", f->flushed);
	}
	if (f->without_p != 0) {
		printf("  allocated or freed without a P %4" PRIu64 "\n", f->without_p);
	}
}

static void print_raw(const gotrace *t) {
	const uint64_t *counts = gotrace_counts(t);
	printf("raw events by type\n");
	for (unsigned i = 0; i < 256; i++) {
		if (counts[i] != 0) {
			printf("  %3u %20" PRIu64 "\n", i, counts[i]);
		}
	}
}

int gotrace_info(const char *file, bool raw, bool salvage, gmt_error *err) {
	gotrace *t = gotrace_open(file, (gotrace_options){.salvage = salvage}, err);
	if (t == NULL) {
		return -1;
	}
	facts f = {0};
	gotrace_event e;
	int got;
	while ((got = gotrace_next(t, &e, err)) > 0) {
		count(&f, &e);
	}
	if (got == 0) {
		print(t, &f);
	}
	if (got == 0 && raw) {
		print_raw(t);
	}
	gotrace_close(t);
	return got;
}

// ---- events as text

static void print_class(const gotrace_event *e) {
	printf(" addr=0x%" PRIx64 " pages=%" PRIu64, e->addr, e->n);
	if (e->class == GOTRACE_MANUAL) {
		printf(" manual");
	} else {
		printf(" class=%u%s", e->class >> 1, (e->class & 1) != 0 ? " noscan" : "");
	}
}

static void print_fields(const gotrace *t, const gotrace_event *e) {
	const gotrace_type *type = gotrace_type_of(t, e->type);
	const char *text = gotrace_string(t, e->n);
	switch ((gotrace_kind)e->kind) {
	case GOTRACE_SPAN:
	case GOTRACE_SPAN_ALLOC:
		print_class(e);
		return;
	case GOTRACE_STACK:
	case GOTRACE_STACK_ALLOC:
		printf(" addr=0x%" PRIx64 " bytes=%" PRIu64, e->addr, e->n);
		return;
	case GOTRACE_SPAN_FREE:
	case GOTRACE_OBJECT:
	case GOTRACE_OBJECT_ALLOC:
	case GOTRACE_OBJECT_FREE:
	case GOTRACE_STACK_FREE:
		printf(" addr=0x%" PRIx64, e->addr);
		if (type != NULL) {
			printf(" type=");
			show_text(stdout, type->name, SIZE_MAX);
		}
		return;
	case GOTRACE_STW_BEGIN:
		printf(" why=");
		show_text(stdout, text == NULL ? "" : text, SIZE_MAX);
		return;
	case GOTRACE_SWEEP_END:
		printf(" swept=%" PRIu64 " reclaimed=%" PRIu64, e->addr, e->n);
		return;
	case GOTRACE_GC_BEGIN:
	case GOTRACE_GC_END:
	case GOTRACE_HEAP_ALLOC:
	case GOTRACE_HEAP_GOAL:
	case GOTRACE_PROCS:
		printf(" n=%" PRIu64, e->n);
		return;
	default:
		return;
	}
}

static void print_event(const gotrace *t, uint64_t number, const gotrace_event *e) {
	printf("%" PRIu64 " %" PRIu64 "ns M%" PRId64, number, e->time, (int64_t)e->m);
	if (e->p >= 0) {
		printf(" P%" PRId32, e->p);
	} else if (e->next_p >= 0) {
		printf(" P-(next P%" PRId32 ")", e->next_p);
	} else {
		printf(" P-");
	}
	printf(" %s", gotrace_kind_name((gotrace_kind)e->kind));
	print_fields(t, e);
	(void)putchar('\n');
}

int gotrace_dump(const char *file, uint64_t from, uint64_t events, bool salvage, gmt_error *err) {
	gotrace *t = gotrace_open(file, (gotrace_options){.salvage = salvage}, err);
	if (t == NULL) {
		return -1;
	}
	gotrace_event e;
	int got = 0;
	uint64_t i = 0;
	const bool any = events > 0;
	for (; events > 0 && !ferror(stdout) && (got = gotrace_next(t, &e, err)) > 0; i++) {
		if (i >= from) {
			print_event(t, i, &e);
			events--;
		}
	}
	if (gotrace_salvaged(t) != NULL) {
		show_left("dump", i, gotrace_salvaged(t));
	}
	gotrace_close(t);
	if (any && got == 0 && from != 0 && from >= i) {
		return gmt_fail(err, file, GMT_NO_OFFSET, "there is no event %" PRIu64 ": the trace has %" PRIu64, from, i);
	}
	return got < 0 ? -1 : 0;
}
