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

// The background scavenger's pace.
const ScavengePercent = 1

type Scavenger struct {
	Sleep      func(int64) int64
	Scavenge   func(uintptr) (uintptr, int64)
	ShouldStop func() bool
	GoMaxProcs func() int32
}

func (s *Scavenger) Start()                      { absent("the background scavenger") }
func (s *Scavenger) BlockUntilParked(int64) bool { absent("the background scavenger"); return false }
func (s *Scavenger) Released() uintptr           { absent("the background scavenger"); return 0 }
func (s *Scavenger) Wake()                       { absent("the background scavenger") }
func (s *Scavenger) Stop()                       { absent("the background scavenger") }

type PIController struct{}

func NewPIController(kp, ti, tt, min, max float64) *PIController {
	absent("the PI controller")
	return nil
}
func (c *PIController) Next(input, setpoint, period float64) (float64, bool) {
	absent("the PI controller")
	return 0, false
}
