// record_spans.c: --record at level spans: the inputs that the port itself never tells, since in a replay they come from the policy.
//
// ld --wrap puts these before the functions of their names wherever another file calls them: cacheSpan, and reclaim.
#include "gomem/graft/graft.h"
#include "gomem/mheap.h"

sweepLocker __real_activeSweep_beginGiven(mheap *h);
sweepLocker __wrap_activeSweep_beginGiven(mheap *h);
sweepLocker __wrap_activeSweep_beginGiven(mheap *h) {
	const sweepLocker sl = __real_activeSweep_beginGiven(h);
	lab_event(&h->env, EV_SWEEPACTIVE, sl.valid, 0, 0, 0);
	return sl;
}

bool __real_sweepLocker_tryAcquire(mheap *h, sweepLocker sl, mspan *s, unsigned reason);
bool __wrap_sweepLocker_tryAcquire(mheap *h, sweepLocker sl, mspan *s, unsigned reason);
bool __wrap_sweepLocker_tryAcquire(mheap *h, sweepLocker sl, mspan *s, unsigned reason) {
	if (reason == 2) {
		lab_event(&h->env, EV_RECLAIM, mspan_base(s), 0, 0, 0);
	}
	return __real_sweepLocker_tryAcquire(h, sl, s, reason);
}
