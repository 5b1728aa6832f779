// explain.c: `gomem explain`: one allocation on a real heap, step by step, then its end.
//
// The heap is a lab build of the library with the layout of the platform (the variant rt). It works; a log is told (explain_os.c); then the log
// and the heap are read and printed. What stands in the output is what was seen, not what ought to be.
#include "cli/explain.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "cli/args.h"
#include "cli/commands.h"

enum { EXIT_BAD = 2, maxTypeName = 64, maxMaskBytes = 1 << 16, showWords = 32 };

static const char help[] =
	"usage: gomem explain SIZE [--scan] [--type NAME:SIZE:PTRBYTES] [--platform GOOS/GOARCH] [--again]\n"
	"\n"
	"Makes a heap as Go 1.26 does, allocates SIZE bytes in it, lets nobody point to them, collects, and gives the pages back to the\n"
	"operating system; and tells each step: size class, mcache, mcentral, page heap, arenas, the states of memory and the system calls.\n"
	"A line for each word of Go's that was used stands at the end. docs/FIRST_ALLOCATION.md is made of such runs.\n"
	"\n"
	"  SIZE                        bytes; also 4KiB, 1MiB, 1GiB\n"
	"  --scan                      all words of it are pointers; without this and --type it has none\n"
	"  --type NAME:SIZE:PTRBYTES   it is one or more of a type of so many bytes, whose pointers are the words of its first PTRBYTES\n"
	"  --platform GOOS/GOARCH      with the constants of that platform (gomem layout --all lists them) and a simulated operating system,\n"
	"                              where the heap is addresses only; without this: linux/amd64, and memory that this process really gets\n"
	"  --again                     allocates once more, to show how much shorter that is\n"
	"\n"
	"Exit status: 0 done, 1 the heap is not consistent, 2 bad usage, or there is not enough memory.\n";

typedef struct request {
	const char *sizeText;
	uintptr_t size;
	bool scan, again;
	const char *platform, *typeText;
	char typeName[maxTypeName];
	gomem_type type; // size 0: without pointers
	uint8_t *mask;
	gomem_layout layout;
} request;

static int complain(const char *what, const char *why) {
	(void)fflush(stdout);
	(void)fprintf(stderr, "gomem explain: %s: %s\n", what, why);
	return EXIT_BAD;
}

// ---- the request

static bool parseSize(const char *text, uintptr_t *size) {
	static const char *const units[] = {"", "KiB", "MiB", "GiB"};
	char *end;
	errno = 0;
	const unsigned long long v = strtoull(text, &end, 10);
	if (*text < '0' || *text > '9' || errno != 0) {
		return false;
	}
	for (unsigned i = 0; i < 4; i++) {
		if (strcmp(end, units[i]) == 0) {
			*size = (uintptr_t)(v << 10 * i);
			return v <= UINTPTR_MAX >> 10 * i;
		}
	}
	return false;
}

// parseType reads NAME:SIZE:PTRBYTES.
static bool parseType(request *rq) {
	const char *text = rq->typeText;
	const char *colon = strchr(text, ':');
	const char *second = colon != NULL ? strchr(colon + 1, ':') : NULL;
	if (second == NULL || colon == text || colon - text >= maxTypeName) {
		return false;
	}
	char number[32];
	if (second - colon - 1 >= (ptrdiff_t)sizeof number) {
		return false;
	}
	(void)snprintf(rq->typeName, sizeof rq->typeName, "%.*s", (int)(colon - text), text);
	(void)snprintf(number, sizeof number, "%.*s", (int)(second - colon - 1), colon + 1);
	return parseSize(number, &rq->type.size) && parseSize(second + 1, &rq->type.ptr_bytes);
}

// checkType: what Go's compiler sees to.
static const char *checkType(const request *rq) {
	const uintptr_t word = rq->layout.ptrSize;
	if (rq->type.size == 0 || rq->type.ptr_bytes > rq->type.size) {
		return "PTRBYTES is at most SIZE, and SIZE at least 1";
	}
	if (rq->type.ptr_bytes % word != 0 || (rq->type.ptr_bytes > 0 && rq->type.size % word != 0)) {
		return "a type with pointers consists of words: SIZE and PTRBYTES are multiples of 8 (4 on 32-bit platforms)";
	}
	if (rq->type.ptr_bytes / word > (uintptr_t)maxMaskBytes * 8) {
		return "PTRBYTES is too large to tell";
	}
	if (rq->size == 0 || rq->size % rq->type.size != 0) {
		return "the bytes to allocate are a multiple of the type's SIZE";
	}
	return NULL;
}

// makeType fills in the type and its mask. NULL, or what is wrong.
static const char *makeType(request *rq) {
	const uintptr_t word = rq->layout.ptrSize;
	if (rq->scan) {
		(void)snprintf(rq->typeName, sizeof rq->typeName, "unsafe.Pointer");
		rq->type.size = rq->type.ptr_bytes = word;
		if (rq->size == 0 || rq->size % word != 0) {
			return "with --scan the bytes to allocate are words: a multiple of 8 (4 on 32-bit platforms)";
		}
	} else if (rq->typeText == NULL) {
		return NULL;
	}
	const char *bad = checkType(rq);
	if (bad != NULL) {
		return bad;
	}
	rq->mask = calloc(1, maxMaskBytes + 8);
	if (rq->mask == NULL) {
		return "out of memory";
	}
	for (uintptr_t i = 0; i < rq->type.ptr_bytes / word; i++) {
		rq->mask[i / 8] |= (uint8_t)(1u << i % 8);
	}
	rq->type.ptr_mask = rq->mask;
	return NULL;
}

static int parseArgs(request *rq, int argc, char **argv) {
	for (int i = 1; i < argc; i++) {
		const char *a = argv[i], *value = "";
		if (strcmp(a, "--scan") == 0) {
			rq->scan = true;
		} else if (strcmp(a, "--again") == 0) {
			rq->again = true;
		} else if (args_takes(argc, argv, &i, "--type", &value)) {
			rq->typeText = value;
		} else if (args_takes(argc, argv, &i, "--platform", &value)) {
			rq->platform = value;
		} else if (a[0] == '-') {
			return complain(a, "no such option (gomem explain --help lists them)");
		} else if (rq->sizeText != NULL) {
			return complain(a, "one SIZE is enough");
		} else {
			rq->sizeText = a;
		}
		if (value == NULL) {
			return complain(a, "needs a value (gomem explain --help)");
		}
	}
	if (rq->sizeText == NULL) {
		return complain("SIZE", "is missing (gomem explain --help)");
	}
	if (!parseSize(rq->sizeText, &rq->size)) {
		return complain(rq->sizeText, "is no size: a number of bytes, or 4KiB, 1MiB, 1GiB");
	}
	if (rq->scan && rq->typeText != NULL) {
		return complain("--scan and --type", "one of them");
	}
	rq->layout = layout_host;
	if (rq->platform != NULL && !layout_ofPlatform(rq->platform, &rq->layout)) {
		return complain(rq->platform, "no platform of Go 1.26 (gomem layout --all lists them)");
	}
	if (rq->size > layout_maxAlloc(&rq->layout)) {
		return complain(rq->sizeText, "more than there are addresses on that platform");
	}
	if (rq->typeText != NULL && !parseType(rq)) {
		return complain(rq->typeText, "is no NAME:SIZE:PTRBYTES");
	}
	const char *bad = makeType(rq);
	return bad == NULL ? 0 : complain(rq->typeText != NULL ? rq->typeText : rq->sizeText, bad);
}

// ---- a heap at work

// What a P had before an allocation.
typedef struct before {
	mcache cache;
	mspan spans[maxSpanClasses];
} before;

typedef struct story {
	request rq;
	explainLog log;
	mheap *h;
	gomem_p *p;
	before was;
	uintptr_t x; // the object
	unsigned path;
	unsigned end[2]; // of the items of the first and the second allocation
} story;

static _Noreturn void thrown(void *ctx, const char *msg) {
	(void)ctx;
	(void)complain("the heap is not consistent", msg);
	exit(1);
}

static void look(story *s) {
	const mcache *c = s->p->mcache;
	memcpy(&s->was.cache, c, sizeof *c);
	for (unsigned i = 0; i < maxSpanClasses; i++) {
		memcpy(&s->was.spans[i], c->alloc[i], sizeof(mspan));
	}
}

static bool allocate(story *s) {
	look(s);
	const gomem_type *typ = s->rq.type.size != 0 ? &s->rq.type : NULL;
	s->x = mallocgc(s->h, s->p, s->rq.size, typ, true, &s->path);
	return s->x != 0;
}

static const uint64_t seed = 0x9e3779b97f4a7c15; // the heap's random places are the same each time

static bool begin(story *s) {
	const gomem_config cfg = {
		.os = &s->log.os,
		.lab = &s->log.lab,
		.layout = &s->rq.layout,
		.rand_seed = seed,
		.checked = true,
		.throw_hook = thrown,
	};
	if (!explainLog_init(&s->log, &s->rq.layout, s->rq.platform == NULL)) {
		return false;
	}
	s->h = gomem_heap_new(&cfg);
	if (s->h == NULL) {
		return false;
	}
	s->log.h = s->h;
	s->p = gomem_heap_p(s->h, 0);
	return true;
}

// ---- what is told

static void title(unsigned number, const char *text) { say("\n%u. %s", number, text); }

static void tellBeginning(story *s, unsigned to) {
	const gomem_layout *L = &s->rq.layout;
	const int nameLen = (int)strcspn(L->name, " ");
	say("%s on %.*s, go1.26; %s", bytesText(s->rq.size), nameLen, L->name,
		s->rq.platform == NULL ? "the memory is this process's own"
							   : "the operating system is simulated, and the heap is addresses only");
	say("Addresses of the heap are as they are; M1, M2, ... are pieces of metadata, which lie where the kernel puts them.");
	title(1, "The heap begins");
	(void)tellItems(&s->log, 0, to);
}

static const char *const pathNames[] = {
	[GOMEM_PATH_TINY_HIT] = "tiny: there is room for it in the P's tiny block",
	[GOMEM_PATH_TINY_NEW] = "tiny: below 16 bytes and without pointers, it begins a tiny block, a slot of 16 bytes",
	[GOMEM_PATH_NOSCAN] = "small, noscan: a slot of a span without pointers",
	[GOMEM_PATH_SCAN] = "small, scan: a slot of a span with pointers; which words are pointers stands in heap bits",
	[GOMEM_PATH_SCAN_HEADER] =
		"small, scan, with a header: a slot of a span with pointers, whose first word says which type it is",
	[GOMEM_PATH_LARGE] = "large: a large object has a span of its own",
	[GOMEM_PATH_REUSE] = "a slot that was given back by hand",
};

static void tellRequest(const story *s, const mspan *sp) {
	const request *rq = &s->rq;
	const gomem_layout *L = &rq->layout;
	if (rq->type.size == 0) {
		say("  asked for    %s without pointers", bytesText(rq->size));
	} else {
		say("  asked for    %s: %llu of type %s, of %llu bytes, pointers in the first %llu", bytesText(rq->size),
			(unsigned long long)(rq->size / rq->type.size), rq->typeName, (unsigned long long)rq->type.size,
			(unsigned long long)rq->type.ptr_bytes);
	}
	if (sp == NULL) {
		say("  kind         nothing: no byte is taken, all such objects are at zerobase");
		return;
	}
	say("  kind         %s", pathNames[s->path]);
	const unsigned sizeclass = spanClass_sizeclass(sp->spanclass);
	if (s->path == GOMEM_PATH_SCAN_HEADER) {
		say("  header       %llu bytes more, since it is larger than %llu bytes",
			(unsigned long long)L->mallocHeaderSize, (unsigned long long)L->minSizeForMallocHeader);
	}
	if (sizeclass == 0) {
		say("  rounded to   %s: %llu pages of %s", bytesText(sp->elemsize), (unsigned long long)sp->npages,
			bytesText(layout_pageSize(L)));
	} else {
		say("  rounded to   %u bytes: size class %u, of which a span has %llu %s and %u slots",
			layout_classSize(L, sizeclass), sizeclass, (unsigned long long)sp->npages,
			sp->npages == 1 ? "page" : "pages", sp->nelems);
	}
	say("  span class   %u = %u << 1 | %u, binary %s %s: size class %u, %s", sp->spanclass, sizeclass,
		spanClass_noscan(sp->spanclass), binaryText(sizeclass, 7), binaryText(spanClass_noscan(sp->spanclass), 1),
		sizeclass, spanClass_noscan(sp->spanclass) ? "noscan" : "scan");
}

// tellSlot tells which slot of its span was taken, and what the P had before.
static void tellSlot(const story *s, mspan *sp) {
	const mcache *c = s->p->mcache;
	const uintptr_t i = mspan_objIndex(sp, s->x);
	say("    the object is at %s, slot %llu of the span at %s", addrText(&s->log, s->x), (unsigned long long)i,
		addrText(&s->log, mspan_base(sp)));
	if (spanClass_sizeclass(sp->spanclass) == 0) {
		return;
	}
	const mspan *was = &s->was.spans[sp->spanclass];
	if (s->was.cache.alloc[sp->spanclass] == sp) {
		say("    of the span: freeindex %u -> %u, allocCount %u -> %u, allocCache %#llx -> %#llx", was->freeindex,
			sp->freeindex, was->allocCount, sp->allocCount, (unsigned long long)was->allocCache,
			(unsigned long long)sp->allocCache);
	} else {
		say("    of the span: freeindex %u, allocCount %u, allocCache %#llx (a 1 is a free slot)", sp->freeindex,
			sp->allocCount, (unsigned long long)sp->allocCache);
	}
	if (s->path <= GOMEM_PATH_TINY_NEW) {
		say("    the P's tiny block: %s, %llu of its %llu bytes are used (before: %llu)", addrText(&s->log, c->tiny),
			(unsigned long long)c->tinyoffset, (unsigned long long)s->rq.layout.maxTinySize,
			(unsigned long long)s->was.cache.tinyoffset);
	}
}

// ---- where it lies

static void tellTree(const story *s) {
	const gomem_layout *L = &s->rq.layout;
	for (unsigned l = 0; l < L->summaryLevels; l++) {
		const uintptr_t i = offAddrToLevelIndex(L, l, (offAddr){s->x});
		const pallocSum sum = s->h->pages.summary[l].p[i];
		say("    level %u, entry %llu of %llu pages: %u free at the start, %u in the longest run, %u at the end", l,
			(unsigned long long)i, 1ull << layout_levelLogPages(L, l), pallocSum_start(L, sum), pallocSum_max(L, sum),
			pallocSum_end(L, sum));
	}
}

static void tellPlace(story *s, mspan *sp) {
	const gomem_layout *L = &s->rq.layout;
	const arenaIdx ai = arenaIndex(L, s->x);
	const chunkIdx ci = chunkIndex(L, s->x);
	const unsigned page = chunkPageIndex(L, s->x);
	const uintptr_t inArena = (s->x - arenaBase(L, ai)) >> L->pageShift;
	const heapArena *ha = mheap_arenaAt(s->h, ai);
	say("  arena index  (%#llx - %#llx) / %s = %llu: L1 %llu, L2 %llu", (unsigned long long)s->x,
		(unsigned long long)L->arenaBaseOffset, bytesText(L->heapArenaBytes), (unsigned long long)ai,
		(unsigned long long)arenaIdx_l1(L, ai), (unsigned long long)arenaIdx_l2(L, ai));
	say("  heapArena    of %s on: page %llu of it %s this span", addrText(&s->log, arenaBase(L, ai)),
		(unsigned long long)inArena, ha->spans[inArena] == sp ? "belongs to" : "does not belong to");
	const pallocData *chunk = pageAlloc_chunkOf(L, &s->h->pages, ci);
	say("  chunk        %llu, page %u: %s, %s", (unsigned long long)ci, page,
		pageBits_get(&chunk->pallocBits.b, page) ? "in use" : "free",
		pageBits_get(&chunk->scavenged, page) ? "scavenged" : "not scavenged");
	say("  radix tree   above it:");
	tellTree(s);
}

// ---- what is inside

static GOMEM_UNCHECKED bool isZero(uintptr_t x, uintptr_t n) {
	for (uintptr_t i = 0; i < n; i++) {
		if (((const volatile unsigned char *)x)[i] != 0) {
			return false;
		}
	}
	return true;
}

static void tellHeapBits(const story *s, mspan *sp) {
	const gomem_env *env = &s->h->env;
	const gomem_layout *L = &s->rq.layout;
	uintptr_t size;
	const uintptr_t at = spanHeapBitsRange(env, mspan_base(sp), sp->npages << L->pageShift, sp->elemsize, &size);
	say("  heap bits    %llu bytes at %s, the end of the span: a bit for each word of it", (unsigned long long)size,
		addrText(&s->log, at));
	if (!env->backed) {
		return;
	}
	const uintptr_t n = sp->elemsize / L->ptrSize, shown = n < showWords ? n : showWords;
	const uint64_t bits = heapBitsSmallForAddr(env, sp, s->x);
	char text[showWords + 1];
	for (uintptr_t i = 0; i < shown; i++) {
		text[i] = (char)('0' + (bits >> i & 1));
	}
	text[shown] = 0;
	say("               of this object: %s%s, its first word first", text, n > shown ? "..." : "");
}

static void tellPointers(const story *s, mspan *sp) {
	const gomem_env *env = &s->h->env;
	const gomem_layout *L = &s->rq.layout;
	switch (s->path) {
	case GOMEM_PATH_SCAN:
		tellHeapBits(s, sp);
		break;
	case GOMEM_PATH_SCAN_HEADER:
		say("  header       the word at %s%s", addrText(&s->log, s->x - (uintptr_t)L->mallocHeaderSize),
			!env->backed ? ", not written in a heap of addresses"
				: heapMem_getWord(s->x - (uintptr_t)L->mallocHeaderSize) == (uintptr_t)&s->rq.type
				? " holds the address of the type"
				: " does not hold the address of the type");
		break;
	case GOMEM_PATH_LARGE:
		say("  pointers     %s",
			sp->largeType == &s->rq.type ? "the span's largeType says where they are"
										 : "none: the span has no largeType");
		break;
	default:
		say("  pointers     none: no heap bits, no header");
	}
	if (gcUsesSpanInlineMarkBits(env, sp->elemsize)) {
		say("  mark bits    inline mark bits: %llu bytes at %s", (unsigned long long)L->spanInlineMarkBitsSize,
			addrText(&s->log, inlineMarkBits(L, mspan_base(sp))));
	} else {
		say("  mark bits    outside of the span, at %s", addrText(&s->log, (uintptr_t)sp->gcmarkBits));
	}
	if (env->backed) {
		say("  zero         the %s are %szero; the span is %s", bytesText(s->rq.size),
			isZero(s->x, s->rq.size) ? "" : "not ",
			sp->needzero != 0 ? "needzero, so they were cleared" : "known to be zero, so nothing was cleared");
	}
}

static void tellMemory(story *s) {
	gomem_memstats m;
	gomem_readmemstats(s->h, &m);
	say("  memory       in use %s, free %s, given back or never used %s; Ready with all metadata: %s",
		bytesText(m.heap_in_use), bytesText(m.heap_free), bytesText(m.heap_released), bytesText(m.mapped_ready));
}

static counts tellAllocation(story *s, unsigned from, mspan *sp) {
	const counts c = tellItems(&s->log, from, s->log.n);
	if (sp != NULL) {
		tellSlot(s, sp);
	} else {
		say("    its address is %s", s->x == (uintptr_t)&s->h->zerobase ? "that of zerobase" : addrText(&s->log, s->x));
	}
	return c;
}

static void tellCounts(const char *which, counts c) {
	say("  %-12s %u decisions, %u sets of mcentrals looked at, %u summaries read, %u calls for memory, %u system calls",
		which, c.decisions, c.lists, c.summaries, c.osCalls, c.syscalls);
}

// ---- its end

static void collect(story *s) {
	mheap *h = s->h;
	const unsigned from = s->log.n;
	gomem_prepareForSweep(h, s->p);
	gomem_finishsweep(h, s->p);
	say("  before       the sweep of the cycle before must be done:");
	(void)tellItems(&s->log, from, s->log.n);
	const unsigned markFrom = s->log.n;
	const uint32_t gen = h->sweepgen;
	gomem_setGCPhase(h, gcMark);
	if (h->env.backed) {
		gomem_markroots(h, NULL, 0); // no root
	}
	gomem_setGCPhase(h, gcMarkTermination);
	gomem_setGCPhase(h, gcOff);
	mspan *sp = spanOfHeap(h, s->x);
	const bool isMarked = sp != NULL && gomem_isMarked(h, (void *)s->x);
	gomem_startsweep(h);
	(void)tellItems(&s->log, markFrom, s->log.n);
	say("  mark         no root points to the object: its mark bit is %u", isMarked);
	if (isMarked && s->p->mcache->tiny != 0 && s->x - s->p->mcache->tiny < s->rq.layout.maxTinySize) {
		say("               it lies in the P's tiny block, which is marked in each GC as long as the P goes on filling it");
	}
	say("  sweepgen     %u -> %u: all spans of the heap count as unswept", gen, h->sweepgen);
	const unsigned sweepFrom = s->log.n;
	gomem_prepareForSweep(h, s->p);
	say("  sweep        the P gives up its mcache, then what is left is swept, span by span:");
	while (gomem_sweepone(h, s->p) != ~(uintptr_t)0) {
	}
	(void)tellItems(&s->log, sweepFrom, s->log.n);
	sp = spanOfHeap(h, s->x);
	say("  the object   its address %s",
		sp == NULL                                       ? "is in no span any more"
			: mspan_isFree(sp, mspan_objIndex(sp, s->x)) ? "is a free slot now"
														 : "is still that of an object");
	tellMemory(s);
}

static void scavenge(story *s) {
	mheap *h = s->h;
	const unsigned from = s->log.n;
	const uintptr_t released = gomem_scavenge(h, s->p, ~(uintptr_t)0, true);
	(void)tellItems(&s->log, from, s->log.n);
	say("  released     %s", bytesText(released));
	tellMemory(s);
}

static int tellAgain(story *s, counts first, unsigned *number) {
	const unsigned from = s->log.n;
	title((*number)++, "The second allocation");
	if (!allocate(s)) {
		return complain(s->rq.sizeText, "there is not enough memory for the second one");
	}
	mspan *sp = spanOfHeap(s->h, s->x);
	const counts second = tellAllocation(s, from, sp);
	if (sp != NULL) {
		say("  kind         %s", pathNames[s->path]);
	}
	tellCounts("the first", first);
	tellCounts("the second", second);
	return 0;
}

static int tellAll(story *s) {
	if (!begin(s)) {
		return complain("a heap", "there is not enough memory for it");
	}
	const unsigned began = s->log.n;
	if (!allocate(s)) {
		return complain(s->rq.sizeText, "there is not enough memory");
	}
	unsigned number = 2;
	mspan *sp = spanOfHeap(s->h, s->x);
	tellBeginning(s, began);
	title(number++, "The request");
	tellRequest(s, sp);
	title(number++, "The allocation");
	const counts first = tellAllocation(s, began, sp);
	if (sp != NULL) {
		title(number++, "Where it lies");
		tellPlace(s, sp);
		title(number++, "What the collector knows of it");
		tellPointers(s, sp);
	}
	tellMemory(s);
	if (s->rq.again) {
		const int code = tellAgain(s, first, &number);
		if (code != 0) {
			return code;
		}
	}
	if (sp != NULL) {
		title(number++, "A GC finds it dead");
		collect(s);
		title(number++, "Its pages go back to the operating system");
		scavenge(s);
	}
	if (s->log.full) {
		return complain(s->rq.sizeText, "there was more to tell than there is room for");
	}
	const char *bad = explainLog_check(&s->log);
	bad = bad != NULL ? bad : gomem_heap_check(s->h);
	if (bad != NULL) {
		thrown(NULL, bad);
	}
	(void)printf("\nWords\n");
	sayWords();
	return 0;
}

int gomem_explain_main(int argc, char **argv) {
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			(void)fputs(help, stdout);
			return 0;
		}
	}
	story *s = calloc(1, sizeof *s);
	if (s == NULL) {
		return complain("out of memory", strerror(errno));
	}
	int code = parseArgs(&s->rq, argc, argv);
	if (code == 0) {
		code = tellAll(s);
	}
	gomem_heap_destroy(s->h);
	explainLog_destroy(&s->log);
	free(s->rq.mask);
	free(s);
	return code;
}
