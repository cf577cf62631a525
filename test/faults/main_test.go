// Package faults breaks what the engine stands on, under load, and asks that
// every promise still holds: what was acknowledged is there once, what was
// refused is not there, and every view becomes the journal's fold again.
package faults

import (
	"os"
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

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
