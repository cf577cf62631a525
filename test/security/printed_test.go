package security

import (
	"path/filepath"
	"testing"

	"github.com/nats-io/nats-server/v2/conf"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// A server with the printed configuration alone keeps what the engine has acknowledged: it has each
// event on disk, as the embedded one.
func TestPrintedConfigurationSyncs(t *testing.T) {
	t.Parallel()
	for _, mode := range [][]string{nil, {"--operator-mode"}} {
		x := &external{t: t, data: filepath.Join(t.TempDir(), "data")}
		x.auth(append([]string{"init", "--external"}, mode...)...)
		printed, err := conf.Parse(x.auth(append([]string{"print-config"}, mode...)...))
		harness.Must(t, err)
		if jetstream, _ := printed["jetstream"].(map[string]any); jetstream["sync_interval"] != "always" {
			t.Errorf("%q: %v", mode, jetstream)
		}
	}
}
