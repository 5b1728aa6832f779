// lfstack.h (layer 2): a stack that many threads push to and pop from without a lock.
//
// Ports lfstack.go, tagptr.go, tagptr_64bit.go, tagptr_32bit.go.
//
// The head is a tagged pointer: the node's address and the low bits of how often the node was pushed, so that a pop
// that slept while its node came back (ABA) does not succeed. Nodes stand at multiples of tagAlign and are never given
// back to the OS while the stack lives.
// Invariants: head == 0 iff empty; node->next is the head that was there before the node was pushed.
#ifndef GOMEM_LFSTACK_H
#define GOMEM_LFSTACK_H

#include "gomem/platform.h"

// Go's layout; the first field of every node.
typedef struct lfnode {
	_Atomic(uint64_t) next;
	uintptr_t pushcnt;
} lfnode;

typedef _Atomic(uint64_t) lfstack;

// A pointer with a number of tagBits bits. taggedPointerPack throws if the pointer does not fit; tag bits that do not
// fit are dropped by lfstack itself.
uint64_t taggedPointerPack(gomem_env *env, const void *ptr, uintptr_t tag);
void *taggedPointer_pointer(uint64_t tp);
uintptr_t taggedPointer_tag(uint64_t tp);

void lfstack_push(gomem_env *env, lfstack *head, lfnode *node);
// lfstack_pop gives the node pushed last, or NULL.
lfnode *lfstack_pop(lfstack *head);
bool lfstack_empty(const lfstack *head);

#endif
