// replay.h: the closed-loop replay: the port makes every decision itself, from the recording's inputs alone.
//
// replay.c is compiled three times, against the lab build of the library (turns and events: every kind of decision is compared),
// against the one with a layout given at run time (the same, for releases of Go that decide otherwise) and against the plain one (no
// yield points: what its callers see is compared, for recordings of one P).
#ifndef GOMEM_TRACES_REPLAY_H
#define GOMEM_TRACES_REPLAY_H

#include <stdbool.h>
#include <stdint.h>

#include "gomem/layout.h"
#include "traces/gmt.h"

// The kinds of decision that a verdict counts.
typedef enum replay_kind {
	RK_TINY_CHOICE,
	RK_TINY_HIT,
	RK_TINY_NEW,
	RK_NOSCAN,
	RK_SCAN,
	RK_SCAN_HEADER,
	RK_LARGE,
	RK_REUSE,
	RK_REFILL,
	RK_REFILL_SPAN,
	RK_REFILL_CACHE,
	RK_PLACEMENT,
	RK_PUSH_SLOT,
	RK_POP,
	RK_POP_SLOT,
	RK_CENTRAL_INDEX,
	RK_ACQUIRE,
	RK_SWEEP,
	RK_PALLOC,
	RK_PALLOC_SEARCH,
	RK_PCREFILL,
	RK_PCALLOC,
	RK_PCFLUSH,
	RK_MSPAN,
	RK_SPAN_BASE,
	RK_SPAN_NELEMS,
	RK_SPAN_NEEDZERO,
	RK_SPAN_SCAV,
	RK_ZEROED,
	RK_SPANFREE,
	RK_HINT,
	RK_RESERVE,
	RK_ARENA,
	RK_GROW,
	RK_PAD,
	RK_SCAV_FIND,
	RK_SCAV_PAGES,
	RK_SCAV_EMPTY,
	RK_STACK,
	RK_SPOOL_ALLOC,
	RK_SPOOL_FREE,
	RK_SLARGE,
	RK_STACKSCAN,
	RK_SWEEPGEN,
	RK_MCACHE,
	RK_MAX
} replay_kind;

typedef struct replay_count {
	uint64_t total;   // decisions of this kind in the file, counted before the replay began
	uint64_t equal;   // equal to the recorded one, and nothing differed before
	uint64_t tainted; // equal, but after the first difference of any kind
	uint64_t differ;
	char first[768]; // the first difference, in words; empty: none
} replay_count;

typedef enum replay_status { REPLAY_EQUAL = 0, REPLAY_DIFFERS = 1, REPLAY_BAD_INPUT = 2 } replay_status;

typedef struct replay_options {
	bool real_os;        // map arenas at the recorded addresses and check that zeroed memory is zero
	bool plain;          // use the library without yield points
	const char *release; // decide as this release of Go does ("go1.24"); NULL: as the recorded one
	uint64_t max_heap;   // bytes of address space: a recording that wants more is refused; 0: 2 TiB
	void (*progress)(void *ctx, uint64_t done, uint64_t total); // NULL: none
	void *progress_ctx;
} replay_options;

typedef struct replay_result {
	replay_status status;
	const char *release; // of Go, that the port decided as; NULL: none that is known
	char error[1024];    // bad input, or why the replay stopped early; empty: it reached the end
	bool stopped;        // the port took another way than Go: what follows was not compared
	uint64_t stopped_at; // number of the event
	uint64_t events;     // events in the file
	uint64_t compared;   // decisions that were compared
	replay_count kinds[RK_MAX];
	uint64_t given[EV_MAX]; // inputs by kind of event
	uint64_t given_marks;   // sweeps that were given mark bits
	uint64_t zero_checked;  // objects found zeroed as asked (real memory)
	uint64_t zero_bytes;
	uint64_t os_calls;
	uint64_t peak_arena_bytes;
	double seconds;
} replay_result;

// replay_info names a kind of decision, its group, and says from which events its total is counted.
typedef struct replay_info {
	const char *group, *name, *key;
	uint8_t events[2]; // kinds of event, EV_NONE if fewer
	int8_t paths[2];   // malloc paths, -1 if none
	bool plain;        // visible without yield points
} replay_info;
extern const replay_info replay_infos[RK_MAX];

// replay_run replays one recording. r is read to its end; out is filled whatever happens.
void replay_run(gmt_reader *r, const replay_options *opt, replay_result *out);

// Each of the three by itself. L: the release's; the other two are go1.26.
void replay_run_rt(gmt_reader *r, const replay_options *opt, const gomem_layout *L, replay_result *out);
void replay_run_lab(gmt_reader *r, const replay_options *opt, replay_result *out);
void replay_run_plain(gmt_reader *r, const replay_options *opt, replay_result *out);

#endif
