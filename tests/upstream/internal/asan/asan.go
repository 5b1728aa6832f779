// Package asan: what Go's tests ask of internal/asan. They are built without it.
package asan

const Enabled = false
