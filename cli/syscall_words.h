// syscall_words.h: the arguments of memory calls in the words of <sys/mman.h>, for commands that print system calls.
#ifndef GOMEM_CLI_SYSCALL_WORDS_H
#define GOMEM_CLI_SYSCALL_WORDS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>

typedef struct bitName {
	uint64_t bit;
	const char *name;
} bitName;

enum { bitNamesRoom = 64 };

// bitNames writes the names of the bits of v into out, which it gives back; none: what is said if there is none of them.
static inline const char *bitNames(
	char out[bitNamesRoom], uint64_t v, const bitName *names, size_t n, const char *none) {
	size_t len = 0;
	for (size_t i = 0; i < n; i++) {
		if ((v & names[i].bit) != 0 && len < bitNamesRoom) {
			len += (size_t)snprintf(out + len, bitNamesRoom - len, "%s%s", len > 0 ? "|" : "", names[i].name);
		}
	}
	return len > 0 ? out : none;
}

static inline const char *protNames(char out[bitNamesRoom], uint64_t prot) {
	static const bitName names[] = {{PROT_READ, "PROT_READ"}, {PROT_WRITE, "PROT_WRITE"}, {PROT_EXEC, "PROT_EXEC"}};
	return bitNames(out, prot, names, sizeof names / sizeof names[0], "PROT_NONE");
}

static inline const char *adviceName(uint64_t advice) {
	switch (advice) {
	case MADV_DONTNEED:
		return "MADV_DONTNEED";
	case MADV_HUGEPAGE:
		return "MADV_HUGEPAGE";
	case MADV_NOHUGEPAGE:
		return "MADV_NOHUGEPAGE";
	case 25: // not in older headers
		return "MADV_COLLAPSE";
	default:
		return "another advice";
	}
}

#endif
