// contract.c: see contract.h. Blocks stand in a treap: a search tree by address that is a heap by random priorities, and so is shallow.
//
// Invariants, for each node: all blocks below its left are before it, all below its right behind it, none overlaps it;
// nodes[left].priority, nodes[right].priority <= priority.
#include "oracle/contract.h"

#include <stdlib.h>
#include <string.h>

typedef struct node {
	uint64_t addr, n;
	uint32_t left, right; // 0: none
	uint32_t priority;
	uint8_t fill;
} node;

struct contract {
	bool backed, whole;
	node *nodes; // nodes[0] is nobody's
	uint32_t root, n, cap, free;
	uint32_t random;
	uint8_t next_fill;
};

// Unless all of it is, of larger blocks the first and the last WHOLE bytes are filled, and between them STRIPE bytes at each multiple of EVERY, up to STRIPED: memory
// that is touched has to be cleared.
enum { WHOLE = 512, STRIPE = 16, EVERY = 512, STRIPED = 64 << 10 };

contract *contract_new(bool backed, bool whole) {
	contract *c = calloc(1, sizeof *c);
	if (c == NULL) {
		abort();
	}
	c->backed = backed;
	c->whole = whole;
	c->n = 1;
	c->random = 1;
	return c;
}

void contract_free(contract *c) {
	free(c->nodes);
	free(c);
}

// ---- the tree

static uint32_t new_node(contract *c, uint64_t addr, uint64_t n) {
	uint32_t i = c->free;
	if (i != 0) {
		c->free = c->nodes[i].left;
	} else {
		if (c->n >= c->cap) {
			c->cap = c->cap * 2 + 64;
			node *longer = realloc(c->nodes, c->cap * sizeof(node));
			if (longer == NULL) {
				abort();
			}
			c->nodes = longer;
		}
		i = c->n++;
	}
	c->random = c->random * 1664525u + 1013904223u;
	c->next_fill = (uint8_t)(c->next_fill % 255 + 1);
	c->nodes[i] = (node){addr, n, 0, 0, c->random, c->next_fill};
	return i;
}

// split parts a tree into what is before addr and the rest.
static void split(contract *c, uint32_t tree, uint64_t addr, uint32_t *before, uint32_t *rest) {
	while (tree != 0) {
		node *t = &c->nodes[tree];
		if (t->addr < addr) {
			*before = tree;
			before = &t->right;
			tree = t->right;
		} else {
			*rest = tree;
			rest = &t->left;
			tree = t->left;
		}
	}
	*before = 0;
	*rest = 0;
}

static void insert(contract *c, uint32_t i) {
	node *const new = &c->nodes[i];
	uint32_t *at = &c->root;
	while (*at != 0 && c->nodes[*at].priority > new->priority) {
		at = new->addr < c->nodes[*at].addr ? &c->nodes[*at].left : &c->nodes[*at].right;
	}
	split(c, *at, new->addr, &new->left, &new->right);
	*at = i;
}

// place_of gives what names the node of the block at addr; what it names is 0 if there is none.
static uint32_t *place_of(contract *c, uint64_t addr) {
	uint32_t *at = &c->root;
	while (*at != 0 && c->nodes[*at].addr != addr) {
		at = addr < c->nodes[*at].addr ? &c->nodes[*at].left : &c->nodes[*at].right;
	}
	return at;
}

// take_out removes the node that *at names: its two subtrees become one.
static void take_out(contract *c, uint32_t *at) {
	const uint32_t gone = *at;
	uint32_t left = c->nodes[gone].left, right = c->nodes[gone].right;
	while (left != 0 && right != 0) {
		if (c->nodes[left].priority > c->nodes[right].priority) {
			*at = left;
			at = &c->nodes[left].right;
			left = *at;
		} else {
			*at = right;
			at = &c->nodes[right].left;
			right = *at;
		}
	}
	*at = left != 0 ? left : right;
	c->nodes[gone].left = c->free;
	c->nodes[gone].n = 0;
	c->free = gone;
}

// overlap says whether a block of n bytes at addr would lie over another, and over which.
static const char *overlap(const contract *c, uint64_t addr, uint64_t n) {
	for (uint32_t i = c->root; i != 0;) {
		const node *t = &c->nodes[i];
		if (t->addr <= addr) {
			if (t->addr + t->n > addr) {
				return "contract: an object overlaps the one before it";
			}
			i = t->right;
		} else {
			if (addr + n > t->addr) {
				return "contract: an object overlaps the one behind it";
			}
			i = t->left;
		}
	}
	return NULL;
}

// ---- contents

// edges gives the bytes at either end that are filled.
static uint64_t edges(const contract *c, const node *b) { return c->whole || b->n < 2 * WHOLE ? b->n : WHOLE; }

static uint64_t striped(const contract *c, const node *b) { return c->whole ? 0 : b->n < STRIPED ? b->n : STRIPED; }

static void fill(const contract *c, const node *b) {
	unsigned char *p = (unsigned char *)(uintptr_t)b->addr;
	memset(p, b->fill, (size_t)edges(c, b));
	memset(p + b->n - edges(c, b), b->fill, (size_t)edges(c, b));
	for (uint64_t at = EVERY; at + STRIPE < striped(c, b); at += EVERY) {
		memset(p + at, b->fill, STRIPE);
	}
}

// is_filled: a run of bytes is the same everywhere if it equals itself one byte further on.
static bool is_filled(const unsigned char *p, uint64_t n, uint8_t with) {
	return n == 0 || (p[0] == with && memcmp(p, p + 1, (size_t)(n - 1)) == 0);
}

static bool intact(const contract *c, const node *b) {
	const unsigned char *p = (const unsigned char *)(uintptr_t)b->addr;
	const uint64_t n = edges(c, b);
	bool good = is_filled(p, n, b->fill) && (n == b->n || is_filled(p + b->n - n, n, b->fill));
	for (uint64_t at = EVERY; at + STRIPE < striped(c, b); at += EVERY) {
		good = good && is_filled(p + at, STRIPE, b->fill);
	}
	return good;
}

// ---- the contract

uint64_t contract_align(uint64_t n) { return n >= 16 || n % 8 == 0 ? 8 : n % 4 == 0 ? 4 : n % 2 == 0 ? 2 : 1; }

const char *contract_allocated(contract *c, uint64_t addr, uint64_t n, uint64_t align, bool zeroed) {
	if (addr % align != 0) {
		return "contract: an object is not aligned";
	}
	const char *bad = overlap(c, addr, n);
	if (bad != NULL) {
		return bad;
	}
	if (c->backed && zeroed && !is_filled((const unsigned char *)(uintptr_t)addr, n, 0)) {
		return "contract: memory is not zero";
	}
	const uint32_t i = new_node(c, addr, n);
	insert(c, i);
	if (c->backed) {
		fill(c, &c->nodes[i]);
	}
	return NULL;
}

const char *contract_freed(contract *c, uint64_t addr) {
	uint32_t *at = place_of(c, addr);
	if (*at == 0) {
		return "contract: what was freed was not allocated";
	}
	const bool good = !c->backed || intact(c, &c->nodes[*at]);
	take_out(c, at);
	return good ? NULL : "contract: the contents of an object changed before it was freed";
}

const char *contract_collected(contract *c, uint64_t addr) {
	uint32_t *at = place_of(c, addr);
	if (*at == 0) {
		return "contract: what was collected was not allocated";
	}
	take_out(c, at);
	return NULL;
}

const char *contract_check(const contract *c) {
	for (uint32_t i = 1; c->backed && i < c->n; i++) {
		if (!intact(c, &c->nodes[i])) {
			return "contract: the contents of an object changed";
		}
	}
	return NULL;
}
