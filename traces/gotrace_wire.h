// gotrace_wire.h (private to gotrace*.c): a Go trace as bytes, batches and tables. docs/TRACES.md describes the format.
//
//   file       = "go 1.NN trace\0\0\0", record*
//   record     = 1, gen, M, time, n, n bytes | 49, experiment, gen, M, time, n, n bytes | 52 (since 1.26: the generation ends)
//   generation = the records with the same gen; they lie together. Its tables hold for it alone and may stand behind what uses them
//
// One generation is in memory at a time: the bytes of its batches of events as they were, undecoded; its tables decoded. The GT_MAX below bound what a
// file that wants to do harm can ask for; docs/TRACES.md adds them up. Work is linear in the bytes of the uncompressed trace: what is kept from
// one generation to the next is looked at through hashes, and only if the next one mentions it.
#ifndef GOMEM_TRACES_GOTRACE_WIRE_H
#define GOMEM_TRACES_GOTRACE_WIRE_H

#include <stdlib.h>
#include <string.h>

#include "traces/gmt_format.h"
#include "traces/gotrace.h"
#include "traces/grow.h"

enum {
	GT_HEADER = 16,
	GT_MAX_BATCH = 65536,
	GT_MAX_BATCHES = 1 << 18, // in a generation, empty ones too
	GT_MAX_MS = 1 << 17,
	GT_MAX_PS = 1 << 16,
	GT_MAX_STRINGS = 1 << 20,    // in a generation
	GT_MAX_STACKS = 1 << 18,     // in a generation, if they are kept
	GT_FRAMES = 8,               // of a stack that are kept: the innermost ones
	GT_MAX_TYPES = 1 << 18,      // of a trace
	GT_MAX_TYPE_NAMES = 1 << 26, // bytes of their names
	GT_MAX_REASONS = 1 << 10,    // to stop the world, of a trace
	GT_MAX_GENERATION = 1 << 30,
	// Traces are numbers that differ: compressed, they are a third. What a file becomes beyond the first bytes, no trace does.
	GT_EXPANSION = 100,
	GT_EXPANSION_FREE = 1 << 26,
	GT_ARGS = 4,
};
#define GT_NO_M UINT64_MAX // the M of batches that belong to none

// Types of events, as bytes in the file.
enum {
	GT_EV_BATCH = 1,
	GT_EV_STACKS = 2,
	GT_EV_STACK = 3,
	GT_EV_STRINGS = 4,
	GT_EV_STRING = 5,
	GT_EV_CPU_SAMPLES = 6,
	GT_EV_CPU_SAMPLE = 7,
	GT_EV_FREQUENCY = 8,
	GT_EV_PROCS_CHANGE = 9,
	GT_EV_PROC_START = 10,
	GT_EV_PROC_STOP = 11,
	GT_EV_PROC_STEAL = 12,
	GT_EV_PROC_STATUS = 13,
	GT_EV_GO_START = 16,
	GT_EV_GO_STOP = 19,
	GT_EV_GO_BLOCK = 20,
	GT_EV_GO_SYSCALL_BEGIN = 22,
	GT_EV_STW_BEGIN = 26,
	GT_EV_STW_END = 27,
	GT_EV_GC_BEGIN = 29,
	GT_EV_GC_END = 30,
	GT_EV_SWEEP_BEGIN = 32,
	GT_EV_SWEEP_END = 33,
	GT_EV_HEAP_ALLOC = 37,
	GT_EV_HEAP_GOAL = 38,
	GT_EV_EXPERIMENTAL = 49,
	GT_EV_SYNC = 50,
	GT_EV_CLOCK = 51,
	GT_EV_END = 52,
	GT_EV_SPAN = 128,
	GT_EV_SPAN_ALLOC,
	GT_EV_SPAN_FREE,
	GT_EV_OBJECT,
	GT_EV_OBJECT_ALLOC,
	GT_EV_OBJECT_FREE,
	GT_EV_STACK_SNAP,
	GT_EV_STACK_ALLOC,
	GT_EV_STACK_FREE,
};

// ---- bytes

// A file or memory, decompressed as it is read. [p, end): bytes that are there already.
typedef struct gt_input {
	const uint8_t *p, *end;
	uint64_t offset;    // of p, decompressed
	uint64_t file;      // bytes of the file read so far
	uint64_t size;      // of the file
	int fd;             // -1: memory
	int kind;           // GT_PLAIN, ...
	bool middle;        // of a gzip member or a zstd frame
	bool ended;         // no more bytes from the file
	const uint8_t *raw; // of the file, not yet decompressed from raw_at on
	size_t raw_at, raw_n;
	uint8_t *buffer, *out;
	void *stream; // z_stream or ZSTD_DStream
} gt_input;

enum { GT_PLAIN, GT_GZIP, GT_ZSTD };

// gt_compression: how a file that begins with these bytes is compressed.
int gt_compression(const uint8_t *p, size_t n);
// mem == NULL: opens path. 0, or -1 and err.
int gt_input_open(gt_input *in, const char *path, const uint8_t *mem, size_t n, gmt_error *err);
void gt_input_close(gt_input *in);
// gt_input_more: 1 there are bytes, 0 the end, -1 and why.
int gt_input_more(gt_input *in, const char **why);
// gt_input_bytes: n bytes to *to; fewer only at the end: how many there were in *got. 0, or -1 and why.
int gt_input_bytes(gt_input *in, uint8_t *to, size_t n, size_t *got, const char **why);

// gt_varint reads a number of at most 10 bytes that lies before end. NULL: there is none.
static inline const uint8_t *gt_varint(const uint8_t *p, const uint8_t *end, uint64_t *to) {
	if (p < end && *p < 0x80) {
		*to = *p;
		return p + 1;
	}
	uint64_t v = 0;
	for (unsigned shift = 0; shift < 70 && p < end; shift += 7) {
		uint8_t b = *p++;
		if (shift == 63 && b > 1) {
			return NULL;
		}
		v |= (uint64_t)(b & 0x7f) << shift;
		if (b < 0x80) {
			*to = v;
			return p;
		}
	}
	return NULL;
}

// ---- a map from numbers to numbers that are not 0

typedef struct gt_map {
	uint64_t *keys, *vals;
	size_t room, n; // room: a power of two, or 0
	uint64_t seed;  // so that nobody can prepare keys that collide
} gt_map;

uint64_t gt_map_get(const gt_map *m, uint64_t key); // 0: it is not there
void gt_map_free(gt_map *m);

// ---- a generation

typedef struct gt_batch {
	const uint8_t *p;
	uint64_t time, offset; // offset: of p
	uint32_t n;
	uint32_t next; // of the same M, + 1
} gt_batch;

// An event that was read but not yet told.
typedef struct gt_head {
	const char *why; // not NULL: it is not an event, and this is why
	uint64_t time;   // in units of the trace
	uint64_t earliest;
	uint64_t offset;
	uint64_t a[GT_ARGS];
	uint8_t type;
} gt_head;

// Where the next event of an M is read.
typedef struct gt_walk {
	const uint8_t *p, *end;
	uint64_t time;
	uint64_t earliest; // the last time that the clock had: an event that comes before its next tick counts one on
	uint64_t offset;   // of end
	uint32_t batch;    // next, + 1
} gt_walk;

typedef struct gt_m {
	uint64_t id;
	uint32_t first, last; // batch of this generation, + 1
	int32_t p;            // -1: none
	int32_t next_p;       // if peeked
	bool peeked, live;    // live: head is an event of this generation
	gt_walk walk;
	gt_head head;
} gt_m;

typedef struct gt_string {
	const uint8_t *p; // NULL: mentioned, not defined
	uint64_t id;
	uint64_t offset; // of its first mention
	uint32_t n;
	uint32_t number; // in gotrace.names, + 1
} gt_string;

// The functions of a stack, from the innermost one on: indices in strings + 1, 0 behind the last one.
typedef struct gt_stack {
	uint32_t functions[GT_FRAMES];
} gt_stack;

typedef struct gt_chunk {
	struct gt_chunk *next;
	size_t used;
	uint8_t bytes[];
} gt_chunk;

typedef struct gt_place {
	uint64_t m, time;
} gt_place;

// The header of a batch.
typedef struct gt_header {
	uint64_t at; // offset of the record
	uint64_t gen, m, time, n;
	uint8_t experiment;
} gt_header;

typedef struct gt_p {
	uint64_t gen, seq;         // of the last event that has one: start, steal, and where its M begins a system call
	uint64_t held, held_until; // that steal waits, until then
	uint32_t m;                // who has it, + 1
} gt_p;

typedef struct gt_node {
	uint64_t time, id;
	uint32_t m;
} gt_node;

struct gotrace {
	char *path;
	gt_input in;
	unsigned version;
	gotrace_options options;
	bool has_info;
	bool spilled; // the first batch of the next generation was met
	uint64_t counts[256];
	uint8_t args[256]; // 1 + the numbers of each type of event behind its time, 0: undefined in this version
	uint64_t min_addr, fixed_stack;

	// The generation.
	uint64_t gen, generations;
	gt_header spill;    // if spilled: that batch, read up to its bytes
	uint64_t bytes;     // kept of it
	uint64_t frequency; // 0: not yet seen
	gt_chunk *chunks, *chunk;
	gt_batch *batches;
	size_t nbatches, batch_room;
	gt_map places; // of a key made of M and time: index in headers + 1
	gt_place *headers;
	size_t nheaders, header_room;
	gt_map string_ids, type_ids; // string_ids: index in strings + 1; type_ids: number of the type
	gt_string *strings;
	size_t nstrings, string_room;
	gt_map stack_ids; // index in stacks + 1; only if goroutines are asked for
	gt_stack *stacks;
	size_t nstacks, stack_room;

	// The trace.
	gt_map m_ids; // index in ms + 1
	gt_m *ms;
	size_t nms, m_room;
	uint32_t *active; // Ms that have batches in this generation
	size_t nactive, active_room;
	gt_p *ps;
	size_t p_room;
	gotrace_type *types;
	size_t ntypes, type_room;
	size_t type_names; // bytes
	gt_map type_hash;  // of what a type is: number of the last type with that
	gt_map name_hash;  // of a text: index in names + 1
	char **names;      // reasons to stop the world
	size_t nnames, name_room;

	// The merge.
	gt_node *heap;
	size_t nheap, heap_room;
	uint32_t snap;                   // M that tells what was there at the start, + 1
	uint64_t snap_left;              // events of it that come first
	bool snap_told, snap_end;        // snap_end: its end is the next event
	uint64_t epoch;                  // time 0
	uint64_t unit;                   // ns, or 0: by frequency
	uint64_t last_time, last_offset; // of the event told last
	bool done;
	bool damaged; // failed because of the file's bytes
	int failed;
	gmt_error err;
	char *salvaged;
};

// gt_fail writes an error at an offset of the trace, keeps it, and returns -1.
__attribute__((format(printf, 3, 4))) int gt_fail(gotrace *t, uint64_t offset, const char *fmt, ...);
// gt_read_header reads the first 16 bytes. 0, or -1.
int gt_read_header(gotrace *t);
// gt_read_generation reads the next generation: 1, 0 at the end, -1.
int gt_read_generation(gotrace *t);
// gt_decode reads the next event of an M: true, or false at the end of its batches.
bool gt_decode(const gotrace *t, gt_walk *w, gt_head *h);
static inline bool gt_is_snapshot(uint8_t type) {
	return type == GT_EV_SPAN || type == GT_EV_OBJECT || type == GT_EV_STACK_SNAP;
}
// gt_number_of gives a reason to stop the world, a string of this generation, its number in the trace, + 1. 0: out of memory, or there are too
// many. *s: defined. offset: of who mentions it.
uint32_t gt_number_of(gotrace *t, gt_string *s, uint64_t offset);

#endif
