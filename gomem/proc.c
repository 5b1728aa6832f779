// proc.c (layer 5): making and ending Ps. Ports the allocator's part of proc.go (p.init, p.destroy, procresize).
//
// Invariants: allp[0..nallp) are Ps or NULL; a P is alive iff it has an mcache; P 0 has mcache0, which callers without a P use until
// the first procresize ends; the P of a destroyed id stays and is used again.
#include <stdlib.h>

#include "gomem/mbitmap.h"
#include "gomem/mcache.h"

static bool growAllp(mheap *h, int32_t n) {
	if (n <= h->nallp) {
		return true;
	}
	gomem_p **allp = realloc(h->allp, (size_t)n * sizeof(*allp));
	if (allp == NULL) {
		return false;
	}
	memset(allp + h->nallp, 0, (size_t)(n - h->nallp) * sizeof(*allp));
	h->allp = allp;
	h->nallp = n;
	return true;
}

// newP gives the P of id, on cache lines of its own.
static gomem_p *newP(mheap *h, int32_t id) {
	if (h->allp[id] != NULL) {
		return h->allp[id];
	}
	const size_t size = (size_t)alignUp(sizeof(gomem_p), cacheLineSize);
	gomem_p *pp = aligned_alloc(cacheLineSize, size);
	if (pp != NULL) {
		memset(pp, 0, size);
		pp->h = h;
		pp->id = id;
		h->allp[id] = pp;
	}
	return pp;
}

gomem_p *p_init(mheap *h, int32_t id) {
	if (id < 0 || id >= numPsMax) {
		gomem_throw(&h->env, "p_init: bad id");
	}
	if (!growAllp(h, id + 1)) {
		return NULL;
	}
	gomem_p *pp = newP(h, id);
	if (pp == NULL || pp->mcache != NULL) {
		return pp;
	}
	if (id == 0) {
		if (h->mcache0 == NULL) {
			gomem_throw(&h->env, "missing mcache?");
		}
		pp->mcache = h->mcache0;
		p_setWays(h, pp);
		return pp;
	}
	pp->mcache = allocmcache(h);
	p_setWays(h, pp);
	return pp->mcache != NULL ? pp : NULL;
}

// mergeStats moves the counters of from, which are 64-bit integers all, to those of to.
static void mergeStats(heapStatsDelta *to, heapStatsDelta *from) {
	_Static_assert(sizeof(heapStatsDelta) % sizeof(_Atomic(uint64_t)) == 0, "counters only");
	_Atomic(uint64_t) *t = (_Atomic(uint64_t) *)(void *)to;
	_Atomic(uint64_t) *f = (_Atomic(uint64_t) *)(void *)from;
	for (size_t i = 0; i < sizeof(heapStatsDelta) / sizeof(*t); i++) {
		atomic_fetch_add_explicit(
			&t[i], atomic_exchange_explicit(&f[i], 0, memory_order_relaxed), memory_order_relaxed);
	}
}

// p_unpopulate gives back, run by run, what was made ahead and not taken.
static void p_unpopulate(mheap *h, const gomem_p *p) {
	const uintptr_t shift = layout_get(&h->env)->pageShift;
	const pageCache *c = &p->pcache;
	const uintptr_t made = p->populatedTo > c->base ? (p->populatedTo - c->base) >> shift : 0;
	uint64_t pages = c->cache & c->scav & lowBits64(made);
	while (pages != 0) {
		const unsigned first = ctz64(pages), n = ctz64(~(pages >> first));
		sysUnpopulate(&h->env, (void *)(c->base + ((uintptr_t)first << shift)), (uintptr_t)n << shift);
		pages &= ~(lowBits64(n) << first);
	}
}

void p_flushPages(mheap *h, gomem_p *pp) {
	gomem_env *env = &h->env;
	if (pageCache_empty(&pp->pcache)) {
		return;
	}
	p_unpopulate(h, pp);
	lockTurn(env, &h->lock, EV_PCFLUSH);
	pageCache_flush(env, &pp->pcache, &h->pages, pp->id);
	unlock(env, &h->lock);
}

void p_destroy(mheap *h, gomem_p *running, gomem_p *pp) {
	gomem_env *env = &h->env;
	if (atomic_load(&h->gcphase) != gcOff) {
		gomem_throw(env, "P destroyed while GC is running");
	}
	for (intptr_t i = 0; i < pp->mspancache.len; i++) {
		fixalloc_free(env, &h->spanalloc, pp->mspancache.buf[i]);
	}
	pp->mspancache.len = 0;
	p_flushPages(h, pp);
	freemcache(h, running, pp, pp->mcache);
	pp->mcache = NULL;
	p_setWays(h, pp);
	pp->gcAssistBytes = 0;
	mergeStats(&h->stats.heapStats, &pp->stats);
}

// DEVIATION(D16): there is no current P: P 0 goes on, as in Go when the current one is among those that end.
bool procresize(mheap *h, int32_t nprocs) {
	const int32_t old = h->gomaxprocs;
	if (nprocs <= 0 || nprocs > numPsMax) {
		gomem_throw(&h->env, "procresize: invalid arg");
	}
	for (int32_t i = old; i < nprocs; i++) {
		if (p_init(h, i) != NULL) {
			continue;
		}
		while (--i >= old && i > 0) {
			p_destroy(h, h->allp[0], h->allp[i]);
		}
		return false;
	}
	gomem_p *running = h->allp[0];
	mcache_prepareForSweep(h, running, running->mcache);
	h->mcache0 = NULL;
	for (int32_t i = nprocs; i < old; i++) {
		p_destroy(h, running, h->allp[i]);
	}
	h->gomaxprocs = nprocs;
	return true;
}
