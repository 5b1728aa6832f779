// Command large allocates and frees large objects, with and without pointers, so that the heap grows, shrinks and is given back.
package main

import (
	"flag"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
)

const (
	minSize = 33 << 10
	maxSize = 8 << 20
)

// A source is a linear congruential generator: the same numbers in each run.
type source uint64

func (s *source) below(n int) int {
	*s = *s*6364136223846793005 + 1442695040888963407
	return int(uint64(*s)>>33) % n
}

// size returns a size from minSize to maxSize; small ones are more frequent.
func (s *source) size() int {
	limit := minSize
	for limit < maxSize && s.below(3) != 0 {
		limit *= 2
	}
	return minSize + s.below(min(limit, maxSize-minSize+1))
}

// A block is a large object: either bytes, or pointers to small ones.
type block struct {
	bytes []byte
	ptrs  []*int
}

func newBlock(s *source) block {
	size := s.size()
	if s.below(3) != 0 {
		b := make([]byte, size)
		b[0], b[size-1] = 1, 1
		return block{bytes: b}
	}
	p := make([]*int, size/8)
	for i := 0; i < len(p); i += 16 {
		v := i
		p[i] = &v
	}
	return block{ptrs: p}
}

func (b block) check() error {
	if b.bytes != nil && (b.bytes[0] != 1 || b.bytes[len(b.bytes)/2] != 0) {
		return fmt.Errorf("a block of %d bytes has changed", len(b.bytes))
	}
	for i := 0; i < len(b.ptrs); i += 16 {
		if *b.ptrs[i] != i {
			return fmt.Errorf("pointer %d of %d has changed", i, len(b.ptrs))
		}
	}
	return nil
}

// churn keeps up to live blocks and replaces one after the other; at times it drops most of them.
func churn(seed, live, n int) error {
	s := source(seed)
	blocks := make([]block, live)
	for i := range n {
		k := s.below(live)
		if err := blocks[k].check(); err != nil {
			return err
		}
		blocks[k] = newBlock(&s)
		if i%(n/4+1) == n/5 {
			clear(blocks[live/8:])
		}
	}
	return nil
}

func main() {
	workers := flag.Int("workers", 4, "goroutines")
	live := flag.Int("live", 24, "blocks that each keeps")
	n := flag.Int("n", 300, "blocks that each allocates in a round")
	rounds := flag.Int("rounds", 3, "rounds; between them memory is given back to the system")
	flag.Parse()

	for r := range *rounds {
		var wg sync.WaitGroup
		errs := make([]error, *workers)
		for w := range *workers {
			wg.Add(1)
			go func() {
				defer wg.Done()
				errs[w] = churn(r**workers+w+1, *live, *n)
			}()
		}
		wg.Wait()
		for _, err := range errs {
			if err != nil {
				panic(err)
			}
		}
		debug.FreeOSMemory()
	}
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	fmt.Println("large objects:", *workers**n**rounds, "MB allocated:", stats.TotalAlloc>>20)
}
