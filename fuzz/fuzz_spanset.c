// fuzz_spanset.c: sets of spans as FIFO queues, the blocks that they share, and the stack of free blocks with its tagged pointers.
//
// The model of a queue is two numbers: spans are numbered as they are pushed, so the next one popped is the number after the last one. The
// model of the memory is how many blocks were made and how many are in no use.
#include "fuzz/fuzz.h"

#include <stdlib.h>

#include "fuzz/fuzz_env.h"
#include "gomem/lfstack.h"
#include "gomem/mspanset.h"

enum { numSets = 3, numNodes = 12, numStacks = 2, blockSlots = 512, firstSpine = 256 };
static const uint64_t wordBytes = sizeof(uintptr_t), blockBytes = tagAlign + blockSlots * sizeof(uintptr_t);

typedef struct queue {
	uint64_t pushed, popped; // since the set was made
	uint64_t head, tail;     // slots since the last reset
	uint64_t blocks;         // in the spine since the last reset, those that were freed too
	uint64_t spine;          // its capacity
} queue;

typedef struct node {
	lfnode n;
	uint8_t pad[tagAlign - sizeof(lfnode)];
} node;

typedef struct stack {
	lfstack head;
	unsigned n;
	unsigned nodes[numNodes]; // the last one is the top
} stack;

typedef struct state {
	fuzz_env e;
	spanSet sets[numSets];
	queue queues[numSets];
	uint64_t made, unused, spineBytes; // blocks, and bytes of all spines that there ever were
	uint64_t budget;                   // spans that may still be pushed: a run must end soon
	stack stacks[numStacks];
	bool inStack[numNodes];
	_Alignas(tagAlign) node nodes[numNodes];
} state;

// ---- queues

static struct mspan *spanNumber(uint64_t set, uint64_t i) {
	return (struct mspan *)(uintptr_t)((set + 1) << 5 * wordBytes | i << 3);
}

// grow is what the model does for a push that needs a block.
static void grow(state *s, queue *q) {
	if (q->blocks == q->spine) {
		q->spine = q->spine == 0 ? firstSpine : q->spine * 2;
		s->spineBytes += q->spine * wordBytes;
	}
	if (s->unused > 0) {
		s->unused--;
	} else {
		s->made++;
	}
	q->blocks++;
}

// growFailed: the spine may have grown before there was no block.
static void growFailed(state *s, queue *q, const spanSet *set) {
	fuzz_equal("a push fails only where it needs a block", q->tail / blockSlots, q->blocks);
	if (q->blocks == q->spine && set->spineCap > q->spine) {
		fuzz_check(s->unused == 0, "a spine that grew, and no block");
		q->spine = q->spine == 0 ? firstSpine : q->spine * 2;
		s->spineBytes += q->spine * wordBytes;
	}
}

static bool pushOne(state *s, uint64_t i) {
	queue *q = &s->queues[i];
	const uint64_t failed = fuzz_os_failed();
	if (!spanSet_push(&s->e.env, &s->sets[i], spanNumber(i, q->pushed + 1), (uint32_t)i)) {
		fuzz_check(fuzz_os_failed() > failed, "a push fails only if the system does");
		growFailed(s, q, &s->sets[i]);
		return false;
	}
	fuzz_equal("a push that needs memory fails with the system", fuzz_os_failed(), failed);
	if (q->tail / blockSlots == q->blocks) {
		grow(s, q);
	}
	q->pushed++;
	q->tail++;
	return true;
}

static void pushMany(state *s, uint64_t i, uint64_t n) {
	for (; n > 0 && s->budget > 0 && pushOne(s, i); n--) {
		s->budget--;
	}
}

static void popMany(state *s, uint64_t i, uint64_t n) {
	queue *q = &s->queues[i];
	for (; n > 0; n--) {
		const struct mspan *got = spanSet_pop(&s->e.env, &s->sets[i], (uint32_t)i);
		if (q->head == q->tail) {
			fuzz_check(got == NULL, "a pop from an empty set");
			return;
		}
		q->popped++;
		q->head++;
		s->unused += q->head % blockSlots == 0;
		if (got != spanNumber(i, q->popped)) {
			fuzz_unequal("the oldest span", (uintptr_t)got, (uintptr_t)spanNumber(i, q->popped));
		}
	}
}

static void push(void *v, const uint64_t *a) { pushMany(v, a[0], 1 + a[1]); }
static void pop(void *v, const uint64_t *a) { popMany(v, a[0], 1 + a[1]); }

// forward gives a set the past of one that whole blocks of spans went through, so that few are left in its spine, without 512 pushes and
// pops for each: blocks that were emptied leave nothing but a 0 in the spine.
static void forward(void *v, const uint64_t *a) {
	state *s = v;
	queue *q = &s->queues[a[0]];
	if (q->spine > 2 * firstSpine) {
		return; // a spine that grew twice has shown all; indexes end at 32 bits
	}
	popMany(s, a[0], UINT64_MAX);
	do {
		if (!pushOne(s, a[0])) {
			return;
		}
		popMany(s, a[0], 1);
	} while (q->head % blockSlots != 0);
	const uint64_t room = q->spine - q->blocks;
	q->blocks += room > a[1] ? room - a[1] : 0;
	q->head = q->tail = q->blocks * blockSlots;
	atomic_store(&s->sets[a[0]].spineLen, (uintptr_t)q->blocks);
	atomic_store(&s->sets[a[0]].index, q->head << 32 | q->tail);
}

typedef struct resetCall {
	state *s;
	uint64_t set;
} resetCall;

static void doReset(void *arg) {
	const resetCall *c = arg;
	spanSet_reset(&c->s->e.env, &c->s->sets[c->set]);
}

static void reset(void *v, const uint64_t *a) {
	state *s = v;
	queue *q = &s->queues[a[0]];
	resetCall c = {s, a[0]};
	const bool threw = fuzz_throws(&s->e.guard, doReset, &c);
	fuzz_equal("a reset throws if the set holds spans", threw, q->head < q->tail);
	if (!threw) {
		s->unused += q->head % blockSlots != 0;
		q->head = q->tail = q->blocks = 0;
	}
}

static void fail(void *v, const uint64_t *a) {
	(void)v;
	fuzz_os_fail(a[0], a[1]);
}

// ---- stacks

static void stackPush(void *v, const uint64_t *a) {
	state *s = v;
	stack *t = &s->stacks[a[0]];
	if (s->inStack[a[1]]) {
		return;
	}
	lfnode *n = &s->nodes[a[1]].n;
	const uint64_t pushes = n->pushcnt;
	lfstack_push(&s->e.env, &t->head, n);
	fuzz_equal("a push is counted", n->pushcnt, pushes + 1);
	fuzz_check(taggedPointer_pointer(t->head) == n, "the head is the node pushed last");
	fuzz_equal("the tag is the low bits of the count", taggedPointer_tag(t->head), (pushes + 1) % ((uint64_t)1 << 24));
	s->inStack[a[1]] = true;
	t->nodes[t->n++] = (unsigned)a[1];
}

static void stackPop(void *v, const uint64_t *a) {
	state *s = v;
	stack *t = &s->stacks[a[0]];
	fuzz_equal("empty", lfstack_empty(&t->head), t->n == 0);
	const lfnode *got = lfstack_pop(&t->head);
	if (t->n == 0) {
		fuzz_check(got == NULL, "a pop from an empty stack");
		return;
	}
	const unsigned top = t->nodes[--t->n];
	s->inStack[top] = false;
	fuzz_check(got == &s->nodes[top].n, "the node pushed last");
}

// age makes a node one that was pushed often, so that its tag wraps.
static void age(void *v, const uint64_t *a) {
	state *s = v;
	if (!s->inStack[a[0]]) {
		s->nodes[a[0]].n.pushcnt = (uintptr_t)a[1];
	}
}

typedef struct packCall {
	gomem_env *env;
	const void *p;
	uintptr_t tag;
	uint64_t packed;
} packCall;

static void doPack(void *arg) {
	packCall *c = arg;
	c->packed = taggedPointerPack(c->env, c->p, c->tag);
}

// pack: an address of 49 bits with its sign, in steps of 512 bytes, and a number of 24 bits fit; nothing else does. With words of 32 bits two of
// them do, whatever they are.
static void pack(void *v, const uint64_t *a) {
	state *s = v;
	const int64_t addr = (int64_t)a[0], limit = (int64_t)1 << 48;
	const bool fits = wordBytes == 4 || (addr >= -limit && addr < limit && a[0] % 512 == 0 && a[1] < 1 << 24);
	packCall c = {&s->e.env, (const void *)(uintptr_t)a[0], (uintptr_t)a[1], 0};
	fuzz_equal("taggedPointerPack throws", fuzz_throws(&s->e.guard, doPack, &c), !fits);
	if (fits) {
		fuzz_check(taggedPointer_pointer(c.packed) == c.p, "the pointer comes back");
		fuzz_equal("the tag comes back", taggedPointer_tag(c.packed), c.tag);
	}
}

static void packFitting(void *v, const uint64_t *a) {
	const uint64_t addr = (a[0] % ((uint64_t)1 << 49)) / 512 * 512;
	const uint64_t signedAddr = addr < (uint64_t)1 << 48 ? addr : addr - ((uint64_t)1 << 49);
	pack(v, (const uint64_t[FUZZ_MAX_ARGS]){signedAddr, a[1]});
}

// ---- a run

static void after(void *v) {
	state *s = v;
	const uint64_t bytes = s->made * blockBytes + s->spineBytes;
	fuzz_equal("gcMiscSys", sysMemStat_load(&s->e.stats.gcMiscSys), bytes);
	fuzz_equal("mappedReady is what the statistics add up to", (uint64_t)atomic_load(&s->e.stats.mappedReady),
		bytes + sysMemStat_load(&s->e.stats.other_sys));
	for (unsigned i = 0; i < numSets; i++) {
		fuzz_equal("length", spanSet_len(&s->sets[i]), s->queues[i].tail - s->queues[i].head);
		const struct mspan *next =
			s->queues[i].head == s->queues[i].tail ? NULL : spanNumber(i, s->queues[i].popped + 1);
		fuzz_check(spanSet_at(&s->sets[i], 0) == next, "what a pop would give");
		fuzz_equal("spineLen", atomic_load(&s->sets[i].spineLen), s->queues[i].blocks);
		fuzz_equal("spineCap", s->sets[i].spineCap, s->queues[i].spine);
	}
	fuzz_equal("the pool is empty", lfstack_empty(&s->e.env.spanSetBlockPool), s->unused == 0);
}

// budgetOf says how many spans a run may push: mostly few, so that it ends soon.
static uint64_t budgetOf(uint64_t size) { return size == 7 ? 2500 : 600; }

static void *begin(const uint64_t *config) {
	// One kept for all runs: calloc would not align it.
	static state run;
	state *s = &run;
	memset(s, 0, sizeof *s);
	fuzz_env_init(&s->e, NULL, NULL);
	s->budget = budgetOf(config[0]);
	return s;
}

static void end(void *v) {
	state *s = v;
	for (unsigned i = 0; i < numSets; i++) {
		popMany(s, i, UINT64_MAX);
		reset(s, (const uint64_t[FUZZ_MAX_ARGS]){i});
	}
	uint64_t inPool = 0;
	while (lfstack_pop(&s->e.env.spanSetBlockPool) != NULL) {
		inPool++;
	}
	fuzz_equal("all blocks came back", inPool, s->made);
	fuzz_env_done(&s->e);
}

#define SET                                                                                                            \
	{ "set", 1, FUZZ_ANY, numSets - 1 }
#define STACK                                                                                                          \
	{ "stack", 1, FUZZ_ANY, numStacks - 1 }
#define NODE                                                                                                           \
	{ "node", 1, FUZZ_ANY, numNodes - 1 }

static const fuzz_op_info ops[] = {
	{"push", {SET, {"more", 2, FUZZ_INDEX, 1100}}, push},
	{"pop", {SET, {"more", 2, FUZZ_INDEX, 1100}}, pop},
	{"forward", {SET, {"left", 1, FUZZ_ANY, 3}}, forward},
	{"reset", {SET}, reset},
	{"fail", {{"nth", 1, FUZZ_ANY, 4}, {"more", 1, FUZZ_ANY, 3}}, fail},
	{"stackpush", {STACK, NODE}, stackPush},
	{"stackpop", {STACK}, stackPop},
	{"age", {NODE, {"pushes", 8, FUZZ_ANY, 0}}, age},
	{"pack", {{"addr", 8, FUZZ_WORD, 0}, {"tag", 8, FUZZ_ANY, 0}}, pack},
	{"packfitting", {{"addr", 8, FUZZ_WORD, 0}, {"tag", 4, FUZZ_ANY, (1 << 24) - 1}}, packFitting},
};

FUZZ_TARGET(spanset) = {
	.name = "spanset",
	.what = "sets of spans against FIFO queues, stacks of blocks against LIFO ones",
	.config = {{"size", 1, FUZZ_ANY, 15}},
	.ops = ops,
	.nops = sizeof ops / sizeof ops[0],
	.max_ops = 32,
	.begin = begin,
	.after = after,
	.end = end,
	.small = true,
};
