// sizes.h: the size classes, derived by rule and not from a table.
//
// The rule, in words: sizes are tried from 8 bytes up, in steps that keep the waste by rounding up below 1/8; a span has the fewest
// pages that leave at most 1/8 of it unused behind its last object; of two sizes with as many objects in equal spans the larger stands for
// both; each class then grows as far as its span allows, in steps of 128 bytes.
#ifndef GOMEM_ORACLE_SIZES_H
#define GOMEM_ORACLE_SIZES_H

#include <stdbool.h>
#include <stdint.h>

enum { ORACLE_MAX_CLASSES = 256 };

typedef struct oracle_size_class {
	uint64_t size;   // bytes of a slot
	uint64_t npages; // pages of a span
} oracle_size_class;

typedef struct oracle_sizes {
	uint64_t page_size, max_small;
	uint64_t word; // bytes of a pointer
	unsigned n;    // classes 1 to n - 1; class 0 stands for large objects
	oracle_size_class classes[ORACLE_MAX_CLASSES];
} oracle_sizes;

// oracle_sizes_make derives the classes for sizes up to max_small (Go: page_size 8192, max_small 32768); the word is of 64 bits.
void oracle_sizes_make(oracle_sizes *s, uint64_t page_size, uint64_t max_small);
// oracle_sizes_class gives the smallest class whose slots hold size bytes (1 to max_small).
unsigned oracle_sizes_class(const oracle_sizes *s, uint64_t size);
// oracle_sizes_slots gives how many objects a span of the class holds: Green Tea keeps 128 bytes of marks in spans of 16 to 512 byte
// objects, and spans of objects with pointers of up to 512 bytes keep one bit for each word of the span. With 32-bit words: 128 bytes.
uint64_t oracle_sizes_slots(const oracle_sizes *s, unsigned class, bool noscan, bool green_tea);

#endif
