// test_goldens.c: the port answers what Go's own allocator answered: the files tests/goldens/KIND.txt.zst, which ./dev goldens makes.
// Witness: Go 1.26.8, asked by an overlay over its runtime. The reader itself must notice a stream that is cut, changed, or says too much.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <zstd.h>

#include "goldens.h"
#include "words.h"

#include "gomem/poison.h"

// What a file has at least. A file with less is not what was made. Sizes: all up to 40 KiB, with and without pointers; 68 classes.
typedef struct fileOf {
	const char *kind;
	uint64_t programs, cases;
	const char *wide; // why there is none of linux/386
} fileOf;

static const fileOf files[] = {
	{"bits", 200, 5666, NULL},
	{"bitrange", 40, 3200, NULL},
	{"sums", 40, 1280, NULL},
	{"pagecache", 60, 3014, NULL},
	{"pagealloc", 250, 24622, "Go has the index of scavenging whole"},
	{"scavindex", 100, 7086, "Go has the index of scavenging whole"},
	{"ranges", 80, 8070, NULL},
	{"sizeclass", 41, 2 * (40 * 1024 + 1) + 68 * 5, NULL},
	{"spanclass", 1, 512, NULL},
	{"heapbits", 300, 4978, "its programs have 64-bit words"},
	{"arena", 8, 640, NULL},
};
enum { nfiles = sizeof files / sizeof files[0] };

typedef struct text {
	char *p;
	size_t len, cap;
} text;

// room makes place for n more bytes.
static void room(text *t, size_t n) {
	if (t->cap - t->len < n) {
		t->cap = 2 * t->cap + n;
		t->p = realloc(t->p, t->cap);
		assert_non_null(t->p);
	}
}

static text decompressed(FILE *f, const char *path) {
	ZSTD_DStream *const z = ZSTD_createDStream();
	assert_non_null(z);
	text t = {NULL, 0, 0};
	static uint8_t block[1 << 16];
	size_t left = 1; // what zstd still waits for; 0: the end of a frame
	for (size_t n; (n = fread(block, 1, sizeof block, f)) > 0;) {
		ZSTD_inBuffer in = {block, n, 0};
		while (in.pos < in.size) {
			room(&t, 1 << 18);
			ZSTD_outBuffer out = {t.p + t.len, t.cap - t.len, 0};
			left = ZSTD_decompressStream(z, &out, &in);
			if (ZSTD_isError(left) != 0) {
				fail_msg("%s: zstd: %s", path, ZSTD_getErrorName(left));
			}
			poison_defined((uintptr_t)(t.p + t.len), out.pos); // zstd wrote it
			t.len += out.pos;
		}
	}
	if (left != 0) {
		fail_msg("%s: truncated", path);
	}
	ZSTD_freeDStream(z);
	return t;
}

static text fileText(const char *kind) {
	char path[80];
	snprintf(path, sizeof path, "tests/goldens/%s%s.txt.zst", wideWords ? "" : "386/", kind);
	FILE *const f = fopen(path, "rb");
	if (f == NULL) {
		fail_msg("%s: cannot be read", path);
		return (text){NULL, 0, 0};
	}
	const text t = decompressed(f, path);
	fclose(f);
	return t;
}

static goldensResult *runText(const char *p, size_t len) {
	static goldensResult r;
	FILE *const in = fmemopen((void *)(uintptr_t)p, len, "r");
	assert_non_null(in);
	goldens_run(in, &r, NULL);
	fclose(in);
	return &r;
}

static const goldensCount *countOf(const goldensResult *r, const char *kind) {
	for (unsigned i = 0; i < r->nkinds; i++) {
		if (strcmp(r->kinds[i].kind, kind) == 0) {
			return &r->kinds[i];
		}
	}
	fail_msg("no kind %s", kind);
	return NULL;
}

static void test_file(void **state) {
	const fileOf *const want = *state;
	if (want->wide != NULL) {
		onlyWide(want->wide);
	}
	const text t = fileText(want->kind);
	const goldensResult *const r = runText(t.p, t.len);
	free(t.p);
	const goldensCount *const got = countOf(r, want->kind);
	printf("%-10s %5llu programs %7llu cases equal (%s)\n", want->kind, (unsigned long long)got->programs,
		(unsigned long long)got->cases, r->go);
	if (r->status != GOLDENS_EQUAL) {
		fail_msg("%s: %s", want->kind, r->message);
	}
	assert_string_equal(r->go, wideWords ? "go1.26.8 linux/amd64" : "go1.26.8 linux/386");
	if (got->programs < want->programs || got->cases < want->cases) {
		fail_msg("%s: %llu programs and %llu cases were expected", want->kind, (unsigned long long)want->programs,
			(unsigned long long)want->cases);
	}
}

// ---- the reader

static const char good[] = "gomem goldens 1 go linux seed 1\n"
						   "kind bitrange\nprogram 0\nfindrange ff 8 = 0\nfill 1 8 = ff\nend 1 2\n";

static void test_good(void **state) {
	(void)state;
	const goldensResult *const r = runText(good, sizeof good - 1);
	assert_string_equal(r->message, "");
	assert_int_equal(r->status, GOLDENS_EQUAL);
	assert_int_equal(r->cases, 2);
}

static void test_truncated(void **state) {
	(void)state;
	for (size_t len = 1; len < sizeof good - 1; len++) {
		assert_int_equal(runText(good, len)->status, GOLDENS_BAD);
	}
}

typedef struct badStream {
	const char *from, *to;
	goldensStatus status;
	const char *message;
} badStream;

static const badStream badStreams[] = {
	{"= 0", "= 1", GOLDENS_DIFFERENT, "answer 1 differs"},
	{"= ff", "= ff 0", GOLDENS_DIFFERENT, "answer 2 differs"},
	{"= ff", "=", GOLDENS_DIFFERENT, "answer 1 differs"},
	{" = ff", "", GOLDENS_DIFFERENT, "answer 1 differs"},
	{"end 1 2", "end 1 3", GOLDENS_BAD, "1 programs and 2 cases, but 1 and 3 were promised"},
	{"end 1 2", "end 2 2", GOLDENS_BAD, "1 programs and 2 cases, but 2 and 2 were promised"},
	{"end 1 2\n", "end 1 2\nx\n", GOLDENS_BAD, "something follows the last line"},
	{"end 1 2", "end 1", GOLDENS_BAD, "not a last line"},
	{"fill", "fall", GOLDENS_BAD, "no such operation"},
	{"fill 1 8", "fill 1", GOLDENS_BAD, "not as many arguments"},
	{"fill 1 8", "fill 1 x", GOLDENS_BAD, "not a list of numbers"},
	{"fill 1 8", "fill 11112222333344445 8", GOLDENS_BAD, "not a list of numbers"},
	{"program 0\n", "", GOLDENS_BAD, "an operation outside of a program"},
	{"kind bitrange\n", "", GOLDENS_BAD, "not the begin of a program of a kind"},
	{"kind bitrange", "kind bitranges", GOLDENS_BAD, "no such kind"},
	{"goldens 1", "goldens 2", GOLDENS_BAD, "not the first line of goldens"},
};

static void test_bad(void **state) {
	(void)state;
	for (size_t i = 0; i < sizeof badStreams / sizeof badStreams[0]; i++) {
		const badStream *const b = &badStreams[i];
		const char *const at = strstr(good, b->from);
		assert_non_null(at);
		char changed[512];
		snprintf(changed, sizeof changed, "%.*s%s%s", (int)(at - good), good, b->to, at + strlen(b->from));
		const goldensResult *const r = runText(changed, strlen(changed));
		if (r->status != b->status || strstr(r->message, b->message) == NULL) {
			fail_msg("%s -> %s: status %d, %s", b->from, b->to, (int)r->status, r->message);
		}
	}
}

int main(void) {
	struct CMUnitTest tests[nfiles + 3];
	for (unsigned i = 0; i < nfiles; i++) {
		tests[i] = (struct CMUnitTest){
			.name = files[i].kind, .test_func = test_file, .initial_state = (void *)(uintptr_t)&files[i]};
	}
	tests[nfiles] = (struct CMUnitTest)cmocka_unit_test(test_good);
	tests[nfiles + 1] = (struct CMUnitTest)cmocka_unit_test(test_truncated);
	tests[nfiles + 2] = (struct CMUnitTest)cmocka_unit_test(test_bad);
	return cmocka_run_group_tests_name("goldens", tests, NULL, NULL);
}
