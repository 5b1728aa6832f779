// Command escape makes objects of types that are named after what becomes of them, and traces itself while it does. docs/ESCAPE.md sets what
// the compiler says of them (go build -gcflags=-m) beside what the trace has; the test escape_go does the same.
//
// Each type has a size of its own, and one function that makes its objects.
package main

import (
	"flag"
	"log"
	"os"
	"runtime"
	"runtime/trace"
)

// To the heap, says the compiler.
type (
	returned    struct{ v [3]int }
	inInterface struct{ v [5]int }
	captured    struct{ v [7]int }
	inGoroutine struct{ v [9]int }
	toUnknown   struct{ v [11]int }
	inGlobal    struct{ v [13]int }
	inMap       struct{ v [15]int }
	sent        struct{ v [17]int }
	inSlice     struct{ v [19]int }
	appended    struct{ v [21]*int }
	largeNew    struct{ v [64<<10/8 + 1]int }  // new, &T{}, make: at most 64 KiB on the stack
	largeVar    struct{ v [128<<10/8 + 1]int } // a variable: at most 128 KiB
)

// On the stack, says the compiler.
type (
	inlined       struct{ v [4]int }
	passedDown    struct{ v [6]int }
	borrowed      struct{ v [8]int }
	devirtualised struct{ v [10]int }
	copied        struct{ v [12]int }
	constLength   struct{ v [14]int }
	smallArray    struct{ v [8 << 10 / 8]int }
	shortMake     struct{ v [2]int }
	oneAppended   struct{ v [1]*int }
)

// On the stack, says the compiler, but for slices that turn out to have more than 32 bytes.
type (
	longMake     struct{ v [23]int }
	manyAppended struct{ v [25]*int }
)

// To the heap, says the compiler, but the trace has no object of the type.
type (
	constant   struct{ v [27]int } // read-only data
	noPointers struct{ v [29]int } // append does not tell the type
)

type summer interface{ sum() int }

func (p *toUnknown) sum() int     { return p.v[0] }
func (p *devirtualised) sum() int { return p.v[0] }

var (
	global  *inGlobal
	anyone  any
	table   = map[int]*inMap{}
	channel = make(chan *sent, 1)
	many    []appended
	plain   []noPointers
)

//go:noinline
func heapReturned(i int) *returned {
	x := returned{}
	x.v[0] = i
	return &x
}

//go:noinline
func heapInterface(i int) {
	x := inInterface{}
	x.v[0] = i
	anyone = x
}

//go:noinline
func heapCaptured(i int) func() int {
	x := captured{}
	return func() int {
		x.v[0] += i // written: the closure has its address, not a copy
		return x.v[0]
	}
}

//go:noinline
func heapGoroutine(i int) int {
	x := inGoroutine{}
	done := make(chan bool)
	go func() {
		x.v[0] = i
		done <- true
	}()
	<-done
	return x.v[0]
}

//go:noinline
func callSum(s summer) int { return s.sum() } // whose sum?

//go:noinline
func heapUnknown(i int) int {
	x := &toUnknown{}
	x.v[0] = i
	return callSum(x)
}

//go:noinline
func heapGlobal(i int) {
	global = &inGlobal{}
	global.v[0] = i
}

//go:noinline
func heapMap(i int) {
	table[i%10] = &inMap{}
}

//go:noinline
func heapSent(i int) int {
	channel <- &sent{}
	return (<-channel).v[0]
}

//go:noinline
func heapSlice(n int) []inSlice {
	return make([]inSlice, n)
}

//go:noinline
func heapAppended(n int) {
	var x []appended
	for range n {
		x = append(x, appended{})
	}
	many = x
}

//go:noinline
func heapLargeNew(i int) int {
	x := new(largeNew)
	x.v[i] = i
	return x.v[0]
}

//go:noinline
func heapLargeVar(i int) int {
	var x largeVar
	x.v[i] = i
	return x.v[0]
}

func newInlined(i int) *inlined {
	x := inlined{}
	x.v[0] = i
	return &x
}

//go:noinline
func stackInlined(i int) int {
	x := newInlined(i)
	x.v[i%4]++
	return x.v[0]
}

//go:noinline
func readOnly(p *passedDown) int { return p.v[0] }

//go:noinline
func stackPassedDown(i int) int {
	x := &passedDown{}
	x.v[i%6] = i
	return readOnly(x)
}

//go:noinline
func each(n int, f func(int)) {
	for i := range n {
		f(i)
	}
}

//go:noinline
func stackBorrowed(i int) int {
	x := &borrowed{}
	each(8, func(k int) { x.v[k] = i })
	return x.v[7]
}

//go:noinline
func stackDevirtualised(i int) int {
	var s summer = &devirtualised{}
	return s.sum() + i
}

//go:noinline
func stackCopied(i int) copied {
	x := copied{}
	x.v[i%12] = i
	return x
}

//go:noinline
func stackConstLength(i int) int {
	x := make([]constLength, 4)
	x[i%4].v[0] = i
	return x[0].v[0]
}

//go:noinline
func stackSmallArray(i int) int {
	var x smallArray
	x.v[i%len(x.v)] = i
	return x.v[0]
}

//go:noinline
func stackShortMake(n int) int {
	x := make([]shortMake, n)
	return x[0].v[0]
}

//go:noinline
func stackOneAppended(n int) int {
	var x []oneAppended
	for range n {
		x = append(x, oneAppended{})
	}
	return len(x)
}

//go:noinline
func laterLongMake(n int) int {
	x := make([]longMake, n)
	return x[0].v[0]
}

//go:noinline
func laterManyAppended(n int) int {
	var x []manyAppended
	for range n {
		x = append(x, manyAppended{})
	}
	return len(x)
}

//go:noinline
func unseenConstant() {
	anyone = constant{}
}

//go:noinline
func unseenNoPointers(n int) {
	var x []noPointers
	for range n {
		x = append(x, noPointers{})
	}
	plain = x
}

func run(n int) (sum int) {
	for i := range n {
		sum += heapReturned(i).v[0]
		heapInterface(i)
		sum += heapCaptured(i)()
		sum += heapGoroutine(i)
		sum += heapUnknown(i)
		heapGlobal(i)
		heapMap(i)
		sum += heapSent(i)
		sum += heapSlice(1 + i%10)[0].v[0]
		heapAppended(1 + i%10)
		sum += heapLargeNew(i % 100)
		sum += heapLargeVar(i % 100)

		sum += stackInlined(i)
		sum += stackPassedDown(i)
		sum += stackBorrowed(i)
		sum += stackDevirtualised(i)
		sum += stackCopied(i).v[0]
		sum += stackConstLength(i)
		sum += stackSmallArray(i)
		sum += stackShortMake(1 + i%2)
		sum += stackOneAppended(1 + i%2)

		sum += laterLongMake(1 + i%10)
		sum += laterManyAppended(1 + i%10)
		unseenConstant()
		unseenNoPointers(1 + i%10)
	}
	return sum
}

func main() {
	out := flag.String("o", "trace.out", "where the trace goes")
	n := flag.Int("n", 1000, "objects of each type")
	flag.Parse()

	runtime.GOMAXPROCS(1)
	f, err := os.Create(*out)
	if err != nil {
		log.Fatal(err)
	}
	if err := trace.Start(f); err != nil {
		log.Fatal(err)
	}
	sum := run(*n)
	trace.Stop()
	if err := f.Close(); err != nil {
		log.Fatal(err)
	}
	log.SetFlags(0)
	log.Print(*n, " objects of each type; sum ", sum)
}
