// explain.h: what `gomem explain` sees of a heap at work, in order, and the words to tell it.
//
// A *log* is told of each step: the heap's decisions (gomem/lab.h), the summaries that a search reads, what is asked of the operating system,
// and the system calls that were made for it. It keeps what it was told, with the state that goes with it at that moment, so that nothing is
// printed that was not seen.
#ifndef GOMEM_CLI_EXPLAIN_H
#define GOMEM_CLI_EXPLAIN_H

#include "gomem/mbitmap.h"
#include "gomem/mcache.h"
#include "gomem/memintervals.h"

typedef enum itemKind { ITEM_EVENT, ITEM_LOOK, ITEM_OS, ITEM_SYSCALL } itemKind;
typedef enum sysCall { SYSCALL_MMAP, SYSCALL_MUNMAP, SYSCALL_MADVISE, SYSCALL_MPROTECT } sysCall;

typedef struct item {
	itemKind kind;
	gomem_ev ev;         // ITEM_EVENT
	uint64_t a, b, c, d; // of an event; ITEM_LOOK: level, entry, sum
	uintptr_t spanBase;  // of the span that an event names
	uint32_t spanGen, heapGen;
	memCall call;          // ITEM_OS
	memState before, then; // the states of its range
	bool mixed;            // it had several before
	sysCall nr;            // ITEM_SYSCALL
	int prot, flags;       // flags, or what madvise advises
	uintptr_t asked, at;   // ITEM_OS, ITEM_SYSCALL: the address that was asked for or named, and that granted
	uint64_t n;            // bytes; of EV_PGROW: scavenged pages
	bool ok;
} item;

enum { maxItems = 1 << 16, maxMeta = 256 };

// Memory outside of the heap: where it lies is the kernel's choice. It gets a number.
typedef struct metaRange {
	uintptr_t at;
	uint64_t n;
} metaRange;

typedef struct explainLog {
	item items[maxItems];
	unsigned n;
	bool full; // there was no room for more
	mheap *h;  // once it was made
	metaRange meta[maxMeta];
	unsigned nmeta;
	gomem_os os; // over inner, and of what it is told
	gomem_os *inner;
	memIntervals *states; // as the calls left them, by the table in gomem/mem.c
	uintptr_t brk;        // simulated systems grant what has no place of its own from here on
	gomem_lab lab;
} explainLog;

// explain_os.c. false: out of memory, or the system has none. real: the process's own memory, else a simulated one for the layout.
bool explainLog_init(explainLog *log, const gomem_layout *L, bool real);
void explainLog_destroy(explainLog *log);
// explainLog_add gives room for one more thing; never NULL.
item *explainLog_add(explainLog *log, itemKind kind);
// explainLog_meta gives the number, from 1 on, of the metadata that addr lies in; 0: none.
unsigned explainLog_meta(const explainLog *log, uintptr_t addr, uint64_t *offset);
// explainLog_check: NULL, or how the heap's own map of states differs from the states that were seen here.
const char *explainLog_check(const explainLog *log);

// explain_words.c: lines of output, and the words in them that need one.
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
void sayWords(void); // a line for each word that was used

// explain_tell.c
typedef struct counts {
	unsigned decisions, lists, summaries, osCalls, syscalls;
} counts;
counts tellItems(explainLog *log, unsigned from, unsigned to);
const char *addrText(const explainLog *log, uintptr_t addr); // valid until the fourth call after
const char *bytesText(uint64_t n);                           // alike
const char *binaryText(uint64_t v, unsigned bits);           // alike

#endif
