// show.c: see show.h.
#include "traces/show.h"

#include <inttypes.h>
#include <sys/resource.h>
#include <unistd.h>

static const double EVERY = 0.2; // seconds

const char *show_count(uint64_t n, char buf[32]) {
	char digits[24];
	int len = snprintf(digits, sizeof(digits), "%" PRIu64, n), out = 0;
	for (int i = 0; i < len; i++) {
		if (i > 0 && (len - i) % 3 == 0) {
			buf[out++] = ',';
		}
		buf[out++] = digits[i];
	}
	buf[out] = 0;
	return buf;
}

void show_text(FILE *out, const char *text, size_t n) {
	for (; *text != 0 && n > 0; text++, n--) {
		(void)fputc((unsigned char)*text < ' ' || *text == 127 ? '?' : *text, out);
	}
}

// utf8Bytes: how many bytes the character at s has; 0: it is none. The second byte's range excludes long forms, surrogates and what is above U+10FFFF.
static size_t utf8Bytes(const unsigned char *s) {
	const unsigned first = s[0];
	if (first < 0x80) {
		return 1;
	}
	if (first < 0xc2 || first > 0xf4) {
		return 0;
	}
	const unsigned least = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
	const unsigned most = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
	if (s[1] < least || s[1] > most) {
		return 0;
	}
	const size_t n = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
	for (size_t i = 2; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80) {
			return 0;
		}
	}
	return n;
}

char *show_json(const cJSON *o) {
	char *text = o == NULL ? NULL : cJSON_PrintUnformatted(o);
	for (char *at = text; at != NULL && *at != 0;) {
		const size_t n = utf8Bytes((const unsigned char *)at);
		if (n == 0) {
			*at = '?';
		}
		at += n == 0 ? 1 : n;
	}
	return text;
}

void show_object(cJSON *o) {
	char *text = show_json(o);
	puts(text != NULL ? text : "{}");
	cJSON_free(text);
	cJSON_Delete(o);
}

const char *show_salvaged(uint64_t events, const char *why, char buf[640]) {
	char n[32];
	(void)snprintf(buf, 640, "the first %s events, not what follows: %s", show_count(events, n), why);
	return buf;
}

void show_left(const char *command, uint64_t events, const char *why) {
	char left[640];
	(void)fprintf(stderr, "gomem %s: salvaged: %s\n", command, show_salvaged(events, why, left));
}

uint64_t show_peak_kib(void) {
	struct rusage ru;
	(void)getrusage(RUSAGE_SELF, &ru);
	return (uint64_t)ru.ru_maxrss;
}

static void show_done(void *progress, uint64_t done, uint64_t total) {
	show_progress *p = progress;
	struct timespec now;
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	double since = (double)(now.tv_sec - p->last.tv_sec) + (double)(now.tv_nsec - p->last.tv_nsec) / 1e9;
	if (since < EVERY) {
		return;
	}
	p->last = now;
	(void)fprintf(stderr, "\r%3d %%", total == 0 ? 100 : (int)(100.0 * (double)done / (double)total));
}

show_progress_call *show_progress_on(void) { return isatty(STDERR_FILENO) != 0 ? show_done : NULL; }

void show_progress_end(const show_progress *p) {
	if (p->last.tv_sec != 0) {
		(void)fprintf(stderr, "\r     \r");
	}
}
