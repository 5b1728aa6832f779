// gmt_kinds.c: the static facts about each kind of event (docs/FORMAT.md lists the same).
#include "gomem/layout.h"
#include "traces/gmt.h"

// Columns: name, arguments, has a turn, is an input, field that holds a span.
static const gmt_kind_info kinds[EV_MAX] = {
	[EV_MALLOC] = {"malloc", 4, false, true, 0},
	[EV_MALLOCBEGIN] = {"malloc-begin", 2, false, true, 0},
	[EV_STACKALLOC] = {"stack-alloc", 2, false, true, 0},
	[EV_STACKFREE] = {"stack-free", 3, true, true, 0},
	[EV_ALLOCMANUAL] = {"alloc-manual", 1, false, true, 0},
	[EV_FREEMANUAL] = {"free-manual", 1, false, true, 0},
	[EV_SWEEPONE] = {"sweep-one", 0, false, true, 0},
	[EV_ENSURESWEPT] = {"ensure-swept", 1, false, true, 0},
	[EV_RECLAIM] = {"reclaim", 1, false, true, 0},
	[EV_SWEEPACTIVE] = {"sweep-active", 1, false, true, 0},
	[EV_SCAVENGE] = {"scavenge", 2, false, true, 0},
	[EV_PREPARESWEEP] = {"prepare-for-sweep", 1, true, true, 0},
	[EV_FLUSHMCACHE] = {"flush-mcache", 1, true, true, 0},
	[EV_FLUSHPCACHE] = {"flush-page-cache", 1, true, true, 0},
	[EV_FREESTACKSPANS] = {"free-stack-spans", 0, false, true, 0},
	[EV_GCPHASE] = {"gc-phase", 1, true, true, 0},
	[EV_SWEEPGEN] = {"sweepgen", 1, true, true, 0},
	[EV_FINISHSWEEP] = {"finish-sweep", 0, true, true, 0},
	[EV_NEXTGEN] = {"next-gen", 0, true, true, 0},
	[EV_PINIT] = {"p-init", 1, true, true, 0},
	[EV_PDESTROY] = {"p-destroy", 1, true, true, 0},
	[EV_FREEGC] = {"freegc", 3, true, true, 0},
	[EV_MALLOCEND] = {"malloc-end", 2, false, false, 0},
	[EV_STACKEND] = {"stack-end", 1, true, false, 0},
	[EV_REFILL] = {"refill", 2, false, false, 'b'},
	[EV_REFILLEND] = {"refill-end", 4, false, false, 'b'},
	[EV_PUSH] = {"push", 2, true, false, 'b'},
	[EV_POP] = {"pop", 2, true, false, 'b'},
	[EV_SCLOAD] = {"central-index-load", 1, true, false, 0},
	[EV_SCUPDATE] = {"central-index-update", 1, true, false, 0},
	[EV_ACQUIRE] = {"acquire", 3, true, false, 'b'},
	[EV_SWEEP] = {"sweep", 4, false, false, 'b'},
	[EV_PCREFILL] = {"page-cache-refill", 3, true, false, 0},
	[EV_PALLOC] = {"page-alloc", 4, true, false, 0},
	[EV_MSPANALLOC] = {"mspan-alloc", 2, true, false, 'b'},
	[EV_PCALLOC] = {"page-cache-alloc", 3, false, false, 0},
	[EV_PCFLUSH] = {"page-cache-flush", 4, true, false, 0},
	[EV_NEEDZERO] = {"need-zero", 3, true, false, 0},
	[EV_SPANINIT] = {"span-init", 4, true, false, 'b'},
	[EV_SPANFREE] = {"span-free", 4, true, false, 'b'},
	[EV_RESERVE] = {"reserve", 4, true, false, 0},
	[EV_ARENA] = {"arena", 3, true, false, 0},
	[EV_PGROW] = {"page-grow", 2, true, false, 0},
	[EV_RANDPAD] = {"random-pad", 2, true, false, 0},
	[EV_SCAVFIND] = {"scavenge-find", 2, true, false, 0},
	[EV_SCAVBEGIN] = {"scavenge-begin", 2, true, false, 0},
	[EV_SCAVEND] = {"scavenge-end", 2, true, false, 0},
	[EV_SCAVEMPTY] = {"scavenge-empty", 1, true, false, 0},
	[EV_SPOOLALLOC] = {"stack-pool-alloc", 2, true, false, 0},
	[EV_SPOOLFREE] = {"stack-pool-free", 2, true, false, 0},
	[EV_STACKSCAN] = {"stack-scan", 1, true, false, 0},
	[EV_SLARGEPOP] = {"stack-large-pop", 2, true, false, 0},
	[EV_SLARGEPUSH] = {"stack-large-push", 2, true, false, 0},
	[EV_HINT] = {"hint", 2, false, false, 0},
	[EV_MCACHEALLOC] = {"mcache-alloc", 0, true, false, 0},
};
static const gmt_kind_info unknown = {"unknown", 0, false, false, 0};

const gmt_kind_info *gmt_kind(gomem_ev k) {
	return (unsigned)k < EV_MAX && kinds[k].name != NULL ? &kinds[k] : &unknown;
}

uint64_t gmt_program_end(const gmt_event *e, const gmt_event *end) {
	while (e != end && e->kind != EV_RESERVE) {
		e++;
	}
	return e == end ? 0 : e->a - programGap;
}
