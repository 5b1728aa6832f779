// fuzz_gmt_reader.c: recordings, whole and damaged, against the events that were written.
//
// A program writes events, then does damage with its hand on the format: most bytes of a recording lie behind a hash or inside a zstd
// frame, so that random damage would never get past the first check. The file is taken apart, each piece is changed, and put together
// again with right hashes, offsets and sizes, unless the operation is to make just them wrong.
//
//   no damage                      -> what is read == what was written, block by block
//   the file is accepted           -> read a second time, and after a seek, it is the same; the writer can write it again, and that is the same
//   the file is refused            -> the error names the file and an offset in it; asked again, the same error
//   memory of a reader             <= MAX_READER, whatever the file claims
#include "fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include <xxhash.h>
#include <zstd.h>

#include "gomem/poison.h"
#include "traces/gmt_format.h"

enum {
	MAX_EVENTS = 4096,
	MAX_MARKS = 4096,
	MAX_BLOCKS = 16,
	MAX_SEEN = 64,
	MAX_DAMAGES = 4,
	MAX_RAW = 24,
	COLUMNS = 248
};
static const size_t MAX_READER = 48 << 20;
static const char fileName[] = "fuzz.gmt";

// A piece of the file: what one hash covers.
typedef struct piece {
	uint8_t *p;
	size_t n;
	uint64_t hash; // added to the right one
} piece;

// A block, and its entry in the index.
typedef struct block {
	piece all;
	uint64_t first, spans;
} block;

typedef struct file {
	piece header, index, end;
	block blocks[MAX_BLOCKS];
	unsigned nblocks;
} file;

typedef struct damage {
	void (*run)(file *f, const uint64_t *a);
	uint64_t a[FUZZ_MAX_ARGS];
} damage;

// Damage to the bytes of the whole file.
typedef enum byte_damage { BYTE_FLIP, BYTE_CUT, BYTE_INSERT } byte_damage;

typedef struct state {
	gmt_header header;
	int level;
	gmt_end_kind end;
	uint64_t value;
	uint32_t n;
	gmt_event ev[MAX_EVENTS];
	uint64_t marks[MAX_MARKS];
	uint32_t nmarks;
	uint64_t spans;
	uint32_t ends[MAX_BLOCKS]; // where blocks end
	unsigned nends;
	damage damages[MAX_DAMAGES];
	unsigned ndamages;
	damage bytes[MAX_DAMAGES]; // run is NULL, a[0] a byte_damage
	unsigned nbytes;
	unsigned most; // damages
	uint64_t seeks[4];
	unsigned nseeks;
	uint8_t raw[MAX_RAW * 8]; // bytes read as they are
	size_t nraw;
} state;

static state the;

static const gmt_kind_info *info(const gmt_event *e) { return gmt_kind((gomem_ev)e->kind); }

static void *begin(const uint64_t *config) {
	state *s = &the;
	memset(s, 0, offsetof(state, ev));
	s->nmarks = s->nends = s->ndamages = s->nbytes = s->nseeks = 0;
	s->spans = s->nraw = 0;
	s->most = (unsigned)config[5];
	s->level = 1 + (int)config[0];
	s->end = (gmt_end_kind)(GMT_END_EXIT + config[1]);
	s->value = config[2];
	s->header = (gmt_header){.goversion = "go1.26.8", .goos = "linux", .goarch = "amd64", .page_size = 8192};
	memset(s->header.command, 'c', (size_t)config[3]);
	s->header.rand_seed = config[2];
	s->header.gomaxprocs = (uint32_t)config[4];
	s->header.green_tea = (config[4] & 1) != 0;
	return s;
}

// ---- what is written

// makeValid gives an event what the format asks for: no other fields, a span number that follows, marks where some objects live.
static bool makeValid(state *s, gmt_event *e, uint64_t seed) {
	uint64_t *fields[] = {&e->a, &e->b, &e->c, &e->d};
	if (s->n == MAX_EVENTS || s->nmarks + GMT_MAX_MARK_WORDS > MAX_MARKS) {
		return false;
	}
	for (unsigned f = info(e)->nargs; f < 4; f++) {
		*fields[f] = 0;
	}
	e->a = e->kind == EV_MSPANALLOC ? 0 : e->a;
	if (info(e)->span_field == 'b') {
		e->b %= s->spans + 2;
		s->spans = e->b > s->spans ? e->b : s->spans;
	}
	if (e->kind == EV_SWEEP && gmt_sweep_marks(e->a, e->d) > GMT_MAX_MARK_WORDS) {
		e->a &= ~((uint64_t)0xfc00 << 1);
	}
	e->nmarks = (uint8_t)(e->kind == EV_SWEEP ? gmt_sweep_marks(e->a, e->d) : 0);
	e->mark_index = e->nmarks > 0 ? s->nmarks : 0;
	for (unsigned i = 0; i < e->nmarks; i++) {
		s->marks[s->nmarks++] = fuzz_random(&seed);
	}
	return true;
}

// aStream gives one of a few streams, mostly: what an event is coded against is what its own stream did before.
static uint16_t aStream(uint64_t a) { return (uint16_t)(a < 0xf000 ? a % 3 : a); }

static void event(void *v, const uint64_t *a) {
	state *s = v;
	gmt_event e = {.kind = (uint8_t)(1 + a[0]), .stream = aStream(a[1]), .a = a[2], .b = a[3], .c = a[4], .d = a[5]};
	if (makeValid(s, &e, a[2])) {
		s->ev[s->n++] = e;
	}
}

static void malloced(void *v, const uint64_t *a) {
	state *s = v;
	gmt_event e = {.kind = EV_MALLOC, .stream = aStream(a[3]), .a = a[0], .b = a[1] & 3, .c = a[1] >> 2, .d = a[2]};
	if (makeValid(s, &e, 0)) {
		s->ev[s->n++] = e;
	}
}

static void sweep(void *v, const uint64_t *a) {
	state *s = v;
	gmt_event e = {.kind = EV_SWEEP, .a = a[1] << 1, .b = a[0], .c = a[2], .d = 1 | a[3] << 32};
	if (makeValid(s, &e, a[4])) {
		s->ev[s->n++] = e;
	}
}

// again repeats the last event; its address moves on by a step.
static void again(void *v, const uint64_t *a) {
	state *s = v;
	for (uint64_t i = 0; i < a[0] && s->n > 0; i++) {
		gmt_event e = s->ev[s->n - 1];
		*(info(&e)->nargs == 4 ? &e.d : &e.a) += a[1];
		if (!makeValid(s, &e, i)) {
			return;
		}
		s->ev[s->n++] = e;
	}
}

// burst writes events of many kinds that have to do with each other: their fields are those of events before, or near them.
static void burst(void *v, const uint64_t *a) {
	state *s = v;
	uint64_t rnd = a[0];
	for (uint64_t i = 0; i < a[1]; i++) {
		uint64_t f[4];
		for (unsigned k = 0; k < 4; k++) {
			const gmt_event *e = s->n == 0 ? &(gmt_event){0} : &s->ev[s->n - 1 - fuzz_below(&rnd, s->n < 8 ? s->n : 8)];
			const uint64_t old[] = {e->a, e->b, e->c, e->d};
			const uint64_t fresh = fuzz_random(&rnd) >> fuzz_below(&rnd, 64);
			f[k] = fuzz_below(&rnd, 3) == 0 ? fresh : old[fuzz_below(&rnd, 4)] + fuzz_below(&rnd, 3) * 8192;
		}
		gmt_event e = {.kind = (uint8_t)(1 + fuzz_below(&rnd, EV_MAX - 1)),
			.stream = (uint16_t)fuzz_below(&rnd, 3),
			.a = f[0],
			.b = f[1],
			.c = f[2],
			.d = f[3]};
		if (!makeValid(s, &e, rnd)) {
			return;
		}
		s->ev[s->n++] = e;
	}
}

static void endBlock(void *v, const uint64_t *a) {
	(void)a;
	state *s = v;
	const uint32_t last = s->nends == 0 ? 0 : s->ends[s->nends - 1];
	if (s->nends < MAX_BLOCKS / 2 && s->n > last) {
		s->ends[s->nends++] = s->n;
	}
}

static void seek(void *v, const uint64_t *a) {
	state *s = v;
	s->seeks[s->nseeks++ % 4] = a[0];
}

static void raw(void *v, const uint64_t *a) {
	state *s = v;
	if (s->nraw < sizeof s->raw) {
		gmt_put64(s->raw + s->nraw, a[0]);
		s->nraw += 8;
	}
}

static gmt_memory writeEvents(const state *s) {
	gmt_error err;
	gmt_memory out;
	gmt_writer *w = gmt_create_memory(fileName, &s->header, &out, &err);
	fuzz_check(w != NULL, "gmt_create_memory");
	gmt_set_level(w, s->level);
	for (uint32_t i = 0, k = 0; i < s->n; i++) {
		if (gmt_write(w, &s->ev[i], &s->marks[s->ev[i].mark_index], &err) != 0) {
			fuzz_fail("a valid event is refused: %s", err.text);
		}
		if (k < s->nends && s->ends[k] == i + 1) {
			k++;
			fuzz_check(gmt_end_block(w, &err) == 0, "gmt_end_block");
		}
	}
	if (gmt_finish(w, s->end, s->value, &err) != 0) {
		fuzz_fail("gmt_finish: %s", err.text);
	}
	return out;
}

// ---- the file in pieces

static piece copyOf(const uint8_t *p, size_t n) {
	piece out = {.p = malloc(n + 1), .n = n};
	fuzz_check(out.p != NULL, "out of memory");
	memcpy(out.p, p, n);
	return out;
}

// splice replaces cut bytes of a piece from at on by others.
static void splice(piece *x, size_t at, size_t cut, const uint8_t *p, size_t n) {
	at = at < x->n ? at : x->n;
	cut = cut < x->n - at ? cut : x->n - at;
	uint8_t *out = malloc(x->n - cut + n + 1);
	fuzz_check(out != NULL, "out of memory");
	memcpy(out, x->p, at);
	memcpy(out + at, p, n);
	memcpy(out + at + n, x->p + at + cut, x->n - at - cut);
	free(x->p);
	x->p = out;
	x->n += n - cut;
}

static void takeApart(file *f, gmt_memory m) {
	const uint8_t *end = m.p + m.n - GMT_END_SIZE, *index = m.p + gmt_get64(end + 16);
	const size_t header = GMT_HEADER_FIXED + gmt_get32(m.p + 12);
	*f = (file){.nblocks = (unsigned)gmt_get64(index + 16)};
	f->header = copyOf(m.p, header);
	f->end = copyOf(end, GMT_END_SIZE - GMT_HASH);
	const size_t fixed = GMT_INDEX_FIXED + 8 * ((size_t)EV_MAX + GMT_PATHS);
	f->index = copyOf(index, fixed);
	for (unsigned i = 0; i < f->nblocks; i++) {
		const uint8_t *entry = index + fixed + (size_t)i * GMT_INDEX_ENTRY, *p = m.p + gmt_get64(entry);
		f->blocks[i].all = copyOf(p, GMT_BLOCK_FIXED + gmt_get32(p + 12));
		f->blocks[i].first = gmt_get64(entry + 8);
		f->blocks[i].spans = gmt_get64(entry + 16);
	}
}

static void append(gmt_memory *m, const piece *x) {
	memcpy(m->p + m->n, x->p, x->n);
	gmt_put64(m->p + m->n + x->n, XXH64(x->p, x->n, 0) + x->hash);
	m->n += x->n + GMT_HASH;
}

static void release(piece *x) {
	free(x->p);
	*x = (piece){0};
}

// indexWhole completes the index with the entries of the blocks. Its own bytes may be damaged: they stay as they are.
static void indexWhole(file *f, uint64_t offset) {
	for (unsigned i = 0; i < f->nblocks; i++) {
		uint8_t entry[GMT_INDEX_ENTRY];
		gmt_put64(gmt_put64(gmt_put64(entry, offset), f->blocks[i].first), f->blocks[i].spans);
		splice(&f->index, f->index.n, 0, entry, sizeof entry);
		offset += f->blocks[i].all.n + GMT_HASH;
	}
}

// setOffsets makes the end record say where the index is, before it is damaged.
static void setOffsets(file *f) {
	uint64_t offset = f->header.n + GMT_HASH;
	for (unsigned i = 0; i < f->nblocks; i++) {
		offset += f->blocks[i].all.n + GMT_HASH;
	}
	gmt_put64(f->index.p + 16, f->nblocks);
	gmt_put64(f->end.p + 16, offset);
	gmt_put64(f->end.p + 24, offset + f->index.n + f->nblocks * (size_t)GMT_INDEX_ENTRY + GMT_HASH + GMT_END_SIZE);
}

static gmt_memory putTogether(file *f) {
	indexWhole(f, f->header.n + GMT_HASH);
	size_t n = f->header.n + f->index.n + f->end.n + (3 + (size_t)f->nblocks) * GMT_HASH;
	for (unsigned i = 0; i < f->nblocks; i++) {
		n += f->blocks[i].all.n;
	}
	gmt_memory m = {.p = malloc(n + MAX_DAMAGES)};
	fuzz_check(m.p != NULL, "out of memory");
	append(&m, &f->header);
	for (unsigned i = 0; i < f->nblocks; i++) {
		append(&m, &f->blocks[i].all);
		release(&f->blocks[i].all);
	}
	append(&m, &f->index);
	append(&m, &f->end);
	release(&f->header);
	release(&f->index);
	release(&f->end);
	return m;
}

// ---- damage to pieces

static block *blockOf(file *f, uint64_t i) { return f->nblocks == 0 ? NULL : &f->blocks[i % f->nblocks]; }

// amended gives a number of the file another value: any, or one nearby.
static uint64_t amended(uint64_t old, uint64_t value, uint64_t near) { return near != 0 ? old + value - 8 : value; }

// asMany: more than 8 new bytes stand for as many as are cut.
static size_t asMany(uint64_t bytes, uint64_t cut) { return (size_t)(bytes > 8 ? cut : bytes); }

// write puts the low bytes of a number into a piece.
static void write(piece *x, uint64_t at, uint64_t v, uint64_t bytes) {
	for (uint64_t i = 0; i < bytes && at + i < x->n; i++) {
		x->p[at + i] = (uint8_t)(v >> 8 * i);
	}
}

static void damageHeader(file *f, const uint64_t *a) { write(&f->header, a[0] % f->header.n, a[1], 1 + a[2]); }

static void resizeHeader(file *f, const uint64_t *a) {
	static const uint8_t fill[16];
	splice(&f->header, (size_t)(GMT_HEADER_FIXED + a[0]), (size_t)a[1], fill, (size_t)a[2]);
	gmt_put32(f->header.p + 12, (uint32_t)(f->header.n - GMT_HEADER_FIXED));
	setOffsets(f);
}

static void damageIndex(file *f, const uint64_t *a) {
	uint8_t *p = f->index.p + a[0] % (f->index.n / 8) * 8;
	gmt_put64(p, amended(gmt_get64(p), a[1], a[2]));
}

static void damageEntry(file *f, const uint64_t *a) {
	block *b = blockOf(f, a[0]);
	if (b != NULL) {
		*(a[1] == 0 ? &b->first : &b->spans) += a[2] - 8;
	}
}

static void damageEnd(file *f, const uint64_t *a) {
	uint8_t *p = f->end.p + a[0] * 4;
	gmt_put32(p, (uint32_t)amended(gmt_get32(p), a[1], a[2]));
}

static void damageBlock(file *f, const uint64_t *a) {
	block *b = blockOf(f, a[0]);
	if (b != NULL) {
		uint8_t *p = b->all.p + a[1] * 4;
		gmt_put32(p, (uint32_t)amended(gmt_get32(p), a[2], a[3]));
	}
}

// damageCount changes the events of a block wherever they are counted.
static void damageCount(file *f, const uint64_t *a) {
	block *b = blockOf(f, a[0]);
	if (b == NULL) {
		return;
	}
	const uint64_t more = a[1] - 8;
	gmt_put32(b->all.p + 4, gmt_get32(b->all.p + 4) + (uint32_t)more);
	for (block *next = b + 1; next < f->blocks + f->nblocks; next++) {
		next->first += more;
		gmt_put64(next->all.p + 16, next->first);
	}
	gmt_put64(f->index.p + 24, gmt_get64(f->index.p + 24) + more);
	uint8_t *kind = f->index.p + GMT_INDEX_FIXED + a[2] * 8;
	gmt_put64(kind, gmt_get64(kind) + more);
}

static void damageHash(file *f, const uint64_t *a) {
	piece *pieces[] = {&f->header, &f->index, &f->end, f->nblocks > 0 ? &blockOf(f, a[0])->all : &f->end};
	pieces[a[0] < 3 ? a[0] : 3]->hash += a[1];
}

static void moveBlock(file *f, const uint64_t *a) {
	block *x = blockOf(f, a[0]), *y = blockOf(f, a[1]);
	if (x == NULL) {
		return;
	}
	const block old = *x;
	if (a[2] == 0) {
		*x = *y;
		*y = old;
	} else if (a[2] == 1 && f->nblocks < MAX_BLOCKS) {
		f->blocks[f->nblocks] = old;
		f->blocks[f->nblocks++].all = copyOf(old.all.p, old.all.n);
	} else if (a[2] == 2) {
		release(&x->all);
		*x = f->blocks[--f->nblocks];
	}
	setOffsets(f);
}

// setFrame gives a block another frame, and says its sizes.
static void setFrame(file *f, block *b, const uint8_t *frame, size_t n, uint64_t content) {
	splice(&b->all, GMT_BLOCK_FIXED, SIZE_MAX, frame, n);
	gmt_put32(b->all.p + 8, (uint32_t)content);
	gmt_put32(b->all.p + 12, (uint32_t)n);
	setOffsets(f);
}

static uint8_t *compress(const uint8_t *p, size_t n, size_t *size) {
	uint8_t *out = malloc(ZSTD_compressBound(n));
	fuzz_check(out != NULL, "out of memory");
	*size = ZSTD_compress(out, ZSTD_compressBound(n), p, n, 1);
	fuzz_check(!ZSTD_isError(*size), "ZSTD_compress");
	poison_defined((uintptr_t)out, *size);
	return out;
}

static void setContent(file *f, block *b, piece *content) {
	size_t n;
	uint8_t *frame = compress(content->p, content->n, &n);
	setFrame(f, b, frame, n, content->n);
	free(frame);
	release(content);
}

// contentOf decompresses the columns of a block. false: it was damaged so that this is not possible any more.
static bool contentOf(const block *b, piece *content) {
	const size_t n = gmt_get32(b->all.p + 8), room = n < 1 << 20 ? n : 0;
	*content = (piece){.p = malloc(room + 1), .n = room};
	fuzz_check(content->p != NULL, "out of memory");
	if (ZSTD_decompress(content->p, room, b->all.p + GMT_BLOCK_FIXED, b->all.n - GMT_BLOCK_FIXED) == n && room == n) {
		poison_defined((uintptr_t)content->p, n);
		return true;
	}
	release(content);
	return false;
}

static void damageContent(file *f, const uint64_t *a) {
	block *b = blockOf(f, a[0]);
	piece content;
	if (b != NULL && contentOf(b, &content)) {
		uint8_t bytes[8];
		gmt_put64(bytes, a[2]);
		splice(&content, (size_t)a[1], (size_t)a[3], bytes, asMany(a[4], a[3]));
		setContent(f, b, &content);
	}
}

// readLengths gives the lengths of the columns, and where they begin.
static bool readLengths(const piece *content, size_t lengths[COLUMNS], size_t *at) {
	*at = 0;
	for (unsigned i = 0; i < COLUMNS; i++) {
		lengths[i] = 0;
		for (unsigned shift = 0;; shift += 7) {
			if (*at == content->n || shift > 28) {
				return false;
			}
			lengths[i] |= (size_t)(content->p[*at] & 0x7f) << shift;
			if (content->p[(*at)++] < 0x80) {
				break;
			}
		}
	}
	return true;
}

// damageColumn replaces bytes within a column, and corrects its length.
static void damageColumn(file *f, const uint64_t *a) {
	block *b = blockOf(f, a[0]);
	piece content;
	size_t lengths[COLUMNS], at;
	if (b == NULL || !contentOf(b, &content)) {
		return;
	}
	if (!readLengths(&content, lengths, &at)) {
		release(&content);
		return;
	}
	size_t begins = at;
	for (unsigned i = 0; i < a[1]; i++) {
		begins += lengths[i];
	}
	uint8_t bytes[8], table[COLUMNS * 5], *p = table;
	gmt_put64(bytes, a[3]);
	const size_t column = lengths[a[1]], from = (size_t)a[2] % (column + 1);
	const size_t cut = (size_t)(a[4] < column - from ? a[4] : column - from);
	const size_t put = asMany(a[5], cut);
	splice(&content, begins + from, cut, bytes, put);
	lengths[a[1]] += put - cut;
	for (unsigned i = 0; i < COLUMNS; i++) {
		size_t v = lengths[i];
		for (; v >= 0x80; v >>= 7) {
			*p++ = (uint8_t)(v | 0x80);
		}
		*p++ = (uint8_t)v;
	}
	splice(&content, 0, at, table, (size_t)(p - table));
	setContent(f, b, &content);
}

// zeros gives a frame of n zeros, made once for each of a few n.
static piece zeros(uint64_t which, size_t *n) {
	static const size_t sizes[] = {
		0, 1, COLUMNS - 1, COLUMNS, COLUMNS + 1, 1 << 12, 1 << 16, GMT_MAX_RAW, GMT_MAX_RAW + 1, 1 << 26};
	static piece made[sizeof sizes / sizeof sizes[0]];
	which %= sizeof sizes / sizeof sizes[0];
	*n = sizes[which];
	if (made[which].p == NULL) {
		uint8_t *content = calloc(1, *n + 1);
		fuzz_check(content != NULL, "out of memory");
		made[which].p = compress(content, *n, &made[which].n);
		free(content);
	}
	return made[which];
}

// bomb gives a block a frame that is much smaller than its content; honest or not about sizes.
static void bomb(file *f, const uint64_t *a) {
	block *b = blockOf(f, a[0]);
	if (b == NULL) {
		return;
	}
	size_t n;
	const piece frame = zeros(a[1], &n);
	setFrame(f, b, frame.p, frame.n, n + a[2] - 2);
	if (a[3] == 1) { // two frames
		splice(&b->all, b->all.n, 0, frame.p, frame.n);
		gmt_put32(b->all.p + 12, (uint32_t)(2 * frame.n));
		setOffsets(f);
	} else if (a[3] == 2) { // a frame to be skipped
		gmt_put32(b->all.p + GMT_BLOCK_FIXED, 0x184d2a50);
	}
}

static void damageFrame(file *f, const uint64_t *a) {
	block *b = blockOf(f, a[0]);
	if (b != NULL) {
		uint8_t bytes[8];
		gmt_put64(bytes, a[2]);
		splice(&b->all, (size_t)(GMT_BLOCK_FIXED + a[1]), (size_t)a[3], bytes, asMany(a[4], a[3]));
		setOffsets(f);
	}
}

// later keeps damage for the end, when all events are there.
static void later(void (*run)(file *f, const uint64_t *a), const uint64_t *a) {
	if (the.ndamages + the.nbytes < the.most) {
		damage *d = &the.damages[the.ndamages++];
		d->run = run;
		memcpy(d->a, a, sizeof d->a);
	}
}

static void opHeader(void *v, const uint64_t *a) { (void)v, later(damageHeader, a); }
static void opResize(void *v, const uint64_t *a) { (void)v, later(resizeHeader, a); }
static void opIndex(void *v, const uint64_t *a) { (void)v, later(damageIndex, a); }
static void opEntry(void *v, const uint64_t *a) { (void)v, later(damageEntry, a); }
static void opEnd(void *v, const uint64_t *a) { (void)v, later(damageEnd, a); }
static void opBlock(void *v, const uint64_t *a) { (void)v, later(damageBlock, a); }
static void opCount(void *v, const uint64_t *a) { (void)v, later(damageCount, a); }
static void opHash(void *v, const uint64_t *a) { (void)v, later(damageHash, a); }
static void opMove(void *v, const uint64_t *a) { (void)v, later(moveBlock, a); }
static void opContent(void *v, const uint64_t *a) { (void)v, later(damageContent, a); }
static void opColumn(void *v, const uint64_t *a) { (void)v, later(damageColumn, a); }
static void opBomb(void *v, const uint64_t *a) { (void)v, later(bomb, a); }
static void opFrame(void *v, const uint64_t *a) { (void)v, later(damageFrame, a); }

static void opByte(void *v, const uint64_t *a) {
	state *s = v;
	if (s->ndamages + s->nbytes < s->most) {
		memcpy(s->bytes[s->nbytes++].a, a, sizeof s->bytes[0].a);
	}
}

static void damageBytes(gmt_memory *m, const uint64_t *a) {
	const size_t at = (size_t)(m->n == 0 ? 0 : a[1] % m->n);
	switch ((byte_damage)a[0]) {
	case BYTE_FLIP:
		m->p[at] ^= (uint8_t)a[2];
		return;
	case BYTE_CUT:
		m->n = at;
		return;
	case BYTE_INSERT: // there is room for MAX_DAMAGES bytes
		memmove(m->p + at + 1, m->p + at, m->n - at);
		m->p[at] = (uint8_t)a[2];
		m->n++;
		return;
	}
}

// ---- reading

// What a reader gave.
typedef struct seen {
	bool opened, good;
	gmt_error err;
	uint64_t events;
	unsigned n;
	struct {
		uint64_t first, digest;
		uint32_t n;
	} blocks[MAX_SEEN];
} seen;

static uint64_t digestOf(const gmt_block *b) {
	uint64_t digest = b->n;
	for (uint32_t i = 0; i < b->n; i++) {
		gmt_event e = b->events[i];
		e.mark_index = 0;
		digest = XXH64(&e, sizeof e, digest);
		digest = XXH64(b->marks + b->events[i].mark_index, (size_t)e.nmarks * 8, digest);
	}
	return digest;
}

static void checkError(const char *text, size_t size) {
	const char *at = strstr(text, "offset ");
	if (strncmp(text, "fuzz.gmt: ", 10) != 0 || at == NULL || strtoull(at + 7, NULL, 10) > size) {
		fuzz_fail("an error that does not name the file and an offset in it: %s", text);
	}
}

static void checkBlock(const gmt_reader *r, const gmt_block *b) {
	fuzz_check(
		b->n > 0 && b->n <= GMT_MAX_BLOCK_EVENTS && b->first + b->n <= gmt_reader_events(r), "events of a block");
	for (uint32_t i = 0; i < b->n; i++) {
		const gmt_event *e = &b->events[i];
		fuzz_check(e->kind != EV_NONE && e->kind < EV_MAX, "kind of an event");
		fuzz_check(e->nmarks == 0 || e->mark_index + (uint64_t)e->nmarks <= b->nmarks, "marks of an event");
		fuzz_check(info(e)->span_field != 'b' || e->b <= gmt_reader_spans(r), "span of an event");
	}
}

// readBlocks reads to the end, from block s->n on.
static void readBlocks(gmt_reader *r, seen *s, size_t size) {
	gmt_block b;
	int got;
	while ((got = gmt_next(r, &b, &s->err)) > 0) {
		checkBlock(r, &b);
		fuzz_check(s->n < MAX_SEEN, "more blocks than the file can hold");
		s->blocks[s->n].first = b.first;
		s->blocks[s->n].n = b.n;
		s->blocks[s->n++].digest = digestOf(&b);
	}
	s->good = got == 0;
	if (got < 0) {
		checkError(s->err.text, size);
	}
}

static void checkSame(const seen *a, const seen *b, unsigned from) {
	fuzz_equal("blocks read again", b->n, a->n);
	fuzz_check(a->good == b->good && (a->good || strcmp(a->err.text, b->err.text) == 0), "the end, read again");
	for (unsigned i = from; i < a->n; i++) {
		fuzz_equal("first event of a block, read again", b->blocks[i].first, a->blocks[i].first);
		fuzz_equal("events of a block, read again", b->blocks[i].digest, a->blocks[i].digest);
	}
}

// readFrom seeks an event and reads the rest: the same, but that counts are not verified.
static void readFrom(gmt_reader *r, const seen *first, uint64_t event, size_t size) {
	gmt_error err;
	static seen again2;
	const bool there = event < first->events || (event == 0 && first->n == 0);
	const int got = gmt_seek(r, event, &err);
	fuzz_equal("gmt_seek", got == 0, there);
	if (got != 0 || !first->good) {
		return;
	}
	again2 = (seen){.events = first->events};
	while (again2.n + 1 < first->n && first->blocks[again2.n + 1].first <= event) {
		again2.n++;
	}
	const unsigned from = again2.n;
	readBlocks(r, &again2, size);
	checkSame(first, &again2, from);
}

// checkWritten compares with what was written.
static void checkWritten(const state *s, gmt_reader *r) {
	gmt_error err;
	gmt_block b;
	uint64_t value;
	fuzz_equal("events", gmt_reader_events(r), s->n);
	fuzz_equal("spans", gmt_reader_spans(r), s->spans);
	fuzz_equal("end", gmt_reader_end(r, &value), s->end);
	fuzz_equal("value of the end", value, s->value);
	fuzz_check(memcmp(gmt_reader_header(r), &s->header, sizeof s->header) == 0, "header");
	uint32_t n = 0;
	int got;
	for (unsigned k = 0; (got = gmt_next(r, &b, &err)) > 0; k++) {
		fuzz_equal("first event of a block", b.first, n);
		fuzz_equal("events of a block", b.n, (k < s->nends ? s->ends[k] : s->n) - n);
		for (uint32_t i = 0; i < b.n; i++, n++) {
			const gmt_event *e = &b.events[i], *w = &s->ev[n];
			fuzz_check(e->kind == w->kind && e->stream == w->stream && e->nmarks == w->nmarks, "event");
			fuzz_check(e->a == w->a && e->b == w->b && e->c == w->c && e->d == w->d, "fields of an event");
			fuzz_check(memcmp(&b.marks[e->mark_index], &s->marks[w->mark_index], e->nmarks * 8u) == 0, "mark bits");
		}
	}
	fuzz_check(got == 0, "what was written is refused");
	fuzz_equal("events read", n, s->n);
}

// A sanitizer's runtime counts memory; without one that is not checked.
extern size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));

static size_t allocated(void) {
	return __sanitizer_get_current_allocated_bytes != NULL ? __sanitizer_get_current_allocated_bytes() : 0;
}

// ---- what docs/FORMAT.md asks of a file, read here once more: nothing else may be accepted

// What the events of a file add up to.
typedef struct tally {
	uint64_t events, spans, kinds[EV_MAX], paths[GMT_PATHS];
} tally;

static void count(tally *t, const gmt_block *b) {
	for (uint32_t i = 0; i < b->n; i++) {
		const gmt_event *e = &b->events[i];
		const uint64_t path = e->kind == EV_MALLOC ? e->c : e->kind == EV_MALLOCEND ? e->a : GMT_PATHS;
		t->kinds[e->kind]++;
		t->paths[path < GMT_PATHS ? path : 0] += path < GMT_PATHS;
		if (info(e)->span_field == 'b') {
			fuzz_check(e->b <= t->spans + 1, "a span appears after all with smaller numbers");
			t->spans = e->b > t->spans ? e->b : t->spans;
		}
	}
	t->events += b->n;
}

static bool hashed(const uint8_t *p, size_t n) { return gmt_get64(p + n) == XXH64(p, n, 0); }

// checkColumns: the columns of a block take all of its content.
static void checkColumns(const uint8_t *p) {
	const block b = {.all = {.p = (uint8_t *)(uintptr_t)p, .n = GMT_BLOCK_FIXED + gmt_get32(p + 12)}};
	piece content;
	size_t lengths[COLUMNS], at;
	if (!contentOf(&b, &content)) {
		return; // large
	}
	fuzz_check(readLengths(&content, lengths, &at), "lengths of the columns");
	for (unsigned i = 0; i < COLUMNS; i++) {
		at += lengths[i];
	}
	fuzz_equal("bytes of the columns", at, content.n);
	release(&content);
}

static void checkFile(gmt_memory m, gmt_reader *r) {
	const uint8_t *const end = m.p + m.n - GMT_END_SIZE, *const index = m.p + gmt_get64(end + 16);
	const uint64_t nblocks = gmt_get64(index + 16);
	const uint8_t *entry = index + GMT_INDEX_FIXED + 8 * ((size_t)EV_MAX + GMT_PATHS);
	const size_t header = GMT_HEADER_FIXED + gmt_get32(m.p + 12);
	uint64_t at = header + GMT_HASH;
	tally t = {0};
	gmt_block b;
	gmt_error err;
	fuzz_check(memcmp(m.p, "\x89GMT\r\n\x1a\n\1\0\0\0", 12) == 0 && hashed(m.p, header), "header");
	for (uint64_t i = 0; i < nblocks; i++, entry += GMT_INDEX_ENTRY) {
		const uint8_t *p = m.p + at;
		const size_t n = GMT_BLOCK_FIXED + gmt_get32(p + 12);
		fuzz_equal("offset of a block", gmt_get64(entry), at);
		fuzz_equal("first event of a block", gmt_get64(entry + 8), t.events);
		fuzz_equal("spans before a block", gmt_get64(entry + 16), t.spans);
		fuzz_check(memcmp(p, "GBLK", 4) == 0 && gmt_get64(p + 16) == t.events && hashed(p, n), "block");
		checkColumns(p);
		fuzz_check(gmt_next(r, &b, &err) == 1 && b.n == gmt_get32(p + 4), "events of a block");
		count(&t, &b);
		at += n + GMT_HASH;
	}
	fuzz_check(memcmp(index, "GIDX", 4) == 0 && gmt_get32(index + 4) == EV_MAX && gmt_get32(index + 8) == GMT_PATHS &&
			gmt_get32(index + 12) == 0 && hashed(index, (size_t)(entry - index)),
		"index");
	fuzz_check(index == m.p + at && end == entry + GMT_HASH, "no gaps");
	fuzz_equal("events", gmt_get64(index + 24), t.events);
	fuzz_equal("spans", gmt_get64(index + 32), t.spans);
	for (unsigned k = 0; k < EV_MAX + GMT_PATHS; k++) {
		fuzz_equal("counts", gmt_get64(index + GMT_INDEX_FIXED + (size_t)k * 8),
			k < EV_MAX ? t.kinds[k] : t.paths[k - EV_MAX]);
	}
	fuzz_check(memcmp(end, "GEND", 4) == 0 && gmt_get32(end + 4) >= 1 && gmt_get32(end + 4) <= 5 &&
			gmt_get64(end + 24) == m.n && hashed(end, GMT_END_SIZE - GMT_HASH),
		"end record");
}

// readTwice reads a file; written: as the program wrote it.
static void readTwice(gmt_memory m, bool written, seen *s) {
	const size_t before = allocated();
	*s = (seen){0};
	gmt_reader *r = gmt_open_memory(fileName, m.p, m.n, &s->err);
	s->opened = r != NULL;
	if (r == NULL) {
		checkError(s->err.text, m.n);
		return;
	}
	s->events = gmt_reader_events(r);
	if (written) {
		gmt_error err;
		checkWritten(&the, r);
		fuzz_check(the.n == 0 || gmt_seek(r, 0, &err) == 0, "gmt_seek");
	}
	readBlocks(r, s, m.n);
	if (!s->good) {
		gmt_block b;
		gmt_error err;
		fuzz_check(gmt_next(r, &b, &err) < 0 && strcmp(err.text, s->err.text) == 0, "asked again, the same error");
	}
	readFrom(r, s, 0, m.n);
	if (s->good && (s->n == 0 || gmt_seek(r, 0, &s->err) == 0)) {
		checkFile(m, r);
	}
	for (unsigned i = 0; i < 4 && i < the.nseeks; i++) {
		readFrom(r, s, the.seeks[i] % (s->events + 2), m.n);
	}
	const size_t now = allocated();
	fuzz_check(now <= before || now - before <= MAX_READER, "a reader takes more memory than it may");
	gmt_close(r);
}

// checkRewritten: what the reader accepts, the writer writes again, and it is the same.
static void checkRewritten(gmt_memory m, const seen *first) {
	gmt_error err;
	gmt_block b;
	gmt_memory copy;
	static seen second;
	gmt_reader *r = gmt_open_memory(fileName, m.p, m.n, &err);
	gmt_writer *w = gmt_create_memory(fileName, gmt_reader_header(r), &copy, &err);
	uint64_t value;
	const gmt_end_kind kind = gmt_reader_end(r, &value);
	while (gmt_next(r, &b, &err) > 0) {
		for (uint32_t i = 0; i < b.n; i++) {
			if (gmt_write(w, &b.events[i], &b.marks[b.events[i].mark_index], &err) != 0) {
				fuzz_fail("the writer refuses what the reader accepts: %s", err.text);
			}
		}
		fuzz_check(gmt_end_block(w, &err) == 0, "gmt_end_block");
	}
	gmt_close(r);
	fuzz_check(gmt_finish(w, kind, value, &err) == 0, "gmt_finish");
	readTwice(copy, false, &second);
	checkSame(first, &second, 0);
	free(copy.p);
}

static void end(void *v) {
	state *s = v;
	static seen what;
	static file f;
	gmt_memory m = writeEvents(s);
	const bool whole = s->ndamages == 0 && s->nbytes == 0;
	if (!whole) {
		takeApart(&f, m);
		free(m.p);
		for (unsigned i = 0; i < s->ndamages; i++) {
			s->damages[i].run(&f, s->damages[i].a);
		}
		m = putTogether(&f);
		for (unsigned i = 0; i < s->nbytes; i++) {
			damageBytes(&m, s->bytes[i].a);
		}
	}
	readTwice(m, whole, &what);
	fuzz_check(what.good || !whole, "what was written is refused");
	if (what.good && what.events <= MAX_EVENTS && !whole) {
		checkRewritten(m, &what);
	}
	free(m.p);
	if (s->nraw > 0) {
		readTwice((gmt_memory){s->raw, s->nraw}, false, &what);
	}
}

#define BLOCK                                                                                                          \
	{ "block", 1, FUZZ_ANY, MAX_BLOCKS - 1 }
#define AT                                                                                                             \
	{ "at", 2, FUZZ_ANY, 0 }
#define VALUE                                                                                                          \
	{ "value", 8, FUZZ_ANY, 0 }
#define NEAR                                                                                                           \
	{ "near8", 1, FUZZ_ANY, 1 }

static const fuzz_op_info ops[] = {
	{"event",
		{{"kind", 1, FUZZ_ANY, EV_MAX - 2}, {"stream", 2, FUZZ_ANY, 0}, {"a", 8, FUZZ_WORD, 0}, {"b", 8, FUZZ_ANY, 0},
			{"c", 8, FUZZ_WORD, 0}, {"d", 8, FUZZ_WORD, 0}},
		event},
	{"malloc",
		{{"size", 8, FUZZ_ANY, 0}, {"how", 1, FUZZ_ANY, 31}, {"address", 6, FUZZ_ANY, 0}, {"stream", 2, FUZZ_ANY, 0}},
		malloced},
	{"sweep",
		{{"span", 1, FUZZ_ANY, 0}, {"nelems", 2, FUZZ_INDEX, 1024}, {"base", 6, FUZZ_ANY, 0},
			{"live", 2, FUZZ_INDEX, 1024}, {"marks", 2, FUZZ_ANY, 0}},
		sweep},
	{"again", {{"times", 2, FUZZ_ANY, 300}, {"step", 8, FUZZ_SIZE, 0}}, again},
	{"burst", {{"seed", 2, FUZZ_ANY, 0}, {"events", 1, FUZZ_ANY, 99}}, burst},
	{"endblock", {{0}}, endBlock},
	{"seek", {{"event", 2, FUZZ_ANY, 0}}, seek},
	{"raw", {VALUE}, raw},
	{"header", {AT, VALUE, {"bytes", 1, FUZZ_ANY, 7}}, opHeader},
	{"resize", {{"at", 2, FUZZ_ANY, 512}, {"cut", 2, FUZZ_ANY, 512}, {"fill", 1, FUZZ_ANY, 16}}, opResize},
	{"index", {AT, VALUE, NEAR}, opIndex},
	{"entry", {BLOCK, {"spans", 1, FUZZ_ANY, 1}, {"more8", 1, FUZZ_ANY, 16}}, opEntry},
	{"end", {{"word", 1, FUZZ_ANY, 7}, VALUE, NEAR}, opEnd},
	{"block", {BLOCK, {"word", 1, FUZZ_ANY, 5}, VALUE, NEAR}, opBlock},
	{"count", {BLOCK, {"more8", 1, FUZZ_ANY, 16}, {"kind", 1, FUZZ_ANY, EV_MAX - 1}}, opCount},
	{"hash", {{"piece", 1, FUZZ_ANY, 6}, VALUE}, opHash},
	{"move", {BLOCK, {"to", 1, FUZZ_ANY, MAX_BLOCKS - 1}, {"how", 1, FUZZ_ANY, 2}}, opMove},
	{"content", {BLOCK, AT, VALUE, {"cut", 1, FUZZ_ANY, 8}, {"bytes", 1, FUZZ_ANY, 15}}, opContent},
	{"column",
		{BLOCK, {"column", 1, FUZZ_ANY, COLUMNS - 1}, AT, VALUE, {"cut", 1, FUZZ_ANY, 8}, {"bytes", 1, FUZZ_ANY, 15}},
		opColumn},
	{"bomb", {BLOCK, {"zeros", 1, FUZZ_ANY, 63}, {"lie", 1, FUZZ_ANY, 4}, {"how", 1, FUZZ_ANY, 2}}, opBomb},
	{"frame", {BLOCK, {"at", 2, FUZZ_ANY, 0}, VALUE, {"cut", 1, FUZZ_ANY, 8}, {"bytes", 1, FUZZ_ANY, 15}}, opFrame},
	{"byte", {{"how", 1, FUZZ_ANY, 2}, {"at", 4, FUZZ_ANY, 0}, {"with", 1, FUZZ_ANY, 0}}, opByte},
};

FUZZ_TARGET(gmt_reader) = {
	.name = "gmt_reader",
	.what = "recordings, whole and damaged, against the events that were written",
	.config = {{"level", 1, FUZZ_ANY, 2}, {"end", 1, FUZZ_ANY, 4}, {"value", 8, FUZZ_WORD, 0},
		{"command", 2, FUZZ_ANY, 4095}, {"procs", 1, FUZZ_ANY, 0}, {"damages", 1, FUZZ_ANY, MAX_DAMAGES}},
	.ops = ops,
	.nops = sizeof ops / sizeof ops[0],
	.max_ops = 24,
	.begin = begin,
	.end = end,
};
