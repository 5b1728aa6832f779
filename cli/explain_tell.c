// explain_tell.c: what a log was told, as lines: decisions, summaries that were read, calls for memory with the system calls below them.
#include "cli/explain.h"

#include <stdio.h>
#include <sys/mman.h>

#include "cli/syscall_words.h"

// ---- numbers

static char *nextText(void) {
	static char texts[8][64];
	static unsigned at;
	at = (at + 1) % 8;
	return texts[at];
}

const char *addrText(const explainLog *log, uintptr_t addr) {
	char *out = nextText();
	uint64_t offset = 0;
	const unsigned m = explainLog_meta(log, addr, &offset);
	if (m == 0) {
		(void)snprintf(out, 64, "%#llx", (unsigned long long)addr);
	} else if (offset == 0) {
		(void)snprintf(out, 64, "M%u", m);
	} else {
		(void)snprintf(out, 64, "M%u+%#llx", m, (unsigned long long)offset);
	}
	return out;
}

const char *bytesText(uint64_t n) {
	char *out = nextText();
	const unsigned shift = n == 0 ? 0
		: n % (1u << 30) == 0     ? 30
		: n % (1u << 20) == 0     ? 20
		: n % (1u << 10) == 0     ? 10
								  : 0;
	static const char *const units[] = {"bytes", "KiB", "MiB", "GiB"};
	(void)snprintf(out, 64, "%llu %s", (unsigned long long)(n >> shift), n == 1 ? "byte" : units[shift / 10]);
	return out;
}

const char *binaryText(uint64_t v, unsigned bits) {
	char *out = nextText();
	for (unsigned i = 0; i < bits && i < 63; i++) {
		out[i] = (char)('0' + (v >> (bits - 1 - i) & 1));
	}
	out[bits < 63 ? bits : 63] = 0;
	return out;
}

static const char *pages(uint64_t n) {
	char *out = nextText();
	(void)snprintf(out, 64, n == 1 ? "%llu page" : "%llu pages", (unsigned long long)n);
	return out;
}

static const char *slots(uint64_t n) {
	char *out = nextText();
	(void)snprintf(out, 64, n == 1 ? "%llu slot" : "%llu slots", (unsigned long long)n);
	return out;
}

// ---- system calls

static const char *flagNames(int flags) {
	static const bitName names[] = {{MAP_PRIVATE, "MAP_PRIVATE"}, {MAP_ANONYMOUS, "MAP_ANONYMOUS"},
		{MAP_FIXED, "MAP_FIXED"}, {MAP_NORESERVE, "MAP_NORESERVE"}};
	return bitNames(nextText(), (uint64_t)flags, names, sizeof names / sizeof names[0], "0");
}

static void tellSyscall(const explainLog *log, const item *t) {
	const char *asked = t->asked == 0 ? "NULL" : addrText(log, t->asked);
	const char *result = !t->ok ? "-1" : t->nr == SYSCALL_MMAP ? addrText(log, t->at) : "0";
	const unsigned long long n = t->n;
	switch (t->nr) {
	case SYSCALL_MMAP:
		say("          mmap(%s, %llu, %s, %s) = %s", asked, n, protNames(nextText(), (uint64_t)t->prot),
			flagNames(t->flags), result);
		break;
	case SYSCALL_MUNMAP:
		say("          munmap(%s, %llu) = %s", asked, n, result);
		break;
	case SYSCALL_MADVISE:
		say("          madvise(%s, %llu, %s) = %s", asked, n, adviceName((uint64_t)t->flags), result);
		break;
	case SYSCALL_MPROTECT:
		say("          mprotect(%s, %llu, %s) = %s", asked, n, protNames(nextText(), (uint64_t)t->prot), result);
		break;
	}
}

// ---- memory

static bool holds(const item *t, const void *p) {
	return p != NULL && (uintptr_t)p >= t->at && (uintptr_t)p - t->at < t->n;
}

// purpose says what a piece of metadata is for, by what the heap has in it.
static const char *purpose(const explainLog *log, const item *t) {
	mheap *h = log->h;
	const gomem_layout *L = h->env.layout;
	uint64_t ignored;
	if (explainLog_meta(log, t->at, &ignored) == 0) {
		return ": the heap's memory";
	}
	for (unsigned l = 0; l < L->summaryLevels; l++) {
		const uintptr_t lo = (uintptr_t)h->pages.summary[l].p;
		if (t->at >= lo && t->at - lo < (sizeof(pallocSum) << (L->summaryL0Bits + l * L->summaryLevelBits))) {
			char *out = nextText();
			(void)snprintf(out, 64, ": summaries, level %u", l);
			return out;
		}
	}
	const uintptr_t index = (uintptr_t)h->pages.scav.index.chunks;
	if (t->at >= index && t->at - index < (uint64_t)h->pages.scav.index.chunksCap * sizeof(uint64_t)) {
		return ": an index of the scavenger, a word for each chunk";
	}
	for (unsigned i = 0; i < pallocChunksL1Len; i++) {
		if (holds(t, h->pages.chunks[i])) {
			return ": bitmaps of chunks";
		}
	}
	for (unsigned i = 0; i < arenaL1Max; i++) {
		if (holds(t, (const void *)atomic_load(&h->arenas[i]))) {
			return ": arena index, a table of L2";
		}
	}
	for (intptr_t i = 0; i < h->heapArenas.len; i++) {
		if (holds(t, mheap_arenaAt(h, h->heapArenas.p[i]))) {
			return ": heapArena";
		}
	}
	return holds(t, h->allspans.p) ? ": the list of all mspans" : ": metadata";
}

static void tellOS(const explainLog *log, const item *t) {
	if (!t->ok) {
		say("      %s(%s, %s): refused", memCallNames[t->call], addrText(log, t->at), bytesText(t->n));
		return;
	}
	char states[64];
	if (t->before == t->then) {
		(void)snprintf(states, sizeof states, "stays %s", memStateNames[t->then]);
	} else {
		(void)snprintf(states, sizeof states, "%s%s -> %s", memStateNames[t->before], t->mixed ? " and others" : "",
			memStateNames[t->then]);
	}
	say("      %s(%s, %s)  %s%s", memCallNames[t->call], addrText(log, t->at), bytesText(t->n), states,
		purpose(log, t));
}

// ---- decisions

static const char *setName(const item *t) {
	const unsigned set = (unsigned)t->a & 1023;
	const bool isSwept = (set & 1) == t->heapGen / 2 % 2;
	char *out = nextText();
	(void)snprintf(
		out, 64, "mcentral[%u].%s, %s", set / 4, (set & 2) != 0 ? "full" : "partial", isSwept ? "swept" : "unswept");
	return out;
}

static void tellSpanInit(const explainLog *log, const item *t) {
	const unsigned spc = (unsigned)(t->a >> 2) & 0xff;
	say("    a span is made at %s: %s, span class %u, %s, %s; of its pages %llu were scavenged",
		addrText(log, (uintptr_t)t->c), pages(t->d & 0xffffffffu), spc, slots(t->a >> 11),
		(t->a >> 10 & 1) != 0 ? "needzero" : "known to be zero", (unsigned long long)(t->d >> 32));
}

static void tellSweep(const explainLog *log, const item *t) {
	const unsigned before = (unsigned)(t->a >> 17) & 0xffff, alive = (unsigned)(t->d >> 32);
	say("    sweep of the span at %s: %u of its %u slots were taken, %u have their mark bit: %u freed",
		addrText(log, (uintptr_t)t->c), before, (unsigned)(t->a >> 1) & 0xffff, alive, before - alive);
}

static void tellReserve(const explainLog *log, const item *t) {
	if (t->a == 0 && t->c != 0) {
		say("    the place is the system's choice: %s at %s", bytesText(t->b), addrText(log, (uintptr_t)t->d));
	} else if (t->c != 0) {
		say("    at the start %s were asked for at %s, %s granted at %s", bytesText(t->b),
			addrText(log, (uintptr_t)t->a), bytesText(t->c), addrText(log, (uintptr_t)t->d));
	} else {
		say("    arena hint %s: %s", addrText(log, (uintptr_t)t->a), t->a == t->d ? "granted" : "not granted there");
	}
}

static void tellPages(const explainLog *log, const item *t) {
	const char *taken = pages(t->a);
	switch (t->ev) {
	case EV_PCREFILL:
		if (t->b == 0) {
			say("    the P's page cache is empty, and the page heap has no page for it");
		} else {
			say("    the P's page cache was empty: 64 pages at %s are its own now, %u of them free, %u scavenged",
				addrText(log, (uintptr_t)t->a), popcount64(t->b), popcount64(t->b & t->c));
		}
		break;
	case EV_PCALLOC:
		if (t->b == 0) {
			say("    the page cache cannot give %s", taken);
		} else {
			say("    the page cache gives %s at %s, without the heap's lock; %s of it scavenged", taken,
				addrText(log, (uintptr_t)t->b), bytesText(t->c));
		}
		break;
	default:
		if (t->b == 0) {
			say("    the page heap has no run of %s", taken);
		} else {
			say("    the page heap gives %s at %s, %s of it scavenged; searchAddr is %s now", taken,
				addrText(log, (uintptr_t)t->b), bytesText(t->c), addrText(log, (uintptr_t)t->d));
		}
	}
}

static void tellScavenger(const explainLog *log, const item *t) {
	switch (t->ev) {
	case EV_SCAVFIND:
		if (t->a == 0) {
			say("    the scavenger finds no chunk worth a look");
		} else {
			say("    the scavenger looks into chunk %llu, from page %llu down", (unsigned long long)t->a,
				(unsigned long long)t->b);
		}
		break;
	case EV_SCAVBEGIN:
		say("    it takes %s at %s, so that nobody else does", pages(t->b), addrText(log, (uintptr_t)t->a));
		break;
	case EV_SCAVEND:
		say("    free again at %s, and scavenged: %s", addrText(log, (uintptr_t)t->a), pages(t->b));
		break;
	default:
		say("    chunk %llu has nothing more that could be given back: no free, unscavenged run of whole physical pages",
			(unsigned long long)t->a);
	}
}

static void tellEvent(const explainLog *log, const item *t) {
	const char *span = addrText(log, t->spanBase);
	switch (t->ev) {
	case EV_HINT:
		say("    arena hint: %s is tried first%s", addrText(log, (uintptr_t)t->b),
			t->a == 0 ? "" : ", for user arenas");
		break;
	case EV_MCACHEALLOC:
		say("    an mcache is made");
		break;
	case EV_REFILL:
		say(t->b == 0 ? "    the mcache has no span of class %llu%s: refill"
					  : "    the mcache's span of class %llu, at %s, is full: refill",
			(unsigned long long)t->a, t->b == 0 ? "" : span);
		break;
	case EV_REFILLEND:
		say("    the mcache has the span at %s for class %u now: freeindex %u, %u of %u slots taken, sweepgen %u (the heap's: %u)",
			span, (unsigned)t->a & 0xff, (unsigned)(t->a >> 8), (unsigned)t->d & 0xffff, (unsigned)(t->d >> 16),
			t->spanGen, t->heapGen);
		break;
	case EV_POP:
		say(t->b == 0 ? "    %s: empty%s" : "    %s: the span at %s is taken out", setName(t), t->b == 0 ? "" : span);
		break;
	case EV_PUSH:
		say("    %s: the span at %s is put in", setName(t), span);
		break;
	case EV_ACQUIRE:
		say("    the right to sweep the span at %s: %s (its sweepgen %u, the heap's %u)", span,
			t->a != 0 ? "got" : "somebody else has it", t->spanGen, t->heapGen);
		break;
	case EV_SWEEP:
		tellSweep(log, t);
		break;
	case EV_SCLOAD:
		break; // the sets that are looked at follow
	case EV_SCUPDATE:
		if ((uint32_t)t->a == sweepClassDone) {
			say("    nothing is left to sweep");
		}
		break;
	case EV_PCREFILL:
	case EV_PCALLOC:
	case EV_PALLOC:
		tellPages(log, t);
		break;
	case EV_MSPANALLOC:
		say("    an mspan for it, under the heap's lock");
		break;
	case EV_NEEDZERO:
		say("    zeroedBase of the arena: %s",
			t->c != 0 ? "these pages were used before" : "these pages were never used");
		break;
	case EV_SPANINIT:
		tellSpanInit(log, t);
		break;
	case EV_SPANFREE:
		say("    the span is freed: back to the page heap, at %s: %s", addrText(log, (uintptr_t)t->c), pages(t->d));
		break;
	case EV_RESERVE:
		tellReserve(log, t);
		break;
	case EV_ARENA:
		say("    arenas are made: %s at %s", bytesText(t->b), addrText(log, (uintptr_t)t->a));
		break;
	case EV_PGROW:
		say("    the page heap grows by %s at %s; %s of it scavenged", bytesText(t->b), addrText(log, (uintptr_t)t->a),
			pages(t->n));
		break;
	case EV_RANDPAD:
		say("    padding pages, in use for ever, at %s: %s", addrText(log, (uintptr_t)t->a), pages(t->b));
		break;
	case EV_SCAVFIND:
	case EV_SCAVBEGIN:
	case EV_SCAVEND:
	case EV_SCAVEMPTY:
		tellScavenger(log, t);
		break;
	default:
		say("    a decision of kind %d", (int)t->ev);
	}
}

// ---- what comes in rows

static bool isHint(const item *t) { return t->kind == ITEM_EVENT && t->ev == EV_HINT; }

// isEmptySet: a set of unswept spans was looked at, and is empty.
static bool isEmptySet(const item *t) {
	return t->kind == ITEM_EVENT && t->ev == EV_POP && t->b == 0 && (t->a & 1) != t->heapGen / 2 % 2;
}

// rowLen tells how many items from i on are alike, and told in one line.
static unsigned rowLen(const explainLog *log, unsigned i, unsigned to) {
	enum { shortRow = 4 };
	bool (*const alike)(const item *) = isHint(&log->items[i]) ? isHint : isEmptySet;
	unsigned n = 0;
	while (i + n < to && alike(&log->items[i + n])) {
		n++;
	}
	return n > shortRow ? n : 1;
}

static void tellLike(const explainLog *log, unsigned i, unsigned n) {
	const item *t = &log->items[i];
	if (isHint(t)) {
		say("    %u arena hints; tried first is %s, then %s, ...", n, addrText(log, (uintptr_t)t[0].b),
			addrText(log, (uintptr_t)t[1].b));
	} else {
		say("    %u unswept sets of mcentrals, one after the other: empty", n);
	}
}

static void tellSum(const explainLog *log, const item *t) {
	const gomem_layout *L = log->h->env.layout;
	const unsigned level = (unsigned)t->a;
	const unsigned long long each = 1ull << layout_levelLogPages(L, level);
	say("    radix tree, level %u, entry %llu (%llu pages): %u free at the start, %u in the longest run, %u at the end",
		level, (unsigned long long)t->b, each, pallocSum_start(L, t->c), pallocSum_max(L, t->c),
		pallocSum_end(L, t->c));
}

static void tellLook(const explainLog *log, const item *t) {
	const unsigned level = (unsigned)t->a;
	if (t->c != 0) {
		tellSum(log, t);
	} else if (t->b == t->d) {
		say("    radix tree, level %u, entry %llu: no page free", level, (unsigned long long)t->b);
	} else {
		say("    radix tree, level %u, entries %llu to %llu: no page free", level, (unsigned long long)t->b,
			(unsigned long long)t->d);
	}
}

static void tellItem(const explainLog *log, const item *t) {
	switch (t->kind) {
	case ITEM_EVENT:
		tellEvent(log, t);
		break;
	case ITEM_LOOK:
		tellLook(log, t);
		break;
	case ITEM_OS:
		tellOS(log, t);
		break;
	case ITEM_SYSCALL:
		tellSyscall(log, t);
		break;
	}
}

enum { tellHead = 120, tellTail = 40 }; // of many rows

static unsigned countRows(const explainLog *log, unsigned from, unsigned to) {
	unsigned rows = 0;
	for (unsigned i = from; i < to; i += rowLen(log, i, to)) {
		rows++;
	}
	return rows;
}

// tellRows leaves out the middle of what is too long to read.
static void tellRows(const explainLog *log, unsigned from, unsigned to) {
	const unsigned rows = countRows(log, from, to);
	const bool tooMany = rows > 2 * tellHead;
	unsigned row = 0;
	for (unsigned i = from, n; i < to; i += n, row++) {
		n = rowLen(log, i, to);
		if (tooMany && row >= tellHead && row < rows - tellTail) {
			if (row == tellHead) {
				say("    ... %u steps are left out here ...", rows - tellHead - tellTail);
			}
		} else if (n > 1) {
			tellLike(log, i, n);
		} else {
			tellItem(log, &log->items[i]);
		}
	}
}

counts tellItems(explainLog *log, unsigned from, unsigned to) {
	counts c = {0};
	for (unsigned i = from; i < to; i++) {
		const item *t = &log->items[i];
		c.decisions += t->kind == ITEM_EVENT;
		c.lists += t->kind == ITEM_EVENT && t->ev == EV_POP;
		c.summaries += t->kind == ITEM_LOOK ? (unsigned)(t->d - t->b + 1) : 0;
		c.osCalls += t->kind == ITEM_OS;
		c.syscalls += t->kind == ITEM_SYSCALL;
	}
	tellRows(log, from, to);
	return c;
}
