// fuzz_gotrace.c: Go execution traces, whole and damaged, against the events that were written.
//
// A program writes events into the batches of a few Ms, ends batches and generations, and does damage. The model keeps the events as they were
// meant; it merges them by looking at all Ms each time, and follows Ps in one table.
//
//   no damage                        -> what is read == the model's order, with its Ps, addresses, types
//   a bad event, a batch twice, a cut -> the file is refused; salvaged, it gives the model's events up to there, no more and no fewer; none, if what
//                                        was there at the start may be damaged
//   scribbled on, or cut before 1.26 -> no event that is out of bounds; read again, it is the same
//   an error                         -> names the file and an offset in it
#include "fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include <zstd.h>

#include "gomem/poison.h"
#include "traces/gotrace_make.h"

enum {
	MAX_MS = 4,
	MAX_PS = 4,
	MAX_RAW = 1500,
	MAX_BATCHES = 300,
	MAX_READ = 4096,
	MAX_GENERATIONS = 6,
	LONG_BATCH = 60000,
	TYPES = 4,
	BAD = 0, // the type of what is no event
	UNIT = 64,
};
static const uint64_t MIN = 0xc000000000;
static const char fileName[] = "fuzz.trace";
static const char *const typeNames[TYPES] = {"", "int", "*main.node", "main.node"};

typedef enum damage_level { DAMAGE_NONE, DAMAGE_EVENT, DAMAGE_BATCH, DAMAGE_SCRIBBLE } damage_level;

// An event as it was meant.
typedef struct raw {
	uint8_t type, m;
	uint16_t gen;
	uint64_t time, a[3];
	uint64_t when; // the model's: its time, or later if it waits
} raw;

// A batch that stands in the file.
typedef struct batch {
	size_t at, end;
	uint64_t time;
	uint8_t m;
} batch;

typedef struct state {
	unsigned version;
	damage_level level;
	bool salvage, compress;
	make file, open[MAX_MS]; // open: the batch that an M writes, if .n != 0
	uint64_t time[MAX_MS];   // of the last event
	uint64_t begun[MAX_MS];  // of the open batch
	bool spoilt[MAX_MS];     // there is a bad event in this generation
	bool told[MAX_MS];       // an event of memory
	int snap;                // M that tells what was there at the start, -1: none
	unsigned gen;
	raw raws[MAX_RAW];
	unsigned n;
	uint64_t seq[MAX_PS]; // in this generation
	batch batches[MAX_BATCHES];
	unsigned nbatches, first_batch;   // first_batch: of this generation
	unsigned broken;                  // generation that cannot be read, 0: none
	size_t ends[MAX_GENERATIONS + 1]; // where generations end, [0]: the header
	unsigned first_batches;           // batches of the first generation
	size_t cut;                       // bytes at the end
	size_t at[4];
	uint8_t value[4];
	unsigned scribbles;
} state;

static state the;

static void beginGeneration(state *s) {
	s->gen++;
	make_clock(&s->file, s->version, s->gen, 1000000000 / UNIT);
	if (s->gen == 1) {
		make_info(&s->file, 1, MIN);
	}
	memset(s->spoilt, 0, sizeof s->spoilt);
	memset(s->seq, 0, sizeof s->seq);
	s->first_batch = s->nbatches;
}

static void *begin(const uint64_t *config) {
	static const unsigned versions[] = {23, 25, 26, 27};
	state *s = &the;
	const make file = s->file;
	make open[MAX_MS];
	memcpy(open, s->open, sizeof open);
	memset(s, 0, sizeof *s);
	s->file = (make){.p = file.p, .room = file.room};
	for (unsigned m = 0; m < MAX_MS; m++) {
		s->open[m] = (make){.p = open[m].p, .room = open[m].room};
		s->time[m] = 1000 + config[1] * m;
	}
	s->version = versions[config[0]];
	s->level = (damage_level)config[2];
	s->salvage = config[3] != 0;
	s->compress = config[4] != 0;
	s->snap = -1;
	make_magic(&s->file, s->version);
	beginGeneration(s);
	return s;
}

// ---- writing

static uint64_t idOf(unsigned m) { return m == MAX_MS - 1 ? GT_NO_M : 100 + 7 * m; }

// timeFor gives a batch of m a time that none of its batches has.
static uint64_t timeFor(const state *s, unsigned m, uint64_t time) {
	for (unsigned i = 0; i < s->nbatches; i++) {
		if (s->batches[i].m == m && s->batches[i].time == time) {
			time++;
			i = UINT32_MAX;
		}
	}
	return time;
}

// flush puts the batch that m writes into the file. The next one begins by so much earlier.
static void flush(state *s, unsigned m, uint64_t back) {
	if (s->open[m].n == 0 || s->nbatches == MAX_BATCHES) {
		return;
	}
	make_end(&s->open[m]);
	s->batches[s->nbatches++] = (batch){s->file.n, s->file.n + s->open[m].n, s->begun[m], (uint8_t)m};
	make_bytes(&s->file, s->open[m].p, s->open[m].n);
	s->open[m].n = 0;
	s->time[m] -= back < s->time[m] ? back : 0;
}

static bool room(const state *s) { return s->n < MAX_RAW && s->nbatches + MAX_MS < MAX_BATCHES; }

// ready opens a batch of m if there is none.
static void ready(state *s, unsigned m) {
	if (s->open[m].n > LONG_BATCH) {
		flush(s, m, 0);
	}
	if (s->open[m].n == 0) {
		s->time[m] = s->begun[m] = timeFor(s, m, s->time[m]);
		make_batch(&s->open[m], 0, s->gen, idOf(m), s->time[m]);
	}
}

static void write(state *s, unsigned m, uint64_t dt, unsigned type, size_t n, const uint64_t *a) {
	if (!room(s)) {
		return;
	}
	ready(s, m);
	s->time[m] += dt;
	make_event(&s->open[m], type, dt, n, a);
	raw *r = &s->raws[s->n++];
	*r = (raw){.type = (uint8_t)type, .m = (uint8_t)m, .gen = (uint16_t)s->gen, .time = s->time[m]};
	for (size_t i = 0; i < n && i < 3; i++) {
		r->a[i] = a[i];
	}
	s->told[m] |= type >= GT_EV_SPAN && !gt_is_snapshot((uint8_t)type);
}

static uint64_t typeId(unsigned gen, uint64_t type) { return type == 0 ? 0 : 1 + (type + gen) % (TYPES - 1); }

static void memoryEvent(state *s, unsigned m, unsigned type, uint64_t dt, uint64_t id, uint64_t a, uint64_t b) {
	switch (type) {
	case GT_EV_SPAN:
	case GT_EV_SPAN_ALLOC:
		write(s, m, dt, type, 3, (const uint64_t[]){id, 1 + a, b % 137 == 136 ? 1 : b % 136 * 2});
		return;
	case GT_EV_OBJECT:
	case GT_EV_OBJECT_ALLOC:
		write(s, m, dt, type, 2, (const uint64_t[]){id, typeId(s->gen, a % TYPES)});
		return;
	case GT_EV_STACK_SNAP:
	case GT_EV_STACK_ALLOC:
		write(s, m, dt, type, 2, (const uint64_t[]){id, 12 + a % 16});
		return;
	default:
		write(s, m, dt, type, 1, &id);
	}
}

static void memory(void *v, const uint64_t *a) {
	static const uint8_t types[] = {129, 130, 132, 133, 135, 136};
	memoryEvent(v, (unsigned)a[0], types[a[2]], a[1], a[3], a[4], a[5]);
}

static void snapshot(void *v, const uint64_t *a) {
	static const uint8_t types[] = {128, 131, 134};
	state *s = v;
	const unsigned m = s->snap >= 0 ? (unsigned)s->snap : (unsigned)a[0];
	if (s->gen == 1 && !s->told[m] && !s->spoilt[m] && room(s)) {
		s->snap = (int)m;
		memoryEvent(s, m, types[a[2]], a[1], a[3], a[4], a[5]);
	}
}

// burst writes many frees, one tick apart, as a sweep does.
static void burst(void *v, const uint64_t *a) {
	for (uint64_t i = 0; i < a[1]; i++) {
		memoryEvent(v, (unsigned)a[0], GT_EV_OBJECT_FREE, 1, a[2] + i, 0, 0);
	}
}

static void other(void *v, const uint64_t *a) {
	static const struct {
		uint8_t type, n;
	} types[] = {{9, 2}, {14, 3}, {16, 2}, {17, 0}, {24, 0}, {27, 0}, {29, 2}, {30, 1}, {32, 1}, {33, 2}, {37, 1},
		{38, 1}, {44, 4}};
	write(v, (unsigned)a[0], a[1], types[a[2]].type, types[a[2]].n, (const uint64_t[]){a[3], a[4], 0, 0});
}

static void start(void *v, const uint64_t *a) {
	state *s = v;
	write(s, (unsigned)a[0], a[1], GT_EV_PROC_START, 2, (const uint64_t[]){a[2], ++s->seq[a[2]]});
}

static void stop(void *v, const uint64_t *a) { write(v, (unsigned)a[0], a[1], GT_EV_PROC_STOP, 0, NULL); }

// steal: with a number of order that may be old, from an M that may not have the P.
static void steal(void *v, const uint64_t *a) {
	state *s = v;
	const uint64_t seq = ++s->seq[a[2]], old = a[4] < seq ? a[4] : seq;
	write(s, (unsigned)a[0], a[1], GT_EV_PROC_STEAL, 3,
		(const uint64_t[]){a[2], seq - old, a[3] < MAX_MS ? idOf((unsigned)a[3]) : 999});
}

// syscall: where the M that has the P may lose it.
static void syscall(void *v, const uint64_t *a) {
	state *s = v;
	write(s, (unsigned)a[0], a[1], GT_EV_GO_SYSCALL_BEGIN, 2, (const uint64_t[]){++s->seq[a[2]], 0});
}

static void status(void *v, const uint64_t *a) {
	write(v, (unsigned)a[0], a[1], GT_EV_PROC_STATUS, 2, (const uint64_t[]){a[2], a[3]});
}

static void endBatch(void *v, const uint64_t *a) { flush(v, (unsigned)a[0], a[1]); }

static void tables(state *s) {
	make_batch(&s->file, 1, s->gen, GT_NO_M, 0);
	make_byte(&s->file, 0);
	for (uint64_t i = 1; i < TYPES; i++) {
		make_type(&s->file, typeId(s->gen, i), 0x1000 * i, 8 * i, 8, typeNames[i]);
	}
	make_end(&s->file);
}

static void finishGeneration(state *s) {
	for (unsigned m = 0; m < MAX_MS; m++) {
		flush(s, m, 0);
	}
	tables(s);
	if (s->version >= 26) {
		make_byte(&s->file, GT_EV_END);
	}
	s->first_batches = s->gen == 1 ? s->nbatches : s->first_batches;
	s->ends[s->gen] = s->file.n;
}

static void generation(void *v, const uint64_t *a) {
	(void)a;
	state *s = v;
	if (s->gen < MAX_GENERATIONS && room(s)) {
		finishGeneration(s);
		beginGeneration(s);
	}
}

// ---- damage

static void bad(void *v, const uint64_t *a) {
	static const struct {
		uint8_t n, bytes[16];
	} events[] = {{2, {60, 1}}, {2, {200, 1}}, {13, {133, 1, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 1}},
		{1, {127}}, {12, {133, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1, 1}}};
	state *s = v;
	const unsigned m = (unsigned)a[0];
	if (s->level < DAMAGE_EVENT || !room(s) || s->spoilt[m]) {
		return;
	}
	ready(s, m);
	s->spoilt[m] = true;
	s->raws[s->n++] = (raw){.type = BAD, .m = (uint8_t)m, .gen = (uint16_t)s->gen, .time = s->time[m]};
	make_bytes(&s->open[m], events[a[1]].bytes, events[a[1]].n);
}

static void twice(void *v, const uint64_t *a) {
	state *s = v;
	const unsigned n = s->nbatches - s->first_batch;
	if (s->level < DAMAGE_BATCH || n == 0 || s->broken != 0) {
		return;
	}
	const batch b = s->batches[s->first_batch + a[0] % n];
	if (idOf(b.m) == GT_NO_M) {
		return;
	}
	s->broken = s->gen;
	uint8_t copy[65536 + 64];
	const size_t size = b.end - b.at;
	fuzz_check(size <= sizeof copy, "size of a batch");
	memcpy(copy, s->file.p + b.at, size);
	make_bytes(&s->file, copy, size);
}

// mixed puts a batch of another generation into this one.
static void mixed(void *v, const uint64_t *a) {
	state *s = v;
	if (s->level < DAMAGE_BATCH || s->broken != 0 || a[0] == 8 || (s->version < 26 && a[0] == 9)) {
		return; // the next generation would just have begun
	}
	const uint64_t gen = s->gen + a[0] - 8;
	s->broken = s->gen;
	make_batch(&s->file, 0, gen, 5, 1);
	make_end(&s->file);
}

static void cut(void *v, const uint64_t *a) {
	state *s = v;
	if (s->level >= DAMAGE_BATCH) {
		s->cut = (size_t)a[0];
	}
}

static void scribble(void *v, const uint64_t *a) {
	state *s = v;
	if (s->level >= DAMAGE_SCRIBBLE && s->scribbles < 4) {
		s->at[s->scribbles] = (size_t)a[0];
		s->value[s->scribbles++] = (uint8_t)a[1];
	}
}

// ---- the model

// What should be read: an event and the name of its type.
typedef struct answer {
	gotrace_event e;
	const char *type;
} answer;

static answer wanted[MAX_RAW + 1];
static unsigned nwanted;
static bool whole; // the trace is read to its end

typedef struct model {
	const state *s;
	int p[MAX_MS];        // of each M, -1: none
	int m[MAX_PS];        // of each P, -1: none
	uint64_t seq[MAX_PS]; // of its last start, steal or system call
	unsigned gen[MAX_PS];
	uint64_t held[MAX_PS], until[MAX_PS]; // the steal that waits
	uint64_t epoch;
} model;

static void part(model *o, int m, int p) {
	if (m >= 0 && o->p[m] >= 0) {
		o->m[o->p[m]] = -1;
		o->p[m] = -1;
	}
	if (p >= 0 && o->m[p] >= 0) {
		o->p[o->m[p]] = -1;
		o->m[p] = -1;
	}
}

static void join(model *o, int m, int p) {
	part(o, m, p);
	o->p[m] = p;
	o->m[p] = m;
}

static bool flushes(const raw *r) {
	return r->type == GT_EV_OBJECT_FREE || r->type == GT_EV_SPAN_FREE || r->type == GT_EV_HEAP_ALLOC;
}

static int32_t nextP(const state *s, const raw *r) {
	for (const raw *x = r + 1; x < s->raws + s->n && x->gen == r->gen; x++) {
		if (x->m == r->m && !flushes(x)) {
			return x->type == GT_EV_PROC_START ? (int32_t)x->a[0] : -1;
		}
	}
	return -1;
}

// proc says whether an event of Ps is told.
static bool proc(model *o, const raw *r, gotrace_event *e) {
	const int m = r->m, p = (int)r->a[0];
	e->kind = r->type == GT_EV_PROC_STOP || r->type == GT_EV_PROC_STEAL ? GOTRACE_PROC_STOP : GOTRACE_PROC_START;
	if (r->type == GT_EV_PROC_STOP) {
		part(o, m, -1);
		return e->p >= 0;
	}
	e->p = p;
	if (r->type == GT_EV_PROC_START) {
		join(o, m, p);
		o->seq[p] = r->a[1];
		o->gen[p] = r->gen;
		return true;
	}
	if (r->type == GT_EV_PROC_STATUS) {
		if ((r->a[1] != 1 && r->a[1] != 3) || idOf(r->m) == GT_NO_M || o->p[m] == p) {
			return false;
		}
		join(o, m, p);
		return true;
	}
	if (o->m[p] < 0 || (o->gen[p] == r->gen && r->a[1] <= o->seq[p]) ||
		(r->a[2] != GT_NO_M && r->a[2] != idOf((unsigned)o->m[p]))) {
		return false;
	}
	part(o, -1, p);
	o->seq[p] = r->a[1];
	o->gen[p] = r->gen;
	return true;
}

static bool plain(const raw *r, gotrace_event *e) {
	static const uint8_t kinds[256] = {[9] = GOTRACE_PROCS,
		[27] = GOTRACE_STW_END,
		[29] = GOTRACE_GC_BEGIN,
		[30] = GOTRACE_GC_END,
		[32] = GOTRACE_SWEEP_BEGIN,
		[33] = GOTRACE_SWEEP_END,
		[37] = GOTRACE_HEAP_ALLOC,
		[38] = GOTRACE_HEAP_GOAL};
	e->kind = kinds[r->type];
	if (r->type != 27 && r->type != 32) {
		e->n = r->a[0];
	}
	if (r->type == 33) {
		e->addr = r->a[0];
		e->n = r->a[1];
	}
	return e->kind != 0;
}

static void add(model *o, const raw *r) {
	answer *to = &wanted[nwanted];
	*to = (answer){
		.e = {.p = o->p[r->m], .next_p = -1, .m = idOf(r->m), .time = (r->time - o->epoch) * UNIT}, .type = ""};
	gotrace_event *e = &to->e;
	if (r->time < o->epoch) {
		e->time = 0;
	}
	if (flushes(r) && e->p < 0) {
		e->next_p = nextP(o->s, r);
	}
	if (r->type == GT_EV_GO_SYSCALL_BEGIN) {
		if (e->p >= 0) {
			o->seq[e->p] = r->a[0];
			o->gen[e->p] = r->gen;
		}
		return;
	}
	if (r->type < 128) {
		const bool ps = r->type >= GT_EV_PROC_START && r->type <= GT_EV_PROC_STATUS;
		nwanted += ps ? proc(o, r, e) : plain(r, e);
		return;
	}
	static const uint64_t units[] = {8192, 8, 2048};
	const unsigned what = (r->type - 128u) / 3;
	e->kind = (uint8_t)(r->type - 128);
	e->addr = MIN + units[what] * r->a[0];
	const bool frees = (r->type - 128) % 3 == 2;
	if (what == 0 && !frees) {
		e->n = r->a[1];
		e->class = r->a[2] == 1 ? GOTRACE_MANUAL : (uint16_t)(r->a[2] / 2);
	} else if (what == 1 && !frees) {
		for (unsigned i = 1; i < TYPES; i++) {
			to->type = typeId(r->gen, i) == r->a[1] ? typeNames[i] : to->type;
		}
	} else if (what == 2 && !frees) {
		e->n = (uint64_t)1 << (r->a[1] - 1);
	}
	nwanted++;
}

// earliest gives the next event of a generation: of the heads of all Ms. from: where to look for each.
static raw *earliest(state *s, unsigned gen, const bool *used, unsigned *from) {
	raw *best = NULL;
	for (unsigned m = 0; m < MAX_MS; m++) {
		unsigned i = from[m];
		while (i < s->n && s->raws[i].gen <= gen && (s->raws[i].m != m || s->raws[i].gen < gen || used[i])) {
			i++;
		}
		from[m] = i;
		raw *r = &s->raws[i];
		if (i < s->n && r->gen == gen &&
			(best == NULL || r->when < best->when || (r->when == best->when && idOf(m) < idOf(best->m)))) {
			best = r;
		}
	}
	return best;
}

// syscallAt gives the time by which the M of `owner` has told all up to the system call with that number; 0: it is not to come.
static uint64_t syscallAt(const state *s, const bool *used, unsigned gen, int owner, uint64_t seq) {
	uint64_t last = 0;
	for (unsigned i = 0; i < s->n; i++) {
		const raw *r = &s->raws[i];
		if (r->gen != gen || r->m != owner || used[i]) {
			continue;
		}
		if (r->type == BAD) {
			return 0;
		}
		last = r->time > last ? r->time : last;
		if (r->type == GT_EV_GO_SYSCALL_BEGIN && r->a[0] == seq) {
			return last;
		}
	}
	return 0;
}

// waits: a steal comes after the system call it happens in, and who starts the P then after the steal.
static bool waits(model *o, raw *r, const bool *used) {
	const uint64_t p = r->a[0], seq = r->a[1];
	if ((r->type != GT_EV_PROC_STEAL && r->type != GT_EV_PROC_START) || r->when != r->time || o->gen[p] != r->gen ||
		o->seq[p] + 1 >= seq || o->m[p] < 0) {
		return false;
	}
	uint64_t until = 0;
	if (r->type == GT_EV_PROC_START) {
		until = o->held[p] + 1 == seq ? o->until[p] + 1 : 0;
	} else if (o->m[p] != r->m && r->a[2] == idOf((unsigned)o->m[p])) {
		until = syscallAt(o->s, used, r->gen, o->m[p], seq - 1);
		if (until != 0) {
			o->held[p] = seq;
			o->until[p] = ++until;
		}
	}
	r->when = until > r->time ? until : r->time;
	return until > r->time;
}

// hidden: a bad event of the first generation may hide what was there at the start: it stands on the M that tells that, or if none does, on any,
// before an event that would come later.
static bool hidden(const state *s) {
	bool later[MAX_MS] = {false};
	for (unsigned i = 0; i < s->n && s->raws[i].gen == 1; i++) {
		const raw *r = &s->raws[i];
		if (r->type == BAD && !later[r->m] && (s->snap < 0 || s->snap == r->m)) {
			return true;
		}
		later[r->m] |= r->type >= GT_EV_SPAN && !gt_is_snapshot(r->type);
	}
	return false;
}

static void mergeAll(state *s) {
	static bool used[MAX_RAW];
	memset(used, 0, sizeof used);
	model o = {.s = s, .epoch = UINT64_MAX};
	memset(o.p, -1, sizeof o.p);
	memset(o.m, -1, sizeof o.m);
	for (unsigned i = 0; i < s->n; i++) {
		s->raws[i].when = s->raws[i].time;
	}
	for (unsigned i = 0; i < s->first_batches; i++) {
		o.epoch = s->batches[i].time < o.epoch ? s->batches[i].time : o.epoch;
	}
	unsigned from[MAX_MS] = {0};
	nwanted = 0;
	whole = false;
	if (hidden(s)) {
		return;
	}
	for (unsigned gen = 1; gen <= s->gen; gen++) {
		if (gen == s->broken) {
			return;
		}
		unsigned last = 0;
		for (unsigned i = 0; gen == 1 && i < s->n; i++) {
			last = gt_is_snapshot(s->raws[i].type) ? i + 1 : last;
		}
		for (unsigned i = 0; i < last; i++) {
			if (s->raws[i].m == s->snap) {
				add(&o, &s->raws[i]);
				used[i] = true;
			}
		}
		if (gen == 1) {
			wanted[nwanted++] =
				(answer){.e = {.kind = GOTRACE_SNAPSHOT_END, .p = -1, .next_p = -1, .m = GT_NO_M}, .type = ""};
		}
		for (raw *r; (r = earliest(s, gen, used, from)) != NULL;) {
			if (waits(&o, r, used)) {
				continue;
			}
			used[r - s->raws] = true;
			if (r->type == BAD) {
				return;
			}
			add(&o, r);
		}
	}
	whole = true;
}

// ---- reading

static void checkError(const gmt_error *err, size_t size) {
	const char *at = strstr(err->text, "offset ");
	if (strncmp(err->text, "fuzz.trace: ", 12) != 0 || at == NULL || strtoull(at + 7, NULL, 10) > size) {
		fuzz_fail("an error that does not name the file and an offset in it: %s", err->text);
	}
}

static void checkBounds(const gotrace *t, const gotrace_event *e) {
	fuzz_check(e->kind < GOTRACE_KINDS, "kind of an event");
	fuzz_check(e->type == 0 || gotrace_type_of(t, e->type) != NULL, "type of an event");
	const bool placed = e->kind < GOTRACE_SNAPSHOT_END;
	fuzz_check(!placed || (e->addr != 0 && e->addr >> 48 == 0), "address of an event");
	fuzz_check(e->p >= -1 && e->p < GT_MAX_PS && e->next_p >= -1 && e->next_p < GT_MAX_PS, "P of an event");
}

static void checkEvent(const gotrace *t, const gotrace_event *e, unsigned i) {
	if (i >= nwanted) {
		fuzz_fail("more than the %u events that there should be", nwanted);
	}
	const gotrace_event *w = &wanted[i].e;
	fuzz_equal("kind", e->kind, w->kind);
	fuzz_equal("P", (uint64_t)e->p, (uint64_t)w->p);
	fuzz_equal("next P", (uint64_t)e->next_p, (uint64_t)w->next_p);
	fuzz_equal("M", e->m, w->m);
	fuzz_equal("address", e->addr, w->addr);
	fuzz_equal("n", e->n, w->n);
	fuzz_equal("class", e->class, w->class);
	if (e->kind != GOTRACE_SNAPSHOT_END) {
		fuzz_equal("time", e->time, w->time);
	}
	const gotrace_type *type = gotrace_type_of(t, e->type);
	fuzz_check(strcmp(type == NULL ? "" : type->name, wanted[i].type) == 0, "type");
}

typedef struct result {
	unsigned n;
	int end;
	bool opened, salvaged;
	gmt_error err;
} result;

// loose: what should come out is not known. Before 1.26 nothing says where the last generation ends: a cut between two batches goes unseen.
static bool loose(const state *s) { return s->scribbles > 0 || (s->cut != 0 && s->version < 26); }

static result readTrace(const state *s, const uint8_t *p, size_t n, size_t size) {
	result x = {.end = -1};
	gotrace *t = gotrace_open_memory(fileName, p, n, (gotrace_options){.salvage = s->salvage}, &x.err);
	if (t == NULL) {
		checkError(&x.err, size);
		return x;
	}
	x.opened = true;
	gotrace_event e;
	while (x.n < MAX_READ && (x.end = gotrace_next(t, &e, &x.err)) > 0) {
		checkBounds(t, &e);
		if (!loose(s)) {
			checkEvent(t, &e, x.n);
		}
		x.n++;
	}
	if (x.end < 0) {
		checkError(&x.err, size);
	}
	x.salvaged = gotrace_salvaged(t) != NULL;
	gotrace_close(t);
	return x;
}

static void judge(const state *s, const result *x) {
	if (loose(s)) {
		return;
	}
	if (whole) {
		fuzz_check(x->end == 0, x->err.text);
		fuzz_check(!x->salvaged, "a good trace is salvaged");
	} else {
		fuzz_check(x->end < 0 || x->salvaged, "damage goes unseen");
		fuzz_check(!s->salvage || nwanted == 0 || x->end == 0, "nothing is salvaged");
	}
	fuzz_equal("events", x->n, nwanted);
}

// applyCut cuts bytes off the end: the generation that they belong to is broken, or if all of it went, has never been.
static void applyCut(state *s) {
	s->ends[0] = GT_HEADER;
	const size_t most = s->file.n - GT_HEADER;
	s->file.n -= s->cut > most ? most : s->cut;
	unsigned kept = 0;
	while (kept < s->gen && s->ends[kept + 1] <= s->file.n) {
		kept++;
	}
	if (kept == s->gen) {
		return;
	}
	if (s->file.n == s->ends[kept] && kept > 0) {
		s->gen = kept;
	} else if (s->broken == 0 || s->broken > kept) {
		s->broken = kept + 1;
	}
}

static void end(void *v) {
	state *s = v;
	finishGeneration(s);
	if (s->cut > 0) {
		applyCut(s);
	}
	for (unsigned i = 0; i < s->scribbles; i++) {
		s->file.p[s->at[i] % s->file.n] ^= s->value[i];
	}
	mergeAll(s);
	const uint8_t *p = s->file.p;
	size_t n = s->file.n;
	uint8_t *packed = NULL;
	if (s->compress) {
		packed = malloc(ZSTD_compressBound(n));
		fuzz_check(packed != NULL, "out of memory");
		n = ZSTD_compress(packed, ZSTD_compressBound(n), p, n, 1);
		fuzz_check(!ZSTD_isError(n), "ZSTD_compress");
		poison_defined((uintptr_t)packed, n);
		p = packed;
	}
	const result x = readTrace(s, p, n, s->file.n);
	judge(s, &x);
	if (loose(s) || fuzz_thorough()) {
		const result y = readTrace(s, p, n, s->file.n);
		fuzz_check(x.n == y.n && x.end == y.end && (x.end == 0 || strcmp(x.err.text, y.err.text) == 0),
			"read again, it is another");
	}
	free(packed);
}

#define M                                                                                                              \
	{ "m", 1, FUZZ_ANY, MAX_MS - 1 }
#define P                                                                                                              \
	{ "p", 1, FUZZ_ANY, MAX_PS - 1 }
#define DT                                                                                                             \
	{ "dt", 1, FUZZ_ANY, 0 }
#define ID                                                                                                             \
	{ "id", 4, FUZZ_ANY, 0 }
#define A                                                                                                              \
	{ "a", 2, FUZZ_ANY, 0 }
#define B                                                                                                              \
	{ "b", 2, FUZZ_ANY, 0 }

static const fuzz_op_info ops[] = {
	{"memory", {M, DT, {"what", 1, FUZZ_ANY, 5}, ID, A, B}, memory},
	{"snapshot", {M, DT, {"what", 1, FUZZ_ANY, 2}, ID, A, B}, snapshot},
	{"burst", {M, {"n", 1, FUZZ_ANY, 60}, ID}, burst},
	{"other", {M, DT, {"what", 1, FUZZ_ANY, 12}, {"x", 8, FUZZ_WORD, 0}, {"y", 8, FUZZ_WORD, 0}}, other},
	{"start", {M, DT, P}, start},
	{"stop", {M, DT}, stop},
	{"steal", {M, DT, P, {"from", 1, FUZZ_ANY, MAX_MS}, {"old", 1, FUZZ_ANY, 3}}, steal},
	{"status", {M, DT, P, {"status", 1, FUZZ_ANY, 4}}, status},
	{"flush", {M, {"back", 1, FUZZ_ANY, 0}}, endBatch},
	{"generation", {{NULL, 0, FUZZ_ANY, 0}}, generation},
	{"bad", {M, {"how", 1, FUZZ_ANY, 4}}, bad},
	{"twice", {{"which", 1, FUZZ_ANY, 0}}, twice},
	{"mixed", {{"gen", 1, FUZZ_ANY, 15}}, mixed},
	{"cut", {{"bytes", 2, FUZZ_ANY, 0}}, cut},
	{"scribble", {{"at", 2, FUZZ_ANY, 0}, {"value", 1, FUZZ_ANY, 0}}, scribble},
	{"syscall", {M, DT, P}, syscall},
};

FUZZ_TARGET(gotrace) = {
	.name = "gotrace",
	.what =
		"Go execution traces, whole and damaged, against the events that were written, in the order of a plain merge",
	.config = {{"version", 1, FUZZ_ANY, 3}, {"apart", 1, FUZZ_ANY, 0}, {"damage", 1, FUZZ_ANY, DAMAGE_SCRIBBLE},
		{"salvage", 1, FUZZ_ANY, 1}, {"compress", 1, FUZZ_ANY, 1}},
	.ops = ops,
	.nops = sizeof ops / sizeof ops[0],
	.max_ops = 60,
	.begin = begin,
	.end = end,
};
