#!/usr/bin/env bash
# Builds the library, the command, the tools, fuzz targets, benchmarks and tests with each compiler that is here, warnings as errors, and prints a table.
# With musl-gcc: the library, and the example of docs/GC.md, which must run; what else there is needs libraries that are built for glibc.
set -euo pipefail
cd "$(dirname "$0")/.."

known="gcc-11 gcc-12 gcc-13 gcc-14 clang-13 clang-14 clang-15 clang-16 clang-17 clang-18 clang-19 musl-gcc"
if [ "${1:-}" = --help ]; then
	cat <<END_OF_HELP
usage: ./dev compilers [--install] [COMPILER...]

Builds everything with each COMPILER, warnings as errors; without arguments, with each of those that are installed:
  $known
--install installs first those that apt offers; --list names them all.
Exit code 1 if one fails; its output is in build/compilers/COMPILER.log. One that is missing is skipped, visibly.
END_OF_HELP
	exit 0
fi

if [ "${1:-}" = --list ]; then
	echo "$known"
	exit 0
fi

# shellcheck disable=SC2086
[ $# -gt 0 ] || set -- $known
for compiler in "$@"; do
	case " $known " in
	*" $compiler "*) ;;
	*)
		echo "compilers: $compiler is not one of: $known" >&2
		exit 2
		;;
	esac
done

jobs=$(nproc 2>/dev/null || echo 2)
mkdir -p build/compilers
built=0 failed=0 skipped=0

# The C++ compiler of the same name where it is installed; only the benchmarks are C++.
cxx_of() {
	local cxx=${1/#gcc/g++}
	cxx=${cxx/#clang/clang++}
	command -v "$cxx" || command -v g++
}

build_all() {
	cmake -S . -B "build/compilers/$1" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_COMPILER="$1" -DCMAKE_CXX_COMPILER="$(cxx_of "$1")" &&
		cmake --build "build/compilers/$1" -j "$jobs" -- -k 0
}

# musl-gcc looks nowhere but in musl's headers, which are without the kernel's.
kernel_headers() {
	local multiarch
	multiarch=$(gcc -print-multiarch)
	mkdir -p "$1"
	ln -sfn /usr/include/linux "$1/linux"
	ln -sfn /usr/include/asm-generic "$1/asm-generic"
	ln -sfn "/usr/include/$multiarch/asm" "$1/asm"
}

build_musl() {
	kernel_headers "$PWD/build/compilers/musl-gcc/kernel" &&
		cmake -S . -B build/compilers/musl-gcc -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_COMPILER=musl-gcc -DGOMEM_TOOLS=OFF \
			-DCMAKE_C_FLAGS="-idirafter $PWD/build/compilers/musl-gcc/kernel" &&
		cmake --build build/compilers/musl-gcc -j "$jobs" -- -k 0 &&
		musl-gcc -std=c17 -O2 -Wall -Wextra -Werror -I. tests/gc_example.c build/compilers/musl-gcc/lib/gomem/libgomem.a -static \
			-o build/compilers/musl-gcc/gc_example &&
		build/compilers/musl-gcc/gc_example
}

printf '%-10s %-9s %-8s %s\n' compiler version result what
for compiler in "$@"; do
	if ! command -v "$compiler" >/dev/null; then
		printf '%-10s %-9s %-8s %s\n' "$compiler" - skipped "not installed"
		skipped=$((skipped + 1))
		continue
	fi
	version=$("$compiler" -dumpfullversion 2>/dev/null || "$compiler" -dumpversion)
	log=build/compilers/$compiler.log
	builder=build_all what="$(cxx_of "$compiler" | sed 's|.*/||') for C++: everything"
	[ "$compiler" != musl-gcc ] || builder=build_musl what="the library, static and shared; an example runs"
	# A build of an earlier run must not pass for this one.
	rm -rf "build/compilers/$compiler"
	if $builder "$compiler" >"$log" 2>&1 </dev/null; then
		built=$((built + 1))
		printf '%-10s %-9s %-8s %s\n' "$compiler" "$version" ok "$what"
	else
		failed=$((failed + 1))
		printf '%-10s %-9s %-8s %s\n' "$compiler" "$version" FAILED "$(grep -cE '(error|warning):' "$log" || true) complaints in $log"
	fi
done
echo "$built built, $failed failed, $skipped skipped"
[ "$failed" = 0 ] && [ "$built" -gt 0 ]
