// coro.h: coroutines for the replay: one stack for each P of the recorded program, a switch without a system call.
//
// A coroutine runs until it switches to another; nothing runs at the same time. AddressSanitizer and ThreadSanitizer are told of
// each switch. x86-64 and aarch64 have a few lines of assembly, other machines use ucontext.
#ifndef GOMEM_TRACES_CORO_H
#define GOMEM_TRACES_CORO_H

#include <stddef.h>

typedef struct coro coro;

// coro_self makes a coroutine of the caller, to switch back to. NULL: out of memory, as for coro_new.
coro *coro_self(void);
// coro_new makes a coroutine that begins with fn(arg) on its own stack of stack_bytes (a guard page below it). fn must not return.
coro *coro_new(size_t stack_bytes, void (*fn)(void *), void *arg);
// coro_free releases a coroutine that does not run.
void coro_free(coro *c);
// coro_switch saves the caller in from and goes on in to.
void coro_switch(coro *from, coro *to);

#endif
