// gcbits.h (layer 2): arenas of mark and allocation bits. Ports gcBits and gcBitsArena of mheap.go.
//
// Bits live for two GC cycles: next (being handed out), current, previous; nextMarkBitArenaEpoch rotates them and previous becomes free.
// Invariants: an arena is in one list; bits handed out lie in [0, bytes of bits) of their arena, each byte at most once in an epoch.
#ifndef GOMEM_GCBITS_H
#define GOMEM_GCBITS_H

#include "gomem/platform.h"

typedef uint8_t gcBits; // bit n of object n, least significant first

typedef struct gcBitsArena {
	_Atomic(uintptr_t) free; // next free byte of bits
	struct gcBitsArena *next;
	gcBits bits[]; // gcBitsChunkBytes - 16 bytes
} gcBitsArena;

typedef struct gcBitsArenas {
	mutex lock;
	gcBitsArena *free;
	_Atomic(uintptr_t) next; // gcBitsArena *; read without the lock
	gcBitsArena *current;
	gcBitsArena *previous;
} gcBitsArenas;

// newMarkBits gives zeroed bits for nelems objects, rounded up to 64, 8-byte aligned. NULL: out of memory. Thread-safe.
gcBits *newMarkBits(gomem_env *env, gcBitsArenas *a, uintptr_t nelems);
gcBits *newAllocBits(gomem_env *env, gcBitsArenas *a, uintptr_t nelems);
// nextMarkBitArenaEpoch starts a cycle; the world is stopped.
void nextMarkBitArenaEpoch(gomem_env *env, gcBitsArenas *a);
void gcBitsArenas_destroy(gomem_env *env, gcBitsArenas *a);

#endif
