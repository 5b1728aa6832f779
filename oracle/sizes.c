// sizes.c: see sizes.h.
//
// Invariants: sizes rise strictly; a span of a class holds at least one object; the last class is max_small.
#include "oracle/sizes.h"

#include <stdlib.h>

// step gives how far it is from a size to the next one that is tried: an eighth of the power of two below the size, but at least 8 bytes, 16
// from 32 bytes on, and never more than 256.
static uint64_t step(uint64_t size) {
	if (size < 32) {
		return 8;
	}
	if (size < 128) {
		return 16;
	}
	uint64_t power = 128;
	while (power * 2 <= size) {
		power *= 2;
	}
	return power / 8 < 256 ? power / 8 : 256;
}

// pages_for gives the fewest pages that leave at most 1/8 of a span unused behind its last object.
static uint64_t pages_for(uint64_t size, uint64_t page_size) {
	uint64_t npages = 1;
	while (npages * page_size % size > npages * page_size / 8) {
		npages++;
	}
	return npages;
}

static uint64_t objects(const oracle_sizes *s, const oracle_size_class *c) {
	return c->npages * s->page_size / c->size;
}

static void add(oracle_sizes *s, uint64_t size) {
	const oracle_size_class c = {size, pages_for(size, s->page_size)};
	oracle_size_class *last = &s->classes[s->n - 1];
	if (s->n > 1 && last->npages == c.npages && objects(s, last) == objects(s, &c)) {
		last->size = size;
		return;
	}
	if (s->n == ORACLE_MAX_CLASSES) {
		abort(); // a caller's mistake: no such table was asked for
	}
	s->classes[s->n++] = c;
}

// grow makes slots as large as they can be with as many of them in the span.
static void grow(const oracle_sizes *s, oracle_size_class *c) {
	const uint64_t room = c->npages * s->page_size / objects(s, c);
	const uint64_t size = room / 128 * 128;
	if (size > c->size) {
		c->size = size;
	}
}

void oracle_sizes_make(oracle_sizes *s, uint64_t page_size, uint64_t max_small) {
	*s = (oracle_sizes){.page_size = page_size, .max_small = max_small, .word = 8, .n = 1};
	for (uint64_t size = 8; size <= max_small; size += step(size)) {
		add(s, size);
	}
	for (unsigned i = 1; i < s->n; i++) {
		grow(s, &s->classes[i]);
	}
}

unsigned oracle_sizes_class(const oracle_sizes *s, uint64_t size) {
	for (unsigned i = 1; i < s->n; i++) {
		if (s->classes[i].size >= size) {
			return i;
		}
	}
	abort(); // larger than max_small: no class
}

uint64_t oracle_sizes_slots(const oracle_sizes *s, unsigned class, bool noscan, bool green_tea) {
	const oracle_size_class *c = &s->classes[class];
	const uint64_t bytes = c->npages * s->page_size;
	const uint64_t most = s->word * 8 * s->word;
	uint64_t kept = 0;
	if (!noscan && c->size <= most) {
		kept += bytes / s->word / 8; // a bit for each word
	}
	if (green_tea && c->size >= 16 && c->size <= most) {
		kept += 128;
	}
	return (bytes - kept) / c->size;
}
