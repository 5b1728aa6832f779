// census.h: one bookkeeping of a heap over time, fed by recordings and by traces of stock Go alike (census_read.c).
//
// What is counted is what the allocator knows: a slot is taken from its allocation until a sweep finds it dead. Time is an axis of the
// feeder's choice (number of the event, or nanoseconds). A file is read twice: the first census finds the end, the addresses and the
// peak; the second, made with a plan, also takes samples, draws the heap map and keeps the state at the peak.
//
// Invariants, which census_check tests (k: any span class, g: any group, all sums over spans that are there):
//   span_bytes[k] == slot_bytes[k] + tail[k],       slot_bytes[k] == slots[k] * size of k          (small classes)
//   used[k] == taken[k] - freed[k],                 used_bytes[k] == taken_bytes[k] - freed_bytes[k]
//   used[k] <= slots[k],                            spans[k] == partly[k] + full[k] + empty spans
//   used[k] == sum of used[g] for g of k            taken, and bytes, alike
//   sum of lives.objects == sum of freed[k]         (a slot dies once, in some number of cycles)
//   pages of all spans + pages of free runs == pages of all extents
//   sum of retained slots over groups == free slots of spans that hold an object
#ifndef GOMEM_TRACES_CENSUS_H
#define GOMEM_TRACES_CENSUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	CENSUS_PAGE = 8192,
	CENSUS_HEAP = 136,          // span classes of the heap: size class << 1 | noscan; size class 0: large
	CENSUS_STACK = CENSUS_HEAP, // then the spans that hold no objects
	CENSUS_WORK,
	CENSUS_MANUAL, // one of the two: a trace does not say which
	CENSUS_KINDS,
	CENSUS_LIVES = 10,  // cycles until found dead: 1, 2, 3, 4, 5-8, 9-16, 17-32, 33-64, 65-128, more
	CENSUS_FILLS = 12,  // spans by slots taken: none, up to 10 %, 20 %, ..., below 100 %, all
	CENSUS_RUNS = 12,   // free runs of pages: 1, 2-3, 4-7, ..., 2048 and more
	CENSUS_ORDERS = 40, // stacks by log2 of their bytes
	CENSUS_MAP_FULL = 250,
};

// One span class.
typedef struct census_class {
	uint64_t spans, span_bytes, slots, slot_bytes, tail;
	uint64_t used, used_bytes, waste;         // waste: bytes of taken slots that were not asked for
	uint64_t partly, full;                    // spans with some, and with all slots taken
	uint64_t made;                            // spans, ever
	uint64_t taken, taken_bytes, taken_waste; // slots, ever
	uint64_t freed, freed_bytes;
} census_class;

// The objects of one type in one span class. Type 0: not known.
typedef struct census_group {
	uint32_t type;
	uint16_t class;
	uint64_t used, used_bytes, taken, taken_bytes;
} census_group;

typedef struct census_life {
	uint64_t objects, bytes;
} census_life;

typedef struct census_stacks {
	uint64_t count, taken; // now, and ever
} census_stacks;

// Free pages between spans. An extent is a range of addresses without a gap of 64 MiB in which spans were seen so far.
typedef struct census_pages {
	uint64_t extent_pages, span_pages, free_pages, largest;
	uint64_t runs[CENSUS_RUNS], run_pages[CENSUS_RUNS];
} census_pages;

// The state at one moment.
typedef struct census_state {
	uint64_t at, step, cycles;
	census_class classes[CENSUS_KINDS];
	uint32_t fills[CENSUS_HEAP][CENSUS_FILLS];
	uint32_t lonely[CENSUS_HEAP]; // spans of 8 slots or more that hold one object
	census_pages pages;
	census_stacks stacks[CENSUS_ORDERS];
	uint64_t ngroups;
	census_group *groups; // by number
	double *retained;     // by number of the group: its share of the free slots of the spans that it is in
	uint64_t retained_slots;
} census_state;

// One sample, for charts.
typedef struct census_sample {
	uint64_t at;
	uint64_t span_bytes, used_bytes, waste, used, manual_bytes, stack_bytes, stacks;
	uint64_t taken, taken_bytes, freed_bytes, cycles, extent_bytes;
	uint64_t large_bytes[2]; // spans of large objects: with and without pointers
	uint32_t spans[CENSUS_HEAP], slots[CENSUS_HEAP];
} census_sample;

typedef struct census_cycle {
	uint64_t begin, end;            // marking; end 0: it did not end
	uint64_t at_begin, least, most; // bytes in slots: as it began, and the least and most before the next began
} census_cycle;

typedef struct census_extent {
	uint64_t first, npages; // page numbers: address / CENSUS_PAGE
	uint64_t offset;        // pages of the extents before it
} census_extent;

// What the first census finds for the second.
typedef struct census_plan {
	uint64_t end, peak_step;
	unsigned columns, rows;
	uint64_t row_pages;
	census_extent *extents;
	size_t nextents;
} census_plan;

// What did not fit. All zero for a recording; a trace has late events.
typedef struct census_odd {
	uint64_t stray;    // a slot where no span is
	uint64_t twice;    // taken, but was already (not tiny)
	uint64_t unknown;  // freed, but was not taken
	uint64_t overlaps; // a span where one was
	uint64_t stacks;   // a stack freed that was not known
	uint64_t counts;   // sweeps that say another number of objects
} census_odd;

typedef struct census_span census_span;
typedef struct census_chunk census_chunk;
typedef struct census_stack census_stack;
typedef struct census_key census_key;

typedef struct census {
	const census_plan *plan; // NULL: the first
	uint64_t at, step, cycles;
	census_class classes[CENSUS_KINDS];
	uint32_t slots_per_span[CENSUS_HEAP]; // of the last span; the same for all of a small class
	census_life lives[CENSUS_LIVES];
	census_stacks stacks[CENSUS_ORDERS];
	uint64_t stack_bytes, tiny, tiny_bytes; // tiny: objects that were put into a block that was there
	uint64_t waste_known;                   // slots taken with a size
	uint64_t span_bytes, used_bytes, used;  // of the heap's classes
	uint64_t peak_bytes, peak_used, peak_step, peak_at, most_used, most_used_at;
	uint64_t manual_bytes, most_manual, most_manual_at; // of spans that hold no objects
	census_odd odd;
	bool failed; // out of memory: nothing is right any more

	census_group **groups;
	uint32_t ngroups;
	size_t capgroups;
	census_cycle *gc;
	size_t ngc, capgc;
	census_sample *samples;
	unsigned nsamples;
	// Cells of the map by row, then column; bytes of the row in heap spans, in taken slots, in other spans: 0..CENSUS_MAP_FULL of all.
	uint8_t *map_spans, *map_used, *map_manual;
	census_state peak, end;

	census_key *keys;
	uint32_t by_class[CENSUS_HEAP]; // groups of type 0
	census_chunk *chunks, *last;
	census_stack *stack_at;
	uint64_t *row_sums;
} census;

// census_new: plan NULL for the first reading, else it stays the caller's until census_free. NULL: out of memory.
census *census_new(const census_plan *plan);
void census_free(census *c);

// census_at: what follows happens at this place of the axis, which never goes back. Call it before each event.
void census_at(census *c, uint64_t at);
// A span appears. nelems: 0 for kinds that hold no objects.
void census_span_begins(census *c, uint64_t base, uint64_t npages, unsigned class, unsigned nelems);
// It goes; objects that are left in it die.
void census_span_ends(census *c, uint64_t base);
// A slot is taken: addr anywhere in it. size: bytes asked for, 0 if that is not known. type: 0 if that is not known.
void census_take(census *c, uint64_t addr, uint64_t size, uint32_t type);
// A tiny object is put into a block that is there.
void census_take_tiny(census *c, uint64_t addr, uint64_t size);
void census_die(census *c, uint64_t addr);
// An object is given back by freegc, and its slot taken again before a sweep.
void census_give_back(census *c, uint64_t addr);
void census_take_again(census *c, uint64_t addr, uint64_t size);
// A span is swept: slots without a mark die. marks NULL: all live, or none.
void census_sweep(census *c, uint64_t base, const uint64_t *marks, unsigned nmarks, bool all);
// census_used: slots taken of the span at base, and those given back since it was swept; ~0: there is none.
uint64_t census_used(census *c, uint64_t base);
// census_slot: number of the slot at addr; ~0: there is none.
uint64_t census_slot(census *c, uint64_t addr, unsigned *class);
void census_stack_begins(census *c, uint64_t addr, uint64_t bytes);
void census_stack_ends(census *c, uint64_t addr);
void census_gc_begins(census *c);
void census_gc_ends(census *c);
// census_finish: the end of the file, at this place of the axis.
void census_finish(census *c, uint64_t at);

// census_plan_from makes the plan of a second reading; release it with census_plan_free. false: out of memory.
bool census_plan_from(const census *first, unsigned columns, unsigned rows, census_plan *plan);
void census_plan_free(census_plan *plan);

// census_check tests the invariants. NULL: all hold, else which one does not.
const char *census_check(census *c);

// census_sum adds up classes: those of the heap, or the others.
census_class census_sum(const census_class *classes, bool heap);
// Bytes of a slot of a class; 0 for large objects and for what is no heap span.
uint64_t census_class_size(unsigned class);
// The slots that a span has. greentea: spans of 16 to 512 byte objects end with 128 bytes of mark bits.
unsigned census_class_slots(unsigned class, uint64_t npages, bool greentea);
// census_past_marks: an object at this offset in a span of a class lies where Green Tea has mark bits, so that the program did without it.
bool census_past_marks(unsigned class, uint64_t offset);
const char *census_life_name(unsigned i);
const char *census_run_name(unsigned i);

#endif
