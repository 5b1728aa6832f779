// Package runtime is what Go's own allocator tests see in place of Go's runtime: the names that its export_test.go gives them, each answered by
// gomem through cgo. The package converts types and numbers, and decides nothing.
//
// What the tests need besides the allocator (GC, KeepAlive, ...) is the real runtime's; what neither has panics (absent.go).
package runtime

/*
#include "tests/upstream/glue.h"
*/
import "C"

import (
	gort "runtime"
	"unsafe"
)

// env is shared by everything but the heap of heap.go.
var (
	env = C.upstream_env()
	sys = &env.stats.other_sys
)

const (
	GOOS   = gort.GOOS
	GOARCH = gort.GOARCH

	PageSize                 = 1 << 13 // layout's is checked by init
	PallocChunkPages         = C.pallocChunkPages
	PageCachePages   uintptr = C.pageCachePages
	PallocSumBytes           = unsafe.Sizeof(C.pallocSum(0))
	PageAlloc64Bit           = 1
	TagAlign                 = C.tagAlign

	Raceenabled                  = false
	SizeSpecializedMallocEnabled = false
	RuntimeFreegcEnabled         = false
)

var (
	PhysPageSize     = uintptr(env.physPageSize)
	PhysHugePageSize = uintptr(env.physHugePageSize)
)

func init() {
	if env.layout.pageShift != 13 || gort.GOOS != "linux" || gort.GOARCH != "amd64" {
		panic("this package is for gomem's constant layout, linux/amd64")
	}
}

type MemStats = gort.MemStats

func GC()                      { gort.GC() }
func Gosched()                 { gort.Gosched() }
func KeepAlive(x any)          { gort.KeepAlive(x) }
func NumCPU() int              { return gort.NumCPU() }
func ReadMemStats(m *MemStats) { gort.ReadMemStats(m) }

var (
	never bool
	sink  any
)

func Escape[T any](x T) T {
	if never {
		sink = x
	}
	return x
}

// ---- what is outside the heap

func PersistentAlloc(n, align uintptr) unsafe.Pointer {
	return C.persistentalloc(env, C.uintptr_t(n), C.uintptr_t(align), sys)
}

// LFNode is gomem's lfnode.
type LFNode struct {
	Next    uint64
	Pushcnt uintptr
}

func LFNodeValidate(node *LFNode) { C.upstream_validateNode(env, unsafe.Pointer(node)) }

func LFStackPush(head *uint64, node *LFNode) {
	C.upstream_push(env, (*C.uint64_t)(head), unsafe.Pointer(node))
}

func LFStackPop(head *uint64) *LFNode {
	return (*LFNode)(C.upstream_pop((*C.uint64_t)(head)))
}

func Fastlog2(x float64) float64 { return float64(C.upstream_fastlog2(C.double(x))) }
