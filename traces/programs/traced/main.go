// Command traced does a little of all that an allocator sees, and traces itself while it does: as a program that calls runtime/trace, or
// as a server that is asked for a trace over HTTP.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	_ "net/http/pprof"
	"os"
	"runtime"
	"runtime/trace"
	"strings"
	"sync"
	"time"
)

// A node has pointers, so that its slots have headers or bitmaps; its children live as long as it does.
type node struct {
	Name     string   `json:"name"`
	Data     []byte   `json:"data"`
	Children []*node  `json:"children,omitempty"`
	padding  [70]*int // more than 512 bytes: objects with a header
}

func tree(depth, seed int) *node {
	n := &node{Name: fmt.Sprint("node ", seed), Data: make([]byte, seed%700)}
	if depth > 0 {
		n.Children = []*node{tree(depth-1, seed*3+1), tree(depth-1, seed*5+2)}
	}
	return n
}

// grow needs a larger stack with each level.
func grow(level int) int {
	var frame [128]int
	if level == 0 {
		return len(frame)
	}
	frame[level%len(frame)] = grow(level - 1)
	return frame[level%len(frame)] + 1
}

// work is one round: trees as JSON, large objects, small ones without pointers, goroutines with stacks that grow.
func work(seed int) (int, error) {
	text, err := json.Marshal(tree(4, seed))
	if err != nil {
		return 0, err
	}
	var back node
	if err := json.Unmarshal(text, &back); err != nil {
		return 0, err
	}
	sum := len(back.Children)
	large := make([]byte, 40_000+seed%7*10_000)
	sum += len(large)
	var tiny []*int16
	for i := range 50 {
		v := int16(i)
		tiny = append(tiny, &v)
	}
	sum += len(tiny) + len(strings.Repeat("x", seed%100))
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			grow(8 << i)
		}()
	}
	wg.Wait()
	return sum, nil
}

func rounds(n int, pause time.Duration) {
	kept := make([]*node, 8)
	for i := range n {
		if _, err := work(i); err != nil {
			log.Fatal(err)
		}
		kept[i%len(kept)] = tree(2, i)
		time.Sleep(pause)
	}
	runtime.KeepAlive(kept)
}

// traceSelf is what a program without a server does.
func traceSelf(name string, run func()) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	if err := trace.Start(f); err != nil {
		return err
	}
	run()
	trace.Stop()
	return f.Close()
}

// fetch asks a server of this process for a trace of some seconds, as one would with curl.
func fetch(name, seconds string, run func()) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	http.HandleFunc("/work", func(w http.ResponseWriter, r *http.Request) {
		sum, err := work(len(r.URL.RawQuery))
		fmt.Fprintln(w, sum, err)
	})
	go http.Serve(l, nil)
	rounds(20, 0) // a heap that is there when the trace begins
	done := make(chan error)
	go func() { done <- get("http://"+l.Addr().String()+"/debug/pprof/trace?seconds="+seconds, name) }()
	for {
		select {
		case err := <-done:
			return err
		default:
			run()
			if err := get("http://"+l.Addr().String()+"/work?xyz", os.DevNull); err != nil {
				return err
			}
		}
	}
}

func get(url, name string) error {
	r, err := http.Get(url)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, r.Body); err != nil {
		return err
	}
	return f.Close()
}

func main() {
	out := flag.String("o", "trace.out", "where the trace goes")
	n := flag.Int("rounds", 20, "rounds of work")
	pause := flag.Duration("pause", 0, "between rounds")
	seconds := flag.String("seconds", "", "ask an HTTP server for a trace of so many seconds")
	workers := flag.Int("workers", 1, "goroutines that work at the same time")
	flag.Parse()

	run := func() {
		var wg sync.WaitGroup
		for range *workers {
			wg.Add(1)
			go func() {
				defer wg.Done()
				rounds(*n, *pause)
			}()
		}
		wg.Wait()
	}
	var err error
	if *seconds != "" {
		err = fetch(*out, *seconds, run)
	} else {
		err = traceSelf(*out, run)
	}
	if err != nil {
		log.Fatal(err)
	}
}
