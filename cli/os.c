// os.c: `gomem os`: one region of memory through all states of gomem/mem.h, and what each call does to the process.
//
// A child makes the calls, one step at a time, and stops after each. This process, which traces it (ptrace), prints the system calls that the
// child really made, and what the kernel tells of it in /proc: so that nothing that is printed was written by hand, and printing
// does not disturb what is shown.
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/args.h"
#include "cli/commands.h"
#include "cli/syscall_words.h"
#include "gomem/mem.h"

enum { EXIT_BAD = 2, MAX_CALLS = 64, MAX_MIB = 4096, REGION_ALIGN = 2 << 20, KIB = 1024 };

static const char osUsage[] =
	"usage: gomem os [--sbrk] [--mib N]\n"
	"       gomem os --table\n"
	"\n"
	"Takes one region of memory through the states of Go's mem.go (None, Reserved, Prepared, Ready, Prepared again when\n"
	"it is scavenged, None), touches it, and prints after each step: the state, the system calls that the step made, the\n"
	"mapping's lines of /proc/PID/smaps, and the resident memory of the process. docs/OS.md explains a run.\n"
	"\n"
	"  --sbrk   memory from the process's break (sbrk), as Go has it on Plan 9 and WebAssembly, not by mmap\n"
	"  --mib N  the region has N MiB (8), an even number up to 4096\n"
	"  --table  only prints which call takes memory from which state to which: the table that checked builds apply to every call\n"
	"\n"
	"Exit status: 0 done, 2 bad usage, or the system refuses memory.\n";

// What the child tells of its step.
typedef struct told {
	char name[64], what[96], state[96], failure[256];
	uintptr_t v, n;
	uintptr_t physPage, hugePage;
	int traceErrno; // why nobody traces the child; 0: somebody does
	bool ready;     // a step is done
} told;

// ---- the table

static int print_table(void) {
	printf("| call | from None | from Reserved | from Prepared | from Ready |\n|---|---|---|---|---|\n");
	for (unsigned c = 0; c < MEM_NCALLS; c++) {
		printf("| %s |", memCallNames[c]);
		for (unsigned s = 0; s < MEM_NSTATES; s++) {
			const unsigned to = memTransition[c][s];
			printf(" %s |", to == MEM_NSTATES ? "-" : to == s ? "stays" : memStateNames[to]);
		}
		printf("\n");
	}
	return 0;
}

// ---- the child

typedef struct actor {
	told *t;
	gomem_env env;
	gomem_stats stats;
	sysMemStat stat;
	unsigned char *v;
	uintptr_t n, reserved; // reserved: it may be more, where the system's answer was aligned by chance
} actor;

static _Noreturn void give_up(told *t, const char *why) {
	snprintf(t->failure, sizeof t->failure, "%s", why);
	_exit(EXIT_BAD);
}

static void thrown(void *ctx, const char *msg) { give_up(ctx, msg); }

// tell_state writes down the states of the region, from its beginning to its end, as the map of states has them.
static void tell_state(actor *a) {
	char *out = a->t->state;
	const size_t size = sizeof a->t->state;
	size_t len = 0;
	out[0] = 0;
	for (uintptr_t at = 0; at < a->n && len < size;) {
		const memState s = memStates_get(a->env.states, (uintptr_t)a->v + at);
		uintptr_t end = at + a->env.physPageSize;
		while (end < a->n && memStates_get(a->env.states, (uintptr_t)a->v + end) == s) {
			end += a->env.physPageSize;
		}
		const bool whole = at == 0 && end == a->n;
		len += (size_t)(whole ? snprintf(out + len, size - len, "%s", memStateNames[s])
							  : snprintf(out + len, size - len, "%s%s %zu kB", at > 0 ? ", then " : "",
									memStateNames[s], (size_t)(end - at) / KIB));
		at = end;
	}
	if (a->n == 0) {
		snprintf(out, size, "None");
	}
}

// step_done stops until it was printed.
static void step_done(actor *a, const char *name, const char *what) {
	told *t = a->t;
	snprintf(t->name, sizeof t->name, "%s", name);
	snprintf(t->what, sizeof t->what, "%s", what);
	tell_state(a);
	t->v = (uintptr_t)a->v;
	t->n = a->n;
	t->ready = true;
	kill(getpid(), SIGSTOP);
}

static void touch(unsigned char *p, uintptr_t n) { memset(p, 0x5a, n); }

static void need(actor *a, bool ok, const char *what) {
	if (ok) {
		return;
	}
	char why[256];
	const bool said = os_isSbrkPlatform(a->env.os) && mem_sbrk_refusal(a->env.os)[0] != 0;
	snprintf(why, sizeof why, "%s: %s", what, said ? mem_sbrk_refusal(a->env.os) : strerror(errno));
	give_up(a->t, why);
}

static void begin(actor *a, told *t, bool sbrkOS, uintptr_t n) {
	if (sbrkOS) {
		mallopt(M_MMAP_THRESHOLD, 0); // malloc leaves the break alone
	}
	*a = (actor){.t = t};
	gomem_os *os = sbrkOS ? mem_sbrk_new(memLinear_process()) : mem_linux_new();
	if (os == NULL) {
		give_up(t, "the system's memory cannot be had");
	}
	a->env = (gomem_env){
		.layout = &layout_host,
		.os = os,
		.stats = &a->stats,
		.states = memStates_new(),
		.throwHook = thrown,
		.throwCtx = t,
		.physPageSize = os->physPageSize,
		.physHugePageSize = os->physHugePageSize,
		.backed = os->backed,
	};
	t->physPage = os->physPageSize;
	t->hugePage = os->physHugePageSize;
	need(a, a->env.states != NULL, "the map of states");
	step_done(a, "before", "nothing is asked for yet");
	a->v = sysReserveAligned(&a->env, NULL, n, REGION_ALIGN, &a->reserved, MEM_HEAP);
	need(a, a->v != NULL, "sysReserveAligned");
	a->n = n;
	step_done(a, "sysReserveAligned", "None -> Reserved");
}

static void reclaim(actor *a) {
	gomem_env *env = &a->env;
	const uintptr_t half = a->n / 2;
	sysUnused(env, a->v + half, half);
	step_done(a, "sysUnused, second half", "Ready -> Prepared: what the scavenger does");
	sysUnused(env, a->v, half);
	step_done(a, "sysUnused, first half", "Ready -> Prepared");
	need(a, sysUsed(env, a->v, a->n, a->n), "sysUsed");
	const bool zero = a->v[0] == 0;
	touch(a->v, half);
	step_done(a, "sysUsed, touch the first half",
		zero ? "Prepared -> Ready: it was zero, pages come as they are touched"
			 : "Prepared -> Ready: it held what it held before");
}

static _Noreturn void child(told *t, bool sbrkOS, uintptr_t n) {
	t->traceErrno = ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0 ? 0 : errno;
	kill(getpid(), SIGSTOP);
	static actor act;
	actor *a = &act;
	begin(a, t, sbrkOS, n);
	gomem_env *env = &a->env;
	need(a, sysMap(env, a->v, n, &a->stat), "sysMap");
	step_done(a, "sysMap", "Reserved -> Prepared");
	need(a, sysUsed(env, a->v, n, n), "sysUsed");
	step_done(a, "sysUsed", "Prepared -> Ready: may be touched");
	touch(a->v, n);
	step_done(a, "touch", "each byte is written");
	sysHugePage(env, a->v, n);
	step_done(a, "sysHugePage", "a hint: huge pages are welcome");
	const bool collapsed = sysHugePageCollapse(env, a->v, n);
	step_done(
		a, "sysHugePageCollapse", collapsed ? "huge pages now: done" : "huge pages now: refused, or nothing to do");
	sysNoHugePage(env, a->v, n);
	step_done(a, "sysNoHugePage", "a hint: no huge pages");
	reclaim(a);
	sysFault(env, a->v, n);
	step_done(a, "sysFault", "Ready -> Reserved: for debugging");
	sysUnreserve(env, a->v, a->reserved);
	step_done(a, "sysUnreserve", "Reserved -> None");
	env->os->destroy(env->os);
	step_done(a, "the end", "the heap gives up its system");
	_exit(0);
}

// ---- system calls

typedef struct syscall_made {
	uint64_t nr, args[6];
	int64_t result;
} syscall_made;

typedef struct tracer {
	pid_t pid;
	told *t;
	bool traced;
	syscall_made calls[MAX_CALLS];
	size_t ncalls;
	bool inside; // of a call
} tracer;

static bool is_memory_call(uint64_t nr) {
	return nr == SYS_mmap || nr == SYS_munmap || nr == SYS_madvise || nr == SYS_mprotect || nr == SYS_brk;
}

static void note_syscall(tracer *tr) {
	struct __ptrace_syscall_info info;
	if (ptrace(PTRACE_GET_SYSCALL_INFO, tr->pid, (void *)sizeof info, &info) <= 0 || tr->ncalls == MAX_CALLS) {
		return;
	}
	syscall_made *c = &tr->calls[tr->ncalls];
	if (info.op == PTRACE_SYSCALL_INFO_ENTRY && is_memory_call(info.entry.nr)) {
		c->nr = info.entry.nr;
		memcpy(c->args, info.entry.args, sizeof c->args);
		tr->inside = true;
	} else if (info.op == PTRACE_SYSCALL_INFO_EXIT && tr->inside) {
		c->result = info.exit.rval;
		tr->inside = false;
		tr->ncalls++;
	}
}

// concerns_region: other memory calls are malloc's, or the C library's own.
static bool concerns_region(const told *t, const syscall_made *c, bool sbrkOS) {
	if (c->nr == SYS_brk) {
		return sbrkOS;
	}
	const uint64_t addr = c->nr == SYS_mmap ? (uint64_t)c->result : c->args[0];
	return t->n > 0 && addr < t->v + t->n + REGION_ALIGN && addr + c->args[1] + REGION_ALIGN > t->v;
}

static void print_syscall(const syscall_made *c) {
	static const bitName flags[] = {{MAP_PRIVATE, "MAP_PRIVATE"}, {MAP_FIXED, "MAP_FIXED"},
		{MAP_ANONYMOUS, "MAP_ANONYMOUS"}, {MAP_NORESERVE, "MAP_NORESERVE"}};
	char words[bitNamesRoom];
	printf("  syscall  ");
	switch (c->nr) {
	case SYS_mmap:
		printf("mmap(0x%" PRIx64 ", %" PRIu64 ", ", c->args[0], c->args[1]);
		printf("%s, ", protNames(words, c->args[2]));
		printf("%s)", bitNames(words, c->args[3], flags, sizeof flags / sizeof flags[0], "0"));
		break;
	case SYS_mprotect:
		printf("mprotect(0x%" PRIx64 ", %" PRIu64 ", ", c->args[0], c->args[1]);
		printf("%s)", protNames(words, c->args[2]));
		break;
	case SYS_madvise:
		printf("madvise(0x%" PRIx64 ", %" PRIu64 ", %s)", c->args[0], c->args[1], adviceName(c->args[2]));
		break;
	case SYS_munmap:
		printf("munmap(0x%" PRIx64 ", %" PRIu64 ")", c->args[0], c->args[1]);
		break;
	default:
		printf("brk(0x%" PRIx64 ")", c->args[0]);
	}
	if (c->result < 0 && c->result > -4096) {
		printf(" = -1: %s\n", strerror((int)-c->result));
	} else {
		printf(c->result == 0 ? " = 0\n" : " = 0x%" PRIx64 "\n", (uint64_t)c->result);
	}
}

static void print_syscalls(const tracer *tr, bool sbrkOS) {
	if (!tr->traced) {
		printf("  syscall  not traced: %s\n", strerror(tr->t->traceErrno));
		return;
	}
	bool any = false;
	for (size_t i = 0; i < tr->ncalls; i++) {
		if (concerns_region(tr->t, &tr->calls[i], sbrkOS)) {
			print_syscall(&tr->calls[i]);
			any = true;
		}
	}
	if (!any) {
		printf("  syscall  none\n");
	}
}

// ---- what the kernel tells

typedef struct mapping {
	uint64_t lo, hi;
	char perms[5];
	uint64_t size, rss, huge; // KiB
} mapping;

static void print_mapping(const told *t, const mapping *m) {
	if (t->n > 0 && m->lo < t->v + t->n && t->v < m->hi) {
		printf("  smaps    %" PRIx64 "-%" PRIx64 " %s Size: %" PRIu64 " kB, Rss: %" PRIu64
			   " kB, AnonHugePages: %" PRIu64 " kB\n",
			m->lo, m->hi, m->perms, m->size, m->rss, m->huge);
	}
}

static FILE *open_proc(pid_t pid, const char *name) {
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
	return fopen(path, "r");
}

static bool number_of(const char *line, const char *name, uint64_t *out) {
	const size_t n = strlen(name);
	if (strncmp(line, name, n) != 0) {
		return false;
	}
	*out = strtoull(line + n, NULL, 10);
	return true;
}

// begins_mapping: this line is the first one of a mapping.
static bool begins_mapping(const char *line, mapping *m) {
	char *end;
	const uint64_t lo = strtoull(line, &end, 16);
	if (end == line || *end != '-') {
		return false;
	}
	const uint64_t hi = strtoull(end + 1, &end, 16);
	if (*end != ' ' || strlen(end) < 6) {
		return false;
	}
	*m = (mapping){.lo = lo, .hi = hi};
	memcpy(m->perms, end + 1, 4);
	return true;
}

static bool print_smaps(const tracer *tr) {
	FILE *f = open_proc(tr->pid, "smaps");
	if (f == NULL) {
		return false;
	}
	mapping m = {0}, next;
	char line[512];
	while (fgets(line, sizeof line, f) != NULL) {
		if (begins_mapping(line, &next)) {
			print_mapping(tr->t, &m);
			m = next;
			continue;
		}
		(void)(number_of(line, "Size:", &m.size) || number_of(line, "Rss:", &m.rss) ||
			number_of(line, "AnonHugePages:", &m.huge));
	}
	print_mapping(tr->t, &m);
	(void)fclose(f);
	return true;
}

static bool print_rss(const tracer *tr) {
	FILE *f = open_proc(tr->pid, "smaps_rollup");
	if (f == NULL) {
		return false;
	}
	uint64_t rss = 0;
	char line[512];
	while (fgets(line, sizeof line, f) != NULL) {
		(void)number_of(line, "Rss:", &rss);
	}
	(void)fclose(f);
	printf("  process  Rss: %" PRIu64 " kB\n", rss);
	return true;
}

// ---- this process

static int complain(const char *what, const char *why) {
	(void)fflush(stdout);
	(void)fprintf(stderr, "gomem os: %s: %s\n", what, why);
	return EXIT_BAD;
}

// run_step lets the child go on until it stops after its next step. false: it ended; *status tells how.
static bool run_step(tracer *tr, int *status) {
	int sig = 0;
	tr->ncalls = 0;
	tr->inside = false;
	for (;;) {
		if (tr->traced) {
			ptrace(PTRACE_SYSCALL, tr->pid, NULL, (void *)(intptr_t)sig);
		} else {
			kill(tr->pid, SIGCONT);
		}
		if (waitpid(tr->pid, status, WUNTRACED) < 0 || !WIFSTOPPED(*status)) {
			return false;
		}
		const int stop = WSTOPSIG(*status);
		if (stop == SIGSTOP) {
			return true;
		}
		if (stop == (SIGTRAP | 0x80)) {
			note_syscall(tr);
		}
		sig = stop == (SIGTRAP | 0x80) ? 0 : stop;
	}
}

static bool print_step(const tracer *tr, unsigned number, bool sbrkOS) {
	const told *t = tr->t;
	if (number == 0) {
		printf("memory by %s; pages: %zu kB, huge ones: ", sbrkOS ? "sbrk" : "mmap", (size_t)t->physPage / KIB);
		printf(t->hugePage == 0 ? "none are used\n" : "%zu kB\n", (size_t)t->hugePage / KIB);
	}
	printf("\n%u. %s: %s\n  state    %s\n", number, t->name, t->what, t->state);
	print_syscalls(tr, sbrkOS);
	return print_smaps(tr) && print_rss(tr);
}

static int watch(tracer *tr, bool sbrkOS) {
	int status = 0;
	if (waitpid(tr->pid, &status, WUNTRACED) < 0 || !WIFSTOPPED(status)) {
		return complain("the child", "it did not begin");
	}
	tr->traced = tr->t->traceErrno == 0;
	if (tr->traced) {
		ptrace(PTRACE_SETOPTIONS, tr->pid, NULL, (void *)(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL));
	}
	for (unsigned i = 0; run_step(tr, &status); i++) {
		if (!print_step(tr, i, sbrkOS)) {
			const int err = errno;
			kill(tr->pid, SIGKILL);
			return complain("/proc", strerror(err));
		}
	}
	if (tr->t->failure[0] != 0) {
		return complain("a step fails", tr->t->failure);
	}
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		return complain("the child", "it ended before its last step");
	}
	return 0;
}

static int run(bool sbrkOS, uintptr_t n) {
	told *t = mmap(NULL, sizeof *t, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (t == MAP_FAILED) {
		return complain("mmap", strerror(errno));
	}
	(void)fflush(stdout);
	tracer tr = {.t = t};
	tr.pid = fork();
	if (tr.pid < 0) {
		return complain("fork", strerror(errno));
	}
	if (tr.pid == 0) {
		child(t, sbrkOS, n);
	}
	const int code = watch(&tr, sbrkOS);
	munmap(t, sizeof *t);
	return code;
}

static bool parse_mib(const char *s, uintptr_t *n) {
	char *end;
	errno = 0;
	const unsigned long long mib = strtoull(s, &end, 10);
	if (*s < '0' || *s > '9' || *end != 0 || errno != 0 || mib == 0 || mib > MAX_MIB || mib % 2 != 0) {
		return false;
	}
	*n = (uintptr_t)mib << 20;
	return true;
}

int gomem_os_main(int argc, char **argv) {
	bool sbrkOS = false;
	const char *mib;
	uintptr_t n = 8 << 20;
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			(void)fputs(osUsage, stdout);
			return 0;
		}
		if (strcmp(argv[i], "--table") == 0 && argc == 2) {
			return print_table();
		}
		if (strcmp(argv[i], "--sbrk") == 0) {
			sbrkOS = true;
		} else if (args_takes(argc, argv, &i, "--mib", &mib)) {
			if (mib == NULL || !parse_mib(mib, &n)) {
				return complain("--mib", "needs an even number from 2 to 4096");
			}
		} else {
			return complain(argv[i], "no such option (gomem os --help lists them)");
		}
	}
	return run(sbrkOS, n);
}
