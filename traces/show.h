// show.h: what the commands print in the same way: numbers, text of a file, progress.
#ifndef GOMEM_TRACES_SHOW_H
#define GOMEM_TRACES_SHOW_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include <cjson/cJSON.h>

// A count as "1,234,567", in a buffer of the caller.
const char *show_count(uint64_t n, char buf[32]);
// show_text prints at most n bytes of a string of a file: control characters would reach the terminal.
void show_text(FILE *out, const char *text, size_t n);
// show_json: o in one line, for cJSON_free; NULL: out of memory. JSON is UTF-8, but names of files and arguments of programs need not be: of what is not,
// each byte becomes '?'.
char *show_json(const cJSON *o);
// show_object prints it, and frees o.
void show_object(cJSON *o);
// show_salvaged: how much is left of a damaged file, and why no more.
const char *show_salvaged(uint64_t events, const char *why, char buf[640]);
// show_left says it on stderr, for a command whose output are events.
void show_left(const char *command, uint64_t events, const char *why);
// KiB that this process had in memory at the most.
uint64_t show_peak_kib(void);

// Progress, on a terminal only. Begins as {0}.
typedef struct show_progress {
	struct timespec last; // when it was shown; 0: not yet
} show_progress;
typedef void show_progress_call(void *progress, uint64_t done, uint64_t total);
// show_progress_on gives what to call with a show_progress, now and then. NULL: there is no terminal.
show_progress_call *show_progress_on(void);
void show_progress_end(const show_progress *p);

#endif
