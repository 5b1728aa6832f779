// mallocsized.c (layer 5): the ways that most calls of mallocgc go, one function for each size class. Ports malloc_generated.go, whose functions
// Go has for the same reason: what is known of a class is a constant in them.
//
// A way is for a P whose ways are among sizedWays; for at most 8 * GOMEM_WAYS bytes, no header, no sample due, no debt to be paid by an assist, and a
// slot that allocCache knows. All that could lead elsewhere is tested before anything is written; then others start from the beginning: sizedLater
// where the span has a free slot, scanArray where it is to hold an array, else mallocgcFull. So there is no call but the last one, and few registers
// to save.
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

// clearSlot clears n bytes of a slot and gives back x.
static inline __attribute__((always_inline)) uintptr_t clearSlot(const gomem_env *env, uintptr_t x, uintptr_t n) {
	if (poisonForbids || GOMEM_LAB || n % 8 != 0) { // not a multiple: 32-bit platforms
		heapMem_clear(env, x, n);
		return x;
	}
	if (n > zeroInlineMax) {
		return (uintptr_t)memset((void *)x, 0, unknown(n));
	}
	zeroSmall(x, n);
	return x;
}

// prefetchAhead asks for the slot after the next one: spans are used up in the order of addresses, many of them at a time. A slot of less than a line
// is there already, or soon asked for by another.
static inline __attribute__((always_inline)) void prefetchAhead(uintptr_t x, uintptr_t elemsize) {
	if (!GOMEM_LAB && elemsize >= cacheLineSize) {
		__builtin_prefetch((const void *)(x + 2 * elemsize), 1);
	}
}

// ---- a slot

// isDue: a sample is due with these bytes.
static inline bool isDue(const mcache *c, uintptr_t elemsize) { return unlikely(c->nextSample < (int64_t)elemsize); }

// publishSized is publish (malloc.c) where marking is off and no sample is due.
static inline __attribute__((always_inline)) void publishSized(mcache *c, mspan *s, uint32_t next, uintptr_t elemsize) {
	atomic_thread_fence(memory_order_release);
	s->freeIndexForScan = (uint16_t)next;
	c->nextSample -= (int64_t)elemsize;
}

// What a way knows of its heap (waysOf): whether marking is on, and whether spans have inline marks (Green Tea).
typedef enum kind { WHITE_PLAIN, WHITE_GREEN, BLACK_PLAIN, BLACK_GREEN } kind;
static inline kind kindOf(const gomem_p *p) { return (kind)(p->ways - sizedWays); }
static inline bool isBlack(kind k) { return k >= BLACK_PLAIN; }
static inline bool isGreen(kind k) { return k == WHITE_GREEN || k == BLACK_GREEN; }

// owes: an assist is due with these bytes.
static inline bool owes(const mheap *h, const gomem_p *p, uintptr_t size) {
	return unlikely(h->policy.assist != NULL) && p->gcAssistBytes < (int64_t)size;
}

// markNew is gcmarknewobject (malloc.c) for slot index. Whoever sets the first bit of a byte of marks marks the page as well, so that the others
// need not look.
static inline __attribute__((always_inline)) void markNew(
	kind k, mheap *h, mspan *s, uintptr_t index, uintptr_t elemsize) {
	if (GOMEM_LAB) { // heap memory may not be there
		mspan_setScanned(&h->env, s, index);
		(void)mspan_setMarked(h, s, index);
		return;
	}
	const gomem_layout *L = layout_get(&h->env);
	const uint8_t bit = (uint8_t)(1u << index % 8);
	uint8_t *mark = s->gcmarkBits + index / 8;
	if (isGreen(k) && fitsInlineMarkBits(L, elemsize)) {
		(void)orBits8(inlineScans(L, mspan_base(s)) + index / 8, bit); // first: who sees the mark must not look inside
		mark = inlineMarks(L, mspan_base(s)) + index / 8;
	}
	const bool first = loadBits8(mark) == 0;
	(void)orBits8(mark, bit);
	if (unlikely(first)) {
		mspan_markPage(h, s);
	}
}

// publishBlack is publish (malloc.c) while marking is on, and what mallocgc does for the assist.
static inline __attribute__((always_inline)) void publishBlack(
	kind k, mheap *h, gomem_p *p, mcache *c, mspan *s, uint32_t next, uintptr_t elemsize) {
	atomic_thread_fence(memory_order_release);
	markNew(k, h, s, next - 1, elemsize);
	c->nextSample -= (int64_t)elemsize;
	p->gcAssistBytes -= (int64_t)elemsize;
	p->gcMarkedBytes += elemsize;
}

static inline __attribute__((always_inline)) void publishAs(
	kind k, mheap *h, gomem_p *p, mcache *c, mspan *s, uint32_t next, uintptr_t elemsize) {
	if (isBlack(k)) {
		publishBlack(k, h, p, c, s, next, elemsize);
	} else {
		publishSized(c, s, next, elemsize);
	}
}

// nextOf gives the index behind the next slot of s, if it may be taken without more ado, else 0. *rest: as nextSlot.
static inline __attribute__((always_inline)) uint32_t nextOf(kind k, const mheap *h, const gomem_p *p, const mcache *c,
	uintptr_t size, const mspan *s, uintptr_t elemsize, uint64_t *rest) {
	if (isDue(c, elemsize) || (isBlack(k) && owes(h, p, size))) {
		return 0;
	}
	return nextSlot(s, rest);
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

// sizedLater is a way without its speed: once in 64 slots allocCache has to be filled. (Not cold: then gcc would prefer short instructions to fast ones.)
static __attribute__((noinline)) uintptr_t sizedLater(
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
static inline __attribute__((always_inline)) uintptr_t newTiny(
	kind k, mheap *h, gomem_p *p, uintptr_t size, bool needzero) {
	const gomem_layout *L = layout_get(&h->env);
	mcache *c = p->mcache;
	mspan *s = c->alloc[tinySpanClass(L)];
	uint64_t rest;
	const uint32_t next = nextOf(k, h, p, c, size, s, (uintptr_t)L->maxTinySize, &rest);
	if (unlikely(next == 0)) {
		return full(h, p, size, NULL, needzero);
	}
	const uintptr_t x = takeNextSlot(s, next, rest, (uintptr_t)L->maxTinySize);
	(void)clearSlot(&h->env, x, (uintptr_t)L->maxTinySize);
	heapMem_grant(&h->env, x, size, true);
	if (size < c->tinyoffset || c->tiny == 0) {
		c->tiny = x;
		c->tinyoffset = size;
	}
	publishAs(k, h, p, c, s, next, (uintptr_t)L->maxTinySize);
	return x;
}
static __attribute__((noinline)) uintptr_t newTinyWhite(mheap *h, gomem_p *p, uintptr_t size, bool needzero) {
	return newTiny(WHITE_PLAIN, h, p, size, needzero);
}
static __attribute__((noinline)) uintptr_t newTinyBlack(mheap *h, gomem_p *p, uintptr_t size, bool needzero) {
	return newTiny(h->env.greenTea ? BLACK_GREEN : BLACK_PLAIN, h, p, size, needzero);
}

// notFast is where a way leads if allocCache has no slot for it, or something else is due.
static inline __attribute__((always_inline)) uintptr_t notFast(
	kind k, mheap *h, gomem_p *p, uintptr_t size, const gomem_type *typ, bool needzero, uint8_t sizeclass) {
	const gomem_layout *L = layout_get(&h->env);
	if (isBlack(k) || layout_classPages(L, sizeclass) * layout_pageSize(L) / layout_classSize(L, sizeclass) < 64) {
		return full(h, p, size, typ, needzero); // the span is used up
	}
	return sizedLater(h, p, size, typ, needzero);
}

static inline __attribute__((always_inline)) uintptr_t sizedTiny(
	kind k, mheap *h, gomem_p *p, uintptr_t size, bool needzero) {
	const gomem_layout *L = layout_get(&h->env);
	mcache *c = p->mcache;
	const uintptr_t off = tinyAlign(L, c->tinyoffset, size);
	if (off + size > L->maxTinySize || c->tiny == 0) {
		return isBlack(k) ? newTinyBlack(h, p, size, needzero) : newTinyWhite(h, p, size, needzero);
	}
	if (isBlack(k)) {
		if (owes(h, p, size)) {
			return full(h, p, size, NULL, needzero);
		}
		p->gcAssistBytes -= (int64_t)size;
	}
	c->tinyoffset = off + size;
	c->tinyAllocs++;
	heapMem_grant(&h->env, c->tiny + off, size, true);
	return c->tiny + off;
}

static inline __attribute__((always_inline)) uintptr_t sizedNoscan(
	kind k, mheap *h, gomem_p *p, uintptr_t size, bool needzero, uint8_t sizeclass) {
	const gomem_layout *L = layout_get(&h->env);
	if (sizeclass <= L->tinySizeClass && size < L->maxTinySize) {
		return sizedTiny(k, h, p, size, needzero);
	}
	mcache *c = p->mcache;
	mspan *s = c->alloc[makeSpanClass(sizeclass, true)];
	const uintptr_t elemsize = layout_classSize(L, sizeclass);
	uint64_t rest;
	const uint32_t next = nextOf(k, h, p, c, size, s, elemsize, &rest);
	if (unlikely(next == 0)) {
		return notFast(k, h, p, size, NULL, needzero, sizeclass);
	}
	uintptr_t x = takeNextSlot(s, next, rest, elemsize);
	prefetchAhead(x, elemsize);
	publishAs(k, h, p, c, s, next, elemsize);
	// Nobody looks for pointers inside, so zeroing may come last.
	if (likely(needzero & (s->needzero != 0))) {
		x = clearSlot(&h->env, x, elemsize);
	}
	heapMem_grant(&h->env, x, size, needzero);
	return x;
}

// loadMask reads so many bytes of a mask, in two loads that overlap where there is no one for it.
static inline __attribute__((always_inline)) uint64_t loadMask(const uint8_t *mask, uintptr_t bytes) {
	const uintptr_t half = bytes > 4 ? 4 : bytes > 2 ? 2 : 1;
	uint64_t low = 0, high = 0;
	memcpy(&low, mask, bytes == 8 ? 8 : half);
	memcpy(&high, mask + bytes - half, half);
	return bytes == 8 ? littleEndian64(low) : littleEndian64(low) | littleEndian64(high) << (8 * (bytes - half));
}

// oneMask is the pointer mask of a type of at most maxWords words, and not more than 64.
static inline __attribute__((always_inline)) uint64_t oneMask(
	const gomem_layout *L, const gomem_type *typ, uintptr_t maxWords) {
	static const uint8_t low[9] = {0, 1, 3, 7, 15, 31, 63, 127, 255};
	const uintptr_t words = typ->ptr_bytes / L->ptrSize, bytes = (maxWords + 7) / 8;
	if (bytes == 1) {
		return typ->ptr_mask[0] & low[words];
	}
	if (maxWords <= 64 &&
		words > 8 * (bytes - 1)) { // its last word with a pointer is among the last of the slot: the mask has all bytes
		return loadMask(typ->ptr_mask, bytes) << (64 - words) >> (64 - words);
	}
	return typeMask64(L, typ);
}

// writeOne writes the bitmap of slot index, which holds one object of typ.
static inline __attribute__((always_inline)) void writeOne(
	kind k, const gomem_layout *L, uintptr_t base, uintptr_t index, uintptr_t elemsize, const gomem_type *typ) {
	const uintptr_t words = elemsize / L->ptrSize;
	const bool marks = isGreen(k) && fitsInlineMarkBits(L, elemsize);
	uintptr_t size;
	uint8_t *bitmap = (uint8_t *)heapBitsRange(L, base, (uintptr_t)layout_pageSize(L), marks, &size);
	if (words == 64) {
		storeBits64(bitmap + index * 8, oneMask(L, typ, words));
	} else if (words == 8 || words == 16) { // bytes of the bitmap that no other object has a bit in
		const uint64_t mask = oneMask(L, typ, words);
		for (uintptr_t i = 0; i < words / 8; i++) {
			storeBits8(bitmap + index * words / 8 + i, (uint8_t)(mask >> (8 * i)));
		}
	} else if ((words & (words - 1)) == 0) { // no object lies in two words of the bitmap
		const uintptr_t perWord = 64 / words;
		const unsigned j = (unsigned)(index % perWord * words);
		const uint64_t mask = oneMask(L, typ, words) << j, others = ~(lowBits64(words) << j);
		uint8_t *dst = bitmap + index / perWord * 8;
		storeBits64(dst, (loadBits64(dst) & others) | mask);
	} else {
		writeHeapBitsAt(bitmap, index * words, words, oneMask(L, typ, words));
	}
}

// scanSlot takes a slot for pointers. several: not for one object of typ, which fills size, or heap memory may not be touched.
static inline __attribute__((always_inline)) uintptr_t scanSlot(
	kind k, mheap *h, gomem_p *p, uintptr_t size, const gomem_type *typ, uint8_t sizeclass, bool several) {
	const gomem_layout *L = layout_get(&h->env);
	mcache *c = p->mcache;
	mspan *s = c->alloc[makeSpanClass(sizeclass, false)];
	const uintptr_t elemsize = layout_classSize(L, sizeclass);
	uint64_t rest;
	const uint32_t next = nextOf(k, h, p, c, size, s, elemsize, &rest);
	if (unlikely(next == 0)) {
		return notFast(k, h, p, size, typ, true, sizeclass);
	}
	const uintptr_t x = takeNextSlot(s, next, rest, elemsize);
	prefetchAhead(x, elemsize);
	if (L->ptrSize == 8 && sizeclass == 1) {
		c->scanAlloc += 8; // the bitmap was written when the span was made
	} else if (several) {
		c->scanAlloc += heapSetTypeNoHeader(h, x, size, typ, s);
	} else {
		writeOne(k, L, mspan_base(s), next - 1, elemsize, typ);
		c->scanAlloc += typ->ptr_bytes;
	}
	// After the bitmap, so that little is to be kept during a call of memset.
	if (likely(s->needzero != 0)) {
		(void)clearSlot(&h->env, x, poisonForbids || GOMEM_LAB ? size : elemsize);
	}
	heapMem_grant(&h->env, x, size, true);
	publishAs(k, h, p, c, s, next, elemsize);
	return x;
}

static __attribute__((noinline)) uintptr_t scanArray(mheap *h, gomem_p *p, uintptr_t size, const gomem_type *typ) {
	return scanSlot(kindOf(p), h, p, size, typ, sizeToClass(layout_get(&h->env), size), true);
}

static inline __attribute__((always_inline)) uintptr_t sizedScan(
	kind k, mheap *h, gomem_p *p, uintptr_t size, const gomem_type *typ, uint8_t sizeclass) {
	if (layout_get(&h->env)->ptrSize == 4 && !heapBitsInSpan(layout_get(&h->env), size)) {
		return full(h, p, size, typ, true); // the table of ways is that of 64-bit words
	}
	if (unlikely(typ->size != size) || (GOMEM_LAB && !h->env.backed)) {
		return scanArray(h, p, size, typ);
	}
	return scanSlot(k, h, p, size, typ, sizeclass, false);
}

#ifdef GOMEM_RUNTIME_LAYOUT
// Classes are known at run time: one function for all.
static void *noscanWay(mheap *h, gomem_p *p, uintptr_t size, const gomem_type *typ, bool needzero) {
	const gomem_layout *L = layout_get(&h->env);
	(void)typ;
	if (size > L->maxSmallSize - L->mallocHeaderSize) {
		return (void *)full(h, p, size, NULL, needzero);
	}
	return (void *)sizedNoscan(kindOf(p), h, p, size, needzero, sizeToClass(L, size));
}
static void *scanWay(mheap *h, gomem_p *p, uintptr_t size, const gomem_type *typ, bool needzero) {
	const gomem_layout *L = layout_get(&h->env);
	if (size > L->maxSmallSize - L->mallocHeaderSize || !heapBitsInSpan(L, size)) {
		return (void *)full(h, p, size, typ, needzero);
	}
	return (void *)sizedScan(kindOf(p), h, p, size, typ, sizeToClass(L, size));
}
#define NOSCAN_NAME(k, class) noscanWay
#define SCAN_NAME(k, class) scanWay
#else
// Each begins a line of the cache: where else it begins, by chance, changes its time by up to a third.
#define NOSCAN_WAY(k, class)                                                                                           \
	static __attribute__((aligned(cacheLineSize))) void *noscan##k##class(                                             \
		mheap * h, gomem_p * p, uintptr_t size, const gomem_type *typ, bool needzero) {                                \
		(void)typ;                                                                                                     \
		return (void *)sizedNoscan(k, h, p, size, needzero, class);                                                    \
	}
#define SCAN_WAY(k, class)                                                                                             \
	static __attribute__((aligned(cacheLineSize))) void *scan##k##class(                                               \
		mheap * h, gomem_p * p, uintptr_t size, const gomem_type *typ, bool needzero) {                                \
		(void)needzero;                                                                                                \
		return (void *)sizedScan(k, h, p, size, typ, class);                                                           \
	}
#define NOSCAN_WAYS(class)                                                                                             \
	NOSCAN_WAY(WHITE_PLAIN, class)                                                                                     \
	NOSCAN_WAY(BLACK_PLAIN, class)                                                                                     \
	NOSCAN_WAY(BLACK_GREEN, class)
#define SCAN_WAYS(class)                                                                                               \
	SCAN_WAY(WHITE_PLAIN, class)                                                                                       \
	SCAN_WAY(WHITE_GREEN, class)                                                                                       \
	SCAN_WAY(BLACK_PLAIN, class)                                                                                       \
	SCAN_WAY(BLACK_GREEN, class)
NOSCAN_CLASSES(NOSCAN_WAYS)
SCAN_CLASSES(SCAN_WAYS)
#define NOSCAN_NAME(k, class) noscan##k##class
#define SCAN_NAME(k, class) scan##k##class
#endif

// Without pointers and without marking, inline marks make no difference.
#define NOSCAN_WHITE(class) NOSCAN_NAME(WHITE_PLAIN, class),
#define NOSCAN_BLACK_PLAIN(class) NOSCAN_NAME(BLACK_PLAIN, class),
#define NOSCAN_BLACK_GREEN(class) NOSCAN_NAME(BLACK_GREEN, class),
#define SCAN_WHITE_PLAIN(class) SCAN_NAME(WHITE_PLAIN, class),
#define SCAN_WHITE_GREEN(class) SCAN_NAME(WHITE_GREEN, class),
#define SCAN_BLACK_PLAIN(class) SCAN_NAME(BLACK_PLAIN, class),
#define SCAN_BLACK_GREEN(class) SCAN_NAME(BLACK_GREEN, class),

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
const gomem_ways sizedWays[4] = {
	[WHITE_PLAIN] = {{{SCAN_SIZES8(SCAN_WHITE_PLAIN, FULL_ENTRY)}, {NOSCAN_SIZES8(NOSCAN_WHITE)}}},
	[WHITE_GREEN] = {{{SCAN_SIZES8(SCAN_WHITE_GREEN, FULL_ENTRY)}, {NOSCAN_SIZES8(NOSCAN_WHITE)}}},
	[BLACK_PLAIN] = {{{SCAN_SIZES8(SCAN_BLACK_PLAIN, FULL_ENTRY)}, {NOSCAN_SIZES8(NOSCAN_BLACK_PLAIN)}}},
	[BLACK_GREEN] = {{{SCAN_SIZES8(SCAN_BLACK_GREEN, FULL_ENTRY)}, {NOSCAN_SIZES8(NOSCAN_BLACK_GREEN)}}},
};
const gomem_ways fullWays = {{{SCAN_SIZES8(FULL_ENTRY, FULL_ENTRY)}, {NOSCAN_SIZES8(FULL_ENTRY)}}};
_Static_assert(sizeof(size_to_class8) - 2 == GOMEM_WAYS, "a way for each size of the table but 0 and smallSizeMax");

uintptr_t mallocgc(mheap *h, gomem_p *p, uintptr_t size, const gomem_type *typ, bool needzero, unsigned *path) {
	const gomem_layout *L = layout_get(&h->env);
	const bool noscan = typ == NULL || typ->ptr_bytes == 0;
	const bool header = !noscan && !heapBitsInSpan(L, size);
	if (size - 1 >= 8 * GOMEM_WAYS || p == NULL || p->ways == &fullWays || header) {
		return mallocgcFull(h, p, size, typ, needzero, path);
	}
	const bool hit = p->mcache->tiny != 0 && tinyAlign(L, p->mcache->tinyoffset, size) + size <= L->maxTinySize;
	const uintptr_t x = (uintptr_t)gomem_mallocgc_inline(h, p, size, typ, needzero);
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
	return gomem_mallocgc_inline(h, p, size, typ, needzero);
}
