// gotrace_info.h: what a Go trace holds, as text.
#ifndef GOMEM_TRACES_GOTRACE_INFO_H
#define GOMEM_TRACES_GOTRACE_INFO_H

#include "traces/gmt.h"

// gotrace_info reads a whole trace and prints what it holds. raw: also how many events there are of each type of the format. salvage: of a
// damaged one, what is before the damage. 0, or -1 and err.
int gotrace_info(const char *file, bool raw, bool salvage, gmt_error *err);

// gotrace_dump prints events of a trace, one a line, from the one with that number on. 0, or -1 and err.
int gotrace_dump(const char *file, uint64_t from, uint64_t events, bool salvage, gmt_error *err);

#endif
