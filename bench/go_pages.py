"""go_pages.py: the page level work of parts.c as benchmarks of Go's runtime, laid over its tests (go test -overlay): nothing of Go is changed."""
import json

# In package runtime, beside export_test.go.
EXPORT = """package runtime

// BenchPageAlloc makes a heap of so many bytes: every second page is in use, or all, and its last chunk has a free run of 32 pages.
func BenchPageAlloc(bytes uintptr, fragmented bool) *PageAlloc {
	p := new(pageAlloc)
	p.init(new(mutex), testSysStat, true)
	lockInit(p.mheapLock, lockRankMheap)
	base := uintptr(0xc000 << 22)
	systemstack(func() {
		lock(p.mheapLock)
		p.grow(base, bytes)
		unlock(p.mheapLock)
	})
	for ci := p.start; ci < p.end; ci++ {
		m := p.chunkOf(ci)
		m.scavenged.clearRange(0, pallocChunkPages)
		word, n := ^uint64(0), uint(pallocChunkPages)
		if fragmented {
			word, n = 0x5555555555555555, pallocChunkPages/2
		}
		for i := range m.pallocBits {
			m.pallocBits[i] = word
		}
		p.scav.index.alloc(ci, pallocChunkPages)
		p.scav.index.free(ci, 0, pallocChunkPages)
		p.scav.index.alloc(ci, n)
		if ci == p.end-1 {
			free := n - uint((*pageBits)(&m.pallocBits).popcntRange(0, pallocChunkPages-32))
			m.free(pallocChunkPages-32, 32)
			p.scav.index.free(ci, pallocChunkPages-32, free)
		}
	}
	systemstack(func() {
		lock(p.mheapLock)
		p.update(base, bytes/pageSize, false, false)
		unlock(p.mheapLock)
	})
	p.searchAddr = offAddr{base}
	return (*PageAlloc)(p)
}

func BenchFind(pp *PageAlloc, calls int) (sum uintptr) {
	p := (*pageAlloc)(pp)
	systemstack(func() {
		lock(p.mheapLock)
		for i := 0; i < calls; i++ {
			x, _ := p.find(32)
			sum += x
		}
		unlock(p.mheapLock)
	})
	return
}

func BenchAllocFree(pp *PageAlloc, npages uintptr, calls int) {
	p := (*pageAlloc)(pp)
	systemstack(func() {
		lock(p.mheapLock)
		for i := 0; i < calls; i++ {
			x, _ := p.alloc(npages)
			p.free(x, npages)
		}
		unlock(p.mheapLock)
	})
}
"""

BENCH = """package runtime_test

import (
	. "runtime"
	"testing"
)

func benchPages(b *testing.B, name string, f func(int)) {
	b.Run(name, func(b *testing.B) {
		for n := b.N; n > 0; n -= 200 {
			f(min(n, 200))
		}
	})
}

var benchSink uintptr

func BenchmarkGomem(b *testing.B) {
	for size, bytes := range map[string]uintptr{"1GB": 1 << 30, "64GB": 1 << 36, "1TB": 1 << 40} {
		for kind, fragmented := range map[string]bool{"": false, "_fragmented": true} {
			p := BenchPageAlloc(bytes, fragmented)
			benchPages(b, "find"+kind+"/"+size, func(n int) { benchSink += BenchFind(p, n) })
			benchPages(b, "alloc_free"+kind+"/"+size, func(n int) { BenchAllocFree(p, 32, n) })
			benchPages(b, "alloc_free_one"+kind+"/"+size, func(n int) { BenchAllocFree(p, 1, n) })
			FreePageAlloc(p)
		}
	}
}
"""

SERIES = ("find", "alloc_free", "alloc_free_one")


def overlay(out, root):
    """The overlay file for go test, in the folder out; root: GOROOT."""
    files = {}
    for name, text in (("zz_gomem_export_test.go", EXPORT), ("zz_gomem_bench_test.go", BENCH)):
        (out / name).write_text(text)
        files[f"{root}/src/runtime/{name}"] = str((out / name).resolve())
    path = out / "overlay.json"
    path.write_text(json.dumps({"Replace": files}))
    return path.resolve()
