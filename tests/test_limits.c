// test_limits.c: the limits of a real system: address space (RLIMIT_AS), the number of mappings (vm.max_map_count), a memory cgroup, overcommit.
// A heap that meets one says ENOMEM, holds its check, keeps its objects, and goes on when there is memory again.
//
// Each runs in a child of its own. What this machine does not allow is said, and counted as skipped.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gomem/mcache.h"

enum { SKIPPED = 77, KEPT = 200 };

static _Noreturn void bad(const char *what) {
	printf("  FAILED: %s (errno %d)\n", what, errno);
	(void)fflush(stdout);
	_exit(1);
}

typedef struct kept {
	uint8_t *x[KEPT];
} kept;

static void keep(gomem_heap *h, gomem_p *p, kept *k) {
	for (int i = 0; i < KEPT; i++) {
		k->x[i] = gomem_mallocgc(h, p, 300, NULL, true);
		memset(k->x[i], i, 300);
	}
}

static void intact(gomem_heap *h, const kept *k) {
	const char *wrong = gomem_heap_check(h);
	if (wrong != NULL) {
		bad(wrong);
	}
	for (int i = 0; i < KEPT; i++) {
		if (k->x[i][0] != i || k->x[i][299] != i) {
			bad("an object has changed");
		}
	}
}

// useUp allocates until there is no memory: the largest first, at last the smallest.
static unsigned useUp(gomem_heap *h, gomem_p *p, const kept *k) {
	unsigned refused = 0;
	for (uintptr_t size = 256 << 20; size >= 8192; size /= 4) {
		errno = 0;
		for (int i = 0; i < 100000 && gomem_mallocgc(h, p, size, NULL, false) != NULL; i++) {
			errno = 0;
		}
		refused += errno == ENOMEM;
		intact(h, k);
	}
	return refused;
}

static int addressSpace(void) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	puts("  skipped: sanitizers need the address space");
	return SKIPPED;
#endif
	gomem_heap *h = gomem_heap_new(NULL);
	gomem_p *p = gomem_heap_p(h, 0);
	kept k;
	keep(h, p, &k);
	struct rlimit was, now;
	getrlimit(RLIMIT_AS, &was);
	now = (struct rlimit){(rlim_t)1400 << 20, was.rlim_max};
	if (setrlimit(RLIMIT_AS, &now) != 0) {
		puts("  skipped: RLIMIT_AS cannot be set");
		return SKIPPED;
	}
	const unsigned refused = useUp(h, p, &k);
	if (refused == 0) {
		bad("nothing was refused");
	}
	setrlimit(RLIMIT_AS, &was);
	if (gomem_mallocgc(h, p, 256 << 20, NULL, false) == NULL) {
		bad("the next call does not work");
	}
	intact(h, &k);
	gomem_heap_destroy(h);
	printf("  %u sizes refused, then served again\n", refused);
	return 0;
}

static long readNumber(const char *path) {
	char buf[40] = "";
	const int fd = open(path, O_RDONLY | O_CLOEXEC);
	const ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof buf - 1);
	if (fd >= 0) {
		close(fd);
	}
	return n <= 0 ? -1 : strtol(buf, NULL, 10);
}

// All mappings that the process may have are taken: pages of an area with other rights each.
static int mapCount(void) {
	const long most = readNumber("/proc/sys/vm/max_map_count");
	if (most <= 0 || most > 300000) {
		printf("  skipped: vm.max_map_count is %ld\n", most);
		return SKIPPED;
	}
	gomem_heap *h = gomem_heap_new(NULL);
	gomem_p *p = gomem_heap_p(h, 0);
	kept k;
	keep(h, p, &k);
	const size_t page = (size_t)sysconf(_SC_PAGESIZE), n = page * 2 * ((size_t)most + 10);
	unsigned char *area = mmap(NULL, n, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (area == MAP_FAILED) {
		puts("  skipped: no address space for as many pages");
		return SKIPPED;
	}
	long taken = 0;
	for (size_t at = 0; at < n && mprotect(area + at, page, PROT_READ) == 0; at += 2 * page) {
		taken++;
	}
	if (errno != ENOMEM) {
		bad("the mappings did not come to an end");
	}
	const unsigned refused = useUp(h, p, &k);
	munmap(area, n);
	if (refused == 0) {
		bad("nothing was refused");
	}
	if (gomem_mallocgc(h, p, 256 << 20, NULL, false) == NULL) {
		bad("the next call does not work");
	}
	intact(h, &k);
	gomem_heap_destroy(h);
	printf("  %ld areas of %ld mappings taken, %u sizes refused, then served again\n", taken, most, refused);
	return 0;
}

// A process beyond its cgroup's limit is killed: the kernel tells nobody before. So what is tested is that a heap of which the limit is not
// exceeded lives in it, given back by scavenging.
static int cgroup(void) {
	char dir[64];
	(void)snprintf(dir, sizeof dir, "/sys/fs/cgroup/gomem-test-%d", (int)getpid());
	if (mkdir(dir, 0700) != 0) {
		printf("  skipped: no memory cgroup can be made here (%s)\n", strerror(errno));
		return SKIPPED;
	}
	char path[100];
	(void)snprintf(path, sizeof path, "%s/memory.max", dir);
	const int fd = open(path, O_WRONLY | O_CLOEXEC);
	const bool limited = fd >= 0 && write(fd, "67108864", 8) == 8;
	if (fd >= 0) {
		close(fd);
	}
	rmdir(dir);
	puts(limited ? "  skipped: a limit can be set, but to exceed it ends the process"
				 : "  skipped: the cgroup has no memory.max");
	return SKIPPED;
}

static int overcommit(void) {
	const long mode = readNumber("/proc/sys/vm/overcommit_memory");
	if (mode != 2) {
		printf("  skipped: vm.overcommit_memory is %ld, and is everybody's: set it to 2 for this test\n", mode);
		return SKIPPED;
	}
	gomem_heap *h = gomem_heap_new(NULL);
	gomem_p *p = gomem_heap_p(h, 0);
	kept k;
	keep(h, p, &k);
	const unsigned refused = useUp(h, p, &k);
	gomem_heap_destroy(h);
	return refused > 0 ? 0 : 1;
}

// Physical pages of other sizes, on a simulated system, until its heap is refused more.
static int pageSizes(void) {
	const uintptr_t sizes[] = {4096, 16384, 65536};
	for (int i = 0; i < 3; i++) {
		gomem_os *sim = mem_sim_new(&(memSimConfig){.backed = true, .physPageSize = sizes[i]});
		gomem_os *os = mem_fault_new(sim, NULL);
		const gomem_config cfg = {.os = os, .checked = true, .rand_seed = 3};
		gomem_heap *h = gomem_heap_new(&cfg);
		gomem_p *p = gomem_heap_p(h, 0);
		kept k;
		keep(h, p, &k);
		mem_fault_arm(os, &(memFaultConfig){.failNth = 3, .lasting = true});
		if (useUp(h, p, &k) == 0) {
			bad("nothing was refused");
		}
		mem_fault_arm(os, NULL);
		gomem_scavenge(h, p, 1 << 20, true);
		if (gomem_mallocgc(h, p, 64 << 20, NULL, false) == NULL) {
			bad("the next call does not work");
		}
		intact(h, &k);
		gomem_heap_destroy(h);
		if (mem_sim_bytes(sim, MEM_HEAP, MEM_READY) + mem_sim_bytes(sim, MEM_META, MEM_READY) != 0) {
			bad("memory was not given back");
		}
		os->destroy(os);
	}
	puts("  4, 16 and 64 KiB");
	return 0;
}

static const struct {
	const char *name;
	int (*run)(void);
} limits[] = {
	{"address space (RLIMIT_AS)", addressSpace},
	{"number of mappings", mapCount},
	{"memory cgroup", cgroup},
	{"no overcommit", overcommit},
	{"physical pages, simulated", pageSizes},
};
enum { NLIMITS = sizeof limits / sizeof limits[0] };

int main(void) {
	int passed = 0, skipped = 0;
	for (int i = 0; i < NLIMITS; i++) {
		puts(limits[i].name);
		(void)fflush(stdout);
		const pid_t pid = fork();
		if (pid == 0) {
			const int r = limits[i].run();
			(void)fflush(stdout);
			_exit(r);
		}
		int status = 0;
		waitpid(pid, &status, 0);
		passed += status == 0;
		skipped += WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED;
		if (status != 0 && !(WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED)) {
			printf("  FAILED: status %d\n", status);
		}
	}
	printf("limits: %d of %d passed, %d skipped\n", passed, NLIMITS, skipped);
	return passed + skipped == NLIMITS && passed > 0 ? 0 : 1;
}
