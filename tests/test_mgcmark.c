// test_mgcmark.c: what a collection keeps: by kind of object, by kind of pointer and root, at the borders; and what it throws at.
#include "tests/heaptest.h"

#include "fuzz/fuzz_host.h"
#include "gomem/mbitmap.h"

static void *alloc(heapFix *f, uintptr_t size, const gomem_type *typ) {
	void *x = gomem_mallocgc(f->h, f->p, size, typ, true);
	assert_non_null(x);
	return x;
}

static void put(void *obj, uintptr_t off, const void *p) { memcpy((char *)obj + off, &p, sizeof p); }

static gomem_root rootOf(void *const *v, uintptr_t words) {
	static const uint8_t ones[8] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	return (gomem_root){v, words * sizeof *v, ones};
}

static void markFrom(heapFix *f, const gomem_root *roots, size_t n) {
	gomem_finishsweep(f->h, f->p);
	gomem_setGCPhase(f->h, gcMark);
	gomem_markroots(f->h, roots, n);
	const char *bad = mgcmark_check(f->h);
	if (bad != NULL) {
		fail_msg("%s", bad);
	}
}

static void sweepAll(heapFix *f) {
	gomem_setGCPhase(f->h, gcMarkTermination);
	gomem_setGCPhase(f->h, gcOff);
	gomem_startsweep(f->h);
	gomem_prepareForSweep(f->h, f->p);
	while (gomem_sweepone(f->h, f->p) != ~(uintptr_t)0) {
	}
	heapFix_checked(f);
}

// keeps says whether an object of size bytes, of type typ, keeps what its word at off points to.
static bool keeps(heapFix *f, uintptr_t size, const gomem_type *typ, uintptr_t off) {
	void *obj = alloc(f, size, typ);
	void *to = alloc(f, 48, NULL);
	put(obj, off, to);
	const gomem_root root = rootOf(&obj, 1);
	markFrom(f, &root, 1);
	assert_true(gomem_isMarked(f->h, obj));
	const bool kept = gomem_isMarked(f->h, to);
	sweepAll(f);
	return kept;
}

// Each word of objects of all layouts: bitmap at the span's end (with inline marks and, of one word, without), header, large.
static void each_word(void **state) {
	(void)state;
	onlyWide("its types have words of 8 bytes");
	static const uint8_t mask[] = {0x55, 0x02}; // words 0 2 4 6 9 of 11
	static const gomem_type odd = {88, 80, mask};
	const gomem_type one = pointersType(8);
	for (int greenTea = 0; greenTea < 2; greenTea++) {
		heapFix f;
		heapFix_with(&f, (memSimConfig){.backed = true}, (gomem_config){.no_greentea = greenTea == 0});
		assert_true(keeps(&f, 8, &one, 0));
		// 1, 5: bitmap. 6: header, 100: header, of two pages. 500: large
		static const uintptr_t counts[] = {1, 2, 5, 6, 7, 100, 372, 373, 500};
		for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
			const uintptr_t size = counts[c] * odd.size;
			for (uintptr_t off = 0; off<size; off += size> 1000 && off == 176 ? size - 352 : 8) {
				const uintptr_t word = off % odd.size / 8;
				const bool pointer = off % odd.size < odd.ptr_bytes && (mask[word / 8] >> word % 8 & 1) != 0;
				if (keeps(&f, size, &odd, off) != pointer) {
					fail_msg("an object of %zu bytes: word at %zu: pointer %d", (size_t)size, (size_t)off, pointer);
				}
			}
		}
		heapFix_done(&f);
	}
}

static void interior_pointers(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	static const uintptr_t sizes[] = {16, 48, 512, 520, 8192, 32760, 32761, 100000};
	const gomem_type word = pointersType(8);
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		for (int kind = 0; kind < 2; kind++) {
			const gomem_type *typ = kind == 0 ? NULL : &word;
			const uintptr_t size = kind == 0 ? sizes[i] : sizes[i] & ~(uintptr_t)7;
			char *x = alloc(&f, size, typ);
			char *next = alloc(&f, size, typ);
			void *roots[2] = {x + size - 1, NULL};
			const gomem_root exact = rootOf(roots, 2), any = {roots, sizeof roots, NULL};
			markFrom(&f, kind == 0 ? &exact : &any, 1);
			assert_true(gomem_isMarked(f.h, x));
			assert_false(gomem_isMarked(f.h, next));
			sweepAll(&f);
		}
	}
	heapFix_done(&f);
}

// Words of a root without a mask: what is no pointer to an object does nothing.
static void conservative_roots(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	char *x = alloc(&f, 112, NULL);
	char *large = alloc(&f, 100000, NULL);
	char *stack = gomem_stackalloc(f.h, f.p, 4096, false);
	char *gone = gomem_allocManual(f.h, f.p, 3);
	gomem_freeManual(f.h, f.p, gone);
	int local;
	void *wild[] = {x + 112, x + 4096, large + 100000, stack + 8, gone, &local, (void *)1, (void *)~(uintptr_t)0, NULL};
	const gomem_root root = {wild, sizeof wild, NULL};
	markFrom(&f, &root, 1);
	assert_false(gomem_isMarked(f.h, x));
	assert_false(gomem_isMarked(f.h, large));
	// An object that is made meanwhile is marked; a root may point to it, and to the free slot behind.
	char *fresh = alloc(&f, 112, NULL);
	void *more[] = {fresh, fresh + 112};
	const gomem_root again = {more, sizeof more, NULL};
	gomem_markroots(f.h, &again, 1);
	assert_true(gomem_isMarked(f.h, fresh));
	assert_false(gomem_isMarked(f.h, fresh + 112));
	sweepAll(&f);
	heapFix_done(&f);
}

// A mask: words that it does not name keep nothing, whatever they hold; a rest of less than a word is not read.
static void exact_roots(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	void *x[20];
	for (int i = 0; i < 20; i++) {
		x[i] = alloc(&f, 32, NULL);
	}
	const uint8_t mask[3] = {0x81, 0, 0x0a};
	const gomem_root root = {x, sizeof x - 1, mask}; // the last word is cut: 19 of them
	markFrom(&f, &root, 1);
	for (int i = 0; i < 20; i++) {
		assert_int_equal(gomem_isMarked(f.h, x[i]), i == 0 || i == 7 || i == 17);
	}
	sweepAll(&f);
	heapFix_done(&f);
}

// Objects in a tiny block live as long as one of them; so does the block that is being filled.
static void tiny_blocks(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	char *x[6];
	for (int i = 0; i < 6; i++) {
		x[i] = alloc(&f, 5, NULL); // three to a block
		memset(x[i], i, 5);
	}
	char *open = alloc(&f, 5, NULL);
	void *v = x[4];
	const gomem_root root = rootOf(&v, 1);
	markFrom(&f, &root, 1);
	assert_false(gomem_isMarked(f.h, x[0]));
	assert_true(gomem_isMarked(f.h, x[3]));
	assert_true(gomem_isMarked(f.h, x[5]));
	assert_true(gomem_isMarked(f.h, open));
	sweepAll(&f);
	assert_int_equal(x[3][0], 3);
	heapFix_done(&f);
}

typedef struct badRoot {
	heapFix *f;
	void *v;
} badRoot;

static void markBad(void *arg) {
	badRoot *b = arg;
	const gomem_root root = rootOf(&b->v, 1);
	gomem_finishsweep(b->f->h, b->f->p);
	gomem_setGCPhase(b->f->h, gcMark);
	gomem_markroots(b->f->h, &root, 1);
}

static void bad_pointers(void **state) {
	(void)state;
	static const char *const says[] = {"to unused region of span", "to unused region of span", "to unallocated span",
		"to free object", "to free object"};
	for (int i = 0; i < 5; i++) {
		for (int ignored = 0; ignored < 2; ignored++) {
			heapFix f;
			heapFix_with(&f, (memSimConfig){.backed = true}, (gomem_config){.no_invalidptr = ignored != 0});
			char *small = alloc(&f, 112, NULL), *large = alloc(&f, 100000, NULL), *gone = alloc(&f, 70000, NULL);
			const uintptr_t page = (uintptr_t)small & ~(uintptr_t)8191;
			void *keep[] = {small, large};
			const gomem_root root = rootOf(keep, 2);
			gomem_gc(f.h, f.p, &root, 1);
			void *const bad[] = {(void *)(page + 8191), large + 100000, gone + 8192, small + 112, small + 224};
			badRoot b = {&f, bad[i]};
			const bool threw = heapFix_throws(&f, markBad, &b);
			assert_int_equal(threw, i >= 3 || ignored == 0); // a checked heap tells of free objects at any rate
			if (threw && (strstr(f.msg, says[i]) == NULL || strstr(f.msg, "found bad pointer in Go heap") != f.msg)) {
				fail_msg("%s", f.msg);
			}
			heapFix_done(&f);
		}
	}
}

// A heap that is not checked meets the mark of a free slot when it sweeps, as Go does.
static void zombies(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	char *x = alloc(&f, 112, NULL);
	gomem_state_map *states = f.h->env.states;
	f.h->env.states = NULL;
	badRoot b = {&f, x + 112};
	markBad(&b);
	f.h->env.states = states;
	gomem_setGCPhase(f.h, gcOff);
	gomem_startsweep(f.h);
	f.expected = true;
	if (setjmp(f.back) == 0) {
		gomem_prepareForSweep(f.h, f.p);
		fail_msg("a zombie was swept");
	}
	assert_string_equal(f.msg, "found pointer to free object");
	heapFix_done(&f);
}

static void wrong_calls(void **state) {
	(void)state;
	heapFix f;
	heapFix_init(&f);
	f.expected = true;
	if (setjmp(f.back) == 0) {
		gomem_markroots(f.h, NULL, 0);
		fail_msg("marking outside of the mark phase");
	}
	assert_string_equal(f.msg, "gcMarkRoots: not in the mark phase");
	heapFix_done(&f);
	heapFix_with(&f, (memSimConfig){0}, (gomem_config){0});
	f.expected = true;
	if (setjmp(f.back) == 0) {
		gomem_gc(f.h, f.p, NULL, 0);
		fail_msg("marking without memory");
	}
	assert_string_equal(f.msg, "gcMarkRoots: the heap is addresses only");
	heapFix_done(&f);
}

static bool reviveNone(void *ctx, gomem_heap *h, struct mspan *s, uintptr_t objIndex) {
	(void)ctx;
	(void)h;
	(void)s;
	(void)objIndex;
	return false;
}

// What an object with a special record points to is kept, the object is not; unless nobody can bring it back.
static void specials(void **state) {
	(void)state;
	const gomem_policy policies[] = {{.reviveSpecial = NULL}, {.reviveSpecial = reviveNone}};
	static const uintptr_t sizes[] = {8, 64, 1000, 100000};
	const gomem_type word = pointersType(8);
	for (unsigned revives = 0; revives < 2; revives++) {
		for (unsigned i = 0; i < 4; i++) {
			heapFix f;
			heapFix_with(&f, (memSimConfig){.backed = true}, (gomem_config){.policy = &policies[revives]});
			char *obj = alloc(&f, sizes[i], &word);
			void *to = alloc(&f, 48, NULL);
			put(obj, sizes[i] - 8, to);
			mspan *s = spanOf(f.h, (uintptr_t)obj);
			special record = {.offset = (uintptr_t)obj - mspan_base(s)};
			addspecial(f.h, f.p, s, &record);
			markFrom(&f, NULL, 0);
			assert_false(gomem_isMarked(f.h, obj));
			assert_int_equal(gomem_isMarked(f.h, to), revives);
			sweepAll(&f);
			heapFix_done(&f);
		}
	}
}

// Lists longer than a queue without memory, and fans wider than it: whichever growth of a queue is refused, all is marked.
static void no_memory(void **state) {
	(void)state;
	onlyWide("its types have words of 8 bytes");
	enum { n = 20000, every = 40 };
	static const uint8_t first[] = {1};
	static char *nodes[n], *tall[n];
	static const gomem_type node = {400, 8, first}, high = {1000, 8, first};
	const gomem_type word = pointersType(8);
	heapFix f;
	heapFix_init(&f);
	char *fan = alloc(&f, (uintptr_t)2 * n * 8, &word);
	for (int i = 0; i < n; i++) {
		nodes[i] = alloc(&f, 400, &node); // 19 to a span
		tall[i] = alloc(&f, 1000, &high);
		put(nodes[i], 0, tall[i]);
		put(tall[i], 0, alloc(&f, 24, NULL));
		// Of each span of nodes one at most is named: nobody else brings the span into the queue again.
		put(fan, (uintptr_t)i * 16, i % every == 0 ? nodes[i] : NULL);
		put(fan, (uintptr_t)i * 16 + 8, tall[i]);
	}
	void *v = fan;
	const gomem_root root = rootOf(&v, 1);
	bool refused = true;
	unsigned rounds = 0;
	for (uint64_t k = 1; refused; k++, rounds++) {
		alloc(&f, 3000, NULL); // garbage
		gomem_finishsweep(f.h, f.p);
		gomem_setGCPhase(f.h, gcMark);
		fuzz_host_refuse(k);
		gomem_markroots(f.h, &root, 1);
		refused = fuzz_host_obey();
		assert_null(mgcmark_check(f.h));
		assert_int_equal(atomic_load(&f.h->work.bytesMarked), n / every * 416 + n * (1024 + 24) + 327680);
		for (int i = 0; i < n; i++) {
			assert_true(gomem_isMarked(f.h, tall[i]));
			assert_int_equal(gomem_isMarked(f.h, nodes[i]), i % every == 0);
		}
		sweepAll(&f);
	}
	assert_true(rounds > 5); // buffers, and a ring of spans
	heapFix_done(&f);
}

// ---- what Go keeps: tests/golden/gc_keeps.go asked it

enum { GRAPH_TYPES = 6, GRAPH_OBJECTS = 100, GRAPH_ROOTS = 8 };
typedef struct goGraph {
	uint8_t masks[GRAPH_TYPES][2];
	gomem_type types[GRAPH_TYPES];
	char *objects[GRAPH_OBJECTS];
	void *roots[GRAPH_ROOTS];
	unsigned ntypes, nobjects, nroots;
} goGraph;

static void graphType(goGraph *g, uintptr_t words, const char *mask) {
	gomem_type *t = &g->types[g->ntypes];
	uint8_t *bits = g->masks[g->ntypes++];
	*t = (gomem_type){.size = words * 8, .ptr_mask = bits};
	bits[0] = bits[1] = 0;
	for (uintptr_t i = 0; i < words; i++) {
		if (mask[i] == '1') {
			bits[i / 8] |= (uint8_t)(1u << i % 8);
			t->ptr_bytes = (i + 1) * 8;
		}
	}
}

// numbersAfter reads n numbers behind a word. false: the line begins with another one, or has fewer.
static bool numbersAfter(const char *line, const char *word, unsigned *out, int n) {
	const size_t len = strlen(word);
	if (strncmp(line, word, len) != 0) {
		return false;
	}
	const char *at = line + len;
	for (int i = 0; i < n; i++) {
		char *end;
		out[i] = (unsigned)strtoul(at, &end, 10);
		if (end == at) {
			return false;
		}
		at = end;
	}
	return true;
}

// graphLine does what a line says. true: it was the answer, and kept holds it.
static bool graphLine(heapFix *f, goGraph *g, const char *line, char *kept) {
	char text[16];
	unsigned n[4];
	if (numbersAfter(line, "type ", n, 1) && sscanf(line, "type %*u %15s", text) == 1) {
		graphType(g, n[0], text);
	} else if (numbersAfter(line, "object ", n, 2)) {
		const gomem_type *t = &g->types[n[0]];
		g->objects[g->nobjects++] = alloc(f, t->size * n[1], t->ptr_bytes == 0 ? NULL : t);
	} else if (numbersAfter(line, "link ", n, 4)) {
		put(g->objects[n[0]], (uintptr_t)n[1] * 8, g->objects[n[2]] + n[3]);
	} else if (numbersAfter(line, "root ", n, 2)) {
		g->roots[g->nroots++] = g->objects[n[0]] + n[1];
	} else {
		assert_int_equal(sscanf(line, "kept %100s", kept), 1);
		return true;
	}
	return false;
}

static void keptAsGo(heapFix *f, const goGraph *g, const char *kept, unsigned graph) {
	const gomem_root root = rootOf(g->roots, g->nroots);
	gomem_gc(f->h, f->p, &root, 1);
	heapFix_checked(f);
	assert_int_equal(strlen(kept), g->nobjects);
	for (unsigned i = 0; i < g->nobjects; i++) {
		mspan *s = spanOfHeap(f->h, (uintptr_t)g->objects[i]);
		const bool lives = s != NULL && !mspan_isFree(s, mspan_objIndex(s, (uintptr_t)g->objects[i]));
		if (lives != (kept[i] == '1')) {
			fail_msg("graph %u, object %u: Go %s", graph, i, lives ? "frees it" : "keeps it");
		}
	}
}

static void as_go(void **state) {
	(void)state;
	onlyWide("its types have words of 8 bytes");
	for (int greenTea = 0; greenTea < 2; greenTea++) {
		FILE *in = fopen("tests/data/gc_keeps.txt", "r");
		assert_non_null(in);
		heapFix f;
		heapFix_with(&f, (memSimConfig){.backed = true}, (gomem_config){.no_greentea = greenTea == 0});
		static goGraph g;
		memset(&g, 0, sizeof g);
		char line[160], kept[101];
		unsigned graphs = 0, objects = 0;
		while (fgets(line, sizeof line, in) != NULL) {
			if (graphLine(&f, &g, line, kept)) {
				keptAsGo(&f, &g, kept, graphs++);
				objects += g.nobjects;
				memset(&g, 0, sizeof g);
			}
		}
		fclose(in);
		assert_int_equal(graphs, 40);
		print_message("%u graphs, %u objects: kept as by Go\n", graphs, objects);
		heapFix_done(&f);
	}
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_word),
		cmocka_unit_test(interior_pointers),
		cmocka_unit_test(conservative_roots),
		cmocka_unit_test(exact_roots),
		cmocka_unit_test(tiny_blocks),
		cmocka_unit_test(bad_pointers),
		cmocka_unit_test(zombies),
		cmocka_unit_test(wrong_calls),
		cmocka_unit_test(specials),
		cmocka_unit_test(no_memory),
		cmocka_unit_test(as_go),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
