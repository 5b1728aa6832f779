// gmt_write.c: writing a recording (.gmt version 1, docs/FORMAT.md).
//
//   a block = up to GMT_MAX_BLOCK_EVENTS events, coded by gmt_model.h, in one zstd frame
//   counts[k] == events of kind k written; block i's first event == sum of the events of the blocks before it
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xxhash.h>
#include <zstd.h>

#include "gomem/poison.h"
#include "traces/gmt_model.h"

enum {
	BLOCK_EVENTS = GMT_MAX_BLOCK_EVENTS,
	DEFAULT_LEVEL = 9,
	TABLE = 1 << 12, // shapes counted in a block
};

// How often a malloc's size, flags and path occur in the block.
typedef struct shape_count {
	uint64_t key; // size << 5 | path << 2 | flags, plus one; 0: free
	uint32_t count;
	uint8_t op; // its op, 0: none
} shape_count;

typedef struct block_entry {
	uint64_t offset, first, spans;
} block_entry;

struct gmt_writer {
	char *path;
	int fd;         // -1: the file is in memory, or closed
	gmt_memory *to; // where it goes when it is finished; NULL: it is not in memory
	gmt_memory mem; // written so far
	size_t mem_room;
	int level;
	bool failed;
	uint64_t offset; // bytes written
	uint64_t events, spans;
	uint64_t counts[EV_MAX], paths[GMT_PATHS];
	block_entry *blocks;
	uint64_t nblocks, block_room;
	gmt_event *ev;
	uint32_t n, ev_room;  // room is BLOCK_EVENTS at most
	uint64_t block_spans; // spans named before the block
	gmt_codec codec;
	ZSTD_CCtx *zstd;
	uint8_t *raw, *out;
	size_t raw_room, out_room, mark_room;
	shape_count table[TABLE];
};

static int fail_errno(gmt_writer *w, gmt_error *err, const char *what) {
	w->failed = true;
	return gmt_fail(err, w->path, GMT_NO_OFFSET, "cannot %s: %s", what, strerror(errno));
}

static int no_memory(gmt_writer *w, gmt_error *err) {
	w->failed = true;
	return gmt_fail(err, w->path, GMT_NO_OFFSET, "out of memory");
}

static bool reserve(uint8_t **buf, size_t *room, size_t n) {
	if (n <= *room) {
		return true;
	}
	uint8_t *p = realloc(*buf, n);
	if (p == NULL) {
		return false;
	}
	*buf = p;
	*room = n;
	return true;
}

static int write_memory(gmt_writer *w, const uint8_t *p, size_t n, gmt_error *err) {
	size_t all = w->mem.n + n;
	if (all > w->mem_room && !reserve(&w->mem.p, &w->mem_room, all + all / 2)) {
		return no_memory(w, err);
	}
	memcpy(w->mem.p + w->mem.n, p, n);
	w->mem.n = all;
	w->offset = all;
	return 0;
}

static int write_all(gmt_writer *w, const uint8_t *p, size_t n, gmt_error *err) {
	if (w->to != NULL) {
		return write_memory(w, p, n, err);
	}
	while (n > 0) {
		ssize_t got = write(w->fd, p, n);
		if (got < 0 && errno == EINTR) {
			continue;
		}
		if (got <= 0) {
			return fail_errno(w, err, "write");
		}
		p += got;
		n -= (size_t)got;
		w->offset += (uint64_t)got;
	}
	return 0;
}

// write_hashed writes n bytes and their hash; there is room for the hash at p + n.
static int write_hashed(gmt_writer *w, uint8_t *p, size_t n, gmt_error *err) {
	(void)gmt_put64(p + n, XXH64(p, n, 0));
	return write_all(w, p, n + GMT_HASH, err);
}

static uint8_t *put_string(uint8_t *p, const char *s, size_t max) {
	size_t n = strnlen(s, max - 1);
	*p++ = (uint8_t)n;
	*p++ = (uint8_t)(n >> 8);
	memcpy(p, s, n);
	return p + n;
}

static int write_header(gmt_writer *w, const gmt_header *h, gmt_error *err) {
	uint8_t buf[GMT_HEADER_FIXED + GMT_MAX_HEADER + GMT_HASH];
	uint8_t *p = buf + GMT_HEADER_FIXED;
	p = put_string(p, h->goversion, sizeof(h->goversion));
	p = put_string(p, h->goexperiment, sizeof(h->goexperiment));
	p = put_string(p, h->goos, sizeof(h->goos));
	p = put_string(p, h->goarch, sizeof(h->goarch));
	p = put_string(p, h->command, sizeof(h->command));
	p = put_string(p, h->godebug, sizeof(h->godebug));
	p = gmt_put64(p, h->page_size);
	p = gmt_put64(p, h->phys_page_size);
	p = gmt_put64(p, h->phys_huge_page_size);
	p = gmt_put64(p, h->arena_bytes);
	p = gmt_put64(p, h->rand_seed);
	p = gmt_put32(p, h->gomaxprocs);
	p = gmt_put32(p,
		(h->randomize_heap_base ? GMT_FLAG_RANDOM_BASE : 0u) | (h->green_tea ? GMT_FLAG_GREEN_TEA : 0u) |
			(h->size_specialized_malloc ? GMT_FLAG_SIZE_SPECIALIZED : 0u) | (h->runtime_freegc ? GMT_FLAG_FREEGC : 0u));
	memcpy(buf, GMT_MAGIC, 8);
	(void)gmt_put32(buf + 8, GMT_VERSION);
	(void)gmt_put32(buf + 12, (uint32_t)(p - buf - GMT_HEADER_FIXED));
	return write_hashed(w, buf, (size_t)(p - buf), err);
}

static void writer_free(gmt_writer *w) {
	for (unsigned i = 0; i < COL_MAX; i++) {
		free(w->codec.cols[i].buf);
	}
	free(w->codec.marks);
	gmt_codec_free(&w->codec);
	ZSTD_freeCCtx(w->zstd);
	free(w->path);
	free(w->blocks);
	free(w->ev);
	free(w->raw);
	free(w->out);
	free(w->mem.p);
	free(w);
}

static gmt_writer *new_writer(const char *path, gmt_error *err) {
	gmt_writer *w = calloc(1, sizeof(*w));
	if (w == NULL) {
		(void)gmt_fail(err, path, GMT_NO_OFFSET, "out of memory");
		return NULL;
	}
	w->fd = -1;
	w->path = strdup(path);
	w->level = DEFAULT_LEVEL;
	w->zstd = ZSTD_createCCtx();
	bool ok = gmt_codec_init(&w->codec);
	if (!ok || w->path == NULL || w->zstd == NULL) {
		(void)gmt_fail(err, path, GMT_NO_OFFSET, "out of memory");
		writer_free(w);
		return NULL;
	}
	return w;
}

static gmt_writer *begin(gmt_writer *w, const gmt_header *h, gmt_error *err) {
	if (write_header(w, h, err) != 0) {
		gmt_abandon(w);
		return NULL;
	}
	return w;
}

gmt_writer *gmt_create(const char *path, const gmt_header *h, gmt_error *err) {
	gmt_writer *w = new_writer(path, err);
	if (w == NULL) {
		return NULL;
	}
	w->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (w->fd < 0) {
		(void)gmt_fail(err, path, GMT_NO_OFFSET, "cannot create: %s", strerror(errno));
		writer_free(w);
		return NULL;
	}
	return begin(w, h, err);
}

gmt_writer *gmt_create_memory(const char *name, const gmt_header *h, gmt_memory *to, gmt_error *err) {
	*to = (gmt_memory){0};
	gmt_writer *w = new_writer(name, err);
	if (w == NULL) {
		return NULL;
	}
	w->to = to;
	return begin(w, h, err);
}

void gmt_set_level(gmt_writer *w, int level) { w->level = level < 1 ? 1 : level > 19 ? 19 : level; }

void gmt_abandon(gmt_writer *w) {
	if (w->fd >= 0) {
		(void)close(w->fd);
		(void)unlink(w->path);
	}
	writer_free(w);
}

// ---- blocks

static bool dict_fits(const gmt_event *e) {
	return e->kind == EV_MALLOC && e->a < (uint64_t)1 << 48 && e->b < 4 && e->c < 8;
}

// find_shape is the entry of a malloc, NULL if the table is full.
static shape_count *find_shape(gmt_writer *w, const gmt_event *e) {
	uint64_t key = (e->a << 5 | e->c << 2 | e->b) + 1;
	uint64_t i = key * 0x9e3779b97f4a7c15u >> 52;
	for (unsigned probe = 0; probe < 16; probe++) {
		shape_count *s = &w->table[(i + probe) & (TABLE - 1)];
		if (s->key == 0) {
			s->key = key;
		}
		if (s->key == key) {
			return s;
		}
	}
	return NULL;
}

static int by_count(const void *a, const void *b) {
	const shape_count *x = *(shape_count *const *)a;
	const shape_count *y = *(shape_count *const *)b;
	if (x->count != y->count) {
		return x->count < y->count ? 1 : -1;
	}
	return x->key < y->key ? -1 : x->key > y->key;
}

// make_dict gives an op to the commonest mallocs of the block.
static void make_dict(gmt_writer *w) {
	memset(w->table, 0, sizeof(w->table));
	for (uint32_t i = 0; i < w->n; i++) {
		shape_count *s = dict_fits(&w->ev[i]) ? find_shape(w, &w->ev[i]) : NULL;
		if (s != NULL) {
			s->count++;
		}
	}
	shape_count *top[TABLE];
	size_t n = 0;
	for (size_t i = 0; i < TABLE; i++) {
		if (w->table[i].count > 1) {
			top[n++] = &w->table[i];
		}
	}
	qsort(top, n, sizeof(top[0]), by_count);
	gmt_codec *c = &w->codec;
	for (size_t i = 0; i < n && i < GMT_DICT_MAX; i++) {
		uint64_t key = top[i]->key - 1;
		top[i]->op = (uint8_t)(GMT_DICT + i);
		gmt_shape_init(&c->dict[c->ndict++], key >> 5, key & 3, key >> 2 & 7);
		gmt_col_put(c, &c->cols[COL_DICT], key >> 5);
		gmt_col_put(c, &c->cols[COL_DICT], key & 31);
	}
}

static void put_op(gmt_codec *c, uint8_t op) {
	gmt_col *k = &c->cols[COL_OP];
	if (k->p == k->end && !gmt_col_grow(k)) {
		c->bad = true;
		return;
	}
	*k->p++ = op;
}

static void encode_event(gmt_writer *w, const gmt_event *event) {
	gmt_codec *c = &w->codec;
	gmt_event e = *event;
	if (e.stream != c->stream) {
		put_op(c, GMT_OP_STREAM);
		gmt_col_put(c, &c->cols[COL_STREAM], e.stream);
		gmt_enter(c, e.stream);
	}
	const shape_count *s = dict_fits(&e) ? find_shape(w, &e) : NULL;
	if (s != NULL && s->op != 0) {
		put_op(c, s->op);
		(void)gmt_io_malloc(c, true, &c->dict[s->op - GMT_DICT], e.d);
		return;
	}
	put_op(c, e.kind);
	gmt_io_event(c, true, &e);
}

// put_length appends the length of a column to the table before the columns.
static uint8_t *put_length(uint8_t *p, size_t v) {
	for (; v >= 0x80; v >>= 7) {
		*p++ = (uint8_t)(v | 0x80);
	}
	*p++ = (uint8_t)v;
	return p;
}

// Columns after which zstd begins a new block of its own, with its own statistics.
static bool ends_group(unsigned col) {
	return col == COL_OP || col == COL_DICT || col == COL_WIDE - 1 || col == COL_MARKS;
}

// compress_columns turns the columns into one zstd frame at w->out + GMT_BLOCK_FIXED.
static int compress_columns(gmt_writer *w, size_t *raw_size, size_t *size, gmt_error *err) {
	gmt_codec *c = &w->codec;
	size_t raw = 0;
	for (unsigned i = 0; i < COL_MAX; i++) {
		raw += (size_t)(c->cols[i].p - c->cols[i].buf) + 5;
	}
	size_t bound = GMT_BLOCK_FIXED + ZSTD_compressBound(raw) + 1024 + GMT_HASH;
	if (!reserve(&w->raw, &w->raw_room, raw) || !reserve(&w->out, &w->out_room, bound)) {
		return no_memory(w, err);
	}
	uint8_t *p = w->raw;
	for (unsigned i = 0; i < COL_MAX; i++) {
		p = put_length(p, (size_t)(c->cols[i].p - c->cols[i].buf));
	}
	size_t cuts[COL_MAX + 1];
	unsigned ncuts = 0;
	for (unsigned i = 0; i < COL_MAX; i++) {
		size_t n = (size_t)(c->cols[i].p - c->cols[i].buf);
		if (n > 0) {
			memcpy(p, c->cols[i].buf, n);
		}
		p += n;
		if (ends_group(i)) {
			cuts[ncuts++] = (size_t)(p - w->raw);
		}
	}
	raw = (size_t)(p - w->raw);
	cuts[ncuts++] = raw;
	(void)ZSTD_CCtx_reset(w->zstd, ZSTD_reset_session_only);
	(void)ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_compressionLevel, w->level);
	(void)ZSTD_CCtx_setPledgedSrcSize(w->zstd, raw);
	ZSTD_outBuffer out = {w->out + GMT_BLOCK_FIXED, w->out_room - GMT_BLOCK_FIXED - GMT_HASH, 0};
	ZSTD_inBuffer in = {w->raw, 0, 0};
	for (unsigned i = 0; i < ncuts; i++) {
		in.size = cuts[i];
		size_t left = ZSTD_compressStream2(w->zstd, &out, &in, i + 1 == ncuts ? ZSTD_e_end : ZSTD_e_flush);
		if (left != 0) {
			w->failed = true;
			return gmt_fail(
				err, w->path, GMT_NO_OFFSET, "zstd: %s", ZSTD_isError(left) ? ZSTD_getErrorName(left) : "no room");
		}
	}
	poison_defined((uintptr_t)out.dst, out.pos);
	*raw_size = raw;
	*size = out.pos;
	return 0;
}

static int add_entry(gmt_writer *w, gmt_error *err) {
	if (w->nblocks == w->block_room) {
		uint64_t room = w->block_room == 0 ? 64 : w->block_room * 2;
		block_entry *b = realloc(w->blocks, (size_t)(room * sizeof(*b)));
		if (b == NULL) {
			return no_memory(w, err);
		}
		w->blocks = b;
		w->block_room = room;
	}
	w->blocks[w->nblocks++] = (block_entry){w->offset, w->events, w->block_spans};
	return 0;
}

static int flush_block(gmt_writer *w, gmt_error *err) {
	gmt_codec *c = &w->codec;
	for (unsigned i = 0; i < COL_MAX; i++) {
		c->cols[i].p = c->cols[i].buf;
	}
	gmt_codec_begin(c, w->block_spans);
	make_dict(w);
	for (uint32_t i = 0; i < w->n; i++) {
		encode_event(w, &w->ev[i]);
	}
	if (c->bad) {
		return no_memory(w, err);
	}
	size_t raw = 0;
	size_t size = 0;
	if (compress_columns(w, &raw, &size, err) != 0 || add_entry(w, err) != 0) {
		return -1;
	}
	uint8_t *p = gmt_put32(w->out, GMT_BLOCK_MAGIC);
	p = gmt_put32(p, w->n);
	p = gmt_put32(p, (uint32_t)raw);
	p = gmt_put32(p, (uint32_t)size);
	(void)gmt_put64(p, w->events);
	if (write_hashed(w, w->out, GMT_BLOCK_FIXED + size, err) != 0) {
		return -1;
	}
	w->events += w->n;
	w->n = 0;
	c->nmarks = 0;
	w->block_spans = w->spans;
	return 0;
}

// ---- events

static int bad_event(gmt_writer *w, const gmt_event *e, gmt_error *err, const char *why) {
	w->failed = true;
	return gmt_fail(err, w->path, GMT_NO_OFFSET, "event %llu (%s): %s", (unsigned long long)(w->events + w->n),
		gmt_kind((gomem_ev)e->kind)->name, why);
}

static const char *why_bad(const gmt_writer *w, const gmt_event *e) {
	if (e->kind == EV_NONE || e->kind >= EV_MAX) {
		return "no such kind of event";
	}
	const gmt_kind_info *info = gmt_kind((gomem_ev)e->kind);
	if (info->span_field == 'b' && (e->b > w->spans + 1 || e->b > GMT_MAX_SPANS)) {
		return "a span number that skips numbers";
	}
	uint32_t marks = e->kind == EV_SWEEP ? gmt_sweep_marks(e->a, e->d) : 0;
	if (marks != e->nmarks || marks > GMT_MAX_MARK_WORDS) {
		return "not as many mark words as its counts ask for";
	}
	bool a = info->nargs < 1 || e->kind == EV_MSPANALLOC ? e->a != 0 : false;
	if (a || (info->nargs < 2 && e->b != 0) || (info->nargs < 3 && e->c != 0) || (info->nargs < 4 && e->d != 0)) {
		return "a field that this kind does not have";
	}
	return NULL;
}

static int add_marks(gmt_writer *w, const uint64_t *marks, unsigned n, gmt_error *err) {
	gmt_codec *c = &w->codec;
	if (c->nmarks + n > w->mark_room) {
		size_t room = w->mark_room == 0 ? 4096 : w->mark_room * 2;
		uint64_t *p = realloc(c->marks, room * sizeof(*p));
		if (p == NULL) {
			return no_memory(w, err);
		}
		c->marks = p;
		w->mark_room = room;
	}
	memcpy(c->marks + c->nmarks, marks, n * sizeof(*marks));
	c->nmarks += n;
	return 0;
}

static bool more_events(gmt_writer *w) {
	uint32_t room = w->ev_room == 0 ? BLOCK_EVENTS / 64 : w->ev_room * 2;
	gmt_event *ev = realloc(w->ev, room * sizeof(*ev));
	if (ev == NULL) {
		return false;
	}
	w->ev = ev;
	w->ev_room = room;
	return true;
}

int gmt_write(gmt_writer *w, const gmt_event *e, const uint64_t *marks, gmt_error *err) {
	if (w->failed) {
		return gmt_fail(err, w->path, GMT_NO_OFFSET, "writing went wrong before");
	}
	const char *why = why_bad(w, e);
	if (why != NULL) {
		return bad_event(w, e, err, why);
	}
	if (w->n == w->ev_room && !more_events(w)) {
		return no_memory(w, err);
	}
	gmt_event *to = &w->ev[w->n];
	*to = *e;
	to->mark_index = e->nmarks != 0 ? (uint32_t)w->codec.nmarks : 0;
	if (e->nmarks != 0 && add_marks(w, marks, e->nmarks, err) != 0) {
		return -1;
	}
	if (gmt_kind((gomem_ev)e->kind)->span_field == 'b' && e->b > w->spans) {
		w->spans = e->b;
	}
	w->counts[e->kind]++;
	uint64_t path = e->kind == EV_MALLOC ? e->c : e->kind == EV_MALLOCEND ? e->a : GMT_PATHS;
	if (path < GMT_PATHS) {
		w->paths[path]++;
	}
	w->n++;
	return w->n == BLOCK_EVENTS ? flush_block(w, err) : 0;
}

int gmt_end_block(gmt_writer *w, gmt_error *err) {
	if (w->failed) {
		return gmt_fail(err, w->path, GMT_NO_OFFSET, "writing went wrong before");
	}
	return w->n == 0 ? 0 : flush_block(w, err);
}

static int write_index(gmt_writer *w, gmt_error *err) {
	size_t size = GMT_INDEX_FIXED + 8 * ((size_t)EV_MAX + GMT_PATHS) + GMT_INDEX_ENTRY * (size_t)w->nblocks;
	uint8_t *buf = malloc(size + GMT_HASH);
	if (buf == NULL) {
		return no_memory(w, err);
	}
	uint8_t *p = gmt_put32(buf, GMT_INDEX_MAGIC);
	p = gmt_put32(p, EV_MAX);
	p = gmt_put32(p, GMT_PATHS);
	p = gmt_put32(p, 0);
	p = gmt_put64(p, w->nblocks);
	p = gmt_put64(p, w->events);
	p = gmt_put64(p, w->spans);
	for (unsigned i = 0; i < EV_MAX; i++) {
		p = gmt_put64(p, w->counts[i]);
	}
	for (unsigned i = 0; i < GMT_PATHS; i++) {
		p = gmt_put64(p, w->paths[i]);
	}
	for (uint64_t i = 0; i < w->nblocks; i++) {
		p = gmt_put64(p, w->blocks[i].offset);
		p = gmt_put64(p, w->blocks[i].first);
		p = gmt_put64(p, w->blocks[i].spans);
	}
	int result = write_hashed(w, buf, size, err);
	free(buf);
	return result;
}

static int write_end(gmt_writer *w, gmt_end_kind end, uint64_t value, gmt_error *err) {
	if (w->n > 0 && flush_block(w, err) != 0) {
		return -1;
	}
	uint64_t index = w->offset;
	if (write_index(w, err) != 0) {
		return -1;
	}
	uint8_t buf[GMT_END_SIZE];
	uint8_t *p = gmt_put32(buf, GMT_END_MAGIC);
	p = gmt_put32(p, (uint32_t)end);
	p = gmt_put64(p, value);
	p = gmt_put64(p, index);
	(void)gmt_put64(p, w->offset + GMT_END_SIZE);
	return write_hashed(w, buf, GMT_END_SIZE - GMT_HASH, err);
}

int gmt_finish(gmt_writer *w, gmt_end_kind end, uint64_t value, gmt_error *err) {
	if (w->failed) {
		(void)gmt_fail(err, w->path, GMT_NO_OFFSET, "writing went wrong before");
		gmt_abandon(w);
		return -1;
	}
	int result = write_end(w, end, value, err);
	if (result == 0 && w->to != NULL) {
		*w->to = w->mem;
		w->mem = (gmt_memory){0};
	} else if (result == 0 && close(w->fd) != 0) {
		result = fail_errno(w, err, "close");
		(void)unlink(w->path);
		w->fd = -1;
	} else if (result == 0) {
		w->fd = -1;
	}
	gmt_abandon(w);
	return result;
}
