// pacing.go: the program of pacing.c in Go.
package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"time"
)

const (
	peak    = 400000
	after   = 40000
	perTick = 2048
)

type node struct {
	next  *node
	bytes [504]byte
}

var slots [peak]*node

func residentMiB() float64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		panic(err)
	}
	var size, resident int
	fmt.Sscan(string(b), &size, &resident)
	return float64(resident) * float64(os.Getpagesize()) / (1 << 20)
}

func print(seconds float64) {
	m := []metrics.Sample{{Name: "/gc/heap/goal:bytes"}, {Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/gc/cycles/total:gc-cycles"}}
	metrics.Read(m)
	mib := func(i int) float64 { return float64(m[i].Value.Uint64()) / (1 << 20) }
	fmt.Printf("%.0f %.1f %.1f %.1f %.1f %d\n", seconds, mib(0), mib(1), mib(2), residentMiB(), m[3].Value.Uint64())
}

func main() {
	runtime.GOMAXPROCS(2)
	seconds, err := strconv.ParseFloat(os.Args[1], 64)
	if err != nil {
		panic(err)
	}
	begin := time.Now()
	rand, live, printed := uint64(1), uint64(peak), 0.0
	for at := 0.0; at < seconds; at = time.Since(begin).Seconds() {
		if live == peak && at > seconds/4 {
			live = after
			for i := after; i < peak; i++ {
				slots[i] = nil
			}
		}
		for i := 0; i < perTick; i++ {
			rand = rand*6364136223846793005 + 1442695040888963407
			x := new(node)
			for k := range x.bytes {
				x.bytes[k] = 1
			}
			slots[(rand>>33)%live] = x
		}
		if at >= printed {
			print(at)
			printed++
		}
		time.Sleep(10 * time.Millisecond)
	}
}
