// test_whatif.c: what-if runs. With the recorded constants nothing changes, decision by decision, in each bundled recording; one constant
// changed changes decisions; sums are sums. Of traces of stock Go: smallest and largest requests lie in the same slots.
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gomem/sizeclasses.h"
#include "traces/whatif.h"

static const char small[] = "tests/controls/goroutines-p4.gmt";

typedef struct loaded {
	gmt_reader *r;
	whatif_lives lives;
	whatif_config c;
} loaded;

static whatif_result res, other;

static void load(loaded *l, const char *path) {
	gmt_error err;
	l->r = gmt_open(path, &err);
	assert_non_null(l->r);
	assert_null(whatif_unsupported(gmt_reader_header(l->r)));
	assert_int_equal(whatif_read_lives(l->r, &l->lives, &err), 0);
	whatif_config_recorded(&l->c, gmt_reader_header(l->r));
}

static void unload(loaded *l) {
	whatif_lives_free(&l->lives);
	gmt_close(l->r);
}

static void settle(whatif_config *c) {
	char why[WHATIF_WHY];
	if (whatif_settle(c, why) != NULL) {
		fail_msg("%s", why);
	}
}

static void run(loaded *l, whatif_result *out) {
	gmt_error err;
	assert_int_equal(gmt_seek(l->r, 0, &err), 0);
	if (whatif_run(l->r, &l->lives, &l->c, (whatif_progress){0}, out) != 0) {
		fail_msg("%s", out->error);
	}
}

static void set(whatif_config *c, const char *option, const char *value) {
	char why[WHATIF_WHY];
	if (whatif_set(c, option, value, why) != NULL) {
		fail_msg("%s", why);
	}
}

// All decisions, and nothing but decisions: the number is that of the file's index.
static uint64_t decisions(const gmt_reader *r) {
	uint64_t n = gmt_reader_count(r, EV_MALLOC);
	for (int k = 1; k < EV_MAX; k++) {
		n += gmt_kind((gomem_ev)k)->input ? 0 : gmt_reader_count(r, (gomem_ev)k);
	}
	return n;
}

static void check_sums(const whatif_result *r) {
	whatif_class sum = {0};
	for (unsigned i = 0; i < WHATIF_SPAN_CLASSES; i++) {
		const whatif_class *c = &r->classes[i];
		assert_int_equal(c->bytes, c->asked + c->slotWaste + c->freeSlots + c->tail);
		assert_true(c->size == 0 || c->asked + c->slotWaste == c->objects * c->size);
		sum.spans += c->spans;
		sum.bytes += c->bytes;
		sum.objects += c->objects;
		sum.asked += c->asked;
		sum.slotWaste += c->slotWaste;
		sum.freeSlots += c->freeSlots;
		sum.tail += c->tail;
	}
	assert_int_equal(sum.spans, r->sum.spans);
	assert_int_equal(sum.bytes, r->sum.bytes);
	assert_int_equal(sum.objects, r->sum.objects);
	assert_int_equal(sum.asked, r->sum.asked);
	assert_int_equal(sum.slotWaste, r->sum.slotWaste);
	assert_int_equal(sum.freeSlots, r->sum.freeSlots);
	assert_int_equal(sum.tail, r->sum.tail);
	assert_true(r->meanInUse <= (double)r->sum.bytes);
	const double mean = r->meanAsked + r->meanSlotWaste + r->meanFreeSlots + r->meanTail;
	assert_true(mean > r->meanInUse * 0.999999 && mean < r->meanInUse * 1.000001);
	assert_true(r->sum.bytes <= r->peakCommitted && r->peakCommitted <= r->peakMapped && r->peakMapped <= r->reserved);
}

// is_refused: freegc is not followed, and a host with 32-bit words has no room for what changes.
static bool is_refused(const char *path) {
	gmt_error err;
	gmt_reader *r = gmt_open(path, &err);
	assert_non_null(r);
	const gmt_header *head = gmt_reader_header(r);
	const bool refused = head->runtime_freegc || sizeof(uintptr_t) == 4;
	assert_int_equal(whatif_unsupported(head) != NULL, refused);
	gmt_close(r);
	return refused;
}

static void same_as_recorded(const char *path) {
	loaded l = {0};
	if (is_refused(path)) {
		return;
	}
	load(&l, path);
	assert_int_equal(l.lives.answers, decisions(l.r));
	run(&l, &res);
	if (res.same != l.lives.answers) {
		fail_msg("%s: %s", path, res.first);
	}
	assert_int_equal(res.first[0], 0);
	assert_int_equal(res.untranslated, 0);
	assert_int_equal(res.cycles, l.lives.cycles);
	assert_int_equal(res.mallocs, l.lives.n);
	check_sums(&res);
	unload(&l);
}

static void test_recordedConstantsChangeNothing(void **state) {
	(void)state;
	glob_t g;
	assert_int_equal(glob("traces/data/*.gmt", 0, NULL, &g), 0);
	assert_true(g.gl_pathc >= 10);
	for (size_t i = 0; i < g.gl_pathc; i++) {
		same_as_recorded(g.gl_pathv[i]);
	}
	globfree(&g);
	same_as_recorded(small);
}

// Go's values, said by the user: tables given at run time are Go's too.
static void test_goConstantsChangeNothing(void **state) {
	(void)state;
	static const char *const settings[][2] = {{"--size-classes", "generated"}, {"--size-classes", "go1.26"},
		{"--size-classes", "generated:tail=8,max-align=256"}, {"--page-size", "8KiB"}, {"--arena-size", "64MiB"},
		{"--tiny-size", "16"}, {"--page-cache", "on"}, {"--green-tea", "on"}, {"--random-base", "on"}};
	loaded l = {0};
	load(&l, small);
	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
		whatif_config_recorded(&l.c, gmt_reader_header(l.r));
		set(&l.c, settings[i][0], settings[i][1]);
		settle(&l.c);
		assert_int_equal(l.c.ownClasses, strncmp(settings[i][1], "generated", 9) == 0);
		run(&l, &res);
		assert_int_equal(res.same, l.lives.answers);
	}
	unload(&l);
}

typedef const char *setting[2];

// changesDecisions: each of n settings has a say.
static void changesDecisions(const char *file, const setting *settings, size_t n) {
	loaded l = {0};
	load(&l, file);
	for (size_t i = 0; i < n; i++) {
		whatif_config_recorded(&l.c, gmt_reader_header(l.r));
		set(&l.c, settings[i][0], settings[i][1]);
		settle(&l.c);
		run(&l, &res);
		assert_true(res.same < l.lives.answers);
		assert_int_not_equal(res.first[0], 0);
		assert_int_equal(res.mallocs, l.lives.n);
		check_sums(&res);
	}
	unload(&l);
}

// The negative control.
static void test_otherConstantsChangeDecisions(void **state) {
	(void)state;
	static const setting settings[] = {{"--size-classes", "go1.15"}, {"--size-classes", "generated:tail=16"},
		{"--size-classes", "generated:eighth-from=512"}, {"--page-size", "4KiB"}, {"--page-size", "16KiB"},
		{"--page-size", "32KiB"}, {"--arena-size", "4MiB"}, {"--tiny-size", "8"}, {"--tiny-size", "64"},
		{"--page-cache", "off"}, {"--green-tea", "off"}, {"--random-base", "off"}, {"--gogc", "50"}, {"--gogc", "off"},
		{"--memory-limit", "16MiB"}};
	changesDecisions(small, settings, sizeof(settings) / sizeof(settings[0]));
	changesDecisions("traces/data/gofmt-p1.gmt", settings, sizeof(settings) / sizeof(settings[0]));
	static const setting narrow[] = {{"--size-classes", "go1.15"}, {"--page-size", "4KiB"}, {"--arena-size", "8MiB"},
		{"--tiny-size", "8"}, {"--page-cache", "off"}, {"--gogc", "50"}};
	changesDecisions("traces/data/linux386-jsonbench-p1.gmt", narrow, sizeof(narrow) / sizeof(narrow[0]));
}

// What the OS is changes what it counts.
static void test_os(void **state) {
	(void)state;
	loaded l = {0};
	load(&l, "traces/data/gofmt-p1.gmt");
	run(&l, &res);
	set(&l.c, "--thp", "on");
	settle(&l.c);
	run(&l, &other);
	assert_true(other.faults < res.faults / 4);
	assert_true(other.peakRSS >= res.peakRSS);
	whatif_config_recorded(&l.c, gmt_reader_header(l.r));
	set(&l.c, "--phys-page-size", "64KiB");
	settle(&l.c);
	run(&l, &other);
	assert_true(other.faults < res.faults);
	assert_int_equal(other.peakRSS % (64 << 10), 0);
	unload(&l);
}

// More GOGC: fewer cycles and more memory; off: none. The recorded program, which had GOGC=100, lies between the two bounds.
static void test_gogc(void **state) {
	(void)state;
	loaded l = {0};
	load(&l, "traces/data/jsonbench-p1.gmt");
	static const char *const values[] = {"50", "100", "200", "400", "off"};
	uint64_t cycles = UINT64_MAX;
	double mean = 0;
	static whatif_result recorded;
	run(&l, &recorded);
	for (unsigned i = 0; i < 5; i++) {
		whatif_config_recorded(&l.c, gmt_reader_header(l.r));
		set(&l.c, "--gogc", values[i]);
		settle(&l.c);
		run(&l, &res);
		assert_true(res.cycles < cycles);
		assert_true(res.meanInUse > mean);
		cycles = res.cycles;
		mean = res.meanInUse;
		set(&l.c, "--deaths", "early");
		run(&l, &other);
		if (strcmp(values[i], "100") == 0) {
			assert_true(other.meanInUse < recorded.meanInUse && recorded.meanInUse < mean);
			assert_true(other.cycles + 10 > recorded.cycles && recorded.cycles >= res.cycles);
		}
	}
	assert_int_equal(cycles, 0);
	unload(&l);
}

// A run is a function of its inputs.
static void test_twice(void **state) {
	(void)state;
	loaded l = {0};
	load(&l, small);
	set(&l.c, "--page-size", "16KiB");
	settle(&l.c);
	run(&l, &res);
	run(&l, &other);
	res.seconds = other.seconds = 0;
	assert_memory_equal(res.classes, other.classes, sizeof(res.classes));
	assert_int_equal(res.same, other.same);
	assert_int_equal(res.peakRSS, other.peakRSS);
	assert_int_equal(res.systemCalls, other.systemCalls);
	unload(&l);
}

// The bytes of the slot that n bytes get. 0: a large object.
static uint64_t slot_of(uint64_t n, bool scan) {
	const uint64_t want = scan && n > 512 ? n + 8 : n;
	for (unsigned i = 1; i < numSizeClasses && n <= 32760; i++) {
		if (class_to_size[i] >= want && (scan || class_to_size[i] > 8)) { // without pointers: 16 bytes, a tiny block
			return class_to_size[i];
		}
	}
	return 0;
}

// The smallest and the largest request of an object lie in the same slot; what a cycle found dead is told once.
static void check_trace(const whatif_trace *t) {
	uint64_t mallocs = 0, manuals = 0, exact = 0, swept = 0, freed = 0;
	uint32_t cycle = 1;
	for (uint64_t i = 0; i < t->nstart + t->nops; i++) {
		const whatif_op *op = i < t->nstart ? &t->start[i] : &t->ops[i - t->nstart];
		switch ((whatif_op_kind)op->kind) {
		case WHATIF_MALLOC:
			assert_true(0 < op->low && op->low <= op->high);
			assert_int_equal(slot_of(op->low, op->scan), slot_of(op->high, op->scan));
			assert_true(slot_of(op->low, op->scan) != 0 || (op->low + 8191) / 8192 == (op->high + 8191) / 8192);
			assert_true(op->n < t->lives.n);
			mallocs += i >= t->nstart;
			exact += i >= t->nstart && op->low == op->high;
			break;
		case WHATIF_MANUAL:
			manuals++;
			break;
		case WHATIF_MANUAL_FREE:
			assert_in_range(op->n, 1, manuals);
			break;
		case WHATIF_SWEPT:
			swept += op->n;
			break;
		case WHATIF_CYCLE:
			assert_int_equal(op->n, ++cycle);
			break;
		case WHATIF_PROCS:
			break;
		}
	}
	for (uint32_t c = 0; c <= cycle; c++) {
		freed += t->freed[c];
	}
	assert_int_equal(mallocs, t->mallocs);
	assert_int_equal(exact, t->exact);
	assert_int_equal(swept, freed);
	assert_int_equal(cycle, t->cycles + 1);
	assert_int_equal(t->freed[0], 0);
}

static void test_trace(void **state) {
	(void)state;
	glob_t g;
	whatif_trace t;
	gmt_error err = {""};
	assert_int_equal(glob("traces/data/gotrace/*.zst", 0, NULL, &g), 0);
	assert_true(g.gl_pathc >= 10);
	for (size_t i = 0; i < g.gl_pathc; i++) {
		const bool good = whatif_read_trace(g.gl_pathv[i], false, &t, (whatif_progress){0}, &err);
		assert_int_equal(good, strstr(g.gl_pathv[i], "noobjects") == NULL);
		if (!good) {
			assert_non_null(strstr(err.text, "GODEBUG=traceallocfree=1"));
			continue;
		}
		check_trace(&t);
		whatif_config c;
		whatif_config_trace(&c, &t);
		settle(&c);
		for (unsigned largest = 0; largest < 2; largest++) {
			assert_int_equal(whatif_run_trace(&t, largest == 1, &c, (whatif_progress){0}, &res), 0);
			assert_int_equal(res.mallocs, t.mallocs);
			assert_int_equal(res.cycles, t.cycles);
			check_sums(&res);
		}
		whatif_trace_free(&t);
	}
	globfree(&g);
}

// lives_of reads a recording of spans that begin, and gives what is said of it.
static const char *lives_of(const gmt_event *e, uint32_t n, gmt_error *err) {
	const gmt_header head = {.goversion = "go1.26.8"};
	const gmt_block block = {.n = n, .events = e};
	whatif_lives lives;
	gmt_reader *r = gmt_open_events(&head, &block, err);
	assert_non_null(r);
	err->text[0] = 0;
	if (whatif_read_lives(r, &lives, err) == 0) {
		whatif_lives_free(&lives);
	}
	gmt_close(r);
	return err->text;
}

static gmt_event span(uint64_t base, uint64_t npages) {
	return (gmt_event){.kind = EV_SPANINIT, .a = 1 << 11, .b = 1, .c = base, .d = npages};
}

static void test_spansOutOfPlace(void **state) {
	(void)state;
	gmt_error err;
	const uint64_t last = ((uint64_t)1 << 47) - 8192;
	assert_string_equal(lives_of((gmt_event[]){span(last, 1)}, 1, &err), "");
	assert_non_null(strstr(lives_of((gmt_event[]){span(last, 2)}, 1, &err), "out of range"));
	assert_non_null(strstr(lives_of((gmt_event[]){span(0xc000000000, UINT32_MAX)}, 1, &err), "out of range"));
	assert_non_null(
		strstr(lives_of((gmt_event[]){span(0xc000002000, 1), span(0xc000000000, 2)}, 2, &err), "two spans"));
	assert_non_null(
		strstr(lives_of((gmt_event[]){span(0xc000000000, 2), span(0xc000002000, 1)}, 2, &err), "two spans"));
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_recordedConstantsChangeNothing),
		cmocka_unit_test(test_goConstantsChangeNothing),
		cmocka_unit_test(test_otherConstantsChangeDecisions),
		cmocka_unit_test(test_os),
		cmocka_unit_test(test_gogc),
		cmocka_unit_test(test_twice),
		cmocka_unit_test(test_trace),
		cmocka_unit_test(test_spansOutOfPlace),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
