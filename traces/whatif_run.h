// whatif_run.h: the state of a what-if run, shared by the files whatif_*.c that make one up. whatif.h is what others use.
//
// Invariants: see whatif.h for those of a whole run, and each file for its own
//   w->failed  ->  w->out->error says why, and no coroutine goes on
#ifndef GOMEM_TRACES_WHATIF_RUN_H
#define GOMEM_TRACES_WHATIF_RUN_H

#include "traces/whatif.h"

#include "gomem/mcache.h"
#include "gomem/mgcpacer.h"
#include "traces/coro.h"

#include <uthash.h>

enum { STACK_BYTES = 256 << 10, NO_STREAM = 0xffff, REGION_BITS = 26, GRAIN_BITS = 12, ADDR_BITS = 48 };
enum { REGIONS = 1 << (ADDR_BITS - REGION_BITS), GRAINS = 1 << (REGION_BITS - GRAIN_BITS) };
enum { MAX_HURRIES = 1 << 16 };
static const uint64_t MAX_REQUEST = (uint64_t)1 << 41;

typedef struct whatif whatif;

typedef struct stream {
	whatif *w;
	coro *co;
	gomem_p *p;
	void (*job)(whatif *w, struct stream *s);
	struct stream *made; // the one made before it
	uint64_t recordedStack, stack, recordedManual, manual;
	uint16_t id;
	uint16_t depth; // operations that have begun and not ended
	bool off;       // the innermost operation has left the path
	bool hurried;   // all of them have, since another stream waits for a lock or for the end of all operations
	bool over;      // the recording has no more for its operation
	bool busy;      // waits for a lock
} stream;

// A slot that an object has.
typedef struct wslot {
	uint64_t asked; // 0: free
	uint32_t death, owner;
} wslot;

// A span of objects of the heap.
typedef struct wspan {
	uint64_t bytes, elemsize;
	uint32_t nelems;
	spanClass spc;
	wslot slot[];
} wspan;

// 64 MiB of the simulated address space.
typedef struct region {
	wspan *span[GRAINS]; // where it begins
	uint64_t resident[GRAINS / 64];
} region;

typedef struct moved { // a stack or a work buffer
	uint64_t recorded, mine;
	UT_hash_handle hh;
} moved;

struct whatif {
	const gmt_event *cur, *end;
	stream *running;
	uint64_t number; // of the event after the block's last
	gmt_reader *r;
	gmt_block block;
	gmt_event eof;
	gomem_heap *h;
	whatif_result *out;
	const whatif_lives *lives;
	const whatif_trace *trace; // NULL: the requests are those of a recording
	bool largest;              // of a trace: each request has its largest size
	const char *godebug;
	uint64_t randSeed;
	const whatif_config *c;
	gomem_layout layout;
	whatif_progress progress;
	stream **streams; // by id
	stream *made;     // the last one
	stream system;    // what is not a stream of the recording: cycles that the pacer begins
	coro *main;
	gomem_lab lab;
	gomem_os os, *under;
	bool ended, failed;
	// the recorded heap, as far as it is needed
	uint64_t recordedInUse, recordedSwept, recordedBasis; // pages
	uint32_t recordedCycle; // of a trace recordedSwept and recordedBasis are objects found dead, and all of them
	// this heap
	uint64_t sweepBasis; // pages in use when the sweep began
	uint32_t deadline;   // what died in a recorded cycle up to this one is dead
	bool cycleDue;
	gcControllerState pacer;
	uint64_t trigger;
	uint64_t mapped, stackBytes, rss;
	region **regions;
	moved *stacks, *manuals;
	uint64_t *targetAddr;           // by target, where its object is
	uint8_t *isTarget;              // by malloc, a bit each
	const whatif_target **byObject; // targets sorted by object
	whatif_class classes[WHATIF_SPAN_CLASSES], sum;
	double inUseSum, askedSum, slotWasteSum, freeSum, tailSum;
};

static const gomem_type wordType = {.size = 8, .ptr_bytes = 8, .ptr_mask = (const uint8_t[]){1}};

// ---- whatif_step.c
void wi_begin(whatif *w, stream *s, void (*job)(whatif *, stream *));
void wi_bind(whatif *w, moved **map, uint64_t *recorded, uint64_t *mine);
void wi_compare(whatif *w, const gmt_event *e, uint64_t a, uint64_t b, uint64_t c, uint64_t d);
uint64_t wi_event_number(const whatif *w);
__attribute__((format(printf, 2, 3))) void wi_fail(whatif *w, const char *fmt, ...);
void wi_finish_others(whatif *w, const stream *except);
_Noreturn void wi_leave(whatif *w);
bool wi_load(whatif *w);
bool wi_next_is(whatif *w, gomem_ev k);
void wi_on_busy(void *ctx, const char *name);
void wi_on_event(void *ctx, gomem_ev k, uint64_t a, uint64_t b, uint64_t c, uint64_t d);
_Noreturn void wi_on_throw(void *ctx, const char *msg);
void wi_on_turn(void *ctx, gomem_ev k);
void wi_pass(whatif *w);
void wi_resume(whatif *w, stream *s);
void wi_settle(whatif *w, stream *s);
void wi_stray(whatif *w, const char *step);
stream *wi_stream_of(whatif *w, uint16_t id);
uint64_t wi_unbind(whatif *w, moved **map, uint64_t recorded);

// ---- whatif_os.c
unsigned wi_grain_of(uint64_t addr);
bool wi_make_os(whatif *w);
region *wi_region_of(whatif *w, uint64_t addr, bool make);
void wi_touch(whatif *w, uint64_t addr, uint64_t n);

// ---- whatif_measure.c
void wi_drop_object(whatif *w, wspan *s, uint32_t i);
void wi_note_end(whatif *w);
void wi_on_spanFree(whatif *w, uint64_t a, uint64_t base, uint64_t npages);
void wi_on_spanInit(whatif *w, uint64_t a, const mspan *s, uint64_t npages);
// wi_restart: what was before does not count.
void wi_restart(whatif *w);
void wi_place_object(whatif *w, uint32_t number, uint64_t n, unsigned path, uintptr_t addr);
wspan *wi_span_get(whatif *w, uint64_t base);

// ---- whatif_policy.c
void wi_policy_deductSweepCredit(void *ctx, gomem_heap *h, gomem_p *p, uintptr_t spanBytes, uintptr_t callerSweepPages);
void wi_policy_gcTrigger(void *ctx, gomem_heap *h, gomem_p *p);
void wi_policy_loadMarks(void *ctx, gomem_heap *h, gomem_p *p, mspan *m);
void wi_policy_reclaim(void *ctx, gomem_heap *h, gomem_p *p, uintptr_t npages);
void wi_policy_scavengeAssist(void *ctx, gomem_heap *h, gomem_p *p, uintptr_t scav, uintptr_t growth);
bool wi_is_behind(const whatif *w);
bool wi_policy_sweepActive(void *ctx, gomem_heap *h, gomem_p *p);
void wi_reclaim_step(whatif *w, gomem_p *p);
void wi_scavenge_step(whatif *w, gomem_p *p);
void wi_sweep_step(whatif *w, gomem_p *p);
const whatif_target *wi_target_of(const whatif *w);
mspan *wi_target_span(whatif *w, const whatif_target *t);

// ---- whatif_serve.c
void wi_do_op(whatif *w, stream *s);

// ---- whatif_cycle.c
void wi_do_cycle(whatif *w, stream *s);
// wi_pace begins to pace: no cycle has run.
void wi_pace(whatif *w);

// ---- whatif_trace_serve.c
// wi_serve_trace is the job that serves a whole trace.
void wi_serve_trace(whatif *w, stream *s);

#endif
