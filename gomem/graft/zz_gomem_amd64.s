// zz_gomem_amd64.s: between Go and the C functions of gomem, both ways. An additional file of package runtime.
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

LEAVE(·gomemThunkLock, ·gomemLock)
LEAVE(·gomemThunkUnlock, ·gomemUnlock)
LEAVE(·gomemThunkThrow, ·gomemThrow)
LEAVE(·gomemThunkSysAlloc, ·gomemSysAlloc)
LEAVE(·gomemThunkSysFree, ·gomemSysFree)
LEAVE(·gomemThunkSysReserve, ·gomemSysReserve)
LEAVE(·gomemThunkSysUnreserve, ·gomemSysUnreserve)
LEAVE(·gomemThunkSysReserveAligned, ·gomemSysReserveAligned)
LEAVE(·gomemThunkSysMap, ·gomemSysMap)
LEAVE(·gomemThunkSysUsed, ·gomemSysUsed)
LEAVE(·gomemThunkSysUnused, ·gomemSysUnused)
LEAVE(·gomemThunkSysFault, ·gomemSysFault)
LEAVE(·gomemThunkSysHugePage, ·gomemSysHugePage)
LEAVE(·gomemThunkSysNoHugePage, ·gomemSysNoHugePage)
LEAVE(·gomemThunkSysHugePageCollapse, ·gomemSysHugePageCollapse)
LEAVE(·gomemThunkSysAllocOS, ·gomemSysAllocOS)
LEAVE(·gomemThunkPersistentalloc, ·gomemPersistentalloc)
LEAVE(·gomemThunkDeductSweepCredit, ·gomemDeductSweepCredit)
LEAVE(·gomemThunkScavengeAssist, ·gomemScavengeAssist)
LEAVE(·gomemThunkBeginSweep, ·gomemBeginSweep)
LEAVE(·gomemThunkSpanEvent, ·gomemSpanEvent)
LEAVE(·gomemThunkCheckBegin, ·gomemCheckBegin)
LEAVE(·gomemThunkCheckEnd, ·gomemCheckEnd)

DATA ·gomemThunks+0(SB)/8, $·gomemThunkLock(SB)
DATA ·gomemThunks+8(SB)/8, $·gomemThunkUnlock(SB)
DATA ·gomemThunks+16(SB)/8, $·gomemThunkThrow(SB)
DATA ·gomemThunks+24(SB)/8, $·gomemThunkSysAlloc(SB)
DATA ·gomemThunks+32(SB)/8, $·gomemThunkSysFree(SB)
DATA ·gomemThunks+40(SB)/8, $·gomemThunkSysReserve(SB)
DATA ·gomemThunks+48(SB)/8, $·gomemThunkSysUnreserve(SB)
DATA ·gomemThunks+56(SB)/8, $·gomemThunkSysReserveAligned(SB)
DATA ·gomemThunks+64(SB)/8, $·gomemThunkSysMap(SB)
DATA ·gomemThunks+72(SB)/8, $·gomemThunkSysUsed(SB)
DATA ·gomemThunks+80(SB)/8, $·gomemThunkSysUnused(SB)
DATA ·gomemThunks+88(SB)/8, $·gomemThunkSysFault(SB)
DATA ·gomemThunks+96(SB)/8, $·gomemThunkSysHugePage(SB)
DATA ·gomemThunks+104(SB)/8, $·gomemThunkSysNoHugePage(SB)
DATA ·gomemThunks+112(SB)/8, $·gomemThunkSysHugePageCollapse(SB)
DATA ·gomemThunks+120(SB)/8, $·gomemThunkSysAllocOS(SB)
DATA ·gomemThunks+128(SB)/8, $·gomemThunkPersistentalloc(SB)
DATA ·gomemThunks+136(SB)/8, $·gomemThunkDeductSweepCredit(SB)
DATA ·gomemThunks+144(SB)/8, $·gomemThunkScavengeAssist(SB)
DATA ·gomemThunks+152(SB)/8, $·gomemThunkBeginSweep(SB)
DATA ·gomemThunks+160(SB)/8, $·gomemThunkSpanEvent(SB)
DATA ·gomemThunks+168(SB)/8, $·gomemThunkCheckBegin(SB)
DATA ·gomemThunks+176(SB)/8, $·gomemThunkCheckEnd(SB)
GLOBL ·gomemThunks(SB), RODATA, $184

TEXT ·gomemThunksAddr<ABIInternal>(SB), NOSPLIT|NOFRAME, $0-0
	LEAQ ·gomemThunks(SB), AX
	RET
