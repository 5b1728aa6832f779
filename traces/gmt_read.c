// gmt_read.c: reading a recording (.gmt version 1, docs/FORMAT.md). The file is hostile until its hashes and bounds have been checked.
//
//   header, blocks, index and end record lie one after another without a gap: each byte belongs to one structure and its hash
//   memory <= GMT_MAX_RAW + compressBound(GMT_MAX_RAW) + one block of events and marks + 24 bytes for each block
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xxhash.h>
#include <zstd.h>

#include "gomem/poison.h"
#include "traces/gmt_model.h"
#include "traces/grow.h"

typedef struct block_entry {
	uint64_t offset, first, spans;
} block_entry;

struct gmt_reader {
	char *path;
	int fd;             // -1: the file is in memory
	const uint8_t *mem; // NULL: it is not
	gmt_block ready;    // the only block, if it was given decoded; .events == NULL: it was not
	uint64_t size, index_offset;
	gmt_header header;
	gmt_end_kind end;
	uint64_t end_value;
	uint64_t events, spans, nblocks;
	uint64_t counts[EV_MAX], paths[GMT_PATHS]; // as the index claims
	block_entry *blocks;                       // nblocks, and one that stands for the end
	bool salvage;                              // asked for
	char *salvaged;                            // NULL: the recording is whole
	uint64_t next;                             // block that gmt_next decodes
	bool verify;                               // all events since the first were seen
	uint64_t seen[EV_MAX], seen_paths[GMT_PATHS];
	gmt_codec codec;
	ZSTD_DCtx *zstd;
	uint8_t *raw, *in;
	size_t raw_room, in_room;
	gmt_event *ev;
	size_t ev_room, mark_room;
};

static int fail_at(const gmt_reader *r, uint64_t offset, gmt_error *err, const char *why) {
	return gmt_fail(err, r->path, offset, "%s", why);
}

static int fail_memory(const gmt_reader *r, gmt_error *err) {
	return gmt_fail(err, r->path, GMT_NO_OFFSET, "out of memory");
}

// read_at reads n bytes; fewer are an error.
static int read_at(const gmt_reader *r, uint64_t offset, uint8_t *p, size_t n, gmt_error *err) {
	if (r->mem != NULL) {
		if (offset > r->size || n > r->size - offset) {
			(void)fail_at(r, r->size, err, "the file ends here, in the middle of a structure");
			return -1;
		}
		memcpy(p, r->mem + offset, n);
		return 0;
	}
	for (size_t done = 0; done < n;) {
		ssize_t got = pread(r->fd, p + done, n - done, (off_t)(offset + done));
		if (got < 0 && errno == EINTR) {
			continue;
		}
		if (got < 0) {
			return gmt_fail(err, r->path, offset + done, "cannot read: %s", strerror(errno));
		}
		if (got == 0) {
			return fail_at(r, offset + done, err, "the file ends here, in the middle of a structure");
		}
		done += (size_t)got;
	}
	return 0;
}

static bool hash_ok(const uint8_t *p, size_t n) { return XXH64(p, n, 0) == gmt_get64(p + n); }

// reserve makes room for n bytes, whatever was there.
static bool reserve(uint8_t **buf, size_t *room, size_t n) {
	if (n <= *room) {
		return true;
	}
	free(*buf);
	*buf = malloc(n);
	*room = *buf == NULL ? 0 : n;
	return *buf != NULL;
}

// ---- header

typedef struct cursor {
	const uint8_t *p, *end;
	bool bad;
} cursor;

static void take_string(cursor *c, char *to, size_t room) {
	if (c->bad || c->end - c->p < 2) {
		c->bad = true;
		return;
	}
	size_t n = (size_t)c->p[0] | (size_t)c->p[1] << 8;
	c->p += 2;
	if (n >= room || n > (size_t)(c->end - c->p) || memchr(c->p, 0, n) != NULL) {
		c->bad = true;
		return;
	}
	memcpy(to, c->p, n);
	to[n] = 0;
	c->p += n;
}

static uint64_t take(cursor *c, size_t n) {
	if (c->bad || (size_t)(c->end - c->p) < n) {
		c->bad = true;
		return 0;
	}
	c->p += n;
	return n == 8 ? gmt_get64(c->p - 8) : gmt_get32(c->p - 4);
}

static bool parse_header(gmt_header *h, const uint8_t *p, size_t n) {
	cursor c = {p, p + n, false};
	take_string(&c, h->goversion, sizeof(h->goversion));
	take_string(&c, h->goexperiment, sizeof(h->goexperiment));
	take_string(&c, h->goos, sizeof(h->goos));
	take_string(&c, h->goarch, sizeof(h->goarch));
	take_string(&c, h->command, sizeof(h->command));
	take_string(&c, h->godebug, sizeof(h->godebug));
	h->page_size = take(&c, 8);
	h->phys_page_size = take(&c, 8);
	h->phys_huge_page_size = take(&c, 8);
	h->arena_bytes = take(&c, 8);
	h->rand_seed = take(&c, 8);
	h->gomaxprocs = (uint32_t)take(&c, 4);
	uint32_t flags = (uint32_t)take(&c, 4);
	h->randomize_heap_base = (flags & GMT_FLAG_RANDOM_BASE) != 0;
	h->green_tea = (flags & GMT_FLAG_GREEN_TEA) != 0;
	h->size_specialized_malloc = (flags & GMT_FLAG_SIZE_SPECIALIZED) != 0;
	h->runtime_freegc = (flags & GMT_FLAG_FREEGC) != 0;
	return !c.bad && c.p == c.end && (flags & ~(uint32_t)GMT_FLAGS) == 0;
}

// read_header leaves the offset of the first block in *first.
static int read_header(gmt_reader *r, uint64_t *first, gmt_error *err) {
	uint8_t buf[GMT_HEADER_FIXED + GMT_MAX_HEADER + GMT_HASH];
	if (r->size == 0) {
		return fail_at(r, 0, err, "not a recording nor a Go trace: the file is empty");
	}
	size_t magic = r->size < 8 ? (size_t)r->size : 8;
	if (read_at(r, 0, buf, magic, err) != 0) {
		return -1;
	}
	if (memcmp(buf, GMT_MAGIC, magic) != 0) {
		return fail_at(r, 0, err,
			"not a recording nor a Go trace: it begins as neither does (of compressed files only Go traces are read)");
	}
	if (r->size < GMT_HEADER_FIXED + GMT_HASH) {
		return fail_at(r, r->size, err, "the recording was cut in its header");
	}
	if (read_at(r, 0, buf, GMT_HEADER_FIXED, err) != 0) {
		return -1;
	}
	uint32_t version = gmt_get32(buf + 8);
	uint32_t n = gmt_get32(buf + 12);
	if (version != GMT_VERSION) {
		return gmt_fail(err, r->path, 8, "format version %u: this program reads version %d", version, GMT_VERSION);
	}
	if (n > GMT_MAX_HEADER) {
		return fail_at(r, 12, err, "the header claims to be longer than a header can be");
	}
	size_t all = GMT_HEADER_FIXED + n;
	if (r->size < all + GMT_HASH) {
		return fail_at(r, r->size, err, "the recording was cut in its header");
	}
	if (read_at(r, 0, buf, all + GMT_HASH, err) != 0) {
		return -1;
	}
	if (!hash_ok(buf, all)) {
		return fail_at(r, 0, err, "the header is damaged (its hash differs)");
	}
	if (!parse_header(&r->header, buf + GMT_HEADER_FIXED, n)) {
		return fail_at(r, GMT_HEADER_FIXED, err, "the header's fields are not valid");
	}
	*first = all + GMT_HASH;
	return 0;
}

// ---- end record and index

static int read_end(gmt_reader *r, uint64_t first, gmt_error *err) {
	uint8_t buf[GMT_END_SIZE];
	if (r->size < first + GMT_INDEX_FIXED + GMT_HASH + GMT_END_SIZE) {
		return fail_at(r, r->size, err, "the recording was cut: it has no end record");
	}
	uint64_t at = r->size - GMT_END_SIZE;
	if (read_at(r, at, buf, GMT_END_SIZE, err) != 0) {
		return -1;
	}
	if (gmt_get32(buf) != GMT_END_MAGIC || !hash_ok(buf, GMT_END_SIZE - GMT_HASH)) {
		return fail_at(r, at, err, "no valid end record here: the recording was cut or is damaged");
	}
	uint32_t end = gmt_get32(buf + 4);
	r->end = (gmt_end_kind)end;
	r->end_value = gmt_get64(buf + 8);
	r->index_offset = gmt_get64(buf + 16);
	if (end < GMT_END_EXIT || end > GMT_END_EXEC || gmt_get64(buf + 24) != r->size || r->index_offset < first ||
		r->index_offset > at - GMT_INDEX_FIXED - GMT_HASH) {
		return fail_at(r, at, err, "the end record's fields are not valid");
	}
	return 0;
}

static bool parse_index(gmt_reader *r, const uint8_t *buf, uint64_t first) {
	const uint8_t *p = buf + GMT_INDEX_FIXED;
	uint64_t events = 0;
	uint64_t mallocs = 0;
	for (unsigned i = 0; i < EV_MAX; i++, p += 8) {
		r->counts[i] = gmt_get64(p);
		events += r->counts[i];
		if (r->counts[i] > r->events) {
			return false;
		}
	}
	for (unsigned i = 0; i < GMT_PATHS; i++, p += 8) {
		r->paths[i] = gmt_get64(p);
		mallocs += r->paths[i];
		if (r->paths[i] > r->events) {
			return false;
		}
	}
	if (events != r->events || mallocs > r->counts[EV_MALLOC] + r->counts[EV_MALLOCEND]) {
		return false;
	}
	for (uint64_t i = 0; i < r->nblocks; i++, p += GMT_INDEX_ENTRY) {
		r->blocks[i] = (block_entry){gmt_get64(p), gmt_get64(p + 8), gmt_get64(p + 16)};
	}
	r->blocks[r->nblocks] = (block_entry){r->index_offset, r->events, r->spans};
	if (r->blocks[0].offset != first || r->blocks[0].first != 0 || r->blocks[0].spans != 0) {
		return r->nblocks == 0 && r->blocks[0].offset == first && r->events == 0 && r->spans == 0;
	}
	for (uint64_t i = 0; i < r->nblocks; i++) {
		const block_entry *b = &r->blocks[i];
		if (b[1].offset < b->offset || b[1].offset - b->offset < GMT_BLOCK_FIXED + GMT_HASH || b[1].first <= b->first ||
			b[1].first - b->first > GMT_MAX_BLOCK_EVENTS || b[1].spans < b->spans ||
			b[1].spans - b->spans > b[1].first - b->first) {
			return false;
		}
	}
	return true;
}

static int read_index(gmt_reader *r, uint64_t first, gmt_error *err) {
	uint64_t at = r->index_offset;
	uint64_t size = r->size - GMT_END_SIZE - GMT_HASH - at;
	uint8_t fixed[GMT_INDEX_FIXED];
	if (read_at(r, at, fixed, GMT_INDEX_FIXED, err) != 0) {
		return -1;
	}
	r->nblocks = gmt_get64(fixed + 16);
	r->events = gmt_get64(fixed + 24);
	r->spans = gmt_get64(fixed + 32);
	uint64_t counts = (uint64_t)8 * (EV_MAX + GMT_PATHS);
	// Each block takes more bytes of the file than its entry takes of memory.
	if (gmt_get32(fixed) != GMT_INDEX_MAGIC || gmt_get32(fixed + 4) != EV_MAX || gmt_get32(fixed + 8) != GMT_PATHS ||
		gmt_get32(fixed + 12) != 0 || r->nblocks > (at - first) / (GMT_BLOCK_FIXED + GMT_HASH) ||
		size != GMT_INDEX_FIXED + counts + GMT_INDEX_ENTRY * r->nblocks || r->spans > GMT_MAX_SPANS ||
		r->events > r->nblocks * GMT_MAX_BLOCK_EVENTS || (r->nblocks == 0 && at != first)) {
		return fail_at(r, at, err, "no valid index here");
	}
	if ((size_t)(size + GMT_HASH) != size + GMT_HASH) {
		return fail_memory(r, err);
	}
	uint8_t *buf = malloc((size_t)(size + GMT_HASH));
	r->blocks = calloc((size_t)(r->nblocks + 1), sizeof(*r->blocks));
	if (buf == NULL || r->blocks == NULL) {
		free(buf);
		return fail_memory(r, err);
	}
	int result = read_at(r, at, buf, (size_t)(size + GMT_HASH), err);
	if (result == 0 && !hash_ok(buf, (size_t)size)) {
		result = fail_at(r, at, err, "the index is damaged (its hash differs)");
	}
	if (result == 0 && !parse_index(r, buf, first)) {
		result = fail_at(r, at, err, "the index contradicts itself");
	}
	free(buf);
	return result;
}

static int open_file(gmt_reader *r, gmt_error *err) {
	struct stat st;
	r->fd = open(r->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (r->fd < 0) {
		return gmt_fail(err, r->path, GMT_NO_OFFSET, "cannot open: %s", strerror(errno));
	}
	if (fstat(r->fd, &st) != 0) {
		return gmt_fail(err, r->path, GMT_NO_OFFSET, "cannot stat: %s", strerror(errno));
	}
	if (!S_ISREG(st.st_mode)) {
		return gmt_fail(err, r->path, GMT_NO_OFFSET, "not a recording nor a Go trace: %s",
			S_ISDIR(st.st_mode) ? "it is a directory" : "it is not a regular file");
	}
	r->size = (uint64_t)st.st_size;
	return 0;
}

static void count_event(const gmt_event *e, uint64_t kinds[EV_MAX], uint64_t paths[GMT_PATHS]) {
	kinds[e->kind]++;
	uint64_t path = e->kind == EV_MALLOCEND ? e->a : e->kind == EV_MALLOC ? e->c : GMT_PATHS;
	if (path < GMT_PATHS) {
		paths[path]++;
	}
}

static gmt_reader *new_reader(const char *path, gmt_error *err) {
	gmt_reader *r = calloc(1, sizeof(*r));
	char *copy = strdup(path);
	if (r == NULL || copy == NULL) {
		(void)gmt_fail(err, path, GMT_NO_OFFSET, "out of memory");
		free(r);
		free(copy);
		return NULL;
	}
	r->fd = -1;
	r->verify = true;
	r->path = copy;
	return r;
}

// make_decoder makes what decoding blocks needs.
static int make_decoder(gmt_reader *r, gmt_error *err) {
	r->zstd = ZSTD_createDCtx();
	return gmt_codec_init(&r->codec) && r->zstd != NULL ? 0 : fail_memory(r, err);
}

// read_frame reads what frames the blocks.
static int read_frame(gmt_reader *r, gmt_error *err) {
	uint64_t first = 0;
	if (read_header(r, &first, err) != 0 || read_end(r, first, err) != 0 || read_index(r, first, err) != 0) {
		return -1;
	}
	return make_decoder(r, err);
}

gmt_reader *gmt_open(const char *path, gmt_error *err) {
	gmt_reader *r = new_reader(path, err);
	if (r != NULL && (open_file(r, err) != 0 || read_frame(r, err) != 0)) {
		gmt_close(r);
		return NULL;
	}
	return r;
}

gmt_reader *gmt_open_memory(const char *name, const uint8_t *p, size_t n, gmt_error *err) {
	gmt_reader *r = new_reader(name, err);
	if (r == NULL) {
		return NULL;
	}
	r->mem = p;
	r->size = n;
	if (read_frame(r, err) != 0) {
		gmt_close(r);
		return NULL;
	}
	return r;
}

gmt_reader *gmt_open_events(const gmt_header *h, const gmt_block *block, gmt_error *err) {
	gmt_reader *r = new_reader("events", err);
	if (r == NULL) {
		return NULL;
	}
	r->header = *h;
	r->end = GMT_END_EXIT;
	r->ready = *block;
	r->ready.first = 0;
	r->events = block->n;
	r->nblocks = block->n > 0;
	r->blocks = calloc((size_t)(r->nblocks + 1), sizeof(*r->blocks));
	if (r->blocks == NULL) {
		(void)fail_memory(r, err);
		gmt_close(r);
		return NULL;
	}
	for (uint32_t i = 0; i < block->n; i++) {
		const gmt_event *e = &block->events[i];
		count_event(e, r->counts, r->paths);
		r->spans = gmt_kind((gomem_ev)e->kind)->span_field == 'b' && e->b > r->spans ? e->b : r->spans;
	}
	return r;
}

void gmt_close(gmt_reader *r) {
	if (r == NULL) {
		return;
	}
	if (r->fd >= 0) {
		(void)close(r->fd);
	}
	free(r->codec.marks);
	gmt_codec_free(&r->codec);
	(void)ZSTD_freeDCtx(r->zstd);
	free(r->path);
	free(r->blocks);
	free(r->salvaged);
	free(r->raw);
	free(r->in);
	free(r->ev);
	free(r);
}

const gmt_header *gmt_reader_header(const gmt_reader *r) { return &r->header; }
uint64_t gmt_reader_events(const gmt_reader *r) { return r->events; }
uint64_t gmt_reader_spans(const gmt_reader *r) { return r->spans; }
uint64_t gmt_reader_count(const gmt_reader *r, gomem_ev k) { return (unsigned)k < EV_MAX ? r->counts[k] : 0; }
const char *gmt_reader_salvaged(const gmt_reader *r) { return r->salvaged; }
uint64_t gmt_reader_path_count(const gmt_reader *r, unsigned path) { return path < GMT_PATHS ? r->paths[path] : 0; }

gmt_end_kind gmt_reader_end(const gmt_reader *r, uint64_t *value) {
	if (value != NULL) {
		*value = r->end_value;
	}
	return r->end;
}

// ---- blocks

static uint64_t get_length(cursor *c) {
	uint64_t v = 0;
	for (unsigned shift = 0; shift < 35; shift += 7) {
		if (c->p == c->end) {
			break;
		}
		uint8_t b = *c->p++;
		v |= (uint64_t)(b & 0x7f) << shift;
		if (b < 0x80) {
			return v;
		}
	}
	c->bad = true;
	return 0;
}

// set_columns finds the columns in the raw bytes of a block.
static bool set_columns(gmt_codec *codec, uint8_t *raw, size_t n) {
	cursor c = {raw, raw + n, false};
	uint64_t lengths[COL_MAX];
	for (unsigned i = 0; i < COL_MAX; i++) {
		lengths[i] = get_length(&c);
	}
	uint8_t *p = raw + (c.p - raw);
	for (unsigned i = 0; i < COL_MAX; i++) {
		if (c.bad || lengths[i] > (size_t)(raw + n - p)) {
			return false;
		}
		codec->cols[i] = (gmt_col){p, p + lengths[i], NULL};
		p += lengths[i];
	}
	return p == raw + n;
}

static bool read_dict(gmt_codec *c) {
	gmt_col *k = &c->cols[COL_DICT];
	while (k->p < k->end) {
		uint64_t size = gmt_col_get(c, k);
		uint64_t rest = gmt_col_get(c, k);
		if (c->bad || c->ndict == GMT_DICT_MAX || rest > 31 || size >> 48 != 0) {
			return false;
		}
		gmt_shape_init(&c->dict[c->ndict++], size, rest & 3, rest >> 2);
	}
	return true;
}

static bool change_stream(gmt_codec *c) {
	uint64_t stream = gmt_col_get(c, &c->cols[COL_STREAM]);
	if (c->bad || stream >= GMT_MAX_STREAMS) {
		return false;
	}
	gmt_enter(c, (uint16_t)stream);
	return !c->bad;
}

static void count_dict(gmt_reader *r, const uint32_t ops[256]) {
	const gmt_codec *c = &r->codec;
	for (unsigned i = 0; i < c->ndict; i++) {
		r->seen[EV_MALLOC] += ops[GMT_DICT + i];
		r->seen_paths[c->dict[i].path] += ops[GMT_DICT + i];
	}
}

// decode_events turns the columns into n events. false: they are not valid.
static bool decode_events(gmt_reader *r, uint32_t n) {
	gmt_codec *c = &r->codec;
	const uint8_t *op = c->cols[COL_OP].p;
	const uint8_t *end = c->cols[COL_OP].end;
	uint32_t ops[256] = {0};
	gmt_event *to = r->ev;
	gmt_event *stop = r->ev + n;
	while (op < end) {
		unsigned o = *op++;
		if (o == GMT_OP_STREAM) {
			if (!change_stream(c)) {
				return false;
			}
			continue;
		}
		if (to == stop) {
			return false;
		}
		if (o >= GMT_DICT) {
			if (o - GMT_DICT >= c->ndict) {
				return false;
			}
			const gmt_shape *s = &c->dict[o - GMT_DICT];
			ops[o]++;
			*to = (gmt_event){.kind = EV_MALLOC, .stream = c->stream, .a = s->size, .b = s->flags, .c = s->path};
			to->d = gmt_io_malloc(c, false, s, 0);
			to++;
			continue;
		}
		if (o >= EV_MAX) {
			return false;
		}
		*to = (gmt_event){.kind = (uint8_t)o, .stream = c->stream};
		gmt_io_event(c, false, to);
		count_event(to, r->seen, r->seen_paths);
		to++;
		if (c->bad) {
			return false;
		}
	}
	c->cols[COL_OP].p = c->cols[COL_OP].end;
	count_dict(r, ops);
	return to == stop && !c->bad;
}

static bool columns_empty(const gmt_codec *c) {
	for (unsigned i = 0; i < COL_MAX; i++) {
		if (c->cols[i].p != c->cols[i].end) {
			return false;
		}
	}
	return true;
}

static bool reserve_events(gmt_reader *r, uint32_t n, size_t raw) {
	if (n > r->ev_room) {
		free(r->ev);
		r->ev = malloc(n * sizeof(*r->ev));
		r->ev_room = r->ev == NULL ? 0 : n;
	}
	size_t marks = raw / 8 + 1;
	if (marks > r->mark_room) {
		free(r->codec.marks);
		r->codec.marks = malloc(marks * sizeof(*r->codec.marks));
		r->mark_room = r->codec.marks == NULL ? 0 : marks;
	}
	return r->ev != NULL && r->codec.marks != NULL;
}

// load_block reads and decompresses block i. On success *n is its events, *raw_size its bytes in r->raw.
static int load_block(gmt_reader *r, uint64_t i, uint32_t *n, size_t *raw_size, gmt_error *err) {
	const block_entry *b = &r->blocks[i];
	uint64_t at = b->offset;
	uint64_t all = b[1].offset - at - GMT_HASH;
	if (all < GMT_BLOCK_FIXED || all > GMT_BLOCK_FIXED + ZSTD_COMPRESSBOUND((uint64_t)GMT_MAX_RAW)) {
		return fail_at(r, at, err, "the block is shorter or longer than a block can be");
	}
	if (!reserve(&r->in, &r->in_room, (size_t)(all + GMT_HASH))) {
		return fail_memory(r, err);
	}
	if (read_at(r, at, r->in, (size_t)(all + GMT_HASH), err) != 0) {
		return -1;
	}
	if (gmt_get32(r->in) != GMT_BLOCK_MAGIC || !hash_ok(r->in, (size_t)all)) {
		return fail_at(r, at, err, "the block is damaged (its hash differs)");
	}
	*n = gmt_get32(r->in + 4);
	uint32_t raw = gmt_get32(r->in + 8);
	uint32_t size = gmt_get32(r->in + 12);
	if (size != all - GMT_BLOCK_FIXED || raw > GMT_MAX_RAW || gmt_get64(r->in + 16) != b->first ||
		*n != b[1].first - b->first) {
		return fail_at(r, at, err, "the block's header contradicts the index or is out of bounds");
	}
	const uint8_t *frame = r->in + GMT_BLOCK_FIXED;
	if (size < 4 || gmt_get32(frame) != ZSTD_MAGICNUMBER || ZSTD_getFrameContentSize(frame, size) != raw ||
		ZSTD_findFrameCompressedSize(frame, size) != size) {
		return fail_at(r, at + GMT_BLOCK_FIXED, err, "the block's zstd frame is not of the declared size");
	}
	if (!reserve(&r->raw, &r->raw_room, (size_t)raw + 1) || !reserve_events(r, *n, raw)) {
		return fail_memory(r, err);
	}
	size_t got = ZSTD_decompressDCtx(r->zstd, r->raw, raw, frame, size);
	if (ZSTD_isError(got) || got != raw) {
		return gmt_fail(err, r->path, at + GMT_BLOCK_FIXED, "the block does not decompress: %s",
			ZSTD_isError(got) ? ZSTD_getErrorName(got) : "wrong size");
	}
	poison_defined((uintptr_t)r->raw, raw);
	*raw_size = raw;
	return 0;
}

// decode_block leaves the n events of block i in r->ev.
static int decode_block(gmt_reader *r, uint64_t i, uint32_t *n, gmt_error *err) {
	size_t raw = 0;
	if (load_block(r, i, n, &raw, err) != 0) {
		return -1;
	}
	gmt_codec *c = &r->codec;
	gmt_codec_begin(c, r->blocks[i].spans);
	c->nmarks = 0;
	if (!set_columns(c, r->raw, raw) || !read_dict(c) || !decode_events(r, *n) || !columns_empty(c)) {
		return fail_at(r, r->blocks[i].offset + GMT_BLOCK_FIXED, err, "the block's columns are not valid");
	}
	return 0;
}

static int check_counts(gmt_reader *r, gmt_error *err) {
	if (!r->verify) {
		return 0;
	}
	for (unsigned i = 0; i < EV_MAX; i++) {
		if (r->seen[i] != r->counts[i]) {
			return gmt_fail(err, r->path, r->index_offset, "the index claims %llu events of kind %s, there are %llu",
				(unsigned long long)r->counts[i], gmt_kind((gomem_ev)i)->name, (unsigned long long)r->seen[i]);
		}
	}
	if (memcmp(r->seen_paths, r->paths, sizeof(r->paths)) != 0) {
		return fail_at(r, r->index_offset, err, "the index claims other numbers of mallocs by path than there are");
	}
	return 0;
}

// fail_behind: blocks before were good.
static int fail_behind(const gmt_reader *r, gmt_error *err) {
	if (r->next > 0 && !r->salvage) {
		gmt_add(err, GMT_SALVAGE_HELPS);
	}
	return -1;
}

int gmt_next(gmt_reader *r, gmt_block *block, gmt_error *err) {
	if (r->next == r->nblocks) {
		*block = (gmt_block){.first = r->events};
		return check_counts(r, err) == 0 ? 0 : fail_behind(r, err);
	}
	if (r->ready.events != NULL) {
		*block = r->ready;
		r->next++;
		r->verify = false;
		return 1;
	}
	const gmt_codec *c = &r->codec;
	const block_entry *b = &r->blocks[r->next];
	uint32_t n = 0;
	int result = decode_block(r, r->next, &n, err);
	if (result == 0 && c->max_span != b[1].spans) {
		result = fail_at(r, b->offset, err, "the block names other spans than the index claims");
	}
	if (result != 0) {
		return fail_behind(r, err);
	}
	*block = (gmt_block){b->first, n, r->ev, c->marks, c->nmarks};
	r->next++;
	return 1;
}

int gmt_seek(gmt_reader *r, uint64_t event, gmt_error *err) {
	if (event >= r->events && !(event == 0 && r->nblocks == 0)) {
		return gmt_fail(err, r->path, GMT_NO_OFFSET, "there is no event %llu: the recording has %llu",
			(unsigned long long)event, (unsigned long long)r->events);
	}
	uint64_t low = 0;
	uint64_t high = r->nblocks;
	while (high - low > 1) {
		uint64_t mid = low + (high - low) / 2;
		if (r->blocks[mid].first <= event) {
			low = mid;
		} else {
			high = mid;
		}
	}
	r->next = low;
	r->verify = low == 0;
	memset(r->seen, 0, sizeof(r->seen));
	memset(r->seen_paths, 0, sizeof(r->seen_paths));
	return 0;
}

// ---- salvage

// keep_block takes one block more, if it is whole; index and end record are not asked. false: it is not, and r is as before.
static bool keep_block(gmt_reader *r, size_t *room) {
	gmt_error err;
	uint8_t head[GMT_BLOCK_FIXED];
	if (!array_grow(&r->blocks, room, (size_t)r->nblocks + 1, sizeof(*r->blocks))) {
		return false;
	}
	block_entry *b = &r->blocks[r->nblocks];
	if (read_at(r, b->offset, head, sizeof(head), &err) != 0) {
		return false;
	}
	uint32_t n = gmt_get32(head + 4);
	b[1].offset = b->offset + GMT_BLOCK_FIXED + gmt_get32(head + 12) + GMT_HASH;
	b[1].first = b->first + n;
	if (n == 0 || n > GMT_MAX_BLOCK_EVENTS || decode_block(r, r->nblocks, &n, &err) != 0) {
		return false;
	}
	b[1].spans = r->codec.max_span;
	memcpy(r->counts, r->seen, sizeof(r->counts));
	memcpy(r->paths, r->seen_paths, sizeof(r->paths));
	r->nblocks++;
	return true;
}

// keep_blocks takes all blocks before the damage that err tells.
static int keep_blocks(gmt_reader *r, gmt_error *err) {
	gmt_error damage = *err;
	size_t room = 0;
	uint64_t first = 0;
	if (open_file(r, err) != 0 || read_header(r, &first, err) != 0 || make_decoder(r, err) != 0) {
		return -1;
	}
	r->salvaged = strdup(damage.text);
	if (r->salvaged == NULL || !array_grow(&r->blocks, &room, 0, sizeof(*r->blocks))) {
		return fail_memory(r, err);
	}
	r->blocks[0] = (block_entry){.offset = first};
	while (keep_block(r, &room)) {
	}
	if (r->nblocks == 0) {
		*err = damage;
		gmt_add(err, GMT_SALVAGE_EMPTY);
		return -1;
	}
	r->events = r->blocks[r->nblocks].first;
	r->spans = r->blocks[r->nblocks].spans;
	return gmt_seek(r, 0, err);
}

// is_whole reads all of r, and goes back to its beginning.
static bool is_whole(gmt_reader *r, gmt_error *err) {
	gmt_block b;
	int got;
	r->salvage = true;
	while ((got = gmt_next(r, &b, err)) > 0) {
	}
	return got == 0 && gmt_seek(r, 0, err) == 0;
}

// open_damaged opens what is left before the damage that err tells.
static gmt_reader *open_damaged(const char *path, gmt_error *err) {
	gmt_reader *r = new_reader(path, err);
	if (r != NULL && keep_blocks(r, err) != 0) {
		gmt_close(r);
		return NULL;
	}
	return r;
}

gmt_reader *gmt_open_with(const char *path, gmt_options o, gmt_error *err) {
	gmt_reader *r = gmt_open(path, err);
	if (r != NULL && (!o.salvage || is_whole(r, err))) {
		return r;
	}
	gmt_close(r);
	if (o.salvage) {
		return open_damaged(path, err);
	}
	gmt_error none = *err;
	gmt_reader *left = open_damaged(path, &none);
	if (left != NULL) {
		gmt_add(err, GMT_SALVAGE_HELPS);
	}
	gmt_close(left);
	return NULL;
}
