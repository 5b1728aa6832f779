// platform_go.c: platform.h, mem.h and persistentalloc.h inside a Go program: Go's own locks, OS layer, accounting and throw, a callback each.
//
// Go throws where it gets no memory, so no call here fails. The four mem* functions are all of libc that layers 2 to 4 use.
#include "gomem/graft/graft.h"
#include "gomem/persistentalloc.h"

_Noreturn void gomem_throw(gomem_env *env, const char *msg) {
	graft_call(env)->throw(msg);
	__builtin_trap();
}

void lock(gomem_env *env, mutex *m) { graft_call(env)->lock(m); }
void unlock(gomem_env *env, mutex *m) { graft_call(env)->unlock(m); }

void *sysAlloc(gomem_env *env, uintptr_t n, sysMemStat *stat) { return graft_call(env)->sysAlloc(n, stat); }
void sysFree(gomem_env *env, void *v, uintptr_t n, sysMemStat *stat) { graft_call(env)->sysFree(v, n, stat); }
void sysUnused(gomem_env *env, void *v, uintptr_t n) { graft_call(env)->sysUnused(v, n); }
void sysFault(gomem_env *env, void *v, uintptr_t n) { graft_call(env)->sysFault(v, n); }
void sysHugePage(gomem_env *env, void *v, uintptr_t n) { graft_call(env)->sysHugePage(v, n); }
void sysNoHugePage(gomem_env *env, void *v, uintptr_t n) { graft_call(env)->sysNoHugePage(v, n); }
void sysUnreserve(gomem_env *env, void *v, uintptr_t n) { graft_call(env)->sysUnreserve(v, n); }

// Go has no such call.
void sysPopulate(gomem_env *env, void *v, uintptr_t n) {
	(void)env;
	(void)v;
	(void)n;
}

bool sysHugePageCollapse(gomem_env *env, void *v, uintptr_t n) {
	graft_call(env)->sysHugePageCollapse(v, n);
	return true;
}

bool sysUsed(gomem_env *env, void *v, uintptr_t n, uintptr_t prepared) {
	graft_call(env)->sysUsed(v, n, prepared);
	return true;
}

void *sysReserve(gomem_env *env, void *hint, uintptr_t n, memUse use) {
	return graft_call(env)->sysReserve(hint, n, (uintptr_t)use);
}

void *sysReserveAligned(gomem_env *env, void *hint, uintptr_t n, uintptr_t align, uintptr_t *size, memUse use) {
	(void)use;
	return graft_call(env)->sysReserveAligned(hint, n, align, size);
}

bool sysMap(gomem_env *env, void *v, uintptr_t n, sysMemStat *stat) {
	graft_call(env)->sysMap(v, n, stat);
	return true;
}

void sysUnmap(gomem_env *env, void *v, uintptr_t n, sysMemStat *stat) {
	(void)v;
	(void)n;
	(void)stat;
	gomem_throw(env, "sysUnmap: Go throws before anything must be undone");
}

void *persistentalloc(gomem_env *env, uintptr_t size, uintptr_t align, sysMemStat *stat) {
	return graft_call(env)->persistentalloc(size, align, stat);
}

// ---- libc

void *memcpy(void *restrict to, const void *restrict from, size_t n) {
	void *const result = to;
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
	return result;
}

void *memset(void *to, int byte, size_t n) {
	void *const result = to;
	__asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(byte) : "memory");
	return result;
}

void *memmove(void *to, const void *from, size_t n) {
	unsigned char *const t = to;
	const unsigned char *const f = from;
	if ((uintptr_t)t - (uintptr_t)f >= n) {
		return memcpy(to, from, n);
	}
	for (size_t i = n; i-- > 0;) {
		t[i] = f[i];
	}
	return to;
}

int memcmp(const void *a, const void *b, size_t n) {
	const unsigned char *const x = a, *const y = b;
	for (size_t i = 0; i < n; i++) {
		if (x[i] != y[i]) {
			return x[i] < y[i] ? -1 : 1;
		}
	}
	return 0;
}
