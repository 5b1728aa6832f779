package runtime_test

import "testing"

// runTestProg is defined in a file of Go's tests that is not taken. The tests that call it build programs with Go's own runtime.
func runTestProg(t *testing.T, binary, name string, env ...string) string {
	t.Fatal("programs run on Go's own runtime")
	return ""
}
