// differential.c: lets the port answer what Go's allocator answers at the same time. tools/goldens.py pipes the one into the other.
//
// usage: differential < STREAM      exit code 0: all answers equal, 1: one differs, 2: not a stream
#include <inttypes.h>
#include <unistd.h>

#include "goldens.h"

static void tell(const goldensResult *r) {
	if (r->programs % 1024 == 0 && isatty(STDERR_FILENO)) {
		fprintf(stderr, "\r%" PRIu64 " programs, %" PRIu64 " cases ", r->programs, r->cases);
	}
}

static void printCounts(const goldensResult *r) {
	static const char row[] = "  %-10s %10" PRIu64 " programs %12" PRIu64 " cases equal\n";
	printf("%s, seed %" PRIu64 "\n", r->go, r->seed);
	for (unsigned i = 0; i < r->nkinds; i++) {
		printf(row, r->kinds[i].kind, r->kinds[i].programs, r->kinds[i].cases);
	}
	printf(row, "all", r->programs, r->cases);
}

int main(int argc, char **argv) {
	if (argc != 1) {
		fprintf(stderr, "usage: %s < STREAM\n", argv[0]);
		return 2;
	}
	static goldensResult r;
	goldens_run(stdin, &r, tell);
	if (isatty(STDERR_FILENO)) {
		fprintf(stderr, "\r%40s\r", "");
	}
	if (r.go[0] != 0) {
		printCounts(&r);
	}
	if (r.status != GOLDENS_EQUAL) {
		printf("%s: %s\n", r.status == GOLDENS_DIFFERENT ? "DIFFERENT" : "bad stream", r.message);
	}
	return (int)r.status;
}
