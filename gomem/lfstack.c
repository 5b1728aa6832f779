// lfstack.c (layer 2): the lock-free stack. Ports lfstack.go, tagptr_64bit.go and tagptr_32bit.go.
//
// Invariants: as in lfstack.h; taggedPointerPack(p, t) == t' with pointer(t') == p and tag(t') == t.
#include "gomem/lfstack.h"

static const uint64_t tagMask = ((uint64_t)1 << tagBits) - 1;

uint64_t taggedPointerPack(gomem_env *env, const void *ptr, uintptr_t tag) {
	uint64_t t = (uint64_t)(uintptr_t)ptr << (tagBits - tagLeftOutBits) | (tag & tagMask);
	if (taggedPointer_pointer(t) != ptr || taggedPointer_tag(t) != tag) {
		gomem_throw(env, "taggedPointerPack");
	}
	return t;
}

// The shift keeps the sign: an address may stand above the hole in the address space.
void *taggedPointer_pointer(uint64_t tp) {
	return (void *)(uintptr_t)((uint64_t)((int64_t)tp >> tagBits) << tagLeftOutBits);
}

uintptr_t taggedPointer_tag(uint64_t tp) { return (uintptr_t)(tp & tagMask); }

void lfstack_push(gomem_env *env, lfstack *head, lfnode *node) {
	node->pushcnt++;
	uint64_t packed = taggedPointerPack(env, node, node->pushcnt & tagMask);
	uint64_t old = atomic_load_explicit(head, memory_order_relaxed);
	do {
		atomic_store_explicit(&node->next, old, memory_order_relaxed);
	} while (!atomic_compare_exchange_weak_explicit(head, &old, packed, memory_order_release, memory_order_relaxed));
}

lfnode *lfstack_pop(lfstack *head) {
	uint64_t old = atomic_load_explicit(head, memory_order_acquire);
	while (old != 0) {
		lfnode *node = taggedPointer_pointer(old);
		uint64_t next = atomic_load_explicit(&node->next, memory_order_relaxed);
		if (atomic_compare_exchange_weak_explicit(head, &old, next, memory_order_acquire, memory_order_acquire)) {
			return node;
		}
	}
	return NULL;
}

bool lfstack_empty(const lfstack *head) {
	return atomic_load_explicit((lfstack *)(uintptr_t)head, memory_order_relaxed) == 0;
}
