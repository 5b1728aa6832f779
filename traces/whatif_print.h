// whatif_print.h: how `gomem whatif` prints results: text and JSON.
//
// What a recording leads to is one result. What a trace of stock Go leads to are two: with the smallest requests and with the largest; each
// figure is then printed as low..high.
#ifndef GOMEM_TRACES_WHATIF_PRINT_H
#define GOMEM_TRACES_WHATIF_PRINT_H

#include "traces/whatif.h"

#include <cjson/cJSON.h>

enum { WHATIF_SETTINGS = 64 };

typedef struct setting {
	const char *option, *value;
} setting;

typedef struct whatif_args {
	const char *file, *sweep, *plot;
	bool json, allClasses, salvage;
	setting settings[WHATIF_SETTINGS];
	unsigned n;
} whatif_args;

typedef struct whatif_outcome {
	whatif_result of[2]; // of a trace: the smallest requests, the largest
	unsigned n;          // 1, or 2
} whatif_outcome;

// Where the requests come from: a recording, or a trace (head == NULL).
typedef struct whatif_input {
	const gmt_header *head;
	const whatif_lives *lives;
	const whatif_trace *trace;
	const char *salvaged; // what is left of a damaged file, in words; NULL: it is whole
} whatif_input;

void whatif_print_head(const whatif_args *args, const whatif_input *in, const whatif_outcome *recorded);
void whatif_print_pair(
	const whatif_args *args, const whatif_input *in, const whatif_outcome *recorded, const whatif_outcome *changed);
// A table over values of one option: its heading, and a line.
void whatif_print_columns(const whatif_input *in, int width, const char *option);
void whatif_print_line(int width, const char *value, const whatif_outcome *o, const whatif_outcome *recorded);
// whatif_json_head has what was read, and the results of the recorded constants. The caller owns it.
cJSON *whatif_json_head(const whatif_args *args, const whatif_input *in, const whatif_outcome *recorded);
cJSON *whatif_json_outcome(const whatif_outcome *o);

#endif
