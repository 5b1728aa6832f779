// module.h: what an allocator with a garbage collector's interface gives to the benchmarks; each is a library of its own (bench/*_module.c).
#ifndef GOMEM_BENCH_MODULE_H
#define GOMEM_BENCH_MODULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gomem/gomem.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct bench_module {
	gomem_heap *heap; // of the reference it is another kind
	gomem_p *p;       // P 0
	void *(*malloc)(gomem_heap *heap, gomem_p *p, uintptr_t size, const gomem_type *typ, bool needzero);
	// inlined allocates n zeroed objects by gomem_mallocgc_inline, of a size that the compiler did not know. NULL: there is no such way.
	void (*inlined)(gomem_heap *heap, gomem_p *p, size_t size, const gomem_type *typ, size_t n);
	// sized allocates n zeroed objects of a size that the compiler knew, as a program in Go does that says new(T). false: not of this size. NULL: of none.
	bool (*sized)(gomem_heap *heap, gomem_p *p, size_t size, bool pointers, size_t n);
	// cycle frees everything: a cycle of the collector that marks nothing. all: sweep now, as runtime.GC() does; else as memory is wanted.
	void (*cycle)(void *heap, void *p, bool all);
	// The cycle step by step, as gomem.h has it; finish: sweeping ends, and no object is marked; start: sweeping begins.
	void (*finish)(void *heap, void *p);
	void (*phase)(void *heap, unsigned phase);
	bool (*mark)(void *heap, void *x);
	void (*start)(void *heap, void *p);
	void (*sweepOne)(void *heap, void *p);
	void (*scavenge)(void *heap, void *p, uint64_t bytes, bool force); // a step: one run of pages
	// Several Ps, each for a thread; cycle and start are for all of them. NULL where there is one.
	gomem_p *(*procs)(void *heap, int id); // P id, made if it is not there. World stopped
	// n spans are pushed to a set that all threads share, and popped.
	void (*pushPop)(void *heap, unsigned n);
} bench_module;

// bench_module_get makes a heap with one P. NULL: out of memory.
typedef const bench_module *bench_module_get_func(void);
#define BENCH_MODULE_GET "bench_module_get"
#define BENCH_EXPORT __attribute__((visibility("default")))

#ifdef __cplusplus
}
#endif

#endif
