// lab_platforms.c: random programs on the layout of each platform: port and oracle side by side, each address, step and OS call compared.
//
//	lab_platforms [PROGRAMS [SEED]]
//
// Layouts that differ in no constant are run once, under the names of all platforms that have them. Programs are those of the fuzz target
// `platforms`, longer: objects, spans, cycles, growth over borders of arenas, scavenging, stacks, reservations granted elsewhere. Two or three of
// each layout are written by hand: they grow the heap as far as there are addresses, or 4 GiB, and where no hint is granted.
// Where the platform has a break, about half of the programs have their memory from one, metadata too: each place is compared with
// oracle/linear.c. The others, and some written by hand, have reservations there as well.
// Exit code: 0 all equal (a difference ends the program with what differs), 2 bad usage.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz/fuzz_platforms.h"
#include "fuzz/heap_world.h"
#include "fuzz/layouts.h"

enum { OPS = 40, DEFAULT_PROGRAMS = 12, EXIT_USAGE = 2, CONFIG_FLAGS = 1, CONFIG_PHYS = 2, CONFIG_LAYOUT = 4 };
enum { VAST = 4 }; // of physical pages: programs may have many pages
extern const fuzz_target fuzz_target_platforms;

static uint64_t value(const fuzz_arg *arg, uint64_t *state) {
	const unsigned bits = 1 + (unsigned)fuzz_below(state, 8u * arg->bytes);
	const uint64_t v = fuzz_random(state) >> (64 - bits);
	return arg->max != 0 ? v % (arg->max + 1) : v;
}

static void values(const fuzz_arg *args, uint64_t *out, uint64_t *state) {
	for (unsigned i = 0; i < FUZZ_MAX_ARGS; i++) {
		out[i] = args[i].name != NULL ? value(&args[i], state) : 0;
	}
}

static void play(uint64_t layout, uint64_t seed) {
	static fuzz_program p;
	const fuzz_target *t = &fuzz_target_platforms;
	uint64_t state = seed;
	memset(&p, 0, sizeof p);
	values(t->config, p.config, &state);
	p.config[CONFIG_LAYOUT] = layout;
	for (p.n = 0; p.n < OPS; p.n++) {
		p.ops[p.n].kind = (unsigned)fuzz_below(&state, t->nops);
		values(t->ops[p.ops[p.n].kind].args, p.ops[p.n].a, &state);
	}
	fuzz_run_program(t, &p);
}

static unsigned opNamed(const char *name) {
	unsigned i = 0;
	while (strcmp(fuzz_target_platforms.ops[i].name, name) != 0) {
		i++;
	}
	return i;
}

static void add(fuzz_program *p, const char *op, uint64_t a, uint64_t b, uint64_t c, uint64_t d) {
	p->ops[p->n++] = (fuzz_op){opNamed(op), {a, b, c, d}};
}

// noBreak: also where the platform has one.
static fuzz_program *beginProgram(unsigned layout, bool noBreak) {
	static fuzz_program p;
	memset(&p, 0, sizeof p);
	p.config[0] = layout;
	p.config[CONFIG_FLAGS] = noBreak ? WORLD_SMALL_ARENAS : 0;
	p.config[CONFIG_PHYS] = VAST;
	p.config[CONFIG_LAYOUT] = layout;
	return &p;
}

// growAll asks for pages until a small address space is full: over each border of arenas, behind what was reserved at the start, at the hint
// behind that, and where the OS wants. Of wasm, whose arenas are small, not as much: each needs metadata.
static void growAll(unsigned layout, bool noBreak) {
	fuzz_program *p = beginProgram(layout, noBreak);
	const unsigned rounds = fuzz_any_platform(layout).heapArenaBytes < 1 << 20 ? 3 : 30;
	for (unsigned i = 0; i < rounds; i++) {
		add(p, "manual", 0, 19999, 0, 0);
		add(p, "look_around", 19999, 0, 0, 0);
		add(p, "malloc_large", 0, 3000, 0, 1);
		add(p, "scavenge", (uint64_t)1 << 20, 1, 0, 0);
		add(p, "stackalloc", 0, 2, 0, 0);
		add(p, "stats", 0, 0, 0, 0);
	}
	fuzz_run_program(&fuzz_target_platforms, p);
}

// moveAll has the OS grant no hint, so that the heap lies where the OS wants, in unaligned reservations; and shares a block among tiny objects.
static void moveAll(unsigned layout) {
	fuzz_program *p = beginProgram(layout, true);
	add(p, "os_move", 1, 200, 0, 0);
	for (unsigned i = 0; i < 4; i++) {
		add(p, "manual", 0, 1999, 0, 0);
		add(p, "malloc", 0, 4, 1, 0);
		add(p, "malloc", 0, 12, 1, 0);
	}
	for (unsigned i = 0; i < 20; i++) { // on 32-bit platforms as much as was reserved at the start
		add(p, "manual", 0, 4999, 0, 0);
	}
	add(p, "look_around", 19999, 0, 0, 0);
	fuzz_run_program(&fuzz_target_platforms, p);
}

// reachEnd asks in steps of 32 MiB, so that the last but one arena of a 32-bit address space would end where addresses do: it cannot be had.
static void reachEnd(unsigned layout) {
	fuzz_program *p = beginProgram(layout, true);
	p->config[0] = 0; // the program ends at 0x8048000
	for (unsigned i = 0; i < 16 + 107; i++) {
		add(p, "manual", 0, 8 * 512 - 1, 0, 0);
	}
	add(p, "manual", 0, 6 * 512 - 1, 0, 0);
	fuzz_run_program(&fuzz_target_platforms, p);
}

// firstLike[i]: the first platform whose layout has all constants of platform i's.
static unsigned firstLike[FUZZ_PLATFORMS];

// keyOf lists the constants that platforms.c sets, but the name.
static void keyOf(unsigned platform, char out[256]) {
	const gomem_layout L = fuzz_any_platform(platform);
	const uint64_t all[] = {L.ptrSize, L.minSizeForMallocHeader, L.heapAddrBits, L.tagAddrBits, L.logHeapArenaBytes,
		L.arenaL1Bits, L.arenaL2Bits, L.arenaBaseOffset, L.logPallocChunkPages, L.scavChunkHiOccPages, L.summaryLevels,
		L.summaryL0Bits, L.pallocChunksL1Bits, L.pallocChunksL2Bits, L.pagesPerReclaimerChunk, L.fixedStack,
		L.numStackOrders, L.physPageAlignedStacks, L.reserve, L.randomizeHeapBase, L.randHeapAddrBits, L.numArenaHints,
		L.numHeapArenaHints, L.arenaHintShift, L.firstArenaHint, L.arenaHintBase, L.defaultPhysPageSize};
	size_t at = 0;
	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
		at += (size_t)snprintf(out + at, 256 - at, "%llx ", (unsigned long long)all[i]);
	}
	fuzz_check(at < 256, "room for the constants of a layout");
}

static void findLayouts(void) {
	static char keys[FUZZ_PLATFORMS][256];
	for (unsigned i = 0; i < FUZZ_PLATFORMS; i++) {
		keyOf(i, keys[i]);
		firstLike[i] = 0;
		while (strcmp(keys[firstLike[i]], keys[i]) != 0) {
			firstLike[i]++;
		}
	}
}

static void tellNames(unsigned first) {
	int column = 0;
	for (unsigned i = first; i < FUZZ_PLATFORMS; i++) {
		if (firstLike[i] != first) {
			continue;
		}
		const char *name = layout_platformName(i);
		const int n = (int)strcspn(name, " ");
		if (column > 0 && column + n > 40) {
			(void)printf("\n");
			column = 0;
		}
		column += printf("%s%.*s", column > 0 ? " " : "", n, name);
	}
	(void)printf("%*s", column < 41 ? 41 - column : 1, "");
}

static void tell(const fuzz_platforms_sum *s) {
	(void)printf("%8llu %10llu %11llu %7llu %7llu %9llu %7llu %8llu\n", (unsigned long long)s->programs,
		(unsigned long long)s->operations, (unsigned long long)s->compared, (unsigned long long)s->placed,
		(unsigned long long)s->arenas, (unsigned long long)s->mallocs, (unsigned long long)s->cycles,
		(unsigned long long)s->refused);
}

static bool number(const char *text, uint64_t *out) {
	char *end;
	*out = strtoull(text, &end, 10);
	return *text >= '0' && *text <= '9' && *end == 0;
}

int main(int argc, char **argv) {
	uint64_t programs = DEFAULT_PROGRAMS, seed = 1;
	if (argc > 3 || (argc > 1 && !number(argv[1], &programs)) || (argc > 2 && !number(argv[2], &seed)) ||
		programs == 0) {
		(void)fprintf(stderr,
			"usage: lab_platforms [PROGRAMS [SEED]]\n  PROGRAMS for each layout (%d), made from SEED (1)\n",
			DEFAULT_PROGRAMS);
		return EXIT_USAGE;
	}
	unsigned platforms = 0, layouts = 0;
	uint64_t operations = 0, compared = 0;
	(void)printf("%-41s%8s %10s %11s %7s %7s %9s %7s %8s\n", "platforms", "programs", "operations", "comparisons",
		"break", "arenas", "mallocs", "cycles", "full");
	findLayouts();
	for (; platforms < FUZZ_PLATFORMS; platforms++) {
		if (firstLike[platforms] != platforms) {
			continue;
		}
		growAll(platforms, true);
		if (fuzz_any_platform(platforms).reserve == LAYOUT_RESERVE_SBRK) {
			growAll(platforms, false);
		}
		moveAll(platforms);
		if (fuzz_any_platform(platforms).ptrSize == 4) {
			reachEnd(platforms);
		}
		for (uint64_t i = 0; i < programs; i++) {
			play(platforms, seed * 1000003 + i);
		}
		const fuzz_platforms_sum s = fuzz_platforms_take();
		tellNames(platforms);
		tell(&s);
		operations += s.operations;
		compared += s.compared;
		layouts++;
	}
	(void)printf(
		"%u platforms, %u layouts, none skipped: %llu operations, %llu comparisons with the oracle, all equal\n",
		platforms, layouts, (unsigned long long)operations, (unsigned long long)compared);
	return 0;
}
