// gomem.h (layer 0): the public interface of gomem, Go's memory allocator in C.
//
// A gomem_heap is one allocator (Go has one to a process, here there may be many). A gomem_p stands for one of Go's Ps: a
// cache of spans and of pages that one thread at a time allocates from. Memory is freed by sweeping: mark the objects that live, start a
// cycle, and what is unmarked is handed out again.
//
// Threads: calls with different Ps may run at the same time; one P must not be used by two threads at once. Calls marked
// "world stopped" need that no other call is running on the heap.
// Errors: out of memory returns NULL (or false) with errno ENOMEM and leaves the heap consistent. An internal
// inconsistency calls the throw hook of the configuration (default: message on stderr and abort).
#ifndef GOMEM_GOMEM_H
#define GOMEM_GOMEM_H

#ifdef GOMEM_VARIANT
#include "gomem/variant.h"
#endif

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// What programs may call. A shared library shows nothing else.
#if defined(__GNUC__)
#define GOMEM_API __attribute__((visibility("default")))
#else
#define GOMEM_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef struct gomem_heap gomem_heap; // an allocator
typedef struct gomem_p gomem_p;       // a P of one
struct gomem_os;
struct gomem_lab;
struct gomem_layout;
struct gomem_policy;

// A type as the allocator sees it (Go: abi.Type). ptr_mask: bit i set if word i of the type holds a pointer, ptr_bytes / word size bits,
// little endian by byte. The structure must outlive the objects: a malloc header points to it.
typedef struct gomem_type {
	uintptr_t size;          // bytes, a multiple of the word size if the type has pointers
	uintptr_t ptr_bytes;     // bytes up to and including the last pointer; 0: no pointers
	const uint8_t *ptr_mask; // which words are pointers
} gomem_type;

// How a heap is made. Zero is a good value for every field.
typedef struct gomem_config {
	// os, lab and layout are for programs that are built with the source, whose mem.h, lab.h and layout.h are not installed.
	struct gomem_os *os;               // memory system; NULL: the process's own (the heap owns it then)
	const struct gomem_policy *policy; // when things happen (gomem/policy.h); NULL: from the heap's own state
	const struct gomem_lab *lab;       // hooks of a lab build
	const struct gomem_layout
		*layout; // constants (gomem/layout.h); NULL: linux/amd64. Another one: only in a build with a run-time layout
	uint64_t rand_seed;      // 64 bits that place the heap in the address space (0: taken from the OS's random source)
	bool no_randomized_base; // GOEXPERIMENT=norandomizedheapbase64
	bool no_greentea;        // GOEXPERIMENT=nogreenteagc
	bool runtime_freegc;     // GOEXPERIMENT=runtimefreegc: gomem_freegc gives objects back
	bool madv_free; // GODEBUG=madvdontneed=0: what is given back stays until the OS is short of memory. Not with os
	int64_t
		release_lag; // bytes: so many of those given back last are kept until more come; 0: 2 MiB; < 0: none. Not with os
	int64_t
		populate_ahead; // bytes that the OS is asked to back for a P's small objects where the heap grows, before they are needed; 0: 256 KiB; < 0: none
	bool no_huge_pages; // do not ask the OS for huge pages, as a heap does that grows beyond 32 MiB
	bool no_invalidptr; // GODEBUG=invalidptr=0: marking passes over bad pointers
	bool checked; // check each sysX call against the state table, and that marking finds no pointer to a free object
	bool
		hardened; // find misuse by the caller: objects freed twice, writes past their end or after they were freed, a P that two threads use, a
	// heap that was destroyed (docs/HARDENED.md). Only in checked builds and those with GOMEM_HARDENED, which has it always on
	void (*throw_hook)(void *ctx, const char *msg);       // must not return
	void *throw_ctx;                                      // is given to throw_hook
	void (*sample)(void *ctx, void *obj, uintptr_t size); // called about every sample_rate bytes allocated; NULL: never
	void *sample_ctx;                                     // is given to sample
	int64_t sample_rate;                                  // bytes; 0: 512 KiB
} gomem_config;

// gomem_heap_new makes a heap with one P (id 0), as Go's mallocinit and first procresize do. NULL and errno on failure.
GOMEM_API gomem_heap *gomem_heap_new(const gomem_config *cfg);
// gomem_heap_new_bare stops after mallocinit: no P yet, calls are made with p == NULL.
GOMEM_API gomem_heap *gomem_heap_new_bare(const gomem_config *cfg);
// gomem_heap_destroy gives everything back to the OS. World stopped; objects, Ps and spans are gone.
GOMEM_API void gomem_heap_destroy(gomem_heap *h);
// gomem_procresize sets the number of Ps (Go: procresize). World stopped. false: out of memory.
GOMEM_API bool gomem_procresize(gomem_heap *h, int nprocs);
// gomem_heap_p gives P id, or NULL. The heap owns it.
GOMEM_API gomem_p *gomem_heap_p(gomem_heap *h, int id);

// gomem_mallocgc allocates size bytes (Go: mallocgc). typ: NULL for memory without pointers. needzero: the memory must be zero; it
// always is if typ has pointers. Aligned to 8 bytes at least, and to the largest power of two that divides the
// size class. Size 0 gives the address of a word of the heap that nobody writes. p may be NULL before the first P exists.
// Only size bytes are the caller's, also where the slot is larger: AddressSanitizer reports the rest.
GOMEM_API void *gomem_mallocgc(gomem_heap *h, gomem_p *p, uintptr_t size, const gomem_type *typ, bool needzero);

// gomem_way is mallocgc for one size class. Only gomem_mallocgc_inline calls it, as the next three are only for that.
typedef void *gomem_way(gomem_heap *h, gomem_p *p, uintptr_t size, const gomem_type *typ, bool needzero);
enum { GOMEM_WAYS = 127 }; // sizes that have a way: 1 to 8 bytes, 9 to 16...
// What a P begins with: its ways now, which a cycle of the collector changes.
typedef struct gomem_ways {
	gomem_way *of[2][GOMEM_WAYS]; // with pointers, without
} gomem_ways;

// gomem_mallocgc_inline is gomem_mallocgc, whose way is found where it is called, not in the library. Where the compiler knows the size and the kind of
// memory, one call is left. (Go 1.27, and GOEXPERIMENT=sizespecializedmalloc before it: the compiler calls mallocgcSmallNoScanSC2 and its like.)
// p is not NULL, and the heap is not destroyed, which only gomem_mallocgc finds in a hardened one.
static inline void *gomem_mallocgc_inline(
	gomem_heap *h, gomem_p *p, uintptr_t size, const gomem_type *typ, bool needzero) {
	if (size - 1 >= 8 * GOMEM_WAYS) {
		return gomem_mallocgc(h, p, size, typ, needzero);
	}
	const gomem_ways *ways = *(const gomem_ways *const *)(const void *)p;
	// Memory without a type first: 4 % less time there, for 1 to 2 % with one.
	if (__builtin_expect(typ == NULL, true) || typ->ptr_bytes == 0) {
		return ways->of[1][(size - 1) / 8](h, p, size, typ, needzero);
	}
	return ways->of[0][(size - 1) / 8](h, p, size, typ, needzero);
}

// gomem_freegc gives back an object that the caller alone knows, at once: P p's next allocation of its class without pointers takes it, the last
// one given back first (Go: freegc). ptr, size, noscan: as it was allocated. false, and nothing happens: the heap is not one with
// runtime_freegc, the object is below 16 or above 32760 bytes, or may hold pointers; then it is the collector's, like
// any other. What was given back is forgotten when a new cycle flushes p's caches; the collector finds it then. Nothing may point to it, no special record
// be about it. A checked heap throws at what is no such object, or was given back to p already.
GOMEM_API bool gomem_freegc(gomem_heap *h, gomem_p *p, void *ptr, uintptr_t size, bool noscan);

// A stack of n bytes, a power of two from 2 KiB on (Go: stackalloc, stackfree). NULL p or bypass: without the P's stack cache.
GOMEM_API void *gomem_stackalloc(gomem_heap *h, gomem_p *p, uint32_t n, bool bypass);
GOMEM_API void gomem_stackfree(gomem_heap *h, gomem_p *p, void *stk, uintptr_t n, bool bypass);

// Pages outside the collected heap (Go: allocManual with spanAllocWorkBuf, freeManual). Not zeroed.
GOMEM_API void *gomem_allocManual(gomem_heap *h, gomem_p *p, uintptr_t npages);
GOMEM_API void gomem_freeManual(gomem_heap *h, gomem_p *p, void *base);

// Garbage collection (docs/GC.md). A root is memory outside of the heap's objects that may point to some: a variable, a table, a stack.
typedef struct gomem_root {
	const void *base; // aligned to a word
	uintptr_t size;   // bytes; what is less than a word at the end is not looked at
	const uint8_t *
		ptr_mask; // bit i: word i holds a pointer, or NULL (as gomem_type.ptr_mask). NULL: any word may be a pointer or not
} gomem_root;
// gomem_gc collects: what the roots reach stays, all else is free when it returns (Go: runtime.GC). World stopped. An object is reached by a
// pointer to any of its bytes, from a root or from a pointer word (gomem_type) of an object that is reached. A pointer word, of an
// object or of a root with a mask, must hold NULL, a pointer into an object, or an address outside of the heap or in a stack; at one to free
// pages, or behind the last object of a span, it throws, as Go does; so it does on a checked heap at one to a free object. In a root without
// a mask such words are passed over. Objects in one tiny block live and die together. p: a P, for its caches. Needs no memory but for mark bits.
GOMEM_API void gomem_gc(gomem_heap *h, gomem_p *p, const gomem_root *roots, size_t n);

// The garbage collection cycle, step by step. The world is stopped in each of them but gomem_sweepone.
// gomem_setGCPhase: 0 off, 1 mark, 2 mark termination (Go: setGCPhase). While marking, new objects are marked; so are, from its
// beginning, the blocks that tiny objects are put into (Go: gcMarkTinyAllocs).
GOMEM_API void gomem_setGCPhase(gomem_heap *h, uint32_t phase);
// gomem_finishsweep sweeps what is left of the last cycle and prepares mark bits (Go: finishsweep_m, gcResetMarkState).
GOMEM_API void gomem_finishsweep(gomem_heap *h, gomem_p *p);
// gomem_mark marks the object that p points into. Returns false if there is none. May run with the world running.
GOMEM_API bool gomem_mark(gomem_heap *h, const void *p);
// gomem_markroots marks what the roots reach, as gomem_gc does. In phase 1; again, if there are more roots. What gomem_mark marked is not
// looked into. An object that was made since phase 1 began is marked, and not looked into either: what is stored in it meanwhile needs a root.
GOMEM_API void gomem_markroots(gomem_heap *h, const gomem_root *roots, size_t n);
// gomem_isMarked: the object that p points into was marked in this cycle; ask before gomem_startsweep. For weak pointers and the like.
GOMEM_API bool gomem_isMarked(gomem_heap *h, const void *p);
// gomem_startsweep begins a cycle (Go: gcSweep): unmarked objects become free as spans are swept.
GOMEM_API void gomem_startsweep(gomem_heap *h);
// gomem_prepareForSweep flushes p's caches if a cycle began since (Go: mcache.prepareForSweep). By p's thread, or world stopped.
GOMEM_API void gomem_prepareForSweep(gomem_heap *h, gomem_p *p);
// gomem_sweepone sweeps one span; returns its pages, 0 if the span stays in use, ~0 if there is none.
GOMEM_API uintptr_t gomem_sweepone(gomem_heap *h, gomem_p *p);
// gomem_freeStackSpans gives unused stack spans back (Go: freeStackSpans).
GOMEM_API void gomem_freeStackSpans(gomem_heap *h, gomem_p *p);

// gomem_scavenge returns nbytes of free memory to the OS, if there is that much (Go: pageAlloc.scavenge). Returns bytes released, of which the last
// release_lag stay where they are for a while. Chunks of 4 MiB that are mostly in use, or were so when the last cycle began, are left: what a cycle frees can be given
// back after the next one. force: from these, too, and at once what release_lag would keep.
GOMEM_API uintptr_t gomem_scavenge(gomem_heap *h, gomem_p *p, uintptr_t nbytes, bool force);

// What the heap knows about an address.
typedef struct gomem_span_info {
	uintptr_t base;        // the address of its first page
	uintptr_t npages;      // how many pages it has
	uintptr_t elemsize;    // bytes of a slot
	uintptr_t nelems;      // how many slots
	uintptr_t alloc_count; // of which are taken
	uint8_t spanclass;     // size class << 1 | noscan
	uint8_t state;         // 1 in use (objects), 2 manual
	bool needzero;         // its memory may hold something
} gomem_span_info;
// gomem_spanOf describes the span that covers addr. false: the page is free or not the heap's. The counts are exact when no P
// allocates from the span.
GOMEM_API bool gomem_spanOf(gomem_heap *h, uintptr_t addr, gomem_span_info *out);
// gomem_findObject gives the base of the object slot that addr points into, 0 if none.
GOMEM_API uintptr_t gomem_findObject(gomem_heap *h, uintptr_t addr);

// gomem_heap_check tests the invariants of all layers. World stopped. NULL if all hold, else which one does not.
GOMEM_API const char *gomem_heap_check(gomem_heap *h);

// Statistics of a heap, in bytes where nothing else is said.
typedef struct gomem_memstats {
	uint64_t heap_in_use;   // pages of spans with objects
	uint64_t heap_free;     // free pages that still have memory
	uint64_t heap_released; // free pages that were given back to the OS, or never used
	uint64_t stacks_in_use; // pages of stack spans
	uint64_t work_bufs;     // pages of manual spans
	uint64_t mapped_ready;  // all memory that is Ready, metadata too
	uint64_t mspan_sys;     // from the OS for span structures
	uint64_t mcache_sys;    // for mcaches
	uint64_t gc_misc_sys;   // for mark bits, arenas and the page heap
	uint64_t other_sys;     // for what remains
	uint64_t total_alloc;   // allocated since the heap began
	uint64_t total_free;    // freed since
	uint64_t mallocs;       // objects allocated since, tiny ones too
	uint64_t frees;         // objects freed since; all tiny ones count here too, as in Go
	uint64_t tiny_allocs;   // tiny objects among mallocs
	uint64_t large_allocs;  // objects with a span of their own among them
} gomem_memstats;
// gomem_readmemstats sums the statistics of all Ps. Exact when the world is stopped.
GOMEM_API void gomem_readmemstats(gomem_heap *h, gomem_memstats *out);

#ifdef __cplusplus
}
#endif

#endif
