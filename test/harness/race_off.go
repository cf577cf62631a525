//go:build !race

package harness

// raceOn reports whether the tests run with -race; the engine is then built so.
const raceOn = false
