// mbitmap.h (layer 4): where a span keeps its pointer bitmap and its inline mark bits, and the write of a pointer bitmap.
// Ports the hot half of mbitmap.go and the layout of spanInlineMarkBits (mgcmark_greenteagc.go).
//
// The end of a span of objects of at most minSizeForMallocHeader bytes, from low to high addresses:
//   heap bits    spanSize / ptrSize / 8 bytes, bit i for word i of the span (spans with pointers only)
//   inline marks spanInlineMarkBitsSize bytes (only where gcUsesSpanInlineMarkBits):
//                scans[n/2 - 1], owned, marks[n/2 - 1], class
#ifndef GOMEM_MBITMAP_H
#define GOMEM_MBITMAP_H

#include "gomem/mheap.h"

// The inline mark bits end the first page; spans that have them are one page long.
static inline uintptr_t inlineMarkBits(const gomem_layout *L, uintptr_t base) {
	return base + (uintptr_t)(layout_pageSize(L) - L->spanInlineMarkBitsSize);
}
static inline uint8_t *inlineScans(const gomem_layout *L, uintptr_t base) { return (uint8_t *)inlineMarkBits(L, base); }
static inline uint8_t *inlineMarks(const gomem_layout *L, uintptr_t base) {
	return inlineScans(L, base) + L->spanInlineMarkBitsSize / 2;
}
static inline uint8_t *inlineClass(const gomem_layout *L, uintptr_t base) {
	return inlineScans(L, base) + L->spanInlineMarkBitsSize - 1;
}

static inline uintptr_t heapBitsRange(
	const gomem_layout *L, uintptr_t spanBase, uintptr_t spanSize, bool inlineMarksBehind, uintptr_t *size) {
	*size = spanSize / L->ptrSize / 8;
	return spanBase + spanSize - *size - (inlineMarksBehind ? (uintptr_t)L->spanInlineMarkBitsSize : 0);
}
static inline uintptr_t spanHeapBitsRange(
	const gomem_env *env, uintptr_t spanBase, uintptr_t spanSize, uintptr_t elemsize, uintptr_t *size) {
	return heapBitsRange(layout_get(env), spanBase, spanSize, gcUsesSpanInlineMarkBits(env, elemsize), size);
}

// Bit i of a bitmap is bit i % 8 of byte i / 8. Words of it are read as such, least significant byte first, on any machine.
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
static inline uint16_t littleEndian16(uint16_t v) { return __builtin_bswap16(v); }
static inline uint32_t littleEndian32(uint32_t v) { return __builtin_bswap32(v); }
static inline uint64_t littleEndian64(uint64_t v) { return __builtin_bswap64(v); }
#else
static inline uint16_t littleEndian16(uint16_t v) { return v; }
static inline uint32_t littleEndian32(uint32_t v) { return v; }
static inline uint64_t littleEndian64(uint64_t v) { return v; }
#endif

// These reach bitmaps inside the heap too. A collector that marks while the world runs reads what others write beside it.
GOMEM_UNCHECKED static inline uint8_t loadBits8(const uint8_t *p) {
	return atomic_load_explicit((const _Atomic(uint8_t) *)p, memory_order_relaxed);
}
GOMEM_UNCHECKED static inline uint64_t loadBits64(const uint8_t *p) {
	return littleEndian64(atomic_load_explicit((const _Atomic(uint64_t) *)(const void *)p, memory_order_acquire));
}
GOMEM_UNCHECKED static inline uint64_t loadBits64InOrder(const uint8_t *p) {
	return littleEndian64(atomic_load_explicit((const _Atomic(uint64_t) *)(const void *)p, memory_order_seq_cst));
}
GOMEM_UNCHECKED static inline void storeBits8(uint8_t *p, uint8_t v) {
	atomic_store_explicit((_Atomic(uint8_t) *)p, v, memory_order_relaxed);
}
GOMEM_UNCHECKED static inline void storeBits64(uint8_t *p, uint64_t v) {
	atomic_store_explicit((_Atomic(uint64_t) *)(void *)p, littleEndian64(v), memory_order_relaxed);
}

GOMEM_UNCHECKED static inline uint8_t orBits8(uint8_t *p, uint8_t bits) {
	return atomic_fetch_or_explicit((_Atomic(uint8_t) *)p, bits, memory_order_seq_cst);
}
GOMEM_UNCHECKED static inline uint64_t orBits64(uint8_t *p, uint64_t bits) {
	return littleEndian64(
		atomic_fetch_or_explicit((_Atomic(uint64_t) *)(void *)p, littleEndian64(bits), memory_order_acq_rel));
}

static inline uint64_t lowBits64(uintptr_t n) { return n >= 64 ? ~(uint64_t)0 : ((uint64_t)1 << n) - 1; }

// typeMask64 is the pointer mask of a type of at most 64 words. Its bytes are read by two loads that may overlap: there may be nothing behind.
static inline uint64_t typeMask64(const gomem_layout *L, const gomem_type *typ) {
	const uintptr_t words = typ->ptr_bytes / L->ptrSize;
	const uintptr_t n = (words + 7) / 8;
	const uint8_t *mask = typ->ptr_mask;
	if (n <= 1) {
		return mask[0] & lowBits64(words);
	}
	if (n < 4) {
		uint16_t low, high;
		memcpy(&low, mask, sizeof(low));
		memcpy(&high, mask + n - 2, sizeof(high));
		return (littleEndian16(low) | (uint64_t)littleEndian16(high) << (8 * (n - 2))) & lowBits64(words);
	}
	uint32_t low, high;
	memcpy(&low, mask, sizeof(low));
	memcpy(&high, mask + n - 4, sizeof(high));
	return (littleEndian32(low) | (uint64_t)littleEndian32(high) << (8 * (n - 4))) & lowBits64(words);
}

// writeHeapBitsAt puts the low n bits of src, all others zero, at bit o of the bitmap.
static inline void writeHeapBitsAt(uint8_t *bitmap, uintptr_t o, uintptr_t n, uint64_t src) {
	uint8_t *dst = bitmap + o / 64 * 8;
	const unsigned j = (unsigned)(o % 64);
	storeBits64(dst, (loadBits64(dst) & ~(lowBits64(n) << j)) | src << j);
	if (j + n > 64) {
		const unsigned bits0 = 64 - j;
		storeBits64(dst + 8, (loadBits64(dst + 8) & ~lowBits64(n - bits0)) | src >> bits0);
	}
}

static inline __attribute__((always_inline)) uintptr_t writeHeapBitsSmall(
	const gomem_env *env, const mspan *s, uintptr_t x, uintptr_t dataSize, const gomem_type *typ) {
	const gomem_layout *L = layout_get(env);
	const uintptr_t ptrSize = L->ptrSize;
	const uintptr_t lastElem =
		typ->size >= dataSize || typ->size == ptrSize ? 0 : (dataSize - 1) / typ->size * typ->size;
	if (env->backed) {
		const uintptr_t dataWords = dataSize / ptrSize;
		const uint64_t src0 = typ->size == ptrSize ? ~(uint64_t)0 : typeMask64(L, typ);
		uint64_t src = src0;
		for (uintptr_t i = typ->size; i <= lastElem; i += typ->size) {
			src |= src0 << (i / ptrSize);
		}
		uintptr_t bitmapSize;
		uintptr_t bitmap =
			spanHeapBitsRange(env, mspan_base(s), (uintptr_t)layout_pageSize(L), s->elemsize, &bitmapSize);
		writeHeapBitsAt(
			(uint8_t *)bitmap, (x - mspan_base(s)) / ptrSize, s->elemsize / ptrSize, src & lowBits64(dataWords));
	}
	return typ->ptr_bytes + lastElem;
}

// heapBitsSmallForAddr gives the pointer bits of the object at addr.
static inline uint64_t heapBitsSmallForAddr(const gomem_env *env, const mspan *s, uintptr_t addr) {
	const gomem_layout *L = layout_get(env);
	uintptr_t size;
	const uint8_t *bitmap =
		(const uint8_t *)spanHeapBitsRange(env, mspan_base(s), s->npages << L->pageShift, s->elemsize, &size);
	const uintptr_t o = (addr - mspan_base(s)) / L->ptrSize;
	const uintptr_t n = s->elemsize / L->ptrSize;
	const unsigned j = (unsigned)(o % 64);
	uint64_t bits = loadBits64(bitmap + o / 64 * 8) >> j;
	if (j + n > 64) {
		bits |= loadBits64(bitmap + o / 64 * 8 + 8) << (64 - j);
	}
	return bits & lowBits64(n);
}

// mspan_setScanned: object objIndex of a span with inline mark bits needs no scan.
static inline void mspan_setScanned(const gomem_env *env, const mspan *s, uintptr_t objIndex) {
	if (env->backed && gcUsesSpanInlineMarkBits(env, s->elemsize)) {
		orBits8(inlineScans(layout_get(env), mspan_base(s)) + objIndex / 8, (uint8_t)(1u << objIndex % 8));
	}
}
static inline bool mspan_isScanned(const gomem_env *env, const mspan *s, uintptr_t objIndex) {
	return (loadBits8(inlineScans(layout_get(env), mspan_base(s)) + objIndex / 8) >> objIndex % 8 & 1) != 0;
}

// ---- spans with inline mark bits, in the mark phase

// Who queued a span: nobody, somebody for the one object that was marked since, or for more.
enum { spanScanUnowned = 0, spanScanOneMark = 1, spanScanManyMark = 2 };
static inline uint8_t *inlineOwned(const gomem_layout *L, uintptr_t base) {
	return inlineScans(L, base) + L->spanInlineMarkBitsSize / 2 - 1;
}
// Who marks an object looks at the owner of its span afterwards; who scans the span gives it up first, then looks at the marks. One of the two must
// see what the other did, so all of these are sequentially consistent, as in Go.
GOMEM_UNCHECKED static inline uint8_t inlineOwned_load(const mheap *h, const mspan *s) {
	return atomic_load_explicit(
		(_Atomic(uint8_t) *)inlineOwned(layout_get(&h->env), mspan_base(s)), memory_order_seq_cst);
}
// inlineOwned_or gives what stood there before.
GOMEM_UNCHECKED static inline uint8_t inlineOwned_or(const mheap *h, const mspan *s, uint8_t bits) {
	return atomic_fetch_or_explicit(
		(_Atomic(uint8_t) *)inlineOwned(layout_get(&h->env), mspan_base(s)), bits, memory_order_seq_cst);
}
GOMEM_UNCHECKED static inline uint8_t inlineOwned_release(const mheap *h, const mspan *s) {
	return atomic_exchange_explicit(
		(_Atomic(uint8_t) *)inlineOwned(layout_get(&h->env), mspan_base(s)), spanScanUnowned, memory_order_seq_cst);
}
// inlineScans_set says of the 64 objects from first on which are marked and were not scanned; now they count as scanned (Go: spanSetScans).
static inline uint64_t inlineScans_set(const mheap *h, const mspan *s, uintptr_t first) {
	const gomem_layout *L = layout_get(&h->env);
	uint8_t *const scans = inlineScans(L, mspan_base(s)) + first / 8;
	const uint64_t marks = loadBits64InOrder(inlineMarks(L, mspan_base(s)) + first / 8);
	const uint64_t marked = marks & lowBits64(s->nelems - first);
	return marked & ~orBits64(scans, marked);
}

#endif
