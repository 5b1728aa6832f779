// bench_parts.cc: the parts of parts.h. Counters: ns a call, as units.h has them.
#include "bench/parts.h"

#include "bench/units.h"

int main(int argc, char **argv) {
	takeUnits(argc, argv);
	unsigned n;
	const bench_part *parts = bench_parts(&n);
	for (const bench_part *b = parts; b < parts + n; b++) {
		const bool slow = b->calls > 10000;
		benchmark::RegisterBenchmark(b->name,
			[b](benchmark::State &state) {
				void *ctx = b->make(b);
				if (ctx == nullptr) {
					state.SkipWithError("out of memory");
					return;
				}
				run(
					state, b->calls, [&] { b->unit(ctx, b->calls); },
					[&] {
						if (b->again != nullptr) {
							b->again(ctx);
						}
					});
				b->end(ctx);
			})
			->UseManualTime()
			->Iterations(slow ? std::max(3, units() / 40) : units());
	}
	benchmark::Initialize(&argc, argv);
	if (benchmark::ReportUnrecognizedArguments(argc, argv)) {
		return 2;
	}
	benchmark::RunSpecifiedBenchmarks();
	return 0;
}
