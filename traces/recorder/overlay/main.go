// Command overlay writes the input of `go build -overlay` that puts gomem's recorder into a program's runtime.
//
//	overlay [-record FILE] GOROOT OUTDIR
//
// It reads GOROOT and never writes there. OUTDIR gets patched copies of files of package runtime, the recorder's own file
// and overlay.json. Each edit must match exactly as often as it says; anything else is an error that names the place.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

const recordFile = "zz_gomem_record.go"

func main() {
	record := flag.String("record", "", "the recorder's source `FILE` (default: beside this program's source)")
	flag.Usage = func() {
		fmt.Fprintf(os.Stderr, "usage: overlay [-record FILE] GOROOT OUTDIR\n")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 2 {
		flag.Usage()
		os.Exit(2)
	}
	if *record == "" {
		*record = besideSource()
	}
	version, files, err := write(flag.Arg(0), flag.Arg(1), *record)
	if err != nil {
		fmt.Fprintf(os.Stderr, "overlay: %v\n", err)
		os.Exit(1)
	}
	fmt.Printf("%s: %d files, %s\n", version, files, filepath.Join(flag.Arg(1), "overlay.json"))
}

// besideSource returns where the recorder's file is in the tree that this program was compiled from.
func besideSource() string {
	_, self, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(filepath.Dir(self)), recordFile)
}

// write writes the overlay of goroot to out. It returns goroot's version and the number of files.
func write(goroot, out, record string) (string, int, error) {
	goroot, err := filepath.Abs(goroot)
	if err != nil {
		return "", 0, err
	}
	out, err = filepath.Abs(out)
	if err != nil {
		return "", 0, err
	}
	version, rel, err := checkVersion(goroot)
	if err != nil {
		return "", 0, err
	}
	dir := filepath.Join(goroot, "src", "runtime")
	files, err := patched(dir, rel.minor)
	if err != nil {
		return "", 0, fmt.Errorf("%s: %w", version, err)
	}
	own, err := os.ReadFile(record)
	if err != nil {
		return "", 0, fmt.Errorf("the recorder's source: %w (see -record)", err)
	}
	files[recordFile], err = rel.adapt(string(own))
	if err != nil {
		return "", 0, fmt.Errorf("%s: %w", record, err)
	}
	if err := os.MkdirAll(out, 0o777); err != nil {
		return "", 0, err
	}
	replace := make(map[string]string)
	for name, text := range files {
		to := filepath.Join(out, name)
		if err := os.WriteFile(to, []byte(text), 0o666); err != nil {
			return "", 0, err
		}
		replace[filepath.Join(dir, name)] = to
	}
	list, err := json.MarshalIndent(map[string]any{"Replace": replace}, "", "\t")
	if err != nil {
		return "", 0, err
	}
	return version, len(files), os.WriteFile(filepath.Join(out, "overlay.json"), append(list, '\n'), 0o666)
}

// checkVersion returns the version of goroot, or an error if the edits are not made for it.
func checkVersion(goroot string) (string, release, error) {
	text, err := os.ReadFile(filepath.Join(goroot, "VERSION"))
	if err != nil {
		return "", release{}, fmt.Errorf("no Go installation in %s: %w", goroot, err)
	}
	version, _, _ := strings.Cut(string(text), "\n")
	for _, rel := range releases {
		if name := rel.name(); version == name || strings.HasPrefix(version, name+".") {
			return version, rel, nil
		}
	}
	return "", release{}, fmt.Errorf("%s is %s; the recorder is made for %s to %s only", goroot, version, releases[0].name(),
		releases[len(releases)-1].name())
}

// patched returns the edited files of the runtime of go1.minor in dir, by name.
func patched(dir string, minor int) (map[string]string, error) {
	files := make(map[string]string)
	for _, e := range edits {
		if minor < e.since || (e.until != 0 && minor > e.until) {
			continue
		}
		text, ok := files[e.file]
		if !ok {
			read, err := os.ReadFile(filepath.Join(dir, e.file))
			if err != nil {
				return nil, err
			}
			text = string(read)
		}
		text, err := e.apply(text)
		if err != nil {
			return nil, err
		}
		files[e.file] = text
	}
	return files, nil
}

// apply returns text with e applied to each function that it names.
func (e edit) apply(text string) (string, error) {
	name, family := strings.CutSuffix(e.fn, "*")
	want := 1
	if family {
		want = e.funcs
	}
	head := "\nfunc " + name
	var done strings.Builder
	found := 0
	for {
		i := strings.Index(text, head)
		if i < 0 {
			break
		}
		n := strings.Index(text[i:], "\n}\n")
		if n < 0 {
			return "", fmt.Errorf("%s: func %s has no end", e.file, e.fn)
		}
		body, err := e.applyTo(text[i : i+n+1])
		if err != nil {
			return "", err
		}
		done.WriteString(text[:i])
		done.WriteString(body)
		text = text[i+n+1:]
		found++
	}
	if found != want {
		return "", fmt.Errorf("%s: func %s: found %d times, expected %d", e.file, e.fn, found, want)
	}
	done.WriteString(text)
	return done.String(), nil
}

// applyTo returns the body of one function with e applied.
func (e edit) applyTo(body string) (string, error) {
	want := max(e.n, 1)
	if n := strings.Count(body, e.old); n != want {
		line, _, _ := strings.Cut(strings.TrimPrefix(body, "\n"), "\n")
		return "", fmt.Errorf("%s: %s: found %d times, expected %d: %q", e.file, line, n, want, e.old)
	}
	text := e.text
	switch e.how {
	case before:
		text = e.text + e.old
	case after:
		text = e.old + e.text
	}
	return strings.ReplaceAll(body, e.old, text), nil
}
