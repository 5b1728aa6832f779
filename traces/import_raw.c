// import_raw.c: turns the raw log of the recorder inside Go (recorder/RAW.md) into a recording.
//
// The log is one buffer for each P and one that all Ms without a P share. Steps whose order among streams matters carry turn numbers:
// each record with turn t is preceded by all records with smaller turns, by what stands before it in its own stream, and by
// what stands before the position that it names in another stream.
//
//   turns emitted == 0, 1, 2, ... without a gap; the first gap ends the recording (the log was cut there)
//   span numbers == 1 + order of first appearance of the mspan's address among the events emitted
//
// The log is hostile: a program under test may have scribbled on it. Memory: 24 bytes for each chunk and mspan, and a chunk a stream.
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "traces/gmt_format.h"

#define RAW_MAGIC 0x5741524d454d4f47u
#define CHUNK_MAGIC 0x4b4e554843574152u
#define NO_TURN UINT64_MAX

enum {
	RAW_HEADER = 4096,
	CHUNK_BYTES = 262144,
	CHUNK_WORDS = CHUNK_BYTES / 8,
	CHUNK_HEAD = 4, // words
	LONGEST_RECORD = 7 + GMT_MAX_MARK_WORDS,
	SHARED = 0xffff,
	NOBODY = 0xffff,
	KIND_POSITION = 255,
	AT_VERSION = 8,
	AT_STATE = 16,
	AT_CHUNK_BYTES = 32,
	AT_CHUNKS = 40,
	AT_TURN = 48,
	AT_STOP = 56,
	AT_ERRNO = 64,
	AT_PAGE = 72,
	AT_PHYS_PAGE = 80,
	AT_PHYS_HUGE = 88,
	AT_ARENA = 96,
	AT_SEED = 104,
	AT_FLAGS = 112,
	AT_MAXPROCS = 120,
	AT_DEBUG = 128,
	AT_GOVERSION = 512,
	MAX_GOVERSION = 256,
	STATE_WAITING = 0,
	STATE_RECORDING = 1,
	STATE_REPLACED = 2,
	STOP_NONE = 0,
	STOP_DISK = 1,
	STOP_ERROR = 2,
	MALLOC_NOSCAN = 8,
	MALLOC_NEEDZERO = 16,
	MALLOC_BIG = 32,
	MALLOC_FLAGS = 63,
	FLAG_386 = 32,
};

typedef struct chunk {
	uint64_t ordinal;
	uint32_t index; // in the file
	uint16_t stream;
} chunk;

// The slow malloc that a P or M is in.
typedef struct open_malloc {
	bool open;
	uint64_t size, flags;
} open_malloc;

// A stream of the log, and how far it was emitted.
typedef struct stream {
	const chunk *chunks;
	uint32_t nchunks;
	uint16_t id;
	uint32_t at;                // current chunk
	uint32_t off;               // word in it
	uint64_t turn;              // next turn number in it, NO_TURN if none is left
	uint32_t look_at, look_off; // behind the record with that number
	open_malloc malloc;         // of a P
} stream;

typedef struct record {
	uint8_t kind, nargs;
	uint64_t offset;  // in the file
	uint32_t n;       // words
	uint64_t args[4]; // of the event; EV_MALLOC: size, flags, path, address
	const uint8_t *marks;
	uint32_t nmarks;
	uint64_t position; // in the stream of P of; NO_TURN if it names none
	uint64_t of;
	uint64_t m, turn;
} record;

// Numbers from 1 by first appearance: an open hash table from keys that are not 0.
typedef struct numbering {
	struct {
		uint64_t key, number;
	} * slots;
	uint64_t n, room; // room is a power of two, 2 * n <= room
} numbering;

typedef struct importer {
	const char *raw;
	gmt_error *err;
	int fd;
	const uint8_t *map;
	bool mapped; // by us: pages that are done can be given back
	uint64_t size;
	chunk *chunks;
	uint32_t nchunks;
	stream *streams; // by id
	uint32_t nstreams;
	uint32_t *heap; // streams with turns left, by next turn
	uint32_t nheap;
	numbering spans;      // by the mspan's address
	numbering ms;         // by 1 + the M's id
	open_malloc *mallocs; // by number of the M - 1
	uint64_t malloc_room;
	gmt_writer *writer;
	uint64_t turns, events;
	bool cut;   // a position leads behind the end of its stream: the log ends here
	bool hole;  // a record is missing in the middle of a stream
	bool whole; // nothing is missing
} importer;

__attribute__((format(printf, 3, 4))) static int bad(importer *im, uint64_t offset, const char *fmt, ...) {
	char text[256];
	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return gmt_fail(im->err, im->raw, offset, "%s", text);
}

static int no_memory(importer *im) { return bad(im, GMT_NO_OFFSET, "out of memory"); }

static uint64_t header_word(const importer *im, unsigned at) { return gmt_get64(im->map + at); }

// ---- chunks and streams

static uint64_t chunk_offset(const chunk *c) { return RAW_HEADER + (uint64_t)c->index * CHUNK_BYTES; }

// Words of the chunk that the file holds.
static uint32_t chunk_words(const importer *im, const chunk *c) {
	uint64_t left = (im->size - chunk_offset(c)) / 8;
	return left < CHUNK_WORDS ? (uint32_t)left : CHUNK_WORDS;
}

static int by_stream(const void *a, const void *b) {
	const chunk *x = a;
	const chunk *y = b;
	if (x->stream != y->stream) {
		return x->stream < y->stream ? -1 : 1;
	}
	return x->ordinal < y->ordinal ? -1 : x->ordinal > y->ordinal;
}

static int find_chunks(importer *im) {
	uint64_t room = (im->size - RAW_HEADER + CHUNK_BYTES - 1) / CHUNK_BYTES;
	uint64_t handed = header_word(im, AT_CHUNKS);
	uint64_t n = handed < room ? handed : room;
	if (n > UINT32_MAX) {
		return bad(im, AT_CHUNKS, "more chunks than a log can have");
	}
	im->chunks = calloc((size_t)(n + 1), sizeof(*im->chunks));
	if (im->chunks == NULL) {
		return no_memory(im);
	}
	for (uint32_t i = 0; i < n; i++) {
		chunk c = {.index = i};
		uint64_t at = chunk_offset(&c);
		const uint8_t *p = im->map + at;
		if (im->size - at < 8 * (CHUNK_HEAD + 1) || gmt_get64(p) == 0) {
			continue; // handed out, but never begun
		}
		if (gmt_get64(p) != CHUNK_MAGIC) {
			return bad(im, at, "no chunk begins here");
		}
		uint64_t id = gmt_get64(p + 8);
		if (id != SHARED && id >= GMT_STREAM_M) {
			return bad(im, at + 8, "stream %" PRIu64 " is no P", id);
		}
		c.stream = (uint16_t)id;
		c.ordinal = gmt_get64(p + 16);
		im->chunks[im->nchunks++] = c;
	}
	qsort(im->chunks, im->nchunks, sizeof(*im->chunks), by_stream);
	return 0;
}

static int find_streams(importer *im) {
	im->streams = calloc((size_t)im->nchunks + 1, sizeof(*im->streams));
	im->heap = calloc((size_t)im->nchunks + 1, sizeof(*im->heap));
	if (im->streams == NULL || im->heap == NULL) {
		return no_memory(im);
	}
	for (uint32_t i = 0; i < im->nchunks; i++) {
		const chunk *c = &im->chunks[i];
		if (im->nstreams == 0 || im->streams[im->nstreams - 1].id != c->stream) {
			im->streams[im->nstreams++] =
				(stream){.chunks = c, .id = c->stream, .off = CHUNK_HEAD, .look_off = CHUNK_HEAD};
		}
		stream *st = &im->streams[im->nstreams - 1];
		if (c->ordinal != st->nchunks) {
			return bad(
				im, chunk_offset(c) + 16, "chunk %" PRIu64 " of its stream, %u were expected", c->ordinal, st->nchunks);
		}
		st->nchunks++;
	}
	return 0;
}

// ---- records

static uint64_t position_of(uint32_t at, uint32_t off) { return (uint64_t)at * CHUNK_WORDS + off; }

static bool names_position(unsigned kind) {
	return kind == EV_PREPARESWEEP || kind == EV_FLUSHMCACHE || kind == EV_FLUSHPCACHE || kind == EV_PDESTROY ||
		kind == KIND_POSITION;
}

// parse_malloc reads the arguments of EV_MALLOC and EV_MALLOCBEGIN, and returns how many words they take, 0 if they are bad.
static uint32_t parse_malloc(record *r, const uint8_t *p) {
	uint64_t head = gmt_get64(p);
	unsigned flags = (unsigned)(head >> 16) & 0xffff;
	unsigned path = flags & 7;
	uint32_t used = 1;
	bool begin = r->kind == EV_MALLOCBEGIN;
	if ((flags & ~(unsigned)MALLOC_FLAGS) != 0 || path > GOMEM_PATH_REUSE || (begin && path != 0)) {
		return 0;
	}
	if (!begin && used < r->n) {
		r->args[3] = gmt_get64(p + (size_t)8 * used++);
	}
	r->args[0] = head >> 32;
	if ((flags & MALLOC_BIG) != 0 && used < r->n) {
		r->args[0] = gmt_get64(p + (size_t)8 * used++);
	}
	r->args[1] = ((flags & MALLOC_NOSCAN) != 0 ? 1u : 0u) | ((flags & MALLOC_NEEDZERO) != 0 ? 2u : 0u);
	r->args[2] = path;
	return used;
}

// parse_args reads the arguments of any other kind likewise.
static uint32_t parse_args(record *r, const uint8_t *p) {
	if (gmt_get64(p) >> 16 != 0) {
		return 0;
	}
	uint32_t used = 1;
	r->nargs = r->kind == KIND_POSITION ? 1 : gmt_kind((gomem_ev)r->kind)->nargs;
	for (unsigned i = 0; i < r->nargs && used < r->n; i++) {
		r->args[i] = gmt_get64(p + (size_t)8 * used++);
	}
	if (r->kind == EV_MSPANALLOC && r->args[0] != 0) {
		return 0;
	}
	if (names_position(r->kind) && used < r->n) {
		r->of = r->args[0];
		r->position = gmt_get64(p + (size_t)8 * used++);
	}
	if (r->kind == EV_FREEGC && used < r->n) {
		r->of = r->args[2];
		r->position = gmt_get64(p + (size_t)8 * used++);
		r->position = r->of == NOBODY ? NO_TURN : r->position;
		r->args[2] = r->args[1] & 1;
		r->args[1] >>= 1;
	}
	if (r->kind == EV_SWEEP) {
		r->nmarks = gmt_sweep_marks(r->args[0], r->args[3]);
		r->marks = p + (size_t)8 * used;
		used += r->nmarks;
	}
	return used;
}

// parse reads the record at a place of a stream and moves the place to the next one. 1, 0 at the end of the stream, -1 if it is bad.
static int parse(importer *im, const stream *st, uint32_t *at, uint32_t *off, record *r) {
	for (; *at < st->nchunks; ++*at, *off = CHUNK_HEAD) {
		const chunk *c = &st->chunks[*at];
		uint32_t words = chunk_words(im, c);
		uint64_t offset = chunk_offset(c) + (uint64_t)8 * *off;
		if (*off >= words || gmt_get64(im->map + offset) == 0) {
			if (*at + 1 < st->nchunks && CHUNK_WORDS - *off > LONGEST_RECORD) {
				im->hole = true; // the next record would have fitted here: what follows it is not the whole rest
				return 0;
			}
			continue;
		}
		const uint8_t *p = im->map + offset;
		uint64_t head = gmt_get64(p);
		*r = (record){.kind = (uint8_t)head,
			.n = (uint32_t)(head >> 8) & 0xff,
			.offset = offset,
			.position = NO_TURN,
			.turn = NO_TURN};
		if (r->kind != KIND_POSITION && (r->kind >= EV_MAX || r->kind == EV_NONE || r->kind == EV_MALLOCEND)) {
			return bad(im, offset, "no record has kind %u", r->kind);
		}
		if (r->n == 0 || r->n > CHUNK_WORDS - *off) {
			return bad(im, offset, "a record of %u words does not fit here", r->n);
		}
		if (r->n > words - *off) {
			return 0; // the file was cut in this record
		}
		uint32_t used = r->kind == EV_MALLOC || r->kind == EV_MALLOCBEGIN ? parse_malloc(r, p) : parse_args(r, p);
		bool shared = st->id == SHARED;
		bool turn = shared || (r->kind != KIND_POSITION && gmt_kind((gomem_ev)r->kind)->turn);
		if (used == 0 || used + (shared ? 1u : 0u) + (turn ? 1u : 0u) != r->n || r->nmarks > GMT_MAX_MARK_WORDS) {
			return bad(im, offset, "a damaged record of kind %s (%u words)",
				r->kind == KIND_POSITION ? "position" : gmt_kind((gomem_ev)r->kind)->name, r->n);
		}
		r->m = shared ? gmt_get64(p + (size_t)8 * used++) : 0;
		r->turn = turn ? gmt_get64(p + (size_t)8 * used) : NO_TURN;
		*off += r->n;
		return 1;
	}
	return 0;
}

// look finds the next turn number of a stream. 0, -1 if the log is bad.
static int look(importer *im, stream *st) {
	uint64_t last = st->turn;
	record r;
	st->turn = NO_TURN;
	int got = 1;
	while (st->turn == NO_TURN && (got = parse(im, st, &st->look_at, &st->look_off, &r)) > 0) {
		st->turn = r.turn;
	}
	if (got > 0 && last != NO_TURN && st->turn <= last) {
		return bad(im, r.offset, "turn %" PRIu64 " after turn %" PRIu64 " in the same stream", st->turn, last);
	}
	return got < 0 ? -1 : 0;
}

// ---- the heap of streams: the one with the smallest turn is at 0

static bool earlier(const importer *im, uint32_t a, uint32_t b) {
	return im->streams[im->heap[a]].turn < im->streams[im->heap[b]].turn;
}

static void heap_swap(importer *im, uint32_t a, uint32_t b) {
	uint32_t t = im->heap[a];
	im->heap[a] = im->heap[b];
	im->heap[b] = t;
}

static void heap_down(importer *im, uint32_t i) {
	for (;;) {
		uint32_t child = 2 * i + 1;
		if (child >= im->nheap) {
			return;
		}
		if (child + 1 < im->nheap && earlier(im, child + 1, child)) {
			child++;
		}
		if (!earlier(im, child, i)) {
			return;
		}
		heap_swap(im, child, i);
		i = child;
	}
}

static int heap_build(importer *im) {
	for (uint32_t i = 0; i < im->nstreams; i++) {
		im->streams[i].turn = NO_TURN;
		if (look(im, &im->streams[i]) != 0) {
			return -1;
		}
		if (im->streams[i].turn != NO_TURN) {
			im->heap[im->nheap++] = i;
		}
	}
	for (uint32_t i = im->nheap / 2; i-- > 0;) {
		heap_down(im, i);
	}
	return 0;
}

// ---- events

static uint64_t hash_key(uint64_t k) { return (k ^ k >> 29) * 0x9e3779b97f4a7c15u >> 20; }

static bool numbering_grow(numbering *t) {
	numbering wide = {.n = t->n, .room = t->room == 0 ? 1024 : t->room * 2};
	wide.slots = calloc((size_t)wide.room, sizeof(*wide.slots));
	if (wide.slots == NULL) {
		return false;
	}
	for (uint64_t i = 0; i < t->room; i++) {
		if (t->slots[i].key == 0) {
			continue;
		}
		uint64_t k = hash_key(t->slots[i].key);
		while (wide.slots[k & (wide.room - 1)].key != 0) {
			k++;
		}
		wide.slots[k & (wide.room - 1)] = t->slots[i];
	}
	free(t->slots);
	*t = wide;
	return true;
}

// number_of numbers a key. 0: it would be number max + 1, or there is no memory.
static uint64_t number_of(numbering *t, uint64_t key, uint64_t max) {
	if (t->n * 2 >= t->room && !numbering_grow(t)) {
		return 0;
	}
	uint64_t k = hash_key(key);
	while (t->slots[k & (t->room - 1)].key != 0 && t->slots[k & (t->room - 1)].key != key) {
		k++;
	}
	k &= t->room - 1;
	if (t->slots[k].key == 0) {
		if (t->n == max) {
			return 0;
		}
		t->slots[k].key = key;
		t->slots[k].number = ++t->n;
	}
	return t->slots[k].number;
}

// pair turns the end of a slow malloc into EV_MALLOCEND.
static int pair(importer *im, open_malloc *open, const record *r, gmt_event *e) {
	if (e->kind == EV_MALLOCBEGIN) {
		if (open->open) {
			return bad(im, r->offset, "a malloc begins inside a malloc");
		}
		*open = (open_malloc){true, e->a, e->b};
		e->c = 0;
		e->d = 0;
		return 0;
	}
	if (!open->open) {
		return 0;
	}
	if (open->size != e->a || open->flags != e->b) {
		return bad(im, r->offset, "a malloc of %" PRIu64 " bytes ends one of %" PRIu64, e->a, open->size);
	}
	open->open = false;
	*e = (gmt_event){.kind = EV_MALLOCEND, .stream = e->stream, .a = e->c, .b = e->d};
	return 0;
}

static int emit_until(importer *im, const record *by, uint16_t self);

// number_m gives the M of a record its stream. -1: it can't have one.
static int number_m(importer *im, const record *r, gmt_event *e) {
	uint64_t m = r->m == UINT64_MAX ? 0 : number_of(&im->ms, r->m + 1, GMT_STREAM_M);
	if (m == 0) {
		return bad(
			im, r->offset, "M %" PRIu64 " without a P: more than %d of them, or no such number", r->m, GMT_STREAM_M);
	}
	e->stream = (uint16_t)(GMT_STREAM_M + m - 1);
	if (m <= im->malloc_room) {
		return 0;
	}
	uint64_t room = im->malloc_room == 0 ? 64 : im->malloc_room * 2;
	open_malloc *wide = realloc(im->mallocs, (size_t)(room * sizeof(*wide)));
	if (wide == NULL) {
		return no_memory(im);
	}
	memset(wide + im->malloc_room, 0, (size_t)((room - im->malloc_room) * sizeof(*wide)));
	im->mallocs = wide;
	im->malloc_room = room;
	return 0;
}

// emit writes the event of a record.
static int emit(importer *im, stream *st, const record *r) {
	if (r->position != NO_TURN && emit_until(im, r, st->id) != 0) {
		return -1;
	}
	if (r->kind == KIND_POSITION || im->cut) {
		return 0;
	}
	gmt_event e = {
		.kind = r->kind, .stream = st->id, .a = r->args[0], .b = r->args[1], .c = r->args[2], .d = r->args[3]};
	if (st->id == SHARED && number_m(im, r, &e) != 0) {
		return -1;
	}
	open_malloc *open = st->id == SHARED ? &im->mallocs[e.stream - GMT_STREAM_M] : &st->malloc;
	if ((e.kind == EV_MALLOC || e.kind == EV_MALLOCBEGIN) && pair(im, open, r, &e) != 0) {
		return -1;
	}
	if (gmt_kind((gomem_ev)e.kind)->span_field == 'b' && e.b != 0 &&
		(e.b = number_of(&im->spans, e.b, GMT_MAX_SPANS)) == 0) {
		return bad(im, r->offset, "too many spans");
	}
	uint64_t marks[GMT_MAX_MARK_WORDS];
	e.nmarks = (uint8_t)r->nmarks;
	for (uint32_t i = 0; i < r->nmarks; i++) {
		marks[i] = gmt_get64(r->marks + (size_t)8 * i);
	}
	im->events++;
	return gmt_write(im->writer, &e, marks, im->err);
}

// done_chunk gives the pages of a chunk back that will not be read again.
static void done_chunk(const importer *im, const stream *st, uint32_t at) {
	if (!im->mapped) {
		return;
	}
	uint64_t offset = chunk_offset(&st->chunks[at]);
	uint64_t n = im->size - offset < CHUNK_BYTES ? im->size - offset : CHUNK_BYTES;
	(void)madvise((void *)(uintptr_t)(im->map + offset), (size_t)n, MADV_DONTNEED);
}

// emit_next emits the next record of a stream. 1, 0 at its end, -1 on error.
static int emit_next(importer *im, stream *st, record *r) {
	uint32_t at = st->at;
	int got = parse(im, st, &st->at, &st->off, r);
	for (; at < st->at; at++) {
		done_chunk(im, st, at);
	}
	if (got > 0 && emit(im, st, r) != 0) {
		return -1;
	}
	return got;
}

static int by_id(const void *id, const void *st) {
	uint16_t of = ((const stream *)st)->id;
	return *(const uint64_t *)id < of ? -1 : *(const uint64_t *)id > of;
}

// find_stream finds the stream of a P, NULL if it logged nothing.
static stream *find_stream(const importer *im, uint64_t id) {
	return bsearch(&id, im->streams, im->nstreams, sizeof(*im->streams), by_id);
}

// only_rest_before: between the place of a stream, where no record begins, and a position lies nothing but the rest of a chunk, too short for
// a record. Else records are missing there.
static bool only_rest_before(const importer *im, const stream *st, uint64_t position) {
	return st->at < st->nchunks && CHUNK_WORDS - st->off <= LONGEST_RECORD &&
		chunk_words(im, &st->chunks[st->at]) == CHUNK_WORDS && position <= position_of(st->at + 1, CHUNK_HEAD);
}

// emit_until emits what stands before the position that a record of stream self names.
static int emit_until(importer *im, const record *by, uint16_t self) {
	uint64_t id = by->of;
	if (id >= GMT_STREAM_M) {
		return bad(im, by->offset, "there is no P %" PRIu64, id);
	}
	if (by->position == 0 || id == self) {
		return 0;
	}
	stream *st = find_stream(im, id);
	if (st == NULL) {
		im->cut = true;
		return 0;
	}
	record r;
	while (position_of(st->at, st->off) < by->position) {
		uint32_t at = st->at;
		uint32_t off = st->off;
		int got = parse(im, st, &at, &off, &r);
		if (got < 0) {
			return -1;
		}
		if (got == 0) {
			im->cut = !only_rest_before(im, st, by->position);
			return 0;
		}
		if (position_of(at, off) > by->position) {
			return 0;
		}
		if (r.turn != NO_TURN || r.position != NO_TURN) {
			return bad(im, by->offset,
				"the position that this record names is behind a later turn (offset %" PRIu64 ")", r.offset);
		}
		if (emit_next(im, st, &r) < 0) {
			return -1;
		}
	}
	return 0;
}

// emit_turns emits all records up to the last turn before the first gap.
static int emit_turns(importer *im) {
	while (im->nheap > 0 && !im->cut) {
		stream *st = &im->streams[im->heap[0]];
		uint64_t turn = st->turn;
		if (turn != im->turns) {
			return turn > im->turns ? 0 : bad(im, GMT_NO_OFFSET, "turn %" PRIu64 " stands in two streams", turn);
		}
		record r = {.turn = NO_TURN};
		while (r.turn != turn && !im->cut) {
			int got = emit_next(im, st, &r);
			if (got <= 0) {
				return got;
			}
		}
		im->turns++;
		if (look(im, st) != 0) {
			return -1;
		}
		if (st->turn == NO_TURN) {
			im->heap[0] = im->heap[--im->nheap];
		}
		heap_down(im, 0);
	}
	return 0;
}

// emit_rest emits what follows the last turn in each stream.
static int emit_rest(importer *im) {
	record r;
	for (uint32_t i = 0; i < im->nstreams; i++) {
		int got = 1;
		while (got > 0 && !im->cut) {
			got = emit_next(im, &im->streams[i], &r);
		}
		if (got < 0) {
			return -1;
		}
	}
	return 0;
}

// ---- the file

static int check_header(importer *im) {
	if (im->size < RAW_HEADER) {
		return bad(im, im->size, "not a raw log: shorter than its header");
	}
	if (header_word(im, 0) != RAW_MAGIC) {
		return bad(im, 0, "not a raw log");
	}
	if (header_word(im, AT_VERSION) != 1) {
		return bad(
			im, AT_VERSION, "raw log version %" PRIu64 ": this program reads version 1", header_word(im, AT_VERSION));
	}
	if (header_word(im, AT_CHUNK_BYTES) != CHUNK_BYTES) {
		return bad(
			im, AT_CHUNK_BYTES, "chunks of %" PRIu64 " bytes, not %d", header_word(im, AT_CHUNK_BYTES), CHUNK_BYTES);
	}
	if (header_word(im, AT_STATE) == STATE_WAITING) {
		return bad(im, AT_STATE, "the program never began to record");
	}
	if (header_word(im, AT_STATE) > STATE_REPLACED) {
		return bad(im, AT_STATE, "no such state");
	}
	if (header_word(im, AT_STOP) > STOP_ERROR) {
		return bad(im, AT_STOP, "no such reason to stop");
	}
	if (header_word(im, AT_PAGE) == 0) {
		return bad(im, AT_PAGE, "the program ended before its allocator was set up");
	}
	if (header_word(im, AT_MAXPROCS) > GMT_STREAM_M) {
		return bad(im, AT_MAXPROCS, "GOMAXPROCS out of range");
	}
	return 0;
}

static int open_raw(importer *im) {
	struct stat s;
	im->fd = open(im->raw, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
	if (im->fd < 0 || fstat(im->fd, &s) != 0) {
		return bad(im, GMT_NO_OFFSET, "cannot open: %s", strerror(errno));
	}
	if (!S_ISREG(s.st_mode)) {
		return bad(im, GMT_NO_OFFSET, "not a raw log: not a regular file");
	}
	im->size = (uint64_t)s.st_size;
	if (im->size < RAW_HEADER) {
		return check_header(im);
	}
	if ((size_t)im->size != im->size) {
		return bad(im, GMT_NO_OFFSET, "cannot map: more bytes than this program has addresses");
	}
	void *p = mmap(NULL, (size_t)im->size, PROT_READ, MAP_SHARED, im->fd, 0);
	if (p == MAP_FAILED) {
		return bad(im, GMT_NO_OFFSET, "cannot map: %s", strerror(errno));
	}
	im->map = p;
	im->mapped = true;
	return 0;
}

// add_debug appends "name=1" to a list.
static void add_debug(char *list, size_t room, const char *name) {
	size_t n = strlen(list);
	(void)snprintf(list + n, room - n, "%s%s=1", n == 0 ? "" : ",", name);
}

static void fill_header(const importer *im, gmt_header *h) {
	static const char *const settings[] = {
		"sbrk", "efence", "madvdontneed", "clobberfree", "harddecommit", "disablethp"};
	h->page_size = header_word(im, AT_PAGE);
	h->phys_page_size = header_word(im, AT_PHYS_PAGE);
	h->phys_huge_page_size = header_word(im, AT_PHYS_HUGE);
	h->arena_bytes = header_word(im, AT_ARENA);
	h->rand_seed = header_word(im, AT_SEED);
	h->gomaxprocs = (uint32_t)header_word(im, AT_MAXPROCS);
	uint64_t flags = header_word(im, AT_FLAGS);
	h->randomize_heap_base = (flags & 1) != 0;
	h->green_tea = (flags & 2) != 0;
	h->size_specialized_malloc = (flags & 4) != 0;
	h->runtime_freegc = (flags & 8) != 0;
	(void)snprintf(h->goarch, sizeof(h->goarch), "%s", (flags & FLAG_386) != 0 ? "386" : "amd64");
	for (unsigned i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
		if ((header_word(im, AT_DEBUG) >> i & 1) != 0) {
			add_debug(h->godebug, sizeof(h->godebug), settings[i]);
		}
	}
	if (h->goversion[0] == 0) {
		const char *version = (const char *)im->map + AT_GOVERSION;
		size_t n = strnlen(version, MAX_GOVERSION);
		(void)snprintf(h->goversion, sizeof(h->goversion), "%.*s", (int)n, version);
	}
}

static void find_end(const importer *im, gmt_end_kind *end, uint64_t *value) {
	if (header_word(im, AT_STATE) == STATE_REPLACED) {
		*end = GMT_END_EXEC;
		*value = 0;
	}
	if (header_word(im, AT_STOP) != STOP_NONE) {
		*end = header_word(im, AT_STOP) == STOP_DISK ? GMT_END_DISK : GMT_END_ERROR;
		*value = header_word(im, AT_ERRNO);
	}
}

static void importer_free(importer *im) {
	if (im->mapped) {
		(void)munmap((void *)(uintptr_t)im->map, (size_t)im->size);
	}
	if (im->fd >= 0) {
		(void)close(im->fd);
	}
	free(im->chunks);
	free(im->streams);
	free(im->heap);
	free(im->spans.slots);
	free(im->ms.slots);
	free(im->mallocs);
}

// convert writes the events to the writer, NULL if there is none.
static int convert(importer *im) {
	if (im->writer == NULL || heap_build(im) != 0 || emit_turns(im) != 0) {
		return -1;
	}
	im->whole = !im->cut && !im->hole && im->nheap == 0 && im->turns == header_word(im, AT_TURN);
	return im->whole ? emit_rest(im) : 0;
}

// Where the recording goes: a file, or memory.
typedef struct target {
	const char *path; // NULL: memory
	gmt_memory *mem;
} target;

static gmt_writer *create(const importer *im, target to, const gmt_header *h) {
	gmt_header full = *h;
	fill_header(im, &full);
	if (to.path != NULL) {
		return gmt_create(to.path, &full, im->err);
	}
	gmt_writer *w = gmt_create_memory(im->raw, &full, to.mem, im->err);
	if (w != NULL) {
		gmt_set_level(w, 1); // what stays in memory need not be small
	}
	return w;
}

static int import(importer *im, target to, const gmt_header *h, gmt_end_kind end, uint64_t value, gmt_import *found) {
	if (check_header(im) != 0 || find_chunks(im) != 0 || find_streams(im) != 0) {
		return -1;
	}
	im->writer = create(im, to, h);
	if (convert(im) != 0) {
		if (im->writer != NULL) {
			gmt_abandon(im->writer);
		}
		return -1;
	}
	find_end(im, &end, &value);
	if (found != NULL) {
		*found = (gmt_import){im->events, im->turns, header_word(im, AT_TURN), !im->whole};
	}
	return gmt_finish(im->writer, end, value, im->err);
}

int gmt_import_raw(const char *raw, const char *out, const gmt_header *h, gmt_end_kind end, uint64_t value,
	gmt_import *found, gmt_error *err) {
	importer im = {.raw = raw, .err = err, .fd = -1};
	int result = open_raw(&im);
	if (result == 0) {
		result = import(&im, (target){.path = out}, h, end, value, found);
	}
	importer_free(&im);
	return result;
}

int gmt_import_memory(const char *name, gmt_memory log, gmt_memory *out, const gmt_header *h, gmt_end_kind end,
	uint64_t value, gmt_import *found, gmt_error *err) {
	importer im = {.raw = name, .err = err, .fd = -1, .map = log.p, .size = log.n};
	*out = (gmt_memory){0};
	int result = import(&im, (target){.mem = out}, h, end, value, found);
	importer_free(&im);
	return result;
}
