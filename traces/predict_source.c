// predict_source.c: the events of a file, for the predictor, which reads them twice.
#include "traces/predict.h"

bool predict_trace_open(predict_trace *f, gmt_error *err) {
	gotrace_close(f->t);
	f->t = gotrace_open(f->path, f->o, err);
	f->passes++;
	return f->t != NULL;
}

static int next(void *ctx, gotrace_event *e, gmt_error *err) { return gotrace_next(((predict_trace *)ctx)->t, e, err); }

static bool rewindTrace(void *ctx, gmt_error *err) { return predict_trace_open(ctx, err); }

static const char *string(void *ctx, uint64_t number) { return gotrace_string(((predict_trace *)ctx)->t, number); }

predict_source predict_trace_source(predict_trace *f) {
	return (predict_source){.ctx = f,
		.next = next,
		.rewind = rewindTrace,
		.string = string,
		.min_addr = gotrace_min_addr(f->t),
		.version = gotrace_version(f->t)};
}
