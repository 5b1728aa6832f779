package runtime

import "unsafe"

// What Go's test files name, so that they compile, and gomem does not have. tests.txt says which tests are left out for it. A test that
// came here all the same would end in a panic, not pass.

func absent(what string) { panic(what + " is not in gomem") }

// Explicit frees and credit of assists.
func Freegc(p unsafe.Pointer, size uintptr, noscan bool) { absent("freegc") }
func AssistCredit() int64 {
	absent("assist credit")
	return 0
}
func GcBlackenEnable() bool {
	absent("gcBlackenEnabled")
	return false
}

// The scheduler's: no test that runs here is in the middle of an allocation.
func Acquirem()      { absent("acquirem") }
func Releasem()      { absent("releasem") }
func GoschedIfBusy() { absent("goschedIfBusy") }
func Usleep(uint32)  { absent("usleep") }

// Hints of the process's one heap.
func KeepNArenaHints(n int) { absent("the list of hints that Go's own heap follows") }
func MapNextArenaHint() (start, end uintptr, ok bool) {
	absent("the list of hints that Go's own heap follows")
	return
}
func NextArenaHint() (uintptr, bool) {
	absent("the list of hints that Go's own heap follows")
	return 0, false
}

// The collector's.
var (
	DoubleCheckReadMemStats = new(bool)
	ForceGCPeriod           = new(int64)
)

func GCMarkDoneResetRestartFlag() { absent("marking") }
func GCMarkDoneRestarted() bool {
	absent("marking")
	return false
}
func SetSpinInGCMarkDone(bool) { absent("marking") }
func GCTestIsReachable(...unsafe.Pointer) uint64 {
	absent("marking")
	return 0
}
func GCTestPointerClass(unsafe.Pointer) string {
	absent("stacks that move")
	return ""
}
func GCTestMoveStackOnNextCall() { absent("stacks that move") }
func MyGenericFunc[T any]()      { absent("generic code on the system stack") }
