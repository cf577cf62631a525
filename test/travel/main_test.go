// Package travel holds that the past is answered the same for ever: by a whole
// journal, and by one that was trimmed, together with its archive.
package travel

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
