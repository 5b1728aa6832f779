// test_replay.c: what a verdict says when something is not as it should be.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "traces/mutate.h"
#include "traces/replay.h"

static const char control[] = "tests/controls/goroutines-p4.gmt";
static const char fixedBase[] = "traces/data/gofmt-norandbase-p1.gmt";
static char changed[] = "/tmp/gomem-test-replay-XXXXXX";

static replay_result *run(const char *path, const replay_options *opt) {
	static replay_result res;
	gmt_error err;
	gmt_reader *r = gmt_open(path, &err);
	assert_non_null(r);
	replay_run_lab(r, opt, &res);
	gmt_close(r);
	return &res;
}

static void edited(const gmt_edit *edit) {
	gmt_error err;
	(void)remove(changed);
	if (gmt_rewrite(control, changed, edit, &err) != 0) {
		fail_msg("%s", err.text);
	}
}

static void test_equal(void **state) {
	(void)state;
	const replay_result *res = run(control, &(replay_options){0});
	assert_int_equal(res->status, REPLAY_EQUAL);
	assert_false(res->stopped);
	uint64_t total = 0;
	for (int k = 0; k < RK_MAX; k++) {
		assert_int_equal(res->kinds[k].equal, res->kinds[k].total);
		total += res->kinds[k].total;
	}
	assert_int_equal(res->compared, total);
}

// One answer is changed, and nothing that follows depends on it: one difference, the rest tainted, not equal.
static void test_tainted(void **state) {
	(void)state;
	edited(&(gmt_edit){.op = GMT_EDIT_ADD, .kind = EV_SCAVFIND, .n = 5, .field = 'b', .delta = 1});
	const replay_result *res = run(changed, &(replay_options){0});
	assert_int_equal(res->status, REPLAY_DIFFERS);
	assert_false(res->stopped);
	uint64_t equal = 0, tainted = 0, differ = 0, total = 0;
	for (int k = 0; k < RK_MAX; k++) {
		equal += res->kinds[k].equal;
		tainted += res->kinds[k].tainted;
		differ += res->kinds[k].differ;
		total += res->kinds[k].total;
	}
	assert_int_equal(differ, 1);
	assert_int_equal(res->kinds[RK_SCAV_FIND].differ, 1);
	assert_int_equal(res->kinds[RK_SCAV_FIND].equal, 5);
	assert_true(tainted > 1000);
	assert_int_equal(equal + tainted + differ, total);
	assert_non_null(strstr(res->kinds[RK_SCAV_FIND].first, "event "));
	assert_non_null(strstr(res->kinds[RK_SCAV_FIND].first, "P "));
	assert_non_null(strstr(res->kinds[RK_SCAV_FIND].first, "expected"));
}

// A decision is missing: the port takes it all the same, and the replay says where and stops.
static void test_stopped(void **state) {
	(void)state;
	edited(&(gmt_edit){.op = GMT_EDIT_DROP, .kind = EV_PUSH, .n = 100});
	const replay_result *res = run(changed, &(replay_options){0});
	assert_int_equal(res->status, REPLAY_DIFFERS);
	assert_true(res->stopped);
	assert_true(res->stopped_at > 0 && res->stopped_at < res->events);
	assert_non_null(strstr(res->error, "push"));
	// What was not compared is not equal.
	assert_true(res->kinds[RK_PUSH_SLOT].equal < res->kinds[RK_PUSH_SLOT].total);
}

// --os real wants the recorded addresses. If they are taken, the error names the range and the way out.
static void test_takenRange(void **state) {
	(void)state;
	const uintptr_t hint = (uintptr_t)0xc000000000;
	const size_t arena = 64 << 20;
	void *v = mmap((void *)hint, arena, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	assert_true(v != MAP_FAILED); // wherever it went: at the hint, or the hint was taken before
	const replay_result *res = run(fixedBase, &(replay_options){.real_os = true});
	munmap(v, arena);
	assert_int_equal(res->status, REPLAY_BAD_INPUT);
	assert_non_null(strstr(res->error, "0xc000000000"));
	assert_non_null(strstr(res->error, "--os sim"));
}

static int removeChanged(void **state) {
	(void)state;
	(void)remove(changed);
	return 0;
}

int main(void) {
	int fd = mkstemp(changed);
	if (fd < 0) {
		return 1;
	}
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_equal),
		cmocka_unit_test(test_tainted),
		cmocka_unit_test(test_stopped),
		cmocka_unit_test(test_takenRange),
	};
	return cmocka_run_group_tests(tests, NULL, removeChanged);
}
