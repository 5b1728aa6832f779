// test_limits.c: the limits of a real system: address space (RLIMIT_AS), the number of mappings (vm.max_map_count), a memory cgroup, overcommit;
// and a kernel that takes no memory back.
// A heap that meets one says ENOMEM, holds its check, keeps its objects, and goes on when there is memory again.
//
// Each runs in a child of its own. What this machine does not allow is said, and counted as skipped.
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gomem/mcache.h"
#include "gomem/world.h"

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
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	puts("  skipped: sanitizers need mappings of their own");
	return SKIPPED;
#endif
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

// ---- a memory cgroup. A process beyond its limit is killed: the kernel tells nobody before. So a world with a memory limit below that must live in
// it, though it allocates many times as much; and one that keeps what it makes must be killed, else there was no limit.

enum { CGROUP_BYTES = 64 << 20, WORLD_LIMIT = 32 << 20 };

static bool writeTo(const char *dir, const char *file, long number) {
	char path[128], text[24];
	(void)snprintf(path, sizeof path, "%s/%s", dir, file);
	const int n = snprintf(text, sizeof text, "%ld", number);
	const int fd = open(path, O_WRONLY | O_CLOEXEC);
	const bool ok = fd >= 0 && write(fd, text, (size_t)n) == n;
	if (fd >= 0) {
		close(fd);
	}
	return ok;
}

// makeCgroup: version 2, or 1. false: none can be made, or has no limit.
static bool makeCgroup(char *dir, size_t room) {
	static const char *const at[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/unified"};
	for (int i = 0; i < 3; i++) {
		(void)snprintf(dir, room, "%s/gomem-test-%d", at[i], (int)getpid());
		if (mkdir(dir, 0700) != 0) {
			continue;
		}
		if (writeTo(dir, i == 1 ? "memory.limit_in_bytes" : "memory.max", CGROUP_BYTES)) {
			return true;
		}
		rmdir(dir);
	}
	return false;
}

static _Noreturn void allocateInCgroup(const char *dir, bool keeps) {
	if (!writeTo(dir, "cgroup.procs", (long)getpid())) {
		_exit(SKIPPED);
	}
	enum { SIZE = 32 << 10, N = 32000 };
	gomem_world *w =
		gomem_world_new(&(gomem_world_config){.procs = 1, .memory_limit = keeps ? 0 : WORLD_LIMIT, .gogc = -1});
	gomem_thread *t = gomem_world_enter(w);
	static void *slots[N];
	static uint8_t all[N / 8];
	memset(all, 0xff, sizeof all);
	const gomem_root root = {slots, sizeof slots, all};
	gomem_thread_roots(t, &root, 1);
	for (int i = 0; i < N; i++) {
		char *x = gomem_world_malloc(t, SIZE, NULL, true);
		if (x == NULL) {
			_exit(2);
		}
		memset(x, 1, SIZE);
		slots[keeps ? i : i % 300] = x;
	}
	gomem_world_leave(t);
	gomem_world_destroy(w);
	_exit(0);
}

static int statusInCgroup(const char *dir, bool keeps) {
	const pid_t pid = fork();
	if (pid == 0) {
		allocateInCgroup(dir, keeps);
	}
	int status = 0;
	waitpid(pid, &status, 0);
	return status;
}

static int cgroup(void) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	puts("  skipped: sanitizers need more memory");
	return SKIPPED;
#endif
	char dir[64];
	if (!makeCgroup(dir, sizeof dir)) {
		puts("  skipped: no memory cgroup can be made here");
		return SKIPPED;
	}
	const int limited = statusInCgroup(dir, false), killed = statusInCgroup(dir, true);
	rmdir(dir);
	if (WIFEXITED(limited) && WEXITSTATUS(limited) == SKIPPED) {
		puts("  skipped: no process can be put into the cgroup");
		return SKIPPED;
	}
	if (!WIFSIGNALED(killed) || WTERMSIG(killed) != SIGKILL) {
		bad("a program beyond the limit was not killed");
	}
	if (limited != 0) {
		bad("a world with a memory limit did not live within the cgroup's");
	}
	printf("  %s: 1000 MiB in all with a memory limit of %d MiB in a cgroup of %d; without it killed\n", dir,
		WORLD_LIMIT >> 20, CGROUP_BYTES >> 20);
	return 0;
}

// ---- no overcommit

static const char overcommitFile[] = "/proc/sys/vm/overcommit_memory";
static volatile long overcommitWas = -1;

static void restoreOvercommit(int sig) {
	const char digit = (char)('0' + overcommitWas);
	const int fd = open(overcommitFile, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, &digit, 1) != 1) {
		_exit(1);
	}
	close(fd);
	if (sig != 0) {
		_exit(1);
	}
}

static int useUpCommitted(void) {
	gomem_heap *h = gomem_heap_new(NULL);
	gomem_p *p = gomem_heap_p(h, 0);
	kept k;
	keep(h, p, &k);
	const unsigned refused = useUp(h, p, &k);
	if (refused == 0) {
		bad("nothing was refused");
	}
	gomem_heap_destroy(h); // a sweep needs memory: only another heap can have what this one had
	h = gomem_heap_new(NULL);
	if (h == NULL || gomem_mallocgc(h, gomem_heap_p(h, 0), 64 << 20, NULL, false) == NULL) {
		bad("the next heap does not work");
	}
	gomem_heap_destroy(h);
	printf("  %u sizes refused; another heap is served\n", refused);
	return 0;
}

// The setting is everybody's: it is changed for a moment only where that is asked for, and put back whatever happens to this process.
static int overcommit(void) {
	overcommitWas = readNumber(overcommitFile);
	if (overcommitWas == 2) {
		return useUpCommitted();
	}
	if (getenv("GOMEM_TEST_OVERCOMMIT") == NULL) {
		printf(
			"  skipped: vm.overcommit_memory is %ld, and is everybody's: with GOMEM_TEST_OVERCOMMIT=1 it is 2 for a moment\n",
			overcommitWas);
		return SKIPPED;
	}
	signal(SIGINT, restoreOvercommit);
	signal(SIGTERM, restoreOvercommit);
	signal(SIGHUP, restoreOvercommit);
	if (!writeTo("/proc/sys/vm", "overcommit_memory", 2)) {
		puts("  skipped: vm.overcommit_memory cannot be set");
		return SKIPPED;
	}
	const pid_t pid = fork();
	if (pid == 0) {
		alarm(60);
		const int r = useUpCommitted();
		(void)fflush(stdout);
		_exit(r);
	}
	int status = 1;
	if (pid > 0) {
		waitpid(pid, &status, 0);
	}
	restoreOvercommit(0);
	if (readNumber(overcommitFile) != overcommitWas) {
		bad("vm.overcommit_memory was not put back");
	}
	return status == 0 ? 0 : 1;
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

// refuse makes madvise(MADV_DONTNEED) and mmap(MAP_FIXED) of this process fail from now on.
static bool refuse(void) {
	enum {
		NR = offsetof(struct seccomp_data, nr),
		ADVICE = offsetof(struct seccomp_data, args[2]),
		FLAGS = offsetof(struct seccomp_data, args[3])
	};
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, NR),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_madvise, 0, 2),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ADVICE),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, MADV_DONTNEED, 3, 4),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, FLAGS),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, MAP_FIXED, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOMEM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = {sizeof filter / sizeof filter[0], filter};
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

// What is given back counts as zero, also where the kernel keeps it.
static int keptByKernel(void) {
	enum { BLOCKS = 40, BYTES = 65536 };
	gomem_heap *h = gomem_heap_new(NULL);
	gomem_p *p = gomem_heap_p(h, 0);
	for (int i = 0; i < BLOCKS; i++) {
		memset(gomem_mallocgc(h, p, BYTES, NULL, true), 7, BYTES);
	}
	gomem_gc(h, p, NULL, 0);
	gomem_gc(h, p, NULL, 0);
	if (!refuse()) {
		puts("  skipped: no filter of system calls can be set");
		return SKIPPED;
	}
	const uintptr_t n = gomem_scavenge(h, p, (uintptr_t)1 << 30, true);
	for (int i = 0; i < BLOCKS; i++) {
		const uint8_t *x = gomem_mallocgc(h, p, BYTES, NULL, true);
		for (int k = 0; k < BYTES; k++) {
			if (x[k] != 0) {
				bad("memory that was given back is not zero");
			}
		}
	}
	const char *wrong = gomem_heap_check(h);
	if (wrong != NULL || n == 0) {
		bad(wrong != NULL ? wrong : "nothing was given back");
	}
	printf("  %ju bytes given back, which the kernel kept: zero when they were taken again\n", (uintmax_t)n);
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
	{"memory that the kernel keeps", keptByKernel},
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
