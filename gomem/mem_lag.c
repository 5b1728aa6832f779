// mem_lag.c (layer 1): a system over another one, which hears of memory that is given back with a lag.
//
// The last bytes given back, so many as the lag is, stay where they are. Who wants some of them again clears them, which costs a fiftieth of a page
// fault; when more are given back, the oldest go. What is more than the lag at once goes at once, and no more than lagRanges pieces are kept.
// DEVIATION(D38): Go gives back at once.
//
// Invariants (lag_check): ranges are whole physical pages, not empty, and do not overlap; count <= lagRanges; bytes == the sum of their sizes <=
// limit. What is in no range holds what the inner system says; the inner system takes for Ready what is in one.
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "gomem/mem_over.h"
#include "gomem/poison.h"

enum { lagRanges = 256 };

typedef struct lagRange {
	uintptr_t v, n;
} lagRange;

typedef struct memLag {
	memOver over;
	uintptr_t limit;
	pthread_mutex_t
		mu; // guards what follows; held while the inner system takes a range, for nobody may want it meanwhile
	_Atomic(uintptr_t) bytes;
	unsigned first, count;
	lagRange ranges[lagRanges]; // in a ring, from first on, the oldest first
} memLag;

static memLag *lagOf(const gomem_os *os) { return (memLag *)(uintptr_t)os; }

static lagRange *rangeAt(memLag *l, unsigned i) { return &l->ranges[(l->first + i) % lagRanges]; }

static void addBytes(memLag *l, uintptr_t n) {
	const uintptr_t bytes = atomic_load_explicit(&l->bytes, memory_order_relaxed);
	atomic_store_explicit(&l->bytes, bytes + n, memory_order_release);
}

static bool giveBack(memLag *l, lagRange r) { return l->over.inner->unused(l->over.inner, (void *)r.v, r.n); }

// giveBackOldest leaves the range where it is if the inner system does not take it.
static bool giveBackOldest(memLag *l) {
	const lagRange r = *rangeAt(l, 0);
	if (!giveBack(l, r)) {
		return false;
	}
	l->first = (l->first + 1) % lagRanges;
	l->count--;
	addBytes(l, (uintptr_t)0 - r.n);
	return true;
}

// extendNewest has the newest range cover [v, v+n), its neighbour, as well, up to an eighth of the lag: fewer calls.
static bool extendNewest(memLag *l, uintptr_t v, uintptr_t n) {
	lagRange *r = l->count != 0 ? rangeAt(l, l->count - 1) : NULL;
	if (r == NULL || r->n + n > l->limit / 8 || (v + n != r->v && r->v + r->n != v)) {
		return false;
	}
	*r = (lagRange){v < r->v ? v : r->v, r->n + n};
	return true;
}

static void insertAt(memLag *l, unsigned i, lagRange r) {
	for (unsigned j = l->count++; j > i; j--) {
		*rangeAt(l, j) = *rangeAt(l, j - 1);
	}
	*rangeAt(l, i) = r;
}

static void removeAt(memLag *l, unsigned i) {
	l->count--;
	for (; i < l->count; i++) {
		*rangeAt(l, i) = *rangeAt(l, i + 1);
	}
}

static bool keep(memLag *l, uintptr_t v, uintptr_t n) {
	if (!extendNewest(l, v, n)) {
		if (l->count == lagRanges && !giveBackOldest(l)) {
			return false;
		}
		insertAt(l, l->count, (lagRange){v, n});
	}
	addBytes(l, n);
	bool ok = true;
	while (ok && atomic_load_explicit(&l->bytes, memory_order_relaxed) > l->limit) {
		ok = giveBackOldest(l);
	}
	return ok;
}

// clear: what is free may be forbidden to the program, which memset would be told.
GOMEM_UNCHECKED static void clear(uintptr_t v, uintptr_t n) {
	if (!poisonForbids && !poisonUndefines) {
		memset((void *)v, 0, n);
		return;
	}
	for (volatile uint64_t *at = (void *)v; (uintptr_t)at < v + n; at++) {
		*at = 0;
	}
}

// replace puts what is left of range i in its place: what lies left, right, or on both sides of a part that was taken out. The next range's index.
static unsigned replace(memLag *l, unsigned i, lagRange left, lagRange right) {
	if (left.n == 0 && right.n == 0) {
		removeAt(l, i);
		return i;
	}
	*rangeAt(l, i) = left.n != 0 ? left : right;
	if (left.n == 0 || right.n == 0) {
		return i + 1;
	}
	if (l->count == lagRanges) {
		if (!giveBack(l, right)) {
			clear(right.v, right.n); // counts as zero from now on
		}
		addBytes(l, (uintptr_t)0 - right.n);
		return i + 1;
	}
	insertAt(l, i + 1, right);
	return i + 2;
}

// take takes [v, v+n) out of all ranges, and clears what was in one if its next owner counts on that.
static void take(memLag *l, uintptr_t v, uintptr_t n, bool clears) {
	// Whoever asks for memory that another thread gave back was told of that by the heap, and so sees its bytes here, until they are gone or zero.
	if (atomic_load_explicit(&l->bytes, memory_order_acquire) == 0) {
		return;
	}
	pthread_mutex_lock(&l->mu);
	for (unsigned i = 0; i < l->count;) {
		const lagRange r = *rangeAt(l, i);
		const uintptr_t from = r.v > v ? r.v : v, to = r.v + r.n < v + n ? r.v + r.n : v + n;
		if (from >= to) {
			i++;
			continue;
		}
		if (clears) {
			clear(from, to - from);
		}
		addBytes(l, from - to);
		i = replace(l, i, (lagRange){r.v, from - r.v}, (lagRange){to, r.v + r.n - to});
	}
	pthread_mutex_unlock(&l->mu);
}

// ---- the calls

static bool lag_used(gomem_os *os, void *v, uintptr_t n) {
	memLag *l = lagOf(os);
	if (!l->over.inner->used(l->over.inner, v, n)) {
		return false;
	}
	// Heap pages may be smaller than physical ones, of which the ranges are made: then whoever is first clears all of it.
	const uintptr_t from = (uintptr_t)alignDown((uintptr_t)v, os->physPageSize);
	const uintptr_t to = (uintptr_t)alignUp((uintptr_t)v + n, os->physPageSize);
	take(l, from, to - from, !os->unusedKeepsContents);
	return true;
}

static bool lag_unused(gomem_os *os, void *v, uintptr_t n) {
	memLag *l = lagOf(os);
	if (n > l->limit || (((uintptr_t)v | n) & (os->physPageSize - 1)) != 0) {
		return l->over.inner->unused(l->over.inner, v, n);
	}
	pthread_mutex_lock(&l->mu);
	const bool ok = keep(l, (uintptr_t)v, n);
	pthread_mutex_unlock(&l->mu);
	return ok;
}

static bool lag_fault(gomem_os *os, void *v, uintptr_t n) {
	memLag *l = lagOf(os);
	take(l, (uintptr_t)v, n, false);
	return l->over.inner->fault(l->over.inner, v, n);
}

static bool lag_free(gomem_os *os, void *v, uintptr_t n) {
	memLag *l = lagOf(os);
	take(l, (uintptr_t)v, n, false);
	return l->over.inner->free(l->over.inner, v, n);
}

static void lag_flush(gomem_os *os) {
	memLag *l = lagOf(os);
	pthread_mutex_lock(&l->mu);
	while (l->count != 0 && giveBackOldest(l)) {
	}
	pthread_mutex_unlock(&l->mu);
}

static bool overlaps(lagRange a, lagRange b) { return a.v < b.v + b.n && b.v < a.v + a.n; }

static const char *checkRanges(memLag *l) {
	uintptr_t sum = 0;
	for (unsigned i = 0; i < l->count; i++) {
		const lagRange r = *rangeAt(l, i);
		sum += r.n;
		if (r.n == 0 || ((r.v | r.n) & (l->over.os.physPageSize - 1)) != 0) {
			return "mem_lag: a range is not of whole physical pages";
		}
		for (unsigned j = 0; j < i; j++) {
			if (overlaps(r, *rangeAt(l, j))) {
				return "mem_lag: ranges overlap";
			}
		}
	}
	if (sum != atomic_load(&l->bytes) || sum > l->limit || l->count > lagRanges) {
		return "mem_lag: bytes are not those of the ranges, or too many";
	}
	return NULL;
}

static const char *lag_check(gomem_os *os) {
	memLag *l = lagOf(os);
	pthread_mutex_lock(&l->mu);
	const char *bad = checkRanges(l);
	pthread_mutex_unlock(&l->mu);
	return bad != NULL || l->over.inner->check == NULL ? bad : l->over.inner->check(l->over.inner);
}

static void lag_destroy(gomem_os *os) {
	pthread_mutex_destroy(&lagOf(os)->mu);
	memOver_destroy(os);
}

uintptr_t mem_lag_bytes(const gomem_os *os) { return atomic_load(&lagOf(os)->bytes); }

gomem_os *mem_lag_new(gomem_os *inner, uintptr_t limit) {
	memLag *l = memOver_new(inner, sizeof *l);
	if (l == NULL) {
		return NULL;
	}
	if (pthread_mutex_init(&l->mu, NULL) != 0) {
		memOver_destroy(&l->over.os);
		errno = ENOMEM;
		return NULL;
	}
	l->limit = limit;
	l->over.os.used = lag_used;
	l->over.os.unused = lag_unused;
	l->over.os.fault = lag_fault;
	l->over.os.free = lag_free;
	l->over.os.flush = lag_flush;
	l->over.os.check = lag_check;
	l->over.os.destroy = lag_destroy;
	return &l->over.os;
}
