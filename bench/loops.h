// loops.h: the loops of calls that are timed.
//
// They are functions of their own, which get all they need by value: the compiler keeps it in registers, or what there is no room for on the stack. In a
// closure, what it holds by reference is loaded anew after each call, through two pointers or three; that took longer than some of the calls.
#ifndef GOMEM_BENCH_LOOPS_H
#define GOMEM_BENCH_LOOPS_H

#include <string.h>

#include "bench/peers.h"

template <bool zero>
[[gnu::noinline]] inline void allocateByModule(decltype(bench_module::malloc) allocate, gomem_heap *h, gomem_p *p,
	size_t size, const gomem_type *typ, void **got, size_t n) {
	for (void **end = got + n; got != end; got++) {
		*got = allocate(h, p, size, typ, zero);
	}
}

enum PeerWay { CALLOC, MEMSET, DIRTY };

template <PeerWay way> [[gnu::noinline]] inline void allocateByPeer(const Peer *a, size_t size, void **got, size_t n) {
	auto allocate = a->malloc;
	auto allocateZeroed = a->calloc;
	for (void **end = got + n; got != end; got++) {
		void *p = way == CALLOC ? allocateZeroed(1, size) : allocate(size);
		if (way == MEMSET) {
			memset(p, 0, size);
		}
		*got = p;
	}
}

[[gnu::noinline]] inline void freeByPeer(const Peer *a, void *const *got, size_t n) {
	auto release = a->free;
	for (void *const *end = got + n; got != end; got++) {
		release(*got);
	}
}

#endif
