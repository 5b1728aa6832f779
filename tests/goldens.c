// goldens.c: the reader of goldens and the comparison.
#include "goldens.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static const goldensKind *const kinds[] = {&goldensBits, &goldensBitrange, &goldensSums, &goldensPagecache,
	&goldensPagealloc, &goldensScavindex, &goldensRanges, &goldensSizeclass, &goldensSpanclass, &goldensHeapbits,
	&goldensArena};
enum { nkinds = sizeof kinds / sizeof kinds[0] };
_Static_assert((int)nkinds <= (int)goldensKindsMax, "each kind has a count");

typedef struct reader {
	goldensResult *r;
	char *line;
	size_t cap;
	uint64_t lineNo;
	unsigned kind; // nkinds: none yet
	void *state;   // of a program, or NULL
	uint64_t program, operation;
	jmp_buf thrown;
	const char *volatile threw; // what the port threw
} reader;

// stop ends the reading; the first reason stays.
static __attribute__((format(printf, 3, 4))) void stop(reader *d, goldensStatus status, const char *format, ...) {
	goldensResult *const r = d->r;
	if (r->status != GOLDENS_EQUAL) {
		return;
	}
	r->status = status;
	va_list ap;
	va_start(ap, format);
	vsnprintf(r->message, sizeof r->message, format, ap);
	va_end(ap);
}

static void bad(reader *d, const char *why) {
	stop(d, GOLDENS_BAD, "line %" PRIu64 ": %s: %.200s", d->lineNo, why, d->line);
}

// ---- numbers

static int digit(char c) {
	if (c >= '0' && c <= '9') {
		return c - '0';
	}
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// numbers reads numbers, each after a space, up to the end of s or to " =". It gives where it stopped, or NULL.
static const char *numbers(const char *s, goldensNumbers *out) {
	out->n = 0;
	while (*s == ' ' && s[1] != '=') {
		uint64_t v = 0;
		unsigned digits = 0;
		for (s++; digit(*s) >= 0; s++, digits++) {
			v = v << 4 | (unsigned)digit(*s);
		}
		if (digits == 0 || digits > 16 || out->n == goldensNumbersMax) {
			return NULL;
		}
		out->v[out->n++] = v;
	}
	return *s == 0 || *s == ' ' ? s : NULL;
}

// exactly: s is n numbers and nothing else.
static bool exactly(const char *s, unsigned n, goldensNumbers *out) {
	const char *const end = numbers(s, out);
	return end != NULL && *end == 0 && out->n == n;
}

// ---- an operation

static void append(char *to, size_t size, const goldensNumbers *v) {
	for (unsigned i = 0; i < v->n; i++) {
		const size_t used = strlen(to);
		snprintf(to + used, size - used, " %" PRIx64, v->v[i]);
	}
}

static void different(reader *d, const goldensNumbers *want, const goldensNumbers *got) {
	char go[3072] = "", gomem[3072] = "";
	append(go, sizeof go, want);
	append(gomem, sizeof gomem, got);
	unsigned at = 0;
	while (at < want->n && at < got->n && want->v[at] == got->v[at]) {
		at++;
	}
	stop(d, GOLDENS_DIFFERENT,
		"seed %" PRIu64 ", kind %s, program %" PRIu64 ", operation %" PRIu64 " (line %" PRIu64 "): answer %u differs\n"
		"  operation %.1500s\n  Go       %s\n  gomem    %s%s",
		d->r->seed, kinds[d->kind]->name, d->program, d->operation, d->lineNo, at + 1, d->line, go,
		d->threw != NULL ? " throws: " : gomem, d->threw != NULL ? d->threw : "");
}

static void thrown(void *ctx, const char *msg) {
	reader *const d = ctx;
	d->threw = msg;
	longjmp(d->thrown, 1);
}

// call runs the operation. Where it throws there are no answers.
static void call(reader *d, const goldensOp *op, goldensCall *c) {
	d->threw = NULL;
	if (setjmp(d->thrown) == 0) {
		op->run(d->state, c);
	} else {
		c->answers.n = 0;
	}
}

static const goldensOp *findOp(const goldensKind *k, const char *name, size_t len) {
	for (const goldensOp *op = k->ops; op->name != NULL; op++) {
		if (strncmp(op->name, name, len) == 0 && op->name[len] == 0) {
			return op;
		}
	}
	return NULL;
}

static void operation(reader *d) {
	if (d->state == NULL) {
		bad(d, "an operation outside of a program");
		return;
	}
	const size_t len = strcspn(d->line, " ");
	const goldensOp *const op = findOp(kinds[d->kind], d->line, len);
	if (op == NULL) {
		bad(d, "no such operation");
		return;
	}
	goldensNumbers args, want = {.n = 0};
	const char *rest = numbers(d->line + len, &args);
	const bool asked = rest != NULL && *rest != 0;
	if (asked) {
		rest = numbers(rest + strlen(" ="), &want);
	}
	if (rest == NULL || *rest != 0) {
		bad(d, "not a list of numbers");
		return;
	}
	if (args.n < op->least || args.n > op->most) {
		bad(d, "not as many arguments as the operation has");
		return;
	}
	d->operation++;
	goldensCall c = {.a = args.v, .n = args.n, .answers = {.n = 0}};
	call(d, op, &c);
	if (d->threw != NULL || c.answers.n != want.n || memcmp(c.answers.v, want.v, want.n * sizeof want.v[0]) != 0) {
		different(d, &want, &c.answers);
		return;
	}
	if (asked) {
		d->r->cases++;
		d->r->kinds[d->kind].cases++;
	}
}

// ---- a stream

static void endProgram(reader *d) {
	if (d->state != NULL) {
		kinds[d->kind]->end(d->state);
	}
	d->state = NULL;
}

static void beginProgram(reader *d) {
	endProgram(d);
	goldensNumbers n;
	if (d->kind == nkinds || !exactly(d->line + strlen("program"), 1, &n)) {
		bad(d, "not the begin of a program of a kind");
		return;
	}
	d->program = n.v[0];
	d->operation = 0;
	d->state = kinds[d->kind]->begin(thrown, d);
	if (d->state == NULL) {
		stop(d, GOLDENS_BAD, "line %" PRIu64 ": out of memory", d->lineNo);
		return;
	}
	d->r->programs++;
	d->r->kinds[d->kind].programs++;
}

static void beginKind(reader *d) {
	endProgram(d);
	for (d->kind = 0; d->kind < nkinds; d->kind++) {
		if (strcmp(d->line + strlen("kind "), kinds[d->kind]->name) == 0) {
			return;
		}
	}
	bad(d, "no such kind");
}

static void header(reader *d) {
	static const char magic[] = "gomem goldens 1 ";
	const char *const seed = strstr(d->line, " seed ");
	goldensNumbers n;
	if (strncmp(d->line, magic, sizeof magic - 1) != 0 || seed == NULL || !exactly(seed + strlen(" seed"), 1, &n)) {
		bad(d, "not the first line of goldens");
		return;
	}
	const int len = (int)(seed - d->line - (long)(sizeof magic - 1));
	snprintf(d->r->go, sizeof d->r->go, "%.*s", len < 0 ? 0 : len, d->line + sizeof magic - 1);
	d->r->seed = n.v[0];
}

// end: the last line.
static void end(reader *d, FILE *in) {
	goldensNumbers n;
	if (!exactly(d->line + strlen("end"), 2, &n)) {
		bad(d, "not a last line");
		return;
	}
	if (n.v[0] != d->r->programs || n.v[1] != d->r->cases) {
		stop(d, GOLDENS_BAD,
			"line %" PRIu64 ": %" PRIu64 " programs and %" PRIu64 " cases, but %" PRIu64 " and %" PRIu64
			" were promised",
			d->lineNo, d->r->programs, d->r->cases, n.v[0], n.v[1]);
		return;
	}
	if (fgetc(in) != EOF) {
		bad(d, "something follows the last line");
	}
}

static bool nextLine(reader *d, FILE *in) {
	const ssize_t n = getline(&d->line, &d->cap, in);
	d->lineNo++;
	if (n <= 0 || d->line[n - 1] != '\n') {
		stop(d, GOLDENS_BAD, "line %" PRIu64 ": truncated: the stream ends without a last line", d->lineNo);
		return false;
	}
	d->line[n - 1] = 0;
	return true;
}

static bool startsWith(const char *s, const char *with) { return strncmp(s, with, strlen(with)) == 0; }

void goldens_run(FILE *in, goldensResult *r, void (*tell)(const goldensResult *r)) {
	*r = (goldensResult){.nkinds = nkinds};
	for (unsigned i = 0; i < nkinds; i++) {
		r->kinds[i].kind = kinds[i]->name;
	}
	reader *const d = calloc(1, sizeof *d);
	if (d == NULL) {
		r->status = GOLDENS_BAD;
		return;
	}
	d->r = r;
	d->kind = nkinds;
	bool done = false;
	if (nextLine(d, in)) {
		header(d);
	}
	while (r->status == GOLDENS_EQUAL && !done && nextLine(d, in)) {
		if (startsWith(d->line, "program ")) {
			if (tell != NULL) {
				tell(r);
			}
			beginProgram(d);
		} else if (startsWith(d->line, "kind ")) {
			beginKind(d);
		} else if (startsWith(d->line, "end ")) {
			end(d, in);
			done = true;
		} else {
			operation(d);
		}
	}
	endProgram(d);
	free(d->line);
	free(d);
}
