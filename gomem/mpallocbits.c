// mpallocbits.c (layer 3): the bitmaps of one chunk of 512 pages. Ports mpallocbits.go.
//
// Invariants:
//   pallocBits_summarize(b) == (free pages before the first used one, longest free run, free pages after the last
//     used one)
//   pallocBits_find(b, n, s) is the lowest i with pages i..i+n-1 free, if the pages of s's block below s are in use
#include "gomem/mpagealloc.h"

enum { pageBitsWords = pallocChunkPages / 64 };
static const unsigned none = ~0u;

// lowMask gives n ones, 1 <= n <= 64.
static inline uint64_t lowMask(unsigned n) { return ~(uint64_t)0 >> (64 - n); }

void pageBits_setRange(pageBits *b, unsigned i, unsigned n) {
	const unsigned j = i + n - 1, wi = i / 64, wj = j / 64;
	if (wi == wj) {
		b->x[wi] |= lowMask(n) << (i % 64);
		return;
	}
	b->x[wi] |= ~(uint64_t)0 << (i % 64);
	for (unsigned k = wi + 1; k < wj; k++) {
		b->x[k] = ~(uint64_t)0;
	}
	b->x[wj] |= lowMask(j % 64 + 1);
}

void pageBits_setAll(pageBits *b) { memset(b->x, 0xff, sizeof b->x); }

void pageBits_clearRange(pageBits *b, unsigned i, unsigned n) {
	const unsigned j = i + n - 1, wi = i / 64, wj = j / 64;
	if (wi == wj) {
		b->x[wi] &= ~(lowMask(n) << (i % 64));
		return;
	}
	b->x[wi] &= ~(~(uint64_t)0 << (i % 64));
	for (unsigned k = wi + 1; k < wj; k++) {
		b->x[k] = 0;
	}
	b->x[wj] &= ~lowMask(j % 64 + 1);
}

void pageBits_clearAll(pageBits *b) { memset(b->x, 0, sizeof b->x); }

unsigned pageBits_popcntRange(const pageBits *b, unsigned i, unsigned n) {
	const unsigned j = i + n - 1, wi = i / 64, wj = j / 64;
	if (wi == wj) {
		return popcount64(b->x[wi] >> (i % 64) & lowMask(n));
	}
	unsigned s = popcount64(b->x[wi] >> (i % 64));
	for (unsigned k = wi + 1; k < wj; k++) {
		s += popcount64(b->x[k]);
	}
	return s + popcount64(b->x[wj] & lowMask(j % 64 + 1));
}

// All words of a chunk at once, two in each vector. (Inside Go's runtime, where no code may use vector registers, the compiler makes words of them.)
typedef uint64_t words2 __attribute__((vector_size(16)));
enum { chunkVectors = pageBitsWords / 2 };
typedef struct chunkWords {
	words2 v[chunkVectors];
} chunkWords; // loops over v are written out by pragmas, for gcc -O2 unrolls none, and keeps v in memory then

// Zeros that stand between two ones of a word x are an inner run. Once the zeros below its lowest one are filled, x & (x + 1) tells whether there is any.
static inline void fillBelow(chunkWords *w) {
#pragma GCC unroll 4
	for (unsigned i = 0; i < chunkVectors; i++) {
		w->v[i] |= w->v[i] - 1;
	}
}
static inline bool anyInnerRun(const chunkWords *w) {
	words2 any = w->v[0] & (w->v[0] + 1);
#pragma GCC unroll 4
	for (unsigned i = 1; i < chunkVectors; i++) {
		any |= w->v[i] & (w->v[i] + 1);
	}
	return (any[0] | any[1]) != 0;
}
// shrinkRuns makes each inner run shorter by n at most: every run of ones is at least *width wide, and a shift by more would leave gaps. By how much.
static inline unsigned shrinkRuns(chunkWords *w, unsigned n, unsigned *width) {
	const unsigned by = n < *width ? n : *width;
#pragma GCC unroll 4
	for (unsigned i = 0; i < chunkVectors; i++) {
		w->v[i] |= w->v[i] >> by;
	}
	*width += by;
	return by;
}
// someInnerRun gives the length of the lowest inner run of a word that has one.
static inline unsigned someInnerRun(const chunkWords *w) {
	for (unsigned i = 0; i < pageBitsWords; i++) {
		const uint64_t x = w->v[i / 2][i % 2];
		const uint64_t from = x & (x + 1); // from the second run of ones on
		if (from != 0) {
			return ctz64(from) - ctz64(~x);
		}
	}
	return 0;
}

// longestInnerRun gives the longest inner run of the words of b if it is longer than most, else most. Every run is made shorter by most; one
// that survives is measured, and the others are made shorter by what it was longer.
static unsigned longestInnerRun(const pallocBits *b, unsigned words, unsigned most) {
	chunkWords w;
	_Static_assert(sizeof w == sizeof b->b.x, "a vector for two words");
	memset(&w, 0xff, sizeof w);
	memcpy(&w, b->b.x, words * sizeof b->b.x[0]);
	fillBelow(&w);
	unsigned width = 1;
	for (unsigned left = most; left > 0 && anyInnerRun(&w);) {
		left -= shrinkRuns(&w, left, &width);
	}
	while (anyInnerRun(&w)) {
		const unsigned more = someInnerRun(&w);
		for (unsigned left = more; left > 0;) {
			left -= shrinkRuns(&w, left, &width);
		}
		most += more;
	}
	return most;
}

pallocSum pallocBits_summarize(const gomem_layout *L, const pallocBits *b) {
	const unsigned words = layout_chunkPages(layout_fold(L)) / 64;
	unsigned start = none, most = 0, cur = 0;
	for (unsigned i = 0; i < words; i++) {
		const uint64_t x = b->b.x[i];
		if (x == 0) {
			cur += 64;
			continue;
		}
		cur += (unsigned)__builtin_ctzll(x);
		if (start == none) {
			start = cur;
		}
		most = cur > most ? cur : most;
		cur = (unsigned)__builtin_clzll(x);
	}
	if (start == none) {
		return wholeChunk(L);
	}
	most = cur > most ? cur : most;
	if (most < 64 - 2) { // else no run between two ones of a word can be longer
		most = longestInnerRun(b, words, most);
	}
	return packPallocSum(L, start, most, cur);
}

unsigned pallocBits_find(const pallocBits *b, uintptr_t npages, unsigned searchIdx, unsigned *newSearchIdx) {
	if (npages == 1) {
		*newSearchIdx = pallocBits_find1(b, searchIdx);
		return *newSearchIdx;
	}
	if (npages <= 64) {
		return pallocBits_findSmallN(b, npages, searchIdx, newSearchIdx);
	}
	return pallocBits_findLargeN(b, npages, searchIdx, newSearchIdx);
}

unsigned pallocBits_find1(const pallocBits *b, unsigned searchIdx) {
	for (unsigned i = searchIdx / 64; i < pageBitsWords; i++) {
		const uint64_t x = ~b->b.x[i];
		if (x != 0) {
			return i * 64 + (unsigned)__builtin_ctzll(x);
		}
	}
	return none;
}

unsigned pallocBits_findSmallN(const pallocBits *b, uintptr_t npages, unsigned searchIdx, unsigned *newSearchIdx) {
	unsigned end = 0; // free pages at the end of the word before
	*newSearchIdx = none;
	for (unsigned i = searchIdx / 64; i < pageBitsWords; i++) {
		const uint64_t x = b->b.x[i];
		if (x == ~(uint64_t)0) {
			end = 0;
			continue;
		}
		if (*newSearchIdx == none) {
			*newSearchIdx = i * 64 + (unsigned)__builtin_ctzll(~x);
		}
		if (end + ctz64(x) >= npages) {
			return i * 64 - end;
		}
		const unsigned j = findBitRange64(~x, (unsigned)npages);
		if (j < 64) {
			return i * 64 + j;
		}
		end = clz64(x);
	}
	return none;
}

unsigned pallocBits_findLargeN(const pallocBits *b, uintptr_t npages, unsigned searchIdx, unsigned *newSearchIdx) {
	unsigned start = none, size = 0;
	*newSearchIdx = none;
	for (unsigned i = searchIdx / 64; i < pageBitsWords; i++) {
		const uint64_t x = b->b.x[i];
		if (x == ~(uint64_t)0) {
			size = 0;
			continue;
		}
		if (*newSearchIdx == none) {
			*newSearchIdx = i * 64 + (unsigned)__builtin_ctzll(~x);
		}
		const unsigned s = ctz64(x);
		if (size != 0 && s + size >= npages) {
			return start;
		}
		if (size != 0 && s == 64) {
			size += 64;
			continue;
		}
		size = clz64(x);
		start = i * 64 + 64 - size;
	}
	return size < npages ? none : start;
}

void pallocBits_allocRange(pallocBits *b, unsigned i, unsigned n) { pageBits_setRange(&b->b, i, n); }
void pallocBits_allocAll(pallocBits *b) { pageBits_setAll(&b->b); }
void pallocBits_free(pallocBits *b, unsigned i, unsigned n) { pageBits_clearRange(&b->b, i, n); }
void pallocBits_freeAll(pallocBits *b) { pageBits_clearAll(&b->b); }

// Each run of ones in c is cut at its top by n-1 ones; the lowest that is left is where a run of n begins.
unsigned findBitRange64(uint64_t c, unsigned n) {
	unsigned cut = n - 1;
	unsigned width = 1; // every run of zeros is at least this wide
	while (cut > width) {
		c &= c >> (width & 63);
		if (c == 0) {
			return 64;
		}
		cut -= width;
		width *= 2;
	}
	if (cut > 0) {
		c &= c >> (cut & 63);
	}
	return ctz64(c);
}

void pallocData_allocRange(pallocData *m, unsigned i, unsigned n) {
	pallocBits_allocRange(&m->pallocBits, i, n);
	pageBits_clearRange(&m->scavenged, i, n);
}

void pallocData_allocAll(pallocData *m) {
	pallocBits_allocAll(&m->pallocBits);
	pageBits_clearAll(&m->scavenged);
}
