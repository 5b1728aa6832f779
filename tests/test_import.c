// test_import.c: raw logs of the recorder, made here word by word, become recordings in the right order, or clear errors.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "traces/gmt_format.h"
#include "words.h"

enum { SHARED = 0xffff, CHUNK = 262144, WORDS = CHUNK / 8, HEADER = 4096, MAX_CHUNKS = 24, POSITION = 255 };

static char dir[] = "/tmp/gomem-test-import-XXXXXX";
static char rawPath[64], outPath[64];

static uint64_t seed = 7;

static uint64_t next_random(void) {
	seed += 0x9e3779b97f4a7c15u;
	uint64_t z = (seed ^ seed >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

// ---- making logs

typedef struct log {
	uint8_t *p;
	size_t chunks;
	size_t at[SHARED + 1]; // of each stream: next word of the file, 0: no chunk
	uint64_t ordinal[SHARED + 1];
	uint64_t turn;
} log;

static void put(log *l, size_t offset, uint64_t v) { (void)gmt_put64(l->p + offset, v); }

static log new_log(void) {
	log l = {.p = calloc(1, HEADER + (size_t)MAX_CHUNKS * CHUNK)};
	assert_non_null(l.p);
	memcpy(l.p, "GOMEMRAW", 8);
	put(&l, 8, 1);
	put(&l, 16, 1);
	put(&l, 24, 1234);
	put(&l, 32, CHUNK);
	put(&l, 72, 8192);
	put(&l, 80, 4096);
	put(&l, 88, 2 << 20);
	put(&l, 96, 64 << 20);
	put(&l, 104, 0x123456789abcdef0);
	put(&l, 112, 3);
	put(&l, 120, 4);
	put(&l, 128, 5);
	memcpy(l.p + 512, "go1.26.8", 9);
	return l;
}

static void free_log(log *l) { free(l->p); }

// space is where n words of the stream go.
static size_t space(log *l, unsigned stream, size_t n) {
	size_t at = l->at[stream];
	if (at == 0 || (at * 8 - HEADER) % CHUNK + n * 8 > CHUNK || (at * 8 - HEADER) % CHUNK == 0) {
		assert_true(l->chunks < MAX_CHUNKS);
		size_t chunk = HEADER + l->chunks++ * CHUNK;
		memcpy(l->p + chunk, "RAWCHUNK", 8);
		put(l, chunk + 8, stream);
		put(l, chunk + 16, l->ordinal[stream]++);
		put(l, 40, l->chunks);
		at = chunk / 8 + 4;
	}
	l->at[stream] = at + n;
	return at * 8;
}

static uint64_t position(const log *l, unsigned stream) {
	if (l->at[stream] == 0) {
		return 0;
	}
	size_t in = l->at[stream] - HEADER / 8;
	return (l->ordinal[stream] - 1) * WORDS + (in % WORDS == 0 ? WORDS : in % WORDS);
}

// add appends a record of any kind but the mallocs. words: arguments, marks and position. m: in the shared stream. Returns its offset.
static size_t add(log *l, unsigned stream, unsigned kind, size_t n, const uint64_t *words, uint64_t m) {
	bool shared = stream == SHARED;
	bool turn = shared || (kind != POSITION && gmt_kind((gomem_ev)kind)->turn);
	size_t all = 1 + n + (shared ? 1 : 0) + (turn ? 1 : 0);
	size_t at = space(l, stream, all);
	size_t w = at;
	for (size_t i = 0; i < n; i++) {
		put(l, w += 8, words[i]);
	}
	if (shared) {
		put(l, w += 8, m);
	}
	if (turn) {
		put(l, w + 8, l->turn++);
		put(l, 48, l->turn);
	}
	put(l, at, kind | all << 8);
	return at;
}

static size_t add1(log *l, unsigned stream, unsigned kind, uint64_t a) { return add(l, stream, kind, 1, &a, 0); }

static size_t add2(log *l, unsigned stream, unsigned kind, uint64_t a, uint64_t b) {
	return add(l, stream, kind, 2, (const uint64_t[]){a, b}, 0);
}

static size_t add_malloc(
	log *l, unsigned stream, unsigned kind, uint64_t size, unsigned flags, uint64_t address, uint64_t m) {
	bool shared = stream == SHARED;
	bool big = size >> 32 != 0;
	size_t all = 1 + (size_t)(kind == EV_MALLOC) + (big ? 1 : 0) + (shared ? 2 : 0);
	size_t at = space(l, stream, all);
	size_t w = at;
	if (kind == EV_MALLOC) {
		put(l, w += 8, address);
	}
	if (big) {
		put(l, w += 8, size);
	}
	if (shared) {
		put(l, w + 8, m);
		put(l, w + 16, l->turn++);
		put(l, 48, l->turn);
	}
	put(l, at, kind | all << 8 | (uint64_t)(flags | (big ? 32u : 0u)) << 16 | size << 32);
	return at;
}

static size_t log_size(const log *l) { return HEADER + l->chunks * CHUNK; }

static void store(const log *l, size_t n) {
	int fd = open(rawPath, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, l->p, n), (ssize_t)n);
	(void)close(fd);
}

// ---- importing

static gmt_import found;
static gmt_error lastError;

static int import(const log *l, size_t n) {
	gmt_header h = {.goos = "linux", .goarch = "amd64", .command = "prog"};
	store(l, n);
	(void)unlink(outPath);
	found = (gmt_import){0};
	return gmt_import_raw(rawPath, outPath, &h, GMT_END_EXIT, 3, &found, &lastError);
}

typedef struct events {
	gmt_event *e;
	size_t n;
	gmt_header header;
	gmt_end_kind end;
	uint64_t value;
} events;

static events read_back(void) {
	gmt_error err;
	gmt_reader *r = gmt_open(outPath, &err);
	assert_non_null(r);
	events out = {.n = (size_t)gmt_reader_events(r), .header = *gmt_reader_header(r)};
	out.end = gmt_reader_end(r, &out.value);
	out.e = calloc(out.n + 1, sizeof(*out.e));
	gmt_block b;
	int got;
	while ((got = gmt_next(r, &b, &err)) > 0) {
		memcpy(out.e + b.first, b.events, b.n * sizeof(*out.e));
	}
	assert_int_equal(got, 0);
	gmt_close(r);
	return out;
}

static events imported(const log *l) {
	if (import(l, log_size(l)) != 0) {
		fail_msg("%s", lastError.text);
	}
	return read_back();
}

static void assert_bad(const log *l, size_t offset, const char *why) {
	char at[64];
	(void)snprintf(at, sizeof(at), "offset %zu: ", offset);
	assert_int_equal(import(l, log_size(l)), -1);
	if (strncmp(lastError.text, rawPath, strlen(rawPath)) != 0 || strstr(lastError.text, why) == NULL ||
		strstr(lastError.text, at) == NULL) {
		fail_msg("the message is: %s (wanted: %s%s)", lastError.text, at, why);
	}
	assert_int_equal(access(outPath, F_OK), -1);
}

static void assert_order(const events *e, const char *want) {
	char got[512];
	size_t n = 0;
	for (size_t i = 0; i < e->n && n < sizeof(got) - 32; i++) {
		n += (size_t)snprintf(got + n, sizeof(got) - n, "%s%x:%s=%llx", i == 0 ? "" : " ", e->e[i].stream,
			gmt_kind((gomem_ev)e->e[i].kind)->name, (unsigned long long)e->e[i].a);
	}
	got[n] = 0;
	assert_string_equal(got, want);
}

// ---- tests

static void test_turns_order_streams(void **state) {
	(void)state;
	log l = new_log();
	add1(&l, 0, EV_ALLOCMANUAL, 1);
	add1(&l, 2, EV_ALLOCMANUAL, 2);
	add1(&l, 2, EV_GCPHASE, 0x10); // turn 0
	add1(&l, 0, EV_ALLOCMANUAL, 3);
	add1(&l, 0, EV_GCPHASE, 0x11); // turn 1
	add1(&l, 2, EV_ALLOCMANUAL, 4);
	add1(&l, 0, EV_GCPHASE, 0x12); // turn 2
	add1(&l, 2, EV_GCPHASE, 0x13); // turn 3
	add1(&l, 2, EV_ALLOCMANUAL, 5);
	add1(&l, 0, EV_ALLOCMANUAL, 6);
	events e = imported(&l);
	assert_order(&e,
		"2:alloc-manual=2 2:gc-phase=10 0:alloc-manual=1 0:alloc-manual=3 0:gc-phase=11 0:gc-phase=12 2:alloc-manual=4 "
		"2:gc-phase=13 0:alloc-manual=6 2:alloc-manual=5");
	assert_false(found.cut);
	assert_int_equal(found.turns, 4);
	free(e.e);
	free_log(&l);
}

static void test_header_and_end(void **state) {
	(void)state;
	log l = new_log();
	add1(&l, 0, EV_GCPHASE, 1);
	events e = imported(&l);
	assert_string_equal(e.header.goversion, "go1.26.8");
	assert_string_equal(e.header.godebug, "sbrk=1,madvdontneed=1");
	assert_string_equal(e.header.command, "prog");
	assert_int_equal(e.header.page_size, 8192);
	assert_int_equal(e.header.phys_page_size, 4096);
	assert_int_equal(e.header.phys_huge_page_size, 2 << 20);
	assert_int_equal(e.header.arena_bytes, 64 << 20);
	assert_true(e.header.rand_seed == 0x123456789abcdef0);
	assert_int_equal(e.header.gomaxprocs, 4);
	assert_true(e.header.randomize_heap_base && e.header.green_tea && !e.header.size_specialized_malloc &&
		!e.header.runtime_freegc);
	assert_int_equal(e.end, GMT_END_EXIT);
	assert_int_equal(e.value, 3);
	free(e.e);
	static const struct {
		uint64_t state, stop, code;
		gmt_end_kind end;
		uint64_t value;
	} ends[] = {{1, 1, 28, GMT_END_DISK, 28}, {1, 2, 95, GMT_END_ERROR, 95}, {2, 0, 0, GMT_END_EXEC, 0}};
	for (size_t i = 0; i < 3; i++) {
		put(&l, 16, ends[i].state);
		put(&l, 56, ends[i].stop);
		put(&l, 64, ends[i].code);
		e = imported(&l);
		assert_int_equal(e.end, ends[i].end);
		assert_int_equal(e.value, ends[i].value);
		free(e.e);
	}
	free_log(&l);
}

static void test_mallocs(void **state) {
	(void)state;
	log l = new_log();
	add_malloc(&l, 0, EV_MALLOC, 24, 2 | 8, 0xc000000018, 0);
	add_malloc(&l, 0, EV_MALLOCBEGIN, 48, 16, 0, 0);
	add1(&l, 0, EV_ALLOCMANUAL, 1);
	add_malloc(&l, 0, EV_MALLOC, 48, 3 | 16, 0xc000000030, 0);
	add_malloc(&l, 0, EV_MALLOC, 48, 3 | 16, 0xc000000060, 0);
	add_malloc(&l, 1, EV_MALLOCBEGIN, (uint64_t)5 << 32, 8, 0, 0);
	add_malloc(&l, 1, EV_MALLOC, (uint64_t)5 << 32, 5 | 8, 0xc100000000, 0);
	events e = imported(&l);
	assert_int_equal(e.n, 7);
	static const gmt_event want[] = {
		{.kind = EV_MALLOC, .a = 24, .b = 1, .c = 2, .d = 0xc000000018},
		{.kind = EV_MALLOCBEGIN, .a = 48, .b = 2},
		{.kind = EV_ALLOCMANUAL, .a = 1},
		{.kind = EV_MALLOCEND, .a = 3, .b = 0xc000000030},
		{.kind = EV_MALLOC, .a = 48, .b = 2, .c = 3, .d = 0xc000000060},
		{.kind = EV_MALLOCBEGIN, .stream = 1, .a = (uint64_t)5 << 32, .b = 1},
		{.kind = EV_MALLOCEND, .stream = 1, .a = 5, .b = 0xc100000000},
	};
	assert_memory_equal(e.e, want, sizeof(want));
	free(e.e);
	size_t at = add_malloc(&l, 0, EV_MALLOCBEGIN, 48, 16, 0, 0);
	(void)at;
	at = add_malloc(&l, 0, EV_MALLOCBEGIN, 48, 16, 0, 0);
	assert_bad(&l, at, "begins inside a malloc");
	put(&l, at, EV_MALLOC | 2 << 8 | (uint64_t)3 << 16 | (uint64_t)8 << 32);
	assert_bad(&l, at, "a malloc of 8 bytes ends one of 48");
	put(&l, at, EV_MALLOC | 2 << 8 | (uint64_t)64 << 16 | (uint64_t)8 << 32);
	assert_bad(&l, at, "damaged record of kind malloc");
	put(&l, at, EV_MALLOC | 2 << 8 | (uint64_t)7 << 16 | (uint64_t)8 << 32);
	assert_bad(&l, at, "damaged record of kind malloc");
	free_log(&l);
}

static void test_spans_and_marks(void **state) {
	(void)state;
	log l = new_log();
	add2(&l, 0, EV_PUSH, 5, 0x7f0000001000);
	add2(&l, 0, EV_POP, 5, 0);
	add2(&l, 0, EV_PUSH, 5, 0x7f0000000000);
	const uint64_t sweep[] = {(uint64_t)100 << 1, 0x7f0000001000, 0xc000000000, 1 | (uint64_t)7 << 32, 0x7f, 0};
	add(&l, 0, EV_SWEEP, 6, sweep, 0);
	const uint64_t none[] = {(uint64_t)100 << 1, 0x7f0000000000, 0xc000000000, 1 | (uint64_t)100 << 32};
	size_t at = add(&l, 0, EV_SWEEP, 4, none, 0);
	events e = imported(&l);
	assert_int_equal(e.n, 5);
	static const uint64_t spans[] = {1, 0, 2, 1, 2};
	for (size_t i = 0; i < 5; i++) {
		assert_int_equal(e.e[i].b, spans[i]);
	}
	assert_int_equal(e.e[3].nmarks, 2);
	assert_int_equal(e.e[4].nmarks, 0);
	free(e.e);
	put(&l, at + 32, 1 | (uint64_t)99 << 32); // some live: mark words must follow
	assert_bad(&l, at, "damaged record of kind sweep (5 words)");
	free_log(&l);
}

static void test_ms_without_p(void **state) {
	(void)state;
	log l = new_log();
	add(&l, SHARED, EV_GCPHASE, 1, (const uint64_t[]){1}, 77);
	add(&l, SHARED, EV_ALLOCMANUAL, 1, (const uint64_t[]){2}, 5);
	add_malloc(&l, SHARED, EV_MALLOCBEGIN, 16, 8, 0, 77);
	add_malloc(&l, SHARED, EV_MALLOC, 32, 2 | 8, 0xc000000000, 5);
	add_malloc(&l, SHARED, EV_MALLOC, 16, 2 | 8, 0xc000000100, 77);
	events e = imported(&l);
	assert_order(&e, "8000:gc-phase=1 8001:alloc-manual=2 8000:malloc-begin=10 8001:malloc=20 8000:malloc-end=2");
	free(e.e);
	free_log(&l);
}

static void test_positions(void **state) {
	(void)state;
	log l = new_log();
	add1(&l, 1, EV_ALLOCMANUAL, 1);
	uint64_t before = position(&l, 1);
	add2(&l, 0, EV_PREPARESWEEP, 1, before);          // P 1's cache, flushed by P 0
	add2(&l, 0, EV_PREPARESWEEP, 0, position(&l, 0)); // its own
	add2(&l, 0, EV_FLUSHMCACHE, 3, 0);                // a P that logged nothing
	add1(&l, 1, EV_ALLOCMANUAL, 2);
	add2(&l, 0, POSITION, 1, position(&l, 1));
	add1(&l, 0, EV_SWEEPGEN, 4);
	add1(&l, 1, EV_ALLOCMANUAL, 3);
	events e = imported(&l);
	assert_order(&e,
		"1:alloc-manual=1 0:prepare-for-sweep=1 0:prepare-for-sweep=0 0:flush-mcache=3 1:alloc-manual=2 0:sweepgen=4 "
		"1:alloc-manual=3");
	free(e.e);
	// A position behind a later turn contradicts the turns.
	size_t at = add2(&l, 0, POSITION, 1, position(&l, 1) + 2 + 3);
	add1(&l, 0, EV_SWEEPGEN, 6);
	add1(&l, 1, EV_ALLOCMANUAL, 4);
	add1(&l, 1, EV_GCPHASE, 0);
	assert_bad(&l, at, "behind a later turn");
	put(&l, at + 8, 0x8000);
	assert_bad(&l, at, "there is no P 32768");
	// A position behind the end of the log: it was cut before.
	put(&l, at + 8, 1);
	put(&l, at + 16, 50 * WORDS);
	put(&l, (l.at[1] - 3) * 8, 0);
	e = imported(&l);
	assert_true(found.cut);
	assert_order(&e,
		"1:alloc-manual=1 0:prepare-for-sweep=1 0:prepare-for-sweep=0 0:flush-mcache=3 1:alloc-manual=2 0:sweepgen=4 "
		"1:alloc-manual=3 1:alloc-manual=4");
	free(e.e);
	free_log(&l);
}

// A position at the end of a chunk, and one behind the head of the next, are the same place.
static void test_position_at_chunk_end(void **state) {
	(void)state;
	log l = new_log();
	for (size_t i = 0; i < (WORDS - 4) / 2; i++) {
		add1(&l, 1, EV_ALLOCMANUAL, i);
	}
	assert_int_equal(position(&l, 1), WORDS);
	add2(&l, 0, EV_PREPARESWEEP, 1, position(&l, 1));
	add1(&l, 1, EV_ALLOCMANUAL, 0xabc);
	events e = imported(&l);
	size_t n = (WORDS - 4) / 2;
	assert_int_equal(e.n, n + 2);
	assert_int_equal(e.e[n].kind, EV_PREPARESWEEP);
	assert_int_equal(e.e[n + 1].a, 0xabc);
	assert_false(found.cut);
	free(e.e);
	free_log(&l);
}

// sample is a log of several streams and chunks.
static log sample(void) {
	log l = new_log();
	for (unsigned i = 0; i < 60000; i++) {
		unsigned p = (unsigned)(next_random() % 3);
		switch (next_random() % 8) {
		case 0:
			add2(&l, p, EV_PUSH, i % 500, 0x7f0000000000 + i % 50 * 160);
			break;
		case 1:
			add(&l, SHARED, EV_ALLOCMANUAL, 1, (const uint64_t[]){i}, i % 4);
			break;
		case 2:
			add2(&l, p, EV_PREPARESWEEP, (p + 1) % 3, position(&l, (p + 1) % 3));
			break;
		default:
			add_malloc(&l, p, EV_MALLOC, i % 100, 2 | 8, 0xc000000000 + (uint64_t)16 * i, 0);
		}
	}
	return l;
}

static void test_many_chunks(void **state) {
	(void)state;
	log l = sample();
	assert_true(l.chunks > 4);
	events e = imported(&l);
	assert_int_equal(e.n, 60000);
	assert_false(found.cut);
	free(e.e);
	free_log(&l);
}

static size_t common_prefix(const events *a, const events *b) {
	size_t i = 0;
	while (i < a->n && i < b->n && a->e[i].kind == b->e[i].kind && a->e[i].stream == b->e[i].stream &&
		a->e[i].a == b->e[i].a && a->e[i].b == b->e[i].b && a->e[i].d == b->e[i].d) {
		i++;
	}
	return i;
}

// A record that was never finished ends the recording before its turn; what comes out is a prefix of the whole.
static void test_unwritten_record(void **state) {
	(void)state;
	log l = sample();
	events whole = imported(&l);
	for (unsigned i = 0; i < 20; i++) {
		// An event with a turn, found by its address in the log: the last turn of a random chunk.
		size_t chunk = (size_t)(HEADER + next_random() % l.chunks * CHUNK);
		size_t at = chunk + 32;
		size_t turn = 0;
		for (size_t n = 0; at < chunk + CHUNK && gmt_get64(l.p + at) != 0; at += 8 * n) {
			n = gmt_get64(l.p + at) >> 8 & 0xff;
			unsigned kind = (unsigned)gmt_get64(l.p + at) & 0xff;
			turn = gmt_kind((gomem_ev)kind)->turn && next_random() % 8 == 0 ? at : turn;
		}
		if (turn == 0) {
			continue;
		}
		uint64_t head = gmt_get64(l.p + turn);
		uint64_t number = gmt_get64(l.p + turn + 8 * ((head >> 8 & 0xff) - 1));
		put(&l, turn, 0);
		int result = import(&l, log_size(&l));
		put(&l, turn, head);
		if (result != 0) {
			fail_msg("%s", lastError.text);
		}
		events part = read_back();
		assert_true(found.cut);
		assert_true(found.turns <= number);
		assert_true(part.n < whole.n);
		assert_int_equal(common_prefix(&part, &whole), part.n);
		free(part.e);
	}
	free(whole.e);
	free_log(&l);
}

static void test_truncated_file(void **state) {
	(void)state;
	log l = sample();
	events whole = imported(&l);
	size_t all = log_size(&l);
	for (unsigned i = 0; i < 40; i++) {
		size_t n = (size_t)(i < 20 ? HEADER + i * 8 : HEADER + next_random() % (all - HEADER));
		if (import(&l, n) != 0) {
			fail_msg("cut at %zu: %s", n, lastError.text);
		}
		events part = read_back();
		size_t same = common_prefix(&part, &whole);
		// The rests of streams may differ in order, but only if no turn is missing.
		assert_true(same == part.n || !found.cut);
		free(part.e);
	}
	for (size_t n = 0; n < HEADER; n += 511) {
		assert_int_equal(import(&l, n), -1);
		assert_non_null(strstr(lastError.text, "shorter than its header"));
	}
	free(whole.e);
	free_log(&l);
}

// Any words anywhere: an error or a valid recording, never a crash.
static void test_scribbled_log(void **state) {
	(void)state;
	log l = sample();
	size_t all = log_size(&l);
	uint8_t *copy = malloc(all);
	assert_non_null(copy);
	memcpy(copy, l.p, all);
	unsigned good = 0;
	for (unsigned i = 0; i < 120; i++) {
		for (uint64_t k = 1 + next_random() % 3; k > 0; k--) {
			size_t at = next_random() % 4 == 0 ? next_random() % 64 * 8 : next_random() % (all / 8) * 8;
			uint64_t old = gmt_get64(l.p + at);
			put(&l, at,
				next_random() % 2 != 0 ? next_random() >> next_random() % 64 : old ^ (uint64_t)1 << next_random() % 64);
		}
		if (import(&l, all) == 0) {
			events e = read_back();
			free(e.e);
			good++;
		} else {
			assert_memory_equal(lastError.text, rawPath, strlen(rawPath));
		}
		memcpy(l.p, copy, all);
	}
	assert_true(good > 0 && good < 120);
	free(copy);
	free_log(&l);
}

// One damaged log, by a process of its own: cut, bits turned, words that are huge. It ends by itself; what it took is told.
static long memory_of_damaged(log *l, size_t all, unsigned how) {
	const pid_t pid = fork();
	if (pid == 0) {
		const struct rlimit seconds = {20, 20};
		setrlimit(RLIMIT_CPU, &seconds); // it needs some milliseconds: this is for who does not come to an end
		const size_t n = (size_t)(how % 3 == 0 ? next_random() % all : all);
		for (unsigned k = 0; how % 3 != 0 && k < 1 + how % 5; k++) {
			const size_t at = (k % 2 == 0 ? next_random() % 64 : next_random() % (all / 8)) * 8;
			const uint64_t old = gmt_get64(l->p + at);
			put(l, at, how % 3 == 1 ? old ^ (uint64_t)1 << next_random() % 64 : ~(uint64_t)0 >> next_random() % 40);
		}
		(void)import(l, n);
		_exit(0);
	}
	(void)next_random();
	int status = 0;
	struct rusage used;
	assert_int_equal(wait4(pid, &status, 0, &used), pid);
	assert_int_equal(status, 0);
	return used.ru_maxrss;
}

static void test_damage_is_bounded(void **state) {
	(void)state;
	log l = sample();
	const size_t all = log_size(&l);
	struct rusage before;
	getrusage(RUSAGE_SELF, &before);
	long most = 0;
	for (unsigned i = 0; i < 300; i++) {
		const long now = memory_of_damaged(&l, all, i);
		most = now > most ? now : most;
	}
	printf("300 damaged raw logs: at most %ld KiB more than the test itself has\n", most - before.ru_maxrss);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	assert_true(most < before.ru_maxrss + (48 << 10));
#endif
	free_log(&l);
}

static void test_header_errors(void **state) {
	(void)state;
	static const struct {
		size_t at;
		uint64_t value;
		const char *why;
	} cases[] = {
		{0, 1, "not a raw log"},
		{8, 2, "raw log version 2"},
		{16, 0, "never began to record"},
		{16, 3, "no such state"},
		{32, 4096, "chunks of 4096 bytes"},
		{56, 3, "no such reason to stop"},
		{72, 0, "before its allocator was set up"},
		{120, 40000, "GOMAXPROCS out of range"},
		{HEADER, 1, "no chunk begins here"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		log l = new_log();
		add1(&l, 0, EV_GCPHASE, 1);
		put(&l, cases[i].at, cases[i].value);
		assert_bad(&l, cases[i].at, cases[i].why);
		free_log(&l);
	}
}

static void test_record_errors(void **state) {
	(void)state;
	log l = new_log();
	size_t at = add1(&l, 0, EV_GCPHASE, 1);
	static const struct {
		uint64_t word;
		const char *why;
	} cases[] = {
		{EV_MAX | 3 << 8, "no record has kind"},
		{EV_MALLOCEND | 3 << 8, "no record has kind"},
		{254 | 3 << 8, "no record has kind"},
		{EV_GCPHASE, "a record of 0 words"},
		{EV_GCPHASE | 4 << 8, "damaged record of kind gc-phase (4 words)"},
		{EV_GCPHASE | 2 << 8, "damaged record of kind gc-phase (2 words)"},
		{EV_GCPHASE | 3 << 8 | 1 << 16, "damaged record of kind gc-phase"},
		{POSITION | 4 << 8, "damaged record of kind position"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		put(&l, at, cases[i].word);
		assert_bad(&l, at, cases[i].why);
	}
	put(&l, at, EV_GCPHASE | 3 << 8);
	put(&l, HEADER + 8, 0x8000);
	assert_bad(&l, HEADER + 8, "stream 32768 is no P");
	put(&l, HEADER + 8, 0);
	put(&l, HEADER + 16, 1);
	assert_bad(&l, HEADER + 16, "chunk 1 of its stream, 0 were expected");
	put(&l, HEADER + 16, 0);
	size_t second = add1(&l, 0, EV_GCPHASE, 2);
	put(&l, second + 16, 0);
	assert_bad(&l, second, "turn 0 after turn 0");
	put(&l, second + 16, 1);
	put(&l, add1(&l, 1, EV_GCPHASE, 2) + 16, 1);
	assert_int_equal(import(&l, log_size(&l)), -1);
	assert_non_null(strstr(lastError.text, "turn 1 stands in two streams"));
	free_log(&l);
}

// A record may not reach over the end of its chunk.
static void test_record_over_chunk_end(void **state) {
	(void)state;
	log l = new_log();
	for (size_t i = 0; i < (WORDS - 4) / 2; i++) {
		add1(&l, 1, EV_ALLOCMANUAL, i);
	}
	size_t last = HEADER + CHUNK - 16;
	put(&l, last, EV_GCPHASE | 3 << 8);
	assert_bad(&l, last, "does not fit here");
	free_log(&l);
}

static void test_no_log(void **state) {
	(void)state;
	gmt_header h = {.goos = "linux"};
	gmt_error err;
	(void)unlink(outPath);
	assert_int_equal(gmt_import_raw(dir, outPath, &h, GMT_END_EXIT, 0, NULL, &err), -1);
	assert_non_null(strstr(err.text, "not a regular file"));
	(void)unlink(rawPath);
	assert_int_equal(gmt_import_raw(rawPath, outPath, &h, GMT_END_EXIT, 0, NULL, &err), -1);
	assert_non_null(strstr(err.text, "No such file"));
	// Gigabytes of nothing.
	int fd = open(rawPath, O_WRONLY | O_CREAT, 0600);
	assert_true(fd >= 0 && ftruncate(fd, (off_t)4 << 30) == 0);
	(void)close(fd);
	assert_int_equal(gmt_import_raw(rawPath, outPath, &h, GMT_END_EXIT, 0, NULL, &err), -1);
	assert_non_null(
		strstr(err.text, wideWords ? "offset 0: not a raw log" : "more bytes than this program has addresses"));
	assert_int_equal(access(outPath, F_OK), -1);
}

static int setup(void **state) {
	(void)state;
	if (mkdtemp(dir) == NULL) {
		return -1;
	}
	(void)snprintf(rawPath, sizeof(rawPath), "%s/log.raw", dir);
	(void)snprintf(outPath, sizeof(outPath), "%s/log.gmt", dir);
	return 0;
}

static int teardown(void **state) {
	(void)state;
	(void)unlink(rawPath);
	(void)unlink(outPath);
	return rmdir(dir);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_turns_order_streams),
		cmocka_unit_test(test_header_and_end),
		cmocka_unit_test(test_mallocs),
		cmocka_unit_test(test_spans_and_marks),
		cmocka_unit_test(test_ms_without_p),
		cmocka_unit_test(test_positions),
		cmocka_unit_test(test_position_at_chunk_end),
		cmocka_unit_test(test_many_chunks),
		cmocka_unit_test(test_unwritten_record),
		cmocka_unit_test(test_truncated_file),
		cmocka_unit_test(test_scribbled_log),
		cmocka_unit_test(test_damage_is_bounded),
		cmocka_unit_test(test_header_errors),
		cmocka_unit_test(test_record_errors),
		cmocka_unit_test(test_record_over_chunk_end),
		cmocka_unit_test(test_no_log),
	};
	return cmocka_run_group_tests_name("import", tests, setup, teardown);
}
