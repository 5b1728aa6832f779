// explain_words.c: the output of `gomem explain`, and one line for each word of Go's in it.
//
// Each line that is printed is searched for the words below; those found, and those in their own lines, are told at the end.
#include "cli/explain.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>

typedef struct term {
	const char *word, *what;
	bool used;
} term;

static term words[] = {
	{"allocBits", "one bit for each slot of a span: taken when the last sweep ended", false},
	{"allocCache",
		"64 bits of a span, from freeindex on, inverted: 1 is a free slot; the next one is found by counting zeros",
		false},
	{"allocCount", "how many slots of a span are taken", false},
	{"arena",
		"a naturally aligned piece of address space (64 MiB on most 64-bit platforms) with one heapArena of metadata",
		false},
	{"arena hint", "an address where the heap would like its next arena to be", false},
	{"arena index", "the table that finds the heapArena of an address, in one level or two (L1, L2)", false},
	{"bitmap", "of a chunk: one bit for each page, 1 is in use; another one says which are scavenged", false},
	{"chunk", "512 pages (64 on WebAssembly) with a bitmap: the leaves of the radix tree", false},
	{"freeindex", "where in a span the search for a free slot goes on; slots before it are taken", false},
	{"full", "of an mcentral: the set of its spans without a free slot", false},
	{"go1.26", "the release of Go whose allocator this is", false},
	{"GOMAXPROCS", "how many Ps a Go program has", false},
	{"Green Tea", "Go's collector since go1.26: it marks small objects by whole spans", false},
	{"huge page", "a physical page of 2 MiB or so: fewer entries in the machine's tables", false},
	{"largeType", "of the span of a large object with pointers: the address of its type", false},
	{"PROT_NONE", "of mmap: nothing may be done with the memory; address space only", false},
	{"PROT_READ", "of mmap: the memory may be read", false},
	{"PROT_WRITE", "of mmap: the memory may be written", false},
	{"MAP_ANONYMOUS", "of mmap: no file stands behind it; it is zero at first", false},
	{"MAP_FIXED", "of mmap: exactly there, in place of what was mapped there", false},
	{"MAP_NORESERVE", "of mmap: no swap space is set aside", false},
	{"MAP_PRIVATE", "of mmap: other processes do not see it", false},
	{"MADV_DONTNEED", "of madvise: the memory behind it may go; a later touch finds zeros", false},
	{"MADV_NOHUGEPAGE", "of madvise: no huge pages", false},
	{"MADV_HUGEPAGE", "of madvise: huge pages are welcome", false},
	{"MADV_COLLAPSE", "of madvise: huge pages now", false},
	{"unsafe.Pointer", "Go's type of a pointer to anything: one word", false},
	{"GC", "garbage collection: mark what can be reached, sweep the rest", false},
	{"heap bits",
		"one bit for each word of a span: it holds a pointer. At the end of the span, if its objects are small", false},
	{"heapArena", "metadata of an arena: the span of each page, which pages are in use, where it was never used",
		false},
	{"header",
		"of an object with pointers that is too large for heap bits: the word before it, which holds the address of its type",
		false},
	{"inline mark bits",
		"128 bytes at the end of a span of small objects, which Green Tea, the collector of go1.26, marks in", false},
	{"large object", "one that no size class holds: it has a span of its own", false},
	{"lab", "a build of the library that reports its decisions", false},
	{"mark", "the first half of a GC: find what can be reached, and set its mark bit", false},
	{"mark bit", "one for each slot: the object can be reached. The sweep makes allocBits of them", false},
	{"mcache", "a P's own spans, one for each span class: allocation from them needs no lock", false},
	{"mcentral", "the spans of one span class that no P has: sets of partial and full ones, swept and unswept each",
		false},
	{"metadata", "memory of the allocator itself, outside of the heap", false},
	{"mspan", "the structure that describes a span", false},
	{"needzero", "of a span: its memory may hold something, so objects must be cleared", false},
	{"noscan", "without pointers: the collector does not look inside", false},
	{"None", "memory state: not ours", false},
	{"P",
		"Go's processor, as many as GOMAXPROCS: what a thread needs to run Go code; it owns an mcache and a page cache",
		false},
	{"padding pages", "pages at the first arena's beginning that are never used: the heap's place cannot be guessed",
		false},
	{"page", "8 KiB: what the heap counts in; the operating system's physical pages may be smaller or larger", false},
	{"page cache", "64 pages that a P owns, so that it can take some without the heap's lock", false},
	{"page heap", "all pages that the heap has: bitmaps by chunk under a radix tree", false},
	{"partial", "of an mcentral: the set of its spans with a free slot", false},
	{"physical page", "the operating system's unit of memory", false},
	{"Prepared", "memory state: reserved and cheap to make Ready; it may not be touched", false},
	{"radix tree", "summaries of free pages in levels; from the root down, each entry sums up 8 of the level below",
		false},
	{"Ready", "memory state: may be touched", false},
	{"refill", "to give an mcache another span of a class", false},
	{"Reserved", "memory state: ours, and a touch is a fault", false},
	{"root", "memory outside of the heap that may point into it: a stack, a variable", false},
	{"scan", "with pointers: the collector looks inside", false},
	{"scavenged", "of a page: given back to the operating system; it costs no memory until it is used again", false},
	{"scavenger", "gives free pages back to the operating system, from the highest addresses on", false},
	{"searchAddr", "no free page lies below this address: where searches begin", false},
	{"size class", "one of 68 sizes that small objects are rounded up to; 0 is for large objects", false},
	{"slot", "the place of one object in a span", false},
	{"span", "a run of pages with one use: the slots of one size class, or one large object", false},
	{"span class", "a size class, times two, plus 1 for noscan", false},
	{"summary", "of some pages: how many are free at the start, in the longest free run, and at the end", false},
	{"sweep", "the second half of a GC: what has no mark bit is free", false},
	{"sweepgen",
		"a number that grows by 2 with each GC cycle; a span's own tells whether it was swept since, or is cached",
		false},
	{"swept", "of a span: its dead objects were freed in this cycle; unswept: not yet", false},
	{"sysAlloc", "None -> Ready: memory for metadata", false},
	{"sysFree", "any state -> None", false},
	{"sysMap", "Reserved -> Prepared", false},
	{"sysNoHugePage", "a hint to the operating system: no huge pages here", false},
	{"sysHugePage", "a hint to the operating system: huge pages are welcome here", false},
	{"sysHugePageCollapse", "a wish to the operating system: make huge pages of these now", false},
	{"sysFault", "Ready -> Reserved", false},
	{"sysReserve", "None -> Reserved: address space, but no memory yet", false},
	{"sysUnreserve", "Reserved -> None", false},
	{"sysUnused", "Ready -> Prepared: the operating system may take the memory behind it", false},
	{"sysUsed", "Prepared -> Ready", false},
	{"tiny block", "16 bytes that objects below 16 bytes without pointers share", false},
	{"zerobase", "the address of all objects of size 0", false},
	{"zeroedBase", "of an arena: from here on it was never used, so it is zero", false},
	{"mmap", "the system call that maps memory, or reserves address space (PROT_NONE)", false},
	{"munmap", "the system call that gives up address space", false},
	{"madvise", "the system call for hints; MADV_DONTNEED gives memory back", false},
	{"mprotect", "the system call that changes what may be done with memory", false},
};
enum { numWords = sizeof words / sizeof words[0] };

static bool isPart(char c) { return isalnum((unsigned char)c) || c == '_'; }

// isWordAt: the word stands at s whole, or with the s of a plural.
static bool isWordAt(const char *begin, const char *s, const char *word) {
	const size_t n = strlen(word);
	if (strncmp(s, word, n) != 0 || (s > begin && isPart(s[-1]))) {
		return false;
	}
	return !isPart(s[n]) || (s[n] == 's' && !isPart(s[n + 1]));
}

static bool has(const char *text, const char *word) {
	for (const char *s = text; *s != 0; s++) {
		if (isWordAt(text, s, word)) {
			return true;
		}
	}
	return false;
}

// markWords: the irregular plurals, and what is spelled as one word in the code, are of the same word.
static bool markWords(const char *text) {
	static const char *const alike[][2] = {{"summaries", "summary"}, {"spanClass", "span class"},
		{"class", "size class"}, {"mcaches", "mcache"}, {"unswept", "swept"}, {"sweeps", "sweep"}, {"marked", "mark"},
		{"sysReserveAligned", "sysReserve"}, {"L1", "arena index"}, {"L2", "arena index"}};
	bool more = false;
	for (unsigned i = 0; i < numWords; i++) {
		bool found = has(text, words[i].word);
		for (size_t j = 0; j < sizeof alike / sizeof alike[0] && !found; j++) {
			found = strcmp(words[i].word, alike[j][1]) == 0 && has(text, alike[j][0]);
		}
		more |= found && !words[i].used;
		words[i].used |= found;
	}
	return more;
}

void say(const char *format, ...) {
	char line[1024];
	va_list args;
	va_start(args, format);
	(void)vsnprintf(line, sizeof line, format, args);
	va_end(args);
	(void)markWords(line);
	(void)puts(line);
}

void sayWords(void) {
	for (bool more = true; more;) {
		more = false;
		for (unsigned i = 0; i < numWords; i++) {
			more |= words[i].used && markWords(words[i].what);
		}
	}
	for (unsigned i = 0; i < numWords; i++) {
		if (words[i].used) {
			(void)printf("  %-20s %s\n", words[i].word, words[i].what);
		}
	}
}
