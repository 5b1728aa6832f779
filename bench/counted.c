// counted.c: see counted.h. Compiled without the sanitizer's option.
#include "bench/counted.h"

#include <stddef.h>
#include <string.h>

static counted now;

counted *counted_get(void) { return &now; }

static void wrote(const volatile void *p) {
	now.writes++;
	if (now.written != NULL) {
		now.written(now.ctx, (uintptr_t)p);
	}
}

static void modified(const volatile void *p) {
	now.rmw++;
	wrote(p);
}

// The names are the compiler's.
#define CALL(name) __tsan_##name
#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#pragma GCC diagnostic ignored "-Wmissing-declarations"

void CALL(init)(void) {}
void CALL(func_entry)(void *pc) { (void)pc; }
void CALL(func_exit)(void) {}
void CALL(atomic_thread_fence)(int order) { (void)order; }

#define ACCESS(n)                                                                                                      \
	void CALL(read##n)(void *p) { (void)p; }                                                                           \
	void CALL(write##n)(void *p) { wrote(p); }                                                                         \
	void CALL(unaligned_read##n)(void *p) { (void)p; }                                                                 \
	void CALL(unaligned_write##n)(void *p) { wrote(p); }                                                               \
	void CALL(volatile_read##n)(void *p) { (void)p; }                                                                  \
	void CALL(volatile_write##n)(void *p) { wrote(p); }
ACCESS(1)
ACCESS(2)
ACCESS(4)
ACCESS(8)
ACCESS(16)
void CALL(read_range)(void *p, size_t n) {
	(void)p;
	(void)n;
}
void CALL(write_range)(void *p, size_t n) {
	for (size_t i = 0; i < n; i += 64) {
		wrote((char *)p + i);
	}
}

// clang 16 and later call these for a memcpy; gcc calls memcpy, which nothing counts: so neither counts.
void *CALL(memcpy)(void *to, const void *from, size_t n) { return memcpy(to, from, n); }
void *CALL(memmove)(void *to, const void *from, size_t n) { return memmove(to, from, n); }
void *CALL(memset)(void *to, int c, size_t n) { return memset(to, c, n); }

#define MODIFY(bits, name, builtin)                                                                                    \
	uint##bits##_t CALL(atomic##bits##_##name)(volatile uint##bits##_t * p, uint##bits##_t v, int order) {             \
		(void)order;                                                                                                   \
		modified(p);                                                                                                   \
		return builtin(p, v, __ATOMIC_SEQ_CST);                                                                        \
	}
// gcc calls by an address of what is expected, clang by its value; the answer is whether it was there, or what was.
#define EXCHANGE(bits)                                                                                                 \
	static int exchange##bits(volatile uint##bits##_t *p, uint##bits##_t *expected, uint##bits##_t v) {                \
		const uint##bits##_t old = *expected;                                                                          \
		const int done = __atomic_compare_exchange_n(p, expected, v, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);           \
		const int lock = (bits) == 64 && done && old == 0 && v == 1;                                                   \
		now.locks += (unsigned)lock;                                                                                   \
		now.heapLocks += (unsigned)(lock && (uintptr_t)p == now.heapLock);                                             \
		modified(p);                                                                                                   \
		return done;                                                                                                   \
	}                                                                                                                  \
	uint##bits##_t CALL(atomic##bits##_compare_exchange_val)(                                                          \
		volatile uint##bits##_t * p, uint##bits##_t expected, uint##bits##_t v, int order, int failed) {               \
		(void)order;                                                                                                   \
		(void)failed;                                                                                                  \
		(void)exchange##bits(p, &expected, v);                                                                         \
		return expected;                                                                                               \
	}
#define EXCHANGE_BY_ADDRESS(bits, name)                                                                                \
	int CALL(atomic##bits##_##name)(                                                                                   \
		volatile uint##bits##_t * p, uint##bits##_t * expected, uint##bits##_t v, int order, int failed) {             \
		(void)order;                                                                                                   \
		(void)failed;                                                                                                  \
		return exchange##bits(p, expected, v);                                                                         \
	}
#define ATOMIC(bits)                                                                                                   \
	uint##bits##_t CALL(atomic##bits##_load)(const volatile uint##bits##_t *p, int order) {                            \
		(void)order;                                                                                                   \
		return __atomic_load_n(p, __ATOMIC_SEQ_CST);                                                                   \
	}                                                                                                                  \
	void CALL(atomic##bits##_store)(volatile uint##bits##_t * p, uint##bits##_t v, int order) {                        \
		(void)order;                                                                                                   \
		wrote(p);                                                                                                      \
		__atomic_store_n(p, v, __ATOMIC_SEQ_CST);                                                                      \
	}                                                                                                                  \
	MODIFY(bits, exchange, __atomic_exchange_n)                                                                        \
	MODIFY(bits, fetch_add, __atomic_fetch_add)                                                                        \
	MODIFY(bits, fetch_sub, __atomic_fetch_sub)                                                                        \
	MODIFY(bits, fetch_and, __atomic_fetch_and)                                                                        \
	MODIFY(bits, fetch_or, __atomic_fetch_or)                                                                          \
	MODIFY(bits, fetch_xor, __atomic_fetch_xor)                                                                        \
	EXCHANGE(bits)                                                                                                     \
	EXCHANGE_BY_ADDRESS(bits, compare_exchange_strong)                                                                 \
	EXCHANGE_BY_ADDRESS(bits, compare_exchange_weak)
ATOMIC(8)
ATOMIC(16)
ATOMIC(32)
ATOMIC(64)
