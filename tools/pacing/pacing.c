// pacing.c: a program that allocates at a steady rate, with a peak of what lives in its first quarter. pacing.go is the same in Go.
//
// usage: pacing SECONDS
// Prints each second: seconds, heap goal, live heap after the last cycle, bytes of objects, resident memory (all MiB), cycles.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "gomem/world.h"

enum { SIZE = 512, PEAK = 400000, AFTER = 40000, PER_TICK = 2048, TICK_NS = 10000000 };

static double now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double residentMiB(void) {
	FILE *f = fopen("/proc/self/statm", "r");
	char line[128], *end = line;
	if (f == NULL || fgets(line, sizeof(line), f) == NULL) {
		perror("pacing");
		exit(2);
	}
	fclose(f);
	(void)strtoul(line, &end, 10); // the size
	const unsigned long resident = strtoul(end, NULL, 10);
	return (double)resident * (double)sysconf(_SC_PAGESIZE) / (1 << 20);
}

static void print(gomem_thread *t, double seconds) {
	gomem_metric m[] = {{.name = "/gc/heap/goal:bytes"}, {.name = "/gc/heap/live:bytes"},
		{.name = "/memory/classes/heap/objects:bytes"}, {.name = "/gc/cycles/total:gc-cycles"}};
	gomem_world_metrics(t, m, 4);
	const double mib = 1 << 20;
	printf("%.0f %.1f %.1f %.1f %.1f %llu\n", seconds, (double)m[0].value / mib, (double)m[1].value / mib,
		(double)m[2].value / mib, residentMiB(), (unsigned long long)m[3].value);
	fflush(stdout);
}

int main(int argc, char **argv) {
	static void *slots[PEAK];
	static uint8_t all[PEAK / 8], mask[SIZE / 64] = {1};
	static const gomem_type type = {SIZE, 8, mask};
	if (argc != 2) {
		fprintf(stderr, "usage: pacing SECONDS\n");
		return 2;
	}
	memset(all, 0xff, sizeof(all));
	const gomem_root globals[] = {{slots, sizeof(slots), all}};
	gomem_world *w = gomem_world_new(&(gomem_world_config){.procs = 2, .globals = globals, .nglobals = 1});
	if (w == NULL) {
		perror("pacing");
		return 2;
	}
	gomem_thread *t = gomem_world_enter(w);
	const double begin = now(), seconds = strtod(argv[1], NULL);
	uint64_t rand = 1;
	uint64_t live = PEAK;
	double printed = 0, at = 0;
	while (at < seconds) {
		if (live == PEAK && at > seconds / 4) {
			live = AFTER;
			for (uint64_t i = AFTER; i < PEAK; i++) {
				gomem_write_barrier(t, &slots[i], NULL);
			}
		}
		for (int i = 0; i < PER_TICK; i++) {
			rand = rand * 6364136223846793005u + 1442695040888963407u;
			void *x = gomem_world_malloc(t, SIZE, &type, true);
			memset((char *)x + 8, 1, SIZE - 8);
			gomem_write_barrier(t, &slots[(rand >> 33) % live], x);
		}
		if (at >= printed) {
			print(t, at);
			printed += 1;
		}
		gomem_blocking_begin(t);
		nanosleep(&(struct timespec){.tv_nsec = TICK_NS}, NULL);
		gomem_blocking_end(t);
		at = now() - begin;
	}
	gomem_world_leave(t);
	gomem_world_destroy(w);
	return 0;
}
