// Package atomic: what Go's tests ask of internal/runtime/atomic, by sync/atomic.
package atomic

import "sync/atomic"

type Int64 struct{ v atomic.Int64 }

func (x *Int64) Load() int64           { return x.v.Load() }
func (x *Int64) Add(delta int64) int64 { return x.v.Add(delta) }

type Uint64 struct{ v atomic.Uint64 }

func (x *Uint64) Load() uint64           { return x.v.Load() }
func (x *Uint64) Store(v uint64)         { x.v.Store(v) }
func (x *Uint64) Add(delta int64) uint64 { return x.v.Add(uint64(delta)) }
