// whatif.h: the requests of a recording, or of a trace of stock Go, served by an allocator with other constants (docs/WHATIF.md).
//
// A what-if has two steps. whatif_read_lives reads the recording and finds for each malloc the cycle whose sweep found the object dead.
// whatif_run serves the same requests from a heap of the run-time variant of the port. An *object* is named by the number of its malloc, never
// by its address: so the lives hold for any constants. A trace has slots and no sizes: whatif_read_trace finds the bounds of each size, and
// whatif_run_trace serves the smallest requests, or the largest.
//
// Invariants, for any constants:
//   an object is marked in cycle c iff death[object] > c (a tiny block: the last death of what was put into it)
//   bytes of spans in use == asked + slot waste + free slots + tail waste, for each span class and for their sum
// and of a recording, with its constants: each decision equals the recorded one.
#ifndef GOMEM_TRACES_WHATIF_H
#define GOMEM_TRACES_WHATIF_H

#include "gomem/layout.h"
#include "traces/gmt.h"

enum { WHATIF_SPAN_CLASSES = 256, WHATIF_PLOT_POINTS = 200 };
static const uint32_t WHATIF_NEVER = UINT32_MAX;

// A span that an input of the recording names (reclaim, ensureSwept): the span that holds this object.
typedef struct whatif_target {
	uint64_t event;  // number of the input
	uint64_t object; // number of the malloc; WHATIF_NEVER: the span was empty
} whatif_target;

typedef struct whatif_lives {
	uint64_t n;      // mallocs
	uint32_t *death; // by number of the malloc: the cycle that found the object dead; WHATIF_NEVER: none did
	uint64_t *sweep; // by number of the malloc: the event of that sweep; NULL: of a trace
	whatif_target *targets;
	uint64_t ntargets;
	uint8_t *isLast;  // by event, a bit each: no further event of its stream belongs to the operation
	uint64_t answers; // decisions in the recording: answers, and mallocs that were served at once
	uint32_t cycles;
} whatif_lives;

// whatif_read_lives reads all of r. 0, or -1 and err. The caller frees with whatif_lives_free.
int whatif_read_lives(gmt_reader *r, whatif_lives *lives, gmt_error *err);
void whatif_lives_free(whatif_lives *lives);

// What may be changed. whatif_config_recorded gives the constants of the recording.
typedef struct whatif_config {
	gomem_layout layout; // layout.classes is set by whatif_run: NULL, or to classes
	gomem_size_classes classes;
	bool ownClasses; // classes are used, and not Go's
	bool greenTea, randomBase;
	bool hugePages;   // the simulated OS backs untouched huge pages as a whole
	bool paced;       // cycles by the pacer instead of the recorded ones
	bool neverGC;     // GOGC=off
	bool earlyDeaths; // with paced: what a recorded cycle found dead was dead from the cycle before on
	uint64_t physPageSize, physHugePageSize;
	uint64_t gogc;           // percent
	uint64_t memoryLimit;    // bytes; 0: none
	const char *sizeClasses; // as the user wrote it, NULL: Go's rules for the page size; must outlive the configuration
} whatif_config;

// A span class at one moment: bytes == asked + slotWaste + freeSlots + tail.
typedef struct whatif_class {
	uint32_t size; // of a slot; 0: large objects
	uint64_t spans, bytes;
	uint64_t objects;   // slots taken: alive, or dead and not yet swept
	uint64_t asked;     // bytes that the program asked for in them
	uint64_t slotWaste; // what rounding up took, headers too
	uint64_t freeSlots; // bytes of free slots
	uint64_t tail;      // what no slot covers: the rest of a span, its pointer bitmap and inline mark bits
} whatif_class;

typedef struct whatif_point {
	uint64_t malloc; // so many mallocs were done
	uint64_t inUse, rss;
} whatif_point;

typedef struct whatif_result {
	char error[1024]; // the run ended early; empty: it did not
	uint64_t mallocs, stacks;
	uint64_t same;   // decisions equal to the recorded ones
	char first[512]; // the first that was not, in words
	uint64_t cycles;
	// the heap
	whatif_class classes[WHATIF_SPAN_CLASSES];                           // by span class, when most bytes were in use
	whatif_class sum;                                                    // their sum
	uint64_t peakMalloc;                                                 // after so many mallocs
	double meanInUse, meanAsked, meanSlotWaste, meanFreeSlots, meanTail; // over all mallocs
	uint64_t peakStacks;                                                 // bytes of stack spans
	uint64_t peakCommitted; // spans, stacks, work buffers, free pages that were not given back to the OS
	uint64_t peakMapped;    // address space handed to the page allocator
	uint64_t reserved;      // arenas
	uint64_t spansMade;     // spans of objects
	// the simulated OS
	uint64_t peakRSS, endRSS; // heap pages with memory behind them
	uint64_t faults;
	uint64_t systemCalls;
	uint64_t untranslated; // inputs that name a span or stack which this heap doesn't have
	whatif_point points[WHATIF_PLOT_POINTS];
	unsigned npoints;
	double seconds;
} whatif_result;

typedef struct whatif_progress {
	void (*call)(void *ctx, uint64_t done, uint64_t total); // NULL: none
	void *ctx;
} whatif_progress;

// whatif_unsupported names what in a recording cannot be followed. NULL: nothing.
const char *whatif_unsupported(const gmt_header *head);
void whatif_config_recorded(whatif_config *c, const gmt_header *head);
// whatif_run serves the requests of r, which is read to its end. 0, or -1 and out->error: bad input, or these constants led to a contradiction.
int whatif_run(
	gmt_reader *r, const whatif_lives *lives, const whatif_config *c, whatif_progress progress, whatif_result *out);

// ---- whatif_trace.c: the requests of a trace of stock Go. It has slots, not sizes: an object was asked for with low to high bytes.
typedef enum whatif_op_kind {
	WHATIF_MALLOC,      // low, high, scan; n: number of the object
	WHATIF_MANUAL,      // a stack or a work buffer: low: bytes, n: its number, from 1 on
	WHATIF_MANUAL_FREE, // n: its number
	WHATIF_SWEPT,       // n: so many objects more were found dead in this cycle
	WHATIF_CYCLE,       // n: a cycle has marked what lives, and its sweep begins
	WHATIF_PROCS,       // n: GOMAXPROCS
} whatif_op_kind;

typedef struct whatif_op {
	uint64_t low, high;
	uint32_t n;
	uint16_t p;
	uint8_t kind;
	bool scan;
} whatif_op;

// Cycle 0 frees the gaps that were there at the start; cycle 1 is the sweep under way then; the trace's own cycles follow.
// 0 < low <= high, of each malloc; both lie in the slot's size class.
typedef struct whatif_trace {
	whatif_lives lives; // deaths by number; neither targets nor answers
	whatif_op *start;   // what was there at the start, by address; a gap is an object that dies in cycle 0
	whatif_op *ops;
	uint64_t nstart, nops;
	uint32_t *freed;       // by cycle: how many objects its sweep found dead
	uint64_t mallocs;      // after the start
	uint64_t startObjects; // at the start
	uint64_t exact;        // mallocs of which low == high
	uint64_t late;         // mallocs told after their death
	uint64_t peakInUse;    // bytes of spans of objects, as Go had them
	unsigned version;      // NN of go1.NN
	uint32_t procs, cycles;
	bool greenTea;
	uint64_t events;
	char *salvaged; // why there are no more, of a damaged trace; NULL: it is whole
} whatif_trace;

// whatif_read_trace: false and err: not a trace, or one that cannot be used. salvage: of a damaged one, what is before the damage. The caller frees
// with whatif_trace_free.
bool whatif_read_trace(const char *path, bool salvage, whatif_trace *t, whatif_progress progress, gmt_error *err);
void whatif_trace_free(whatif_trace *t);
// whatif_config_trace gives Go's constants; of the OS, which a trace doesn't tell, those of linux/amd64.
void whatif_config_trace(whatif_config *c, const whatif_trace *t);
// whatif_run_trace serves each request whole, with its smallest size or its largest, in the order of the trace. As whatif_run.
int whatif_run_trace(
	const whatif_trace *t, bool largest, const whatif_config *c, whatif_progress progress, whatif_result *out);

// ---- whatif_options.c: constants from the words of a user. Each gives NULL, or why not (in why, which it returns).
enum { WHATIF_WHY = 512 };
typedef struct whatif_option {
	const char *name;  // "--page-size"
	const char *value; // what it takes, for the usage; NULL: nothing
	const char *help;
} whatif_option;
extern const whatif_option whatif_options[];
extern const unsigned whatif_noptions;
// whatif_no_trace says why an option makes no sense for a trace of stock Go. NULL: it does.
const char *whatif_no_trace(const char *option);
// whatif_set changes one constant. Sizes may end with KiB, MiB, GiB (or K, M, G).
const char *whatif_set(whatif_config *c, const char *option, const char *value, char why[WHATIF_WHY]);
// whatif_settle computes what follows from the constants, and checks that all of them go together.
const char *whatif_settle(whatif_config *c, char why[WHATIF_WHY]);

// ---- whatif_plot.c
enum { WHATIF_LINES = 6 };
typedef struct whatif_line {
	const char *name;
	unsigned n;
	double x[WHATIF_PLOT_POINTS], y[WHATIF_PLOT_POINTS];
} whatif_line;
typedef struct whatif_plot {
	const char *title, *x;
	unsigned nlines;
	whatif_line lines[WHATIF_LINES];
	const char *names[WHATIF_PLOT_POINTS]; // of the points, where x is no number
} whatif_plot;
// whatif_draw writes an SVG file. NULL, or why not.
const char *whatif_draw(const whatif_plot *p, const char *path, char why[WHATIF_WHY]);

#endif
