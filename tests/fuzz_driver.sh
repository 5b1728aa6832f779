#!/usr/bin/env bash
# The driver of the fuzz targets, with a target that has a planted bug: exit codes, printing, encoding, finding the bug.
# usage: fuzz_driver.sh FUZZ_SELFTEST
set -uo pipefail
fuzz=$(realpath "$1")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
failed=0

problem() {
	echo "FAILED: $*"
	failed=1
}

# expect CODE COMMAND...: runs it, leaves what it prints in out and err.
expect() {
	local want=$1 code=0
	shift
	"$@" >out 2>err </dev/null || code=$?
	[ "$code" = "$want" ] || problem "exit code $code, not $want: $*: $(cat out err)"
}

says() {
	grep -qF -- "$2" "$1" || problem "$1 does not say \"$2\": $(cat "$1")"
}

cat >good.txt <<'END'
config bottom=7
push value=5
swap i=1 j=0x100000000
pop
END
cat >bad.txt <<'END'
config bottom=1
push value=2
push value=3
push value=901
pop
push value=4
END

# Bad usage and unreadable input: 2.
expect 2 "$fuzz"
says err usage:
expect 2 "$fuzz" --no-such-option
expect 2 "$fuzz" --seconds
expect 2 "$fuzz" no-such-file
says err no-such-file
expect 2 "$fuzz" --encode good.txt
says err "needs -o FILE"
echo "push value=1000" >wrong.txt
expect 2 "$fuzz" --encode wrong.txt -o wrong
says err "line 1: a number that is larger"
expect 2 "$fuzz" --encode good.txt -o no-such-directory/good
expect 0 "$fuzz" --help
says out "exit code"
expect 0 "$fuzz" --info
printf 'selftest\tsmall\ta stack with a planted bug against itself\n' | cmp -s - out || problem "--info: $(cat out)"
expect 0 "$fuzz" --ops
says out "push value(0..999)"
says out "config bottom(0..5000)"

# Text to bytes to text and C.
expect 0 "$fuzz" --encode good.txt -o good
expect 0 "$fuzz" --show good
cmp -s out good.txt || problem "--show prints something else: $(cat out)"
expect 0 "$fuzz" --c good
says out 'fuzz_play(&fuzz_target_selftest, (const uint64_t[FUZZ_MAX_ARGS]){7},'
says out '{"swap", {1, 0x100000000}},'

# Files and directories; the empty input is one.
mkdir -p inputs/more
cp good inputs/a
cp good inputs/more/b
: >inputs/empty
expect 0 "$fuzz" inputs good
says out "4 inputs, 9 operations"

# A comparison that fails: 1, the operation, the program as C up to it, the input.
expect 0 "$fuzz" --encode bad.txt -o bad
expect 1 "$fuzz" inputs bad
says err "fuzz_selftest: operation 3: pop(): the number on top: gomem 0x386, oracle 0x385"
says err '{"push", {901}},'
says err "input: bad"
grep -qF '{"push", {4}}' err && problem "it prints operations after the one that failed"

# Dying of something else: an abort, an invalid access.
for code in 57005 2989; do
	echo "crash code=$code" >crash.txt
	expect 0 "$fuzz" --encode crash.txt -o crash
	expect 1 "$fuzz" crash
	says err "operation 0: crash(code=$code): "
	says err "{\"crash\", {$code}},"
	says err "input: crash"
	[ "$(grep -c "^input: " err)" = 1 ] || problem "it tells twice: $(cat err)"
done

# Random programs find the bug, and write it down; the same seed finds the same.
expect 1 "$fuzz" --seconds 60 --seed 5 -o found
says err "input: found ("
says err "seed 5)"
expect 1 "$fuzz" found
says err "operation"
expect 1 "$fuzz" --seconds 60 --seed 5 -o again inputs
expect 1 "$fuzz" --seconds 60 --seed 5 -o again
cmp -s found again || problem "the same seed finds another input"
expect 1 "$fuzz" --seconds 60 --seed 6 -o again
cmp -s found again && problem "another seed finds the same input"

# The least program that fails: four numbers, the last above 900.
printf 'config bottom=77\npush value=7\npush value=3\npop\npush value=4\npush value=12\npush value=999\npop\npush value=1\n' >long.txt
expect 0 "$fuzz" --encode long.txt -o long
expect 0 "$fuzz" --shrink long -o small
printf 'config bottom=0\npush value=0\npush value=0\npush value=901\npop\n' | cmp -s - out || problem "not the least: $(cat out)"
expect 1 "$fuzz" small
says err "operation 3: pop()"
expect 2 "$fuzz" --shrink good -o small
says err "does not fail in this build"
expect 2 "$fuzz" --shrink found

[ "$failed" = 0 ] && echo "the driver does what it says"
exit "$failed"
