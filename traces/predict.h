// predict.h: predict and compare: what the port would have done at each step of a stock Go trace, and what Go did.
//
// A stock trace tells where Go put each object and span, and what each sweep freed; not sizes, marks, or the state of caches at the start.
// The real port runs beside it: its heap has Go's spans at Go's addresses, and before each event it says what comes. Then its state is made
// Go's, so that one difference does not cause the next. docs/PREDICT.md has the rules.
//
//   all == equal + late + adopted + mismatch, for each kind
#ifndef GOMEM_TRACES_PREDICT_H
#define GOMEM_TRACES_PREDICT_H

#include "traces/gotrace.h"

#include <stdio.h>

typedef enum predict_kind {
	PREDICT_TINY,        // slots of the class of tiny blocks, new ones and those that are shared
	PREDICT_SMALL,       // all other slots of spans of many objects
	PREDICT_LARGE,       // objects with a span of their own
	PREDICT_REFILL,      // which span a P's cache gets: one of mcentral's four sets, or a new one
	PREDICT_SPAN_SMALL,  // addresses of spans for many objects
	PREDICT_SPAN_LARGE,  // ... for one object
	PREDICT_SPAN_MANUAL, // ... for stacks and work buffers
	PREDICT_KINDS
} predict_kind;

typedef struct predict_count {
	uint64_t all;
	uint64_t equal;
	uint64_t late;     // an object told after its neighbours, or by another P
	uint64_t adopted;  // it depends on state from before the trace
	uint64_t mismatch; // Go did something else
} predict_count;

typedef struct predict_mismatch {
	predict_kind kind;
	uint64_t event, offset;
	int32_t p;
	uint16_t class;
	uint64_t predicted, actual; // addresses; 0: none
	const char *why;
} predict_mismatch;

// Where the events come from: next as gotrace_next; rewind begins again, since the sweeps are wanted in advance.
typedef struct predict_source {
	void *ctx;
	int (*next)(void *ctx, gotrace_event *e, gmt_error *err);
	bool (*rewind)(void *ctx, gmt_error *err);
	const char *(*string)(void *ctx, uint64_t number); // NULL: none are known
	uint64_t min_addr;
	unsigned version; // NN of go1.NN
} predict_source;

// The events of a file.
typedef struct predict_trace {
	const char *path;
	gotrace_options o;
	gotrace *t;      // close with gotrace_close
	unsigned passes; // begun so far
} predict_trace;

// predict_trace_open opens f->path. source: of f, which it rewinds; it lives as long as f.
bool predict_trace_open(predict_trace *f, gmt_error *err);
predict_source predict_trace_source(predict_trace *f);

typedef struct predict_options {
	uint32_t mismatches;                         // how many are described
	void (*progress)(void *ctx, uint64_t event); // NULL: none
	void *progress_ctx;
} predict_options;

typedef struct predict_result {
	predict_count kinds[PREDICT_KINDS];
	uint64_t events, cycles, snapshot_spans, snapshot_objects;
	uint64_t given[GOTRACE_KINDS]; // events by kind
	uint64_t untold;               // spans that only their end tells
	uint64_t early;                // objects that were taken before they were told
	uint64_t open;                 // refills at which the trace does not tell which of two spans came first
	uint64_t orders;               // at so many of them Go took another one than the port: they are equal, too
	int32_t procs;                 // Ps that did something
	bool green_tea;
	char stopped[256];      // the port threw, and why: what follows was not compared. Empty: it reached the end
	predict_mismatch *list; // the first ones; free with predict_result_free
	uint32_t listed;
} predict_result;

// predict_run: false and err: the source or memory failed.
bool predict_run(const predict_source *src, const predict_options *opt, predict_result *out, gmt_error *err);
void predict_result_free(predict_result *r);

// predict_file is `gomem replay` for a Go trace: predicts, compares and prints. Returns an exit code: 0 nothing else happened than predicted,
// 1 a mismatch, 2 bad input.
typedef struct predict_file_options {
	bool json, quiet, salvage;
	uint32_t mismatches;
} predict_file_options;
int predict_file(const char *path, const predict_file_options *opt);

extern const char *const predict_kind_names[PREDICT_KINDS];

#endif
