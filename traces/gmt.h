// gmt.h: reading and writing recordings (.gmt), format version 1 (docs/FORMAT.md).
//
// A recording is a header, blocks of events (each compressed by zstd and hashed by xxh64), an index, and an end record that
// says how the recording ended. Events stand in one total order: the order within each stream is kept, and steps that
// need a turn stand in the order in which they were taken. The reader trusts nothing: each length, count and id is checked before use.
#ifndef GOMEM_TRACES_GMT_H
#define GOMEM_TRACES_GMT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gomem/lab.h"

enum {
	GMT_VERSION = 1,
	GMT_MAX_STREAMS = 65536,
	GMT_STREAM_M = 0x8000, // streams from here on are Ms without a P
	GMT_MAX_BLOCK_EVENTS = 65536,
	GMT_MAX_MARK_WORDS = 16, // 1024 objects: the most a small span holds
	GMT_MAX_STRING = 4096,
	GMT_MAX_SPANS = 1 << 28,
};

// How a recording ended.
typedef enum gmt_end_kind {
	GMT_END_UNKNOWN = 0, // what is left of a damaged recording: its end is not
	GMT_END_EXIT = 1,    // value: exit code
	GMT_END_SIGNAL = 2,  // value: signal number
	GMT_END_DISK = 3,    // the disk was full; value: errno
	GMT_END_ERROR = 4,   // the recorder stopped itself; value: errno
	GMT_END_EXEC = 5,    // the program replaced itself by exec
} gmt_end_kind;

// What the recorded program was given. Everything here is an input of a replay.
typedef struct gmt_header {
	char goversion[64];     // "go1.26.8"
	char goexperiment[256]; // as go env GOEXPERIMENT prints it
	char goos[16], goarch[16];
	char command[GMT_MAX_STRING];
	char godebug[256]; // the settings that the allocator reads, as "name=value,..."
	uint64_t page_size, phys_page_size, phys_huge_page_size, arena_bytes;
	uint64_t rand_seed; // the 64 bits that mallocinit drew
	bool randomize_heap_base, green_tea, size_specialized_malloc, runtime_freegc;
	uint32_t gomaxprocs; // at the start
} gmt_header;

// One event. a..d as in gomem/lab.h; a field that names a span holds its number: 1 + the order of first appearance of its mspan
// structure in the recording (0: none). marks: only with EV_SWEEP, (nelems + 63) / 64 words where 0 < nalloc < nelems, else none.
typedef struct gmt_event {
	uint8_t kind;
	uint8_t nmarks;      // words at marks
	uint16_t stream;     // P id, or GMT_STREAM_M + number of the M
	uint32_t mark_index; // index of the first word in the block's marks
	uint64_t a, b, c, d;
} gmt_event;

// A decoded block. Valid until the next call on its reader.
typedef struct gmt_block {
	uint64_t first; // number of its first event in the recording
	uint32_t n;
	const gmt_event *events;
	const uint64_t *marks;
	uint64_t nmarks;
} gmt_block;

// An error: a message that names the file, the offset in it and the reason.
typedef struct gmt_error {
	char text[512];
} gmt_error;

// A file in memory.
typedef struct gmt_memory {
	uint8_t *p; // from malloc
	size_t n;
} gmt_memory;

typedef struct gmt_reader gmt_reader;
typedef struct gmt_writer gmt_writer;

// gmt_open opens a recording and reads header, index and end record. Returns NULL and fills err on bad input.
gmt_reader *gmt_open(const char *path, gmt_error *err);
// What is left of a damaged recording: the blocks before the first that is damaged or cut, if there are any; their events are counted, whatever
// the index says.
typedef struct gmt_options {
	bool salvage; // read and check all of it, and leave out what stands behind damage, instead of refusing the file
} gmt_options;
gmt_reader *gmt_open_with(const char *path, gmt_options o, gmt_error *err);
// gmt_reader_salvaged: salvage left something out; why and where. NULL: the recording is whole.
const char *gmt_reader_salvaged(const gmt_reader *r);
// gmt_open_memory does the same with the bytes of a recording, which stay the caller's until gmt_close. name: for messages.
gmt_reader *gmt_open_memory(const char *name, const uint8_t *p, size_t n, gmt_error *err);
// gmt_open_events gives a reader of events that stand in memory as they are (at most a block; the caller's until gmt_close), with valid
// kinds, span numbers and marks: what reads recordings can be given one that was never a file. NULL: out of memory.
gmt_reader *gmt_open_events(const gmt_header *h, const gmt_block *block, gmt_error *err);
void gmt_close(gmt_reader *r);
const gmt_header *gmt_reader_header(const gmt_reader *r);
uint64_t gmt_reader_events(const gmt_reader *r);
// Span numbers in the recording run from 1 to this; the reader checks each, and that a number appears only after all smaller ones.
uint64_t gmt_reader_spans(const gmt_reader *r);
// Events of kind k in the recording, as its index claims; gmt_next verifies the claim at the end.
uint64_t gmt_reader_count(const gmt_reader *r, gomem_ev k);
// Mallocs by path (GOMEM_PATH_*), EV_MALLOC and EV_MALLOCEND together; verified like the counts.
uint64_t gmt_reader_path_count(const gmt_reader *r, unsigned path);
gmt_end_kind gmt_reader_end(const gmt_reader *r, uint64_t *value);
// gmt_next decodes the next block. Returns 1, 0 at the end (all counts verified), -1 and err on bad input.
int gmt_next(gmt_reader *r, gmt_block *block, gmt_error *err);
// gmt_seek positions at the block that holds the event. Counts are not verified after a seek. 0 on success, -1 and err.
int gmt_seek(gmt_reader *r, uint64_t event, gmt_error *err);

// gmt_create starts a recording (path must not exist; 0600). Events are added in their total order.
gmt_writer *gmt_create(const char *path, const gmt_header *h, gmt_error *err);
// gmt_create_memory starts one in memory. A good gmt_finish fills *to (the caller frees to->p); until then it is empty.
gmt_writer *gmt_create_memory(const char *name, const gmt_header *h, gmt_memory *to, gmt_error *err);
// The zstd level from here on, 1 to 19 (at the start 9).
void gmt_set_level(gmt_writer *w, int level);
// marks: e->nmarks words (e->mark_index is ignored). 0, or -1 and err.
int gmt_write(gmt_writer *w, const gmt_event *e, const uint64_t *marks, gmt_error *err);
// gmt_end_block: events from here on go into a new block. 0, or -1 and err.
int gmt_end_block(gmt_writer *w, gmt_error *err);
// gmt_finish writes index and end record and closes; on failure the file is removed. 0, or -1 and err. Frees w.
int gmt_finish(gmt_writer *w, gmt_end_kind end, uint64_t value, gmt_error *err);
// gmt_abandon closes and removes the file. Frees w.
void gmt_abandon(gmt_writer *w);

// Static facts about a kind of event.
typedef struct gmt_kind_info {
	const char *name;   // "push"
	uint8_t nargs;      // fields that it has: a, then b, c, d; the others are 0
	bool turn;          // has a place in the global order of turns
	bool input;         // an operation or a given; else an answer
	uint8_t span_field; // which field holds a span number: 0 none, 'b'
} gmt_kind_info;
const gmt_kind_info *gmt_kind(gomem_ev k);
// gmt_program_end gives where a program ended that reserved address space behind that before anything else, as one with 32-bit words does: then
// it is known to an arena. e: the first event of its recording. 0: it reserved none.
uint64_t gmt_program_end(const gmt_event *e, const gmt_event *end);

// What an import found. turns < turns_claimed: the log was cut, and the recording ends before the first turn that is missing.
typedef struct gmt_import {
	uint64_t events;
	uint64_t turns, turns_claimed;
	bool cut;
} gmt_import;

// gmt_import_raw turns the raw log of the recorder (traces/recorder/RAW.md) into a recording. end/value: how the program ended, as its
// parent saw it; a log that says that it stopped itself (disk full) overrides it. found may be NULL. 0, or -1 and err.
// A log cut anywhere (crash, kill) gives the longest prefix in which no turn is missing.
int gmt_import_raw(const char *raw, const char *out, const gmt_header *h, gmt_end_kind end, uint64_t value,
	gmt_import *found, gmt_error *err);
// gmt_import_memory does the same with a log in memory (name: for messages) and a recording in memory (the caller frees out->p).
int gmt_import_memory(const char *name, gmt_memory log, gmt_memory *out, const gmt_header *h, gmt_end_kind end,
	uint64_t value, gmt_import *found, gmt_error *err);

#endif
