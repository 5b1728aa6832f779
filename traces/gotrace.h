// gotrace.h: reading the execution traces that stock Go writes: what its allocator did, in one order.
//
// Any Go program since 1.23 run with GODEBUG=traceallocfree=1 and runtime/trace writes one (docs/TRACES.md). A trace is generations; within
// one the batches of all Ms are merged by time, heads only; an M's own order is kept. docs/TRACES.md has the rules.
//
//   p == the P of the event's M by ProcStart, ProcStop, ProcSteal, ProcStatus; -1: the M has none
//   type != 0  ->  gotrace_type_of(t, type) is its name, size and pointer bytes; numbers of types hold for the whole trace
#ifndef GOMEM_TRACES_GOTRACE_H
#define GOMEM_TRACES_GOTRACE_H

#include "traces/gmt.h" // gmt_error

typedef enum gotrace_kind {
	GOTRACE_SPAN,         // at the start there was this span: addr, n: pages, class
	GOTRACE_SPAN_ALLOC,   // addr, n: pages, class
	GOTRACE_SPAN_FREE,    // addr
	GOTRACE_OBJECT,       // at the start this slot was taken: addr, type
	GOTRACE_OBJECT_ALLOC, // addr as the program got it (headers, tiny: docs/TRACES.md), type
	GOTRACE_OBJECT_FREE,  // addr: the slot, found dead by a sweep
	GOTRACE_STACK,        // at the start: addr, n: bytes
	GOTRACE_STACK_ALLOC,  // addr, n: bytes
	GOTRACE_STACK_FREE,   // addr
	GOTRACE_SNAPSHOT_END, // what was there at the start has been told
	GOTRACE_GC_BEGIN,     // n: sequence number of the cycle; addr: a gotrace_where, if goroutines are asked for
	GOTRACE_GC_END,
	GOTRACE_STW_BEGIN, // n: why: gotrace_string
	GOTRACE_STW_END,
	GOTRACE_SWEEP_BEGIN, // n: a gotrace_where, if goroutines are asked for
	GOTRACE_SWEEP_END,   // addr: bytes swept, n: bytes reclaimed
	GOTRACE_HEAP_ALLOC,  // n: bytes live, as Go counts them
	GOTRACE_HEAP_GOAL,   // n: bytes
	GOTRACE_PROCS,       // n: GOMAXPROCS
	GOTRACE_PROC_START, // p got the M m. It may have had another: that it was stolen from that may be told late, or not at all
	GOTRACE_PROC_STOP, // p lost its M: that is m, or it was in a system call and m is who took p away
	GOTRACE_GO_START,  // n: the goroutine that this M runs from now on. Only if asked for
	GOTRACE_GO_STOP,   // it does not run any more: it was preempted, or waits. n: a gotrace_where. Only if asked for
	GOTRACE_KINDS
} gotrace_kind;

// What the stack of an event says.
typedef enum gotrace_where {
	GOTRACE_UNKNOWN, // there is none
	GOTRACE_ELSEWHERE,
	GOTRACE_IN_MALLOC,   // mallocgc has its slot, and tells it later
	GOTRACE_IN_GC_START, // so it has, and begins a cycle: it may allocate for that before it tells
	GOTRACE_IN_SWEEPER,  // the background sweeper stops
	GOTRACE_IN_CREDIT,   // an allocation sweeps for its credit
	GOTRACE_IN_MCENTRAL, // it looks for a span
	GOTRACE_IN_RECLAIM,  // it reclaims pages
} gotrace_where;

enum { GOTRACE_MANUAL = 0xffff }; // class of a span that is no heap span: a stack or a work buffer

typedef struct gotrace_event {
	uint8_t kind;
	uint16_t class; // span class (size class << 1 | noscan), or GOTRACE_MANUAL
	int32_t p;
	int32_t
		next_p; // p == -1: the P that this M acquires next, if there are but frees in between (it flushes that P's cache); else -1
	uint32_t type;
	uint64_t m;
	uint64_t time; // ns since the beginning of the trace, by a clock that may step back
	// It was written no earlier than this, and no later than `time`: an M that writes more than an event a tick is ahead of its clock.
	uint64_t earliest;
	uint64_t addr, n;
	uint64_t offset; // in the (decompressed) trace, for messages
} gotrace_event;

typedef struct gotrace_type {
	const char *name;
	uint64_t addr, size, ptrbytes;
} gotrace_type;

typedef struct gotrace gotrace;

// What is left of a damaged trace: the generations before that whose batches or tables are damaged; the events before a damaged one. All
// of that is whole, in the order of the merge: what other Ms did before is there too. Damage in the first generation leaves nothing, unless it is in
// an event.
typedef struct gotrace_options {
	bool goroutines; // tell GOTRACE_GO_START and GOTRACE_GO_STOP, and keep stacks
	bool salvage;    // what stands behind damage is left out, instead of refusing the file
} gotrace_options;

// gotrace_is: the first bytes of a file (at least 16, or all of it) are a Go trace, plain, gzip or zstd. It may still be unreadable.
bool gotrace_is(const uint8_t *p, size_t n);
// gotrace_is_file looks into a file. false also if it cannot be read.
bool gotrace_is_file(const char *path);
// gotrace_open opens a trace. NULL and err: not a trace, without AllocFree events (err says how to make one), too old, or damaged.
gotrace *gotrace_open(const char *path, gotrace_options o, gmt_error *err);
gotrace *gotrace_open_memory(const char *name, const uint8_t *p, size_t n, gotrace_options o, gmt_error *err);
void gotrace_close(gotrace *t);
// gotrace_next: 1 and an event, 0 at the end, -1 and err. A file that is damaged later than in its first generation opens, and fails here.
int gotrace_next(gotrace *t, gotrace_event *e, gmt_error *err);
// Valid until gotrace_close. type: from an event.
const gotrace_type *gotrace_type_of(const gotrace *t, uint32_t type);
uint32_t gotrace_types(const gotrace *t);       // numbers run from 1 to this
unsigned gotrace_version(const gotrace *t);     // NN of go1.NN
uint64_t gotrace_generations(const gotrace *t); // read so far
uint64_t gotrace_min_addr(const gotrace *t);    // the lowest address of the heap when the trace began
// Valid until gotrace_close. number: from an event; NULL: there is no such string.
const char *gotrace_string(const gotrace *t, uint64_t number);
// gotrace_counts: raw events of each of the 256 event types so far (for a comparison with golang.org/x/exp/trace).
const uint64_t *gotrace_counts(const gotrace *t);
// gotrace_salvaged: salvage left something out; why and where. NULL: the trace is whole.
const char *gotrace_salvaged(const gotrace *t);
// gotrace_read: bytes of the trace consumed so far, and its size: for progress.
uint64_t gotrace_read(const gotrace *t, uint64_t *size);

// gotrace_go names the Go of a version as far as a trace tells: "go1.26", "go1.23 or go1.24".
const char *gotrace_go(unsigned version, char buf[32]);
const char *gotrace_kind_name(gotrace_kind k);

#endif
