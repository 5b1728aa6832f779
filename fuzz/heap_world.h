// heap_world.h: a heap and its oracle, side by side: the operations from which the targets of whole heaps are made.
//
// Each operation asks the port first. What the port's heap then asked of the operating system is the input of the oracle, which must ask
// for the same, and come to the same answers. The steps that Ps share are compared as well: which, in which order.
//
// When the OS refused something, what the port does next is its own (it reports ENOMEM where Go would have ended the program): from then on
// only the contract of any allocator and the heap's own invariants are checked.
#ifndef GOMEM_FUZZ_HEAP_WORLD_H
#define GOMEM_FUZZ_HEAP_WORLD_H

#include "fuzz/fuzz.h"
#include "fuzz/fuzz_os.h"
#include "gomem/mcache.h"
#include "oracle/contract.h"
#include "oracle/oracle.h"

enum {
	WORLD_PS = 8,
	WORLD_OBJECTS = 4096, // that a program can have at once
	WORLD_MANY = 600, // that malloc_many gives a program: more slots than a span of 16 bytes has. Large ones cost more
	WORLD_FEW = 4,    // that each malloc_many gives all the same
	WORLD_PAGES = 1 << 15,      // that a program gets at once without real memory: several arenas
	WORLD_PAGES_VAST = 1 << 19, // if physical pages are number VAST: more small arenas than their first list holds
	WORLD_PAGES_REAL = 2000,    // real memory: each of these is touched
	WORLD_VAST = 4,
	WORLD_MANY_PAGES = 1200, // the most that one operation gets when a program has had its pages
	WORLD_MANY_REAL = 80,
	WORLD_STACKS = 256,
	WORLD_SPECIALS = 64,
	WORLD_STEPS = 1 << 16,
	WORLD_TYPES = 8,
	WORLD_LINKS = 64, // words that one operation writes into objects
	WORLD_ROOTS = 32, // of each kind
};

typedef struct world_object {
	uint64_t addr, size;
	const gomem_type *typ; // NULL: no pointers
	bool marked;           // in this cycle
} world_object;

// A special record, and the slot of the object that has it.
typedef struct world_record {
	uint64_t slot;
	bool revives; // as often as it is asked
	struct special record;
} world_record;

typedef struct world_stack {
	uint64_t addr, n;
} world_stack;

typedef struct world {
	gomem_heap *h;
	oracle *o;
	contract *c;
	fuzz_guard guard;
	gomem_layout layout;
	gomem_policy policy;
	gomem_lab lab;
	int nprocs;           // 0: there are no Ps yet
	bool backed, marking; // marking: between the two ends of a mark phase
	bool compare;         // the oracle still knows everything
	world_object *objects;
	size_t nobjects;
	world_stack stacks[WORLD_STACKS], manuals[WORLD_STACKS];
	size_t nstacks, nmanuals;
	world_record specials[WORLD_SPECIALS];
	size_t nspecials;
	unsigned caller;             // who of those that interleave asks now; 0: nobody does
	size_t oscalls;              // of the log that the oracle made, too
	size_t oscall[WORLD_PS + 1]; // where the next one of each caller is looked for
	uint8_t *steps;              // that the port took in this operation
	size_t nsteps, step;         // step: the next one that the oracle will take
	uint64_t budget;             // of malloc_many
	uint64_t pages;              // of WORLD_PAGES
	uint64_t compared;           // answers of the port that were the oracle's
	void *extra;                 // of the target
	void (*oracle_step)(
		void *ctx, oracle_step step); // is told of the oracle's steps; NULL: they are compared with `steps`
	void *oracle_step_ctx;
} world;

// The configuration that the targets of whole heaps share. bare: 1: there are no Ps yet; else one more P than it says.
#define WORLD_CONFIG                                                                                                   \
	{"seed", 4, FUZZ_ANY, 0}, {"flags", 1, FUZZ_ANY, 0}, {"phys", 1, FUZZ_ANY, 5}, { "bare", 1, FUZZ_ANY, 3 }
enum {
	WORLD_UNBACKED = 1, // heap memory is addresses only
	WORLD_NO_GREEN_TEA = 2,
	WORLD_NO_RANDOM_BASE = 4, // only if unbacked
	WORLD_SMALL_ARENAS = 8,
	WORLD_KEEPS_CONTENTS = 16,
	WORLD_HUGE_PAGES = 32,
	WORLD_SAMPLES = 64,
	WORLD_FREEGC = 128,
	WORLD_SBRK = 256, // memory comes from a break: WORLD_FREEGC and WORLD_NO_RANDOM_BASE, without WORLD_UNBACKED
};

void *world_begin(const uint64_t *config);
// world_begin_on: the same on another layout, with addresses only; phys 0: the size of its platform. Memory comes from a break where the platform has
// one, but with WORLD_SMALL_ARENAS, which means nothing else here, from reservations there, too.
void *world_begin_on(const uint64_t *config, const gomem_layout *L);
void world_after(void *v);
void world_end(void *v);
void world_abandon(void *v); // releases what a heap holds that threw
void world_check(world *w);  // all invariants and contents, slow

// world_p gives an existing P by any number, its caches prepared for the cycle: as when Go's scheduler acquires one. NULL: before there are Ps.
gomem_p *world_p(world *w, uint64_t n, int *id);
// world_p_or_none: the same, but NULL and -1 if none is asked for: calls that Go also makes without a P.
gomem_p *world_p_or_none(world *w, uint64_t n, bool none, int *id);
// world_settle ends an operation that the oracle repeated: it must have asked the OS for the same, and taken the same steps.
void world_settle(world *w);
// world_lost tells whether the OS refused something in this operation; then the oracle is given up.
bool world_lost(world *w);
void world_add_object(
	world *w, uint64_t addr, uint64_t size, const gomem_type *typ, bool needzero); // typ NULL: no pointers

void world_add_stack(world *w, uint64_t addr, uint64_t n);
void world_add_manual(world *w, uint64_t addr, uint64_t npages);
// A stack, or pages, that the program gives back: it is the program's no more.
world_stack world_take_stack(world *w, uint64_t which);
// world_spend_pages says how many of the pages that an operation wants it gets: a program must end soon.
uint64_t world_spend_pages(world *w, uint64_t n);
world_stack world_take_manual(world *w, uint64_t which);
const gomem_type *world_type(uint64_t flags); // the type that WORLD_FLAGS name

// For targets that interleave Ps.
int world_step_of(gomem_ev k); // the oracle's step that a turn of the port stands for; -1: none
void world_use_lab(world *w);  // the hooks are the world's own again
void world_on_event(void *ctx, gomem_ev k, uint64_t a, uint64_t b, uint64_t c, uint64_t d);
void world_oracle_steps(world *w, void (*step)(void *ctx, oracle_step step), void *ctx);

// The operations. Argument lists as macros stand beside, for the tables of targets.
void world_malloc(void *v, const uint64_t *a);
void world_malloc_many(void *v, const uint64_t *a);
void world_malloc_tiny(void *v, const uint64_t *a);
void world_malloc_large(void *v, const uint64_t *a);
void world_drop(void *v, const uint64_t *a);
void world_drop_each(void *v, const uint64_t *a);
void world_gc_begin(void *v, const uint64_t *a);
void world_mark_some(void *v, const uint64_t *a);
void world_mark_wild(void *v, const uint64_t *a);
void world_gc_end(void *v, const uint64_t *a);
void world_gc(void *v, const uint64_t *a);
void world_prepare(void *v, const uint64_t *a);
void world_sweep(void *v, const uint64_t *a);
void world_pace(void *v, const uint64_t *a);
void world_special(void *v, const uint64_t *a);
void world_stackalloc(void *v, const uint64_t *a);
void world_stackfree(void *v, const uint64_t *a);
void world_free_stack_spans(void *v, const uint64_t *a);
void world_manual(void *v, const uint64_t *a);
void world_free_manual(void *v, const uint64_t *a);
void world_scavenge(void *v, const uint64_t *a);
void world_procs(void *v, const uint64_t *a);
void world_look(void *v, const uint64_t *a);
void world_look_around(void *v, const uint64_t *a);
void world_read_stats(void *v, const uint64_t *a);
void world_rewrite(void *v, const uint64_t *a);
void world_huge_pages(void *v, const uint64_t *a);
void world_collect(void *v, const uint64_t *a);
void world_freegc(void *v, const uint64_t *a);
void world_os_move(void *v, const uint64_t *a);
void world_os_fail(void *v, const uint64_t *a);

// All operations. Those that make the OS fail come first: targets without them begin behind.
enum { WORLD_OPS_OS_FAIL = 1, WORLD_OPS = 31 };
extern const fuzz_op_info world_ops[WORLD_OPS];

// How a target of whole heaps runs; beside it stand its names and operations.
#define WORLD_RUN .config = {WORLD_CONFIG}, .max_ops = 16, .begin = world_begin, .after = world_after, .end = world_end

#define WORLD_P                                                                                                        \
	{ "p", 1, FUZZ_ANY, WORLD_PS - 1 }
#define WORLD_FLAGS                                                                                                    \
	{ "flags", 1, FUZZ_ANY, 31 } // 1: no pointers, 2: zeroed, the rest: which type
#define WORLD_OBJECT                                                                                                   \
	{ "object", 2, FUZZ_ANY, 0 }
enum { WORLD_NOSCAN = 1, WORLD_ZEROED = 2 };

#define WORLD_OP_MALLOC                                                                                                \
	{ "malloc", {WORLD_P, {"size", 3, FUZZ_SIZE, 100000}, WORLD_FLAGS}, world_malloc }
#define WORLD_OP_MALLOC_MANY                                                                                           \
	{                                                                                                                  \
		"malloc_many", {WORLD_P, {"size", 2, FUZZ_SIZE, 33000}, WORLD_FLAGS, {"n", 2, FUZZ_INDEX, 1030}},              \
			world_malloc_many                                                                                          \
	}
#define WORLD_OP_MALLOC_TINY                                                                                           \
	{ "malloc_tiny", {WORLD_P, {"size", 1, FUZZ_ANY, 15}, {"n", 1, FUZZ_ANY, 40}}, world_malloc_tiny }
#define WORLD_OP_MALLOC_LARGE                                                                                          \
	{                                                                                                                  \
		"malloc_large", {WORLD_P, {"pages", 2, FUZZ_PAGES, 20000}, {"bytes", 2, FUZZ_ANY, 8191}, WORLD_FLAGS},         \
			world_malloc_large                                                                                         \
	}
#define WORLD_OP_DROP                                                                                                  \
	{ "drop", {WORLD_OBJECT, {"n", 2, FUZZ_ANY, 1000}}, world_drop }
#define WORLD_OP_DROP_EACH                                                                                             \
	{ "drop_each", {{"n", 1, FUZZ_ANY, 0}, {"first", 1, FUZZ_ANY, 0}}, world_drop_each }
#define WORLD_OP_GC_BEGIN                                                                                              \
	{ "gc_begin", {WORLD_P}, world_gc_begin }
#define WORLD_OP_MARK_SOME                                                                                             \
	{ "mark_some", {WORLD_OBJECT, {"n", 2, FUZZ_ANY, 500}}, world_mark_some }
#define WORLD_OP_MARK_WILD                                                                                             \
	{ "mark_wild", {WORLD_OBJECT, {"offset", 3, FUZZ_SIZE, 0}, {"below", 1, FUZZ_ANY, 1}}, world_mark_wild }
#define WORLD_OP_GC_END                                                                                                \
	{ "gc_end", {WORLD_P}, world_gc_end }
#define WORLD_OP_GC                                                                                                    \
	{ "gc", {WORLD_P, {"sweep", 1, FUZZ_ANY, 1}}, world_gc }
#define WORLD_OP_PREPARE                                                                                               \
	{ "prepare", {WORLD_P}, world_prepare }
#define WORLD_OP_SWEEP                                                                                                 \
	{ "sweep", {WORLD_P, {"n", 1, FUZZ_ANY, 0}}, world_sweep }
#define WORLD_OP_PACE                                                                                                  \
	{ "pace", {{"growth", 4, FUZZ_SIZE, 1 << 26}}, world_pace }
#define WORLD_OP_SPECIAL                                                                                               \
	{ "special", {WORLD_OBJECT, {"revives", 1, FUZZ_ANY, 1}}, world_special }
#define WORLD_OP_STACKALLOC                                                                                            \
	{ "stackalloc", {WORLD_P, {"order", 1, FUZZ_ANY, 8}, {"how", 1, FUZZ_ANY, 2}}, world_stackalloc }
#define WORLD_OP_STACKFREE                                                                                             \
	{ "stackfree", {WORLD_P, {"stack", 1, FUZZ_ANY, 0}, {"how", 1, FUZZ_ANY, 2}}, world_stackfree }
#define WORLD_OP_FREE_STACK_SPANS                                                                                      \
	{ "free_stack_spans", {WORLD_P}, world_free_stack_spans }
#define WORLD_OP_MANUAL                                                                                                \
	{ "manual", {WORLD_P, {"pages", 2, FUZZ_PAGES, 9000}, {"how", 1, FUZZ_ANY, 1}}, world_manual }
#define WORLD_OP_FREE_MANUAL                                                                                           \
	{ "free_manual", {WORLD_P, {"which", 1, FUZZ_ANY, 0}}, world_free_manual }
#define WORLD_OP_SCAVENGE                                                                                              \
	{ "scavenge", {{"bytes", 4, FUZZ_SIZE, 0}, {"force", 1, FUZZ_ANY, 1}}, world_scavenge }
#define WORLD_OP_PROCS                                                                                                 \
	{ "procs", {{"n", 1, FUZZ_ANY, WORLD_PS - 1}}, world_procs }
#define WORLD_OP_LOOK                                                                                                  \
	{ "look", {WORLD_OBJECT, {"offset", 3, FUZZ_SIZE, 0}, {"below", 1, FUZZ_ANY, 1}}, world_look }
#define WORLD_OP_LOOK_AROUND                                                                                           \
	{ "look_around", {{"page", 2, FUZZ_INDEX, 20000}}, world_look_around }
#define WORLD_OP_STATS                                                                                                 \
	{ "stats", {{0}}, world_read_stats }
#define WORLD_OP_REWRITE                                                                                               \
	{ "rewrite", {WORLD_OBJECT}, world_rewrite }
#define WORLD_OP_HUGE_PAGES                                                                                            \
	{ "huge_pages", {{0}}, world_huge_pages }
#define WORLD_OP_COLLECT                                                                                               \
	{                                                                                                                  \
		"collect",                                                                                                     \
			{WORLD_P, {"seed", 4, FUZZ_ANY, 0}, {"links", 1, FUZZ_ANY, WORLD_LINKS},                                   \
				{"roots", 1, FUZZ_ANY, WORLD_ROOTS}, {"whole", 1, FUZZ_ANY, 1}},                                       \
			world_collect                                                                                              \
	}
#define WORLD_OP_FREEGC                                                                                                \
	{ "freegc", {WORLD_P, WORLD_OBJECT, {"n", 1, FUZZ_ANY, 30}}, world_freegc }
#define WORLD_OP_OS_MOVE                                                                                               \
	{ "os_move", {{"n", 1, FUZZ_ANY, 3}, {"more", 1, FUZZ_ANY, 7}}, world_os_move }
#define WORLD_OP_OS_FAIL                                                                                               \
	{ "os_fail", {{"n", 2, FUZZ_ANY, 60}, {"more", 1, FUZZ_ANY, 0}}, world_os_fail }

#endif
