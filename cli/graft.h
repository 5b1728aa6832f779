// graft.h: the sources that `gomem graft` compiles into a Go program, inside this binary (traces/embed.cmake).
#ifndef GOMEM_CLI_GRAFT_H
#define GOMEM_CLI_GRAFT_H

#include <stddef.h>

typedef struct graft_file {
	const char *name; // below the top of the source tree
	const unsigned char *data;
	size_t size;
} graft_file;

extern const graft_file graft_files[];
extern const size_t graft_nfiles;

#endif
