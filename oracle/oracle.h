// oracle.h: the reference allocator: what Go's allocator must do, in the plainest code.
//
// It predicts the same addresses as the port, so that a fuzzer compares answers for equality, and as *the reference* it is what
// benchmarks compare with. No radix tree, no bitmaps, no lock-free code: pages are an array searched from its beginning, free slots are
// found by looking at each, span sets are queues, free stacks are lists. It shares no code and no table with gomem/.
//
// What the operating system answers is an input: the oracle asks through oracle_config.os. One thread at a time; calls of several
// Ps may be interleaved at the steps that they share, if oracle_config.step switches between coroutines.
// There is no out of memory here: where the OS refuses heap memory, the oracle gives 0 and must not be used any more.
#ifndef GOMEM_ORACLE_ORACLE_H
#define GOMEM_ORACLE_ORACLE_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct oracle oracle;

// What is asked of the operating system, for heap memory only.
typedef enum oracle_os_call {
	ORACLE_OS_RESERVE, // n bytes of address space, at addr if that is not 0 and free; gives the address, 0: none
	ORACLE_OS_RESERVE_ALIGNED, // the same, anywhere, at a multiple of addr: asked only where memory comes from a break
	ORACLE_OS_RELEASE,         // [addr, addr + n) is not wanted any more
	ORACLE_OS_MAP,             // reserved memory will be used
	ORACLE_OS_USED,            // memory that may have been given back is used from now on
	ORACLE_OS_UNUSED,          // memory is given back; it reads as zero when it is used again
} oracle_os_call;

// Steps that Ps share: what comes before one of them may be in another order than Ps began.
typedef enum oracle_step {
	ORACLE_STEP_PUSH,    // a span goes to the end of a set
	ORACLE_STEP_POP,     // the first span of a set is taken
	ORACLE_STEP_ACQUIRE, // the right to sweep a span is taken
	ORACLE_STEP_INDEX,   // how far sweeping has come is read or raised
	ORACLE_STEP_ZEROED,  // how far an arena was used is read and raised
	ORACLE_STEP_SCAV,    // a chunk to scavenge is looked for
	ORACLE_STEP_LOCK,    // the heap, or a pool of stacks, is locked
} oracle_step;

// What differs from platform to platform. NULL in oracle_config: linux/amd64.
typedef struct oracle_platform {
	uint64_t word;                 // bytes of a pointer
	uint64_t lowest, address_bits; // addresses that the heap can have: [lowest, lowest + 2^address_bits), modulo 2^64
	uint64_t random_bits;          // of an address, if the heap's place is random
	uint64_t chunk_pages;          // the heap grows by so many pages at a time
	uint64_t reclaim_pages;        // pages that reclaiming looks at in one step
	uint64_t hint, hint_step; // bits of all hints and what lies between two of them, if the heap's place is not random
	unsigned nhints, first_hint; // how many there are, the first ones left out; 0: none
	bool one_arena; // as much address space as there is behind program_end is reserved at the start, instead of hints
	uint64_t program_end;
	bool trims_both_ends;  // an aligned reservation is never larger than asked for
	bool reserves_again;   // what is reserved cannot be given back in parts
	uint64_t stack_min;    // bytes of the smallest stack
	unsigned stack_orders; // so many sizes of stacks, each twice the one before, come from pools
	bool aligned_stacks;   // spans of stacks begin at physical pages
} oracle_platform;

typedef struct oracle_config {
	uint64_t (*os)(
		void *ctx, oracle_os_call call, uint64_t addr, uint64_t n); // RESERVE: the address; else 0 if refused
	void *os_ctx;
	void (*step)(void *ctx, oracle_step step); // before each shared step; NULL: nothing to do
	void *step_ctx;
	bool (*revive)(void *ctx, uint64_t addr); // an unmarked object with a special is swept: true: it lives. NULL: never
	void *revive_ctx;
	const oracle_platform *platform;
	uint64_t seed;              // 64 bits that place the heap
	bool no_randomized_base;    // the heap begins at 0xc000000000
	bool sbrk;                  // memory comes from a break: nobody can choose places, the base is not randomized
	bool no_green_tea;          // no marks inside of spans
	bool freegc;                // objects can be given back
	bool unused_keeps_contents; // memory that was given back may come back as it was
	bool backed;                // memory is real: objects are zeroed where that was asked
	uint64_t arena_bytes;       // 0: 64 MiB
	uint64_t phys_page;         // 0: 4096
	uint64_t phys_huge_page;    // 0: none
} oracle_config;

// oracle_new makes a heap without Ps (p == -1 in the calls below); oracle_procresize gives it some. Aborts without memory for itself.
oracle *oracle_new(const oracle_config *cfg);
void oracle_free(oracle *o);
void oracle_procresize(oracle *o, int nprocs);

// oracle_malloc gives the address of size bytes. Size 0: 1, an address that nothing else has.
uint64_t oracle_malloc(oracle *o, int p, uint64_t size, bool pointers, bool needzero);
// oracle_freegc: an object without pointers is given back; what p gets next of its class is this one. false: it is the collector's.
bool oracle_freegc(oracle *o, int p, uint64_t addr, uint64_t size, bool pointers);
uint64_t oracle_stackalloc(oracle *o, int p, uint64_t n, bool bypass);
void oracle_stackfree(oracle *o, int p, uint64_t addr, uint64_t n, bool bypass);
uint64_t oracle_alloc_manual(oracle *o, int p, uint64_t npages);
void oracle_free_manual(oracle *o, int p, uint64_t addr);

// The cycle of the collector, as gomem.h has it.
void oracle_set_phase(oracle *o, int phase); // 0 off, 1 mark, 2 mark termination
void oracle_finish_sweep(oracle *o, int p);
bool oracle_mark(oracle *o, uint64_t addr);
// A word that the program wrote into an object. pointer: the object's type has a pointer there.
typedef struct oracle_word {
	uint64_t at, value;
	bool pointer;
} oracle_word;
// oracle_reach marks what lives (graph.c). words: all that hold a pointer into the heap; others may be among them.
void oracle_reach(oracle *o, const uint64_t *roots, unsigned nroots, const oracle_word *words, unsigned nwords);
bool oracle_is_marked(const oracle *o, uint64_t addr);
uint64_t oracle_marked_bytes(const oracle *o); // by slots
// oracle_end_marking: from now on, what was marked is what lives.
void oracle_end_marking(oracle *o);
bool oracle_is_allocated(const oracle *o, uint64_t addr);
void oracle_start_sweep(oracle *o);
void oracle_prepare_for_sweep(oracle *o, int p);
uint64_t oracle_sweep_one(oracle *o, int p); // pages freed; UINT64_MAX: nothing left to sweep
void oracle_free_stack_spans(oracle *o, int p);
// oracle_pace sets the rate at which allocation sweeps, so that all is swept when the heap has grown to trigger bytes.
void oracle_pace(oracle *o, uint64_t trigger);
// oracle_add_special gives the object at addr a special record; its span is swept first.
void oracle_add_special(oracle *o, int p, uint64_t addr);
uint64_t oracle_scavenge(oracle *o, uint64_t nbytes, bool force); // bytes given back

// Looking.
typedef struct oracle_span_info {
	uint64_t base, npages, slot_size, slots, allocated;
	unsigned class;
	bool noscan, manual, needzero;
} oracle_span_info;
bool oracle_span_of(const oracle *o, uint64_t addr, oracle_span_info *out);
uint64_t oracle_find_object(const oracle *o, uint64_t addr); // base of the slot, 0: none

typedef struct oracle_stats {
	uint64_t heap_in_use, heap_free, heap_released, stacks_in_use, manual_in_use;
	uint64_t total_alloc, total_free, mallocs, frees, tiny_allocs, large_allocs;
} oracle_stats;
// oracle_live gives the bytes that Go's pacer counts as live: large objects, and spans as if filled as soon as they are cached.
uint64_t oracle_live(const oracle *o);
void oracle_read_stats(const oracle *o, oracle_stats *out);

#ifdef __cplusplus
}
#endif

#endif
