// gotrace_exp reads a Go execution trace with golang.org/x/exp/trace and prints how many events it has of each kind, as far as the package
// tells them apart: "number<tab>kind[<tab>what more it says of the event]".
//
// tests/gotrace_exp.py runs it. Exit code 3: the package refuses the trace; its reason is on stderr.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"

	"golang.org/x/exp/trace"
)

// key says what an event is without its values. A range of a stopped world has its reason in its name: that is left out.
func key(e trace.Event) string {
	switch kind := e.Kind(); kind {
	case trace.EventMetric:
		return kind.String() + "\t" + e.Metric().Name
	case trace.EventRangeBegin, trace.EventRangeActive, trace.EventRangeEnd:
		name, _, _ := strings.Cut(e.Range().Name, " (")
		return kind.String() + "\t" + name
	case trace.EventExperimental:
		x := e.Experimental()
		return kind.String() + "\t" + x.Experiment + " " + x.Name
	case trace.EventStateTransition:
		return kind.String() + "\t" + transition(e.StateTransition())
	default:
		return kind.String()
	}
}

func transition(s trace.StateTransition) string {
	switch s.Resource.Kind {
	case trace.ResourceGoroutine:
		from, to := s.Goroutine()
		return fmt.Sprintf("G %v>%v", from, to)
	case trace.ResourceProc:
		from, to := s.Proc()
		return fmt.Sprintf("P %v>%v", from, to)
	default:
		return s.Resource.Kind.String()
	}
}

// count reads all events. What hangs on an EventSync is counted as well: batches of each experiment, readings of clocks.
func count(in io.Reader) (counts map[string]uint64, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	counts = map[string]uint64{}
	r, err := trace.NewReader(in)
	if err != nil {
		return nil, err
	}
	for {
		e, err := r.ReadEvent()
		if errors.Is(err, io.EOF) {
			return counts, nil
		}
		if err != nil {
			return nil, err
		}
		counts[key(e)]++
		if e.Kind() != trace.EventSync {
			continue
		}
		s := e.Sync()
		for name, batches := range s.ExperimentalBatches {
			counts["batches\t"+name] += uint64(len(batches))
		}
		if s.ClockSnapshot != nil {
			counts["clocks"]++
		}
	}
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: gotrace_exp TRACE     (not compressed)")
		os.Exit(2)
	}
	f, err := os.Open(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	counts, err := count(f)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	keys := make([]string, 0, len(counts))
	for k := range counts {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for _, k := range keys {
		fmt.Printf("%d\t%s\n", counts[k], k)
	}
}
