// test_gmt.c: recordings: what is written is read back, and nothing else is.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xxhash.h>
#include <zstd.h>

#include "gomem/poison.h"
#include "traces/gmt_format.h"
#include "traces/mutate.h"

enum { FROZEN_EVENTS = 70000 };
#define FROZEN_SUM 0xb8789b8c659cb2bdu

static char dir[] = "/tmp/gomem-test-gmt-XXXXXX";

static const char *file_name(const char *name) {
	static char path[4][128];
	static unsigned i;
	char *p = path[i++ % 4];
	(void)snprintf(p, sizeof(path[0]), "%s/%s", dir, name);
	return p;
}

static uint64_t seed = 1;

static uint64_t next_random(void) {
	seed += 0x9e3779b97f4a7c15u;
	uint64_t z = (seed ^ seed >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static uint64_t below(uint64_t n) { return next_random() % n; }

// ---- making recordings

static gmt_header sample_header(void) {
	gmt_header h = {
		.goversion = "go1.26.8",
		.goexperiment = "nogreenteagc",
		.goos = "linux",
		.goarch = "amd64",
		.command = "prog -x 'a b'",
		.godebug = "sbrk=1",
		.page_size = 8192,
		.phys_page_size = 4096,
		.phys_huge_page_size = 2 << 20,
		.arena_bytes = 64 << 20,
		.rand_seed = 0xfedcba9876543210,
		.randomize_heap_base = true,
		.runtime_freegc = true,
		.gomaxprocs = 16,
	};
	return h;
}

// A value of any magnitude, the extremes included.
static uint64_t any_value(void) {
	switch (below(6)) {
	case 0:
		return 0;
	case 1:
		return UINT64_MAX;
	case 2:
		return below(2) != 0 ? (uint64_t)1 << 63 : INT64_MAX;
	default:
		return next_random() >> below(64);
	}
}

typedef struct made {
	gmt_event *events;
	uint64_t *marks;
	uint32_t n, nmarks;
	uint64_t spans;
} made;

static uint64_t any_span(made *m) {
	uint64_t b = below(8) == 0 ? m->spans + 1 : below(m->spans + 2);
	m->spans = b > m->spans ? b : m->spans;
	return b;
}

static void random_event(made *m, gmt_event *e, unsigned kind, unsigned streams) {
	const gmt_kind_info *info = gmt_kind((gomem_ev)kind);
	uint64_t *f[4] = {&e->a, &e->b, &e->c, &e->d};
	*e = (gmt_event){
		.kind = (uint8_t)kind, .stream = (uint16_t)(below(4) == 0 ? 65535 - below(streams) : below(streams))};
	for (unsigned i = 0; i < info->nargs; i++) {
		*f[i] = any_value();
	}
	if (info->span_field == 'b') {
		e->b = any_span(m);
	}
	if (kind == EV_MSPANALLOC) {
		e->a = 0;
	}
	if (kind == EV_SWEEP && below(2) != 0) {
		uint64_t nelems = 1 + below(1024);
		e->a = (e->a & ~((uint64_t)0xffff << 1)) | nelems << 1;
		e->d = (e->d & 0xffffffff) | below(nelems + 2) << 32;
	} else if (kind == EV_SWEEP) {
		e->d &= 0xffffffff;
	}
	e->nmarks = kind == EV_SWEEP ? (uint8_t)gmt_sweep_marks(e->a, e->d) : 0;
	e->mark_index = e->nmarks != 0 ? m->nmarks : 0;
	uint64_t bits = 0;
	for (unsigned i = 0; i < e->nmarks; i++) {
		m->marks[m->nmarks++] = any_value();
		bits += (unsigned)__builtin_popcountll(m->marks[m->nmarks - 1]);
	}
	if (e->nmarks != 0 && below(2) != 0 && gmt_sweep_marks(e->a, (e->d & 0xffffffff) | bits << 32) == e->nmarks) {
		e->d = (e->d & 0xffffffff) | bits << 32;
	}
}

// A malloc like those of programs: few sizes, addresses that go up.
static void likely_malloc(gmt_event *e) {
	static const uint16_t sizes[] = {1, 8, 16, 24, 48, 64, 512, 513, 1024, 4096, 32768, 40000};
	static uint64_t at = 0xc000000000;
	uint64_t size = sizes[below(12)] + (below(40) == 0 ? below(500) : 0);
	at += below(5) == 0 ? next_random() & 0xffff : size;
	*e = (gmt_event){.kind = EV_MALLOC, .stream = (uint16_t)below(3), .a = size, .b = below(4), .c = below(7), .d = at};
}

static made make_events(uint32_t n, unsigned streams, bool likely) {
	made m = {calloc(n, sizeof(gmt_event)), calloc((size_t)n * GMT_MAX_MARK_WORDS, 8), 0, 0, 0};
	assert_non_null(m.events);
	assert_non_null(m.marks);
	for (; m.n < n; m.n++) {
		if (likely && below(8) != 0) {
			likely_malloc(&m.events[m.n]);
		} else {
			random_event(&m, &m.events[m.n], m.n < EV_MAX - 1 ? m.n + 1 : 1 + (unsigned)below(EV_MAX - 1), streams);
		}
	}
	return m;
}

static void made_free(made *m) {
	free(m->events);
	free(m->marks);
}

static void write_recording(const char *path, const made *m, int level, gmt_end_kind end, uint64_t value) {
	gmt_error err = {""};
	gmt_header h = sample_header();
	(void)unlink(path);
	gmt_writer *w = gmt_create(path, &h, &err);
	assert_non_null(w);
	gmt_set_level(w, level);
	for (uint32_t i = 0; i < m->n; i++) {
		if (gmt_write(w, &m->events[i], m->marks + m->events[i].mark_index, &err) != 0) {
			fail_msg("%s", err.text);
		}
	}
	assert_int_equal(gmt_finish(w, end, value, &err), 0);
}

// ---- reading

static void assert_block(const made *m, const gmt_block *b) {
	for (uint32_t i = 0; i < b->n; i++) {
		const gmt_event *x = &m->events[b->first + i];
		const gmt_event *y = &b->events[i];
		if (x->kind != y->kind || x->stream != y->stream || x->a != y->a || x->b != y->b || x->c != y->c ||
			x->d != y->d || x->nmarks != y->nmarks) {
			fail_msg(
				"event %llu of kind %s differs", (unsigned long long)(b->first + i), gmt_kind((gomem_ev)x->kind)->name);
		}
		if (x->nmarks != 0) {
			assert_memory_equal(m->marks + x->mark_index, b->marks + y->mark_index, 8u * x->nmarks);
		}
	}
}

static void assert_recording(const char *path, const made *m) {
	gmt_error err = {""};
	gmt_reader *r = gmt_open(path, &err);
	if (r == NULL) {
		fail_msg("%s", err.text);
	}
	assert_int_equal(gmt_reader_events(r), m->n);
	assert_int_equal(gmt_reader_spans(r), m->spans);
	gmt_block b;
	uint64_t n = 0;
	int got;
	while ((got = gmt_next(r, &b, &err)) > 0) {
		assert_int_equal(b.first, n);
		assert_block(m, &b);
		n += b.n;
	}
	if (got < 0) {
		fail_msg("%s", err.text);
	}
	assert_int_equal(n, m->n);
	gmt_close(r);
}

// reads is 0 if the file can be read to its end.
static int reads(const char *path, gmt_error *err) {
	gmt_reader *r = gmt_open(path, err);
	if (r == NULL) {
		return -1;
	}
	gmt_block b;
	int got;
	while ((got = gmt_next(r, &b, err)) > 0) {
	}
	gmt_close(r);
	return got;
}

// ---- files as bytes

typedef struct bytes {
	uint8_t *p;
	size_t n;
} bytes;

static bytes load(const char *path) {
	int fd = open(path, O_RDONLY);
	struct stat st = {0};
	assert_true(fd >= 0 && fstat(fd, &st) == 0);
	bytes b = {calloc((size_t)st.st_size + 1, 1), (size_t)st.st_size};
	assert_non_null(b.p);
	assert_int_equal(read(fd, b.p, b.n), (ssize_t)b.n);
	(void)close(fd);
	return b;
}

static void store(const char *path, const uint8_t *p, size_t n) {
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, p, n), (ssize_t)n);
	(void)close(fd);
}

static void rehash(uint8_t *p, size_t n) { (void)gmt_put64(p + n, XXH64(p, n, 0)); }

static size_t header_size(const uint8_t *p) { return GMT_HEADER_FIXED + gmt_get32(p + 12) + GMT_HASH; }
static size_t index_at(const bytes *b) { return (size_t)gmt_get64(b->p + b->n - GMT_END_SIZE + 16); }

static void rehash_index(const bytes *b) {
	size_t at = index_at(b);
	rehash(b->p + at, b->n - GMT_END_SIZE - GMT_HASH - at);
}

static void rehash_end(const bytes *b) { rehash(b->p + b->n - GMT_END_SIZE, GMT_END_SIZE - GMT_HASH); }

// with_block puts another frame into the only block of a recording, with all hashes and offsets right.
static bytes with_block(const bytes *b, const uint8_t *frame, size_t n, uint32_t raw) {
	size_t first = header_size(b->p);
	size_t index = index_at(b);
	size_t tail = b->n - index;
	bytes out = {malloc(first + GMT_BLOCK_FIXED + n + GMT_HASH + tail), first + GMT_BLOCK_FIXED + n + GMT_HASH + tail};
	memcpy(out.p, b->p, first + GMT_BLOCK_FIXED);
	uint8_t *block = out.p + first;
	(void)gmt_put32(block + 8, raw);
	(void)gmt_put32(block + 12, (uint32_t)n);
	memcpy(block + GMT_BLOCK_FIXED, frame, n);
	rehash(block, GMT_BLOCK_FIXED + n);
	memcpy(block + GMT_BLOCK_FIXED + n + GMT_HASH, b->p + index, tail);
	(void)gmt_put64(out.p + out.n - GMT_END_SIZE + 16, first + GMT_BLOCK_FIXED + n + GMT_HASH);
	(void)gmt_put64(out.p + out.n - GMT_END_SIZE + 24, out.n);
	rehash_end(&out);
	return out;
}

// columns_of returns the decompressed block of a recording of one block.
static bytes columns_of(const bytes *b) {
	const uint8_t *block = b->p + header_size(b->p);
	bytes out = {malloc(gmt_get32(block + 8) + 1u), gmt_get32(block + 8)};
	assert_int_equal(ZSTD_decompress(out.p, out.n, block + GMT_BLOCK_FIXED, gmt_get32(block + 12)), out.n);
	poison_defined((uintptr_t)out.p, out.n);
	return out;
}

static bytes compressed(const uint8_t *p, size_t n) {
	bytes out = {malloc(ZSTD_compressBound(n)), ZSTD_compressBound(n)};
	out.n = ZSTD_compress(out.p, out.n, p, n, 1);
	poison_defined((uintptr_t)out.p, out.n);
	return out;
}

static void assert_refused(const char *path, const char *why) {
	gmt_error err = {""};
	assert_int_equal(reads(path, &err), -1);
	if (strncmp(err.text, path, strlen(path)) != 0 || strstr(err.text, why) == NULL) {
		fail_msg("the message is: %s (wanted: %s)", err.text, why);
	}
}

static void assert_bytes_refused(const bytes *b, const char *why) {
	const char *path = file_name("refused.gmt");
	store(path, b->p, b->n);
	assert_refused(path, why);
}

// ---- tests

static void test_header(void **state) {
	(void)state;
	const char *path = file_name("header.gmt");
	made m = make_events(1, 1, false);
	write_recording(path, &m, 3, GMT_END_SIGNAL, 9);
	gmt_error err;
	gmt_reader *r = gmt_open(path, &err);
	assert_non_null(r);
	gmt_header h = sample_header();
	const gmt_header *got = gmt_reader_header(r);
	assert_string_equal(got->goversion, h.goversion);
	assert_string_equal(got->goexperiment, h.goexperiment);
	assert_string_equal(got->goos, h.goos);
	assert_string_equal(got->goarch, h.goarch);
	assert_string_equal(got->command, h.command);
	assert_string_equal(got->godebug, h.godebug);
	assert_int_equal(got->page_size, h.page_size);
	assert_int_equal(got->phys_page_size, h.phys_page_size);
	assert_int_equal(got->phys_huge_page_size, h.phys_huge_page_size);
	assert_int_equal(got->arena_bytes, h.arena_bytes);
	assert_true(got->rand_seed == h.rand_seed);
	assert_int_equal(got->gomaxprocs, h.gomaxprocs);
	assert_true(got->randomize_heap_base && got->runtime_freegc && !got->green_tea && !got->size_specialized_malloc);
	uint64_t value = 0;
	assert_int_equal(gmt_reader_end(r, &value), GMT_END_SIGNAL);
	assert_int_equal(value, 9);
	gmt_close(r);
	made_free(&m);
}

static void test_empty_recording(void **state) {
	(void)state;
	const char *path = file_name("none.gmt");
	made m = {0};
	write_recording(path, &m, 3, GMT_END_EXIT, 0);
	assert_recording(path, &m);
}

// Every kind, every field with the extremes, in one block.
static void test_every_kind(void **state) {
	(void)state;
	const char *path = file_name("kinds.gmt");
	for (unsigned i = 0; i < 30; i++) {
		made m = make_events(4 * EV_MAX, 3, false);
		write_recording(path, &m, 1, GMT_END_EXIT, 0);
		assert_recording(path, &m);
		made_free(&m);
	}
}

static void test_blocks_and_streams(void **state) {
	(void)state;
	const char *path = file_name("blocks.gmt");
	static const unsigned streams[] = {1, 20, 300, 32768};
	for (unsigned i = 0; i < 4; i++) {
		made m = make_events(150000, streams[i], i % 2 == 0);
		write_recording(path, &m, 1, GMT_END_EXIT, 0);
		assert_recording(path, &m);
		made_free(&m);
	}
}

static void test_levels(void **state) {
	(void)state;
	const char *path = file_name("levels.gmt");
	made m = make_events(70000, 2, true);
	for (int level = -1; level <= 20; level += 7) {
		write_recording(path, &m, level, GMT_END_EXIT, 0);
		assert_recording(path, &m);
	}
	made_free(&m);
}

static void test_counts(void **state) {
	(void)state;
	const char *path = file_name("counts.gmt");
	made m = make_events(100000, 2, true);
	write_recording(path, &m, 1, GMT_END_EXIT, 0);
	uint64_t kinds[EV_MAX] = {0};
	uint64_t paths[8] = {0};
	for (uint32_t i = 0; i < m.n; i++) {
		const gmt_event *e = &m.events[i];
		kinds[e->kind]++;
		uint64_t p = e->kind == EV_MALLOC ? e->c : e->kind == EV_MALLOCEND ? e->a : 8;
		if (p < 8) {
			paths[p]++;
		}
	}
	gmt_error err;
	gmt_reader *r = gmt_open(path, &err);
	assert_non_null(r);
	for (unsigned i = 0; i < EV_MAX; i++) {
		assert_int_equal(gmt_reader_count(r, (gomem_ev)i), kinds[i]);
	}
	for (unsigned i = 0; i < 8; i++) {
		assert_int_equal(gmt_reader_path_count(r, i), paths[i]);
	}
	gmt_close(r);
	// Another count in the index: the reader notices at the end, unless it did not see all events.
	bytes b = load(path);
	uint8_t *count = b.p + index_at(&b) + GMT_INDEX_FIXED;
	uint64_t push = gmt_get64(count + 8 * EV_PUSH);
	(void)gmt_put64(count + 8 * EV_PUSH, push - 1);
	(void)gmt_put64(count + 8 * EV_POP, gmt_get64(count + 8 * EV_POP) + 1);
	rehash_index(&b);
	assert_bytes_refused(&b, "events of kind push");
	(void)gmt_put64(count + 8 * EV_PUSH, push);
	rehash_index(&b);
	assert_bytes_refused(&b, "the index contradicts itself");
	free(b.p);
	made_free(&m);
}

static void test_seek(void **state) {
	(void)state;
	const char *path = file_name("seek.gmt");
	made m = make_events(300000, 3, true);
	write_recording(path, &m, 1, GMT_END_EXIT, 0);
	gmt_error err = {""};
	gmt_reader *r = gmt_open(path, &err);
	assert_non_null(r);
	for (unsigned i = 0; i < 50; i++) {
		uint64_t event = i == 0 ? m.n - 1 : i == 1 ? 0 : below(m.n);
		gmt_block b;
		assert_int_equal(gmt_seek(r, event, &err), 0);
		for (unsigned k = 0; k < 2 && gmt_next(r, &b, &err) == 1; k++) {
			assert_true(k != 0 || (b.first <= event && event < b.first + b.n));
			assert_block(&m, &b);
		}
	}
	assert_int_equal(gmt_seek(r, m.n, &err), -1);
	assert_non_null(strstr(err.text, "there is no event 300000"));
	// From event 0 the counts are verified again.
	assert_int_equal(gmt_seek(r, 0, &err), 0);
	gmt_block b;
	int got;
	while ((got = gmt_next(r, &b, &err)) > 0) {
	}
	assert_int_equal(got, 0);
	gmt_close(r);
	made_free(&m);
}

static void test_every_byte_flipped(void **state) {
	(void)state;
	const char *path = file_name("flip.gmt");
	made m = make_events(2 * EV_MAX, 2, true);
	write_recording(path, &m, 9, GMT_END_EXIT, 0);
	bytes b = load(path);
	static const uint8_t flips[] = {1, 0x80, 0xff};
	for (size_t i = 0; i < b.n; i++) {
		for (unsigned k = 0; k < 3; k++) {
			b.p[i] ^= flips[k];
			store(path, b.p, b.n);
			assert_refused(path, "offset ");
			b.p[i] ^= flips[k];
		}
	}
	free(b.p);
	made_free(&m);
}

static void test_every_truncation(void **state) {
	(void)state;
	const char *path = file_name("cut.gmt");
	made m = make_events(2 * EV_MAX, 2, true);
	write_recording(path, &m, 9, GMT_END_EXIT, 0);
	bytes b = load(path);
	for (size_t i = 0; i < b.n; i++) {
		store(path, b.p, i);
		assert_refused(path, "offset ");
	}
	b.p[b.n] = 0;
	store(path, b.p, b.n + 1);
	assert_refused(path, "end record");
	free(b.p);
	made_free(&m);
}

static void test_nonsense(void **state) {
	(void)state;
	const char *path = file_name("nonsense");
	store(path, NULL, 0);
	assert_refused(path, "the file is empty");
	static const uint8_t png[] = "\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\10\6\0\0\0";
	store(path, png, sizeof(png));
	assert_refused(path, "offset 0: not a recording");
	static const uint8_t text[] = "package main\n";
	store(path, text, sizeof(text) - 1);
	assert_refused(path, "offset 0: not a recording");
	store(path, NULL, 0);
	assert_int_equal(truncate(path, (off_t)4 << 30), 0);
	assert_refused(path, "offset 0: not a recording");
	assert_int_equal(unlink(path), 0);
	assert_refused(path, "cannot open: No such file");
	assert_refused(dir, "it is a directory");
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_refused(path, "not a regular file");
	assert_int_equal(unlink(path), 0);
	store(path, png, sizeof(png));
	assert_int_equal(chmod(path, 0), 0);
	assert_refused(path, geteuid() == 0 ? "not a recording" : "cannot open: Permission denied");
	assert_int_equal(unlink(path), 0);
}

static void test_future_version(void **state) {
	(void)state;
	const char *path = file_name("future.gmt");
	made m = make_events(10, 1, false);
	write_recording(path, &m, 9, GMT_END_EXIT, 0);
	bytes b = load(path);
	(void)gmt_put32(b.p + 8, 2);
	rehash(b.p, header_size(b.p) - GMT_HASH);
	assert_bytes_refused(&b, "offset 8: format version 2: this program reads version 1");
	free(b.p);
	made_free(&m);
}

// Declared sizes that would make the reader allocate or loop.
static void test_bombs(void **state) {
	(void)state;
	const char *path = file_name("bomb.gmt");
	made m = make_events(500, 1, true);
	write_recording(path, &m, 9, GMT_END_EXIT, 0);
	bytes b = load(path);
	bytes raw = columns_of(&b);
	// A frame of zeros that is larger than it says, and one that is larger than a block may be.
	size_t huge = (size_t)GMT_MAX_RAW + 1;
	uint8_t *zeros = calloc(huge, 1);
	bytes frame = compressed(zeros, huge);
	bytes bomb = with_block(&b, frame.p, frame.n, (uint32_t)raw.n);
	assert_bytes_refused(&bomb, "not of the declared size");
	free(bomb.p);
	bomb = with_block(&b, frame.p, frame.n, (uint32_t)huge);
	assert_bytes_refused(&bomb, "out of bounds");
	free(bomb.p);
	free(frame.p);
	// As large as a block may be, and empty.
	frame = compressed(zeros, GMT_MAX_RAW);
	bomb = with_block(&b, frame.p, frame.n, GMT_MAX_RAW);
	assert_bytes_refused(&bomb, "columns are not valid");
	free(bomb.p);
	free(frame.p);
	// Two frames, and bytes behind the frame.
	frame = compressed(raw.p, raw.n);
	uint8_t *two = malloc(2 * frame.n);
	memcpy(two, frame.p, frame.n);
	memcpy(two + frame.n, frame.p, frame.n);
	bomb = with_block(&b, two, 2 * frame.n, (uint32_t)raw.n);
	assert_bytes_refused(&bomb, "not of the declared size");
	free(bomb.p);
	bomb = with_block(&b, two, frame.n, (uint32_t)raw.n);
	store(path, bomb.p, bomb.n);
	assert_recording(path, &m);
	free(bomb.p);
	free(two);
	free(frame.p);
	free(raw.p);
	free(zeros);
	// Counts in the index and the end record.
	static const size_t fields[] = {4, 8, 12, 16, 24, 32};
	for (unsigned i = 0; i < 6; i++) {
		bytes x = load(path);
		uint8_t *p = x.p + index_at(&x) + fields[i];
		memset(p, 0xff, i < 3 ? 4 : 8);
		rehash_index(&x);
		assert_bytes_refused(&x, "no valid index here");
		free(x.p);
	}
	for (size_t at = 4; at < 32; at += 4) {
		bytes x = load(path);
		memset(x.p + x.n - GMT_END_SIZE + at, 0xff, 4);
		rehash_end(&x);
		if (at == 8 || at == 12) { // the end's value: any is valid
			free(x.p);
			continue;
		}
		assert_bytes_refused(&x, "the end record's fields");
		free(x.p);
	}
	free(b.p);
	made_free(&m);
}

static void test_header_fields(void **state) {
	(void)state;
	const char *path = file_name("fields.gmt");
	made m = make_events(10, 1, false);
	write_recording(path, &m, 9, GMT_END_EXIT, 0);
	bytes b = load(path);
	size_t n = header_size(b.p) - GMT_HASH;
	for (unsigned i = 0; i < 4; i++) {
		bytes x = load(path);
		switch (i) {
		case 0: // a string longer than its field
			x.p[GMT_HEADER_FIXED] = 64;
			break;
		case 1: // a string behind the header's end
			x.p[GMT_HEADER_FIXED + 1] = 0xff;
			break;
		case 2: // a NUL in a string
			x.p[GMT_HEADER_FIXED + 3] = 0;
			break;
		default: // an unknown flag
			x.p[n - 1] = 1;
		}
		rehash(x.p, n);
		assert_bytes_refused(&x, "the header's fields are not valid");
		free(x.p);
	}
	(void)gmt_put32(b.p + 12, GMT_MAX_HEADER + 1);
	assert_bytes_refused(&b, "longer than a header can be");
	free(b.p);
	made_free(&m);
}

// Columns with any content behind right hashes: an error or events, never a crash, and each span number within bounds.
static void test_hostile_columns(void **state) {
	(void)state;
	const char *path = file_name("hostile.gmt");
	unsigned good = 0;
	for (unsigned i = 0; i < 2000; i++) {
		made m = {0};
		if (i % 200 == 0) {
			m = make_events(400, 2, i % 400 == 0);
			write_recording(path, &m, 1, GMT_END_EXIT, 0);
			made_free(&m);
		}
		bytes b = load(path);
		bytes raw = columns_of(&b);
		for (uint64_t k = 1 + below(4); k > 0; k--) {
			raw.p[below(2) != 0 ? below(raw.n) : below(300)] = (uint8_t)next_random();
		}
		bytes frame = compressed(raw.p, raw.n);
		bytes x = with_block(&b, frame.p, frame.n, (uint32_t)raw.n);
		const char *hostile = file_name("hostile2.gmt");
		store(hostile, x.p, x.n);
		gmt_error err = {""};
		gmt_reader *r = gmt_open(hostile, &err);
		assert_non_null(r);
		gmt_block block;
		if (gmt_next(r, &block, &err) > 0) {
			good++;
			for (uint32_t k = 0; k < block.n; k++) {
				const gmt_event *e = &block.events[k];
				assert_true(e->kind > EV_NONE && e->kind < EV_MAX);
				assert_true(gmt_kind((gomem_ev)e->kind)->span_field == 0 || e->b <= gmt_reader_spans(r));
				assert_true(e->nmarks == (e->kind == EV_SWEEP ? gmt_sweep_marks(e->a, e->d) : 0));
				assert_true(e->nmarks == 0 || e->mark_index + (uint64_t)e->nmarks <= block.nmarks);
			}
		} else {
			assert_non_null(strstr(err.text, "offset"));
		}
		gmt_close(r);
		free(x.p);
		free(frame.p);
		free(raw.p);
		free(b.p);
	}
	assert_true(good > 0);
}

static void test_writer_refuses(void **state) {
	(void)state;
	const char *path = file_name("writer.gmt");
	gmt_header h = sample_header();
	gmt_error err = {""};
	static const gmt_event wrong[] = {
		{.kind = EV_NONE},
		{.kind = EV_MAX},
		{.kind = EV_POP, .b = 2},
		{.kind = EV_POP, .c = 1},
		{.kind = EV_SWEEPONE, .a = 1},
		{.kind = EV_MALLOCBEGIN, .d = 1},
		{.kind = EV_MSPANALLOC, .a = 1},
		{.kind = EV_SWEEP, .a = 10 << 1, .d = (uint64_t)5 << 32},
		{.kind = EV_SWEEP, .a = 10 << 1, .nmarks = 1},
		{.kind = EV_SWEEP, .a = 2000 << 1, .d = (uint64_t)5 << 32, .nmarks = 32},
	};
	uint64_t marks[32] = {0};
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		(void)unlink(path);
		gmt_writer *w = gmt_create(path, &h, &err);
		assert_non_null(w);
		assert_int_equal(gmt_write(w, &wrong[i], marks, &err), -1);
		assert_non_null(strstr(err.text, "event 0"));
		assert_int_equal(gmt_finish(w, GMT_END_EXIT, 0, &err), -1);
		assert_int_equal(access(path, F_OK), -1); // no half recording stays
	}
	store(path, NULL, 0);
	assert_null(gmt_create(path, &h, &err));
	assert_non_null(strstr(err.text, "File exists"));
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("/nonexistent", path), 0);
	assert_null(gmt_create(path, &h, &err));
	assert_int_equal(unlink(path), 0);
}

// A full disk is an error, and the file goes away.
static void test_disk_full(void **state) {
	(void)state;
	const char *path = file_name("full.gmt");
	gmt_header h = sample_header();
	gmt_error err = {""};
	struct rlimit old;
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	struct rlimit small = {20000, old.rlim_max};
	gmt_writer *w = gmt_create(path, &h, &err);
	assert_non_null(w);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	made m = make_events(70000, 2, false);
	int result = 0;
	for (uint32_t i = 0; i < m.n && result == 0; i++) {
		result = gmt_write(w, &m.events[i], m.marks + m.events[i].mark_index, &err);
	}
	assert_int_equal(result, -1);
	assert_non_null(strstr(err.text, "cannot write"));
	assert_int_equal(gmt_finish(w, GMT_END_EXIT, 0, &err), -1);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(access(path, F_OK), -1);
	made_free(&m);
}

// ---- the frozen format

// sum_words adds n words to a sum, the low byte of each first on any machine.
static uint64_t sum_words(const uint64_t *words, size_t n, uint64_t sum) {
	uint8_t *le = malloc(8 * n);
	assert_non_null(le);
	for (size_t i = 0; i < n; i++) {
		(void)gmt_put64(le + 8 * i, words[i]);
	}
	sum = XXH64(le, 8 * n, sum);
	free(le);
	return sum;
}

// The file was written by the first version of this program. It holds each kind, extreme values and several streams and blocks.
static void test_version_1_is_frozen(void **state) {
	(void)state;
	gmt_error err = {""};
	gmt_reader *r = gmt_open("tests/data/format-v1.gmt", &err);
	if (r == NULL) {
		fail_msg("%s", err.text);
	}
	gmt_block b;
	int got;
	uint64_t sum = 0;
	while ((got = gmt_next(r, &b, &err)) > 0) {
		for (uint32_t i = 0; i < b.n; i++) {
			const gmt_event *e = &b.events[i];
			sum = sum_words((const uint64_t[]){e->kind | (uint64_t)e->stream << 8, e->a, e->b, e->c, e->d}, 5, sum);
			sum = e->nmarks != 0 ? sum_words(b.marks + e->mark_index, e->nmarks, sum) : sum;
		}
	}
	assert_int_equal(got, 0);
	assert_int_equal(gmt_reader_events(r), FROZEN_EVENTS);
	if (sum != FROZEN_SUM) {
		fail_msg("the events' sum is 0x%016llx", (unsigned long long)sum);
	}
	gmt_close(r);
}

// ---- negative controls

// events_of reads a recording of one block.
static made events_of(const char *path) {
	gmt_error err = {""};
	gmt_reader *r = gmt_open(path, &err);
	gmt_block b = {0};
	if (r == NULL || gmt_next(r, &b, &err) != 1) {
		fail_msg("%s", err.text);
	}
	made m = {calloc(b.n + 1u, sizeof(gmt_event)), calloc((size_t)(b.nmarks + 1), 8), b.n, (uint32_t)b.nmarks,
		gmt_reader_spans(r)};
	for (uint32_t i = 0; i < b.n; i++) {
		m.events[i] = b.events[i];
	}
	for (uint64_t i = 0; i < b.nmarks; i++) {
		m.marks[i] = b.marks[i];
	}
	assert_int_equal(gmt_next(r, &b, &err), 0);
	gmt_close(r);
	return m;
}

// How many events differ, if none was dropped.
static uint32_t differences(const made *x, const made *y) {
	uint32_t n = 0;
	assert_int_equal(x->n, y->n);
	for (uint32_t i = 0; i < x->n; i++) {
		const gmt_event *a = &x->events[i];
		const gmt_event *b = &y->events[i];
		bool same = a->kind == b->kind && a->stream == b->stream && a->a == b->a && a->b == b->b && a->c == b->c &&
			a->d == b->d && a->nmarks == b->nmarks &&
			memcmp(x->marks + a->mark_index, y->marks + b->mark_index, 8u * a->nmarks) == 0;
		n += same ? 0 : 1;
	}
	return n;
}

static uint64_t count_kind(const made *m, unsigned kind) {
	uint64_t n = 0;
	for (uint32_t i = 0; i < m->n; i++) {
		n += m->events[i].kind == kind;
	}
	return n;
}

// A recording like a program's: each span is named by its birth first.
static made plausible_events(void) {
	made m = make_events(3000, 2, false);
	for (uint32_t i = 0; i < m.n; i++) {
		if (gmt_kind((gomem_ev)m.events[i].kind)->span_field == 'b') {
			m.events[i].b = i < 1000 ? m.events[i].b : 1 + i % 7;
		}
	}
	m.spans = 0;
	for (uint32_t i = 0; i < m.n; i++) {
		gmt_event *e = &m.events[i];
		bool span = gmt_kind((gomem_ev)e->kind)->span_field == 'b';
		e->b = span && e->b > m.spans + 1 ? m.spans + 1 : e->b;
		m.spans = span && e->b > m.spans ? e->b : m.spans;
	}
	return m;
}

static void test_rewrite(void **state) {
	(void)state;
	const char *in = file_name("mutate.gmt");
	made m = plausible_events();
	write_recording(in, &m, 1, GMT_END_SIGNAL, 15);
	for (unsigned kind = EV_NONE + 1; kind < EV_MAX; kind++) {
		const gmt_kind_info *info = gmt_kind((gomem_ev)kind);
		char out[128];
		(void)snprintf(out, sizeof(out), "%s/mutated.gmt", dir);
		gmt_error err = {""};
		gmt_edit drop = {.op = GMT_EDIT_DROP, .kind = (gomem_ev)kind, .n = count_kind(&m, kind) - 1};
		(void)unlink(out);
		if (gmt_rewrite(in, out, &drop, &err) != 0) {
			fail_msg("%s", err.text);
		}
		made got = events_of(out);
		assert_int_equal(got.n, m.n - 1);
		assert_int_equal(count_kind(&got, kind), count_kind(&m, kind) - 1);
		made_free(&got);
		for (unsigned f = 0; f < info->nargs; f++) {
			gmt_edit add = {
				.op = GMT_EDIT_ADD, .kind = (gomem_ev)kind, .n = drop.n / 2, .field = (char)('a' + f), .delta = 1};
			(void)unlink(out);
			if (kind == EV_MSPANALLOC && f == 0) {
				assert_int_equal(gmt_rewrite(in, out, &add, &err), -1);
				continue;
			}
			int result = gmt_rewrite(in, out, &add, &err);
			if (result != 0 && kind != EV_SWEEP) {
				fail_msg("%s", err.text);
			}
			if (result == 0 && info->span_field != 'a' + f) {
				got = events_of(out);
				assert_int_equal(differences(&m, &got), 1);
				made_free(&got);
			}
		}
		gmt_edit late = {.op = GMT_EDIT_DROP, .kind = (gomem_ev)kind, .n = drop.n + 1};
		(void)unlink(out);
		assert_int_equal(gmt_rewrite(in, out, &late, &err), -1);
		assert_non_null(strstr(err.text, "there is no such event"));
		assert_int_equal(access(out, F_OK), -1);
	}
	made_free(&m);
}

static void test_rewrite_marks(void **state) {
	(void)state;
	const char *in = file_name("mutate.gmt");
	const char *out = file_name("mutated.gmt");
	made m = plausible_events();
	write_recording(in, &m, 1, GMT_END_EXIT, 0);
	gmt_error err = {""};
	gmt_edit copy = {.op = GMT_EDIT_NONE};
	(void)unlink(out);
	assert_int_equal(gmt_rewrite(in, out, &copy, &err), 0);
	made got = events_of(out);
	assert_int_equal(differences(&m, &got), 0);
	made_free(&got);
	uint64_t n = 0;
	for (uint32_t i = 0; i < m.n; i++) {
		if (m.events[i].nmarks == 0) {
			continue;
		}
		unsigned nelems = (unsigned)(m.events[i].a >> 1) & 0xffff;
		gmt_edit flip = {.op = GMT_EDIT_FLIP, .n = n++, .bit = nelems - 1};
		(void)unlink(out);
		assert_int_equal(gmt_rewrite(in, out, &flip, &err), 0);
		got = events_of(out);
		assert_int_equal(differences(&m, &got), 1);
		uint32_t word = m.events[i].mark_index + flip.bit / 64;
		uint32_t other = got.events[i].mark_index + flip.bit / 64;
		assert_true((m.marks[word] ^ got.marks[other]) == (uint64_t)1 << flip.bit % 64);
		made_free(&got);
		flip.bit = nelems;
		(void)unlink(out);
		assert_int_equal(gmt_rewrite(in, out, &flip, &err), -1);
		if (n == 10) {
			break;
		}
	}
	assert_int_equal(n, 10);
	made_free(&m);
}

static int setup(void **state) {
	(void)state;
	return mkdtemp(dir) == NULL ? -1 : 0;
}

static int teardown(void **state) {
	(void)state;
	static const char *const names[] = {"header.gmt", "none.gmt", "kinds.gmt", "blocks.gmt", "levels.gmt", "counts.gmt",
		"seek.gmt", "flip.gmt", "cut.gmt", "future.gmt", "bomb.gmt", "fields.gmt", "hostile.gmt", "hostile2.gmt",
		"refused.gmt", "mutate.gmt", "mutated.gmt"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		(void)unlink(file_name(names[i]));
	}
	return rmdir(dir);
}

int main(void) {
	(void)signal(SIGXFSZ, SIG_IGN);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_header),
		cmocka_unit_test(test_empty_recording),
		cmocka_unit_test(test_every_kind),
		cmocka_unit_test(test_blocks_and_streams),
		cmocka_unit_test(test_levels),
		cmocka_unit_test(test_counts),
		cmocka_unit_test(test_seek),
		cmocka_unit_test(test_every_byte_flipped),
		cmocka_unit_test(test_every_truncation),
		cmocka_unit_test(test_nonsense),
		cmocka_unit_test(test_future_version),
		cmocka_unit_test(test_bombs),
		cmocka_unit_test(test_header_fields),
		cmocka_unit_test(test_hostile_columns),
		cmocka_unit_test(test_writer_refuses),
		cmocka_unit_test(test_disk_full),
		cmocka_unit_test(test_version_1_is_frozen),
		cmocka_unit_test(test_rewrite),
		cmocka_unit_test(test_rewrite_marks),
	};
	return cmocka_run_group_tests_name("gmt", tests, setup, teardown);
}
