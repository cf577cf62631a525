// Package e2e uses the whole engine from outside, as people and programs do:
// the real binary in a process of its own, plain nats.go, SQL, HTTP, the
// command line, and Node.
package e2e

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

// TestServing asks one engine everything that one engine can be asked side by
// side; each part uses agents of its own.
func TestServing(t *testing.T) {
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
		{"byte for byte", byteForByte},
	} {
		t.Run(part.name, func(t *testing.T) { part.test(t, e) })
	}
	e.Client(t).CheckAll(t)
	e.Verify()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
