// Command http is a server and 32 clients in one program: each request sends a document as JSON, and gets it back sorted. It runs SECONDS (60).
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

type document struct {
	Names  []string
	Values map[string]int
}

func serve(w http.ResponseWriter, r *http.Request) {
	var d document
	if err := json.NewDecoder(r.Body).Decode(&d); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	slices.Sort(d.Names)
	json.NewEncoder(w).Encode(d)
}

func fail(what ...any) {
	fmt.Fprintln(os.Stderr, append([]any{"http:"}, what...)...)
	os.Exit(3)
}

func client(url string, seed int, until time.Time, requests *atomic.Int64) {
	for n := seed; time.Now().Before(until); n++ {
		d := document{Values: map[string]int{}}
		for i := range 20 + n%200 {
			d.Names = append(d.Names, strconv.Itoa((i*7919+n)%10007))
			d.Values[d.Names[i]] = i
		}
		body, _ := json.Marshal(d)
		response, err := http.Post(url, "application/json", bytes.NewReader(body))
		if err != nil {
			fail(err)
		}
		text, err := io.ReadAll(response.Body)
		response.Body.Close()
		var got document
		if err != nil || json.Unmarshal(text, &got) != nil || len(got.Names) != len(d.Names) || !slices.IsSorted(got.Names) {
			fail("a wrong answer", err)
		}
		for name, value := range d.Values {
			if got.Values[name] != value {
				fail("a wrong value")
			}
		}
		requests.Add(1)
	}
}

func main() {
	seconds := 60
	if len(os.Args) > 1 {
		seconds, _ = strconv.Atoi(os.Args[1])
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fail(err)
	}
	go http.Serve(listener, http.HandlerFunc(serve))
	http.DefaultTransport.(*http.Transport).MaxIdleConnsPerHost = 64
	var requests atomic.Int64
	var clients sync.WaitGroup
	until := time.Now().Add(time.Duration(seconds) * time.Second)
	for i := range 32 {
		clients.Add(1)
		go func() {
			defer clients.Done()
			client("http://"+listener.Addr().String(), i*1000, until, &requests)
		}()
	}
	clients.Wait()
	fmt.Fprintln(os.Stderr, "http:", requests.Load(), "requests in", seconds, "s")
}
