// Command httpserver puts a small HTTP server on the loopback under load from clients in the same process, and ends by itself.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A note is what the server keeps.
type note struct {
	ID     int               `json:"id"`
	Title  string            `json:"title"`
	Body   string            `json:"body"`
	Labels map[string]string `json:"labels,omitempty"`
}

// A store is the server's memory: the last notes of each client. Clients' numbers lie more than limit apart.
type store struct {
	mu    sync.RWMutex
	notes map[int]*note
	limit int
}

func (s *store) put(n *note) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notes[n.ID] = n
	delete(s.notes, n.ID-s.limit)
}

func (s *store) get(id int) *note {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.notes[id]
}

func (s *store) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /notes/{id}", func(w http.ResponseWriter, r *http.Request) {
		n := new(note)
		if err := json.NewDecoder(r.Body).Decode(n); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.put(n)
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /notes/{id}", func(w http.ResponseWriter, r *http.Request) {
		id, err := strconv.Atoi(r.PathValue("id"))
		n := s.get(id)
		if err != nil || n == nil {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(n); err != nil {
			log.Print(err)
		}
	})
	return mux
}

// load sends one client's requests: it puts notes and reads each of them back.
func load(c *http.Client, url string, client, requests int) error {
	for i := range requests {
		id := 2*client*requests + i
		n := note{
			ID:     id,
			Title:  fmt.Sprintf("note %d of client %d", i, client),
			Body:   strings.Repeat("words ", id%512),
			Labels: map[string]string{"client": strconv.Itoa(client), "parity": strconv.Itoa(id % 2)},
		}
		if err := exchange(c, fmt.Sprintf("%s/notes/%d", url, id), &n); err != nil {
			return err
		}
	}
	return nil
}

func exchange(c *http.Client, url string, n *note) error {
	body, err := json.Marshal(n)
	if err != nil {
		return err
	}
	req, err := http.NewRequest(http.MethodPut, url, strings.NewReader(string(body)))
	if err != nil {
		return err
	}
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp, err = c.Get(url); err != nil {
		return err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if string(got) != string(body)+"\n" {
		return fmt.Errorf("%s: %s: got %d bytes, want %d", url, resp.Status, len(got), len(body)+1)
	}
	return nil
}

func main() {
	clients := flag.Int("clients", 32, "clients that send at the same time")
	requests := flag.Int("requests", 300, "notes that each client puts and gets")
	flag.Parse()

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	s := &store{notes: make(map[int]*note), limit: *requests / 2}
	server := &http.Server{Handler: s.handler(), ReadTimeout: time.Minute}
	go server.Serve(l)

	c := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: *clients}, Timeout: time.Minute}
	var wg sync.WaitGroup
	for i := range *clients {
		wg.Go(func() {
			if err := load(c, "http://"+l.Addr().String(), i, *requests); err != nil {
				log.Fatal(err)
			}
		})
	}
	wg.Wait()
	c.CloseIdleConnections()
	if err := server.Close(); err != nil {
		log.Fatal(err)
	}
	fmt.Println("requests:", 2**clients**requests, "notes kept:", len(s.notes))
}
