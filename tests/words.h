// words.h: what tests do that are about words of 64 bits, on a host that has 32: they are skipped, by name and with the reason.
#ifndef GOMEM_TESTS_WORDS_H
#define GOMEM_TESTS_WORDS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { wideWords = sizeof(uintptr_t) == 8 };

// onlyWide skips the test that calls it where words have 32 bits.
static inline void onlyWide(const char *why) {
	if (!wideWords) {
		print_message("skipped with 32-bit words: %s\n", why);
		skip();
	}
}

#endif
