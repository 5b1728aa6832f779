// predict_count.c: what was predicted right.
//
// A slot in `late` is allocated in the port's heap, or was since freed, and its object was not told yet.
#include "traces/predict_state.h"

#include <stdlib.h>

predict_mismatch pr_describe(const predictor *pr, predict_kind kind, uint64_t predicted, const char *why) {
	return (predict_mismatch){.kind = kind,
		.event = pr->out->events,
		.offset = pr->e->offset,
		.p = pr->e->p,
		.class = pr->e->class,
		.predicted = predicted,
		.actual = pr->e->addr,
		.why = why};
}

static void listMismatch(predictor *pr, const predict_mismatch *m) {
	predict_result *r = pr->out;
	if (r->listed == pr->opt->mismatches) {
		return;
	}
	if (r->list == NULL) {
		r->list = calloc(pr->opt->mismatches, sizeof(*r->list));
	}
	if (r->list != NULL) {
		r->list[r->listed++] = *m;
	}
}

void pr_countEqual(predictor *pr, predict_kind kind) {
	pr->out->kinds[kind].all++;
	pr->out->kinds[kind].equal++;
}

void pr_countLate(predictor *pr, predict_kind kind) {
	pr->out->kinds[kind].all++;
	pr->out->kinds[kind].late++;
}

void pr_countAdopted(predictor *pr, predict_kind kind) {
	pr->out->kinds[kind].all++;
	pr->out->kinds[kind].adopted++;
}

void pr_countMismatch(predictor *pr, predict_kind kind, uint64_t predicted, const char *why) {
	const predict_mismatch m = pr_describe(pr, kind, predicted, why);
	pr_countDescribed(pr, &m);
}

void pr_countDescribed(predictor *pr, const predict_mismatch *m) {
	pr->out->kinds[m->kind].all++;
	pr->out->kinds[m->kind].mismatch++;
	listMismatch(pr, m);
}

static late_slot *lateFind(predictor *pr, uint64_t addr) {
	late_slot *l = NULL;
	if (pr->late != NULL) {
		HASH_FIND(hh, pr->late, &addr, sizeof(addr), l);
	}
	return l;
}

void pr_lateAdd(predictor *pr, uint64_t addr, predict_kind kind, bool counted, const char *why) {
	if (lateFind(pr, addr) != NULL) {
		return;
	}
	late_slot *l = calloc(1, sizeof(*l));
	if (l == NULL) {
		pr->noMemory = true;
		return;
	}
	l->addr = addr;
	l->by = pr_describe(pr, kind, addr, why);
	l->counted = counted;
	HASH_ADD(hh, pr->late, addr, sizeof(l->addr), l);
}

bool pr_lateTake(predictor *pr, uint64_t addr) {
	late_slot *l = lateFind(pr, addr);
	if (l == NULL) {
		return false;
	}
	HASH_DEL(pr->late, l);
	free(l);
	return true;
}

void pr_lateEnd(predictor *pr) {
	late_slot *l = pr->late;
	HASH_CLEAR(hh, pr->late); // the list of its elements stays
	uint64_t lastEvent = UINT64_MAX;
	while (l != NULL) {
		late_slot *const next = l->hh.next;
		predict_count *c = &pr->out->kinds[l->by.kind];
		if (l->counted && l->by.event != lastEvent && c->equal > 0) {
			c->equal--;
			c->mismatch++;
			listMismatch(pr, &l->by);
			lastEvent = l->by.event;
		}
		free(l);
		l = next;
	}
}
