// record.h: `gomem record`, and the recorder's Go sources inside this binary (traces/embed.cmake).
#ifndef GOMEM_TRACES_RECORD_H
#define GOMEM_TRACES_RECORD_H

#include <stddef.h>

typedef struct record_file {
	const char *name; // below traces/recorder
	const unsigned char *data;
	size_t size;
} record_file;

extern const record_file record_files[];
extern const size_t record_nfiles;

#endif
