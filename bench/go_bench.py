"""go_bench.py: a Go program that allocates as bench_malloc does, generated because size specialised malloc wants types known at compile time."""

SIZES = [8, 16, 24, 32, 48, 64, 96, 128, 256, 512, 1024, 4096, 32768, 65536]

HEAD = """package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"time"
)

// measure times batches; what they allocated is garbage, collected and swept outside of the timed part.
func measure(name string, n int, budget time.Duration, f func(int)) {
	var times []float64
	for i := 0; i < 3; i++ {
		f(n)
		runtime.GC()
	}
	for end := time.Now().Add(budget); len(times) < 3 || time.Now().Before(end); {
		begin := time.Now()
		f(n)
		times = append(times, float64(time.Since(begin).Nanoseconds())/float64(n))
		runtime.GC()
	}
	slices.Sort(times)
	fmt.Printf("%s %.3f %.3f\\n", name, times[len(times)/20], times[len(times)/2])
}

func main() {
	debug.SetGCPercent(-1)
	ms, err := strconv.Atoi(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "usage: bench MILLISECONDS")
		os.Exit(2)
	}
	budget := time.Duration(ms) * time.Millisecond
"""


def source():
    calls, funcs = [], []
    for size in SIZES:
        n = max(4, (256 << 10) // size)
        for kind, typ in (("noscan", f"[{size}]byte"), ("pointers", f"[{size // 8}]*byte")):
            name = f"{kind}{size}"
            calls.append(f'\tmeasure("{kind}/{size}", {n}, budget, {name})\n')
            funcs.append(f"\nvar sink_{name} *{typ}\n\nfunc {name}(n int) {{\n\tfor i := 0; i < n; i++ {{\n"
                         f"\t\tsink_{name} = new({typ})\n\t}}\n\tsink_{name} = nil\n}}\n")
    return HEAD + "".join(calls) + "}\n" + "".join(funcs)
