package runtime

// The events of the C functions, for the recorder of gomem record (--record). Those of page caches are told by Go.

func graftLabEvent(k, a, b, c, d uintptr) {
	switch uint64(k) {
	case gomemEvScavBegin, gomemEvScavEnd:
		gomemScav(&mheap_.pages, uint64(k), 2, uint64(a), uint64(b))
	case gomemEvScavEmpty:
		gomemScav(&mheap_.pages, uint64(k), 1, uint64(a), 0)
	}
}
