// mem.h (layer 1): memory from the operating system, and the four states of an address range.
//
// Ports mem.go. Every range of address space is in one of four states:
//   None      not reserved, not mapped: the default
//   Reserved  owned by the heap, access faults
//   Prepared  reserved and cheap to make ready; access is not defined
//   Ready     may be accessed
// The functions below are the only transitions; memTransition[] (mem.c) is the table, applied by checked builds to
// every call. Sizes and addresses are multiples of the physical page size where the OS needs it.
// Sanitizers are told of heaps that are backed: Prepared is forbidden, Ready allowed until its owner says otherwise. Nothing is left behind in
// memory that is None or Reserved: who takes memory away from the process, the OS layer, sees to that.
//
// Invariants: sysStat of a range counts its bytes from sysAlloc or sysMap until sysFree; mappedReady counts Ready bytes.
#ifndef GOMEM_MEM_H
#define GOMEM_MEM_H

#include "gomem/platform.h"

typedef enum memState { MEM_NONE, MEM_RESERVED, MEM_PREPARED, MEM_READY, MEM_NSTATES } memState;
typedef enum memCall {
	MEM_SYSALLOC,
	MEM_SYSFREE,
	MEM_SYSRESERVE,
	MEM_SYSUNRESERVE,
	MEM_SYSMAP,
	MEM_SYSUSED,
	MEM_SYSUNUSED,
	MEM_SYSFAULT,
	MEM_SYSHUGEPAGE,
	MEM_SYSNOHUGEPAGE,
	MEM_SYSHUGEPAGECOLLAPSE,
	MEM_SYSUNMAP,
	MEM_SYSPOPULATE,
	MEM_SYSUNPOPULATE,
	MEM_NCALLS
} memCall;
// memTransition[call][state]: the state after the call, or MEM_NSTATES where the call is illegal.
extern const uint8_t memTransition[MEM_NCALLS][MEM_NSTATES];
extern const char *const memCallNames[MEM_NCALLS];
extern const char *const memStateNames[MEM_NSTATES];

// What a range of address space is for: simulated systems back metadata with real memory, but not the heap.
typedef enum memUse { MEM_HEAP, MEM_META } memUse;

// The operating system as a struct of functions, at the level of Go's mem_linux.go (sysAllocOS and so on). All return false or NULL on
// failure and set errno; none throws.
struct gomem_os {
	const char *name;           // "linux", "sim"
	uintptr_t physPageSize;     // a power of two, 4 KiB to 512 KiB
	uintptr_t physHugePageSize; // 0: none
	uintptr_t programEnd;       // of it or its break: with 32-bit words the heap begins behind. 0: the first address
	bool backed;                // heap memory handed out can be touched
	bool staysMapped;           // heap memory is always mapped, and the OS tells sanitizers what is not Ready
	bool unusedKeepsContents;   // pages that were unused may still hold what they held (MADV_FREE)
	bool hugePagesNever;        // whoever runs the machine wants none, which hugePageCollapse does not heed
	void *(*alloc)(gomem_os *os, uintptr_t n);                           // None -> Ready, zeroed, anywhere
	void *(*reserve)(gomem_os *os, void *hint, uintptr_t n, memUse use); // None -> Reserved; may return another address
	// None -> Reserved at a multiple of align, only where memory grows at one end (os_isSbrkPlatform). NULL elsewhere: reserve serves.
	void *(*reserveAligned)(gomem_os *os, uintptr_t n, uintptr_t align, memUse use);
	bool (*map)(gomem_os *os, void *v, uintptr_t n);    // Reserved -> Prepared
	bool (*used)(gomem_os *os, void *v, uintptr_t n);   // Prepared -> Ready
	bool (*unused)(gomem_os *os, void *v, uintptr_t n); // Ready -> Prepared
	bool (*fault)(gomem_os *os, void *v, uintptr_t n);  // Ready or Prepared -> Reserved
	bool (*free)(gomem_os *os, void *v, uintptr_t n);   // any -> None
	void (*hugePage)(gomem_os *os, void *v, uintptr_t n);
	void (*noHugePage)(gomem_os *os, void *v, uintptr_t n);
	bool (*hugePageCollapse)(gomem_os *os, void *v, uintptr_t n); // false: the OS had none at hand
	// Heap memory that was never used will be written to soon: the OS may back it at once. Or, not wanted, it will not. NULL: there is nothing of the kind.
	void (*populate)(gomem_os *os, void *v, uintptr_t n, bool wanted);
	void (*flush)(gomem_os *os);        // gives back now what was unused, and kept for a while; may be NULL
	const char *(*check)(gomem_os *os); // NULL, or which of its own invariants does not hold; may be NULL
	void (*destroy)(gomem_os *os);      // may be NULL
};

// os_isSbrkPlatform (Go: isSbrkPlatform): memory is what lies below a break that only rises. A heap there has no hints: nobody can choose places.
static inline bool os_isSbrkPlatform(const gomem_os *os) { return os->reserveAligned != NULL; }

// sysAlloc obtains n bytes of zeroed memory, Ready, counted in stat. NULL if the OS has none. Rounded up to physical pages by the OS only.
void *sysAlloc(gomem_env *env, uintptr_t n, sysMemStat *stat);
void sysUnused(gomem_env *env, void *v, uintptr_t n);
// sysUsed: Prepared -> Ready; prepared is how many of the n bytes were Prepared (the others were Ready already). false: out of memory.
bool sysUsed(gomem_env *env, void *v, uintptr_t n, uintptr_t prepared);
void sysHugePage(gomem_env *env, void *v, uintptr_t n);
void sysNoHugePage(gomem_env *env, void *v, uintptr_t n);
bool sysHugePageCollapse(gomem_env *env, void *v, uintptr_t n);
// sysPopulate says that memory which is Prepared or Ready, and was never used, will be written to soon; sysUnpopulate, of memory that is Prepared, that it
// will not be. Go has no such calls.
void sysPopulate(gomem_env *env, void *v, uintptr_t n);
void sysUnpopulate(gomem_env *env, void *v, uintptr_t n);
// sysFree returns any range, whatever its state, to the OS; stat is lowered by n.
void sysFree(gomem_env *env, void *v, uintptr_t n, sysMemStat *stat);
void sysFault(gomem_env *env, void *v, uintptr_t n);
// sysReserve reserves n bytes, at hint if the OS agrees. NULL if it has none.
void *sysReserve(gomem_env *env, void *hint, uintptr_t n, memUse use);
void sysUnreserve(gomem_env *env, void *v, uintptr_t n);
// sysReserveAligned reserves n bytes at a multiple of align; *size is what was reserved.
void *sysReserveAligned(gomem_env *env, void *hint, uintptr_t n, uintptr_t align, uintptr_t *size, memUse use);
// sysMap: Reserved -> Prepared, counted in stat. false: out of memory.
bool sysMap(gomem_env *env, void *v, uintptr_t n, sysMemStat *stat);
// sysUnmap takes a sysMap back: Prepared -> Reserved. For callers that run out of memory half way; Go has no such call.
void sysUnmap(gomem_env *env, void *v, uintptr_t n, sysMemStat *stat);

// The shadow map of checked builds: NULL env->states switches it off.
gomem_state_map *memStates_new(void);
void memStates_free(gomem_state_map *m);
// memStates_get gives the state of the byte at addr.
memState memStates_get(const gomem_state_map *m, uintptr_t addr);

// mem_linux.c: the process's own memory by mmap, munmap, madvise, mprotect. Page sizes are read from the system.
gomem_os *mem_linux_new(void);
// With fixed_noreplace a reservation at a hint is made exactly there or fails (MAP_FIXED_NOREPLACE).
gomem_os *mem_linux_new_fixed(void);
// Memory is given back by MADV_FREE (Linux 4.5; GODEBUG=madvdontneed=0): the kernel takes it when it needs it, and until then it is there at no cost.
gomem_os *mem_linux_new_free(void);

// mem_fault.c: a system over another one, whose calls fail or are granted elsewhere on request. Counted are alloc, reserve, map and used from
// mem_fault_arm on, and hugePageCollapse.
typedef struct memFaultConfig {
	uint64_t failNth; // the n-th counted call fails (1 = first; 0 = never)
	uint64_t
		moveNth;  // the n-th counted call, if it is alloc or reserve, gets memory elsewhere than it would (0 = never)
	int err;      // errno of a call that fails; 0: ENOMEM
	bool lasting; // all later ones fail too
	void (*hit)(
		void *ctx, const char *call, bool moved); // is told of each fault, on the stack of the call; may be NULL
	void *ctx;
} memFaultConfig;
// mem_fault_new: the inner system is its own, and destroyed with it. NULL: out of memory, and inner is destroyed.
gomem_os *mem_fault_new(gomem_os *inner, const memFaultConfig *cfg);
// mem_fault_arm begins to count again.
void mem_fault_arm(gomem_os *os, const memFaultConfig *cfg);
// mem_fault_calls: counted calls since; mem_fault_hits: faults among them.
uint64_t mem_fault_calls(const gomem_os *os);
uint64_t mem_fault_hits(const gomem_os *os);
// mem_fault_environment reads GOMEM_FAIL_NTH and GOMEM_MOVE_NTH, positive decimal numbers. false: neither is set. Anything else than a number ends
// the program with a message and exit code 2. mem_linux_new and mem_sim_new heed it.
bool mem_fault_environment(memFaultConfig *cfg);

// mem_lag.c: a system over another one, whose memory is real, but no break. Of what is unused, the last limit bytes are kept until they are wanted again, more come,
// or flush is called; the heap counts them as given back. mem_lag_new: the inner system is its own, and destroyed with it. NULL: out of memory,
// and inner is destroyed.
gomem_os *mem_lag_new(gomem_os *inner, uintptr_t limit);
uintptr_t mem_lag_bytes(const gomem_os *os); // kept now

// mem_sim.c: a simulated system. Heap reservations live in a 48-bit address space of its own; metadata is real memory.
typedef struct memSimConfig {
	uintptr_t physPageSize;     // 0: 4096
	uintptr_t physHugePageSize; // 0: none
	bool backed;      // heap memory is real too, at the simulated addresses' own places (then reserve at hints is real)
	uint64_t failNth; // the n-th call that can fail does (1 = first; 0 = never)
	uint64_t moveNth; // the n-th reservation is granted elsewhere (0 = never)
} memSimConfig;
gomem_os *mem_sim_new(const memSimConfig *cfg);
// What the simulated system knows: the state of a byte, how many bytes are in a state, and how many calls were made that can fail
// (alloc, reserve, map and used: what failNth counts).
memState mem_sim_state(const gomem_os *os, uintptr_t addr);
uint64_t mem_sim_bytes(const gomem_os *os, memUse use, memState s);
uint64_t mem_sim_calls(const gomem_os *os);
// A reserved range is refused from now on, as if somebody else had it.
bool mem_sim_occupy(gomem_os *os, uintptr_t addr, uintptr_t n);

// A linear memory: addresses from start on, of which those below the system's break can be used. The break only rises.
// What it gives is zero.
typedef struct memLinear memLinear;
struct memLinear {
	const char *name;
	uintptr_t physPageSize;
	uintptr_t start;                           // Go: the end of the program's data
	uintptr_t brk;                             // the system's break, >= start
	bool (*grow)(memLinear *m, uintptr_t brk); // raises the break. false: errno, and why stands in refusal
	void (*destroy)(memLinear *m);
	char refusal[160]; // why the last growth that was refused was; empty: none was
};

// mem_linear.c: a simulated linear memory, which is real memory at any place, and the process's own break.
typedef struct memLinearConfig {
	uintptr_t physPageSize; // 0: 4096. WebAssembly has 65536
	uintptr_t start;        // 0: where there is room
	uintptr_t limit;        // bytes that it can have; 0: 16 GiB, of 32-bit addresses 512 MiB
	uintptr_t initial;      // bytes that it has from the beginning
	uint64_t failNth;       // the n-th growth is refused (0 = never)
} memLinearConfig;
memLinear *memLinear_sim(const memLinearConfig *cfg);
// memLinear_process takes the process's break (sbrk(2)) until it is destroyed. NULL and errno EBUSY: somebody has it. Nobody else may move the
// break meanwhile: the next growth is refused then. malloc of glibc moves it, unless mallopt(M_MMAP_THRESHOLD, 0) says otherwise.
memLinear *memLinear_process(void);

// mem_sbrk.c: memory from a break, as on Plan 9 and WebAssembly, whose owner m becomes. NULL m gives NULL.
gomem_os *mem_sbrk_new(memLinear *m);
uintptr_t mem_sbrk_bloc(const gomem_os *os);      // the break as the heap sees it: the memory that it uses ends here
const char *mem_sbrk_refusal(const gomem_os *os); // why memory was last refused; empty: it never was
const char *mem_sbrk_checkContents(const gomem_os *os); // the system's own check, and: free memory is zero. Slow

#endif
