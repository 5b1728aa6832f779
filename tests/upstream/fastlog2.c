// fastlog2.c: gives Go's test of fastlog2 the function that gomem/malloc.c keeps to itself. It stands in for malloc.c in what Go's tests link.
#include "gomem/malloc.c" // NOLINT(bugprone-suspicious-include)

#include "tests/upstream/glue.h"

double upstream_fastlog2(double x) { return fastlog2(x); }
