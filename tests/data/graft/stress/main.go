// Command stress allocates in many goroutines while the collector runs without pause, and checks what it was given: each object keeps the
// number that was written into it, and fresh memory is zero.
//
//	stress [GOROUTINES [CYCLES [SECONDS]]]    it ends after CYCLES cycles of the collector or SECONDS, whatever comes first
package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

type node struct {
	next *node
	id   uint64
	pad  [5]*node
}

var mallocs atomic.Uint64

var large []byte

func arg(i, or int) int {
	if len(os.Args) > i {
		if n, err := strconv.Atoi(os.Args[i]); err == nil {
			return n
		}
	}
	return or
}

func fail(what string) {
	println("stress:", what)
	os.Exit(3)
}

// worker keeps a table of buffers, a list and some large objects alive, and replaces them.
func worker(seed uint64, stop *atomic.Bool) {
	rng := seed*0x9e3779b97f4a7c15 + 1
	next := func(n uint64) uint64 {
		rng ^= rng << 13
		rng ^= rng >> 7
		rng ^= rng << 17
		return rng % n
	}
	var table [256][]byte
	var list, kept *node
	length := 0
	for n := range 10000 { // spans that stay full
		kept = &node{next: kept, id: uint64(n)}
	}
	for n := uint64(0); !stop.Load(); n++ {
		i := next(256)
		if old := table[i]; len(old) > 0 && (old[0] != byte(i) || old[len(old)-1] != byte(i)) {
			fail("an object lost its contents")
		}
		size := 1 + next(2048)
		switch next(1000) {
		case 0:
			size = 1 + next(1<<20)
		case 1, 2, 3, 4, 5, 6, 7, 8, 9:
			size = 1 + next(64<<10)
		}
		b := make([]byte, size)
		for k := uint64(0); k < size; k += 1 + size/16 {
			if b[k] != 0 {
				fail("fresh memory is not zero")
			}
		}
		b[0], b[size-1] = byte(i), byte(i)
		table[i] = b
		list = &node{next: list, id: n}
		if length++; length > 2000 {
			for l := list; l.next != nil; l = l.next {
				if l.id <= l.next.id {
					fail("a list lost its order")
				}
			}
			list, length = nil, 0
		}
		if n%4096 == 0 {
			deep(int(next(200)))
		}
		mallocs.Add(2)
	}
	for n := 9999; n >= 0; n-- {
		if kept.id != uint64(n) {
			fail("a list that was kept is broken")
		}
		kept = kept.next
	}
}

// deep makes the stack grow.
func deep(n int) int {
	var room [128]int
	if n == 0 {
		return room[0]
	}
	return deep(n-1) + room[n%128]
}

func main() {
	workers, cycles, seconds := arg(1, 16), arg(2, 1000), arg(3, 600)
	debug.SetGCPercent(20)
	var stop atomic.Bool
	var group sync.WaitGroup
	for w := range workers {
		group.Add(1)
		go func() {
			defer group.Done()
			worker(uint64(w+1), &stop)
		}()
	}
	var stats runtime.MemStats
	procs := runtime.GOMAXPROCS(0)
	for begin, n := time.Now(), 0; ; n++ {
		if n%4 == 0 {
			runtime.GC() // sweeps all
		} else {
			time.Sleep(time.Millisecond) // GOGC begins a cycle, and allocations sweep
		}
		if n%32 == 0 {
			runtime.GOMAXPROCS(procs + n/32%4) // Ps come and go with their caches
		}
		if n%64 == 1 {
			large = make([]byte, 24<<20+n<<13) // chunks, and blocks of summaries, as a whole
		} else if n%64 == 33 {
			large = nil
		}
		runtime.ReadMemStats(&stats)
		if stats.NumGC%64 == 0 {
			debug.FreeOSMemory()
		}
		if int(stats.NumGC) >= cycles || time.Since(begin) > time.Duration(seconds)*time.Second {
			break
		}
	}
	stop.Store(true)
	group.Wait()
	println("stress:", workers, "goroutines,", mallocs.Load(), "objects,", stats.NumGC, "cycles")
}
