//go:build race

package harness

// RaceOn reports whether the tests run with -race; the engine is then built so.
const RaceOn = true
