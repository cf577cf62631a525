//go:build race

package harness

// raceOn tells whether the tests run with -race; the engine is then built so.
const raceOn = true
