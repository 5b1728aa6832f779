// guard.c (layer 5): see guard.h.
//
// Invariants: a power of two of entries, keys 0 are empty; len counts keys; len * 4 <= cap * 3. A value is what was done last: 48 bits of
// size, 4 bits of guardOp, 12 bits of P + 1 (0: none). A key whose value is 0 was forgotten.
#include "gomem/guard.h"

#include <stdio.h>
#include <stdlib.h>

enum {
	canaryByte = 0xfd,
	poisonByte = 0xdb,
	canaryMost = 128, // bytes behind an object that are filled and looked at
	guardInitCap = 4096,
	retiredHeaps = 16,
};

struct gomem_guard {
	mutex lock;
	uint64_t *keys, *values;
	size_t len, cap;
	_Atomic(bool) dead;
	char text[512]; // of a throw
};

// ---- notes on slots

static size_t slotOf(const gomem_guard *g, uint64_t key) {
	size_t i = (size_t)((key >> 3) * 0x9e3779b97f4a7c15u >> 20) & (g->cap - 1);
	while (g->keys[i] != 0 && g->keys[i] != key) {
		i = (i + 1) & (g->cap - 1);
	}
	return i;
}

static bool resize(gomem_guard *g, size_t cap) {
	gomem_guard to = {.cap = cap};
	to.keys = calloc(cap * 2, sizeof *to.keys);
	if (to.keys == NULL) {
		return false;
	}
	to.values = to.keys + cap;
	for (size_t i = 0; i < g->cap; i++) {
		if (g->keys[i] != 0 && g->values[i] != 0) {
			const size_t at = slotOf(&to, g->keys[i]);
			to.keys[at] = g->keys[i];
			to.values[at] = g->values[i];
			to.len++;
		}
	}
	free(g->keys);
	g->keys = to.keys;
	g->values = to.values;
	g->len = to.len;
	g->cap = cap;
	return true;
}

static uint64_t noteOf(const gomem_guard *g, uintptr_t slot) {
	const size_t i = slotOf(g, slot);
	return g->keys[i] != 0 ? g->values[i] : 0;
}

// note: without memory for it a slot is not guarded.
static void note(gomem_guard *g, uintptr_t slot, uint64_t v) {
	if ((g->len + 1) * 4 > g->cap * 3 && !resize(g, g->cap * 2)) {
		return;
	}
	const size_t i = slotOf(g, slot);
	if (g->keys[i] == 0) {
		g->keys[i] = slot;
		g->len++;
	}
	g->values[i] = v;
}

static uint64_t packNote(guardOp op, const gomem_p *p, uintptr_t size) {
	const uint64_t id = p != NULL ? ((uint64_t)p->id + 1) & 0xfff : 0;
	return (uint64_t)size | (uint64_t)op << 48 | id << 52;
}
static guardOp opOf(uint64_t v) { return (guardOp)(v >> 48 & 15); }
static uintptr_t sizeOf(uint64_t v) { return (uintptr_t)(v & (((uint64_t)1 << 48) - 1)); }

gomem_guard *guard_new(void) {
	gomem_guard *g = calloc(1, sizeof *g);
	if (g == NULL || !resize(g, guardInitCap)) {
		free(g);
		return NULL;
	}
	return g;
}

void guard_free(gomem_guard *g) {
	if (g != NULL) {
		free(g->keys);
		free(g);
	}
}

// ---- messages

static void describe(mheap *h, uintptr_t addr, char *out, size_t n) {
	mspan *s = spanOf(h, addr);
	if (s == NULL || mspan_state(s) == mSpanDead || addr < mspan_base(s) ||
		addr - mspan_base(s) >= s->npages << layout_get(&h->env)->pageShift) {
		(void)snprintf(out, n, "0x%llx, which no span of this heap has", (unsigned long long)addr);
		return;
	}
	const uintptr_t index = s->elemsize != 0 ? (addr - mspan_base(s)) / s->elemsize : 0;
	int at = snprintf(out, n, "0x%llx in span 0x%llx of %llu pages, %s, class %u (%llu bytes%s), slot %llu of %u",
		(unsigned long long)addr, (unsigned long long)mspan_base(s), (unsigned long long)s->npages,
		mspan_state(s) == mSpanManual ? "manual" : "in use", spanClass_sizeclass(s->spanclass),
		(unsigned long long)s->elemsize, spanClass_noscan(s->spanclass) ? ", noscan" : "", (unsigned long long)index,
		s->nelems);
	const uint64_t v = noteOf(h->guard, mspan_base(s) + index * s->elemsize);
	if (opOf(v) == GUARD_NONE || at < 0 || (size_t)at >= n) {
		return;
	}
	static const char *const ops[] = {"", "gomem_mallocgc", "gomem_freegc", "freed by a sweep"};
	char by[24] = "";
	if (v >> 52 != 0) {
		(void)snprintf(by, sizeof by, " on P %u", (unsigned)(v >> 52) - 1);
	}
	(void)snprintf(
		out + at, n - (size_t)at, "; last: %s of %llu bytes%s", ops[opOf(v)], (unsigned long long)sizeOf(v), by);
}

_Noreturn void guard_throw(mheap *h, const char *what, uintptr_t addr) {
	char slot[320];
	describe(h, addr, slot, sizeof slot);
	(void)snprintf(h->guard->text, sizeof h->guard->text, "%s: %s", what, slot);
	gomem_throw(&h->env, h->guard->text);
}

// ---- canaries and poison

GOMEM_UNCHECKED static uintptr_t firstOther(uintptr_t addr, uintptr_t n, uint8_t byte) {
	for (const uint8_t *p = (const uint8_t *)addr; n > 0; n--, p++) {
		if (*p != byte) {
			return (uintptr_t)p;
		}
	}
	return 0;
}

// checkTail: v is the note of an object. header: the object does not begin where its slot does.
static void checkTail(mheap *h, const mspan *s, uintptr_t slot, uint64_t v) {
	const uintptr_t end = slot + s->elemsize, from = slot + sizeOf(v);
	const uintptr_t n = end - from < canaryMost ? end - from : canaryMost;
	const uintptr_t bad = sizeOf(v) <= s->elemsize ? firstOther(from, n, canaryByte) : 0;
	if (bad != 0) {
		char what[80];
		(void)snprintf(what, sizeof what, "write past the end of an object, %llu bytes behind it",
			(unsigned long long)(bad - from));
		guard_throw(h, what, bad);
	}
}

// The first word of an object that gomem_freegc was given links it to others.
static uintptr_t linkBytes(uint64_t v) { return opOf(v) == GUARD_FREEGC ? sizeof(uintptr_t) : 0; }

static void checkPoison(mheap *h, const mspan *s, uintptr_t slot, uint64_t v) {
	const uintptr_t bad = firstOther(slot + linkBytes(v), s->elemsize - linkBytes(v), poisonByte);
	if (bad != 0) {
		char what[80];
		(void)snprintf(
			what, sizeof what, "write to an object after it was freed, at byte %llu", (unsigned long long)(bad - slot));
		guard_throw(h, what, bad);
	}
}

static void checkSlot(mheap *h, const mspan *s, uintptr_t slot, uint64_t v) {
	if (opOf(v) == GUARD_MALLOC) {
		checkTail(h, s, slot, v);
	} else if (opOf(v) != GUARD_NONE) {
		checkPoison(h, s, slot, v);
	}
}

static uintptr_t slotBase(const mspan *s, uintptr_t x) { return mspan_base(s) + mspan_objIndex(s, x) * s->elemsize; }

// A tiny block counts as one object without a canary: what is in it changes. The size noted counts from the beginning of the slot.
void guard_malloc(mheap *h, const gomem_p *p, uintptr_t x, uintptr_t size) {
	const mspan *s = spanOfHeap(h, x);
	if (s == NULL) {
		return;
	}
	const gomem_layout *L = layout_get(&h->env);
	const uintptr_t slot = slotBase(s, x), end = slot + s->elemsize;
	const bool tiny = s->spanclass == tinySpanClass(L) && size < L->maxTinySize;
	const uintptr_t tail = tiny ? 0 : end - (x + size);
	heapMem_fill(&h->env, x + size, canaryByte, tail < canaryMost ? tail : canaryMost);
	lock(&h->env, &h->guard->lock);
	note(h->guard, slot, packNote(GUARD_MALLOC, p, tiny ? s->elemsize : x + size - slot));
	unlock(&h->env, &h->guard->lock);
}

void guard_take(mheap *h, const mspan *s, uintptr_t slot) {
	lock(&h->env, &h->guard->lock);
	const uint64_t v = noteOf(h->guard, slot);
	if (opOf(v) == GUARD_FREEGC || opOf(v) == GUARD_SWEEP) {
		checkPoison(h, s, slot, v);
	}
	unlock(&h->env, &h->guard->lock);
}

// guard_freegc: before x is put into a list.
void guard_freegc(mheap *h, const gomem_p *p, uintptr_t x, uintptr_t size) {
	const mspan *s = spanOfHeap(h, x);
	lock(&h->env, &h->guard->lock);
	checkSlot(h, s, x, noteOf(h->guard, x));
	heapMem_fill(&h->env, x, poisonByte, s->elemsize);
	note(h->guard, x, packNote(GUARD_FREEGC, p, size));
	unlock(&h->env, &h->guard->lock);
}

// guard_sweep: before the mark bits become those of allocation. A span without live objects goes back to the pages: nothing is known of it then.
void guard_sweep(mheap *h, const mspan *s) {
	gomem_guard *g = h->guard;
	bool lives = false;
	for (uintptr_t i = 0; i < s->nelems; i++) {
		lives = lives || (s->gcmarkBits[i / 8] >> i % 8 & 1) != 0;
	}
	lock(&h->env, &g->lock);
	for (uintptr_t i = 0; i < s->nelems; i++) {
		const uintptr_t slot = mspan_base(s) + i * s->elemsize;
		const uint64_t v = noteOf(g, slot);
		if (v == 0) {
			continue;
		}
		checkSlot(h, s, slot, v);
		if (!lives) {
			note(g, slot, 0);
		} else if ((s->gcmarkBits[i / 8] >> i % 8 & 1) == 0 && opOf(v) != GUARD_SWEEP) {
			heapMem_fill(&h->env, slot, poisonByte, s->elemsize);
			note(g, slot, packNote(GUARD_SWEEP, NULL, sizeOf(v)));
		}
	}
	unlock(&h->env, &g->lock);
}

// ---- who calls

// guard_self names the calling thread.
static uintptr_t guard_self(void) {
	static _Thread_local char here;
	return (uintptr_t)&here;
}

static _Noreturn void throwCall(mheap *h, const char *call, const char *what) {
	(void)snprintf(h->guard->text, sizeof h->guard->text, "%s: %s", call, what);
	gomem_throw(&h->env, h->guard->text);
}

bool guard_begin(mheap *h, gomem_p *p, const char *call) {
	if (atomic_load_explicit(&h->guard->dead, memory_order_relaxed)) {
		throwCall(h, call, "the heap was destroyed");
	}
	if (p == NULL) {
		return false;
	}
	if (p->h != h) {
		throwCall(h, call, "a P of another heap");
	}
	uintptr_t user = 0;
	const uintptr_t self = guard_self();
	if (!atomic_compare_exchange_strong(&p->user, &user, self)) {
		if (user == self) {
			return false;
		}
		char what[96];
		(void)snprintf(what, sizeof what, "P %d is used by two threads: another one is in %s", p->id, p->userCall);
		throwCall(h, call, what);
	}
	p->userCall = call;
	if (p->mcache == NULL) {
		char what[64];
		(void)snprintf(what, sizeof what, "P %d ended (gomem_procresize)", p->id);
		throwCall(h, call, what);
	}
	return true;
}

void guard_end(gomem_p *p) { atomic_store(&p->user, 0); }

void guard_retireHeap(mheap *h) {
	static _Atomic(mheap *) retired[retiredHeaps];
	static _Atomic(unsigned) next;
	h->guard->dead = true;
	mheap *oldest = atomic_exchange(&retired[atomic_fetch_add(&next, 1) % retiredHeaps], h);
	if (oldest != NULL) {
		guard_free(oldest->guard);
		free(oldest);
	}
}
