// consumer.c: a program that uses an installed gomem, as C and as C++: objects, a collection, threads' header.
#include <gomem/gomem.h>
#include <gomem/world.h>

#include <stdio.h>

int main(void) {
	gomem_heap *h = gomem_heap_new(NULL);
	if (h == NULL) {
		return 1;
	}
	gomem_p *p = gomem_heap_p(h, 0);
	void *kept = gomem_mallocgc(h, p, 100, NULL, true);
	for (int i = 0; i < 1000; i++) {
		(void)gomem_mallocgc(h, p, 64, NULL, false);
		(void)gomem_mallocgc_inline(h, p, 64, NULL, false);
	}
	gomem_root root;
	root.base = &kept;
	root.size = sizeof(kept);
	root.ptr_mask = NULL;
	gomem_gc(h, p, &root, 1);
	const bool good = gomem_findObject(h, (uintptr_t)kept) == (uintptr_t)kept && gomem_heap_check(h) == NULL &&
		gomem_metric_name(0) != NULL;
	gomem_heap_destroy(h);
	puts(good ? "kept" : "lost");
	return good ? 0 : 1;
}
