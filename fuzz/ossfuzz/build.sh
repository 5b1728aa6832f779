#!/bin/bash -eu
# Builds the fuzz targets as OSS-Fuzz wants them: with $CC, $CXX, $CFLAGS, $CXXFLAGS and $LIB_FUZZING_ENGINE, into $OUT, each with its
# seed corpus, options and, if it has one, its dictionary. $WORK takes what lies between. Nothing outside of these two is written.
#
# ClusterFuzzLite runs this (.clusterfuzzlite/build.sh), and so does the test tests/ossfuzz.sh.
source=$(cd "$(dirname "$0")/../.." && pwd)
build=$WORK/gomem
jobs=$(nproc)

# The targets run where no package is installed: what they link is linked in.
static() {
	local archive
	archive=$($CC -print-file-name="lib$1.a")
	if [ "$archive" != "lib$1.a" ]; then
		echo "-D$2=$archive"
	fi
}

generator="Unix Makefiles"
command -v ninja >/dev/null && generator=Ninja

# shellcheck disable=SC2046
cmake -S "$source" -B "$build" -G "$generator" -DCMAKE_BUILD_TYPE=None \
	-DCMAKE_C_COMPILER="$CC" -DCMAKE_CXX_COMPILER="$CXX" -DCMAKE_C_FLAGS="$CFLAGS" -DCMAKE_CXX_FLAGS="$CXXFLAGS" \
	-DGOMEM_FUZZ_ENGINE="$LIB_FUZZING_ENGINE" -DGOMEM_CHECKED=ON -DGOMEM_TESTS=OFF -DGOMEM_DEVELOPER=OFF \
	$(static zstd ZSTD_LIBRARY) $(static z ZLIB_LIBRARY) $(static xxhash XXHASH_LIBRARY) $(static cjson CJSON_LIBRARY)
cmake --build "$build" --target fuzz_targets -j "$jobs"

# seeds TARGET: the zip of its inputs, without folders. X_plain has the programs of X.
seeds() {
	local folder="$WORK/seeds/$1" corpus=${1%_plain} input
	rm -rf "$folder"
	mkdir -p "$folder"
	for input in "$source/fuzz/corpus/$corpus"/* "$source/fuzz/seeds/$corpus"/* "$source/fuzz/regressions/$corpus"/*; do
		[ -f "$input" ] && cp "$input" "$folder/"
	done
	[ -n "$(ls "$folder")" ] || return 0
	(cd "$folder" && cmake -E tar cf "$OUT/fuzz_$1_seed_corpus.zip" --format=zip -- *)
}

for program in "$build"/fuzz/fuzz_*; do
	[ -x "$program" ] || continue
	name=$(basename "$program")
	target=${name#fuzz_}
	cp "$program" "$OUT/"
	seeds "$target"
	printf '[libfuzzer]\nmax_len = 8192\nlen_control = 0\nentropic_feature_frequency_threshold = 32\n' >"$OUT/$name.options"
	[ -f "$source/fuzz/$name.dict" ] && cp "$source/fuzz/$name.dict" "$OUT/"
done
true
