// Package scale rebuilds a whole model under load at a size that `make scale`
// sets. The default is small enough for every test run.
package scale

import (
	"os"
	"strconv"
	"testing"

	"github.com/tidemark-engine/tidemark/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// size returns a number from the environment, or the default.
func size(t *testing.T, name string, small int) int {
	text := os.Getenv("SCALE_" + name)
	if text == "" {
		return small
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("SCALE_%s=%q is not a number", name, text)
	}
	return n
}
