// kinds writes a trace with kinds of events that programs rarely make: coroutines, tasks, regions, logs, samples of the CPU.
// With GODEBUG=traceallocfree=1; tests/gotrace_exp.py runs it.
package main

import (
	"context"
	"io"
	"iter"
	"log"
	"os"
	"runtime"
	"runtime/pprof"
	"runtime/trace"
	"sync"
	"time"
)

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// switches goes to and fro between coroutines: one that comes to its end, and one that is left in the middle.
func switches() {
	numbers := func(yield func(int) bool) {
		for i := range 100 {
			if !yield(i) {
				return
			}
		}
	}
	next, stop := iter.Pull(iter.Seq[int](numbers))
	for _, more := next(); more; _, more = next() {
	}
	stop()
	next, stop = iter.Pull(iter.Seq[int](numbers))
	next()
	stop()
}

func task(ctx context.Context) {
	ctx, t := trace.NewTask(ctx, "task")
	defer t.End()
	trace.WithRegion(ctx, "region", func() {
		trace.Log(ctx, "category", "message")
		runtime.GC()
	})
}

var kept []*[512]int

// work takes until, and makes garbage, so that there are samples and cycles of the GC.
func work(until time.Time) {
	for time.Now().Before(until) {
		kept = nil
		for range 1000 {
			kept = append(kept, new([512]int))
		}
	}
}

func main() {
	f, err := os.Create(os.Args[1])
	check(err)
	check(pprof.StartCPUProfile(io.Discard))
	check(trace.Start(f))
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			switches()
			task(context.Background())
		})
	}
	work(time.Now().Add(100 * time.Millisecond))
	all.Wait()
	trace.Stop()
	pprof.StopCPUProfile()
	check(f.Close())
}
