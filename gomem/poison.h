// poison.h (layer 0): what sanitizers are told about memory, and the only file that knows whether there is one.
//
//   AddressSanitizer  forbidden memory: whoever touches it is reported
//   MemorySanitizer   undefined memory: whoever decides on what it holds is reported
// In other builds nothing here makes code.
//
// AddressSanitizer knows how many bytes from the start of a word of 8 may be touched: what lies between two allowed parts of one word is
// allowed too. MemorySanitizer does not see what a library such as zstd writes: the caller says that it is defined.
//
// Invariant: poison_forget leaves nothing forbidden; the process may be given that memory for something else.
#ifndef GOMEM_POISON_H
#define GOMEM_POISON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define GOMEM_ASAN 1
#endif
#if __has_feature(memory_sanitizer)
#define GOMEM_MSAN 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define GOMEM_ASAN 1
#endif
#ifdef GOMEM_NO_POISON // to measure what telling costs
#undef GOMEM_ASAN
#endif

#if GOMEM_ASAN
#include <sanitizer/asan_interface.h>
enum { poisonForbids = true };
// An accessor that may touch forbidden memory.
#define GOMEM_UNCHECKED __attribute__((no_sanitize("address")))

static inline void poison_forbid(uintptr_t addr, uintptr_t n) { __asan_poison_memory_region((void *)addr, n); }
static inline void poison_allow(uintptr_t addr, uintptr_t n) { __asan_unpoison_memory_region((void *)addr, n); }
// poison_firstForbidden gives the first forbidden byte of [addr, addr+n), 0 if there is none.
static inline uintptr_t poison_firstForbidden(uintptr_t addr, uintptr_t n) {
	return n == 0 ? 0 : (uintptr_t)__asan_region_is_poisoned((void *)addr, n);
}
#else
enum { poisonForbids = false };
#define GOMEM_UNCHECKED

static inline void poison_forbid(uintptr_t addr, uintptr_t n) {
	(void)addr;
	(void)n;
}
static inline void poison_allow(uintptr_t addr, uintptr_t n) {
	(void)addr;
	(void)n;
}
static inline uintptr_t poison_firstForbidden(uintptr_t addr, uintptr_t n) {
	(void)addr;
	(void)n;
	return 0;
}
#endif

#if GOMEM_MSAN
#include <sanitizer/msan_interface.h>
enum { poisonUndefines = true };
static const uintptr_t poisonLowLimit = (uintptr_t)1
	<< 40; // it needs the addresses between here and 0x510000000000 for itself

static inline void poison_undefined(uintptr_t addr, uintptr_t n) { __msan_allocated_memory((void *)addr, n); }
static inline void poison_defined(uintptr_t addr, uintptr_t n) { __msan_unpoison((void *)addr, n); }
// poison_firstUndefined gives the first undefined byte of [addr, addr+n), 0 if there is none.
static inline uintptr_t poison_firstUndefined(uintptr_t addr, uintptr_t n) {
	const intptr_t offset = __msan_test_shadow((void *)addr, n);
	return offset < 0 ? 0 : addr + (uintptr_t)offset;
}
#else
enum { poisonUndefines = false };

static inline void poison_undefined(uintptr_t addr, uintptr_t n) {
	(void)addr;
	(void)n;
}
static inline void poison_defined(uintptr_t addr, uintptr_t n) {
	(void)addr;
	(void)n;
}
static inline uintptr_t poison_firstUndefined(uintptr_t addr, uintptr_t n) {
	(void)addr;
	(void)n;
	return 0;
}
#endif

// poison_forget: nothing of [addr, addr+n) stays forbidden. It asks block by block, for of an arena of 64 MiB little was used, and the
// sanitizer's notes on the rest shall not become memory.
static inline void poison_forget(uintptr_t addr, uintptr_t n) {
	const uintptr_t block = 64 << 10;
	while (poisonForbids && n > 0) {
		const uintptr_t size = n < block ? n : block;
		if (poison_firstForbidden(addr, size) != 0) {
			poison_allow(addr, size);
		}
		addr += size;
		n -= size;
	}
}

#endif
