// mgcwork.c (layer 5): see mgcwork.h.
//
// DEVIATION(D22): the memory of buffers and rings is malloc's; Go's buffers are manual spans, and so take part in what is allocated where.
// Where there is none, putting says so: marking goes on without a queue (mgcmark.c).
#include "gomem/mgcwork.h"

#include <stdlib.h>
#include <string.h>

// Two who mark may come in any order to a place with this before it (tests/lab_schedules.c).
static inline void markTurn(const gomem_env *env) { lab_turn(env, EV_MARKTURN); }

static inline uintptr_t pointerOf(const void *p) { return (uintptr_t)p; }

// take gives n bytes that live as long as the mark phase. NULL: out of memory.
static void *take(workType *all, size_t n) {
	const size_t head = tagAlign; // keeps alignment
	char *piece = aligned_alloc(tagAlign, (size_t)alignUp(head + n, tagAlign));
	if (piece == NULL) {
		return NULL;
	}
	uintptr_t before = atomic_load_explicit(&all->taken, memory_order_relaxed);
	do {
		memcpy(piece, &before, sizeof(before));
	} while (!atomic_compare_exchange_weak(&all->taken, &before, pointerOf(piece)));
	return piece + head;
}

static void putempty(gomem_env *env, workType *all, workbuf *b) {
	markTurn(env);
	lfstack_push(env, &all->empty, &b->node);
}

static void putfull(gomem_env *env, workType *all, gcWork *w, workbuf *b) {
	if (b->nobj == 0) {
		gomem_throw(env, "workbuf is empty");
	}
	markTurn(env);
	lfstack_push(env, &all->full, &b->node);
	w->flushedWork = true;
	w->mayNeedWorker = true;
}

static workbuf *trygetfull(gomem_env *env, workType *all) {
	markTurn(env);
	workbuf *b = (workbuf *)(void *)lfstack_pop(&all->full);
	if (b != NULL && b->nobj == 0) {
		gomem_throw(env, "workbuf is empty");
	}
	return b;
}

static void newBuffer(workbuf *b) {
	atomic_store_explicit(&b->node.next, 0, memory_order_relaxed);
	b->node.pushcnt = 0;
	b->nobj = 0;
}

static workbuf *getempty(gomem_env *env, workType *all) {
	markTurn(env);
	workbuf *b = (workbuf *)(void *)lfstack_pop(&all->empty);
	if (b != NULL) {
		if (b->nobj != 0) {
			gomem_throw(env, "workbuf is not empty");
		}
		return b;
	}
	workbuf *made = take(all, workbufAlloc);
	for (int i = 0; made != NULL && i < workbufAlloc / (int)sizeof(workbuf); i++) {
		newBuffer(&made[i]);
		if (i > 0) {
			putempty(env, all, &made[i]);
		}
	}
	return made;
}

void work_init(workType *all) {
	memset(all, 0, sizeof(*all));
	all->gcw.id = -1;
	work_free(all);
}

void work_free(workType *all) {
	for (uintptr_t piece = atomic_exchange(&all->taken, 0), before; piece != 0; piece = before) {
		memcpy(&before, (const void *)piece, sizeof(before));
		free((void *)piece);
	}
	atomic_store(&all->full, 0);
	atomic_store(&all->empty, 0);
	for (int32_t i = -1; i < all->ngcws; i++) {
		gcWork *w = work_gcw(all, i);
		w->wbuf1 = w->wbuf2 = NULL;
		w->spanq.head = w->spanq.tail = w->spanq.putsSinceDrain = 0;
		w->spanq.chainHead = NULL;
		atomic_store(&w->spanq.chainTail, 0);
	}
	workbuf *own = (workbuf *)(uintptr_t)alignUp((uintptr_t)all->own, tagAlign);
	for (int i = 0; i < ownBufs; i++) {
		newBuffer(&own[i]);
		lfstack_push(NULL, &all->empty, &own[i].node);
	}
}

const char *work_check(workType *all) {
	for (int32_t i = -1; i < all->ngcws; i++) {
		if (!gcWork_empty(work_gcw(all, i))) {
			return "mark: there is work left";
		}
	}
	return lfstack_empty(&all->full) && !atomic_load(&all->overflowed) ? NULL : "mark: there is work left";
}

// ---- objects

static bool hasRoom(const workbuf *b) { return b != NULL && b->nobj < workbufObjs; }
static bool hasObjs(const workbuf *b) { return b != NULL && b->nobj > 0; }

static void swapBuffers(gcWork *w) {
	workbuf *b = w->wbuf1;
	w->wbuf1 = w->wbuf2;
	w->wbuf2 = b;
}

bool gcWork_putObj(gomem_env *env, workType *all, gcWork *w, uintptr_t obj) {
	if (!hasRoom(w->wbuf1)) {
		swapBuffers(w);
	}
	if (!hasRoom(w->wbuf1)) {
		workbuf *b = getempty(env, all);
		if (b == NULL) {
			return false;
		}
		if (w->wbuf1 != NULL) {
			putfull(env, all, w, w->wbuf1);
		}
		w->wbuf1 = b;
	}
	w->wbuf1->obj[w->wbuf1->nobj++] = obj;
	return true;
}

uintptr_t gcWork_tryGetObj(gomem_env *env, workType *all, gcWork *w) {
	if (!hasObjs(w->wbuf1)) {
		swapBuffers(w);
	}
	if (!hasObjs(w->wbuf1)) {
		workbuf *b = lfstack_empty(&all->full) ? NULL : trygetfull(env, all);
		if (b == NULL) {
			return 0;
		}
		if (w->wbuf1 != NULL) {
			putempty(env, all, w->wbuf1);
		}
		w->wbuf1 = b;
	}
	return w->wbuf1->obj[--w->wbuf1->nobj];
}

// handoff gives the list half of what b holds.
static void handoff(gomem_env *env, workType *all, gcWork *w) {
	workbuf *half = getempty(env, all);
	if (half == NULL) {
		return;
	}
	workbuf *b = w->wbuf1;
	half->nobj = b->nobj / 2;
	b->nobj -= half->nobj;
	memcpy(half->obj, b->obj + b->nobj, half->nobj * sizeof(half->obj[0]));
	w->wbuf1 = half;
	putfull(env, all, w, b);
}

void gcWork_balance(gomem_env *env, workType *all, gcWork *w) {
	if (all->ngcws == 0 || !lfstack_empty(&all->full)) {
		return;
	}
	if (hasObjs(w->wbuf2)) {
		putfull(env, all, w, w->wbuf2);
		w->wbuf2 = NULL;
	} else if (w->wbuf1 != NULL && w->wbuf1->nobj > 4) {
		handoff(env, all, w);
	}
}

// ---- spans

static spanSPMC *spanSPMCOf(const _Atomic(uintptr_t) *at) { return (spanSPMC *)atomic_load((_Atomic(uintptr_t) *)at); }

static spanSPMC *newSpanSPMC(workType *all, uint32_t cap) {
	spanSPMC *r = take(all, sizeof(*r) + cap * sizeof(r->ring[0]));
	if (r != NULL) {
		atomic_init(&r->prev, 0);
		atomic_init(&r->head, 0);
		atomic_init(&r->tail, 0);
		r->cap = cap;
	}
	return r;
}

static bool spanSPMC_empty(spanSPMC *r) { return atomic_load(&r->head) == atomic_load(&r->tail); }

static _Atomic(uintptr_t) *slotOf(spanSPMC *r, uint32_t i) { return &r->ring[i & (r->cap - 1)]; }

static bool chainEmpty(const spanQueue *q) {
	for (spanSPMC *r = spanSPMCOf(&q->chainTail); r != NULL; r = spanSPMCOf(&r->prev)) {
		if (!spanSPMC_empty(r)) {
			return false;
		}
	}
	return true;
}

static bool tryDrain(gomem_env *env, spanQueue *q, spanSPMC *r, uint32_t n) {
	const uint32_t t = atomic_load(&r->tail);
	if (t - atomic_load(&r->head) + n > r->cap) {
		return false;
	}
	for (uint32_t i = 0; i < n; i++) {
		atomic_store_explicit(slotOf(r, t + i), q->ring[(q->head + i) % spanQueueRing], memory_order_relaxed);
	}
	markTurn(env);
	atomic_store(&r->tail, t + n);
	q->head += n;
	return true;
}

// drain moves the first n spans of the ring to the chain. false: there is no memory.
static bool drain(gomem_env *env, workType *all, gcWork *w, uint32_t n) {
	enum { firstCap = 1024, maxCap = (1 << 20) / sizeof(uintptr_t) };
	spanQueue *q = &w->spanq;
	q->putsSinceDrain = 0;
	w->flushedWork = true;
	w->mayNeedWorker = true;
	if (q->chainHead != NULL && tryDrain(env, q, q->chainHead, n)) {
		return true;
	}
	uint32_t cap = q->chainHead == NULL ? firstCap : q->chainHead->cap * 2;
	cap = cap > maxCap ? maxCap : cap;
	spanSPMC *r = newSpanSPMC(all, cap);
	if (r == NULL) {
		return false;
	}
	if (!tryDrain(env, q, r, n)) {
		gomem_throw(env, "failed to put span on newly-allocated spanSPMC");
	}
	atomic_store(q->chainHead == NULL ? &q->chainTail : &q->chainHead->prev, pointerOf(r));
	q->chainHead = r;
	return true;
}

bool spanQueue_put(gomem_env *env, workType *all, gcWork *w, uintptr_t s) {
	enum { spillPeriod = 64, spillMax = 16, spillMin = 4 };
	spanQueue *q = &w->spanq;
	if (q->tail - q->head == spanQueueRing && !drain(env, all, w, spanQueueRing / 2)) {
		return false;
	}
	q->ring[q->tail++ % spanQueueRing] = s;
	if (all->ngcws == 0 || ++q->putsSinceDrain < spillPeriod) {
		return true;
	}
	// Now and then, so that others have something to do.
	q->putsSinceDrain = 0;
	const uint32_t half = (q->tail - q->head) / 2, n = half < spillMax ? half : spillMax;
	if (n > spillMin && chainEmpty(q)) {
		(void)drain(env, all, w, n);
	}
	return true;
}

static uintptr_t tryGetFast(spanQueue *q) { return q->tail == q->head ? 0 : q->ring[q->head++ % spanQueueRing]; }

// refill takes half of what r holds, and gives the first of them. 0: r is empty.
static uintptr_t refill(gomem_env *env, spanQueue *q, spanSPMC *r) {
	if (q->tail != q->head) {
		gomem_throw(env, "steal with local work available");
	}
	for (;;) {
		uint32_t h = atomic_load(&r->head);
		uint32_t n = atomic_load(&r->tail) - h;
		n -= n / 2;
		if (n == 0) {
			return 0;
		}
		if (n > r->cap) {
			continue; // head and tail are not of one moment
		}
		n = n > spanQueueRing / 2 ? spanQueueRing / 2 : n;
		for (uint32_t i = 0; i < n; i++) {
			q->ring[i] = atomic_load_explicit(slotOf(r, h + i), memory_order_relaxed);
		}
		markTurn(env);
		if (atomic_compare_exchange_strong(&r->head, &h, h + n)) {
			q->head = 0;
			q->tail = n;
			return tryGetFast(q);
		}
	}
}

// steal: from may be q itself.
static uintptr_t steal(gomem_env *env, spanQueue *q, spanQueue *from) {
	spanSPMC *r = spanSPMCOf(&from->chainTail);
	while (r != NULL) {
		// Asked before r is: where there is a newer ring, an empty r stays empty.
		spanSPMC *newer = spanSPMCOf(&r->prev);
		const uintptr_t s = refill(env, q, r);
		if (s != 0) {
			return s;
		}
		uintptr_t was = pointerOf(r);
		if (newer != NULL) {
			(void)atomic_compare_exchange_strong(&from->chainTail, &was, pointerOf(newer));
		}
		r = newer;
	}
	return 0;
}

uintptr_t gcWork_tryGetSpan(gomem_env *env, gcWork *w) {
	const uintptr_t s = tryGetFast(&w->spanq);
	return s != 0 ? s : steal(env, &w->spanq, &w->spanq);
}

// Go begins at a random P, and asks a mask which have something.
uintptr_t gcWork_tryStealSpan(gomem_env *env, workType *all, gcWork *w) {
	uintptr_t s = w != &all->gcw ? steal(env, &w->spanq, &all->gcw.spanq) : 0;
	for (int32_t k = 1; s == 0 && k <= all->ngcws; k++) {
		gcWork *other = all->gcws[(w->id + k) % all->ngcws];
		s = other != w ? steal(env, &w->spanq, &other->spanq) : 0;
	}
	return s;
}

// ---- all of it

void gcWork_tell(workType *all, gcWork *w) {
	atomic_fetch_add_explicit(&all->bytesMarked, w->bytesMarked, memory_order_relaxed);
	atomic_fetch_add_explicit(&all->heapScanWork, w->heapScanWork, memory_order_relaxed);
	w->bytesMarked = 0;
	w->heapScanWork = 0;
}

static void disposeBuffer(gomem_env *env, workType *all, gcWork *w, workbuf **b) {
	if (*b != NULL && (*b)->nobj == 0) {
		putempty(env, all, *b);
	} else if (*b != NULL) {
		putfull(env, all, w, *b);
	}
	*b = NULL;
}

void gcWork_dispose(gomem_env *env, workType *all, gcWork *w) {
	disposeBuffer(env, all, w, &w->wbuf1);
	disposeBuffer(env, all, w, &w->wbuf2);
	const uint32_t n = w->spanq.tail - w->spanq.head;
	if (n > 0) {
		(void)drain(env, all, w, n);
	}
	if (!chainEmpty(&w->spanq)) {
		w->flushedWork = true;
	}
	gcWork_tell(all, w);
}

bool gcWork_empty(gcWork *w) {
	return !hasObjs(w->wbuf1) && !hasObjs(w->wbuf2) && w->spanq.tail == w->spanq.head && chainEmpty(&w->spanq);
}

bool gcMarkWorkAvailable(workType *all) {
	bool some = !lfstack_empty(&all->full);
	for (int32_t i = -1; i < all->ngcws && !some; i++) {
		some = !chainEmpty(&work_gcw(all, i)->spanq);
	}
	return some;
}
