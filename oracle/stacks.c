// stacks.c: stacks of goroutines.
//
// The rules, in words (sizes are those of Linux): a stack below 32 KiB is a slot of a 32 KiB span, whose free slots are taken from the highest address down, and a slot given back
// is the next to be taken. A P keeps up to 32 KiB of free stacks of each size: it fetches and returns 16 KiB at a time. Pools list the spans with
// a free slot, the latest first. Larger stacks are spans. A span without stacks is freed at once, unless the collector runs: then
// oracle_free_stack_spans finds it later.
#include "oracle/heap.h"

#include <stdlib.h>

static bool is_small(const oracle *o, uint64_t n) {
	return n < STACK_SPAN && n < o->platform.stack_min << o->platform.stack_orders;
}

static unsigned order_of(const oracle *o, uint64_t n) {
	unsigned order = 0;
	for (; n > o->platform.stack_min; n /= 2) {
		order++;
	}
	return order;
}

static unsigned bits_of(uint64_t npages) {
	unsigned bits = 0;
	for (; npages > 0; npages /= 2) {
		bits++;
	}
	return bits;
}

// ---- pools

static span *grow_pool(oracle *o, proc *p, unsigned order) {
	span *s = take_span(o, p, STACK_SPAN / PAGE, true);
	if (s == NULL) {
		return NULL;
	}
	s->manual = true;
	s->slot_size = o->platform.stack_min << order;
	const unsigned slots = (unsigned)(STACK_SPAN / s->slot_size);
	s->free_stacks = oracle_need(calloc(slots, sizeof(uint64_t)));
	for (unsigned i = 0; i < slots; i++) {
		s->free_stacks[s->nfree++] = s->base + i * s->slot_size;
	}
	list_add(&o->stack_pool[order], s);
	return s;
}

static uint64_t pool_take(oracle *o, proc *p, unsigned order) {
	span_list *pool = &o->stack_pool[order];
	span *s = pool->n > 0 ? pool->v[pool->n - 1] : grow_pool(o, p, order);
	if (s == NULL) {
		return 0;
	}
	s->used++;
	const uint64_t addr = s->free_stacks[--s->nfree];
	if (s->nfree == 0) {
		list_remove(pool, s);
	}
	return addr;
}

static void pool_give(oracle *o, unsigned order, uint64_t addr) {
	span *s = span_at(o, addr);
	if (s->nfree == 0) {
		list_add(&o->stack_pool[order], s);
	}
	s->free_stacks[s->nfree++] = addr;
	s->used--;
	if (s->used == 0 && o->phase == 0) {
		list_remove(&o->stack_pool[order], s);
		free_span(o, s);
	}
}

// ---- a P's stacks

static uint64_t take_cached(oracle *o, proc *p, unsigned order) {
	stack_list *l = &p->stacks[order];
	const unsigned half = (unsigned)(STACK_SPAN / 2 / (o->platform.stack_min << order));
	if (l->n == 0) {
		take_step(o, ORACLE_STEP_LOCK);
		// While they are fetched they are nobody's.
		stack_list fresh = {.n = 0};
		while (fresh.n < half) {
			const uint64_t addr = pool_take(o, p, order);
			if (addr == 0) {
				break;
			}
			fresh.v[fresh.n++] = addr;
		}
		*l = fresh;
	}
	return l->n > 0 ? l->v[--l->n] : 0;
}

static void give_cached(oracle *o, proc *p, unsigned order, uint64_t addr) {
	stack_list *l = &p->stacks[order];
	const unsigned half = (unsigned)(STACK_SPAN / 2 / (o->platform.stack_min << order));
	if (l->n >= 2 * half) {
		take_step(o, ORACLE_STEP_LOCK);
		while (l->n > half) {
			pool_give(o, order, l->v[--l->n]);
		}
	}
	l->v[l->n++] = addr;
}

void clear_stacks(oracle *o, proc *p) {
	for (unsigned order = 0; order < o->platform.stack_orders; order++) {
		stack_list *l = &p->stacks[order];
		if (l->n == 0) {
			continue;
		}
		take_step(o, ORACLE_STEP_LOCK);
		while (l->n > 0) {
			pool_give(o, order, l->v[--l->n]);
		}
	}
}

// ---- stacks

static uint64_t take_large(oracle *o, proc *p, uint64_t n) {
	span_list *l = &o->large_stacks[bits_of(n / PAGE)];
	take_step(o, ORACLE_STEP_LOCK);
	if (l->n > 0) {
		return l->v[--l->n]->base;
	}
	span *s = take_span(o, p, n / PAGE, true);
	if (s == NULL) {
		return 0;
	}
	s->manual = true;
	s->slot_size = n;
	return s->base;
}

static void give_large(oracle *o, uint64_t addr) {
	span *s = span_at(o, addr);
	if (o->phase == 0) {
		free_span(o, s);
		return;
	}
	take_step(o, ORACLE_STEP_LOCK);
	list_add(&o->large_stacks[bits_of(s->npages)], s);
}

uint64_t oracle_stackalloc(oracle *o, int p, uint64_t n, bool bypass) {
	proc *pp = proc_of(o, p);
	if (!is_small(o, n)) {
		return take_large(o, pp, n);
	}
	if (pp != NULL && !bypass) {
		return take_cached(o, pp, order_of(o, n));
	}
	take_step(o, ORACLE_STEP_LOCK);
	return pool_take(o, pp, order_of(o, n));
}

void oracle_stackfree(oracle *o, int p, uint64_t addr, uint64_t n, bool bypass) {
	proc *pp = proc_of(o, p);
	if (!is_small(o, n)) {
		give_large(o, addr);
		return;
	}
	if (pp != NULL && !bypass) {
		give_cached(o, pp, order_of(o, n), addr);
		return;
	}
	take_step(o, ORACLE_STEP_LOCK);
	pool_give(o, order_of(o, n), addr);
}

void oracle_free_stack_spans(oracle *o, int p) {
	(void)p;
	for (unsigned order = 0; order < o->platform.stack_orders; order++) {
		span_list *pool = &o->stack_pool[order];
		take_step(o, ORACLE_STEP_LOCK);
		for (size_t i = pool->n; i-- > 0;) {
			span *s = pool->v[i];
			if (s->used == 0) {
				list_remove(pool, s);
				free_span(o, s);
			}
		}
	}
	take_step(o, ORACLE_STEP_LOCK);
	for (unsigned i = 0; i < LARGE_STACKS; i++) {
		while (o->large_stacks[i].n > 0) {
			free_span(o, o->large_stacks[i].v[--o->large_stacks[i].n]);
		}
	}
}
