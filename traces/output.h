// output.h: a file that a command writes. It has another name beside its place until it is whole, so that what was there is not lost if that fails; it is
// written in its place if that is no regular file, somebody else's, a link, has several names, or nothing can be made beside it. One at a time.
#ifndef GOMEM_TRACES_OUTPUT_H
#define GOMEM_TRACES_OUTPUT_H

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>

#include "traces/gmt.h"

typedef struct output {
	FILE *f;
	const char *path;
	char temp
		[PATH_MAX]; // "": path itself is written, for it is a device, a pipe or a link, or nothing can be made beside it
} output;

// output_is: is path the file that is read from input? Both may be links.
bool output_is(const char *path, const char *input);
// output_keeps: to write path does not destroy the file that is read from input, which may be NULL. false and err.
bool output_keeps(const char *path, const char *input, gmt_error *err);
// output_open opens path for writing, if output_keeps. false and err.
bool output_open(output *o, const char *path, const char *input, gmt_error *err);
// output_close ends the file, and puts it into place if it was written well. false and err.
bool output_close(output *o, bool good, gmt_error *err);

#endif
