// mallocsized.c (layer 5): the ways that most calls of mallocgc go, one function for each size class. Ports malloc_generated.go, whose functions
// Go has for the same reason: what is known of a class is a constant in them.
//
// A way is for a P whose ways are sizedWays, at most 8 * GOMEM_WAYS bytes, no header, no sample due, and a slot that allocCache knows. All that
// could lead elsewhere is tested before anything is written; then others start from the beginning: sizedLater where the span has a free slot, else
// mallocgcFull. So there is no call but the last one, and few registers to save.
// Invariant: a way decides what mallocgcFull would decide, and leaves the same behind.
#include "gomem/guard.h"
#include "gomem/mbitmap.h"
#include "gomem/mcache.h"

static __attribute__((noinline, cold)) uintptr_t full(
	mheap *h, gomem_p *p, uintptr_t size, const gomem_type *typ, bool needzero) {
	return mallocgcFull(h, p, size, typ, needzero, NULL);
}

// ---- zeroing

// 16 bytes anywhere.
typedef uint64_t bytes16 __attribute__((vector_size(16), aligned(1), may_alias));

static inline void zero16(uintptr_t x) { *(bytes16 *)x = (bytes16){0, 0}; }
static inline void zero64(uintptr_t x) {
	zero16(x);
	zero16(x + 16);
	zero16(x + 32);
	zero16(x + 48);
}

enum { zeroInlineMax = 128 }; // above this memset is faster, for it may use wider stores

// zeroSmall clears n bytes, a multiple of 8. Where n is a constant, stores are all that is left of it.
static inline __attribute__((always_inline)) void zeroSmall(uintptr_t x, uintptr_t n) {
	for (; n >= 64; n -= 64, x += 64) {
		zero64(x);
	}
	if ((n & 32) != 0) {
		zero16(x);
		zero16(x + 16);
		x += 32;
	}
	if ((n & 16) != 0) {
		zero16(x);
		x += 16;
	}
	if ((n & 8) != 0) {
		*(uint64_t *)x = 0;
	}
}

// zeroLarge clears n bytes by memset, and gives back x. Of a constant gcc would make an instruction that begins slowly.
static inline __attribute__((always_inline)) uintptr_t zeroLarge(uintptr_t x, uintptr_t n) {
	__asm__("" : "+r"(n));
	return (uintptr_t)memset((void *)x, 0, n);
}

// clearSlot clears n bytes of a slot and gives back x.
static inline __attribute__((always_inline)) uintptr_t clearSlot(const gomem_env *env, uintptr_t x, uintptr_t n) {
	if (poisonForbids || GOMEM_LAB || n % 8 != 0) { // not a multiple: 32-bit platforms
		heapMem_clear(env, x, n);
		return x;
	}
	if (n > zeroInlineMax) {
		return zeroLarge(x, n);
	}
	zeroSmall(x, n);
	return x;
}

// ---- a slot

// isDue: a sample is due with these bytes.
static inline bool isDue(const mcache *c, uintptr_t elemsize) { return unlikely(c->nextSample < (int64_t)elemsize); }

// publishSized is publish (malloc.c) where marking is off and no sample is due.
static inline __attribute__((always_inline)) void publishSized(
	mcache *c, mspan *s, uint16_t freeidx, uintptr_t elemsize) {
	atomic_thread_fence(memory_order_release);
	s->freeIndexForScan = freeidx;
	c->nextSample -= (int64_t)elemsize;
}

// ---- the ways

// slotBehindCache takes the next free slot of s where allocCache does not know it. The index behind it; 0: there is none.
static inline uint16_t slotBehindCache(mheap *h, mspan *s) {
	const uint16_t index = mspan_nextFreeIndex(h, s);
	if (index == s->nelems) {
		return 0;
	}
	mspan_countSlot(h, s);
	return (uint16_t)(index + 1);
}

// sizedLater is a way without its speed: once in 64 slots allocCache has to be filled.
static __attribute__((noinline, cold)) uintptr_t sizedLater(
	mheap *h, gomem_p *p, uintptr_t size, const gomem_type *typ, bool needzero) {
	const gomem_layout *L = layout_get(&h->env);
	mcache *c = p->mcache;
	const uint8_t sizeclass = sizeToClass(L, size);
	mspan *s = c->alloc[makeSpanClass(sizeclass, typ == NULL)];
	const uintptr_t elemsize = layout_classSize(L, sizeclass);
	const uint16_t freeidx = isDue(c, elemsize) ? 0 : slotBehindCache(h, s);
	if (freeidx == 0) {
		return full(h, p, size, typ, needzero);
	}
	const uintptr_t x = mspan_base(s) + (uintptr_t)(freeidx - 1) * elemsize;
	if (needzero && s->needzero != 0) {
		heapMem_clear(&h->env, x, typ == NULL ? elemsize : size);
	}
	heapMem_grant(&h->env, x, size, needzero);
	if (typ != NULL) {
		c->scanAlloc += L->ptrSize == 8 && sizeclass == 1 ? 8 : heapSetTypeNoHeader(h, x, size, typ, s);
	}
	publishSized(c, s, freeidx, elemsize);
	return x;
}

// newTiny takes a new block for tiny objects, and gives the beginning of it.
static __attribute__((noinline)) uintptr_t newTiny(mheap *h, gomem_p *p, uintptr_t size, bool needzero) {
	const gomem_layout *L = layout_get(&h->env);
	mcache *c = p->mcache;
	mspan *s = c->alloc[tinySpanClass(L)];
	uint64_t rest;
	const uint16_t freeidx = isDue(c, (uintptr_t)L->maxTinySize) ? 0 : nextSlot(s, &rest);
	if (unlikely(freeidx == 0)) {
		return full(h, p, size, NULL, needzero);
	}
	const uintptr_t x = takeNextSlot(s, freeidx, rest, (uintptr_t)L->maxTinySize);
	(void)clearSlot(&h->env, x, (uintptr_t)L->maxTinySize);
	heapMem_grant(&h->env, x, size, true);
	if (size < c->tinyoffset || c->tiny == 0) {
		c->tiny = x;
		c->tinyoffset = size;
	}
	publishSized(c, s, freeidx, (uintptr_t)L->maxTinySize);
	return x;
}

// notFast is where a way leads if allocCache has no slot for it, or a sample is due.
static inline __attribute__((always_inline)) uintptr_t notFast(
	mheap *h, gomem_p *p, uintptr_t size, const gomem_type *typ, bool needzero, uint8_t sizeclass) {
	const gomem_layout *L = layout_get(&h->env);
	if (layout_classPages(L, sizeclass) * layout_pageSize(L) / layout_classSize(L, sizeclass) < 64) {
		return full(h, p, size, typ, needzero); // the span is used up
	}
	return sizedLater(h, p, size, typ, needzero);
}

static inline __attribute__((always_inline)) uintptr_t sizedTiny(mheap *h, gomem_p *p, uintptr_t size, bool needzero) {
	const gomem_layout *L = layout_get(&h->env);
	mcache *c = p->mcache;
	const uintptr_t off = tinyAlign(L, c->tinyoffset, size);
	if (off + size > L->maxTinySize || c->tiny == 0) {
		return newTiny(h, p, size, needzero);
	}
	c->tinyoffset = off + size;
	c->tinyAllocs++;
	heapMem_grant(&h->env, c->tiny + off, size, true);
	return c->tiny + off;
}

static inline __attribute__((always_inline)) uintptr_t sizedNoscan(
	mheap *h, gomem_p *p, uintptr_t size, bool needzero, uint8_t sizeclass) {
	const gomem_layout *L = layout_get(&h->env);
	if (sizeclass <= L->tinySizeClass && size < L->maxTinySize) {
		return sizedTiny(h, p, size, needzero);
	}
	mcache *c = p->mcache;
	mspan *s = c->alloc[makeSpanClass(sizeclass, true)];
	const uintptr_t elemsize = layout_classSize(L, sizeclass);
	uint64_t rest;
	const uint16_t freeidx = isDue(c, elemsize) ? 0 : nextSlot(s, &rest);
	if (unlikely(freeidx == 0)) {
		return notFast(h, p, size, NULL, needzero, sizeclass);
	}
	uintptr_t x = takeNextSlot(s, freeidx, rest, elemsize);
	publishSized(c, s, freeidx, elemsize);
	// Nobody looks for pointers inside, so zeroing may come last.
	if (likely(needzero & (s->needzero != 0))) {
		x = clearSlot(&h->env, x, elemsize);
	}
	heapMem_grant(&h->env, x, size, needzero);
	return x;
}

// oneMask is the pointer mask of a type of at most maxWords words, and not more than 64.
static inline __attribute__((always_inline)) uint64_t oneMask(
	const gomem_layout *L, const gomem_type *typ, uintptr_t maxWords) {
	if (maxWords > 16) {
		return typeMask64(L, typ);
	}
	const uintptr_t words = typ->ptr_bytes / L->ptrSize;
	uint64_t mask = typ->ptr_mask[0];
	if (maxWords > 8) {
		const uintptr_t last = (words - 1) / 8;
		mask |= (uint64_t)typ->ptr_mask[last] << (8 * last); // the same again if there is but one byte
	}
	return mask << (64 - words) >> (64 - words);
}

// writeOne writes the bitmap of slot index, which holds one object of typ; returns what is to be scanned of it.
static inline __attribute__((always_inline)) uintptr_t writeOne(
	const gomem_env *env, const mspan *s, uintptr_t index, uintptr_t elemsize, const gomem_type *typ) {
	const gomem_layout *L = layout_get(env);
	const uintptr_t words = elemsize / L->ptrSize;
	uintptr_t size;
	uint8_t *bitmap = (uint8_t *)spanHeapBitsRange(env, mspan_base(s), (uintptr_t)layout_pageSize(L), elemsize, &size);
	if (words == 64) {
		storeBits64(bitmap + index * 8, oneMask(L, typ, words));
	} else if (words == 8 || words == 16) { // bytes of the bitmap that no other object has a bit in
		const uint64_t mask = oneMask(L, typ, words);
		for (uintptr_t i = 0; i < words / 8; i++) {
			storeBits8(bitmap + index * words / 8 + i, (uint8_t)(mask >> (8 * i)));
		}
	} else if ((words & (words - 1)) == 0) { // no object lies in two words of the bitmap
		const unsigned j = (unsigned)(index * words % 64);
		uint8_t *dst = bitmap + index * words / 64 * 8;
		storeBits64(dst, (loadBits64(dst) & ~(lowBits64(words) << j)) | oneMask(L, typ, words) << j);
	} else {
		writeHeapBitsAt(bitmap, index * words, words, oneMask(L, typ, words));
	}
	return typ->ptr_bytes;
}

// scanArray finishes sizedScan where the slot holds several elements of typ, or where heap memory may not be touched.
static __attribute__((noinline)) uintptr_t scanArray(
	mheap *h, mcache *c, mspan *s, uintptr_t x, uintptr_t size, const gomem_type *typ) {
	c->scanAlloc += heapSetTypeNoHeader(h, x, size, typ, s);
	publishSized(c, s, s->freeindex, s->elemsize);
	return x;
}

static inline __attribute__((always_inline)) uintptr_t sizedScan(
	mheap *h, gomem_p *p, uintptr_t size, const gomem_type *typ, uint8_t sizeclass) {
	const gomem_layout *L = layout_get(&h->env);
	if (L->ptrSize == 4 && !heapBitsInSpan(L, size)) { // the table of ways is that of 64-bit words
		return full(h, p, size, typ, true);
	}
	mcache *c = p->mcache;
	mspan *s = c->alloc[makeSpanClass(sizeclass, false)];
	const uintptr_t elemsize = layout_classSize(L, sizeclass);
	uint64_t rest;
	const uint16_t freeidx = isDue(c, elemsize) ? 0 : nextSlot(s, &rest);
	if (unlikely(freeidx == 0)) {
		return notFast(h, p, size, typ, true, sizeclass);
	}
	const uintptr_t x = takeNextSlot(s, freeidx, rest, elemsize);
	if (likely(s->needzero != 0)) {
		(void)clearSlot(&h->env, x, poisonForbids || GOMEM_LAB ? size : elemsize);
	}
	heapMem_grant(&h->env, x, size, true);
	if (L->ptrSize == 8 && sizeclass == 1) {
		c->scanAlloc += 8; // the bitmap was written when the span was made
	} else if (likely(typ->size == size) && (!GOMEM_LAB || h->env.backed)) {
		c->scanAlloc += writeOne(&h->env, s, (uintptr_t)(freeidx - 1), elemsize, typ);
	} else {
		return scanArray(h, c, s, x, size, typ);
	}
	publishSized(c, s, freeidx, elemsize);
	return x;
}

#ifdef GOMEM_RUNTIME_LAYOUT
// Classes are known at run time: one function for all.
static void *noscanWay(mheap *h, gomem_p *p, uintptr_t size, const gomem_type *typ, bool needzero) {
	const gomem_layout *L = layout_get(&h->env);
	(void)typ;
	if (size > L->maxSmallSize - L->mallocHeaderSize) {
		return (void *)full(h, p, size, NULL, needzero);
	}
	return (void *)sizedNoscan(h, p, size, needzero, sizeToClass(L, size));
}
static void *scanWay(mheap *h, gomem_p *p, uintptr_t size, const gomem_type *typ, bool needzero) {
	const gomem_layout *L = layout_get(&h->env);
	if (size > L->maxSmallSize - L->mallocHeaderSize || !heapBitsInSpan(L, size)) {
		return (void *)full(h, p, size, typ, needzero);
	}
	return (void *)sizedScan(h, p, size, typ, sizeToClass(L, size));
}
#define NOSCAN_ENTRY(class) noscanWay,
#define SCAN_ENTRY(class) scanWay,
#else
// Each begins a line of the cache: where else it begins, by chance, changes its time by up to a third.
#define NOSCAN_WAY(class)                                                                                              \
	static __attribute__((aligned(cacheLineSize))) void *noscan##class(                                                \
		mheap * h, gomem_p * p, uintptr_t size, const gomem_type *typ, bool needzero) {                                \
		(void)typ;                                                                                                     \
		return (void *)sizedNoscan(h, p, size, needzero, class);                                                       \
	}
#define SCAN_WAY(class)                                                                                                \
	static __attribute__((aligned(cacheLineSize))) void *scan##class(                                                  \
		mheap * h, gomem_p * p, uintptr_t size, const gomem_type *typ, bool needzero) {                                \
		(void)needzero;                                                                                                \
		return (void *)sizedScan(h, p, size, typ, class);                                                              \
	}
#define NOSCAN_ENTRY(class) noscan##class,
#define SCAN_ENTRY(class) scan##class,
NOSCAN_CLASSES(NOSCAN_WAY)
SCAN_CLASSES(SCAN_WAY)
#endif

static __attribute__((noinline)) void *guardedMallocgc(
	gomem_heap *h, gomem_p *p, uintptr_t size, const gomem_type *typ, bool needzero) {
	const bool entered = guard_enter(h, p, "gomem_mallocgc");
	const uintptr_t x = mallocgcFull(h, p, size, typ, needzero, NULL);
	guard_allocated(h, p, x, size);
	guard_leave(p, entered);
	return (void *)x;
}

static void *fullWay(gomem_heap *h, gomem_p *p, uintptr_t size, const gomem_type *typ, bool needzero) {
	if (guardsBuilt && h->guard != NULL) {
		return guardedMallocgc(h, p, size, typ, needzero);
	}
	return (void *)mallocgcFull(h, p, size, typ, needzero, NULL);
}

#define FULL_ENTRY(class) fullWay,
const gomem_ways sizedWays = {{{SCAN_SIZES8(SCAN_ENTRY, FULL_ENTRY)}, {NOSCAN_SIZES8(NOSCAN_ENTRY)}}};
const gomem_ways fullWays = {{{SCAN_SIZES8(FULL_ENTRY, FULL_ENTRY)}, {NOSCAN_SIZES8(FULL_ENTRY)}}};
_Static_assert(sizeof(size_to_class8) - 2 == GOMEM_WAYS, "a way for each size of the table but 0 and smallSizeMax");

uintptr_t mallocgc(mheap *h, gomem_p *p, uintptr_t size, const gomem_type *typ, bool needzero, unsigned *path) {
	const gomem_layout *L = layout_get(&h->env);
	const bool noscan = typ == NULL || typ->ptr_bytes == 0;
	const bool header = !noscan && !heapBitsInSpan(L, size);
	if (size - 1 >= 8 * GOMEM_WAYS || p == NULL || p->ways != &sizedWays || header) {
		return mallocgcFull(h, p, size, typ, needzero, path);
	}
	const bool hit = p->mcache->tiny != 0 && tinyAlign(L, p->mcache->tinyoffset, size) + size <= L->maxTinySize;
	const uintptr_t x = (uintptr_t)gomem_mallocgc_sized(h, p, size, typ, needzero);
	if (path == NULL) {
		return x;
	}
	if (!noscan) {
		*path = GOMEM_PATH_SCAN;
	} else if (size >= L->maxTinySize) {
		*path = GOMEM_PATH_NOSCAN;
	} else {
		*path = hit ? GOMEM_PATH_TINY_HIT : GOMEM_PATH_TINY_NEW;
	}
	return x;
}

// Here and not in gomem.c, so that the small paths are one function deep.
__attribute__((aligned(cacheLineSize))) void *gomem_mallocgc(
	gomem_heap *h, gomem_p *p, uintptr_t size, const gomem_type *typ, bool needzero) {
	// A guard is asked before p is looked at, which may be gone.
	const bool guarded = guardsBuilt && h->guard != NULL;
	if (unlikely(guarded) || unlikely(size - 1 >= 8 * GOMEM_WAYS) || unlikely(p == NULL)) {
		return fullWay(h, p, size, typ, needzero);
	}
	return gomem_mallocgc_sized(h, p, size, typ, needzero);
}
