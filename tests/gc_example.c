// gc_example.c: a program that uses gomem with garbage collection; docs/GC.md shows it, and what it prints.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gomem/gomem.h"

// A list of words, each with its text in an object of its own.
typedef struct node {
	struct node *next;
	char *text;
	long number;
} node;

static const uint8_t node_mask[] = {3}; // words 0 and 1 hold pointers, word 2 does not
static const gomem_type node_type = {sizeof(node), 2 * sizeof(void *), node_mask};

static node *push(gomem_heap *h, gomem_p *p, node *list, long number) {
	node *n = gomem_mallocgc(h, p, sizeof *n, &node_type, true);
	char *text = gomem_mallocgc(
		h, p, 200, NULL, false); // n is reachable by nobody yet: nothing collects between two calls of ours
	if (n == NULL || text == NULL) {
		perror("gc_example");
		exit(2);
	}
	*n = (node){list, text, number};
	snprintf(n->text, 200, "number %ld", number);
	return n;
}

static int check(const node *list) {
	int n = 0;
	for (; list != NULL; list = list->next, n++) {
		char want[32];
		snprintf(want, sizeof want, "number %ld", list->number);
		if (strcmp(list->text, want) != 0) {
			printf("%s is not %s\n", list->text, want);
			return -1;
		}
	}
	return n;
}

int main(void) {
	gomem_heap *h = gomem_heap_new(NULL);
	if (h == NULL) {
		perror("gc_example");
		return 2;
	}
	gomem_p *p = gomem_heap_p(h, 0);
	node *lists[8] = {0};
	const gomem_root root = {lists, sizeof lists, NULL}; // any word of lists may be a pointer
	for (int cycle = 0; cycle < 1000; cycle++) {
		lists[cycle % 8] = NULL; // drops a whole list
		for (long i = 0; i < 1000; i++) {
			lists[cycle % 8] = push(h, p, lists[cycle % 8], cycle * 1000L + i);
		}
		gomem_gc(h, p, &root, 1);
		if (cycle % 8 == 7) {
			node **at = &lists[0]; // unlinks every other node of one list
			for (; *at != NULL && (*at)->next != NULL; at = &(*at)->next) {
				*at = (*at)->next;
			}
		}
		if (cycle == 0 || cycle == 9 || cycle == 99 || cycle == 999) {
			int live = 0;
			for (int k = 0; k < 8; k++) {
				const int n = check(lists[k]);
				if (n < 0) {
					return 1;
				}
				live += n;
			}
			gomem_memstats m;
			gomem_readmemstats(h, &m);
			printf(
				"cycle %4d: %5d nodes reachable, %6llu KiB in spans, %9llu KiB allocated so far, %8llu objects freed\n",
				cycle + 1, live, (unsigned long long)m.heap_in_use >> 10, (unsigned long long)m.total_alloc >> 10,
				(unsigned long long)m.frees);
		}
	}
	gomem_heap_destroy(h);
	return 0;
}
