// Command trees builds and walks binary trees: many small objects full of pointers, most of them short-lived.
package main

import (
	"flag"
	"fmt"
	"sync"
)

type tree struct {
	left, right *tree
}

func build(depth int) *tree {
	if depth == 0 {
		return new(tree)
	}
	return &tree{build(depth - 1), build(depth - 1)}
}

func (t *tree) count() int {
	if t.left == nil {
		return 1
	}
	return 1 + t.left.count() + t.right.count()
}

// A dict is an ordered tree with values, of nodes of several sizes.
type dict struct {
	key         int
	value       string
	left, right *dict
	history     []int
}

func (d *dict) set(key int, value string) *dict {
	if d == nil {
		return &dict{key: key, value: value}
	}
	switch {
	case key < d.key:
		d.left = d.left.set(key, value)
	case key > d.key:
		d.right = d.right.set(key, value)
	default:
		d.history = append(d.history, len(d.value))
		d.value = value
	}
	return d
}

func (d *dict) len() int {
	if d == nil {
		return 0
	}
	return 1 + d.left.len() + d.right.len()
}

func main() {
	depth := flag.Int("depth", 16, "depth of the deepest tree")
	keys := flag.Int("keys", 100000, "operations on the ordered tree")
	flag.Parse()

	long := build(*depth)
	var wg sync.WaitGroup
	sums := make([]int, *depth+1)
	for d := 4; d <= *depth; d += 2 {
		wg.Go(func() {
			for range 1 << (*depth - d + 3) {
				sums[d] += build(d).count()
			}
		})
	}
	var ordered *dict
	wg.Go(func() {
		x := uint32(1)
		for range *keys {
			x = x*1664525 + 1013904223
			ordered = ordered.set(int(x>>16), fmt.Sprint("value ", x))
		}
	})
	wg.Wait()
	total := 0
	for _, n := range sums {
		total += n
	}
	fmt.Println("nodes:", total, "long-lived:", long.count(), "ordered:", ordered.len())
}
