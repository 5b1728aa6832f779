// peers.h: the C allocators that the port is compared with, and the modules (module.h): each is loaded by dlopen and called by a pointer.
#ifndef GOMEM_BENCH_PEERS_H
#define GOMEM_BENCH_PEERS_H

#include <dlfcn.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "bench/module.h"

struct Peer {
	const char *name;
	std::vector<const char *> files; // the first that can be loaded; none: libc
	const char *prefix;              // of its functions' names
	void *(*malloc)(size_t);
	void *(*calloc)(size_t, size_t);
	void (*free)(void *);
};

#define BENCH_SCUDO(version)                                                                                           \
	"/usr/lib/llvm-" #version "/lib/clang/" #version "/lib/linux/libclang_rt.scudo_standalone-x86_64.so"

inline std::vector<Peer> &peers() {
	static std::vector<Peer> all = {
		{"glibc", {}, "", nullptr, nullptr, nullptr},
		{"jemalloc", {"libjemalloc.so.2"}, "", nullptr, nullptr, nullptr},
		{"mimalloc", {"libmimalloc.so.3", "libmimalloc.so.2", "libmimalloc.so.2.0"}, "", nullptr, nullptr, nullptr},
		{"tcmalloc", {"libtcmalloc_minimal.so.4"}, "", nullptr, nullptr, nullptr},
		{"tbbmalloc", {"libtbbmalloc.so.2"}, "scalable_", nullptr, nullptr, nullptr},
		{"scudo",
			{"/usr/lib/llvm-14/lib/clang/14.0.6/lib/linux/libclang_rt.scudo_standalone-x86_64.so", BENCH_SCUDO(18),
				BENCH_SCUDO(17), BENCH_SCUDO(16)},
			"", nullptr, nullptr, nullptr},
		{"snmalloc", {"libsnmallocshim.so"}, "", nullptr, nullptr, nullptr},
		{"rpmalloc", {"librpmalloc.so"}, "", nullptr, nullptr, nullptr},
	};
	return all;
}

inline bool load(Peer &a) {
	void *lib = nullptr;
	if (a.files.empty()) {
		lib = dlopen("libc.so.6", RTLD_NOW | RTLD_LOCAL);
	}
	for (size_t i = 0; i < a.files.size() && lib == nullptr; i++) {
		lib = dlopen(a.files[i], RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
	}
	if (lib == nullptr) {
		fprintf(stderr, "skipped: %s: %s\n", a.name, dlerror());
		return false;
	}
	auto get = [&](const char *function) { return dlsym(lib, (std::string(a.prefix) + function).c_str()); };
	a.malloc = (void *(*)(size_t))get("malloc");
	a.calloc = (void *(*)(size_t, size_t))get("calloc");
	a.free = (void (*)(void *))get("free");
	return a.malloc != nullptr && a.calloc != nullptr && a.free != nullptr;
}

inline const bench_module *loadModule(const char *file) {
	void *lib = dlopen(file, RTLD_NOW | RTLD_LOCAL);
	auto get = lib == nullptr ? nullptr : (bench_module_get_func *)dlsym(lib, BENCH_MODULE_GET);
	const bench_module *m = get == nullptr ? nullptr : get();
	if (m == nullptr) {
		fprintf(stderr, "%s cannot be loaded: %s\n", file, dlerror());
		exit(2);
	}
	return m;
}

// The libraries keep thread-local variables where only the loader can place them: ask it to leave room.
inline void makeRoom(char **argv) {
	if (getenv("GLIBC_TUNABLES") != nullptr) {
		return;
	}
	setenv("GLIBC_TUNABLES", "glibc.rtld.optional_static_tls=65536", 1);
	execv("/proc/self/exe", argv);
	perror("execv");
}

#endif
