// whatif_os.c: the simulated OS of a what-if run: address space, system calls, and which physical pages have memory behind them.
//
// Invariants: rss == physical page size * bits of resident, over all regions (huge pages: a bit for each 4 KiB that they cover)
//   a page's bit is that of its first grain; it is set by the first write, and cleared when the page is given back
#include "traces/whatif_run.h"

#include <stdlib.h>
#include <string.h>

// ---- the simulated OS: which physical pages have memory behind them

region *wi_region_of(whatif *w, uint64_t addr, bool make) {
	if (addr >> ADDR_BITS != 0) {
		return NULL;
	}
	region **at = &w->regions[addr >> REGION_BITS];
	if (*at == NULL && make) {
		*at = calloc(1, sizeof(**at));
		if (*at == NULL) {
			wi_fail(w, "out of memory");
		}
	}
	return *at;
}

unsigned wi_grain_of(uint64_t addr) { return (unsigned)(addr >> GRAIN_BITS) & (GRAINS - 1); }

// hugeFault: a huge page of which nothing is resident, and which is mapped as a whole, gets memory as a whole.
static bool hugeFault(whatif *w, region *r, uint64_t addr) {
	const uint64_t size = (uint64_t)2 << 20, base = addr & ~(size - 1);
	uint64_t *words = &r->resident[wi_grain_of(base) / 64];
	for (unsigned i = 0; i < size >> GRAIN_BITS >> 6; i++) {
		if (words[i] != 0) {
			return false;
		}
	}
	for (uint64_t a = base; a < base + size; a += 256 << 10) {
		if (mem_sim_state(w->under, (uintptr_t)a) < MEM_PREPARED) {
			return false;
		}
	}
	memset(words, 0xff, size >> GRAIN_BITS >> 3);
	w->rss += size;
	return true;
}

// wi_touch writes [addr, addr+n). One bit stands for each physical page: that of its first grain.
void wi_touch(whatif *w, uint64_t addr, uint64_t n) {
	const uint64_t page = w->c->physPageSize;
	for (uint64_t a = addr & ~(page - 1); a < addr + n; a += page) {
		region *r = wi_region_of(w, a, true);
		if (r == NULL) {
			return;
		}
		const unsigned g = wi_grain_of(a);
		if ((r->resident[g / 64] >> g % 64 & 1) != 0) {
			continue;
		}
		w->out->faults++;
		if (!w->c->hugePages || !hugeFault(w, r, a)) {
			r->resident[g / 64] |= (uint64_t)1 << g % 64;
			w->rss += page;
		}
		if (w->rss > w->out->peakRSS) {
			w->out->peakRSS = w->rss;
		}
	}
}

static void untouch(whatif *w, uint64_t addr, uint64_t n) {
	const uint64_t page = w->c->physPageSize;
	for (uint64_t a = addr; a < addr + n; a += 1 << GRAIN_BITS) {
		region *r = wi_region_of(w, a, false);
		const unsigned g = wi_grain_of(a);
		if (r != NULL && (r->resident[g / 64] >> g % 64 & 1) != 0) {
			r->resident[g / 64] &= ~((uint64_t)1 << g % 64);
			w->rss -= a % page == 0 ? page : 0;
		}
	}
}

// ---- the OS

static whatif *whatif_of(gomem_os *os) { return (whatif *)(void *)((char *)os - offsetof(whatif, os)); }

static void *os_alloc(gomem_os *os, uintptr_t n) {
	whatif *w = whatif_of(os);
	w->out->systemCalls++;
	return w->under->alloc(w->under, n);
}

// os_reserve grants what the recorded OS granted, if it was asked the same, else the hint.
static void *os_reserve(gomem_os *os, void *hint, uintptr_t n, memUse use) {
	whatif *w = whatif_of(os);
	w->out->systemCalls++;
	if (use == MEM_META) {
		return w->under->reserve(w->under, hint, n, use);
	}
	if (wi_next_is(w, EV_RESERVE) && w->cur->a == (uintptr_t)hint) {
		const gmt_event e = *w->cur;
		if (e.d == 0) {
			return NULL;
		}
		// sysReserveAligned trims: any address that leads to the granted one will do.
		const bool trimmed = e.c != 0 && e.c < n;
		hint = (void *)(uintptr_t)(trimmed ? e.d - w->os.physPageSize : e.d);
	}
	return w->under->reserve(w->under, hint, n, use);
}

static bool os_map(gomem_os *os, void *v, uintptr_t n) {
	whatif *w = whatif_of(os);
	w->out->systemCalls++;
	return w->under->map(w->under, v, n);
}
static bool os_used(gomem_os *os, void *v, uintptr_t n) { // no system call on Linux
	whatif *w = whatif_of(os);
	return w->under->used(w->under, v, n);
}
static bool os_unused(gomem_os *os, void *v, uintptr_t n) {
	whatif *w = whatif_of(os);
	w->out->systemCalls++;
	untouch(w, (uintptr_t)v, n);
	return w->under->unused(w->under, v, n);
}
static bool os_fault(gomem_os *os, void *v, uintptr_t n) {
	whatif *w = whatif_of(os);
	w->out->systemCalls++;
	return w->under->fault(w->under, v, n);
}
static bool os_free(gomem_os *os, void *v, uintptr_t n) {
	whatif *w = whatif_of(os);
	w->out->systemCalls++;
	return w->under->free(w->under, v, n);
}
static void os_hint(gomem_os *os, void *v, uintptr_t n) {
	(void)v;
	(void)n;
	whatif_of(os)->out->systemCalls++;
}
static bool os_collapse(gomem_os *os, void *v, uintptr_t n) {
	whatif *w = whatif_of(os);
	w->out->systemCalls++;
	return w->under->hugePageCollapse(w->under, v, n);
}

bool wi_make_os(whatif *w) {
	const memSimConfig cfg = {
		.physPageSize = (uintptr_t)w->c->physPageSize, .physHugePageSize = (uintptr_t)w->c->physHugePageSize};
	w->under = mem_sim_new(&cfg);
	if (w->under == NULL) {
		return false;
	}
	w->os = (gomem_os){
		.name = "what-if",
		.physPageSize = cfg.physPageSize,
		.physHugePageSize = cfg.physHugePageSize,
		.unusedKeepsContents = strstr(w->godebug, "madvdontneed=1") == NULL,
		.alloc = os_alloc,
		.reserve = os_reserve,
		.map = os_map,
		.used = os_used,
		.unused = os_unused,
		.fault = os_fault,
		.free = os_free,
		.hugePage = os_hint,
		.noHugePage = os_hint,
		.hugePageCollapse = os_collapse,
	};
	return true;
}
