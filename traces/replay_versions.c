// replay_versions.c: which build of the library replays a recording. The lab build is go1.26 on the host's words; what other releases of Go decide
// otherwise is in the layout of the build that takes it at run time (gomem/layout.h, docs/VERSIONS.md).
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "traces/replay.h"

// impossible names an experiment that the recording says was on, and that its release does not have. NULL: none.
static const char *impossible(const layout_version *v, const gmt_header *head) {
	if (head->green_tea && !v->greenTea) {
		return "greenteagc";
	}
	if (head->randomize_heap_base && !v->randomizeHeapBase) {
		return "randomizedheapbase64";
	}
	if (head->size_specialized_malloc && !v->sizeSpecializedMalloc) {
		return "sizespecializedmalloc";
	}
	return head->runtime_freegc && !v->runtimeFreegc ? "runtimefreegc" : NULL;
}

__attribute__((format(printf, 3, 4))) static void refuse(gmt_reader *r, replay_result *out, const char *fmt, ...) {
	va_list ap;
	va_start(ap, fmt);
	memset(out, 0, sizeof(*out));
	out->status = REPLAY_BAD_INPUT;
	out->events = gmt_reader_events(r);
	vsnprintf(out->error, sizeof(out->error), fmt, ap);
	va_end(ap);
}

void replay_run(gmt_reader *r, const replay_options *opt, replay_result *out) {
	const gmt_header *head = gmt_reader_header(r);
	const layout_version *v = layout_versionOf(opt->release != NULL ? opt->release : head->goversion);
	if (v == NULL) {
		refuse(r, out, "recorded with %s: only go1.24 to go1.27 are replayed (--go RELEASE: decide as that one does)",
			head->goversion);
		return;
	}
	const char *no = opt->release == NULL ? impossible(v, head) : NULL;
	if (no != NULL) {
		refuse(r, out, "recorded with %s, which has no GOEXPERIMENT=%s", head->goversion, no);
		return;
	}
	const gomem_layout L = layout_ofVersion(v, head->goarch);
	if (L.ptrSize > sizeof(uintptr_t)) {
		refuse(r, out, "recorded on %s/%s: a gomem with 32-bit words replays recordings of linux/386 alone", head->goos,
			head->goarch);
		return;
	}
	const bool constant = strcmp(L.name, layout_host.name) == 0;
	if (opt->plain && !constant) {
		refuse(r, out, "recorded with %s on %s/%s: the library without yield points is %s only", head->goversion,
			head->goos, head->goarch, layout_host.name);
		return;
	}
	if (opt->plain) {
		replay_run_plain(r, opt, out);
	} else if (constant) {
		replay_run_lab(r, opt, out);
	} else {
		replay_run_rt(r, opt, &L, out);
	}
	out->release = v->release;
}
