// test_misuse.c: programs with one bug each, on a guarded heap: each is ended with a message that names the bug, and where memory of the heap is
// concerned its span, class, slot and what was done to it last. The same programs without the bug end well.
//
// Each program runs twice in a child of its own: with the bug, and without.
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gomem/guard.h"

typedef struct program {
	gomem_heap *h, *other;
	gomem_p *p;
	bool bug;
	uintptr_t a, b; // of the table
} program;

typedef struct misuse {
	const char *name;
	void (*run)(program *g);
	uintptr_t a, b;
	const char *words[3]; // all in the message
} misuse;

static uint8_t masks[8192];
static gomem_type scanType(uintptr_t size) { return (gomem_type){size, size, masks}; }

static uint8_t *noscan(program *g, uintptr_t size) { return gomem_mallocgc(g->h, g->p, size, NULL, true); }
static bool give(program *g, void *x, uintptr_t size) { return gomem_freegc(g->h, g->p, x, size, true); }

static void collect(program *g, void *keep) {
	void *roots[] = {keep};
	const gomem_root root = {roots, sizeof roots, NULL};
	gomem_gc(g->h, g->p, &root, 1);
}

// ---- objects given back

static void doubleFree(program *g) {
	noscan(g, g->a); // another one of the span
	void *x = noscan(g, g->a);
	give(g, x, g->a);
	if (g->bug) {
		give(g, x, g->a);
	}
}
static void doubleFreeLater(program *g) {
	void *x[4];
	for (int i = 0; i < 4; i++) {
		x[i] = noscan(g, g->a);
	}
	for (int i = 0; i < 4; i++) {
		give(g, x[i], g->a);
	}
	if (g->bug) {
		give(g, x[1], g->a);
	}
}
static void freeInterior(program *g) {
	uint8_t *x = noscan(g, g->a);
	give(g, x + (g->bug ? g->b : 0), g->a);
}
static void freeForeign(program *g) {
	gomem_p *p = gomem_heap_p(g->other, 0);
	void *x = gomem_mallocgc(g->other, p, g->a, NULL, true);
	give(g, g->bug ? x : noscan(g, g->a), g->a);
}
static void freeLibc(program *g) {
	void *x = malloc(g->a);
	give(g, g->bug ? x : noscan(g, g->a), g->a);
	free(x);
}
static void freeLocal(program *g) {
	char local[128] = "";
	give(g, g->bug ? local : (char *)noscan(g, 100), 100);
}
static void freeStatic(program *g) {
	static char here[128];
	give(g, g->bug ? here : (char *)noscan(g, 100), 100);
}
static void freeWild(program *g) { give(g, g->bug ? (void *)g->b : noscan(g, 100), 100); }
static void freeStackMemory(program *g) {
	void *stk = gomem_stackalloc(g->h, g->p, 2048, false);
	give(g, g->bug ? stk : noscan(g, 100), 100);
}
static void freeManualMemory(program *g) {
	void *x = gomem_allocManual(g->h, g->p, 1);
	give(g, g->bug ? x : noscan(g, 100), 100);
}
static void freeWrongSize(program *g) {
	void *x = noscan(g, g->a);
	give(g, x, g->bug ? g->b : g->a);
}
static void freeScan(program *g) {
	const gomem_type t = scanType(64);
	void *x = gomem_mallocgc(g->h, g->p, 64, &t, true);
	give(g, g->bug ? x : noscan(g, 64), 64);
}
static void freeNeverAllocated(program *g) {
	uint8_t *x = noscan(g, 96);
	give(g, g->bug ? x + (ptrdiff_t)(g->a * 96) : x, 96);
}
static void freeSwept(program *g) {
	void *keep = noscan(g, 100);
	void *x = noscan(g, 100);
	collect(g, keep);
	give(g, g->bug ? x : keep, 100);
}
static void freeFreePage(program *g) {
	void *x = noscan(g, 100);
	collect(g, NULL);
	give(g, g->bug ? x : noscan(g, 100), 100);
}

// ---- stacks and pages

static void stackDouble(program *g) {
	void *x = gomem_stackalloc(g->h, g->p, (uint32_t)g->a, false);
	gomem_stackfree(g->h, g->p, x, g->a, false);
	if (g->bug) {
		gomem_stackfree(g->h, g->p, x, g->a, false);
	}
}
static void stackSize(program *g) {
	void *x = gomem_stackalloc(g->h, g->p, 4096, false);
	gomem_stackfree(g->h, g->p, x, g->bug ? g->a : 4096, false);
}
static void stackInterior(program *g) {
	uint8_t *x = gomem_stackalloc(g->h, g->p, 8192, false);
	gomem_stackfree(g->h, g->p, x + (g->bug ? g->a : 0), 8192, false);
}
static void stackObject(program *g) {
	void *x = noscan(g, 2048), *stk = gomem_stackalloc(g->h, g->p, 2048, false);
	gomem_stackfree(g->h, g->p, g->bug ? x : stk, 2048, false);
}
static void stackLocal(program *g) {
	static char here[4096];
	void *stk = gomem_stackalloc(g->h, g->p, 2048, false);
	gomem_stackfree(g->h, g->p, g->bug ? here : stk, 2048, false);
}
static void manualDouble(program *g) {
	void *x = gomem_allocManual(g->h, g->p, 3);
	gomem_freeManual(g->h, g->p, x);
	if (g->bug) {
		gomem_freeManual(g->h, g->p, x);
	}
}
static void manualInterior(program *g) {
	uint8_t *x = gomem_allocManual(g->h, g->p, 3);
	gomem_freeManual(g->h, g->p, x + (g->bug ? g->a : 0));
}
static void manualObject(program *g) {
	void *x = noscan(g, 8192), *pages = gomem_allocManual(g->h, g->p, 1);
	gomem_freeManual(g->h, g->p, g->bug ? x : pages);
}
static void manualLocal(program *g) {
	static char here[8192];
	void *pages = gomem_allocManual(g->h, g->p, 1);
	gomem_freeManual(g->h, g->p, g->bug ? here : pages);
}

// ---- writes where nothing is the program's

GOMEM_UNCHECKED static void poke(uint8_t *x, uint8_t v) { *(volatile uint8_t *)x = v; }

static void overflowSwept(program *g) {
	uint8_t *x = noscan(g, g->a);
	if (g->bug) {
		poke(x + g->a + g->b, 7);
	}
	collect(g, x);
}
static void overflowDies(program *g) {
	uint8_t *keep = noscan(g, g->a), *x = noscan(g, g->a);
	if (g->bug) {
		poke(x + g->a + g->b, 7);
	}
	collect(g, keep);
}
static void overflowFreed(program *g) {
	uint8_t *x = noscan(g, g->a);
	if (g->bug) {
		poke(x + g->a + g->b, 7);
	}
	give(g, x, g->a);
}
static void overflowScan(program *g) {
	const gomem_type t = scanType(g->a);
	uint8_t *x = gomem_mallocgc(g->h, g->p, g->a, &t, true);
	if (g->bug) {
		poke(x + g->a + g->b, 7);
	}
	collect(g, x);
}
static void writeFreed(program *g) {
	uint8_t *x = noscan(g, g->a);
	give(g, x, g->a);
	if (g->bug) {
		poke(x + g->b, 7);
	}
	noscan(g, g->a);
}
static void writeFreedSwept(program *g) {
	uint8_t *keep = noscan(g, g->a), *x = noscan(g, g->a);
	give(g, x, g->a);
	if (g->bug) {
		poke(x + g->b, 7);
	}
	collect(g, keep);
}
static void writeDead(program *g) {
	uint8_t *keep = noscan(g, g->a), *x = noscan(g, g->a);
	collect(g, keep);
	if (g->bug) {
		poke(x + g->b, 7);
	}
	for (int i = 0; i < 1000; i++) {
		noscan(g, g->a);
	}
}
static void writeDeadSwept(program *g) {
	uint8_t *keep = noscan(g, g->a), *x = noscan(g, g->a);
	collect(g, keep);
	if (g->bug) {
		poke(x + g->b, 7);
	}
	collect(g, keep);
}
static void writeDeadScan(program *g) {
	const gomem_type t = scanType(g->a);
	uint8_t *keep = gomem_mallocgc(g->h, g->p, g->a, &t, true), *x = gomem_mallocgc(g->h, g->p, g->a, &t, true);
	collect(g, keep);
	if (g->bug) {
		poke(x + g->b, 7);
	}
	collect(g, keep);
}

// ---- Ps and heaps

typedef struct meeting {
	pthread_barrier_t in, out;
	bool once;
} meeting;
static meeting meet;

// waitInside: called in the middle of an allocation.
static void waitInside(void *ctx, void *obj, uintptr_t size) {
	(void)ctx;
	(void)obj;
	(void)size;
	if (!meet.once) {
		meet.once = true;
		pthread_barrier_wait(&meet.in);
		pthread_barrier_wait(&meet.out);
	}
}
static void *allocates(void *arg) {
	program *g = arg;
	gomem_mallocgc(g->other, gomem_heap_p(g->other, 0), 100, NULL, true);
	return NULL;
}
static void twoThreads(program *g) {
	gomem_heap_destroy(g->other);
	g->other = gomem_heap_new(&(gomem_config){.hardened = true, .sample = waitInside, .sample_rate = 1});
	gomem_procresize(g->other, 2);
	pthread_barrier_init(&meet.in, NULL, 2);
	pthread_barrier_init(&meet.out, NULL, 2);
	pthread_t t;
	pthread_create(&t, NULL, allocates, g);
	pthread_barrier_wait(&meet.in);
	gomem_p *p = gomem_heap_p(g->other, g->bug ? 0 : 1);
	if (g->a == 0) {
		gomem_mallocgc(g->other, p, 100, NULL, true);
	} else if (g->a == 1) {
		gomem_stackalloc(g->other, p, 2048, false);
	} else {
		gomem_allocManual(g->other, p, 1);
	}
	pthread_barrier_wait(&meet.out);
	pthread_join(t, NULL);
}
static void foreignP(program *g) {
	gomem_p *p = g->bug ? gomem_heap_p(g->other, 0) : g->p;
	if (g->a == 0) {
		gomem_mallocgc(g->h, p, 100, NULL, true);
	} else {
		gomem_gc(g->h, p, NULL, 0);
	}
}
static void endedP(program *g) {
	gomem_procresize(g->h, 3);
	gomem_p *p = gomem_heap_p(g->h, 2);
	gomem_procresize(g->h, 1);
	gomem_mallocgc(g->h, g->bug ? p : g->p, 100, NULL, true);
}
static void afterDestroy(program *g) {
	gomem_span_info info;
	gomem_memstats stats;
	gomem_p *p = gomem_heap_p(g->other, 0);
	if (g->bug) {
		gomem_heap_destroy(g->other);
	}
	switch (g->a) {
	case 0:
		gomem_mallocgc(g->other, p, 100, NULL, true);
		break;
	case 1:
		gomem_spanOf(g->other, (uintptr_t)0xc000000000, &info);
		break;
	case 2:
		gomem_procresize(g->other, 2);
		break;
	case 3:
		gomem_heap_check(g->other);
		break;
	case 4:
		gomem_readmemstats(g->other, &stats);
		break;
	case 5:
		gomem_gc(g->other, p, NULL, 0);
		break;
	case 6:
		gomem_heap_p(g->other, 0);
		break;
	default:
		gomem_heap_destroy(g->other);
		g->other = NULL;
	}
	if (!g->bug && g->other != NULL) {
		gomem_heap_destroy(g->other);
	}
	g->other = NULL;
}

// ---- the table

#define SLOT "in span 0x"
#define AGAIN "the object is free already"
#define NOT_OURS "not an object of the heap"
#define INSIDE "not the beginning of an object"
#define PAST "write past the end of an object, "
#define AFTER "write to an object after it was freed, at byte "
static const misuse misuses[] = {
	{"an object of 16 bytes freed twice", doubleFree, 16, 0,
		{AGAIN, "(16 bytes, noscan), slot 1", "last: gomem_freegc"}},
	{"an object of 100 bytes freed twice", doubleFree, 100, 0,
		{AGAIN, "slot 1 of 72; last: gomem_freegc of 100", "on P 0"}},
	{"an object of 1,024 bytes freed twice", doubleFree, 1024, 0, {AGAIN, "class 32", "gomem_freegc of 1024"}},
	{"an object of 32,760 bytes freed twice", doubleFree, 32760, 0, {AGAIN, "class 67", "gomem_freegc of 32760"}},
	{"one of four freed twice", doubleFreeLater, 48, 0, {AGAIN, "slot 1 of", "gomem_freegc of 48"}},
	{"one of four large ones freed twice", doubleFreeLater, 9000, 0, {AGAIN, SLOT, "gomem_freegc of 9000"}},
	{"an interior pointer freed, by 1", freeInterior, 100, 1, {INSIDE, "slot 0 of", "gomem_mallocgc of 100"}},
	{"an interior pointer freed, by 8", freeInterior, 100, 8, {INSIDE, "slot 0 of", "gomem_mallocgc of 100"}},
	{"an interior pointer freed, the last byte", freeInterior, 4096, 4095,
		{INSIDE, "slot 0 of", "gomem_mallocgc of 4096"}},
	{"an object of another heap freed", freeForeign, 100, 0, {NOT_OURS, "which no span of this heap has", ""}},
	{"a large object of another heap freed", freeForeign, 20000, 0, {NOT_OURS, "which no span of this heap has", ""}},
	{"memory of malloc freed", freeLibc, 100, 0, {NOT_OURS, "which no span of this heap has", ""}},
	{"a local variable freed", freeLocal, 0, 0, {NOT_OURS, "which no span of this heap has", ""}},
	{"a static variable freed", freeStatic, 0, 0, {NOT_OURS, "which no span of this heap has", ""}},
	{"a small number freed", freeWild, 0, 0x10, {NOT_OURS, "0x10, which no span of this heap has", ""}},
	{"an address that nobody has freed", freeWild, 0, (uintptr_t)0x7ffffffff000,
		{NOT_OURS, "which no span of this heap has", ""}},
	{"an address that cannot be freed", freeWild, 0, (uintptr_t)0xdeadbeefdeadbee8,
		{NOT_OURS, "0xdeadbeefdeadbee8", ""}},
	{"a stack freed as an object", freeStackMemory, 0, 0, {NOT_OURS, SLOT, "manual"}},
	{"pages freed as an object", freeManualMemory, 0, 0, {NOT_OURS, SLOT, "manual"}},
	{"freed with a smaller size", freeWrongSize, 100, 50, {"not the size or kind", SLOT, "gomem_mallocgc of 100"}},
	{"freed with a larger size", freeWrongSize, 100, 5000, {"not the size or kind", SLOT, "gomem_mallocgc of 100"}},
	{"an object with pointers freed as one without", freeScan, 0, 0, {"not the size or kind", "(64 bytes), slot", ""}},
	{"a slot freed that was not allocated", freeNeverAllocated, 1, 0, {AGAIN, "slot 1 of 84", ""}},
	{"a slot freed that nobody ever had", freeNeverAllocated, 80, 0, {AGAIN, "slot 80 of 84", ""}},
	{"an object freed that a sweep has freed", freeSwept, 0, 0, {AGAIN, "slot 1 of", "last: freed by a sweep"}},
	{"an object of a free page freed", freeFreePage, 0, 0, {NOT_OURS, "which no span of this heap has", ""}},
	{"a stack freed twice", stackDouble, 2048, 0, {"the stack is free already", SLOT, "manual"}},
	{"a stack of 16 KiB freed twice", stackDouble, 16384, 0, {"the stack is free already", SLOT, "manual"}},
	{"a stack freed with half its size", stackSize, 2048, 0,
		{"not the beginning of a stack of that size", SLOT, "manual"}},
	{"a stack freed with twice its size", stackSize, 8192, 0,
		{"not the beginning of a stack of that size", SLOT, "manual"}},
	{"a stack freed with no size of stacks", stackSize, 5000, 0, {"not the size of a stack", "", ""}},
	{"a stack freed from within", stackInterior, 64, 0, {"not the beginning of a stack", SLOT, "manual"}},
	{"an object freed as a stack", stackObject, 0, 0,
		{"not a stack", "class 38 (2048 bytes, noscan)", "gomem_mallocgc"}},
	{"a static variable freed as a stack", stackLocal, 0, 0, {"not a stack", "which no span", ""}},
	{"pages freed twice", manualDouble, 0, 0, {"not the base of a manual span", "which no span", ""}},
	{"pages freed from within", manualInterior, 8192, 0, {"not the base of a manual span", SLOT, "of 3 pages, manual"}},
	{"an object freed as pages", manualObject, 0, 0, {"not the base of a manual span", SLOT, "gomem_mallocgc of 8192"}},
	{"a static variable freed as pages", manualLocal, 0, 0, {"not the base of a manual span", "which no span", ""}},
	{"a byte behind 100, found by a sweep", overflowSwept, 100, 0,
		{PAST "0 bytes", "slot 0 of", "gomem_mallocgc of 100"}},
	{"the last byte behind 100", overflowSwept, 100, 11, {PAST "11 bytes", "slot 0 of", "gomem_mallocgc of 100"}},
	{"a byte behind 17", overflowSwept, 17, 0, {PAST "0 bytes", "(24 bytes", "gomem_mallocgc of 17"}},
	{"a byte behind 1,000", overflowSwept, 1000, 0, {PAST "0 bytes", "(1024 bytes", "gomem_mallocgc of 1000"}},
	{"a byte behind 40,000", overflowSwept, 40000, 0, {PAST "0 bytes", "of 5 pages", "gomem_mallocgc of 40000"}},
	{"a byte behind an object that dies", overflowDies, 100, 3, {PAST "3 bytes", "slot 1 of", "gomem_mallocgc of 100"}},
	{"a byte behind an object that is freed", overflowFreed, 100, 0,
		{PAST "0 bytes", "slot 0 of", "gomem_mallocgc of 100"}},
	{"a byte behind 3,000, freed", overflowFreed, 3000, 20, {PAST "20 bytes", SLOT, "gomem_mallocgc of 3000"}},
	{"a byte behind an object with pointers", overflowScan, 72, 0,
		{PAST "0 bytes", "(80 bytes)", "gomem_mallocgc of 72"}},
	{"a byte behind an object with a header", overflowScan, 1048, 0,
		{PAST "0 bytes", "(1152 bytes)", "gomem_mallocgc of 10"}},
	{"a byte behind a large object with pointers", overflowScan, 40008, 8, {PAST "8 bytes", "of 5 pages", "40008"}},
	{"a write after freegc, found by the next object", writeFreed, 100, 8,
		{AFTER "8", "slot 0 of", "gomem_freegc of 100"}},
	{"a write to the last byte after freegc", writeFreed, 1024, 1023,
		{AFTER "1023", "slot 0 of", "gomem_freegc of 1024"}},
	{"a write after freegc, found by a sweep", writeFreedSwept, 100, 50,
		{AFTER "50", "slot 1 of", "gomem_freegc of 100"}},
	{"a write to a dead object, found by the next", writeDead, 100, 0, {AFTER "0", "slot 1 of", "freed by a sweep"}},
	{"a write to a dead object of 5,000", writeDead, 5000, 4999, {AFTER "4999", "slot 1 of", "freed by a sweep"}},
	{"a write to a dead object, found by a sweep", writeDeadSwept, 100, 99,
		{AFTER "99", "slot 1 of", "freed by a sweep"}},
	{"a write to a dead object with pointers", writeDeadScan, 80, 16, {AFTER "16", "slot 1 of", "freed by a sweep"}},
	{"two threads allocate with one P", twoThreads, 0, 0,
		{"gomem_mallocgc: P 0 is used by two threads", "is in gomem_mallocgc", ""}},
	{"a stack with a P that is in use", twoThreads, 1, 0,
		{"gomem_stackalloc: P 0 is used by two", "is in gomem_mallocgc", ""}},
	{"pages with a P that is in use", twoThreads, 2, 0,
		{"gomem_allocManual: P 0 is used by two", "is in gomem_mallocgc", ""}},
	{"a P of another heap allocates", foreignP, 0, 0, {"gomem_mallocgc: a P of another heap", "", ""}},
	{"a P of another heap collects", foreignP, 1, 0, {"gomem_gc: a P of another heap", "", ""}},
	{"a P that ended allocates", endedP, 0, 0, {"gomem_mallocgc: P 2 ended", "", ""}},
	{"an object of a heap that is gone", afterDestroy, 0, 0, {"gomem_mallocgc: the heap was destroyed", "", ""}},
	{"a span of a heap that is gone", afterDestroy, 1, 0, {"gomem_spanOf: the heap was destroyed", "", ""}},
	{"Ps of a heap that is gone", afterDestroy, 2, 0, {"gomem_procresize: the heap was destroyed", "", ""}},
	{"a check of a heap that is gone", afterDestroy, 3, 0, {"gomem_heap_check: the heap was destroyed", "", ""}},
	{"figures of a heap that is gone", afterDestroy, 4, 0, {"gomem_readmemstats: the heap was destroyed", "", ""}},
	{"a collection of a heap that is gone", afterDestroy, 5, 0, {"gomem_gc: the heap was destroyed", "", ""}},
	{"a P of a heap that is gone", afterDestroy, 6, 0, {"gomem_heap_p: the heap was destroyed", "", ""}},
	{"a heap destroyed twice", afterDestroy, 7, 0, {"gomem_heap_destroy: the heap was destroyed", "", ""}},
};
enum { NMISUSES = sizeof misuses / sizeof misuses[0] };

static void child(const misuse *m, bool bug) {
	const gomem_config cfg = {.hardened = true, .runtime_freegc = true, .rand_seed = 42};
	program g = {.bug = bug, .a = m->a, .b = m->b};
	g.h = gomem_heap_new(&cfg);
	g.other = gomem_heap_new(&(gomem_config){.hardened = true, .runtime_freegc = true, .rand_seed = 7});
	if (g.h == NULL || g.other == NULL) {
		_exit(9);
	}
	g.p = gomem_heap_p(g.h, 0);
	m->run(&g);
	const char *bad = gomem_heap_check(g.h);
	if (bad != NULL) {
		(void)fprintf(stderr, "after all: %s\n", bad);
		_exit(8);
	}
	gomem_heap_destroy(g.h);
	if (g.other != NULL) {
		gomem_heap_destroy(g.other);
	}
	_exit(0);
}

// runChild gives the exit status, and what was printed.
static int runChild(const misuse *m, bool bug, char *out, size_t n) {
	int ends[2];
	(void)fflush(stdout);
	if (pipe(ends) != 0) {
		return -1;
	}
	const pid_t pid = fork();
	if (pid == 0) {
		dup2(ends[1], 2);
		close(ends[0]);
		child(m, bug);
	}
	close(ends[1]);
	size_t at = 0;
	for (ssize_t got; (got = read(ends[0], out + at, n - 1 - at)) > 0;) {
		at += (size_t)got;
	}
	out[at] = 0;
	close(ends[0]);
	int status = -1;
	waitpid(pid, &status, 0);
	return status;
}

static bool caught(const misuse *m, const char *said, int status) {
	bool good = WIFSIGNALED(status) && strncmp(said, "fatal error: ", 13) == 0;
	for (size_t i = 0; i < 3; i++) {
		good = good && (m->words[i] == NULL || strstr(said, m->words[i]) != NULL);
	}
	return good;
}

int main(void) {
	if (!guardsBuilt) {
		puts("skipped: this build has no guards (presets debug and asan have, and -DGOMEM_HARDENED=ON)");
		return 77;
	}
	memset(masks, 0xff, sizeof masks);
	unsigned found = 0, quiet = 0;
	for (size_t i = 0; i < NMISUSES; i++) {
		static char said[8192];
		const int without = runChild(&misuses[i], false, said, sizeof said);
		if (without == 0) {
			quiet++;
		} else {
			printf("FAILED: %s, without the bug: status %d: %s\n", misuses[i].name, without, said);
		}
		const int with = runChild(&misuses[i], true, said, sizeof said);
		said[strcspn(said, "\n")] = 0;
		const bool good = caught(&misuses[i], said, with);
		found += good;
		printf("%s%-46s %s\n", good ? "" : "FAILED: ", misuses[i].name, said);
	}
	printf("one-bug programs caught: %u of %u; without the bug they end well: %u of %u\n", found, (unsigned)NMISUSES,
		quiet, (unsigned)NMISUSES);
	return found == NMISUSES && quiet == NMISUSES ? 0 : 1;
}
