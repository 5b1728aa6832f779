// whatif_plot.c: see whatif.h: a plot with lines and a scale of bytes from 0, as an SVG file.
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "traces/whatif.h"

enum { WIDTH = 800, HEIGHT = 400, LEFT = 90, RIGHT = 20, TOP = 40, BOTTOM = 70, TICKS = 5, MAX_NAMES = 24 };

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

typedef struct scale {
	double maxX, maxY;
} scale;

static double at_x(const scale *s, double x) { return (double)LEFT + x / s->maxX * (WIDTH - LEFT - RIGHT); }
static double at_y(const scale *s, double y) { return HEIGHT - BOTTOM - y / s->maxY * (HEIGHT - TOP - BOTTOM); }

static scale scale_of(const whatif_plot *p) {
	scale s = {1, 1};
	for (unsigned k = 0; k < p->nlines; k++) {
		for (unsigned i = 0; i < p->lines[k].n; i++) {
			s.maxX = p->lines[k].x[i] > s.maxX ? p->lines[k].x[i] : s.maxX;
			s.maxY = p->lines[k].y[i] > s.maxY ? p->lines[k].y[i] : s.maxY;
		}
	}
	s.maxY *= 1.05;
	return s;
}

static void put_axes(FILE *f, const whatif_plot *p, const scale *s) {
	char text[64];
	for (unsigned i = 0; i <= TICKS; i++) {
		const double v = s->maxY * i / (double)TICKS;
		(void)fprintf(f, "<line x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\" stroke=\"#ddd\"/>\n", LEFT, at_y(s, v),
			WIDTH - RIGHT, at_y(s, v));
		snprintf(text, sizeof(text), "%.1f MiB", v / (1 << 20));
		put_label(f, LEFT - 6, at_y(s, v) + 4, "end", text);
	}
	const unsigned n = p->lines[0].n;
	for (unsigned i = 0; p->names[0] != NULL && i < n && n <= MAX_NAMES; i++) {
		put_label(f, at_x(s, p->lines[0].x[i]), HEIGHT - BOTTOM + 18 + (i % 2) * 14,
			i == 0           ? "start"
				: i + 1 == n ? "end"
							 : "middle",
			p->names[i]);
	}
	put_label(f, (double)WIDTH / 2, HEIGHT - 12, "middle", p->x);
	put_label(f, LEFT, 20, "start", p->title);
}

static void put_line(FILE *f, const whatif_line *l, const scale *s, unsigned k, unsigned nlines) {
	static const char *const colours[WHATIF_LINES] = {"#1f6fb4", "#d2691e", "#2e8b57", "#7fb2dd", "#f0b07f", "#8fc9a8"};
	(void)fprintf(f, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"1.5\" points=\"", colours[k]);
	for (unsigned i = 0; i < l->n; i++) {
		(void)fprintf(f, "%.1f,%.1f ", at_x(s, l->x[i]), at_y(s, l->y[i]));
	}
	(void)fprintf(f, "\"/>\n<g fill=\"%s\">", colours[k]);
	const unsigned apart = nlines <= 3 ? 160 : 100;
	put_label(f, LEFT + apart * (k + 1), 20, "start", l->name);
	(void)fputs("</g>\n", f);
}

const char *whatif_draw(const whatif_plot *p, const char *path, char why[WHATIF_WHY]) {
	FILE *f = fopen(path, "w");
	if (f == NULL) {
		snprintf(why, WHATIF_WHY, "--plot %.300s: %s", path, strerror(errno));
		return why;
	}
	const scale s = scale_of(p);
	(void)fprintf(f,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" font-family=\"sans-serif\" font-size=\"12\">\n"
		"<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
		WIDTH, HEIGHT);
	put_axes(f, p, &s);
	for (unsigned k = 0; k < p->nlines; k++) {
		put_line(f, &p->lines[k], &s, k, p->nlines);
	}
	(void)fputs("</svg>\n", f);
	const bool bad = ferror(f) != 0;
	if (fclose(f) != 0 || bad) {
		snprintf(why, WHATIF_WHY, "--plot %.300s: cannot write", path);
		return why;
	}
	return NULL;
}
