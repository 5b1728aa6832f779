// heap.h: the parts of the oracle's heap. Nouns:
//
//   span    pages with one use: equal slots for objects of a size class, one large object, stacks of one size, or anything (manual)
//   set     spans of one class that nobody caches, first in first out: with free slots (partial) or without (full), and of each one for
//           this cycle and one for the last: those spans still have to be swept
//   proc    a P: a span of each class to allocate from, pages, stacks, and a block that tiny objects share
//
// Invariants: pages of live spans do not overlap; a span is cached by one proc, or is in one set (or was, and is dead or was swept by
// somebody who did not come through the set); of a span's slots `used` are allocated.
#ifndef GOMEM_ORACLE_HEAP_H
#define GOMEM_ORACLE_HEAP_H

#include <stddef.h>

#include "oracle/oracle.h"
#include "oracle/pages.h"
#include "oracle/sizes.h"

enum {
	PAGE = 8192,
	MAX_CLASSES = 68,        // of Go; class 0: large objects
	KINDS = 2 * MAX_CLASSES, // class * 2 + 1 if there are no pointers
	TINY = 16,               // objects below this size, without pointers, share a block
	TINY_CLASS = 2,
	MAX_SMALL = 32768 - 8,
	HEADER = 8,
	PAGE_CACHE_BELOW = 16, // runs of fewer pages come from a P's own pages
	STACK_SPAN = 32768,    // bytes of a span of small stacks, and the most that a P keeps of an order
	STACK_LEAST = 2048,    // of any platform
	STACK_ORDERS = 4,      // at most
	LARGE_STACKS = 40,     // lists of free large stacks, by the number of bits of their pages
	SETS_LOOKED_AT = 101,  // unswept spans that a refill looks at before it takes a fresh one
	RECLAIM_MOST = 512,    // pages that reclaiming looks at in one step, at most
	MAX_PROCS = 64,
};

typedef struct span {
	uint64_t base, npages;
	bool live, manual;
	unsigned kind; // class * 2 + noscan
	uint64_t slot_size, slots, used;
	uint64_t limit; // where the last slot, or the large object, ends
	bool needzero, cached, sweeping, page_marked;
	uint64_t swept_in;                  // the cycle that swept or made it
	bool *allocated, *marked, *special; // one block
	uint64_t *free_stacks;              // the last one is taken first
	unsigned nfree;
	bool listed; // in a pool of stacks
} span;

typedef struct span_list {
	span **v, **block; // block: the memory in which v[0..cap) lies
	size_t n, cap;
} span_list;

typedef struct stack_list {
	uint64_t v[STACK_SPAN / STACK_LEAST + 1];
	unsigned n;
} stack_list;

typedef struct given_back {
	uint64_t addr;
	unsigned kind;
} given_back;

typedef struct proc {
	bool alive;
	span *cached[KINDS];
	uint64_t tiny, tiny_used;
	oracle_cache pages;
	stack_list stacks[STACK_ORDERS];
	given_back *back; // objects that were given back; of a kind, the last one is taken first
	size_t nback, cap_back;
	uint64_t prepared_in; // cycle
} proc;

typedef struct hint {
	uint64_t addr;
	bool down;
} hint;

typedef struct arena {
	uint64_t base;
	uint64_t used; // bytes from base on that were used at some time: the rest is zero
} arena;

struct oracle {
	oracle_config cfg;
	oracle_platform platform;
	oracle_sizes sizes;
	oracle_pages *pages;
	uint64_t seed;   // what is left of it
	hint hints[160]; // the last one is tried first
	unsigned nhints;
	arena *arenas; // in the order in which the heap got them
	size_t narenas, cap_arenas;
	uint64_t one, one_end; // the rest of what was reserved at the start
	uint64_t cur, cur_end; // address space that is reserved and not yet used
	bool grown;
	uint64_t padding; // pages that nobody gets; they count as given back to the OS
	span_list spans;  // those that live, in address order
	span_list dead;   // sets may still name them
	span_list partial[KINDS][2], full[KINDS][2];
	uint64_t cycle;
	int phase;
	bool drained;          // nothing left to sweep in this cycle
	unsigned sweepers;     // how many are at it
	unsigned sweep_index;  // kinds of sets that sweep_one is done with
	size_t sweep_arenas;   // arenas that reclaiming looks at
	uint64_t reclaim_page; // the next page, over all of them; UINT64_MAX: done
	uint64_t reclaim_credit;
	uint64_t live; // bytes: large objects, and spans as if they were filled as soon as they are cached
	uint64_t swept_pages, swept_basis; // in this cycle; when the rate was set
	uint64_t live_basis;
	double sweep_pages_per_byte;
	proc boot; // before there are Ps
	proc procs[MAX_PROCS];
	int nprocs;
	span_list stack_pool[STACK_ORDERS], large_stacks[LARGE_STACKS]; // the last one is the first to be taken
	uint64_t slot_allocs, slot_frees, bytes_allocated, bytes_freed, tiny_hits, large_allocs;
};

static inline void take_step(oracle *o, oracle_step step) {
	if (o->cfg.step != NULL) {
		o->cfg.step(o->cfg.step_ctx, step);
	}
}
// largest_bitmap: larger objects with pointers have a header, for one word has no bits for more.
static inline uint64_t largest_bitmap(uint64_t word) { return word * 8 * word; }
static inline uint64_t round_up(uint64_t n, uint64_t to) { return (n + to - 1) / to * to; }

// ---- lists (spans.c)
void list_add(span_list *l, span *s);
void list_remove(span_list *l, const span *s);
void *oracle_need(void *p); // aborts if p is NULL

// ---- arenas.c: pages for spans
// take_span makes a span of npages; p: the P whose pages serve small requests, or NULL. NULL: the OS refused.
span *take_span(oracle *o, proc *p, uint64_t npages, bool stacks);
void free_span(oracle *o, span *s);
void oracle_place_heap(oracle *o);

// ---- heap.c
proc *proc_of(oracle *o, int p); // NULL: p < 0

// ---- spans.c
// fresh_span makes a span of objects. NULL: the OS refused, as for refill.
span *fresh_span(oracle *o, proc *p, unsigned kind, uint64_t npages, uint64_t slot_size, uint64_t slots);
// sweep_in_proportion sweeps before bytes are taken, of whose pages the caller will sweep some itself.
void sweep_in_proportion(oracle *o, uint64_t bytes, uint64_t pages);
span *refill(oracle *o, proc *p, unsigned kind);
void push_swept(oracle *o, span *s);
void add_span(oracle *o, span *s);
void drop_span(oracle *o, span *s);
span *span_at(const oracle *o, uint64_t addr); // the span whose pages cover addr; NULL: none
void release_all(oracle *o, proc *p);

// ---- stacks.c
void clear_stacks(oracle *o, proc *p);

#endif
