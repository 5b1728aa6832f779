// replay.go: the program of replay.gmt, the recording that fuzz_replay edits: in few events several Ps, stacks, large objects, sweeping,
// scavenging, a P that ends. To record it again: GOMAXPROCS=3 gomem record -f -o replay.gmt replay.go
package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"sync"
)

var objects [][]byte
var pointers []*[6]*int

func deep(n int) byte {
	var a [1024]byte
	a[n%1024] = 1
	if n > 0 {
		return deep(n-1) + a[1]
	}
	return a[0]
}

func work(i int, done *sync.WaitGroup) {
	defer done.Done()
	deep(8 + i*30)
	for j := range 20 {
		objects[i] = make([]byte, 24+j*700)
		pointers[i] = new([6]*int)
		if j%4 == 0 {
			runtime.Gosched()
		}
	}
}

func main() {
	objects = make([][]byte, 3)
	pointers = make([]*[6]*int, 3)
	var done sync.WaitGroup
	for i := range 3 {
		done.Add(1)
		go work(i, &done)
	}
	done.Wait()
	objects = append(objects, make([]byte, 100000))
	for j := range 12 {
		objects = append(objects, make([]byte, 16+j*100))
		pointers = append(pointers, new([6]*int))
	}
	objects = nil
	runtime.GOMAXPROCS(2)
	debug.FreeOSMemory()
	for j := range 6 {
		objects = append(objects, make([]byte, 16+j*5000))
	}
	os.Exit(0)
}
