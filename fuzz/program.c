// program.c: programs of operations as bytes, and back.
//
// Invariants: decode(encode(p)) == p; decode accepts any bytes; an argument is at most its max.
#include "fuzz/fuzz.h"

#include <string.h>

static uint64_t widthMask(const fuzz_arg *arg) {
	return arg->bytes >= 8 ? UINT64_MAX : ((uint64_t)1 << arg->bytes * 8) - 1;
}

static uint64_t reduce(const fuzz_arg *arg, uint64_t v) {
	v &= widthMask(arg);
	return arg->max == 0 || arg->max == UINT64_MAX ? v : v % (arg->max + 1);
}

static size_t argsBytes(const fuzz_arg *args) {
	size_t n = 0;
	for (unsigned i = 0; i < FUZZ_MAX_ARGS && args[i].name != NULL; i++) {
		n += args[i].bytes;
	}
	return n;
}

// readArgs reads arguments from data, of which n bytes are there; what is missing reads as 0. Returns the bytes read.
static size_t readArgs(const fuzz_arg *args, const uint8_t *data, size_t n, uint64_t *a) {
	size_t at = 0;
	for (unsigned i = 0; i < FUZZ_MAX_ARGS && args[i].name != NULL; i++) {
		uint64_t v = 0;
		for (unsigned b = 0; b < args[i].bytes; b++, at++) {
			v |= at < n ? (uint64_t)data[at] << b * 8 : 0;
		}
		a[i] = reduce(&args[i], v);
	}
	return at < n ? at : n;
}

static size_t writeArgs(const fuzz_arg *args, const uint64_t *a, uint8_t *data) {
	size_t at = 0;
	for (unsigned i = 0; i < FUZZ_MAX_ARGS && args[i].name != NULL; i++) {
		const uint64_t v = reduce(&args[i], a[i]);
		for (unsigned b = 0; b < args[i].bytes; b++) {
			data[at++] = (uint8_t)(v >> b * 8);
		}
	}
	return at;
}

void fuzz_decode(const fuzz_target *t, const uint8_t *data, size_t n, fuzz_program *p) {
	memset(p->config, 0, sizeof p->config);
	p->n = 0;
	size_t at = readArgs(t->config, data, n, p->config);
	while (at < n && p->n < fuzz_max_ops(t)) {
		fuzz_op op = {.kind = data[at++] % t->nops};
		const fuzz_arg *args = t->ops[op.kind].args;
		if (n - at < argsBytes(args)) {
			return;
		}
		at += readArgs(args, data + at, n - at, op.a);
		p->ops[p->n++] = op;
	}
}

size_t fuzz_encode(const fuzz_target *t, const fuzz_program *p, uint8_t *data, size_t max) {
	if (argsBytes(t->config) > max) {
		return 0;
	}
	size_t at = writeArgs(t->config, p->config, data);
	for (unsigned i = 0; i < p->n && i < fuzz_max_ops(t); i++) {
		const fuzz_arg *args = t->ops[p->ops[i].kind].args;
		if (max - at < 1 + argsBytes(args)) {
			break;
		}
		data[at++] = (uint8_t)p->ops[i].kind;
		at += writeArgs(args, p->ops[i].a, data + at);
	}
	return at;
}

// ---- printing

static void printArgs(const fuzz_arg *args, const uint64_t *a, FILE *out) {
	for (unsigned i = 0; i < FUZZ_MAX_ARGS && args[i].name != NULL; i++) {
		fprintf(out, a[i] < 1 << 20 ? " %s=%llu" : " %s=%#llx", args[i].name, (unsigned long long)a[i]);
	}
	fputc('\n', out);
}

void fuzz_print_text(const fuzz_target *t, const fuzz_program *p, FILE *out) {
	fputs("config", out);
	printArgs(t->config, p->config, out);
	for (unsigned i = 0; i < p->n; i++) {
		fputs(t->ops[p->ops[i].kind].name, out);
		printArgs(t->ops[p->ops[i].kind].args, p->ops[i].a, out);
	}
}

// printValues prints the arguments as an initializer, without zeros at its end.
static void printValues(const fuzz_arg *args, const uint64_t *a, FILE *out) {
	unsigned n = 0;
	for (unsigned i = 0; i < FUZZ_MAX_ARGS && args[i].name != NULL; i++) {
		n = a[i] != 0 ? i + 1 : n;
	}
	fputc('{', out);
	for (unsigned i = 0; i < n || i == 0; i++) {
		fprintf(out, i > 0 ? ", " : "");
		fprintf(out, a[i] < 1 << 20 ? "%llu" : "%#llx", (unsigned long long)a[i]);
	}
	fputc('}', out);
}

void fuzz_print_c(const fuzz_target *t, const fuzz_program *p, FILE *out) {
	fprintf(out, "\tfuzz_play(&fuzz_target_%s, (const uint64_t[FUZZ_MAX_ARGS])", t->name);
	printValues(t->config, p->config, out);
	fputs(",\n\t\t(const fuzz_step[]){\n", out);
	for (unsigned i = 0; i < p->n; i++) {
		fprintf(out, "\t\t\t{\"%s\", ", t->ops[p->ops[i].kind].name);
		printValues(t->ops[p->ops[i].kind].args, p->ops[i].a, out);
		fputs("},\n", out);
	}
	fputs("\t\t\t{0},\n\t\t});\n", out);
}

// ---- reading text

static const fuzz_op_info *findOp(const fuzz_target *t, const char *name, size_t len, unsigned *kind) {
	for (unsigned i = 0; i < t->nops; i++) {
		if (strlen(t->ops[i].name) == len && memcmp(t->ops[i].name, name, len) == 0) {
			*kind = i;
			return &t->ops[i];
		}
	}
	return NULL;
}

static const char *skipBlanks(const char *s) { return s + strspn(s, " \t\r"); }

static unsigned long long readNumber(const char *s, char **end) {
	int base = s[0] == '0' && (s[1] == 'x' || s[1] == 'X') ? 16 : 10;
	s += base == 16 ? 2 : 0;
	unsigned long long v = 0;
	for (;; s++) {
		unsigned digit = *s >= '0' && *s <= '9' ? (unsigned)(*s - '0')
			: *s >= 'a' && *s <= 'f'            ? (unsigned)(*s - 'a') + 10
			: *s >= 'A' && *s <= 'F'            ? (unsigned)(*s - 'A') + 10
												: 99;
		if (digit >= (unsigned)base) {
			break;
		}
		v = v * (unsigned)base + digit;
	}
	*end = (char *)(uintptr_t)s;
	return v;
}

// parseArgs reads " name=value" or " value" up to the end of the line. NULL: good, else the reason.
static const char *parseArgs(const fuzz_arg *args, const char **s, uint64_t *a) {
	for (unsigned i = 0;; i++) {
		*s = skipBlanks(*s);
		if (**s == 0 || **s == '\n' || **s == '#') {
			return NULL;
		}
		if (i == FUZZ_MAX_ARGS || args[i].name == NULL) {
			return "more arguments than the operation has";
		}
		const size_t len = strlen(args[i].name);
		if (strncmp(*s, args[i].name, len) == 0 && (*s)[len] == '=') {
			*s += len + 1;
		}
		char *end;
		const uint64_t v = readNumber(*s, &end);
		if (end == *s) {
			return "not a number, or not the argument that stands at this place";
		}
		if (reduce(&args[i], v) != v) {
			return "a number that is larger than the argument may be";
		}
		a[i] = v;
		*s = end;
	}
}

static const char *parseLine(const fuzz_target *t, const char **s, fuzz_program *p) {
	*s = skipBlanks(*s);
	const size_t len = strcspn(*s, " \t\r\n#");
	if (len == 0) {
		return NULL;
	}
	const char *name = *s;
	*s += len;
	if (len == 6 && memcmp(name, "config", 6) == 0) {
		return parseArgs(t->config, s, p->config);
	}
	if (p->n == fuzz_max_ops(t)) {
		return "too many operations";
	}
	fuzz_op op = {0};
	const fuzz_op_info *info = findOp(t, name, len, &op.kind);
	if (info == NULL) {
		return "no such operation";
	}
	const char *bad = parseArgs(info->args, s, op.a);
	p->ops[p->n++] = op;
	return bad;
}

bool fuzz_parse(const fuzz_target *t, const char *text, fuzz_program *p, char err[256]) {
	memset(p->config, 0, sizeof p->config);
	p->n = 0;
	for (unsigned line = 1; *text != 0; line++) {
		const char *bad = parseLine(t, &text, p);
		if (bad != NULL) {
			snprintf(err, 256, "line %u: %s", line, bad);
			return false;
		}
		text += strcspn(text, "\n");
		text += *text == '\n';
	}
	return true;
}
