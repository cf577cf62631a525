package harness

import "os"

// Long reports whether this run repeats its faults as often as they are promised to be survived
// (`make faults`). Other runs show each fault a few times, so that `make test` stays short.
func Long() bool { return os.Getenv("TIDEMARK_TEST_LONG") == "1" }

// Rounds returns how often a test repeats: short, and long in a long run.
func Rounds(short, long int) int {
	if Long() {
		return long
	}
	return short
}
