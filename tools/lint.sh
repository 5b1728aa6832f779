#!/usr/bin/env bash
# What can be said of scripts, words and workflows without a build. `./dev lint` runs all of it; each check is a test (lint_*), too.
# usage: lint.sh [shell] [spelling] [workflows]     without an argument: all. Exit code 1: something was found; 77: nothing was, and a tool is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

actionlint=github.com/rhysd/actionlint/cmd/actionlint@v1.7.7
found=0 skipped=0

# verdict NAME COUNT STATUS: STATUS is that of the tool that looked at COUNT files.
verdict() {
	if [ "$3" != 0 ]; then
		echo "FAILED: $1"
		found=1
	elif [ "$2" = 0 ]; then
		echo "FAILED: $1: there was no file to look at"
		found=1
	else
		echo "ok: $1, $2 files"
	fi
}

skip() {
	echo "skipped: $1"
	skipped=1
}

# own_files TEST...: the files of this project, as find's TEST says. Not with git: an unpacked tarball is checked as well.
own_files() {
	find . \( -path ./.git -o -path ./build -o -path ./dist -o -path ./third_party \) -prune -o -type f "$@" -print | sort
}

# A script has the ending, or says so in its first line.
check_shell() {
	local files=() file status=0
	command -v shellcheck >/dev/null || {
		skip "shellcheck is not installed"
		return
	}
	while read -r file; do
		[[ $file == *.sh ]] || head -n 1 "$file" | grep -aqE '^#!.*\b(ba|da)?sh$' || continue
		files+=("$file")
	done < <(own_files \( -name '*.sh' -o -name '*.bash' -o ! -name '*.*' \) ! -path './fuzz/corpus/*' ! -path './fuzz/regressions/*')
	shellcheck -f gcc "${files[@]}" || status=$?
	verdict shellcheck ${#files[@]} $status
}

check_spelling() {
	local files=() status=0
	command -v codespell >/dev/null || {
		skip "codespell is not installed"
		return
	}
	mapfile -t files < <(own_files \( -name '*.[ch]' -o -name '*.cc' -o -name '*.go' -o -name '*.py' -o -name '*.sh' -o -name '*.bash' -o -name '*.md' \
		-o -name '*.txt' -o -name '*.yml' -o -name '*.in' -o -name '*.cmake' -o -name '*.js' -o -name '*.css' -o -name '*.html' -o -name dev \))
	codespell -I tools/spelling.txt "${files[@]}" || status=$?
	verdict codespell ${#files[@]} $status
}

check_workflows() {
	local files=(.github/workflows/*.yml) status=0
	command -v go >/dev/null || {
		skip "actionlint needs Go"
		return
	}
	mkdir -p build/bin
	GOFLAGS="" GOWORK=off GOBIN=$PWD/build/bin go install "$actionlint" >build/bin/actionlint.log 2>&1 || {
		skip "actionlint: $(tail -n 1 build/bin/actionlint.log)"
		return
	}
	build/bin/actionlint "${files[@]}" || status=$?
	verdict actionlint ${#files[@]} $status
}

[ $# -gt 0 ] || set -- shell spelling workflows
for check in "$@"; do
	case $check in
	shell | spelling | workflows) "check_$check" ;;
	*)
		echo "lint.sh: there is no check $check" >&2
		exit 2
		;;
	esac
done
[ $found = 0 ] || exit 1
[ $skipped = 0 ] || exit 77
