// contract.h: what any allocator owes its caller, wherever it places things: no overlap, alignment, zeroed memory where that was asked,
// contents intact until freed. It knows nothing of spans or pages.
#ifndef GOMEM_ORACLE_CONTRACT_H
#define GOMEM_ORACLE_CONTRACT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct contract contract;

// contract_new: backed: memory can be read and written; else addresses only. whole: each byte of each block is filled and compared; else of
// blocks of 1 KiB and more both ends, and stripes in the first 64 KiB.
contract *contract_new(bool backed, bool whole);
void contract_free(contract *c);
// contract_align gives what an object of n bytes must be aligned to; one with pointers is a multiple of 8.
uint64_t contract_align(uint64_t n);
// contract_allocated takes note of n bytes at addr, checks them and fills them. NULL: good; else what is wrong.
const char *contract_allocated(contract *c, uint64_t addr, uint64_t n, uint64_t align, bool zeroed);
// contract_freed forgets the block at addr; its contents must be as they were left.
const char *contract_freed(contract *c, uint64_t addr);
// contract_collected forgets the block at addr, whose memory may be anybody's by now. NULL: good.
const char *contract_collected(contract *c, uint64_t addr);
// contract_check compares the contents of all blocks.
const char *contract_check(const contract *c);

#endif
