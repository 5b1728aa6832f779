// whatif_plot.c: see whatif.h: a plot with lines and a scale of bytes from 0, as an SVG file.
//
// Invariants: each line of the scale is a whole number of KiB, MiB or GiB; nothing is drawn above it
#include <stdio.h>
#include <string.h>

#include "traces/output.h"
#include "traces/show.h"
#include "traces/whatif.h"

enum { WIDTH = 800, HEIGHT = 400, LEFT = 90, RIGHT = 30, TOP = 40, BOTTOM = 70, TICKS = 6, MAX_NAMES = 24, LETTER = 7 };

static void put_text(FILE *f, const char *s) {
	for (; *s != 0; s++) {
		switch (*s) {
		case '<':
			(void)fputs("&lt;", f);
			break;
		case '&':
			(void)fputs("&amp;", f);
			break;
		default:
			(void)fputc(*s, f);
		}
	}
}

static void put_label(FILE *f, double x, double y, const char *anchor, const char *s) {
	(void)fprintf(f, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", x, y, anchor);
	put_text(f, s);
	(void)fputs("</text>\n", f);
}

// bytes of 0 to maxY, with a line every stepY.
typedef struct scale {
	double maxX, maxY, stepY;
	unsigned lines; // maxY == lines * stepY
} scale;

static double at_x(const scale *s, double x) { return (double)LEFT + x / s->maxX * (WIDTH - LEFT - RIGHT); }
static double at_y(const scale *s, double y) { return HEIGHT - BOTTOM - y / s->maxY * (HEIGHT - TOP - BOTTOM); }

static scale scale_of(const whatif_plot *p) {
	scale s = {.maxX = 1, .maxY = 1};
	for (unsigned k = 0; k < p->nlines; k++) {
		for (unsigned i = 0; i < p->lines[k].n; i++) {
			s.maxX = p->lines[k].x[i] > s.maxX ? p->lines[k].x[i] : s.maxX;
			s.maxY = p->lines[k].y[i] > s.maxY ? p->lines[k].y[i] : s.maxY;
		}
	}
	for (s.stepY = 1024; s.maxY / s.stepY > (double)TICKS;) {
		s.stepY *= 2;
	}
	s.lines = (unsigned)(s.maxY / s.stepY) + 1;
	s.maxY = s.lines * s.stepY;
	return s;
}

static const char *bytes_text(double v, double step, char text[64]) {
	static const char *const units[] = {"KiB", "MiB", "GiB"};
	const unsigned unit = step >= 1 << 30 ? 2 : step >= 1 << 20 ? 1 : 0;
	(void)snprintf(text, 64, v > 0 ? "%.0f %s" : "0", v / (double)((uint64_t)1024 << 10 * unit), units[unit]);
	return text;
}

static void put_bytes(FILE *f, const scale *s) {
	char text[64];
	for (unsigned i = 0; i <= s->lines; i++) {
		const double v = i * s->stepY;
		(void)fprintf(f, "<line x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\" stroke=\"#ddd\"/>\n", LEFT, at_y(s, v),
			WIDTH - RIGHT, at_y(s, v));
		put_label(f, LEFT - 6, at_y(s, v) + 4, "end", bytes_text(v, s->stepY, text));
	}
}

static const char *anchor_of(unsigned i, unsigned n) { return i == 0 ? "start" : i + 1 == n ? "end" : "middle"; }

// put_names writes the values of a sweep below their points; in two lines, if they would touch; not all, if they are many.
static void put_names(FILE *f, const whatif_plot *p, const scale *s) {
	const unsigned n = p->lines[0].n, every = (n + MAX_NAMES - 1) / MAX_NAMES;
	size_t letters = 0;
	for (unsigned i = 0; i < n; i += every) {
		letters += strlen(p->names[i]) + 2;
	}
	const bool close = letters * LETTER > WIDTH - LEFT - RIGHT;
	for (unsigned i = 0; i < n; i += every) {
		const unsigned below = close ? i / every % 2 * 14 : 0;
		put_label(f, at_x(s, p->lines[0].x[i]), HEIGHT - BOTTOM + 18 + below, anchor_of(i, n), p->names[i]);
	}
}

// put_numbers writes round numbers below the axis.
static void put_numbers(FILE *f, const scale *s) {
	double step = 1;
	while (s->maxX / step > 10) {
		step *= 10;
	}
	step = s->maxX / step < 2 ? step / 5 : s->maxX / step < 5 ? step / 2 : step;
	for (unsigned i = 0; i * step <= s->maxX; i++) {
		const double v = i * step;
		char n[32];
		put_label(f, at_x(s, v), HEIGHT - BOTTOM + 18, "middle", show_count((uint64_t)v, n));
	}
}

static void put_axes(FILE *f, const whatif_plot *p, const scale *s) {
	put_bytes(f, s);
	if (p->names[0] != NULL) {
		put_names(f, p, s);
	} else {
		put_numbers(f, s);
	}
	put_label(f, (double)WIDTH / 2, HEIGHT - 12, "middle", p->x);
	put_label(f, LEFT, 20, "start", p->title);
}

// colour_of: a line of the largest requests has the lighter colour of its twin, the one of the smallest. Twins lie half of the lines apart.
static const char *colour_of(const whatif_plot *p, unsigned k) {
	static const char *const colours[2][3] = {{"#1f6fb4", "#d2691e", "#2e8b57"}, {"#7fb2dd", "#f0b07f", "#8fc9a8"}};
	const unsigned half = p->nlines <= 3 ? p->nlines : p->nlines / 2;
	return colours[k / half][k % half];
}

static void put_line(FILE *f, const whatif_plot *p, const scale *s, unsigned k) {
	const whatif_line *l = &p->lines[k];
	(void)fprintf(f,
		"<g fill=\"%s\" stroke=\"none\"><polyline fill=\"none\" stroke=\"%s\" stroke-width=\"1.5\" points=\"",
		colour_of(p, k), colour_of(p, k));
	for (unsigned i = 0; i < l->n; i++) {
		(void)fprintf(f, "%.1f,%.1f ", at_x(s, l->x[i]), at_y(s, l->y[i]));
	}
	(void)fputs("\"/>\n", f);
	for (unsigned i = 0; p->names[0] != NULL && i < l->n; i++) {
		(void)fprintf(f, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"2.5\"/>\n", at_x(s, l->x[i]), at_y(s, l->y[i]));
	}
	const unsigned apart = p->nlines <= 3 ? 160 : 100;
	put_label(f, LEFT + apart * (k + 1), 20, "start", l->name);
	(void)fputs("</g>\n", f);
}

const char *whatif_draw(const whatif_plot *p, const char *path, char why[WHATIF_WHY]) {
	output out;
	gmt_error err;
	if (!output_open(&out, path, NULL, &err)) {
		snprintf(why, WHATIF_WHY, "--plot: %.480s", err.text);
		return why;
	}
	FILE *f = out.f;
	const scale s = scale_of(p);
	(void)fprintf(f,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" font-family=\"sans-serif\" font-size=\"12\">\n"
		"<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
		WIDTH, HEIGHT);
	put_axes(f, p, &s);
	for (unsigned k = 0; k < p->nlines; k++) {
		put_line(f, p, &s, k);
	}
	(void)fputs("</svg>\n", f);
	if (!output_close(&out, true, &err)) {
		snprintf(why, WHATIF_WHY, "--plot: %.480s", err.text);
		return why;
	}
	return NULL;
}
