// test_versions.c: what releases of Go decide otherwise (gomem/layout.h, docs/VERSIONS.md), and which release a replay follows.
// Compiled against the variant with a layout given at run time. Witness: the sources of the four releases.
#include "heaptest.h"
#include "traces/replay.h"

static gomem_layout layoutOf(const char *goversion) {
	const layout_version *v = layout_versionOf(goversion);
	assert_non_null(v);
	return layout_ofVersion(v, wideWords ? "amd64" : "386");
}

static void test_names(void **state) {
	(void)state;
	static const char *const known[][2] = {{"go1.24", "go1.24"}, {"go1.24.11", "go1.24"}, {"go1.25.0", "go1.25"},
		{"go1.26.8", "go1.26"}, {"go1.27rc1", "go1.27"}, {"go1.27-devel_0123 X:nogreenteagc", "go1.27"}};
	static const char *const unknown[] = {
		"", "go", "go1", "go1.2", "go1.23.4", "go1.28", "go1.240", "1.24", "devel go1.24"};
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		const layout_version *v = layout_versionOf(known[i][0]);
		assert_non_null(v);
		assert_string_equal(v->release, known[i][1]);
	}
	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
		assert_null(layout_versionOf(unknown[i]));
	}
}

static void test_layouts(void **state) {
	(void)state;
	for (size_t i = 0; i < numLayoutVersions; i++) {
		static const char *const arches[] = {"amd64", "386"};
		for (size_t j = 0; j < sizeof(arches) / sizeof(arches[0]); j++) {
			const gomem_layout L = layout_ofVersion(&layout_versions[i], arches[j]);
			assert_null(layout_check(&L));
			assert_non_null(strstr(L.name, layout_versions[i].release));
			assert_non_null(strstr(L.name, arches[j]));
			assert_int_equal(L.ptrSize, j == 0 ? 8 : 4);
		}
	}
	// The constant layout of linux/amd64 is the row of go1.26.
	const gomem_layout *constant = &layout_linux_amd64_go126;
	const gomem_layout L = layout_ofVersion(layout_versionOf("go1.26"), "amd64");
	assert_string_equal(L.name, constant->name);
	assert_int_equal(L.scavengedIsZero, constant->scavengedIsZero);
	assert_int_equal(L.stackLargeFirst, constant->stackLargeFirst);
	gomem_layout broken = L;
	broken.stackLargeFirst = 2;
	assert_non_null(layout_check(&broken));
}

// Pages that were all given back to the OS come back zeroed. Only since go1.26 is the span not zeroed once more.
static void test_scavengedIsZero(void **state) {
	(void)state;
	static const struct {
		const char *release;
		int needzero;
	} cases[] = {{"go1.24", 1}, {"go1.25", 1}, {"go1.26", 0}, {"go1.27", 0}};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const gomem_layout L = layoutOf(cases[i].release);
		heapFix f;
		heapFix_with(&f, (memSimConfig){0}, (gomem_config){.no_randomized_base = true, .layout = &L});
		const uintptr_t pageBytes = (uintptr_t)layout_pageSize(&L), pages = 30;
		mspan *s = mheap_alloc(f.h, f.p, pages, makeSpanClass(0, true));
		assert_int_equal(s->needzero, 0); // nobody was here before, in any release
		const uintptr_t base = mspan_base(s);
		mheap_freeSpan(f.h, f.p, s);
		assert_true(pageAlloc_scavenge(&f.h->env, &f.h->pages, pages * pageBytes, NULL, NULL, true, &f.p->stats) >=
			pages * pageBytes);
		s = mheap_alloc(f.h, f.p, pages, makeSpanClass(0, true));
		assert_int_equal(mspan_base(s), base);
		assert_int_equal(s->needzero, cases[i].needzero);
		heapFix_checked(&f);
		heapFix_done(&f);
	}
}

// A stack of 64 KiB has 8 pages: its span waits in list 3 up to go1.25, in list 4 since.
static void test_stackLargeFirst(void **state) {
	(void)state;
	static const struct {
		const char *release;
		unsigned list;
	} cases[] = {{"go1.24", 3}, {"go1.25", 3}, {"go1.26", 4}, {"go1.27", 4}};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const gomem_layout L = layoutOf(cases[i].release);
		heapFix f;
		heapFix_with(&f, (memSimConfig){.backed = true}, (gomem_config){.layout = &L});
		const uint32_t n = 64 << 10;
		void *a = gomem_stackalloc(f.h, f.p, n, false);
		gomem_setGCPhase(f.h, gcMark);
		gomem_stackfree(f.h, f.p, a, n, false);
		for (unsigned list = 0; list < stackLargeClasses; list++) {
			assert_int_equal(f.h->stackLarge.free[list].first != NULL, list == cases[i].list);
		}
		heapFix_checked(&f);
		assert_ptr_equal(gomem_stackalloc(f.h, f.p, n, false), a);
		gomem_setGCPhase(f.h, gcOff);
		heapFix_done(&f);
	}
}

// ---- which release a replay follows

static replay_result *replayed(const gmt_header *h, const char *release, bool plain) {
	static replay_result res;
	gmt_error err;
	static const gmt_event none = {.kind = EV_PINIT};
	gmt_header on = *h;
	snprintf(on.goarch, sizeof(on.goarch), "%s", wideWords ? "amd64" : "386");
	gmt_reader *r = gmt_open_events(&on, &(gmt_block){.n = 1, .events = &none}, &err);
	assert_non_null(r);
	replay_run(r, &(replay_options){.release = release, .plain = plain}, &res);
	gmt_close(r);
	return &res;
}

static void test_refused(void **state) {
	(void)state;
	static const struct {
		gmt_header h;
		bool plain;
		const char *why;
	} cases[] = {
		{{.goversion = "go1.23.4"}, false, "go1.23.4: only go1.24 to go1.27"},
		{{.goversion = "go1.28"}, false, "go1.28: only go1.24 to go1.27"},
		{{.goversion = ""}, false, "only go1.24 to go1.27"},
		{{.goversion = "go1.24.1", .green_tea = true}, false, "go1.24.1, which has no GOEXPERIMENT=greenteagc"},
		{{.goversion = "go1.25", .randomize_heap_base = true}, false, "no GOEXPERIMENT=randomizedheapbase64"},
		{{.goversion = "go1.25", .size_specialized_malloc = true}, false, "no GOEXPERIMENT=sizespecializedmalloc"},
		{{.goversion = "go1.25", .runtime_freegc = true}, false, "no GOEXPERIMENT=runtimefreegc"},
		{{.goversion = "go1.27.3"}, true, "the library without yield points is linux/"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const replay_result *res = replayed(&cases[i].h, NULL, cases[i].plain);
		assert_int_equal(res->status, REPLAY_BAD_INPUT);
		assert_null(res->release);
		if (strstr(res->error, cases[i].why) == NULL) {
			fail_msg("%s: %s", cases[i].why, res->error);
		}
	}
}

// A release that is asked for counts, whatever was recorded. The recording is cut short, but it is not refused for its version.
static void test_asked(void **state) {
	(void)state;
	gmt_header h = {.goversion = "go1.28", .page_size = 8192, .phys_page_size = 4096, .green_tea = true};
	h.arena_bytes = layout_host.heapArenaBytes;
	for (size_t i = 0; i < numLayoutVersions; i++) {
		const replay_result *res = replayed(&h, layout_versions[i].release, false);
		assert_int_equal(res->status, REPLAY_DIFFERS);
		assert_string_equal(res->release, layout_versions[i].release);
		assert_non_null(strstr(res->error, "does not begin with the start of an allocator"));
	}
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_layouts),
		cmocka_unit_test(test_scavengedIsZero),
		cmocka_unit_test(test_stackLargeFirst),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_asked),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
