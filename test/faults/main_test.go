// Package faults breaks what the engine depends on, under load, and checks the
// promises: an acknowledged command has one event, a refused one has none, and
// every view becomes the fold of the journal again.
package faults

import (
	"fmt"
	"os"
	"testing"

	"github.com/tidemark-engine/tidemark/test/harness"
)

func TestMain(m *testing.M) {
	if file := os.Getenv(serverConfig); file != "" {
		if err := serve(file); err != nil {
			fmt.Fprintln(os.Stderr, "run a NATS server:", err)
			os.Exit(1)
		}
		return
	}
	harness.Main(m)
}
