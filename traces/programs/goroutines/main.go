// Command goroutines runs thousands of goroutines that use the scheduler, stacks and the collector in as many ways as there are:
// channels, mutexes, deep stacks, finalizers, cleanups, weak pointers, and changes of the runtime's settings while all that goes on.
package main

import (
	"flag"
	"fmt"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
	"weak"
)

// pipeline passes n messages through a chain of goroutines, each of which copies what it gets.
func pipeline(stages, n int) int {
	first := make(chan []byte, 4)
	last := first
	for range stages {
		in, out := last, make(chan []byte, 4)
		go func() {
			defer close(out)
			for m := range in {
				out <- append(make([]byte, 0, len(m)+1), append(m, byte(len(m)))...)
			}
		}()
		last = out
	}
	go func() {
		defer close(first)
		for i := range n {
			first <- make([]byte, i%256)
		}
	}()
	total := 0
	for m := range last {
		total += len(m)
	}
	return total
}

// A table is a map under a mutex that many goroutines change.
type table struct {
	mu sync.Mutex
	m  map[int]*[4]int
}

func contend(workers, n int) int {
	t := table{m: make(map[int]*[4]int)}
	var wg sync.WaitGroup
	for w := range workers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range n {
				v := &[4]int{w, i}
				t.mu.Lock()
				t.m[(w*n+i)%4096] = v
				t.mu.Unlock()
				if i%64 == 0 {
					runtime.Gosched()
				}
			}
		}()
	}
	wg.Wait()
	return len(t.m)
}

// deep needs about 300 bytes of stack for each level, and leaves garbage on its way.
func deep(level int) int {
	var pad [32]int
	pad[level%32] = level
	if level == 0 {
		return 0
	}
	p := new(int)
	*p = deep(level - 1)
	return *p + 1 + pad[(level+1)%32]
}

// stacks grows the stacks of many goroutines, each to its own depth, and lets the collector shrink them while they wait.
func stacks(goroutines, levels int) int64 {
	var total atomic.Int64
	var wg, grown sync.WaitGroup
	shrunk := make(chan struct{})
	grown.Add(goroutines)
	for i := range goroutines {
		wg.Add(1)
		go func() {
			defer wg.Done()
			total.Add(int64(deep(1 + i*levels/goroutines)))
			grown.Done()
			<-shrunk
			total.Add(int64(deep(1 + i%100)))
		}()
	}
	grown.Wait()
	runtime.GC()
	runtime.GC()
	close(shrunk)
	wg.Wait()
	return total.Load()
}

// A node can be watched after its death.
type node struct {
	id   int
	next *node
	data [5]int
}

// watch makes objects with finalizers, cleanups and weak pointers, drops half of them, and says how many of the others are still there.
func watch(n int) int {
	var finalized, cleaned atomic.Int64
	kept := make([]*node, 0, n/2)
	weaks := make([]weak.Pointer[node], 0, n)
	for i := range n {
		o := &node{id: i}
		switch i % 3 {
		case 0:
			runtime.SetFinalizer(o, func(o *node) { finalized.Add(1) })
		case 1:
			runtime.AddCleanup(o, func(int) { cleaned.Add(1) }, i)
		}
		weaks = append(weaks, weak.Make(o))
		if i%2 == 0 {
			kept = append(kept, o)
		}
	}
	for range 3 {
		runtime.GC()
		time.Sleep(time.Millisecond)
	}
	alive := 0
	for i, w := range weaks {
		if o := w.Value(); i%2 == 0 && o != nil && o.id == i {
			alive++
		}
	}
	runtime.KeepAlive(kept)
	return alive
}

// settings turns every knob that the runtime has, until it is told to stop.
func settings(procs int, stop <-chan struct{}) {
	var stats runtime.MemStats
	defer debug.SetMemoryLimit(math.MaxInt64)
	for i := 0; ; i++ {
		select {
		case <-stop:
			runtime.GOMAXPROCS(procs)
			debug.SetGCPercent(100)
			return
		case <-time.After(3 * time.Millisecond):
		}
		switch i % 6 {
		case 0:
			runtime.GOMAXPROCS(1 + (i*7)%procs)
		case 1:
			debug.SetGCPercent(50 + i%100)
		case 2:
			runtime.ReadMemStats(&stats)
			debug.SetMemoryLimit(int64(stats.Sys))
		case 3:
			debug.FreeOSMemory()
		case 4:
			debug.SetMemoryLimit(math.MaxInt64)
			runtime.GOMAXPROCS(procs)
		case 5:
			runtime.GC()
		}
	}
}

func main() {
	n := flag.Int("n", 2000, "goroutines, and the measure of all else")
	rounds := flag.Int("rounds", 2, "rounds")
	flag.Parse()

	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		settings(runtime.GOMAXPROCS(0), stop)
		close(stopped)
	}()
	want := ""
	for range *rounds {
		got := fmt.Sprint(pipeline(*n/10, 2**n/3), contend(*n, 100), stacks(*n, 2000), watch(4**n))
		if want != "" && got != want {
			fmt.Fprintln(os.Stderr, "goroutines: rounds differ:", got, "and", want)
			os.Exit(1)
		}
		want = got
	}
	close(stop)
	<-stopped
	fmt.Println("done:", want)
}
