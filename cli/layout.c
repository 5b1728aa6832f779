// layout.c: `gomem layout`: the constants of the allocator on each platform, and where an address lies there.
#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/args.h"
#include "cli/commands.h"
#include "gomem/mheap.h"

enum { EXIT_USAGE = 2, maxFields = 64, maxGiven = 64 };

static const char help[] =
	"usage: gomem layout [--json] [--all | GOOS/GOARCH...] [--address ADDR]\n"
	"\n"
	"Prints the constants of Go's allocator (go1.26) on a platform: without one on linux/amd64.\n"
	"\n"
	"  --all            all platforms of `go tool dist list`, one a line; with --json, all constants of each\n"
	"  --address ADDR   where the address lies there: arena, chunk, page (0x... or decimal)\n"
	"  --json           for scripts; addresses are strings\n"
	"\n"
	"linux/riscv64,sv39 and openbsd/riscv64,sv39 are riscv64 where a program has 39 bits of addresses.\n"
	"exit code: 0 done, 2 bad usage\n";

typedef struct field {
	const char *name;
	uint64_t value;
	bool isAddress;
} field;

// fieldsOf writes the constants of a layout to out and returns how many there are.
static unsigned fieldsOf(const gomem_layout *L, field *out) {
	const field all[] = {
		{"ptrSize", L->ptrSize, false},
		{"pageSize", layout_pageSize(L), false},
		{"heapAddrBits", L->heapAddrBits, false},
		{"maxAlloc", layout_maxAlloc(L), false},
		{"heapArenaBytes", L->heapArenaBytes, false},
		{"pagesPerArena", layout_pagesPerArena(L), false},
		{"arenaL1Bits", L->arenaL1Bits, false},
		{"arenaL2Bits", L->arenaL2Bits, false},
		{"arenaBaseOffset", L->arenaBaseOffset, true},
		{"pallocChunkPages", layout_chunkPages(L), false},
		{"pallocChunkBytes", layout_chunkBytes(L), false},
		{"pallocChunksL1Bits", L->pallocChunksL1Bits, false},
		{"pallocChunksL2Bits", L->pallocChunksL2Bits, false},
		{"summaryLevels", L->summaryLevels, false},
		{"summaryL0Bits", L->summaryL0Bits, false},
		{"summaryLevelBits", L->summaryLevelBits, false},
		{"logMaxPackedValue", layout_logMaxPackedValue(L), false},
		{"pagesPerReclaimerChunk", L->pagesPerReclaimerChunk, false},
		{"scavChunkHiOccPages", L->scavChunkHiOccPages, false},
		{"pageCachePages", pageCachePages, false},
		{"minPhysPageSize", L->minPhysPageSize, false},
		{"maxPhysPageSize", L->maxPhysPageSize, false},
		{"defaultPhysPageSize", L->defaultPhysPageSize, false},
		{"physPageAlignedStacks", L->physPageAlignedStacks, false},
		{"fixedStack", L->fixedStack, false},
		{"numStackOrders", L->numStackOrders, false},
		{"stackCacheSize", L->stackCacheSize, false},
		{"maxTinySize", L->maxTinySize, false},
		{"maxSmallSize", L->maxSmallSize, false},
		{"mallocHeaderSize", L->mallocHeaderSize, false},
		{"minSizeForMallocHeader", L->minSizeForMallocHeader, false},
		{"spanInlineMarkBitsSize", L->spanInlineMarkBitsSize, false},
		{"fixAllocChunk", L->fixAllocChunk, false},
		{"persistentChunkSize", L->persistentChunkSize, false},
		{"gcBitsChunkBytes", L->gcBitsChunkBytes, false},
		{"minHeapForMetadataHugePages", L->minHeapForMetadataHugePages, false},
		{"tagBits", layout_tagBits(L), false},
		{"isSbrkPlatform", L->reserve == LAYOUT_RESERVE_SBRK, false},
		{"greenTea", L->greenTea, false},
		{"randomizeHeapBase", L->randomizeHeapBase, false},
		{"randHeapAddrBits", L->randHeapAddrBits, false},
		{"arenaHints", L->numHeapArenaHints, false},
		{"firstArenaHint", L->firstArenaHint, false},
		{"arenaHintBase", L->arenaHintBase, true},
		{"arenaHintShift", L->arenaHintShift, false},
	};
	_Static_assert(sizeof all / sizeof all[0] <= maxFields, "room for the fields");
	memcpy(out, all, sizeof all);
	return sizeof all / sizeof all[0];
}

static unsigned addressFields(const gomem_layout *L, uint64_t addr, field *out) {
	const uintptr_t p = (uintptr_t)layout_uintptr(L, addr);
	const arenaIdx ai = arenaIndex(L, p);
	const chunkIdx ci = chunkIndex(L, p);
	const field all[] = {
		{"address", p, true},
		{"inHeapAddresses", ai >> (L->arenaL1Bits + L->arenaL2Bits) == 0, false},
		{"arenaIndex", ai, false},
		{"arenaIndexL1", arenaIdx_l1(L, ai), false},
		{"arenaIndexL2", arenaIdx_l2(L, ai), false},
		{"arenaBase", layout_uintptr(L, arenaBase(L, ai)), true},
		{"chunkIndex", ci, false},
		{"chunkBase", layout_uintptr(L, chunkBase(L, ci)), true},
		{"chunkPageIndex", chunkPageIndex(L, p), false},
	};
	memcpy(out, all, sizeof all);
	return sizeof all / sizeof all[0];
}

// ---- as text

static void printFields(const field *f, unsigned n) {
	for (unsigned i = 0; i < n; i++) {
		(void)printf(f[i].isAddress ? "%-28s 0x%llx\n" : "%-28s %llu\n", f[i].name, (unsigned long long)f[i].value);
	}
}

typedef struct cell {
	char s[48];
} cell;

static cell size(uint64_t n) {
	const unsigned shift = n >= 1 << 20 ? 20 : n >= 1 << 10 ? 10 : 0;
	const char *const unit = shift == 20 ? "MiB" : shift == 10 ? "KiB" : "B";
	cell out;
	(void)snprintf(out.s, sizeof out.s, "%llu %s", (unsigned long long)(n >> shift), unit);
	return out;
}

static int nameLen(const gomem_layout *L) { return (int)strcspn(L->name, " "); }

static cell place(const gomem_layout *L) {
	cell out;
	if (L->reserve == LAYOUT_RESERVE_SBRK) {
		(void)snprintf(out.s, sizeof out.s, "the break");
	} else if (L->ptrSize == 4) {
		(void)snprintf(out.s, sizeof out.s, "behind the program");
	} else {
		const uint64_t first = L->arenaHintBase | (uint64_t)L->firstArenaHint << L->arenaHintShift;
		(void)snprintf(out.s, sizeof out.s, "random, or %#llx", (unsigned long long)first);
	}
	return out;
}

static void printHead(void) {
	(void)printf("%-21s %4s %4s %7s %5s %18s %7s %11s %9s %6s %9s  %s\n", "platform", "word", "bits", "arena", "L1+L2",
		"index 0 is address", "chunk", "tree", "stacks", "header", "phys page", "heap begins at");
}

static void printRow(const gomem_layout *L) {
	cell l1l2, tree, stacks, offset;
	(void)snprintf(offset.s, sizeof offset.s, "0x%llx", (unsigned long long)L->arenaBaseOffset);
	(void)snprintf(l1l2.s, sizeof l1l2.s, "%u+%u", L->arenaL1Bits, L->arenaL2Bits);
	(void)snprintf(
		tree.s, sizeof tree.s, "%u+%u*%u bits", L->summaryL0Bits, L->summaryLevels - 1u, L->summaryLevelBits);
	(void)snprintf(
		stacks.s, sizeof stacks.s, "%llu KiB x %u", (unsigned long long)L->fixedStack >> 10, L->numStackOrders);
	(void)printf("%-21.*s %4u %4u %7s %5s %18s %7s %11s %9s %6llu %9s  %s\n", nameLen(L), L->name, L->ptrSize * 8u,
		L->heapAddrBits, size(L->heapArenaBytes).s, l1l2.s, offset.s, size(layout_chunkBytes(L)).s, tree.s, stacks.s,
		(unsigned long long)L->minSizeForMallocHeader, size(L->defaultPhysPageSize).s, place(L).s);
}

// ---- as JSON

static void addFields(cJSON *object, const field *f, unsigned n) {
	char text[32];
	for (unsigned i = 0; i < n; i++) {
		if (f[i].isAddress) {
			(void)snprintf(text, sizeof text, "0x%llx", (unsigned long long)f[i].value);
			cJSON_AddStringToObject(object, f[i].name, text);
		} else {
			cJSON_AddNumberToObject(object, f[i].name, (double)f[i].value);
		}
	}
}

static cJSON *jsonOf(const gomem_layout *L, const uint64_t *addr) {
	field f[maxFields];
	char name[64];
	(void)snprintf(name, sizeof name, "%.*s", nameLen(L), L->name);
	cJSON *object = cJSON_CreateObject();
	cJSON_AddStringToObject(object, "platform", name);
	addFields(object, f, fieldsOf(L, f));
	if (addr != NULL) {
		addFields(cJSON_AddObjectToObject(object, "address"), f, addressFields(L, *addr, f));
	}
	return object;
}

static int printJson(const gomem_layout *layouts, unsigned n, const uint64_t *addr) {
	cJSON *list = cJSON_CreateArray();
	for (unsigned i = 0; i < n; i++) {
		cJSON_AddItemToArray(list, jsonOf(&layouts[i], addr));
	}
	char *text = cJSON_Print(list);
	cJSON_Delete(list);
	if (text == NULL) {
		(void)fprintf(stderr, "gomem layout: out of memory\n");
		return EXIT_USAGE;
	}
	(void)puts(text);
	cJSON_free(text);
	return 0;
}

// ---- the command

static int usage(const char *what, const char *arg) {
	(void)fprintf(stderr, "gomem layout: %s%s (gomem layout --help)\n", what, arg);
	return EXIT_USAGE;
}

static bool parseAddress(const char *text, uint64_t *addr) {
	char *end;
	errno = 0;
	*addr = strtoull(text, &end, 0);
	return *text >= '0' && *text <= '9' && *end == 0 && errno == 0;
}

static void printText(const gomem_layout *layouts, unsigned n, bool rows, const uint64_t *addr) {
	if (rows && addr == NULL) {
		printHead();
	}
	for (unsigned i = 0; i < n; i++) {
		field f[maxFields];
		if (rows && addr == NULL) {
			printRow(&layouts[i]);
			continue;
		}
		(void)printf("%s%-28s %.*s\n", i > 0 ? "\n" : "", "platform", nameLen(&layouts[i]), layouts[i].name);
		printFields(f, addr != NULL ? addressFields(&layouts[i], *addr, f) : fieldsOf(&layouts[i], f));
	}
}

int gomem_layout_main(int argc, char **argv) {
	static gomem_layout layouts[maxGiven];
	unsigned n = 0;
	bool all = false, json = false, hasAddress = false;
	const char *address;
	uint64_t addr = 0;
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			(void)fputs(help, stdout);
			return 0;
		}
		if (strcmp(argv[i], "--all") == 0) {
			all = true;
		} else if (strcmp(argv[i], "--json") == 0) {
			json = true;
		} else if (args_takes(argc, argv, &i, "--address", &address)) {
			if (address == NULL || !parseAddress(address, &addr)) {
				return usage("--address needs an address, not ", address != NULL ? address : "nothing");
			}
			hasAddress = true;
		} else if (argv[i][0] == '-') {
			return usage("unknown option ", argv[i]);
		} else if (n == maxGiven || !layout_ofPlatform(argv[i], &layouts[n++])) {
			return usage("no platform of Go 1.26: ", argv[i]);
		}
	}
	if (all && n > 0) {
		return usage("--all and ", "a platform");
	}
	for (; all && n < maxGiven && layout_platformName(n) != NULL; n++) {
		(void)layout_ofPlatform(layout_platformName(n), &layouts[n]);
	}
	if (n == 0) {
		layouts[n++] = layout_host;
	}
	if (json) {
		return printJson(layouts, n, hasAddress ? &addr : NULL);
	}
	printText(layouts, n, all, hasAddress ? &addr : NULL);
	return 0;
}
