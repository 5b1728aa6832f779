package runtime

/*
#include "tests/upstream/glue.h"

int64_t upstreamSleep(void *s, int64_t ns);
uintptr_t upstreamScavenge(void *s, uintptr_t nbytes, int64_t *ns);
bool upstreamShouldStop(void *s);
int32_t upstreamGoMaxProcs(void *s);
*/
import "C"

import (
	gort "runtime"
	"runtime/cgo"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"
)

// ---- the pacer

const (
	GCBackgroundUtilization            = 0.25 // what the tests expect of the pacer, which tells it to nobody
	GCGoalUtilization                  = 0.25
	DefaultHeapMinimum                 = C.defaultHeapMinimum
	MemoryLimitHeapGoalHeadroomPercent = C.memoryLimitHeapGoalHeadroomPercent
	MemoryLimitMinHeapGoalHeadroom     = C.memoryLimitMinHeapGoalHeadroom
)

// GCController is gomem's gcControllerState, with counters of its own.
type GCController struct{ u *C.upstreamController }

func NewGCController(gcPercent int, memoryLimit int64) *GCController {
	c := &GCController{C.upstream_newController(env, C.int32_t(gcPercent), C.int64_t(memoryLimit))}
	gort.AddCleanup(c, func(u *C.upstreamController) { C.upstream_freeController(u) }, c.u)
	return c
}

func (c *GCController) StartCycle(stackSize, globalsSize uint64, scannableFrac float64, gomaxprocs int) {
	C.upstream_startCycle(c.u, C.uint64_t(stackSize), C.uint64_t(globalsSize), C.double(scannableFrac), C.int32_t(gomaxprocs))
	gort.KeepAlive(c)
}

type GCControllerReviseDelta struct {
	HeapLive        int64
	HeapScan        int64
	HeapScanWork    int64
	StackScanWork   int64
	GlobalsScanWork int64
}

func (c *GCController) Revise(d GCControllerReviseDelta) {
	C.upstream_revise(c.u, C.upstreamRevise{
		heapLive:        C.int64_t(d.HeapLive),
		heapScan:        C.int64_t(d.HeapScan),
		heapScanWork:    C.int64_t(d.HeapScanWork),
		stackScanWork:   C.int64_t(d.StackScanWork),
		globalsScanWork: C.int64_t(d.GlobalsScanWork),
	})
	gort.KeepAlive(c)
}

func (c *GCController) EndCycle(bytesMarked uint64, assistTime, elapsed int64, gomaxprocs int) {
	C.upstream_endCycle(c.u, C.uint64_t(bytesMarked), C.int64_t(assistTime), C.int64_t(elapsed), C.int32_t(gomaxprocs))
	gort.KeepAlive(c)
}

// ask keeps c until f has read it.
func ask[T any](c *GCController, f func(*C.upstreamController) T) T {
	defer gort.KeepAlive(c)
	return f(c.u)
}

func (c *GCController) AssistWorkPerByte() float64 {
	return ask(c, func(u *C.upstreamController) float64 { return float64(C.upstream_assistWorkPerByte(u)) })
}
func (c *GCController) HeapGoal() uint64 {
	return ask(c, func(u *C.upstreamController) uint64 { return uint64(C.gcController_heapGoal(&u.c)) })
}
func (c *GCController) HeapLive() uint64 {
	return ask(c, func(u *C.upstreamController) uint64 { return uint64(C.upstream_heapLive(u)) })
}
func (c *GCController) HeapMarked() uint64 {
	return ask(c, func(u *C.upstreamController) uint64 { return uint64(u.c.heapMarked) })
}
func (c *GCController) Triggered() uint64 {
	return ask(c, func(u *C.upstreamController) uint64 { return uint64(u.c.triggered) })
}
func (c *GCController) AddIdleMarkWorker() bool {
	return ask(c, func(u *C.upstreamController) bool { return bool(C.gcController_addIdleMarkWorker(&u.c)) })
}
func (c *GCController) NeedIdleMarkWorker() bool {
	return ask(c, func(u *C.upstreamController) bool { return bool(C.gcController_needIdleMarkWorker(&u.c)) })
}
func (c *GCController) RemoveIdleMarkWorker() {
	C.gcController_removeIdleMarkWorker(&c.u.c)
	gort.KeepAlive(c)
}
func (c *GCController) SetMaxIdleMarkWorkers(max int32) {
	C.gcController_setMaxIdleMarkWorkers(&c.u.c, C.int32_t(max))
	gort.KeepAlive(c)
}

// ---- the background scavenger

const ScavengePercent = 1 // what the test expects of the scavenger, which tells it to nobody

type PIController struct{ c C.piController }

func NewPIController(kp, ti, tt, min, max float64) *PIController {
	return &PIController{C.piController{
		kp: C.double(kp), ti: C.double(ti), tt: C.double(tt), min: C.double(min), max: C.double(max),
	}}
}

func (c *PIController) Next(input, setpoint, period float64) (float64, bool) {
	var ok C.bool
	out := C.piController_next(&c.c, C.double(input), C.double(setpoint), C.double(period), &ok)
	return float64(out), bool(ok)
}

// Scavenger runs gomem's scavengerState in a goroutine. When it parks and wakes is, as in Go, for whoever runs it: here, this type.
type Scavenger struct {
	Sleep      func(int64) int64
	Scavenge   func(uintptr) (uintptr, int64)
	ShouldStop func() bool
	GoMaxProcs func() int32

	released atomic.Uintptr
	lock     sync.Mutex
	parked   bool
	wake     chan bool // false: end
	done     chan struct{}
}

func (s *Scavenger) Start() {
	s.wake, s.done = make(chan bool), make(chan struct{})
	go s.work()
	if !s.BlockUntilParked(int64(time.Second)) {
		panic("the scavenger does not get ready")
	}
}

func (s *Scavenger) work() {
	handle := cgo.NewHandle(s)
	state := C.upstream_newScavenger(env, C.uintptr_t(handle), (*[0]byte)(C.upstreamSleep), (*[0]byte)(C.upstreamScavenge),
		(*[0]byte)(C.upstreamShouldStop), (*[0]byte)(C.upstreamGoMaxProcs))
	for s.park() {
		for {
			var worked C.double
			released := C.scavenger_run(&state.s, &worked)
			if released == 0 {
				break
			}
			s.released.Add(uintptr(released))
			C.scavenger_sleep(&state.s, worked)
		}
	}
	C.upstream_freeScavenger(state)
	handle.Delete()
	close(s.done)
}

// park waits to be woken, and says whether to go on.
func (s *Scavenger) park() bool {
	s.lock.Lock()
	s.parked = true
	s.lock.Unlock()
	return <-s.wake
}

func (s *Scavenger) isParked() bool {
	s.lock.Lock()
	defer s.lock.Unlock()
	return s.parked
}

// BlockUntilParked gives a busy machine a minute where Go's tests give a second or two: what is told apart is parking and not parking at all.
func (s *Scavenger) BlockUntilParked(int64) bool {
	for start := time.Now(); time.Since(start) < time.Minute; Gosched() {
		if s.isParked() {
			return true
		}
	}
	return false
}

func (s *Scavenger) Released() uintptr { return s.released.Load() }
func (s *Scavenger) Wake()             { s.ready(true) }
func (s *Scavenger) Stop() {
	if !s.isParked() {
		panic("the scavenger is not parked")
	}
	s.ready(false)
	<-s.done
}

func (s *Scavenger) ready(goOn bool) {
	s.lock.Lock()
	parked := s.parked
	s.parked = false
	s.lock.Unlock()
	if parked {
		s.wake <- goOn
	}
}

func scavengerOf(s unsafe.Pointer) *Scavenger {
	return cgo.Handle((*C.upstreamScavenger)(s).test).Value().(*Scavenger)
}

//export upstreamSleep
func upstreamSleep(s unsafe.Pointer, ns C.int64_t) C.int64_t {
	return C.int64_t(scavengerOf(s).Sleep(int64(ns)))
}

//export upstreamScavenge
func upstreamScavenge(s unsafe.Pointer, nbytes C.uintptr_t, ns *C.int64_t) C.uintptr_t {
	released, worked := scavengerOf(s).Scavenge(uintptr(nbytes))
	*ns = C.int64_t(worked)
	return C.uintptr_t(released)
}

//export upstreamShouldStop
func upstreamShouldStop(s unsafe.Pointer) C.bool { return C.bool(scavengerOf(s).ShouldStop()) }

//export upstreamGoMaxProcs
func upstreamGoMaxProcs(s unsafe.Pointer) C.int32_t { return C.int32_t(scavengerOf(s).GoMaxProcs()) }
