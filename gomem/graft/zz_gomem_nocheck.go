package runtime

// Without --check nothing is compared.
const gomemChecks = false

func gomemCheckBegin(op, a, b, c uintptr) uintptr { return 0 }
func gomemCheckEnd(op, a, b, c, r, s uintptr)     {}

func gomemCheckCacheAlloc(before pageCache, c *pageCache, npages, addr, scav uintptr) {}

type gomemScavenging struct{}

func (s *gomemScavenging) locked()    {}
func (s *gomemScavenging) unlocking() {}
func gomemScavOf() *gomemScavenging   { return nil }

type gomemUnderWay struct{ asked bool }

func gomemMine() *gomemUnderWay               { return nil }
func gomemSweepBegin(s *mspan, preserve bool) {}
func gomemSweepEnd(s *mspan, freed bool)      {}
func gomemSpanMade(s *mspan)                  {}
func gomemSpanFreed(s *mspan)                 {}
