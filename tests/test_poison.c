// test_poison.c: what sanitizers are told about the heap's memory (gomem/poison.h).
//
// AddressSanitizer: a list of what the program was granted is kept beside the heap; after each step the heap's memory is gone through, every
// byte of it: allowed iff it is on the list. Free slots and pages, the rest of a slot, headers, bitmaps, links and what was given back
// to the OS are therefore all seen to be forbidden. A few stray accesses are made for real, in a child process.
// MemorySanitizer: an object that need not be zero is undefined, any other defined.
#include "heaptest.h"

#include <sys/wait.h>
#include <unistd.h>

#include "fuzz/fuzz_os.h"

enum { maxGrants = 20000, exitSkipped = 77 };

typedef struct grant {
	uintptr_t addr, n;
	bool stack; // or a manual span
	bool dead;  // will not be marked
} grant;

typedef struct model {
	heapFix f;
	grant g[maxGrants];
	size_t n;
	uint64_t rnd;
} model;

static void granted(model *m, const void *x, uintptr_t n, bool stack) {
	assert_non_null(x);
	assert_true(m->n < maxGrants);
	m->g[m->n++] = (grant){(uintptr_t)x, n, stack, false};
}

// wantIn writes for each word of 8 bytes of [lo, hi) how many of its first bytes are allowed.
static uint8_t *wantIn(const model *m, uintptr_t lo, uintptr_t hi) {
	uint8_t *want = calloc((hi - lo) / 8, 1);
	assert_non_null(want);
	for (size_t i = 0; i < m->n; i++) {
		const uintptr_t end = m->g[i].addr + m->g[i].n;
		if (m->g[i].addr < lo || end > hi) {
			continue;
		}
		for (uintptr_t w = m->g[i].addr / 8 * 8; w < end; w += 8) {
			const uint8_t n = (uint8_t)(end - w < 8 ? end - w : 8);
			uint8_t *have = &want[(w - lo) / 8];
			*have = n > *have ? n : *have;
		}
	}
	return want;
}

// checkAll: of all memory that the heap ever asked for, what was granted is allowed and nothing else.
static void checkAll(const model *m) {
	if (!poisonForbids) {
		return;
	}
	const addrRanges *in = &m->f.h->pages.inUse;
	for (intptr_t r = 0; r < in->len; r++) {
		const uintptr_t lo = in->ranges[r].base.a, hi = in->ranges[r].limit.a;
		uint8_t *want = wantIn(m, lo, hi);
		for (uintptr_t a = lo; a < hi; a += 8) {
			const uintptr_t end = poison_firstForbidden(a, 8), allowed = end == 0 ? 8 : end - a;
			if (allowed != want[(a - lo) / 8]) {
				fail_msg("at %#lx %lu bytes are allowed, not %d", (unsigned long)a, (unsigned long)allowed,
					want[(a - lo) / 8]);
			}
		}
		free(want);
	}
}

static bool allDefined(const void *x, uintptr_t n) { return poison_firstUndefined((uintptr_t)x, n) == 0; }

static void newObject(model *m, uintptr_t size, const gomem_type *typ, bool needzero) {
	const void *x = gomem_mallocgc(m->f.h, m->f.p, size, typ, needzero);
	granted(m, x, size, false);
	if (poisonUndefines) {
		// Tiny blocks are zero always.
		assert_int_equal(allDefined(x, size), needzero || typ != NULL || size < 16);
	}
}

// Every path, at the borders of each.
static void newObjects(model *m) {
	static const uintptr_t noscan[] = {
		1, 2, 7, 8, 9, 15, 3, 16, 17, 24, 33, 100, 512, 513, 1000, 8192, 9999, 32759, 32760, 32761, 40960, 100001};
	static const uintptr_t scan[] = {
		8, 16, 24, 40, 48, 104, 504, 512, 520, 1016, 1024, 8184, 8192, 20000, 32760, 32768, 65536, 99992};
	const gomem_type ptrs = pointersType(8);
	for (int needzero = 0; needzero < 2; needzero++) {
		for (size_t i = 0; i < sizeof noscan / sizeof noscan[0]; i++) {
			newObject(m, noscan[i], NULL, needzero != 0);
		}
		for (size_t i = 0; i < sizeof scan / sizeof scan[0]; i++) {
			newObject(m, scan[i], &ptrs, true);
		}
	}
	for (int i = 0; i < 600; i++) {
		const uintptr_t size = (uintptr_t)(1 + nextRand(&m->rnd) % (i % 3 == 0 ? 15 : 700));
		newObject(m, i % 2 != 0 ? size : (size + 7) / 8 * 8, i % 2 != 0 ? NULL : &ptrs, i % 4 != 0);
	}
}

static void newStacks(model *m) {
	for (uint32_t size = 2048; size <= 128 << 10; size *= 2) {
		for (int i = 0; i < 5; i++) {
			granted(m, gomem_stackalloc(m->f.h, m->f.p, size, i % 2 != 0), size, true);
		}
	}
}

// freeStacks frees every n-th stack.
static void freeStacks(model *m, size_t n) {
	size_t k = 0, stacks = 0;
	for (size_t i = 0; i < m->n; i++) {
		const grant g = m->g[i];
		if (g.stack && stacks++ % n == 0) {
			gomem_stackfree(m->f.h, m->f.p, (void *)g.addr, g.n, i % 2 != 0);
		} else {
			m->g[k++] = g;
		}
	}
	m->n = k;
}

static void markModel(void *arg) {
	model *m = arg;
	for (size_t i = 0; i < m->n; i++) {
		if (!m->g[i].stack && !m->g[i].dead) {
			assert_true(gomem_mark(m->f.h, (const void *)m->g[i].addr));
		}
	}
	freeStacks(m, 3); // while a GC runs their spans stay
	newObject(m, 48, NULL, false);
	checkAll(m);
}

// dies: every n-th object does, and every other tiny block; but the one that is still open is marked when marking begins.
static bool dies(const model *m, size_t i, size_t n) {
	const grant g = m->g[i];
	if (g.stack || g.addr / 16 * 16 == m->f.p->mcache->tiny) {
		return false;
	}
	return g.n < 16 ? n == 1 || g.addr / 16 % 2 == 0 : i % n == 0;
}

// cycle runs a GC in which some objects die.
static void cycle(model *m, size_t n) {
	for (size_t i = 0; i < m->n; i++) {
		m->g[i].dead = dies(m, i, n);
	}
	gcCycle(&m->f, 1, markModel, m);
	size_t k = 0;
	for (size_t i = 0; i < m->n; i++) {
		if (!m->g[i].dead) {
			m->g[k++] = m->g[i];
		}
	}
	m->n = k;
	checkAll(m);
}

static bool anyForbidden(const addrRange *in, intptr_t n) {
	for (intptr_t i = 0; i < n; i++) {
		if (poison_firstForbidden(in[i].base.a, in[i].limit.a - in[i].base.a) != 0) {
			return true;
		}
	}
	return false;
}

static bool anyAllowed(const addrRange *in, intptr_t n) {
	for (intptr_t i = 0; i < n; i++) {
		for (uintptr_t a = in[i].base.a; a < in[i].limit.a; a += 8) {
			if (poison_firstForbidden(a, 1) == 0) {
				return true;
			}
		}
	}
	return false;
}

// destroy: an OS that unmaps leaves nothing forbidden, one that does not leaves all of it so.
static void destroy(model *m, bool staysMapped) {
	enum { maxRanges = 8 };
	addrRange in[maxRanges];
	const intptr_t n = m->f.h->pages.inUse.len;
	assert_in_range(n, 1, maxRanges);
	memcpy(in, m->f.h->pages.inUse.ranges, (size_t)n * sizeof in[0]);
	gomem_heap_destroy(m->f.h);
	if (poisonForbids) {
		assert_false(staysMapped ? anyAllowed(in, n) : anyForbidden(in, n));
	}
}

// play goes through everything that moves memory from the heap to the program and back.
static void play(model *m) {
	checkAll(m);
	newObjects(m);
	checkAll(m);
	newStacks(m);
	void *pages = gomem_allocManual(m->f.h, m->f.p, 3);
	granted(m, pages, 3 * 8192, true);
	checkAll(m);
	m->n--; // the last
	gomem_freeManual(m->f.h, m->f.p, pages);
	checkAll(m);
	freeStacks(m, 2);
	checkAll(m);
	for (size_t i = 2; i < 5; i++) {
		cycle(m, i);
		gomem_scavenge(m->f.h, m->f.p, i * 100000, true);
		checkAll(m);
		newObjects(m);
		newStacks(m);
		checkAll(m);
	}
	assert_true(gomem_procresize(m->f.h, 2));
	granted(m, gomem_mallocgc(m->f.h, gomem_heap_p(m->f.h, 1), 2000, NULL, true), 2000, false);
	granted(m, gomem_stackalloc(m->f.h, gomem_heap_p(m->f.h, 1), 2048, false), 2048, true);
	checkAll(m);
	assert_true(gomem_procresize(m->f.h, 1));
	checkAll(m);
	freeStacks(m, 1);
	cycle(m, 1);
	cycle(m, 1);               // now without an open tiny block
	assert_int_equal(m->n, 1); // markModel's last
	gomem_scavenge(m->f.h, m->f.p, ~(uintptr_t)0, true);
	checkAll(m);
}

static model *newModel(void) {
	model *m = calloc(1, sizeof *m);
	assert_non_null(m);
	m->rnd = 7;
	return m;
}

static void playSim(memSimConfig sim, gomem_config cfg) {
	model *m = newModel();
	sim.backed = true;
	heapFix_with(&m->f, sim, cfg);
	play(m);
	destroy(m, false);
	m->f.os->destroy(m->f.os);
	free(m);
}

static void test_everything(void **state) {
	(void)state;
	playSim((memSimConfig){0}, (gomem_config){0});
}

static void test_withoutGreenTea(void **state) {
	(void)state;
	playSim((memSimConfig){0}, (gomem_config){.no_greentea = true});
}

static void test_largePhysicalPages(void **state) {
	(void)state;
	playSim((memSimConfig){.physPageSize = 64 << 10}, (gomem_config){.no_randomized_base = true});
}

static void test_ownOS(void **state) {
	(void)state;
	model *m = newModel();
	const gomem_config cfg = {.checked = true, .throw_hook = heapFix_thrown, .throw_ctx = &m->f};
	m->f.h = gomem_heap_new(&cfg);
	assert_non_null(m->f.h);
	m->f.p = gomem_heap_p(m->f.h, 0);
	play(m);
	destroy(m, false);
	free(m);
}

enum { fuzzRuns = 6 };
static gomem_heap *volatile left[fuzzRuns]; // heaps that are never destroyed

// The fuzzers' system begins again and again on the same memory, also after a run that was left in the middle.
static void test_fuzzOS(void **state) {
	(void)state;
	for (uint64_t run = 0; run < fuzzRuns; run++) {
		model *m = newModel();
		const fuzz_os_config os = {.backed = true, .unusedKeepsContents = run % 2 != 0};
		const gomem_config cfg = {
			.os = fuzz_os_begin(&os),
			.rand_seed = FUZZ_OS_SEED | run << 20,
			.checked = true,
			.throw_hook = heapFix_thrown,
			.throw_ctx = &m->f,
		};
		m->f.h = gomem_heap_new(&cfg);
		assert_non_null(m->f.h);
		m->f.p = gomem_heap_p(m->f.h, 0);
		if (run % 3 != 2) {
			play(m);
			destroy(m, true);
		} else {
			newObjects(m);
			checkAll(m);
			left[run] = m->f.h;
		}
		free(m);
	}
}

// Nothing is said about memory that is not there.
static void test_unbacked(void **state) {
	(void)state;
	heapFix f;
	heapFix_with(&f, (memSimConfig){.backed = false}, (gomem_config){0});
	assert_non_null(gomem_mallocgc(f.h, f.p, 100, NULL, true));
	gcCycle(&f, 1, markNothing, NULL);
	gomem_scavenge(f.h, f.p, ~(uintptr_t)0, true);
	heapFix_done(&f);
}

// ---- stray accesses, made for real

static bool isReported(const void *addr) {
	int fd[2];
	assert_int_equal(pipe(fd), 0);
	fflush(NULL);
	const pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		dup2(fd[1], STDERR_FILENO);
		close(fd[0]);
		*(volatile uint8_t *)(uintptr_t)addr = 1;
		_exit(0);
	}
	close(fd[1]);
	char text[4096];
	size_t n = 0;
	for (ssize_t got; n < sizeof text - 1 && (got = read(fd[0], text + n, sizeof text - 1 - n)) > 0;) {
		n += (size_t)got;
	}
	close(fd[0]);
	text[n] = 0;
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	const bool died = !WIFEXITED(status) || WEXITSTATUS(status) != 0;
	assert_int_equal(died, strstr(text, "use-after-poison") != NULL);
	return died;
}

static void test_strayAccesses(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	const gomem_type big = pointersType(1000);
	uint8_t *small = gomem_mallocgc(f.h, f.p, 100, NULL, true);
	uint8_t *withHeader = gomem_mallocgc(f.h, f.p, 1000, &big, true);
	uint8_t *large = gomem_mallocgc(f.h, f.p, 100000, NULL, true);
	uint8_t *tiny = gomem_mallocgc(f.h, f.p, 5, NULL, true);
	uint8_t *stack = gomem_stackalloc(f.h, f.p, 4096, false);
	assert_false(isReported(small + 99));
	assert_true(isReported(small + 100));                                        // the rest of its slot
	assert_true(isReported(small + 112));                                        // the next slot
	assert_true(isReported((uint8_t *)((uintptr_t)small / 8192 * 8192) + 8191)); // inline mark bits
	assert_false(isReported(withHeader));
	assert_true(isReported(withHeader - 1));
	assert_false(isReported(tiny + 4));
	assert_true(isReported(tiny + 5));
	assert_false(isReported(large + 99999));
	assert_true(isReported(large + 100000));
	assert_false(isReported(stack + 4095));
	gomem_stackfree(f.h, f.p, stack, 4096, false);
	assert_true(isReported(stack));
	gcCycle(&f, 1, markNothing, NULL);
	assert_true(isReported(small));
	assert_true(isReported(large));
	heapFix_done(&f);
}

int main(void) {
	if (!poisonForbids && !poisonUndefines) {
		puts("SKIPPED: no sanitizer is told anything in this build");
		return exitSkipped;
	}
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_everything),
		cmocka_unit_test(test_withoutGreenTea),
		cmocka_unit_test(test_largePhysicalPages),
		cmocka_unit_test(test_ownOS),
		cmocka_unit_test(test_fuzzOS),
		cmocka_unit_test(test_unbacked),
		cmocka_unit_test(test_strayAccesses),
	};
	// Without AddressSanitizer the last one would see nothing.
	const size_t n = sizeof tests / sizeof tests[0] - (poisonForbids ? 0 : 1);
	return _cmocka_run_group_tests("tests", tests, n, NULL, NULL);
}
