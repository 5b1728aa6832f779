// Command appends grows slices by append: numbers, lines, words. With GOEXPERIMENT=runtimefreegc the compiler gives the old
// memory back at each growth, where it can tell that nothing else points to it.
package main

import (
	"flag"
	"fmt"
	"sync"
)

type point struct{ x, y, z float64 }

//go:noinline
func numbers(n int) []int {
	var s []int
	for i := range n {
		s = append(s, i)
	}
	return s
}

//go:noinline
func line(n int) []byte {
	var s []byte
	for i := range n {
		s = append(s, byte('a'+i%26))
	}
	return s
}

//go:noinline
func points(n int) []point {
	var s []point
	for i := range n {
		s = append(s, point{float64(i), float64(i) / 2, float64(i) / 3})
	}
	return s
}

// words has pointers, so that its old memory is left to the collector.
//
//go:noinline
func words(n int) []string {
	var s []string
	for i := range n {
		s = append(s, string(line(i%40)))
	}
	return s
}

func work(rounds, seed int) int {
	kept := make([][]int, 64)
	sum := 0
	for r := range rounds {
		n := (r*7919 + seed*104729) % 700
		kept[r%len(kept)] = numbers(n)
		sum += len(line(n*3)) + len(points(n/4)) + len(kept[(r*13)%len(kept)])
		if r%16 == 0 {
			sum += len(words(n / 4))
		}
	}
	return sum
}

func main() {
	workers := flag.Int("workers", 4, "goroutines at a time")
	rounds := flag.Int("rounds", 12000, "slices of each kind that a goroutine grows")
	flag.Parse()
	sums := make([]int, *workers)
	var wg sync.WaitGroup
	for i := range sums {
		wg.Go(func() { sums[i] = work(*rounds, i) })
	}
	wg.Wait()
	fmt.Println(sums)
}
