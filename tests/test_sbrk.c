// test_sbrk.c: memory from a break: where reservations go, the free list, what the system refuses, and whole heaps on it.
//
// Witness: Go's mem_sbrk.go, read by hand: each place below is what its rules give. fuzz_mem compares with oracle/linear.c.
#include "memtest.h"

#include <errno.h>
#include <malloc.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "gomem/mheap.h"

enum { KiB = 1024, MiB = 1024 * KiB, page = 4 * KiB };

static gomem_os *newSbrk(memLinearConfig cfg) {
	gomem_os *os = mem_sbrk_new(memLinear_sim(&cfg));
	assert_non_null(os);
	return os;
}

static void assertGood(gomem_os *os) {
	const char *bad = mem_sbrk_checkContents(os);
	if (bad != NULL) {
		fail_msg("%s", bad);
	}
}

static void assertAt(gomem_os *os, const void *p, const void *start, uintptr_t pages) {
	assertGood(os);
	assert_ptr_equal(p, (const unsigned char *)start + pages * page);
}

// Places at a break of 4 KiB pages: written as page numbers from the start.
static void TestPlaces(void **state) {
	(void)state;
	gomem_os *os = newSbrk((memLinearConfig){0});
	unsigned char *const start = (unsigned char *)mem_sbrk_bloc(os);
	assertAt(os, os->alloc(os, 100), start, 0);
	assertAt(os, os->alloc(os, 8 * page), start, 1);
	assertAt(os, os->reserve(os, NULL, page + 1, MEM_META), start, 9);
	memset(start, 7, 11 * page);
	// The lowest block that is large enough, and its end.
	os->free(os, start + page, 8 * page);
	assertAt(os, os->alloc(os, 2 * page), start, 7);
	assertAt(os, os->reserve(os, NULL, 7 * page, MEM_HEAP), start, 11);
	assertAt(os, os->alloc(os, 6 * page), start, 1);
	assertAt(os, os->alloc(os, page), start, 18);
	// Blocks join with the one before and the one behind.
	os->free(os, start + page, page);
	os->free(os, start + 3 * page, page);
	assertAt(os, os->alloc(os, 2 * page), start, 19);
	os->free(os, start + 2 * page, page);
	assertAt(os, os->alloc(os, 3 * page), start, 1);
	// What ends at the break lowers it; but only if it is said to end there.
	os->free(os, start + 19 * page, 2 * page);
	assert_ptr_equal((void *)mem_sbrk_bloc(os), start + 19 * page);
	os->free(os, start + 18 * page, 100);
	assert_ptr_equal((void *)mem_sbrk_bloc(os), start + 19 * page);
	assertAt(os, os->alloc(os, 2 * page), start, 19);
	assertAt(os, os->alloc(os, page), start, 18);
	os->destroy(os);
}

static void TestHints(void **state) {
	(void)state;
	gomem_os *os = newSbrk((memLinearConfig){0});
	unsigned char *const start = (unsigned char *)mem_sbrk_bloc(os);
	assertAt(os, os->reserve(os, start, page, MEM_HEAP), start, 0);
	assert_null(os->reserve(os, start, page, MEM_HEAP));            // taken
	assert_null(os->reserve(os, start + 2 * page, page, MEM_HEAP)); // not at the break
	assertAt(os, os->reserve(os, start + page, 3 * page, MEM_HEAP), start, 1);
	os->free(os, start, page);
	assert_null(os->reserve(os, start, page, MEM_HEAP)); // free, but not at the break
	assertAt(os, os->reserve(os, start + 4 * page, page, MEM_HEAP), start, 4);
	os->destroy(os);
}

static void TestAligned(void **state) {
	(void)state;
	onlyWide("it names places of 48-bit addresses");
	// Starts one page past a multiple of 16 pages.
	gomem_os *os = newSbrk((memLinearConfig){.start = (uintptr_t)0x300000001000});
	unsigned char *const start = (unsigned char *)mem_sbrk_bloc(os);
	assert_int_equal((uintptr_t)start, 0x300000001000);
	assertAt(os, os->reserveAligned(os, 4 * page, 16 * page, MEM_HEAP), start, 15);
	assert_ptr_equal((void *)mem_sbrk_bloc(os), start + 19 * page);
	assertAt(os, os->alloc(os, page), start, 14); // what was skipped is free
	// 14 pages free: too few for 2 + 16, so the break rises; enough for 2 + 4, of whose end the aligned part is taken.
	assertAt(os, os->reserveAligned(os, 2 * page, 16 * page, MEM_HEAP), start, 31);
	assertAt(os, os->reserveAligned(os, 2 * page, 4 * page, MEM_HEAP), start, 11);
	assertAt(os, os->alloc(os, 11 * page), start, 0); // head: pages 8, 9 and 10 joined 0 to 7
	assertAt(os, os->alloc(os, page), start, 13);     // tail
	assertAt(os, os->reserveAligned(os, page, page, MEM_HEAP), start,
		29); // the end of the two that end the gap: the first is given back
	errno = 0;
	assert_null(os->reserveAligned(os, page + 1, 16 * page, MEM_HEAP));
	assert_int_equal(errno, EINVAL);
	os->destroy(os);
}

static void hintAtSbrk(void *arg) {
	memFix *f = arg;
	uintptr_t size;
	sysReserveAligned(&f->env, (void *)(uintptr_t)page, page, page, &size, MEM_HEAP);
}

static void TestAlignedHintThrows(void **state) {
	(void)state;
	memFix f;
	memFix_init(&f, newSbrk((memLinearConfig){0}));
	assert_true(memFix_throws(&f, hintAtSbrk, &f));
	assert_string_equal(f.msg, "unexpected heap arena hint on sbrk platform");
	memFix_done(&f);
}

// WebAssembly: pages of 64 KiB, and memory that is there from the beginning.
static void TestWasmPages(void **state) {
	(void)state;
	enum { wasmPage = 64 * KiB };
	memLinear *m = memLinear_sim(&(memLinearConfig){
		.physPageSize = wasmPage, .start = 0x10000000, .limit = 4 * wasmPage, .initial = 2 * wasmPage});
	gomem_os *os = mem_sbrk_new(m);
	assert_non_null(os);
	assert_int_equal(mem_sbrk_bloc(os), 0x10000000);
	assert_int_equal(m->brk, 0x10000000 + 2 * wasmPage);
	assert_int_equal((uintptr_t)os->alloc(os, 1), 0x10000000);
	assert_int_equal((uintptr_t)os->alloc(os, 1), 0x10000000 + wasmPage);
	assert_int_equal(m->brk, 0x10000000 + 2 * wasmPage);
	assert_int_equal((uintptr_t)os->alloc(os, 1), 0x10000000 + 2 * wasmPage);
	assert_int_equal(m->brk, 0x10000000 + 3 * wasmPage);
	assert_string_equal(mem_sbrk_refusal(os), "");
	errno = 0;
	assert_null(os->alloc(os, 2 * wasmPage));
	assert_int_equal(errno, ENOMEM);
	assert_string_equal(mem_sbrk_refusal(os), "the linear memory ends (end, wanted): 0x10040000, 0x10050000");
	assert_int_equal((uintptr_t)os->alloc(os, wasmPage), 0x10000000 + 3 * wasmPage);
	assertGood(os);
	os->destroy(os);
}

static void TestRefusals(void **state) {
	(void)state;
	gomem_os *os = newSbrk((memLinearConfig){.failNth = 2});
	unsigned char *const start = (unsigned char *)mem_sbrk_bloc(os);
	assertAt(os, os->alloc(os, page), start, 0);
	assert_null(os->alloc(os, page));
	assert_non_null(strstr(mem_sbrk_refusal(os), "was told to refuse"));
	assertAt(os, os->alloc(os, page), start, 1);
	static const uintptr_t sizes[] = {0, UINTPTR_MAX, UINTPTR_MAX - page, (uintptr_t)((uint64_t)1 << 62)};
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		errno = 0;
		assert_null(os->alloc(os, sizes[i]));
		assert_int_equal(errno, sizes[i] == 0 ? EINVAL : ENOMEM);
		assert_null(os->reserve(os, NULL, sizes[i], MEM_HEAP));
		assert_null(os->reserve(os, start + 2 * page, sizes[i], MEM_HEAP));
		assert_null(os->reserveAligned(os, sizes[i] & ~(uintptr_t)(page - 1), page, MEM_HEAP));
	}
	assertAt(os, os->alloc(os, page), start, 2);
	os->destroy(os);
	static const memLinearConfig bad[] = {
		{.physPageSize = 2048},
		{.physPageSize = 12288},
		{.physPageSize = 1 << 20},
		{.start = 4097},
		{.limit = 100},
		{.initial = 100},
		{.limit = page, .initial = 2 * page},
		{.limit = UINTPTR_MAX},
	};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		errno = 0;
		assert_null(mem_sbrk_new(memLinear_sim(&bad[i])));
		assert_int_equal(errno, EINVAL);
	}
	errno = 0;
	assert_null(
		memLinear_sim(&(memLinearConfig){.start = (uintptr_t)state & ~(uintptr_t)(page - 1)})); // the stack is there
	assert_int_equal(errno, wideWords ? EEXIST : EINVAL); // of 32-bit addresses the lowest quarter is allowed
}

// Memory given back is zero when it is handed out again, however large, and wherever it stood.
static void TestZeroed(void **state) {
	(void)state;
	gomem_os *os = newSbrk((memLinearConfig){0});
	static const uintptr_t sizes[] = {page, 64 * KiB, 256 * KiB, 257 * KiB + 1, 4 * MiB};
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		unsigned char *p = os->alloc(os, sizes[i]), *q = os->alloc(os, page);
		memset(p, 0xff, sizes[i]);
		memset(q, 0xff, page);
		os->free(os, p, sizes[i]);
		assertGood(os);
		os->free(os, q, page);
		assertGood(os);
		assert_true(p[0] == 0 || sizes[i] > page); // the header of a block is there
		unsigned char *again = os->alloc(os, sizes[i]);
		assert_true(again[0] == 0 && memcmp(again, again + 1, sizes[i] - 1) == 0);
		os->free(os, again, sizes[i]);
	}
	os->destroy(os);
}

// ---- the list's own check

static void TestCheckBites(void **state) {
	(void)state;
	static const struct {
		const char *want;
		uintptr_t at, next, size; // pages; next: from the start, 0: as it is
		uintptr_t byte;           // 0: the header is changed, else the byte at this offset
	} cases[] = {
		{"mem: infinite loop", 1, 1, 1, 0},
		{"mem: unordered list, or overlapping blocks", 3, 1, 1, 0},
		{"mem: unordered list, or overlapping blocks", 1, 3, 3, 0},
		{"mem: neighbours that are not one block", 1, 3, 2, 0},
		{"mem: bad size of a block", 1, 3, 0, 0},
		{"mem: bad size of a block", 3, 0, 9, 0},
		{"mem: block outside of memory", 3, 900, 1, 0},
		{"mem: uninitialised memory", 1, 0, 0, 77},
		{"mem: uninitialised memory above the break", 5, 0, 0, 5},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		gomem_os *os = newSbrk((memLinearConfig){0});
		unsigned char *const start = os->alloc(os, 6 * page);
		os->free(os, start + page, page);
		os->free(os, start + 3 * page, page);
		os->free(os, start + 5 * page, page);
		assertGood(os);
		unsigned char *at = start + cases[i].at * page;
		if (cases[i].byte != 0) {
			at[cases[i].byte] = 1;
			assert_null(os->check(os));
		} else {
			const uintptr_t next = cases[i].next == 0 ? 0 : (uintptr_t)start + cases[i].next * page,
							size = cases[i].size * page;
			memcpy(at, &next, sizeof next);
			memcpy(at + sizeof next, &size, sizeof size);
		}
		assert_string_equal(mem_sbrk_checkContents(os), cases[i].want);
		os->destroy(os);
	}
}

static void reserveOne(void *arg) {
	memFix *f = arg;
	sysReserve(&f->env, NULL, page, MEM_HEAP);
}

// In a heap with checks a list that was written over throws at the next call.
static void TestCheckedHeapsThrow(void **state) {
	(void)state;
	memFix f;
	memFix_init(&f, newSbrk((memLinearConfig){0}));
	unsigned char *p = sysReserve(&f.env, NULL, 4 * page, MEM_HEAP);
	sysUnreserve(&f.env, p + page, page);
	const uintptr_t self = (uintptr_t)p + page;
	memcpy(p + page, &self, sizeof self); // the next block is the block itself
	assert_true(memFix_throws(&f, reserveOne, &f));
	assert_string_equal(f.msg, "mem: bad size of a block");
	memFix_done(&f);
}

// ---- the process's break

static void *breakNow(void) { return (void *)syscall(SYS_brk, 0); }

static void TestProcessBreak(void **state) {
	(void)state;
	void *const before = breakNow();
	gomem_os *os = mem_sbrk_new(memLinear_process());
	assert_non_null(os);
	errno = 0;
	assert_null(memLinear_process()); // one at a time
	assert_int_equal(errno, EBUSY);
	unsigned char *p = os->alloc(os, MiB);
	assert_true((void *)p >= before && (unsigned char *)before + page > p);
	assert_ptr_equal(breakNow(), p + MiB);
	memset(p, 1, MiB);
	os->free(os, p, MiB);
	assert_ptr_equal(breakNow(), p + MiB); // the system's break does not sink
	assert_ptr_equal(os->alloc(os, MiB), p);
	assert_int_equal(p[MiB - 1], 0);
	os->destroy(os);
	assert_true((unsigned char *)breakNow() - (unsigned char *)before < page);
	os = mem_sbrk_new(memLinear_process());
	assert_non_null(os);
	os->destroy(os);
}

// move moves the break behind the heap's back: through libc, or past it.
static void move(bool raw, intptr_t n) {
	if (raw) {
		void *const want = (unsigned char *)breakNow() + n;
		assert_ptr_equal((void *)syscall(SYS_brk, want), want);
	} else {
		assert_ptr_not_equal(sbrk(n), (void *)-1);
	}
}

static void TestBreakMoved(void **state) {
	(void)state;
	for (int raw = 0; raw < 2; raw++) {
		gomem_os *os = mem_sbrk_new(memLinear_process());
		assert_non_null(os);
		unsigned char *p = os->alloc(os, 4 * page);
		os->free(os, p + page, page);
		move(raw, page);
		unsigned char *theirs = p + 4 * page;
		theirs[0] = 42;
		assert_ptr_equal(os->alloc(os, page), p + page); // what is there already goes on serving
		assert_string_equal(mem_sbrk_refusal(os), "");
		errno = 0;
		assert_null(os->alloc(os, page));
		assert_int_equal(errno, EBUSY);
		char want[160];
		snprintf(want, sizeof want, "somebody else moved the process's break (left at, found at): %#llx, %#llx",
			(unsigned long long)(uintptr_t)theirs, (unsigned long long)(uintptr_t)theirs + page);
		assert_string_equal(mem_sbrk_refusal(os), want);
		assert_null(os->reserveAligned(os, page, 16 * page, MEM_HEAP));
		assert_int_equal(theirs[0], 42);
		move(raw, -page); // moved back: it goes on
		assert_ptr_equal(os->alloc(os, page), theirs);
		assert_int_equal(theirs[0], 0);
		move(raw, page);
		os->destroy(os); // what lies above is somebody else's, and stays
		assert_ptr_equal(breakNow(), theirs + 2 * page);
		move(raw, -(intptr_t)(6 * page));
	}
}

// ---- whole heaps

static void thrown(void *ctx, const char *msg) {
	(void)ctx;
	fail_msg("unexpected throw: %s", msg);
	abort();
}

static gomem_heap *newHeap(gomem_os *os) {
	gomem_heap *h = gomem_heap_new(&(gomem_config){.os = os, .checked = true, .throw_hook = thrown});
	if (h == NULL) {
		fail_msg("no heap: %s", mem_sbrk_refusal(os));
	}
	return h;
}

static uintptr_t spanBase(gomem_heap *h, const void *p) {
	gomem_span_info info;
	assert_true(gomem_spanOf(h, (uintptr_t)p, &info));
	return info.base;
}

// A program that fills spans, lets every other object die, and allocates again.
static void runProgram(gomem_heap *h) {
	enum { objects = 4000 };
	static void *live[objects];
	gomem_p *p = gomem_heap_p(h, 0);
	for (int round = 0; round < 3; round++) {
		for (int i = round == 0 ? 0 : 1; i < objects; i += round == 0 ? 1 : 2) {
			const uintptr_t size = 16u << (i % 9);
			live[i] = gomem_mallocgc(h, p, size, NULL, true);
			assert_non_null(live[i]);
			assert_true(((char *)live[i])[0] == 0 && ((char *)live[i])[size - 1] == 0);
			memset(live[i], i, size);
		}
		gomem_finishsweep(h, p);
		gomem_setGCPhase(h, 1);
		for (int i = 0; i < objects; i += 2) {
			assert_true(gomem_mark(h, live[i]));
		}
		gomem_setGCPhase(h, 2);
		gomem_setGCPhase(h, 0);
		gomem_startsweep(h);
		gomem_prepareForSweep(h, p);
		while (gomem_sweepone(h, p) != ~(uintptr_t)0) {
		}
		gomem_scavenge(h, p, UINTPTR_MAX, true);
		for (int i = 0; i < objects; i += 2) {
			assert_int_equal(((unsigned char *)live[i])[0], (unsigned char)i);
		}
		assert_null(gomem_heap_check(h));
	}
}

static void checkHeap(gomem_os *os) {
	assert_non_null(os);
	const uintptr_t before = mem_sbrk_bloc(os);
	gomem_heap *h = newHeap(os);
	assert_null(h->arenaHints); // as in Go: nobody can choose places
	const uintptr_t first = mem_sbrk_bloc(os);
	assert_true(first > before);
	const uintptr_t arena = (uintptr_t)h->env.layout->heapArenaBytes;
	void *obj = gomem_mallocgc(h, gomem_heap_p(h, 0), 100, NULL, true);
	// The first arena stands at the first multiple of its size that the break came to; no random offset, no padding.
	assert_int_equal(spanBase(h, obj) % arena, 0);
	runProgram(h);
	// The next arena: at the break if that is where the last one ends (nothing was taken since), else aligned anew.
	const uintptr_t end = mem_sbrk_bloc(os);
	void *large = gomem_mallocgc(h, gomem_heap_p(h, 0), arena, NULL, false);
	assert_non_null(large);
	assert_true(spanBase(h, large) < end || spanBase(h, large) % (4 * MiB) == 0);
	assert_null(gomem_heap_check(h));
	assert_null(os->check(os));
	gomem_heap_destroy(h);
	assertGood(os);
	// All was given back: one block from the start to the break, or nothing at all.
	void *all = os->alloc(os, mem_sbrk_bloc(os) > before ? mem_sbrk_bloc(os) - before : page);
	assert_int_equal((uintptr_t)all, before);
	os->destroy(os);
}

static void TestHeapLinear(void **state) {
	(void)state;
	checkHeap(newSbrk((memLinearConfig){0}));
	checkHeap(newSbrk((memLinearConfig){.physPageSize = 64 * KiB}));
}

// needHeapsBreak skips the test where the system does not raise the break by a heap's arena: qemu-user puts the program's libraries behind it.
static void needHeapsBreak(void) {
	if (sbrk(2 * 64 * MiB) == (void *)-1) {
		print_message("skipped: the system does not raise the process's break by 128 MiB\n");
		skip();
	}
	assert_ptr_not_equal(sbrk(-2 * 64 * MiB), (void *)-1);
}

static void TestHeapProcessBreak(void **state) {
	(void)state;
	needHeapsBreak();
	checkHeap(mem_sbrk_new(memLinear_process()));
}

// Out of memory at each growth of the break in turn: no call is left half done.
static void TestHeapOutOfMemory(void **state) {
	(void)state;
	int refused = 0;
	for (uint64_t nth = 1;; nth++) {
		gomem_os *os = newSbrk((memLinearConfig){.failNth = nth});
		gomem_heap *h = gomem_heap_new(&(gomem_config){.os = os, .checked = true, .throw_hook = thrown});
		for (int i = 0; h != NULL && i < 4; i++) {
			if (gomem_mallocgc(h, gomem_heap_p(h, 0), 30 * MiB, NULL, false) == NULL) {
				assert_int_equal(errno, ENOMEM);
			}
			assert_null(gomem_heap_check(h));
		}
		const bool done = mem_sbrk_refusal(os)[0] == 0;
		gomem_heap_destroy(h);
		assertGood(os);
		os->destroy(os);
		if (done) {
			break;
		}
		refused++;
	}
	assert_true(refused > 5);
}

// A heap whose break was moved reports that it has no memory, and why.
static void TestHeapBreakMoved(void **state) {
	(void)state;
	needHeapsBreak();
	gomem_os *os = mem_sbrk_new(memLinear_process());
	gomem_heap *h = newHeap(os);
	assert_non_null(gomem_mallocgc(h, gomem_heap_p(h, 0), 100, NULL, true));
	move(false, page);
	errno = 0;
	assert_null(gomem_mallocgc(h, gomem_heap_p(h, 0), 128 * MiB, NULL, false));
	assert_int_equal(errno, ENOMEM);
	assert_non_null(strstr(mem_sbrk_refusal(os), "somebody else moved the process's break"));
	assert_non_null(gomem_mallocgc(h, gomem_heap_p(h, 0), 100, NULL, true)); // from the arena that there is
	assert_null(gomem_heap_check(h));
	gomem_heap_destroy(h);
	os->destroy(os);
}

int main(void) {
	mallopt(M_MMAP_THRESHOLD, 0); // the process's break is the tests'
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(TestPlaces),
		cmocka_unit_test(TestHints),
		cmocka_unit_test(TestAligned),
		cmocka_unit_test(TestAlignedHintThrows),
		cmocka_unit_test(TestWasmPages),
		cmocka_unit_test(TestRefusals),
		cmocka_unit_test(TestZeroed),
		cmocka_unit_test(TestCheckBites),
		cmocka_unit_test(TestCheckedHeapsThrow),
		cmocka_unit_test(TestProcessBreak),
		cmocka_unit_test(TestBreakMoved),
		cmocka_unit_test(TestHeapLinear),
		cmocka_unit_test(TestHeapProcessBreak),
		cmocka_unit_test(TestHeapOutOfMemory),
		cmocka_unit_test(TestHeapBreakMoved),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
