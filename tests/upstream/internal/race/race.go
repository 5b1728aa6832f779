// Package race: what Go's tests ask of internal/race. They are built without it.
package race

const Enabled = false
