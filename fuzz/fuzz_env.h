// fuzz_env.h: an environment for targets of layers 0 to 3: a system, statistics, the map of states, expected throws.
#ifndef GOMEM_FUZZ_ENV_H
#define GOMEM_FUZZ_ENV_H

#include "fuzz/fuzz.h"
#include "fuzz/fuzz_os.h"
#include "gomem/mem.h"

typedef struct fuzz_env {
	gomem_env env;
	gomem_stats stats;
	fuzz_guard guard;
} fuzz_env;

// A space of 64 GiB, with a tree as deep as the real one: quick to set up.
static inline const gomem_layout *smallSpace(void) {
	static gomem_layout L;
	if (L.pageShift == 0) {
		L = layout_host;
		L.name = "64 GiB";
		L.heapAddrBits = 36;
		L.randHeapAddrBits = 36;
		L.arenaL2Bits = 10;
		L.summaryL0Bits = 2;
		L.pallocChunksL1Bits = 8;
		L.pallocChunksL2Bits = 6;
		L.persistentChunkSize = 128 << 10;
		L.arenaBaseOffset = (uint64_t)1 << 44;
		fuzz_check(layout_check(&L) == NULL, "a layout that cannot be");
	}
	return &L;
}

// fuzz_env_init makes an environment over fuzz_os; L: NULL for linux/amd64.
static inline void fuzz_env_init(fuzz_env *e, const gomem_layout *L, const fuzz_os_config *cfg) {
	gomem_os *os = fuzz_os_begin(cfg);
	memset(e, 0, sizeof *e);
	e->env.layout = L != NULL ? L : &layout_host;
	e->env.os = os;
	e->env.stats = &e->stats;
	e->env.states = memStates_new();
	e->env.throwHook = fuzz_thrown;
	e->env.throwCtx = &e->guard;
	e->env.physPageSize = os->physPageSize;
	e->env.physHugePageSize = os->physHugePageSize;
	e->env.backed = os->backed;
	e->env.greenTea = e->env.layout->greenTea;
	fuzz_check(e->env.states != NULL, "out of memory");
}

static inline void fuzz_env_done(fuzz_env *e) { memStates_free(e->env.states); }

#endif
