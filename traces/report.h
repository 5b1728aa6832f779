// report.h: the page of `gomem report` inside this binary (traces/embed.cmake): report.html names the other files.
#ifndef GOMEM_TRACES_REPORT_H
#define GOMEM_TRACES_REPORT_H

#include <stddef.h>

typedef struct report_file {
	const char *name;
	const unsigned char *data;
	size_t size;
} report_file;

extern const report_file report_files[];
extern const size_t report_nfiles;

#endif
