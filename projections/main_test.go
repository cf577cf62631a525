package projections_test

import (
	"testing"

	"github.com/tidemark-engine/tidemark/test/support"
)

func TestMain(m *testing.M) { support.Main(m) }
