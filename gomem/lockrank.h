// lockrank.h (layer 0): in which order locks are taken. Ports the allocator's share of lockrank.go; tests/lockrank_go.py compares it with Go's.
//
// Invariant: who holds a lock of rank r takes one of rank s only if r is named in the row of s. The last lock taken is asked, as in Go.
#ifndef GOMEM_LOCKRANK_H
#define GOMEM_LOCKRANK_H

#include <stdbool.h>

typedef enum lockRank {
	lockRankSpanSetSpine,
	lockRankMspanSpecial,
	lockRankGcBitsArenas,
	lockRankStackpool,
	lockRankStackLarge,
	lockRankMheap,
	lockRankGlobalAlloc,
	lockRankSide, // of a heap without memory (heapmem.h): not one of Go's, and nothing is taken under it
	lockRankN
} lockRank;

// Rows of lockPartialOrder, transitively closed as Go's are.
static inline unsigned lockRank_before(int rank) {
	enum {
		leaves = 1 << lockRankSpanSetSpine | 1 << lockRankMspanSpecial | 1 << lockRankGcBitsArenas,
		stacks = 1 << lockRankStackpool | 1 << lockRankStackLarge,
	};
	static const unsigned before[lockRankN] = {
		[lockRankGcBitsArenas] = 1 << lockRankMspanSpecial,
		[lockRankStackpool] = leaves,
		[lockRankStackLarge] = leaves,
		[lockRankMheap] = leaves | stacks,
		[lockRankGlobalAlloc] = leaves | stacks | 1 << lockRankMheap,
		[lockRankSide] = ~(1u << lockRankSide),
	};
	return before[rank];
}
static inline bool lockRank_mayFollow(int rank, int held) { return (lockRank_before(rank) >> held & 1) != 0; }
static inline const char *lockRank_name(int rank) {
	static const char *const names[lockRankN] = {
		"spanSetSpine", "mspanSpecial", "gcBitsArenas", "stackpool", "stackLarge", "mheap", "globalAlloc", "side"};
	return names[rank];
}

#endif
