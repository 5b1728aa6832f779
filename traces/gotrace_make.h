// gotrace_make.h: making Go traces byte by byte, for tests and fuzz targets. Nothing here checks anything: damaged traces are made by it, too.
#ifndef GOMEM_TRACES_GOTRACE_MAKE_H
#define GOMEM_TRACES_GOTRACE_MAKE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "traces/gotrace_wire.h"

typedef struct make {
	uint8_t *p;
	size_t n, room;
	size_t length; // where the length of the batch that is open stands, 0: none is
} make;

static inline void make_bytes(make *k, const void *p, size_t n) {
	if (k->n + n > k->room) {
		k->room = (k->n + n) * 2 + 1024;
		k->p = realloc(k->p, k->room);
		if (k->p == NULL) {
			abort();
		}
	}
	if (n > 0) {
		memcpy(k->p + k->n, p, n);
	}
	k->n += n;
}

static inline void make_byte(make *k, unsigned b) { make_bytes(k, &(uint8_t){(uint8_t)b}, 1); }

static inline void make_number(make *k, uint64_t v) {
	for (; v >= 0x80; v >>= 7) {
		make_byte(k, (unsigned)(v & 0x7f) | 0x80);
	}
	make_byte(k, (unsigned)v);
}

static inline void make_numbers(make *k, size_t n, const uint64_t *v) {
	for (size_t i = 0; i < n; i++) {
		make_number(k, v[i]);
	}
}

static inline void make_magic(make *k, unsigned version) {
	char magic[GT_HEADER + 1] = {0};
	(void)snprintf(magic, sizeof(magic), "go 1.%u trace", version % 100);
	make_bytes(k, magic, GT_HEADER);
}

// make_end ends the open batch: its length is written, in ten bytes as Go does.
static inline void make_end(make *k) {
	uint64_t n = k->n - k->length - 10;
	for (unsigned i = 0; i < 10; i++, n >>= 7) {
		k->p[k->length + i] = (uint8_t)((n & 0x7f) | (i < 9 ? 0x80 : 0));
	}
	k->length = 0;
}

// make_batch begins a batch. experiment: 0, or its number.
static inline void make_batch(make *k, unsigned experiment, uint64_t gen, uint64_t m, uint64_t time) {
	make_byte(k, experiment != 0 ? GT_EV_EXPERIMENTAL : GT_EV_BATCH);
	if (experiment != 0) {
		make_byte(k, experiment);
	}
	make_numbers(k, 3, (const uint64_t[]){gen, m, time});
	k->length = k->n;
	make_bytes(k, (const uint8_t[10]){0}, 10);
}

// make_event adds a timed event with n numbers behind its time.
static inline void make_event(make *k, unsigned type, uint64_t dt, size_t n, const uint64_t *v) {
	make_byte(k, type);
	make_number(k, dt);
	make_numbers(k, n, v);
}

static inline void make_string(make *k, uint64_t id, const char *text) {
	make_byte(k, GT_EV_STRING);
	make_number(k, id);
	make_number(k, strlen(text));
	make_bytes(k, text, strlen(text));
}

static inline void make_type(make *k, uint64_t id, uint64_t addr, uint64_t size, uint64_t ptrbytes, const char *name) {
	make_numbers(k, 5, (const uint64_t[]){id, addr, size, ptrbytes, strlen(name)});
	make_bytes(k, name, strlen(name));
}

// make_info is what addresses are decoded by.
static inline void make_info(make *k, uint64_t gen, uint64_t min) {
	make_batch(k, 1, gen, GT_NO_M, 0);
	make_byte(k, 1);
	make_numbers(k, 4, (const uint64_t[]){min, 8192, 8, 2048});
	make_end(k);
}

static inline void make_clock(make *k, unsigned version, uint64_t gen, uint64_t frequency) {
	make_batch(k, 0, gen, GT_NO_M, 1);
	if (version >= 25) {
		make_byte(k, GT_EV_SYNC);
	}
	make_byte(k, GT_EV_FREQUENCY);
	make_number(k, frequency);
	if (version >= 25) {
		make_byte(k, GT_EV_CLOCK);
		make_numbers(k, 4, (const uint64_t[]){1, 2, 3, 4});
	}
	make_end(k);
}

#endif
