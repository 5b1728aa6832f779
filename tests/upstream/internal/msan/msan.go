// Package msan: what Go's tests ask of internal/msan. They are built without it.
package msan

const Enabled = false
