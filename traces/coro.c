// coro.c: see coro.h.
#include "traces/coro.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define CORO_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CORO_ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define CORO_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define CORO_TSAN 1
#endif
#endif
#ifdef CORO_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef CORO_TSAN
#include <sanitizer/tsan_interface.h>
#endif

#if !defined(__x86_64__) && !defined(__aarch64__)
#include <ucontext.h>
#define CORO_UCONTEXT 1
#endif

struct coro {
	void *sp; // saved stack pointer; the registers that a call preserves lie above it
#ifdef CORO_UCONTEXT
	ucontext_t context;
#endif
	void (*fn)(void *);
	void *arg;
	char *map; // the mapping that holds the stack; NULL for coro_self
	size_t map_bytes;
	const void *bottom;
	size_t bytes;
	void *fake; // AddressSanitizer's fake stack
	void *fiber;
	coro *from; // who switched here last
};

static void coro_arrived(coro *c) {
#ifdef CORO_ASAN
	__sanitizer_finish_switch_fiber(c->fake, &c->from->bottom, &c->from->bytes);
#else
	(void)c;
#endif
}

static void coro_main(coro *c) {
	coro_arrived(c);
	c->fn(c->arg);
	abort();
}

#ifdef __x86_64__
// Saves what the System V ABI lets a function keep (rbx, rbp, r12..r15, the x87 and SSE control words), swaps stacks, restores.
__asm__(".text\n"
		".p2align 4\n"
		".type gomem_coro_swap, @function\n"
		"gomem_coro_swap:\n"
		"	pushq %rbp\n	pushq %rbx\n	pushq %r12\n	pushq %r13\n	pushq %r14\n	pushq %r15\n"
		"	subq $8, %rsp\n	stmxcsr (%rsp)\n	fnstcw 4(%rsp)\n"
		"	movq %rsp, (%rdi)\n"
		"	movq %rsi, %rsp\n"
		"	ldmxcsr (%rsp)\n	fldcw 4(%rsp)\n	addq $8, %rsp\n"
		"	popq %r15\n	popq %r14\n	popq %r13\n	popq %r12\n	popq %rbx\n	popq %rbp\n"
		"	ret\n"
		".size gomem_coro_swap, . - gomem_coro_swap\n"
		".type gomem_coro_start, @function\n"
		"gomem_coro_start:\n"
		"	movq %r12, %rdi\n"
		"	xorl %ebp, %ebp\n"
		"	callq *%r13\n"
		"	ud2\n"
		".size gomem_coro_start, . - gomem_coro_start\n");
#elif defined(__aarch64__)
__asm__(
	".text\n"
	".p2align 4\n"
	".type gomem_coro_swap, %function\n"
	"gomem_coro_swap:\n"
	"	sub sp, sp, #160\n"
	"	stp x19, x20, [sp, #0]\n	stp x21, x22, [sp, #16]\n	stp x23, x24, [sp, #32]\n	stp x25, x26, [sp, #48]\n"
	"	stp x27, x28, [sp, #64]\n	stp x29, x30, [sp, #80]\n"
	"	stp d8, d9, [sp, #96]\n	stp d10, d11, [sp, #112]\n	stp d12, d13, [sp, #128]\n	stp d14, d15, [sp, #144]\n"
	"	mov x9, sp\n	str x9, [x0]\n	mov sp, x1\n"
	"	ldp x19, x20, [sp, #0]\n	ldp x21, x22, [sp, #16]\n	ldp x23, x24, [sp, #32]\n	ldp x25, x26, [sp, #48]\n"
	"	ldp x27, x28, [sp, #64]\n	ldp x29, x30, [sp, #80]\n"
	"	ldp d8, d9, [sp, #96]\n	ldp d10, d11, [sp, #112]\n	ldp d12, d13, [sp, #128]\n	ldp d14, d15, [sp, #144]\n"
	"	add sp, sp, #160\n"
	"	ret\n"
	".size gomem_coro_swap, . - gomem_coro_swap\n"
	".type gomem_coro_start, %function\n"
	"gomem_coro_start:\n"
	"	mov x0, x19\n"
	"	blr x20\n"
	"	brk #0\n"
	".size gomem_coro_start, . - gomem_coro_start\n");
#endif

#ifndef CORO_UCONTEXT
// Hidden: else aarch64 takes the address of gomem_coro_start from the global offset table, where the assembler makes it the start of the section.
__attribute__((visibility("hidden"))) void gomem_coro_swap(void **save, void *load);
__attribute__((visibility("hidden"))) void gomem_coro_start(void);

static void coro_prepare(coro *c, char *top) {
	void **sp = (void **)(void *)top;
#ifdef __x86_64__
	*--sp = NULL;
	*--sp = NULL; // keeps the stack 16-byte aligned at the call in gomem_coro_start
	*--sp = (void *)(uintptr_t)gomem_coro_start;
	*--sp = NULL;                         // rbp
	*--sp = NULL;                         // rbx
	*--sp = c;                            // r12
	*--sp = (void *)(uintptr_t)coro_main; // r13
	*--sp = NULL;                         // r14
	*--sp = NULL;                         // r15
	uint32_t *control = (uint32_t *)(void *)(sp - 1);
	control[0] = 0x1f80; // all SSE exceptions masked, round to nearest
	control[1] = 0x037f; // the same for x87
	sp--;
#else
	sp -= 20;
	for (int i = 0; i < 20; i++) {
		sp[i] = NULL;
	}
	sp[0] = c;                                    // x19
	sp[1] = (void *)(uintptr_t)coro_main;         // x20
	sp[11] = (void *)(uintptr_t)gomem_coro_start; // x30
#endif
	c->sp = sp;
}

static void coro_swap(coro *from, coro *to) { gomem_coro_swap(&from->sp, to->sp); }
#else
static void coro_entry(unsigned hi, unsigned lo) { coro_main((coro *)((uintptr_t)((uint64_t)hi << 32 | lo))); }

static void coro_prepare(coro *c, char *top) {
	getcontext(&c->context);
	c->context.uc_stack.ss_sp = top - c->bytes;
	c->context.uc_stack.ss_size = c->bytes;
	makecontext(
		&c->context, (void (*)(void))coro_entry, 2, (unsigned)((uint64_t)(uintptr_t)c >> 32), (unsigned)(uintptr_t)c);
}

static void coro_swap(coro *from, coro *to) { swapcontext(&from->context, &to->context); }
#endif

coro *coro_self(void) {
	coro *c = calloc(1, sizeof(*c));
#ifdef CORO_TSAN
	if (c != NULL) {
		c->fiber = __tsan_get_current_fiber();
	}
#endif
	return c;
}

coro *coro_new(size_t stack_bytes, void (*fn)(void *), void *arg) {
	coro *c = calloc(1, sizeof(*c));
	if (c == NULL) {
		return NULL;
	}
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	stack_bytes = (stack_bytes + page - 1) / page * page;
	c->map_bytes = stack_bytes + page;
	void *map = mmap(NULL, c->map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (map == MAP_FAILED) {
		free(c);
		return NULL;
	}
	if (mprotect(map, page, PROT_NONE) != 0) {
		munmap(map, c->map_bytes);
		free(c);
		return NULL;
	}
	c->map = map;
	c->bottom = c->map + page;
	c->bytes = stack_bytes;
	c->fn = fn;
	c->arg = arg;
#ifdef CORO_TSAN
	c->fiber = __tsan_create_fiber(0);
#endif
	coro_prepare(c, c->map + c->map_bytes);
	return c;
}

void coro_free(coro *c) {
	if (c == NULL) {
		return;
	}
	if (c->map != NULL) {
#ifdef CORO_TSAN
		__tsan_destroy_fiber(c->fiber);
#endif
#ifdef CORO_ASAN
		// Frames that were left for good are still poisoned, and the addresses will be used again.
		ASAN_UNPOISON_MEMORY_REGION(c->map, c->map_bytes);
#endif
		munmap(c->map, c->map_bytes);
	}
	free(c);
}

void coro_switch(coro *from, coro *to) {
	to->from = from;
#ifdef CORO_ASAN
	__sanitizer_start_switch_fiber(&from->fake, to->bottom, to->bytes);
#endif
#ifdef CORO_TSAN
	__tsan_switch_to_fiber(to->fiber, 0);
#endif
	coro_swap(from, to);
	coro_arrived(from);
}
