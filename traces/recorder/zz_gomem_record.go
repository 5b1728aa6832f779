// zz_gomem_record.go: the recorder inside Go. An additional file of package runtime, added by `go build -overlay`.
//
// It writes what the allocator was asked and what it decided to a raw log (RAW.md); overlay/ puts the calls of the
// functions below into the runtime. The kinds of events and their arguments are those of gomem/lab.h.
//
// Invariants:
//   - A record belongs to the stream of the P that the running M holds, or to the one shared stream if it holds none. Only
//     the holder of a P writes its stream; the shared stream is written under gomemState.lock.
//   - Turn numbers increase along each stream. Therefore a number is claimed and its record written in one go: by nosplit
//     functions of package runtime, which are neither preempted nor interrupted by stack growth (which would log).
//   - A turn is claimed while that is locked whose order it tells: in a section under a lock of the runtime, or under
//     gomemState.lock together with the atomic operation.
//   - What a stream logs of one operation is not mixed with another operation. Stack growth is one, so the operations run
//     on the system stack (gomemRefill, gomemAllocLarge, sweepone, ensureSwept); the rest of a slow malloc has room for its
//     frames before it begins (gomemMallocBegin).
//   - gomemState.lock is the innermost lock: nothing that may lock or grow the stack runs while it is held.
//   - Nothing here allocates, and memory is mapped by raw system calls, so that no account of the runtime changes.

package runtime

import (
	"internal/goarch"
	"internal/goexperiment"
	"internal/runtime/atomic"
	"internal/runtime/syscall/linux"
	"unsafe"
)

// Kinds of events, in the order of gomem/lab.h.
const (
	gomemEvNone uint64 = iota
	gomemEvMalloc
	gomemEvMallocBegin
	gomemEvStackAlloc
	gomemEvStackFree
	gomemEvAllocManual
	gomemEvFreeManual
	gomemEvSweepOne
	gomemEvEnsureSwept
	gomemEvReclaim
	gomemEvSweepActive
	gomemEvScavenge
	gomemEvPrepareSweep
	gomemEvFlushMCache
	gomemEvFlushPCache
	gomemEvFreeStackSpans
	gomemEvGCPhase
	gomemEvSweepGen
	gomemEvFinishSweep
	gomemEvNextGen
	gomemEvPInit
	gomemEvPDestroy
	gomemEvFreeGC
	gomemEvMallocEnd
	gomemEvStackEnd
	gomemEvRefill
	gomemEvRefillEnd
	gomemEvPush
	gomemEvPop
	gomemEvSCLoad
	gomemEvSCUpdate
	gomemEvAcquire
	gomemEvSweep
	gomemEvPCRefill
	gomemEvPAlloc
	gomemEvMSpanAlloc
	gomemEvPCAlloc
	gomemEvPCFlush
	gomemEvNeedZero
	gomemEvSpanInit
	gomemEvSpanFree
	gomemEvReserve
	gomemEvArena
	gomemEvPGrow
	gomemEvRandPad
	gomemEvScavFind
	gomemEvScavBegin
	gomemEvScavEnd
	gomemEvScavEmpty
	gomemEvSpoolAlloc
	gomemEvSpoolFree
	gomemEvStackScan
	gomemEvSLargePop
	gomemEvSLargePush
	gomemEvHint
	gomemEvMCacheAlloc

	gomemNobody     uint64 = 0xffff
	gomemEvPosition uint64 = 255 // not an event: how far another P's stream goes before the next record (RAW.md)
)

// Flags of a malloc record: the path, noscan, needzero, and whether the size needs a word of its own.
const (
	gomemPathTinyHit uint64 = iota
	gomemPathTinyNew
	gomemPathNoscan
	gomemPathScan
	gomemPathScanHeader
	gomemPathLarge
	gomemPathReuse

	gomemNoscan   uint64 = 1 << 3
	gomemNeedzero uint64 = 1 << 4
	gomemBigSize  uint64 = 1 << 5
)

// Reasons of a sweep acquisition.
const (
	gomemByCacheSpan uint64 = 1 + iota
	gomemByReclaim
	gomemBySweepOne
	gomemByEnsureSwept
)

// The raw log. Offsets are those of RAW.md.
const (
	gomemMagic      = 0x5741524d454d4f47 // "GOMEMRAW"
	gomemChunkMagic = 0x4b4e554843574152 // "RAWCHUNK"
	gomemVersion    = 1
	gomemHeaderSize = 4096
	gomemChunkSize  = 256 << 10
	gomemChunkHead  = 4 * 8

	gomemAtMagic      = 0
	gomemAtVersion    = 8
	gomemAtState      = 16
	gomemAtPid        = 24
	gomemAtChunkSize  = 32
	gomemAtChunks     = 40
	gomemAtTurn       = 48
	gomemAtStop       = 56
	gomemAtErrno      = 64
	gomemAtPageSize   = 72
	gomemAtPhysPage   = 80
	gomemAtPhysHuge   = 88
	gomemAtArena      = 96
	gomemAtSeed       = 104
	gomemAtFlags      = 112
	gomemAtMaxProcs   = 120
	gomemAtDebug      = 128
	gomemAtGoVersion  = 512
	gomemMaxGoVersion = 256

	gomemStateWaiting   = 0
	gomemStateRecording = 1
	gomemStateReplaced  = 2

	gomemStopDisk  = 1
	gomemStopError = 2

	gomemRoom         = 1024
	gomemMaxP         = 0x8000
	gomemSharedStream = 0xffff
	gomemNoTurn       = ^uint64(0)
)

// System calls by number: amd64, arm64 and 386 only. Those of 386 are the ones that know files of more than 2 GiB: fcntl64, mmap2, fstat64.
const (
	gomemSysOpenat    = 257*goarch.IsAmd64 + 56*goarch.IsArm64 + 295*goarch.Is386
	gomemSysClose     = 3*goarch.IsAmd64 + 57*goarch.IsArm64 + 6*goarch.Is386
	gomemSysFcntl     = 72*goarch.IsAmd64 + 25*goarch.IsArm64 + 221*goarch.Is386
	gomemSysMmap      = 9*goarch.IsAmd64 + 222*goarch.IsArm64 + 192*goarch.Is386
	gomemSysMunmap    = 11*goarch.IsAmd64 + 215*goarch.IsArm64 + 91*goarch.Is386
	gomemSysFallocate = 285*goarch.IsAmd64 + 47*goarch.IsArm64 + 324*goarch.Is386
	gomemSysFstat     = 5*goarch.IsAmd64 + 80*goarch.IsArm64 + 197*goarch.Is386
	gomemSysPwrite    = 18*goarch.IsAmd64 + 68*goarch.IsArm64 + 181*goarch.Is386

	gomemCwd               = ^uintptr(99) // AT_FDCWD
	gomemReadWrite         = 0x2
	gomemCloexec           = 0x80000
	gomemLargeFile         = 0x8000 * goarch.Is386
	gomemDupfdCloexec      = 1030
	gomemMapShared         = 0x1
	gomemEINTR             = 4
	gomemEBADF             = 9
	gomemENOSPC            = 28
	gomemEPROTO            = 71
	gomemEOVERFLOW         = 75
	gomemEOPNOTSUPP        = 95
	gomemEDQUOT            = 122
	gomemHighFd            = 200
	_                 uint = goarch.IsAmd64 + goarch.IsArm64 + goarch.Is386 - 1 // fails to compile on any other architecture
)

// gomemStream is where the records of one stream go next. next == end in a stream without a chunk.
type gomemStream struct {
	next, end uintptr
	base      uintptr // of the mapped chunk, or 0
	chunks    uintptr // handed out to this stream so far
	_         [32]byte
}

var (
	gomemOn      bool // recording; set once in mallocinit, cleared for good by gomemStop
	gomemStreams [gomemSharedStream + 1]gomemStream
	gomemState   struct {
		header   uintptr
		fd       uintptr
		dev, ino uint64
		_        [64]byte
		lock     uint32
		_        [60]byte
	}
	gomemZeros [gomemChunkSize]byte
)

//go:nosplit
func gomemWord(at uintptr) *uint64 {
	return (*uint64)(unsafe.Pointer(at))
}

// gomemHead stores the first word of a record, of which the lower half says that there is one: it is the last that is stored, also where that takes
// two stores.
//
//go:nosplit
func gomemHead(at uintptr, word uint64) {
	if goarch.PtrSize == 8 {
		*gomemWord(at) = word
		return
	}
	*(*uint32)(unsafe.Pointer(at + 4)) = uint32(word >> 32)
	*(*uint32)(unsafe.Pointer(at)) = uint32(word)
}

// ---- the lock

// gomemLock takes the recorder's lock. No stack may grow and no other lock be taken until gomemUnlock.
//
//go:nosplit
func gomemLock() {
	acquirem()
	for i := uint32(1); !atomic.Cas(&gomemState.lock, 0, 1); i++ {
		if i%64 == 0 {
			osyield()
		} else {
			procyield(10)
		}
	}
}

//go:nosplit
func gomemUnlock() {
	atomic.Store(&gomemState.lock, 0)
	releasem(getg().m)
}

// ---- start and stop

// gomemStop ends the recording: the reason goes to the header. Other Ms may finish a record that they have begun.
//
//go:nosplit
func gomemStop(reason uint64, errno uintptr) {
	gomemOn = false
	if atomic.Cas64(gomemWord(gomemState.header+gomemAtStop), 0, reason) {
		*gomemWord(gomemState.header + gomemAtErrno) = uint64(errno)
	}
}

// gomemInit starts the recording if the environment asks this very process for it. It runs first of all in mallocinit.
func gomemInit() {
	path := gomemPath()
	if path == nil {
		return
	}
	fd, _, e := linux.Syscall6(gomemSysOpenat, gomemCwd, uintptr(unsafe.Pointer(path)), gomemReadWrite|gomemCloexec|gomemLargeFile, 0, 0, 0)
	if e != 0 {
		return
	}
	fd = gomemMoveFd(fd)
	header, e := gomemMap(fd, 0, gomemHeaderSize)
	if e != 0 {
		gomemClose(fd)
		return
	}
	gomemState.header, gomemState.fd = header, fd
	if !gomemHandshake() {
		linux.Syscall6(gomemSysMunmap, header, gomemHeaderSize, 0, 0, 0, 0)
		gomemClose(fd)
		return
	}
	gomemState.dev, gomemState.ino, _ = gomemStat(fd)
	gomemOn = true
}

// gomemPath finds GOMEM_RECORD=<pid>:<path> with the pid of this process, and returns the path.
func gomemPath() *byte {
	const key = "GOMEM_RECORD="
	if argv == nil {
		return nil
	}
	for n := argc + 1; argv_index(argv, n) != nil; n++ {
		at := unsafe.Pointer(argv_index(argv, n))
		matched := 0
		for matched < len(key) && *(*byte)(add(at, uintptr(matched))) == key[matched] {
			matched++
		}
		if matched < len(key) {
			continue
		}
		at = add(at, uintptr(len(key)))
		pid := 0
		for ; *(*byte)(at) >= '0' && *(*byte)(at) <= '9' && pid < 1<<30; at = add(at, 1) {
			pid = pid*10 + int(*(*byte)(at)-'0')
		}
		if *(*byte)(at) == ':' && pid == getpid() {
			return (*byte)(add(at, 1))
		}
	}
	return nil
}

func gomemClose(fd uintptr) {
	linux.Syscall6(gomemSysClose, fd, 0, 0, 0, 0, 0)
}

// gomemMoveFd moves fd out of the way: the program's own descriptors keep the numbers that they would have.
func gomemMoveFd(fd uintptr) uintptr {
	for low := uintptr(gomemHighFd); low > 10; low /= 2 {
		high, _, e := linux.Syscall6(gomemSysFcntl, fd, gomemDupfdCloexec, low, 0, 0, 0)
		if e == 0 {
			gomemClose(fd)
			return high
		}
	}
	return fd
}

// gomemHandshake checks the header and takes the log over. false: it is not for this process, or not for this recorder.
func gomemHandshake() bool {
	h := gomemState.header
	if *gomemWord(h + gomemAtMagic) != gomemMagic {
		return false
	}
	if *gomemWord(h + gomemAtVersion) != gomemVersion || *gomemWord(h + gomemAtChunkSize) != gomemChunkSize {
		gomemStop(gomemStopError, gomemEPROTO)
		return false
	}
	if atomic.Cas64(gomemWord(h+gomemAtState), gomemStateWaiting, gomemStateRecording) {
		return true
	}
	atomic.Cas64(gomemWord(h+gomemAtState), gomemStateRecording, gomemStateReplaced)
	return false
}

// gomemStat returns what identifies the file behind fd.
//
//go:nosplit
func gomemStat(fd uintptr) (dev, ino uint64, errno uintptr) {
	var st [18]uint64
	_, _, errno = linux.Syscall6(gomemSysFstat, fd, uintptr(unsafe.Pointer(&st[0])), 0, 0, 0, 0)
	if goarch.PtrSize == 4 {
		return st[0], st[11], errno
	}
	return st[0], st[1], errno
}

// gomemMap maps a piece of the log. mmap2 of 32-bit systems counts pages.
//
//go:nosplit
func gomemMap(fd uintptr, offset uint64, n uintptr) (at, errno uintptr) {
	if goarch.PtrSize == 4 {
		offset /= 4096
	}
	at, _, errno = linux.Syscall6(gomemSysMmap, 0, n, _PROT_READ|_PROT_WRITE, gomemMapShared, fd, uintptr(offset))
	return at, errno
}

// gomemSeed notes the random seed before any of its bits is used.
func gomemSeed(seed uintptr) {
	if gomemOn {
		*gomemWord(gomemState.header + gomemAtSeed) = uint64(seed)
	}
}

// gomemReady notes the configuration and the arena hints at the end of mallocinit.
func gomemReady() {
	if !gomemOn {
		return
	}
	h := gomemState.header
	*gomemWord(h + gomemAtPageSize) = pageSize
	*gomemWord(h + gomemAtPhysPage) = uint64(physPageSize)
	*gomemWord(h + gomemAtPhysHuge) = uint64(physHugePageSize)
	*gomemWord(h + gomemAtArena) = heapArenaBytes
	*gomemWord(h + gomemAtFlags) = gomemBit(randomizeHeapBase, 0) | gomemBit(goexperiment.GreenTeaGC, 1) |
		gomemBit(sizeSpecializedMallocEnabled, 2) | gomemBit(runtimeFreegcEnabled, 3) |
		gomemBit(raceenabled || msanenabled || asanenabled || valgrindenabled, 4) | gomemBit(goarch.PtrSize == 4, 5)
	for i := 0; i < len(buildVersion) && i < gomemMaxGoVersion-1; i++ {
		*(*byte)(unsafe.Pointer(h + gomemAtGoVersion + uintptr(i))) = buildVersion[i]
	}
	for hint := mheap_.arenaHints; hint != nil; hint = hint.next {
		gomemLog(gomemEvHint, 2, 0, uint64(hint.addr), 0, 0)
	}
	for hint := mheap_.userArena.arenaHints; hint != nil; hint = hint.next {
		gomemLog(gomemEvHint, 2, 1, uint64(hint.addr), 0, 0)
	}
}

// gomemProcs notes at the first procresize what is known by then: the number of Ps and the settings that the allocator reads.
func gomemProcs(old, nprocs int32) {
	if !gomemOn || old != 0 {
		return
	}
	h := gomemState.header
	*gomemWord(h + gomemAtMaxProcs) = uint64(nprocs)
	*gomemWord(h + gomemAtDebug) = gomemBit(debug.sbrk != 0, 0) | gomemBit(debug.efence != 0, 1) |
		gomemBit(debug.madvdontneed != 0, 2) | gomemBit(debug.clobberfree != 0, 3) |
		gomemBit(debug.harddecommit != 0, 4) | gomemBit(debug.disablethp != 0, 5)
}

// gomemUserArena ends the recording: user arenas are outside the model.
func gomemUserArena() {
	if gomemOn {
		gomemStop(gomemStopError, gomemEOPNOTSUPP)
	}
}

//go:nosplit
func gomemBit(b bool, n uint) uint64 {
	if b {
		return 1 << n
	}
	return 0
}

// ---- streams

// gomemNextChunk gives st a fresh chunk. The stream's id goes into its head. false: recording has stopped.
//
//go:nosplit
func gomemNextChunk(st *gomemStream, id uint64) bool {
	if !gomemOn {
		return false
	}
	if st.base != 0 {
		linux.Syscall6(gomemSysMunmap, st.base, gomemChunkSize, 0, 0, 0, 0)
		st.base, st.next, st.end = 0, 0, 0
	}
	// The program may have closed the descriptor and its number may be another file by now.
	dev, ino, e := gomemStat(gomemState.fd)
	if e == 0 && (dev != gomemState.dev || ino != gomemState.ino) {
		e = gomemEBADF
	}
	if e != 0 {
		gomemStop(gomemStopError, e)
		return false
	}
	i := atomic.Xadd64(gomemWord(gomemState.header+gomemAtChunks), 1) - 1
	offset := gomemHeaderSize + i*gomemChunkSize
	e = gomemAllocate(offset)
	base := uintptr(0)
	if e == 0 {
		base, e = gomemMap(gomemState.fd, offset, gomemChunkSize)
	}
	if e == gomemENOSPC || e == gomemEDQUOT {
		gomemStop(gomemStopDisk, e)
		return false
	}
	if e != 0 {
		gomemStop(gomemStopError, e)
		return false
	}
	*gomemWord(base + 8) = id
	*gomemWord(base + 16) = uint64(st.chunks)
	*gomemWord(base) = gomemChunkMagic
	st.chunks++
	st.base, st.next, st.end = base, base+gomemChunkHead, base+gomemChunkSize
	return true
}

// gomemAllocate has the blocks of a chunk reserved on the disk, so that no later store to it can fail, and brings the chunk
// into the page cache by one big write: the stores then fault in a few large pieces and not page by page.
//
//go:nosplit
func gomemAllocate(offset uint64) (errno uintptr) {
	errno = gomemEINTR
	for errno == gomemEINTR {
		errno = gomemFallocate(offset)
	}
	if errno != 0 && errno != gomemEOPNOTSUPP {
		return errno
	}
	for done := uintptr(0); done < gomemChunkSize; {
		at := offset + uint64(done)
		n, _, e := linux.Syscall6(gomemSysPwrite, gomemState.fd, uintptr(unsafe.Pointer(&gomemZeros)), gomemChunkSize-done, uintptr(at), gomemUpper(at), 0)
		if e == 0 {
			done += n
		} else if e != gomemEINTR {
			return e
		}
	}
	return 0
}

//go:nosplit
func gomemFallocate(offset uint64) (errno uintptr) {
	if goarch.PtrSize == 4 {
		_, _, errno = linux.Syscall6(gomemSysFallocate, gomemState.fd, 0, uintptr(offset), gomemUpper(offset), gomemChunkSize, 0)
	} else {
		_, _, errno = linux.Syscall6(gomemSysFallocate, gomemState.fd, 0, uintptr(offset), gomemChunkSize, 0, 0)
	}
	return errno
}

// gomemUpper is the second argument that an offset is passed in where words have 32 bits; 0 elsewhere.
//
//go:nosplit
func gomemUpper(offset uint64) uintptr {
	if goarch.PtrSize == 4 {
		return uintptr(offset >> 32)
	}
	return 0
}

// gomemSpace returns the address of n free words in the stream of pp (nil: the shared one, whose lock is held), or 0 when
// recording has stopped. The words are zero; a record exists once its first word is stored, which must be the last store:
// a log may be cut anywhere.
//
//go:nosplit
func gomemSpace(pp *p, n uint64) uintptr {
	id := uint64(gomemSharedStream)
	if pp != nil {
		id = uint64(uint16(pp.id))
	}
	st := &gomemStreams[id]
	size := uintptr(n) * 8
	if st.end-st.next < size {
		ok := false
		systemstack(func() { ok = gomemNextChunk(st, id) }) // there is little room for nosplit functions here
		if !ok {
			return 0
		}
	}
	at := st.next
	st.next += size
	return at
}

// gomemPosition returns where the next record of pp's stream goes, for a caller who knows that pp cannot run.
//
//go:nosplit
func gomemPosition(pp *p) uint64 {
	st := &gomemStreams[uint16(pp.id)]
	if st.base == 0 {
		return 0
	}
	return uint64(st.chunks-1)*(gomemChunkSize/8) + uint64(st.next-st.base)/8
}

//go:nosplit
func gomemTurn() uint64 {
	return atomic.Xadd64(gomemWord(gomemState.header+gomemAtTurn), 1) - 1
}

// gomemPut appends a record with n of the arguments to the stream of pp (nil: the shared one, whose lock is held).
//
//go:nosplit
func gomemPut(pp *p, ev, n, a, b, c, d, turn uint64) {
	words := 1 + n
	if pp == nil {
		words++
	}
	if turn != gomemNoTurn {
		words++
	}
	at := gomemSpace(pp, words)
	if at == 0 {
		return
	}
	w := at
	for _, arg := range [4]uint64{a, b, c, d} {
		if n == 0 {
			break
		}
		n--
		w += 8
		*gomemWord(w) = arg
	}
	if pp == nil {
		w += 8
		*gomemWord(w) = uint64(getg().m.id)
	}
	if turn != gomemNoTurn {
		*gomemWord(w + 8) = turn
	}
	gomemHead(at, ev|words<<8)
}

// gomemLog appends a record whose place is told by its stream alone.
//
//go:nosplit
func gomemLog(ev, n, a, b, c, d uint64) {
	if pp := getg().m.p.ptr(); pp != nil {
		gomemPut(pp, ev, n, a, b, c, d, gomemNoTurn)
		return
	}
	gomemLogTurn(ev, n, a, b, c, d)
}

// gomemLogTurn appends a record with a turn. The caller holds the lock whose order the turn tells, or the world is stopped.
//
//go:nosplit
func gomemLogTurn(ev, n, a, b, c, d uint64) {
	if pp := getg().m.p.ptr(); pp != nil {
		gomemPut(pp, ev, n, a, b, c, d, gomemTurn())
		return
	}
	gomemLock()
	gomemPut(nil, ev, n, a, b, c, d, gomemTurn())
	gomemUnlock()
}

// gomemLogHeld appends a record with a turn. The caller holds the recorder's lock.
//
//go:nosplit
func gomemLogHeld(ev, n, a, b, c, d uint64) {
	gomemPut(getg().m.p.ptr(), ev, n, a, b, c, d, gomemTurn())
}

// ---- malloc

//go:nosplit
func gomemZero(needzero bool) uint64 {
	return gomemBit(needzero, 4)
}

//go:nosplit
func gomemPointers(typ *_type) uint64 {
	return gomemBit(typ == nil || !typ.Pointers(), 3)
}

// gomemMalloc logs a finished malloc. mp is acquired. The fast way is two stores.
//
//go:nosplit
func gomemMalloc(mp *m, flags uint64, size, x uintptr) {
	pp := mp.p.ptr()
	if pp == nil || uint64(size)>>32 != 0 {
		gomemMallocSlow(gomemEvMalloc, flags, size, x)
		return
	}
	st := &gomemStreams[uint16(pp.id)]
	at := st.next
	if st.end-at < 16 {
		gomemMallocSlow(gomemEvMalloc, flags, size, x)
		return
	}
	*gomemWord(at + 8) = uint64(x)
	gomemHead(at, gomemEvMalloc|2<<8|flags<<16|uint64(size)<<32)
	st.next = at + 16
}

// gomemMallocBegin logs that a malloc takes the slow way. Its own frame makes the stack grow now, if at all before the malloc
// is logged: what malloc calls on the goroutine's stack from here on needs less than gomemRoom.
//
//go:noinline
func gomemMallocBegin(flags uint64, size uintptr) {
	var room [gomemRoom]byte
	gomemKeep(&room)
	gomemMallocSlow(gomemEvMallocBegin, flags, size, 0)
}

//go:nosplit
//go:noinline
func gomemKeep(*[gomemRoom]byte) {}

// gomemMallocSlow appends either malloc record to any stream. x is 0 in the one that begins.
//
//go:nosplit
func gomemMallocSlow(ev, flags uint64, size, x uintptr) {
	pp := getg().m.p.ptr()
	words := uint64(1)
	if x != 0 {
		words++
	}
	if uint64(size)>>32 != 0 {
		flags |= gomemBigSize
		words++
	}
	if pp == nil {
		words += 2
		gomemLock()
	}
	if at := gomemSpace(pp, words); at != 0 {
		w := at + 8
		if x != 0 {
			*gomemWord(w) = uint64(x)
			w += 8
		}
		if flags&gomemBigSize != 0 {
			*gomemWord(w) = uint64(size)
			w += 8
		}
		if pp == nil {
			*gomemWord(w) = uint64(getg().m.id)
			*gomemWord(w + 8) = gomemTurn()
		}
		gomemHead(at, ev|words<<8|flags<<16|uint64(size)<<32)
	}
	if pp == nil {
		gomemUnlock()
	}
}

// gomemFreeGC logs that an object is given back. Who allocated it may have been another P, whose mallocs carry no turn: if that P still
// has the object's span, the record names how far its stream goes. If it gave the span up, it took a turn for that.
func gomemFreeGC(x unsafe.Pointer, size uintptr, noscan bool) {
	if !gomemOn {
		return
	}
	owner, position := uint64(gomemNobody), uint64(0)
	if pp := gomemCaching(spanOf(uintptr(x))); pp != nil && pp != getg().m.p.ptr() {
		owner, position = uint64(pp.id), gomemPositionRunning(pp)
	}
	gomemLogTurn(gomemEvFreeGC, 4, uint64(uintptr(x)), uint64(size)<<1|gomemBit(noscan, 0), owner, position)
}

// gomemCaching returns the P that allocates from s, or nil.
func gomemCaching(s *mspan) *p {
	if s == nil {
		return nil
	}
	for _, pp := range allp {
		if pp == nil {
			continue
		}
		if c := pp.mcache; c != nil && c.alloc[s.spanclass] == s {
			return pp
		}
	}
	return nil
}

// gomemPositionRunning is gomemPosition for a pp that has logged something, and may be running: it reads until what it read belongs
// together. gomemNextChunk clears base first, then counts the new chunk, then sets base and at last next.
func gomemPositionRunning(pp *p) uint64 {
	st := &gomemStreams[uint16(pp.id)]
	for gomemOn {
		chunks := atomic.Loaduintptr(&st.chunks)
		base := atomic.Loaduintptr(&st.base)
		next := atomic.Loaduintptr(&st.next)
		if base != 0 && next > base && next <= base+gomemChunkSize && base == atomic.Loaduintptr(&st.base) && chunks == atomic.Loaduintptr(&st.chunks) {
			return uint64(chunks-1)*(gomemChunkSize/8) + uint64(next-base)/8
		}
		osyield()
	}
	return 0
}

// ---- mcache

// gomemSpan identifies a span: 0 for none and for the span that stands for none.
//
//go:nosplit
func gomemSpan(s *mspan) uint64 {
	if s == &emptymspan {
		return 0
	}
	return uint64(uintptr(unsafe.Pointer(s)))
}

// gomemRefill stands for refill.
func (c *mcache) gomemRefill(spc spanClass) {
	if !gomemOn {
		c.refill(spc)
		return
	}
	systemstack(func() { c.refill(spc) })
}

// gomemAllocLarge stands for allocLarge.
func (c *mcache) gomemAllocLarge(size uintptr, noscan bool) (s *mspan) {
	if !gomemOn {
		return c.allocLarge(size, noscan)
	}
	systemstack(func() { s = c.allocLarge(size, noscan) })
	return s
}

//go:nosplit
func gomemRefillBegin(spc spanClass, s *mspan) {
	if gomemOn {
		gomemLog(gomemEvRefill, 2, uint64(spc), gomemSpan(s), 0, 0)
	}
}

//go:nosplit
func gomemRefillEnd(spc spanClass, s *mspan) {
	if gomemOn {
		gomemLog(gomemEvRefillEnd, 4, uint64(spc)|uint64(s.freeindex)<<8, gomemSpan(s), s.allocCache,
			uint64(s.allocCount)|uint64(s.nelems)<<16)
	}
}

// gomemMCacheAlloc runs under the heap lock.
//
//go:nosplit
func gomemMCacheAlloc() {
	if gomemOn {
		gomemLogTurn(gomemEvMCacheAlloc, 0, 0, 0, 0, 0)
	}
}

// gomemPrepareSweep runs where a cache is about to be flushed. Its P is the running one or one that cannot run.
//
//go:nosplit
func gomemPrepareSweep(c *mcache) {
	if !gomemOn {
		return
	}
	for _, pp := range allp {
		if pp != nil && pp.mcache == c {
			gomemLogTurn(gomemEvPrepareSweep, 2, uint64(pp.id), gomemPosition(pp), 0, 0)
			return
		}
	}
}

//go:nosplit
func gomemFlushMCache(pp *p) {
	if gomemOn {
		gomemLogTurn(gomemEvFlushMCache, 2, uint64(pp.id), gomemPosition(pp), 0, 0)
	}
}

//go:nosplit
func gomemFlushPCache(pp *p) {
	if gomemOn && pp.pcache.cache != 0 {
		gomemLogTurn(gomemEvFlushPCache, 2, uint64(pp.id), gomemPosition(pp), 0, 0)
	}
}

// gomemPInit runs before pp gets its id and cache. A recording has numbers for gomemMaxP Ps.
//
//go:nosplit
func gomemPInit(pp *p, id int32) {
	if !gomemOn || pp.mcache != nil {
		return
	}
	if id >= gomemMaxP {
		gomemStop(gomemStopError, gomemEOVERFLOW)
		return
	}
	gomemLogTurn(gomemEvPInit, 1, uint64(id), 0, 0, 0)
}

//go:nosplit
func gomemPDestroy(pp *p) {
	if gomemOn {
		gomemLogTurn(gomemEvPDestroy, 2, uint64(pp.id), gomemPosition(pp), 0, 0)
	}
}

// ---- span sets

// gomemSetID numbers the span sets of mheap_.central: 4 for each span class, partial[0], partial[1], full[0], full[1].
//
//go:nosplit
func gomemSetID(b *spanSet) uint64 {
	off := uintptr(unsafe.Pointer(b)) - uintptr(unsafe.Pointer(&mheap_.central))
	in := off%unsafe.Sizeof(mheap_.central[0]) - unsafe.Offsetof(mcentral{}.partial)
	return uint64(off/unsafe.Sizeof(mheap_.central[0])*4 + in/unsafe.Sizeof(spanSet{}))
}

//go:nosplit
func gomemIsCentral(b *spanSet) bool {
	return uintptr(unsafe.Pointer(b))-uintptr(unsafe.Pointer(&mheap_.central)) < unsafe.Sizeof(mheap_.central)
}

// gomemPushSlot claims the slot for s. It stands for the atomic increment in push.
//
//go:nosplit
func (b *spanSet) gomemPushSlot(s *mspan) uintptr {
	if !gomemOn || !gomemIsCentral(b) {
		return gomemPushed(b.index.u.Add(1))
	}
	gomemLock()
	ht := b.index.u.Add(1)
	gomemLogHeld(gomemEvPush, 2, gomemSetID(b)|uint64(uint32(ht)-1)<<10, gomemSpan(s), 0, 0)
	gomemUnlock()
	return gomemPushed(ht)
}

//go:nosplit
func gomemPushed(ht uint64) uintptr {
	if uint32(ht) == 0 {
		throw("headTailIndex overflow")
	}
	return uintptr(uint32(ht) - 1)
}

// gomemPop stands for pop while recording. The second half of pop, which takes the span out of its slot, is gomemPopSlot.
func (b *spanSet) gomemPop() *mspan {
	head, ok := b.gomemClaim()
	if !ok {
		return nil
	}
	return b.gomemPopSlot(head)
}

// gomemClaim claims the first slot and logs what stands in it. Unlike pop it waits for a block that is being added,
// so that false always means an empty set.
//
//go:nosplit
func (b *spanSet) gomemClaim() (head uint32, ok bool) {
	for {
		gomemLock()
		ht := b.index.u.Load()
		head = uint32(ht >> 32)
		if head >= uint32(ht) {
			gomemLogHeld(gomemEvPop, 2, gomemSetID(b)|uint64(head)<<10, 0, 0, 0)
			gomemUnlock()
			return 0, false
		}
		if b.spineLen.Load() > uintptr(head)/spanSetBlockEntries && b.index.u.CompareAndSwap(ht, ht+1<<32) {
			break
		}
		// The lock goes back before each further attempt: whoever adds the block may need it.
		gomemUnlock()
		osyield()
	}
	turn := gomemTurn()
	pp := getg().m.p.ptr()
	if pp != nil {
		gomemUnlock()
	}
	s := b.gomemPeek(uintptr(head))
	gomemPut(pp, gomemEvPop, 2, gomemSetID(b)|uint64(head)<<10, gomemSpan(s), 0, 0, turn)
	if pp == nil {
		gomemUnlock()
	}
	return head, true
}

// gomemPeek reads a claimed slot, as soon as push has filled it.
//
//go:nosplit
func (b *spanSet) gomemPeek(i uintptr) *mspan {
	blocks := b.spine.a.Load()
	block := (*spanSetBlock)(atomic.Loadp(add(blocks, i/spanSetBlockEntries*goarch.PtrSize)))
	slot := &block.spans[i%spanSetBlockEntries].p
	for slot.Load() == nil {
		procyield(1)
	}
	return (*mspan)(slot.Load())
}

// ---- sweeping

// sweepone is what the runtime calls; the overlay has renamed Go's own to sweeponeGo.
func sweepone() (npages uintptr) {
	if !gomemOn {
		return sweeponeGo()
	}
	systemstack(func() { npages = sweeponeGo() })
	return npages
}

// ensureSwept is what the runtime calls; the overlay has renamed Go's own to ensureSweptGo.
//
//go:nowritebarrier
func (s *mspan) ensureSwept() {
	if !gomemOn {
		s.ensureSweptGo()
		return
	}
	systemstack(func() { s.ensureSweptGo() })
}

//go:nosplit
func gomemSweepActive(sl sweepLocker) {
	if gomemOn {
		gomemLog(gomemEvSweepActive, 1, gomemBit(sl.valid, 0), 0, 0, 0)
	}
}

//go:nosplit
func gomemSweepOne() {
	if gomemOn {
		gomemLog(gomemEvSweepOne, 0, 0, 0, 0, 0)
	}
}

//go:nosplit
func gomemSCLoad() sweepClass {
	at := (*uint32)(&sweep.centralIndex)
	if !gomemOn {
		return sweepClass(atomic.Load(at))
	}
	gomemLock()
	sc := atomic.Load(at)
	gomemLogHeld(gomemEvSCLoad, 1, uint64(sc), 0, 0, 0)
	gomemUnlock()
	return sweepClass(sc)
}

//go:nosplit
func gomemSCUpdate(sc sweepClass) {
	if !gomemOn {
		gomemRaise(uint32(sc))
		return
	}
	gomemLock()
	gomemRaise(uint32(sc))
	gomemLogHeld(gomemEvSCUpdate, 1, uint64(sc), 0, 0, 0)
	gomemUnlock()
}

//go:nosplit
func gomemRaise(sc uint32) {
	at := (*uint32)(&sweep.centralIndex)
	old := atomic.Load(at)
	for old < sc && !atomic.Cas(at, old, sc) {
		old = atomic.Load(at)
	}
}

// gomemAcquire stands for tryAcquire. While recording, all its callers run on the system stack, which does not grow.
func (l *sweepLocker) gomemAcquire(s *mspan, reason uint64) (sweepLocked, bool) {
	sl, ok, _ := l.gomemAcquireAny(s, reason)
	return sl, ok
}

// gomemAcquireAny acquires s for sweeping if it is in use, and returns the state that it had.
func (l *sweepLocker) gomemAcquireAny(s *mspan, reason uint64) (sweepLocked, bool, mSpanState) {
	if !l.valid {
		throw("use of invalid sweepLocker")
	}
	on := gomemOn
	if on {
		gomemBeforeAcquire(s, reason)
		gomemLock()
	}
	state := s.state.get()
	ok := (state == mSpanInUse || reason != gomemBySweepOne) && atomic.Load(&s.sweepgen) == l.sweepGen-2 &&
		atomic.Cas(&s.sweepgen, l.sweepGen-2, l.sweepGen-1)
	if on {
		gomemLogHeld(gomemEvAcquire, 3, gomemBit(ok, 0), gomemSpan(s), reason, 0)
		gomemUnlock()
	}
	if !ok {
		return sweepLocked{}, false, state
	}
	return sweepLocked{s}, true, state
}

// gomemBeforeAcquire logs the targets that were not popped from a set.
func gomemBeforeAcquire(s *mspan, reason uint64) {
	switch reason {
	case gomemByReclaim:
		gomemLog(gomemEvReclaim, 1, uint64(s.startAddr), 0, 0, 0)
	case gomemByEnsureSwept:
		gomemLog(gomemEvEnsureSwept, 1, uint64(s.startAddr), 0, 0, 0)
	}
}

// gomemSweep logs a sweep once the mark bits are final and before anything of the span has changed.
//
//go:nosplit
func gomemSweep(s *mspan, nalloc uint16, preserve bool) {
	if !gomemOn {
		return
	}
	marks := uintptr(0)
	if nalloc != 0 && nalloc != s.nelems {
		marks = (uintptr(s.nelems) + 63) / 64
	}
	pp := getg().m.p.ptr()
	words := 5 + uint64(marks)
	if pp == nil {
		words += 2
		gomemLock()
	}
	if at := gomemSpace(pp, words); at != 0 {
		*gomemWord(at + 8) = gomemBit(preserve, 0) | uint64(s.nelems)<<1 | uint64(s.allocCount)<<17 | uint64(s.freeindex)<<33
		*gomemWord(at + 16) = gomemSpan(s)
		*gomemWord(at + 24) = uint64(s.startAddr)
		*gomemWord(at + 32) = uint64(s.npages) | uint64(nalloc)<<32
		w := at + 40
		bits := uintptr(unsafe.Pointer(s.gcmarkBits)) // a multiple of 8 bytes
		for i := uintptr(0); i < marks; i++ {
			*gomemWord(w) = *gomemWord(bits + i*8)
			w += 8
		}
		if pp == nil {
			*gomemWord(w) = uint64(getg().m.id)
			*gomemWord(w + 8) = gomemTurn()
		}
		gomemHead(at, gomemEvSweep|words<<8)
	}
	if pp == nil {
		gomemUnlock()
	}
}

// ---- collection cycle: the world is stopped

//go:nosplit
func gomemGCPhase(phase uint32) {
	if gomemOn {
		gomemPositions()
		gomemLogTurn(gomemEvGCPhase, 1, uint64(phase), 0, 0, 0)
	}
}

// gomemPositions runs where the world is stopped, before a record of what then changes for all Ps: the sweep generation,
// the phase, the arenas of mark bits. A P's own steps carry no turn and yet depend on these, so what each other P logged before
// the stop belongs before that record.
//
//go:nosplit
func gomemPositions() {
	mine := getg().m.p.ptr()
	for _, pp := range allp {
		if pp != nil && pp != mine {
			gomemLog(gomemEvPosition, 2, uint64(pp.id), gomemPosition(pp), 0, 0)
		}
	}
}

//go:nosplit
func gomemSweepGen() {
	if gomemOn {
		gomemPositions()
		gomemLogTurn(gomemEvSweepGen, 1, uint64(mheap_.sweepgen), 0, 0, 0)
	}
}

//go:nosplit
func gomemFinishSweep() {
	if gomemOn {
		gomemPositions()
		gomemLogTurn(gomemEvFinishSweep, 0, 0, 0, 0, 0)
	}
}

//go:nosplit
func gomemNextGen() {
	if gomemOn {
		gomemLogTurn(gomemEvNextGen, 0, 0, 0, 0, 0)
	}
}

// ---- pages: under the heap lock, but for gomemPCAlloc, gomemSpanInit (whose turn says that others may meet the span from
// here on) and gomemAllocNeedsZero. All on the system stack.

//go:nosplit
func gomemPCRefill(c *pageCache) {
	if gomemOn {
		gomemLogTurn(gomemEvPCRefill, 3, uint64(c.base), c.cache, c.scav, 0)
	}
}

//go:nosplit
func gomemPCAlloc(npages, base, scav uintptr) {
	if gomemOn {
		gomemLog(gomemEvPCAlloc, 3, uint64(npages), uint64(base), uint64(scav), 0)
	}
}

// gomemPCFlush logs the flush of a page cache that is not empty. Each page cache of mheap_.pages is in a P.
//
//go:nosplit
func gomemPCFlush(c *pageCache, pages *pageAlloc) {
	if !gomemOn || pages != &mheap_.pages {
		return
	}
	owner := (*p)(unsafe.Pointer(uintptr(unsafe.Pointer(c)) - unsafe.Offsetof(p{}.pcache)))
	gomemLogTurn(gomemEvPCFlush, 4, uint64(owner.id), uint64(c.base), c.cache, c.scav)
}

//go:nosplit
func gomemPAlloc(npages, base, scav uintptr) {
	if gomemOn {
		gomemLogTurn(gomemEvPAlloc, 4, uint64(npages), uint64(base), uint64(scav), uint64(mheap_.pages.searchAddr.a))
	}
}

//go:nosplit
func gomemMSpanAlloc(s *mspan) {
	if gomemOn {
		gomemLogTurn(gomemEvMSpanAlloc, 2, 0, gomemSpan(s), 0, 0)
	}
}

// gomemAllocNeedsZero stands for allocNeedsZero, whose steps become one step.
func (h *mheap) gomemAllocNeedsZero(base, npages uintptr) bool {
	if !gomemOn {
		return h.allocNeedsZero(base, npages)
	}
	gomemLock()
	needzero := h.allocNeedsZero(base, npages)
	gomemLogHeld(gomemEvNeedZero, 3, uint64(base), uint64(npages), gomemBit(needzero, 0), 0)
	gomemUnlock()
	return needzero
}

// gomemSpanType numbers the types of spans as go1.25 and later do; go1.24 has one more, which it does not use.
//
//go:nosplit
func gomemSpanType(typ spanAllocType) uint64 {
	return gomemBit(typ == spanAllocStack, 0) | gomemBit(typ == spanAllocWorkBuf, 1)
}

//go:nosplit
func gomemSpanInit(s *mspan, typ spanAllocType, spc spanClass, scav uintptr) {
	if gomemOn {
		gomemLogTurn(gomemEvSpanInit, 4, gomemSpanType(typ)|uint64(spc)<<2|uint64(s.needzero)<<10|uint64(s.nelems)<<11, gomemSpan(s),
			uint64(s.startAddr), uint64(s.npages)|uint64(scav/pageSize)<<32)
	}
}

//go:nosplit
func gomemSpanFree(s *mspan, typ spanAllocType) {
	if gomemOn {
		gomemLogTurn(gomemEvSpanFree, 4, gomemSpanType(typ), gomemSpan(s), uint64(s.startAddr), uint64(s.npages))
	}
}

//go:nosplit
func gomemReserve(asked, size, alignedSize uintptr, granted unsafe.Pointer) {
	if gomemOn {
		gomemLogTurn(gomemEvReserve, 4, uint64(asked), uint64(size), uint64(alignedSize), uint64(uintptr(granted)))
	}
}

//go:nosplit
func gomemArena(v unsafe.Pointer, size, asked uintptr) {
	if gomemOn && v != nil {
		gomemLogTurn(gomemEvArena, 3, uint64(uintptr(v)), uint64(size), uint64(asked), 0)
	}
}

//go:nosplit
func gomemPGrow(base, size uintptr) {
	if gomemOn {
		gomemLogTurn(gomemEvPGrow, 2, uint64(base), uint64(size), 0, 0)
	}
}

//go:nosplit
func gomemRandPad(base, npages uintptr) {
	if gomemOn {
		gomemLogTurn(gomemEvRandPad, 2, uint64(base), uint64(npages), 0, 0)
	}
}

//go:nosplit
func gomemAllocManual(npages uintptr, typ spanAllocType) {
	if gomemOn && typ == spanAllocWorkBuf {
		gomemLog(gomemEvAllocManual, 1, uint64(npages), 0, 0, 0)
	}
}

//go:nosplit
func gomemFreeManual(s *mspan, typ spanAllocType) {
	if gomemOn && typ == spanAllocWorkBuf {
		gomemLog(gomemEvFreeManual, 1, uint64(s.startAddr), 0, 0, 0)
	}
}

// ---- scavenging

// gomemFind stands for scavengeIndex.find, which otherwise runs without a lock. m is acquired.
func (p *pageAlloc) gomemFind(nbytes uintptr, force bool) (ci chunkIdx, page uint) {
	if !gomemOn || p != &mheap_.pages {
		return p.scav.index.find(force)
	}
	gomemLog(gomemEvScavenge, 2, uint64(nbytes), gomemBit(force, 0), 0, 0)
	systemstack(func() {
		lock(p.mheapLock)
		ci, page = p.scav.index.find(force)
		gomemLogTurn(gomemEvScavFind, 2, uint64(ci), uint64(page), 0, 0)
		unlock(p.mheapLock)
	})
	return ci, page
}

// gomemScav logs a step of scavengeOne, under the heap lock.
//
//go:nosplit
func gomemScav(p *pageAlloc, ev, n, a, b uint64) {
	if gomemOn && p == &mheap_.pages {
		gomemLogTurn(ev, n, a, b, 0, 0)
	}
}

// ---- stacks, on the system stack

//go:nosplit
func gomemBypass() uint64 {
	mp := getg().m
	return gomemBit(stackNoCache != 0 || mp.p == 0 || mp.preemptoff != "", 0)
}

//go:nosplit
func gomemStackAlloc(n uint32) {
	if gomemOn {
		gomemLog(gomemEvStackAlloc, 2, uint64(n), gomemBypass(), 0, 0)
	}
}

// gomemStackEnd takes a turn: the stack may be freed on another P, where its first word becomes a link.
//
//go:nosplit
func gomemStackEnd(v unsafe.Pointer) {
	if gomemOn {
		gomemLogTurn(gomemEvStackEnd, 1, uint64(uintptr(v)), 0, 0, 0)
	}
}

//go:nosplit
func gomemStackFree(v unsafe.Pointer, n uintptr) {
	if gomemOn {
		gomemLogTurn(gomemEvStackFree, 3, uint64(uintptr(v)), uint64(n), gomemBypass(), 0)
	}
}

// gomemStack logs a step under the lock of one of the stack pools or of the large stacks.
//
//go:nosplit
func gomemStack(ev, a uint64, v uintptr) {
	if gomemOn {
		gomemLogTurn(ev, 2, a, uint64(v), 0, 0)
	}
}

//go:nosplit
func gomemStackLargePop(class int, s *mspan) {
	v := uintptr(0)
	if s != nil {
		v = s.startAddr
	}
	gomemStack(gomemEvSLargePop, uint64(class), v)
}

//go:nosplit
func gomemFreeStackSpans() {
	if gomemOn {
		gomemLog(gomemEvFreeStackSpans, 0, 0, 0, 0, 0)
	}
}

//go:nosplit
func gomemStackScan(order int) {
	if gomemOn {
		gomemLogTurn(gomemEvStackScan, 1, uint64(order), 0, 0, 0)
	}
}
