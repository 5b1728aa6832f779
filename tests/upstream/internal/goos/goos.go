// Package goos: what Go's tests ask of internal/goos.
package goos

import "runtime"

var (
	IsAix = is("aix")
	IsIos = is("ios")
)

func is(os string) int {
	if runtime.GOOS == os {
		return 1
	}
	return 0
}
