// stream_make.c: makes a stream (stream.h) of a recording: its requests in the recorded order of all Ps, and its frees where its sweeps were.
//
// usage: stream_make RECORDING OUT
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/stream.h"
#include "traces/grow.h"
#include "traces/whatif.h"

typedef struct death {
	uint64_t sweep;
	uint32_t object;
} death;

typedef struct maker {
	const whatif_lives *lives;
	stream_head head;
	uint32_t *words;
	size_t nwords, cap;
	death *deaths; // in the order of the sweeps
	size_t ndeaths, nextDeath;
	uint32_t *size, *id; // by number of the malloc
	uint32_t *unused;    // numbers that can be used again
	size_t nunused;
	uint64_t mallocs, live;
	uint32_t cycle;
	gmt_error err;
} maker;

// Of bytes to scavenge: a step gives back a chunk at the most.
static const uint64_t mostBytes = INT32_MAX;

static bool bad(maker *m, const char *why) {
	(void)snprintf(m->err.text, sizeof(m->err.text), "%s", why);
	return false;
}

static bool put(maker *m, uint64_t word) {
	if (word > UINT32_MAX) {
		return bad(m, "a value is too large for a stream");
	}
	if (!array_grow(&m->words, &m->cap, m->nwords, sizeof(*m->words))) {
		return bad(m, "out of memory");
	}
	m->words[m->nwords++] = (uint32_t)word;
	return true;
}

static bool putOp(maker *m, stream_op op, uint64_t value) { return put(m, value << STREAM_BITS | op); }

static bool putMalloc(maker *m, const gmt_event *e) {
	const uint64_t n = m->mallocs++;
	const bool noscan = (e->b & 1) != 0;
	const stream_op op = !noscan ? STREAM_POINTERS : (e->b & 2) != 0 ? STREAM_ZEROED : STREAM_MALLOC;
	m->size[n] = (uint32_t)e->a;
	m->id[n] = m->nunused > 0 ? m->unused[--m->nunused] : m->head.ids++;
	m->live += e->a;
	m->head.bytes += e->a;
	m->head.peakLive = m->live > m->head.peakLive ? m->live : m->head.peakLive;
	return putOp(m, op, m->id[n]) && put(m, e->a) && put(m, m->lives->death[n]);
}

// putFrees frees what the sweep at this event found dead.
static bool putFrees(maker *m, uint64_t event) {
	for (; m->nextDeath < m->ndeaths && m->deaths[m->nextDeath].sweep == event; m->nextDeath++) {
		const uint32_t n = m->deaths[m->nextDeath].object;
		if (!putOp(m, STREAM_FREE, m->id[n])) {
			return false;
		}
		m->unused[m->nunused++] = m->id[n];
		m->live -= m->size[n];
		m->head.frees++;
	}
	return true;
}

static bool putEvent(maker *m, const gmt_event *e, uint64_t event) {
	switch ((gomem_ev)e->kind) {
	case EV_MALLOC:
	case EV_MALLOCBEGIN:
		return putMalloc(m, e);
	case EV_SWEEP:
		return putFrees(m, event);
	case EV_FINISHSWEEP:
		return putOp(m, STREAM_FINISH, 0);
	case EV_GCPHASE:
		return putOp(m, STREAM_PHASE, e->a);
	case EV_SWEEPGEN:
		return putOp(m, STREAM_CYCLE, ++m->cycle);
	case EV_SWEEPONE:
		return putOp(m, STREAM_SWEEP, 0);
	case EV_SCAVENGE:
		return putOp(m, STREAM_SCAVENGE, 0) && put(m, (e->a < mostBytes ? e->a : mostBytes) << 1 | (e->b != 0));
	case EV_FREEGC:
		return bad(m, "objects are given back by freegc: that is not in a stream");
	default:
		return true;
	}
}

static int byTime(const void *a, const void *b) {
	const death *x = a;
	const death *y = b;
	return x->sweep != y->sweep ? (x->sweep < y->sweep ? -1 : 1) : (x->object > y->object) - (x->object < y->object);
}

static bool prepare(maker *m) {
	const size_t n = m->lives->n + 1;
	m->deaths = malloc(n * sizeof(*m->deaths));
	m->size = malloc(n * sizeof(*m->size));
	m->id = malloc(n * sizeof(*m->id));
	m->unused = malloc(n * sizeof(*m->unused));
	if (m->deaths == NULL || m->size == NULL || m->id == NULL || m->unused == NULL) {
		return bad(m, "out of memory");
	}
	for (uint32_t i = 0; i < m->lives->n; i++) {
		if (m->lives->death[i] != WHATIF_NEVER) {
			m->deaths[m->ndeaths++] = (death){m->lives->sweep[i], i};
		}
	}
	qsort(m->deaths, m->ndeaths, sizeof(*m->deaths), byTime);
	return true;
}

static bool readAll(maker *m, gmt_reader *r) {
	gmt_block b;
	int got;
	while ((got = gmt_next(r, &b, &m->err)) == 1) {
		for (uint32_t i = 0; i < b.n; i++) {
			if (!putEvent(m, &b.events[i], b.first + i)) {
				return false;
			}
		}
	}
	return got == 0 && (m->nextDeath == m->ndeaths || bad(m, "not each death has its sweep"));
}

static bool writeOut(maker *m, const char *path) {
	m->head.magic = STREAM_MAGIC;
	m->head.words = m->nwords;
	m->head.mallocs = m->mallocs;
	m->head.cycles = m->cycle;
	FILE *f = fopen(path, "wb");
	const bool good = f != NULL && fwrite(&m->head, sizeof(m->head), 1, f) == 1 &&
		fwrite(m->words, sizeof(*m->words), m->nwords, f) == m->nwords;
	if ((f != NULL && fclose(f) != 0) || !good) {
		(void)remove(path);
		return bad(m, "the stream cannot be written");
	}
	return true;
}

static bool make(maker *m, const char *recording, const char *out) {
	whatif_lives lives = {0};
	gmt_reader *r = gmt_open(recording, &m->err);
	bool good = r != NULL && whatif_read_lives(r, &lives, &m->err) == 0 && gmt_seek(r, 0, &m->err) == 0;
	if (good) {
		m->lives = &lives;
		m->head.procs = gmt_reader_header(r)->gomaxprocs;
		good = prepare(m) && readAll(m, r) && writeOut(m, out);
	}
	if (r != NULL) {
		gmt_close(r);
	}
	whatif_lives_free(&lives);
	free(m->words);
	free(m->deaths);
	free(m->size);
	free(m->id);
	free(m->unused);
	return good;
}

int main(int argc, char **argv) {
	if (argc != 3) {
		(void)fprintf(stderr, "usage: stream_make RECORDING OUT\n");
		return 2;
	}
	maker m = {0};
	if (!make(&m, argv[1], argv[2])) {
		(void)fprintf(stderr, "stream_make: %s: %s\n", argv[1], m.err.text);
		return 2;
	}
	return 0;
}
