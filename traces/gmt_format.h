// gmt_format.h (private to gmt_*.c): the layout of a .gmt file, version 1, and the columns of a block. docs/FORMAT.md describes it.
//
//   file   = header, block*, index, end
//   header = magic 8, version u32, n u32, payload n bytes, hash
//   block  = "GBLK", events u32, raw bytes u32, compressed bytes u32, number of the first event u64, zstd frame, hash
//   index  = "GIDX", kinds u32, paths u32, 0 u32, blocks u64, events u64, spans u64, kinds u64*, paths u64*, entry*, hash
//   entry  = offset u64, first event u64, spans named before it u64
//   end    = "GEND", end kind u32, value u64, offset of the index u64, size of the file u64, hash
//
// All little endian. hash = xxh64 of all bytes of its structure before it. Each structure begins where the one before it ends.
#ifndef GOMEM_TRACES_GMT_FORMAT_H
#define GOMEM_TRACES_GMT_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "traces/gmt.h"

enum {
	GMT_HEADER_FIXED = 16,
	GMT_MAX_HEADER = 16384,
	GMT_BLOCK_FIXED = 24,
	GMT_INDEX_FIXED = 40,
	GMT_INDEX_ENTRY = 24,
	GMT_END_SIZE = 40,
	GMT_HASH = 8,
	GMT_PATHS = 8,          // counted malloc paths: GOMEM_PATH_* and one to spare
	GMT_MAX_RAW = 16 << 20, // bytes of a block before compression
	GMT_MAX_MARKS = GMT_MAX_BLOCK_EVENTS * GMT_MAX_MARK_WORDS,
};

#define GMT_MAGIC "\x89GMT\r\n\x1a\n"
#define GMT_BLOCK_MAGIC 0x4b4c4247u
#define GMT_INDEX_MAGIC 0x58444947u
#define GMT_END_MAGIC 0x444e4547u

// Bits of the header's flags.
enum {
	GMT_FLAG_RANDOM_BASE = 1,
	GMT_FLAG_GREEN_TEA = 2,
	GMT_FLAG_SIZE_SPECIALIZED = 4,
	GMT_FLAG_FREEGC = 8,
	GMT_FLAGS = 15
};

static inline uint32_t gmt_get32(const uint8_t *p) {
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t gmt_get64(const uint8_t *p) { return gmt_get32(p) | (uint64_t)gmt_get32(p + 4) << 32; }

static inline uint8_t *gmt_put32(uint8_t *p, uint32_t v) {
	for (int i = 0; i < 4; i++) {
		p[i] = (uint8_t)(v >> (8 * i));
	}
	return p + 4;
}

static inline uint8_t *gmt_put64(uint8_t *p, uint64_t v) {
	return gmt_put32(gmt_put32(p, (uint32_t)v), (uint32_t)(v >> 32));
}

// gmt_fail writes "path: offset N: reason" (without the offset if it is GMT_NO_OFFSET) and returns -1.
#define GMT_NO_OFFSET UINT64_MAX
__attribute__((format(printf, 4, 5))) int gmt_fail(
	gmt_error *err, const char *path, uint64_t offset, const char *fmt, ...);

// What is said of --salvage behind an error: that it helps, or that it could not.
#define GMT_SALVAGE_HELPS " (--salvage takes what is before it)"
#define GMT_SALVAGE_EMPTY "; --salvage: nothing that stands before it is whole"
void gmt_add(gmt_error *err, const char *text);

// gmt_sweep_marks is how many words of mark bits follow an EV_SWEEP: those of its objects, where some live and some don't.
static inline uint32_t gmt_sweep_marks(uint64_t a, uint64_t d) {
	uint32_t nelems = (uint32_t)(a >> 1) & 0xffff;
	uint32_t nalloc = (uint32_t)(d >> 32);
	return nalloc > 0 && nalloc < nelems ? (nelems + 63) / 64 : 0;
}

#endif
