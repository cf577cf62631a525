//go:build race

package harness

// RaceOn reports whether the tests run with -race; see RaceEngine for the engine.
const RaceOn = true
