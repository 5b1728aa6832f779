// whatif_options.c: see whatif.h: constants from the words of a user, what follows from them, and whether they go together.
//
// Invariants: a configuration that whatif_settle accepts passes layout_check and sizeClasses_check, and what mallocinit takes for granted
// of size classes holds for it.
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gomem/mksizeclasses.h"
#include "gomem/sizeclasses.h"
#include "traces/whatif.h"

enum { MIN_PAGE = 4096, MAX_PAGE = 32768, OLDEST_GO = 15, NEWEST_GO = 26, GO_WITH_24 = 16 };

const whatif_option whatif_options[] = {
	{"--size-classes", "T",
		"go1.N (15 to 26), generated[:OPTIONS], or a file with a line \"SIZE [PAGES]\" for each class.\n"
		"OPTIONS, comma separated, of Go's mksizeclasses: align16-from=32, eighth-from=128, max-from=2048\n"
		"(from this size on classes are multiples of 16, of an eighth of the size, of max-align),\n"
		"max-align=256, tail=8 (at most 1/8 of a span is left at its end)"},
	{"--page-size", "N", "the allocator's pages: 4KiB to 32KiB (Go: 8KiB)"},
	{"--arena-size", "N", "a power of two (Go: 64MiB)"},
	{"--phys-page-size", "N", "the OS's pages: 4KiB to 512KiB"},
	{"--thp", "on|off", "transparent huge pages of 2 MiB: the allocator knows them, the OS makes them; or neither"},
	{"--tiny-size", "N", "the block of tiny objects: a power of two, 8 to 512 (Go: 16)"},
	{"--gogc", "N|off", "cycles begin by GOGC=N, not where they were recorded"},
	{"--memory-limit", "N", "cycles begin by GOGC and GOMEMLIMIT=N, not where they were recorded"},
	{"--deaths", "late|early",
		"with --gogc or --memory-limit: what a recorded cycle found dead died just before that cycle (late: an upper\n"
		"bound for memory), or right after the cycle before it (early: a lower bound)"},
	{"--green-tea", "on|off", "inline mark bits in small spans; --no-green-tea: off"},
	{"--page-cache", "on|off", "Ps take small spans from a page cache of their own; --no-page-cache: off"},
	{"--random-base", "on|off", "the heap begins at a random address"},
};
const unsigned whatif_noptions = sizeof(whatif_options) / sizeof(whatif_options[0]);

__attribute__((format(printf, 2, 3))) static const char *refuse(char why[WHATIF_WHY], const char *fmt, ...) {
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(why, WHATIF_WHY, fmt, ap);
	va_end(ap);
	return why;
}

static bool isPowerOfTwo(uint64_t x) { return x != 0 && (x & (x - 1)) == 0; }

const char *whatif_unsupported(const gmt_header *head) {
	if (layout_versionOf(head->goversion) == NULL) {
		return "recorded with a Go that is not known: go1.24 to go1.27 are";
	}
	if (head->runtime_freegc) {
		return "GOEXPERIMENT=runtimefreegc is not replayed";
	}
	if (sizeof(uintptr_t) == 4) {
		return "on a host with 32-bit words recordings are replayed as they are, and not changed";
	}
	const uint64_t arena = (uint64_t)(strcmp(head->goarch, "386") == 0 ? 4 : 64) << 20;
	if (head->page_size != 8192 || head->arena_bytes != arena) {
		return "the page or arena size is not that of Go on this platform";
	}
	if (!isPowerOfTwo(head->phys_page_size) || head->phys_page_size < 4096 || head->phys_page_size > 512 << 10) {
		return "the physical page size is out of range";
	}
	const uint64_t huge = head->phys_huge_page_size;
	return huge != 0 && (!isPowerOfTwo(huge) || huge > (uint64_t)1 << 30) ? "the huge page size is out of range" : NULL;
}

void whatif_config_recorded(whatif_config *c, const gmt_header *head) {
	*c = (whatif_config){
		.layout = layout_ofVersion(layout_versionOf(head->goversion), head->goarch),
		.greenTea = head->green_tea,
		.randomBase = head->randomize_heap_base,
		.physPageSize = head->phys_page_size,
		.physHugePageSize = head->phys_huge_page_size,
		.gogc = 100,
	};
}

void whatif_config_trace(whatif_config *c, const whatif_trace *t) {
	*c = (whatif_config){
		.layout = layout_host,
		.greenTea = t->greenTea,
		.physPageSize = 4096,
		.physHugePageSize = 2 << 20,
		.gogc = 100,
	};
}

const char *whatif_no_trace(const char *option) {
	if (strcmp(option, "--random-base") == 0) {
		return "only for recordings (*.gmt): a trace of stock Go doesn't have the seed of Go's choice, and nothing in its "
			   "results is an address";
	}
	return NULL;
}

// ---- values

static bool parse_number(const char *s, uint64_t *n, const char **end) {
	char *stop;
	errno = 0;
	if (s[0] < '0' || s[0] > '9') {
		return false;
	}
	*n = strtoull(s, &stop, 10);
	*end = stop;
	return errno == 0;
}

static bool parse_size(const char *s, uint64_t *n) {
	static const char units[] = "KMGT";
	const char *end;
	if (!parse_number(s, n, &end)) {
		return false;
	}
	const char *unit = *end != 0 ? strchr(units, *end) : NULL;
	if (unit != NULL) {
		const unsigned shift = 10 * ((unsigned)(unit - units) + 1);
		end += strcmp(end + 1, "iB") == 0 ? 3 : 1;
		if (*n > UINT64_MAX >> shift) {
			return false;
		}
		*n <<= shift;
	}
	return *end == 0;
}

static const char *set_switch(bool *to, const char *option, const char *value, char why[WHATIF_WHY]) {
	if (strcmp(value, "on") != 0 && strcmp(value, "off") != 0) {
		return refuse(why, "%s %s: on or off", option, value);
	}
	*to = strcmp(value, "on") == 0;
	return NULL;
}

static const char *set_size(
	uint64_t *to, const char *option, const char *value, uint64_t min, uint64_t max, char why[WHATIF_WHY]) {
	uint64_t n;
	if (!parse_size(value, &n)) {
		return refuse(why, "%s %s: not a size (a number of bytes, or KiB, MiB, GiB)", option, value);
	}
	if (!isPowerOfTwo(n)) {
		return refuse(why, "%s %s: not a power of two", option, value);
	}
	if (n < min || n > max) {
		return refuse(why, "%s %s: not from %" PRIu64 " to %" PRIu64, option, value, min, max);
	}
	*to = n;
	return NULL;
}

static uint8_t log2of(uint64_t powerOfTwo) { return (uint8_t)__builtin_ctzll(powerOfTwo); }

static const char *set_gogc(whatif_config *c, const char *option, const char *value, char why[WHATIF_WHY]) {
	const char *end = "";
	uint64_t n = 100;
	c->neverGC = strcmp(value, "off") == 0;
	if (!c->neverGC && (!parse_number(value, &n, &end) || *end != 0 || n == 0 || n > 1000000)) {
		return refuse(why, "%s %s: a percentage from 1 to 1000000, or off", option, value);
	}
	c->gogc = n;
	c->paced = true;
	return NULL;
}

static const char *set_limit(whatif_config *c, const char *option, const char *value, char why[WHATIF_WHY]) {
	uint64_t n;
	if (!parse_size(value, &n) || n < 1 << 20) {
		return refuse(why, "%s %s: a size of at least 1MiB", option, value);
	}
	c->memoryLimit = n;
	c->paced = true;
	return NULL;
}

static const char *set_layout(whatif_config *c, const char *option, const char *value, char why[WHATIF_WHY]) {
	gomem_layout *L = &c->layout;
	uint64_t n = 0;
	const char *bad = NULL;
	if (strcmp(option, "--page-size") == 0) {
		bad = set_size(&n, option, value, MIN_PAGE, MAX_PAGE, why);
		L->pageShift = bad == NULL ? log2of(n) : L->pageShift;
		return bad;
	}
	if (strcmp(option, "--arena-size") == 0) {
		bad = set_size(&n, option, value, 1 << 20, (uint64_t)1 << 30, why);
		L->heapArenaBytes = bad == NULL ? n : L->heapArenaBytes;
		return bad;
	}
	bad = set_size(&n, option, value, 8, 512, why); // --tiny-size
	L->maxTinySize = bad == NULL ? n : L->maxTinySize;
	return bad;
}

const char *whatif_set(whatif_config *c, const char *option, const char *value, char why[WHATIF_WHY]) {
	bool on = false;
	const char *bad;
	if (strcmp(option, "--size-classes") == 0) {
		c->sizeClasses = value;
		return NULL;
	}
	if (strcmp(option, "--phys-page-size") == 0) {
		return set_size(&c->physPageSize, option, value, 4096, 512 << 10, why);
	}
	if (strcmp(option, "--thp") == 0) {
		bad = set_switch(&c->hugePages, option, value, why);
		c->physHugePageSize = c->hugePages ? 2 << 20 : 0;
		return bad;
	}
	if (strcmp(option, "--gogc") == 0) {
		return set_gogc(c, option, value, why);
	}
	if (strcmp(option, "--memory-limit") == 0) {
		return set_limit(c, option, value, why);
	}
	if (strcmp(option, "--deaths") == 0) {
		c->earlyDeaths = strcmp(value, "early") == 0;
		return c->earlyDeaths || strcmp(value, "late") == 0 ? NULL : refuse(why, "%s %s: late or early", option, value);
	}
	if (strcmp(option, "--green-tea") == 0) {
		return set_switch(&c->greenTea, option, value, why);
	}
	if (strcmp(option, "--random-base") == 0) {
		return set_switch(&c->randomBase, option, value, why);
	}
	if (strcmp(option, "--page-cache") == 0) {
		bad = set_switch(&on, option, value, why);
		c->layout.pageCacheSpanPages = on ? layout_host.pageCacheSpanPages : 0;
		return bad;
	}
	return set_layout(c, option, value, why);
}

// ---- size classes

static const char *take_classes(whatif_config *c, const sizeClasses *t, char why[WHATIF_WHY]) {
	gomem_size_classes *to = &c->classes;
	const char *name = c->sizeClasses != NULL ? c->sizeClasses : "Go's rules";
	const gomem_layout *L = &c->layout;
	if (t->n > maxSizeClasses) {
		return refuse(
			why, "--size-classes %s: %u classes, at most %d fit a span class", name, t->n - 1, maxSizeClasses - 1);
	}
	bool header = false;
	memset(to, 0, sizeof(*to));
	to->n = t->n;
	for (unsigned i = 1; i < t->n; i++) {
		if (t->class[i].size <= L->minSizeForMallocHeader && t->class[i].npages > 1) {
			return refuse(why,
				"--size-classes %s: class %" PRIu64 " has %" PRIu64 " pages; spans of objects up to %" PRIu64
				" bytes are one page",
				name, t->class[i].size, t->class[i].npages, L->minSizeForMallocHeader);
		}
		header |= t->class[i].size == L->minSizeForMallocHeader;
		to->size[i] = (uint16_t)t->class[i].size;
		to->npages[i] = (uint8_t)t->class[i].npages;
		to->divmagic[i] = sizeClasses_divMagic(t, i);
	}
	if (!header) {
		return refuse(why, "--size-classes %s: no class of %" PRIu64 " bytes, where malloc headers begin", name,
			L->minSizeForMallocHeader);
	}
	for (uint64_t i = 0; i < sizeClasses_smallLen(t); i++) {
		to->lookup8[i] = (uint8_t)sizeClasses_small(t, i);
	}
	for (uint64_t i = 0; i < sizeClasses_largeLen(t); i++) {
		to->lookup128[i] = (uint8_t)sizeClasses_large(t, i);
	}
	c->ownClasses = true;
	return NULL;
}

static sizeClassOptions options_of(const whatif_config *c) {
	sizeClassOptions o = sizeClassOptions_go();
	o.pageSize = layout_pageSize(&c->layout);
	return o;
}

static const char *set_generated(sizeClassOptions *o, const char *text, char why[WHATIF_WHY]) {
	const struct {
		const char *name;
		uint64_t *to;
	} known[] = {{"align16-from", &o->align16From}, {"eighth-from", &o->alignEighthFrom},
		{"max-from", &o->alignMaxFrom}, {"max-align", &o->alignMax}, {"tail", &o->tailDiv}};
	for (const char *at = text; *at != 0;) {
		const size_t len = strcspn(at, "=");
		uint64_t *to = NULL;
		for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
			to = strlen(known[i].name) == len && strncmp(known[i].name, at, len) == 0 ? known[i].to : to;
		}
		const char *end = "";
		if (to == NULL || at[len] != '=' || !parse_number(at + len + 1, to, &end) || (*end != 0 && *end != ',') ||
			*to == 0) {
			return refuse(why,
				"--size-classes generated:%s: at \"%s\": NAME=NUMBER, NAME one of align16-from, eighth-from, "
				"max-from, max-align, tail",
				text, at);
		}
		at = *end == ',' ? end + 1 : end;
	}
	return NULL;
}

// drop_doubles: with pages below 8 KiB rule 4 can make two classes alike.
static void drop_doubles(sizeClasses *t) {
	unsigned n = 1;
	for (unsigned i = 1; i < t->n; i++) {
		if (t->class[i].size != t->class[n - 1].size) {
			t->class[n++] = t->class[i];
		}
	}
	t->n = n;
}

static const char *make_generated(whatif_config *c, const char *text, char why[WHATIF_WHY]) {
	sizeClassOptions o = options_of(c);
	const char *bad = set_generated(&o, text, why);
	if (bad != NULL) {
		return bad;
	}
	sizeClasses t;
	uint64_t at = 0;
	bad = makeClasses(&o, &t, &at);
	if (bad != NULL && t.n > 1 && t.class[t.n - 1].size >= o.maxSmallSize) {
		drop_doubles(&t);
		bad = sizeClasses_check(&t, &at);
	}
	if (bad != NULL) {
		return refuse(why, "--size-classes %s: %s (%" PRIu64 ")",
			c->sizeClasses != NULL ? c->sizeClasses : "of this page size", bad, at);
	}
	return take_classes(c, &t, why);
}

static uint64_t pages_for(const sizeClassOptions *o, uint64_t size) {
	uint64_t n = 1;
	while (n < UINT8_MAX && n * o->pageSize % size > n * o->pageSize / 8) {
		n++;
	}
	return n;
}

static const char *add_line(sizeClasses *t, char *line, unsigned number, const char *path, char why[WHATIF_WHY]) {
	line[strcspn(line, "#\r\n")] = 0;
	const char *at = line + strspn(line, " \t"), *end;
	uint64_t size = 0, pages = 0;
	if (*at == 0) {
		return NULL;
	}
	bool bad = !parse_number(at, &size, &end) || size == 0 || size > UINT16_MAX || size % 8 != 0;
	if (!bad) {
		at = end + strspn(end, " \t");
		pages = *at == 0 ? pages_for(&t->opt, size) : 0;
		bad = *at != 0 && (!parse_number(at, &pages, &end) || end[strspn(end, " \t")] != 0);
		bad = bad || pages == 0 || pages > UINT8_MAX || pages * t->opt.pageSize < size;
	}
	if (bad || t->n == maxMadeClasses) {
		return refuse(why,
			"--size-classes %s: line %u: SIZE [PAGES], SIZE a multiple of 8 below 65536, PAGES up to 255 and "
			"large enough",
			path, number);
	}
	t->class[t->n++] = (sizeClass){.size = size, .npages = pages};
	return NULL;
}

static const char *read_table(whatif_config *c, const char *path, char why[WHATIF_WHY]) {
	FILE *f = fopen(path, "r");
	if (f == NULL) {
		return refuse(why, "--size-classes %s: not go1.N, not generated, and no file: %s", path, strerror(errno));
	}
	sizeClasses t = {.opt = options_of(c), .n = 1};
	char line[256];
	const char *bad = NULL;
	for (unsigned n = 1; bad == NULL && fgets(line, sizeof(line), f) != NULL; n++) {
		const bool whole = strchr(line, '\n') != NULL || feof(f) != 0;
		bad = whole ? add_line(&t, line, n, path, why)
					: refuse(why, "--size-classes %s: line %u: longer than %zu characters, or not text", path, n,
						  sizeof(line) - 2);
	}
	(void)fclose(f);
	uint64_t at = 0;
	const char *broken = bad != NULL ? NULL : t.n == 1 ? "no classes" : sizeClasses_check(&t, &at);
	if (broken != NULL) {
		return refuse(why, "--size-classes %s: %s (%" PRIu64 ")", path, broken, at);
	}
	return bad != NULL ? bad : take_classes(c, &t, why);
}

// make_go: Go 1.16 added the class of 24 bytes; nothing else changed.
static const char *make_go(whatif_config *c, const char *version, char why[WHATIF_WHY]) {
	uint64_t n = 0;
	const char *end = "";
	if (!parse_number(version, &n, &end) || *end != 0 || n < OLDEST_GO || n > NEWEST_GO) {
		return refuse(why, "--size-classes go1.%s: go1.%d to go1.%d are known", version, OLDEST_GO, NEWEST_GO);
	}
	if (layout_pageSize(&c->layout) != 8192) {
		return refuse(
			why, "--size-classes go1.%s: the table is for pages of 8KiB; with --page-size use generated", version);
	}
	c->ownClasses = false;
	if (n >= GO_WITH_24) {
		return NULL;
	}
	sizeClasses t = {.opt = options_of(c), .n = 1};
	for (unsigned i = 1; i < numSizeClasses; i++) {
		if (class_to_size[i] != 24) {
			t.class[t.n++] = (sizeClass){.size = class_to_size[i], .npages = class_to_allocnpages[i]};
		}
	}
	return take_classes(c, &t, why);
}

static const char *settle_classes(whatif_config *c, char why[WHATIF_WHY]) {
	const char *spec = c->sizeClasses;
	c->ownClasses = false;
	if (spec == NULL) {
		return layout_pageSize(&c->layout) == 8192 ? NULL : make_generated(c, "", why);
	}
	if (strncmp(spec, "go1.", 4) == 0) {
		return make_go(c, spec + 4, why);
	}
	if (strcmp(spec, "generated") == 0) {
		return make_generated(c, "", why);
	}
	if (strncmp(spec, "generated:", 10) == 0) {
		return make_generated(c, spec + 10, why);
	}
	return read_table(c, spec, why);
}

// ---- what follows

static const char *settle_tiny(whatif_config *c, char why[WHATIF_WHY]) {
	gomem_layout *L = &c->layout;
	const unsigned n = c->ownClasses ? c->classes.n : (unsigned)numSizeClasses;
	for (unsigned i = 1; i < n; i++) {
		if ((c->ownClasses ? c->classes.size[i] : class_to_size[i]) == L->maxTinySize) {
			L->tinySizeClass = (uint8_t)i;
			return NULL;
		}
	}
	return refuse(why, "--tiny-size %" PRIu64 ": there is no size class of that many bytes", L->maxTinySize);
}

static void settle_pages(gomem_layout *L) {
	const uint64_t page = layout_pageSize(L), chunkBits = layout_logChunkBytes(L);
	L->summaryL0Bits = (uint8_t)(L->heapAddrBits - chunkBits - (L->summaryLevels - 1u) * L->summaryLevelBits);
	L->pallocChunksL2Bits = (uint8_t)(L->heapAddrBits - chunkBits - L->pallocChunksL1Bits);
	L->spanInlineMarkBitsSize = page / 64; // a bit for each 16 bytes, twice
	L->maxPhysPageSize = page * 64 < 512 << 10 ? page * 64 : 512 << 10;
	L->logHeapArenaBytes = log2of(L->heapArenaBytes);
	L->arenaL2Bits = (uint8_t)(L->heapAddrBits - L->logHeapArenaBytes);
}

const char *whatif_settle(whatif_config *c, char why[WHATIF_WHY]) {
	gomem_layout *L = &c->layout;
	if (c->earlyDeaths && !c->paced) {
		return refuse(why, "--deaths early: only with --gogc or --memory-limit");
	}
	settle_pages(L);
	if (L->heapArenaBytes < layout_chunkBytes(L) || layout_pagesPerArena(L) > maxPagesPerArena) {
		return refuse(why,
			"--arena-size %" PRIu64 ": with pages of %" PRIu64 " bytes an arena has %" PRIu64 " to %" PRIu64
			" bytes (512 to %d pages)",
			L->heapArenaBytes, layout_pageSize(L), layout_chunkBytes(L), (uint64_t)maxPagesPerArena << L->pageShift,
			maxPagesPerArena);
	}
	if (c->physPageSize > L->maxPhysPageSize) {
		return refuse(why, "--phys-page-size %" PRIu64 ": at most 64 pages of the allocator, %" PRIu64, c->physPageSize,
			L->maxPhysPageSize);
	}
	const char *bad = settle_classes(c, why);
	bad = bad != NULL ? bad : settle_tiny(c, why);
	if (bad != NULL) {
		return bad;
	}
	gomem_layout checked = *L;
	checked.classes = c->ownClasses ? &c->classes : NULL;
	const char *broken = layout_check(&checked);
	return broken == NULL ? NULL : refuse(why, "these constants do not go together: %s", broken);
}
