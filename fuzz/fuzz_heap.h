// fuzz_heap.h: what holds of any heap, for targets with an oracle and without one.
#ifndef GOMEM_FUZZ_FUZZ_HEAP_H
#define GOMEM_FUZZ_FUZZ_HEAP_H

#include <stdlib.h>

#include "fuzz/fuzz.h"
#include "gomem/guard.h"
#include "gomem/mcache.h"

// fuzz_heap_forget releases what a heap that threw holds of the host. What it has from its OS goes when that begins anew.
static inline void fuzz_heap_forget(gomem_heap *h) {
	memStates_free(h->env.states);
	for (int32_t i = 0; i < h->nallp; i++) {
		free(h->allp[i]);
	}
	free(h->allp);
	if (h->guard != NULL) {
		guard_free(h->guard);
	}
	free(h);
}

// fuzz_heap_look asks for a live object of n bytes by its first byte and its last, and for the slots beside its own. Gives its span.
static inline gomem_span_info fuzz_heap_look(gomem_heap *h, uint64_t addr, uint64_t n) {
	gomem_span_info span;
	fuzz_check(gomem_spanOf(h, (uintptr_t)addr, &span) && span.state == mSpanInUse, "the span of a live object");
	const uint64_t slot = gomem_findObject(h, (uintptr_t)addr), last = addr + n - 1;
	fuzz_check(slot != 0 && slot <= addr && last < slot + span.elemsize, "the slot of a live object");
	fuzz_equal("slot at the last byte of an object", gomem_findObject(h, (uintptr_t)last), slot);
	fuzz_check(gomem_findObject(h, (uintptr_t)(slot + span.elemsize)) != slot, "the slot behind a live object");
	fuzz_check(gomem_findObject(h, (uintptr_t)slot - 1) != slot, "the slot before a live object");
	return span;
}

// fuzz_heap_look_inside asks for a live object by each of its bytes; of a large one by some in each page.
static inline void fuzz_heap_look_inside(gomem_heap *h, uint64_t addr, uint64_t n) {
	const gomem_span_info span = fuzz_heap_look(h, addr, n);
	const uint64_t slot = gomem_findObject(h, (uintptr_t)addr), step = n <= 4096 ? 1 : 1021;
	for (uint64_t at = addr; at < addr + n; at += step) {
		gomem_span_info found;
		fuzz_check(
			gomem_spanOf(h, (uintptr_t)at, &found) && found.base == span.base, "the span of an interior pointer");
		fuzz_equal("slot of an interior pointer", gomem_findObject(h, (uintptr_t)at), slot);
	}
}

#endif
