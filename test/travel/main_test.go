// Package travel tests queries of past states: a complete journal, and a
// trimmed one with its archive, give the same answers.
package travel

import (
	"testing"

	"github.com/tidemark-engine/tidemark/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }
