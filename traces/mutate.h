// mutate.h: recordings with one thing changed, for negative controls: a verdict must notice.
#ifndef GOMEM_TRACES_MUTATE_H
#define GOMEM_TRACES_MUTATE_H

#include "traces/gmt.h"

typedef enum gmt_edit_op {
	GMT_EDIT_NONE, // copy
	GMT_EDIT_DROP, // leave the n-th event of the kind out
	GMT_EDIT_ADD,  // add delta to a field of the n-th event of the kind
	GMT_EDIT_FLIP, // flip a mark bit of the n-th EV_SWEEP that has marks
} gmt_edit_op;

typedef struct gmt_edit {
	gmt_edit_op op;
	gomem_ev kind;  // DROP, ADD
	uint64_t n;     // from 0
	char field;     // ADD: 'a' to 'd'
	uint64_t delta; // ADD; wraps around
	unsigned bit;   // FLIP: number of the object
} gmt_edit;

// gmt_rewrite copies a recording with one edit: a valid file with right hashes and counts. Span numbers are given anew by first
// appearance, as the format wants them, so that a dropped event doesn't make the file invalid. 0, or -1 and err (no such event, or the
// changed event would not be valid); then there is no out.
int gmt_rewrite(const char *in, const char *out, const gmt_edit *edit, gmt_error *err);

#endif
