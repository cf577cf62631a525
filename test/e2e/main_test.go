// Package e2e tests the whole engine from outside: the binary as a child
// process, NATS, SQL, HTTP, the command line, and a client in Node.
package e2e

import (
	"testing"

	"github.com/tidemark-engine/tidemark/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// TestServing runs many tests against one engine. Each part uses its own
// agents.
func TestServing(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{})
	for _, part := range []struct {
		name string
		test func(*testing.T, *harness.Engine)
	}{
		{"first steps", firstSteps},
		{"watch", watchBucket},
		{"conflicts", conflicts},
		{"refusals", refusals},
		{"discovery", discovery},
		{"command line", commandLine},
		{"last write wins", lastWriteWins},
		{"timestamps converge", timestampsConverge},
		{"read your writes", readYourWrites},
		{"byte for byte", byteForByte}, {"documents byte for byte", documentsByteForByte},
	} {
		t.Run(part.name, func(t *testing.T) { part.test(t, e) })
	}
	e.Client(t).CheckAll(t)
	e.Verify()
}
