// contract.c: see contract.h. Blocks stand in an array in address order.
//
// Invariant: blocks[i].addr + blocks[i].n <= blocks[i + 1].addr
#include "oracle/contract.h"

#include <stdlib.h>
#include <string.h>

typedef struct block {
	uint64_t addr, n;
	uint8_t fill;
} block;

struct contract {
	bool backed;
	block *blocks;
	size_t n, cap;
	uint8_t next_fill;
};

enum { WHOLE = 512 }; // of larger blocks, the first and the last so many bytes are filled

contract *contract_new(bool backed) {
	contract *c = calloc(1, sizeof *c);
	if (c == NULL) {
		abort();
	}
	c->backed = backed;
	return c;
}

void contract_free(contract *c) {
	free(c->blocks);
	free(c);
}

// find_place gives the number of blocks that begin at or below addr.
static size_t find_place(const contract *c, uint64_t addr) {
	size_t lo = 0, hi = c->n;
	while (lo < hi) {
		const size_t mid = (lo + hi) / 2;
		if (c->blocks[mid].addr <= addr) {
			lo = mid + 1;
		} else {
			hi = mid;
		}
	}
	return lo;
}

// edges gives the bytes at either end that are filled.
static uint64_t edges(const block *b) { return b->n < 2 * WHOLE ? b->n : WHOLE; }

static void fill(const block *b) {
	unsigned char *p = (unsigned char *)(uintptr_t)b->addr;
	memset(p, b->fill, edges(b));
	memset(p + b->n - edges(b), b->fill, edges(b));
}

// is_filled: a run of bytes is the same everywhere if it equals itself one byte further on.
static bool is_filled(const unsigned char *p, uint64_t n, uint8_t with) {
	return n == 0 || (p[0] == with && memcmp(p, p + 1, n - 1) == 0);
}

static bool intact(const block *b) {
	const unsigned char *p = (const unsigned char *)(uintptr_t)b->addr;
	return is_filled(p, edges(b), b->fill) && is_filled(p + b->n - edges(b), edges(b), b->fill);
}

const char *contract_allocated(contract *c, uint64_t addr, uint64_t n, uint64_t align, bool zeroed) {
	if (addr % align != 0) {
		return "contract: an object is not aligned";
	}
	const size_t at = find_place(c, addr);
	if (at > 0 && c->blocks[at - 1].addr + c->blocks[at - 1].n > addr) {
		return "contract: an object overlaps the one before it";
	}
	if (at < c->n && addr + n > c->blocks[at].addr) {
		return "contract: an object overlaps the one behind it";
	}
	if (c->backed && zeroed && !is_filled((const unsigned char *)(uintptr_t)addr, n, 0)) {
		return "contract: memory is not zero";
	}
	if (c->n == c->cap) {
		c->cap = c->cap * 2 + 64;
		c->blocks = realloc(c->blocks, c->cap * sizeof(block));
		if (c->blocks == NULL) {
			abort();
		}
	}
	memmove(&c->blocks[at + 1], &c->blocks[at], (c->n - at) * sizeof(block));
	c->next_fill = (uint8_t)(c->next_fill % 255 + 1);
	c->blocks[at] = (block){addr, n, c->next_fill};
	c->n++;
	if (c->backed) {
		fill(&c->blocks[at]);
	}
	return NULL;
}

const char *contract_freed(contract *c, uint64_t addr) {
	const size_t at = find_place(c, addr);
	if (at == 0 || c->blocks[at - 1].addr != addr) {
		return "contract: what was freed was not allocated";
	}
	const bool good = !c->backed || intact(&c->blocks[at - 1]);
	memmove(&c->blocks[at - 1], &c->blocks[at], (c->n - at) * sizeof(block));
	c->n--;
	return good ? NULL : "contract: the contents of an object changed before it was freed";
}

const char *contract_check(const contract *c) {
	for (size_t i = 0; c->backed && i < c->n; i++) {
		if (!intact(&c->blocks[i])) {
			return "contract: the contents of an object changed";
		}
	}
	return NULL;
}
