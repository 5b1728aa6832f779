// negative.c: negative controls. A verdict that could not fail would prove nothing, so single events of good recordings are changed and the
// replay has to notice.
//
// usage: negative TEMPDIR POSITIONS RECORDING...
//
// For each kind of event and a number of positions in each recording: the event is dropped; each of its answers is shifted; each of its inputs is
// shifted; mark bits are flipped. The changed file is valid, with right hashes and counts, so only the replay can tell. Every changed answer has to
// be found, and every dropped one. Inputs may be without consequence: for the kinds where that happens the reason stands in the table.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "traces/mutate.h"
#include "traces/replay.h"

typedef struct control {
	gomem_ev kind;
	const char *answers; // fields
	const char *inputs;
	const char *inert; // why a dropped or changed input may have no consequence; NULL: it always has one
} control;

static const char samePlace[] = "the next request of that class, size or kind decides the same, or there is none";
static const char nothingFollows[] = "nothing that follows depends on it";

static const control controls[] = {
	{EV_MALLOC, "cd", "ab", samePlace},
	{EV_MALLOCBEGIN, "", "ab", samePlace},
	{EV_FREEGC, "", "ab", samePlace},
	{EV_STACKALLOC, "", "a", NULL},
	{EV_STACKFREE, "", "a", samePlace},
	{EV_ALLOCMANUAL, "", "a", NULL},
	{EV_FREEMANUAL, "", "a", NULL},
	{EV_SWEEPONE, "", "", NULL},
	{EV_ENSURESWEPT, "", "a", NULL},
	{EV_RECLAIM, "", "a", NULL},
	{EV_SWEEPACTIVE, "", "", NULL},
	{EV_SCAVENGE, "", "", NULL},
	{EV_PREPARESWEEP, "", "a", "the cache was empty, and no later flush asks for its generation"},
	{EV_FLUSHMCACHE, "", "a", "the cache was empty"},
	{EV_FLUSHPCACHE, "", "a", NULL},
	{EV_FREESTACKSPANS, "", "", NULL},
	{EV_GCPHASE, "", "", nothingFollows},
	{EV_SWEEPGEN, "a", "", NULL},
	{EV_FINISHSWEEP, "", "", "no set that it resets is used again"},
	{EV_NEXTGEN, "", "", nothingFollows},
	{EV_PINIT, "", "", NULL},
	{EV_PDESTROY, "", "a", NULL},
	{EV_MALLOCEND, "ab", "", NULL},
	{EV_STACKEND, "a", "", NULL},
	{EV_REFILL, "ab", "", NULL},
	{EV_REFILLEND, "abcd", "", NULL},
	{EV_PUSH, "ab", "", NULL},
	{EV_POP, "ab", "", NULL},
	{EV_SCLOAD, "a", "", NULL},
	{EV_SCUPDATE, "a", "", NULL},
	{EV_ACQUIRE, "abc", "", NULL},
	{EV_SWEEP, "abcd", "", NULL},
	{EV_PCREFILL, "abc", "", NULL},
	{EV_PALLOC, "abcd", "", NULL},
	{EV_MSPANALLOC, "b", "", NULL},
	{EV_PCALLOC, "abc", "", NULL},
	{EV_PCFLUSH, "abcd", "", NULL},
	{EV_NEEDZERO, "abc", "", NULL},
	{EV_SPANINIT, "abcd", "", NULL},
	{EV_SPANFREE, "abcd", "", NULL},
	{EV_RESERVE, "ab", "", NULL},
	{EV_ARENA, "abc", "", NULL},
	{EV_PGROW, "ab", "", NULL},
	{EV_RANDPAD, "ab", "", NULL},
	{EV_SCAVFIND, "ab", "", NULL},
	{EV_SCAVBEGIN, "ab", "", NULL},
	{EV_SCAVEND, "ab", "", NULL},
	{EV_SCAVEMPTY, "a", "", NULL},
	{EV_SPOOLALLOC, "ab", "", NULL},
	{EV_SPOOLFREE, "ab", "", NULL},
	{EV_STACKSCAN, "a", "", NULL},
	{EV_SLARGEPOP, "ab", "", NULL},
	{EV_SLARGEPUSH, "ab", "", NULL},
	{EV_HINT, "ab", "", NULL},
	// An mcache has no name in a recording: that one is taken is all there is to compare.
	{EV_MCACHEALLOC, "", "", NULL},
};
enum { NCONTROLS = sizeof(controls) / sizeof(controls[0]) };

typedef struct tried {
	unsigned found, of;
	bool refusable; // a refusal as bad input counts as found
} tried;

static char changed[4096];

static replay_status replay_file(const char *path) {
	gmt_error err;
	gmt_reader *r = gmt_open(path, &err);
	if (r == NULL) {
		return REPLAY_BAD_INPUT;
	}
	static replay_result res;
	const replay_options opt = {0};
	replay_run(r, &opt, &res);
	gmt_close(r);
	return res.status;
}

// try_edit counts whether an edit is found. An edit that does not make a valid event is not counted: false.
static bool try_edit(const char *recording, const gmt_edit *edit, tried *t) {
	gmt_error err;
	(void)remove(changed);
	if (gmt_rewrite(recording, changed, edit, &err) != 0) {
		return false;
	}
	// A dropped event or a shifted answer is a difference; only a shifted input may be refused as impossible.
	replay_status status = replay_file(changed);
	t->of++;
	t->found += status == REPLAY_DIFFERS || (status == REPLAY_BAD_INPUT && t->refusable);
	return true;
}

// try_shift tries deltas until one makes a valid event.
static void try_shift(const char *recording, gmt_edit edit, char field, tried *t) {
	static const uint64_t deltas[] = {1, 8, 8192, (uint64_t)-1, (uint64_t)-8192};
	edit.op = GMT_EDIT_ADD;
	edit.field = field;
	for (size_t i = 0; i < sizeof(deltas) / sizeof(deltas[0]); i++) {
		edit.delta = deltas[i];
		if (try_edit(recording, &edit, t)) {
			return;
		}
	}
}

static uint64_t count_of(const char *recording, gomem_ev kind) {
	gmt_error err;
	gmt_reader *r = gmt_open(recording, &err);
	if (r == NULL) {
		fprintf(stderr, "%s\n", err.text);
		exit(2);
	}
	uint64_t n = gmt_reader_count(r, kind);
	gmt_close(r);
	return n;
}

typedef struct result {
	tried drop, answer, input;
} result;

static void run_control(const control *c, const char *recording, unsigned positions, result *res) {
	uint64_t n = count_of(recording, c->kind), last = UINT64_MAX;
	for (unsigned i = 0; i < positions && n != 0; i++) {
		gmt_edit edit = {.op = GMT_EDIT_DROP, .kind = c->kind, .n = n * (i + 1) / (positions + 1)};
		if (edit.n == last) {
			continue;
		}
		last = edit.n;
		try_edit(recording, &edit, &res->drop);
		for (const char *f = c->answers; *f != 0; f++) {
			try_shift(recording, edit, *f, &res->answer);
		}
		for (const char *f = c->inputs; *f != 0; f++) {
			try_shift(recording, edit, *f, &res->input);
		}
	}
}

// run_flips flips mark bits. An object that was allocated and dies too soon, or lives too long, is found at the latest when its slot is used again.
static tried run_flips(const char *recording, unsigned positions) {
	tried t = {0};
	for (unsigned i = 0; i < positions * 4; i++) {
		gmt_edit edit = {.op = GMT_EDIT_FLIP, .n = (uint64_t)i * 7, .bit = i % 11};
		try_edit(recording, &edit, &t);
	}
	return t;
}

static bool is_input(gomem_ev k) { return gmt_kind(k)->input; }

// found_some: where a change may be without consequence, at least a quarter of many has one.
static bool found_some(tried t) { return t.of < 6 || t.found * 4 >= t.of; }

// judge prints a line and says whether the control holds.
static bool judge(const control *c, const result *r) {
	bool answers = r->answer.found == r->answer.of;
	bool drops = r->drop.found == r->drop.of || (is_input(c->kind) && c->inert != NULL && found_some(r->drop));
	bool inputs = r->input.found == r->input.of || (c->inert != NULL && found_some(r->input));
	bool tested = r->drop.of != 0;
	printf("%-20s %4u of %-4u %4u of %-4u %4u of %-4u %s%s\n", gmt_kind(c->kind)->name, r->drop.found, r->drop.of,
		r->answer.found, r->answer.of, r->input.found, r->input.of, answers && drops && inputs ? "" : "NOT FOUND ",
		tested ? "" : "NOT TESTED");
	if (c->inert != NULL && (r->drop.found != r->drop.of || r->input.found != r->input.of)) {
		printf("%20s (%s)\n", "", c->inert);
	}
	return answers && drops && inputs && tested;
}

int main(int argc, char **argv) {
	if (argc < 4) {
		fprintf(stderr, "usage: negative TEMPDIR POSITIONS RECORDING...\n");
		return 2;
	}
	snprintf(changed, sizeof(changed), "%s/changed.gmt", argv[1]);
	const unsigned positions = (unsigned)strtoul(argv[2], NULL, 10);
	for (int i = 3; i < argc; i++) {
		if (replay_file(argv[i]) != REPLAY_EQUAL) {
			fprintf(stderr, "%s: does not replay equal unchanged\n", argv[i]);
			return 1;
		}
	}
	printf("%-20s %-12s %-12s %s\n", "kind of event", "dropped", "answer", "input: differences found");
	bool good = true;
	for (size_t k = 0; k < NCONTROLS; k++) {
		result res = {.input = {.refusable = true}};
		for (int i = 3; i < argc; i++) {
			run_control(&controls[k], argv[i], positions, &res);
		}
		good = judge(&controls[k], &res) && good;
	}
	tried flips = {0};
	for (int i = 3; i < argc; i++) {
		tried t = run_flips(argv[i], positions);
		flips.found += t.found;
		flips.of += t.of;
	}
	printf("%-20s %4u of %u\n", "mark bit flipped", flips.found, flips.of);
	(void)remove(changed);
	return good && flips.of != 0 && flips.found == flips.of ? 0 : 1;
}
