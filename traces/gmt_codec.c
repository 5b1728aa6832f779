// gmt_codec.c: what writer and reader of recordings share: errors, columns, registers, the size classes of the format.
#include <stdarg.h>
#include <stdio.h>

#include "traces/gmt_model.h"

// Tables begin small: most recordings that are looked at are.
enum { FEW_SLOTS = 64, FEW_SPANS = 256 };

void gmt_add(gmt_error *err, const char *text) {
	size_t len = strlen(err->text);
	(void)snprintf(err->text + len, sizeof(err->text) - len, "%s", text);
}

int gmt_fail(gmt_error *err, const char *path, uint64_t offset, const char *fmt, ...) {
	int n;
	if (offset == GMT_NO_OFFSET) {
		n = snprintf(err->text, sizeof(err->text), "%.300s: ", path);
	} else {
		n = snprintf(err->text, sizeof(err->text), "%.300s: offset %llu: ", path, (unsigned long long)offset);
	}
	va_list ap;
	va_start(ap, fmt);
	if (n > 0 && (size_t)n < sizeof(err->text)) {
		(void)vsnprintf(err->text + n, sizeof(err->text) - (size_t)n, fmt, ap);
	}
	va_end(ap);
	return -1;
}

const uint16_t gmt_sizes[GMT_SIZES] = {
	8192,
	8,
	16,
	24,
	32,
	48,
	64,
	80,
	96,
	112,
	128,
	144,
	160,
	176,
	192,
	208,
	224,
	240,
	256,
	288,
	320,
	352,
	384,
	416,
	448,
	480,
	512,
	576,
	640,
	704,
	768,
	896,
	1024,
	1152,
	1280,
	1408,
	1536,
	1792,
	2048,
	2304,
	2688,
	3072,
	3200,
	3456,
	4096,
	4864,
	5376,
	6144,
	6528,
	6784,
	6912,
	8192,
	9472,
	9728,
	10240,
	10880,
	12288,
	13568,
	14336,
	16384,
	18432,
	19072,
	20480,
	21760,
	24576,
	27264,
	28672,
	32768,
};

// size_class is the smallest class that holds size, 0 if none does.
static unsigned size_class(uint64_t size) {
	if (size > gmt_sizes[GMT_SIZES - 1]) {
		return 0;
	}
	unsigned low = 1;
	unsigned high = GMT_SIZES - 1;
	while (low < high) {
		unsigned mid = (low + high) / 2;
		if (gmt_sizes[mid] < size) {
			low = mid + 1;
		} else {
			high = mid;
		}
	}
	return low;
}

static uint64_t tiny_mask(uint64_t size) { return (size & 7) == 0 ? 7 : (size & 3) == 0 ? 3 : (size & 1) == 0 ? 1 : 0; }

void gmt_shape_init(gmt_shape *s, uint64_t size, uint64_t flags, uint64_t path) {
	*s = (gmt_shape){
		.size = size, .flags = (uint8_t)(flags & 3), .path = (uint8_t)(path & 7), .next_mask = tiny_mask(size)};
	unsigned c = 0;
	unsigned noscan = s->flags & 1;
	switch (s->path) {
	case GOMEM_PATH_TINY_NEW:
		c = 2;
		noscan = 1;
		break;
	case GOMEM_PATH_SCAN_HEADER:
		c = size_class(size + 8);
		s->offset = 8;
		break;
	case GOMEM_PATH_NOSCAN:
	case GOMEM_PATH_SCAN:
	case GOMEM_PATH_REUSE:
		c = size_class(size);
		break;
	default:
		break;
	}
	s->spc = (uint8_t)(c << 1 | noscan);
	s->stride = gmt_sizes[c];
}

bool gmt_col_grow(gmt_col *k) {
	size_t used = k->buf == NULL ? 0 : (size_t)(k->p - k->buf);
	size_t room = used < 256 ? 512 : used * 2;
	uint8_t *buf = realloc(k->buf, room);
	if (buf == NULL) {
		return false;
	}
	k->buf = buf;
	k->p = buf + used;
	k->end = buf + room;
	return true;
}

uint64_t gmt_col_get_slow(gmt_codec *c, gmt_col *k) {
	uint64_t v = 0;
	for (unsigned shift = 0; shift < 64 && k->p < k->end; shift += 7) {
		uint8_t b = *k->p++;
		v |= (uint64_t)(b & 0x7f) << shift;
		if (b < 0x80) {
			c->bad |= shift == 63 && b > 1;
			return v;
		}
	}
	c->bad = true;
	return 0;
}

bool gmt_span_grow(gmt_codec *c) {
	uint64_t room = c->span_room;
	while (room < GMT_SPANS && room <= c->max_span) {
		room *= 2;
	}
	if (room == c->span_room) {
		return true;
	}
	gmt_span *wide = realloc(c->spans, (size_t)(room * sizeof(*wide)));
	if (wide == NULL) {
		return false;
	}
	// Each number so far is smaller than the room, and so keeps its place.
	memset(wide + c->span_room, 0, (size_t)((room - c->span_room) * sizeof(*wide)));
	c->spans = wide;
	c->span_room = room;
	return true;
}

bool gmt_slot_grow(gmt_codec *c, uint32_t index) {
	uint32_t slots = c->slots;
	while (slots <= index) {
		slots *= 2;
	}
	uint8_t *wide = realloc(c->slot, slots);
	if (wide == NULL) {
		return false;
	}
	memset(wide + c->slots, 0, slots - c->slots);
	c->slot = wide;
	c->slots = slots;
	return true;
}

bool gmt_codec_init(gmt_codec *c) {
	memset(c, 0, sizeof(*c));
	c->all = calloc(GMT_CTX_MAX, sizeof(*c->all));
	c->slots = FEW_SLOTS;
	c->slot = calloc(c->slots, 1);
	c->span_room = FEW_SPANS;
	c->spans = calloc((size_t)c->span_room, sizeof(*c->spans));
	return c->all != NULL && c->slot != NULL && c->spans != NULL && gmt_ctx_clear(c, 0);
}

bool gmt_ctx_clear(gmt_codec *c, uint32_t i) {
	if (c->all[i] == NULL) {
		c->all[i] = malloc(sizeof(*c->all[i]));
	}
	if (c->all[i] != NULL) {
		memset(c->all[i], 0, sizeof(*c->all[i]));
	}
	return c->all[i] != NULL;
}

void gmt_codec_free(gmt_codec *c) {
	for (unsigned i = 0; c->all != NULL && i < GMT_CTX_MAX; i++) {
		free(c->all[i]);
	}
	free((void *)c->all);
	free(c->slot);
	free(c->spans);
}

void gmt_codec_begin(gmt_codec *c, uint64_t spans) {
	memset(c->slot, 0, c->slots);
	memset(c->last, 0, sizeof(c->last));
	memset(c->push, 0, sizeof(c->push));
	memset(c->pop, 0, sizeof(c->pop));
	c->epoch++;
	c->nctx = 0;
	c->ndict = 0;
	c->max_span = spans;
	c->bad = !gmt_span_grow(c);
	gmt_enter(c, 0);
}
