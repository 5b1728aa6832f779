// mutate.c: copies a recording with one thing changed, for negative controls.
//
//   numbers[s] == the number in the copy of span s of the original, 0 while it has not appeared
#include <stdlib.h>
#include <string.h>

#include "traces/gmt_format.h"
#include "traces/mutate.h"

typedef struct rewriter {
	const char *in;
	const gmt_edit *edit;
	gmt_reader *r;
	gmt_writer *w;
	uint64_t seen; // events that the edit could mean, so far
	bool done;
	uint64_t *numbers; // by span of the original; the last stands for all that it doesn't have
	uint64_t spans, given;
} rewriter;

static bool is_target(rewriter *rw, const gmt_event *e) {
	bool match = rw->edit->op == GMT_EDIT_FLIP ? e->nmarks != 0 : e->kind == rw->edit->kind;
	return rw->edit->op != GMT_EDIT_NONE && match && rw->seen++ == rw->edit->n;
}

static int change(rewriter *rw, gmt_event *e, uint64_t marks[GMT_MAX_MARK_WORDS], gmt_error *err) {
	const gmt_edit *edit = rw->edit;
	if (edit->op == GMT_EDIT_FLIP) {
		if (edit->bit >= (e->a >> 1 & 0xffff)) {
			return gmt_fail(err, rw->in, GMT_NO_OFFSET, "the span has no object %u", edit->bit);
		}
		marks[edit->bit / 64] ^= (uint64_t)1 << edit->bit % 64;
		return 0;
	}
	unsigned field = (unsigned)(edit->field - 'a');
	uint64_t *fields[4] = {&e->a, &e->b, &e->c, &e->d};
	if (field >= gmt_kind(edit->kind)->nargs) {
		return gmt_fail(err, rw->in, GMT_NO_OFFSET, "%s has no field %c", gmt_kind(edit->kind)->name, edit->field);
	}
	*fields[field] += edit->delta;
	if (e->kind == EV_SWEEP) {
		uint32_t n = gmt_sweep_marks(e->a, e->d);
		e->nmarks = (uint8_t)(n <= GMT_MAX_MARK_WORDS ? n : 0); // the writer refuses what does not fit
	}
	return 0;
}

static void renumber(rewriter *rw, gmt_event *e) {
	if (gmt_kind((gomem_ev)e->kind)->span_field != 'b' || e->b == 0) {
		return;
	}
	uint64_t *number = &rw->numbers[e->b <= rw->spans ? e->b : rw->spans + 1];
	if (*number == 0) {
		*number = ++rw->given;
	}
	e->b = *number;
}

static int copy_event(rewriter *rw, const gmt_block *block, const gmt_event *from, gmt_error *err) {
	gmt_event e = *from;
	uint64_t marks[GMT_MAX_MARK_WORDS] = {0};
	memcpy(marks, block->marks + e.mark_index, e.nmarks * sizeof(marks[0]));
	if (is_target(rw, &e)) {
		rw->done = true;
		if (rw->edit->op == GMT_EDIT_DROP) {
			return 0;
		}
		if (change(rw, &e, marks, err) != 0) {
			return -1;
		}
	}
	renumber(rw, &e);
	return gmt_write(rw->w, &e, marks, err);
}

static int copy(rewriter *rw, gmt_error *err) {
	gmt_block block;
	int got;
	while ((got = gmt_next(rw->r, &block, err)) > 0) {
		for (uint32_t i = 0; i < block.n; i++) {
			if (copy_event(rw, &block, &block.events[i], err) != 0) {
				return -1;
			}
		}
	}
	if (got == 0 && !rw->done && rw->edit->op != GMT_EDIT_NONE) {
		return gmt_fail(
			err, rw->in, GMT_NO_OFFSET, "there is no such event: %llu were found", (unsigned long long)rw->seen);
	}
	return got;
}

int gmt_rewrite(const char *in, const char *out, const gmt_edit *edit, gmt_error *err) {
	rewriter rw = {.in = in, .edit = edit};
	rw.r = gmt_open(in, err);
	if (rw.r == NULL) {
		return -1;
	}
	rw.spans = gmt_reader_spans(rw.r);
	rw.numbers = calloc((size_t)(rw.spans + 2), sizeof(*rw.numbers));
	rw.w = rw.numbers == NULL ? NULL : gmt_create(out, gmt_reader_header(rw.r), err);
	int result = rw.numbers == NULL ? gmt_fail(err, in, GMT_NO_OFFSET, "out of memory") : -1;
	if (rw.w != NULL) {
		uint64_t value = 0;
		gmt_end_kind end = gmt_reader_end(rw.r, &value);
		result = copy(&rw, err);
		if (result == 0) {
			result = gmt_finish(rw.w, end, value, err);
		} else {
			gmt_abandon(rw.w);
		}
	}
	gmt_close(rw.r);
	free(rw.numbers);
	return result;
}
