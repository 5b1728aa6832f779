package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/constant"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// What is added to package runtime. CONSTANTS: one line for each constant of the golden file that is a number.
const inRuntime = `package runtime

import (
	"internal/goarch"
	"internal/runtime/gc"
)

const _ = goarch.PtrSize + gc.PageShift

func GomemConstants(tell func(name string, v uint64)) {
CONSTANTS}

// GomemAddress tells the numbers of a line of "addresses".
func GomemAddress(p, next uintptr, tell func(v uint64)) {
	ai, ci := arenaIndex(p), chunkIndex(p)
	for _, v := range []uint64{uint64(p), uint64(ai), uint64(arenaBase(ai)), uint64(ai.l1()), uint64(ai.l2()), uint64(ci), uint64(chunkBase(ci)),
		uint64(chunkPageIndex(p)), uint64(ci.l1()), uint64(ci.l2())} {
		tell(v)
	}
	for l := range levelShift {
		i := offAddrToLevelIndex(l, offAddr{p})
		tell(uint64(i))
		tell(uint64(levelIndexToOffAddr(l, i).a))
	}
	less := uint64(0)
	if (offAddr{next}).lessThan(offAddr{p}) {
		less = 1
	}
	tell(less)
}

// GomemUserHints tells the hints that nobody has used yet.
func GomemUserHints(tell func(v uint64)) {
	for h := mheap_.userArena.arenaHints; h != nil; h = h.next {
		tell(uint64(h.addr))
	}
}
`

const realMain = `package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
)

func main() {
	runtime.GomemConstants(func(name string, v uint64) { fmt.Println(name, v) })
	var at []uint64
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var a uint64
		fmt.Sscanf(in.Text(), "%x", &a)
		at = append(at, a)
	}
	for i, a := range at {
		blank := ""
		runtime.GomemAddress(uintptr(a), uintptr(at[(i+1)%len(at)]), func(v uint64) {
			fmt.Printf("%s%x", blank, v)
			blank = " "
		})
		fmt.Println()
	}
	fmt.Print("user")
	runtime.GomemUserHints(func(v uint64) { fmt.Printf(" %x", v) })
	fmt.Println()
}
`

// blocks gives the lines of a platform in the golden file by kind.
func blocks(golden, platform string) map[string][]string {
	out := map[string][]string{}
	kind := ""
	for _, line := range strings.Split(strings.TrimSpace(golden), "\n") {
		f := strings.Fields(line)
		switch f[0] {
		case "constants", "addresses", "hints":
			kind = ""
			for _, name := range f[1:] {
				if name == platform {
					kind = f[0]
				}
			}
		default:
			if kind != "" {
				out[kind] = append(out[kind], line)
			}
		}
	}
	return out
}

// askReal builds a program with the overlay for a platform, runs it, and counts the lines that are Go's there and in the golden file.
func askReal(dir, goroot, goos, goarch, experiment string, wrapper []string, golden string) bool {
	t := load(goos, goarch)
	want := blocks(golden, t.name())
	var numbers, lines []string
	for _, c := range constants {
		if c.pkg == "" || c.pkg == "internal/goexperiment" || t.constant(c.pkg, c.goName).Kind() == constant.Bool {
			continue
		}
		pkg := map[string]string{"runtime": "", "internal/goarch": "goarch.", "internal/runtime/gc": "gc."}[c.pkg]
		numbers = append(numbers, c.name)
		lines = append(lines, fmt.Sprintf("\ttell(%q, uint64(%s%s))\n", c.name, pkg, c.goName))
	}
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			fatal("%v", err)
		}
		return path
	}
	added := write("runtime.go.txt", strings.Replace(inRuntime, "CONSTANTS", strings.Join(lines, ""), 1))
	replace := map[string]map[string]string{"Replace": {filepath.Join(goroot, "src/runtime/gomem_platforms.go"): added}}
	overlay, _ := json.Marshal(replace)
	write("main.go", realMain)
	write("go.mod", "module real\n\ngo 1.26\n")
	program := filepath.Join(dir, "real.exe")
	run(dir, goEnv(goos, goarch, "GOEXPERIMENT="+experiment), "go", "build", "-overlay", write("overlay.json", string(overlay)), "-o", program, ".")
	var in strings.Builder
	for _, line := range want["addresses"] {
		in.WriteString(strings.Fields(line)[0] + "\n")
	}
	args := append(append([]string{}, wrapper...), program)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin = strings.NewReader(in.String())
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		fatal("%s: %v\n%s", t.name(), err, errs.String())
	}
	var expected []string
	isNumber := map[string]bool{}
	for _, n := range numbers {
		isNumber[n] = true
	}
	for _, line := range want["constants"] {
		if isNumber[strings.Fields(line)[0]] {
			expected = append(expected, line)
		}
	}
	expected = append(expected, want["addresses"]...)
	got := strings.Split(strings.TrimSpace(out.String()), "\n")
	hints := "no hints compared (their place is random, or the program's)"
	if last := got[len(got)-1]; experiment != "" {
		expected = append(expected, want["hints"][2]) // "fixed", "heap ...", "user ..."
		hints = fmt.Sprintf("%d hints", len(strings.Fields(last))-1)
	} else {
		got = got[:len(got)-1]
	}
	equal := 0
	for i := 0; i < len(got) && i < len(expected); i++ {
		if got[i] == expected[i] {
			equal++
		} else if equal == i {
			fmt.Printf("%s: the program says %q, the golden file %q\n", t.name(), got[i], expected[i])
		}
	}
	fmt.Printf("%s, run here: %d of %d lines equal: %d constants, %d addresses, %s\n", t.name(), equal, len(expected), len(numbers),
		len(want["addresses"]), hints)
	return equal == len(expected) && len(got) == len(expected)
}

func runReal(goldenPath string) {
	golden, err := os.ReadFile(goldenPath)
	if err != nil {
		fatal("%v", err)
	}
	dir, err := os.MkdirTemp("", "platforms")
	if err != nil {
		fatal("%v", err)
	}
	goroot := strings.TrimSpace(run("", nil, "go", "env", "GOROOT"))
	ok := askReal(dir, goroot, "linux", "amd64", "norandomizedheapbase64", nil, string(golden))
	ok = askReal(dir, goroot, "linux", "386", "", nil, string(golden)) && ok
	if _, err := exec.LookPath("node"); err == nil {
		ok = askReal(dir, goroot, "js", "wasm", "", []string{filepath.Join(goroot, "lib/wasm/go_js_wasm_exec")}, string(golden)) && ok
	} else {
		fmt.Println("js/wasm: SKIPPED: node is not there")
	}
	os.RemoveAll(dir)
	if !ok {
		os.Exit(1)
	}
}
