// classes.h (layer 0): the size classes of a layout.
//
// A build with a constant layout has Go's tables (sizeclasses.h) folded in. A build with a layout given at run time takes the layout's own, if it
// has some. Only what computes or checks tables names those of sizeclasses.h; an allocator asks here.
//
// Invariants: layout_numSizeClasses(L) <= maxSizeClasses; a class c is 1 <= c < layout_numSizeClasses(L), and class 0 stands for large objects.
#ifndef GOMEM_CLASSES_H
#define GOMEM_CLASSES_H

#include "gomem/layout.h"
#include "gomem/sizeclasses.h"

#ifdef GOMEM_RUNTIME_LAYOUT
static inline const gomem_size_classes *layout_ownClasses(const gomem_layout *L) { return L->classes; }
#else
static inline const gomem_size_classes *layout_ownClasses(const gomem_layout *L) {
	(void)L;
	return NULL;
}
#endif

static inline unsigned layout_numSizeClasses(const gomem_layout *L) {
	const gomem_size_classes *own = layout_ownClasses(L);
	return own != NULL ? own->n : (unsigned)numSizeClasses;
}
static inline uint16_t layout_classSize(const gomem_layout *L, unsigned c) {
	const gomem_size_classes *own = layout_ownClasses(L);
	return own != NULL ? own->size[c] : class_to_size[c];
}
static inline uint8_t layout_classPages(const gomem_layout *L, unsigned c) {
	const gomem_size_classes *own = layout_ownClasses(L);
	return own != NULL ? own->npages[c] : class_to_allocnpages[c];
}
static inline uint32_t layout_classDivMagic(const gomem_layout *L, unsigned c) {
	const gomem_size_classes *own = layout_ownClasses(L);
	return own != NULL ? own->divmagic[c] : class_to_divmagic[c];
}
// Lookups by the index of a step.
static inline uint8_t layout_lookupSmall(const gomem_layout *L, uint64_t i) {
	const gomem_size_classes *own = layout_ownClasses(L);
	return own != NULL ? own->lookup8[i] : size_to_class8[i];
}
static inline uint8_t layout_lookupLarge(const gomem_layout *L, uint64_t i) {
	const gomem_size_classes *own = layout_ownClasses(L);
	return own != NULL ? own->lookup128[i] : size_to_class128[i];
}

#endif
