// lab_platforms.c: random programs on the layout of each platform: port and oracle side by side, each address, step and OS call compared.
//
//	lab_platforms [PROGRAMS [SEED]]
//
// The first program of each layout grows the heap as far as there are addresses, or 4 GiB. Layouts that differ in no constant are run once, under the names of all platforms that have them. Programs are those of the fuzz target
// `platforms`, longer: objects, spans, cycles, growth over borders of arenas, scavenging, stacks, reservations granted elsewhere.
// Exit code: 0 all equal (a difference ends the program with what differs), 2 bad usage.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz/fuzz_platforms.h"
#include "fuzz/layouts.h"

enum { OPS = 40, DEFAULT_PROGRAMS = 12, EXIT_USAGE = 2, CONFIG_PHYS = 2, CONFIG_LAYOUT = 4 };
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

// growAll asks for pages until a small address space is full: over each border of arenas, behind what was reserved at the start, at the hint
// behind that, and where the OS wants. Of wasm, whose arenas are small, not as much: each needs metadata.
static void growAll(unsigned layout) {
	static fuzz_program p;
	const gomem_layout L = fuzz_any_platform(layout);
	const fuzz_op ops[] = {
		{opNamed("manual"), {0, 19999}},
		{opNamed("look_around"), {19999}},
		{opNamed("malloc_large"), {0, 3000, 0, 1}},
		{opNamed("scavenge"), {(uint64_t)1 << 20, 1}},
		{opNamed("stackalloc"), {0, 2}},
		{opNamed("stats"), {0}},
	};
	const unsigned rounds = L.heapArenaBytes < 1 << 20 ? 3 : 30;
	memset(&p, 0, sizeof p);
	p.config[0] = layout;
	p.config[CONFIG_PHYS] = VAST;
	p.config[CONFIG_LAYOUT] = layout;
	for (unsigned i = 0; i < rounds; i++) {
		for (size_t j = 0; j < sizeof ops / sizeof ops[0]; j++) {
			p.ops[p.n++] = ops[j];
		}
	}
	fuzz_run_program(&fuzz_target_platforms, &p);
}

// firstLike[i]: the first platform whose layout has all constants of platform i's.
static unsigned firstLike[FUZZ_PLATFORMS];

static void findLayouts(void) {
	static gomem_layout all[FUZZ_PLATFORMS]; // what stands between fields is zero, or makes a layout run twice
	for (unsigned i = 0; i < FUZZ_PLATFORMS; i++) {
		fuzz_check(layout_ofPlatform(layout_platformName(i), &all[i]), "a platform that gomem does not know");
		all[i].name = NULL; // is no constant
		firstLike[i] = 0;
		while (memcmp(&all[firstLike[i]], &all[i], sizeof all[i]) != 0) {
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
	(void)printf("%8llu %10llu %11llu %7llu %9llu %7llu %8llu\n", (unsigned long long)s->programs,
		(unsigned long long)s->operations, (unsigned long long)s->compared, (unsigned long long)s->arenas,
		(unsigned long long)s->mallocs, (unsigned long long)s->cycles, (unsigned long long)s->refused);
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
	(void)printf("%-41s%8s %10s %11s %7s %9s %7s %8s\n", "platforms", "programs", "operations", "comparisons", "arenas",
		"mallocs", "cycles", "full");
	findLayouts();
	for (; platforms < FUZZ_PLATFORMS; platforms++) {
		if (firstLike[platforms] != platforms) {
			continue;
		}
		growAll(platforms);
		for (uint64_t i = 1; i < programs; i++) {
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
