#!/usr/bin/env bash
# The public header compiles alone, as C17 and as C++17, without a warning.
set -eu
cd "$GOMEM_SOURCE_DIR"
flags="-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror -I. -fsyntax-only"
# shellcheck disable=SC2086
"${CC:-cc}" -std=c17 $flags -x c gomem/gomem.h
echo "C17: compiles alone"
cxx=$(command -v g++ || command -v clang++ || true)
if [ -z "$cxx" ]; then
	echo "SKIPPED: no C++ compiler"
	exit 77
fi
# shellcheck disable=SC2086
"$cxx" -std=c++17 $flags -x c++ gomem/gomem.h
echo "C++17: compiles alone"
