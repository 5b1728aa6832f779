// Command go_diff lists what changed between two Go installations in what gomem ports and in what its recorder changes.
//
//	go_diff [-brief] SOURCE_DIR GOROOT1 GOROOT2
//
// Which functions those are is read from tools/go_functions.txt (the ported files, each function's C twin) and from
// traces/recorder/overlay/edits.go. Functions, types, constants and variables are compared as syntax: comments, blank lines
// and the order of declarations do not count. Constants that follow from iota are compared with their place in the group.
// Of functions that differ by a number at the end of their names (malloc_generated.go) only the first is shown.
// Files that the allocator's functions may have come to, or gone from, are named.
//
// Exit status: 0 nothing differs, 1 something does, 2 usage or bad input.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Files that hold constants, structures and copies of the allocator's functions, beside those that go_functions.txt names, and the
// experiments and their defaults. From src; a release may lack some.
var moreFiles = []string{
	"internal/buildcfg/exp.go", "internal/goexperiment/flags.go", "internal/runtime/gc/malloc.go",
	"internal/runtime/gc/sizeclasses.go", "runtime/malloc_generated.go", "runtime/sizeclasses.go",
}

// Where files of the allocator stand, from src, and how their names begin.
var folders = map[string]*regexp.Regexp{
	"runtime":             regexp.MustCompile(`^(m|stack|arena|sizeclass|lfstack|tagptr).*\.go$`),
	"internal/runtime/gc": regexp.MustCompile(`\.go$`),
}

// decl is one declaration at package level.
type decl struct {
	file string // from src/runtime: "malloc.go"
	kind string // func, type, const, var
	name string // "mheap.grow"
	text string // without comments
}

func (d decl) key() string { return d.file + " " + d.kind + " " + d.name }

// tree is what counts of one Go installation: declarations by file, kind and name.
type tree struct {
	version string
	decls   map[string]decl
	files   map[string]bool // of moreFiles and the ported ones, those that it has
	all     map[string]bool // each file of folders
}

// scope says what counts.
type scope struct {
	files map[string]bool     // from src: each declaration in them counts
	twins map[string]string   // "malloc.go mallocgc" -> what go_functions.txt answers
	edits map[string][]string // file from src/runtime -> functions that the recorder edits, as edits.go writes them
}

func main() {
	brief := flag.Bool("brief", false, "names only, no texts")
	flag.Usage = func() {
		fmt.Fprintf(os.Stderr, "usage: go_diff [-brief] SOURCE_DIR GOROOT1 GOROOT2\n")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 3 {
		flag.Usage()
		os.Exit(2)
	}
	differs, err := compare(flag.Arg(0), flag.Arg(1), flag.Arg(2), *brief)
	if err != nil {
		fmt.Fprintf(os.Stderr, "go_diff: %v\n", err)
		os.Exit(2)
	}
	if differs {
		os.Exit(1)
	}
}

func compare(source, from, to string, brief bool) (bool, error) {
	s, err := readScope(source)
	if err != nil {
		return false, err
	}
	a, err := readTree(from, s)
	if err != nil {
		return false, err
	}
	b, err := readTree(to, s)
	if err != nil {
		return false, err
	}
	return report(s, a, b, brief), nil
}

// ---- what counts

var (
	mapLine  = regexp.MustCompile(`(?m)^(\S+) (\S+) -> (.+)$`)
	editLine = regexp.MustCompile(`file: "([^"]+)", fn: "([^"]+)"`)
)

func readScope(source string) (scope, error) {
	s := scope{files: map[string]bool{}, twins: map[string]string{}, edits: map[string][]string{}}
	text, err := os.ReadFile(filepath.Join(source, "tools/go_functions.txt"))
	if err != nil {
		return s, err
	}
	for _, m := range mapLine.FindAllStringSubmatch(string(text), -1) {
		s.twins[m[1]+" "+m[2]] = m[3]
		s.files["runtime/"+m[1]] = true
	}
	for _, name := range moreFiles {
		s.files[name] = true
	}
	text, err = os.ReadFile(filepath.Join(source, "traces/recorder/overlay/edits.go"))
	if err != nil {
		return s, err
	}
	for _, m := range editLine.FindAllStringSubmatch(string(text), -1) {
		if !slices.Contains(s.edits[m[1]], m[2]) {
			s.edits[m[1]] = append(s.edits[m[1]], m[2])
		}
	}
	if len(s.twins) == 0 || len(s.edits) == 0 {
		return s, errors.New("no functions in tools/go_functions.txt or no edits in traces/recorder/overlay/edits.go")
	}
	return s, nil
}

// edited tells whether the recorder edits the function whose line begins with head, as in edits.go.
func (s scope) edited(file, head string) bool {
	return slices.ContainsFunc(s.edits[file], func(fn string) bool {
		name, _ := strings.CutSuffix(fn, "*")
		return strings.HasPrefix(head, strings.TrimPrefix(strings.TrimSpace(name), "func "))
	})
}

// ---- the declarations of one installation

func readTree(goroot string, s scope) (tree, error) {
	t := tree{decls: map[string]decl{}, files: map[string]bool{}, all: map[string]bool{}}
	version, err := os.ReadFile(filepath.Join(goroot, "VERSION"))
	if err != nil {
		return t, fmt.Errorf("no Go installation in %s: %w", goroot, err)
	}
	t.version, _, _ = strings.Cut(string(version), "\n")
	names := make(map[string]bool)
	for name := range s.files {
		names[name] = true
	}
	for file := range s.edits {
		names["runtime/"+file] = true
	}
	for name := range names {
		path := filepath.Join(goroot, "src", name)
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it came or went between the releases: report says so
		}
		if err != nil {
			return t, err
		}
		t.files[name] = true
		if err := t.addFile(s, name, path, text); err != nil {
			return t, err
		}
	}
	if !t.files["runtime/mheap.go"] {
		return t, fmt.Errorf("%s has no src/runtime/mheap.go", goroot)
	}
	for folder, pattern := range folders {
		entries, err := os.ReadDir(filepath.Join(goroot, "src", folder))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return t, err
		}
		for _, e := range entries {
			if pattern.MatchString(e.Name()) && !strings.HasSuffix(e.Name(), "_test.go") {
				t.all[folder+"/"+e.Name()] = true
			}
		}
	}
	return t, nil
}

func (t *tree) addFile(s scope, name, path string, text []byte) error {
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, path, text, parser.SkipObjectResolution) // comments are left out
	if err != nil {
		return err
	}
	file := strings.TrimPrefix(name, "runtime/")
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if s.files[name] || s.edited(file, head(text, set, d)) {
				t.add(decl{file, "func", funcName(d), syntax(set, d)})
			}
		case *ast.GenDecl:
			if s.files[name] && d.Tok != token.IMPORT {
				t.addGroup(set, file, d)
			}
		}
	}
	return nil
}

// head is what follows "func " in the source.
func head(text []byte, set *token.FileSet, d *ast.FuncDecl) string {
	from := set.Position(d.Pos()).Offset
	return strings.TrimPrefix(string(text[from:set.Position(d.Type.End()).Offset]), "func ")
}

func (t *tree) add(d decl) {
	if d.name != "_" {
		t.decls[d.key()] = d
	}
}

// addGroup adds each name of a declaration by itself. A constant without an expression repeats the one above.
func (t *tree) addGroup(set *token.FileSet, file string, d *ast.GenDecl) {
	var above *ast.ValueSpec
	for i, spec := range d.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			t.add(decl{file, "type", spec.Name.Name, syntax(set, spec)})
		case *ast.ValueSpec:
			shown := spec
			if d.Tok == token.CONST && len(spec.Values) == 0 && above != nil {
				shown = &ast.ValueSpec{Names: spec.Names, Type: above.Type, Values: above.Values}
			} else {
				above = spec
			}
			text := syntax(set, shown)
			if strings.Contains(text, "iota") {
				text += fmt.Sprintf(" // iota %d", i)
			}
			for _, name := range spec.Names {
				t.add(decl{file, d.Tok.String(), name.Name, text})
			}
		}
	}
}

func funcName(d *ast.FuncDecl) string {
	if d.Recv == nil {
		return d.Name.Name
	}
	typ := d.Recv.List[0].Type
	for {
		switch t := typ.(type) {
		case *ast.StarExpr:
			typ = t.X
		case *ast.IndexExpr:
			typ = t.X
		case *ast.Ident:
			return t.Name + "." + d.Name.Name
		default:
			return d.Name.Name
		}
	}
}

// syntax prints a node without blank lines.
func syntax(set *token.FileSet, node any) string {
	var out bytes.Buffer
	config := printer.Config{Mode: printer.TabIndent, Tabwidth: 4}
	if err := config.Fprint(&out, set, node); err != nil {
		return err.Error()
	}
	lines := strings.Split(out.String(), "\n")
	lines = slices.DeleteFunc(lines, func(l string) bool { return strings.TrimSpace(l) == "" })
	return strings.Join(lines, "\n")
}

// ---- the report

// same compares two texts but for spacing: gofmt aligns columns by their neighbours.
func same(a, b string) bool { return slices.Equal(strings.Fields(a), strings.Fields(b)) }

// follow gives the declarations of a that stand in another file in b the keys that they have there.
func follow(a, b tree) {
	in := make(map[string]string) // key in b, of what a does not have
	for key, d := range b.decls {
		if _, ok := a.decls[key]; !ok {
			in[d.kind+" "+d.name] = key
		}
	}
	for key, d := range a.decls {
		to, ok := in[d.kind+" "+d.name]
		if _, stays := b.decls[key]; ok && !stays {
			delete(a.decls, key)
			a.decls[to] = d
		}
	}
}

func report(s scope, a, b tree, brief bool) bool {
	fmt.Printf("%s -> %s\n", a.version, b.version)
	follow(a, b)
	all := maps.Clone(a.decls)
	maps.Copy(all, b.decls)
	filesDiffer := reportFiles(a, b)
	count := map[string]int{}
	shown := map[string]bool{}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		was, before := a.decls[key]
		is, after := b.decls[key]
		what := "the same"
		switch {
		case !before:
			what = "new"
		case !after:
			what = "gone"
		case !same(was.text, is.text):
			what = "changed"
		case was.file != is.file:
			what = "moved"
		}
		count[what]++
		if what == "the same" {
			continue
		}
		fmt.Printf("%-8s%-6s%s %s%s\n", what, all[key].kind, all[key].file, all[key].name, s.remark(was, all[key]))
		like := what + all[key].file + strings.TrimRight(all[key].name, "0123456789")
		if !brief && (what == "changed" || what == "new") && !shown[like] {
			printDiff(was.text, is.text)
		}
		shown[like] = like != what+all[key].file+all[key].name
	}
	fmt.Printf("%d declarations: %d the same, %d changed, %d new, %d gone, %d moved\n", len(all), count["the same"],
		count["changed"], count["new"], count["gone"], count["moved"])
	return filesDiffer || len(all) != count["the same"]
}

// reportFiles names the files that only one of the two has. true: there are some.
func reportFiles(a, b tree) bool {
	all := maps.Clone(a.all)
	maps.Copy(all, b.all)
	differ := false
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if a.all[name] == b.all[name] {
			continue
		}
		differ = true
		if b.all[name] {
			fmt.Printf("new     file  %s\n", name)
		} else {
			fmt.Printf("gone    file  %s\n", name)
		}
	}
	return differ
}

// remark says what in gomem depends on a function.
func (s scope) remark(was, d decl) string {
	text := ""
	if was.file != "" && was.file != d.file {
		text += ", was in " + was.file
	}
	if d.kind != "func" {
		return text
	}
	file := d.file
	if was.file != "" {
		file = was.file
	}
	twin, ok := s.twins[file+" "+d.name]
	if ok {
		text += " -> " + twin
	}
	source := strings.TrimPrefix(strings.SplitN(d.text, "{", 2)[0], "func ")
	if s.edited(file, source) {
		text += " [the recorder edits it]"
	}
	return text
}

// printDiff prints the lines that differ, with two lines around them.
func printDiff(a, b string) {
	const around = 2
	lines := diff(strings.Split(a, "\n"), strings.Split(b, "\n"))
	near := func(i int) bool {
		for j := max(0, i-around); j < min(len(lines), i+around+1); j++ {
			if lines[j][0] != ' ' {
				return true
			}
		}
		return false
	}
	gap := false
	for i, line := range lines {
		if !near(i) {
			gap = true
			continue
		}
		if gap {
			fmt.Println("        ...")
		}
		gap = false
		fmt.Println("    " + line)
	}
}

// diff is the shortest script between two texts by the longest common subsequence: lines with ' ', '-' or '+' before them.
func diff(a, b []string) []string {
	if len(a) == 1 && a[0] == "" {
		a = nil
	}
	if len(b) == 1 && b[0] == "" {
		b = nil
	}
	longest := make([][]int, len(a)+1)
	for i := range longest {
		longest[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			longest[i][j] = max(longest[i+1][j], longest[i][j+1])
			if same(a[i], b[j]) {
				longest[i][j] = longest[i+1][j+1] + 1
			}
		}
	}
	var out []string
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && same(a[i], b[j]):
			out = append(out, " "+b[j])
			i++
			j++
		case j == len(b) || (i < len(a) && longest[i+1][j] >= longest[i][j+1]):
			out = append(out, "-"+a[i])
			i++
		default:
			out = append(out, "+"+b[j])
			j++
		}
	}
	return out
}
