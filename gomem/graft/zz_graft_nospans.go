package runtime

// Level pages has no spans to compare.
func graftSpanBegin(op, a, b, c uintptr) uintptr { return 0 }
func graftSpanEnd(op, a, b, c, r, s uintptr)     {}
