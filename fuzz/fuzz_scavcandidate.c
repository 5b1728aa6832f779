// fuzz_scavcandidate.c: which pages of a chunk the scavenger takes, against the oracle's one chunk, for all sizes of physical and of
// huge pages; and fillAligned against bools.
#include "fuzz/fuzz.h"

#include <stdlib.h>

#include "gomem/mpagealloc.h"
#include "oracle/pages.h"

static const gomem_layout *const L = &layout_host;
static const uint64_t chunkAddr = (uint64_t)1 << 40;

typedef struct state {
	gomem_env env;
	fuzz_guard guard;
	pallocData chunk;
	oracle_pages *o;
	unsigned minimum; // pages of a physical page
} state;

static uint64_t addrOf(unsigned page) { return chunkAddr + ((uint64_t)page << L->pageShift); }

static unsigned cut(unsigned i, uint64_t more) {
	return more < pallocChunkPages - i ? 1 + (unsigned)more : pallocChunkPages - i;
}

static void take(void *v, const uint64_t *a) {
	state *s = v;
	const unsigned end = (unsigned)a[0] + cut((unsigned)a[0], a[1]);
	for (unsigned i = (unsigned)a[0]; i < end; i++) {
		if (!oracle_pages_at(s->o, addrOf(i)).in_use) {
			oracle_pages_take(s->o, addrOf(i), 1);
			pallocData_allocRange(&s->chunk, i, 1);
		}
	}
}

static void release(void *v, const uint64_t *a) {
	state *s = v;
	const unsigned end = (unsigned)a[0] + cut((unsigned)a[0], a[1]);
	for (unsigned i = (unsigned)a[0]; i < end; i++) {
		if (oracle_pages_at(s->o, addrOf(i)).in_use) {
			oracle_pages_release(s->o, addrOf(i), 1);
			pallocBits_free1(&s->chunk.pallocBits, i);
		}
	}
}

static void scavenge(void *v, const uint64_t *a) {
	state *s = v;
	const uintptr_t max = (uintptr_t)a[1];
	uint64_t addr = 0;
	const uint64_t want = oracle_scav_begin(s->o, chunkAddr, (unsigned)a[0], (uint64_t)max << L->pageShift, &addr);
	unsigned n;
	const unsigned start = pallocData_findScavengeCandidate(&s->env, &s->chunk, (unsigned)a[0], s->minimum, max, &n);
	fuzz_equal("pages of the candidate", n, want);
	if (n == 0) {
		return;
	}
	fuzz_equal("start of the candidate", addrOf(start), addr);
	oracle_scav_end(s->o, addr, n);
	pageBits_setRange(&s->chunk.scavenged, start, n);
}

static void fill(void *v, const uint64_t *a) {
	(void)v;
	const unsigned m = 1u << a[1];
	uint64_t want = 0;
	for (unsigned i = 0; i < 64; i += m) {
		bool any = false;
		for (unsigned k = i; k < i + m; k++) {
			any |= (a[0] >> k & 1) != 0;
		}
		for (unsigned k = i; k < i + m; k++) {
			want |= (uint64_t)any << k;
		}
	}
	fuzz_equal("fillAligned", fillAligned(a[0], m), want);
}

// ---- sizes that are refused

typedef struct badCall {
	state *s;
	uint64_t minimum;
} badCall;

static void findWith(void *v) {
	const badCall *c = v;
	unsigned n;
	pallocData_findScavengeCandidate(&c->s->env, &c->s->chunk, pallocChunkPages - 1, (uintptr_t)c->minimum, 1, &n);
}

static void badMinimum(void *v, const uint64_t *a) {
	const uintptr_t n = (uintptr_t)a[0];
	badCall c = {v, n};
	const bool good = n == 1 || n == 2 || n == 4 || n == 8 || n == 16 || n == 32 || n == 64;
	fuzz_equal("a minimum is refused", fuzz_throws(&c.s->guard, findWith, &c), !good);
}

static void *begin(const uint64_t *config) {
	state *s = calloc(1, sizeof *s);
	fuzz_check(s != NULL, "out of memory");
	const uint64_t page = layout_pageSize(L);
	const uint64_t phys = config[0] == 7 ? page / 2 : page << config[0];
	const uint64_t huge = config[1] == 0 ? 0 : page / 2 << config[1];
	s->minimum = phys < page ? 1 : (unsigned)(phys / page);
	s->env = (gomem_env){
		.layout = L,
		.throwHook = fuzz_thrown,
		.throwCtx = &s->guard,
		.physPageSize = (size_t)phys,
		.physHugePageSize = (size_t)huge,
	};
	s->o = oracle_pages_new(&(oracle_pages_config){page, phys, huge, 0});
	fuzz_check(s->o != NULL, "out of memory");
	// All pages were used once.
	oracle_pages_grow(s->o, chunkAddr, pallocChunkPages);
	oracle_pages_take(s->o, chunkAddr, pallocChunkPages);
	oracle_pages_release(s->o, chunkAddr, pallocChunkPages);
	return s;
}

static void end(void *v) {
	state *s = v;
	oracle_page want[pallocChunkPages];
	oracle_pages_look(s->o, chunkAddr, pallocChunkPages, want);
	for (unsigned i = 0; i < pallocChunkPages; i++) {
		fuzz_equal("page in use", pageBits_get(&s->chunk.pallocBits.b, i), want[i].in_use);
		fuzz_equal("page scavenged", pageBits_get(&s->chunk.scavenged, i), want[i].scavenged);
	}
	oracle_pages_free(s->o);
	free(s);
}

#define PAGE                                                                                                           \
	{ "page", 2, FUZZ_INDEX, pallocChunkPages - 1 }
#define MORE                                                                                                           \
	{ "more", 2, FUZZ_PAGES, pallocChunkPages - 1 }

static const fuzz_op_info ops[] = {
	{"take", {PAGE, MORE}, take},
	{"release", {PAGE, MORE}, release},
	{"scavenge", {PAGE, {"max", 6, FUZZ_PAGES, 0}}, scavenge},
	{"fill", {{"word", 8, FUZZ_WORD, 0}, {"log", 1, FUZZ_ANY, 6}}, fill},
	{"badMinimum", {{"pages", 8, FUZZ_ANY, 0}}, badMinimum},
};

FUZZ_TARGET(scavcandidate) = {
	.name = "scavcandidate",
	.what = "the pages of a chunk that are given back next, against the oracle",
	.config = {{"phys", 1, FUZZ_ANY, 7}, {"huge", 1, FUZZ_ANY, 12}},
	.ops = ops,
	.nops = sizeof ops / sizeof ops[0],
	.max_ops = 32,
	.begin = begin,
	.end = end,
	.small = true,
};
