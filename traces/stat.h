// stat.h: what `gomem stat` and `gomem report` make of a census. The page holds the very JSON that stat prints.
#ifndef GOMEM_TRACES_STAT_H
#define GOMEM_TRACES_STAT_H

#include <stdio.h>

#include <cjson/cJSON.h>

#include "traces/census_read.h"

// stat_json: the census as JSON; docs/REPORT.md has its fields. NULL: out of memory.
cJSON *stat_json(const char *path, const census_source *s);
// stat_text prints the tables of a JSON of stat_json; types: rows in the table of types; all: small span classes, too.
void stat_text(FILE *out, const cJSON *json, unsigned types, bool all);
// stat_findings: an array of sentences, the weightiest first.
cJSON *stat_findings(const census_source *s);

// A profile for `go tool pprof`: groups as samples, type and size class as frames. In use: at the peak. input: the file that s is of, and path must not be.
// false and err.
bool stat_pprof(const char *path, const char *input, const census_source *s, gmt_error *err);
// A trace for ui.perfetto.dev: counters, and GC cycles as slices. false and err.
bool stat_perfetto(const char *path, const char *input, const census_source *s, gmt_error *err);

static inline double stat_percent(uint64_t part, uint64_t whole) {
	return whole == 0 ? 0 : 100.0 * (double)part / (double)whole;
}
// Bytes as "2.1 MiB", in a buffer of the caller.
const char *stat_bytes(uint64_t n, char buf[32]);
// A class as "160 B scan", "large noscan", "stacks".
const char *stat_class(unsigned class, char buf[48]);

#endif
