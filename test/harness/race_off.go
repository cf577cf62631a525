//go:build !race

package harness

// RaceOn reports whether the tests run with -race; the engine is then built so.
// RaceOn reports whether the race detector is on.
const RaceOn = false
