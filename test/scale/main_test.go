// Package scale does at size what other tests do small: it rebuilds a whole
// model under load. By default the sizes are small enough for every run; make
// scale sets them.
package scale

import (
	"os"
	"strconv"
	"testing"

	"go.uber.org/goleak"

	"github.com/tidemark-engine/tidemark/test/harness"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		harness.Clean()
		os.Exit(code)
	}))
}

// size is a number from the environment, or the small one.
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
