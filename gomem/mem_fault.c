// mem_fault.c (layer 1): a system over another one, whose n-th call fails, or is granted elsewhere than it would be.
//
// Memory elsewhere is had by holding what the inner system gives first until it gave something else.
// Invariants: hits <= calls; a call that fails did not reach the inner system.
#include "gomem/mem_over.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct memFault {
	memOver over;
	memFaultConfig cfg;
	_Atomic(uint64_t) calls, hits;
} memFault;

static memFault *faultOf(const gomem_os *os) { return (memFault *)(uintptr_t)os; }

static void hit(memFault *f, const char *call, bool moved) {
	atomic_fetch_add(&f->hits, 1);
	if (f->cfg.hit != NULL) {
		f->cfg.hit(f->cfg.ctx, call, moved);
	}
}

// fails counts a call and says whether it fails; *moves: whether it is granted elsewhere.
static bool fails(memFault *f, const char *call, bool *moves) {
	const uint64_t n = atomic_fetch_add(&f->calls, 1) + 1;
	*moves = n == f->cfg.moveNth;
	if (f->cfg.failNth == 0 || n < f->cfg.failNth || (n > f->cfg.failNth && !f->cfg.lasting)) {
		return false;
	}
	hit(f, call, false);
	errno = f->cfg.err != 0 ? f->cfg.err : ENOMEM;
	return true;
}

static void *fault_alloc(gomem_os *os, uintptr_t n) {
	memFault *f = faultOf(os);
	bool moves;
	if (fails(f, "alloc", &moves)) {
		return NULL;
	}
	void *p = f->over.inner->alloc(f->over.inner, n);
	if (!moves || p == NULL) {
		return p;
	}
	void *other = f->over.inner->alloc(f->over.inner, n);
	f->over.inner->free(f->over.inner, p, n);
	hit(f, "alloc", true);
	return other;
}

static void *fault_reserve(gomem_os *os, void *hint, uintptr_t n, memUse use) {
	memFault *f = faultOf(os);
	bool moves;
	if (fails(f, "reserve", &moves)) {
		return NULL;
	}
	void *p = f->over.inner->reserve(f->over.inner, hint, n, use);
	if (!moves || p == NULL) {
		return p;
	}
	void *other = f->over.inner->reserve(f->over.inner, NULL, n, use);
	f->over.inner->free(f->over.inner, p, n);
	hit(f, "reserve", true);
	return other;
}

static bool fault_map(gomem_os *os, void *v, uintptr_t n) {
	memFault *f = faultOf(os);
	bool moves;
	return !fails(f, "map", &moves) && f->over.inner->map(f->over.inner, v, n);
}

static bool fault_used(gomem_os *os, void *v, uintptr_t n) {
	memFault *f = faultOf(os);
	bool moves;
	return !fails(f, "used", &moves) && f->over.inner->used(f->over.inner, v, n);
}

static bool fault_hugePageCollapse(gomem_os *os, void *v, uintptr_t n) {
	memFault *f = faultOf(os);
	bool moves;
	return !fails(f, "hugePageCollapse", &moves) && f->over.inner->hugePageCollapse(f->over.inner, v, n);
}

void mem_fault_arm(gomem_os *os, const memFaultConfig *cfg) {
	memFault *f = faultOf(os);
	f->cfg = cfg != NULL ? *cfg : (memFaultConfig){0};
	atomic_store(&f->calls, 0);
	atomic_store(&f->hits, 0);
}

gomem_os *mem_fault_new(gomem_os *inner, const memFaultConfig *cfg) {
	memFault *f = memOver_new(inner, sizeof *f);
	if (f == NULL) {
		return NULL;
	}
	f->over.os.alloc = fault_alloc;
	f->over.os.reserve = fault_reserve;
	f->over.os.map = fault_map;
	f->over.os.used = fault_used;
	f->over.os.hugePageCollapse = fault_hugePageCollapse;
	mem_fault_arm(&f->over.os, cfg);
	return &f->over.os;
}

uint64_t mem_fault_calls(const gomem_os *os) { return atomic_load(&faultOf(os)->calls); }
uint64_t mem_fault_hits(const gomem_os *os) { return atomic_load(&faultOf(os)->hits); }

static bool readNth(const char *name, uint64_t *n) {
	const char *text = getenv(name);
	if (text == NULL) {
		return false;
	}
	char *end;
	errno = 0;
	*n = strtoull(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end != 0 || errno != 0 || *n == 0) {
		(void)fprintf(stderr, "%s=%s: not a positive number\n", name, text);
		exit(2);
	}
	return true;
}

bool mem_fault_environment(memFaultConfig *cfg) {
	*cfg = (memFaultConfig){0};
	const bool fail = readNth("GOMEM_FAIL_NTH", &cfg->failNth);
	const bool move = readNth("GOMEM_MOVE_NTH", &cfg->moveNth);
	return fail || move;
}
