// Command gc_keeps asks Go which objects of random graphs a collection keeps, and prints the graphs and the answers: tests/data/gc_keeps.txt,
// which tests/test_mgcmark.c holds against gomem. Weak pointers tell what was kept.
//
//	type SIZE MASK       a type of SIZE words, of which those with a 1 in MASK hold pointers (word 0 first)
//	object TYPE COUNT    an array of COUNT of them; numbered from 0
//	link FROM WORD TO OFFSET   word WORD of object FROM holds the address of byte OFFSET of object TO, whether it is a pointer word or not
//	root TO OFFSET
//	kept BITS            for each object, 1 if it is still there
package main

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"runtime"
	"runtime/debug"
	"strings"
	"unsafe"
	"weak"
)

type shape struct {
	mask string
	typ  reflect.Type
}

type object struct {
	typ, count int
	size       uintptr
}

var roots []unsafe.Pointer // scanned as any variable is

func makeShape(rnd *rand.Rand) shape {
	words := 1 + rnd.IntN(12)
	var mask strings.Builder
	var fields []reflect.StructField
	for i := range words {
		t := reflect.TypeFor[uintptr]()
		bit := byte('0')
		if rnd.IntN(2) == 0 {
			t, bit = reflect.TypeFor[unsafe.Pointer](), '1'
		}
		mask.WriteByte(bit)
		fields = append(fields, reflect.StructField{Name: fmt.Sprintf("F%d", i), Type: t})
	}
	return shape{mask.String(), reflect.StructOf(fields)}
}

func count(rnd *rand.Rand, words int) int {
	limit := []int{1, 8, 70, 600, 5000}[rnd.IntN(5)] // words: one word to more than 32 KiB
	return 1 + rnd.IntN(limit)/words
}

// build makes the objects and writes the links; what it returns keeps nothing. w gets the description.
//
//go:noinline
func build(rnd *rand.Rand, w *bufio.Writer) ([]weak.Pointer[uintptr], []object) {
	var shapes []shape
	for range 6 {
		shapes = append(shapes, makeShape(rnd))
		fmt.Fprintln(w, "type", len(shapes[len(shapes)-1].mask), shapes[len(shapes)-1].mask)
	}
	n := 30 + rnd.IntN(60)
	objects := make([]object, n)
	at := make([]unsafe.Pointer, n)
	weaks := make([]weak.Pointer[uintptr], n)
	for i := range n {
		t := rnd.IntN(len(shapes))
		o := object{typ: t, count: count(rnd, len(shapes[t].mask))}
		if len(shapes[t].mask)*o.count < 2 {
			o.count = 2 // no tiny objects: where these go depends on what was there
		}
		typ := reflect.ArrayOf(o.count, shapes[t].typ)
		o.size = typ.Size()
		objects[i] = o
		at[i] = reflect.New(typ).UnsafePointer()
		weaks[i] = weak.Make((*uintptr)(at[i]))
		fmt.Fprintln(w, "object", t, o.count)
	}
	from := rnd.IntN(n)
	used := map[uintptr]bool{}
	for range 4 * n {
		if rnd.IntN(4) == 0 {
			from = rnd.IntN(n)
		}
		mask := shapes[objects[from].typ].mask
		word := rnd.IntN(len(mask) * objects[from].count)
		if rnd.IntN(3) == 0 {
			word = len(mask)*objects[from].count - 1 - rnd.IntN(len(mask))
		}
		to := rnd.IntN(n)
		off := uintptr(rnd.Int64N(int64(objects[to].size)))
		p := unsafe.Add(at[from], word*8)
		if used[uintptr(p)] {
			continue
		}
		used[uintptr(p)] = true
		if mask[word%len(mask)] == '1' {
			*(*unsafe.Pointer)(p) = unsafe.Add(at[to], off)
		} else {
			*(*uintptr)(p) = uintptr(at[to]) + off
		}
		fmt.Fprintln(w, "link", from, word, to, off)
		from = to
	}
	roots = nil
	for range 1 + rnd.IntN(8) {
		to := rnd.IntN(n)
		off := uintptr(rnd.Int64N(int64(objects[to].size)))
		roots = append(roots, unsafe.Add(at[to], off))
		fmt.Fprintln(w, "root", to, off)
	}
	return weaks, objects
}

func main() {
	debug.SetGCPercent(-1)
	w := bufio.NewWriter(os.Stdout)
	for seed := range uint64(40) {
		weaks, _ := build(rand.New(rand.NewPCG(seed, 1)), w)
		runtime.GC()
		fmt.Fprint(w, "kept ")
		for _, p := range weaks {
			kept := byte('0')
			if p.Value() != nil {
				kept = '1'
			}
			w.WriteByte(kept)
		}
		fmt.Fprintln(w)
		runtime.KeepAlive(roots)
	}
	w.Flush()
}
