// guard.h (layer 5): misuse by the caller, found in checked and hardened builds.
//
// A guarded heap notes of each slot what was asked for it last. What a slot has beyond an object is filled with a canary, what was freed with
// a poison; both are looked at when the slot is swept, given back or handed out again. Each public call says which P it uses, and that
// its heap still is.
//
// Invariants: an object's canary and a free slot's poison are as they were written, or somebody wrote where nothing was his.
#ifndef GOMEM_GUARD_H
#define GOMEM_GUARD_H

#include "gomem/mcache.h"

#ifdef GOMEM_HARDENED
enum { guardsAlways = true };
#else
enum { guardsAlways = false };
#endif

typedef enum guardOp { GUARD_NONE, GUARD_MALLOC, GUARD_FREEGC, GUARD_SWEEP } guardOp;

gomem_guard *guard_new(void);
void guard_free(gomem_guard *g);
// guard_retireHeap keeps a heap that was destroyed for a while, so that calls on it are found.
void guard_retireHeap(mheap *h);

bool guard_begin(mheap *h, gomem_p *p, const char *call);
void guard_end(gomem_p *p);
void guard_malloc(mheap *h, const gomem_p *p, uintptr_t x, uintptr_t size);
void guard_take(mheap *h, const mspan *s, uintptr_t slot);
void guard_freegc(mheap *h, const gomem_p *p, uintptr_t x, uintptr_t size);
void guard_sweep(mheap *h, const mspan *s);
// guard_throw throws what, and what is known of the slot at addr.
_Noreturn void guard_throw(mheap *h, const char *what, uintptr_t addr);

// guard_enter begins a public call; true: guard_leave has to end it.
static inline bool guard_enter(mheap *h, gomem_p *p, const char *call) {
	return guardsBuilt && h->guard != NULL && guard_begin(h, p, call);
}
static inline void guard_leave(gomem_p *p, bool entered) {
	if (guardsBuilt && entered) {
		guard_end(p);
	}
}
static inline void guard_allocated(mheap *h, const gomem_p *p, uintptr_t x, uintptr_t size) {
	if (guardsBuilt && h->guard != NULL && x != 0 && size != 0) {
		guard_malloc(h, p, x, size);
	}
}
static inline void guard_taken(mheap *h, const mspan *s, uintptr_t slot) {
	if (guardsBuilt && h->guard != NULL) {
		guard_take(h, s, slot);
	}
}

#endif
