package main

import (
	"fmt"
	"strings"
)

// release is what the recorder has to know of a Go release beside its edits.
type release struct {
	minor    int    // go1.minor
	syscalls string // how package linux, which has Syscall6, is imported
	missing  string // declarations that later runtimes have and this one has not
}

const (
	missingBefore26 = "const (\n\trandomizeHeapBase = false\n\truntimeFreegcEnabled = false\n\tsizeSpecializedMallocEnabled = false\n)\n"
	missingBefore25 = "const valgrindenabled = false\n"
)

// releases are the Go releases that can be recorded, oldest first.
var releases = []release{
	{minor: 24, syscalls: `linux "internal/runtime/syscall"`, missing: missingBefore25 + missingBefore26},
	{minor: 25, syscalls: `linux "internal/runtime/syscall"`, missing: missingBefore26},
	{minor: 26, syscalls: `"internal/runtime/syscall/linux"`},
	{minor: 27, syscalls: `"internal/runtime/syscall/linux"`},
}

func (r release) name() string { return fmt.Sprintf("go1.%d", r.minor) }

// adapt returns the recorder's own file for this release.
func (r release) adapt(text string) (string, error) {
	const syscalls = "\t\"internal/runtime/syscall/linux\"\n"
	if strings.Count(text, syscalls) != 1 {
		return "", fmt.Errorf("expected one import of %s", strings.TrimSpace(syscalls))
	}
	text = strings.Replace(text, syscalls, "\t"+r.syscalls+"\n", 1)
	if r.minor < 25 {
		text = strings.ReplaceAll(text, "goexperiment.GreenTeaGC", "false")
		text = strings.Replace(text, "\t\"internal/goexperiment\"\n", "", 1)
	}
	if r.missing != "" {
		text += "\n// What later releases of Go have.\n" + r.missing
	}
	return text, nil
}
