// Package faults breaks what the engine depends on, under load, and checks the
// promises: an acknowledged command has one event, a refused one has none, and
// every view becomes the fold of the journal again.
package faults

import (
	"testing"

	"github.com/tidemark-engine/tidemark/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }
