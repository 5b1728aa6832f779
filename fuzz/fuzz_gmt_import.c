// fuzz_gmt_import.c: raw logs of the recorder (traces/recorder/RAW.md), whole, cut and scribbled on, against what was logged.
//
// A program logs records, as the recorder would: in the stream of a P or in the one that Ms without a P share, with the turns that their kinds take
// and the positions that they name. Let s be any stream:
//
//   nothing is wrong          -> the recording has all events of s, in order; turns stand in order; what a position names stands before it
//   the log was cut, or records were never finished
//                             -> it has the first events of s, in order, and the same holds
//   words were scribbled on   -> it is a valid recording, or there is an error that names the log and an offset in it
#include "fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "traces/gmt_format.h"

enum {
	SHARED = 0xffff,
	CHUNK = 262144,
	WORDS = CHUNK / 8,
	HEADER = 4096,
	MAX_CHUNKS = 12,
	MAX_PS = 4,
	MAX_MS = 4,
	MAX_RECORDS = 16384,
	MAX_HARM = 64,
	POSITION = 255,
	LONGEST = 24, // words
};
static const uint64_t SPANS = 0x7f0000000000; // where mspans would lie
static const char logName[] = "fuzz.raw";

// A record, as the recording should have it.
typedef struct record {
	gmt_event e; // b: the address of a span
	uint64_t marks[GMT_MAX_MARK_WORDS];
	uint64_t turn;   // UINT64_MAX: none
	unsigned before; // events of stream `of` that stand before it
	uint16_t of;
	uint8_t log; // its stream in the log
	bool silent; // a position: no event
} record;

typedef struct log_stream {
	size_t at; // next word of the log, 0: no chunk
	uint64_t chunks;
	unsigned n; // events of its own, MAX_PS: of all Ms
} log_stream;

typedef struct harm {
	uint64_t at, value;
} harm;

// How much harm is done to the log at most: without a limit hardly any would come out whole.
typedef enum harm_level { HARM_NONE, HARM_UNFINISHED, HARM_CUT, HARM_SCRIBBLE } harm_level;

// The arguments of an event, to log it again.
typedef struct fuzz_event {
	unsigned stream, kind;
	uint64_t m, fields[4];
} fuzz_event;

typedef struct state {
	size_t chunks;
	size_t used[MAX_CHUNKS];        // words of each
	log_stream streams[MAX_PS + 1]; // the last is shared by Ms
	uint64_t turn;
	bool open[MAX_PS + MAX_MS]; // a malloc has begun
	uint64_t size[MAX_PS + MAX_MS], flags[MAX_PS + MAX_MS];
	uint32_t n;
	size_t size_of_log;
	harm harms[MAX_HARM];
	unsigned nharms;
	bool cut, scribbled;
	harm_level level;
	fuzz_event last;
} state;

static uint8_t logBytes[HEADER + MAX_CHUNKS * (size_t)CHUNK + 64]; // clean between runs
static record records[MAX_RECORDS];

static void put(size_t at, uint64_t v) { gmt_put64(logBytes + at, v); }

static void *begin(const uint64_t *config) {
	static state s;
	memset(&s, 0, sizeof s);
	memcpy(logBytes, "GOMEMRAW", 8);
	put(8, 1);
	put(16, 1 + (config[1] & 1));
	put(32, CHUNK);
	put(72, 8192);
	put(80, 4096);
	put(96, 64 << 20);
	put(104, config[0]);
	put(112, config[1]);
	put(120, 1 + config[2]);
	put(128, config[3]);
	put(56, config[4]);
	put(64, 28);
	s.level = (harm_level)config[5];
	memcpy(logBytes + 512, "go1.26.8", 9);
	return &s;
}

// ---- logging

static bool takesTurn(unsigned kind, unsigned stream) {
	return stream == MAX_PS || (kind != POSITION && gmt_kind((gomem_ev)kind)->turn);
}

// space gives the offset of the next n words of a stream, 0 if the log is full.
static size_t space(state *s, unsigned stream, size_t n) {
	log_stream *st = &s->streams[stream];
	const size_t used = st->at % WORDS == 0 ? WORDS : st->at % WORDS; // none, or a full one
	if (s->n == MAX_RECORDS) {
		return 0;
	}
	if (used + n > WORDS) {
		if (s->chunks == MAX_CHUNKS) {
			return 0;
		}
		const size_t chunk = HEADER + s->chunks * (size_t)CHUNK;
		memcpy(logBytes + chunk, "RAWCHUNK", 8);
		put(chunk + 8, stream == MAX_PS ? SHARED : stream);
		put(chunk + 16, st->chunks++);
		st->at = s->chunks * WORDS + 4;
		put(40, ++s->chunks);
	}
	const size_t at = HEADER + st->at * 8;
	st->at += n;
	s->used[(st->at - 1) / WORDS] = (st->at - 1) % WORDS + 1;
	return at;
}

// A place in a stream: words from its first chunk's begin on. st->at counts words of the log, of which each chunk is another's.
static uint64_t position(const state *s, unsigned stream) {
	const log_stream *st = &s->streams[stream];
	if (st->at == 0) {
		return 0;
	}
	return (st->chunks - 1) * WORDS + (st->at % WORDS == 0 ? WORDS : st->at % WORDS);
}

static uint16_t streamOf(unsigned stream, uint64_t m) {
	return (uint16_t)(stream == MAX_PS ? GMT_STREAM_M + m : stream);
}

// add logs words after a head, then what every record of its stream or kind has. NULL: the log is full.
static record *add(
	state *s, unsigned stream, uint64_t m, unsigned kind, uint64_t head, size_t n, const uint64_t *words) {
	const bool turn = takesTurn(kind, stream), shared = stream == MAX_PS;
	const size_t all = 1 + n + shared + turn, at = space(s, stream, all);
	if (at == 0) {
		return NULL;
	}
	size_t w = at;
	for (size_t i = 0; i < n; i++) {
		put(w += 8, words[i]);
	}
	if (shared) {
		put(w += 8, 1000 + m);
	}
	record *r = &records[s->n++];
	*r = (record){
		.e = {.kind = (uint8_t)kind, .stream = streamOf(stream, m)}, .turn = UINT64_MAX, .log = (uint8_t)stream};
	if (turn) {
		put(w + 8, s->turn);
		r->turn = s->turn++;
		put(48, s->turn);
	}
	put(at, kind | all << 8 | head);
	s->streams[stream].n += kind != POSITION;
	r->silent = kind == POSITION;
	return r;
}

static bool namesPosition(unsigned kind) {
	return kind == EV_PREPARESWEEP || kind == EV_FLUSHMCACHE || kind == EV_FLUSHPCACHE || kind == EV_PDESTROY;
}

// logEvent logs a record of any kind but the mallocs. It gets what the recorder would give its kind: marks, positions.
static void logEvent(state *s, unsigned stream, uint64_t m, unsigned kind, const uint64_t fields[4], uint64_t seed) {
	const gmt_kind_info *info = gmt_kind((gomem_ev)kind);
	uint64_t words[LONGEST] = {0}, f[4] = {0};
	size_t n = info->nargs;
	memcpy(f, fields, n * sizeof f[0]);
	f[0] = kind == EV_MSPANALLOC ? 0 : namesPosition(kind) ? f[0] % MAX_PS : f[0];
	f[1] = info->span_field != 'b' ? f[1] : f[1] % 64 == 0 ? 0 : SPANS + f[1] % 64 * 160;
	if (kind == EV_SWEEP && gmt_sweep_marks(f[0], f[3]) > GMT_MAX_MARK_WORDS) {
		f[0] &= ~((uint64_t)0xfc00 << 1);
	}
	memcpy(words, f, sizeof f);
	const unsigned marks = kind == EV_SWEEP ? gmt_sweep_marks(f[0], f[3]) : 0;
	for (unsigned i = 0; i < marks; i++) {
		words[n++] = fuzz_random(&seed);
	}
	const unsigned owner = (unsigned)(f[2] % (MAX_PS + 1));
	const bool freegc = kind == EV_FREEGC, nobody = freegc && owner == MAX_PS;
	const unsigned of = namesPosition(kind) ? (unsigned)f[0] : freegc && !nobody ? owner : stream;
	if (freegc) {
		f[1] >>= 1;
		f[2] = f[2] >> 8 & 1;
		words[1] = f[1] << 1 | f[2];
		words[2] = nobody ? 0xffff : of;
	}
	if (namesPosition(kind) || freegc) {
		words[n++] = nobody ? 0 : position(s, of);
	}
	const unsigned before = s->streams[of].n;
	record *r = add(s, stream, m, kind, 0, n, words);
	if (r == NULL) {
		return;
	}
	r->e = (gmt_event){r->e.kind, (uint8_t)marks, r->e.stream, 0, f[0], f[1], f[2], f[3]};
	memcpy(r->marks, words + info->nargs, marks * sizeof words[0]);
	r->of = (uint16_t)of;
	r->before = of == stream ? 0 : before;
}

static void logAgain(state *s) {
	const fuzz_event *e = &s->last;
	logEvent(s, e->stream, e->m, e->kind, e->fields, e->fields[0]);
}

static void event(void *v, const uint64_t *a) {
	state *s = v;
	const unsigned kind = 1 + (unsigned)a[1];
	if (kind != EV_MALLOC && kind != EV_MALLOCBEGIN && kind != EV_MALLOCEND) {
		s->last = (fuzz_event){(unsigned)a[0] % (MAX_PS + 1), kind, a[0] / (MAX_PS + 1), {a[2], a[3], a[4], a[5]}};
		logAgain(s);
	}
}

// again logs the last event a number of times, with other spans or addresses.
static void again(void *v, const uint64_t *a) {
	state *s = v;
	for (uint64_t i = 0; i < a[0] && s->last.kind != EV_NONE; i++) {
		s->last.fields[1] += a[1];
		logAgain(s);
	}
}

static void sweep(void *v, const uint64_t *a) {
	logEvent(v, (unsigned)a[0], 0, EV_SWEEP, (const uint64_t[]){a[2] << 1, a[1], a[2], 1 | a[3] << 32}, a[4]);
}

// stop is what a P logs that has stopped the world: where each other P is, then the change of phase.
static void stop(void *v, const uint64_t *a) {
	state *s = v;
	const unsigned stream = (unsigned)a[0];
	for (unsigned of = 0; of < MAX_PS; of++) {
		const uint64_t words[] = {of, position(s, of)};
		record *r = of != stream ? add(s, stream, 0, POSITION, 0, 2, words) : NULL;
		if (r != NULL) {
			r->of = (uint16_t)of;
			r->before = s->streams[of].n;
		}
	}
	logEvent(s, stream, 0, EV_GCPHASE, (const uint64_t[4]){a[1]}, 0);
}

// logMalloc logs the begin or the end of a malloc; an end without a begin is a malloc of its own.
static void logMalloc(
	state *s, unsigned stream, uint64_t m, bool begins, uint64_t size, uint64_t how, uint64_t address) {
	const unsigned who = stream == MAX_PS ? MAX_PS + (unsigned)m : stream;
	if (s->open[who]) {
		begins = false;
		size = s->size[who];
		how = (how & 7) | s->flags[who];
	}
	const uint64_t path = begins ? 0 : (how & 7) % 7, flags = how & 24, big = size >> 32 != 0 ? 32 : 0;
	uint64_t words[2];
	size_t n = 0;
	if (!begins) {
		words[n++] = address;
	}
	if (big != 0) {
		words[n++] = size;
	}
	const uint64_t head = (path | flags | big) << 16 | size << 32;
	record *r = add(s, stream, m, begins ? EV_MALLOCBEGIN : EV_MALLOC, head, n, words);
	if (r == NULL) {
		return;
	}
	gmt_event *e = &r->e;
	const uint64_t given = (flags & 8) / 8 | (flags & 16) / 8;
	if (begins) {
		e->a = size;
		e->b = given;
	} else if (s->open[who]) {
		e->kind = EV_MALLOCEND;
		e->a = path;
		e->b = address;
	} else {
		*e = (gmt_event){EV_MALLOC, 0, e->stream, 0, size, given, path, address};
	}
	s->open[who] = begins;
	s->size[who] = size;
	s->flags[who] = flags;
}

static void malloced(void *v, const uint64_t *a) {
	logMalloc(v, (unsigned)a[0] % (MAX_PS + 1), a[0] / (MAX_PS + 1), a[1] != 0, a[2], a[3], a[4]);
}

// fill logs sweeps until a chunk has but a few words left: seldom, as these are many.
static void fill(void *v, const uint64_t *a) {
	state *s = v;
	const log_stream *st = &s->streams[a[0]];
	const uint64_t fields[] = {(uint64_t)1000 << 1, 1, 2, (uint64_t)7 << 32};
	while (a[2] == 13 && st->at != 0 && st->at % WORDS != 0 && WORDS - st->at % WORDS > LONGEST && s->n < MAX_RECORDS) {
		logEvent(s, (unsigned)a[0], 0, EV_SWEEP, fields, s->n);
	}
	for (uint64_t i = 0; i < a[1]; i++) {
		logEvent(s, (unsigned)a[0], 0, EV_SWEEPONE, fields, 0);
	}
}

// ---- harm, done when all is logged

// aRecord gives the offset of some record: the nth of a chunk. 0: there is none.
static size_t aRecord(const state *s, uint64_t chunk, uint64_t nth) {
	if (s->chunks == 0) {
		return 0;
	}
	const size_t begins = (size_t)(HEADER + chunk % s->chunks * CHUNK);
	size_t at = begins + 32, last = 0;
	while (at < begins + CHUNK && gmt_get64(logBytes + at) != 0) {
		last = at;
		if (nth-- == 0) {
			break;
		}
		at += (size_t)(8 * (gmt_get64(logBytes + at) >> 8 & 0xff));
	}
	return last;
}

static void harmLater(state *s, size_t at, uint64_t value) {
	if (s->nharms < MAX_HARM && at + 8 <= sizeof logBytes) {
		s->harms[s->nharms++] = (harm){at, value};
	}
}

// unfinished: the head of a record was never stored.
static void unfinished(void *v, const uint64_t *a) {
	state *s = v;
	const size_t at = aRecord(s, a[0], a[1]);
	// At the end of a chunk a missing record looks as if it had not fitted there.
	if (s->level >= HARM_UNFINISHED && at != 0 && (at - HEADER) % CHUNK < CHUNK - LONGEST * 8) {
		harmLater(s, at, 0);
		s->cut = true;
	}
}

// scribble changes a word of a record, or its head.
static void scribble(void *v, const uint64_t *a) {
	state *s = v;
	const size_t at = aRecord(s, a[0], a[1]);
	if (s->level == HARM_SCRIBBLE && at != 0) {
		const uint64_t n = gmt_get64(logBytes + at) >> 8 & 0xff, word = at + 8 * (a[2] % (n + 1));
		harmLater(s, (size_t)word, a[4] != 0 ? gmt_get64(logBytes + word) + a[3] : a[3]);
		s->scribbled = true;
	}
}

static void scribbleHeader(void *v, const uint64_t *a) {
	state *s = v;
	if (s->level == HARM_SCRIBBLE) {
		harmLater(s, (size_t)(a[0] * 8), a[2] != 0 ? gmt_get64(logBytes + a[0] * 8) + a[1] : a[1]);
		s->scribbled = true;
	}
}

static void scribbleChunk(void *v, const uint64_t *a) {
	state *s = v;
	if (s->level == HARM_SCRIBBLE && s->chunks > 0) {
		harmLater(s, (size_t)(HEADER + a[0] % s->chunks * CHUNK + a[1] * 8), a[2]);
		s->scribbled = true;
	}
}

static void cutAt(state *s, size_t n) {
	if (s->level >= HARM_CUT && n > 0) {
		s->size_of_log = n;
		s->cut = true;
	}
}

static void cut(void *v, const uint64_t *a) {
	state *s = v;
	cutAt(s, (size_t)(a[0] % (HEADER + s->chunks * (size_t)CHUNK + 1)));
}

// cutRecord cuts the file in a record, or before or behind it.
static void cutRecord(void *v, const uint64_t *a) {
	state *s = v;
	const size_t at = aRecord(s, a[0], a[1]);
	cutAt(s, (size_t)(at == 0 ? 0 : at + a[2]));
}

// ---- what comes out

static unsigned logStream(uint16_t stream) { return stream >= GMT_STREAM_M ? MAX_PS : stream; }

// Names of the recording and of the log: one to one.
typedef struct names {
	uint64_t spans[64 + 2]; // by number: the address
	uint64_t nspans;
	uint16_t ms[MAX_MS]; // by number: the stream as it was logged
	unsigned nms;
} names;

static bool sameSpan(names *n, uint64_t number, uint64_t address) {
	if (number == 0 || address == 0) {
		return number == address;
	}
	if (number == n->nspans + 1 && number < 64 + 2) {
		for (uint64_t i = 1; i < number; i++) {
			fuzz_check(n->spans[i] != address, "a span has one number");
		}
		n->spans[++n->nspans] = address;
	}
	return number <= n->nspans && n->spans[number] == address;
}

static bool sameStream(names *n, uint16_t stream, uint16_t logged) {
	if (logged < GMT_STREAM_M) {
		return stream == logged;
	}
	const unsigned m = stream - GMT_STREAM_M;
	if (stream >= GMT_STREAM_M && m == n->nms && m < MAX_MS) {
		n->ms[n->nms++] = logged;
	}
	return stream >= GMT_STREAM_M && m < n->nms && n->ms[m] == logged;
}

// next finds the record of a log stream's next event.
static const record *next(const state *s, unsigned stream, uint32_t *at) {
	while (*at < s->n && (records[*at].log != stream || records[*at].silent)) {
		++*at;
	}
	return *at < s->n ? &records[(*at)++] : NULL;
}

static void checkEvent(names *n, const gmt_event *e, const uint64_t *marks, const record *r) {
	const bool span = gmt_kind((gomem_ev)e->kind)->span_field == 'b';
	fuzz_equal("kind of an event", e->kind, r->e.kind);
	fuzz_check(sameStream(n, e->stream, r->e.stream), "stream of an event");
	fuzz_check(span ? sameSpan(n, e->b, r->e.b) : e->b == r->e.b, "field b of an event");
	fuzz_check(e->a == r->e.a && e->c == r->e.c && e->d == r->e.d, "fields of an event");
	fuzz_equal("words of marks", e->nmarks, r->e.nmarks);
	fuzz_check(memcmp(marks + e->mark_index, r->marks, e->nmarks * sizeof marks[0]) == 0, "mark bits");
}

// checkPositions: what stands between two events of a stream in the log names places that must have been reached.
static void checkPositions(const state *s, unsigned stream, uint32_t from, uint32_t to, const unsigned *given) {
	for (uint32_t i = from; i < to && i < s->n; i++) {
		const record *r = &records[i];
		if (r->log == stream && (r->silent || namesPosition(r->e.kind)) && given[r->of] < r->before) {
			fuzz_fail("event %u of stream %u stands before event %u of stream %u", given[stream], stream, r->before - 1,
				r->of);
		}
	}
}

static void checkEvents(const state *s, const gmt_block *b, bool whole) {
	uint32_t at[MAX_PS + 1] = {0};
	unsigned given[MAX_PS + 1] = {0};
	uint64_t turn = 0;
	static names n;
	n.nspans = n.nms = 0;
	for (uint32_t i = 0; i < b->n; i++) {
		const unsigned stream = logStream(b->events[i].stream);
		fuzz_check(stream <= MAX_PS, "stream of an event");
		const uint32_t from = at[stream];
		const record *r = next(s, stream, &at[stream]);
		fuzz_check(r != NULL, "an event that was not logged");
		checkEvent(&n, &b->events[i], b->marks, r);
		checkPositions(s, stream, from, at[stream], given);
		if (r->turn != UINT64_MAX) {
			fuzz_equal("turn", r->turn, turn);
			turn++;
		}
		given[stream]++;
	}
	for (unsigned k = 0; k <= MAX_PS && whole; k++) {
		fuzz_equal("events of a stream", given[k], s->streams[k].n);
	}
}

static void checkRecording(const state *s, gmt_memory m, const gmt_import *found) {
	gmt_error err;
	gmt_block b = {0}, rest;
	gmt_reader *r = gmt_open_memory("fuzz.gmt", m.p, m.n, &err);
	int got = r == NULL ? -1 : gmt_next(r, &b, &err);
	fuzz_check(got >= 0 && b.n == found->events, "the recording can be read, and has the events that were found");
	if (!s->scribbled) {
		fuzz_check(found->turns <= s->turn && found->turns_claimed == s->turn, "turns found");
		fuzz_check(s->cut || !found->cut, "a whole log is not cut");
		checkEvents(s, &b, !s->cut);
	}
	fuzz_check(got == 0 || gmt_next(r, &rest, &err) == 0, "the counts of the recording are right");
	gmt_close(r);
}

static void checkError(const char *text, size_t size) {
	const char *at = strstr(text, "offset ");
	const bool placed = at != NULL && strtoull(at + 7, NULL, 10) <= size;
	if (strncmp(text, "fuzz.raw: ", 10) != 0 || (!placed && strstr(text, "stands in two streams") == NULL)) {
		fuzz_fail("an error that does not name the log and an offset in it: %s", text);
	}
}

// clean makes the log zero again.
static void clean(const state *s) {
	memset(logBytes, 0, HEADER);
	for (size_t i = 0; i < s->chunks; i++) {
		memset(logBytes + HEADER + i * (size_t)CHUNK, 0, s->used[i] * 8);
	}
	for (unsigned i = 0; i < s->nharms; i++) {
		put((size_t)(s->harms[i].at), 0);
	}
}

// Under AddressSanitizer what lies behind the log must not be read.
extern void __asan_poison_memory_region(void const volatile *p, size_t n) __attribute__((weak));
extern void __asan_unpoison_memory_region(void const volatile *p, size_t n) __attribute__((weak));

static int import(gmt_memory log, gmt_memory *out, gmt_import *found, gmt_error *err) {
	const gmt_header h = {.goos = "linux", .goarch = "amd64", .command = "fuzz"};
	const size_t behind = sizeof logBytes - log.n;
	if (__asan_poison_memory_region != NULL) {
		__asan_poison_memory_region(logBytes + log.n, behind < CHUNK ? behind : CHUNK);
	}
	const int result = gmt_import_memory(logName, log, out, &h, GMT_END_EXIT, 0, found, err);
	if (__asan_unpoison_memory_region != NULL) {
		__asan_unpoison_memory_region(logBytes + log.n, behind < CHUNK ? behind : CHUNK);
	}
	return result;
}

static void end(void *v) {
	state *s = v;
	gmt_error err;
	gmt_memory out;
	gmt_import found;
	const size_t all = HEADER + s->chunks * (size_t)CHUNK;
	for (unsigned i = 0; i < s->nharms; i++) {
		put((size_t)(s->harms[i].at), s->harms[i].value);
	}
	const gmt_memory log = {logBytes, s->size_of_log != 0 && s->size_of_log < all ? s->size_of_log : all};
	if (import(log, &out, &found, &err) == 0) {
		checkRecording(s, out, &found);
		free(out.p);
	} else {
		if (!s->scribbled && log.n >= HEADER) {
			fuzz_fail("a good log is refused: %s", err.text);
		}
		fuzz_check(out.p == NULL, "nothing comes out of a log that is refused");
		checkError(err.text, log.n);
	}
	clean(s);
}

#define P                                                                                                              \
	{ "p", 1, FUZZ_ANY, MAX_PS - 1 }
#define WHO                                                                                                            \
	{ "who", 1, FUZZ_ANY, (MAX_PS + 1) * MAX_MS - 1 }
#define SOME_CHUNK                                                                                                     \
	{ "chunk", 1, FUZZ_ANY, MAX_CHUNKS - 1 }
#define NTH                                                                                                            \
	{ "nth", 2, FUZZ_ANY, 0 }
#define VALUE                                                                                                          \
	{ "value", 8, FUZZ_WORD, 0 }
#define ADD                                                                                                            \
	{ "add", 1, FUZZ_ANY, 1 }

static const fuzz_op_info ops[] = {
	{"event",
		{WHO, {"kind", 1, FUZZ_ANY, EV_MAX - 2}, {"a", 8, FUZZ_ANY, 0}, {"b", 8, FUZZ_ANY, 0}, {"c", 8, FUZZ_WORD, 0},
			{"d", 8, FUZZ_WORD, 0}},
		event},
	{"again", {{"times", 1, FUZZ_ANY, 0}, {"step", 1, FUZZ_ANY, 0}}, again},
	{"sweep",
		{P, {"span", 1, FUZZ_ANY, 0}, {"nelems", 2, FUZZ_INDEX, 1024}, {"live", 2, FUZZ_INDEX, 1024},
			{"marks", 2, FUZZ_ANY, 0}},
		sweep},
	{"malloc",
		{WHO, {"begins", 1, FUZZ_ANY, 1}, {"size", 8, FUZZ_SIZE, 0}, {"how", 1, FUZZ_ANY, 31},
			{"address", 6, FUZZ_ANY, 0}},
		malloced},
	{"stop", {P, {"phase", 1, FUZZ_ANY, 3}}, stop},
	{"fill", {P, {"more", 1, FUZZ_ANY, 15}, {"sure13", 1, FUZZ_ANY, 63}}, fill},
	{"unfinished", {SOME_CHUNK, NTH}, unfinished},
	{"cut", {{"bytes", 4, FUZZ_ANY, 0}}, cut},
	{"cutrecord", {SOME_CHUNK, NTH, {"bytes", 1, FUZZ_ANY, 0}}, cutRecord},
	{"scribble", {SOME_CHUNK, NTH, {"word", 1, FUZZ_ANY, 31}, VALUE, ADD}, scribble},
	{"header", {{"word", 1, FUZZ_ANY, 63}, VALUE, ADD}, scribbleHeader},
	{"chunk", {SOME_CHUNK, {"word", 2, FUZZ_ANY, WORDS - 1}, VALUE}, scribbleChunk},
};

FUZZ_TARGET(gmt_import) = {
	.name = "gmt_import",
	.what = "raw logs of the recorder, whole, cut and scribbled on, against what was logged",
	.config = {{"seed", 8, FUZZ_WORD, 0}, {"flags", 1, FUZZ_ANY, 0}, {"procs", 1, FUZZ_ANY, 0},
		{"debug", 1, FUZZ_ANY, 0}, {"stopped", 1, FUZZ_ANY, 2}, {"harm", 1, FUZZ_ANY, HARM_SCRIBBLE}},
	.ops = ops,
	.nops = sizeof ops / sizeof ops[0],
	.max_ops = 16,
	.begin = begin,
	.end = end,
};
