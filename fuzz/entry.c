// entry.c: what a fuzzing engine calls, for the target that FUZZ_TARGET_NAME names. Compiled once for each target.
#include "fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#define FUZZ_PASTE(a, b) a##b
#define FUZZ_NAMED(name) FUZZ_PASTE(fuzz_target_, name)
extern const fuzz_target FUZZ_NAMED(FUZZ_TARGET_NAME);

const fuzz_target *fuzz_this(void);
const fuzz_target *fuzz_this(void) { return &FUZZ_NAMED(FUZZ_TARGET_NAME); }

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed);
size_t LLVMFuzzerCustomCrossOver(
	const uint8_t *a, size_t na, const uint8_t *b, size_t nb, uint8_t *out, size_t max, unsigned seed);
// libFuzzer's own byte mutations; absent under other engines.
extern size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max) __attribute__((weak));

// --info works under every engine, so that a script need not have another build to ask.
int LLVMFuzzerInitialize(int *argc, char ***argv) {
	const fuzz_target *t = fuzz_this();
	if (*argc == 2 && strcmp((*argv)[1], "--info") == 0) {
		printf("%s\t%s\t%s\n", t->name, t->small ? "small" : "large", t->what);
		exit(0);
	}
	// libFuzzer has handlers of its own, which write the input; it leaves them out where it finds others.
	if (LLVMFuzzerMutate == NULL) {
		fuzz_catch_crashes();
	} else {
		fuzz_be_quick();
	}
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	fuzz_run(fuzz_this(), data, size);
	return 0;
}

// One mutation of ten is of the bytes: it finds what the mutator of programs does not think of.
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed) {
	const fuzz_target *t = fuzz_this();
	if (t->input == NULL && seed % 10 != 0) {
		return fuzz_mutate(t, data, size, max, seed);
	}
	return LLVMFuzzerMutate != NULL ? LLVMFuzzerMutate(data, size, max) : fuzz_mutate_bytes(data, size, max, seed);
}

size_t LLVMFuzzerCustomCrossOver(
	const uint8_t *a, size_t na, const uint8_t *b, size_t nb, uint8_t *out, size_t max, unsigned seed) {
	const fuzz_target *t = fuzz_this();
	if (t->input == NULL) {
		return fuzz_cross(t, a, na, b, nb, out, max, seed);
	}
	// Bytes as they are: the front of one and the back of the other.
	uint64_t rnd = seed;
	const size_t front = (size_t)fuzz_below(&rnd, na + 1), back = (size_t)fuzz_below(&rnd, nb + 1);
	size_t n = 0;
	for (size_t i = 0; i < front && n < max; i++) {
		out[n++] = a[i];
	}
	for (size_t i = nb - back; i < nb && n < max; i++) {
		out[n++] = b[i];
	}
	return n;
}
