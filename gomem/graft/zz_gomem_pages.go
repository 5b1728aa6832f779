package runtime

// gomemBeside is what the C functions keep beside the fields of mheap.
type gomemBeside struct {
	env   gomemEnv
	os    gomemOS
	stats gomemStats
}

// Level pages needs none of these.
func gomemDeductSweepCredit(spanBytes, callerSweepPages uintptr) {}
func gomemScavengeAssist(scav, growth uintptr)                   {}
func gomemBeginSweep(s *mspan, preserve uintptr) uintptr         { return 0 }
func gomemSpanEvent(s *mspan, freed uintptr)                     {}
