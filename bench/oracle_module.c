// oracle_module.c: the reference, for the benchmarks. Its memory is the process's, reserved where the kernel likes.
#include <sys/mman.h>

#include "bench/module.h"
#include "oracle/oracle.h"

static uint64_t answer(void *ctx, oracle_os_call call, uint64_t addr, uint64_t n) {
	(void)ctx;
	switch (call) {
	case ORACLE_OS_RESERVE: {
		void *at = mmap((void *)(uintptr_t)addr, n, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		return at == MAP_FAILED ? 0 : (uint64_t)(uintptr_t)at;
	}
	case ORACLE_OS_RESERVE_ALIGNED: // only where memory comes from a break
		break;
	case ORACLE_OS_RELEASE:
		munmap((void *)(uintptr_t)addr, n);
		break;
	case ORACLE_OS_MAP:
	case ORACLE_OS_USED:
		return mprotect((void *)(uintptr_t)addr, n, PROT_READ | PROT_WRITE) == 0; // 0: refused
	case ORACLE_OS_UNUSED:
		madvise((void *)(uintptr_t)addr, n, MADV_DONTNEED);
		break;
	}
	return 0;
}

static void *moduleMalloc(gomem_heap *heap, gomem_p *p, uintptr_t size, const gomem_type *typ, bool needzero) {
	(void)p;
	return (void *)(uintptr_t)oracle_malloc((void *)heap, 0, size, typ != NULL, needzero);
}

static void moduleFinish(void *heap, void *p) {
	(void)p;
	oracle_finish_sweep(heap, 0);
}

static void modulePhase(void *heap, unsigned phase) { oracle_set_phase(heap, (int)phase); }

static bool moduleMark(void *heap, void *x) { return oracle_mark(heap, (uint64_t)(uintptr_t)x); }

static void moduleStart(void *heap, void *p) {
	(void)p;
	oracle_start_sweep(heap);
	oracle_prepare_for_sweep(heap, 0);
}

static void moduleSweepOne(void *heap, void *p) {
	(void)p;
	oracle_sweep_one(heap, 0);
}

static void moduleScavenge(void *heap, void *p, uint64_t bytes, bool force) {
	(void)p;
	oracle_scavenge(heap, bytes, force);
}

static void moduleCycle(void *heap, void *p, bool all) {
	moduleFinish(heap, p);
	modulePhase(heap, 2);
	modulePhase(heap, 0);
	moduleStart(heap, p);
	while (all && oracle_sweep_one(heap, 0) != UINT64_MAX) {
	}
}

BENCH_EXPORT const bench_module *bench_module_get(void);
const bench_module *bench_module_get(void) {
	static bench_module m;
	const oracle_config cfg = {.os = answer, .backed = true, .seed = 1, .phys_page = 4096};
	m.heap = (void *)oracle_new(&cfg);
	oracle_procresize((void *)m.heap, 1);
	m.malloc = moduleMalloc;
	m.cycle = moduleCycle;
	m.finish = moduleFinish;
	m.phase = modulePhase;
	m.mark = moduleMark;
	m.start = moduleStart;
	m.sweepOne = moduleSweepOne;
	m.scavenge = moduleScavenge;
	return &m;
}
