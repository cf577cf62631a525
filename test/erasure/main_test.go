// Package erasure tests encryption and erasure on an engine from outside.
package erasure

import (
	"testing"

	"github.com/tidemark-engine/tidemark/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }
