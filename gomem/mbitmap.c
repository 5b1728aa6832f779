// mbitmap.c (layer 4): free slots of a span, mark bits, and which words of an object hold pointers.
// Ports the allocation half of mbitmap.go and the mark bits of mgcmark_greenteagc.go.
//
// Invariants:
//   allocCache == ~allocBits of the 64 slots that hold freeindex, shifted right by freeindex % 64
//   a slot is free iff index >= freeindex and its allocBit is 0
//   the mark of a slot is in the inline marks until the sweep, then in gcmarkBits; where heap memory is not backed, always in gcmarkBits
#include "gomem/mbitmap.h"

// ---- free slots

void mspan_refillAllocCache(mspan *s, uint16_t whichByte) { s->allocCache = ~loadBits64(s->allocBits + whichByte); }

uint16_t mspan_nextFreeIndex(mheap *h, mspan *s) {
	uint32_t sfreeindex = s->freeindex;
	const uint32_t snelems = s->nelems;
	if (sfreeindex == snelems) {
		return s->nelems;
	}
	if (sfreeindex > snelems) {
		gomem_throw(&h->env, "s->freeindex > s->nelems");
	}
	while (s->allocCache == 0) {
		sfreeindex = (sfreeindex + 64) & ~63u;
		if (sfreeindex >= snelems) {
			s->freeindex = s->nelems;
			return s->nelems;
		}
		mspan_refillAllocCache(s, (uint16_t)(sfreeindex / 8));
	}
	const unsigned bitIndex = ctz64(s->allocCache);
	const uint32_t result = sfreeindex + bitIndex;
	if (result >= snelems) {
		s->freeindex = s->nelems;
		return s->nelems;
	}
	s->allocCache = s->allocCache >> bitIndex >> 1;
	sfreeindex = result + 1;
	if (sfreeindex % 64 == 0 && sfreeindex != snelems) {
		mspan_refillAllocCache(s, (uint16_t)(sfreeindex / 8));
	}
	s->freeindex = (uint16_t)sfreeindex;
	return (uint16_t)result;
}

bool mspan_isFree(const mspan *s, uintptr_t index) {
	return index >= s->freeindex && (s->allocBits[index / 8] >> index % 8 & 1) == 0;
}

bool mspan_isFreeOrNewlyAllocated(const mspan *s, uintptr_t index) {
	return index >= s->freeIndexForScan && (s->allocBits[index / 8] >> index % 8 & 1) == 0;
}

uintptr_t mspan_objIndex(const mspan *s, uintptr_t p) {
	return (uintptr_t)((uint64_t)(p - s->startAddr) * s->divMul >> 32);
}

// popcnt is for CPUs that have POPCNT, which not every x86-64 does. Others have no such instruction.
static inline unsigned popcnt(uint64_t x) {
#ifdef __x86_64__
	__asm__("popcntq %0, %0" : "+r"(x) : : "cc");
	return (unsigned)x;
#else
	return popcount64(x);
#endif
}

static __attribute__((noinline, cold)) unsigned countWithoutPOPCNT(const uint8_t *bits, const uint8_t *end) {
	unsigned count = 0;
	for (; bits < end; bits += 8) {
		count += popcount64(loadBits64(bits));
	}
	return count;
}

unsigned mspan_countAlloc(const gomem_env *env, const mspan *s) {
	const uint8_t *bits = s->gcmarkBits, *end = bits + ((uintptr_t)s->nelems + 63) / 64 * 8;
	if (!env->hasPOPCNT) {
		return countWithoutPOPCNT(bits, end);
	}
	if (s->nelems <= 64) { // most classes
		return popcnt(loadBits64(bits));
	}
	unsigned count = 0;
	for (; end - bits >= 32; bits += 32) {
		count += popcnt(loadBits64(bits)) + popcnt(loadBits64(bits + 8)) + popcnt(loadBits64(bits + 16)) +
			popcnt(loadBits64(bits + 24));
	}
	for (; bits < end; bits += 8) {
		count += popcnt(loadBits64(bits));
	}
	return count;
}

// ---- mark bits

static bool hasInlineMarks(const gomem_env *env, const mspan *s) {
	return env->backed && gcUsesSpanInlineMarkBits(env, s->elemsize);
}

static uint8_t *markByte(const gomem_env *env, const mspan *s, uintptr_t objIndex) {
	uint8_t *marks = hasInlineMarks(env, s) ? inlineMarks(layout_get(env), mspan_base(s)) : s->gcmarkBits;
	return marks + objIndex / 8;
}

bool mspan_isMarked(mheap *h, mspan *s, uintptr_t objIndex) {
	return (loadBits8(markByte(&h->env, s, objIndex)) >> objIndex % 8 & 1) != 0;
}

void mspan_markPage(mheap *h, const mspan *s) {
	const gomem_layout *L = layout_get(&h->env);
	heapArena *arena = heapArenaOf(h, mspan_base(s));
	const uintptr_t page = (mspan_base(s) >> L->pageShift) % (uintptr_t)layout_pagesPerArena(L);
	const uint8_t pageMask = (uint8_t)(1u << page % 8);
	if ((atomic_load_explicit(&arena->pageMarks[page / 8], memory_order_relaxed) & pageMask) == 0) {
		atomic_fetch_or_explicit(&arena->pageMarks[page / 8], pageMask, memory_order_relaxed);
	}
}

bool mspan_setMarked(mheap *h, mspan *s, uintptr_t objIndex) {
	const uint8_t mask = (uint8_t)(1u << objIndex % 8);
	const uint8_t had = orBits8(markByte(&h->env, s, objIndex), mask);
	mspan_markPage(h, s);
	return (had & mask) == 0;
}

GOMEM_UNCHECKED static void setInlineClass(const gomem_layout *L, const mspan *s) {
	*inlineClass(L, mspan_base(s)) = s->spanclass;
}

static void initInlineMarkBits(const gomem_env *env, const mspan *s, bool needzero) {
	const gomem_layout *L = layout_get(env);
	const uintptr_t bits = inlineMarkBits(L, mspan_base(s)), size = (uintptr_t)L->spanInlineMarkBitsSize;
	if (needzero) {
		heapMem_clear(env, bits, size);
	} else {
		heapMem_isZero(env, bits, size);
	}
	setInlineClass(L, s);
}

void mspan_moveInlineMarks(mheap *h, mspan *s) {
	if (!hasInlineMarks(&h->env, s)) {
		return;
	}
	const gomem_layout *L = layout_get(&h->env);
	const uint8_t *marks = inlineMarks(L, mspan_base(s));
	const uintptr_t last = (uintptr_t)L->spanInlineMarkBitsSize / 2 - 8;
	for (uintptr_t i = 0; i < ((uintptr_t)s->nelems + 7) / 8; i += 8) {
		uint64_t word = loadBits64(marks + i);
		if (i == last) {
			word &= lowBits64(56); // the last byte is the class
		}
		storeBits64(s->gcmarkBits + i, loadBits64(s->gcmarkBits + i) | word);
	}
	initInlineMarkBits(&h->env, s, true);
}

// ---- pointer bits

void mspan_initHeapBits(mheap *h, mspan *s) {
	const gomem_env *env = &h->env;
	if (!env->backed) {
		return;
	}
	const gomem_layout *L = layout_get(env);
	if (!spanClass_noscan(s->spanclass) && heapBitsInSpan(L, s->elemsize)) {
		uintptr_t size;
		uintptr_t bits = spanHeapBitsRange(env, mspan_base(s), s->npages << L->pageShift, s->elemsize, &size);
		// An object of one word with a pointer needs no bitmap of its own: all words are pointers.
		heapMem_fill(env, bits, L->ptrSize == 8 && spanClass_sizeclass(s->spanclass) == 1 ? 0xff : 0, size);
	}
	if (gcUsesSpanInlineMarkBits(env, s->elemsize)) {
		initInlineMarkBits(env, s, s->needzero != 0);
	}
}

uintptr_t heapSetTypeNoHeader(mheap *h, uintptr_t x, uintptr_t dataSize, const gomem_type *typ, mspan *s) {
	return writeHeapBitsSmall(&h->env, s, x, dataSize, typ);
}

uintptr_t heapSetTypeSmallHeader(
	mheap *h, uintptr_t x, uintptr_t dataSize, const gomem_type *typ, uintptr_t header, mspan *s) {
	(void)x;
	(void)dataSize;
	if (header == 0) {
		gomem_throw(&h->env, "pointer to heap type header nil?");
	}
	if (h->env.backed) {
		heapMem_putWord(header, (uintptr_t)typ);
	}
	return s->elemsize;
}

// largeType is read by a collector while the world runs.
static _Atomic(uintptr_t) *largeTypeOf(mspan *s) { return (_Atomic(uintptr_t) *)(void *)&s->largeType; }

uintptr_t heapSetTypeLarge(mheap *h, uintptr_t x, uintptr_t dataSize, const gomem_type *typ, mspan *s) {
	(void)h;
	(void)x;
	(void)dataSize;
	atomic_store_explicit(largeTypeOf(s), (uintptr_t)typ, memory_order_release);
	return s->elemsize;
}

const gomem_type *mspan_loadLargeType(mspan *s) {
	return (const gomem_type *)atomic_load_explicit(largeTypeOf(s), memory_order_acquire);
}

// typeHasPointerAt: is there a pointer at offset off of an array of typ?
static bool typeHasPointerAt(const gomem_layout *L, const gomem_type *typ, uintptr_t off) {
	off %= typ->size;
	if (off >= typ->ptr_bytes) {
		return false;
	}
	const uintptr_t word = off / L->ptrSize;
	return (typ->ptr_mask[word / 8] >> word % 8 & 1) != 0;
}

bool heapBits_isPointer(mheap *h, uintptr_t addr) {
	const gomem_env *env = &h->env;
	const gomem_layout *L = layout_get(env);
	mspan *s = spanOfHeap(h, addr);
	if (s == NULL || spanClass_noscan(s->spanclass) || !env->backed) {
		return false;
	}
	const uintptr_t obj = mspan_base(s) + mspan_objIndex(s, addr) * s->elemsize;
	const uintptr_t off = addr - obj;
	if (heapBitsInSpan(L, s->elemsize)) {
		return (heapBitsSmallForAddr(env, s, obj) >> off / L->ptrSize & 1) != 0;
	}
	if (spanClass_sizeclass(s->spanclass) == 0) {
		const gomem_type *typ = mspan_loadLargeType(s);
		return typ != NULL && typeHasPointerAt(L, typ, off);
	}
	if (off < L->mallocHeaderSize) {
		return false;
	}
	const gomem_type *typ = (const gomem_type *)heapMem_getWord(obj);
	return typ != NULL && typeHasPointerAt(L, typ, off - (uintptr_t)L->mallocHeaderSize);
}
