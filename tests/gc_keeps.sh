#!/usr/bin/env bash
# tests/data/gc_keeps.txt is what Go says now, with Green Tea and without: which objects of random graphs a collection keeps.
set -eu
command -v go >/dev/null || { echo "SKIPPED: there is no go command in PATH"; exit 77; }
case $(GOTOOLCHAIN=local go env GOVERSION) in
go1.26*) ;;
*) echo "SKIPPED: not go1.26"; exit 77 ;;
esac
cd "$GOMEM_SOURCE_DIR"
for experiment in greenteagc nogreenteagc; do
	GOTOOLCHAIN=local GOFLAGS='' GOWORK=off GOEXPERIMENT=$experiment go run tests/golden/gc_keeps.go | cmp - tests/data/gc_keeps.txt
	echo "$experiment: as in tests/data/gc_keeps.txt"
done
