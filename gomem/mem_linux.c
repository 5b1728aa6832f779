// mem_linux.c (layer 1): the process's own memory on Linux.
//
// Ports mem_linux.go and the page sizes of os_linux.go, with GODEBUG as Go sets it by default: madvdontneed=1 (so
// memory that was unused comes back zeroed; mem_linux_new_free: 0), harddecommit=0, disablethp=0.
// DEVIATION(D05): mappings carry no name (Go: setVMAName); nothing but /proc/self/maps shows it.
// DEVIATION(D06): where Go prints and exits (mmap: access denied, too much locked memory) the call fails.
//
// Invariants: Reserved is PROT_NONE; Prepared and Ready are readable and writable.
#include "gomem/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "gomem/poison.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

typedef struct linuxOS {
	gomem_os os;
	bool fixed; // a heap reservation at a hint is made there or fails
	_Atomic(bool) cannotPopulate;
} linuxOS;

static void *mapAnon(void *v, uintptr_t n, int prot, int flags) {
	void *p = mmap(v, n, prot, MAP_ANONYMOUS | MAP_PRIVATE | flags, -1, 0);
	return p == MAP_FAILED ? NULL : p;
}

static void *linux_alloc(gomem_os *os, uintptr_t n) {
	(void)os;
	return mapAnon(NULL, n, PROT_READ | PROT_WRITE, 0);
}

// reserveAt reserves exactly at hint. Kernels before 4.17 take the flag for a wish.
static void *reserveAt(void *hint, uintptr_t n) {
	void *p = mapAnon(hint, n, PROT_NONE, MAP_FIXED_NOREPLACE);
	if (p != NULL && p != hint) {
		munmap(p, n);
		errno = EEXIST;
		return NULL;
	}
	return p;
}

static void *linux_reserve(gomem_os *os, void *hint, uintptr_t n, memUse use) {
	const linuxOS *l = (const linuxOS *)os;
	if (l->fixed && use == MEM_HEAP && hint != NULL) {
		return reserveAt(hint, n);
	}
	return mapAnon(hint, n, PROT_NONE, 0);
}

static bool linux_map(gomem_os *os, void *v, uintptr_t n) {
	(void)os;
	return mapAnon(v, n, PROT_READ | PROT_WRITE, MAP_FIXED) == v;
}

static bool linux_used(gomem_os *os, void *v, uintptr_t n) {
	(void)os;
	(void)v;
	(void)n;
	return true;
}

// clear: what is free may be forbidden to the program, which memset would be told.
GOMEM_UNCHECKED static void clear(void *v, uintptr_t n) {
	volatile uint64_t *at = v;
	for (uintptr_t i = 0; i < n / sizeof(*at); i++) {
		at[i] = 0;
	}
}

static bool linux_unused(gomem_os *os, void *v, uintptr_t n) {
	if ((((uintptr_t)v | n) & (os->physPageSize - 1)) != 0) {
		errno = EINVAL;
		return false;
	}
	if (os->unusedKeepsContents && madvise(v, n, MADV_FREE) == 0) {
		return true;
	}
	// madvise is optional since Linux 3.18. DEVIATION(D33): Go goes on if neither call helps; but what stays counts as zero from now on.
	if (madvise(v, n, MADV_DONTNEED) != 0 && mapAnon(v, n, PROT_READ | PROT_WRITE, MAP_FIXED) != v) {
		clear(v, n);
	}
	return true;
}

static bool linux_fault(gomem_os *os, void *v, uintptr_t n) {
	(void)os;
	poison_forget((uintptr_t)v, n);
	bool ok = mprotect(v, n, PROT_NONE) == 0;
	madvise(v, n, MADV_DONTNEED);
	return ok;
}

static bool linux_free(gomem_os *os, void *v, uintptr_t n) {
	(void)os;
	poison_forget((uintptr_t)v, n);
	return munmap(v, n) == 0;
}

static void linux_hugePage(gomem_os *os, void *v, uintptr_t n) {
	if (os->physHugePageSize == 0) {
		return;
	}
	uintptr_t beg = (uintptr_t)alignUp((uintptr_t)v, os->physHugePageSize);
	uintptr_t end = (uintptr_t)alignDown((uintptr_t)v + n, os->physHugePageSize);
	if (beg < end) {
		madvise((unsigned char *)v + (beg - (uintptr_t)v), end - beg, MADV_HUGEPAGE);
	}
}

static void linux_noHugePage(gomem_os *os, void *v, uintptr_t n) {
	(void)os;
	madvise(v, n, MADV_NOHUGEPAGE);
}

static uint64_t nanoseconds(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

// A huge page that took longer than its small pages would have is as good as none: a kernel may move others' memory first, and that of a virtual
// machine may have to ask its host for each page.
static bool linux_hugePageCollapse(gomem_os *os, void *v, uintptr_t n) {
	enum { slow = 4000 }; // ns for each small page, of which one costs 0.2 to 3 us
	if (os->physHugePageSize == 0) {
		return false;
	}
	const uint64_t begin = nanoseconds();
	return madvise(v, n, MADV_COLLAPSE) == 0 && nanoseconds() - begin <= n / os->physPageSize * slow;
}

// One call makes all pages, for less than a page fault for each. Kernels before 5.14 do not know it; who was refused once does not ask again.
static void linux_populate(gomem_os *os, void *v, uintptr_t n, bool wanted) {
	linuxOS *l = (linuxOS *)os;
	if (!wanted) {
		madvise(v, n, MADV_DONTNEED);
		return;
	}
	if (!atomic_load_explicit(&l->cannotPopulate, memory_order_relaxed) && madvise(v, n, MADV_POPULATE_WRITE) != 0) {
		atomic_store_explicit(&l->cannotPopulate, true, memory_order_relaxed);
	}
}

static void linux_destroy(gomem_os *os) { free(os); }

// readFile reads the beginning of a file, as text. false: nothing can be read.
static bool readFile(const char *name, char *text, size_t size) {
	const int fd = open(name, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		return false;
	}
	const ssize_t n = read(fd, text, size - 1);
	close(fd);
	text[n > 0 ? n : 0] = 0;
	return n > 0;
}

// hugePageSize reads the size of transparent huge pages; 0 if the kernel has none or does not tell a power of two.
static uintptr_t hugePageSize(void) {
	char text[20];
	if (!readFile("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size", text, sizeof text)) {
		return 0;
	}
	const unsigned long long v = strtoull(text, NULL, 10);
	return (v & (v - 1)) != 0 ? 0 : (uintptr_t)v;
}

static bool hugePagesNever(void) {
	char text[64];
	return readFile("/sys/kernel/mm/transparent_hugepage/enabled", text, sizeof text) &&
		strstr(text, "[never]") != NULL;
}

static gomem_os *newLinux(bool fixed, bool lazily) {
	linuxOS *l = malloc(sizeof *l);
	if (l == NULL) {
		errno = ENOMEM;
		return NULL;
	}
	*l = (linuxOS){
		.os =
			{
				.name = "linux",
				.physPageSize = (uintptr_t)sysconf(_SC_PAGESIZE),
				.physHugePageSize = hugePageSize(),
				.hugePagesNever = hugePagesNever(),
				.programEnd = (uintptr_t)sbrk(0), // the break begins where the program ends, or behind
				.backed = true,
				.unusedKeepsContents = lazily,
				.alloc = linux_alloc,
				.reserve = linux_reserve,
				.map = linux_map,
				.used = linux_used,
				.unused = linux_unused,
				.fault = linux_fault,
				.free = linux_free,
				.hugePage = linux_hugePage,
				.noHugePage = linux_noHugePage,
				.hugePageCollapse = linux_hugePageCollapse,
				.populate = linux_populate,
				.destroy = linux_destroy,
			},
		.fixed = fixed,
	};
	memFaultConfig faults;
	return mem_fault_environment(&faults) ? mem_fault_new(&l->os, &faults) : &l->os;
}

gomem_os *mem_linux_new(void) { return newLinux(false, false); }
gomem_os *mem_linux_new_fixed(void) { return newLinux(true, false); }
gomem_os *mem_linux_new_free(void) { return newLinux(false, true); }
