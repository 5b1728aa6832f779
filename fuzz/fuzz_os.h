// fuzz_os.h: the operating system that fuzz targets give a heap: fast to begin again, and the program's to command.
//
// All memory comes from a few ranges that are mapped once for the process, so that a run makes no system call but to give
// pages back. A call can be made to fail, a reservation to be granted elsewhere. What is asked for heap memory is logged, so that a model
// can be asked for the same.
//
// It can also be one of those where memory comes from a break: then gomem/mem_sbrk.c serves, over a linear memory of this file, and each
// place that it gives, of metadata as well, is compared with oracle/linear.c.
//
// Invariants: memory given out is zero; a range is in one of the states of mem.h, kept by the heap's own map in checked heaps; heap memory
// that no heap has made Ready faults, or is forbidden to sanitizers (gomem/poison.h), before begin and after it alike.
#ifndef GOMEM_FUZZ_OS_H
#define GOMEM_FUZZ_OS_H

#include "gomem/mem.h"
#include "gomem/poison.h"

typedef struct fuzz_os_config {
	uintptr_t physPageSize;     // 0: 4096
	uintptr_t physHugePageSize; // 0: none
	bool backed;                // heap memory can be touched; then hints are granted only near FUZZ_OS_BASE
	bool unusedKeepsContents;
	uint64_t lowest, highest; // unbacked: addresses that reservations can have; 0, 0: 47 bits
	// Not NULL: memory comes from a break, and what was unused keeps its contents. The target gives mem_sbrk_new of its own variant of the
	// library. Unbacked, the memory is there as well, but the heap does not touch its own.
	gomem_os *(*sbrk)(memLinear *m);
	bool wide; // the break begins where there is room for the tables of 48 bits of addresses
} fuzz_os_config;

// Where linear memory lies: low, for layouts of 32-bit addresses. AddressSanitizer leaves to programs what is below 2 GiB.
enum {
	fuzzWideWords = sizeof(uintptr_t) == 8
}; // else all of this lies within 4 GiB, where a program and its mappings are not
static const uint64_t FUZZ_OS_LINEAR = 0x10000000, FUZZ_OS_LINEAR_END = fuzzWideWords ? 0x70000000 : 0x28000000;
// Where wide linear memory lies: MemorySanitizer leaves to programs what is below 2^40.
static const uint64_t FUZZ_OS_WIDE = !fuzzWideWords ? 0x28000000
	: poisonUndefines                               ? 0x2200000000u
													: 0x280200000000u,
					  FUZZ_OS_WIDE_BYTES = fuzzWideWords ? (uint64_t)6 << 30 : 0x8000000;

// With a random seed whose upper 20 bits are these, the heap's first hints lie where fuzz_os can back them: from FUZZ_OS_BASE +
// 0x20000000 on. MemorySanitizer leaves to programs only what lies below 2^40 of the addresses that Go asks for.
static const uint64_t FUZZ_OS_BASE = !fuzzWideWords ? 0x80000000u : poisonUndefines ? 0x4000000000u : 0x200000000000u;
static const uint64_t FUZZ_OS_SEED = (uint64_t)(poisonUndefines ? 0x01008 : 0x80008) << 44;

// fuzz_os_begin gives the system, as if new: nothing is mapped, nothing fails. There is one; what it gave before is gone.
gomem_os *fuzz_os_begin(const fuzz_os_config *cfg);
// The n-th call from now on that can fail fails (1: the next; 0: none), and so do the `more` calls after it.
void fuzz_os_fail(uint64_t n, uint64_t more);
// The n-th reservation of heap memory from now on is granted elsewhere (1: the next; 0: none), and so are the `more` after it.
void fuzz_os_move(uint64_t n, uint64_t more);
uint64_t fuzz_os_failed(void); // calls that failed since begin
uint64_t fuzz_os_break(void);  // where the break should be
uint64_t fuzz_os_placed(void); // places from a break that were compared, since begin
uint64_t fuzz_os_held(void);   // bytes that were given out and not given back: 0 when a heap is gone

// What the heap asked for its own memory (not for metadata), in order.
typedef enum fuzz_os_kind {
	FUZZ_OS_RESERVE,
	FUZZ_OS_UNRESERVE,
	FUZZ_OS_MAP,
	FUZZ_OS_USED,
	FUZZ_OS_UNUSED,
	FUZZ_OS_FAULT,
	FUZZ_OS_RESERVE_ALIGNED
} fuzz_os_kind;
typedef struct fuzz_os_call {
	fuzz_os_kind kind;
	uint64_t addr, n; // reserve: the hint; aligned: the alignment
	uint64_t got;     // reserve: the address granted, 0: none; the others: 1 done, 0 refused
	unsigned caller;
} fuzz_os_call;
// fuzz_os_caller names who makes the calls from now on; 0 at begin.
void fuzz_os_caller(unsigned caller);
// fuzz_os_log gives the calls since the last fuzz_os_forget; valid until the next call of the system.
const fuzz_os_call *fuzz_os_log(size_t *n);
void fuzz_os_forget(void);

#endif
