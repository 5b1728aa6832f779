// zz_graft_record.go: --record: the turns and events of the C functions (gomem/lab.h), for the recorder of gomem record. An additional file of package
// runtime.
//
// Invariants: C is on a system stack, which does not grow. A turn is logged by the event, under the lock that C holds; a step of C without such a lock
// stands between graftLabTurn and its event, under the recorder's. There C takes no other lock but to add a block to a span set, and nobody logs
// while he holds those.

package runtime

import (
	"internal/runtime/atomic"
	"unsafe"
)

// graftLabKinds: how many arguments of an event are logged, and whether with a turn. n 0: Go logs these itself.
var graftLabKinds = [gomemEvMCacheAlloc + 1]struct {
	n    uint64
	turn bool
}{
	gomemEvReclaim:     {1, false},
	gomemEvSweepActive: {1, false},
	gomemEvRefill:      {2, false},
	gomemEvRefillEnd:   {4, false},
	gomemEvPush:        {2, true},
	gomemEvPop:         {2, true},
	gomemEvAcquire:     {3, true},
	gomemEvPCRefill:    {3, true},
	gomemEvPAlloc:      {4, true},
	gomemEvMSpanAlloc:  {2, true},
	gomemEvPCAlloc:     {3, false},
	gomemEvNeedZero:    {3, true},
	gomemEvSpanInit:    {4, true},
	gomemEvSpanFree:    {4, true},
	gomemEvReserve:     {4, true},
	gomemEvArena:       {3, true},
	gomemEvPGrow:       {2, true},
	gomemEvRandPad:     {2, true},
	gomemEvScavBegin:   {2, true},
	gomemEvScavEnd:     {2, true},
	gomemEvScavEmpty:   {1, true},
}

// graftHolder is the m that holds the recorder's lock for C, or 0. Recording may stop before C gives the lock back.
var graftHolder atomic.Uintptr

func graftLabTurn() {
	if gomemOn {
		gomemLock()
		graftHolder.Store(uintptr(unsafe.Pointer(getg().m)))
	}
}

func graftLabEvent(ev, a, b, c, d uint64) {
	kind := &graftLabKinds[ev]
	switch {
	case graftHolder.Load() == uintptr(unsafe.Pointer(getg().m)):
		gomemLogHeld(ev, kind.n, a, b, c, d)
		graftHolder.Store(0)
		gomemUnlock()
	case ev == gomemEvSweep: // with the marks
		gomemSweep((*mspan)(unsafe.Pointer(uintptr(b))), uint16(d>>32), a&1 != 0)
	case !gomemOn || kind.n == 0:
	case kind.turn:
		gomemLogTurn(ev, kind.n, a, b, c, d)
	default:
		gomemLog(ev, kind.n, a, b, c, d)
	}
}
