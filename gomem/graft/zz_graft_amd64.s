// zz_graft_amd64.s: between Go and the C functions of gomem, both ways. An additional file of package runtime.
//
// Go passes words in AX BX CX DI SI R8 and takes two back in AX BX; C has DI SI DX CX R8 R9 and RAX RDX, and keeps BX BP R12-R15. R14 is g in Go and
// anything in C; X15 is zero in Go and not touched by C, which is compiled without vector registers.
// All of this runs on a system stack.
#include "go_asm.h"
#include "textflag.h"

// ENTER: Go calls C.
#define ENTER(go, c) \
TEXT go<ABIInternal>(SB), NOSPLIT|NOFRAME, $0-0 \
	MOVQ R8, R9 \
	MOVQ SI, R8 \
	MOVQ CX, DX \
	MOVQ DI, CX \
	MOVQ BX, SI \
	MOVQ AX, DI \
	CALL c(SB) \
	MOVQ DX, BX \
	RET

// LEAVE: C calls Go. Go may use the six words below the return address for its register arguments.
#define LEAVE(thunk, go) \
TEXT thunk(SB), NOSPLIT|NOFRAME, $0-0 \
	PUSHQ BP \
	MOVQ SP, BP \
	PUSHQ BX \
	PUSHQ R12 \
	PUSHQ R13 \
	PUSHQ R14 \
	PUSHQ R15 \
	ADJSP $56 \
	MOVQ (TLS), R14 \
	XORPS X15, X15 \
	MOVQ DI, AX \
	MOVQ SI, BX \
	MOVQ CX, DI \
	MOVQ DX, CX \
	MOVQ R8, SI \
	MOVQ R9, R8 \
	CALL go<ABIInternal>(SB) \
	ADJSP $-56 \
	POPQ R15 \
	POPQ R14 \
	POPQ R13 \
	POPQ R12 \
	POPQ BX \
	POPQ BP \
	RET

LEAVE(·graftThunkLock, ·graftLock)
LEAVE(·graftThunkUnlock, ·graftUnlock)
LEAVE(·graftThunkThrow, ·graftThrow)
LEAVE(·graftThunkSysAlloc, ·graftSysAlloc)
LEAVE(·graftThunkSysFree, ·graftSysFree)
LEAVE(·graftThunkSysReserve, ·graftSysReserve)
LEAVE(·graftThunkSysUnreserve, ·graftSysUnreserve)
LEAVE(·graftThunkSysReserveAligned, ·graftSysReserveAligned)
LEAVE(·graftThunkSysMap, ·graftSysMap)
LEAVE(·graftThunkSysUsed, ·graftSysUsed)
LEAVE(·graftThunkSysUnused, ·graftSysUnused)
LEAVE(·graftThunkSysFault, ·graftSysFault)
LEAVE(·graftThunkSysHugePage, ·graftSysHugePage)
LEAVE(·graftThunkSysNoHugePage, ·graftSysNoHugePage)
LEAVE(·graftThunkSysHugePageCollapse, ·graftSysHugePageCollapse)
LEAVE(·graftThunkSysAllocOS, ·graftSysAllocOS)
LEAVE(·graftThunkPersistentalloc, ·graftPersistentalloc)
LEAVE(·graftThunkDeductSweepCredit, ·graftDeductSweepCredit)
LEAVE(·graftThunkScavengeAssist, ·graftScavengeAssist)
LEAVE(·graftThunkBeginSweep, ·graftBeginSweep)
LEAVE(·graftThunkSpanEvent, ·graftSpanEvent)
LEAVE(·graftThunkLabTurn, ·graftLabTurn)
LEAVE(·graftThunkLabEvent, ·graftLabEvent)
LEAVE(·graftThunkCheckBegin, ·graftCheckBegin)
LEAVE(·graftThunkCheckEnd, ·graftCheckEnd)

DATA ·graftThunks+0(SB)/8, $·graftThunkLock(SB)
DATA ·graftThunks+8(SB)/8, $·graftThunkUnlock(SB)
DATA ·graftThunks+16(SB)/8, $·graftThunkThrow(SB)
DATA ·graftThunks+24(SB)/8, $·graftThunkSysAlloc(SB)
DATA ·graftThunks+32(SB)/8, $·graftThunkSysFree(SB)
DATA ·graftThunks+40(SB)/8, $·graftThunkSysReserve(SB)
DATA ·graftThunks+48(SB)/8, $·graftThunkSysUnreserve(SB)
DATA ·graftThunks+56(SB)/8, $·graftThunkSysReserveAligned(SB)
DATA ·graftThunks+64(SB)/8, $·graftThunkSysMap(SB)
DATA ·graftThunks+72(SB)/8, $·graftThunkSysUsed(SB)
DATA ·graftThunks+80(SB)/8, $·graftThunkSysUnused(SB)
DATA ·graftThunks+88(SB)/8, $·graftThunkSysFault(SB)
DATA ·graftThunks+96(SB)/8, $·graftThunkSysHugePage(SB)
DATA ·graftThunks+104(SB)/8, $·graftThunkSysNoHugePage(SB)
DATA ·graftThunks+112(SB)/8, $·graftThunkSysHugePageCollapse(SB)
DATA ·graftThunks+120(SB)/8, $·graftThunkSysAllocOS(SB)
DATA ·graftThunks+128(SB)/8, $·graftThunkPersistentalloc(SB)
DATA ·graftThunks+136(SB)/8, $·graftThunkDeductSweepCredit(SB)
DATA ·graftThunks+144(SB)/8, $·graftThunkScavengeAssist(SB)
DATA ·graftThunks+152(SB)/8, $·graftThunkBeginSweep(SB)
DATA ·graftThunks+160(SB)/8, $·graftThunkSpanEvent(SB)
DATA ·graftThunks+168(SB)/8, $·graftThunkLabTurn(SB)
DATA ·graftThunks+176(SB)/8, $·graftThunkLabEvent(SB)
DATA ·graftThunks+184(SB)/8, $·graftThunkCheckBegin(SB)
DATA ·graftThunks+192(SB)/8, $·graftThunkCheckEnd(SB)
GLOBL ·graftThunks(SB), RODATA, $200

TEXT ·graftThunksAddr<ABIInternal>(SB), NOSPLIT|NOFRAME, $0-0
	LEAQ ·graftThunks(SB), AX
	RET
