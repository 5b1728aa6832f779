// graft.h: the port inside a Go program: what Go gives it, and the functions that Go calls.
//
// The sources of gomem/ are compiled as they are, with platform_go.c in place of the platform of a hosted program, into one block of machine
// code without relocations and without writable data (graft.py). Go calls the functions graft_* through the trampolines of zz_graft_amd64.s, always
// on a system stack, and is called back through graft_callbacks. Nothing here is part of the library.
//
// Invariants: a callback returns on the same stack and the same M; C has no state but what Go handed to it by pointer.
#ifndef GOMEM_GRAFT_H
#define GOMEM_GRAFT_H

#include "gomem/mem.h"
#include "gomem/platform.h"

// Two words, which come back in two registers.
typedef struct graft_pair {
	uint64_t a, b;
} graft_pair;

// The Go functions that C calls: graftCallbacks in zz_graft_graft.go has the same order. Each is a thunk of zz_graft_amd64.s.
typedef struct graft_callbacks {
	void (*lock)(mutex *m);
	void (*unlock)(mutex *m);
	void (*throw)(const char *msg);
	void *(*sysAlloc)(uintptr_t n, sysMemStat *stat);
	void (*sysFree)(void *v, uintptr_t n, sysMemStat *stat);
	void *(*sysReserve)(void *hint, uintptr_t n, uintptr_t use);
	void (*sysUnreserve)(void *v, uintptr_t n);
	void *(*sysReserveAligned)(void *hint, uintptr_t n, uintptr_t align, uintptr_t *size);
	void (*sysMap)(void *v, uintptr_t n, sysMemStat *stat);
	void (*sysUsed)(void *v, uintptr_t n, uintptr_t prepared);
	void (*sysUnused)(void *v, uintptr_t n);
	void (*sysFault)(void *v, uintptr_t n);
	void (*sysHugePage)(void *v, uintptr_t n);
	void (*sysNoHugePage)(void *v, uintptr_t n);
	void (*sysHugePageCollapse)(void *v, uintptr_t n);
	void *(*sysAllocOS)(uintptr_t n);
	void *(*persistentalloc)(uintptr_t n, uintptr_t align, sysMemStat *stat);
	// pacing and the collector (level spans)
	void (*deductSweepCredit)(uintptr_t spanBytes, uintptr_t callerSweepPages);
	void (*scavengeAssist)(uintptr_t scav, uintptr_t growth);
	uintptr_t (*beginSweep)(void *span, uintptr_t preserve); // 0: done, nothing was freed
	void (*spanEvent)(void *span, uintptr_t freed);          // for traces: a span was made, is about to be freed
	// --record: a step begins whose order counts and which is under no lock of Go's, until its event; an event (lab.h)
	void (*labTurn)(void);
	void (*labEvent)(uint64_t k, uint64_t a, uint64_t b, uint64_t c, uint64_t d);
	// --check: before and after an operation (check.c)
	uintptr_t (*checkBegin)(uintptr_t op, uintptr_t a, uintptr_t b, uintptr_t c);
	void (*checkEnd)(uintptr_t op, uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t r, uintptr_t s);
} graft_callbacks;

// What env->os points to.
typedef struct graft_os {
	gomem_os os;
	graft_callbacks call;
	gomem_lab lab;
} graft_os;

static inline const graft_callbacks *graft_call(const gomem_env *env) {
	return &((const graft_os *)(const void *)env->os)->call;
}

#endif
