package topology_test

import (
	"strings"
	"testing"

	"github.com/tidemark-engine/tidemark/config"
	"github.com/tidemark-engine/tidemark/infra/natsio/topology"
)

// FuzzParse reads any document; an error is one line and says that it is about the topology.
func FuzzParse(f *testing.F) {
	for _, text := range []string{
		string(config.Topology), "", "a", "- a", "a: b", "a: {}", "a: {subjects: [x.>], max_age: 1h}", "a: {bucket: B, ttl: -1s}",
		"a: {stream: S, ack_wait: 30s}\n---\na: {subjects: x}", "a: &x {subjects: [y]}\nb: *x", "a: {<<: {subjects: [z]}}", "? [a]\n: b", "a: !!binary x",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if _, err := topology.Parse(text); err != nil && (!strings.HasPrefix(err.Error(), "topology: ") || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%q: %q", text, err)
		}
	})
}
