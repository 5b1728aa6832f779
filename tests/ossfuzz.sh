#!/usr/bin/env bash
# fuzz/ossfuzz/build.sh as OSS-Fuzz calls it: each target is built with the engine that is given, and runs on its seeds.
# usage: ossfuzz.sh plain | libfuzzer    plain: an archive with a main of its own; libfuzzer: clang's
set -euo pipefail
engine=$1
root=${GOMEM_SOURCE_DIR:-$(cd "$(dirname "$0")/.." && pwd)}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
export SRC=$dir/src OUT=$dir/out WORK=$dir/work
mkdir -p "$SRC" "$OUT" "$WORK"

skip() {
	echo "skipped: $*"
	exit 77
}

case $engine in
plain)
	command -v g++ >/dev/null || skip "there is no g++"
	export CC=gcc CXX=g++ CFLAGS="-O1 -g" CXXFLAGS="-O1 -g" LIB_FUZZING_ENGINE="$dir/libengine.a"
	gcc -O1 -D_GNU_SOURCE -I"$root" -c "$root/fuzz/driver.c" -o "$dir/driver.o"
	ar rcs "$LIB_FUZZING_ENGINE" "$dir/driver.o"
	;;
libfuzzer)
	flags="-O1 -fno-omit-frame-pointer -gline-tables-only -DFUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION"
	flags="$flags -fsanitize=address -fsanitize-address-use-after-scope -fsanitize=fuzzer-no-link"
	export CC=clang CXX=clang++ CFLAGS="$flags" CXXFLAGS="$flags" LIB_FUZZING_ENGINE="-fsanitize=fuzzer"
	echo 'extern "C" int LLVMFuzzerTestOneInput(const char *, unsigned long) { return 0; }' >"$dir/probe.cc"
	# shellcheck disable=SC2086
	clang++ $flags "$dir/probe.cc" $LIB_FUZZING_ENGINE -o "$dir/probe" 2>"$dir/log" ||
		skip "clang++ does not link -fsanitize=fuzzer: $(tail -n 1 "$dir/log")"
	;;
*)
	echo "usage: ossfuzz.sh plain | libfuzzer" >&2
	exit 2
	;;
esac

# As the base image calls it, for the source lies elsewhere in the image of ClusterFuzzLite.
ln -s "$root" "$SRC/gomem"
if ! bash "$root/.clusterfuzzlite/build.sh" >"$dir/log" 2>&1; then
	tail -n 30 "$dir/log"
	echo "FAILED: build.sh"
	exit 1
fi

n=0 inputs=0
for source in "$root"/fuzz/fuzz_*.c; do
	name=$(basename "$source" .c)
	grep -q 'FUZZ_TARGET(' "$source" || continue
	n=$((n + 1))
	program=$OUT/$name
	[ -x "$program" ] || { echo "FAILED: no $name in \$OUT" && exit 1; }
	grep -q '^max_len = ' "$OUT/$name.options" || { echo "FAILED: no $name.options" && exit 1; }
	if ldd "$program" | grep -E 'zstd|libz\.|xxhash|cjson'; then
		echo "FAILED: $name needs a library that is not where it runs" && exit 1
	fi
	rm -rf "$dir/seeds"
	mkdir "$dir/seeds"
	corpus=${name#fuzz_}
	corpus=${corpus%_plain}
	want=$(find "$root/fuzz/corpus" "$root/fuzz/seeds" "$root/fuzz/regressions" -path "*/$corpus/*" -type f -printf '%f\n' | sort -u | wc -l)
	if [ "$want" -gt 0 ]; then
		(cd "$dir/seeds" && cmake -E tar xf "$OUT/${name}_seed_corpus.zip")
	fi
	got=$(find "$dir/seeds" -maxdepth 1 -type f | wc -l)
	[ "$got" = "$want" ] || { echo "FAILED: $name: $got seeds, not $want" && exit 1; }
	: >"$dir/seeds/empty"
	inputs=$((inputs + got + 1))
	# libFuzzer runs the files that it is given, like our driver.
	find "$dir/seeds" -type f -print0 | (cd "$dir" && xargs -0 "$program") >"$dir/log" 2>&1 || {
		tail -n 30 "$dir/log"
		echo "FAILED: $name on its seeds"
		exit 1
	}
done
[ "$n" -gt 0 ]
echo "$n targets with $engine, $inputs inputs"
