// layouts.h: layouts of several platforms, for targets that run with more than the host's; all of them: gomem/platforms.c.
//
// Invariant: layout_check accepts each (fuzz_arenaindex tests it).
#ifndef GOMEM_FUZZ_LAYOUTS_H
#define GOMEM_FUZZ_LAYOUTS_H

#include "fuzz/fuzz.h"
#include "gomem/layout.h"

enum { FUZZ_LINUX_AMD64, FUZZ_WINDOWS_AMD64, FUZZ_LINUX_ARM64, FUZZ_IOS_ARM64, FUZZ_LINUX_386, FUZZ_LAYOUTS };
enum { FUZZ_LAYOUTS_64 = FUZZ_LINUX_386 }; // those before have 64-bit words

static inline gomem_layout fuzz_platform(const char *name) {
	gomem_layout l;
	fuzz_check(layout_ofPlatform(name, &l), "a platform that gomem does not know");
	return l;
}

static inline gomem_layout fuzz_layout(uint64_t i) {
	static const char *const names[FUZZ_LAYOUTS] = {
		"linux/amd64", "windows/amd64", "linux/arm64", "ios/arm64", "linux/386"};
	if (sizeof(uintptr_t) == 4) {
		return fuzz_platform(names[FUZZ_LINUX_386]); // no other fits words of the host
	}
	return fuzz_platform(names[i < FUZZ_LAYOUTS ? i : 0]);
}

// fuzz_any_platform gives each of all FUZZ_PLATFORMS platforms, whose words fit the host's, by a number (fuzz_arenaindex tests that there are no more).
enum { FUZZ_PLATFORMS = 49 };
static inline gomem_layout fuzz_any_platform(uint64_t i) {
	gomem_layout l;
	do {
		l = fuzz_platform(layout_platformName((unsigned)(i++ % FUZZ_PLATFORMS)));
	} while (l.ptrSize > sizeof(uintptr_t)); // none of those fits words of the host
	return l;
}

#endif
