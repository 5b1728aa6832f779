// test_gotrace.c: Go execution traces, made here byte by byte: order, Ps, addresses, tables, and each refusal; and those of real programs in
// traces/data/gotrace.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "traces/gotrace_make.h"

#define MIN 0xc000000000u
#define EV(k, type, dt, ...)                                                                                           \
	make_event(k, type, dt, sizeof((const uint64_t[]){__VA_ARGS__}) / 8, (const uint64_t[]){__VA_ARGS__})
#define EV0(k, type, dt) make_event(k, type, dt, 0, NULL)

enum { FREQUENCY = 15625000, VERSION = 26 };

// ---- making

static void begin_generation(make *k, unsigned version, uint64_t gen) {
	make_clock(k, version, gen, FREQUENCY);
	if (gen == 1) {
		make_info(k, gen, MIN);
	}
}

static void end_generation(make *k, unsigned version) {
	if (version >= 26) {
		make_byte(k, GT_EV_END);
	}
}

static make begin_trace(unsigned version) {
	make k = {0};
	make_magic(&k, version);
	begin_generation(&k, version, 1);
	return k;
}

// free_object adds an event that is easy to tell from others.
static void free_object(make *k, uint64_t dt, uint64_t id) { EV(k, GT_EV_OBJECT_FREE, dt, id); }

// ---- reading

enum { MAX_SEEN = 4096 };

typedef struct seen {
	size_t n;
	gotrace_event e[MAX_SEEN];
	int end;
	bool opened;
	gmt_error err;
	gotrace *t;
} seen;

static seen read_all(const uint8_t *p, size_t n, bool salvage) {
	seen s = {0};
	s.t = gotrace_open_memory("a.trace", p, n, (gotrace_options){.salvage = salvage}, &s.err);
	s.opened = s.t != NULL;
	s.end = -1;
	gotrace_event e;
	while (s.t != NULL && (s.end = gotrace_next(s.t, &e, &s.err)) > 0) {
		assert_true(s.n < MAX_SEEN);
		s.e[s.n++] = e;
	}
	if (s.t != NULL) { // the end stays the end
		assert_int_equal(gotrace_next(s.t, &e, &s.err), s.end);
	}
	return s;
}

static void close_seen(seen *s) { gotrace_close(s->t); }

static seen *read_good(const make *k) {
	static seen s;
	s = read_all(k->p, k->n, false);
	if (s.end != 0) {
		fail_msg("%s", s.err.text);
	}
	return &s;
}

// done releases the trace and what was read of it.
static void done(make *k, seen *s) {
	close_seen(s);
	free(k->p);
}

// refused: the trace is refused, at the offset, with the words. Releases it.
static void refused_at(make *k, const char *words, size_t offset) {
	seen s = read_all(k->p, k->n, false);
	assert_int_equal(s.end, -1);
	char place[64];
	(void)snprintf(place, sizeof(place), "a.trace: offset %zu: ", offset);
	if (strstr(s.err.text, words) == NULL || (offset != SIZE_MAX && strncmp(s.err.text, place, strlen(place)) != 0)) {
		fail_msg("%s\nwanted: %s%s", s.err.text, place, words);
	}
	done(k, &s);
}

static void refused(make *k, const char *words) { refused_at(k, words, SIZE_MAX); }

// objects checks which objects were freed, in order, and whose P that was.
static void check_objects(const seen *s, size_t n, const uint64_t *ids) {
	size_t at = 0;
	for (size_t i = 0; i < s->n; i++) {
		if (s->e[i].kind == GOTRACE_OBJECT_FREE) {
			assert_true(at < n);
			assert_int_equal(s->e[i].addr, MIN + (at < n ? ids[at] : 0) * 8);
			at++;
		}
	}
	assert_int_equal(at, n);
}

#define ORDER(s, ...) check_objects(s, sizeof((const uint64_t[]){__VA_ARGS__}) / 8, (const uint64_t[]){__VA_ARGS__})

static const gotrace_event *find(const seen *s, gotrace_kind kind, size_t which) {
	for (size_t i = 0; i < s->n; i++) {
		if (s->e[i].kind == kind && which-- == 0) {
			return &s->e[i];
		}
	}
	fail_msg("there is no %s", gotrace_kind_name(kind));
	return NULL;
}

static size_t count(const seen *s, gotrace_kind kind) {
	size_t n = 0;
	for (size_t i = 0; i < s->n; i++) {
		n += s->e[i].kind == kind;
	}
	return n;
}

// ---- order

static void test_heads_merge(void **state) {
	(void)state;
	make k = begin_trace(VERSION);
	make_batch(&k, 0, 1, 7, 100);
	free_object(&k, 1, 1);  // 101
	free_object(&k, 50, 2); // 151
	make_end(&k);
	make_batch(&k, 0, 1, 8, 100);
	free_object(&k, 10, 3); // 110
	free_object(&k, 20, 4); // 130
	free_object(&k, 21, 5); // 151: as early as 2, of a larger M
	make_end(&k);
	// The clock steps back: within an M that changes nothing.
	make_batch(&k, 0, 1, 7, 120);
	free_object(&k, 1, 6); // 121
	free_object(&k, 40, 7);
	make_end(&k);
	end_generation(&k, VERSION);
	seen *s = read_good(&k);
	ORDER(s, 1, 3, 4, 2, 6, 5, 7);
	assert_int_equal(s->e[0].kind, GOTRACE_SNAPSHOT_END);
	assert_int_equal(find(s, GOTRACE_OBJECT_FREE, 0)->time, 64);
	assert_int_equal(find(s, GOTRACE_OBJECT_FREE, 1)->time, 640);
	assert_int_equal(find(s, GOTRACE_OBJECT_FREE, 1)->m, 8);
	done(&k, s);
}

// An M that writes an event before the clock's next tick counts one on: the event may be as early as the last time that the clock had.
static void test_ahead_of_clock(void **state) {
	(void)state;
	static const uint64_t earliest[] = {0, 0, 5, 5, 5, 100};
	make k = begin_trace(VERSION);
	make_batch(&k, 0, 1, 7, 100);
	free_object(&k, 1, 1); // 101
	free_object(&k, 1, 2); // 102
	free_object(&k, 3, 3); // 105: a tick of the clock
	free_object(&k, 1, 4);
	free_object(&k, 1, 5);
	make_end(&k);
	make_batch(&k, 0, 1, 7, 200); // a batch begins with the time of the clock
	free_object(&k, 1, 6);
	make_end(&k);
	end_generation(&k, VERSION);
	seen *s = read_good(&k);
	for (size_t i = 0; i < sizeof(earliest) / sizeof(earliest[0]); i++) {
		assert_int_equal(find(s, GOTRACE_OBJECT_FREE, i)->earliest, earliest[i] * 64);
	}
	done(&k, s);
}

static void test_generations(void **state) {
	(void)state;
	static const unsigned versions[] = {23, 25, 26, 27};
	for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
		make k = begin_trace(versions[i]);
		make_batch(&k, 0, 1, 1, 100);
		free_object(&k, 900, 1);
		make_end(&k);
		end_generation(&k, versions[i]);
		begin_generation(&k, versions[i], 2);
		make_batch(&k, 0, 2, 2, 100);
		free_object(&k, 1, 2); // earlier than 1, but of the next generation
		make_end(&k);
		end_generation(&k, versions[i]);
		seen *s = read_good(&k);
		ORDER(s, 1, 2);
		assert_int_equal(gotrace_generations(s->t), 2);
		assert_int_equal(gotrace_version(s->t), versions[i]);
		done(&k, s);
	}
}

// A generation that begins anywhere is good: it is not the first time that the program is traced.
static void test_later_first_generation(void **state) {
	(void)state;
	make k = {0};
	make_magic(&k, VERSION);
	make_clock(&k, VERSION, 9, FREQUENCY);
	make_info(&k, 9, MIN);
	end_generation(&k, VERSION);
	seen *s = read_good(&k);
	assert_int_equal(s->n, 1);
	done(&k, s);
}

static void test_snapshot_first(void **state) {
	(void)state;
	make k = begin_trace(VERSION);
	make_batch(&k, 0, 1, 1, 100);
	free_object(&k, 1, 1); // earlier than the snapshot by its clock
	make_end(&k);
	make_batch(&k, 0, 1, 2, 100);
	EV(&k, GT_EV_PROCS_CHANGE, 1, 4, 0);
	EV(&k, GT_EV_SPAN, 1000, 2, 1, 10);
	EV(&k, GT_EV_OBJECT, 1, 2048, 0);
	EV(&k, GT_EV_STACK_SNAP, 1, 3, 13);
	EV(&k, GT_EV_STACK_SNAP, 1, 12345, 0); // of a goroutine that has ended: none
	make_end(&k);
	make_batch(&k, 0, 1, 2, 101); // the clock, before the snapshot ran ahead of it
	free_object(&k, 3, 2);
	make_end(&k);
	end_generation(&k, VERSION);
	seen *s = read_good(&k);
	static const uint8_t kinds[] = {GOTRACE_PROCS, GOTRACE_SPAN, GOTRACE_OBJECT, GOTRACE_STACK, GOTRACE_SNAPSHOT_END,
		GOTRACE_OBJECT_FREE, GOTRACE_OBJECT_FREE};
	assert_int_equal(s->n, sizeof(kinds));
	for (size_t i = 0; i < s->n; i++) {
		assert_int_equal(s->e[i].kind, kinds[i]);
	}
	ORDER(s, 1, 2);
	assert_int_equal(s->e[0].n, 4);
	assert_int_equal(s->e[1].addr, MIN + 2 * 8192);
	assert_int_equal(s->e[1].n, 1);
	assert_int_equal(s->e[1].class, 5);
	assert_int_equal(s->e[3].addr, MIN + 3 * 2048);
	assert_int_equal(s->e[3].n, 4096);
	done(&k, s);
}

static void test_late_snapshot_refused(void **state) {
	(void)state;
	make k = begin_trace(VERSION);
	make_batch(&k, 0, 1, 2, 100);
	free_object(&k, 3, 2);
	size_t at = k.n;
	EV(&k, GT_EV_SPAN, 1000, 2, 1, 10);
	make_end(&k);
	end_generation(&k, VERSION);
	refused_at(&k, "what was there at the start, among what came later", at);

	k = begin_trace(VERSION);
	for (uint64_t m = 1; m <= 2; m++) {
		make_batch(&k, 0, 1, m, 100);
		EV(&k, GT_EV_SPAN, 1000, m, 1, 10);
		make_end(&k);
	}
	end_generation(&k, VERSION);
	refused(&k, "two threads (1, 2) tell what was there at the start");
}

// ---- Ps

static void test_attribution(void **state) {
	(void)state;
	make k = begin_trace(VERSION);
	make_batch(&k, 0, 1, 1, 100);
	free_object(&k, 1, 1); // no P
	EV(&k, GT_EV_PROC_STATUS, 1, 3, 1);
	free_object(&k, 1, 2); // 3
	EV0(&k, GT_EV_PROC_STOP, 1);
	free_object(&k, 1, 3); // none, none follows
	EV0(&k, 24, 1);
	free_object(&k, 1, 4); // none, but 5 next
	EV(&k, GT_EV_SPAN_FREE, 1, 9);
	EV(&k, GT_EV_HEAP_ALLOC, 1, 77);
	make_end(&k);
	make_batch(&k, 0, 1, 1, 108);
	EV(&k, GT_EV_PROC_START, 1, 5, 1);
	EV0(&k, 24, 1); // GoSyscallEndBlocked behind ProcStart: the P stays
	free_object(&k, 1, 5);
	EV(&k, GT_EV_PROC_STATUS, 1, 6, 2); // of an idle P: tells nothing of this M
	EV(&k, GT_EV_PROC_STATUS, 1, 6, 4);
	free_object(&k, 1, 6);
	make_end(&k);
	end_generation(&k, VERSION);
	seen *s = read_good(&k);
	static const int32_t ps[] = {-1, 3, -1, -1, 5, 5};
	static const int32_t next[] = {-1, -1, -1, 5, -1, -1};
	for (size_t i = 0; i < 6; i++) {
		assert_int_equal(find(s, GOTRACE_OBJECT_FREE, i)->p, ps[i]);
		assert_int_equal(find(s, GOTRACE_OBJECT_FREE, i)->next_p, next[i]);
	}
	assert_int_equal(find(s, GOTRACE_SPAN_FREE, 0)->next_p, 5);
	assert_int_equal(find(s, GOTRACE_HEAP_ALLOC, 0)->n, 77);
	assert_int_equal(count(s, GOTRACE_PROC_START), 2);
	assert_int_equal(find(s, GOTRACE_PROC_START, 1)->p, 5);
	assert_int_equal(find(s, GOTRACE_PROC_STOP, 0)->p, 3);
	done(&k, s);
}

static void test_steal(void **state) {
	(void)state;
	make k = begin_trace(VERSION);
	make_batch(&k, 0, 1, 1, 100);
	EV(&k, GT_EV_PROC_START, 1, 0, 1);
	free_object(&k, 1, 1);   // 102: P 0
	free_object(&k, 100, 2); // 202: none, it was stolen
	make_end(&k);
	make_batch(&k, 0, 1, 2, 100);
	EV(&k, GT_EV_PROC_STEAL, 50, 0, 2, 99); // of another M than has it: nothing
	free_object(&k, 1, 3);
	EV(&k, GT_EV_PROC_STEAL, 9, 0, 3, 1);
	EV(&k, GT_EV_PROC_START, 1, 0, 4);
	free_object(&k, 1, 4);
	make_end(&k);
	// M 3 takes over P 0 before it is told that it was stolen: the late steal must not take it away.
	make_batch(&k, 0, 1, 3, 200);
	EV(&k, GT_EV_PROC_START, 50, 0, 6);
	free_object(&k, 10, 5);
	free_object(&k, 10, 6);
	make_end(&k);
	make_batch(&k, 0, 1, 2, 255);
	EV(&k, GT_EV_PROC_STEAL, 10, 0, 5, 3);
	free_object(&k, 100, 7);
	make_end(&k);
	end_generation(&k, VERSION);
	seen *s = read_good(&k);
	ORDER(s, 1, 3, 4, 2, 5, 6, 7);
	static const int32_t ps[] = {0, -1, 0, -1, 0, 0, -1};
	for (size_t i = 0; i < 7; i++) {
		assert_int_equal(find(s, GOTRACE_OBJECT_FREE, i)->p, ps[i]);
	}
	assert_int_equal(count(s, GOTRACE_PROC_STOP), 1);
	assert_int_equal(find(s, GOTRACE_PROC_STOP, 0)->p, 0);
	assert_int_equal(find(s, GOTRACE_PROC_STOP, 0)->m, 2);
	done(&k, s);
}

// The clock of M 1 runs ahead of that of M 2, which steals its P in a system call: what M 1 did before comes first, and M 3 gets the P after that.
static void test_early_steal(void **state) {
	(void)state;
	make k = begin_trace(VERSION);
	make_batch(&k, 0, 1, 1, 100);
	EV(&k, GT_EV_PROC_START, 1, 0, 1);
	free_object(&k, 9, 1); // 110
	free_object(&k, 20, 2);
	free_object(&k, 20, 3);
	EV(&k, GT_EV_GO_SYSCALL_BEGIN, 1, 2, 0); // 151
	make_end(&k);
	make_batch(&k, 0, 1, 2, 100);
	EV(&k, GT_EV_PROC_STEAL, 15, 0, 3, 1); // 115
	free_object(&k, 2, 4);
	make_end(&k);
	make_batch(&k, 0, 1, 3, 100);
	EV(&k, GT_EV_PROC_START, 16, 0, 4); // 116
	free_object(&k, 1, 5);
	// Of a system call that nobody tells the steal does not wait.
	free_object(&k, 100, 6); // 217
	make_end(&k);
	make_batch(&k, 0, 1, 2, 210);
	EV(&k, GT_EV_PROC_STEAL, 1, 0, 7, 3);
	make_end(&k);
	end_generation(&k, VERSION);
	seen *s = read_good(&k);
	ORDER(s, 1, 2, 3, 4, 5, 6);
	static const int32_t ps[] = {0, 0, 0, -1, 0, -1};
	for (size_t i = 0; i < 6; i++) {
		assert_int_equal(find(s, GOTRACE_OBJECT_FREE, i)->p, ps[i]);
	}
	assert_int_equal(count(s, GOTRACE_PROC_STOP), 2);
	done(&k, s);
}

// A P stays with its M from one generation to the next.
static void test_p_over_generations(void **state) {
	(void)state;
	make k = begin_trace(VERSION);
	make_batch(&k, 0, 1, 1, 100);
	EV(&k, GT_EV_PROC_START, 1, 2, 9);
	make_end(&k);
	end_generation(&k, VERSION);
	begin_generation(&k, VERSION, 2);
	make_batch(&k, 0, 2, 1, 200);
	free_object(&k, 1, 1);
	EV(&k, GT_EV_PROC_STATUS, 1, 2, 3); // told again: no start
	make_end(&k);
	// Numbers of order begin anew: this steal is not late.
	make_batch(&k, 0, 2, 4, 300);
	EV(&k, GT_EV_PROC_STEAL, 1, 2, 1, 1);
	make_end(&k);
	end_generation(&k, VERSION);
	seen *s = read_good(&k);
	assert_int_equal(find(s, GOTRACE_OBJECT_FREE, 0)->p, 2);
	assert_int_equal(count(s, GOTRACE_PROC_START), 1);
	assert_int_equal(count(s, GOTRACE_PROC_STOP), 1);
	done(&k, s);
}

// ---- numbers, tables

static void test_decoding(void **state) {
	(void)state;
	make k = begin_trace(VERSION);
	make_batch(&k, 0, 1, 1, 100);
	EV(&k, GT_EV_SPAN_ALLOC, 1, 5, 3, 1);
	EV(&k, GT_EV_SPAN_ALLOC, 1, 6, 3, 135 << 1);
	EV(&k, GT_EV_SPAN_FREE, 1,
		((uint64_t)0 - 8192) >> 13); // below the lowest address at the start: 2^64 is a multiple of pages
	EV(&k, GT_EV_STACK_ALLOC, 1, 1, 12);
	EV(&k, GT_EV_STACK_FREE, 1, 1);
	EV(&k, GT_EV_GC_BEGIN, 1, 4, 0);
	EV(&k, GT_EV_GC_END, 1, 4);
	EV(&k, GT_EV_STW_BEGIN, 1, 2, 0);
	EV0(&k, GT_EV_STW_END, 1);
	EV(&k, GT_EV_SWEEP_BEGIN, 1, 0);
	EV(&k, GT_EV_SWEEP_END, 1, 8192, 96);
	EV(&k, GT_EV_HEAP_GOAL, 1, 4 << 20);
	make_end(&k);
	make_batch(&k, 0, 1, GT_NO_M, 100);
	make_byte(&k, GT_EV_STRINGS);
	make_string(&k, 2, "GC mark termination");
	make_end(&k);
	end_generation(&k, VERSION);
	seen *s = read_good(&k);
	assert_int_equal(find(s, GOTRACE_SPAN_ALLOC, 0)->class, GOTRACE_MANUAL);
	assert_int_equal(find(s, GOTRACE_SPAN_ALLOC, 1)->class, 135);
	assert_int_equal(find(s, GOTRACE_SPAN_FREE, 0)->addr, MIN - 8192);
	assert_int_equal(find(s, GOTRACE_STACK_ALLOC, 0)->addr, MIN + 2048);
	assert_int_equal(find(s, GOTRACE_STACK_ALLOC, 0)->n, 2048);
	assert_int_equal(find(s, GOTRACE_STACK_FREE, 0)->addr, MIN + 2048);
	assert_int_equal(find(s, GOTRACE_GC_BEGIN, 0)->n, 4);
	assert_string_equal(gotrace_string(s->t, find(s, GOTRACE_STW_BEGIN, 0)->n), "GC mark termination");
	assert_int_equal(find(s, GOTRACE_SWEEP_END, 0)->addr, 8192);
	assert_int_equal(find(s, GOTRACE_SWEEP_END, 0)->n, 96);
	assert_int_equal(find(s, GOTRACE_HEAP_GOAL, 0)->n, 4 << 20);
	assert_int_equal(gotrace_counts(s->t)[GT_EV_SPAN_ALLOC], 2);
	assert_int_equal(gotrace_min_addr(s->t), MIN);
	done(&k, s);
}

static void test_types(void **state) {
	(void)state;
	make k = begin_trace(VERSION);
	for (uint64_t gen = 1; gen <= 2; gen++) {
		if (gen == 2) {
			begin_generation(&k, VERSION, 2);
		}
		make_batch(&k, 0, gen, 1, 100);
		EV(&k, GT_EV_OBJECT_ALLOC, 1, 1, gen == 1 ? 1 : 2);
		EV(&k, GT_EV_OBJECT_ALLOC, 1, 2, 0);
		EV(&k, GT_EV_OBJECT_ALLOC, 1, 3, gen == 1 ? 2 : 1);
		make_end(&k);
		// The same two types, with each other's numbers in the second generation.
		make_batch(&k, 1, gen, GT_NO_M, 100);
		make_byte(&k, 0);
		make_type(&k, gen == 1 ? 1 : 2, 0x1000, 24, 8, "main.node");
		make_type(&k, gen == 1 ? 2 : 1, 0x2000, 24, 8, "main.node");
		make_end(&k);
		end_generation(&k, VERSION);
	}
	seen *s = read_good(&k);
	assert_int_equal(gotrace_types(s->t), 2);
	static const uint64_t addrs[] = {0x1000, 0, 0x2000, 0x1000, 0, 0x2000};
	for (size_t i = 0; i < 6; i++) {
		const gotrace_type *t = gotrace_type_of(s->t, find(s, GOTRACE_OBJECT_ALLOC, i)->type);
		assert_int_equal(t == NULL ? 0 : t->addr, addrs[i]);
		assert_true(t == NULL || (t->size == 24 && t->ptrbytes == 8 && strcmp(t->name, "main.node") == 0));
	}
	done(&k, s);
}

// ---- refusals

static void test_not_a_trace(void **state) {
	(void)state;
	make k = {0};
	refused_at(&k, "it is empty", 0);
	k = (make){0};
	make_bytes(&k, "go 1.26 trail\0\0\0", 16);
	refused_at(&k, "not a Go execution trace", 0);
	static const struct {
		unsigned version;
		const char *words;
	} versions[] = {{21, "objects are in traces since go1.23"}, {22, "since go1.23"}, {28, "reads go1.23 to go1.27"}};
	for (size_t i = 0; i < 3; i++) {
		k = (make){0};
		make_magic(&k, versions[i].version);
		refused_at(&k, versions[i].words, 0);
	}
	k = (make){0};
	make_magic(&k, VERSION);
	refused_at(&k, "the trace is empty", 16);
	assert_null(gotrace_open("/nonexistent/trace", (gotrace_options){false}, &(gmt_error){{0}}));
}

static void test_no_objects(void **state) {
	(void)state;
	make k = {0};
	make_magic(&k, VERSION);
	make_clock(&k, VERSION, 1, FREQUENCY);
	end_generation(&k, VERSION);
	refused(&k, "GODEBUG=traceallocfree=1");
}

// A trace of a batch, a stack and a string, as a base for damage.
static make base(unsigned version) {
	make k = begin_trace(version);
	make_batch(&k, 0, 1, 1, 100);
	free_object(&k, 1, 1);
	make_end(&k);
	make_batch(&k, 0, 1, GT_NO_M, 100);
	make_byte(&k, GT_EV_STRINGS);
	make_string(&k, 1, "main.go");
	make_end(&k);
	return k;
}

static void test_repeated_batch(void **state) {
	(void)state;
	make k = base(VERSION);
	make_batch(&k, 0, 1, 2, 100); // another M
	make_end(&k);
	size_t at = k.n;
	make_batch(&k, 0, 1, 1, 100);
	free_object(&k, 1, 1);
	make_end(&k);
	end_generation(&k, VERSION);
	refused_at(&k, "a batch of thread 1 that was there before", at);
}

static void test_generation_order(void **state) {
	(void)state;
	static const struct {
		unsigned version;
		uint64_t gens[3];
	} wrong[] = {{25, {2, 1, 0}}, {25, {3, 0, 0}}, {26, {2, 0, 0}}, {26, {0, 0, 0}}, {23, {2, 3, 2}}};
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		make k = base(wrong[i].version);
		size_t at = k.n;
		for (size_t j = 0; j < 3 && (j == 0 || wrong[i].gens[j] != 0); j++) {
			at = k.n;
			make_clock(&k, wrong[i].version, wrong[i].gens[j], FREQUENCY);
		}
		end_generation(&k, wrong[i].version);
		refused_at(&k, "a batch of generation", at);
	}
	make k = base(VERSION);
	end_generation(&k, VERSION);
	size_t at = k.n;
	end_generation(&k, VERSION);
	refused_at(&k, "the end of a generation that has not begun", at);
}

static void test_truncated(void **state) {
	(void)state;
	make k = base(VERSION);
	end_generation(&k, VERSION);
	size_t whole = k.n;
	for (size_t n = 0; n < whole; n++) {
		seen s = read_all(k.p, n, false);
		assert_int_equal(s.end, -1);
		char place[64];
		(void)snprintf(place, sizeof(place), "a.trace: offset %zu: ", n < 16 ? 0 : n);
		assert_int_equal(strncmp(s.err.text, place, strlen(place)), 0);
		assert_non_null(strstr(s.err.text,
			n == 16      ? "empty"
				: n < 16 ? (n == 0 ? "empty" : "not a")
						 : "the trace is cut"));
		close_seen(&s);
	}
	seen *s = read_good(&k);
	done(&k, s);
}

static void test_bad_events(void **state) {
	(void)state;
	static const struct {
		const char *words;
		uint8_t n, bytes[14];
	} bad[] = {
		{"this type of event is not defined", 2, {60, 1}},
		{"this type of event is not defined", 2, {137, 1}},
		{"this type of event is not defined", 2, {GT_EV_STRING, 1}},
		{"cut by the end of its batch", 2, {133, 1}},
		{"cut by the end of its batch", 1, {133}},
		{"cut by the end of its batch", 3, {133, 1, 0x80}},
		{"more than 64 bits", 13, {133, 1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0}},
		{"more than 64 bits", 12, {133, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2}},
		{"the time overflows", 12, {133, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 1}},
		{"an address out of range", 12, {133, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}},
		{"an address out of range", 9, {133, 1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40}},
		{"an object of type 9", 4, {132, 1, 1, 9}},
		{"a span of the kind 3", 5, {129, 1, 1, 1, 3}},
		{"a span of the kind 272", 6, {129, 1, 1, 1, 0x90, 2}},
		{"a span of 0 pages", 5, {129, 1, 1, 0, 2}},
		{"a stack of the order 0", 4, {135, 1, 1, 0}},
		{"a stack of the order 41", 4, {135, 1, 1, 41}},
		{"string 5, which no table", 4, {26, 1, 5, 0}},
		{"P 65536", 6, {10, 1, 0x80, 0x80, 4, 1}},
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		make k = base(VERSION);
		make_batch(&k, 0, 1, 1, 200);
		free_object(&k, 1, 2);
		size_t at = k.n;
		make_bytes(&k, bad[i].bytes, bad[i].n);
		make_end(&k);
		make_batch(&k, 0, 1, 2, 200);
		free_object(&k, 1000, 3);
		make_end(&k);
		end_generation(&k, VERSION);
		// Salvaged: what comes before it in the order of the merge.
		seen s = read_all(k.p, k.n, true);
		assert_int_equal(s.end, 0);
		ORDER(&s, 1, 2);
		assert_non_null(strstr(gotrace_salvaged(s.t), bad[i].words));
		close_seen(&s);
		refused_at(&k, bad[i].words, at);
	}
}

// Types of events that came later are not defined in older traces.
static void test_events_by_version(void **state) {
	(void)state;
	make k = base(25);
	make_batch(&k, 0, 1, 1, 200);
	EV(&k, 48, 1, 1, 2, 3, 4);
	make_end(&k);
	seen *s = read_good(&k);
	done(&k, s);
	k = base(25);
	size_t at = k.n;
	end_generation(&k, 26);
	refused_at(&k, "no batch begins here (type 52)", at);
}

// Each type of event has as many numbers as Go's writer gives it.
static void test_numbers_of_events(void **state) {
	(void)state;
	static const uint8_t numbers[] = {2, 2, 0, 3, 2, 3, 1, 2, 0, 0, 2, 2, 3, 2, 0, 0, 3, 2, 0, 1, 2, 1, 1, 1, 2, 1, 1,
		0, 1, 1, 1, 4, 2, 3, 3, 4, 2, 2, 3, 4};
	static const uint64_t zeros[4];
	make k = base(VERSION);
	make_batch(&k, 0, 1, 1, 200);
	for (unsigned i = 0; i < sizeof(numbers); i++) {
		make_event(&k, 9 + i, 100, numbers[i], zeros); // 0 is no type of event: a number too many or too few is seen
	}
	make_end(&k);
	end_generation(&k, VERSION);
	seen *s = read_good(&k);
	for (unsigned i = 0; i < sizeof(numbers); i++) {
		assert_int_equal(gotrace_counts(s->t)[9 + i], 1);
	}
	done(&k, s);
}

static void test_bad_tables(void **state) {
	(void)state;
	static const struct {
		const char *words;
		unsigned experiment;
		uint8_t n, bytes[24];
	} bad[] = {
		{"table of strings is damaged", 0, 4, {4, 5, 1, 1}},
		{"table of strings is damaged", 0, 4, {4, 6, 1, 0}},
		{"string 1 is defined twice", 0, 5, {4, 5, 1, 1, 'x'}},
		{"table of stacks is damaged", 0, 4, {2, 3, 1, 1}},
		{"a stack names a string that no table", 0, 8, {2, 3, 1, 1, 1, 1, 2, 1}},
		{"table of CPU samples is damaged", 0, 4, {6, 7, 1, 1}},
		{"table of clocks is damaged", 0, 3, {50, 8, 0}},
		{"table of clocks is damaged", 0, 3, {50, 9, 1}},
		{"table of types is damaged", 1, 4, {0, 1, 1, 1}},
		{"table of types is damaged", 1, 6, {0, 1, 1, 8, 9, 0}},
		{"table of types is damaged", 1, 6, {0, 0, 1, 8, 8, 0}},
		{"type 1 is defined twice", 1, 11, {0, 1, 1, 8, 8, 0, 1, 1, 9, 8, 0}},
		{"a second time what is needed", 1, 7, {1, 1, 0x80, 0x40, 8, 0x80, 0x10}},
		{"AllocFree is damaged", 1, 1, {2}},
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		make k = base(VERSION);
		make_batch(&k, bad[i].experiment, 1, GT_NO_M, 200);
		make_bytes(&k, bad[i].bytes, bad[i].n);
		make_end(&k);
		end_generation(&k, VERSION);
		refused(&k, bad[i].words);
	}
	// An experiment that nobody knows of says nothing.
	make k = base(VERSION);
	make_batch(&k, 2, 1, GT_NO_M, 200);
	make_byte(&k, 77);
	make_end(&k);
	end_generation(&k, VERSION);
	seen *s = read_good(&k);
	done(&k, s);
}

static void test_bad_info(void **state) {
	(void)state;
	static const uint64_t bad[][4] = {
		{MIN, 4096, 8, 2048}, {MIN, 8192, 16, 2048}, {MIN, 8192, 8, 0}, {MIN, 8192, 8, 3000}};
	for (size_t i = 0; i < 4; i++) {
		make k = {0};
		make_magic(&k, VERSION);
		make_batch(&k, 1, 1, GT_NO_M, 1);
		make_byte(&k, 1);
		make_numbers(&k, 4, bad[i]);
		make_end(&k);
		refused(&k, i < 2 ? "Go has 8192 and 8" : "decode addresses is damaged");
	}
	make k = {0};
	make_magic(&k, VERSION);
	make_info(&k, 1, MIN);
	end_generation(&k, VERSION);
	refused(&k, "does not say how fast its clock runs");
}

static void test_bad_headers(void **state) {
	(void)state;
	make k = base(VERSION);
	size_t at = k.n;
	make_byte(&k, 99);
	refused_at(&k, "no batch begins here (type 99)", at);
	k = base(VERSION);
	at = k.n;
	make_byte(&k, GT_EV_BATCH);
	make_numbers(&k, 4, (const uint64_t[]){1, 1, 500, 65537});
	refused_at(&k, "a batch of 65537 bytes", at);
	k = base(VERSION);
	make_byte(&k, GT_EV_BATCH);
	at = k.n;
	make_bytes(&k, "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 11);
	refused_at(&k, "a number of more than 10 bytes", at);
	k = base(VERSION);
	make_byte(&k, GT_EV_BATCH);
	at = k.n;
	make_bytes(&k, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10);
	refused_at(&k, "a number of more than 64 bits", at);
}

// Without the whole of what was there at the start, nothing that follows can be placed.
static void test_snapshot_not_salvaged(void **state) {
	(void)state;
	make k = begin_trace(VERSION);
	make_batch(&k, 0, 1, 1, 100);
	EV(&k, GT_EV_SPAN, 1, 1, 1, 2);
	EV(&k, GT_EV_SPAN, 1, 2, 1, 3);
	make_end(&k);
	end_generation(&k, VERSION);
	seen s = read_all(k.p, k.n, true);
	assert_int_equal(s.end, -1);
	assert_int_equal(s.n, 1);
	assert_null(gotrace_salvaged(s.t));
	done(&k, &s);
}

static void test_salvage_generations(void **state) {
	(void)state;
	make k = base(VERSION);
	end_generation(&k, VERSION);
	size_t first = k.n;
	begin_generation(&k, VERSION, 2);
	make_batch(&k, 0, 2, 1, 300);
	free_object(&k, 1, 2);
	make_end(&k);
	end_generation(&k, VERSION);
	for (size_t n = first + 1; n < k.n; n++) {
		seen s = read_all(k.p, n, true);
		assert_int_equal(s.end, 0);
		ORDER(&s, 1);
		assert_non_null(strstr(gotrace_salvaged(s.t), "the trace is cut"));
		close_seen(&s);
		s = read_all(k.p, n, false);
		assert_int_equal(s.end, -1);
		assert_true(s.opened);
		close_seen(&s);
	}
	seen s = read_all(k.p, first - 1, true); // nothing is left of it
	assert_false(s.opened);
	s = read_all(k.p, k.n, true);
	ORDER(&s, 1, 2);
	assert_null(gotrace_salvaged(s.t));
	done(&k, &s);
}

// ---- compression

static void same_events(const seen *a, const seen *b) {
	assert_int_equal(a->n, b->n);
	for (size_t i = 0; i < a->n; i++) {
		assert_memory_equal(&a->e[i], &b->e[i], sizeof(a->e[i]));
	}
}

static size_t gzip(const make *k, uint8_t *to, size_t room) {
	z_stream z = {0};
	assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
	z.next_in = k->p;
	z.avail_in = (uInt)k->n;
	z.next_out = to;
	z.avail_out = (uInt)room;
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	size_t n = room - z.avail_out;
	assert_int_equal(deflateEnd(&z), Z_OK);
	return n;
}

static void check_compressed(const make *k, const uint8_t *p, size_t n) {
	static seen plain, s;
	plain = read_all(k->p, k->n, false);
	s = read_all(p, n, false);
	assert_int_equal(s.end, 0);
	same_events(&plain, &s);
	close_seen(&plain);
	close_seen(&s);
	assert_true(gotrace_is(p, n));
	assert_true(gotrace_is(p, 16));
	for (size_t cut = 4; cut < n; cut++) {
		s = read_all(p, cut, false);
		assert_int_equal(s.end, -1);
		assert_non_null(strstr(s.err.text, "the compressed file ends here, in the middle"));
		close_seen(&s);
	}
}

static void test_compressed(void **state) {
	(void)state;
	make k = base(VERSION);
	end_generation(&k, VERSION);
	uint8_t out[4096];
	size_t n = ZSTD_compress(out, sizeof(out), k.p, k.n, 3);
	assert_false(ZSTD_isError(n));
	check_compressed(&k, out, n);
	n = gzip(&k, out, sizeof(out));
	check_compressed(&k, out, n);
	// Two members, as cat a.gz b.gz gives.
	make half = {.p = k.p, .n = 40};
	make rest = {.p = k.p + 40, .n = k.n - 40};
	n = gzip(&half, out, sizeof(out));
	n += gzip(&rest, out + n, sizeof(out) - n);
	seen s = read_all(out, n, false);
	assert_int_equal(s.end, 0);
	close_seen(&s);
	assert_false(gotrace_is((const uint8_t *)GMT_MAGIC "12345678", 16));
	assert_true(gotrace_is(k.p, 16));
	assert_false(gotrace_is(k.p, 0));
	free(k.p);
}

// ---- real ones

// sane: what holds of each real trace, whatever it is of.
static void check_real(const char *path) {
	gmt_error err;
	gotrace *t = gotrace_open(path, (gotrace_options){false}, &err);
	if (t == NULL && strstr(path, "noobjects") != NULL) {
		assert_non_null(strstr(err.text, "GODEBUG=traceallocfree=1"));
		return;
	}
	if (t == NULL) {
		fail_msg("%s", err.text);
	}
	gotrace_event e;
	uint64_t kinds[GOTRACE_KINDS] = {0};
	uint64_t lost = 0;
	int got;
	while ((got = gotrace_next(t, &e, &err)) > 0) {
		kinds[e.kind]++;
		bool by_p = e.kind == GOTRACE_OBJECT_ALLOC || e.kind == GOTRACE_OBJECT_FREE;
		lost += by_p && e.p < 0 && e.next_p < 0;
		assert_true(e.type == 0 || gotrace_type_of(t, e.type) != NULL);
		assert_true(e.kind >= GOTRACE_SNAPSHOT_END || e.addr != 0);
	}
	if (got < 0) {
		fail_msg("%s", err.text);
	}
	uint64_t size;
	uint64_t at = gotrace_read(t, &size);
	assert_int_equal(at, size);
	assert_int_equal(kinds[GOTRACE_SNAPSHOT_END], 1);
	assert_true(kinds[GOTRACE_SPAN] > 0 && kinds[GOTRACE_OBJECT_ALLOC] > 0 && kinds[GOTRACE_STW_END] > 0);
	if (lost > 0) {
		fail_msg("%s: %llu objects allocated or freed by no P", path, (unsigned long long)lost);
	}
	gotrace_close(t);
}

static void test_real(void **state) {
	(void)state;
	static const char folder[] = "traces/data/gotrace";
	DIR *d = opendir(folder);
	assert_non_null(d);
	size_t n = 0;
	for (const struct dirent *e; (e = readdir(d)) != NULL;) {
		if (strstr(e->d_name, ".trace.zst") != NULL) {
			char path[512];
			(void)snprintf(path, sizeof(path), "%s/%s", folder, e->d_name);
			assert_true(gotrace_is_file(path));
			check_real(path);
			n++;
		}
	}
	(void)closedir(d);
	assert_true(n >= 8);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_heads_merge),
		cmocka_unit_test(test_ahead_of_clock),
		cmocka_unit_test(test_generations),
		cmocka_unit_test(test_later_first_generation),
		cmocka_unit_test(test_snapshot_first),
		cmocka_unit_test(test_late_snapshot_refused),
		cmocka_unit_test(test_attribution),
		cmocka_unit_test(test_steal),
		cmocka_unit_test(test_early_steal),
		cmocka_unit_test(test_p_over_generations),
		cmocka_unit_test(test_decoding),
		cmocka_unit_test(test_types),
		cmocka_unit_test(test_not_a_trace),
		cmocka_unit_test(test_no_objects),
		cmocka_unit_test(test_repeated_batch),
		cmocka_unit_test(test_generation_order),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_bad_events),
		cmocka_unit_test(test_events_by_version),
		cmocka_unit_test(test_numbers_of_events),
		cmocka_unit_test(test_bad_tables),
		cmocka_unit_test(test_bad_info),
		cmocka_unit_test(test_bad_headers),
		cmocka_unit_test(test_snapshot_not_salvaged),
		cmocka_unit_test(test_salvage_generations),
		cmocka_unit_test(test_compressed),
		cmocka_unit_test(test_real),
	};
	return cmocka_run_group_tests_name("gotrace", tests, NULL, NULL);
}
