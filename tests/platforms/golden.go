// Golden writes what Go's allocator computes with on each platform: tests/data/platforms.golden.
//
//	go run tests/platforms/golden.go tests/platforms/real.go > tests/data/platforms.golden
//	go run tests/platforms/golden.go tests/platforms/real.go -run tests/data/platforms.golden
//
// Constants: for each line of `go tool dist list` the files of package runtime and of what it imports are those that `go list` names for that
// platform; go/types checks them with the platform's sizes, and tells the value of each constant. Nothing is computed here.
//
// Addresses and hints: the functions of the runtime (arenaIndex, arenaBase, chunkIndex, ... and the part of mallocinit that places the heap) are
// taken out of its source as they stand, put into a package of their own for each platform together with the constants that the type checker
// found, and run. There `uintptr` and `uint` are names for uint32 where the platform's words have 32 bits, for uint64 elsewhere: Go's own
// code, compiled for this machine, computes modulo 2^32 or 2^64 as it would there. What it calls of the runtime (the OS, the random source, the
// lists of hints) is a stand-in that writes down what it was asked.
//
// With -run the same functions are called inside of real runtimes: built for linux/amd64, linux/386 and js/wasm with an overlay that adds one file to
// package runtime, and run on this machine (wasm with node). Their lines must be those of the golden file.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/printer"
	"go/token"
	"go/types"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"sync"
)

func fatal(format string, a ...any) {
	fmt.Fprintf(os.Stderr, "golden: "+format+"\n", a...)
	os.Exit(2)
}

func run(dir string, env []string, name string, args ...string) string {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		fatal("%s %s %s: %v\n%s", strings.Join(env, " "), name, strings.Join(args, " "), err, errs.String())
	}
	return out.String()
}

// goEnv keeps the settings of whoever calls from changing the answers.
func goEnv(goos, goarch string, more ...string) []string {
	return append([]string{"GOOS=" + goos, "GOARCH=" + goarch, "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off", "GOTOOLCHAIN=local", "GOEXPERIMENT=",
		"GO111MODULE=", "GOAMD64=", "GO386=", "GOARM=", "GOMIPS=", "GOMIPS64=", "GOPPC64=", "GORISCV64=", "GOWASM=", "GOARM64="}, more...)
}

// ---- the runtime, as the type checker sees it

type target struct {
	goos, goarch string
	fset         *token.FileSet
	files        []*ast.File // of package runtime
	pkgs         map[string]*types.Package
	info         *types.Info
	sizes        types.Sizes
	numHeapArena int64 // unsafe.Sizeof(heapArena{})
}

func (t *target) name() string { return t.goos + "/" + t.goarch }

var parsed = struct {
	sync.Mutex
	fset  *token.FileSet
	files map[string]*ast.File
}{fset: token.NewFileSet(), files: map[string]*ast.File{}}

func parseFile(path string) *ast.File {
	parsed.Lock()
	defer parsed.Unlock()
	if f := parsed.files[path]; f != nil {
		return f
	}
	f, err := parser.ParseFile(parsed.fset, path, nil, parser.SkipObjectResolution)
	if err != nil {
		fatal("%v", err)
	}
	parsed.files[path] = f
	return f
}

type importer map[string]*types.Package

func (m importer) Import(path string) (*types.Package, error) {
	if path == "unsafe" {
		return types.Unsafe, nil
	}
	if p := m[path]; p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("no package %s", path)
}

func load(goos, goarch string) *target {
	t := &target{goos: goos, goarch: goarch, fset: parsed.fset, pkgs: map[string]*types.Package{}, sizes: types.SizesFor("gc", goarch)}
	list := run("", goEnv(goos, goarch), "go", "list", "-deps", "-f", `{{.ImportPath}}{{"\t"}}{{.Dir}}{{"\t"}}{{join .GoFiles " "}}`, "runtime")
	for _, line := range strings.Split(strings.TrimSpace(list), "\n") {
		f := strings.Split(line, "\t")
		if f[0] == "unsafe" {
			continue
		}
		var files []*ast.File
		for _, name := range strings.Fields(f[2]) {
			files = append(files, parseFile(filepath.Join(f[1], name)))
		}
		info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}}
		conf := types.Config{Importer: importer(t.pkgs), Sizes: t.sizes, IgnoreFuncBodies: true,
			Error: func(err error) { fatal("%s: %v", t.name(), err) }}
		p, err := conf.Check(f[0], t.fset, files, info)
		if err != nil {
			fatal("%s: %v", t.name(), err)
		}
		t.pkgs[f[0]] = p
		if f[0] == "runtime" {
			t.files, t.info = files, info
		}
	}
	t.numHeapArena = t.sizes.Sizeof(t.lookup("runtime", "heapArena").Type())
	return t
}

func (t *target) lookup(pkg, name string) types.Object {
	p := t.pkgs[pkg]
	if p == nil {
		fatal("%s: no package %s", t.name(), pkg)
	}
	o := p.Scope().Lookup(name)
	if o == nil {
		fatal("%s: no %s.%s", t.name(), pkg, name)
	}
	return o
}

func (t *target) constant(pkg, name string) constant.Value {
	c, ok := t.lookup(pkg, name).(*types.Const)
	if !ok {
		fatal("%s: %s.%s is not a constant", t.name(), pkg, name)
	}
	return c.Val()
}

// table gives the values of a package-level array, which is given as a list of constants.
func (t *target) table(name string) []string {
	var out []string
	for _, f := range t.files {
		for _, d := range f.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.VAR {
				continue
			}
			for _, s := range g.Specs {
				v := s.(*ast.ValueSpec)
				if v.Names[0].Name != name || len(v.Values) != 1 {
					continue
				}
				for _, e := range v.Values[0].(*ast.CompositeLit).Elts {
					out = append(out, t.info.Types[e].Value.ExactString())
				}
			}
		}
	}
	if out == nil {
		fatal("%s: no table %s", t.name(), name)
	}
	return out
}

// arrayLen gives the length of the array that a field is, on a path through structures: "p.mspancache.buf".
func (t *target) arrayLen(path string) int64 {
	names := strings.Split(path, ".")
	typ := t.lookup("runtime", names[0]).Type()
	for _, n := range names[1:] {
		s := typ.Underlying().(*types.Struct)
		found := false
		for i := 0; i < s.NumFields(); i++ {
			if s.Field(i).Name() == n {
				typ, found = s.Field(i).Type(), true
			}
		}
		if !found {
			fatal("%s: no %s", t.name(), path)
		}
	}
	return typ.Underlying().(*types.Array).Len()
}

// What the golden file holds of each platform, in this order: constants, by the names that Go gives them.
var constants = []struct{ name, pkg, goName string }{
	{"ptrSize", "internal/goarch", "PtrSize"},
	{"pageShift", "internal/runtime/gc", "PageShift"},
	{"pageSize", "runtime", "pageSize"},
	{"heapAddrBits", "runtime", "heapAddrBits"},
	{"maxAlloc", "runtime", "maxAlloc"},
	{"logHeapArenaBytes", "runtime", "logHeapArenaBytes"},
	{"heapArenaBytes", "runtime", "heapArenaBytes"},
	{"pagesPerArena", "runtime", "pagesPerArena"},
	{"arenaL1Bits", "runtime", "arenaL1Bits"},
	{"arenaL2Bits", "runtime", "arenaL2Bits"},
	{"arenaL1Shift", "runtime", "arenaL1Shift"},
	{"arenaBits", "runtime", "arenaBits"},
	{"arenaBaseOffset", "runtime", "arenaBaseOffset"},
	{"logPallocChunkPages", "runtime", "logPallocChunkPages"},
	{"pallocChunkPages", "runtime", "pallocChunkPages"},
	{"pallocChunkBytes", "runtime", "pallocChunkBytes"},
	{"pallocChunksL1Bits", "runtime", "pallocChunksL1Bits"},
	{"pallocChunksL2Bits", "runtime", "pallocChunksL2Bits"},
	{"summaryLevels", "runtime", "summaryLevels"},
	{"summaryLevelBits", "runtime", "summaryLevelBits"},
	{"summaryL0Bits", "runtime", "summaryL0Bits"},
	{"logMaxPackedValue", "runtime", "logMaxPackedValue"},
	{"pagesPerReclaimerChunk", "runtime", "pagesPerReclaimerChunk"},
	{"scavChunkHiOccPages", "runtime", "scavChunkHiOccPages"},
	{"pageCachePages", "runtime", "pageCachePages"},
	{"minPhysPageSize", "runtime", "minPhysPageSize"},
	{"maxPhysPageSize", "runtime", "maxPhysPageSize"},
	{"maxPhysHugePageSize", "runtime", "maxPhysHugePageSize"},
	{"defaultPhysPageSize", "internal/goarch", "DefaultPhysPageSize"},
	{"isSbrkPlatform", "runtime", "isSbrkPlatform"},
	{"randomizeHeapBase", "runtime", "randomizeHeapBase"},
	{"greenTea", "internal/goexperiment", "GreenTeaGC"},
	{"physPageAlignedStacks", "runtime", "physPageAlignedStacks"},
	{"maxTinySize", "runtime", "maxTinySize"},
	{"tinySizeClass", "runtime", "tinySizeClass"},
	{"maxSmallSize", "runtime", "maxSmallSize"},
	{"smallSizeDiv", "internal/runtime/gc", "SmallSizeDiv"},
	{"smallSizeMax", "internal/runtime/gc", "SmallSizeMax"},
	{"largeSizeDiv", "internal/runtime/gc", "LargeSizeDiv"},
	{"numSizeClasses", "internal/runtime/gc", "NumSizeClasses"},
	{"numSpanClasses", "runtime", "numSpanClasses"},
	{"minHeapAlign", "internal/runtime/gc", "MinHeapAlign"},
	{"mallocHeaderSize", "runtime", "mallocHeaderSize"},
	{"minSizeForMallocHeader", "runtime", "minSizeForMallocHeader"},
	{"spanInlineMarkBitsSize", "", ""}, // a size, below
	{"stackCacheSize", "runtime", "_StackCacheSize"},
	{"numStackOrders", "runtime", "_NumStackOrders"},
	{"fixedStack", "runtime", "fixedStack"},
	{"fixAllocChunk", "runtime", "_FixAllocChunk"},
	{"persistentChunkSize", "runtime", "persistentChunkSize"},
	{"gcBitsChunkBytes", "runtime", "gcBitsChunkBytes"},
	{"minHeapForMetadataHugePages", "runtime", "minHeapForMetadataHugePages"},
	{"spanSetBlockEntries", "runtime", "spanSetBlockEntries"},
	{"spanSetInitSpineCap", "runtime", "spanSetInitSpineCap"},
	{"tagAlignBits", "runtime", "tagAlignBits"},
	{"tagBits", "runtime", "tagBits"},
}

func (t *target) blockOfConstants() []string {
	var out []string
	for _, c := range constants {
		var v string
		if c.name == "spanInlineMarkBitsSize" {
			v = strconv.FormatInt(t.sizes.Sizeof(t.lookup("runtime", "spanInlineMarkBits").Type()), 10)
		} else if x := t.constant(c.pkg, c.goName); x.Kind() == constant.Bool {
			v = map[bool]string{false: "0", true: "1"}[constant.BoolVal(x)]
		} else {
			v = x.ExactString()
		}
		out = append(out, c.name+" "+v)
	}
	for _, name := range []string{"levelBits", "levelShift", "levelLogPages"} {
		out = append(out, name+" "+strings.Join(t.table(name), " "))
	}
	out = append(out, fmt.Sprintf("mspanCacheLen %d", t.arrayLen("p.mspancache.buf")))
	out = append(out, fmt.Sprintf("stackLargeClasses %d", t.arrayLen("stackLarge.free")))
	return out
}

// ---- Go's own functions, put into a package for each platform

var wanted = []string{"arenaIndex", "arenaBase", "arenaIdx.l1", "arenaIdx.l2", "chunkIndex", "chunkBase", "chunkPageIndex", "chunkIdx.l1", "chunkIdx.l2",
	"offAddrToLevelIndex", "levelIndexToOffAddr", "offAddr.lessThan", "nextHeapRandBits"}

func funcName(d *ast.FuncDecl) string {
	if d.Recv == nil {
		return d.Name.Name
	}
	typ := d.Recv.List[0].Type
	if s, ok := typ.(*ast.StarExpr); ok {
		typ = s.X
	}
	if id, ok := typ.(*ast.Ident); ok {
		return id.Name + "." + d.Name.Name
	}
	return ""
}

func (t *target) find(name string) *ast.FuncDecl {
	for _, f := range t.files {
		for _, d := range f.Decls {
			if fd, ok := d.(*ast.FuncDecl); ok && funcName(fd) == name {
				return fd
			}
		}
	}
	fatal("%s: no function %s", t.name(), name)
	return nil
}

func (t *target) text(n any) string {
	var b bytes.Buffer
	if err := (&printer.Config{Mode: printer.UseSpaces, Tabwidth: 4}).Fprint(&b, t.fset, n); err != nil {
		fatal("%v", err)
	}
	return b.String()
}

// placement gives the statements of mallocinit that make the hints: if isSbrkPlatform {} else if PtrSize == 8 {...} else {...}.
func (t *target) placement() *ast.IfStmt {
	for _, s := range t.find("mallocinit").Body.List {
		if f, ok := s.(*ast.IfStmt); ok {
			if id, ok := f.Cond.(*ast.Ident); ok && id.Name == "isSbrkPlatform" {
				return f
			}
		}
	}
	fatal("%s: mallocinit does not ask for isSbrkPlatform", t.name())
	return nil
}

func replaceOnce(text, old, new string) string {
	if n := strings.Count(text, old); n != 1 {
		fatal("mallocinit: %q stands there %d times, not once", old, n)
	}
	return strings.ReplaceAll(text, old, new)
}

// Stand-ins for what the functions name and are not given. What is a constant in the runtime and differs from run to run here is a variable.
const standIns = `
type arenaIdx uint
type chunkIdx uint
type offAddr struct{ a uintptr }
type arenaHint struct {
	addr uintptr
	down bool
	next *arenaHint
}
type hints struct{ arenaHints *arenaHint }
type hintAlloc struct{}

func (hintAlloc) alloc() *arenaHint { return new(arenaHint) }

type linear struct{ next, end uintptr }

func (l *linear) init(base, size uintptr, mapMemory bool) {
	l.next, l.end = base, base+size
}

var mheap_ struct {
	arenaHints            *arenaHint
	userArena             hints
	arenaHintAlloc        hintAlloc
	heapArenaAlloc, arena linear
}
var firstmoduledata struct{ end uintptr }
var (
	heapRandSeed              uintptr
	heapRandSeedBitsRemaining int
	randomizeHeapBase         bool
	seed, stackHi             uint64
	brk                       uintptr
	refuse                    int
	asked                     []string
)

const raceenabled = false

type g0 struct{ stack struct{ hi uintptr } }
type gm struct{ g0 *g0 }
type gg struct{ m *gm }

func getg() *gg {
	x := &gg{&gm{&g0{}}}
	x.m.g0.stack.hi = uintptr(stackHi)
	return x
}
func bootstrapRand() uint64 { return seed }
func throw(s string)        { panic(s) }
func sbrk0() uintptr        { return brk }

// The OS grants metadata far away, and of the heap's reservations all but the first few that it is told to refuse.
func sysReserve(v uintptr, n uintptr, name string) uintptr { return 0 }
func sysReserveAligned(v uintptr, n, align uintptr, name string) (uintptr, uintptr) {
	asked = append(asked, fmt.Sprintf("%x %x", v, n+align))
	if refuse > 0 {
		refuse--
		return 0, 0
	}
	return v, n + align // as the runtime's does where the OS happens to grant an aligned place
}

var sys struct{ lens }

type lens struct{}

func (lens) Len64(x uint64) int { return bits.Len64(x) }
`

const driver = `
func addrs() []uintptr {
	const one = uint64(1)
	offsets := []uint64{0, pageSize, pallocChunkBytes, heapArenaBytes, 2 * heapArenaBytes, one << (heapAddrBits - 1), one << heapAddrBits,
		one<<heapAddrBits - heapArenaBytes, one<<heapAddrBits - pallocChunkBytes, 0xc0 << 32}
	l1 := uint64(heapArenaBytes) << arenaL2Bits
	for k := uint64(1); k < 1<<arenaL1Bits; k = 2*k + 1 {
		offsets = append(offsets, k*l1, (k+1)*l1)
	}
	c1 := uint64(pallocChunkBytes) << pallocChunksL2Bits
	for k := uint64(1); k < 1<<pallocChunksL1Bits; k = 2*k + 1 {
		offsets = append(offsets, k*c1)
	}
	for _, shift := range levelShift {
		offsets = append(offsets, one<<shift, 3<<shift)
	}
	bases := []uint64{0, 1 << 31, 1 << 32, 1 << 47, 1 << 48, 0xffff800000000000, 0x0a00000000000000, 0x0b00000000000000}
	state := uint64(1)
	for i := 0; i < 32; i++ {
		state += 0x9e3779b97f4a7c15
		z := (state ^ state>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		offsets = append(offsets, (z^z>>31)%(one<<heapAddrBits))
	}
	for _, o := range offsets {
		bases = append(bases, o+arenaBaseOffset)
	}
	seen := map[uintptr]bool{}
	var out []uintptr
	for _, b := range bases {
		for _, d := range []uint64{^uint64(0), 0, 1} {
			if a := uintptr(b + d); !seen[a] {
				seen[a] = true
				out = append(out, a)
			}
		}
	}
	return out
}

func lineOf(p uintptr) string {
	ai, ci := arenaIndex(p), chunkIndex(p)
	s := fmt.Sprintf("%x %x %x %x %x %x %x %x %x %x", p, uint(ai), arenaBase(ai), ai.l1(), ai.l2(), uint(ci), chunkBase(ci), chunkPageIndex(p), ci.l1(), ci.l2())
	for l := range levelShift {
		i := offAddrToLevelIndex(l, offAddr{p})
		s += fmt.Sprintf(" %x %x", i, levelIndexToOffAddr(l, i).a)
	}
	return s
}

func addresses() string {
	s := ""
	as := addrs()
	for i, p := range as {
		less := 0
		if (offAddr{as[(i+1)%len(as)]}).lessThan(offAddr{p}) {
			less = 1
		}
		s += lineOf(p) + fmt.Sprintf(" %d\n", less)
	}
	return s
}

func listOf(h *arenaHint) string {
	s := ""
	for ; h != nil; h = h.next {
		s += fmt.Sprintf(" %x", h.addr)
	}
	return s
}

func hintsOf(what string) string {
	mheap_.arenaHints, mheap_.userArena.arenaHints, asked = nil, nil, nil
	mheap_.heapArenaAlloc, mheap_.arena = linear{}, linear{}
	place()
	s := what + "\n"
	if asked != nil {
		s += "asked " + strings.Join(asked, " ") + fmt.Sprintf("\narena %x %x\n", mheap_.arena.next, mheap_.arena.end)
	}
	return s + "heap" + listOf(mheap_.arenaHints) + "\nuser" + listOf(mheap_.userArena.arenaHints) + "\n"
}
`

var ident = regexp.MustCompile(`^[A-Za-z_]\w*$`)

// source gives the package of a platform. variant: "sv39" or "".
func (t *target) source(pkg, variant string) string {
	var code strings.Builder
	used := map[string]bool{}
	note := func(n ast.Node) {
		ast.Inspect(n, func(x ast.Node) bool {
			if id, ok := x.(*ast.Ident); ok {
				used[id.Name] = true
			}
			return true
		})
	}
	for _, name := range append(wanted, "alignUp") {
		d := *t.find(name)
		d.Doc = nil
		note(&d)
		code.WriteString(t.text(&d) + "\n")
	}
	place := t.placement()
	note(place)
	// Memory is numbers here, and the type of arenas is not there.
	body := t.text(place)
	body = replaceOnce(body, "unsafe.Sizeof(heapArena{})", strconv.FormatInt(t.numHeapArena, 10))
	body = replaceOnce(body, "sysReserve(nil, ", "sysReserve(0, ")
	body = replaceOnce(body, "unsafe.Pointer(p)", "p")
	body = replaceOnce(body, "if a != nil", "if a != 0")
	code.WriteString("func place() {\n" + body + "\n}\n")
	for _, name := range []string{"pageSize", "heapArenaBytes", "heapAddrBits", "arenaL1Bits", "arenaL2Bits", "pallocChunkBytes", "pallocChunksL1Bits",
		"pallocChunksL2Bits", "arenaBaseOffset", "isSbrkPlatform"} {
		used[name] = true
	}
	// Constants as the type checker found them.
	var names []string
	for name := range used {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		c, ok := t.pkgs["runtime"].Scope().Lookup(name).(*types.Const)
		if !ok || !ident.MatchString(name) || name == "randomizeHeapBase" || name == "raceenabled" {
			continue
		}
		typ := ""
		if b, ok := c.Type().(*types.Basic); ok && b.Info()&types.IsUntyped == 0 {
			typ = b.Name()
		}
		fmt.Fprintf(&code, "const %s %s = %s\n", name, typ, c.Val().ExactString())
	}
	fmt.Fprintf(&code, "var levelShift = [...]uint{%s}\n", strings.Join(t.table("levelShift"), ", "))
	arch := func(name string) string { return name + ": " + t.constant("internal/goarch", name).ExactString() }
	fmt.Fprintf(&code, "var goarch = struct{ PtrSize, IsAmd64 int }{%s, %s}\n", arch("PtrSize"), arch("IsAmd64"))
	bits := map[string]string{"4": "32", "8": "64"}[t.constant("internal/goarch", "PtrSize").ExactString()]
	fmt.Fprintf(&code, "type uintptr = uint%s\ntype uint = uint%s\n", bits, bits)
	code.WriteString(standIns + driver)
	code.WriteString("func Addresses() string { return addresses() }\n")
	code.WriteString("func Hints() string {\n s := \"\"\n")
	switch {
	case bits == "32" && !constant.BoolVal(t.constant("runtime", "isSbrkPlatform")):
		code.WriteString(`	for _, end := range []uintptr{0x8048000, 0x827f123, 0x40000000, 0x7ffc0000} {
		for r := 0; r <= 3; r++ {
			firstmoduledata.end, brk, refuse = end, end/2, r
			s += hintsOf(fmt.Sprintf("end %x refused %d", end, r))
		}
	}
`)
	default:
		vma := "1<<(heapAddrBits-1) - 1"
		if variant == "sv39" {
			vma = "1<<38 - 1"
		}
		fmt.Fprintf(&code, "	stackHi = %s\n", vma)
		code.WriteString("	randomizeHeapBase = false\n	s += hintsOf(\"fixed\")\n")
		if constant.BoolVal(t.constant("runtime", "randomizeHeapBase")) {
			code.WriteString(`	randomizeHeapBase = true
	for _, seed = range []uint64{1, 0xffffffffffffffff, 0xfedcba9876543210} {
		s += hintsOf(fmt.Sprintf("seed %x", seed))
	}
`)
		}
	}
	code.WriteString("	return s\n}\n")
	return "package " + pkg + "\n\nimport (\n\t\"fmt\"\n\t\"math/bits\"\n\t\"strings\"\n)\n\n" + code.String()
}

// ---- the file

type platform struct {
	t       *target
	variant string
}

func (p platform) name() string {
	if p.variant != "" {
		return p.t.name() + "," + p.variant
	}
	return p.t.name()
}

// group prints each text once, under the names of all platforms that have it.
func group(title string, ps []platform, texts []string) {
	names := map[string][]string{}
	var order []string
	for i, text := range texts {
		if names[text] == nil {
			order = append(order, text)
		}
		names[text] = append(names[text], ps[i].name())
	}
	for _, text := range order {
		fmt.Printf("%s %s\n%s", title, strings.Join(names[text], " "), text)
	}
}

func ask(ps []platform) (addresses, hints []string) {
	dir, err := os.MkdirTemp("", "platforms")
	if err != nil {
		fatal("%v", err)
	}
	defer os.RemoveAll(dir)
	write := func(name, text string) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			fatal("%v", err)
		}
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			fatal("%v", err)
		}
	}
	write("go.mod", "module platforms\n\ngo 1.26\n")
	imports, calls := "", ""
	for i, p := range ps {
		pkg := fmt.Sprintf("p%d", i)
		write(pkg+"/p.go", p.t.source(pkg, p.variant))
		imports += fmt.Sprintf("\t\"platforms/%s\"\n", pkg)
		calls += fmt.Sprintf("\tfmt.Printf(\"%%s\\f%%s\\f\", %s.Addresses(), %s.Hints())\n", pkg, pkg)
	}
	write("main.go", "package main\n\nimport (\n\t\"fmt\"\n"+imports+")\n\nfunc main() {\n"+calls+"}\n")
	host := []string{"GOFLAGS=", "GOWORK=off", "GOTOOLCHAIN=local", "GOEXPERIMENT="}
	out := strings.Split(run(dir, host, "go", "run", "."), "\f")
	for i := range ps {
		addresses = append(addresses, out[2*i])
		hints = append(hints, out[2*i+1])
	}
	return addresses, hints
}

func loadAll() []platform {
	list := strings.Fields(run("", nil, "go", "tool", "dist", "list"))
	targets := make([]*target, len(list))
	var wait sync.WaitGroup
	slots := make(chan bool, 2)
	for i, name := range list {
		wait.Add(1)
		go func() {
			defer wait.Done()
			slots <- true
			goos, goarch, _ := strings.Cut(name, "/")
			targets[i] = load(goos, goarch)
			<-slots
		}()
	}
	wait.Wait()
	var ps []platform
	for _, t := range targets {
		ps = append(ps, platform{t, ""})
		if t.goarch == "riscv64" {
			ps = append(ps, platform{t, "sv39"})
		}
	}
	return ps
}

func main() {
	real := flag.String("run", "", "ask real runtimes of the platforms that run here, and compare with this `file`")
	flag.Parse()
	if *real != "" {
		runReal(*real)
		return
	}
	ps := loadAll()
	version := strings.Fields(run("", nil, "go", "version"))[2]
	fmt.Printf("# What %s computes with on each platform. Written by tests/platforms/golden.go; do not edit.\n", version)
	fmt.Printf("# constants PLATFORMS: name and value\n")
	fmt.Printf("# addresses PLATFORMS: address, arenaIndex, arenaBase of that, l1, l2, chunkIndex, chunkBase, chunkPageIndex, l1, l2, at each level of\n" +
		"#   the tree the index and where it begins, and whether the address of the next line is less; hexadecimal\n")
	fmt.Printf("# hints PLATFORMS: the hints of mallocinit for the heap and for user arenas, the first to be tried first\n")
	var texts []string
	for _, p := range ps {
		texts = append(texts, strings.Join(p.t.blockOfConstants(), "\n")+"\n")
	}
	group("constants", ps, texts)
	addresses, hints := ask(ps)
	group("addresses", ps, addresses)
	group("hints", ps, hints)
}
