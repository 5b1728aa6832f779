// census_read.h: the census of a file: a recording, or a trace of stock Go.
#ifndef GOMEM_TRACES_CENSUS_READ_H
#define GOMEM_TRACES_CENSUS_READ_H

#include "traces/census.h"
#include "traces/gmt.h"

// A type, as a trace names it.
typedef struct census_type {
	char *name;
	uint64_t size, pointers; // bytes; bytes up to the last pointer
} census_type;

typedef struct census_source {
	bool trace;         // a trace of stock Go: the axis is nanoseconds, types are known, sizes asked for are not
	char program[1024]; // of a recording
	char go[64];
	unsigned gomaxprocs; // 0: not known
	uint64_t events;
	uint64_t start, start_bytes; // slots that were taken when a trace began: they count as taken then
	bool greentea;
	char salvaged[512]; // of a damaged file: why there is no more; empty: it is whole
	census_type *types; // by number; type 0 is not used
	uint32_t ntypes;
	census_plan plan;
	census *census;
} census_source;

typedef struct census_read_options {
	unsigned columns, rows;                                     // of samples and the map
	bool salvage;                                               // of a damaged file, take what is before the damage
	void (*progress)(void *ctx, uint64_t done, uint64_t total); // NULL: none
	void *progress_ctx;
} census_read_options;

// census_read reads a file twice and fills *to, which census_source_free releases. false and err: nothing is left in *to.
bool census_read(const char *path, const census_read_options *o, census_source *to, gmt_error *err);
void census_source_free(census_source *s);

#endif
