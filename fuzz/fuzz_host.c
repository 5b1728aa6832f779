// fuzz_host.c: see fuzz_host.h.
#include "fuzz/fuzz_host.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>

static _Thread_local uint64_t left; // calls until the one that is refused; 0: none is
static _Thread_local bool refused;

void fuzz_host_refuse(uint64_t n) {
	left = n;
	refused = false;
}

bool fuzz_host_obey(void) {
	left = 0;
	return refused;
}

static bool refuses(void) {
	if (left == 0 || --left > 0) {
		return false;
	}
	refused = true;
	errno = ENOMEM;
	return true;
}

// The names are the linker's: it sends calls of NAME to __wrap_NAME, and __real_NAME is what they went to before.
// NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp)
void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t align, size_t n);
void *__real_mmap(void *addr, size_t n, int prot, int flags, int fd, off_t offset);
ssize_t __real_getrandom(void *buf, size_t n, unsigned flags);

void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t align, size_t n);
void *__wrap_mmap(void *addr, size_t n, int prot, int flags, int fd, off_t offset);
ssize_t __wrap_getrandom(void *buf, size_t n, unsigned flags);

void *__wrap_malloc(size_t n) { return refuses() ? NULL : __real_malloc(n); }
void *__wrap_calloc(size_t n, size_t size) { return refuses() ? NULL : __real_calloc(n, size); }
void *__wrap_realloc(void *p, size_t n) { return refuses() ? NULL : __real_realloc(p, n); }
void *__wrap_aligned_alloc(size_t align, size_t n) { return refuses() ? NULL : __real_aligned_alloc(align, n); }
void *__wrap_mmap(void *addr, size_t n, int prot, int flags, int fd, off_t offset) {
	return refuses() ? MAP_FAILED : __real_mmap(addr, n, prot, flags, fd, offset);
}
ssize_t __wrap_getrandom(void *buf, size_t n, unsigned flags) {
	return refuses() ? -1 : __real_getrandom(buf, n, flags);
}
// NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp)
