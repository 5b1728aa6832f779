// graph.c: what a collection keeps.
//
// The rules, in words:
//   roots    what a root points into lives
//   reached  so does what a pointer word of something that lives points into; other words keep nothing, whatever they hold
//   into     any byte from the beginning of an object's slot to its end; of a large object, to the last byte that was asked for
//   nothing  stacks, pages of other use, free slots and what is not the heap's keep nothing and are not kept
//   brought  what a special record may bring back is not kept by that, but what it points to is
//   tiny     what shares a slot lives and dies together
// Found by asking each word again and again until nothing more comes to live.
#include "oracle/heap.h"

static bool *mark_of(const oracle *o, uint64_t addr) {
	const span *s = span_at(o, addr);
	return s == NULL || s->manual || addr >= s->limit ? NULL : &s->marked[(addr - s->base) / s->slot_size];
}

bool oracle_is_marked(const oracle *o, uint64_t addr) {
	const bool *mark = mark_of(o, addr);
	return mark != NULL && *mark;
}

bool oracle_is_allocated(const oracle *o, uint64_t addr) {
	const span *s = span_at(o, addr);
	return s != NULL && !s->manual && addr < s->limit && s->allocated[(addr - s->base) / s->slot_size];
}

static bool may_be_brought_back(const oracle *o, uint64_t addr) {
	const span *s = span_at(o, addr);
	return o->cfg.revive != NULL && s != NULL && s->special[(addr - s->base) / s->slot_size];
}

static bool comes_to_live(oracle *o, uint64_t addr) { return !oracle_is_marked(o, addr) && oracle_mark(o, addr); }

void oracle_reach(oracle *o, const uint64_t *roots, unsigned nroots, const oracle_word *words, unsigned nwords) {
	for (unsigned i = 0; i < nroots; i++) {
		oracle_mark(o, roots[i]);
	}
	for (bool more = true; more;) {
		more = false;
		for (unsigned i = 0; i < nwords; i++) {
			const oracle_word *w = &words[i];
			const bool counts = w->pointer && (oracle_is_marked(o, w->at) || may_be_brought_back(o, w->at));
			more = (counts && comes_to_live(o, w->value)) || more;
		}
	}
}

uint64_t oracle_marked_bytes(const oracle *o) {
	uint64_t bytes = 0;
	for (size_t i = 0; i < o->spans.n; i++) {
		const span *s = o->spans.v[i];
		for (uint64_t k = 0; !s->manual && k < s->slots; k++) {
			bytes += s->marked[k] ? s->slot_size : 0;
		}
	}
	return bytes;
}

void oracle_end_marking(oracle *o) { o->live = oracle_marked_bytes(o); }
