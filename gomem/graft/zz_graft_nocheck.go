package runtime

// Without --check nothing is compared.
const graftChecks = false

func graftCheckBegin(op, a, b, c uintptr) uintptr { return 0 }
func graftCheckEnd(op, a, b, c, r, s uintptr)     {}

func graftCheckCacheAlloc(before pageCache, c *pageCache, npages, addr, scav uintptr) {}

type graftScavenging struct{}

func (s *graftScavenging) locked()    {}
func (s *graftScavenging) unlocking() {}
func graftScavOf() *graftScavenging   { return nil }

type graftUnderWay struct{ asked bool }

func graftMine() *graftUnderWay               { return nil }
func graftSweepBegin(s *mspan, preserve bool) {}
func graftSweepEnd(s *mspan, freed bool)      {}
func graftSpanMade(s *mspan)                  {}
func graftSpanFreed(s *mspan)                 {}
