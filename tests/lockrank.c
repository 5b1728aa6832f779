// lockrank.c: prints for each pair of the allocator's locks that Go has whether the second may be taken under the first.
#include <stdio.h>

#include "gomem/lockrank.h"

int main(void) {
	for (int held = 0; held < lockRankSide; held++) {
		for (int taken = 0; taken < lockRankSide; taken++) {
			printf("%s %s %d\n", lockRank_name(held), lockRank_name(taken), lockRank_mayFollow(taken, held));
		}
	}
	return 0;
}
