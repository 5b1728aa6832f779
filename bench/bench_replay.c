// bench_replay.c: how fast recordings are read and replayed.
//
// usage: bench_replay RECORDING read|lab|plain|real      prints one line of JSON
//
//   read   its events are decoded, and nothing else
//   lab    the port makes every decision, and all are compared
//   plain  the same by the library without yield points, which sees fewer of them (recordings of one P)
//   real   as lab, in memory of the process at the recorded addresses, and zeroed objects are looked at
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "traces/replay.h"

static double now(void) {
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static bool readAll(gmt_reader *r, gmt_error *err) {
	gmt_block b;
	int got;
	while ((got = gmt_next(r, &b, err)) == 1) {
	}
	return got == 0;
}

typedef void run_func(gmt_reader *r, const replay_options *opt, replay_result *out);

static run_func *runBy(const char *how) {
#ifndef GOMEM_CHECKED
	if (strcmp(how, "plain") == 0) {
		return replay_run_plain;
	}
#endif
	(void)how;
	return replay_run_lab;
}

static bool replay(gmt_reader *r, const char *how, uint64_t *compared, gmt_error *err) {
	const replay_options opt = {.real_os = strcmp(how, "real") == 0};
	replay_result out;
	runBy(how)(r, &opt, &out);
	*compared = out.compared;
	(void)snprintf(
		err->text, sizeof(err->text), "%.400s", out.status == REPLAY_DIFFERS ? "a decision differs" : out.error);
	return out.status == REPLAY_EQUAL;
}

int main(int argc, char **argv) {
	static const char *const ways[] = {"read", "lab", "plain", "real"};
	bool known = false;
	for (int i = 0; argc == 3 && i < 4; i++) {
		known |= strcmp(argv[2], ways[i]) == 0;
	}
	if (!known) {
		(void)fprintf(stderr, "usage: bench_replay RECORDING read|lab|plain|real\n");
		return 2;
	}
	gmt_error err = {""};
	uint64_t compared = 0;
	const double begin = now();
	gmt_reader *r = gmt_open(argv[1], &err);
	const bool read = r != NULL && strcmp(argv[2], "read") == 0;
	if (r == NULL || !(read ? readAll(r, &err) : replay(r, argv[2], &compared, &err))) {
		(void)fprintf(stderr, "bench_replay: %s: %s\n", argv[1], err.text);
		return 2;
	}
	printf("{\"way\": \"%s\", \"events\": %" PRIu64 ", \"compared\": %" PRIu64 ", \"cpu_ns\": %.0f}\n", argv[2],
		gmt_reader_events(r), compared, now() - begin);
	gmt_close(r);
	return 0;
}
