// Package testenv: what Go's tests ask of internal/testenv, so that their files compile. No test that runs here calls it.
package testenv

import (
	"os/exec"
	"testing"
)

func absent(t testing.TB) { t.Fatal("internal/testenv is not here") }

func MustHaveGoRun(t testing.TB)           { absent(t) }
func MustHaveExternalNetwork(t testing.TB) { absent(t) }
func MustHaveParallelism(t testing.TB)     { absent(t) }

func Executable(t testing.TB) string {
	absent(t)
	return ""
}

func CleanCmdEnv(cmd *exec.Cmd) *exec.Cmd { return cmd }
