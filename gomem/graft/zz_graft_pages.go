package runtime

// graftBeside is what the C functions keep beside the fields of mheap.
type graftBeside struct {
	env   graftEnv
	os    graftOS
	stats graftStats
}

// Level pages needs none of these.
func graftDeductSweepCredit(spanBytes, callerSweepPages uintptr) {}
func graftScavengeAssist(scav, growth uintptr)                   {}
func graftBeginSweep(s *mspan, preserve uintptr) uintptr         { return 0 }
func graftSpanEvent(s *mspan, freed uintptr)                     {}
